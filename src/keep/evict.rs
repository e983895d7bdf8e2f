//! The loop that keeps the store within `max_size` and above `min_free`.
//!
//! The store makes room by itself where a write would not fit; this loop is what makes room before that, ends unproven
//! payloads whose time is over, and notices a disk that others fill. Every step is short (the store's promise: 50 ms),
//! and between two steps others have their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::store::{Error, Space, Store};

/// How often the loop looks without being woken: others may fill the disk, and lifetimes end.
const TICK: Duration = Duration::from_secs(30);

/// Most bytes that are freed beyond what is needed, once something is: so that the next megabytes of a fill find room
/// without another round.
const HEADROOM_MAX: u64 = 256 << 20;

/// What the loop did, for metrics.
#[derive(Debug, Default)]
pub struct Evicted {
    /// Bytes freed since the start.
    pub bytes: AtomicU64,
    /// Steps that freed something.
    pub steps: AtomicU64,
    /// Bytes that are too many now though nothing more could go (all is pinned, in use, or not the store's).
    pub stuck: AtomicU64,
}

/// Runs until `cancel`. `wake` makes it look at once; a wake while it works is not lost.
pub async fn run(store: Store, wake: Arc<Notify>, evicted: Arc<Evicted>, cancel: CancellationToken) {
    // Each trouble is told once for each time that it begins, not at every look.
    let (mut told, mut failing, mut woken) = (false, false, false);
    while !cancel.is_cancelled() {
        match sweep(&store, &evicted, woken, &cancel).await {
            Ok(left) => {
                failing = false;
                evicted.stuck.store(left, Ordering::Relaxed);
                if left > 0 && !told {
                    tracing::warn!(
                        bytes = left,
                        "the store is over its bounds and nothing more can go: unpin or remove payloads, raise \
                         store.max_size, lower store.min_free, or make room on the disk"
                    );
                }
                told = left > 0;
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "housekeeping cannot make room; it keeps trying, every half a minute");
                }
                failing = true;
            }
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = wake.notified() => woken = true,
            () = tokio::time::sleep(TICK) => woken = false,
        }
    }
}

/// Steps until nothing more goes or has to. `ahead` where somebody had to wait for room: then some is made that nobody
/// needs yet. Returns how many bytes are still too many.
pub async fn sweep(store: &Store, evicted: &Evicted, ahead: bool, cancel: &CancellationToken) -> Result<u64, Error> {
    let mut room = 0;
    loop {
        let space = store.space().await?;
        let excess = excess(&space);
        if excess > 0 || ahead {
            room = headroom(&space);
        }
        if cancel.is_cancelled() {
            return Ok(excess);
        }
        // Also where nothing is too much: what is past its end goes.
        let mut freed = store.evict_step(0).await?;
        if freed == 0 && room > 0 {
            freed = store.ease_step(room).await?;
        }
        if freed == 0 {
            return Ok(excess);
        }
        evicted.bytes.fetch_add(freed, Ordering::Relaxed);
        evicted.steps.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
}

/// How many bytes are too many.
pub fn excess(space: &Space) -> u64 {
    let over = space.used().saturating_sub(space.max_size);
    let short = space.min_free.saturating_sub(space.disk_free);
    over.max(short)
}

/// A hundredth of the store, in reason.
fn headroom(space: &Space) -> u64 {
    (space.max_size / 100).min(HEADROOM_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_of_the_two_bounds_counts() {
        let fine = Space {
            payloads: 60,
            drafts: 30,
            quarantine: 10,
            max_size: 100,
            disk_free: 7,
            min_free: 7,
            ..Space::default()
        };
        assert_eq!(excess(&fine), 0);
        assert_eq!(excess(&Space { drafts: 35, ..fine }), 5);
        assert_eq!(excess(&Space { drafts: 35, disk_free: 1, ..fine }), 6);
        assert_eq!(excess(&Space { drafts: 50, disk_free: 1, ..fine }), 20);
        assert_eq!(excess(&Space { payloads: u64::MAX, ..fine }), u64::MAX - 100);
    }

    #[test]
    fn headroom_is_small_beside_the_store() {
        assert_eq!(headroom(&Space { max_size: 5000, ..Space::default() }), 50);
        assert_eq!(headroom(&Space { max_size: 1 << 40, ..Space::default() }), HEADROOM_MAX);
    }
}
