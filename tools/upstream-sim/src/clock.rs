//! The simulated time: it stands still but for one millisecond with each answer, and goes on by months on command.

use jiff::Timestamp;

/// When the first catalog is whole, in ms: 4 October 2026, noon.
pub(crate) const BASE: i64 = 1_791_115_200_000;

/// A simulated month, in ms.
pub(crate) const MONTH: i64 = 30 * 24 * 3_600_000;

fn stamp(at: i64) -> Timestamp {
    Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// As documents and answers have it: `2026-10-04T12:00:00.000Z`.
pub(crate) fn iso(at: i64) -> String {
    stamp(at).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// The same without parts of a second, as files have it.
pub(crate) fn iso_seconds(at: i64) -> String {
    stamp(at).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Any other form.
pub(crate) fn form(at: i64, form: &str) -> String {
    stamp(at).strftime(form).to_string()
}

/// An anchor: a counter that nobody reads, and the time.
pub(crate) fn anchor(counter: u64, at: i64) -> String {
    format!("{counter},{}", form(at, "%Y-%m-%d %H:%M:%S%.3f"))
}

/// The time of an anchor; none where it is not one.
pub(crate) fn anchor_time(text: &str) -> Option<i64> {
    let (counter, time) = text.trim().split_once(',')?;
    counter.parse::<u32>().ok()?;
    let time = time.strip_prefix(' ').unwrap_or(time);
    let text = format!("{}Z", time.replace(' ', "T"));
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_is_read_as_it_is_written() {
        let text = anchor(9438, BASE + 167);
        assert_eq!(text, "9438,2026-10-04 12:00:00.167");
        assert_eq!(anchor_time(&text), Some(BASE + 167));
        for bad in ["", "garbage", "x,2026-10-04 12:00:00.167", "1,2026-10-04"] {
            assert_eq!(anchor_time(bad), None, "{bad}");
        }
        assert_eq!(iso(BASE), "2026-10-04T12:00:00.000Z");
    }
}
