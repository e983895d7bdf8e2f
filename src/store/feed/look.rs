//! Reading the feed, each answer from one snapshot.

use std::collections::BTreeSet;
use std::ops::Bound;

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};

use crate::model::chain::hash::{KeyHash, Link, RecordHash};
use crate::model::chain::ids::{Audience, Position};
use crate::model::chain::live::Leaf;
use crate::model::chain::record::{Entry, Record};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::feed::publish::of_floor;
use crate::store::feed::tables::{
    APPLYING, BODIES, BodyKey, CHECKPOINT, CHECKPOINTS, FLOOR, LIVE, LOG, STAGED, STAMP, STATE, UNTOLD, VOUCH,
    body_key, of_live, of_log, of_staged, read, todo_key,
};
use crate::store::feed::{LATE, Piece, Show, Told};
use crate::store::writer::Room;

/// Live records that one snapshot looks through for their kind.
const KEYS_STEP: usize = 2_000;
/// Bytes of records that are asked for by their keys: 64 of the largest. An answer is made in memory, and who asks names the keys.
const CONTENTS_BYTES_MAX: usize = 66 << 20;
/// Bytes of an entry beside its content, as it is counted against the size of an answer.
const ENTRY_BYTES: usize = 82;

type Bodies = Option<ReadOnlyTable<&'static BodyKey, &'static [u8]>>;

/// The content where it may be told and is held, or the hashes.
fn shown(
    bodies: &Bodies,
    audiences: &BTreeSet<Audience>,
    (audience, key, record): (Audience, KeyHash, RecordHash),
) -> Result<Entry, Error> {
    if let Some(bodies) = bodies.as_ref().filter(|_| audiences.contains(&audience) && record != RecordHash::NONE)
        && let Some(found) = super::body::get(bodies, audience, key, record)?
    {
        return Ok(Entry::set(found));
    }
    Ok(Entry::bare(audience, key, record))
}

fn weight(entry: &Entry) -> usize {
    ENTRY_BYTES
        + match entry.shown() {
            crate::model::chain::record::Shown::Record(record) => record.body().len() + record.key().len(),
            _ => 0,
        }
}

/// What is shown, and where the log begins; nothing while something is being moved.
fn begin(tx: &ReadTransaction) -> Result<Option<Piece>, Error> {
    let Some(state) = read(tx, STATE)? else { return Ok(None) };
    let of = |name: &str| -> Result<Option<Vec<u8>>, Error> { Ok(state.get(name)?.map(|row| row.value().to_vec())) };
    let (Some(vouch), Some(checkpoint), Some(floor)) = (of(VOUCH)?, of(CHECKPOINT)?, of(FLOOR)?) else {
        return Ok(None);
    };
    if of(APPLYING)?.is_some() {
        return Ok(None);
    }
    let floor: Option<(Position, Link)> = of_floor(&floor);
    let floor = floor.ok_or_else(|| Error::Row { what: "the beginning of the feed's log cannot be read".into() })?;
    let show = Show { vouch, checkpoint, stamp: of(STAMP)? };
    Ok(Some(Piece { show, floor, entries: Vec::new(), link: None, checkpoint: None, more: false }))
}

/// A row of what is to be told.
fn told_of(row: &[u8]) -> Result<Told, Error> {
    let broken = || Error::Row { what: "a row of what is to be told of the feed cannot be read".into() };
    let ([turn, kind], key) = row.split_first_chunk().ok_or_else(broken)?;
    Ok(Told { turn: *turn, kind: *kind, key: key.to_vec() })
}

impl Core {
    pub(super) fn feed_state(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.index.read(|tx| {
            let Some(state) = read(tx, STATE)? else { return Ok(None) };
            Ok(state.get(name)?.map(|row| row.value().to_vec()))
        })
    }

    pub(super) fn feed_live(&self) -> Result<Vec<Leaf>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, LIVE)? else { return Ok(vec![]) };
            let rows = table.range::<&[u8; 32]>(..)?.map(|row| {
                let (key, row) = row?;
                let (audience, record, held) = of_live(row.value());
                Ok(Leaf { key: KeyHash::new(*key.value()), record, audience, held })
            });
            rows.collect()
        })
    }

    pub(super) fn feed_staged(&self) -> Result<Vec<(KeyHash, Option<Leaf>)>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, STAGED)? else { return Ok(vec![]) };
            let bodies = read(tx, BODIES)?;
            let rows = table.range::<u64>(..)?.map(|row| {
                let (audience, key, record) = of_staged(row?.1.value());
                if record == RecordHash::NONE {
                    return Ok((key, None));
                }
                let held = match &bodies {
                    Some(bodies) => bodies.get(&body_key(key, record))?.is_some(),
                    None => false,
                };
                Ok((key, Some(Leaf { key, record, audience, held })))
            });
            rows.collect()
        })
    }

    pub(super) fn feed_record(&self, kind: u8, key: &[u8]) -> Result<Option<Record>, Error> {
        let hash = KeyHash::of(kind, key);
        self.index.read(|tx| {
            let (Some(live), Some(bodies)) = (read(tx, LIVE)?, read(tx, BODIES)?) else { return Ok(None) };
            let Some((audience, record, _)) = live.get(hash.bytes())?.map(|row| of_live(row.value())) else {
                return Ok(None);
            };
            super::body::get(&bodies, audience, hash, record)
        })
    }

    pub(super) fn feed_tail(
        &self,
        after: u64,
        limit: usize,
        bytes: usize,
        audiences: &BTreeSet<Audience>,
    ) -> Result<Option<Piece>, Error> {
        self.index.read(|tx| {
            let Some(mut piece) = begin(tx)? else { return Ok(None) };
            if after == piece.floor.0.sequence {
                piece.link = Some(piece.floor.1);
            }
            let (Some(log), bodies) = (read(tx, LOG)?, read(tx, BODIES)?) else { return Ok(Some(piece)) };
            if let Some(row) = log.get(after)? {
                piece.link = Some(of_log(row.value()).3);
            }
            if piece.link.is_none() {
                return Ok(Some(piece));
            }
            let (mut last, mut size) = (after, 0);
            for row in log.range((Bound::Excluded(after), Bound::Unbounded))? {
                let (at, row) = row?;
                if piece.entries.len() >= limit || size >= bytes {
                    piece.more = true;
                    break;
                }
                let (audience, key, record, _) = of_log(row.value());
                // What was replaced since has no content any more, and goes as its hash.
                let entry = shown(&bodies, audiences, (audience, key, record))?;
                size += weight(&entry);
                piece.entries.push(entry);
                last = at.value();
            }
            if let Some(checkpoints) = read(tx, CHECKPOINTS)? {
                piece.checkpoint = checkpoints.get(last)?.map(|row| row.value().to_vec());
            }
            Ok(Some(piece))
        })
    }

    pub(super) fn feed_page(
        &self,
        after: Option<KeyHash>,
        bytes: usize,
        bare: bool,
        audiences: &BTreeSet<Audience>,
    ) -> Result<Option<Piece>, Error> {
        self.index.read(|tx| {
            let Some(mut piece) = begin(tx)? else { return Ok(None) };
            let Some(live) = read(tx, LIVE)? else { return Ok(Some(piece)) };
            let bodies = if bare { None } else { read(tx, BODIES)? };
            let from = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(after.bytes()));
            let mut size = 0;
            for row in live.range::<&[u8; 32]>((from, Bound::Unbounded))? {
                let (key, row) = row?;
                if size >= bytes {
                    piece.more = true;
                    break;
                }
                let (audience, record, _) = of_live(row.value());
                let entry = shown(&bodies, audiences, (audience, KeyHash::new(*key.value()), record))?;
                size += weight(&entry);
                piece.entries.push(entry);
            }
            Ok(Some(piece))
        })
    }

    pub(super) fn feed_contents(
        &self,
        keys: &[KeyHash],
        audiences: &BTreeSet<Audience>,
    ) -> Result<Option<Piece>, Error> {
        self.index.read(|tx| {
            let Some(mut piece) = begin(tx)? else { return Ok(None) };
            let (Some(live), bodies) = (read(tx, LIVE)?, read(tx, BODIES)?) else { return Ok(Some(piece)) };
            let mut size = 0;
            for key in keys {
                let Some((audience, record, _)) = live.get(key.bytes())?.map(|row| of_live(row.value())) else {
                    continue;
                };
                let entry = shown(&bodies, audiences, (audience, *key, record))?;
                if entry.is_whole() {
                    size += weight(&entry);
                    piece.entries.push(entry);
                }
                if size > CONTENTS_BYTES_MAX {
                    let what = format!("the contents of {} records are too much at once: ask for fewer", keys.len());
                    return Err(Error::Invalid { what });
                }
            }
            Ok(Some(piece))
        })
    }

    /// Keys of live records of a kind, behind a key hash, and where to go on.
    pub(super) fn feed_keys(&self, kind: u8, after: Option<KeyHash>) -> Result<(Vec<Vec<u8>>, Option<KeyHash>), Error> {
        self.index.read(|tx| {
            let (Some(live), Some(bodies)) = (read(tx, LIVE)?, read(tx, BODIES)?) else { return Ok((vec![], None)) };
            let from = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(after.bytes()));
            let (mut keys, mut next) = (Vec::new(), None);
            for (seen, row) in live.range::<&[u8; 32]>((from, Bound::Unbounded))?.enumerate() {
                let (key, row) = row?;
                let ((audience, record, _), key) = (of_live(row.value()), KeyHash::new(*key.value()));
                let found = super::body::get(&bodies, audience, key, record)?;
                keys.extend(found.filter(|found| found.kind() == kind).map(|found| found.key().to_vec()));
                if seen + 1 >= KEYS_STEP {
                    next = Some(key);
                    break;
                }
            }
            Ok((keys, next))
        })
    }

    pub(super) fn feed_untold(&self, limit: usize) -> Result<Vec<Told>, Error> {
        self.index.read(|tx| {
            let Some(todo) = read(tx, UNTOLD)? else { return Ok(vec![]) };
            todo.iter()?.take(limit).map(|row| told_of(row?.0.value())).collect()
        })
    }

    /// All of a kind, in whichever turn they are.
    pub(super) fn feed_untold_of(&self, kind: u8) -> Result<Vec<Told>, Error> {
        self.index.read(|tx| {
            let Some(todo) = read(tx, UNTOLD)? else { return Ok(vec![]) };
            let mut found = Vec::new();
            for turn in 0..=LATE + 1 {
                let (from, to) = (todo_key(turn, kind, &[]), todo_key(turn, kind.saturating_add(1), &[]));
                for row in todo.range(from.as_slice()..to.as_slice())? {
                    found.push(told_of(row?.0.value())?);
                }
            }
            Ok(found)
        })
    }

    pub(super) fn feed_told(&self, told: &[Told], again: &[Told]) -> Result<(), Error> {
        let row = |told: &Told| todo_key(told.turn, told.kind, &told.key);
        let (told, again): (Vec<_>, Vec<_>) = (told.iter().map(row).collect(), again.iter().map(row).collect());
        self.writer.write(Room::Adds, move |tx| {
            let mut todo = tx.open_table(UNTOLD)?;
            for row in &told {
                todo.remove(row.as_slice())?;
            }
            for row in &again {
                todo.insert(row.as_slice(), ())?;
            }
            Ok(())
        })
    }
}
