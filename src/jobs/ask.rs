//! The questions that are no long work: what would happen to an address, is the way to the origins sound, what is being
//! filled, and under which name is this held.

use tokio_util::task::AbortOnDropHandle;

use crate::base::digest::{Blake3, Digest};
/// What `explain` answers: `admin` shows it, and knows of `fill` only what is handed on here.
pub use crate::fill::Explained;
use crate::fill::FlightView;
use crate::jobs::Jobs;
use crate::jobs::address::{Address, digests};
use crate::jobs::error::Error;
use crate::model::name::{Name, OriginKey};
use crate::model::payload::Published;
use crate::model::report::{Finding, HostHealth};
use crate::store::Listed;

/// Addresses in one `doctor` question: each is asked several times, while a person waits.
pub const DOCTOR_MAX: usize = 32;

/// Digits from which on the beginning of a BLAKE3 is taken for one.
const BEGINNING_MIN: usize = 8;

impl Jobs {
    /// Which rule matches an address, under which name it is kept, and what is held or known of it.
    pub async fn explain(&self, address: &str) -> Result<Explained, Error> {
        let fill = self.shared.fill()?;
        let parsed = Address::parse(address)?;
        fill.explain(&parsed.ask()).await.map_err(|error| Error::Upstream(error.to_string()))
    }

    /// Tests the path to the origins and to the sync service: to those of `addresses`, or to all that are known where there are
    /// none.
    pub async fn doctor(&self, addresses: Vec<String>) -> Result<Vec<Finding>, Error> {
        let fill = self.shared.fill()?.clone();
        if addresses.len() > DOCTOR_MAX {
            let what = format!("{} addresses are too many at once: give at most {DOCTOR_MAX}", addresses.len());
            return Err(Error::Input(what));
        }
        addresses.iter().try_for_each(|address| Address::parse(address).map(drop))?;
        let sync = self.shared.sync.clone();
        let is_service = |address: &String| sync.as_ref().is_some_and(|sync| sync.is_service(address));
        let (services, origins): (Vec<String>, Vec<String>) = addresses.into_iter().partition(is_service);
        // On the room's runtime: a connection to an origin stays with the runtime that opened it, and is used again.
        let asking = self.shared.spawn(async move {
            let (all, none) = (services.is_empty() && origins.is_empty(), Vec::new());
            let mut found = if all || !origins.is_empty() { fill.doctor(origins).await } else { none };
            let Some(sync) = sync.filter(|_| all || !services.is_empty()) else { return found };
            for finding in sync.doctor(&services).await {
                // A WSUS gives out content too, under the same name and at the same port.
                if !found.contains(&finding) {
                    found.push(finding);
                }
            }
            found
        });
        AbortOnDropHandle::new(asking)
            .await
            .map_err(|error| Error::Broken(format!("the tests of the path broke off: {error}")))
    }

    /// The same for the upstream alone: its sync service, and its content where that comes from it.
    pub async fn doctor_upstream(&self) -> Result<Vec<Finding>, Error> {
        let (fill, sync) = (self.shared.fill()?.clone(), self.shared.sync.clone());
        // See above.
        let asking = self.shared.spawn(async move {
            let mut found = fill.doctor_upstream().await;
            let Some(sync) = sync else { return found };
            for finding in sync.doctor_upstream().await {
                if !found.contains(&finding) {
                    found.push(finding);
                }
            }
            found
        });
        AbortOnDropHandle::new(asking)
            .await
            .map_err(|error| Error::Broken(format!("the tests of the path broke off: {error}")))
    }

    /// What is being filled now.
    pub fn flights(&self) -> Vec<FlightView> {
        self.shared.fill.as_ref().map(crate::fill::Fill::flights).unwrap_or_default()
    }

    /// How the hosts that were asked have been doing.
    pub fn upstream(&self) -> Vec<HostHealth> {
        self.shared.fill.as_ref().map(crate::fill::Fill::health).unwrap_or_default()
    }

    /// What is held under a digest or an address, as people write them.
    pub async fn held(&self, text: &str) -> Result<Listed, Error> {
        let text = text.trim();
        if let Some(listed) = self.beginning(text).await? {
            return Ok(listed);
        }
        let found = digests(text);
        if found.is_empty() && !text.is_empty() && text.len() < 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return Err(if text.len() < BEGINNING_MIN {
                Error::Input(format!("{text} is too short for a digest: give {BEGINNING_MIN} of its digits or more"))
            } else {
                Error::Absent(format!("{text}, nor under a BLAKE3 that begins so"))
            });
        }
        for name in self.names(text)? {
            if let Some(listed) = self.shared.store.show(&name).await? {
                return Ok(listed);
            }
        }
        // It may be held under a digest that the address is known by, and not be written down under the address yet.
        if let (Some(fill), Ok(address)) = (&self.shared.fill, Address::parse(text))
            && let Ok(target) = fill.locate(&address.ask())
        {
            for digest in target.expected.iter().flat_map(Published::digests) {
                if let Some(listed) = self.shared.store.show(&Name::Digest(digest)).await? {
                    return Ok(listed);
                }
            }
        }
        let weak = if matches!(found[..], [Digest::Sha1(_)]) {
            "; a SHA-1 is a name only where it was checked for collisions or published with a stronger digest, so ask by \
             another one"
        } else {
            ""
        };
        Err(Error::Absent(format!("{}{weak}", Address::redact(text))))
    }

    /// The one payload whose BLAKE3 begins with `text`, as lists show it; `None` where `text` is no such beginning.
    async fn beginning(&self, text: &str) -> Result<Option<Listed>, Error> {
        let hex = text.to_ascii_lowercase();
        if !(BEGINNING_MIN..64).contains(&hex.len()) || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let Ok(first) = format!("{hex:0<64}").parse::<Blake3>() else { return Ok(None) };
        let mut found = self.shared.store.list(before(first), 2).await?;
        found.retain(|listed| listed.payload.digests.blake3.to_string().starts_with(&hex));
        match found.len() {
            0 => Ok(None),
            1 => Ok(found.pop()),
            _ => Err(Error::Input(format!("more than one payload begins with {hex}: give more digits"))),
        }
    }

    /// The names that `text` can mean, the likeliest first.
    pub(in crate::jobs) fn names(&self, text: &str) -> Result<Vec<Name>, Error> {
        let digests = digests(text);
        if !digests.is_empty() {
            return Ok(digests.into_iter().map(Name::Digest).collect());
        }
        let mut names = Vec::new();
        // As `content list` and the log print it: the key itself.
        if let Ok(key) = OriginKey::new(text)
            && !text.contains("://")
        {
            names.push(Name::Origin(key));
        }
        let address = Address::parse(text)?;
        match &self.shared.fill {
            Some(fill) => match fill.locate(&address.ask()) {
                Ok(target) => names.push(target.name),
                Err(refusal) if names.is_empty() => {
                    return Err(Error::Refused { address: Address::redact(text), why: refusal.to_string() });
                }
                Err(_) => {}
            },
            // Without the mapping the key is taken as written, which is right for a URL that is written canonically.
            None => names.extend(address.key().map(Name::Origin)),
        }
        Ok(names)
    }
}

/// The digest just before `digest` in the order of the store; `None` where it is the first of all.
fn before(digest: Blake3) -> Option<Blake3> {
    let mut bytes = *digest.as_bytes();
    for byte in bytes.iter_mut().rev() {
        let (less, borrowed) = byte.overflowing_sub(1);
        *byte = less;
        if !borrowed {
            return Some(Blake3::new(bytes));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_before_is_one_less() {
        let mut bytes = [0; 32];
        assert_eq!(before(Blake3::new(bytes)), None);
        bytes[30] = 1;
        let mut less = [0; 32];
        less[31] = 0xff;
        assert_eq!(before(Blake3::new(bytes)), Some(Blake3::new(less)));
    }
}
