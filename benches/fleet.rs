//! What 20,000 endpoints cost: their reports, the states of their updates on disk and in memory, and a look of the rules over them and a
//! catalog of 100,000 updates.
//!
//! A third of the catalog can be approved; of that a quarter, some 8,000, has nothing newer. Each endpoint tells of 300 of these, of which it
//! needs 40, as a machine does for which a few products are looked for. Then it reports once more, with one of them installed.
//!
//! Figures are processor time of the whole process, the store's writer among it, since other work on the machine changes the time on the wall.
//! `WAYSTATION_UPDATES` and `WAYSTATION_MACHINES` are other numbers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a bench stops and tells at the terminal"
)]

#[path = "../tests/support/hand_clock.rs"]
mod hand_clock;

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redb::{ReadableDatabase as _, ReadableTableMetadata as _, TableHandle as _};
use waystation::base::disk::RealDisk;
use waystation::base::time::{Clock, SystemClock, Timestamp};
use waystation::fleet::compliance::Compliance;
use waystation::fleet::compliance::board::Board;
use waystation::fleet::registry::{Admission, Registered, Registry};
use waystation::jobs::rules::Which;
use waystation::jobs::{self, Jobs};
use waystation::model::deployment::Endpoint;
use waystation::model::deployment::rules::{Ring, Rule, Stop, Takes};
use waystation::model::filter::known;
use waystation::model::group::{Level, Node};
use waystation::model::policy::Group;
use waystation::model::update::{CategoryKind, Clause, Eula, Identity, Kind, Severity, Text, Update, UpdateId};
use waystation::serve::client::meaning;
use waystation::store::approvals::Change;
use waystation::store::catalog::{Batch, Catalog, Incoming, Upstream, UpstreamKind};
use waystation::store::fleet::{Bios, Os, Registration};
use waystation::store::rules::Kept;
use waystation::store::{Config, Store};
use waystation::wire::wusp::{self, Face};

use crate::hand_clock::HandClock;

const DAY_MS: u64 = 86_400_000;
const DAYS: Duration = Duration::from_hours(24);
/// Updates in one transaction.
const BATCH: u32 = 500;
/// What an endpoint tells of, and how many of these it needs.
const TOLD: usize = 300;
const NEEDED: usize = 40;
/// One machine of so many is a pilot.
const PILOTS: u32 = 20;
/// What the states may take, on disk and in memory.
const DISK_MAX: u64 = 500_000_000;
const MEMORY_MAX: u64 = 200_000_000;
/// What a look of the rules may take.
const LOOK_MAX: Duration = Duration::from_secs(1);

fn number(key: &str, usual: u32) -> u32 {
    std::env::var(key).ok().map_or(usual, |text| text.parse().unwrap())
}

/// Processor time of this process so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("the bench counts processor time as Linux tells it");
    // The name of the program, in parentheses, may hold anything: utime and stime are the 12th and 13th field behind it.
    let behind = &stat[stat.rfind(')').unwrap() + 1..];
    let ticks: u64 = behind.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// Of it, what came since then.
fn since(before: Duration) -> Duration {
    cpu().saturating_sub(before)
}

/// Memory of this process that no file stands for, in bytes.
fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn identity(at: u32) -> Identity {
    let id = UpdateId::new(blake3::hash(&at.to_le_bytes()).as_bytes()[..16].try_into().unwrap());
    Identity { id, revision: 200 }
}

fn machine(at: u32) -> Endpoint {
    Endpoint(identity(0x4000_0000 + at).id)
}

/// The classifications that there are, with those that the shipped rules name.
const CLASSES: u32 = 8;
const FAMILIES: u32 = 40;
const PRODUCTS: u32 = 300;
const FIRST_PRODUCT: u32 = CLASSES + FAMILIES;
const FIRST_SOFTWARE: u32 = FIRST_PRODUCT + PRODUCTS;

fn class(at: u32) -> UpdateId {
    let known = [known::SECURITY_UPDATES, known::CRITICAL_UPDATES, known::UPDATE_ROLLUPS, known::DEFINITION_UPDATES];
    known.get(at as usize).copied().unwrap_or_else(|| identity(at).id)
}

/// The same number gives the same update.
fn dice(at: u32, salt: u32, sides: u32) -> u32 {
    let hash = blake3::hash(&[at.to_le_bytes(), salt.to_le_bytes()].concat());
    u32::from_le_bytes(hash.as_bytes()[..4].try_into().unwrap()) % sides
}

/// Whether an update is one that people see and that has nothing newer.
fn is_open(at: u32, updates: u32) -> bool {
    is_deployable(at) && (at + GENERATION >= updates || !supersedes(at + GENERATION))
}

/// From one update to the one that may take its place; a multiple of three.
const GENERATION: u32 = 1_200;

fn is_deployable(at: u32) -> bool {
    at >= FIRST_SOFTWARE && at % 3 == 2
}

fn supersedes(at: u32) -> bool {
    at >= FIRST_SOFTWARE + GENERATION && dice(at, 1, 4) > 0
}

/// Of five years, the last ones made the newest.
fn made(at: u32, updates: u32, now: u64) -> Update {
    let clause = |id: UpdateId| Clause { any_of: vec![id], is_category: true };
    let family = |at: u32| identity(CLASSES + at % FAMILIES).id;
    let age = u64::from(updates - at) * 5 * 365 * DAY_MS / u64::from(updates);
    let titled = |title: String| vec![Text { language: "en".into(), title, description: String::new() }];
    match at {
        _ if at < CLASSES => Update {
            texts: titled(format!("Classification {at}")),
            ..Update::new(Identity { id: class(at), revision: 1 }, Kind::Category(CategoryKind::Classification))
        },
        _ if at < FIRST_PRODUCT => Update {
            texts: titled(format!("Family {at}")),
            ..Update::new(identity(at), Kind::Category(CategoryKind::Family))
        },
        _ if at < FIRST_SOFTWARE => Update {
            texts: titled(format!("Product {at}")),
            prerequisites: vec![clause(family(at))],
            ..Update::new(identity(at), Kind::Category(CategoryKind::Product))
        },
        _ => Update {
            texts: titled(format!("2026-10 Cumulative Update for Product {} (KB50{at:06})", at % PRODUCTS)),
            deployable: is_deployable(at),
            kbs: vec![format!("50{at:06}")],
            severity: [Severity::Unspecified, Severity::Important, Severity::Critical][dice(at, 2, 3) as usize],
            created: Some(Timestamp::from_ms(now - age)),
            prerequisites: vec![
                clause(class(dice(at, 3, CLASSES))),
                clause(identity(FIRST_PRODUCT + dice(at, 4, PRODUCTS)).id),
            ],
            supersedes: if is_deployable(at) && supersedes(at) { vec![identity(at - GENERATION).id] } else { vec![] },
            eula: (at % 120 == 2).then(|| Eula { id: identity(0x2000_0000 + at % 50).id, files: vec![] }),
            ..Update::new(identity(at), Kind::Software)
        },
    }
}

fn open(path: &Path) -> Store {
    let config = Config {
        path: path.to_owned(),
        max_size: 1 << 40,
        min_free: 0,
        unproven: Duration::from_hours(24),
        index_cache: 64 << 20,
        open_payloads: 64,
        io_threads: 2,
    };
    Store::open(config, Arc::new(RealDisk), Arc::new(SystemClock)).unwrap().0
}

async fn import(catalog: &Catalog, updates: u32, now: u64) {
    let address = "https://sws".to_owned();
    let upstream = Upstream { kind: UpstreamKind::Microsoft, address, unauthenticated: false };
    catalog.begin_upstream(upstream).await.unwrap();
    for from in (0..updates).step_by(BATCH as usize) {
        let incoming = |at: u32| {
            let update = made(at, updates, now);
            let text = format!("<Update id=\"{}\"/>", update.identity);
            let localized = vec![("en".into(), text.clone().into())];
            let (document, core, extended) = (text.clone().into(), text.clone().into(), text.into());
            Incoming { document, cabinet: false, core, extended, localized, urls: vec![], update }
        };
        let updates = (from..updates.min(from + BATCH)).map(incoming).collect();
        catalog.import(Batch { set: "all".into(), updates, ..Batch::default() }).await.unwrap();
    }
}

fn registration(at: u32, now: Timestamp) -> Registration {
    let [_, high, middle, low] = at.to_be_bytes();
    Registration {
        endpoint: machine(at),
        name: format!("pc{at}.site.example"),
        os: Os { major: 10, build: 26_100, ..Os::default() },
        maker: "Example Works".into(),
        model: "Desk 12".into(),
        bios: Bios::default(),
        architecture: "AMD64".into(),
        client_version: "1507.2601.30012.0".into(),
        targets: if at.is_multiple_of(PILOTS) { vec!["Pilot".into()] } else { vec![] },
        address: Ipv4Addr::new(10, high, middle, low).into(),
        at: now,
    }
}

/// What an endpoint reports after its scan `turn`: an event 147, a 156, and of some machines that an installation failed.
fn report(of: u32, turn: usize, open: &[UpdateId]) -> Vec<u8> {
    let from = dice(of, 5, u32::try_from(open.len()).unwrap()) as usize;
    let told = |many: std::ops::Range<usize>| {
        let ids: Vec<String> = many.map(|at| open[(from + at) % open.len()].to_string().to_uppercase()).collect();
        ids.join(";")
    };
    let snapshot = format!(
        "<string>U={}</string><string>V={}</string>",
        told(turn..NEEDED),
        told(NEEDED..TOLD) + ";" + &told(0..turn)
    );
    let failed = open[(from + NEEDED - 1) % open.len()];
    let mut events = String::new();
    for (event, result, misc) in [(147, 0, ""), (156, 0, snapshot.as_str()), (182, -2_147_023_293, "")] {
        if event == 182 && !of.is_multiple_of(10) {
            continue;
        }
        let _ = write!(
            events,
            "<ReportingEvent><BasicData><TargetID><Sid>{}</Sid></TargetID><SequenceNumber>0</SequenceNumber><TimeAtTarget>{}</TimeAtTarget><EventInstanceID>{}</EventInstanceID><NamespaceID>1</NamespaceID><EventID>{event}</EventID><SourceID>101</SourceID><UpdateID><UpdateID>{failed}</UpdateID><RevisionNumber>200</RevisionNumber></UpdateID><Win32HResult>{result}</Win32HResult><AppName>UpdateOrchestrator</AppName></BasicData><ExtendedData><ReplacementStrings><string>1</string></ReplacementStrings><MiscData><string>G=1507.2601.30012.0</string><string>J=775</string><string>Q=1</string>{misc}<string>c=48</string></MiscData><ComputerBrand>Example</ComputerBrand><ComputerModel>Desk 12</ComputerModel><BiosRevision>unknown</BiosRevision><ProcessorArchitecture>Amd64Compatible</ProcessorArchitecture><OSVersion><Major>10</Major><Minor>0</Minor><Build>26200</Build><Revision>65792</Revision><ServicePackMajor>0</ServicePackMajor><ServicePackMinor>0</ServicePackMinor></OSVersion><OSLocaleID>1033</OSLocaleID></ExtendedData><PrivateData/></ReportingEvent>",
            machine(of).0,
            SystemClock.now(),
            identity(dice(of, 6 + turn as u32, u32::MAX)).id,
        );
    }
    format!(
        r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><ReportEventBatch xmlns="http://www.microsoft.com/SoftwareDistribution"><cookie><Expiration>2026-10-04T16:03:35.9967236Z</Expiration><EncryptedData>{}</EncryptedData></cookie><clientTime>2026-10-04T15:20:47.397Z</clientTime><eventBatch>{events}</eventBatch></ReportEventBatch></s:Body></s:Envelope>"#,
        "A".repeat(176),
    )
    .into_bytes()
}

/// All endpoints report once; what one batch costs, from its bytes to what is written of its states.
async fn reports(store: &Store, compliance: &Compliance, machines: u32, turn: usize, open: &[UpdateId]) {
    let mut spent = Duration::ZERO;
    for from in (0..machines).step_by(1_000) {
        // Making them up is no work of the node's.
        let bodies: Vec<(Endpoint, Vec<u8>)> =
            (from..machines.min(from + 1_000)).map(|at| (machine(at), report(at, turn, open))).collect();
        let before = cpu();
        for (endpoint, body) in &bodies {
            let wusp::Request::Events(batch) = wusp::decode(Face::Reporting, body.as_slice()).unwrap().request else {
                panic!("another request")
            };
            let now = SystemClock.now();
            let told = batch.events.iter().filter_map(|event| meaning(event, endpoint.0, None, now).unwrap()).collect();
            compliance.report(*endpoint, told).await.unwrap();
        }
        if from + 1_000 >= machines {
            store.fleet().keep_states().await.unwrap();
        }
        spent += since(before);
    }
    eprintln!(
        "reports, turn {turn}: {:.0} batches a second of processor time, each with {TOLD} states, all written",
        f64::from(machines) / spent.as_secs_f64()
    );
}

/// Bytes of the tables of endpoints, and of all tables.
fn tables(path: &Path) -> (u64, u64) {
    let database = redb::Database::open(path.join("node.redb")).unwrap();
    let tx = database.begin_read().unwrap();
    let (mut own, mut all) = (0, 0);
    for table in tx.list_tables().unwrap() {
        let name = table.name().to_owned();
        let stats = tx.open_untyped_table(table).unwrap().stats().unwrap();
        let bytes = stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes();
        all += bytes;
        if name.starts_with("fleet-") {
            own += bytes;
            eprintln!("  {name}: {} MB", bytes / 1_000_000);
        }
    }
    (own, all)
}

/// Looks, the least of three: the others were disturbed.
async fn look(jobs: &Jobs, kept: &Kept, what: &str) {
    let which = Which { rule: Some(kept.number), ..Which::default() };
    let mut least = Duration::MAX;
    let mut told = String::new();
    for _ in 0..3 {
        let before = cpu();
        let looked = jobs.look_at_rules(which).await.unwrap();
        least = least.min(since(before));
        let of = &looked.rules[0];
        told = format!("{} rows, {} done", of.rows.len(), of.done);
    }
    eprintln!("a look of {} {what}: {least:.0?} ({told})", kept.rule.name);
    assert!(least <= LOOK_MAX, "more than it may take");
}

async fn run(jobs: &Jobs, kept: &Kept) {
    let before = cpu();
    let view = jobs.run_rules(Some(kept.number), "bench").await.unwrap();
    assert_eq!(view.state.word(), "done", "{view:?}");
    eprintln!("a run of {}: {:.1?} ({})", kept.rule.name, since(before), view.result.unwrap_or_default());
}

async fn rules(store: &Store, compliance: &Compliance) {
    let pilots = Group(UpdateId::new([7; 16]));
    let entry = Node {
        id: pilots,
        name: "Pilot".into(),
        level: Level::Group,
        parent: Group::ALL_ENDPOINTS,
        is_test: false,
        asks_review: false,
        rules: vec![],
    };
    store.approvals().change(Change::Add(entry), "bench".into()).await.unwrap();
    // The endpoints are established by then.
    let clock = HandClock::at(SystemClock.now().after(DAYS * 8).ms());
    let config = jobs::Config { scrub_every: None, ..jobs::Config::default() };
    let jobs = Jobs::offline(config, store.clone(), clock.clone());
    jobs.judge_by(compliance.clone());
    let rings = vec![Ring { target: pilots, after: 0 }, Ring { target: Group::ALL_ENDPOINTS, after: 7 }];
    let stop = Some(Stop { percent: 10, sample: 10 });
    let classifications = [known::SECURITY_UPDATES, known::CRITICAL_UPDATES, known::UPDATE_ROLLUPS].into();
    let monthly = Takes { classifications, newest: Some(60), ..Takes::default() };
    let mut all = Vec::new();
    for (name, takes) in [("the monthly rule", monthly), ("a rule for everything", Takes::default())] {
        let rule = Rule { name: name.into(), enabled: true, takes, rings: rings.clone(), stop, deadline: None };
        all.push(store.rules().add(rule, "bench".into()).await.unwrap());
    }
    let before = cpu();
    jobs.look_at_rules(Which { rule: Some(all[0].number), ..Which::default() }).await.unwrap();
    eprintln!("the first look of all, which makes the index of the search: {:.0?}", since(before));
    for kept in &all {
        look(&jobs, kept, "that is due for its pilots").await;
        run(&jobs, kept).await;
        look(&jobs, kept, "with nothing due").await;
    }
    clock.advance(DAYS * 7 + Duration::from_hours(1));
    for kept in &all {
        look(&jobs, kept, "that is due for the rest, reports counted").await;
        run(&jobs, kept).await;
        look(&jobs, kept, "that all have").await;
    }
    jobs.close().await;
}

fn main() {
    let (updates, machines) = (number("WAYSTATION_UPDATES", 100_000), number("WAYSTATION_MACHINES", 20_000));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let now = SystemClock.now();
    let open_ids: Vec<UpdateId> = (0..updates).filter(|at| is_open(*at, updates)).map(|at| identity(at).id).collect();
    eprintln!("{updates} updates, {} of them open, {machines} endpoints", open_ids.len());
    runtime.block_on(async {
        let store = open(&path);
        import(&store.catalog(), updates, now.ms()).await;
        eprintln!("the catalog is there after {:.0?} of processor time", cpu());
        let compliance = Compliance::new(&store);
        let registry = Registry::new(store.fleet(), Admission::default());
        let before = cpu();
        for from in (0..machines).step_by(1_000) {
            let mut all = tokio::task::JoinSet::new();
            for at in from..machines.min(from + 1_000) {
                let registry = registry.clone();
                all.spawn(async move { registry.registered(registration(at, now)).await.unwrap() });
            }
            assert!(all.join_all().await.into_iter().all(|came| came == Registered::Accepted));
        }
        eprintln!("registrations: {:.0} us each", since(before).as_secs_f64() * 1e6 / f64::from(machines));
        for turn in 0..3 {
            reports(&store, &compliance, machines, turn, &open_ids).await;
        }
        drop(compliance);
        store.close().await.unwrap();
    });
    let (own, all) = tables(&path);
    eprintln!("on disk: {} MB of endpoints, {} MB in all", own / 1_000_000, all / 1_000_000);
    runtime.block_on(async {
        let store = open(&path);
        // What the index takes to be read is not the endpoints'.
        store.catalog().standing().await.unwrap();
        let before = anonymous();
        let compliance = Compliance::new(&store);
        let (pairs, counted) = compliance.look(|board: &Board| (board.pairs(), board.bytes())).await.unwrap();
        let taken = anonymous().saturating_sub(before);
        eprintln!(
            "in memory after a start: {pairs} states, {} MB counted, {} MB more than before, caches of the index among it",
            counted / 1_000_000,
            taken / 1_000_000
        );
        assert!(own <= DISK_MAX && taken <= MEMORY_MAX, "more than it may take");
        rules(&store, &compliance).await;
        store.close().await.unwrap();
    });
}
