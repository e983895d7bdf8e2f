//! Bytes -> one block of plain LZ77 (MS-XCA 2.3.4).
//!
//! Matches are found by the hash of three bytes and a short chain of earlier places with the same hash. What packs an answer
//! stands in the way of that answer, so a longer search for a few per cent less is not worth it.

/// The farthest that a match reaches back (13 bits).
const WINDOW: usize = 8192;

/// The shortest match.
const MATCH_MIN: usize = 3;

/// How many earlier places are tried.
const CHAIN_MAX: usize = 12;

/// A match of this length ends the search: the next place would gain next to nothing.
const GOOD_LENGTH: usize = 64;

/// Inside of a longer match only this many places at its end are remembered: its beginning is found where it was found.
const REMEMBERED_MAX: usize = 48;

/// The hash has so many bits: a block has at most as many places.
const HASH_BITS: u32 = 14;

/// Where three bytes were seen. Places are counted from one, so that zero is none.
#[derive(Debug)]
pub(super) struct Tables {
    /// By hash: the last place.
    last: Vec<u16>,
    /// By place, modulo the window: the place before it with the same hash.
    before: Vec<u16>,
}

impl Tables {
    pub(super) fn new() -> Self {
        Self { last: vec![0; 1 << HASH_BITS], before: vec![0; WINDOW] }
    }

    /// Remembers the place `at` and tells the last one with the same hash, if `plain` has three bytes there.
    fn remember(&mut self, plain: &[u8], at: usize) -> Option<usize> {
        let last = self.last.get_mut(hash(plain, at)?)?;
        let before = self.before.get_mut(at % WINDOW)?;
        *before = *last;
        *last = u16::try_from(at + 1).ok()?;
        usize::from(*before).checked_sub(1)
    }

    /// The place with the same hash before `place`.
    fn before(&self, place: usize) -> Option<usize> {
        usize::from(*self.before.get(place % WINDOW)?).checked_sub(1)
    }

    /// The longest match for what stands at `at`: its length and how far back it begins. Remembers the place.
    fn longest(&mut self, plain: &[u8], at: usize) -> Option<(usize, usize)> {
        let here = plain.get(at..)?;
        let mut next = self.remember(plain, at);
        let mut best = None;
        let mut length = MATCH_MIN - 1;
        for _ in 0..CHAIN_MAX {
            // What the window no longer holds may name any place.
            let Some(place) = next.filter(|place| *place < at && at - place < WINDOW) else { break };
            // A longer one must agree where the best so far ends.
            if here.get(length).is_some_and(|byte| plain.get(place + length) == Some(byte)) {
                let found = common(here, plain.get(place..).unwrap_or_default());
                if found > length {
                    length = found;
                    best = Some((found, at - place));
                    if found >= GOOD_LENGTH {
                        break;
                    }
                }
            }
            next = self.before(place);
        }
        best
    }
}

fn hash(plain: &[u8], at: usize) -> Option<usize> {
    let [a, b, c] = *plain.get(at..)?.first_chunk()?;
    let word = u32::from_le_bytes([0, a, b, c]);
    usize::try_from(word.wrapping_mul(0x9e37_79b1) >> (u32::BITS - HASH_BITS)).ok()
}

/// How many bytes the two begin with alike.
fn common(one: &[u8], other: &[u8]) -> usize {
    let mut count = 0;
    for (a, b) in one.chunks_exact(8).zip(other.chunks_exact(8)) {
        if let (Ok(a), Ok(b)) = (a.try_into(), b.try_into()) {
            let differs = u64::from_le_bytes(a) ^ u64::from_le_bytes(b);
            if differs != 0 {
                return count + differs.trailing_zeros() as usize / 8;
            }
        }
        count += 8;
    }
    let rest = one.iter().skip(count).zip(other.iter().skip(count));
    count + rest.take_while(|(a, b)| a == b).count()
}

/// What is being written.
struct Sink<'a> {
    out: &'a mut Vec<u8>,
    flags: u32,
    count: u32,
    /// Where the flags go that are being gathered.
    flags_at: usize,
    /// Where a byte stands whose upper half is free.
    nibble_at: Option<usize>,
}

impl Sink<'_> {
    fn flag(&mut self, is_match: bool) {
        self.flags = self.flags << 1 | u32::from(is_match);
        self.count += 1;
        if self.count == u32::BITS {
            self.settle(self.flags);
            (self.flags, self.count, self.flags_at) = (0, 0, self.out.len());
            self.out.extend_from_slice(&[0; 4]);
        }
    }

    fn settle(&mut self, flags: u32) {
        for (slot, byte) in self.out.iter_mut().skip(self.flags_at).zip(flags.to_le_bytes()) {
            *slot = byte;
        }
    }

    fn nibble(&mut self, value: u8) {
        if let Some(byte) = self.nibble_at.take().and_then(|at| self.out.get_mut(at)) {
            *byte |= value << 4;
        } else {
            self.nibble_at = Some(self.out.len());
            self.out.push(value);
        }
    }

    fn matched(&mut self, length: usize, distance: usize) {
        let more = length - MATCH_MIN;
        // Both fit by how they were found: 13 bits and 3 bits.
        let pair = (distance - 1) << 3 | more.min(7);
        self.out.extend_from_slice(&(pair as u16).to_le_bytes());
        if more >= 7 {
            self.nibble((more - 7).min(15) as u8);
            if more >= 7 + 15 {
                let byte = (more - 7 - 15).min(255) as u8;
                self.out.push(byte);
                if byte == 255 {
                    // A block has fewer than 65,536 bytes.
                    self.out.extend_from_slice(&(more as u16).to_le_bytes());
                }
            }
        }
        self.flag(true);
    }
}

/// Appends what stands for `plain`, which has at most 65,535 bytes.
pub(super) fn block(tables: &mut Tables, plain: &[u8], out: &mut Vec<u8>) {
    tables.last.fill(0);
    let flags_at = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut sink = Sink { out, flags: 0, count: 0, flags_at, nibble_at: None };
    let mut at = 0;
    while let Some(byte) = plain.get(at) {
        let Some((length, distance)) = tables.longest(plain, at) else {
            sink.out.push(*byte);
            sink.flag(false);
            at += 1;
            continue;
        };
        sink.matched(length, distance);
        for place in (at + 1).max((at + length).saturating_sub(REMEMBERED_MAX))..at + length {
            tables.remember(plain, place);
        }
        at += length;
    }
    // The flags that are left over say that there is a match, where nothing stands any more: the end.
    let left = u32::BITS - sink.count;
    let flags = u32::try_from(((u64::from(sink.flags) + 1) << left) - 1).unwrap_or(u32::MAX);
    sink.settle(flags);
}
