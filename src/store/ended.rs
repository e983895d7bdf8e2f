//! How a draft's life ends: published, thrown away, or in quarantine.

use std::sync::Arc;

use redb::ReadableTable;

use crate::model::name::Name;
use crate::model::payload::Alias;
use crate::store::cache::Found;
use crate::store::drafts::Proved;
use crate::store::error::{Error, is_full};
use crate::store::filling::{DraftState, Phase, drop_draft_rows, raise_generation, spec_of};
use crate::store::publish::Finished;
use crate::store::quarantine::why_of;
use crate::store::remove::put_quarantine;
use crate::store::space::shift;
use crate::store::tables::{DRAFTS, DraftRow, decode, name_key};
use crate::store::writer::Room;

impl DraftState {
    pub(super) fn publish(&self, proved: &Proved, aliases: Vec<(Name, Alias)>) -> Result<Found, Error> {
        // Nothing else may happen to the draft meanwhile; readers of its file are not held up.
        let mut phase = self.set_phase();
        let ready = match &*phase {
            Phase::Proved(ready) if ready.hashed.digests == proved.digests => Arc::clone(ready),
            Phase::Gone => return Err(Error::Gone),
            _ => return Err(Error::Invalid { what: "a draft is proved before it is published".into() }),
        };
        let (spec, repairs) = {
            let row = self.row();
            (spec_of(self.name.clone(), &row), row.repairs)
        };
        let own = Alias {
            tag: spec.tag,
            last_modified: spec.last_modified,
            validators: spec.validators,
            freshness: spec.freshness,
        };
        // A repair was never answered under a name of its own: the names of the payload stay as they are.
        let mut names = if repairs.is_some() { Vec::new() } else { vec![(self.name.clone(), own)] };
        names.extend(aliases);
        let judged: Vec<Name> = names.iter().map(|(name, _)| name).chain([&self.name]).cloned().collect();
        let finished = Finished {
            draft: self.id,
            file: &self.file,
            hashed: &ready.hashed,
            sha1: ready.sha1,
            sha1_vouched: ready.sha1_vouched,
            verdict: ready.verdict,
            names,
            repairs,
            imported: None,
        };
        if let Err(error) = self.core.publish(&finished) {
            // A sync that failed fails for good; where it is fine, or the disk was merely full, it can be tried again.
            if self.file.sync().is_err_and(|error| !is_full(&error)) {
                *phase = Phase::Gone;
                drop(phase);
                self.give_up();
            } else if !self.core.book.has(self.id) {
                // Its file is the payload's by now, though the commit failed: there is nothing to publish again.
                *phase = Phase::Gone;
                drop(phase);
                self.let_go();
            }
            return Err(error);
        }
        *phase = Phase::Gone;
        drop(phase);
        self.core.forget_draft(self.id);
        self.let_go();
        self.core.judge_published(&judged, &ready.hashed.digests)?;
        self.core.find(&self.name, false)?.ok_or(Error::Gone)
    }

    pub(super) fn discard(&self) -> Result<(), Error> {
        let mut phase = self.set_phase();
        match *phase {
            Phase::Gone => return Ok(()),
            Phase::Proving => return Err(Error::Busy { queued: 1 }),
            Phase::Filling | Phase::Proved(_) => *phase = Phase::Gone,
        }
        drop(phase);
        let dropped = self.core.drop_draft(self.id);
        self.let_go();
        dropped
    }

    /// The rows first: after a crash in between the file is swept, and the generation stands.
    pub(super) fn quarantine(&self, why: &str) -> Result<(), Error> {
        let mut phase = self.set_phase();
        if matches!(*phase, Phase::Gone) {
            return Err(Error::Gone);
        }
        *phase = Phase::Gone;
        drop(phase);
        let core = &self.core;
        let allocated = self.file.allocated().unwrap_or(0);
        let (id, place, at) = (self.id, core.next_id(), core.clock.now().ms());
        let (name, origin, why) = (
            name_key(&self.name),
            match &self.name {
                Name::Origin(key) => Some(key.to_string()),
                Name::Digest(_) => None,
            },
            why.to_owned(),
        );
        let why = core.writer.write(Room::Frees, move |tx| {
            let row =
                tx.open_table(DRAFTS)?.get(id)?.map(|row| decode::<DraftRow>("drafts.1", row.value())).transpose()?;
            // Under a digest it was filled from a place.
            let place_of = |row: &DraftRow| row.places.first().map(|place| place.location().url);
            let url = origin.or_else(|| row.as_ref().and_then(place_of));
            let why = why_of(&why, url.as_deref().map(|url| url.split_once("://").map_or(url, |(_, rest)| rest)));
            drop_draft_rows(tx, id)?;
            raise_generation(tx, &name, |old| old.saturating_add(1))?;
            put_quarantine(tx, place, at, allocated, &why)?;
            Ok(why)
        })?;
        let was_draft = core.book.take(self.id).unwrap_or(0);
        core.sums.change(|sums| {
            shift(&mut sums.quarantine, allocated, 0);
            shift(&mut sums.drafts, 0, was_draft);
        });
        self.let_go();
        core.explain(place, &format!("draft of {}\n{why}\n", self.name))?;
        let to = core.layout.quarantined(place, "");
        core.disk.rename(self.file.path(), &to).map_err(|error| Error::at(&to, &error))?;
        core.sync_dir(&core.layout.quarantine())
    }
}
