//! The scan face: what unmodified Windows Update Agents ask (MS-WUSP), from the first question to the report.
//!
//! How a request goes through it, each step in the file named:
//! 1. It is one of ours by its path; over plain HTTP only clients of named networks are listened to. (`route`)
//! 2. Its body is read, bounded in bytes and time and in what all bodies that came may take together (`intake`), and decoded on a thread
//!    that may block. (`route`) Of places, bodies and answers one client has a share (`share`).
//! 3. Its cookie is opened: who asks, and whether it may (`cookie`, `handshake`, `members`). What a machine says of itself is laid before
//!    the registry (`register`).
//! 4. It is answered: the handshake (`handshake`), the rounds of a scan (`rounds`) from the catalog in memory (`known`), more about
//!    updates and where their files are (`more`, `texts`, `place`), what happened (`told`, `meaning`).
//! 5. The answer is packed where the agent wants it so, and goes out; what was said is logged and counted before that. (`route`,
//!    `counters`) What all answers take together is bounded from their first fragment to their last byte (`room`), which the agent takes within a time (`sending`).
//!
//! Contract:
//! - Nothing here blocks a reactor thread: decoding, views, escaping and packing are done elsewhere, by as many at once as there are cores.
//! - What an agent says is taken for what it is: lists of numbers, a name, events. Nothing of it decides anything for others.
//! - An agent is refused in the protocol's own words, which say what it does next.

mod config;
mod cookie;
mod counters;
mod error;
mod handshake;
mod intake;
mod known;
mod meaning;
mod members;
mod more;
mod place;
mod register;
mod room;
mod rounds;
mod route;
pub(super) mod sending;
mod share;
mod texts;
mod told;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use crate::base::time::Clock;
use crate::fleet::compliance::Compliance;
use crate::fleet::often::Often;
use crate::fleet::registry::Registry;
use crate::fleet::scan::Newcomer;
use crate::serve::client::error::Error;
use crate::serve::client::known::{Catalogs, Known};
use crate::serve::client::members::{Keys, Members};
use crate::serve::client::share::Pool;
use crate::serve::client::texts::Texts;
use crate::serve::client::told::Lately;
use crate::store::Store;
use crate::store::catalog::Catalog;

pub use config::Config;
pub use counters::Counters;
pub use meaning::meaning;

pub(super) use cookie::Unsealed;
pub(super) use route::{is_ours, respond, wants_xpress};

/// Requests that may wait for their turn at once: more agents than that ask again later, as the protocol has it.
const WAITING_MAX: usize = 512;

/// How often the keys of cookies are looked at: they seal for a month.
const KEYS_EVERY: Duration = Duration::from_hours(1);

/// The scan face.
pub struct Scans {
    config: Config,
    clock: Arc<dyn Clock>,
    counters: Counters,
    keys: Keys,
    members: Members,
    registry: Registry,
    catalog: Catalog,
    catalogs: Arc<Catalogs>,
    texts: Arc<Texts>,
    lately: Lately,
    /// Requests of each endpoint.
    requests_of: Often,
    compliance: Compliance,
    /// Requests between their head and their answer.
    places: Arc<Pool>,
    /// What bodies take.
    bodies: Arc<Pool>,
    /// What answers take.
    answers: Arc<Pool>,
    /// The turn of large answers.
    large: Arc<Semaphore>,
    /// Those that are at work on a thread that may block.
    turns: Semaphore,
}

impl Scans {
    /// The scan face over the catalog of this store, with the keys that lie there and the endpoints of a registry over the same store.
    /// Fails where the system gives no random numbers.
    pub async fn open(
        config: Config,
        registry: Registry,
        store: &Store,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let keys = Keys::open(store.fleet(), clock.now()).await.map_err(|error| error.to_string())?;
        let catalog = store.catalog();
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Ok(Self {
            keys,
            registry,
            catalogs: Arc::new(Catalogs::new(store, config.detection.clone())),
            texts: Arc::new(Texts::new(catalog.clone())),
            catalog,
            clock,
            counters: Counters::default(),
            members: Members::default(),
            lately: Lately::default(),
            requests_of: Often::new(config.requests),
            compliance: Compliance::new(store),
            places: Pool::new(WAITING_MAX, &config.exempt),
            bodies: Pool::new(intake::BODIES_KIB, &config.exempt),
            answers: Pool::new(room::units(config.answers), &config.exempt),
            large: Arc::new(Semaphore::new(1)),
            turns: Semaphore::new(cores),
            config,
        })
    }

    /// What it counts.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What endpoints report of their updates. There is one for each store, so that whoever asks about it takes this one.
    pub fn compliance(&self) -> &Compliance {
        &self.compliance
    }

    /// Looks after the keys of cookies by the clock, for as long as it is asked to.
    pub async fn keep_keys(&self) -> Infallible {
        let mut tick = tokio::time::interval(KEYS_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.turn_keys().await;
        }
    }

    /// Replaces the key of cookies where it has sealed for long enough; says whether another one seals now. What it sealed is opened for as
    /// long again.
    pub async fn turn_keys(&self) -> bool {
        match self.keys.turn(self.clock.now()).await {
            Ok(is_new) => {
                if is_new {
                    tracing::info!("another key seals the cookies of agents");
                }
                is_new
            }
            Err(error) => {
                tracing::warn!(%error, "the key of agents' cookies is not replaced: it is tried again in an hour");
                false
            }
        }
    }

    /// What a machine that comes for the first time, and is in no group, must evaluate now. Reads the catalog where no scan did before.
    /// `None` where the store cannot be read, which the log tells.
    pub async fn newcomer(&self) -> Option<Newcomer> {
        let look = async {
            let (known, catalogs, now) = (self.known().await?, Arc::clone(&self.catalogs), self.clock.now());
            self.work(move || catalogs.newcomer(&known, now)).await?
        };
        let told: Result<Newcomer, Error> = look.await;
        told.inspect_err(
            |error| tracing::warn!(target: "scan", ?error, "what a new machine must evaluate is not known"),
        )
        .ok()
    }

    /// By which servers and endpoints know this node.
    pub(super) fn server(&self) -> crate::model::update::UpdateId {
        self.keys.server()
    }

    /// A cookie of something that another face says, behind a word of its own; `None` where the system has no random numbers.
    pub(super) fn seal_as<T: serde::Serialize>(&self, word: [u8; 4], what: &T) -> Option<Vec<u8>> {
        self.keys.sealer().seal_as(word, what).ok()
    }

    /// What such a cookie says. Its time is not looked at.
    pub(super) fn open_as<T: serde::de::DeserializeOwned>(&self, word: [u8; 4], cookie: &[u8]) -> Result<T, Unsealed> {
        self.keys.sealer().open_as(word, cookie)
    }

    /// The catalog as it is now.
    async fn known(&self) -> Result<Arc<Known>, Error> {
        self.catalogs.current(&self.texts).await
    }

    /// Does what takes a while, where it may, when its turn has come.
    async fn work<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let _turn = self.turns.acquire().await.map_err(|_| Error::Ended)?;
        tokio::task::spawn_blocking(job).await.map_err(|_| Error::Ended)
    }
}

impl fmt::Debug for Scans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scans").field("config", &self.config).finish_non_exhaustive()
    }
}
