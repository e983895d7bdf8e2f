//! Taking a file of the administrator's into the store.
//!
//! 1. A row says that the file is on its way; and where it is moved, the row and a file beside the draft where it came
//!    from.
//! 2. The file becomes a draft: moved, where that is asked for, it is ours, nobody has it open for writing, and it lies on
//!    the same file system; else a reflink or a copy, which is hashed as it is made (`pour`).
//! 3. It is hashed, where that was not done yet, judged, and published like every draft. One that was moved must have had no
//!    writer from before the move until then: what is published is mapped.
//! 4. Where it is not what was expected a moved file goes back, a copy is thrown away.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::digest::Digest;
use crate::base::limits::OBJECT_BYTES_MAX;
use crate::model::name::Name;
use crate::model::payload::{Alias, Published, Validators};
use crate::store::blob::Still;
use crate::store::cache::Found;
use crate::store::core::{Core, unseal};
use crate::store::draft::DraftFile;
use crate::store::error::Error;
use crate::store::filling::drop_draft_rows;
use crate::store::hash::Hashed;
use crate::store::judge::{Verdict, judge, rests_on_sha1, vouches_sha1};
use crate::store::pour::{Failed, Target, pour};
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

/// How a file has become a draft.
enum Brought {
    /// The file itself.
    Moved,
    /// A file of its own that shares its blocks.
    Shared,
    /// Byte by byte, hashed on the way.
    Copied(Hashed),
}

/// A draft made of a file, hashed.
struct Imported<'a> {
    id: u64,
    /// The bytes that it is counted with.
    allocated: &'a AtomicU64,
    file: &'a DraftFile,
    hashed: Hashed,
    /// Whether its SHA-1 was computed with collision detection.
    checked: bool,
}

fn disturbed(home: &Path) -> Error {
    let home = home.display();
    let what =
        format!("{home} was opened for writing, or got another name, while it was taken in: import it again later");
    Error::Invalid { what }
}

/// That nobody can write to the file at `home` while it is taken over, where that is so; and whether somebody has it open
/// for writing. Where it cannot be told, as on some network file systems, it is neither.
fn unwritten(home: &Path) -> (Option<Still>, bool) {
    match Still::of(home) {
        Ok(still) => (Some(still), false),
        Err(error) => {
            tracing::info!(path = %home.display(), %error, "a file is copied and not moved: it may have a writer");
            (None, error.kind() == io::ErrorKind::WouldBlock)
        }
    }
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
        let (still, has_writer) = if take && is_ours { unwritten(&home) } else { (None, false) };
        self.note_import(id, size, expected.as_ref(), still.as_ref().map(|_| home.as_path()))?;
        let noted = if still.is_some() { self.note_home(id, &home) } else { Ok(()) };
        // A SHA-1 that the administrator gives it as a name must be worth that.
        let is_named = names.iter().any(|(name, _)| matches!(name, Name::Digest(Digest::Sha1(_))));
        let checked = is_named || rests_on_sha1(None, expected.as_slice());
        let brought = noted.and_then(|()| self.bring((id, size, checked), &home, still.is_some(), what.wanted));
        let brought = match brought {
            Ok(brought) => brought,
            Err(error) => {
                self.writer.write(Room::Frees, move |tx| drop_draft_rows(tx, id))?;
                self.unlink(&self.layout.draft(id))?;
                self.unlink(&self.layout.draft_home(id))?;
                return Err(error);
            }
        };
        // It lies there now: it counts as the draft that it is, and is promised nothing more.
        let lies = self.facts(&self.layout.draft(id)).ok().flatten().map_or(0, |facts| facts.allocated);
        self.sums.change(|sums| shift(&mut sums.drafts, lies, 0));
        allocated.store(lies, Ordering::Release);
        promise.end();
        // The rename is done: from here on a file that was moved goes back where anything fails.
        let moved = matches!(brought, Brought::Moved);
        let still = still.filter(|_| moved);
        let settled = if moved { self.sync_dir(&self.layout.drafts()) } else { Ok(()) };
        let settled = settled.and_then(|()| self.is_the_one(id, &home, still.as_ref()));
        let settled =
            settled.and_then(|()| if (what.wanted)() { Ok(()) } else { Err(Failed::Unwanted.between(&home, &home)) });
        let unwritten = || still.as_ref().is_none_or(Still::holds);
        let published = settled.and_then(|()| self.hash_brought((id, size, checked), brought, what.wanted));
        let published = published.and_then(|(file, hashed)| {
            let draft = Imported { id, allocated, file: &file, hashed, checked };
            self.publish_import(draft, &home, expected, names, &unwritten)
        });
        if self.facts(&self.layout.draft(id))?.is_none() {
            // It is a payload now, or in quarantine. What is left here is swept on open.
            if let Err(error) = self.unlink(&self.layout.draft_home(id)) {
                tracing::debug!(%error, "what a file was called before it was taken in stays noted");
            }
        }
        match published {
            Ok(found) => {
                if has_writer {
                    tracing::warn!(path = %home.display(), "a file that somebody has open for writing was taken in as it was, and left where it is");
                } else if take
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

    /// The same for whoever has lost the rows: a file of the administrator's is never taken for a draft that nobody wants.
    /// Durable before the file is moved.
    fn note_home(&self, id: u64, home: &Path) -> Result<(), Error> {
        let path = self.layout.draft_home(id);
        let write = || {
            let file = self.disk.create(&path)?;
            file.write_at(home.as_os_str().as_bytes(), 0)?;
            file.sync()
        };
        write().map_err(|error| Error::at(&path, &error))?;
        self.sync_dir(&self.layout.drafts())
    }

    /// Step 2. On an error the file was not moved, and what lies among the drafts is a copy, or a part of one.
    fn bring(
        &self,
        (id, size, checked): (u64, u64, bool),
        home: &Path,
        moves: bool,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Brought, Error> {
        let here = self.layout.draft(id);
        if moves {
            match self.disk.rename(home, &here) {
                Ok(()) => {
                    unseal(&here);
                    return Ok(Brought::Moved);
                }
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
                Err(error) => return Err(Error::at(home, &error)),
            }
        }
        if self.disk.reflink(home, &here).map_err(|error| Error::at(home, &error))? {
            return Ok(Brought::Shared);
        }
        let source = File::open(home).map_err(|error| Error::at(home, &error))?;
        let target = self.disk.create(&here).map_err(|error| Error::at(&here, &error))?;
        let mut read = |into: &mut [u8], at| source.read_exact_at(into, at);
        let poured = pour(size, checked, &mut read, Target::File(&*target), wanted);
        let hashed = poured.map_err(|error| error.between(home, &here))?;
        let len = source.metadata().map_err(|error| Error::at(home, &error))?.len();
        if len == size { Ok(Brought::Copied(hashed)) } else { Err(disturbed(home)) }
    }

    /// Step 3: what lies among the drafts, and its digests.
    fn hash_brought(
        &self,
        (id, size, checked): (u64, u64, bool),
        brought: Brought,
        wanted: &dyn Fn() -> bool,
    ) -> Result<(Arc<DraftFile>, Hashed), Error> {
        let here = self.layout.draft(id);
        // For reading alone: one who opens it for writing is who must not be there.
        let file = DraftFile::whole(&self.disk, &here, size, checked).map_err(|error| Error::at(&here, &error))?;
        let file = Arc::new(file);
        if let Brought::Copied(hashed) = brought {
            return Ok((file, hashed));
        }
        let theirs = Arc::clone(&file);
        // What nobody has synced yet goes to the disk while it is hashed, where a thread is free for that. A sync that fails
        // is told by the one before the publish.
        self.bulk.post(move || drop(theirs.sync()));
        let mut read = |into: &mut [u8], at| file.read(at, into);
        let poured = pour(size, checked, &mut read, Target::Nowhere, wanted);
        let hashed = poured.map_err(|error| error.between(&here, &here))?;
        Ok((file, hashed))
    }

    /// Whether what was moved is the file that was looked at, and has no other name by which somebody could write to it.
    fn is_the_one(&self, id: u64, home: &Path, still: Option<&Still>) -> Result<(), Error> {
        let Some(still) = still else { return Ok(()) };
        let here = self.layout.draft(id);
        let at = |error: io::Error| Error::at(&here, &error);
        let (seen, lies) = (still.file().metadata().map_err(at)?, std::fs::symlink_metadata(&here).map_err(at)?);
        let is_same = (seen.dev(), seen.ino(), seen.nlink()) == (lies.dev(), lies.ino(), 1);
        if is_same { Ok(()) } else { Err(disturbed(home)) }
    }

    /// The rest of step 3. `unwritten` says whether nobody can have written to the file since it was looked at.
    fn publish_import(
        &self,
        draft: Imported<'_>,
        home: &Path,
        expected: Option<Published>,
        names: Vec<(Name, Alias)>,
        unwritten: &dyn Fn() -> bool,
    ) -> Result<Found, Error> {
        let Imported { id, allocated, file, mut hashed, mut checked } = draft;
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
        if !checked && rests_on_sha1(None, &claims) {
            // Only what it turned out to be says so. It is read once more; that is rare.
            hashed = self.hash_checked(file.path(), &hashed, &|_| ())?;
            checked = true;
        }
        let sha1 = sha1_state(checked, &hashed);
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
            file,
            hashed: &hashed,
            sha1,
            sha1_vouched,
            verdict,
            names,
            repairs: None,
            imported: Some(allocated),
        };
        if !unwritten() {
            return Err(disturbed(home));
        }
        self.publish(&finished)?;
        self.judge_published(&judged, &digests)?;
        self.find(&name, false)?.ok_or(Error::Gone)
    }
}
