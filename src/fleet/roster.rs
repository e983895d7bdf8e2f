//! Endpoints as people look at them: found by a name or a beginning of an id, sifted by what became of them, and where they are.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::base::time::Timestamp;
use crate::fleet::error::Error;
use crate::fleet::registry::Registry;
use crate::model::deployment::Endpoint;
use crate::model::windows::{Role, Windows};
use crate::store::fleet::{Admitted, Contacts, Found, Os, Record, Row};

/// Digits of an id that are enough to look for it.
pub const BEGINNING_MIN: usize = 8;

/// Endpoints that a name can mean before it is told that it means several.
pub const NAMED_MAX: usize = 5;

/// Words that are looked for at once.
const WORDS_MAX: usize = 16;

/// What is looked for; what is not set is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sieve {
    /// Words in lower case that all stand somewhere: in name, id, system, maker, model, address, agent or groups.
    pub words: Vec<String>,
    /// Only those that wait to be let in.
    pub held: bool,
    /// Only those whose id another machine came with.
    pub contested: bool,
    /// Only those of which two live under one id.
    pub clones: bool,
    /// Only those that were last heard of from outside the site, or from within.
    pub roaming: Option<bool>,
    /// Only those that were not heard of since.
    pub unseen_since: Option<Timestamp>,
}

impl Sieve {
    /// The words of a text.
    pub fn words(text: &str) -> Vec<String> {
        text.split_whitespace().take(WORDS_MAX).map(str::to_lowercase).collect()
    }

    fn fits(&self, site: &[IpNet], record: &Record, contacts: &Contacts) -> bool {
        let is_roaming = || is_beyond(site, last_address(record, contacts));
        (!self.held || record.admitted == Admitted::Held)
            && (!self.contested || !record.contests.is_empty())
            && (!self.clones || is_cloned(record))
            && self.roaming.is_none_or(|roaming| roaming == is_roaming())
            && self.unseen_since.is_none_or(|since| last_heard(record, contacts) < since)
            && self.words.iter().all(|word| has(record, contacts, word))
    }
}

fn has(record: &Record, contacts: &Contacts, word: &str) -> bool {
    let told = &record.registration;
    let is_in = |text: &str| text.to_lowercase().contains(word);
    is_in(&told.name)
        || is_in(&told.endpoint.0.to_string())
        || is_in(&windows(&told.os).to_string())
        || is_in(&version(&told.os))
        || [&told.maker, &told.model, &told.architecture, &told.client_version].into_iter().any(|text| is_in(text))
        || told.targets.iter().any(|target| is_in(target))
        || is_in(&last_address(record, contacts).to_string())
}

/// Whether two machines live under one id.
pub fn is_cloned(record: &Record) -> bool {
    record.contests.iter().any(|contest| contest.is_clone)
}

/// When it was last heard of.
pub fn last_heard(record: &Record, contacts: &Contacts) -> Timestamp {
    contacts.latest().unwrap_or_default().max(record.registration.at)
}

/// From where it was last heard of.
pub fn last_address(record: &Record, contacts: &Contacts) -> IpAddr {
    contacts.address.unwrap_or(record.registration.address)
}

/// A system by the name that people have for it.
pub fn windows(os: &Os) -> Windows {
    Windows { major: os.major, minor: os.minor, build: os.build, role: Role::of(os.product) }
}

/// A system by its numbers.
pub fn version(os: &Os) -> String {
    format!("{}.{}.{}", os.major, os.minor, os.build)
}

fn is_beyond(site: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    !site.is_empty() && !site.iter().any(|network| network.contains(&address))
}

/// What a person wrote to mean an endpoint.
#[derive(Clone, Debug)]
struct Wanted {
    /// In lower case.
    name: String,
    /// The digits of a beginning of an id, where it is one.
    digits: Option<String>,
}

impl Wanted {
    fn new(text: &str) -> Self {
        let name = text.trim().to_lowercase();
        let digits: String = name.chars().filter(|letter| *letter != '-').collect();
        let is_beginning =
            (BEGINNING_MIN..=32).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        Self { name, digits: is_beginning.then_some(digits) }
    }

    /// How well an endpoint fits, 1 the best: its whole name, its name without the domain, a beginning of its id.
    fn rank(&self, record: &Record) -> Option<u8> {
        let name = record.registration.name.to_lowercase();
        if name == self.name && !name.is_empty() {
            return Some(1);
        }
        if !self.name.is_empty() && name.split_once('.').is_some_and(|(host, _)| host == self.name) {
            return Some(2);
        }
        let digits = self.digits.as_ref()?;
        let id: String = record.registration.endpoint.0.to_string().chars().filter(|letter| *letter != '-').collect();
        id.starts_with(digits.as_str()).then_some(3)
    }
}

/// The endpoints for people; clones share them.
#[derive(Clone, Debug)]
pub struct Roster {
    registry: Registry,
    site: Arc<[IpNet]>,
}

impl Roster {
    /// The endpoints of a registry, at a site with these networks; none: wherever an endpoint is, it is on site.
    pub fn new(registry: Registry, site: Vec<IpNet>) -> Self {
        Self { registry, site: site.into() }
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A page of those that fit, in the order of their names. Reads all that there are.
    pub async fn list(&self, sieve: Sieve, after: Option<(String, Endpoint)>, limit: usize) -> Result<Found, Error> {
        let site = Arc::clone(&self.site);
        let fits = move |record: &Record, contacts: &Contacts| sieve.fits(&site, record, contacts);
        Ok(self.registry.fleet().find(fits, after, limit).await?)
    }

    /// The endpoints that a name can mean, those that it fits best: [`NAMED_MAX`] and one more.
    pub async fn named(&self, name: &str) -> Result<Vec<Row>, Error> {
        if let Ok(id) = name.trim().parse() {
            return Ok(self.one(Endpoint(id)).await?.into_iter().collect());
        }
        let wanted = Wanted::new(name);
        for rank in 1..=3 {
            let wanted = wanted.clone();
            let fits = move |record: &Record, _: &Contacts| wanted.rank(record) == Some(rank);
            let found = self.registry.fleet().find(fits, None, NAMED_MAX + 1).await?;
            if !found.rows.is_empty() {
                return Ok(found.rows);
            }
        }
        Ok(Vec::new())
    }

    /// What is known of an endpoint.
    pub async fn one(&self, endpoint: Endpoint) -> Result<Option<Row>, Error> {
        let fleet = self.registry.fleet();
        let Some(record) = fleet.endpoint(endpoint).await? else { return Ok(None) };
        let contacts = fleet.contacts(endpoint).await?;
        Ok(Some(Row { record, contacts }))
    }

    /// Whether an endpoint was last heard of from outside the site.
    pub fn is_roaming(&self, row: &Row) -> bool {
        is_beyond(&self.site, last_address(&row.record, &row.contacts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::update::UpdateId;
    use crate::store::fleet::{Bios, Contest, Registration};

    fn record(name: &str, id: u8, address: &str) -> Record {
        let at = Timestamp::from_ms(1000);
        Record {
            registration: Registration {
                endpoint: Endpoint(UpdateId::new([id; 16])),
                name: name.into(),
                os: Os { major: 10, build: 26_100, product: 1, ..Os::default() },
                maker: "Maker".into(),
                model: "Model 7".into(),
                bios: Bios::default(),
                architecture: "amd64".into(),
                client_version: "1507.1".into(),
                targets: vec!["Pilot".into()],
                address: address.parse().unwrap(),
                at,
            },
            first: at,
            admitted: Admitted::Accepted,
            contests: vec![],
        }
    }

    #[test]
    fn a_name_is_meant_before_a_beginning_of_an_id() {
        let rank = |text: &str| Wanted::new(text).rank(&record("ABABABAB.site.example", 0xcd, "10.0.0.1"));
        assert_eq!(rank("ababABAB.site.example"), Some(1));
        assert_eq!(rank(" abababab"), Some(2));
        assert_eq!([rank("cdcdcdcd"), rank("cdcdcdcd-cd"), rank("cdcdcdc")], [Some(3), Some(3), None]);
        assert_eq!([rank(""), rank("site"), rank("dededede")], [None; 3]);
        assert_eq!(Wanted::new("").rank(&record("", 1, "10.0.0.1")), None);
    }

    #[test]
    fn words_stand_anywhere_and_all_must() {
        let one = record("pc1.site.example", 1, "10.0.0.1");
        let fits = |text: &str| {
            let sieve = Sieve { words: Sieve::words(text), ..Sieve::default() };
            sieve.fits(&[], &one, &Contacts::default())
        };
        assert!(fits("") && fits("PC1 windows 24h2 26100") && fits("pilot model 10.0.0.1") && fits("01010101"));
        assert!(!fits("pc1 server"));
    }

    #[test]
    fn roaming_is_what_the_site_does_not_name() {
        let site: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        let beyond = |address: &str| is_beyond(&site, address.parse().unwrap());
        assert!(!beyond("10.1.1.1") && !beyond("::ffff:10.1.1.1") && !beyond("2001:db8::7"));
        assert!(beyond("192.168.1.1") && beyond("2001:db9::1"));
        assert!(!is_beyond(&[], "192.168.1.1".parse().unwrap()), "a site that names none has all");
        let one = record("pc1", 1, "192.168.1.1");
        let sieve = Sieve { roaming: Some(true), ..Sieve::default() };
        assert!(sieve.fits(&site, &one, &Contacts::default()) && !sieve.fits(&[], &one, &Contacts::default()));
    }

    #[test]
    fn what_became_of_it_is_sifted() {
        let mut one = record("pc1", 1, "10.0.0.1");
        let fits = |sieve: Sieve, one: &Record| sieve.fits(&[], one, &Contacts::default());
        let at = |ms| Some(Timestamp::from_ms(ms));
        assert!(fits(Sieve { unseen_since: at(1001), ..Sieve::default() }, &one));
        assert!(!fits(Sieve { unseen_since: at(1000), ..Sieve::default() }, &one));
        let (held, contested) =
            (Sieve { held: true, ..Sieve::default() }, Sieve { contested: true, ..Sieve::default() });
        let clones = Sieve { clones: true, ..Sieve::default() };
        assert!(!fits(held.clone(), &one) && !fits(contested.clone(), &one) && !fits(clones.clone(), &one));
        one.admitted = Admitted::Held;
        one.contests.push(Contest {
            name: "pc2".into(),
            maker: String::new(),
            model: String::new(),
            bios: Bios::default(),
            address: "10.0.0.2".parse().unwrap(),
            first: one.first,
            last: one.first,
            times: 1,
            between: None,
            is_clone: false,
        });
        assert!(fits(held, &one) && fits(contested, &one) && !fits(clones.clone(), &one));
        one.contests[0].is_clone = true;
        assert!(fits(clones, &one));
    }
}
