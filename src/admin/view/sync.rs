//! How the catalog is synchronised.

use std::collections::BTreeMap;

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
    /// The last whole run that ended.
    pub last: Option<SyncRun>,
    /// The last run of the lane of definition updates that ended.
    #[serde(default)]
    pub last_definitions: Option<SyncRun>,
    /// The last whole run that ended well.
    pub last_success: Option<SyncRun>,
    /// The last comparison with Microsoft's catalog that ended.
    #[serde(default)]
    pub last_crosscheck: Option<SyncRun>,
    /// When the schedule starts the next run; absent where it is off.
    pub next_at: Option<Time>,
    /// That run makes up for one that came to nothing, before its own time.
    #[serde(default)]
    pub next_is_again: bool,
    /// The lane of definition updates is on, and waits for the first whole run of the catalog, to which it adds.
    #[serde(default)]
    pub definitions_wait: bool,
    /// The job of another run that keeps the lane of definition updates out, which is due; absent where none does.
    #[serde(default)]
    pub definitions_behind: Option<u64>,
    /// When the lane of definition updates starts the next run; absent where it is off, or waits.
    #[serde(default)]
    pub next_definitions_at: Option<Time>,
    /// Settings of runs that were changed since the node was started, and count from its next start on.
    #[serde(default)]
    pub later: Vec<SyncLater>,
    /// The host that is told of runs; absent where nobody is.
    #[serde(default)]
    pub webhook: Option<String>,
    /// How far that host has been told; absent where nobody is.
    #[serde(default)]
    pub webhook_state: Option<SyncWebhook>,
    /// Everything that is held and counts: updates, members of bundles, categories and detectoids.
    pub updates: u64,
    /// Updates that can be approved by themselves: those that lists of updates count.
    #[serde(default)]
    pub listed: u64,
    /// Of these, software and drivers that the filters do not find: they stay as they were when the filters were narrowed. Absent
    /// where filters have no effect.
    #[serde(default)]
    pub beyond_filters: Option<u64>,
    /// Of these, those that nobody approved and that an update needs which the filters find; absent where that is not known.
    #[serde(default)]
    pub beyond_needed: Option<u64>,
    /// Revisions held: bundles may need lower ones of their members.
    pub revisions: u64,
    /// Updates that were not taken, or are held and not offered.
    pub refused: u64,
    /// Revisions that are named and still to be fetched.
    pub wanted: u64,
    /// Which files of updates are brought ahead of time, and how far that is.
    #[serde(default)]
    pub content: Option<policy::ContentState>,
}

/// A setting that was changed and is not in force yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncLater {
    /// Its key, such as `sync.schedule`.
    pub key: String,
    /// The value that the next start takes.
    pub value: String,
}

/// How far who is told of runs has been told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncWebhook {
    /// Events that are not told yet.
    pub waiting: u64,
    /// Events that were given up since the node began.
    pub lost: u64,
    /// When the last of these was; absent where there is none.
    #[serde(default)]
    pub lost_at: Option<Time>,
    /// Why that one was.
    #[serde(default)]
    pub lost_why: Option<String>,
    /// When an event was taken last; absent where none was since the node began.
    pub told_at: Option<Time>,
    /// When the last attempt failed; absent where an event was taken since.
    pub failed_at: Option<Time>,
    /// Why it failed.
    pub failure: Option<String>,
    /// When the next attempt is made.
    pub next_at: Option<Time>,
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
    /// `catalog`, `definitions` or `crosscheck`.
    #[serde(default)]
    pub kind: String,
    /// What went wrong last and when it is tried again, while that is waited for.
    #[serde(default)]
    pub waits: Option<String>,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncCounts {
    /// Updates that were not held before.
    pub new: u64,
    /// Updates of which another revision came.
    pub changed: u64,
    /// Updates that can be approved by themselves and that their publisher withdrew.
    pub expired: u64,
    /// Updates that can be approved by themselves, are not expired, and that something newer supersedes now and nothing did before.
    pub superseded: u64,
    /// Files that the updates which came consist of.
    pub files: u64,
    /// Bytes of documents received, packed as they came.
    pub bytes: u64,
    /// Errors of the upstream.
    pub errors: u64,
    /// Updates that were not taken.
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
    /// `catalog` for all that is wanted, `definitions` for definition updates alone, `crosscheck` for a comparison with Microsoft's
    /// catalog.
    #[serde(default)]
    pub kind: String,
    /// Who asked for it; empty where that is not known.
    #[serde(default)]
    pub by: String,
    /// Nothing proved that the upstream is who it says (plain HTTP).
    #[serde(default)]
    pub unauthenticated: bool,
    /// Errors of the upstream by kind, those that asking again got over among them.
    #[serde(default)]
    pub troubles: BTreeMap<String, u64>,
    /// What a comparison found.
    #[serde(default)]
    pub compared: Option<SyncCompared>,
}

/// What a comparison with Microsoft's catalog found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncCompared {
    /// Revisions that are the same there; they are authenticated from now on.
    pub agreed: u64,
    /// Revisions that are not, and are refused, with the bundles that contain them.
    pub differed: u64,
    /// Of those, where the text alone differs.
    #[serde(default)]
    pub text: u64,
    /// Revisions of updates that Microsoft does not have: left as they are.
    pub absent: u64,
    /// Revisions that Microsoft does not give out: left as they are.
    pub unknown: u64,
    /// Updates of which Microsoft has a newer revision than the one that counts here.
    #[serde(default)]
    pub behind: u64,
    /// Of those, where that one withdraws the update, and nobody had vouched for what is held: left as they are.
    #[serde(default)]
    pub withdrawn: u64,
}

/// The order to ask for refused updates again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncRetry {
    /// Their ids; none for all that were not taken.
    #[serde(default)]
    pub ids: Vec<String>,
    /// All that a comparison refused, instead; without ids.
    #[serde(default)]
    pub compared: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRetried {
    /// What was refused and is not any more: `id/revision`.
    pub retried: Vec<String>,
    /// How many of them the next run asks for; the others are held, and offered again.
    pub asked: u64,
    /// How many are held and stay refused, by a comparison.
    #[serde(default)]
    pub left: u64,
    /// The job of the run that was started for it; absent where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
}

/// What the webhook answered to a test.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookTested {
    /// Its host.
    pub host: String,
    /// Whether it took the event: a status of 2xx.
    pub taken: bool,
    /// The status; absent where there was no answer.
    pub status: Option<u16>,
    /// The beginning of the answer, or why there is none.
    pub text: String,
    /// How long it took.
    pub took_ms: u64,
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
