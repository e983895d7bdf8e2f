//! What a node should hold after a run: the simulator's own counts, to compare with.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use crate::clock::{form, iso};
use crate::document::SEVERITIES;
use crate::files::Key;
use crate::names::CLASSIFICATIONS;
use crate::world::{CategoryKind, Filter, Role, Slot, World};

#[derive(Default)]
struct Tally {
    updates: u64,
    offered: u64,
    files: HashSet<Key>,
    bytes: u64,
    offered_files: HashSet<Key>,
    offered_bytes: u64,
}

impl World {
    /// The groups that a filter leads to, with those that their first updates need, to the end.
    pub(crate) fn reached(&self, listed: &[crate::guid::Identity]) -> Vec<bool> {
        let mut reached = vec![false; self.groups.len()];
        for (id, _) in listed {
            let Some(Slot::Member(mut at, _)) = self.slot(id) else { continue };
            // Needs lead to older groups only, so that this ends.
            while let Some(seen) = reached.get_mut(at as usize) {
                if std::mem::replace(seen, true) {
                    break;
                }
                let Some(next) = self.group(at).and_then(|group| group.needs) else { break };
                at = next;
            }
        }
        reached
    }

    /// All revisions that a node should hold for `filter`, the newest of each: id, revision, kind, whether withdrawn.
    pub(crate) fn identities(&self, filter: &Filter) -> Value {
        let listed = self.list(&Filter { config: false, since: None, ..filter.clone() });
        let reached = self.reached(&listed);
        let mut all = Vec::new();
        let mut add = |id: crate::guid::Guid, revision: u32, kind: &str, expired: bool| {
            all.push(json!({ "id": id.to_string(), "revision": revision, "kind": kind, "expired": expired }));
        };
        for category in &self.categories {
            add(category.id, category.revisions.last().map_or(0, |(last, _)| *last), "category", false);
        }
        for detectoid in &self.detectoids {
            add(detectoid.id, detectoid.revisions.last().map_or(0, |(last, _)| *last), "detectoid", false);
        }
        for (at, group) in self.groups.iter().enumerate().filter(|(at, _)| reached.get(*at) == Some(&true)) {
            for member in 0..group.members {
                let revision = group.revision(member);
                let kind = if group.role(member) == Role::Driver { "driver" } else { "software" };
                add(self.member_id(at as u32, member), revision, kind, group.expired_at(member, revision));
            }
        }
        Value::Array(all)
    }

    /// Counts of what `filter` (its anchor apart) leads to.
    pub(crate) fn state(&self, filter: &Filter, scale: f64) -> Value {
        let listed = self.list(&Filter { config: false, since: None, ..filter.clone() });
        let reached = self.reached(&listed);
        let here = |at: u32| reached.get(at as usize).copied().unwrap_or(false);
        let held = || (0..self.groups.len() as u32).filter(|at| here(*at));
        let mut superseded = vec![false; self.groups.len()];
        for at in held() {
            for before in self.superseded(at).filter(|before| here(*before)) {
                if let Some(slot) = superseded.get_mut(before as usize) {
                    *slot = true;
                }
            }
        }
        let mut count: BTreeMap<&str, u64> = BTreeMap::new();
        let mut add = |name: &'static str, more: u64| *count.entry(name).or_default() += more;
        let mut severities: Vec<Tally> = SEVERITIES.iter().map(|_| Tally::default()).collect();
        let mut classes: BTreeMap<&str, u64> = BTreeMap::new();
        let (mut files, mut licences) = (HashSet::new(), HashSet::new());
        let (mut bytes, mut licence_bytes) = (0, 0);
        for at in held() {
            let Some(group) = self.group(at) else { continue };
            let expired = group.expired();
            let is_superseded = superseded.get(at as usize).copied().unwrap_or(false);
            add("total", u64::from(group.members));
            add("deployable", 1);
            add("expired_deployable", u64::from(expired));
            add("superseded", u64::from(is_superseded));
            add("published_deployable", u64::from(!expired));
            let offered = !expired && !is_superseded;
            add("offered", u64::from(offered));
            if let Some((_, name)) = CLASSIFICATIONS.get(usize::from(group.class)) {
                *classes.entry(name).or_default() += 1;
            }
            let tally = severities.get_mut(usize::from(group.severity));
            let mut own = Vec::new();
            for member in 0..group.members {
                match group.role(member) {
                    Role::Driver => add("drivers", 1),
                    Role::Bundle => add("bundles", 1),
                    Role::InnerBundle | Role::Leaf => add("hidden", 1),
                    Role::Alone => {}
                }
                let revision = group.revision(member);
                add("expired", u64::from(group.expired_at(member, revision)));
                add("revised", u64::from(revision > crate::world::FIRST));
                for spec in self.files(scale, at, member, revision) {
                    if spec.key.licence {
                        if licences.insert(spec.key) {
                            licence_bytes += spec.size;
                        }
                    } else {
                        if files.insert(spec.key) {
                            bytes += spec.size;
                        }
                        own.push((spec.key, spec.size));
                    }
                }
            }
            let Some(tally) = tally else { continue };
            tally.updates += 1;
            tally.offered += u64::from(offered);
            for (key, size) in own {
                if tally.files.insert(key) {
                    tally.bytes += size;
                }
                if offered && tally.offered_files.insert(key) {
                    tally.offered_bytes += size;
                }
            }
        }
        let kinds = |kind| self.categories.iter().filter(|category| category.kind == kind).count();
        let config = self.list(&Filter { config: true, ..Filter::default() });
        let severities: serde_json::Map<String, Value> = SEVERITIES
            .iter()
            .zip(severities)
            .map(|(name, tally)| {
                let value = json!({
                    "updates": tally.updates, "files": tally.files.len(), "bytes": tally.bytes,
                    "offered_updates": tally.offered, "offered_files": tally.offered_files.len(),
                    "offered_bytes": tally.offered_bytes,
                });
                ((*name).to_owned(), value)
            })
            .collect();
        json!({
            "month": self.month,
            "time": iso(crate::clock::BASE + i64::from(self.month) * crate::clock::MONTH),
            "month_name": form(crate::clock::BASE + i64::from(self.month) * crate::clock::MONTH, "%Y-%m"),
            "listed": listed.len(),
            "config_listed": config.len(),
            "categories": {
                "total": self.categories.len(),
                "companies": kinds(CategoryKind::Company), "families": kinds(CategoryKind::Family),
                "products": kinds(CategoryKind::Product), "classifications": kinds(CategoryKind::Classification),
                "folders": kinds(CategoryKind::Folder),
            },
            "detectoids": self.detectoids.len(),
            "updates": count,
            "by_classification": classes,
            "by_severity": severities,
            "files": { "count": files.len(), "bytes": bytes },
            "licences": { "count": licences.len(), "bytes": licence_bytes },
        })
    }
}
