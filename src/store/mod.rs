//! The cellar: keeps every payload once, under its BLAKE3, with all the names that point to it, and drafts of those that
//! are still being filled. The only room that opens the index or maps a file.
//!
//! What it promises:
//! - A payload is published whole or not at all, was hashed before, and is never changed; what is served of it is the
//!   file itself, mapped.
//! - Nothing that was acknowledged is lost by a crash at any moment; what was cut off is finished or undone on open, and
//!   opening looks at nothing but that (see `recover`).
//! - Whatever fails, held payloads are served: a full disk, a read-only one, an index that broke under us.
//! - Nothing here blocks a reactor thread: every call that may runs on a pool of the store's own, and a step once begun
//!   goes on to its end even where the caller goes away.
//!
//! How a payload goes through it, each step in the file named:
//! 1. `find` asks the open payloads, then the index (`cache`, `reader`). What is not in memory of a payload (`seen`) is read by
//!    `cold`.
//! 2. What is missing becomes a draft with a row (`drafts`, `filling`, `quota`, `book`) and a file (`draft`), written, hashed and
//!    checkpointed as the bytes come in.
//!    A file of the administrator's is hashed as it is copied instead (`import`, `pour`).
//! 3. A complete draft is held against everything published for it (`notes`, `judge`, and `sha1` for what a SHA-1 is worth).
//! 4. It is published: intent, sync, proof, rename, commit (`publish`); the rows that go together are kept so by
//!    `entries`, by the one thread that writes (`writer`).
//! 5. What is held (`keeping`) can be pinned (`pins`), verified (`verify`), mended by a new draft over the old file (and `withheld` until then), given up when
//!    room is needed (`space`), deleted or put into quarantine (`remove`; looked at and thrown out by `quarantine`).
//!    What the catalog has come to say of it is found out by going through it (`review`).
//! 6. Which updates there are, and which files they are made of, is the business of `catalog`; which endpoints, that of `fleet`; what is
//!    approved for which of them, and their groups, that of `approvals`; which rules approve by themselves, that of
//!    `rules`. What nodes of a chain hand on to each other is kept by `feed`, what those
//!    below tell by `below`.
//! 7. The index is copied while in use (`backup`), put back (`restore`), or made anew from the proofs (`rebuild`).
//!
//! Every byte on the disk is described in `docs/store-format.md`.

pub mod accounts;
pub mod approvals;
mod arrived;
mod backup;
pub mod below;
mod blob;
mod book;
mod cache;
pub mod catalog;
mod cold;
mod config;
mod core;
mod counters;
mod documents;
mod downstream;
mod draft;
mod drafts;
mod ended;
mod entries;
mod error;
mod evidence;
pub mod feed;
mod filling;
pub mod fleet;
mod hash;
#[cfg(test)]
mod hooked;
mod identity;
mod import;
mod index;
mod judge;
mod keeping;
mod keys;
mod layout;
mod leaves;
mod ledger;
mod lent;
mod lock;
mod medium;
mod notes;
mod open;
mod peek;
mod pins;
mod pool;
mod pour;
mod promise;
mod proof;
mod proving;
mod publish;
mod quarantine;
mod quota;
mod reader;
mod rebuild;
mod recover;
mod remove;
mod restore;
mod review;
pub mod rules;
mod seen;
mod settle;
mod sha1;
mod shelf;
mod shelves;
mod space;
mod survey;
mod tables;
mod verify;
mod withheld;
mod writer;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::base::digest::{Blake3, Digest};
use crate::base::disk::Disk;
use crate::base::span::SpanSet;
use crate::base::time::{Clock, Timestamp};
use crate::model::name::Name;
use crate::model::payload::{Alias, Freshness, Location, Published, Validators};
use crate::store::core::Core;
use crate::store::tables::{AliasRow, name_key};
use crate::store::writer::Room;

pub use crate::store::arrived::Arrivals;
pub use crate::store::cache::{Found, Held};
pub use crate::store::cold::Read;
pub use crate::store::config::Config;
pub use crate::store::counters::Counters;
pub use crate::store::drafts::{Draft, DraftSpec, Proved};
pub use crate::store::error::{Error, Fault};
pub use crate::store::index::Health;
pub use crate::store::leaves::Leaves;
pub use crate::store::ledger::{Ledger, Tally};
pub use crate::store::medium::{Access, Medium};
pub use crate::store::notes::Note;
pub use crate::store::open::Opened;
pub use crate::store::pins::Pin;
pub use crate::store::quarantine::Quarantined;
pub use crate::store::reader::Listed;
pub use crate::store::rebuild::{index_opens, rebuild};
pub use crate::store::restore::{Restored, restore};
pub use crate::store::review::Reviewed;
pub use crate::store::shelves::{Dropped, Rebuilt};
pub use crate::store::space::Space;
pub use crate::store::survey::{Survey, survey};

/// A cheap handle; clones share the store. [`Store::close`] ends it; a store that is merely dropped is one that crashed,
/// and loses the recency and the account of the last half minute.
#[derive(Clone, Debug)]
pub struct Store {
    core: Arc<Core>,
}

impl Store {
    /// Opens or makes the data directory, takes its lock, mends what a crash left. Blocks. On a file system that cannot
    /// be written to the store opens to be read alone, and [`Store::health`] says so.
    pub fn open(config: Config, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<(Self, Opened), Error> {
        let medium = medium::file(layout::Layout::new(&config.path).index());
        Self::open_with(config, disk, clock, &medium)
    }

    /// The same for a node that is to serve: where the index is missing or damaged, what is held is served all the same,
    /// by an index in memory made from the proofs. Nothing on the disk is touched then, nothing new is kept, and
    /// [`Store::health`] names the file and what to do. The memory is that of the index: a few hundred bytes a name.
    pub fn open_to_serve(config: Config, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<(Self, Opened), Error> {
        let medium = medium::file(layout::Layout::new(&config.path).index());
        let (core, opened) = open::open(config, disk, clock, &medium, open::Lost::StandIn)?;
        Ok((Self { core }, opened))
    }

    /// As [`Store::open`], with another storage under the index.
    pub fn open_with(
        config: Config,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        medium: &Medium,
    ) -> Result<(Self, Opened), Error> {
        let (core, opened) = open::open(config, disk, clock, medium, open::Lost::Refuse)?;
        Ok((Self { core }, opened))
    }

    /// Lets work that was begun end, flushes recency and account, closes the index. Everything after it is refused.
    pub async fn close(&self) -> Result<(), Error> {
        let core = Arc::clone(&self.core);
        let closed = tokio::task::spawn_blocking(move || {
            core.verifying.close();
            core.bulk.close();
            core.passing.close();
            core.syncing.close();
            core.long.close();
            core.steps.close();
            core.evictor.close();
            core.io.close();
            core.reads.close();
            core.writer.close();
            let closed = core.index.close();
            drop(core.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
            closed
        });
        closed.await.map_err(|error| Error::Io(std::io::Error::other(error)))?
    }

    /// Whether new things can be kept. A disk without room for a commit is told as of the last half minute.
    pub fn health(&self) -> Health {
        match (self.core.index.health(), self.core.writer.lack()) {
            (Health::Ready, Some(why)) => Health::ReadOnly { why },
            (health, _) => health,
        }
    }

    /// Why nobody knows what only the index says: it is lost or damaged, and what is held is served by the proofs alone.
    pub fn index_lost(&self) -> Option<String> {
        match self.core.index.health() {
            Health::ReadOnly { why } if self.core.index.stands_in() => Some(why),
            _ => None,
        }
    }

    /// The open-payload cache alone: never blocks, never asks the index.
    pub fn hot(&self, name: &Name) -> Option<Found> {
        self.core.cache.hot(name)
    }

    /// Looks up, opens, maps, and counts the use. The first to ask for a SHA-1 that nobody has looked at yet waits until the
    /// payload was read with collision detection, which takes some 2 s a GB; dropped, the reading goes on.
    pub async fn find(&self, name: &Name) -> Result<Option<Found>, Error> {
        if let Some(found) = self.hot(name) {
            return Ok(Some(found));
        }
        self.found(name, true).await
    }

    /// The same for work that no client waits for: it counts as no use.
    pub async fn find_for_work(&self, name: &Name) -> Result<Option<Found>, Error> {
        self.found(name, false).await
    }

    async fn found(&self, name: &Name, is_use: bool) -> Result<Option<Found>, Error> {
        let found = self.look_up(name.clone(), is_use).await?;
        let (None, Name::Digest(Digest::Sha1(sha1))) = (&found, name) else { return Ok(found) };
        let (core, sha1) = (Arc::clone(&self.core), *sha1);
        let unchecked = self.core.reads.run(move || core.index.read(|tx| sha1::unchecked(tx, &sha1))).await??;
        if unchecked.is_empty() || self.core.writable().is_err() {
            return Ok(None);
        }
        self.core.look_at(unchecked).await?;
        self.look_up(name.clone(), is_use).await
    }

    async fn look_up(&self, name: Name, is_use: bool) -> Result<Option<Found>, Error> {
        let core = Arc::clone(&self.core);
        let found = move || {
            let began = Instant::now();
            let found = core.find(&name, is_use);
            core.counters.lookup.observe(began.elapsed().as_secs_f64());
            found
        };
        self.core.reads.run(found).await?
    }

    /// Lets another name point to a held payload; `Gone` where it is not held, `Full` where it has too many names.
    pub async fn alias(&self, blake3: Blake3, name: Name, alias: Alias) -> Result<(), Error> {
        let (key, cache) = (name_key(&name), Arc::clone(&self.core.cache));
        let change = move |tx: &redb::WriteTransaction| {
            let id = blake3.as_bytes();
            entries::payload(tx, id)?.ok_or(Error::Gone)?;
            if !entries::may_name(tx, id, &key)? {
                let what =
                    format!("the payload has {} names already; forget some, or ask by its digest", entries::NAMES_MAX);
                return Err(Error::Full { what });
            }
            entries::put_alias(tx, &key, &AliasRow::of(id, &alias))
        };
        self.core.writer.change_and_tell(Room::Adds, change, move |()| cache.drop_name(&name)).await
    }

    /// New freshness after a revalidation; `Gone` where the name points to nothing.
    pub async fn refresh(
        &self,
        name: &Name,
        freshness: Option<Freshness>,
        validators: Validators,
    ) -> Result<(), Error> {
        let (key, name, cache) = (name_key(name), name.clone(), Arc::clone(&self.core.cache));
        let change = move |tx: &redb::WriteTransaction| {
            let old = entries::alias(tx, &key)?.ok_or(Error::Gone)?;
            let alias = Alias { validators, freshness, ..old.alias() };
            entries::put_alias(tx, &key, &AliasRow::of(&old.blake3, &alias))
        };
        self.core.writer.change_and_tell(Room::Adds, change, move |()| cache.drop_name(&name)).await
    }

    /// Takes a name away (the payload goes when no origin or digest wants it: by eviction).
    pub async fn forget(&self, name: &Name) -> Result<(), Error> {
        let (key, name, cache) = (name_key(name), name.clone(), Arc::clone(&self.core.cache));
        let change = move |tx: &redb::WriteTransaction| entries::take_alias(tx, &key).map(drop);
        self.core.writer.change_and_tell(Room::Frees, change, move |()| cache.drop_name(&name)).await
    }

    /// What was said of a name before it was held.
    pub async fn note(&self, name: &Name) -> Result<Note, Error> {
        let (core, name) = (Arc::clone(&self.core), name.clone());
        self.core.reads.run(move || core.index.read(|tx| notes::note(tx, &name))).await?
    }

    /// Registers what must match under `name` (and under each of its digests) and where it may be asked for.
    /// A held unproven payload that matches is promoted, one that does not is quarantined (both unless unauthenticated). Where
    /// all that is published is a SHA-1, one that matches is read with collision detection first.
    pub async fn expect(&self, name: &Name, expected: Published, locations: Vec<Location>) -> Result<(), Error> {
        let (core, theirs) = (Arc::clone(&self.core), name.clone());
        let unchecked = self.core.steps.run(move || core.expect(&theirs, &expected, &locations)).await??;
        if unchecked.is_empty() {
            return Ok(());
        }
        self.core.look_at(unchecked).await?;
        let (core, name) = (Arc::clone(&self.core), name.clone());
        self.core.steps.run(move || core.hold(&name, &expected)).await?
    }

    /// Takes back what the operator said of `name` ([`Store::expect`] with the operator's authority), and the name itself
    /// from the payload that it points to, so that whoever asks next is answered by an origin. The payload stays, under
    /// its digests and other names. Returns what was said; `None`, and nothing changes, where nothing was.
    pub async fn unbind(&self, name: &Name) -> Result<Option<Published>, Error> {
        let (core, name) = (Arc::clone(&self.core), name.clone());
        self.core.steps.run(move || core.unbind(&name)).await?
    }

    /// The draft under `name`, opened, if there is one. `Full` where there is no room for what is missing of it.
    pub async fn draft(&self, name: &Name) -> Result<Option<Draft>, Error> {
        // Most names have none, and the book knows without a thread.
        if self.core.book.find(name).is_none() {
            return Ok(None);
        }
        self.core.open_draft(name.clone()).await
    }

    /// Begins a draft; one under the same name is thrown away. `Full` where it would not fit, also beside what is promised to
    /// the drafts that are being filled: then the object is better passed on than kept. `Unavailable` where nothing can be
    /// kept.
    pub async fn start_draft(&self, spec: DraftSpec) -> Result<Draft, Error> {
        self.core.begin_draft(spec, None).await
    }

    /// The same for a client that asked: drafts that nobody vouches for are counted by the network that they were begun
    /// for (/24, /64), and one network's never push out another's.
    pub async fn start_draft_for(&self, client: std::net::IpAddr, spec: DraftSpec) -> Result<Draft, Error> {
        self.core.begin_draft(spec, Some(client)).await
    }

    /// A draft made of the good groups of a held payload; publishing it replaces the payload's file.
    pub async fn repair_draft(&self, blake3: Blake3, bad: SpanSet, locations: Vec<Location>) -> Result<Draft, Error> {
        self.core.begin_repair(blake3, bad, locations).await
    }

    /// All drafts and how many of their bytes are in.
    pub async fn drafts(&self) -> Result<Vec<(DraftSpec, u64)>, Error> {
        let core = Arc::clone(&self.core);
        self.core.reads.run(move || core.drafts()).await?
    }

    /// Payloads in the order of their BLAKE3, those after `after`; at most 1,000 at once.
    pub async fn list(&self, after: Option<Blake3>, limit: usize) -> Result<Vec<Listed>, Error> {
        let core = Arc::clone(&self.core);
        self.core.reads.run(move || core.list(after, limit)).await?
    }

    /// The payload under `name` with all that is known of it, past its end or not; not a use.
    pub async fn show(&self, name: &Name) -> Result<Option<Listed>, Error> {
        let (core, name) = (Arc::clone(&self.core), name.clone());
        self.core.reads.run(move || core.show(&name)).await?
    }

    /// A small document of another room.
    pub async fn document(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let (core, key) = (Arc::clone(&self.core), key.to_owned());
        self.core.reads.run(move || core.index.read(|tx| documents::get(tx, &key))).await?
    }

    /// Sets a document, or takes it away; durable when it returns.
    pub async fn set_document(&self, key: &str, value: Option<Vec<u8>>) -> Result<(), Error> {
        documents::check(key, value.as_deref())?;
        let key = key.to_owned();
        let room = if value.is_some() { Room::Adds } else { Room::Frees };
        self.core.writer.change(room, move |tx| documents::put(tx, &key, value.as_deref())).await
    }

    /// The same for several, all or none.
    pub async fn set_documents(&self, documents: Vec<(String, Option<Vec<u8>>)>) -> Result<(), Error> {
        documents.iter().try_for_each(|(key, value)| documents::check(key, value.as_deref()))?;
        let room = if documents.iter().any(|(_, value)| value.is_some()) { Room::Adds } else { Room::Frees };
        let put = move |tx: &redb::WriteTransaction| {
            documents.iter().try_for_each(|(key, value)| documents::put(tx, key, value.as_deref()))
        };
        self.core.writer.change(room, put).await
    }

    /// Documents whose keys begin with `prefix`, in order.
    pub async fn documents(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let (core, prefix) = (Arc::clone(&self.core), prefix.to_owned());
        self.core.reads.run(move || core.index.read(|tx| documents::starting_with(tx, &prefix))).await?
    }

    /// Hashes what passes through without being kept, on threads that nothing else can hold up.
    pub async fn hash_passing<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        self.core.passing.run(job).await
    }

    /// What it counts.
    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// The catalog of updates.
    pub fn catalog(&self) -> catalog::Catalog {
        catalog::Catalog::new(Arc::clone(&self.core))
    }

    /// What is approved for groups and endpoints, and the groups.
    pub fn approvals(&self) -> approvals::Approvals {
        approvals::Approvals::new(Arc::clone(&self.core))
    }

    /// Who may come in on the control plane, and the audit log.
    pub fn accounts(&self) -> accounts::Accounts {
        accounts::Accounts::new(Arc::clone(&self.core))
    }

    /// The rules that approve by themselves.
    pub fn rules(&self) -> rules::Rules {
        rules::Rules::new(Arc::clone(&self.core))
    }

    /// What is kept of endpoints.
    pub fn fleet(&self) -> fleet::Fleet {
        fleet::Fleet::new(Arc::clone(&self.core))
    }

    /// What nodes below tell.
    pub fn below(&self) -> below::Below {
        below::Below::new(Arc::clone(&self.core))
    }

    /// The feed of the chain of nodes that this one is in.
    pub fn feed(&self) -> feed::Feed {
        feed::Feed::new(Arc::clone(&self.core))
    }

    /// Endpoints were sent so many bytes of this, held or not: files of later updates that are like it may come ahead of time.
    pub fn asked(&self, name: &Name, bytes: u64) {
        self.core.catalog.asked(name, bytes);
    }

    /// So many bytes of what `mark` means left for an address, asked for at a time. Waits for nothing, and costs no commit.
    pub fn served(&self, address: IpAddr, mark: fleet::Mark, bytes: u64, at: Timestamp) {
        self.core.served.note(address, mark, bytes, at);
    }

    /// A number that is another one after a payload came or went, in this process. Waits for nothing.
    pub fn held_revision(&self) -> u64 {
        self.core.sums.now().revision
    }

    /// The account of requests.
    pub fn ledger(&self) -> &Ledger {
        &self.core.ledger
    }

    /// Whether `path`, wherever links lead from it, lies in the data directory: nothing there can be imported. Blocks.
    pub fn is_own(&self, path: &Path) -> bool {
        self.core.is_own(path)
    }

    /// Takes a file of the administrator's into the store: a reflink or copy, or the file itself with `take` (same file
    /// system and owner; else copied and unlinked after publishing, and left where it is if it may not be unlinked or
    /// somebody has it open for writing). `expected` given and not matched: `Mismatch`,
    /// nothing is kept, and a file that was taken lies where it was. The same where it is dropped before it ended, unless
    /// that comes too late.
    pub async fn import(
        &self,
        path: PathBuf,
        take: bool,
        expected: Option<Published>,
        names: Vec<(Name, Alias)>,
    ) -> Result<Found, Error> {
        self.core.begin_import(path, take, expected, names).await
    }
}
