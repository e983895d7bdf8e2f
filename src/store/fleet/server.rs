//! Who this server is to endpoints, and the keys of its cookies.
//!
//! 1. The id is made once, and stays through restores. What a restore takes back is told by the store's epoch, which rises.
//! 2. The newest key signs; it has no end. The former ones open until the end that was set when the next one came.
//! 3. A key of which the end has passed is not handed out, and goes with the next rotation. Numbers are never used again, since
//!    the newest is always there.

use std::time::Duration;

use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use crate::base::secret::Key;
use crate::base::time::Timestamp;
use crate::model::update::UpdateId;
use crate::store::catalog::tables::read as table;
use crate::store::error::Error;
use crate::store::fleet::tables::{KEYS, KeyRow, SERVER, SERVER_ID};
use crate::store::fleet::value::{CookieKey, Server};
use crate::store::identity;
use crate::store::tables::{META, META_EPOCH, decode, encode};

/// Former keys that still open; each is tried by number alone, so that this bounds what is kept, not what a cookie costs.
pub const FORMER_MAX: usize = 8;

const TABLE: &str = "fleet-keys.1";

/// What chance gives, taken before the writer's thread has anything to do with it.
pub(super) struct Fresh {
    id: [u8; 16],
    key: Key,
}

impl Fresh {
    pub(super) fn new() -> Result<Self, Error> {
        let mut id = identity::fresh()?;
        // A random GUID (RFC 9562, 5.4): version 4, in the order in which the bytes are written out.
        id[6] = (id[6] & 0x0f) | 0x40;
        id[8] = (id[8] & 0x3f) | 0x80;
        let mut key = [0; 32];
        getrandom::fill(&mut key)
            .map_err(|error| Error::Io(std::io::Error::other(format!("no random numbers: {error}"))))?;
        Ok(Self { id, key: Key::new(key) })
    }

    fn row(&self, now: Timestamp) -> Result<Vec<u8>, Error> {
        encode(&KeyRow { key: *self.key.expose(), made: now.ms(), until: None })
    }
}

fn id_of(bytes: &[u8]) -> Result<UpdateId, Error> {
    let bytes = bytes.try_into().map_err(|_| Error::Row { what: "the server's id has not 16 bytes".into() })?;
    Ok(UpdateId::new(bytes))
}

fn epoch_of(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<u64, Error> {
    let row = meta.get(META_EPOCH)?;
    Ok(row.and_then(|row| row.value().try_into().ok()).map_or(0, u64::from_le_bytes))
}

/// `None`: there is no key, or no id yet.
fn server(
    ids: &impl ReadableTable<&'static str, &'static [u8]>,
    keys: &impl ReadableTable<u32, &'static [u8]>,
    epoch: u64,
    now: Timestamp,
) -> Result<Option<Server>, Error> {
    let Some(id) = ids.get(SERVER_ID)?.map(|row| id_of(row.value())).transpose()? else { return Ok(None) };
    let (mut signs, mut opens) = (None, Vec::new());
    for row in keys.iter()? {
        let (number, row) = row?;
        let row: KeyRow = decode(TABLE, row.value())?;
        let key = CookieKey { number: number.value(), key: Key::new(row.key), made: Timestamp::from_ms(row.made) };
        match row.until {
            None => signs = Some(key),
            Some(until) if until > now.ms() => opens.push(key),
            Some(_) => {}
        }
    }
    opens.reverse();
    Ok(signs.map(|signs| Server { id, epoch, signs, opens }))
}

pub(super) fn read(tx: &ReadTransaction, now: Timestamp) -> Result<Option<Server>, Error> {
    let (Some(ids), Some(keys), Some(meta)) = (table(tx, SERVER)?, table(tx, KEYS)?, table(tx, META)?) else {
        return Ok(None);
    };
    server(&ids, &keys, epoch_of(&meta)?, now)
}

/// Two that ask at once get the same.
pub(super) fn make(tx: &WriteTransaction, fresh: &Fresh, now: Timestamp) -> Result<Server, Error> {
    let (mut ids, mut keys) = (tx.open_table(SERVER)?, tx.open_table(KEYS)?);
    let epoch = epoch_of(&tx.open_table(META)?)?;
    if let Some(server) = server(&ids, &keys, epoch, now)? {
        return Ok(server);
    }
    if ids.get(SERVER_ID)?.is_none() {
        ids.insert(SERVER_ID, fresh.id.as_slice())?;
    }
    let number = keys.last()?.map_or(1, |(number, _)| number.value().saturating_add(1));
    keys.insert(number, fresh.row(now)?.as_slice())?;
    server(&ids, &keys, epoch, now)?.ok_or(Error::Gone)
}

pub(super) fn rotate(tx: &WriteTransaction, fresh: &Fresh, now: Timestamp, overlap: Duration) -> Result<Server, Error> {
    // Where there is none yet, the one that is made is as good as a new one.
    let was_there = read_written(tx, now)?;
    let made = make(tx, fresh, now)?;
    if !was_there {
        return Ok(made);
    }
    let mut keys = tx.open_table(KEYS)?;
    let mut former: Vec<(u32, KeyRow)> = Vec::new();
    for row in keys.iter()? {
        let (number, row) = row?;
        former.push((number.value(), decode(TABLE, row.value())?));
    }
    let next = former.last().map_or(1, |(number, _)| number.saturating_add(1));
    let mut left = FORMER_MAX;
    for (number, mut row) in former.into_iter().rev() {
        let until = row.until.unwrap_or_else(|| now.after(overlap).ms());
        if until > now.ms() && left > 0 {
            left -= 1;
            row.until = Some(until);
            keys.insert(number, encode(&row)?.as_slice())?;
        } else {
            keys.remove(number)?;
        }
    }
    keys.insert(next, fresh.row(now)?.as_slice())?;
    drop(keys);
    make(tx, fresh, now)
}

fn read_written(tx: &WriteTransaction, now: Timestamp) -> Result<bool, Error> {
    Ok(server(&tx.open_table(SERVER)?, &tx.open_table(KEYS)?, 0, now)?.is_some())
}
