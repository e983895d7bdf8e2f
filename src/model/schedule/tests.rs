//! Schedules against a calendar: clocks that jump, leap days, months that end, and any schedule against a plain search.

use jiff::civil::Weekday;
use proptest::prelude::*;

use super::*;

/// Central Europe by rule, so that no database is needed: clocks jump on 2026-03-29 at 02:00 and back on 2026-10-25 at 03:00.
const EUROPE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

fn schedule(when: &str) -> Schedule {
    let when = when.parse().unwrap();
    Schedule { when, zone: EUROPE.to_owned(), jitter_minutes: 0, ..Schedule::default() }
}

fn at(text: &str) -> Timestamp {
    Timestamp::from_ms(u64::try_from(text.parse::<jiff::Timestamp>().unwrap().as_millisecond()).unwrap())
}

/// The next `count` runs after a time, in UTC.
fn runs(schedule: &Schedule, after: &str, count: usize) -> Vec<String> {
    let mut last = at(after);
    (0..count)
        .map(|_| {
            last = schedule.next(last, 7).unwrap().unwrap();
            last.to_string()
        })
        .collect()
}

#[test]
fn days_and_times_come_in_their_order() {
    let daily = schedule("daily 02:00");
    assert_eq!(runs(&daily, "2026-01-01T00:59:59Z", 2), ["2026-01-01T01:00:00Z", "2026-01-02T01:00:00Z"]);
    assert_eq!(runs(&daily, "2026-01-01T01:00:00Z", 1), ["2026-01-02T01:00:00Z"], "after means after");
    let weekly = schedule("weekly Fri and Tue 22:15");
    assert_eq!(
        runs(&weekly, "2026-01-01T00:00:00Z", 3),
        ["2026-01-02T21:15:00Z", "2026-01-06T21:15:00Z", "2026-01-09T21:15:00Z"]
    );
    let hourly = schedule("every 9 hours from 20:00");
    assert_eq!(
        runs(&hourly, "2026-01-01T18:00:00Z", 4),
        ["2026-01-01T19:00:00Z", "2026-01-02T04:00:00Z", "2026-01-02T13:00:00Z", "2026-01-02T19:00:00Z"]
    );
}

#[test]
fn months_end_and_leap_days_come() {
    assert_eq!(
        runs(&schedule("monthly last 12:00"), "2028-01-31T12:00:00Z", 3),
        ["2028-02-29T11:00:00Z", "2028-03-31T10:00:00Z", "2028-04-30T10:00:00Z"]
    );
    assert_eq!(
        runs(&schedule("monthly 29 12:00"), "2026-02-01T00:00:00Z", 2),
        ["2026-02-28T11:00:00Z", "2026-03-29T10:00:00Z"]
    );
    assert_eq!(
        runs(&schedule("daily 12:00"), "2028-02-28T12:00:00Z", 2),
        ["2028-02-29T11:00:00Z", "2028-03-01T11:00:00Z"]
    );
    assert_eq!(runs(&schedule("daily 12:00"), "2026-02-28T12:00:00Z", 1), ["2026-03-01T11:00:00Z"]);
}

#[test]
fn days_after_a_weekday_of_the_month() {
    // Second Tuesdays of 2026: 13 January, 10 February, 10 March. Three days later are Fridays.
    assert_eq!(
        runs(&schedule("monthly second Tuesday + 3 days 03:00"), "2026-01-01T00:00:00Z", 3),
        ["2026-01-16T02:00:00Z", "2026-02-13T02:00:00Z", "2026-03-13T02:00:00Z"]
    );
    // The last Friday of January 2026 is the 30th: five days later it is February.
    assert_eq!(
        runs(&schedule("monthly last Friday + 5 days 03:00"), "2026-01-20T00:00:00Z", 1),
        ["2026-02-04T02:00:00Z"]
    );
    assert_eq!(runs(&schedule("monthly first Sunday 00:00"), "2026-02-01T00:00:00Z", 1), ["2026-02-28T23:00:00Z"]);
    // March 2026 has five Tuesdays.
    assert_eq!(runs(&schedule("monthly last Tuesday 12:00"), "2026-03-01T00:00:00Z", 1), ["2026-03-31T10:00:00Z"]);
    assert_eq!(runs(&schedule("monthly 4th tue 12:00"), "2026-03-01T00:00:00Z", 1), ["2026-03-24T11:00:00Z"]);
}

#[test]
fn a_clock_that_jumps_leaves_no_run_out_and_makes_none_twice() {
    // 02:30 is not there on 29 March: the clock goes from 02:00 to 03:00 at 01:00 UTC.
    assert_eq!(
        runs(&schedule("daily 02:30"), "2026-03-28T00:00:00Z", 3),
        ["2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]
    );
    // 02:30 is there twice on 25 October, at 00:30 and 01:30 UTC.
    assert_eq!(
        runs(&schedule("daily 02:30"), "2026-10-24T00:00:00Z", 3),
        ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
    assert_eq!(
        runs(&schedule("weekly Sun 02:30"), "2026-03-28T00:00:00Z", 2),
        ["2026-03-29T01:30:00Z", "2026-04-05T00:30:00Z"]
    );
    // Each hour: the one that is left out falls together with the next; of the one that comes twice the second has none.
    assert_eq!(
        runs(&schedule("every 1 hour from 00:00"), "2026-03-28T23:30:00Z", 4),
        ["2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z", "2026-03-29T03:00:00Z"]
    );
    assert_eq!(
        runs(&schedule("every 1 hour from 00:00"), "2026-10-24T23:30:00Z", 3),
        ["2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z", "2026-10-25T03:00:00Z"]
    );
}

#[test]
fn a_jitter_is_the_same_whenever_it_is_asked_for() {
    let spread = Schedule { jitter_minutes: 120, ..schedule("daily 02:00") };
    let first = spread.next(at("2026-01-01T00:00:00Z"), 1).unwrap().unwrap();
    let due = at("2026-01-01T01:00:00Z");
    assert!(first >= due && first <= due.after(Duration::from_hours(2)), "{first}");
    for early in ["2025-12-31T12:00:00Z", "2026-01-01T00:59:59Z", "2026-01-01T01:00:00Z"] {
        assert_eq!(spread.next(at(early), 1).unwrap(), Some(first), "{early}");
    }
    let just_before = Timestamp::from_ms(first.ms() - 1);
    assert_eq!(spread.next(just_before, 1).unwrap(), Some(first));
    assert!(spread.next(first, 1).unwrap().unwrap() >= at("2026-01-02T01:00:00Z"));
    let others: BTreeSet<Timestamp> =
        (0..100).map(|seed| spread.next(at("2026-01-01T00:00:00Z"), seed).unwrap().unwrap()).collect();
    assert!(others.len() > 90, "a hundred nodes begin at {} times", others.len());
}

#[test]
fn the_calendar_ends_and_nothing_breaks() {
    let daily = schedule("daily 02:00");
    assert_eq!(daily.next(Timestamp::from_ms(u64::MAX), 0), Ok(None));
    assert!(daily.next(Timestamp::from_ms(0), 0).unwrap().is_some());
    let last = at("9999-12-28T00:00:00Z");
    drop(daily.next(last, 0));
}

#[test]
fn what_was_nearly_meant_is_told() {
    for (text, near) in [
        ("every 4 hours", "every 4 hours from 00:00"),
        ("hourly", "every 1 hour from 02:00"),
        ("daily", "daily 02:00"),
        ("Every day at 3:15", "daily 03:15"),
        ("every Tuesday 22:15", "weekly Tuesday 22:15"),
        ("weekly mon, thu", "weekly Monday, Thursday 02:00"),
        ("monthly 31", "monthly last 02:00"),
        ("every 2nd Tuesday of the month at 20:00", "monthly second Tuesday 20:00"),
        ("monthly 2nd Tuesday", "monthly second Tuesday 02:00"),
    ] {
        let error = text.parse::<When>().unwrap_err().to_string();
        assert!(error.ends_with(&format!("; did you mean {near:?}?")), "{text}: {error}");
        assert_eq!(near.parse::<When>().unwrap().to_string(), near);
    }
    let far = "when the moon is full".parse::<When>().unwrap_err().to_string();
    assert!(!far.contains("did you mean") && far.contains("\"monthly 15 03:00\""), "{far}");
}

#[test]
fn what_cannot_be_meant_is_refused_with_an_example() {
    for text in [
        "",
        "02:00",
        "daily",
        "daily 24:00",
        "daily 2:60",
        "daily 02:00 sharp",
        "daily x 02:00",
        "weekly 02:00",
        "weekly moo 02:00",
        "every 0 hours from 00:00",
        "every 25 hours from 00:00",
        "every x hours from 00:00",
        "monthly 0 02:00",
        "monthly 32 02:00",
        "monthly fifth Tuesday 02:00",
        "monthly second Tue + 28 days 02:00",
        "monthly second Tue - 1 day 02:00",
        "yearly 02:00",
        "daily +2:00",
        "daily \u{e9}:00",
    ] {
        let error = text.parse::<When>().expect_err(text).to_string();
        assert!(error.contains("\"daily 02:00\""), "{text}: {error}");
    }
    let wrong = Schedule { zone: "Middle/Earth".into(), ..schedule("daily 02:00") };
    assert!(wrong.next(at("2026-01-01T00:00:00Z"), 0).unwrap_err().to_string().contains("Europe/Zurich"));
    let wrong = Schedule { jitter_minutes: 721, ..schedule("daily 02:00") };
    assert!(wrong.check().unwrap_err().to_string().contains("jitter_minutes is 721"));
    assert!(Definitions { keep: 0, ..Definitions::default() }.check().is_err());
}

#[test]
fn schedules_are_kept_as_text() {
    let kept = serde_json::to_string(&schedule("monthly 2nd tue +3 days 3:05")).unwrap();
    assert!(kept.contains("\"monthly second Tuesday + 3 days 03:05\""), "{kept}");
    assert_eq!(serde_json::from_str::<Schedule>(&kept).unwrap(), schedule("monthly second Tuesday + 3 days 03:05"));
    assert_eq!(serde_json::from_str::<Schedule>("{}").unwrap(), Schedule::default());
    for wrong in ["{\"when\": \"never\"}", "{\"wen\": \"daily 02:00\"}"] {
        assert!(serde_json::from_str::<Schedule>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn definitions_come_often_and_the_newest_stay() {
    let lane = Definitions { enabled: true, keep: 2, jitter_minutes: 0, ..Definitions::default() };
    lane.check().unwrap();
    let often = lane.schedule(&schedule("daily 02:00"));
    assert_eq!(
        runs(&often, "2026-01-01T00:00:00Z", 3),
        ["2026-01-01T03:30:00Z", "2026-01-01T07:30:00Z", "2026-01-01T11:30:00Z"]
    );
    let id = |number: u8| UpdateId::new([number; 16]);
    let now = Timestamp::from_ms(1_000_000_000);
    let known = [(1, 10), (2, 30), (3, 20), (4, 20)].map(|(number, ms)| (id(number), Timestamp::from_ms(ms), true));
    assert_eq!(lane.beyond(known, now), BTreeSet::from([id(1), id(3)]));
    assert_eq!(lane.beyond(known[..2].to_vec(), now), BTreeSet::new());
    let known = [(1, 10, true), (2, 30, false), (3, 20, true)];
    let known = known.map(|(number, ms, is_offered)| (id(number), Timestamp::from_ms(ms), is_offered));
    assert_eq!(lane.beyond(known, now), BTreeSet::from([id(2)]), "what is offered stays");
}

#[test]
fn definitions_dated_in_the_future_are_the_oldest() {
    let lane = Definitions { keep: 2, ..Definitions::default() };
    let now = Timestamp::from_ms(1_000_000_000);
    let id = |number: u8| UpdateId::new([number; 16]);
    let hours = |hours: u64| now.after(Duration::from_hours(hours));
    let of =
        |known: &[(u8, Timestamp)]| lane.beyond(known.iter().map(|(number, made)| (id(*number), *made, true)), now);
    let unknown = Timestamp::from_ms(0);
    assert_eq!(
        of(&[(1, Timestamp::from_ms(5)), (2, hours(25)), (3, hours(24)), (4, hours(900_000))]),
        [id(2), id(4)].into()
    );
    assert_eq!(
        of(&[(1, unknown), (2, hours(25)), (3, hours(26))]),
        [id(2)].into(),
        "nor is one without a date behind them"
    );
    assert_eq!(
        of(&[(1, hours(300)), (2, hours(100)), (3, hours(200))]),
        [id(2)].into(),
        "the clock of the node is wrong"
    );
}

fn any_time() -> impl Strategy<Value = Time> {
    (0u8..24, 0u8..60).prop_map(|(hour, minute)| Time::new(hour, minute))
}

fn any_day() -> impl Strategy<Value = Weekday> {
    (0i8..7).prop_map(|day| Weekday::from_monday_zero_offset(day).unwrap())
}

fn any_when() -> impl Strategy<Value = When> {
    prop_oneof![
        (1u8..=24, any_time()).prop_map(|(every, from)| When::Hourly { every, from }),
        any_time().prop_map(|at| When::Daily { at }),
        (prop::collection::btree_set(0i8..7, 1..7), any_time()).prop_map(|(days, at)| When::Weekly {
            days: days.into_iter().map(|day| Weekday::from_monday_zero_offset(day).unwrap()).collect(),
            at
        }),
        (1u8..=31, any_time()).prop_map(|(day, at)| When::Monthly { day, at }),
        (
            prop::sample::select(vec![Nth::First, Nth::Second, Nth::Third, Nth::Fourth, Nth::Last]),
            any_day(),
            0u8..28,
            any_time()
        )
            .prop_map(|(nth, weekday, plus_days, at)| When::MonthlyWeekday { nth, weekday, plus_days, at }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(when in any_when()) {
        prop_assert_eq!(when.to_string().parse::<When>().unwrap(), when);
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,40}") {
        drop(text.parse::<When>());
    }

    /// The run is after the time, not before its slot, and nothing that would come between is passed over: asked again from any time
    /// before it, it is the same.
    #[test]
    fn the_next_run_is_the_next(
        when in any_when(),
        zone in prop::sample::select(vec!["UTC0", EUROPE, "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "EST5EDT,M3.2.0,M11.1.0"]),
        jitter_minutes in prop::sample::select(vec![0u32, 30, 720]),
        from_minute in 0u64..2_200_000,
        between in 0u64..1000,
        seed: u64,
    ) {
        let schedule = Schedule { when, zone: zone.to_owned(), jitter_minutes, ..Schedule::default() };
        // 2026-01-01 and four years on, a leap year among them.
        let after = Timestamp::from_ms((1_767_225_600 + from_minute * 60) * 1000);
        let run = schedule.next(after, seed).unwrap().unwrap();
        prop_assert!(run > after);
        prop_assert!(run.since(after) < Duration::from_hours(63 * 24));
        let middle = Timestamp::from_ms(after.ms() + (run.ms() - 1 - after.ms()) * between / 1000);
        prop_assert_eq!(schedule.next(middle, seed).unwrap(), Some(run));
    }
}
