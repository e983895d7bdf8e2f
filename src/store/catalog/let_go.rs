//! Taking updates out that a rule says are not kept any more, and what only they bundled.

use redb::ReadableTable;

use crate::model::update::UpdateId;
use crate::store::catalog::apply::Work;
use crate::store::catalog::tables::{Guid, IdKey, LongKey, RunRow, Tables, id_key, long_key, of_id_key, of_long_key};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::writer::Room;

/// Updates that one transaction takes out; each has a few members.
const STEP: usize = 16;

impl Tables<'_> {
    /// Whether another held update bundles it or names it as a prerequisite.
    fn is_needed(&self, id: &Guid) -> Result<bool, Error> {
        let (low, high) = (id_key(id, 0), id_key(id, u32::MAX));
        let bundles = self.parents.range::<&LongKey>(&long_key(&low, 0)..=&long_key(&high, u32::MAX))?;
        let bundles = bundles.map(|row| row.map(|(key, _)| of_long_key(key.value())));
        let needs = self.dependents.range::<&IdKey>(&low..=&high)?;
        let needs = needs.map(|row| row.map(|(key, _)| of_id_key(key.value()).1));
        for namer in bundles.chain(needs) {
            if self.revision(namer?)?.is_some_and(|row| row.id != *id) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes an update out unless something needs it, then of its members those that nothing needs any more and that nobody can
    /// approve by themselves. Says how many updates went.
    fn let_go(&mut self, w: &mut Work<'_>, id: UpdateId) -> Result<u64, Error> {
        let mut went = 0;
        let mut doomed = vec![*id.bytes()];
        while let Some(id) = doomed.pop() {
            let Some(update) = self.update(&id)? else { continue };
            let Some(row) = self.revision(update.current)? else { continue };
            // The first one was chosen by who asked; the others only came along with it.
            if self.is_needed(&id)? || (went > 0 && row.deployable) {
                continue;
            }
            let members: Vec<Guid> =
                self.facts(w, update.current, &row)?.members().map(|member| *member.id.bytes()).collect();
            self.drop_update(w, &id)?;
            went += 1;
            doomed.extend(members);
        }
        Ok(went)
    }
}

impl Core {
    /// In small transactions, counted in the run. What was needed only by others that go, goes in a further pass. Says how many updates
    /// went, members among them.
    pub(crate) fn let_go(&self, ids: &[UpdateId], run: Option<u64>, wanted: &dyn Fn() -> bool) -> Result<u64, Error> {
        let mut gone = 0;
        loop {
            let went = self.let_go_once(ids, run, wanted)?;
            gone += went;
            // Each pass takes one at least, so that this ends.
            if went == 0 {
                return Ok(gone);
            }
        }
    }

    fn let_go_once(&self, ids: &[UpdateId], run: Option<u64>, wanted: &dyn Fn() -> bool) -> Result<u64, Error> {
        let mut gone = 0;
        for step in ids.chunks(STEP) {
            if !wanted() {
                break;
            }
            let step = step.to_vec();
            let (went, _) = self.catalog_write(Room::Frees, move |t, w| {
                let mut went = 0;
                for id in step {
                    went += t.let_go(w, id)?;
                }
                if let Some(run) = run {
                    t.count_run(run, |row: &mut RunRow| row.counts[8] = row.counts[8].saturating_add(went))?;
                }
                Ok(went)
            })?;
            gone += went;
        }
        Ok(gone)
    }
}
