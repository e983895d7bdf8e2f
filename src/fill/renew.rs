//! Asking whether a stale object is still the origin's version: once for all who wait, and never for longer than a client
//! bears. Where the origin cannot be asked, the stale object is served, unless the origin has forbidden that.

use std::sync::{Arc, PoisonError};

use tokio::sync::watch;

use crate::base::span::Span;
use crate::fill::Obtained;
use crate::fill::config::{EXTENT_FIRST, LEARNING_LINGER, REVALIDATION_PAUSE};
use crate::fill::error::Error;
use crate::fill::fresh;
use crate::fill::gate::Class;
use crate::fill::inner::{Inner, held, patience, status};
use crate::fill::learn::First;
use crate::fill::locate::Target;
use crate::fill::pump::host_of;
use crate::model::name::Name;
use crate::model::outcome::Outcome;
use crate::model::payload::{Location, Validators};
use crate::store::Found;
use crate::upstream::{Answer, Ask, Method};

/// What came of asking.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// Still right; written down.
    Current,
    /// There is a new version; its flight has begun.
    Replaced,
    /// No answer, or one that says no.
    Failed(Error),
}

/// A question on the list, for whoever waits for its verdict; it is taken off the list on every path.
struct Listed {
    inner: Arc<Inner>,
    name: Name,
    /// Whoever waits holds a receiver.
    tell: watch::Sender<Option<Verdict>>,
}

impl Listed {
    /// What `asking` brings; `None` once nobody has waited for the verdict for [`LEARNING_LINGER`].
    async fn while_claimed<T>(&self, asking: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            told = asking => Some(told),
            () = async { while !self.is_left().await {} } => None,
        }
    }

    /// Waits until everybody has left, and a while. `true`: nobody came back, and from now on nobody can.
    async fn is_left(&self) -> bool {
        self.tell.closed().await;
        tokio::time::sleep(LEARNING_LINGER).await;
        let mut renewals = self.inner.renewals.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.tell.is_closed();
        if left {
            renewals.remove(&self.name);
        }
        left
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut renewals = self.inner.renewals.lock().unwrap_or_else(PoisonError::into_inner);
        // One that nobody waited for is off the list, and another one may stand there.
        if renewals.get(&self.name).is_some_and(|listed| listed.same_channel(&self.tell)) {
            renewals.remove(&self.name);
        }
    }
}

impl Inner {
    /// `Some`: serve this. `None`: a new version is being fetched.
    pub(super) async fn renew(self: &Arc<Self>, target: &Target, found: Found) -> Result<Option<Obtained>, Error> {
        let stale_ok = found.alias.freshness.as_ref().is_some_and(fresh::may_serve_stale);
        if stale_ok && self.memory.is_paused(&target.name) {
            return Ok(Some(held(found, status(Outcome::Stale, false, false))));
        }
        let (mut verdict, joined) = self.ask_again(target, &found);
        let told = verdict.wait_for(Option::is_some);
        let verdict = match tokio::time::timeout(patience(&self.config, stale_ok), told).await {
            Ok(Ok(verdict)) => verdict.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        match verdict {
            Some(Verdict::Current) => {
                // The renewed alias, if it can be read back; the payload is the same in any case.
                let found = self.store.find(&target.name).await.ok().flatten().unwrap_or(found);
                Ok(Some(held(found, status(Outcome::Stale, false, joined))))
            }
            Some(Verdict::Replaced) => Ok(None),
            Some(Verdict::Failed(error @ Error::Origin(..))) => Err(error),
            Some(Verdict::Failed(_)) | None if stale_ok => Ok(Some(held(found, status(Outcome::Stale, false, joined)))),
            Some(Verdict::Failed(error)) => Err(error),
            None => Err(Error::unavailable("the origin does not say whether the object has changed")),
        }
    }

    /// Joins or starts the question; it goes on whoever leaves, as long as somebody is left or comes again soon.
    pub(super) fn ask_again(
        self: &Arc<Self>,
        target: &Target,
        found: &Found,
    ) -> (watch::Receiver<Option<Verdict>>, bool) {
        let mut renewals = self.renewals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = renewals.get(&target.name) {
            return (running.subscribe(), true);
        }
        let (tell, told) = watch::channel(None);
        renewals.insert(target.name.clone(), tell.clone());
        drop(renewals);
        self.counters.revalidations.inc();
        let listed = Listed { inner: Arc::clone(self), name: target.name.clone(), tell };
        let (inner, target, found) = (Arc::clone(self), target.clone(), found.clone());
        self.tracker.spawn(async move {
            let verdict = tokio::select! {
                () = inner.closing.cancelled() => Verdict::Failed(Error::Closing),
                verdict = inner.revalidate(&target, &found, &listed) => verdict,
            };
            if let Verdict::Failed(error) = &verdict {
                tracing::info!(name = target.name.shown(), %error, "revalidation failed");
                // An origin that said no was asked: it is not served against its word while others are told of it.
                if !matches!(error, Error::Origin(..)) {
                    inner.memory.pause(&target.name, REVALIDATION_PAUSE);
                }
            }
            let tell = listed.tell.clone();
            drop(listed);
            tell.send_replace(Some(verdict));
        });
        (told, false)
    }

    async fn revalidate(self: &Arc<Self>, target: &Target, found: &Found, listed: &Listed) -> Verdict {
        let Some(location) = target.locations.first() else {
            return Verdict::Failed(Error::unavailable("no place is known to ask"));
        };
        let known = &found.alias.validators;
        let conditional = known.etag.is_some() || known.last_modified.is_some();
        let size = found.held.payload().size;
        let ask = |location: &Location| Ask {
            location: location.clone(),
            method: Method::Get,
            // From the start, so that the first bytes of a new version count; of an empty object there is no range.
            span: (size > 0).then_some(Span::new(0, EXTENT_FIRST)),
            pinned: None,
            revalidate: conditional.then(|| known.clone()),
            via: target.via.clone(),
        };
        let asking = async {
            // Given back before a flight begins: that one stands in line itself.
            let _permit = self.gates.enter(host_of(&location.url), Class::Demand).await.ok();
            if let Some(secure) = self.known_secure(location)
                && let Some(answer) = self.ask_securely(ask(&secure)).await
            {
                return (Ok(answer), secure);
            }
            // What HTTPS does not give now is asked for as the client meant it.
            (self.source.ask(ask(location)).await, location.clone())
        };
        // Its place in line and its connection are for those who still want to know.
        let Some((asked, asked_at)) = listed.while_claimed(asking).await else {
            return Verdict::Failed(Error::unavailable("nobody waits for it any more"));
        };
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) => {
                self.note_answer(&target.name, &location.url, error.to_string());
                return Verdict::Failed(Error::of_origin(&error));
            }
        };
        self.note_answer(&target.name, &location.url, answer.status.to_string());
        let same = answer.status == 304
            || (known.strong_etag().is_some()
                && answer.validators.strong_etag() == known.strong_etag()
                && answer.total == Some(size));
        if same {
            self.keep_on(target, found, &asked_at, (answer.status, answer.headers, answer.validators)).await
        } else {
            self.replace(target, answer, &asked_at).await
        }
    }

    async fn keep_on(
        &self,
        target: &Target,
        found: &Found,
        location: &Location,
        (status, headers, said): (u16, Vec<(String, String)>, Validators),
    ) -> Verdict {
        let now = self.clock.now();
        let old = &found.alias.validators;
        let validators = Validators {
            etag: said.etag.clone().or_else(|| old.etag.clone()),
            last_modified: said.last_modified.clone().or_else(|| old.last_modified.clone()),
        };
        let freshness = match &found.alias.freshness {
            // It never changes under its name; somebody wanted to know all the same.
            None => None,
            Some(old) => {
                let renewed = if status == 304 {
                    fresh::renew(old, &location.url, &headers, &said, now)
                } else {
                    fresh::judge(&location.url, &headers, &validators, now)
                };
                // What must not be kept any longer stays stale, and is asked about each time.
                renewed.or_else(|| Some(old.clone()))
            }
        };
        match self.store.refresh(&target.name, freshness, validators).await {
            Ok(()) => Verdict::Current,
            Err(error) => {
                tracing::warn!(name = target.name.shown(), %error, "a revalidation could not be written down");
                Verdict::Current
            }
        }
    }

    async fn replace(self: &Arc<Self>, target: &Target, answer: Answer, location: &Location) -> Verdict {
        let first = First::Bytes(Span::new(0, EXTENT_FIRST));
        let mut answer = Some((answer, location.clone()));
        loop {
            let started = match self.gather(target).await {
                Ok(gathered) => match self.join_or_start(target, &gathered, None, first, &mut answer) {
                    // The claim is dropped at once: the flight lingers long enough for those who wait for this verdict.
                    Ok(Some(_)) => return Verdict::Replaced,
                    Ok(None) => self.until_gone(target, &gathered).await,
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            if let Err(error) = started {
                return Verdict::Failed(error);
            }
        }
    }
}
