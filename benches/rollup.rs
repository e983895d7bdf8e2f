//! What a parent of 500 nodes with 100,000 endpoints in all costs: their reports, what is kept of them on disk and in memory, and what it
//! takes to look at them.
//!
//! Each node reports itself, as bytes: its heartbeat, and 200 endpoints with 60 updates each. Then each reports once more with four of its
//! endpoints changed, as in a minute of a working day.
//!
//! `WAYSTATION_NODES` and `WAYSTATION_MACHINES` are other numbers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a bench stops and tells at the terminal"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use waystation::base::disk::RealDisk;
use waystation::base::time::{Clock, SystemClock, Timestamp};
use waystation::chain::node::{Chain, Config as ChainConfig};
use waystation::model::chain::below::{About, Actual, Heartbeat, HeldSaid, NodeSaid, Report, Row, Stand, Told};
use waystation::model::chain::ids::NodeId;
use waystation::model::compliance::State;
use waystation::model::deployment::Endpoint;
use waystation::model::update::UpdateId;
use waystation::store::below::{Taken, Taking};
use waystation::store::{Config, Store};
use waystation::wire::peer::report;

/// Updates of which an endpoint tells, and of how many in all.
const STANDS: u32 = 60;
const UPDATES: u32 = 2_000;
/// What all of it may take on disk and in memory.
const DISK_MAX: u64 = 2_000_000_000;
const MEMORY_MAX: u64 = 600_000_000;
/// What a look may take.
const LOOK_MAX: Duration = Duration::from_millis(50);
/// Looks of each kind.
const LOOKS: usize = 20;

fn number(key: &str, usual: u32) -> u32 {
    std::env::var(key).ok().map_or(usual, |text| text.parse().unwrap())
}

fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn id(kind: u8, at: u32) -> [u8; 16] {
    let hash = blake3::hash(&[&[kind][..], &at.to_le_bytes()].concat());
    hash.as_bytes()[..16].try_into().unwrap()
}

fn told(at: u32, turn: u32) -> Told {
    let mut stands: Vec<Stand> = (0..STANDS)
        .map(|one| {
            let word = at.wrapping_mul(7).wrapping_add(one * 31) % UPDATES;
            let state = match (at + one) % 20 {
                0 => State::NotInstalled,
                1 => State::Failed,
                _ => State::Installed,
            };
            let code = if state == State::Failed { -2_145_124_329 } else { 0 };
            Stand { update: UpdateId::new(id(1, word)), state, changed: 1_790_000_000 + at % 86_400 + turn, code }
        })
        .collect();
    stands.sort_unstable_by_key(|stand| stand.update);
    stands.dedup_by_key(|stand| stand.update);
    Told {
        name: format!("pc-{at:06}.site{}.example.org", at % 500),
        system: "Windows 11 24H2".into(),
        contact: 1_790_000_000 + turn,
        scanned: 1_790_000_000 + turn,
        compliant: !at.is_multiple_of(9),
        restart: at.is_multiple_of(17),
        missing: at % 6,
        stands,
    }
}

fn report_of(node: u32, machines: u32, turn: u32) -> Bytes {
    let path = vec![NodeId::new(id(2, node))];
    let said = NodeSaid {
        name: format!("site-{node}"),
        fingerprint: "a".repeat(64),
        heartbeat: Heartbeat {
            at: Timestamp::from_ms(1_790_000_000_000 + u64::from(turn)),
            every_s: 60,
            version: "0.1.0".into(),
            upstream: "parent".into(),
            mode: "replica".into(),
            position: Some("1:123456".into()),
            tls_key: "b".repeat(182),
            sealing_key: "c".repeat(64),
            disk: 1 << 40,
            free: 1 << 39,
            ..Heartbeat::default()
        },
        ..NodeSaid::default()
    };
    let setting = |at: u32| Actual {
        key: format!("section.key{at}"),
        value: "a value".into(),
        place: format!("/etc/waystation/waystation.toml:{at}"),
        locked: true,
        waits: None,
    };
    let held = HeldSaid { settings: (0..30).map(setting).collect(), answers: vec![] };
    let mut rows = vec![Row { path: path.clone(), about: About::Node(serde_json::to_vec(&said).unwrap().into()) }];
    let (first, many) = (node * machines, if turn == 0 { machines } else { 4.min(machines) });
    if turn == 0 {
        rows.push(Row { path: path.clone(), about: About::Held(serde_json::to_vec(&held).unwrap().into()) });
    }
    rows.extend((first..first + many).map(|at| Row {
        path: path.clone(),
        about: About::Endpoint(Endpoint(UpdateId::new(id(3, at))), told(at, turn)),
    }));
    let (from, to) = (u64::from(turn), u64::from(turn) + 1);
    report::write(&Report { epoch: 1, from, to, last: true, rows }).unwrap()
}

/// What is on the disk below a directory.
fn disk(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut all = 0;
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let facts = entry.metadata().unwrap();
        all += if facts.is_dir() { disk(&entry.path()) } else { facts.blocks() * 512 };
    }
    all
}

async fn looks<F: Future<Output = usize>>(what: &str, mut look: impl FnMut() -> F) {
    let mut times = Vec::with_capacity(LOOKS);
    let mut many = 0;
    for _ in 0..LOOKS {
        let begun = Instant::now();
        many = look().await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let (half, most) = (times[LOOKS / 2], times[LOOKS - 1]);
    eprintln!("{what}: {many} rows, p50 {half:.1?}, most {most:.1?}");
    assert!(half < LOOK_MAX, "{what} takes {half:?}, and {LOOK_MAX:?} are wanted");
}

async fn run() {
    let (nodes, machines) = (number("WAYSTATION_NODES", 500), number("WAYSTATION_MACHINES", 100_000));
    let each = machines / nodes;
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        path: dir.path().join("data"),
        max_size: 1 << 40,
        min_free: 0,
        unproven: Duration::from_hours(24),
        index_cache: 64 << 20,
        open_payloads: 16,
        io_threads: 2,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Store::open(config.clone(), Arc::new(RealDisk), Arc::clone(&clock)).unwrap().0;
    let below = store.below();
    let me = NodeId::new([9; 16]);
    let before = anonymous();
    let (mut sent, mut most) = (0, 0);
    for turn in 0..2 {
        let begun = Instant::now();
        let (mut bytes, mut taking) = (0, Duration::ZERO);
        for node in 0..nodes {
            let body = report_of(node, each, turn);
            bytes += body.len();
            let at = Instant::now();
            let child = NodeId::new(id(2, node));
            let report = report::read(&body).unwrap();
            let now = clock.now();
            let taken = below.take(Taking { me, child, report, now, stale: now, keep_gone: false }).await.unwrap();
            assert_eq!(taken, Taken::Kept { refused: 0, changed: true });
            taking += at.elapsed();
            most = most.max(anonymous());
        }
        sent += bytes;
        let word = if turn == 0 { "all" } else { "a minute's changes" };
        let per = taking / nodes;
        eprintln!("{word}: {bytes} bytes in {nodes} reports, {:.1?} in all, {per:.1?} to take one", begun.elapsed());
    }
    assert_eq!(below.check().await.unwrap(), Vec::<String>::new());
    let chain = ChainConfig {
        data: dir.path().join("data"),
        addresses: vec![],
        version: "bench".into(),
        catalog: false,
        replica: true,
        report_every: Duration::from_mins(1),
    };
    let chain = Chain::open(chain, store.clone(), Arc::new(RealDisk), clock).await.unwrap();
    looks("list of nodes with status and counts", || async { chain.nodes().await.unwrap().len() }).await;
    looks("summary of all", || async { below.tally().await.unwrap().endpoints as usize }).await;
    looks("states of all updates, of all nodes", || async { below.counts(None).await.unwrap().len() }).await;
    let one = NodeId::new(id(2, 7));
    looks("states of all updates, of one node", || async { below.counts(Some(one)).await.unwrap().len() }).await;
    looks("a page of 100 endpoints of one node", || async { below.endpoints(one, None, 100).await.unwrap().len() })
        .await;
    let memory = anonymous();
    eprintln!(
        "anonymous memory: {} MB before, {} MB at most while reports came, {} MB after",
        before / 1_000_000,
        most / 1_000_000,
        memory / 1_000_000
    );
    drop(chain);
    store.close().await.unwrap();
    let on_disk = disk(dir.path());
    eprintln!("on disk: {} MB; sent: {} MB", on_disk / 1_000_000, sent / 1_000_000);
    assert!(on_disk < DISK_MAX, "{on_disk} bytes on disk");
    assert!(most < MEMORY_MAX, "{most} bytes in memory");
}

fn main() {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(run());
}
