//! A payload's file, mapped. The only file with `unsafe` code: the map itself, the question which of its pages are in
//! memory, and the one whether somebody can still write to a file that is to be published.
//!
//! What makes the map sound: only published files are mapped; they are immutable (mode 0444, owned by the node, never
//! truncated or rewritten, only replaced by rename or unlinked, and neither changes the inode that a map holds on to).
//! A file that the store did not make itself is published only while a [`Still`] says that nobody has it open for writing.
//! What makes it harmless to a reactor: nobody touches a window before [`Blob::resident`] said yes or [`Blob::populate`]
//! brought it in on a pool (mostly neither: what is not in memory is read into buffers, see `cold`); a bad disk is then an error of `populate`
//! and not a signal. A page may still be taken away between question and use, which are 80 ms apart at most (`seen`), and as long as
//! a slow reader takes for what its socket left of a frame, which is 128 KiB (`net::body`, which asks for a frame when it can go): that
//! costs one stalled read, and on a disk that fails in just that moment a failed write (over plain HTTP, where the kernel reads the page)
//! or a signal (over TLS), which is why frames are small and asked for late.
//!
//! Everything that only Linux can do stands in the module `os` at the foot, with its portable counterpart beside it:
//! elsewhere nothing is ever known to be resident, and `populate` is an ordinary read.
#![allow(unsafe_code, reason = "mmap, mincore and leases have no safe form; see above for why they are sound here")]

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::Mmap;

use crate::base::disk::{Disk, DiskFile};
use crate::base::span::Span;
use crate::store::pool::Pool;

pub(super) use os::major_faults;

/// An open payload. Its bytes stay readable while it lives, whatever becomes of the file's name.
pub(crate) struct Blob {
    /// `None` for an empty payload: there is nothing to map.
    open: Option<Open>,
    /// Where the map ends; else wherever the last window of it is dropped.
    pool: Option<Arc<Pool>>,
}

struct Open {
    map: Mmap,
    /// For the residency test that needs a file, and for reading where populating is not possible.
    file: Arc<dyn DiskFile>,
    probe: os::Probe,
}

/// That nobody has a file open for writing, not by a map either, from when this was made until it no longer
/// [`holds`](Still::holds).
#[derive(Debug)]
pub(crate) struct Still {
    file: File,
}

impl Still {
    /// `WouldBlock` where somebody has the file open for writing, another error where that cannot be told.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        os::lease(&file)?;
        Ok(Self { file })
    }

    /// Whether it is so still: nobody has tried to open it for writing or to change its length either.
    pub(crate) fn holds(&self) -> bool {
        os::is_leased(&self.file)
    }

    /// The file, open for reading.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

/// A part of a map that keeps the whole alive.
struct Window {
    blob: Arc<Blob>,
    start: usize,
    end: usize,
}

impl AsRef<[u8]> for Window {
    fn as_ref(&self) -> &[u8] {
        self.blob.open.as_ref().and_then(|open| open.map.get(self.start..self.end)).unwrap_or_default()
    }
}

impl Blob {
    /// Opens and maps the published payload at `path`, which must have exactly `size` bytes. Blocks.
    ///
    /// The map gets no advice for random or sequential access: `populate` asks for whole windows by itself, and under
    /// `MADV_RANDOM` the kernel would fetch such a window page by page.
    pub(crate) fn open(disk: &dyn Disk, path: &Path, size: u64) -> io::Result<Self> {
        let file = disk.open(path)?;
        // Asked once: the length, and whose it is.
        let facts = file.as_file().metadata()?;
        let len = facts.len();
        if len != size {
            let what = format!("{} has {len} bytes, its index entry says {size}", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        if len == 0 {
            return Ok(Self { open: None, pool: None });
        }
        // SAFETY: the file is a published payload: nothing truncates or rewrites it (see the head of this file), so
        // the mapped bytes exist and do not change while the map lives.
        let map = unsafe { Mmap::map(file.as_file())? };
        let probe = os::Probe::of(&facts, &map);
        Ok(Self { open: Some(Open { map, file, probe }), pool: None })
    }

    /// Lets it end on `pool`: to unmap gigabytes, and to close a file that has lost its name, takes long, and the last one
    /// to let go may be a reactor.
    pub(crate) fn ends_on(mut self, pool: &Arc<Pool>) -> Self {
        self.pool = Some(Arc::clone(pool));
        self
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.map.len() as u64)
    }

    /// The bytes of `span` without a copy; cut off at the end of the payload. Touching cold pages of the result blocks.
    pub(crate) fn bytes(self: &Arc<Self>, span: Span) -> Bytes {
        let (start, end) = self.range(span);
        if start == end {
            return Bytes::new();
        }
        Bytes::from_owner(Window { blob: Arc::clone(self), start, end })
    }

    /// Whether every page of `span` is in memory now. Does not block; where it cannot be told, the answer is no. Costs
    /// about a microsecond a MiB for a file of the process's own, some sixty for another's.
    pub(crate) fn resident(&self, span: Span) -> bool {
        let (start, end) = self.range(span);
        match &self.open {
            Some(open) if start < end => open.probe.resident(&open.map, open.file.as_file(), start, end),
            _ => true,
        }
    }

    /// Brings the pages of `span` into memory and waits for them; a disk that cannot give them is an error. Blocks.
    ///
    /// After it the window is used without asking `resident` again, which may never say yes here.
    pub(crate) fn populate(&self, span: Span) -> io::Result<()> {
        let (start, end) = self.range(span);
        match &self.open {
            Some(open) if start < end => os::populate(&open.map, open.file.as_file(), start, end),
            _ => Ok(()),
        }
    }

    /// Reads into `into` from `offset` on, through the page cache, until it is full or the payload at its end: how many bytes.
    /// Blocks.
    pub(crate) fn read(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some(open) = &self.open else { return Ok(0) };
        os::read_ahead(open.file.as_file(), offset, into.len());
        read_full(open.file.as_file(), into, offset)
    }

    /// The same past the page cache. Address, offset and length must be multiples of a sector; `InvalidInput` or `Unsupported`
    /// where the file system cannot.
    pub(crate) fn read_past_cache(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some(open) = &self.open else { return Ok(0) };
        read_full(&os::past_cache(open.file.as_file())?, into, offset)
    }

    /// `span` as indices into the map, cut off at its end.
    fn range(&self, span: Span) -> (usize, usize) {
        let len = self.open.as_ref().map_or(0, |open| open.map.len());
        let cut = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(len);
        (cut(span.start()), cut(span.end()))
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        if let (Some(pool), Some(open)) = (&self.pool, self.open.take()) {
            pool.end(open);
        }
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Reads until `into` is full or the file at its end.
fn read_full(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut have = 0;
    while have < into.len() {
        match file.read_at(&mut into[have..], offset + have as u64) {
            Ok(0) => break,
            Ok(more) => have += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}

/// Reads `start..end` and throws it away: the kernel keeps the pages, and an error of the disk is an error here.
fn read_through(file: &File, start: usize, end: usize) -> io::Result<()> {
    let mut scratch = vec![0; (end - start).min(64 << 10)];
    let mut at = start;
    while at < end {
        let len = scratch.len().min(end - at);
        file.read_exact_at(&mut scratch[..len], at as u64)?;
        at += len;
    }
    Ok(())
}

/// What Linux can do.
#[cfg(target_os = "linux")]
mod os {
    use std::fs::{File, Metadata};
    use std::io::{self, IoSliceMut};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;
    use std::sync::atomic::{AtomicBool, Ordering};

    use memmap2::{Advice, Mmap};
    use rustix::io::{Errno, ReadWriteFlags, preadv2};

    use super::read_through;

    /// How it is found out whether pages are in memory.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Probe {
        /// mincore(2) on the map.
        Mincore,
        /// A read of one byte a page that must not wait. For files that are not the process's own: of these mincore says
        /// that everything is in memory, so that nobody can spy on others' reads (Linux 5.2 and later). And for a process
        /// that may not ask mincore at all: a system call filter refuses it.
        Read,
    }

    impl Probe {
        pub(super) fn of(facts: &Metadata, map: &Mmap) -> Self {
            let own = facts.uid() == rustix::process::geteuid().as_raw();
            if own && may_ask(map) { Self::Mincore } else { Self::Read }
        }

        pub(super) fn resident(self, map: &Mmap, file: &File, start: usize, end: usize) -> bool {
            match self {
                Self::Mincore => mincore(map, start, end),
                Self::Read => reads_at_once(file, start, end),
            }
        }
    }

    /// Whether the process is answered when it asks for the map's first page; where it is not, that is said once. One that was
    /// answered is believed: filters come with the start of a process.
    fn may_ask(map: &Mmap) -> bool {
        static ANSWERED: AtomicBool = AtomicBool::new(false);
        if ANSWERED.load(Ordering::Relaxed) {
            return true;
        }
        let mut flag = [0_u8];
        // SAFETY: as in `mincore`: a map is not empty, so that its first byte is in a page of it; one page, one flag.
        let asked = unsafe { libc::mincore(map.as_ptr().cast_mut().cast(), 1, flag.as_mut_ptr()) };
        if asked != 0 {
            static SAID: std::sync::Once = std::sync::Once::new();
            let error = io::Error::last_os_error();
            SAID.call_once(|| {
                tracing::warn!(%error, "mincore(2) is refused, so that finding out what is in memory costs more: allow it in the unit or the container's system call filter");
            });
        }
        ANSWERED.store(asked == 0, Ordering::Relaxed);
        asked == 0
    }

    /// How often this thread had to wait for a page that was not in memory (getrusage(2)).
    pub(crate) fn major_faults() -> u64 {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the kernel writes one `rusage` where there is room for one; all its fields may be zero, as they are before.
        let usage = unsafe {
            libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
            usage.assume_init()
        };
        u64::try_from(usage.ru_majflt).unwrap_or(0)
    }

    /// Sets the signal of a file (fcntl(2)); libc knows no name for it here.
    const F_SETSIG: libc::c_int = 10;

    /// A read lease (`F_SETLEASE`, fcntl(2)) is refused while the file is open for writing, and whoever opens it so later
    /// waits until it is given back, which closing the file does, or has been asked back for too long.
    pub(super) fn lease(file: &File) -> io::Result<()> {
        let fd = file.as_raw_fd();
        // The signal that asks the lease back: the usual one, SIGIO, ends a process that does not expect it; this one is
        // ignored by one that does not. Set first, so that there is no moment without it.
        // SAFETY: both calls take a descriptor, which is open while `file` is borrowed, and a number; no memory.
        let leased = unsafe {
            libc::fcntl(fd, F_SETSIG, libc::SIGURG) == 0 && libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) == 0
        };
        if leased { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    pub(super) fn is_leased(file: &File) -> bool {
        // SAFETY: as above.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLEASE) == libc::F_RDLCK }
    }

    /// Bytes of a page of memory. From libc, since rustix looks for it where a program under valgrind may not look.
    fn page_size() -> usize {
        static SIZE: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
        // SAFETY: it takes a number and touches no memory of ours.
        *SIZE.get_or_init(|| usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096))
    }

    /// One bit a page from the kernel, for as many pages at a time as a window of 1 MiB has with pages of 4 KiB.
    fn mincore(map: &Mmap, start: usize, end: usize) -> bool {
        let page = page_size();
        let end = end.min(map.len());
        let mut at = start / page * page;
        let mut flags = [0_u8; 257];
        while at < end {
            let len = (end - at).min((flags.len() - 1) * page);
            // SAFETY: `at` is a multiple of the page size and `at + len` is inside the map, which is borrowed here and so
            // stays mapped; the kernel writes one byte for every page begun, and `flags` has room for one more than that.
            let asked = unsafe { libc::mincore(map.as_ptr().add(at).cast_mut().cast(), len, flags.as_mut_ptr()) };
            if asked != 0 || flags[..len.div_ceil(page)].iter().any(|flag| flag & 1 == 0) {
                return false;
            }
            at += len;
        }
        true
    }

    fn reads_at_once(file: &File, start: usize, end: usize) -> bool {
        let page = page_size();
        let mut byte = [0];
        // The first byte of every page; of the first page the byte asked for, so that none lies beyond the end.
        std::iter::once(start).chain((start / page * page + page..end).step_by(page)).all(|at| {
            preadv2(file, &mut [IoSliceMut::new(&mut byte)], at as u64, ReadWriteFlags::NOWAIT)
                .is_ok_and(|got| got == 1)
        })
    }

    /// The file once more, to be read past the page cache. Opened anew each time: that takes far less time than such a read,
    /// and a second descriptor for every open payload would be too many.
    pub(super) fn past_cache(file: &File) -> io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        File::options().read(true).custom_flags(libc::O_DIRECT).open(path)
    }

    /// Asks for all of it in large requests. Only a hint.
    pub(super) fn read_ahead(file: &File, offset: u64, len: usize) {
        let _ = rustix::fs::fadvise(file, offset, std::num::NonZeroU64::new(len as u64), rustix::fs::Advice::WillNeed);
    }

    pub(super) fn populate(map: &Mmap, file: &File, start: usize, end: usize) -> io::Result<()> {
        // Asks for the whole window in large requests; populating alone would fault it in piecemeal, waiting for each.
        // Only a hint: what it cannot do, populating does.
        let _ = map.advise_range(Advice::WillNeed, start, end - start);
        let Err(error) = map.advise_range(Advice::PopulateRead, start, end - start) else { return Ok(()) };
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            // Linux before 5.14.
            Some(Errno::INVAL) => read_through(file, start, end),
            // What would have been a signal for whoever touched the page. The read says which error it was.
            Some(Errno::FAULT | Errno::HWPOISON) => {
                read_through(file, start, end)?;
                Err(io::Error::new(error.kind(), format!("the disk did not give bytes {start}..{end}: {error}")))
            }
            _ => Err(error),
        }
    }

    #[cfg(test)]
    mod tests;
}

/// What every system can do.
#[cfg(not(target_os = "linux"))]
mod os {
    use std::fs::{File, Metadata};
    use std::io;

    use memmap2::Mmap;

    use super::read_through;

    /// Nothing is known of what is in memory.
    #[derive(Clone, Copy, Debug)]
    pub(super) struct Probe;

    impl Probe {
        pub(super) fn of(_: &Metadata, _: &Mmap) -> Self {
            Self
        }

        pub(super) fn resident(self, _: &Mmap, _: &File, _: usize, _: usize) -> bool {
            false
        }
    }

    /// It is not known.
    pub(crate) fn major_faults() -> u64 {
        0
    }

    /// It cannot be told who writes.
    pub(super) fn lease(_: &File) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn is_leased(_: &File) -> bool {
        false
    }

    pub(super) fn past_cache(_: &File) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn read_ahead(_: &File, _: u64, _: usize) {}

    pub(super) fn populate(_: &Mmap, file: &File, start: usize, end: usize) -> io::Result<()> {
        read_through(file, start, end)
    }
}

#[cfg(test)]
mod tests;
