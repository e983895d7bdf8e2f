//! Nodes below nodes: what checking what a parent sends costs, and how long a new child takes to have the whole catalog.
//!
//! `cargo bench --bench chain -- [content] [bootstrap]`; without a name both.
//!
//! `content`: ranges of 1 MiB of a held payload of 256 MiB, asked of a parent over mutual TLS on loopback by one connection and by four, in
//! shuffled order: each group checked against the BLAKE3, and the same unchecked. Fails where the former is slower than four fifths of the
//! latter.
//!
//! `bootstrap`: an authority that has synchronised `WAYSTATION_UPDATES` updates (100,000) with a simulated upstream publishes them, and a
//! child, which is a process of its own, joins and takes them. Prints how long each takes and the memory of the child.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench stops at the terminal, and prints there"
)]

#[path = "../tests/support/small_store.rs"]
mod small_store;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use upstream_sim::{Character, Options, Sim};
use waystation::base::digest::{Blake3, Digest};
use waystation::base::disk::RealDisk;
use waystation::base::limits::PIECE;
use waystation::base::span::Span;
use waystation::base::time::SystemClock;
use waystation::chain::node::{Chain, Config, Role};
use waystation::fill::{self, Fill};
use waystation::model::filter::Selection;
use waystation::model::origin::AllowList;
use waystation::model::payload::Location;
use waystation::net::tls::mutual::Mutual;
use waystation::net::{self, Bound, Counters, Server};
use waystation::pace::Governor;
use waystation::serve::peer::{self, PeerFace};
use waystation::serve::{self, Face};
use waystation::store::Store;
use waystation::store::catalog::UpstreamKind;
use waystation::sync::{Extras, Runner};
use waystation::upstream::above::place;
use waystation::upstream::wsus::{self, Wsus};
use waystation::upstream::{self, Ask, Method, Proxy, Source, Upstream};

/// Of a child process: the token that it joins with.
const TOKEN: &str = "WAYSTATION_CHAIN_TOKEN";
/// And how many revisions its parent has.
const REVISIONS: &str = "WAYSTATION_CHAIN_REVISIONS";
/// Where a bootstrap of 100,000 updates fails.
const BOOTSTRAP_MAX: Duration = Duration::from_mins(1);
const MEMORY_MAX: u64 = 200_000_000;
const PAYLOAD: u64 = 256 << 20;

struct Node {
    chain: Chain,
    store: Store,
    allow: Arc<AllowList>,
    _peers: Server,
    _dir: tempfile::TempDir,
}

fn http() -> upstream::Config {
    let soon = Duration::from_mins(1);
    upstream::Config {
        proxy: Proxy::default(),
        extra_ca: Vec::new(),
        connect_timeout: soon,
        stall_timeout: soon,
        patience: soon,
        node: format!("ws-{}", std::process::id()),
        hops_max: 8,
        own_addresses: Vec::new(),
    }
}

impl Node {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let store = Store::open(
            waystation::store::Config { index_cache: 64 << 20, ..small_store::config(&data) },
            Arc::new(RealDisk),
            Arc::new(SystemClock),
        );
        let store = store.unwrap().0;
        let bound = Bound::tcp(([127, 0, 0, 1], 0).into()).unwrap();
        let addresses = vec![bound.address().to_string()];
        let report_every = Duration::from_mins(1);
        let config = Config { data, addresses, version: "bench".into(), catalog: true, replica: true, report_every };
        let chain = Chain::open(config, store.clone(), Arc::new(RealDisk), Arc::new(SystemClock)).await.unwrap();
        let running = chain.clone();
        tokio::spawn(async move { running.run(CancellationToken::new()).await });
        let allow = Arc::new(AllowList::new(&[]).unwrap());
        let upstream = Arc::new(Upstream::paced(http(), Arc::clone(&allow), Governor::default()).unwrap());
        let clock = Arc::new(SystemClock);
        let fill = Fill::new(fill::Config::default(), store.clone(), upstream, Arc::clone(&allow), clock.clone());
        let face = Arc::new(Face::new(serve::Config::default(), fill, store.clone(), clock, Box::new(|_| {})));
        let (ca, (certs, key)) = chain.listener().await.unwrap();
        let tls = Mutual::new(ca, certs, key).unwrap();
        let face = PeerFace::new(chain.clone()).with_content(face, peer::Counters::default());
        let listeners = vec![bound.with_tls(tls.server_config())];
        let peers = Server::start(net::Config::default(), listeners, Arc::new(face), Counters::default()).unwrap();
        Self { chain, store, allow, _peers: peers, _dir: dir }
    }

    async fn join(&self, token: &str) {
        self.chain.join(token).await.unwrap();
        self.chain.roles().wait_for(|role| *role == Role::Child).await.unwrap();
        self.chain.ways().wait_for(Option::is_some).await.unwrap();
    }
}

/// Reads so many ranges of 1 MiB over so many connections; bytes a second.
async fn read(source: &Arc<Upstream>, location: &Location, connections: u64, pieces: u64) -> f64 {
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..connections {
        let (source, location) = (Arc::clone(source), location.clone());
        tasks.spawn(async move {
            let mut read = 0_u64;
            for at in (lane..pieces).step_by(connections as usize) {
                // 97 shares no factor with 256.
                let first = at * 97 % (PAYLOAD / PIECE) * PIECE;
                let ask = Ask {
                    location: location.clone(),
                    method: Method::Get,
                    span: Some(Span::at(first, PIECE)),
                    pinned: None,
                    revalidate: None,
                    via: None,
                };
                let mut answer = source.ask(ask).await.unwrap();
                while let Some(bytes) = answer.body.next().await.unwrap() {
                    read += bytes.len() as u64;
                }
            }
            read
        });
    }
    let read: u64 = tasks.join_all().await.into_iter().sum();
    assert_eq!(read, pieces * PIECE);
    read as f64 / began.elapsed().as_secs_f64()
}

async fn content() {
    let (top, child) = (Node::new().await, Node::new().await);
    child.join(&top.chain.invite("child", Duration::from_mins(5), None, true).await.unwrap().token).await;
    let mut bytes = vec![0; PAYLOAD as usize];
    blake3::Hasher::new_derive_key("waystation chain bench").finalize_xof().fill(&mut bytes);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let found = top.store.import(file.path().to_owned(), false, None, vec![]).await.unwrap();
    let digests = found.held.payload().digests;
    let governor = Governor::default();
    let source = Upstream::below(http(), Arc::clone(&child.allow), governor, child.chain.ways()).unwrap();
    let source = Arc::new(source);
    let checked = place(&Digest::Sha256(digests.sha256), Some((digests.blake3, PAYLOAD)));
    let unchecked = place(&Digest::Sha256(digests.sha256), None);
    for connections in [1, 4] {
        // Once to have it all warm, then in turns, the best of each: what else the machine does slows both.
        let pieces = PAYLOAD / PIECE * 2;
        let mut best = [0_f64; 2];
        for round in 0..6 {
            for (best, place) in best.iter_mut().zip([&checked, &unchecked]) {
                let rate = read(&source, place, connections, pieces).await;
                *best = if round == 0 { 0.0 } else { best.max(rate) };
            }
        }
        let [checked, unchecked] = best;
        let share = checked / unchecked;
        println!(
            "1 MiB ranges, {connections} connections: {:.0} MB/s checked, {:.0} MB/s unchecked ({share:.2})",
            checked / 1e6,
            unchecked / 1e6
        );
        assert!(share >= 0.8, "checking costs more than a fifth");
    }
    let counted = source.of_parent().unwrap();
    assert_eq!((counted.bad.get(), counted.without.get()), (0, 0));
    let held = ask_no_such(&source).await;
    println!("a payload that the parent does not have is told in {held:?}");
}

async fn ask_no_such(source: &Arc<Upstream>) -> Duration {
    let location = place(&Digest::Blake3(Blake3::new([9; 32])), None);
    let ask = Ask { location, method: Method::Get, span: None, pinned: None, revalidate: None, via: None };
    let began = Instant::now();
    assert!(source.ask(ask).await.is_err());
    began.elapsed()
}

fn status(of: &str, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{of}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

async fn revisions(store: &Store) -> u64 {
    store.catalog().census().await.unwrap().values().sum()
}

/// The child process.
async fn child(token: &str, wanted: u64) {
    let node = Node::new().await;
    let began = Instant::now();
    node.join(token).await;
    let mut told = node.chain.told();
    let verified = async {
        while node.chain.seen().position.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    };
    let first = verified.await;
    while revisions(&node.store).await < wanted || told.borrow_and_update().is_none() {
        tokio::select! {
            _ = told.changed() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
    println!("verified after {first:?}, in the catalog after {:?}", began.elapsed());
}

async fn bootstrap() {
    let updates = std::env::var("WAYSTATION_UPDATES").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let character = Character::Wsus;
    let sim = Sim::start(Options { character, seed: 3, updates, ..Options::default() }).unwrap();
    let top = Node::new().await;
    let id = "0fa1201d-4330-4fa8-8ae9-b877473b6441".parse().unwrap();
    let spool = tempfile::tempdir().unwrap();
    let config = wsus::Config::new(&sim.url(), "node.example.org", id, http(), spool.path().to_owned());
    let config = wsus::Config { answer_timeout: Duration::from_mins(10), ..config };
    let wsus = Wsus::new(config, &Governor::default()).unwrap();
    let (chosen, kind) = (Arc::new(Selection::default), UpstreamKind::Wsus);
    let (store, clock) = (top.store.clone(), Arc::new(SystemClock));
    let runner = Runner::with(kind, &sim.url(), wsus, store, chosen, clock, Extras::default());
    let began = Instant::now();
    runner.run(&CancellationToken::new()).await.unwrap();
    let held = revisions(&top.store).await;
    println!("{held} updates synchronised in {:?}", began.elapsed());
    drop(sim);

    let began = Instant::now();
    let token = top.chain.invite("child", Duration::from_hours(1), None, true).await.unwrap().token;
    let mut moved = top.chain.moved();
    // It is all there when nothing more comes.
    while tokio::time::timeout(Duration::from_secs(3), moved.changed()).await.is_ok() {}
    let took = began.elapsed().saturating_sub(Duration::from_secs(3));
    let live = top.store.feed().live().await.unwrap().len();
    println!("{live} records published in {took:?}: {:.0} a second", live as f64 / took.as_secs_f64());

    let me = std::env::current_exe().unwrap();
    let began = Instant::now();
    let mut process = Command::new(me)
        .env(TOKEN, token)
        .env(REVISIONS, held.to_string())
        .env("MALLOC_ARENA_MAX", "2")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let (pid, mut most) = (process.id().to_string(), 0);
    let status = loop {
        most = most.max(status(&pid, "RssAnon:"));
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let took = began.elapsed();
    assert!(status.success());
    println!(
        "a child has them after {took:?} ({:.0} records a second), with at most {} MB of anonymous memory",
        live as f64 / took.as_secs_f64(),
        most / 1_000_000
    );
    if updates == 100_000 {
        assert!(took <= BOOTSTRAP_MAX, "a bootstrap takes longer than {BOOTSTRAP_MAX:?}");
        assert!(most <= MEMORY_MAX, "a bootstrap takes more than {MEMORY_MAX} bytes");
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let (Ok(token), Ok(wanted)) = (std::env::var(TOKEN), std::env::var(REVISIONS)) {
        return runtime.block_on(child(&token, wanted.parse().unwrap()));
    }
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|word| word == name);
    if is_asked("content") {
        runtime.block_on(content());
    }
    if is_asked("bootstrap") {
        runtime.block_on(bootstrap());
    }
}
