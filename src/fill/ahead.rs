//! Work that no response waits for: filling a whole payload ahead of time, and mending one that is held.

use std::sync::Arc;

use crate::base::digest::{Blake3, Digest};
use crate::base::span::{Span, SpanSet};
use crate::fill::Obtained;
use crate::fill::config::{CHANGES_MAX, EXTENT_FIRST};
use crate::fill::error::Error;
use crate::fill::flight::{End, Flight, Phase, Shared};
use crate::fill::gather::{Gathered, own};
use crate::fill::inner::{Inner, own_error};
use crate::fill::learn::First;
use crate::fill::locate::{self, Keeping, Target};
use crate::fill::owner::{self, Start};
use crate::model::name::Name;
use crate::model::payload::{Authority, Location, Published, Standing};
use crate::pace::Class;
use crate::store::Found;

impl Inner {
    /// Fills the whole in this class of bandwidth and waits for it.
    pub(super) async fn prefetch(self: &Arc<Self>, target: &Target, class: Class) -> Result<Found, Error> {
        if target.keeping == Keeping::Never {
            return Err(Error::unavailable("trust lists are never kept"));
        }
        let mut changes = 0;
        loop {
            if self.closing.is_cancelled() {
                return Err(Error::Closing);
            }
            if let Some(Obtained::Held { found, .. }) = self.held(target, false).await? {
                return Ok(found);
            }
            let mut gathered = self.gather(target).await?;
            // Who names a place for a digest means that one, whatever was noted of other places before.
            let named = |place: &Location| target.locations.iter().any(|own| own.url == place.url);
            gathered.locations.sort_by_key(|place| !(place.standing == Standing::Allowed && named(place)));
            if let Some(Obtained::Held { found, .. }) = self.held_by_digest(target, &gathered, false).await? {
                return Ok(found);
            }
            if let Some(found) = self.filled(target, &gathered, class, "it", &mut changes).await? {
                return Ok(found);
            }
        }
    }

    /// Joins the flight of what was gathered, or begins one, and waits until all of it is there. `None`: look again. `what`
    /// is said of what cannot be kept; `changes` counts how often the origin had another version meanwhile.
    pub(super) async fn filled(
        self: &Arc<Self>,
        target: &Target,
        gathered: &Gathered,
        class: Class,
        what: &str,
        changes: &mut u32,
    ) -> Result<Option<Found>, Error> {
        let first = First::Bytes(Span::new(0, EXTENT_FIRST));
        let Some((flight, _)) = self.join_or_start(target, gathered, None, first, &mut None)? else {
            self.until_gone(target, gathered).await?;
            return Ok(None);
        };
        flight.lease.shared.want_whole(class);
        match self.until_end(&flight).await {
            End::Published(found) => Ok(Some(own(found, target, gathered))),
            End::Passed(spare) => Err(Error::unavailable(format!("{what} cannot be kept: {}", spare.why))),
            End::Spilled(error, ..) => Err(Error::Store(error)),
            End::Failed(error) | End::Changed(error) => {
                let times = self.memory.changes(&gathered.key);
                if times > *changes && times <= CHANGES_MAX {
                    *changes = times;
                    return Ok(None);
                }
                let error = own_error(&flight, target, &error).unwrap_or(error);
                drop(flight);
                // Who is told of wrong bytes finds them in quarantine. If that takes too long, the fault is still this.
                if matches!(error, Error::Mismatch { .. })
                    && let Err(slow) = self.until_gone(target, gathered).await
                {
                    tracing::warn!(%slow, "wrong bytes are told of before they are in quarantine");
                }
                Err(error)
            }
            End::Idle => Ok(None),
        }
    }

    pub(super) async fn until_end(&self, flight: &Flight) -> End {
        let mut phase = flight.lease.shared.phase.subscribe();
        match phase.wait_for(|phase| matches!(phase, Phase::Ended(_))).await.as_deref() {
            Ok(Phase::Ended(end)) => end.clone(),
            _ => End::Failed(Error::unavailable("the flight is gone")),
        }
    }

    /// Refetches the bad bytes of a held payload and puts the mended file in its place.
    pub(super) async fn repair(self: &Arc<Self>, blake3: Blake3, bad: SpanSet) -> Result<Found, Error> {
        let name = Name::Digest(Digest::Blake3(blake3));
        let Some(listed) = self.store.show(&name).await? else {
            return Err(Error::Store(Arc::new(crate::store::Error::Gone)));
        };
        if bad.is_empty()
            && let Some(found) = self.store.find_for_work(&name).await?
        {
            return Ok(found);
        }
        let digests = listed.payload.digests;
        let all = [Digest::Sha256(digests.sha256), Digest::Blake3(blake3), Digest::Sha1(digests.sha1)];
        let mut locations = Vec::new();
        for named in listed.names.iter().cloned().chain(all.map(Name::Digest)) {
            locations.extend(self.store.note(&named).await?.locations);
            if let Name::Origin(key) = &named {
                locations.extend(locate::key_location(key, &self.allow));
            }
        }
        let mentions = self.store.catalog().mentions(name.clone(), all.to_vec()).await?;
        locations.extend(self.named_by(&mentions));
        locations.extend(self.of_upstream(&mentions));
        if let Some(above) = self.config.above() {
            let extension = listed.names.iter().find_map(extension_of);
            locations.extend(all.iter().filter_map(|digest| locate::upstream_location(above, digest, extension)));
        }
        if let Some(parent) = &self.parent {
            let expected =
                Published { blake3: None, sha1: None, sha256: Some(digests.sha256), authority: Authority::Address };
            locations = parent.places(Some(expected), Some(digests.sha1), locations).await;
        }
        if locations.is_empty() {
            return Err(Error::unavailable(format!("no place is known where {blake3} could be had")));
        }
        let expected = Published {
            blake3: Some(blake3),
            sha1: Some(digests.sha1),
            sha256: Some(digests.sha256),
            authority: Authority::Address,
        };
        let draft = self.store.repair_draft(blake3, bad, locations.clone()).await?;
        let target = Target {
            name: name.clone(),
            locations: locations.clone(),
            expected: Some(expected),
            keeping: Keeping::Immutable,
            rule: "repair",
            via: None,
        };
        // Not on the map: clients are served from the payload that is being mended, never from its draft.
        let shared = Arc::new(Shared::new(
            name,
            None,
            true,
            self.store.clone(),
            Arc::clone(&self.source),
            Arc::clone(&self.memory),
            Arc::clone(&self.gates),
        ));
        {
            let mut state = shared.lock();
            state.expected = Some(expected);
            state.whole = true;
            for location in &locations {
                state.add_source(location);
            }
        }
        let Some(flight) = shared.lease() else {
            return Err(Error::Closing);
        };
        let first = First::Bytes(Span::new(0, EXTENT_FIRST));
        let start = Start { target, generation: 1, first, answer: None, draft: Some(draft) };
        self.tracker.spawn(owner::fly(Arc::clone(self), shared, start));
        match self.until_end(&flight).await {
            End::Published(found) => Ok(found),
            End::Failed(error) | End::Changed(error) => Err(error),
            End::Spilled(error, ..) => Err(Error::Store(error)),
            End::Passed(_) | End::Idle => Err(Error::unavailable("the repair ended without a result")),
        }
    }
}

/// The end of a file's name: a WSUS does not find a file without it.
fn extension_of(name: &Name) -> Option<&str> {
    let Name::Origin(key) = name else { return None };
    let path = key.target().split('?').next()?;
    let (stem, extension) = path.rsplit('/').next()?.rsplit_once('.')?;
    (!stem.is_empty() && !extension.is_empty()).then_some(extension)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::OriginKey;

    #[test]
    fn the_extension_is_that_of_the_file() {
        let extension = |key: &str| extension_of(&Name::Origin(OriginKey::new(key).unwrap())).map(str::to_owned);
        assert_eq!(extension("h.example/a.b/windows10.0-kb1.cab?y=z.w").as_deref(), Some("cab"));
        assert_eq!(extension("h.example/a.b/files"), None);
    }
}
