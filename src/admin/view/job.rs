//! Long work and how far it is.

use serde::{Deserialize, Serialize};

use crate::admin::view::Time;

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// `fetch`, `verify`, `scrub`, `import`, `backup`, `sync` or `prefetch`.
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
    /// How long it took, in milliseconds, once it has ended.
    #[serde(default)]
    pub took_ms: Option<u64>,
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
    /// How many seconds it will take at that rate; absent where that is not known.
    #[serde(default)]
    pub left_s: Option<u64>,
    /// What it is at.
    pub current: Option<String>,
    /// What all that is under way waits for, where nothing of it moves.
    #[serde(default)]
    pub waits: Option<String>,
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
    /// `proven` or `unproven`, where it is kept now.
    #[serde(default)]
    pub class: Option<String>,
    /// Its own SHA-256 in hex, where it is kept now.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Its BLAKE3 in hex, where it is kept now.
    #[serde(default)]
    pub blake3: Option<String>,
    /// `filled`, `held` (it was here already) or `taken` (from a file), where it is kept now.
    #[serde(default)]
    pub outcome: Option<String>,
}

/// The answer to a `POST` that starts a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The job's number: ask `/api/v1/jobs/{id}` for it.
    pub job: u64,
}
