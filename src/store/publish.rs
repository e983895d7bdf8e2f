//! Publishing: a complete, hashed draft becomes a payload.
//!
//! 1. The BLAKE3 is ours alone; a delete of it that was cut off is finished first.
//! 2. One commit writes the intent. Where the payload is held already (and its file is whole, and this is no repair)
//!    that commit adds the names, promotes, takes the draft's rows away, and all is done.
//! 3. The draft is synced and sealed.
//! 4. The proof is written beside it and synced.
//! 5. Their directory is made where it is missing, and its own name synced (`shelf`). Proof and payload get their names by
//!    rename, the payload last.
//! 6. The directory is synced.
//! 7. One commit turns the intent into the entry with its names, and takes the draft's rows away.
//!
//! An intent that is not fulfilled is settled by [`Core::settle`] (in `settle`), here or on open: finished where both files have their
//! names (whatever has its name was synced before it got it), else undone. Undoing never unlinks what an entry names.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{ReadableTable, WriteTransaction};

use crate::base::digest::{Blake3, Digest, Digests};
use crate::base::disk::Disk;
use crate::model::name::Name;
use crate::model::payload::{Alias, Authority, Class, Payload, Validators};
use crate::store::core::Core;
use crate::store::draft::DraftFile;
use crate::store::entries;
use crate::store::error::Error;
use crate::store::filling::drop_draft_rows;
use crate::store::hash::{Hashed, Leaf};
use crate::store::judge::{Sha1State, Verdict};
use crate::store::proof::Proof;
use crate::store::space::shift;
use crate::store::tables::{
    ALIASES, AliasRow, DOOMED, DoomedRow, INTENTS, Id, IntentRow, NAMES, NOTES, NoteRow, PAYLOADS, PINS, PayloadRow,
    authority_code, class_code, decode, encode, name_key, name_of,
};
use crate::store::withheld;
use crate::store::writer::Room;

/// What is to be published.
pub(crate) struct Finished<'a> {
    pub(crate) draft: u64,
    pub(crate) file: &'a DraftFile,
    pub(crate) hashed: &'a Hashed,
    pub(crate) sha1: Sha1State,
    /// Whether somebody who counts published the SHA-1 together with a stronger digest.
    pub(crate) sha1_vouched: bool,
    pub(crate) verdict: Verdict,
    /// The names that it was asked for under, the first one first.
    pub(crate) names: Vec<(Name, Alias)>,
    /// The payload whose file this one replaces.
    pub(crate) repairs: Option<Id>,
    /// Of an import, which is in no book: the bytes that it is counted with as a draft.
    pub(crate) imported: Option<&'a AtomicU64>,
}

/// What the intent's commit found.
enum Began {
    /// Nothing, or an entry whose file is to be replaced: the files must move.
    Intent,
    /// The entry is there: its names were added.
    Held,
    /// A delete was cut off.
    Doomed(DoomedRow),
}

/// The row of a held payload, and every name that points to it.
pub(crate) type Known = (PayloadRow, Vec<(Name, Alias)>);

impl Core {
    /// Publishes and returns the identity. On an error the draft is as it was, unless the disk failed to sync it.
    pub(crate) fn publish(&self, finished: &Finished<'_>) -> Result<Blake3, Error> {
        let digests = finished.hashed.digests;
        let blake3 = digests.blake3;
        let id = *blake3.as_bytes();
        let _key = self.keys.take(blake3);
        let now = self.clock.now();
        let proven = finished.verdict.class() == Class::Proven;
        let mut row = PayloadRow {
            size: finished.size(),
            sha1: *digests.sha1.as_bytes(),
            sha256: *digests.sha256.as_bytes(),
            class: class_code(finished.verdict.class()),
            authority: match finished.verdict {
                Verdict::Proven(authority) => authority_code(authority),
                _ => 0,
            },
            sha1_state: finished.sha1.code(),
            published_at: now.ms(),
            expires_at: (!proven).then(|| now.after(self.config.unproven).ms()),
            allocated: 0,
        };
        // A repair says nothing of the payload that was not known before: that its bytes have its own name proves nothing.
        let held = if finished.repairs == Some(id) { Some(self.held(&id)?) } else { None };
        let mut proof_names = Vec::new();
        match held {
            None => {}
            Some(Some((known, names))) => {
                (row.class, row.authority, row.sha1_state) = (known.class, known.authority, known.sha1_state);
                (row.published_at, row.expires_at) = (known.published_at, known.expires_at);
                proof_names = names;
            }
            // It went meanwhile, and took what was known with it.
            Some(None) => {
                (row.class, row.authority) = (class_code(Class::Unproven), 0);
                row.expires_at = Some(now.after(self.config.unproven).ms());
            }
        }
        let names = names_of(finished, &digests, row.sha1_state);
        for (name, alias) in &names {
            if !proof_names.iter().any(|(known, _)| known == name) {
                proof_names.push((name.clone(), alias.clone()));
            }
        }
        let rows: Vec<_> = names.iter().map(|(name, alias)| (name_key(name), AliasRow::of(&id, alias))).collect();
        let intent = IntentRow { draft: finished.draft, payload: row, names: rows };

        let is_whole = self.facts(&self.layout.payload(&blake3))?.is_some_and(|facts| facts.len == finished.size())
            && self.read_proof(&blake3).is_ok();
        let replaces = !is_whole || finished.repairs == Some(id) || self.withheld.has(&blake3);
        loop {
            let theirs = intent.clone();
            match self.writer.write(Room::Adds, move |tx| begin(tx, &id, &theirs, replaces, now.ms()))? {
                Began::Doomed(row) => {
                    let bytes = row.allocated.max(1);
                    self.finish_doomed(vec![(id, row)])?;
                    self.sums.change(|sums| shift(&mut sums.doomed, 0, bytes));
                }
                Began::Held => {
                    self.cache.drop_payload(&blake3, None);
                    self.drop_names(&names);
                    self.arrived.note(blake3);
                    self.unlink(finished.file.path())?;
                    return Ok(blake3);
                }
                Began::Intent => break,
            }
        }
        let done = self
            .move_in(finished, &blake3, &proof_names, &intent.payload)
            .and_then(|()| self.enter(id, intent.clone(), || finished.uncount(self)));
        if let Err(error) = done {
            tracing::warn!(%blake3, %error, "a publish failed and is undone");
            if let Err(error) = self.settle(id, &intent, false) {
                tracing::warn!(%blake3, %error, "undoing it waits for the next start");
            }
            return Err(error);
        }
        self.drop_names(&names);
        self.arrived.note(blake3);
        Ok(blake3)
    }

    /// The row of a held payload, and every name that points to it.
    pub(crate) fn held(&self, id: &Id) -> Result<Option<Known>, Error> {
        self.index.read(|tx| {
            let Some(row) = tx.open_table(PAYLOADS)?.get(id)?.map(|row| decode("payloads.1", row.value())) else {
                return Ok(None);
            };
            let aliases = tx.open_table(ALIASES)?;
            let mut names = Vec::new();
            for key in entries::names_in(&tx.open_table(NAMES)?, id)? {
                if let Some(alias) = aliases.get(key.as_slice())? {
                    let alias: AliasRow = decode("aliases.1", alias.value())?;
                    names.push((name_of(&key)?, alias.alias()));
                }
            }
            Ok(Some((row?, names)))
        })
    }

    fn drop_names(&self, names: &[(Name, Alias)]) {
        for (name, _) in names {
            self.cache.drop_name(name);
        }
    }

    /// Steps 3 to 6.
    fn move_in(
        &self,
        finished: &Finished<'_>,
        blake3: &Blake3,
        names: &[(Name, Alias)],
        row: &PayloadRow,
    ) -> Result<(), Error> {
        let layout = &self.layout;
        let draft = finished.file.path();
        finished.file.sync().map_err(|error| Error::at(draft, &error))?;
        self.disk.seal(draft).map_err(|error| Error::at(draft, &error))?;

        let payload = row.payload(blake3.as_bytes());
        let proof = proof_of(&payload, names, finished.hashed.leaves.clone());
        let temporary = layout.draft_proof(finished.draft);
        self.write_proof(&proof, &temporary)?;

        self.make_shelf(blake3)?;
        for (from, to) in [(temporary.as_path(), layout.proof(blake3)), (draft, layout.payload(blake3))] {
            self.disk.rename(from, &to).map_err(|error| Error::at(&to, &error))?;
        }
        self.sync_dir(&layout.shelf(blake3))
    }

    /// Step 4. Written to `temporary`, synced and sealed.
    fn write_proof(&self, proof: &Proof, temporary: &Path) -> Result<(), Error> {
        self.unlink(temporary)?;
        let write = || -> io::Result<()> {
            let file = self.disk.create(temporary)?;
            file.write_at(&proof.encode(), 0)?;
            file.sync()?;
            self.disk.seal(temporary)
        };
        write().map_err(|error| Error::at(temporary, &error))
    }

    /// Makes the proof of a held payload again, whose leaves were computed from the payload itself and make its BLAKE3.
    /// The caller holds the key.
    pub(crate) fn prove_again(&self, blake3: &Blake3, leaves: Vec<Leaf>) -> Result<(), Error> {
        let Some((row, names)) = self.held(blake3.as_bytes())? else { return Err(Error::Gone) };
        let proof = proof_of(&row.payload(blake3.as_bytes()), &names, leaves);
        let (temporary, place) = (self.layout.draft_proof(self.next_id()), self.layout.proof(blake3));
        self.write_proof(&proof, &temporary)?;
        self.disk.rename(&temporary, &place).map_err(|error| Error::at(&place, &error))?;
        self.sync_dir(&self.layout.shelf(blake3))
    }

    /// Step 7. `counted` gives the bytes that the payload was counted with as a draft, which it is no more.
    pub(crate) fn enter(&self, id: Id, mut intent: IntentRow, counted: impl FnOnce() -> u64) -> Result<(), Error> {
        let blake3 = Blake3::new(id);
        for path in [self.layout.payload(&blake3), self.layout.proof(&blake3)] {
            intent.payload.allocated += self.facts(&path)?.map_or(0, |facts| facts.allocated);
        }
        let allocated = intent.payload.allocated;
        let now = self.clock.now().ms();
        let outdated = self.outdated(&intent.payload.digests(&id)).unwrap_or_else(|error| {
            // It only stands in another place of the order, until what is held is looked through once more.
            tracing::debug!(%blake3, %error, "whether any update still needs it could not be found out");
            None
        });
        let old = self.writer.write(Room::Frees, move |tx| {
            let old = entries::payload(tx, &id)?;
            tx.open_table(INTENTS)?.remove(&id)?;
            put_entry(tx, &id, &intent, now)?;
            if let Some(outdated) = outdated {
                entries::mark_outdated(tx, &id, outdated)?;
            }
            withheld::release(tx, &id)?;
            drop_draft_rows(tx, intent.draft)?;
            Ok(old)
        })?;
        self.withheld.forget(&blake3);
        // Where a file was replaced, whoever is still served from the old one keeps its blocks.
        self.cache.drop_payload(&blake3, old.as_ref().map(|row| row.allocated));
        // One file under two counts would be twice as much as there is, and room would be made for it.
        let was_draft = counted();
        self.sums.change(|sums| {
            shift(&mut sums.payloads, allocated, old.as_ref().map_or(0, |row| row.allocated));
            shift(&mut sums.count, u64::from(old.is_none()), 0);
            shift(&mut sums.drafts, 0, was_draft);
        });
        Ok(())
    }

    /// The proof of a payload, read and checked.
    pub(crate) fn read_proof(&self, blake3: &Blake3) -> Result<Proof, Error> {
        read_proof(&*self.disk, &self.layout.proof(blake3), blake3)
    }
}

fn proof_of(payload: &Payload, names: &[(Name, Alias)], leaves: Vec<Leaf>) -> Proof {
    Proof {
        size: payload.size,
        digests: payload.digests,
        class: payload.class,
        published_at: payload.published_at,
        expires_at: payload.expires_at,
        names: names.to_vec(),
        leaves,
    }
}

/// The proof at `path`, which must be the one of `blake3`.
pub(crate) fn read_proof(disk: &dyn Disk, path: &Path, blake3: &Blake3) -> Result<Proof, Error> {
    let damaged = |why: String| Error::Invalid {
        what: format!("{}: {why}; remove the payload, or refetch it, to get a new one", path.display()),
    };
    let proof = Proof::read(disk, path).map_err(|error| damaged(error.to_string()))?;
    if proof.root() != *blake3 {
        return Err(damaged(format!("it is the proof of blake3-{}", proof.digests.blake3)));
    }
    Ok(proof)
}

impl Finished<'_> {
    /// Takes it out of what is counted as drafts; returns the bytes that it was counted with.
    fn uncount(&self, core: &Core) -> u64 {
        match self.imported {
            Some(bytes) => bytes.swap(0, Ordering::AcqRel),
            None => core.book.take(self.draft).unwrap_or(0),
        }
    }

    fn size(&self) -> u64 {
        self.file.covered().total()
    }
}

/// All names to set: those that were asked for, and the digests. Each once.
fn names_of(finished: &Finished<'_>, digests: &Digests, sha1_state: u8) -> Vec<(Name, Alias)> {
    let last_modified = finished.names.first().and_then(|(_, alias)| alias.last_modified.clone());
    let mut names: Vec<(Name, Alias)> = Vec::new();
    for (name, alias) in &finished.names {
        if !names.iter().any(|(known, _)| known == name) {
            names.push((name.clone(), alias.clone()));
        }
    }
    let mut own = vec![Digest::Sha256(digests.sha256), Digest::Blake3(digests.blake3)];
    // Under a SHA-1 that somebody made two files for nothing is answered; and whether one did is only known where that was
    // looked for, or where it was published as the other name of the very same bytes.
    let is_clean = sha1_state == Sha1State::Clean.code();
    if is_clean || finished.sha1_vouched && sha1_state != Sha1State::Collision.code() {
        own.push(Digest::Sha1(digests.sha1));
    }
    for digest in own {
        let name = Name::Digest(digest);
        if !names.iter().any(|(known, _)| *known == name) {
            let alias = Alias {
                tag: digest.to_string(),
                last_modified: last_modified.clone(),
                validators: Validators::default(),
                freshness: None,
            };
            names.push((name, alias));
        }
    }
    names
}

/// Step 2.
fn begin(tx: &WriteTransaction, id: &Id, intent: &IntentRow, replaces: bool, now: u64) -> Result<Began, Error> {
    if let Some(row) = tx.open_table(DOOMED)?.get(id)? {
        return Ok(Began::Doomed(decode("doomed.1", row.value())?));
    }
    if !replaces && entries::payload(tx, id)?.is_some() {
        put_entry(tx, id, intent, now)?;
        drop_draft_rows(tx, intent.draft)?;
        return Ok(Began::Held);
    }
    tx.open_table(INTENTS)?.insert(id, encode(intent)?.as_slice())?;
    Ok(Began::Intent)
}

/// The entry and its names. What is known of a held payload only gets better: class, authority, a later end.
fn put_entry(tx: &WriteTransaction, id: &Id, intent: &IntentRow, now: u64) -> Result<(), Error> {
    let mut row = intent.payload.clone();
    // That it came is no use; somebody who fills what is held wants it now.
    let mut used = row.published_at;
    if let Some(old) = entries::payload(tx, id)? {
        used = now;
        row.published_at = old.published_at;
        row.class = row.class.max(old.class);
        row.authority = row.authority.max(old.authority);
        if row.sha1_state == Sha1State::Unchecked.code() {
            row.sha1_state = old.sha1_state;
        }
        if row.allocated == 0 {
            row.allocated = old.allocated;
        }
    }
    if entries::is_proven(&row) || tx.open_table(PINS)?.get(id)?.is_some() {
        row.expires_at = None;
    }
    entries::put_payload(tx, id, &row, used)?;
    intent.names.iter().try_for_each(|(name, alias)| put_name(tx, id, name, alias.clone()))
}

/// Lets `name` point to a payload that is there, unless it is a digest's and points somewhere for good.
pub(crate) fn put_name(tx: &WriteTransaction, id: &Id, name: &[u8], mut alias: AliasRow) -> Result<(), Error> {
    if let Some(old) = entries::alias(tx, name)? {
        let is_digest = matches!(name_of(name)?, Name::Digest(_));
        if is_digest && old.blake3 == *id {
            // Tag and Last-Modified of a name are fixed when it is first answered.
            return Ok(());
        }
        let other = entries::payload(tx, &old.blake3)?;
        if is_digest && other.as_ref().is_some_and(entries::is_proven) {
            // Two payloads with one SHA-1: the proven one keeps it, and of two the first.
            return Ok(());
        }
    }
    // Whoever asked for it under this name is to be answered.
    entries::make_place(tx, id, name)?;
    if alias.tag == name_of(name)?.to_string() {
        let note = tx.open_table(NOTES)?.get(name)?.map(|row| decode::<NoteRow>("notes.1", row.value()));
        let generation = note.transpose()?.map_or(0, |note| note.generation);
        if generation > 1 {
            alias.tag = format!("{}-{generation}", alias.tag);
        }
    }
    entries::put_alias(tx, name, &alias)
}

/// The authority that proved a payload, if any did.
pub(crate) fn proven_by(row: &PayloadRow) -> Option<Authority> {
    entries::is_proven(row).then(|| crate::store::tables::authority_of(row.authority))
}
