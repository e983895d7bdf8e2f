//! The words of `/api/v1/endpoints`.

use serde::{Deserialize, Serialize};

use crate::admin::view::Time;

/// `GET /api/v1/endpoints`: a page, in the order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// The rows of this page.
    pub rows: Vec<Endpoint>,
    /// How many there are in all that fit.
    pub total: u64,
    /// How many endpoints there are.
    pub known: u64,
    /// Give it as `after` to get the next page; absent at the end.
    pub next: Option<String>,
}

/// An endpoint, in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The id that its agent gave itself.
    pub id: String,
    /// Its full DNS name, as it says.
    pub name: String,
    /// Its system, by the name that goes with the build.
    pub os: String,
    /// The same by its numbers.
    pub version: String,
    /// Whether it is a server; absent where it does not say.
    pub server: Option<bool>,
    /// Who made it.
    pub maker: String,
    /// The model.
    pub model: String,
    /// The processor's architecture, in the word of the protocol.
    pub architecture: String,
    /// The version of its agent.
    pub agent: String,
    /// The groups that it was told to name (client-side targeting).
    pub targets: Vec<String>,
    /// From where it was last heard of.
    pub address: String,
    /// That is outside the networks that the site names.
    pub roaming: bool,
    /// `admitted`, or `held` until somebody lets it in.
    pub state: String,
    /// How many other machines came with its id.
    pub contests: u64,
    /// Two machines live under its id: clones of one image.
    pub clones: bool,
    /// When it was first seen.
    pub first: Time,
    /// When it was last heard of.
    pub last: Time,
    /// When it last scanned; absent where it never did.
    pub last_scan: Option<Time>,
    /// When it last reported.
    pub last_report: Option<Time>,
}

/// `GET /api/v1/endpoints/{name}`: one endpoint with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whole {
    /// What a list shows too.
    #[serde(flatten)]
    pub short: Endpoint,
    /// The firmware's name, version and day, as it says.
    pub firmware: [String; 3],
    /// When it last said what it is.
    pub registered: Time,
    /// When it last asked for files.
    pub last_files: Option<Time>,
    /// Other machines that came with its id.
    pub contested_by: Vec<Contest>,
    /// What happened to it, the oldest first.
    pub history: Vec<Event>,
    /// What stands behind what it says of updates that it has; absent where that was not asked.
    #[serde(default)]
    pub says_it_has: Option<Claims>,
}

/// Updates that an endpoint says it downloaded or installed, by what stands behind that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// This node sent files of them to its address, while nobody else was heard of from there.
    pub corroborated: u64,
    /// It did so while others were.
    pub from_its_address: u64,
    /// There is its word alone.
    pub self_reported: u64,
}

/// A machine that came with the id of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contest {
    /// Its name.
    pub name: String,
    /// Who made it.
    pub maker: String,
    /// The model.
    pub model: String,
    /// From where it came last.
    pub address: String,
    /// When it came first.
    pub first: Time,
    /// When that was last noted.
    pub last: Time,
    /// How often it was noted, once an hour at most.
    pub times: u32,
    /// It and the endpoint come in turns: two machines, and no new name of one.
    pub clone: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Time,
    /// `first-seen`, `address`, `changed`, `contested`, `admitted` or `bound`.
    pub kind: String,
    /// More of it.
    pub text: String,
}

/// `POST /api/v1/endpoints/admit` and `.../forget`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointsRequest {
    /// Names, ids, or beginnings of ids.
    pub endpoints: Vec<String>,
}

/// `POST /api/v1/endpoints/bind`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindRequest {
    /// Name, id, or beginning of the id.
    pub endpoint: String,
    /// The name of the machine that the id belongs to from now on, one of those that contest it.
    pub name: String,
}

/// What came of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// How many were another way before.
    pub changed: u64,
    /// The endpoints as they are now; those that were forgotten as they were.
    pub rows: Vec<Endpoint>,
}
