//! What the catalog says of updates that endpoints told of, read when they are told first and again when the catalog changed.

use std::collections::HashMap;

use crate::fleet::compliance::facts::Facts;
use crate::fleet::error::Error;
use crate::model::policy::Word;
use crate::model::relations::Target;
use crate::model::update::{Publication, UpdateId};
use crate::store::catalog::{Catalog, Related};

/// Updates that are asked about at a time: their revisions are unpacked in one snapshot.
const STEP: usize = 2_000;

/// The facts of these updates, in the same order. `known` has those of before: what a revision says is not read again while it is the
/// same.
pub(super) async fn facts(
    catalog: &Catalog,
    ids: &[UpdateId],
    known: &HashMap<UpdateId, Facts>,
) -> Result<Vec<Facts>, Error> {
    let mut all = Vec::with_capacity(ids.len());
    for step in ids.chunks(STEP) {
        let targets = step.iter().map(|id| Target::Newest(*id)).collect();
        let shorts = catalog.shorts(targets).await?;
        let is_same = |id: &UpdateId, number: u32, at: u64| {
            known.get(id).filter(|facts| facts.revision == Some(number) && facts.changed == at)
        };
        let fresh = step.iter().zip(&shorts).filter_map(|(id, short)| {
            let short = short.as_ref()?;
            is_same(id, short.number, short.changed).is_none().then_some(short.number)
        });
        let related = catalog.related(fresh.collect()).await?;
        let related: HashMap<u32, Related> = related.into_iter().map(|found| (found.number, found)).collect();
        let superseded = catalog.are_superseded(step.to_vec()).await?;
        let decisions = catalog.decisions(step.to_vec()).await?;
        for (((id, short), superseded), decision) in step.iter().zip(shorts).zip(superseded).zip(decisions) {
            let Some(short) = short else {
                all.push(Facts::default());
                continue;
            };
            let before = is_same(id, short.number, short.changed);
            let found = related.get(&short.number);
            let supersedes = match (found, before) {
                (Some(found), _) => found.supersedes.clone().into_boxed_slice(),
                (None, Some(before)) => before.supersedes.clone(),
                (None, None) => Box::default(),
            };
            let eula = found.map_or_else(|| before.is_some_and(|before| before.eula), |found| found.eula.is_some());
            all.push(Facts {
                revision: Some(short.number),
                changed: short.changed,
                severity: short.severity,
                created: short.created,
                categories: short.categories.into_boxed_slice(),
                supersedes,
                deployable: short.deployable,
                expired: short.publication == Publication::Expired,
                refused: short.refused,
                superseded,
                declined: decision.is_some_and(|decision| decision.word == Word::Declined),
                eula,
            });
        }
    }
    Ok(all)
}
