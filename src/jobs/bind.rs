//! What an operator bound to an address, taken back; and payloads removed with all that was bound to their names.

use crate::jobs::Jobs;
use crate::jobs::address::Address;
use crate::jobs::error::Error;
use crate::model::name::Name;
use crate::model::payload::Published;
use crate::store::Listed;

/// What was bound.
#[derive(Clone, Debug)]
pub struct Unbound {
    /// The name under which the address is kept.
    pub name: Name,
    /// What it had to turn out to be.
    pub published: Published,
}

impl Jobs {
    /// Takes back what `fetch --sha256` bound to an address. From then on the origin's word counts there again; what was
    /// answered under the address stays held under its digest and other names.
    pub async fn unbind(&self, address: &str) -> Result<Unbound, Error> {
        for name in self.names(address.trim())? {
            if let Some(published) = self.shared.store.unbind(&name).await? {
                return Ok(Unbound { name, published });
            }
        }
        Err(Error::Unbound(Address::redact(address)))
    }

    /// Deletes a payload, and what the operator bound to its addresses with it, so that whoever asks there next gets what
    /// the origin has.
    pub async fn remove(&self, listed: &Listed) -> Result<(), Error> {
        self.shared.store.remove(listed.payload.digests.blake3).await?;
        for name in listed.names.iter().filter(|name| matches!(name, Name::Origin(_))) {
            if self.shared.store.unbind(name).await?.is_some() {
                tracing::info!(name = name.shown(), "the digest that was bound to it went with the payload");
            }
        }
        Ok(())
    }
}
