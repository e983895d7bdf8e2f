//! Anchors as Windows servers write them: `9438,2026-10-04 16:33:26.670` (MS-WSUSSS 3.1.1.1). The time is the logical clock of the catalog,
//! which is milliseconds and rises with each transaction, so that what changed behind it is a range of the change log. The number counts
//! changes of the upstream; nobody looks at it.

use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// As servers write it; the parser takes seconds with a fraction.
const FORMAT: &str = "%Y-%m-%d %H:%M:%S%.3f";
const PARSED: &str = "%Y-%m-%d %H:%M:%S%.f";

/// The most characters that are looked at: one of ours has some 30.
const CHARS_MAX: usize = 64;

/// The anchor of this clock.
pub(super) fn write(generation: u64, clock: u64) -> String {
    // 1 to 2,147,483,647, as Windows has it.
    let number = generation % 0x7fff_fffe + 1;
    let at = i64::try_from(clock).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    let text = strtime::format(FORMAT, &at.to_zoned(TimeZone::UTC)).unwrap_or_default();
    format!("{number},{text}")
}

/// The clock of an anchor; `None` where it is none.
pub(super) fn read(text: &str) -> Option<u64> {
    let (number, time) = text.trim().split_once(',').filter(|_| text.len() <= CHARS_MAX)?;
    number.trim().parse::<u32>().ok()?;
    let time = strtime::parse(PARSED, time.trim()).ok()?.to_datetime().ok()?;
    let at = time.to_zoned(TimeZone::UTC).ok()?.timestamp();
    u64::try_from(at.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_is_a_clock_to_the_millisecond() {
        assert_eq!(write(0, 1_791_131_606_670), "1,2026-10-04 16:33:26.670");
        for clock in [0, 1, 999, 1_000, 1_791_131_606_670, 1_791_131_606_007] {
            assert_eq!(read(&write(7, clock)), Some(clock), "{}", write(7, clock));
        }
        assert_eq!(read("9438,2026-10-04 16:33:26.670"), Some(1_791_131_606_670), "one that a server was seen to give");
        assert_eq!(read(" 9438,2026-10-04 16:33:26"), Some(1_791_131_606_000));
        let long = format!("1,{}", "0".repeat(100));
        for wrong in ["", "garbage", "9438", "9438,", "x,2026-10-04 16:33:26.670", "1,2026-13-04 16:33:26.670", &long] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
