//! How fast a class may flow, as people write it. Networks count in bits and decimal prefixes, files in bytes and either.

use std::fmt;

use crate::pace::error::Error;

/// The least rate, in bytes a second: what Windows needs on one connection so that it does not take the node for dead.
pub const RATE_MIN: u64 = 4_000;

/// The highest rate, in bytes a second (1 Tbit/s): what is more is a slip of the pen.
pub const RATE_MAX: u64 = 125_000_000_000;

/// How fast bytes may flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Limit {
    /// As fast as they come.
    #[default]
    Unlimited,
    /// So many bytes a second, from [`RATE_MIN`] to [`RATE_MAX`].
    Rate(u64),
    /// Not at all, until another rule is in force. For background classes only.
    Paused,
}

impl Limit {
    /// Reads `"20 Mbit/s"`, `"2.5 MB/s"`, `"512 KiB/s"`, `"unlimited"` or `"paused"`.
    ///
    /// Bits are `bit/s` and `bps`, bytes are `B/s` and `Bps`, with k, M and G (or Ki, Mi and Gi) before them in any case.
    /// Refused is what could mean either (`Mb/s`), a share (`50 %`: of what?), a number without a unit, and zero, which could
    /// mean "no limit" or "nothing".
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let wrong = |why: &str| Error::Rate { text: text.chars().take(80).collect(), why: why.to_owned() };
        match text.to_ascii_lowercase().as_str() {
            "unlimited" => return Ok(Self::Unlimited),
            "paused" => return Ok(Self::Paused),
            "" => return Err(wrong("it is empty")),
            _ => {}
        }
        let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let thousandths = thousandths(number).ok_or_else(|| wrong("it does not begin with a number"))?;
        let (factor, bits) = unit_of(unit.trim()).map_err(&wrong)?;
        let bytes = u128::from(thousandths) * u128::from(factor) / 1000 / if bits { 8 } else { 1 };
        match u64::try_from(bytes) {
            Ok(0) => Err(wrong("nothing would flow; write \"paused\" (prefetch and sync only) or \"unlimited\"")),
            Ok(bytes) if bytes < RATE_MIN => {
                Err(wrong("it is below 32 kbit/s (4 kB/s), at which clients take a node for dead"))
            }
            Ok(bytes) if bytes <= RATE_MAX => Ok(Self::Rate(bytes)),
            _ => Err(wrong("it is above 1 Tbit/s")),
        }
    }

    /// Bytes a second; `None` where there is no number to it.
    pub fn rate(self) -> Option<u64> {
        match self {
            Self::Rate(rate) => Some(rate),
            Self::Unlimited | Self::Paused => None,
        }
    }

    /// Whether it holds anything back.
    pub fn is_limited(self) -> bool {
        self != Self::Unlimited
    }
}

/// `"2.5"` as 2500; at most three digits behind the point.
fn thousandths(number: &str) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 3 || number.ends_with('.') || fraction.contains('.') {
        return None;
    }
    let fraction: u64 = if fraction.is_empty() { 0 } else { format!("{fraction:0<3}").parse().ok()? };
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(fraction)
}

/// The factor of a unit, and whether it counts bits.
fn unit_of(unit: &str) -> Result<(u64, bool), &'static str> {
    let (stem, bits) = if let Some(stem) = unit.strip_suffix("/s") {
        let lower = stem.to_ascii_lowercase();
        if lower.ends_with("bit") {
            (&stem[..stem.len() - 3], true)
        } else if let Some(stem) = stem.strip_suffix('B') {
            (stem, false)
        } else if stem.ends_with('b') {
            return Err("a small b can mean bits or bytes");
        } else {
            return Err("its unit is not known");
        }
    } else if let Some(stem) = unit.strip_suffix("bps") {
        (stem, true)
    } else if let Some(stem) = unit.strip_suffix("Bps") {
        (stem, false)
    } else if unit.starts_with('%') {
        return Err("a share does not say of what");
    } else if unit.is_empty() {
        return Err("it has no unit");
    } else {
        return Err("its unit is not one by second");
    };
    let factor = match stem.trim().to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1_000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        "ki" => 1 << 10,
        "mi" => 1 << 20,
        "gi" => 1 << 30,
        _ => return Err("its unit is not known"),
    };
    Ok((factor, bits))
}

impl fmt::Display for Limit {
    /// In bits, as links are measured, with up to three digits behind the point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = match self {
            Self::Unlimited => return f.write_str("unlimited"),
            Self::Paused => return f.write_str("paused"),
            Self::Rate(rate) => *rate,
        };
        let bits = u128::from(rate) * 8;
        let (scale, word) = match bits {
            1_000_000_000.. => (1_000_000_000, "Gbit/s"),
            1_000_000.. => (1_000_000, "Mbit/s"),
            _ => (1_000, "kbit/s"),
        };
        let thousandths = bits * 1000 / scale;
        let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
        write!(f, "{} {word}", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_as_people_write_them() {
        for (text, rate) in [
            ("20 Mbit/s", 2_500_000),
            ("20mbit/s", 2_500_000),
            ("20 Mbps", 2_500_000),
            ("2 MB/s", 2_000_000),
            ("2 MBps", 2_000_000),
            ("2.5 MB/s", 2_500_000),
            ("512 KiB/s", 512 << 10),
            ("512 kB/s", 512_000),
            ("1 Gbit/s", 125_000_000),
            ("1 GiB/s", 1 << 30),
            ("64 Kibit/s", 8 << 10),
            ("4000 B/s", 4000),
            ("32 kbit/s", 4000),
            ("1000 Gbit/s", RATE_MAX),
        ] {
            assert_eq!(Limit::parse(text), Ok(Limit::Rate(rate)), "{text}");
        }
        assert_eq!(Limit::parse(" Unlimited "), Ok(Limit::Unlimited));
        assert_eq!(Limit::parse("paused"), Ok(Limit::Paused));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_reason() {
        for (text, why) in [
            ("0", "no unit"),
            ("0 Mbit/s", "paused"),
            ("50 %", "of what"),
            ("20 Mb/s", "bits or bytes"),
            ("20", "no unit"),
            ("20 MB", "by second"),
            ("fast", "number"),
            ("", "empty"),
            ("1.2345 MB/s", "number"),
            ("1. MB/s", "number"),
            ("1.2.3 MB/s", "number"),
            ("-1 MB/s", "number"),
            ("3999 B/s", "below"),
            ("2 Tbit/s", "unit"),
            ("2000 Gbit/s", "above"),
            ("99999999999999999999 MB/s", "number"),
            ("20 parsecs/s", "unit"),
        ] {
            let error = Limit::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_to_the_same_within_a_thousandth(rate in RATE_MIN..=RATE_MAX) {
            let shown = Limit::Rate(rate).to_string();
            // Rounded down in the last digit, so that the least rate may fall below the bound.
            if let Ok(Limit::Rate(back)) = Limit::parse(&shown) {
                prop_assert!(back <= rate && rate - back <= rate / 1000 + 1, "{shown}: {back} of {rate}");
            } else {
                prop_assert!(rate < RATE_MIN + 1000, "{shown} does not read back");
            }
        }

        #[test]
        fn no_text_breaks_it(text in ".{0,40}") {
            let _ = Limit::parse(&text);
        }
    }

    #[test]
    fn shown_in_the_largest_unit() {
        assert_eq!(Limit::Rate(2_500_000).to_string(), "20 Mbit/s");
        assert_eq!(Limit::Rate(4_000).to_string(), "32 kbit/s");
        assert_eq!(Limit::Rate(RATE_MAX).to_string(), "1000 Gbit/s");
        assert_eq!(Limit::Rate(512 << 10).to_string(), "4.194 Mbit/s");
    }
}
