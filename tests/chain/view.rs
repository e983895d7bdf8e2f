//! What a node serves to those below it, from plain maps: the parent's side of the page, written for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use waystation::chain::child::{Ask, Mark};
use waystation::model::chain::hash::{KeyHash, Link};
use waystation::model::chain::ids::{Audience, NodeId};
use waystation::model::chain::record::Entry;
use waystation::wire::peer::frame::{End, Frame};
use waystation::wire::peer::signed::{Checkpoint, Stamp, Vouch};

/// Entries in a page or a portion of the tail: few, so that things happen in between.
const PORTION: usize = 4;

/// What a node has applied, as it serves it.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) path: Vec<NodeId>,
    pub(crate) vouch: Vouch,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) stamp: Option<Stamp>,
    /// Before the first entry of the log.
    pub(crate) floor: Mark,
    pub(crate) log: BTreeMap<u64, (Entry, Link)>,
    pub(crate) live: BTreeMap<KeyHash, Entry>,
}

/// An answer: frames, and whether its status is that of a cursor that is not known.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) frames: Vec<Frame>,
    pub(crate) is_conflict: bool,
}

impl View {
    fn link(&self, sequence: u64) -> Option<Link> {
        if sequence == self.floor.position.sequence {
            return Some(self.floor.link);
        }
        self.log.get(&sequence).map(|(_, link)| *link)
    }

    /// For everybody else the hash alone.
    fn shown(entry: &Entry, entitled: &BTreeSet<Audience>) -> Entry {
        if entitled.contains(&entry.audience()) { entry.clone() } else { entry.stripped() }
    }

    /// What the page says that a parent answers. `shows` is the checkpoint that the child shows.
    pub(crate) fn answer(&self, ask: &Ask, shows: Option<&Checkpoint>, entitled: &BTreeSet<Audience>) -> Answer {
        let mut frames = vec![Frame::Head { path: self.path.clone(), again: 0 }, Frame::Vouch(self.vouch.clone())];
        let mut is_conflict = false;
        let here = self.checkpoint.position;
        let end = match ask {
            Ask::Feed(cursor) if cursor.position.epoch != here.epoch => End::Snapshot,
            Ask::Feed(cursor) if cursor.position > here => {
                is_conflict = true;
                frames.push(Frame::Checkpoint(self.checkpoint.clone()));
                End::All
            }
            Ask::Feed(cursor) => match self.link(cursor.position.sequence) {
                None => End::Snapshot,
                Some(link) if link != cursor.link => {
                    is_conflict = true;
                    frames.push(Frame::Checkpoint(self.checkpoint.clone()));
                    End::All
                }
                Some(_) => self.tail(cursor, shows, entitled, &mut frames),
            },
            Ask::Snapshot { base, after, bare } => {
                if base.is_some_and(|base| base.epoch != here.epoch || base < self.floor.position) {
                    End::Snapshot
                } else if base.is_some_and(|base| base > here) {
                    is_conflict = true;
                    End::All
                } else {
                    if base.is_none() {
                        frames.push(Frame::Checkpoint(self.checkpoint.clone()));
                    }
                    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
                    let mut rest = self.live.range((from, Bound::Unbounded)).map(|(_, entry)| entry);
                    let page = rest.by_ref().take(PORTION);
                    let shown = |entry: &Entry| if *bare { entry.stripped() } else { Self::shown(entry, entitled) };
                    frames.push(Frame::Page(page.map(shown).collect()));
                    if rest.next().is_some() { End::More } else { End::Last }
                }
            }
            Ask::Contents(keys) => {
                let found = keys.iter().filter_map(|key| self.live.get(key));
                let found = found.filter(|entry| entry.is_whole() && entitled.contains(&entry.audience()));
                frames.push(Frame::Contents(found.cloned().collect()));
                End::All
            }
        };
        frames.extend(self.stamp.clone().filter(|_| end == End::All).map(Frame::Stamp));
        frames.push(Frame::End(end));
        Answer { frames, is_conflict }
    }

    fn tail(
        &self,
        cursor: &Mark,
        shows: Option<&Checkpoint>,
        entitled: &BTreeSet<Audience>,
        frames: &mut Vec<Frame>,
    ) -> End {
        let first = cursor.position.sequence + 1;
        let last = (cursor.position.sequence + PORTION as u64).min(self.checkpoint.position.sequence);
        let replaced = |sequence: u64, entry: &Entry| {
            self.log.range(sequence + 1..).any(|(_, (later, _))| later.key() == entry.key())
        };
        let entries: Vec<Entry> = (first..=last)
            .filter_map(|sequence| self.log.get(&sequence).map(|(entry, _)| (sequence, entry)))
            .map(
                |(sequence, entry)| {
                    if replaced(sequence, entry) { entry.stripped() } else { Self::shown(entry, entitled) }
                },
            )
            .collect();
        let shown = shows.map(|shown| (shown.position, shown.serial));
        let is_older = shown.is_none_or(|shown| shown < (self.checkpoint.position, self.checkpoint.serial));
        if !entries.is_empty() {
            frames.push(Frame::Tail { first, entries });
        }
        if last < self.checkpoint.position.sequence {
            return End::More;
        }
        if is_older {
            frames.push(Frame::Checkpoint(self.checkpoint.clone()));
        }
        End::All
    }
}
