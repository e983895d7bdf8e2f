//! What the data plane needs to know.

use std::time::Duration;

/// The data plane's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// What `Retry-After` says when the store cannot serve for now, and the least it says for anything else. A Windows client
    /// takes a 503 for a reason to try the next source, and comes back after this.
    pub retry_after: Duration,
}

impl Default for Config {
    /// 5 s: longer than a flight takes to start again, shorter than a client's patience.
    fn default() -> Self {
        Self { retry_after: Duration::from_secs(5) }
    }
}
