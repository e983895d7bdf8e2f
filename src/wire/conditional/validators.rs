//! Entity tags and HTTP dates as preconditions use them (RFC 9110, sections 8.8 and 13.1).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName};

use crate::wire::conditional::{Object, VALUE_BYTES_MAX};

/// How two entity tags are compared (8.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// Equal, and neither is weak.
    Strong,
    /// Equal but for weakness.
    Weak,
}

/// One entity tag of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

/// Whether any tag in all lines of the field matches `ours` (strong, without quotes), or the field is `*`.
pub(super) fn any_match(headers: &HeaderMap, name: &HeaderName, ours: &str, comparison: Comparison) -> bool {
    let mut lines = headers.get_all(name).iter().map(http::HeaderValue::as_bytes).peekable();
    // "*" stands alone or not at all (13.1.1).
    let first = lines.next().unwrap_or_default();
    if first.trim_ascii() == b"*" && lines.peek().is_none() {
        return true;
    }
    std::iter::once(first)
        .chain(lines)
        .filter(|line| line.len() <= VALUE_BYTES_MAX)
        .flat_map(Tags)
        .any(|tag| tag.opaque == ours.as_bytes() && (comparison == Comparison::Weak || !tag.weak))
}

/// Whether an If-Range value names exactly this version: a strong tag equal to ours, or a date equal to Last-Modified
/// that is old enough to be a strong validator (13.1.5, 8.8.2.2).
pub(super) fn if_range_holds(value: &[u8], object: &Object<'_>) -> bool {
    if value.contains(&b'"') {
        let mut tags = Tags(value);
        let tag = tags.next();
        return tags.next().is_none() && tag == Some(Tag { weak: false, opaque: object.tag.as_bytes() });
    }
    let asked = std::str::from_utf8(value).ok().and_then(date);
    match (asked, object.last_modified.and_then(date)) {
        (Some(asked), Some(modified)) => {
            asked == modified
                && object.now.system().duration_since(modified).is_ok_and(|age| age >= Duration::from_secs(1))
        }
        _ => false,
    }
}

/// An HTTP date in any of the three forms (5.6.7); anything else is none.
pub(super) fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text.trim_ascii()).ok()
}

/// The entity tags of one line; what is no tag is skipped up to the next comma.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        loop {
            self.0 = trim_start(self.0);
            if self.0.is_empty() {
                return None;
            }
            let (weak, quoted) = match self.0.strip_prefix(b"W/") {
                Some(rest) => (true, rest),
                None => (false, self.0),
            };
            let opaque = quoted
                .strip_prefix(b"\"")
                .and_then(|rest| rest.iter().position(|byte| *byte == b'"').map(|end| rest.split_at(end)));
            let Some((opaque, rest)) = opaque else {
                self.skip();
                continue;
            };
            // `rest` begins with the closing quote; a comma or the end must follow.
            self.0 = rest.get(1..).unwrap_or_default().trim_ascii_start();
            if matches!(self.0.first(), None | Some(b',')) {
                return Some(Tag { weak, opaque });
            }
            self.skip();
        }
    }
}

impl Tags<'_> {
    /// Goes on behind the next comma.
    fn skip(&mut self) {
        self.0 = match self.0.iter().position(|byte| *byte == b',') {
            Some(comma) => &self.0[comma + 1..],
            None => &[],
        };
    }
}

/// Without the blanks and commas at its start.
fn trim_start(mut text: &[u8]) -> &[u8] {
    while let Some((b' ' | b'\t' | b',', rest)) = text.split_first() {
        text = rest;
    }
    text
}
