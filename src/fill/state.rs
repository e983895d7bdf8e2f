//! What one flight knows: what is in, what is in flight; in `demands` who waits for what, in `leave` what may leave, in `places` who can
//! be asked, in `writers` who gave what.

mod demands;
mod leave;
mod places;
mod writers;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::base::digest::Sha1;
use crate::base::limits::PIECE;
use crate::base::span::{Span, SpanSet};
use crate::fill::config::STALLED_AFTER;
use crate::fill::flight::End;
use crate::fill::learn;
use crate::fill::meter::Meter;
use crate::fill::plan::Flying;
use crate::fill::repeats::Repeats;
use crate::fill::trickle::Pace;
use crate::model::name::Name;
use crate::model::payload::{Location, Published};
use crate::pace::Class;
use crate::store::{Draft, Found};
use crate::upstream;

use self::demands::{Demand, begins_within};
pub(super) use self::leave::Step;
pub(super) use self::writers::Writers;

/// A stalled extent is that far behind the others, and for that long they have got theirs: where the link went dead they all fell
/// silent together, and once it is back one of them is the first.
const STALLED_BEHIND: Duration = Duration::from_secs(1);

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
    /// When bytes of it came last; `None` before the first.
    pub(super) fed_at: Option<Instant>,
}

impl Extent {
    pub(super) fn new(span: Span) -> Self {
        Self { at: span.start(), end: span.end(), fed_at: None }
    }

    /// Whether its pump has nothing more to do: all is in, or the rest was given back.
    pub(super) fn is_over(&self) -> bool {
        self.end <= self.at
    }

    fn is_flying(&self) -> bool {
        self.at < self.end
    }
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
    /// The class of bandwidth that it is fetched in while no response waits for it.
    pub(super) ahead: Class,
    /// Policy that changed on the way and must be written down.
    pub(super) amended: bool,
    pub(super) proof: Proof,
    held_back: Option<Span>,
    last_stretch: Option<SpanSet>,
    pace: Pace,
    pub(super) end: Option<End>,
    pub(super) found: Option<Found>,
    pub(super) sources: Vec<Candidate>,
    pub(super) source: usize,
    pub(super) names: Vec<(Name, String)>,
    /// Which host wrote what is in, as far as that is known.
    pub(super) writers: Writers,
    /// The tag of the draft's name, and which generation of bytes tags tell of: raised whenever bytes that have left are
    /// dropped.
    pub(super) tag: String,
    pub(super) generation: u32,
    /// What was dropped, each with the generation that began then.
    dropped: Vec<(u32, Span)>,
    pub(super) expected: Option<Published>,
    /// The length that the catalog publishes: a place that tells another one has another object.
    pub(super) published_size: Option<u64>,
    /// The SHA-1 under which the catalog lists it.
    pub(super) listed: Option<Sha1>,
    pub(super) meter: Meter,
    /// When bytes came last, over whichever connection.
    fed_at: Option<Instant>,
    /// Since when they have been coming without a gap of [`STALLED_BEHIND`].
    fed_since: Option<Instant>,
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
            ahead: Class::Prefetch,
            amended: false,
            proof: Proof::Filling,
            held_back: None,
            last_stretch: None,
            pace: Pace::new(),
            end: None,
            found: None,
            sources: Vec::new(),
            source: 0,
            names: Vec::new(),
            writers: Writers::default(),
            tag: String::new(),
            generation: 1,
            dropped: Vec::new(),
            expected: None,
            published_size: None,
            listed: None,
            meter: Meter::default(),
            fed_at: None,
            fed_since: None,
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
        if self.fed_at.is_none_or(|last| now.saturating_duration_since(last) >= STALLED_BEHIND) {
            self.fed_since = Some(now);
        }
        self.fed_at = Some(now);
        if let Some(last_new) = last_new {
            self.hold_if_complete(last_new);
        }
        self.notice_last_stretch(Some(span));
        for demand in self.demands.values_mut() {
            if span.start() <= demand.at && demand.at < span.end() {
                demand.fed_at = now;
                demand.bell.notify_one();
            }
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
            // Whoever begins in the middle joins the better end to a beginning that it had before, under one tag.
            if !Span::new(demand.start, demand.taken).intersect(&span).is_empty() || begins_within(demand.start, span) {
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

    /// From now on no tag that was told before is told again.
    pub(super) fn raise_generation(&mut self) {
        let (old, new) = (self.generation, self.generation.saturating_add(1));
        self.tag = learn::next_generation(&self.tag, old, new);
        for (_, tag) in &mut self.names {
            *tag = learn::next_generation(tag, old, new);
        }
        self.generation = new;
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

    /// Gives back extents whose connections are dead: bytes came over each, and then none for long while others got theirs.
    /// Where all are silent it is the link, and asking anew would help nobody.
    pub(super) fn release_stalled(&mut self, now: Instant) -> bool {
        let (Some(last), Some(since)) = (self.fed_at, self.fed_since) else {
            return false;
        };
        if last.saturating_duration_since(since) < STALLED_BEHIND {
            return false;
        }
        let mut released = false;
        for extent in self.extents.values_mut().filter(|extent| extent.is_flying()) {
            if let Some(fed) = extent.fed_at
                && now.saturating_duration_since(fed) >= STALLED_AFTER
                && last.saturating_duration_since(fed) >= STALLED_BEHIND
            {
                extent.end = extent.at;
                released = true;
            }
        }
        released
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
mod tests;
