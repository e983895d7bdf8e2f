//! Rules asked of updates, by asserted steps.

use super::*;

fn id(at: u8) -> UpdateId {
    UpdateId::new([at; 16])
}

fn group(at: u8) -> Group {
    Group(id(at))
}

fn day(number: u64) -> Timestamp {
    Timestamp::from_ms(number * DAY_MS)
}

const SECURITY: &[UpdateId] = &[known::SECURITY_UPDATES];

fn update(categories: &[UpdateId]) -> Candidate<'_> {
    Candidate {
        kind: Kind::Software,
        categories,
        severity: Severity::Important,
        day: Some(Day::from(day(100))),
        is_offered: true,
    }
}

fn rings() -> Rule {
    Rule::patch_tuesday(&[group(1), group(2), group(3)])
}

#[test]
fn a_rule_takes_what_it_is_about() {
    let rule = rings();
    let of = |change: fn(&mut Candidate<'_>)| {
        let mut candidate = update(SECURITY);
        change(&mut candidate);
        rule.takes(&candidate)
    };
    assert!(of(|_| ()));
    assert!(!of(|update| update.is_offered = false));
    assert!(!of(|update| update.categories = &[known::DEFINITION_UPDATES]));
    assert!(!of(|update| update.categories = &[]));
    assert!(!Rule { enabled: false, ..rings() }.takes(&update(SECURITY)));

    let takes = Takes { severity: Severity::Critical, ..rings().takes };
    assert!(!Rule { takes, ..rings() }.takes(&update(SECURITY)));
    let takes = Takes { products: [id(7)].into(), ..rings().takes };
    let of_product = Rule { takes, ..rings() };
    assert!(!of_product.takes(&update(SECURITY)));
    assert!(of_product.takes(&update(&[id(7), known::SECURITY_UPDATES])));
}

#[test]
fn upgrades_and_drivers_are_in_no_rule_that_does_not_name_them() {
    let all = Rule { takes: Takes::default(), ..rings() };
    assert!(all.takes(&update(SECURITY)));
    for special in [known::UPGRADES, known::DRIVERS] {
        assert!(!all.takes(&update(&[special])));
        let takes = Takes { classifications: [special].into(), ..Takes::default() };
        assert!(Rule { takes, ..rings() }.takes(&update(&[special])));
    }
    assert!(!all.takes(&Candidate { kind: Kind::Driver, ..update(SECURITY) }));
}

#[test]
fn rings_follow_each_other_by_days() {
    let rule = Rule { deadline: Some(3), ..rings() };
    let at = |released: &[Timestamp], now| {
        let progress = Progress { released: released.to_vec(), overruled: None };
        rule.step(&update(SECURITY), &progress, Tried::default(), now)
    };
    assert_eq!(at(&[], day(99)), Step::Waits { ring: 0, until: day(100) });
    assert_eq!(at(&[], day(100)), Step::Releases { ring: 0, deadline: Some(day(103)) });
    assert_eq!(at(&[day(101)], day(107)), Step::Waits { ring: 1, until: day(108) });
    assert_eq!(at(&[day(101)], day(108)), Step::Releases { ring: 1, deadline: Some(day(111)) });
    assert_eq!(at(&[day(101), day(108)], day(109)), Step::Waits { ring: 2, until: day(115) });
    assert_eq!(at(&[day(101), day(108), day(115)], day(999)), Step::Done);

    let undated = Candidate { day: None, ..update(SECURITY) };
    let step = rings().step(&undated, &Progress::default(), Tried::default(), day(0));
    assert_eq!(step, Step::Releases { ring: 0, deadline: None });
}

#[test]
fn failures_stop_the_next_ring_until_fewer_fail_or_somebody_says_so() {
    let rule = rings();
    let at = |installed, failed, overruled| {
        let progress = Progress { released: vec![day(100)], overruled };
        rule.step(&update(SECURITY), &progress, Tried { installed, failed }, day(107))
    };
    let goes = Step::Releases { ring: 1, deadline: None };
    let stopped = |installed, failed| Step::Stopped { ring: 1, tried: Tried { installed, failed } };
    assert_eq!(at(0, 9, None), goes, "too few to say anything");
    assert_eq!(at(9, 1, None), goes, "a tenth is not more than a tenth");
    assert_eq!(at(8, 2, None), stopped(8, 2));
    assert_eq!(at(0, 10, None), stopped(0, 10));
    assert_eq!(at(18, 2, None), goes, "others succeeded since");
    assert_eq!(at(8, 2, Some(2)), goes);
    assert_eq!(at(8, 3, Some(2)), stopped(8, 3), "more failed since");
    assert_eq!(at(u32::MAX, u32::MAX, None), stopped(u32::MAX, u32::MAX));
    let first = rule.step(&update(SECURITY), &Progress::default(), Tried { installed: 0, failed: 99 }, day(107));
    assert_eq!(first, Step::Releases { ring: 0, deadline: None }, "nobody has tried it by this rule");
}

#[test]
fn what_cannot_be_a_rule_is_refused() {
    assert_eq!(rings().check(), Ok(()));
    assert_eq!(Rule::definitions(Group::ALL_ENDPOINTS).check(), Ok(()));
    let bad = |change: fn(&mut Rule)| {
        let mut rule = rings();
        change(&mut rule);
        rule.check().unwrap_err()
    };
    assert_eq!(bad(|rule| rule.name.clear()), Error::Name(String::new()));
    assert_eq!(bad(|rule| rule.name = " a".into()), Error::Name(" a".into()));
    assert!(matches!(bad(|rule| rule.rings.clear()), Error::Rings { many: 0, .. }));
    assert!(matches!(
        bad(|rule| rule.rings = (0..9).map(|at| Ring { target: group(at), after: 1 }).collect()),
        Error::Rings { many: 9, .. }
    ));
    assert!(matches!(bad(|rule| rule.rings[1].target = group(1)), Error::Twice(_)));
    assert!(matches!(bad(|rule| rule.rings[1].after = 367), Error::Days { days: 367, .. }));
    assert!(matches!(bad(|rule| rule.deadline = Some(0)), Error::Deadline(_)));
    assert!(matches!(bad(|rule| rule.stop = Some(Stop { percent: 100, sample: 1 })), Error::Stop { .. }));
    assert!(matches!(bad(|rule| rule.stop = Some(Stop { percent: 0, sample: 0 })), Error::Stop { .. }));
}
