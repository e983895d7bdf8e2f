//! The words of the control API: what the handlers send and the CLI and the console read. Nothing here is renamed once it
//! is released; fields may be added, so readers ignore what they do not know.
//!
//! Times are RFC 3339 in UTC, sizes are bytes, digests are lower-case hex.

pub mod accounts;
pub mod approvals;
pub mod bandwidth;
pub mod compliance;
mod content;
pub mod downstream;
pub mod endpoints;
pub mod filters;
pub mod groups;
mod job;
pub mod nodes;
pub mod policy;
mod requests;
pub mod rules;
mod status;
pub mod subtree;
mod sync;
mod tls;
pub mod updates;
pub mod upstream;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::time::Timestamp;
use crate::model::report::Finding;
use crate::model::settings::Raw;

pub use self::content::{Content, Emptied, Page, Pinned, Quarantined, Unbound};
pub use self::job::{Job, Line, Progress, Started};
pub use self::requests::{BackupRequest, FetchItem, FetchRequest, ImportRequest, VerifyRequest};
pub use self::status::{Flight, Health, Hour, Listening, Node, Scrub, Status, Traffic, Upstream, Use};
pub use self::sync::{
    HookTested, Sync, SyncCompared, SyncCounts, SyncHistory, SyncLater, SyncRetried, SyncRetry, SyncRun, SyncRunning,
    SyncStopped, SyncUpstream, SyncWebhook,
};
pub use self::tls::{Certificate, Certificates, Pending, Reloaded, SiteCa};

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
    /// What to do next, where the address is refused; an older node says nothing here.
    #[serde(default)]
    pub next: Option<String>,
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
    /// The value in force, as JSON has it: a text, a number, true or false, a list of texts. Secrets are not shown.
    pub value: Raw,
    /// The layer that it comes from: `default`, `local`, `parent`, `file`, `environment` or `flag`.
    pub layer: String,
    /// The place in that layer: a file and a line, a variable, who set it and when. Empty for a default.
    pub place: String,
    /// Whether a layer above the run-time settings fixes it.
    pub locked: bool,
    /// What it is for.
    #[serde(default)]
    pub help: String,
    /// Another value that waits to be taken; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextValue>,
}

/// Where a setting's value comes from, in words: its place, or its layer where that has none.
pub fn settings_place(setting: &Setting) -> String {
    if setting.place.is_empty() { setting.layer.clone() } else { setting.place.clone() }
}

/// A value that stands in the configuration and is not in force yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextValue {
    /// As [`Setting::value`].
    pub value: Raw,
    /// As [`Setting::place`].
    pub place: String,
    /// What takes it: `restart`, or `reload` (SIGHUP).
    pub when: String,
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
