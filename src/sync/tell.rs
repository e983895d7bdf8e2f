//! What is told of runs, and of rules that stopped, to who listens by HTTP: the events of the hook, as JSON. The log tells the same.

use serde::Serialize;

use crate::base::time::Timestamp;
use crate::store::catalog::{Compared, Counts, Outcome, RunKind};
use crate::upstream::hook::{Answer, Event, Hook};

/// Who is told, and in whose name.
#[derive(Clone, Debug)]
pub struct Teller {
    /// Who is told.
    pub hook: Hook,
    /// What this node calls itself.
    pub node: String,
}

/// A run as events tell it. Names are part of the product's face.
#[derive(Debug, Serialize)]
pub(in crate::sync) struct Told<'a> {
    pub(in crate::sync) id: u64,
    pub(in crate::sync) kind: RunKind,
    pub(in crate::sync) by: &'a str,
    pub(in crate::sync) upstream: &'a str,
    pub(in crate::sync) unauthenticated: bool,
    pub(in crate::sync) started_at: String,
    pub(in crate::sync) ended_at: Option<String>,
    pub(in crate::sync) outcome: &'static str,
    pub(in crate::sync) reason: &'a str,
    pub(in crate::sync) counts: Done,
    pub(in crate::sync) compared: Option<Compared>,
}

/// What a run did.
#[derive(Debug, Default, Serialize)]
pub(in crate::sync) struct Done {
    new: u64,
    changed: u64,
    expired: u64,
    superseded: u64,
    files: u64,
    bytes: u64,
    errors: u64,
    refused: u64,
    pruned: u64,
}

impl From<Counts> for Done {
    fn from(counts: Counts) -> Self {
        let Counts { new, changed, expired, superseded, files, bytes, errors, refused, pruned } = counts;
        Self { new, changed, expired, superseded, files, bytes, errors, refused, pruned }
    }
}

#[derive(Debug, Serialize)]
struct Body<'a> {
    id: &'a str,
    event: &'static str,
    at: String,
    node: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'a Told<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a StoppedRule>,
}

/// That a rule goes no further with some updates, since too many machines failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoppedRule {
    /// What it is called.
    pub rule: String,
    /// The group that would get the first of them next.
    pub ring: String,
    /// How many updates.
    pub updates: u64,
    /// The first of them: their articles, else their titles.
    pub named: Vec<String>,
    /// Machines that installed the first of them.
    pub installed: u32,
    /// Machines on which it failed.
    pub failed: u32,
    /// The same in words.
    pub reason: String,
}

/// The word for how a run ended.
pub(in crate::sync) const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Running => "running",
        Outcome::Successful => "successful",
        Outcome::Failed => "failed",
        Outcome::Stopped => "stopped",
        Outcome::CutOff => "cut off",
    }
}

impl Teller {
    /// Something happened to a run. Never waits.
    pub(in crate::sync) fn run(&self, outcome: Outcome, at: Timestamp, run: &Told<'_>) {
        let kind = match outcome {
            Outcome::Running => "sync-started",
            Outcome::Successful => "sync-succeeded",
            Outcome::Stopped => "sync-stopped",
            Outcome::Failed | Outcome::CutOff => "sync-failed",
        };
        self.tell(self.event(kind, at, Some(run), None));
    }

    /// A rule goes no further. Never waits.
    pub(in crate::sync) fn stopped_rule(&self, at: Timestamp, rule: &StoppedRule) {
        self.tell(self.event("rule-stopped", at, None, Some(rule)));
    }

    fn tell(&self, event: Result<Event, String>) {
        match event {
            Ok(event) => self.hook.tell(event),
            Err(error) => tracing::warn!(error, "an event is not told to the webhook"),
        }
    }

    /// Tells that this is a test, once and at once, and gives the answer.
    ///
    /// # Errors
    /// Why there is nothing to tell.
    pub async fn test(&self, at: Timestamp) -> Result<Answer, String> {
        let event = self.event("test", at, None, None)?;
        Ok(self.hook.try_once(&event).await)
    }

    fn event(
        &self,
        kind: &'static str,
        at: Timestamp,
        run: Option<&Told<'_>>,
        rule: Option<&StoppedRule>,
    ) -> Result<Event, String> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| format!("no id can be made: {error}"))?;
        let id = format!("{:032x}", u128::from_be_bytes(random));
        let body = Body { id: &id, event: kind, at: at.to_string(), node: &self.node, run, rule };
        let body = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
        Ok(Event { id, kind, body })
    }
}
