//! Which files the content policy wants: a walk over all updates that can be approved, in short snapshots, each file once.
//!
//! 1. A snapshot goes on behind the last update that was looked at ([`Walk`]), by revision numbers.
//! 2. What stands in an update's row says whether anything of it can be wanted; only then is it unpacked, with all that it bundles.
//! 3. Its files are gathered over the bundle: those for other languages than the filters have are left out, where the metadata names
//!    languages. Texts of licences are not among them: they are asked for as they are shown.
//! 4. The policy decides once more, now that it is known whether endpoints read parts of them.
//! 5. A file that an earlier update brought is left out, so that sums are true. Of each other one it is told whether it is held. One
//!    that is encrypted is counted and left out: what lies at its addresses is not what its digests are of.
//!
//! What the walk keeps in memory is 20 bytes for each file that is wanted, and the updates of one step.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use redb::ReadTransaction;

use crate::base::digest::{Digest, Sha1};
use crate::model::filter;
use crate::model::name::Name;
use crate::model::policy::{Facts, Policy, Verdict, Wants, Word, is_in_languages, is_read_in_parts, likeness};
use crate::model::relations::{self, CLOSURE_MAX, Follow, Target};
use crate::model::update::{File, Identity, Update, UpdateId};
use crate::store::approvals::words::decision_for_files;
use crate::store::catalog::asked::asked_in;
use crate::store::catalog::decisions::row_in;
use crate::store::catalog::facts::severity_of;
use crate::store::catalog::look::{revision_in, row_of};
use crate::store::catalog::pack::Dictionaries;
use crate::store::catalog::tables::{
    FILES, FileRow, Guid, IDENTITIES, IdKey, REVISIONS, SUPERSEDED, ShownRow, id_key, identity_key, of_id_key, read,
};
use crate::store::core::Core;
use crate::store::entries;
use crate::store::error::Error;
use crate::store::tables::{decode, name_key};

/// Updates that one snapshot looks at: pages that a commit gave up are used again only when no snapshot needs them.
const SLICE: usize = 5_000;
/// Wanted updates that one snapshot unpacks, and files after which it ends: an upgrade has thousands.
const UPDATES_STEP: usize = 100;
const FILES_STEP: usize = 1_000;
/// Files that one walk can tell apart: the largest catalog known has a tenth of it.
const FILES_MAX: usize = 4_000_000;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Sift {
    /// The policy.
    pub policy: Policy,
    /// What the filters find; `None` where there are none, and all is taken.
    pub filters: Option<filter::Wanted>,
    /// Languages, by short name; empty for all.
    pub languages: BTreeSet<String>,
    /// Updates that were let in since endpoints miss them.
    pub drawn: Arc<BTreeSet<UpdateId>>,
}

/// A walk that is under way.
#[derive(Debug, Default)]
pub struct Walk {
    after: Option<u32>,
    ended: bool,
    seen: HashSet<Sha1>,
    asked: Option<HashSet<String>>,
}

impl Walk {
    /// What endpoints asked for is something else by now: the next step looks at it again.
    pub fn refresh(&mut self) {
        self.asked = None;
    }

    /// Whether all was looked at.
    pub fn is_ended(&self) -> bool {
        self.ended
    }
}

/// An update of which files are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedUpdate {
    /// Which.
    pub identity: Identity,
    /// Its title.
    pub title: String,
    /// It came over plain HTTP: nothing proves who said it.
    pub unauthenticated: bool,
    /// Its categories.
    pub categories: Vec<UpdateId>,
    /// What is wanted of it, and why.
    pub verdict: Verdict,
    /// Parts of it that the catalog does not have (yet): their files are not known.
    pub missing: u64,
    /// Files that would be wanted because of it and of none before it, and are left out since they are encrypted.
    pub encrypted: u64,
    /// Files that are wanted because of it and of none before it.
    pub files: Vec<WantedFile>,
}

/// A file that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedFile {
    /// The file.
    pub file: File,
    /// Whether endpoints read parts of it.
    pub in_parts: bool,
    /// Where it may be had, the newest address first.
    pub urls: Vec<String>,
    /// Only an unauthenticated catalog names it: its digests prove nothing.
    pub unauthenticated: bool,
    /// Its payload is held.
    pub held: bool,
}

/// What a bundle comes to: its files, and how many parts of it are missing.
type Bundle = (Vec<Gathered>, u64);

/// What a snapshot found: updates, contents of the files that were counted with them, and the last number that was looked at, if there
/// may be more behind it.
type Found = (Vec<WantedUpdate>, HashSet<Sha1>, Option<u32>);

/// A file on the way through a step.
struct Gathered {
    file: File,
    in_parts: bool,
}

impl Core {
    /// The next step of a walk. Blocks.
    pub(crate) fn wanted_step(&self, sift: &Sift, mut walk: Walk) -> Result<(Walk, Vec<WantedUpdate>), Error> {
        if walk.asked.is_none() {
            let now = self.clock.now();
            walk.asked = Some(self.index.read(|tx| asked_in(tx, now))?);
        }
        let (found, here, last) = self.index.read(|tx| step(tx, &self.catalog.dictionaries, sift, &walk))?;
        walk.seen.extend(here);
        if walk.seen.len() > FILES_MAX {
            let what = format!("more than {FILES_MAX} files are wanted: narrow the filters or the content policy");
            return Err(Error::Invalid { what });
        }
        match last {
            Some(last) => walk.after = Some(last),
            None => walk.ended = true,
        }
        Ok((walk, found))
    }

    /// What is wanted of these updates, in the revisions with these numbers, each by itself: a file of two counts with both. Those that
    /// cannot be approved by themselves, or are not held, are left out. Blocks.
    pub(crate) fn wanted_of(&self, sift: &Sift, numbers: &[u32]) -> Result<Vec<WantedUpdate>, Error> {
        // What endpoints asked for is no reason here.
        let walk = Walk { asked: Some(HashSet::new()), ..Walk::default() };
        self.index.read(|tx| {
            let Some(table) = read(tx, REVISIONS)? else { return Ok(Vec::new()) };
            let mut found = Vec::new();
            for number in numbers {
                let Some(row) = table.get(number)? else { continue };
                let row: ShownRow<'_> = decode("catalog-revisions.1", row.value())?;
                if can_be_wanted(&row) {
                    found.extend(wanted_update(
                        tx,
                        &self.catalog.dictionaries,
                        sift,
                        &walk,
                        &mut HashSet::new(),
                        &row,
                    )?);
                }
            }
            Ok(found)
        })
    }

    /// What the policy makes of one update, in the revision with this number: as a walk has it. `None` where it cannot be
    /// approved by itself or is not held.
    pub(crate) fn judge(&self, sift: &Sift, number: u32) -> Result<Option<Verdict>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, REVISIONS)? else { return Ok(None) };
            let Some(row) = table.get(number)? else { return Ok(None) };
            let row: ShownRow<'_> = decode("catalog-revisions.1", row.value())?;
            if !can_be_wanted(&row) {
                return Ok(None);
            }
            let (verdict, _) = weigh(tx, &self.catalog.dictionaries, sift, &row)?;
            Ok(Some(verdict))
        })
    }
}

/// Software and drivers that count of their update and can be approved by themselves.
fn can_be_wanted(row: &ShownRow<'_>) -> bool {
    row.current && row.deployable && row.kind <= 1
}

/// Steps 2 to 4: the verdict, and the files of the bundle with how many parts are missing, where anything is wanted.
fn weigh(
    tx: &ReadTransaction,
    dictionaries: &Dictionaries,
    sift: &Sift,
    row: &ShownRow<'_>,
) -> Result<(Verdict, Option<Bundle>), Error> {
    let categories: Vec<UpdateId> = row.categories.iter().copied().map(UpdateId::new).collect();
    let decision = decision_for_files(tx, &row.id)?;
    let superseded = is_replaced(tx, &row.id)?;
    let facts = Facts {
        severity: severity_of(row.severity)?,
        categories: &categories,
        in_filters: sift.filters.as_ref().is_none_or(|filters| filters.takes(categories.iter().copied())),
        refused: row.refused,
        expired: row.publication != 0,
        superseded,
        has_parts: false,
        drawn: sift.drawn.contains(&UpdateId::new(row.id)),
        decision: decision.as_ref(),
    };
    let verdict = sift.policy.decide(&facts);
    if verdict.wants == Wants::Nothing {
        return Ok((verdict, None));
    }
    let root = Identity { id: UpdateId::new(row.id), revision: row.revision };
    let (files, missing) = gather(tx, dictionaries, sift, root)?;
    let has_parts = files.iter().any(|file| file.in_parts);
    Ok((sift.policy.decide(&Facts { has_parts, ..facts }), Some((files, missing))))
}

/// Whether something that counts supersedes it. What a person declined does not: nobody gets it, so that it does the work of nothing.
fn is_replaced(tx: &ReadTransaction, id: &Guid) -> Result<bool, Error> {
    let Some(table) = read(tx, SUPERSEDED)? else { return Ok(false) };
    for row in table.range::<&IdKey>(&id_key(id, 0)..=&id_key(id, u32::MAX))? {
        let (_, number) = of_id_key(row?.0.value());
        let is_declined = match row_of(tx, number)? {
            Some(by) => row_in(tx, &by.id)?.is_some_and(|decision| decision.word == Word::Declined),
            None => false,
        };
        if !is_declined {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Step 3.
fn gather(tx: &ReadTransaction, dictionaries: &Dictionaries, sift: &Sift, root: Identity) -> Result<Bundle, Error> {
    let identities = read(tx, IDENTITIES)?;
    let look = |target: Target| -> Result<Option<Box<Update>>, Error> {
        let (Target::Revision(identity), Some(identities)) = (target, &identities) else { return Ok(None) };
        let Some(number) = identities.get(&identity_key(identity))?.map(|number| number.value()) else {
            return Ok(None);
        };
        // One that is in quarantine is as good as missing.
        let Some(row) = row_of(tx, number)?.filter(|row| !row.refused) else { return Ok(None) };
        Ok(Some(Box::new(revision_in(tx, dictionaries, number, &row)?)))
    };
    let (mut files, mut contents) = (Vec::new(), HashSet::new());
    let visit = |update: &Update| {
        if !is_in_languages(&update.languages, &sift.languages) {
            return;
        }
        for file in &update.files {
            if contents.insert(file.sha1) {
                files.push(Gathered { file: file.clone(), in_parts: is_read_in_parts(file, &update.handler) });
            }
        }
    };
    let closure = relations::closure([Target::Revision(root)], Follow::Bundles, CLOSURE_MAX, look, visit);
    match closure {
        Ok(closure) => Ok((files, closure.missing.len() as u64)),
        Err(relations::Error::Lookup(error)) => Err(error),
        // Nobody can approve what has no end.
        Err(relations::Error::Large { .. }) => Ok((Vec::new(), 1)),
    }
}

/// One snapshot.
fn step(tx: &ReadTransaction, dictionaries: &Dictionaries, sift: &Sift, walk: &Walk) -> Result<Found, Error> {
    let nothing = (Vec::new(), HashSet::new(), None);
    let Some(table) = read(tx, REVISIONS)? else { return Ok(nothing) };
    let Some(from) = walk.after.map_or(Some(0), |after| after.checked_add(1)) else { return Ok(nothing) };
    let (mut found, mut here, mut unpacked) = (Vec::new(), HashSet::new(), 0);
    for (at, row) in table.range(from..)?.enumerate() {
        let (number, row) = row?;
        let row: ShownRow<'_> = decode("catalog-revisions.1", row.value())?;
        if can_be_wanted(&row)
            && let Some(update) = wanted_update(tx, dictionaries, sift, walk, &mut here, &row)?
        {
            unpacked += 1;
            found.push(update);
        }
        if at + 1 >= SLICE || unpacked >= UPDATES_STEP || here.len() >= FILES_STEP {
            return Ok((found, here, Some(number.value())));
        }
    }
    Ok((found, here, None))
}

/// Steps 2 to 5 of one update; `None` where nothing of it can be wanted.
fn wanted_update(
    tx: &ReadTransaction,
    dictionaries: &Dictionaries,
    sift: &Sift,
    walk: &Walk,
    here: &mut HashSet<Sha1>,
    row: &ShownRow<'_>,
) -> Result<Option<WantedUpdate>, Error> {
    let (verdict, gathered) = weigh(tx, dictionaries, sift, row)?;
    let Some((files, missing)) = gathered else { return Ok(None) };
    let (files, encrypted) = wanted(tx, walk, here, verdict, files)?;
    Ok(Some(WantedUpdate {
        identity: Identity { id: UpdateId::new(row.id), revision: row.revision },
        title: row.title.to_owned(),
        unauthenticated: row.unauthenticated,
        categories: row.categories.iter().copied().map(UpdateId::new).collect(),
        verdict,
        missing,
        encrypted,
        files,
    }))
}

/// Step 5: the files, and how many encrypted ones are left out.
fn wanted(
    tx: &ReadTransaction,
    walk: &Walk,
    here: &mut HashSet<Sha1>,
    verdict: Verdict,
    files: Vec<Gathered>,
) -> Result<(Vec<WantedFile>, u64), Error> {
    let is_asked = |file: &Gathered| {
        let like = likeness(&file.file.name);
        !file.in_parts && !like.is_empty() && walk.asked.as_ref().is_some_and(|asked| asked.contains(&like))
    };
    let (mut wanted, mut encrypted) = (Vec::new(), 0);
    let known = read(tx, FILES)?;
    for gathered in files {
        let fits = match verdict.wants {
            Wants::Nothing => false,
            Wants::Asked => is_asked(&gathered),
            Wants::Everything => true,
        };
        if !fits || walk.seen.contains(&gathered.file.sha1) || !here.insert(gathered.file.sha1) {
            continue;
        }
        if gathered.file.encrypted {
            encrypted += 1;
            continue;
        }
        let row: Option<FileRow> = match &known {
            Some(known) => known
                .get(gathered.file.sha1.as_bytes())?
                .map(|row| decode("catalog-files.1", row.value()))
                .transpose()?,
            None => None,
        };
        let mut file = gathered.file;
        // What is believed of a file stands in its row. An update of an upstream that proves nothing adds a digest only where
        // nobody proven has said anything.
        let is_proven = row.as_ref().is_some_and(|row| !row.unauthenticated && row.size == file.size);
        let row = row.unwrap_or_default();
        let published = row.sha256.filter(|_| row.size == file.size).map(crate::base::digest::Sha256::new);
        file.sha256 = if is_proven { published } else { file.sha256.or(published) };
        let held = is_held(tx, &file)?;
        wanted.push(WantedFile {
            in_parts: gathered.in_parts,
            urls: row.urls,
            unauthenticated: !is_proven,
            held,
            file,
        });
    }
    Ok((wanted, encrypted))
}

/// Whether the payload of a file is held under one of its digests.
fn is_held(tx: &ReadTransaction, file: &File) -> Result<bool, Error> {
    for digest in file.sha256.map(Digest::Sha256).into_iter().chain([Digest::Sha1(file.sha1)]) {
        if entries::look_up(tx, &name_key(&Name::Digest(digest)))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
