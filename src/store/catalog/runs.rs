//! The history of runs. What a run did is counted in the transactions that do it, so that a killed run tells no more and no
//! less than what is committed.

use redb::ReadableTable;

use crate::base::time::Timestamp;
use crate::store::catalog::tables::{LAST_RUN, RUNS, RunRow, Tables, read};
use crate::store::catalog::value::{Applied, Counts, Outcome, Run};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::{decode, encode};
use crate::store::writer::Room;

/// A year of a run a day and some by hand; of the lane of definition updates it is some months.
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

fn run_of(id: u64, row: RunRow) -> Result<Run, Error> {
    let [new, changed, expired, superseded, files, bytes, errors, refused, pruned] = row.counts;
    Ok(Run {
        id,
        started: Timestamp::from_ms(row.started),
        ended: row.ended.map(Timestamp::from_ms),
        upstream: row.upstream,
        outcome: outcome_of(row.outcome)?,
        reason: row.reason,
        counts: Counts { new, changed, expired, superseded, files, bytes, errors, refused, pruned },
    })
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
    pub(crate) fn start_run(&self, upstream: String) -> Result<u64, Error> {
        let (id, _) = self.catalog_write(Room::Adds, move |t, w| {
            let mut open = Vec::new();
            for row in t.runs.iter()? {
                let (id, row) = row?;
                let row: RunRow = decode("catalog-runs.1", row.value())?;
                if row.outcome == 0 {
                    open.push((id.value(), row));
                }
            }
            for (id, row) in open {
                let row = RunRow { outcome: code_of(Outcome::CutOff), ended: Some(w.now), ..row };
                t.runs.insert(id, encode(&row)?.as_slice())?;
            }
            let id = t.next(LAST_RUN)?;
            t.runs.insert(id, encode(&RunRow { started: w.now, upstream, ..RunRow::default() })?.as_slice())?;
            t.runs.retain_in(..id.saturating_sub(RUNS_MAX), |_, _| false)?;
            Ok(id)
        })?;
        Ok(id)
    }

    pub(crate) fn add_to_run(&self, run: u64, counts: Counts) -> Result<(), Error> {
        self.catalog_write(Room::Adds, move |t, _| t.count_run(run, |row| row.add(counts))).map(drop)
    }

    pub(crate) fn end_run(&self, run: u64, outcome: Outcome, mut reason: String) -> Result<(), Error> {
        let mut end = reason.len().min(REASON_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        self.catalog_write(Room::Adds, move |t, w| {
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
            let rows = table.range(..before.unwrap_or(u64::MAX))?.rev().take(limit);
            rows.map(|row| {
                let (id, row) = row?;
                run_of(id.value(), decode("catalog-runs.1", row.value())?)
            })
            .collect()
        })
    }
}
