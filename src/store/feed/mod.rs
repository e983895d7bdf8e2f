//! The feed of a chain of nodes, as a node keeps it: what its authority published, or what it took from its parent.
//!
//! What it promises:
//! - What was staged and not verified is never seen by anybody who asks for what is live.
//! - What becomes visible does so as a whole for those below: while it is being moved nothing is answered.
//! - A record that became visible is on the list of what is to be told to the rooms beside until they were told.
//!
//! How it goes, each step in the file named:
//! 1. The authority publishes entries with the checkpoint that covers them in one transaction (`publish`).
//! 2. A child writes what an answer brings, frame by frame, each with what the child knows then (`take`).
//! 3. What a checkpoint covers is moved from what is staged to what is live, behind a mark, in small transactions (`apply`).
//! 4. Both are read by those below from one snapshot: log, pages, contents (`look`).
//!
//! What is signed is bytes here, hashes are values, records are packed (`body`). Tables are in `tables`, `docs/store-format.md` has
//! the same in prose.

mod apply;
mod body;
mod look;
mod publish;
pub(crate) mod tables;
mod take;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::chain::hash::{KeyHash, Link};
use crate::model::chain::ids::{Audience, Position};
use crate::model::chain::live::Leaf;
use crate::model::chain::record::{Entry, Kind, Record};
use crate::model::update::Identity;
use crate::store::core::Core;
use crate::store::error::Error;

pub use crate::store::feed::publish::Publication;
pub use crate::store::feed::take::Change;

/// Entries of the log that are kept: some years of what an authority changes. Who is behind takes a snapshot.
pub const LOG_MAX: u64 = 1_000_000;

/// The turn of what waits for all others of its kind.
pub const LATE: u8 = 2;

/// In which turn a record of this kind is told to the rooms beside; `None` where nobody is told of it by itself. What must not be offered is
/// told before what may be, and what is said of updates after them.
fn turn(kind: u8) -> Option<u8> {
    match Kind::of_number(kind)? {
        Kind::Refusal => Some(0),
        Kind::Update => Some(1),
        // Before what is said for them.
        Kind::Group => Some(LATE),
        Kind::Decision | Kind::Approval | Kind::Review | Kind::Licence | Kind::Policy | Kind::Placement => {
            Some(LATE + 1)
        }
        Kind::Text | Kind::File | Kind::Rule | Kind::Node | Kind::Setting | Kind::Order => None,
    }
}

/// For whom contents are given; everybody else gets their hashes alone.
pub type Audiences = Arc<BTreeSet<Audience>>;

/// What is shown to those below: signed bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Show {
    /// The vouch for the key that signs.
    pub vouch: Vec<u8>,
    /// The newest checkpoint.
    pub checkpoint: Vec<u8>,
    /// The newest timestamp under that vouch.
    pub stamp: Option<Vec<u8>>,
}

/// A piece of the feed for somebody below, all of one snapshot.
#[derive(Clone, Debug)]
pub struct Piece {
    /// What is shown with it.
    pub show: Show,
    /// Before the first entry of the log.
    pub floor: (Position, Link),
    /// What it consists of.
    pub entries: Vec<Entry>,
    /// Of the log: the chained hash at the place that was asked behind; `None` where that is not known.
    pub link: Option<Link>,
    /// Of the log: a checkpoint at the last of these entries, where one is kept.
    pub checkpoint: Option<Vec<u8>>,
    /// Whether there is more behind it.
    pub more: bool,
}

/// A record that changed, by kind and key, and in which turn it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What is told in a later turn waits for what is told in an earlier one.
    pub turn: u8,
    /// The number of its kind.
    pub kind: u8,
    /// Its key.
    pub key: Vec<u8>,
}

/// The feed of a store; clones share it.
#[derive(Clone, Debug)]
pub struct Feed {
    core: Arc<Core>,
}

impl Feed {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn look<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Arc<Core>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let core = Arc::clone(&self.core);
        self.core.reads.run(move || job(&core)).await?
    }

    async fn walk<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Arc<Core>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let core = Arc::clone(&self.core);
        self.core.long.run(move || job(&core)).await?
    }

    async fn step<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Arc<Core>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.core.writable()?;
        let core = Arc::clone(&self.core);
        self.core.syncing.run(move || job(&core)).await?
    }

    /// What a child knew last ([`Change::Remember`]).
    pub async fn known(&self) -> Result<Option<Vec<u8>>, Error> {
        self.look(|core| core.feed_state(tables::KNOWN)).await
    }

    /// What the authority wrote of its head last ([`Publication::head`]).
    pub async fn head(&self) -> Result<Option<Vec<u8>>, Error> {
        self.look(|core| core.feed_state(tables::HEAD)).await
    }

    /// All that is live, as hashes.
    pub async fn live(&self) -> Result<Vec<Leaf>, Error> {
        self.walk(|core| core.feed_live()).await
    }

    /// What is staged, as hashes, in the order in which it came.
    pub async fn staged(&self) -> Result<Vec<(KeyHash, Option<Leaf>)>, Error> {
        self.walk(|core| core.feed_staged()).await
    }

    /// What is live under this kind and key, where its content is held.
    pub async fn record(&self, kind: u8, key: Vec<u8>) -> Result<Option<Record>, Error> {
        self.look(move |core| core.feed_record(kind, &key)).await
    }

    /// Entries behind a sequence, at most so many and about so many bytes; `None` while nothing is shown.
    pub async fn tail(
        &self,
        after: u64,
        limit: usize,
        bytes: usize,
        audiences: Audiences,
    ) -> Result<Option<Piece>, Error> {
        self.walk(move |core| core.feed_tail(after, limit, bytes, &audiences)).await
    }

    /// Live records behind a key, about so many bytes, with contents unless `bare`; `None` while nothing is shown.
    pub async fn page(
        &self,
        after: Option<KeyHash>,
        bytes: usize,
        bare: bool,
        audiences: Audiences,
    ) -> Result<Option<Piece>, Error> {
        self.walk(move |core| core.feed_page(after, bytes, bare, &audiences)).await
    }

    /// Live records under these keys whose contents are held; `None` while nothing is shown.
    pub async fn contents(&self, keys: Vec<KeyHash>, audiences: Audiences) -> Result<Option<Piece>, Error> {
        self.walk(move |core| core.feed_contents(&keys, &audiences)).await
    }

    /// Writes entries of the authority's with the checkpoint that covers them.
    pub async fn publish(&self, publication: Publication) -> Result<(), Error> {
        self.step(move |core| core.feed_publish(publication)).await
    }

    /// The revision that had this number in the catalog when it was published.
    pub async fn published(&self, number: u32) -> Result<Option<Identity>, Error> {
        self.look(move |core| core.feed_published(number)).await
    }

    /// Numbers of revisions that were published, behind `after`.
    pub async fn numbers(&self, after: Option<u32>, limit: usize) -> Result<Vec<u32>, Error> {
        self.look(move |core| core.feed_numbers(after, limit)).await
    }

    /// Writes what an answer brought, all or nothing.
    pub async fn take(&self, changes: Vec<Change>) -> Result<(), Error> {
        self.step(move |core| core.feed_take(changes)).await
    }

    /// Makes visible what [`Change::Apply`] said, or goes on where that was cut off. To be called before anything else after a start, and
    /// behind each such change.
    pub async fn apply(&self) -> Result<(), Error> {
        self.step(|core| core.feed_apply()).await
    }

    /// What those below are shown from now on; its checkpoint stands at this sequence.
    pub async fn show(&self, show: Show, sequence: u64) -> Result<(), Error> {
        self.step(move |core| core.feed_show(show, sequence)).await
    }

    /// Records that changed and that the rooms beside have not been told of, in their order.
    pub async fn untold(&self, limit: usize) -> Result<Vec<Told>, Error> {
        self.look(move |core| core.feed_untold(limit)).await
    }

    /// The same of one kind, all of them.
    pub async fn untold_of(&self, kind: Kind) -> Result<Vec<Told>, Error> {
        self.walk(move |core| core.feed_untold_of(kind.number())).await
    }

    /// These were told; those among `again` are to be told in a later turn.
    pub async fn told(&self, told: Vec<Told>, again: Vec<Told>) -> Result<(), Error> {
        self.step(move |core| core.feed_told(&told, &again)).await
    }

    /// All live records of this kind are to be told again: the rooms beside may have lost them.
    pub async fn tell_all(&self, kind: u8) -> Result<(), Error> {
        self.step(move |core| core.feed_tell_all(kind)).await
    }
}
