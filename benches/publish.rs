//! Taking a payload in: 256 MiB written into a draft, hashed (SHA-256, SHA-1, BLAKE3 and the leaves of its proof), proved
//! and published, in order and in the shuffled order of Windows clients.
//!
//! Criterion gives the wall time, which on most machines is the disk's (two fsyncs of 256 MiB). What the work itself costs
//! is printed beside it, in GB for every second of processor time of the whole process, all threads, kernel included.
//! The bytes are the same in every run; they come out of memory; the data directory lies in the target directory.
#![allow(missing_docs, reason = "criterion's macros make public functions without a comment")]
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
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use waystation::base::digest::{Digest, Sha1, Sha256};
use waystation::base::disk::RealDisk;
use waystation::base::limits::PIECE;
use waystation::base::time::SystemClock;
use waystation::model::name::{Name, OriginKey};
use waystation::model::payload::{Authority, Published, Validators};
use waystation::store::{Config, DraftSpec, Store};

const SIZE: u64 = 256 << 20;

/// The payload, in pieces. Incompressible, so that no layer below can cheat.
fn pieces() -> Vec<Bytes> {
    let mut stream = blake3::Hasher::new_derive_key("waystation bench publish").finalize_xof();
    (0..SIZE / PIECE)
        .map(|_| {
            let mut piece = vec![0; usize::try_from(PIECE).unwrap()];
            stream.fill(&mut piece);
            piece.into()
        })
        .collect()
}

/// What a catalog publishes: both digests.
fn digests(pieces: &[Bytes]) -> (Sha1, Sha256) {
    use sha2::Digest as _;
    let (mut sha1, mut sha256) = (sha1::Sha1::new(), sha2::Sha256::new());
    for piece in pieces {
        sha1.update(piece);
        sha256.update(piece);
    }
    (Sha1::new(sha1.finalize().into()), Sha256::new(sha256.finalize().into()))
}

/// The numbers of the pieces in an order that is the same in every run.
fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|at| *blake3::hash(&at.to_le_bytes()).as_bytes());
    order
}

/// Processor time of this process so far, to a hundredth of a second.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("the bench counts processor time as Linux tells it");
    // The name of the program, in parentheses, may hold anything: the numbers come after it. utime and stime are the
    // 14th and 15th field of proc_pid_stat(5), the 12th and 13th after the name.
    let ticks: u64 = stat[stat.rfind(')').unwrap() + 1..]
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

fn open(path: &Path) -> Store {
    let config = Config {
        path: path.to_owned(),
        max_size: 4 << 30,
        min_free: 0,
        unproven: Duration::from_hours(24),
        index_cache: 16 << 20,
        open_payloads: 16,
        io_threads: 4,
    };
    Store::open(config, Arc::new(RealDisk), Arc::new(SystemClock)).unwrap().0
}

/// One ingest: draft, writes, proof, publish. The removal after it is not measured.
async fn ingest(store: &Store, pieces: &[Bytes], order: &[usize], expected: Published) -> (Duration, Duration) {
    let name = Name::Origin(OriginKey::new("bench.example.org/payload").unwrap());
    let spec = DraftSpec {
        name,
        size: SIZE,
        tag: "bench".into(),
        last_modified: None,
        validators: Validators::default(),
        expected: Some(expected),
        locations: vec![],
        freshness: None,
        whole: true,
    };
    let (wall, before) = (Instant::now(), cpu());
    let draft = store.start_draft(spec).await.unwrap();
    for number in order {
        draft.write(*number as u64 * PIECE, pieces[*number].clone()).await.unwrap();
    }
    let proved = draft.prove().await.unwrap();
    let found = draft.publish(proved, vec![]).await.unwrap();
    let spent = (wall.elapsed(), cpu().saturating_sub(before));
    let blake3 = found.held.payload().digests.blake3;
    drop(found);
    store.remove(blake3).await.unwrap();
    spent
}

fn publish(c: &mut Criterion) {
    let pieces = pieces();
    let (sha1, sha256) = digests(&pieces);
    let both = Published { sha256: Some(sha256), ..Published::one(Digest::Sha1(sha1), Authority::Catalog) };
    let only_sha1 = Published::one(Digest::Sha1(sha1), Authority::FileName);
    let in_order: Vec<usize> = (0..pieces.len()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = {
        let _inside = runtime.enter();
        open(dir.path())
    };

    let mut group = c.benchmark_group("publish");
    group.sample_size(10).throughput(Throughput::Bytes(SIZE));
    for (what, order, expected) in [
        ("in order", in_order.clone(), both),
        ("shuffled", shuffled(pieces.len()), both),
        // Where nothing but a SHA-1 is published it is computed with collision detection, in software.
        ("in order, only a SHA-1 known", in_order, only_sha1),
    ] {
        let (mut spent, mut runs) = (Duration::ZERO, 0_u32);
        group.bench_function(what, |bencher| {
            bencher.iter_custom(|times| {
                let mut all = Duration::ZERO;
                for _ in 0..times {
                    let (wall, cpu) = runtime.block_on(ingest(&store, &pieces, &order, expected));
                    all += wall;
                    spent += cpu;
                    runs += 1;
                }
                all
            });
        });
        if runs == 0 {
            continue; // Left out by the filter on the command line.
        }
        let gigabytes = f64::from(runs) * SIZE as f64 / 1e9;
        let seconds = spent.as_secs_f64();
        eprintln!(
            "publish/{what}: {:.2} GB per CPU-second ({:.2} CPU-seconds per GB), {runs} runs",
            gigabytes / seconds,
            seconds / gigabytes
        );
    }
    group.finish();
    runtime.block_on(store.close()).unwrap();
}

criterion_group!(benches, publish);
criterion_main!(benches);
