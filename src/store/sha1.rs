//! Names by SHA-1: only bytes that nobody can have made two files of get one.
//!
//! Looking for the traces of a collision attack costs more than all three digests together. So it is done while a payload
//! comes in only where a SHA-1 is all that is published for it. Of the others:
//! 1. One whose SHA-1 was not looked at stands under it among the *unchecked* (a table of the index).
//! 2. Whoever asks for that SHA-1 finds no name and then looks there; so does a claim that has nothing but a SHA-1. The
//!    payload is read once more, with the detection, one payload at a time.
//! 3. Clean bytes get the name and are judged by what was claimed of it. Of bytes made for a collision that is noted, and
//!    they never get it.
//! 4. A SHA-1 that an operator or a catalog published together with a stronger digest of the bytes is their name without
//!    that.

use std::sync::Arc;

use redb::{ReadTransaction, TableError};

use crate::base::digest::{Blake3, Digest, Sha1};
use crate::base::limits::WINDOW;
use crate::model::name::Name;
use crate::model::payload::{Authority, Published};
use crate::store::core::Core;
use crate::store::entries;
use crate::store::error::Error;
use crate::store::hash::CheckedSha1;
use crate::store::judge::{Sha1State, vouches_sha1};
use crate::store::publish::put_name;
use crate::store::tables::{ALIASES, AliasRow, PayloadRow, UNCHECKED, name_key, of_sha1_key, sha1_key};
use crate::store::writer::Room;

/// Payloads of one SHA-1 that one question has read. Those beyond are made to collide, and the next question reads on.
const LOOKED_AT_MAX: usize = 4;

/// The payloads with this SHA-1 that nobody has looked at yet.
pub(crate) fn unchecked(tx: &ReadTransaction, sha1: &Sha1) -> Result<Vec<Blake3>, Error> {
    let table = match tx.open_table(UNCHECKED) {
        Ok(table) => table,
        // An index that was made before there was this table, opened to be read alone.
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let (first, last) = (sha1_key(sha1.as_bytes(), &[0; 32]), sha1_key(sha1.as_bytes(), &[0xff; 32]));
    let rows = table.range::<&[u8; 52]>(&first..=&last)?.take(LOOKED_AT_MAX);
    rows.map(|row| Ok(Blake3::new(of_sha1_key(row?.0.value())))).collect()
}

/// Whether a claim that counts rests on this very SHA-1 alone, of which nobody knows yet what it is worth.
fn rests_on(row: &PayloadRow, expected: &Published) -> bool {
    expected.authority > Authority::Unauthenticated
        && expected.only_sha1()
        && expected.sha1.is_some_and(|sha1| *sha1.as_bytes() == row.sha1)
        && row.sha1_state == Sha1State::Unchecked.code()
}

impl Core {
    /// The held payloads that must be looked at before `expected`, published for `names`, says anything of them.
    pub(crate) fn to_look_at(&self, names: &[Name], expected: &Published) -> Result<Vec<Blake3>, Error> {
        let keys: Vec<_> = names.iter().map(name_key).collect();
        self.index.read(|tx| {
            let mut found = Vec::new();
            for key in &keys {
                if let Some((blake3, row, _)) = entries::look_up(tx, key)?
                    && rests_on(&row, expected)
                {
                    found.push(blake3);
                }
            }
            if expected.only_sha1()
                && let Some(sha1) = &expected.sha1
            {
                found.extend(unchecked(tx, sha1)?);
            }
            found.sort_unstable();
            found.dedup();
            Ok(found)
        })
    }

    /// Step 2. What cannot be read, or written down, stays as it was: an origin may have it.
    pub(crate) async fn look_at(self: &Arc<Self>, payloads: Vec<Blake3>) -> Result<(), Error> {
        for blake3 in payloads {
            self.writable()?;
            let turn = Arc::clone(&self.looking).lock_owned().await;
            let core = Arc::clone(self);
            let looked = self.long.run(move || {
                // Held by the work itself: who asked may be gone before it ends.
                let _turn = turn;
                core.look(blake3)
            });
            if let Err(error) = looked.await? {
                tracing::warn!(%blake3, %error, "whether its SHA-1 may be a name of a payload could not be found out");
            }
        }
        Ok(())
    }

    /// Reads one payload and writes down what its SHA-1 is worth.
    fn look(&self, blake3: Blake3) -> Result<(), Error> {
        let id = *blake3.as_bytes();
        let is_open = |row: &PayloadRow| row.sha1_state == Sha1State::Unchecked.code();
        let Some((row, _)) = self.held(&id)?.filter(|(row, _)| is_open(row)) else { return Ok(()) };
        let now = self.clock.now().ms();
        if row.expires_at.is_some_and(|end| end <= now) || self.withheld.has(&blake3) {
            return Ok(());
        }
        let (computed, collision) = self.read_checked(&blake3, row.size)?;
        if *computed.as_bytes() != row.sha1 {
            tracing::error!(%blake3, "a payload is not what it was when it came in; `waystation store verify` tells more");
            return Ok(());
        }
        let state = if collision { Sha1State::Collision } else { Sha1State::Clean };
        let name = Name::Digest(Digest::Sha1(computed));
        let (key, strong) = (name_key(&name), name_key(&Name::Digest(Digest::Blake3(blake3))));
        let tag = name.to_string();
        self.writer.write(Room::Adds, move |tx| {
            // Given up meanwhile, or looked at.
            let Some(mut row) = entries::payload(tx, &id)?.filter(is_open) else { return Ok(()) };
            row.sha1_state = state.code();
            entries::put_payload(tx, &id, &row, 0)?;
            let template = entries::alias(tx, &strong)?;
            match template {
                Some(alias) if state == Sha1State::Clean => put_name(tx, &id, &key, AliasRow { tag, ..alias }),
                _ => Ok(()),
            }
        })?;
        self.cache.drop_payload(&blake3, None);
        self.cache.drop_name(&name);
        if state == Sha1State::Clean {
            return self.judge_published(&[name], &row.digests(&id));
        }
        tracing::warn!(%blake3, %computed, "a payload was made to collide with others of its SHA-1: it is not answered under it");
        Ok(())
    }

    /// The SHA-1 of a payload, and whether its bytes bear the marks of a collision. Ends early where the store closes.
    fn read_checked(&self, blake3: &Blake3, size: u64) -> Result<(Sha1, bool), Error> {
        let path = self.layout.payload(blake3);
        let at = |error: std::io::Error| Error::at(&path, &error);
        let file = self.disk.open(&path).map_err(at)?;
        let mut running = CheckedSha1::new();
        let mut scratch = vec![0; usize::try_from(WINDOW.min(size)).map_err(|error| at(std::io::Error::other(error)))?];
        let mut from = 0;
        while from < size {
            if self.long.is_closing() {
                return Err(Error::Unavailable { why: "the store is being closed".into() });
            }
            let len = usize::try_from(WINDOW.min(size - from)).unwrap_or(scratch.len()).min(scratch.len());
            file.read_at(&mut scratch[..len], from).map_err(at)?;
            running.update(&scratch[..len]);
            from += len as u64;
        }
        Ok(running.finish())
    }

    /// Step 4, of what is held: the name is written down if it has none like it yet.
    pub(crate) fn name_by_sha1(&self, expected: &Published) -> Result<(), Error> {
        let strong = expected.sha256.map(Digest::Sha256).or(expected.blake3.map(Digest::Blake3));
        let (Some(sha1), Some(strong)) = (expected.sha1, strong) else { return Ok(()) };
        let (key, name) = (name_key(&strong.into()), Name::Digest(Digest::Sha1(sha1)));
        let short = name_key(&name);
        let held = self.index.read(|tx| {
            let named = tx.open_table(ALIASES)?.get(short.as_slice())?.is_some();
            Ok(entries::look_up(tx, &key)?.filter(|_| !named))
        })?;
        let Some((blake3, row, alias)) = held else { return Ok(()) };
        let digests = row.digests(blake3.as_bytes());
        if row.sha1_state == Sha1State::Collision.code() || !vouches_sha1(&[*expected], &digests) {
            return Ok(());
        }
        let alias = AliasRow { tag: name.to_string(), ..alias };
        self.writer.write(Room::Adds, move |tx| {
            let is_free = entries::alias(tx, &short)?.is_none();
            if is_free && entries::payload(tx, blake3.as_bytes())?.is_some() {
                entries::put_alias(tx, &short, &alias)?;
            }
            Ok(())
        })?;
        self.cache.drop_name(&name);
        Ok(())
    }
}
