//! Files of updates: name, size and bytes follow from the seed; digests are counted when first needed, and kept.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::guid::Guid;
use crate::names::LANGUAGES;
use crate::random::{Choices, file_bytes, join};
use crate::world::{Role, Shape, World};

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// Its group; of a licence, the place of the product that it is for.
    pub(crate) group: u32,
    pub(crate) member: u8,
    pub(crate) number: u8,
    pub(crate) edition: u8,
    pub(crate) licence: bool,
}

/// What is known of a file without its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) key: Key,
    pub(crate) name: String,
    pub(crate) size: u64,
    /// `PatchingType`; empty where nothing is said.
    pub(crate) patching: &'static str,
    /// When it was made, in ms.
    pub(crate) modified: i64,
    /// Language, where it is a licence.
    pub(crate) language: &'static str,
}

impl Spec {
    pub(crate) fn extension(&self) -> &str {
        self.name.rsplit_once('.').map_or("bin", |(_, extension)| extension)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digests {
    pub(crate) sha1: [u8; 20],
    pub(crate) sha256: [u8; 32],
}

/// The seed of a file's bytes.
pub(crate) fn seed_of(world_seed: u64, key: Key) -> u64 {
    join(&[
        world_seed,
        0xf11e,
        u64::from(key.group),
        u64::from(key.member),
        u64::from(key.number),
        u64::from(key.edition),
        u64::from(key.licence),
    ])
}

/// Counts both digests of a file.
fn count(seed: u64, size: u64) -> Digests {
    let (mut sha1, mut sha256) = (Sha1::new(), Sha256::new());
    let mut buf = vec![0; 64 << 10];
    let mut at = 0;
    while at < size {
        let take = buf.len().min((size - at) as usize);
        let Some(part) = buf.get_mut(..take) else { break };
        file_bytes(seed, at, part);
        sha1.update(&*part);
        sha256.update(&*part);
        at += take as u64;
    }
    Digests { sha1: sha1.finalize().into(), sha256: sha256.finalize().into() }
}

/// The digests that were counted so far.
#[derive(Default)]
pub(crate) struct Files {
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    digests: HashMap<Key, Digests>,
    by_sha1: HashMap<[u8; 20], Spec>,
    /// How many months were published when all were counted.
    whole: Option<i32>,
}

impl Files {
    pub(crate) fn digests(&self, world_seed: u64, spec: &Spec) -> Digests {
        if let Some(found) = self.known.read().unwrap_or_else(PoisonError::into_inner).digests.get(&spec.key) {
            return *found;
        }
        let digests = count(seed_of(world_seed, spec.key), spec.size);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.by_sha1.insert(digests.sha1, spec.clone());
        known.digests.insert(spec.key, digests);
        digests
    }

    /// The file with this SHA-1. One that no document named since the start is looked for by counting all of them, once:
    /// a real server knows its files after a restart too.
    pub(crate) fn find(&self, world: &World, scale: f64, sha1: &[u8; 20]) -> Option<Spec> {
        {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = known.by_sha1.get(sha1) {
                return Some(found.clone());
            }
            if known.whole == Some(world.month) {
                return None;
            }
        }
        for (number, group) in world.groups.iter().enumerate() {
            for member in 0..group.members {
                for revision in crate::world::FIRST..=group.revision(member) {
                    for spec in world.files(scale, number as u32, member, revision) {
                        self.digests(world.seed, &spec);
                    }
                }
            }
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.whole = Some(world.month);
        known.by_sha1.get(sha1).cloned()
    }
}

impl World {
    /// Whether the group's deployable update has a licence.
    pub(crate) fn has_licence(&self, number: u32) -> bool {
        self.group(number).is_some_and(|group| group.shape != Shape::Nested && group.shape != Shape::Driver)
            && Choices::of(&[self.seed, 0xe01a, u64::from(number)]).chance(25)
    }

    /// The id of the licence that an update needs: one for all of a product.
    pub(crate) fn licence_of(&self, number: u32) -> Option<Guid> {
        let product = self.group(number).filter(|_| self.has_licence(number))?.product;
        Some(Guid::made(join(&[self.seed, 0xe01a, u64::from(product)])))
    }

    /// The files that a revision's document names, licences at the end.
    pub(crate) fn files(&self, scale: f64, number: u32, member: u8, revision: u32) -> Vec<Spec> {
        let Some(group) = self.group(number) else { return Vec::new() };
        let mut found = Vec::new();
        let role = group.role(member);
        let edition = group.edition_at(member, revision);
        if matches!(role, Role::Alone | Role::Leaf | Role::Driver) {
            let mut choice = Choices::of(&[self.seed, 0xf17e, u64::from(number), u64::from(member)]);
            let express = group.shape == Shape::Bundle && choice.chance(250);
            let many = match group.shape {
                Shape::Upgrade => 8 + choice.below(12) as u8,
                _ => 1 + u8::from(express),
            };
            let kb = self.kb(number);
            let arch = ["x64", "x86", "arm64"][choice.below(3) as usize];
            for at in 0..many {
                let key = Key { group: number, member, number: at, edition, licence: false };
                let mut choice = Choices::of(&[seed_of(self.seed, key), 1]);
                // 4 KiB to 2 MiB, most of them small.
                let size = 4096.0 * (9.0 * choice.unit().powi(4)).exp2() + choice.unit() * 4096.0;
                let (name, patching) = match (group.shape, at) {
                    (Shape::Nested, _) => (format!("AM_Part{member}.exe"), ""),
                    (Shape::Driver, _) => (format!("driver-{number}.cab"), ""),
                    (Shape::Upgrade, 0) => (format!("Windows-KB{kb}-{arch}.wim"), "SelfContained"),
                    (Shape::Upgrade, _) => (format!("Windows-KB{kb}-{arch}-part{at}.esd"), "Canonical"),
                    (Shape::Bundle, 1) => (format!("Windows-KB{kb}-{arch}-{member}.psf"), "Express"),
                    (Shape::Bundle, _) => {
                        (format!("Windows-KB{kb}-{arch}-{member}.cab"), if express { "SelfContained" } else { "" })
                    }
                    (Shape::Single, _) => (format!("setup-kb{kb}-{arch}.exe"), ""),
                };
                let size = ((size * scale) as u64).max(64);
                found.push(Spec { key, name, size, patching, modified: group.born - 3_600_000, language: "" });
            }
        }
        if member == 0 && self.has_licence(number) {
            for (at, language) in ["en", "de", "ja"].iter().enumerate() {
                let key = Key { group: group.product, member: 0, number: at as u8, edition: 0, licence: true };
                let name = format!("Eula-{}-{language}.txt", group.product);
                let size = 3_000 + u64::from(group.product) * 17 + at as u64 * 101;
                let modified = crate::clock::BASE - 70 * crate::clock::MONTH;
                let language =
                    LANGUAGES.iter().find(|(_, short, _)| short == language).map_or("en", |(_, short, _)| short);
                found.push(Spec { key, name, size, patching: "", modified, language });
            }
        }
        found
    }

    /// The knowledge base article of a group.
    pub(crate) fn kb(&self, number: u32) -> u32 {
        5_000_000 + number + (join(&[self.seed, 0x6b62]) % 1000) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    #[test]
    fn a_file_is_found_by_its_digest_before_any_document_named_it() {
        let options = Options { updates: 60, file_scale: 0.01, ..Options::default() };
        let world = World::new(&options);
        let (one, two) = (Files::default(), Files::default());
        let spec = (0..world.groups.len() as u32)
            .flat_map(|group| {
                let last = world.group(group).map_or(0, |group| group.members);
                (0..last).map(move |member| (group, member))
            })
            .find_map(|(group, member)| world.files(0.01, group, member, 200).into_iter().next())
            .expect("a file");
        let digests = one.digests(world.seed, &spec);
        let found = two.find(&world, 0.01, &digests.sha1).expect("it is there");
        assert_eq!((found.key, found.size), (spec.key, spec.size));
        assert!(two.find(&world, 0.01, &[0; 20]).is_none());
    }
}
