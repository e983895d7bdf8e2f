//! Which groups an endpoint is in.
//!
//! 1. Those that somebody put it in.
//! 2. Else those that it names for itself (client-side targeting), as far as they are there.
//! 3. Else those whose rules fit its name or its address.
//! 4. Else it is unassigned.
//!
//! Whoever put an endpoint somewhere by hand meant just that, so that what its policy says afterwards changes nothing; a WSUS server has
//! one of both ways for all of its clients.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::fleet::error::Error;
use crate::model::deployment::Endpoint;
use crate::model::group::{Groups, UNASSIGNED};
use crate::model::policy::Group;
use crate::store::approvals::Approvals;
use crate::store::fleet::{Fleet, Record};

/// Endpoints whose groups are kept in memory, some 150 bytes each: more than a node serves. Of more the ones seen longest ago cost two
/// look-ups again.
const KEPT_MAX: usize = 50_000;
/// What stands between the groups that an endpoint names for itself.
const BETWEEN: char = ';';

/// Why an endpoint is in its groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Somebody put it there.
    ByHand,
    /// It names them.
    ByItself,
    /// Rules fit it.
    ByRule,
    /// Nothing says anything.
    Unassigned,
}

impl How {
    /// The word of the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ByHand => "by-hand",
            Self::ByItself => "by-itself",
            Self::ByRule => "by-rule",
            Self::Unassigned => "unassigned",
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The groups of an endpoint, in order, one at least, and why. `placed`: where somebody put it. Groups that are gone count for nothing.
pub fn groups(record: Option<&Record>, placed: &[Group], tree: &Groups) -> (Vec<Group>, How) {
    let of = |found: BTreeSet<Group>, how| (!found.is_empty()).then(|| (found.into_iter().collect(), how));
    let placed = placed.iter().copied().filter(|group| tree.get(*group).is_some());
    if let Some(found) = of(placed.collect(), How::ByHand) {
        return found;
    }
    if let Some(registration) = record.map(|record| &record.registration) {
        let names = registration.targets.iter().flat_map(|names| names.split(BETWEEN)).map(str::trim);
        let named = names.filter(|name| !name.is_empty()).filter_map(|name| tree.called(name).ok());
        let rules = || tree.by_rule(&registration.name, registration.address);
        if let Some(found) = of(named.collect(), How::ByItself).or_else(|| of(rules(), How::ByRule)) {
            return found;
        }
    }
    (vec![UNASSIGNED], How::Unassigned)
}

/// A state of what groups are made out of: the clock of what is shared, and the turn of what is known of the endpoint.
type State = (u64, u64);

/// Groups of endpoints, kept for a state.
pub struct Belonging {
    fleet: Fleet,
    approvals: Approvals,
    kept: Cache<Endpoint, (State, Arc<[Group]>)>,
}

impl fmt::Debug for Belonging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Belonging").field("kept", &self.kept.len()).finish_non_exhaustive()
    }
}

impl Belonging {
    /// Of the endpoints of a store.
    pub fn new(fleet: Fleet, approvals: Approvals) -> Self {
        Self { fleet, approvals, kept: Cache::new(KEPT_MAX) }
    }

    /// The groups of an endpoint in a tree, which is that of a clock ([`crate::store::approvals::Shared::clock`]). `None` where the tree is
    /// too old: it was put into a group that the tree does not have yet, and what holds there would not hold for it.
    pub async fn of(&self, endpoint: Endpoint, tree: &Groups, clock: u64) -> Result<Option<Arc<[Group]>>, Error> {
        // Before the look-ups: what changes meanwhile makes what is kept an old state.
        let state = (clock, self.fleet.turn(endpoint));
        if let Some((kept, found)) = self.kept.get(&endpoint)
            && kept == state
        {
            return Ok(Some(found));
        }
        let record = self.fleet.endpoint(endpoint).await?;
        let placed = self.approvals.placed(vec![endpoint]).await?.pop().unwrap_or_default();
        let is_strange = |group: &Group| tree.get(*group).is_none();
        if placed.iter().any(is_strange) {
            let now = self.approvals.tree().await?;
            if placed.iter().any(|group| is_strange(group) && now.groups.get(*group).is_some()) {
                return Ok(None);
            }
        }
        let (found, _) = groups(record.as_ref(), &placed, tree);
        let found: Arc<[Group]> = found.into();
        self.kept.insert(endpoint, (state, Arc::clone(&found)));
        Ok(Some(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Timestamp;
    use crate::model::group::rule::Rule;
    use crate::model::group::{Level, Node};
    use crate::model::update::UpdateId;
    use crate::store::fleet::{Admitted, Bios, Os, Registration};

    fn id(at: u8) -> Group {
        Group(UpdateId::new([at; 16]))
    }

    fn record(targets: &[&str]) -> Record {
        Record {
            registration: Registration {
                endpoint: Endpoint(UpdateId::new([9; 16])),
                name: "kiosk-7.site.example".into(),
                os: Os::default(),
                maker: String::new(),
                model: String::new(),
                bios: Bios::default(),
                architecture: String::new(),
                client_version: String::new(),
                targets: targets.iter().map(|name| (*name).to_owned()).collect(),
                address: [10, 1, 2, 3].into(),
                at: Timestamp::from_ms(1),
            },
            first: Timestamp::from_ms(1),
            admitted: Admitted::Accepted,
            contests: vec![],
        }
    }

    #[test]
    fn a_hand_counts_before_its_own_word_and_that_before_a_rule() {
        let node = |at: u8, name: &str, rules: Vec<Rule>| Node {
            id: id(at),
            name: name.into(),
            level: Level::Group,
            parent: Group::ALL_ENDPOINTS,
            is_test: false,
            asks_review: false,
            rules,
        };
        let kiosks = vec![Rule::Name("kiosk-*".parse().unwrap())];
        let tree = Groups::new([node(1, "Lab", vec![]), node(2, "Pilot", vec![]), node(3, "Kiosks", kiosks)]).unwrap();
        let of = |targets: &[&str], placed: &[Group]| groups(Some(&record(targets)), placed, &tree);
        assert_eq!(of(&["Pilot"], &[id(1)]), (vec![id(1)], How::ByHand));
        assert_eq!(of(&["Pilot"], &[id(77)]), (vec![id(2)], How::ByItself), "a group that is gone");
        assert_eq!(of(&["pilot; LAB", "Nowhere"], &[]), (vec![id(1), id(2)], How::ByItself));
        assert_eq!(of(&["Nowhere"], &[]), (vec![id(3)], How::ByRule));
        assert_eq!(of(&[], &[]), (vec![id(3)], How::ByRule));
        assert_eq!(groups(Some(&record(&[])), &[], &Groups::default()), (vec![UNASSIGNED], How::Unassigned));
        assert_eq!(groups(None, &[], &tree), (vec![UNASSIGNED], How::Unassigned));
        assert_eq!(groups(None, &[id(2)], &tree), (vec![id(2)], How::ByHand));
    }
}
