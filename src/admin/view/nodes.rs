//! This node in its chain, and the nodes below it.

use serde::{Deserialize, Serialize};

use crate::admin::view::Time;

/// `GET /api/v1/nodes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nodes {
    /// The id of this node.
    pub node: String,
    /// `none`, `authority`, `joining` or `child`.
    pub role: String,
    /// The chain that it is in: the fingerprint of the authority's root key.
    pub chain: Option<String>,
    /// Epoch and sequence up to which the feed is applied here; of a child alone.
    pub position: Option<String>,
    /// Of a child: `empty`, `current` or `frozen`.
    pub state: Option<String>,
    /// When what is applied was last known to be current.
    pub as_of: Option<Time>,
    /// Ids of nodes from the authority down to this one.
    pub path: Vec<String>,
    /// What a node above showed that was not believed.
    pub alarms: Vec<Alarm>,
    /// What it waits for, or what went wrong last.
    pub trouble: Option<String>,
    /// While a join waits: what is to be compared.
    pub fingerprint: Option<String>,
    /// The nodes below, by name.
    pub rows: Vec<Node>,
}

/// Something that was not believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Who showed it.
    pub node: String,
    /// Its word.
    pub alarm: String,
    /// What was seen.
    pub text: String,
    /// Since when.
    pub since: Time,
}

/// A node below.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub node: String,
    /// What it is called here.
    pub name: String,
    /// `waiting`, `member`, `revoked` or `superseded`.
    pub standing: String,
    /// What two people compare.
    pub fingerprint: String,
    /// Its version when it joined.
    pub version: String,
    /// When it came.
    pub since: Time,
}

/// `POST /api/v1/nodes/invite`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteRequest {
    /// What the node is to be called.
    pub name: String,
    /// How long the token is good, in seconds; a day unless given.
    #[serde(default)]
    pub ttl_s: Option<u64>,
    /// From which network it may come; any unless given.
    #[serde(default)]
    pub from: Option<String>,
    /// Nobody has to compare its fingerprint.
    #[serde(default)]
    pub approve: bool,
}

/// The answer: a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invited {
    /// The token.
    pub token: String,
    /// Its end.
    pub until: Time,
    /// Where the node will look for this one.
    pub addresses: Vec<String>,
    /// What to do next.
    pub notes: Vec<String>,
}

/// `POST /api/v1/nodes/join`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The token.
    pub token: String,
}

/// `POST /api/v1/nodes/rootkey`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootkeyRequest {
    /// A file that is not there yet.
    pub to: String,
}
