//! Whether a file is still of use: whether any update that is offered today leads to it.
//!
//! A revision leads to its files where it is published, nothing supersedes its update, and it is the one that counts of its
//! update or a bundle names it. What can only be had in a bundle (a hidden member) is of use as long as one of its bundles
//! is, also where something supersedes it: whoever gets the bundle gets it whole. What nobody bundles is of use by itself.
//!
//! What is superseded leads to its files all the same where a person approved it although it was, or approved a bundle of
//! it so: then the approval stands (see [`crate::model::policy::Policy::decide`]), and endpoints are to have it.

use std::collections::HashMap;

use redb::{ReadOnlyTable, ReadTransaction, ReadableTableMetadata};

use crate::base::digest::Sha1;
use crate::model::policy::Group;
use crate::store::approvals::tables::{APPROVALS, ApprovalKey};
use crate::store::approvals::words::wanted_of;
use crate::store::catalog::decisions::approval;
use crate::store::catalog::tables::{
    DECISIONS, DecisionKey, Guid, IdKey, LongKey, PARENTS, REVISIONS, RevisionRow, SUPERSEDED, USERS, decision_key,
    id_key, identity_key, long_key, of_long_key, read,
};
use crate::store::error::Error;
use crate::store::tables::decode;

/// Bundles within bundles that are followed: real ones have two levels.
const DEPTH_MAX: u32 = 8;
/// Revisions that one file's question looks at: those of a Defender platform file have some hundred. What is beyond counts
/// as of use.
const LOOKS_MAX: u32 = 2000;

/// By what a revision leads to its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum By {
    /// It is offered, or an approval stands.
    Any,
    /// An approval that stands, and nothing else: it is superseded.
    Approval,
}

/// What is known of a revision.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// It is being looked at, so deep on the way: a bundle that leads to itself is of no use by that.
    Pending(u32),
    Is(bool),
}

/// An answer, and from how deep on the way down it may be remembered: one that took what is being looked at further up for no
/// is a guess below that. `None`: never.
#[derive(Clone, Copy, Debug)]
struct Answer {
    leads: bool,
    from: Option<u32>,
}

impl Answer {
    const fn sure(leads: bool) -> Self {
        Self { leads, from: Some(u32::MAX) }
    }
}

/// What is asked of one snapshot; remembers answers.
pub(crate) struct Live {
    users: Option<ReadOnlyTable<&'static LongKey, ()>>,
    revisions: Option<ReadOnlyTable<u32, &'static [u8]>>,
    parents: Option<ReadOnlyTable<&'static LongKey, ()>>,
    superseded: Option<ReadOnlyTable<&'static IdKey, ()>>,
    /// `None` where nobody approved anything for groups or endpoints.
    approvals: Option<ReadOnlyTable<&'static ApprovalKey, &'static [u8]>>,
    /// `None` where nobody decided anything.
    decisions: Option<ReadOnlyTable<&'static DecisionKey, &'static [u8]>>,
    known: HashMap<(u32, By), Known>,
    looks: u32,
}

impl Live {
    pub(crate) fn of(tx: &ReadTransaction) -> Result<Self, Error> {
        let decisions = match read(tx, DECISIONS)? {
            Some(table) if !table.is_empty()? => Some(table),
            _ => None,
        };
        let approvals = match read(tx, APPROVALS)? {
            Some(table) if !table.is_empty()? => Some(table),
            _ => None,
        };
        Ok(Self {
            approvals,
            users: read(tx, USERS)?,
            revisions: read(tx, REVISIONS)?,
            parents: read(tx, PARENTS)?,
            superseded: read(tx, SUPERSEDED)?,
            decisions,
            known: HashMap::new(),
            looks: 0,
        })
    }

    /// Whether an update that is offered leads to the file. One that the catalog does not know of is nobody's.
    pub(crate) fn is_of_use(&mut self, sha1: &Sha1) -> Result<bool, Error> {
        let Some(users) = &self.users else { return Ok(false) };
        let sha1 = sha1.as_bytes();
        let numbers = users.range::<&LongKey>(&long_key(sha1, 0)..=&long_key(sha1, u32::MAX))?;
        let numbers: Vec<u32> = numbers
            .take(LOOKS_MAX as usize)
            .map(|row| Ok(of_long_key(row?.0.value())))
            .collect::<Result<_, Error>>()?;
        self.looks = 0;
        // The newest first: nearly always that one says yes.
        for number in numbers.into_iter().rev() {
            if self.leads(number, By::Any, 0)?.leads {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn leads(&mut self, number: u32, by: By, depth: u32) -> Result<Answer, Error> {
        match self.known.get(&(number, by)) {
            Some(Known::Is(leads)) => return Ok(Answer::sure(*leads)),
            Some(Known::Pending(at)) => return Ok(Answer { leads: false, from: Some(*at) }),
            None => {}
        }
        self.looks += 1;
        if depth > DEPTH_MAX || self.looks > LOOKS_MAX {
            return Ok(Answer { leads: true, from: None });
        }
        self.known.insert((number, by), Known::Pending(depth));
        let answer = self.look(number, by, depth)?;
        if answer.from.is_some_and(|from| depth <= from) {
            self.known.insert((number, by), Known::Is(answer.leads));
        } else {
            self.known.remove(&(number, by));
        }
        Ok(answer)
    }

    fn look(&mut self, number: u32, by: By, depth: u32) -> Result<Answer, Error> {
        let (Some(revisions), Some(parents)) = (&self.revisions, &self.parents) else { return Ok(Answer::sure(false)) };
        let Some(row) = revisions.get(number)? else { return Ok(Answer::sure(false)) };
        let row: RevisionRow = decode("catalog-revisions.1", row.value())?;
        if row.publication != 0 || row.refused {
            return Ok(Answer::sure(false));
        }
        let is_superseded = self.is_superseded(&row.id)?;
        let by = if is_superseded && row.deployable { By::Approval } else { by };
        if by == By::Approval {
            if self.decisions.is_none() && self.approvals.is_none() {
                return Ok(Answer::sure(false));
            }
            if row.current && self.approval_stands(&row.id)? {
                return Ok(Answer::sure(true));
            }
        } else if row.current && row.deployable {
            return Ok(Answer::sure(true));
        }
        let key = identity_key(row.identity());
        let bundles: Vec<u32> = parents
            .range::<&LongKey>(&long_key(&key, 0)..=&long_key(&key, u32::MAX))?
            .take(LOOKS_MAX as usize)
            .map(|row| Ok(of_long_key(row?.0.value())))
            .collect::<Result<_, Error>>()?;
        if bundles.is_empty() {
            return Ok(Answer::sure(by == By::Any && row.current && !is_superseded));
        }
        let mut from = Some(u32::MAX);
        for bundle in bundles.into_iter().rev() {
            let answer = self.leads(bundle, by, depth + 1)?;
            if answer.leads {
                return Ok(answer);
            }
            from = from.min(answer.from);
        }
        Ok(Answer { leads: false, from })
    }

    fn is_superseded(&self, id: &Guid) -> Result<bool, Error> {
        let Some(superseded) = &self.superseded else { return Ok(false) };
        let (from, to) = (id_key(id, 0), id_key(id, u32::MAX));
        Ok(superseded.range::<&IdKey>(&from..=&to)?.next().transpose()?.is_some())
    }

    /// Whether a person approved it, and nothing superseded it since.
    fn approval_stands(&self, id: &Guid) -> Result<bool, Error> {
        let row = match &self.decisions {
            Some(decisions) => decisions.get(&decision_key(id, Group::ALL_ENDPOINTS.0.bytes()))?,
            None => None,
        };
        let for_all = row.map(|row| approval(row.value())).transpose()?;
        let for_some = match (&self.approvals, for_all) {
            // A decline is for everybody.
            (_, Some(None)) | (None, _) => None,
            (Some(approvals), _) => wanted_of(approvals, id)?,
        };
        let said = for_all.flatten().into_iter().chain(for_some.map(|wanted| wanted.though_superseded));
        match said.reduce(|a, b| a | b) {
            Some(though_superseded) => Ok(though_superseded || !self.is_superseded(id)?),
            None => Ok(false),
        }
    }
}
