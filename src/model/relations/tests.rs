//! Catalogs of a few updates, and random ones.

use std::collections::HashMap;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::model::update::{Clause, Kind, Members};

fn id(number: u8) -> UpdateId {
    UpdateId::new([number; 16])
}

fn revision(number: u8) -> Identity {
    Identity { id: id(number), revision: u32::from(number) }
}

fn bundle(number: u8, members: &[u8]) -> Update {
    let mut update = Update::new(revision(number), Kind::Software);
    update.bundles = members.iter().map(|member| Members { any_of: vec![revision(*member)] }).collect();
    update
}

fn needing(number: u8, prerequisites: &[u8]) -> Update {
    let mut update = Update::new(revision(number), Kind::Software);
    update.prerequisites =
        prerequisites.iter().map(|one| Clause { any_of: vec![id(*one)], is_category: *one % 2 == 0 }).collect();
    update
}

fn file(content: u8, size: u64) -> File {
    File {
        sha1: Sha1::new([content; 20]),
        sha256: None,
        name: format!("{content}.cab"),
        size,
        modified: None,
        patching: String::new(),
        encrypted: false,
    }
}

struct Catalog(HashMap<Identity, Update>);

impl Catalog {
    fn new(updates: impl IntoIterator<Item = Update>) -> Self {
        Self(updates.into_iter().map(|update| (update.identity, update)).collect())
    }

    #[allow(clippy::unnecessary_wraps, reason = "a look-up may fail, and this one stands for those that do")]
    fn look(&self, target: Target) -> Result<Option<&Update>, Infallible> {
        Ok(match target {
            Target::Revision(identity) => self.0.get(&identity),
            Target::Newest(id) => {
                self.0.values().filter(|update| update.identity.id == id).max_by_key(|update| update.identity.revision)
            }
        })
    }

    fn reach(&self, root: u8, follow: Follow) -> Closure {
        closure([Target::Revision(revision(root))], follow, 1000, |target| self.look(target), |_| {}).unwrap()
    }
}

fn numbers(found: &[Identity]) -> Vec<u32> {
    found.iter().map(|identity| identity.revision).collect()
}

#[test]
fn what_is_reached_is_reached_once_and_in_order() {
    let catalog = Catalog::new([bundle(1, &[2, 3]), bundle(2, &[4]), bundle(3, &[4, 9]), bundle(4, &[])]);
    let reached = catalog.reach(1, Follow::Bundles);
    assert_eq!(numbers(&reached.found), [1, 2, 4, 3]);
    assert_eq!(reached.missing, BTreeSet::from([Target::Revision(revision(9))]));
    assert_eq!(reached.circle, None, "two ways to one are no circle");
    assert_eq!(numbers(&catalog.reach(1, Follow::Prerequisites).found), [1]);
}

#[test]
fn prerequisites_mean_the_highest_revision() {
    let mut newer = needing(2, &[]);
    newer.identity.revision = 200;
    let mut both = needing(1, &[2, 8]);
    both.bundles = vec![Members { any_of: vec![revision(3), revision(4)] }];
    let catalog = Catalog::new([both, needing(2, &[]), newer, needing(3, &[]), needing(4, &[2])]);
    assert_eq!(numbers(&catalog.reach(1, Follow::Prerequisites).found), [1, 200]);
    let all = catalog.reach(1, Follow::Both);
    assert_eq!(numbers(&all.found), [1, 3, 4, 200]);
    assert_eq!(all.missing, BTreeSet::from([Target::Newest(id(8))]));
}

#[test]
fn circles_end_and_are_named() {
    let catalog = Catalog::new([bundle(1, &[2]), bundle(2, &[3]), bundle(3, &[2, 4]), bundle(4, &[4])]);
    let reached = catalog.reach(1, Follow::Bundles);
    assert_eq!(numbers(&reached.found), [1, 2, 3, 4]);
    assert_eq!(numbers(&reached.circle.unwrap()), [2, 3]);
    let own = Catalog::new([needing(5, &[5])]).reach(5, Follow::Prerequisites);
    assert_eq!((numbers(&own.found), numbers(&own.circle.unwrap())), (vec![5], vec![5]));
    let whole = whole(revision(1), |identity| catalog.look(Target::Revision(identity))).unwrap();
    assert!(whole.circular);
}

#[test]
fn a_closure_has_an_end() {
    let catalog = Catalog::new((0..50).map(|number| bundle(number, &[number + 1])));
    let reach =
        |max| closure([Target::Revision(revision(0))], Follow::Bundles, max, |target| catalog.look(target), |_| {});
    assert_eq!(reach(50).unwrap().found.len(), 50);
    assert_eq!(reach(49), Err(Error::Large { max: 49 }));
    let broken = closure([Target::Newest(id(0))], Follow::Both, 9, |_| Err::<Option<&Update>, _>("disk"), |_| {});
    assert_eq!(broken, Err(Error::Lookup("disk")));
}

#[test]
fn a_whole_is_the_sum_of_its_parts() {
    let mut first = bundle(2, &[]);
    first.files = vec![file(1, 10), file(2, 20)];
    (first.reboot, first.removable, first.impact) = (Reboot::CanRequest, true, Impact::Minor);
    let mut second = bundle(3, &[]);
    second.files = vec![file(2, 20), file(3, 30)];
    (second.reboot, second.removable, second.asks_user) = (Reboot::Always, true, true);
    second.impact = Impact::Minor;
    let parts = |second: &Update| Catalog::new([bundle(1, &[2, 3, 9]), first.clone(), second.clone()]);
    let catalog = parts(&second);
    let all = whole(revision(1), |identity| catalog.look(Target::Revision(identity))).unwrap();
    assert_eq!((all.reboot, all.asks_user, all.removable, all.impact), (Reboot::Always, true, true, Impact::Minor));
    assert_eq!((all.files.len(), all.bytes), (3, 60));
    assert_eq!((numbers(&all.revisions), numbers(&all.missing)), (vec![1, 2, 3], vec![9]));
    second.removable = false;
    let catalog = parts(&second);
    assert!(!whole(revision(1), |identity| catalog.look(Target::Revision(identity))).unwrap().removable);
}

proptest! {
    /// Beside a plain search: the same is reached, each once, and a circle is reported exactly where there is one.
    #[test]
    fn any_catalog_is_followed_to_its_end(edges in prop::collection::vec(prop::collection::vec(0u8..14, 0..4), 12)) {
        let updates: Vec<Update> = edges.iter().enumerate().map(|(at, to)| bundle(u8::try_from(at).unwrap(), to)).collect();
        let reached = Catalog::new(updates).reach(0, Follow::Bundles);
        let mut plain = BTreeSet::from([0u8]);
        while let Some(more) = plain.iter().flat_map(|from| edges.get(usize::from(*from)).into_iter().flatten()).copied().find(|to| !plain.contains(to)) {
            plain.insert(more);
        }
        let known: BTreeSet<u32> = plain.iter().filter(|at| **at < 12).map(|at| u32::from(*at)).collect();
        prop_assert_eq!(reached.found.len(), known.len());
        prop_assert_eq!(reached.found.iter().map(|one| one.revision).collect::<BTreeSet<_>>(), known.clone());
        prop_assert_eq!(reached.missing.len(), plain.len() - known.len());
        // Without a circle, taking away what leads nowhere takes away all.
        let mut left = known;
        while let Some(end) = left.iter().copied().find(|at| edges[*at as usize].iter().all(|to| !left.contains(&u32::from(*to)))) {
            left.remove(&end);
        }
        prop_assert_eq!(reached.circle.is_some(), !left.is_empty());
        if let Some(circle) = reached.circle {
            for (from, to) in circle.iter().zip(circle.iter().cycle().skip(1)) {
                prop_assert!(edges[from.revision as usize].iter().any(|edge| u32::from(*edge) == to.revision));
            }
        }
    }
}

#[test]
fn what_is_gathered_has_an_end_and_says_so() {
    let numbered = |number: u32| {
        let mut bytes = [7; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        Identity { id: UpdateId::new(bytes), revision: 1 }
    };
    let part = |number: u32, files: std::ops::Range<u32>| {
        let mut update = Update::new(numbered(number), Kind::Software);
        update.removable = true;
        update.files = files
            .map(|content| {
                let mut sha1 = [0; 20];
                sha1[..4].copy_from_slice(&content.to_be_bytes());
                File { sha1: Sha1::new(sha1), ..file(0, 3) }
            })
            .collect();
        update
    };
    let of = |parts: Vec<Update>| {
        let mut root = bundle(1, &[]);
        root.bundles = parts.iter().map(|part| Members { any_of: vec![part.identity] }).collect();
        let catalog = Catalog::new(parts.into_iter().chain([root]));
        whole(revision(1), |identity| catalog.look(Target::Revision(identity))).unwrap()
    };
    let limit = u32::try_from(WHOLE_REVISIONS_MAX).unwrap();
    let many = of((0..limit + 100).map(|number| part(number, number..number + 1)).collect());
    assert_eq!((many.revisions.len(), many.files.len()), (WHOLE_REVISIONS_MAX, WHOLE_REVISIONS_MAX - 1));
    assert!(many.cut && !many.removable && many.missing.is_empty());
    let whole = of((0..limit - 1).map(|number| part(number, number..number + 1)).collect());
    assert!(!whole.cut && whole.removable && whole.revisions.len() == WHOLE_REVISIONS_MAX);
    let limit = u32::try_from(WHOLE_FILES_MAX).unwrap();
    let large = of(vec![part(0, 0..limit - 1), part(1, 5..limit), part(2, 0..limit)]);
    assert!(!large.cut && large.files.len() == WHOLE_FILES_MAX, "the same files again are no more");
    let large = of(vec![part(0, 0..limit - 1), part(1, 5..limit + 1), part(2, 0..1)]);
    assert!(large.cut && large.files.len() == WHOLE_FILES_MAX && large.bytes == 3 * u64::from(limit));
}
