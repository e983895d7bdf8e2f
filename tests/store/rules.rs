//! Rules: kept whole with what they did, changed by one at a time, and written in one transaction with what comes of them.

use std::collections::BTreeMap;

use waystation::model::deployment::rules::{RULES_MAX, Ring, Rule, Stop, Takes, Tried};
use waystation::model::deployment::{Action, Said, Target};
use waystation::model::policy::Group;
use waystation::store::approvals::{Change, Saying};
use waystation::store::catalog::Deciding;
use waystation::store::rules::{ACTS_MAX, Act, Event, Got, Kept, Line, Progress, Rules, Stopped};

use super::*;

const ALL: Group = Group::ALL_ENDPOINTS;
const INSTALL: Said = Said::Do { action: Action::Install, deadline: None };

fn rule(name: &str) -> Rule {
    Rule {
        name: name.into(),
        enabled: true,
        takes: Takes {
            classifications: [id(1), id(2)].into(),
            products: [id(3)].into(),
            severity: Severity::Important,
            newest: Some(60),
        },
        rings: vec![Ring { target: Group(id(7)), after: 2 }, Ring { target: ALL, after: 14 }],
        stop: Some(Stop { percent: 10, sample: 5 }),
        deadline: Some(3),
    }
}

async fn add(rules: &Rules, name: &str) -> Result<Kept, Error> {
    rules.add(rule(name), "ada".into()).await
}

fn progress(targets: &[Group], at: u64) -> Progress {
    let got = Got { at: Timestamp::from_ms(at), since: Some(Timestamp::from_ms(at + 1)), own: true };
    Progress { rings: targets.iter().map(|target| (*target, got)).collect(), ..Progress::default() }
}

fn step(kept: &Kept, at: u64, target: Group) -> Act {
    Act {
        rule: kept.number,
        revision: kept.revision,
        update: id(at),
        before: None,
        after: Some(progress(&[target], 9)),
        says: vec![(target, INSTALL)],
        takes_back: vec![],
        by: "rule R".into(),
        why: "ring 1 of 2".into(),
    }
}

async fn act(rules: &Rules, acts: Vec<Act>) -> Vec<bool> {
    rules.act(acts, |_| vec![]).await.unwrap()
}

/// Of which updates something is said for whom, and by whom.
async fn said(store: &Store) -> Vec<(UpdateId, Target, String)> {
    let (found, _) = store.approvals().page(None, 1000).await.unwrap();
    found.into_iter().map(|kept| (kept.approval.update, kept.approval.target, kept.approval.by)).collect()
}

async fn pilot(store: &Store) {
    use waystation::model::group::{Level, Node};
    let node = Node {
        id: Group(id(7)),
        name: "Pilot".into(),
        level: Level::Group,
        parent: ALL,
        is_test: false,
        asks_review: false,
        rules: vec![],
    };
    store.approvals().change(Change::Add(node), "ada".into()).await.unwrap();
}

fn invalid<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Invalid { what }) => what,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_rule_comes_back_as_it_was_put_and_each_change_is_kept_with_who() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Hand::new();
    let (store, _) = Store::open(config(dir.path()), Arc::new(RealDisk), clock.clone()).unwrap();
    let rules = store.rules();
    let first = add(&rules, "First").await.unwrap();
    clock.forward(HOUR);
    let second = add(&rules, "Second").await.unwrap();
    assert_eq!((first.number, second.number, second.revision), (1, 2, 1));
    assert!(invalid(add(&rules, "FIRST").await).contains("already"));
    assert!(invalid(add(&rules, " x").await).contains("cannot be the name"));
    // Another one than somebody looked at is not changed.
    let off = Rule { enabled: false, ..first.rule.clone() };
    let put = async |before: &Kept, rule: &Rule, event| {
        rules.put(before.clone(), rule.clone(), "kim".into(), event, "more".into()).await
    };
    let changed = put(&first, &off, Event::Disabled).await.unwrap();
    assert_eq!((changed.revision, &changed.made.0, &changed.changed.0), (2, &"ada".to_owned(), &"kim".to_owned()));
    assert!(changed.changed.1 > changed.made.1);
    assert_eq!(put(&changed, &off, Event::Changed).await.unwrap(), changed, "as it was");
    assert!(invalid(put(&first, &rule("Third"), Event::Changed).await).contains("changed meanwhile, by kim"));
    assert!(invalid(put(&changed, &rule("second"), Event::Changed).await).contains("already"));
    assert_eq!(rules.all().await.unwrap(), [changed.clone(), second.clone()]);
    // What it remembers goes with it; its number comes to no other one.
    pilot(&store).await;
    let acts = (1..=3).map(|at| step(&second, at, ALL)).collect();
    assert_eq!(act(&rules, acts).await, [true; 3]);
    rules.remove(second.number, "kim".into()).await.unwrap();
    assert!(matches!(rules.remove(second.number, "kim".into()).await, Err(Error::Gone)));
    assert!(matches!(put(&second, &off, Event::Changed).await, Err(Error::Gone)));
    assert!(rules.progress(second.number, None, 10).await.unwrap().is_empty());
    assert_eq!(said(&store).await.len(), 3, "what it approved stays");
    assert_eq!(add(&rules, "Second").await.unwrap().number, 3);
    store.close().await.unwrap();

    let (store, _) = Store::open(config(dir.path()), Arc::new(RealDisk), clock.clone()).unwrap();
    let rules = store.rules();
    assert_eq!(rules.all().await.unwrap()[0], changed);
    let told: Vec<(Event, String, String)> =
        rules.history(None, 10).await.unwrap().into_iter().map(|line| (line.event, line.name, line.by)).collect();
    let line = |event, name: &str, by: &str| (event, name.to_owned(), by.to_owned());
    let expected = [
        line(Event::Added, "Second", "ada"),
        line(Event::Removed, "Second", "kim"),
        line(Event::Disabled, "First", "kim"),
        line(Event::Added, "Second", "ada"),
        line(Event::Added, "First", "ada"),
    ];
    assert_eq!(told, expected);
    assert_eq!(rules.history(Some(1), 10).await.unwrap().len(), 2);
    assert_eq!(rules.history(None, 1).await.unwrap().len(), 1);
    // A backup has all of it.
    act(&rules, vec![step(&rules.all().await.unwrap()[1], 4, ALL)]).await;
    let backup = dir.path().join("backup");
    store.backup(backup.clone()).await.unwrap();
    let (before, lines) = (rules.all().await.unwrap(), rules.history(None, 100).await.unwrap());
    rules.remove(1, "kim".into()).await.unwrap();
    store.close().await.unwrap();
    drop((store, rules));
    waystation::store::restore(&config(dir.path()), &RealDisk, &backup).unwrap();
    let (store, _) = Store::open(config(dir.path()), Arc::new(RealDisk), clock).unwrap();
    let rules = store.rules();
    assert_eq!((rules.all().await.unwrap(), rules.history(None, 100).await.unwrap()), (before, lines));
    assert_eq!(rules.of(3, id(4)).await.unwrap(), Some(progress(&[ALL], 9)));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_step_is_written_whole_with_its_approval_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let (rules, pilots) = (store.rules(), Group(id(7)));
    pilot(&store).await;
    let kept = add(&rules, "R").await.unwrap();
    assert_eq!(act(&rules, vec![step(&kept, 1, pilots), step(&kept, 2, ALL)]).await, [true, true]);
    let expected =
        [(id(1), Target::Group(pilots), "rule R".to_owned()), (id(2), Target::Group(ALL), "rule R".to_owned())];
    assert_eq!(said(&store).await, expected);
    // The same step again is not, nor one of another revision, nor one for a group that is gone.
    assert_eq!(act(&rules, vec![step(&kept, 1, pilots)]).await, [false]);
    assert_eq!(act(&rules, vec![Act { revision: 2, ..step(&kept, 3, pilots) }]).await, [false]);
    assert_eq!(act(&rules, vec![step(&kept, 3, Group(id(8)))]).await, [false]);
    // What somebody said or declined meanwhile, for the group or for all; what was taken back is no word any more.
    let saying = |at, said| Saying {
        updates: vec![id(at)],
        targets: vec![Target::Group(pilots)],
        said,
        all_files: false,
        by: "ada".into(),
        why: String::new(),
    };
    let approvals = store.approvals();
    approvals.say(saying(4, Said::NotApproved)).await.unwrap();
    approvals.say(saying(5, INSTALL)).await.unwrap();
    approvals.say(saying(5, Said::Inherit)).await.unwrap();
    let decide = async |at, deciding| {
        store.catalog().decide(vec![id(at)], deciding, "ada".into(), String::new()).await.unwrap();
    };
    decide(6, Deciding::Decline).await;
    decide(7, Deciding::Approve { all_files: false }).await;
    decide(8, Deciding::Decline).await;
    decide(8, Deciding::Reset).await;
    let steps = vec![
        step(&kept, 4, pilots),
        step(&kept, 5, pilots),
        step(&kept, 6, pilots),
        step(&kept, 7, ALL),
        step(&kept, 8, ALL),
    ];
    assert_eq!(act(&rules, steps).await, [false, true, false, false, true]);
    assert_eq!(rules.of(kept.number, id(6)).await.unwrap(), None);
    // What goes on goes on from what was.
    let before = Some(progress(&[pilots], 9));
    let stopped = Stopped { at: Timestamp::from_ms(12), tried: Tried { installed: 8, failed: 2 } };
    let after = Some(Progress {
        stopped: Some(stopped),
        overruled: Some(4),
        passed: [ALL].into(),
        over: true,
        ..progress(&[pilots], 9)
    });
    let on = Act { before: before.clone(), after: after.clone(), says: vec![], ..step(&kept, 1, pilots) };
    assert_eq!(act(&rules, vec![on.clone(), on]).await, [true, false], "it is not that any more");
    assert_eq!(rules.of(kept.number, id(1)).await.unwrap(), after);
    // Taken back is what was said in this name; what a person said is not.
    let back = |by: &str| Act {
        before: after.clone(),
        after: None,
        says: vec![],
        takes_back: vec![pilots],
        by: by.into(),
        ..step(&kept, 1, pilots)
    };
    assert_eq!(act(&rules, vec![back("rule S"), back("rule R")]).await, [false, true]);
    let all = Act { before: Some(progress(&[ALL], 9)), takes_back: vec![ALL], ..back("rule R") };
    assert_eq!(act(&rules, vec![Act { update: id(2), ..all }]).await, [true], "a decision is, too");
    let left: Vec<UpdateId> = said(&store).await.into_iter().map(|(update, ..)| update).collect();
    assert_eq!(left, [id(4), id(5), id(6), id(7), id(8)]);
    let remembered = [(id(5), progress(&[pilots], 9)), (id(8), progress(&[ALL], 9))];
    assert_eq!(rules.progress(kept.number, None, 10).await.unwrap(), remembered);
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_happened_is_told_with_what_was_written_and_lists_have_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let rules = store.rules();
    let kept = add(&rules, "R").await.unwrap();
    let line = |done: &[bool]| Line {
        at: Timestamp::from_ms(0),
        rule: 1,
        name: "R".into(),
        event: Event::Released,
        by: "rule R".into(),
        text: format!("{done:?}"),
    };
    let acts = vec![step(&kept, 1, ALL), step(&kept, 1, ALL)];
    rules.act(acts, move |done| vec![line(done)]).await.unwrap();
    let told = rules.history(Some(1), 1).await.unwrap().pop().unwrap();
    assert_eq!((told.event, told.text.as_str()), (Event::Released, "[true, false]"));
    assert!(told.at > Timestamp::from_ms(0), "by the clock of the store");
    let many = (0..=ACTS_MAX as u64).map(|at| step(&kept, at, ALL)).collect();
    assert!(invalid(rules.act(many, |_| vec![]).await).contains("501 steps"));
    // Pages have each once.
    act(&rules, (2..=30).map(|at| step(&kept, at, ALL)).collect()).await;
    let (mut found, mut after) = (BTreeMap::new(), None);
    loop {
        let page = rules.progress(kept.number, after, 7).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        for (update, progress) in page {
            assert_eq!(found.insert(update, progress), None);
        }
    }
    assert_eq!(found.len(), 30);
    for at in 1..RULES_MAX {
        add(&rules, &format!("rule {at}")).await.unwrap();
    }
    assert!(invalid(add(&rules, "one more").await).contains("64 rules are the most"));
    store.close().await.unwrap();
}
