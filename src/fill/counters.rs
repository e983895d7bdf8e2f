//! What the room counts. Registered by the roof, under the room's name.

use prometheus_client::metrics::counter::Counter;

/// Counters since the start.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Flights begun.
    pub flights: Counter,
    /// Flights given up because the origin changed the object.
    pub restarts: Counter,
    /// Payloads whose bytes contradicted a published digest.
    pub mismatches: Counter,
    /// Responses passed through.
    pub passed: Counter,
    /// Questions whether a stale object is still right.
    pub revalidations: Counter,
}
