//! What of Microsoft's catalog is wanted: products, by company, family or product; classifications; languages.
//!
//! 1. A [`Tree`] is made of the categories that the catalog has ([`tree`]); names are resolved in it, since they are the vendor's and
//!    change.
//! 2. A [`Selection`], as somebody wrote it, is resolved to [`Filters`]: ids, which never change, and are what is kept. What is not
//!    known is refused with what may have been meant.
//! 3. At each run [`Filters::wanted`] turns companies and families into the products that they have by then.
//!
//! An update is wanted when it has one of the products and one of the classifications; a list of one kind alone finds nothing
//! (observed of WSUS and of Microsoft's service), so neither may be empty.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::update::{CategoryKind, UpdateId};

pub mod known;
mod languages;
mod tree;

#[cfg(test)]
mod tests;

pub use languages::{LANGUAGES, Language, language, language_or};
pub use tree::{Category, Error, NEAR_FOR_MAX, Tree};

/// Entries of one list. A real catalog has 444 categories; a list longer than this was not written by a person.
pub const ENTRIES_MAX: usize = 2_000;

/// Filters as somebody wrote them: ids or names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selection {
    /// Companies, families and products; `family > product` where a name is not unique.
    pub products: Vec<String>,
    /// Classifications.
    pub classifications: Vec<String>,
    /// Languages (`en`, `zh-tw`, or in words); none for all.
    pub languages: Vec<String>,
}

impl Default for Selection {
    /// The ids of [`Filters::default`]: a real catalog may call one of them otherwise, or something else as well.
    fn default() -> Self {
        let ids =
            |list: &'static [known::Known]| list.iter().filter(|known| known.default).map(|known| known.id.to_string());
        Self {
            products: ids(&known::PRODUCTS).collect(),
            classifications: ids(&known::CLASSIFICATIONS).collect(),
            languages: Vec::new(),
        }
    }
}

/// What is wanted, by ids. This is what is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filters {
    /// Companies, families and products.
    pub products: BTreeSet<UpdateId>,
    /// Classifications.
    pub classifications: BTreeSet<UpdateId>,
    /// Short names of languages; empty for all.
    pub languages: BTreeSet<String>,
}

impl Default for Filters {
    /// Windows clients and servers that the vendor still mends, and the definitions of its antivirus; what mends, and neither drivers
    /// nor upgrades, which are many and large and not for every site; all languages, since what is current has them in one.
    fn default() -> Self {
        let ids = |list: &[known::Known]| list.iter().filter(|known| known.default).map(|known| known.id).collect();
        Self {
            products: ids(&known::PRODUCTS),
            classifications: ids(&known::CLASSIFICATIONS),
            languages: BTreeSet::new(),
        }
    }
}

/// What is asked of an upstream: products and classifications only, none of them empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Products.
    pub products: BTreeSet<UpdateId>,
    /// Classifications.
    pub classifications: BTreeSet<UpdateId>,
    /// Languages by the number that the protocol has for them; empty for all.
    pub languages: BTreeSet<u32>,
}

impl Selection {
    /// The ids that are meant. All that is wrong is told at once.
    pub fn resolve(&self, tree: &Tree) -> Result<Filters, Vec<Error>> {
        let mut wrong = Vec::new();
        let mut filters =
            Filters { products: BTreeSet::new(), classifications: BTreeSet::new(), languages: BTreeSet::new() };
        for (what, list) in
            [("products", &self.products), ("classifications", &self.classifications), ("languages", &self.languages)]
        {
            if list.len() > ENTRIES_MAX {
                wrong.push(Error::Many { what, max: ENTRIES_MAX });
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        for text in &self.products {
            match tree.product_or(text, wrong.len() < NEAR_FOR_MAX) {
                Ok(id) => drop(filters.products.insert(id)),
                Err(error) => wrong.push(error),
            }
        }
        for text in &self.classifications {
            match tree.classification_or(text, wrong.len() < NEAR_FOR_MAX) {
                Ok(id) => drop(filters.classifications.insert(id)),
                Err(error) => wrong.push(error),
            }
        }
        for text in &self.languages {
            match language_or(text, wrong.len() < NEAR_FOR_MAX) {
                Ok(language) => drop(filters.languages.insert(language.short.to_owned())),
                Err(error) => wrong.push(error),
            }
        }
        if wrong.is_empty()
            && let Err(error) = filters.check()
        {
            wrong.push(error);
        }
        if wrong.is_empty() { Ok(filters) } else { Err(wrong) }
    }
}

impl Selection {
    /// The ids that are meant, for whoever uses what was accepted before: an id that the tree does not know stays, since the catalog
    /// that has it may be yet to come. A name that the tree does not know is left out and told.
    pub fn in_force(&self, tree: &Tree) -> (Filters, Vec<Error>) {
        let mut wrong = Vec::new();
        let mut ids = |texts: &[String], find: &dyn Fn(&str, bool) -> Result<UpdateId, Error>| {
            let mut ids = BTreeSet::new();
            for text in texts.iter().take(ENTRIES_MAX) {
                match find(text, wrong.len() < NEAR_FOR_MAX) {
                    Ok(id) | Err(Error::UnknownId { id, .. }) => drop(ids.insert(id)),
                    Err(error) => wrong.push(error),
                }
            }
            ids
        };
        let products = ids(&self.products, &|text, is_hinted| tree.product_or(text, is_hinted));
        let classifications = ids(&self.classifications, &|text, is_hinted| tree.classification_or(text, is_hinted));
        let mut languages = BTreeSet::new();
        for text in self.languages.iter().take(ENTRIES_MAX) {
            match language_or(text, wrong.len() < NEAR_FOR_MAX) {
                Ok(language) => drop(languages.insert(language.short.to_owned())),
                Err(error) => wrong.push(error),
            }
        }
        (Filters { products, classifications, languages }, wrong)
    }
}

impl Filters {
    /// Refuses what would find nothing.
    pub fn check(&self) -> Result<(), Error> {
        match (self.products.is_empty(), self.classifications.is_empty()) {
            (true, _) => Err(Error::Empty { what: "products", example: "Windows 11" }),
            (_, true) => Err(Error::Empty { what: "classifications", example: "Security Updates" }),
            _ => Ok(()),
        }
    }

    /// What to ask for, with the products that companies and families have now. What the tree does not know stays as it is: it may
    /// be a product that the next run brings.
    pub fn wanted(&self, tree: &Tree) -> Wanted {
        Wanted {
            products: self.products.iter().flat_map(|id| tree.products_of(*id)).collect(),
            classifications: self.classifications.clone(),
            languages: self.languages.iter().filter_map(|short| language(short).ok()).map(|known| known.id).collect(),
        }
    }

    /// The filters in names, for people: what has none is its id.
    pub fn named(&self, tree: &Tree) -> Selection {
        let names = |ids: &BTreeSet<UpdateId>| {
            let mut names: Vec<String> = ids.iter().map(|id| tree.name(*id)).collect();
            names.sort();
            names
        };
        Selection {
            products: names(&self.products),
            classifications: names(&self.classifications),
            languages: self.languages.iter().cloned().collect(),
        }
    }
}

impl Wanted {
    /// Whether an update of these categories is wanted.
    pub fn takes(&self, categories: impl IntoIterator<Item = UpdateId>) -> bool {
        let (mut product, mut classification) = (false, false);
        for id in categories {
            product |= self.products.contains(&id);
            classification |= self.classifications.contains(&id);
        }
        product && classification
    }
}

/// In words what a category is, for messages.
const fn word(kind: CategoryKind) -> &'static str {
    match kind {
        CategoryKind::Company => "company",
        CategoryKind::Family => "product family",
        CategoryKind::Product => "product",
        CategoryKind::Classification => "classification",
        CategoryKind::Other => "folder",
    }
}
