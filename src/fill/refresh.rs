//! Asking again on an operator's word: whether what is held under an address is still what its origin has, fresh or not.
//!
//! 1. Not held: it is filled, as a prefetch does.
//! 2. A digest is known for the address: what is held is right, whatever the origin has there now.
//! 3. Else the origin is asked with the validators that it gave. If it has another version that one is filled whole, and
//!    what was held stays until it is there.

use std::sync::Arc;

use crate::fill::error::Error;
use crate::fill::inner::Inner;
use crate::fill::locate::{Keeping, Target};
use crate::fill::renew::Verdict;
use crate::model::name::Name;
use crate::model::payload::Authority;
use crate::pace::Class;
use crate::store::Found;

/// What came of asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// Nothing was held; it is now.
    Filled,
    /// A digest is known for the address, so that there was nothing to ask.
    Known,
    /// The origin says that it is still the same.
    Current,
    /// The origin sent it anew, and it is the same.
    Same,
    /// The origin had another version, which is held now.
    Replaced,
}

impl Inner {
    pub(super) async fn refresh(self: &Arc<Self>, target: &Target) -> Result<(Found, Refreshed), Error> {
        let held = if target.keeping == Keeping::Never { None } else { self.store.find_for_work(&target.name).await? };
        let Some(before) = held else {
            return Ok((self.prefetch(target, Class::Prefetch).await?, Refreshed::Filled));
        };
        let gathered = self.gather(target).await?;
        let vouched = gathered.expected.is_some_and(|expected| expected.authority > Authority::Unauthenticated);
        if vouched || matches!(gathered.key, Name::Digest(_)) {
            return Ok((before, Refreshed::Known));
        }
        let verdict = {
            let (mut told, _) = self.ask_again(target, &before);
            match told.wait_for(Option::is_some).await {
                Ok(verdict) => verdict.clone(),
                Err(_) => None,
            }
        };
        match verdict {
            Some(Verdict::Current) => {
                let found = self.store.find_for_work(&target.name).await?.unwrap_or(before);
                Ok((found, Refreshed::Current))
            }
            Some(Verdict::Replaced) => {
                let old = before.held.payload().digests.blake3;
                let found = self.replacement(target, &before).await?;
                let same = found.held.payload().digests.blake3 == old;
                Ok((found, if same { Refreshed::Same } else { Refreshed::Replaced }))
            }
            Some(Verdict::Failed(error)) => Err(error),
            None => Err(Error::unavailable("the question broke off")),
        }
    }

    /// The new version, whose flight has begun and may have ended.
    async fn replacement(self: &Arc<Self>, target: &Target, before: &Found) -> Result<Found, Error> {
        let (old, mut changes) = (before.held.payload().digests.blake3, 0);
        loop {
            if self.closing.is_cancelled() {
                return Err(Error::Closing);
            }
            if let Some(found) = self.store.find_for_work(&target.name).await?
                && found.held.payload().digests.blake3 != old
            {
                return Ok(found);
            }
            let gathered = self.gather(target).await?;
            if let Some(found) =
                self.filled(target, &gathered, Class::Prefetch, "the new version", &mut changes).await?
            {
                return Ok(found);
            }
        }
    }
}
