//! What people decided of updates: by update and group of endpoints, with who, when and why.
//!
//! A decision is of an update in all its revisions, held or not: one that comes back finds it. It is for all endpoints
//! ([`Group::ALL_ENDPOINTS`]), and says that they may have it or not; whatever more is said, or for others, lies in `store::approvals`,
//! and for all endpoints there is something in one of both tables only.
//!
//! Whoever reads the change log is told of them: each decision that is another one than before, and each that was taken back, has
//! the clock of its transaction, and stands in a log of its own once, under its last change. Approvals stand in the same log.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};

use crate::base::time::Timestamp;
use crate::model::policy::{Decision, Group, Word};
use crate::model::update::UpdateId;
use crate::store::approvals::tables::APPROVALS;
use crate::store::approvals::words::{all_wanted, decision_for_all, decision_for_files};
use crate::store::catalog::apply::Work;
use crate::store::catalog::look::{ANSWER_MAX, row_of};
use crate::store::catalog::tables::{
    ClockKey, DECISION_LINES, DECISION_LOG, DECISIONS, DECISIONS_LOGGED, DecisionKey, DecisionLine, DecisionRow, GONE,
    Guid, HERE, IdKey, LOG_FLOOR, NUMBERS, RUN_FILES, RunFilesRow, SUPERSEDED, Tables, clock_key, decision_key, id_key,
    number, of_clock_key, of_id_key, read,
};
use crate::store::catalog::value::Decided;
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::{decode, encode};
use crate::store::writer::Room;

/// Decisions that are kept: twice the largest catalog known.
pub(crate) const DECISIONS_MAX: u64 = 200_000;
/// Lines of the log that tell of what was taken back.
const GONE_MAX: u64 = DECISIONS_MAX;
/// Lines that one transaction logs or forgets: publishing waits no longer than for these.
const LINES_STEP: usize = 1000;
/// Lines that are looked for in one snapshot, some 70 bytes each: many, since the search begins anew each time.
const SOUGHT_MAX: usize = 10 * LINES_STEP;
/// Updates that supersede one of which it is asked whether they are approved: a month of a cumulative update each, for twenty years.
const SUPERSEDING_MAX: usize = 256;
/// Bytes of a name and of a reason: sentences.
const BY_MAX: usize = 256;
const WHY_MAX: usize = 1 << 10;

pub(crate) const TABLE: &str = "catalog-decisions.1";

/// The word of a row.
const APPROVED: u8 = 1;

/// What people said of an update, for whomever, and what takes its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and they combine")]
pub struct Stance {
    /// It was declined, which is for everybody.
    pub declined: bool,
    /// Somebody is to install it, and it was not declined.
    pub approved: bool,
    /// Something that counts and is offered supersedes it.
    pub superseded: bool,
    /// Something that does is approved for somebody.
    pub replaced: bool,
}

/// What is decided; who and when are told beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deciding {
    /// It may be installed.
    Approve {
        /// With the files that endpoints read in parts.
        all_files: bool,
    },
    /// It may not.
    Decline,
    /// What was said before is taken back.
    Reset,
}

pub(crate) fn cut(mut text: String, max: usize) -> String {
    text.truncate(text.floor_char_boundary(max));
    text
}

pub(crate) fn decision_of(row: DecisionRow) -> Result<Decision, Error> {
    let word = match row.word {
        APPROVED => Word::Approved,
        2 => Word::Declined,
        other => {
            return Err(Error::Row {
                what: format!("a row of {TABLE} says {other}, which this program does not know"),
            });
        }
    };
    let DecisionRow { all_files, though_superseded, by, at, why, .. } = row;
    Ok(Decision { word, all_files, though_superseded, by, at: Timestamp::from_ms(at), why })
}

/// Of the row of an approval whether it was given though something superseded the update already; `None` for what is none.
pub(super) fn approval(row: &[u8]) -> Result<Option<bool>, Error> {
    let row: DecisionRow = decode(TABLE, row)?;
    Ok((row.word == APPROVED).then_some(row.though_superseded))
}

fn line(key: &DecisionKey, kind: u8) -> DecisionLine {
    let mut line = [kind; 33];
    line[..32].copy_from_slice(key);
    line
}

/// A line of the log of decisions as a value.
pub(super) fn decided(at: u64, line: &DecisionLine) -> Decided {
    let (mut id, mut group) = ([0; 16], [0; 16]);
    id.copy_from_slice(&line[..16]);
    group.copy_from_slice(&line[16..32]);
    Decided { at, id: UpdateId::new(id), group: Group(UpdateId::new(group)), held: line[32] == HERE }
}

/// The decision in a snapshot.
pub(crate) fn row_in(tx: &ReadTransaction, id: &[u8; 16]) -> Result<Option<Decision>, Error> {
    let Some(table) = read(tx, DECISIONS)? else { return Ok(None) };
    let Some(row) = table.get(&decision_key(id, Group::ALL_ENDPOINTS.0.bytes()))? else { return Ok(None) };
    decision_of(decode(TABLE, row.value())?).map(Some)
}

impl Tables<'_> {
    /// Whether a person approved it, for anybody.
    pub(crate) fn is_approved(&self, id: &[u8; 16]) -> Result<bool, Error> {
        if crate::store::approvals::words::wanted_of(&self.approvals, id)?.is_some() {
            return Ok(true);
        }
        let row = self.decisions.get(&decision_key(id, Group::ALL_ENDPOINTS.0.bytes()))?;
        let row: Option<DecisionRow> = row.map(|row| decode(TABLE, row.value())).transpose()?;
        Ok(row.is_some_and(|row| row.word == APPROVED))
    }

    /// Whether a person declined it.
    pub(crate) fn is_declined(&self, id: &[u8; 16]) -> Result<bool, Error> {
        let row = self.decisions.get(&decision_key(id, Group::ALL_ENDPOINTS.0.bytes()))?;
        let row: Option<DecisionRow> = row.map(|row| decode(TABLE, row.value())).transpose()?;
        Ok(row.is_some_and(|row| row.word != APPROVED))
    }

    /// Puts a decision, or that it was taken back, at the end of the log.
    pub(crate) fn log_decision(&mut self, w: &mut Work<'_>, key: &DecisionKey, kind: u8) -> Result<(), Error> {
        let place = clock_key(self.clock(w)?, w.logged);
        w.logged += 1;
        let former = self.decision_lines.insert(key, &place)?.map(|former| *former.value());
        if let Some(former) = former {
            self.decision_log.remove(&former)?;
        }
        self.decision_log.insert(&place, &line(key, kind))?;
        Ok(())
    }

    /// Writes a decision for each update; what else was said for all endpoints goes. Says of how many it is another one than before.
    pub(crate) fn decide(
        &mut self,
        w: &mut Work<'_>,
        ids: &[UpdateId],
        deciding: &Deciding,
        by: &str,
        why: &str,
    ) -> Result<u64, Error> {
        let mut changed = 0;
        for id in ids {
            let key = decision_key(id.bytes(), Group::ALL_ENDPOINTS.0.bytes());
            let was_rich = self.drop_rich(id.bytes())?;
            let old: Option<DecisionRow> =
                self.decisions.get(&key)?.map(|row| decode(TABLE, row.value())).transpose()?;
            let (word, all_files) = match deciding {
                Deciding::Reset => {
                    if old.is_some() || was_rich {
                        self.decisions.remove(&key)?;
                        self.log_decision(w, &key, GONE)?;
                        changed += 1;
                    }
                    continue;
                }
                Deciding::Approve { all_files } => (APPROVED, *all_files),
                Deciding::Decline => (2, false),
            };
            let (from, to) = (id_key(id.bytes(), 0), id_key(id.bytes(), u32::MAX));
            let though_superseded =
                word == APPROVED && self.superseded.range::<&IdKey>(&from..=&to)?.next().transpose()?.is_some();
            let (by, why) = (by.to_owned(), why.to_owned());
            let row = DecisionRow { word, all_files, though_superseded, by, at: w.now, why };
            let is_other = was_rich
                || old.as_ref().is_none_or(|old| {
                    (old.word, old.all_files, old.though_superseded) != (word, all_files, though_superseded)
                });
            changed += u64::from(is_other);
            // Who said it again, and why, is news too.
            if was_rich || old.is_none_or(|old| DecisionRow { at: row.at, ..old } != row) {
                self.log_decision(w, &key, HERE)?;
            }
            self.decisions.insert(&key, encode(&row)?.as_slice())?;
        }
        Ok(changed)
    }
}

impl Core {
    /// Writes a decision for each of these updates, all or none. Says of how many it is another one than before.
    pub(crate) fn decide(
        &self,
        ids: Vec<UpdateId>,
        deciding: &Deciding,
        by: String,
        why: String,
    ) -> Result<u64, Error> {
        let (by, why, deciding) = (cut(by, BY_MAX), cut(why, WHY_MAX), deciding.clone());
        let (changed, _) = self.catalog_write(
            if deciding == Deciding::Reset { Room::Frees } else { Room::Adds },
            move |t, w| {
                // Before anything is written: what a transaction wrote is kept, whatever comes of the rest.
                if deciding != Deciding::Reset {
                    let mut new = BTreeSet::new();
                    for id in &ids {
                        let key = decision_key(id.bytes(), Group::ALL_ENDPOINTS.0.bytes());
                        if t.decisions.get(&key)?.is_none() {
                            new.insert(key);
                        }
                    }
                    if t.decisions.len()?.saturating_add(new.len() as u64) > DECISIONS_MAX {
                        let what = format!(
                            "{DECISIONS_MAX} decisions are the most that are kept: take some back, or say it by content.policy"
                        );
                        return Err(Error::Invalid { what });
                    }
                }
                t.decide(w, &ids, &deciding, &by, &why)
            },
        )?;
        Ok(changed)
    }

    /// What was decided, of every update of which something was, approvals for some endpoints among it: 20 bytes each.
    pub(crate) fn decided(&self) -> Result<HashMap<Guid, Word>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, DECISIONS)? else { return Ok(HashMap::new()) };
            let mut all: HashMap<Guid, Word> = all_wanted(tx)?.into_iter().map(|id| (id, Word::Approved)).collect();
            for row in table.range::<&DecisionKey>(..)? {
                let (key, row) = row?;
                let (id, group) = key.value().split_at(16);
                if group == Group::ALL_ENDPOINTS.0.bytes()
                    && let Ok(id) = Guid::try_from(id)
                {
                    all.insert(id, decision_of(decode(TABLE, row.value())?)?.word);
                }
            }
            Ok(all)
        })
    }

    /// Logs what was decided before there was a log, and forgets the oldest of what was taken back, where that is too much. What is
    /// to do is found in a snapshot and done in small transactions. Says whether there may be more.
    pub(crate) fn sweep_decisions(&self) -> Result<bool, Error> {
        Ok(self.log_former_decisions()? || self.forget_taken_back(GONE_MAX)?)
    }

    /// Decisions of a store that was made before they were logged become changes of now; that it is done is noted, and not looked
    /// for again. Says whether there may be more.
    fn log_former_decisions(&self) -> Result<bool, Error> {
        let found = self.index.read(|tx| {
            let (Some(numbers), Some(decisions)) = (read(tx, NUMBERS)?, read(tx, DECISIONS)?) else { return Ok(None) };
            if number(&numbers, DECISIONS_LOGGED)? != 0 || decisions.is_empty()? {
                return Ok(None);
            }
            let lines = read(tx, DECISION_LINES)?;
            let mut found = Vec::new();
            for row in decisions.range::<&DecisionKey>(..)? {
                let key = *row?.0.value();
                let is_logged = match &lines {
                    Some(lines) => lines.get(&key)?.is_some(),
                    None => false,
                };
                if !is_logged {
                    found.push(key);
                }
                if found.len() >= SOUGHT_MAX {
                    break;
                }
            }
            Ok(Some(found))
        })?;
        let Some(found) = found else { return Ok(false) };
        for step in found.chunks(LINES_STEP) {
            let step = step.to_vec();
            self.catalog_write(Room::Adds, move |t, w| {
                for key in &step {
                    // It may have been decided anew meanwhile, which is logged, or taken back.
                    if t.decisions.get(key)?.is_some() && t.decision_lines.get(key)?.is_none() {
                        t.log_decision(w, key, HERE)?;
                    }
                }
                Ok(())
            })?;
        }
        if found.len() >= SOUGHT_MAX {
            return Ok(true);
        }
        self.catalog_write(Room::Frees, |t, _| t.set_number(DECISIONS_LOGGED, 1))?;
        Ok(false)
    }

    /// Forgets the oldest of what was taken back beyond so many. Says whether there may be more.
    pub(super) fn forget_taken_back(&self, most: u64) -> Result<bool, Error> {
        let old = self.index.read(|tx| {
            let (Some(decisions), Some(lines), Some(log)) =
                (read(tx, DECISIONS)?, read(tx, DECISION_LINES)?, read(tx, DECISION_LOG)?)
            else {
                return Ok(vec![]);
            };
            let approvals = match read(tx, APPROVALS)? {
                Some(table) => table.len()?,
                None => 0,
            };
            let said = decisions.len()?.saturating_add(approvals);
            let excess = lines.len()?.saturating_sub(said).saturating_sub(most);
            let excess = usize::try_from(excess).unwrap_or(usize::MAX).min(SOUGHT_MAX);
            let mut old: Vec<(ClockKey, DecisionLine)> = Vec::new();
            if excess > 0 {
                for row in log.range::<&ClockKey>(..)? {
                    let (place, line) = row?;
                    if line.value()[32] == GONE {
                        old.push((*place.value(), *line.value()));
                    }
                    if old.len() >= excess {
                        break;
                    }
                }
            }
            Ok(old)
        })?;
        for step in old.chunks(LINES_STEP) {
            let step = step.to_vec();
            self.catalog_write(Room::Frees, move |t, _| {
                for (place, line) in &step {
                    // What was decided anew meanwhile has another place.
                    if t.decision_log.get(place)?.is_none_or(|now| now.value() != line) {
                        continue;
                    }
                    let (key, _) = line.split_first_chunk::<32>().unwrap_or((&[0; 32], &[]));
                    t.decision_log.remove(place)?;
                    t.decision_lines.remove(key)?;
                    let floor = t.number(LOG_FLOOR)?.max(of_clock_key(place).0);
                    t.set_number(LOG_FLOOR, floor)?;
                }
                Ok(())
            })?;
        }
        Ok(old.len() >= SOUGHT_MAX)
    }

    /// What was decided of these updates for all endpoints, in the same order: approved too where that has a deadline, or is optional.
    pub(crate) fn decisions(&self, ids: &[UpdateId]) -> Result<Vec<Option<Decision>>, Error> {
        let one = |tx: &ReadTransaction, id: &UpdateId| match row_in(tx, id.bytes())? {
            Some(said) => Ok(Some(said)),
            None => decision_for_all(tx, id.bytes()),
        };
        self.index.read(|tx| ids.iter().take(ANSWER_MAX).map(|id| one(tx, id)).collect())
    }

    /// Whether anything that counts and is offered supersedes these, in the same order.
    pub(crate) fn are_superseded(&self, ids: &[UpdateId]) -> Result<Vec<bool>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, SUPERSEDED)? else { return Ok(vec![false; ids.len()]) };
            let one = |id: &UpdateId| {
                let (from, to) = (id_key(id.bytes(), 0), id_key(id.bytes(), u32::MAX));
                Ok(table.range::<&IdKey>(&from..=&to)?.next().transpose()?.is_some())
            };
            ids.iter().take(ANSWER_MAX).map(one).collect()
        })
    }

    /// What people said of these updates for anybody, and what stands in their place, in the same order; from one snapshot.
    pub(crate) fn stances(&self, ids: &[UpdateId]) -> Result<Vec<Stance>, Error> {
        let is_approved = |tx: &ReadTransaction, id: &Guid| {
            Ok::<_, Error>(decision_for_files(tx, id)?.is_some_and(|said| said.word == Word::Approved))
        };
        let one = |tx: &ReadTransaction, id: &UpdateId| {
            let declined = row_in(tx, id.bytes())?.is_some_and(|said| said.word == Word::Declined);
            let mut found = Stance { declined, approved: is_approved(tx, id.bytes())?, ..Stance::default() };
            let Some(table) = read(tx, SUPERSEDED)? else { return Ok(found) };
            let (from, to) = (id_key(id.bytes(), 0), id_key(id.bytes(), u32::MAX));
            for row in table.range::<&IdKey>(&from..=&to)?.take(SUPERSEDING_MAX) {
                found.superseded = true;
                let by = row_of(tx, of_id_key(row?.0.value()).1)?;
                if let Some(by) = by
                    && is_approved(tx, &by.id)?
                {
                    found.replaced = true;
                    break;
                }
            }
            Ok(found)
        };
        self.index.read(|tx| ids.iter().take(ANSWER_MAX).map(|id| one(tx, id)).collect())
    }

    /// What was wanted when a run had ended; kept as long as the run is.
    pub(crate) fn set_run_files(&self, run: u64, files: u64, bytes: u64) -> Result<(), Error> {
        self.catalog_write(Room::Adds, move |t, _| {
            if t.runs.get(run)?.is_some() {
                t.run_files.insert(run, encode(&RunFilesRow { files, bytes })?.as_slice())?;
            }
            let first = t.runs.first()?.map_or(run, |(first, _)| first.value());
            t.run_files.retain_in(..first, |_, _| false)?;
            Ok(())
        })
        .map(drop)
    }
}

/// What was wanted when a run had ended: files and bytes; `None` where nobody counted.
pub(super) fn run_files(tx: &ReadTransaction, run: u64) -> Result<Option<(u64, u64)>, Error> {
    let Some(table) = read(tx, RUN_FILES)? else { return Ok(None) };
    let row: Option<RunFilesRow> = table.get(run)?.map(|row| decode("catalog-run-files.1", row.value())).transpose()?;
    Ok(row.map(|row| (row.files, row.bytes)))
}
