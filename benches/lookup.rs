//! Finding a payload by name: in the open-payload cache, in an index of 100,000 payloads with opening and mapping the
//! file, and not finding it. How the index is made stands in `grown`; a million payloads are in `benches/million.rs`.
//!
//! The names are the same in every run, and are asked for in an order that no cache can guess.
#![allow(missing_docs, reason = "criterion's macros make public functions without a comment")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a bench stops and tells at the terminal"
)]

mod grown;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use waystation::model::name::Name;

use grown::{fill, name, open};

/// Payloads in the index.
const PAYLOADS: usize = 100_000;
/// Names asked for in the open-payload cache, so that the look-up is not of one line of memory.
const HOT: usize = 1000;
/// From one name asked for to the next. It shares no factor with the numbers above: every name gets its turn.
const STRIDE: usize = 61_803;

fn names() -> Vec<Name> {
    (0..PAYLOADS).map(name).collect()
}

fn lookup(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let names = names();
    fill(&runtime, dir.path(), PAYLOADS, None);
    let mut group = c.benchmark_group("lookup");

    let store = open(dir.path(), 4096);
    let hot = &names[..HOT];
    for name in hot {
        assert!(runtime.block_on(store.find(name)).unwrap().is_some(), "{name:?}");
    }
    assert!(hot.iter().all(|name| store.hot(name).is_some()), "what was found stays in a cache four times as large");
    let mut at = 0;
    group.bench_function("in the open-payload cache", |bencher| {
        bencher.iter(|| {
            at = (at + STRIDE) % HOT;
            store.hot(black_box(&hot[at]))
        });
    });
    runtime.block_on(store.close()).unwrap();
    drop(store);

    // As few open payloads as the settings allow: nearly every look-up goes past them.
    let store = open(dir.path(), 16);
    let mut at = 0;
    group.bench_function("in the index, opened and mapped", |bencher| {
        bencher.iter(|| {
            at = (at + STRIDE) % PAYLOADS;
            let found = runtime.block_on(store.find(black_box(&names[at]))).unwrap();
            assert!(found.is_some());
            found
        });
    });
    let strangers: Vec<Name> = (0..HOT).map(|number| name(PAYLOADS + number)).collect();
    group.bench_function("not in the index", |bencher| {
        bencher.iter(|| {
            at = (at + STRIDE) % HOT;
            let found = runtime.block_on(store.find(black_box(&strangers[at % HOT]))).unwrap();
            assert!(found.is_none());
        });
    });
    group.finish();
    runtime.block_on(store.close()).unwrap();
}

criterion_group!(benches, lookup);
criterion_main!(benches);
