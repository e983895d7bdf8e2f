//! The frames of a feed's answer.

use bytes::Bytes;

use crate::model::chain::ids::NodeId;
use crate::model::chain::record::{Entry, Shown};
use crate::wire::error::{Error, Result};
use crate::wire::peer::entry;
use crate::wire::peer::raw::{END, OPTIONAL, PLAIN_BYTES_MAX, Raw, Writer};
use crate::wire::peer::read::Read;
use crate::wire::peer::signed::{Checkpoint, Stamp, Vouch};

/// Nodes from the authority to the lowest one, both counted: four more than any organisation that was heard of has.
pub const HOPS_MAX: usize = 16;

/// Entries in a frame: what one step of its reader hashes.
pub const ENTRIES_MAX: usize = 65_536;

/// Plain bytes from which on a frame of entries is closed: with one entry more it stays below the limit.
const FILLED: usize = 1 << 20;

const WHAT: &str = "a frame of a feed";
const HEAD: u8 = 1;
const VOUCH: u8 = 2;
const TAIL: u8 = 3;
const PAGE: u8 = 4;
const CHECKPOINT: u8 = 5;
const STAMP: u8 = 6;
const CONTENTS: u8 = 7;

const _: () = assert!(FILLED + 12 + entry::ENTRY_BYTES_MAX <= PLAIN_BYTES_MAX);

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// That is all there is now.
    All,
    /// There is more: ask at once.
    More,
    /// The cursor is of no use any more: take a snapshot.
    Snapshot,
    /// That was the last page of a snapshot.
    Last,
}

/// A frame of a feed's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Who answers.
    Head {
        /// From the authority to who answers.
        path: Vec<NodeId>,
        /// In how many milliseconds it would like to be asked again.
        again: u32,
    },
    /// Which key signs.
    Vouch(Vouch),
    /// Entries of the log, one behind the other.
    Tail {
        /// The number of the first one.
        first: u64,
        /// At least one.
        entries: Vec<Entry>,
    },
    /// Part of a snapshot, ascending by key.
    Page(Vec<Entry>),
    /// What covers entries.
    Checkpoint(Checkpoint),
    /// How new that is.
    Stamp(Stamp),
    /// Records that were asked for.
    Contents(Vec<Entry>),
    /// The last frame.
    End(End),
}

impl Frame {
    /// What a frame says; `None` where it is of a later version and may be passed over.
    pub fn read(raw: Raw) -> Result<Option<Self>> {
        let mut from = Read::new(WHAT, raw.payload.clone());
        let frame = match raw.kind {
            HEAD => {
                let nodes = usize::from(from.u8()?);
                if !(1..=HOPS_MAX).contains(&nodes) {
                    return Err(from.fail(format!("a path of {nodes} nodes, and 1 to {HOPS_MAX} are taken")));
                }
                let path = (0..nodes).map(|_| Ok(NodeId::new(from.array()?))).collect::<Result<_>>()?;
                Self::Head { path, again: from.u32()? }
            }
            VOUCH => return Ok(Some(Self::Vouch(Vouch::read(raw.payload)?))),
            CHECKPOINT => return Ok(Some(Self::Checkpoint(Checkpoint::read(raw.payload)?))),
            STAMP => return Ok(Some(Self::Stamp(Stamp::read(raw.payload)?))),
            TAIL => {
                let first = from.u64()?;
                let entries = entries(&mut from)?;
                if entries.is_empty() || first == 0 || first.checked_add(entries.len() as u64).is_none() {
                    return Err(from.fail(format!("{} entries from number {first} on", entries.len())));
                }
                Self::Tail { first, entries }
            }
            PAGE => {
                let entries = entries(&mut from)?;
                if entries.iter().any(Entry::is_gone) || !entries.is_sorted_by(|a, b| a.key() < b.key()) {
                    return Err(from.fail("a page that is out of order, or has a tombstone"));
                }
                Self::Page(entries)
            }
            CONTENTS => {
                let entries = entries(&mut from)?;
                if entries.iter().any(|entry| !matches!(entry.shown(), Shown::Record(_))) {
                    return Err(from.fail("what should have content has none"));
                }
                Self::Contents(entries)
            }
            END => Self::End(match from.u8()? {
                0 => End::All,
                1 => End::More,
                2 => End::Snapshot,
                3 => End::Last,
                other => return Err(from.fail(format!("an end of kind {other}"))),
            }),
            OPTIONAL.. => return Ok(None),
            other => return Err(from.fail(format!("a frame of kind {other}"))),
        };
        from.end()?;
        Ok(Some(frame))
    }

    /// Writes it. `Limit` where its path or its entries are too many: [`split`] makes frames that fit.
    pub fn write(&self, out: &mut Writer) -> Result<()> {
        match self {
            Self::Head { path, again } => {
                if !(1..=HOPS_MAX).contains(&path.len()) {
                    return Err(Error::Limit { what: WHAT, max: HOPS_MAX as u64, unit: "nodes in a path" });
                }
                let mut payload = vec![path.len() as u8];
                for node in path {
                    payload.extend_from_slice(node.bytes());
                }
                payload.extend_from_slice(&again.to_le_bytes());
                out.put(HEAD, &payload)
            }
            Self::Vouch(vouch) => out.put(VOUCH, &vouch.to_bytes()),
            Self::Tail { first, entries } => out.put(TAIL, &payload(&first.to_le_bytes(), entries)?),
            Self::Page(entries) => out.put(PAGE, &payload(&[], entries)?),
            Self::Checkpoint(checkpoint) => out.put(CHECKPOINT, &checkpoint.to_bytes()),
            Self::Stamp(stamp) => out.put(STAMP, &stamp.to_bytes()),
            Self::Contents(entries) => out.put(CONTENTS, &payload(&[], entries)?),
            Self::End(end) => out.put(
                END,
                &[match end {
                    End::All => 0,
                    End::More => 1,
                    End::Snapshot => 2,
                    End::Last => 3,
                }],
            ),
        }
    }
}

fn too_many() -> Error {
    Error::Limit { what: WHAT, max: ENTRIES_MAX as u64, unit: "entries" }
}

fn payload(before: &[u8], entries: &[Entry]) -> Result<Vec<u8>> {
    if entries.len() > ENTRIES_MAX {
        return Err(too_many());
    }
    let mut out = Vec::with_capacity(before.len() + 4 + entries.iter().map(entry::len).sum::<usize>());
    out.extend_from_slice(before);
    out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    for entry in entries {
        entry::write(&mut out, entry);
    }
    Ok(out)
}

fn entries(from: &mut Read) -> Result<Vec<Entry>> {
    let count = from.u32()? as usize;
    if count > ENTRIES_MAX {
        return Err(too_many());
    }
    // What it claims is not believed before it is there: the shortest entry has 22 bytes.
    let mut entries = Vec::with_capacity(count.min(from.left() / 22));
    for _ in 0..count {
        entries.push(entry::read(from)?);
    }
    Ok(entries)
}

/// How many of the first entries go into one frame; at least one where there is any.
pub fn split(entries: &[Entry]) -> usize {
    let mut filled = 0;
    let fits = entries.iter().take(ENTRIES_MAX).take_while(|entry| {
        let room = filled < FILLED;
        filled += entry::len(entry);
        room
    });
    fits.count()
}

/// The values of a whole answer that lies in memory.
pub fn read_all(magic: &'static [u8; 8], bytes: &Bytes) -> Result<Vec<Frame>> {
    let mut reader = crate::wire::peer::raw::Reader::new(magic);
    reader.push(bytes);
    let mut frames = Vec::new();
    while let Some(raw) = reader.frame()? {
        frames.extend(Frame::read(raw)?);
    }
    reader.finish()?;
    Ok(frames)
}
