//! What an agent holds of the server's updates, and what its machine makes of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::core::{Core, Fragments, Kind};
use crate::guid::Guid;
use crate::machine::Machine;
use crate::xml::Element;

/// What the server wants done with an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Install,
    Uninstall,
    /// Reported, not installed.
    Detect,
    /// There for others: as a prerequisite, or as a member.
    Support,
}

impl Action {
    fn read(deployment: &Element) -> Result<Self, String> {
        match deployment.text_of("Action") {
            Some("Install" | "OptionalInstall") => Ok(Self::Install),
            Some("Uninstall") => Ok(Self::Uninstall),
            Some("PreDeploymentCheck" | "Block") => Ok(Self::Detect),
            Some("Evaluate" | "Bundle") => Ok(Self::Support),
            other => Err(format!("a deployment has action {other:?}, which no agent knows")),
        }
    }

    /// Whether the machine's state of it is reported.
    fn reported(self) -> bool {
        self != Self::Support
    }
}

/// A revision that the server sent.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) core: Arc<Core>,
    pub(crate) leaf: bool,
    pub(crate) action: Action,
    /// Until when that is to be done, as the server said it.
    pub(crate) deadline: Option<String>,
    /// What its own rules say, whatever its prerequisites.
    installed: bool,
    installable: bool,
}

/// What one answer of SyncUpdates changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) new: usize,
    pub(crate) gone: usize,
    pub(crate) changed: usize,
    /// Whether the agent has to ask again: there is more, or what came may be a prerequisite of more.
    pub(crate) again: bool,
}

/// What a machine needs and has, of the updates that are deployed to it or looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Can be installed and is not.
    pub needed: BTreeSet<Guid>,
    /// Is installed.
    pub installed: BTreeSet<Guid>,
}

/// All that the server sent, by its revision ids; and what was installed and removed in pretence.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) held: BTreeMap<i32, Held>,
    pub(crate) pretended: HashSet<Guid>,
    pub(crate) removed: HashSet<Guid>,
}

impl State {
    /// Takes over an answer of SyncUpdates; the error says in what it breaks the protocol.
    pub(crate) fn take(&mut self, result: &Element, machine: &Machine, known: &Fragments) -> Result<Changes, String> {
        let mut changes = Changes { again: result.text_of("Truncated") == Some("true"), ..Changes::default() };
        let ids =
            |name: &str| result.child(name).into_iter().flat_map(|list| list.all("int")).map(|id| number(&id.text));
        for id in ids("OutOfScopeRevisionIDs").chain(ids("DeployedOutOfScopeRevisionIds")) {
            changes.gone += usize::from(self.held.remove(&id?).is_some());
        }
        for info in result.child("ChangedUpdates").into_iter().flat_map(|list| list.all("UpdateInfo")) {
            let id = number(info.text_of("ID").unwrap_or_default())?;
            let held = self.held.get_mut(&id).ok_or_else(|| format!("revision {id} changed, which was never sent"))?;
            held.leaf = info.text_of("IsLeaf") == Some("true");
            (held.action, held.deadline) = (action(info, id)?, deadline(info));
            changes.changed += 1;
        }
        for info in result.child("NewUpdates").into_iter().flat_map(|list| list.all("UpdateInfo")) {
            let id = number(info.text_of("ID").unwrap_or_default())?;
            if self.held.contains_key(&id) {
                return Err(format!("revision {id} was sent as new although it is held"));
            }
            let text = &info.child("Xml").ok_or_else(|| format!("revision {id} came without its fragment"))?.text;
            let core = known.core(text)?;
            let leaf = match info.text_of("IsLeaf") {
                Some("true") => true,
                Some("false") => false,
                other => return Err(format!("revision {id} has IsLeaf {other:?}")),
            };
            changes.again |= !leaf;
            changes.new += 1;
            let held = Held { deadline: deadline(info), ..Held::new(core, leaf, action(info, id)?, machine) };
            self.held.insert(id, held);
        }
        Ok(changes)
    }

    /// Takes over the server's new ids of what is held; what it does not name is forgotten.
    pub(crate) fn renumber(&mut self, result: &Element) -> Result<(), String> {
        let by_name: HashMap<(Guid, u32), Held> = std::mem::take(&mut self.held)
            .into_values()
            .map(|held| ((held.core.id, held.core.revision), held))
            .collect();
        for one in result.all("RefreshCacheResult") {
            let id = number(one.text_of("RevisionID").unwrap_or_default())?;
            let global = one.child("GlobalID").ok_or("RefreshCache answers without a GlobalID")?;
            let update =
                global.text_of("UpdateID").and_then(Guid::read).ok_or("RefreshCache answers without an UpdateID")?;
            let revision = number(global.text_of("RevisionNumber").unwrap_or_default())?;
            let revision = u32::try_from(revision).map_err(|_| format!("{update} has revision {revision}"))?;
            let held = by_name
                .get(&(update, revision))
                .ok_or_else(|| format!("RefreshCache names {update}, which is not held"))?;
            let leaf = one.text_of("IsLeaf") == Some("true");
            self.held.insert(id, Held { leaf, action: action(one, id)?, deadline: deadline(one), ..held.clone() });
        }
        Ok(())
    }

    /// The ids that SyncUpdates says: installed ones that are no leaves, all others, drivers.
    pub(crate) fn lists(&self) -> (Vec<i32>, Vec<i32>, Vec<i32>) {
        let present = self.present();
        let (mut installed, mut other, mut drivers) = (Vec::new(), Vec::new(), Vec::new());
        for (id, held) in &self.held {
            match held.core.kind {
                Kind::Driver => drivers.push(*id),
                _ if !held.leaf && present.contains(&held.core.id) => installed.push(*id),
                _ => other.push(*id),
            }
        }
        (installed, other, drivers)
    }

    /// The newest revision held of each update.
    pub(crate) fn newest(&self) -> HashMap<Guid, (i32, &Held)> {
        let mut all: HashMap<Guid, (i32, &Held)> = HashMap::with_capacity(self.held.len());
        for (id, held) in &self.held {
            let place = all.entry(held.core.id).or_insert((*id, held));
            if held.core.revision > place.1.core.revision {
                *place = (*id, held);
            }
        }
        all
    }

    /// All that is installed: its prerequisites are, and so is it, or all that it contains. Grows until nothing more follows.
    fn present(&self) -> HashSet<Guid> {
        let mut present = HashSet::new();
        let mut open: Vec<&Held> = self.newest().into_values().map(|(_, held)| held).collect();
        loop {
            let before = present.len();
            open.retain(|held| {
                let there = every(&held.core.needs, |id| present.contains(&id))
                    && if held.core.bundles.is_empty() {
                        let own = held.installed || self.pretended.contains(&held.core.id);
                        own && !self.removed.contains(&held.core.id)
                    } else {
                        every(&held.core.bundles, |id| present.contains(&id))
                    };
                if there {
                    present.insert(held.core.id);
                }
                !there
            });
            if present.len() == before {
                return present;
            }
        }
    }

    /// What the machine needs and has.
    pub(crate) fn verdict(&self) -> Verdict {
        let (present, newest) = (self.present(), self.newest());
        let mut verdict = Verdict::default();
        for (id, (_, held)) in &newest {
            if held.core.kind != Kind::Software || !held.core.deployable || !held.action.reported() {
                continue;
            }
            if present.contains(id) {
                verdict.installed.insert(*id);
            } else if can(&newest, &present, *id, 0) {
                verdict.needed.insert(*id);
            }
        }
        verdict
    }

    /// Those of these that the server wants this done with.
    pub(crate) fn with(&self, action: Action, of: &BTreeSet<Guid>) -> BTreeSet<Guid> {
        let newest = self.newest();
        let wanted = |id: &&Guid| newest.get(*id).is_some_and(|(_, held)| held.action == action);
        of.iter().filter(wanted).copied().collect()
    }

    /// Until when each of these is to be done, of those that have a deadline.
    pub(crate) fn deadlines(&self, of: &BTreeSet<Guid>) -> BTreeMap<Guid, String> {
        let newest = self.newest();
        let deadline = |id: &Guid| Some((*id, newest.get(id)?.1.deadline.clone()?));
        of.iter().filter_map(deadline).collect()
    }

    /// The parts of an update that have files: itself, or what it contains, down to the last.
    pub(crate) fn parts(&self, of: Guid) -> Vec<Guid> {
        let newest = self.newest();
        let (mut parts, mut open, mut seen) = (Vec::new(), vec![of], HashSet::new());
        while let Some(id) = open.pop() {
            let Some((_, held)) = newest.get(&id) else { continue };
            if !seen.insert(id) {
                continue;
            }
            if held.core.bundles.is_empty() {
                parts.push(id);
            }
            open.extend(held.core.bundles.iter().flatten());
        }
        parts
    }
}

impl Held {
    fn new(core: Arc<Core>, leaf: bool, action: Action, machine: &Machine) -> Self {
        let (installed, installable) = (core.is_installed(machine), core.is_installable(machine));
        Self { core, leaf, action, deadline: None, installed, installable }
    }
}

/// Whether every clause has one that does.
fn every(clauses: &[Vec<Guid>], does: impl Fn(Guid) -> bool) -> bool {
    clauses.iter().all(|clause| clause.iter().any(|id| does(*id)))
}

/// How deep bundles lie in each other at most; real ones two.
const NESTED: u32 = 8;

fn can(newest: &HashMap<Guid, (i32, &Held)>, present: &HashSet<Guid>, id: Guid, depth: u32) -> bool {
    let Some((_, held)) = newest.get(&id) else { return false };
    depth < NESTED
        && held.installable
        && every(&held.core.needs, |id| present.contains(&id))
        && every(&held.core.bundles, |id| present.contains(&id) || can(newest, present, id, depth + 1))
}

fn action(info: &Element, id: i32) -> Result<Action, String> {
    // Without it a real agent fails with 0x80070057.
    Action::read(info.child("Deployment").ok_or_else(|| format!("revision {id} came without a deployment"))?)
}

fn deadline(info: &Element) -> Option<String> {
    info.child("Deployment")?.text_of("Deadline").map(str::to_owned)
}

fn number(text: &str) -> Result<i32, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is not a revision id"))
}
