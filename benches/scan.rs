//! What a scan costs: 100,000 updates of realistic shape, of which 5,000 are approved or detected. The graph is made, a
//! view of it, and a new machine stages its first scan, all rounds, until nothing more is sent; then it asks again and nothing is new.
//!
//! The shape is that of a real catalog: 19 classifications, 300 products in 40 families, 3,800 detectoids, of which a machine has one in
//! forty; the rest are bundles that can be approved, each with one or two hidden parts that need one to three of the detectoids, and
//! supersede some before them. What is ordered are the newest. Core fragments are 2 to 8 KB, one in a hundred 200 KB.
//!
//! Then the same from the bytes of each request to those of each answer: read, staged, written from fragments that are held as they are in
//! memory, plain and packed. Beside that the node only opens and seals a cookie and moves bytes. Events of reports are read alone, and read
//! and taken into the states of machines.
#![allow(missing_docs, reason = "criterion's macros make public functions without a comment")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a bench stops and tells at the terminal"
)]

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use waystation::base::disk::RealDisk;
use waystation::base::time::{Clock, SystemClock, Timestamp};
use waystation::fleet::compliance::Compliance;
use waystation::fleet::graph::Graph;
use waystation::fleet::order::Ordered;
use waystation::fleet::registry::{Admission, Registry};
use waystation::fleet::scan::{Page, Request, software};
use waystation::fleet::view::{Entry, View};
use waystation::model::deployment::{Action, Endpoint};
use waystation::model::update::{CategoryKind, Clause, Identity, Kind, Update, UpdateId};
use waystation::serve::client::meaning;
use waystation::store::Store;
use waystation::store::catalog::{Batch, Incoming, Related, Upstream, UpstreamKind};
use waystation::store::fleet::{Bios, Os, Registration};
use waystation::wire::soap::Version;
use waystation::wire::wusp;
use waystation::wire::wusp::deployment::{Action as Told, Deployment};
use waystation::wire::wusp::offer::{Offer, Offered, Rest};
use waystation::wire::wusp::{Face, Fragment};
use waystation::wire::xpress::Encoder;

const UPDATES: u32 = 100_000;
const ORDERED: usize = 5_000;
const CLASSIFICATIONS: u32 = 19;
const FAMILIES: u32 = 40;
const PRODUCTS: u32 = 300;
const DETECTOIDS: u32 = 3_800;
/// A machine has one in so many products and detectoids.
const HAS: u32 = 40;

/// splitmix64: the same number gives the same update.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % u64::from(sides)) as u32
    }
}

fn identity(at: u32) -> Identity {
    let id = UpdateId::new(blake3::hash(&at.to_le_bytes()).as_bytes()[..16].try_into().unwrap());
    Identity { id, revision: 200 }
}

fn clause(at: u32, is_category: bool) -> Clause {
    Clause { any_of: vec![identity(at).id], is_category }
}

const FIRST_FAMILY: u32 = CLASSIFICATIONS;
const FIRST_PRODUCT: u32 = FIRST_FAMILY + FAMILIES;
const FIRST_DETECTOID: u32 = FIRST_PRODUCT + PRODUCTS;
const FIRST_SOFTWARE: u32 = FIRST_DETECTOID + DETECTOIDS;

fn made(at: u32) -> Related {
    let mut dice = Dice(u64::from(at).wrapping_mul(0x5851_f42d_4c95_7f2d));
    let category = |kind| Related::new(at + 1, identity(at), Kind::Category(kind));
    match at {
        _ if at < FIRST_FAMILY => category(CategoryKind::Classification),
        _ if at < FIRST_PRODUCT => category(CategoryKind::Family),
        _ if at < FIRST_DETECTOID => Related {
            prerequisites: vec![clause(FIRST_FAMILY + dice.roll(FAMILIES), true)],
            ..category(CategoryKind::Product)
        },
        _ if at < FIRST_SOFTWARE => Related {
            prerequisites: vec![clause(FIRST_PRODUCT + dice.roll(PRODUCTS), false)],
            core: 500 + u64::from(dice.roll(2000)),
            ..Related::new(at + 1, identity(at), Kind::Detectoid)
        },
        // Two parts, then the bundle of them.
        _ if at % 3 < 2 => Related {
            prerequisites: (0..=dice.roll(3))
                .map(|_| Clause {
                    any_of: (0..=dice.roll(4)).map(|_| identity(FIRST_DETECTOID + dice.roll(DETECTOIDS)).id).collect(),
                    is_category: false,
                })
                .collect(),
            core: if dice.roll(100) == 0 { 200_000 } else { 2000 + u64::from(dice.roll(6000)) },
            ..Related::new(at + 1, identity(at), Kind::Software)
        },
        _ => Related {
            deployable: true,
            prerequisites: vec![
                clause(dice.roll(CLASSIFICATIONS), true),
                clause(FIRST_PRODUCT + dice.roll(PRODUCTS), true),
            ],
            members: (1..=1 + dice.roll(2)).map(|back| identity(at - back)).collect(),
            supersedes: (1..=dice.roll(6)).map(|back| identity(at.saturating_sub(900 * back)).id).collect(),
            core: 1000,
            ..Related::new(at + 1, identity(at), Kind::Software)
        },
    }
}

/// Memory of this process that no file stands for, in bytes.
fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// All rounds of a first scan; how many, and what is held then: installed and no leaf; all else.
fn first(view: &View, has: &HashSet<UpdateId>) -> (usize, Vec<u32>, Vec<u32>) {
    let (mut rounds, mut installed, mut cached, mut mark) = (0, Vec::new(), Vec::new(), 0);
    loop {
        let request = Request { installed: &installed, cached: &cached, mark, two_groups: false };
        let answer = software(view, None, &request, Page::of(view)).unwrap();
        rounds += 1;
        mark = answer.mark;
        let mut goes_on = answer.truncated;
        for entry in &answer.new {
            goes_on |= !entry.is_leaf;
            let list = if !entry.is_leaf && has.contains(&entry.identity.id) { &mut installed } else { &mut cached };
            list.push(entry.number);
        }
        if !goes_on {
            return (rounds, installed, cached);
        }
    }
}

/// A fragment of about so many bytes: rules of the kind that real ones are full of.
fn fragment(entry: &Entry) -> String {
    let mut dice = Dice(u64::from(entry.number));
    let mut text = format!(
        r#"<UpdateIdentity UpdateID="{}" RevisionNumber="{}" /><Properties UpdateType="Software" ExplicitlyDeployable="true" /><ApplicabilityRules><IsInstalled><And>"#,
        entry.identity.id, entry.identity.revision
    );
    while text.len() < entry.core as usize {
        let (number, build) = (dice.roll(30_000), dice.roll(9_000));
        let _ = match dice.roll(3) {
            0 => write!(
                text,
                r#"<b.RegDword Key="HKEY_LOCAL_MACHINE" Subkey="SOFTWARE\Microsoft\Windows NT\CurrentVersion" Value="UBR" Comparison="LessThan" Data="{number}" />"#
            ),
            1 => write!(
                text,
                r#"<b.FileVersion Csidl="37" Path="module{}.dll" Comparison="GreaterThanOrEqualTo" Version="10.0.{number}.{build}" />"#,
                number % 97
            ),
            _ => write!(
                text,
                r#"<Not><b.RegKeyExists Key="HKEY_LOCAL_MACHINE" Subkey="SOFTWARE\Classes\Installer\{:08x}{number:08x}" /></Not>"#,
                dice.roll(u32::MAX)
            ),
        };
    }
    text + "</And></IsInstalled></ApplicabilityRules>"
}

/// A request as an agent sends it.
fn request(installed: &[u32], cached: &[u32]) -> Vec<u8> {
    let list = |name: &str, numbers: &[u32]| {
        let ints = numbers.iter().fold(String::new(), |mut text, number| {
            write!(text, "<int>{number}</int>").unwrap();
            text
        });
        if numbers.is_empty() { String::new() } else { format!("<{name}>{ints}</{name}>") }
    };
    format!(
        r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><SyncUpdates xmlns="http://www.microsoft.com/SoftwareDistribution/Server/ClientWebService"><cookie><Expiration>2026-10-04T16:03:35.9967236Z</Expiration><EncryptedData>{}</EncryptedData></cookie><parameters><ExpressQuery>false</ExpressQuery>{}{}<SkipSoftwareSync>false</SkipSoftwareSync><NeedTwoGroupOutOfScopeUpdates>true</NeedTwoGroupOutOfScopeUpdates><AlsoPerformRegularSync>false</AlsoPerformRegularSync><ComputerSpec/><ProductsParameters><SyncCurrentVersionOnly>false</SyncCurrentVersionOnly><DeviceAttributes>{}</DeviceAttributes><CallerAttributes>Interactive=0;Id=UpdateOrchestrator;</CallerAttributes><Products/></ProductsParameters></parameters></SyncUpdates></s:Body></s:Envelope>"#,
        "A".repeat(176),
        list("InstalledNonLeafUpdateIDs", installed),
        list("OtherCachedUpdateIDs", cached),
        "FlightRing=Retail;OSVersion=10.0.26200.8037;".repeat(45)
    )
    .into_bytes()
}

/// How an answer goes out.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Plain,
    Packed,
}

/// From the bytes of a request to those of its answer; with how many came, and whether the agent asks again.
fn serve(
    view: &View,
    body: &[u8],
    mark: u64,
    fragments: &HashMap<u32, Fragment>,
    form: Form,
) -> (Vec<Entry>, bool, usize, usize) {
    let wusp::Request::Sync(asked) = wusp::decode(Face::Client, body).unwrap().request else {
        panic!("another request")
    };
    let numbers = |given: &[i32]| given.iter().filter_map(|number| u32::try_from(*number).ok()).collect::<Vec<_>>();
    let (installed, cached) = (numbers(&asked.installed), numbers(&asked.cached));
    let held = Request { installed: &installed, cached: &cached, mark, two_groups: asked.two_groups };
    let answer = software(view, None, &held, Page::of(view)).unwrap();
    let mut offer = Offer::updates(Version::V11);
    for entry in &answer.new {
        let deployment = Deployment {
            id: entry.number.cast_signed(),
            action: Told::PreDeploymentCheck,
            deadline: entry.deadline,
            is_assigned: true,
            changed: entry.changed.begin(),
            priority: None,
            hardware_ids: Vec::new(),
            with_zeros: true,
        };
        let offered = Offered { id: entry.number.cast_signed(), deployment, is_leaf: entry.is_leaf };
        offer.revision(&offered, fragments[&entry.number].clone());
    }
    let parts = offer.finish(&Rest {
        out_of_scope: answer.out_of_scope.iter().map(|number| number.cast_signed()).collect(),
        changed: Vec::new(),
        is_truncated: answer.truncated,
        cookie: asked.cookie.unwrap(),
        deployed_out_of_scope: None,
        no_drivers: Some(false),
    });
    let again = answer.truncated || answer.new.iter().any(|entry| !entry.is_leaf);
    let sent = if form == Form::Packed { parts.pack(&mut Encoder::new()).len() } else { parts.to_vec().len() };
    (answer.new, again, parts.len(), sent)
}

/// The requests of a first scan, all rounds, and of the one behind it; bytes of all answers, plain and packed.
fn conversation(
    view: &View,
    has: &HashSet<UpdateId>,
    fragments: &HashMap<u32, Fragment>,
) -> (Vec<Vec<u8>>, Vec<u8>, usize, usize) {
    let (mut installed, mut cached) = (Vec::new(), Vec::new());
    let (mut bodies, mut plain, mut packed) = (Vec::new(), 0, 0);
    loop {
        let body = request(&installed, &cached);
        let (new, again, length, sent) = serve(view, &body, 2, fragments, Form::Packed);
        (plain, packed) = (plain + length, packed + sent);
        bodies.push(body);
        for entry in new {
            let list = if !entry.is_leaf && has.contains(&entry.identity.id) { &mut installed } else { &mut cached };
            list.push(entry.number);
        }
        if !again {
            return (bodies, request(&installed, &cached), plain, packed);
        }
    }
}

/// What an agent reports after a scan that found something: that it scanned, all that it needs and has, and an installation.
fn report() -> Vec<u8> {
    let ids = |from: u32, many: u32| {
        let ids: Vec<String> = (from..from + many).map(|at| identity(at).id.to_string().to_uppercase()).collect();
        ids.join(";")
    };
    let snapshot = format!("<string>U={}</string><string>V={}</string>", ids(0, 30), ids(100, 150));
    let events = [(147, ""), (156, snapshot.as_str()), (183, "")].map(|(event, misc)| {
        format!(
            "<ReportingEvent><BasicData><TargetID><Sid>e1da06a3-5601-43c9-bac3-52d5db701494</Sid></TargetID><SequenceNumber>0</SequenceNumber><TimeAtTarget>2026-10-04T15:20:47.397Z</TimeAtTarget><EventInstanceID>fab199c1-6123-44f2-b01c-a5a92201b011</EventInstanceID><NamespaceID>1</NamespaceID><EventID>{event}</EventID><SourceID>101</SourceID><UpdateID><UpdateID>0daf8592-9e3f-4a8a-9141-d83fafebd09f</UpdateID><RevisionNumber>200</RevisionNumber></UpdateID><Win32HResult>0</Win32HResult><AppName>UpdateOrchestrator</AppName></BasicData><ExtendedData><ReplacementStrings><string>1</string></ReplacementStrings><MiscData><string>G=1507.2601.30012.0</string><string>J=775</string><string>Q=1</string>{misc}<string>c=48</string></MiscData><ComputerBrand>Example</ComputerBrand><ComputerModel>Desk 12</ComputerModel><BiosRevision>unknown</BiosRevision><ProcessorArchitecture>Amd64Compatible</ProcessorArchitecture><OSVersion><Major>10</Major><Minor>0</Minor><Build>26200</Build><Revision>65792</Revision><ServicePackMajor>0</ServicePackMajor><ServicePackMinor>0</ServicePackMinor></OSVersion><OSLocaleID>1033</OSLocaleID></ExtendedData><PrivateData/></ReportingEvent>"
        )
    });
    format!(
        r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><ReportEventBatch xmlns="http://www.microsoft.com/SoftwareDistribution"><cookie><Expiration>2026-10-04T16:03:35.9967236Z</Expiration><EncryptedData>{}</EncryptedData></cookie><clientTime>2026-10-04T15:20:47.397Z</clientTime><eventBatch>{}</eventBatch></ReportEventBatch></s:Body></s:Envelope>"#,
        "A".repeat(176),
        events.concat()
    )
    .into_bytes()
}

fn scan(c: &mut Criterion) {
    let all: Vec<Related> = (0..UPDATES).map(made).collect();
    let before = anonymous();
    let mut graph = Graph::default();
    for related in &all {
        graph.insert(related);
    }
    let (told, taken) = (graph.bytes() as u64, anonymous().saturating_sub(before));
    eprintln!(
        "graph: {} KB counted, {} KB taken, {} bytes an update",
        told / 1000,
        taken / 1000,
        told.max(taken) / u64::from(UPDATES)
    );
    let newest = (FIRST_SOFTWARE..UPDATES).rev().filter(|at| at % 3 == 2).take(ORDERED);
    let ordered: Vec<Ordered> = newest
        .map(|at| Ordered {
            update: identity(at).id,
            action: if at % 10 == 0 { Action::Install } else { Action::PreDeploymentCheck },
            deadline: None,
            changed: 1,
        })
        .collect();
    let view = View::new(&graph, &ordered, 2, None);
    // All classifications and families, some products and some of the detectoids of these.
    let has: HashSet<UpdateId> = (0..FIRST_SOFTWARE)
        .filter(|at| *at < FIRST_PRODUCT || at % HAS == 0 || *at < FIRST_DETECTOID && at % 4 == 0)
        .map(|at| identity(at).id)
        .collect();
    let everything: HashSet<UpdateId> = (0..FIRST_SOFTWARE).map(|at| identity(at).id).collect();
    for (name, has) in [("a machine", &has), ("one that everything fits", &everything)] {
        let (rounds, installed, cached) = first(&view, has);
        eprintln!(
            "{name}: {} revisions delivered ({} KB of memory, {} MB of Core fragments), {} held after {rounds} rounds",
            view.entries().len(),
            view.size() / 1000,
            view.core_bytes() / 1_000_000,
            installed.len() + cached.len()
        );
        assert!(rounds <= 130, "an agent gives up after 200 rounds");
    }
    let mut group = c.benchmark_group("scan");
    group.sample_size(20);
    group.bench_function("view of 5,000 updates", |bencher| {
        bencher.iter(|| View::new(black_box(&graph), black_box(&ordered), 2, None));
    });
    for (name, has) in [("a machine", &has), ("one that everything fits", &everything)] {
        group.bench_function(format!("first scan of {name}, all rounds"), |bencher| {
            bencher.iter(|| first(black_box(&view), has));
        });
        let (_, installed, cached) = first(&view, has);
        group.bench_function(format!("repeat scan of {name}, nothing new"), |bencher| {
            let request = Request { installed: &installed, cached: &cached, mark: 2, two_groups: false };
            bencher.iter(|| {
                let answer = software(black_box(&view), None, black_box(&request), Page::of(&view)).unwrap();
                assert!(answer.new.is_empty() && answer.changed.is_empty() && answer.out_of_scope.is_empty());
                answer
            });
        });
    }
    let fragments: HashMap<u32, Fragment> =
        view.entries().iter().map(|entry| (entry.number, Fragment::escape(&fragment(entry)))).collect();
    for (name, has) in [("a machine", &has), ("one that everything fits", &everything)] {
        let (bodies, last, plain, packed) = conversation(&view, has, &fragments);
        eprintln!(
            "{name}: {} requests of {} KB, the last of {} KB; answers of {} KB, {} KB packed",
            bodies.len(),
            bodies.iter().map(Vec::len).sum::<usize>() / 1000,
            last.len() / 1000,
            plain / 1000,
            packed / 1000
        );
        for (form, how) in [(Form::Plain, "plain answers"), (Form::Packed, "packed answers")] {
            group.bench_function(format!("first scan of {name}, bytes to bytes, {how}"), |bencher| {
                bencher.iter(|| {
                    let served = bodies.iter().map(|body| serve(&view, black_box(body), 2, &fragments, form).3);
                    black_box(served.sum::<usize>())
                });
            });
        }
        group.bench_function(format!("repeat scan of {name}, bytes to bytes"), |bencher| {
            bencher.iter(|| serve(&view, black_box(&last), 2, &fragments, Form::Packed));
        });
        group.bench_function(format!("the request of a repeat scan of {name}, read"), |bencher| {
            bencher.iter(|| wusp::decode(Face::Client, black_box(last.as_slice())).unwrap());
        });
    }
    let batch = report();
    eprintln!("a report of three events, 180 updates among them, has {} KB", batch.len() / 1000);
    group.bench_function("ReportEventBatch, read", |bencher| {
        bencher.iter(|| wusp::decode(Face::Reporting, black_box(batch.as_slice())).unwrap());
    });
    group.finish();
}

const MACHINES: u32 = 1_000;

/// The same report as of another machine, with another update that is needed.
fn report_of(machine: u32, round: u32) -> Vec<u8> {
    let text = String::from_utf8(report()).unwrap();
    let needed = identity(round % 30).id.to_string().to_uppercase();
    let text = text.replace("e1da06a3-5601-43c9-bac3-52d5db701494", &identity(1_000_000 + machine).id.to_string());
    // The first of those that are needed is installed now.
    text.replace(&format!("{needed};"), "").replace("V=", &format!("V={needed};")).into_bytes()
}

/// From the bytes of a report to the states of its updates and what they come to, in memory and gathered for the disk: 1,000 machines that
/// tell of 180 updates each, one of which is another one each time. Beside that the node opens a cookie and writes one word.
fn states(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let config = waystation::store::Config {
        path: dir.path().to_owned(),
        max_size: 1 << 30,
        min_free: 0,
        unproven: Duration::from_hours(24),
        index_cache: 16 << 20,
        open_payloads: 16,
        io_threads: 2,
    };
    let clock = Arc::new(SystemClock);
    let (store, _) = Store::open(config, Arc::new(RealDisk), Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let compliance = Compliance::new(&store);
    runtime.block_on(async {
        let address = "https://up".to_owned();
        let microsoft = Upstream { kind: UpstreamKind::Microsoft, address, unauthenticated: false };
        store.catalog().begin_upstream(microsoft).await.unwrap();
        let incoming = |at: u32| {
            let text = format!("<Update id=\"{}\"/>", identity(at).id);
            Incoming {
                document: text.clone().into(),
                cabinet: false,
                core: text.clone().into(),
                extended: text.clone().into(),
                localized: vec![("en".into(), text.into())],
                urls: vec![],
                update: Update { deployable: true, ..Update::new(identity(at), Kind::Software) },
            }
        };
        let updates = (0..250).map(incoming).collect();
        store.catalog().import(Batch { set: "all".into(), updates, ..Batch::default() }).await.unwrap();
        let registry = Registry::new(store.fleet(), Admission::default());
        let mut all = tokio::task::JoinSet::new();
        for machine in 0..MACHINES {
            let registry = registry.clone();
            all.spawn(async move { registry.registered(registration(machine)).await.unwrap() });
        }
        all.join_all().await;
    });
    let reports: Vec<(UpdateId, Vec<u8>)> = (0..2)
        .flat_map(|round| (0..MACHINES).map(move |at| (identity(1_000_000 + at).id, report_of(at, round))))
        .collect();
    let take = |(client, body): &(UpdateId, Vec<u8>)| {
        let wusp::Request::Events(batch) = wusp::decode(Face::Reporting, body.as_slice()).unwrap().request else {
            panic!("another request")
        };
        let now = clock.now();
        let told = batch.events.iter().filter_map(|event| meaning(event, *client, batch.now, now).unwrap()).collect();
        runtime.block_on(compliance.report(Endpoint(*client), told)).unwrap();
    };
    reports.iter().for_each(take);
    let mut at = 0;
    let mut group = c.benchmark_group("scan");
    group.bench_function("ReportEventBatch, read and taken into the states of 1,000 machines", |bencher| {
        bencher.iter(|| {
            at = (at + 1) % reports.len();
            take(black_box(&reports[at]));
        });
    });
    group.finish();
    let (pairs, differs) = runtime.block_on(async {
        let pairs = compliance.look(waystation::fleet::compliance::board::Board::pairs).await.unwrap();
        (pairs, compliance.check().await.unwrap())
    });
    assert!(pairs == 180 * MACHINES as usize && differs.is_empty(), "{pairs} states, {differs:?}");
    runtime.block_on(store.close()).unwrap();
}

fn registration(machine: u32) -> Registration {
    Registration {
        endpoint: Endpoint(identity(1_000_000 + machine).id),
        name: format!("pc{machine}.example"),
        os: Os::default(),
        maker: String::new(),
        model: String::new(),
        bios: Bios::default(),
        architecture: String::new(),
        client_version: String::new(),
        targets: vec![],
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        at: Timestamp::from_ms(1),
    }
}

criterion_group!(benches, scan, states);
criterion_main!(benches);
