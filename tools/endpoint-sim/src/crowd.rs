//! Machines that are kept from scan to scan, and held against what they should need.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use crate::agent::{Agent, Common, Installation, Scan};
use crate::expected::Expected;
use crate::fault::Failure;
use crate::fleet::Plan;
use crate::guid::Guid;
use crate::wire::Server;

/// What an agent does, as a future that borrows it.
type Act<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// All machines of a plan, with what they hold.
pub struct Crowd {
    agents: Vec<Agent>,
    at_once: usize,
}

impl Crowd {
    /// Machines that have never talked to this server.
    pub fn new(server: &Server, plan: &Plan, common: &Common) -> Self {
        let agent = |number| Agent::new(plan.machine(number), server.clone(), common.clone());
        Self { agents: (0..plan.machines).map(agent).collect(), at_once: plan.at_once.max(1) }
    }

    /// The machines, in the order of their numbers.
    pub fn agents(&mut self) -> &mut [Agent] {
        &mut self.agents
    }

    /// Lets all of them scan; the error names the first machine that could not.
    pub async fn scan(&mut self) -> Result<Vec<Scan>, String> {
        let scanned = self.each(|agent| -> Act<'_, Result<Scan, Failure>> { Box::pin(agent.scan()) }).await;
        self.whole(scanned)
    }

    /// Lets all of them download and install what is approved.
    pub async fn install(&mut self) -> Vec<Installation> {
        self.each(|agent| -> Act<'_, Installation> { Box::pin(agent.install()) }).await
    }

    /// Lets all of them report; how many events went out. The error names the first machine that could not.
    pub async fn report(&mut self) -> Result<usize, String> {
        let sent = self.each(|agent| -> Act<'_, Result<usize, Failure>> { Box::pin(agent.report()) }).await;
        Ok(self.whole(sent)?.into_iter().sum())
    }

    fn whole<T>(&self, done: Vec<Result<T, Failure>>) -> Result<Vec<T>, String> {
        let named = done.into_iter().zip(&self.agents);
        named.map(|(done, agent)| done.map_err(|failure| format!("{}: {failure}", agent.machine().name))).collect()
    }

    /// What all of them do, as many at a time as may talk; a machine that panics takes the caller with it.
    async fn each<T: Send + 'static>(&mut self, act: for<'a> fn(&'a mut Agent) -> Act<'a, T>) -> Vec<T> {
        let waiting: Vec<(usize, Agent)> = std::mem::take(&mut self.agents).into_iter().enumerate().collect();
        let many = waiting.len();
        let waiting = Arc::new(Mutex::new(waiting));
        let mut tasks = JoinSet::new();
        for _ in 0..self.at_once.min(many) {
            let waiting = Arc::clone(&waiting);
            tasks.spawn(async move {
                let mut done = Vec::new();
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some((number, mut agent)) = next else { return done };
                    let outcome = act(&mut agent).await;
                    done.push((number, agent, outcome));
                }
            });
        }
        let mut all = Vec::with_capacity(many);
        while let Some(done) = tasks.join_next().await {
            match done {
                Ok(done) => all.extend(done),
                // Nobody cancels them.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        all.sort_unstable_by_key(|(number, ..)| *number);
        let (agents, outcomes) = all.into_iter().map(|(_, agent, outcome)| (agent, outcome)).unzip();
        self.agents = agents;
        outcomes
    }

    /// Holds what the machines made of their scans against what they should need: each of them exactly that, and of what it needs those
    /// to be installed that are approved. The error names the first machine for which it is otherwise, and how many there are.
    pub fn check(&self, scans: &[Scan], expected: &Expected, approved: &BTreeSet<Guid>) -> Result<(), String> {
        let mut wrong: Vec<String> = Vec::new();
        for (agent, scan) in self.agents.iter().zip(scans) {
            wrong.extend(differs(agent, scan, expected, approved));
        }
        match wrong.first() {
            None => Ok(()),
            Some(first) => Err(format!("{} of {} machines; {first}", wrong.len(), scans.len())),
        }
    }
}

/// In what a machine's scan is not what it should be.
pub fn differs(agent: &Agent, scan: &Scan, expected: &Expected, approved: &BTreeSet<Guid>) -> Option<String> {
    let should = expected.after(agent.machine(), &agent.pretended());
    let ordered: BTreeSet<Guid> = should.needed.intersection(approved).copied().collect();
    let lists = [
        ("needed", &scan.verdict.needed, &should.needed),
        ("installed", &scan.verdict.installed, &should.installed),
        ("to be installed", &scan.ordered, &ordered),
    ];
    lists.into_iter().find(|(_, is, should)| is != should).map(|(what, is, should)| {
        let some = |ids: std::collections::btree_set::Difference<'_, Guid>| ids.take(3).copied().collect::<Vec<_>>();
        format!(
            "{}, {what}: {} instead of {}; missing {:?}, surplus {:?}",
            agent.machine().name,
            is.len(),
            should.len(),
            some(should.difference(is)),
            some(is.difference(should))
        )
    })
}
