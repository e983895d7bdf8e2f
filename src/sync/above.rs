//! A node that follows a parent: what stands above it, as runs of the catalog ask it. Who the parent is, and how its feed is verified, is the
//! chain's matter; a run has told to the catalog what came.

use std::pin::Pin;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::model::report::Finding;
use crate::store;
use crate::store::catalog::Applied;

/// Something that is awaited.
pub type Awaited<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a parent's feed cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Somebody stopped it.
    #[error("stopped")]
    Stopped,
    /// The parent, or the way to it.
    #[error("{0}")]
    Parent(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What stands above.
pub trait Above: Send + Sync {
    /// Changes when something waits for a run.
    fn due(&self) -> watch::Receiver<u64>;

    /// Has the parent asked, where it is not known to have nothing newer.
    fn ask(&self) -> Awaited<'_, Result<(), Trouble>>;

    /// Tells the catalog all that came, in the run of this number, until `cancel`; `each` hears what came of each step.
    fn take_in<'a>(
        &'a self,
        run: u64,
        cancel: &'a CancellationToken,
        each: &'a mut (dyn FnMut(Applied) + Send),
    ) -> Awaited<'a, Result<(), Trouble>>;

    /// How the way to the parent is.
    fn doctor(&self) -> Awaited<'_, Vec<Finding>>;
}
