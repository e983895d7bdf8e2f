//! What systemd is told: ready, reloading, stopping, a status text, and that the data plane is alive.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

/// The data plane's own heartbeat: a stamp that a task of its runtime renews. Where all its threads are stuck, it ages.
#[derive(Debug)]
pub(crate) struct Pulse {
    start: Instant,
    beat_ms: AtomicU64,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), beat_ms: AtomicU64::new(0) }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How long ago the last beat was.
    pub(crate) fn age(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.beat_ms.load(Ordering::Relaxed)))
    }

    /// Beats until it is dropped. Runs in the data plane's runtime.
    pub(crate) async fn beat(&self) {
        let mut tick = tokio::time::interval(BEAT);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.beat_ms.store(self.now_ms(), Ordering::Relaxed);
        }
    }
}

/// Time between two beats: fine enough for the shortest sensible watchdog, and one wake-up a second costs nothing.
const BEAT: Duration = Duration::from_secs(1);

/// Tells systemd; without one, and where it does not listen, nothing happens.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// The node works; `status` is what `systemctl status` shows.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Another text for `systemctl status`.
pub(crate) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The configuration is read again; [`ready`] must follow.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The node drains; systemd waits `at_most` and a margin more before it kills.
pub(crate) fn stopping(at_most: Duration) {
    let micros = u32::try_from((at_most + Duration::from_secs(30)).as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::Status("draining"), NotifyState::ExtendTimeoutUsec(micros)]);
}

/// Feeds systemd's watchdog while the data plane's pulse is young; returns at once where there is no watchdog.
pub(crate) async fn watchdog(pulse: &Pulse) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    feed(pulse, limit, || tell(&[NotifyState::Watchdog])).await;
}

/// Calls `alive` every third of `limit` while the pulse is younger than half of it.
async fn feed(pulse: &Pulse, limit: Duration, mut alive: impl FnMut()) {
    let mut tick = tokio::time::interval((limit / 3).max(Duration::from_millis(10)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let age = pulse.age();
        if age < (limit / 2).max(BEAT * 2) {
            alive();
        } else {
            tracing::error!(age_s = age.as_secs(), "the data plane is stuck; systemd's watchdog is left to act");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stuck_data_plane_misses_the_watchdog() {
        let pulse = Pulse::new();
        let limit = Duration::from_secs(30);
        let fed = AtomicU64::new(0);
        let count = || {
            fed.fetch_add(1, Ordering::Relaxed);
        };
        tokio::select! {
            () = pulse.beat() => unreachable!(),
            () = feed(&pulse, limit, count) => unreachable!(),
            () = tokio::time::sleep(Duration::from_mins(5)) => {}
        }
        assert!(fed.load(Ordering::Relaxed) >= 30);

        // Nobody beats any more.
        fed.store(0, Ordering::Relaxed);
        tokio::time::timeout(Duration::from_mins(5), feed(&pulse, limit, count)).await.unwrap_err();
        assert!(fed.load(Ordering::Relaxed) <= 2, "{fed:?}");
        assert!(pulse.age() >= Duration::from_mins(5));
    }
}
