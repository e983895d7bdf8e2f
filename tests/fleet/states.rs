//! What endpoints report, kept: it outlives a restart and lies in a backup, follows the catalog and the registry, leaves nothing behind
//! when an endpoint is forgotten, and takes little room at thousands of machines.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use waystation::base::disk::RealDisk;
use waystation::base::time::{SystemClock, Timestamp};
use waystation::fleet::compliance::Compliance;
use waystation::fleet::compliance::ask::{self, Summary, Wanted};
use waystation::fleet::compliance::counters::Disbelief;
use waystation::fleet::compliance::facts::Licence;
use waystation::fleet::compliance::told::{Told, What};
use waystation::fleet::registry::{Admission, Registry};
use waystation::model::compliance::{Policy, State};
use waystation::model::deployment::{Action, Endpoint, Said, Target};
use waystation::model::update::{Eula, Identity, Kind, Members, Severity, Update, UpdateId};
use waystation::store::approvals::Saying;
use waystation::store::catalog::{Batch, Catalog, Deciding, Incoming, Upstream, UpstreamKind};
use waystation::store::fleet::{Bios, CHANGES_MAX, Os, Registration};
use waystation::store::{Config, Store};

const T: u32 = 1_800_000_000;

fn config(path: &Path) -> Config {
    Config {
        path: path.to_owned(),
        max_size: 4 << 30,
        min_free: 0,
        unproven: Duration::from_hours(24),
        index_cache: 8 << 20,
        open_payloads: 16,
        io_threads: 2,
    }
}

fn open(path: &Path) -> Store {
    Store::open(config(path), Arc::new(RealDisk), Arc::new(SystemClock)).unwrap().0
}

fn id(of: u32) -> UpdateId {
    let mut bytes = [3; 16];
    bytes[..4].copy_from_slice(&of.to_be_bytes());
    UpdateId::new(bytes)
}

fn endpoint(of: u32) -> Endpoint {
    Endpoint(id(1_000_000 + of))
}

fn update(of: u32, supersedes: &[u32]) -> Update {
    Update {
        deployable: true,
        severity: if of.is_multiple_of(2) { Severity::Critical } else { Severity::Low },
        supersedes: supersedes.iter().map(|of| id(*of)).collect(),
        ..Update::new(Identity { id: id(of), revision: 1 }, Kind::Software)
    }
}

async fn import(catalog: &Catalog, updates: Vec<Update>) {
    let incoming = |update: Update| {
        let text = format!("<Update id=\"{}\"/>", update.identity);
        Incoming {
            document: text.clone().into(),
            cabinet: false,
            core: text.clone().into(),
            extended: text.clone().into(),
            localized: vec![("en".into(), text.into())],
            urls: vec![],
            update,
        }
    };
    let updates = updates.into_iter().map(incoming).collect();
    catalog.import(Batch { set: "all".into(), updates, ..Batch::default() }).await.unwrap();
}

/// A store whose catalog has updates 1 to `many`, and a part of a bundle beside them.
async fn stocked(path: &Path, many: u32) -> Store {
    let store = open(path);
    let microsoft = Upstream { kind: UpstreamKind::Microsoft, address: "https://up".into(), unauthenticated: false };
    store.catalog().begin_upstream(microsoft).await.unwrap();
    let part = Update { deployable: false, ..update(900_000, &[]) };
    import(&store.catalog(), (1..=many).map(|of| update(of, &[])).chain([part]).collect()).await;
    store
}

fn machine(of: u32) -> Registration {
    Registration {
        endpoint: endpoint(of),
        name: format!("pc{of}.example"),
        os: Os::default(),
        maker: String::new(),
        model: String::new(),
        bios: Bios::default(),
        architecture: String::new(),
        client_version: String::new(),
        targets: vec![],
        address: "127.0.0.1".parse().unwrap(),
        at: Timestamp::from_ms(u64::from(T) * 1000),
    }
}

/// These endpoints are known.
async fn register(store: &Store, which: std::ops::RangeInclusive<u32>) {
    let registry = Registry::new(store.fleet(), Admission::default());
    let mut all = tokio::task::JoinSet::new();
    for of in which {
        let registry = registry.clone();
        all.spawn(async move { registry.registered(machine(of)).await.unwrap() });
    }
    all.join_all().await;
}

fn snapshot(at: u32, states: impl IntoIterator<Item = (u32, State)>) -> Told {
    let states: BTreeMap<_, _> = states.into_iter().map(|(of, state)| (id(of), state)).collect();
    Told { at, what: What::Snapshot(states.into()) }
}

async fn summary(compliance: &Compliance) -> Summary {
    let now = Timestamp::from_ms(u64::from(T) * 1000);
    assert_eq!(compliance.check().await.unwrap(), Vec::<String>::new());
    compliance.look_now(move |board| ask::summary(board, &Policy::default().into(), now)).await.unwrap()
}

async fn states(compliance: &Compliance, of: u32) -> BTreeMap<UpdateId, State> {
    let ask = move |board: &waystation::fleet::compliance::board::Board| {
        let row = board.row(endpoint(of));
        row.map(|row| ask::stands(board, row)).unwrap_or_default()
    };
    compliance.look(ask).await.unwrap().into_iter().map(|one| (one.update, one.state)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_outlives_a_restart_and_lies_in_a_backup() {
    let dir = tempfile::tempdir().unwrap();
    let store = stocked(&dir.path().join("data"), 4).await;
    register(&store, 1..=2).await;
    let compliance = Compliance::new(&store);
    let told = [
        snapshot(T, [(1, State::NotInstalled), (2, State::Failed), (3, State::Installed), (77, State::Installed)]),
        Told { at: T + 1, what: What::Became(id(2), State::Failed, -9) },
        Told { at: T + 2, what: What::Became(id(900_000), State::Failed, -9) },
        Told { at: T - 1, what: What::Became(id(3), State::Failed, -9) },
        Told { at: T + 3, what: What::RestartPending },
    ];
    compliance.report(endpoint(1), told.into()).await.unwrap();
    compliance
        .report(endpoint(1), vec![snapshot(T + 60, [(1, State::PendingRestart), (2, State::Failed)])])
        .await
        .unwrap();
    compliance.report(endpoint(2), vec![Told { at: T, what: What::ScanFailed(-3) }]).await.unwrap();
    let disbelieved = |why| compliance.counters().disbelieved_for(why);
    assert_eq!(disbelieved(Disbelief::UnknownUpdate), 2, "77 is in no catalog, and a part says nothing by itself");
    assert_eq!(disbelieved(Disbelief::Stale), 0, "of a batch the earlier comes first");
    let before =
        (summary(&compliance).await, states(&compliance, 1).await, compliance.history(endpoint(1)).await.unwrap());
    assert_eq!((before.0.totals.endpoints, before.0.totals.unscanned, before.0.totals.failed), (2, 1, 1));
    assert_eq!(before.1, BTreeMap::from([(id(1), State::PendingRestart), (id(2), State::Failed)]));
    let changed: Vec<_> = before.2.iter().map(|one| (one.from, one.to, one.code)).collect();
    let wanted = [
        // Said before the first snapshot, it was what there was to say of it.
        (State::Unknown, State::Failed, -9),
        (State::Failed, State::Failed, -9),
        (State::NotInstalled, State::PendingRestart, 0),
        (State::Installed, State::NotApplicable, 0),
    ];
    assert_eq!(changed, wanted);

    let copy = dir.path().join("copy.redb");
    store.fleet().keep_states().await.unwrap();
    store.backup(copy.clone()).await.unwrap();
    // What was gathered is written at the end too.
    register(&store, 3..=3).await;
    compliance.report(endpoint(3), vec![snapshot(T, [(4, State::Installed)])]).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let store = open(&dir.path().join("data"));
    let again = Compliance::new(&store);
    assert_eq!(states(&again, 1).await, before.1);
    assert_eq!(again.history(endpoint(1)).await.unwrap(), before.2);
    assert_eq!((states(&again, 3).await.len(), summary(&again).await.totals.endpoints), (1, 3));
    store.close().await.unwrap();
    drop(store);
    waystation::store::restore(&config(&dir.path().join("data")), &RealDisk, &copy).map(drop).unwrap();
    let store = open(&dir.path().join("data"));
    let restored = Compliance::new(&store);
    assert_eq!((states(&restored, 1).await, summary(&restored).await), (before.1, before.0));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_the_registry_and_people_move_the_counts() {
    let dir = tempfile::tempdir().unwrap();
    let store = stocked(dir.path(), 4).await;
    let compliance = Compliance::new(&store);
    register(&store, 1..=1).await;
    compliance.report(endpoint(1), vec![snapshot(T, [(1, State::NotInstalled), (2, State::Failed)])]).await.unwrap();
    let missing = async || {
        let wanted = Wanted { missing: true, ..Wanted::default() };
        let lines = compliance.look_now(move |board| ask::updates(board, &wanted)).await.unwrap();
        lines.into_iter().map(|line| line.update).collect::<Vec<_>>()
    };
    assert_eq!(missing().await, [id(2), id(1)], "the worst first");
    import(&store.catalog(), vec![update(9, &[2])]).await;
    assert_eq!(missing().await, [id(2), id(1)], "as long as nobody approved what takes its place it is what there is");
    let decide = async |of: u32, deciding| {
        store.catalog().decide(vec![id(of)], deciding, "ann".into(), String::new()).await.unwrap();
    };
    decide(9, Deciding::Approve { all_files: false }).await;
    assert_eq!((missing().await, summary(&compliance).await.totals.failed), (vec![id(1)], 0), "2 is superseded");
    // Approved itself, for somebody alone, it counts beside.
    let approve = |said| Saying {
        updates: vec![id(2)],
        targets: vec![Target::Endpoint(endpoint(7))],
        said,
        all_files: false,
        by: "ann".into(),
        why: String::new(),
    };
    let install = Said::Do { action: Action::Install, deadline: None };
    store.approvals().say(approve(install)).await.unwrap();
    assert_eq!(missing().await, [id(2), id(1)]);
    store.approvals().say(approve(Said::Inherit)).await.unwrap();
    assert_eq!(missing().await, [id(1)]);
    decide(9, Deciding::Decline).await;
    assert_eq!(missing().await, [id(2), id(1)], "what takes its place is for nobody");
    decide(9, Deciding::Approve { all_files: false }).await;
    store.catalog().decide(vec![id(1)], Deciding::Decline, "ann".into(), String::new()).await.unwrap();
    assert_eq!((missing().await, summary(&compliance).await.totals.up_to_date), (vec![], 1));
    store.catalog().decide(vec![id(1)], Deciding::Reset, "ann".into(), String::new()).await.unwrap();
    assert_eq!(summary(&compliance).await.totals.missing, 1);
    // 9 takes the place of 2, which it has been missing from the beginning.
    compliance.report(endpoint(1), vec![snapshot(T + 86_400, [(9, State::NotInstalled)])]).await.unwrap();
    let since = compliance.look(|board| ask::stands(board, board.row(endpoint(1)).unwrap())[0].missing_since).await;
    assert_eq!(since.unwrap().map(Timestamp::ms), Some(u64::from(T) * 1000));

    // Who registers is there before it tells, and who is forgotten leaves nothing.
    let registry = Registry::new(store.fleet(), Admission::default());
    registry.registered(machine(2)).await.unwrap();
    let totals = summary(&compliance).await.totals;
    assert_eq!((totals.endpoints, totals.unscanned), (2, 1));
    store.fleet().forget(endpoint(1)).await.unwrap();
    store.fleet().forget(endpoint(2)).await.unwrap();
    assert_eq!(summary(&compliance).await.totals, waystation::fleet::compliance::totals::Totals::default());
    assert!(compliance.history(endpoint(1)).await.unwrap().is_empty());
    store.fleet().keep_states().await.unwrap();
    assert!(store.fleet().standings(None).await.unwrap().is_empty(), "what was gathered of it went too");
    // A report that was under way while it was forgotten: neither in memory nor on the disk anything comes of it.
    assert_eq!(compliance.check().await.unwrap(), Vec::<String>::new());
    compliance.report(endpoint(1), vec![snapshot(T + 90_000, [(1, State::Installed)])]).await.unwrap();
    compliance.report(endpoint(1), vec![snapshot(T + 90_001, [(1, State::NotInstalled)])]).await.unwrap();
    store.fleet().keep_states().await.unwrap();
    assert!(store.fleet().standings(None).await.unwrap().is_empty(), "it does not come back");
    assert!(store.fleet().changes(endpoint(1)).await.unwrap().is_empty());
    assert_eq!(summary(&compliance).await.totals.endpoints, 0);
    assert_eq!(compliance.counters().disbelieved_for(Disbelief::Unregistered), 2);
    // It comes again, and has told nothing yet.
    registry.registered(machine(1)).await.unwrap();
    assert!(states(&compliance, 1).await.is_empty());
    assert_eq!(summary(&compliance).await.totals.unscanned, 1);
    compliance.report(endpoint(1), vec![snapshot(T + 90_002, [(1, State::Installed)])]).await.unwrap();
    assert_eq!(summary(&compliance).await.totals.up_to_date, 1);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_has_a_limit_of_what_is_looked_up_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = stocked(dir.path(), 2).await;
    let compliance = Compliance::new(&store);
    register(&store, 1..=1).await;
    // Each of them is as long as one may be, and names others that nobody knows.
    let lists = (0..3).map(|of| {
        let ids = (1..=4_000).map(|at| (10_000 * (of + 1) + at, State::NotInstalled));
        snapshot(T + of, ids.chain([(1, State::Installed)]))
    });
    compliance.report(endpoint(1), lists.collect()).await.unwrap();
    let disbelieved = |why| compliance.counters().disbelieved_for(why);
    assert_eq!(disbelieved(Disbelief::Absurd), 12_001 - 4_096);
    assert_eq!(disbelieved(Disbelief::UnknownUpdate), 12_000);
    assert_eq!(states(&compliance, 1).await, [(id(1), State::Installed)].into());
    store.close().await.unwrap();
}

/// Facts of an update that is told of for the first time are read while somebody decides, and somebody else follows that.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_decided_while_facts_are_learnt_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let store = stocked(dir.path(), 300).await;
    let compliance = Compliance::new(&store);
    register(&store, 1..=300).await;
    for of in 1..=300 {
        let catalog = store.catalog();
        let decide = catalog.decide(vec![id(of)], Deciding::Decline, "ann".into(), String::new());
        let follows = compliance.look_now(|_| ());
        let report = compliance.report(endpoint(of), vec![snapshot(T, [(of, State::NotInstalled)])]);
        let (decided, followed, reported) = tokio::join!(decide, follows, report);
        decided.unwrap();
        followed.unwrap();
        reported.unwrap();
    }
    assert_eq!(compliance.check().await.unwrap(), Vec::<String>::new());
    assert_eq!(summary(&compliance).await.totals.up_to_date, 300, "all that any of them lacks is declined");
    store.close().await.unwrap();
}

/// Whoever tells while it is forgotten and registers anew, in whichever order: memory and disk have the same endpoints.
#[tokio::test(flavor = "multi_thread")]
async fn memory_and_disk_agree_on_who_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = stocked(dir.path(), 2).await;
    let compliance = Compliance::new(&store);
    assert_eq!(summary(&compliance).await.totals.endpoints, 0);
    let registry = Registry::new(store.fleet(), Admission::default());
    let mut all = tokio::task::JoinSet::new();
    for of in 1..=8 {
        let (registry, compliance) = (registry.clone(), compliance.clone());
        all.spawn(async move {
            for round in 0..12 {
                registry.registered(machine(of)).await.unwrap();
                let told = vec![snapshot(T + round, [(1, State::Installed)])];
                let (report, forget) =
                    tokio::join!(compliance.report(endpoint(of), told), registry.forget(endpoint(of)));
                report.unwrap();
                forget.unwrap();
            }
            if of % 2 == 0 {
                registry.registered(machine(of)).await.unwrap();
            }
        });
    }
    all.join_all().await;
    assert_eq!(compliance.check().await.unwrap(), Vec::<String>::new());
    let totals = summary(&compliance).await.totals;
    assert_eq!((totals.endpoints, totals.unscanned), (4, 4), "who comes anew has told nothing");
    store.fleet().keep_states().await.unwrap();
    let kept = store.fleet().standings(None).await.unwrap();
    assert!(
        kept.len() == 4 && kept.iter().all(|(_, standing)| standing.as_ref().is_none_or(|one| one.held.is_empty()))
    );
    store.close().await.unwrap();
}

/// A licence of a part keeps the bundle from being offered, so that it is told of the bundle, with what became of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_licence_of_a_part_is_one_of_its_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let store = stocked(dir.path(), 2).await;
    let part = Update { deployable: false, eula: Some(Eula { id: id(500), files: vec![] }), ..update(21, &[]) };
    let bundle = Update { bundles: vec![Members { any_of: vec![part.identity] }], ..update(20, &[]) };
    import(&store.catalog(), vec![part, bundle]).await;
    register(&store, 1..=1).await;
    let compliance = Compliance::new(&store);
    let told = snapshot(T, [(1, State::NotInstalled), (20, State::NotInstalled)]);
    compliance.report(endpoint(1), vec![told]).await.unwrap();
    let with = async |licence| {
        let wanted = Wanted { missing: true, licence, ..Wanted::default() };
        let lines = compliance.look_now(move |board| ask::updates(board, &wanted)).await.unwrap();
        lines.into_iter().map(|line| (line.update, line.licence)).collect::<Vec<_>>()
    };
    assert_eq!(with(None).await, [(id(20), Licence::Required), (id(1), Licence::None)]);
    assert_eq!(with(Some(Licence::Required)).await, [(id(20), Licence::Required)]);
    store.approvals().accept(vec![id(500)], "ann".into()).await.unwrap();
    assert_eq!(with(Some(Licence::Required)).await, []);
    assert_eq!(with(Some(Licence::Accepted)).await, [(id(20), Licence::Accepted)]);
    assert_eq!(with(Some(Licence::None)).await, [(id(1), Licence::None)]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_has_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = stocked(dir.path(), 1).await;
    register(&store, 1..=1).await;
    let compliance = Compliance::new(&store);
    for at in 0..u32::try_from(2 * CHANGES_MAX).unwrap() {
        let state = if at % 2 == 0 { State::NotInstalled } else { State::Installed };
        compliance.report(endpoint(1), vec![snapshot(T + at, [(1, state)])]).await.unwrap();
        if at == 40 {
            store.fleet().keep_states().await.unwrap();
        }
    }
    let history = compliance.history(endpoint(1)).await.unwrap();
    assert_eq!((history.len(), history.last().map(|one| one.to)), (CHANGES_MAX, Some(State::Installed)));
    store.fleet().keep_states().await.unwrap();
    assert_eq!(compliance.history(endpoint(1)).await.unwrap(), history);
    store.close().await.unwrap();
}

/// A quarter of the size that a node is made for: 5,000 machines with 200 updates each, each of which changed once.
#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_machines_take_little_room() {
    const MACHINES: u32 = 5_000;
    let dir = tempfile::tempdir().unwrap();
    let store = stocked(dir.path(), 250).await;
    for from in (0..MACHINES).step_by(500) {
        register(&store, from..=from + 499).await;
    }
    let index = dir.path().join("node.redb");
    let before = std::fs::metadata(&index).unwrap().len();
    let compliance = Compliance::new(&store);
    for round in 0..2 {
        for of in 0..MACHINES {
            let states = (1..=200).map(|at| {
                let state = if (at + of) % (7 + round) == 0 { State::NotInstalled } else { State::Installed };
                (at + of % 50, state)
            });
            compliance.report(endpoint(of), vec![snapshot(T + of + round * 86_400, states)]).await.unwrap();
        }
    }
    let (pairs, bytes) = compliance.look(|board| (board.pairs(), board.bytes())).await.unwrap();
    assert_eq!(pairs, MACHINES as usize * 200);
    store.close().await.unwrap();
    let grown = std::fs::metadata(&index).unwrap().len() - before;
    assert!(bytes < 50_000_000, "{bytes} bytes of memory");
    assert!(grown < 125_000_000, "{grown} bytes of disk");
}
