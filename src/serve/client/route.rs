//! A request of an agent, from its head to its answer: steps 1, 2 and 5 of the room's sequence.

use std::io::BufReader;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST,
    USER_AGENT, VARY,
};
use http::request::Parts as Head;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::fleet::registry::Seat;
use crate::model::shown;
use crate::model::update::UpdateId;
use crate::net::{Body, Peer};
use crate::serve::client::room::Room;
use crate::serve::client::share::Part;
use crate::serve::client::{Error, Scans, intake, place, sending};
use crate::wire::soap::{Limits, Version};
use crate::wire::wusp::{self, Face, Parts, Refusal};
use crate::wire::xpress::Encoder;

/// Answers below this many bytes are not packed: it would gain nothing.
const PACKED_MIN: usize = 300;

/// The most characters of a user agent in the log, and of a reason.
const AGENT_CHARS_MAX: usize = 200;
/// See [`AGENT_CHARS_MAX`].
const WHY_CHARS_MAX: usize = 300;

/// What answers need of a request beside what it says.
pub(super) struct Asked {
    /// Where it came in.
    pub(super) peer: Peer,
    /// The host that it asked, as it says.
    pub(super) host: Option<String>,
    /// Which client it was, once its cookie was read: for the log.
    pub(super) client: Option<UpdateId>,
    /// What is known of it, once it is sure that it is the machine that its id is bound to, and that it was let in.
    pub(super) seat: Option<Arc<Seat>>,
    /// What its answer takes in memory.
    pub(super) room: Room,
}

impl Asked {
    /// The base of file URLs in the answer.
    pub(super) fn base(&self, scans: &Scans) -> String {
        let config = &scans.config;
        let (peer, url) = (self.peer, config.content_url.as_deref());
        place::base(url, self.host.as_deref(), peer.local, peer.secure, &config.http)
    }
}

/// An answer before it is packed.
pub(super) enum Said {
    /// Made in one piece.
    Whole(Vec<u8>),
    /// With fragments that were made before.
    Parts(Parts),
}

impl Said {
    fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Parts(parts) => parts.len(),
        }
    }

    fn into_bytes(self, pack: bool) -> Vec<u8> {
        match self {
            Self::Whole(bytes) if pack => {
                let mut packed = Vec::with_capacity(bytes.len() / 4);
                Encoder::new().pack(&bytes, &mut packed);
                packed
            }
            Self::Parts(parts) if pack => parts.pack(&mut Encoder::new()),
            Self::Whole(bytes) => bytes,
            Self::Parts(parts) => parts.to_vec(),
        }
    }
}

/// Which service a path is that of, if it is one of ours.
pub(in crate::serve) fn is_ours(path: &str) -> Option<Face> {
    Face::at(path)
}

/// Answers a request to one of the services.
pub(in crate::serve) async fn respond(
    scans: &Arc<Scans>,
    service: Face,
    peer: Peer,
    head: &Head,
    incoming: hyper::body::Incoming,
) -> Response<Body> {
    let (begun, _running) = (Instant::now(), scans.counters.began());
    let host = head.uri.authority().map(|authority| authority.as_str().to_owned());
    let host = host.or_else(|| head.headers.get(HOST)?.to_str().ok().map(str::to_owned));
    let client = peer.remote.ip();
    let mut asked = Asked { peer, host, client: None, seat: None, room: Room::new(scans.answers.of(client)) };
    let read = match read(scans, peer, head, incoming).await {
        Ok(read) => read,
        Err(Unread::Away(code, text)) => {
            scans.counters.turned_away();
            log(&Line {
                asked: &asked,
                head,
                operation: "",
                status: code.as_u16(),
                fault: "",
                why: text,
                sent: 0,
                begun,
            });
            return away(code, text);
        }
        Err(Unread::Busy) => {
            let answered = Answered::refused(service, Version::default(), None, &Error::Busy);
            return finish(scans, service, head, asked, answered, begun).await;
        }
    };
    let answered = answer(scans, service, read, &mut asked).await;
    finish(scans, service, head, asked, answered, begun).await
}

/// What is said to a request, and how that is logged.
struct Answered {
    operation: &'static str,
    fault: &'static str,
    why: String,
    said: Said,
}

impl Answered {
    fn refused(service: Face, version: Version, method: Option<wusp::Method>, error: &Error) -> Self {
        let ((code, message), id) = (error.told(), fault_id());
        let refusal = Refusal { face: service, method, code, message, id: &id, actor: "" };
        let said = Said::Whole(refusal.encode(version));
        let operation = method.map_or("", wusp::Method::name);
        let why = format!("{} (fault {id}, {})", error, error.fault().word());
        Self { operation, fault: code.as_str(), why, said }
    }
}

/// A number that finds a fault in the log.
fn fault_id() -> String {
    let mut bytes = [0; 16];
    // Without random numbers it finds nothing, which does no harm.
    let _ = getrandom::fill(&mut bytes);
    UpdateId::new(bytes).to_string()
}

async fn answer(scans: &Arc<Scans>, service: Face, read: (Bytes, Part), asked: &mut Asked) -> Answered {
    let refused = |version, method, error: &Error| Answered::refused(service, version, method, error);
    // Held until the answer is made.
    let mut place = scans.places.of(asked.peer.remote.ip());
    if !place.take(1) {
        return refused(Version::default(), None, &Error::Busy);
    }
    // What was read takes room until it is decoded, for however long that waits.
    let decoding = scans.work(move || wusp::decode(service, BufReader::new(&read.0[..])));
    let request = match decoding.await {
        Ok(Ok(request)) => request,
        Ok(Err(not)) => {
            let id = fault_id();
            let operation = not.method.map_or("", wusp::Method::name);
            let why = format!("{not} (fault {id}, client)");
            return Answered { operation, fault: not.code.as_str(), why, said: Said::Whole(not.encode(&id)) };
        }
        Err(error) => return refused(Version::default(), None, &error),
    };
    let (version, method) = (request.version, request.method);
    let said = match scans.answer(request, asked).await {
        // The packed one is no longer than this.
        Ok(said) => asked.room.whole(said.len()).await.map(|()| said),
        Err(error) => Err(error),
    };
    match said {
        Ok(said) => {
            scans.heard(method, asked);
            Answered { operation: method.name(), fault: "", why: String::new(), said }
        }
        Err(error) => refused(version, Some(method), &error),
    }
}

/// Why a request was not read.
enum Unread {
    /// It gets this status and text.
    Away(StatusCode, &'static str),
    /// There is no room for its body.
    Busy,
}

/// Reads the body of a request that may ask; with what it takes.
async fn read(
    scans: &Scans,
    peer: Peer,
    head: &Head,
    incoming: hyper::body::Incoming,
) -> Result<(Bytes, Part), Unread> {
    if !scans.config.lets(peer.remote.ip(), peer.secure) {
        return Err(Unread::Away(
            StatusCode::FORBIDDEN,
            "scans over plain HTTP are refused from here: use https, or name the network in [scan] plaintext\n",
        ));
    }
    if head.method != Method::POST {
        return Err(Unread::Away(StatusCode::METHOD_NOT_ALLOWED, "only POST is answered here\n"));
    }
    let long = Unread::Away(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long\n");
    let max = usize::try_from(Limits::REQUEST.bytes).unwrap_or(usize::MAX);
    let announced = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > max) {
        return Err(long);
    }
    let mut part = scans.bodies.of(peer.remote.ip());
    match intake::read(incoming, max, &mut part).await {
        Ok(bytes) => Ok((bytes, part)),
        Err(intake::Unread::Long) => Err(long),
        Err(intake::Unread::Slow) => Err(Unread::Away(StatusCode::REQUEST_TIMEOUT, "the request came too slowly\n")),
        Err(intake::Unread::Broken) => Err(Unread::Away(StatusCode::BAD_REQUEST, "the request broke off\n")),
        Err(intake::Unread::Busy) => Err(Unread::Busy),
    }
}

/// Packs an answer where that is wanted, and puts its head before it.
async fn finish(
    scans: &Scans,
    service: Face,
    head: &Head,
    mut asked: Asked,
    answered: Answered,
    begun: Instant,
) -> Response<Body> {
    let Answered { operation, fault, why, said } = answered;
    let pack = said.len() >= PACKED_MIN && wants_xpress(&head.headers);
    let room = std::mem::replace(&mut asked.room, Room::new(scans.answers.of(asked.peer.remote.ip())));
    let bytes = match scans.work(move || room.kept_by(said.into_bytes(pack))).await {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::error!(%error, "an answer to an agent was lost");
            return away(StatusCode::INTERNAL_SERVER_ERROR, "the answer was lost\n");
        }
    };
    let code = if fault.is_empty() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    let length = bytes.len() as u64;
    scans.counters.answered(operation, fault, length, begun.elapsed().as_secs_f64());
    log(&Line { asked: &asked, head, operation, status: code.as_u16(), fault, why: &why, sent: length, begun });
    let mut response = Response::new(sending::body(bytes));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    let control = if service == Face::Client { "private" } else { "private, max-age=0" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(control));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(CONTENT_LENGTH, length.into());
    if pack {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("xpress"));
    }
    response
}

/// Whether a client names the encoding, and does not say that it wants none of it (RFC 9110, 12.5.3).
pub(in crate::serve) fn wants_xpress(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let is_it = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("xpress"));
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        is_it && quality.is_none_or(|quality| quality.trim().parse::<f32>().is_ok_and(|quality| quality > 0.0))
    })
}

/// The answer to a request that was not read. What is left of its body is not waited for.
fn away(code: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::full(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_LENGTH, text.len().into());
    if code == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    if matches!(code, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What the log says of a request.
struct Line<'a> {
    asked: &'a Asked,
    head: &'a Head,
    operation: &'a str,
    status: u16,
    fault: &'a str,
    why: &'a str,
    sent: u64,
    begun: Instant,
}

/// One event of target `scan` for each request. The word of a refusal is in it, which the packed answer hides.
fn log(line: &Line<'_>) {
    let agent = line.head.headers.get(USER_AGENT);
    tracing::info!(
        target: "scan",
        client = %line.asked.peer.remote,
        secure = line.asked.peer.secure,
        endpoint = line.asked.client.map(|id| id.to_string()).unwrap_or_default(),
        path = shown::target(line.head.uri.path()).as_ref(),
        operation = line.operation,
        status = line.status,
        fault = line.fault,
        why = shown::escape(line.why.trim_end().replace('"', "'").as_bytes(), WHY_CHARS_MAX).as_ref(),
        sent = line.sent,
        duration_ms = u64::try_from(line.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        agent = agent.map(|agent| shown::escape(agent.as_bytes(), AGENT_CHARS_MAX)).unwrap_or_default().as_ref(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xpress_is_for_those_who_name_it() {
        let wants = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
            }
            wants_xpress(&headers)
        };
        assert!(wants(&["xpress"]) && wants(&["gzip, XPRESS;q=0.5"]) && wants(&["gzip", "xpress"]));
        assert!(!wants(&[]) && !wants(&["gzip, *"]) && !wants(&["xpress;q=0"]) && !wants(&["xpressive"]));
    }
}
