//! What was missing comes, and the end of an answer.

use crate::chain::alarm::Alarm;
use crate::chain::child::staged::{Staged, What};
use crate::chain::child::{Ask, Child, Step};
use crate::chain::error::Error;
use crate::model::chain::live::Leaf;
use crate::model::chain::record::Entry;
use crate::wire::peer::frame::End;

impl Child {
    /// Records that were missing. What is not, or not any more, is passed over.
    pub(super) fn contents(&mut self, entries: &[Entry], steps: &mut Vec<Step>) -> Result<(), Alarm> {
        let mut filled = Vec::new();
        for entry in entries {
            let key = entry.key();
            let is_it = |leaf: &mut Leaf| {
                let is_it = leaf.record == entry.record() && !leaf.held;
                leaf.held = true;
                is_it
            };
            let mut is_filled = false;
            if let Some(mut leaf) = self.live.get(&key).copied().filter(|_| entry.is_whole())
                && is_it(&mut leaf)
            {
                self.live.insert(leaf);
                self.short.remove(&key);
                is_filled = true;
            }
            if let Some(staged) = &mut self.staged
                && let Some(mut leaf) = staged.get(&key).filter(|_| entry.is_whole())
                && is_it(&mut leaf)
            {
                staged.hold(leaf);
                is_filled = true;
            }
            if is_filled {
                filled.push(key);
            }
        }
        if !filled.is_empty() {
            steps.push(Step::Fill(filled));
        }
        self.settle_covered(steps)
    }

    fn settle_covered(&mut self, steps: &mut Vec<Step>) -> Result<(), Alarm> {
        let covered = self.staged.as_ref().filter(|staged| staged.lacking.is_empty());
        let Some(covered) = covered.and_then(|staged| staged.covered.clone()) else { return Ok(()) };
        let vouch = self.vouch.clone().filter(|vouch| vouch.serial == covered.serial);
        // Where the key was changed since, the checkpoint comes again under the new one.
        let Some(vouch) = vouch else { return Ok(()) };
        self.settle(&vouch, &covered, steps)
    }

    /// The answer is over.
    pub(super) fn end(&mut self, end: End, ask: &Ask, steps: &mut Vec<Step>) -> Result<Result<(), Alarm>, Error> {
        match (ask, end) {
            (Ask::Feed(_), End::More) => {}
            (Ask::Feed(_), End::All) => return Ok(self.end_of_tail(steps)),
            (Ask::Feed(_), End::Snapshot) => {
                self.needs_snapshot = true;
                if self.staged.as_ref().is_some_and(Staged::is_snapshot) {
                    self.drop_staged(steps);
                }
                steps.push(Step::Remember);
            }
            (Ask::Snapshot { .. }, _) if self.turn.as_ref().is_some_and(|turn| turn.is_held) => {}
            (Ask::Snapshot { .. }, End::More) if self.staged.is_some() => {}
            (Ask::Snapshot { .. }, End::Snapshot) => self.drop_staged(steps),
            (Ask::Snapshot { .. }, End::Last) if self.staged.is_some() => return Ok(self.end_of_pages(steps)),
            (Ask::Contents(asked), End::All) => {
                if let Some(staged) = &mut self.staged {
                    staged.tried = true;
                    let count = asked.iter().filter(|key| staged.lacking.contains(*key)).count() as u64;
                    if count > 0 {
                        return Ok(Err(Alarm::Stripped { count }));
                    }
                    staged.tried = false;
                }
                let count = asked.iter().filter(|key| self.short.contains(*key)).count() as u64;
                if count > 0 {
                    return Ok(Err(Alarm::Stripped { count }));
                }
            }
            (ask, end) => return Err(Error::Order(format!("an end of kind {end:?} to {ask:?}"))),
        }
        Ok(Ok(()))
    }

    /// A parent that has no more has covered all that it sent.
    fn end_of_tail(&mut self, steps: &mut Vec<Step>) -> Result<(), Alarm> {
        let Some(staged) = &mut self.staged else { return Ok(()) };
        staged.tried = false;
        if staged.is_open() || staged.covered.is_some() {
            return Ok(());
        }
        let at = staged.head.position;
        if let What::Snapshot { checkpoint, .. } = &staged.what
            && checkpoint.position == at
        {
            let (checkpoint, vouch) = (checkpoint.clone(), self.vouch.clone());
            if let Some(vouch) = vouch.filter(|vouch| vouch.serial == checkpoint.serial) {
                return self.settle(&vouch, &checkpoint, steps);
            }
        }
        self.drop_staged(steps);
        Err(Alarm::Tampered { at })
    }

    /// All pages came. Where nothing changed meanwhile that is all; else the tail behind its beginning tells what did.
    fn end_of_pages(&mut self, steps: &mut Vec<Step>) -> Result<(), Alarm> {
        let Some(staged) = &mut self.staged else { return Ok(()) };
        let What::Snapshot { set, checkpoint, is_open, .. } = &mut staged.what else { return Ok(()) };
        *is_open = false;
        steps.push(Step::Remember);
        let is_all = set.len() == checkpoint.count && set.root() == checkpoint.root;
        let checkpoint = checkpoint.clone();
        let vouch = self.vouch.clone().filter(|vouch| is_all && vouch.serial == checkpoint.serial);
        vouch.map_or(Ok(()), |vouch| self.settle(&vouch, &checkpoint, steps))
    }
}
