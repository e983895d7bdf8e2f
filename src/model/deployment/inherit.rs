//! Which word counts for an endpoint: inheritance down the tree of groups, and what happens where groups contradict each other.
//!
//! 1. A decline is for everyone; nothing is above it.
//! 2. What was said for the endpoint itself counts.
//! 3. Else each of its groups has a word: its own, or the nearest one on the way up. "Not approved" is a word too and ends the way.
//! 4. Of the words of several groups the strongest action counts ([`Action`] has the order of WSUS), so that one group's approval
//!    wins over another one's "not approved"; of those that say the same the earliest deadline, and one before none.
//! 5. Where a group, or one above it, asks for a review, a word counts only as far as the review of the update lets it; what nobody
//!    reviewed is held.
//! 6. A deadline does not run while something holds the update back: where a review, or a licence, let it later than it was said, the
//!    deadline is later by as much.
//! 7. Nobody said anything: it is undecided.

use std::collections::BTreeMap;

use crate::base::time::Timestamp;
use crate::model::deployment::{Action, Approval, Endpoint, Reviewed, Said, Target};
use crate::model::group::Groups;
use crate::model::policy::Group;

/// All that was said of one update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// It was declined, then.
    pub declined: Option<Timestamp>,
    /// What was said, for each target.
    pub approvals: BTreeMap<Target, Approval>,
    /// How far its review has come.
    pub reviewed: Option<Reviewed>,
}

/// What holds for an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is not delivered.
    Declined,
    /// This is to be done.
    Ordered {
        /// What.
        action: Action,
        /// Until when.
        deadline: Option<Timestamp>,
        /// The last change of a word that had to do with it, by the logical clock.
        changed: Timestamp,
    },
    /// Nobody said anything, or that it is not approved.
    Undecided {
        /// The last change of a word, if there was one.
        changed: Option<Timestamp>,
    },
}

/// What is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The endpoint, where it may have words of its own.
    pub endpoint: Option<Endpoint>,
    /// The groups that it is in.
    pub groups: &'a [Group],
    /// The tree that they stand in.
    pub tree: &'a Groups,
}

/// One word on the way.
#[derive(Clone, Copy)]
struct Word {
    action: Option<Action>,
    deadline: Option<Timestamp>,
    said: Timestamp,
}

impl Word {
    /// The word as it holds where nothing of it took effect before `since`.
    fn from(self, since: Timestamp) -> Self {
        Self { deadline: self.deadline.map(|deadline| deadline.after(since.since(self.said))), ..self }
    }
}

impl Words {
    /// What holds for an endpoint.
    pub fn standing(&self, asked: Asked<'_>) -> Standing {
        self.standing_from(asked, Timestamp::default())
    }

    /// Since when a review has let what was said in a group: the beginning of time where none ever stood in the way, `None` while one does.
    pub fn let_since(&self, tree: &Groups, group: Group) -> Option<Timestamp> {
        let since = self.reviewed.as_ref().and_then(|reviewed| reviewed.since(tree.is_test(group)));
        if tree.asks_review(group) {
            return since;
        }
        // What a review held, or let already, when the group ceased to ask for one.
        let freed = tree.freed(group).unwrap_or_default();
        Some(since.map_or(freed, |since| since.min(freed)))
    }

    /// The same where nothing took effect before `from`: until then a licence was not accepted.
    pub fn standing_from(&self, asked: Asked<'_>, from: Timestamp) -> Standing {
        if self.declined.is_some() {
            return Standing::Declined;
        }
        let mut changed = None;
        let own = asked.endpoint.and_then(|endpoint| self.word(Target::Endpoint(endpoint), &mut changed));
        let reviewed = self.reviewed.as_ref();
        let asks = |group: &Group| asked.tree.asks_review(*group);
        if asked.groups.iter().any(asks) {
            changed = changed.max(reviewed.map(|reviewed| reviewed.at));
        }
        let since = |group: &Group| self.let_since(asked.tree, *group);
        let words: Vec<Word> = if let Some(word) = own {
            // One that is in a group for trying things out is there for that, whatever else it is in.
            let first = if asked.groups.is_empty() {
                Some(Timestamp::default())
            } else {
                asked.groups.iter().filter_map(since).min()
            };
            first.map(|since| word.from(since.max(from))).into_iter().collect()
        } else {
            let nearest = |group: &Group| {
                let word = asked.tree.up(*group).find_map(|group| self.word(Target::Group(group), &mut changed));
                since(group).and_then(|since| Some(word?.from(since.max(from))))
            };
            asked.groups.iter().filter_map(nearest).collect()
        };
        let strongest = words.iter().filter_map(|word| word.action).max();
        match (strongest, changed) {
            (Some(action), Some(changed)) => {
                let deadlines = words.iter().filter(|word| word.action == Some(action));
                Standing::Ordered { action, deadline: deadlines.filter_map(|word| word.deadline).min(), changed }
            }
            _ => Standing::Undecided { changed },
        }
    }

    /// The word for one target; what is withdrawn is none, but when that was counts.
    fn word(&self, target: Target, changed: &mut Option<Timestamp>) -> Option<Word> {
        let approval = self.approvals.get(&target)?;
        *changed = (*changed).max(Some(approval.at));
        match approval.said {
            Said::Do { action, deadline } => {
                let action = Some(action).filter(|action| action.is_ordered() && *action != Action::Block);
                Some(Word { action, deadline, said: approval.at })
            }
            Said::NotApproved => Some(Word { action: None, deadline: None, said: approval.at }),
            Said::Inherit => None,
        }
    }
}
