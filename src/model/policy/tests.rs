//! The table of decisions, and what holds for all of them.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::files::NAME_MAX;
use super::*;
use crate::base::digest::Sha1;
use crate::model::filter::{Category, Tree};
use crate::model::update::{CategoryKind, File};

fn id(at: u8) -> UpdateId {
    UpdateId::new([at; 16])
}

fn policy(mode: Mode) -> Policy {
    Policy {
        choice: Choice { mode, level: Severity::Important },
        rules: BTreeMap::new(),
        decline_expired: true,
        decline_superseded: true,
        confirmed: true,
    }
}

fn said(word: Word) -> Decision {
    Decision {
        word,
        all_files: false,
        though_superseded: false,
        by: "ada".into(),
        at: Timestamp::from_ms(1),
        why: String::new(),
    }
}

fn facts(severity: Severity) -> Facts<'static> {
    Facts {
        severity,
        categories: &[],
        in_filters: true,
        refused: false,
        expired: false,
        superseded: false,
        has_parts: false,
        drawn: false,
        decision: None,
    }
}

#[test]
fn the_table_of_decisions() {
    use Mode::{All, Approved, Asked, Metadata, Severity as BySeverity};
    use Wants::{Asked as OnDemand, Everything, Nothing};
    let (yes, no) = (said(Word::Approved), said(Word::Declined));
    let whole = Decision { all_files: true, ..said(Word::Approved) };
    let knowing = Decision { though_superseded: true, ..said(Word::Approved) };
    let critical = facts(Severity::Critical);
    let approved = Facts { decision: Some(&yes), ..critical };
    let parts = Facts { has_parts: true, ..critical };
    for (mode, facts, wants, why) in [
        (Metadata, critical, Nothing, Why::Metadata),
        (Metadata, approved, Nothing, Why::Metadata),
        (Approved, critical, Nothing, Why::NotApproved),
        (Approved, approved, Everything, Why::Approved),
        (Approved, Facts { in_filters: false, ..approved }, Everything, Why::Approved),
        (Approved, Facts { in_filters: false, ..critical }, Nothing, Why::NotApproved),
        (Approved, Facts { has_parts: true, ..approved }, OnDemand, Why::ApprovedParts),
        (Approved, Facts { decision: Some(&whole), ..parts }, Everything, Why::Approved),
        (Approved, Facts { refused: true, ..approved }, Nothing, Why::Refused),
        (Approved, Facts { expired: true, ..approved }, Nothing, Why::Expired),
        (Approved, Facts { superseded: true, ..approved }, Nothing, Why::Superseded),
        (Approved, Facts { superseded: true, decision: Some(&knowing), ..critical }, Everything, Why::Approved),
        (Approved, Facts { expired: true, decision: Some(&knowing), ..critical }, Nothing, Why::Expired),
        (BySeverity, critical, Everything, Why::Severity),
        (BySeverity, facts(Severity::Important), Everything, Why::Severity),
        (BySeverity, facts(Severity::Moderate), Nothing, Why::BelowSeverity),
        (BySeverity, facts(Severity::Unspecified), Nothing, Why::BelowSeverity),
        (BySeverity, Facts { decision: Some(&yes), ..facts(Severity::Low) }, Everything, Why::Approved),
        (BySeverity, Facts { decision: Some(&no), ..critical }, Nothing, Why::Declined),
        (BySeverity, Facts { superseded: true, ..critical }, Nothing, Why::Superseded),
        (BySeverity, Facts { in_filters: false, ..critical }, Nothing, Why::BeyondFilters),
        (BySeverity, parts, OnDemand, Why::Parts),
        (Asked, critical, OnDemand, Why::Asked),
        (Asked, approved, Everything, Why::Approved),
        (All, facts(Severity::Unspecified), Everything, Why::All),
        (All, parts, OnDemand, Why::Parts),
        (All, Facts { expired: true, ..critical }, Nothing, Why::Expired),
    ] {
        assert_eq!(policy(mode).decide(&facts), Verdict { wants, why }, "{mode:?} {facts:?}");
    }
    let unconfirmed = Policy { confirmed: false, ..policy(All) };
    assert_eq!(unconfirmed.decide(&critical), Verdict { wants: OnDemand, why: Why::Unconfirmed });
    assert_eq!(unconfirmed.decide(&approved).wants, Everything, "what was approved waits for no confirmation");
    let lenient = Policy { decline_expired: false, decline_superseded: false, ..policy(BySeverity) };
    assert_eq!(lenient.decide(&Facts { expired: true, superseded: true, ..critical }).wants, Everything);
}

#[test]
fn a_rule_overrides_the_mode_for_its_classification() {
    let mut policy = policy(Mode::Severity);
    policy.rules.insert(id(1), Choice { mode: Mode::All, level: Severity::Critical });
    policy.rules.insert(id(2), Choice { mode: Mode::Metadata, level: Severity::Critical });
    policy.rules.insert(id(3), Choice { mode: Mode::Severity, level: Severity::Critical });
    let of = |categories: &[UpdateId], severity| policy.decide(&Facts { categories, ..facts(severity) }).wants;
    assert_eq!(of(&[id(9), id(1)], Severity::Unspecified), Wants::Everything);
    assert_eq!(of(&[id(2)], Severity::Critical), Wants::Nothing);
    assert_eq!(of(&[id(3)], Severity::Important), Wants::Nothing);
    assert_eq!(of(&[id(2), id(3)], Severity::Critical), Wants::Everything, "of several the one that brings most");
    assert_eq!(of(&[id(9)], Severity::Important), Wants::Everything, "the node's own");
    let only = policy.only(id(9));
    let of = |categories: &[UpdateId], severity| only.decide(&Facts { categories, ..facts(severity) }).wants;
    assert_eq!((of(&[id(9)], Severity::Important), of(&[id(9)], Severity::Low)), (Wants::Everything, Wants::Nothing));
    assert_eq!((of(&[id(1)], Severity::Critical), of(&[], Severity::Critical)), (Wants::Nothing, Wants::Nothing));
}

#[test]
fn what_is_written_is_resolved_and_what_is_unknown_is_told() {
    let tree = Tree::new([Category {
        id: id(1),
        kind: CategoryKind::Classification,
        name: "Hotfixes: all of them".into(),
        parent: None,
    }]);
    let rule = |text: &str| text.parse::<Rule>();
    let rules = ["hotfixes: ALL OF THEM: severity important", "Hotfixs: all"].map(|text| rule(text).unwrap());
    let own = rule(&format!("{}: severity", id(7))).unwrap();
    let choice = Choice { mode: Mode::Severity, level: Severity::Critical };
    let written = Written { choice, rules: [rules.to_vec(), vec![own]].concat(), ..Written::default() };
    assert!(written.has_all() && !Written::default().has_all());
    let typo: Written = Written { rules: vec!["Definition Updtes: all".parse().unwrap()], ..Written::default() };
    let (_, left_out) = typo.in_force(&Tree::new([]));
    assert!(
        typo.has_all() && left_out.len() == 1 && !typo.has_all_but(&left_out),
        "a rule that is left out asks for nothing"
    );
    let (policy, wrong) = written.in_force(&tree);
    assert_eq!(policy.rules[&id(1)], Choice { mode: Mode::Severity, level: Severity::Important });
    assert_eq!(policy.rules[&id(7)], choice, "without a level it is the node's");
    assert_eq!(wrong.len(), 1);
    assert!(!wrong[0].keeps_out, "it would have brought more");
    let told = wrong[0].to_string();
    assert!(told.starts_with("the rule \"Hotfixs: all\": no classification is called"), "{told}");
    assert!(!policy.confirmed);
    for wrong in
        ["Hotfixes", "Hotfixes: most", ": all", "Hotfixes: all critical", "Hotfixes: severity bad", "H: all x y"]
    {
        assert!(rule(wrong).is_err(), "{wrong}");
    }
    assert_eq!(rule(" Drivers :  severity  LOW ").unwrap().to_string(), "Drivers: severity low");
}

#[test]
fn a_rule_keeps_out_what_the_policy_would_bring() {
    let choice = |mode, level| Choice { mode, level };
    let of = |mode| choice(mode, Severity::Critical);
    for (rule, policy, keeps_out) in [
        (of(Mode::Metadata), of(Mode::Approved), true),
        (of(Mode::Approved), of(Mode::Approved), false),
        (of(Mode::All), of(Mode::Severity), false),
        (of(Mode::Severity), of(Mode::All), true),
        (of(Mode::Severity), choice(Mode::Severity, Severity::Important), true),
        (choice(Mode::Severity, Severity::Low), of(Mode::Severity), false),
        (choice(Mode::Severity, Severity::Low), of(Mode::Asked), true),
        (of(Mode::Asked), of(Mode::Severity), true),
    ] {
        assert_eq!(rule.keeps_out_of(policy), keeps_out, "{rule} {policy}");
    }
}

#[test]
fn the_terms_are_those_of_the_meaning() {
    let written = |mode, level, rules: &[&str]| Written {
        choice: Choice { mode, level },
        rules: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
        ..Written::default()
    };
    let own = written(Mode::All, Severity::Critical, &["Drivers: metadata", "Tools: severity low"]).terms();
    assert_eq!(own, written(Mode::All, Severity::Low, &["tools: severity", "DRIVERS: metadata"]).terms());
    assert_eq!(
        own,
        written(Mode::All, Severity::Low, &["Drivers: all", "tools: severity", "Drivers: metadata"]).terms()
    );
    for (mode, rules) in [
        (Mode::All, &["Drivers: metadata"][..]),
        (Mode::All, &["Drivers: metadata", "Tools: severity critical"]),
        (Mode::Approved, &["Drivers: metadata", "Tools: severity low"]),
    ] {
        assert_ne!(own, written(mode, Severity::Critical, rules).terms(), "{mode:?} {rules:?}");
    }
}

#[test]
fn what_is_read_in_parts() {
    let file = |name: &str, patching: &str| File {
        sha1: Sha1::new([0; 20]),
        sha256: None,
        name: name.into(),
        size: 1,
        modified: None,
        patching: patching.into(),
        encrypted: false,
    };
    assert!(is_read_in_parts(&file("a.cab", "Express"), "Cbs"));
    assert!(is_read_in_parts(&file("A.PSF", ""), "Cbs") && is_read_in_parts(&file("x.esd", "Canonical"), ""));
    assert!(is_read_in_parts(&file("a.cab", ""), "osinstaller"));
    assert!(!is_read_in_parts(&file("a.psf.cab", "SelfContained"), "Cbs") && !is_read_in_parts(&file("psf", ""), ""));
}

#[test]
fn a_file_is_like_that_of_another_month_and_of_no_other_machine() {
    let like = |a: &str, b: &str| likeness(a) == likeness(b) && !likeness(a).is_empty();
    let digest = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567";
    assert!(like("Windows11.0-KB5031234-x64.cab", "windows11.0-kb5035678-x64.cab"));
    assert!(like(
        &format!("windows11.0-kb5031234-x64_{digest}.cab"),
        &format!("windows11.0-kb1-x64_{}.cab", "f".repeat(40))
    ));
    assert!(like("AM_Delta_Patch_1.399.12.0.exe", "am_delta_patch_1.401.7.0.exe"));
    assert!(!like("Windows11.0-KB5031234-x64.cab", "Windows11.0-KB5031234-arm64.cab"));
    assert!(!like("Windows10.0-KB5031234-x64.cab", "Windows11.0-KB5031234-x64.cab"));
    assert!(!like("setup.exe", "setup.msi"));
    for nothing in ["", "12.34.exe", "KB5031234.exe", &format!("{digest}.cab"), "..", "---"] {
        assert_eq!(likeness(nothing), "", "{nothing}");
    }
}

#[test]
fn it_is_asked_again_when_it_is_far_more() {
    assert!(!outgrows(0, 10 << 30) && outgrows(0, (10 << 30) + 1));
    assert!(!outgrows(100 << 30, 150 << 30) && outgrows(100 << 30, (150 << 30) + 1));
    assert!(!outgrows(u64::MAX, u64::MAX));
}

#[test]
fn languages_hold_only_where_something_is_said() {
    let said = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    let wanted = BTreeSet::from(["de".to_owned(), "zh-tw".to_owned()]);
    assert!(is_in_languages(&said(&["ZH-TW"]), &wanted) && is_in_languages(&[], &wanted));
    assert!(is_in_languages(&said(&["All"]), &wanted), "what UUP upgrades say of themselves");
    assert!(!is_in_languages(&said(&["en", "fr"]), &wanted) && is_in_languages(&said(&["en"]), &BTreeSet::new()));
}

fn severities() -> impl Strategy<Value = Severity> {
    prop::sample::select(vec![
        Severity::Unspecified,
        Severity::Low,
        Severity::Moderate,
        Severity::Important,
        Severity::Critical,
    ])
}

fn decisions() -> impl Strategy<Value = Option<Decision>> {
    let word = prop::sample::select(vec![Word::Approved, Word::Declined]);
    prop::option::of((word, any::<bool>(), any::<bool>()).prop_map(|(word, all_files, though_superseded)| Decision {
        all_files,
        though_superseded,
        ..said(word)
    }))
}

proptest! {
    #[test]
    fn a_wider_policy_wants_no_less_and_a_persons_no_is_a_no(
        severity in severities(),
        level in severities(),
        flags in prop::array::uniform7(any::<bool>()),
        decision in decisions(),
    ) {
        let [in_filters, refused, expired, superseded, has_parts, decline, confirmed] = flags;
        let facts = Facts {
            severity, categories: &[], in_filters, refused, expired, superseded, has_parts, drawn: false,
            decision: decision.as_ref(),
        };
        let mut before = Wants::Nothing;
        // `severity` is not wider than `asked`: it brings all of some, and nothing of the others.
        for mode in [Mode::Metadata, Mode::Approved, Mode::Asked, Mode::All] {
            let policy = Policy {
                choice: Choice { mode, level },
                decline_expired: decline,
                decline_superseded: decline,
                confirmed,
                ..policy(mode)
            };
            let now = policy.decide(&facts);
            prop_assert!(now.wants >= before, "{mode:?} {facts:?} {now:?}");
            before = now.wants;
            let declined = decision.as_ref().is_some_and(|decision| decision.word == Word::Declined);
            if refused || declined || mode == Mode::Metadata || (expired && decline) {
                prop_assert_eq!(now.wants, Wants::Nothing);
            }
            if has_parts && !decision.as_ref().is_some_and(|decision| decision.all_files) {
                prop_assert!(now.wants < Wants::Everything);
            }
            if !confirmed && decision.is_none() {
                prop_assert!(now.wants < Wants::Everything || mode == Mode::Severity);
            }
        }
    }

    #[test]
    fn a_lower_level_wants_no_less(severity in severities(), low in severities(), high in severities()) {
        let (low, high) = (low.min(high), low.max(high));
        let of = |level| Policy { choice: Choice { mode: Mode::Severity, level }, ..policy(Mode::Severity) };
        prop_assert!(of(low).decide(&facts(severity)).wants >= of(high).decide(&facts(severity)).wants);
    }

    #[test]
    fn any_name_has_a_likeness_that_is_like_itself(name in "\\PC{0,60}") {
        let like = likeness(&name);
        prop_assert!(like.len() <= NAME_MAX + 8);
        prop_assert_eq!(likeness(&like), like);
    }
}
