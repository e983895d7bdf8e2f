//! The head of the authority's feed: where it stands, and what is signed of it.
//!
//! 1. An epoch begins with what is live ([`Head::begin`]), and goes on after a restart where it was ([`Head::open`]).
//! 2. Each change becomes an entry with the next number ([`Head::append`]); what changes nothing becomes none.
//! 3. A checkpoint covers all entries so far, a timestamp says that there are no others ([`Head::checkpoint`], [`Head::stamp`]).

use std::time::Duration;

use crate::base::time::Timestamp;
use crate::chain::error::Error;
use crate::chain::keys::FeedKey;
use crate::model::chain::hash::{ChainId, Link};
use crate::model::chain::ids::Position;
use crate::model::chain::live::{Leaf, LiveSet};
use crate::model::chain::record::Entry;
use crate::wire::peer::signed::{Checkpoint, Stamp};

/// How long a timestamp is good: clocks are assumed right within a day, and no shorter life could be told from a wrong one.
pub const STAMP_LIFE: Duration = Duration::from_hours(24);

/// Where the feed stands.
#[derive(Clone, Debug)]
pub struct Head {
    chain: ChainId,
    position: Position,
    link: Link,
    live: LiveSet,
    /// Of the newest thing that was signed; nothing is signed in its past, whatever the clock says.
    made: Timestamp,
}

impl Head {
    /// A new epoch, in which all of `live` is there from the beginning.
    pub fn begin(chain: ChainId, epoch: u64, live: LiveSet) -> Self {
        Self::open(chain, Position { epoch, sequence: 0 }, Link::begin(chain, epoch), live, Timestamp::default())
    }

    /// One that was there before: `made` is the time of the newest checkpoint or timestamp.
    pub fn open(chain: ChainId, position: Position, link: Link, live: LiveSet, made: Timestamp) -> Self {
        Self { chain, position, link, live, made }
    }

    /// Its newest entry.
    pub fn position(&self) -> Position {
        self.position
    }

    /// All entries of the epoch so far.
    pub fn link(&self) -> Link {
        self.link
    }

    /// The time of the newest thing that was signed.
    pub fn made(&self) -> Timestamp {
        self.made
    }

    /// What is live.
    pub fn live(&self) -> &LiveSet {
        &self.live
    }

    /// Adds an entry; gives its number, or `None` where it changes nothing and is left out.
    pub fn append(&mut self, entry: &Entry) -> Option<u64> {
        let before = self.live.get(&entry.key());
        if before.map(|leaf| leaf.record) == Some(entry.record()) || (entry.is_gone() && before.is_none()) {
            return None;
        }
        let leaf = Leaf { key: entry.key(), record: entry.record(), audience: entry.audience(), held: true };
        self.live.put(&entry.key(), Some(leaf).filter(|_| !entry.is_gone()));
        self.position.sequence += 1;
        let number = self.position.sequence;
        self.link = self.link.next(number, entry.op(), entry.audience(), entry.key(), entry.record());
        Some(number)
    }

    /// Signs all that there is. Each one is later than the one before, also where the clock was set back.
    pub fn checkpoint(&mut self, key: &FeedKey, now: Timestamp) -> Result<Checkpoint, Error> {
        self.check(key)?;
        self.made = now.max(self.made.after(Duration::from_millis(1)));
        let mut checkpoint = Checkpoint {
            serial: key.vouch().serial,
            position: self.position,
            made: self.made,
            count: self.live.len(),
            chain: self.chain,
            link: self.link,
            root: self.live.root(),
            signature: [0; 64],
        };
        checkpoint.signature = key.sign(&checkpoint.message())?;
        Ok(checkpoint)
    }

    /// Says that there is nothing newer now. To be made when a checkpoint covers all entries.
    pub fn stamp(&mut self, key: &FeedKey, now: Timestamp, life: Duration) -> Result<Stamp, Error> {
        self.check(key)?;
        let at = now.max(self.made);
        self.made = at;
        let mut stamp = Stamp {
            serial: key.vouch().serial,
            position: self.position,
            at,
            until: at.after(life),
            chain: self.chain,
            link: self.link,
            signature: [0; 64],
        };
        stamp.signature = key.sign(&stamp.message())?;
        Ok(stamp)
    }

    fn check(&self, key: &FeedKey) -> Result<(), Error> {
        if key.vouch().chain() != self.chain {
            return Err(Error::OtherRoot { made: key.vouch().chain().to_string() });
        }
        if key.vouch().epoch == self.position.epoch { Ok(()) } else { Err(Error::Key { what: "feed key" }) }
    }
}
