//! One flight per payload: joined, or begun.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use crate::fill::config::{FLIGHTS_MAX, LEARNING_MAX, LEARNING_OF_SUBNET_MAX, Verify};
use crate::fill::error::Error;
use crate::fill::flight::{Flight, Shared};
use crate::fill::gather::Gathered;
use crate::fill::inner::Inner;
use crate::fill::learn::{self, First};
use crate::fill::locate::Target;
use crate::fill::memory::Subnet;
use crate::fill::owner::{self, Start};
use crate::fill::pump::host_of;
use crate::model::name::Name;
use crate::model::payload::Location;
use crate::upstream::Answer;

impl Inner {
    /// Waits until a flight that has ended is off the map: what it still does (quarantine, a last checkpoint) must be done
    /// before the next one looks at the draft and at the name's generation.
    pub(super) async fn until_gone(&self, target: &Target, gathered: &Gathered) -> Result<(), Error> {
        let ending: Vec<Arc<Shared>> = {
            let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            [&gathered.key, &target.name].into_iter().filter_map(|key| flights.get(key).cloned()).collect()
        };
        for shared in ending.iter().filter(|shared| shared.is_over()) {
            tokio::time::timeout(self.config.silence, shared.gone.cancelled())
                .await
                .map_err(|_| Error::unavailable("the flight before is still being wound up"))?;
        }
        Ok(())
    }

    /// Step 4: one flight per payload. `None`: one has ended and is not off the map yet. `answer` is taken by a new flight.
    pub(super) fn join_or_start(
        self: &Arc<Self>,
        target: &Target,
        gathered: &Gathered,
        client: Option<IpAddr>,
        first: First,
        answer: &mut Option<(Answer, Location)>,
    ) -> Result<Option<(Flight, bool)>, Error> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        for key in [&gathered.key, &target.name] {
            let Some(shared) = flights.get(key).cloned() else {
                continue;
            };
            if let Some(flight) = shared.lease() {
                join(&shared, target, gathered);
                return Ok(Some((flight, true)));
            }
            return Ok(None);
        }
        if self.closing.is_cancelled() {
            return Err(Error::Closing);
        }
        if flights.len() >= FLIGHTS_MAX {
            return Err(Error::unavailable(format!("{FLIGHTS_MAX} flights are under way, which is the most")));
        }
        let starter = client.map(Subnet::of);
        if let Some(starter) = starter {
            within_share(&flights, starter, gathered)?;
        }
        let strict = self.config.verify == Verify::Strict;
        let key = gathered.key.clone();
        let shared = Arc::new(Shared::new(
            key.clone(),
            starter,
            strict,
            self.store.clone(),
            Arc::clone(&self.source),
            Arc::clone(&self.memory),
            Arc::clone(&self.gates),
        ));
        {
            let mut state = shared.lock();
            state.expected = gathered.expected;
            state.generation = gathered.generation;
            for location in &gathered.locations {
                state.add_source(location);
            }
            learn::order(&mut state.sources, |host| self.memory.blamed(&key, host).is_some());
            state.source = 0;
        }
        join(&shared, target, gathered);
        let Some(flight) = shared.lease() else {
            return Err(Error::unavailable("a flight ended before it began"));
        };
        flights.insert(key, Arc::clone(&shared));
        drop(flights);
        self.counters.flights.inc();
        let start = Start {
            target: target.clone(),
            generation: gathered.generation,
            first,
            answer: answer.take(),
            draft: None,
        };
        self.tracker.spawn(owner::fly(Arc::clone(self), shared, start));
        Ok(Some((flight, false)))
    }
}

/// Whether a client of this subnet may begin one more flight: see [`LEARNING_MAX`] and [`LEARNING_OF_SUBNET_MAX`].
fn within_share(flights: &HashMap<Name, Arc<Shared>>, starter: Subnet, gathered: &Gathered) -> Result<(), Error> {
    // With so few there is nothing to count.
    if flights.len() < LEARNING_OF_SUBNET_MAX {
        return Ok(());
    }
    let host = gathered.locations.first().map(|first| host_of(&first.url)).unwrap_or_default();
    let (mut of_host, mut of_subnet) = (0, 0);
    for shared in flights.values() {
        if let Some(asked) = shared.asks() {
            of_host += usize::from(asked == host);
            of_subnet += usize::from(shared.starter == Some(starter));
        }
    }
    if of_host >= LEARNING_MAX {
        return Err(Error::unavailable(format!("{host} has not answered {of_host} questions yet, which is the most")));
    }
    if of_subnet >= LEARNING_OF_SUBNET_MAX {
        let why = format!("nothing is known yet of {of_subnet} objects that this subnet asked for, which is the most");
        return Err(Error::unavailable(why));
    }
    Ok(())
}

/// Adds what another request knows to a flight.
fn join(shared: &Shared, target: &Target, gathered: &Gathered) {
    let mut state = shared.lock();
    for location in &gathered.locations {
        state.add_source(location);
    }
    if target.name != shared.key {
        let tag = learn::tag_of(target, &gathered.key, gathered.generation.max(state.generation), "");
        state.add_name(&target.name, &tag);
    }
    state.published_size = state.published_size.or(gathered.size);
    state.listed = state.listed.or(gathered.listed);
    if state.expected.is_none() && gathered.expected.is_some() {
        state.expected = gathered.expected;
        state.amended = state.draft.is_some();
    }
    drop(state);
    shared.owner.notify_one();
}
