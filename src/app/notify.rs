//! What systemd is told: ready, reloading, stopping, a status text, and that the data plane is alive.
//!
//! Alive means that a task of the data plane's runtime gets its turn, which it does as long as one worker is free. A
//! worker that never comes back from a task is noticed by its own counters and told of in the log; the others take its
//! work over, so that systemd is not made to end every download because of it. With the last one the beat stops.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::runtime::RuntimeMetrics;
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

/// The data plane's workers, as they were when they were last looked at.
#[derive(Debug)]
pub(crate) struct Workers {
    seen: Vec<Worker>,
}

#[derive(Clone, Copy, Debug)]
struct Worker {
    mark: Mark,
    since: Instant,
    told: bool,
}

/// What a worker counts. Busy time and parkings move on with every round that it makes (61 tasks at most); an even
/// number of parkings and wakings together means that it is not parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    busy: Duration,
    turns: u64,
}

/// How long a worker may stay with one round before that is told: every call into a disk goes to threads of its own, so
/// that milliseconds are much.
pub(crate) const WORKER_STUCK: Duration = Duration::from_secs(10);

/// What has changed about a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It has not come back from a task for too long.
    Stuck(usize),
    /// It has come back after all.
    Back(usize),
}

impl Workers {
    /// As they are now.
    pub(crate) fn new(metrics: &RuntimeMetrics) -> Self {
        let since = Instant::now();
        let seen = (0..metrics.num_workers()).map(|at| Worker { mark: mark(metrics, at), since, told: false });
        Self { seen: seen.collect() }
    }

    /// Looks at each of them; a stuck one is told once. Reads two numbers a worker, and disturbs none.
    pub(crate) fn look(&mut self, metrics: &RuntimeMetrics, at_most: Duration) -> Vec<News> {
        let now = Instant::now();
        let judge = |(at, worker): (usize, &mut Worker)| worker.judge(mark(metrics, at), now, at_most, at);
        self.seen.iter_mut().enumerate().filter_map(judge).collect()
    }
}

fn mark(metrics: &RuntimeMetrics, at: usize) -> Mark {
    Mark { busy: metrics.worker_total_busy_duration(at), turns: metrics.worker_park_unpark_count(at) }
}

impl Worker {
    fn judge(&mut self, mark: Mark, now: Instant, at_most: Duration, at: usize) -> Option<News> {
        let parked = mark.turns % 2 == 1;
        if parked || mark != self.mark {
            let told = std::mem::replace(self, Self { mark, since: now, told: false }).told;
            return told.then_some(News::Back(at));
        }
        if self.told || now.saturating_duration_since(self.since) < at_most {
            return None;
        }
        self.told = true;
        Some(News::Stuck(at))
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

    #[test]
    fn a_worker_is_stuck_only_while_it_does_nothing_and_is_not_parked() {
        let start = Instant::now();
        let mark = |busy: u64, turns: u64| Mark { busy: Duration::from_millis(busy), turns };
        let mut worker = Worker { mark: mark(0, 0), since: start, told: false };
        let mut judge = |second: u64, mark: Mark| {
            worker.judge(mark, start + Duration::from_secs(second), Duration::from_secs(10), 3)
        };
        assert_eq!(judge(9, mark(0, 0)), None);
        assert_eq!(judge(10, mark(0, 0)), Some(News::Stuck(3)));
        assert_eq!(judge(20, mark(0, 0)), None, "told once");
        assert_eq!(judge(21, mark(7, 0)), Some(News::Back(3)));
        // Always busy, never parked: it makes its rounds.
        for second in 22..100 {
            assert_eq!(judge(second, mark(second * 1000, 0)), None);
        }
        // Parked for hours.
        for second in 100..10_000 {
            assert_eq!(judge(second, mark(99_000, 1)), None);
        }
        assert_eq!(judge(10_001, mark(99_000, 2)), None);
        assert_eq!(judge(10_011, mark(99_000, 2)), Some(News::Stuck(3)));
    }

    /// Blocks one worker of `runtime` for good, until the sender is dropped; returns once it is blocked.
    fn block_one(runtime: &tokio::runtime::Runtime) -> std::sync::mpsc::Sender<()> {
        let (free, freed) = std::sync::mpsc::channel::<()>();
        let (here, came) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            here.send(()).unwrap();
            // What no task may do: this is the fault.
            let _ = freed.recv();
        });
        came.recv().unwrap();
        free
    }

    #[test]
    fn one_stuck_worker_is_noticed_and_all_of_them_stop_the_beat() {
        let data = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let metrics = data.metrics();
        let mut workers = Workers::new(&metrics);
        let pulse = std::sync::Arc::new(Pulse::new());
        let beating = std::sync::Arc::clone(&pulse);
        data.spawn(async move { beating.beat().await });
        let limit = Duration::from_millis(50);
        let mut await_news = |wanted: fn(&News) -> bool| {
            let began = std::time::Instant::now();
            while !workers.look(&metrics, limit).iter().any(wanted) {
                assert!(began.elapsed() < Duration::from_mins(1), "no news of the workers");
                std::thread::yield_now();
            }
        };
        let free = block_one(&data);
        await_news(|news| matches!(news, News::Stuck(_)));
        drop(free);
        await_news(|news| matches!(news, News::Back(_)));

        // With one worker left the beat goes on; without any it does not.
        let one = block_one(&data);
        let beat = pulse.beat_ms.load(Ordering::Relaxed);
        let began = std::time::Instant::now();
        while pulse.beat_ms.load(Ordering::Relaxed) == beat {
            assert!(began.elapsed() < Duration::from_mins(1), "no beat");
            std::thread::yield_now();
        }
        let other = block_one(&data);
        let control = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let last = AtomicU64::new(0);
        let stopped = pulse.beat_ms.load(Ordering::Relaxed);
        control.block_on(async {
            // Long enough for the least watchdog to be missed: half of four beats.
            let watching = feed(&pulse, BEAT, || last.store(pulse.now_ms(), Ordering::Relaxed));
            tokio::time::timeout(BEAT * 3, watching).await.unwrap_err();
        });
        assert_eq!(pulse.beat_ms.load(Ordering::Relaxed), stopped);
        assert!(last.load(Ordering::Relaxed) <= stopped + 2 * BEAT.as_millis() as u64, "fed though nothing beats");
        drop((one, other));
    }

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
