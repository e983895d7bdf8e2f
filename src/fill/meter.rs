//! How fast bytes come in: a smoothed rate that forgets idle time.

use std::time::Duration;

use tokio::time::Instant;

/// A sample is taken after so long ...
const WINDOW: Duration = Duration::from_millis(500);
/// ... or the first one after so many bytes: less says more about buffers on the way than about the link.
const FIRST_BYTES: u64 = 256 << 10;
/// A pause longer than this is idle time, not slowness.
const PAUSE: Duration = Duration::from_secs(5);

/// Bytes a second, smoothed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    since: Option<Instant>,
    last: Option<Instant>,
    bytes: u64,
    rate: Option<u64>,
}

impl Meter {
    /// A rate known from before, until a sample of its own replaces it.
    pub(super) fn preset(&mut self, rate: u64) {
        self.rate.get_or_insert(rate);
    }

    /// Asking begins: time counts from now on, unless it does already.
    pub(super) fn start(&mut self, now: Instant) {
        if self.last.is_none_or(|last| now.saturating_duration_since(last) > PAUSE) {
            self.since = Some(now);
            self.bytes = 0;
        }
        self.last = Some(now);
    }

    /// Bytes came in.
    pub(super) fn add(&mut self, now: Instant, bytes: u64) {
        let since = *self.since.get_or_insert(now);
        self.last = Some(now);
        self.bytes += bytes;
        let took = now.saturating_duration_since(since);
        if took < WINDOW && !(self.rate.is_none() && self.bytes >= FIRST_BYTES) {
            return;
        }
        let sample = u128::from(self.bytes) * 1000 / took.as_millis().max(1);
        let sample = u64::try_from(sample).unwrap_or(u64::MAX);
        // Half old, half new; down at once where the link has collapsed, since long extents would hold it.
        self.rate = Some(match self.rate {
            Some(rate) if sample > rate / 4 => rate / 2 + sample / 2,
            _ => sample,
        });
        self.since = Some(now);
        self.bytes = 0;
    }

    /// Bytes a second; `None` before the first sample.
    pub(super) fn rate(&self) -> Option<u64> {
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smooths_and_forgets_pauses() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut meter = Meter::default();
        meter.start(at(0));
        meter.add(at(100), 100_000);
        assert_eq!(meter.rate(), None, "too little to judge");
        meter.add(at(500), 400_000);
        assert_eq!(meter.rate(), Some(1_000_000));
        meter.add(at(1000), 1_000_000);
        assert_eq!(meter.rate(), Some(1_500_000));
        meter.start(at(60_000));
        meter.add(at(60_500), 750_000);
        assert_eq!(meter.rate(), Some(1_500_000), "the pause counts for nothing");
        meter.add(at(61_000), 10_000);
        assert_eq!(meter.rate(), Some(20_000), "a collapse is believed at once");
    }
}
