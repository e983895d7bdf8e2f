//! Floor 3: getting the catalog. One run at a time brings what is held up to what the upstream has, and says what it did.
//!
//! What a run does ([`run`]), each step in the file named:
//! 1. It is written into the history. The catalog learns from whom everything comes from now on; limits and languages are asked.
//! 2. Categories and detectoids are listed and fetched, so that filters mean what they mean today.
//! 3. What is wanted is turned into a list of updates to ask for ([`plan`]): the filters, resolved against the tree of the
//!    catalog, of Microsoft; all that it has of a WSUS server. A list is asked as a change since the last one where that was
//!    committed to its end.
//! 4. A list goes onto the catalog's work list, and what is on that is fetched ([`fetch`]) in batches. Each document is read on a
//!    thread that may block ([`read`]) and committed with some others; what cannot be used is quarantined with the reason, and the run
//!    goes on. Members of bundles join the work list by themselves. With the last of it the anchor moves.
//! 5. Prerequisites that lie beyond the filters are found in the list of everything and fetched too, to the end ([`beyond`]).
//! 6. What a former upstream had and this one does not have goes, what was left behind is swept, the run ends in the history.
//!
//! What holds: a run that is stopped, fails or is killed keeps what it committed, and the next one goes on behind it without asking
//! for any of that again. An upstream that says it is another one has its anchors forgotten and is listed anew. Nothing is deleted
//! before a run has ended well.

mod beyond;
pub mod error;
mod fetch;
mod plan;
mod progress;
mod read;
mod run;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::base::time::Clock;
use crate::model::filter::Selection;
use crate::model::update::Identity;
use crate::store::Store;
use crate::store::catalog::{Counts, Outcome, Run, Standing, Upstream, UpstreamKind};
use crate::sync::error::Error;
use crate::sync::progress::Board;
use crate::upstream::wsus::Wsus;

pub use crate::sync::progress::{Progress, Step};

/// What of Microsoft's catalog is wanted, as it is set when a run asks.
pub type Chosen = Arc<dyn Fn() -> Selection + Send + Sync>;

/// Runs, one at a time. Clones share them.
#[derive(Clone, Debug)]
pub struct Runner {
    shared: Arc<Shared>,
}

struct Shared {
    upstream: Upstream,
    store: Store,
    wsus: Wsus,
    chosen: Chosen,
    clock: Arc<dyn Clock>,
    turn: tokio::sync::Mutex<()>,
    /// Of the run that is under way, or else of the last one.
    board: Mutex<Option<Arc<Board>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Option<Arc<Board>>> {
        // One assignment at a time, so that a panic elsewhere has broken nothing.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says on the board that the run is over, however it ended.
struct Seen(Arc<Board>);

impl Drop for Seen {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Runner {
    /// For an upstream of this kind at this address, which `wsus` speaks with. `chosen` counts for Microsoft's alone.
    pub fn new(
        kind: UpstreamKind,
        address: &str,
        wsus: Wsus,
        store: Store,
        chosen: Chosen,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let upstream = Upstream { kind, address: address.to_owned(), unauthenticated: !wsus.is_authenticated() };
        let (turn, board) = (tokio::sync::Mutex::new(()), Mutex::new(None));
        Self { shared: Arc::new(Shared { upstream, store, wsus, chosen, clock, turn, board }) }
    }

    /// From whom.
    pub fn upstream(&self) -> &Upstream {
        &self.shared.upstream
    }

    /// One run, to its end or until `cancel`. It says what it did; the history says the same.
    ///
    /// # Errors
    /// Why it could not go on. What was committed stays.
    pub async fn run(&self, cancel: &CancellationToken) -> Result<Counts, Error> {
        let shared = &*self.shared;
        let _turn = shared.turn.try_lock().map_err(|_| Error::Running)?;
        let catalog = shared.store.catalog();
        // First: what a run left that died of a full disk must not keep this one from beginning.
        catalog.sweep().await?;
        let id = catalog.start_run(in_words(&shared.upstream)).await?;
        let board = Arc::new(Board::new(id, shared.clock.now()));
        *shared.board() = Some(Arc::clone(&board));
        let _seen = Seen(Arc::clone(&board));
        let ended = run::Work::new(shared, Arc::clone(&board), cancel.clone()).finish().await;
        let (outcome, reason) = match &ended {
            Ok(()) => (Outcome::Successful, board.notes()),
            Err(Error::Stopped) => (Outcome::Stopped, Error::Stopped.to_string()),
            Err(error) => (Outcome::Failed, error.to_string()),
        };
        if ended.is_err()
            && let Err(error) = catalog.sweep().await
        {
            tracing::warn!(%error, "what a run left behind stays until the next one");
        }
        let written = catalog.end_run(id, outcome, reason).await;
        ended?;
        written?;
        Ok(board.counts())
    }

    /// The run that is under way.
    pub fn progress(&self) -> Option<Progress> {
        self.shared.board().as_ref().and_then(|board| board.look())
    }

    /// What the run that is under way, or else the last one, has refused, behind the first `from`; the first thousand are told.
    pub fn refused(&self, from: usize) -> Vec<(Identity, String)> {
        self.shared.board().as_ref().map(|board| board.refused(from)).unwrap_or_default()
    }

    /// The newest runs first, those before `before`.
    pub async fn history(&self, before: Option<u64>, limit: usize) -> Result<Vec<Run>, Error> {
        Ok(self.shared.store.catalog().runs(before, limit).await?)
    }

    /// How the catalog stands.
    pub async fn standing(&self) -> Result<Standing, Error> {
        Ok(self.shared.store.catalog().standing().await?)
    }
}

/// From whom, for the history.
fn in_words(upstream: &Upstream) -> String {
    let kind = match upstream.kind {
        UpstreamKind::Microsoft => "Microsoft",
        UpstreamKind::Wsus => "WSUS",
        UpstreamKind::Parent => "parent",
    };
    format!("{kind} at {}", upstream.address)
}
