//! An encoder of LZX ([MS-PATCH] 2, window 21, as real servers use): one verbatim block in each frame of 32 KiB, greedy
//! matches, no repeated offsets, no translation of calls. Or stored: one uncompressed block in each frame.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Uncompressed bytes of a frame.
pub(crate) const FRAME: usize = 0x8000;

/// Position slots of a window of 2 MiB.
const SLOTS: usize = 50;
const MAIN: usize = 256 + 8 * SLOTS;
const LENGTHS: usize = 249;
const PRE: usize = 20;

/// The longest code of the two trees, and of the tree that their lengths are written with.
const DEEP: u8 = 16;
const PRE_DEEP: u8 = 15;

const MATCH_MIN: usize = 3;
const MATCH_MAX: usize = 257;

/// How far back matches are looked for: a frame before, so that an encoder holds little.
const REACH: usize = 2 * FRAME;

/// Bits, from the top of 16-bit little-endian words.
#[derive(Default)]
struct Bits {
    out: Vec<u8>,
    held: u32,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u32, bits: u32) {
        let mut left = bits;
        while left > 0 {
            let take = left.min(16 - self.count);
            let part = value >> (left - take) & ((1 << take) - 1);
            self.held = self.held << take | part;
            self.count += take;
            left -= take;
            if self.count == 16 {
                self.out.extend((self.held as u16).to_le_bytes());
                (self.held, self.count) = (0, 0);
            }
        }
    }

    fn align(&mut self) {
        if self.count > 0 {
            self.put(0, 16 - self.count);
        }
    }
}

/// Lengths of codes for these counts, none longer than `deepest`.
fn lengths(counts: &[u32], deepest: u8) -> Vec<u8> {
    let mut scaled: Vec<u64> = counts.iter().map(|count| u64::from(*count)).collect();
    // A tree of one leaf has no bits; a second leaf makes it one that every reader takes.
    let used = scaled.iter().filter(|count| **count > 0).count();
    for count in scaled.iter_mut().filter(|count| **count == 0).take(2usize.saturating_sub(used)) {
        *count = 1;
    }
    loop {
        let mut heap = BinaryHeap::new();
        // Leaves first, then what joins two: parent of each.
        let mut parents: Vec<usize> = vec![0; scaled.len()];
        for (at, count) in scaled.iter().enumerate().filter(|(_, count)| **count > 0) {
            heap.push(Reverse((*count, at)));
        }
        while let (Some(Reverse((one, left))), Some(Reverse((two, right)))) = (heap.pop(), heap.pop()) {
            let node = parents.len();
            parents.push(0);
            for child in [left, right] {
                if let Some(parent) = parents.get_mut(child) {
                    *parent = node;
                }
            }
            heap.push(Reverse((one + two, node)));
            if heap.len() == 1 {
                break;
            }
        }
        let depth = |mut at: usize| {
            let mut depth = 0u32;
            while let Some(parent) = parents.get(at).copied().filter(|parent| *parent > 0) {
                at = parent;
                depth += 1;
            }
            depth
        };
        let found: Vec<u32> =
            scaled.iter().enumerate().map(|(at, count)| if *count > 0 { depth(at) } else { 0 }).collect();
        if found.iter().all(|depth| *depth <= u32::from(deepest)) {
            return found.into_iter().map(|depth| depth as u8).collect();
        }
        for count in scaled.iter_mut().filter(|count| **count > 0) {
            *count = *count / 2 + 1;
        }
    }
}

/// The codes that follow from lengths: shorter first, then in order.
fn codes(lengths: &[u8]) -> Vec<u32> {
    let mut codes = vec![0; lengths.len()];
    let mut next = 0;
    for length in 1..=DEEP {
        for (code, _) in codes.iter_mut().zip(lengths).filter(|(_, own)| **own == length) {
            *code = next;
            next += 1;
        }
        next <<= 1;
    }
    codes
}

/// A tree to write with.
struct Tree {
    lengths: Vec<u8>,
    codes: Vec<u32>,
}

impl Tree {
    fn new(counts: &[u32], deepest: u8) -> Self {
        let lengths = lengths(counts, deepest);
        let codes = codes(&lengths);
        Self { lengths, codes }
    }

    fn put(&self, bits: &mut Bits, symbol: usize) {
        if let (Some(code), Some(length)) = (self.codes.get(symbol), self.lengths.get(symbol)) {
            bits.put(*code, u32::from(*length));
        }
    }
}

/// Writes lengths as differences to those of the block before, through a tree of their own.
fn put_lengths(bits: &mut Bits, before: &[u8], now: &[u8]) {
    let symbols: Vec<usize> =
        before.iter().zip(now).map(|(before, now)| usize::from(*before + 17 - *now) % 17).collect();
    // Runs of zero lengths could be written shorter; plain differences are as legal.
    let mut counts = [0; PRE];
    for symbol in &symbols {
        if let Some(count) = counts.get_mut(*symbol) {
            *count += 1;
        }
    }
    let tree = Tree::new(&counts, PRE_DEEP);
    for length in &tree.lengths {
        bits.put(u32::from(*length), 4);
    }
    for symbol in symbols {
        tree.put(bits, symbol);
    }
}

/// Base and extra bits of each position slot.
fn slots() -> Vec<(u32, u32)> {
    let mut base = 0;
    (0..SLOTS as u32)
        .map(|slot| {
            let extra = if slot < 4 { 0 } else { (slot / 2 - 1).min(17) };
            let own = base;
            base += 1 << extra;
            (own, extra)
        })
        .collect()
}

enum Token {
    Literal(u8),
    Match { length: usize, offset: usize },
}

/// Encodes frame after frame; what came before may be matched.
pub(crate) struct Encoder {
    window: Vec<u8>,
    heads: Vec<u32>,
    /// Bytes that left the window's front.
    gone: usize,
    main: Vec<u8>,
    length: Vec<u8>,
    slots: Vec<(u32, u32)>,
    first: bool,
}

const HASH: usize = 1 << 15;

impl Encoder {
    pub(crate) fn new() -> Self {
        Self {
            window: Vec::new(),
            heads: vec![u32::MAX; HASH],
            gone: 0,
            main: vec![0; MAIN],
            length: vec![0; LENGTHS],
            slots: slots(),
            first: true,
        }
    }

    fn tokens(&mut self, frame: &[u8]) -> Vec<Token> {
        if self.window.len() > REACH {
            let drop = self.window.len() - FRAME;
            self.window.drain(..drop);
            self.gone += drop;
        }
        let start = self.window.len();
        self.window.extend_from_slice(frame);
        let window = &self.window;
        let mut found = Vec::with_capacity(frame.len() / 4);
        let mut at = start;
        while at < window.len() {
            let rest = window.get(at..).unwrap_or_default();
            let mut best = (0, 0);
            if let [a, b, c, d, ..] = rest {
                let hash = u32::from_le_bytes([*a, *b, *c, *d]).wrapping_mul(0x9e37_79b1) >> 17;
                if let Some(head) = self.heads.get_mut(hash as usize) {
                    let before = (*head as usize).wrapping_sub(self.gone);
                    if *head != u32::MAX && *head as usize >= self.gone && before < at {
                        let other = window.get(before..).unwrap_or_default();
                        let length = rest.iter().zip(other).take(MATCH_MAX).take_while(|(a, b)| a == b).count();
                        best = (length, at - before);
                    }
                    *head = (at + self.gone) as u32;
                }
            }
            if best.0 > MATCH_MIN {
                found.push(Token::Match { length: best.0, offset: best.1 });
                at += best.0;
            } else {
                found.extend(rest.first().map(|byte| Token::Literal(*byte)));
                at += 1;
            }
        }
        found
    }

    /// Slot, extra bits and their value for an offset.
    fn place(&self, offset: usize) -> (usize, u32, u32) {
        let formatted = offset as u32 + 2;
        let slot = self.slots.partition_point(|(base, _)| *base <= formatted).saturating_sub(1);
        let (base, extra) = self.slots.get(slot).copied().unwrap_or_default();
        (slot, extra, formatted - base)
    }

    /// One frame of at most [`FRAME`] bytes.
    pub(crate) fn frame(&mut self, frame: &[u8]) -> Vec<u8> {
        let tokens = self.tokens(frame);
        let (mut main, mut length) = (vec![0u32; MAIN], vec![0u32; LENGTHS]);
        let count = |counts: &mut Vec<u32>, symbol: usize| {
            if let Some(count) = counts.get_mut(symbol) {
                *count += 1;
            }
        };
        for token in &tokens {
            match token {
                Token::Literal(byte) => count(&mut main, usize::from(*byte)),
                Token::Match { length: long, offset } => {
                    let header = (long - 2).min(7);
                    count(&mut main, 256 + self.place(*offset).0 * 8 + header);
                    if header == 7 {
                        count(&mut length, long - 9);
                    }
                }
            }
        }
        let (main, length) = (Tree::new(&main, DEEP), Tree::new(&length, DEEP));
        let mut bits = Bits::default();
        if self.first {
            bits.put(0, 1);
        }
        self.first = false;
        bits.put(1, 3);
        bits.put(frame.len() as u32, 24);
        put_lengths(&mut bits, &self.main[..256], &main.lengths[..256]);
        put_lengths(&mut bits, &self.main[256..], &main.lengths[256..]);
        put_lengths(&mut bits, &self.length, &length.lengths);
        for token in &tokens {
            match token {
                Token::Literal(byte) => main.put(&mut bits, usize::from(*byte)),
                Token::Match { length: long, offset } => {
                    let header = (long - 2).min(7);
                    let (slot, extra, value) = self.place(*offset);
                    main.put(&mut bits, 256 + slot * 8 + header);
                    if header == 7 {
                        length.put(&mut bits, long - 9);
                    }
                    bits.put(value, extra);
                }
            }
        }
        bits.align();
        self.main = main.lengths;
        self.length = length.lengths;
        bits.out
    }
}

/// A frame of one stored block; `first` says whether it is the first of its folder.
///
/// No translation (only said in the first), type 3, 24 bits of size, padding to 16 bits, three offsets that nobody uses.
pub(crate) fn stored(frame: &[u8], first: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(frame.len() + 20);
    let bits = (3u32 << 24 | frame.len() as u32) << if first { 4 } else { 5 };
    out.extend(((bits >> 16) as u16).to_le_bytes());
    out.extend((bits as u16).to_le_bytes());
    for _ in 0..3 {
        out.extend(1u32.to_le_bytes());
    }
    out.extend(frame);
    if frame.len() % 2 == 1 {
        out.push(0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Choices;

    #[test]
    fn no_code_is_longer_than_allowed_and_every_tree_is_full() {
        let mut choice = Choices::of(&[3]);
        for deepest in [DEEP, PRE_DEEP] {
            for round in 0..50 {
                // Counts that grow as Fibonacci's make the deepest trees.
                let counts: Vec<u32> = (0..PRE)
                    .map(|at| if round == 0 { 1 << at } else { choice.below(1 << (round / 2)) as u32 })
                    .collect();
                let lengths = lengths(&counts, deepest);
                assert!(lengths.iter().all(|length| *length <= deepest));
                let full: u32 = lengths.iter().filter(|length| **length > 0).map(|length| 1 << (DEEP - *length)).sum();
                assert_eq!(full, 1 << DEEP, "{counts:?} {lengths:?}");
            }
        }
    }
}
