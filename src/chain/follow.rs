//! A node follows its parent: what the machine of [`child`](crate::chain::child) decides of each frame is carried out in the store.
//!
//! 1. What was cut off is ended first, then the machine is taken up again from what the store holds ([`Follower::open`]).
//! 2. A question is asked, and its answer is taken frame by frame ([`Follower::begin`], [`Follower::take`]): each with what the child
//!    knows then in one transaction.
//! 3. What was verified is made visible, first in the feed, for those below, then in the catalog ([`tell`](crate::chain::tell)).
//!
//! Where the store fails the machine is ahead of it, and is to be opened again.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::time::Clock;
use crate::chain::alarm::{Alarm, State};
use crate::chain::child::{Ask, Child, Known, Step};
use crate::chain::error::Error;
use crate::model::chain::hash::ChainId;
use crate::model::chain::ids::{Audience, NodeId};
use crate::model::chain::record::Entry;
use crate::store::Store;
use crate::store::feed::{Change, Feed, Show};
use crate::wire::peer::frame::Frame;
use crate::wire::peer::signed::Checkpoint;

/// Records that are asked for by their keys at a time: their contents, of a mebibyte each at most, are one answer of a parent, which makes
/// it in memory.
const CONTENTS_STEP: usize = 64;

/// A node as a child, with its store.
#[derive(Debug)]
pub struct Follower {
    child: Child,
    feed: Feed,
    clock: Arc<dyn Clock>,
    shown: Option<Show>,
}

/// What came of a frame.
#[derive(Debug, Default)]
pub struct Came {
    /// Something became visible.
    pub applied: bool,
    /// What was not believed; the rest of the answer is not to be read.
    pub alarm: Option<Alarm>,
}

impl Follower {
    /// The node `me`, which follows `chain`, as it was. Of another chain than before it begins anew; what was live stays until a snapshot of
    /// the new one is verified.
    pub async fn open(store: &Store, me: NodeId, chain: ChainId, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let feed = store.feed();
        feed.apply().await?;
        let live = feed.live().await?.into_iter().collect();
        let known = feed.known().await?.map(|bytes| Known::read(&bytes)).transpose()?;
        let child = if let Some(known) = known.filter(|known| (known.me, known.chain) == (me, chain)) {
            Child::open(known, live, feed.staged().await?)
        } else {
            let known = Child::new(me, chain).known();
            feed.take(vec![Change::Drop, Change::Remember(known.to_bytes()?)]).await?;
            Child::open(known, live, [])
        };
        let mut follower = Self { child, feed, clock, shown: None };
        follower.show().await?;
        Ok(follower)
    }

    /// What to ask for next.
    pub fn ask(&self) -> Ask {
        let short = self.child.short();
        let mut ask = match self.child.ask() {
            Ask::Feed(_) if !short.is_empty() => Ask::Contents(short),
            ask => ask,
        };
        if let Ask::Contents(keys) = &mut ask {
            keys.truncate(CONTENTS_STEP);
        }
        ask
    }

    /// The highest checkpoint that was verified: whoever stands lower learns of it.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.child.served().map(|(_, checkpoint, _)| checkpoint.clone())
    }

    /// How it stands.
    pub fn state(&self) -> State {
        self.child.state(self.clock.now())
    }

    /// Records for these are held here too: nodes below ask for them.
    pub fn hold_for(&mut self, others: &BTreeSet<Audience>) {
        self.child.set_groups(others.iter().copied());
    }

    /// The machine, to be looked at.
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// An answer to `ask` begins, from the node that the peer's certificate names.
    pub fn begin(&mut self, peer: NodeId, ask: Ask) {
        self.child.begin(peer, ask);
    }

    /// The parent does not know the cursor.
    pub async fn turned_away(&mut self) -> Result<Came, Error> {
        let steps = self.child.turned_away(self.clock.now());
        self.carry_out(steps, None).await
    }

    /// Takes a frame.
    pub async fn take(&mut self, frame: Frame) -> Result<Came, Error> {
        let steps = self.child.take(&frame, self.clock.now())?;
        self.carry_out(steps, Some(frame)).await
    }

    async fn carry_out(&mut self, steps: Vec<Step>, frame: Option<Frame>) -> Result<Came, Error> {
        if steps.is_empty() {
            return Ok(Came::default());
        }
        let mut entries: Vec<Entry> = match frame {
            Some(Frame::Tail { entries, .. } | Frame::Page(entries) | Frame::Contents(entries)) => entries,
            _ => Vec::new(),
        };
        let (mut came, mut changes, mut remember) = (Came::default(), Vec::new(), false);
        for step in steps {
            match step {
                Step::Stage => changes.push(Change::Stage(std::mem::take(&mut entries))),
                Step::Drop => changes.push(Change::Drop),
                Step::Fill(keys) => {
                    let mut filled = std::mem::take(&mut entries);
                    filled.retain(|entry| keys.contains(&entry.key()));
                    changes.push(Change::Fill(filled));
                }
                Step::Apply { checkpoint, whole } => {
                    let (at, link) = (checkpoint.position, checkpoint.link);
                    changes.push(Change::Apply { at, link, whole });
                    came.applied = true;
                }
                Step::Remember => remember = true,
                Step::Alarm(alarm) => came.alarm = Some(alarm),
            }
        }
        if remember {
            changes.push(Change::Remember(self.child.known().to_bytes()?));
        }
        if !changes.is_empty() {
            self.feed.take(changes).await?;
        }
        if came.applied {
            self.feed.apply().await?;
        }
        self.show().await?;
        Ok(came)
    }

    /// Those below are shown what is applied.
    async fn show(&mut self) -> Result<(), Error> {
        let Some((vouch, checkpoint, stamp)) = self.child.served() else { return Ok(()) };
        let stamp = stamp.map(crate::wire::peer::signed::Stamp::to_bytes);
        let show = Show { vouch: vouch.to_bytes(), checkpoint: checkpoint.to_bytes(), stamp };
        if self.shown.as_ref() != Some(&show) {
            self.feed.show(show.clone(), checkpoint.position.sequence).await?;
            self.shown = Some(show);
        }
        Ok(())
    }
}
