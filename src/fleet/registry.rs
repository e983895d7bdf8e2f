//! Who an endpoint is, and whether it is let in.
//!
//! 1. An id belongs to the machine that came with it first: to its name, its maker and model. Firmware, system, agent and address
//!    change in the life of a machine, and go into its history.
//! 2. The same id with another name, maker or model is *contested*: that is noted beside what is known and changes nothing of it. One
//!    that came once may be a machine that was renamed; a person says so ([`Registry::bind`]). Two that come in turns are clones of
//!    one image.
//! 3. A machine that is new is accepted, held or refused by the setting of the narrowest network that it is in. How many new ones one
//!    network may bring is limited, since ids cost nothing.
//! 4. What says nothing new costs no commit, and what does shares its commit with all that come at the same time (`gate`);
//!    one endpoint has so many in an hour.
//! 5. Who is served is held in memory too ([`Seat`]); all that changes it goes through here, so that one registry stands over a store
//!    that is in use.

mod gate;
mod judge;
mod seats;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

use crate::base::time::Timestamp;
use crate::fleet::error::Error;
use crate::fleet::often::Often;
use crate::fleet::registry::gate::Gate;
use crate::fleet::registry::judge::{bounded, judge};
use crate::fleet::registry::seats::Seats;
use crate::model::deployment::Endpoint;
use crate::store::fleet::{
    Admitted, Contact, Contest, Event, EventKind, Fleet, PAGE_MAX, Record, Registration, Ruling,
};

pub use crate::fleet::registry::seats::{Called, Machine, Seat};

/// How long new machines of a network are counted together, in ms.
const WINDOW: u64 = 3_600_000;
/// New machines that one network may bring in that time: a rollout behind one address.
pub const NEW_MAX: u32 = 1000;
/// What one endpoint may have written in that time: whoever knows the id of a machine could say another thing of itself each time, have a
/// commit for each, and push all else out of its history. One that is updated, restarts and moves between networks says four new things.
const CHANGES_MAX: u32 = 12;
/// Networks that are counted one by one; beyond that all others count as one.
const NETWORKS_MAX: usize = 4096;

/// What becomes of a machine that was never seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admit {
    /// It is served.
    #[default]
    Accept,
    /// It is known, and served once somebody says so.
    Hold,
    /// It is not known and not served.
    Refuse,
}

impl Admit {
    /// All of them, with the words that settings have for them.
    pub const WORDS: [(&'static str, Self); 3] =
        [("accept", Self::Accept), ("hold", Self::Hold), ("refuse", Self::Refuse)];

    /// What a word means.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, admit)| *admit)
    }
}

/// Who is let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// What holds where no network says otherwise.
    pub otherwise: Admit,
    /// By network; the narrowest counts.
    pub networks: Vec<(IpNet, Admit)>,
}

impl Admission {
    /// What becomes of a machine from there.
    pub fn of(&self, address: IpAddr) -> Admit {
        let address = address.to_canonical();
        let within = self.networks.iter().filter(|(network, _)| network.contains(&address));
        within.max_by_key(|(network, _)| network.prefix_len()).map_or(self.otherwise, |(_, admit)| *admit)
    }
}

/// What came of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It is known, or is from now on, and served.
    Accepted,
    /// It waits for somebody to let it in.
    Held,
    /// It is not let in.
    Refused,
    /// Its network brings too many new ones; it may come again in an hour.
    TooMany,
    /// It is new, and more register than can be written down; it may come again in a moment.
    Busy,
    /// Its id belongs to another machine.
    Contested,
}

impl Registered {
    /// Whether the machine is served. One whose id is contested is not: it would get what was approved for another.
    pub const fn is_served(self) -> bool {
        matches!(self, Self::Accepted)
    }
}

/// New machines of one network.
#[derive(Clone, Copy, Debug)]
struct Fresh {
    since: u64,
    many: u32,
}

/// The endpoints of a node; clones share it.
#[derive(Clone, Debug)]
pub struct Registry {
    fleet: Fleet,
    admission: Arc<Admission>,
    fresh: Arc<Mutex<HashMap<IpNet, Fresh>>>,
    seats: Arc<Seats>,
    gate: Arc<Gate>,
    /// What each has written.
    often: Arc<Often>,
}

/// What a site has of one provider: /24, or /56.
fn network(address: IpAddr) -> IpNet {
    let address = address.to_canonical();
    let bits = if address.is_ipv4() { 24 } else { 56 };
    IpNet::new(address, bits).map_or_else(|_| IpNet::from(address), |network| network.trunc())
}

/// What came of a registration, and the machine that the id is bound to where it is the one that registered.
type Judged = (Registered, Option<Machine>);

/// Rules 1 to 3, with the machine that is known from then on where it is this one.
fn judged(known: Option<Record>, told: &Registration, admit: Admit) -> Ruling<Judged> {
    let before = known.as_ref().map(|known| Machine::of(&known.registration));
    let Ruling { put, events, answer } = judge(known, told, admit);
    let after = put.as_ref().map(|record| Machine::of(&record.registration)).or(before);
    let machine = after.filter(|_| matches!(answer, Registered::Accepted | Registered::Held));
    Ruling { put, events, answer: (answer, machine) }
}

/// Times that a seat is read where others change meanwhile: whoever stays without one registers once more.
const RESEAT_MAX: usize = 4;

impl Registry {
    /// A registry of what a store keeps. Nobody has a seat yet.
    pub fn new(fleet: Fleet, admission: Admission) -> Self {
        Self {
            fleet,
            admission: Arc::new(admission),
            fresh: Arc::default(),
            seats: Arc::default(),
            gate: Arc::default(),
            often: Arc::new(Often::new(CHANGES_MAX)),
        }
    }

    /// The same with the seats of all endpoints that are known. Where they cannot be read, each registers once more.
    pub async fn open(fleet: Fleet, admission: Admission) -> Self {
        let registry = Self::new(fleet, admission);
        let mut after = None;
        loop {
            let page = match registry.fleet.endpoints(after, PAGE_MAX).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(%error, "the endpoints cannot be read: each registers once more");
                    break;
                }
            };
            for record in &page {
                registry.seats.put(record);
            }
            after = page.last().map(|record| record.registration.endpoint);
            if page.len() < PAGE_MAX {
                break;
            }
        }
        registry
    }

    /// What is kept of endpoints.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// A machine said what it is.
    pub async fn registered(&self, told: Registration) -> Result<Registered, Error> {
        Ok(self.register(told).await?.0)
    }

    /// The same, with what its cookies say from then on: the machine that the id is bound to, where it is this one.
    ///
    /// A store that takes nothing, a crowd that registers, or a machine that says another thing each time, stops nobody who is known: what a
    /// machine says anew of itself is then not kept, and it says it again. Who is new must be kept, and waits until it can be.
    pub async fn register(&self, told: Registration) -> Result<(Registered, Option<Machine>), Error> {
        let told = Arc::new(bounded(told));
        let (endpoint, address, at) = (told.endpoint, told.address, told.at);
        let admit = self.admission.of(address);
        let known = self.fleet.endpoint(endpoint).await?;
        // Only what would be kept takes a place: a machine that is refused, or known, costs its neighbours none.
        if admit != Admit::Refuse && known.is_none() && !self.takes(address, at) {
            return Ok((Registered::TooMany, None));
        }
        let ruling = judged(known.clone(), &told, admit);
        let is_written = ruling.put.is_some() || !ruling.events.is_empty();
        let found = if is_written && known.is_some() && !self.often.may(endpoint, at) {
            tracing::debug!(endpoint = %endpoint.0, "an endpoint says something new of itself too often: it is not kept");
            ruling.answer
        } else if is_written && !self.gate.pass().await {
            if known.is_none() {
                self.gives_back(address);
                return Ok((Registered::Busy, None));
            }
            tracing::debug!(endpoint = %endpoint.0, "too many register: what an endpoint says anew of itself is not kept");
            ruling.answer
        } else {
            self.written(known, &told, admit).await?
        };
        if found.0 != Registered::Refused {
            self.reseat(endpoint).await?;
        }
        if matches!(found.0, Registered::Accepted | Registered::Held) {
            self.contact(endpoint, address, Contact::Registration, at);
        }
        Ok(found)
    }

    /// Rules, and writes what comes of it.
    async fn written(&self, known: Option<Record>, told: &Arc<Registration>, admit: Admit) -> Result<Judged, Error> {
        let endpoint = told.endpoint;
        let judge = {
            let told = Arc::clone(told);
            move |known| judged(known, &told, admit)
        };
        let judging = self.fleet.judge_and_tell(endpoint, judge, self.seating());
        match (judging.await, known) {
            (Ok(found), _) => Ok(found),
            (Err(error), Some(known)) => {
                tracing::warn!(%error, endpoint = %endpoint.0, "what an endpoint says of itself is not kept");
                Ok(judged(Some(known), told, admit).answer)
            }
            (Err(error), None) => Err(error.into()),
        }
    }

    /// What answering an endpoint needs to know of it; `None` where it is not known. Asks the memory alone.
    pub fn seat(&self, endpoint: Endpoint) -> Option<Arc<Seat>> {
        self.seats.get(endpoint)
    }

    /// Gives whoever is known anew its seat, in the order of the commits; it is done whether or not the one who asked stays for it.
    fn seating(&self) -> impl FnOnce(&Record) + Send + 'static {
        let seats = Arc::clone(&self.seats);
        move |record| seats.put(record)
    }

    /// Reads a seat anew, for one that was lost without a change of what is known.
    async fn reseat(&self, endpoint: Endpoint) -> Result<(), Error> {
        for _ in 0..RESEAT_MAX {
            let turn = self.fleet.turn(endpoint);
            let read = self.fleet.endpoint(endpoint).await;
            let found = read.as_ref().ok().and_then(Option::as_ref);
            // What was told since is later than what was read.
            let is_last = || self.fleet.turn(endpoint) == turn;
            let is_done = self.seats.renew(endpoint, found, is_last);
            read?;
            if is_done {
                break;
            }
        }
        Ok(())
    }

    /// Has somebody's word on an endpoint done.
    async fn change(
        &self,
        endpoint: Endpoint,
        rule: impl Fn(Option<Record>) -> Ruling<bool> + Send + 'static,
    ) -> Result<bool, Error> {
        Ok(self.fleet.judge_and_tell(endpoint, rule, self.seating()).await?)
    }

    /// An endpoint was in touch. Waits for nothing and costs no commit; what nobody registered is not noted.
    pub fn contact(&self, endpoint: Endpoint, address: IpAddr, contact: Contact, at: Timestamp) {
        self.fleet.heard(endpoint, address, contact, at);
    }

    /// Whether an endpoint is known and was let in, by what the store keeps.
    pub async fn is_served(&self, endpoint: Endpoint) -> Result<bool, Error> {
        Ok(self.fleet.endpoint(endpoint).await?.is_some_and(|known| known.admitted == Admitted::Accepted))
    }

    /// Somebody lets an endpoint in that is held; says whether it was.
    pub async fn admit(&self, endpoint: Endpoint, by: String, at: Timestamp) -> Result<bool, Error> {
        let rule = move |known: Option<Record>| match known {
            Some(mut known) if known.admitted == Admitted::Held => {
                known.admitted = Admitted::Accepted;
                let event = Event { at, kind: EventKind::Admitted, text: format!("by {by}") };
                Ruling { put: Some(known), events: vec![event], answer: true }
            }
            _ => Ruling { put: None, events: vec![], answer: false },
        };
        self.change(endpoint, rule).await
    }

    /// Somebody says that the machine of that name, which contests the id of an endpoint, is the one: it was renamed, or got other
    /// hardware. What else contests the id stays. Says whether there was such a contest.
    pub async fn bind(&self, endpoint: Endpoint, name: String, by: String, at: Timestamp) -> Result<bool, Error> {
        let rule = move |known: Option<Record>| {
            let none = Ruling { put: None, events: vec![], answer: false };
            let Some(mut known) = known else { return none };
            let wanted = name.to_lowercase();
            let Some(place) = known.contests.iter().rposition(|contest| contest.name.to_lowercase() == wanted) else {
                return none;
            };
            let Contest { name, maker, model, bios, address, .. } = known.contests.remove(place);
            let text = format!("{name:?} instead of {:?}, by {by}", known.registration.name);
            known.registration = Registration { name, maker, model, bios, address, at, ..known.registration };
            let event = Event { at, kind: EventKind::Bound, text };
            Ruling { put: Some(known), events: vec![event], answer: true }
        };
        self.change(endpoint, rule).await
    }

    /// Somebody has an endpoint forgotten, with all that is kept of it; says whether it was known. If it comes again it is new.
    pub async fn forget(&self, endpoint: Endpoint) -> Result<bool, Error> {
        let seats = Arc::clone(&self.seats);
        Ok(self.fleet.forget_and_tell(endpoint, move || seats.take(endpoint)).await?)
    }

    /// Counts a new machine; `false` where its network has brought too many. Who is on the node itself is not counted: programs that play
    /// many machines run there.
    fn takes(&self, address: IpAddr, at: Timestamp) -> bool {
        if address.is_loopback() {
            return true;
        }
        let mut all = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut network, now) = (network(address), at.ms());
        let is_over = |fresh: &Fresh| now.saturating_sub(fresh.since) >= WINDOW;
        if all.len() >= NETWORKS_MAX && !all.contains_key(&network) {
            all.retain(|_, fresh| !is_over(fresh));
            if all.len() >= NETWORKS_MAX {
                network = IpNet::default();
            }
        }
        let fresh = all.entry(network).or_insert(Fresh { since: now, many: 0 });
        if is_over(fresh) {
            *fresh = Fresh { since: now, many: 0 };
        }
        fresh.many = fresh.many.saturating_add(1);
        fresh.many <= NEW_MAX
    }

    /// One that was counted was not taken in after all: it comes again.
    fn gives_back(&self, address: IpAddr) {
        let mut all = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fresh) = all.get_mut(&network(address)) {
            fresh.many = fresh.many.saturating_sub(1);
        }
    }
}
