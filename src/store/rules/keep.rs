//! Rules are added, changed and removed by people, each with a line in the history.

use redb::{ReadableTable, ReadableTableMetadata};

use crate::base::time::Timestamp;
use crate::model::deployment::rules::{RULES_MAX, Rule};
use crate::model::update::UpdateId;
use crate::store::approvals::words::{BY_MAX, WHY_MAX};
use crate::store::catalog::decisions::cut;
use crate::store::catalog::tables::{Tables, read};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::rules::tables::{
    HISTORY, HISTORY_NAME, LAST_LINE, LAST_RULE, PROGRESS, PROGRESS_NAME, ProgressKey, RULES, RULES_NAME,
    of_progress_key, progress_key,
};
use crate::store::rules::value::{Event, Kept, Line, Progress, line_of, line_row, progress_of, rule_of, rule_row};
use crate::store::tables::{decode, encode};
use crate::store::writer::Room;

/// Updates that rules remember, each for each rule that gave it to a ring: as many as there are approvals.
pub const PROGRESS_MAX: u64 = crate::store::approvals::APPROVALS_MAX;
/// Lines of the history: two years of eight rules that give something to a ring each day.
pub const HISTORY_MAX: u64 = 5_000;
/// Rows that one transaction takes out.
const STEP: usize = 1_000;

fn invalid(what: impl Into<String>) -> Error {
    Error::Invalid { what: what.into() }
}

/// All rules of a table.
pub(super) fn all(table: &impl ReadableTable<u32, &'static [u8]>) -> Result<Vec<Kept>, Error> {
    let rows = table.range::<u32>(..)?.map(|row| {
        let (number, row) = row?;
        rule_of(number.value(), decode(RULES_NAME, row.value())?)
    });
    rows.collect()
}

/// Whether it can be kept beside the others.
fn check(others: &[Kept], rule: &Rule) -> Result<(), Error> {
    rule.check().map_err(|error| invalid(error.to_string()))?;
    let folded = rule.name.to_lowercase();
    if others.iter().any(|other| other.rule.name.to_lowercase() == folded) {
        return Err(invalid(format!("there is a rule {:?} already; choose another name", rule.name)));
    }
    Ok(())
}

impl Tables<'_> {
    /// Puts a line at the end of the history, and forgets the oldest where there are too many.
    pub(super) fn note_rule(&mut self, now: u64, mut line: Line) -> Result<(), Error> {
        line.by = cut(line.by, BY_MAX);
        line.text = cut(line.text, WHY_MAX);
        let number = self.next(LAST_LINE)?;
        self.rule_history.insert(number, encode(&line_row(line, now))?.as_slice())?;
        while self.rule_history.len()? > HISTORY_MAX {
            self.rule_history.pop_first()?;
        }
        Ok(())
    }

    pub(super) fn rule(&self, number: u32) -> Result<Option<Kept>, Error> {
        let Some(row) = self.rules.get(number)? else { return Ok(None) };
        rule_of(number, decode(RULES_NAME, row.value())?).map(Some)
    }
}

impl Core {
    pub(super) fn rules(&self) -> Result<Vec<Kept>, Error> {
        self.index.read(|tx| read(tx, RULES)?.map_or_else(|| Ok(vec![]), |table| all(&table)))
    }

    pub(super) fn add_rule(&self, rule: Rule, by: String) -> Result<Kept, Error> {
        let by = cut(by, BY_MAX);
        let (kept, _) = self.catalog_write(Room::Adds, move |t, w| {
            let others = all(&t.rules)?;
            check(&others, &rule)?;
            if others.len() >= RULES_MAX {
                return Err(invalid(format!("{RULES_MAX} rules are the most that are kept: remove one first")));
            }
            let number = u32::try_from(t.next(LAST_RULE)?).map_err(|_| invalid("no number for a rule is left"))?;
            let at = Timestamp::from_ms(w.now);
            let kept = Kept { number, rule, made: (by.clone(), at), changed: (by.clone(), at), revision: 1 };
            t.rules.insert(number, encode(&rule_row(&kept))?.as_slice())?;
            let name = kept.rule.name.clone();
            t.note_rule(w.now, Line { at, rule: number, name, event: Event::Added, by, text: String::new() })?;
            Ok(kept)
        })?;
        Ok(kept)
    }

    pub(super) fn put_rule(
        &self,
        before: &Kept,
        rule: Rule,
        by: String,
        event: Event,
        text: String,
    ) -> Result<Kept, Error> {
        let (by, number, revision) = (cut(by, BY_MAX), before.number, before.revision);
        let (kept, _) = self.catalog_write(Room::Adds, move |t, w| {
            let known = t.rule(number)?.ok_or(Error::Gone)?;
            if known.revision != revision {
                let what = format!(
                    "the rule {:?} was changed meanwhile, by {}: look at it again (`waystation rules show`), then say it once more",
                    known.rule.name, known.changed.0
                );
                return Err(invalid(what));
            }
            if known.rule == rule {
                return Ok(known);
            }
            let others: Vec<Kept> = all(&t.rules)?.into_iter().filter(|other| other.number != number).collect();
            check(&others, &rule)?;
            let at = Timestamp::from_ms(w.now);
            let kept = Kept { rule, changed: (by.clone(), at), revision: revision.saturating_add(1), ..known };
            t.rules.insert(number, encode(&rule_row(&kept))?.as_slice())?;
            let name = kept.rule.name.clone();
            t.note_rule(w.now, Line { at, rule: number, name, event, by, text })?;
            Ok(kept)
        })?;
        Ok(kept)
    }

    pub(super) fn remove_rule(&self, number: u32, by: String) -> Result<(), Error> {
        self.catalog_write(Room::Frees, move |t, w| {
            let known = t.rule(number)?.ok_or(Error::Gone)?;
            t.rules.remove(number)?;
            let (at, name) = (Timestamp::from_ms(w.now), known.rule.name);
            t.note_rule(w.now, Line { at, rule: number, name, event: Event::Removed, by, text: String::new() })
        })
        .map(drop)
    }

    /// Takes out rows of rules that are gone; says whether there may be more.
    pub(super) fn drop_progress(&self) -> Result<bool, Error> {
        let found: Vec<ProgressKey> = self.index.read(|tx| {
            let (Some(rules), Some(table)) = (read(tx, RULES)?, read(tx, PROGRESS)?) else { return Ok(vec![]) };
            let (mut found, mut from) = (Vec::new(), Some(0_u32));
            // From rule to rule: what is between two that are there is of rules that are gone.
            while let Some(rule) = from {
                let mut here = table.range::<&ProgressKey>(&progress_key(rule, &[0; 16])..)?;
                let Some(first) = here.next() else { break };
                let (number, _) = of_progress_key(first?.0.value());
                if rules.get(number)?.is_none() {
                    let (low, high) = (progress_key(number, &[0; 16]), progress_key(number, &[255; 16]));
                    for row in table.range::<&ProgressKey>(&low..=&high)?.take(STEP - found.len()) {
                        found.push(*row?.0.value());
                    }
                }
                if found.len() >= STEP {
                    break;
                }
                from = number.checked_add(1);
            }
            Ok(found)
        })?;
        if found.is_empty() {
            return Ok(false);
        }
        let is_full = found.len() >= STEP;
        self.catalog_write(Room::Frees, move |t, _| {
            for key in &found {
                t.rule_progress.remove(key)?;
            }
            Ok(())
        })?;
        Ok(is_full)
    }

    pub(super) fn progress_of(
        &self,
        rule: u32,
        after: Option<UpdateId>,
        limit: usize,
    ) -> Result<Vec<(UpdateId, Progress)>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, PROGRESS)? else { return Ok(vec![]) };
            let (low, high) = (after.unwrap_or(UpdateId::new([0; 16])), progress_key(rule, &[255; 16]));
            let mut found = Vec::new();
            for row in table.range::<&ProgressKey>(&progress_key(rule, low.bytes())..=&high)? {
                let (key, row) = row?;
                let (_, update) = of_progress_key(key.value());
                if Some(update) == after {
                    continue;
                }
                found.push((update, progress_of(decode(PROGRESS_NAME, row.value())?)));
                if found.len() >= limit {
                    break;
                }
            }
            Ok(found)
        })
    }

    pub(super) fn progress_with(&self, rule: u32, update: &UpdateId) -> Result<Option<Progress>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, PROGRESS)? else { return Ok(None) };
            let row = table.get(&progress_key(rule, update.bytes()))?;
            row.map(|row| Ok(progress_of(decode(PROGRESS_NAME, row.value())?))).transpose()
        })
    }

    pub(super) fn rule_history(&self, rule: Option<u32>, limit: usize) -> Result<Vec<Line>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, HISTORY)? else { return Ok(vec![]) };
            let mut found = Vec::new();
            for row in table.range::<u64>(..)?.rev() {
                if found.len() >= limit {
                    break;
                }
                let line = line_of(decode(HISTORY_NAME, row?.1.value())?)?;
                if rule.is_none_or(|rule| rule == line.rule) {
                    found.push(line);
                }
            }
            Ok(found)
        })
    }
}
