//! Content policy: which files of which updates are brought before an endpoint asks for them. Pure.
//!
//! 1. What somebody [`Written`] down, classifications by name, becomes a [`Policy`] of ids in the tree of the catalog.
//! 2. [`Policy::decide`] says of the [`Facts`] of one update what is wanted of it, and why. A bundle is judged as a whole: files of
//!    what it consists of are wanted because it is.
//! 3. Where only what was asked for is wanted, [`likeness`] says which file of a new update is like one that was.
//!
//! A person's word stands above what is automatic, but for what was withdrawn: nobody should install that any more. The mode
//! `metadata` means no files at all, approved or not. Endpoints read express, PSF and UUP files in parts; a bundle that has such
//! files is fetched ahead as `asked` has it, whatever the mode, unless it was approved with all its files.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::model::update::{Severity, UpdateId};

mod files;
mod written;

pub use files::{is_in_languages, is_read_in_parts, likeness};
pub use written::{RULES_MAX, Rule, Unresolved, Written};

/// How much more than was confirmed is still taken for it: half as much again ...
const GROWTH_SHARE: u64 = 2;
/// ... and at least this much, so that a small site is not asked each month.
const GROWTH_MIN: u64 = 10 << 30;

/// Which files are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// None.
    Metadata,
    /// Those of updates that a person approved.
    #[default]
    Approved,
    /// These, and of the others those that an endpoint has asked for, or ones like them.
    Asked,
    /// These, and those of updates that are at least so severe.
    Severity,
    /// All that the filters find. Counts only once it was confirmed.
    All,
}

impl Mode {
    /// All of them, the narrowest first.
    pub const EVERY: [Self; 5] = [Self::Metadata, Self::Approved, Self::Asked, Self::Severity, Self::All];

    /// The word in settings, verbs and the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Approved => "approved",
            Self::Asked => "asked",
            Self::Severity => "severity",
            Self::All => "all",
        }
    }

    /// The mode of a word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|mode| mode.word().eq_ignore_ascii_case(word.trim()))
    }
}

/// The severities that a level can be, with their words.
const LEVELS: [(Severity, &str); 4] = [
    (Severity::Low, "low"),
    (Severity::Moderate, "moderate"),
    (Severity::Important, "important"),
    (Severity::Critical, "critical"),
];

/// The severity of a word; what the vendor did not rate is no level.
pub fn level_of_word(word: &str) -> Option<Severity> {
    LEVELS.into_iter().find(|(_, known)| known.eq_ignore_ascii_case(word.trim())).map(|(level, _)| level)
}

/// The word of a severity.
pub fn level_word(level: Severity) -> &'static str {
    LEVELS.into_iter().find(|(known, _)| *known == level).map_or("unspecified", |(_, word)| word)
}

/// A mode, and the level that it has where it is `severity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The mode.
    pub mode: Mode,
    /// The least severity.
    pub level: Severity,
}

impl Choice {
    /// Whether this keeps anything out that the other one lets through. Neither of `asked` and `severity` has all of the other.
    pub fn keeps_out_of(self, other: Self) -> bool {
        match (self.mode, other.mode) {
            (Mode::Severity, Mode::Severity) => self.level > other.level,
            (Mode::Severity, Mode::Asked) => true,
            (own, other) => own < other,
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mode.word())?;
        if self.mode == Mode::Severity {
            write!(f, " {}", level_word(self.level))?;
        }
        Ok(())
    }
}

/// A policy in ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What holds where no rule says otherwise.
    pub choice: Choice,
    /// What holds for a classification.
    pub rules: BTreeMap<UpdateId, Choice>,
    /// Withdrawn updates are declined by themselves.
    pub decline_expired: bool,
    /// So are those that something newer does the work of.
    pub decline_superseded: bool,
    /// Whether the mode `all` was confirmed. Until then it is as `asked`.
    pub confirmed: bool,
}

/// Whom a decision is for. Later these are the groups of a tree; the one that is known stands at its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Group(pub UpdateId);

impl Group {
    /// All endpoints: the id that WSUS servers have for "All Computers" (MS-WSUSSS 2.2.2.2.12).
    pub const ALL_ENDPOINTS: Self = Self(UpdateId::new([
        0xa0, 0xa0, 0x87, 0x46, 0x4d, 0xbe, 0x4a, 0x37, 0x9a, 0xdf, 0x9e, 0x76, 0x52, 0xc0, 0xb4, 0x21,
    ]));
}

/// What a person said of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// It may be installed: its files are wanted.
    Approved,
    /// It may not: they are not.
    Declined,
}

impl Word {
    /// The word in verbs and the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Declined => "declined",
        }
    }
}

/// A decision of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What.
    pub word: Word,
    /// Approved with all files, those too of which endpoints read parts.
    pub all_files: bool,
    /// Something newer did the same already when it was approved: whoever did knew, and the approval stands. One that came to be
    /// superseded later is declined automatically as others are.
    pub though_superseded: bool,
    /// By whom.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, in the person's words; may be empty.
    pub why: String,
}

/// What is known of one update.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and they combine")]
pub struct Facts<'a> {
    /// How bad what it mends is.
    pub severity: Severity,
    /// Its categories; classifications are among them.
    pub categories: &'a [UpdateId],
    /// Whether the filters find it, or there are none.
    pub in_filters: bool,
    /// It contradicts itself or what a better source says.
    pub refused: bool,
    /// It was withdrawn.
    pub expired: bool,
    /// Something newer does the same.
    pub superseded: bool,
    /// It has files that endpoints read in parts.
    pub has_parts: bool,
    /// Endpoints miss it, and it was let in for that reason ([`crate::model::drawn`]).
    pub drawn: bool,
    /// What a person said.
    pub decision: Option<&'a Decision>,
}

/// How much of an update's files is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wants {
    /// None.
    Nothing,
    /// Those that an endpoint asked for, or ones like them.
    Asked,
    /// All.
    Everything,
}

impl Wants {
    /// The word in the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Asked => "asked",
            Self::Everything => "everything",
        }
    }
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It is refused: not taken, or held and not offered.
    Refused,
    /// A person declined it.
    Declined,
    /// It is expired: declined automatically.
    Expired,
    /// Something newer does the same: declined automatically.
    Superseded,
    /// No files are wanted at all.
    Metadata,
    /// A person approved it.
    Approved,
    /// A person approved it, and endpoints read parts of its files.
    ApprovedParts,
    /// The filters do not find it: it is there because another update needs it, or they were others.
    BeyondFilters,
    /// Nobody approved it.
    NotApproved,
    /// It is severe enough.
    Severity,
    /// It is not.
    BelowSeverity,
    /// Everything is wanted.
    All,
    /// Everything would be, but nobody has confirmed that.
    Unconfirmed,
    /// What was asked for is wanted.
    Asked,
    /// Endpoints that are established miss it.
    Missed,
    /// It would be wanted whole, but endpoints read parts of its files.
    Parts,
}

impl Why {
    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Refused => "it is refused",
            Self::Declined => "it was declined",
            Self::Expired => "it is expired (content.decline_expired)",
            Self::Superseded => "something newer does the same (content.decline_superseded)",
            Self::Metadata => "the policy is metadata: no files are fetched ahead",
            Self::Approved => "it was approved",
            Self::ApprovedParts => {
                "it was approved; endpoints read its express, PSF or UUP files in parts, so that they come when asked for \
                 (approve it with --all-files to have all)"
            }
            Self::BeyondFilters => "the filters do not find it, and nobody has approved it",
            Self::NotApproved => "nobody has approved it",
            Self::Severity => "it is severe enough for the policy",
            Self::BelowSeverity => "it is not severe enough for the policy, and nobody has approved it",
            Self::All => "the policy is all",
            Self::Unconfirmed => "the policy all is not confirmed (`waystation plan --confirm`)",
            Self::Asked => "the policy is asked: files that endpoints have asked for, and ones like them",
            Self::Missed => "endpoints miss it, and it is severe enough (content.detected)",
            Self::Parts => {
                "endpoints read its express, PSF or UUP files in parts, so that they come when asked for (approve it with \
                 --all-files to have all)"
            }
        }
    }
}

/// What is wanted of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How much.
    pub wants: Wants,
    /// Why.
    pub why: Why,
}

impl Policy {
    /// What holds for an update of these categories. Of several rules the one that brings most.
    pub fn choice_for(&self, categories: &[UpdateId]) -> Choice {
        let ruled = categories.iter().filter_map(|id| self.rules.get(id).copied());
        ruled.max_by_key(|choice| (choice.mode, std::cmp::Reverse(choice.level))).unwrap_or(self.choice)
    }

    /// The same for one classification, and nothing of all others.
    #[must_use]
    pub fn only(&self, classification: UpdateId) -> Self {
        let choice = self.choice_for(&[classification]);
        let nothing = Choice { mode: Mode::Metadata, ..self.choice };
        Self { choice: nothing, rules: BTreeMap::from([(classification, choice)]), ..self.clone() }
    }

    /// Whether an update in this state is declined automatically, and why; a person's word is not looked at.
    pub fn declines(&self, expired: bool, superseded: bool) -> Option<Why> {
        match (expired && self.decline_expired, superseded && self.decline_superseded) {
            (true, _) => Some(Why::Expired),
            (false, true) => Some(Why::Superseded),
            (false, false) => None,
        }
    }

    /// What is wanted of an update.
    pub fn decide(&self, facts: &Facts<'_>) -> Verdict {
        let nothing = |why| Verdict { wants: Wants::Nothing, why };
        if facts.refused {
            return nothing(Why::Refused);
        }
        let said = facts.decision.map(|decision| decision.word);
        if said == Some(Word::Declined) {
            return nothing(Why::Declined);
        }
        let stands = facts.decision.is_some_and(|decision| decision.though_superseded);
        if let Some(why) = self.declines(facts.expired, facts.superseded && !stands) {
            return nothing(why);
        }
        let choice = self.choice_for(facts.categories);
        if choice.mode == Mode::Metadata {
            return nothing(Why::Metadata);
        }
        if let Some(decision) = facts.decision {
            return if facts.has_parts && !decision.all_files {
                Verdict { wants: Wants::Asked, why: Why::ApprovedParts }
            } else {
                Verdict { wants: Wants::Everything, why: Why::Approved }
            };
        }
        let why = match choice.mode {
            Mode::Metadata => return nothing(Why::Metadata),
            // What comes for a reason of the policy's own comes for that.
            Mode::Severity if facts.in_filters && facts.severity >= choice.level => Why::Severity,
            Mode::All if facts.in_filters && self.confirmed => Why::All,
            _ if facts.drawn && facts.in_filters => Why::Missed,
            Mode::Approved => return nothing(Why::NotApproved),
            _ if !facts.in_filters => return nothing(Why::BeyondFilters),
            Mode::Asked => return Verdict { wants: Wants::Asked, why: Why::Asked },
            Mode::Severity => return nothing(Why::BelowSeverity),
            Mode::All => return Verdict { wants: Wants::Asked, why: Why::Unconfirmed },
        };
        if facts.has_parts {
            Verdict { wants: Wants::Asked, why: Why::Parts }
        } else {
            Verdict { wants: Wants::Everything, why }
        }
    }
}

/// Whether what is wanted by now is so much more than what was confirmed that it must be confirmed again: more than half as much
/// again, and more than 10 GiB more. Bytes.
pub fn outgrows(confirmed: u64, now: u64) -> bool {
    now > confirmed.saturating_add((confirmed / GROWTH_SHARE).max(GROWTH_MIN))
}

#[cfg(test)]
#[path = "policy/tests.rs"]
mod tests;
