//! Limits by windows of the week: the first rule whose window covers the time is in force. Pure.

use std::fmt;

use jiff::tz::AmbiguousOffset;

use crate::base::time::Timestamp;
use crate::pace::error::Error;
use crate::pace::limit::Limit;
use crate::pace::window::Window;
use crate::pace::zone::{self, Zone};

/// Rules of one class: each hour of the week has room for one, and nobody reads more.
pub const RULES_MAX: usize = 168;

/// How far ahead a change is looked for: what is in force repeats by the week, but for the hours that a change of the
/// clocks takes away or gives.
const DAYS_AHEAD: i32 = 15;

/// Rules in the order in which they are looked at. Without any, or where none covers the time, nothing is limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Schedule {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Rule {
    window: Option<Window>,
    limit: Limit,
}

/// What is in force at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How fast bytes may flow.
    pub limit: Limit,
    /// The rule that says so; `None` where none does.
    pub rule: Option<String>,
    /// When another rule will be in force, if ever.
    pub until: Option<Timestamp>,
    /// What it will say.
    pub then: Limit,
}

impl Schedule {
    /// Reads rules like `"08:00-18:00 Mon-Fri: 20 Mbit/s"`, and at their end one without a window for all other times.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, Error> {
        if texts.len() > RULES_MAX {
            return Err(Error::Many { count: texts.len(), max: RULES_MAX });
        }
        let mut rules: Vec<Rule> = Vec::with_capacity(texts.len());
        for text in texts {
            let rule = Rule::parse(text.as_ref())?;
            if let Some(before) = rules.iter().find(|rule| rule.window.is_none()) {
                return Err(Error::Unreachable { text: rule.to_string(), before: before.to_string() });
            }
            rules.push(rule);
        }
        Ok(Self { rules })
    }

    /// Whether it ever pauses.
    pub fn pauses(&self) -> bool {
        self.rules.iter().any(|rule| rule.limit == Limit::Paused)
    }

    /// Whether it pauses at all times, as far as that shows without a look at the clock: one rule without a window, and none that lets
    /// anything through.
    pub fn is_paused_always(&self) -> bool {
        self.rules.iter().all(|rule| rule.limit == Limit::Paused) && self.rules.iter().any(|rule| rule.window.is_none())
    }

    /// The rates that may come to be in force.
    pub fn rates(&self) -> impl Iterator<Item = u64> {
        self.rules.iter().filter_map(|rule| rule.limit.rate())
    }

    /// What is in force at `now` in `zone`, and until when.
    pub fn standing(&self, zone: &Zone, now: Timestamp) -> Standing {
        let at = self.at(zone, now);
        let until = self.next_change(zone, now, at);
        let then = until.map_or(self.limit(at), |until| self.limit(self.at(zone, until)));
        let rule = at.and_then(|at| self.rules.get(at)).map(Rule::to_string);
        Standing { limit: self.limit(at), rule, until, then }
    }

    fn limit(&self, at: Option<usize>) -> Limit {
        at.and_then(|at| self.rules.get(at)).map_or(Limit::Unlimited, |rule| rule.limit)
    }

    /// The rule that is in force.
    fn at(&self, zone: &Zone, now: Timestamp) -> Option<usize> {
        let local = zone.local(now);
        self.rules.iter().position(|rule| rule.window.is_none_or(|window| window.covers(local)))
    }

    /// The first moment after `now` at which another rule than the one at `current` is in force.
    ///
    /// That can only be where the clock shows the edge of a window, or where it is put forward or back: all such moments of
    /// the next days are looked at in order.
    fn next_change(&self, zone: &Zone, now: Timestamp, current: Option<usize>) -> Option<Timestamp> {
        let windows: Vec<Window> = self.rules.iter().filter_map(|rule| rule.window).collect();
        if windows.is_empty() {
            return None;
        }
        let mut moments: Vec<Timestamp> = Vec::new();
        let mut add = |moment: jiff::Timestamp| {
            if let Ok(ms) = u64::try_from(moment.as_millisecond()) {
                moments.push(Timestamp::from_ms(ms));
            }
        };
        let today = zone.local(now).date();
        // From the day before on: going back over a midnight the clock shows an earlier date than now.
        let dates = (-1..=DAYS_AHEAD).filter_map(|days| today.checked_add(jiff::Span::new().days(days)).ok());
        for date in dates {
            for edge in windows.iter().flat_map(|window| window.edges(date)) {
                let offsets = match zone.zone().to_ambiguous_timestamp(edge).offset() {
                    AmbiguousOffset::Unambiguous { offset } => [Some(offset), None],
                    // The clock never shows it: the moment of the change itself is among those below.
                    AmbiguousOffset::Gap { .. } => [None, None],
                    AmbiguousOffset::Fold { before, after } => [Some(before), Some(after)],
                };
                offsets.into_iter().flatten().filter_map(|offset| offset.to_timestamp(edge).ok()).for_each(&mut add);
            }
        }
        let end = now.after(std::time::Duration::from_hours(24 * u64::from(DAYS_AHEAD.unsigned_abs())));
        let changes = zone.zone().following(zone::instant(now)).map(|change| change.timestamp());
        changes.take_while(|change| *change <= zone::instant(end)).for_each(add);
        moments.sort_unstable();
        moments.into_iter().find(|moment| *moment > now && self.at(zone, *moment) != current)
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        match text.rsplit_once(':') {
            // Times have colons, too; a limit does not begin right behind one, unless it is one.
            Some((window, limit)) if limit.starts_with(' ') || Limit::parse(limit).is_ok() => {
                Ok(Self { window: Some(Window::parse(window)?), limit: Limit::parse(limit)? })
            }
            _ => Ok(Self { window: None, limit: Limit::parse(text)? }),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.window {
            Some(window) => write!(f, "{window}: {}", self.limit),
            None => self.limit.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Zones with the changes that go wrong: an hour and half an hour, north and south, at midnight, and none.
    const ZONES: [&str; 6] = [
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "EST5EDT,M3.2.0,M11.1.0",
        "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
        // At midnight, so that the day begins at 01:00, or one day is 25 hours long.
        "EET-2EEST,M4.5.5/0,M10.5.4/24",
        "<-03>3<-02>,M10.3.0/0,M2.3.0/0",
        "IST-5:30",
    ];

    /// Minutes by which the clocks of these zones are ever put are multiples of this.
    const STEP_MS: u64 = 60_000;

    fn schedule(texts: &[&str]) -> Schedule {
        Schedule::parse(texts).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::from_ms(text.parse::<jiff::Timestamp>().unwrap().as_millisecond().try_into().unwrap())
    }

    #[test]
    fn the_first_rule_that_covers_the_time_is_in_force() {
        let zone = Zone::parse(ZONES[0]).unwrap();
        let office = schedule(&["08:00-18:00 Mon-Fri: 20 Mbit/s", "22:00-04:00: paused", "50 Mbit/s"]);
        // Friday, 20 November 2026, in winter: an hour before UTC.
        let standing = office.standing(&zone, at("2026-11-20T08:00:00Z"));
        assert_eq!(standing.limit, Limit::Rate(2_500_000));
        assert_eq!(standing.rule.as_deref(), Some("08:00-18:00 Mon-Fri: 20 Mbit/s"));
        assert_eq!(standing.until, Some(at("2026-11-20T17:00:00Z")));
        assert_eq!(standing.then, Limit::Rate(6_250_000));
        let standing = office.standing(&zone, at("2026-11-20T17:00:00Z"));
        assert_eq!((standing.limit, standing.until), (Limit::Rate(6_250_000), Some(at("2026-11-20T21:00:00Z"))));
        let standing = office.standing(&zone, at("2026-11-20T22:30:00Z"));
        assert_eq!((standing.limit, standing.until), (Limit::Paused, Some(at("2026-11-21T03:00:00Z"))));

        let none = Schedule::default().standing(&zone, at("2026-11-20T08:00:00Z"));
        assert_eq!(none, Standing { limit: Limit::Unlimited, rule: None, until: None, then: Limit::Unlimited });
        let always = schedule(&["daily: 1 MB/s", "unlimited"]).standing(&zone, at("2026-11-20T08:00:00Z"));
        assert_eq!((always.limit, always.until), (Limit::Rate(1_000_000), None), "it never changes");
    }

    #[test]
    fn a_pause_without_a_window_is_one_for_ever() {
        assert!(schedule(&["paused"]).is_paused_always() && schedule(&["Sat: paused", "paused"]).is_paused_always());
        for other in [&[][..], &["Sat: paused"], &["Sat: 1 MB/s", "paused"], &["Sat: paused", "unlimited"]] {
            assert!(!schedule(other).is_paused_always(), "{other:?}");
        }
    }

    #[test]
    fn what_can_never_apply_is_refused() {
        let error = Schedule::parse(&["20 Mbit/s", "Sat-Sun: unlimited"]).unwrap_err().to_string();
        assert!(error.contains("Sat-Sun: unlimited") && error.contains("put it last"), "{error}");
        assert!(matches!(Schedule::parse(&["08:00-18:00"]), Err(Error::Rate { .. })));
        assert!(matches!(Schedule::parse(&["Mon-Fri: "]), Err(Error::Rate { .. })));
        assert!(matches!(Schedule::parse(&["Mo: 1 MB/s"]), Err(Error::Window { .. })));
        assert!(matches!(Schedule::parse(&vec!["Mon: 1 MB/s"; RULES_MAX + 1]), Err(Error::Many { .. })));
        assert!(Schedule::parse(&["Mon-Fri:20 Mbit/s"]).is_ok(), "without the blank");
    }

    #[test]
    fn an_hour_that_comes_twice_counts_twice_and_one_that_is_skipped_not_at_all() {
        let zone = Zone::parse(ZONES[0]).unwrap();
        let night = schedule(&["02:00-03:00: 1 MB/s"]);
        // 25 October 2026, 03:00 becomes 02:00 at 01:00 UTC.
        let first = night.standing(&zone, at("2026-10-25T00:00:00Z"));
        assert_eq!((first.limit, first.until), (Limit::Rate(1_000_000), Some(at("2026-10-25T02:00:00Z"))));
        // 29 March 2026, 02:00 becomes 03:00 at 01:00 UTC: the next 02:00 is a day later.
        let before = night.standing(&zone, at("2026-03-29T00:30:00Z"));
        assert_eq!((before.limit, before.until), (Limit::Unlimited, Some(at("2026-03-30T00:00:00Z"))));
        let across = schedule(&["02:30-03:30: 1 MB/s"]).standing(&zone, at("2026-03-29T00:30:00Z"));
        assert_eq!(across.until, Some(at("2026-03-29T01:00:00Z")), "what is left of it begins at once");
    }

    fn window() -> impl Strategy<Value = String> {
        let times = proptest::option::of((0_u32..96, 1_u32..=96)).prop_map(|times| {
            times.filter(|(from, to)| from != to).map_or_else(String::new, |(from, to)| {
                format!("{:02}:{:02}-{:02}:{:02}", from / 4, from % 4 * 15, to / 4, to % 4 * 15)
            })
        });
        let days = proptest::sample::select(vec!["", "Sun", "Sat-Sun", "Mon-Fri", "Fri-Mon", "Thu Sun", "Tue-Tue"]);
        (times, days).prop_map(|(times, days)| format!("{times} {days}")).prop_filter("empty", |text| text.trim() != "")
    }

    /// The beginnings of windows around each change of the clocks in 2026, and some days without.
    fn moments() -> impl Strategy<Value = u64> {
        let days = [
            "2026-03-28",
            "2026-10-24",
            "2026-03-07",
            "2026-10-31",
            "2026-04-04",
            "2026-10-03",
            "2026-04-23",
            "2026-10-29",
            "2026-02-14",
            "2026-10-17",
            "2026-07-01",
            "2026-12-31",
        ];
        let starts = days.map(|day| at(&format!("{day}T00:00:00Z")).ms());
        (proptest::sample::select(starts.to_vec()), 0_u64..3 * 1440)
            .prop_map(|(start, minute)| start + minute * STEP_MS)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Against the plainest model there is: look at the clock minute by minute until another rule is the first to cover
        /// what it shows.
        #[test]
        fn agrees_with_a_look_at_the_clock_every_minute(
            zone in proptest::sample::select(ZONES.to_vec()),
            windows in proptest::collection::vec(window(), 1..4),
            now in moments(),
            within in 0_u64..STEP_MS,
        ) {
            let zone = Zone::parse(zone).unwrap();
            let rules: Vec<String> =
                windows.iter().enumerate().map(|(at, window)| format!("{window}: {} MB/s", at + 1)).collect();
            let schedule = Schedule::parse(&rules).unwrap();
            let windows: Vec<Window> = windows.iter().map(|window| Window::parse(window).unwrap()).collect();
            let limit = |ms: u64| {
                let local = zone.local(Timestamp::from_ms(ms));
                let at = windows.iter().position(|window| window.covers(local));
                at.map_or(Limit::Unlimited, |at| Limit::Rate((at as u64 + 1) * 1_000_000))
            };
            let standing = schedule.standing(&zone, Timestamp::from_ms(now + within));
            prop_assert_eq!(standing.limit, limit(now));
            let change = (1..9 * 1440).map(|minute| now + minute * STEP_MS).find(|ms| limit(*ms) != limit(now));
            match change {
                Some(change) => {
                    prop_assert_eq!(standing.until, Some(Timestamp::from_ms(change)));
                    prop_assert_eq!(standing.then, limit(change));
                }
                None => prop_assert!(standing.until.is_none_or(|until| until.ms() >= now + 9 * 1440 * STEP_MS)),
            }
        }
    }
}
