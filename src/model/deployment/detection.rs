//! The scope of detection: which updates are sent although nobody decided anything, so that what is missing is known before
//! anything is approved. A client that evaluates an update reports whether it needs it; each one costs it and this node something
//! at its first scan, so the rules bound them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::model::deployment::Day;
use crate::model::update::{Kind, UpdateId};

/// What is detected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detection {
    /// Products of which updates are; none given: all.
    pub products: BTreeSet<UpdateId>,
    /// Classifications of which updates are; none given: all.
    pub classifications: BTreeSet<UpdateId>,
    /// The greatest age in days; none given: any.
    pub days: Option<u32>,
}

/// What is known of an update.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and they combine")]
pub struct Candidate<'a> {
    /// What it is.
    pub kind: Kind,
    /// It can be approved by itself.
    pub deployable: bool,
    /// It must not be offered.
    pub refused: bool,
    /// It was withdrawn.
    pub expired: bool,
    /// Something newer that is offered does the same.
    pub superseded: bool,
    /// Its products and classifications.
    pub categories: &'a [UpdateId],
    /// The day that it was made, as published.
    pub created: Option<Day>,
}

impl Detection {
    /// Whether an undecided update is detected, today. One that does not say when it was made is as young as can be.
    pub fn takes(&self, update: &Candidate<'_>, now: Timestamp) -> bool {
        let of = |wanted: &BTreeSet<UpdateId>| {
            wanted.is_empty() || update.categories.iter().any(|category| wanted.contains(category))
        };
        let oldest = self.days.map(|days| Day::from(now).number().saturating_sub(days));
        update.kind == Kind::Software
            && update.deployable
            && !(update.refused || update.expired || update.superseded)
            && of(&self.products)
            && of(&self.classifications)
            && update.created.is_none_or(|day| oldest.is_none_or(|oldest| day.number() >= oldest))
    }
}
