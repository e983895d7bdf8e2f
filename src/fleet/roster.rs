//! Endpoints as people look at them: found by a name or a beginning of an id, sifted by what became of them, and where they are.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::base::time::Timestamp;
use crate::fleet::compliance::policies::Among;
use crate::fleet::error::Error;
use crate::fleet::registry::Registry;
use crate::model::deployment::Endpoint;
use crate::model::windows::{Role, Windows};
use crate::store::fleet::{Admitted, Contacts, Found, Os, PAGE_MAX, Record, Row};

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
    /// Only these, such as those of a group.
    pub among: Option<Among>,
}

impl Sieve {
    /// The words of a text.
    pub fn words(text: &str) -> Vec<String> {
        text.split_whitespace().take(WORDS_MAX).map(str::to_lowercase).collect()
    }

    fn fits(&self, site: &[IpNet], record: &Record, contacts: &Contacts) -> bool {
        let is_roaming = || is_beyond(site, last_address(record, contacts));
        self.among.as_ref().is_none_or(|among| among.contains(&record.registration.endpoint))
            && (!self.held || record.admitted == Admitted::Held)
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

/// What people wrote to mean endpoints, and which each of them can mean.
///
/// An id means the endpoint that has it. Names come from the machines themselves, and anybody can take any: what can be the name of one
/// (with its domain or without) and the name or the beginning of the id of another means both, and it is for the person to say which.
#[derive(Debug, Default)]
struct Wanted {
    /// Names in lower case -> which of the texts.
    names: HashMap<String, Vec<usize>>,
    /// The digits of beginnings of ids -> which of the texts.
    digits: HashMap<String, Vec<usize>>,
    /// How many digits these have, each once.
    lengths: BTreeSet<usize>,
}

impl Wanted {
    fn add(&mut self, text: &str, at: usize) {
        let name = text.trim().to_lowercase();
        let digits: String = name.chars().filter(|letter| *letter != '-').collect();
        if (BEGINNING_MIN..=32).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            self.lengths.insert(digits.len());
            self.digits.entry(digits).or_default().push(at);
        }
        if !name.is_empty() {
            self.names.entry(name).or_default().push(at);
        }
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The texts that can mean an endpoint, each once.
    fn meaning(&self, record: &Record) -> BTreeSet<usize> {
        let name = record.registration.name.to_lowercase();
        let host = name.split_once('.').map(|(host, _)| host);
        let by_name = self.names.get(&name).into_iter().chain(host.and_then(|host| self.names.get(host)));
        let mut found: BTreeSet<usize> = by_name.flatten().copied().collect();
        if !self.lengths.is_empty() {
            let id: String =
                record.registration.endpoint.0.to_string().chars().filter(|letter| *letter != '-').collect();
            let beginnings = self.lengths.iter().filter_map(|length| self.digits.get(id.get(..*length)?));
            found.extend(beginnings.flatten());
        }
        found
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

    /// For each of these texts the endpoints that it can mean, in the order of their ids: [`NAMED_MAX`] and one more. Whoever asks by names
    /// for all of them at once has the endpoints gone through once.
    pub async fn named(&self, texts: &[String]) -> Result<Vec<Vec<Record>>, Error> {
        let fleet = self.registry.fleet();
        let (mut found, mut wanted) = (vec![Vec::new(); texts.len()], Wanted::default());
        for (at, (text, found)) in texts.iter().zip(&mut found).enumerate() {
            match text.trim().parse() {
                Ok(id) => found.extend(fleet.endpoint(Endpoint(id)).await?),
                Err(_) => wanted.add(text, at),
            }
        }
        let mut after = None;
        while !wanted.is_empty() {
            let page = fleet.endpoints(after, PAGE_MAX).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.registration.endpoint);
            for record in page {
                for at in wanted.meaning(&record) {
                    if let Some(found) = found.get_mut(at).filter(|found| found.len() <= NAMED_MAX) {
                        found.push(record.clone());
                    }
                }
            }
        }
        Ok(found)
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
    fn a_text_can_mean_all_that_it_is_a_name_or_a_beginning_of() {
        let means = |text: &str, name: &str, id: u8| {
            let mut wanted = Wanted::default();
            wanted.add("other.example", 0);
            wanted.add(text, 1);
            wanted.meaning(&record(name, id, "10.0.0.1")).contains(&1)
        };
        let full = "ABABABAB.site.example";
        assert!(means("ababABAB.site.example", full, 0xcd) && means(" abababab", full, 0xcd));
        assert!(means("cdcdcdcd", full, 0xcd) && means("cdcdcdcd-cd", full, 0xcd) && !means("cdcdcdc", full, 0xcd));
        assert!(!means("", full, 1) && !means("site", full, 1) && !means("dededede", full, 1) && !means("", "", 1));
        // Who takes the beginning of another's id for a name is not meant alone.
        assert!(means("abababab", full, 0xcd) && means("abababab", "pc1", 0xab));
        assert!(means("pc1", "pc1", 1) && means("pc1", "PC1.site.example", 2));
        assert!(!means("pc1.site.example", "pc1", 1));
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
