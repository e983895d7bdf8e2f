//! One flight as its owner, its pumps and its clients share it: claims, where it stands, and how it ends.
//!
//! Its state is behind one lock that is never held across an await.

use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::base::span::Span;
use crate::fill::config::UNSYNCED_MAX;
use crate::fill::error::Error;
use crate::fill::gate::Gates;
use crate::fill::memory::{Memory, Subnet};
use crate::fill::pump::host_of;
use crate::fill::state::State;
use crate::fill::tail::Tail;
use crate::model::name::Name;
use crate::model::payload::Location;
use crate::pace::{Class, Lane};
use crate::store::{DraftSpec, Found, Store};
use crate::upstream::{Answer, Pinned, Source};

/// What every client of a flight is told before any byte.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) size: u64,
    /// The draft's name; the flight's own, unless a digest became known after the draft was begun.
    pub(super) name: Name,
    pub(super) last_modified: Option<String>,
    /// Part of it was held from before.
    pub(super) resumed: bool,
}

/// How a flight ends.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// Proven and published.
    Published(Found),
    /// It cannot be kept: streamed through instead.
    Passed(Spare),
    /// See [`Error`]; clients with an address of their own get what that address got.
    Failed(Error),
    /// The origin has another version now, or could not go on with this one: the next flight begins anew.
    Changed(Error),
    /// The disk is full or cannot be written: open responses go on straight from this place.
    Spilled(Arc<crate::store::Error>, Location, Pinned),
    /// Nobody wants anything more. The draft stays.
    Idle,
}

/// Why an object is passed through, and the answer that showed it, for the one who can use it.
#[derive(Clone)]
pub(super) struct Spare {
    pub(super) why: String,
    pub(super) answer: Arc<Mutex<Option<Answer>>>,
}

impl std::fmt::Debug for Spare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Spare({})", self.why)
    }
}

/// Where a flight stands.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// The origin is being asked what the object is.
    Learning,
    /// Bytes may be asked for.
    Running(Known),
    /// It is over.
    Ended(End),
}

/// One flight, as everybody sees it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) key: Name,
    /// Who began it; nobody for what is fetched ahead.
    pub(super) starter: Option<Subnet>,
    pub(super) strict: bool,
    pub(super) store: Store,
    pub(super) source: Arc<dyn Source>,
    pub(super) memory: Arc<Memory>,
    pub(super) gates: Arc<Gates>,
    pub(super) phase: watch::Sender<Phase>,
    /// The bandwidth that its fetches have: of what is waited for, or of what is not.
    pub(super) lane: Lane,
    /// Rings for the owner.
    pub(super) owner: Notify,
    /// Rings when a checkpoint made room for writes.
    pub(super) room: Notify,
    /// Off the map: everything that the flight had to do is done.
    pub(super) gone: CancellationToken,
    state: Mutex<State>,
}

/// One flight per payload, however many endpoints ask. Clones share it; while one is alive the flight does not end for
/// want of demand.
#[derive(Clone, Debug)]
pub struct Flight {
    pub(super) lease: Arc<Lease>,
    /// Which generation of bytes its client was told of.
    pub(super) generation: u32,
    /// The `Via` of its client's request.
    pub(super) via: Option<String>,
}

/// A claim on a flight.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) shared: Arc<Shared>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.lock().leases -= 1;
        self.shared.owner.notify_one();
    }
}

impl Flight {
    /// Registers the demand for `span` (cut to the object) and follows it. Dropping the tail withdraws only this client.
    pub fn tail(&self, span: Span, client: IpAddr) -> Tail {
        let shared = &self.lease.shared;
        let (id, span, bell, unproven, size) = {
            let mut state = shared.lock();
            let before = state.asked.total();
            let (id, span, bell) = state.demand(span, client.to_canonical(), self.generation);
            let unproven = if state.expected.is_none() { state.asked.total() - before } else { 0 };
            (id, span, bell, unproven, state.size)
        };
        if unproven > 0 {
            shared.memory.charge(client, &shared.key, unproven, size);
        }
        shared.owner.notify_one();
        Tail::new(Arc::clone(&self.lease), id, span, bell, (client, self.via.clone()))
    }
}

impl Shared {
    pub(super) fn new(
        key: Name,
        starter: Option<Subnet>,
        strict: bool,
        store: Store,
        source: Arc<dyn Source>,
        memory: Arc<Memory>,
        gates: Arc<Gates>,
    ) -> Self {
        Self {
            key,
            starter,
            strict,
            store,
            lane: source.pace().lane(Class::Demand),
            source,
            memory,
            gates,
            phase: watch::Sender::new(Phase::Learning),
            owner: Notify::new(),
            room: Notify::new(),
            gone: CancellationToken::new(),
            state: Mutex::new(State::new()),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_over(&self) -> bool {
        self.lock().end.is_some()
    }

    /// What a client is told whose time is over while the flight goes on; `what` says what the host has not done.
    pub(super) fn too_slow(&self, what: &str) -> Error {
        let state = self.lock();
        let host = state.current().map_or("nobody", |candidate| host_of(&candidate.location.url));
        Error::unavailable(format!("{host} {what}"))
    }

    /// Tells everybody what the object is. `resumed`: some of it is held from before.
    pub(super) fn announce(&self, spec: &DraftSpec, resumed: bool) {
        self.phase.send_replace(Phase::Running(Known {
            size: spec.size,
            name: spec.name.clone(),
            last_modified: spec.last_modified.clone(),
            resumed,
        }));
    }

    /// Whether it still asks what the object is, and of which host.
    pub(super) fn asks(&self) -> Option<String> {
        if !matches!(*self.phase.borrow(), Phase::Learning) {
            return None;
        }
        let state = self.lock();
        state.current().map(|candidate| host_of(&candidate.location.url).to_owned())
    }

    /// What `asking` brings; `None` once nobody has held a claim for `linger`: the flight is over then.
    pub(super) async fn while_claimed<T>(&self, linger: Duration, asking: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            told = asking => Some(told),
            () = async { while !self.rings_or_ends(linger).await {} } => None,
        }
    }

    /// Waits for the owner's bell. `true`: there is no claim, it was silent for `linger`, and the flight is over.
    pub(super) async fn rings_or_ends(&self, linger: Duration) -> bool {
        let claimed = self.lock().leases > 0;
        if claimed {
            self.owner.notified().await;
            return false;
        }
        tokio::time::timeout(linger, self.owner.notified()).await.is_err() && self.finish_idle()
    }

    /// A claim, unless the flight is over.
    pub(super) fn lease(self: &Arc<Self>) -> Option<Flight> {
        let mut state = self.lock();
        if state.end.is_some() {
            return None;
        }
        state.leases += 1;
        let generation = state.generation;
        Some(Flight { lease: Arc::new(Lease { shared: Arc::clone(self) }), generation, via: None })
    }

    /// Ends the flight, once: later ends change nothing. Every waiter hears of it.
    pub(super) fn finish(&self, end: End) {
        {
            let mut state = self.lock();
            if state.end.is_some() {
                return;
            }
            if let End::Published(found) = &end {
                state.found = Some(found.clone());
            }
            state.end = Some(end.clone());
            state.step = "ended";
            state.ring_all();
        }
        self.phase.send_replace(Phase::Ended(end));
        self.room.notify_waiters();
    }

    /// Ends the flight if nobody holds a claim; a claim taken meanwhile keeps it.
    pub(super) fn finish_idle(&self) -> bool {
        {
            let mut state = self.lock();
            if state.leases > 0 || state.end.is_some() {
                return false;
            }
            state.end = Some(End::Idle);
            state.step = "ended";
        }
        self.phase.send_replace(Phase::Ended(End::Idle));
        true
    }

    /// All of it is wanted from now on, and in this class of bandwidth while no response waits for it: whoever asked last says so.
    pub(super) fn want_whole(&self, class: Class) {
        {
            let mut state = self.lock();
            state.ahead = class;
            if !state.whole {
                state.whole = true;
                state.amended = state.draft.is_some();
            }
        }
        self.owner.notify_one();
    }

    /// Marks bytes that were written: from now on tails may read them, but for what must be held back.
    pub(super) fn mark(&self, span: Span) {
        let mut state = self.lock();
        state.mark(span);
        if state.is_complete() || state.written - state.synced >= super::config::CHECKPOINT_BYTES {
            self.owner.notify_one();
        }
    }

    /// Waits until so little is undurable that more may be written.
    pub(super) async fn until_room(&self) {
        loop {
            let bell = self.room.notified();
            tokio::pin!(bell);
            bell.as_mut().enable();
            {
                let state = self.lock();
                if state.end.is_some() || state.written - state.synced < UNSYNCED_MAX {
                    return;
                }
            }
            bell.await;
        }
    }
}
