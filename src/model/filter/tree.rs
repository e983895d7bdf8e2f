//! The product tree and the classifications, as the catalog has them, and names looked up in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::model::filter::{known, word};
use crate::model::settings::distance;
use crate::model::update::{CategoryKind, Kind, Publication, Update, UpdateId};

/// How many near matches are told.
pub(super) const NEAR_MAX: usize = 5;

/// Of so many wrong texts in one list it is told what may have been meant: to find it each is compared with every name there is, and
/// nobody reads on beyond the first few.
pub const NEAR_FOR_MAX: usize = 10;

/// Levels of the tree that are followed: a real one has company, family, product, and folders between them.
const LEVELS_MAX: usize = 8;

/// What stands between the names of a path.
const BELOW: &str = " > ";

/// A category as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// Its id.
    pub id: UpdateId,
    /// What it is.
    pub kind: CategoryKind,
    /// What the vendor calls it.
    pub name: String,
    /// What it stands below.
    pub parent: Option<UpdateId>,
}

impl Category {
    /// The category that an update is; `None` where it is none, or one that was withdrawn.
    pub fn of(update: &Update) -> Option<Self> {
        let Kind::Category(kind) = update.kind else { return None };
        if update.publication == Publication::Expired {
            return None;
        }
        // A category stands below the category that it names as its own.
        let parent = update.categories().find(|parent| *parent != update.identity.id);
        Some(Self { id: update.identity.id, kind, name: update.title().to_owned(), parent })
    }
}

/// What names it may have been, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Near(Vec<String>);

impl From<Vec<String>> for Near {
    fn from(names: Vec<String>) -> Self {
        Self(names)
    }
}

impl Near {
    /// The names.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Near {
    /// The end of a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => Ok(()),
            [one] => write!(f, "; did you mean {one:?}?"),
            [first, rest @ ..] => {
                write!(f, "; did you mean one of {first:?}")?;
                rest.iter().try_for_each(|name| write!(f, ", {name:?}"))?;
                f.write_str("?")
            }
        }
    }
}

/// What is wrong with a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing is called so.
    #[error("no {what} is called {text:?}{near}")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// What was written.
        text: String,
        /// What may have been meant.
        near: Near,
    },
    /// The catalog has no category of this id.
    #[error(
        "the catalog has no {what} with the id {id}; it may come with the next synchronisation, or the id is wrong"
    )]
    UnknownId {
        /// What was looked for.
        what: &'static str,
        /// What was written.
        id: UpdateId,
    },
    /// Several are called so.
    #[error("{text:?} can be any of {}; write one of them, or its id", .paths.join(", "))]
    Ambiguous {
        /// What was written.
        text: String,
        /// The paths of those that are called so.
        paths: Vec<String>,
    },
    /// It is something else.
    #[error("{text:?} is a {is}, not a {what}; name it under {under}")]
    Misplaced {
        /// What was written.
        text: String,
        /// What it is.
        is: &'static str,
        /// What was looked for.
        what: &'static str,
        /// Where it belongs.
        under: &'static str,
    },
    /// A list is empty that must not be.
    #[error(
        "no {what} are chosen, and without any nothing is found: add some, for instance {example:?}, or restore the defaults"
    )]
    Empty {
        /// Which list.
        what: &'static str,
        /// One that it may have.
        example: &'static str,
    },
    /// A list is too long.
    #[error("more than {max} {what} are chosen; choose families or companies instead of their products")]
    Many {
        /// Which list.
        what: &'static str,
        /// How many are taken.
        max: usize,
    },
}

/// The categories of a catalog, and those that are known without one.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    all: BTreeMap<UpdateId, Category>,
    children: BTreeMap<UpdateId, BTreeSet<UpdateId>>,
    /// Names as [`folded`] has them, from the last [`BELOW`] on: whoever asks for a path asks for one that ends so.
    called: BTreeMap<String, Vec<UpdateId>>,
}

impl Tree {
    /// The tree of these categories. Where the catalog does not have one of [`known`], it is added, without a parent.
    pub fn new(categories: impl IntoIterator<Item = Category>) -> Self {
        let mut tree = Self::default();
        for category in categories {
            tree.all.insert(category.id, category);
        }
        for known in known::CLASSIFICATIONS.iter().chain(&known::PRODUCTS) {
            tree.all.entry(known.id).or_insert_with(|| Category {
                id: known.id,
                kind: known.kind,
                name: known.name.to_owned(),
                parent: None,
            });
        }
        for category in tree.all.values() {
            if let Some(parent) = category.parent.filter(|parent| *parent != category.id) {
                tree.children.entry(parent).or_default().insert(category.id);
            }
            tree.called.entry(last(&folded(&category.name)).to_owned()).or_default().push(category.id);
        }
        tree
    }

    /// All categories, in the order of their ids.
    pub fn categories(&self) -> impl Iterator<Item = &Category> {
        self.all.values()
    }

    /// The category of this id.
    pub fn get(&self, id: UpdateId) -> Option<&Category> {
        self.all.get(&id)
    }

    /// What stands directly below a category.
    pub fn children(&self, id: UpdateId) -> impl Iterator<Item = &Category> {
        self.children.get(&id).into_iter().flatten().filter_map(|child| self.all.get(child))
    }

    /// Company, family or product of this id, name or path, in any case.
    pub fn product(&self, text: &str) -> Result<UpdateId, Error> {
        self.product_or(text, true)
    }

    /// The same; what may have been meant only where `is_hinted`.
    pub fn product_or(&self, text: &str, is_hinted: bool) -> Result<UpdateId, Error> {
        self.find(text, "product", is_hinted, |kind| kind != CategoryKind::Classification)
    }

    /// The classification of this id or name, in any case.
    pub fn classification(&self, text: &str) -> Result<UpdateId, Error> {
        self.classification_or(text, true)
    }

    /// The same; what may have been meant only where `is_hinted`.
    pub fn classification_or(&self, text: &str, is_hinted: bool) -> Result<UpdateId, Error> {
        self.find(text, "classification", is_hinted, |kind| kind == CategoryKind::Classification)
    }

    /// The products at and below a category; itself where there is none below or it is not known. Circles end.
    pub fn products_of(&self, id: UpdateId) -> Vec<UpdateId> {
        let mut products = Vec::new();
        let mut seen = BTreeSet::new();
        let mut left = vec![id];
        while let Some(id) = left.pop() {
            if !seen.insert(id) {
                continue;
            }
            let kind = self.all.get(&id).map(|category| category.kind);
            if matches!(kind, Some(CategoryKind::Product)) {
                products.push(id);
            }
            left.extend(self.children.get(&id).into_iter().flatten());
        }
        if products.is_empty() {
            products.push(id);
        }
        products
    }

    /// The shortest text that [`Tree::product`] and [`Tree::classification`] take for this category alone: its name, its path, its id.
    pub fn name(&self, id: UpdateId) -> String {
        let Some(category) = self.all.get(&id) else { return id.to_string() };
        let resolve = |text: &str| match category.kind {
            CategoryKind::Classification => self.classification(text),
            _ => self.product(text),
        };
        let path = self.path(id);
        [category.name.clone(), path].into_iter().find(|text| resolve(text) == Ok(id)).unwrap_or_else(|| id.to_string())
    }

    /// Names from the company down, with ` > ` between them.
    pub fn path(&self, id: UpdateId) -> String {
        let mut names = Vec::new();
        let mut next = Some(id);
        while let Some(category) = next.and_then(|id| self.all.get(&id)) {
            if names.len() >= LEVELS_MAX {
                break;
            }
            names.push(category.name.as_str());
            next = category.parent;
        }
        names.reverse();
        names.join(BELOW)
    }

    fn find(
        &self,
        text: &str,
        what: &'static str,
        is_hinted: bool,
        fits: impl Fn(CategoryKind) -> bool,
    ) -> Result<UpdateId, Error> {
        let shown: String = text.trim().chars().take(120).collect();
        if let Ok(id) = text.trim().parse::<UpdateId>() {
            return match self.all.get(&id) {
                Some(category) if fits(category.kind) => Ok(id),
                Some(category) => Err(misplaced(shown, category.kind, what)),
                None => Err(Error::UnknownId { what, id }),
            };
        }
        let wanted = folded(text);
        let alike = self.called.get(last(&wanted)).into_iter().flatten().filter_map(|id| self.all.get(id));
        let called: Vec<&Category> = alike.filter(|category| self.is_called(category, &wanted)).collect();
        let mut fitting: Vec<&&Category> = called.iter().filter(|category| fits(category.kind)).collect();
        // A folder that is called as a product, a family or a company is not meant where one of those is called so.
        if fitting.iter().any(|category| category.kind != CategoryKind::Other) {
            fitting.retain(|category| category.kind != CategoryKind::Other);
        }
        match (fitting.as_slice(), called.as_slice()) {
            ([one], _) => Ok(one.id),
            ([], [other, ..]) => Err(misplaced(shown, other.kind, what)),
            ([], []) if !is_hinted => Err(Error::Unknown { what, near: Near::default(), text: shown }),
            ([], []) => {
                let names = self.all.values().filter(|category| fits(category.kind));
                let names = names.map(|category| (category.name.as_str(), category.name.as_str()));
                Err(Error::Unknown { what, near: near(text, names).into(), text: shown })
            }
            (several, _) => {
                let mut paths: Vec<String> =
                    several.iter().map(|category| format!("{:?} ({})", self.path(category.id), category.id)).collect();
                paths.sort();
                paths.truncate(NEAR_MAX);
                Err(Error::Ambiguous { text: shown, paths })
            }
        }
    }

    /// Whether this is its name, or the end of its path.
    fn is_called(&self, category: &Category, wanted: &str) -> bool {
        if folded(&category.name) == wanted {
            return true;
        }
        wanted.contains(BELOW.trim()) && {
            let path = folded(&self.path(category.id));
            path == wanted || path.strip_suffix(wanted).is_some_and(|rest| rest.ends_with(BELOW))
        }
    }
}

fn misplaced(text: String, is: CategoryKind, what: &'static str) -> Error {
    let under = if is == CategoryKind::Classification { "classifications" } else { "products" };
    Error::Misplaced { text, is: word(is), what, under }
}

/// What stands behind the last sign of a path.
fn last(folded: &str) -> &str {
    folded.rsplit(BELOW.trim()).next().unwrap_or_default().trim()
}

/// In lower case, with single blanks, also around `>`.
fn folded(text: &str) -> String {
    let spaced = text.replace('>', BELOW);
    spaced.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// What may have been meant: first the names that contain what was written, the shortest first; then those of which at most a third
/// differs. Each pair is what is compared and what is told.
pub(super) fn near<'a>(wrong: &str, names: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let wrong = folded(wrong);
    // A longer text is no slip of the pen, and comparing would take its time.
    if wrong.is_empty() || wrong.len() > 120 {
        return Vec::new();
    }
    let mut found: Vec<(bool, usize, &str)> = names
        .filter_map(|(name, told)| {
            let folded = folded(name);
            let within = wrong.len() >= 3 && folded.contains(&wrong);
            let far = if within { folded.len() - wrong.len() } else { distance(&wrong, &folded) };
            (within || far <= wrong.len().min(folded.len()).div_ceil(3)).then_some((!within, far, told))
        })
        .collect();
    found.sort_unstable();
    let mut told: Vec<String> = Vec::new();
    for (_, _, name) in found {
        if told.len() < NEAR_MAX && !told.iter().any(|known| known == name) {
            told.push(name.to_owned());
        }
    }
    told
}
