//! What is said of updates for targets: written in the same transaction as decisions, and read with them.
//!
//! A word stands in the change log under its update and its group; those for single endpoints share the line of [`SINGLE`], since whoever
//! reads the log asks for all that was said of the update anyway.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};

use crate::base::time::Timestamp;
use crate::model::deployment::inherit::Words;
use crate::model::deployment::{Action, Approval, Endpoint, Said, Target};
use crate::model::policy::{Decision, Group, Word};
use crate::model::update::UpdateId;
use crate::store::approvals::PAGE_MAX;
use crate::store::approvals::acts::reviewed_in;
use crate::store::approvals::tables::{
    APPROVALS, APPROVALS_NAME, ApprovalKey, ApprovalRow, SHARED_CLOCK, WITHDRAWN_FLOOR, approval_key, approval_keys,
    of_approval_key,
};
use crate::store::approvals::value::{Kept, Place, Saying, Shared};
use crate::store::catalog::Deciding;
use crate::store::catalog::apply::Work;
use crate::store::catalog::decisions::{TABLE as DECISIONS_NAME, cut, decision_of, row_in};
use crate::store::catalog::tables::{
    DECISION_LINES, DECISIONS, DecisionKey, GONE, Guid, HERE, IdKey, NUMBERS, Tables, decision_key, id_key, number,
    of_clock_key, read,
};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::{decode, encode};
use crate::store::writer::Room;

/// Words that are kept, those that were withdrawn among them: each is held in memory too, with some 150 bytes.
pub const APPROVALS_MAX: u64 = 200_000;
/// Updates times targets that one transaction writes: publishing waits no longer than for these.
pub const SAID_MAX: usize = 5_000;

/// Stands for the group where something was said for a single endpoint.
pub(crate) const SINGLE: Group = Group(UpdateId::new([0; 16]));

const ALL: Target = Target::Group(Group::ALL_ENDPOINTS);

const NOT_APPROVED: u8 = 1;
const WITHDRAWN: u8 = 2;

const ACTIONS: [(Action, u8); 4] =
    [(Action::PreDeploymentCheck, 3), (Action::Uninstall, 4), (Action::OptionalInstall, 5), (Action::Install, 6)];

fn code_of(said: Said) -> Result<(u8, Option<u64>), Error> {
    match said {
        Said::NotApproved => Ok((NOT_APPROVED, None)),
        Said::Inherit => Ok((WITHDRAWN, None)),
        Said::Do { action, deadline } => {
            let known = ACTIONS.into_iter().find(|(known, _)| *known == action);
            let (_, code) =
                known.ok_or_else(|| Error::Invalid { what: format!("{action} is nothing that can be asked for") })?;
            Ok((code, deadline.map(Timestamp::ms)))
        }
    }
}

fn said_of(row: &ApprovalRow) -> Result<Said, Error> {
    Ok(match row.said {
        NOT_APPROVED => Said::NotApproved,
        WITHDRAWN => Said::Inherit,
        other => {
            let (action, _) = ACTIONS.into_iter().find(|(_, code)| *code == other).ok_or_else(|| Error::Row {
                what: format!("a row of {APPROVALS_NAME} says {other}, which this program does not know"),
            })?;
            Said::Do { action, deadline: row.deadline.map(Timestamp::from_ms) }
        }
    })
}

impl ApprovalRow {
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.said == WITHDRAWN
    }

    /// Whether somebody is to install it.
    fn installs(&self) -> bool {
        self.said >= 5
    }
}

fn kept(key: &ApprovalKey, row: &[u8]) -> Result<Kept, Error> {
    let row: ApprovalRow = decode(APPROVALS_NAME, row)?;
    let (update, target) = of_approval_key(key).ok_or_else(|| Error::Row {
        what: format!("a key of {APPROVALS_NAME} is for a kind of target that this program does not know"),
    })?;
    let said = said_of(&row)?;
    let ApprovalRow { all_files, though_superseded, by, at, why, .. } = row;
    let approval = Approval { update, target, said, by, at: Timestamp::from_ms(at) };
    Ok(Kept { approval, declined: false, all_files, though_superseded, why })
}

/// A decision as a word for all endpoints.
fn kept_decision(update: UpdateId, decision: Decision) -> Kept {
    let Decision { word, all_files, though_superseded, by, at, why } = decision;
    let said = match word {
        Word::Approved => Said::Do { action: Action::Install, deadline: None },
        Word::Declined => Said::NotApproved,
    };
    let approval = Approval { update, target: ALL, said, by, at };
    Kept { approval, declined: word == Word::Declined, all_files, though_superseded, why }
}

/// What was said between two keys, those among them, in both tables together and in their order; what was withdrawn is left out.
fn kept_between(tx: &ReadTransaction, from: ApprovalKey, to: ApprovalKey, limit: usize) -> Result<Vec<Kept>, Error> {
    let update_of = |key: &ApprovalKey| {
        let (update, _) = key.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        *update
    };
    let mut found: Vec<Kept> = Vec::new();
    if let Some(table) = read(tx, DECISIONS)? {
        let (first, last) = (decision_key(&update_of(&from), &[0; 16]), decision_key(&update_of(&to), &[255; 16]));
        for row in table.range::<&DecisionKey>(&first..=&last)? {
            let (key, row) = row?;
            let (update, _) = key.value().split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
            if found.len() >= limit {
                break;
            }
            if approval_key(update, ALL) >= from {
                found.push(kept_decision(UpdateId::new(*update), decision_of(decode(DECISIONS_NAME, row.value())?)?));
            }
        }
    }
    if let Some(table) = read(tx, APPROVALS)? {
        let mut more = 0;
        for row in table.range::<&ApprovalKey>(&from..=&to)? {
            let (key, row) = row?;
            let kept = kept(key.value(), row.value())?;
            if kept.approval.said == Said::Inherit {
                continue;
            }
            if more >= limit {
                break;
            }
            more += 1;
            found.push(kept);
        }
    }
    // As the keys are ordered, and of both only what is first of all.
    found.sort_by_key(|kept| approval_key(kept.approval.update.bytes(), kept.approval.target));
    found.truncate(limit);
    Ok(found)
}

/// What counts for the files of an update beside what is decided for all endpoints: whether somebody is to install it, with all files,
/// and though something superseded it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) all_files: bool,
    pub(crate) though_superseded: bool,
}

fn merge(rows: impl Iterator<Item = Result<ApprovalRow, Error>>) -> Result<Option<Wanted>, Error> {
    let mut wanted: Option<Wanted> = None;
    for row in rows {
        let row = row?;
        if row.installs() {
            let so_far = wanted.get_or_insert_default();
            so_far.all_files |= row.all_files;
            so_far.though_superseded |= row.though_superseded;
        }
    }
    Ok(wanted)
}

/// Whether any target is to install an update, by what lies in this table.
pub(crate) fn wanted_of(
    table: &impl ReadableTable<&'static ApprovalKey, &'static [u8]>,
    update: &Guid,
) -> Result<Option<Wanted>, Error> {
    let (first, last) = approval_keys(update);
    merge(table.range::<&ApprovalKey>(&first..=&last)?.map(|row| decode(APPROVALS_NAME, row?.1.value())))
}

/// What counts for the files of an update: what was decided for all endpoints, else that it is approved for some.
pub(crate) fn decision_for_files(tx: &ReadTransaction, update: &Guid) -> Result<Option<Decision>, Error> {
    let said = row_in(tx, update)?;
    let Some(table) = read(tx, APPROVALS)? else { return Ok(said) };
    let Some(wanted) = wanted_of(&table, update)? else { return Ok(said) };
    let mut decision = match said {
        Some(declined) if declined.word == Word::Declined => return Ok(Some(declined)),
        Some(approved) => approved,
        None => Decision {
            word: Word::Approved,
            all_files: false,
            though_superseded: false,
            by: String::new(),
            at: Timestamp::default(),
            why: String::new(),
        },
    };
    decision.all_files |= wanted.all_files;
    decision.though_superseded |= wanted.though_superseded;
    Ok(Some(decision))
}

/// What is said for all endpoints in the table of approvals, as a decision, where it is that they are to install it.
pub(crate) fn decision_for_all(tx: &ReadTransaction, update: &Guid) -> Result<Option<Decision>, Error> {
    let Some(table) = read(tx, APPROVALS)? else { return Ok(None) };
    let Some(row) = table.get(&approval_key(update, ALL))? else { return Ok(None) };
    let row: ApprovalRow = decode(APPROVALS_NAME, row.value())?;
    if !row.installs() {
        return Ok(None);
    }
    let ApprovalRow { all_files, though_superseded, by, at, why, .. } = row;
    Ok(Some(Decision { word: Word::Approved, all_files, though_superseded, by, at: Timestamp::from_ms(at), why }))
}

/// Updates that somebody is to install by what lies in this table.
pub(crate) fn all_wanted(tx: &ReadTransaction) -> Result<Vec<Guid>, Error> {
    let Some(table) = read(tx, APPROVALS)? else { return Ok(vec![]) };
    let mut found: Vec<Guid> = Vec::new();
    for row in table.range::<&ApprovalKey>(..)? {
        let (key, row) = row?;
        let Some((update, _)) = key.value().split_first_chunk::<16>() else { continue };
        let row: ApprovalRow = decode(APPROVALS_NAME, row.value())?;
        if row.installs() && found.last() != Some(update) {
            found.push(*update);
        }
    }
    Ok(found)
}

fn words_in(tx: &ReadTransaction, update: UpdateId) -> Result<Words, Error> {
    let mut words = Words { reviewed: reviewed_in(tx, update.bytes())?.map(|step| step.reviewed), ..Words::default() };
    if let Some(table) = read(tx, APPROVALS)? {
        let (first, last) = approval_keys(update.bytes());
        for row in table.range::<&ApprovalKey>(&first..=&last)? {
            let (key, row) = row?;
            let approval = kept(key.value(), row.value())?.approval;
            words.approvals.insert(approval.target, approval);
        }
    }
    // Where the log tells of what was decided for all; that of a store of a former version may not do so yet.
    let line = match read(tx, DECISION_LINES)? {
        Some(lines) => lines.get(&decision_key(update.bytes(), Group::ALL_ENDPOINTS.0.bytes()))?,
        None => None,
    };
    let logged = Timestamp::from_ms(line.map_or(0, |place| of_clock_key(place.value()).0));
    let approval = |said, by, at| Approval { update, target: ALL, said, by, at };
    match row_in(tx, update.bytes())? {
        Some(Decision { word: Word::Declined, at, .. }) => words.declined = Some(at.max(logged)),
        Some(Decision { word: Word::Approved, at, by, .. }) => {
            let said = Said::Do { action: Action::Install, deadline: None };
            words.approvals.insert(ALL, approval(said, by, at.max(logged)));
        }
        // Something was said for all and is not any more: endpoints must hear of it.
        None if logged > Timestamp::default() => {
            words.approvals.entry(ALL).or_insert_with(|| approval(Said::Inherit, String::new(), logged));
        }
        None => {}
    }
    Ok(words)
}

impl Tables<'_> {
    /// What is said for all endpoints beside decisions goes, since something else is decided; says whether there was anything.
    pub(crate) fn drop_rich(&mut self, update: &Guid) -> Result<bool, Error> {
        let row = self.approvals.remove(&approval_key(update, ALL))?;
        Ok(row.is_some())
    }

    /// What is said for all endpoints of an update that was declined is not written: a decline is a decision of its own, and stays until
    /// it is taken back, or the update approved, as what it is.
    pub(crate) fn say(&mut self, w: &mut Work<'_>, saying: &Saying) -> Result<u64, Error> {
        let mut changed = 0;
        for target in &saying.targets {
            let mut updates = saying.updates.clone();
            if *target == ALL {
                let declined = updates.iter().map(|id| self.is_declined(id.bytes()));
                let declined = declined.collect::<Result<Vec<bool>, Error>>()?;
                let mut declined = declined.into_iter();
                updates.retain(|_| !declined.next().unwrap_or_default());
            }
            let deciding = match (*target, saying.said) {
                (ALL, Said::Do { action: Action::Install, deadline: None }) => {
                    Some(Deciding::Approve { all_files: saying.all_files })
                }
                // Above all endpoints nobody says anything.
                (ALL, Said::NotApproved | Said::Inherit) => Some(Deciding::Reset),
                _ => None,
            };
            if let Some(deciding) = deciding {
                changed += self.decide(w, &updates, &deciding, &saying.by, &saying.why)?;
                continue;
            }
            for update in &updates {
                changed += u64::from(self.say_of(w, saying, *update, *target)?);
            }
        }
        Ok(changed)
    }

    /// One word; whether it is another one than before.
    fn say_of(&mut self, w: &mut Work<'_>, saying: &Saying, update: UpdateId, target: Target) -> Result<bool, Error> {
        let key = approval_key(update.bytes(), target);
        let (said, deadline) = code_of(saying.said)?;
        let old: Option<ApprovalRow> =
            self.approvals.get(&key)?.map(|row| decode(APPROVALS_NAME, row.value())).transpose()?;
        let group = match target {
            Target::Group(group) => group,
            Target::Endpoint(_) => SINGLE,
        };
        let decided = decision_key(update.bytes(), group.0.bytes());
        let was_decided = target == ALL && self.decisions.remove(&decided)?.is_some();
        if said == WITHDRAWN && old.as_ref().is_none_or(ApprovalRow::is_withdrawn) {
            // Nothing was said, and nothing is.
            return Ok(false);
        }
        let (from, to) = (id_key(update.bytes(), 0), id_key(update.bytes(), u32::MAX));
        let though_superseded =
            said >= 5 && self.superseded.range::<&IdKey>(&from..=&to)?.next().transpose()?.is_some();
        let (by, why) = (saying.by.clone(), saying.why.clone());
        let all_files = saying.all_files && said >= 5;
        let row = ApprovalRow { said, deadline, all_files, though_superseded, by, at: 0, why };
        let is_other = was_decided
            || old.as_ref().is_none_or(|old| {
                let of = |row: &ApprovalRow| (row.said, row.deadline, row.all_files, row.though_superseded);
                of(old) != of(&row)
            });
        if !is_other && old.is_some_and(|old| ApprovalRow { at: 0, ..old } == row) {
            return Ok(false);
        }
        let at = self.clock(w)?;
        self.log_decision(w, &decided, if said == WITHDRAWN { GONE } else { HERE })?;
        self.approvals.insert(&key, encode(&ApprovalRow { at, ..row })?.as_slice())?;
        Ok(is_other)
    }

    /// What was said for an endpoint goes with it, and the log tells of each update that it was said of. Reads all keys: an endpoint is
    /// forgotten by somebody's word, and that is rare.
    pub(crate) fn drop_endpoint(&mut self, w: &mut Work<'_>, endpoint: Endpoint) -> Result<(), Error> {
        let mut found: Vec<ApprovalKey> = Vec::new();
        for row in self.approvals.range::<&ApprovalKey>(..)? {
            let key = *row?.0.value();
            if of_approval_key(&key).is_some_and(|(_, target)| target == Target::Endpoint(endpoint)) {
                found.push(key);
            }
        }
        for key in found {
            self.approvals.remove(&key)?;
            if let Some((update, _)) = of_approval_key(&key) {
                self.log_decision(w, &decision_key(update.bytes(), SINGLE.0.bytes()), GONE)?;
            }
        }
        Ok(())
    }

    /// What is shared changed.
    pub(super) fn touch_shared(&mut self, w: &mut Work<'_>) -> Result<u64, Error> {
        let at = self.clock(w)?;
        self.set_number(SHARED_CLOCK, at)?;
        Ok(at)
    }
}

/// Names and reasons as they are kept.
pub(crate) const BY_MAX: usize = 256;
pub(crate) const WHY_MAX: usize = 1 << 10;

impl Core {
    pub(super) fn say(&self, mut saying: Saying) -> Result<u64, Error> {
        saying.updates.sort_unstable();
        saying.updates.dedup();
        saying.targets.sort_unstable();
        saying.targets.dedup();
        let many = saying.updates.len().saturating_mul(saying.targets.len());
        if many > SAID_MAX {
            let what = format!(
                "{} updates for {} groups and endpoints are {many} approvals, and {SAID_MAX} are the most at once: say it in \
                 several steps, or for a group above them",
                saying.updates.len(),
                saying.targets.len()
            );
            return Err(Error::Invalid { what });
        }
        code_of(saying.said)?;
        saying.by = cut(saying.by, BY_MAX);
        saying.why = cut(saying.why, WHY_MAX);
        let frees = matches!(saying.said, Said::Inherit);
        let (changed, _) = self.catalog_write(if frees { Room::Frees } else { Room::Adds }, move |t, w| {
            // Before anything is written: what a transaction wrote is kept, whatever comes of the rest.
            if !frees && t.approvals.len()?.saturating_add(many as u64) > APPROVALS_MAX {
                let what = format!(
                    "{APPROVALS_MAX} approvals for groups and endpoints are the most that are kept: withdraw some, or say it for a \
                     group above them"
                );
                return Err(Error::Invalid { what });
            }
            t.say(w, &saying)
        })?;
        Ok(changed)
    }

    pub(super) fn kept(&self, updates: &[UpdateId]) -> Result<Vec<Kept>, Error> {
        self.index.read(|tx| {
            let mut found = Vec::new();
            for update in updates.iter().take(PAGE_MAX) {
                let (first, last) = approval_keys(update.bytes());
                let left = PAGE_MAX - found.len();
                found.extend(kept_between(tx, first, last, left)?);
                if found.len() >= PAGE_MAX {
                    break;
                }
            }
            Ok(found)
        })
    }

    pub(super) fn kept_page(&self, after: Option<Place>, limit: usize) -> Result<(Vec<Kept>, Option<Place>), Error> {
        let after = after.map(|place| approval_key(place.update.bytes(), place.target));
        // Of one more than the page it is known that there is more.
        let mut found = self.index.read(|tx| kept_between(tx, after.unwrap_or([0; 33]), [255; 33], limit + 2))?;
        found.retain(|kept| Some(approval_key(kept.approval.update.bytes(), kept.approval.target)) != after);
        let has_more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| has_more).map(|kept| &kept.approval);
        let next = last.map(|last| Place { update: last.update, target: last.target });
        Ok((found, next))
    }

    pub(super) fn are_approved(&self, updates: &[UpdateId]) -> Result<Vec<bool>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, APPROVALS)? else { return Ok(vec![false; updates.len()]) };
            let one = |update: &UpdateId| Ok(wanted_of(&table, update.bytes())?.is_some());
            updates.iter().take(PAGE_MAX).map(one).collect()
        })
    }

    pub(super) fn words(&self, updates: &[UpdateId]) -> Result<Vec<Words>, Error> {
        self.index.read(|tx| updates.iter().take(PAGE_MAX).map(|update| words_in(tx, *update)).collect())
    }

    pub(super) fn approvals_shared(&self) -> Result<Shared, Error> {
        self.index.read(|tx| {
            let Some(numbers) = read(tx, NUMBERS)? else { return Ok(Shared::default()) };
            Ok(Shared { clock: number(&numbers, SHARED_CLOCK)?, floor: number(&numbers, WITHDRAWN_FLOOR)? })
        })
    }
}

/// What was withdrawn, and when: for whoever forgets it.
pub(super) fn withdrawn(tx: &ReadTransaction, most: usize) -> Result<BTreeMap<ApprovalKey, u64>, Error> {
    let Some(table) = read(tx, APPROVALS)? else { return Ok(BTreeMap::new()) };
    let mut found = BTreeMap::new();
    for row in table.range::<&ApprovalKey>(..)? {
        let (key, row) = row?;
        let row: ApprovalRow = decode(APPROVALS_NAME, row.value())?;
        if row.is_withdrawn() {
            found.insert(*key.value(), row.at);
        }
        if found.len() >= most {
            break;
        }
    }
    Ok(found)
}
