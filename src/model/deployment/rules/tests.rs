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
        is_superseded: false,
        is_begun: false,
    }
}

fn rings() -> Rule {
    Rule::patch_tuesday(&[group(1), group(2), group(3)])
}

fn has(at: u64) -> Standing {
    Standing::Has { since: Some(day(at)) }
}

fn known(rings: &[Standing], now: Timestamp) -> Known<'_> {
    Known { update: update(SECURITY), rings, stopped: None, overruled: None, tried: Tried::default(), pilot: 100, now }
}

#[test]
fn a_rule_takes_what_it_is_about() {
    let rule = rings();
    let of = |change: fn(&mut Candidate<'_>)| {
        let mut candidate = update(SECURITY);
        change(&mut candidate);
        rule.takes(&candidate, day(101))
    };
    assert!(of(|_| ()));
    assert!(!of(|update| update.is_offered = false));
    assert!(!of(|update| update.is_superseded = true));
    assert!(of(|update| (update.is_superseded, update.is_begun) = (true, true)), "it goes on with what it began");
    assert!(!of(|update| (update.is_offered, update.is_begun) = (false, true)));
    assert!(!of(|update| update.categories = &[known::DEFINITION_UPDATES]));
    assert!(!of(|update| update.categories = &[]));
    assert!(!Rule { enabled: false, ..rings() }.takes(&update(SECURITY), day(101)));

    let takes = Takes { severity: Severity::Critical, ..rings().takes };
    assert!(!Rule { takes, ..rings() }.takes(&update(SECURITY), day(101)));
    let takes = Takes { products: [id(7)].into(), ..rings().takes };
    let of_product = Rule { takes, ..rings() };
    assert!(!of_product.takes(&update(SECURITY), day(101)));
    assert!(of_product.takes(&update(&[id(7), known::SECURITY_UPDATES]), day(101)));
}

#[test]
fn what_is_too_old_is_not_begun_with_and_is_gone_on_with() {
    let rule = rings();
    assert!(rule.takes(&update(SECURITY), day(160)) && !rule.takes(&update(SECURITY), day(161)));
    assert!(rule.takes(&Candidate { is_begun: true, ..update(SECURITY) }, day(400)));
    assert!(rule.takes(&Candidate { day: None, ..update(SECURITY) }, day(400)), "it does not say how old it is");
    let takes = Takes { newest: None, ..rings().takes };
    assert!(Rule { takes, ..rings() }.takes(&update(SECURITY), day(9999)));
}

#[test]
fn upgrades_and_drivers_are_in_no_rule_that_does_not_name_them() {
    let now = day(101);
    let all = Rule { takes: Takes::default(), ..rings() };
    assert!(all.takes(&update(SECURITY), now));
    for special in [known::UPGRADES, known::DRIVERS] {
        assert!(!all.takes(&update(&[special]), now));
        // One that is called by another name too is still what it is.
        let both = [special, known::SECURITY_UPDATES];
        assert!(!rings().takes(&update(&both), now));
        let takes = Takes { classifications: [special].into(), ..Takes::default() };
        let named = Rule { takes, ..rings() };
        assert!(named.takes(&update(&[special]), now) && named.takes(&update(&both), now));
        assert!(!named.takes(&update(SECURITY), now));
    }
    assert!(!all.takes(&Candidate { kind: Kind::Driver, ..update(SECURITY) }, now));
    assert!(!rings().takes(&Candidate { kind: Kind::Driver, ..update(SECURITY) }, now));
    let takes = Takes { classifications: [known::DRIVERS].into(), ..Takes::default() };
    assert!(Rule { takes, ..rings() }.takes(&Candidate { kind: Kind::Driver, ..update(&[]) }, now));
}

#[test]
fn rings_follow_each_other_by_days() {
    let rule = Rule { deadline: Some(3), ..rings() };
    let at = |rings: &[Standing], now| rule.step(&known(rings, now));
    assert_eq!(at(&[], day(99)), Step::Waits { ring: 0, until: day(100) });
    assert_eq!(at(&[], day(100)), Step::Releases { ring: 0, deadline: Some(day(103)) });
    assert_eq!(at(&[has(101)], day(107)), Step::Waits { ring: 1, until: day(108) });
    assert_eq!(at(&[has(101)], day(108)), Step::Releases { ring: 1, deadline: Some(day(111)) });
    assert_eq!(at(&[has(101), has(108)], day(109)), Step::Waits { ring: 2, until: day(115) });
    assert_eq!(at(&[has(101), has(108), has(115)], day(120)), Step::Done);
    // A ring that has it by somebody else's word counts as one that has it.
    assert_eq!(at(&[Standing::Open, has(101)], day(101)), Step::Releases { ring: 0, deadline: Some(day(104)) });

    let undated = Known { update: Candidate { day: None, ..update(SECURITY) }, ..known(&[], day(0)) };
    assert_eq!(rings().step(&undated), Step::Releases { ring: 0, deadline: None });
}

#[test]
fn days_count_from_when_a_ring_is_offered_it() {
    let none = Standing::Has { since: None };
    let at = |rings_: &[Standing], now| rings().step(&known(rings_, now));
    assert_eq!(at(&[none], day(110)), Step::Blocked { ring: 0 });
    assert_eq!(at(&[has(101), none], day(150)), Step::Blocked { ring: 1 });
    assert_eq!(at(&[none, has(103)], day(105)), Step::Waits { ring: 2, until: day(110) });
    assert_eq!(at(&[has(101), has(108), none], day(120)), Step::Done, "nobody waits for the last one");
}

#[test]
fn what_a_person_said_otherwise_ends_the_way_until_they_let_it_go_on() {
    let at = |rings_: &[Standing], now| rings().step(&known(rings_, now));
    assert_eq!(at(&[Standing::Otherwise], day(101)), Step::Held { ring: 0 });
    assert_eq!(at(&[has(101), Standing::Otherwise], day(120)), Step::Held { ring: 1 });
    // Past it the days go on from the ring before.
    let passed = [has(101), Standing::Passed];
    assert_eq!(at(&passed, day(107)), Step::Waits { ring: 2, until: day(108) });
    assert_eq!(at(&passed, day(108)), Step::Releases { ring: 2, deadline: None });
    assert_eq!(at(&[Standing::Passed], day(99)), Step::Waits { ring: 1, until: day(107) });
}

#[test]
fn failures_stop_the_next_ring_until_somebody_says_so() {
    let rule = rings();
    let released = [has(100)];
    let at = |installed, failed, overruled| {
        let tried = Tried { installed, failed };
        rule.step(&Known { overruled, tried, ..known(&released, day(107)) })
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
    // A pilot of fewer machines than the sample is counted whole.
    let small = |installed, failed, pilot| {
        rule.step(&Known { tried: Tried { installed, failed }, pilot, ..known(&released, day(107)) })
    };
    assert!(matches!(small(0, 3, 3), Step::Stopped { .. }) && matches!(small(0, 2, 9), Step::Stopped { .. }));
    assert!(matches!(small(3, 1, 9), Step::Stopped { .. }), "1 of 9 is more than 10 percent");
    assert_eq!([small(3, 0, 3), small(0, 0, 0), small(0, 9, 10)], [goes, goes, goes]);
    let first = Known { tried: Tried { installed: 0, failed: 99 }, ..known(&[], day(107)) };
    assert_eq!(rule.step(&first), Step::Releases { ring: 0, deadline: None }, "nobody has tried it by this rule");
    assert_eq!(Rule { stop: None, ..rings() }.step(&Known { rings: &released, ..first }), goes, "it stops at nothing");
    // What stopped stays so, whatever is reported later, until a person says so, or something newer takes its place.
    let tried = Tried { installed: 8, failed: 2 };
    let since = Known { stopped: Some(tried), ..known(&released, day(120)) };
    assert_eq!(rule.step(&since), stopped(8, 2));
    let newer = Candidate { is_superseded: true, is_begun: true, ..update(SECURITY) };
    assert_eq!(rule.step(&Known { update: newer, ..since }), Step::Passes);
    assert_eq!(rule.step(&Known { rings: &[has(1), has(2), has(3)], ..since }), Step::Done);
}

#[test]
fn what_cannot_be_a_rule_is_refused() {
    assert_eq!(rings().check(), Ok(()));
    for ready in ReadyMade::ALL {
        assert_eq!(ready.rule(&[Group::ALL_ENDPOINTS, group(1)]).check(), Ok(()), "{}", ready.word());
    }
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
    assert!(matches!(bad(|rule| rule.takes.newest = Some(367)), Error::Days { days: 367, .. }));
    assert!(matches!(bad(|rule| rule.rings[0].after = 60), Error::Age { newest: 60, after: 60, .. }));
    assert!(matches!(
        bad(|rule| rule.takes.products =
            (0..=u16::try_from(NAMED_MAX).unwrap()).map(|at| UpdateId::new(u128::from(at).to_be_bytes())).collect()),
        Error::Named { what: "products", many: 257, .. }
    ));
    assert!(matches!(bad(|rule| rule.deadline = Some(0)), Error::Deadline(_)));
    assert!(matches!(bad(|rule| rule.stop = Some(Stop { percent: 100, sample: 1 })), Error::Stop { .. }));
    assert!(matches!(bad(|rule| rule.stop = Some(Stop { percent: 0, sample: 0 })), Error::Stop { .. }));
}
