//! Who works on the TLS directory: one at a time, across processes. The verbs of the command line write there while a node
//! runs and looks.

use std::fs::File;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::base::disk::Disk;
use crate::net::error::Error;

/// How long one waits for another: making an RSA key takes seconds on a small machine.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// How often it is tried meanwhile.
const TRY_EVERY: Duration = Duration::from_millis(20);

/// The directory, held. Given back when it is dropped, and by the kernel where the process dies.
#[derive(Debug)]
pub struct Held {
    _directory: Option<File>,
}

/// Makes `dir` where it is missing, and holds it; waits while another does. Blocks.
///
/// The lock is on the directory itself, so that there is no file that could be left behind, and a file system mounted
/// read-only can be held too. Where there is no directory and none can be made, or the file system has no locks (some that
/// lie across a network), there is nothing to hold, and that is no error.
pub fn hold(disk: &dyn Disk, dir: &Path) -> Result<Held, Error> {
    if let Err(error) = disk.create_dir(dir) {
        tracing::debug!(dir = %dir.display(), %error, "the TLS directory cannot be made");
    }
    existing(dir)
}

/// Holds `dir` as [`hold`] does, but leaves it out where it is missing.
pub fn existing(dir: &Path) -> Result<Held, Error> {
    let Ok(directory) = File::open(dir) else { return Ok(Held { _directory: None }) };
    let end = Instant::now() + WAIT_MAX;
    loop {
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Held { _directory: Some(directory) }),
            Err(Errno::WOULDBLOCK) if Instant::now() >= end => return Err(Error::Busy { path: dir.into() }),
            Err(Errno::WOULDBLOCK) => thread::sleep(TRY_EVERY),
            Err(Errno::INTR) => {}
            Err(error) => {
                tracing::debug!(dir = %dir.display(), %error, "the TLS directory cannot be locked");
                return Ok(Held { _directory: None });
            }
        }
    }
}
