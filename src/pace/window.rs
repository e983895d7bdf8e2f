//! Windows of the week: from one time of the day to another, on some days. Pure.
//!
//! A window is a set of readings of the clock on the wall. Whatever shows a time within it is in it: an hour that is
//! skipped in spring is never shown and so never in a window, one that comes twice in autumn is in it twice. Where a
//! window runs over midnight, its days are those on which it begins.

use std::fmt;

use jiff::civil::{Date, DateTime, Weekday};

use crate::pace::error::Error;

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// All seven days.
const EVERY_DAY: u8 = 0b111_1111;

const WORDS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A window of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// The days on which it begins, Monday in the lowest bit.
    days: u8,
    /// The minute of the day at which it begins.
    from: u16,
    /// The minute at which it is over, from 1 to [`DAY`]; on the next day where it is not after `from`.
    to: u16,
}

impl Window {
    /// Reads `"08:00-18:00 Mon-Fri"`: a stretch of the day, or days, or both, in either order. Days are given singly or as
    /// ranges (`Fri-Mon` too), with blanks, commas or `+` between them.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why: String| Error::Window { text: text.chars().take(80).collect(), why };
        let (mut days, mut time) = (0, None);
        let tokens = text.split([' ', '\t', ',', '+']).filter(|token| !token.is_empty());
        for token in tokens {
            if token.starts_with(|letter: char| letter.is_ascii_digit()) {
                if time.is_some() {
                    return Err(wrong("it has more than one stretch of the day".to_owned()));
                }
                time = Some(stretch(token).map_err(&wrong)?);
            } else {
                days |= days_of(token).map_err(&wrong)?;
            }
        }
        if time.is_none() && days == 0 {
            return Err(wrong("it is empty".to_owned()));
        }
        let (from, to) = time.unwrap_or((0, DAY));
        Ok(Self { days: if days == 0 { EVERY_DAY } else { days }, from, to })
    }

    /// Whether a clock that shows `local` is in it.
    pub fn covers(&self, local: DateTime) -> bool {
        let minute = minute_of(local);
        let today = self.is_on(local.weekday());
        if self.from < self.to {
            return today && (self.from..self.to).contains(&minute);
        }
        (today && minute >= self.from) || (minute < self.to && self.is_on(local.weekday().previous()))
    }

    /// The readings of the clock at which it may begin or end on `date`; at most one of each.
    pub(crate) fn edges(&self, date: Date) -> impl Iterator<Item = DateTime> {
        let at = move |minute: u16| {
            let (hour, minute) = (i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?);
            // 24:00 is the next day's 00:00.
            if hour == 24 { Some(date.tomorrow().ok()?.at(0, 0, 0, 0)) } else { Some(date.at(hour, minute, 0, 0)) }
        };
        [at(self.from), at(self.to)].into_iter().flatten()
    }

    fn is_on(self, day: Weekday) -> bool {
        self.days & (1 << day.to_monday_zero_offset()) != 0
    }
}

fn minute_of(local: DateTime) -> u16 {
    u16::try_from(i16::from(local.hour()) * 60 + i16::from(local.minute())).unwrap_or(0)
}

/// `"08:00-18:00"`
fn stretch(token: &str) -> Result<(u16, u16), String> {
    let (from, to) = token.split_once('-').ok_or_else(|| format!("{token:?} does not say when it ends"))?;
    let (from, to) = (time(from)?, time(to)?);
    if from == DAY {
        return Err("a day's last moment is no beginning; write 00:00".to_owned());
    }
    // 00:00 as an end is the midnight that comes.
    let to = if to == 0 { DAY } else { to };
    if from == to {
        return Err("it ends when it begins; leave the times out for the whole day".to_owned());
    }
    Ok((from, to))
}

/// `"18:00"` in minutes; 24:00 at the most.
fn time(text: &str) -> Result<u16, String> {
    let wrong = || format!("{text:?} is no time of the day such as 18:00");
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    let digits = |text: &str, least: usize| {
        let fits = (least..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = digits(hour, 1).zip(digits(minute, 2)).ok_or_else(wrong)?;
    let minutes = hour * 60 + minute;
    if minute < 60 && minutes <= DAY { Ok(minutes) } else { Err(wrong()) }
}

/// `"Mon"`, `"Mon-Fri"` or `"daily"`, as bits.
fn days_of(token: &str) -> Result<u8, String> {
    if token.eq_ignore_ascii_case("daily") {
        return Ok(EVERY_DAY);
    }
    let (first, last) = token.split_once('-').unwrap_or((token, token));
    let (mut day, last) = (day_of(first)?, day_of(last)?);
    let mut days = 1 << day;
    while day != last {
        day = (day + 1) % 7;
        days |= 1 << day;
    }
    Ok(days)
}

/// The day's number from Monday. Its first three letters or more of its name.
fn day_of(word: &str) -> Result<u8, String> {
    const NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let lower = word.to_ascii_lowercase();
    let found = NAMES.iter().position(|name| lower.len() >= 3 && name.starts_with(lower.as_str()));
    found.and_then(|at| u8::try_from(at).ok()).ok_or_else(|| format!("{word:?} is no day such as Mon"))
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole_day = (self.from, self.to) == (0, DAY);
        if !whole_day || self.days == EVERY_DAY {
            write!(f, "{:02}:{:02}-{:02}:{:02}", self.from / 60, self.from % 60, self.to / 60, self.to % 60)?;
        }
        if self.days == EVERY_DAY {
            return Ok(());
        }
        let mut gap = if whole_day { "" } else { " " };
        let mut day = 0;
        while day < 7 {
            let run = (day..7).take_while(|day| self.days & (1 << day) != 0).count();
            match run {
                0 => day += 1,
                1 => write!(f, "{gap}{}", WORDS[day])?,
                _ => write!(f, "{gap}{}-{}", WORDS[day], WORDS[day + run - 1])?,
            }
            if run > 0 {
                gap = " ";
                day += run;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn covers(window: &str, local: &str) -> bool {
        Window::parse(window).unwrap().covers(local.parse().unwrap())
    }

    #[test]
    fn covers_what_the_clock_shows() {
        // 2026-11-20 is a Friday.
        for (window, local, within) in [
            ("08:00-18:00 Mon-Fri", "2026-11-20T08:00:00", true),
            ("08:00-18:00 Mon-Fri", "2026-11-20T17:59:59", true),
            ("08:00-18:00 Mon-Fri", "2026-11-20T18:00:00", false),
            ("08:00-18:00 Mon-Fri", "2026-11-21T08:00:00", false),
            ("Mon-Fri 8:00-18:00", "2026-11-20T08:00:00", true),
            ("22:00-06:00 Fri", "2026-11-20T22:00:00", true),
            ("22:00-06:00 Fri", "2026-11-21T05:59:00", true),
            ("22:00-06:00 Fri", "2026-11-20T05:59:00", false),
            ("22:00-06:00 Fri", "2026-11-21T22:00:00", false),
            ("22:00-00:00 Fri", "2026-11-20T23:59:00", true),
            ("22:00-24:00 Fri", "2026-11-21T00:00:00", false),
            ("Sat-Sun", "2026-11-22T23:59:59", true),
            ("Sat,Mon", "2026-11-22T12:00:00", false),
            ("Fri-Mon", "2026-11-22T12:00:00", true),
            ("saturday+sunday 00:00-24:00", "2026-11-21T00:00:00", true),
            ("daily", "2026-11-21T00:00:00", true),
        ] {
            assert_eq!(covers(window, local), within, "{window} at {local}");
        }
    }

    #[test]
    fn what_is_no_window_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "empty"),
            ("08:00", "when it ends"),
            ("08:00-08:00", "ends when it begins"),
            ("24:00-06:00", "no beginning"),
            ("08:00-25:00", "25:00"),
            ("08:00-18:60", "18:60"),
            ("08-18", "no time"),
            ("8:0-9:00", "no time"),
            ("Mo", "no day"),
            ("Mon-Xyz", "no day"),
            ("08:00-10:00 12:00-14:00", "more than one"),
        ] {
            let error = Window::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_the_same_window(days in 1_u8..=EVERY_DAY, from in 0_u16..DAY, to in 1_u16..=DAY) {
            prop_assume!(from != to);
            let window = Window { days, from, to };
            prop_assert_eq!(Window::parse(&window.to_string()), Ok(window));
        }

        #[test]
        fn no_text_breaks_it(text in ".{0,40}") {
            let _ = Window::parse(&text);
        }
    }
}
