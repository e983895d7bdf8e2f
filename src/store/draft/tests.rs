//! Any order of writes, drops and reopenings gives the same bytes and digests.

use std::sync::Barrier;
use std::sync::atomic::AtomicU64;

use proptest::prelude::*;
use rand_order::shuffled;

use super::*;
use crate::store::hooked::{Op, bad_sector, content, hooked, real};

/// Orders that are the same in every run.
mod rand_order {
    pub(super) fn shuffled(count: u64, seed: u64) -> Vec<u64> {
        let mut order: Vec<u64> = (0..count).collect();
        order.sort_by_key(|at| {
            let bytes = [at.to_le_bytes(), seed.to_le_bytes()].concat();
            *blake3::hash(&bytes).as_bytes()
        });
        order
    }
}

fn read(draft: &DraftFile, span: Span) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(span.len()).unwrap()];
    draft.read(span.start(), &mut bytes)?;
    Ok(bytes)
}

fn slice(bytes: &[u8], span: Span) -> &[u8] {
    &bytes[span.start() as usize..span.end() as usize]
}

fn draft(disk: &Arc<dyn Disk>, size: u64) -> (tempfile::TempDir, DraftFile) {
    let dir = tempfile::tempdir().unwrap();
    let draft = DraftFile::create(disk, &dir.path().join("1"), size, false).unwrap();
    (dir, draft)
}

#[test]
fn every_size_in_order_and_shuffled_gives_the_same_digests() {
    for size in [0, 1, 65_535, 65_536, 65_537, 1 << 20, (1 << 20) + 1, 3_500_000] {
        let content = content(size);
        let right = hash::whole(&content, false);
        for (chunk, seed) in [(8 << 10, None), (1 << 20, None), (1 << 20, Some(1)), (100_000, Some(2)), (4097, Some(3))]
        {
            let (_dir, draft) = draft(&real(), size);
            let count = u64::div_ceil(size, chunk);
            let order = seed.map_or_else(|| (0..count).collect(), |seed| shuffled(count, seed));
            for at in order {
                assert!(!draft.is_complete());
                draft.finish().unwrap_err();
                let span = Span::at(at * chunk, chunk).intersect(&Span::new(0, size));
                draft.write(span.start(), slice(&content, span)).unwrap();
                while draft.hash_some(1).unwrap() {}
                // In order, the frontier follows group by group.
                if seed.is_none() && span.end() < size {
                    assert_eq!(draft.hashed(), span.end() / GROUP * GROUP);
                }
            }
            assert!(draft.is_complete());
            assert_eq!(draft.hashed(), size);
            assert_eq!(draft.finish().unwrap(), right, "{size} by {chunk}");
            assert_eq!(read(&draft, Span::new(0, size)).unwrap(), content);
        }
    }
}

#[test]
fn no_byte_is_read_more_than_twice_and_in_order_once() {
    let size = 4 << 20;
    let content = content(size);
    for (seed, most) in [(None, size), (Some(7), 2 * size)] {
        let read = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&read);
        let disk = hooked(move |op| {
            if let Op::Read(span) = op {
                counted.fetch_add(span.len(), Ordering::Relaxed);
            }
            Ok(())
        });
        let (_dir, draft) = draft(&disk, size);
        for at in seed.map_or_else(|| (0..4).collect(), |seed| shuffled(4, seed)) {
            draft.write(at << 20, slice(&content, Span::at(at << 20, 1 << 20))).unwrap();
            while draft.hash_some(GROUP).unwrap() {}
        }
        assert_eq!(draft.finish().unwrap(), hash::whole(&content, false));
        assert!(read.load(Ordering::Relaxed) <= most, "{}", read.load(Ordering::Relaxed));
    }
}

#[derive(Clone, Debug)]
enum Do {
    Write(Span),
    WriteBad(Span),
    Drop(Span),
    Hash(u64),
    Reopen,
}

const SMALL: u64 = 5 * GROUP + 1000;

fn step() -> impl Strategy<Value = Do> {
    let span = || (0..SMALL, 0..3 * GROUP).prop_map(|(at, len)| Span::at(at, len).intersect(&Span::new(0, SMALL)));
    prop_oneof![
        6 => span().prop_map(Do::Write),
        2 => span().prop_map(Do::WriteBad),
        2 => span().prop_map(Do::Drop),
        4 => (0..4 * GROUP).prop_map(Do::Hash),
        1 => Just(Do::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// Whatever was written, dropped and written anew: coverage is what a plain model says, covered bytes are those
    /// that came first, and once all is right the digests are right.
    #[test]
    fn any_history_ends_well(steps in proptest::collection::vec(step(), 0..40), checked: bool) {
        let disk = real();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1");
        let content = content(SMALL);
        let bad: Vec<u8> = content.iter().map(|byte| !byte).collect();
        let mut draft = DraftFile::create(&disk, &path, SMALL, checked).unwrap();
        let (mut covered, mut wrong) = (SpanSet::new(), SpanSet::new());
        for step in steps {
            match step {
                Do::Write(span) => {
                    draft.write(span.start(), slice(&content, span)).unwrap();
                    covered.insert(span);
                }
                Do::WriteBad(span) => {
                    draft.write(span.start(), slice(&bad, span)).unwrap();
                    for gap in covered.gaps(span).collect::<Vec<_>>() {
                        wrong.insert(gap);
                    }
                    covered.insert(span);
                }
                Do::Drop(span) => {
                    draft.drop_span(span);
                    covered.remove(span);
                    wrong.remove(span);
                }
                Do::Hash(budget) => _ = draft.hash_some(budget).unwrap(),
                Do::Reopen => {
                    let durable = draft.sync().unwrap();
                    prop_assert_eq!(&durable, &covered);
                    draft = DraftFile::reopen(&disk, &path, SMALL, durable, checked).unwrap();
                }
            }
            prop_assert_eq!(&draft.covered(), &covered);
            prop_assert!(draft.hashed() <= draft.run_at(0));
        }
        for span in covered.iter() {
            let mut expected = slice(&content, span).to_vec();
            for bad_span in wrong.within(span) {
                let at = (bad_span.start() - span.start()) as usize;
                expected[at..at + bad_span.len() as usize].copy_from_slice(slice(&bad, bad_span));
            }
            prop_assert_eq!(read(&draft, span).unwrap(), expected);
        }
        for span in wrong.iter() {
            draft.drop_span(span);
        }
        draft.write(0, &content).unwrap();
        prop_assert_eq!(draft.finish().unwrap(), hash::whole(&content, checked));
    }
}

#[test]
fn writers_a_hasher_and_a_dropper_at_once_end_well() {
    const SIZE: u64 = 6 << 20;
    let (_dir, draft) = draft(&real(), SIZE);
    let content = content(SIZE);
    let start = Barrier::new(5);
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let (draft, content, start) = (&draft, &content, &start);
            scope.spawn(move || {
                start.wait();
                // Overlapping writes of the same bytes, in another order each.
                for at in shuffled(SIZE / 50_000, seed) {
                    let span = Span::at(at * 50_000, 130_000).intersect(&Span::new(0, SIZE));
                    draft.write(span.start(), slice(content, span)).unwrap();
                }
            });
        }
        scope.spawn(|| {
            start.wait();
            while draft.hashed() < SIZE / 4 {
                draft.hash_some(3 * GROUP).unwrap();
                if draft.is_complete() {
                    break;
                }
            }
        });
        scope.spawn(|| {
            start.wait();
            for at in shuffled(40, 9) {
                draft.drop_span(Span::at(at * 100_000, 1000));
            }
        });
    });
    draft.write(0, &content).unwrap();
    assert_eq!(draft.finish().unwrap(), hash::whole(&content, false));
}

#[test]
fn a_dropped_span_costs_no_more_than_back_to_a_kept_state() {
    const SIZE: u64 = 64 << 20;
    let (_dir, draft) = draft(&real(), SIZE);
    let content = content(SIZE);
    draft.write(0, &content).unwrap();
    let right = draft.finish().unwrap();
    draft.drop_span(Span::at(40 << 20, 5));
    assert_eq!(draft.hashed(), 40 << 20);
    draft.write(40 << 20, &content[40 << 20..41 << 20]).unwrap();
    draft.hash_some(1).unwrap();
    assert!(draft.hashed() >= 32 << 20, "went back to {}", draft.hashed());
    assert_eq!(draft.finish().unwrap(), right);
}

#[test]
fn hashing_holds_up_neither_writers_nor_readers_nor_other_hashers() {
    let (arrived, at_read) = std::sync::mpsc::channel();
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let (arrived, gate) = (Mutex::new(Some(arrived)), Mutex::new(gate));
    // The first read waits for the test; all others go through.
    let disk = hooked(move |op| {
        if let Op::Read(_) = op {
            let first = arrived.lock().unwrap().take();
            if let Some(arrived) = first {
                arrived.send(()).unwrap();
                gate.lock().unwrap().recv().unwrap();
            }
        }
        Ok(())
    });
    let content = content(3 * GROUP);
    let (_dir, draft) = draft(&disk, 3 * GROUP);
    draft.write(0, slice(&content, Span::at(0, GROUP))).unwrap();
    std::thread::scope(|scope| {
        let hasher = scope.spawn(|| draft.hash_some(u64::MAX).unwrap());
        at_read.recv().unwrap();
        draft.write(GROUP, slice(&content, Span::at(GROUP, GROUP))).unwrap();
        assert_eq!(read(&draft, Span::at(GROUP, 9)).unwrap(), slice(&content, Span::at(GROUP, 9)));
        assert!(!draft.hash_some(u64::MAX).unwrap(), "there was a hasher at work");
        // Dropped and stored anew while the hasher holds the old bytes.
        draft.drop_span(Span::at(0, 1));
        draft.write(0, &[content[0]]).unwrap();
        release.send(()).unwrap();
        assert!(!hasher.join().unwrap());
    });
    assert_eq!(draft.hashed(), 2 * GROUP, "the one at work saw what came meanwhile");
    draft.write(2 * GROUP, slice(&content, Span::at(2 * GROUP, GROUP))).unwrap();
    assert_eq!(draft.finish().unwrap(), hash::whole(&content, false));
}

#[test]
fn only_what_was_in_before_a_sync_and_was_not_dropped_is_durable() {
    let (arrived, at_sync) = std::sync::mpsc::channel();
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let disk = hooked(move |op| {
        if op == Op::Sync {
            arrived.send(()).unwrap();
            gate.lock().unwrap().recv().unwrap();
        }
        Ok(())
    });
    let (_dir, draft) = draft(&disk, 1000);
    draft.write(0, &[1; 300]).unwrap();
    std::thread::scope(|scope| {
        let sync = scope.spawn(|| draft.sync().unwrap());
        at_sync.recv().unwrap();
        draft.write(300, &[1; 100]).unwrap();
        draft.drop_span(Span::new(100, 200));
        draft.write(100, &[2; 100]).unwrap();
        release.send(()).unwrap();
        let durable: Vec<Span> = sync.join().unwrap().iter().collect();
        assert_eq!(durable, [Span::new(0, 100), Span::new(200, 300)]);
    });
    release.send(()).unwrap();
    assert_eq!(draft.sync().unwrap().iter().collect::<Vec<_>>(), [Span::new(0, 400)]);
}

#[test]
fn a_failed_sync_is_never_followed_by_a_good_one() {
    let failed = AtomicBool::new(false);
    let disk = hooked(move |op| match op {
        Op::Sync if !failed.swap(true, Ordering::SeqCst) => Err(bad_sector()),
        _ => Ok(()),
    });
    let (_dir, draft) = draft(&disk, 10);
    draft.write(0, &[1; 10]).unwrap();
    draft.sync().unwrap_err();
    draft.sync().unwrap_err();
}

#[test]
fn a_full_disk_covers_what_was_stored_before_and_wakes_those_who_wait() {
    let full = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&full);
    let disk = hooked(move |op| match op {
        Op::Write(span) if span.end() > 500 && state.load(Ordering::SeqCst) => Err(io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    });
    let (_dir, draft) = draft(&disk, 1000);
    draft.write(200, &[3; 100]).unwrap();
    // Two gaps: the first fits, the second does not.
    assert_eq!(draft.write(0, &[1; 1000]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(draft.covered().iter().collect::<Vec<_>>(), [Span::new(0, 300)]);
    full.store(false, Ordering::SeqCst);
    draft.write(0, &[1; 1000]).unwrap();
    assert!(draft.is_complete());
    assert!(draft.allocated().unwrap() >= 512);
}

#[test]
fn what_is_not_there_is_refused() {
    let (dir, draft) = draft(&real(), 100);
    for (at, len) in [(100, 1), (0, 101), (u64::MAX, 1)] {
        assert_eq!(draft.write(at, &vec![0; len]).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{at}");
    }
    draft.write(100, &[]).unwrap();
    read(&draft, Span::new(0, 1)).unwrap_err();
    drop(draft);
    let path = dir.path().join("1");
    DraftFile::create(&real(), &path, 100, false).unwrap_err();
    DraftFile::reopen(&real(), &path, 101, SpanSet::new(), false).unwrap_err();
}
