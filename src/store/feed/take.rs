//! A child's side: what the frames of an answer bring.

use redb::{ReadableTable, WriteTransaction};

use crate::model::chain::hash::{KeyHash, Link};
use crate::model::chain::ids::Position;
use crate::model::chain::record::{Entry, Shown};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::feed::publish::floor_bytes;
use crate::store::feed::tables::{
    APPLYING, BODIES, KNOWN, LIVE, LOOSE, STAGED, STATE, UNTOLD, body_key, live_row, of_live, of_staged, staged_row,
    todo_key,
};
use crate::store::feed::turn;
use crate::store::writer::Room;

/// What is to be written of a frame.
#[derive(Debug)]
pub enum Change {
    /// These are kept, and not visible.
    Stage(Vec<Entry>),
    /// What is staged goes.
    Drop,
    /// Contents of what is staged or live under the same hashes.
    Fill(Vec<Entry>),
    /// What the child knows from now on.
    Remember(Vec<u8>),
    /// What is staged is verified up to here: [`super::Feed::apply`] makes it visible.
    Apply {
        /// Up to where.
        at: Position,
        /// The chained hash there.
        link: Link,
        /// What is staged is all that there is: what is not in it goes.
        whole: bool,
    },
}

/// This record is to be told.
pub(super) fn note(todo: &mut redb::Table<'_, &'static [u8], ()>, kind: u8, key: &[u8]) -> Result<(), Error> {
    if let Some(turn) = turn(kind) {
        todo.insert(todo_key(turn, kind, key).as_slice(), ())?;
    }
    Ok(())
}

fn stage(tx: &WriteTransaction, entries: &[Entry]) -> Result<(), Error> {
    let (mut staged, mut bodies) = (tx.open_table(STAGED)?, tx.open_table(BODIES)?);
    let next = staged.last()?.map_or(0, |(at, _)| at.value() + 1);
    for (at, entry) in (next..).zip(entries) {
        super::body::keep(&mut bodies, entry)?;
        staged.insert(at, &staged_row(entry.audience(), entry.key(), entry.record()))?;
    }
    Ok(())
}

fn drop_staged(tx: &WriteTransaction) -> Result<(), Error> {
    let (mut staged, mut loose) = (tx.open_table(STAGED)?, tx.open_table(LOOSE)?);
    for row in staged.range::<u64>(..)? {
        let (_, key, record) = of_staged(row?.1.value());
        loose.insert(&body_key(key, record), ())?;
    }
    staged.retain(|_, _| false)?;
    drop((staged, loose));
    while super::apply::drop_loose(tx)? {}
    Ok(())
}

fn fill(tx: &WriteTransaction, entries: &[Entry]) -> Result<(), Error> {
    let (mut bodies, mut live) = (tx.open_table(BODIES)?, tx.open_table(LIVE)?);
    let mut todo = tx.open_table(UNTOLD)?;
    for entry in entries {
        super::body::keep(&mut bodies, entry)?;
        let row = live.get(entry.key().bytes())?.map(|row| of_live(row.value()));
        if let (Some((audience, record, false)), Shown::Record(told)) = (row, entry.shown())
            && record == entry.record()
        {
            live.insert(entry.key().bytes(), &live_row(audience, record, true))?;
            note(&mut todo, told.kind(), told.key())?;
        }
    }
    Ok(())
}

impl Core {
    pub(super) fn feed_take(&self, changes: Vec<Change>) -> Result<(), Error> {
        self.writer.write(Room::Adds, move |tx| {
            for change in &changes {
                match change {
                    Change::Stage(entries) => stage(tx, entries)?,
                    Change::Drop => drop_staged(tx)?,
                    Change::Fill(entries) => fill(tx, entries)?,
                    Change::Remember(known) => drop(tx.open_table(STATE)?.insert(KNOWN, known.as_slice())?),
                    Change::Apply { at, link, whole } => {
                        // First what is not in it goes, where it is all that there is.
                        let phase = if *whole { 1 } else { 2 };
                        let mark = [[phase, u8::from(*whole)].as_slice(), &floor_bytes(*at, *link)].concat();
                        tx.open_table(STATE)?.insert(APPLYING, mark.as_slice())?;
                    }
                }
            }
            Ok(())
        })
    }

    pub(super) fn feed_tell_all(&self, kind: u8) -> Result<(), Error> {
        let mut after: Option<KeyHash> = None;
        loop {
            let (keys, next) = self.feed_keys(kind, after)?;
            if !keys.is_empty() {
                self.writer.write(Room::Adds, move |tx| {
                    let mut todo = tx.open_table(UNTOLD)?;
                    for key in &keys {
                        note(&mut todo, kind, key)?;
                    }
                    Ok(())
                })?;
            }
            if next.is_none() {
                return Ok(());
            }
            after = next;
        }
    }
}
