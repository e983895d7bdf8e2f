//! What the face for servers below counts. `app` registers it.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

/// The counters of the face.
#[derive(Debug, Default)]
pub struct Counters {
    requests: Family<Answered, Counter>,
    sent: Counter,
    turned_away: Counter,
    revisions: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    operation: &'static str,
    fault: &'static str,
}

impl Counters {
    /// Enters all of them, named `downstream_...`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("downstream");
        registry.register(
            "requests",
            "Requests of WSUS servers below, by operation and refusal",
            self.requests.clone(),
        );
        registry.register_with_unit("sent", "Bytes of answers to WSUS servers below", Unit::Bytes, self.sent.clone());
        registry.register("turned_away", "Requests of WSUS servers below refused unread", self.turned_away.clone());
        registry.register("revisions", "Documents of revisions sent to WSUS servers below", self.revisions.clone());
    }

    /// A request was answered.
    pub(super) fn answered(&self, operation: &'static str, fault: &'static str, bytes: u64) {
        self.requests.get_or_create_owned(&Answered { operation, fault }).inc();
        self.sent.inc_by(bytes);
    }

    /// A request was refused unread.
    pub(super) fn turned_away(&self) {
        self.turned_away.inc();
    }

    /// So many documents were sent.
    pub(super) fn revisions(&self, many: u64) {
        self.revisions.inc_by(many);
    }
}
