//! A policy as somebody wrote it, with classifications by name, and what it means in the tree of a catalog. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::filter::{Error, NEAR_FOR_MAX, Tree};
use crate::model::policy::{Choice, Mode, Policy, level_of_word, level_word};
use crate::model::update::{Severity, UpdateId};

/// Rules of one policy: a real catalog has 19 classifications, and nobody writes a longer list.
pub const RULES_MAX: usize = 200;

/// A rule as it is written: `Definition Updates: all`, `Security Updates: severity important`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Name or id of a classification.
    pub classification: String,
    /// What holds for it.
    pub mode: Mode,
    /// The level of `severity`, where it is not the node's.
    pub level: Option<Severity>,
}

impl std::str::FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (classification, choice) =
            text.rsplit_once(':').ok_or_else(|| format!("{text:?} has no colon between classification and mode"))?;
        let mut words = choice.split_whitespace();
        let word = words.next().unwrap_or_default();
        let mode = Mode::of_word(word)
            .ok_or_else(|| format!("{word:?} is none of metadata, approved, asked, severity and all"))?;
        let level = match words.next() {
            None => None,
            Some(word) if mode == Mode::Severity => Some(
                level_of_word(word)
                    .ok_or_else(|| format!("{word:?} is none of low, moderate, important and critical"))?,
            ),
            Some(word) => return Err(format!("{word:?} behind {}: only severity has a level", mode.word())),
        };
        if classification.trim().is_empty() || words.next().is_some() {
            return Err(format!("{text:?} is not a classification, a colon, and a mode"));
        }
        Ok(Self { classification: classification.trim().to_owned(), mode, level })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.classification, self.mode.word())?;
        self.level.map_or(Ok(()), |level| write!(f, " {}", level_word(level)))
    }
}

/// A rule that names no classification of the catalog, or several, and is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// The rule.
    pub rule: Rule,
    /// Why, with what may have been meant.
    pub error: Error,
    /// Whether it would keep out what comes without it.
    pub keeps_out: bool,
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the rule \"{}\": {}", self.rule, self.error)
    }
}

/// A policy as somebody wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// What holds where no rule says otherwise.
    pub choice: Choice,
    /// What holds for single classifications.
    pub rules: Vec<Rule>,
    /// Withdrawn updates are declined by themselves.
    pub decline_expired: bool,
    /// So are those that something newer does the work of.
    pub decline_superseded: bool,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            choice: Choice { mode: Mode::default(), level: Severity::Critical },
            rules: Vec::new(),
            decline_expired: true,
            decline_superseded: true,
        }
    }
}

impl Written {
    /// Whether the mode `all` stands anywhere in it, so that it wants to be confirmed.
    pub fn has_all(&self) -> bool {
        self.choice.mode == Mode::All || self.rules.iter().any(|rule| rule.mode == Mode::All)
    }

    /// The same of what is in force: where these rules are left out, what they say counts for nothing.
    pub fn has_all_but(&self, left_out: &[Unresolved]) -> bool {
        let counts = |rule: &Rule| !left_out.iter().any(|wrong| wrong.rule == *rule);
        self.choice.mode == Mode::All || self.rules.iter().any(|rule| rule.mode == Mode::All && counts(rule))
    }

    /// Whether both mean the same: a level that nothing goes by makes no difference.
    pub fn means(&self, other: &Self) -> bool {
        self.terms() == other.terms()
    }

    /// Whether anything goes by the level of the policy itself.
    pub fn has_level(&self) -> bool {
        let own = |rule: &Rule| rule.mode == Mode::Severity && rule.level.is_none();
        self.choice.mode == Mode::Severity || self.rules.iter().any(own)
    }

    /// What a rule of it says.
    fn choice_of(&self, rule: &Rule) -> Choice {
        Choice { mode: rule.mode, level: rule.level.unwrap_or(self.choice.level) }
    }

    /// What somebody agrees to who agrees to `all`: the policy, its rules, and what is not declined automatically, in a form that is
    /// the same for the same meaning, whatever their order and case.
    pub fn terms(&self) -> String {
        // The later one counts, as in force.
        let rules: BTreeMap<String, Choice> =
            self.rules.iter().map(|rule| (rule.classification.to_lowercase(), self.choice_of(rule))).collect();
        let mut terms = self.choice.to_string();
        for (is_declined, what) in [(self.decline_expired, "expired"), (self.decline_superseded, "superseded")] {
            if !is_declined {
                terms.push_str("\nnot declined: ");
                terms.push_str(what);
            }
        }
        for (classification, choice) in rules {
            terms.push('\n');
            terms.push_str(&choice.to_string());
            terms.push_str(": ");
            terms.push_str(&classification);
        }
        terms
    }

    /// The policy that is meant. An id that the tree does not know stays, since the catalog that has it may be yet to come; a name
    /// that it does not know is left out and told.
    pub fn in_force(&self, tree: &Tree) -> (Policy, Vec<Unresolved>) {
        let (mut rules, mut wrong) = (BTreeMap::<UpdateId, Choice>::new(), Vec::new());
        for rule in self.rules.iter().take(RULES_MAX) {
            let choice = self.choice_of(rule);
            match tree.classification_or(&rule.classification, wrong.len() < NEAR_FOR_MAX) {
                // The later one counts, as in any list of settings.
                Ok(id) | Err(Error::UnknownId { id, .. }) => drop(rules.insert(id, choice)),
                Err(error) => {
                    let keeps_out = choice.keeps_out_of(self.choice);
                    wrong.push(Unresolved { rule: rule.clone(), error, keeps_out });
                }
            }
        }
        let policy = Policy {
            choice: self.choice,
            rules,
            decline_expired: self.decline_expired,
            decline_superseded: self.decline_superseded,
            confirmed: false,
        };
        (policy, wrong)
    }
}
