//! Filling over a link of 20 ms round trip, 30 MB/s a connection and 120 MB/s in all: what clients of a node get, beside
//! what plain connections to the origin would give them.
//!
//! `cargo bench --bench link -- [single] [shuffled] [range] [cut] [slow]`; without a name the first three. Prints figures and
//! judges nothing.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench stops at the terminal, and prints there")]

#[path = "../tests/support/shaped_origin.rs"]
mod shaped_origin;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shaped_origin::{Shape, ShapedOrigin};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use waystation::base::disk::RealDisk;
use waystation::base::limits::PIECE;
use waystation::base::span::Span;
use waystation::base::time::SystemClock;
use waystation::fill::{Ask, Config, Fill, Obtained, Want};
use waystation::model::origin::AllowList;
use waystation::store::{self, Store};
use waystation::upstream::{self, Proxy, Upstream};

const SHAPE: Shape =
    Shape { size: 512 << 20, each: 30_000_000, all: 120_000_000, round_trip: Duration::from_millis(20) };

struct Node {
    fill: Fill,
    store: Store,
    origin: ShapedOrigin,
    _dir: tempfile::TempDir,
}

#[derive(Clone, Copy)]
struct Told {
    first: Duration,
    all: Duration,
    silence: Duration,
}

impl Node {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let origin = ShapedOrigin::start(SHAPE).await;
        let allow = Arc::new(AllowList::new(&[origin.address().to_string()]).unwrap());
        let config = store::Config {
            path: dir.path().to_owned(),
            max_size: 64 << 30,
            min_free: 0,
            unproven: Duration::from_hours(24),
            index_cache: 8 << 20,
            open_payloads: 64,
            io_threads: 4,
        };
        let clock = Arc::new(SystemClock);
        let (store, _) = Store::open(config, Arc::new(RealDisk), clock.clone()).unwrap();
        let config = upstream::Config {
            proxy: Proxy::default(),
            extra_ca: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(10),
            patience: Duration::from_mins(1),
            node: "bench".to_owned(),
            hops_max: 4,
            own_addresses: Vec::new(),
        };
        let source = Arc::new(Upstream::new(config, Arc::clone(&allow)).unwrap());
        let fill = Fill::new(Config::default(), store.clone(), source, allow, clock);
        Self { fill, store, origin, _dir: dir }
    }

    async fn close(self) {
        self.fill.close().await;
        self.store.close().await.unwrap();
    }

    /// As a server would answer one request; checks every byte.
    async fn get(&self, path: &str, span: Option<Span>, client: IpAddr) -> Result<Told, String> {
        let start = Instant::now();
        let query = format!("cacheHostOrigin={}", self.origin.address());
        let ask = Ask { host: Some("node"), path, query: Some(&query), via: None };
        let target = self.fill.locate(&ask).unwrap();
        let until = start + self.fill.silence();
        let (first, last) = span.map_or((0, None), |span| (span.start(), Some(span.end() - 1)));
        let want = Want { head: false, first, last, exact: span.is_some(), client, until };
        let span = span.unwrap_or(Span::new(0, SHAPE.size));
        match self.fill.obtain(&target, want).await.map_err(|error| error.to_string())? {
            Obtained::Held { found, .. } => {
                let mut at = span.start();
                while at < span.end() {
                    let window = Span::new(at, span.end().min(at + PIECE));
                    found.held.populate(window).await.unwrap();
                    assert_eq!(found.held.window(window)[0], self.origin.byte(at));
                    at = window.end();
                }
                Ok(Told { first: start.elapsed(), all: start.elapsed(), silence: Duration::ZERO })
            }
            Obtained::Flying { flight, .. } => {
                let mut tail = flight.tail(span, client);
                let (mut at, mut first, mut silence, mut last) = (span.start(), None, Duration::ZERO, start);
                let mut next = tail.first(until).await;
                while let Some(came) = next {
                    let bytes = came.map_err(|error| error.to_string())?;
                    assert_eq!(bytes[0], self.origin.byte(at));
                    at += bytes.len() as u64;
                    first.get_or_insert(start.elapsed());
                    silence = silence.max(last.elapsed());
                    last = Instant::now();
                    next = tail.next().await;
                }
                assert_eq!(at, span.end());
                Ok(Told { first: first.unwrap(), all: start.elapsed(), silence })
            }
            Obtained::Passed(_) => Err("passed through".to_owned()),
        }
    }
}

/// One plain range over a connection of its own (or one that is there); how long it took.
async fn plain(stream: &mut TcpStream, span: Span) {
    let head = format!("GET /a HTTP/1.1\r\nHost: a\r\nRange: bytes={}-{}\r\n\r\n", span.start(), span.end() - 1);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut buffer = vec![0; 256 << 10];
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let mut left = usize::try_from(span.len()).unwrap();
    while left > 0 {
        let most = left.min(buffer.len());
        left -= stream.read(&mut buffer[..most]).await.unwrap();
    }
}

async fn single() {
    let origin = ShapedOrigin::start(SHAPE).await;
    let start = Instant::now();
    let todo = Arc::new(Mutex::new((0..SHAPE.size / (8 << 20)).map(|at| Span::at(at * (8 << 20), 8 << 20))));
    let mut four = JoinSet::new();
    for _ in 0..4 {
        let (todo, address) = (Arc::clone(&todo), origin.address());
        four.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            loop {
                let Some(span) = todo.lock().unwrap().next() else { return };
                plain(&mut stream, span).await;
            }
        });
    }
    four.join_all().await;
    let four = start.elapsed();
    let node = Node::open().await;
    let told = node.get("/a", None, [10, 0, 0, 1].into()).await.unwrap();
    println!(
        "single: four plain connections {four:?}; one client of the node {:?} ({:.1} % of their rate), first byte {:?}, silence \
         {:?}, {} origin connections, {} bytes sent",
        told.all,
        100.0 * four.as_secs_f64() / told.all.as_secs_f64(),
        told.first,
        told.silence,
        node.origin.most_open(),
        node.origin.sent()
    );
    node.close().await;
}

async fn range() {
    let span = Span::at(300 << 20, PIECE);
    for span in [span, Span::at(200 << 20, 4 * PIECE), Span::at(200 << 20, 64 << 10)] {
        let origin = ShapedOrigin::start(SHAPE).await;
        let start = Instant::now();
        plain(&mut TcpStream::connect(origin.address()).await.unwrap(), span).await;
        let own = start.elapsed();
        let node = Node::open().await;
        let told = node.get("/a", Some(span), [10, 0, 0, 1].into()).await.unwrap();
        println!(
            "range of {} KiB: the origin itself {own:?}, the node {:?} ({:.2} times), first byte {:?}",
            span.len() >> 10,
            told.all,
            told.all.as_secs_f64() / own.as_secs_f64(),
            told.first
        );
        node.close().await;
    }
}

/// Eight clients, each with all pieces in an order of its own over seven connections.
async fn shuffled(name: &str, trouble: impl AsyncFnOnce(ShapedOrigin)) {
    let node = Arc::new(Node::open().await);
    let start = Instant::now();
    let mut connections = JoinSet::new();
    for client in 1..=8_u8 {
        let mut seed = u64::from(client);
        let mut pieces: Vec<u64> = (0..SHAPE.size / PIECE).collect();
        for place in (1..pieces.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            pieces.swap(place, usize::try_from((seed >> 33) % (place as u64 + 1)).unwrap());
        }
        let todo = Arc::new(Mutex::new(pieces.into_iter()));
        for _ in 0..7 {
            let (node, todo) = (Arc::clone(&node), Arc::clone(&todo));
            connections.spawn(async move {
                let mut told = Vec::new();
                loop {
                    let Some(piece) = todo.lock().unwrap().next() else { return told };
                    told.push(node.get("/a", Some(Span::at(piece * PIECE, PIECE)), [10, 0, 0, client].into()).await);
                }
            });
        }
    }
    trouble(node.origin.clone()).await;
    let told: Vec<Result<Told, String>> = connections.join_all().await.into_iter().flatten().collect();
    let took = start.elapsed();
    let errors: Vec<&String> = told.iter().filter_map(|told| told.as_ref().err()).collect();
    let sorted = |of: fn(&Told) -> Duration| {
        let mut all: Vec<Duration> = told.iter().flatten().map(of).collect();
        all.sort_unstable();
        move |percent: usize| all[(all.len() - 1) * percent / 100]
    };
    let (first, all, silence) = (sorted(|told| told.first), sorted(|told| told.all), sorted(|told| told.silence));
    println!(
        "{name}: {} requests in {took:?} ({:.2} of the link's time); first byte p50 {:?} p95 {:?}; request p50 {:?} p95 {:?} \
         p100 {:?}; longest silence {:?}; {} errors {:?}; {} origin connections; {} bytes sent",
        told.len(),
        took.as_secs_f64() * SHAPE.all as f64 / SHAPE.size as f64,
        first(50),
        first(95),
        all(50),
        all(95),
        all(100),
        silence(100),
        errors.len(),
        errors.first(),
        node.origin.most_open(),
        node.origin.sent()
    );
    Arc::into_inner(node).unwrap().close().await;
}

fn main() {
    let names: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let chosen = |name: &str, usual: bool| if names.is_empty() { usual } else { names.iter().any(|it| it == name) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if chosen("single", true) {
            single().await;
        }
        if chosen("range", true) {
            range().await;
        }
        if chosen("shuffled", true) {
            shuffled("shuffled", async |_| {}).await;
        }
        for (name, permille, time) in [("cut", 0, 10), ("slow", 10, 60)] {
            if chosen(name, false) {
                let trouble = async |origin: ShapedOrigin| {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    origin.set_permille(permille);
                    tokio::time::sleep(Duration::from_secs(time)).await;
                    origin.set_permille(1000);
                };
                shuffled(name, trouble).await;
            }
        }
    });
}
