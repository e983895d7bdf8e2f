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
    /// What is to be compared, by whoever lets this node in, or seals a secret to it; of a node that joined.
    pub fingerprint: Option<String>,
    /// The nodes below, by path and name.
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
    /// `waiting`, `member`, `revoked` or `superseded`; `below` of one that reports to another node.
    pub standing: String,
    /// What two people compare.
    pub fingerprint: String,
    /// Its version, as it said last.
    pub version: String,
    /// When it came.
    pub since: Time,
    /// `online`, `offline`, `uninstalled`, `invalid` or `outside`.
    #[serde(default)]
    pub status: String,
    /// Names of nodes from the one that reports here down to this one.
    #[serde(default)]
    pub path: Vec<String>,
    /// When it was last heard of; absent before it told anything.
    #[serde(default)]
    pub heard: Option<Time>,
    /// What its endpoints come to.
    #[serde(default)]
    pub endpoints: Tally,
}

/// What the endpoints of a node come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Endpoints.
    pub endpoints: u32,
    /// Of these, those that keep to the policies of their node.
    pub compliant: u32,
    /// Those that never told what a scan found.
    pub unscanned: u32,
    /// Those that miss an update that counts.
    pub missing: u32,
    /// Those on which an installation failed.
    pub failed: u32,
    /// Those that wait for a restart.
    pub restart: u32,
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

/// `POST /api/v1/nodes/epoch` and `POST /api/v1/nodes/feedkey`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VouchRequest {
    /// The file with the root key, as it was exported.
    pub rootkey: String,
}
