//! What nodes below tell of themselves and of their endpoints, and what this node tells of its own: one table of items, each with the number
//! of its last change.
//!
//! What it promises:
//! - A node that reports speaks for itself and those below it; what it says of another's is refused and counted.
//! - What is counted (by node, by update, in all) is kept up in the transaction that changes it.
//! - What was taken is durable before it is acknowledged; a report that comes twice changes nothing.
//! - Nodes, endpoints, updates and states of one endpoint have limits; what is beyond them is refused and counted.
//!
//! How it goes, each step in the file named:
//! 1. A report goes on where the last one ended, or begins anew; else all is asked for (`take`).
//! 2. Its rows are written in steps, each with its counts and a new number (`write`). Rows that say what is known get none.
//! 3. Behind the end of a whole telling goes what it left out (`take`).
//! 4. What has a number behind the one that the parent acknowledged is read for the next report; people look at the same rows (`look`).
//!
//! Tables are in `tables`. They are in no backup: nodes below tell all of it again.

mod look;
pub(crate) mod tables;
mod take;
mod write;

use std::sync::Arc;

use crate::base::time::Timestamp;
use crate::model::chain::below::{About, Report, Told};
use crate::model::chain::ids::NodeId;
use crate::model::deployment::Endpoint;
use crate::model::update::UpdateId;
use crate::store::core::Core;
use crate::store::error::Error;

pub use crate::store::below::look::{Node, Piece};
pub use crate::store::below::tables::Tally;

/// Nodes that are kept: five times what a parent is made for.
pub const NODES_MAX: u32 = 2_500;
/// Endpoints of all nodes together: two and a half times what a parent is made for; some 400 MB.
pub const ENDPOINTS_MAX: u32 = 250_000;
/// Updates that get a number: twice a whole catalog.
pub const UPDATES_MAX: u32 = 200_000;
/// Rows of a page.
pub const PAGE_MAX: usize = 1_000;

/// A report, and what it is held against.
#[derive(Clone, Debug)]
pub struct Taking {
    /// This node.
    pub me: NodeId,
    /// Who reports; this node itself for what is its own.
    pub child: NodeId,
    /// What it says.
    pub report: Report,
    /// When it came.
    pub now: Timestamp,
    /// A node of which somebody else told since then is not this one's.
    pub stale: Timestamp,
    /// Whether what goes is told to a parent.
    pub keep_gone: bool,
}

/// What came of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It does not go on where the last one ended.
    Elsewhere {
        /// Where that was; `None`: in another numbering, or never.
        to: Option<u64>,
    },
    /// It is kept.
    Kept {
        /// Rows that were about others' nodes, or beyond a limit.
        refused: u64,
        /// Whether anything changed.
        changed: bool,
    },
}

/// What is kept of nodes below in a store; clones share it.
#[derive(Clone, Debug)]
pub struct Below {
    core: Arc<Core>,
}

impl Below {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn look<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Arc<Core>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let core = Arc::clone(&self.core);
        self.core.reads.run(move || job(&core)).await?
    }

    async fn step<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Arc<Core>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.core.writable()?;
        let core = Arc::clone(&self.core);
        self.core.syncing.run(move || job(&core)).await?
    }

    /// Takes a report. One at a time: two of one node would not know of each other.
    pub async fn take(&self, taking: Taking) -> Result<Taken, Error> {
        self.step(move |core| core.below_take(taking)).await
    }

    /// Forgets a node with all below it; says how many nodes that were.
    pub async fn remove(&self, node: NodeId, keep_gone: bool) -> Result<u64, Error> {
        self.step(move |core| core.below_remove(*node.bytes(), keep_gone)).await
    }

    /// The parent knows all up to this number: what is gone need not be told any more.
    pub async fn acknowledged(&self, to: u64) -> Result<(), Error> {
        self.step(move |core| core.below_acknowledged(to)).await
    }

    /// What changed behind a number, for a report of `me`: about so many bytes. The first time makes the numbering.
    pub async fn behind(&self, me: NodeId, from: u64, bytes: usize) -> Result<Piece, Error> {
        if self.look(|core| core.below_epoch()).await?.is_none() {
            self.step(|core| core.below_begin()).await?;
        }
        self.look(move |core| core.below_behind(me, from, bytes)).await
    }

    /// All nodes that were told of, this one among them.
    pub async fn nodes(&self) -> Result<Vec<Node>, Error> {
        self.look(|core| core.below_nodes()).await
    }

    /// One of them, with its settings and answers (JSON of [`HeldSaid`](crate::model::chain::below::HeldSaid)).
    pub async fn node(&self, node: NodeId) -> Result<Option<(Node, Vec<u8>)>, Error> {
        self.look(move |core| core.below_node(node)).await
    }

    /// The nodes that this one reports of, itself left out.
    pub async fn via(&self, child: NodeId) -> Result<Vec<NodeId>, Error> {
        self.look(move |core| core.below_via(child)).await
    }

    /// All nodes that were told of but this one.
    pub async fn others(&self, me: NodeId) -> Result<Vec<NodeId>, Error> {
        self.look(move |core| core.below_others(me)).await
    }

    /// What the endpoints of all nodes come to.
    pub async fn tally(&self) -> Result<Tally, Error> {
        self.look(|core| core.below_tally()).await
    }

    /// On how many endpoints of a node, or of all, each update is in which state, by the protocol's number of the state.
    pub async fn counts(&self, node: Option<NodeId>) -> Result<Vec<(UpdateId, [u32; 7])>, Error> {
        self.look(move |core| core.below_counts(node)).await
    }

    /// Endpoints of a node, in the order of their ids, those behind `after`; at most [`PAGE_MAX`].
    pub async fn endpoints(
        &self,
        node: NodeId,
        after: Option<Endpoint>,
        limit: usize,
    ) -> Result<Vec<(Endpoint, Told)>, Error> {
        self.look(move |core| core.below_endpoints(node, after, limit.min(PAGE_MAX))).await
    }

    /// Counts everything anew, and tells what is kept up and differs, in words: nothing where all is well. Reads all.
    pub async fn check(&self) -> Result<Vec<String>, Error> {
        let core = Arc::clone(&self.core);
        self.core.long.run(move || core.below_check()).await?
    }

    /// What this node says of a node that it knows; says whether that is new.
    pub async fn note(&self, node: NodeId, about: About, keep_gone: bool) -> Result<bool, Error> {
        self.step(move |core| core.below_note(*node.bytes(), about, keep_gone)).await
    }
}
