//! Why a run ends before it is done.

use crate::model::update::Identity;
use crate::store;
use crate::upstream::{Blame, wsus};

/// What ends a run. What was committed before it stays, and the next run goes on behind it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody stopped it.
    #[error("stopped; what was committed stays, and the next run goes on from there")]
    Stopped,
    /// Another run is under way.
    #[error("a run is under way already; stop it first, or wait for its end")]
    Running,
    /// The upstream, or the way to it.
    #[error(transparent)]
    Upstream(#[from] wsus::Error),
    /// The parent, or the way to it.
    #[error("the parent's feed cannot be taken: {why}; `waystation nodes show` has how it stands")]
    Parent {
        /// What is in the way.
        why: String,
    },
    /// The upstream forgets who it is again and again.
    #[error(
        "the upstream says again and again that it is another one than before ({why}); several servers behind one name look like this"
    )]
    Unsteady {
        /// What it said last.
        why: String,
    },
    /// Asked for these the upstream gives nothing, run after run.
    #[error("{left} revisions are wanted and do not come: the upstream left them out of {rounds} answers in a row")]
    Stuck {
        /// How many are left.
        left: u64,
        /// How often they were asked for.
        rounds: u32,
    },
    /// The lane of definition updates adds to a catalog, and there is none of this upstream yet.
    #[error(
        "there is no catalog of this upstream yet that definition updates could be added to: `waystation sync start` brings it first"
    )]
    Early,
    /// A comparison with Microsoft's catalog proves nothing, or there is nothing to compare.
    #[error("{0}")]
    NoComparison(String),
    /// Most of what was compared differs in its text alone: it is the comparison that is wrong.
    #[error(
        "of {all} documents {text} differ from those of {host} in their text alone, and in no file, digest, member, supersedence or \
         rule: that is another rendering of the same catalog, such as a mirror that writes documents anew, and nothing is refused for \
         it{}; what comparisons have refused, `waystation sync retry --compared` takes back; leave [sync] microsoft at Microsoft's own address, or name a mirror that passes documents on as they are",
        also(*more)
    )]
    Rendering {
        /// Who was compared with.
        host: String,
        /// How many differ in their text alone.
        text: u64,
        /// How many in more, and are refused.
        more: u64,
        /// Of how many.
        all: u64,
    },
    /// Too much of what comes cannot be used: that is no matter of single updates.
    #[error(
        "{bad} of {asked} revisions cannot be used, the last one {last} ({why}): a proxy or filter on the way, or the upstream itself, spoils what it sends; what was good stays, and the next run asks for the rest again"
    )]
    Spoilt {
        /// How many cannot be used.
        bad: u64,
        /// Of how many.
        asked: u64,
        /// One of them.
        last: Identity,
        /// What is wrong with it.
        why: String,
    },
    /// The filters find nothing: what the upstream would answer to them is nothing, or everything.
    #[error("the filters cannot be used: {why}; `waystation filters list --available` shows what there is")]
    Filters {
        /// What is wrong with them.
        why: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// It could not be written that it begins, so that the history does not have it.
    #[error("the run could not begin, and is not in the history: {0}")]
    NotBegun(Box<Error>),
    /// A fault of the program.
    #[error("{0}")]
    Broken(String),
}

/// What was refused all the same.
fn also(more: u64) -> String {
    if more == 0 { String::new() } else { format!(" ({more} differ in more than their text, and are refused)") }
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Whoever asked, or stopped it.
    Caller,
    /// The upstream, or the way to it.
    Upstream,
    /// The store, or the disk below it.
    Disk,
    /// The program or its configuration.
    Us,
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Stopped | Self::Running | Self::Early | Self::NoComparison(_) => Fault::Caller,
            Self::Upstream(error) if error.fault() == Blame::Us => Fault::Us,
            Self::Upstream(_)
            | Self::Parent { .. }
            | Self::Unsteady { .. }
            | Self::Stuck { .. }
            | Self::Spoilt { .. } => Fault::Upstream,
            Self::Store(_) => Fault::Disk,
            Self::NotBegun(error) => error.fault(),
            Self::Broken(_) | Self::Filters { .. } | Self::Rendering { .. } => Fault::Us,
        }
    }

    /// Whether the same run, begun again later, can go well.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Stopped
            | Self::Running
            | Self::Parent { .. }
            | Self::Stuck { .. }
            | Self::Unsteady { .. }
            | Self::Spoilt { .. } => true,
            Self::Upstream(error) => error.is_retryable(),
            Self::NotBegun(error) => error.is_retryable(),
            Self::Store(error) => matches!(error, store::Error::Busy { .. } | store::Error::Full { .. }),
            // Until a whole run has ended it goes as it went.
            Self::Early | Self::Filters { .. } | Self::NoComparison(_) | Self::Rendering { .. } | Self::Broken(_) => {
                false
            }
        }
    }
}
