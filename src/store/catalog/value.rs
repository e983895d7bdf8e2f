//! What goes into the catalog and what comes out of it, as values.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::digest::{Blake3, Sha1, Sha256};
use crate::base::time::Timestamp;
use crate::model::filter::Wanted;
use crate::model::policy::{Group, Word};
use crate::model::update::{File, Identity, Kind, Publication, Severity, Update, UpdateId};
use crate::store::catalog::blobs::{Reading, Staged};

/// A text on its way in.
#[derive(Debug)]
pub enum Body {
    /// It lies in memory.
    Text(String),
    /// It was written in pieces with [`super::Catalog::stage`].
    Staged(Staged),
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// One revision as the sync hands it over.
#[derive(Debug)]
pub struct Incoming {
    /// What the document says.
    pub update: Update,
    /// The document as UTF-8.
    pub document: Body,
    /// Whether it came as a cabinet: whoever passes it on may do so in the same form.
    pub cabinet: bool,
    /// The Core fragment.
    pub core: Body,
    /// The Extended fragment.
    pub extended: Body,
    /// The LocalizedProperties fragments, by language as published.
    pub localized: Vec<(String, Body)>,
    /// Where its files lie, by SHA-1.
    pub urls: Vec<(Sha1, String)>,
}

/// A piece of a sync's work, committed in small transactions.
#[derive(Debug, Default)]
pub struct Batch {
    /// The run that it is counted under.
    pub run: Option<u64>,
    /// The filter set whose work list grows by members of bundles that are not held.
    pub set: String,
    /// Revisions that came.
    pub updates: Vec<Incoming>,
    /// Bytes in which they came, in the same order; of those that are not told nothing is counted.
    pub came: Vec<u64>,
    /// Revisions that could not be taken, and why.
    pub refused: Vec<(Identity, String)>,
    /// They count as what came over a connection that proves nothing, whatever the upstream is: whoever handed them on had them so.
    pub plain: bool,
}

/// What came of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Updates that were not held before.
    pub new: u64,
    /// Updates of which another revision, or other words of the same one, are held now.
    pub changed: u64,
    /// Of both, those that can be approved by themselves, are withdrawn, and were not before.
    pub expired: u64,
    /// Updates that can be approved by themselves, are not withdrawn, and that something supersedes now and nothing did before; those
    /// that came so among them, so that it does not matter which of the two came first.
    pub superseded: u64,
    /// Revisions that were held as they are.
    pub unchanged: u64,
    /// Revisions below the current one that no bundle names: not kept.
    pub left_out: u64,
    /// Revisions that were refused, here or by whoever read them.
    pub refused: Vec<(Identity, String)>,
    /// Members of bundles that were put on the work list.
    pub wanted: u64,
    /// Filter sets whose pending anchor became the anchor.
    pub anchored: Vec<String>,
    /// Distinct files of the revisions that were taken.
    pub files: u64,
    /// Bytes in which they came.
    pub bytes: u64,
}

impl Applied {
    /// Counts what came of another batch beside.
    pub fn add(&mut self, other: Self) {
        self.new += other.new;
        self.changed += other.changed;
        self.expired += other.expired;
        self.superseded += other.superseded;
        self.unchanged += other.unchanged;
        self.left_out += other.left_out;
        self.refused.extend(other.refused);
        self.wanted += other.wanted;
        self.anchored.extend(other.anchored);
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

/// What an update weighs with all that it bundles: its files, each content once, texts of licences left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// How many files.
    pub files: u64,
    /// Their bytes. An endpoint fetches part of them: of alternatives one, of others ranges.
    pub bytes: u64,
}

/// What is known of a revision without reading its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and they combine")]
pub struct Summary {
    /// Its local number: never given to another revision.
    pub number: u32,
    /// Which revision of which update.
    pub identity: Identity,
    /// What it is.
    pub kind: Kind,
    /// Offered or withdrawn.
    pub publication: Publication,
    /// How bad what it mends is.
    pub severity: Severity,
    /// When it was made, as published.
    pub created: Option<Timestamp>,
    /// Its title in its first language.
    pub title: String,
    /// Knowledge base articles.
    pub kbs: Vec<String>,
    /// Products, families and classifications that it names.
    pub categories: Vec<UpdateId>,
    /// Whether it can be approved by itself.
    pub deployable: bool,
    /// Distinct files of its own.
    pub files: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Whether it is the one that counts of its update.
    pub current: bool,
    /// The logical clock of its last change.
    pub changed: u64,
    /// It came over a connection that proves nothing.
    pub unauthenticated: bool,
    /// It was refused after it was taken, and must not be offered.
    pub refused: bool,
    /// Its document came as a cabinet.
    pub cabinet: bool,
    /// BLAKE3 of its document.
    pub digest: Blake3,
    /// Length of its document in bytes of UTF-8.
    pub document_len: u64,
    /// Languages of which there is a LocalizedProperties fragment.
    pub languages: Vec<String>,
}

/// A revision with all that its document says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The short of it.
    pub summary: Summary,
    /// The whole of it.
    pub update: Update,
}

/// A text of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The document, verbatim as UTF-8.
    Document,
    /// The Core fragment.
    Core,
    /// The Extended fragment.
    Extended,
    /// The LocalizedProperties fragment of exactly this language.
    Localized(String),
}

/// A text on its way out.
#[derive(Debug)]
pub enum Text {
    /// All of it.
    Whole(Bytes),
    /// To be read in pieces.
    Long(Reading),
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownFile {
    /// The file; what is said of how it patches stands with the updates.
    pub file: File,
    /// Where it may be had.
    pub urls: Vec<String>,
    /// Numbers of the revisions that have it; the first thousand.
    pub users: Vec<u32>,
    /// Only an unauthenticated catalog names it: its digests prove nothing.
    pub unauthenticated: bool,
}

/// A SHA-1 or SHA-256 by which a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileDigest {
    /// The digest by which updates address it.
    Sha1(Sha1),
    /// The digest that proves it.
    Sha256(Sha256),
}

/// One line of the change log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The logical clock: milliseconds, rising, never the same in two transactions.
    pub at: u64,
    /// Which revision.
    pub number: u32,
    /// Whether it is held (new or changed), or went.
    pub held: bool,
}

/// One line of the change log: something that a person said of an update, or took back. Whoever reads it asks for all that was said of
/// the update ([`crate::store::approvals::Approvals::words`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The logical clock, as in [`Change`]. What revisions change and what people decide is never in the same transaction.
    pub at: u64,
    /// Of which update, held or not.
    pub id: UpdateId,
    /// For which endpoints; nobody's group where it was for single ones, or a step of its review.
    pub group: Group,
    /// Whether there is something, or it was taken back.
    pub held: bool,
}

/// A page of the change log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In the order of the clock; a revision stands only under its last change.
    pub changes: Vec<Change>,
    /// Decisions of the same stretch of time, likewise. A page may have these alone.
    pub decisions: Vec<Decided>,
    /// Where the next page begins: clock and number to go on behind; as it was asked where the page is empty.
    pub next: (u64, u32),
    /// Whether there is more behind that place.
    pub more: bool,
    /// What went before this time is forgotten: whoever knows less must compare everything.
    pub floor: u64,
    /// The clock now.
    pub clock: u64,
}

/// How the catalog stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Updates with a revision that counts.
    pub updates: u64,
    /// Revisions held.
    pub revisions: u64,
    /// The logical clock.
    pub clock: u64,
    /// Where what is committed came from.
    pub upstream: Option<Upstream>,
    /// Where the first run is under way from; what is held is still that of `upstream`.
    pub arriving: Option<Upstream>,
    /// Rises with every change of the upstream.
    pub generation: u64,
    /// Updates that are quarantined.
    pub refused: u64,
    /// The filter sets.
    pub sets: Vec<Set>,
}

/// Who a catalog comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// What it is.
    pub kind: UpstreamKind,
    /// Its address.
    pub address: String,
    /// Nothing proves that it is who it says: plain HTTP.
    pub unauthenticated: bool,
}

/// What an upstream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamKind {
    /// Microsoft's own service.
    Microsoft,
    /// A WSUS server.
    Wsus,
    /// A node above.
    Parent,
}

/// What is known of one filter set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Everything up to here is committed.
    pub anchor: Option<String>,
    /// When that was.
    pub anchored: Option<Timestamp>,
    /// What becomes the anchor with the last of its data.
    pub pending: Option<String>,
    /// The list that the pending anchor stands for is all on the work list.
    pub listed: bool,
    /// Revisions on the work list.
    pub wanted: u64,
}

/// An update that was not taken, or is not offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which.
    pub identity: Identity,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// It stays refused although it is sent again.
    pub stays: bool,
}

/// What a view shows an update as; an update is only one of these, the first that fits in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Held, and must not be offered.
    Refused,
    /// Withdrawn.
    Expired,
    /// Something newer is there.
    Superseded,
    /// Offered.
    Current,
}

/// What is searched for; what is not given is not asked.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Words that all stand in the title, as parts of it, in any case.
    pub text: String,
    /// A KB, digits only.
    pub kb: Option<String>,
    /// It is the beginning of one.
    pub kb_begins: bool,
    /// The least severity.
    pub severity: Option<Severity>,
    /// A category of the update: a classification.
    pub classification: Option<UpdateId>,
    /// A category of the update: a product or family.
    pub product: Option<UpdateId>,
    /// Categories of which the update has at least one, such as the products of a family; none given: any.
    pub any_of: Vec<UpdateId>,
    /// Software and drivers that these filters do not find.
    pub beyond: Option<Arc<Wanted>>,
    /// What it is.
    pub kinds: Vec<Kind>,
    /// Made at this time or later.
    pub from: Option<Timestamp>,
    /// Made before this time.
    pub until: Option<Timestamp>,
    /// States to show; none given: all.
    pub states: Vec<State>,
    /// What people decided of it, `None` for nothing; none given: whatever they did.
    pub decisions: Vec<Option<Word>>,
    /// Also what cannot be approved by itself: members of bundles, detectoids, categories.
    pub hidden: bool,
    /// Go on behind the last one of the page before.
    pub after: Option<Cursor>,
    /// Most of one page; at most [`super::PAGE_MAX`].
    pub limit: usize,
}

/// A place in the order of a search: the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// When the update was made, milliseconds; 0 where it does not say.
    pub created: u64,
    /// Its revision number.
    pub number: u32,
}

/// One line of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The update.
    pub summary: Summary,
    /// What it is shown as.
    pub state: State,
}

/// A page of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The newest first.
    pub hits: Vec<Hit>,
    /// How many there are in all, this page and those before it included.
    pub total: u64,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}
