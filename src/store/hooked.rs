//! The real disk with a hook before its operations, and bytes to put on it, for the unit tests of this room.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::disk::{Disk, DiskFile, Facts, RealDisk};
use crate::base::span::Span;

/// What a hook is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Read(Span),
    Write(Span),
    Sync,
    Copy,
}

type Hook = Arc<dyn Fn(Op) -> io::Result<()> + Send + Sync>;

/// The real disk, with a hook that runs before each of these operations and may wait or refuse.
pub(crate) struct Hooked(Hook);

struct HookedFile(Arc<dyn DiskFile>, Hook);

pub(crate) fn hooked(hook: impl Fn(Op) -> io::Result<()> + Send + Sync + 'static) -> Arc<dyn Disk> {
    Arc::new(Hooked(Arc::new(hook)))
}

pub(crate) fn real() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

pub(crate) fn bad_sector() -> io::Error {
    rustix::io::Errno::IO.into()
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooked")
    }
}

impl fmt::Debug for HookedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookedFile")
    }
}

impl DiskFile for HookedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (self.1)(Op::Read(Span::at(offset, buf.len() as u64)))?;
        self.0.read_at(buf, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        (self.1)(Op::Write(Span::at(offset, bytes.len() as u64)))?;
        self.0.write_at(bytes, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        (self.1)(Op::Sync)?;
        self.0.sync()
    }
    fn facts(&self) -> io::Result<Facts> {
        self.0.facts()
    }
    fn as_file(&self) -> &std::fs::File {
        self.0.as_file()
    }
}

impl Disk for Hooked {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(HookedFile(RealDisk.create(path)?, Arc::clone(&self.0))))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(HookedFile(RealDisk.open(path)?, Arc::clone(&self.0))))
    }
    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(HookedFile(RealDisk.open_write(path)?, Arc::clone(&self.0))))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        RealDisk.unlink(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }
    fn seal(&self, path: &Path) -> io::Result<()> {
        RealDisk.seal(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<(PathBuf, Facts)>> {
        RealDisk.list(path)
    }
    fn facts(&self, path: &Path) -> io::Result<Option<Facts>> {
        RealDisk.facts(path)
    }
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        (self.0)(Op::Copy)?;
        RealDisk.copy(from, to)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(path)
    }
}

pub(crate) fn content(size: u64) -> Vec<u8> {
    let mut bytes = vec![0; size as usize];
    blake3::Hasher::new_derive_key("waystation draft test").finalize_xof().fill(&mut bytes);
    bytes
}
