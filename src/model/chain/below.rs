//! What nodes below tell of themselves and of their endpoints: the rows of a report, as values.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::model::chain::ids::NodeId;
use crate::model::compliance::State;
use crate::model::deployment::Endpoint;
use crate::model::settings::Raw;
use crate::model::update::UpdateId;

/// Bytes of what a node says of itself, as JSON: its numbers, and some troubles.
pub const NODE_BYTES_MAX: usize = 64 << 10;
/// Bytes of a node's settings and answers to orders, as JSON: some 200 settings and 64 answers.
pub const HELD_BYTES_MAX: usize = 256 << 10;
/// Updates of one endpoint: what a node keeps of one at most.
pub const STANDS_MAX: usize = 4_096;
/// Bytes of an endpoint's name, and of that of its system.
pub const NAME_BYTES_MAX: usize = 255;

/// How one update stands on an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    /// Which update.
    pub update: UpdateId,
    /// How: one that endpoints tell.
    pub state: State,
    /// Since when, in seconds since 1970.
    pub changed: u32,
    /// With what installing it failed; 0 where it did not, or that is not known.
    pub code: i32,
}

/// What a node tells of one of its endpoints. Times are in seconds since 1970, 0 for never.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Its name.
    pub name: String,
    /// Its operating system, as that node calls it.
    pub system: String,
    /// When it was last heard of, to the hour.
    pub contact: u32,
    /// When it last told what a scan found.
    pub scanned: u32,
    /// It keeps to the policies that hold for it there.
    pub compliant: bool,
    /// It waits for a restart.
    pub restart: bool,
    /// Updates that count there and that it misses.
    pub missing: u32,
    /// What it told of updates, in the order of their ids, each once.
    pub stands: Vec<Stand>,
}

/// What a row of a report is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// The node itself: JSON of [`NodeSaid`].
    Node(Bytes),
    /// Its settings and its answers to orders: JSON of [`HeldSaid`].
    Held(Bytes),
    /// One of its endpoints.
    Endpoint(Endpoint, Told),
    /// One of its endpoints is not there any more.
    EndpointGone(Endpoint),
    /// The node is not there any more, with all that it told.
    NodeGone,
}

/// A row of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// From the node that reports down to the one that it is about, both counted.
    pub path: Vec<NodeId>,
    /// What.
    pub about: About,
}

/// Rows behind a number of who reports, up to another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Which numbering: another one after the reporter lost its own.
    pub epoch: u64,
    /// Behind which number these rows come; 0: all that there is, from the beginning.
    pub from: u64,
    /// Up to which number they go.
    pub to: u64,
    /// Nothing is behind that now.
    pub last: bool,
    /// The rows.
    pub rows: Vec<Row>,
}

/// What a parent says of a node, and the node of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSaid {
    /// What it is called by its parent.
    pub name: String,
    /// Its fingerprint, as its parent knows it.
    pub fingerprint: String,
    /// What it said when it went: `uninstalled` or `enrolled`; `superseded` where its parent says that another took its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone: Option<String>,
    /// What it says of itself.
    pub heartbeat: Heartbeat,
}

/// What a node says of itself, again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heartbeat {
    /// When it said so, by its own clock.
    pub at: Timestamp,
    /// How often it does, in seconds.
    pub every_s: u32,
    /// Its version.
    pub version: String,
    /// Where its catalog comes from: kind and address.
    pub upstream: String,
    /// `replica` or `autonomous`.
    pub mode: String,
    /// Up to where it has applied the feed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// `empty`, `current` or `frozen`, and since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// When what it applied was last known to be current.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// What parents showed it and it did not believe, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<String>,
    /// What is wrong there, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// Bytes of its disk, and how many of them are free.
    pub disk: u64,
    /// See `disk`.
    pub free: u64,
    /// Payloads that it holds, and their bytes.
    pub payloads: u64,
    /// See `payloads`.
    pub held: u64,
    /// Bytes that it sent to endpoints since it was started.
    pub sent: u64,
    /// Bytes that it fetched from above for that.
    pub fetched: u64,
    /// Of what was asked of it since it was started, how much it held already, in parts of a thousand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hits_permille: Option<u16>,
    /// When it last synchronised, or took something from its parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synced: Option<Timestamp>,
    /// How that ended.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub synced_how: String,
    /// Public key of its certificate (SPKI), in hex.
    pub tls_key: String,
    /// The key to which its secrets are sealed, in hex.
    pub sealing_key: String,
    /// Rows that nodes below it told of others than themselves, and that it refused.
    #[serde(skip_serializing_if = "is_zero")]
    pub refused: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A setting as it is in force on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actual {
    /// Its name.
    pub key: String,
    /// Its value; secrets are not told.
    pub value: Raw,
    /// Where it comes from.
    pub place: String,
    /// A file, the environment or a flag fixes it there.
    #[serde(skip_serializing_if = "is_false")]
    pub locked: bool,
    /// Another value waits for this: `reload` or `restart`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// What came of an order, or of a setting that was wished.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// The number of the order, or the name of the setting.
    pub to: String,
    /// `done`, `refused` or `under-way`.
    pub outcome: String,
    /// More of it, in words.
    pub text: String,
    /// When.
    pub at: Timestamp,
}

/// A node's settings and its answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeldSaid {
    /// Settings that are not what is shipped, and those that are locked.
    pub settings: Vec<Actual>,
    /// What came of orders and wished settings, the oldest first.
    pub answers: Vec<Answer>,
}
