//! Taking a file of the administrator's into the store.
//!
//! 1. A row says that the file is on its way (and where it came from, where it is moved).
//! 2. The file becomes a draft: moved, where that is asked for, it is ours, and it lies on the same file system; else a
//!    reflink or a copy.
//! 3. It is hashed, judged, and published like every draft.
//! 4. Where it is not what was expected a moved file goes back, a copy is thrown away.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::digest::Digest;
use crate::base::limits::OBJECT_BYTES_MAX;
use crate::base::span::Span;
use crate::model::name::Name;
use crate::model::payload::{Alias, Authority, Published, Validators};
use crate::store::cache::Found;
use crate::store::core::{Core, unseal};
use crate::store::draft::DraftFile;
use crate::store::drafts::HASH_STEP;
use crate::store::error::Error;
use crate::store::filling::drop_draft_rows;
use crate::store::hash::Hashed;
use crate::store::judge::{Verdict, judge, rests_on_sha1, vouches_sha1};
use crate::store::promise::Promise;
use crate::store::proving::sha1_state;
use crate::store::publish::Finished;
use crate::store::space::{Reach, shift};
use crate::store::tables::{AliasRow, ClaimRow, DRAFTS, DraftRow, encode, name_key};
use crate::store::writer::Room;

/// One file to be taken in, and whether anybody still waits for that.
struct Taken<'a> {
    path: &'a Path,
    take: bool,
    wanted: &'a dyn Fn() -> bool,
}

/// The digests of a complete draft, as long as they are wanted.
fn hash_while(file: &DraftFile, wanted: &dyn Fn() -> bool) -> io::Result<Hashed> {
    while file.hash_some(HASH_STEP)? {
        if !wanted() {
            return Err(broken_off());
        }
    }
    file.finish()
}

fn broken_off() -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "the import was broken off")
}

impl Core {
    /// Whether `path`, wherever links lead from it, lies in the data directory. Blocks.
    pub(crate) fn is_own(&self, path: &Path) -> bool {
        match (path.canonicalize(), self.layout.root().canonicalize()) {
            (Ok(path), Ok(root)) => path.starts_with(root),
            // What cannot be followed cannot be read either; whoever tries is told why.
            _ => false,
        }
    }

    /// Takes the file at `path` in, once there is room for it; see the head of this file. Dropped, it ends soon, and leaves
    /// nothing.
    pub(crate) async fn begin_import(
        self: &Arc<Self>,
        path: PathBuf,
        take: bool,
        expected: Option<Published>,
        names: Vec<(Name, Alias)>,
    ) -> Result<Found, Error> {
        self.writable()?;
        let (core, theirs) = (Arc::clone(self), path.clone());
        let size = self.reads.run(move || core.importable(&theirs)).await??;
        let reach = if expected.is_some() { Reach::All } else { Reach::Unproven };
        let promise = self.ask_promise(size, reach, None).await?;
        let core = Arc::clone(self);
        let job = move |wanted: &dyn Fn() -> bool| {
            let promise = promise;
            let allocated = AtomicU64::new(0);
            let outcome = core.import(&Taken { path: &path, take, wanted }, &promise, &allocated, expected, names);
            // It is a payload now, or gone.
            core.sums.change(|sums| shift(&mut sums.drafts, 0, allocated.into_inner()));
            core.freed.notify_waiters();
            outcome
        };
        self.bulk.run_watched(job).await?
    }

    /// The size of a file that can be taken in.
    fn importable(&self, path: &Path) -> Result<u64, Error> {
        let facts = std::fs::metadata(path).map_err(|error| Error::at(path, &error))?;
        if self.is_own(path) {
            // Moved, the index or a proof would be gone; copied, a draft would be taken for a payload.
            let (path, root) = (path.display(), self.layout.root().display());
            let what = format!("{path} lies in the node's own data directory {root}: import it from somewhere else");
            return Err(Error::Invalid { what });
        }
        if !facts.is_file() {
            return Err(Error::Invalid { what: format!("{} is no file", path.display()) });
        }
        let most = OBJECT_BYTES_MAX.min(self.config.max_size);
        let size = facts.len();
        if size > most {
            return Err(Error::Full { what: format!("{} has {size} bytes, at most {most} are kept", path.display()) });
        }
        Ok(size)
    }

    fn import(
        &self,
        what: &Taken<'_>,
        promise: &Promise,
        allocated: &AtomicU64,
        expected: Option<Published>,
        names: Vec<(Name, Alias)>,
    ) -> Result<Found, Error> {
        let Taken { path, take, .. } = *what;
        let facts = std::fs::metadata(path).map_err(|error| Error::at(path, &error))?;
        let size = facts.len();
        // A file of another owner could be written by that owner while it is served: it is copied.
        let is_ours = facts.uid() == rustix::process::geteuid().as_raw() && facts.nlink() == 1;
        let id = self.next_id();
        let home = path.canonicalize().map_err(|error| Error::at(path, &error))?;
        let moves = take && is_ours;
        self.note_import(id, size, expected.as_ref(), moves.then_some(home.as_path()))?;
        let moved = match self.bring(id, &home, moves, what.wanted) {
            Ok(moved) => moved,
            Err(error) => {
                self.writer.write(Room::Frees, move |tx| drop_draft_rows(tx, id))?;
                self.unlink(&self.layout.draft(id))?;
                return Err(error);
            }
        };
        // It lies there now: it counts as the draft that it is, and is promised nothing more.
        let lies = self.facts(&self.layout.draft(id)).ok().flatten().map_or(0, |facts| facts.allocated);
        self.sums.change(|sums| shift(&mut sums.drafts, lies, 0));
        allocated.store(lies, Ordering::Release);
        promise.end();
        // The rename is done: from here on a file that was moved goes back where anything fails.
        let settled = if moved { self.sync_dir(&self.layout.drafts()) } else { Ok(()) };
        let settled = settled.and_then(|()| if (what.wanted)() { Ok(()) } else { Err(broken_off().into()) });
        let published = settled.and_then(|()| self.publish_import((id, size, allocated), expected, names, what.wanted));
        match published {
            Ok(found) => {
                if take
                    && !moved
                    && let Err(error) = self.disk.unlink(&home)
                {
                    // It is held, which is what counts; the caller sees that the file is still there.
                    tracing::warn!(path = %home.display(), %error, "a file that was taken in cannot be deleted");
                }
                Ok(found)
            }
            Err(error) => {
                if self.facts(&self.layout.draft(id))?.is_none() {
                    self.writer.write(Room::Frees, move |tx| drop_draft_rows(tx, id))?;
                } else if moved {
                    self.give_back(id, &home)?;
                } else {
                    self.writer.write(Room::Frees, move |tx| drop_draft_rows(tx, id))?;
                    self.unlink(&self.layout.draft(id))?;
                }
                Err(error)
            }
        }
    }

    /// Step 1. The row has no place in the book: nobody can ask for this draft.
    fn note_import(&self, id: u64, size: u64, expected: Option<&Published>, home: Option<&Path>) -> Result<(), Error> {
        // Its name is known when it is hashed; until then an impossible digest stands for it.
        let name = Name::Digest(Digest::Blake3(crate::base::digest::Blake3::new([0; 32])));
        let alias =
            Alias { tag: String::new(), last_modified: None, validators: Validators::default(), freshness: None };
        let row = DraftRow {
            name: name_key(&name),
            size,
            alias: AliasRow::of(&[0; 32], &alias),
            expected: expected.map(ClaimRow::of),
            places: Vec::new(),
            whole: true,
            started_at: self.clock.now().ms(),
            checked_sha1: true,
            repairs: None,
            taken_from: Some(home.map(|home| home.as_os_str().as_bytes().to_vec()).unwrap_or_default()),
        };
        self.writer.write(Room::Adds, move |tx| {
            tx.open_table(DRAFTS)?.insert(id, encode(&row)?.as_slice())?;
            Ok(())
        })
    }

    /// Step 2. Says whether the file itself was moved; on an error it was not, and what lies among the drafts is a copy.
    fn bring(&self, id: u64, home: &Path, moves: bool, wanted: &dyn Fn() -> bool) -> Result<bool, Error> {
        let here = self.layout.draft(id);
        if moves {
            match self.disk.rename(home, &here) {
                Ok(()) => {
                    unseal(&here);
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
                Err(error) => return Err(Error::at(home, &error)),
            }
        }
        self.disk.copy_while(home, &here, wanted).map_err(|error| Error::at(home, &error))?;
        Ok(false)
    }

    /// Step 3.
    fn publish_import(
        &self,
        (id, size, allocated): (u64, u64, &AtomicU64),
        expected: Option<Published>,
        names: Vec<(Name, Alias)>,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Found, Error> {
        let here = self.layout.draft(id);
        let at = |error: io::Error| Error::at(&here, &error);
        let checked = expected.is_none_or(|claim| claim.only_sha1() || claim.authority == Authority::Unauthenticated);
        let pieces = std::iter::once(Span::new(0, size)).collect();
        let file = DraftFile::reopen(&self.disk, &here, size, pieces, checked).map_err(at)?;
        let mut hashed = hash_while(&file, wanted).map_err(at)?;
        let digests = hashed.digests;
        if let Some(published) = expected.and_then(|expected| expected.contradiction(&digests)) {
            return Err(Error::Mismatch { published, computed: digests });
        }
        let name = Name::Digest(Digest::Blake3(digests.blake3));
        let mut claims = Vec::from_iter(expected);
        for (name, _) in &names {
            claims.extend(self.claims(name, &digests, None)?);
        }
        claims.extend(self.claims(&name, &digests, None)?);
        let by_claims = !checked && rests_on_sha1(None, &claims);
        if by_claims {
            hashed = self.hash_checked(&here, &hashed)?;
        }
        let sha1 = sha1_state(checked || by_claims, &hashed);
        // Not by the name: that its own digest matches proves nothing.
        let verdict = judge(None, &claims, &digests, sha1);
        if let Verdict::Contradicted(published, _) = verdict {
            return Err(Error::Mismatch { published, computed: digests });
        }
        for (name, _) in &names {
            if let Name::Digest(digest) = name
                && !digests.has(digest)
            {
                return Err(Error::Mismatch { published: *digest, computed: digests });
            }
        }
        let judged: Vec<Name> = names.iter().map(|(name, _)| name).chain([&name]).cloned().collect();
        let sha1_vouched = vouches_sha1(&claims, &digests);
        let finished = Finished {
            draft: id,
            file: &file,
            hashed: &hashed,
            sha1,
            sha1_vouched,
            verdict,
            names,
            repairs: None,
            imported: Some(allocated),
        };
        self.publish(&finished)?;
        self.judge_published(&judged, &digests)?;
        self.find(&name)?.ok_or(Error::Gone)
    }
}
