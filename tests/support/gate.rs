//! A gate before the deletes and copies of a disk: they can be held up, slowed down or refused.
#![allow(dead_code, reason = "not every test that includes this uses all of it")]

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

/// What is to happen to who comes.
#[derive(Debug, Default)]
struct Bar {
    shut: bool,
    refuses: bool,
    slow: Duration,
}

/// The gate; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    bar: Arc<(Mutex<Bar>, Condvar)>,
    arrived: Arc<Notify>,
}

impl Gate {
    /// From now on whoever deletes or copies waits.
    pub(crate) fn shut(&self) {
        self.bar.0.lock().unwrap().shut = true;
    }

    /// Lets all go on.
    pub(crate) fn open_up(&self) {
        self.bar.0.lock().unwrap().shut = false;
        self.bar.1.notify_all();
    }

    /// Whether deletes and copies fail.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.bar.0.lock().unwrap().refuses = refuses;
    }

    /// Each delete and copy takes so long.
    pub(crate) fn slow(&self, by: Duration) {
        self.bar.0.lock().unwrap().slow = by;
    }

    /// Returns once somebody has come to the gate.
    pub(crate) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Goes through it, or not.
    pub(crate) fn pass(&self) -> io::Result<()> {
        let mut bar = self.bar.0.lock().unwrap();
        if bar.shut {
            self.arrived.notify_one();
        }
        while bar.shut {
            bar = self.bar.1.wait(bar).unwrap();
        }
        let (refuses, slow) = (bar.refuses, bar.slow);
        drop(bar);
        // A slow disk is what is played here; nothing waits for this.
        std::thread::sleep(slow);
        if refuses { Err(io::Error::other("a bad directory")) } else { Ok(()) }
    }
}
