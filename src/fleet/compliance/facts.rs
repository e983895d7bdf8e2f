//! What is to be known of an update to say whether an endpoint that lacks it lacks anything. Pure.

use crate::base::time::Timestamp;
use crate::model::update::{Severity, UpdateId};

/// What licences of an update, and of all that it bundles, say to its being installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Licence {
    /// There is none.
    #[default]
    None,
    /// One must be accepted: until then it is detected, and not offered.
    Required,
    /// There are some, and all were accepted.
    Accepted,
}

impl Licence {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Required, Self::Accepted];

    /// The word for people and scripts.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Required => "required",
            Self::Accepted => "accepted",
        }
    }
}

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
    /// Something that does is to be installed somewhere.
    pub replaced: bool,
    /// It is to be installed somewhere itself.
    pub approved: bool,
    /// Somebody declined it for all endpoints.
    pub declined: bool,
    /// Its licences, with those of all that it bundles.
    pub eulas: Box<[UpdateId]>,
    /// What became of these.
    pub licence: Licence,
}

impl Facts {
    /// Whether an endpoint that needs it lacks something: it is there, and nothing and nobody says that it is not to be installed.
    /// What nobody decided counts, so that compliance is known before anything is approved. What is superseded counts as long as nothing that
    /// takes its place is approved, since until then it is what there is; and where it is approved itself.
    pub const fn counts(&self) -> bool {
        self.revision.is_some()
            && self.deployable
            && !(self.expired || self.refused || self.declined)
            && (self.approved || !(self.superseded && self.replaced))
    }
}
