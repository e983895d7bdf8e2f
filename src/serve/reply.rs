//! Response heads: those of content, and those of errors. The only place of the data plane that makes statuses and public
//! texts; a public text says what a person at the client can use, and nothing of the inside.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, LAST_MODIFIED, RETRY_AFTER, SERVER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::base::span::Span;
use crate::fill;
use crate::model::outcome::{CacheStatus, Detail, Outcome};
use crate::serve::Error;
use crate::wire::conditional::{self, Decision, Object};
use crate::wire::multipart::{self, Boundary, Multipart};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const OCTETS: HeaderValue = HeaderValue::from_static(multipart::PART_TYPE);
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OURSELVES: HeaderValue = HeaderValue::from_static("waystation");

/// What nearly all answers say; its text is made beforehand.
const HIT_PROVEN: CacheStatus =
    CacheStatus { outcome: Outcome::Hit, stored: false, collapsed: false, detail: Some(Detail::Proven) };

/// The longest wait that `Retry-After` names: a wrong number from an origin must not send a site's clients away for a day.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(10);

/// Headers of a passed response that are not passed on: those of one connection (RFC 9110, 7.6.1), the length, which the
/// body itself says, and two that speak for the origin's host name while the client talks to ours.
const NOT_PASSED: [&str; 12] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "alt-svc",
    "strict-transport-security",
];

/// What goes out for an object, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// 200 with all of it.
    Whole,
    /// 206 with one range.
    Single(Span),
    /// 206 with several.
    Multi(Multipart),
    /// 304, 412, 416: no content.
    Without(StatusCode),
}

impl Choice {
    /// The choice that a decision leads to. Without random bits for a boundary several ranges become the whole, as RFC 9110
    /// allows (14.2).
    pub(super) fn of(decision: Decision, size: u64) -> Self {
        match decision {
            Decision::Whole => Self::Whole,
            Decision::Single(span) => Self::Single(span),
            Decision::Multi(spans) => {
                let mut random = [0; 16];
                match getrandom::fill(&mut random) {
                    Ok(()) => Self::Multi(Multipart::new(Boundary::new(random), size, spans)),
                    Err(_) => Self::Whole,
                }
            }
            Decision::NotModified => Self::Without(StatusCode::NOT_MODIFIED),
            Decision::PreconditionFailed => Self::Without(StatusCode::PRECONDITION_FAILED),
            Decision::Unsatisfiable => Self::Without(StatusCode::RANGE_NOT_SATISFIABLE),
            Decision::MethodNotAllowed => Self::Without(StatusCode::METHOD_NOT_ALLOWED),
        }
    }
}

/// The head of the answer that gives `choice` of `object`.
pub(super) fn content(choice: &Choice, object: &Object<'_>, status: CacheStatus) -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.reserve(10);
    headers.insert(SERVER, OURSELVES);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    insert_text(headers, ETAG, ["\"", object.tag, "\""].concat());
    if let Some(modified) = object.last_modified {
        insert_text(headers, LAST_MODIFIED, modified.to_owned());
    }
    if status == HIT_PROVEN {
        headers.insert(CACHE_STATUS, HeaderValue::from_static("waystation; hit; detail=proven"));
    } else {
        insert_text(headers, CACHE_STATUS, status.to_string());
    }
    let code = match choice {
        Choice::Whole => {
            headers.insert(CONTENT_TYPE, OCTETS);
            headers.insert(CONTENT_LENGTH, object.size.into());
            StatusCode::OK
        }
        Choice::Single(span) => {
            headers.insert(CONTENT_TYPE, OCTETS);
            headers.insert(CONTENT_LENGTH, span.len().into());
            insert_text(headers, CONTENT_RANGE, multipart::content_range(*span, object.size));
            StatusCode::PARTIAL_CONTENT
        }
        Choice::Multi(parts) => {
            insert_text(headers, CONTENT_TYPE, parts.content_type());
            headers.insert(CONTENT_LENGTH, parts.content_length().into());
            StatusCode::PARTIAL_CONTENT
        }
        Choice::Without(code) => {
            if *code == StatusCode::RANGE_NOT_SATISFIABLE {
                insert_text(headers, CONTENT_RANGE, multipart::unsatisfied_range(object.size));
            }
            // A 304 has no body, and its Content-Length would be the whole's (RFC 9110, 8.6).
            if *code != StatusCode::NOT_MODIFIED {
                headers.insert(CONTENT_LENGTH, 0.into());
            }
            *code
        }
    };
    *response.status_mut() = code;
    response
}

/// The head of a response that is passed on: its status and end-to-end headers, and our word on it.
pub(super) fn passed(
    status: u16,
    given: &[(String, String)],
    size: Option<u64>,
    cache: CacheStatus,
) -> Result<Response<()>, Error> {
    let code = StatusCode::from_u16(status).ok().filter(|code| !code.is_informational());
    let code = code.ok_or_else(|| Error::Passed(format!("status {status}")))?;
    let mut response = Response::new(());
    *response.status_mut() = code;
    let headers = response.headers_mut();
    let named: Vec<&str> = given
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(CONNECTION.as_str()))
        .flat_map(|(_, value)| value.split(','))
        .map(str::trim)
        .collect();
    for (name, value) in given {
        let of_one_hop = |other: &&str| name.eq_ignore_ascii_case(other);
        if NOT_PASSED.iter().any(of_one_hop) || named.iter().any(of_one_hop) {
            continue;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str())) {
            headers.append(name, value);
        }
    }
    if let Some(size) = size {
        headers.insert(CONTENT_LENGTH, size.into());
    }
    // RFC 9211, 2: each cache on the way adds its member at the end.
    if let Ok(value) = HeaderValue::try_from(cache.to_string()) {
        headers.append(CACHE_STATUS, value);
    }
    Ok(response)
}

/// The head of an answer without content (304, 412, 416) to a request whose response would have been passed on.
pub(super) fn passed_without(
    code: StatusCode,
    given: &[(String, String)],
    size: Option<u64>,
    cache: CacheStatus,
) -> Result<Response<()>, Error> {
    let mut response = passed(code.as_u16(), given, None, cache)?;
    let headers = response.headers_mut();
    for of_content in [CONTENT_TYPE, CONTENT_DISPOSITION, CONTENT_RANGE] {
        headers.remove(of_content);
    }
    if code != StatusCode::NOT_MODIFIED {
        headers.insert(CONTENT_LENGTH, 0.into());
    }
    if let (StatusCode::RANGE_NOT_SATISFIABLE, Some(size)) = (code, size) {
        insert_text(headers, CONTENT_RANGE, multipart::unsatisfied_range(size));
    }
    Ok(response)
}

/// The answer to a request that is not answered with content: head and text.
pub(super) fn error(error: &Error, cache: CacheStatus, retry_after: Duration) -> Response<Bytes> {
    let (code, text, retry) = public(error, retry_after);
    let text = match text {
        Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        Cow::Owned(text) => Bytes::from(text),
    };
    let mut response = Response::new(text);
    let length = response.body().len();
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(SERVER, OURSELVES);
    headers.insert(CONTENT_TYPE, TEXT);
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    insert_text(headers, CACHE_STATUS, cache.to_string());
    if code == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static(conditional::ALLOW));
    }
    // What the origin wants is its own to say (RFC 9110, 11.6.1); the node itself never asks anybody who they are.
    if let Error::Fill(error) = error {
        for value in error.challenges().iter().filter_map(|line| HeaderValue::try_from(line.as_str()).ok()) {
            headers.append(WWW_AUTHENTICATE, value);
        }
    }
    if let Some(after) = retry {
        let seconds = after.max(Duration::from_secs(1)).min(RETRY_AFTER_MAX).as_secs_f64().ceil();
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds as u64));
    }
    response
}

/// Status, public text, and when to come back, if coming back can help.
fn public(error: &Error, retry_after: Duration) -> (StatusCode, Cow<'static, str>, Option<Duration>) {
    let later = |text, after: Duration| (StatusCode::SERVICE_UNAVAILABLE, Cow::Borrowed(text), Some(after));
    let known = |code, text| (code, Cow::Borrowed(text), None);
    match error {
        Error::Method => known(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n"),
        Error::TargetTooLong(_) => known(StatusCode::URI_TOO_LONG, "the address is too long\n"),
        Error::Malformed(told) | Error::Refused(fill::Refusal::Malformed { told, .. }) => {
            (StatusCode::BAD_REQUEST, Cow::Owned(format!("the request is malformed: {told}\n")), None)
        }
        Error::Refused(fill::Refusal::NoRule { .. }) => {
            known(StatusCode::NOT_FOUND, "nothing is served at this address\n")
        }
        Error::Fill(fill::Error::Origin(_, status)) => {
            (of_origin(*status), Cow::Owned(format!("the origin answered {status}\n")), None)
        }
        Error::Fill(fill::Error::Nowhere) => {
            known(StatusCode::NOT_FOUND, "not held here, and no place to fetch it from is known\n")
        }
        Error::Passed(_) => known(StatusCode::BAD_GATEWAY, "the origin's answer cannot be passed on\n"),
        Error::Fill(fill::Error::Unavailable { retry_after: after, .. }) => {
            later("the object cannot be had now, try again later\n", (*after).max(retry_after))
        }
        Error::Fill(fill::Error::Changed { .. } | fill::Error::Mismatch { .. } | fill::Error::Closing)
        | Error::Ended => later("the object cannot be had now, try again later\n", retry_after),
        Error::Fill(fill::Error::Store(_)) | Error::Store(_) => {
            later("the node cannot serve the object now, try again later\n", retry_after)
        }
    }
}

/// Only a client's error is an origin's last word; anything else is our trouble with it.
fn of_origin(status: u16) -> StatusCode {
    let code =
        StatusCode::from_u16(status).ok().filter(|code| code.is_client_error() || *code == StatusCode::LOOP_DETECTED);
    code.unwrap_or(StatusCode::BAD_GATEWAY)
}

/// Inserts a value of our making; a text that no header can hold (a tag with control characters) is left out.
fn insert_text(headers: &mut HeaderMap, name: HeaderName, text: String) {
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(text)) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;
    use crate::base::time::Timestamp;
    use crate::serve::record::REFUSED;
    use crate::store;

    const HIT: CacheStatus =
        CacheStatus { outcome: Outcome::Hit, stored: false, collapsed: false, detail: Some(Detail::Proven) };

    fn header<'a, T>(response: &'a Response<T>, name: &str) -> Option<&'a str> {
        response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn heads_of_content() {
        let modified = Some("Wed, 02 Sep 2026 08:30:53 GMT");
        let object = Object { size: 1000, tag: "sha1-ab", last_modified: modified, now: Timestamp::default() };
        let head = |decision| content(&Choice::of(decision, 1000), &object, HIT);
        let cases = [
            (Decision::Whole, 200, Some("1000"), None, Some("application/octet-stream")),
            (
                Decision::Single(Span::new(5, 10)),
                206,
                Some("5"),
                Some("bytes 5-9/1000"),
                Some("application/octet-stream"),
            ),
            (Decision::NotModified, 304, None, None, None),
            (Decision::PreconditionFailed, 412, Some("0"), None, None),
            (Decision::Unsatisfiable, 416, Some("0"), Some("bytes */1000"), None),
        ];
        for (decision, status, length, range, kind) in cases {
            let response = head(decision);
            assert_eq!(response.status(), status);
            assert_eq!(header(&response, "content-length"), length, "{status}");
            assert_eq!(header(&response, "content-range"), range, "{status}");
            assert_eq!(header(&response, "content-type"), kind, "{status}");
            assert_eq!(header(&response, "etag"), Some("\"sha1-ab\""));
            assert_eq!(header(&response, "last-modified"), modified);
            assert_eq!(header(&response, "accept-ranges"), Some("bytes"));
            assert_eq!(header(&response, "cache-status"), Some("waystation; hit; detail=proven"));
            assert_eq!(header(&response, "content-encoding"), None);
        }
        let spans = vec![Span::new(0, 1), Span::new(5, 10)];
        let response = head(Decision::Multi(spans.clone()));
        let kind = header(&response, "content-type").unwrap();
        assert!(kind.starts_with("multipart/byteranges; boundary="), "{kind}");
        let other = head(Decision::Multi(spans));
        assert_ne!(header(&other, "content-type"), Some(kind), "a boundary is fresh for each response");
    }

    #[test]
    fn errors_say_what_helps_and_nothing_of_the_inside() {
        let inside = "/var/lib/waystation/secret";
        let unavailable = |seconds| {
            let retry_after = Duration::from_secs(seconds);
            Error::Fill(fill::Error::Unavailable { why: inside.into(), retry_after })
        };
        let io = || store::Error::Io(io::Error::other(inside));
        let cases = [
            (Error::Method, 405, None),
            (Error::TargetTooLong(9000), 414, None),
            (Error::Malformed("Host is missing"), 400, None),
            (Error::Refused(fill::Refusal::Malformed { why: inside.into(), told: "dot segments" }), 400, None),
            (Error::Refused(fill::Refusal::NoRule { why: inside.into() }), 404, None),
            (Error::Fill(fill::Error::Nowhere), 404, None),
            (unavailable(0), 503, Some("5")),
            (unavailable(17), 503, Some("17")),
            (unavailable(86_400), 503, Some("600")),
            (Error::Fill(fill::Error::Mismatch { why: inside.into() }), 503, Some("5")),
            (Error::Fill(fill::Error::Closing), 503, Some("5")),
            (Error::Fill(fill::Error::Store(Arc::new(io()))), 503, Some("5")),
            (Error::Store(io()), 503, Some("5")),
            (Error::Ended, 503, Some("5")),
            (Error::Passed(inside.into()), 502, None),
        ];
        for (case, status, retry) in cases {
            let response = error(&case, REFUSED, Duration::from_secs(5));
            assert_eq!(response.status(), status, "{case}");
            assert_eq!(header(&response, "retry-after"), retry, "{case}");
            assert_eq!(retry.is_some(), case.is_retryable(), "{case}");
            assert_eq!(header(&response, "allow"), (status == 405).then_some("GET, HEAD"));
            assert_eq!(header(&response, "cache-control"), Some("no-store"));
            assert_eq!(header(&response, "cache-status"), Some("waystation"));
            assert_eq!(header(&response, "content-length"), Some(response.body().len().to_string().as_str()));
            let text = std::str::from_utf8(response.body()).unwrap();
            assert!(text.is_ascii() && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn an_origins_last_word_is_passed_on() {
        for (status, code) in [(401, 401), (403, 403), (404, 404), (410, 410), (500, 502), (200, 502), (9, 502)] {
            assert_eq!(of_origin(status).as_u16(), code);
        }
    }

    #[test]
    fn passes_end_to_end_headers_only() {
        let given: Vec<(String, String)> = [
            ("Content-Type", "application/vnd.ms-cab-compressed"),
            ("ETag", "W/\"1\""),
            ("Cache-Control", "max-age=60"),
            ("Connection", "close, X-Hop"),
            ("X-Hop", "1"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Length", "99"),
            ("Cache-Status", "edge; hit"),
            ("X-Broken", "a\r\nb: c"),
            ("Strict-Transport-Security", "max-age=1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let response = passed(203, &given, Some(7), HIT).unwrap();
        assert_eq!(response.status(), 203);
        let names: Vec<&str> = response.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "etag", "cache-control", "cache-status", "content-length"]);
        assert_eq!(header(&response, "content-length"), Some("7"));
        let words: Vec<_> = response.headers().get_all("cache-status").iter().collect();
        assert_eq!(words, ["edge; hit", "waystation; hit; detail=proven"]);
        for status in [0, 99, 100, 101, 1000] {
            assert!(passed(status, &given, None, HIT).is_err(), "{status}");
        }
    }
}
