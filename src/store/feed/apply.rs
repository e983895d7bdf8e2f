//! What was verified becomes visible, behind a mark that says so, in small transactions.
//!
//! 1. Where what is staged is all that there is, what is live and not in it goes. All that is staged is still there then.
//! 2. Rows move from what is staged to what is live and to the log, in their order.
//! 3. Contents that nothing names any more go, and then the mark.
//!
//! Each step can be cut off at any point, and goes on where it was. The mark is what keeps those below from being answered meanwhile.

use std::collections::HashSet;

use redb::{ReadableTable, WriteTransaction};

use crate::model::chain::hash::Link;
use crate::model::chain::ids::Position;
use crate::model::chain::record::Entry;
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::feed::publish::{floor_bytes, of_floor, trim};
use crate::store::feed::tables::{
    APPLYING, BODIES, CHECKPOINTS, FLOOR, LIVE, LOG, LOOSE, STAGED, STATE, UNTOLD, body_key, live_row, log_row,
    of_body_key, of_live, of_log, of_staged, read,
};
use crate::store::feed::take::note;
use crate::store::writer::Room;

/// Rows of one transaction.
const STEP: usize = 2_000;

struct Mark {
    phase: u8,
    whole: bool,
    at: Position,
    link: Link,
}

impl Mark {
    fn read(bytes: &[u8]) -> Result<Self, Error> {
        let broken = || Error::Row { what: "the mark of the feed cannot be read".into() };
        let ([phase, whole], rest) = bytes.split_first_chunk().ok_or_else(broken)?;
        let (at, link) = of_floor(rest).ok_or_else(broken)?;
        Ok(Self { phase: *phase, whole: *whole == 1, at, link })
    }

    fn write(&self, tx: &WriteTransaction) -> Result<(), Error> {
        let bytes = [[self.phase, u8::from(self.whole)].as_slice(), &floor_bytes(self.at, self.link)].concat();
        tx.open_table(STATE)?.insert(APPLYING, bytes.as_slice())?;
        Ok(())
    }
}

/// Takes contents out that nothing names; says whether there may be more. Nothing may be staged.
pub(super) fn drop_loose(tx: &WriteTransaction) -> Result<bool, Error> {
    let (mut loose, mut bodies) = (tx.open_table(LOOSE)?, tx.open_table(BODIES)?);
    let live = tx.open_table(LIVE)?;
    for _ in 0..STEP {
        let Some((row, ())) = loose.pop_first()?.map(|(row, _)| (*row.value(), ())) else { return Ok(false) };
        let (key, record) = of_body_key(&row);
        let is_live = live.get(key.bytes())?.is_some_and(|row| of_live(row.value()).1 == record);
        if !is_live {
            bodies.remove(&row)?;
        }
    }
    Ok(true)
}

/// What stood under a key went: its content may go, and the rooms beside are told.
fn let_go(tx: &WriteTransaction, key: &[u8; 32]) -> Result<(), Error> {
    let old = tx.open_table(LIVE)?.remove(key)?.map(|row| of_live(row.value()));
    let Some((audience, record, _)) = old else { return Ok(()) };
    let key = crate::model::chain::hash::KeyHash::new(*key);
    tx.open_table(LOOSE)?.insert(&body_key(key, record), ())?;
    if let Some(told) = super::body::get(&tx.open_table(BODIES)?, audience, key, record)? {
        note(&mut tx.open_table(UNTOLD)?, told.kind(), told.key())?;
    }
    Ok(())
}

/// Moves the next rows; says whether there are more.
fn move_step(tx: &WriteTransaction, mark: &Mark) -> Result<bool, Error> {
    for _ in 0..STEP {
        let next = tx.open_table(STAGED)?.pop_first()?.map(|(_, row)| of_staged(row.value()));
        let Some((audience, key, record)) = next else { return Ok(false) };
        let entry = Entry::bare(audience, key, record);
        if !mark.whole {
            let (mut log, state) = (tx.open_table(LOG)?, tx.open_table(STATE)?);
            let last = log.last()?.map(|(at, row)| (at.value(), of_log(row.value()).3));
            let floor = state.get(FLOOR)?.and_then(|row| of_floor(row.value()));
            let last = last.or_else(|| floor.map(|(at, link)| (at.sequence, link)));
            if let Some((sequence, link)) = last {
                let link = link.next(sequence + 1, entry.op(), audience, key, record);
                log.insert(sequence + 1, &log_row(audience, key, record, link))?;
            }
        }
        if entry.is_gone() {
            let_go(tx, key.bytes())?;
            continue;
        }
        let old = tx.open_table(LIVE)?.get(key.bytes())?.map(|row| of_live(row.value()));
        if old.is_some_and(|(_, known, held)| known == record && held) {
            continue;
        }
        let told = super::body::get(&tx.open_table(BODIES)?, audience, key, record)?;
        tx.open_table(LIVE)?.insert(key.bytes(), &live_row(audience, record, told.is_some()))?;
        if let Some((_, known, _)) = old
            && known != record
        {
            tx.open_table(LOOSE)?.insert(&body_key(key, known), ())?;
        }
        if let Some(told) = told {
            note(&mut tx.open_table(UNTOLD)?, told.kind(), told.key())?;
        }
    }
    Ok(true)
}

/// The log goes on behind what is applied, or begins anew there.
fn begin_log(tx: &WriteTransaction, mark: &Mark) -> Result<(), Error> {
    let mut state = tx.open_table(STATE)?;
    let floor = state.get(FLOOR)?.and_then(|row| of_floor(row.value()));
    let is_new = mark.whole || floor.is_none_or(|(at, _)| at.epoch != mark.at.epoch);
    // All of it was held: what lies between is not known.
    if is_new || tx.open_table(STAGED)?.first()?.is_none() {
        tx.open_table(LOG)?.retain(|_, _| false)?;
        tx.open_table(CHECKPOINTS)?.retain(|_, _| false)?;
        state.insert(FLOOR, floor_bytes(mark.at, mark.link).as_slice())?;
    }
    Ok(())
}

impl Core {
    pub(super) fn feed_apply(&self) -> Result<(), Error> {
        let mark = self.feed_state(APPLYING)?;
        let Some(mut mark) = mark.map(|bytes| Mark::read(&bytes)).transpose()? else { return Ok(()) };
        if mark.phase == 1 {
            self.feed_sweep()?;
            mark.phase = 2;
        }
        if mark.phase == 2 {
            mark.phase = 3;
            let (phase, whole, at, link) = (mark.phase, mark.whole, mark.at, mark.link);
            self.writer.write(Room::Adds, move |tx| {
                let mark = Mark { phase, whole, at, link };
                begin_log(tx, &mark)?;
                mark.write(tx)
            })?;
        }
        loop {
            let (phase, whole, at, link) = (mark.phase, mark.whole, mark.at, mark.link);
            let more = self
                .writer
                .write(Room::Adds, move |tx| Ok(move_step(tx, &Mark { phase, whole, at, link })? || drop_loose(tx)?))?;
            if !more {
                break;
            }
        }
        self.writer.write(Room::Frees, move |tx| {
            trim(tx)?;
            tx.open_table(STATE)?.remove(APPLYING)?;
            Ok(())
        })
    }

    /// Step 1.
    fn feed_sweep(&self) -> Result<(), Error> {
        let gone: Vec<[u8; 32]> = self.index.read(|tx| {
            let Some(live) = read(tx, LIVE)? else { return Ok(vec![]) };
            let mut stays = HashSet::new();
            if let Some(staged) = read(tx, STAGED)? {
                for row in staged.range::<u64>(..)? {
                    stays.insert(*of_staged(row?.1.value()).1.bytes());
                }
            }
            let keys = live.range::<&[u8; 32]>(..)?.map(|row| Ok(*row?.0.value()));
            let keys = keys.filter(|key: &Result<[u8; 32], Error>| key.as_ref().is_ok_and(|key| !stays.contains(key)));
            keys.collect()
        })?;
        for keys in gone.chunks(STEP) {
            let keys = keys.to_vec();
            self.writer.write(Room::Adds, move |tx| {
                for key in &keys {
                    let_go(tx, key)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}
