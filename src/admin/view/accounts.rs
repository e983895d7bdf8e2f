//! Accounts, sessions, tokens and the audit log.

use serde::{Deserialize, Serialize};

use crate::admin::view::Time;

/// `POST /api/v1/setup`: the first account.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetUpRequest {
    /// What stands in `<data>/setup-code`.
    pub code: String,
    /// The name of the account.
    pub name: String,
    /// Its password.
    pub password: String,
}

/// `POST /api/v1/session`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignInRequest {
    /// The name of the account.
    pub name: String,
    /// Its password.
    pub password: String,
}

/// `POST /api/v1/session/confirm`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmRequest {
    /// The password of whoever is signed in.
    pub password: String,
}

/// `POST /api/v1/session/password`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordRequest {
    /// The password until now.
    pub old: String,
    /// The one from now on.
    pub new: String,
}

/// `GET /api/v1/session`: who asks, and as what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// As the records call them.
    pub name: String,
    /// `session`, `token`, `socket` or `local`.
    pub via: String,
    /// `administrator`, `operator` or `auditor`.
    pub role: String,
    /// Groups that they are bound to; empty where they reach everything.
    pub groups: Vec<String>,
    /// What the token was made for; empty where it is none.
    pub scopes: Vec<String>,
    /// The password was given a short while ago, or need not be.
    pub confirmed: bool,
    /// What changes carry in the field `X-CSRF-Token`, where a browser's session asks.
    pub csrf: Option<String>,
}

/// `GET /api/v1/accounts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// All of them, by name.
    pub rows: Vec<Account>,
}

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// `administrator`, `operator` or `auditor`.
    pub role: String,
    /// Groups that it is bound to, with all below them; empty where it reaches everything.
    pub groups: Vec<String>,
    /// Who made it.
    pub by: String,
    /// When.
    pub at: Time,
    /// Since when the password is this one.
    pub password_at: Time,
    /// When it signed in last.
    pub seen: Option<Time>,
}

/// `POST /api/v1/accounts`, and of one of them, where nothing that is not named changes.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AccountRequest {
    /// The name of a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `administrator`, `operator` or `auditor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Groups to bind it to; an empty list takes the bound away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// `POST /api/v1/setup-code`: where the new code lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupCode {
    /// The file.
    pub file: String,
    /// Until when it is good.
    pub until: Time,
}

/// `GET /api/v1/tokens`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Those of whoever asks; of everybody for an administrator.
    pub rows: Vec<Token>,
}

/// A token, without its secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// By what it is called.
    pub id: String,
    /// What somebody wrote to know it by.
    pub name: String,
    /// Whose it is.
    pub account: String,
    /// `administrator`, `operator` or `auditor`.
    pub role: String,
    /// Groups that it is bound to; empty where it reaches what its account reaches.
    pub groups: Vec<String>,
    /// What it was made for.
    pub scopes: Vec<String>,
    /// When it was made.
    pub at: Time,
    /// When it ends.
    pub until: Time,
    /// When it was used last, to the hour.
    pub used: Option<Time>,
}

/// `POST /api/v1/tokens`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// What to know it by.
    pub name: String,
    /// Whose it is to be, over the socket; else it is of whoever asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// At most the account's, which it is unless told otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Groups to bind it to.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What it is for: `endpoints:read`, `approvals:write`, `*:read`, `confirmed`.
    pub scopes: Vec<String>,
    /// How many days it is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u64>,
}

/// A token that was just made.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenMade {
    /// The token itself: it is told this once.
    pub secret: String,
    /// What is kept of it.
    pub token: Token,
}

/// `GET /api/v1/audit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The newest first.
    pub rows: Vec<AuditRow>,
    /// What to give as `before` for those that were written earlier.
    pub next: Option<u64>,
}

/// An entry of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// Its number.
    pub number: u64,
    /// Its chained hash.
    pub hash: String,
    /// When.
    pub at: Time,
    /// Who.
    pub who: String,
    /// Where from; empty for the socket.
    pub from: String,
    /// Method and route.
    pub what: String,
    /// The very address.
    pub target: String,
    /// The status that was answered.
    pub outcome: u16,
    /// What was asked for, as JSON, secrets left out.
    pub asked: String,
    /// What it was like before, as JSON, where that can be said.
    pub before: String,
    /// What it was like afterwards.
    pub after: String,
}

/// `GET /api/v1/audit/check`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditChecked {
    /// Entries that were looked at.
    pub entries: u64,
    /// The first number.
    pub first: Option<u64>,
    /// The last number.
    pub last: Option<u64>,
    /// The hash of the last one: noted elsewhere, it shows later that nothing before it was changed.
    pub head: String,
    /// Whether all is as it was written.
    pub whole: bool,
    /// What is wrong first.
    pub broken: Option<String>,
}

/// Something was taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// What.
    pub gone: String,
}
