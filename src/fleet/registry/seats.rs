//! Who is served, in memory, so that no request of a scan reads the index for it.
//!
//! There are as many seats as endpoints, and of those the store has a limit. A seat is put or taken by the store's writer with each
//! change of what is known, in the order of the commits and whoever leaves meanwhile. One that was lost otherwise is read from the
//! store, and put only where nothing changed since it was read.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::model::deployment::Endpoint;
use crate::store::fleet::{Admitted, ENDPOINTS_MAX, Record, Registration};

/// A machine as far as an id is bound to it: its name, maker and model, as a number. It stands in cookies, and means the same after a
/// restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Machine(u64);

/// A name of a machine, as a number, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Called(u64);

fn number(parts: &[&str]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        // Each with its length before it, so that no two lists of parts are the same bytes.
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    let hash = hasher.finalize();
    hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl Machine {
    pub(super) fn of(told: &Registration) -> Self {
        Self(number(&[&told.name.to_lowercase(), &told.maker, &told.model]))
    }
}

impl Called {
    /// The number of a name.
    pub fn of(name: &str) -> Self {
        Self(number(&[&name.trim().to_lowercase()]))
    }
}

/// What is known of an endpoint, as far as answering it needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Which endpoint.
    pub endpoint: Endpoint,
    /// The machine that the id is bound to.
    pub machine: Machine,
    /// Whether it was let in.
    pub is_served: bool,
    /// Its name.
    pub name: Box<str>,
    /// The groups that it names for itself.
    pub targets: Box<[Box<str>]>,
    /// From where it registered last.
    pub address: IpAddr,
    /// The build of its system; 0 where it does not say.
    pub build: u32,
    called: Called,
    /// Another machine of the same name contests its id.
    is_doubled: bool,
}

impl Seat {
    fn of(record: &Record) -> Self {
        let told = &record.registration;
        let called = Called::of(&told.name);
        Self {
            endpoint: told.endpoint,
            machine: Machine::of(told),
            is_served: record.admitted == Admitted::Accepted,
            name: told.name.as_str().into(),
            targets: told.targets.iter().map(|target| target.as_str().into()).collect(),
            address: told.address,
            build: told.os.build,
            called,
            is_doubled: record.contests.iter().any(|contest| Called::of(&contest.name) == called),
        }
    }

    /// Whether whoever comes with the id under this name can be taken for the machine, although it has not told its maker and model
    /// since it took its cookie. Enough for a report, not for being told what was approved.
    pub fn is_called(&self, name: Called) -> bool {
        self.called == name && !self.is_doubled
    }
}

/// The seats.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<HashMap<Endpoint, Arc<Seat>>>);

impl Seats {
    fn seats(&self) -> MutexGuard<'_, HashMap<Endpoint, Arc<Seat>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, endpoint: Endpoint) -> Option<Arc<Seat>> {
        self.seats().get(&endpoint).map(Arc::clone)
    }

    pub(super) fn put(&self, record: &Record) {
        let seat = Arc::new(Seat::of(record));
        set(&mut self.seats(), seat);
    }

    /// What was read of an endpoint, or that it cannot be, counts if `is_last` says so while nobody else puts or takes anything; says
    /// whether it does.
    pub(super) fn renew(&self, endpoint: Endpoint, record: Option<&Record>, is_last: impl FnOnce() -> bool) -> bool {
        let seat = record.map(|record| Arc::new(Seat::of(record)));
        let mut seats = self.seats();
        let counts = is_last();
        if counts {
            match seat {
                Some(seat) => set(&mut seats, seat),
                None => drop(seats.remove(&endpoint)),
            }
        }
        counts
    }

    pub(super) fn take(&self, endpoint: Endpoint) {
        self.seats().remove(&endpoint);
    }
}

fn set(seats: &mut HashMap<Endpoint, Arc<Seat>>, seat: Arc<Seat>) {
    // The store keeps no more; what it has forgotten since without our knowing is not worth an order.
    let is_full = u64::try_from(seats.len()).unwrap_or(u64::MAX) >= ENDPOINTS_MAX;
    if is_full && !seats.contains_key(&seat.endpoint) {
        seats.clear();
    }
    seats.insert(seat.endpoint, seat);
}
