//! Numbers, times and names as documents write them.

use jiff::civil;
use jiff::tz::TimeZone;

use crate::base::time::Timestamp;
use crate::model::update::{NotAGuid, UpdateId};
use crate::wire::metadata::error::{Error, quoted};

/// `xs:boolean`; anything else is false.
pub(super) fn truth(text: &str) -> bool {
    matches!(text.trim(), "true" | "True" | "1")
}

/// An `xs:dateTime`, UTC where it names no offset; `None` where it is none or lies before 1970.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let at = match text.parse::<jiff::Timestamp>() {
        Ok(at) => at,
        Err(_) => text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp(),
    };
    u64::try_from(at.as_millisecond()).ok().map(Timestamp::from_ms)
}

/// A number that may be refused.
pub(super) fn number(element: &'static str, what: &'static str, text: &str, max: u64) -> Result<u64, Error> {
    let digits = text.trim();
    let parsed = digits.parse::<u64>().ok().filter(|number| *number <= max && !digits.starts_with('+'));
    parsed.ok_or_else(|| Error::Number { element, what, text: quoted(text), max })
}

/// An id that may be refused.
pub(super) fn id(element: &'static str, text: &str) -> Result<UpdateId, Error> {
    text.trim().parse().map_err(|source: NotAGuid| Error::Id { element, source: NotAGuid(quoted(&source.0)) })
}

/// The number of an article as digits, with or without `KB` before it; `None` where there is none.
pub(super) fn article(text: &str) -> Option<String> {
    let text = text.trim();
    let digits = text.get(..2).filter(|head| head.eq_ignore_ascii_case("kb")).map_or(text, |_| text[2..].trim());
    let good = (1..=10).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    good.then(|| digits.to_owned())
}

/// The articles that a title names (`.. (KB5013943)`): where a document has no element for them.
pub(super) fn articles_of_title(title: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in title.match_indices("KB") {
        let before = title[..at].chars().next_back();
        if before.is_some_and(char::is_alphanumeric) {
            continue;
        }
        let digits: String = title[at + 2..].chars().take_while(char::is_ascii_digit).collect();
        if (5..=8).contains(&digits.len()) && !found.contains(&digits) {
            found.push(digits);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_unless_they_say_otherwise() {
        let ms = |text| time(text).map(Timestamp::ms);
        assert_eq!(ms("1970-01-01T00:00:01Z"), Some(1000));
        assert_eq!(ms("1970-01-01T00:00:01.25"), Some(1250));
        assert_eq!(ms("1970-01-01T02:00:00+02:00"), Some(0));
        for text in ["", "yesterday", "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z"] {
            assert_eq!(ms(text), None, "{text}");
        }
    }

    #[test]
    fn articles_are_digits() {
        assert_eq!(article(" KB5013943 ").as_deref(), Some("5013943"));
        assert_eq!(article("kb 890830").as_deref(), Some("890830"));
        for text in ["", "KB", "Q1x", "12345678901", "\u{e9}b12"] {
            assert_eq!(article(text), None, "{text}");
        }
        assert_eq!(articles_of_title("A (KB5013943), KB5013943 and KB890830; SKB123456, KB12"), ["5013943", "890830"]);
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        assert_eq!(number("File", "size", " 7 ", 9).unwrap(), 7);
        for text in ["", "-1", "+1", "1.5", "ten", "10", "18446744073709551616"] {
            assert!(matches!(number("File", "size", text, 9), Err(Error::Number { .. })), "{text}");
        }
    }
}
