//! Which endpoints have told what machine they are, and the keys of cookies.
//!
//! The keys lie in the store, so that cookies outlive a start of the node; that an endpoint has registered stands in its cookie too, and
//! goes from an old one into the new one. Who comes without any after a start registers again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::model::update::UpdateId;
use crate::serve::client::cookie::KEY_BYTES;
use crate::serve::client::error::Error;
use crate::store::Store;

/// Where the keys lie.
const KEYS: &str = "scan/keys";

/// How long a key seals before the next start makes a new one; the former one still opens. So many cookies are far fewer than one key may
/// seal with random nonces (2^32).
const KEY_LIFE: Duration = Duration::from_hours(30 * 24);

/// Keys that are kept: the one that seals, and the one before.
const KEYS_MAX: usize = 2;

/// Endpoints that are remembered: more than a node serves. Beyond it the one seen longest ago is forgotten, and registers again.
const MEMBERS_MAX: usize = 100_000;

/// The endpoints.
#[derive(Default)]
pub(super) struct Members {
    seen: Mutex<HashMap<UpdateId, Timestamp>>,
}

impl Members {
    /// It has told what it is.
    pub(super) fn register(&self, client: UpdateId, now: Timestamp) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MEMBERS_MAX
            && !seen.contains_key(&client)
            && let Some(oldest) = seen.iter().min_by_key(|(_, at)| **at).map(|(client, _)| *client)
        {
            seen.remove(&oldest);
        }
        seen.insert(client, now);
    }

    /// Whether it has.
    pub(super) fn is_registered(&self, client: UpdateId) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&client)
    }
}

/// A key, as it lies in the store.
#[derive(Serialize, Deserialize)]
struct Key {
    made: Timestamp,
    bytes: [u8; KEY_BYTES],
}

/// The keys of cookies, the newest first. Where the store takes nothing, a new one lives as long as the node runs.
pub(super) async fn keys(store: &Store, now: Timestamp) -> Result<Vec<[u8; KEY_BYTES]>, Error> {
    let held = match store.document(KEYS).await {
        Ok(held) => held,
        Err(error) => {
            tracing::warn!(%error, "the keys of agents' cookies cannot be read: agents take new cookies");
            None
        }
    };
    let mut keys: Vec<Key> = held.and_then(|bytes| postcard::from_bytes(&bytes).ok()).unwrap_or_default();
    // One of the future was made by a wrong clock: it is as good as any.
    if keys.first().is_none_or(|newest| now.since(newest.made) > KEY_LIFE) {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).map_err(|_| Error::Sealing)?;
        keys.insert(0, Key { made: now, bytes });
        keys.truncate(KEYS_MAX);
        let record = postcard::to_stdvec(&keys).map_err(|_| Error::Sealing)?;
        if let Err(error) = store.set_document(KEYS, Some(record)).await {
            tracing::warn!(%error, "the key of agents' cookies cannot be kept: after a start agents take new cookies");
        }
    }
    Ok(keys.into_iter().map(|key| key.bytes).collect())
}
