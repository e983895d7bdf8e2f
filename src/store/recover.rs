//! What opening mends after a crash. Looked at are intents, doomed rows and `drafts/`, and nothing else: a million
//! payloads cost nothing.
//!
//! 1. Doomed rows are finished.
//! 2. Intents are settled: finished where both files have their names, else undone.
//! 3. Drafts whose file is gone lose their rows; files without a row are swept; a file that was being taken over from
//!    the administrator goes back to where it came from, also where the rows are lost.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use redb::{ReadTransaction, ReadableTable, TableDefinition};
use serde::de::DeserializeOwned;

use crate::base::digest::Blake3;
use crate::base::disk::Facts;
use crate::store::Opened;
use crate::store::core::{Core, unseal};
use crate::store::error::Error;
use crate::store::filling::drop_draft_rows;
use crate::store::layout::{Part, draft_id};
use crate::store::quota::line_of;
use crate::store::settle::Settled;
use crate::store::space::shift;
use crate::store::tables::{
    DOOMED, DRAFTS, DoomedRow, DraftRow, INTENTS, Id, IntentRow, PIECES, PiecesRow, QUARANTINE, decode, name_of,
};
use crate::store::writer::Room;

/// A path that names no file, since Linux takes none that is longer (PATH_MAX).
const PATH_BYTES_MAX: usize = 4096;

/// All rows of a table that is known to be small.
pub(crate) fn rows<T: DeserializeOwned>(
    tx: &ReadTransaction,
    table: TableDefinition<'static, &'static Id, &'static [u8]>,
    label: &str,
) -> Result<Vec<(Id, T)>, Error> {
    let table = tx.open_table(table)?;
    table
        .iter()?
        .map(|row| {
            let (id, row) = row?;
            Ok((*id.value(), decode(label, row.value())?))
        })
        .collect()
}

impl Core {
    /// Steps 1 to 3, and the numbers that start above everything known. Read-only stores only count.
    pub(crate) fn recover(&self, opened: &mut Opened, may_write: bool) -> Result<(), Error> {
        self.index.read(|tx| self.sums.load(tx))?;
        self.index.read(|tx| self.withheld.load(tx))?;
        let last = self.index.read(|tx| {
            let draft = tx.open_table(DRAFTS)?.last()?.map(|(id, _)| id.value());
            let place = tx.open_table(QUARANTINE)?.last()?.map(|(id, _)| id.value());
            Ok(draft.max(place))
        })?;
        self.next.fetch_max(last.map_or(1, |id| id.saturating_add(1)), Ordering::Relaxed);
        if !may_write {
            return Ok(());
        }
        let doomed = self.index.read(|tx| rows::<DoomedRow>(tx, DOOMED, "doomed.1"))?;
        opened.deletes_finished = doomed.len() as u64;
        for (_, row) in &doomed {
            if let Some((place, _)) = &row.quarantine {
                self.next.fetch_max(place.saturating_add(1), Ordering::Relaxed);
            }
        }
        if self.finish_doomed(doomed.clone()).is_err() {
            // One of them cannot be finished now; the others can.
            for row in doomed {
                let bytes = row.1.allocated;
                if let Err(error) = self.finish_doomed(vec![row]) {
                    tracing::warn!(%error, "a delete that was cut off is tried again later");
                    // At least a byte, so that it is.
                    self.sums.change(|sums| shift(&mut sums.doomed, bytes.max(1), 0));
                    opened.deletes_finished -= 1;
                }
            }
        }
        for (id, intent) in self.index.read(|tx| rows::<IntentRow>(tx, INTENTS, "intents.1"))? {
            let settled = match self.settle(id, &intent, true) {
                Ok(settled) => settled,
                Err(error) => {
                    tracing::warn!(%error, "a publish that was cut off stays so until the next start");
                    continue;
                }
            };
            tracing::info!(blake3 = %Blake3::new(id), ?settled, "a publish that was cut off");
            match settled {
                Settled::Finished => opened.intents_finished += 1,
                Settled::Undone => opened.intents_undone += 1,
            }
        }
        self.recover_drafts(opened)
    }

    /// Step 3.
    fn recover_drafts(&self, opened: &mut Opened) -> Result<(), Error> {
        let mut known: HashMap<u64, (DraftRow, PiecesRow)> = self.index.read(|tx| {
            let pieces = tx.open_table(PIECES)?;
            let drafts = tx.open_table(DRAFTS)?;
            drafts
                .iter()?
                .map(|row| {
                    let (id, row) = row?;
                    let pieces = pieces.get(id.value())?.map(|row| decode("pieces.1", row.value())).transpose()?;
                    Ok((id.value(), (decode("drafts.1", row.value())?, pieces.unwrap_or_default())))
                })
                .collect::<Result<_, Error>>()
        })?;
        let folder = self.layout.drafts();
        let mut homes = Vec::new();
        for (path, facts) in self.disk.list(&folder).map_err(|error| Error::at(&folder, &error))? {
            let Some((id, part)) = draft_id(&path) else {
                tracing::warn!(path = %path.display(), "a file that is not ours lies in drafts/; it is left alone");
                continue;
            };
            self.next.fetch_max(id.saturating_add(1), Ordering::Relaxed);
            if facts.is_dir {
                tracing::warn!(path = %path.display(), "a directory that is not ours lies in drafts/; it is left alone");
                continue;
            }
            let row = match part {
                Part::Draft => known.remove(&id),
                Part::Proof => None,
                Part::Home => {
                    homes.push(id);
                    continue;
                }
            };
            if let Err(error) = self.recover_draft(&path, id, facts, row, opened) {
                tracing::warn!(path = %path.display(), %error, "a draft cannot be mended; it is left until the next start");
            }
        }
        for id in homes {
            // Of what went back it is gone; where a file could not go back, the next start tries again.
            let lies = self.facts(&self.layout.draft(id))?.is_some() && !self.book.has(id);
            if !lies && let Err(error) = self.unlink(&self.layout.draft_home(id)) {
                tracing::warn!(draft = id, %error, "what is left of an import stays until the next start");
            }
        }
        for id in known.into_keys() {
            match self.writer.write(Room::Frees, move |tx| drop_draft_rows(tx, id)) {
                Ok(()) => opened.drafts_swept += 1,
                Err(error) => tracing::warn!(draft = id, %error, "the row of a draft without a file stays"),
            }
        }
        Ok(())
    }

    /// Step 3 for one file of `drafts/`.
    fn recover_draft(
        &self,
        path: &Path,
        id: u64,
        facts: Facts,
        row: Option<(DraftRow, PiecesRow)>,
        opened: &mut Opened,
    ) -> Result<(), Error> {
        let Some((row, pieces)) = row else {
            // The index is another one than that which knew it, after a rebuild or a restore.
            if *path == self.layout.draft(id)
                && let Some(home) = self.home_of(id)?
            {
                self.give_back(id, &home)?;
                opened.drafts_swept += 1;
                return Ok(());
            }
            self.unlink(path)?;
            opened.drafts_swept += 1;
            return Ok(());
        };
        if let Some(home) = &row.taken_from {
            // Without a home it is a copy of a file that still lies where it was.
            if home.is_empty() {
                self.sweep(id)?;
            } else {
                self.give_back(id, &PathBuf::from(OsStr::from_bytes(home)))?;
            }
            opened.drafts_swept += 1;
            return Ok(());
        }
        if facts.len != row.size {
            if !pieces.spans.is_empty() {
                self.sweep(id)?;
                opened.drafts_swept += 1;
                return Ok(());
            }
            // Its length was set and not yet synced; nothing was in it.
            let set = self.disk.open_write(path).and_then(|file| file.set_len(row.size));
            set.map_err(|error| Error::at(path, &error))?;
        }
        let mut line = line_of(name_of(&row.name)?, &row, &pieces);
        line.allocated = facts.allocated;
        line.demand_at = line.demand_at.max(crate::base::time::Timestamp::from_ms(row.started_at));
        self.sums.change(|sums| shift(&mut sums.drafts, facts.allocated, 0));
        self.book.insert(id, line);
        opened.drafts_kept += 1;
        Ok(())
    }

    /// Where the file of draft `id` came from, if it was moved here.
    fn home_of(&self, id: u64) -> Result<Option<PathBuf>, Error> {
        let path = self.layout.draft_home(id);
        let Some(facts) = self.facts(&path)? else { return Ok(None) };
        // It was whole before the file was moved: one that is not is damaged, and then nothing is deleted.
        let damaged = || Error::Io(io::Error::other(format!("{} names no place to go back to", path.display())));
        let len =
            usize::try_from(facts.len).ok().filter(|len| (1..=PATH_BYTES_MAX).contains(len)).ok_or_else(damaged)?;
        let mut bytes = vec![0; len];
        self.disk.open(&path).and_then(|file| file.read_at(&mut bytes, 0)).map_err(|error| Error::at(&path, &error))?;
        let home = PathBuf::from(OsStr::from_bytes(&bytes));
        if home.is_absolute() { Ok(Some(home)) } else { Err(damaged()) }
    }

    fn sweep(&self, id: u64) -> Result<(), Error> {
        self.writer.write(Room::Frees, move |tx| drop_draft_rows(tx, id))?;
        self.unlink(&self.layout.draft(id))
    }

    /// Puts a file that was to be taken over back to where it came from; where something else lies there by now, beside
    /// it as `<name>.returned`.
    pub(crate) fn give_back(&self, id: u64, home: &Path) -> Result<(), Error> {
        let here = self.layout.draft(id);
        let mut place = home.to_owned();
        if let (Some(folder), Some(name)) = (home.parent(), home.file_name())
            && self.facts(folder)?.is_none()
        {
            // Its directory is gone; the file must not go with it.
            place = self.layout.root().join(name);
            tracing::warn!(path = %place.display(), "the directory of an interrupted import is gone; its file lies here");
        }
        if self.facts(&place)?.is_some() {
            place.as_mut_os_string().push(".returned");
            tracing::warn!(path = %place.display(), "the place of an interrupted import is taken; its file lies here");
        }
        unseal(&here);
        self.disk.rename(&here, &place).map_err(|error| Error::at(&place, &error))?;
        if let Some(folder) = place.parent() {
            self.sync_dir(folder)?;
        }
        self.unlink(&self.layout.draft_home(id))?;
        tracing::info!(path = %place.display(), "the file of an import that did not end lies where it was");
        self.writer.write(Room::Frees, move |tx| drop_draft_rows(tx, id))
    }
}
