//! Which endpoints have told what machine they are, and the keys of cookies.
//!
//! The keys lie in the store (`store::fleet`, not in a backup), so that cookies outlive a start of the node; that an endpoint has registered stands in its cookie too, and
//! goes from an old one into the new one. Who comes without any after a start registers again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::time::Timestamp;
use crate::model::update::UpdateId;
use crate::serve::client::cookie::KEY_BYTES;
use crate::serve::client::error::Error;
use crate::store::Store;

/// How long a key seals before the next start makes a new one; the former one opens as long again. So many cookies are far fewer than one key may
/// seal with random nonces (2^32).
const KEY_LIFE: Duration = Duration::from_hours(30 * 24);

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

/// The keys of cookies, the newest first. Where the store takes nothing, one lives as long as the node runs.
pub(super) async fn keys(store: &Store, now: Timestamp) -> Result<Zeroizing<Vec<[u8; KEY_BYTES]>>, Error> {
    let server = match store.fleet().server(now).await {
        // One of the future was made by a wrong clock: it is as good as any.
        Ok(server) if now.since(server.signs.made) > KEY_LIFE => match store.fleet().rotate(now, KEY_LIFE).await {
            Ok(rotated) => rotated,
            Err(error) => {
                tracing::warn!(%error, "the key of agents' cookies is not replaced: the next start tries again");
                server
            }
        },
        Ok(server) => server,
        Err(error) => {
            tracing::warn!(%error, "the keys of agents' cookies cannot be kept: after a start agents take new cookies");
            let mut keys = Zeroizing::new(vec![[0; KEY_BYTES]]);
            getrandom::fill(keys.as_flattened_mut()).map_err(|_| Error::Sealing)?;
            return Ok(keys);
        }
    };
    let keys = std::iter::once(&server.signs).chain(&server.opens);
    Ok(Zeroizing::new(keys.map(|key| *key.key.expose()).collect()))
}
