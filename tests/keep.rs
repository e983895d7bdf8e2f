//! Housekeeping over a real store: eviction within its bounds, and scrubs that find what was damaged.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where by panicking")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use waystation::base::limits::GROUP;
use waystation::base::span::Span;
use waystation::base::time::Clock;
use waystation::jobs::board::State;
use waystation::jobs::work::{Import, Work};
use waystation::jobs::{self, Jobs};
use waystation::keep::evict::{self, Evicted};
use waystation::keep::progress::Progress;
use waystation::keep::schedule::{self, EVERY, Schedule};
use waystation::keep::scrub::{self, Pace, Verified, Walk};
use waystation::store::Store;

#[path = "support/cellar.rs"]
mod cellar;
use cellar::{Cellar, content, name};

const MIB: usize = 1 << 20;

/// A scrub that hangs must not hang the tests.
const LIMIT: Duration = Duration::from_mins(1);

fn at_once() -> Pace {
    Box::new(|_| Duration::ZERO)
}

async fn held(store: &Store) -> Vec<u8> {
    let mut held = Vec::new();
    for seed in 0..20 {
        if store.show(&name(seed)).await.unwrap().is_some() {
            held.push(seed);
        }
    }
    held
}

/// Six payloads of 1 MiB, used in the order of their numbers.
async fn six(cellar: &Cellar) {
    for seed in 0..6 {
        cellar.put(seed, MIB, true).await;
        cellar.clock.advance(Duration::from_mins(10));
    }
}

#[tokio::test]
async fn a_sweep_frees_what_is_too_much_oldest_first_and_spares_the_pinned() {
    let cellar = Cellar::new();
    six(&cellar).await;
    let oldest = cellar.store.show(&name(0)).await.unwrap().unwrap().payload;
    cellar.store.pin(oldest.digests.blake3, "test").await.unwrap();
    // Room for three and a half.
    let cellar = cellar.reopen(oldest.allocated * 7 / 2).await;
    let (evicted, cancel) = (Evicted::default(), CancellationToken::new());
    assert_eq!(evict::sweep(&cellar.store, &evicted, false, &cancel).await.unwrap(), 0);
    assert_eq!(held(&cellar.store).await, [0, 4, 5]);
    assert_eq!(evicted.bytes.load(Ordering::Relaxed), 3 * oldest.allocated);
    assert_eq!(evict::excess(&cellar.store.space().await.unwrap()), 0);
    // Nothing is too much: nothing goes.
    assert_eq!(evict::sweep(&cellar.store, &evicted, false, &cancel).await.unwrap(), 0);
    assert_eq!(held(&cellar.store).await, [0, 4, 5]);
    cellar.store.close().await.unwrap();
}

#[tokio::test]
async fn room_that_nobody_needs_yet_costs_nothing_proven() {
    let cellar = Cellar::new();
    six(&cellar).await;
    let allocated = cellar.store.show(&name(0)).await.unwrap().unwrap().payload.allocated;
    // A little more than four; a hundredth of it is more than that little.
    let cellar = cellar.reopen(4 * allocated + 4096).await;
    let (evicted, cancel) = (Evicted::default(), CancellationToken::new());
    assert_eq!(evict::sweep(&cellar.store, &evicted, false, &cancel).await.unwrap(), 0);
    assert_eq!(held(&cellar.store).await, [2, 3, 4, 5]);
    cellar.store.close().await.unwrap();
}

#[tokio::test]
async fn where_somebody_waited_for_room_some_is_made_ahead() {
    let cellar = Cellar::new();
    for seed in 0..3 {
        cellar.put(seed, MIB, false).await;
        cellar.clock.advance(Duration::from_mins(10));
    }
    let space = cellar.store.space().await.unwrap();
    let cellar = cellar.reopen(space.payloads).await;
    let (evicted, cancel) = (Evicted::default(), CancellationToken::new());
    assert_eq!(evict::sweep(&cellar.store, &evicted, false, &cancel).await.unwrap(), 0);
    assert_eq!(held(&cellar.store).await, [0, 1, 2], "all of it fits");
    // Whoever begins now has to wait; the loop is woken by that, and makes more room than that one needed.
    let shortage = cellar.store.shortage();
    cellar.put(9, 1000, false).await;
    shortage.notified().await;
    assert_eq!(held(&cellar.store).await, [1, 2, 9], "one gave way to it");
    assert_eq!(evict::sweep(&cellar.store, &evicted, true, &cancel).await.unwrap(), 0);
    let space = cellar.store.space().await.unwrap();
    assert!(space.max_size - space.payloads >= space.max_size / 100);
    cellar.store.close().await.unwrap();
}

#[tokio::test]
async fn what_cannot_go_is_said() {
    let cellar = Cellar::new();
    let blake3 = cellar.put(1, MIB, true).await;
    cellar.store.pin(blake3, "test").await.unwrap();
    let cellar = cellar.reopen(1 << 19).await;
    let left = evict::sweep(&cellar.store, &Evicted::default(), false, &CancellationToken::new()).await.unwrap();
    assert!(left >= 1 << 19, "{left}");
    assert_eq!(held(&cellar.store).await, [1]);
    cellar.store.close().await.unwrap();
}

#[tokio::test]
async fn the_loop_ends_what_is_past_its_end_when_it_is_woken_and_stops_when_told() {
    let cellar = Cellar::new();
    cellar.put(1, MIB, false).await;
    cellar.put(2, MIB, true).await;
    let (wake, evicted, cancel) = (Arc::new(Notify::new()), Arc::new(Evicted::default()), CancellationToken::new());
    let running =
        tokio::spawn(evict::run(cellar.store.clone(), Arc::clone(&wake), Arc::clone(&evicted), cancel.clone()));
    cellar.clock.advance(Duration::from_hours(24 * 31));
    wake.notify_one();
    tokio::time::timeout(LIMIT, async {
        while held(&cellar.store).await != [2] {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the unproven payload is past its end");
    cancel.cancel();
    tokio::time::timeout(LIMIT, running).await.expect("it stops when told").unwrap();
    cellar.store.close().await.unwrap();
}

#[tokio::test]
async fn a_pass_finds_the_bad_groups_and_what_cannot_be_read() {
    let cellar = Cellar::new();
    let size = MIB + 77;
    let (good, bad, unreadable) =
        (cellar.put(1, size, true).await, cellar.put(2, size, true).await, cellar.put(3, 5, false).await);
    cellar.flip(bad, 3 * GROUP + 5);
    cellar.flip(bad, MIB as u64 + 76);
    // Without its proof, and with something in its place that no read goes through.
    std::fs::remove_file(cellar.proof(unreadable)).unwrap();
    std::fs::remove_file(cellar.file(unreadable)).unwrap();
    std::os::unix::fs::symlink("loop", cellar.file(unreadable).with_file_name("loop")).unwrap();
    std::os::unix::fs::symlink("loop", cellar.file(unreadable)).unwrap();
    let progress = Arc::new(Progress::default());
    let report = scrub::pass(&cellar.store, at_once(), &progress, &CancellationToken::new()).await.unwrap();
    assert_eq!(report.bad.len(), 1, "{report:?}");
    assert_eq!(report.bad[0].0, bad);
    assert_eq!(
        report.bad[0].1.iter().collect::<Vec<_>>(),
        [Span::at(3 * GROUP, GROUP), Span::new(MIB as u64, size as u64)]
    );
    assert_eq!(report.unreadable.iter().map(|(blake3, _)| *blake3).collect::<Vec<_>>(), [unreadable]);
    assert!(report.complete && report.payloads == 3 && report.bytes == 2 * size as u64, "{report:?}");
    let snapshot = progress.snapshot();
    assert_eq!((snapshot.payloads_done, snapshot.payloads_total, snapshot.bad), (3, 3, 2));
    // Finding is all it does.
    assert!(cellar.file(good).exists() && cellar.file(bad).exists());
    cellar.store.close().await.unwrap();
}

#[tokio::test]
async fn what_goes_while_the_walk_comes_to_it_is_no_finding() {
    let cellar = Cellar::new();
    for seed in 0..3 {
        cellar.put(seed, 1000, true).await;
    }
    let order: Vec<_> =
        cellar.store.list(None, 9).await.unwrap().iter().map(|listed| listed.payload.digests.blake3).collect();
    let progress = Arc::new(Progress::default());
    let cancel = CancellationToken::new();
    let mut walk = Walk::new(cellar.store.clone(), None, at_once(), Arc::clone(&progress), cancel);
    assert_eq!(walk.next().await.unwrap(), Some(Verified::Good(order[0])));
    cellar.store.remove(order[1]).await.unwrap();
    assert_eq!(walk.next().await.unwrap(), Some(Verified::Gone(order[1])));
    assert_eq!(walk.next().await.unwrap(), Some(Verified::Good(order[2])));
    assert_eq!(walk.next().await.unwrap(), None);
    assert_eq!(progress.snapshot().bad, 0);
    cellar.store.close().await.unwrap();
}

#[tokio::test]
async fn the_pace_holds_the_reading_back_and_calling_off_ends_it_at_once() {
    let cellar = Cellar::new();
    cellar.put(1, 2 * MIB, true).await;
    let (asked, mut waits) = mpsc::unbounded_channel();
    let pace: Pace = Box::new(move |bytes| {
        asked.send(bytes).unwrap();
        Duration::from_hours(24)
    });
    let (progress, cancel) = (Arc::new(Progress::default()), CancellationToken::new());
    let mut walk = Walk::new(cellar.store.clone(), None, pace, Arc::clone(&progress), cancel.clone());
    let walking = tokio::spawn(async move { walk.next().await });
    assert_eq!(waits.recv().await, Some(GROUP));
    cancel.cancel();
    assert_eq!(tokio::time::timeout(LIMIT, walking).await.expect("it is called off").unwrap().unwrap(), None);
    assert_eq!(progress.snapshot().payloads_done, 0);
    tokio::time::timeout(LIMIT, cellar.store.close()).await.expect("nothing sleeps on in the store").unwrap();
}

/// A schedule whose pace calls the pass off after so many groups.
fn scheduled(cellar: &Cellar, groups: u64, cancel: &CancellationToken) -> (Schedule, mpsc::Receiver<Verified>) {
    let (findings, found) = mpsc::channel(8);
    let cancel = cancel.clone();
    let schedule = Schedule {
        every: EVERY,
        pace: Box::new(move |rate| {
            assert!(rate > 0);
            let (cancel, mut left) = (cancel.clone(), groups);
            Box::new(move |_| {
                left = left.saturating_sub(1);
                if left == 0 {
                    cancel.cancel();
                }
                Duration::ZERO
            })
        }),
        findings,
        progress: Arc::default(),
        clock: Arc::<cellar::HandClock>::clone(&cellar.clock),
    };
    (schedule, found)
}

#[tokio::test]
async fn the_schedule_waits_a_quarter_goes_on_after_a_restart_and_tells_what_it_finds() {
    let mut cellar = Cellar::new();
    for seed in 0..8 {
        cellar.put(seed, 4 * usize::try_from(GROUP).unwrap(), true).await;
    }
    let last = cellar.store.list(None, 8).await.unwrap()[7].payload.digests.blake3;
    cellar.flip(last, 0);

    // A new store is not scrubbed at once; what was seen is written down.
    let first = cellar.clock.now();
    let cancel = CancellationToken::new();
    let (schedule, _found) = scheduled(&cellar, 1, &cancel);
    let running = tokio::spawn(schedule::run(cellar.store.clone(), schedule, cancel.clone()));
    let state = tokio::time::timeout(LIMIT, async {
        loop {
            if let Some(state) = schedule::load(&cellar.store).await.unwrap() {
                return state;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!((state.begun_at, state.ended_at, state.payloads), (first, Some(first), 0));
    cancel.cancel();
    running.await.unwrap();

    // A quarter later a pass begins, and is called off in its third payload.
    cellar.clock.advance(EVERY);
    let begun = cellar.clock.now();
    let cancel = CancellationToken::new();
    let (schedule, mut found) = scheduled(&cellar, 10, &cancel);
    tokio::time::timeout(LIMIT, schedule::run(cellar.store.clone(), schedule, cancel)).await.unwrap();
    let left = schedule::load(&cellar.store).await.unwrap().unwrap();
    assert_eq!((left.begun_at, left.ended_at), (begun, None));
    assert!((1..=3).contains(&left.payloads) && left.after.is_some(), "{left:?}");
    assert!(found.recv().await.is_none());

    // After a restart it goes on there, and finds the damage in the last one.
    cellar = cellar.reopen(1 << 40).await;
    cellar.clock.advance(Duration::from_hours(1));
    let cancel = CancellationToken::new();
    let (schedule, mut found) = scheduled(&cellar, u64::MAX, &cancel);
    let running = tokio::spawn(schedule::run(cellar.store.clone(), schedule, cancel.clone()));
    let verified = tokio::time::timeout(LIMIT, found.recv()).await.unwrap().unwrap();
    assert_eq!(verified, Verified::Bad(last, std::iter::once(Span::new(0, GROUP)).collect()));
    let state = tokio::time::timeout(LIMIT, async {
        loop {
            let state = schedule::load(&cellar.store).await.unwrap().unwrap();
            if state.ended_at.is_some() {
                return state;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!((state.begun_at, state.payloads, state.bad), (begun, 8, 1));
    cancel.cancel();
    running.await.unwrap();
    cellar.store.close().await.unwrap();
}

#[tokio::test]
async fn bytes_that_were_good_are_served_after_all_this() {
    let cellar = Cellar::new();
    cellar.put(1, MIB, true).await;
    scrub::pass(&cellar.store, at_once(), &Arc::default(), &CancellationToken::new()).await.unwrap();
    let found = cellar.store.find(&name(1)).await.unwrap().unwrap();
    let all = Span::new(0, MIB as u64);
    found.held.populate(all).await.unwrap();
    assert_eq!(found.held.window(all), content(1, MIB));
    drop(found);
    cellar.store.close().await.unwrap();
}

/// A job that was started from another runtime outlives that runtime: it runs on the one that the façade was made in.
#[test]
fn a_job_runs_on_the_runtime_of_the_room() {
    let own = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (cellar, files) = (Cellar::new(), tempfile::tempdir().unwrap());
    let file = files.path().join("a");
    std::fs::write(&file, content(1, MIB)).unwrap();
    let jobs = {
        let _own = own.enter();
        Jobs::offline(jobs::Config::default(), cellar.store.clone(), cellar.clock.clone())
    };
    let id = {
        let _other = other.enter();
        let import = Import { paths: vec![file], ..Import::default() };
        jobs.start(Work::Import(import), "test").unwrap()
    };
    drop(other);
    own.block_on(async {
        let view = jobs.wait(id, LIMIT).await.unwrap();
        assert_eq!((view.state, view.progress.done), (State::Done, 1), "{:?}", view.result);
        jobs.close().await;
        cellar.store.close().await.unwrap();
    });
}
