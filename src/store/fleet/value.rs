//! What goes into the tables of endpoints and comes out of them.

use std::net::IpAddr;

use crate::base::secret::Key;
use crate::base::time::Timestamp;
use crate::model::deployment::Endpoint;
use crate::model::update::UpdateId;

/// A key for cookies.
#[derive(Clone, Debug)]
pub struct CookieKey {
    /// Its number: stands in the cookie in the clear, and is never used again.
    pub number: u32,
    /// The key.
    pub key: Key,
    /// When it was made.
    pub made: Timestamp,
}

/// Who this server is to endpoints.
#[derive(Clone, Debug)]
pub struct Server {
    /// Made once.
    pub id: UpdateId,
    /// Rises with every restore of the index.
    pub epoch: u64,
    /// The key that makes cookies.
    pub signs: CookieKey,
    /// Former ones that still open them, the newest first.
    pub opens: Vec<CookieKey>,
}

impl Server {
    /// The key of that number, as long as it opens.
    pub fn key(&self, number: u32) -> Option<&Key> {
        std::iter::once(&self.signs).chain(&self.opens).find(|key| key.number == number).map(|key| &key.key)
    }
}

/// The firmware, as the machine tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bios {
    /// Its name.
    pub name: String,
    /// Its version; changes when it is updated.
    pub version: String,
    /// The day it is of, as it was written; changes likewise.
    pub date: String,
}

/// The operating system, by numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Os {
    /// Major version.
    pub major: u32,
    /// Minor version.
    pub minor: u32,
    /// Build.
    pub build: u32,
    /// Major number of the service pack.
    pub pack_major: u32,
    /// Minor number of the service pack.
    pub pack_minor: u32,
    /// What it is for (`wProductType`): 1 a client, 2 a domain controller, 3 another server; zero where it does not say.
    pub product: u32,
}

/// What a machine says of itself (MS-WUSP 2.2.2.2.3), and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The id that its agent gave itself.
    pub endpoint: Endpoint,
    /// Its full DNS name.
    pub name: String,
    /// The operating system.
    pub os: Os,
    /// Who made it.
    pub maker: String,
    /// The model.
    pub model: String,
    /// The firmware.
    pub bios: Bios,
    /// The processor's architecture, in the word of the protocol.
    pub architecture: String,
    /// The agent's version.
    pub client_version: String,
    /// The groups that it names for itself.
    pub targets: Vec<String>,
    /// From where it came.
    pub address: IpAddr,
    /// When.
    pub at: Timestamp,
}

/// Whether an endpoint is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It is.
    Accepted,
    /// Not until somebody says so.
    Held,
}

/// The id of an endpoint turned up with another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contest {
    /// What that one says of itself: name, maker, model and firmware.
    pub name: String,
    /// Who made it.
    pub maker: String,
    /// The model.
    pub model: String,
    /// The firmware.
    pub bios: Bios,
    /// From where it came last.
    pub address: IpAddr,
    /// When it turned up first.
    pub first: Timestamp,
    /// When it was last noted.
    pub last: Timestamp,
    /// How often it was noted.
    pub times: u32,
    /// When the machine to which the id is bound came after it.
    pub between: Option<Timestamp>,
    /// Both came in turns: two machines live under one id, which is no renaming.
    pub is_clone: bool,
}

/// What is known of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it said of itself last.
    pub registration: Registration,
    /// When it was first seen.
    pub first: Timestamp,
    /// Whether it is served.
    pub admitted: Admitted,
    /// Other machines under its id.
    pub contests: Vec<Contest>,
}

/// An endpoint with when it was last heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What is known of it.
    pub record: Record,
    /// When it was last heard of.
    pub contacts: Contacts,
}

/// Endpoints that were looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// A page of them, in the order of their names, then of their ids.
    pub rows: Vec<Row>,
    /// How many there are in all that fit.
    pub total: u64,
    /// How many endpoints there are.
    pub known: u64,
    /// Where the next page begins behind; `None` at the end.
    pub next: Option<(String, Endpoint)>,
}

/// What a judge says of what turned up.
#[derive(Debug)]
pub struct Ruling<T> {
    /// What is known from now on, where that is something else than before.
    pub put: Option<Record>,
    /// What goes into the history.
    pub events: Vec<Event>,
    /// What is answered.
    pub answer: T,
}

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// First seen.
    First,
    /// It came from another address.
    Address,
    /// It says something else of itself.
    Changed,
    /// Another machine turned up under its id.
    Contested,
    /// Somebody let it in.
    Admitted,
    /// Its id belongs to another machine from now on, by somebody's word.
    Bound,
}

/// Something that happened to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// More of it, for people.
    pub text: String,
}

/// Why an endpoint is in touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Contact {
    /// It asked for configuration or a cookie.
    Handshake,
    /// It said what it is.
    Registration,
    /// It scanned.
    Scan,
    /// It asked for files.
    Content,
    /// It reported.
    Report,
}

/// When an endpoint was last heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contacts {
    pub(super) last: [u64; 5],
    /// From where, last.
    pub address: Option<IpAddr>,
}

impl Contacts {
    /// The last of one kind.
    pub fn last(&self, contact: Contact) -> Option<Timestamp> {
        self.last.get(contact.place()).copied().filter(|at| *at > 0).map(Timestamp::from_ms)
    }

    /// The last of any.
    pub fn latest(&self) -> Option<Timestamp> {
        self.last.iter().copied().max().filter(|at| *at > 0).map(Timestamp::from_ms)
    }
}

impl Contact {
    /// Where it stands in a row.
    pub(super) const fn place(self) -> usize {
        match self {
            Self::Handshake => 0,
            Self::Registration => 1,
            Self::Scan => 2,
            Self::Content => 3,
            Self::Report => 4,
        }
    }
}
