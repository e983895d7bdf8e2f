//! What the store must be told.

use std::path::PathBuf;
use std::time::Duration;

/// What the store needs to know; every value has been checked by whoever read it.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory.
    pub path: PathBuf,
    /// Most bytes (allocated) of content, drafts and quarantine.
    pub max_size: u64,
    /// Bytes that must stay free on the file system.
    pub min_free: u64,
    /// Lifetime of unproven payloads.
    pub unproven: Duration,
    /// redb's cache, in bytes. Fixed, so that a large index cannot take the machine's memory.
    pub index_cache: usize,
    /// Most names whose payloads are kept open (mapped) at once: each costs one of the kernel's 65,530 maps.
    pub open_payloads: usize,
    /// Threads of the I/O pool.
    pub io_threads: usize,
}

#[cfg(test)]
impl Config {
    /// As tests want it: room enough, little memory.
    pub(crate) fn small(path: &std::path::Path) -> Self {
        Self {
            path: path.to_owned(),
            max_size: 1 << 40,
            min_free: 0,
            unproven: Duration::from_hours(24),
            index_cache: 16 << 20,
            open_payloads: 16,
            io_threads: 2,
        }
    }
}
