//! Following a span: its bytes in order, as they come in.
//!
//! Until the proof they are read back from the draft, as far as [`crate::fill::flight`] lets them leave; afterwards from
//! the published payload, without the client noticing. Where the disk failed, the rest comes straight from the origin.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::base::span::Span;
use crate::fill::check::Check;
use crate::fill::config::TRICKLE_EVERY;
use crate::fill::error::Error;
use crate::fill::flight::Lease;
use crate::fill::gate::Passage;
use crate::fill::pump::host_of;
use crate::fill::state::Step;
use crate::model::payload::Location;
use crate::store::{Draft, Found};
use crate::upstream::{Ask, Body, Method, Pinned};

/// The bytes of one span, as they come in.
pub struct Tail {
    lease: Arc<Lease>,
    id: u64,
    start: u64,
    at: u64,
    /// Up to here the reader has come back for more.
    taken: u64,
    end: u64,
    bell: Arc<Notify>,
    client: IpAddr,
    via: Option<String>,
    /// When the next step of a trickle is due.
    due: Instant,
    /// The rest of the object straight from the origin, over a connection that is counted.
    direct: Option<(Body, Option<Passage>)>,
    /// Of a whole body that goes on straight from the origin, where a digest is known.
    check: Option<Check>,
    failed: bool,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail")
            .field("id", &self.id)
            .field("at", &self.at)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // What was handed over last may never have been sent, unless it was the end, behind which nobody asks.
        let got = if self.at == self.end { self.at } else { self.taken };
        self.lease.shared.lock().withdraw(self.id, Span::new(self.start, got));
        self.lease.shared.owner.notify_one();
    }
}

impl Tail {
    pub(super) fn new(
        lease: Arc<Lease>,
        id: u64,
        span: Span,
        bell: Arc<Notify>,
        (client, via): (IpAddr, Option<String>),
    ) -> Self {
        Self {
            lease,
            id,
            start: span.start(),
            at: span.start(),
            taken: span.start(),
            end: span.end(),
            bell,
            client,
            via,
            due: Instant::now(),
            direct: None,
            check: None,
            failed: false,
        }
    }

    /// The next bytes in order; `None` at the span's end. An error means: cut the response; after it there is nothing.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        self.taken = self.at;
        if self.at >= self.end || self.failed {
            return None;
        }
        let mut result = self.step().await;
        if self.lease.shared.lock().is_spoiled(self.id) {
            let why = "bytes that its beginning may be joined to were found bad; ask for all of it again".to_owned();
            result = Err(Error::Changed { why });
        }
        match &result {
            Ok(bytes) => {
                self.at += bytes.len() as u64;
                self.lease.shared.lock().advance(self.id, self.at);
                // What was waited for is here, what comes next may have to be asked for.
                if self.lease.shared.lock().is_starved(self.at, self.end) {
                    self.lease.shared.owner.notify_one();
                }
            }
            Err(_) => self.failed = true,
        }
        Some(result)
    }

    /// As [`Tail::next`], for the first bytes: an error from `until` on if none has come. The flight goes on.
    pub async fn first(&mut self, until: Instant) -> Option<Result<Bytes, Error>> {
        if let Ok(next) = tokio::time::timeout_at(until, self.next()).await {
            return next;
        }
        self.failed = true;
        Some(Err(self.lease.shared.too_slow("has sent none of the bytes asked for in time and is still asked")))
    }

    async fn step(&mut self) -> Result<Bytes, Error> {
        loop {
            // What is to be said of it is said by the caller.
            if self.lease.shared.lock().is_spoiled(self.id) {
                return Ok(Bytes::new());
            }
            if self.direct.is_some() {
                return self.direct().await;
            }
            let shared = Arc::clone(&self.lease.shared);
            let step = shared.lock().step(self.id, self.at, self.end, shared.strict);
            match step {
                Step::Draft(draft, span, slowly) => {
                    if slowly && !self.is_due().await {
                        continue;
                    }
                    match read(&draft, span).await {
                        // A piece taken for bad went away under the read: wait for the better one.
                        Err(_) if !shared.lock().covered.covers(&span) => {}
                        read => return read,
                    }
                }
                Step::Held(found, span) => return held(&found, span).await,
                Step::Wait => self.bell.notified().await,
                Step::Direct(location, pinned) => self.direct = Some(self.ask(location, pinned).await?),
                Step::Fail(error) => return Err(error),
            }
        }
    }

    /// Whether the trickle's next step is due; waits for it, or for something to change.
    async fn is_due(&mut self) -> bool {
        let now = Instant::now();
        if now < self.due {
            tokio::select! {
                () = tokio::time::sleep_until(self.due) => {}
                () = self.bell.notified() => return false,
            }
        }
        self.due = Instant::now() + TRICKLE_EVERY;
        true
    }

    async fn ask(&mut self, location: Location, pinned: Pinned) -> Result<(Body, Option<Passage>), Error> {
        let passage = self.lease.shared.gates.enter_through(host_of(&location.url), self.client).await;
        let span = Span::new(self.at, self.end);
        let ask = Ask {
            location,
            method: Method::Get,
            span: Some(span),
            pinned: Some(pinned),
            revalidate: None,
            via: self.via.clone(),
        };
        let answer = self.lease.shared.source.ask(ask).await.map_err(|error| Error::of_origin(&error))?;
        if answer.span.start() != self.at {
            return Err(Error::unavailable("the disk is full and the origin cannot go on from the middle"));
        }
        let (expected, draft, size) = {
            let state = self.lease.shared.lock();
            (state.expected, state.draft.clone(), state.size)
        };
        if let Some(expected) = expected
            && (self.start, self.end) == (0, size)
        {
            self.check = Some(match draft {
                Some(draft) => Check::after(&self.lease.shared.store, expected, &draft, self.at).await?,
                // No draft could be made: nothing has left.
                None => Check::new(&self.lease.shared.store, expected),
            });
        }
        Ok((answer.body, passage))
    }

    async fn direct(&mut self) -> Result<Bytes, Error> {
        let Some((body, _)) = &mut self.direct else {
            return Err(Error::unavailable("no answer to read from"));
        };
        loop {
            let mut bytes = match body.next().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Err(Error::unavailable("the origin's answer ended early")),
                Err(error) => return Err(Error::of_origin(&error)),
            };
            let seen = self.check.as_ref().map_or(self.at, Check::seen);
            bytes.truncate(usize::try_from(self.end.saturating_sub(seen)).unwrap_or(usize::MAX));
            let Some(check) = self.check.take() else {
                return Ok(bytes);
            };
            // Whoever lets go of this future in between must not go on without the check.
            self.failed = true;
            let (check, out) = check.take(bytes).await?;
            self.failed = false;
            if check.seen() == self.end {
                let rest = check.finish()?;
                return Ok([out, rest].concat().into());
            }
            self.check = Some(check);
            if !out.is_empty() {
                return Ok(out);
            }
        }
    }
}

async fn read(draft: &Draft, span: Span) -> Result<Bytes, Error> {
    // Most of what is asked for has just come in.
    let bytes = match draft.read_at_once(span) {
        Some(bytes) => bytes,
        None => draft.read(span).await?,
    };
    if bytes.is_empty() {
        return Err(Error::unavailable("the draft gave no bytes where there should be some"));
    }
    Ok(bytes)
}

async fn held(found: &Found, span: Span) -> Result<Bytes, Error> {
    if !found.held.resident(span) {
        found.held.populate(span).await?;
    }
    let bytes = found.held.window(span);
    if bytes.is_empty() {
        return Err(Error::unavailable("the payload is shorter than it was said to be"));
    }
    Ok(bytes)
}
