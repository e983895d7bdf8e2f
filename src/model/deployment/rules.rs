//! Rules that approve by themselves, ring by ring: a pilot first, the others some days later, and no further where too many of those that
//! tried it failed. Pure: what there is, what was said and what came of it goes in, the next step comes out.
//!
//! 1. A rule takes what is offered, needs nothing newer in its place, and is of its classifications, products, severity and age. Upgrades
//!    and drivers are in no rule that does not name them. What it began with it goes on with, also where something newer came meanwhile:
//!    else a ring that comes after a month would never get anything.
//! 2. Its first ring gets an update when that is so many days old, each further one so many days after the one before it was offered it:
//!    as long as a licence or a review keeps a ring from it, nobody tries it, and the days do not count.
//! 3. Before a further ring comes what the rings before it reported: where enough established machines tried it and more than
//!    so many of a hundred failed, the rule stops there, until a person says that it goes on. Where it is for fewer machines than that,
//!    so many of a hundred of those are what stops it.
//! 4. What a person said stands. Where they said that a ring is to install it, the ring has it; where they said anything else, or took it
//!    back, the rule goes no further before they say so.

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
/// Classifications, and products, that one rule names: a real catalog has some twenty of the first; of the others a family stands for many.
pub const NAMED_MAX: usize = 256;
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
    /// Not older than so many days when the rule begins with it: so that a new rule does not go back for years.
    pub newest: Option<u32>,
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
    /// Of at least so many established machines that tried, or of all that it is for where those are fewer.
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
    /// The day that it is of; `None` where it does not say, and then it is old enough, and not too old.
    pub day: Option<Day>,
    /// It can be approved, and is neither declined, refused nor expired.
    pub is_offered: bool,
    /// Something newer does the same.
    pub is_superseded: bool,
    /// The rule gave it to a ring already.
    pub is_begun: bool,
}

/// What is said of an update for a ring, or for the nearest group above it of which something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Open,
    /// That it is to be installed.
    Has {
        /// Since when the ring is offered it; `None` while a licence or a review keeps it from that.
        since: Option<Timestamp>,
    },
    /// Something else, or it was taken back: by a person.
    Otherwise,
    /// The same, and a person said that the rule goes on all the same: past this ring.
    Passed,
}

/// What established machines of the rings so far reported of an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Installed it, or wait for a restart.
    pub installed: u32,
    /// Failed.
    pub failed: u32,
}

/// All that decides what a rule does next with an update.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The update.
    pub update: Candidate<'a>,
    /// How each ring stands, in their order; what is not there is open.
    pub rings: &'a [Standing],
    /// It was stopped, with these reports, and nobody has said that it goes on.
    pub stopped: Option<Tried>,
    /// How many failures a person saw when they said that it goes on all the same.
    pub overruled: Option<u32>,
    /// What is reported now, by the rings that have it.
    pub tried: Tried,
    /// Established machines of these rings that it is for, whether they tried it or not.
    pub pilot: u32,
    /// The time.
    pub now: Timestamp,
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
    /// The ring before the next one has it and is not offered it: a licence or a review is in the way.
    Blocked {
        /// The ring that is not offered it.
        ring: usize,
    },
    /// A person said something else for this ring.
    Held {
        /// Which.
        ring: usize,
    },
    /// Too many failed.
    Stopped {
        /// The ring that would come next.
        ring: usize,
        /// What was reported when it stopped.
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

/// A rule that need not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyMade {
    /// See [`Rule::patch_tuesday`].
    PatchTuesday,
    /// See [`Rule::definitions`].
    Definitions,
}

impl ReadyMade {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::PatchTuesday, Self::Definitions];

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::PatchTuesday => "patch-tuesday",
            Self::Definitions => "definitions",
        }
    }

    /// What it does, for people.
    pub const fn about(self) -> &'static str {
        match self {
            Self::PatchTuesday => {
                "security updates, critical updates and update rollups of the last 60 days: the first ring on the day they come, each further one 7 days after the one before it, and no further where more than 10 percent of at least 10 machines failed, or of all where a pilot has fewer"
            }
            Self::Definitions => "definition updates: at once, for every ring that is named",
        }
    }

    /// It, for these rings.
    pub fn rule(self, rings: &[Group]) -> Rule {
        match self {
            Self::PatchTuesday => Rule::patch_tuesday(rings),
            Self::Definitions => Rule::definitions(rings),
        }
    }
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
    /// Too many categories.
    #[error("the rule {name:?} names {many} {what}; {NAMED_MAX} are the most: name a family instead of its products")]
    Named {
        /// Which rule.
        name: String,
        /// What.
        what: &'static str,
        /// How many.
        many: usize,
    },
    /// An age at which nothing is left.
    #[error(
        "the rule {name:?} takes updates of the last {newest} days, and its first ring waits {after}: nothing would be left; let it wait less, or take older ones"
    )]
    Age {
        /// Which rule.
        name: String,
        /// Days that an update may be old.
        newest: u32,
        /// Days that the first ring waits.
        after: u32,
    },
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
    /// The ready-made rule for what comes on the second Tuesday of a month: security updates, critical updates and rollups of the last
    /// two months; the first ring at once, each further ring a week after the one before it, and no further where more than a tenth of at
    /// least ten machines failed.
    pub fn patch_tuesday(rings: &[Group]) -> Self {
        let weekly =
            rings.iter().enumerate().map(|(at, target)| Ring { target: *target, after: if at == 0 { 0 } else { 7 } });
        Self {
            name: "Patch Tuesday".to_owned(),
            enabled: true,
            takes: Takes {
                classifications: [known::SECURITY_UPDATES, known::CRITICAL_UPDATES, known::UPDATE_ROLLUPS].into(),
                newest: Some(60),
                ..Takes::default()
            },
            rings: weekly.collect(),
            stop: Some(Stop { percent: 10, sample: 10 }),
            deadline: None,
        }
    }

    /// The ready-made rule for definition updates: at once, for everyone in these groups.
    pub fn definitions(rings: &[Group]) -> Self {
        Self {
            name: "Definition updates".to_owned(),
            enabled: true,
            takes: Takes { classifications: [known::DEFINITION_UPDATES].into(), ..Takes::default() },
            rings: rings.iter().map(|target| Ring { target: *target, after: 0 }).collect(),
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
        let Takes { classifications, products, newest, .. } = &self.takes;
        for (what, many) in [("classifications", classifications.len()), ("products", products.len())] {
            if many > NAMED_MAX {
                return Err(Error::Named { name: name(), what, many });
            }
        }
        let days = self.rings.iter().map(|ring| ring.after).chain(self.deadline).chain(*newest);
        if let Some(days) = days.max().filter(|days| *days > DAYS_MAX) {
            return Err(Error::Days { name: name(), days });
        }
        if let (Some(newest), Some(after)) = (*newest, self.rings.first().map(|ring| ring.after))
            && after >= newest
        {
            return Err(Error::Age { name: name(), newest, after });
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

    /// Whether it is about an update, now.
    pub fn takes(&self, update: &Candidate<'_>, now: Timestamp) -> bool {
        let Takes { classifications, products, severity, newest } = &self.takes;
        let names = |wanted: &BTreeSet<UpdateId>| update.categories.iter().any(|category| wanted.contains(category));
        let is_driver = update.kind == Kind::Driver || update.categories.contains(&known::DRIVERS);
        let is_upgrade = update.categories.contains(&known::UPGRADES);
        // Named means by their own classification: a product that has some names none of them.
        let is_named = (!is_driver || classifications.contains(&known::DRIVERS))
            && (!is_upgrade || classifications.contains(&known::UPGRADES));
        let oldest = newest.map(|days| Day::from(now).number().saturating_sub(days));
        let is_new =
            !update.is_superseded && update.day.is_none_or(|day| oldest.is_none_or(|oldest| day.number() >= oldest));
        self.enabled
            && update.is_offered
            && is_named
            && (update.is_begun || is_new)
            && (classifications.is_empty() || is_driver || names(classifications))
            && (products.is_empty() || names(products))
            && update.severity >= *severity
    }

    /// What it does next with an update.
    pub fn step(&self, known: &Known<'_>) -> Step {
        let Known { update, rings, stopped, overruled, tried, pilot, now } = known;
        if !self.takes(update, *now) {
            return Step::Passes;
        }
        let mut from = update.day.map(Day::begin);
        let (mut has_any, mut blocked) = (false, None);
        for (at, ring) in self.rings.iter().enumerate() {
            match rings.get(at).copied().unwrap_or(Standing::Open) {
                Standing::Passed => {}
                Standing::Otherwise => return Step::Held { ring: at },
                Standing::Has { since: Some(since) } => (from, has_any, blocked) = (Some(since), true, None),
                Standing::Has { since: None } => (has_any, blocked) = (true, Some(at)),
                Standing::Open => {
                    if let Some(tried) = stopped {
                        // What came in its place begins anew, and may mend what failed.
                        let is_over = update.is_superseded;
                        return if is_over { Step::Passes } else { Step::Stopped { ring: at, tried: *tried } };
                    }
                    if let Some(ring) = blocked {
                        return Step::Blocked { ring };
                    }
                    let until = from.map(|from| later(from, ring.after)).filter(|until| now < until);
                    if let Some(until) = until {
                        return Step::Waits { ring: at, until };
                    }
                    if has_any && self.stop.is_some_and(|stop| stop.stops(*tried, *pilot, *overruled)) {
                        return Step::Stopped { ring: at, tried: *tried };
                    }
                    return Step::Releases { ring: at, deadline: self.deadline.map(|days| later(*now, days)) };
                }
            }
        }
        Step::Done
    }
}

fn later(from: Timestamp, days: u32) -> Timestamp {
    Timestamp::from_ms(from.ms().saturating_add(u64::from(days) * DAY_MS))
}

impl Stop {
    /// Whether so many failures stop it. Somebody who overruled it knew of so many; more than those stop it again.
    fn stops(self, tried: Tried, pilot: u32, overruled: Option<u32>) -> bool {
        let Tried { installed, failed } = tried;
        let all = u64::from(installed) + u64::from(failed);
        let is_small = pilot < self.sample;
        // A pilot that can never come to a sample is counted whole, those that have not tried it among it.
        let of = if is_small { all.max(u64::from(pilot)) } else { all };
        (is_small || all >= u64::from(self.sample))
            && u64::from(failed) * 100 > u64::from(self.percent) * of
            && overruled.is_none_or(|known| failed > known)
    }
}

#[cfg(test)]
mod tests;
