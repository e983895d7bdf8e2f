//! Days and times as a person writes them, and the slots that they make on a date.
//!
//! ```text
//! every 4 hours from 00:30      daily 02:00      weekly Tue, Fri 22:15
//! hourly 00:30                  every 1 hour from 00:30
//! monthly 15 03:00              monthly last 03:00, as monthly 31: in shorter months on their last day
//! monthly second Tuesday 20:00  monthly second Tuesday + 3 days 03:00
//! ```

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Weekday};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time of the clock on the wall, to the minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    hour: i8,
    minute: i8,
}

impl Time {
    /// 0 to 23 and 0 to 59; what is beyond is the last one.
    pub const fn new(hour: u8, minute: u8) -> Self {
        let hour = if hour > 23 { 23 } else { hour };
        let minute = if minute > 59 { 59 } else { minute };
        Self { hour: hour.cast_signed(), minute: minute.cast_signed() }
    }

    fn on(self, date: Date) -> DateTime {
        date.at(self.hour, self.minute, 0, 0)
    }
}

/// Which of the weekdays of a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nth {
    /// The first.
    First,
    /// The second.
    Second,
    /// The third.
    Third,
    /// The fourth.
    Fourth,
    /// The last one, fourth or fifth.
    Last,
}

/// Days and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// Each day at the same times: from a time on, so many hours apart, until the day has had its 24 hours.
    Hourly {
        /// 1 to 24.
        every: u8,
        /// The first of the day.
        from: Time,
    },
    /// Once a day.
    Daily {
        /// The time.
        at: Time,
    },
    /// On days of the week.
    Weekly {
        /// Which, at least one.
        days: Vec<Weekday>,
        /// The time.
        at: Time,
    },
    /// On a day of the month; where a month is shorter, on its last.
    Monthly {
        /// 1 to 31.
        day: u8,
        /// The time.
        at: Time,
    },
    /// Days after a weekday of the month. Three days after the second Tuesday is what many a site gives the vendor to mend its mends.
    MonthlyWeekday {
        /// Which of them.
        nth: Nth,
        /// Which weekday.
        weekday: Weekday,
        /// So many days later, 0 to 27, into the next month where it comes to that.
        plus_days: u8,
        /// The time.
        at: Time,
    },
}

/// The forms that there are, each by an example.
pub const FORMS: &str = "\"daily 02:00\", \"every 4 hours from 00:30\", \"weekly Tue, Fri 22:15\", \"monthly 15 03:00\", \
                         \"monthly last 03:00\" or \"monthly second Tuesday + 3 days 03:00\"";

/// Text that names no days and times, or numbers beyond theirs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no schedule: {why}; {}", write_it(.near.as_deref()))]
pub struct WhenError {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
    /// What may have been meant.
    pub near: Option<String>,
}

fn write_it(near: Option<&str>) -> String {
    match near {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("write it like {FORMS}"),
    }
}

impl When {
    /// Refuses numbers beyond theirs.
    pub fn check(&self) -> Result<(), WhenError> {
        let why = match self {
            Self::Hourly { every, .. } if !(1..=24).contains(every) => "hours are 1 to 24 apart",
            Self::Weekly { days, .. } if days.is_empty() => "it names no day of the week",
            Self::Monthly { day, .. } if !(1..=31).contains(day) => "days of a month are 1 to 31",
            Self::MonthlyWeekday { plus_days, .. } if *plus_days > 27 => "it is at most 27 days later",
            _ => return Ok(()),
        };
        Err(WhenError { text: self.to_string(), why: why.to_owned(), near: None })
    }

    /// The slots of a date, some of which may be early on the next one.
    pub(super) fn slots(&self, date: Date) -> Vec<DateTime> {
        let once = |fits: bool, at: Time| if fits { vec![at.on(date)] } else { Vec::new() };
        match self {
            Self::Hourly { every, from } => {
                let step = usize::from((*every).max(1));
                let slot = |hours: u8| from.on(date).checked_add(jiff::Span::new().hours(i64::from(hours))).ok();
                (0..24).step_by(step).filter_map(slot).collect()
            }
            Self::Daily { at } => once(true, *at),
            Self::Weekly { days, at } => once(days.contains(&date.weekday()), *at),
            Self::Monthly { day, at } => {
                let day = i8::try_from(*day).unwrap_or(i8::MAX).clamp(1, date.days_in_month());
                once(date.day() == day, *at)
            }
            Self::MonthlyWeekday { nth, weekday, plus_days, at } => {
                let base = date.checked_sub(jiff::Span::new().days(i64::from(*plus_days)));
                once(base.is_ok_and(|base| base.weekday() == *weekday && nth.is(base)), *at)
            }
        }
    }
}

impl Nth {
    fn is(self, date: Date) -> bool {
        let week = (date.day() - 1) / 7;
        match self {
            Self::First => week == 0,
            Self::Second => week == 1,
            Self::Third => week == 2,
            Self::Fourth => week == 3,
            Self::Last => date.day() + 7 > date.days_in_month(),
        }
    }
}

const NTHS: [(Nth, &str, &str); 5] = [
    (Nth::First, "first", "1st"),
    (Nth::Second, "second", "2nd"),
    (Nth::Third, "third", "3rd"),
    (Nth::Fourth, "fourth", "4th"),
    (Nth::Last, "last", "last"),
];

const WEEKDAYS: [(Weekday, &str); 7] = [
    (Weekday::Monday, "Monday"),
    (Weekday::Tuesday, "Tuesday"),
    (Weekday::Wednesday, "Wednesday"),
    (Weekday::Thursday, "Thursday"),
    (Weekday::Friday, "Friday"),
    (Weekday::Saturday, "Saturday"),
    (Weekday::Sunday, "Sunday"),
];

fn day_name(day: Weekday) -> &'static str {
    WEEKDAYS.iter().find(|(known, _)| *known == day).map_or("", |(_, name)| name)
}

/// A weekday in full or by at least its first three letters.
fn weekday(text: &str) -> Option<Weekday> {
    let fits =
        |name: &str| text.len() >= 3 && name.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text));
    WEEKDAYS.iter().find(|(_, name)| fits(name)).map(|(day, _)| *day)
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}

impl fmt::Display for When {
    /// What [`When::from_str`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hourly { every: 1, from } => write!(f, "every 1 hour from {from}"),
            Self::Hourly { every, from } => write!(f, "every {every} hours from {from}"),
            Self::Daily { at } => write!(f, "daily {at}"),
            Self::Weekly { days, at } => {
                let names: Vec<&str> = days.iter().map(|day| day_name(*day)).collect();
                write!(f, "weekly {} {at}", names.join(", "))
            }
            Self::Monthly { day: 31, at } => write!(f, "monthly last {at}"),
            Self::Monthly { day, at } => write!(f, "monthly {day} {at}"),
            Self::MonthlyWeekday { nth, weekday, plus_days, at } => {
                let nth = NTHS.iter().find(|(known, ..)| known == nth).map_or("", |(_, name, _)| name);
                write!(f, "monthly {nth} {}", day_name(*weekday))?;
                match plus_days {
                    0 => {}
                    1 => f.write_str(" + 1 day")?,
                    days => write!(f, " + {days} days")?,
                }
                write!(f, " {at}")
            }
        }
    }
}

impl FromStr for When {
    type Err = WhenError;

    fn from_str(text: &str) -> Result<Self, WhenError> {
        read(text).map_err(|error| WhenError { near: near(text), ..error })
    }
}

/// Bytes of a text in which what may have been meant is looked for; the longest right one has fewer.
const NEAR_TEXT_MAX: usize = 120;

/// What a text that cannot be read may have meant: without the words that people put between, with a time where none stands.
fn near(text: &str) -> Option<String> {
    if text.len() > NEAR_TEXT_MAX {
        return None;
    }
    let lower = text.to_ascii_lowercase().replace(',', " ");
    let is_said_between = |word: &&str| !matches!(*word, "at" | "the" | "of" | "day" | "week" | "month");
    let words: Vec<&str> = lower.split_whitespace().filter(is_said_between).collect();
    let (first, rest) = words.split_first()?;
    let rest = rest.join(" ");
    let began: Vec<String> = match *first {
        "every" | "each" | "on" => ["every", "daily", "weekly", "monthly"].map(|kind| format!("{kind} {rest}")).into(),
        _ => vec![words.join(" ")],
    };
    let ended = |began: &String| ["", " 02:00", " from 00:00"].map(|end| format!("{began}{end}"));
    began.iter().flat_map(ended).find_map(|text| read(&text).ok()).map(|when| when.to_string())
}

fn read(text: &str) -> Result<When, WhenError> {
    let wrong = |why: &str| WhenError { text: text.chars().take(80).collect(), why: why.to_owned(), near: None };
    let spaced = text.to_ascii_lowercase().replace(',', " ").replace('+', " + ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let [kind, middle @ .., at] = words.as_slice() else { return Err(wrong("it has no days and no time")) };
    let at = time(at).ok_or_else(|| wrong("it does not end with a time of 00:00 to 23:59"))?;
    let number = |word: &str| word.parse::<u8>().ok();
    let when = match (*kind, middle) {
        ("daily", []) => When::Daily { at },
        ("hourly", [] | ["from"]) | ("every", ["hour", "from"]) => When::Hourly { every: 1, from: at },
        ("every", [count, "hour" | "hours", "from"]) => {
            let every = number(count).ok_or_else(|| wrong("hours are 1 to 24 apart"))?;
            When::Hourly { every, from: at }
        }
        ("weekly", days) => {
            let mut known = Vec::new();
            for day in days.iter().filter(|word| !matches!(**word, "on" | "and")) {
                let day = weekday(day).ok_or_else(|| wrong("it names what is no day of the week"))?;
                if !known.contains(&day) {
                    known.push(day);
                }
            }
            known.sort_by_key(|day| day.to_monday_zero_offset());
            When::Weekly { days: known, at }
        }
        ("monthly", ["last"]) => When::Monthly { day: 31, at },
        ("monthly", [day]) => {
            When::Monthly { day: number(day).ok_or_else(|| wrong("days of a month are 1 to 31"))?, at }
        }
        ("monthly", [nth, day, plus @ ..]) => {
            let known = NTHS.iter().find(|(_, name, short)| name == nth || short == nth);
            let nth = known
                .map(|(nth, ..)| *nth)
                .ok_or_else(|| wrong("of a weekday there is a first to fourth and a last"))?;
            let weekday = weekday(day).ok_or_else(|| wrong("it names what is no day of the week"))?;
            let plus_days = match plus {
                [] => 0,
                ["+", days] | ["+", days, "day" | "days"] => {
                    number(days).ok_or_else(|| wrong("it is at most 27 days later"))?
                }
                _ => return Err(wrong("between weekday and time may stand \"+ 3 days\" and nothing else")),
            };
            When::MonthlyWeekday { nth, weekday, plus_days, at }
        }
        _ => {
            return Err(wrong("it begins with none of every, daily, weekly, monthly, or goes on with something else"));
        }
    };
    when.check().map_err(|error| wrong(&error.why))?;
    Ok(when)
}

fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let digits =
        |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hour, 2) || !digits(minute, 2) || minute.len() != 2 {
        return None;
    }
    let (hour, minute) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour < 24 && minute < 60).then(|| Time::new(hour, minute))
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
