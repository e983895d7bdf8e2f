//! What endpoints are told to do with updates, and what people said of it: actions and deployments as they go over the wire
//! (MS-WUSP 2.2.2.2.4, 3.1.5.7), approvals for groups and single endpoints, the review that may stand before them, licences.
//!
//! Everything here is a value or a pure rule. Times are those of the one logical clock of the store (see [`Approval::at`]), so
//! that "changed since" can be asked of approvals and of the catalog with one number.

pub mod detection;
pub mod inherit;
pub mod rules;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::model::policy::Group;
use crate::model::update::{Update, UpdateId};

/// What an endpoint does with an update. Of several that one of them is reached by the greatest counts; the order is that of WSUS,
/// where an installation wins over a removal, both over detecting, and all that somebody ordered over what is there for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Evaluated because others need it: categories, detectoids, dependencies.
    Evaluate,
    /// There as a part of a bundle that is delivered.
    Bundle,
    /// Not approved, by somebody's word. No client knows it: see [`Action::sent`].
    Block,
    /// Detected and reported, not installed.
    PreDeploymentCheck,
    /// Removed.
    Uninstall,
    /// Offered, and installed if the user wants it.
    OptionalInstall,
    /// Installed.
    Install,
}

impl Action {
    /// All of them, the weakest first.
    pub const ALL: [Self; 7] = [
        Self::Evaluate,
        Self::Bundle,
        Self::Block,
        Self::PreDeploymentCheck,
        Self::Uninstall,
        Self::OptionalInstall,
        Self::Install,
    ];

    /// The word of the protocol.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Evaluate => "Evaluate",
            Self::Bundle => "Bundle",
            Self::Block => "Block",
            Self::PreDeploymentCheck => "PreDeploymentCheck",
            Self::Uninstall => "Uninstall",
            Self::OptionalInstall => "OptionalInstall",
            Self::Install => "Install",
        }
    }

    /// The action of a word of the protocol.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.word() == word)
    }

    /// What a client is told: what is not approved is detected and not more.
    #[must_use]
    pub const fn sent(self) -> Self {
        match self {
            Self::Block => Self::PreDeploymentCheck,
            other => other,
        }
    }

    /// Whether a person can ask for it; the others follow from relations.
    pub const fn is_ordered(self) -> bool {
        !matches!(self, Self::Evaluate | Self::Bundle)
    }

    /// Whether something is to change on the endpoint: only then a deadline means something.
    pub const fn is_change(self) -> bool {
        matches!(self, Self::Install | Self::OptionalInstall | Self::Uninstall)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A day of the calendar in UTC: all that clients are told of when a deployment changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Day(u32);

/// Milliseconds of one.
const DAY_MS: u64 = 86_400_000;

impl From<Timestamp> for Day {
    fn from(time: Timestamp) -> Self {
        Self(u32::try_from(time.ms() / DAY_MS).unwrap_or(u32::MAX))
    }
}

impl Day {
    /// Days since 1970-01-01.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// When it begins.
    pub fn begin(self) -> Timestamp {
        Timestamp::from_ms(u64::from(self.0) * DAY_MS)
    }
}

impl fmt::Display for Day {
    /// `2026-10-04`; beyond the end of the calendar the last day of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.begin().to_string();
        f.write_str(text.get(..10).filter(|day| day.as_bytes().get(4) == Some(&b'-')).unwrap_or("9999-12-31"))
    }
}

/// What a client is told of one revision beside its metadata. It stands on every revision that is sent: an agent fails the scan where
/// it is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// A number of its own for it; that of the revision serves, since there is one deployment of a revision for each client.
    pub id: u32,
    /// What to do.
    pub action: Action,
    /// Until when.
    pub deadline: Option<Timestamp>,
    /// The day of the last change.
    pub changed: Day,
}

/// An endpoint, by the id that its agent gave itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Endpoint(pub UpdateId);

/// Whom an approval is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Target {
    /// A group, and what stands below it unless something nearer says otherwise.
    Group(Group),
    /// One endpoint.
    Endpoint(Endpoint),
}

/// What was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// Do this, until then.
    Do {
        /// What; one that [`Action::is_ordered`] and is not `Block`.
        action: Action,
        /// Until when, for what [`Action::is_change`].
        deadline: Option<Timestamp>,
    },
    /// It is not approved here, whatever a group above says.
    NotApproved,
    /// What was said is withdrawn: the group above counts again. Kept, since clients must hear that something changed.
    Inherit,
}

/// What somebody said of an update for a group or an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Which update, in whichever revision counts.
    pub update: UpdateId,
    /// For whom.
    pub target: Target,
    /// What.
    pub said: Said,
    /// Who said so.
    pub by: String,
    /// When, by the logical clock.
    pub at: Timestamp,
}

/// Why an approval is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It cannot be approved.
    #[error("{0} cannot be approved by itself: it is a part of others; approve the bundle that it belongs to")]
    NotDeployable(UpdateId),
    /// Nobody can ask for that.
    #[error("{0} is nothing that can be asked for; approve for install, optional-install, uninstall or detect-only")]
    NotOrdered(Action),
    /// It cannot be removed.
    #[error("the update {0} cannot be removed again: its metadata has no way to do so")]
    NotRemovable(UpdateId),
    /// A deadline that has passed.
    #[error("the deadline {0} has passed; choose a later one, or none")]
    Past(Timestamp),
    /// A deadline for what does nothing.
    #[error("{0} has no deadline: nothing is installed or removed by it")]
    NoDeadline(Action),
    /// A deadline for what may ask the user.
    #[error("the update {0} may ask the user something, so that it cannot be installed by a deadline; leave it out")]
    AsksUser(UpdateId),
}

impl Said {
    /// Whether this can be said of an update now. `removable` and `asks_user` are those of all that it bundles
    /// ([`crate::model::relations::Whole`]).
    pub fn check(self, update: &Update, removable: bool, asks_user: bool, now: Timestamp) -> Result<(), Error> {
        let id = update.identity.id;
        if !update.deployable {
            return Err(Error::NotDeployable(id));
        }
        let Self::Do { action, deadline } = self else { return Ok(()) };
        if !action.is_ordered() || action == Action::Block {
            return Err(Error::NotOrdered(action));
        }
        if action == Action::Uninstall && !removable {
            return Err(Error::NotRemovable(id));
        }
        match deadline {
            Some(_) if !action.is_change() => Err(Error::NoDeadline(action)),
            Some(deadline) if deadline <= now => Err(Error::Past(deadline)),
            Some(_) if asks_user => Err(Error::AsksUser(id)),
            _ => Ok(()),
        }
    }
}

/// How far the review of an update has come, where a company asks for one before it is released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Review {
    /// Nobody has released it.
    #[default]
    Held,
    /// It is tried out: in the groups that are there for that.
    InTest,
    /// For everyone.
    Released,
}

impl Review {
    /// Whether what is approved for a group takes effect there. `is_test`: the group is there for trying things out.
    pub const fn lets(self, is_test: bool) -> bool {
        match self {
            Self::Held => false,
            Self::InTest => is_test,
            Self::Released => true,
        }
    }
}

/// A step of a review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reviewed {
    /// What it is now.
    pub review: Review,
    /// By whom.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Since when it lets groups that are there for trying out, without a break.
    pub in_test: Option<Timestamp>,
    /// Since when it lets all, without a break.
    pub released: Option<Timestamp>,
}

impl Reviewed {
    /// A step that comes after `before`: what it goes on to let has been let since then.
    pub fn step(before: Option<&Self>, review: Review, by: String, at: Timestamp) -> Self {
        let since = |is_test, of: fn(&Self) -> Option<Timestamp>| {
            review.lets(is_test).then(|| before.and_then(of).unwrap_or(at))
        };
        Self { review, by, at, in_test: since(true, |old| old.in_test), released: since(false, |old| old.released) }
    }

    /// Since when what is approved for a group takes effect there; `None` while it does not.
    pub const fn since(&self, is_test: bool) -> Option<Timestamp> {
        if is_test { self.in_test } else { self.released }
    }
}

/// Somebody accepted a licence for all endpoints. An act of its own: an approval does not imply it, and without it an update
/// that needs it is detected and not offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// Which licence.
    pub eula: UpdateId,
    /// Who.
    pub by: String,
    /// When, by the logical clock.
    pub at: Timestamp,
}

#[cfg(test)]
#[path = "deployment/tests.rs"]
mod tests;
