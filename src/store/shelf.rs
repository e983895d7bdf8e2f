//! The 256 directories that payloads lie in: each is made when the first payload comes to it, and nothing gets a name in
//! one before the directory's own name is known to be on the disk.
//!
//! That a directory can be seen does not say so. Somebody else may have made it a moment ago and be on the way to the
//! sync of `content/`; that sync may have failed; or the process that made it was killed before it. So each process
//! remembers for itself which names it has synced, which costs at most 256 syncs in its life.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::digest::Blake3;
use crate::store::core::Core;
use crate::store::error::Error;

/// The directories of which this process has synced the name.
#[derive(Debug)]
pub(crate) struct Shelved([AtomicBool; 256]);

impl Default for Shelved {
    fn default() -> Self {
        Self([const { AtomicBool::new(false) }; 256])
    }
}

impl Shelved {
    fn of(&self, blake3: &Blake3) -> Option<&AtomicBool> {
        self.0.get(usize::from(blake3.as_bytes()[0]))
    }
}

impl Core {
    /// Makes the directory of a payload where it is missing. When it returns well, the directory survives a power loss.
    pub(crate) fn make_shelf(&self, blake3: &Blake3) -> Result<(), Error> {
        let shelf = self.layout.shelf(blake3);
        let known = self.shelved.of(blake3);
        if known.is_some_and(|known| known.load(Ordering::Acquire)) && self.facts(&shelf)?.is_some() {
            return Ok(());
        }
        self.disk.create_dir(&shelf).map_err(|error| Error::at(&shelf, &error))?;
        // Of two that come here at once each does it: neither may go on before a sync that began after the directory was
        // made has ended well.
        self.sync_dir(&self.layout.content())?;
        if let Some(known) = known {
            known.store(true, Ordering::Release);
        }
        Ok(())
    }
}
