//! What the store counts. Registered by the roof, under the room's name.

use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper edges in seconds: a look-up is some ten microseconds of work, or a disk's time for each page that is not in memory.
const SECONDS: [f64; 12] = [10e-6, 20e-6, 30e-6, 40e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 10e-3, 100e-3, 1.0];

/// Counters since the start. Clones share them.
#[derive(Clone, Debug)]
pub struct Counters {
    /// What looking for a name past the open payloads took, from the thread that does it taking it up to its end: index, file
    /// opened, checked and mapped. In seconds.
    pub lookup: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        Self { lookup: Histogram::new(SECONDS) }
    }
}

impl Counters {
    /// Enters all of them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "lookup",
            "Time to find and open a payload that was not open, waits for a thread left out",
            Unit::Seconds,
            self.lookup.clone(),
        );
    }
}
