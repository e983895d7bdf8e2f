//! What rooms tell the console, the CLI and the log about themselves.

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;

/// How a host that we ask has been doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostHealth {
    /// Canonical host, with its port unless 80 or 443.
    pub host: String,
    /// Asks answered well since the start.
    pub answered: u64,
    /// Asks that failed after all retries.
    pub failed: u64,
    /// Single attempts that were retried.
    pub retried: u64,
    /// Body bytes received.
    pub bytes: u64,
    /// The last status, if any answer ever came.
    pub last_status: Option<u16>,
    /// The last failure, in words.
    pub last_error: Option<String>,
    /// When the last answer or failure came.
    pub last_at: Timestamp,
    /// Time from question to answer's head, smoothed, in milliseconds.
    pub round_trip_ms: u64,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Works, and leaves something out that somebody may expect.
    Note,
    /// Works, but will hurt.
    Warning,
    /// Does not work.
    Bad,
    /// Could not be tried, and why is in the text.
    Skipped,
}

/// One thing that `doctor` or `check-config` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at: a host, a key, a path.
    pub subject: String,
    /// Which check, in a word: `dns`, `range`, `tls`, ...
    pub check: String,
    /// See [`Verdict`].
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do next; empty where all is well.
    pub advice: String,
}
