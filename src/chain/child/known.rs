//! What a child knows beside the records themselves, as it is kept: one small document, written with what it speaks of.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::chain::child::seen::Seen;
use crate::chain::child::staged::{Staged, What};
use crate::chain::child::{Child, Mark};
use crate::chain::error::Error;
use crate::model::chain::hash::{ChainId, KeyHash, Link};
use crate::model::chain::ids::{NodeId, Position};
use crate::model::chain::live::{Leaf, LiveSet};
use crate::wire::peer::signed::{Checkpoint, Stamp, Vouch};

/// What is kept of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The node.
    pub me: NodeId,
    /// The chain that it follows.
    pub chain: ChainId,
    /// The highest vouch that it has seen.
    pub vouch: Option<Vouch>,
    /// What is applied, with the vouch for the key that signed it.
    pub applied: Option<(Vouch, Checkpoint)>,
    /// The newest timestamp.
    pub stamp: Option<Stamp>,
    /// When what is applied was last known to be current, and until when that counts.
    pub current: Option<(Timestamp, Timestamp)>,
    /// Signed places that were seen.
    pub seen: Vec<(Position, Link)>,
    /// From the authority down to this node.
    pub path: Vec<NodeId>,
    /// A snapshot is needed though something of the epoch is applied.
    pub needs_snapshot: bool,
    /// What is staged.
    pub staged: Option<KnownStaged>,
}

/// What is kept of what is staged, beside its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownStaged {
    /// Behind what it stands.
    pub base: Mark,
    /// Up to where it came.
    pub head: Mark,
    /// A checkpoint at its head.
    pub covered: Option<Checkpoint>,
    /// Of a snapshot: the checkpoint at its beginning, the key up to which its pages came, whether more are to come, and whether they are
    /// asked for as hashes alone.
    pub snapshot: Option<(Checkpoint, Option<KeyHash>, bool, bool)>,
}

const VERSION: u8 = 1;

type MarkRow = (Position, Link);

#[derive(Serialize, Deserialize)]
struct Row {
    me: NodeId,
    chain: ChainId,
    vouch: Option<Vec<u8>>,
    applied: Option<(Vec<u8>, Vec<u8>)>,
    stamp: Option<Vec<u8>>,
    current: Option<(Timestamp, Timestamp)>,
    seen: Vec<MarkRow>,
    path: Vec<NodeId>,
    needs_snapshot: bool,
    staged: Option<StagedRow>,
}

#[derive(Serialize, Deserialize)]
struct StagedRow {
    base: MarkRow,
    head: MarkRow,
    covered: Option<Vec<u8>>,
    snapshot: Option<(Vec<u8>, Option<KeyHash>, bool, bool)>,
}

impl From<MarkRow> for Mark {
    fn from((position, link): MarkRow) -> Self {
        Self { position, link }
    }
}

fn checkpoint(bytes: Vec<u8>) -> Result<Checkpoint, Error> {
    Checkpoint::read(Bytes::from(bytes)).map_err(|error| Error::Kept(error.to_string()))
}

fn vouch(bytes: Vec<u8>) -> Result<Vouch, Error> {
    Vouch::read(Bytes::from(bytes)).map_err(|error| Error::Kept(error.to_string()))
}

impl Known {
    /// As it is kept: a version byte and a record.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let staged = self.staged.as_ref().map(|staged| StagedRow {
            base: (staged.base.position, staged.base.link),
            head: (staged.head.position, staged.head.link),
            covered: staged.covered.as_ref().map(Checkpoint::to_bytes),
            snapshot: staged
                .snapshot
                .as_ref()
                .map(|(checkpoint, after, is_open, bare)| (checkpoint.to_bytes(), *after, *is_open, *bare)),
        });
        let row = Row {
            me: self.me,
            chain: self.chain,
            vouch: self.vouch.as_ref().map(Vouch::to_bytes),
            applied: self.applied.as_ref().map(|(vouch, checkpoint)| (vouch.to_bytes(), checkpoint.to_bytes())),
            stamp: self.stamp.as_ref().map(Stamp::to_bytes),
            current: self.current,
            seen: self.seen.clone(),
            path: self.path.clone(),
            needs_snapshot: self.needs_snapshot,
            staged,
        };
        postcard::to_extend(&row, vec![VERSION]).map_err(|error| Error::Kept(error.to_string()))
    }

    /// What was kept.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let Some((&VERSION, rest)) = bytes.split_first() else {
            return Err(Error::Kept("it is of another version".into()));
        };
        let (row, left): (Row, _) = postcard::take_from_bytes(rest).map_err(|error| Error::Kept(error.to_string()))?;
        if !left.is_empty() {
            return Err(Error::Kept("bytes are left over".into()));
        }
        let staged = row.staged.map(|staged| -> Result<_, Error> {
            let snapshot = staged.snapshot.map(|(bytes, after, is_open, bare)| -> Result<_, Error> {
                Ok((checkpoint(bytes)?, after, is_open, bare))
            });
            Ok(KnownStaged {
                base: staged.base.into(),
                head: staged.head.into(),
                covered: staged.covered.map(checkpoint).transpose()?,
                snapshot: snapshot.transpose()?,
            })
        });
        let stamp = row.stamp.map(|bytes| Stamp::read(Bytes::from(bytes)));
        let applied = row.applied.map(|(a, b)| -> Result<_, Error> { Ok((vouch(a)?, checkpoint(b)?)) });
        Ok(Self {
            me: row.me,
            chain: row.chain,
            vouch: row.vouch.map(vouch).transpose()?,
            applied: applied.transpose()?,
            stamp: stamp.transpose().map_err(|error| Error::Kept(error.to_string()))?,
            current: row.current,
            seen: row.seen,
            path: row.path,
            needs_snapshot: row.needs_snapshot,
            staged: staged.transpose()?,
        })
    }
}

impl Child {
    /// What is to be kept.
    pub fn known(&self) -> Known {
        let staged = self.staged.as_ref().map(|staged| KnownStaged {
            base: staged.base,
            head: staged.head,
            covered: staged.covered.clone(),
            snapshot: match &staged.what {
                What::Snapshot { checkpoint, after, is_open, bare, .. } => {
                    Some((checkpoint.clone(), *after, *is_open, *bare))
                }
                What::Tail(_) => None,
            },
        });
        Known {
            me: self.me,
            chain: self.chain,
            vouch: self.vouch.clone(),
            applied: self.applied.clone(),
            stamp: self.stamp.clone(),
            current: self.current,
            seen: self.seen.iter().collect(),
            path: self.path.clone(),
            needs_snapshot: self.needs_snapshot,
            staged,
        }
    }

    /// The node again, from what was kept: what is live, and what is staged, under each key what was staged last. Groups of nodes are to be
    /// set anew.
    pub fn open(known: Known, live: LiveSet, staged: impl IntoIterator<Item = (KeyHash, Option<Leaf>)>) -> Self {
        let mut child = Self::new(known.me, known.chain);
        child.vouch = known.vouch;
        child.applied = known.applied;
        child.stamp = known.stamp;
        child.current = known.current;
        child.seen = Seen::of(known.seen);
        child.path = known.path;
        child.needs_snapshot = known.needs_snapshot;
        child.live = live;
        child.staged = known.staged.map(|kept| {
            let mut opened = match kept.snapshot {
                None => Staged::tail(kept.base),
                Some((checkpoint, after, is_open, bare)) => {
                    let set = LiveSet::default();
                    Staged::of(kept.base, What::Snapshot { set, checkpoint, after, is_open, bare })
                }
            };
            (opened.head, opened.covered) = (kept.head, kept.covered);
            for (key, leaf) in staged {
                opened.put(key, leaf, &child.audiences);
            }
            opened
        });
        child.count_short();
        child
    }
}
