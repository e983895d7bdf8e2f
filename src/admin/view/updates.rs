//! Updates of the catalog.

use serde::{Deserialize, Serialize};

use crate::admin::view::{Time, policy};

/// `GET /api/v1/updates`: a page, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updates {
    /// The rows of this page.
    pub rows: Vec<Update>,
    /// How many fit in all.
    pub total: u64,
    /// Give it as `after` to get the next page; absent at the end.
    pub next: Option<String>,
    /// The catalog that was searched.
    pub catalog: Catalog,
}

/// How the catalog stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// Updates in it, of every kind: hidden ones and categories are among them.
    pub updates: u64,
    /// Where it came from: `microsoft`, `wsus` or `parent`, with its address; absent before the first run.
    pub upstream: Option<String>,
    /// It came from there over a connection that proves nothing.
    pub unauthenticated: bool,
    /// Where the first run is under way from, if the upstream was changed.
    pub arriving: Option<String>,
}

/// An update, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Its id.
    pub id: String,
    /// Its revision.
    pub revision: u32,
    /// `software`, `driver`, `detectoid`, `company`, `family`, `product`, `classification` or `category`.
    pub kind: String,
    /// Its title in its first language.
    pub title: String,
    /// Knowledge base articles, digits only.
    pub kbs: Vec<String>,
    /// `unspecified`, `low`, `moderate`, `important` or `critical`.
    pub severity: String,
    /// What it is classified as, by name; absent where nothing is said.
    pub classification: Option<String>,
    /// Products that it is for, by name.
    pub products: Vec<String>,
    /// When it was made, as published.
    pub created: Option<Time>,
    /// `published`, `expired`, `superseded` or `refused`.
    pub state: String,
    /// What holds for all endpoints: `approved`, `declined`, `declined automatically`; `approved for some` where it is for groups or
    /// endpoints alone; absent where nothing was decided.
    #[serde(default)]
    pub decision: Option<String>,
    /// Whether it can be approved by itself.
    pub deployable: bool,
    /// Files of it and of all that it bundles, each content once; texts of licences left out.
    pub files: u64,
    /// Their bytes. An endpoint fetches part of them: of alternatives one, of others ranges.
    pub bytes: u64,
    /// It came over a connection that proves nothing.
    pub unauthenticated: bool,
}

/// `GET /api/v1/updates/{name}`: one update with all that hangs on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, as the document states it")]
pub struct Whole {
    /// The short of it. Here `unauthenticated` counts what it bundles too.
    #[serde(flatten)]
    pub short: Update,
    /// Whether it is the revision that counts; another one is held because a bundle names it.
    pub current: bool,
    /// Title and description by language, its own language first.
    pub texts: Vec<Words>,
    /// Security bulletins.
    pub bulletins: Vec<String>,
    /// Vulnerabilities.
    pub cves: Vec<String>,
    /// Where to read more.
    pub more_info: Option<String>,
    /// Where to ask for help.
    pub support: Option<String>,
    /// Languages of what it installs; empty where nothing is said.
    pub languages: Vec<String>,
    /// Its categories, each with its path from the company down.
    pub categories: Vec<Category>,
    /// Why it is refused, where it is.
    pub refused: Option<String>,
    /// What a person decided of it.
    #[serde(default)]
    pub decided: Option<policy::Decision>,
    /// What the content policy makes of it; absent where it cannot be approved by itself, or no node runs.
    #[serde(default)]
    pub files_wanted: Option<policy::FilesWanted>,
    /// What makes it superfluous.
    pub superseded_by: First<Reference>,
    /// What it makes superfluous.
    pub supersedes: First<Reference>,
    /// What bundles it.
    pub bundled_by: First<Reference>,
    /// What it bundles, through any number of steps.
    pub bundles: First<Reference>,
    /// Whether it bundles itself; then nothing that was gathered from its parts can be relied upon.
    pub circular: bool,
    /// Whether it bundles more than is gathered (5,000 revisions, 50,000 files): the rest is not counted anywhere here.
    pub cut: bool,
    /// Files of it and of all that it bundles, each content once.
    pub all_files: First<File>,
    /// Their bytes. An endpoint fetches part of them: of alternatives one, of others ranges.
    pub all_bytes: u64,
    /// How many of the files that are listed are held.
    pub files_held: u64,
    /// What most of its parts want: `never`, `can-request` or `always`.
    pub reboot: String,
    /// How much its worst part gets in the way: `minor`, `normal` or `exclusive`.
    pub impact: String,
    /// Whether a part may ask the user something.
    pub asks_user: bool,
    /// Whether a part needs the network.
    pub needs_network: bool,
    /// Whether all of it can be removed again.
    pub removable: bool,
    /// The licence that must be accepted first.
    pub eula: Option<Eula>,
}

/// `GET /api/v1/updates/refused`: a page, in the order of ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedPage {
    /// The rows of this page.
    pub rows: Vec<Refused>,
    /// How many there are in all.
    pub total: u64,
    /// Give it as `after` to get the next page; absent at the end.
    pub next: Option<String>,
}

/// A revision that was not taken, or is held and not offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The update's id.
    pub id: String,
    /// The revision.
    pub revision: u32,
    /// Since when.
    pub at: Time,
    /// Why.
    pub reason: String,
    /// It stays so although the upstream sends it again.
    pub stays: bool,
    /// Whether it is held all the same.
    pub held: bool,
    /// Its title, where it is held.
    pub title: Option<String>,
}

/// The first rows of a list that may be long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct First<T> {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub rows: Vec<T>,
}

/// What it is called in a language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// The language, as published.
    pub language: String,
    /// The title.
    pub title: String,
    /// What it is for.
    pub description: String,
}

/// A category of an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// Its id.
    pub id: String,
    /// `company`, `family`, `product`, `classification` or `category`; `unknown` where the catalog does not have it.
    pub kind: String,
    /// Names from the company down, with ` > ` between them; its id where the catalog does not have it.
    pub path: String,
}

/// Another update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Its id.
    pub id: String,
    /// Its revision; absent where any is meant and none is held.
    pub revision: Option<u32>,
    /// Its title; absent where it is not held.
    pub title: Option<String>,
    /// Whether it is held and withdrawn.
    pub expired: bool,
    /// It is held, and came over a connection that proves nothing.
    #[serde(default)]
    pub unauthenticated: bool,
}

/// A file of an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its length, as published.
    pub size: u64,
    /// The digest by which it is addressed.
    pub sha1: String,
    /// The digest that proves it; absent where none is published.
    pub sha256: Option<String>,
    /// How it patches, as published.
    pub patching: String,
    /// `proven` or `unproven` where its payload is held, else `no`.
    pub held: String,
    /// Where it lies, as the catalog says; on a WSUS it may be had besides.
    #[serde(default)]
    pub urls: Vec<String>,
}

/// A licence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eula {
    /// Its id.
    pub id: String,
    /// Languages of its text, with the region behind it where it is for one alone (`en`, `zh-cn/CHN`).
    pub languages: Vec<String>,
}
