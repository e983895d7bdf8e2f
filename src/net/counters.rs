//! What this room counts; the application registers it.

use std::fmt::{self, Write};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Why a connection was turned away or cut by us, or a request refused that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// As many connections as there may be were open.
    Total,
    /// This client had as many as it may have.
    Client,
    /// No request for too long.
    Idle,
    /// A request's head took too long.
    Header,
    /// The client did not take what we had for it.
    Stalled,
    /// The grace period of a drain was over.
    Drained,
    /// A request that is no HTTP.
    Malformed,
    /// A request whose head is longer than it may be.
    TooLarge,
}

impl Reason {
    /// The word of it in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Client => "client",
            Self::Idle => "idle",
            Self::Header => "header",
            Self::Stalled => "stalled",
            Self::Drained => "drained",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
        }
    }
}

impl EncodeLabelValue for Reason {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        encoder.write_str(self.as_str())
    }
}

/// The label of [`Counters::refused`], [`Counters::closed`] and [`Counters::requests_refused`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Why {
    /// See [`Reason`].
    pub reason: Reason,
}

/// The counters of one server; clones share their values.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Connections open now.
    pub open: Gauge,
    /// Connections taken in.
    pub accepted: Counter,
    /// Connections turned away, by reason.
    pub refused: Family<Why, Counter>,
    /// Connections that we ended, by reason.
    pub closed: Family<Why, Counter>,
    /// Failed accepts: descriptors or memory ran out.
    pub accept_errors: Counter,
    /// TLS handshakes that failed or took too long.
    pub handshakes_failed: Counter,
    /// Requests begun.
    pub requests: Counter,
    /// Requests refused before the handler saw them, by reason.
    pub requests_refused: Family<Why, Counter>,
    /// Bodies that ended short, so that their connection was cut.
    pub bodies_cut: Counter,
    /// Bytes read from sockets, TLS records included.
    pub received_bytes: Counter,
    /// Bytes written to sockets, TLS records included.
    pub sent_bytes: Counter,
}

impl Counters {
    /// Adds all of them to `registry`, under the prefix and labels that it carries.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("connections_open", "Connections open now", self.open.clone());
        registry.register("connections_accepted", "Connections taken in", self.accepted.clone());
        registry.register("connections_refused", "Connections turned away", self.refused.clone());
        registry.register("connections_closed", "Connections ended by the node", self.closed.clone());
        registry.register("accept_errors", "Accepts that failed", self.accept_errors.clone());
        registry.register("tls_handshakes_failed", "TLS handshakes that failed", self.handshakes_failed.clone());
        registry.register("requests", "Requests begun", self.requests.clone());
        registry.register(
            "requests_refused",
            "Requests whose head could not be read or was too long",
            self.requests_refused.clone(),
        );
        registry.register("bodies_cut", "Response bodies that ended short", self.bodies_cut.clone());
        registry.register_with_unit("received", "Bytes read from sockets", Unit::Bytes, self.received_bytes.clone());
        registry.register_with_unit("sent", "Bytes written to sockets", Unit::Bytes, self.sent_bytes.clone());
    }

    pub(crate) fn refuse(&self, reason: Reason) {
        self.refused.get_or_create(&Why { reason }).inc();
    }

    pub(crate) fn refuse_request(&self, reason: Reason) {
        self.requests_refused.get_or_create(&Why { reason }).inc();
    }

    pub(crate) fn close(&self, reason: Reason) {
        self.closed.get_or_create(&Why { reason }).inc();
    }
}
