//! Whether what is known of an endpoint is still so, without a look at it: a few counters, each for many endpoints.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::deployment::Endpoint;

/// Counters: a rollout of a thousand machines in an hour turns each of them four times.
const TURNS: usize = 256;

/// Counters, by the last byte of an endpoint's id.
#[derive(Debug)]
pub(crate) struct Turns([AtomicU64; TURNS]);

/// How often each had turned at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turned(Box<[u64]>);

impl Turned {
    /// The number that [`super::Fleet::turn`] had for an endpoint.
    pub fn of(&self, endpoint: Endpoint) -> u64 {
        let [.., last] = endpoint.0.bytes();
        self.0.get(usize::from(*last)).copied().unwrap_or(0)
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; TURNS])
    }
}

impl Turns {
    fn at(&self, endpoint: Endpoint) -> Option<&AtomicU64> {
        let [.., last] = endpoint.0.bytes();
        self.0.get(usize::from(*last))
    }

    /// How often it turned.
    pub(super) fn of(&self, endpoint: Endpoint) -> u64 {
        self.at(endpoint).map_or(0, |turns| turns.load(Ordering::Acquire))
    }

    /// How often each turned, as of now.
    pub(super) fn turned(&self) -> Turned {
        Turned(self.0.iter().map(|turns| turns.load(Ordering::Acquire)).collect())
    }

    /// How often all turned.
    pub(super) fn all(&self) -> u64 {
        self.0.iter().fold(0, |all, turns| all.wrapping_add(turns.load(Ordering::Acquire)))
    }

    /// What is known of it is committed.
    pub(super) fn turn(&self, endpoint: Endpoint) {
        if let Some(turns) = self.at(endpoint) {
            turns.fetch_add(1, Ordering::Release);
        }
    }
}
