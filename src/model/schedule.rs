//! When to synchronise: a pure function of the schedule, the time and a seed.
//!
//! 1. [`When`] says on which days and at what time of the clock on the wall ([`when`] reads and writes it as a person would).
//! 2. A [`Schedule`] adds the zone of that clock, a jitter so that many nodes do not ask at once, and what to do about runs that were
//!    missed.
//! 3. [`Schedule::next`] gives the first run after a time. The clock on the wall jumps twice a year: a run in the hour that is left
//!    out comes as much later as the clock jumped; one in the hour that comes twice comes the first time (RFC 5545, 3.3.5).
//! 4. [`Definitions`] is a lane of its own for what comes several times a day and is outdated by the next.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::civil;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::base::zone;
use crate::model::update::UpdateId;

mod when;

#[cfg(test)]
mod tests;

pub use when::{FORMS, Nth, Time, When, WhenError};

/// The largest jitter: half a day, so that a daily run stays on its day and its night.
pub const JITTER_MINUTES_MAX: u32 = 720;

/// The most sets of definitions that are kept. Some eight come in a day.
pub const DEFINITIONS_KEPT_MAX: u32 = 1_000;

/// How far ahead of the node's clock the date of a definition update is believed: clocks of publishers and nodes differ, and so do the
/// zones that dates without one are meant in.
pub const AHEAD_MAX: Duration = Duration::from_hours(24);

/// A schedule that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No zone of that name.
    #[error(
        "{text:?} is no time zone: {why}; write it like \"Europe/Zurich\" (with tzdata installed) or \"CET-1CEST,M3.5.0,M10.5.0/3\""
    )]
    Zone {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// No days or times.
    #[error(transparent)]
    When(#[from] WhenError),
    /// A number is too large or too small.
    #[error("{what} is {value}, which is not from {min} to {max}")]
    Range {
        /// Which number.
        what: &'static str,
        /// What it is.
        value: u32,
        /// The least.
        min: u32,
        /// The most.
        max: u32,
    },
}

/// When the catalog is synchronised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Whether there are runs by the clock at all.
    pub enabled: bool,
    /// Days and times.
    pub when: When,
    /// The zone of the clock on the wall: an IANA name, a POSIX zone, or nothing for the machine's own.
    pub zone: String,
    /// Each run begins up to so many minutes later, each time another number.
    pub jitter_minutes: u32,
    /// Whether a run that was missed, since the node was off, is made up for when it is on again, and one that was cut off or failed
    /// for a reason that passes before the next one is due.
    pub run_if_missed: bool,
}

impl Default for Schedule {
    /// Each night.
    fn default() -> Self {
        Self {
            enabled: true,
            when: When::Daily { at: Time::new(2, 0) },
            zone: String::new(),
            jitter_minutes: 60,
            run_if_missed: true,
        }
    }
}

impl Schedule {
    /// Refuses what cannot be meant.
    pub fn check(&self) -> Result<(), Error> {
        self.when.check()?;
        range("jitter_minutes", self.jitter_minutes, 0, JITTER_MINUTES_MAX)?;
        self.zone().map(drop)
    }

    /// The first run after `after`; `None` where the schedule is off and where the calendar ends. The same `seed` (an id of the node)
    /// gives the same runs: asked again from any time before a run, it is the same run.
    pub fn next(&self, after: Timestamp, seed: u64) -> Result<Option<Timestamp>, Error> {
        if !self.enabled {
            return Ok(None);
        }
        self.check()?;
        Ok(next(&self.when, &self.zone()?, self.jitter_minutes, after, seed))
    }

    fn zone(&self) -> Result<TimeZone, Error> {
        let text = self.zone.as_str();
        zone::parse(text)
            .map(|(zone, _)| zone)
            .map_err(|why| Error::Zone { text: text.chars().take(80).collect(), why })
    }
}

/// The lane for definition updates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Definitions {
    /// Whether they are synchronised more often than the rest.
    pub enabled: bool,
    /// Days and times; several a day.
    pub when: When,
    /// Each run begins up to so many minutes later.
    pub jitter_minutes: u32,
    /// So many of the newest of each product are kept; older ones leave the catalog.
    pub keep: u32,
}

impl Default for Definitions {
    /// Every four hours, which is how often an endpoint asks by its own defaults or rarer, and two days of them.
    fn default() -> Self {
        Self { enabled: false, when: When::Hourly { every: 4, from: Time::new(0, 30) }, jitter_minutes: 20, keep: 12 }
    }
}

impl Definitions {
    /// Refuses what cannot be meant.
    pub fn check(&self) -> Result<(), Error> {
        self.when.check()?;
        range("jitter_minutes", self.jitter_minutes, 0, JITTER_MINUTES_MAX)?;
        range("keep", self.keep, 1, DEFINITIONS_KEPT_MAX)
    }

    /// The schedule of the lane, in the zone of the other one.
    pub fn schedule(&self, of: &Schedule) -> Schedule {
        Schedule {
            enabled: self.enabled,
            when: self.when.clone(),
            zone: of.zone.clone(),
            jitter_minutes: self.jitter_minutes,
            run_if_missed: of.run_if_missed,
        }
    }

    /// Which of the definition updates of one product are beyond the newest that are kept: id, when it was made, and whether it is
    /// offered. What is not, since it was withdrawn or something newer is there, goes first, however new it is; of the others those
    /// that say they were made more than [`AHEAD_MAX`] after `now`, since nobody knows when that was. Of those made at one time the
    /// one with the higher id counts as the newer.
    pub fn beyond(
        &self,
        known: impl IntoIterator<Item = (UpdateId, Timestamp, bool)>,
        now: Timestamp,
    ) -> BTreeSet<UpdateId> {
        let latest = now.after(AHEAD_MAX);
        // By the date all the same where none can be believed: then it is the node's clock that is wrong.
        let mut known: Vec<(bool, bool, Timestamp, UpdateId)> =
            known.into_iter().map(|(id, made, is_offered)| (is_offered, made <= latest, made, id)).collect();
        known.sort_unstable_by(|one, other| other.cmp(one));
        let keep = usize::try_from(self.keep).unwrap_or(usize::MAX);
        known.into_iter().skip(keep).map(|(.., id)| id).collect()
    }
}

fn range(what: &'static str, value: u32, min: u32, max: u32) -> Result<(), Error> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(Error::Range { what, value, min, max }) }
}

/// How many days are looked at: every schedule has a run within two months, and the clock may jump at its edge.
const DAYS_MAX: usize = 70;

fn next(when: &When, zone: &TimeZone, jitter_minutes: u32, after: Timestamp, seed: u64) -> Option<Timestamp> {
    // A run that was due before may come after, by its jitter. Two days more for slots that belong to the day before and for zones.
    let back = Duration::from_secs(u64::from(jitter_minutes) * 60 + 2 * 86_400);
    let from = i64::try_from(after.ms().saturating_sub(u64::try_from(back.as_millis()).ok()?)).ok()?;
    let mut date = zone.to_datetime(jiff::Timestamp::from_millisecond(from).ok()?).date();
    let mut best: Option<Timestamp> = None;
    for _ in 0..DAYS_MAX {
        for slot in when.slots(date) {
            let Some(slot) = instant(slot, zone) else { continue };
            let run = slot.after(jitter(jitter_minutes, slot, seed));
            if run > after && best.is_none_or(|known| run < known) {
                best = Some(run);
            }
        }
        date = date.tomorrow().ok()?;
        // What comes on later days comes later, but for the jump of a clock.
        let passed = instant(date.yesterday().ok()?.yesterday().unwrap_or(date).at(0, 0, 0, 0), zone);
        if let (Some(best), Some(passed)) = (best, passed)
            && passed > best
        {
            break;
        }
    }
    best
}

/// When the clock on the wall shows this: the first time where it does twice; where it never does, as much later as it jumped.
fn instant(at: civil::DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let at = zone.to_ambiguous_timestamp(at).compatible().ok()?;
    u64::try_from(at.as_millisecond()).ok().map(Timestamp::from_ms)
}

/// How much later a run begins: any whole second up to the jitter, a function of the run and the seed.
fn jitter(minutes: u32, slot: Timestamp, seed: u64) -> Duration {
    // SplitMix64: each bit of the sum changes about half of the bits that come out.
    let mut mixed = seed.wrapping_add(slot.ms()).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Duration::from_secs((mixed ^ (mixed >> 31)) % (u64::from(minutes) * 60 + 1))
}
