//! Numbers, sizes and times, as people write them.

use std::time::Duration;

use crate::app::config::kinds::{Kind, text};
use crate::model::settings::Raw;

/// Whether something is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Switch(pub(crate) bool);

impl Kind for Switch {
    fn expected() -> String {
        "true or false".into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Switch(value) => Ok(Self(*value)),
            Raw::Text(text) if text == "true" => Ok(Self(true)),
            Raw::Text(text) if text == "false" => Ok(Self(false)),
            _ => Err(String::new()),
        }
    }
}

/// A whole number within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count<const MIN: u64, const MAX: u64>(pub(crate) u64);

impl<const MIN: u64, const MAX: u64> Kind for Count<MIN, MAX> {
    fn expected() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        let number = match raw {
            Raw::Number(number) => u64::try_from(*number).map_err(|_| String::new())?,
            Raw::Text(text) => text.trim().parse().map_err(|_| String::new())?,
            _ => return Err(String::new()),
        };
        if (MIN..=MAX).contains(&number) { Ok(Self(number)) } else { Err(String::new()) }
    }
}

/// Splits `"500 GiB"` into a number and a unit. Fractions have at most three digits and come back in thousandths.
fn amount(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 3 || number.ends_with('.') {
        return None;
    }
    let thousandths: u64 = if fraction.is_empty() { 0 } else { format!("{fraction:0<3}").parse().ok()? };
    Some((whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(thousandths)?, unit.trim()))
}

/// A size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl Kind for Size {
    fn expected() -> String {
        "a size such as \"500 GiB\" (B, KiB, MiB, GiB, TiB, or KB, MB, GB, TB)".into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        let text = match raw {
            Raw::Number(number) => return u64::try_from(*number).map(Self).map_err(|_| String::new()),
            other => text(other)?,
        };
        let (thousandths, unit) = amount(text).ok_or_else(String::new)?;
        let factor: u64 = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kib" | "k" => 1 << 10,
            "mib" | "m" => 1 << 20,
            "gib" | "g" => 1 << 30,
            "tib" | "t" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(format!("the unit {unit:?} is not known")),
        };
        let bytes = u128::from(thousandths) * u128::from(factor) / 1000;
        // What the file system's own calls can count.
        u64::try_from(bytes)
            .ok()
            .filter(|bytes| i64::try_from(*bytes).is_ok())
            .map(Self)
            .ok_or("it is too large".into())
    }
}

/// A size from `MIN` to `MAX` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SizeWithin<const MIN: u64, const MAX: u64>(pub(crate) u64);

impl<const MIN: u64, const MAX: u64> Kind for SizeWithin<MIN, MAX> {
    fn expected() -> String {
        Size::expected()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        // A size that forgot its unit is the likeliest to be too small.
        let unit = if matches!(raw, Raw::Number(_)) { " (a number without a unit counts bytes)" } else { "" };
        match Size::read(raw)?.0 {
            small if small < MIN => Err(format!("it must be at least {:?}{unit}", size_text(MIN))),
            large if large > MAX => Err(format!("it must be at most {:?}", size_text(MAX))),
            size => Ok(Self(size)),
        }
    }
}

/// A stretch of time, in milliseconds from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time<const MIN: u64, const MAX: u64>(pub(crate) Duration);

impl<const MIN: u64, const MAX: u64> Kind for Time<MIN, MAX> {
    fn expected() -> String {
        format!(
            "a time such as \"30 s\" (ms, s, min, h, days), from {} to {}",
            time_text(Duration::from_millis(MIN)),
            time_text(Duration::from_millis(MAX))
        )
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        let text = match raw {
            Raw::Number(0) => "0",
            Raw::Number(_) => return Err("a number alone does not say its unit".into()),
            other => text(other)?,
        };
        let (thousandths, unit) = amount(text).ok_or_else(String::new)?;
        let factor: u64 = match unit.to_ascii_lowercase().as_str() {
            "ms" => 1,
            "s" | "sec" | "second" | "seconds" => 1_000,
            "min" | "minute" | "minutes" => 60_000,
            "h" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            "w" | "week" | "weeks" => 7 * 86_400_000,
            "" if thousandths == 0 => 1,
            "" => return Err("a number alone does not say its unit".into()),
            _ => return Err(format!("the unit {unit:?} is not known")),
        };
        let ms = u128::from(thousandths) * u128::from(factor) / 1000;
        match u64::try_from(ms) {
            Ok(ms) if (MIN..=MAX).contains(&ms) => Ok(Self(Duration::from_millis(ms))),
            _ => Err(String::new()),
        }
    }
}

/// A duration in the largest unit that it is a whole number of.
pub(crate) fn time_text(time: Duration) -> String {
    let ms = time.as_millis();
    for (unit, word) in [(86_400_000, "days"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")] {
        if ms > 0 && ms.is_multiple_of(unit) {
            return format!("{} {word}", ms / unit);
        }
    }
    if ms == 0 { "0".into() } else { format!("{ms} ms") }
}

/// A size in the largest binary unit that leaves at most one digit behind the point.
pub(crate) fn size_text(bytes: u64) -> String {
    for (shift, word) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >> shift > 0 {
            let tenths = (u128::from(bytes) * 10) >> shift;
            let (whole, tenth) = (tenths / 10, tenths % 10);
            return if tenth == 0 { format!("{whole} {word}") } else { format!("{whole}.{tenth} {word}") };
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> Result<u64, String> {
        Size::read(&text.into()).map(|size| size.0)
    }

    fn time(text: &str) -> Result<Duration, String> {
        Time::<0, { 400 * 86_400_000 }>::read(&text.into()).map(|time| time.0)
    }

    #[test]
    fn sizes_as_people_write_them() {
        assert_eq!(size("500 GiB"), Ok(500 << 30));
        assert_eq!(size("1.5TiB"), Ok(3 << 39));
        assert_eq!(size("10 GB"), Ok(10_000_000_000));
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("64m"), Ok(64 << 20));
        assert_eq!(Size::read(&Raw::Number(7)), Ok(Size(7)));
        for wrong in
            ["", "GiB", "1.2345 GiB", "-1", "1. GiB", "5 parsecs", "99999999999999999999", "9000000 TiB", "1e9"]
        {
            assert!(size(wrong).is_err(), "{wrong:?}");
        }
        assert!(Size::read(&Raw::Number(-7)).is_err());
        assert_eq!(size_text(500 << 30), "500 GiB");
        assert_eq!(size_text(3 << 39), "1.5 TiB");
        assert_eq!(size_text(1023), "1023 B");
        assert_eq!(size_text(u64::MAX), "16777215.9 TiB");
    }

    #[test]
    fn times_as_people_write_them() {
        assert_eq!(time("30 days"), Ok(Duration::from_hours(720)));
        assert_eq!(time("75 s"), Ok(Duration::from_secs(75)));
        assert_eq!(time("1.5 h"), Ok(Duration::from_mins(90)));
        assert_eq!(time("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(time("0"), Ok(Duration::ZERO));
        for wrong in ["", "30", "s", "3 fortnights", "401 days", "-3 s"] {
            assert!(time(wrong).is_err(), "{wrong:?}");
        }
        assert!(Time::<0, 9000>::read(&Raw::Number(5)).unwrap_err().contains("unit"));
        assert_eq!(time_text(Duration::from_secs(90)), "90 s");
        assert_eq!(time_text(Duration::from_hours(24)), "1 days");
    }
}
