//! Looking up: snapshots in, values out.
//!
//! 1. The mark is taken, the index says which payload the name points to and what belongs to the name.
//! 2. An unproven payload past its end is not found, nor is one that is withheld.
//! 3. The payload is opened and mapped, unless it is open already.
//! 4. What was found goes into the cache, unless something changed since the mark was taken; then all starts again.

use std::io;
use std::ops::Bound;
use std::sync::Arc;

use redb::ReadTransaction;

use crate::base::digest::{Blake3, Digest};
use crate::base::time::Timestamp;
use crate::model::name::Name;
use crate::model::payload::Payload;
use crate::store::blob::Blob;
use crate::store::cache::{Found, Held};
use crate::store::core::Core;
use crate::store::entries;
use crate::store::error::Error;
use crate::store::index::Health;
use crate::store::pins::Pin;
use crate::store::remove::Fate;
use crate::store::sha1::unchecked;
use crate::store::tables::{Id, NAMES, PAYLOADS, PINS, PayloadRow, PinRow, USED, decode, name_key, name_of};

/// How often a look-up starts again while names change under it; then it answers without caching.
const ROUNDS: usize = 4;
/// Rows that one call lists at most: bounds the time of a snapshot and the memory of the answer.
const LIST_MAX: usize = 1000;

/// A row of `content list`.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The payload.
    pub payload: Payload,
    /// Every name that points to it.
    pub names: Vec<Name>,
    /// Who pinned it, if anybody did.
    pub pinned: Option<Pin>,
    /// Only superseded or withdrawn updates have it: it goes before all others when room is needed.
    pub outdated: bool,
    /// The last use by a client; when it was published where there was none since. To the second while it is open, else to
    /// the minute.
    pub used_at: Timestamp,
}

impl Core {
    /// Looks up, opens, maps, and counts the use where it `is_use`.
    pub(crate) fn find(&self, name: &Name, is_use: bool) -> Result<Option<Found>, Error> {
        let key = name_key(name);
        for round in 0..=ROUNDS {
            let mark = self.cache.mark();
            let Some((blake3, row, alias)) =
                self.index.look_up(|names| entries::look_up_in(&names.aliases, &names.payloads, &key))?
            else {
                return Ok(None);
            };
            let now = self.clock.now();
            if row.expires_at.is_some_and(|end| end <= now.ms()) {
                return Ok(None);
            }
            if self.withheld.has(&blake3) {
                return Ok(None);
            }
            let Some(held) = self.open(&blake3, &row)? else {
                if self.cache.mark() == mark {
                    self.lost(blake3)?;
                    return Ok(None);
                }
                continue;
            };
            let alias = Arc::new(alias.alias());
            if let Some(found) = self.cache.admit(mark, name, &held, Arc::clone(&alias), is_use) {
                return Ok(Some(found));
            }
            if round == ROUNDS {
                return Ok(Some(Found { held, alias }));
            }
        }
        Ok(None)
    }

    /// Step 3. `None` where the file is not there, or is not what the entry says.
    fn open(&self, blake3: &Blake3, row: &PayloadRow) -> Result<Option<Arc<Held>>, Error> {
        let payload = row.payload(blake3.as_bytes());
        if let Some(held) = self.cache.open(&payload) {
            return Ok(Some(held));
        }
        let path = self.layout.payload(blake3);
        match Blob::open(&*self.disk, &path, row.size) {
            Ok(blob) => Ok(Some(self.cache.hold(payload, blob))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                tracing::error!(path = %path.display(), %error, "a payload of the index is not what it should be");
                Ok(None)
            }
            Err(error) => Err(Error::at(&path, &error)),
        }
    }

    /// Somebody took a payload's file away, or cut it: the entry goes, so that it is fetched again.
    fn lost(&self, blake3: Blake3) -> Result<(), Error> {
        if self.index.health() != Health::Ready {
            return Ok(());
        }
        let key = self.keys.take(blake3);
        let id = *blake3.as_bytes();
        let row = self.index.read(|tx| {
            let rows = tx.open_table(PAYLOADS)?;
            rows.get(&id)?.map(|row| decode::<PayloadRow>("payloads.1", row.value())).transpose()
        })?;
        let Some(row) = row else { return Ok(()) };
        if self.facts(&self.layout.payload(&blake3))?.is_some_and(|facts| facts.len == row.size) {
            // Somebody put it there meanwhile; the next look-up finds it.
            return Ok(());
        }
        let shelf = self.layout.shelf(&blake3);
        if self.facts(&shelf)?.is_none() {
            tracing::error!(path = %shelf.display(), "a directory of payloads is missing; is everything mounted?");
            return Ok(());
        }
        match self.remove_held(&key, &Fate::Damaged("its file was missing or had another length".into())) {
            Err(Error::Gone) => Ok(()),
            other => other,
        }
    }

    /// Payloads in the order of their BLAKE3, those after `after`.
    pub(crate) fn list(&self, after: Option<Blake3>, limit: usize) -> Result<Vec<Listed>, Error> {
        self.index.read(|tx| {
            let table = tx.open_table(PAYLOADS)?;
            let from = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_bytes()));
            let rows = table.range::<&Id>((from, Bound::Unbounded))?.take(limit.min(LIST_MAX));
            rows.map(|row| {
                let (id, row) = row?;
                self.listed(tx, id.value(), &decode("payloads.1", row.value())?)
            })
            .collect()
        })
    }

    fn listed(&self, tx: &ReadTransaction, id: &Id, row: &PayloadRow) -> Result<Listed, Error> {
        let names = entries::names_in(&tx.open_table(NAMES)?, id)?;
        let pin = tx.open_table(PINS)?.get(id)?.map(|row| decode::<PinRow>("pins.1", row.value())).transpose()?;
        let used = tx.open_table(USED)?.get(id)?.map_or(row.published_at, |ms| ms.value());
        // What the index has not been told of yet.
        let used = self.cache.used(&Blake3::new(*id)).map_or(used, |ms| ms.max(used));
        Ok(Listed {
            payload: row.payload(id),
            names: names.iter().map(|name| name_of(name)).collect::<Result<_, _>>()?,
            pinned: pin.map(|pin| Pin { by: pin.by, at: Timestamp::from_ms(pin.at) }),
            outdated: entries::is_outdated(tx, id)?,
            used_at: Timestamp::from_ms(used),
        })
    }

    /// The payload under `name`, with all that is known of it.
    pub(crate) fn show(&self, name: &Name) -> Result<Option<Listed>, Error> {
        let key = name_key(name);
        self.index.read(|tx| {
            if let Some((blake3, row, _)) = entries::look_up(tx, &key)? {
                return self.listed(tx, blake3.as_bytes(), &row).map(Some);
            }
            // To show it is to answer nobody under it: nothing need be looked at.
            let Name::Digest(Digest::Sha1(sha1)) = name else { return Ok(None) };
            let Some(blake3) = unchecked(tx, sha1)?.into_iter().next() else { return Ok(None) };
            let row = tx.open_table(PAYLOADS)?.get(blake3.as_bytes())?.map(|row| decode("payloads.1", row.value()));
            row.transpose()?.map(|row| self.listed(tx, blake3.as_bytes(), &row)).transpose()
        })
    }
}
