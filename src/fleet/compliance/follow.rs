//! What the catalog says of updates that endpoints told of, read when they are told first and again when the catalog changed.

use std::collections::{HashMap, HashSet};

use crate::fleet::compliance::facts::{Facts, Licence};
use crate::fleet::error::Error;
use crate::model::relations::Target;
use crate::model::update::{Publication, UpdateId};
use crate::store::approvals::Approvals;
use crate::store::catalog::{Catalog, Related};

/// Updates that are asked about at a time: their revisions are unpacked in one snapshot.
const STEP: usize = 2_000;

/// The facts of these updates, in the same order. `known` has those of before: what a revision says is not read again while it is the
/// same.
pub(super) async fn facts(
    catalog: &Catalog,
    approvals: &Approvals,
    ids: &[UpdateId],
    known: &HashMap<UpdateId, Facts>,
) -> Result<Vec<Facts>, Error> {
    let mut all = Vec::with_capacity(ids.len());
    let accepted: HashSet<UpdateId> = approvals.licences().await?.into_iter().map(|one| one.eula).collect();
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
        let roots = related.iter().map(|found| found.identity).collect();
        let eulas = catalog.licences_of(roots).await?;
        let related: HashMap<u32, (Related, Vec<UpdateId>)> =
            related.into_iter().zip(eulas).map(|(found, eulas)| (found.number, (found, eulas))).collect();
        let stances = catalog.stances(step.to_vec()).await?;
        for ((id, short), stance) in step.iter().zip(shorts).zip(stances) {
            let Some(short) = short else {
                all.push(Facts::default());
                continue;
            };
            let before = is_same(id, short.number, short.changed);
            let (supersedes, eulas): (Box<[UpdateId]>, Box<[UpdateId]>) = match (related.get(&short.number), before) {
                (Some((found, eulas)), _) => (found.supersedes.as_slice().into(), eulas.as_slice().into()),
                (None, Some(before)) => (before.supersedes.clone(), before.eulas.clone()),
                (None, None) => Default::default(),
            };
            let licence = if eulas.is_empty() {
                Licence::None
            } else if eulas.iter().all(|eula| accepted.contains(eula)) {
                Licence::Accepted
            } else {
                Licence::Required
            };
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
                superseded: stance.superseded,
                replaced: stance.replaced,
                approved: stance.approved,
                declined: stance.declined,
                eulas,
                licence,
            });
        }
    }
    Ok(all)
}
