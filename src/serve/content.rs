//! The content face: a GET or HEAD by digest or by origin, steps 1 to 6 of the room's sequence.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, VIA};
use http::request::Parts as Request;
use http::{HeaderMap, Method, Response, Version};
use tokio::time::Instant;

use crate::base::limits::TARGET_BYTES_MAX;
use crate::base::span::Span;
use crate::base::time::Timestamp;
use crate::fill::{self, Ask, Flight, Keeping, Obtained, Target, Want};
use crate::model::outcome::{CacheStatus, Detail, Outcome};
use crate::model::payload::Class;
use crate::net::{Body, Peer};
use crate::serve::body::{Following, Part, Parts, Windows, first_window};
use crate::serve::passed;
use crate::serve::record::Record;
use crate::serve::reply::{self, Choice};
use crate::serve::{Error, Face};
use crate::store::{self, Found, Held};
use crate::wire::conditional::{self, Object};

/// How often a response whose object was replaced before its first byte begins anew: `fill` passes an object through that
/// changes so often, and bytes found bad add few more.
const RESTARTS_MAX: usize = 6;

/// What goes to the socket as one, whoever reads it: little enough that the kernel takes it at once but from a client that asks
/// for one after another without reading, and from one whose bandwidth is limited so much that it waits for seconds.
const AT_ONCE: u64 = 16 << 10;

/// Answers one request; `record` learns what is found out on the way.
pub(super) async fn answer(
    face: &Arc<Face>,
    peer: Peer,
    request: &Request,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    // 1. Is it ours to answer?
    if !conditional::allows(&request.method) {
        return Err(Error::Method);
    }
    let via = via(&request.headers);
    let ask = ask(request, via.as_deref())?;

    // 2. What does it ask for?
    let whole = request.uri.path_and_query().map_or(ask.path, http::uri::PathAndQuery::as_str);
    let asked = face.lately.find(&face.fill, &ask, whole)?;
    record.located(Arc::clone(&asked));
    let target = &asked.target;

    // 3. Is it at hand?
    let now = record.started_at();
    if let Some(found) = hot(face, target, now) {
        let status = CacheStatus {
            outcome: Outcome::Hit,
            stored: false,
            collapsed: false,
            detail: Some(match found.held.payload().class {
                Class::Proven => Detail::Proven,
                Class::Unproven => Detail::Unproven,
            }),
        };
        record.answered(status);
        return held(face, request, &found, status, now).await;
    }

    // 4. It is looked up, joined, or fetched. One deadline for facts and first byte: a client gets an answer that it can use
    // before it counts us as dead.
    let until = Instant::now() + face.fill.silence();
    let exactly = conditional::exactly_wanted(&request.method, &request.headers);
    let (first, last) = exactly.unwrap_or_else(|| conditional::first_wanted(&request.method, &request.headers));
    let exact = exactly.is_some();
    let head = request.method == Method::HEAD;
    let want = Want { head, first, last, exact, client: peer.remote.ip(), until };
    let mut again = RESTARTS_MAX;
    loop {
        // Boxed: what is at hand, which is nearly all, does not pay for the room that filling wants.
        match Box::pin(face.fill.obtain(target, want)).await? {
            Obtained::Held { found, status } => {
                record.answered(status);
                return held(face, request, &found, status, now).await;
            }
            Obtained::Flying { facts, flight, status } => {
                record.answered(status);
                let object =
                    Object { size: facts.size, tag: &facts.tag, last_modified: facts.last_modified.as_deref(), now };
                match Box::pin(flying(peer, request, &object, &flight, status, until)).await {
                    // No byte has left: what was said of the object is said anew, and its client hears only that.
                    Err(Error::Fill(fill::Error::Changed { .. })) if again > 0 => again -= 1,
                    answer => return answer,
                }
            }
            Obtained::Passed(mut passed) => {
                let detail = Some(Detail::Passed);
                let status = CacheStatus { outcome: Outcome::Miss, stored: false, collapsed: false, detail };
                record.answered(status);
                let first = Box::pin(passed::first(request, &mut passed, until, face.config.retry_after)).await?;
                return passed::answer(request, passed, first, status, now);
            }
        }
    }
}

/// The request as the mapping sees it.
fn ask<'a>(request: &'a Request, via: Option<&'a str>) -> Result<Ask<'a>, Error> {
    let (path, query) = (request.uri.path(), request.uri.query());
    let length = path.len() + query.map_or(0, |query| query.len() + 1);
    if length > TARGET_BYTES_MAX {
        return Err(Error::TargetTooLong(length));
    }
    if !path.starts_with('/') {
        return Err(Error::Malformed("the path does not begin with a slash"));
    }
    let mut hosts = request.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            let host = host.to_str().map_err(|_| Error::Malformed("Host is not printable ASCII"))?;
            Some(host).filter(|host| !host.is_empty())
        }
        // RFC 9112, 3.2.
        (None, _) if request.version == Version::HTTP_11 => return Err(Error::Malformed("Host is missing")),
        (None, _) => None,
        (Some(_), Some(_)) => return Err(Error::Malformed("Host is given more than once")),
    };
    // A client that takes us for a proxy asks for the whole address: its authority counts, whatever Host says (RFC 9112,
    // 3.2.2). HTTP/2 says it there always.
    let host = request.uri.authority().map(http::uri::Authority::as_str).or(host);
    Ok(Ask { host, path, query, via })
}

/// All lines of `Via` as one; what is no text cannot be ours and is left out. Bounded as the request's head is, by `net`.
fn via(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let mut lines = headers.get_all(VIA).iter().filter_map(|line| line.to_str().ok());
    let mut all = Cow::Borrowed(lines.next()?);
    for line in lines {
        let all = all.to_mut();
        all.push_str(", ");
        all.push_str(line);
    }
    Some(all)
}

/// A payload that is open and may be served without asking anyone: neither stale nor past its lifetime.
fn hot(face: &Face, target: &Target, now: Timestamp) -> Option<Found> {
    if target.keeping == Keeping::Never {
        return None;
    }
    let found = face.store.hot(&target.name)?;
    let fresh = found.alias.freshness.as_ref().is_none_or(|freshness| now < freshness.until);
    let alive = found.held.payload().expires_at.is_none_or(|end| now < end);
    (fresh && alive).then_some(found)
}

/// 5 and 6 for a held payload.
async fn held(
    face: &Arc<Face>,
    request: &Request,
    found: &Found,
    status: CacheStatus,
    now: Timestamp,
) -> Result<Response<Body>, Error> {
    let (held, alias) = (&found.held, &found.alias);
    let size = held.payload().size;
    let object = Object { size, tag: &alias.tag, last_modified: alias.last_modified.as_deref(), now };
    let choice = Choice::of(conditional::decide(&request.method, &request.headers, &object), size);
    let head = reply::content(&choice, &object, sent(status, request, &choice));
    let body = match choice {
        _ if request.method == Method::HEAD => Body::empty(),
        Choice::Without(_) => Body::empty(),
        Choice::Whole => held_span(face, held, Span::new(0, size)).await?,
        Choice::Single(span) => held_span(face, held, span).await?,
        Choice::Multi(parts) => {
            // What cannot be read at the start still gets a status.
            let mut first = match parts.spans().first() {
                Some(first) => Some(bring(face, held, first_window(*first)).await?),
                None => None,
            };
            let length = parts.content_length();
            let spans = parts.spans().iter().enumerate();
            let pieces = spans.flat_map(|(at, span)| {
                let windows = Windows::new(Arc::clone(face), Arc::clone(held), *span, first.take());
                [Part::Text(parts.head(*span, at == 0).into()), Part::Body(Box::pin(windows))]
            });
            let all = Parts::new(pieces.chain([Part::Text(parts.tail().into())]));
            Body::frames(length, Box::new(all))
        }
    };
    Ok(head.map(|()| body))
}

/// What `Cache-Status` says with this choice: an answer without content is not one that is kept.
fn sent(status: CacheStatus, request: &Request, choice: &Choice) -> CacheStatus {
    let without = request.method == Method::HEAD || matches!(choice, Choice::Without(_));
    CacheStatus { stored: status.stored && !without, ..status }
}

/// The body of one span. What is short is one slice of the map and nothing else.
async fn held_span(face: &Arc<Face>, held: &Arc<Held>, span: Span) -> Result<Body, Error> {
    if span.is_empty() {
        return Ok(Body::empty());
    }
    let first = bring(face, held, first_window(span)).await?;
    Ok(if span.len() <= AT_ONCE {
        Body::full(first.bytes)
    } else {
        Body::frames(span.len(), Box::new(Windows::new(Arc::clone(face), Arc::clone(held), span, Some(first))))
    })
}

/// A window, in memory before the head goes out, so that a bad disk gets a status and not a cut.
async fn bring(face: &Face, held: &Arc<Held>, window: Span) -> Result<store::Read, Error> {
    if held.resident(window) {
        return Ok(store::Read { bytes: held.window(window), stays: false });
    }
    held.read(window).await.map_err(|error| {
        face.unreadable(held, window, &error);
        Error::Store(error)
    })
}

/// 5 and 6 for a payload that is being filled.
async fn flying(
    peer: Peer,
    request: &Request,
    object: &Object<'_>,
    flight: &Flight,
    status: CacheStatus,
    until: Instant,
) -> Result<Response<Body>, Error> {
    let choice = Choice::of(conditional::decide(&request.method, &request.headers, object), object.size);
    let head = reply::content(&choice, object, sent(status, request, &choice));
    let client = peer.remote.ip();
    let body = match choice {
        _ if request.method == Method::HEAD => Body::empty(),
        Choice::Without(_) => Body::empty(),
        Choice::Whole if object.size == 0 => Body::empty(),
        Choice::Whole => follow(flight, Span::new(0, object.size), client, until).await?,
        Choice::Single(span) => follow(flight, span, client, until).await?,
        Choice::Multi(parts) => {
            // All demands are registered before the first is followed, so that they are all asked for early.
            let mut tails: Vec<_> = parts.spans().iter().map(|span| flight.tail(*span, client)).collect();
            let mut first = match tails.first_mut() {
                Some(tail) => tail.first(until).await.ok_or(Error::Ended)??,
                None => Bytes::new(),
            };
            let pieces = tails.into_iter().zip(parts.spans()).enumerate().flat_map(|(at, (tail, span))| {
                let following = Following::new(tail, std::mem::take(&mut first));
                [Part::Text(parts.head(*span, at == 0).into()), Part::Body(Box::pin(following))]
            });
            let tail = parts.tail();
            let length = parts.content_length();
            let pieces: Vec<Part> = pieces.chain([Part::Text(tail.into())]).collect();
            Body::frames(length, Box::new(Parts::new(pieces)))
        }
    };
    Ok(head.map(|()| body))
}

/// The body of one span of a flight. Waits for its first bytes, so that what cannot be had in time gets a status and not a
/// cut.
async fn follow(flight: &Flight, span: Span, client: IpAddr, until: Instant) -> Result<Body, Error> {
    let mut tail = flight.tail(span, client);
    let first = tail.first(until).await.ok_or(Error::Ended)??;
    Ok(Body::frames(span.len(), Box::new(Following::new(tail, first))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, target: &str, headers: &[(&str, &str)]) -> Request {
        let mut builder = http::Request::builder().version(version).uri(target);
        for (name, value) in headers {
            builder = builder.header(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[test]
    fn an_authority_in_the_target_counts_as_host() {
        let host = |version, target: &str, hosts: &[&str]| {
            let hosts: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            ask(&request(version, target, &hosts), None)
                .map(|ask| ask.host.map(str::to_owned))
                .map_err(|e| e.to_string())
        };
        let some = |host: &str| Ok(Some(host.to_owned()));
        assert_eq!(host(Version::HTTP_11, "/a", &["node:3698"]), some("node:3698"));
        assert_eq!(host(Version::HTTP_11, "http://dl.example:80/a", &["node"]), some("dl.example:80"));
        assert_eq!(host(Version::HTTP_2, "https://dl.example/a", &[]), some("dl.example"));
        assert_eq!(host(Version::HTTP_10, "/a", &[]), Ok(None));
        assert_eq!(host(Version::HTTP_11, "/a", &[""]), Ok(None));
        for (target, hosts) in [("/a", vec![]), ("/a", vec!["a", "a"]), ("/a", vec!["\u{e9}"]), ("*", vec!["a"])] {
            assert!(host(Version::HTTP_11, target, &hosts).is_err(), "{target} {hosts:?}");
        }
    }

    #[test]
    fn path_and_query_are_byte_for_byte() {
        let head = request(Version::HTTP_11, "http://h/a%2Fb//c?x=%41&cacheHostOrigin=o", &[("host", "h")]);
        let asked = ask(&head, None).unwrap();
        assert_eq!((asked.path, asked.query), ("/a%2Fb//c", Some("x=%41&cacheHostOrigin=o")));
        let long = request(Version::HTTP_11, &format!("/{}", "a".repeat(TARGET_BYTES_MAX)), &[("host", "h")]);
        assert!(matches!(ask(&long, None), Err(Error::TargetTooLong(_))));
    }

    #[test]
    fn all_lines_of_via_are_one() {
        let of = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("via", *line)).collect();
            via(&request(Version::HTTP_11, "/", &lines).headers).map(Cow::into_owned)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["1.1 a", "1.1 b, 1.1 c"]).as_deref(), Some("1.1 a, 1.1 b, 1.1 c"));
        assert_eq!(of(&["1.1 a", "\u{e9}", "1.1 b"]).as_deref(), Some("1.1 a, 1.1 b"));
    }
}
