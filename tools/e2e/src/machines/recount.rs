//! Counts of compliance, counted anew from what each simulated machine knows of itself, and held against what the node counts.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use endpoint_sim::{Agent, Guid};
use serde_json::Value;

use super::other;
use crate::branch::check;
use crate::node::Node;

/// Severities in the order in which the node tells of them.
const SEVERITIES: [&str; 5] = ["critical", "important", "moderate", "low", "unspecified"];

/// What one machine comes to.
#[derive(Default)]
struct One {
    missing: BTreeSet<Guid>,
    failed: BTreeSet<Guid>,
    is_pending: bool,
}

/// Machines that reported, by their ids, and how many there are that never did.
pub(super) struct Recount<'a> {
    severity: &'a BTreeMap<Guid, String>,
    all: BTreeMap<Guid, One>,
    silent: u64,
}

/// What one of a severity comes to: machines, updates, each of these on each of those.
#[derive(Default, PartialEq, Eq, Debug)]
struct Severe {
    endpoints: u64,
    updates: BTreeSet<Guid>,
    missing: u64,
}

impl<'a> Recount<'a> {
    pub(super) fn new(severity: &'a BTreeMap<Guid, String>) -> Self {
        Self { severity, all: BTreeMap::new(), silent: 0 }
    }

    /// Takes in what a machine knows of itself; what is declined counts nowhere.
    pub(super) fn add(&mut self, agent: &Agent, reports: bool, declined: &BTreeSet<Guid>) {
        if !reports {
            self.silent += 1;
            return;
        }
        let verdict = agent.verdict();
        let missing: BTreeSet<Guid> = verdict.needed.difference(declined).copied().collect();
        let failed = agent.failed().intersection(&missing).copied().collect();
        let is_pending = !agent.pending().is_disjoint(&verdict.installed);
        self.all.insert(agent.machine().id, One { missing, failed, is_pending });
    }

    fn many(&self, is: impl Fn(&One) -> bool) -> u64 {
        self.all.values().filter(|one| is(one)).count() as u64
    }

    fn severe(&self, severity: &str) -> Severe {
        let mut severe = Severe::default();
        for one in self.all.values() {
            let own = one.missing.iter().filter(|id| self.severity.get(*id).is_some_and(|of| of == severity));
            let before = severe.missing;
            for id in own {
                severe.missing += 1;
                severe.updates.insert(*id);
            }
            severe.endpoints += u64::from(severe.missing > before);
        }
        severe
    }

    /// In what the node's overview is another; none where it is the same.
    fn differs(&self, told: &Value) -> Option<String> {
        let counts = [
            ("endpoints", self.all.len() as u64 + self.silent),
            ("not_scanned", self.silent),
            ("missing", self.many(|one| !one.missing.is_empty())),
            ("up_to_date", self.many(|one| one.missing.is_empty())),
            ("failed", self.many(|one| !one.failed.is_empty())),
            ("restart_pending", self.many(|one| one.is_pending)),
        ];
        let wrong = counts.iter().find(|(name, count)| told[name] != *count);
        if let Some((name, count)) = wrong {
            return Some(format!("{name}: {} instead of {count}", told[name]));
        }
        for severity in SEVERITIES {
            let row = told["by_severity"].as_array().into_iter().flatten().find(|row| row["severity"] == severity);
            let own = self.severe(severity);
            let is = |key: &str| row.map_or(0, |row| row[key].as_u64().unwrap_or(u64::MAX));
            let told = (is("endpoints"), is("updates"), is("missing"));
            if told != (own.endpoints, own.updates.len() as u64, own.missing) {
                return Some(format!("{severity}: {told:?} instead of {own:?}"));
            }
        }
        None
    }

    /// Whether each kind of machine is among them, so that the counts say something.
    pub(super) fn is_varied(&self) -> io::Result<()> {
        let kinds = [
            ("silent", self.silent),
            ("up to date", self.many(|one| one.missing.is_empty())),
            ("with a failure", self.many(|one| !one.failed.is_empty())),
            ("waiting for a restart", self.many(|one| one.is_pending)),
        ];
        let none = kinds.iter().find(|(_, many)| *many == 0);
        check(none.is_none(), || format!("no machine is {none:?}"))
    }

    /// Waits until the node's overview of a group, or of all, is the same: it follows the catalog a moment late.
    pub(super) fn overview(&self, node: &Node, group: Option<&str>) -> io::Result<()> {
        let mut words = vec!["compliance", "summary", "--json"];
        words.extend(group.into_iter().flat_map(|group| ["--group", group]));
        let (mut last, mut error) = (None, None);
        let waited = crate::node::wait_for("the counts", || match json(node, &words) {
            Ok(told) => {
                last = self.differs(&told);
                last.is_none()
            }
            Err(failed) => {
                error = Some(failed);
                true
            }
        });
        if let Some(error) = error {
            return Err(error);
        }
        waited.map_err(|_| other(format!("counts of {}: {last:?}", group.unwrap_or("all"))))
    }

    /// Each machine and each update by itself.
    pub(super) fn rows(&self, node: &Node) -> io::Result<()> {
        let told = json(node, &["compliance", "endpoints", "--limit", "0", "--json"])?;
        let rows = told["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut seen = 0;
        for row in rows {
            let Some(one) = row["id"].as_str().and_then(Guid::read).and_then(|id| self.all.get(&id)) else {
                check(row["verdict"] == "not-scanned", || format!("nobody told of {row}"))?;
                continue;
            };
            let is_same = row["missing"] == one.missing.len()
                && row["failed"] == one.failed.len()
                && row["restart_since"].is_null() != one.is_pending;
            let own = (one.missing.len(), one.failed.len(), one.is_pending);
            check(is_same, || format!("{row} instead of {own:?}"))?;
            seen += 1;
        }
        check(seen == self.all.len(), || format!("{seen} of {} machines are told of", self.all.len()))?;
        let mut missing: BTreeMap<Guid, u64> = BTreeMap::new();
        for id in self.all.values().flat_map(|one| &one.missing) {
            *missing.entry(*id).or_default() += 1;
        }
        let told = json(node, &["compliance", "missing", "--limit", "0", "--json"])?;
        let rows = told["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
        let row = |row: &Value| Some((Guid::read(row["id"].as_str()?)?, row["missing"].as_u64()?));
        let told: BTreeMap<Guid, u64> = rows.iter().filter_map(row).collect();
        let wrong = missing.iter().find(|(id, many)| told.get(*id) != Some(*many));
        check(told.len() == missing.len() && wrong.is_none(), || {
            format!("{} missing updates are told of instead of {}; {wrong:?}", told.len(), missing.len())
        })
    }

    /// The update that most machines miss.
    pub(super) fn worst(&self) -> Option<Guid> {
        let mut missing: BTreeMap<Guid, u64> = BTreeMap::new();
        for id in self.all.values().flat_map(|one| &one.missing) {
            *missing.entry(*id).or_default() += 1;
        }
        missing.into_iter().max_by_key(|(_, many)| *many).map(|(id, _)| id)
    }
}

fn json(node: &Node, words: &[&str]) -> io::Result<Value> {
    serde_json::from_str(&node.verb(words)?).map_err(other)
}
