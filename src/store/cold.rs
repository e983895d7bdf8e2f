//! Reading what is not in memory, so that neither the reactor nor what is in memory suffers for it.
//!
//! A window is read into a buffer of our own and given out from there. Nothing of it enters the page tables, so that the
//! kernel, when it makes room, need not look for who has a page mapped; that search is dearer than the copy.
//!
//! 1. A window that is asked for once goes past the page cache (`O_DIRECT`): it pushes nothing out that is asked for often,
//!    and costs a fifth of the processor time. It is remembered when that was.
//! 2. One that is asked for again before so much else was read as fits in memory goes through the page cache and stays there.
//! 3. Short windows always do: many small payloads are asked for often, and the disk reads no faster without it.
//! 4. Where the buffers are all out (slow readers hold them), who comes next waits for one, first come, first served. Only who
//!    has waited for [`WAIT_MAX`], or whose window cannot be read into one, has pages brought in under the map, where
//!    they may be gone again before they are used.
//!
//! A disk that does not give its bytes is an error of the map's way, whichever was tried first.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use memmap2::MmapMut;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::base::limits::WINDOW;
use crate::base::memory;
use crate::base::span::Span;
use crate::store::blob::Blob;

/// Buffers that may be out at once, 64 MiB. Slow readers hold one each.
const BUFFERS_MAX: usize = 64;

/// For so long a reader waits for a buffer: far shorter than the silence that a client bears, and longer than 64 readers of a
/// disk of 100 MB/s take for a round.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Buffers that are kept when nobody needs them, so that a busy hour does not take pages from the system for every window.
const KEPT_MAX: usize = 32;

/// What the process may use where that cannot be read: the least that a node should have.
const MEMORY: u64 = 1 << 30;

/// What is shorter always goes through the page cache.
const PAST_CACHE_MIN: u64 = 256 << 10;

/// What offsets, lengths and memory are multiples of where the page cache is left out: what the largest sectors in use
/// want. A disk that wants more says so, and is read through the cache.
const ALIGNMENT: u64 = 4096;

/// A window lies in a buffer with what alignment adds before and behind.
const BUFFER: usize = WINDOW as usize + 2 * ALIGNMENT as usize;

// These are hints and sums; nothing is ordered by them.
const ORDER: Ordering = Ordering::Relaxed;

/// Bytes that were read.
#[derive(Debug)]
pub struct Read {
    /// The bytes.
    pub bytes: Bytes,
    /// Whether they stay in memory as long as this does. Else they are pages that may be taken away again: to be used at once.
    pub stays: bool,
}

/// What all open payloads share in reading.
pub(crate) struct Cold {
    /// How many windows were asked for that were not in memory.
    asked: AtomicU32,
    /// A window that is asked for again after no more than so many others finds room in memory.
    reach: u32,
    /// The file system reads past its cache, as far as is known.
    past_cache: AtomicBool,
    buffers: Arc<Buffers>,
    /// One for each buffer that is not out.
    seats: Arc<Semaphore>,
}

/// The right to one buffer.
pub(crate) type Seat = OwnedSemaphorePermit;

/// When each window of a payload was asked for last while it was not in memory. Empty until that happens first; then four
/// bytes a MiB.
#[derive(Default)]
pub(crate) struct Last(OnceLock<Box<[AtomicU32]>>);

impl Cold {
    /// For the memory that this process may use: half of it is left to others.
    pub(crate) fn of_machine() -> Self {
        Self::new(memory::limit().unwrap_or(MEMORY) / 2 / WINDOW)
    }

    fn new(reach: u64) -> Self {
        Self {
            asked: AtomicU32::new(0),
            reach: u32::try_from(reach).unwrap_or(u32::MAX),
            past_cache: AtomicBool::new(true),
            buffers: Arc::default(),
            seats: Arc::new(Semaphore::new(BUFFERS_MAX)),
        }
    }

    /// Waits for a buffer; `None` where none came in time. Nothing of a pool is held meanwhile.
    pub(crate) async fn seat(&self) -> Option<Seat> {
        let seats = Arc::clone(&self.seats);
        if let Ok(seat) = Arc::clone(&seats).try_acquire_owned() {
            return Some(seat);
        }
        tokio::time::timeout(WAIT_MAX, seats.acquire_owned()).await.ok()?.ok()
    }

    /// Reads `span`, cut off at the end of the payload, into a buffer where there is a `seat`. Blocks.
    pub(crate) fn read(&self, blob: &Arc<Blob>, last: &Last, span: Span, seat: Option<Seat>) -> io::Result<Read> {
        let span = span.intersect(&Span::new(0, blob.len()));
        let again = self.is_asked_again(last, span, blob.len());
        if span.len() <= WINDOW
            && let Some(mut buffer) = seat.and_then(|seat| Buffers::lend(&self.buffers, seat))
        {
            let past_cache = !again && span.len() >= PAST_CACHE_MIN && self.past_cache.load(ORDER);
            let got = if past_cache {
                match buffer.fill(span, |into, at| blob.read_past_cache(into, at)) {
                    Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
                        self.past_cache.store(false, ORDER);
                        tracing::debug!(%error, "the file system reads through its cache only");
                        buffer.fill(span, |into, at| blob.read(into, at))
                    }
                    got => got,
                }
            } else {
                buffer.fill(span, |into, at| blob.read(into, at))
            };
            if got.is_ok() {
                return Ok(Read { bytes: Bytes::from_owner(buffer), stays: true });
            }
        }
        blob.populate(span)?;
        Ok(Read { bytes: blob.bytes(span), stays: false })
    }

    /// Notes that the window in which `span` begins is asked for.
    fn is_asked_again(&self, last: &Last, span: Span, len: u64) -> bool {
        let windows = last.0.get_or_init(|| (0..len.div_ceil(WINDOW)).map(|_| AtomicU32::new(0)).collect());
        let Some(window) = usize::try_from(span.start() / WINDOW).ok().and_then(|at| windows.get(at)) else {
            return false;
        };
        // From 1 on: 0 is "never".
        let now = self.asked.fetch_add(1, ORDER).wrapping_add(1).max(1);
        match window.swap(now, ORDER) {
            0 => false,
            before => now.wrapping_sub(before) <= self.reach,
        }
    }
}

impl fmt::Debug for Cold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cold")
            .field("asked", &self.asked.load(ORDER))
            .field("reach", &self.reach)
            .finish_non_exhaustive()
    }
}

/// Those that nobody has. Aligned to pages, and of the system's own: what is given back is gone from the process.
#[derive(Default)]
struct Buffers(Mutex<Vec<MmapMut>>);

impl Buffers {
    fn idle(&self) -> MutexGuard<'_, Vec<MmapMut>> {
        // Whole between any two calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer, if there is memory for it.
    fn lend(this: &Arc<Self>, seat: Seat) -> Option<Buffer> {
        let idle = this.idle().pop();
        let memory = match idle {
            Some(memory) => memory,
            None => MmapMut::map_anon(BUFFER).ok()?,
        };
        Some(Buffer { memory: Some(memory), from: 0, to: 0, home: Arc::clone(this), _seat: seat })
    }
}

/// A buffer that is out. It goes home when its bytes have left.
struct Buffer {
    memory: Option<MmapMut>,
    /// Where what was asked for lies in it.
    from: usize,
    to: usize,
    home: Arc<Buffers>,
    /// Given back after the memory: the next one finds that at rest.
    _seat: Seat,
}

impl Buffer {
    /// Has `read` fill it from an aligned offset on with `span` and what is around it; it says how many bytes it got.
    fn fill(&mut self, span: Span, read: impl FnOnce(&mut [u8], u64) -> io::Result<usize>) -> io::Result<()> {
        let start = span.start() / ALIGNMENT * ALIGNMENT;
        let end = span.end().next_multiple_of(ALIGNMENT);
        let index = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
        let into = self.memory.as_deref_mut().and_then(|memory| memory.get_mut(..index(end)));
        let got = read(into.ok_or(io::ErrorKind::InvalidData)?, start)?;
        if got < index(span.end()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (self.from, self.to) = (index(span.start()), index(span.end()));
        Ok(())
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.memory.as_deref().and_then(|memory| memory.get(self.from..self.to)).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut idle = self.home.idle();
        let surplus = match self.memory.take() {
            Some(memory) if idle.len() < KEPT_MAX => {
                idle.push(memory);
                None
            }
            other => other,
        };
        drop((idle, surplus));
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rustix::fs::{Advice, fadvise};

    use super::*;
    use crate::base::disk::RealDisk;

    const SIZE: u64 = 5 * WINDOW + 1234;

    fn payload() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        // Beside the build, since a temporary folder may lie in memory.
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target").unwrap();
        let path = dir.path().join("payload");
        let content: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        (dir, path, content)
    }

    fn open(path: &std::path::Path) -> Arc<Blob> {
        Arc::new(Blob::open(&RealDisk, path, SIZE).unwrap())
    }

    /// Without waiting for a buffer.
    fn read_now(cold: &Cold, blob: &Arc<Blob>, last: &Last, span: Span) -> io::Result<Read> {
        cold.read(blob, last, span, Arc::clone(&cold.seats).try_acquire_owned().ok())
    }

    #[test]
    fn any_span_is_read_whatever_its_bounds() {
        let (_dir, path, content) = payload();
        let (blob, cold, last) = (open(&path), Cold::new(0), Last::default());
        for (start, end) in [
            (0, WINDOW),
            (1, WINDOW + 1),
            (4095, 4096 + WINDOW - 1),
            (5 * WINDOW, SIZE),
            (5 * WINDOW - 1, SIZE + 99),
            (4 * WINDOW + 77, SIZE),
            (WINDOW, WINDOW + 1),
            (SIZE - 1, SIZE),
            (SIZE, SIZE + 1),
            (0, SIZE),
        ] {
            let read = read_now(&cold, &blob, &last, Span::new(start, end)).unwrap();
            let (start, end) = (start as usize, end.min(SIZE) as usize);
            assert!(read.bytes == content[start..end], "{start}..{end}");
            assert!(read.stays || end - start > WINDOW as usize);
        }
    }

    #[test]
    #[allow(clippy::print_stderr, reason = "whoever reads the test's output must see that it did not run")]
    fn what_is_asked_for_again_soon_stays_in_memory() {
        let (_dir, path, _) = payload();
        let (blob, cold, last) = (open(&path), Cold::new(2), Last::default());
        let window = |at: u64| Span::at(at * WINDOW, WINDOW);
        let read = |at| drop(read_now(&cold, &blob, &last, window(at)).unwrap());
        if blob.resident(window(0)) {
            eprintln!("skipped: {} lies in memory, where nothing can be asked for again", path.display());
            return;
        }
        read(0);
        read(1);
        assert!(!blob.resident(window(0)) || !cold.past_cache.load(ORDER), "once is not enough");
        read(0);
        assert!(blob.resident(window(0)), "again after one other");
        read(2);
        read(3);
        read(1);
        assert!(!blob.resident(window(1)) || !cold.past_cache.load(ORDER), "too many others came between");
        drop(read_now(&cold, &blob, &last, Span::at(4 * WINDOW, 4096)).unwrap());
        assert!(blob.resident(Span::at(4 * WINDOW, 4096)), "what is short stays");
    }

    #[test]
    fn buffers_are_bounded_and_come_home() {
        let (_dir, path, content) = payload();
        let (blob, cold, last) = (open(&path), Cold::new(0), Last::default());
        let read = || read_now(&cold, &blob, &last, Span::at(WINDOW, WINDOW)).unwrap();
        let mut out: Vec<Read> = (0..BUFFERS_MAX).map(|_| read()).collect();
        assert!(out.iter().all(|read| read.stays));
        let late = read();
        assert!(!late.stays && late.bytes == content[WINDOW as usize..2 * WINDOW as usize], "from the map");
        out.truncate(1);
        assert!(read().stays);
        assert_eq!((cold.seats.available_permits(), cold.buffers.idle().len()), (BUFFERS_MAX - 1, KEPT_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_all_buffers_out_waits_for_one_and_not_for_ever() {
        let (_dir, path, content) = payload();
        let (blob, cold, last) = (open(&path), Cold::new(0), Last::default());
        let span = Span::at(WINDOW, WINDOW);
        let mut out: Vec<Read> = (0..BUFFERS_MAX).map(|_| read_now(&cold, &blob, &last, span).unwrap()).collect();
        let waiting = cold.seat();
        tokio::pin!(waiting);
        let at_once = std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_ready())).await;
        assert!(!at_once, "all are out");
        out.pop();
        let seat = waiting.await;
        let read = cold.read(&blob, &last, span, seat).unwrap();
        assert!(read.stays && read.bytes == content[WINDOW as usize..2 * WINDOW as usize], "not from the map");
        let begun = tokio::time::Instant::now();
        assert!(cold.seat().await.is_none());
        assert_eq!(begun.elapsed(), WAIT_MAX);
    }

    #[test]
    fn what_the_disk_does_not_give_is_an_error() {
        let (_dir, path, _) = payload();
        let (blob, cold, last) = (open(&path), Cold::new(0), Last::default());
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(WINDOW).unwrap();
        assert!(read_now(&cold, &blob, &last, Span::at(0, WINDOW)).is_ok());
        assert!(read_now(&cold, &blob, &last, Span::at(WINDOW, WINDOW)).is_err());
        assert_eq!(cold.seats.available_permits(), BUFFERS_MAX);
    }
}
