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

mod held;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use waystation::base::digest::Sha256;
use waystation::net;

use held::Node;

/// Length of the payload.
const SIZE: usize = 64 << 20;
/// From one range to the next, in ranges: odd, so that every range of a payload of a power of two gets its turn.
const STRIDE: usize = 9871;

/// A connection that is kept open.
struct Client {
    stream: TcpStream,
    address: String,
    answer: Vec<u8>,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, address: address.to_string(), answer: vec![0; 2 << 20] }
    }

    /// Asks for a range; gives the head and the body of the answer once the last byte is here.
    fn range(&mut self, start: usize, len: usize) -> (&str, &[u8]) {
        let request = held::request(&self.address, start, len);
        self.stream.write_all(request.as_bytes()).unwrap();
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
        let node = Node::start(dir.path(), net::Config::default()).await;
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
