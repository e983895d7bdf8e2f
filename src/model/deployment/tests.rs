//! Which word counts for whom, what can be said at all, and what is detected undecided.

use std::collections::{BTreeMap, BTreeSet};

use super::detection::{Candidate, Detection};
use super::inherit::{Asked, Standing, Words};
use super::*;
use crate::model::group::{Groups, Level, Node};
use crate::model::update::{Identity, Kind};

fn id(at: u8) -> UpdateId {
    UpdateId::new([at; 16])
}

fn group(at: u8) -> Group {
    Group(id(at))
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

/// Company 1, site 2 in it, groups 3 and 4 in that; 4 is there for tests. Company 5.
fn tree() -> Groups {
    tree_of(false)
}

/// The same where company 1 asks for reviews.
fn tree_of(asks_review: bool) -> Groups {
    let node = |of: u8, level, parent, is_test| Node {
        id: group(of),
        name: format!("group {of}"),
        level,
        parent,
        is_test,
        asks_review: asks_review && of == 1,
        rules: vec![],
    };
    Groups::new([
        node(3, Level::Group, group(2), false),
        node(4, Level::Group, group(2), true),
        node(2, Level::Site, group(1), false),
        node(1, Level::Company, Group::ALL_ENDPOINTS, false),
        node(5, Level::Company, Group::ALL_ENDPOINTS, false),
    ])
    .unwrap()
}

fn words(said: &[(Target, Said, u64)]) -> Words {
    let approval = |(target, said, ms): &(Target, Said, u64)| {
        (*target, Approval { update: id(9), target: *target, said: *said, by: "me".into(), at: at(*ms) })
    };
    Words { approvals: said.iter().map(approval).collect(), ..Words::default() }
}

fn act(action: Action) -> Said {
    Said::Do { action, deadline: None }
}

fn by(action: Action, ms: u64) -> Said {
    Said::Do { action, deadline: Some(at(ms)) }
}

fn ordered(action: Action, deadline: Option<u64>, changed: u64) -> Standing {
    Standing::Ordered { action, deadline: deadline.map(at), changed: at(changed) }
}

fn of_group(of: u8) -> Target {
    Target::Group(group(of))
}

#[test]
fn the_nearest_word_counts_and_not_approved_is_one() {
    let tree = tree();
    let asked = |groups: &[Group], words: &Words| words.standing(Asked { endpoint: None, groups, tree: &tree });
    let all = Target::Group(Group::ALL_ENDPOINTS);
    let said = words(&[
        (all, act(Action::PreDeploymentCheck), 1),
        (of_group(1), act(Action::Install), 2),
        (of_group(3), Said::NotApproved, 3),
        (of_group(4), Said::Inherit, 9),
    ]);
    assert_eq!(asked(&[group(5)], &said), ordered(Action::PreDeploymentCheck, None, 1));
    assert_eq!(asked(&[group(2)], &said), ordered(Action::Install, None, 2));
    assert_eq!(asked(&[group(3)], &said), Standing::Undecided { changed: Some(at(3)) });
    assert_eq!(asked(&[group(4)], &said), ordered(Action::Install, None, 9), "a word was withdrawn at 9");
    assert_eq!(asked(&[group(77)], &said), ordered(Action::PreDeploymentCheck, None, 1), "a group that went");
    assert_eq!(asked(&[], &said), Standing::Undecided { changed: None });
    let declined = Words { declined: Some(at(1)), ..said };
    assert_eq!(asked(&[group(2)], &declined), Standing::Declined);
}

#[test]
fn of_several_groups_the_strongest_action_counts_with_its_earliest_deadline() {
    let tree = tree();
    let asked = |words: &Words| {
        let groups = [group(3), group(4), group(5)];
        words.standing(Asked { endpoint: Some(Endpoint(id(8))), groups: &groups, tree: &tree })
    };
    let said = [
        (of_group(3), by(Action::Install, 500), 1),
        (of_group(4), by(Action::Install, 400), 2),
        (of_group(5), by(Action::Uninstall, 100), 3),
    ];
    assert_eq!(asked(&words(&said)), ordered(Action::Install, Some(400), 3));
    assert_eq!(
        asked(&words(&[said[0], (of_group(4), act(Action::Install), 2)])),
        ordered(Action::Install, Some(500), 2)
    );
    assert_eq!(
        asked(&words(&[said[2], (of_group(3), Said::NotApproved, 7)])),
        ordered(Action::Uninstall, Some(100), 7)
    );
    // What was said for the endpoint itself counts before all groups.
    let own = Target::Endpoint(Endpoint(id(8)));
    let with = |said_own| words(&[said[0], said[1], said[2], (own, said_own, 5)]);
    assert_eq!(asked(&with(act(Action::PreDeploymentCheck))), ordered(Action::PreDeploymentCheck, None, 5));
    assert_eq!(asked(&with(Said::NotApproved)), Standing::Undecided { changed: Some(at(5)) });
    assert_eq!(asked(&with(Said::Inherit)), ordered(Action::Install, Some(400), 5));
}

#[test]
fn a_review_stands_before_approvals_where_it_is_asked_for() {
    let (free, reviewed) = (tree(), tree_of(true));
    let mut said = words(&[(of_group(1), act(Action::Install), 1), (of_group(5), act(Action::Install), 1)]);
    let asked = |words: &Words, of: u8, review| {
        let tree = if review { &reviewed } else { &free };
        words.standing(Asked { endpoint: None, groups: &[group(of)], tree })
    };
    assert_eq!(asked(&said, 3, false), ordered(Action::Install, None, 1));
    assert_eq!(asked(&said, 4, true), Standing::Undecided { changed: Some(at(1)) }, "nobody reviewed it");
    assert_eq!(asked(&said, 5, true), ordered(Action::Install, None, 1), "another company asks for none");
    for (review, in_test, elsewhere) in
        [(Review::Held, false, false), (Review::InTest, true, false), (Review::Released, true, true)]
    {
        said.reviewed = Some(Reviewed::step(None, review, "me".into(), at(6)));
        for (of, is_there) in [(4, in_test), (3, elsewhere)] {
            let expected = ordered(Action::Install, None, 6);
            let expected = if is_there { expected } else { Standing::Undecided { changed: Some(at(6)) } };
            assert_eq!(asked(&said, of, true), expected, "{review:?} in {of}");
        }
    }
}

#[test]
fn a_deadline_does_not_run_while_a_review_holds_what_it_is_for() {
    let mut tree = tree_of(true);
    let mut said = words(&[(of_group(1), by(Action::Install, 100), 10)]);
    let step = |said: &mut Words, review, ms| {
        said.reviewed = Some(Reviewed::step(said.reviewed.as_ref(), review, "me".into(), at(ms)));
    };
    let deadline = |said: &Words, tree: &Groups, of: u8, endpoint| {
        let asked = Asked { endpoint, groups: &[group(of)], tree };
        match said.standing(asked) {
            Standing::Ordered { deadline, .. } => deadline.map(Timestamp::ms),
            _ => None,
        }
    };
    let both = |said: &Words, tree: &Groups| [4, 3].map(|of| deadline(said, tree, of, None));
    assert_eq!(both(&said, &tree), [None, None]);
    step(&mut said, Review::InTest, 30);
    assert_eq!(both(&said, &tree), [Some(120), None]);
    step(&mut said, Review::Released, 510);
    assert_eq!(both(&said, &tree), [Some(120), Some(600)], "those that try it out have had it all the time");
    step(&mut said, Review::Released, 700);
    assert_eq!(both(&said, &tree), [Some(120), Some(600)], "it was said again");
    step(&mut said, Review::Held, 800);
    step(&mut said, Review::Released, 910);
    assert_eq!(both(&said, &tree), [Some(1000), Some(1000)]);
    // What was said while nothing held it is as it was said; what is said for an endpoint is held by its groups.
    said.approvals.extend(words(&[(of_group(3), by(Action::Install, 2000), 950)]).approvals);
    assert_eq!(both(&said, &tree), [Some(1000), Some(2000)]);
    let own = Endpoint(id(8));
    said.approvals.extend(words(&[(Target::Endpoint(own), by(Action::Install, 100), 10)]).approvals);
    assert_eq!(deadline(&said, &tree, 4, Some(own)), Some(1000));
    // A licence that was accepted later still.
    let asked = Asked { endpoint: None, groups: &[group(4)], tree: &tree };
    assert!(
        matches!(said.standing_from(asked, at(2010)), Standing::Ordered { deadline: Some(until), .. } if until == at(2100))
    );
    // The company ceases to ask for reviews: what was held until then has its time anew, what was let before keeps it.
    let node = Node { asks_review: false, ..tree.get(group(1)).unwrap().clone() };
    tree.change(node).unwrap();
    tree.free(group(1), at(5010));
    assert_eq!(both(&said, &tree), [Some(1000), Some(2000)]);
    said.reviewed = None;
    assert_eq!(both(&said, &tree), [Some(5100), Some(6060)]);
    assert_eq!(deadline(&said, &tree, 5, None), None, "nothing was said for the other company");
}

#[test]
fn what_cannot_be_is_not_taken() {
    let update = Update { deployable: true, ..Update::new(Identity { id: id(1), revision: 1 }, Kind::Software) };
    let check = |said: Said, removable, asks| said.check(&update, removable, asks, at(1000));
    assert_eq!(check(by(Action::Install, 1001), false, false), Ok(()));
    assert_eq!(check(by(Action::Install, 1000), false, false), Err(Error::Past(at(1000))));
    assert_eq!(check(by(Action::Install, 1001), false, true), Err(Error::AsksUser(id(1))));
    assert_eq!(check(act(Action::Install), false, true), Ok(()));
    assert_eq!(
        check(by(Action::PreDeploymentCheck, 1001), true, false),
        Err(Error::NoDeadline(Action::PreDeploymentCheck))
    );
    assert_eq!(check(act(Action::Uninstall), false, false), Err(Error::NotRemovable(id(1))));
    assert_eq!(check(act(Action::Uninstall), true, false), Ok(()));
    for action in [Action::Evaluate, Action::Bundle, Action::Block] {
        assert_eq!(check(act(action), true, false), Err(Error::NotOrdered(action)));
    }
    let hidden = Update { deployable: false, ..update.clone() };
    assert_eq!(act(Action::Install).check(&hidden, true, false, at(0)), Err(Error::NotDeployable(id(1))));
}

#[test]
fn detection_is_by_product_classification_age_and_state() {
    let day = 86_400_000;
    let now = at(1000 * day + 5);
    let categories = [id(1), id(2)];
    let good = Candidate {
        kind: Kind::Software,
        deployable: true,
        refused: false,
        expired: false,
        categories: &categories,
        created: Some(Day::from(at(990 * day))),
    };
    let all = Detection::default();
    assert!(all.takes(&good, now));
    for bad in [
        Candidate { kind: Kind::Driver, ..good },
        Candidate { kind: Kind::Detectoid, ..good },
        Candidate { deployable: false, ..good },
        Candidate { refused: true, ..good },
        Candidate { expired: true, ..good },
    ] {
        assert!(!all.takes(&bad, now), "{bad:?}");
    }
    let of = |products: &[u8], classifications: &[u8], days| Detection {
        products: products.iter().copied().map(id).collect::<BTreeSet<_>>(),
        classifications: classifications.iter().copied().map(id).collect(),
        days,
    };
    assert!(of(&[1, 7], &[2], Some(10)).takes(&good, now));
    assert!(!of(&[7], &[2], None).takes(&good, now));
    assert!(!of(&[1], &[7], None).takes(&good, now));
    assert!(!of(&[], &[], Some(9)).takes(&good, now));
    assert!(of(&[], &[], Some(0)).takes(&Candidate { created: None, ..good }, now));
    assert!(of(&[], &[], Some(u32::MAX)).takes(&good, now));
}

#[test]
fn words_of_the_protocol_and_days() {
    for action in Action::ALL {
        assert_eq!(Action::of_word(action.word()), Some(action));
        assert_ne!(action.sent(), Action::Block);
    }
    assert_eq!(Action::of_word("install"), None);
    let strength: BTreeMap<Action, usize> = Action::ALL.into_iter().zip(0..).collect();
    assert!(strength.values().is_sorted(), "the order is that of the list");
    assert_eq!(Day::from(at(1_791_126_194_000)).to_string(), "2026-10-04");
    assert_eq!(Day::from(at(u64::MAX)).to_string(), "9999-12-31");
    assert_eq!(Day::default().to_string(), "1970-01-01");
}
