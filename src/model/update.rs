//! An update as the catalog knows it: what its metadata document says, as values (MS-WUSP 3.1.1.1, MS-WSUSSS 3.1.1.1).
//!
//! An update is known by an id that never changes and has revisions, each a document of its own; the highest one counts. Four
//! types share one form: software and drivers, which are installed; categories (company, family, product, classification),
//! which are what filters and views speak of; detectoids, which only tell something about a machine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::digest::{Sha1, Sha256};
use crate::base::time::Timestamp;

/// The id of an update: a GUID. Compared by value, so that the case in which it was written does not matter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UpdateId([u8; 16]);

impl UpdateId {
    /// The GUID whose digits, read from left to right, are these bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its digits from left to right as bytes.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// What is not a GUID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a GUID, which looks like 0fa1201d-4330-4fa8-8ae9-b877473b6441")]
pub struct NotAGuid(pub String);

impl FromStr for UpdateId {
    type Err = NotAGuid;

    /// 32 hex digits of any case with hyphens behind the 8th, 12th, 16th and 20th; braces around them are accepted.
    fn from_str(text: &str) -> Result<Self, NotAGuid> {
        let bad = || NotAGuid(text.chars().take(48).collect());
        let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text).as_bytes();
        if inner.len() != 36 {
            return Err(bad());
        }
        let mut bytes = [0; 16];
        let mut digits = 0;
        for (at, byte) in inner.iter().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                if *byte != b'-' {
                    return Err(bad());
                }
                continue;
            }
            let value = char::from(*byte).to_digit(16).and_then(|value| u8::try_from(value).ok()).ok_or_else(bad)?;
            let slot: &mut u8 = bytes.get_mut(digits / 2).ok_or_else(bad)?;
            *slot = *slot << 4 | value;
            digits += 1;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for UpdateId {
    /// Lower case with hyphens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for UpdateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One revision of an update.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Which update.
    pub id: UpdateId,
    /// Which revision of it; a higher one replaces a lower one.
    pub revision: u32,
}

impl fmt::Display for Identity {
    /// `<id>/<revision>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.id, self.revision)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an update is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Installed on a machine, or a bundle of such.
    #[default]
    Software,
    /// Installed on a machine that has a device for it.
    Driver,
    /// What filters and views speak of.
    Category(CategoryKind),
    /// Tells something about a machine; nothing is installed.
    Detectoid,
}

/// What a category stands for. The tree is company, family, product; classifications stand beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CategoryKind {
    /// A vendor.
    Company,
    /// A family of products.
    Family,
    /// A product.
    Product,
    /// A classification: Security Updates, Definition Updates, ...
    Classification,
    /// One that says nothing of it: roots and folders of the tree.
    Other,
}

/// How bad what an update mends is, as the vendor rates it; the order is that of badness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The vendor said nothing.
    #[default]
    Unspecified,
    /// Low.
    Low,
    /// Moderate.
    Moderate,
    /// Important.
    Important,
    /// Critical.
    Critical,
}

/// What the vendor says of a revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Publication {
    /// Offered.
    #[default]
    Published,
    /// Withdrawn: nobody should install it any more.
    Expired,
}

/// Whether installing (or removing) wants a restart; the order is that of how much it wants one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reboot {
    /// Never.
    #[default]
    Never,
    /// Perhaps.
    CanRequest,
    /// Always.
    Always,
}

/// How much installing gets in the way of other work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Impact {
    /// Hardly: it may be installed at once.
    Minor,
    /// As usual.
    #[default]
    Normal,
    /// Nothing else may be installed with it.
    Exclusive,
}

/// One clause of what must hold before an update is evaluated: one of these updates is installed. All clauses must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clause {
    /// Any of them, each in its highest revision.
    pub any_of: Vec<UpdateId>,
    /// Whether they are the categories of this update.
    pub is_category: bool,
}

/// One clause of what an update consists of: one of these revisions. All clauses belong to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// Any of them.
    pub any_of: Vec<Identity>,
}

/// A file of an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The digest by which it is addressed.
    pub sha1: Sha1,
    /// The digest that proves it, where one is published.
    pub sha256: Option<Sha256>,
    /// Its name; names are not unique.
    pub name: String,
    /// Its length in bytes, as published.
    pub size: u64,
    /// When it was last changed, as published.
    pub modified: Option<Timestamp>,
    /// How it patches what is there (`SelfContained`, `Express`, ...), as published; empty where nothing is said.
    pub patching: String,
    /// Whether it is only of use with a key that is asked for by itself.
    pub encrypted: bool,
}

/// A licence that must be accepted before an update is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eula {
    /// Its id.
    pub id: UpdateId,
    /// Its text in several languages.
    pub files: Vec<EulaFile>,
}

/// The text of a licence in one language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EulaFile {
    /// The language, as published (`en`, `zh-hk`).
    pub language: String,
    /// The region that it is for, as three letters of ISO 3166; empty for the rest of the world.
    pub region: String,
    /// The text.
    pub file: File,
}

/// What the update is called in one language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The language, as published (`en`, `zh-hk`).
    pub language: String,
    /// Its title.
    pub title: String,
    /// What it is for; empty where nothing is said.
    pub description: String,
}

/// What a driver says of itself (MS-WUSP 3.1.1, driver tables), one for each device that it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driver {
    /// The hardware id that it is for.
    pub hardware_id: String,
    /// Version of the driver.
    pub version: String,
    /// Date of the driver, as published.
    pub date: String,
    /// Device class.
    pub class: String,
    /// Who made the device.
    pub manufacturer: String,
    /// Who made the driver.
    pub provider: String,
    /// Which device.
    pub model: String,
    /// Who signed the driver.
    pub company: String,
    /// The number under which it was certified; a higher one was submitted later.
    pub whql_id: Option<u32>,
    /// Providers of older drivers that it may replace; of use for printers only.
    pub compatible_providers: Vec<String>,
    /// How well it fits, for one system each.
    pub scores: Vec<FeatureScore>,
    /// Computers that it is meant for, by choice of the service: GUIDs as published.
    pub distribution_computers: Vec<String>,
    /// Computers that it is meant for, by choice of the driver itself: GUIDs as published.
    pub target_computers: Vec<String>,
}

/// How well a driver fits on one system; a lower score is better.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureScore {
    /// Architecture and version of the system (`AMD64.10.0`), as published.
    pub system: String,
    /// 0 to 255.
    pub score: u8,
}

/// What the metadata document of one revision says. Derived from the document and from nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is a statement of the document, and none excludes another")]
pub struct Update {
    /// Which revision of which update.
    pub identity: Identity,
    /// What it is.
    pub kind: Kind,
    /// Offered or withdrawn.
    pub publication: Publication,
    /// When it was made, as published.
    pub created: Option<Timestamp>,
    /// Title and description, the default language first; none where the document has none.
    pub texts: Vec<Text>,
    /// Knowledge base articles, digits only.
    pub kbs: Vec<String>,
    /// How bad what it mends is.
    pub severity: Severity,
    /// Security bulletins (`MS17-010`).
    pub bulletins: Vec<String>,
    /// Vulnerabilities (`CVE-2026-0001`).
    pub cves: Vec<String>,
    /// Where to read more; the first one of the document.
    pub more_info: Option<String>,
    /// Where to ask for help; the first one of the document.
    pub support: Option<String>,
    /// Languages of what it installs; empty where nothing is said.
    pub languages: Vec<String>,
    /// Whether it can be approved by itself; what cannot is there as part of others.
    pub deployable: bool,
    /// Whether it was published by this site's own administrators and not by the vendor.
    pub locally_published: bool,
    /// The version of the product that it brings, where it says so.
    pub release_version: Option<String>,
    /// What its handler is: the local name of its type (`CommandLineInstallation`, `Cbs`, `OSInstaller`); empty where there is none.
    pub handler: String,
    /// Whether installing it wants a restart; of this document alone, not of what it bundles.
    pub reboot: Reboot,
    /// How much installing it gets in the way.
    pub impact: Impact,
    /// Whether installing it needs the network.
    pub needs_network: bool,
    /// Whether it is a new version of the operating system.
    pub os_upgrade: bool,
    /// The least that an endpoint fetches of its files, in bytes, as published; 0 where nothing is said and for bundles.
    pub download_min: u64,
    /// The most that an endpoint fetches of its files, in bytes, as published; 0 where nothing is said and for bundles.
    pub download_max: u64,
    /// The lowest protocol version of a downstream server that may have it, as published; empty where nothing is said.
    pub compatible_protocol: String,
    /// Whether installing it may ask the user something.
    pub asks_user: bool,
    /// Whether it can be removed again.
    pub removable: bool,
    /// Licence, if there is one.
    pub eula: Option<Eula>,
    /// What its parts of the document are secured by (`FileDecryption`, `FileURL`), as published.
    pub secured: Vec<String>,
    /// What must hold before it is evaluated: all of these.
    pub prerequisites: Vec<Clause>,
    /// What it consists of: all of these.
    pub bundles: Vec<Members>,
    /// What it makes superfluous, in any revision.
    pub supersedes: Vec<UpdateId>,
    /// Its own files.
    pub files: Vec<File>,
    /// For which devices, where it is a driver.
    pub drivers: Vec<Driver>,
}

impl Update {
    /// A revision of which nothing else is known.
    pub fn new(identity: Identity, kind: Kind) -> Self {
        Self {
            identity,
            kind,
            publication: Publication::default(),
            created: None,
            texts: Vec::new(),
            kbs: Vec::new(),
            severity: Severity::default(),
            bulletins: Vec::new(),
            cves: Vec::new(),
            more_info: None,
            support: None,
            languages: Vec::new(),
            deployable: false,
            locally_published: false,
            release_version: None,
            handler: String::new(),
            reboot: Reboot::default(),
            impact: Impact::default(),
            needs_network: false,
            os_upgrade: false,
            download_min: 0,
            download_max: 0,
            compatible_protocol: String::new(),
            asks_user: false,
            removable: false,
            eula: None,
            secured: Vec::new(),
            prerequisites: Vec::new(),
            bundles: Vec::new(),
            supersedes: Vec::new(),
            files: Vec::new(),
            drivers: Vec::new(),
        }
    }

    /// Its title in the language that the document takes for its own.
    pub fn title(&self) -> &str {
        self.texts.first().map_or("", |text| text.title.as_str())
    }

    /// The categories that it names: products, families and classifications.
    pub fn categories(&self) -> impl Iterator<Item = UpdateId> + '_ {
        self.prerequisites.iter().filter(|clause| clause.is_category).flat_map(|clause| clause.any_of.iter().copied())
    }

    /// All revisions that it bundles.
    pub fn members(&self) -> impl Iterator<Item = Identity> + '_ {
        self.bundles.iter().flat_map(|members| members.any_of.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_read_in_any_case_and_written_in_one() {
        for text in ["0FA1201D-4330-4fa8-8ae9-b877473b6441", "{0fa1201d-4330-4fa8-8ae9-b877473b6441}"] {
            assert_eq!(text.parse::<UpdateId>().unwrap().to_string(), "0fa1201d-4330-4fa8-8ae9-b877473b6441");
        }
        for text in [
            "",
            "{}",
            "0fa1201d43304fa88ae9b877473b6441",
            "0fa1201d-4330-4fa8-8ae9-b877473b644",
            "0fa1201d-4330-4fa8-8ae9-b877473b644g",
            "0fa1201d-4330-4fa8-8ae9-b877473b64411",
            "0fa1201d-4330-4fa8-8ae9+b877473b6441",
            "-fa1201d-4330-4fa8-8ae9-b877473b644\u{e9}",
        ] {
            assert!(text.parse::<UpdateId>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_worse_is_the_greater() {
        assert!(Severity::Critical > Severity::Important && Severity::Low > Severity::Unspecified);
        assert!(Reboot::Always > Reboot::CanRequest && Reboot::CanRequest > Reboot::Never);
    }
}
