//! Getting one payload: single flight, piece plan, pump, tail.
//!
//! What a request asks for becomes bytes in these steps:
//! 1. [`Fill::locate`]: from the request to a [`Target`]: the name under which the object is kept, the places where it
//!    can be had, what its address publishes, and whether it may be kept at all.
//! 2. [`Fill::obtain`]: held and fresh is served from the map; held and stale is asked about once for all who wait.
//! 3. What address, notes and catalog say is gathered; the strongest digest known names the *flight*, so that one payload
//!    is fetched once, whatever it is called. A payload held under that digest only gets another name.
//! 4. The running flight is joined, or one is started: a task of its own, which outlives every client.
//!    Below a WSUS server that lists the object and has not fetched it, that is told to, and asked again.
//! 5. The origin's first answer (or a *draft* from before) gives the [`Facts`]. They are fixed for this name from then on.
//!    A HEAD leaves it at that: the draft begins with the first byte that is asked for.
//! 6. [`Flight::tail`] registers a demand; the planner turns demands into few large extents on a fast link and into small
//!    ones in turn on a slow one; pumps write them to the draft, and tails hand bytes out as they come in.
//! 7. When everything is in, it is proven and published. Only then does the end of what came in last leave the node. On a
//!    mismatch every open response is cut, and the draft goes to quarantine.
//!
//! Whatever cannot or must not be kept is passed through ([`Passed`]).
//!
//! Only `upstream` retries; a failure that arrives here is final for its place, and the next place is asked.

mod ahead;
mod check;
mod config;
mod counters;
mod doctor;
mod drive;
mod error;
mod explain;
mod flight;
mod fresh;
mod gate;
mod gather;
mod inner;
mod joining;
mod landed;
mod lazy;
mod learn;
mod locate;
mod measure;
mod memory;
mod meter;
mod opening;
mod owner;
mod parent;
mod pass;
mod plan;
mod pump;
mod refresh;
mod renew;
mod repeats;
mod rules;
mod secure;
mod state;
mod tail;
mod tasks;
mod trickle;
mod view;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use self::config::{Complete, Config, Verify};
pub use self::counters::Counters;
pub use self::error::{Error, Fault};
pub use self::explain::Explained;
pub use self::flight::Flight;
pub use self::locate::{Ask, Keeping, Refusal, Target};
pub use self::parent::{Asking, BreaksOut, LookUp, Parent, Signed};
pub use self::pass::{Passed, Through};
pub use self::refresh::Refreshed;
pub use self::tail::Tail;
pub use self::view::FlightView;

use crate::base::digest::{Blake3, Digest, Digests};
use crate::base::span::SpanSet;
use crate::base::time::Clock;
use crate::fill::inner::Inner;
use crate::model::origin::AllowList;
use crate::model::outcome::CacheStatus;
use crate::model::payload::{Alias, Validators};
use crate::model::report::{Finding, HostHealth};
use crate::pace::Class;
use crate::store::{Found, Store};
use crate::upstream::Source;
use crate::upstream::wsus::Wsus;

/// What the client wants first, so that the learning request is already useful.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// HEAD: no content is fetched for it.
    pub head: bool,
    /// First byte of the first range asked (0 for a whole body).
    pub first: u64,
    /// Its last byte, if it is closed.
    pub last: Option<u64>,
    /// Whether these bytes alone are a right answer; else what is passed through is the whole.
    pub exact: bool,
    /// Who asks.
    pub client: IpAddr,
    /// When a client that has got no byte yet is told to come again: before it takes its own patience for ours.
    pub until: Instant,
}

/// What clients are told of the object before any byte. Fixed for its name when it is first answered.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Length in bytes.
    pub size: u64,
    /// The strong entity tag, without quotes.
    pub tag: String,
    /// An IMF-fixdate.
    pub last_modified: Option<String>,
}

/// How an object can be had.
pub enum Obtained {
    /// Held: serve from the map.
    Held {
        /// The payload under its name.
        found: Found,
        /// What `Cache-Status` says.
        status: CacheStatus,
    },
    /// Being filled.
    Flying {
        /// What the response's head says.
        facts: Facts,
        /// Where its bytes come from.
        flight: Flight,
        /// What `Cache-Status` says.
        status: CacheStatus,
    },
    /// Streamed through, not kept.
    Passed(Passed),
}

impl fmt::Debug for Obtained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { found, status } => write!(f, "Held({}, {status})", found.alias.tag),
            Self::Flying { facts, status, .. } => write!(f, "Flying({facts:?}, {status})"),
            Self::Passed(passed) => write!(f, "Passed({})", passed.status),
        }
    }
}

/// The room. Clones share it.
#[derive(Clone, Debug)]
pub struct Fill {
    inner: Arc<Inner>,
}

impl Fill {
    /// Opens the room. Flights of an earlier run are resumed when their objects are asked for again. All flights fly on
    /// the runtime that this is called in, also those that are asked for from another one.
    pub fn new(
        config: Config,
        store: Store,
        source: Arc<dyn Source>,
        allow: Arc<AllowList>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { inner: Arc::new(Inner::new(config, store, source, allow, clock, None)) }
    }

    /// The same below another node: `parent` says what comes from there.
    pub fn under(
        config: Config,
        store: Store,
        source: Arc<dyn Source>,
        allow: Arc<AllowList>,
        clock: Arc<dyn Clock>,
        parent: Parent,
    ) -> Self {
        let inner = Inner { parent: Some(parent), ..Inner::new(config, store, source, allow, clock, None) };
        Self { inner: Arc::new(inner) }
    }

    /// The same below a WSUS server that fetches files only when somebody asks for them: `wsus` is how it is told to.
    pub fn below(
        config: Config,
        store: Store,
        source: Arc<dyn Source>,
        allow: Arc<AllowList>,
        clock: Arc<dyn Clock>,
        wsus: Wsus,
    ) -> Self {
        let lazy = Some(lazy::Lazy::new(wsus));
        Self { inner: Arc::new(Inner::new(config, store, source, allow, clock, lazy)) }
    }

    /// Which rule matches, the key, and where it can be had. Pure.
    pub fn locate(&self, ask: &Ask<'_>) -> Result<Target, Refusal> {
        locate::locate(ask, &self.inner.allow, self.inner.config.above())
    }

    /// Which rules [`Fill::locate`] goes by: another number after the allow-list was replaced. All else that it goes by stays
    /// as it was at the start.
    pub fn rules_revision(&self) -> u64 {
        self.inner.allow.revision()
    }

    /// Held bytes, a flight, or a response passed through. Answers before `want.until`, whatever has to be waited for on the
    /// way; what was begun goes on.
    pub async fn obtain(&self, target: &Target, want: Want) -> Result<Obtained, Error> {
        match tokio::time::timeout_at(want.until, self.inner.obtain(target, want)).await {
            Ok(obtained) => obtained,
            Err(_) => Err(Error::unavailable("nothing was learnt of the object in time")),
        }
    }

    /// How long a client waits for its first byte before it is told to come again; see [`Want::until`].
    pub fn silence(&self) -> Duration {
        self.inner.config.silence
    }

    /// Fills the whole ahead of time and waits for it; progress through [`Fill::flights`]. Dropping the future leaves the
    /// flight flying.
    pub async fn prefetch(&self, target: &Target) -> Result<Found, Error> {
        self.inner.prefetch(target, Class::Prefetch).await
    }

    /// The same in another class of bandwidth. While a response waits for it, it flows in that of demand all the same; where several
    /// want it ahead of time, the class of the last one counts.
    pub async fn prefetch_as(&self, target: &Target, class: Class) -> Result<Found, Error> {
        self.inner.prefetch(target, class).await
    }

    /// Asks the origin whether what is held under an address is still what it has, fresh or not, and fills the new version
    /// where it is not. Dropping the future leaves the flight flying.
    pub async fn refresh(&self, target: &Target) -> Result<(Found, Refreshed), Error> {
        self.inner.refresh(target).await
    }

    /// What belongs to the address of `target` where an operator says that the payload with these digests lies there: its
    /// tag, and how long that is believed where the address names no immutable object.
    pub fn imported(&self, target: &Target, digests: &Digests) -> Alias {
        let tag = learn::tag_of(target, &target.name, 1, &Digest::Sha256(digests.sha256).to_string());
        let url = target.locations.first().map(|location| location.url.as_str());
        let freshness = match (target.keeping, url) {
            (Keeping::Rfc9111, Some(url)) => fresh::judge(url, &[], &Validators::default(), self.inner.clock.now()),
            _ => None,
        };
        Alias { tag, last_modified: None, validators: Validators::default(), freshness }
    }

    /// How long the origin says that the object is; `None` where it does not say. Fetches and keeps nothing; ends within
    /// the configured silence for each place.
    pub async fn measure(&self, target: &Target) -> Result<Option<u64>, Error> {
        self.inner.measure(target).await
    }

    /// What the node makes of an address.
    pub async fn explain(&self, ask: &Ask<'_>) -> Result<Explained, Error> {
        self.inner.explain(ask).await
    }

    /// Refetches the bad bytes of a held payload from a known place and puts the mended file in its place.
    pub async fn repair(&self, blake3: Blake3, bad: SpanSet) -> Result<Found, Error> {
        self.inner.repair(blake3, bad).await
    }

    /// What the hosts asked have been doing.
    pub fn health(&self) -> Vec<HostHealth> {
        self.inner.source.health()
    }

    /// The path tests, host by host: the upstream and one host of each family on the allow-list, or the given URLs.
    pub async fn doctor(&self, urls: Vec<String>) -> Vec<Finding> {
        self.inner.doctor(urls).await
    }

    /// The same of the upstream alone; nothing where content comes from where it is published.
    pub async fn doctor_upstream(&self) -> Vec<Finding> {
        self.inner.doctor_upstream().await
    }

    /// All flights, now.
    pub fn flights(&self) -> Vec<FlightView> {
        self.inner.views()
    }

    /// What the room counts.
    pub fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// Stops taking demands, makes drafts durable, and waits until every flight has ended.
    pub async fn close(&self) {
        self.inner.close().await;
    }
}
