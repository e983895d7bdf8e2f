//! Bytes on their way through the digests: read once, written where they are wanted, hashed by as many threads as that takes.
//!
//! 1. The caller's thread reads a piece, hands it to those that hash and to the one that writes, and takes its leaves.
//! 2. Digests that are chains follow on threads of their own, over the same buffers, in the order of the bytes. A buffer is
//!    used again when the last of them has let go of it; who is ahead waits, so that memory is bounded.
//! 3. So does the writing, which waits for the disk and takes no processor. What is written goes past the page cache. There it would cost another copy and fresh memory for all of it, and push out
//!    what clients ask for. Where the file system cannot do that, a thread syncs while the rest comes. Either way the sync
//!    before a publish finds little to do.
//!
//! What is hashed is what is written, one piece after the other; nothing is read back. Little is done on one thread alone and
//! through the page cache: it takes less than starting others.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, Scope};

use memmap2::MmapMut;

use crate::base::disk::{DiskFile, SECTOR};
use crate::base::limits::GROUP;
use crate::store::error::Error;
use crate::store::hash::{self, Hashed, Lane, Leaf, Running};

/// Bytes of a piece: whole groups, few enough that a piece lies in the cache of the cores until all are done with it, and
/// enough that waking a thread for each costs nothing beside hashing it.
const PIECE: usize = 1 << 20;

/// Pieces that wait for a thread that hashes or writes, besides the one at work. What is read comes in bursts, and so does the disk.
const AHEAD: usize = 4;

/// What was written through the page cache since the last sync before the next one begins: some 20 ms of a fast disk.
const SYNC_STEP: u64 = 32 << 20;

/// A piece for those that follow, and how many bytes of it there are. The memory begins with a page, as writes past the page
/// cache want.
type Handed = (Arc<MmapMut>, usize);

/// Where bytes come from: fills the buffer from an offset on.
pub(crate) type Source<'a> = &'a mut dyn FnMut(&mut [u8], u64) -> io::Result<()>;

/// Where they go.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    /// They lie there already.
    Nowhere,
    /// Into a file, from its beginning.
    File(&'a dyn DiskFile),
}

/// Whose fault it is.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The source did not give its bytes.
    Read(io::Error),
    /// The target did not take them, or not for good.
    Write(io::Error),
    /// Nobody wants them any more.
    Unwanted,
    /// The system had no thread or no memory for it, or a thread panicked.
    System(io::Error),
}

impl Failed {
    /// As an error of the store, where bytes go from the file at `from` to the one at `to`.
    pub(crate) fn between(self, from: &Path, to: &Path) -> Error {
        match self {
            Self::Read(error) => Error::at(from, &error),
            Self::Write(error) => Error::at(to, &error),
            Self::Unwanted => io::Error::new(io::ErrorKind::Interrupted, "the import was broken off").into(),
            Self::System(error) => error.into(),
        }
    }
}

/// Takes `size` bytes from `source` to `target`, as long as they are `wanted`, and hashes them. `checked_sha1` where a SHA-1
/// is all that is published for them. What is in the target is not yet durable when this returns well; where it returns an
/// error, the target is worth nothing.
pub(crate) fn pour(
    size: u64,
    checked_sha1: bool,
    source: Source<'_>,
    target: Target<'_>,
    wanted: &dyn Fn() -> bool,
) -> Result<Hashed, Failed> {
    let mut running = Running::new(checked_sha1);
    let lanes = running.lanes(size);
    let leaves = if size <= PIECE as u64 {
        at_once(size, lanes, source, target, wanted)?
    } else {
        thread::scope(|scope| {
            let mut stream = Stream::start(scope, lanes, target)?;
            let leaves = stream.run(size, source, wanted)?;
            stream.end()?;
            Ok(leaves)
        })?
    };
    Ok(running.finish(leaves))
}

/// All of it in one piece, on this thread.
fn at_once(
    size: u64,
    lanes: Vec<Lane<'_>>,
    source: Source<'_>,
    target: Target<'_>,
    wanted: &dyn Fn() -> bool,
) -> Result<Vec<Leaf>, Failed> {
    if !wanted() {
        return Err(Failed::Unwanted);
    }
    // At most a piece.
    let mut bytes = vec![0; size as usize];
    source(&mut bytes, 0).map_err(Failed::Read)?;
    for mut lane in lanes {
        lane(&bytes);
    }
    let mut leaves = Vec::new();
    add_leaves(&mut leaves, size, 0, &bytes);
    if let Target::File(file) = target {
        file.write_at(&bytes, 0).map_err(Failed::Write)?;
    }
    Ok(leaves)
}

/// The leaves of `bytes`, which begin with a group at `at`.
fn add_leaves(leaves: &mut Vec<Leaf>, size: u64, at: u64, bytes: &[u8]) {
    if size == 0 {
        leaves.push(hash::leaf(0, 0, &[]));
    }
    let first = at / GROUP;
    leaves.extend((first..).zip(bytes.chunks(GROUP as usize)).map(|(index, group)| hash::leaf(index, size, group)));
}

/// Where the pieces of a stream go.
struct Sink<'a> {
    target: Target<'a>,
    past_cache: bool,
}

impl<'a> Sink<'a> {
    fn new(target: Target<'a>) -> Self {
        let past_cache = matches!(target, Target::File(file) if file.past_cache(true));
        Self { target, past_cache }
    }

    fn put(&mut self, bytes: &[u8], at: u64) -> Result<(), Failed> {
        match self.target {
            Target::Nowhere => Ok(()),
            Target::File(file) => self.write(file, bytes, at).map_err(Failed::Write),
        }
    }

    fn write(&mut self, file: &dyn DiskFile, bytes: &[u8], at: u64) -> io::Result<()> {
        let whole = bytes.len() / SECTOR * SECTOR;
        if self.past_cache {
            match file.write_at(&bytes[..whole], at) {
                Ok(()) if whole == bytes.len() => return Ok(()),
                // The last bytes of all are no whole sector.
                Ok(()) => {
                    self.through_cache(file)?;
                    return file.write_at(&bytes[whole..], at + whole as u64);
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
                    tracing::debug!(%error, "the file system writes through its cache only");
                    self.through_cache(file)?;
                }
                Err(error) => return Err(error),
            }
        }
        file.write_at(bytes, at)
    }

    fn through_cache(&mut self, file: &dyn DiskFile) -> io::Result<()> {
        self.past_cache = false;
        if file.past_cache(false) { Ok(()) } else { Err(io::Error::other("a file cannot be written in any way")) }
    }
}

/// The threads at work.
struct Stream<'scope> {
    lanes: Vec<SyncSender<Handed>>,
    writer: Option<Writing<'scope>>,
}

impl<'scope> Stream<'scope> {
    /// A thread for each of the `lanes`, one that writes, and one that syncs where that is of use.
    fn start<'env: 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        lanes: Vec<Lane<'scope>>,
        target: Target<'env>,
    ) -> Result<Self, Failed> {
        let mut stream = Self { lanes: Vec::with_capacity(lanes.len()), writer: None };
        for lane in lanes {
            let (give, take) = sync_channel(AHEAD);
            let named = thread::Builder::new().name("store-hash".to_owned());
            named.spawn_scoped(scope, move || follow(lane, &take)).map_err(Failed::System)?;
            stream.lanes.push(give);
        }
        if let Target::File(file) = target {
            let sink = Sink::new(target);
            let mut syncs = None;
            if !sink.past_cache {
                let (give, take) = sync_channel(1);
                let named = thread::Builder::new().name("store-sync".to_owned());
                let thread = named.spawn_scoped(scope, move || sync_each(file, &take)).map_err(Failed::System)?;
                syncs = Some((give, thread));
            }
            let (give, take) = sync_channel(AHEAD);
            let named = thread::Builder::new().name("store-write".to_owned());
            let thread = named.spawn_scoped(scope, move || write_each(sink, syncs, &take)).map_err(Failed::System)?;
            stream.writer = Some((give, thread));
        }
        Ok(stream)
    }

    fn run(&mut self, size: u64, source: Source<'_>, wanted: &dyn Fn() -> bool) -> Result<Vec<Leaf>, Failed> {
        let mut buffers = VecDeque::new();
        let mut leaves = Vec::with_capacity(usize::try_from(hash::groups(size)).unwrap_or_default());
        let mut at = 0;
        while at < size {
            if !wanted() {
                return Err(Failed::Unwanted);
            }
            let len = (size - at).min(PIECE as u64) as usize;
            let mut buffer = next_buffer(&mut buffers).map_err(Failed::System)?;
            source(&mut buffer[..len], at).map_err(Failed::Read)?;
            let buffer = Arc::new(buffer);
            for lane in &self.lanes {
                // Ended by a panic alone, which is told when the scope ends.
                let gone = |_| Failed::System(io::Error::other("a thread that hashes has ended"));
                lane.send((Arc::clone(&buffer), len)).map_err(gone)?;
            }
            if let Some((writer, _)) = &self.writer
                && writer.send((Arc::clone(&buffer), len)).is_err()
            {
                // It failed, and says why at the end.
                break;
            }
            add_leaves(&mut leaves, size, at, &buffer[..len]);
            buffers.push_back(buffer);
            at += len as u64;
        }
        Ok(leaves)
    }

    /// Lets the threads end. The digests are there when the scope has ended.
    fn end(self) -> Result<(), Failed> {
        drop(self.lanes);
        let Some((writer, thread)) = self.writer else { return Ok(()) };
        drop(writer);
        thread.join().unwrap_or_else(|_| Err(Failed::System(io::Error::other("the thread that writes panicked"))))
    }
}

/// The thread that writes, and the way to hand it a piece.
type Writing<'scope> = (SyncSender<Handed>, thread::ScopedJoinHandle<'scope, Result<(), Failed>>);

/// The thread that syncs, and the way to ask it.
type Syncs<'scope> = (SyncSender<()>, thread::ScopedJoinHandle<'scope, io::Result<()>>);

/// What the thread that writes does until nothing more comes: the pieces, one behind the other.
fn write_each(mut sink: Sink<'_>, mut syncs: Option<Syncs<'_>>, handed: &Receiver<Handed>) -> Result<(), Failed> {
    let (mut at, mut synced) = (0, 0);
    while let Ok((bytes, len)) = handed.recv() {
        sink.put(&bytes[..len], at)?;
        at += len as u64;
        if at - synced >= SYNC_STEP
            && let Some((ask, _)) = &syncs
        {
            match ask.try_send(()) {
                Ok(()) => synced = at,
                // It is at it.
                Err(TrySendError::Full(())) => {}
                // It failed, and says why.
                Err(TrySendError::Disconnected(())) => break,
            }
        }
    }
    let Some((ask, thread)) = syncs.take() else { return Ok(()) };
    drop(ask);
    match thread.join() {
        Ok(outcome) => outcome.map_err(Failed::Write),
        Err(_) => Err(Failed::System(io::Error::other("the thread that syncs panicked"))),
    }
}

/// A buffer that is free. There is one at each thread that follows, as many as may wait for it, and one that is being filled:
/// who comes back to a buffer has handed over so many others since that everybody has let go of it.
fn next_buffer(used: &mut VecDeque<Arc<MmapMut>>) -> io::Result<MmapMut> {
    let first = if used.len() < AHEAD + 2 { None } else { used.pop_front() };
    first.and_then(Arc::into_inner).map_or_else(|| MmapMut::map_anon(PIECE), Ok)
}

/// What a thread that hashes does until nothing more comes.
fn follow(mut lane: Lane<'_>, handed: &Receiver<Handed>) {
    while let Ok((bytes, len)) = handed.recv() {
        lane(&bytes[..len]);
    }
}

/// What the thread that syncs does. After a sync that failed no later one can be believed: it is the last.
fn sync_each(file: &dyn DiskFile, asked: &Receiver<()>) -> io::Result<()> {
    while asked.recv().is_ok() {
        file.sync()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Condvar, Mutex};

    use super::*;
    use crate::base::disk::Disk;
    use crate::store::hooked::{Op, bad_sector, content, hooked, real};

    fn from(content: &[u8]) -> impl FnMut(&mut [u8], u64) -> io::Result<()> + '_ {
        |into, at| {
            let from = content.get(at as usize..at as usize + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            into.copy_from_slice(from);
            Ok(())
        }
    }

    fn file(disk: &Arc<dyn Disk>) -> (tempfile::TempDir, Arc<dyn DiskFile>) {
        let dir = tempfile::tempdir().unwrap();
        let file = disk.create(&dir.path().join("file")).unwrap();
        (dir, file)
    }

    #[test]
    fn every_size_gives_the_bytes_and_their_digests() {
        let piece = PIECE as u64;
        let many = (AHEAD as u64 + 3) * piece;
        for size in [0, 1, GROUP, GROUP + 1, piece - 1, piece, piece + 1, 3 * piece + 777, many, many + 1] {
            let content = content(size);
            for checked in [false, true] {
                let (dir, file) = file(&real());
                let poured = pour(size, checked, &mut from(&content), Target::File(&*file), &|| true).unwrap();
                assert_eq!(poured, hash::whole(&content, checked), "{size}");
                assert!(std::fs::read(dir.path().join("file")).unwrap() == content, "{size}");
                let poured = pour(size, checked, &mut from(&content), Target::Nowhere, &|| true).unwrap();
                assert_eq!(poured, hash::whole(&content, checked), "{size}, written nowhere");
            }
        }
    }

    #[test]
    fn a_disk_that_takes_nothing_past_its_cache_gets_it_through_it() {
        #[derive(Debug)]
        struct Picky(Arc<dyn DiskFile>, Mutex<Vec<bool>>);
        impl DiskFile for Picky {
            fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
                self.0.read_at(buf, offset)
            }
            fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
                // It says that it can, and then will not.
                let past = self.1.lock().unwrap().last() == Some(&true);
                if past { Err(io::ErrorKind::InvalidInput.into()) } else { self.0.write_at(bytes, offset) }
            }
            fn past_cache(&self, past: bool) -> bool {
                self.1.lock().unwrap().push(past);
                true
            }
            fn set_len(&self, len: u64) -> io::Result<()> {
                self.0.set_len(len)
            }
            fn sync(&self) -> io::Result<()> {
                self.0.sync()
            }
            fn facts(&self) -> io::Result<crate::base::disk::Facts> {
                self.0.facts()
            }
            fn as_file(&self) -> &std::fs::File {
                self.0.as_file()
            }
        }
        let size = 2 * PIECE as u64 + 5;
        let content = content(size);
        let (dir, file) = file(&real());
        let picky = Picky(file, Mutex::default());
        let poured = pour(size, false, &mut from(&content), Target::File(&picky), &|| true).unwrap();
        assert_eq!(poured, hash::whole(&content, false));
        assert!(std::fs::read(dir.path().join("file")).unwrap() == content);
        assert_eq!(*picky.1.lock().unwrap(), [true, false], "asked once");
    }

    #[test]
    fn what_fails_ends_it_and_says_whose_fault_it_was() {
        let size = 3 * PIECE as u64;
        let content = content(size);
        let (_dir, file) = file(&real());
        let short = pour(size + 1, false, &mut from(&content), Target::File(&*file), &|| true);
        assert!(matches!(short, Err(Failed::Read(_))), "{short:?}");
        let left = AtomicU64::new(2);
        let wanted = || left.fetch_sub(1, Ordering::Relaxed) > 0;
        let unwanted = pour(size, false, &mut from(&content), Target::File(&*file), &wanted);
        assert!(matches!(unwanted, Err(Failed::Unwanted)), "{unwanted:?}");
        for (at_once, size) in [(true, GROUP), (false, size)] {
            let disk = hooked(|op| if matches!(op, Op::Write(_)) { Err(bad_sector()) } else { Ok(()) });
            let (_dir, file) = self::file(&disk);
            let refused = pour(size, false, &mut from(&content), Target::File(&*file), &|| true);
            assert!(matches!(refused, Err(Failed::Write(_))), "{at_once}: {refused:?}");
        }
    }

    #[test]
    fn it_is_synced_while_it_comes_and_a_sync_that_fails_spoils_all() {
        let size = SYNC_STEP + 3 * PIECE as u64;
        for fails in [false, true] {
            // The last pieces do not come before the first sync was asked for.
            let begun = Arc::new((Mutex::new(false), Condvar::new()));
            let theirs = Arc::clone(&begun);
            let disk = hooked(move |op| {
                if op == Op::Sync {
                    *theirs.0.lock().unwrap() = true;
                    theirs.1.notify_all();
                    if fails {
                        return Err(bad_sector());
                    }
                }
                Ok(())
            });
            let (_dir, file) = file(&disk);
            let mut source = |into: &mut [u8], at: u64| {
                if at > SYNC_STEP {
                    drop(begun.1.wait_while(begun.0.lock().unwrap(), |begun| !*begun).unwrap());
                }
                into.fill((at >> 20) as u8);
                Ok(())
            };
            let poured = pour(size, false, &mut source, Target::File(&*file), &|| true);
            assert_eq!(matches!(poured, Err(Failed::Write(_))), fails, "{poured:?}");
        }
    }
}
