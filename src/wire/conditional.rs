//! What a request selects of an object: one pure function, [`decide`], over method, request headers and the object's
//! facts. It follows RFC 9110, section 13.2.2 (precedence) and section 14 (ranges); the step numbers below are those of 13.2.2.
//!
//! Where the RFC leaves a choice, this is what is chosen, and why:
//! - A `Range` that is malformed, of an unknown unit, given twice, longer than [`VALUE_BYTES_MAX`], of more than [`PARTS_MAX`]
//!   parts, or of more than twice the object's size in all is ignored: the whole goes out as 200. No client can make one
//!   answer cost more than two objects, and none is left without an answer.
//! - Ranges that overlap or touch become one; a merged range stands where the first of its members stood.
//! - A suffix of an empty object is satisfiable (14.1.2), but no `Content-Range` can express it: the (empty) whole as 200.
//! - Numbers beyond 64 bits count as the largest 64-bit number: no object is that long.
//! - A list of entity tags is read leniently: what is no tag is skipped, so it matches nothing.
//! - `Range` belongs to GET alone (14.2): a HEAD is answered with the headers of the whole.

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderName, Method};

use crate::base::span::Span;
use crate::base::time::Timestamp;

mod range;
mod validators;

#[cfg(test)]
mod tests;

pub use range::{PARTS_MAX, VALUE_BYTES_MAX};

/// The methods of the content face, as `Allow` says them.
pub const ALLOW: &str = "GET, HEAD";

/// What is known of the object that a request asks for.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// Length in bytes.
    pub size: u64,
    /// The strong entity tag, without its quotes.
    pub tag: &'a str,
    /// Last-Modified as it is sent; text that is no HTTP date counts as none.
    pub last_modified: Option<&'a str>,
    /// The time of the answer (its `Date`): a Last-Modified less than a second older is a weak validator (8.8.2.2).
    pub now: Timestamp,
}

/// What a request selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// 200: all of it.
    Whole,
    /// 206 with `Content-Range`: these bytes. Never empty, always inside the object.
    Single(Span),
    /// 206 as `multipart/byteranges`: at least two spans, none empty, all inside the object, none touching another.
    Multi(Vec<Span>),
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 416 with `Content-Range: bytes */size`.
    Unsatisfiable,
    /// 405 with [`ALLOW`].
    MethodNotAllowed,
}

/// Whether the content face has this method at all.
pub fn allows(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// What `method` with `headers` selects of `object`. Never panics, whatever the headers hold.
pub fn decide(method: &Method, headers: &HeaderMap, object: &Object<'_>) -> Decision {
    if !allows(method) {
        return Decision::MethodNotAllowed;
    }
    let modified = object.last_modified.and_then(validators::date);

    // Steps 1 and 2.
    if headers.contains_key(IF_MATCH) {
        if !validators::any_match(headers, &IF_MATCH, object.tag, validators::Comparison::Strong) {
            return Decision::PreconditionFailed;
        }
    } else if let (Some(modified), Some(since)) = (modified, date_of(headers, &IF_UNMODIFIED_SINCE))
        && modified > since
    {
        return Decision::PreconditionFailed;
    }

    // Steps 3 and 4.
    if headers.contains_key(IF_NONE_MATCH) {
        if validators::any_match(headers, &IF_NONE_MATCH, object.tag, validators::Comparison::Weak) {
            return Decision::NotModified;
        }
    } else if let (Some(modified), Some(since)) = (modified, date_of(headers, &IF_MODIFIED_SINCE))
        && modified <= since
    {
        return Decision::NotModified;
    }

    // Step 5.
    if method != Method::GET {
        return Decision::Whole;
    }
    match only(headers, &RANGE) {
        Some(value) if range_applies(headers, object) => range::select(value, object.size),
        _ => Decision::Whole,
    }
}

/// The first bytes that a GET with these headers wants, before the object's size is known: first byte, and last byte where
/// the range is closed. A suffix cannot be placed yet: it asks for as little as can be, the first byte.
pub fn first_wanted(method: &Method, headers: &HeaderMap) -> (u64, Option<u64>) {
    if method != Method::GET {
        return (0, None);
    }
    only(headers, &RANGE).and_then(range::first).unwrap_or((0, None))
}

/// What a GET with these headers may ask of someone else as a range, so that the answer is right whatever the object turns out
/// to be: exactly one well-formed range with a first position, and no If-Range, which is about a version that the other one
/// was not asked for.
pub fn exactly_wanted(method: &Method, headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    if method != Method::GET || headers.contains_key(IF_RANGE) {
        return None;
    }
    only(headers, &RANGE).and_then(range::exact)
}

/// Step 5's condition: no If-Range, or one that names exactly this version by a strong validator (13.1.5).
fn range_applies(headers: &HeaderMap, object: &Object<'_>) -> bool {
    if !headers.contains_key(IF_RANGE) {
        return true;
    }
    only(headers, &IF_RANGE).is_some_and(|value| validators::if_range_holds(value, object))
}

/// A date header that counts: given once, and a valid HTTP date (13.1.3, 13.1.4).
fn date_of(headers: &HeaderMap, name: &HeaderName) -> Option<std::time::SystemTime> {
    validators::date(std::str::from_utf8(only(headers, name)?).ok()?)
}

/// The value of a header that is given exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes()),
        _ => None,
    }
}
