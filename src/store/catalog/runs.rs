//! The history of runs. What a run did is counted in the transactions that do it, so that a killed run tells no more and no
//! less than what is committed.

use std::collections::BTreeSet;

use redb::ReadableTable;

use crate::base::time::Timestamp;
use crate::store::catalog::decisions::run_files;
use crate::store::catalog::history::{Counts, Outcome, Run, RunNote};
use crate::store::catalog::tables::{CLOCK, LAST_RUN, RUN_NOTES, RUNS, RunRow, Tables, read};
use crate::store::catalog::value::Applied;
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::{decode, encode};
use crate::store::writer::Room;

/// A year of a run a day and some by hand; of the lane of definition updates it is some months. Beyond them the last run of each kind
/// stays, and the last one that was successful: that is what schedules and `last success` go by.
const RUNS_MAX: u64 = 1000;
/// A reason is a sentence.
const REASON_MAX: usize = 4 << 10;

fn outcome_of(code: u8) -> Result<Outcome, Error> {
    Ok(match code {
        0 => Outcome::Running,
        1 => Outcome::Successful,
        2 => Outcome::Failed,
        3 => Outcome::Stopped,
        4 => Outcome::CutOff,
        other => return Err(Error::Row { what: format!("a run ended as {other}, which this program does not know") }),
    })
}

fn code_of(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Running => 0,
        Outcome::Successful => 1,
        Outcome::Failed => 2,
        Outcome::Stopped => 3,
        Outcome::CutOff => 4,
    }
}

fn run_of(id: u64, row: RunRow, wanted: Option<(u64, u64)>, note: RunNote) -> Result<Run, Error> {
    let [new, changed, expired, superseded, files, bytes, errors, refused, pruned] = row.counts;
    Ok(Run {
        id,
        started: Timestamp::from_ms(row.started),
        ended: row.ended.map(Timestamp::from_ms),
        upstream: row.upstream,
        outcome: outcome_of(row.outcome)?,
        reason: row.reason,
        counts: Counts { new, changed, expired, superseded, files, bytes, errors, refused, pruned },
        wanted,
        note,
    })
}

/// A note as it was written. One that a later version wrote otherwise tells less, and nothing else is lost.
fn note_of(row: Option<&[u8]>) -> RunNote {
    row.and_then(|row| serde_json::from_slice(row).ok()).unwrap_or_default()
}

fn note_row(note: &RunNote) -> Result<Vec<u8>, Error> {
    let row = serde_json::to_vec(note);
    row.map_err(|error| Error::Row { what: format!("a note of a run cannot be written: {error}") })
}

impl RunRow {
    fn add(&mut self, counts: Counts) {
        let Counts { new, changed, expired, superseded, files, bytes, errors, refused, pruned } = counts;
        let more = [new, changed, expired, superseded, files, bytes, errors, refused, pruned];
        for (count, more) in self.counts.iter_mut().zip(more) {
            *count = count.saturating_add(more);
        }
    }
}

impl Tables<'_> {
    /// Changes the row of a run; one that is not in the history any more is nobody's loss.
    pub(crate) fn count_run(&mut self, run: u64, change: impl FnOnce(&mut RunRow)) -> Result<(), Error> {
        let row = self.runs.get(run)?.map(|row| decode::<RunRow>("catalog-runs.1", row.value())).transpose()?;
        if let Some(mut row) = row {
            change(&mut row);
            self.runs.insert(run, encode(&row)?.as_slice())?;
        }
        Ok(())
    }

    /// Runs that never ended were cut off: with the last change of the catalog, since nobody was there afterwards to change it.
    fn end_open_runs(&mut self, now: u64) -> Result<Vec<u64>, Error> {
        let mut open = Vec::new();
        for row in self.runs.iter()? {
            let (id, row) = row?;
            let row: RunRow = decode("catalog-runs.1", row.value())?;
            if row.outcome == 0 {
                open.push((id.value(), row));
            }
        }
        let ids = open.iter().map(|(id, _)| *id).collect();
        let last = self.number(CLOCK)?;
        for (id, row) in open {
            // A clock that was set back must not let a run end before it began.
            let ended = last.min(now).max(row.started);
            let row = RunRow { outcome: code_of(Outcome::CutOff), ended: Some(ended), ..row };
            self.runs.insert(id, encode(&row)?.as_slice())?;
        }
        Ok(ids)
    }

    /// Of the runs before `old` those that are the last of their kind, or the last successful one of it.
    fn last_runs(&self, old: u64) -> Result<BTreeSet<u64>, Error> {
        let mut stays = BTreeSet::new();
        if self.runs.range(..old)?.next().is_none() {
            return Ok(stays);
        }
        let (mut any, mut good) = (BTreeSet::new(), BTreeSet::new());
        for row in self.runs.iter()?.rev() {
            let (id, row) = row?;
            let (id, row): (u64, RunRow) = (id.value(), decode("catalog-runs.1", row.value())?);
            let kind = note_of(self.run_notes.get(id)?.as_ref().map(redb::AccessGuard::value)).kind;
            let is_last = any.insert(kind) | (row.outcome == code_of(Outcome::Successful) && good.insert(kind));
            if is_last && id < old {
                stays.insert(id);
            }
        }
        Ok(stays)
    }

    /// Counts what a transaction applied.
    pub(crate) fn count_applied(&mut self, run: u64, applied: &Applied) -> Result<(), Error> {
        let counts = Counts {
            new: applied.new,
            changed: applied.changed,
            expired: applied.expired,
            superseded: applied.superseded,
            files: applied.files,
            bytes: applied.bytes,
            refused: applied.refused.len() as u64,
            ..Counts::default()
        };
        self.count_run(run, |row| row.add(counts))
    }
}

impl Core {
    /// A new run; one that never ended was cut off.
    pub(crate) fn start_run(&self, upstream: String, note: &RunNote) -> Result<u64, Error> {
        let note = note_row(note)?;
        let (id, _) = self.catalog_write(Room::Adds, move |t, w| {
            t.end_open_runs(w.now)?;
            let id = t.next(LAST_RUN)?;
            t.runs.insert(id, encode(&RunRow { started: w.now, upstream, ..RunRow::default() })?.as_slice())?;
            t.run_notes.insert(id, note.as_slice())?;
            let stays = t.last_runs(id.saturating_sub(RUNS_MAX))?;
            t.runs.retain_in(..id.saturating_sub(RUNS_MAX), |id, _| stays.contains(&id))?;
            t.run_notes.retain_in(..id.saturating_sub(RUNS_MAX), |id, _| stays.contains(&id))?;
            Ok(id)
        })?;
        Ok(id)
    }

    /// Before a run begins none is under way: those that did not end were cut off. Gives them as they ended, oldest first.
    pub(crate) fn close_runs(&self) -> Result<Vec<Run>, Error> {
        if self.runs(None, 1)?.first().is_none_or(|run| run.outcome != Outcome::Running) {
            return Ok(Vec::new());
        }
        let (closed, _) = self.catalog_write(Room::Adds, |t, w| t.end_open_runs(w.now))?;
        let mut runs = Vec::new();
        for id in closed {
            runs.extend(self.runs(id.checked_add(1), 1)?);
        }
        Ok(runs)
    }

    /// As [`Core::end_run`].
    pub(crate) fn note_run(&self, run: u64, note: &RunNote) -> Result<(), Error> {
        let note = note_row(note)?;
        self.catalog_write(Room::Frees, move |t, _| {
            // One that is not in the history any more needs no note.
            if t.runs.get(run)?.is_some() {
                t.run_notes.insert(run, note.as_slice())?;
            }
            Ok(())
        })
        .map(drop)
    }

    pub(crate) fn add_to_run(&self, run: u64, counts: Counts) -> Result<(), Error> {
        self.catalog_write(Room::Frees, move |t, _| t.count_run(run, |row| row.add(counts))).map(drop)
    }

    /// Written on a full disk, too: it ends what was begun.
    pub(crate) fn end_run(&self, run: u64, outcome: Outcome, mut reason: String) -> Result<(), Error> {
        let mut end = reason.len().min(REASON_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        self.catalog_write(Room::Frees, move |t, w| {
            let now = w.now;
            t.count_run(run, |row| {
                (row.outcome, row.reason, row.ended) = (code_of(outcome), reason, Some(now));
            })
        })
        .map(drop)
    }

    /// The newest first, those before `before`.
    pub(crate) fn runs(&self, before: Option<u64>, limit: usize) -> Result<Vec<Run>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, RUNS)? else { return Ok(vec![]) };
            let notes = read(tx, RUN_NOTES)?;
            let rows = table.range(..before.unwrap_or(u64::MAX))?.rev().take(limit);
            rows.map(|row| {
                let (id, row) = row?;
                let note = notes.as_ref().map(|notes| notes.get(id.value())).transpose()?.flatten();
                let note = note_of(note.as_ref().map(redb::AccessGuard::value));
                run_of(id.value(), decode("catalog-runs.1", row.value())?, run_files(tx, id.value())?, note)
            })
            .collect()
        })
    }
}
