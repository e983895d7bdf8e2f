//! A small product tree, what resolves in it, and what is refused with which words.

use super::*;

fn id(number: u8) -> UpdateId {
    UpdateId::new([number; 16])
}

fn category(number: u8, kind: CategoryKind, name: &str, parent: u8) -> Category {
    Category { id: id(number), kind, name: name.to_owned(), parent: (parent != 0).then(|| id(parent)) }
}

fn tree() -> Tree {
    use CategoryKind::{Classification, Company, Family, Product};
    Tree::new([
        category(1, Company, "Contoso", 0),
        category(2, Family, "Desktop", 1),
        category(3, Product, "Writer 10", 2),
        category(4, Product, "Writer 11", 2),
        category(5, Family, "Server", 1),
        category(6, Product, "Tools", 5),
        category(7, Product, "Tools", 2),
        category(8, Classification, "Hotfixes", 0),
        category(9, Product, "Circle", 9),
    ])
}

fn selection(products: &[&str], classifications: &[&str], languages: &[&str]) -> Selection {
    let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Selection { products: own(products), classifications: own(classifications), languages: own(languages) }
}

fn refused(products: &[&str], classifications: &[&str], languages: &[&str]) -> String {
    let errors = selection(products, classifications, languages).resolve(&tree()).unwrap_err();
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn names_ids_and_paths_resolve() {
    let filters = selection(
        &["writer  11", "Server > Tools", &id(1).to_string().to_uppercase()],
        &["HOTFIXES", "security updates"],
        &["DE", "English"],
    )
    .resolve(&tree())
    .unwrap();
    assert_eq!(filters.products, BTreeSet::from([id(1), id(4), id(6)]));
    assert_eq!(filters.classifications, BTreeSet::from([id(8), known::CLASSIFICATIONS[1].id]));
    assert_eq!(filters.languages, BTreeSet::from(["de".to_owned(), "en".to_owned()]));
    let wanted = filters.wanted(&tree());
    assert_eq!(wanted.products, BTreeSet::from([id(3), id(4), id(6), id(7)]));
    assert_eq!(wanted.languages, BTreeSet::from([1031, 1033]));
    assert!(wanted.takes([id(3), id(8)]) && !wanted.takes([id(3)]) && !wanted.takes([id(8)]) && !wanted.takes([]));
    assert_eq!(tree().path(id(7)), "Contoso > Desktop > Tools");
}

#[test]
fn what_was_accepted_once_is_used_as_far_as_it_is_known() {
    let chosen = selection(&["Writer 10", "Writr 11", &id(77).to_string()], &["Desktop", "Hotfixes"], &["de", "tlh"]);
    let (filters, wrong) = chosen.in_force(&tree());
    assert_eq!(filters.products, BTreeSet::from([id(3), id(77)]), "an id may come with the next catalog");
    assert_eq!((filters.classifications.len(), filters.languages.len()), (1, 1));
    assert!(
        matches!(&wrong[..], [Error::Unknown { .. }, Error::Misplaced { .. }, Error::Unknown { what: "language", .. }]),
        "{wrong:?}"
    );
}

#[test]
fn a_family_has_the_products_that_come_later() {
    let filters = selection(&["Desktop"], &["Hotfixes"], &[]).resolve(&tree()).unwrap();
    let mut later: Vec<Category> = tree().categories().cloned().collect();
    later.push(category(10, CategoryKind::Product, "Writer 12", 2));
    assert!(!filters.wanted(&tree()).products.contains(&id(10)));
    assert!(filters.wanted(&Tree::new(later)).products.contains(&id(10)));
    // What the catalog does not know yet is asked for as it is.
    let foreign = Filters { products: BTreeSet::from([id(77)]), ..filters };
    assert_eq!(foreign.wanted(&tree()).products, BTreeSet::from([id(77)]));
    assert_eq!(tree().products_of(id(9)), [id(9)]);
}

#[test]
fn what_is_unknown_is_refused_with_what_may_be_meant() {
    let said = refused(&["Writer 1O", "writ"], &["Securty Updates"], &["gemran"]);
    assert!(
        said.contains("no product is called \"Writer 1O\"; did you mean one of \"Writer 10\", \"Writer 11\""),
        "{said}"
    );
    assert!(said.contains("\"writ\"; did you mean one of \"Writer 10\""), "{said}");
    assert!(said.contains("\"Securty Updates\"; did you mean") && said.contains("\"Security Updates\""), "{said}");
    assert!(said.contains("\"gemran\"; did you mean \"de (German)\"?"), "{said}");
    assert_eq!(said.lines().count(), 4, "all that is wrong at once: {said}");
    let long = refused(&["x".repeat(10_000).as_str()], &["Hotfixes"], &[]);
    assert!(long.len() < 300, "{long}");
    assert!(refused(&[&id(99).to_string()], &["Hotfixes"], &[]).contains("has no product with the id 63636363"));
}

#[test]
fn what_is_no_use_is_refused() {
    let said = refused(&["Tools"], &["Hotfixes"], &[]);
    assert!(said.contains("\"Contoso > Desktop > Tools\"") && said.contains("\"Contoso > Server > Tools\""), "{said}");
    let said = refused(&["Hotfixes"], &["Writer 11"], &[]);
    assert!(said.contains("\"Hotfixes\" is a classification, not a product; name it under classifications"), "{said}");
    assert!(said.contains("\"Writer 11\" is a product, not a classification; name it under products"), "{said}");
    assert!(refused(&[], &["Hotfixes"], &[]).contains("no products are chosen"));
    assert!(refused(&["Writer 11"], &[], &[]).contains("no classifications are chosen"));
    let many = Selection { products: vec!["Writer 11".into(); ENTRIES_MAX + 1], ..Selection::default() };
    assert!(matches!(many.resolve(&tree()).unwrap_err().as_slice(), [Error::Many { .. }]));
}

#[test]
fn the_defaults_need_no_catalog_and_leave_drivers_and_upgrades_out() {
    let empty = Tree::new([]);
    let filters = Selection::default().resolve(&empty).unwrap();
    assert_eq!(filters, Filters::default());
    filters.check().unwrap();
    let named = filters.named(&empty);
    assert!(named.products.contains(&"Windows 11".to_owned()) && named.languages.is_empty());
    for left_out in ["Drivers", "Upgrades"] {
        assert!(!named.classifications.contains(&left_out.to_owned()), "{left_out}");
        assert!(!filters.classifications.contains(&empty.classification(left_out).unwrap()));
    }
    for taken in ["Critical Updates", "Security Updates", "Definition Updates", "Update Rollups"] {
        assert!(named.classifications.contains(&taken.to_owned()), "{taken}");
    }
    assert_eq!(known::DEFINITION_UPDATES.to_string(), "e0789628-ce08-4437-be74-2495b842f43b");
}

#[test]
fn what_is_shown_resolves_to_what_is_kept() {
    let all = Filters {
        products: (1..=7).chain([9, 77]).map(id).collect(),
        classifications: BTreeSet::from([id(8)]),
        languages: BTreeSet::from(["zh-hk".to_owned()]),
    };
    let shown = all.named(&tree());
    assert!(shown.products.contains(&"Contoso > Server > Tools".to_owned()), "{shown:?}");
    assert!(shown.products.contains(&id(77).to_string()));
    let known: Vec<String> = shown.products.iter().filter(|name| **name != id(77).to_string()).cloned().collect();
    let again = Selection { products: known, ..shown }.resolve(&tree()).unwrap();
    assert_eq!(again.products, (1..=7).chain([9]).map(id).collect());
    let kept = serde_json::to_string(&all).unwrap();
    assert_eq!(serde_json::from_str::<Filters>(&kept).unwrap(), all);
    assert!(serde_json::from_str::<Selection>("{\"product\": []}").unwrap_err().to_string().contains("product"));
}

#[test]
fn a_category_is_what_its_document_says() {
    use crate::model::update::{Clause, Identity, Kind, Publication, Text, Update};
    let mut update = Update::new(Identity { id: id(3), revision: 1 }, Kind::Category(CategoryKind::Product));
    update.texts = vec![Text { language: "en".into(), title: "Writer".into(), description: String::new() }];
    update.prerequisites =
        vec![Clause { any_of: vec![id(9)], is_category: false }, Clause { any_of: vec![id(2)], is_category: true }];
    assert_eq!(Category::of(&update), Some(category(3, CategoryKind::Product, "Writer", 2)));
    update.publication = Publication::Expired;
    assert_eq!(Category::of(&update), None);
    assert_eq!(Category::of(&Update::new(update.identity, Kind::Detectoid)), None);
}

#[test]
fn only_the_first_that_are_wrong_are_compared_with_all_names() {
    let texts: Vec<String> = (0..NEAR_FOR_MAX + 5).map(|at| format!("Writer 1O{at}")).collect();
    let chosen = Selection { products: texts, ..selection(&[], &["Hotfixes"], &["gemran"]) };
    let (_, wrong) = chosen.in_force(&tree());
    let hinted = |errors: &[Error]| {
        let is_hinted = |error: &&Error| matches!(error, Error::Unknown { near, .. } if !near.names().is_empty());
        (errors.len(), errors.iter().filter(is_hinted).count())
    };
    assert_eq!(hinted(&wrong), (NEAR_FOR_MAX + 6, NEAR_FOR_MAX));
    assert_eq!(hinted(&chosen.resolve(&tree()).unwrap_err()), (NEAR_FOR_MAX + 6, NEAR_FOR_MAX));
}

#[test]
fn paths_are_found_by_their_ends_also_where_a_name_has_their_sign() {
    let mut all: Vec<Category> = tree().categories().cloned().collect();
    all.push(category(20, CategoryKind::Product, "Old>New  Tools", 5));
    let tree = Tree::new(all);
    for text in ["old > new tools", "New Tools", "Server > Old > New Tools", "Contoso>Server>Old>New tools"] {
        let found = tree.product(text);
        // The end of a name alone is no name.
        assert_eq!(found.ok(), (text != "New Tools").then(|| id(20)), "{text}");
    }
    assert_eq!(tree.name(id(20)), "Old>New  Tools");
}
