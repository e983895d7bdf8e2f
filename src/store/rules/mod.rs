//! Rules that approve by themselves, how far each has come with each update, and what happened to them.
//!
//! What it promises:
//! - A rule's number means one rule for ever; its name is unique in any case.
//! - What a rule says of an update and that it said so are one transaction: after a crash both are there or neither.
//! - A rule says nothing for whom something was said meanwhile, of what was declined meanwhile, or by what it was before it was changed:
//!   such a step is left out whole.
//! - Each table has a limit. What cannot be written whole is not written.
//!
//! How it goes, each step in the file named:
//! 1. A person adds, changes or removes a rule (`keep`); each time a line goes into the history.
//! 2. A run of the rules writes what they do (`act`), with the approvals that come of it.
//! 3. What is left of rules that are gone is taken out (`keep`).
//!
//! Tables and rows are in `tables`, what goes in and comes out in `value`.

mod act;
mod keep;
pub(crate) mod tables;
mod value;

use std::sync::Arc;

use crate::model::deployment::rules::Rule;
use crate::model::update::UpdateId;
use crate::store::core::Core;
use crate::store::error::Error;

pub use crate::store::rules::act::ACTS_MAX;
pub use crate::store::rules::keep::{HISTORY_MAX, PROGRESS_MAX};
pub use crate::store::rules::value::{Act, Event, Got, Kept, Line, Progress, Stopped};

/// Rows of one answer.
pub const PAGE_MAX: usize = 10_000;

/// The rules of a store; clones share them.
#[derive(Clone, Debug)]
pub struct Rules {
    core: Arc<Core>,
}

impl Rules {
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

    /// All rules, by number.
    pub async fn all(&self) -> Result<Vec<Kept>, Error> {
        self.look(|core| core.rules()).await
    }

    /// A new rule. `Invalid` where it cannot be one, where another one has its name, or where there are too many.
    pub async fn add(&self, rule: Rule, by: String) -> Result<Kept, Error> {
        self.step(move |core| core.add_rule(rule, by)).await
    }

    /// Puts a rule in the place of what it was in this revision; `event` and `text` go into the history. What is as it was before
    /// changes nothing. `Invalid` as for [`Rules::add`], and where somebody else changed it meanwhile; `Gone` where it is not there.
    pub async fn put(&self, before: Kept, rule: Rule, by: String, event: Event, text: String) -> Result<Kept, Error> {
        self.step(move |core| core.put_rule(&before, rule, by, event, text)).await
    }

    /// It goes, with what it remembers of updates; what it approved stays. `Gone` where it is not there.
    pub async fn remove(&self, number: u32, by: String) -> Result<(), Error> {
        self.step(move |core| core.remove_rule(number, by)).await?;
        while self.step(move |core| core.drop_progress()).await? {}
        Ok(())
    }

    /// Takes out what is left of rules that are gone.
    pub async fn sweep(&self) -> Result<(), Error> {
        while self.step(move |core| core.drop_progress()).await? {}
        Ok(())
    }

    /// How far a rule has come with updates, by their ids behind `after`; at most [`PAGE_MAX`].
    pub async fn progress(
        &self,
        rule: u32,
        after: Option<UpdateId>,
        limit: usize,
    ) -> Result<Vec<(UpdateId, Progress)>, Error> {
        let core = Arc::clone(&self.core);
        self.core.long.run(move || core.progress_of(rule, after, limit.clamp(1, PAGE_MAX))).await?
    }

    /// How far a rule has come with one update; `None` where it has not begun.
    pub async fn of(&self, rule: u32, update: UpdateId) -> Result<Option<Progress>, Error> {
        self.look(move |core| core.progress_with(rule, &update)).await
    }

    /// Writes what rules do, each step whole or not at all, and says of each whether it was; what `tell` makes of that goes into the
    /// history. `Invalid` beyond [`ACTS_MAX`] steps, and where no more can be kept.
    pub async fn act(
        &self,
        acts: Vec<Act>,
        tell: impl FnOnce(&[bool]) -> Vec<Line> + Send + 'static,
    ) -> Result<Vec<bool>, Error> {
        self.step(move |core| core.act(acts, tell)).await
    }

    /// What happened to rules, or to one, the newest first; at most [`PAGE_MAX`].
    pub async fn history(&self, rule: Option<u32>, limit: usize) -> Result<Vec<Line>, Error> {
        let core = Arc::clone(&self.core);
        self.core.long.run(move || core.rule_history(rule, limit.min(PAGE_MAX))).await?
    }
}
