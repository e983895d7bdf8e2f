//! A publish that was cut off: finished where both files have their names, else undone.

use crate::base::digest::Blake3;
use crate::store::core::{Core, unseal};
use crate::store::error::Error;
use crate::store::filling::{drop_draft_rows, put_pieces};
use crate::store::tables::{DRAFTS, INTENTS, Id, IntentRow, PAYLOADS, PayloadRow, PiecesRow, decode};
use crate::store::writer::Room;

/// How an intent was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    Finished,
    Undone,
}

impl Core {
    /// Settles an intent that was not fulfilled. `may_finish` on open: then what has its name is known to be durable.
    pub(crate) fn settle(&self, id: Id, intent: &IntentRow, may_finish: bool) -> Result<Settled, Error> {
        let blake3 = Blake3::new(id);
        let (payload, proof) = (self.layout.payload(&blake3), self.layout.proof(&blake3));
        let (entry, has_row) = self.index.read(|tx| {
            let entry = tx.open_table(PAYLOADS)?.get(&id)?;
            let entry = entry.map(|row| decode::<PayloadRow>("payloads.1", row.value())).transpose()?;
            Ok((entry, tx.open_table(DRAFTS)?.get(intent.draft)?.is_some()))
        })?;
        self.unlink(&self.layout.draft_proof(intent.draft))?;
        let draft = self.layout.draft(intent.draft);
        let draft_moved = self.facts(&draft)?.is_none();
        if !draft_moved {
            unseal(&draft);
        }
        if let Some(entry) = entry {
            // A repair. Old or new, the file at the payload's name is whole, and the entry keeps it.
            let number = intent.draft;
            self.writer.write(Room::Frees, move |tx| {
                tx.open_table(INTENTS)?.remove(&id)?;
                if draft_moved { drop_draft_rows(tx, number) } else { Ok(()) }
            })?;
            if draft_moved {
                // Without rows and file it is no draft any more, whoever has a handle of it.
                self.forget_draft(number);
                // Whoever comes next gets the file that lies there now, not the map of the one it replaced.
                self.cache.drop_payload(&blake3, Some(entry.allocated));
            }
            return Ok(Settled::Undone);
        }
        let is_there = self.facts(&payload)?.is_some_and(|facts| facts.len == intent.payload.size);
        if is_there && may_finish && self.read_proof(&blake3).is_ok_and(|proof| proof.size == intent.payload.size) {
            // The rename came after the sync of its directory's name, by this version; by an earlier one perhaps not.
            self.make_shelf(&blake3)?;
            self.sync_dir(&self.layout.shelf(&blake3))?;
            self.enter(id, intent.clone(), || 0)?;
            return Ok(Settled::Finished);
        }
        self.unlink(&proof)?;
        // It was synced before it was renamed, so that a payload without its proof is still a complete draft.
        let comes_back = is_there && has_row && draft_moved;
        if comes_back {
            self.disk.rename(&payload, &draft).map_err(|error| Error::at(&payload, &error))?;
            unseal(&draft);
            self.sync_dir(&self.layout.drafts())?;
        }
        if self.facts(&self.layout.shelf(&blake3))?.is_some() {
            self.sync_dir(&self.layout.shelf(&blake3))?;
        }
        let (number, size, now) = (intent.draft, intent.payload.size, self.clock.now().ms());
        self.writer.write(Room::Frees, move |tx| {
            tx.open_table(INTENTS)?.remove(&id)?;
            if comes_back {
                let spans = if size > 0 { vec![(0, size)] } else { Vec::new() };
                put_pieces(tx, number, &PiecesRow { spans, demand_at: now, allocated: size })?;
            }
            Ok(())
        })?;
        Ok(Settled::Undone)
    }
}
