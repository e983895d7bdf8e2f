//! Sizes, times and counts as people write and read them. Pure.

use std::time::Duration;

pub use crate::base::size::bytes;

/// `1234567` as `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 thing`, `2 things`.
pub fn counted(value: u64, thing: &str) -> String {
    if value == 1 { format!("1 {thing}") } else { format!("{} {thing}s", count(value)) }
}

/// The two largest units of a time: `3 d 4 h`, `12 s`.
pub fn time(value: Duration) -> String {
    let seconds = value.as_secs();
    let parts = [("d", seconds / 86_400), ("h", seconds / 3600 % 24), ("min", seconds / 60 % 60), ("s", seconds % 60)];
    let shown = parts.iter().skip_while(|(_, value)| *value == 0).take(2).filter(|(_, value)| *value > 0);
    let text = shown.map(|(unit, value)| format!("{value} {unit}")).collect::<Vec<_>>().join(" ");
    if text.is_empty() { "0 s".to_owned() } else { text }
}

/// A share as percent.
pub fn percent(value: f64) -> String {
    format!("{:.1} %", value * 100.0)
}

/// Reads `50MiB`, `1.5 GiB`, `200 MB`, `4096`: a number, and a unit of 1024s (KiB, or K alone) or of 1000s (kB).
pub fn parse(text: &str) -> Result<u64, String> {
    let refuse = || format!("{text:?} is no size: write it as 50MiB, 1.5GiB or 4096");
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let number: f64 = number.parse().map_err(|_| refuse())?;
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => f64::from(1 << 20),
        "g" | "gib" => f64::from(1 << 30),
        "t" | "tib" => 1024.0 * f64::from(1 << 30),
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return Err(refuse()),
    };
    let bytes = number * factor;
    if bytes.is_finite() && (1.0..9e18).contains(&bytes) { Ok(bytes as u64) } else { Err(refuse()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_true() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "0.98 KiB"),
            (1536, "1.50 KiB"),
            (10 << 20, "10.0 MiB"),
            (500 << 30, "500 GiB"),
            (1023 << 30, "1.00 TiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (value, text) in cases {
            assert_eq!(bytes(value), text);
        }
        assert_eq!((count(0), count(999), count(1_234_567)), ("0".into(), "999".into(), "1,234,567".into()));
    }

    #[test]
    fn times_have_two_units_at_most() {
        let shown = |seconds| time(Duration::from_secs(seconds));
        assert_eq!((shown(0), shown(59), shown(3600)), ("0 s".into(), "59 s".into(), "1 h".into()));
        assert_eq!(shown(86_400 * 3 + 3600 * 4 + 59), "3 d 4 h");
    }

    #[test]
    fn sizes_read_back() {
        for (text, value) in
            [("4096", 4096), ("50MiB", 50 << 20), ("1.5 GiB", 3 << 29), ("200 kB", 200_000), ("2t", 2 << 40)]
        {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
        for text in ["", "MiB", "0", "-1", "1 parsec", "1e400", "nan", "0.1"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
