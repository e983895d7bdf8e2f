//! One process at a time, and as the owner of the data directory: a node started by root over a service's directory
//! would leave files that the service can no longer write.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::base::disk::Disk;
use crate::store::error::{Error, is_read_only};

/// The lock; it ends when this is dropped, or with the process.
#[derive(Debug)]
pub(crate) struct Lock {
    /// `None` on a read-only file system that has no lock file: nobody can write there.
    file: Option<File>,
}

impl Drop for Lock {
    /// Given back by name: a child that this process is just starting has the file open too until it becomes another program, and
    /// closing it here alone would leave the directory locked as long.
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // What cannot be given back ends with the file.
            let _ = file.unlock();
        }
    }
}

/// Takes the lock of the data directory `root` through its file at `path`.
pub(crate) fn take(root: &Path, path: &Path, may_write: bool) -> Result<Lock, Error> {
    if may_write {
        let owner = std::fs::metadata(root).map_err(|error| Error::at(root, &error))?.uid();
        let user = rustix::process::geteuid().as_raw();
        if owner != user {
            return Err(Error::Owner { path: root.to_owned(), owner, user });
        }
    }
    let opened = if may_write {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
    } else {
        File::open(path)
    };
    let file = match opened {
        Ok(file) => file,
        Err(error) if !may_write && (error.kind() == io::ErrorKind::NotFound || is_read_only(&error)) => {
            return Ok(Lock { file: None });
        }
        Err(error) => return Err(Error::at(path, &error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Lock { file: Some(file) }),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(Error::at(path, &error)),
    }
}

/// The same before anything else is touched; a directory that is not there is made. Where nothing can be written the lock
/// is one to read alone.
pub(crate) fn take_first(disk: &dyn Disk, root: &Path, path: &Path) -> Result<Lock, Error> {
    let at = |error: io::Error| Error::at(root, &error);
    if disk.facts(root).map_err(at)?.is_none() {
        disk.create_dir(root).map_err(at)?;
    }
    // Whoever may not write here at all can do no harm, whoever owns it.
    if let Err(Errno::ACCESS | Errno::ROFS) = access(root, Access::WRITE_OK) {
        return take(root, path, false);
    }
    match take(root, path, true) {
        Err(Error::Io(error)) if is_read_only(&error) => take(root, path, false),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_refused_until_the_first_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = take(dir.path(), &path, true).unwrap();
        let error = take(dir.path(), &path, true).unwrap_err();
        assert!(matches!(error, Error::Locked { .. }) && error.is_retryable());
        assert!(error.to_string().contains("another waystation process"));
        // As a child has it between its fork and the program that it becomes.
        let inherited = first.file.as_ref().unwrap().try_clone().unwrap();
        drop(first);
        take(dir.path(), &path, true).unwrap();
        drop(inherited);
    }
}
