//! Drafts: payloads being filled. What they are, and the handle that fill works with.
//!
//! A draft's life: *filling* (writes come in, checkpoints make them last) -> *proving* (complete; late writes are
//! dropped) -> *proved* -> *gone* (published, discarded, or in quarantine). Dropping the last handle keeps the draft for
//! later. Its file can be read through a handle even after it was published, so that followers end well. What happens
//! in each of these states is in `filling`, how drafts come and go in `quota`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::base::digest::Digests;
use crate::base::span::{Span, SpanSet};
use crate::model::name::Name;
use crate::model::payload::{Alias, Freshness, Location, Published, Validators};
use crate::store::cache::Found;
use crate::store::error::Error;
use crate::store::filling::{DraftState, put_row, reach};
use crate::store::space::Reach;
use crate::store::tables::{ClaimRow, PlaceRow};
use crate::store::writer::Room;

/// Drafts at once: each is a file, a row, and a look at it on open.
pub(crate) const DRAFTS_MAX: usize = 4096;
/// Of these, so many that nobody vouches for may be of one network of clients: whoever asks for ever new names throws out
/// what was begun for the own network, and nobody else's.
pub(crate) const SUBNET_DRAFTS_MAX: usize = DRAFTS_MAX / 4;
/// The part of `max_size` (one n-th) that drafts which nobody fills now may take: what is begun and left must not
/// crowd out what is whole.
pub(super) const IDLE_SHARE: u64 = 4;
/// A draft that nobody asked for in so long is given up.
pub(super) const LIFETIME: Duration = Duration::from_hours(30 * 24);
/// Bytes hashed by one job of the pool, some 10 ms: what somebody waits for then goes first again.
pub(super) const HASH_STEP: u64 = 8 << 20;
/// Locations kept with one draft or note: a source that keeps signing new addresses must not grow a row.
pub(crate) const PLACES_MAX: usize = 16;

/// A payload to be filled. Everything a restarted flight needs.
#[derive(Clone, Debug)]
pub struct DraftSpec {
    /// What it was asked for under.
    pub name: Name,
    /// Its length in bytes.
    pub size: u64,
    /// The tag under which the object is answered (without quotes).
    pub tag: String,
    /// Last-Modified as it is sent to clients.
    pub last_modified: Option<String>,
    /// The origin's own validators.
    pub validators: Validators,
    /// What must match.
    pub expected: Option<Published>,
    /// Where it can be asked for, best first.
    pub locations: Vec<Location>,
    /// RFC 9111 state for an object that is not immutable.
    pub freshness: Option<Freshness>,
    /// Whether the whole is wanted (a prefetch, an approval) and not only what was asked for.
    pub whole: bool,
}

/// A draft whose bytes are complete, hashed, and match everything published for it.
#[derive(Clone, Debug)]
pub struct Proved {
    /// What the bytes are.
    pub digests: Digests,
}

/// A draft: a payload being filled. Clones share it. Dropping the last handle keeps it for later.
#[derive(Clone, Debug)]
pub struct Draft {
    pub(super) state: Arc<DraftState>,
}

impl Draft {
    /// Its number, for logs.
    pub fn id(&self) -> u64 {
        self.state.id
    }

    /// What it is of.
    pub fn spec(&self) -> DraftSpec {
        self.state.spec()
    }

    /// The bytes that are in.
    pub fn covered(&self) -> SpanSet {
        self.state.file.covered()
    }

    /// Without a gap from `offset` on.
    pub fn run_at(&self, offset: u64) -> u64 {
        self.state.file.run_at(offset)
    }

    /// Whether every byte is in.
    pub fn is_complete(&self) -> bool {
        self.state.file.is_complete()
    }

    /// Writes at `offset` on the I/O pool; when it returns the bytes can be read back. Group hashes and the running
    /// SHA frontier follow in the background of the same pool. Waits where room must be made first, and where other drafts
    /// that were begun later have it; `Full` where the disk or `max_size` says no. What comes after the draft was found
    /// complete is dropped.
    pub async fn write(&self, offset: u64, bytes: Bytes) -> Result<(), Error> {
        self.write_parts(offset, vec![bytes]).await
    }

    /// The same for bytes that came in parts, one after the other.
    pub async fn write_parts(&self, offset: u64, parts: Vec<Bytes>) -> Result<(), Error> {
        self.state.write_in_turn(offset, parts).await
    }

    /// Reads covered bytes back (at most [`WINDOW`] at once).
    pub async fn read(&self, span: Span) -> Result<Bytes, Error> {
        let state = Arc::clone(&self.state);
        self.state.core.io.run(move || state.read(span)).await?
    }

    /// Reads covered bytes back if they are in memory, as what was just written is; `None` where the disk would have to be
    /// waited for, where some are not in, and for more than a response takes at once (128 KiB). Never blocks.
    pub fn read_at_once(&self, span: Span) -> Option<Bytes> {
        self.state.read_at_once(span)
    }

    /// Takes a span for bad: it is no longer covered, now and after a restart.
    pub async fn drop_span(&self, span: Span) -> Result<(), Error> {
        let state = Arc::clone(&self.state);
        self.state.core.io.run(move || state.drop_span(span)).await?
    }

    /// As [`Draft::drop_span`], for bytes that have left the node: from now on the draft is answered under `tag`, and its
    /// name is of this generation at least.
    pub async fn disown(&self, span: Span, generation: u32, tag: String) -> Result<(), Error> {
        let state = Arc::clone(&self.state);
        self.state.core.io.run(move || state.disown(span, generation, tag)).await?
    }

    /// fsync, then a commit of the piece map: what was written before survives a crash.
    pub async fn checkpoint(&self) -> Result<(), Error> {
        let state = Arc::clone(&self.state);
        self.state.core.steps.run(move || state.checkpoint()).await?
    }

    /// Bytes hashed so far by the sequential digests, for progress: all are once the proof can be given. Where all have to be
    /// read once more for it, this goes back by that.
    pub fn hashed(&self) -> u64 {
        self.state.file.hashed().saturating_sub(self.state.again.load(Ordering::Relaxed))
    }

    /// Finishes hashing a complete draft and holds the result against everything published for it (`Mismatch`).
    pub async fn prove(&self) -> Result<Proved, Error> {
        let state = Arc::clone(&self.state);
        self.state.core.long.run(move || state.prove()).await?
    }

    /// Publishes under the draft's name, its digests and `aliases`: intent, fsync, proof, rename, commit. Once begun it
    /// goes on to its end even where the caller goes away.
    pub async fn publish(&self, proved: Proved, aliases: Vec<(Name, Alias)>) -> Result<Found, Error> {
        let state = Arc::clone(&self.state);
        self.state.core.steps.run(move || state.publish(&proved, aliases)).await?
    }

    /// Throws it away.
    pub async fn discard(&self) -> Result<(), Error> {
        let state = Arc::clone(&self.state);
        self.state.core.steps.run(move || state.discard()).await?
    }

    /// Moves it to `quarantine/` with the reason, and raises the generation of its name.
    pub async fn quarantine(&self, why: &str) -> Result<(), Error> {
        let (state, why) = (Arc::clone(&self.state), why.to_owned());
        self.state.core.steps.run(move || state.quarantine(&why)).await?
    }

    /// Changes what a restart must know: wants the whole (never taken back), another signed query that worked (the
    /// locations given replace the old ones, none given leaves them), a digest learnt meanwhile (kept unless a stronger
    /// authority spoke before).
    pub async fn amend(&self, whole: bool, locations: Vec<Location>, expected: Option<Published>) -> Result<(), Error> {
        let state = Arc::clone(&self.state);
        let expected = {
            let mut row = state.row();
            row.whole |= whole;
            if !locations.is_empty() {
                row.places = locations.iter().take(PLACES_MAX).map(PlaceRow::of).collect();
            }
            let known = row.expected.as_ref().map(ClaimRow::claim);
            if let Some(expected) = expected
                && known.is_none_or(|known| known.authority <= expected.authority)
            {
                row.expected = Some(ClaimRow::of(&expected));
            }
            row.expected.as_ref().map(ClaimRow::claim)
        };
        let (id, row) = (state.id, Arc::clone(&state.row));
        if reach(&state.name, expected.as_ref()) == Reach::All {
            state.core.book.vouch(id);
        }
        self.state.core.writer.change(Room::Adds, move |tx| put_row(tx, id, &row, None)).await
    }
}
