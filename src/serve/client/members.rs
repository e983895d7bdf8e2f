//! Who this server is to endpoints, and which of their cookies have told what machine they are of.
//!
//! Id, epoch and keys lie in the store (`store::fleet`; the keys in no backup), so that cookies outlive a start of the node. What machine
//! a cookie is of stands in the cookie, and goes from an old one into the new one; but `RegisterComputer` is answered without a cookie, so
//! that until the next one it is remembered here. Who falls out of that registers once more.

use std::time::Duration;

use quick_cache::sync::Cache;
use zeroize::Zeroizing;

use crate::base::time::Timestamp;
use crate::fleet::registry::Machine;
use crate::model::update::UpdateId;
use crate::serve::client::cookie::{KEY_BYTES, Sealer, Ticket};
use crate::serve::client::error::Error;
use crate::store::Store;

/// How long a key seals before the next start makes a new one; the former one opens as long again. So many cookies are far fewer than one key may
/// seal with random nonces (2^32).
const KEY_LIFE: Duration = Duration::from_hours(30 * 24);

/// Cookies that are remembered: those of an hour in which all endpoints of a large node take one.
const SESSIONS: usize = 50_000;

/// What machine a cookie is of, by the endpoint and the cookie's number; none where it told to be one to which the id is not bound.
pub(super) struct Members(Cache<(UpdateId, u64), Option<Machine>>);

impl Default for Members {
    fn default() -> Self {
        Self(Cache::new(SESSIONS))
    }
}

impl Members {
    /// Whoever has this cookie told what machine it is: the one that the id is bound to, or another one.
    pub(super) fn told(&self, ticket: &Ticket, machine: Option<Machine>) {
        self.0.insert((ticket.client(), ticket.session), machine);
    }

    /// What machine a cookie is of. What was told last counts: a copy of a machine has its cookies too.
    pub(super) fn machine(&self, ticket: &Ticket) -> Option<Machine> {
        self.0.get(&(ticket.client(), ticket.session)).unwrap_or(ticket.machine)
    }
}

/// Makes and reads the cookies of this server; its id with it. Where the store takes nothing, both live as long as the node runs.
pub(super) async fn identity(store: &Store, now: Timestamp) -> Result<(UpdateId, Sealer), Error> {
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
            let (mut keys, mut id) = (Zeroizing::new(vec![[0; KEY_BYTES]]), [0; 16]);
            getrandom::fill(keys.as_flattened_mut()).map_err(|_| Error::Sealing)?;
            getrandom::fill(&mut id).map_err(|_| Error::Sealing)?;
            let id = UpdateId::new(id);
            return Ok((id, Sealer::new(id, 0, &keys)?));
        }
    };
    let keys = std::iter::once(&server.signs).chain(&server.opens);
    let keys: Zeroizing<Vec<[u8; KEY_BYTES]>> = Zeroizing::new(keys.map(|key| *key.key.expose()).collect());
    Ok((server.id, Sealer::new(server.id, server.epoch, &keys)?))
}
