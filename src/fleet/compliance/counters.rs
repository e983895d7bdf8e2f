//! What is counted of reports.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Why something that was reported is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disbelief {
    /// It came by the operation without a cookie: anybody may say anything there.
    Anonymous,
    /// The endpoint has not registered.
    Unregistered,
    /// It is about another endpoint than the one that reports.
    Foreign,
    /// It has not happened yet, by more than clocks may differ.
    Future,
    /// Something newer is known.
    Stale,
    /// It is about an update that the catalog does not have, or one that cannot be approved by itself.
    UnknownUpdate,
    /// It tells of more updates than any endpoint has.
    Absurd,
    /// There is no room for more endpoints, or for more states.
    Full,
}

impl Disbelief {
    const fn word(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Unregistered => "unregistered",
            Self::Foreign => "foreign",
            Self::Future => "future",
            Self::Stale => "stale",
            Self::UnknownUpdate => "unknown-update",
            Self::Absurd => "absurd",
            Self::Full => "full",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// The counters.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    snapshots: Counter,
    changes: Counter,
    disbelieved: Family<Reason, Counter>,
}

impl Counters {
    /// Enters all of them, named `compliance_...`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("compliance");
        registry.register(
            "snapshots",
            "Snapshots of the states of all updates that were taken",
            self.snapshots.clone(),
        );
        registry.register("changes", "States of updates on endpoints that became others", self.changes.clone());
        registry.register(
            "disbelieved",
            "Reported events, and updates named in them, that were not believed, by the reason",
            self.disbelieved.clone(),
        );
    }

    /// Something was not believed.
    pub fn disbelieved(&self, why: Disbelief, many: u64) {
        if many > 0 {
            self.disbelieved.get_or_create_owned(&Reason { reason: why.word() }).inc_by(many);
        }
    }

    /// How much was not believed for this reason.
    pub fn disbelieved_for(&self, why: Disbelief) -> u64 {
        self.disbelieved.get_or_create_owned(&Reason { reason: why.word() }).get()
    }

    pub(super) fn snapshot(&self) {
        self.snapshots.inc();
    }

    pub(super) fn changed(&self, many: usize) {
        self.changes.inc_by(many as u64);
    }
}
