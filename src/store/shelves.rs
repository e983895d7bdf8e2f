//! Walking all content, where no node runs: what lies in `content/`, held against an index that is being made.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use redb::{Database, ReadableDatabase};

use crate::base::digest::{Blake3, Digest};
use crate::base::disk::Disk;
use crate::base::time::Timestamp;
use crate::model::name::Name;
use crate::model::payload::Class;
use crate::store::entries;
use crate::store::error::Error;
use crate::store::evidence;
use crate::store::layout::Layout;
use crate::store::publish::read_proof;
use crate::store::tables::{
    AliasRow, Id, META, META_EPOCH, META_ID, NAMES, PAYLOAD_COUNT, PAYLOADS, PINS, PayloadRow, TOTALS, authority_code,
    class_code, name_key, name_of,
};

/// Payloads entered in one commit.
const BATCH: usize = 1000;

/// What a walk brought back and what is gone.
#[derive(Clone, Debug, Default)]
pub struct Rebuilt {
    /// Payloads in the index now.
    pub payloads: u64,
    /// Those that came back as unproven. A proof knows nothing of what was learnt after it was written: some of them may
    /// have been proven since, and all stay for the full time that unproven ones are kept.
    pub unproven: u64,
    /// Proofs that cannot be read; their payloads are not in the index.
    pub bad_proofs: Vec<PathBuf>,
    /// Entries that were taken out, since their payloads are not there; those told in `dropped` are some of them.
    pub dropped_count: u64,
    /// How many of those were pinned.
    pub dropped_pinned: u64,
    /// The first hundred thousand of them.
    pub dropped: Vec<Dropped>,
    /// Payloads without a proof, and proofs without their whole payload; not in the index, left where they are.
    pub without_proof: Vec<PathBuf>,
    /// The epoch of the store from now on.
    pub epoch: u64,
    /// Where the index that was replaced is kept, if there was one.
    pub old_index: Option<PathBuf>,
}

/// An entry that was taken out, since its payload is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// What it was.
    pub blake3: Blake3,
    /// Its length in bytes.
    pub size: u64,
    /// What pointed to it, digests left out.
    pub names: Vec<Name>,
    /// Somebody had pinned it. The pin goes with the entry.
    pub pinned: bool,
}

/// Entries that are told one by one: a store whose payloads are all gone has more than anybody reads, at a few hundred
/// bytes each.
const DROPPED_TOLD_MAX: usize = 100_000;

/// What lies on the shelves under one digest.
struct Lying {
    blake3: Blake3,
    /// Length and allocation, where the payload is there.
    payload: Option<(u64, u64)>,
    /// Allocation, where the proof is there.
    proof: Option<u64>,
}

/// When it is, and for how long what comes back unproven stays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) now: Timestamp,
    pub(crate) unproven: Duration,
}

/// Enters every whole payload with a good proof that `db` does not have yet, and takes out the entries whose payload is
/// not there. `each` is told how many payloads were looked at.
pub(crate) fn reconcile(
    db: &Database,
    disk: &dyn Disk,
    layout: &Layout,
    terms: Terms,
    each: &mut dyn FnMut(u64),
) -> Result<Rebuilt, Error> {
    let mut told = Rebuilt::default();
    let mut seen = 0;
    for first in 0..=u8::MAX {
        let shelf = layout.shelf(&Blake3::new([first; 32]));
        let lying = look(disk, &shelf, &mut told)?;
        drop_missing(db, first, &lying, &mut told)?;
        for batch in lying.chunks(BATCH) {
            let tx = db.begin_write()?;
            for lying in batch {
                seen += 1;
                each(seen);
                enter(&tx, disk, layout, lying, terms, &mut told)?;
            }
            tx.commit()?;
        }
    }
    evidence::adopt(db, disk, layout, terms.now)?;
    told.payloads = count(db)?;
    Ok(told)
}

/// Rows of payloads, counted.
pub(crate) fn count(db: &Database) -> Result<u64, Error> {
    use redb::ReadableTableMetadata;
    Ok(db.begin_read()?.open_table(PAYLOADS)?.len()?)
}

fn look(disk: &dyn Disk, shelf: &Path, told: &mut Rebuilt) -> Result<Vec<Lying>, Error> {
    let at = |error: std::io::Error| Error::at(shelf, &error);
    if disk.facts(shelf).map_err(at)?.is_none() {
        return Ok(Vec::new());
    }
    let mut found = std::collections::BTreeMap::<Blake3, Lying>::new();
    for (path, facts) in disk.list(shelf).map_err(at)? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let (digits, is_proof) = name.strip_suffix(".proof").map_or((name, false), |digits| (digits, true));
        let Ok(blake3) = Blake3::from_str(digits) else {
            told.without_proof.push(path);
            continue;
        };
        let lying = found.entry(blake3).or_insert(Lying { blake3, payload: None, proof: None });
        if is_proof {
            lying.proof = Some(facts.allocated);
        } else {
            lying.payload = Some((facts.len, facts.allocated));
        }
    }
    Ok(found.into_values().collect())
}

/// Takes out the entries of one shelf whose payload does not lie there.
fn drop_missing(db: &Database, first: u8, lying: &[Lying], told: &mut Rebuilt) -> Result<(), Error> {
    let mut from: Id = [0; 32];
    let mut to: Id = [0xff; 32];
    (from[0], to[0]) = (first, first);
    let missing: Vec<Id> = {
        let tx = db.begin_read()?;
        let (table, names, pins) = (tx.open_table(PAYLOADS)?, tx.open_table(NAMES)?, tx.open_table(PINS)?);
        let mut missing = Vec::new();
        for row in table.range::<&Id>(&from..=&to)? {
            let (id, row) = row?;
            let row: PayloadRow = crate::store::tables::decode("payloads.1", row.value())?;
            let there = lying.binary_search_by(|lying| lying.blake3.as_bytes().cmp(id.value())).ok();
            let is_whole = there.and_then(|at| lying.get(at)).and_then(|lying| lying.payload);
            if is_whole.is_none_or(|(len, _)| len != row.size) {
                missing.push(*id.value());
                told.dropped_count += 1;
                let pinned = pins.get(id.value())?.is_some();
                told.dropped_pinned += u64::from(pinned);
                if told.dropped.len() < DROPPED_TOLD_MAX {
                    let named = entries::names_in(&names, id.value())?;
                    let names = named.iter().filter_map(|key| name_of(key).ok());
                    let names = names.filter(|name| matches!(name, Name::Origin(_))).collect();
                    told.dropped.push(Dropped { blake3: Blake3::new(*id.value()), size: row.size, names, pinned });
                }
            }
        }
        missing
    };
    for batch in missing.chunks(BATCH) {
        let tx = db.begin_write()?;
        for id in batch {
            entries::take_payload(&tx, id)?;
        }
        tx.commit()?;
    }
    Ok(())
}

fn enter(
    tx: &redb::WriteTransaction,
    disk: &dyn Disk,
    layout: &Layout,
    lying: &Lying,
    terms: Terms,
    told: &mut Rebuilt,
) -> Result<(), Error> {
    let id = lying.blake3.as_bytes();
    if entries::payload(tx, id)?.is_some() {
        return Ok(());
    }
    let (Some((len, allocated)), Some(proof_allocated)) = (lying.payload, lying.proof) else {
        let path = if lying.payload.is_some() { layout.payload(&lying.blake3) } else { layout.proof(&lying.blake3) };
        told.without_proof.push(path);
        return Ok(());
    };
    let path = layout.proof(&lying.blake3);
    let proof = match read_proof(disk, &path, &lying.blake3) {
        Ok(proof) => proof,
        Err(error) => {
            tracing::warn!(%error, "a payload stays out of the index");
            told.bad_proofs.push(path);
            return Ok(());
        }
    };
    if len != proof.size {
        told.without_proof.push(layout.payload(&lying.blake3));
        return Ok(());
    }
    // The end in the proof may lie in the past of a payload that was promoted since. Deleting is never the answer to a
    // lost index.
    let end = terms.now.after(terms.unproven).max(proof.expires_at.unwrap_or_default());
    let row = PayloadRow {
        size: proof.size,
        sha1: *proof.digests.sha1.as_bytes(),
        sha256: *proof.digests.sha256.as_bytes(),
        class: class_code(proof.class),
        // Who proved it is not in the proof; the weakest that could have.
        authority: if proof.class == Class::Proven {
            authority_code(crate::model::payload::Authority::FileName)
        } else {
            0
        },
        sha1_state: 0,
        published_at: proof.published_at.ms(),
        expires_at: (proof.class != Class::Proven).then(|| end.ms()),
        allocated: allocated.saturating_add(proof_allocated),
    };
    entries::put_payload(tx, id, &row, terms.now.min(proof.published_at).ms())?;
    told.unproven += u64::from(proof.class != Class::Proven);
    for (name, alias) in &proof.names {
        let key = name_key(name);
        if let Some(old) = entries::alias(tx, &key)? {
            let other = entries::payload(tx, &old.blake3)?;
            // Two payloads were published under this name: the later one has it, but no digest is given to two.
            let keeps = matches!(name, Name::Digest(Digest::Sha1(_)))
                || other.is_some_and(|other| other.published_at >= row.published_at);
            if keeps {
                continue;
            }
        }
        entries::put_alias(tx, &key, &AliasRow::of(id, alias))?;
    }
    Ok(())
}

/// Writes the facts of the store itself.
pub(crate) fn put_meta(db: &Database, id: &[u8; 16], epoch: u64) -> Result<(), Error> {
    let tx = db.begin_write()?;
    entries::create_tables(&tx)?;
    {
        let mut meta = tx.open_table(META)?;
        meta.insert(META_ID, id.as_slice())?;
        meta.insert(META_EPOCH, epoch.to_le_bytes().as_slice())?;
    }
    tx.commit()?;
    Ok(())
}

/// The id and epoch of an index.
pub(crate) fn meta(db: &Database) -> Result<([u8; 16], u64), Error> {
    let tx = db.begin_read()?;
    read_meta(&tx)
}

/// How many payloads the index knows.
pub(crate) fn read_count(tx: &redb::ReadTransaction) -> Result<u64, Error> {
    Ok(tx.open_table(TOTALS)?.get(PAYLOAD_COUNT)?.map_or(0, |count| count.value()))
}

/// The id and epoch, in a snapshot.
pub(crate) fn read_meta(tx: &redb::ReadTransaction) -> Result<([u8; 16], u64), Error> {
    let wrong = |what: &str| Error::Redb(Box::new(redb::Error::Corrupted(what.into())));
    let meta = tx.open_table(META)?;
    let id = meta.get(META_ID)?.and_then(|id| id.value().try_into().ok());
    let epoch = meta.get(META_EPOCH)?.and_then(|epoch| epoch.value().try_into().ok()).map(u64::from_le_bytes);
    Ok((id.ok_or_else(|| wrong("it has no store id"))?, epoch.ok_or_else(|| wrong("it has no epoch"))?))
}
