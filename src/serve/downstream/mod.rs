//! The face for WSUS servers below this node: what they ask of an upstream server (MS-WSUSSS, server side). Off unless networks are named.
//!
//! How a request goes through it, each step in the file named:
//! 1. It is one of ours by its path, and comes from a network that is named; its body is read, bounded in bytes and time, and decoded on a
//!    thread that may block. (`route`)
//! 2. Its cookie is opened: which account asks (`handshake`). Accounts prove nothing: the protocol has no secret in them, so that it is the
//!    network that lets in, and the account that may shut out.
//! 3. It is answered: the handshake and the configuration (`handshake`), lists of revisions (`list`, with anchors of `anchor`), their documents
//!    (`data`), files to be fetched (`wishes`), what replicas take over (`deployments`), what servers tell of themselves (`rollup`).
//! 4. The answer goes out, in the SOAP of the request; what was said is logged and counted. (`route`, `counters`)
//!
//! Contract:
//! - Nothing here blocks a reactor thread. Lists and documents are made by a few at once, and what all answers take together is bounded.
//! - What is refused is in no list and no answer. What the upstream withdrew is listed as withdrawn, as servers do it.
//! - A list is complete up to the anchor that goes with it: the clock is read before the catalog is.
//! - Files are not this face's: servers fetch them at `/Content`, where what is not held is filled.

mod anchor;
mod counters;
mod data;
mod deployments;
mod error;
mod handshake;
mod list;
mod rollup;
mod route;
mod wishes;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::Semaphore;

use crate::base::time::Clock;
use crate::serve::client::Scans;
use crate::serve::downstream::counters::Counters;
use crate::serve::downstream::error::Error;
use crate::store::Store;
use crate::store::approvals::Approvals;
use crate::store::catalog::Catalog;
use crate::wire::wsusss::FaultCode;

pub use wishes::Wish;

pub(super) use route::{is_ours, is_rollup, respond};

/// How long a cookie may be used: as long as a Windows server's (MS-WSUSSS 3.1.4.3, product behaviour).
const COOKIE_LIFE: Duration = Duration::from_hours(4);

/// Requests between their head and their answer. A site has a handful of servers, each with one request at a time and four for documents.
const WAITING_MAX: usize = 64;

/// Answers that are made at once: a list of everything walks the whole catalog.
const TURNS: usize = 2;

/// KiB that all answers may take that are made or on their way: three of the largest documents there are, and many usual ones.
const ANSWERS_KIB: u32 = 192 << 10;

/// How the face behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Networks whose servers may ask, over TLS or not.
    pub networks: Vec<IpNet>,
    /// Accounts that may ask, as servers name themselves (their full name), in any case; one that begins with `*.` stands for all names that
    /// end so. None: all of those networks.
    pub accounts: Vec<String>,
}

/// The face.
pub struct Downstream {
    config: Config,
    clock: Arc<dyn Clock>,
    /// Has the keys of cookies.
    scans: Arc<Scans>,
    store: Store,
    catalog: Catalog,
    approvals: Approvals,
    wish: Wish,
    counters: Counters,
    places: Semaphore,
    turns: Semaphore,
    answers: Arc<Semaphore>,
}

impl Downstream {
    /// The face over the catalog of this store. `wish` is told of files that servers below want fetched.
    pub fn new(config: Config, scans: Arc<Scans>, store: &Store, clock: Arc<dyn Clock>, wish: Wish) -> Self {
        Self {
            config,
            clock,
            scans,
            store: store.clone(),
            catalog: store.catalog(),
            approvals: store.approvals(),
            wish,
            counters: Counters::default(),
            places: Semaphore::new(WAITING_MAX),
            turns: Semaphore::new(TURNS),
            answers: Arc::new(Semaphore::new(ANSWERS_KIB as usize)),
        }
    }

    /// What it counts.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Does what takes a while, where it may.
    async fn work<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        tokio::task::spawn_blocking(job).await.map_err(|_| Error::Ended)
    }
}

impl fmt::Debug for Downstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Downstream").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A refusal that names a parameter.
fn parameter(parameter: &'static str, why: impl Into<String>) -> Error {
    Error::Refused { code: FaultCode::InvalidParameters, message: parameter.to_owned(), why: why.into() }
}
