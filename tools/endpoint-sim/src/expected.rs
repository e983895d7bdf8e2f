//! What machines should need, from the upstream simulator's own documents: no node, no fragment, no round of a scan takes part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use upstream_sim::Sim;

use crate::core::{Core, Kind};
use crate::guid::Guid;
use crate::machine::Machine;
use crate::state::Verdict;
use crate::xml;

/// The documents of a simulator, and which of their updates machines are asked about. Copies share the documents.
#[derive(Clone)]
pub struct Expected {
    updates: Arc<BTreeMap<Guid, Core>>,
    scope: BTreeSet<Guid>,
}

/// A machine, and what was installed on it since.
#[derive(Clone, Copy)]
struct Installed<'a> {
    machine: &'a Machine,
    parts: &'a BTreeSet<Guid>,
}

impl Installed<'_> {
    fn has(self, core: &Core) -> bool {
        self.parts.contains(&core.id) || core.is_installed(self.machine)
    }
}

/// What is known of an update while it is being decided.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Open,
    Present(bool),
}

impl Expected {
    /// Reads all that a node with this filter should hold (see [`Sim::state`]). In scope is what a node looks for by itself: deployable
    /// software that is neither expired nor superseded.
    pub fn read(sim: &Sim, filter: &Value) -> Result<Self, String> {
        let mut updates: BTreeMap<Guid, Core> = BTreeMap::new();
        for identity in sim.identities(filter).as_array().ok_or("the filter is wrong")? {
            let (Some(id), Some(revision)) = (identity["id"].as_str(), identity["revision"].as_u64()) else {
                return Err(format!("{identity} is no identity"));
            };
            let text = sim.document(id, revision as u32).ok_or_else(|| format!("{id} has no document"))?;
            let root = xml::read(&text)?;
            let core = Core::of(root.child("Update").ok_or_else(|| format!("{id} is no update"))?)?;
            let newer = updates.get(&core.id).is_none_or(|known| known.revision < core.revision);
            if newer {
                updates.insert(core.id, core);
            }
        }
        let deployable = sim.deployable(filter);
        let scope = deployable.as_array().into_iter().flatten().filter(|update| {
            update["expired"] == false && update["superseded"] == false && update["kb"] != Value::Null
        });
        let scope = scope.filter_map(|update| update["id"].as_str().and_then(Guid::read)).collect();
        Ok(Self { updates: Arc::new(updates), scope })
    }

    /// Only these updates are asked about.
    #[must_use]
    pub fn scoped(mut self, scope: impl IntoIterator<Item = Guid>) -> Self {
        self.scope = scope.into_iter().collect();
        self
    }

    /// What is asked about.
    pub fn scope(&self) -> &BTreeSet<Guid> {
        &self.scope
    }

    /// What this machine needs and has, as it came.
    pub fn of(&self, machine: &Machine) -> Verdict {
        self.after(machine, &BTreeSet::new())
    }

    /// What this machine needs and has once these parts were installed on it.
    pub fn after(&self, machine: &Machine, installed: &BTreeSet<Guid>) -> Verdict {
        let mut marks = BTreeMap::new();
        let machine = Installed { machine, parts: installed };
        let mut verdict = Verdict::default();
        for id in &self.scope {
            let is_software = |core: &Core| core.kind == Kind::Software && core.deployable;
            if !self.updates.get(id).is_some_and(is_software) {
                continue;
            }
            if self.present(machine, *id, &mut marks) {
                verdict.installed.insert(*id);
            } else if self.can(machine, *id, &mut marks) {
                verdict.needed.insert(*id);
            }
        }
        verdict
    }

    /// Whether it is there, decided from what it depends on. What depends on itself is not.
    fn present(&self, machine: Installed<'_>, id: Guid, marks: &mut BTreeMap<Guid, Mark>) -> bool {
        match marks.get(&id) {
            Some(Mark::Open) => return false,
            Some(Mark::Present(known)) => return *known,
            None => {}
        }
        let Some(core) = self.updates.get(&id) else { return false };
        marks.insert(id, Mark::Open);
        let mut met = |clauses: &[Vec<Guid>]| {
            clauses.iter().all(|clause| clause.iter().any(|id| self.present(machine, *id, marks)))
        };
        let there = met(&core.needs) && if core.bundles.is_empty() { machine.has(core) } else { met(&core.bundles) };
        marks.insert(id, Mark::Present(there));
        there
    }

    fn can(&self, machine: Installed<'_>, id: Guid, marks: &mut BTreeMap<Guid, Mark>) -> bool {
        let Some(core) = self.updates.get(&id) else { return false };
        let mut needs = core.needs.iter();
        if !core.is_installable(machine.machine)
            || !needs.all(|clause| clause.iter().any(|id| self.present(machine, *id, marks)))
        {
            return false;
        }
        core.bundles
            .iter()
            .all(|clause| clause.iter().any(|id| self.present(machine, *id, marks) || self.can(machine, *id, marks)))
    }
}
