//! What a child saw and did not believe, and how it stands.

use std::time::Duration;

use crate::base::time::Timestamp;
use crate::model::chain::hash::{ChainId, Link};
use crate::model::chain::ids::Position;

/// What was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// A feed key, by the root key.
    Vouch,
    /// The feed up to somewhere.
    Checkpoint,
    /// How new that is.
    Timestamp,
}

impl Signed {
    const fn word(self) -> &'static str {
        match self {
            Self::Vouch => "vouch",
            Self::Checkpoint => "checkpoint",
            Self::Timestamp => "timestamp",
        }
    }
}

/// Something that a parent showed, and that was not applied. `docs/CHAINING.md` says what each means and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// Another root key than the pinned one.
    #[error(
        "the feed is signed under the root key of another chain ({offered}): a node above signs for itself, or the chain was made anew"
    )]
    WrongRoot {
        /// The chain that it makes.
        offered: ChainId,
    },
    /// A signature that does not hold.
    #[error("the signature of a {} does not hold: it was changed on its way", .0.word())]
    Signature(Signed),
    /// Entries that are not what was signed.
    #[error("what came up to {at} is not what the authority signed: it was changed, left out or put in on its way")]
    Tampered {
        /// Up to where it came.
        at: Position,
    },
    /// More than is held without a checkpoint.
    #[error("the parent sent {max} entries without a checkpoint that covers them, which no authority does")]
    Uncovered {
        /// How many are held.
        max: usize,
    },
    /// Content that is for this node does not come.
    #[error(
        "{count} records that are for this node came as their hash alone, and the parent does not give their content"
    )]
    Stripped {
        /// How many.
        count: u64,
    },
    /// A place below one that is known.
    #[error(
        "the parent stands at {offered}, below {known} that is known here: it is behind, replays, or the authority was restored without a new epoch"
    )]
    RolledBack {
        /// What was offered.
        offered: Position,
        /// What is known.
        known: Position,
    },
    /// A vouch below one that is known.
    #[error(
        "the parent shows vouch {offered} of epoch {epoch}, below {known} of epoch {known_epoch} that is known here"
    )]
    OldVouch {
        /// Its epoch.
        epoch: u64,
        /// Its serial.
        offered: u32,
        /// The epoch that is known.
        known_epoch: u64,
        /// The serial that is known.
        known: u32,
    },
    /// Two signed things of one place.
    #[error(
        "at {at} two histories are signed ({known} here, {offered} there): two authorities use one key, or it was stolen"
    )]
    Forked {
        /// Where.
        at: Position,
        /// What is known.
        known: Link,
        /// What was offered.
        offered: Link,
    },
    /// Two feed keys under one number.
    #[error(
        "two feed keys are vouched for under serial {serial} of epoch {epoch}: two copies of the root key are in use"
    )]
    TwoKeys {
        /// Of which epoch.
        epoch: u64,
        /// Under which number.
        serial: u32,
    },
    /// The parent says that it has another history at the cursor.
    #[error(
        "the parent says that its feed differs from what is held here at {at}; nothing proves which of the two is right"
    )]
    SaidForked {
        /// Where.
        at: Position,
    },
    /// What is held here is not what was applied.
    #[error(
        "at {at} the feed is right and what is held here is not: this node's own store is damaged; a snapshot is taken"
    )]
    Diverged {
        /// Where.
        at: Position,
    },
    /// This node stands above its parent.
    #[error("this node stands in the path of its own parent: the nodes are below each other in a circle")]
    Loop,
    /// Too many nodes one below the other.
    #[error("{hops} nodes stand above this one, and {max} may")]
    TooDeep {
        /// How many.
        hops: usize,
        /// How many may.
        max: usize,
    },
    /// The path does not end with who answers.
    #[error("the path of the answer does not end with the node that gives it")]
    Path,
    /// A timestamp of the future.
    #[error("a timestamp is {} h ahead of this node's clock: one of the two clocks is wrong", .by.as_secs() / 3600)]
    Clock {
        /// By how much.
        by: Duration,
    },
    /// The root key must vouch again.
    #[error("the vouch for the feed key ended at {until}: the authority's root key must vouch again")]
    VouchEnded {
        /// When.
        until: Timestamp,
    },
}

impl Alarm {
    /// The word for machines and people.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::WrongRoot { .. } => "wrong-root",
            Self::Signature(_) => "bad-signature",
            Self::Tampered { .. } | Self::Uncovered { .. } => "tampered",
            Self::Stripped { .. } => "stripped",
            Self::RolledBack { .. } | Self::OldVouch { .. } => "rolled-back",
            Self::Forked { .. } | Self::TwoKeys { .. } | Self::SaidForked { .. } => "forked",
            Self::Diverged { .. } => "diverged",
            Self::Loop => "loop",
            Self::TooDeep { .. } => "too-deep",
            Self::Path => "path",
            Self::Clock { .. } => "clock",
            Self::VouchEnded { .. } => "vouch-ended",
        }
    }
}

/// How a child stands to the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing has been applied yet.
    Empty,
    /// What is applied is current, as of then.
    Current {
        /// When the authority said so.
        as_of: Timestamp,
    },
    /// Nothing proves any more that what is applied is current.
    Frozen {
        /// When it last was.
        since: Timestamp,
    },
}
