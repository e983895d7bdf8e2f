//! Thousands of machines at once, and what they came to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::agent::{Agent, Common, Installation, Scan};
use crate::fault::Failure;
use crate::machine::{Machine, mixed};
use crate::wire::Server;

/// What machines do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many there are.
    pub machines: u64,
    /// What they follow from.
    pub seed: u64,
    /// How many talk at a time.
    pub at_once: usize,
    /// Scans of each; after the first one they are incremental.
    pub scans: u32,
    /// Whether approved updates are downloaded and installed in pretence after each scan.
    pub download: bool,
    /// Whether events are reported.
    pub report: bool,
    /// What the names of machines begin with, where not with `pc-`.
    pub names: Option<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { machines: 1, seed: 1, at_once: 32, scans: 1, download: false, report: false, names: None }
    }
}

impl Plan {
    /// The machine with this number.
    pub fn machine(&self, number: u64) -> Machine {
        let machine = Machine::new(mixed(&[self.seed, number]));
        match &self.names {
            Some(beginning) => machine.named(beginning),
            None => machine,
        }
    }
}

/// What one machine came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The machine.
    pub machine: Machine,
    /// Its scans, and what was installed after each; shorter than planned where one failed.
    pub scans: Vec<(Scan, Installation)>,
    /// Why it stopped.
    pub failure: Option<Failure>,
    /// Bytes of SOAP answers as they came.
    pub received: u64,
    /// Events reported.
    pub events: usize,
    /// From its first call to its last.
    pub took: Duration,
}

impl Outcome {
    /// Whether all went to its end.
    pub fn converged(&self) -> bool {
        self.failure.is_none()
    }

    /// As JSON; `needed` and `installed` are those of the last scan.
    pub fn json(&self) -> Value {
        let last = self.scans.last().map(|(scan, _)| scan);
        let sum = |of: fn(&Installation) -> u64| self.scans.iter().map(|(_, done)| of(done)).sum::<u64>();
        let names = |all: Option<&std::collections::BTreeSet<crate::Guid>>| {
            all.into_iter().flatten().map(ToString::to_string).collect::<Vec<_>>()
        };
        json!({
            "seed": self.machine.seed,
            "id": self.machine.id.to_string(),
            "name": self.machine.name,
            "converged": self.converged(),
            "why_not": self.failure.as_ref().map(ToString::to_string),
            "rounds": self.scans.iter().map(|(scan, _)| scan.rounds).collect::<Vec<_>>(),
            "new": self.scans.iter().map(|(scan, _)| scan.new).collect::<Vec<_>>(),
            "recovered": self.scans.iter().map(|(scan, _)| scan.recovered).sum::<u32>(),
            "needed": names(last.map(|scan| &scan.verdict.needed)),
            "to_install": names(last.map(|scan| &scan.ordered)),
            "installed": names(last.map(|scan| &scan.verdict.installed)),
            "soap_bytes": self.received,
            "files": sum(|done| done.files),
            "file_bytes": sum(|done| done.bytes),
            "installed_now": sum(|done| done.installed as u64),
            "failed": self.scans.iter().flat_map(|(_, done)| &done.failed).map(|(id, why)| json!({ "id": id.to_string(), "why": why })).collect::<Vec<_>>(),
            "events": self.events,
            "ms": self.took.as_millis() as u64,
        })
    }
}

/// Lets all machines scan, download, report as planned; their outcomes in the order of their numbers.
///
/// As many machines as may talk at a time are there at a time: a machine that has not begun or is done takes no memory but for its
/// outcome, which has 16 bytes for each update that it needs or has.
pub async fn run(server: &Server, plan: &Plan, common: &Common) -> Vec<Outcome> {
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..plan.machines.min(plan.at_once.max(1) as u64) {
        let (next, server, plan, common) = (Arc::clone(&next), server.clone(), plan.clone(), common.clone());
        tasks.spawn(async move {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= plan.machines {
                    return done;
                }
                done.push((number, one(plan.machine(number), server.clone(), &plan, common.clone()).await));
            }
        });
    }
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        // A task that panicked has told so itself; its machines are missing among the outcomes.
        all.extend(done.into_iter().flatten());
    }
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, outcome)| outcome).collect()
}

async fn one(machine: Machine, server: Server, plan: &Plan, common: Common) -> Outcome {
    let start = Instant::now();
    let mut agent = Agent::new(machine.clone(), server, common);
    let (mut scans, mut events, mut failure) = (Vec::new(), 0, None);
    for _ in 0..plan.scans.max(1) {
        match agent.scan().await {
            Ok(scan) => {
                let done = if plan.download { agent.install().await } else { Installation::default() };
                scans.push((scan, done));
            }
            Err(error) => failure = Some(error),
        }
        if plan.report {
            match agent.report().await {
                Ok(sent) => events += sent,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if failure.is_some() {
            break;
        }
        agent.restart();
    }
    Outcome { machine, scans, failure, received: agent.received(), events, took: start.elapsed() }
}

/// Totals of many outcomes.
pub fn totals(plan: &Plan, all: &[Outcome], took: Duration) -> Value {
    let converged = all.iter().filter(|outcome| outcome.converged()).count();
    let scans = || all.iter().flat_map(|outcome| &outcome.scans);
    let mut times: Vec<u128> = all.iter().map(|outcome| outcome.took.as_millis()).collect();
    times.sort_unstable();
    let at = |share: usize| times.get(times.len().saturating_sub(1) * share / 100).copied().unwrap_or(0) as u64;
    let rounds = || scans().map(|(scan, _)| scan.rounds);
    json!({
        "machines": plan.machines,
        "converged": converged,
        "failed": plan.machines - converged as u64,
        "scans": scans().count(),
        "rounds": rounds().sum::<u32>(),
        "most_rounds": rounds().max(),
        "recovered": scans().map(|(scan, _)| scan.recovered).sum::<u32>(),
        "needed": all.iter().filter_map(|outcome| outcome.scans.last()).map(|(scan, _)| scan.verdict.needed.len()).sum::<usize>(),
        "soap_bytes": all.iter().map(|outcome| outcome.received).sum::<u64>(),
        "files": scans().map(|(_, done)| done.files).sum::<u64>(),
        "file_bytes": scans().map(|(_, done)| done.bytes).sum::<u64>(),
        "installed_now": scans().map(|(_, done)| done.installed).sum::<usize>(),
        "install_failures": scans().map(|(_, done)| done.failed.len()).sum::<usize>(),
        "events": all.iter().map(|outcome| outcome.events).sum::<usize>(),
        "machine_ms": { "median": at(50), "p95": at(95), "most": at(100) },
        "seconds": took.as_secs_f64(),
    })
}
