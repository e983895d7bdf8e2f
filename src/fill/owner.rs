//! The owner of a flight: one task that opens the draft, asks, follows the plan, proves and publishes.
//!
//! 1. Open: the payload may be held meanwhile; a draft may be there from before; else ask what the object is.
//! 2. Announce what clients are told, and from then on follow the plan: a permit of the host's gate, an extent, a pump.
//! 3. Checkpoint on the way; cut long extents short where a response waits too long; drop pieces that a client found bad.
//! 4. When everything is in: prove, publish. A mismatch cuts every open response and quarantines the draft.
//! 5. When nobody wants anything for a while: checkpoint and end. The draft stays.
//!
//! Whatever happens, [`Exit`] tells the waiters and takes the flight off the map.

use std::sync::{Arc, PoisonError};

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::base::span::Span;
use crate::fill::config::EXTENT_FIRST;
use crate::fill::drive::DEMAND_LINGERS;
use crate::fill::error::Error;
use crate::fill::flight::{End, Shared};
use crate::fill::gate::{Class, Permit};
use crate::fill::inner::Inner;
use crate::fill::learn::{First, Lesson};
use crate::fill::locate::Target;
use crate::fill::opening::{Opened, must_be_one_answer, open};
use crate::fill::pump::{Pumped, host_of};
use crate::fill::state::Writers;
use crate::fill::view::FILLING;
use crate::model::payload::{Alias, Location};
use crate::store::{self, Draft, DraftSpec};
use crate::upstream::{self, Answer, Pinned};

/// What a flight begins with.
pub(super) struct Start {
    pub(super) target: Target,
    pub(super) generation: u32,
    pub(super) first: First,
    /// A revalidation's answer that carries a new version, and where it came from.
    pub(super) answer: Option<(Answer, Location)>,
    /// A draft made for a repair.
    pub(super) draft: Option<Draft>,
}

/// The exit that every path takes, a panic and a cancelled task too.
struct Exit {
    inner: Arc<Inner>,
    shared: Arc<Shared>,
}

impl Drop for Exit {
    fn drop(&mut self) {
        self.shared.finish(End::Failed(Error::unavailable("the flight broke off; the log says why")));
        let mut flights = self.inner.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.get(&self.shared.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.shared)) {
            flights.remove(&self.shared.key);
        }
        drop(flights);
        self.shared.gone.cancel();
    }
}

/// Flies until the end.
pub(super) async fn fly(inner: Arc<Inner>, shared: Arc<Shared>, start: Start) {
    let _exit = Exit { inner: Arc::clone(&inner), shared: Arc::clone(&shared) };
    let end = Owner::run(Arc::clone(&inner), Arc::clone(&shared), start).await;
    match &end {
        End::Failed(error) if error.is_ordinary() => {
            tracing::info!(key = shared.key.shown(), %error, "nothing fetched");
        }
        End::Failed(error @ Error::Unavailable { .. }) => {
            // A host that is away fails all that is wanted of it, each for the same reason.
            if let Some(others) = inner.tells() {
                tracing::warn!(key = shared.key.shown(), %error, others, "flight failed");
            } else {
                tracing::debug!(key = shared.key.shown(), %error, "flight failed");
            }
        }
        End::Failed(error) => tracing::warn!(key = shared.key.shown(), %error, "flight failed"),
        End::Changed(error) => tracing::info!(key = shared.key.shown(), %error, "flight starts again"),
        End::Spilled(error, ..) => tracing::error!(key = shared.key.shown(), %error, "flight cannot write its draft"),
        End::Passed(spare) => tracing::info!(key = shared.key.shown(), why = spare.why, "passed through, not kept"),
        End::Published(_) | End::Idle => {}
    }
    shared.finish(end);
}

/// What a task of the owner's brought.
pub(super) enum Job {
    Pumped { id: u64, url: String, len: u64, pumped: Pumped },
    Synced { mark: u64, result: Result<(), store::Error> },
}

/// The owner's own state; what others see is in [`Shared`].
pub(super) struct Owner {
    pub(super) inner: Arc<Inner>,
    pub(super) shared: Arc<Shared>,
    pub(super) draft: Draft,
    pub(super) spec: DraftSpec,
    pub(super) pinned: Pinned,
    pub(super) via: Option<String>,
    pub(super) jobs: JoinSet<Job>,
    pub(super) pumps: usize,
    pub(super) next_extent: u64,
    pub(super) pending: Option<(oneshot::Receiver<Permit>, Class)>,
    /// Whose permit is waited for.
    pub(super) pending_host: String,
    /// The origin ignores Range, or nothing tells its versions apart: one connection, from the first byte to the last.
    pub(super) sequential: bool,
    /// The longest extent that may be asked for yet: doubles with every one that came in whole.
    pub(super) proven: u64,
    pub(super) syncing: bool,
    pub(super) synced_at: Instant,
    pub(super) idle_since: Option<Instant>,
    /// The place that worked last, as the draft knows it.
    pub(super) worked: Option<String>,
    /// Nothing is asked for before then: the host is left alone for a moment.
    pub(super) resting_until: Option<Instant>,
    /// Since when nothing has come for that reason.
    pub(super) resting_since: Option<Instant>,
    /// Its fetches have the bandwidth of what is waited for until then.
    pub(super) demanded_until: Instant,
}

impl Owner {
    async fn run(inner: Arc<Inner>, shared: Arc<Shared>, mut start: Start) -> End {
        let closing = inner.closing.clone();
        let opened = tokio::select! {
            () = closing.cancelled() => return End::Failed(Error::Closing),
            opened = open(&inner, &shared, &mut start) => opened,
        };
        let (draft, lesson, resumed) = match opened {
            Opened::End(end) => return end,
            Opened::Draft(draft) => (draft, None, true),
            Opened::New(draft, lesson) => (draft, lesson, false),
        };
        let mut owner = Self::new(inner, shared, draft, start.target.via);
        owner.take_over(resumed);
        // An empty object has no byte that could be held back: it is proven before anybody hears of it.
        if owner.spec.size > 0 {
            owner.shared.announce(&owner.spec, resumed);
        }
        // Before the first byte is counted.
        owner.choose_lane();
        if let Some(lesson) = lesson {
            owner.take_lesson(*lesson);
        }
        let end = owner.follow().await;
        owner.pending = None;
        owner.jobs.shutdown().await;
        match end {
            None => tokio::select! {
                () = closing.cancelled() => End::Failed(Error::Closing),
                end = owner.prove() => end,
            },
            Some(end) => {
                let writers = owner.shared.lock().writers.clone();
                owner.inner.memory.left(&owner.shared.key, writers);
                // A draft that is gone cannot be made durable, and says so; the end of the flight stays what it was.
                if !matches!(end, End::Idle | End::Spilled(..))
                    && let Err(error) = owner.draft.checkpoint().await
                {
                    tracing::debug!(key = owner.shared.key.shown(), %error, "last checkpoint");
                }
                end
            }
        }
    }

    fn new(inner: Arc<Inner>, shared: Arc<Shared>, draft: Draft, via: Option<String>) -> Self {
        let spec = draft.spec();
        let expected = shared.lock().expected.or(spec.expected);
        let digest_known = expected.is_some();
        let pinned = Pinned { size: spec.size, validators: spec.validators.clone(), digest_known };
        let now = Instant::now();
        // Who made the flight begin has not said yet what is waited for, unless all of it is fetched ahead.
        let demanded_until = if shared.lock().whole { now } else { now + DEMAND_LINGERS };
        Self {
            inner,
            shared,
            draft,
            spec,
            sequential: must_be_one_answer(&pinned),
            pinned,
            via,
            jobs: JoinSet::new(),
            pumps: 0,
            next_extent: 0,
            pending: None,
            pending_host: String::new(),
            proven: EXTENT_FIRST,
            syncing: false,
            synced_at: Instant::now(),
            idle_since: None,
            worked: None,
            resting_until: None,
            resting_since: None,
            demanded_until,
        }
    }

    /// Lets everybody see the draft. `resumed`: it was there from before.
    fn take_over(&mut self, resumed: bool) {
        let mut state = self.shared.lock();
        let worked = self.spec.locations.first().map(|location| location.url.clone());
        for location in &self.spec.locations {
            state.add_source(location);
        }
        // What worked last is asked first, unless it is known to be bad.
        let place = state.sources.iter().position(|candidate| Some(&candidate.location.url) == worked.as_ref());
        if resumed
            && let Some(place) = place
            && state.sources[place].refused.is_none()
            && self.inner.memory.blamed(&self.shared.key, host_of(&state.sources[place].location.url)).is_none()
        {
            state.source = place;
        }
        state.whole |= self.spec.whole;
        state.amended = state.expected != self.spec.expected || state.whole != self.spec.whole;
        if state.expected.is_none() {
            state.expected = self.spec.expected;
        }
        state.tag.clone_from(&self.spec.tag);
        if resumed {
            // After a restart all that is known is who worked last.
            state.writers = self.inner.memory.writers(&self.shared.key).unwrap_or_else(|| {
                let mut writers = Writers::default();
                for (span, url) in self.draft.covered().iter().zip(worked.iter().cycle()) {
                    writers.wrote(host_of(url), span);
                }
                writers
            });
        }
        state.open(self.draft.clone(), self.spec.size);
        state.step = FILLING;
        let host = state.current().map(|candidate| host_of(&candidate.location.url).to_owned());
        if let Some(rate) = host.and_then(|host| self.inner.memory.rate(&host)) {
            state.meter.preset(rate);
            self.proven = self.proven.max(rate);
        }
        self.worked = worked;
    }

    /// The answer that taught us the object carries its first bytes.
    fn take_lesson(&mut self, lesson: Lesson) {
        let Lesson { location, answer, permit, size } = lesson;
        let Some(permit) = permit else {
            return;
        };
        let span = answer.span.intersect(&Span::new(0, size));
        if span.len() < size && must_be_one_answer(&self.pinned) {
            // A part could be continued only with bytes of which nobody knows whether they are of the same version.
            return;
        }
        self.sequential |= answer.status == 200 && span.len() == size;
        if self.shared.lane.is_paused() {
            // Nothing of it may come now; it is asked for again when it may.
            return;
        }
        let pump = self.pump(location, span);
        self.spawn(pump, span, move |pump| Box::pin(pump.pour(span, answer.body, permit)));
    }

    /// Everything is in: prove and publish.
    async fn prove(&mut self) -> End {
        let proved = match self.draft.prove().await {
            Ok(proved) => proved,
            Err(store::Error::Mismatch { published, computed }) => {
                let why = format!("{published} was published, the bytes are {}", computed.like(&published));
                return self.mismatch(why).await;
            }
            Err(error) => return End::Failed(error.into()),
        };
        self.shared.lock().proved();
        let names = self.shared.lock().names.clone();
        let aliases = names
            .into_iter()
            .filter(|(name, _)| *name != self.spec.name)
            .map(|(name, tag)| {
                let alias = Alias {
                    tag,
                    last_modified: self.spec.last_modified.clone(),
                    validators: self.spec.validators.clone(),
                    freshness: None,
                };
                (name, alias)
            })
            .collect();
        match self.draft.publish(proved, aliases).await {
            Ok(found) => {
                self.inner.memory.settle(&self.shared.key);
                for url in self.urls() {
                    self.inner.memory.acquit(&self.shared.key, host_of(&url));
                }
                End::Published(found)
            }
            Err(error) => End::Failed(error.into()),
        }
    }

    /// Wrong bytes: every open response is cut, the draft goes to quarantine, the places asked are blamed.
    async fn mismatch(&mut self, why: String) -> End {
        let end = End::Failed(Error::Mismatch { why: why.clone() });
        // First of all nobody gets another byte.
        self.shared.finish(end.clone());
        self.inner.counters.mismatches.inc();
        self.blame();
        if let Err(error) = self.draft.quarantine(&why).await {
            tracing::error!(key = self.shared.key.shown(), %error, "the wrong bytes could not be put into quarantine");
        }
        self.inner.memory.settle(&self.shared.key);
        end
    }

    /// Blames who gave the wrong bytes. Where several gave some nobody knows whose were wrong: from the next flight on they
    /// are asked one by one, and who finished goes first, for the others could not.
    fn blame(&self) {
        let (memory, key) = (&self.inner.memory, &self.shared.key);
        let writers = self.shared.lock().writers.of(Span::new(0, self.spec.size));
        let last = self.worked.as_deref().map(host_of);
        if let [_, _, ..] = &writers[..] {
            memory.set_alone(key);
            for writer in writers.iter().filter(|writer| Some(writer.as_str()) != last) {
                memory.blame(key, writer);
            }
        } else if let Some(host) = writers.first().map(String::as_str).or(last) {
            memory.blame(key, host);
        }
    }

    /// The origin has another version now: nothing of this one may be continued.
    pub(super) async fn changed(&mut self, error: &upstream::Error) -> End {
        self.inner.counters.restarts.inc();
        self.inner.memory.changed(&self.shared.key);
        let why = format!("{error}; the flight starts again with the next request");
        let end = End::Changed(Error::Changed { why });
        self.jobs.shutdown().await;
        if self.pinned.digest_known
            && let Err(error) = self.disown(Span::new(0, self.spec.size)).await
        {
            tracing::error!(key = self.shared.key.shown(), %error, "the next version could not be given another tag");
        }
        if let Err(error) = self.draft.discard().await {
            tracing::error!(key = self.shared.key.shown(), %error, "the draft of an old version could not be discarded");
        }
        self.inner.memory.settle(&self.shared.key);
        end
    }

    /// A tag that is made of a digest stays the same from version to version: the next one is of another generation.
    async fn disown(&self, span: Span) -> Result<(), store::Error> {
        let (generation, tag) = {
            let mut state = self.shared.lock();
            state.raise_generation();
            (state.generation, state.tag.clone())
        };
        self.draft.disown(span, generation, tag).await
    }

    fn urls(&self) -> Vec<String> {
        self.shared.lock().sources.iter().map(|candidate| candidate.location.url.clone()).collect()
    }
}
