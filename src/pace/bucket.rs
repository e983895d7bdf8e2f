//! A token bucket, seen from its empty side: what flowed is a debt that the rate pays off, and a debt up to the burst is
//! no reason to wait. Pure: the time comes from the caller, who also does the waiting.
//!
//! Counted in bytes times a billion, so that a nanosecond pays off `rate` of them and nothing is ever rounded away.

use std::time::Duration;

const NANOS: u128 = 1_000_000_000;

/// Keeps one flow to a rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Bytes a second, at least 1.
    rate: u64,
    /// Bytes that may go at once after a pause.
    burst: u64,
    /// What flowed and is not paid off yet, in bytes times [`NANOS`].
    debt: u128,
    /// When `debt` was right.
    at: Duration,
}

impl Bucket {
    /// At rest. `rate` in bytes a second (0 counts as 1); after a pause `burst` bytes go without a wait.
    pub fn new(rate: u64, burst: u64) -> Self {
        Self { rate: rate.max(1), burst, debt: 0, at: Duration::ZERO }
    }

    /// Counts `bytes` that flow at `now`, and says how long to wait before the next ones. `now` is the time since any
    /// fixed moment; one before the last counts as the last.
    ///
    /// The bytes are counted whether the caller waits or not: who does not, is told to wait longer next time.
    pub fn take(&mut self, now: Duration, bytes: u64) -> Duration {
        let passed = now.saturating_sub(self.at).as_nanos();
        self.at = self.at.max(now);
        let paid = passed.saturating_mul(u128::from(self.rate));
        self.debt = self.debt.saturating_sub(paid).saturating_add(u128::from(bytes) * NANOS);
        let over = self.debt.saturating_sub(u128::from(self.burst) * NANOS);
        let nanos = over.div_ceil(u128::from(self.rate));
        u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
    }

    /// Another rate from `now` on; what flowed before it is paid off at the old one.
    pub fn set_rate(&mut self, now: Duration, rate: u64) {
        self.take(now, 0);
        self.rate = rate.max(1);
    }

    /// Another burst. What is owed beyond it is forgotten, so that nobody waits under a new rule for what an old one allowed.
    pub fn set_burst(&mut self, burst: u64) {
        self.burst = burst;
        self.debt = self.debt.min(u128::from(burst) * NANOS);
    }

    /// How long until bytes may flow again: until what is owed is no more than the burst.
    pub fn wait(&mut self, now: Duration) -> Duration {
        self.take(now, 0)
    }

    /// Takes back what was counted and did not flow after all.
    pub fn give_back(&mut self, bytes: u64) {
        self.debt = self.debt.saturating_sub(u128::from(bytes) * NANOS);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Within a nanosecond's worth of bytes.
    fn about(bytes: u128, rate: u64) -> u128 {
        bytes + u128::from(rate).div_ceil(NANOS)
    }

    proptest! {
        /// Who waits as told never has more through than the burst and the rate allow, and never waits where less went.
        #[test]
        fn keeps_the_rate_and_wastes_nothing(
            rate in 1_u64..10_000_000_000,
            burst in 0_u64..10_000_000,
            flow in proptest::collection::vec((0_u64..5_000_000, 0_u64..3_000_000_000), 1..60),
        ) {
            let mut bucket = Bucket::new(rate, burst);
            let mut now = Duration::from_secs(7);
            let start = now;
            let mut sent: u128 = 0;
            let mut idle = false;
            for (bytes, pause) in flow {
                sent += u128::from(bytes);
                let wait = bucket.take(now, bytes);
                now += wait;
                let allowed = u128::from(burst) + now.saturating_sub(start).as_nanos() * u128::from(rate) / NANOS;
                prop_assert!(sent <= about(allowed, rate), "{sent} of {allowed}");
                if !idle && wait > Duration::ZERO {
                    // Without a pause so far, waiting ends as soon as the rate allows it.
                    prop_assert!(allowed <= about(sent, rate) + 60, "{allowed} for {sent}");
                }
                if pause % 3 == 0 {
                    now += Duration::from_nanos(pause);
                    idle = true;
                }
            }
        }

        #[test]
        fn a_clock_that_runs_backwards_or_far_ahead_is_survived(
            times in proptest::collection::vec(any::<u64>(), 1..20),
            bytes: u64,
            rate: u64,
        ) {
            let mut bucket = Bucket::new(rate, 0);
            for time in times {
                let wait = bucket.take(Duration::from_nanos(time), bytes);
                prop_assert!(bytes == 0 || wait > Duration::ZERO);
            }
        }
    }

    #[test]
    fn a_pause_earns_the_burst_and_no_more() {
        let second = Duration::from_secs(1);
        let mut bucket = Bucket::new(1000, 500);
        assert_eq!(bucket.take(second, 500), Duration::ZERO);
        assert_eq!(bucket.take(second, 1000), second);
        assert_eq!(bucket.take(second * 1000, 500), Duration::ZERO);
        assert_eq!(bucket.take(second * 1000, 1), Duration::from_millis(1));
        bucket.set_rate(second * 1000, 100);
        assert_eq!(bucket.take(second * 1000, 0), Duration::from_millis(10));
    }
}
