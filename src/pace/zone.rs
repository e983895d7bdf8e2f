//! The site's time zone.

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::base::time::Timestamp;
use crate::base::zone;
use crate::pace::error::Error;

/// A time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    zone: TimeZone,
    name: String,
}

impl Default for Zone {
    /// UTC.
    fn default() -> Self {
        Self { zone: TimeZone::UTC, name: "UTC".to_owned() }
    }
}

impl Zone {
    /// Reads an IANA name, a POSIX time zone, or nothing for the machine's own. Reads the machine's database.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why: String| Error::Zone { text: text.trim().chars().take(80).collect(), why };
        let (zone, name) = zone::parse(text).map_err(wrong)?;
        Ok(Self { zone, name })
    }

    /// The machine's own; UTC where it has none.
    pub fn machine() -> Self {
        let (zone, name) = zone::machine();
        Self { zone, name }
    }

    /// What a clock on the wall shows. Times that no calendar has are the first there is.
    pub fn local(&self, at: Timestamp) -> DateTime {
        self.zone.to_datetime(instant(at))
    }

    /// Date and time there, to the minute.
    pub fn show(&self, at: Timestamp) -> String {
        self.local(at).strftime("%a %Y-%m-%d %H:%M").to_string()
    }

    pub(crate) fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

/// A time as jiff has it; the beginning of time where it is beyond its calendar.
pub(crate) fn instant(at: Timestamp) -> jiff::Timestamp {
    i64::try_from(at.ms()).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or_default()
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_posix_zones_without_any_database() {
        let zone = Zone::parse("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let summer = Timestamp::from_ms(1_782_900_000_000);
        assert_eq!(zone.show(summer), "Wed 2026-07-01 12:00");
        assert_eq!(zone.to_string(), "CET-1CEST,M3.5.0,M10.5.0/3");
        for wrong in ["Middle/Earth", "CET-1CEST,,", "08:00"] {
            assert!(Zone::parse(wrong).unwrap_err().to_string().contains("tzdata"), "{wrong}");
        }
    }

    #[test]
    fn no_time_breaks_it() {
        assert!(!Zone::default().show(Timestamp::from_ms(u64::MAX)).is_empty());
    }
}
