//! The set of live records, as their hashes, and the one hash over all of them.
//!
//! The root is a function of the set and not of its history. It is a tree of fixed shape: 65,536 buckets by the first 16 bits of the key's
//! hash, 256 branches of 256 buckets. A change costs its bucket, its branch and the root, some microseconds, and many at once cost each of
//! these once. A leaf takes 84 bytes of memory.

use std::fmt;

use crate::model::chain::hash::{KeyHash, LiveRoot, RecordHash, tree};
use crate::model::chain::ids::Audience;

const BUCKET: &str = "waystation chain 1 bucket";
const BRANCH: &str = "waystation chain 1 branch";
const LIVE: &str = "waystation chain 1 live";

/// What is live under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Under what.
    pub key: KeyHash,
    /// Which record.
    pub record: RecordHash,
    /// For whom it is.
    pub audience: Audience,
    /// Whether this node has its content; not part of the root.
    pub held: bool,
}

impl Leaf {
    fn is_same(&self, other: &Self) -> bool {
        (self.key, self.record, self.audience) == (other.key, other.record, other.audience)
    }
}

#[derive(Clone)]
struct Bucket {
    /// Ascending by key.
    leaves: Vec<Leaf>,
    /// `None`: changed since.
    hash: Option<[u8; 32]>,
}

#[derive(Clone)]
struct Branch {
    /// 256 of them.
    buckets: Vec<Bucket>,
    /// `None`: changed since.
    hash: Option<[u8; 32]>,
}

impl Branch {
    fn new() -> Self {
        Self { buckets: vec![Bucket { leaves: Vec::new(), hash: Some([0; 32]) }; 256], hash: Some([0; 32]) }
    }

    fn hash(&mut self) -> [u8; 32] {
        if let Some(hash) = self.hash {
            return hash;
        }
        let mut all = Vec::with_capacity(256 * 32);
        for bucket in &mut self.buckets {
            all.extend_from_slice(&bucket.hash());
        }
        let hash = if all.iter().all(|byte| *byte == 0) { [0; 32] } else { tree(BRANCH, &[&all]) };
        *self.hash.insert(hash)
    }
}

impl Bucket {
    fn hash(&mut self) -> [u8; 32] {
        if let Some(hash) = self.hash {
            return hash;
        }
        let mut all = Vec::with_capacity(80 * self.leaves.len());
        for leaf in &self.leaves {
            all.extend_from_slice(leaf.audience.bytes());
            all.extend_from_slice(leaf.key.bytes());
            all.extend_from_slice(leaf.record.bytes());
        }
        let hash = if all.is_empty() { [0; 32] } else { tree(BUCKET, &[&all]) };
        *self.hash.insert(hash)
    }
}

/// All live records.
#[derive(Clone)]
pub struct LiveSet {
    /// 256 of them, made when they are needed.
    branches: Vec<Option<Box<Branch>>>,
    len: u64,
}

impl Default for LiveSet {
    fn default() -> Self {
        Self { branches: vec![None; 256], len: 0 }
    }
}

impl fmt::Debug for LiveSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveSet({})", self.len)
    }
}

/// Which branch, and which bucket of it.
fn place(key: &KeyHash) -> (usize, usize) {
    let [high, low, ..] = *key.bytes();
    (usize::from(high), usize::from(low))
}

impl LiveSet {
    /// How many there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn bucket(&self, key: &KeyHash) -> Option<&Bucket> {
        let (branch, bucket) = place(key);
        self.branches.get(branch)?.as_ref()?.buckets.get(bucket)
    }

    /// What is live under a key.
    pub fn get(&self, key: &KeyHash) -> Option<&Leaf> {
        let leaves = &self.bucket(key)?.leaves;
        leaves.get(leaves.binary_search_by(|leaf| leaf.key.cmp(key)).ok()?)
    }

    fn touched(&mut self, key: &KeyHash) -> Option<(&mut Option<[u8; 32]>, &mut Bucket)> {
        let (branch, bucket) = place(key);
        let branch = self.branches.get_mut(branch)?.get_or_insert_with(|| Box::new(Branch::new()));
        Some((&mut branch.hash, branch.buckets.get_mut(bucket)?))
    }

    /// Puts a leaf in; gives what stood in its place.
    pub fn insert(&mut self, leaf: Leaf) -> Option<Leaf> {
        let (branch, bucket) = self.touched(&leaf.key)?;
        match bucket.leaves.binary_search_by(|other| other.key.cmp(&leaf.key)) {
            Ok(at) => {
                let old = std::mem::replace(bucket.leaves.get_mut(at)?, leaf);
                if !old.is_same(&leaf) {
                    (*branch, bucket.hash) = (None, None);
                }
                Some(old)
            }
            Err(at) => {
                bucket.leaves.insert(at, leaf);
                (*branch, bucket.hash) = (None, None);
                self.len += 1;
                None
            }
        }
    }

    /// Takes away what stands under a key, and gives it.
    pub fn remove(&mut self, key: &KeyHash) -> Option<Leaf> {
        self.get(key)?;
        let (branch, bucket) = self.touched(key)?;
        let at = bucket.leaves.binary_search_by(|leaf| leaf.key.cmp(key)).ok()?;
        let old = bucket.leaves.remove(at);
        (*branch, bucket.hash) = (None, None);
        self.len -= 1;
        Some(old)
    }

    /// Under this key there is this, or nothing; gives what was there.
    pub fn put(&mut self, key: &KeyHash, leaf: Option<Leaf>) -> Option<Leaf> {
        match leaf {
            Some(leaf) => self.insert(leaf),
            None => self.remove(key),
        }
    }

    /// The hash over all of them.
    pub fn root(&mut self) -> LiveRoot {
        let mut all = Vec::with_capacity(256 * 32);
        for branch in &mut self.branches {
            all.extend_from_slice(&branch.as_mut().map_or([0; 32], |branch| branch.hash()));
        }
        LiveRoot::new(tree(LIVE, &[&self.len.to_le_bytes(), &all]))
    }

    /// All of them, ascending by key.
    pub fn iter(&self) -> impl Iterator<Item = &Leaf> {
        self.branches.iter().flatten().flat_map(|branch| &branch.buckets).flat_map(|bucket| &bucket.leaves)
    }
}

impl FromIterator<Leaf> for LiveSet {
    fn from_iter<I: IntoIterator<Item = Leaf>>(leaves: I) -> Self {
        let mut set = Self::default();
        for leaf in leaves {
            set.insert(leaf);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The same from the page of the documentation alone: no tree is kept, no hash is remembered.
    fn plain(leaves: &BTreeMap<[u8; 32], ([u8; 16], [u8; 32])>) -> [u8; 32] {
        let mut live = blake3::Hasher::new_derive_key("waystation chain 1 live");
        live.update(&(leaves.len() as u64).to_le_bytes());
        for high in 0..=255_u8 {
            let buckets: Vec<[u8; 32]> = (0..=255_u8)
                .map(|low| {
                    let mut bucket = blake3::Hasher::new_derive_key("waystation chain 1 bucket");
                    let mut any = false;
                    for (key, (audience, record)) in leaves.iter().filter(|(key, _)| key[..2] == [high, low]) {
                        bucket.update(audience).update(key).update(record);
                        any = true;
                    }
                    if any { *bucket.finalize().as_bytes() } else { [0; 32] }
                })
                .collect();
            let mut branch = blake3::Hasher::new_derive_key("waystation chain 1 branch");
            branch.update(&buckets.concat());
            let empty = buckets.iter().all(|bucket| *bucket == [0; 32]);
            live.update(&if empty { [0; 32] } else { *branch.finalize().as_bytes() });
        }
        *live.finalize().as_bytes()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn the_root_follows_each_change_and_has_no_memory(
            steps in prop::collection::vec((0..4_u8, 0..3_u8, 0..3_u8, 0..4_u8), 1..40)
        ) {
            let (mut set, mut model) = (LiveSet::default(), BTreeMap::new());
            for (index, (high, low, rest, what)) in steps.into_iter().enumerate() {
                let mut key = [rest; 32];
                (key[0], key[1]) = (high * 85, low * 127);
                if what == 0 {
                    prop_assert_eq!(set.remove(&KeyHash::new(key)).is_some(), model.remove(&key).is_some());
                } else {
                    let leaf = Leaf {
                        key: KeyHash::new(key),
                        record: RecordHash::new([what; 32]),
                        audience: Audience::new([what; 16]),
                        held: index % 2 == 0,
                    };
                    prop_assert_eq!(set.insert(leaf).is_some(), model.insert(key, ([what; 16], [what; 32])).is_some());
                }
                if index % 7 == 0 {
                    let root = set.root();
                    prop_assert_eq!(root.bytes(), &plain(&model));
                }
            }
            let root = set.root();
            prop_assert_eq!(root.bytes(), &plain(&model));
            prop_assert_eq!(set.len(), model.len() as u64);
            prop_assert!(set.iter().map(|leaf| *leaf.key.bytes()).eq(model.keys().copied()));
            let mut again: LiveSet = set.iter().copied().collect();
            prop_assert_eq!(again.root(), set.root());
        }
    }
}
