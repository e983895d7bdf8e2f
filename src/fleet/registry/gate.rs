//! How often what machines say of themselves is written. Each commit is synced to the disk, which publishes share: a rollout, or somebody
//! who says another thing of himself each time, must not have one for each registration.
//!
//! Time is cut into slots, some of which may be saved up. Who finds one that has begun goes at once; where all are used, those who come
//! go together at the begin of the next one, so that the store's writer makes one commit of them. Of a slot's places, and of slots that
//! wait, there are so many; who finds none is told to come again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How long a slot is: 100 commits a second, as many as a disk that turns syncs.
const SLOT: Duration = Duration::from_millis(10);

/// Slots that are saved up while nobody registers: so many machines in a row do not wait.
const SAVED: u32 = 50;

/// Registrations that share a slot: 3,200 in a second, all that a node is made for in some seconds.
const PLACES: u32 = 32;

/// How long a registration waits for its slot.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// When the latest slot begins, and how many have a place in it.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<Option<(Instant, u32)>>);

impl Gate {
    /// Waits for a place; `false`, at once, where there is none to be had in time.
    pub(super) async fn pass(&self) -> bool {
        let Some(begins) = self.place(Instant::now()) else { return false };
        if begins > Instant::now() {
            sleep_until(begins).await;
        }
        true
    }

    /// When the slot begins in which there is a place.
    fn place(&self, now: Instant) -> Option<Instant> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(SLOT * SAVED).unwrap_or(now);
        let (begins, many) = match *latest {
            // It waits yet, and has a place.
            Some((begins, many)) if begins > now && many < PLACES => (begins, many),
            Some((begins, _)) => ((begins + SLOT).max(earliest), 0),
            None => (earliest, 0),
        };
        if begins.duration_since(now) > WAIT_MAX {
            return None;
        }
        *latest = Some((begins, many + 1));
        Some(begins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_fill_and_end() {
        let (gate, now) = (Gate::default(), Instant::now() + Duration::from_secs(10));
        let waits = |ms: u64| {
            let at = now + Duration::from_millis(ms);
            gate.place(at).map(|begins| begins.saturating_duration_since(at).as_millis())
        };
        for _ in 0..=SAVED {
            assert_eq!(waits(0), Some(0), "some in a row go at once");
        }
        for _ in 0..PLACES {
            assert_eq!(waits(4), Some(6), "then those that come go together");
        }
        assert_eq!(waits(4), Some(16));
        assert_eq!((waits(25), waits(25)), (Some(5), Some(5)));
        // All that have their turn within a second, and no more.
        let mut taken = 0;
        while waits(30).is_some() {
            taken += 1;
        }
        assert_eq!(taken, 100 * PLACES);
        assert_eq!((waits(39), waits(40)), (None, Some(1000)), "it goes on");
        assert_eq!(waits(60_000), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn those_of_a_slot_go_together() {
        let (gate, begun) = (Gate::default(), Instant::now());
        for _ in 0..=SAVED {
            assert!(gate.pass().await);
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!((tokio::join!(gate.pass(), gate.pass()), begun.elapsed()), ((true, true), SLOT));
    }
}
