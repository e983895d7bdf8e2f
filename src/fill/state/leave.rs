//! What may leave, and how fast. Decided under the lock that marks what came in, so that no byte slips past the hold-back:
//! - the end of what completes the draft is held until the digests check;
//! - with much left to hash, the last stretch trickles, so that no response falls silent meanwhile;
//! - `strict` lets nothing out before the proof.

use std::sync::Arc;

use tokio::time::Instant;

use crate::base::limits::PIECE;
use crate::base::span::Span;
use crate::fill::config::{HELD_BACK, TAIL_READ};
use crate::fill::error::Error;
use crate::fill::flight::End;
use crate::fill::state::{Proof, State};
use crate::model::payload::Location;
use crate::store::{Draft, Found};
use crate::upstream::Pinned;

/// What a tail should do next.
#[derive(Debug)]
pub(in crate::fill) enum Step {
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

impl State {
    /// Holds back the end of `last`, the bytes that completed the draft.
    pub(in crate::fill) fn hold_if_complete(&mut self, last: Span) {
        if self.is_complete() && self.proof == Proof::Filling && self.held_back.is_none() {
            self.held_back = Some(Span::new(last.end() - last.len().min(HELD_BACK), last.end()));
        }
    }

    /// Once no more than a piece is missing and all of it is on its way, that is the last stretch, with what has come just
    /// now, of which nothing has left: the stretch must be long enough to last.
    pub(in crate::fill) fn notice_last_stretch(&mut self, came: Option<Span>) {
        let missing = self.size - self.covered.total();
        let flying: u64 = self.extents.values().map(|extent| extent.end.saturating_sub(extent.at)).sum();
        if self.last_stretch.is_none() && missing <= PIECE && flying >= missing && (missing > 0 || came.is_some()) {
            self.last_stretch = Some(self.covered.gaps(Span::new(0, self.size)).chain(came).collect());
        }
    }

    /// Whether bytes that the tail has read were dropped since.
    pub(in crate::fill) fn is_spoiled(&self, id: u64) -> bool {
        self.demands.get(&id).is_some_and(|demand| demand.spoiled)
    }

    /// What the tail at `at` does next. `strict` as configured.
    pub(in crate::fill) fn step(&mut self, id: u64, at: u64, end: u64, strict: bool) -> Step {
        if self.last_stretch.is_some() {
            let hashed = self.draft.as_ref().map_or(0, Draft::hashed);
            self.pace.note(Instant::now(), hashed, self.proof == Proof::Proving);
        }
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
        // Nothing is held back from a response that ends before, or begins behind, what waits for the proof.
        if self.held_back.is_some_and(|held| held.intersect(&Span::new(at, end)).is_empty()) {
            return (run, false);
        }
        let Some(last) = self.last_stretch.as_ref() else {
            return (run, false);
        };
        let stretch = last.run_at(at).min(end - at).saturating_sub(HELD_BACK);
        let hashed = self.draft.as_ref().map_or(0, Draft::hashed);
        match self.pace.step(self.size.saturating_sub(hashed), stretch) {
            None => (run, false),
            Some(step) if last.run_at(at) > 0 => (run.min(step), true),
            // Full speed up to where the last stretch begins.
            Some(_) => (last.within(Span::new(at, at + run)).next().map_or(run, |next| next.start() - at), false),
        }
    }
}
