//! What stands above the node, as the API tells it and the command line prints it.

use serde::{Deserialize, Serialize};

use crate::admin::view::{Setting, SyncUpstream};

/// `GET /api/v1/upstream`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Above {
    /// What is asked now.
    pub now: Way,
    /// What is asked after a restart; absent where that is the same.
    pub after_restart: Option<Way>,
    /// From whom the catalog that is held came; absent before the first run.
    pub held_from: Option<SyncUpstream>,
    /// Updates in it, of every kind.
    pub updates: u64,
    /// The settings behind it, as `GET /api/v1/settings` tells them.
    pub settings: Vec<Setting>,
}

/// Who is asked, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// `microsoft`, `wsus` or `parent`.
    pub kind: String,
    /// Where the catalog comes from; empty where no address is set.
    pub address: String,
    /// It is asked over a connection that proves nothing.
    pub unauthenticated: bool,
    /// How content is asked for: `global` as `[proxy]` says, `none` directly, or a URL.
    pub proxy: String,
}

/// `POST /api/v1/upstream/test`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestRequest {
    /// Whom to test; without it what is set.
    #[serde(default)]
    pub choice: Option<Choice>,
}

/// `POST /api/v1/upstream`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// `microsoft` or `wsus`.
    pub kind: String,
    /// The base URL of the WSUS server.
    #[serde(default)]
    pub url: Option<String>,
    /// `global`, `none` or the URL of a proxy; what is set stays without it.
    #[serde(default)]
    pub proxy: Option<String>,
}
