//! What is to be known of an update to say whether an endpoint that lacks it lacks anything. Pure.

use crate::base::time::Timestamp;
use crate::model::update::{Severity, UpdateId};

/// What the catalog says of an update, and what people decided of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and they combine")]
pub struct Facts {
    /// The number of the revision that counts; `None` where the catalog has none any more.
    pub revision: Option<u32>,
    /// The logical clock of that revision's last change.
    pub changed: u64,
    /// How bad what it mends is.
    pub severity: Severity,
    /// When it was made, as published.
    pub created: Option<Timestamp>,
    /// Its products, families and classifications.
    pub categories: Box<[UpdateId]>,
    /// What it makes superfluous.
    pub supersedes: Box<[UpdateId]>,
    /// It can be approved by itself.
    pub deployable: bool,
    /// It was withdrawn.
    pub expired: bool,
    /// It must not be offered.
    pub refused: bool,
    /// Something newer does the same.
    pub superseded: bool,
    /// Somebody declined it for all endpoints.
    pub declined: bool,
    /// A licence must be accepted first.
    pub eula: bool,
}

impl Facts {
    /// Whether an endpoint that needs it lacks something: it is there, and nothing and nobody says that it is not to be installed.
    /// What nobody decided counts, so that compliance is known before anything is approved.
    pub const fn counts(&self) -> bool {
        self.revision.is_some()
            && self.deployable
            && !(self.expired || self.refused || self.superseded || self.declined)
    }
}
