//! How updates stand on endpoints. All of it is what endpoints said of themselves.

use serde::{Deserialize, Serialize};

use crate::admin::view::Time;

/// `GET /api/v1/compliance`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Always true: endpoints say it of themselves, and nothing here proves it.
    pub self_reported: bool,
    /// Whose these are; absent for all endpoints.
    #[serde(default)]
    pub group: Option<String>,
    /// What endpoints are held against, but for what groups below say.
    pub policy: Policy,
    /// Groups that have a policy of their own.
    #[serde(default)]
    pub group_policies: u64,
    /// Endpoints.
    pub endpoints: u64,
    /// Those that never told what a scan found.
    pub not_scanned: u64,
    /// Those that miss an update that counts.
    pub missing: u64,
    /// Those that miss none.
    pub up_to_date: u64,
    /// Those that keep to the policy now.
    pub compliant: u64,
    /// Those that do not.
    pub not_compliant: u64,
    /// Those on which an update that counts failed.
    pub failed: u64,
    /// Those on which a restart is pending.
    pub restart_pending: u64,
    /// What is missing, the worst first.
    pub by_severity: Vec<BySeverity>,
    /// What a machine that comes for the first time, and is in no group, must evaluate; absent where no node runs.
    #[serde(default)]
    pub newcomer: Option<Newcomer>,
}

/// What a first scan has to bring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Newcomer {
    /// Revisions: what is approved or detected, with all that it needs.
    pub updates: u64,
    /// Bytes of their metadata.
    pub bytes: u64,
    /// Rounds that bring them at most; each level of prerequisites is one more.
    pub rounds: u64,
    /// Rounds after which an agent gives up.
    pub rounds_max: u64,
    /// It is more than half of that: detect less (`scan.detect_days`, `scan.detect_products`).
    pub near_limit: bool,
}

/// The policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The least severity that counts; `any` for all.
    pub severity: String,
    /// Days that an update may be missing.
    pub missing_days: u32,
    /// Days that may pass between scans.
    pub scan_days: u32,
    /// Days that a restart may be pending.
    pub restart_days: u32,
}

/// `GET /api/v1/compliance/policies`: all endpoints, then the groups that say something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPolicies {
    /// Each with what holds for it.
    pub rows: Vec<GroupPolicy>,
}

/// `GET /api/v1/compliance/policies/{group}`: what endpoints of a group must keep to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPolicy {
    /// The group's id.
    pub id: String,
    /// Its path; `all` or `unassigned` for those two.
    pub group: String,
    /// What holds.
    pub policy: Policy,
    /// What it says itself; the rest comes from above.
    pub own: OwnPolicy,
    /// The group that says what may be missing, and for how long.
    pub missing_by: String,
    /// The group that says how often endpoints must scan.
    pub scan_by: String,
    /// The group that says how long a restart may be pending.
    pub restart_by: String,
    /// Who said last what it says itself.
    pub by: Option<String>,
    /// When.
    pub at: Option<Time>,
}

/// What a group says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnPolicy {
    /// See [`Policy`].
    pub severity: Option<String>,
    /// See [`Policy`].
    pub missing_days: Option<u32>,
    /// See [`Policy`].
    pub scan_days: Option<u32>,
    /// See [`Policy`].
    pub restart_days: Option<u32>,
}

/// `POST /api/v1/compliance/policies/{group}`: what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRequest {
    /// See [`Policy`].
    pub severity: Option<String>,
    /// See [`Policy`].
    pub missing_days: Option<u32>,
    /// See [`Policy`].
    pub scan_days: Option<u32>,
    /// See [`Policy`].
    pub restart_days: Option<u32>,
    /// Fields that the group says nothing of from now on, by their names.
    #[serde(default)]
    pub clear: Vec<String>,
}

/// What is missing of one severity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BySeverity {
    /// `critical`, `important`, `moderate`, `low` or `unspecified`.
    pub severity: String,
    /// Endpoints that miss one.
    pub endpoints: u64,
    /// Updates that some endpoint misses.
    pub updates: u64,
    /// Each of them counted on each endpoint.
    pub missing: u64,
}

/// `GET /api/v1/compliance/endpoints`: a page, in the order of ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// The rows of this page.
    pub rows: Vec<Endpoint>,
    /// How many fit in all.
    pub total: u64,
    /// Give it as `after` to get the next page; absent at the end.
    pub next: Option<String>,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its client id.
    pub id: String,
    /// Its name, as it registered; absent where it has not.
    pub name: Option<String>,
    /// `not-scanned`, `missing` or `up-to-date`.
    pub verdict: String,
    /// Whether it keeps to the policy.
    pub compliant: bool,
    /// Why not, and by the policy of which group.
    pub reasons: Vec<String>,
    /// The groups by whose policies that is said; `all` for `[compliance]`.
    #[serde(default)]
    pub policies: Vec<String>,
    /// When its last scan was, as it says.
    pub scanned: Option<Time>,
    /// When a scan after that failed.
    pub scan_failed: Option<Time>,
    /// With what, as Windows writes it.
    pub scan_error: Option<String>,
    /// Since when a restart is pending.
    pub restart_since: Option<Time>,
    /// Updates that it misses and that count.
    pub missing: u64,
    /// Of these, by severity.
    pub critical: u32,
    /// See `critical`.
    pub important: u32,
    /// See `critical`.
    pub moderate: u32,
    /// See `critical`.
    pub low: u32,
    /// See `critical`.
    pub unspecified: u32,
    /// Of these, those of which an installation failed.
    pub failed: u32,
}

/// `GET /api/v1/compliance/endpoints/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whole {
    /// The short of it.
    #[serde(flatten)]
    pub short: Endpoint,
    /// Always true.
    pub self_reported: bool,
    /// All that it told of, what is missing first.
    pub states: Vec<Stands>,
    /// What became of them, the newest first.
    pub history: Vec<Change>,
}

/// An update on an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stands {
    /// The update's id.
    pub update: String,
    /// Its title; absent where the catalog does not have it any more.
    pub title: Option<String>,
    /// It came over plain HTTP: nothing proves who said it.
    #[serde(default)]
    pub unauthenticated: bool,
    /// Knowledge base articles.
    pub kbs: Vec<String>,
    /// How bad what it mends is.
    pub severity: String,
    /// `not-installed`, `downloaded`, `installed`, `failed` or `pending-restart`.
    pub state: String,
    /// Since when.
    pub changed: Time,
    /// Since when it, or what it took the place of, is missing; absent where it is not, or does not count.
    pub missing_since: Option<Time>,
    /// With what installing it failed.
    pub error: Option<String>,
    /// `required` where a licence, its own or that of a part, must be accepted before it is offered; `accepted` where all were; else `none`.
    pub eula: String,
    /// What stands behind it where it says that it has the files (`downloaded`, `installed`, `pending-restart`): `corroborated` where this node
    /// sent enough of one of them to its address while nobody else was heard of from there, `from-its-address` where others were, `self-reported`
    /// where there is its word alone.
    #[serde(default)]
    pub evidence: Option<String>,
    /// Files of the update of which this node sent something there.
    #[serde(default)]
    pub sent_files: u64,
    /// Bytes of them, what was asked for twice counted twice.
    #[serde(default)]
    pub sent_bytes: u64,
    /// When the first of these was asked for.
    #[serde(default)]
    pub sent_first: Option<Time>,
    /// When the last of these was asked for.
    #[serde(default)]
    pub sent_last: Option<Time>,
}

/// A state that became another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Time,
    /// The update's id.
    pub update: String,
    /// Its title; absent where the catalog does not have it any more.
    pub title: Option<String>,
    /// It came over plain HTTP: nothing proves who said it.
    #[serde(default)]
    pub unauthenticated: bool,
    /// What was before.
    pub from: String,
    /// What is since.
    pub to: String,
    /// With what installing it failed.
    pub error: Option<String>,
}

/// `GET /api/v1/compliance/updates` and `/missing`: a page, the worst first, of these the newest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updates {
    /// The rows of this page.
    pub rows: Vec<Update>,
    /// How many fit in all.
    pub total: u64,
    /// Give it as `after` to get the next page; absent at the end.
    pub next: Option<String>,
}

/// An update with how it stands on all endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Its id.
    pub id: String,
    /// Its title; absent where the catalog does not have it any more.
    pub title: Option<String>,
    /// It came over plain HTTP: nothing proves who said it.
    #[serde(default)]
    pub unauthenticated: bool,
    /// Knowledge base articles.
    pub kbs: Vec<String>,
    /// How bad what it mends is.
    pub severity: String,
    /// What it is classified as.
    pub classification: Option<String>,
    /// Products that it is for.
    pub products: Vec<String>,
    /// When it was made.
    pub created: Option<Time>,
    /// Days since.
    pub age_days: Option<u64>,
    /// `not-required`, `required` or `may-require`; absent where that is not known.
    pub restart: Option<String>,
    /// `required` where a licence, its own or that of a part, must be accepted before it is offered; `accepted` where all were; else `none`.
    pub eula: String,
    /// Whether endpoints that need it miss something: it is offered, not declined, and nothing that supersedes it is approved instead.
    pub counts: bool,
    /// Endpoints that need it and have not got it: not installed, downloaded and failed together.
    pub missing: u64,
    /// Since when the first of them misses it.
    pub missing_since: Option<Time>,
    /// Endpoints by its state there.
    pub not_installed: u64,
    /// See `not_installed`.
    pub downloaded: u64,
    /// See `not_installed`.
    pub failed: u64,
    /// See `not_installed`.
    pub installed: u64,
    /// See `not_installed`.
    pub pending_restart: u64,
    /// See `not_installed`.
    pub not_applicable: u64,
    /// Endpoints that have not told.
    pub unknown: u64,
}
