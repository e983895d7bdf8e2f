//! What is asked of a list, and how lists and the tree are told.

use std::collections::BTreeSet;

use crate::admin::filters::change::changed;
use crate::admin::filters::tell::{languages, rows, told};
use crate::admin::view::Setting;
use crate::admin::view::filters::{How, SetRequest};
use crate::model::filter::Category;
use crate::model::filter::{Filters, LANGUAGES, NEAR_FOR_MAX, Selection, Tree};
use crate::model::settings::Raw;
use crate::model::update::{CategoryKind, UpdateId};

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
    asked_both(key, how, values, &[])
}

fn asked_both(key: &str, how: How, values: &[&str], remove: &[&str]) -> Result<Vec<String>, String> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let request = SetRequest { values: texts(values), how, remove: texts(remove) };
    changed(key, &request, &now(), &tree()).map_err(|problem| problem.view().title)
}

#[test]
fn some_are_added_and_others_taken_out_in_one_go() {
    let both = |values: &[&str], remove: &[&str]| asked_both("products", How::Add, values, remove);
    assert_eq!(both(&["Writer 11"], &["Writer 10"]).unwrap(), [id(4).to_string()]);
    assert_eq!(both(&["Writer 11", "Contoso"], &["Writer 10"]).unwrap(), [id(1).to_string(), id(4).to_string()]);
    assert!(both(&["Writer 11"], &["Writer 11"]).unwrap_err().contains("to be added and to be taken out"));
    assert!(both(&["Writer 11"], &["Desktop"]).unwrap_err().contains("is not among the products"));
    assert!(asked_both("products", How::Replace, &["Writer 11"], &["Writer 10"]).is_err());
    // What is known and not chosen is no matter of what the catalog has.
    let request = SetRequest { values: vec!["Desktop".into()], how: How::Remove, remove: vec![] };
    let problem = changed("products", &request, &now(), &tree()).unwrap_err().view();
    assert!(problem.detail.contains("shows what is chosen") && !problem.detail.contains("sync start"), "{problem:?}");
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
    assert_eq!(own, [("Contoso", 0, false), ("Desktop", 1, false), ("Writer 10", 2, true), ("Writer 11", 2, false)]);
    assert_eq!(rows[3].path, "Contoso > Desktop > Writer 11");
    assert!(rows.last().is_some_and(|row| row.kind == "classification") && rows.iter().all(|row| row.name != "Circle"));
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
    let names: Vec<_> = told.products.entries.iter().map(|entry| (entry.name.clone(), entry.kind.as_str())).collect();
    assert_eq!(names, [(id(77).to_string(), "unknown"), ("Desktop".to_owned(), "family")]);
    assert!(told.products.wrong.len() == 1 && told.products.wrong[0].contains("Writer 11"), "{:?}", told.products);
    assert_eq!((told.products_count, told.products.set.locked), (3, true));
}
