//! What redb writes to: the index file, a gate that shuts it for good after a failure, and an overlay that lets a
//! damaged or read-only file be read (its repair happens in memory).
//!
//! The process lock of the data directory guards the file, so that none of these lock it again: an index that failed
//! must be opened anew while readers may still hold the old handle.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;

/// How an index is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// An existing one, or a new one where there is none.
    Create,
    /// An existing one.
    Write,
    /// An existing one, never written to.
    Read,
}

/// Opens the storage of the index; called again after a failure. Tests put a failing one in the place of the file.
pub type Medium = Arc<dyn Fn(Access) -> io::Result<Box<dyn StorageBackend>> + Send + Sync>;

/// The file at `path`.
pub(crate) fn file(path: PathBuf) -> Medium {
    Arc::new(move |access| {
        let file = match access {
            Access::Create => {
                OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?
            }
            Access::Write => OpenOptions::new().read(true).write(true).open(&path)?,
            Access::Read => File::open(&path)?,
        };
        Ok(Box::new(IndexFile(file)) as Box<dyn StorageBackend>)
    })
}

#[derive(Debug)]
struct IndexFile(File);

impl StorageBackend for IndexFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

/// Lets everything through until it is shut; then no byte reaches the file any more, whatever the old handle still does
/// while it is being dropped. Nor is one read: a snapshot of the old handle would see pages that the new one has written
/// over.
pub(crate) struct Gate {
    inner: Box<dyn StorageBackend>,
    shut: Arc<AtomicBool>,
}

impl Gate {
    pub(crate) fn new(inner: Box<dyn StorageBackend>) -> (Self, Arc<AtomicBool>) {
        let shut = Arc::new(AtomicBool::new(false));
        (Self { inner, shut: Arc::clone(&shut) }, shut)
    }

    fn check(&self) -> io::Result<()> {
        if self.shut.load(Ordering::Acquire) {
            return Err(io::Error::other("the index failed and was shut"));
        }
        Ok(())
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate({:?})", self.inner)
    }
}

impl StorageBackend for Gate {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)?;
        // After it: the new handle is opened once the gate is shut, so that what was read before that is what it was.
        self.check()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }
}

/// Reads from the file, keeps writes in memory. redb must repair an index that was not closed before it can read it;
/// with quick repair on that writes a few pages, so that the memory is small.
pub(crate) struct Overlay {
    inner: Box<dyn StorageBackend>,
    over: Mutex<Over>,
}

struct Over {
    len: u64,
    /// Bytes of the file below this are still its own; a cut and a later growth must read zeros.
    kept: u64,
    blocks: BTreeMap<u64, Box<[u8; BLOCK as usize]>>,
}

/// The grain of the overlay; redb's own page size.
const BLOCK: u64 = 4096;

impl Overlay {
    pub(crate) fn new(inner: Box<dyn StorageBackend>) -> io::Result<Self> {
        let len = inner.len()?;
        Ok(Self { inner, over: Mutex::new(Over { len, kept: len, blocks: BTreeMap::new() }) })
    }

    fn block(&self, over: &Over, index: u64, into: &mut [u8; BLOCK as usize]) -> io::Result<()> {
        if let Some(block) = over.blocks.get(&index) {
            into.copy_from_slice(&block[..]);
            return Ok(());
        }
        into.fill(0);
        let start = index * BLOCK;
        let have = over.kept.saturating_sub(start).min(BLOCK) as usize;
        if have > 0 { self.inner.read(start, &mut into[..have]) } else { Ok(()) }
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Overlay({:?})", self.inner)
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.over.lock().unwrap_or_else(PoisonError::into_inner).len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        let end = offset.checked_add(out.len() as u64).filter(|end| *end <= over.len);
        let Some(end) = end else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let last = end.div_ceil(BLOCK);
        // The common case touches nothing that was written over: one read of the file.
        if end <= over.kept && over.blocks.range(offset / BLOCK..last).next().is_none() {
            drop(over);
            return self.inner.read(offset, out);
        }
        let mut buffer = [0; BLOCK as usize];
        for index in offset / BLOCK..last {
            self.block(&over, index, &mut buffer)?;
            let (from, to) = (offset.max(index * BLOCK), end.min((index + 1) * BLOCK));
            out[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&buffer[(from - index * BLOCK) as usize..(to - index * BLOCK) as usize]);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        if len < over.len {
            drop(over.blocks.split_off(&len.div_ceil(BLOCK)));
            if let Some(block) = over.blocks.get_mut(&(len / BLOCK)) {
                block[(len % BLOCK) as usize..].fill(0);
            }
            over.kept = over.kept.min(len);
        }
        over.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        let end = offset.saturating_add(data.len() as u64);
        let mut buffer = [0; BLOCK as usize];
        for index in offset / BLOCK..end.div_ceil(BLOCK) {
            self.block(&over, index, &mut buffer)?;
            let (from, to) = (offset.max(index * BLOCK), end.min((index + 1) * BLOCK));
            buffer[(from - index * BLOCK) as usize..(to - index * BLOCK) as usize]
                .copy_from_slice(&data[(from - offset) as usize..(to - offset) as usize]);
            over.blocks.insert(index, Box::new(buffer));
        }
        over.len = over.len.max(end);
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;

    use super::*;

    proptest! {
        #[test]
        fn an_overlay_reads_as_a_file_that_was_written(
            base in proptest::collection::vec(any::<u8>(), 0..20_000),
            steps in proptest::collection::vec((0u8..3, 0u64..24_000, 1usize..9000, any::<u8>()), 0..12),
        ) {
            let file = InMemoryBackend::new();
            file.set_len(base.len() as u64).unwrap();
            file.write(0, &base).unwrap();
            let overlay = Overlay::new(Box::new(file)).unwrap();
            let mut plain = base;
            for (kind, at, len, byte) in steps {
                if kind == 0 {
                    overlay.set_len(at).unwrap();
                    plain.resize(at as usize, 0);
                } else {
                    overlay.write(at, &vec![byte; len]).unwrap();
                    plain.resize(plain.len().max(at as usize + len), 0);
                    plain[at as usize..at as usize + len].fill(byte);
                }
                prop_assert_eq!(overlay.len().unwrap(), plain.len() as u64);
                let from = (at as usize / 2).min(plain.len());
                let mut out = vec![0; plain.len() - from];
                overlay.read(from as u64, &mut out).unwrap();
                prop_assert!(out == plain[from..]);
            }
            prop_assert!(overlay.read(plain.len() as u64, &mut [0]).is_err());
        }
    }
}
