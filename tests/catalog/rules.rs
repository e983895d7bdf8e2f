//! Rules at work over a small catalog and a clock that the test moves: rings one after the other, what stops them, and that what people
//! said stays.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use waystation::base::disk::RealDisk;
use waystation::base::time::{Clock, Timestamp};
use waystation::fleet::compliance::Compliance;
use waystation::fleet::compliance::told::{Told, What};
use waystation::fleet::registry::{Admission, Registry};
use waystation::jobs::rules::{Looked, Which};
use waystation::jobs::{self, Jobs};
use waystation::model::compliance::State;
use waystation::model::deployment::inherit::{Asked, Standing};
use waystation::model::deployment::rules::{Ring, Rule, Step, Stop, Takes};
use waystation::model::deployment::{Action, Endpoint, Review, Said, Target};
use waystation::model::filter::known;
use waystation::model::group::{Level, Node as Entry};
use waystation::model::policy::Group;
use waystation::model::update::{Clause, Kind, Update, UpdateId};
use waystation::store::Store;
use waystation::store::approvals::{Change, Saying};
use waystation::store::catalog::Deciding;
use waystation::store::fleet::{Bios, Os, Registration};
use waystation::store::rules::{Event, Kept};

use crate::hand_clock::HandClock;
use crate::made_catalog::{DAY, id, identity, import, take, updates};
use crate::small_store;

const HOURS: Duration = Duration::from_hours(1);
const DAYS: Duration = Duration::from_hours(24);
const ALL: Group = Group::ALL_ENDPOINTS;
/// Updates of the small catalog that are offered: one with a licence, and two that something newer could come for.
const LICENSED: u32 = 0x10;
const TWIN: u32 = 0x14;
const OTHER: u32 = 0x15;

fn group(at: u8) -> Group {
    Group(UpdateId::new([at; 16]))
}

const fn machine(at: u8) -> Endpoint {
    Endpoint(UpdateId::new([at; 16]))
}

/// A store with the small catalog and two groups, the pilots below the company, and what runs rules over it.
struct Site {
    store: Store,
    clock: Arc<HandClock>,
    jobs: Jobs,
    compliance: Compliance,
}

impl Site {
    async fn new(dir: &Path) -> Self {
        let site = Self::open(dir, HandClock::at(DAY + 3_600_000));
        import(&site.store.catalog(), updates(b"some bytes"), false).await;
        for (at, name, parent) in [(1, "Contoso", ALL), (2, "Pilot", group(1)), (3, "Kiosks", group(1))] {
            site.put(at, name, parent, |_| ()).await;
        }
        site
    }

    fn open(dir: &Path, clock: Arc<HandClock>) -> Self {
        let config = small_store::config(&dir.join("data"));
        let (store, _) = Store::open(config, Arc::new(RealDisk), clock.clone()).unwrap();
        let config = jobs::Config { scrub_every: None, ..jobs::Config::default() };
        let jobs = Jobs::offline(config, store.clone(), clock.clone());
        let compliance = Compliance::new(&store);
        jobs.judge_by(compliance.clone());
        Self { store, clock, jobs, compliance }
    }

    async fn close(self) -> Arc<HandClock> {
        self.jobs.close().await;
        self.store.close().await.unwrap();
        self.clock
    }

    async fn put(&self, at: u8, name: &str, parent: Group, change: impl FnOnce(&mut Entry)) {
        let mut entry = Entry {
            id: group(at),
            name: name.into(),
            level: Level::Group,
            parent,
            is_test: false,
            asks_review: false,
            rules: vec![],
        };
        change(&mut entry);
        let is_there = self.store.approvals().tree().await.unwrap().groups.get(group(at)).is_some();
        let change = if is_there { Change::Put(entry) } else { Change::Add(entry) };
        self.store.approvals().change(change, "kim".into()).await.unwrap();
    }

    /// A machine registers, and is put into a group.
    async fn machine(&self, at: u8, of: u8) {
        let told = Registration {
            endpoint: machine(at),
            name: format!("pc{at}.site.example"),
            os: Os { major: 10, build: 26_100, ..Os::default() },
            maker: "M".into(),
            model: "O".into(),
            bios: Bios::default(),
            architecture: "x64".into(),
            client_version: "1".into(),
            targets: vec![],
            address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, at)),
            at: self.clock.now(),
        };
        Registry::new(self.store.fleet(), Admission::default()).registered(told).await.unwrap();
        self.store.approvals().place(vec![machine(at)], vec![group(of)], "kim".into()).await.unwrap();
    }

    /// It tells how these updates stand.
    async fn reports(&self, at: u8, states: &[(u32, State)]) {
        let states: BTreeMap<UpdateId, State> = states.iter().map(|(update, state)| (id(*update), *state)).collect();
        let seconds = u32::try_from(self.clock.now().ms() / 1000).unwrap();
        let told = Told { at: seconds, what: What::Snapshot(states.into()) };
        self.compliance.report(machine(at), vec![told]).await.unwrap();
    }

    async fn rule(&self, change: impl FnOnce(&mut Rule)) -> Kept {
        let mut rule = Rule {
            name: "Hotfixes".into(),
            enabled: true,
            takes: Takes { classifications: [id(5)].into(), ..Takes::default() },
            rings: vec![Ring { target: group(2), after: 0 }, Ring { target: ALL, after: 7 }],
            stop: Some(Stop { percent: 20, sample: 5 }),
            deadline: None,
        };
        change(&mut rule);
        self.store.rules().add(rule, "kim".into()).await.unwrap()
    }

    /// A run, and what it says of itself.
    async fn run(&self) -> String {
        let view = self.jobs.run_rules(None, "kim").await.unwrap();
        assert_eq!(view.state.word(), "done", "{view:?}");
        view.result.unwrap()
    }

    /// What is approved by a rule: update, group.
    async fn approved(&self) -> Vec<(u32, Group)> {
        let (found, _) = self.store.approvals().page(None, 1_000).await.unwrap();
        let mut found: Vec<(u32, Group)> = found
            .into_iter()
            .filter(|kept| kept.approval.by == "rule Hotfixes")
            .map(|kept| {
                let Target::Group(group) = kept.approval.target else { panic!("{kept:?}") };
                let (first, _) = kept.approval.update.bytes().split_first_chunk::<4>().unwrap();
                (u32::from_be_bytes(*first), group)
            })
            .collect();
        found.sort_unstable();
        found
    }

    async fn say(&self, update: u32, of: Group, said: Said) {
        let saying = Saying {
            updates: vec![id(update)],
            targets: vec![Target::Group(of)],
            said,
            all_files: false,
            by: "kim".into(),
            why: String::new(),
        };
        self.store.approvals().say(saying).await.unwrap();
    }

    async fn look(&self) -> Looked {
        let which = Which { disabled: true, detailed: true, ..Which::default() };
        self.jobs.look_at_rules(which).await.unwrap()
    }

    /// What comes next with an update, by the first rule.
    async fn step(&self, update: u32) -> Option<Step> {
        let looked = self.look().await;
        let row = looked.rules[0].rows.iter().find(|row| row.short.identity.id == id(update));
        row.map(|row| row.step)
    }

    async fn events(&self) -> Vec<Event> {
        let lines = self.store.rules().history(None, 100).await.unwrap();
        lines.into_iter().rev().map(|line| line.event).collect()
    }
}

const INSTALL: Said = Said::Do { action: Action::Install, deadline: None };

#[tokio::test(flavor = "multi_thread")]
async fn the_pilot_comes_first_and_the_rest_days_after_it_is_offered() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path()).await;
    site.rule(|rule| rule.deadline = Some(3)).await;
    // A preview writes nothing, and is what a run does.
    let looked = site.look().await;
    assert!(looked.is_due() && site.approved().await.is_empty());
    assert_eq!(looked.rules[0].rows.iter().filter(|row| matches!(row.step, Step::Releases { ring: 0, .. })).count(), 3);
    assert_eq!(site.run().await, "3 approvals");
    let pilots = [(LICENSED, group(2)), (TWIN, group(2)), (OTHER, group(2))];
    assert_eq!(site.approved().await, pilots);
    let kept = site.store.approvals().of(vec![id(TWIN)]).await.unwrap().pop().unwrap();
    let deadline = site.clock.now().after(DAYS * 3);
    assert_eq!(kept.approval.said, Said::Do { action: Action::Install, deadline: Some(deadline) });
    assert_eq!(kept.why, "ring 1 of 2");
    // With nothing new a second run writes nothing, also after a start.
    let clock = site.store.catalog().standing().await.unwrap().clock;
    assert_eq!(site.run().await, "nothing was due");
    let site = Site::open(dir.path(), site.close().await);
    assert_eq!(site.run().await, "nothing was due");
    assert_eq!(site.store.catalog().standing().await.unwrap().clock, clock);
    assert_eq!(site.events().await, [Event::Added, Event::Released]);
    // Whoever waits for a licence is not offered it: its days have not begun.
    let released = site.clock.now();
    assert_eq!(site.step(TWIN).await, Some(Step::Waits { ring: 1, until: released.after(DAYS * 7) }));
    assert_eq!(site.step(LICENSED).await, Some(Step::Blocked { ring: 0 }));
    assert_eq!(site.look().await.next, Some(released.after(DAYS * 7)));
    site.clock.advance(HOURS * (7 * 24 - 1));
    assert_eq!(site.run().await, "nothing was due");
    site.clock.advance(HOURS);
    assert_eq!(site.run().await, "2 approvals");
    let mut both = vec![(LICENSED, group(2)), (TWIN, group(2)), (TWIN, ALL), (OTHER, group(2)), (OTHER, ALL)];
    both.sort_unstable();
    assert_eq!(site.approved().await, both);
    site.store.approvals().accept(vec![id(0x50)], "kim".into()).await.unwrap();
    assert_eq!(site.run().await, "nothing was due");
    assert!(matches!(site.step(LICENSED).await, Some(Step::Waits { ring: 1, .. })));
    site.clock.advance(HOURS * (7 * 24 - 1));
    assert_eq!(site.run().await, "nothing was due");
    site.clock.advance(HOURS * 2);
    assert_eq!(site.run().await, "1 approval");
    assert_eq!(site.approved().await.len(), 6);
    assert_eq!((site.look().await.rules[0].done, site.look().await.rules[0].rows.len()), (3, 0));
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_holds_up_the_days_of_who_comes_next() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path()).await;
    site.put(1, "Contoso", ALL, |entry| entry.asks_review = true).await;
    site.put(2, "Pilot", group(1), |entry| entry.is_test = true).await;
    site.rule(|rule| rule.rings[1].target = group(3)).await;
    site.run().await;
    site.clock.advance(DAYS * 30);
    assert_eq!(site.run().await, "nothing was due", "nobody was offered anything yet");
    assert_eq!(site.step(TWIN).await, Some(Step::Blocked { ring: 0 }));
    let review = async |state| {
        site.store.approvals().review(vec![id(TWIN)], state, "kim".into(), String::new()).await.unwrap();
    };
    review(Review::InTest).await;
    assert_eq!(site.run().await, "nothing was due");
    site.clock.advance(DAYS * 5);
    // The days go on from the test, whatever comes of the review later.
    review(Review::Released).await;
    site.clock.advance(DAYS * 2 + HOURS);
    assert_eq!(site.run().await, "1 approval");
    assert_eq!(site.approved().await.iter().filter(|(update, _)| *update == TWIN).count(), 2);
    assert_eq!(site.approved().await.len(), 4);
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_begins_when_the_review_lets_what_the_rule_approved() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path()).await;
    site.put(1, "Contoso", ALL, |entry| entry.asks_review = true).await;
    site.put(2, "Pilot", group(1), |entry| entry.is_test = true).await;
    site.rule(|rule| {
        rule.rings = vec![Ring { target: group(2), after: 0 }, Ring { target: group(3), after: 0 }];
        rule.deadline = Some(3);
    })
    .await;
    let review = async |review| {
        site.store.approvals().review(vec![id(TWIN)], review, "kim".into(), String::new()).await.unwrap();
    };
    let until = async |of: u8| {
        let words = site.store.approvals().words(vec![id(TWIN)]).await.unwrap().pop().unwrap();
        let tree = site.store.approvals().tree().await.unwrap().groups;
        match words.standing(Asked { endpoint: None, groups: &[group(of)], tree: &tree }) {
            Standing::Ordered { deadline, .. } => {
                deadline.map(|until| (until.since(site.clock.now()) + HOURS).as_secs() / 86_400)
            }
            _ => None,
        }
    };
    let days = Some::<u64>;
    site.run().await;
    site.clock.advance(DAYS * 5);
    assert_eq!(until(2).await, None, "nobody reviewed it");
    review(Review::InTest).await;
    assert_eq!(until(2).await, days(3));
    site.run().await;
    site.clock.advance(DAYS * 10);
    review(Review::Released).await;
    assert_eq!((until(2).await, until(3).await), (days(0), days(3)), "the pilots' deadline passed as it was told");
    // A group that ceases to ask for reviews lets what they held.
    review(Review::Held).await;
    site.clock.advance(DAYS * 20);
    site.put(1, "Contoso", ALL, |_| ()).await;
    let tree = site.store.approvals().tree().await.unwrap().groups;
    assert_eq!(tree.freed(group(3)), tree.freed(group(1)));
    assert_eq!((until(2).await, until(3).await), (days(3), days(3)));
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_established_machines_stop_the_next_ring_until_somebody_says_so() {
    use State::{Failed, Installed, NotInstalled, PendingRestart};
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path()).await;
    for at in 1..=6 {
        site.machine(at, 2).await;
    }
    // It fails there too, but is in no ring that has anything.
    site.machine(7, 3).await;
    let kept = site.rule(|_| ()).await;
    site.run().await;
    site.clock.advance(DAYS * 7);
    // They appeared in order to be counted.
    for at in 11..=16 {
        site.machine(at, 2).await;
        site.reports(at, &[(TWIN, Failed), (OTHER, Failed)]).await;
    }
    site.reports(7, &[(TWIN, Failed), (OTHER, Failed)]).await;
    // Of the twin two of five failed, of the other one two of four: too few to say anything.
    site.reports(1, &[(TWIN, Installed), (OTHER, Installed)]).await;
    site.reports(2, &[(TWIN, Installed), (OTHER, PendingRestart)]).await;
    site.reports(3, &[(TWIN, PendingRestart), (OTHER, NotInstalled)]).await;
    site.reports(4, &[(TWIN, Failed), (OTHER, Failed)]).await;
    site.reports(5, &[(TWIN, Failed), (OTHER, Failed)]).await;
    site.reports(6, &[(TWIN, NotInstalled)]).await;
    assert_eq!(site.run().await, "1 approval; 1 stopped by failures");
    assert!(site.approved().await.contains(&(OTHER, ALL)) && !site.approved().await.contains(&(TWIN, ALL)));
    let stopped = async |site: &Site| match site.step(TWIN).await {
        Some(Step::Stopped { ring: 1, tried }) => (tried.installed, tried.failed),
        other => panic!("{other:?}"),
    };
    assert_eq!(stopped(&site).await, (3, 2));
    assert_eq!(site.events().await, [Event::Added, Event::Released, Event::Released, Event::Stopped]);
    // It stays so, although all is well by now, and after a start.
    assert_eq!(site.run().await, "nothing was due");
    site.clock.advance(HOURS);
    for at in 4..=6 {
        site.reports(at, &[(TWIN, Installed), (OTHER, Installed)]).await;
    }
    site.clock.advance(DAYS);
    assert_eq!(site.run().await, "nothing was due");
    let site = Site::open(dir.path(), site.close().await);
    assert_eq!(site.run().await, "nothing was due");
    assert_eq!(stopped(&site).await, (3, 2));
    // Somebody says so, of this one alone.
    let others = site.jobs.resume_rule(&kept, [id(OTHER)].into(), "ada").await.unwrap();
    assert_eq!((others.stopped.len(), others.held.len()), (0, 0));
    let resumed = site.jobs.resume_rule(&kept, [id(TWIN)].into(), "ada").await.unwrap();
    assert_eq!(resumed.stopped, [id(TWIN)]);
    assert_eq!(site.run().await, "1 approval");
    assert!(site.approved().await.contains(&(TWIN, ALL)));
    let line = site.store.rules().history(None, 2).await.unwrap().pop().unwrap();
    assert_eq!((line.event, line.by.as_str(), line.text.as_str()), (Event::Resumed, "ada", "1 update: KB5031111"));
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pilot_smaller_than_the_sample_stops_it_too_and_what_had_it_before_says_nothing() {
    use State::{Failed, Installed, NotInstalled};
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path()).await;
    let kept = site.rule(|_| ()).await;
    let pilots = async |site: &Site| site.jobs.pilots(&site.look().await).await.unwrap().remove(&kept.number);
    for at in 1..=3 {
        site.machine(at, 2).await;
    }
    assert_eq!(pilots(&site).await, Some(vec![0]), "nobody is established yet");
    // These have both already.
    for at in 4..=9 {
        site.machine(at, 2).await;
        site.reports(at, &[(TWIN, Installed), (OTHER, Installed)]).await;
    }
    site.clock.advance(HOURS);
    site.run().await;
    site.clock.advance(DAYS * 7);
    assert_eq!(pilots(&site).await, Some(vec![9]));
    for at in 4..=9 {
        site.reports(at, &[(TWIN, Installed), (OTHER, Installed)]).await;
    }
    // All of those that tried the twin failed; of the other one one failed, and two have not tried it.
    site.reports(1, &[(TWIN, Failed), (OTHER, NotInstalled)]).await;
    site.reports(2, &[(TWIN, Failed), (OTHER, NotInstalled)]).await;
    site.reports(3, &[(TWIN, Failed), (OTHER, Failed)]).await;
    assert_eq!(site.run().await, "0 approvals; 2 stopped by failures");
    let Some(Step::Stopped { ring: 1, tried }) = site.step(TWIN).await else { panic!("it is stopped") };
    assert_eq!((tried.installed, tried.failed), (0, 3));
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_failures_than_somebody_knew_of_stop_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path()).await;
    for at in 1..=8 {
        site.machine(at, 2).await;
    }
    let kept = site.rule(|rule| rule.rings.push(Ring { target: group(3), after: 7 })).await;
    site.run().await;
    site.clock.advance(DAYS * 7);
    for at in 1..=5 {
        site.reports(at, &[(TWIN, if at < 3 { State::Failed } else { State::Installed })]).await;
    }
    // All rings of the company but the last one have nothing that stops them.
    site.run().await;
    assert!(matches!(site.step(TWIN).await, Some(Step::Stopped { ring: 1, .. })));
    site.jobs.resume_rule(&kept, [].into(), "kim").await.unwrap();
    site.run().await;
    assert!(site.approved().await.contains(&(TWIN, ALL)));
    assert_eq!(site.step(TWIN).await, None, "the third ring stands below the second one, and has it with that");
    site.close().await;

    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path()).await;
    for at in 1..=8 {
        site.machine(at, 2).await;
    }
    let ring = |at: u8, after| Ring { target: group(at), after };
    let kept = site.rule(|rule| rule.rings = vec![ring(2, 0), ring(3, 7), ring(1, 7)]).await;
    site.run().await;
    site.clock.advance(DAYS * 7);
    let fail = async |failed: u8| {
        for at in 1..=8 {
            site.reports(at, &[(TWIN, if at <= failed { State::Failed } else { State::Installed })]).await;
        }
    };
    fail(3).await;
    site.run().await;
    assert!(matches!(site.step(TWIN).await, Some(Step::Stopped { ring: 1, .. })));
    site.jobs.resume_rule(&kept, [].into(), "kim").await.unwrap();
    site.run().await;
    assert!(site.approved().await.contains(&(TWIN, group(3))));
    site.clock.advance(DAYS * 7);
    fail(4).await;
    assert!(site.run().await.contains("stopped by failures"));
    assert!(matches!(site.step(TWIN).await, Some(Step::Stopped { ring: 2, .. })));
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_said_stays() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path()).await;
    let kept = site.rule(|_| ()).await;
    let declined = vec![id(OTHER)];
    site.store.catalog().decide(declined, Deciding::Decline, "kim".into(), String::new()).await.unwrap();
    // Said for the pilots by hand: the ring has it, from then on.
    site.say(TWIN, group(2), INSTALL).await;
    // Said for a group above them.
    site.say(LICENSED, group(1), Said::NotApproved).await;
    assert_eq!(site.run().await, "nothing was due");
    assert_eq!(site.approved().await, []);
    assert_eq!(site.step(LICENSED).await, Some(Step::Held { ring: 0 }));
    assert!(matches!(site.step(TWIN).await, Some(Step::Waits { ring: 1, .. })));
    site.clock.advance(DAYS * 7 + HOURS);
    assert_eq!(site.run().await, "1 approval");
    assert_eq!(site.approved().await, [(TWIN, ALL)]);
    // What is let go on leaves the ring as it is, which somebody said something for.
    let resumed = site.jobs.resume_rule(&kept, [].into(), "kim").await.unwrap();
    assert_eq!((resumed.stopped.len(), resumed.held), (0, vec![id(LICENSED)]));
    assert_eq!(site.run().await, "1 approval");
    assert_eq!(site.approved().await, [(LICENSED, ALL), (TWIN, ALL)]);
    assert_eq!(site.run().await, "nothing was due");
    // A decline that is taken back is no word any more; what is taken back after the rule said it is one.
    site.store.catalog().decide(vec![id(OTHER)], Deciding::Reset, "kim".into(), String::new()).await.unwrap();
    assert_eq!(site.run().await, "1 approval");
    site.say(OTHER, group(2), Said::Inherit).await;
    site.clock.advance(DAYS * 20);
    assert_eq!(site.run().await, "nothing was due");
    assert_eq!(site.step(OTHER).await, Some(Step::Held { ring: 0 }));
    // Switched off it does nothing; a preview tells all the same.
    let kept = site.store.rules().all().await.unwrap().pop().unwrap();
    let off = Rule { enabled: false, ..kept.rule.clone() };
    let kept = site.store.rules().put(kept, off, "kim".into(), Event::Disabled, String::new()).await.unwrap();
    site.jobs.resume_rule(&kept, [].into(), "kim").await.unwrap();
    assert_eq!(site.run().await, "nothing was due");
    assert!(matches!(site.step(OTHER).await, Some(Step::Releases { ring: 1, .. })));
    assert!(!site.look().await.is_due());
    // A rule whose group is gone does nothing.
    let on = Rule { enabled: true, ..kept.rule.clone() };
    site.store.rules().put(kept, on, "kim".into(), Event::Enabled, String::new()).await.unwrap();
    site.store.approvals().change(Change::Remove(group(2)), "kim".into()).await.unwrap();
    assert_eq!(site.run().await, "nothing was due");
    assert_eq!(site.look().await.rules[0].lost, [group(2)]);
    site.close().await;
}

fn made(at: u32, category: UpdateId, kind: Kind, days: u64) -> Update {
    Update {
        deployable: true,
        created: Some(Timestamp::from_ms(DAY + days * 86_400_000)),
        prerequisites: vec![Clause { any_of: vec![category], is_category: true }],
        ..Update::new(identity(at, 200), kind)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_and_drivers_wait_for_a_rule_that_names_them() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path()).await;
    let catalog = site.store.catalog();
    take(&catalog, made(0x20, known::UPGRADES, Kind::Software, 0)).await;
    take(&catalog, made(0x21, known::DRIVERS, Kind::Driver, 0)).await;
    take(&catalog, made(0x22, known::SECURITY_UPDATES, Kind::Software, 0)).await;
    take(&catalog, made(0x23, known::SECURITY_UPDATES, Kind::Software, 40)).await;
    let kept = site
        .rule(|rule| {
            rule.takes = Takes::default();
            rule.rings.truncate(1);
        })
        .await;
    site.run().await;
    let updates: Vec<u32> = site.approved().await.into_iter().map(|(update, _)| update).collect();
    assert_eq!(updates, [LICENSED, TWIN, OTHER, 0x22], "and what is of a day that has not come waits");
    assert!(matches!(site.step(0x23).await, Some(Step::Waits { ring: 0, .. })));
    let takes = Takes { classifications: [known::UPGRADES].into(), ..Takes::default() };
    let named = Rule { takes, ..kept.rule.clone() };
    site.store.rules().put(kept, named, "kim".into(), Event::Changed, String::new()).await.unwrap();
    assert_eq!(site.run().await, "1 approval");
    assert!(site.approved().await.contains(&(0x20, group(2))));
    assert!(!site.approved().await.iter().any(|(update, _)| *update == 0x21));
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_superseded_on_its_way_goes_on_and_ends_where_something_newer_has_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path()).await;
    site.rule(|_| ()).await;
    site.run().await;
    site.clock.advance(DAYS * 3);
    let newer = Update { supersedes: vec![id(TWIN)], ..made(0x30, id(5), Kind::Software, 3) };
    take(&site.store.catalog(), newer).await;
    assert_eq!(site.run().await, "1 approval", "the newer one for the pilots");
    site.clock.advance(DAYS * 4);
    site.run().await;
    assert!(site.approved().await.contains(&(TWIN, ALL)), "others are not left without either for three days");
    site.clock.advance(DAYS * 3);
    assert_eq!(site.run().await, "1 approval; 1 taken back, since something newer has their place");
    let of: Vec<u32> = site.approved().await.into_iter().map(|(update, _)| update).collect();
    assert!(of.contains(&0x30) && !of.contains(&TWIN), "{of:x?}");
    assert_eq!(site.run().await, "nothing was due");
    assert_eq!(site.events().await.last(), Some(&Event::Replaced));
    // What leaves the catalog is forgotten.
    site.store.catalog().let_go(vec![id(TWIN)], false, None).await.unwrap();
    assert_eq!(site.run().await, "nothing was due");
    assert_eq!(site.store.rules().of(1, id(TWIN)).await.unwrap(), None);
    site.close().await;
}

/// Until a condition holds. Time passes by itself here, and each look is one at the store.
async fn until(site: &Site, many: usize) {
    for _ in 0..100_000 {
        if site.approved().await.len() >= many {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?}", site.approved().await);
}

#[tokio::test(start_paused = true)]
async fn a_node_runs_them_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path()).await;
    site.rule(|_| ()).await;
    site.jobs.keep_house();
    until(&site, 3).await;
    let view = site.jobs.list().into_iter().find(|view| view.kind.word() == "rules").unwrap();
    assert_eq!(view.by, "the rules");
    // A cause, and the time.
    site.store.approvals().accept(vec![id(0x50)], "kim".into()).await.unwrap();
    site.jobs.rules_changed();
    site.clock.advance(DAYS * 7 + HOURS);
    until(&site, 5).await;
    assert_eq!(site.jobs.rules_standing().failed, None);
    site.close().await;
}
