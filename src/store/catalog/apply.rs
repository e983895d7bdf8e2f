//! Taking revisions in, inside of the writer's transaction.
//!
//! 1. What must not be taken is refused before anything is touched: it was refused for good, or contradicts what a better
//!    upstream said of the same revision or file.
//! 2. What is held as it is only counts as named again.
//! 3. The higher revision becomes the one that counts. The one that it replaces goes in the same transaction, unless the
//!    bundle of a held revision names it; a lower one is taken only where a bundle names it. A revision whose last bundle
//!    goes, goes too. What only a former upstream named is not the higher one, whatever its number, unless it was proven and
//!    the upstream of now proves nothing.
//! 4. Rows of relations and look-ups go out with the old and come in with the new one; the log has one line a revision.
//! 5. Members of bundles that are not held go onto the work list.

use std::collections::BTreeMap;

use redb::ReadableTable;

use crate::base::digest::{Sha1, Sha256};
use crate::model::update::{Identity, Update};
use crate::store::catalog::blobs::unpack_chunk;
use crate::store::catalog::facts;
use crate::store::catalog::pack::Dictionaries;
use crate::store::catalog::prepare::{Ready, files};
use crate::store::catalog::search::Touched;
use crate::store::catalog::tables::{
    BlobRow, ClockKey, FileRow, GENERATION, GONE, GONE_COUNT, HERE, LAST_NUMBER, PACKED, PART_FACTS, REFUSED_NAME,
    REVISION_COUNT, RefusedRow, RevisionRow, SetRow, Tables, UPDATE_COUNT, UpdateRow, clock_key, identity_key,
    long_key,
};
use crate::store::catalog::value::Applied;
use crate::store::error::Error;
use crate::store::tables::{decode, encode};

/// What one transaction knows and gathers.
pub(crate) struct Work<'a> {
    pub(crate) dictionaries: &'a Dictionaries,
    /// Wall clock, milliseconds.
    pub(crate) now: u64,
    /// The logical clock of this transaction, once something changed.
    pub(crate) clock: Option<u64>,
    /// Lines of the log of decisions that it wrote.
    pub(crate) logged: u32,
    pub(crate) generation: u64,
    pub(crate) unauthenticated: bool,
    /// It is who publishes what the catalog names.
    pub(crate) is_publisher: bool,
    pub(crate) sets: BTreeMap<String, SetRow>,
    /// As they were: only what changed is written.
    pub(crate) sets_before: BTreeMap<String, SetRow>,
    pub(crate) applied: Applied,
    pub(crate) touched: Touched,
    /// Files that no update has any more: SHA-1, and SHA-256 where one was published.
    pub(crate) forgotten: Vec<(Sha1, Option<Sha256>)>,
}

/// What is told of a transaction after its commit; what it forgot is dealt with inside of it.
pub(crate) struct Outcome {
    pub(crate) applied: Applied,
    pub(crate) touched: Touched,
    pub(crate) forgotten: Vec<(Sha1, Option<Sha256>)>,
}

impl<'a> Work<'a> {
    pub(crate) fn begin(t: &Tables<'_>, dictionaries: &'a Dictionaries, now: u64) -> Result<Self, Error> {
        let sets = t.load_sets()?;
        let source = t.source()?;
        Ok(Self {
            dictionaries,
            now,
            sets_before: sets.clone(),
            clock: None,
            logged: 0,
            generation: t.number(GENERATION)?,
            // Where nobody said whom it comes from, nothing is proven.
            unauthenticated: source.as_ref().is_none_or(|upstream| upstream.unauthenticated),
            is_publisher: source.is_some_and(|upstream| upstream.is_publisher()),
            sets,
            applied: Applied::default(),
            touched: Touched::default(),
            forgotten: Vec::new(),
        })
    }

    /// Whether what comes now takes the place of the current revision of an update although its number is lower: the upstream of
    /// now has not named that one, and what was proven gives way only to what is.
    pub(crate) fn outranks(&self, update: &UpdateRow) -> bool {
        update.generation < self.generation && (!self.unauthenticated || update.unauthenticated)
    }

    pub(crate) fn end(mut self, t: &mut Tables<'_>) -> Result<Outcome, Error> {
        t.store_sets(&mut self)?;
        Ok(Outcome { applied: self.applied, touched: self.touched, forgotten: self.forgotten })
    }
}

impl Tables<'_> {
    pub(crate) fn revision(&self, number: u32) -> Result<Option<RevisionRow>, Error> {
        self.revisions.get(number)?.map(|row| decode("catalog-revisions.1", row.value())).transpose()
    }

    pub(crate) fn update(&self, id: &[u8; 16]) -> Result<Option<UpdateRow>, Error> {
        self.updates.get(id)?.map(|row| decode("catalog-updates.1", row.value())).transpose()
    }

    /// The revision of an identity, if it is held.
    pub(crate) fn held(&self, identity: Identity) -> Result<Option<(u32, RevisionRow)>, Error> {
        let Some(number) = self.identities.get(&identity_key(identity))?.map(|number| number.value()) else {
            return Ok(None);
        };
        Ok(self.revision(number)?.map(|row| (number, row)))
    }

    pub(crate) fn refusal(&self, identity: Identity) -> Result<Option<RefusedRow>, Error> {
        let row = self.refused.get(&identity_key(identity))?;
        row.map(|row| decode(REFUSED_NAME, row.value())).transpose()
    }

    /// What the document of a held revision says.
    pub(crate) fn facts(&self, w: &Work<'_>, number: u32, row: &RevisionRow) -> Result<Update, Error> {
        let missing = || Error::Row { what: format!("revision {number} of the catalog has lost what it says") };
        let part = row.parts.iter().find(|part| part.part == PART_FACTS).ok_or_else(missing)?;
        if let Some(blob) = part.blob {
            let mut bytes = Vec::new();
            for chunk in self.chunks.range::<&ClockKey>(&clock_key(blob, 0)..=&clock_key(blob, u32::MAX))? {
                bytes.extend_from_slice(&unpack_chunk(chunk?.1.value())?);
            }
            return facts::read(&bytes);
        }
        let pack = self.packs.get(number)?.ok_or_else(missing)?;
        let raw = w.dictionaries.unpack(pack.value(), &self.dictionaries)?;
        let (from, to) = (part.at as usize, part.at.saturating_add(part.len) as usize);
        facts::read(raw.get(from..to).ok_or_else(missing)?)
    }

    pub(crate) fn clock(&mut self, w: &mut Work<'_>) -> Result<u64, Error> {
        if let Some(clock) = w.clock {
            return Ok(clock);
        }
        let clock = self.tick(w.now)?;
        w.clock = Some(clock);
        Ok(clock)
    }

    /// Steps 1 to 5 for one revision.
    pub(crate) fn take(&mut self, w: &mut Work<'_>, ready: &Ready, set: &str) -> Result<(), Error> {
        let identity = ready.update.identity;
        let known = self.held(identity)?;
        if let Some(why) = self.objection(w, ready, known.as_ref().map(|(_, row)| row))? {
            return self.refuse(w, identity, why, false);
        }
        self.refused.remove(&identity_key(identity))?;
        self.let_go.remove(identity.id.bytes())?;
        self.got(w, identity)?;
        w.applied.files += u64::from(ready.row.files);
        w.applied.bytes += ready.came;
        let id = *identity.id.bytes();
        let update = self.update(&id)?;
        let old = match update {
            Some(update) => self.revision(update.current)?.map(|row| (update.current, row)),
            None => None,
        };
        // What a comparison refused keeps nobody from the place of the newest, however high its number is.
        let is_current = old.as_ref().is_none_or(|(_, old)| identity.revision >= old.revision || old.refused)
            || update.is_none_or(|update| w.outranks(&update));
        if let Some((_, row)) = &known
            && row.digest == ready.row.digest
            && (!row.unauthenticated || w.unauthenticated)
            && !row.refused
            && row.current == is_current
        {
            if row.current {
                self.mark(w, &row.id)?;
            }
            w.applied.unchanged += 1;
            return Ok(());
        }
        if !is_current && !self.is_member(identity)? {
            self.mark(w, &id)?;
            w.applied.left_out += 1;
            return Ok(());
        }
        let was_expired = old.as_ref().is_some_and(|(_, old)| old.publication != 0);
        let mut orphans = Vec::new();
        if let Some((number, row)) = known {
            self.drop_revision(w, number, &row, &mut orphans)?;
        }
        if is_current
            && let Some((number, mut row)) = old.clone()
            && row.revision != identity.revision
        {
            match self.facts(w, number, &row) {
                Ok(update) => {
                    self.unrelate_current(w, number, &row, &update)?;
                    row.current = false;
                    self.revisions.insert(number, encode(&row)?.as_slice())?;
                    w.touched.numbers.push(number);
                    orphans.push(row.identity());
                }
                // It is of no use to a bundle either.
                Err(Error::Row { .. }) => {
                    self.drop_revision(w, number, &row, &mut orphans)?;
                    self.gone(w, number)?;
                }
                Err(other) => return Err(other),
            }
        }
        let given = self.identities.get(&identity_key(identity))?.map(|number| number.value());
        let number = if let Some(number) = given {
            number
        } else {
            let next = self.next(LAST_NUMBER)?;
            u32::try_from(next).map_err(|_| Error::Row { what: "all revision numbers are given away".into() })?
        };
        self.identities.insert(&identity_key(identity), number)?;
        let mut row = ready.row.clone();
        row.current = is_current;
        row.changed = self.clock(w)?;
        row.unauthenticated = w.unauthenticated;
        self.relate(w, number, &row, ready)?;
        if is_current {
            if !row.unauthenticated {
                self.free_of_unproven(w, &id)?;
            }
            let superseded = self.relate_current(w, number, &row, &ready.update)?;
            // What came behind what supersedes it counts as what came before it does: whichever of the two comes last.
            let came_so = old.is_none() && row.is_listed() && self.is_superseded(&id)?;
            w.applied.superseded += superseded + u64::from(came_so);
            let row_is_expired = row.deployable && row.publication != 0;
            let row = UpdateRow { current: number, generation: w.generation, unauthenticated: row.unauthenticated };
            self.updates.insert(&id, encode(&row)?.as_slice())?;
            if old.is_none() {
                self.count(UPDATE_COUNT, 1)?;
                w.applied.new += 1;
            } else {
                w.applied.changed += 1;
            }
            w.applied.expired += u64::from(row_is_expired && !was_expired);
        }
        self.packs.insert(number, ready.pack.as_slice())?;
        self.revisions.insert(number, encode(&row)?.as_slice())?;
        for staged in &ready.blobs {
            self.own(staged.blob(), Some(number))?;
        }
        if self.log.insert(&clock_key(row.changed, number), HERE)?.is_some_and(|line| line.value() == GONE) {
            // It went and came back in one transaction.
            self.count(GONE_COUNT, -1)?;
        }
        self.count(REVISION_COUNT, 1)?;
        self.count(PACKED, 1)?;
        if is_current {
            w.touched.numbers.push(number);
        }
        for member in ready.update.members() {
            if !set.is_empty() && self.want_member(w, set, member)? {
                w.applied.wanted += 1;
            }
        }
        self.drop_orphans(w, orphans)
    }

    /// Step 1. Why a revision cannot be taken.
    fn objection(&self, w: &Work<'_>, ready: &Ready, known: Option<&RevisionRow>) -> Result<Option<String>, Error> {
        if let Some(row) = self.refusal(ready.update.identity)?
            && row.stays
            && row.holds(w)
        {
            return Ok(Some(row.reason));
        }
        if let Some(row) = known
            && row.digest != ready.row.digest
            && w.unauthenticated
            && !row.unauthenticated
        {
            return Ok(Some("an upstream that could prove itself sent another document for this revision".into()));
        }
        if let Some(why) = self.circle(&ready.update)? {
            return Ok(Some(why));
        }
        for file in files(&ready.update) {
            let Some(row) = self.file(&file.sha1)? else { continue };
            let sha256 = file.sha256.map(|sha256| *sha256.as_bytes());
            let agrees = row.size == file.size && (row.sha256.is_none() || sha256.is_none() || row.sha256 == sha256);
            let is_better = row.unauthenticated && !w.unauthenticated;
            // An update that is the only one that said so may correct itself.
            // Nor does what nobody may be offered speak against it.
            if !agrees
                && !is_better
                && !self.is_only_of(ready, &file.sha1)?
                && !self.is_offered_by_nobody(&file.sha1)?
            {
                let why = format!("its file {} has another size or SHA-256 in an update that is held", file.sha1);
                return Ok(Some(why));
            }
        }
        Ok(None)
    }

    /// Whether the same update, in any of its revisions, is the only one that has the file.
    fn is_only_of(&self, ready: &Ready, sha1: &Sha1) -> Result<bool, Error> {
        let sha1 = sha1.as_bytes();
        for user in self.users.range::<&[u8; 24]>(&long_key(sha1, 0)..=&long_key(sha1, u32::MAX))? {
            let user = self.revision(super::tables::of_long_key(user?.0.value()))?;
            if user.is_some_and(|user| user.id != ready.row.id) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn file(&self, sha1: &Sha1) -> Result<Option<FileRow>, Error> {
        self.files.get(sha1.as_bytes())?.map(|row| decode("catalog-files.1", row.value())).transpose()
    }

    /// Puts an identity into quarantine; where it is held it must not be offered any more.
    pub(crate) fn refuse(
        &mut self,
        w: &mut Work<'_>,
        identity: Identity,
        reason: String,
        stays: bool,
    ) -> Result<(), Error> {
        let old = self.refusal(identity)?;
        let stays = stays || old.as_ref().is_some_and(|old| old.stays);
        let before = old.filter(|old| old.generation == w.generation).map_or(0, |old| old.tries);
        let row = RefusedRow {
            at: w.now,
            reason: reason.clone(),
            stays,
            generation: w.generation,
            unauthenticated: w.unauthenticated,
            tries: before.saturating_add(1),
        };
        self.refused.insert(&identity_key(identity), encode(&row)?.as_slice())?;
        self.got(w, identity)?;
        if stays && let Some((number, row)) = self.held(identity)? {
            self.set_refused(w, number, row, true)?;
        }
        w.applied.refused.push((identity, reason));
        Ok(())
    }

    /// Whether a held revision may be offered; a change of the log. What it says of files and of what it supersedes counts, or does
    /// not count any more.
    pub(crate) fn set_refused(
        &mut self,
        w: &mut Work<'_>,
        number: u32,
        mut row: RevisionRow,
        refused: bool,
    ) -> Result<(), Error> {
        if row.refused == refused {
            return Ok(());
        }
        self.log.remove(&clock_key(row.changed, number))?;
        if row.current && refused {
            self.cease_superseding(w, number, &row)?;
        }
        row.refused = refused;
        row.changed = self.clock(w)?;
        self.log.insert(&clock_key(row.changed, number), HERE)?;
        self.revisions.insert(number, encode(&row)?.as_slice())?;
        if row.current && !refused {
            self.supersede(w, number, &row)?;
        }
        if row.current {
            w.touched.numbers.push(number);
        }
        self.settle_files(w, number, &row)
    }

    /// The current revision of an update was named by the upstream of now.
    pub(crate) fn mark(&mut self, w: &Work<'_>, id: &[u8; 16]) -> Result<(), Error> {
        if let Some(row) = self.update(id)?
            && row.generation != w.generation
        {
            let row = UpdateRow { generation: w.generation, ..row };
            self.updates.insert(id, encode(&row)?.as_slice())?;
        }
        Ok(())
    }

    /// Gives a blob to a revision, or to nobody: then the sweep takes it.
    pub(crate) fn own(&mut self, blob: u64, owner: Option<u32>) -> Result<(), Error> {
        let row: Option<BlobRow> =
            self.blobs.get(blob)?.map(|row| decode("catalog-blobs.1", row.value())).transpose()?;
        let row = row.ok_or_else(|| Error::Row { what: format!("blob {blob} of the catalog is missing") })?;
        self.blobs.insert(blob, encode(&BlobRow { owner, ..row })?.as_slice())?;
        Ok(())
    }

    /// Takes a revision out with all that belongs to it but its number. `orphans` gains the members that it bundled.
    pub(crate) fn drop_revision(
        &mut self,
        w: &mut Work<'_>,
        number: u32,
        row: &RevisionRow,
        orphans: &mut Vec<Identity>,
    ) -> Result<(), Error> {
        match self.facts(w, number, row) {
            Ok(update) => {
                if row.current {
                    self.unrelate_current(w, number, row, &update)?;
                }
                orphans.extend(self.unrelate(w, number, &update)?);
            }
            Err(Error::Row { what }) => {
                tracing::warn!(number, what, "a revision that cannot be read is taken out by its number");
                if row.current {
                    self.cease_superseding(w, number, row)?;
                }
                orphans.extend(self.unrelate_unread(w, number, row)?);
            }
            Err(other) => return Err(other),
        }
        if row.current {
            w.touched.numbers.push(number);
        }
        self.packs.remove(number)?;
        self.revisions.remove(number)?;
        for part in &row.parts {
            if let Some(blob) = part.blob {
                self.own(blob, None)?;
            }
        }
        self.log.remove(&clock_key(row.changed, number))?;
        self.count(REVISION_COUNT, -1)
    }

    /// Takes an update out as a whole; says how many revisions of it went.
    pub(crate) fn drop_update(&mut self, w: &mut Work<'_>, id: &[u8; 16]) -> Result<(), Error> {
        let mut orphans = Vec::new();
        let (from, to) = (super::tables::id_key(id, 0), super::tables::id_key(id, u32::MAX));
        let numbers: Vec<u32> = self
            .identities
            .range::<&super::tables::IdKey>(&from..=&to)?
            .map(|row| row.map(|(_, number)| number.value()))
            .collect::<Result<_, _>>()?;
        for number in numbers {
            if let Some(row) = self.revision(number)? {
                self.drop_revision(w, number, &row, &mut orphans)?;
                self.gone(w, number)?;
            }
        }
        if self.updates.remove(id)?.is_some() {
            self.count(UPDATE_COUNT, -1)?;
        }
        self.drop_orphans(w, orphans)
    }

    fn gone(&mut self, w: &mut Work<'_>, number: u32) -> Result<(), Error> {
        let clock = self.clock(w)?;
        if self.log.insert(&clock_key(clock, number), GONE)?.is_none() {
            self.count(GONE_COUNT, 1)?;
        }
        Ok(())
    }

    /// Revisions that do not count and that no bundle names any more go, and with them what only they bundled.
    fn drop_orphans(&mut self, w: &mut Work<'_>, mut orphans: Vec<Identity>) -> Result<(), Error> {
        while let Some(identity) = orphans.pop() {
            if let Some((number, row)) = self.held(identity)?
                && !row.current
                && !self.is_member(identity)?
            {
                self.drop_revision(w, number, &row, &mut orphans)?;
                self.gone(w, number)?;
            }
        }
        Ok(())
    }
}
