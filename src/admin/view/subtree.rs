//! One node below, what is wished of it, and its endpoints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::admin::view::Time;
use crate::admin::view::nodes::{Node, Tally};
use crate::model::chain::below::{Actual, Answer, Heartbeat};
use crate::model::settings::Raw;

/// `GET /api/v1/nodes/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// Who it is.
    pub node: Node,
    /// What it says of itself.
    pub heartbeat: Heartbeat,
    /// Its settings that are not as shipped, and those that are locked there.
    pub settings: Vec<Actual>,
    /// What is wished of it, and what came of that.
    pub wished: Vec<Wished>,
    /// Orders, the newest first, and what came of them.
    pub orders: Vec<Order>,
    /// Nodes below it.
    pub below: Vec<String>,
}

/// A setting that is wished of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wished {
    /// Which.
    pub key: String,
    /// Its value; absent for a secret.
    pub value: Option<Raw>,
    /// By whom.
    pub by: String,
    /// When.
    pub at: Time,
    /// What the node says to it; absent until it does.
    pub answer: Option<Answer>,
}

/// An order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its number.
    pub number: u64,
    /// What.
    pub verb: String,
    /// By whom.
    pub by: String,
    /// When.
    pub at: Time,
    /// Afterwards it is not done any more.
    pub until: Time,
    /// What came of it; absent until the node says so.
    pub answer: Option<Answer>,
}

/// `POST /api/v1/nodes/{name}/config`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigRequest {
    /// Settings and their values; null takes a wish back.
    pub settings: BTreeMap<String, Option<Raw>>,
    /// The node's fingerprint, as it stands on the node itself: needed once for secrets of a node that reports to another one.
    #[serde(default)]
    pub fingerprint: Option<String>,
}

/// `POST /api/v1/nodes/{name}/orders`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderRequest {
    /// `sync-start`, `sync-stop`, `prefetch`, `verify` or `reparent`.
    pub verb: String,
    /// For `reparent`: the token of the other parent.
    #[serde(default)]
    pub token: Option<String>,
}

/// `POST /api/v1/nodes/leave`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// What came of it.
    pub note: String,
}

/// `GET /api/v1/compliance/nodes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByNode {
    /// All endpoints of this node and of all below it.
    pub all: Tally,
    /// By node; this one first.
    pub rows: Vec<Node>,
}

/// `GET /api/v1/nodes/{name}/endpoints`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// By id.
    pub rows: Vec<Endpoint>,
    /// Where the next page begins behind; absent at the end.
    pub next: Option<String>,
}

/// An endpoint of a node below, as that node tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its operating system.
    pub system: String,
    /// When it was last heard of, to the hour.
    pub contact: Option<Time>,
    /// When it last told what a scan found.
    pub scanned: Option<Time>,
    /// It keeps to the policies that hold for it there.
    pub compliant: bool,
    /// It waits for a restart.
    pub restart: bool,
    /// Updates that count and that it misses.
    pub missing: u32,
    /// Updates of which it told, by their state.
    pub states: BTreeMap<String, u32>,
}
