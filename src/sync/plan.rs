//! What is to be asked for: which lists, under which names their anchors are kept, and what of a list is fetched. Pure.

use std::collections::{BTreeSet, HashMap};

use crate::model::filter;
use crate::model::update::{Identity, UpdateId};
use crate::upstream::wsus::{Pick, Wanted};

/// The list of categories and detectoids.
pub(in crate::sync) const CATEGORIES: &str = "categories";
/// The list of all updates, for an upstream that has only what is wanted.
pub(in crate::sync) const EVERYTHING: &str = "updates";
/// The list of all updates, of which only what is named elsewhere is taken.
pub(in crate::sync) const BEYOND: &str = "prerequisites";
/// Lists of definition updates alone begin with it.
pub(in crate::sync) const DEFINITIONS: &str = "definitions-";

/// The name under which the anchor of the definition updates of these filters is kept.
pub(in crate::sync) fn definitions_name(wanted: &filter::Wanted) -> String {
    format!("{DEFINITIONS}{}", name_of(wanted).trim_start_matches(EVERYTHING).trim_start_matches('-'))
}

/// The name under which the anchor of what these filters find is kept: other filters, another anchor.
pub(in crate::sync) fn name_of(wanted: &filter::Wanted) -> String {
    let mut hash = blake3::Hasher::new();
    // The sets are in order, and each is followed by what none of its members can be.
    for ids in [&wanted.products, &wanted.classifications] {
        for id in ids {
            hash.update(id.bytes());
        }
        hash.update(b"|");
    }
    for language in &wanted.languages {
        hash.update(&language.to_be_bytes());
    }
    format!("{EVERYTHING}-{}", &hash.finalize().to_hex()[..32])
}

/// Whether an anchor of this name is one of a list of updates, whatever the filters were.
pub(in crate::sync) fn is_of_updates(name: &str) -> bool {
    name == EVERYTHING || name.strip_prefix(EVERYTHING).is_some_and(|rest| rest.starts_with('-'))
}

/// Whether a list of this name may name definition updates.
pub(in crate::sync) fn has_definitions(name: &str) -> bool {
    is_of_updates(name) || name.starts_with(DEFINITIONS)
}

/// What is asked of the upstream for these filters. `known` are those that the anchor is of: of what is new since them everything is
/// listed. Where anything of one kind is new, all ids of the other kinds are asked as if they were: nobody has recorded whether servers
/// list an update whole where one of its ids is new, or only where all are. This is right in either case, and costs a longer list.
pub(in crate::sync) fn asked(
    wanted: &filter::Wanted,
    known: Option<&filter::Wanted>,
    anchor: Option<String>,
) -> Wanted {
    fn picks<T: Copy + Ord, U>(
        wanted: &BTreeSet<T>,
        known: Option<&BTreeSet<T>>,
        others_grew: bool,
        id: impl Fn(T) -> Option<U>,
    ) -> Vec<Pick<U>> {
        let is_new = |one: &T| others_grew || known.is_some_and(|known| !known.contains(one));
        wanted.iter().filter_map(|one| Some(Pick { id: id(*one)?, is_new: is_new(one) })).collect()
    }
    fn grew<T: Ord>(wanted: &BTreeSet<T>, known: Option<&BTreeSet<T>>) -> bool {
        known.is_some_and(|known| !wanted.is_subset(known))
    }
    // No languages mean all of them, so that one that is added to none is not new.
    let languages_known = known.map(|known| &known.languages).filter(|known| !known.is_empty());
    let (products, classifications) = (known.map(|known| &known.products), known.map(|known| &known.classifications));
    let product = grew(&wanted.products, products);
    let class = grew(&wanted.classifications, classifications);
    let language = grew(&wanted.languages, languages_known);
    let languages = picks(&wanted.languages, languages_known, product || class, |id| i32::try_from(id).ok());
    Wanted {
        categories: false,
        anchor,
        products: Some(picks(&wanted.products, products, class || language, Some)),
        classifications: Some(picks(&wanted.classifications, classifications, product || language, Some)),
        languages: (!languages.is_empty()).then_some(languages),
    }
}

/// Whether the anchor of a list with the filters `known` says anything of one with `wanted`: not where languages grow from some to
/// all, since all cannot be told from what was there before.
pub(in crate::sync) fn can_follow(wanted: &filter::Wanted, known: &filter::Wanted) -> bool {
    !wanted.languages.is_empty() || known.languages.is_empty()
}

/// Of each update the highest revision that a list names. Lower ones are of use only where a bundle names them, and then they are
/// fetched because it does.
pub(in crate::sync) fn highest(listed: Vec<Identity>) -> HashMap<UpdateId, u32> {
    let mut highest: HashMap<UpdateId, u32> = HashMap::with_capacity(listed.len());
    for identity in listed {
        let known = highest.entry(identity.id).or_insert(identity.revision);
        *known = identity.revision.max(*known);
    }
    highest
}

/// In the order of their ids, which is the one that they are fetched in.
pub(in crate::sync) fn in_order(of: impl IntoIterator<Item = (UpdateId, u32)>) -> Vec<Identity> {
    let mut all: Vec<Identity> = of.into_iter().map(|(id, revision)| Identity { id, revision }).collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> UpdateId {
        UpdateId::new([byte; 16])
    }

    fn filters(products: &[u8], classifications: &[u8], languages: &[u32]) -> filter::Wanted {
        filter::Wanted {
            products: products.iter().map(|byte| id(*byte)).collect(),
            classifications: classifications.iter().map(|byte| id(*byte)).collect(),
            languages: languages.iter().copied().collect(),
        }
    }

    #[test]
    fn other_filters_have_another_name() {
        let all = [
            filters(&[1], &[2], &[]),
            filters(&[1, 2], &[], &[]),
            filters(&[], &[1, 2], &[]),
            filters(&[1], &[2], &[9]),
        ];
        let names: BTreeSet<String> = all.iter().map(name_of).collect();
        assert_eq!(names.len(), all.len());
        assert!(names.iter().all(|name| is_of_updates(name)) && is_of_updates(EVERYTHING));
        assert!(!is_of_updates(CATEGORIES) && !is_of_updates(BEYOND));
        // The lane's anchor is left alone where those of other filters are forgotten.
        assert!(all.iter().all(|filters| !is_of_updates(&definitions_name(filters))));
        assert!(names.iter().all(|name| has_definitions(name)) && has_definitions(&definitions_name(&all[0])));
        assert!(has_definitions(EVERYTHING) && !has_definitions(CATEGORIES) && !has_definitions(BEYOND));
    }

    #[test]
    fn what_is_added_is_listed_whole() {
        fn new<T>(picks: Option<Vec<Pick<T>>>) -> Vec<bool> {
            picks.unwrap().iter().map(|pick| pick.is_new).collect()
        }
        let before = filters(&[1], &[5], &[9]);
        let news = |now: filter::Wanted| {
            let asked = asked(&now, Some(&before), Some("a".into()));
            (new(asked.products), new(asked.classifications), new(asked.languages))
        };
        assert_eq!(news(before.clone()), (vec![false], vec![false], vec![false]));
        assert_eq!(news(filters(&[1, 2], &[5], &[9])), (vec![false, true], vec![true], vec![true]));
        assert_eq!(news(filters(&[1], &[5, 6], &[9])), (vec![true], vec![false, true], vec![true]));
        assert_eq!(news(filters(&[1], &[5], &[9, 7])), (vec![true], vec![true], vec![true, false]));
        let now = filters(&[1, 2], &[5], &[9, 7]);
        assert!(can_follow(&now, &before) && !can_follow(&filters(&[1], &[5], &[]), &before));
        assert!(super::asked(&filters(&[1], &[5], &[]), None, None).languages.is_none());
    }

    #[test]
    fn one_revision_of_each_is_fetched() {
        let listed = [(1, 200), (2, 1), (1, 100), (2, 101)].map(|(byte, revision)| Identity { id: id(byte), revision });
        let found = in_order(highest(listed.to_vec()));
        assert_eq!(found, [Identity { id: id(1), revision: 200 }, Identity { id: id(2), revision: 101 }]);
    }
}
