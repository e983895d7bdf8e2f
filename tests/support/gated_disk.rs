//! The real disk, with gates: deletes and copies can be held up, slowed down or refused.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use waystation::base::disk::{Disk, DiskFile, Facts, RealDisk};

/// What is to happen to the deletes and copies that come.
#[derive(Debug, Default)]
struct Gate {
    shut: bool,
    refuses: bool,
    slow: Duration,
}

/// The disk; clones share the gate.
#[derive(Clone, Debug, Default)]
pub(crate) struct GatedDisk {
    gate: Arc<(Mutex<Gate>, Condvar)>,
    arrived: Arc<Notify>,
}

impl GatedDisk {
    /// From now on whoever deletes or copies waits.
    pub(crate) fn shut(&self) {
        self.gate.0.lock().unwrap().shut = true;
    }

    /// Lets all go on.
    pub(crate) fn open_up(&self) {
        self.gate.0.lock().unwrap().shut = false;
        self.gate.1.notify_all();
    }

    /// Whether deletes and copies fail.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.gate.0.lock().unwrap().refuses = refuses;
    }

    /// Each delete and copy takes so long.
    pub(crate) fn slow(&self, by: Duration) {
        self.gate.0.lock().unwrap().slow = by;
    }

    /// Returns once somebody has come to the gate.
    pub(crate) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    fn pass(&self) -> io::Result<()> {
        let mut gate = self.gate.0.lock().unwrap();
        if gate.shut {
            self.arrived.notify_one();
        }
        while gate.shut {
            gate = self.gate.1.wait(gate).unwrap();
        }
        let (refuses, slow) = (gate.refuses, gate.slow);
        drop(gate);
        // A slow disk is what is played here; nothing waits for this.
        std::thread::sleep(slow);
        if refuses { Err(io::Error::other("a bad directory")) } else { Ok(()) }
    }
}

impl Disk for GatedDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.create(path)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.open(path)
    }
    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.open_write(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.pass()?;
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
        self.pass()?;
        RealDisk.copy(from, to)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(path)
    }
}
