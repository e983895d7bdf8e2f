//! Taking payloads out: deleted, or kept in quarantine for a while with the reason.
//!
//! 1. One commit turns entry and aliases into a doomed row; from then on nobody finds it.
//! 2. Its names leave the cache; who is being served keeps the map.
//! 3. Proof and payload are unlinked, or moved to `quarantine/` beside a file that says why.
//! 4. The directories are synced.
//! 5. One commit takes the doomed row away.
//!
//! After a crash, opening goes on at step 3; after an error of the disk, the next eviction steps do.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use crate::base::digest::Blake3;
use crate::model::name::Name;
use crate::store::core::Core;
use crate::store::entries;
use crate::store::error::Error;
use crate::store::keys::Key;
use crate::store::quarantine::why_of;
use crate::store::recover::rows;
use crate::store::space::{STEP, shift};
use crate::store::tables::{
    DOOMED, DoomedRow, Id, NAMES, PAYLOADS, PINS, PayloadRow, QUARANTINE, QUARANTINE_BYTES, QuarantineRow, RECENCY,
    decode, encode, name_of, use_key,
};
use crate::store::writer::Room;

/// What lies in quarantine is evidence, not stock: at most so many,
const QUARANTINE_COUNT: usize = 64;
/// for at most so long,
const QUARANTINE_MS: u64 = 30 * 24 * 3_600_000;
/// and at most this part of `max_size`.
const QUARANTINE_SHARE: u64 = 20;
/// So many go in one step: unlinking one of many gigabytes takes milliseconds.
const TRIMMED_AT_ONCE: usize = 8;

/// What becomes of the files.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// Unlinked.
    Deleted,
    /// Moved to `quarantine/`, with this reason: it is not what was published for its name.
    Quarantined(String),
    /// The same for one that the disk damaged. A pin waits for the same payload to come again.
    Damaged(String),
}

/// Why a payload was chosen to make room; looked at again in the commit that takes it out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen {
    /// It is past its end.
    Over { now: u64 },
    /// It has this place in the order of use.
    Use { class: u8, ms: u64 },
}

impl Core {
    /// Takes one payload out, whether or not somebody is being served from it. [`Error::Gone`] where it is not held.
    pub(crate) fn remove(&self, blake3: Blake3, fate: &Fate) -> Result<(), Error> {
        let key = self.keys.take(blake3);
        self.remove_held(&key, fate)
    }

    /// The same where the key is held already.
    pub(crate) fn remove_held(&self, key: &Key<'_>, fate: &Fate) -> Result<(), Error> {
        match self.remove_keyed(std::slice::from_ref(key), fate, None) {
            Ok((0, _)) => Err(Error::Gone),
            other => other.map(drop),
        }
    }

    /// The same for payloads that are to make room; those that somebody works on, and those that were pinned, promoted
    /// or used since they were chosen, are passed over. Returns the bytes freed.
    pub(crate) fn remove_idle(&self, victims: &[(Blake3, Seen)]) -> Result<u64, Error> {
        let (keys, seen): (Vec<_>, Vec<_>) =
            victims.iter().filter_map(|(id, seen)| Some((self.keys.try_take(*id)?, *seen))).unzip();
        match self.remove_keyed(&keys, &Fate::Deleted, Some(seen.as_slice())) {
            // Not even the row that says what goes can be written: the files go first. An entry without a file is
            // taken out when somebody asks for it, or when the commit below finds the room that they left.
            Err(Error::Full { .. }) => {
                for (key, seen) in keys.iter().zip(&seen) {
                    let id = *key.blake3().as_bytes();
                    // As in the commit that could not be made: what was opened, pinned, promoted or used since stays.
                    if self.index.read(|tx| still_read(tx, &id, seen))? && self.cache.retire(&key.blake3()) {
                        self.unlink(&self.layout.payload(&key.blake3()))?;
                    }
                }
                self.remove_keyed(&keys, &Fate::Deleted, Some(seen.as_slice()))
            }
            other => other,
        }
        .map(|(_, bytes)| bytes)
    }

    /// Steps 1 to 5 for payloads whose keys are held. Returns how many there were and their bytes.
    fn remove_keyed(&self, keys: &[Key<'_>], fate: &Fate, seen: Option<&[Seen]>) -> Result<(usize, u64), Error> {
        let ids: Vec<Id> = keys.iter().map(|key| *key.blake3().as_bytes()).collect();
        let fates: Vec<_> = ids
            .iter()
            .map(|_| match fate {
                Fate::Deleted => None,
                Fate::Quarantined(why) | Fate::Damaged(why) => Some((self.next_id(), why.clone())),
            })
            .collect();
        let keep_pins = matches!(fate, Fate::Damaged(_));
        let cache = Arc::clone(&self.cache);
        let seen = seen.map(<[_]>::to_vec);
        let doomed = self.writer.write(Room::Frees, move |tx| {
            let mut doomed = Vec::new();
            for (at, (id, quarantine)) in ids.iter().zip(fates).enumerate() {
                if let Some(seen) = seen.as_ref().and_then(|seen| seen.get(at))
                    && !(still(tx, id, seen)? && cache.retire(&Blake3::new(*id)))
                {
                    continue;
                }
                doomed.extend(doom(tx, id, quarantine, keep_pins)?.map(|row| (*id, row)));
            }
            Ok(doomed)
        })?;
        let mut bytes: u64 = 0;
        for (id, row) in &doomed {
            self.cache.drop_payload(&Blake3::new(*id), Some(row.allocated));
            self.withheld.forget(&Blake3::new(*id));
            self.sums.change(|sums| {
                shift(&mut sums.payloads, 0, row.allocated);
                shift(&mut sums.count, 0, 1);
            });
            bytes = bytes.saturating_add(row.allocated);
        }
        if let Err(error) = self.finish_doomed(doomed.clone()) {
            // Their blocks are still taken; the eviction step tries again.
            self.sums.change(|sums| shift(&mut sums.doomed, bytes.max(1), 0));
            return Err(error);
        }
        self.freed.notify_waiters();
        Ok((doomed.len(), bytes))
    }

    /// Tries again what could not be deleted, as long as the step lasts; one that fails again waits for the next step.
    /// Returns the bytes freed.
    pub(crate) fn retry_doomed(&self, begun: Instant) -> Result<u64, Error> {
        if self.sums.now().doomed == 0 {
            return Ok(0);
        }
        let mut freed: u64 = 0;
        for (id, _) in self.index.read(|tx| rows::<DoomedRow>(tx, DOOMED, "doomed.1"))? {
            if freed > 0 && begun.elapsed() >= STEP {
                break;
            }
            let Some(_key) = self.keys.try_take(Blake3::new(id)) else { continue };
            // Whoever had the key may have ended it.
            let row = self.index.read(|tx| {
                tx.open_table(DOOMED)?.get(&id)?.map(|row| decode::<DoomedRow>("doomed.1", row.value())).transpose()
            })?;
            let Some(row) = row else { continue };
            let bytes = row.allocated;
            match self.finish_doomed(vec![(id, row)]) {
                Ok(()) => {
                    self.sums.change(|sums| shift(&mut sums.doomed, 0, bytes.max(1)));
                    freed = freed.saturating_add(bytes.max(1));
                }
                Err(error) => tracing::warn!(blake3 = %Blake3::new(id), %error, "a delete is tried again later"),
            }
        }
        Ok(freed)
    }

    /// Steps 3 to 5. The caller holds the keys, or is opening the store.
    pub(crate) fn finish_doomed(&self, doomed: Vec<(Id, DoomedRow)>) -> Result<(), Error> {
        if doomed.is_empty() {
            return Ok(());
        }
        let mut shelves = BTreeSet::new();
        for (id, row) in &doomed {
            let blake3 = Blake3::new(*id);
            let (payload, proof) = (self.layout.payload(&blake3), self.layout.proof(&blake3));
            if let Some((place, why)) = &row.quarantine {
                self.explain(*place, &format!("payload blake3-{blake3}\n{why}\n"))?;
                move_away(self, &proof, &self.layout.quarantined(*place, ".proof"))?;
                move_away(self, &payload, &self.layout.quarantined(*place, ""))?;
            } else {
                self.unlink(&proof)?;
                self.unlink(&payload)?;
            }
            shelves.insert(self.layout.shelf(&blake3));
        }
        if doomed.iter().any(|(_, row)| row.quarantine.is_some()) {
            self.sync_dir(&self.layout.quarantine())?;
        }
        for shelf in shelves {
            if self.facts(&shelf)?.is_some() {
                self.sync_dir(&shelf)?;
            }
        }
        let now = self.clock.now().ms();
        let kept: u64 = doomed.iter().filter(|(_, row)| row.quarantine.is_some()).map(|(_, row)| row.allocated).sum();
        self.writer.write(Room::Frees, move |tx| {
            for (id, row) in &doomed {
                let there = tx.open_table(DOOMED)?.remove(id)?.is_some();
                if let (true, Some((place, why))) = (there, &row.quarantine) {
                    put_quarantine(tx, *place, now, row.allocated, why)?;
                }
            }
            Ok(())
        })?;
        self.sums.change(|sums| shift(&mut sums.quarantine, kept, 0));
        Ok(())
    }

    /// Writes the reason beside what is being put into quarantine.
    pub(crate) fn explain(&self, place: u64, text: &str) -> Result<(), Error> {
        let path = self.layout.quarantined(place, ".why");
        let write = || -> io::Result<()> {
            let file = match self.disk.create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.disk.open_write(&path)?,
                other => other?,
            };
            file.set_len(0)?;
            file.write_at(text.as_bytes(), 0)?;
            file.sync()
        };
        write().map_err(|error| Error::at(&path, &error))
    }

    /// Throws out what has been in quarantine for too long or is too much, as long as the step lasts. Returns the bytes
    /// freed.
    pub(crate) fn trim_quarantine(&self, begun: Instant) -> Result<u64, Error> {
        let now = self.clock.now().ms();
        let rows = self.quarantine_rows()?;
        let mut bytes: u64 = rows.iter().map(|(_, row)| row.allocated).sum();
        let mut count = rows.len();
        let mut gone = Vec::new();
        // Places are given in rising order: the first are the oldest.
        for (place, row) in rows {
            let is_old = row.at.saturating_add(QUARANTINE_MS) <= now;
            let is_long = gone.len() >= TRIMMED_AT_ONCE || !gone.is_empty() && begun.elapsed() >= STEP;
            if is_long || !is_old && count <= QUARANTINE_COUNT && bytes <= self.config.max_size / QUARANTINE_SHARE {
                break;
            }
            count -= 1;
            bytes = bytes.saturating_sub(row.allocated);
            gone.push((place, row.allocated));
        }
        if gone.is_empty() {
            return Ok(0);
        }
        // What takes no blocks counts too: whoever asks until nothing goes must not stop before the rest.
        Ok(self.throw_out(gone)?.max(1))
    }
}

/// The row of something in quarantine.
pub(crate) fn put_quarantine(
    tx: &WriteTransaction,
    place: u64,
    at: u64,
    allocated: u64,
    why: &str,
) -> Result<(), Error> {
    let row = QuarantineRow { at, allocated, why: why.to_owned() };
    tx.open_table(QUARANTINE)?.insert(place, encode(&row)?.as_slice())?;
    entries::add_total(tx, QUARANTINE_BYTES, i64::try_from(allocated).unwrap_or(i64::MAX))
}

/// Step 1.
fn doom(
    tx: &WriteTransaction,
    id: &Id,
    mut quarantine: Option<(u64, String)>,
    keep_pin: bool,
) -> Result<Option<DoomedRow>, Error> {
    let pin = tx.open_table(PINS)?.get(id)?.map(|pin| pin.value().to_vec());
    if let Some((_, why)) = &mut quarantine {
        // The names go with the row, and whoever looks into the quarantine asks what was hurt.
        let names = entries::names_in(&tx.open_table(NAMES)?, id)?;
        let address = names.iter().find_map(|key| match name_of(key) {
            Ok(Name::Origin(key)) => Some(key.to_string()),
            _ => None,
        });
        *why = why_of(why, address.as_deref());
    }
    let Some(row) = entries::take_payload(tx, id)? else { return Ok(None) };
    if let Some(pin) = pin
        && keep_pin
    {
        tx.open_table(PINS)?.insert(id, pin.as_slice())?;
    }
    let row = DoomedRow { allocated: row.allocated, quarantine };
    tx.open_table(DOOMED)?.insert(id, encode(&row)?.as_slice())?;
    Ok(Some(row))
}

/// Whether what made a payload a victim still holds.
fn still(tx: &WriteTransaction, id: &Id, seen: &Seen) -> Result<bool, Error> {
    let Some(row) = entries::payload(tx, id)? else { return Ok(false) };
    Ok(tx.open_table(PINS)?.get(id)?.is_none()
        && match *seen {
            Seen::Over { now } => row.expires_at.is_some_and(|end| end <= now),
            Seen::Use { class, ms } => tx.open_table(RECENCY)?.get(&use_key(class, ms, id))?.is_some(),
        })
}

/// The same in a snapshot.
fn still_read(tx: &ReadTransaction, id: &Id, seen: &Seen) -> Result<bool, Error> {
    let Some(row) = tx.open_table(PAYLOADS)?.get(id)?.map(|row| decode::<PayloadRow>("payloads.1", row.value())) else {
        return Ok(false);
    };
    let row = row?;
    Ok(tx.open_table(PINS)?.get(id)?.is_none()
        && match *seen {
            Seen::Over { now } => row.expires_at.is_some_and(|end| end <= now),
            Seen::Use { class, ms } => tx.open_table(RECENCY)?.get(&use_key(class, ms, id))?.is_some(),
        })
}

fn move_away(core: &Core, from: &Path, to: &Path) -> Result<(), Error> {
    match core.disk.rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::at(from, &error)),
        _ => Ok(()),
    }
}
