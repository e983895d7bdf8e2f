//! What went wrong in a conversation, got over or not: counted by kind, and the wait under way for who looks on. A person who
//! starts a run against a server that is down must see so within seconds, and not after the last attempt.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::upstream::error::Cause;
use crate::upstream::wsus::error::Trouble;
use crate::wire::wsusss::{Method, Reaction};

/// A question that will be asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What is asked.
    pub method: Method,
    /// Why the last attempt failed.
    pub why: String,
    /// The number of the next attempt.
    pub attempt: u32,
    /// After so many it is given up.
    pub attempts_max: u32,
    /// How long is waited from the failure to that attempt.
    pub wait: Duration,
}

/// All that one conversation met.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    met: Mutex<Met>,
}

#[derive(Debug, Default)]
struct Met {
    counts: BTreeMap<&'static str, u64>,
    waiting: Option<Waiting>,
}

impl Troubles {
    fn lock(&self) -> MutexGuard<'_, Met> {
        // Each change is one assignment, so that a panic elsewhere has broken nothing.
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, kind: Option<&'static str>) {
        if let Some(kind) = kind {
            *self.lock().counts.entry(kind).or_default() += 1;
        }
    }

    pub(super) fn wait(&self, waiting: Waiting) {
        self.lock().waiting = Some(waiting);
    }

    /// The server has answered: whatever was waited for is over. Of several workers the last one that waits is told.
    pub(super) fn answered(&self) {
        let mut met = self.lock();
        if met.waiting.is_some() {
            met.waiting = None;
        }
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.lock().counts.clone()
    }

    pub(super) fn waiting(&self) -> Option<Waiting> {
        self.lock().waiting.clone()
    }
}

/// The kind of a failed exchange; `None` where nothing failed.
pub(super) fn of(trouble: &Trouble) -> Option<&'static str> {
    Some(match trouble {
        Trouble::Paused => return None,
        Trouble::NoSoap(_) => "no soap",
        Trouble::Answer(error) if error.is_retryable() => "broken off",
        Trouble::Answer(_) => "unreadable",
        Trouble::NotKept(_) => "not kept here",
        Trouble::Path(cause) => match cause {
            Cause::Name(_) | Cause::NoName(_) => "name not resolved",
            Cause::Refused | Cause::Connect(_) | Cause::ConnectSlow(_) => "not reached",
            Cause::Silent(_) | Cause::Impatient(_) => "no answer in time",
            Cause::Stalled { .. } | Cause::Cut { .. } => "broken off",
            Cause::Busy { .. } => "busy",
            Cause::Issuer | Cause::Tls(_) => "tls",
            Cause::ProxyCredentials { .. } | Cause::Proxy { .. } => "proxy",
            Cause::NoResume { .. }
            | Cause::Status(_)
            | Cause::Unauthorized(_)
            | Cause::Changed(_)
            | Cause::Lied(_)
            | Cause::NotAllowed(_) => "refused",
        },
    })
}

/// The kind of a fault, by what is done about it.
pub(super) fn of_refusal(reaction: Reaction) -> &'static str {
    match reaction {
        Reaction::Reauthorize => "cookie refused",
        Reaction::ResetAnchors => "anchor refused",
        Reaction::BackOff => "busy",
        Reaction::Bisect => "batch refused",
        Reaction::Restart | Reaction::Stop => "refused",
    }
}
