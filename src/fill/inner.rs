//! What all flights share, and how a request becomes held bytes, a flight, or a response passed through.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::base::limits::{GROUP, OBJECT_BYTES_MAX, PIECE};
use crate::base::span::Span;
use crate::base::time::Clock;
use crate::fill::config::{CHANGES_MAX, Config, EXTENT_MIN, NAMES_MAX, SUBNET_BYTES_MIN, SUBNET_SHARE, TURN};
use crate::fill::counters::Counters;
use crate::fill::error::Error;
use crate::fill::flight::{End, Flight, Known, Phase, Shared};
use crate::fill::gate::Gates;
use crate::fill::gather::{Gathered, own};
use crate::fill::lazy::Lazy;
use crate::fill::learn::{self, First};
use crate::fill::locate::{Keeping, Target};
use crate::fill::memory::Memory;
use crate::fill::parent::Parent;
use crate::fill::pump::host_of;
use crate::fill::renew::Verdict;
use crate::fill::tasks::Tasks;
use crate::fill::{Facts, Obtained, Want, pass};
use crate::model::name::Name;
use crate::model::origin::AllowList;
use crate::model::outcome::{CacheStatus, Detail, Outcome};
use crate::model::payload::{Class, Location};
use crate::store::{Draft, Found, Health, Store};
use crate::upstream::{self, Source};

/// How often a request that finds a flight just ended looks again: more often than an object may change.
const TRIES: usize = CHANGES_MAX as usize + 3;

/// See the head of this file.
/// How long the log keeps still of flights that fail for their origins, after it has told of one: a host that is away fails
/// thousands of them.
const TOLD_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) config: Config,
    pub(super) store: Store,
    pub(super) source: Arc<dyn Source>,
    pub(super) allow: Arc<AllowList>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) gates: Arc<Gates>,
    pub(super) memory: Arc<Memory>,
    pub(super) counters: Counters,
    /// The WSUS server above, where it can be told to fetch what it does not have.
    pub(super) lazy: Option<Lazy>,
    /// The node above, where there is one.
    pub(super) parent: Option<Parent>,
    pub(super) flights: Mutex<HashMap<Name, Arc<Shared>>>,
    pub(super) renewals: Mutex<HashMap<Name, watch::Sender<Option<Verdict>>>>,
    /// When a flight that failed for its origins was last told of in the log, and how many were not since.
    pub(super) told: Mutex<(Option<Instant>, u64)>,
    pub(super) tracker: Tasks,
    pub(super) closing: CancellationToken,
}

impl Inner {
    pub(super) fn new(
        config: Config,
        store: Store,
        source: Arc<dyn Source>,
        allow: Arc<AllowList>,
        clock: Arc<dyn Clock>,
        lazy: Option<Lazy>,
    ) -> Self {
        Self {
            lazy,
            parent: None,
            told: Mutex::default(),
            gates: Arc::new(Gates::new(config.connections_per_host)),
            config,
            store,
            source,
            allow,
            clock,
            memory: Arc::new(Memory::new()),
            counters: Counters::default(),
            flights: Mutex::default(),
            renewals: Mutex::default(),
            tracker: Tasks::here(),
            closing: CancellationToken::new(),
        }
    }

    /// Steps 1 to 5 of the room.
    pub(super) async fn any(self: &Arc<Self>, target: &Target, want: Want) -> Result<Obtained, Error> {
        if self.closing.is_cancelled() {
            return Err(Error::Closing);
        }
        if target.via.as_deref().is_some_and(|via| self.source.loops(via)) {
            let host = "this node".to_owned();
            let why = "the request has been here before; an upstream or a name leads back to it".to_owned();
            return Err(Error::of_origin(&upstream::Error::Looped { host, why }));
        }
        if target.keeping == Keeping::Never {
            return pass::pass(self, target, &target.locations, want, None).await;
        }
        match self.held(target, true).await {
            Ok(Some(held)) => return Ok(held),
            Ok(None) => {}
            Err(error @ Error::Store(_)) => {
                // What was noted of it may still be readable; if not, what the address itself names is all there is.
                let gathered = self.gather(target).await.ok();
                let locations = gathered.map_or_else(|| target.locations.clone(), |gathered| gathered.locations);
                return self.pass_for(target, &locations, want, error).await;
            }
            Err(error) => return Err(error),
        }
        for _ in 0..TRIES {
            let gathered = match self.gather(target).await {
                Ok(gathered) => gathered,
                Err(error) => return self.pass_for(target, &target.locations, want, error).await,
            };
            match self.held_by_digest(target, &gathered, true).await {
                Ok(Some(held)) => return Ok(held),
                Ok(None) => {}
                Err(error) => return self.pass_for(target, &gathered.locations, want, error).await,
            }
            if let Some(why) = self.may_not_keep(&gathered, want.client).await {
                tracing::info!(key = gathered.key.shown(), why, "passed through, not kept");
                return pass::pass(self, target, &gathered.locations, want, None).await;
            }
            let first = first_of(want, self.reach(&gathered));
            let client = Some(want.client);
            let Some((flight, joined)) = self.join_or_start(target, &gathered, client, first, &mut None)? else {
                self.until_gone(target, &gathered).await?;
                continue;
            };
            match self.await_facts(&flight, want.until).await? {
                Phase::Running(known) => return Ok(flying(flight, &known, target, &gathered, joined, want)),
                Phase::Ended(End::Published(found)) => {
                    let outcome = if joined { Outcome::Partial } else { Outcome::Miss };
                    // As it was written down under this name, if it was: its tag may be older than the digest.
                    let written = self.store.find(&target.name).await.ok().flatten();
                    let found = written.unwrap_or_else(|| own(found, target, &gathered));
                    return Ok(held(found, status(outcome, true, joined)));
                }
                Phase::Ended(End::Passed(spare)) => {
                    return pass::pass(self, target, &gathered.locations, want, Some(spare)).await;
                }
                Phase::Ended(End::Failed(error)) => match own_error(&flight, target, &error) {
                    Some(error) => return Err(error),
                    // This client's own address has not been tried: a new flight will.
                    None => drop(flight),
                },
                Phase::Ended(End::Spilled(error, ..)) => {
                    return self.pass_for(target, &gathered.locations, want, Error::Store(error)).await;
                }
                // Once it has changed too often it is passed through.
                Phase::Ended(End::Changed(_)) => {
                    drop(flight);
                    self.until_gone(target, &gathered).await?;
                }
                Phase::Ended(End::Idle) | Phase::Learning => {}
            }
        }
        Err(Error::unavailable("flights of this object end as soon as they begin; the log says why"))
    }

    /// The store is in trouble: from the places that are known, past it. Where none is known the trouble is the answer, for
    /// the object may well exist.
    async fn pass_for(
        self: &Arc<Self>,
        target: &Target,
        locations: &[Location],
        want: Want,
        error: Error,
    ) -> Result<Obtained, Error> {
        if locations.is_empty() {
            return Err(error);
        }
        tracing::warn!(name = target.name.shown(), %error, "the store cannot keep it, passed through");
        pass::pass(self, target, locations, want, None).await
    }

    /// Step 2: held and fresh, or asked about and still right. Counts as a use where it `is_use`.
    pub(super) async fn held(self: &Arc<Self>, target: &Target, is_use: bool) -> Result<Option<Obtained>, Error> {
        let found = self.found(&target.name, is_use).await?;
        let Some(found) = found else {
            return Ok(None);
        };
        if self.is_fresh(&found) {
            return Ok(Some(held(found, status(Outcome::Hit, false, false))));
        }
        let replaced = {
            let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            flights.contains_key(&target.name)
        };
        // A flight of the new version is under way: no need to ask what it was started for.
        if replaced { Ok(None) } else { self.renew(target, found).await }
    }

    /// The payload is held under the digest that this name is known to have: the name only has to be written down.
    pub(super) async fn held_by_digest(
        &self,
        target: &Target,
        gathered: &Gathered,
        is_use: bool,
    ) -> Result<Option<Obtained>, Error> {
        if gathered.key == target.name {
            return Ok(None);
        }
        let Some(found) = self.found(&gathered.key, is_use).await? else {
            return Ok(None);
        };
        let found = own(found, target, gathered);
        let blake3 = found.held.payload().digests.blake3;
        // Anybody can make up names of a digest that is held; they are answered, but only so many are worth a row.
        let listed = self.store.show(&gathered.key).await.ok().flatten();
        if listed.is_some_and(|listed| listed.names.len() >= NAMES_MAX) {
            return Ok(Some(held(found, status(Outcome::Hit, false, false))));
        }
        if let Err(error) = self.store.alias(blake3, target.name.clone(), found.alias.as_ref().clone()).await {
            tracing::warn!(name = target.name.shown(), %error, "another name of a held payload could not be written down");
        }
        Ok(Some(held(found, status(Outcome::Hit, false, false))))
    }

    /// What is held under a name, by way of what is open where a client waits.
    async fn found(&self, name: &Name, is_use: bool) -> Result<Option<Found>, crate::store::Error> {
        if is_use { self.store.find(name).await } else { self.store.find_for_work(name).await }
    }

    /// Whether the log tells of a flight that failed for its origins, and how many it was not told of since the last one.
    pub(super) fn tells(&self) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if told.0.is_some_and(|last| now.saturating_duration_since(last) < TOLD_EVERY) {
            told.1 += 1;
            return None;
        }
        Some(std::mem::replace(&mut *told, (Some(now), 0)).1)
    }

    pub(super) fn is_fresh(&self, found: &Found) -> bool {
        found.alias.freshness.as_ref().is_none_or(|freshness| self.clock.now() < freshness.until)
    }

    /// Why the object must be passed through although it might be kept.
    async fn may_not_keep(&self, gathered: &Gathered, client: IpAddr) -> Option<String> {
        if self.memory.changes_too_often(&gathered.key) {
            return Some(format!("the origin changed it more than {CHANGES_MAX} times while it was fetched"));
        }
        if self.memory.is_not_kept(&gathered.key) {
            return Some("the origin did not let it be kept a moment ago".to_owned());
        }
        if let Health::ReadOnly { why } = self.store.health() {
            return Some(why);
        }
        if gathered.expected.is_none() { self.is_over_its_share(client).await } else { None }
    }

    /// Why the client's subnet may begin no more of what nobody published a digest for.
    async fn is_over_its_share(&self, client: IpAddr) -> Option<String> {
        let memory = &self.memory;
        let share = if memory.charged(client) > SUBNET_BYTES_MIN {
            let share = self.store.space().await.map_or(0, |space| space.max_size / SUBNET_SHARE);
            share.max(SUBNET_BYTES_MIN)
        } else {
            u64::MAX
        };
        let is_over = || memory.charged(client) > share || memory.is_charged_full(client);
        if (is_over() || memory.are_charges_full()) && memory.may_compare() {
            let drafts = self.store.drafts().await.ok()?;
            memory.settle_but(&drafts.into_iter().map(|(spec, _)| spec.name).collect());
        }
        is_over().then(|| format!("the subnet of {client} has too much in unproven drafts"))
    }

    /// Step 5: what the origin says of the object, or the flight's end; 503 from `until` on, while the flight goes on.
    async fn await_facts(&self, flight: &Flight, until: Instant) -> Result<Phase, Error> {
        let shared = &flight.lease.shared;
        let mut phase = shared.phase.subscribe();
        let told = phase.wait_for(|phase| !matches!(phase, Phase::Learning));
        match tokio::time::timeout_at(until, told).await {
            Ok(Ok(phase)) => Ok(phase.clone()),
            Ok(Err(_)) => Err(Error::unavailable("the flight is gone")),
            Err(_) => Err(shared.too_slow("has not answered in time and is still asked")),
        }
    }

    /// How much may be asked for at once before an object is known: a piece, or what a connection of the host is known to
    /// carry in a turn.
    fn reach(&self, gathered: &Gathered) -> u64 {
        let rate = gathered.locations.first().and_then(|first| self.memory.rate(host_of(&first.url)));
        let turn = rate.map(|rate| rate / self.config.connections_per_host.max(1) as u64 * TURN.as_secs());
        turn.map_or(PIECE, |turn| turn.clamp(EXTENT_MIN, self.config.extent.max(EXTENT_MIN)))
    }

    /// The draft under the flight's name, or under the name asked for.
    pub(super) async fn draft_of(&self, key: &Name, name: &Name) -> Result<Option<Draft>, crate::store::Error> {
        match self.store.draft(key).await? {
            None if key != name => self.store.draft(name).await,
            draft => Ok(draft),
        }
    }

    pub(super) fn note_answer(&self, name: &Name, url: &str, text: String) {
        self.memory.answered(name, url, self.clock.now(), text);
    }

    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.tracker.ended().await;
        if let Some(lazy) = &self.lazy {
            lazy.ended().await;
        }
    }
}

/// What a request wants first, `reach` bytes at most.
fn first_of(want: Want, reach: u64) -> First {
    if want.head {
        return First::Head;
    }
    // Beyond any object: its length is all that can be learnt for this one, and no flight may fail for it.
    if want.first >= OBJECT_BYTES_MAX {
        return First::Head;
    }
    let end = want.last.map_or(u64::MAX, |last| last.saturating_add(1));
    let limit = want.first.saturating_add(reach);
    // As the planner ends extents: with a group.
    let limit = Some(limit / GROUP * GROUP).filter(|whole| *whole > want.first).unwrap_or(limit);
    First::Bytes(Span::new(want.first, end.min(limit)))
}

fn flying(
    mut flight: Flight,
    known: &Known,
    target: &Target,
    gathered: &Gathered,
    joined: bool,
    want: Want,
) -> Obtained {
    let (tag, generation, some, all) = {
        let state = flight.lease.shared.lock();
        // Told to somebody under this very name before: a digest that became known since changes nothing about it.
        let tag = if target.name == known.name {
            state.tag.clone()
        } else {
            learn::tag_of(target, &gathered.key, gathered.generation.max(state.generation), &state.tag)
        };
        let wanted = Span::new(want.first, want.last.map_or(known.size, |last| last.saturating_add(1).min(known.size)));
        (tag, state.generation, !state.covered.is_empty(), state.covered.covers(&wanted))
    };
    flight.generation = generation;
    flight.via.clone_from(&target.via);
    let outcome = if known.resumed || (joined && some) { Outcome::Partial } else { Outcome::Miss };
    let status = CacheStatus { outcome, stored: true, collapsed: joined && !all, detail: Some(Detail::Streaming) };
    let facts = Facts { size: known.size, tag, last_modified: known.last_modified.clone() };
    Obtained::Flying { facts, flight, status }
}

/// What this client is told of a flight that failed: what its own address got, if it was tried. An answer that is final
/// for another client's signed address is none for this one.
pub(super) fn own_error(flight: &Flight, target: &Target, error: &Error) -> Option<Error> {
    let state = flight.lease.shared.lock();
    let mut own = state
        .sources
        .iter()
        .filter(|candidate| target.locations.iter().any(|location| location.url == candidate.location.url));
    match own.next() {
        Some(candidate) => match &candidate.refused {
            Some(upstream::Error::Status { .. }) => candidate.refused.as_ref().map(Error::of_origin),
            None if matches!(error, Error::Origin(..) | Error::Nowhere) => None,
            Some(_) | None => Some(error.clone()),
        },
        None if matches!(error, Error::Origin(_, 401 | 403)) && !target.locations.is_empty() => {
            Some(Error::unavailable("too many addresses of this object were refused just now"))
        }
        None => Some(error.clone()),
    }
}

pub(super) fn held(found: Found, status: CacheStatus) -> Obtained {
    let detail = match found.held.payload().class {
        Class::Proven => Detail::Proven,
        Class::Unproven => Detail::Unproven,
    };
    Obtained::Held { found, status: CacheStatus { detail: Some(detail), ..status } }
}

pub(super) fn status(outcome: Outcome, stored: bool, collapsed: bool) -> CacheStatus {
    CacheStatus { outcome, stored, collapsed, detail: None }
}

/// Waits at most so long for a revalidation before the stale object is served, if it may be.
pub(super) fn patience(config: &Config, stale_ok: bool) -> Duration {
    if stale_ok { super::config::REVALIDATION_WAIT.min(config.silence) } else { config.silence }
}
