//! Wall-clock time as the product keeps it, and the clock seam.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// This many milliseconds after 1970-01-01 UTC.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// Later by `by`; the end of time where the sum would not fit.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier`; zero where it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The standard library's form of it.
    pub fn system(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0)
    }
}

impl From<SystemTime> for Timestamp {
    /// Times before 1970 become 1970.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, to the second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Most times that are printed are now, to the second: a thread remembers how the last one looked.
        thread_local! {
            static LAST: Cell<Option<(u64, [u8; 20])>> = const { Cell::new(None) };
        }
        let second = self.0 / 1000;
        if let Some((known, text)) = LAST.get()
            && known == second
            && let Ok(text) = std::str::from_utf8(&text)
        {
            return f.write_str(text);
        }
        // Outside of the calendar two values of one second look different.
        let Some(text) = self.second() else { return write!(f, "{} ms", self.0) };
        if let Ok(text) = text.as_bytes().try_into() {
            LAST.set(Some((second, text)));
        }
        f.write_str(&text)
    }
}

impl Timestamp {
    /// As RFC 3339 has it; `None` beyond the end of the calendar.
    fn second(self) -> Option<String> {
        let time = jiff::Timestamp::from_millisecond(i64::try_from(self.0).ok()?).ok()?;
        Some(format!("{time:.0}"))
    }
}

/// Where the wall clock comes from; tests put their own in.
///
/// Waiting is tokio's business (its clock can be paused); this one only tells what time it is.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_in_utc_and_survives_any_value() {
        assert_eq!(Timestamp::from_ms(1_700_000_000_999).to_string(), "2023-11-14T22:13:20Z");
        // The next ones are known by heart, but not for another second.
        for (ms, text) in [(1_700_000_000_000, "2023-11-14T22:13:20Z"), (1_700_000_001_000, "2023-11-14T22:13:21Z")] {
            assert_eq!(Timestamp::from_ms(ms).to_string(), text);
        }
        // As long as a time of the calendar, and two of one second.
        for ms in [10_000_000_000_000_000, 10_000_000_000_000_001, u64::MAX] {
            assert_eq!(Timestamp::from_ms(ms).to_string(), format!("{ms} ms"));
        }
        assert_eq!(Timestamp::from_ms(5).since(Timestamp::from_ms(9)), Duration::ZERO);
    }
}
