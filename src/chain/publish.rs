//! The authority publishes what its catalog says, right behind each change of it.
//!
//! 1. The change log of the catalog is read behind the place up to where it was published. That place is a stamp of the logical clock.
//! 2. Each change becomes records, or tombstones, of what is there now ([`records`](crate::chain::records)).
//! 3. What changes something is put at the end of the log, and a checkpoint is signed. Entries, place and checkpoint are one
//!    transaction, so that after a crash it goes on behind what was published, and nothing is seen that no checkpoint covers.
//! 4. Who waits for the next entry is woken.
//!
//! Publishing behind the catalog's own transaction, and not in it, keeps signing and packing off the one thread that writes. What is said
//! is never wrong, since each record is made of what is there when it is made, and what changes later comes with its own change.

mod queue;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::base::time::{Clock, Timestamp};
use crate::chain::authority::{Head, STAMP_LIFE};
use crate::chain::error::Error;
use crate::chain::files::Arriving;
use crate::chain::keys::FeedKey;
use crate::chain::records::{self, Made};
use crate::model::chain::hash::Link;
use crate::model::chain::ids::Position;
use crate::model::chain::live::LiveSet;
use crate::store::Store;
use crate::store::feed::{Publication, Show};

/// Lines of the change log that are published together.
const STEP: usize = 100;
/// Bytes of records that are held at a time.
const STEP_BYTES: usize = 16 << 20;
/// How often the change log is looked at: an approval is to reach a child within two seconds.
const LOOK: Duration = Duration::from_millis(500);
/// How often a timestamp is made where nothing changes.
const STAMP_EVERY: Duration = Duration::from_mins(10);
/// How long to wait after the store refused.
const AGAIN: Duration = Duration::from_secs(5);

const VERSION: u8 = 1;

/// What is kept of the head.
#[derive(Serialize, Deserialize)]
struct Row {
    position: Position,
    link: Link,
    made: Timestamp,
    place: (u64, u32),
}

fn kept(bytes: &[u8]) -> Result<Row, Error> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|error| Error::Kept(error.to_string())),
        _ => Err(Error::Kept("the head of the feed is of another version".into())),
    }
}

/// The authority's feed at work.
#[derive(Debug)]
pub struct Publisher {
    store: Store,
    key: Arc<FeedKey>,
    clock: Arc<dyn Clock>,
    moved: watch::Sender<u64>,
    head: Head,
    /// Up to where the change log is published.
    place: (u64, u32),
    /// Up to where what is held was looked at.
    arriving: Arriving,
    show: Show,
    stamped: Timestamp,
}

impl Publisher {
    /// Goes on where it was, or begins the epoch that the key is vouched for. Who watches `moved` is told of each publication.
    pub async fn open(
        store: Store,
        key: Arc<FeedKey>,
        clock: Arc<dyn Clock>,
        moved: watch::Sender<u64>,
    ) -> Result<Self, Error> {
        let feed = store.feed();
        feed.apply().await?;
        let row = feed.head().await?.map(|bytes| kept(&bytes)).transpose()?;
        let live: LiveSet = feed.live().await?.into_iter().collect();
        let (chain, epoch) = (key.vouch().chain(), key.vouch().epoch);
        let place = row.as_ref().map_or((0, 0), |row| row.place);
        let here = row.filter(|row| row.position.epoch == epoch);
        let begins = here.is_none();
        let head = match here {
            Some(row) => Head::open(chain, row.position, row.link, live, row.made),
            None => Head::begin(chain, epoch, live),
        };
        let (show, stamped) = (Show::default(), Timestamp::default());
        let mut publisher = Self { store, key, clock, moved, head, place, arriving: Arriving::anew(), show, stamped };
        let begins = begins.then(|| (publisher.head.position(), publisher.head.link()));
        publisher.commit(Publication { begins, ..Publication::default() }).await?;
        Ok(publisher)
    }

    /// Where the feed stands.
    pub fn position(&self) -> Position {
        self.head.position()
    }

    /// Publishes until there is nothing more, now and whenever there is. Ends when it is told to.
    pub async fn run(mut self, stop: CancellationToken) {
        let pause = |time| {
            let stop = stop.clone();
            async move { stop.run_until_cancelled_owned(tokio::time::sleep(time)).await.is_some() }
        };
        loop {
            match self.publish().await {
                Ok(()) => {
                    if !pause(LOOK).await {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "what changed is not told to nodes below yet");
                    // What is in memory may be ahead of what was written.
                    loop {
                        if !pause(AGAIN).await {
                            return;
                        }
                        let (store, key) = (self.store.clone(), Arc::clone(&self.key));
                        let opened = Self::open(store, key, Arc::clone(&self.clock), self.moved.clone()).await;
                        match opened {
                            Ok(opened) => {
                                self = opened;
                                break;
                            }
                            Err(error) => tracing::debug!(%error, "the feed cannot be opened again yet"),
                        }
                    }
                }
            }
        }
    }

    /// Publishes all that changed since the last time; a timestamp where none was made for a while.
    pub async fn publish(&mut self) -> Result<(), Error> {
        while self.step().await? {}
        while self.held_step().await? {}
        self.queued().await?;
        if self.clock.now().since(self.stamped) >= STAMP_EVERY {
            self.commit(Publication::default()).await?;
        }
        Ok(())
    }

    /// Steps 1 to 4; says whether there is more.
    async fn step(&mut self) -> Result<bool, Error> {
        let catalog = self.store.catalog();
        let page = catalog.changes(self.place.0, self.place.1, STEP).await?;
        if self.place != (0, 0) && page.floor > self.place.0 {
            tracing::info!(
                "more went from the catalog than its log tells of: all of it is compared with what is published"
            );
            self.place = (0, 0);
            let gone = records::gone(&self.store).await?;
            self.say(gone).await?;
            return Ok(true);
        }
        if page.changes.is_empty() && page.decisions.is_empty() {
            return Ok(false);
        }
        let mut made = Made::default();
        for change in &page.changes {
            records::revision(&self.store, change.number, change.held, &mut made).await?;
            if made.bytes >= STEP_BYTES {
                // The place stays: what is there already changes nothing when it comes once more.
                self.say(std::mem::take(&mut made)).await?;
            }
        }
        records::decisions(&self.store, page.decisions.iter().map(|line| line.id).collect(), &mut made).await?;
        self.place = page.next;
        self.say(made).await?;
        Ok(page.more)
    }

    /// Files that this node came to hold.
    async fn held_step(&mut self) -> Result<bool, Error> {
        let mut made = Made::default();
        let more = self.arriving.step(&self.store, &mut made).await?;
        if !made.entries.is_empty() {
            self.say(made).await?;
        }
        Ok(more)
    }

    async fn say(&mut self, made: Made) -> Result<(), Error> {
        let Made { entries, numbers, .. } = made;
        let mut added = Vec::new();
        for entry in entries {
            if let Some(sequence) = self.head.append(&entry) {
                added.push((sequence, self.head.link(), entry));
            }
        }
        self.commit(Publication { entries: added, numbers, ..Publication::default() }).await
    }

    /// Signs what there is, and writes it.
    async fn commit(&mut self, mut publication: Publication) -> Result<(), Error> {
        let now = self.clock.now();
        let checkpoint = self.head.checkpoint(&self.key, now)?;
        let stamp = self.head.stamp(&self.key, now, STAMP_LIFE)?;
        let (vouch, checkpoint) = (self.key.vouch().to_bytes(), checkpoint.to_bytes());
        self.show = Show { vouch, checkpoint, stamp: Some(stamp.to_bytes()) };
        let (position, link, made) = (self.head.position(), self.head.link(), self.head.made());
        let row = Row { position, link, made, place: self.place };
        publication.head = postcard::to_extend(&row, vec![VERSION]).map_err(|error| Error::Kept(error.to_string()))?;
        publication.show = self.show.clone();
        let is_news = !publication.entries.is_empty() || publication.begins.is_some();
        self.store.feed().publish(publication).await?;
        self.stamped = now;
        if is_news {
            self.moved.send_modify(|times| *times += 1);
        }
        Ok(())
    }
}
