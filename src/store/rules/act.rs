//! What rules do: words for groups, and how far each rule has come, in one transaction.
//!
//! 1. A step counts only where everything is as it was when it was made out: the rule, how far it had come, and that nobody said anything
//!    of the update for the group. Else it is left out whole, and the next run looks again.
//! 2. Whether there is room is asked before anything is written: what a transaction wrote is kept, whatever comes of the rest.

use redb::{ReadableTable, ReadableTableMetadata};

use crate::model::deployment::{Said, Target};
use crate::model::group::UNASSIGNED;
use crate::model::policy::Group;
use crate::model::update::UpdateId;
use crate::store::approvals::Saying;
use crate::store::approvals::tables::{APPROVALS_NAME, ApprovalRow, approval_key};
use crate::store::approvals::words::{APPROVALS_MAX, BY_MAX, WHY_MAX};
use crate::store::catalog::apply::Work;
use crate::store::catalog::decisions::{DECISIONS_MAX, TABLE as DECISIONS_NAME, cut};
use crate::store::catalog::tables::{DecisionRow, Tables, decision_key};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::rules::keep::PROGRESS_MAX;
use crate::store::rules::tables::{PROGRESS_NAME, progress_key};
use crate::store::rules::value::{Act, Line, Progress, progress_of, progress_row};
use crate::store::tables::{decode, encode};
use crate::store::writer::Room;

/// Steps that one transaction writes, each with a word for each ring at most: publishing waits no longer than for these.
pub const ACTS_MAX: usize = 500;

impl Tables<'_> {
    /// Who said what is said of an update for this group itself; `None` where nothing is.
    fn said_by(&self, update: &UpdateId, group: Group) -> Result<Option<String>, Error> {
        let row = self.approvals.get(&approval_key(update.bytes(), Target::Group(group)))?;
        let row: Option<ApprovalRow> = row.map(|row| decode(APPROVALS_NAME, row.value())).transpose()?;
        if let Some(row) = row {
            return Ok((!row.is_withdrawn()).then_some(row.by));
        }
        if group != Group::ALL_ENDPOINTS {
            return Ok(None);
        }
        let row = self.decisions.get(&decision_key(update.bytes(), group.0.bytes()))?;
        let row: Option<DecisionRow> = row.map(|row| decode(DECISIONS_NAME, row.value())).transpose()?;
        Ok(row.map(|row| row.by))
    }

    /// Whether a step can still be made.
    fn may_act(&self, act: &Act) -> Result<bool, Error> {
        let is_same = self.rule(act.rule)?.is_some_and(|known| known.revision == act.revision);
        if !is_same || self.progress(act.rule, &act.update)? != act.before {
            return Ok(false);
        }
        if !act.says.is_empty() && self.is_declined(act.update.bytes())? {
            return Ok(false);
        }
        for (group, _) in &act.says {
            let is_there =
                *group == Group::ALL_ENDPOINTS || *group == UNASSIGNED || self.groups.get(group.0.bytes())?.is_some();
            if !is_there || self.said_by(&act.update, *group)?.is_some() {
                return Ok(false);
            }
        }
        for group in &act.takes_back {
            if self.said_by(&act.update, *group)?.is_none_or(|by| by != act.by) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn progress(&self, rule: u32, update: &UpdateId) -> Result<Option<Progress>, Error> {
        let row = self.rule_progress.get(&progress_key(rule, update.bytes()))?;
        row.map(|row| Ok(progress_of(decode(PROGRESS_NAME, row.value())?))).transpose()
    }

    fn act(&mut self, w: &mut Work<'_>, act: Act) -> Result<(), Error> {
        let Act { rule, update, after, says, takes_back, by, why, .. } = act;
        let back = takes_back.into_iter().map(|group| (group, Said::Inherit));
        for (group, said) in says.into_iter().chain(back) {
            let (updates, targets) = (vec![update], vec![Target::Group(group)]);
            let (by, why) = (by.clone(), why.clone());
            self.say(w, &Saying { updates, targets, said, all_files: false, by, why })?;
        }
        let key = progress_key(rule, update.bytes());
        match after {
            Some(after) => drop(self.rule_progress.insert(&key, encode(&progress_row(&after))?.as_slice())?),
            None => drop(self.rule_progress.remove(&key)?),
        }
        Ok(())
    }
}

impl Core {
    pub(super) fn act(
        &self,
        mut acts: Vec<Act>,
        tell: impl FnOnce(&[bool]) -> Vec<Line> + Send + 'static,
    ) -> Result<Vec<bool>, Error> {
        if acts.len() > ACTS_MAX {
            let what = format!("{} steps of rules are more than {ACTS_MAX} at once", acts.len());
            return Err(Error::Invalid { what });
        }
        for act in &mut acts {
            act.by = cut(std::mem::take(&mut act.by), BY_MAX);
            act.why = cut(std::mem::take(&mut act.why), WHY_MAX);
        }
        let adds = acts.iter().any(|act| !act.says.is_empty() || act.before.is_none());
        let room = if adds { Room::Adds } else { Room::Frees };
        let (done, _) = self.catalog_write(room, move |t, w| {
            let says: u64 = acts.iter().map(|act| act.says.len() as u64).sum();
            let begun = acts.iter().filter(|act| act.before.is_none()).count() as u64;
            let words = t.approvals.len()?.max(t.decisions.len()?).saturating_add(says);
            if says > 0 && words > APPROVALS_MAX.min(DECISIONS_MAX) {
                let what = format!(
                    "{APPROVALS_MAX} approvals for groups and endpoints are the most that are kept: withdraw some, or have the rules \
                     name groups above them"
                );
                return Err(Error::Invalid { what });
            }
            if begun > 0 && t.rule_progress.len()?.saturating_add(begun) > PROGRESS_MAX {
                let what = format!(
                    "{PROGRESS_MAX} updates are the most that rules remember: remove a rule, or have them take fewer updates"
                );
                return Err(Error::Invalid { what });
            }
            let mut done = Vec::with_capacity(acts.len());
            for act in acts {
                let may = t.may_act(&act)?;
                if may {
                    t.act(w, act)?;
                }
                done.push(may);
            }
            for line in tell(&done) {
                t.note_rule(w.now, line)?;
            }
            Ok(done)
        })?;
        Ok(done)
    }
}
