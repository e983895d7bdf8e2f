//! The pace of the last stretch: how fast bytes leave while what is left to hash is hashed, so that the proof is there
//! before the bytes that wait for it are reached, and no response falls silent meanwhile.

use std::time::Duration;

use tokio::time::Instant;

use crate::fill::config::{BLINK, HASH_RATE, TRICKLE_BYTES_MIN, TRICKLE_EVERY};

/// Between two looks at the hashing that count: less says more about its steps than about its rate.
const LOOK: Duration = Duration::from_millis(200);

/// How fast the hashing is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    seen: Option<(Instant, u64)>,
    /// Bytes a second.
    rate: u64,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { seen: None, rate: HASH_RATE }
    }

    /// The hashing has come to `hashed`. `all_in`: nothing holds it up any more; before that it may have waited for bytes,
    /// so that only a higher rate is believed.
    pub(super) fn note(&mut self, now: Instant, hashed: u64, all_in: bool) {
        let Some((since, before)) = self.seen else {
            self.seen = Some((now, hashed));
            return;
        };
        let took = now.saturating_duration_since(since);
        if took < LOOK {
            return;
        }
        self.seen = Some((now, hashed));
        let rate = u128::from(hashed.saturating_sub(before)) * 1000 / took.as_millis().max(1);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        if rate > self.rate || (all_in && rate > 0) {
            self.rate = rate;
        }
    }

    /// How many bytes of the `stretch` that is left to a response may leave in a step of [`TRICKLE_EVERY`], with `left`
    /// bytes to be hashed; `None`: all of them.
    pub(super) fn step(&self, left: u64, stretch: u64) -> Option<u64> {
        let takes = u128::from(left) * 1000 / u128::from(self.rate.max(1));
        if takes <= BLINK.as_millis() {
            return None;
        }
        // A quarter more than estimated, for the proof must be first.
        let bytes = u128::from(stretch) * TRICKLE_EVERY.as_millis() / (takes + takes / 4);
        Some(u64::try_from(bytes).unwrap_or(u64::MAX).max(TRICKLE_BYTES_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends a stretch while so much is hashed at such a rate: the steps until the hashing was through, and what was left.
    fn send(mut left: u64, rate: u64, mut stretch: u64) -> (Vec<u64>, u64) {
        let (mut pace, start, mut hashed) = (Pace::new(), Instant::now(), 0);
        let mut steps = Vec::new();
        for step in 0_u32.. {
            pace.note(start + step * TRICKLE_EVERY, hashed, true);
            let Some(bytes) = pace.step(left, stretch) else { break };
            steps.push(bytes);
            stretch = stretch.saturating_sub(bytes);
            let done = (rate / 2).min(left);
            (left, hashed) = (left - done, hashed + done);
        }
        (steps, stretch)
    }

    #[test]
    fn the_hashing_ends_before_the_stretch_and_no_step_is_too_small() {
        for (left, rate) in
            [(3 << 30, 150_000_000), (14 << 30, 400_000_000), (2 << 30, 1_000_000_000), (1 << 30, 30_000_000)]
        {
            let (steps, rest) = send(left, rate, 1 << 20);
            assert!(rest > 0, "{left} at {rate}: the end was reached after {} steps", steps.len());
            assert!(steps.iter().all(|step| step * 2 > 4_000), "{left} at {rate}: {:?}", steps.iter().min());
        }
        assert!(send(100 << 20, 500_000_000, 1 << 20).0.is_empty(), "hardly anything to hash: no trickle");
    }

    #[test]
    fn a_hashing_that_waits_for_bytes_does_not_count_as_slow() {
        let (mut pace, start) = (Pace::new(), Instant::now());
        pace.note(start, 0, false);
        pace.note(start + Duration::from_secs(1), 1 << 20, false);
        assert_eq!(pace.step(HASH_RATE, 1 << 20), None);
        pace.note(start + Duration::from_secs(2), 2 << 20, true);
        assert_eq!(pace.step(HASH_RATE, 1 << 20), Some(TRICKLE_BYTES_MIN));
    }
}
