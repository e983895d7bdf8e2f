//! What the end of an extent means for its flight: it goes on, from this place or another one, or it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::base::span::Span;
use crate::fill::config::{RESTING_MAX, RESTING_STEP};
use crate::fill::flight::End;
use crate::fill::gate::Permit;
use crate::fill::opening::{must_be_one_answer, worst};
use crate::fill::owner::{Job, Owner};
use crate::fill::pump::{Pumped, host_of};
use crate::fill::state::Candidate;
use crate::upstream;

impl Owner {
    /// What a task of the owner's brought.
    pub(super) async fn finished(&mut self, job: Job) -> Option<End> {
        match job {
            Job::Synced { mark, result } => {
                self.syncing = false;
                self.synced_at = Instant::now();
                match result {
                    Ok(()) => {
                        let mut state = self.shared.lock();
                        state.synced = state.synced.max(mark);
                        drop(state);
                        self.shared.room.notify_waiters();
                        None
                    }
                    Err(error) => Some(self.spilled(error)),
                }
            }
            Job::Pumped { id, url, len, pumped } => {
                self.pumps -= 1;
                self.shared.lock().extents.remove(&id);
                match pumped {
                    Pumped::Done => {
                        self.proven = self.proven.max(len.saturating_mul(2));
                        self.note_success(url);
                        None
                    }
                    Pumped::Cut => None,
                    Pumped::Whole(answer, permit) => {
                        self.take_whole(answer.body, permit);
                        None
                    }
                    Pumped::Failed(error) => self.source_failed(&url, error).await,
                    Pumped::Disk(error) => Some(self.spilled(error)),
                }
            }
        }
    }

    fn note_success(&mut self, url: String) {
        self.resting_since = None;
        let mut state = self.shared.lock();
        if let Some(rate) = state.meter.rate() {
            self.inner.memory.set_rate(host_of(&url), rate);
        }
        if self.worked.as_ref() != Some(&url) {
            state.amended = true;
            self.worked = Some(url);
        }
    }

    /// The origin ignores Range: its one answer carries the whole, and there will be no second one beside it.
    fn take_whole(&mut self, body: upstream::Body, permit: Permit) {
        let running = self.sequential && self.pumps > 0;
        self.sequential = true;
        let location = self.shared.lock().current().map(|candidate| candidate.location.clone());
        let (false, Some(location)) = (running, location) else {
            return;
        };
        let span = Span::new(0, self.spec.size);
        let pump = self.pump(location, span);
        self.spawn(pump, span, move |pump| Box::pin(pump.pour(span, body, permit)));
    }

    pub(super) fn spilled(&self, error: crate::store::Error) -> End {
        let state = self.shared.lock();
        match state.current() {
            // Nothing could be said of the version of the bytes that would follow.
            Some(_) if must_be_one_answer(&self.pinned) => End::Failed(error.into()),
            Some(candidate) => End::Spilled(Arc::new(error), candidate.location.clone(), self.pinned.clone()),
            None => End::Failed(error.into()),
        }
    }

    /// A host that is left alone has not said no: the next place is asked, or this one again after the pause. `false`: it
    /// has been long enough.
    fn rests(&mut self, url: &str, pause: Duration) -> bool {
        let now = Instant::now();
        let since = *self.resting_since.get_or_insert(now);
        if now.duration_since(since) > RESTING_MAX {
            return false;
        }
        let bound = self.is_bound(url);
        let mut state = self.shared.lock();
        let next = state.sources.iter().position(|other| is_other(other, url, bound));
        if let Some(next) = next {
            state.source = next;
        }
        self.resting_until = Some(now + if next.is_some() { RESTING_STEP } else { pause });
        true
    }

    /// Whether all bytes of this flight must come from this host: it gave some, and nobody else may add to them.
    fn is_bound(&self, url: &str) -> bool {
        self.inner.memory.is_alone(&self.shared.key) && self.shared.lock().writers.has(host_of(url))
    }

    async fn source_failed(&mut self, url: &str, error: upstream::Error) -> Option<End> {
        self.inner.note_answer(&self.shared.key, url, error.to_string());
        // Before the pause of a host: what is in could not be continued after it.
        if must_be_one_answer(&self.pinned) && !self.shared.lock().covered.is_empty() {
            return Some(self.changed(&error).await);
        }
        if let upstream::Error::Resting { retry_after, .. } = &error
            && self.rests(url, *retry_after)
        {
            return None;
        }
        let bound = self.is_bound(url);
        let (others, elsewhere) = {
            let state = self.shared.lock();
            let any = |bound| state.sources.iter().any(|other| is_other(other, url, bound));
            (any(bound), any(false))
        };
        if !others && elsewhere {
            // What it gave is dropped: the next place gives all of it.
            self.inner.memory.blame(&self.shared.key, host_of(url));
            return Some(self.changed(&error).await);
        }
        match &error {
            // With a digest known another place may still have the right object.
            upstream::Error::Changed { .. } if !(self.pinned.digest_known && others) => {
                return Some(self.changed(&error).await);
            }
            upstream::Error::Changed { .. } | upstream::Error::Lied { .. } => {
                self.inner.memory.blame(&self.shared.key, host_of(url));
            }
            _ => {}
        }
        tracing::info!(key = self.shared.key.shown(), host = host_of(url), %error, others, "a source failed");
        self.shared.lock().refuse(url, &error);
        None
    }

    /// Every place has said no.
    pub(super) fn no_place_left(&self) -> End {
        let state = self.shared.lock();
        let errors: Vec<upstream::Error> =
            state.sources.iter().filter_map(|candidate| candidate.refused.clone()).collect();
        End::Failed(worst(&errors))
    }
}

/// Whether this place may be asked instead of `url`; `bound`: only if it is of the same host.
fn is_other(other: &Candidate, url: &str, bound: bool) -> bool {
    let place = other.location.url.as_str();
    other.refused.is_none() && place != url && (!bound || host_of(place) == host_of(url))
}
