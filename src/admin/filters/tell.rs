//! The filters and what there is to choose from, in the words of the API. Pure.

use std::collections::BTreeSet;

use crate::admin::filters::change::{first, one};
use crate::admin::updates::category_kind;
use crate::admin::view::bandwidth::Set;
use crate::admin::view::filters as view;
use crate::admin::view::{Setting, settings_place};
use crate::model::filter::{Error, Filters, LANGUAGES, NEAR_FOR_MAX, Selection, Tree, language};
use crate::model::settings::Raw;
use crate::model::update::{CategoryKind, UpdateId};

pub(super) fn setting<'a>(settings: &'a [Setting], key: &str) -> Option<&'a Setting> {
    settings.iter().find(|setting| setting.key.strip_prefix("filters.") == Some(key))
}

/// The lists as they stand in the settings.
pub(super) fn selection(settings: &[Setting]) -> Selection {
    let list = |key: &str| match setting(settings, key).map(|setting| setting.value.clone()) {
        Some(Raw::List(items)) => items,
        Some(Raw::Text(text)) if !text.is_empty() => vec![text],
        _ => Vec::new(),
    };
    Selection { products: list("products"), classifications: list("classifications"), languages: list("languages") }
}

/// The filters in words.
pub(super) fn told(settings: &[Setting], tree: &Tree, is_empty: bool) -> view::Filters {
    let all = selection(settings);
    let (filters, _) = all.in_force(tree);
    let categories = |key: &str, ids: &BTreeSet<UpdateId>| {
        let mut entries: Vec<view::Entry> = ids
            .iter()
            .map(|id| view::Entry {
                id: id.to_string(),
                name: tree.name(*id),
                kind: tree.get(*id).map_or("unknown", |known| category_kind(known.kind)).to_owned(),
            })
            .collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        chosen(settings, key, entries, &all, tree)
    };
    let languages = filters.languages.iter().filter_map(|short| language(short).ok());
    let languages = languages
        .map(|language| view::Entry {
            id: language.short.to_owned(),
            name: language.long.to_owned(),
            kind: "language".to_owned(),
        })
        .collect();
    let upstream = settings.iter().find(|setting| setting.key == "upstream.kind").map(|setting| &setting.value);
    let without_effect = match upstream {
        Some(Raw::Text(kind)) if kind == "wsus" => {
            Some("the upstream is a WSUS: all that it offers is taken, and what it offers is chosen there".to_owned())
        }
        Some(Raw::Text(kind)) if kind == "parent" => {
            Some("the upstream is a parent node: its filters hold here too".to_owned())
        }
        _ => None,
    };
    view::Filters {
        products: categories("products", &filters.products),
        classifications: categories("classifications", &filters.classifications),
        languages: chosen(settings, "languages", languages, &all, tree),
        products_count: filters.wanted(tree).products.len() as u64,
        without_effect,
        catalog_categories: if is_empty { 0 } else { tree.categories().count() as u64 },
        beyond: None,
        beyond_approved: 0,
        beyond_needed: None,
        prunes: settings
            .iter()
            .any(|setting| setting.key == "sync.prune_beyond_filters" && setting.value == Raw::Switch(true)),
        unauthenticated: false,
    }
}

fn chosen(settings: &[Setting], key: &str, entries: Vec<view::Entry>, all: &Selection, tree: &Tree) -> view::Chosen {
    let list = match key {
        "products" => &all.products,
        "classifications" => &all.classifications,
        _ => &all.languages,
    };
    let mut wrong = Vec::new();
    for text in list {
        match one(key, text, tree, wrong.len() < NEAR_FOR_MAX) {
            Ok(_) | Err(Error::UnknownId { .. }) => {}
            Err(error) => wrong.push(error.to_string()),
        }
    }
    let set = setting(settings, key).map(|setting| Set {
        value: setting.value.clone(),
        from: settings_place(setting),
        layer: setting.layer.clone(),
        locked: setting.locked,
    });
    view::Chosen { entries, wrong: first(wrong), set: set.unwrap_or_default() }
}

/// The languages that the protocol knows, by name; all are taken where none is chosen.
pub(super) fn languages(filters: &Filters) -> Vec<view::Available> {
    let mut known = LANGUAGES.to_vec();
    known.sort_by_key(|language| language.long);
    let row = |language: crate::model::filter::Language| view::Available {
        id: language.short.to_owned(),
        name: language.long.to_owned(),
        kind: "language".to_owned(),
        depth: 0,
        path: language.long.to_owned(),
        chosen: filters.languages.is_empty() || filters.languages.contains(language.short),
        unauthenticated: false,
    };
    known.into_iter().map(row).collect()
}

/// The tree, from the top: companies with all below them, then what stands below nothing, classifications last.
pub(super) fn rows(tree: &Tree, filters: &Filters) -> Vec<view::Available> {
    let taken: BTreeSet<UpdateId> =
        filters.wanted(tree).products.into_iter().chain(filters.classifications.iter().copied()).collect();
    let order = |kind: CategoryKind| match kind {
        CategoryKind::Company => 0,
        CategoryKind::Family => 1,
        CategoryKind::Product => 2,
        CategoryKind::Other => 3,
        CategoryKind::Classification => 4,
    };
    let sorted = |ids: Vec<UpdateId>| {
        let mut known: Vec<_> = ids.into_iter().filter_map(|id| tree.get(id)).collect();
        // Last first: they are taken from the end.
        known.sort_by(|a, b| (order(b.kind), &b.name, b.id).cmp(&(order(a.kind), &a.name, a.id)));
        known.into_iter().map(|category| category.id).collect::<Vec<_>>()
    };
    let is_top = |parent: Option<UpdateId>| parent.is_none_or(|parent| tree.get(parent).is_none());
    let tops = tree.categories().filter(|category| is_top(category.parent)).map(|category| category.id).collect();
    let mut left: Vec<(UpdateId, u32)> = sorted(tops).into_iter().map(|id| (id, 0)).collect();
    let mut seen = BTreeSet::new();
    let mut rows = Vec::new();
    // What runs in a circle hangs on no top, and is left out: nothing in it can be named by a path either.
    while let Some((id, depth)) = left.pop() {
        let Some(category) = tree.get(id).filter(|_| seen.insert(id)) else { continue };
        rows.push(view::Available {
            id: id.to_string(),
            name: category.name.clone(),
            kind: category_kind(category.kind).to_owned(),
            depth,
            path: tree.path(id),
            chosen: taken.contains(&id) || filters.products.contains(&id),
            unauthenticated: false,
        });
        let below = sorted(tree.children(id).map(|child| child.id).collect());
        left.extend(below.into_iter().map(|child| (child, depth + 1)));
    }
    rows
}
