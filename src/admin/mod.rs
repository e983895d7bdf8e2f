//! Floor 6: the control plane. The HTTP API, the console, health and metrics; on a listener, for who signs in or has a token, and on
//! `control.sock`, where it answers everything, since only root and the node's own user can open it.
//!
//! A request goes this way:
//!
//! 1. it comes in over TCP ([`face`]) or the socket ([`socket`]), each with the [`Access`] that it grants;
//! 2. [`guard`] refuses foreign hosts and cross-site calls, has [`door`] say who it is and the table of [`rights`] whether they may, and
//!    [`recorded`] bounds the time and writes what was changed into the audit log;
//! 3. [`router`] finds the handler; each noun has a file: [`status`], [`content`], [`work`] (jobs), [`ask`] (explain,
//!    doctor, settings), [`upstream`] (what stands above), [`bandwidth`], [`updates`] and [`filters`] (the catalog), [`endpoints`] (who scans),
//!    [`groups`] and [`approvals`] (what is approved for whom), [`rules`] (what approves by itself), [`compliance`] (how updates stand on
//!    endpoints), [`nodes`] (who is above and below), [`plan`] (which files of it
//!    are brought ahead), [`accounts`] and [`audit`] (who may come in, and who did what), [`health`], [`metrics`]; the console's pages are in [`pages`];
//! 4. the handler asks the store or `jobs`, and [`present`] turns their values into the words of [`view`];
//! 5. whatever went wrong is a [`error::Problem`]: a status, what is wrong, and what to do next.
//!
//! The data plane is not reachable from here: this room never imports `serve`, has its own listener and its own runtime.

pub mod accounts;
pub mod approvals;
pub mod ask;
pub mod audit;
pub mod bandwidth;
pub mod below;
pub mod bind;
pub mod compliance;
pub mod content;
pub mod door;
pub mod downstream;
pub mod drawn;
pub mod endpoints;
pub mod error;
pub mod extract;
pub mod face;
pub mod filters;
pub mod groups;
pub mod guard;
pub mod health;
pub mod metrics;
pub mod nodes;
pub mod pages;
pub mod plan;
pub mod present;
pub mod quarantine;
pub mod recorded;
pub mod rights;
pub mod router;
pub mod rules;
pub mod socket;
pub mod status;
pub mod subtree;
pub mod sync;
pub mod tls;
pub mod updates;
pub mod upstream;
pub mod view;
mod within;
pub mod work;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;

use crate::admin::bandwidth::{Bandwidth, Changing};
use crate::admin::door::Door;
use crate::admin::upstream::Above;
use crate::base::time::{Clock, Timestamp};
use crate::chain::node::Chain;
use crate::fleet::roster::Roster;
use crate::jobs::Jobs;
use crate::model::name::Name;
use crate::net::tls::Tls;
use crate::store::Store;

/// The largest request body: ten thousand addresses with signed queries, and not a byte that would be kept anyway.
pub const BODY_BYTES_MAX: usize = 8 << 20;

/// The settings as they are in force now, with where each comes from, and what waits to be taken. Reads the file: blocks.
pub type SettingsView = Arc<dyn Fn() -> Vec<view::Setting> + Send + Sync>;

/// What the handlers use.
#[derive(Clone)]
pub struct Handles {
    /// What is held.
    pub store: Store,
    /// All long work.
    pub jobs: Jobs,
    /// See [`SettingsView`].
    pub settings: SettingsView,
    /// The metrics of all rooms.
    pub registry: Arc<Registry>,
    /// What the node knows of itself.
    pub node: Arc<NodeFacts>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// See [`Turns`].
    pub turns: Turns,
    /// The certificate of the content face; `None` where nothing listens for HTTPS.
    pub tls: Option<Arc<Tls>>,
    /// See [`Bandwidth`].
    pub bandwidth: Bandwidth,
    /// What endpoints reported.
    pub reported: compliance::Reported,
    /// The way to change what of the catalog is wanted; without a node there is none.
    pub filters: Option<Changing>,
    /// The ways to change and to test what stands above; without a node there are none.
    pub above: Option<Above>,
    /// The endpoints.
    pub endpoints: Roster,
    /// The nodes above and below; without a node there are none.
    pub chain: Option<Chain>,
    /// Who may come in.
    pub door: Door,
}

/// Turns at questions that are dear, one asker at a time, whichever way they came in. Clones share them.
#[derive(Clone, Debug)]
pub struct Turns {
    /// Reading a stretch of the index: the store has two threads for look-ups, and the data plane needs one of them.
    pub listing: Arc<Semaphore>,
    /// The path tests: each asks every origin several times, over the link that the site works over.
    pub doctor: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { listing: Arc::new(Semaphore::new(1)), doctor: Arc::new(Semaphore::new(1)) }
    }
}

impl fmt::Debug for Handles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handles").field("node", &self.node).finish_non_exhaustive()
    }
}

/// What the node knows of itself.
#[derive(Debug)]
pub struct NodeFacts {
    /// The program's version.
    pub version: &'static str,
    /// The store's id.
    pub id: String,
    /// The store's epoch.
    pub epoch: u64,
    /// The data directory.
    pub data: PathBuf,
    /// When the process began.
    pub started_at: Timestamp,
    /// Where it listens, as bound.
    pub listening: Vec<view::Listening>,
    /// Set when the drain begins: from then on the node is not ready.
    pub draining: AtomicBool,
}

impl NodeFacts {
    /// Says that the drain has begun, so that balancers look elsewhere.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// What a way in grants by itself, and then what a handler may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing before somebody signs in: the listener. A handler shows no secret part of an address.
    ReadOnly,
    /// Everything: the socket. A handler shows all that it knows.
    Full,
}

impl Access {
    /// A name as whoever comes in this way may see it: who can only look gets no signed query.
    pub fn name(self, name: &Name) -> String {
        match self {
            Self::ReadOnly => name.shown(),
            Self::Full => name.to_string(),
        }
    }
}

/// Who asks, for the records of jobs and pins. Put into the request's extensions by whoever accepted the connection.
#[derive(Clone, Debug)]
pub struct Caller(pub String);
