//! What endpoints report (MS-WUSP 3.1.5.13 and the operations of the WSDL alone): taken, each event once, and counted. What events mean
//! for the state of an endpoint (`meaning`) goes on to `fleet::compliance`; what cannot be believed is counted there and goes nowhere.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::base::time::Timestamp;
use crate::fleet::compliance::counters::Disbelief;
use crate::fleet::compliance::told::Told;
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

/// Events that are remembered of each endpoint, or all of its last batch where that has more: an agent sends a batch again at once where
/// the answer was lost, and a batch has nine, or some dozens after an installation.
const EVENTS: usize = 64;

/// Endpoints of which events are remembered: those of an hour of a large node.
const ENDPOINTS: usize = 50_000;

/// What is remembered of all of them, in numbers of events: half a KB for each. Of more the endpoints heard of longest ago go.
const EVENTS_OF_ALL: u64 = (ENDPOINTS * EVENTS) as u64;

type Numbers = Arc<Mutex<VecDeque<u64>>>;

/// The numbers of an endpoint, and what they were weighed as: the cache must find the same again until others are put in their place.
#[derive(Clone)]
struct Weighed {
    numbers: Numbers,
    weight: u64,
}

impl Weighed {
    /// What an endpoint without any costs is about that of one with the usual number.
    fn new(numbers: Numbers, many: usize) -> Self {
        Self { numbers, weight: many.max(EVENTS) as u64 }
    }
}

#[derive(Clone)]
struct Many;

impl Weighter<UpdateId, Weighed> for Many {
    fn weight(&self, _: &UpdateId, weighed: &Weighed) -> u64 {
        weighed.weight
    }
}

/// The events that each endpoint told lately, as numbers, the oldest first. None of them takes the place of another one's.
pub(super) struct Lately(Cache<UpdateId, Weighed, Many>);

impl Default for Lately {
    fn default() -> Self {
        Self(Cache::with_weighter(ENDPOINTS, EVENTS_OF_ALL, Many))
    }
}

impl Lately {
    /// Those of the events that are new; from now on they are not.
    fn new_ones<'a>(&self, client: UpdateId, events: &'a [Event]) -> Vec<&'a Event> {
        let weighed = self.0.get(&client).unwrap_or_else(|| {
            let weighed = Weighed::new(Numbers::default(), 0);
            self.0.insert(client, weighed.clone());
            weighed
        });
        let (numbers, before) = (weighed.numbers, weighed.weight);
        let mut known = numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let max = events.len().max(EVENTS);
        let is_new = |event: &&Event| {
            let bytes = event.instance.bytes();
            let half = |part: Option<&[u8; 8]>| part.map_or(0, |part| u64::from_le_bytes(*part));
            let id = half(bytes.first_chunk()) ^ half(bytes.last_chunk());
            if known.contains(&id) {
                return false;
            }
            known.push_back(id);
            true
        };
        let fresh: Vec<&Event> = events.iter().filter(is_new).collect();
        let over = known.len().saturating_sub(max);
        known.drain(..over);
        let many = known.len();
        drop(known);
        let weighed = Weighed::new(numbers, many);
        if weighed.weight != before {
            self.0.insert(client, weighed);
        }
        fresh
    }
}

/// What became of the events of a batch.
struct Sifted {
    told: Vec<Told>,
    fresh: usize,
    disbelieved: Vec<Disbelief>,
}

impl Scans {
    /// To `ReportEventBatch` and `ReportEventBatch2`. Always taken: an agent sends what is not taken again and again. What is told of
    /// states is in memory by then and not on the disk: a crash can lose the last half minute of it. The next scan tells of all updates again, and not
    /// of a restart or a failure that came alone (docs/COMPLIANCE.md).
    pub(super) async fn events(
        self: &Arc<Self>,
        version: Version,
        method: Method,
        request: ReportEventBatch,
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
        if let Some(why) = &request.why {
            tracing::debug!(target: "scan", unread = request.unread, why, "events of an endpoint cannot be read");
        }
        let (many, unread) = (request.events.len(), request.unread);
        if let Some(why) = not_believed {
            self.counters.events(many as u64, 0, unread as u64);
            self.compliance.counters().disbelieved(why, many as u64);
        }
        let Some(client) = client else { return Ok(Said::Whole(answer::taken(version, method, true))) };
        let (scans, now) = (Arc::clone(self), self.now());
        // Lists of thousands of ids are read here.
        let sifted = self.work(move || scans.sift(client, &request, now)).await?;
        self.counters.events(sifted.fresh as u64, many.saturating_sub(sifted.fresh) as u64, unread as u64);
        for why in sifted.disbelieved {
            self.compliance.counters().disbelieved(why, 1);
        }
        if let Err(error) = self.compliance.report(Endpoint(client), sifted.told).await {
            // It would send the batch again and again; its next scan tells all of it anew.
            tracing::warn!(target: "scan", endpoint = %client, %error, "what an endpoint told is lost until its next scan");
        }
        Ok(Said::Whole(answer::taken(version, method, true)))
    }

    /// What events mean that a registered endpoint told of itself with a cookie of its own.
    fn sift(&self, client: UpdateId, request: &ReportEventBatch, now: Timestamp) -> Sifted {
        let fresh = self.lately.new_ones(client, &request.events);
        let mut sifted = Sifted { told: Vec::new(), fresh: fresh.len(), disbelieved: Vec::new() };
        for event in fresh {
            let understood = meaning(event, client, request.now, now);
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
                Ok(meant) => sifted.told.extend(meant),
                Err(why) => sifted.disbelieved.push(why),
            }
        }
        sifted
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
            server: self.keys.server(),
            batches: [1000; 4],
        };
        Said::Whole(answer::rollup(version, &rollup))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::wusp::report::Machine;

    fn event(of: u64) -> Event {
        let mut id = [7; 16];
        id[..8].copy_from_slice(&of.to_le_bytes());
        Event {
            target: String::new(),
            at: None,
            instance: UpdateId::new(id),
            namespace: 1,
            id: 147,
            source: 101,
            update: None,
            result: 0,
            app: String::new(),
            strings: Vec::new(),
            misc: Vec::new(),
            machine: Machine::default(),
            device: String::new(),
        }
    }

    #[test]
    fn an_event_counts_once_and_nobody_pushes_out_what_others_told() {
        let (lately, id) = (Lately::default(), |byte| UpdateId::new([byte; 16]));
        let new = |of: u8, events: &[Event]| lately.new_ones(id(of), events).len();
        let batch: Vec<Event> = (0..40).map(event).collect();
        assert_eq!([new(1, &batch), new(1, &batch)], [40, 0]);
        assert_eq!(new(2, &batch), 40, "whoever invents ids hides nobody else's event");
        for flood in 0..100 {
            let many: Vec<Event> = (0..1_000).map(|of| event(1_000 + flood * 1_000 + of)).collect();
            new(2, &many);
        }
        assert_eq!([new(1, &batch), new(2, &batch)], [0, 40], "it floods its own place");
        let long: Vec<Event> = (500..2_548).map(event).collect();
        assert_eq!([new(1, &long), new(1, &long)], [2_048, 0], "a batch of any length that comes again");
        assert_eq!([new(1, &batch), new(1, &batch)], [40, 0]);
    }
}
