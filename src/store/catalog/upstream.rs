//! Where the catalog comes from, and what becomes of it when that changes.
//!
//! 1. A new upstream is *arriving*: the generation is raised, anchors and lists are forgotten, and everything that is held
//!    stays and is shown as before. What the new one lists is marked with the new generation, held or not; what is held
//!    from one that could not prove itself is fetched again from one that can.
//! 2. When its first run has committed everything, the arriving one becomes the upstream.
//! 3. Only then what it did not name is pruned, in small transactions: every update of an older generation, unless one that
//!    stays bundles it or names it as a prerequisite.

use std::collections::{BTreeMap, BTreeSet};

use redb::ReadableTable;

use crate::model::update::{Identity, Kind};
use crate::store::catalog::facts::kind_of;
use crate::store::catalog::tables::{
    ARRIVING, DEPENDENTS, GENERATION, Guid, IdKey, LongKey, NUMBERS, PARENTS, REFUSED, REFUSED_NAME, REVISIONS,
    RefusedRow, RevisionRow, RunRow, STATE, ShownRow, Tables, UPDATES, UPSTREAM, UpdateRow, UpstreamRow, id_key,
    identity_key, identity_of, long_key, number, of_id_key, of_long_key, read,
};
use crate::store::catalog::value::{Upstream, UpstreamKind};
use crate::store::catalog::work::AGAIN;
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::{decode, encode};
use crate::store::writer::Room;

/// Updates that one transaction prunes.
const PRUNE_STEP: usize = 32;
/// An address, as long as a request line may be.
const ADDRESS_MAX: usize = 8 << 10;

fn row_of(upstream: &Upstream) -> UpstreamRow {
    let kind = match upstream.kind {
        UpstreamKind::Microsoft => 1,
        UpstreamKind::Wsus => 2,
        UpstreamKind::Parent => 3,
    };
    UpstreamRow { kind, address: upstream.address.clone(), unauthenticated: upstream.unauthenticated }
}

/// An upstream of its row.
pub(crate) fn upstream_of(row: UpstreamRow) -> Result<Upstream, Error> {
    let kind = match row.kind {
        1 => UpstreamKind::Microsoft,
        2 => UpstreamKind::Wsus,
        3 => UpstreamKind::Parent,
        other => {
            return Err(Error::Row { what: format!("the catalog names upstream kind {other}, which is not known") });
        }
    };
    Ok(Upstream { kind, address: row.address, unauthenticated: row.unauthenticated })
}

impl Tables<'_> {
    fn upstream(&self, name: &str) -> Result<Option<UpstreamRow>, Error> {
        self.state.get(name)?.map(|row| decode("catalog-state.1", row.value())).transpose()
    }

    /// Who is asked now.
    pub(crate) fn source(&self) -> Result<Option<UpstreamRow>, Error> {
        Ok(self.upstream(ARRIVING)?.or(self.upstream(UPSTREAM)?))
    }
}

impl Core {
    /// Step 1; says whether it is another upstream than before.
    pub(crate) fn begin_upstream(&self, upstream: &Upstream) -> Result<bool, Error> {
        if upstream.address.len() > ADDRESS_MAX {
            let what = format!("an address of {} bytes, and {ADDRESS_MAX} is the most", upstream.address.len());
            return Err(Error::Invalid { what });
        }
        let row = row_of(upstream);
        let theirs = row.clone();
        let is_same = move |t: &Tables<'_>| Ok::<_, Error>(t.source()?.as_ref() == Some(&theirs));
        let known = self.index.read(|tx| {
            let Some(state) = read(tx, STATE)? else { return Ok(None) };
            let arriving = state.get(ARRIVING)?.or(state.get(UPSTREAM)?);
            arriving.map(|row| decode::<UpstreamRow>("catalog-state.1", row.value())).transpose()
        })?;
        if known.as_ref() == Some(&row) {
            return Ok(false);
        }
        // Before the change: cut off between the two, the old upstream only has to say everything again.
        self.reset_sets(None)?;
        self.catalog_write(Room::Adds, move |t, _| {
            if is_same(t)? {
                return Ok(false);
            }
            let generation = t.number(GENERATION)?.saturating_add(1);
            t.set_number(GENERATION, generation)?;
            // What the former one's updates pushed out may be what the new one has.
            t.let_go.retain(|_, _| false)?;
            t.state.insert(ARRIVING, encode(&row)?.as_slice())?;
            Ok(true)
        })
        .map(|(changed, _)| changed)
    }

    /// Whether an upstream is arriving that has named no update at all, only categories, where updates are held.
    fn names_nothing(&self) -> Result<bool, Error> {
        self.index.read(|tx| {
            let (Some(updates), Some(revisions), Some(numbers), Some(state)) =
                (read(tx, UPDATES)?, read(tx, REVISIONS)?, read(tx, NUMBERS)?, read(tx, STATE)?)
            else {
                return Ok(false);
            };
            if state.get(ARRIVING)?.is_none() {
                return Ok(false);
            }
            let generation = number(&numbers, GENERATION)?;
            let mut held = false;
            for row in updates.iter()? {
                let row: UpdateRow = decode("catalog-updates.1", row?.1.value())?;
                let Some(revision) = revisions.get(row.current)? else { continue };
                let revision: ShownRow<'_> = decode("catalog-revisions.1", revision.value())?;
                if !matches!(kind_of(revision.kind)?, Kind::Software | Kind::Driver) {
                    continue;
                }
                if row.generation == generation {
                    return Ok(false);
                }
                held = true;
            }
            Ok(held)
        })
    }

    /// Step 2; refused while anything of a list is still to come, and where all that is held would go.
    pub(crate) fn settle_upstream(&self) -> Result<bool, Error> {
        if self.names_nothing()? {
            let what = "the new upstream has named categories and not one update: nothing that is held is given up for that; look at \
                        the filters and at what the upstream has, or go back to the former one"
                .into();
            return Err(Error::Invalid { what });
        }
        self.catalog_write(Room::Adds, |t, w| {
            let Some(row) = t.upstream(ARRIVING)? else { return Ok(false) };
            // What was pardoned meanwhile waits for the next run.
            let mut lists = w.sets.iter().filter(|(name, _)| *name != AGAIN);
            if let Some((name, row)) = lists.find(|(_, row)| row.pending.is_some() || row.wanted > 0) {
                let what = format!("filter set {name:?} still waits for {} revisions: finish a run first", row.wanted);
                return Err(Error::Invalid { what });
            }
            if w.sets.values().all(|row| row.anchor.is_none()) {
                return Err(Error::Invalid { what: "the new upstream has not sent anything yet".into() });
            }
            t.state.insert(UPSTREAM, encode(&row)?.as_slice())?;
            t.state.remove(ARRIVING)?;
            Ok(true)
        })
        .map(|(changed, _)| changed)
    }

    /// Step 3. Says how many updates went; none while an upstream is arriving. Stops early where nobody waits any more.
    pub(crate) fn prune(&self, run: Option<u64>, wanted: &dyn Fn() -> bool) -> Result<u64, Error> {
        let doomed: Vec<Guid> = self.to_prune()?.into_iter().collect();
        let mut pruned = 0;
        for step in doomed.chunks(PRUNE_STEP) {
            if !wanted() {
                break;
            }
            let step = step.to_vec();
            let (went, _) = self.catalog_write(Room::Frees, move |t, w| {
                if t.upstream(ARRIVING)?.is_some() {
                    return Ok(0);
                }
                let mut went = 0;
                for id in step {
                    // It may have been named since.
                    if t.update(&id)?.is_some_and(|row| row.generation < w.generation) {
                        t.drop_update(w, &id)?;
                        went += 1;
                    }
                }
                if let Some(run) = run {
                    t.count_run(run, |row: &mut RunRow| row.counts[8] = row.counts[8].saturating_add(went))?;
                }
                Ok(went)
            })?;
            pruned += went;
        }
        self.forget_refusals(wanted)?;
        Ok(pruned)
    }

    /// What a former upstream spoilt and this one never named is told no longer; what a person or a comparison refused stays.
    fn forget_refusals(&self, wanted: &dyn Fn() -> bool) -> Result<(), Error> {
        let is_past = |row: &RefusedRow, generation: u64| !row.stays && row.generation < generation;
        let past: Vec<Identity> = self.index.read(|tx| {
            let (Some(refused), Some(numbers), Some(state)) =
                (read(tx, REFUSED)?, read(tx, NUMBERS)?, read(tx, STATE)?)
            else {
                return Ok(Vec::new());
            };
            let (generation, mut past) = (number(&numbers, GENERATION)?, Vec::new());
            if state.get(ARRIVING)?.is_some() {
                return Ok(past);
            }
            for row in refused.iter()? {
                let (key, row) = row?;
                let row: RefusedRow = decode(REFUSED_NAME, row.value())?;
                if is_past(&row, generation) {
                    past.push(identity_of(key.value()));
                }
            }
            Ok(past)
        })?;
        for step in past.chunks(PRUNE_STEP) {
            if !wanted() {
                break;
            }
            let step = step.to_vec();
            self.catalog_write(Room::Frees, move |t, w| {
                for identity in step {
                    // It may have been named since.
                    let is_past = t.refusal(identity)?.is_some_and(|row| is_past(&row, w.generation));
                    if is_past && t.held(identity)?.is_none() {
                        t.refused.remove(&identity_key(identity))?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn to_prune(&self) -> Result<BTreeSet<Guid>, Error> {
        self.index.read(|tx| {
            let (Some(updates), Some(numbers), Some(state)) =
                (read(tx, UPDATES)?, read(tx, NUMBERS)?, read(tx, STATE)?)
            else {
                return Ok(BTreeSet::new());
            };
            let (Some(parents), Some(dependents), Some(revisions), Some(refused)) =
                (read(tx, PARENTS)?, read(tx, DEPENDENTS)?, read(tx, REVISIONS)?, read(tx, REFUSED)?)
            else {
                return Ok(BTreeSet::new());
            };
            if state.get(ARRIVING)?.is_some() {
                return Ok(BTreeSet::new());
            }
            let generation = number(&numbers, GENERATION)?;
            let mut old = BTreeSet::new();
            for row in updates.iter()? {
                let (id, row) = row?;
                let row: UpdateRow = decode("catalog-updates.1", row.value())?;
                if row.generation < generation {
                    old.insert(*id.value());
                }
            }
            // An update of which a revision was named and refused is known still: what is held of it is all that there is.
            for row in refused.iter()? {
                let (key, row) = row?;
                let row: RefusedRow = decode(REFUSED_NAME, row.value())?;
                if row.generation == generation {
                    old.remove(&of_id_key(key.value()).0);
                }
            }
            // Who stays because one that stays names it; and of the others, who would stay if the key did.
            let mut stays = Vec::new();
            let mut held_by: BTreeMap<Guid, Vec<Guid>> = BTreeMap::new();
            for id in &old {
                let mut namers = BTreeSet::new();
                let (low, high) = (id_key(id, 0), id_key(id, u32::MAX));
                let bundles = parents.range::<&LongKey>(&long_key(&low, 0)..=&long_key(&high, u32::MAX))?;
                let bundles = bundles.map(|row| row.map(|(key, _)| of_long_key(key.value())));
                let needs = dependents.range::<&IdKey>(&low..=&high)?;
                let needs = needs.map(|row| row.map(|(key, _)| of_id_key(key.value()).1));
                for namer in bundles.chain(needs) {
                    let Some(row) = revisions.get(namer?)? else { continue };
                    let row: RevisionRow = decode("catalog-revisions.1", row.value())?;
                    if !old.contains(&row.id) {
                        stays.push(*id);
                        break;
                    }
                    namers.insert(row.id);
                }
                for namer in namers {
                    held_by.entry(namer).or_default().push(*id);
                }
            }
            while let Some(id) = stays.pop() {
                if old.remove(&id) {
                    stays.extend(held_by.remove(&id).unwrap_or_default());
                }
            }
            Ok(old)
        })
    }
}
