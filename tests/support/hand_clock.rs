//! A clock that stands until a test moves it.
#![allow(dead_code, reason = "not every test that includes this uses all of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use waystation::base::time::{Clock, Timestamp};

/// It stands; clones of the `Arc` are one clock.
#[derive(Debug)]
pub(crate) struct HandClock(AtomicU64);

impl HandClock {
    /// At so many milliseconds since 1970.
    pub(crate) fn at(ms: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(ms)))
    }

    /// Moves it on.
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Puts it to this time.
    pub(crate) fn set(&self, time: Timestamp) {
        self.0.store(time.ms(), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.load(Ordering::SeqCst))
    }
}
