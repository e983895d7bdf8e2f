//! Room that is promised to what is on its way, so that several fills that cannot all fit do not all break off half way:
//! whoever begins is promised room, and who finds none learns it before the first byte is fetched.
//!
//! 1. A draft that is wanted whole, and one that is small, is promised all that is missing; a large one that is filled on
//!    demand may never need most of it, and is promised [`AHEAD`] at a time. An import is promised the file.
//! 2. What is promised counts as used for everybody else. Promises are made on the one thread that also evicts, so that
//!    no two are given the same room.
//! 3. A write uses up what its draft was promised. One that needs more, or finds the disk fuller than it was, asks for
//!    room again; the writer waits meanwhile, and no thread that somebody else needs does.
//! 4. Where there is none the draft that was begun first waits for the others, which are refused at once and so let go of
//!    theirs: one always goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::base::digest::Blake3;
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::filling::DraftState;
use crate::store::space::{Reach, shift};

/// What a large draft on demand is promised at a time; what is missing less of is filled whole anyway.
pub(crate) const AHEAD: u64 = 64 << 20;

/// How long the draft that was begun first waits for the others to let go: as long as a response may be silent before
/// Windows gives the node up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that are kept free for somebody; what is left of them is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Promise {
    core: Arc<Core>,
    left: AtomicU64,
}

/// What came of a write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    /// Nothing was written: room must be made first.
    Short,
}

/// What a draft is promised of the `missing` bytes when it is begun or opened.
pub(super) fn first(missing: u64, whole: bool) -> u64 {
    if whole { missing } else { missing.min(AHEAD) }
}

impl Promise {
    /// Nothing as yet.
    pub(crate) fn none(core: &Arc<Core>) -> Self {
        Self { core: Arc::clone(core), left: AtomicU64::new(0) }
    }

    /// What is left of it.
    pub(crate) fn left(&self) -> u64 {
        self.left.load(Ordering::Acquire)
    }

    /// Uses up `bytes`; `false`, and nothing is used, where there is less left.
    pub(super) fn take(&self, bytes: u64) -> bool {
        let taken = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(bytes)).is_ok();
        if taken {
            shift(&self.core.sums.promised, 0, bytes);
        }
        taken
    }

    /// Gives up what is left.
    pub(crate) fn end(&self) {
        shift(&self.core.sums.promised, 0, self.left.swap(0, Ordering::AcqRel));
    }

    /// Takes over what another was promised.
    pub(super) fn join(&self, other: &Self) {
        self.left.fetch_add(other.left.swap(0, Ordering::AcqRel), Ordering::AcqRel);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.end();
        self.core.freed.notify_waiters();
    }
}

impl Core {
    /// Makes room for `bytes` and keeps it; [`Error::Full`] where there is none. `spared` is not given up for it. Only for
    /// the thread that evicts.
    pub(crate) fn promise(
        self: &Arc<Self>,
        bytes: u64,
        reach: Reach,
        spared: Option<&Blake3>,
    ) -> Result<Promise, Error> {
        // The row of what is begun needs what the index keeps in reserve, whoever filled the disk.
        self.make_room(0, 0, Reach::All, spared)?;
        let others = self.sums.promised.load(Ordering::Acquire);
        self.make_room(bytes, others, reach, spared)?;
        shift(&self.sums.promised, bytes, 0);
        Ok(Promise { core: Arc::clone(self), left: AtomicU64::new(bytes) })
    }

    /// The same from anywhere.
    pub(crate) async fn ask_promise(
        self: &Arc<Self>,
        bytes: u64,
        reach: Reach,
        spared: Option<Blake3>,
    ) -> Result<Promise, Error> {
        let core = Arc::clone(self);
        self.evictor.run(move || core.promise(bytes, reach, spared.as_ref())).await?
    }
}

impl DraftState {
    /// Steps 3 and 4.
    pub(super) async fn write_in_turn(self: &Arc<Self>, offset: u64, bytes: Bytes) -> Result<(), Error> {
        let len = bytes.len() as u64;
        let begun = Instant::now();
        loop {
            let (state, theirs) = (Arc::clone(self), bytes.clone());
            if self.core.io.run(move || state.write(offset, &theirs)).await?? == Written::Done {
                return Ok(());
            }
            // Before the look, so that what is let go of meanwhile is not missed.
            let mut freed = std::pin::pin!(self.core.freed.notified());
            freed.as_mut().enable();
            let state = Arc::clone(self);
            match self.core.evictor.run(move || state.find_room(len)).await? {
                Ok(()) => {}
                Err(full @ Error::Full { .. }) => {
                    let left = PATIENCE.saturating_sub(begun.elapsed());
                    let waits = self.core.book.goes_first(self.id);
                    if !waits || tokio::time::timeout(left, freed).await.is_err() {
                        return Err(full);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes room for the next `len` bytes of this draft.
    fn find_room(&self, len: u64) -> Result<(), Error> {
        let reach = self.reach();
        // Others may have filled the disk since the promise was made.
        self.core.make_room(len, 0, reach, None)?;
        let lack = len.saturating_sub(self.promise.left());
        if lack == 0 {
            return Ok(());
        }
        let (size, whole) = {
            let row = self.row();
            (row.size, row.whole)
        };
        let missing = size.saturating_sub(self.file.covered().total());
        let more = first(missing, whole).max(lack);
        let more = match self.core.promise(more, reach, None) {
            Err(Error::Full { .. }) if more > lack => self.core.promise(lack, reach, None)?,
            other => other?,
        };
        self.promise.join(&more);
        Ok(())
    }
}
