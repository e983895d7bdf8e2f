//! A held payload over loopback: ranges of 4 KiB, 64 KiB and 1 MiB from the content face on a real server, asked for as
//! Delivery Optimization asks, one after another on one connection that is kept open.
//!
//! The server runs on one reactor thread, the client is a plain socket on the thread of the bench that looks at status
//! and length and drops the bytes. Criterion's time is therefore that of a whole exchange, client included; what the
//! node's side of it costs is printed beside it, in seconds of the reactor thread (kernel included) for every GB.
//! The payload lies in the page cache, and the ranges are the same in every run, in an order that is not the payload's.
#![allow(missing_docs, reason = "criterion's macros make public functions without a comment")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a bench stops and tells at the terminal"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use waystation::base::digest::{Digest, Sha256};
use waystation::base::disk::RealDisk;
use waystation::base::time::SystemClock;
use waystation::fill::{self, Ask, Fill};
use waystation::model::origin::AllowList;
use waystation::model::payload::{Alias, Authority, Published, Validators};
use waystation::net::{self, Bound, Server};
use waystation::serve::{self, Face};
use waystation::store::{self, Store};
use waystation::upstream::{self, Upstream};

/// Length of the payload.
const SIZE: usize = 64 << 20;
/// From one range to the next, in ranges: odd, so that every range of a payload of a power of two gets its turn.
const STRIDE: usize = 9871;

const PATH: &str = "/filestreamingservice/files/1f6b6f6e-2a5b-4b0e-9d5c-7f0a3c1f9e21";
const QUERY: &str = "P1=1790003600&P2=404&P3=2&P4=Jh5W4nq0m3sHk8VvY0b7c2LrT6e9xZ1dQwUoGpAiFsN5tCyR3uKaE8jBzM4lXvD7gHfS2oWq9iPn\
                     T1yJ6rVbQ%3d%3d&cacheHostOrigin=msedge.b.tlu.dl.delivery.mp.microsoft.com";

/// A node as far as held payloads need one.
struct Node {
    server: Server,
    store: Store,
    fill: Fill,
}

impl Node {
    async fn start(data: &Path) -> Self {
        let config = store::Config {
            path: data.join("store"),
            max_size: 4 << 30,
            min_free: 0,
            unproven: Duration::from_hours(24),
            index_cache: 16 << 20,
            open_payloads: 64,
            io_threads: 4,
        };
        let opening = move || Store::open(config, Arc::new(RealDisk), Arc::new(SystemClock));
        let (store, _) = tokio::task::spawn_blocking(opening).await.unwrap().unwrap();
        let config = upstream::Config {
            proxy: upstream::Proxy::default(),
            extra_ca: Vec::new(),
            connect_timeout: Duration::from_secs(2),
            stall_timeout: Duration::from_secs(5),
            patience: Duration::from_secs(5),
            node: "bench".into(),
            hops_max: 5,
            own_addresses: Vec::new(),
        };
        let allow = Arc::new(AllowList::new(&[]).unwrap());
        let source = Arc::new(Upstream::new(config, Arc::clone(&allow)).unwrap());
        let config = fill::Config {
            complete: fill::Complete::Always,
            verify: fill::Verify::Stream,
            extent: 8 << 20,
            connections_per_host: 4,
            upstream: None,
            upstream_is_wsus: false,
            silence: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(2),
        };
        let fill = Fill::new(config, store.clone(), source, allow, Arc::new(SystemClock));
        let (clock, suspect) = (Arc::new(SystemClock), Box::new(|suspicion| panic!("{suspicion:?}")));
        let face = Face::new(serve::Config::default(), fill.clone(), store.clone(), clock, suspect);
        let bound = Bound::tcp(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let server =
            Server::start(net::Config::default(), vec![bound], Arc::new(face), net::Counters::default()).unwrap();
        Self { server, store, fill }
    }

    /// Takes the payload in, proven, under the name that a request for it leads to.
    async fn hold(&self, file: PathBuf, sha256: Sha256) {
        let address = self.server.addresses()[0].to_string();
        let ask = Ask { host: Some(&address), path: PATH, query: Some(QUERY), via: None };
        let name = self.fill.locate(&ask).unwrap().name;
        let alias = Alias {
            tag: format!("sha256-{sha256}"),
            last_modified: Some("Wed, 02 Sep 2026 08:30:53 GMT".into()),
            validators: Validators::default(),
            freshness: None,
        };
        let expected = Published::one(Digest::Sha256(sha256), Authority::Catalog);
        self.store.import(file, true, Some(expected), vec![(name, alias)]).await.unwrap();
    }

    async fn stop(self) {
        self.server.drain(Duration::from_secs(1)).await;
        self.fill.close().await;
        self.store.close().await.unwrap();
    }
}

/// A connection that is kept open.
struct Client {
    stream: TcpStream,
    address: String,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, address: address.to_string(), request: Vec::new(), answer: vec![0; 2 << 20] }
    }

    /// Asks for a range; gives the head and the body of the answer once the last byte is here.
    fn range(&mut self, start: usize, len: usize) -> (&str, &[u8]) {
        self.request.clear();
        write!(
            self.request,
            "GET {PATH}?{QUERY} HTTP/1.1\r\nHost: {}\r\nConnection: Keep-Alive\r\nAccept: */*\r\n\
             User-Agent: Microsoft-Delivery-Optimization/10.0\r\nMS-CV: wp0wVbPZWUqjLx6o.2.1.4.2.9\r\n\
             Range: bytes={start}-{}\r\n\r\n",
            self.address,
            start + len - 1
        )
        .unwrap();
        self.stream.write_all(&self.request).unwrap();
        let (mut have, mut head) = (0, None);
        loop {
            let more = self.stream.read(&mut self.answer[have..]).unwrap();
            assert!(more > 0, "the server has closed the connection");
            have += more;
            head = head.or_else(|| self.answer[..have].windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4));
            match head {
                Some(head) if have >= head + len => {
                    assert_eq!(have, head + len, "more bytes than were asked for");
                    let (head, body) = self.answer[..have].split_at(head);
                    return (std::str::from_utf8(head).unwrap(), body);
                }
                _ => {}
            }
        }
    }
}

/// Processor time of thread `id` of this process so far, kernel included.
fn cpu(id: u32) -> Duration {
    // The first number is the time on a processor in nanoseconds, see the kernel's Documentation/scheduler/sched-stats.
    let stat =
        fs::read_to_string(format!("/proc/self/task/{id}/schedstat")).expect("times are read as Linux gives them");
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}

fn content(c: &mut Criterion) {
    let reactor = Arc::new(AtomicU32::new(0));
    let told = Arc::clone(&reactor);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .on_thread_start(move || {
            // The worker is the first to start; threads for blocking calls come later.
            let id = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
            let _ = told.compare_exchange(0, id, Ordering::Relaxed, Ordering::Relaxed);
        })
        .build()
        .unwrap();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut bytes = vec![0; SIZE];
    blake3::Hasher::new_derive_key("waystation bench content").finalize_xof().fill(&mut bytes);
    let sha256 = {
        use sha2::Digest as _;
        Sha256::new(sha2::Sha256::digest(&bytes).into())
    };
    let file = dir.path().join("payload");
    fs::write(&file, &bytes).unwrap();
    let node = runtime.block_on(async {
        let node = Node::start(dir.path()).await;
        node.hold(file, sha256).await;
        node
    });
    let mut client = Client::connect(node.server.addresses()[0]);

    let mut group = c.benchmark_group("content");
    for (what, len) in [("4 KiB", 4 << 10), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20)] {
        let start = 3 * len;
        let (head, body) = client.range(start, len);
        assert!(head.starts_with("HTTP/1.1 206 ") && head.contains("waystation; hit; detail=proven"), "{head}");
        assert!(body == &bytes[start..start + len], "wrong bytes");
        group.throughput(Throughput::Bytes(len as u64));
        let (mut at, mut spent, mut count) = (0, Duration::ZERO, 0_u64);
        group.bench_function(what, |bencher| {
            bencher.iter_custom(|times| {
                let (wall, before) = (std::time::Instant::now(), cpu(reactor.load(Ordering::Relaxed)));
                for _ in 0..times {
                    at = (at + STRIDE) % (SIZE / len);
                    let (head, _) = client.range(at * len, len);
                    assert!(head.starts_with("HTTP/1.1 206 "), "{head}");
                }
                let wall = wall.elapsed();
                spent += cpu(reactor.load(Ordering::Relaxed)).saturating_sub(before);
                count += times;
                wall
            });
        });
        if count == 0 {
            continue; // Left out by the filter on the command line.
        }
        let seconds = spent.as_secs_f64();
        eprintln!(
            "content/{what}: {:.1} us of the reactor thread for a request, {:.2} CPU-seconds per GB, {count} requests",
            seconds * 1e6 / count as f64,
            seconds * 1e9 / (count as f64 * len as f64)
        );
    }
    group.finish();
    drop(client);
    runtime.block_on(node.stop());
}

criterion_group!(benches, content);
criterion_main!(benches);
