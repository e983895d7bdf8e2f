//! What this room counts; the application registers it.

use std::fmt::{self, Write};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::pace::class::Class;

impl EncodeLabelValue for Class {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        encoder.write_str(self.word())
    }
}

/// The label of what is counted by class.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByClass {
    class: Class,
}

/// The counters of one governor; clones share their values.
#[derive(Clone, Debug)]
pub struct Counters {
    bytes: [Counter; Class::ALL.len()],
    families: Family<ByClass, Counter>,
    rates: Family<ByClass, Gauge>,
    waiting: Family<ByClass, Gauge>,
    /// Times that what nobody waits for gave way.
    pub gave_way: Counter,
}

impl Default for Counters {
    fn default() -> Self {
        let families = Family::<ByClass, Counter>::default();
        let bytes = Class::ALL.map(|class| families.get_or_create_owned(&ByClass { class }));
        Self { bytes, families, rates: Family::default(), waiting: Family::default(), gave_way: Counter::default() }
    }
}

impl Counters {
    pub(super) fn add(&self, class: Class, bytes: u64) {
        self.bytes[class.index()].inc_by(bytes);
        if class.is_fetched() && class != Class::Upstream {
            self.bytes[Class::Upstream.index()].inc_by(bytes);
        }
    }

    /// Bytes of a class so far: all that was fetched; of answers those that a limit held for.
    pub fn bytes(&self, class: Class) -> u64 {
        self.bytes[class.index()].get()
    }

    /// What is in force now: bytes a second, -1 for no limit, 0 while paused.
    pub(super) fn in_force(&self, class: Class, rate: i64) {
        self.rates.get_or_create(&ByClass { class }).set(rate);
    }

    pub(super) fn in_line(&self, class: Class, count: usize) {
        self.waiting.get_or_create(&ByClass { class }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Adds all of them to `registry`, under the prefix and labels that it carries.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Body bytes by class: all that was fetched, and of answers those that a limit held for";
        registry.register("bytes", help, self.families.clone());
        let help = "The limit in force, in bytes a second: -1 for none, 0 while paused";
        registry.register("limit", help, self.rates.clone());
        registry.register("waiting", "Flows that wait for their turn, as last looked at", self.waiting.clone());
        registry.register("gave_way", "Times that the background slowed down for others", self.gave_way.clone());
    }
}
