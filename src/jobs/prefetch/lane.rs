//! The files of one bandwidth class: how many are under way, and those that failed, by the time when each is due.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::base::digest::Sha1;
use crate::jobs::prefetch::mismatch::Mark;
use crate::pace::Class;
use crate::store::catalog::WantedFile;

/// A file that is to be brought.
pub(super) struct Item {
    pub(super) file: WantedFile,
    pub(super) mark: Mark,
    /// The class of bandwidth that it comes in.
    pub(super) class: Class,
    /// How often it was begun again.
    pub(super) tried: u32,
    /// Not before this.
    pub(super) due: Instant,
    /// Its line, if it has one.
    pub(super) at: Option<usize>,
}

/// One class.
#[derive(Default)]
pub(super) struct Lane {
    pub(super) under_way: usize,
    /// Of these, such as had failed before.
    pub(super) again_under_way: usize,
    again: BTreeMap<(Instant, Sha1), Item>,
}

impl Lane {
    pub(super) fn begun(&mut self, item: &Item) {
        self.under_way += 1;
        self.again_under_way += usize::from(item.tried > 0);
    }

    pub(super) fn ended(&mut self, item: &Item) {
        self.under_way -= 1;
        self.again_under_way -= usize::from(item.tried > 0);
    }

    /// It has failed, and waits until it is due.
    pub(super) fn wait(&mut self, item: Item) {
        self.again.insert((item.due, item.file.file.sha1), item);
    }

    pub(super) fn waiting(&self) -> usize {
        self.again.len()
    }

    pub(super) fn find(&mut self, sha1: &Sha1) -> Option<&mut Item> {
        self.again.values_mut().find(|item| item.file.file.sha1 == *sha1)
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.again.first_key_value().map(|((due, _), _)| *due)
    }

    /// The one that has been due for longest.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Item> {
        let first = self.again.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Item> + use<> {
        std::mem::take(&mut self.again).into_values()
    }
}
