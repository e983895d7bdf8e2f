//! Rules that approve by themselves, ring by ring: a pilot first, the others some days later, and no further where too many of those that
//! tried it failed. Pure: what there is, what was released and what came of it goes in, the next step comes out.
//!
//! 1. A rule takes what is offered, needs nothing newer in its place, and is of its classifications, products and severity. Upgrades and
//!    drivers are in no rule that does not name them.
//! 2. Its first ring gets an update when that is so many days old, each further one so many days after the one before it got it.
//! 3. Before a further ring comes what the rings before it reported: where enough established machines tried it and more than
//!    so many of a hundred failed, the rule stops there. It goes on when fewer fail, or when a person says so.
//! 4. What a person said stands: a rule says nothing for whom somebody said something already.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::model::deployment::Day;
use crate::model::filter::known;
use crate::model::policy::Group;
use crate::model::update::{Kind, Severity, UpdateId};

/// Rules of one node: each is asked of every update that is offered.
pub const RULES_MAX: usize = 64;
/// Rings of one rule.
pub const RINGS_MAX: usize = 8;
/// Characters of a rule's name.
pub const NAME_MAX: usize = 64;
/// The most days anywhere in a rule: a year.
pub const DAYS_MAX: u32 = 366;
/// Days after its first contact from which a machine counts for stopping a rule: what appears in order to be counted has to wait.
pub const ESTABLISHED_DAYS: u32 = 7;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name; unique in any case.
    pub name: String,
    /// Whether it does anything.
    pub enabled: bool,
    /// What it is about.
    pub takes: Takes,
    /// For whom, in which order; at least one.
    pub rings: Vec<Ring>,
    /// When it goes no further.
    pub stop: Option<Stop>,
    /// Days after a release by which it is to be installed.
    pub deadline: Option<u32>,
}

/// What a rule is about; what is empty leaves nothing out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takes {
    /// Of one of these classifications.
    pub classifications: BTreeSet<UpdateId>,
    /// For one of these products, families or companies.
    pub products: BTreeSet<UpdateId>,
    /// At least as severe.
    pub severity: Severity,
}

/// One ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    /// For whom.
    pub target: Group,
    /// Days after the ring before it, of the first one after the day the update is of.
    pub after: u32,
}

/// When a rule goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Where more than so many of a hundred failed.
    pub percent: u8,
    /// Of at least so many established machines that tried.
    pub sample: u32,
}

/// An update as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its categories, with what stands above them.
    pub categories: &'a [UpdateId],
    /// How severe.
    pub severity: Severity,
    /// The day that it is of; `None` where it does not say, and then it is old enough.
    pub day: Option<Day>,
    /// It can be approved, and is neither declined, expired nor superseded.
    pub is_offered: bool,
}

/// What a rule did with an update so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// When each ring got it, the first one first.
    pub released: Vec<Timestamp>,
    /// How many failures a person saw when they said that it goes on all the same.
    pub overruled: Option<u32>,
}

/// What established machines of the rings so far reported of an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Installed it, or wait for a restart.
    pub installed: u32,
    /// Failed.
    pub failed: u32,
}

/// What a rule does next with an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is not about it.
    Passes,
    /// Nothing before then.
    Waits {
        /// The ring that comes next.
        ring: usize,
        /// When.
        until: Timestamp,
    },
    /// Too many failed.
    Stopped {
        /// The ring that would come next.
        ring: usize,
        /// What was reported.
        tried: Tried,
    },
    /// A ring gets it now.
    Releases {
        /// Which.
        ring: usize,
        /// By when it is to be installed.
        deadline: Option<Timestamp>,
    },
    /// All rings have it.
    Done,
}

/// Why a rule is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its name.
    #[error("{0:?} cannot be the name of a rule: 1 to {NAME_MAX} characters, no control character")]
    Name(String),
    /// It has no rings, or too many.
    #[error("the rule {name:?} has {many} rings; it can have 1 to {RINGS_MAX}")]
    Rings {
        /// Which rule.
        name: String,
        /// How many.
        many: usize,
    },
    /// A group that stands in it twice.
    #[error("the rule {0:?} names a group twice: each ring is another one")]
    Twice(String),
    /// Days beyond a year.
    #[error("the rule {name:?} waits {days} days; {DAYS_MAX} are the most")]
    Days {
        /// Which rule.
        name: String,
        /// How many.
        days: u32,
    },
    /// A deadline on the day of the release.
    #[error("the rule {0:?} has a deadline of no days: machines have to hear of it before; write 1 or more")]
    Deadline(String),
    /// A stop that never is, or always.
    #[error(
        "the rule {name:?} stops above {percent} percent of {sample} machines; write 0 to 99 percent of at least one"
    )]
    Stop {
        /// Which rule.
        name: String,
        /// Percent.
        percent: u8,
        /// Machines.
        sample: u32,
    },
}

impl Rule {
    /// The ready-made rule for what comes on the second Tuesday of a month: security updates, critical updates and rollups; the pilot at
    /// once, each further ring a week after the one before it, and no further where more than a tenth of at least ten machines failed.
    pub fn patch_tuesday(rings: &[Group]) -> Self {
        let weekly =
            rings.iter().enumerate().map(|(at, target)| Ring { target: *target, after: if at == 0 { 0 } else { 7 } });
        Self {
            name: "Patch Tuesday".to_owned(),
            enabled: true,
            takes: Takes {
                classifications: [known::SECURITY_UPDATES, known::CRITICAL_UPDATES, known::UPDATE_ROLLUPS].into(),
                ..Takes::default()
            },
            rings: weekly.collect(),
            stop: Some(Stop { percent: 10, sample: 10 }),
            deadline: None,
        }
    }

    /// The ready-made rule for definition updates: at once, for everyone in a group.
    pub fn definitions(target: Group) -> Self {
        Self {
            name: "Definition updates".to_owned(),
            enabled: true,
            takes: Takes { classifications: [known::DEFINITION_UPDATES].into(), ..Takes::default() },
            rings: vec![Ring { target, after: 0 }],
            stop: None,
            deadline: None,
        }
    }

    /// Whether it can be one.
    pub fn check(&self) -> Result<(), Error> {
        let name = || self.name.chars().take(NAME_MAX).collect::<String>();
        let len = self.name.chars().count();
        if len == 0 || len > NAME_MAX || self.name.trim() != self.name || self.name.contains(char::is_control) {
            return Err(Error::Name(name()));
        }
        if self.rings.is_empty() || self.rings.len() > RINGS_MAX {
            return Err(Error::Rings { name: name(), many: self.rings.len() });
        }
        if self.rings.iter().map(|ring| ring.target).collect::<BTreeSet<_>>().len() < self.rings.len() {
            return Err(Error::Twice(name()));
        }
        let days = self.rings.iter().map(|ring| ring.after).chain(self.deadline);
        if let Some(days) = days.max().filter(|days| *days > DAYS_MAX) {
            return Err(Error::Days { name: name(), days });
        }
        if self.deadline == Some(0) {
            return Err(Error::Deadline(name()));
        }
        match self.stop {
            Some(Stop { percent, sample }) if percent > 99 || sample == 0 => {
                Err(Error::Stop { name: name(), percent, sample })
            }
            _ => Ok(()),
        }
    }

    /// Whether it is about an update.
    pub fn takes(&self, update: &Candidate<'_>) -> bool {
        let Takes { classifications, products, severity } = &self.takes;
        let names = |wanted: &BTreeSet<UpdateId>| update.categories.iter().any(|category| wanted.contains(category));
        let is_special = update.kind == Kind::Driver
            || update.categories.contains(&known::UPGRADES)
            || update.categories.contains(&known::DRIVERS);
        let of_classification = if classifications.is_empty() { !is_special } else { names(classifications) };
        self.enabled
            && update.is_offered
            && of_classification
            && (products.is_empty() || names(products))
            && update.severity >= *severity
    }

    /// What it does next with an update. `tried` is of all rings that have it.
    pub fn step(&self, update: &Candidate<'_>, progress: &Progress, tried: Tried, now: Timestamp) -> Step {
        if !self.takes(update) {
            return Step::Passes;
        }
        let at = progress.released.len();
        let Some(ring) = self.rings.get(at) else { return Step::Done };
        let from = match progress.released.last() {
            Some(released) => Some(*released),
            None => update.day.map(Day::begin),
        };
        let until = from.map(|from| Timestamp::from_ms(from.ms().saturating_add(u64::from(ring.after) * DAY_MS)));
        if let Some(until) = until.filter(|until| now < *until) {
            return Step::Waits { ring: at, until };
        }
        if at > 0 && self.stop.is_some_and(|stop| stop.stops(tried, progress.overruled)) {
            return Step::Stopped { ring: at, tried };
        }
        let days = |days: u32| Timestamp::from_ms(now.ms().saturating_add(u64::from(days) * DAY_MS));
        Step::Releases { ring: at, deadline: self.deadline.map(days) }
    }
}

impl Stop {
    /// Whether so many failures stop it. Somebody who overruled it knew of so many; more than those stop it again.
    fn stops(self, tried: Tried, overruled: Option<u32>) -> bool {
        let Tried { installed, failed } = tried;
        let all = u64::from(installed) + u64::from(failed);
        all >= u64::from(self.sample)
            && u64::from(failed) * 100 > u64::from(self.percent) * all
            && overruled.is_none_or(|known| failed > known)
    }
}

#[cfg(test)]
mod tests;
