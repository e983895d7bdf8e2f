//! How the node is doing.

use serde::{Deserialize, Serialize};

use crate::admin::view::{Job, Time, bandwidth, compliance, policy};
use crate::model::report::HostHealth;

/// `GET /api/v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The node itself.
    pub node: Node,
    /// Whether it does its work.
    pub health: Health,
    /// Where it listens.
    pub listening: Vec<Listening>,
    /// What the store holds.
    pub store: Use,
    /// What was answered since the store was made.
    pub total: Traffic,
    /// The last 24 hours together.
    pub day: Traffic,
    /// The last 24 hours, oldest first.
    pub hours: Vec<Hour>,
    /// What is being filled.
    pub flights: Vec<Flight>,
    /// How the hosts that are asked have been doing.
    pub upstream: Vec<Upstream>,
    /// The jobs that run.
    pub jobs: Vec<Job>,
    /// How the scheduled scrub stands; absent where it is switched off.
    #[serde(default)]
    pub scrub: Option<Scrub>,
    /// How fast bytes may flow, and by which rules.
    #[serde(default)]
    pub bandwidth: bandwidth::Bandwidth,
    /// Which files of updates are brought ahead of time; absent where the node has no catalog.
    #[serde(default)]
    pub content: Option<policy::ContentState>,
    /// What a machine that scans for the first time must evaluate; absent before the first endpoint has registered, and where it is not made
    /// out within two seconds.
    #[serde(default)]
    pub newcomer: Option<compliance::Newcomer>,
}

/// The scheduled scrub: everything read against its proofs, slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrub {
    /// Whether a pass is under way.
    pub running: bool,
    /// When the last pass began; absent before the first.
    pub begun_at: Option<Time>,
    /// When it ended, if it has.
    pub ended_at: Option<Time>,
    /// Payloads that it verified.
    pub payloads: u64,
    /// Bytes that it read.
    pub bytes: u64,
    /// Payloads that it found bad.
    pub bad: u64,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The program's version.
    pub version: String,
    /// The store's id: the node's identity.
    pub id: String,
    /// Counts the restores of the store.
    pub epoch: u64,
    /// The data directory.
    pub data: String,
    /// When the process began.
    pub started_at: Time,
    /// Seconds since then.
    pub uptime_s: u64,
}

/// Whether the node does its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ready`, `read-only` or `draining`.
    pub state: String,
    /// Why it is not ready, and what to do; empty where it is.
    pub why: String,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// `http`, `https`, `control`, `peer` or `socket`.
    pub face: String,
    /// Address and port, or the socket's path.
    pub address: String,
}

/// What the store uses, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// Allocated by payloads and their proofs.
    pub payloads: u64,
    /// Number of payloads.
    pub payloads_count: u64,
    /// Allocated by what is being filled.
    pub drafts: u64,
    /// Number of drafts.
    pub drafts_count: u64,
    /// Allocated in quarantine.
    pub quarantine: u64,
    /// Allocated by payloads, drafts and quarantine together: what `max_size` limits.
    pub allocated: u64,
    /// The limit.
    pub max_size: u64,
    /// Free on the file system.
    pub disk_free: u64,
    /// What must stay free there.
    pub min_free: u64,
}

/// What was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests.
    pub requests: u64,
    /// Of these, all that were not refused.
    #[serde(default)]
    pub answered: u64,
    /// Of the answered ones, those for which nobody was asked. An answer of which a part was still on its way is none.
    pub hits: u64,
    /// Of the requests, those that were refused: no rule matches, or what was asked for could not be had.
    pub refused: u64,
    /// Body bytes sent to endpoints.
    pub sent: u64,
    /// Body bytes received from origins.
    pub fetched: u64,
    /// Bytes that did not cross the site's link: sent less fetched, and not below 0. What is fetched ahead counts against it
    /// until clients ask for it.
    pub saved: u64,
    /// `hits` by `answered`, from 0 to 1; absent where nothing was answered.
    pub hit_ratio: Option<f64>,
}

/// One hour of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hour {
    /// When it began.
    pub at: Time,
    /// What was answered in it.
    #[serde(flatten)]
    pub traffic: Traffic,
}

/// A payload that is being filled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    /// The name that it is filled under.
    pub name: String,
    /// Its size, once an origin told it.
    pub size: Option<u64>,
    /// Bytes that are in.
    pub covered: u64,
    /// Bytes that are hashed.
    pub hashed: u64,
    /// Requests that wait for bytes of it.
    pub waiting: u64,
    /// Bytes that come in by second.
    pub bytes_per_s: u64,
    /// Who is asked.
    pub source: String,
    /// What it is at.
    pub step: String,
    /// Why nothing comes, where its step is `paused`.
    #[serde(default)]
    pub pause: Option<String>,
}

/// A host that is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// Its name, with its port unless 80 or 443.
    pub host: String,
    /// `good`, `failing` (the last ask failed) or `unused`.
    pub state: String,
    /// Asks answered well since the start.
    pub answered: u64,
    /// Asks that failed after all retries.
    pub failed: u64,
    /// Single attempts that were retried.
    pub retried: u64,
    /// Body bytes received.
    pub bytes: u64,
    /// The last status.
    pub last_status: Option<u16>,
    /// The last failure.
    pub last_error: Option<String>,
    /// When the last answer or failure came.
    pub last_at: Time,
    /// From question to the head of the answer, smoothed.
    pub round_trip_ms: u64,
}

impl From<HostHealth> for Upstream {
    fn from(health: HostHealth) -> Self {
        let state = match (health.answered, health.failed, &health.last_error) {
            (_, _, Some(_)) => "failing",
            (0, 0, None) => "unused",
            _ => "good",
        };
        Self {
            state: state.to_owned(),
            host: health.host,
            answered: health.answered,
            failed: health.failed,
            retried: health.retried,
            bytes: health.bytes,
            last_status: health.last_status,
            last_error: health.last_error,
            last_at: Time(health.last_at),
            round_trip_ms: health.round_trip_ms,
        }
    }
}
