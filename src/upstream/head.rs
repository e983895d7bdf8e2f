//! What the head of an answer says, held against what was asked: one pure function with a table of tests.

use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap, HeaderName};

use crate::base::span::Span;
use crate::model::payload::Validators;
use crate::upstream::Method;
use crate::upstream::error::Cause;

/// The longest validator that is kept: it goes into proofs, rows and requests.
const VALIDATOR_BYTES_MAX: usize = 1 << 10;

/// The longest line of `WWW-Authenticate` that is passed on, and how many of them: every client that waits for the answer
/// gets a copy. A server offers two or three schemes, each in less than a hundred bytes.
const CHALLENGE_BYTES_MAX: usize = 1 << 10;
const CHALLENGES_MAX: usize = 8;

/// What is passed on of a head: freshness (RFC 9111) and the type.
const PASSED: [HeaderName; 8] = [
    header::CACHE_CONTROL,
    header::EXPIRES,
    header::PRAGMA,
    header::DATE,
    header::AGE,
    header::VARY,
    header::CONTENT_TYPE,
    header::CONTENT_DISPOSITION,
];

/// What was asked, as far as the answer must fit it.
#[derive(Clone, Debug)]
pub(super) struct Expect {
    pub(super) method: Method,
    /// The range that was sent.
    pub(super) span: Option<Span>,
    /// The version that it must be of.
    pub(super) version: Option<Version>,
    /// If-Range was sent, so that a 206 is the pinned version by the origin's word.
    pub(super) if_range: bool,
    /// A condition was sent, so that 304 is an answer.
    pub(super) conditional: bool,
}

/// A version of an object, as far as it is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Version {
    pub(super) size: Option<u64>,
    pub(super) validators: Validators,
    /// A digest judges in the end: only another length counts.
    pub(super) digest_known: bool,
}

/// A good answer's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) span: Span,
    pub(super) total: Option<u64>,
    pub(super) validators: Validators,
    pub(super) headers: Vec<(String, String)>,
}

/// Holds a head against what was asked.
pub(super) fn judge(expect: &Expect, status: u16, fields: &HeaderMap, now: SystemTime) -> Result<Head, Cause> {
    match status {
        200 => whole(expect, fields),
        206 => part(expect, fields),
        304 if expect.conditional => Ok(head(304, Span::new(0, 0), None, fields)),
        304 => Err(Cause::Lied("it answered 304 to a question without a condition".to_owned())),
        203 => Err(Cause::Lied("it answered 203: a proxy on the way alters what it passes on".to_owned())),
        201..=299 => Err(Cause::Lied(format!("it answered {status} where content was asked for"))),
        // Somebody further on has seen this very request before: asked again it would go round again.
        508 => Err(Cause::Status(508)),
        401 => Err(Cause::Unauthorized(challenges(fields))),
        408 | 425 | 429 | 500..=599 => Err(Cause::Busy { status, retry_after: retry_after(fields, now) }),
        416 if expect.version.as_ref().is_some_and(|version| version.size.is_some_and(|size| size > 0)) => {
            let range = text(fields, &header::CONTENT_RANGE).unwrap_or("no Content-Range");
            Err(Cause::Changed(format!("it answered 416 ({range}) to a range inside of the pinned length")))
        }
        _ => Err(Cause::Status(status)),
    }
}

/// The lines of `WWW-Authenticate`, as they stand there.
fn challenges(fields: &HeaderMap) -> Vec<String> {
    let lines = fields.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|line| line.to_str().ok());
    lines.filter(|line| line.len() <= CHALLENGE_BYTES_MAX).take(CHALLENGES_MAX).map(str::to_owned).collect()
}

fn head(status: u16, span: Span, total: Option<u64>, fields: &HeaderMap) -> Head {
    let headers = PASSED
        .iter()
        .filter_map(|name| text(fields, name).map(|value| (name.as_str().to_owned(), value.to_owned())))
        .collect();
    Head { status, span, total, validators: validators(fields), headers }
}

fn whole(expect: &Expect, fields: &HeaderMap) -> Result<Head, Cause> {
    unencoded(fields)?;
    let total = length(fields)?;
    if let Some(version) = &expect.version {
        same_size(version, total)?;
        same_version(version, &validators(fields), false)?;
    }
    // An end that nobody told is the end of time: the body ends where it ends.
    Ok(head(200, Span::new(0, total.unwrap_or(u64::MAX)), total, fields))
}

fn part(expect: &Expect, fields: &HeaderMap) -> Result<Head, Cause> {
    let lied = |why: String| Err(Cause::Lied(why));
    unencoded(fields)?;
    let Some(asked) = expect.span else {
        return lied("it answered 206 to a question without a range".to_owned());
    };
    let kind = text(fields, &header::CONTENT_TYPE).unwrap_or_default();
    if kind.trim_start().to_ascii_lowercase().starts_with("multipart/byteranges") {
        return lied("it answered a single range as multipart/byteranges".to_owned());
    }
    let Some(range) = text(fields, &header::CONTENT_RANGE) else {
        return lied("it answered 206 without a Content-Range".to_owned());
    };
    let shown: String = range.chars().take(80).collect();
    let Some((span, total)) = content_range(range) else {
        return lied(format!("its Content-Range {shown:?} makes no sense"));
    };
    if span.start() != asked.start() || span.end() > asked.end() {
        return lied(format!(
            "its Content-Range {shown:?} does not fit the asked bytes={}-{}",
            asked.start(),
            asked.end().saturating_sub(1)
        ));
    }
    if length(fields)?.is_some_and(|length| expect.method == Method::Get && length != span.len()) {
        return lied(format!("its Content-Length does not fit its Content-Range {shown:?}"));
    }
    if let Some(version) = &expect.version {
        same_size(version, total)?;
        same_version(version, &validators(fields), expect.if_range)?;
    }
    Ok(head(206, span, total, fields))
}

/// `bytes first-last/total`, with `*` for an unknown total; nothing else, and nothing that contradicts itself.
fn content_range(text: &str) -> Option<(Span, Option<u64>)> {
    let (unit, rest) = text.trim().split_once(' ')?;
    let (range, total) = rest.trim().split_once('/')?;
    let (first, last) = range.trim().split_once('-')?;
    let total = match total.trim() {
        "*" => None,
        number => Some(digits(number)?),
    };
    let (first, last) = (digits(first.trim())?, digits(last.trim())?);
    let end = last.checked_add(1)?;
    let sane = unit.eq_ignore_ascii_case("bytes") && first <= last && total.is_none_or(|total| end <= total);
    sane.then(|| (Span::new(first, end), total))
}

/// A number of digits only: `parse` alone would take a sign.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn text<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    fields.get(name).and_then(|value| value.to_str().ok())
}

/// Content-Length; several that differ were refused by the client library already.
fn length(fields: &HeaderMap) -> Result<Option<u64>, Cause> {
    if fields.contains_key(header::TRANSFER_ENCODING) {
        return Ok(None);
    }
    text(fields, &header::CONTENT_LENGTH)
        .map(|value| {
            digits(value.trim()).ok_or_else(|| Cause::Lied(format!("its Content-Length {value:?} is no number")))
        })
        .transpose()
}

fn unencoded(fields: &HeaderMap) -> Result<(), Cause> {
    match text(fields, &header::CONTENT_ENCODING).map(str::trim) {
        None | Some("") => Ok(()),
        Some(coding) if coding.eq_ignore_ascii_case("identity") => Ok(()),
        Some(coding) => Err(Cause::Lied(format!(
            "it sent the content coding {coding:?} though identity was asked for; a proxy on the way may compress"
        ))),
    }
}

fn validators(fields: &HeaderMap) -> Validators {
    let kept = |name| {
        text(fields, name).map(str::trim).filter(|value| !value.is_empty() && value.len() <= VALIDATOR_BYTES_MAX)
    };
    Validators {
        etag: kept(&header::ETAG).map(str::to_owned),
        last_modified: kept(&header::LAST_MODIFIED).map(str::to_owned),
    }
}

fn same_size(version: &Version, total: Option<u64>) -> Result<(), Cause> {
    match (version.size, total) {
        (Some(pinned), Some(now)) if pinned != now => {
            Err(Cause::Changed(format!("it is {now} bytes long and was {pinned}")))
        }
        _ => Ok(()),
    }
}

/// Whether an answer's validators are those of the version. Entity tags decide where both have one, else Last-Modified;
/// an answer that has lost all of them is another version, unless the origin itself held If-Range against its own.
fn same_version(version: &Version, now: &Validators, if_range: bool) -> Result<(), Cause> {
    let pinned = &version.validators;
    let opaque = |tag: &str| tag.trim_start_matches("W/").to_owned();
    let (what, was, is) = match (&pinned.etag, &now.etag, &pinned.last_modified, &now.last_modified) {
        _ if version.digest_known => return Ok(()),
        // Weak tags do not say that the bytes are the same: the date must say so too.
        (Some(was), Some(is), Some(then), Some(now))
            if opaque(was) == opaque(is) && (was.starts_with("W/") || is.starts_with("W/")) =>
        {
            ("Last-Modified", then.clone(), now.clone())
        }
        (Some(was), Some(is), ..) => ("entity tag", opaque(was), opaque(is)),
        (_, _, Some(was), Some(is)) => ("Last-Modified", was.clone(), is.clone()),
        (None, _, None, _) => return Ok(()),
        _ if if_range => return Ok(()),
        _ => return Err(Cause::Changed("it has lost the validators that it had".to_owned())),
    };
    if was == is {
        return Ok(());
    }
    Err(Cause::Changed(format!("its {what} is {is} and was {was}")))
}

/// Seconds, or a date (RFC 9110 10.2.3).
pub(super) fn retry_after(fields: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = text(fields, &header::RETRY_AFTER)?.trim();
    match digits(value) {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => httpdate::parse_http_date(value).ok().map(|date| date.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests;
