//! A tree stays one, names and rules find what they should.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::rule::Pattern;
use super::*;

fn id(at: u16) -> Group {
    let mut bytes = [3; 16];
    bytes[..2].copy_from_slice(&at.to_be_bytes());
    Group(UpdateId::new(bytes))
}

fn node(at: u16, name: &str, level: Level, parent: Group) -> Node {
    Node { id: id(at), name: name.into(), level, parent, is_test: false, asks_review: false, rules: vec![] }
}

/// Contoso with Berlin and Rome, Pilot in both; Fabrikam.
fn tree() -> Groups {
    Groups::new([
        node(4, "Pilot", Level::Group, id(2)),
        node(2, "Berlin", Level::Site, id(1)),
        node(5, "Pilot", Level::Group, id(3)),
        node(3, "Rome", Level::Site, id(1)),
        node(1, "Contoso", Level::Company, Group::ALL_ENDPOINTS),
        node(6, "Fabrikam", Level::Company, Group::ALL_ENDPOINTS),
    ])
    .unwrap()
}

#[test]
fn ways_up_and_down() {
    let tree = tree();
    assert_eq!(tree.up(id(4)).collect::<Vec<_>>(), [id(4), id(2), id(1), Group::ALL_ENDPOINTS]);
    assert_eq!(tree.up(UNASSIGNED).collect::<Vec<_>>(), [UNASSIGNED, Group::ALL_ENDPOINTS]);
    let mut below = tree.below(id(1));
    below.sort_unstable();
    assert_eq!(below, [id(1), id(2), id(3), id(4), id(5)]);
    assert_eq!(tree.below(Group::ALL_ENDPOINTS).len(), 7);
    assert_eq!(tree.path(id(5)), "Contoso/Rome/Pilot");
    assert_eq!(tree.called("fabrikam"), Ok(id(6)));
    assert_eq!(tree.called("ROME/pilot"), Ok(id(5)));
    assert_eq!(tree.called("Contoso/Berlin/Pilot"), Ok(id(4)));
    assert!(matches!(tree.called("Pilot"), Err(Error::Ambiguous { paths, .. }) if paths.len() == 2));
    assert_eq!(tree.called("ilot"), Err(Error::Uncalled("ilot".into())));
}

#[test]
fn a_tree_stays_one() {
    let mut tree = tree();
    let before = tree.clone();
    let (add, root) = (|at, name: &str, level, parent| node(at, name, level, parent), Group::ALL_ENDPOINTS);
    for (wrong, why) in [
        (add(9, "PILOT", Level::Group, id(2)), Error::Taken("PILOT".into())),
        (add(4, "x", Level::Group, id(2)), Error::Known(id(4))),
        (add(9, "x", Level::Group, id(77)), Error::Unknown(id(77))),
        (add(9, "x", Level::Company, id(1)), Error::Misplaced("x".into())),
        (add(9, "x", Level::Site, id(2)), Error::Misplaced("x".into())),
        (add(9, "x", Level::Group, UNASSIGNED), Error::Misplaced("x".into())),
        (add(9, "a;b", Level::Group, root), Error::Name("a;b".into())),
        (add(9, "a/b", Level::Group, root), Error::Name("a/b".into())),
        (add(9, " a", Level::Group, root), Error::Name(" a".into())),
        (add(9, "", Level::Group, root), Error::Name(String::new())),
    ] {
        assert_eq!(tree.add(wrong), Err(why));
    }
    assert!(matches!(tree.add(add(9, &"x".repeat(NAME_MAX + 1), Level::Group, root)), Err(Error::Name(_))));
    assert_eq!(tree.change(add(1, "Contoso", Level::Group, id(2))), Err(Error::Circle("Contoso".into())));
    assert_eq!(tree.change(add(1, "Contoso", Level::Group, id(1))), Err(Error::Circle("Contoso".into())));
    assert_eq!(tree.change(add(1, "Contoso", Level::Site, root)), Err(Error::Misplaced("Berlin".into())));
    assert_eq!(tree.remove(id(1)), Err(Error::Parent("Contoso".into())));
    assert_eq!((tree.remove(UNASSIGNED), tree.remove(id(9))), (Err(Error::Fixed), Err(Error::Unknown(id(9)))));
    assert_eq!(tree, before, "what fails changes nothing");
    // A company with all its sites cannot go deeper than the tree is.
    let mut parent = id(4);
    for at in 0..5 {
        tree.add(node(100 + at, "deep", Level::Group, parent)).unwrap();
        parent = id(100 + at);
    }
    assert_eq!(tree.add(node(200, "deep", Level::Group, parent)), Err(Error::Deep("deep".into())));
    assert_eq!(tree.change(node(4, "Pilot", Level::Group, id(5))), Err(Error::Deep("Pilot".into())));
    tree.change(node(4, "Probe", Level::Group, id(3))).unwrap();
    assert_eq!(tree.path(id(100)), "Contoso/Rome/Probe/deep");
    assert_eq!(tree.children(id(2)).count(), 0);
    assert_eq!(tree.remove(id(2)).unwrap().name, "Berlin");
}

#[test]
fn what_is_no_tree_is_none() {
    let circle = [node(1, "a", Level::Group, id(2)), node(2, "b", Level::Group, id(1))];
    assert!(matches!(Groups::new(circle), Err(Error::Circle(_))));
    assert_eq!(Groups::new([node(1, "a", Level::Group, id(2))]), Err(Error::Unknown(id(2))));
    let many = (0..).map(|at: u16| node(at, &at.to_string(), Level::Group, Group::ALL_ENDPOINTS));
    assert_eq!(Groups::new(many.take(GROUPS_MAX + 1)), Err(Error::Many));
}

#[test]
fn rules_by_name_and_by_the_narrowest_subnet() {
    let with = |at, name: &str, rules: Vec<Rule>| Node { rules, ..node(at, name, Level::Group, Group::ALL_ENDPOINTS) };
    let net = |text: &str| Rule::Subnet(text.parse().unwrap());
    let tree = Groups::new([
        with(1, "all", vec![net("10.0.0.0/8"), net("fd00::/8")]),
        with(2, "site", vec![net("10.1.0.0/16")]),
        with(3, "twin", vec![net("10.2.0.0/16"), net("10.1.0.0/16")]),
        with(4, "kiosks", vec![Rule::Name("kiosk-*".parse().unwrap())]),
    ])
    .unwrap();
    let of = |name: &str, address: IpAddr| tree.by_rule(name, address).into_iter().collect::<Vec<_>>();
    let ten = |a, b| IpAddr::V4(Ipv4Addr::new(10, a, b, 1));
    assert_eq!(of("pc", ten(9, 0)), [id(1)]);
    assert_eq!(of("pc", ten(1, 0)), [id(2), id(3)]);
    assert_eq!(of("KIOSK-7", ten(9, 0)), [id(1), id(4)]);
    assert_eq!(of("pc", IpAddr::V6(Ipv4Addr::new(10, 2, 0, 1).to_ipv6_mapped())), [id(3)]);
    assert_eq!(of("pc", IpAddr::V6(Ipv6Addr::LOCALHOST)), []);
}

proptest! {
    /// Beside a matcher that tries everything.
    #[test]
    fn patterns_fit_what_they_should(pattern in "[ab*?]{1,8}", name in "[abA]{0,10}") {
        fn slow(pattern: &[u8], name: &[u8]) -> bool {
            match pattern.split_first() {
                None => name.is_empty(),
                Some((b'*', rest)) => (0..=name.len()).any(|at| slow(rest, &name[at..])),
                Some((letter, rest)) => {
                    name.split_first().is_some_and(|(first, after)| (*letter == b'?' || letter == first) && slow(rest, after))
                }
            }
        }
        let fits = pattern.parse::<Pattern>().unwrap().fits(&name);
        prop_assert_eq!(fits, slow(pattern.as_bytes(), name.to_lowercase().as_bytes()));
    }
}

#[test]
fn a_pattern_is_bounded() {
    let bad = [String::new(), "a b".into(), "a\n".into(), "x".repeat(256)];
    assert!(bad.iter().all(|text| text.parse::<Pattern>().is_err()));
    // The worst for going back: it is done at once all the same.
    let worst: Pattern = "*a".repeat(120).parse().unwrap();
    assert!(!worst.fits(&format!("{}b", "a".repeat(1000))));
}
