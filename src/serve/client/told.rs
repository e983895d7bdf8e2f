//! What endpoints report (MS-WUSP 3.1.5.13 and the operations of the WSDL alone): taken, each event once, and counted. What events mean
//! for the state of an endpoint (`meaning`) goes on to `fleet::compliance`; what cannot be believed is counted there and goes nowhere.

use quick_cache::sync::Cache;

use crate::fleet::compliance::counters::Disbelief;
use crate::model::deployment::Endpoint;
use crate::model::update::UpdateId;
use crate::serve::client::Scans;
use crate::serve::client::error::Error;
use crate::serve::client::handshake::Need;
use crate::serve::client::meaning::meaning;
use crate::serve::client::route::{Asked, Said};
use crate::wire::soap::Version;
use crate::wire::wusp::report::{Event, GetRequiredInventoryType, ReportEventBatch, ReportInventory};
use crate::wire::wusp::{Method, answer};

/// Ids of events that are remembered: those of an hour in which 20,000 endpoints scan and report. An agent sends a batch again at once
/// where the answer was lost.
const LATELY: usize = 200_000;

/// Events that were told lately.
pub(super) struct Lately(Cache<(UpdateId, UpdateId), ()>);

impl Default for Lately {
    fn default() -> Self {
        Self(Cache::new(LATELY))
    }
}

impl Lately {
    /// Whether it is new; from now on it is not.
    fn is_new(&self, client: UpdateId, event: UpdateId) -> bool {
        let key = (client, event);
        let is_new = self.0.get(&key).is_none();
        self.0.insert(key, ());
        is_new
    }
}

impl Scans {
    /// To `ReportEventBatch` and `ReportEventBatch2`. Always taken: an agent sends what is not taken again and again. What is told of
    /// states is in memory by then and not on the disk: a crash can lose the last half minute of it, and the next scan tells it again.
    pub(super) async fn events(
        &self,
        version: Version,
        method: Method,
        request: &ReportEventBatch,
        asked: &mut Asked,
    ) -> Result<Said, Error> {
        // The second operation has no cookie, so that anybody may say anything there: it is counted, and not believed.
        let (client, not_believed) = match method {
            Method::ReportEventBatch => match self.believed(request.cookie.as_ref(), asked)? {
                Some(client) => (Some(client), None),
                None => (None, Some(Disbelief::Unregistered)),
            },
            _ => (None, Some(Disbelief::Anonymous)),
        };
        let nobody = UpdateId::new([0; 16]);
        let is_new = |event: &&Event| self.lately.is_new(client.unwrap_or(nobody), event.instance);
        let fresh: Vec<&Event> = request.events.iter().filter(is_new).collect();
        let repeated = request.events.len() - fresh.len();
        self.counters.events(fresh.len() as u64, repeated as u64, request.unread as u64);
        if let Some(why) = &request.why {
            tracing::debug!(target: "scan", unread = request.unread, why, "events of an endpoint cannot be read");
        }
        match (client, not_believed) {
            (Some(client), None) => self.take(client, &fresh).await,
            (_, Some(why)) => self.compliance.counters().disbelieved(why, fresh.len() as u64),
            (None, None) => {}
        }
        Ok(Said::Whole(answer::taken(version, method, true)))
    }

    /// Events that a registered endpoint told of itself with a cookie of its own.
    async fn take(&self, client: UpdateId, events: &[&Event]) {
        let (now, mut told) = (self.now(), Vec::new());
        for event in events {
            let understood = meaning(event, client, now);
            tracing::debug!(
                target: "scan",
                endpoint = %client,
                event = event.id,
                update = event.update.map(|identity| identity.to_string()).unwrap_or_default(),
                result = event.result,
                at = event.at.map(|at| at.to_string()).unwrap_or_default(),
                believed = understood.is_ok(),
                "an endpoint reported"
            );
            match understood {
                Ok(meant) => told.extend(meant),
                Err(why) => self.compliance.counters().disbelieved(why, 1),
            }
        }
        if let Err(error) = self.compliance.report(Endpoint(client), told).await {
            // It would send the batch again and again; its next scan tells all of it anew.
            tracing::warn!(target: "scan", endpoint = %client, %error, "what an endpoint told is lost until its next scan");
        }
    }

    /// To `GetRequiredInventoryType`: none is wanted.
    pub(super) fn inventory_type(
        &self,
        version: Version,
        request: &GetRequiredInventoryType,
        asked: &mut Asked,
    ) -> Result<Said, Error> {
        self.admit(request.cookie.as_ref(), Need::Any, asked)?;
        Ok(Said::Whole(answer::inventory_type(version, 0)))
    }

    /// To `ReportInventory`: taken, and not kept.
    pub(super) fn inventory(
        &self,
        version: Version,
        method: Method,
        request: &ReportInventory,
        asked: &mut Asked,
    ) -> Result<Said, Error> {
        self.admit(request.cookie.as_ref(), Need::Any, asked)?;
        Ok(Said::Whole(answer::taken(version, method, true)))
    }

    /// To `GetRollupConfiguration`: nothing is wanted of servers below.
    pub(super) fn rollup(&self, version: Version) -> Said {
        let rollup = answer::RollupConfiguration {
            is_detailed: false,
            reset: UpdateId::new([0; 16]),
            server: self.server,
            batches: [1000; 4],
        };
        Said::Whole(answer::rollup(version, &rollup))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_counts_once_for_each_endpoint() {
        let (lately, id) = (Lately::default(), |byte| UpdateId::new([byte; 16]));
        assert!(lately.is_new(id(1), id(9)) && !lately.is_new(id(1), id(9)));
        assert!(lately.is_new(id(2), id(9)), "whoever invents ids hides nobody else's event");
    }
}
