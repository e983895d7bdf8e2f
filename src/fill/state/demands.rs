//! Who waits for what: the open responses of a flight.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::base::limits::{GROUP, PIECE};
use crate::base::span::Span;
use crate::fill::config::{ASKED_MAX, CROWD};
use crate::fill::plan::Waiting;
use crate::fill::state::{Proof, State};
use crate::model::payload::Authority;

#[derive(Debug)]
pub(in crate::fill) struct Demand {
    pub(super) start: u64,
    pub(super) at: u64,
    /// Where what was read for it ends: at `at`, or beyond it while a read is under way.
    pub(super) taken: u64,
    /// Bytes that were read for it have been dropped since: the better ones must not follow them.
    pub(super) spoiled: bool,
    end: u64,
    pub(super) fed_at: Instant,
    client: IpAddr,
    pub(super) bell: Arc<Notify>,
}

impl State {
    /// A response of which bytes of `generation` were told.
    pub(in crate::fill) fn demand(&mut self, span: Span, client: IpAddr, generation: u32) -> (u64, Span, Arc<Notify>) {
        let span = span.intersect(&Span::new(0, self.size));
        self.note_asked(span);
        self.notice_repeats(span, client);
        let spoiled = self.dropped.iter().any(|(since, bad)| *since > generation && begins_within(span.start(), *bad));
        let bell = Arc::new(Notify::new());
        let id = self.next_id;
        self.next_id += 1;
        let demand = Demand {
            start: span.start(),
            at: span.start(),
            taken: span.start(),
            spoiled,
            end: span.end(),
            fed_at: Instant::now(),
            client,
            bell: Arc::clone(&bell),
        };
        self.demands.insert(id, demand);
        (id, span, bell)
    }

    /// Remembers in groups what was asked for, so that a client that asks byte by byte costs no more memory than another.
    fn note_asked(&mut self, span: Span) {
        self.asked.insert(span.align(GROUP, self.size));
        self.pieces.insert(span.align(PIECE, self.size));
        if self.asked.count() > ASKED_MAX {
            self.asked = self.pieces.clone();
        }
        // A digest that the operator registered is his word that the whole is wanted.
        if !span.is_empty() && !self.whole && self.expected.is_some_and(|said| said.authority == Authority::Operator) {
            self.whole = true;
            self.amended = self.draft.is_some();
        }
    }

    fn notice_repeats(&mut self, span: Span, client: IpAddr) {
        let mine = || self.demands.values().filter(|demand| demand.client == client);
        let same = mine().any(|demand| !Span::new(demand.at, demand.end).intersect(&span).is_empty());
        if same || mine().count() >= CROWD || client.is_loopback() {
            self.repeats.is_crowd(client);
        }
        if self.proof == Proof::Filling {
            // Missing from now on, so that this very response waits for the better bytes.
            let bad = self.repeats.asked_again(client, span, self.size);
            if !bad.is_empty() {
                self.raise_generation();
            }
            for bad in bad {
                self.unmark(bad);
                self.dropped.push((self.generation, bad));
                self.bad.push(bad);
            }
        }
    }

    /// A tail has handed out everything up to `at`.
    pub(in crate::fill) fn advance(&mut self, id: u64, at: u64) {
        if let Some(demand) = self.demands.get_mut(&id) {
            demand.at = at;
            demand.taken = at;
            demand.fed_at = Instant::now();
        }
    }

    /// A tail is gone; `got` is what its client was given.
    pub(in crate::fill) fn withdraw(&mut self, id: u64, got: Span) {
        let Some(demand) = self.demands.remove(&id) else {
            return;
        };
        self.repeats.delivered(demand.client, got, self.size);
    }

    /// Whether any response wants more than is in.
    pub(in crate::fill) fn is_waited_for(&self) -> bool {
        self.demands.values().any(|demand| demand.at + self.covered.run_at(demand.at) < demand.end)
    }

    /// Whether any response may have been silent for so long; [`State::waiting`] tells for want of what.
    pub(in crate::fill) fn is_silent_for(&self, time: Duration) -> bool {
        let now = Instant::now();
        self.demands.values().any(|demand| now.saturating_duration_since(demand.fed_at) >= time)
    }

    /// What the planner looks at: responses that want more than is in, the longest silent first. A response whose next
    /// bytes are in is not silent for want of them, however long its client does not read.
    pub(in crate::fill) fn waiting(&self, now: Instant) -> Vec<Waiting> {
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
}

/// Whether `start` is a byte of the span other than its first.
pub(super) fn begins_within(start: u64, span: Span) -> bool {
    span.start() < start && start < span.end()
}
