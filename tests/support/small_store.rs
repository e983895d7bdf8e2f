//! A store as tests want it: room enough, little memory.
#![allow(dead_code, reason = "not every test that includes this uses all of it")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use waystation::base::disk::RealDisk;
use waystation::base::time::SystemClock;
use waystation::store::{Config, Store};

/// In this directory.
pub(crate) fn config(path: &Path) -> Config {
    Config {
        path: path.to_owned(),
        max_size: 1 << 40,
        min_free: 0,
        unproven: Duration::from_hours(24),
        index_cache: 16 << 20,
        open_payloads: 16,
        io_threads: 2,
    }
}

/// The store in this directory, on the real disk and by the real clock.
pub(crate) fn open(path: &Path) -> Store {
    Store::open(config(path), Arc::new(RealDisk), Arc::new(SystemClock)).unwrap().0
}
