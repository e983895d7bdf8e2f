//! When the next run of a lane is due. One pure function, which the clock follows and the status shows.
//!
//! 1. The newest run that may be believed counts: one that is dated in the future was begun while the machine's clock was wrong.
//! 2. The first slot of the schedule after it is due. Slots that fell into a run are that run's.
//! 3. Where runs are made up for, one that came to nothing for a reason that passes is due again before that slot: soon after the
//!    start of the node where it was cut off, rarer and rarer where it failed.
//! 4. Where they are not, a slot that is long over is left out.

use std::time::Duration;

use crate::base::time::Timestamp;
use crate::model::schedule::{Error, Schedule};
use crate::store::catalog::{Outcome, Run};

/// So far a run may be ahead of the clock: clocks that are set right by a step move by less, and a slot must not come twice for it.
const AHEAD_MAX: Duration = Duration::from_hours(1);

/// So late a slot may begin where what was missed is not made up for: the node was busy, or is only just up.
const LATE_MAX: Duration = Duration::from_hours(1);

/// After the start of the node, before what it broke off goes on: endpoints that waited for it come first.
pub(in crate::jobs) const SETTLE: Duration = Duration::from_mins(2);

/// After a run that failed, before the next try. A link is back within minutes or hours; what lasts longer waits for the next slot.
const WAITS: [Duration; 3] = [Duration::from_mins(15), Duration::from_hours(1), Duration::from_hours(4)];

/// The next run of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jobs) struct Due {
    /// When; may be over.
    pub at: Timestamp,
    /// It makes up for one that came to nothing, before its own time.
    pub is_again: bool,
}

/// What is known of a lane.
#[derive(Clone, Copy, Debug)]
pub(in crate::jobs) struct Known<'a> {
    /// Its schedule.
    pub schedule: &'a Schedule,
    /// Spreads what many nodes begin at one time.
    pub seed: u64,
    /// Its runs, the newest first.
    pub runs: &'a [Run],
    /// Whether one of them is under way in this process; one that only stands so in the history was cut off.
    pub is_running: bool,
    /// Since when the node looks; never after `now`.
    pub begun: Timestamp,
    /// The time now.
    pub now: Timestamp,
}

impl Known<'_> {
    /// When the next run is due, which may be over; `None` where the schedule is off.
    ///
    /// # Errors
    /// A schedule that cannot be meant.
    pub(in crate::jobs) fn due(&self) -> Result<Option<Due>, Error> {
        let runs: Vec<&Run> = self.runs.iter().filter(|run| run.started <= self.now.after(AHEAD_MAX)).collect();
        let mut from = runs.first().map_or(self.begun, |run| self.reach(run));
        if !self.schedule.run_if_missed {
            let late = Timestamp::from_ms(self.now.ms().saturating_sub(Timestamp::default().after(LATE_MAX).ms()));
            from = from.max(self.begun).max(late);
        }
        let Some(slot) = self.schedule.next(from, self.seed)? else { return Ok(None) };
        let again = if self.schedule.run_if_missed { self.again(&runs)? } else { None };
        Ok(Some(match again.filter(|again| *again < slot) {
            Some(at) => Due { at, is_again: true },
            None => Due { at: slot, is_again: false },
        }))
    }

    /// Up to when slots are a run's.
    fn reach(&self, run: &Run) -> Timestamp {
        let end = match run.outcome {
            Outcome::Running if self.is_running => Some(self.now),
            // When they ended is not known.
            Outcome::Running | Outcome::CutOff => None,
            Outcome::Successful | Outcome::Failed | Outcome::Stopped => run.ended,
        };
        end.map_or(run.started, |end| end.min(self.now).max(run.started))
    }

    /// Whether a run came to nothing, and may well come to something when it is begun again.
    fn is_open(&self, run: &Run) -> bool {
        match run.outcome {
            Outcome::CutOff => true,
            Outcome::Running => !self.is_running,
            Outcome::Failed | Outcome::Stopped => run.note.again,
            Outcome::Successful => false,
        }
    }

    /// When the newest of these is tried again.
    fn again(&self, runs: &[&Run]) -> Result<Option<Timestamp>, Error> {
        let Some((last, older)) = runs.split_first().filter(|(last, _)| self.is_open(last)) else { return Ok(None) };
        let (mut tries, mut newer) = (0_usize, *last);
        for run in older {
            let of_a_former_slot = || {
                let next = self.schedule.next(self.reach(run), self.seed);
                next.map(|next| next.is_some_and(|slot| slot <= newer.started))
            };
            if !self.is_open(run) || of_a_former_slot()? {
                break;
            }
            // What gave way, and what brought something before it ended, goes on where it was: that is no try that failed.
            let is_try = run.outcome != Outcome::Stopped && run.counts.new + run.counts.changed == 0;
            (tries, newer) = (tries + usize::from(is_try), run);
        }
        let Some(wait) = WAITS.get(tries).copied() else { return Ok(None) };
        // What was cut off may be what cuts the node off: soon the first time only.
        let wait = if tries == 0 && last.outcome != Outcome::Failed { SETTLE } else { wait };
        let end = last.ended.unwrap_or(last.started).min(self.now).max(last.started);
        Ok(Some(end.after(wait).max(self.begun.after(SETTLE))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schedule::When;
    use crate::store::catalog::{Counts, RunNote};

    fn at(text: &str) -> Timestamp {
        let time: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_ms(u64::try_from(time.as_millisecond()).unwrap())
    }

    fn schedule(when: &str) -> Schedule {
        let when = when.parse::<When>().unwrap();
        Schedule { when, zone: "UTC".to_owned(), jitter_minutes: 0, ..Schedule::default() }
    }

    fn run(started: &str, ended: &str, outcome: Outcome, again: bool) -> Run {
        Run {
            id: 1,
            started: at(started),
            ended: (!ended.is_empty()).then(|| at(ended)),
            upstream: String::new(),
            outcome,
            reason: String::new(),
            counts: Counts::default(),
            wanted: None,
            note: RunNote { again, ..RunNote::default() },
        }
    }

    fn good(started: &str, ended: &str) -> Run {
        run(started, ended, Outcome::Successful, false)
    }

    fn failed(started: &str, ended: &str) -> Run {
        run(started, ended, Outcome::Failed, true)
    }

    fn due(schedule: &Schedule, runs: &[Run], begun: &str, now: &str) -> String {
        let known = Known { schedule, seed: 7, runs, is_running: false, begun: at(begun), now: at(now) };
        known.due().unwrap().unwrap().at.to_string()
    }

    #[test]
    fn a_run_of_the_future_stops_no_schedule() {
        let daily = schedule("daily 02:00");
        let future = good("2036-05-01T00:00:00Z", "2036-05-01T00:10:00Z");
        let (begun, now) = ("2026-01-05T09:00:00Z", "2026-01-06T01:00:00Z");
        assert_eq!(due(&daily, std::slice::from_ref(&future), begun, now), "2026-01-06T02:00:00Z");
        // It stays due until it is begun: each look gives the same.
        let later = "2026-01-06T02:00:30Z";
        assert_eq!(due(&daily, std::slice::from_ref(&future), begun, later), "2026-01-06T02:00:00Z");
        let runs = [future, good("2026-01-03T02:00:00Z", "2026-01-03T02:10:00Z")];
        assert_eq!(due(&daily, &runs, begun, now), "2026-01-04T02:00:00Z", "what was missed since the last true one");
        // A clock that was set back by a little brings no slot twice.
        let runs = [good("2026-01-06T02:00:10Z", "2026-01-06T02:05:00Z")];
        assert_eq!(due(&daily, &runs, begun, "2026-01-06T01:59:00Z"), "2026-01-07T02:00:00Z");
    }

    #[test]
    fn a_slot_that_falls_into_a_run_is_its_own() {
        let daily = schedule("daily 02:00");
        let runs = [run("2026-01-06T01:50:00Z", "", Outcome::Running, false)];
        let (begun, now) = (at("2026-01-01T00:00:00Z"), at("2026-01-06T02:20:00Z"));
        let known = Known { schedule: &daily, seed: 7, runs: &runs, is_running: true, begun, now };
        assert_eq!(known.due().unwrap(), Some(Due { at: at("2026-01-07T02:00:00Z"), is_again: false }));
        let runs = [good("2026-01-06T01:50:00Z", "2026-01-06T02:20:00Z")];
        assert_eq!(due(&daily, &runs, "2026-01-01T00:00:00Z", "2026-01-06T02:21:00Z"), "2026-01-07T02:00:00Z");
    }

    #[test]
    fn what_was_cut_off_goes_on_soon_and_what_failed_is_tried_again_rarer_and_rarer() {
        let monthly = schedule("monthly second Tuesday 03:00");
        let (next, cut) = ("2026-02-10T03:00:00Z", Outcome::CutOff);
        let begun = "2026-01-01T00:00:00Z";
        let due = |runs: &[Run], begun: &str| due(&monthly, runs, begun, "2026-01-13T23:00:00Z");
        let before = good("2025-12-09T03:00:00Z", "2025-12-09T03:30:00Z");
        // Cut off: soon after the node is back, whether it had the time to write that down or not.
        for last in [
            run("2026-01-13T03:00:00Z", "2026-01-13T03:05:00Z", cut, false),
            run("2026-01-13T03:00:00Z", "", Outcome::Running, false),
            run("2026-01-13T03:00:00Z", "2026-01-13T03:04:00Z", Outcome::Stopped, true),
        ] {
            assert_eq!(due(&[last, before.clone()], "2026-01-13T03:06:00Z"), "2026-01-13T03:08:00Z");
        }
        // What cuts the node off each time does so rarer and rarer.
        let again = [
            run("2026-01-13T03:08:00Z", "2026-01-13T03:10:00Z", cut, false),
            run("2026-01-13T03:00:00Z", "2026-01-13T03:05:00Z", cut, false),
        ];
        assert_eq!(due(&again, "2026-01-13T03:10:00Z"), "2026-01-13T04:10:00Z");

        let mut runs = vec![failed("2026-01-13T03:00:00Z", "2026-01-13T03:05:00Z"), before.clone()];
        assert_eq!(due(&runs, begun), "2026-01-13T03:20:00Z");
        let now = at("2026-01-13T23:00:00Z");
        let known = Known { schedule: &monthly, seed: 7, runs: &runs, is_running: false, begun: at(begun), now };
        assert!(known.due().unwrap().unwrap().is_again, "and says so");
        runs.insert(0, failed("2026-01-13T03:20:00Z", "2026-01-13T03:21:00Z"));
        assert_eq!(due(&runs, begun), "2026-01-13T04:21:00Z");
        runs.insert(0, failed("2026-01-13T04:21:00Z", "2026-01-13T04:22:00Z"));
        assert_eq!(due(&runs, begun), "2026-01-13T08:22:00Z");
        runs.insert(0, failed("2026-01-13T08:22:00Z", "2026-01-13T08:23:00Z"));
        assert_eq!(due(&runs, begun), next, "then it waits for its slot");
        // Whoever stopped it meant it; what cannot go well is not tried again.
        for outcome in [Outcome::Stopped, Outcome::Failed, Outcome::Successful] {
            let last = run("2026-01-13T03:00:00Z", "2026-01-13T03:05:00Z", outcome, false);
            assert_eq!(due(&[last, before.clone()], begun), next, "{outcome:?}");
        }
        let careless = Schedule { run_if_missed: false, ..monthly.clone() };
        let runs = [failed("2026-01-13T03:00:00Z", "2026-01-13T03:05:00Z")];
        assert_eq!(super::tests::due(&careless, &runs, begun, "2026-01-13T03:06:00Z"), next);
    }

    #[test]
    fn what_gave_way_or_brought_something_is_no_try() {
        let monthly = schedule("monthly second Tuesday 03:00");
        let (begun, now) = ("2026-01-01T00:00:00Z", "2026-01-20T23:00:00Z");
        let gave_way = |day: u32| {
            let (started, ended) = (format!("2026-01-{day}T03:00:00Z"), format!("2026-01-{day}T06:00:00Z"));
            run(&started, &ended, Outcome::Stopped, true)
        };
        let runs: Vec<Run> = (13..20).rev().map(gave_way).collect();
        assert_eq!(
            due(&monthly, &runs, begun, now),
            "2026-01-19T06:02:00Z",
            "the seventh night goes on like the first"
        );
        let brought =
            |run: Run| Run { counts: Counts { new: 40, ..Counts::default() }, outcome: Outcome::Failed, ..run };
        let runs: Vec<Run> = runs.into_iter().map(brought).collect();
        assert_eq!(due(&monthly, &runs, begun, now), "2026-01-19T06:15:00Z");
        let nothing = |run: Run| Run { counts: Counts::default(), ..run };
        let runs: Vec<Run> = runs.into_iter().map(nothing).collect();
        assert_eq!(
            due(&monthly, &runs, begun, now),
            "2026-02-10T03:00:00Z",
            "what comes to nothing waits for its slot"
        );
    }

    #[test]
    fn tries_are_counted_by_slot_and_end_with_it() {
        let hourly = schedule("every 2 hours from 00:00");
        let begun = "2026-01-01T00:00:00Z";
        let mut runs = vec![
            failed("2026-01-06T02:15:00Z", "2026-01-06T02:16:00Z"),
            failed("2026-01-06T02:00:00Z", "2026-01-06T02:00:30Z"),
        ];
        assert_eq!(due(&hourly, &runs, begun, "2026-01-06T02:20:00Z"), "2026-01-06T03:16:00Z");
        runs.insert(0, failed("2026-01-06T03:16:00Z", "2026-01-06T03:17:00Z"));
        assert_eq!(due(&hourly, &runs, begun, "2026-01-06T03:20:00Z"), "2026-01-06T04:00:00Z", "the slot comes first");
        runs.insert(0, failed("2026-01-06T04:00:00Z", "2026-01-06T04:01:00Z"));
        assert_eq!(due(&hourly, &runs, begun, "2026-01-06T04:02:00Z"), "2026-01-06T04:16:00Z", "and begins anew");
    }

    #[test]
    fn what_is_not_made_up_for_begins_in_its_hour_or_not() {
        let daily = Schedule { run_if_missed: false, ..schedule("daily 02:00") };
        let runs = [good("2026-01-03T02:00:00Z", "2026-01-03T02:10:00Z")];
        let begun = "2026-01-01T00:00:00Z";
        assert_eq!(due(&daily, &runs, begun, "2026-01-04T02:40:00Z"), "2026-01-04T02:00:00Z");
        assert_eq!(due(&daily, &runs, begun, "2026-01-04T07:00:00Z"), "2026-01-05T02:00:00Z", "the host slept");
        assert_eq!(due(&daily, &runs, "2026-01-04T02:30:00Z", "2026-01-04T02:31:00Z"), "2026-01-05T02:00:00Z");
        let missed = Schedule { run_if_missed: true, ..daily };
        assert_eq!(due(&missed, &runs, "2026-01-04T07:00:00Z", "2026-01-04T07:00:00Z"), "2026-01-04T02:00:00Z");
        let off = Schedule { enabled: false, ..missed };
        let (begun, now) = (at(begun), at("2026-01-04T07:00:00Z"));
        let known = Known { schedule: &off, seed: 7, runs: &runs, is_running: false, begun, now };
        assert_eq!(known.due().unwrap(), None);
    }
}
