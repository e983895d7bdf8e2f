//! How the catalog is synchronised.

use serde::{Deserialize, Serialize};

use crate::admin::view::{Time, policy};

/// How the synchronisation stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sync {
    /// From whom runs fetch.
    pub upstream: SyncUpstream,
    /// From whom what is held came, where that is another one: it stays until the first run from the new one has ended well.
    #[serde(default)]
    pub held_from: Option<SyncUpstream>,
    /// The run that is under way.
    pub running: Option<SyncRunning>,
    /// The last run that ended.
    pub last: Option<SyncRun>,
    /// The last run that ended well.
    pub last_success: Option<SyncRun>,
    /// When the schedule starts the next run; absent where it is off.
    pub next_at: Option<Time>,
    /// Updates held, categories and detectoids among them.
    pub updates: u64,
    /// Revisions held: bundles may need lower ones of their members.
    pub revisions: u64,
    /// Updates in quarantine.
    pub refused: u64,
    /// Revisions that are named and still to be fetched.
    pub wanted: u64,
    /// Which files of updates are brought ahead of time, and how far that is.
    #[serde(default)]
    pub content: Option<policy::ContentState>,
}

/// Who stands above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncUpstream {
    /// `microsoft`, `wsus` or `parent`.
    pub kind: String,
    /// Its address.
    pub address: String,
    /// Nothing proves that it is who it says (plain HTTP), so that nothing that it says proves a file.
    pub unauthenticated: bool,
}

/// A run under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRunning {
    /// Its job: `/api/v1/jobs/{id}`.
    pub job: u64,
    /// What it is at, in words; empty before it has begun.
    pub step: String,
    /// Revisions of this step that are done.
    pub done: u64,
    /// Revisions of this step, as far as is known.
    pub total: u64,
    /// Revisions a minute.
    pub per_minute: Option<u64>,
    /// Seconds that this step will take at that rate.
    pub left_s: Option<u64>,
    /// When it began.
    pub started_at: Option<Time>,
    /// What it did so far.
    pub counts: SyncCounts,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncCounts {
    /// Updates that were not held before.
    pub new: u64,
    /// Updates of which another revision came.
    pub changed: u64,
    /// Updates that were withdrawn.
    pub expired: u64,
    /// Updates that something newer supersedes now.
    pub superseded: u64,
    /// Files that the updates which came consist of.
    pub files: u64,
    /// Bytes of documents received, packed as they came.
    pub bytes: u64,
    /// Errors of the upstream.
    pub errors: u64,
    /// Updates that were not taken and are in quarantine.
    pub refused: u64,
    /// Updates that went with a former upstream.
    pub pruned: u64,
}

/// A run of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRun {
    /// Its number, rising.
    pub id: u64,
    /// When it began.
    pub started_at: Time,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// How long it took, in milliseconds.
    pub took_ms: Option<u64>,
    /// From whom, in words.
    pub upstream: String,
    /// `running`, `successful`, `failed`, `stopped`, or `cut off` where the node ended under it.
    pub outcome: String,
    /// Why; empty where there is nothing to say.
    pub reason: String,
    /// What it did.
    pub counts: SyncCounts,
    /// Files that the content policy wanted when it had ended; absent where nobody counted.
    #[serde(default)]
    pub wanted: Option<policy::Sum>,
}

/// A page of the history, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncHistory {
    /// The runs.
    pub runs: Vec<SyncRun>,
    /// What to give as `before` for the next page; absent on the last one.
    pub next: Option<u64>,
}

/// The answer to the order to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncStopped {
    /// The job that was told to stop; absent where none ran.
    pub job: Option<u64>,
}
