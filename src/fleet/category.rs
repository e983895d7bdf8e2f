//! Which categories a scan is for (MS-WUSP 3.1.5.6, StartCategoryScan).

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::error::Error;
use crate::model::update::{CategoryKind, UpdateId};

/// Categories of one request; the protocol refuses 200 and more.
pub const REQUESTED_MAX: usize = 199;

/// What a client is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferred {
    /// The categories to scan for, in the order asked for; none: scan for everything.
    pub preferred: Vec<UpdateId>,
    /// Those that are not known.
    pub in_error: Vec<UpdateId>,
}

/// The answer to a request for categories, each with the number of the group that must hold together; `kind` tells what kind of category
/// an id is.
///
/// - What is not known is told, and its whole group left out.
/// - A group of one product, alone or with a classification, stands for that product.
/// - Any other group cannot be told to the client as a list of categories: then all are scanned for.
pub fn preferred(
    requested: &[(i32, UpdateId)],
    kind: impl Fn(UpdateId) -> Option<CategoryKind>,
) -> Result<Preferred, Error> {
    if requested.len() > REQUESTED_MAX {
        return Err(Error::Long { list: "requestedCategories", many: requested.len(), max: REQUESTED_MAX });
    }
    let mut groups: BTreeMap<i32, BTreeSet<UpdateId>> = BTreeMap::new();
    let mut order = Vec::new();
    let mut told = Preferred::default();
    for (group, id) in requested {
        if kind(*id).is_none() && !told.in_error.contains(id) {
            told.in_error.push(*id);
        }
        let ids = groups.entry(*group).or_insert_with(|| {
            order.push(*group);
            BTreeSet::new()
        });
        ids.insert(*id);
    }
    for ids in order.iter().filter_map(|group| groups.get(group)) {
        let Some(kinds) = ids.iter().map(|id| kind(*id)).collect::<Option<Vec<_>>>() else { continue };
        let products: Vec<&UpdateId> =
            ids.iter().zip(&kinds).filter(|(_, kind)| **kind == CategoryKind::Product).map(|(id, _)| id).collect();
        let classifications = kinds.iter().filter(|kind| **kind == CategoryKind::Classification).count();
        match products.as_slice() {
            [product] if classifications == ids.len() - 1 && classifications <= 1 => {
                if !told.preferred.contains(product) {
                    told.preferred.push(**product);
                }
            }
            _ => {
                told.preferred.clear();
                break;
            }
        }
    }
    Ok(told)
}
