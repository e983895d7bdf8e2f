//! What of the catalog is wanted.

use serde::{Deserialize, Serialize};

use crate::admin::view::bandwidth::Set;

/// `GET /api/v1/filters`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filters {
    /// Companies, families and products.
    pub products: Chosen,
    /// Classifications.
    pub classifications: Chosen,
    /// Languages; none for all.
    pub languages: Chosen,
    /// How many products that comes to, with those of companies and families.
    pub products_count: u64,
    /// Why they have no effect; absent where they have.
    pub without_effect: Option<String>,
    /// Categories in the catalog; 0 before the first synchronisation.
    pub catalog_categories: u64,
    /// Updates that are held and that these filters do not find; absent where filters have no effect.
    #[serde(default)]
    pub beyond: Option<u64>,
    /// Of these, those that somebody approved.
    #[serde(default)]
    pub beyond_approved: u64,
    /// Of the others, those that an update needs which the filters find; absent where that is not known.
    #[serde(default)]
    pub beyond_needed: Option<u64>,
    /// Whether a whole run lets go of those, but for what was approved or is needed (`sync.prune_beyond_filters`).
    #[serde(default)]
    pub prunes: bool,
    /// Some of their names came over plain HTTP, and nobody vouches for them.
    #[serde(default)]
    pub unauthenticated: bool,
}

impl Filters {
    /// What stands in any of the lists and means nothing, with what may have been meant.
    pub fn wrong(&self) -> impl Iterator<Item = &String> {
        [&self.products, &self.classifications, &self.languages].into_iter().flat_map(|list| &list.wrong)
    }

    /// One key of `[filters]`, where there is such a key.
    pub fn key(&self, key: &str) -> Option<&Chosen> {
        match key {
            "products" => Some(&self.products),
            "classifications" => Some(&self.classifications),
            "languages" => Some(&self.languages),
            _ => None,
        }
    }
}

/// One list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// What is chosen.
    pub entries: Vec<Entry>,
    /// What stands in it and means nothing, with what may have been meant.
    pub wrong: Vec<String>,
    /// The list as it was set.
    pub set: Set,
}

/// Something that is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its id; the short name of a language.
    pub id: String,
    /// What it is called; its id where the catalog does not know it (yet).
    pub name: String,
    /// `company`, `family`, `product`, `classification`, `language`; `unknown` where the catalog does not know it.
    pub kind: String,
}

/// A category of the catalog, as `GET /api/v1/filters/available` lists them: each below what it stands below. Behind them come the
/// languages, with their short names for ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Available {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `company`, `family`, `product`, `classification`, `category` or `language`.
    pub kind: String,
    /// How deep it stands: 0 for what stands below nothing.
    pub depth: u32,
    /// Names from the company down, with ` > ` between them.
    pub path: String,
    /// Whether the filters in force take it, by itself or by what it stands below.
    pub chosen: bool,
    /// Its name came over plain HTTP, and nobody vouches for it.
    #[serde(default)]
    pub unauthenticated: bool,
}

/// `POST /api/v1/filters/{key}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRequest {
    /// Names, paths or ids; of languages `all` stands for all.
    pub values: Vec<String>,
    /// What becomes of those that are chosen now.
    #[serde(default)]
    pub how: How,
    /// With `add`: what is taken out in the same go.
    #[serde(default)]
    pub remove: Vec<String>,
}

/// What becomes of what is chosen now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// These come in its place.
    #[default]
    Replace,
    /// These are added to it.
    Add,
    /// These are taken out of it.
    Remove,
}
