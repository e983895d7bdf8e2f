//! The file of a draft: a payload being filled. Bytes come at any offset, in any order, from several writers; the hashing
//! follows behind them.
//!
//! The rules that keep bytes, coverage and hashes in step:
//! 1. Covered bytes do not change. A write stores only what is not covered yet, and of two writers of the same byte the
//!    second waits for the first. So what was read or hashed once stays right until [`DraftFile::drop_span`] says otherwise.
//! 2. A byte is covered only after its write returned; it can be read back from then on.
//! 3. Hashing reads the file back (out of the page cache, a tenth of the cost of the hashing itself) in whole groups, so
//!    that a write costs a write, needs no buffer, and what is hashed is what the file holds. A group at the *frontier*
//!    goes into the running digests and, in the same read, into its leaf; a complete group beyond it gives its leaf early.
//! 4. Dropping a span raises the epoch. What a hasher had read before that is thrown away, and a frontier that had passed
//!    the span goes back to a kept state before it.
//!
//! Lock order: `frontier`, then `cover`. `cover` is held for moments only, never during I/O or hashing.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

use crate::base::disk::{Disk, DiskFile};
use crate::base::limits::{GROUP, PIECE};
use crate::base::span::{Span, SpanSet};
use crate::store::hash::{self, Hashed, Leaf, Running};

/// States of the running digests kept to go back to, some kilobytes each: bounds what a dropped span costs to a
/// thirty-second of the payload.
const KEPT_STATES: u64 = 32;

/// A draft's file, open. All calls block.
pub(crate) struct DraftFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    size: u64,
    cover: Mutex<Cover>,
    /// Woken when a write ends.
    written: Condvar,
    frontier: Mutex<Frontier>,
    /// One sync at a time, so that each knows what was dropped during it.
    syncing: Mutex<()>,
    /// After a failed fsync the kernel calls pages clean that never reached the disk: no later one can be believed.
    sync_failed: AtomicBool,
}

/// What is in, and what is hashed of it.
struct Cover {
    covered: SpanSet,
    /// What writers are storing right now.
    writing: SpanSet,
    /// Complete groups without a leaf; whole groups only.
    ready: SpanSet,
    /// Of the groups that are complete and not in `ready`; of the others they mean nothing.
    leaves: Vec<Leaf>,
    /// The frontier as far as it is still right: everything before it is covered and in the running digests.
    hashed: u64,
    /// Number of spans dropped so far.
    epoch: u64,
    /// What was dropped since the sync that is running began.
    dropped: SpanSet,
}

/// The sequential digests. They stand at a multiple of [`GROUP`], or at the end.
struct Frontier {
    running: Running,
    /// Earlier states, in order, the first at 0.
    kept: Vec<Running>,
    /// Distance between kept states.
    apart: u64,
}

/// One group to hash, and what was right when it was chosen.
struct Step {
    span: Span,
    /// Whether the running digests take it in.
    frontier: bool,
    /// Whether its leaf is wanted.
    leaf: bool,
    epoch: u64,
}

impl DraftFile {
    /// Makes the file, sparse, at its full size. `checked_sha1` where a SHA-1 is all that is published for the payload.
    pub(crate) fn create(disk: &Arc<dyn Disk>, path: &Path, size: u64, checked_sha1: bool) -> io::Result<Self> {
        let file = disk.create(path)?;
        file.set_len(size)?;
        Ok(Self::new(file, path, size, SpanSet::new(), checked_sha1))
    }

    /// Opens a draft of an earlier run, of which `pieces` are durable. Nothing of it is hashed yet: [`Self::hash_some`]
    /// reads it again.
    pub(crate) fn reopen(
        disk: &Arc<dyn Disk>,
        path: &Path,
        size: u64,
        pieces: SpanSet,
        checked_sha1: bool,
    ) -> io::Result<Self> {
        let file = disk.open_write(path)?;
        let len = file.facts()?.len;
        if len != size {
            let what = format!("the draft {} has {len} bytes, its index entry says {size}", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Self::new(file, path, size, pieces, checked_sha1))
    }

    fn new(file: Arc<dyn DiskFile>, path: &Path, size: u64, mut covered: SpanSet, checked_sha1: bool) -> Self {
        covered.remove(Span::new(size, u64::MAX));
        // Of each covered run the groups that lie in it whole; the last group of the payload may be a short one.
        let ready = covered
            .iter()
            .map(|run| {
                let end = if run.end() == size { size } else { run.end() / GROUP * GROUP };
                Span::new(run.start().div_ceil(GROUP) * GROUP, end)
            })
            .collect();
        // Zeroed memory that the system hands out page by page as leaves are stored: a huge sparse draft costs little.
        let leaves = vec![[0; 32]; usize::try_from(hash::groups(size)).unwrap_or_default()];
        let running = Running::new(checked_sha1);
        let apart = size.div_ceil(KEPT_STATES).div_ceil(PIECE).max(16) * PIECE;
        Self {
            file,
            path: path.to_owned(),
            size,
            cover: Mutex::new(Cover {
                covered,
                writing: SpanSet::new(),
                ready,
                leaves,
                hashed: 0,
                epoch: 0,
                dropped: SpanSet::new(),
            }),
            written: Condvar::new(),
            frontier: Mutex::new(Frontier { kept: vec![running.clone()], running, apart }),
            syncing: Mutex::new(()),
            sync_failed: AtomicBool::new(false),
        }
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Stores what of `bytes` is not covered yet. When it returns well, all of it is covered and can be read back; on an
    /// error, what had been stored before it. Hashes nothing: call [`Self::hash_some`] later.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let span = Span::at(offset, bytes.len() as u64);
        if span.end() > self.size || span.len() != bytes.len() as u64 {
            let what = format!("bytes {span:?} of a draft of {} bytes", self.size);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let mut cover = self.cover();
        while cover.writing.within(span).next().is_some() {
            cover = self.written.wait(cover).unwrap_or_else(PoisonError::into_inner);
        }
        let gaps: Vec<Span> = cover.covered.gaps(span).collect();
        if gaps.is_empty() {
            return Ok(());
        }
        cover.writing.insert(span);
        drop(cover);
        let _writing = Writing { draft: self, span };
        for gap in gaps {
            // Both are inside `bytes`, whose length is a usize.
            let (from, to) = ((gap.start() - offset) as usize, (gap.end() - offset) as usize);
            self.file.write_at(&bytes[from..to], gap.start())?;
            self.cover().store(gap, self.size);
        }
        Ok(())
    }

    /// The bytes of `span`, all of which must be covered. Allocates as much: the caller bounds it.
    pub(crate) fn read(&self, span: Span) -> io::Result<Vec<u8>> {
        if !self.cover().covered.covers(&span) {
            let what = format!("bytes {span:?} of the draft are not in");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let mut bytes = vec![0; usize::try_from(span.len()).map_err(io::Error::other)?];
        self.file.read_at(&mut bytes, span.start())?;
        Ok(bytes)
    }

    /// Takes `span` for bad: it is no longer covered, and no digest remembers it. The bytes stay in the file until they
    /// are written anew. Durable only after the piece map was committed again.
    pub(crate) fn drop_span(&self, span: Span) {
        let span = span.intersect(&Span::new(0, self.size));
        if span.is_empty() {
            return;
        }
        let mut cover = self.cover();
        cover.covered.remove(span);
        cover.ready.remove(span.align(GROUP, self.size));
        cover.hashed = cover.hashed.min(span.start() / GROUP * GROUP);
        cover.dropped.insert(span);
        cover.epoch += 1;
    }

    /// The bytes that are in.
    pub(crate) fn covered(&self) -> SpanSet {
        self.cover().covered.clone()
    }

    /// How many bytes from `offset` on are in without a gap.
    pub(crate) fn run_at(&self, offset: u64) -> u64 {
        self.cover().covered.run_at(offset)
    }

    /// Whether every byte is in.
    pub(crate) fn is_complete(&self) -> bool {
        self.cover().covered.total() == self.size
    }

    /// Makes durable what is in, and says what that is: what was covered before the sync began and was not dropped since.
    ///
    /// Once it failed it fails for good, since a later success would prove nothing: the draft must be thrown away.
    pub(crate) fn sync(&self) -> io::Result<SpanSet> {
        let _one = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.sync_failed.load(Ordering::Acquire) {
            return Err(io::Error::other(
                "an earlier fsync of this draft failed, so its bytes may never reach the disk",
            ));
        }
        let mut durable = {
            let mut cover = self.cover();
            cover.dropped = SpanSet::new();
            cover.covered.clone()
        };
        if let Err(error) = self.file.sync() {
            self.sync_failed.store(true, Ordering::Release);
            return Err(error);
        }
        for span in self.cover().dropped.iter() {
            durable.remove(span);
        }
        Ok(durable)
    }

    /// Bytes that the running digests have taken in, in whole groups.
    pub(crate) fn hashed(&self) -> u64 {
        self.cover().hashed
    }

    /// Bytes really allocated on the disk.
    pub(crate) fn allocated(&self) -> io::Result<u64> {
        self.file.facts().map(|facts| facts.allocated)
    }

    /// Hashes up to `budget` bytes (a group at least), and says whether there is more that could be hashed now. One caller
    /// at a time works; others return at once with `false`, since the one at work will see what they have written.
    pub(crate) fn hash_some(&self, budget: u64) -> io::Result<bool> {
        let mut frontier = match self.frontier.try_lock() {
            Ok(frontier) => frontier,
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        let mut scratch = Vec::new();
        let mut left = budget.max(1);
        while left > 0
            && let Some(step) = self.next_step(&mut frontier)
        {
            self.take(&mut frontier, &step, &mut scratch)?;
            left = left.saturating_sub(step.span.len());
        }
        drop(frontier);
        // After the lock is free: whoever found it taken had covered its bytes before that, so they are seen here.
        let cover = self.cover();
        Ok(!cover.ready.is_empty() || cover.group_at(cover.hashed, self.size).is_some())
    }

    /// Hashes what is left of a complete draft and gives the digests and leaves.
    pub(crate) fn finish(&self) -> io::Result<Hashed> {
        let mut frontier = self.frontier.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = Vec::new();
        while let Some(step) = self.next_step(&mut frontier) {
            self.take(&mut frontier, &step, &mut scratch)?;
        }
        let leaves = {
            let cover = self.cover();
            let missing = self.size - cover.covered.total();
            if missing > 0 || !cover.ready.is_empty() || cover.hashed != self.size {
                let what = format!("{missing} of {} bytes of the draft are missing", self.size);
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            if self.size == 0 { vec![hash::leaf(0, 0, &[])] } else { cover.leaves.clone() }
        };
        Ok(frontier.running.clone().finish(leaves))
    }

    /// A panic can only come out of the disk, and no lock is held there but `frontier`, whose state changes after it: a
    /// poisoned lock means nothing.
    fn cover(&self) -> MutexGuard<'_, Cover> {
        self.cover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to hash next: the group at the frontier, else one that is complete somewhere.
    fn next_step(&self, frontier: &mut Frontier) -> Option<Step> {
        let mut cover = self.cover();
        if frontier.running.at() != cover.hashed {
            frontier.go_back(cover.hashed);
            cover.hashed = frontier.running.at();
        }
        let epoch = cover.epoch;
        if let Some(span) = cover.group_at(cover.hashed, self.size) {
            return Some(Step { span, frontier: true, leaf: cover.ready.covers(&span), epoch });
        }
        let first = cover.ready.iter().next()?;
        Some(Step { span: hash::group(first.start() / GROUP, self.size), frontier: false, leaf: true, epoch })
    }

    /// Hashes one group and remembers the result, unless something was dropped meanwhile.
    fn take(&self, frontier: &mut Frontier, step: &Step, scratch: &mut Vec<u8>) -> io::Result<()> {
        let index = step.span.start() / GROUP;
        scratch.resize(usize::try_from(step.span.len()).map_err(io::Error::other)?, 0);
        self.file.read_at(scratch, step.span.start())?;
        let leaf = step.leaf.then(|| hash::leaf(index, self.size, scratch));
        if step.frontier {
            frontier.running.update(scratch);
        }
        let mut cover = self.cover();
        if cover.epoch != step.epoch {
            // Perhaps not these bytes; but a frontier beyond `hashed` goes back by itself, and a leaf is made again.
            return Ok(());
        }
        if let Some(leaf) = leaf {
            cover.ready.remove(step.span);
            if let Some(place) = usize::try_from(index).ok().and_then(|index| cover.leaves.get_mut(index)) {
                *place = leaf;
            }
        }
        if step.frontier {
            cover.hashed = step.span.end();
            drop(cover);
            frontier.keep();
        }
        Ok(())
    }
}

impl Cover {
    /// Covers `span`, and finds the groups that it completed.
    fn store(&mut self, span: Span, size: u64) {
        self.covered.insert(span);
        let touched = span.align(GROUP, size);
        for index in touched.start() / GROUP..touched.end().div_ceil(GROUP) {
            let group = hash::group(index, size);
            if self.covered.covers(&group) {
                self.ready.insert(group);
            }
        }
    }

    /// The group that begins at `at`, if it is complete.
    fn group_at(&self, at: u64, size: u64) -> Option<Span> {
        let group = Span::at(at, GROUP).intersect(&Span::new(0, size));
        (!group.is_empty() && self.covered.covers(&group)).then_some(group)
    }
}

impl Frontier {
    /// Goes back to the last kept state that is not beyond `hashed`.
    fn go_back(&mut self, hashed: u64) {
        while self.kept.len() > 1 && self.kept.last().is_some_and(|state| state.at() > hashed) {
            self.kept.pop();
        }
        if let Some(state) = self.kept.last() {
            self.running = state.clone();
        }
    }

    /// Keeps this state if it is far enough from the last one.
    fn keep(&mut self) {
        let last = self.kept.last().map_or(0, Running::at);
        if self.running.at() >= last + self.apart {
            self.kept.push(self.running.clone());
        }
    }
}

/// A write under way. However it ends, others that wait for it go on.
struct Writing<'a> {
    draft: &'a DraftFile,
    span: Span,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.draft.cover().writing.remove(self.span);
        self.draft.written.notify_all();
    }
}

impl fmt::Debug for DraftFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cover = self.cover();
        f.debug_struct("DraftFile")
            .field("path", &self.path)
            .field("size", &self.size)
            .field("covered", &cover.covered.total())
            .field("hashed", &cover.hashed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(in crate::store) mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicU64;

    use proptest::prelude::*;
    use rand_order::shuffled;

    use super::*;
    use crate::base::disk::{Facts, RealDisk};

    /// What a hook is told of.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::store) enum Op {
        Read(Span),
        Write(Span),
        Sync,
        Copy,
    }

    type Hook = Arc<dyn Fn(Op) -> io::Result<()> + Send + Sync>;

    /// The real disk, with a hook that runs before each of these operations and may wait or refuse.
    pub(in crate::store) struct Hooked(Hook);

    struct HookedFile(Arc<dyn DiskFile>, Hook);

    pub(in crate::store) fn hooked(hook: impl Fn(Op) -> io::Result<()> + Send + Sync + 'static) -> Arc<dyn Disk> {
        Arc::new(Hooked(Arc::new(hook)))
    }

    pub(in crate::store) fn real() -> Arc<dyn Disk> {
        Arc::new(RealDisk)
    }

    pub(in crate::store) fn bad_sector() -> io::Error {
        rustix::io::Errno::IO.into()
    }

    impl fmt::Debug for Hooked {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Hooked")
        }
    }

    impl fmt::Debug for HookedFile {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("HookedFile")
        }
    }

    impl DiskFile for HookedFile {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            (self.1)(Op::Read(Span::at(offset, buf.len() as u64)))?;
            self.0.read_at(buf, offset)
        }
        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
            (self.1)(Op::Write(Span::at(offset, bytes.len() as u64)))?;
            self.0.write_at(bytes, offset)
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }
        fn sync(&self) -> io::Result<()> {
            (self.1)(Op::Sync)?;
            self.0.sync()
        }
        fn facts(&self) -> io::Result<Facts> {
            self.0.facts()
        }
        fn as_file(&self) -> &std::fs::File {
            self.0.as_file()
        }
    }

    impl Disk for Hooked {
        fn create_dir(&self, path: &Path) -> io::Result<()> {
            RealDisk.create_dir(path)
        }
        fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
            Ok(Arc::new(HookedFile(RealDisk.create(path)?, Arc::clone(&self.0))))
        }
        fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
            Ok(Arc::new(HookedFile(RealDisk.open(path)?, Arc::clone(&self.0))))
        }
        fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
            Ok(Arc::new(HookedFile(RealDisk.open_write(path)?, Arc::clone(&self.0))))
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            RealDisk.rename(from, to)
        }
        fn unlink(&self, path: &Path) -> io::Result<()> {
            RealDisk.unlink(path)
        }
        fn sync_dir(&self, path: &Path) -> io::Result<()> {
            RealDisk.sync_dir(path)
        }
        fn seal(&self, path: &Path) -> io::Result<()> {
            RealDisk.seal(path)
        }
        fn list(&self, path: &Path) -> io::Result<Vec<(PathBuf, Facts)>> {
            RealDisk.list(path)
        }
        fn facts(&self, path: &Path) -> io::Result<Option<Facts>> {
            RealDisk.facts(path)
        }
        fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
            (self.0)(Op::Copy)?;
            RealDisk.copy(from, to)
        }
        fn free_bytes(&self, path: &Path) -> io::Result<u64> {
            RealDisk.free_bytes(path)
        }
    }

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

    pub(in crate::store) fn content(size: u64) -> Vec<u8> {
        let mut bytes = vec![0; size as usize];
        blake3::Hasher::new_derive_key("waystation draft test").finalize_xof().fill(&mut bytes);
        bytes
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
            for (chunk, seed) in
                [(8 << 10, None), (1 << 20, None), (1 << 20, Some(1)), (100_000, Some(2)), (4097, Some(3))]
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
                assert_eq!(draft.read(Span::new(0, size)).unwrap(), content);
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
                prop_assert_eq!(draft.read(span).unwrap(), expected);
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
            assert_eq!(draft.read(Span::at(GROUP, 9)).unwrap(), slice(&content, Span::at(GROUP, 9)));
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
            Op::Write(span) if span.end() > 500 && state.load(Ordering::SeqCst) => {
                Err(io::ErrorKind::StorageFull.into())
            }
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
        draft.read(Span::new(0, 1)).unwrap_err();
        drop(draft);
        let path = dir.path().join("1");
        DraftFile::create(&real(), &path, 100, false).unwrap_err();
        DraftFile::reopen(&real(), &path, 101, SpanSet::new(), false).unwrap_err();
    }
}
