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

mod cover;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

use crate::base::disk::{Disk, DiskFile};
use crate::base::limits::GROUP;
use crate::base::span::{Span, SpanSet};
use crate::store::draft::cover::{Cover, Frontier};
use crate::store::hash::{self, Hashed};
use crate::store::pool::Pool;

/// A draft's file, open. All calls block.
pub(crate) struct DraftFile {
    /// There until this is dropped.
    file: Option<Arc<dyn DiskFile>>,
    /// Where the file is closed; else wherever this is dropped.
    pool: Option<Arc<Pool>>,
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
        Self::of_length(&*file, path, size)?;
        Ok(Self::new(file, path, size, pieces, checked_sha1))
    }

    /// Opens a complete file, of which nothing is hashed yet. For reading alone: no byte of it is written any more.
    pub(crate) fn whole(disk: &Arc<dyn Disk>, path: &Path, size: u64, checked_sha1: bool) -> io::Result<Self> {
        let file = disk.open(path)?;
        Self::of_length(&*file, path, size)?;
        let pieces = std::iter::once(Span::new(0, size)).collect();
        Ok(Self::new(file, path, size, pieces, checked_sha1))
    }

    fn of_length(file: &dyn DiskFile, path: &Path, size: u64) -> io::Result<()> {
        let len = file.facts()?.len;
        if len != size {
            let what = format!("the draft {} has {len} bytes, its index entry says {size}", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(())
    }

    fn new(file: Arc<dyn DiskFile>, path: &Path, size: u64, covered: SpanSet, checked_sha1: bool) -> Self {
        Self {
            file: Some(file),
            pool: None,
            path: path.to_owned(),
            size,
            cover: Mutex::new(Cover::new(covered, size)),
            written: Condvar::new(),
            frontier: Mutex::new(Frontier::new(size, checked_sha1)),
            syncing: Mutex::new(()),
            sync_failed: AtomicBool::new(false),
        }
    }

    /// Lets the file be closed on `pool`: one that has lost its name takes as long as giving back its blocks does, and the
    /// last one to let go may be a reactor.
    pub(crate) fn ends_on(mut self, pool: &Arc<Pool>) -> Self {
        self.pool = Some(Arc::clone(pool));
        self
    }

    fn file(&self) -> io::Result<&dyn DiskFile> {
        self.file.as_deref().ok_or_else(|| io::Error::other("the draft is closed"))
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Stores what of `bytes` is not covered yet. When it returns well, all of it is covered and can be read back; on an
    /// error, what had been stored before it. Hashes nothing: call [`Self::hash_some`] later.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_parts(offset, &[bytes])
    }

    /// The same for bytes that come in parts, one after the other.
    pub(crate) fn write_parts(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let span = Span::at(offset, len);
        if span.end() > self.size || span.len() != len {
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
            let mut at = offset;
            for part in parts {
                let here = Span::at(at, part.len() as u64).intersect(&gap);
                if !here.is_empty() {
                    // Both are inside the part, whose length is a usize.
                    let (from, to) = ((here.start() - at) as usize, (here.end() - at) as usize);
                    self.file()?.write_at(&part[from..to], here.start())?;
                }
                at += part.len() as u64;
            }
            self.cover().store(gap, self.size);
        }
        Ok(())
    }

    /// Fills `buf` with the bytes from `offset` on, all of which must be covered.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let span = Span::at(offset, buf.len() as u64);
        if !self.cover().covered.covers(&span) {
            let what = format!("bytes {span:?} of the draft are not in");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        self.file()?.read_at(buf, offset)
    }

    /// The same without ever waiting for the disk; `false` where it would have to, and where bytes are not in.
    pub(crate) fn read_at_once(&self, offset: u64, buf: &mut [u8]) -> bool {
        let span = Span::at(offset, buf.len() as u64);
        self.cover().covered.covers(&span) && self.file().is_ok_and(|file| file.read_at_once(buf, offset))
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
        if let Err(error) = self.file().and_then(DiskFile::sync) {
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
        self.file()?.facts().map(|facts| facts.allocated)
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
        self.file()?.read_at(scratch, step.span.start())?;
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

impl Drop for DraftFile {
    fn drop(&mut self) {
        if let (Some(pool), Some(file)) = (&self.pool, self.file.take()) {
            pool.end(file);
        }
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
