//! Whether the bandwidth governor keeps to what it is told, over ten seconds of real time: each class, the site's link, windows
//! of the day, clients' networks, and rules that change while it runs; first by flows alone, then by clients on sockets who
//! read a held payload as fast as they can. Everything of a part runs at once, so that it takes less than a minute.
//!
//! It prints the rates and fails where one is off by more than a twentieth. It takes no criterion flags. What the governor
//! costs where it has no rules is counted by `benches/instructions.rs`.
#![allow(missing_docs, reason = "a program of its own")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench stops and tells at the terminal"
)]

mod held;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use waystation::base::digest::Sha256;
use waystation::base::time::{Clock, SystemClock, Timestamp};
use waystation::net;
use waystation::pace::network::NetworkRule;
use waystation::pace::{Class, Config, Flow, Governor, Zone};

use held::Node;

/// What a rate is measured over.
const SPAN: Duration = Duration::from_secs(10);
/// Before that everything has begun, and what went at once has gone.
const BEFORE: Duration = Duration::from_secs(1);
/// How far from what was set a rate may be, in parts of a hundred.
const OFF_MAX: f64 = 5.0;

/// A governor at work.
struct Running {
    governor: Governor,
    stop: CancellationToken,
}

impl Running {
    fn start(config: Config, clock: Arc<dyn Clock>) -> Self {
        let governor = Governor::new(config, clock);
        let stop = CancellationToken::new();
        tokio::spawn(governor.clone().run(stop.clone()));
        Self { governor, stop }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A clock on the wall that shows `at` at `began`.
#[derive(Debug)]
struct Wall {
    began: Instant,
    at: Timestamp,
}

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        self.at.after(self.began.elapsed())
    }
}

/// One measured rate in bytes a second: what it is of, what was set, what came.
struct Rate {
    what: String,
    set: f64,
    got: f64,
}

fn rules(class: Class, rules: &[&str]) -> Config {
    Config::default().with(class, rules).unwrap()
}

/// What greedy flows take together in `SPAN` from `from` on, in bytes a second.
fn taken(flows: Vec<Flow>, from: Instant) -> JoinHandle<f64> {
    tokio::spawn(async move {
        let until = tokio::time::Instant::from_std(from + SPAN);
        let pulls: Vec<_> = flows
            .into_iter()
            .map(|mut flow| {
                tokio::spawn(async move {
                    let mut all = 0;
                    while let Ok(got) = tokio::time::timeout_at(until, flow.take(256 << 10)).await {
                        if Instant::now() >= from {
                            all += got;
                        }
                    }
                    all
                })
            })
            .collect();
        let mut all = 0;
        for pull in pulls {
            all += pull.await.unwrap();
        }
        all as f64 / SPAN.as_secs_f64()
    })
}

/// The site's link and each class at a slow and at a fast rate, windows, networks, changes; by flows alone.
async fn flows() -> Vec<Rate> {
    let from = Instant::now() + BEFORE;
    let mut asked: Vec<(String, f64, JoinHandle<f64>)> = Vec::new();
    let mut kept = Vec::new();
    let client = |third: u8, last: u8| Ipv4Addr::new(10, 0, third, last).into();
    for (rule, set) in [("2 Mbit/s", 250e3), ("20 Mbit/s", 2.5e6), ("1 Gbit/s", 125e6)] {
        for class in Class::ALL {
            let running = Running::start(rules(class, &[rule]), Arc::new(SystemClock));
            let flow = |_| match class {
                Class::Clients => running.governor.to_client(client(1, 1)),
                Class::Nodes => running.governor.to_node(),
                // The link is everybody's.
                Class::Upstream => running.governor.lane(Class::Demand).flow(),
                class => running.governor.lane(class).flow(),
            };
            asked.push((format!("{}, {rule}, 8 flows", class.word()), set, taken((0..8).map(flow).collect(), from)));
            kept.push(running);
        }
    }

    let networks = NetworkRule::parse_all(&["10.0.0.0/8 each /24: 8 Mbit/s", "10.0.9.0/24: 40 Mbit/s"]).unwrap();
    let running = Running::start(Config::new(Zone::default(), networks, false), Arc::new(SystemClock));
    for (third, set) in [(1, 1e6), (2, 1e6), (9, 5e6)] {
        let all = (1..5).map(|last| running.governor.to_client(client(third, last))).collect();
        asked.push((format!("clients of 10.0.{third}.0/24, 4 flows"), set, taken(all, from)));
    }
    kept.push(running);

    // 12:00 in Berlin, by winter time: a window ends and another begins, by the site's own clock.
    let edge = Timestamp::from_ms(1_795_172_400_000);
    let ahead = BEFORE + SPAN;
    let at = Timestamp::from_ms(edge.ms() - u64::try_from(ahead.as_millis()).unwrap());
    let windows = Config::new(Zone::parse("Europe/Berlin").unwrap(), Vec::new(), false)
        .with(Class::Prefetch, &["11:00-12:00 Mon-Fri: 8 Mbit/s", "12:00-13:00 Mon-Fri: 80 Mbit/s"])
        .unwrap();
    let running = Running::start(windows, Arc::new(Wall { began: Instant::now(), at }));
    let lane = running.governor.lane(Class::Prefetch);
    asked.push(("prefetch, in a window of 8 Mbit/s".into(), 1e6, taken(vec![lane.flow(), lane.flow()], from)));
    asked.push(("prefetch, in the next one, 80 Mbit/s".into(), 1e7, late(vec![lane.flow(), lane.flow()], from + SPAN)));
    kept.push(running);

    let running = Running::start(rules(Class::Demand, &["80 Mbit/s"]), Arc::new(SystemClock));
    let lane = running.governor.lane(Class::Demand);
    asked.push(("demand, 80 Mbit/s".into(), 1e7, taken(vec![lane.flow(), lane.flow()], from)));
    asked.push(("demand, then 16 Mbit/s at run time".into(), 2e6, late(vec![lane.flow(), lane.flow()], from + SPAN)));
    tokio::time::sleep_until(tokio::time::Instant::from_std(from + SPAN)).await;
    running.governor.set_config(rules(Class::Demand, &["16 Mbit/s"]));
    kept.push(running);

    let mut rates = Vec::new();
    for (what, set, got) in asked {
        rates.push(Rate { what, set, got: got.await.unwrap() });
    }
    rates
}

/// As [`taken`], with flows that begin only then.
fn late(flows: Vec<Flow>, from: Instant) -> JoinHandle<f64> {
    tokio::spawn(async move {
        tokio::time::sleep_until(tokio::time::Instant::from_std(from)).await;
        taken(flows, from + BEFORE / 10).await.unwrap()
    })
}

/// Reads the whole payload again and again from `local`; how many bytes a second came in `SPAN` from `from` on.
fn read(local: Ipv4Addr, to: SocketAddr, len: usize, from: Instant) -> f64 {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((local, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut stream = std::net::TcpStream::from(socket);
    let request = held::request(&to.to_string(), 0, len);
    let (mut buffer, mut left, mut all) = (vec![0; 256 << 10], 0, 0);
    while from.elapsed() < SPAN {
        if left == 0 {
            stream.write_all(request.as_bytes()).unwrap();
            // The head is a few parts of a million, and is not told apart.
            left = len;
        }
        let got = stream.read(&mut buffer).unwrap();
        assert!(got > 0, "the node has closed the connection");
        left = left.saturating_sub(got);
        if Instant::now() >= from {
            all += got;
        }
    }
    all as f64 / SPAN.as_secs_f64()
}

/// Clients of two networks on sockets, then all of them at another rate.
async fn sockets() -> Vec<Rate> {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let len = 64 << 20;
    let mut bytes = vec![0; len];
    blake3::Hasher::new_derive_key("waystation bench pace").finalize_xof().fill(&mut bytes);
    let sha256 = {
        use sha2::Digest as _;
        Sha256::new(sha2::Sha256::digest(&bytes).into())
    };
    fs::write(dir.path().join("payload"), &bytes).unwrap();
    let by_network = |clients: &str, each: &str| {
        let networks = NetworkRule::parse_all(&[each]).unwrap();
        Config::new(Zone::default(), networks, false).with(Class::Clients, &[clients]).unwrap()
    };
    let running = Running::start(by_network("unlimited", "127.0.0.0/8 each /24: 40 Mbit/s"), Arc::new(SystemClock));
    let config = net::Config { pace: running.governor.clone(), ..net::Config::default() };
    let node = Node::start(dir.path(), config).await;
    node.hold(dir.path().join("payload"), sha256).await;
    let to = node.server.addresses()[0];
    let ask = |from: Instant| {
        [[127, 0, 1, 1], [127, 0, 1, 2], [127, 0, 2, 1], [127, 0, 2, 2]]
            .map(|local| tokio::task::spawn_blocking(move || read(local.into(), to, len, from)))
    };
    let mut rates = Vec::new();
    let mut got = Vec::new();
    for client in ask(Instant::now() + BEFORE) {
        got.push(client.await.unwrap());
    }
    for (at, pair) in got.chunks(2).enumerate() {
        let what = format!("sockets, 2 clients of 127.0.{}.0/24", at + 1);
        rates.push(Rate { what, set: 5e6, got: pair.iter().sum() });
    }
    running.governor.set_config(by_network("400 Mbit/s", "127.0.0.0/8: unlimited"));
    let mut all = 0.0;
    for client in ask(Instant::now() + BEFORE) {
        all += client.await.unwrap();
    }
    rates.push(Rate { what: "sockets, 4 clients, then 400 Mbit/s at run time".into(), set: 5e7, got: all });
    node.stop().await;
    rates
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut rates = runtime.block_on(flows());
    rates.extend(runtime.block_on(sockets()));
    let mut worst = 0.0_f64;
    for Rate { what, set, got } in &rates {
        let off = (got / set - 1.0) * 100.0;
        worst = worst.max(off.abs());
        println!("{what}: {:.3} MB/s of {:.3}, {off:+.1} %", got / 1e6, set / 1e6);
    }
    println!("{} rates, the worst off by {worst:.1} % ({OFF_MAX} % are allowed)", rates.len());
    if worst <= OFF_MAX { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
