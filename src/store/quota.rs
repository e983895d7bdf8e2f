//! How drafts come and go: begun, opened again, found on open, given up by count, share, age or lack of room.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Instant;

use crate::base::digest::{Blake3, Digest};
use crate::base::limits::OBJECT_BYTES_MAX;
use crate::base::span::SpanSet;
use crate::base::time::Timestamp;
use crate::model::name::Name;
use crate::model::payload::{Alias, Authority, Location, Validators};
use crate::store::book::{Line, Subnet};
use crate::store::core::Core;
use crate::store::draft::DraftFile;
use crate::store::drafts::{DRAFTS_MAX, Draft, DraftSpec, IDLE_SHARE, LIFETIME, PLACES_MAX, SUBNET_DRAFTS_MAX};
use crate::store::error::Error;
use crate::store::filling::{DraftState, Phase, drop_draft_rows, reach, spec_of};
use crate::store::index::Health;
use crate::store::promise::{self, Promise};
use crate::store::proving::needs_checked_sha1;
use crate::store::space::{Reach, STEP, shift};
use crate::store::tables::{
    AliasRow, ClaimRow, DRAFTS, DraftRow, PIECES, PiecesRow, PlaceRow, decode, encode, name_key, name_of,
};
use crate::store::verify;
use crate::store::writer::Room;

impl Core {
    /// Begins a draft. One under the same name is thrown away first: it is of another version.
    fn start_draft(
        self: &Arc<Self>,
        spec: &DraftSpec,
        promise: Promise,
        owner: Option<Subnet>,
    ) -> Result<Draft, Error> {
        let row = DraftRow {
            name: name_key(&spec.name),
            size: spec.size,
            alias: AliasRow::of(
                &[0; 32],
                &Alias {
                    tag: spec.tag.clone(),
                    last_modified: spec.last_modified.clone(),
                    validators: spec.validators.clone(),
                    freshness: spec.freshness.clone(),
                },
            ),
            expected: spec.expected.as_ref().map(ClaimRow::of),
            places: spec.locations.iter().take(PLACES_MAX).map(PlaceRow::of).collect(),
            whole: spec.whole,
            started_at: self.clock.now().ms(),
            checked_sha1: needs_checked_sha1(spec.expected.as_ref(), &spec.name),
            repairs: None,
            taken_from: None,
        };
        self.admit_draft(reach(&spec.name, spec.expected.as_ref()) == Reach::All, owner)?;
        let id = self.next_id();
        let path = self.layout.draft(id);
        let file = DraftFile::create(&self.disk, &path, spec.size, row.checked_sha1)
            .map_err(|error| self.not_begun(&path, &error))?
            .ends_on(&self.io);
        self.enrol(id, file, row, spec.name.clone(), promise, owner)
    }

    /// Begins a draft, once there is room for it; [`Error::Full`] where there is none.
    pub(crate) async fn begin_draft(self: &Arc<Self>, spec: DraftSpec, client: Option<IpAddr>) -> Result<Draft, Error> {
        let most = OBJECT_BYTES_MAX.min(self.config.max_size);
        if spec.size > most {
            return Err(Error::Full { what: format!("an object of {} bytes, at most {most} are kept", spec.size) });
        }
        self.clear_name(&spec.name).await?;
        let reach = reach(&spec.name, spec.expected.as_ref());
        let promise = self.ask_promise(promise::first(spec.size, spec.whole), reach, None).await?;
        let core = Arc::clone(self);
        self.steps.run(move || core.start_draft(&spec, promise, client.map(Subnet::of))).await?
    }

    /// Begins the draft that mends a held payload; that payload is not given up for the room.
    pub(crate) async fn begin_repair(
        self: &Arc<Self>,
        blake3: Blake3,
        bad: SpanSet,
        locations: Vec<Location>,
    ) -> Result<Draft, Error> {
        let name = Name::Digest(Digest::Blake3(blake3));
        self.clear_name(&name).await?;
        let (core, key) = (Arc::clone(self), name_key(&name));
        let look = move || core.index.read(|tx| crate::store::entries::look_up(tx, &key));
        let (_, held, _) = self.reads.run(look).await??.ok_or(Error::Gone)?;
        let promise = self.ask_promise(held.size, Reach::All, Some(blake3)).await?;
        let core = Arc::clone(self);
        self.long.run(move || core.repair_draft(blake3, &bad, &locations, promise)).await?
    }

    /// The draft under `name`, opened, and room for what is missing of it; [`Error::Full`] where there is none.
    pub(crate) async fn open_draft(self: &Arc<Self>, name: Name) -> Result<Option<Draft>, Error> {
        let core = Arc::clone(self);
        let Some(draft) = self.steps.run(move || core.draft(&name)).await?? else { return Ok(None) };
        let (size, whole) = {
            let row = draft.state.row();
            (row.size, row.whole)
        };
        let missing = size.saturating_sub(draft.state.file.covered().total());
        let wanted = promise::first(missing, whole).saturating_sub(draft.state.promise.left());
        if wanted > 0 && draft.state.promise.left() == 0 && self.index.health() == Health::Ready {
            let more = self.ask_promise(wanted, draft.state.reach(), None).await?;
            draft.state.promise.join(&more);
        }
        Ok(Some(draft))
    }

    /// Throws a draft under `name` away: a new one takes its place.
    async fn clear_name(self: &Arc<Self>, name: &Name) -> Result<(), Error> {
        self.writable()?;
        if self.book.find(name).is_none() {
            return Ok(());
        }
        let (core, name) = (Arc::clone(self), name.clone());
        let clear = move || match core.book.find(&name) {
            Some((_, Some(open))) => open.discard(),
            Some((id, None)) => core.drop_draft(id),
            None => Ok(()),
        };
        self.steps.run(clear).await?
    }

    /// A draft made of the good groups of a held payload; publishing it replaces the payload's file.
    fn repair_draft(
        self: &Arc<Self>,
        blake3: Blake3,
        bad: &SpanSet,
        locations: &[Location],
        promise: Promise,
    ) -> Result<Draft, Error> {
        let name = Name::Digest(Digest::Blake3(blake3));
        let (_, held, _) =
            self.index.read(|tx| crate::store::entries::look_up(tx, &name_key(&name)))?.ok_or(Error::Gone)?;
        self.admit_draft(true, None)?;
        let id = self.next_id();
        let path = self.layout.draft(id);
        let file = verify::repair_draft(&self.disk, &self.layout.payload(&blake3), &path, held.size, bad, false)
            .map_err(|error| self.not_begun(&path, &error))?
            .ends_on(&self.io);
        // Whoever proved the payload proves the repair; its SHA-1 state is known and stays.
        let row = DraftRow {
            name: name_key(&name),
            size: held.size,
            alias: AliasRow::of(
                &[0; 32],
                &Alias {
                    tag: name.to_string(),
                    last_modified: None,
                    validators: Validators::default(),
                    freshness: None,
                },
            ),
            expected: Some(ClaimRow {
                blake3: Some(*blake3.as_bytes()),
                sha1: None,
                sha256: Some(held.sha256),
                authority: crate::store::tables::authority_code(Authority::Address),
            }),
            places: locations.iter().take(PLACES_MAX).map(PlaceRow::of).collect(),
            whole: true,
            started_at: self.clock.now().ms(),
            checked_sha1: false,
            repairs: Some(*blake3.as_bytes()),
            taken_from: None,
        };
        self.enrol(id, file, row, name, promise, None)
    }

    /// A draft whose file could not be made leaves nothing: no row speaks of it, so that nothing else would find it before
    /// the next start, and the disk may just be full.
    fn not_begun(&self, path: &Path, error: &io::Error) -> Error {
        if let Err(error) = self.unlink(path) {
            tracing::warn!(%error, "what is left of a draft is swept at the next start");
        }
        Error::at(path, error)
    }

    /// The file's name is made durable, then the row; from then on checkpoints count.
    fn enrol(
        self: &Arc<Self>,
        id: u64,
        file: DraftFile,
        row: DraftRow,
        name: Name,
        promise: Promise,
        owner: Option<Subnet>,
    ) -> Result<Draft, Error> {
        let vouched = reach(&name, row.expected.as_ref().map(ClaimRow::claim).as_ref()) == Reach::All;
        let path = file.path().to_owned();
        let enrolled = self.sync_dir(&self.layout.drafts()).and_then(|()| {
            let row = row.clone();
            self.writer.write(Room::Adds, move |tx| {
                tx.open_table(DRAFTS)?.insert(id, encode(&row)?.as_slice())?;
                Ok(())
            })
        });
        if let Err(error) = enrolled {
            drop(self.unlink(&path));
            return Err(error);
        }
        let now = self.clock.now();
        let allocated = file.allocated().unwrap_or(0);
        // What a repair took over from the payload is there already.
        let missing = row.size.saturating_sub(file.covered().total());
        promise.keep(missing);
        let state = self.state_of(id, file, row, name.clone(), promise);
        self.sums.change(|sums| shift(&mut sums.drafts, allocated, 0));
        let line = Line { name, demand_at: now, allocated, covered: 0, vouched, owner, open: Arc::downgrade(&state) };
        self.book.insert(id, line);
        state.hash_later();
        Ok(Draft { state })
    }

    /// A draft that is asked for now.
    fn state_of(
        self: &Arc<Self>,
        id: u64,
        file: DraftFile,
        row: DraftRow,
        name: Name,
        promise: Promise,
    ) -> Arc<DraftState> {
        Arc::new(DraftState {
            core: Arc::clone(self),
            id,
            file: Arc::new(file),
            row: Arc::new(Mutex::new(row)),
            name,
            phase: RwLock::new(Phase::Filling),
            demand_at: AtomicU64::new(self.clock.now().ms()),
            saving: Mutex::default(),
            hashing: Arc::default(),
            again: AtomicU64::new(0),
            promise,
        })
    }

    /// The draft under `name`, opened.
    fn draft(self: &Arc<Self>, name: &Name) -> Result<Option<Draft>, Error> {
        let one = self.book.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((id, open)) = self.book.find(name) else { return Ok(None) };
        if let Some(state) = open {
            // It may be being published, for as long as an fsync takes: no other draft waits for that.
            drop(one);
            state.ask();
            return Ok((!matches!(*state.phase(), Phase::Gone)).then(|| Draft { state: Arc::clone(&state) }));
        }
        let Some((row, pieces)) = self.draft_rows(id)? else { return Ok(None) };
        let path = self.layout.draft(id);
        let file = DraftFile::reopen(&self.disk, &path, row.size, pieces.spans(), row.checked_sha1)
            .map_err(|error| Error::at(&path, &error))?
            .ends_on(&self.io);
        let now = self.clock.now();
        let state = self.state_of(id, file, row, name.clone(), Promise::none(self));
        self.book.demand(id, now);
        self.book.set_open(id, &state);
        state.hash_later();
        Ok(Some(Draft { state }))
    }

    pub(super) fn draft_rows(&self, id: u64) -> Result<Option<(DraftRow, PiecesRow)>, Error> {
        self.index.read(|tx| {
            let Some(row) = tx.open_table(DRAFTS)?.get(id)?.map(|row| decode("drafts.1", row.value())) else {
                return Ok(None);
            };
            let pieces = tx.open_table(PIECES)?.get(id)?.map(|row| decode("pieces.1", row.value())).transpose()?;
            Ok(Some((row?, pieces.unwrap_or_default())))
        })
    }

    /// Specs of all drafts and how many bytes are in.
    pub(crate) fn drafts(&self) -> Result<Vec<(DraftSpec, u64)>, Error> {
        let mut specs = Vec::new();
        for (id, covered, open) in self.book.all() {
            if let Some(open) = open {
                specs.push((open.spec(), open.file.covered().total()));
            } else if let Some((row, _)) = self.draft_rows(id)? {
                specs.push((spec_of(name_of(&row.name)?, &row), covered));
            }
        }
        Ok(specs)
    }

    /// Throws away a draft that nobody has open (or whose handle is already marked as gone).
    pub(crate) fn drop_draft(&self, id: u64) -> Result<(), Error> {
        self.writer.write(Room::Frees, move |tx| drop_draft_rows(tx, id))?;
        self.forget_draft(id);
        self.unlink(&self.layout.draft(id))
    }

    /// The same for one that was idle a moment ago; whoever opened it meanwhile keeps it. Returns the bytes freed.
    fn drop_idle_draft(&self, id: u64, bytes: u64) -> Result<u64, Error> {
        let _one = self.book.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if self.book.is_open(id) {
            return Ok(0);
        }
        self.drop_draft(id)?;
        Ok(bytes)
    }

    /// The draft is no draft any more.
    pub(crate) fn forget_draft(&self, id: u64) {
        if let Some(bytes) = self.book.take(id) {
            self.sums.change(|sums| shift(&mut sums.drafts, 0, bytes));
        }
    }

    /// Room for one more draft: by count, of all and of those of one network, and idle ones within their share. For one
    /// that nobody vouches for none goes that somebody does.
    fn admit_draft(&self, vouched: bool, owner: Option<Subnet>) -> Result<(), Error> {
        if let Some(owner) = owner.filter(|_| !vouched) {
            let mut own = self.book.spare(false, Some(owner)).into_iter();
            while self.book.count_of(owner) >= SUBNET_DRAFTS_MAX {
                let Some((id, bytes)) = own.next() else {
                    let what = format!("{SUBNET_DRAFTS_MAX} drafts are being filled for one network");
                    return Err(Error::Full { what });
                };
                self.drop_idle_draft(id, bytes)?;
            }
        }
        let mut spare = self.book.spare(vouched, None).into_iter();
        while self.book.count() >= DRAFTS_MAX {
            let Some((id, bytes)) = spare.next() else {
                return Err(Error::Full { what: format!("{DRAFTS_MAX} drafts are being filled, or wait to be") });
            };
            self.drop_idle_draft(id, bytes)?;
        }
        let begun = Instant::now();
        let mut bytes: u64 = self.book.idle().iter().map(|(_, _, bytes)| bytes).sum();
        for (id, allocated) in spare {
            // Whoever begins waits no longer than a step; the next one goes on.
            if bytes <= self.config.max_size / IDLE_SHARE || begun.elapsed() >= STEP {
                break;
            }
            bytes = bytes.saturating_sub(self.drop_idle_draft(id, allocated)?);
        }
        Ok(())
    }

    /// Gives up drafts past their lifetime, in what is left of the step. Returns the bytes freed.
    pub(crate) fn sweep_drafts(&self, begun: Instant) -> Result<u64, Error> {
        let now = self.clock.now();
        let mut freed: u64 = 0;
        for (id, demand_at, bytes) in self.book.idle() {
            let is_long = freed > 0 && begun.elapsed() >= STEP;
            if is_long || now.since(demand_at) < LIFETIME {
                break;
            }
            // An empty one counts too: whoever asks again until nothing goes must not stop before the next.
            freed = freed.saturating_add(self.drop_idle_draft(id, bytes.max(1))?);
        }
        Ok(freed)
    }

    /// Gives up idle drafts whose last demand is before `before_ms`, the oldest first, until `wanted` bytes are free.
    pub(crate) fn evict_drafts(&self, wanted: u64, before_ms: u64, begun: Instant) -> Result<u64, Error> {
        let mut freed: u64 = 0;
        for (id, demand_at, bytes) in self.book.idle() {
            let is_long = freed > 0 && begun.elapsed() >= STEP;
            if freed >= wanted || is_long || demand_at.ms() >= before_ms {
                break;
            }
            // An empty draft frees its place in the directory at least; it must count, or room would be said to be out.
            freed = freed.saturating_add(self.drop_idle_draft(id, bytes.max(1))?);
        }
        Ok(freed)
    }
}

/// A line for a draft that was found on open.
pub(crate) fn line_of(name: Name, row: &DraftRow, pieces: &PiecesRow) -> Line {
    Line {
        vouched: reach(&name, row.expected.as_ref().map(ClaimRow::claim).as_ref()) == Reach::All,
        owner: None,
        name,
        demand_at: Timestamp::from_ms(pieces.demand_at),
        allocated: pieces.allocated,
        covered: pieces.spans().total(),
        open: Weak::new(),
    }
}
