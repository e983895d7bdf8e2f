//! What an operator bound to an address, taken back; and payloads removed, which leaves what was bound.

use crate::jobs::Jobs;
use crate::jobs::address::Address;
use crate::jobs::error::Error;
use crate::model::name::Name;
use crate::model::payload::{Authority, Published};
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

    /// Deletes a payload with its names. What the operator bound to its addresses stays: that the bytes are wanted no more
    /// says nothing of which would be right. Returns the names that are bound still.
    pub async fn remove(&self, listed: &Listed) -> Result<Vec<Name>, Error> {
        self.shared.store.remove(listed.payload.digests.blake3).await?;
        let mut bound = Vec::new();
        for name in listed.names.iter().filter(|name| matches!(name, Name::Origin(_))) {
            let said = self.shared.store.note(name).await?.expected;
            if said.is_some_and(|said| said.authority == Authority::Operator) {
                bound.push(name.clone());
            }
        }
        Ok(bound)
    }
}
