//! The three digests and the leaves of a proof.
//!
//! BLAKE3 is a tree over chunks of 1 KiB, so the *chaining value* of every aligned 64 KiB group can be computed alone, in
//! any order, and the whole-payload BLAKE3 follows from these values (BLAKE3 paper, section 2.1: the left part of every
//! node is the largest power of two of chunks that leaves something for the right). SHA-1 and SHA-256 are sequences: they
//! follow the bytes from the first to the last, and their state can be kept and taken up again.
//!
//! A payload of one group at most has no tree above it: its only leaf is its BLAKE3 itself (the root's finalisation
//! differs from a chaining value). An empty payload has one leaf too, the BLAKE3 of nothing.

use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use sha2::Digest;

use crate::base::digest::{Blake3, Digests, Sha1, Sha256};
use crate::base::limits::GROUP;
use crate::base::span::Span;

/// What SHA-1 and SHA-256 take in at a time. As long as updates are whole blocks, nothing has to be kept of one.
const BLOCK: usize = 64;

/// What a proof keeps of one group.
pub(crate) type Leaf = [u8; 32];

/// What hashing a whole payload gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hashed {
    /// All three digests.
    pub(crate) digests: Digests,
    /// One a group; at least one.
    pub(crate) leaves: Vec<Leaf>,
    /// The bytes bear the mark of a SHA-1 collision attack (only looked for where it was asked for): the SHA-1 says
    /// nothing about them.
    pub(crate) collision: bool,
}

/// Number of leaves of a payload of `size` bytes: one for every group begun, and one for an empty payload.
pub(crate) const fn groups(size: u64) -> u64 {
    let groups = size.div_ceil(GROUP);
    if groups == 0 { 1 } else { groups }
}

/// The bytes of group `index` of a payload of `size` bytes; empty beyond the end.
pub(crate) fn group(index: u64, size: u64) -> Span {
    let start = index.saturating_mul(GROUP).min(size);
    Span::new(start, start.saturating_add(GROUP).min(size))
}

/// The leaf of group `index` of a payload of `size` bytes. `bytes` are those of [`group`], no more and no less; others
/// give a leaf that fits no payload.
pub(crate) fn leaf(index: u64, size: u64, bytes: &[u8]) -> Leaf {
    let span = group(index, size);
    if span.len() != bytes.len() as u64 || size <= GROUP {
        return *blake3::hash(bytes).as_bytes();
    }
    blake3::Hasher::new().set_input_offset(span.start()).update(bytes).finalize_non_root()
}

/// The BLAKE3 of the payload that has these leaves, in order. No leaves at all are taken for the empty payload.
pub(crate) fn root(leaves: &[Leaf]) -> Blake3 {
    match leaves {
        [] => Blake3::new(*blake3::hash(b"").as_bytes()),
        [only] => Blake3::new(*only),
        _ => {
            let (left, right) = leaves.split_at(left_part(leaves.len()));
            let root = merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash);
            Blake3::new(*root.as_bytes())
        }
    }
}

/// The chaining value over `leaves`, of which there is at least one. As deep as the logarithm of their number.
fn subtree(leaves: &[Leaf]) -> Leaf {
    match leaves {
        [] => [0; 32],
        [only] => *only,
        _ => {
            let (left, right) = leaves.split_at(left_part(leaves.len()));
            merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
        }
    }
}

/// The largest power of two below `count`, which is two or more.
fn left_part(count: usize) -> usize {
    count.div_ceil(2).next_power_of_two()
}

/// Something that takes in bytes on whichever thread.
pub(crate) type Lane<'a> = Box<dyn FnMut(&[u8]) + Send + 'a>;

/// SHA-1 and SHA-256 over the bytes from the first on. A clone is a state to come back to.
#[derive(Clone)]
pub(crate) struct Running {
    chains: Chains,
    at: u64,
}

#[derive(Clone)]
enum Chains {
    Plain(Pair),
    /// The SHA-1 looks for the traces of known collision attacks, in software, at about a third of the speed: only where
    /// nothing but a SHA-1 is published.
    Checked(sha2::Sha256, CheckedSha1),
}

impl Running {
    /// At the first byte. `checked_sha1` where a SHA-1 is all that anybody published.
    pub(crate) fn new(checked_sha1: bool) -> Self {
        let chains = if checked_sha1 {
            Chains::Checked(sha2::Sha256::new(), CheckedSha1::new())
        } else {
            Chains::Plain(Pair::new())
        };
        Self { chains, at: 0 }
    }

    /// Bytes taken in so far.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Takes in the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for mut lane in self.lanes(bytes.len() as u64) {
            lane(bytes);
        }
    }

    /// What takes in the next `len` bytes, apart, so that each can have a thread: all of them must be given the same
    /// bytes in order. Two chains that overlap in one thread stay together.
    pub(crate) fn lanes(&mut self, len: u64) -> Vec<Lane<'_>> {
        self.at += len;
        match &mut self.chains {
            Chains::Plain(pair) => vec![Box::new(|bytes| pair.update(bytes))],
            // This SHA-1 keeps the processor busy by itself.
            Chains::Checked(sha256, sha1) => {
                vec![Box::new(|bytes| sha1.update(bytes)), Box::new(|bytes| sha256.update(bytes))]
            }
        }
    }

    /// Joined with the leaves of the same bytes.
    pub(crate) fn finish(self, leaves: Vec<Leaf>) -> Hashed {
        let (sha256, (sha1, collision)) = match self.chains {
            Chains::Plain(pair) => {
                let (sha256, sha1) = pair.finish();
                (sha256, (sha1, false))
            }
            Chains::Checked(sha256, sha1) => (Sha256::new(sha256.finalize().into()), sha1.finish()),
        };
        Hashed { digests: Digests { blake3: root(&leaves), sha1, sha256 }, leaves, collision }
    }
}

/// SHA-256 and SHA-1, a block of each in turn.
///
/// Either digest is a chain in which every instruction waits for the one before it; so close together, the processor works on
/// one chain while the other waits, which saves a third of the time. Both cut the bytes alike, and end alike: with a one bit,
/// zeros, and the length in bits in the last eight bytes of a block (FIPS 180-4, sections 5.1.1, 5.3.1, 5.3.3 and 6).
#[derive(Clone)]
struct Pair {
    sha256: [u32; 8],
    sha1: [u32; 5],
    /// The bytes of the block that is not full yet.
    begun: [u8; BLOCK],
    len: u64,
}

impl Pair {
    fn new() -> Self {
        Self {
            sha256: [
                0x6a09_e667,
                0xbb67_ae85,
                0x3c6e_f372,
                0xa54f_f53a,
                0x510e_527f,
                0x9b05_688c,
                0x1f83_d9ab,
                0x5be0_cd19,
            ],
            sha1: [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0],
            begun: [0; BLOCK],
            len: 0,
        }
    }

    fn blocks(&mut self, blocks: &[[u8; BLOCK]]) {
        for block in blocks {
            let block = std::slice::from_ref(block);
            sha2::block_api::compress256(&mut self.sha256, block);
            sha1::block_api::compress(&mut self.sha1, block);
        }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        let have = (self.len % BLOCK as u64) as usize;
        self.len += bytes.len() as u64;
        if have > 0 {
            let (more, rest) = bytes.split_at(bytes.len().min(BLOCK - have));
            self.begun[have..have + more.len()].copy_from_slice(more);
            if have + more.len() < BLOCK {
                return;
            }
            let full = self.begun;
            self.blocks(&[full]);
            bytes = rest;
        }
        let (blocks, rest) = bytes.as_chunks();
        self.blocks(blocks);
        self.begun[..rest.len()].copy_from_slice(rest);
    }

    fn finish(mut self) -> (Sha256, Sha1) {
        let bits = self.len.wrapping_mul(8).to_be_bytes();
        let have = (self.len % BLOCK as u64) as usize;
        let mut last = self.begun;
        last[have] = 0x80;
        last[have + 1..].fill(0);
        if have + 1 + bits.len() > BLOCK {
            self.blocks(&[last]);
            last.fill(0);
        }
        last[BLOCK - bits.len()..].copy_from_slice(&bits);
        self.blocks(&[last]);
        (Sha256::new(bytes_of(self.sha256)), Sha1::new(bytes_of(self.sha1)))
    }
}

/// The words of a digest, the most significant byte of each first.
fn bytes_of<const WORDS: usize, const BYTES: usize>(words: [u32; WORDS]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (place, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
        *place = word.to_be_bytes();
    }
    bytes
}

/// A SHA-1 alone, with collision detection. Boxed because its state is some kilobytes. The digest is wanted even of a
/// collision: it is compared and shown, the verdict stands beside.
#[derive(Clone)]
pub(crate) struct CheckedSha1(Box<sha1_checked::Sha1>);

impl CheckedSha1 {
    pub(crate) fn new() -> Self {
        Self(Box::new(sha1_checked::Sha1::builder().safe_hash(false).build()))
    }

    /// Takes in the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest, and whether the bytes bear the marks of a collision attack.
    pub(crate) fn finish(self) -> (Sha1, bool) {
        let result = self.0.try_finalize();
        (Sha1::new((*result.hash()).into()), result.has_collision())
    }
}

/// Hashes bytes that are all at hand.
#[cfg(test)]
pub(crate) fn whole(bytes: &[u8], checked_sha1: bool) -> Hashed {
    let size = bytes.len() as u64;
    let mut running = Running::new(checked_sha1);
    running.update(bytes);
    let leaves = (0..groups(size))
        .map(|index| {
            let span = group(index, size);
            leaf(index, size, &bytes[span.start() as usize..span.end() as usize])
        })
        .collect();
    running.finish(leaves)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        blake3::Hasher::new_derive_key("waystation test bytes").finalize_xof().fill(&mut bytes);
        bytes
    }

    fn check(size: usize) {
        let bytes = bytes(size);
        let hashed = whole(&bytes, false);
        assert_eq!(hashed.digests.blake3.as_bytes(), blake3::hash(&bytes).as_bytes(), "{size}");
        assert_eq!(hashed.leaves.len() as u64, groups(size as u64), "{size}");
    }

    #[test]
    fn the_root_of_the_leaves_is_the_blake3_at_every_odd_size() {
        for size in [0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 2049, 65_535, 65_536, 65_537] {
            check(size);
        }
        for groups in 2..=17 {
            for off in [-1025, -1, 0, 1, 1025] {
                check((groups * 65_536_isize + off).unsigned_abs());
            }
        }
    }

    #[test]
    fn sha1_and_sha256_are_those_of_others_at_every_length_and_cut() {
        let bytes = bytes(300);
        for len in 0..=bytes.len() {
            let bytes = &bytes[..len];
            for cut in [0, 1, 55, 63, 64, 65, 127, 128, 200] {
                let mut pair = Pair::new();
                let (first, rest) = bytes.split_at(cut.min(len));
                pair.update(first);
                pair.update(rest);
                let (sha256, sha1) = pair.finish();
                assert_eq!(sha256.as_bytes()[..], sha2::Sha256::digest(bytes)[..], "{len}, {cut}");
                assert_eq!(sha1.as_bytes()[..], sha1::Sha1::digest(bytes)[..], "{len}, {cut}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_root_of_the_leaves_is_the_blake3(size in 0_usize..3 << 20) {
            check(size);
        }

        #[test]
        fn the_running_digests_do_not_care_for_the_cuts(cuts in proptest::collection::vec(1_usize..5000, 0..40)) {
            let bytes = bytes(cuts.iter().sum());
            let mut running = Running::new(false);
            let mut at = 0;
            for cut in cuts {
                running = running.clone();
                running.update(&bytes[at..at + cut]);
                at += cut;
                prop_assert_eq!(running.at(), at as u64);
            }
            let leaves = whole(&bytes, false).leaves;
            prop_assert_eq!(running.finish(leaves), whole(&bytes, true));
        }
    }

    #[test]
    fn the_digests_are_the_published_ones() {
        let hashed = whole(b"abc", false);
        assert_eq!(hashed.digests.sha1.to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            hashed.digests.sha256.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hashed.digests.blake3.to_string(),
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
        );
        assert_eq!(whole(b"abc", true), hashed);
    }

    /// The first block pair of the two PDF files of the SHAttered attack (2017): the two prefixes differ and share a
    /// SHA-1 state from there on.
    #[test]
    fn a_known_collision_is_seen() {
        let prefix = "255044462d312e330a25e2e3cfd30a0a0a312030206f626a0a3c3c2f57696474682032203020522f4865696768742033203\
                      020522f547970652034203020522f537562747970652035203020522f46696c7465722036203020522f436f6c6f725370616\
                      3652037203020522f4c656e6774682038203020522f42697473506572436f6d706f6e656e7420383e3e0a73747265616d0af\
                      fd8fffe00245348412d3120697320646561642121212121852fec092339759c39b1a1c63c4c97e1fffe01";
        let one = "7f46dc93a6b67e013b029aaa1db2560b45ca67d688c7f84b8c4c791fe02b3df614f86db1690901c56b45c1530afedfb76038e97\
                   2722fe7ad728f0e4904e046c230570fe9d41398abe12ef5bc942be33542a4802d98b5d70f2a332ec37fac3514e74ddc0f2cc1a\
                   874cd0c78305a21566461309789606bd0bf3f98cda8044629a1";
        let other = "7346dc9166b67e118f029ab621b2560ff9ca67cca8c7f85ba84c79030c2b3de218f86db3a90901d5df45c14f26fedfb3dc38e9\
                     6ac22fe7bd728f0e45bce046d23c570feb141398bb552ef5a0a82be331fea48037b8b5d71f0e332edf93ac3500eb4ddc0decc\
                     1a864790c782c76215660dd309791d06bd0af3f98cda4bc4629b1";
        let parse = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let [one, other] = [one, other].map(|tail| whole(&[parse(prefix), parse(tail)].concat(), true));
        assert_eq!(one.digests.sha1, other.digests.sha1);
        assert_ne!(one.digests.sha256, other.digests.sha256);
        assert!(one.collision && other.collision);
    }
}
