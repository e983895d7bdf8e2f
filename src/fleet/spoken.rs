//! All that people said of updates, in memory, as far as scans need it: words for groups, endpoints and all, the groups, licences.
//!
//! 1. It is read with the graph, and follows the same change log ([`Spoken::tell`]); the groups and the licences are read again as a whole
//!    where they changed ([`Spoken::follow`]).
//! 2. Endpoints for which the same was said share a view. So a set of groups is brought down to those that make a difference
//!    ([`Spoken::whose`]), and an endpoint counts by itself only where it has words of its own.
//! 3. What is ordered for such a set is made out by [`Spoken::ordered`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::base::time::Timestamp;
use crate::fleet::error::Error;
use crate::fleet::graph::Graph;
use crate::fleet::order::{self, Ordered, Terms};
use crate::model::deployment::detection::Detection;
use crate::model::deployment::inherit::{Asked, Words};
use crate::model::deployment::{Action, Endpoint, Target};
use crate::model::policy::Group;
use crate::model::update::UpdateId;
use crate::store::approvals::{Approvals, PAGE_MAX, Shared, Tree};

/// Whom a view is for: whoever has these groups, or one endpoint that has words of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Whose {
    groups: Vec<Group>,
    own: Option<Endpoint>,
}

impl Whose {
    /// A number that stands for it: another one for others, but for a chance of one in 2^64.
    pub fn number(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// What people said.
#[derive(Clone, Debug, Default)]
pub struct Spoken {
    /// Shared by the states that it is the same in.
    words: Arc<BTreeMap<UpdateId, Words>>,
    /// Of how many updates something was said for a target.
    targets: Arc<HashMap<Target, u32>>,
    tree: Arc<Tree>,
    accepted: Arc<BTreeMap<UpdateId, Timestamp>>,
    shared: Shared,
    /// The change log may have forgotten what was before.
    floor: u64,
}

impl Spoken {
    /// Updates of which something was said.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The groups.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The clock of what is shared: that of the groups.
    pub fn shared(&self) -> u64 {
        self.shared.clock
    }

    /// Reads groups and licences where they are others than before.
    pub async fn follow(&mut self, approvals: &Approvals) -> Result<(), Error> {
        // First: what changes behind it is read once more.
        let shared = approvals.shared().await?;
        if shared.clock != self.shared.clock {
            self.tree = Arc::new(approvals.tree().await?);
            let licences = approvals.licences().await?;
            self.accepted = Arc::new(licences.into_iter().map(|one| (one.eula, one.at)).collect());
        }
        self.shared = shared;
        Ok(())
    }

    /// Something was said of these updates; `floor` is where the change log begins.
    pub async fn tell(&mut self, approvals: &Approvals, told: &[UpdateId], floor: u64) -> Result<(), Error> {
        self.floor = self.floor.max(floor);
        for step in told.chunks(PAGE_MAX) {
            let words = approvals.words(step.to_vec()).await?;
            for (update, words) in step.iter().zip(words) {
                self.put(*update, words);
            }
        }
        Ok(())
    }

    /// What was said of an update is this.
    pub fn put(&mut self, update: UpdateId, words: Words) {
        let is_silent = words == Words::default();
        if is_silent && !self.words.contains_key(&update) {
            return;
        }
        let (all, targets) = (Arc::make_mut(&mut self.words), Arc::make_mut(&mut self.targets));
        for target in words.approvals.keys() {
            *targets.entry(*target).or_default() += 1;
        }
        let old = if is_silent { all.remove(&update) } else { all.insert(update, words) };
        for target in old.iter().flat_map(|old| old.approvals.keys()) {
            if let Some(many) = targets.get_mut(target) {
                *many -= 1;
                if *many == 0 {
                    targets.remove(target);
                }
            }
        }
    }

    /// Whether it makes a difference to stand in a group rather than in the one above it.
    fn differs(&self, group: Group) -> bool {
        self.targets.contains_key(&Target::Group(group))
            || self.tree.groups.get(group).is_some_and(|node| node.is_test || node.asks_review)
            // When it ceased to ask for reviews is when what they held took effect there, and its deadlines begin.
            || self.tree.groups.freed_itself(group).is_some()
    }

    /// Whom the view of an endpoint in these groups is for.
    pub fn whose(&self, endpoint: Endpoint, groups: &[Group]) -> Whose {
        let tree = &self.tree.groups;
        let counts = |group: &Group| tree.up(*group).find(|group| self.differs(*group)).unwrap_or(Group::ALL_ENDPOINTS);
        let mut groups: Vec<Group> = groups.iter().map(counts).collect();
        groups.sort_unstable();
        groups.dedup();
        let own = self.targets.contains_key(&Target::Endpoint(endpoint)).then_some(endpoint);
        Whose { groups, own }
    }

    /// When what these groups inherit changed last, whatever the words.
    fn since(&self, groups: &[Group]) -> u64 {
        let up = groups.iter().flat_map(|group| self.tree.groups.up(*group));
        let moved = up.filter_map(|group| self.tree.moved.get(&group).copied()).max();
        // Never nothing: whoever was told what holds for others is told all that holds for it, what nobody ever spoke of too.
        moved.unwrap_or(0).max(self.shared.floor).max(self.floor).max(1)
    }

    /// What is ordered. What was withdrawn by its publisher is installed nowhere any more, whatever was said of it; it may be removed.
    pub fn ordered(&self, graph: &Graph, whose: &Whose, detection: &Detection, now: Timestamp) -> Vec<Ordered> {
        let asked = Asked { endpoint: whose.own, groups: &whose.groups, tree: &self.tree.groups };
        let since = self.since(&whose.groups);
        let terms = Terms { words: &self.words, asked, detection, accepted: &self.accepted, since, now };
        let expired: HashSet<UpdateId> =
            graph.deployable().filter(|found| found.expired).map(|found| found.identity.id).collect();
        let mut ordered = order::ordered(graph, terms);
        ordered.retain(|order| order.action == Action::Uninstall || !expired.contains(&order.update));
        ordered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::deployment::{Action, Approval, Said};
    use crate::model::group::{Groups, Level, Node, UNASSIGNED};

    fn id(at: u8) -> UpdateId {
        UpdateId::new([at; 16])
    }

    fn words(targets: &[Target]) -> Words {
        let said = Said::Do { action: Action::Install, deadline: None };
        let approval = |target| Approval { update: id(1), target, said, by: String::new(), at: Timestamp::from_ms(5) };
        Words { approvals: targets.iter().map(|target| (*target, approval(*target))).collect(), ..Words::default() }
    }

    #[test]
    fn endpoints_share_a_view_where_nothing_makes_a_difference() {
        let node = |at: u8, parent, is_test| Node {
            id: Group(id(at)),
            name: at.to_string(),
            level: Level::Group,
            parent,
            is_test,
            asks_review: false,
            rules: vec![],
        };
        let (site, pilot, other) = (Group(id(1)), Group(id(2)), Group(id(3)));
        let nodes = [node(1, Group::ALL_ENDPOINTS, false), node(2, site, false), node(3, site, true)];
        let tree = Tree { groups: Groups::new(nodes).unwrap(), ..Tree::default() };
        let mut spoken = Spoken { tree: Arc::new(tree), ..Spoken::default() };
        let (me, you) = (Endpoint(id(8)), Endpoint(id(9)));
        let all = spoken.whose(me, &[UNASSIGNED]);
        assert_eq!(spoken.whose(you, &[site, pilot]), all);
        assert_ne!(spoken.whose(you, &[other]), all, "it is there for trying out");
        let mut freed = spoken.tree.groups.clone();
        freed.free(pilot, Timestamp::from_ms(7));
        let tree = Tree { groups: freed, ..Tree::default() };
        let asked_once = Spoken { tree: Arc::new(tree), ..Spoken::default() };
        assert_ne!(asked_once.whose(you, &[pilot]), asked_once.whose(me, &[site]), "its deadlines begin later");
        spoken.put(id(40), words(&[Target::Group(site)]));
        let of_site = spoken.whose(me, &[site]);
        assert_eq!(spoken.whose(you, &[pilot]), of_site, "nothing was said for it");
        assert_ne!(of_site, all);
        assert_ne!(of_site.number(), all.number());
        spoken.put(id(41), words(&[Target::Endpoint(you), Target::Group(pilot)]));
        assert_eq!(spoken.whose(me, &[site]), of_site);
        assert_ne!(spoken.whose(you, &[site]), of_site, "it has words of its own");
        assert_ne!(spoken.whose(me, &[pilot]), of_site);
        // What is said of an update takes the place of what was said of it before.
        spoken.put(id(41), words(&[Target::Group(pilot)]));
        spoken.put(id(41), Words::default());
        spoken.put(id(41), Words::default());
        assert_eq!((spoken.whose(you, &[pilot]), spoken.len()), (of_site, 1));
        spoken.put(id(40), Words::default());
        assert!(spoken.is_empty() && spoken.targets.is_empty());
    }
}
