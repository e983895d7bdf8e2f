//! What goes up and down between a node and those below it, beside the feed: reports up, settings and orders for one node down.
//!
//! 1. A node gathers what it is and what its endpoints told ([`own`]), and keeps that like what nodes below it tell.
//! 2. What its parent does not know yet is sent there, again and again ([`tell`]); the parent takes it ([`take`]).
//! 3. People look at the nodes that were told of, and how they stand ([`seen`]).
//! 4. At the top a person wishes settings and gives orders ([`wish`]): records for one node, sealed where they are secret. That node does what
//!    they say and tells what came of it ([`obey`]).
//!
//! What the node itself is and can do is asked of the floors above ([`host`]).

pub mod host;
mod obey;
mod own;
pub mod seen;
mod take;
mod tell;
pub mod wish;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::chain::below::host::Host;
use crate::chain::node::Chain;

pub use crate::chain::below::take::Reported;

/// How often a node reports, unless its parent would like it less often.
pub const EVERY: Duration = Duration::from_mins(1);

/// What this room keeps in memory of a node.
#[derive(Default)]
pub(super) struct Room {
    /// Whoever runs the node holds it: it knows the chain itself.
    host: OnceLock<Weak<dyn Host>>,

    /// Held while a report is taken: the store writes them one behind the other anyway, and each is some megabytes in memory.
    taking: tokio::sync::Mutex<()>,
    /// Held while wishes are changed.
    wishing: tokio::sync::Mutex<()>,
    /// Held while something is done that was ordered.
    obeying: tokio::sync::Mutex<()>,
    /// Rows that were refused since the start.
    refused: AtomicU64,
    /// Something is to be told before its time.
    wake: Notify,
}

impl Chain {
    /// The node that this is in, as long as it runs.
    pub fn host(&self) -> Option<Arc<dyn Host>> {
        self.shared.below.host.get()?.upgrade()
    }
}
