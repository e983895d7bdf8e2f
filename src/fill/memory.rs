//! What the room remembers beside the store: who lied, which objects changed under our hands, what was answered last,
//! how fast hosts are, and which subnet has how many bytes in unproven drafts. All of it bounded, none of it needed
//! after a restart.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;

use crate::base::time::Timestamp;
use crate::fill::config::{CHANGES_FORGOTTEN, CHANGES_MAX, CHARGES_MAX, CHARGES_OF_SUBNET_MAX, MEMORY_MAX};
use crate::fill::state::Writers;
use crate::model::name::Name;
use crate::store::DraftSpec;

/// How long a host is backed off from after wrong bytes: from the second time on, four times longer each time.
const BACKOFF_FIRST: Duration = Duration::from_mins(1);
/// As long as Windows itself avoids a host that failed it.
const BACKOFF_MAX: Duration = Duration::from_mins(15);

/// For how long an object that may not be kept is passed through without another look: who asks for it would otherwise
/// cause two requests each time, the one that shows it and the client's own.
const NOT_KEPT: Duration = Duration::from_mins(1);

/// For how long it is believed that a host has HTTPS.
const HTTPS_KNOWN: Duration = Duration::from_hours(24);

/// For how long it is believed that it has none. Shorter: the way to it may only have been down for a moment, and what is
/// fetched meanwhile comes over plain HTTP.
const NO_HTTPS_KNOWN: Duration = Duration::from_hours(1);

/// How often charges are held against the drafts that are there: a subnet above its share asks many times a second.
const COMPARED_EVERY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
struct Blame {
    times: u32,
    until: Instant,
}

/// What was answered last under a name, for `explain`.
#[derive(Clone, Debug)]
pub(super) struct LastAnswer {
    pub(super) at: Timestamp,
    pub(super) text: String,
}

/// What was told of an object of which nobody has asked for a byte yet.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The draft that it would have.
    pub(super) spec: DraftSpec,
    /// For which generation of bytes its tag is.
    pub(super) generation: u32,
}

impl Told {
    /// Whether it was told of this version too. Only a date tells versions apart here: a strong tag is told as it is.
    pub(super) fn is_of(&self, spec: &DraftSpec, generation: u32) -> bool {
        let (said, says) = (&self.spec.validators, &spec.validators);
        said == says && says.last_modified.is_some() && (self.spec.size, self.generation) == (spec.size, generation)
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Memory {
    blames: Cache<(Name, String), Blame>,
    changes: Cache<Name, (u32, Instant)>,
    answers: Cache<Name, LastAnswer>,
    /// The same by the address that was asked, which may be one place of a payload that goes by its digest.
    answers_of: Cache<String, LastAnswer>,
    /// Names whose origin could not be asked for a revalidation, and until when it is left alone.
    pauses: Cache<Name, Instant>,
    rates: Cache<String, u64>,
    /// Whether hosts have HTTPS, and when that was found out.
    https: Cache<String, (bool, Instant)>,
    /// Objects that their origin did not let be kept, and until when that is taken for so.
    not_kept: Cache<Name, Instant>,
    /// Objects that were only asked about.
    told: Cache<Name, Told>,
    /// Who wrote what is in drafts that no flight has open.
    writers: Cache<Name, Writers>,
    /// Payloads of which several hosts together gave wrong bytes, so that nobody knows whose were wrong.
    alone: Cache<Name, ()>,
    charges: Mutex<Charges>,
    /// When the charges were last held against the drafts that are there.
    compared: Mutex<Option<Instant>>,
}

/// What subnets have in unproven drafts.
#[derive(Debug, Default)]
struct Charges {
    of: HashMap<Subnet, BTreeMap<Name, u64>>,
    /// Names in all of them.
    names: usize,
}

/// The clients that are counted together: a /24 or a /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Subnet(IpAddr);

impl Subnet {
    /// Its first address.
    pub(super) fn address(self) -> IpAddr {
        self.0
    }

    pub(super) fn of(client: IpAddr) -> Self {
        Self(match client.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & !0xff)),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (!0 << 64))),
        })
    }
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            blames: Cache::new(MEMORY_MAX),
            changes: Cache::new(MEMORY_MAX),
            answers: Cache::new(MEMORY_MAX),
            answers_of: Cache::new(MEMORY_MAX),
            pauses: Cache::new(MEMORY_MAX),
            rates: Cache::new(MEMORY_MAX),
            https: Cache::new(MEMORY_MAX),
            not_kept: Cache::new(MEMORY_MAX),
            told: Cache::new(MEMORY_MAX),
            writers: Cache::new(MEMORY_MAX),
            alone: Cache::new(MEMORY_MAX),
            charges: Mutex::default(),
            compared: Mutex::default(),
        }
    }

    /// `host` gave wrong bytes for this payload.
    pub(super) fn blame(&self, key: &Name, host: &str) {
        let place = (key.clone(), host.to_owned());
        let times = self.blames.get(&place).map_or(0, |blame| blame.times) + 1;
        let wait = BACKOFF_FIRST.saturating_mul(4_u32.saturating_pow(times.saturating_sub(2).min(8))).min(BACKOFF_MAX);
        self.blames.insert(place, Blame { times, until: Instant::now() + wait });
    }

    /// Whether `host` is blamed now; and for how long it is not asked at all, which begins with the second time.
    pub(super) fn blamed(&self, key: &Name, host: &str) -> Option<Duration> {
        let blame = self.blames.get(&(key.clone(), host.to_owned()))?;
        let left = blame.until.checked_duration_since(Instant::now())?;
        Some(if blame.times > 1 { left } else { Duration::ZERO })
    }

    pub(super) fn acquit(&self, key: &Name, host: &str) {
        self.blames.remove(&(key.clone(), host.to_owned()));
        self.changes.remove(key);
        self.alone.remove(key);
    }

    /// The object changed in mid-flight once more.
    pub(super) fn changed(&self, key: &Name) {
        let times = self.changes(key);
        self.changes.insert(key.clone(), (times + 1, Instant::now()));
    }

    /// How often it changed lately.
    pub(super) fn changes(&self, key: &Name) -> u32 {
        self.changes.get(key).filter(|(_, at)| at.elapsed() < CHANGES_FORGOTTEN).map_or(0, |(times, _)| times)
    }

    /// Whether it changed so often that it is passed through for a while.
    pub(super) fn changes_too_often(&self, key: &Name) -> bool {
        self.changes(key) > CHANGES_MAX
    }

    /// What came of asking `url` for the object of this name.
    pub(super) fn answered(&self, name: &Name, url: &str, at: Timestamp, text: String) {
        let last = LastAnswer { at, text };
        self.answers_of.insert(url.to_owned(), last.clone());
        self.answers.insert(name.clone(), last);
    }

    /// What came last, for the object of this name.
    pub(super) fn last_answer(&self, name: &Name) -> Option<LastAnswer> {
        self.answers.get(name)
    }

    /// What came last from this address, for an object of whatever name.
    pub(super) fn last_answer_of(&self, url: &str) -> Option<LastAnswer> {
        self.answers_of.get(url)
    }

    pub(super) fn pause(&self, name: &Name, wait: Duration) {
        self.pauses.insert(name.clone(), Instant::now() + wait);
    }

    pub(super) fn is_paused(&self, name: &Name) -> bool {
        self.pauses.get(name).is_some_and(|until| Instant::now() < until)
    }

    /// The origin does not let this object be kept, or does not say how long it is.
    pub(super) fn forbid(&self, key: &Name) {
        self.not_kept.insert(key.clone(), Instant::now() + NOT_KEPT);
    }

    pub(super) fn is_not_kept(&self, key: &Name) -> bool {
        self.not_kept.get(key).is_some_and(|until| Instant::now() < until)
    }

    /// A HEAD was answered, and nothing is kept of the object.
    pub(super) fn tell(&self, key: &Name, told: Told) {
        self.told.insert(key.clone(), told);
    }

    pub(super) fn told(&self, key: &Name) -> Option<Told> {
        self.told.get(key)
    }

    /// A draft was begun. It knows from now on what was told, and whatever was charged was for one that is gone.
    pub(super) fn begun(&self, key: &Name) {
        self.told.remove(key);
        self.writers.remove(key);
        self.settle(key);
    }

    /// A flight has left a draft in which these hosts wrote.
    pub(super) fn left(&self, key: &Name, writers: Writers) {
        self.writers.insert(key.clone(), writers);
    }

    pub(super) fn writers(&self, key: &Name) -> Option<Writers> {
        self.writers.get(key)
    }

    /// From now on all bytes of this payload are to come from one host, until it is proven.
    pub(super) fn set_alone(&self, key: &Name) {
        self.alone.insert(key.clone(), ());
    }

    pub(super) fn is_alone(&self, key: &Name) -> bool {
        self.alone.get(key).is_some()
    }

    pub(super) fn set_rate(&self, host: &str, rate: u64) {
        self.rates.insert(host.to_owned(), rate);
    }

    pub(super) fn rate(&self, host: &str) -> Option<u64> {
        self.rates.get(host)
    }

    pub(super) fn set_https(&self, host: &str, offers: bool) {
        self.https.insert(host.to_owned(), (offers, Instant::now()));
    }

    /// Whether the host has HTTPS, where that is known.
    pub(super) fn offers_https(&self, host: &str) -> Option<bool> {
        let (offers, at) = self.https.get(host)?;
        (at.elapsed() < if offers { HTTPS_KNOWN } else { NO_HTTPS_KNOWN }).then_some(offers)
    }

    /// `bytes` more of `key`, for which nobody published a digest, were asked for by a client.
    /// No more than its `size` is charged for it: a draft outlives its flights, and takes no more room than that.
    pub(super) fn charge(&self, client: IpAddr, key: &Name, bytes: u64, size: u64) {
        let mut charges = self.charges.lock().unwrap_or_else(PoisonError::into_inner);
        let Charges { of, names } = &mut *charges;
        let subnet = Subnet::of(client);
        if let Some(charged) = of.get_mut(&subnet).and_then(|own| own.get_mut(key)) {
            *charged = charged.saturating_add(bytes).min(size);
            return;
        }
        let own = of.get(&subnet).map(BTreeMap::len);
        let is_room = own.map_or(of.len() < MEMORY_MAX, |own| own < CHARGES_OF_SUBNET_MAX);
        if is_room && *names < CHARGES_MAX {
            of.entry(subnet).or_default().insert(key.clone(), bytes.min(size));
            *names += 1;
        }
    }

    /// What the client's subnet has in unproven drafts.
    pub(super) fn charged(&self, client: IpAddr) -> u64 {
        let charges = self.charges.lock().unwrap_or_else(PoisonError::into_inner);
        charges.of.get(&Subnet::of(client)).map_or(0, |names| names.values().sum())
    }

    /// Whether no further name is charged to the client's subnet.
    pub(super) fn is_charged_full(&self, client: IpAddr) -> bool {
        let charges = self.charges.lock().unwrap_or_else(PoisonError::into_inner);
        charges.of.get(&Subnet::of(client)).is_some_and(|names| names.len() >= CHARGES_OF_SUBNET_MAX)
    }

    /// Whether no further name is charged to anybody.
    pub(super) fn are_charges_full(&self) -> bool {
        self.charges.lock().unwrap_or_else(PoisonError::into_inner).names >= CHARGES_MAX
    }

    /// The draft is gone: published, discarded or evicted.
    pub(super) fn settle(&self, key: &Name) {
        let mut charges = self.charges.lock().unwrap_or_else(PoisonError::into_inner);
        let Charges { of, names } = &mut *charges;
        of.retain(|_, own| {
            *names -= usize::from(own.remove(key).is_some());
            !own.is_empty()
        });
    }

    /// Whether it is time to hold the charges against the drafts that are there, which reads a row of each.
    pub(super) fn may_compare(&self) -> bool {
        let mut compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        let due = compared.is_none_or(|at| at.elapsed() >= COMPARED_EVERY);
        if due {
            *compared = Some(Instant::now());
        }
        due
    }

    /// Keeps only the charges for drafts that are still there.
    pub(super) fn settle_but(&self, there: &BTreeSet<Name>) {
        let mut charges = self.charges.lock().unwrap_or_else(PoisonError::into_inner);
        let Charges { of, names } = &mut *charges;
        of.retain(|_, own| {
            own.retain(|name, _| there.contains(name));
            !own.is_empty()
        });
        *names = of.values().map(BTreeMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::OriginKey;

    fn name(text: &str) -> Name {
        Name::Origin(OriginKey::new(text).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_wrong_bytes_cost_the_first_place_the_second_a_pause() {
        let memory = Memory::new();
        let key = name("a/b");
        assert_eq!(memory.blamed(&key, "a"), None);
        memory.blame(&key, "a");
        assert_eq!(memory.blamed(&key, "a"), Some(Duration::ZERO));
        memory.blame(&key, "a");
        assert_eq!(memory.blamed(&key, "a"), Some(BACKOFF_FIRST));
        for _ in 0..40 {
            memory.blame(&key, "a");
        }
        assert_eq!(memory.blamed(&key, "a"), Some(BACKOFF_MAX));
        tokio::time::advance(BACKOFF_MAX + Duration::from_secs(1)).await;
        assert_eq!(memory.blamed(&key, "a"), None);
    }

    #[test]
    fn subnets_are_charged_until_the_draft_is_gone() {
        let memory = Memory::new();
        let client = |text: &str| text.parse::<IpAddr>().unwrap();
        memory.charge(client("10.1.2.3"), &name("a/b"), 5, 9);
        memory.charge(client("10.1.2.3"), &name("a/b"), 5, 5);
        memory.charge(client("::ffff:10.1.2.9"), &name("a/c"), 7, 7);
        memory.charge(client("2001:db8::1"), &name("a/b"), 1, 9);
        assert_eq!(memory.charged(client("10.1.2.200")), 12);
        assert_eq!(memory.charged(client("2001:db8::2:1")), 1);
        assert_eq!(memory.charged(client("10.1.3.3")), 0);
        memory.settle(&name("a/b"));
        assert_eq!((memory.charged(client("10.1.2.3")), memory.charged(client("2001:db8::1"))), (7, 0));
    }

    #[test]
    fn charges_are_for_so_many_names_and_no_more() {
        let memory = Memory::new();
        let client = |subnet: u64| IpAddr::from([0x2001, 0xdb8, 0, u16::try_from(subnet).unwrap(), 0, 0, 0, 1]);
        let charged = |number: usize| name(&format!("a/{number}"));
        for number in 0..CHARGES_OF_SUBNET_MAX + 100 {
            assert_eq!(memory.is_charged_full(client(0)), number >= CHARGES_OF_SUBNET_MAX);
            memory.charge(client(0), &charged(number), 1, 9);
        }
        memory.charge(client(0), &charged(0), 1, 9);
        assert_eq!(memory.charged(client(0)), CHARGES_OF_SUBNET_MAX as u64 + 1, "what is charged goes on");
        assert!(!memory.is_charged_full(client(1)) && !memory.are_charges_full());
        for number in 0..CHARGES_MAX {
            memory.charge(client(1 + number as u64 / 1000), &charged(number), 1, 9);
        }
        assert!(memory.are_charges_full());
        let held = |memory: &Memory| memory.charges.lock().unwrap().of.values().map(BTreeMap::len).sum::<usize>();
        assert_eq!((held(&memory), memory.charges.lock().unwrap().names), (CHARGES_MAX, CHARGES_MAX));
        // One of them is gone, then all but two.
        memory.settle(&charged(0));
        assert_eq!((held(&memory), memory.charges.lock().unwrap().names), (CHARGES_MAX - 2, CHARGES_MAX - 2));
        memory.settle_but(&[charged(1), charged(5000)].into());
        assert_eq!((held(&memory), memory.charges.lock().unwrap().names), (3, 3));
        assert!(!memory.is_charged_full(client(0)) && !memory.are_charges_full());
    }

    #[tokio::test(start_paused = true)]
    async fn drafts_are_not_read_for_each_request() {
        let memory = Memory::new();
        assert!(memory.may_compare() && !memory.may_compare());
        tokio::time::advance(COMPARED_EVERY).await;
        assert!(memory.may_compare() && !memory.may_compare());
    }

    #[test]
    fn an_object_that_keeps_changing_is_noticed() {
        let memory = Memory::new();
        let key = name("a/b");
        for _ in 0..CHANGES_MAX {
            memory.changed(&key);
            assert!(!memory.changes_too_often(&key));
        }
        memory.changed(&key);
        assert!(memory.changes_too_often(&key));
    }
}
