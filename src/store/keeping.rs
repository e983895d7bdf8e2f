//! What is asked of payloads that are held, by whoever keeps house: pins, removal, quarantine, room, verifying, a copy of the
//! index. The work is done in the files that the room's head names.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::base::digest::{Blake3, Digest};
use crate::base::span::SpanSet;
use crate::store::pins;
use crate::store::remove::Fate;
use crate::store::writer::Room;
use crate::store::{Error, Quarantined, Reviewed, Space, Store};

impl Store {
    /// Keeps a held payload from being given up.
    pub async fn pin(&self, blake3: Blake3, by: &str) -> Result<(), Error> {
        let (by, at, cache) = (by.to_owned(), self.core.clock.now().ms(), Arc::clone(&self.core.cache));
        let change = move |tx: &redb::WriteTransaction| pins::pin(tx, blake3.as_bytes(), &by, at);
        self.core.writer.change_and_tell(Room::Adds, change, move |()| cache.drop_payload(&blake3, None)).await
    }

    /// Takes the pin away; an unproven payload gets an end again.
    pub async fn unpin(&self, blake3: Blake3) -> Result<(), Error> {
        let (end, cache) = (self.core.clock.now().after(self.core.config.unproven).ms(), Arc::clone(&self.core.cache));
        let change = move |tx: &redb::WriteTransaction| pins::unpin(tx, &blake3, end);
        self.core.writer.change_and_tell(Room::Frees, change, move |()| cache.drop_payload(&blake3, None)).await
    }

    /// Deletes a payload; whoever is being served from it keeps its bytes. `Gone` where it is not held.
    pub async fn remove(&self, blake3: Blake3) -> Result<(), Error> {
        let core = Arc::clone(&self.core);
        self.core.steps.run(move || core.remove(blake3, &Fate::Deleted)).await?
    }

    /// As `remove`, but the files go to `quarantine/` with the reason. A pin waits for the same bytes to come again.
    pub async fn quarantine(&self, blake3: Blake3, why: &str) -> Result<(), Error> {
        let (core, fate) = (Arc::clone(&self.core), Fate::Damaged(why.to_owned()));
        self.core.steps.run(move || core.remove(blake3, &fate)).await?
    }

    /// Takes a payload of which bytes are known to be bad out of service until it is mended: it is found under none of its
    /// names, and what comes in with its digest takes the place of its file. Entry, names, pin and file stay, also over a
    /// restart. `Gone` where it is not held.
    pub async fn withhold(&self, blake3: Blake3, why: &str) -> Result<(), Error> {
        let (core, why) = (Arc::clone(&self.core), why.to_owned());
        self.core.steps.run(move || core.withhold(blake3, &why)).await?
    }

    /// Puts a payload that was read again and is good back into service; one that was not withheld is fine.
    pub async fn release(&self, blake3: Blake3) -> Result<(), Error> {
        if !self.core.withheld.has(&blake3) {
            return Ok(());
        }
        let core = Arc::clone(&self.core);
        self.core.steps.run(move || core.release(blake3)).await?
    }

    /// The payloads that wait to be mended, in order.
    pub fn withheld(&self) -> Vec<Blake3> {
        self.core.withheld.all()
    }

    /// What lies in quarantine, the oldest first: at most some dozens, for at most a month.
    pub async fn quarantined(&self) -> Result<Vec<Quarantined>, Error> {
        let core = Arc::clone(&self.core);
        self.core.reads.run(move || core.quarantined()).await?
    }

    /// Throws out all that lies in quarantine; returns how many there were and the bytes that it freed.
    pub async fn empty_quarantine(&self) -> Result<(u64, u64), Error> {
        let core = Arc::clone(&self.core);
        self.core.steps.run(move || core.empty_quarantine()).await?
    }

    /// What is used and what is free.
    pub async fn space(&self) -> Result<Space, Error> {
        let core = Arc::clone(&self.core);
        self.core.reads.run(move || core.space()).await?
    }

    /// Says of files, each with its digests, that they are wanted: what is held of them counts as used now, so that what nobody wants
    /// goes before it. One commit at most; as many files as a step of a walk finds are meant. Says of how many it was written down.
    pub async fn keep_wanted(&self, files: Vec<Vec<Digest>>) -> Result<u64, Error> {
        self.core.writable()?;
        let core = Arc::clone(&self.core);
        self.core.steps.run(move || core.keep_wanted(&files)).await?
    }

    /// One eviction step, at most 50 ms: what is past its end, then as much as `wanted` more bytes need. Returns the
    /// bytes freed; 0 where nothing more can or need go.
    pub async fn evict_step(&self, wanted: u64) -> Result<u64, Error> {
        let core = Arc::clone(&self.core);
        self.core.evictor.run(move || core.evict_step(wanted)).await?
    }

    /// One step as [`Store::evict_step`], for room that nobody needs yet: proven payloads stay.
    pub async fn ease_step(&self, wanted: u64) -> Result<u64, Error> {
        let core = Arc::clone(&self.core);
        self.core.evictor.run(move || core.ease_step(wanted)).await?
    }

    /// One step through what is held, behind `after`, that brings it up to what the catalog says by now (see `review`): marks
    /// what only superseded or withdrawn updates have, promotes what a published digest matches, throws out what one
    /// contradicts. Returns where to go on; `None` at the end. Some milliseconds, but where a payload must be read to find
    /// out what its SHA-1 is worth.
    pub async fn review_step(&self, after: Option<Blake3>) -> Result<(Reviewed, Option<Blake3>), Error> {
        self.core.review_step(after).await
    }

    /// Told whenever somebody had to wait for room: whoever keeps house should make some ahead.
    pub fn shortage(&self) -> Arc<Notify> {
        Arc::clone(&self.core.short)
    }

    /// Re-reads a payload against its proof and returns what is bad: all of it where its file is missing. A proof that is
    /// missing or damaged is made again from a payload that is well, which its own BLAKE3 tells. `each` is told of every
    /// group read (for progress and rate: it may sleep). Dropped, it ends after the group that it is at.
    pub async fn verify(&self, blake3: Blake3, mut each: Box<dyn FnMut(u64) + Send>) -> Result<SpanSet, Error> {
        let core = Arc::clone(&self.core);
        let job = move |wanted: &dyn Fn() -> bool| {
            core.verify(&blake3, &mut |bytes| {
                each(bytes);
                if wanted() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
        };
        self.core.verifying.run_watched(job).await?
    }

    /// A consistent copy of the index while running, as the new file `to`, which must not be there. Dropped, it ends soon
    /// and leaves nothing.
    pub async fn backup(&self, to: PathBuf) -> Result<(), Error> {
        let core = Arc::clone(&self.core);
        self.core.bulk.run_watched(move |wanted| core.index.copy(&*core.disk, &to, wanted)).await?
    }
}
