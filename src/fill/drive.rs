//! Following the plan: the owner's loop between the announcement and the end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::base::span::Span;
use crate::fill::config::{CHECKPOINT_BYTES, CHECKPOINT_EVERY, Complete, EXTENT_FIRST, LINGER, RELIEF_AFTER};
use crate::fill::error::Error;
use crate::fill::flight::End;
use crate::fill::gate::{Class, Permit};
use crate::fill::opening::must_be_one_answer;
use crate::fill::owner::{Job, Owner};
use crate::fill::plan::{self, Scene};
use crate::fill::pump::{Pump, Pumped, host_of};
use crate::fill::state::{Extent, State};
use crate::model::payload::Location;
use crate::pace;
use crate::upstream;

/// How often the owner looks at its clocks.
const TICK: Duration = Duration::from_millis(500);

/// How long the fetches of a flight keep the bandwidth of what is waited for after the last wait: a client that has got one
/// piece asks for the next one.
pub(super) const DEMAND_LINGERS: Duration = Duration::from_secs(5);

type Pumping = Pin<Box<dyn Future<Output = Pumped> + Send>>;

impl Owner {
    /// Fetches what is wanted until everything is in (`None`) or the flight must end.
    pub(super) async fn follow(&mut self) -> Option<End> {
        let closing = self.inner.closing.clone();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.shared.lock().begin_proof() {
                return None;
            }
            if must_be_one_answer(&self.pinned) && !self.shared.lock().bad.is_empty() {
                let (host, why) = (self.host().unwrap_or_default(), "a client found a piece bad".to_owned());
                return Some(self.changed(&upstream::Error::Lied { host, why }).await);
            }
            if let Err(error) = self.tend().await {
                return Some(End::Failed(error));
            }
            self.sync_if_due();
            self.choose_lane();
            if let Some(end) = self.plan() {
                return Some(end);
            }
            if let Some(end) = self.end_if_idle().await {
                return Some(end);
            }
            tokio::select! {
                () = closing.cancelled() => return Some(End::Failed(Error::Closing)),
                Some(job) = self.jobs.join_next() => {
                    let end = match job {
                        Ok(job) => self.finished(job).await,
                        Err(error) => Some(End::Failed(Error::unavailable(format!("a pump broke: {error}")))),
                    };
                    if end.is_some() {
                        return end;
                    }
                }
                permit = granted(&mut self.pending) => {
                    self.pending = None;
                    if let Some(permit) = permit {
                        self.launch(permit);
                    }
                }
                () = self.shared.owner.notified() => {}
                _ = tick.tick() => {}
            }
        }
    }

    /// Which bandwidth the fetches have: of what responses wait for, or of whoever wants it ahead of time. A pause does not break off
    /// an answer of which nothing could be kept: it would come from its first byte on once more.
    pub(super) fn choose_lane(&mut self) {
        let now = Instant::now();
        let (waited_for, begun, ahead) = {
            let state = self.shared.lock();
            (state.is_waited_for(), self.pumps > 0 || !state.covered.is_empty(), state.ahead)
        };
        let all_or_nothing = begun && must_be_one_answer(&self.pinned);
        if waited_for || (all_or_nothing && self.shared.lane.would_be_paused(ahead)) {
            self.demanded_until = now + DEMAND_LINGERS;
        }
        let demanded = now < self.demanded_until;
        self.shared.lane.set(if demanded { pace::Class::Demand } else { ahead });
    }

    /// Registers the extent of a pump.
    pub(super) fn pump(&mut self, location: Location, span: Span) -> Pump {
        let id = self.next_extent;
        self.next_extent += 1;
        let mut state = self.shared.lock();
        state.extents.insert(id, Extent::new(span));
        state.notice_last_stretch(None);
        state.meter.start(Instant::now());
        drop(state);
        Pump {
            shared: Arc::clone(&self.shared),
            store: self.inner.store.clone(),
            draft: self.draft.clone(),
            location,
            pinned: self.pinned.clone(),
            id,
            via: self.via.clone(),
        }
    }

    pub(super) fn spawn(&mut self, pump: Pump, span: Span, how: impl FnOnce(Pump) -> Pumping) {
        let (id, url, len) = (pump.id, pump.location.url.clone(), span.len());
        let pumping = how(pump);
        self.pumps += 1;
        self.jobs.spawn(async move { Job::Pumped { id, url, len, pumped: pumping.await } });
    }

    /// What others asked of the owner: pieces found bad, a policy or a place that changed.
    async fn tend(&mut self) -> Result<(), Error> {
        loop {
            // It stays in the list until it is gone from the draft, so that nothing new is written there before.
            let (span, generation, tag) = {
                let state = self.shared.lock();
                let Some(span) = state.bad.first().copied() else {
                    break;
                };
                (span, state.generation, state.tag.clone())
            };
            tracing::warn!(
                key = self.shared.key.shown(),
                ?span,
                "a client asked for this piece again and again: fetched anew"
            );
            self.draft.disown(span, generation, tag).await?;
            let mut state = self.shared.lock();
            state.bad.retain(|bad| *bad != span);
            for host in state.writers.of(span) {
                self.inner.memory.blame(&self.shared.key, &host);
            }
            state.writers.dropped(span);
            state.whole = true;
            state.amended = true;
            let sources = state.sources.len();
            let next = (1..sources)
                .map(|step| (state.source + step) % sources)
                .find(|place| state.sources[*place].refused.is_none());
            if let Some(next) = next {
                state.source = next;
            }
        }
        let amended = {
            let mut state = self.shared.lock();
            std::mem::take(&mut state.amended).then(|| {
                let mut locations: Vec<Location> =
                    state.sources.iter().map(|candidate| candidate.location.clone()).collect();
                locations.sort_by_key(|location| Some(&location.url) != self.worked.as_ref());
                (state.whole, locations, state.expected)
            })
        };
        if let Some((whole, locations, expected)) = amended {
            self.pinned.digest_known = expected.is_some();
            self.draft.amend(whole, locations, expected).await?;
        }
        Ok(())
    }

    fn sync_if_due(&mut self) {
        let state = self.shared.lock();
        let (mark, dirty) = (state.written, state.written - state.synced);
        drop(state);
        if dirty == 0 && !self.syncing {
            self.synced_at = Instant::now();
        }
        if self.syncing || dirty == 0 || (dirty < CHECKPOINT_BYTES && self.synced_at.elapsed() < CHECKPOINT_EVERY) {
            return;
        }
        self.syncing = true;
        let draft = self.draft.clone();
        self.jobs.spawn(async move { Job::Synced { mark, result: draft.checkpoint().await } });
    }

    /// Waits in line at the host's gate if there is something to ask for; cuts extents where a response waits too long.
    fn plan(&mut self) -> Option<End> {
        let Some(host) = self.host() else {
            // Every place has said no, and nothing is on its way any more.
            return (self.pumps == 0).then(|| self.no_place_left());
        };
        let most = if self.sequential { 1 } else { self.inner.config.connections_per_host.max(1) };
        if self.pending_host != host {
            self.pending = None;
        }
        let rests = self.resting_until.is_some_and(|until| Instant::now() < until) || self.shared.lane.is_paused();
        if !rests
            && !matches!(self.pending, Some((_, Class::Demand)))
            && self.pumps < most
            && let Some(class) = self.next_span().map(|span| self.class_of(span))
            && self.pending.as_ref().is_none_or(|(_, pending)| *pending != class)
        {
            self.pending = Some((self.inner.gates.enter(&host, class), class));
            self.pending_host.clone_from(&host);
        }
        if !self.sequential {
            if self.shared.lock().release_stalled(Instant::now()) {
                tracing::info!(
                    key = self.shared.key.shown(),
                    host,
                    "a connection is dead: its bytes are asked for anew"
                );
            }
            self.relieve(most);
            self.give_way(&host);
        }
        None
    }

    /// Whether a response waits for the span's first byte. The rest of a payload does not become urgent because a response
    /// of the same flight is being served.
    fn class_of(&self, span: Span) -> Class {
        let state = self.shared.lock();
        let waiting = state.waiting(Instant::now());
        let waits = waiting.iter().any(|waiting| waiting.at <= span.start() && span.start() < waiting.end);
        let is_wanted = state.whole || self.inner.config.complete == Complete::Always;
        if waits || self.sequential && !waiting.is_empty() {
            Class::Demand
        } else if is_wanted || !waiting.is_empty() {
            Class::Ahead
        } else {
            Class::Rest
        }
    }

    /// Frees a connection where responses of other flights have been in line too long.
    fn give_way(&mut self, host: &str) {
        // Our own place in line is no reason: what we have to give to ourselves, relief gives.
        if matches!(self.pending, Some((_, Class::Demand))) {
            return;
        }
        let Some(waited) = self.inner.gates.waited(host) else {
            return;
        };
        let mut state = self.shared.lock();
        if let Some((place, end)) = self.with_scene(&state, |scene| plan::give_way(scene, waited)) {
            tracing::debug!(key = self.shared.key.shown(), to = end, "extent cut short in favour of another flight");
            state.cut(place, end);
            drop(state);
            self.proven = (self.proven / 2).max(EXTENT_FIRST);
        }
    }

    fn host(&self) -> Option<String> {
        self.shared.lock().current().map(|candidate| host_of(&candidate.location.url).to_owned())
    }

    /// The next span, by the planner; in a sequential flight all that is missing behind the first gap.
    fn next_span(&self) -> Option<Span> {
        let state = self.shared.lock();
        if !state.bad.is_empty() {
            return None;
        }
        self.with_scene(&state, |scene| {
            if self.sequential {
                let wanted = !scene.waiting.is_empty() || plan::wants_whole(scene);
                let first = scene.covered.run_at(0);
                return (wanted && scene.flying.is_empty()).then_some(Span::new(first, scene.size));
            }
            plan::next(scene)
        })
    }

    fn with_scene<R>(&self, state: &State, look: impl FnOnce(&Scene<'_>) -> R) -> R {
        let (waiting, flying) = (state.waiting(Instant::now()), state.flying());
        look(&Scene {
            size: state.size,
            covered: &state.covered,
            flying: &flying,
            waiting: &waiting,
            asked: &state.asked,
            pieces: &state.pieces,
            complete: self.inner.config.complete,
            whole: state.whole,
            extent: self.inner.config.extent,
            proven: self.proven,
            connections: self.inner.config.connections_per_host,
            rate: state.meter.rate(),
        })
    }

    fn relieve(&mut self, most: usize) {
        // In line at a gate that others hold, no connection is free whatever our own count says.
        let free = if self.pending.is_some() { 0 } else { most.saturating_sub(self.pumps) };
        let mut state = self.shared.lock();
        if !state.is_silent_for(RELIEF_AFTER) {
            return;
        }
        let Some((place, end)) = self.with_scene(&state, |scene| plan::relief(scene, free)) else {
            return;
        };
        tracing::debug!(key = self.shared.key.shown(), to = end, "extent cut short");
        state.cut(place, end);
        drop(state);
        self.proven = (self.proven / 2).max(EXTENT_FIRST);
    }

    fn launch(&mut self, permit: Permit) {
        let location = self.shared.lock().current().map(|candidate| candidate.location.clone());
        let (Some(location), Some(span)) = (location, self.next_span()) else {
            return;
        };
        // The place has changed while the old one's line was stood in: that connection is for others.
        if !permit.is_for(host_of(&location.url)) || self.shared.lane.is_paused() {
            return;
        }
        let pump = self.pump(location, span);
        self.spawn(pump, span, move |pump| Box::pin(pump.run(span, permit)));
    }

    /// Ends the flight when nobody has wanted anything for a while.
    async fn end_if_idle(&mut self) -> Option<End> {
        let claimed = {
            let state = self.shared.lock();
            // A whole body that nobody wants any more is not read to its end for the sake of one byte.
            state.leases() > 0 || self.pumps > 0 && (!self.sequential || self.with_scene(&state, plan::wants_whole))
        };
        if claimed || self.pending.is_some() {
            self.idle_since = None;
            return None;
        }
        let since = *self.idle_since.get_or_insert_with(Instant::now);
        if since.elapsed() < LINGER {
            return None;
        }
        if let Err(error) = self.draft.checkpoint().await {
            return Some(self.spilled(error));
        }
        self.shared.finish_idle().then_some(End::Idle)
    }
}

/// The permit that is waited for; never ready where none is.
async fn granted(pending: &mut Option<(tokio::sync::oneshot::Receiver<Permit>, Class)>) -> Option<Permit> {
    match pending {
        Some((receiver, _)) => receiver.await.ok(),
        None => std::future::pending().await,
    }
}
