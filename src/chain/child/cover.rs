//! Checkpoints, which make visible what they cover, and timestamps, which say how new that is.

use crate::base::time::Timestamp;
use crate::chain::alarm::Alarm;
use crate::chain::authority::STAMP_LIFE;
use crate::chain::child::staged::{Staged, What};
use crate::chain::child::trust::CLOCKS;
use crate::chain::child::{Ask, Child, Mark, Step};
use crate::chain::verify;
use crate::model::chain::live::LiveSet;
use crate::wire::peer::signed::{Checkpoint, Stamp, Vouch};

impl Child {
    /// A signed checkpoint: it covers what is staged, begins a snapshot, or stands elsewhere.
    pub(super) fn checkpoint(
        &mut self,
        vouch: &Vouch,
        checkpoint: &Checkpoint,
        steps: &mut Vec<Step>,
    ) -> Result<(), Alarm> {
        verify::checkpoint(vouch, checkpoint)?;
        let mark = Mark::from(checkpoint);
        self.seen.check(mark.position, mark.link)?;
        if let Some(applied) = self.applied_here() {
            let known = applied.position;
            if mark.position < known {
                return Err(Alarm::RolledBack { offered: mark.position, known });
            }
            if mark.position == known
                && (applied.link, applied.root, applied.count) != (mark.link, checkpoint.root, checkpoint.count)
            {
                return Err(Alarm::Forked { at: known, known: applied.link, offered: mark.link });
            }
        }
        if self.seen.keep(mark.position, mark.link) {
            steps.push(Step::Remember);
        }
        let is_new = matches!(&self.turn, Some(turn) if matches!(turn.ask, Ask::Snapshot { .. }) && !turn.is_held)
            && !self.staged.as_ref().is_some_and(Staged::is_open);
        if is_new {
            self.begin_snapshot(vouch, checkpoint, steps);
            return Ok(());
        }
        if self.staged.as_ref().is_some_and(|staged| !staged.is_open() && staged.head.position == mark.position) {
            return self.settle(vouch, checkpoint, steps);
        }
        if self.applied_here().is_some_and(|applied| applied.position == mark.position && applied.serial < vouch.serial)
        {
            self.applied = Some((vouch.clone(), checkpoint.clone()));
            steps.push(Step::Remember);
        }
        Ok(())
    }

    fn begin_snapshot(&mut self, vouch: &Vouch, checkpoint: &Checkpoint, steps: &mut Vec<Step>) {
        self.drop_staged(steps);
        if checkpoint.count == self.live.len() && checkpoint.root == self.live.root() {
            if let Some(turn) = &mut self.turn {
                turn.is_held = true;
            }
            self.set_applied(vouch, checkpoint, false, steps);
        } else {
            let bare = matches!(&self.turn, Some(turn) if matches!(turn.ask, Ask::Snapshot { bare: true, .. }));
            self.staged = Some(Staged::snapshot(checkpoint, bare));
            steps.push(Step::Remember);
        }
    }

    /// The checkpoint stands at the end of what is staged.
    pub(super) fn settle(
        &mut self,
        vouch: &Vouch,
        checkpoint: &Checkpoint,
        steps: &mut Vec<Step>,
    ) -> Result<(), Alarm> {
        let at = checkpoint.position;
        let Some(staged) = &mut self.staged else { return Ok(()) };
        if staged.head.link != checkpoint.link {
            self.drop_staged(steps);
            return Err(Alarm::Tampered { at });
        }
        let right = |live: &mut LiveSet| live.len() == checkpoint.count && live.root() == checkpoint.root;
        // Before anything is asked for: what was never signed nobody could give.
        if let What::Snapshot { set, .. } = &mut staged.what
            && !right(set)
        {
            self.drop_staged(steps);
            return Err(Alarm::Tampered { at });
        }
        if !staged.lacking.is_empty() {
            staged.covered = Some(checkpoint.clone());
            steps.push(Step::Remember);
            return Ok(());
        }
        match &mut staged.what {
            What::Snapshot { set, .. } => {
                self.live = std::mem::take(set);
                self.set_applied(vouch, checkpoint, true, steps);
            }
            What::Tail(changes) => {
                let changes = std::mem::take(changes);
                let before: Vec<_> = changes.iter().map(|(key, leaf)| (*key, self.live.put(key, *leaf))).collect();
                if !right(&mut self.live) {
                    for (key, leaf) in before {
                        self.live.put(&key, leaf);
                    }
                    self.needs_snapshot = true;
                    self.drop_staged(steps);
                    return Err(Alarm::Diverged { at });
                }
                for key in changes.keys() {
                    self.short.remove(key);
                }
                self.set_applied(vouch, checkpoint, false, steps);
            }
        }
        Ok(())
    }

    fn set_applied(&mut self, vouch: &Vouch, checkpoint: &Checkpoint, whole: bool, steps: &mut Vec<Step>) {
        let is_snapshot = matches!(&self.turn, Some(turn) if turn.is_held) || whole;
        self.staged = None;
        if is_snapshot {
            self.needs_snapshot = false;
            self.count_short();
        }
        self.applied = Some((vouch.clone(), checkpoint.clone()));
        self.prove(checkpoint.made, checkpoint.made.after(STAMP_LIFE));
        if let Some(stamp) = self.stamp.clone() {
            self.prove_by(&stamp);
        }
        steps.extend([Step::Apply { checkpoint: checkpoint.clone(), whole }, Step::Remember]);
    }

    fn prove(&mut self, at: Timestamp, until: Timestamp) {
        self.current = self.current.max(Some((at, until)));
    }

    /// What is applied was all that there was then, where it reaches as far.
    fn prove_by(&mut self, stamp: &Stamp) -> bool {
        let covers = |applied: &Checkpoint| {
            applied.position.epoch == stamp.position.epoch && stamp.position.sequence <= applied.position.sequence
        };
        let before = self.current;
        if self.applied.as_ref().is_some_and(|(_, applied)| covers(applied)) {
            self.prove(stamp.at, stamp.until);
        }
        self.current != before
    }

    /// A signed timestamp.
    pub(super) fn timestamp(
        &mut self,
        vouch: &Vouch,
        stamp: &Stamp,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) -> Result<(), Alarm> {
        verify::stamp(vouch, stamp)?;
        self.seen.check(stamp.position, stamp.link)?;
        if stamp.at > now.after(CLOCKS) {
            return Err(Alarm::Clock { by: stamp.at.since(now) });
        }
        if let Some(applied) = self.applied_here()
            && stamp.position < applied.position
            && stamp.at > applied.made
        {
            return Err(Alarm::RolledBack { offered: stamp.position, known: applied.position });
        }
        let mut changed = self.prove_by(stamp);
        changed |= self.applied_here().is_none_or(|applied| stamp.position >= applied.position)
            && self.seen.keep(stamp.position, stamp.link);
        let place = |stamp: &Stamp| (stamp.position.epoch, stamp.serial, stamp.at);
        if self.stamp.as_ref().is_none_or(|known| place(known) < place(stamp)) {
            self.stamp = Some(stamp.clone());
            changed = true;
        }
        if changed {
            steps.push(Step::Remember);
        }
        Ok(())
    }
}
