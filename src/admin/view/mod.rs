//! The words of the control API: what the handlers send and the CLI and the console read. Nothing here is renamed once it
//! is released; fields may be added, so readers ignore what they do not know.
//!
//! Times are RFC 3339 in UTC, sizes are bytes, digests are lower-case hex.

mod requests;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::time::Timestamp;
use crate::model::report::{Finding, HostHealth};

pub use self::requests::{BackupRequest, FetchItem, FetchRequest, ImportRequest, VerifyRequest};

/// A point in time as the API writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let time = text.parse::<jiff::Timestamp>().map_err(serde::de::Error::custom)?;
        let ms = u64::try_from(time.as_millisecond()).map_err(serde::de::Error::custom)?;
        Ok(Self(Timestamp::from_ms(ms)))
    }
}

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
    /// Allocated by payloads and drafts together: what `max_size` limits.
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
    /// Of these, answered without asking anyone.
    pub hits: u64,
    /// Of these, refused.
    pub refused: u64,
    /// Body bytes sent to endpoints.
    pub sent: u64,
    /// Body bytes received from origins.
    pub fetched: u64,
    /// Bytes that did not cross the site's link: sent less fetched, and not below 0.
    pub saved: u64,
    /// Hits by requests that were not refused, from 0 to 1; absent where there were none.
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

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows of this page; may be fewer than asked for, even none, while there is more.
    pub rows: Vec<T>,
    /// Give it as `after` to get the next page; absent at the end.
    pub next: Option<String>,
}

/// A payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Its identity.
    pub blake3: String,
    /// Its SHA-256.
    pub sha256: String,
    /// Its SHA-1.
    pub sha1: String,
    /// Its length.
    pub size: u64,
    /// What it really takes on the disk, proof included.
    pub allocated: u64,
    /// `proven` or `unproven`.
    pub class: String,
    /// The origins' names that point to it.
    pub names: Vec<String>,
    /// When it was published here.
    pub published_at: Time,
    /// When it was last asked for.
    pub used_at: Time,
    /// When an unproven one goes.
    pub expires_at: Option<Time>,
    /// Who pinned it.
    pub pinned: Option<Pinned>,
    /// Only of what was removed: the names to which a digest is bound still.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub still_bound: Vec<String>,
}

/// What `POST /api/v1/content/{address}/unbind` took back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unbound {
    /// The name under which the address is kept.
    pub name: String,
    /// The digests that were bound to it.
    pub digests: Vec<String>,
}

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// Who.
    pub by: String,
    /// When.
    pub at: Time,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// `fetch`, `verify`, `scrub`, `import` or `backup`.
    pub kind: String,
    /// What it does.
    pub title: String,
    /// Who started it.
    pub by: String,
    /// `running`, `done`, `failed` or `stopped`.
    pub state: String,
    /// When it began.
    pub started_at: Time,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// How far it is.
    pub progress: Progress,
    /// What came of it.
    pub result: Option<String>,
    /// One an item; empty in lists.
    #[serde(default)]
    pub lines: Vec<Line>,
    /// Lines that were too many to keep.
    #[serde(default)]
    pub lines_left_out: u64,
}

impl Job {
    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.state == "running"
    }
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// How much is done, in `unit`.
    pub done: u64,
    /// How much there is, where that is known.
    pub total: Option<u64>,
    /// `items` or `bytes`.
    pub unit: String,
    /// Bytes read, copied or filled.
    pub bytes: u64,
    /// The same by second.
    pub bytes_per_s: u64,
    /// What it is at.
    pub current: Option<String>,
}

/// One item of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What it is about.
    pub item: String,
    /// `waiting`, `running`, `done`, `failed` or `stopped`.
    pub state: String,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, where that is known.
    pub total: Option<u64>,
    /// What came of it.
    pub text: String,
}

/// The answer to a `POST` that starts a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The job's number: ask `/api/v1/jobs/{id}` for it.
    pub job: u64,
}

/// `GET /api/v1/explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// What was asked about.
    pub address: String,
    /// The rule that matched, or why none did.
    pub rule: String,
    /// The name under which it is kept, if a rule matched.
    pub name: Option<String>,
    /// Held, partial, absent or refused.
    pub state: String,
    /// The payload, where it is held.
    pub content: Option<Content>,
    /// Everything else that is known.
    pub facts: Vec<Fact>,
}

/// A word and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// The word.
    pub key: String,
    /// What is known.
    pub value: String,
}

/// `GET /api/v1/doctor`, and what `check-config` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// What was found, in the order in which it was looked at.
    pub findings: Vec<Finding>,
}

/// One setting and where its value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// `section.key`.
    pub key: String,
    /// The value in force, as it would stand in the configuration; secrets are not shown.
    pub value: String,
    /// The layer that it comes from: `default`, `local`, `parent`, `file`, `environment` or `flag`.
    pub layer: String,
    /// The place in that layer: a file and a line, a variable, who set it and when. Empty for a default.
    pub place: String,
    /// Whether a layer above the run-time settings fixes it.
    pub locked: bool,
    /// What it is for.
    #[serde(default)]
    pub help: String,
}

/// A certificate, as `tls show` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Whom it is for.
    pub subject: String,
    /// The host names and addresses in it.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// In hex.
    pub serial: String,
    /// Good from then on.
    pub not_before: Time,
    /// Good until then.
    pub not_after: Time,
    /// SHA-256 of the certificate, in hex.
    pub fingerprint: String,
    /// For example `ECDSA P-256`.
    pub key_type: String,
}

/// The site CA, as `tls ca show` and `tls ca create` print it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteCa {
    /// Its certificate.
    #[serde(flatten)]
    pub certificate: Certificate,
    /// The domains and networks that it may sign for.
    pub may_sign_for: String,
    /// Names of the node that it may not sign for: endpoints that use them refuse the node's certificate.
    pub uncovered: Vec<String>,
    /// Whether the node's certificate is from it; not where one is configured or imported.
    pub in_use: bool,
}

/// `tls show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificates {
    /// What endpoints see, the preferred one first; empty before the first start.
    pub served: Vec<Certificate>,
    /// Whether the site CA issued it, so that endpoints need the CA's certificate.
    pub self_made: bool,
}

/// Every answer that is an error (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The status again.
    pub status: u16,
    /// What is wrong, in one line.
    pub title: String,
    /// What to do next.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_to_the_second() {
        let json = serde_json::to_string(&Time(Timestamp::from_ms(1_700_000_000_999))).unwrap();
        assert_eq!(json, "\"2023-11-14T22:13:20Z\"");
        let back: Time = serde_json::from_str(&json).unwrap();
        assert_eq!(back.0.ms(), 1_700_000_000_000);
        assert!(serde_json::from_str::<Time>("\"yesterday\"").is_err());
    }
}
