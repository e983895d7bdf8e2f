//! What a look at the rules comes to.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::time::Timestamp;
use crate::model::deployment::rules::{Step, Tried};
use crate::model::policy::Group;
use crate::store::approvals::Tree;
use crate::store::catalog::Summary;
use crate::store::rules::{Act, Kept, Progress};

/// Why what is approved is not offered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waits {
    /// Nobody accepted its licence.
    Licence,
    /// A group asks for a review, which does not let it through.
    Review,
}

impl Waits {
    /// The word for people and scripts, as of approvals.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Licence => "licence",
            Self::Review => "review",
        }
    }
}

/// An update that a rule is at.
#[derive(Clone, Debug)]
pub struct Row {
    /// The update.
    pub short: Summary,
    /// What comes next.
    pub step: Step,
    /// How far the rule had come; `None` where it has not begun.
    pub before: Option<Progress>,
    /// Of each ring since when it is to install it, by whomever; `None` where it is not.
    pub has: Vec<Option<Timestamp>>,
    /// What keeps the ring that has it last, or gets it now, from being offered it.
    pub waits: BTreeSet<Waits>,
    /// What was reported by the rings that have it.
    pub tried: Tried,
    /// Who said something else, where the rule is held by that.
    pub held_by: Option<String>,
    /// What is written for it, where anything is.
    pub act: Option<Act>,
}

/// What one rule is at.
#[derive(Clone, Debug)]
pub struct Of {
    /// The rule.
    pub kept: Kept,
    /// Its rings whose groups are gone: it does nothing before that is mended.
    pub lost: Vec<Group>,
    /// Updates that are not done, the newest first.
    pub rows: Vec<Row>,
    /// Updates that all rings have.
    pub done: u64,
    /// What is to be forgotten: updates that the catalog does not have any more.
    pub(super) gone: Vec<Act>,
}

impl Of {
    pub(super) fn new(kept: Kept) -> Self {
        Self { kept, lost: vec![], rows: vec![], done: 0, gone: vec![] }
    }

    /// What is to be written.
    pub(super) fn acts(&self) -> impl Iterator<Item = &Act> {
        self.rows.iter().filter_map(|row| row.act.as_ref()).chain(&self.gone)
    }
}

/// What all rules are at.
#[derive(Clone, Debug)]
pub struct Looked {
    /// When it was looked.
    pub at: Timestamp,
    /// The groups by which it was made out.
    pub tree: Arc<Tree>,
    /// By rule.
    pub rules: Vec<Of>,
    /// When the next ring is due of which that is known.
    pub next: Option<Timestamp>,
}

impl Looked {
    /// Whether there is anything to write.
    pub fn is_due(&self) -> bool {
        self.rules.iter().filter(|of| of.kept.rule.enabled).any(|of| of.acts().next().is_some())
    }
}
