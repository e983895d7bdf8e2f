//! The disk seam: every durable operation of the store goes through [`Disk`], so that tests can drop, keep or tear
//! whatever was not synced. All calls block; callers are on a pool or on a thread of their own.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a directory entry or a file is, as far as the store asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Length in bytes.
    pub len: u64,
    /// Bytes really allocated on the disk (blocks times 512).
    pub allocated: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// What address, offset and length of a write past the page cache are multiples of: what the largest sectors in use want.
pub const SECTOR: usize = 4096;

/// A file open for positional reads and, where it was created or opened for it, writes.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Fills `buf` from `offset` on; an end of file before that is `UnexpectedEof`.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
    /// The same where that takes no waiting for the disk, and `true`; else `false`, and anything may be in `buf`. For
    /// threads that must not block.
    fn read_at_once(&self, _buf: &mut [u8], _offset: u64) -> bool {
        false
    }
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// From now on writes go past the page cache (`past`), or through it again; `false` where the file system cannot. While
    /// they do, address, offset and length of each must be multiples of [`SECTOR`]; one that the disk does not take in that
    /// way all the same is `InvalidInput`. What was written is no more durable than otherwise.
    fn past_cache(&self, _past: bool) -> bool {
        false
    }
    /// Sets the length; new bytes read as zero and take no blocks.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the content durable (not the name: that takes [`Disk::sync_dir`]).
    fn sync(&self) -> io::Result<()>;
    /// Length and allocation now.
    fn facts(&self) -> io::Result<Facts>;
    /// The operating system's file, for mapping.
    fn as_file(&self) -> &File;
}

/// Directory and name operations. The order in which the store calls them is its promise; see `docs/store-format.md`.
pub trait Disk: Send + Sync + fmt::Debug + 'static {
    /// Makes a directory (mode 0750) and those above it; one that is there already is fine.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a new file (mode 0600) for reading and writing; one that is there already is `AlreadyExists`.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading and writing.
    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives the name `to` to what is at `from`, replacing what was there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a file's name away.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes every write permission away (mode 0444).
    fn seal(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, in no order, with what they are; one that vanishes meanwhile is left out.
    fn list(&self, path: &Path) -> io::Result<Vec<(PathBuf, Facts)>>;
    /// What is at `path`; `None` where there is nothing.
    fn facts(&self, path: &Path) -> io::Result<Option<Facts>>;
    /// A copy of `from` as the new file `to` (mode 0600): a reflink where the file system can, else byte by byte.
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// As [`Disk::copy`] where the file system shares the blocks of both, and `true`; else `false`, and there is no `to`.
    fn reflink(&self, _from: &Path, _to: &Path) -> io::Result<bool> {
        Ok(false)
    }
    /// Bytes that an ordinary user can still write on the file system of `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// The machine's own file systems.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile(File);

fn facts_of(meta: &fs::Metadata) -> Facts {
    Facts { len: meta.len(), allocated: meta.blocks() * 512, is_dir: meta.is_dir() }
}

impl DiskFile for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    #[cfg(target_os = "linux")]
    fn read_at_once(&self, buf: &mut [u8], offset: u64) -> bool {
        use rustix::io::{ReadWriteFlags, preadv2};
        let mut done = 0;
        while done < buf.len() {
            let rest = &mut [io::IoSliceMut::new(&mut buf[done..])];
            // What is not in memory ends the read there; nothing at all is in memory, or any error: somebody else waits.
            match preadv2(&self.0, rest, offset + done as u64, ReadWriteFlags::NOWAIT) {
                Ok(read) if read > 0 => done += read,
                _ => return false,
            }
        }
        true
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    #[cfg(target_os = "linux")]
    fn past_cache(&self, past: bool) -> bool {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
        let Ok(mut flags) = fcntl_getfl(&self.0) else { return false };
        flags.set(OFlags::DIRECT, past);
        fcntl_setfl(&self.0, flags).is_ok()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn facts(&self) -> io::Result<Facts> {
        self.0.metadata().map(|meta| facts_of(&meta))
    }

    fn as_file(&self) -> &File {
        &self.0
    }
}

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(File::open(path)?)))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn seal(&self, path: &Path) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(0o444))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(PathBuf, Facts)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(meta) => found.push((entry.path(), facts_of(&meta))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn facts(&self, path: &Path) -> io::Result<Option<Facts>> {
        match fs::symlink_metadata(path) {
            Ok(meta) => Ok(Some(facts_of(&meta))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.reflink(from, to)? {
            return Ok(());
        }
        let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        // The standard library uses copy_file_range where the kernel has it.
        io::copy(&mut File::open(from)?, &mut target)?;
        Ok(())
    }

    fn reflink(&self, from: &Path, to: &Path) -> io::Result<bool> {
        let source = File::open(from)?;
        let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        if rustix::fs::ioctl_ficlone(&target, &source).is_ok() {
            return Ok(true);
        }
        drop(target);
        fs::remove_file(to)?;
        Ok(false)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}
