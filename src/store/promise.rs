//! Room that is promised to what is on its way, so that several fills that cannot all fit do not all break off half way:
//! whoever begins is promised room, and who finds none learns it before the first byte is fetched.
//!
//! 1. A draft that is wanted whole, and one that is small, is promised all that is missing; a large one that is filled on
//!    demand may never need most of it, and is promised [`AHEAD`] at a time. An import is promised the file.
//! 2. What is promised counts as used for everybody else. Promises are made on the one thread that also evicts, so that
//!    no two are given the same room.
//! 3. A write uses up what its draft was promised. One that needs more, or finds the disk fuller than it was, asks for
//!    room again; the writer waits meanwhile, and no thread that somebody else needs does.
//! 4. Who finds none waits a moment where what is being published makes enough: it can be given up when that is done.
//! 5. Where there is none the draft that was begun first waits for the others, which are refused at once and so let go of
//!    theirs: one always goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::base::digest::Blake3;
use crate::base::time::Timestamp;
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::filling::DraftState;
use crate::store::space::{Beside, Reach, shift};

/// What a large draft on demand is promised at a time; what is missing less of is filled whole anyway.
pub(crate) const AHEAD: u64 = 64 << 20;

/// How long the draft that was begun first waits for the others to let go: as long as a response may be silent before
/// Windows gives the node up.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long whoever finds no room waits for what is just being published, and can be given up then: a proof and an fsync of
/// what is small. Whoever has waited in vain is passed through, which must begin soon, too.
const PUBLICATION: Duration = Duration::from_secs(2);

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

    /// Uses up `bytes`, which are the draft's from now on; `false`, and nothing is used, where there is less left.
    pub(super) fn spend(&self, bytes: u64) -> bool {
        let taken = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(bytes)).is_ok();
        if taken {
            self.core.sums.change(|sums| {
                shift(&mut sums.promised, 0, bytes);
                shift(&mut sums.drafts, bytes, 0);
            });
        }
        taken
    }

    /// Gives up what is more than `bytes`.
    pub(super) fn keep(&self, bytes: u64) {
        let kept = |left: u64| Some(left.min(bytes));
        // The closure always gives a value, so that the update cannot fail.
        if let Ok(before) = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, kept) {
            self.core.sums.change(|sums| shift(&mut sums.promised, 0, before.saturating_sub(bytes)));
        }
    }

    /// Gives up what is left.
    pub(crate) fn end(&self) {
        self.core.sums.change(|sums| shift(&mut sums.promised, 0, self.left.swap(0, Ordering::AcqRel)));
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
        self.make_room(0, Beside::Used, Reach::All, spared)?;
        self.make_room(bytes, Beside::Promised, reach, spared)?;
        self.sums.change(|sums| shift(&mut sums.promised, bytes, 0));
        Ok(Promise { core: Arc::clone(self), left: AtomicU64::new(bytes) })
    }

    /// The same from anywhere. Waits for what is just being published.
    pub(crate) async fn ask_promise(
        self: &Arc<Self>,
        bytes: u64,
        reach: Reach,
        spared: Option<Blake3>,
    ) -> Result<Promise, Error> {
        let until = Instant::now() + PUBLICATION;
        loop {
            // Before the look, so that what is let go of meanwhile is not missed.
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            let core = Arc::clone(self);
            let asked = move || {
                let coming = core.coming(reach);
                let promise = core.promise(bytes, reach, spared.as_ref());
                let fits = promise.is_err() && core.excess(bytes, Beside::Promised)? <= coming;
                Ok::<_, Error>((promise, fits))
            };
            match self.evictor.run(asked).await?? {
                (Err(Error::Full { .. }), true) if tokio::time::timeout_at(until, freed).await.is_ok() => {}
                (promise, _) => return promise,
            }
        }
    }

    /// Bytes that can be given up in a moment, and not yet: of drafts that are complete, and of what was published just now
    /// and is still in the hand of whoever published it.
    fn coming(&self, reach: Reach) -> u64 {
        let only_unproven = reach == Reach::Unproven;
        let open = self.book.all().into_iter().filter_map(|(.., open)| open);
        let ending = open.filter(|draft| draft.file.is_complete() && !(only_unproven && draft.reach() == Reach::All));
        let drafts: u64 = ending.map(|draft| draft.file.covered().total()).sum();
        let since = self.clock.now().ms().saturating_sub(u64::try_from(PUBLICATION.as_millis()).unwrap_or(u64::MAX));
        drafts.saturating_add(self.cache.in_hand(Timestamp::from_ms(since), only_unproven))
    }
}

impl DraftState {
    /// Steps 3 to 5.
    pub(super) async fn write_in_turn(self: &Arc<Self>, offset: u64, parts: Vec<Bytes>) -> Result<(), Error> {
        let len = parts.iter().map(|part| part.len() as u64).sum();
        let parts: Arc<[Bytes]> = parts.into();
        let begun = Instant::now();
        loop {
            let (state, theirs) = (Arc::clone(self), Arc::clone(&parts));
            if self.core.io.run(move || state.write(offset, &theirs)).await?? == Written::Done {
                return Ok(());
            }
            // Before the look, so that what is let go of meanwhile is not missed.
            let mut freed = std::pin::pin!(self.core.freed.notified());
            freed.as_mut().enable();
            let state = Arc::clone(self);
            let asked = move || {
                let coming = state.core.coming(state.reach());
                let found = state.find_room(len);
                let lack = len.saturating_sub(state.promise.left());
                let fits = found.is_err() && state.core.excess(lack, Beside::Promised)? <= coming;
                Ok::<_, Error>((found, fits))
            };
            let (found, fits) = self.core.evictor.run(asked).await??;
            match found {
                Ok(()) => {}
                Err(full @ Error::Full { .. }) => {
                    let left = PATIENCE.saturating_sub(begun.elapsed());
                    let waits = self.core.book.goes_first(self.id) || fits;
                    if !waits || tokio::time::timeout(left, freed).await.is_err() {
                        // Responses that read what is in may keep the draft open for as long as they like: what it was
                        // promised is for others from now on, and is asked for anew by whoever writes on.
                        self.let_go();
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
        self.core.make_room(len, Beside::Used, reach, None)?;
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
