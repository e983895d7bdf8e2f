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
