//! How far a scrub is, readable at any time while it runs.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one pass. Shared between the pass, which adds, and whoever shows them.
#[derive(Debug, Default)]
pub struct Progress {
    payloads_done: AtomicU64,
    payloads_total: AtomicU64,
    bytes: AtomicU64,
    bad: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Payloads that are through, good or bad.
    pub payloads_done: u64,
    /// Payloads there were when the pass began. More may be done in the end, if some came meanwhile.
    pub payloads_total: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Payloads that are not what their proofs say, or cannot be read.
    pub bad: u64,
}

impl Progress {
    /// The counters now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            payloads_done: self.payloads_done.load(Ordering::Relaxed),
            payloads_total: self.payloads_total.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            bad: self.bad.load(Ordering::Relaxed),
        }
    }

    /// A pass begins, or goes on after a restart with what was done before it.
    pub(crate) fn begin(&self, from: Snapshot) {
        self.payloads_done.store(from.payloads_done, Ordering::Relaxed);
        self.payloads_total.store(from.payloads_total, Ordering::Relaxed);
        self.bytes.store(from.bytes, Ordering::Relaxed);
        self.bad.store(from.bad, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn through(&self, bad: bool) {
        self.payloads_done.fetch_add(1, Ordering::Relaxed);
        self.bad.fetch_add(u64::from(bad), Ordering::Relaxed);
    }
}
