//! The work list of a sync and its anchors, in the same transactions as the data.
//!
//! An upstream gives its list once and never in pages, so the list is kept: what is still to be fetched of it outlives the
//! process. 1. A list is opened with the anchor that it stands for, which is pending from then on. 2. Its identities are put
//! in; what is held is left out and counts as named. A list names everything that there is, and nearly all of it is held and
//! was named before: that much of it is settled by snapshots, and only the rest by transactions. 3. It is closed. 4. Every revision that is taken or refused leaves the
//! list; the transaction that takes the last one makes the pending anchor the anchor. Nothing else ever sets an anchor.

use std::collections::BTreeMap;
use std::time::Duration;

use redb::ReadableTable;

use crate::model::update::Identity;
use crate::store::catalog::along::Along;
use crate::store::catalog::apply::Work;
use crate::store::catalog::tables::{
    ARRIVING, GENERATION, IDENTITIES, NUMBERS, REFUSED, REFUSED_NAME, RefusedRow, SETS, STATE, SetRow, Tables, UPDATES,
    UPSTREAM, UpdateRow, UpstreamRow, WANTED, identity_key, identity_of, number, of_wanted_key, read, wanted_key,
};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::{decode, encode};
use crate::store::writer::Room;

/// Filter sets: one for categories and one for each filter that was ever synchronised.
const SETS_MAX: usize = 64;
/// Its name is made of short words or a digest.
const SET_NAME_MAX: usize = 128;
/// An anchor is a counter and a time; nobody's has more than some hundred bytes.
const ANCHOR_MAX: usize = 4 << 10;
/// Revisions on one work list; the largest catalog known has less than a tenth of it.
const WANTED_MAX: u64 = 8 << 20;
/// Identities put in or taken out by one transaction.
pub(crate) const LIST_STEP: usize = 1000;
/// Identities that one snapshot compares with what is held.
const COMPARE_STEP: usize = 50_000;

/// The list of what was refused and is asked for once more, and of what was pardoned: no upstream's list names it again.
pub(crate) const AGAIN: &str = "again";
/// How long after it was refused for the first, second .. time a revision is asked for again: at the next run, since a proxy or a
/// server may have had a bad hour; and ever more seldom, since most of what is broken stays so.
const AGAIN_AFTER: [Duration; 4] =
    [Duration::ZERO, Duration::from_hours(24), Duration::from_hours(7 * 24), Duration::from_hours(30 * 24)];

fn invalid(what: String) -> Error {
    Error::Invalid { what }
}

fn not_open(set: &str) -> Error {
    invalid(format!("no list of filter set {set:?} is open"))
}

/// Why a revision is to be put on a list.
#[derive(Clone, Copy, Debug)]
enum Why {
    /// The upstream's list names it, as all that there is.
    Listed,
    /// The upstream's list names it as what changed since the last one.
    News,
    /// A bundle names it.
    Member,
    /// It was refused some time ago.
    Again,
}

impl RefusedRow {
    /// Whether it stays refused when it is named again: another upstream, or one that proves itself, may send something better.
    pub(crate) fn holds(&self, w: &Work<'_>) -> bool {
        self.holds_for(w.generation, w.unauthenticated, w.is_publisher)
    }

    /// What a comparison refused was found unlike what its publisher has: that does not bind the publisher itself, where it is asked
    /// later and can prove that it is.
    pub(crate) fn holds_for(&self, generation: u64, unauthenticated: bool, is_publisher: bool) -> bool {
        let is_same = self.generation == generation;
        (self.stays && (is_same || !is_publisher || unauthenticated))
            || (is_same && (!self.unauthenticated || unauthenticated))
    }

    /// Whether it is to be asked for again of itself: what spoilt it may have passed.
    fn is_due(&self, generation: u64, now: u64) -> bool {
        let at = usize::try_from(self.tries.saturating_sub(1)).unwrap_or(usize::MAX);
        let wait = AGAIN_AFTER.get(at).or(AGAIN_AFTER.last()).copied().unwrap_or_default();
        !self.stays && self.generation == generation && Duration::from_millis(now.saturating_sub(self.at)) >= wait
    }
}

impl SetRow {
    /// Whether a list is being put in.
    fn is_open(&self) -> bool {
        self.pending.is_some() && !self.listed
    }
}

/// Refuses a name that cannot be one.
pub(crate) fn check_set(set: &str) -> Result<(), Error> {
    if set.is_empty() || set.len() > SET_NAME_MAX || set.contains('\0') {
        return Err(invalid(format!("a filter set needs a name of 1 to {SET_NAME_MAX} bytes without zero bytes")));
    }
    Ok(())
}

/// Refuses an anchor that no upstream gives.
pub(crate) fn check_anchor(anchor: &str) -> Result<(), Error> {
    if anchor.len() > ANCHOR_MAX {
        return Err(invalid(format!("an anchor of {} bytes, and {ANCHOR_MAX} is the most", anchor.len())));
    }
    Ok(())
}

impl Tables<'_> {
    pub(crate) fn load_sets(&self) -> Result<BTreeMap<String, SetRow>, Error> {
        self.sets
            .iter()?
            .map(|row| {
                let (name, row) = row?;
                Ok((name.value().to_owned(), decode("catalog-sets.1", row.value())?))
            })
            .collect()
    }

    /// Step 4, at the end of every transaction that touched the list.
    pub(crate) fn store_sets(&mut self, w: &mut Work<'_>) -> Result<(), Error> {
        for (name, row) in &mut w.sets {
            if row.listed
                && row.wanted == 0
                && let Some(anchor) = row.pending.take()
            {
                (row.anchor, row.listed, row.at) = (Some(anchor), false, Some(w.now));
                w.applied.anchored.push(name.clone());
            }
            if w.sets_before.get(name) != Some(row) {
                self.sets.insert(name.as_str(), encode(row)?.as_slice())?;
            }
        }
        Ok(())
    }

    /// An upstream's list names a revision: puts it on the work list unless it is held as well as it could be, or refused. What
    /// was refused for what may pass, and is named as news, is asked for again. Says whether it is new there.
    fn want(&mut self, w: &mut Work<'_>, set: &str, identity: Identity, is_news: bool) -> Result<bool, Error> {
        if let Some(refusal) = self.refusal(identity)?
            && refusal.holds(w)
            && (refusal.stays || !is_news)
        {
            if refusal.generation != w.generation {
                // It is named, so that what is held of the update in its stead is not pruned.
                let row = RefusedRow { generation: w.generation, ..refusal };
                self.refused.insert(&identity_key(identity), encode(&row)?.as_slice())?;
            }
            return Ok(false);
        }
        if self.was_let_go(identity)? {
            return Ok(false);
        }
        if let Some((_, row)) = self.held(identity)? {
            // A list names the highest revision that there is: one that is held for a bundle alone is to be the current one.
            let is_lower = !row.current && self.update(&row.id)?.is_some_and(|update| w.outranks(&update));
            if !is_lower {
                self.mark(w, &row.id)?;
                // One that a comparison refused, and that this upstream can vouch for, is fetched anew: that takes the refusal off.
                if (!row.unauthenticated || w.unauthenticated) && !row.refused {
                    return Ok(false);
                }
            }
        }
        self.put(w, set, identity)
    }

    /// The same for a member that a bundle names: that says nothing of which revision is the highest.
    pub(crate) fn want_member(&mut self, w: &mut Work<'_>, set: &str, identity: Identity) -> Result<bool, Error> {
        if self.refusal(identity)?.is_some_and(|refusal| refusal.holds(w)) {
            return Ok(false);
        }
        if self.held(identity)?.is_some_and(|(_, row)| (!row.unauthenticated || w.unauthenticated) && !row.refused) {
            return Ok(false);
        }
        self.put(w, set, identity)
    }

    /// Puts it on the list, whatever is known of it. Says whether it is new there.
    fn put(&mut self, w: &mut Work<'_>, set: &str, identity: Identity) -> Result<bool, Error> {
        let row = w.sets.entry(set.to_owned()).or_default();
        if self.wanted.insert(wanted_key(set, identity).as_slice(), ())?.is_some() {
            return Ok(false);
        }
        row.wanted += 1;
        Ok(true)
    }

    /// What was pardoned is asked for by the next run, unless it is held from somebody whose word is as good; says whether it is.
    pub(crate) fn want_pardoned(&mut self, w: &mut Work<'_>, identity: Identity) -> Result<bool, Error> {
        if let Some((_, row)) = self.held(identity)? {
            let is_better = row.unauthenticated && !w.unauthenticated;
            // A lower one may have come in its place while it was refused.
            let current = self.update(&row.id)?.map(|update| self.revision(update.current)).transpose()?.flatten();
            let is_next = !row.current && current.is_none_or(|current| current.revision < row.revision);
            if !is_better && !is_next {
                return Ok(false);
            }
        }
        self.put(w, AGAIN, identity)?;
        Ok(true)
    }

    /// Puts it on the list of the next run, unless it is current or refused.
    fn want_instead(&mut self, w: &mut Work<'_>, identity: Identity) -> Result<(), Error> {
        if self.refusal(identity)?.is_none() && self.held(identity)?.is_none_or(|(_, row)| !row.current) {
            self.put(w, AGAIN, identity)?;
        }
        Ok(())
    }

    /// A revision came or is refused: nobody waits for it any more.
    pub(crate) fn got(&mut self, w: &mut Work<'_>, identity: Identity) -> Result<(), Error> {
        for (name, row) in &mut w.sets {
            if row.wanted > 0 && self.wanted.remove(wanted_key(name, identity).as_slice())?.is_some() {
                row.wanted -= 1;
            }
        }
        Ok(())
    }
}

impl Core {
    /// As [`super::Catalog::ask_for`].
    pub(crate) fn ask_for(&self, identity: Identity) -> Result<(), Error> {
        self.catalog_write(Room::Adds, move |t, w| t.want_instead(w, identity)).map(drop)
    }

    /// Step 1. What an earlier list left to be fetched stays on the list.
    pub(crate) fn open_list(&self, set: String, pending: String) -> Result<(), Error> {
        check_set(&set)?;
        check_anchor(&pending)?;
        self.catalog_write(Room::Adds, move |_, w| {
            if w.sets.len() >= SETS_MAX && !w.sets.contains_key(&set) {
                return Err(invalid(format!(
                    "there are {SETS_MAX} filter sets already: forget those that are not used"
                )));
            }
            let row = w.sets.entry(set).or_default();
            (row.pending, row.listed) = (Some(pending), false);
            Ok(())
        })
        .map(drop)
    }

    /// Of `identities`, which are in order, those for which a transaction would write anything: a snapshot of what
    /// [`Tables::want`] looks at. What it leaves out was settled at the time of the snapshot, as by a transaction of then.
    fn unsettled(&self, set: &str, identities: &[Identity], is_news: bool) -> Result<Vec<Identity>, Error> {
        self.index.read(|tx| {
            let (Some(sets), Some(refused), Some(held), Some(updates), Some(numbers), Some(state)) = (
                read(tx, SETS)?,
                read(tx, REFUSED)?,
                read(tx, IDENTITIES)?,
                read(tx, UPDATES)?,
                read(tx, NUMBERS)?,
                read(tx, STATE)?,
            ) else {
                return Ok(identities.to_vec());
            };
            let row: Option<SetRow> = sets.get(set)?.map(|row| decode("catalog-sets.1", row.value())).transpose()?;
            if !row.is_some_and(|row| row.is_open()) {
                return Err(not_open(set));
            }
            let generation = number(&numbers, GENERATION)?;
            let source: Option<UpstreamRow> = (state.get(ARRIVING)?.or(state.get(UPSTREAM)?))
                .map(|row| decode("catalog-state.1", row.value()))
                .transpose()?;
            let is_publisher = source.as_ref().is_some_and(UpstreamRow::is_publisher);
            let unauthenticated = source.is_none_or(|upstream| upstream.unauthenticated);
            let (mut refused, mut held, mut updates) = (Along::of(&refused), Along::of(&held), Along::of(&updates));
            let mut left = Vec::new();
            for identity in identities {
                let key = identity_key(*identity);
                let refusal: Option<RefusedRow> = refused.find(&key, |row| decode(REFUSED_NAME, row))?;
                if let Some(refusal) = refusal {
                    let holds = refusal.holds_for(generation, unauthenticated, is_publisher);
                    if refusal.generation != generation || !holds || (is_news && !refusal.stays) {
                        left.push(*identity);
                    }
                    continue;
                }
                let given = held.find(&key, Ok)?;
                let update: Option<UpdateRow> =
                    updates.find(identity.id.bytes(), |row| decode("catalog-updates.1", row))?;
                let is_settled = update.is_some_and(|update| {
                    Some(update.current) == given
                        && update.generation == generation
                        && (unauthenticated || !update.unauthenticated)
                });
                if !is_settled {
                    left.push(*identity);
                }
            }
            Ok(left)
        })
    }

    /// Step 2. Says how many of them are on the list now and were not before.
    pub(crate) fn list_wanted(&self, set: &str, mut identities: Vec<Identity>, is_news: bool) -> Result<u64, Error> {
        check_set(set)?;
        // In the order of the tables.
        identities.sort_unstable();
        let mut new = 0;
        for many in identities.chunks(COMPARE_STEP) {
            let left = self.unsettled(set, many, is_news)?;
            for step in left.chunks(LIST_STEP) {
                let why = if is_news { Why::News } else { Why::Listed };
                new += self.put_in(set.to_owned(), step.to_vec(), why)?;
            }
        }
        Ok(new)
    }

    /// Puts into an open list what is to be fetched of these.
    fn put_in(&self, set: String, step: Vec<Identity>, why: Why) -> Result<u64, Error> {
        self.catalog_write(Room::Adds, move |t, w| {
            let row = w.sets.get(&set).filter(|row| row.is_open()).ok_or_else(|| not_open(&set))?;
            // Before anything is written. Left out they would be lost, since the anchor moves over them.
            if row.wanted.saturating_add(step.len() as u64) > WANTED_MAX {
                return Err(invalid(format!(
                    "more than {WANTED_MAX} revisions are wanted for {set:?}: no catalog is that large, so the upstream's list is \
                     wrong; choose fewer products, or another upstream"
                )));
            }
            let mut new = 0;
            for identity in step {
                new += u64::from(match why {
                    Why::Listed => t.want(w, &set, identity, false)?,
                    Why::News => t.want(w, &set, identity, true)?,
                    Why::Member => t.want_member(w, &set, identity)?,
                    // It may have been taken since, or refused for good.
                    Why::Again => t.refusal(identity)?.is_some_and(|row| !row.stays) && t.put(w, &set, identity)?,
                });
            }
            Ok(new)
        })
        .map(|(new, _)| new)
    }

    /// Step 2 for members that no list names. What bundles of this upstream name and what is not held may have been on a list that
    /// was thrown away; only those bundles tell of it. Says how many are new on the list.
    pub(crate) fn list_members(&self, set: &str) -> Result<u64, Error> {
        check_set(set)?;
        let mut new = 0;
        for step in self.missing_members()?.chunks(LIST_STEP) {
            new += self.put_in(set.to_owned(), step.to_vec(), Why::Member)?;
        }
        Ok(new)
    }

    /// Opens and closes the list of what is to be asked for again; says how many revisions are on it.
    pub(crate) fn list_again(&self) -> Result<u64, Error> {
        let now = self.clock.now().ms();
        let due = self.index.read(|tx| {
            let (Some(refused), Some(numbers)) = (read(tx, REFUSED)?, read(tx, NUMBERS)?) else { return Ok(vec![]) };
            let generation = number(&numbers, GENERATION)?;
            let mut due = Vec::new();
            for row in refused.iter()? {
                let (key, row) = row?;
                let row: RefusedRow = decode(REFUSED_NAME, row.value())?;
                if row.is_due(generation, now) {
                    due.push(identity_of(key.value()));
                }
            }
            Ok(due)
        })?;
        let sets = self.index.read(super::look::sets)?;
        let left = sets.iter().find(|set| set.name == AGAIN).map_or(0, |set| set.wanted);
        if due.is_empty() && left == 0 {
            return Ok(0);
        }
        self.open_list(AGAIN.to_owned(), String::new())?;
        let mut wanted = left;
        for step in due.chunks(LIST_STEP) {
            // It may have been pardoned or taken since.
            wanted += self.put_in(AGAIN.to_owned(), step.to_vec(), Why::Again)?;
        }
        self.close_list(AGAIN.to_owned())?;
        Ok(wanted)
    }

    /// Step 3. Says whether the anchor moved at once, because nothing is to be fetched.
    pub(crate) fn close_list(&self, set: String) -> Result<bool, Error> {
        let name = set.clone();
        let ((), applied) = self.catalog_write(Room::Adds, move |_, w| {
            let open = w.sets.get_mut(&set).filter(|row| row.pending.is_some());
            let row = open.ok_or_else(|| invalid(format!("no list of filter set {set:?} is open")))?;
            row.listed = true;
            Ok(())
        })?;
        Ok(applied.anchored.contains(&name))
    }

    /// What is on the list of a set, in the order of identities, behind `after`.
    pub(crate) fn wanted(&self, set: &str, after: Option<Identity>, limit: usize) -> Result<Vec<Identity>, Error> {
        check_set(set)?;
        let prefix = [set.as_bytes(), &[0]].concat();
        let (end, from) = ([set.as_bytes(), &[1]].concat(), after.map_or(prefix, |after| wanted_key(set, after)));
        self.index.read(|tx| {
            let Some(table) = read(tx, WANTED)? else { return Ok(vec![]) };
            let mut found = Vec::new();
            for row in table.range::<&[u8]>(from.as_slice()..end.as_slice())? {
                let (key, _) = row?;
                let identity = of_wanted_key(key.value());
                let identity =
                    identity.ok_or_else(|| Error::Row { what: "a key of catalog-wanted.1 is too short".into() })?;
                if Some(identity) == after {
                    continue;
                }
                if found.len() >= limit {
                    break;
                }
                found.push(identity);
            }
            Ok(found)
        })
    }

    /// Forgets what upstream anchors stand for, and the lists; with a name that of one set alone, and the set itself. What
    /// is held stays.
    pub(crate) fn reset_sets(&self, only: Option<&str>) -> Result<(), Error> {
        let name = only.map(ToOwned::to_owned);
        self.catalog_write(Room::Frees, move |_, w| {
            // First, so that no list that is being emptied makes its anchor come true.
            for (_, row) in w.sets.iter_mut().filter(|(set, _)| name.as_ref().is_none_or(|name| name == *set)) {
                (row.anchor, row.pending, row.listed, row.at) = (None, None, false, None);
            }
            Ok(())
        })?;
        let sets: Vec<String> = match only {
            Some(set) => vec![set.to_owned()],
            None => self.index.read(|tx| Ok(super::look::sets(tx)?.into_iter().map(|set| set.name).collect()))?,
        };
        for set in sets {
            loop {
                let step = self.wanted(&set, None, LIST_STEP)?;
                if step.is_empty() {
                    break;
                }
                let name = set.clone();
                self.catalog_write(Room::Frees, move |t, w| {
                    let Some(row) = w.sets.get_mut(&name) else { return Ok(()) };
                    for identity in step {
                        if t.wanted.remove(wanted_key(&name, identity).as_slice())?.is_some() {
                            row.wanted = row.wanted.saturating_sub(1);
                        }
                    }
                    Ok(())
                })?;
            }
            if only.is_some() {
                self.catalog_write(Room::Frees, move |t, w| {
                    w.sets.remove(&set);
                    t.sets.remove(set.as_str())?;
                    Ok(())
                })?;
            }
        }
        Ok(())
    }
}
