//! Taking updates out that a rule says are not kept any more, and what only they bundled.
//!
//! What went is remembered with its revision: several lists name it, each with an anchor of its own, and what one of them let go of
//! another one would fetch again. A higher revision is another matter, and so is what something that is held needs. All of it is
//! forgotten when the rule ends, or keeps more than before, and when a definition update is refused for good: what it pushed out with a
//! date or number of its own making is listed again. Lists name what changed since their anchor, so that the same commit forgets the
//! anchors too: without that no list would ever name it.

use redb::{ReadableTable, ReadableTableMetadata};

use crate::model::filter::known;
use crate::model::update::{Identity, UpdateId};
use crate::store::catalog::apply::Work;
use crate::store::catalog::tables::{
    Guid, IdKey, LET_GO_KEEP, LongKey, NUMBERS, RunRow, Tables, id_key, long_key, number, of_id_key, of_long_key, read,
};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::writer::Room;

/// Updates that one transaction takes out; each has a few members.
const STEP: usize = 16;
/// Updates that are remembered, 20 bytes each: Microsoft lists some hundred definition updates at a time.
const REMEMBERED_MAX: u64 = 100_000;
/// How many are forgotten where it would be more: they are fetched once more some day, and let go of again.
const FORGET_STEP: usize = 1_000;

impl Tables<'_> {
    /// Whether another held update bundles it or names it as a prerequisite.
    pub(crate) fn is_needed(&self, id: &Guid) -> Result<bool, Error> {
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

    /// Whether a rule let go of it, in this revision or a higher one, and nothing that is held needs it.
    pub(crate) fn was_let_go(&self, identity: Identity) -> Result<bool, Error> {
        let id = identity.id.bytes();
        let gone = self.let_go.get(id)?.is_some_and(|revision| revision.value() >= identity.revision);
        Ok(gone && !self.is_needed(id)?)
    }

    /// A definition update is refused for good: others were let go of in its stead, so that none counts as let go of any more, and
    /// every list comes whole once.
    fn let_back(&mut self, w: &mut Work<'_>, identity: Identity) -> Result<(), Error> {
        let Some((_, row)) = self.held(identity)? else { return Ok(()) };
        if !row.refused && row.categories.contains(known::DEFINITION_UPDATES.bytes()) && !self.let_go.is_empty()? {
            self.let_go.retain(|_, _| false)?;
            list_anew(w, |_| true);
        }
        Ok(())
    }

    fn remember_let_go(&mut self, id: &Guid, revision: u32) -> Result<(), Error> {
        if self.let_go.len()? >= REMEMBERED_MAX {
            let first: Vec<Guid> = self
                .let_go
                .iter()?
                .take(FORGET_STEP)
                .map(|row| row.map(|(id, _)| *id.value()))
                .collect::<Result<_, _>>()?;
            for id in &first {
                self.let_go.remove(id)?;
            }
        }
        self.let_go.insert(id, revision)?;
        Ok(())
    }

    /// Takes an update out unless something needs it or a person approved it, then of its members those that nothing needs any more and that nobody can
    /// approve by themselves. Says how many updates went.
    fn let_go(&mut self, w: &mut Work<'_>, id: UpdateId, remember: bool) -> Result<u64, Error> {
        let mut went = 0;
        let mut doomed = vec![*id.bytes()];
        while let Some(id) = doomed.pop() {
            let Some(update) = self.update(&id)? else { continue };
            let Some(row) = self.revision(update.current)? else { continue };
            // The first one was chosen by who asked; the others only came along with it.
            if self.is_needed(&id)? || self.is_approved(&id)? || (went > 0 && row.deployable) {
                continue;
            }
            let members: Vec<Guid> =
                self.facts(w, update.current, &row)?.members().map(|member| *member.id.bytes()).collect();
            self.drop_update(w, &id)?;
            if remember {
                self.remember_let_go(&id, row.revision)?;
            }
            went += 1;
            doomed.extend(members);
        }
        Ok(went)
    }
}

/// These lists come whole the next time. What is on the work list stays there, and a list that is being emptied makes no anchor come
/// true.
fn list_anew(w: &mut Work<'_>, lists: impl Fn(&str) -> bool) {
    for (_, row) in w.sets.iter_mut().filter(|(name, _)| lists(name)) {
        (row.anchor, row.pending, row.listed, row.at) = (None, None, false, None);
    }
}

impl Core {
    /// As [`super::Catalog::refuse`].
    pub(crate) fn refuse(&self, identity: Identity, reason: String) -> Result<(), Error> {
        self.catalog_write(Room::Adds, move |t, w| {
            t.let_back(w, identity)?;
            t.refuse(w, identity, reason, true)
        })
        .map(drop)
    }

    /// As [`super::Catalog::let_go_under`].
    pub(crate) fn let_go_under(&self, keep: Option<u32>, lists: fn(&str) -> bool) -> Result<(), Error> {
        // 0 is no rule.
        let rule = keep.map_or(0, |keep| u64::from(keep) + 1);
        let before = self.index.read(|tx| {
            let Some(numbers) = read(tx, NUMBERS)? else { return Ok(0) };
            number(&numbers, LET_GO_KEEP)
        })?;
        if before == rule {
            return Ok(());
        }
        self.catalog_write(Room::Frees, move |t, w| {
            let before = t.number(LET_GO_KEEP)?;
            t.set_number(LET_GO_KEEP, rule)?;
            // Without a rule nobody was let go of; one that keeps more wants some of them back.
            if (rule == 0 || rule > before) && !t.let_go.is_empty()? {
                t.let_go.retain(|_, _| false)?;
                list_anew(w, lists);
            }
            Ok(())
        })
        .map(drop)
    }

    /// In small transactions, counted in the run. What was needed only by others that go, goes in a further pass. Says how many updates
    /// went, members among them.
    pub(crate) fn let_go(
        &self,
        ids: &[UpdateId],
        remember: bool,
        run: Option<u64>,
        wanted: &dyn Fn() -> bool,
    ) -> Result<u64, Error> {
        let mut gone = 0;
        loop {
            let went = self.let_go_once(ids, remember, run, wanted)?;
            gone += went;
            // Each pass takes one at least, so that this ends.
            if went == 0 {
                return Ok(gone);
            }
        }
    }

    fn let_go_once(
        &self,
        ids: &[UpdateId],
        remember: bool,
        run: Option<u64>,
        wanted: &dyn Fn() -> bool,
    ) -> Result<u64, Error> {
        let mut gone = 0;
        for step in ids.chunks(STEP) {
            if !wanted() {
                break;
            }
            let step = step.to_vec();
            let (went, _) = self.catalog_write(Room::Frees, move |t, w| {
                let mut went = 0;
                for id in step {
                    went += t.let_go(w, id, remember)?;
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
