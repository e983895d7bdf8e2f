//! What can go wrong with a job or a question, whose fault it is, and what to do next.

use std::sync::Arc;

use crate::{store, sync};

/// Whose fault an error is; `admin` makes a status of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What was asked for cannot be.
    Caller,
    /// What was asked for is not there.
    Absent,
    /// It can be asked for again later, as it is.
    Busy,
    /// An origin, or the way to it.
    Upstream,
    /// The store or the disk below it.
    Disk,
    /// The program.
    Us,
}

/// Why a job could not be started or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such job, or one that is long forgotten.
    #[error("there is no job {id}: the last hundred are kept, and none over a restart of the node")]
    Unknown {
        /// The number asked for.
        id: u64,
    },
    /// Too many jobs run.
    #[error(
        "{running} jobs are running, which is the most: wait for one to end, or stop one with `waystation jobs stop`"
    )]
    Full {
        /// How many run.
        running: usize,
    },
    /// One of this kind runs, and two would fight for the disk.
    #[error("job {id} ({kind}) is running already: wait for it, or stop it with `waystation jobs stop {id}`")]
    Busy {
        /// The one that runs.
        id: u64,
        /// Its kind.
        kind: &'static str,
    },
    /// What was asked for can never work.
    #[error("{0}")]
    Input(String),
    /// What was asked for is of no use as the settings are.
    #[error("{what}")]
    Unset {
        /// Why.
        what: &'static str,
        /// Which setting makes it so.
        next: &'static str,
    },
    /// An address that no rule maps to an object.
    #[error("{address}: {why}")]
    Refused {
        /// What was given, cut to 200 characters.
        address: String,
        /// What the mapping said.
        why: String,
    },
    /// Not held under this name.
    #[error("nothing is held as {0}")]
    Absent(String),
    /// No digest of the operator's is bound to this address.
    #[error("no digest is bound to {0}")]
    Unbound(String),
    /// No origin can be asked, since no node runs.
    #[error("this needs a running node, with its rules and its way to the origins: start one with `waystation serve`")]
    NeedsNode,
    /// This node does not synchronise a catalog.
    #[error(
        "this node synchronises no catalog: [upstream] kind is \"parent\", and it has joined none; `waystation join`, or set [upstream] kind to \"microsoft\" or \"wsus\""
    )]
    NoCatalog,
    /// A run of the catalog's synchronisation did not end well.
    #[error(transparent)]
    Sync(sync::error::Error),
    /// No catalog says where a file can be had.
    #[error("the catalog names no address of {file}")]
    Nowhere {
        /// Its name.
        file: String,
    },
    /// What is wanted is more than the store may hold.
    #[error("{0}")]
    NoRoom(String),
    /// The store's fault, as a fill tells it.
    #[error(transparent)]
    Kept(Arc<store::Error>),
    /// Items of the job failed.
    #[error("{}", if *total == 1 { "it failed".to_owned() } else { format!("{failed} of {total} failed") })]
    Items {
        /// How many failed.
        failed: u64,
        /// How many there were.
        total: u64,
    },
    /// The same, with what is to be said of it.
    #[error("{0}")]
    Undone(String),
    /// It was stopped on the way.
    #[error("stopped")]
    Stopped,
    /// An origin's fault, or the way to it.
    #[error("{0}")]
    Upstream(String),
    /// The store's fault.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The disk outside of the store.
    #[error("{path}: {source}")]
    Disk {
        /// The file or directory.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The node is shutting down.
    #[error("the node is shutting down: ask again when it is back")]
    Closing,
    /// A fault of the program.
    #[error("{0}")]
    Broken(String),
}

impl From<sync::error::Error> for Error {
    fn from(error: sync::error::Error) -> Self {
        match error {
            sync::error::Error::Stopped => Self::Stopped,
            sync::error::Error::Store(error) => Self::Store(error),
            other => Self::Sync(other),
        }
    }
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Unknown { .. } | Self::Absent(_) | Self::Unbound(_) => Fault::Absent,
            Self::Full { .. } | Self::Busy { .. } | Self::Closing | Self::Stopped => Fault::Busy,
            Self::Input(_)
            | Self::Unset { .. }
            | Self::Refused { .. }
            | Self::NeedsNode
            | Self::NoCatalog
            | Self::Sync(sync::error::Error::NoComparison(_)) => Fault::Caller,
            Self::Items { .. } | Self::Undone(_) | Self::Upstream(_) | Self::Nowhere { .. } => Fault::Upstream,
            Self::Store(_) | Self::Disk { .. } | Self::NoRoom(_) | Self::Kept(_) => Fault::Disk,
            Self::Sync(error) => match error.fault() {
                sync::error::Fault::Caller => Fault::Busy,
                sync::error::Fault::Upstream => Fault::Upstream,
                sync::error::Fault::Disk => Fault::Disk,
                sync::error::Fault::Us => Fault::Us,
            },
            Self::Broken(_) => Fault::Us,
        }
    }

    /// What to do next, where that follows from more than whose fault it is.
    pub fn next(&self) -> Option<String> {
        Some(match self {
            Self::Unset { next, .. } => (*next).to_owned(),
            Self::Busy { id, .. } => format!("`waystation jobs show {id} --follow` shows how it goes, to its end"),
            Self::Sync(sync::error::Error::Running) => "`waystation sync status` shows how far it is".to_owned(),
            Self::Sync(sync::error::Error::NoComparison(why)) if why.contains("[sync] microsoft") => {
                "correct [sync] microsoft in the configuration, and restart the node".to_owned()
            }
            Self::Sync(sync::error::Error::NoComparison(_)) => {
                "`waystation sync status` shows from whom the catalog comes; one that comes from a WSUS over plain HTTP can be \
                 compared with Microsoft's"
                    .to_owned()
            }
            _ => return None,
        })
    }

    /// Whether the same thing asked again later can go well.
    pub fn is_retryable(&self) -> bool {
        matches!(self.fault(), Fault::Busy | Fault::Upstream | Fault::Disk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_leads_somewhere() {
        let alone = Error::Sync(sync::error::Error::NoComparison("it is Microsoft's".into()));
        assert!(alone.next().is_some_and(|next| next.contains("sync status") && !next.contains("again")));
        let plain =
            Error::Sync(sync::error::Error::NoComparison("set [sync] microsoft to an address with https".into()));
        assert!(plain.next().is_some_and(|next| next.starts_with("correct [sync] microsoft")));
        assert!(Error::Busy { id: 7, kind: "sync" }.next().is_some_and(|next| next.contains("jobs show 7 --follow")));
        assert_eq!(Error::Stopped.next(), None);
    }
}
