//! Prerequisites beyond the filters. Filters find an update by its product and classification; what must be installed before it may be
//! of others, is named without a revision, and stands in none of the lists that were asked for. Without it no endpoint can judge the
//! update (MS-WUSP 3.1.1.1, "prerequisites").
//!
//! 1. The catalog says which prerequisites it does not have, or has from a former upstream alone.
//! 2. Where there are new ones the list of everything is asked for, without filters; else, as long as something was ever found here,
//!    what changed in it since the last time.
//! 3. What is missing and what was found here before is taken out of the list, and fetched.
//!    So is what the filters of before found and these do not, where something that is held needs it.
//! 4. So it goes on with the prerequisites of what came, until nothing is missing but what the upstream does not have. That is
//!    remembered, so that the long list is not asked for in vain at every run.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::filter::Wanted;
use crate::model::update::UpdateId;
use crate::store::Store;
use crate::store::catalog::{PAGE_MAX, Query};
use crate::sync::error::Error;
use crate::sync::plan::{self, BEYOND};
use crate::sync::progress::Step;
use crate::sync::run::Work;
use crate::upstream::wsus;

/// Where it is kept among the store's documents.
const RECORD: &str = "sync.beyond";

/// Updates that are remembered of each kind: their ids take 40 bytes each in a record that may have 4 MiB.
const REMEMBERED_MAX: usize = 20_000;

/// How long a chain of prerequisites is followed. Real ones have a few steps; each costs a commit.
const STEPS_MAX: usize = 64;

/// What former runs found.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Fetched although no filter finds it; its later revisions are to be fetched too.
    found: BTreeSet<UpdateId>,
    /// Named, and not to be had.
    absent: BTreeSet<UpdateId>,
}

/// Another upstream may have what this one has not. What was found stays: it is on no other list, whoever the upstream is.
pub(in crate::sync) async fn forget(store: &Store) -> Result<(), Error> {
    let found = kept(store).await?.found;
    keep(store, &Record { found, absent: BTreeSet::new() }).await
}

/// What is not held any more, since it was let go of, is looked for no more: else each whole list would bring what the end of the same run
/// lets go of again. Where something needs it later it is missing, and found once more.
pub(in crate::sync) async fn forget_gone(store: &Store) -> Result<(), Error> {
    let mut record = kept(store).await?;
    let mut gone = Vec::new();
    for id in &record.found {
        if store.catalog().current(*id).await?.is_none() {
            gone.push(*id);
        }
    }
    if gone.is_empty() {
        return Ok(());
    }
    for id in &gone {
        record.found.remove(id);
    }
    keep(store, &record).await
}

/// What former runs found. What cannot be read costs a longer list and nothing else.
async fn kept(store: &Store) -> Result<Record, Error> {
    let record = store.document(RECORD).await?.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
    Ok(record.unwrap_or_default())
}

/// Whether something is missing that nobody has asked for in vain yet.
pub(in crate::sync) async fn is_new(work: &Work<'_>) -> Result<bool, Error> {
    let missing = missing(work).await?;
    Ok(!missing.is_empty() && !missing.is_subset(&kept(&work.shared.store).await?.absent))
}

/// What is held and needed, and these filters do not find: their lists will never name a later revision of it.
async fn left_behind(work: &Work<'_>, filters: Wanted) -> Result<Vec<UpdateId>, Error> {
    let mut query = Query { beyond: Some(Arc::new(filters)), limit: PAGE_MAX, ..Query::default() };
    let mut found = Vec::new();
    loop {
        let page = work.until_stopped(work.catalog.search(query.clone())).await?;
        for hit in page.hits {
            let id = hit.summary.identity.id;
            if !work.catalog.dependents(id, None, 1).await?.is_empty() {
                found.push(id);
            }
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(found),
        }
    }
}

/// Steps 1 to 4. `others`: the filters of this run, where those of the run before were others.
pub(in crate::sync) async fn fetch(work: &Work<'_>, others: Option<Wanted>) -> Result<(), Error> {
    let store = &work.shared.store;
    let mut record = kept(store).await?;
    if let Some(filters) = others {
        let room = REMEMBERED_MAX.saturating_sub(record.found.len());
        record.found.extend(left_behind(work, filters).await?.into_iter().take(room));
    }
    // What a former run left behind is asked for anew below, from its anchor.
    let anchor = work.set(BEYOND).await?.anchor.filter(|anchor| !anchor.is_empty());
    let mut missing = missing(work).await?;
    let is_new = |missing: &BTreeSet<UpdateId>, record: &Record| !missing.is_subset(&record.absent);
    if missing.is_empty() && record.found.is_empty() {
        return Ok(());
    }
    let mut whole = is_new(&missing, &record) || anchor.is_none();
    let (mut listed, mut pending) = list(work, anchor.filter(|_| !whole)).await?;
    let mut wanted: BTreeSet<UpdateId> = record.found.union(&missing).copied().collect();
    for _ in 0..STEPS_MAX {
        let picked: Vec<(UpdateId, u32)> = wanted.iter().filter_map(|id| Some((*id, *listed.get(id)?))).collect();
        record.found.extend(picked.iter().map(|(id, _)| *id).take(REMEMBERED_MAX));
        keep(store, &record).await?;
        work.want(BEYOND, pending.clone(), &plan::in_order(picked)).await?;
        work.fetch(BEYOND, Step::Prerequisites).await?;
        let before = std::mem::replace(&mut missing, self::missing(work).await?);
        let further: BTreeSet<UpdateId> = missing.difference(&before).copied().collect();
        if further.is_subset(&record.absent) {
            break;
        }
        if !whole {
            (listed, pending) = list(work, None).await?;
            whole = true;
        }
        // The anchor is that of this list now: what changed since the former one in what was found before is named by it alone.
        wanted = record.found.union(&further).copied().collect();
    }
    record.absent = missing.into_iter().take(REMEMBERED_MAX).collect();
    if !record.absent.is_empty() {
        tracing::info!(updates = record.absent.len(), "prerequisites are named that the upstream does not have");
    }
    keep(store, &record).await
}

/// Step 1. What is refused is missing too, and is not asked for.
async fn missing(work: &Work<'_>) -> Result<BTreeSet<UpdateId>, Error> {
    Ok(work.catalog.missing_prerequisites().await?.into_iter().collect())
}

/// Step 2.
async fn list(work: &Work<'_>, anchor: Option<String>) -> Result<(HashMap<UpdateId, u32>, Option<String>), Error> {
    let (named, anchor) = work.ask(Step::Prerequisites, &wsus::Wanted { anchor, ..wsus::Wanted::default() }).await?;
    Ok((plan::highest(named), anchor))
}

async fn keep(store: &Store, record: &Record) -> Result<(), Error> {
    let bytes = serde_json::to_vec(record).map_err(|error| Error::Broken(error.to_string()))?;
    Ok(store.set_document(RECORD, Some(bytes)).await?)
}
