//! What can go wrong in the store, whose fault it is, and what to do next.

use std::io;
use std::path::{Path, PathBuf};

use crate::base::digest::{Digest, Digests};

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Whoever gave the bytes: they are not what was published.
    Source,
    /// The disk, or the space on it.
    Disk,
    /// How the node was set up or started.
    Operator,
    /// This program, or the moment (shutting down).
    Us,
}

/// Everything that the store reports.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No room: on the disk, under `max_size`, or in a quota. Nothing that is held was lost.
    #[error("full: {what}")]
    Full {
        /// What is full, with the numbers, and what would make room.
        what: String,
    },
    /// The bytes are not what was published for them.
    #[error("the bytes do not match {published}: they are {}", .computed.like(.published))]
    Mismatch {
        /// The digest that was published.
        published: Digest,
        /// What the bytes are.
        computed: Digests,
    },
    /// The disk said no to a file of the store.
    #[error("io: {0}")]
    Io(#[from] io::Error),
    /// The index cannot be written (held payloads are still served), or the store is closing.
    #[error("the store takes nothing new: {why}")]
    Unavailable {
        /// Why, and what to do.
        why: String,
    },
    /// What was asked about is not there any more: removed, published, or never held.
    #[error("gone")]
    Gone,
    /// More is asked of the index at once than it can take; a moment later it can.
    #[error("the index has {queued} changes waiting, try again in a moment")]
    Busy {
        /// Changes that wait.
        queued: usize,
    },
    /// Another process works on the data directory.
    #[error(
        "{path}: another waystation process uses this data directory; ask it with `waystation status --data {}`, or stop it \
         first",
        .path.parent().unwrap_or(.path).display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The data directory belongs to another user.
    #[error("{path} belongs to user {owner}, but this process runs as user {user}; run it as user {owner}")]
    Owner {
        /// The data directory.
        path: PathBuf,
        /// The uid that owns it.
        owner: u32,
        /// The uid of this process.
        user: u32,
    },
    /// The index is missing, damaged, or of another store.
    #[error(
        "{path}: {why}; payloads are untouched: bring the index back with `waystation restore FILE`, or make a new one from the proofs with `waystation store rebuild`"
    )]
    Index {
        /// The index file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// What was asked for makes no sense here.
    #[error("{what}")]
    Invalid {
        /// What, with the value in it, and what would be right.
        what: String,
    },
    /// One row of the index cannot be read; the others can.
    #[error(
        "the index: {what}; what it stood for is fetched again once `waystation store rebuild --force` made a new index"
    )]
    Row {
        /// Which table, and what is wrong with the row.
        what: String,
    },
    /// redb reported an error inside a transaction; the index turns it into [`Error::Unavailable`] or [`Error::Full`].
    #[error("index: {0}")]
    Redb(Box<redb::Error>),
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Mismatch { .. } => Fault::Source,
            Self::Full { .. } | Self::Io(_) | Self::Index { .. } | Self::Row { .. } | Self::Redb(_) => Fault::Disk,
            Self::Unavailable { .. } | Self::Locked { .. } | Self::Owner { .. } | Self::Invalid { .. } => {
                Fault::Operator
            }
            Self::Gone | Self::Busy { .. } => Fault::Us,
        }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Full { .. } | Self::Busy { .. } | Self::Locked { .. } => true,
            Self::Io(error) => matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::TimedOut),
            _ => false,
        }
    }

    /// An error of the disk at `path`: no space is [`Error::Full`], the rest keeps its kind and gains the path.
    pub(crate) fn at(path: &Path, error: &io::Error) -> Self {
        if is_full(error) {
            return Self::Full { what: format!("no space left on the file system of {}", path.display()) };
        }
        Self::Io(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    /// The same words for another waiter of the same batch.
    pub(crate) fn echo(&self) -> Self {
        match self {
            Self::Full { what } => Self::Full { what: what.clone() },
            Self::Unavailable { why } => Self::Unavailable { why: why.clone() },
            Self::Busy { queued } => Self::Busy { queued: *queued },
            Self::Row { what } => Self::Row { what: what.clone() },
            other => Self::Unavailable { why: other.to_string() },
        }
    }
}

/// Whether the disk, or this user's share of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether the file system, or the rights on it, allow no writing.
pub(crate) fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

macro_rules! from_redb {
    ($($kind:ty),*) => {
        $(impl From<$kind> for Error {
            fn from(error: $kind) -> Self {
                Self::Redb(Box::new(error.into()))
            }
        })*
    };
}

from_redb!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError,
    redb::CursorError
);
