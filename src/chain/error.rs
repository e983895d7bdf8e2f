//! What can go wrong in the chain: one enum for the room. What a child saw and did not believe is an
//! [`Alarm`](crate::chain::alarm::Alarm), not an error.

use crate::store;
use crate::wire;

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The node at the other end.
    Peer,
    /// This node, or who runs it.
    Us,
}

/// Why something cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bytes that are no message.
    #[error("the peer's message cannot be used: {0}")]
    Wire(#[from] wire::error::Error),
    /// A frame that has no place where it came.
    #[error("the peer's answer is out of order: {0}")]
    Order(String),
    /// A key that is none.
    #[error("the {what} cannot be used: it is no key of its kind")]
    Key {
        /// Which key.
        what: &'static str,
    },
    /// The root key is another one than the chain's.
    #[error("this root key is not that of the chain; it makes the chain {made}")]
    OtherRoot {
        /// The chain that it makes.
        made: String,
    },
    /// This authority signed more than its store knows of.
    #[error(
        "a node below shows what this one signed at {signed}, and the store here knows nothing of it: it was restored, or its disk was \
         rolled back. Nothing more is signed until `waystation nodes epoch --rootkey FILE` begins a new epoch"
    )]
    RolledBack {
        /// Up to where it signed.
        signed: String,
    },
    /// A secret that cannot be opened.
    #[error(
        "a sealed setting cannot be opened: it was sealed for another node, another setting or another chain, or was changed"
    )]
    Sealed,
    /// No random numbers, or no cipher.
    #[error("sealing failed: {0}")]
    Seal(String),
    /// What this node kept of the chain cannot be read.
    #[error("what this node kept of the chain cannot be read ({0}); join again, the catalog stays")]
    Kept(String),
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A key file of this node.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A certificate or a request for one.
    #[error("a certificate between nodes cannot be made or read: {0}")]
    Certificate(String),
    /// A node above or below cannot be asked.
    #[error(transparent)]
    Upstream(#[from] crate::upstream::Error),
    /// What is asked for cannot be done as this node stands.
    #[error("{0}")]
    Refused(String),
    /// A task that reads documents broke off.
    #[error("{0}")]
    Broken(String),
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Wire(_) | Self::Order(_) | Self::Sealed | Self::Upstream(_) => Fault::Peer,
            Self::File { .. }
            | Self::Certificate(_)
            | Self::Refused(_)
            | Self::Key { .. }
            | Self::OtherRoot { .. }
            | Self::RolledBack { .. }
            | Self::Seal(_)
            | Self::Kept(_)
            | Self::Store(_)
            | Self::Broken(_) => Fault::Us,
        }
    }

    /// Whether asking again can help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Wire(error) => error.is_retryable(),
            Self::Seal(_) | Self::Upstream(_) => true,
            _ => false,
        }
    }
}
