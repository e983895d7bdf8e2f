//! The authority's feed key becomes another one, and what an authority notices that was rolled back.
//!
//! 1. The root key comes from its file, vouches and is forgotten ([`Chain::rotate`], [`Chain::begin_epoch`]).
//! 2. The new feed key is kept beside the old one until the vouch that names it is there: whichever of both the vouch names is the
//!    one that counts, so that a power cut leaves the old key or the new one.
//! 3. The publisher ends with the old key and begins with the new one ([`Chain::sign`]). A new epoch begins with all that is live.
//! 4. Each node below shows the newest checkpoint that it verified. Where that is one of this node's own and the store does not lead to it,
//!    the store is an older one: whatever was signed next would stand at a sequence where something else stands already. So nothing is
//!    signed until a new epoch begins ([`Chain::look_back`]), also after a start.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::base::secret::Key;
use crate::base::time::Timestamp;
use crate::chain::error::Error;
use crate::chain::keyring::{FEED, FEED_NEXT, Keyring, VOUCH, random};
use crate::chain::keys::{FeedKey, RootKey, feed_public};
use crate::chain::node::{Chain, Role, blocking};
use crate::chain::publish::Publisher;
use crate::chain::verify;
use crate::store::feed::Audiences;
use crate::wire::peer::signed::{Checkpoint, Vouch};

const HALTED: &str = "chain.halted";

/// How long to wait after the feed could not be opened.
const AGAIN: Duration = Duration::from_secs(30);

/// What was shown to an authority that does not know it.
#[derive(Debug, Serialize, Deserialize)]
struct Halted {
    epoch: u64,
    signed: String,
}

/// The feed key that the vouch names.
fn key_of(keys: &Keyring) -> Result<FeedKey, Error> {
    let lost = || Error::Kept("the feed key or its vouch is missing from <data>/chain".into());
    let vouch = Vouch::read(keys.read(VOUCH)?.ok_or_else(lost)?.to_vec().into())?;
    let kept = keys.seed(FEED)?.map(|seed| FeedKey::new(&seed, vouch.clone()));
    if let Some(Ok(key)) = kept {
        return Ok(key);
    }
    let Some(next) = keys.seed(FEED_NEXT)? else { return kept.unwrap_or_else(|| Err(lost())) };
    let key = FeedKey::new(&next, vouch)?;
    keys.write(FEED, next.expose())?;
    keys.remove(FEED_NEXT)?;
    Ok(key)
}

impl Chain {
    pub(super) async fn feed_key(&self) -> Result<FeedKey, Error> {
        let keys = self.shared.keys.clone();
        blocking(move || key_of(&keys)).await
    }

    /// Another feed key in the same epoch. Nodes below take it with their next answer.
    pub async fn rotate(&self, root: Key) -> Result<(), Error> {
        let _turn = self.shared.turn.lock().await;
        if self.role() != Role::Authority {
            return Err(Error::Refused("only the authority at the top of the chain has a feed key".into()));
        }
        let known = self.feed_key().await?.vouch().clone();
        if let Some(halted) = self.halted(known.epoch).await? {
            return Err(halted);
        }
        let serial = known.serial.checked_add(1).ok_or_else(|| {
            Error::Refused(
                "this epoch has had all the feed keys it can have: `waystation nodes epoch` begins the next".into(),
            )
        })?;
        self.replace(root, Some(&known), known.epoch, serial).await
    }

    /// A new epoch with a new feed key: all that is live stands in it from the beginning, and what nodes below had of the former one
    /// they compare. A node that is nobody yet becomes the authority of the root key's chain: the former one was lost.
    pub async fn begin_epoch(&self, root: Key) -> Result<(), Error> {
        let _turn = self.shared.turn.lock().await;
        match self.role() {
            Role::Authority => {
                let known = self.feed_key().await?.vouch().clone();
                self.replace(root, Some(&known), known.epoch.saturating_add(1), 1).await
            }
            // Nobody here knows which epochs there were: they count up from 1, and no authority begins one a second.
            Role::None => self.replace(root, None, self.shared.clock.now().ms() / 1000, 1).await,
            Role::Joining | Role::Child => {
                Err(Error::Refused("this node follows a parent: epochs are begun at the top of the chain".into()))
            }
        }
    }

    /// Steps 1 and 2.
    async fn replace(&self, root: Key, known: Option<&Vouch>, epoch: u64, serial: u32) -> Result<(), Error> {
        let (keys, now, chain) = (self.shared.keys.clone(), self.shared.clock.now(), known.map(Vouch::chain));
        blocking(move || {
            let root = RootKey::from_seed(&root)?;
            if chain.is_some_and(|chain| chain != root.chain()) {
                return Err(Error::OtherRoot { made: root.chain().to_string() });
            }
            let feed = Key::new(random()?);
            let vouch = root.vouch(&feed_public(&feed)?, epoch, serial, now, Timestamp::from_ms(u64::MAX))?;
            keys.write(FEED_NEXT, feed.expose())?;
            keys.write(VOUCH, &vouch.to_bytes())?;
            key_of(&keys).map(drop)
        })
        .await?;
        tracing::warn!(epoch, serial, "the feed for nodes below is signed with another key from now on");
        self.shared.turned.send_modify(|times| *times += 1);
        if known.is_none() {
            self.shared.path.send_replace(vec![self.shared.me]);
            self.shared.role.send_replace(Role::Authority);
        }
        Ok(())
    }

    /// Why nothing may be signed in this epoch.
    async fn halted(&self, epoch: u64) -> Result<Option<Error>, Error> {
        let Some(row) = self.shared.store.document(HALTED).await? else { return Ok(None) };
        let row: Halted = serde_json::from_slice(&row).map_err(|error| Error::Kept(error.to_string()))?;
        Ok((row.epoch == epoch).then_some(Error::RolledBack { signed: row.signed }))
    }

    /// Step 4. Cheap where what is shown is where the log leads, which it nearly always is.
    pub(super) async fn look_back(&self, shown: &Checkpoint) -> Result<(), Error> {
        if self.role() != Role::Authority {
            return Ok(());
        }
        let piece = self.shared.store.feed().tail(shown.position.sequence, 0, 0, Audiences::default()).await?;
        let Some(piece) = piece else { return Ok(()) };
        let here = Checkpoint::read(piece.show.checkpoint.into())?;
        if shown.position.epoch != here.position.epoch {
            return Ok(());
        }
        let leads_there = match piece.link {
            Some(link) => link == shown.link,
            // Below the floor of the log nothing is known any more, above the newest entry nothing yet.
            None => shown.position < here.position,
        };
        if leads_there {
            return Ok(());
        }
        let key = self.feed_key().await?;
        if verify::checkpoint(key.vouch(), shown).is_err() || self.halted(key.vouch().epoch).await?.is_some() {
            return Ok(());
        }
        let row = Halted { epoch: shown.position.epoch, signed: shown.position.to_string() };
        let row = serde_json::to_vec(&row).map_err(|error| Error::Kept(error.to_string()))?;
        self.shared.store.set_document(HALTED, Some(row)).await?;
        self.shared.turned.send_modify(|times| *times += 1);
        Ok(())
    }

    /// Step 3, for as long as this node is the authority.
    pub(super) async fn sign(&self, stop: CancellationToken) {
        let mut turned = self.shared.turned.subscribe();
        loop {
            turned.borrow_and_update();
            let opened = async {
                let key = Arc::new(self.feed_key().await?);
                if let Some(halted) = self.halted(key.vouch().epoch).await? {
                    return Err(halted);
                }
                let (store, clock) = (self.shared.store.clone(), Arc::clone(&self.shared.clock));
                Publisher::open(store, key, clock, self.shared.moved.clone()).await
            };
            match opened.await {
                Ok(publisher) => {
                    self.see(|seen| seen.trouble = None);
                    let ended = stop.child_token();
                    let mut work = pin!(publisher.run(ended.clone()));
                    tokio::select! {
                        () = &mut work => return,
                        _ = turned.changed() => {}
                    }
                    // What it writes at this moment it writes to the end.
                    ended.cancel();
                    work.await;
                }
                Err(error) => {
                    tracing::error!(%error, "the feed for nodes below cannot be signed");
                    let waits = !matches!(error, Error::RolledBack { .. });
                    self.see(|seen| seen.trouble = Some(error.to_string()));
                    tokio::select! {
                        () = tokio::time::sleep(AGAIN), if waits => {}
                        _ = turned.changed() => {}
                    }
                }
            }
        }
    }
}
