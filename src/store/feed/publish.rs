//! The authority's side: entries, what is live, the head and the checkpoint that covers all of it, in one transaction.

use std::ops::Bound;

use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};

use crate::model::chain::hash::Link;
use crate::model::chain::ids::Position;
use crate::model::chain::record::Entry;
use crate::model::update::{Identity, UpdateId};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::feed::tables::{
    BODIES, CHECKPOINT, CHECKPOINTS, FLOOR, HEAD, LIVE, LOG, NUMBERS, STAMP, STATE, VOUCH, body_key, live_row, log_row,
    number_row, of_live, of_log, of_number, read,
};
use crate::store::feed::{LOG_MAX, Show};
use crate::store::writer::Room;

/// Entries that one transaction forgets.
const TRIM_STEP: u64 = 10_000;

/// What an authority publishes at a time.
#[derive(Debug, Default)]
pub struct Publication {
    /// Before the first entry of the epoch, where it begins with this.
    pub begins: Option<(Position, Link)>,
    /// Entries with their numbers and the chained hashes up to them.
    pub entries: Vec<(u64, Link, Entry)>,
    /// What the head is, for the next start.
    pub head: Vec<u8>,
    /// What is shown with it; its checkpoint covers the last of the entries.
    pub show: Show,
    /// Numbers of revisions in the catalog, and what they are; `None` where that went.
    pub numbers: Vec<(u32, Option<Identity>)>,
}

pub(super) fn floor_bytes(at: Position, link: Link) -> Vec<u8> {
    [at.epoch.to_le_bytes().as_slice(), &at.sequence.to_le_bytes(), link.bytes()].concat()
}

pub(super) fn of_floor(bytes: &[u8]) -> Option<(Position, Link)> {
    let (epoch, rest) = bytes.split_first_chunk()?;
    let (sequence, rest) = rest.split_first_chunk()?;
    let position = Position { epoch: u64::from_le_bytes(*epoch), sequence: u64::from_le_bytes(*sequence) };
    Some((position, Link::new(*rest.first_chunk()?)))
}

pub(super) fn write_show(tx: &WriteTransaction, show: &Show) -> Result<(), Error> {
    let mut state = tx.open_table(STATE)?;
    state.insert(VOUCH, show.vouch.as_slice())?;
    state.insert(CHECKPOINT, show.checkpoint.as_slice())?;
    match &show.stamp {
        Some(stamp) => drop(state.insert(STAMP, stamp.as_slice())?),
        None => drop(state.remove(STAMP)?),
    }
    Ok(())
}

/// Forgets the oldest entries of a log that is too long.
pub(super) fn trim(tx: &WriteTransaction) -> Result<(), Error> {
    let mut log = tx.open_table(LOG)?;
    if log.len()? <= LOG_MAX + TRIM_STEP {
        return Ok(());
    }
    let mut last = None;
    for _ in 0..TRIM_STEP {
        let Some((sequence, row)) = log.pop_first()? else { break };
        last = Some((sequence.value(), of_log(row.value()).3));
    }
    let Some((sequence, link)) = last else { return Ok(()) };
    let mut state = tx.open_table(STATE)?;
    let floor = state.get(FLOOR)?.and_then(|row| of_floor(row.value()));
    let epoch = floor.map_or(0, |(at, _)| at.epoch);
    state.insert(FLOOR, floor_bytes(Position { epoch, sequence }, link).as_slice())?;
    tx.open_table(CHECKPOINTS)?.retain_in(..=sequence, |_, _| false)?;
    Ok(())
}

impl Core {
    pub(super) fn feed_publish(&self, publication: Publication) -> Result<(), Error> {
        self.writer.write(Room::Adds, move |tx| {
            let Publication { begins, entries, head, show, numbers } = publication;
            let last = entries.last().map(|(sequence, ..)| *sequence);
            {
                let mut state = tx.open_table(STATE)?;
                if let Some((at, link)) = begins {
                    tx.open_table(LOG)?.retain(|_, _| false)?;
                    tx.open_table(CHECKPOINTS)?.retain(|_, _| false)?;
                    state.insert(FLOOR, floor_bytes(at, link).as_slice())?;
                }
                state.insert(HEAD, head.as_slice())?;
                let (mut log, mut live) = (tx.open_table(LOG)?, tx.open_table(LIVE)?);
                let mut bodies = tx.open_table(BODIES)?;
                for (sequence, link, entry) in &entries {
                    let (key, record) = (entry.key(), entry.record());
                    log.insert(*sequence, &log_row(entry.audience(), key, record, *link))?;
                    let held = super::body::keep(&mut bodies, entry)?;
                    let row = live_row(entry.audience(), record, held);
                    let old = if entry.is_gone() { live.remove(key.bytes())? } else { live.insert(key.bytes(), &row)? };
                    if let Some(old) = old.map(|old| of_live(old.value()).1).filter(|old| *old != record) {
                        bodies.remove(&body_key(key, old))?;
                    }
                }
                let mut table = tx.open_table(NUMBERS)?;
                for (number, identity) in numbers {
                    match identity {
                        Some(identity) => {
                            drop(table.insert(number, &number_row(identity.id.bytes(), identity.revision))?);
                        }
                        None => drop(table.remove(number)?),
                    }
                }
                if let Some(last) = last {
                    tx.open_table(CHECKPOINTS)?.insert(last, show.checkpoint.as_slice())?;
                }
            }
            write_show(tx, &show)?;
            trim(tx)
        })
    }

    pub(super) fn feed_published(&self, number: u32) -> Result<Option<Identity>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, NUMBERS)? else { return Ok(None) };
            let row = table.get(number)?.map(|row| of_number(row.value()));
            Ok(row.map(|(id, revision)| Identity { id: UpdateId::new(id), revision }))
        })
    }

    pub(super) fn feed_numbers(&self, after: Option<u32>, limit: usize) -> Result<Vec<u32>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, NUMBERS)? else { return Ok(vec![]) };
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let rows = table.range::<u32>((from, Bound::Unbounded))?.take(limit);
            rows.map(|row| Ok(row?.0.value())).collect()
        })
    }

    pub(super) fn feed_show(&self, show: Show, sequence: u64) -> Result<(), Error> {
        self.writer.write(Room::Frees, move |tx| {
            tx.open_table(CHECKPOINTS)?.insert(sequence, show.checkpoint.as_slice())?;
            write_show(tx, &show)
        })
    }
}
