//! Groups of endpoints.

use serde::{Deserialize, Serialize};

use crate::admin::view::Time;

/// `GET /api/v1/groups`: all of them, as a tree: each behind the one that it stands below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// The groups; the first one is all endpoints, the last one the unassigned.
    pub rows: Vec<Group>,
    /// Endpoints that are known.
    pub endpoints: u64,
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Names from below all endpoints down, with slashes between; `all` and `unassigned` for those two.
    pub path: String,
    /// `company`, `site` or `group`; `fixed` for all endpoints and the unassigned.
    pub level: String,
    /// How many stand above it.
    pub depth: u64,
    /// What is under review is tried out in it, and below it.
    pub test: bool,
    /// What is approved takes effect in it, and below it, once it was reviewed.
    pub review: bool,
    /// Rules by which endpoints are in it: `subnet 10.1.0.0/16`, `name kiosk-*`.
    pub rules: Vec<String>,
    /// Endpoints that are in it.
    pub endpoints: u64,
    /// Endpoints that are in it or in one below it.
    pub endpoints_below: u64,
    /// Who changed it last.
    pub by: Option<String>,
    /// When.
    pub at: Option<Time>,
    /// Another number after each change of it; 0 for all endpoints and the unassigned.
    pub revision: u64,
}

/// `POST /api/v1/groups`: a new group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddRequest {
    /// Its name.
    pub name: String,
    /// The group that it stands below; all endpoints, where none is named.
    #[serde(default)]
    pub below: Option<String>,
    /// `company`, `site` or `group`, which it is unless said otherwise.
    #[serde(default)]
    pub level: Option<String>,
    /// See [`Group::test`].
    #[serde(default)]
    pub test: bool,
    /// See [`Group::review`].
    #[serde(default)]
    pub review: bool,
    /// See [`Group::rules`].
    #[serde(default)]
    pub rules: Vec<String>,
}

/// `POST /api/v1/groups/{name}`: what is to be another one; the rest stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRequest {
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// The group that it stands below, `all` for none.
    #[serde(default)]
    pub below: Option<String>,
    /// Its level.
    #[serde(default)]
    pub level: Option<String>,
    /// See [`Group::test`].
    #[serde(default)]
    pub test: Option<bool>,
    /// See [`Group::review`].
    #[serde(default)]
    pub review: Option<bool>,
    /// All its rules, in place of those that it has.
    #[serde(default)]
    pub rules: Option<Vec<String>>,
    /// The [`Group::revision`] in which it was looked at: where somebody changed it since then, nothing is changed.
    #[serde(default)]
    pub revision: Option<u64>,
}

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The group as it is now; absent where it is gone. Nobody counted its endpoints.
    pub group: Option<Group>,
    /// When it takes effect.
    pub effect: String,
    /// Of a group that is gone: where its endpoints are now, and which rules it was a ring of.
    pub notes: Vec<String>,
}

/// `POST /api/v1/groups/place`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceRequest {
    /// Names or ids of endpoints. All or none are moved.
    pub endpoints: Vec<String>,
    /// The groups that they are in from now on; none: where their own word or a rule has them.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Endpoints that somebody put elsewhere by it than before.
    pub moved: u64,
    /// The endpoints.
    pub rows: Vec<Endpoint>,
    /// When it takes effect.
    pub effect: String,
    /// What to know: deadlines that they come under.
    pub notes: Vec<String>,
}

/// An endpoint and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Paths of its groups.
    pub groups: Vec<String>,
    /// Why: `by-hand`, `by-itself`, `by-rule` or `unassigned`.
    pub how: String,
}
