//! What people decided of updates: by update and group of endpoints, with who, when and why.
//!
//! A decision is of an update in all its revisions, held or not: one that comes back finds it. So far there is one group, that of
//! all endpoints ([`Group::ALL_ENDPOINTS`]); the key has room for others.

use std::collections::{BTreeSet, HashMap};

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};

use crate::base::time::Timestamp;
use crate::model::policy::{Decision, Group, Word};
use crate::model::update::UpdateId;
use crate::store::catalog::look::ANSWER_MAX;
use crate::store::catalog::tables::{
    DECISIONS, DecisionKey, DecisionRow, Guid, IdKey, RUN_FILES, RunFilesRow, SUPERSEDED, Tables, decision_key, id_key,
    read,
};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::{decode, encode};
use crate::store::writer::Room;

/// Decisions that are kept: twice the largest catalog known.
const DECISIONS_MAX: u64 = 200_000;
/// Bytes of a name and of a reason: sentences.
const BY_MAX: usize = 256;
const WHY_MAX: usize = 1 << 10;

const TABLE: &str = "catalog-decisions.1";

/// The word of a row.
const APPROVED: u8 = 1;

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

fn cut(mut text: String, max: usize) -> String {
    text.truncate(text.floor_char_boundary(max));
    text
}

fn decision_of(row: DecisionRow) -> Result<Decision, Error> {
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

/// The decision for all endpoints in a snapshot.
pub(super) fn decision_in(tx: &ReadTransaction, id: &[u8; 16]) -> Result<Option<Decision>, Error> {
    let Some(table) = read(tx, DECISIONS)? else { return Ok(None) };
    let Some(row) = table.get(&decision_key(id, Group::ALL_ENDPOINTS.0.bytes()))? else { return Ok(None) };
    decision_of(decode(TABLE, row.value())?).map(Some)
}

impl Tables<'_> {
    /// Whether a person approved it.
    pub(crate) fn is_approved(&self, id: &[u8; 16]) -> Result<bool, Error> {
        let row = self.decisions.get(&decision_key(id, Group::ALL_ENDPOINTS.0.bytes()))?;
        let row: Option<DecisionRow> = row.map(|row| decode(TABLE, row.value())).transpose()?;
        Ok(row.is_some_and(|row| row.word == APPROVED))
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
                let mut changed = 0;
                for id in ids {
                    let key = decision_key(id.bytes(), Group::ALL_ENDPOINTS.0.bytes());
                    let old: Option<DecisionRow> =
                        t.decisions.get(&key)?.map(|row| decode(TABLE, row.value())).transpose()?;
                    let (word, all_files) = match deciding {
                        Deciding::Reset => {
                            changed += u64::from(t.decisions.remove(&key)?.is_some());
                            continue;
                        }
                        Deciding::Approve { all_files } => (APPROVED, all_files),
                        Deciding::Decline => (2, false),
                    };
                    let (from, to) = (id_key(id.bytes(), 0), id_key(id.bytes(), u32::MAX));
                    let though_superseded = word == APPROVED
                        && t.superseded.range::<&IdKey>(&from..=&to)?.next().transpose()?.is_some();
                    let row = DecisionRow {
                        word,
                        all_files,
                        though_superseded,
                        by: by.clone(),
                        at: w.now,
                        why: why.clone(),
                    };
                    changed += u64::from(old.as_ref().is_none_or(|old| {
                        (old.word, old.all_files, old.though_superseded) != (word, all_files, though_superseded)
                    }));
                    t.decisions.insert(&key, encode(&row)?.as_slice())?;
                }
                Ok(changed)
            },
        )?;
        Ok(changed)
    }

    /// What was decided for all endpoints, of every update of which something was: at most [`DECISIONS_MAX`], 20 bytes each.
    pub(crate) fn decided(&self) -> Result<HashMap<Guid, Word>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, DECISIONS)? else { return Ok(HashMap::new()) };
            let mut all = HashMap::new();
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

    /// The decisions of these updates, in the same order.
    pub(crate) fn decisions(&self, ids: &[UpdateId]) -> Result<Vec<Option<Decision>>, Error> {
        self.index.read(|tx| ids.iter().take(ANSWER_MAX).map(|id| decision_in(tx, id.bytes())).collect())
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
