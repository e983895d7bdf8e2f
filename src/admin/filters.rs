//! `/api/v1/filters`: what of Microsoft's catalog is wanted, looked at, set at run time and taken back.
//!
//! What is set is kept as ids, which never change, in the node's local layer of settings; names are resolved in the catalog as
//! it is, and what it does not know is refused with what may have been meant.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;

use crate::admin::bandwidth::Refused;
use crate::admin::error::Problem;
use crate::admin::extract::{Given, Named};
use crate::admin::updates::category_kind;
use crate::admin::view::bandwidth::Set;
use crate::admin::view::filters::{self as view, How, SetRequest};
use crate::admin::view::{Setting, settings_place};
use crate::admin::{Caller, Handles, ask};
use crate::model::filter::{
    ENTRIES_MAX, Error, Filters, LANGUAGES, NEAR_FOR_MAX, Selection, Tree, language, language_or,
};
use crate::model::settings::{Raw, SettingError};
use crate::model::update::{CategoryKind, Kind, UpdateId};
use crate::store::catalog::{Catalog, PAGE_MAX, Query};

/// What can be chosen, and what it stands below.
const CATEGORIES: [CategoryKind; 5] = [
    CategoryKind::Company,
    CategoryKind::Family,
    CategoryKind::Product,
    CategoryKind::Classification,
    CategoryKind::Other,
];

/// What there is to set.
const KEYS: [&str; 3] = ["products", "classifications", "languages"];

/// What to do about a name that is not known.
const LOOK: &str = "`waystation filters list --available` shows what the catalog has; a new node knows few products before its \
                    first synchronisation (`waystation sync start`)";

/// The same of a language: the protocol has these and no others.
const LOOK_LANGUAGES: &str = "`waystation filters list --available` ends with the languages that there are";

/// `GET /api/v1/filters`.
pub async fn show(State(handles): State<Arc<Handles>>) -> Result<Json<view::Filters>, Problem> {
    present(&handles).await.map(Json)
}

/// `GET /api/v1/filters/available`: the tree, from the top, each behind what it stands below.
pub async fn available(State(handles): State<Arc<Handles>>) -> Result<Json<Vec<view::Available>>, Problem> {
    let settings = ask::in_force(&handles).await?;
    let catalog = handles.store.catalog();
    let tree = catalog.tree().await?;
    let mut rows = aside(move || {
        let (filters, _) = selection(&settings).in_force(&tree);
        let mut rows = rows(&tree, &filters);
        rows.extend(languages(&filters));
        rows
    })
    .await?;
    let doubtful: BTreeSet<String> = doubtful(&catalog).await?.iter().map(ToString::to_string).collect();
    for row in &mut rows {
        row.unauthenticated = doubtful.contains(&row.id);
    }
    Ok(Json(rows))
}

/// `POST /api/v1/filters/{key}`.
pub async fn set(
    State(handles): State<Arc<Handles>>,
    Named(key): Named<String>,
    Caller(by): Caller,
    Given(asked): Given<SetRequest>,
) -> Result<Json<view::Filters>, Problem> {
    let key = known(&key)?;
    let settings = ask::in_force(&handles).await?;
    let tree = handles.store.catalog().tree().await?;
    let list = aside(move || {
        let (now, _) = selection(&settings).in_force(&tree);
        changed(key, &asked, &now, &tree)
    })
    .await??;
    change(&handles, key, Some(Raw::List(list)), by).await?;
    present(&handles).await.map(Json)
}

/// `DELETE /api/v1/filters/{key}`.
pub async fn reset(
    State(handles): State<Arc<Handles>>,
    Named(key): Named<String>,
    Caller(by): Caller,
) -> Result<Json<view::Filters>, Problem> {
    change(&handles, known(&key)?, None, by).await?;
    present(&handles).await.map(Json)
}

/// `DELETE /api/v1/filters`: all of them, but those that are fixed elsewhere.
pub async fn reset_all(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
) -> Result<Json<view::Filters>, Problem> {
    let settings = ask::in_force(&handles).await?;
    for key in KEYS {
        let locked = setting(&settings, key).is_some_and(|setting| setting.locked);
        if !locked {
            change(&handles, key, None, by.clone()).await?;
        }
    }
    present(&handles).await.map(Json)
}

/// Names are compared where that holds up no reactor: there may be thousands on either side.
async fn aside<V: Send + 'static>(work: impl FnOnce() -> V + Send + 'static) -> Result<V, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        let title = format!("the look at the filters broke off: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, title, "report it with the log of this node")
    })
}

fn known(key: &str) -> Result<&'static str, Problem> {
    KEYS.into_iter().find(|known| *known == key).ok_or_else(|| {
        let shown: String = key.chars().take(40).collect();
        let title = format!("there is no filter {shown:?}");
        Problem::new(StatusCode::NOT_FOUND, title, "the filters are products, classifications and languages")
    })
}

async fn change(handles: &Handles, key: &str, value: Option<Raw>, by: String) -> Result<(), Problem> {
    let Some(changing) = &handles.filters else {
        let title = "no node runs whose filters could be changed";
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            title,
            "start it, or write it into waystation.toml",
        ));
    };
    changing(key.to_owned(), value, by).await.map_err(|refused| match refused {
        Refused::Value(title) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, "correct it and send it again"),
        Refused::Setting(SettingError::Startup { .. } | SettingError::Unknown { .. }) => {
            Problem::new(StatusCode::NOT_FOUND, refused.to_string(), LOOK)
        }
        other => other.into(),
    })
}

/// The list that a key is to have, as ids; all that is wrong is told at once.
fn changed(key: &str, asked: &SetRequest, now: &Filters, tree: &Tree) -> Result<Vec<String>, Problem> {
    let mut wrong = Vec::new();
    let mut given = BTreeSet::new();
    let all = key == "languages" && matches!(asked.values.as_slice(), [one] if one.eq_ignore_ascii_case("all"));
    if asked.values.len() > ENTRIES_MAX {
        wrong.push(format!("{} values are more than {ENTRIES_MAX}", asked.values.len()));
    } else if !all {
        for text in &asked.values {
            match one(key, text, tree, wrong.len() < NEAR_FOR_MAX) {
                Ok(id) => drop(given.insert(id)),
                // What is taken out need not be known any more.
                Err(Error::UnknownId { id, .. }) if asked.how == How::Remove => drop(given.insert(id.to_string())),
                Err(error) => wrong.push(error.to_string()),
            }
        }
    }
    let chosen: BTreeSet<String> = match key {
        "products" => now.products.iter().map(UpdateId::to_string).collect(),
        "classifications" => now.classifications.iter().map(UpdateId::to_string).collect(),
        _ => now.languages.clone(),
    };
    if asked.how == How::Remove {
        for id in given.difference(&chosen) {
            wrong.push(format!("{} is not among the {key} that are chosen", name(id, tree)));
        }
    }
    if !wrong.is_empty() {
        let look = if key == "languages" { LOOK_LANGUAGES } else { LOOK };
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, first(wrong).join("; "), look));
    }
    let list: Vec<String> = match asked.how {
        How::Replace => given.into_iter().collect(),
        // All stays all: with some added it would be less.
        How::Add if key == "languages" && (all || chosen.is_empty()) => Vec::new(),
        How::Add => chosen.union(&given).cloned().collect(),
        How::Remove if all => Vec::new(),
        How::Remove => chosen.difference(&given).cloned().collect(),
    };
    let emptied = key == "languages" && asked.how == How::Remove && !all && list.is_empty();
    if emptied || (key != "languages" && list.is_empty()) {
        let example = if key == "products" { "Windows 11" } else { "Security Updates" };
        let title = if emptied {
            "no language would be left, which stands for all".to_owned()
        } else {
            let what = if key == "products" { "products" } else { "classifications" };
            Error::Empty { what, example }.to_string()
        };
        let next = if emptied { "`waystation filters set languages all` takes all" } else { LOOK };
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, next));
    }
    Ok(list)
}

/// The first of what is wrong, and how much more there is.
fn first(mut wrong: Vec<String>) -> Vec<String> {
    let more = wrong.len().saturating_sub(NEAR_FOR_MAX);
    if more > 0 {
        wrong.truncate(NEAR_FOR_MAX);
        wrong.push(format!("and {more} more that are wrong"));
    }
    wrong
}

/// The id that a text means under a key; what may have been meant where `is_hinted`.
fn one(key: &str, text: &str, tree: &Tree, is_hinted: bool) -> Result<String, Error> {
    match key {
        "products" => tree.product_or(text, is_hinted).map(|id| id.to_string()),
        "classifications" => tree.classification_or(text, is_hinted).map(|id| id.to_string()),
        _ => language_or(text, is_hinted).map(|language| language.short.to_owned()),
    }
}

/// What an id is called.
fn name(id: &str, tree: &Tree) -> String {
    match (id.parse::<UpdateId>(), language(id)) {
        (Ok(id), _) => tree.name(id),
        (_, Ok(language)) => language.long.to_owned(),
        _ => id.to_owned(),
    }
}

fn setting<'a>(settings: &'a [Setting], key: &str) -> Option<&'a Setting> {
    settings.iter().find(|setting| setting.key.strip_prefix("filters.") == Some(key))
}

/// The lists as they stand in the settings.
fn selection(settings: &[Setting]) -> Selection {
    let list = |key: &str| match setting(settings, key).map(|setting| setting.value.clone()) {
        Some(Raw::List(items)) => items,
        Some(Raw::Text(text)) if !text.is_empty() => vec![text],
        _ => Vec::new(),
    };
    Selection { products: list("products"), classifications: list("classifications"), languages: list("languages") }
}

async fn present(handles: &Handles) -> Result<view::Filters, Problem> {
    let settings = ask::in_force(handles).await?;
    let catalog = handles.store.catalog();
    let tree = catalog.tree().await?;
    let is_empty = catalog.standing().await?.updates == 0;
    let unauthenticated = !doubtful(&catalog).await?.is_empty();
    let told = aside(move || told(&settings, &tree, is_empty)).await?;
    let beyond = handles.jobs.beyond_filters().await?.map(|(many, _)| many);
    Ok(view::Filters { beyond, unauthenticated, ..told })
}

/// Categories that nobody proven has said.
async fn doubtful(catalog: &Catalog) -> Result<BTreeSet<UpdateId>, Problem> {
    let (mut found, mut after) = (BTreeSet::new(), None);
    loop {
        let kinds = CATEGORIES.map(Kind::Category).to_vec();
        let query = Query { kinds, hidden: true, after, limit: PAGE_MAX, ..Query::default() };
        let page = catalog.search(query).await?;
        let doubtful = page.hits.iter().filter(|hit| hit.summary.unauthenticated);
        found.extend(doubtful.map(|hit| hit.summary.identity.id));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(found),
        }
    }
}

/// The filters in words.
fn told(settings: &[Setting], tree: &Tree, is_empty: bool) -> view::Filters {
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
fn languages(filters: &Filters) -> Vec<view::Available> {
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
fn rows(tree: &Tree, filters: &Filters) -> Vec<view::Available> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::filter::Category;

    fn id(at: u8) -> UpdateId {
        UpdateId::new([at; 16])
    }

    fn tree() -> Tree {
        let category = |at: u8, kind, name: &str, parent: u8| Category {
            id: id(at),
            kind,
            name: name.to_owned(),
            parent: (parent != 0).then(|| id(parent)),
        };
        Tree::new([
            category(1, CategoryKind::Company, "Contoso", 0),
            category(2, CategoryKind::Family, "Desktop", 1),
            category(3, CategoryKind::Product, "Writer 10", 2),
            category(4, CategoryKind::Product, "Writer 11", 2),
            category(8, CategoryKind::Classification, "Hotfixes", 0),
            category(9, CategoryKind::Product, "Circle", 9),
        ])
    }

    fn now() -> Filters {
        let chosen = Selection {
            products: vec!["Writer 10".into()],
            classifications: vec!["Hotfixes".into()],
            languages: Vec::new(),
        };
        chosen.resolve(&tree()).unwrap()
    }

    fn asked(key: &str, how: How, values: &[&str]) -> Result<Vec<String>, String> {
        let request = SetRequest { values: values.iter().map(|text| (*text).to_owned()).collect(), how };
        changed(key, &request, &now(), &tree()).map_err(|problem| problem.view().title)
    }

    #[test]
    fn lists_are_replaced_added_to_and_taken_from() {
        let ids = |list: &[u8]| list.iter().map(|at| id(*at).to_string()).collect::<Vec<_>>();
        assert_eq!(asked("products", How::Replace, &["writer 11", "Contoso"]).unwrap(), ids(&[1, 4]));
        assert_eq!(asked("products", How::Add, &["Writer 11"]).unwrap(), ids(&[3, 4]));
        assert!(asked("products", How::Remove, &["Writer 10"]).unwrap_err().contains("no products are chosen"));
        assert!(asked("products", How::Remove, &["Writer 11"]).unwrap_err().contains("is not among the products"));
        let wrong = asked("products", How::Add, &["Writer 12", "Hotfixes"]).unwrap_err();
        assert!(wrong.contains("did you mean") && wrong.contains("; \"Hotfixes\" is a classification"), "{wrong}");
        assert_eq!(asked("languages", How::Replace, &["German", "en"]).unwrap(), ["de", "en"]);
        assert_eq!(asked("languages", How::Replace, &["all"]).unwrap(), Vec::<String>::new());
        assert_eq!(asked("languages", How::Add, &["de"]).unwrap(), Vec::<String>::new(), "all and one more is all");
        assert!(asked("languages", How::Replace, &["all", "de"]).is_err());
        assert!(asked("classifications", How::Replace, &[]).unwrap_err().contains("no classifications are chosen"));
    }

    #[test]
    fn of_much_that_is_wrong_the_first_is_told_and_how_much_more_there_is() {
        let values: Vec<String> = (0..200).map(|at| format!("Writer 1O{at}")).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let wrong = asked("products", How::Add, &values).unwrap_err();
        assert_eq!(wrong.matches("did you mean").count(), NEAR_FOR_MAX, "{wrong}");
        assert!(wrong.ends_with("; and 190 more that are wrong"), "{wrong}");
    }

    #[test]
    fn the_tree_is_told_from_the_top_and_circles_end() {
        let rows = rows(&tree(), &now());
        let own: Vec<_> = rows.iter().take(4).map(|row| (row.name.as_str(), row.depth, row.chosen)).collect();
        assert_eq!(
            own,
            [("Contoso", 0, false), ("Desktop", 1, false), ("Writer 10", 2, true), ("Writer 11", 2, false)]
        );
        assert_eq!(rows[3].path, "Contoso > Desktop > Writer 11");
        assert!(
            rows.last().is_some_and(|row| row.kind == "classification") && rows.iter().all(|row| row.name != "Circle")
        );
    }

    #[test]
    fn languages_are_listed_by_name_and_all_are_taken_where_none_is_chosen() {
        let all = languages(&now());
        assert!(all.len() == LANGUAGES.len() && all.iter().all(|row| row.chosen && row.kind == "language"));
        assert_eq!((all[0].id.as_str(), all[0].name.as_str()), ("ar", "Arabic"));
        let german = Filters { languages: BTreeSet::from(["de".to_owned()]), ..now() };
        let chosen: Vec<_> = languages(&german).into_iter().filter(|row| row.chosen).map(|row| row.name).collect();
        assert_eq!(chosen, ["German"]);
    }

    #[test]
    fn a_folder_is_called_so_everywhere() {
        let folder = Category { id: id(5), kind: CategoryKind::Other, name: "Labs".to_owned(), parent: Some(id(1)) };
        let tree = Tree::new(tree().categories().cloned().chain([folder]));
        let rows = rows(&tree, &now());
        assert_eq!(rows.iter().find(|row| row.name == "Labs").unwrap().kind, "folder");
        let said = tree.classification("Labs").unwrap_err().to_string();
        assert!(said.contains("\"Labs\" is a folder"), "{said}");
    }

    #[test]
    fn below_a_wsus_it_is_said_that_nothing_comes_of_it() {
        let setting = |key: &str, value: Raw| Setting {
            key: key.to_owned(),
            value,
            layer: "file".to_owned(),
            place: "w.toml:1".to_owned(),
            locked: true,
            help: String::new(),
            next: None,
        };
        let settings = [
            setting("upstream.kind", "wsus".into()),
            setting("filters.products", Raw::List(vec!["Desktop".into(), "Writr 11".into(), id(77).to_string()])),
        ];
        let told = told(&settings, &tree(), false);
        assert!(told.without_effect.is_some_and(|why| why.contains("WSUS")));
        let names: Vec<_> =
            told.products.entries.iter().map(|entry| (entry.name.clone(), entry.kind.as_str())).collect();
        assert_eq!(names, [(id(77).to_string(), "unknown"), ("Desktop".to_owned(), "family")]);
        assert!(told.products.wrong.len() == 1 && told.products.wrong[0].contains("Writer 11"), "{:?}", told.products);
        assert_eq!((told.products_count, told.products.set.locked), (3, true));
    }
}
