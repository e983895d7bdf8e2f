//! A node with a million payloads: how soon after its start it is ready (after an orderly end, with an index that the
//! page cache has forgotten, and after SIGKILL), what a look-up past the open payloads costs, and the memory it takes.
//!
//! Measured is the program itself, by what it answers on its sockets; only `store.find` is timed in this process. It
//! prints figures and fails where a start takes longer than [`START_MAX`]. `WAYSTATION_PAYLOADS` is another number of
//! payloads.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a bench stops and tells at the terminal"
)]

mod grown;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use rustix::fs::{Advice, fadvise};
use rustix::process::{Pid, Signal, kill_process};
use waystation::store::Store;

/// What a start may take.
const START_MAX: Duration = Duration::from_secs(2);
/// Look-ups timed each way.
const ASKED: usize = 50_000;
/// From one name asked for to the next; it shares no factor with a million.
const STRIDE: usize = 618_033;
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

struct Node {
    child: Child,
    http: SocketAddr,
    /// From exec to the first 200 of `/readyz`.
    took: Duration,
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn ready(control: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(control) else { return false };
    let mut text = String::new();
    write!(stream, "GET /readyz HTTP/1.0\r\nHost: {control}\r\n\r\n").is_ok()
        && stream.read_to_string(&mut text).is_ok()
        && text.split(' ').nth(1) == Some("200")
}

impl Node {
    fn start(data: &Path) -> Self {
        let (http, control) = (free_port(), free_port());
        let mut command = Command::new(env!("CARGO_BIN_EXE_waystation"));
        command.arg("serve").arg("--data").arg(data);
        for set in [
            format!("listen.http={http}"),
            format!("listen.https={}", free_port()),
            format!("listen.control={control}"),
            // As few open payloads as the settings allow: nearly every look-up goes past them.
            "store.open_payloads=16".into(),
            "store.max_size=1 TiB".into(),
            "store.min_free=64 MiB".into(),
            "log.level=warn".into(),
        ] {
            command.arg("--set").arg(set);
        }
        let log = File::create(data.with_extension("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let began = Instant::now();
        let mut child = command.spawn().unwrap();
        while !ready(control) {
            assert!(began.elapsed() < PATIENCE, "the node is not ready after {PATIENCE:?}");
            assert!(
                child.try_wait().unwrap().is_none(),
                "the node ended; see {}",
                data.with_extension("log").display()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        Self { took: began.elapsed(), child, http }
    }

    /// Resident memory, of it anonymous, in MiB.
    fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) >> 10
        };
        (field("VmRSS:"), field("RssAnon:"))
    }

    fn end(mut self, signal: Signal) -> Duration {
        let began = Instant::now();
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let status = self.child.wait().unwrap();
        assert!(signal == Signal::KILL || status.success(), "the node ended with {status}");
        began.elapsed()
    }
}

/// Lets the page cache forget the index.
fn forget(data: &Path) {
    let index = File::open(data.join("node.redb")).unwrap();
    index.sync_all().unwrap();
    fadvise(&index, 0, None, Advice::DontNeed).unwrap();
}

/// Prints the spread of `times`.
fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    eprintln!("{what}: p50 {:.1?}, p99 {:.1?}, p99.9 {:.1?}, most {:.1?}", at(0.5), at(0.99), at(0.999), at(1.0));
}

/// What the store itself says of its look-ups: how many of them took no longer than each of these times. The hand-over to the
/// thread that does it and back is not in it.
fn said(store: &Store) {
    let mut registry = Registry::default();
    store.counters().register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let row = |line: &str| {
        let (edge, count) = line.strip_prefix("lookup_seconds_bucket{le=\"")?.split_once("\"} ")?;
        Some((edge.to_owned(), count.parse::<u64>().ok()?))
    };
    let rows: Vec<(String, u64)> = text.lines().filter_map(row).collect();
    let all = rows.last().map_or(0, |(_, count)| *count);
    assert_eq!(all, ASKED as u64, "each look-up is counted");
    for (edge, count) in rows {
        eprintln!("look-ups within {edge} s: {:.2} %", count as f64 * 100.0 / all as f64);
    }
}

/// HEADs over one keep-alive connection.
fn ask(node: &Node, payloads: usize) -> Vec<Duration> {
    let mut stream = TcpStream::connect(node.http).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buf = [0; 4096];
    (0..ASKED)
        .map(|turn| {
            let text = grown::text(turn * STRIDE % payloads);
            let (host, path) = text.split_once('/').unwrap();
            // Written at once: in parts, each would be a packet that wakes the node.
            let request = format!("HEAD /{path}?cacheHostOrigin={host} HTTP/1.1\r\nHost: {}\r\n\r\n", node.http);
            let began = Instant::now();
            stream.write_all(request.as_bytes()).unwrap();
            let mut got = 0;
            while !buf[..got].ends_with(b"\r\n\r\n") {
                let more = stream.read(&mut buf[got..]).unwrap();
                assert!(more > 0, "the connection ended at {text}");
                got += more;
            }
            let took = began.elapsed();
            let head = String::from_utf8_lossy(&buf[..got]);
            assert!(head.starts_with("HTTP/1.1 200") && head.contains("hit"), "{text}: {head}");
            took
        })
        .collect()
}

fn main() {
    let payloads: usize = std::env::var("WAYSTATION_PAYLOADS").map_or(1_000_000, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    grown::fill(&runtime, &data, payloads, None);

    let store = grown::open(&data, 16);
    let times = (0..ASKED)
        .map(|turn| {
            let name = grown::name(turn * STRIDE % payloads);
            let began = Instant::now();
            assert!(runtime.block_on(store.find(&name)).unwrap().is_some());
            began.elapsed()
        })
        .collect();
    tell("store.find, opened and mapped, asked for and answered", times);
    said(&store);
    runtime.block_on(store.close()).unwrap();
    drop(store);

    let mut slowest = Duration::ZERO;
    for (what, cold, signal) in [
        ("after an orderly end", false, Signal::TERM),
        ("again", false, Signal::TERM),
        ("the index not in the page cache", true, Signal::KILL),
        ("after SIGKILL", false, Signal::KILL),
        ("after SIGKILL, the index not in the page cache", true, Signal::TERM),
    ] {
        if cold {
            forget(&data);
        }
        let node = Node::start(&data);
        slowest = slowest.max(node.took);
        let (rss, own) = node.memory();
        eprintln!("start, {what}: ready in {:.0?}; {rss} MiB resident, {own} of them its own", node.took);
        // What a busy node leaves behind when it is killed: a look-up counts as a use, which is written in the background.
        if signal == Signal::KILL {
            ask(&node, payloads);
            std::thread::sleep(Duration::from_secs(35));
        }
        eprintln!("  ended in {:.0?}", node.end(signal));
    }

    let node = Node::start(&data);
    tell("HEAD over loopback", ask(&node, payloads));
    let (rss, own) = node.memory();
    eprintln!("after {ASKED} of them: {rss} MiB resident, {own} of them its own");
    node.end(Signal::TERM);
    assert!(slowest < START_MAX, "a start took {slowest:.1?}");
}
