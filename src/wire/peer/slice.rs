//! Part of the hash tree of a payload: what a range needs to be checked against the BLAKE3 of the whole.
//!
//! BLAKE3 is a tree over chunks of 1 KiB (BLAKE3 paper, section 2.1: the left part of every node is the largest power of two of chunks
//! that leaves something for the right). A *leaf* is what a proof keeps of one 64 KiB group: its chaining value, or, where the payload has
//! but one group, its BLAKE3 itself. The slice has the leaves of some groups in a row and the chaining values of the subtrees beside the
//! way to the root, the deepest first, of one depth left before right: from these the BLAKE3 is made and compared, so that whoever gave
//! the slice need not be believed. The size that it names is another matter: it shows in the length of the last group alone, so that who
//! reads others has to know it from elsewhere.

use std::ops::Range;

use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use bytes::{BufMut, Bytes, BytesMut};

use crate::base::digest::Blake3;
use crate::base::limits::{GROUP, OBJECT_BYTES_MAX};
use crate::base::span::Span;
use crate::wire::error::Result;
use crate::wire::peer::read::Read;

const MAGIC: &[u8; 8] = b"wayslice";
const WHAT: &str = "a part of a hash tree";
/// Groups that one slice tells of: 1 GiB, 512 KiB of leaves.
pub const GROUPS_MAX: u64 = 16_384;
/// Subtrees beside the way: two of each depth, of a tree that is higher than that of the largest object.
const SIBLINGS_MAX: usize = 64;
/// The longest slice.
pub const BYTES_MAX: usize = 8 + 8 + 8 + 4 + 32 * GROUPS_MAX as usize + 1 + 32 * SIBLINGS_MAX;

/// What stands for one group.
pub type Leaf = [u8; 32];

/// Number of groups of a payload: an empty one has one, too.
pub const fn groups(size: u64) -> u64 {
    let groups = size.div_ceil(GROUP);
    if groups == 0 { 1 } else { groups }
}

/// The bytes of a group; empty beyond the end.
pub fn group(index: u64, size: u64) -> Span {
    let start = index.saturating_mul(GROUP).min(size);
    Span::new(start, start.saturating_add(GROUP).min(size))
}

/// The leaf of a group with these bytes. Such as are not as long as the group give one that fits no payload.
pub fn leaf(index: u64, size: u64, bytes: &[u8]) -> Leaf {
    let span = group(index, size);
    if size <= GROUP || span.len() != bytes.len() as u64 {
        return *blake3::hash(bytes).as_bytes();
    }
    blake3::Hasher::new().set_input_offset(span.start()).update(bytes).finalize_non_root()
}

/// The leaves of some groups in a row, and what joins them to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    size: u64,
    first: u64,
    leaves: Vec<Leaf>,
    siblings: Vec<Leaf>,
}

/// A subtree: its leaves, and how deep it lies.
type Node = (u32, Range<u64>);

/// The two parts of a subtree of more than one leaf.
fn parts((depth, leaves): &Node) -> [Node; 2] {
    let count = leaves.end - leaves.start;
    let middle = leaves.start + count.div_ceil(2).next_power_of_two();
    [(depth + 1, leaves.start..middle), (depth + 1, middle..leaves.end)]
}

/// The subtrees beside the way from the `wanted` leaves to the root, in the order of the slice.
fn beside(all: u64, wanted: &Range<u64>) -> Vec<Node> {
    let (mut found, mut open) = (Vec::new(), vec![(0, 0..all)]);
    while let Some(node) = open.pop() {
        let leaves = &node.1;
        if leaves.end <= wanted.start || wanted.end <= leaves.start {
            found.push(node);
        } else if leaves.start < wanted.start || wanted.end < leaves.end {
            open.extend(parts(&node));
        }
    }
    found.sort_by_key(|(depth, leaves)| (std::cmp::Reverse(*depth), leaves.start));
    found
}

/// The chaining value of a subtree: from the leaves that the slice has, or given beside them.
fn value(node: &Node, slice: &Slice, known: &[(Node, Leaf)]) -> Option<Leaf> {
    let (wanted, range) = (slice.groups(), &node.1);
    if range.end <= wanted.start || wanted.end <= range.start {
        return known.iter().find(|(other, _)| other == node).map(|(_, value)| *value);
    }
    if range.end - range.start == 1 {
        return slice.leaf(range.start).copied();
    }
    let [left, right] = parts(node).map(|part| value(&part, slice, known));
    Some(merge_subtrees_non_root(&left?, &right?, Mode::Hash))
}

/// The whole tree of a payload: each level has the chaining values of two and two of the level below, and of what is left over there.
#[derive(Debug)]
pub struct Tree {
    size: u64,
    levels: Vec<Vec<Leaf>>,
}

impl Tree {
    /// Over all the leaves of a payload; `None` where there are more or fewer than it has.
    pub fn new(size: u64, leaves: Vec<Leaf>) -> Option<Self> {
        if leaves.len() as u64 != groups(size) {
            return None;
        }
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|below| below.len() > 2) {
            let pairs = below.chunks(2).map(|pair| match pair {
                [left, right] => merge_subtrees_non_root(left, right, Mode::Hash),
                rest => rest.first().copied().unwrap_or_default(),
            });
            let level = pairs.collect();
            levels.push(level);
        }
        Some(Self { size, levels })
    }

    /// The memory that it takes.
    pub fn bytes(&self) -> usize {
        self.levels.iter().map(|level| 32 * level.len()).sum()
    }

    /// What stands for a subtree.
    fn at(&self, (_, range): &Node) -> Option<Leaf> {
        let level = (range.end - range.start).next_power_of_two().trailing_zeros();
        let place = usize::try_from(range.start >> level).ok()?;
        self.levels.get(usize::try_from(level).ok()?)?.get(place).copied()
    }

    /// The groups from `first` on, at most `count` of them; `None` where there is no such group.
    pub fn slice(&self, first: u64, count: u64) -> Option<Slice> {
        let total = groups(self.size);
        let end = first.checked_add(count.min(GROUPS_MAX))?.min(total);
        if first >= end {
            return None;
        }
        let place = |at: u64| usize::try_from(at).ok();
        let leaves = self.levels.first()?.get(place(first)?..place(end)?)?.to_vec();
        let siblings = beside(total, &(first..end)).iter().map(|node| self.at(node)).collect::<Option<_>>()?;
        Some(Slice { size: self.size, first, leaves, siblings })
    }
}

impl Slice {
    /// The size of the payload, as it is said here.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Of which groups it tells.
    pub fn groups(&self) -> Range<u64> {
        self.first..self.first + self.leaves.len() as u64
    }

    /// The leaf of a group.
    pub fn leaf(&self, group: u64) -> Option<&Leaf> {
        self.leaves.get(usize::try_from(group.checked_sub(self.first)?).ok()?)
    }

    /// The BLAKE3 that follows from it; `None` where it fits no payload of its size.
    pub fn root(&self) -> Option<Blake3> {
        let total = groups(self.size);
        let nodes = beside(total, &self.groups());
        if nodes.len() != self.siblings.len() {
            return None;
        }
        if total == 1 {
            return self.leaves.first().map(|only| Blake3::new(*only));
        }
        let known: Vec<(Node, Leaf)> = nodes.into_iter().zip(self.siblings.iter().copied()).collect();
        let [left, right] = parts(&(0, 0..total)).map(|part| value(&part, self, &known));
        Some(Blake3::new(*merge_subtrees_root(&left?, &right?, Mode::Hash).as_bytes()))
    }

    /// As it goes over the wire.
    pub fn write(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(29 + 32 * (self.leaves.len() + self.siblings.len()));
        out.put_slice(MAGIC);
        out.put_u64_le(self.size);
        out.put_u64_le(self.first);
        out.put_u32_le(self.leaves.len() as u32);
        self.leaves.iter().for_each(|leaf| out.put_slice(leaf));
        out.put_u8(self.siblings.len() as u8);
        self.siblings.iter().for_each(|sibling| out.put_slice(sibling));
        out.freeze()
    }

    /// What came; nothing of it is believed before [`Slice::root`] is what it should be.
    pub fn read(bytes: Bytes) -> Result<Self> {
        let mut from = Read::new(WHAT, bytes);
        if &from.array::<8>()? != MAGIC {
            return Err(from.fail("it does not begin as one does"));
        }
        let (size, first, count) = (from.u64()?, from.u64()?, u64::from(from.u32()?));
        let is_inside = first.checked_add(count).is_some_and(|end| end <= groups(size));
        if size > OBJECT_BYTES_MAX || count == 0 || count > GROUPS_MAX || !is_inside {
            return Err(from.fail("it tells of groups that no payload has"));
        }
        let leaves = (0..count).map(|_| from.array()).collect::<Result<_>>()?;
        let siblings = from.u8()?;
        if usize::from(siblings) > SIBLINGS_MAX {
            return Err(from.fail("there are more subtrees beside it than any tree has"));
        }
        let siblings = (0..siblings).map(|_| from.array()).collect::<Result<_>>()?;
        from.end()?;
        Ok(Self { size, first, leaves, siblings })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn payload(size: usize) -> (Vec<u8>, Vec<Leaf>) {
        let mut bytes = vec![0; size];
        blake3::Hasher::new_derive_key("waystation slice test").finalize_xof().fill(&mut bytes);
        let leaves = (0..groups(size as u64)).map(|at| {
            let span = group(at, size as u64);
            leaf(at, size as u64, &bytes[span.start() as usize..span.end() as usize])
        });
        let leaves = leaves.collect();
        (bytes, leaves)
    }

    #[test]
    fn every_slice_of_small_payloads_makes_their_blake3() {
        for size in [0, 1, 1024, 65_535, 65_536, 65_537, 3 << 16, (5 << 16) + 1, 7 << 16, 8 << 16, (13 << 16) - 9] {
            let (bytes, leaves) = payload(size);
            let whole = Blake3::new(*blake3::hash(&bytes).as_bytes());
            let total = leaves.len() as u64;
            let tree = Tree::new(size as u64, leaves.clone()).unwrap();
            for first in 0..total {
                for count in 1..=total - first {
                    let slice = tree.slice(first, count).unwrap();
                    assert_eq!(slice.root(), Some(whole), "{size}: {count} from {first}");
                    assert!(slice.write().len() <= 29 + 32 * (count as usize + 8));
                    assert_eq!(Slice::read(slice.write()).unwrap(), slice);
                    assert_eq!(slice.leaf(first), leaves.get(first as usize));
                }
            }
            assert_eq!((tree.slice(total, 1), tree.slice(0, 0)), (None, None));
            assert!(Tree::new(size as u64 + (2 << 16), leaves).is_none());
        }
    }

    #[test]
    fn what_is_not_of_the_payload_makes_another_blake3() {
        let (bytes, leaves) = payload(9 << 16);
        let whole = Blake3::new(*blake3::hash(&bytes).as_bytes());
        let slice = Tree::new(9 << 16, leaves.clone()).unwrap().slice(2, 3).unwrap();
        let wire = slice.write();
        // The size is not in the tree, but for that the last group has a length and the groups have a number.
        for at in 16..wire.len() {
            let mut wrong = wire.to_vec();
            wrong[at] ^= 1;
            assert_ne!(Slice::read(wrong.into()).ok().and_then(|read| read.root()), Some(whole), "byte {at}");
        }
        assert_ne!(leaf(2, 9 << 16, &bytes[..1 << 16]), leaves[2], "a group in another place");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_bytes_make_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 0_u64..1 << 40, first in 0_u64..1 << 24) {
            let _ = Slice::read(bytes.clone().into()).map(|slice| slice.root());
            let mut head = [MAGIC.as_slice(), &size.to_le_bytes(), &first.to_le_bytes(), &2_u32.to_le_bytes()].concat();
            head.extend_from_slice(&[7; 64]);
            head.push((bytes.len() / 32) as u8);
            head.extend_from_slice(&bytes[..bytes.len() / 32 * 32]);
            let _ = Slice::read(head.into()).map(|slice| slice.root());
        }
    }
}
