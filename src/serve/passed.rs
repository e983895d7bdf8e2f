//! A response that is passed on: as it came, or what the client's conditions leave of it.
//!
//! Preconditions and ranges are held against the version that came, and only here: nothing of the client's conditions goes to
//! the origin, so that another client may have the same answer. A range that could not be asked for as it was (a suffix,
//! several, an `If-Range`) is answered with the whole, as RFC 9110 allows (14.2).

use std::time::Duration;

use bytes::Bytes;
use http::header::{ETAG, IF_NONE_MATCH, LAST_MODIFIED};
use http::request::Parts as Request;
use http::{HeaderName, Method, Response, StatusCode};
use tokio::time::Instant;

use crate::base::time::Timestamp;
use crate::fill::{self, Passed};
use crate::model::outcome::CacheStatus;
use crate::net::{Body, Frames};
use crate::serve::body::{Parts, Passing};
use crate::serve::{Error, reply};
use crate::wire::conditional::{self, Decision, Object};

/// Stands for the tag of a version that has no strong one: between quotes no client can send a quote.
const NO_TAG: &str = "\"";

/// The first bytes of what is passed on, empty where it has none. Waited for, so that what cannot be had in time gets a
/// status and not a cut.
pub(super) async fn first(
    request: &Request,
    passed: &mut Passed,
    until: Instant,
    retry_after: Duration,
) -> Result<Bytes, Error> {
    let Some(body) = passed.body.as_mut().filter(|_| request.method != Method::HEAD) else {
        return Ok(Bytes::new());
    };
    let Ok(first) = tokio::time::timeout_at(until, body.next()).await else {
        let why = "the origin sent a head, and no byte of its body in time".to_owned();
        return Err(fill::Error::Unavailable { why, retry_after }.into());
    };
    Ok(first?.unwrap_or_default())
}

/// The answer that `passed` makes, whose body goes on after `first`.
pub(super) fn answer(
    request: &Request,
    passed: Passed,
    first: Bytes,
    status: CacheStatus,
    now: Timestamp,
) -> Result<Response<Body>, Error> {
    if let Some(code) = without_content(request, &passed, now) {
        let head = reply::passed_without(code, &passed.headers, passed.size, status)?;
        return Ok(head.map(|()| Body::empty()));
    }
    let head = reply::passed(passed.status, &passed.headers, passed.size, status)?;
    let bare = matches!(head.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::RESET_CONTENT);
    let body = match (passed.body, passed.size) {
        // A HEAD of unknown length is told none: an empty body would be taken for a length of zero.
        (_, None) if request.method == Method::HEAD && !bare => Body::stream(Box::new(Parts::new([]))),
        (Some(body), size) if request.method != Method::HEAD && !bare => {
            let frames: Box<dyn Frames> = Box::new(Passing::new(body, first));
            match size {
                Some(size) => Body::frames(size, frames),
                None => Body::stream(frames),
            }
        }
        _ => Body::empty(),
    };
    Ok(head.map(|()| body))
}

/// 304, 412 or 416, where the request's conditions lead there.
fn without_content(request: &Request, passed: &Passed, now: Timestamp) -> Option<StatusCode> {
    if !matches!(passed.status, 200 | 206) {
        return None;
    }
    // A part says nothing of ranges that is not known already, and what has no length has no end to be beyond of.
    let end = passed.size.filter(|_| passed.status == 200);
    let field = |name: &HeaderName| {
        passed.headers.iter().find(|(known, _)| name == known.as_str()).map(|(_, value)| value.as_str())
    };
    let last_modified = field(&LAST_MODIFIED);
    let decide = |tag: &str| {
        let object = Object { size: end.unwrap_or(u64::MAX), tag, last_modified, now };
        conditional::decide(&request.method, &request.headers, &object)
    };
    let opaque = |tag: &'_ str| tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).map(str::to_owned);
    let tag = field(&ETAG).unwrap_or_default();
    let decision = decide(opaque(tag).as_deref().unwrap_or(NO_TAG));
    // A weak tag counts for If-None-Match, and for nothing else (RFC 9110, 13.1.2).
    let weak = tag.strip_prefix("W/").and_then(opaque);
    let unmodified = |tag: String| {
        decision != Decision::PreconditionFailed
            && request.headers.contains_key(IF_NONE_MATCH)
            && decide(&tag) == Decision::NotModified
    };
    match decision {
        _ if weak.is_some_and(unmodified) => Some(StatusCode::NOT_MODIFIED),
        Decision::NotModified => Some(StatusCode::NOT_MODIFIED),
        Decision::PreconditionFailed => Some(StatusCode::PRECONDITION_FAILED),
        Decision::Unsatisfiable if end.is_some() => Some(StatusCode::RANGE_NOT_SATISFIABLE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a response with this status, tag and size leads to under these conditions.
    fn code(status: u16, tag: &str, size: Option<u64>, conditions: &[(&str, &str)]) -> Option<u16> {
        let mut builder = http::Request::builder().uri("/a");
        for (name, value) in conditions {
            builder = builder.header(*name, *value);
        }
        let request = builder.body(()).unwrap().into_parts().0;
        let mut headers = vec![("last-modified".to_owned(), "Wed, 02 Sep 2026 08:30:53 GMT".to_owned())];
        if !tag.is_empty() {
            headers.push(("etag".to_owned(), tag.to_owned()));
        }
        let passed = Passed { status, headers, size, body: None };
        without_content(&request, &passed, Timestamp::from_ms(2_000_000_000_000)).map(|code| code.as_u16())
    }

    #[test]
    fn conditions_are_held_against_what_came() {
        let none = |value| [("if-none-match", value)];
        let range = |value| [("range", value)];
        for (tag, value, expected) in [
            ("\"a\"", "\"a\"", Some(304)),
            ("\"a\"", "\"b\"", None),
            ("W/\"a\"", "\"a\"", Some(304)),
            ("W/\"a\"", "\"b\"", None),
            ("", "\"a\"", None),
            ("", "*", Some(304)),
        ] {
            assert_eq!(code(200, tag, Some(9), &none(value)), expected, "{tag} {value}");
            assert_eq!(code(206, tag, Some(9), &none(value)), expected, "{tag} {value}");
            assert_eq!(code(200, tag, None, &none(value)), expected, "{tag} {value}");
            assert_eq!(code(404, tag, Some(9), &none(value)), None);
        }
        for (tag, value, expected) in [
            ("\"a\"", "\"a\"", None),
            ("\"a\"", "\"b\"", Some(412)),
            ("W/\"a\"", "\"a\"", Some(412)),
            ("", "\"a\"", Some(412)),
            ("", "*", None),
        ] {
            assert_eq!(code(200, tag, Some(9), &[("if-match", value)]), expected, "{tag} {value}");
        }
        let both = [("if-match", "\"a\""), ("if-none-match", "\"a\"")];
        assert_eq!((code(200, "W/\"a\"", Some(9), &both), code(200, "\"a\"", Some(9), &both)), (Some(412), Some(304)));
        let since = [("if-modified-since", "Wed, 02 Sep 2026 08:30:53 GMT")];
        assert_eq!(code(200, "", Some(9), &since), Some(304));
        assert_eq!(code(200, "", Some(9), &[("if-unmodified-since", "Wed, 02 Sep 2020 08:30:53 GMT")]), Some(412));
        assert_eq!(code(200, "", Some(9), &range("bytes=9-")), Some(416));
        assert_eq!(code(200, "", Some(9), &range("bytes=8-")), None);
        assert_eq!(code(206, "", Some(1), &range("bytes=8-")), None);
        assert_eq!(code(200, "", None, &range("bytes=18446744073709551615-")), None);
    }
}
