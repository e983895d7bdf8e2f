//! Which files of the catalog are brought ahead of time: the plan, how far it is, and decisions of people.

use serde::{Deserialize, Serialize};

use crate::admin::view::{Problem, Time};

/// Files and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// Files, each content once.
    pub files: u64,
    /// Their bytes, as published.
    pub bytes: u64,
}

/// A content policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// `metadata`, `approved`, `asked`, `severity` or `all`.
    pub mode: String,
    /// The least severity, where the mode or a rule is `severity`.
    pub severity: String,
    /// Rules for single classifications, as they are written.
    pub rules: Vec<String>,
    /// Withdrawn updates are declined automatically.
    pub decline_expired: bool,
    /// So are superseded ones.
    pub decline_superseded: bool,
}

/// `GET /api/v1/plan`: what a policy wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The policy.
    pub policy: Policy,
    /// Whether it is the one that is set.
    pub is_set: bool,
    /// What is agreed to where this is confirmed: another policy, other rules or filters, and another word on
    /// what is declined automatically have another one.
    #[serde(default)]
    pub terms: String,
    /// Of what is wanted, what comes for no other reason than the mode `all`: this is what somebody agrees to.
    #[serde(default)]
    pub by_all: Sum,
    /// Rules that name no classification of the catalog, and why.
    pub left_out: Vec<String>,
    /// When it was counted.
    pub counted_at: Time,
    /// Updates of which files are wanted.
    pub updates: u64,
    /// Of these, those of which the catalog misses a part, so that not all files are known.
    pub incomplete: u64,
    /// Of the updates, those that came over plain HTTP: nothing proves who said them.
    #[serde(default)]
    pub unauthenticated: u64,
    /// Files that are left out since they are encrypted: what lies at their addresses is not what their digests are of.
    #[serde(default)]
    pub encrypted: u64,
    /// Files that are wanted. Where `agreement` is awaited, once it is given.
    pub wanted: Sum,
    /// Of these, files that are held.
    pub held: Sum,
    /// Of these, files that are not.
    pub missing: Sum,
    /// What is missing now, and brought without any agreement.
    pub missing_now: Sum,
    /// Of what is missing, files of definition updates: they have a bandwidth class of their own.
    #[serde(default)]
    pub missing_definitions: Sum,
    /// Updates that would be fetched whole, and of which only what endpoints ask for is, and what is like that.
    #[serde(default)]
    pub left_to_endpoints: LeftToEndpoints,
    /// Whether `all` is in force: `not-needed`, `given`, `missing`, or `outgrown` where it is far more than was confirmed.
    pub agreement: String,
    /// What was confirmed, by whom and when.
    pub confirmed: Option<Confirmed>,
    /// By classification, the largest first.
    pub by_classification: Vec<Group>,
    /// By product, the largest first; a file is counted once.
    pub by_product: Vec<Group>,
    /// What the store has room for.
    pub room: Room,
    /// How long what is missing takes at the limits that hold now.
    pub times: Vec<Takes>,
    /// What to do next; absent where there is nothing.
    pub next: Option<String>,
}

/// Updates with express, PSF or UUP files, of which endpoints fetch a small part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftToEndpoints {
    /// How many.
    pub updates: u64,
    /// Of these, those that a person approved without `all_files`.
    pub approved: u64,
    /// The ids of the first thousand of them.
    #[serde(default)]
    pub ids: Vec<String>,
}

/// `POST /api/v1/plan/confirm`: what somebody saw and agrees to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmRequest {
    /// `by_all.files` of the plan.
    pub files: u64,
    /// `by_all.bytes` of it.
    pub bytes: u64,
    /// `terms` of it.
    pub terms: String,
}

/// The answer to it where that is not what is wanted by now: a problem, with the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnotherPlan {
    /// The problem.
    #[serde(flatten)]
    pub problem: Problem,
    /// What is wanted now.
    pub plan: Plan,
}

/// What a person agreed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// How much it was.
    #[serde(flatten)]
    pub sum: Sum,
    /// Who.
    pub by: String,
    /// When.
    pub at: Time,
}

/// A part of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The classification or product.
    pub name: String,
    /// Files that are wanted.
    pub wanted: Sum,
    /// Of these, files that are not held.
    pub missing: Sum,
}

/// What the store has room for, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// `store.max_size`.
    pub max_size: u64,
    /// What the store can hold: `max_size`, or less where the disk is full before that.
    pub reach: u64,
    /// What it holds.
    pub used: u64,
    /// Whether all that is wanted fits in.
    pub fits: bool,
}

/// How long it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takes {
    /// The class of bandwidth whose limit it is (`upstream`, `prefetch`, `definitions`), or `example` where none is set.
    pub class: String,
    /// Which limit is in force, and until when.
    pub limit: String,
    /// Files that are missing and come in this class.
    #[serde(default)]
    pub files: u64,
    /// Their bytes.
    #[serde(default)]
    pub bytes: u64,
    /// No limit is in force in this class: it is told since the other one has one.
    #[serde(default)]
    pub is_unlimited: bool,
    /// Bytes a second; absent while it is paused or unlimited.
    pub bytes_per_s: Option<u64>,
    /// Seconds; absent while it is paused or unlimited.
    pub seconds: Option<u64>,
}

/// How the content policy stands: in `status`, `sync status` and `prefetch status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentState {
    /// The policy in short: `approved`, `severity critical`, ...
    pub policy: String,
    /// When the files were counted; absent before the first time.
    pub counted_at: Option<Time>,
    /// Files that are wanted now.
    pub wanted: Sum,
    /// Of these, files that were held then, and those that a prefetch has brought since.
    pub held: Sum,
    /// Of these, files that were not.
    pub missing: Sum,
    /// The job that brings them, while one does.
    pub job: Option<u64>,
    /// The job that did so last, if it is still known.
    #[serde(default)]
    pub last_job: Option<u64>,
    /// Why nothing of that job moves; absent where something does.
    #[serde(default)]
    pub stuck: Option<String>,
    /// How many seconds that job will take at the rate of now; absent where that is not known.
    #[serde(default)]
    pub left_s: Option<u64>,
    /// When the next job begins by itself, since the last one left something undone; absent where none does by the time alone.
    #[serde(default)]
    pub next_at: Option<Time>,
    /// What came of the last job, where files are missing that it did not bring.
    #[serde(default)]
    pub last_try: Option<String>,
    /// What somebody must do before more is brought; absent where there is nothing.
    pub waits: Option<String>,
    /// What else is worth knowing: rules that are left out.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Who stopped the prefetch: none begins by itself. Absent where nobody did.
    #[serde(default)]
    pub stopped: Option<Stopped>,
    /// What comes since endpoints miss it; absent where that is off, or was not looked at yet. `prefetch status` alone names the updates.
    #[serde(default)]
    pub detected: Option<Detected>,
    /// Files that came whole and did not match what is published: none that begins by itself fetches them again.
    #[serde(default)]
    pub mismatched: u64,
    /// Of the updates of which files are wanted, those that came over plain HTTP: nothing proves who said them.
    #[serde(default)]
    pub unauthenticated: u64,
    /// The first of them.
    #[serde(default)]
    pub mismatched_files: Vec<Mismatched>,
}

/// What comes since endpoints miss it, by `content.detected`: of updates that count, that nothing else brings, and that established
/// endpoints miss.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detected {
    /// The least severity.
    pub severity: String,
    /// Bytes that may come so on a day.
    pub daily: u64,
    /// Bytes that were let in today, by UTC.
    pub spent: u64,
    /// An update of which more bytes are missing waits to be confirmed.
    pub ask_above: u64,
    /// What comes, or came, so and is still missing on endpoints: updates, not files.
    pub comes: DetectedSum,
    /// What waits for the budget of another day.
    pub waits_for_budget: DetectedSum,
    /// What waits for `waystation prefetch confirm`.
    pub waits_for_confirmation: DetectedSum,
    /// The updates, in the order in which they come; at most 1,000.
    #[serde(default)]
    pub updates: Vec<DetectedUpdate>,
}

/// Updates, and what of them is not held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetectedSum {
    /// How many.
    pub updates: u64,
    /// Bytes that are missing.
    pub bytes: u64,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetectedUpdate {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// It came over plain HTTP: nothing proves who said it.
    #[serde(default)]
    pub unauthenticated: bool,
    /// How bad what it mends is.
    pub severity: String,
    /// Established endpoints that miss it.
    pub endpoints: u64,
    /// Files that are not held.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// `comes`, `waits-for-budget` or `waits-for-confirmation`.
    pub state: String,
    /// Who agreed to its size, where somebody did.
    #[serde(default)]
    pub confirmed_by: Option<String>,
}

/// `POST /api/v1/prefetch/confirm`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmDetected {
    /// The id of an update that waits for it.
    pub update: String,
    /// The `bytes` that were shown.
    pub bytes: u64,
}

/// Who stopped the prefetch, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Who.
    pub by: String,
    /// When.
    pub at: Time,
}

/// A file that came whole and did not match what is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatched {
    /// Its name.
    pub name: String,
    /// Its digest, as published.
    pub sha1: String,
    /// What came instead.
    pub why: String,
    /// When that was.
    pub at: Time,
}

/// The answer to the order to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefetchStopped {
    /// The job that was told to stop; absent where none ran. None begins by itself in either case.
    pub job: Option<u64>,
}

/// `POST /api/v1/updates/approve`, `decline`, `reset`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecideRequest {
    /// Ids, beginnings of ids, or KBs. All or none are decided.
    pub updates: Vec<String>,
    /// Why, for the record.
    #[serde(default)]
    pub why: String,
    /// Approve with the files that endpoints read in parts: express, PSF and UUP.
    #[serde(default)]
    pub all_files: bool,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Updates of which it is another decision than before.
    pub changed: u64,
    /// The updates.
    pub rows: Vec<DecidedUpdate>,
    /// When endpoints notice.
    #[serde(default)]
    pub effect: String,
    /// What stands in the way of some of it, and what to do then.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidedUpdate {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// It came over plain HTTP: nothing proves who said it.
    #[serde(default)]
    pub unauthenticated: bool,
    /// What holds for it now: `approved`, `declined`, `declined automatically`; absent where nothing was decided.
    pub decision: Option<String>,
    /// It was approved with all its files before, and is not any more.
    #[serde(default)]
    pub less: bool,
    /// What its approval waits for or is beside: `expired`, `superseded`, `licence`, `review`.
    #[serde(default)]
    pub waits: Vec<String>,
    /// What that means for its files; absent where this node has no say in it.
    pub files: Option<FilesWanted>,
}

/// What the content policy makes of an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesWanted {
    /// `nothing`, `asked` (what endpoints ask for) or `everything`.
    pub wants: String,
    /// Why, in words.
    pub why: String,
}

/// A decision of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// `approved` or `declined`.
    pub word: String,
    /// With the files that endpoints read in parts.
    pub all_files: bool,
    /// By whom.
    pub by: String,
    /// When.
    pub at: Time,
    /// Why; may be empty.
    pub why: String,
}
