//! What is approved for whom, reviews, licences.

use serde::{Deserialize, Serialize};

use crate::admin::view::Time;

/// `GET /api/v1/approvals`: a page, in the order of updates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approvals {
    /// The rows of this page.
    pub rows: Vec<Approval>,
    /// Give it as `after` to get the next page; absent at the end.
    pub next: Option<String>,
}

/// What somebody said of an update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The update's id.
    pub update: String,
    /// Its title; absent where it is not held.
    pub title: Option<String>,
    /// It came over plain HTTP: nothing proves who said it.
    #[serde(default)]
    pub unauthenticated: bool,
    /// Knowledge base articles, digits only.
    pub kbs: Vec<String>,
    /// `all`, `group` or `endpoint`.
    pub target: String,
    /// Its id.
    pub target_id: String,
    /// The path of the group, or the name of the endpoint; its id where it is gone.
    pub target_name: String,
    /// `install`, `optional-install`, `uninstall`, `detect-only`, `not-approved`; `declined` is for all, and above all others.
    pub action: String,
    /// Until when, as it was said; where a licence or a review held the update longer, later by as much.
    pub deadline: Option<Time>,
    /// With the files that endpoints read in parts.
    pub all_files: bool,
    /// Who said so.
    pub by: String,
    /// When.
    pub at: Time,
    /// Why; may be empty.
    pub why: String,
    /// `held`, `in-test` or `released`, where somebody reviewed the update.
    pub review: Option<String>,
}

/// `POST /api/v1/approvals`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRequest {
    /// Ids, beginnings of ids, or KBs. Something is said of all or none.
    pub updates: Vec<String>,
    /// Names, paths or ids of groups; `all` for all endpoints, `unassigned` for those in no group.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Names or ids of endpoints.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// See [`Approval::action`]; `install` where nothing is said.
    #[serde(default)]
    pub action: Option<String>,
    /// A time in RFC 3339, or a day, whose end in UTC is meant.
    #[serde(default)]
    pub deadline: Option<String>,
    /// See [`Approval::all_files`].
    #[serde(default)]
    pub all_files: bool,
    /// Why, for the record.
    #[serde(default)]
    pub why: String,
}

/// `POST /api/v1/approvals/withdraw`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithdrawRequest {
    /// As in [`SetRequest`].
    pub updates: Vec<String>,
    /// As in [`SetRequest`].
    #[serde(default)]
    pub groups: Vec<String>,
    /// As in [`SetRequest`].
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// From whomever something was said for, instead of groups and endpoints that are named.
    #[serde(default)]
    pub everywhere: bool,
}

/// `POST /api/v1/approvals/review`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewRequest {
    /// As in [`SetRequest`].
    pub updates: Vec<String>,
    /// `held`, `in-test` or `released`.
    pub state: String,
    /// Why, for the record.
    #[serde(default)]
    pub why: String,
}

/// What came of something that was said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Updates and targets of which it is something else than before.
    pub changed: u64,
    /// The updates.
    pub rows: Vec<SaidOf>,
    /// When it takes effect.
    pub effect: String,
    /// What stands in the way, or should be known.
    pub notes: Vec<String>,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaidOf {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// It came over plain HTTP: nothing proves who said it.
    #[serde(default)]
    pub unauthenticated: bool,
    /// `declined`, `expired`, `superseded`, `licence` or `review`: why it does not take effect yet, or nowhere.
    pub waits: Vec<String>,
}

/// `GET /api/v1/licences`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Licences {
    /// Those that were accepted, and those that approved updates wait for.
    pub rows: Vec<Licence>,
    /// Not all approved updates were looked at: there are too many.
    pub cut: bool,
}

/// A licence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Licence {
    /// Its id.
    pub id: String,
    /// Who accepted it; absent where nobody did.
    pub by: Option<String>,
    /// When.
    pub at: Option<Time>,
    /// Updates that are approved for installation and need it.
    pub updates: Vec<LicencedUpdate>,
}

/// An update that needs a licence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicencedUpdate {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// It came over plain HTTP: nothing proves who said it.
    #[serde(default)]
    pub unauthenticated: bool,
}

/// `POST /api/v1/licences/accept`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptRequest {
    /// Updates, all of whose licences are accepted, those of their parts too; named as in [`SetRequest`].
    #[serde(default)]
    pub updates: Vec<String>,
    /// Ids of licences.
    #[serde(default)]
    pub licences: Vec<String>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Licences that nobody had accepted before.
    pub accepted: u64,
    /// Ids of all that are accepted now of those that were asked for.
    pub licences: Vec<String>,
    /// When it takes effect.
    pub effect: String,
    /// What deadlines follow.
    pub notes: Vec<String>,
}
