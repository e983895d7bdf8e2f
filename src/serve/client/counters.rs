//! What the scan face counts. `app` registers it.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::fleet::registry::Registered;

/// Bounds of the time buckets, in seconds: from a repeat scan with nothing new to the first one after a start, which loads the catalog.
const SECONDS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];

/// The counters of the scan face.
#[derive(Debug)]
pub struct Counters {
    /// Requests that were answered, by operation and by the word of the refusal.
    requests: Family<Answered, Counter>,
    /// Bytes of answers.
    sent: Counter,
    /// Requests turned away before they were read: over plain HTTP, too long, too slow, a wrong method.
    turned_away: Counter,
    /// Requests refused to endpoints that ask again and again.
    looped: Counter,
    /// Revisions sent with their metadata.
    revisions: Counter,
    /// Events that endpoints told, each once.
    events: Counter,
    /// Events that came again.
    repeated: Counter,
    /// Events that could not be read.
    unread: Counter,
    /// Machines that said what they are, by what came of it.
    registrations: Family<Came, Counter>,
    /// Time from the head of a request to its whole answer.
    duration: Histogram,
    /// Requests now being answered.
    in_flight: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    operation: &'static str,
    fault: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Came {
    ruling: &'static str,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            sent: Counter::default(),
            turned_away: Counter::default(),
            revisions: Counter::default(),
            events: Counter::default(),
            repeated: Counter::default(),
            unread: Counter::default(),
            looped: Counter::default(),
            registrations: Family::default(),
            duration: Histogram::new(SECONDS),
            in_flight: Gauge::default(),
        }
    }
}

impl Counters {
    /// Enters all of them, named `scan_...`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("scan");
        registry.register(
            "requests",
            "Requests of Windows Update Agents, by operation and refusal",
            self.requests.clone(),
        );
        registry.register_with_unit("sent", "Bytes of answers to agents", Unit::Bytes, self.sent.clone());
        registry.register("turned_away", "Requests of agents refused unread", self.turned_away.clone());
        registry.register("looped", "Requests refused to endpoints that ask again and again", self.looped.clone());
        registry.register("revisions", "Revisions sent to agents with their metadata", self.revisions.clone());
        registry.register("events", "Events that agents reported, each once", self.events.clone());
        registry.register("events_repeated", "Events that agents reported again", self.repeated.clone());
        registry.register("events_unread", "Reported events that could not be read", self.unread.clone());
        registry.register(
            "registrations",
            "Machines that said what they are, by what came of it",
            self.registrations.clone(),
        );
        registry.register_with_unit(
            "duration",
            "Time until the answer to an agent is ready",
            Unit::Seconds,
            self.duration.clone(),
        );
        registry.register("in_flight", "Requests of agents now being answered", self.in_flight.clone());
    }

    /// A request began; it ends when what this gives is dropped.
    pub(super) fn began(&self) -> Running {
        self.in_flight.inc();
        Running(self.in_flight.clone())
    }

    /// A request was answered.
    pub(super) fn answered(&self, operation: &'static str, fault: &'static str, bytes: u64, seconds: f64) {
        self.requests.get_or_create_owned(&Answered { operation, fault }).inc();
        self.sent.inc_by(bytes);
        self.duration.observe(seconds);
    }

    /// A request was refused unread.
    pub(super) fn turned_away(&self) {
        self.turned_away.inc();
    }

    /// An endpoint asked too often.
    pub(super) fn looped(&self) {
        self.looped.inc();
    }

    /// So many revisions were sent.
    pub(super) fn revisions(&self, many: u64) {
        self.revisions.inc_by(many);
    }

    /// A machine said what it is.
    pub(super) fn registered(&self, came: Registered) {
        let ruling = match came {
            Registered::Accepted => "accepted",
            Registered::Held => "held",
            Registered::Refused => "refused",
            Registered::TooMany => "too-many",
            Registered::Busy => "busy",
            Registered::Contested => "contested",
        };
        self.registrations.get_or_create_owned(&Came { ruling }).inc();
    }

    /// Events of one batch.
    pub(super) fn events(&self, fresh: u64, repeated: u64, unread: u64) {
        self.events.inc_by(fresh);
        self.repeated.inc_by(repeated);
        self.unread.inc_by(unread);
    }
}

/// A request under way.
pub(super) struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}
