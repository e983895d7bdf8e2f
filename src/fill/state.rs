//! What one flight knows: what is in, what is in flight, who waits for what, and what may leave.
//!
//! What may leave is decided under the same lock that marks what came in, so that no byte slips past the hold-back:
//! - the end of what completes the draft is held until the digests check;
//! - with much left to hash, the last stretch trickles, so that no response falls silent meanwhile;
//! - `strict` lets nothing out before the proof.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::base::limits::PIECE;
use crate::base::span::{Span, SpanSet};
use crate::fill::config::{BACKLOG, CROWD, HELD_BACK, NAMES_MAX, SOURCES_MAX, TAIL_READ, TRICKLE_BYTES};
use crate::fill::error::Error;
use crate::fill::flight::End;
use crate::fill::meter::Meter;
use crate::fill::plan::{Flying, Waiting};
use crate::fill::repeats::Repeats;
use crate::model::name::Name;
use crate::model::payload::{Location, Published};
use crate::store::{Draft, Found};
use crate::upstream::{self, Pinned};

/// How far the proof is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Bytes are missing.
    Filling,
    /// Everything is in and is being hashed.
    Proving,
    /// Everything matches.
    Proved,
}

/// A place to ask, and what it said last if that was no.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) location: Location,
    pub(super) refused: Option<upstream::Error>,
}

/// An extent in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) at: u64,
    /// The pump stops there; the planner may lower it, also below what a write under way has taken already.
    pub(super) end: u64,
}

impl Extent {
    fn is_flying(&self) -> bool {
        self.at < self.end
    }
}

#[derive(Debug)]
pub(super) struct Demand {
    start: u64,
    at: u64,
    /// Where what was read for it ends: at `at`, or beyond it while a read is under way.
    taken: u64,
    /// Bytes that were read for it have been dropped since: the better ones must not follow them.
    spoiled: bool,
    end: u64,
    fed_at: Instant,
    client: IpAddr,
    bell: Arc<Notify>,
}

/// What a tail should do next.
#[derive(Debug)]
pub(super) enum Step {
    /// Read these bytes back from the draft; `true`: as a trickle.
    Draft(Draft, Span, bool),
    /// Take them from the published payload.
    Held(Found, Span),
    /// Wait for the bell.
    Wait,
    /// Ask the place yourself, from here on.
    Direct(Location, Pinned),
    /// Cut the response.
    Fail(Error),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) draft: Option<Draft>,
    pub(super) size: u64,
    pub(super) covered: SpanSet,
    pub(super) extents: BTreeMap<u64, Extent>,
    demands: BTreeMap<u64, Demand>,
    pub(super) asked: SpanSet,
    pub(super) pieces: SpanSet,
    pub(super) whole: bool,
    /// Policy that changed on the way and must be written down.
    pub(super) amended: bool,
    pub(super) proof: Proof,
    held_back: Option<Span>,
    last_stretch: Option<SpanSet>,
    pub(super) end: Option<End>,
    pub(super) found: Option<Found>,
    pub(super) sources: Vec<Candidate>,
    pub(super) source: usize,
    pub(super) names: Vec<(Name, String)>,
    pub(super) expected: Option<Published>,
    pub(super) meter: Meter,
    pub(super) written: u64,
    pub(super) synced: u64,
    pub(super) leases: usize,
    next_id: u64,
    repeats: Repeats,
    /// Pieces that a client found bad: not covered any more, and to be dropped from the draft by the owner. Until then
    /// nothing is written there and nothing asked for.
    pub(super) bad: Vec<Span>,
    pub(super) step: &'static str,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            draft: None,
            size: 0,
            covered: SpanSet::new(),
            extents: BTreeMap::new(),
            demands: BTreeMap::new(),
            asked: SpanSet::new(),
            pieces: SpanSet::new(),
            whole: false,
            amended: false,
            proof: Proof::Filling,
            held_back: None,
            last_stretch: None,
            end: None,
            found: None,
            sources: Vec::new(),
            source: 0,
            names: Vec::new(),
            expected: None,
            meter: Meter::default(),
            written: 0,
            synced: 0,
            leases: 0,
            next_id: 0,
            repeats: Repeats::default(),
            bad: Vec::new(),
            step: "opening",
        }
    }
    /// Takes over a draft: new, or one that was filled in part before.
    pub(super) fn open(&mut self, draft: Draft, size: u64) {
        self.covered = draft.covered();
        self.size = size;
        self.draft = Some(draft);
        if self.is_complete() && size > 0 {
            // All of it is in from before, and much of it may have to be hashed again: its end is the last stretch.
            self.last_stretch = Some([Span::new(size - size.min(PIECE), size)].into_iter().collect());
        }
        self.hold_if_complete(Span::new(0, size));
    }

    pub(super) fn is_complete(&self) -> bool {
        self.draft.is_some() && self.covered.total() == self.size
    }

    /// Whether everything is in; if so the proof begins, and from then on no piece is taken for bad.
    pub(super) fn begin_proof(&mut self) -> bool {
        let complete = self.is_complete();
        if complete {
            self.proof = Proof::Proving;
            self.step = "proving";
        }
        complete
    }

    pub(super) fn leases(&self) -> usize {
        self.leases
    }

    pub(super) fn clients(&self) -> usize {
        self.demands.len()
    }

    pub(super) fn mark(&mut self, span: Span) {
        let last_new = self.covered.gaps(span).last();
        let new = self.covered.insert(span);
        let now = Instant::now();
        self.written += new;
        self.meter.add(now, new);
        if let Some(last_new) = last_new {
            self.hold_if_complete(last_new);
        }
        self.notice_last_stretch();
        for demand in self.demands.values_mut() {
            if span.start() <= demand.at && demand.at < span.end() {
                demand.fed_at = now;
                demand.bell.notify_one();
            }
        }
    }

    /// Holds back the end of `last`, the bytes that completed the draft.
    fn hold_if_complete(&mut self, last: Span) {
        if self.is_complete() && self.proof == Proof::Filling && self.held_back.is_none() {
            self.held_back = Some(Span::new(last.end() - last.len().min(HELD_BACK), last.end()));
        }
    }

    /// Once no more than a piece is missing and all of it is on its way, that is the last stretch.
    pub(super) fn notice_last_stretch(&mut self) {
        let missing = self.size - self.covered.total();
        let flying: u64 = self.extents.values().map(|extent| extent.end.saturating_sub(extent.at)).sum();
        if self.last_stretch.is_none() && missing <= PIECE && missing > 0 && flying >= missing {
            self.last_stretch = Some(self.covered.gaps(Span::new(0, self.size)).collect());
        }
    }

    /// Bytes taken for bad: missing again. A response that has some of them must not end well, whatever the proof says
    /// of those that come instead; and what is held back elsewhere stays so until the proof.
    fn unmark(&mut self, span: Span) {
        self.covered.remove(span);
        if self.held_back.is_some_and(|held| !held.intersect(&span).is_empty()) {
            self.held_back = None;
        }
        self.last_stretch = None;
        for demand in self.demands.values_mut() {
            if !Span::new(demand.start, demand.taken).intersect(&span).is_empty() {
                demand.spoiled = true;
                demand.bell.notify_one();
            }
        }
    }

    /// The missing bytes of `span` that may be written now.
    pub(super) fn writable(&self, span: Span) -> Vec<Span> {
        let mut missing: SpanSet = self.covered.gaps(span).collect();
        for bad in &self.bad {
            missing.remove(*bad);
        }
        missing.iter().collect()
    }

    pub(super) fn proved(&mut self) {
        self.proof = Proof::Proved;
        self.step = "publishing";
        self.ring_all();
    }

    pub(super) fn ring_all(&self) {
        for demand in self.demands.values() {
            demand.bell.notify_one();
        }
    }

    pub(super) fn demand(&mut self, span: Span, client: IpAddr) -> (u64, Span, Arc<Notify>) {
        let span = span.intersect(&Span::new(0, self.size));
        self.asked.insert(span);
        self.pieces.insert(span.align(PIECE, self.size));
        self.notice_repeats(span, client);
        let bell = Arc::new(Notify::new());
        let id = self.next_id;
        self.next_id += 1;
        let demand = Demand {
            start: span.start(),
            at: span.start(),
            taken: span.start(),
            spoiled: false,
            end: span.end(),
            fed_at: Instant::now(),
            client,
            bell: Arc::clone(&bell),
        };
        self.demands.insert(id, demand);
        (id, span, bell)
    }

    fn notice_repeats(&mut self, span: Span, client: IpAddr) {
        let mine = || self.demands.values().filter(|demand| demand.client == client);
        let same = mine().any(|demand| !Span::new(demand.at, demand.end).intersect(&span).is_empty());
        if same || mine().count() >= CROWD || client.is_loopback() {
            self.repeats.is_crowd(client);
        }
        if self.proof == Proof::Filling {
            // Missing from now on, so that this very response waits for the better bytes.
            for bad in self.repeats.asked_again(client, span, self.size) {
                self.unmark(bad);
                self.bad.push(bad);
            }
        }
    }

    /// A tail has handed out everything up to `at`.
    pub(super) fn advance(&mut self, id: u64, at: u64) {
        if let Some(demand) = self.demands.get_mut(&id) {
            demand.at = at;
            demand.taken = at;
            demand.fed_at = Instant::now();
        }
    }

    /// A tail is gone; `got` is what its client was given.
    pub(super) fn withdraw(&mut self, id: u64, got: Span) {
        let Some(demand) = self.demands.remove(&id) else {
            return;
        };
        self.repeats.delivered(demand.client, got, self.size);
    }

    /// What the planner looks at: responses that want more than is in, the longest silent first. A response whose next
    /// bytes are in is not silent for want of them, however long its client does not read.
    pub(super) fn waiting(&self, now: Instant) -> Vec<Waiting> {
        let mut waiting: Vec<(Waiting, u64)> = self
            .demands
            .iter()
            .filter(|(_, demand)| demand.at + self.covered.run_at(demand.at) < demand.end)
            .map(|(id, demand)| {
                let starved = self.covered.run_at(demand.at) == 0;
                let silent = if starved { now.saturating_duration_since(demand.fed_at) } else { Duration::ZERO };
                (Waiting { at: demand.at, end: demand.end, silent }, *id)
            })
            .collect();
        let ready = |waiting: &Waiting| self.covered.run_at(waiting.at) > 0;
        waiting.sort_by_key(|(waiting, id)| (ready(waiting), std::cmp::Reverse(waiting.silent), *id));
        waiting.into_iter().map(|(waiting, _)| waiting).collect()
    }

    pub(super) fn flying(&self) -> Vec<Flying> {
        let flying = self.extents.values().filter(|extent| extent.is_flying());
        flying.map(|extent| Flying { at: extent.at, end: extent.end }).collect()
    }

    /// Cuts the extent at this place of [`State::flying`] short.
    pub(super) fn cut(&mut self, place: usize, end: u64) {
        if let Some(extent) = self.extents.values_mut().filter(|extent| extent.is_flying()).nth(place) {
            extent.end = end.clamp(extent.at, extent.end);
        }
    }

    /// Whether bytes that the tail has read were dropped since.
    pub(super) fn is_spoiled(&self, id: u64) -> bool {
        self.demands.get(&id).is_some_and(|demand| demand.spoiled)
    }

    /// What the tail at `at` does next. `strict` as configured.
    pub(super) fn step(&mut self, id: u64, at: u64, end: u64, strict: bool) -> Step {
        let step = self.next_step(at, end, strict);
        if let (Step::Draft(_, span, _), Some(demand)) = (&step, self.demands.get_mut(&id)) {
            demand.taken = span.end();
        }
        step
    }

    fn next_step(&self, at: u64, end: u64, strict: bool) -> Step {
        if let Some(found) = &self.found {
            return Step::Held(found.clone(), Span::new(at, end.min(at + crate::base::limits::WINDOW)));
        }
        let (ready, slowly) = self.may_leave(at, end, strict);
        if ready > 0
            && let Some(draft) = &self.draft
        {
            match &self.end {
                // What was proven, or is only a part, can be read on; a mismatch takes everything back.
                Some(End::Failed(Error::Mismatch { .. } | Error::Closing)) => {}
                _ => return Step::Draft(draft.clone(), Span::at(at, ready), slowly),
            }
        }
        match &self.end {
            None => Step::Wait,
            // Of several addresses nobody here knows which one is this client's own, and only its own refuses it.
            Some(End::Failed(Error::Origin(_, 401 | 403))) if self.sources.len() > 1 => {
                Step::Fail(Error::unavailable("another client's address of this object was refused; ask again"))
            }
            Some(End::Failed(error) | End::Changed(error)) => Step::Fail(error.clone()),
            Some(End::Spilled(error, ..)) if strict => Step::Fail(Error::Store(Arc::clone(error))),
            Some(End::Spilled(_, location, pinned)) => Step::Direct(location.clone(), pinned.clone()),
            Some(End::Published(_) | End::Passed(_) | End::Idle) => {
                Step::Fail(Error::unavailable("the flight ended before its bytes were there"))
            }
        }
    }

    /// How many bytes from `at` on may leave now, and whether as a trickle.
    fn may_leave(&self, at: u64, end: u64, strict: bool) -> (u64, bool) {
        let run = self.covered.run_at(at).min(end - at).min(TAIL_READ);
        if self.proof == Proof::Proved {
            return (run, false);
        }
        if strict {
            return (0, false);
        }
        let run = match self.held_back {
            Some(held) if held.start() <= at && at < held.end() => 0,
            Some(held) if at < held.start() => run.min(held.start() - at),
            _ => run,
        };
        let hashed = self.draft.as_ref().map_or(0, Draft::hashed);
        if let Some(last) = &self.last_stretch
            && self.size.saturating_sub(hashed) > BACKLOG
        {
            if last.run_at(at) > 0 {
                return (run.min(TRICKLE_BYTES), true);
            }
            // Full speed up to where the last stretch begins.
            if let Some(next) = last.within(Span::new(at, at + run)).next() {
                return (next.start() - at, false);
            }
        }
        (run, false)
    }

    /// Adds a place to ask, unless it is known or there are enough.
    pub(super) fn add_source(&mut self, location: &Location) {
        if self.sources.iter().any(|candidate| candidate.location.url == location.url) {
            return;
        }
        let candidate = Candidate { location: location.clone(), refused: None };
        // Where there is no room the one refused longest goes: addresses signed for a time end, and fresh ones come.
        let refused = self.sources.iter().position(|candidate| candidate.refused.is_some());
        let place = match refused.filter(|_| self.sources.len() >= SOURCES_MAX) {
            Some(place) => {
                self.sources.remove(place);
                if place < self.source {
                    self.source -= 1;
                }
                Some(self.sources.len())
            }
            None => Some(self.sources.len()).filter(|place| *place < SOURCES_MAX),
        };
        if let Some(place) = place {
            self.sources.push(candidate);
            if self.current().is_none() {
                self.source = place;
            }
        }
    }

    /// Adds a name under which the payload will be published, with its tag.
    pub(super) fn add_name(&mut self, name: &Name, tag: &str) {
        if self.names.len() < NAMES_MAX && !self.names.iter().any(|(known, _)| known == name) {
            self.names.push((name.clone(), tag.to_owned()));
        }
    }

    /// The place to ask now.
    pub(super) fn current(&self) -> Option<&Candidate> {
        self.sources.get(self.source).filter(|candidate| candidate.refused.is_none())
    }

    /// `url` said no for good (within this flight). Whether another place is left.
    pub(super) fn refuse(&mut self, url: &str, error: &upstream::Error) -> bool {
        for candidate in self.sources.iter_mut().filter(|candidate| candidate.location.url == url) {
            candidate.refused.get_or_insert(error.clone());
        }
        match self.sources.iter().position(|candidate| candidate.refused.is_none()) {
            Some(place) => {
                if self.current().is_none() {
                    self.source = place;
                }
                true
            }
            None => false,
        }
    }

    /// Places that were not asked, since their hosts were left alone just then, have said no to nothing.
    pub(super) fn forgive_resting(&mut self) {
        for candidate in &mut self.sources {
            candidate.refused.take_if(|error| matches!(error, upstream::Error::Resting { .. }));
        }
    }

    /// Whether a response at `at` waits for bytes that are neither in nor in flight.
    pub(super) fn is_starved(&self, at: u64, end: u64) -> bool {
        at < end
            && self.covered.run_at(at) == 0
            && self.end.is_none()
            && !self.extents.values().any(|extent| extent.at <= at && at < extent.end)
    }

    /// Bytes a second, for the view.
    pub(super) fn rate(&self) -> u64 {
        self.meter.rate().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::payload::Standing;

    #[test]
    fn a_fresh_address_takes_the_place_of_the_one_refused_first() {
        let place = |number: usize| Location { url: format!("http://a/f?sig={number}"), standing: Standing::Allowed };
        let mut state = State::new();
        let gone = upstream::Error::Status { host: "a".to_owned(), status: 403, challenges: Vec::new() };
        for number in 0..SOURCES_MAX {
            state.add_source(&place(number));
            state.refuse(&place(number).url, &gone);
        }
        for number in SOURCES_MAX..2 * SOURCES_MAX + 3 {
            state.add_source(&place(number));
            assert_eq!(state.current().map(|current| current.location.clone()), Some(place(number)));
            assert_eq!(state.sources.len(), SOURCES_MAX);
            state.refuse(&place(number).url, &gone);
        }
        // What still works is never thrown out.
        let mut state = State::new();
        for number in 0..=SOURCES_MAX {
            state.add_source(&place(number));
        }
        assert_eq!(state.sources.last().map(|last| last.location.clone()), Some(place(SOURCES_MAX - 1)));
        assert_eq!(state.source, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_does_not_outrank_one_that_starves() {
        let mut state = State::new();
        state.size = 10 * PIECE;
        state.covered.insert(Span::new(0, PIECE));
        let client = |number| IpAddr::from([10, 0, 0, number]);
        state.demand(Span::new(0, 4 * PIECE), client(1));
        tokio::time::advance(Duration::from_secs(30)).await;
        state.demand(Span::new(5 * PIECE, 6 * PIECE), client(2));
        let waiting = state.waiting(Instant::now());
        assert_eq!(waiting.iter().map(|waiting| waiting.at).collect::<Vec<_>>(), [5 * PIECE, 0]);
        assert_eq!(waiting[1].silent, Duration::ZERO);
    }

    #[tokio::test]
    async fn an_extent_cut_below_its_next_byte_does_not_count() {
        let mut state = State::new();
        state.extents.insert(0, Extent { at: 9, end: 5 });
        state.extents.insert(1, Extent { at: 10, end: 20 });
        assert_eq!(state.flying().len(), 1);
        state.cut(0, 3);
        assert_eq!((state.extents[&0].end, state.extents[&1].end), (5, 10));
    }
}
