//! What is ordered for a set of groups: approvals where there are some, detection where nobody decided.
//!
//! 1. What was declined, must not be offered, or is a driver is not delivered.
//! 2. What was approved is delivered with what was approved. Where a licence is not accepted, of it or of a part of it, it is detected
//!    instead of installed; one that was accepted later than it was approved moves the deadline by as much.
//! 3. What is undecided is detected where the rules of detection take it ([`crate::model::deployment::detection`]) and nothing that
//!    supersedes it is looked for: where the newer one was declined or is out of scope, the older one is what there is.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::time::Timestamp;
use crate::fleet::bits::Bits;
use crate::fleet::graph::Graph;
use crate::fleet::view::View;
use crate::model::deployment::Action;
use crate::model::deployment::detection::{Candidate, Detection};
use crate::model::deployment::inherit::{Asked, Standing, Words};
use crate::model::update::{Kind, UpdateId};

/// What is to be done with an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Which update.
    pub update: UpdateId,
    /// What; one that [`Action::is_ordered`].
    pub action: Action,
    /// Until when.
    pub deadline: Option<Timestamp>,
    /// When that was changed last, by the logical clock.
    pub changed: u64,
}

/// All that decides what is delivered to a set of groups.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// What was said, by update.
    pub words: &'a BTreeMap<UpdateId, Words>,
    /// For whom it is asked.
    pub asked: Asked<'a>,
    /// What is detected.
    pub detection: &'a Detection,
    /// Licences that were accepted, and when, by the logical clock.
    pub accepted: &'a BTreeMap<UpdateId, Timestamp>,
    /// No change is told as one before this: the logical clock when what the groups inherit changed last, without a word about any update.
    pub since: u64,
    /// Now; ages are in days, so that the answer is the same for a day.
    pub now: Timestamp,
}

/// What is ordered, by update. What a rule decides (detection) has no time of its own: it counts as changed with the last word about the
/// update, and as never where there was none; a client that does not have it gets it as new.
pub fn ordered(graph: &Graph, terms: Terms<'_>) -> Vec<Ordered> {
    let silent = Words::default();
    let mut found = Vec::new();
    // Undecided ones that the rules take, by place; and what could be looked for and is not.
    let (mut undecided, mut passed_over) = (Vec::new(), Bits::new(graph.updates()));
    for (place, update) in graph.deployable_at().filter(|(_, update)| !update.refused && update.kind != Kind::Driver) {
        let id = update.identity.id;
        let words = terms.words.get(&id).unwrap_or(&silent);
        let standing = words.standing(terms.asked);
        match standing {
            Standing::Declined => drop(passed_over.add(place)),
            Standing::Ordered { action, deadline, changed } => {
                if action == Action::Uninstall {
                    passed_over.add(place);
                }
                let licences = match action {
                    Action::Install | Action::OptionalInstall => graph.eulas(id),
                    _ => vec![],
                };
                let accepted: Option<Vec<Timestamp>> =
                    licences.iter().map(|eula| terms.accepted.get(eula).copied()).collect();
                found.push(match accepted {
                    Some(accepted) => {
                        let licenced = accepted.into_iter().max().unwrap_or_default();
                        let changed = changed.max(licenced);
                        // Asked again only where it makes a difference: that goes for few.
                        let later = deadline.filter(|_| licenced > Timestamp::default());
                        let deadline = match later.map(|_| words.standing_from(terms.asked, licenced)) {
                            Some(Standing::Ordered { deadline, .. }) => deadline,
                            _ => deadline,
                        };
                        Ordered { update: id, action, deadline, changed: changed.ms().max(terms.since) }
                    }
                    None => Ordered {
                        update: id,
                        action: Action::PreDeploymentCheck,
                        deadline: None,
                        changed: changed.ms().max(terms.since),
                    },
                });
            }
            Standing::Undecided { changed } => {
                let candidate = Candidate {
                    kind: update.kind,
                    deployable: true,
                    refused: update.refused,
                    expired: update.expired,
                    categories: &update.categories,
                    created: update.created,
                };
                if terms.detection.takes(&candidate, terms.now) {
                    let changed = changed.map_or(0, Timestamp::ms).max(terms.since);
                    let order = Ordered { update: id, action: Action::PreDeploymentCheck, deadline: None, changed };
                    undecided.push((place, order));
                } else {
                    passed_over.add(place);
                }
            }
        }
    }
    let covered = graph.covered(&passed_over);
    found.extend(undecided.into_iter().filter(|(place, _)| !covered.has(*place)).map(|(_, order)| order));
    found.sort_unstable_by_key(|order| order.update);
    found
}

/// What a machine that comes for the first time must evaluate: how many revisions, and the bytes of their metadata.
pub fn weight(view: &View) -> (usize, u64) {
    (view.entries().len(), view.core_bytes())
}

/// Licences that stand in the way: updates that are approved for installation and wait for them.
pub fn waiting(graph: &Graph, terms: Terms<'_>) -> BTreeMap<UpdateId, BTreeSet<UpdateId>> {
    let mut found: BTreeMap<UpdateId, BTreeSet<UpdateId>> = BTreeMap::new();
    for (id, words) in terms.words {
        let Standing::Ordered { action: Action::Install | Action::OptionalInstall, .. } = words.standing(terms.asked)
        else {
            continue;
        };
        for eula in graph.eulas(*id).into_iter().filter(|eula| !terms.accepted.contains_key(eula)) {
            found.entry(eula).or_default().insert(*id);
        }
    }
    found
}
