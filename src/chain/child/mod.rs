//! What a node believes of the feed: a machine that takes frames and the time, and says what to do.
//!
//! An answer goes through it like this:
//! 1. [`Child::ask`] says what to ask for, and [`Child::begin`] that an answer begins, and from whom.
//! 2. [`Child::take`] takes its frames one by one: the path, the vouch (`trust`), then entries, which are staged (`staged`), checkpoints, which
//!    make them visible, and timestamps (`cover`), records that were missing, and the end (`finish`).
//! 3. Each step that comes back is carried out in its order, in one transaction with [`Child::known`] where that is asked for.
//! 4. An alarm ends the answer: nothing more of it is taken, and where the answer had staged something, what is staged goes. What was
//!    applied stays.
//!
//! The node's store holds what is staged and what is live; the machine holds their hashes. [`Child::open`] takes both up again after a
//! restart, at any point between two steps.

mod cover;
mod finish;
mod known;
mod seen;
mod staged;
mod trust;

use std::collections::{BTreeMap, BTreeSet};

use crate::base::time::Timestamp;
use crate::chain::alarm::{Alarm, State};
use crate::chain::child::seen::Seen;
use crate::chain::child::staged::Staged;
use crate::chain::error::Error;
use crate::model::chain::hash::{ChainId, KeyHash, Link};
use crate::model::chain::ids::{Audience, NodeId, Position};
use crate::model::chain::live::{Leaf, LiveSet};
use crate::wire::peer::frame::Frame;
use crate::wire::peer::signed::{Checkpoint, Stamp, Vouch};

pub use crate::chain::child::known::{Known, KnownStaged};
pub use crate::chain::child::staged::STAGED_MAX;

/// Records that are asked for at a time: their hashes are one body of 64 KiB.
pub const CONTENTS_MAX: usize = 2_047;

/// A place in the feed, with what is chained up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where.
    pub position: Position,
    /// All entries of the epoch up to there.
    pub link: Link,
}

impl From<&Checkpoint> for Mark {
    fn from(checkpoint: &Checkpoint) -> Self {
        Self { position: checkpoint.position, link: checkpoint.link }
    }
}

/// What to ask a parent for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The tail behind this.
    Feed(Mark),
    /// A page of a snapshot.
    Snapshot {
        /// Of the snapshot that is under way; `None` for a new one.
        base: Option<Position>,
        /// Behind this key.
        after: Option<KeyHash>,
        /// As hashes alone, since much of it may be held.
        bare: bool,
    },
    /// Records under these keys.
    Contents(Vec<KeyHash>),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The entries of the frame are written, and not visible.
    Stage,
    /// What is staged is thrown away.
    Drop,
    /// What is staged becomes visible, in the order of the feed. Where nothing is staged all of it was held already, and the log that this
    /// node serves begins anew behind the checkpoint.
    Apply {
        /// What covers it.
        checkpoint: Checkpoint,
        /// Whether what is staged is all that is live: what is not in it goes.
        whole: bool,
    },
    /// Records of the frame under these keys are written beside what is staged, or live, under the same hashes.
    Fill(Vec<KeyHash>),
    /// [`Child::known`] says something else than before, and is written.
    Remember,
    /// Something was seen and not believed; the rest of the answer is not to be read.
    Alarm(Alarm),
}

/// An answer that is being read.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and they combine")]
struct Turn {
    peer: NodeId,
    ask: Ask,
    vouch: Option<Vouch>,
    has_head: bool,
    /// The snapshot need not be read: all of it is held.
    is_held: bool,
    /// Something of it is staged.
    has_staged: bool,
    is_over: bool,
}

/// A node as a child.
#[derive(Debug)]
pub struct Child {
    me: NodeId,
    chain: ChainId,
    /// The highest one that was seen.
    vouch: Option<Vouch>,
    /// What is applied, and the vouch for the key that signed it.
    applied: Option<(Vouch, Checkpoint)>,
    stamp: Option<Stamp>,
    /// When what is applied was last known to be current, and until when that counts.
    current: Option<(Timestamp, Timestamp)>,
    seen: Seen,
    live: LiveSet,
    staged: Option<Staged>,
    needs_snapshot: bool,
    /// Whom this node is, beside everybody.
    audiences: BTreeSet<Audience>,
    /// What is live, for this node, and not held.
    short: BTreeSet<KeyHash>,
    path: Vec<NodeId>,
    alarms: BTreeMap<NodeId, (Alarm, Timestamp)>,
    turn: Option<Turn>,
}

impl Child {
    /// A node that follows `chain` and knows nothing of it yet.
    pub fn new(me: NodeId, chain: ChainId) -> Self {
        Self {
            me,
            chain,
            vouch: None,
            applied: None,
            stamp: None,
            current: None,
            seen: Seen::default(),
            live: LiveSet::default(),
            staged: None,
            needs_snapshot: false,
            audiences: BTreeSet::from([Audience::EVERYBODY, Audience::node(me)]),
            short: BTreeSet::new(),
            path: Vec::new(),
            alarms: BTreeMap::new(),
            turn: None,
        }
    }

    /// What to ask for next.
    pub fn ask(&self) -> Ask {
        let fresh = Ask::Snapshot { base: None, after: None, bare: !self.live.is_empty() };
        match (&self.staged, self.applied_here()) {
            (Some(staged), _) if staged.is_open() => {
                Ask::Snapshot { base: Some(staged.base().position), after: staged.after(), bare: staged.is_bare() }
            }
            _ if self.needs_snapshot && !self.staged.as_ref().is_some_and(Staged::is_snapshot) => fresh,
            (Some(staged), _) => match staged.missing(CONTENTS_MAX) {
                missing if missing.is_empty() => Ask::Feed(staged.head()),
                missing => Ask::Contents(missing),
            },
            (None, Some(applied)) => Ask::Feed(applied.into()),
            (None, None) => fresh,
        }
    }

    /// Live records that are for this node and that it does not have, since it is in a group of nodes that it was not in: to be asked for
    /// as [`Ask::Contents`].
    pub fn short(&self) -> Vec<KeyHash> {
        self.short.iter().take(CONTENTS_MAX).copied().collect()
    }

    /// Live records for these that are not held: what a node may ask for on behalf of those below it.
    pub fn unheld<'a>(&'a self, audiences: &'a BTreeSet<Audience>) -> impl Iterator<Item = KeyHash> + 'a {
        let unheld = self.live.iter().filter(|leaf| !leaf.held && audiences.contains(&leaf.audience));
        unheld.map(|leaf| leaf.key)
    }

    /// The groups of nodes that this node is in, as what is applied says.
    pub fn set_groups(&mut self, groups: impl IntoIterator<Item = Audience>) {
        self.audiences = BTreeSet::from([Audience::EVERYBODY, Audience::node(self.me)]);
        self.audiences.extend(groups);
        self.count_short();
        if let Some(staged) = &mut self.staged {
            staged.count_lacking(&self.audiences);
        }
    }

    fn count_short(&mut self) {
        let mine = self.live.iter().filter(|leaf| lacks(&self.audiences, leaf));
        self.short = mine.map(|leaf| leaf.key).collect();
    }

    /// An answer to `ask` begins, from the node that the peer's certificate names. What is left of the one before is forgotten.
    pub fn begin(&mut self, peer: NodeId, ask: Ask) {
        let turn = Turn { peer, ask, vouch: None, has_head: false, is_held: false, has_staged: false, is_over: false };
        self.turn = Some(turn);
    }

    /// Takes a frame of the answer. An error ends the answer, too, and leaves all as it was before the frame.
    pub fn take(&mut self, frame: &Frame, now: Timestamp) -> Result<Vec<Step>, Error> {
        let out_of = |what: &str| Err(Error::Order(what.to_owned()));
        let Some(turn) = self.turn.as_mut().filter(|turn| !turn.is_over) else {
            return out_of("it was over");
        };
        let mut steps = Vec::new();
        let judged = match (frame, &turn.vouch) {
            (Frame::Head { path, .. }, None) if !turn.has_head => self.head(path, &mut steps),
            (Frame::Vouch(vouch), None) if turn.has_head => self.vouch(vouch, now, &mut steps),
            (Frame::Head { .. } | Frame::Vouch(_), _) | (_, None) => return out_of("head and vouch come first, once"),
            (Frame::Tail { first, entries }, _) => self.tail(*first, entries, &mut steps)?,
            (Frame::Page(entries), _) => self.page(entries, &mut steps)?,
            (Frame::Contents(entries), _) => self.contents(entries, &mut steps),
            (Frame::Checkpoint(checkpoint), Some(vouch)) => {
                let vouch = vouch.clone();
                self.checkpoint(&vouch, checkpoint, &mut steps)
            }
            (Frame::Stamp(stamp), Some(vouch)) => {
                let vouch = vouch.clone();
                self.timestamp(&vouch, stamp, now, &mut steps)
            }
            (Frame::End(end), _) => {
                let (peer, ask) = (turn.peer, turn.ask.clone());
                turn.is_over = true;
                let judged = self.end(*end, &ask, &mut steps)?;
                if judged.is_ok() {
                    self.alarms.remove(&peer);
                }
                judged
            }
        };
        if let Err(alarm) = judged {
            self.raise(alarm, now, &mut steps);
        }
        Ok(steps)
    }

    /// The parent does not know the cursor that was asked with. What was only staged is dropped; what is applied is not, and that is an alarm.
    pub fn turned_away(&mut self, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.staged.is_some() {
            self.drop_staged(&mut steps);
        } else if let Some((_, applied)) = &self.applied {
            let alarm = Alarm::SaidForked { at: applied.position };
            self.raise(alarm, now, &mut steps);
        }
        steps
    }

    fn raise(&mut self, alarm: Alarm, now: Timestamp, steps: &mut Vec<Step>) {
        if self.turn.as_ref().is_some_and(|turn| turn.has_staged) {
            // Who lied in one frame may have lied in those before.
            self.drop_staged(steps);
        }
        if let Some(turn) = &mut self.turn {
            turn.is_over = true;
            let since = self.alarms.get(&turn.peer).filter(|(known, _)| known.word() == alarm.word());
            let since = since.map_or(now, |(_, since)| *since);
            self.alarms.insert(turn.peer, (alarm.clone(), since));
        }
        steps.push(Step::Alarm(alarm));
    }

    fn drop_staged(&mut self, steps: &mut Vec<Step>) {
        if self.staged.take().is_some() {
            steps.extend([Step::Drop, Step::Remember]);
        }
    }

    /// What is applied, where it is of the epoch in which the feed goes on.
    fn applied_here(&self) -> Option<&Checkpoint> {
        let epoch = self.vouch.as_ref()?.epoch;
        self.applied.as_ref().map(|(_, checkpoint)| checkpoint).filter(|checkpoint| checkpoint.position.epoch == epoch)
    }

    /// How it stands now.
    pub fn state(&self, now: Timestamp) -> State {
        match self.current {
            None => State::Empty,
            Some((as_of, until)) if now <= until => State::Current { as_of },
            Some((since, _)) => State::Frozen { since },
        }
    }

    /// What parents showed last that was not believed, by parent, and since when.
    pub fn alarms(&self) -> &BTreeMap<NodeId, (Alarm, Timestamp)> {
        &self.alarms
    }

    /// From the authority down to this node; empty before the first answer.
    pub fn path(&self) -> &[NodeId] {
        &self.path
    }

    /// What is live.
    pub fn live(&self) -> &LiveSet {
        &self.live
    }

    /// What this node shows to those below it: what is applied, the vouch for it, and the newest timestamp under that vouch.
    pub fn served(&self) -> Option<(&Vouch, &Checkpoint, Option<&Stamp>)> {
        let (vouch, checkpoint) = self.applied.as_ref()?;
        let stamp = self.stamp.as_ref();
        let stamp = stamp.filter(|stamp| (stamp.position.epoch, stamp.serial) == (vouch.epoch, vouch.serial));
        Some((vouch, checkpoint, stamp))
    }
}

/// Whether it should be there and is not.
fn lacks(audiences: &BTreeSet<Audience>, leaf: &Leaf) -> bool {
    !leaf.held && audiences.contains(&leaf.audience)
}
