//! What is said of updates for groups and for single endpoints, the groups, reviews, and licences that were accepted.
//!
//! What it promises:
//! - Of an update and a target there is one word. For all endpoints it lies in one of two tables: approved without more, or declined,
//!   among the decisions of the catalog, where the content policy and `updates approve` look; anything else here. The transaction that
//!   writes one takes the other out.
//! - All of it has the logical clock of the catalog, and words and reviews stand in its change log.
//! - What was withdrawn is kept, since endpoints must hear of it; where it is forgotten, [`Shared::floor`] says up to when.
//! - The tree of groups is one, whatever is written ([`crate::model::group::Groups`]).
//! - Each table has a limit. What cannot be written whole is not written.
//!
//! How it goes, each step in the file named:
//! 1. Words are written and read (`words`), groups and who was put into which (`groups`), reviews and licences (`acts`).
//! 2. What a group asks of its endpoints is kept beside it (`policies`), and goes with it.
//! 3. What is of no use any more goes in small transactions (`sweep`).
//! 4. Below an authority that decides, its groups are taken as a whole (`taken`).
//!
//! Tables and rows are in `tables`, what goes in and comes out in `value`.

mod acts;
mod groups;
mod policies;
mod sweep;
pub(crate) mod tables;
mod taken;
mod value;
pub(crate) mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::compliance::inherit::Own;
use crate::model::deployment::inherit::Words;
use crate::model::deployment::{Acceptance, Endpoint, Review};
use crate::model::group::Node;
use crate::model::policy::Group;
use crate::model::update::UpdateId;
use crate::store::core::Core;
use crate::store::error::Error;

pub use crate::store::approvals::groups::MEMBERS_MAX;
pub use crate::store::approvals::value::{Change, GroupPolicy, Kept, Place, Saying, Shared, Step, Tree};
pub use crate::store::approvals::words::{APPROVALS_MAX, SAID_MAX};

/// Rows of one answer.
pub const PAGE_MAX: usize = 10_000;

/// The approvals of a store; clones share them.
#[derive(Clone, Debug)]
pub struct Approvals {
    core: Arc<Core>,
}

impl Approvals {
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

    async fn step<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Arc<Core>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.core.writable()?;
        let core = Arc::clone(&self.core);
        self.core.syncing.run(move || job(&core)).await?
    }

    /// Writes what somebody says of updates, for each target; all or none. Says of how many updates and targets it is something else
    /// than before. Whether it can be said at all is for the caller to check ([`crate::model::deployment::Said::check`]). `Invalid`
    /// beyond [`SAID_MAX`] at once, and [`APPROVALS_MAX`] in all.
    pub async fn say(&self, saying: Saying) -> Result<u64, Error> {
        self.step(move |core| core.say(saying)).await
    }

    /// What was said of these updates, decisions among it; what was withdrawn is left out. In the order of the updates; at most
    /// [`PAGE_MAX`].
    pub async fn of(&self, updates: Vec<UpdateId>) -> Result<Vec<Kept>, Error> {
        self.look(move |core| core.kept(&updates)).await
    }

    /// The same of all updates, behind a place. Where to go on, unless that was all.
    pub async fn page(&self, after: Option<Place>, limit: usize) -> Result<(Vec<Kept>, Option<Place>), Error> {
        let core = Arc::clone(&self.core);
        self.core.long.run(move || core.kept_page(after, limit.clamp(1, PAGE_MAX))).await?
    }

    /// For each of these updates whether it is approved for some endpoints, or for all with more than that; at most [`PAGE_MAX`].
    pub async fn approved(&self, updates: Vec<UpdateId>) -> Result<Vec<bool>, Error> {
        self.look(move |core| core.are_approved(&updates)).await
    }

    /// All that was said of these updates, decisions and their reviews among it, in the same order; at most [`PAGE_MAX`]. Times are those
    /// of the change log; a decision that was taken back is a word that was withdrawn, as long as the log knows of it.
    pub async fn words(&self, updates: Vec<UpdateId>) -> Result<Vec<Words>, Error> {
        self.look(move |core| core.words(&updates)).await
    }

    /// How far reviews have come: those of these updates, the ones that have one.
    pub async fn reviews(&self, updates: Vec<UpdateId>) -> Result<Vec<Step>, Error> {
        self.look(move |core| core.reviews(&updates)).await
    }

    /// A step of the review of these updates, all or none. Says of how many it is another one than before.
    pub async fn review(&self, updates: Vec<UpdateId>, review: Review, by: String, why: String) -> Result<u64, Error> {
        self.step(move |core| core.review_updates(updates, review, by, why)).await
    }

    /// Licences that were accepted.
    pub async fn licences(&self) -> Result<Vec<Acceptance>, Error> {
        self.look(|core| core.licences()).await
    }

    /// Somebody accepts these licences for all endpoints. Says how many nobody had accepted; who was first stays so.
    pub async fn accept(&self, eulas: Vec<UpdateId>, by: String) -> Result<u64, Error> {
        self.step(move |core| core.accept(eulas, by)).await
    }

    /// The groups.
    pub async fn tree(&self) -> Result<Tree, Error> {
        self.look(|core| core.tree_of_groups()).await
    }

    /// Changes the tree; `Invalid` where it would not be one any more, with the tree's own words.
    pub async fn change(&self, change: Change, by: String) -> Result<Tree, Error> {
        Ok(self.step(move |core| core.change_groups(change, by)).await?.0)
    }

    /// Takes a group out as [`Change::Remove`] does, and says how many endpoints that were put into it are in the one above it now, or, where
    /// that is the root, where their own word or a rule has them.
    pub async fn remove_group(&self, group: Group, by: String) -> Result<(Tree, u64), Error> {
        self.step(move |core| core.change_groups(Change::Remove(group), by)).await
    }

    /// The groups that somebody put these endpoints in, in the same order; none for those that nobody put anywhere.
    pub async fn placed(&self, endpoints: Vec<Endpoint>) -> Result<Vec<Vec<Group>>, Error> {
        self.look(move |core| core.placed(&endpoints)).await
    }

    /// Puts endpoints into groups, each into all of them and out of those that it was put in before; with no group they are where their
    /// own word or a rule has them. Says how many are elsewhere than before.
    pub async fn place(&self, endpoints: Vec<Endpoint>, groups: Vec<Group>, by: String) -> Result<u64, Error> {
        self.step(move |core| core.place(endpoints, groups, by)).await
    }

    /// All endpoints that somebody put into groups, with these.
    pub async fn members(&self) -> Result<Vec<(Endpoint, Vec<Group>)>, Error> {
        let core = Arc::clone(&self.core);
        self.core.long.run(move || core.members()).await?
    }

    /// Takes groups as another node has them: these are as they are there, those are gone; all or none. A group of this node alone that stands
    /// where one of these is to stand goes, with what is below it. Each has who changed it last. `Invalid` where it is no tree.
    pub async fn take_groups(&self, put: Vec<(Node, String)>, gone: Vec<Group>) -> Result<Tree, Error> {
        self.step(move |core| core.take_groups(put, &gone)).await
    }

    /// What groups ask of their endpoints, those that say something.
    pub async fn policies(&self) -> Result<BTreeMap<Group, GroupPolicy>, Error> {
        self.look(|core| core.policies()).await
    }

    /// What a group asks of its endpoints from now on; with nothing in it, it is as the group above. `Invalid` where there is no such group,
    /// and for all endpoints, whose policy is a setting.
    pub async fn set_policy(&self, group: Group, own: Own, by: String) -> Result<(), Error> {
        self.step(move |core| core.set_policy(group, own, by)).await
    }

    /// How far what is shared has come: one look-up.
    pub async fn shared(&self) -> Result<Shared, Error> {
        self.look(|core| core.approvals_shared()).await
    }
}
