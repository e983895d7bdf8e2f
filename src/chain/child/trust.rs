//! Who answers, and which key signs.

use std::time::Duration;

use crate::base::time::Timestamp;
use crate::chain::alarm::Alarm;
use crate::chain::child::{Child, Step};
use crate::chain::verify;
use crate::model::chain::ids::NodeId;
use crate::wire::peer::frame::HOPS_MAX;
use crate::wire::peer::signed::Vouch;

/// As far as two clocks may be apart.
pub(super) const CLOCKS: Duration = Duration::from_hours(24);

impl Child {
    /// The path leads here, without a circle.
    pub(super) fn head(&mut self, path: &[NodeId], steps: &mut Vec<Step>) -> Result<(), Alarm> {
        let Some(turn) = &mut self.turn else { return Ok(()) };
        let twice = |at: usize, node: &NodeId| path.iter().skip(at + 1).any(|other| other == node);
        if path.contains(&self.me) || path.iter().enumerate().any(|(at, node)| twice(at, node)) {
            return Err(Alarm::Loop);
        }
        if path.len() >= HOPS_MAX {
            return Err(Alarm::TooDeep { hops: path.len(), max: HOPS_MAX - 1 });
        }
        if path.last() != Some(&turn.peer) {
            return Err(Alarm::Path);
        }
        turn.has_head = true;
        let path: Vec<NodeId> = path.iter().copied().chain([self.me]).collect();
        if self.path != path {
            self.path = path;
            steps.push(Step::Remember);
        }
        Ok(())
    }

    /// The pinned root key vouches, and for no key below one that is known.
    pub(super) fn vouch(&mut self, vouch: &Vouch, now: Timestamp, steps: &mut Vec<Step>) -> Result<(), Alarm> {
        verify::vouch(self.chain, vouch)?;
        if now > vouch.until.after(CLOCKS) {
            return Err(Alarm::VouchEnded { until: vouch.until });
        }
        let offered = (vouch.epoch, vouch.serial);
        let known = self.vouch.as_ref().map(|known| (known.epoch, known.serial, known.feed));
        match known {
            Some((epoch, serial, _)) if offered < (epoch, serial) => {
                let (epoch, known_epoch) = (vouch.epoch, epoch);
                return Err(Alarm::OldVouch { epoch, offered: vouch.serial, known_epoch, known: serial });
            }
            Some((epoch, serial, feed)) if offered == (epoch, serial) => {
                if feed != vouch.feed {
                    return Err(Alarm::TwoKeys { epoch, serial });
                }
            }
            _ => {
                if known.is_none_or(|(epoch, ..)| epoch != vouch.epoch) {
                    self.drop_staged(steps);
                    self.needs_snapshot = false;
                }
                self.vouch = Some(vouch.clone());
                steps.push(Step::Remember);
            }
        }
        if let Some(turn) = &mut self.turn {
            turn.vouch = Some(vouch.clone());
        }
        Ok(())
    }
}
