//! What the data plane counts. `app` registers it.

use std::sync::OnceLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::model::outcome::Outcome;

/// Bounds of the time buckets, in seconds: from a held range out of memory to a whole file over a thin link.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0];

/// The data plane's counters.
#[derive(Debug)]
pub struct Counters {
    /// Requests that ended, by outcome and status class.
    requests: Family<Ended, Counter>,
    /// Body bytes sent, by outcome.
    sent: Family<From, Counter>,
    /// Responses cut before their end, by whichever side.
    cut: Counter,
    /// Held payloads whose bytes could not be read.
    unreadable: Counter,
    /// Time from the request's head to the answer's head (with the first bytes of the body at hand).
    first_byte: Histogram,
    /// Time from the request's head to the last byte of the body.
    duration: Histogram,
    /// Requests now being answered.
    in_flight: Gauge,
    /// The series of hits with content, which nearly all requests end in: found once, not looked up by their labels each time.
    hit: OnceLock<(Counter, Counter)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    outcome: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct From {
    outcome: &'static str,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            sent: Family::default(),
            cut: Counter::default(),
            unreadable: Counter::default(),
            first_byte: Histogram::new(SECONDS),
            duration: Histogram::new(SECONDS),
            in_flight: Gauge::default(),
            hit: OnceLock::new(),
        }
    }
}

impl Counters {
    /// Enters all of them, named `content_...`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("content");
        registry.register(
            "requests",
            "Content requests that ended, by outcome and status class",
            self.requests.clone(),
        );
        registry.register_with_unit("sent", "Body bytes sent to clients, by outcome", Unit::Bytes, self.sent.clone());
        registry.register("cut", "Content responses cut before their end, by whichever side", self.cut.clone());
        registry.register(
            "unreadable",
            "Windows of held payloads that the disk could not give",
            self.unreadable.clone(),
        );
        registry.register_with_unit(
            "first_byte",
            "Time until the head of the answer is ready, with its first bytes",
            Unit::Seconds,
            self.first_byte.clone(),
        );
        registry.register_with_unit(
            "duration",
            "Time until the last byte of the answer has left",
            Unit::Seconds,
            self.duration.clone(),
        );
        registry.register("in_flight", "Content requests now being answered", self.in_flight.clone());
    }

    /// A request has begun.
    pub(super) fn began(&self) {
        self.in_flight.inc();
    }

    /// It has ended. `first_byte` and `duration` in seconds; `first_byte` is `None` where no head was ever sent.
    pub(super) fn ended(
        &self,
        outcome: Outcome,
        status: u16,
        sent: u64,
        cut: bool,
        first_byte: Option<f64>,
        duration: f64,
    ) {
        self.in_flight.dec();
        if outcome == Outcome::Hit && class(status) == "2xx" {
            let (requests, bytes) = self.hit.get_or_init(|| self.series(outcome, status));
            requests.inc();
            bytes.inc_by(sent);
        } else {
            let (requests, bytes) = self.series(outcome, status);
            requests.inc();
            bytes.inc_by(sent);
        }
        if cut {
            self.cut.inc();
        }
        if let Some(seconds) = first_byte {
            self.first_byte.observe(seconds);
        }
        self.duration.observe(duration);
    }

    /// Requests and bytes of these labels.
    fn series(&self, outcome: Outcome, status: u16) -> (Counter, Counter) {
        let requests = self.requests.get_or_create_owned(&Ended { outcome: outcome.word(), status: class(status) });
        (requests, self.sent.get_or_create_owned(&From { outcome: outcome.word() }))
    }

    /// A window of a held payload could not be read.
    pub(super) fn unreadable(&self) {
        self.unreadable.inc();
    }
}

/// The class of a status; `gone` for a client that left before there was one.
const fn class(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        500..=599 => "5xx",
        _ => "gone",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_the_words_of_the_outcomes() {
        let counters = Counters::default();
        let mut registry = Registry::with_prefix("waystation");
        counters.register(&mut registry);
        counters.began();
        counters.began();
        counters.ended(Outcome::Hit, 206, 4096, false, Some(0.0001), 0.002);
        counters.ended(Outcome::Refused, 0, 0, true, None, 3.0);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "waystation_content_requests_total{outcome=\"hit\",status=\"2xx\"} 1",
            "waystation_content_requests_total{outcome=\"refused\",status=\"gone\"} 1",
            "waystation_content_sent_bytes_total{outcome=\"hit\"} 4096",
            "waystation_content_cut_total 1",
            "waystation_content_first_byte_seconds_count 1",
            "waystation_content_duration_seconds_count 2",
            "waystation_content_in_flight 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }
}
