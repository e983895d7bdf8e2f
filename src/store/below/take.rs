//! A report is held against what is known, and its rows are written in steps.

use redb::{ReadableTable, WriteTransaction};

use crate::model::chain::below::{About, Row};
use crate::store::below::tables::{
    CHILDREN, ChildRow, ENDPOINT, GONE, ITEMS, Id, ItemKey, ItemRow, LOG, NODES, NodeRow, ONE, STATE, StateRow,
    item_key, read,
};
use crate::store::below::write::{ALL, Step, TABLE};
use crate::store::below::{Taken, Taking};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::{decode, encode};
use crate::store::writer::Room;

/// Rows that one transaction writes: others wait for the writer meanwhile, some 20 ms.
const STEP: usize = 500;
/// Rows that are forgotten at a time.
const GONE_STEP: usize = 10_000;

/// From where the rows of a report come, and as what they are kept.
#[derive(Clone, Copy)]
struct From {
    me: Id,
    child: Id,
    generation: u64,
    now: u64,
    stale: u64,
    keep_gone: bool,
}

fn child_row(tx: &WriteTransaction, child: &Id) -> Result<ChildRow, Error> {
    let table = tx.open_table(CHILDREN)?;
    Ok(table.get(child)?.map(|row| decode("below-children.1", row.value())).transpose()?.unwrap_or_default())
}

fn put_child(tx: &WriteTransaction, child: &Id, row: &ChildRow) -> Result<(), Error> {
    tx.open_table(CHILDREN)?.insert(child, encode(row)?.as_slice())?;
    Ok(())
}

/// The path of a row as it is kept; `None` where it is not the reporter's to speak of.
fn path(row: &Row, from: &From) -> Option<Vec<Id>> {
    let path: Vec<Id> = row.path.iter().map(|node| *node.bytes()).collect();
    let (first, rest) = path.split_first()?;
    if *first != from.child || path.contains(&ALL) {
        return None;
    }
    if from.child == from.me {
        return rest.is_empty().then(Vec::new);
    }
    let twice = path.iter().enumerate().any(|(at, node)| path.iter().skip(at + 1).any(|other| other == node));
    (!twice && !path.contains(&from.me)).then_some(path)
}

/// One row, where it may be taken.
fn take(step: &mut Step<'_>, row: &Row, from: &From) -> Result<(), Error> {
    let Some(path) = path(row, from) else {
        step.refused += 1;
        return Ok(());
    };
    let node = path.last().copied().unwrap_or(from.me);
    let is_itself = path.len() <= 1;
    let goes = matches!(row.about, About::NodeGone | About::EndpointGone(_));
    let known = step.node(&node)?.as_ref().map(|known| (known.via, known.heard));
    match known {
        Some((via, heard)) if via != from.child => {
            // Its own certificate counts for more than what anybody says of it; of two others the one that it was last heard of through.
            if goes {
                return Ok(());
            }
            if !is_itself && heard >= from.stale {
                step.refused += 1;
                return Ok(());
            }
            step.clear(&node)?;
        }
        None if goes => return Ok(()),
        None if !step.has_room()? => {
            step.refused += 1;
            return Ok(());
        }
        _ => {}
    }
    let (via, generation) = (from.child, from.generation);
    let known = step.node(&node)?.get_or_insert_with(|| NodeRow { generation, heard: from.now, ..NodeRow::default() });
    (known.via, known.path) = (via, path);
    if matches!(row.about, About::Node(_))
        && let Some(known) = step.node(&node)?
    {
        (known.heard, known.generation) = (from.now, from.generation);
    }
    step.put(&node, &row.about, from.generation)
}

impl Core {
    /// Steps 1 to 3.
    pub(super) fn below_take(&self, taking: Taking) -> Result<Taken, Error> {
        let Taking { me, child, report, now, stale, keep_gone } = taking;
        let (me, child) = (*me.bytes(), *child.bytes());
        let (epoch, begins) = (report.epoch, report.from == 0);
        let at = report.from;
        let row = self.writer.write(Room::Adds, move |tx| {
            let row = child_row(tx, &child)?;
            if !begins {
                let to = (row.epoch == epoch).then_some(row.to);
                return Ok(if to == Some(at) { Ok(row) } else { Err(to) });
            }
            let mut step = Step::new(tx, keep_gone)?;
            step.state.generation += 1;
            let row = ChildRow { epoch, to: 0, generation: step.state.generation, whole: true };
            step.end()?;
            put_child(tx, &child, &row)?;
            Ok(Ok(row))
        })?;
        let mut row = match row {
            Ok(row) => row,
            Err(to) => return Ok(Taken::Elsewhere { to }),
        };
        let generation = row.generation;
        let from = From { me, child, generation, now: now.ms(), stale: stale.ms(), keep_gone };
        let (mut changed, mut refused) = (false, 0);
        let mut rows = report.rows;
        while !rows.is_empty() {
            let rest = rows.split_off(STEP.min(rows.len()));
            let portion = std::mem::replace(&mut rows, rest);
            let (step_changed, step_refused) = self.writer.write(Room::Adds, move |tx| {
                let mut step = Step::new(tx, from.keep_gone)?;
                portion.iter().try_for_each(|row| take(&mut step, row, &from))?;
                step.end()
            })?;
            (changed, refused) = (changed | step_changed, refused + step_refused);
        }
        if report.last && row.whole {
            changed |= self.below_sweep(&from)?;
            row.whole = false;
        }
        row.to = report.to;
        self.writer.write(Room::Adds, move |tx| {
            put_child(tx, &child, &row)?;
            let mut step = Step::new(tx, from.keep_gone)?;
            if let Some(known) = step.node(&child)? {
                known.heard = from.now;
            }
            step.end()
        })?;
        Ok(Taken::Kept { refused, changed })
    }

    /// What a whole telling left out goes.
    fn below_sweep(&self, from: &From) -> Result<bool, Error> {
        let from = *from;
        let (nodes, keys) = self.index.read(|tx| {
            let (mut nodes, mut keys) = (Vec::new(), Vec::new());
            let (Some(known), Some(items)) = (read(tx, NODES)?, read(tx, ITEMS)?) else { return Ok((nodes, keys)) };
            for row in known.iter()? {
                let (node, row) = row?;
                let (node, row): (Id, NodeRow) = (*node.value(), decode("below-nodes.1", row.value())?);
                if row.via != from.child {
                    continue;
                }
                if row.generation != from.generation {
                    nodes.push(node);
                    continue;
                }
                let (first, last) = (item_key(&node, ENDPOINT, &ALL), item_key(&node, ENDPOINT, &[0xff; 16]));
                for item in items.range::<&ItemKey>(&first..=&last)? {
                    let (key, item) = item?;
                    if decode::<ItemRow<'_>>(TABLE, item.value())?.generation != from.generation {
                        keys.push(*key.value());
                    }
                }
            }
            Ok((nodes, keys))
        })?;
        let mut changed = false;
        for portion in keys.chunks(STEP) {
            let portion = portion.to_vec();
            changed |= self.writer.write(Room::Frees, move |tx| {
                let mut step = Step::new(tx, from.keep_gone)?;
                portion.iter().try_for_each(|key| step.take_away(key))?;
                Ok(step.end()?.0)
            })?;
        }
        for node in nodes {
            changed |= self.below_drop(node, from.keep_gone)?;
        }
        Ok(changed)
    }

    fn below_drop(&self, node: Id, keep_gone: bool) -> Result<bool, Error> {
        self.writer.write(Room::Frees, move |tx| {
            let mut step = Step::new(tx, keep_gone)?;
            step.drop_node(&node)?;
            Ok(step.end()?.0)
        })
    }

    pub(super) fn below_remove(&self, node: Id, keep_gone: bool) -> Result<u64, Error> {
        let nodes = self.index.read(|tx| {
            let Some(known) = read(tx, NODES)? else { return Ok(vec![]) };
            let mut found = Vec::new();
            for row in known.iter()? {
                let (id, row) = row?;
                let row: NodeRow = decode("below-nodes.1", row.value())?;
                if *id.value() == node || row.path.contains(&node) {
                    found.push(*id.value());
                }
            }
            Ok(found)
        })?;
        for node in &nodes {
            self.below_drop(*node, keep_gone)?;
        }
        self.writer.write(Room::Frees, move |tx| {
            tx.open_table(CHILDREN)?.remove(&node)?;
            Ok(())
        })?;
        Ok(nodes.len() as u64)
    }

    pub(super) fn below_acknowledged(&self, to: u64) -> Result<(), Error> {
        loop {
            let is_over = self.writer.write(Room::Frees, move |tx| {
                let mut gone = tx.open_table(GONE)?;
                let rows = gone.range(..=to)?.take(GONE_STEP);
                let rows: Vec<(u64, ItemKey)> = rows
                    .map(|row| row.map(|(number, key)| (number.value(), *key.value())))
                    .collect::<Result<_, _>>()?;
                let (mut items, mut log) = (tx.open_table(ITEMS)?, tx.open_table(LOG)?);
                for (number, key) in &rows {
                    gone.remove(number)?;
                    log.remove(number)?;
                    items.remove(key)?;
                }
                drop((gone, items, log));
                let mut step = Step::new(tx, false)?;
                step.state.floor = step.state.floor.max(rows.last().map_or(0, |(number, _)| *number));
                step.end()?;
                Ok(rows.len() < GONE_STEP)
            })?;
            if is_over {
                return Ok(());
            }
        }
    }

    pub(super) fn below_epoch(&self) -> Result<Option<u64>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, STATE)? else { return Ok(None) };
            let row = table.get(ONE)?.map(|row| decode::<StateRow>("below-state.1", row.value())).transpose()?;
            Ok(row.map(|row| row.epoch).filter(|epoch| *epoch != 0))
        })
    }

    /// A numbering that no other life of this node had.
    pub(super) fn below_begin(&self) -> Result<(), Error> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|error| Error::Invalid { what: format!("no random numbers: {error}") })?;
        let epoch = u64::from_le_bytes(bytes).max(1);
        self.writer.write(Room::Adds, move |tx| {
            let mut step = Step::new(tx, false)?;
            if step.state.epoch == 0 {
                step.state.epoch = epoch;
            }
            step.end().map(drop)
        })
    }

    /// What this node says of a node that it knows.
    pub(super) fn below_note(&self, node: Id, about: About, keep_gone: bool) -> Result<bool, Error> {
        self.writer.write(Room::Adds, move |tx| {
            let mut step = Step::new(tx, keep_gone)?;
            let Some(generation) = step.node(&node)?.as_ref().map(|known| known.generation) else { return Ok(false) };
            step.put(&node, &about, generation)?;
            Ok(step.end()?.0)
        })
    }
}
