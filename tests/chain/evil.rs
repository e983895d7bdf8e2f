//! What a node in between can do to an answer.

use aws_lc_rs::signature::Ed25519KeyPair;
use waystation::model::chain::hash::RecordHash;
use waystation::model::chain::ids::Audience;
use waystation::model::chain::record::{Entry, Record, Shown};
use waystation::wire::peer::frame::{End, Frame};

use crate::view::Answer;
use crate::world::{Authority, Chance, record};

/// A way to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evil {
    /// The body of a record is another one.
    Body,
    /// A record is for others.
    Audience,
    /// An entry is left out.
    Leave,
    /// Two entries stand the other way round.
    Swap,
    /// An entry more.
    Put,
    /// A record has no content.
    Strip,
    /// All under keys of its own.
    SelfSign,
    /// Checkpoints under a key of its own, and the authority's vouch.
    Resign,
    /// No checkpoints.
    Uncovered,
    /// The cursor is of no use.
    Snapshot,
    /// The answer is over where it is not.
    Short,
}

impl Evil {
    pub(crate) const ALL: [Self; 11] = [
        Self::Body,
        Self::Audience,
        Self::Leave,
        Self::Swap,
        Self::Put,
        Self::Strip,
        Self::SelfSign,
        Self::Resign,
        Self::Uncovered,
        Self::Snapshot,
        Self::Short,
    ];
}

fn changed(entry: &Entry) -> Entry {
    match entry.shown() {
        Shown::Record(old) => {
            let body = [&old.body()[..], b"!"].concat();
            let record = Record::new(old.kind(), old.audience(), *old.salt(), old.key().clone(), body.into());
            Entry::set(record.unwrap())
        }
        Shown::Gone { kind, .. } => Entry::gone(*kind, entry.audience(), b"other".as_slice().into()).unwrap(),
        Shown::Bare if entry.is_gone() => Entry::bare(entry.audience(), entry.key(), RecordHash::new([1; 32])),
        Shown::Bare => Entry::bare(entry.audience(), entry.key(), RecordHash::NONE),
    }
}

/// Signs with a key that nobody vouched for.
fn resign(frame: &mut Frame) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[77; 32]).unwrap();
    match frame {
        Frame::Checkpoint(checkpoint) => {
            checkpoint.signature = pair.sign(&checkpoint.message()).as_ref().try_into().unwrap();
        }
        Frame::Stamp(stamp) => stamp.signature = pair.sign(&stamp.message()).as_ref().try_into().unwrap(),
        _ => {}
    }
}

/// Does it, where there is something to do it to.
pub(crate) fn spoil(evil: Evil, answer: &mut Answer, chance: &mut Chance) {
    if evil == Evil::SelfSign {
        let mut other = Authority::new(200);
        other.say(&[record(1, Audience::EVERYBODY, b"mine")], crate::world::START);
        for frame in &mut answer.frames {
            match frame {
                Frame::Vouch(vouch) => *vouch = other.view.vouch.clone(),
                Frame::Checkpoint(checkpoint) => *checkpoint = other.view.checkpoint.clone(),
                Frame::Stamp(stamp) => *stamp = other.view.stamp.clone().unwrap(),
                _ => {}
            }
        }
        return;
    }
    if evil == Evil::Uncovered {
        answer.frames.retain(|frame| !matches!(frame, Frame::Checkpoint(_)));
        return;
    }
    if evil == Evil::Resign {
        answer.frames.iter_mut().for_each(resign);
        return;
    }
    for frame in &mut answer.frames {
        match (evil, frame) {
            (Evil::Snapshot, Frame::End(end)) => *end = End::Snapshot,
            (Evil::Short, Frame::End(end)) => *end = if *end == End::More { End::Last } else { End::More },
            (_, Frame::Tail { entries, .. } | Frame::Page(entries) | Frame::Contents(entries))
                if !entries.is_empty() =>
            {
                spoil_entries(evil, entries, chance);
            }
            _ => {}
        }
    }
    // What has no place in its frame cannot be written, and would not be read.
    answer.frames.retain(|frame| !matches!(frame, Frame::Tail { entries, .. } if entries.is_empty()));
}

fn spoil_entries(evil: Evil, entries: &mut Vec<Entry>, chance: &mut Chance) {
    let at = chance.below(entries.len());
    match evil {
        Evil::Body => entries[at] = changed(&entries[at]),
        Evil::Audience => {
            let entry = &entries[at];
            entries[at] = Entry::bare(Audience::new([8; 16]), entry.key(), entry.record());
        }
        Evil::Leave => drop(entries.remove(at)),
        Evil::Swap => {
            let other = chance.below(entries.len());
            entries.swap(at, other);
        }
        Evil::Put => entries.insert(at, record(250, Audience::EVERYBODY, b"more")),
        Evil::Strip => entries[at] = entries[at].stripped(),
        _ => {}
    }
}
