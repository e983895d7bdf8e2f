//! The access record: one event of target `access` for each request, when its body has ended or the client has left. The
//! same moment feeds the counters and the store's ledger.
//!
//! No field is named as a line of the log has it already (`timestamp`, `level`, `target`, `message`): as JSON a line is one
//! flat object.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{HOST, RANGE, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method, Uri};

use crate::base::time::Timestamp;
use crate::model::outcome::{CacheStatus, Detail, Outcome};
use crate::model::shown;
use crate::net::Peer;
use crate::serve::asked::{Asked, shown_host};
use crate::serve::{Error, Face, Fault};
use crate::store::Tally;

/// The most characters of a method: the longest that is registered has 17, and a stranger's can be as long as a head.
const METHOD_CHARS_MAX: usize = 32;

/// The most characters of a user agent.
const AGENT_CHARS_MAX: usize = 200;

/// The most characters of a Range and of a reason.
const FIELD_CHARS_MAX: usize = 300;

/// What a request is recorded with that was not answered with content.
pub(super) const REFUSED: CacheStatus =
    CacheStatus { outcome: Outcome::Refused, stored: false, collapsed: false, detail: None };

/// One request, from its head to its last byte. Written when it is dropped, so that none is lost: not one whose client left
/// while it waited, not one that panicked.
pub(super) struct Record {
    face: Arc<Face>,
    peer: Peer,
    method: Method,
    uri: Uri,
    host: Option<HeaderValue>,
    range: Option<HeaderValue>,
    agent: Option<HeaderValue>,
    started_at: Timestamp,
    started: Instant,
    asked: Option<Arc<Asked>>,
    cache: CacheStatus,
    status: u16,
    why: Option<(Fault, String)>,
    first_byte: Option<Duration>,
    sent: u64,
    whole: bool,
    /// A node below asked, and no endpoint: what endpoints there want that node makes out for itself.
    is_node: bool,
}

impl Record {
    /// Begins the record of a request, of a node below or an endpoint. Copies nothing: header values and the target are shared.
    pub(super) fn begin(face: Arc<Face>, peer: Peer, request: &Parts, is_node: bool) -> Self {
        face.counters.began();
        let header = |name| request.headers.get(name).cloned();
        Self {
            peer,
            method: request.method.clone(),
            uri: request.uri.clone(),
            host: header(HOST),
            range: header(RANGE),
            agent: header(USER_AGENT),
            started_at: face.clock.now(),
            started: Instant::now(),
            asked: None,
            cache: REFUSED,
            status: 0,
            why: None,
            first_byte: None,
            sent: 0,
            whole: false,
            is_node,
            face,
        }
    }

    /// When the request began.
    pub(super) fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// What it asks for.
    pub(super) fn located(&mut self, asked: Arc<Asked>) {
        self.asked = Some(asked);
    }

    /// How it is answered, as soon as that is known.
    pub(super) fn answered(&mut self, cache: CacheStatus) {
        self.cache = cache;
    }

    /// Why it is not answered with content.
    pub(super) fn failed(&mut self, error: &Error) {
        self.cache = REFUSED;
        self.why = Some((error.fault(), error.to_string()));
    }

    /// The answer's head is ready, its first bytes with it.
    pub(super) fn headed(&mut self, status: u16) {
        self.status = status;
        self.first_byte = Some(self.started.elapsed());
    }

    /// The body has ended: how many bytes left, and whether they were all.
    pub(super) fn ended(mut self, sent: u64, whole: bool) {
        self.sent = sent;
        self.whole = whole;
    }

    /// The host of what was not located, whatever bytes it has.
    fn refused_host(&self) -> String {
        match (self.uri.authority(), &self.host) {
            (Some(authority), _) => shown_host(authority.as_str()),
            (None, Some(host)) => shown_host(&String::from_utf8_lossy(host.as_bytes())),
            (None, None) => String::new(),
        }
    }

    fn write(&self, duration: Duration) {
        fn show(value: Option<&HeaderValue>, limit: usize) -> Cow<'_, str> {
            value.map(|value| shown::escape(value.as_bytes(), limit)).unwrap_or_default()
        }
        let (host, path, key, rule) = match &self.asked {
            Some(asked) => (
                Cow::Borrowed(asked.host.as_str()),
                Cow::Borrowed(asked.path.as_str()),
                asked.key.as_str(),
                asked.target.rule,
            ),
            None => (
                Cow::Owned(self.refused_host()),
                shown::target(self.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str)),
                "",
                "",
            ),
        };
        tracing::info!(
            target: "access",
            at = %self.started_at,
            client = %self.peer.remote,
            secure = self.peer.secure,
            method = shown::escape(self.method.as_str().as_bytes(), METHOD_CHARS_MAX).as_ref(),
            host = host.as_ref(),
            path = path.as_ref(),
            key,
            rule,
            outcome = self.cache.outcome.word(),
            detail = self.cache.detail.map_or("", Detail::word),
            status = self.status,
            range = show(self.range.as_ref(), FIELD_CHARS_MAX).as_ref(),
            sent = self.sent,
            ended = if self.whole { "whole" } else { "cut" },
            duration_ms = millis(duration),
            first_byte_ms = self.first_byte.map(millis),
            agent = show(self.agent.as_ref(), AGENT_CHARS_MAX).as_ref(),
            fault = self.why.as_ref().map_or("", |(fault, _)| fault.word()),
            // Our own words, whose quotes would be escaped as a stranger's are.
            why = (self.why.as_ref())
                .map(|(_, why)| shown::escape(why.replace('"', "'").as_bytes(), FIELD_CHARS_MAX).into_owned())
                .unwrap_or_default(),
        );
    }
}

/// The record of a request whose head could not be read, so that there is little to say of it. The network counts it.
pub(super) fn unread(at: Timestamp, peer: Peer, status: u16, why: &str) {
    tracing::info!(
        target: "access",
        %at,
        client = %peer.remote,
        secure = peer.secure,
        method = "",
        host = "",
        path = "",
        key = "",
        rule = "",
        outcome = REFUSED.outcome.word(),
        detail = "",
        status,
        range = "",
        sent = 0,
        ended = "whole",
        duration_ms = 0,
        agent = "",
        fault = Fault::Client.word(),
        why = shown::escape(why.as_bytes(), FIELD_CHARS_MAX).as_ref(),
    );
}

impl Drop for Record {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        self.face.counters.ended(
            self.cache.outcome,
            self.status,
            self.sent,
            !self.whole,
            self.first_byte.map(|time| time.as_secs_f64()),
            duration.as_secs_f64(),
        );
        if self.sent > 0
            && !self.is_node
            && self.cache.outcome != Outcome::Refused
            && self.method == Method::GET
            && let Some(asked) = &self.asked
            && let Some(sent) = asked.untold.sent(self.sent)
        {
            self.face.store.asked(&asked.target.name, sent);
        }
        // What went wrong has a body too, and is none of the file.
        if self.sent > 0
            && !self.is_node
            && matches!(self.status, 200 | 206)
            && self.cache.outcome != Outcome::Refused
            && let Some(mark) = self.asked.as_ref().and_then(|asked| asked.mark)
        {
            self.face.store.served(self.peer.remote.ip(), mark, self.sent, self.started_at);
        }
        self.face.store.ledger().add(Tally {
            requests: 1,
            hits: u64::from(self.cache.outcome == Outcome::Hit),
            sent: self.sent,
            fetched: 0,
            // A client that left while it waited was not refused anything.
            refused: u64::from(self.cache.outcome == Outcome::Refused && self.status != 0),
        });
        if tracing::enabled!(target: "access", tracing::Level::INFO) {
            self.write(duration);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
