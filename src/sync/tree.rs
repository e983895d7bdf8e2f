//! The tree of categories, as the catalog has it now.

use crate::model::filter::{Category, Tree};
use crate::model::update::{CategoryKind, Kind, Publication};
use crate::store::Error;
use crate::store::catalog::{Catalog, PAGE_MAX, Query, Summary};

/// Categories that are taken: a real catalog has some hundred.
const CATEGORIES_MAX: usize = 100_000;

/// All categories that were not withdrawn, and those that are known without a catalog.
pub async fn of(catalog: &Catalog) -> Result<Tree, Error> {
    let kinds = [
        CategoryKind::Company,
        CategoryKind::Family,
        CategoryKind::Product,
        CategoryKind::Classification,
        CategoryKind::Other,
    ];
    let mut query =
        Query { kinds: kinds.map(Kind::Category).to_vec(), hidden: true, limit: PAGE_MAX, ..Query::default() };
    let mut categories = Vec::new();
    loop {
        let page = catalog.search(query.clone()).await?;
        categories.extend(page.hits.into_iter().filter_map(|hit| category(hit.summary)));
        match page.next {
            Some(next) if categories.len() < CATEGORIES_MAX => query.after = Some(next),
            _ => return Ok(Tree::new(categories)),
        }
    }
}

fn category(summary: Summary) -> Option<Category> {
    let Kind::Category(kind) = summary.kind else { return None };
    if summary.publication == Publication::Expired || summary.refused {
        return None;
    }
    let id = summary.identity.id;
    let parent = summary.categories.into_iter().find(|parent| *parent != id);
    Some(Category { id, kind, name: summary.title, parent })
}
