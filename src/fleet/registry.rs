//! Who an endpoint is, and whether it is let in.
//!
//! 1. An id belongs to the machine that came with it first: to its name, its maker and model. Firmware, system, agent and address
//!    change in the life of a machine, and go into its history.
//! 2. The same id with another name, maker or model is *contested*: that is noted beside what is known and changes nothing of it. One
//!    that came once may be a machine that was renamed; a person says so ([`Registry::bind`]). Two that come in turns are clones of
//!    one image.
//! 3. A machine that is new is accepted, held or refused by the setting of the narrowest network that it is in. How many new ones one
//!    network may bring is limited, since ids cost nothing.
//! 4. What says nothing new costs no commit.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

use crate::base::time::Timestamp;
use crate::fleet::error::Error;
use crate::model::deployment::Endpoint;
use crate::store::fleet::{Admitted, Bios, Contact, Contest, Event, EventKind, Fleet, Record, Registration, Ruling};

/// Characters of a name (RFC 1035, 2.3.4) and of what else a machine says of itself.
const TEXT_MAX: usize = 255;
/// Groups that a machine may name for itself.
const TARGETS_MAX: usize = 32;
/// Contests that are kept of one id; of more, those that were there first.
const CONTESTS_MAX: usize = 8;
/// How long a contest is not noted again, in ms: a clone that scans in a circle must not cost a commit each time.
const CONTEST_EVERY: u64 = 3_600_000;
/// How long new machines of a network are counted together, in ms.
const WINDOW: u64 = 3_600_000;
/// New machines that one network may bring in that time: a rollout behind one address.
pub const NEW_MAX: u32 = 1000;
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
}

/// What a site has of one provider: /24, or /56.
fn network(address: IpAddr) -> IpNet {
    let address = address.to_canonical();
    let bits = if address.is_ipv4() { 24 } else { 56 };
    IpNet::new(address, bits).map_or_else(|_| IpNet::from(address), |network| network.trunc())
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(TEXT_MAX) {
        text.truncate(end);
    }
}

/// What is longer than any machine says is cut, so that no row grows by what comes from outside.
fn bounded(mut told: Registration) -> Registration {
    let Bios { name, version, date } = &mut told.bios;
    let texts = [&mut told.name, &mut told.maker, &mut told.model, &mut told.architecture, &mut told.client_version];
    for text in texts.into_iter().chain([name, version, date]) {
        cut(text);
    }
    told.targets.truncate(TARGETS_MAX);
    told.targets.iter_mut().for_each(cut);
    told.address = told.address.to_canonical();
    told
}

/// Whether they are one machine as far as it can be told. A maker or model that is not said, then or now, tells nothing.
fn is_same(known: &Registration, told: &Registration) -> bool {
    let agrees = |a: &str, b: &str| a.is_empty() || b.is_empty() || a == b;
    known.name.to_lowercase() == told.name.to_lowercase()
        && agrees(&known.maker, &told.maker)
        && agrees(&known.model, &told.model)
}

/// What changed of a machine, for people.
fn changes(known: &Registration, told: &Registration) -> Vec<Event> {
    let mut events = Vec::new();
    let mut changed = |kind, text| events.push(Event { at: told.at, kind, text });
    if known.address != told.address {
        changed(EventKind::Address, format!("{} instead of {}", told.address, known.address));
    }
    if known.os != told.os {
        let text = |told: &Registration| format!("{}.{}.{}", told.os.major, told.os.minor, told.os.build);
        changed(EventKind::Changed, format!("system {} instead of {}", text(told), text(known)));
    }
    for (what, old, new) in [
        ("agent", &known.client_version, &told.client_version),
        ("firmware", &known.bios.version, &told.bios.version),
        ("architecture", &known.architecture, &told.architecture),
    ] {
        if old != new {
            changed(EventKind::Changed, format!("{what} {new:?} instead of {old:?}"));
        }
    }
    if known.targets != told.targets {
        let (new, old) = (told.targets.join("; "), known.targets.join("; "));
        changed(EventKind::Changed, format!("groups by its own word {new:?} instead of {old:?}"));
    }
    events
}

fn answer(admitted: Admitted) -> Registered {
    match admitted {
        Admitted::Accepted => Registered::Accepted,
        Admitted::Held => Registered::Held,
    }
}

/// Another machine came under the id of this one.
fn contested(mut known: Record, told: &Registration) -> Ruling<Registered> {
    let answer = Registered::Contested;
    let is_this = |contest: &&mut Contest| {
        contest.name.to_lowercase() == told.name.to_lowercase()
            && (&contest.maker, &contest.model) == (&told.maker, &told.model)
    };
    if let Some(contest) = known.contests.iter_mut().find(is_this) {
        let in_turns = contest.between.is_some();
        if told.at.ms() < contest.last.ms().saturating_add(CONTEST_EVERY) && (contest.is_clone || !in_turns) {
            return Ruling { put: None, events: vec![], answer };
        }
        let is_new = in_turns && !contest.is_clone;
        contest.last = told.at;
        contest.times = contest.times.saturating_add(1);
        contest.is_clone |= in_turns;
        contest.address = told.address;
        let text = format!("{:?} and {:?} come in turns: clones of one image", known.registration.name, told.name);
        let events = is_new.then_some(Event { at: told.at, kind: EventKind::Contested, text });
        return Ruling { put: Some(known), events: events.into_iter().collect(), answer };
    }
    if known.contests.len() >= CONTESTS_MAX {
        return Ruling { put: None, events: vec![], answer };
    }
    known.contests.push(Contest {
        name: told.name.clone(),
        maker: told.maker.clone(),
        model: told.model.clone(),
        bios: told.bios.clone(),
        address: told.address,
        first: told.at,
        last: told.at,
        times: 1,
        between: None,
        is_clone: false,
    });
    let text = format!("{:?} ({} {}) from {}", told.name, told.maker, told.model, told.address);
    let event = Event { at: told.at, kind: EventKind::Contested, text };
    Ruling { put: Some(known), events: vec![event], answer }
}

/// Rules 1 to 3, but for the limit of new ones.
fn judge(known: Option<Record>, told: &Registration, admit: Admit) -> Ruling<Registered> {
    let Some(mut known) = known else {
        let admitted = match admit {
            Admit::Accept => Admitted::Accepted,
            Admit::Hold => Admitted::Held,
            Admit::Refuse => return Ruling { put: None, events: vec![], answer: Registered::Refused },
        };
        let text = format!("{:?} from {}", told.name, told.address);
        let event = Event { at: told.at, kind: EventKind::First, text };
        let record = Record { registration: told.clone(), first: told.at, admitted, contests: vec![] };
        return Ruling { put: Some(record), events: vec![event], answer: answer(admitted) };
    };
    if !is_same(&known.registration, told) {
        return contested(known, told);
    }
    let answer = answer(known.admitted);
    let events = changes(&known.registration, told);
    // It is here after another one was: the next time that one comes, they are two.
    let mut is_between = false;
    for contest in known.contests.iter_mut().filter(|contest| contest.between.is_none()) {
        contest.between = Some(told.at);
        is_between = true;
    }
    let old = &known.registration;
    let keep = |old: &String, new: &String| if new.is_empty() { old.clone() } else { new.clone() };
    let new = Registration {
        name: old.name.clone(),
        maker: keep(&old.maker, &told.maker),
        model: keep(&old.model, &told.model),
        ..told.clone()
    };
    // When it said so last is a contact, and no reason to write.
    if new == (Registration { at: new.at, ..old.clone() }) && !is_between {
        return Ruling { put: None, events: vec![], answer };
    }
    known.registration = new;
    Ruling { put: Some(known), events, answer }
}

impl Registry {
    /// A registry of what a store keeps.
    pub fn new(fleet: Fleet, admission: Admission) -> Self {
        Self { fleet, admission: Arc::new(admission), fresh: Arc::default() }
    }

    /// What is kept of endpoints.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// A machine said what it is.
    pub async fn registered(&self, told: Registration) -> Result<Registered, Error> {
        let told = bounded(told);
        let (endpoint, address, at) = (told.endpoint, told.address, told.at);
        let admit = self.admission.of(address);
        // Only what would be kept takes a place: a machine that is refused, or known, costs its neighbours none.
        if admit != Admit::Refuse && self.fleet.endpoint(endpoint).await?.is_none() && !self.takes(address, at) {
            return Ok(Registered::TooMany);
        }
        let found = self.fleet.judge(endpoint, move |known| judge(known, &told, admit)).await?;
        if matches!(found, Registered::Accepted | Registered::Held) {
            self.contact(endpoint, address, Contact::Registration, at);
        }
        Ok(found)
    }

    /// An endpoint was in touch. Waits for nothing and costs no commit; what nobody registered is not noted.
    pub fn contact(&self, endpoint: Endpoint, address: IpAddr, contact: Contact, at: Timestamp) {
        self.fleet.heard(endpoint, address, contact, at);
    }

    /// Whether an endpoint that comes with a cookie is served: it is known and was let in.
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
        Ok(self.fleet.judge(endpoint, rule).await?)
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
        Ok(self.fleet.judge(endpoint, rule).await?)
    }

    /// Counts a new machine; `false` where its network has brought too many.
    fn takes(&self, address: IpAddr, at: Timestamp) -> bool {
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
}
