//! Payloads of which some bytes are known to be bad, and which wait to be mended: the entry stays with its names, its
//! pin and the file with all its good groups, but nothing is served of it. Each is a document, so that a restart knows
//! them too, and a number in a set, so that a look-up asks nobody.
//!
//! One is withheld until its file is replaced (by a repair, or by the whole object coming in once more), until it is
//! read again and found good, or until it goes.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use redb::{ReadTransaction, WriteTransaction};

use crate::base::digest::Blake3;
use crate::store::core::Core;
use crate::store::entries;
use crate::store::error::Error;
use crate::store::tables::{DOCUMENTS, Id};
use crate::store::writer::Room;

/// The documents begin with this; what follows is the BLAKE3, and the value says why.
const PREFIX: &str = "store/withheld/";

/// Those that are withheld now. 32 bytes each: of a million, all could be.
#[derive(Debug, Default)]
pub(crate) struct Withheld(Mutex<BTreeSet<Blake3>>);

impl Withheld {
    pub(crate) fn has(&self, blake3: &Blake3) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(blake3)
    }

    pub(crate) fn forget(&self, blake3: &Blake3) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(blake3);
    }

    pub(crate) fn all(&self) -> Vec<Blake3> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    fn add(&self, blake3: Blake3) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(blake3);
    }

    /// What the index says, on open.
    pub(crate) fn load(&self, tx: &ReadTransaction) -> Result<(), Error> {
        for row in tx.open_table(DOCUMENTS)?.range(PREFIX..)? {
            let (key, _) = row?;
            let Some(digits) = key.value().strip_prefix(PREFIX) else { break };
            if let Ok(blake3) = Blake3::from_str(digits) {
                self.add(blake3);
            }
        }
        Ok(())
    }
}

fn key(id: &Id) -> String {
    format!("{PREFIX}{}", Blake3::new(*id))
}

/// Takes the row away, in the commit that replaces or removes the payload.
pub(crate) fn release(tx: &WriteTransaction, id: &Id) -> Result<(), Error> {
    tx.open_table(DOCUMENTS)?.remove(key(id).as_str())?;
    Ok(())
}

impl Core {
    /// Takes a held payload out of service; [`Error::Gone`] where it is not held.
    pub(crate) fn withhold(&self, blake3: Blake3, why: &str) -> Result<(), Error> {
        let _key = self.keys.take(blake3);
        let (id, why) = (*blake3.as_bytes(), why.to_owned());
        // Even where the index takes no row any more, nothing may be served of it.
        self.withheld.add(blake3);
        self.cache.drop_payload(&blake3, None);
        let noted = self.writer.write(Room::Frees, move |tx| {
            entries::payload(tx, &id)?.ok_or(Error::Gone)?;
            tx.open_table(DOCUMENTS)?.insert(key(&id).as_str(), why.as_bytes())?;
            Ok(())
        });
        if matches!(noted, Err(Error::Gone)) {
            self.withheld.forget(&blake3);
        }
        noted
    }

    /// Puts a payload that was read again and is good back into service.
    pub(crate) fn release(&self, blake3: Blake3) -> Result<(), Error> {
        let _key = self.keys.take(blake3);
        let id = *blake3.as_bytes();
        self.writer.write(Room::Frees, move |tx| release(tx, &id))?;
        self.withheld.forget(&blake3);
        Ok(())
    }
}
