//! The bandwidth governor: how fast bytes may flow, by class, by window of the week, by the client's network.
//!
//! What has bytes to move holds a [`Flow`] and asks it, grain by grain, how many may go. A question goes this way:
//!
//! 1. [`Flow::is_free`]: where nothing limits the flow's class, that is one relaxed load, and the answer is "all".
//! 2. `state`, `ticket`: otherwise the flow goes through its gates, from the narrow one to the wide one: its network's, its class's,
//!    the one that gives way, the site's link.
//! 3. `gate`, `gates`: each is a [`bucket`] with a line before it, first come, first served, a grain at a time. A grain shrinks with the
//!    number of those who share the rate, so that each has its turn about once a second and none falls silent.
//! 4. [`Governor::run`] (`driver`) is the one task that waits, with one timer, however many stand in line: it lets through whoever is due,
//!    and wakes them. It does not need those whom it serves, so that a client that does not read holds up nobody.
//! 5. `schedule`, [`window`], [`zone`]: the same task sees which rules are in force, at each edge of a window, and at least
//!    once a minute, since clocks are put right.
//! 6. `delay`: what nobody waits for gives way where origins take longer to answer than they did.
//!
//! What holds: who is dropped leaves the line, and what it was granted and did not take is given back; a new configuration
//! holds for those who stand in line already; when [`Governor::run`] ends, everyone is let through, so that nothing waits for
//! a task that is gone. Nothing here knows what the bytes are. Heads and TLS records are not counted: they are a few parts of
//! a thousand of what this product carries.

pub mod bucket;
pub mod class;
pub mod config;
pub mod counters;
mod delay;
mod driver;
pub mod error;
mod flow;
mod gate;
mod gates;
mod lane;
pub mod limit;
pub mod network;
pub mod report;
pub mod schedule;
mod state;
mod ticket;
pub mod window;
pub mod zone;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

pub use self::class::Class;
pub use self::config::Config;
pub use self::counters::Counters;
pub use self::error::Error;
pub use self::flow::Flow;
pub use self::lane::Lane;
pub use self::limit::Limit;
pub use self::report::{Pause, Report};
pub use self::schedule::Schedule;
pub use self::zone::Zone;

use crate::base::time::{Clock, SystemClock, Timestamp};
use crate::pace::delay::Delay;
use crate::pace::report::{ClassReport, NetworkReport};
use crate::pace::state::{InForce, State};
use crate::pace::ticket::Who;

// Hints that are right soon: whoever acts on one looks again under the lock.
const ORDER: Ordering = Ordering::Relaxed;

/// See the head of this file. Clones are the same governor. Without [`Governor::run`] nothing is limited.
#[derive(Clone)]
pub struct Governor {
    inner: Arc<Inner>,
}

struct Inner {
    /// Classes that have to ask, as bits.
    governed: AtomicU8,
    /// Classes that are paused, as bits.
    paused: AtomicU8,
    gives_way: AtomicBool,
    lanes_changed: AtomicBool,
    guarded: Mutex<Guarded>,
    /// For the driver: look again.
    kick: Notify,
    /// For those who wait for a pause.
    changed: Notify,
    clock: Arc<dyn Clock>,
    start: Instant,
    counters: Counters,
    /// Background bytes when they were last looked at.
    background: AtomicU64,
}

struct Guarded {
    state: State,
    delay: Delay,
    running: bool,
    looked: Timestamp,
    next: Option<Timestamp>,
    swept: Duration,
}

impl Default for Governor {
    /// One that limits nothing.
    fn default() -> Self {
        Self::new(Config::default(), Arc::new(SystemClock))
    }
}

impl Governor {
    /// With these rules, which hold once [`Governor::run`] runs. `clock` says which windows are open.
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Self {
        let guarded = Guarded {
            state: State::new(),
            delay: Delay::default(),
            running: false,
            looked: Timestamp::default(),
            next: None,
            swept: Duration::ZERO,
        };
        let inner = Inner {
            governed: AtomicU8::new(0),
            paused: AtomicU8::new(0),
            gives_way: AtomicBool::new(false),
            lanes_changed: AtomicBool::new(false),
            guarded: Mutex::new(guarded),
            kick: Notify::new(),
            changed: Notify::new(),
            clock,
            start: Instant::now(),
            counters: Counters::default(),
            background: AtomicU64::new(0),
        };
        let governor = Self { inner: Arc::new(inner) };
        governor.set_config(config);
        governor
    }

    /// Puts other rules in force at once, also for those who stand in line.
    pub fn set_config(&self, config: Config) {
        let now = self.now();
        let mut woken = Vec::new();
        let found = InForce::of(&Arc::new(config), self.inner.clock.now());
        let mut guarded = self.lock();
        self.inner.gives_way.store(found.config.give_way && guarded.running, ORDER);
        guarded.state.set_config(Arc::clone(&found.config));
        self.look(&mut guarded, found, now, &mut woken);
        drop(guarded);
        woken.into_iter().for_each(Waker::wake);
        self.inner.kick.notify_one();
    }

    /// A fetch that keeps to a lane of its own.
    pub fn lane(&self, class: Class) -> Lane {
        Lane::new(self.clone(), class)
    }

    /// An answer to an endpoint.
    pub fn to_client(&self, client: IpAddr) -> Flow {
        Flow::to_client(self.clone(), client)
    }

    /// An answer to a child node.
    pub fn to_node(&self) -> Flow {
        Flow::to_node(self.clone())
    }

    /// Whether nothing of the class may flow for now.
    pub fn is_paused(&self, class: Class) -> bool {
        self.inner.paused.load(ORDER) & class.bit() != 0
    }

    /// The pause of a class, if nothing of it may flow for now.
    pub fn pause(&self, class: Class) -> Option<Pause> {
        if !self.is_paused(class) {
            return None;
        }
        let guarded = self.lock();
        let zone = guarded.state.config().zone.clone();
        Some(Pause { class, until: guarded.state.standing(class).until, zone })
    }

    /// A host that is asked has answered, `took` after the question. What it says of the way there lets the background give
    /// way. Costs one relaxed load where that is off.
    pub fn answered(&self, host: &str, took: Duration) {
        if self.inner.gives_way.load(ORDER) {
            let now = self.now();
            self.lock().delay.sample(host, took, now);
            self.inner.kick.notify_one();
        }
    }

    /// What the room counts.
    pub fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// What is in force now, why, and until when.
    pub fn report(&self) -> Report {
        let now = self.inner.clock.now();
        // What the rules say is found out without the lock, which every limited answer takes for each grain.
        let (config, waits, parts, gives_way_to) = {
            let guarded = self.lock();
            let state = &guarded.state;
            let waits = Class::ALL.map(|class| state.waiting(class));
            (Arc::clone(state.config()), waits, state.parts(), guarded.delay.cap())
        };
        let classes = Class::ALL.map(|class| ClassReport {
            class,
            standing: config.class(class).standing(&config.zone, now),
            waiting: waits[class.index()],
            bytes: self.inner.counters.bytes(class),
        });
        let network = |(at, rule): (usize, &network::NetworkRule)| {
            let (parts, waiting) = parts.get(&at).copied().unwrap_or_default();
            let standing = rule.schedule.standing(&config.zone, now);
            NetworkReport { network: rule.to_string(), standing, parts, waiting }
        };
        Report {
            zone: config.zone.clone(),
            now,
            classes: classes.into(),
            networks: config.networks.iter().enumerate().map(network).collect(),
            give_way: config.give_way,
            gives_way_to,
        }
    }

    fn now(&self) -> Duration {
        self.inner.start.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Guarded> {
        // Whole between any two calls, so that a panic elsewhere has not broken it.
        self.inner.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_free(&self, who: &Who) -> bool {
        let governed = self.inner.governed.load(ORDER);
        governed == 0 || governed & who.class().bit() == 0
    }

    fn enter(&self, who: &Who, want: u64, cx: &Context<'_>) -> Result<u64, u64> {
        let entered = self.lock().state.enter(who, want, self.now(), cx);
        if entered.is_err() {
            self.inner.kick.notify_one();
        }
        entered
    }

    fn poll_ticket(&self, ticket: u64, cx: &Context<'_>) -> Poll<u64> {
        self.lock().state.poll(ticket, cx)
    }

    fn leave(&self, ticket: u64) {
        self.lock().state.leave(ticket);
    }

    fn lane_changed(&self) {
        self.inner.lanes_changed.store(true, ORDER);
        self.inner.changed.notify_waiters();
        if self.inner.governed.load(ORDER) != 0 {
            self.inner.kick.notify_one();
        }
    }

    fn changed(&self) -> Notified<'_> {
        self.inner.changed.notified()
    }
}

impl fmt::Debug for Governor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Governor").field("governed", &self.inner.governed.load(ORDER)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
