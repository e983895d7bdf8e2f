//! The scope of detection: which updates are sent although nobody decided anything, so that what is missing is known before
//! anything is approved. A client that evaluates an update reports whether it needs it; each one costs it and this node something
//! at its first scan, so the rules bound them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::model::deployment::Day;
use crate::model::filter::{Error, Selection, Tree};
use crate::model::update::{Kind, UpdateId};

/// What is detected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detection {
    /// Products of which updates are; none given: all.
    pub products: BTreeSet<UpdateId>,
    /// Classifications of which updates are; none given: all.
    pub classifications: BTreeSet<UpdateId>,
    /// The greatest age in days; none given: any.
    pub days: Option<u32>,
}

/// What somebody wrote down: names that only a catalog can judge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Companies, families and products, by name, path or id; none given: all.
    pub products: Vec<String>,
    /// Classifications, by name or id; none given: all.
    pub classifications: Vec<String>,
    /// The greatest age in days; none given: any.
    pub days: Option<u32>,
}

impl Written {
    /// What is meant in the tree of a catalog, families and companies with the products that they have there. What the tree does not know
    /// is left out and told; where nothing is left of a list, nothing fits it: a name that is misspelt must not make all of it detected.
    pub fn in_force(&self, tree: &Tree) -> (Detection, Vec<Error>) {
        let selection = Selection {
            products: self.products.clone(),
            classifications: self.classifications.clone(),
            languages: Vec::new(),
        };
        let (filters, wrong) = selection.in_force(tree);
        let wanted = filters.wanted(tree);
        let of = |written: &[String], found: BTreeSet<UpdateId>| {
            if !written.is_empty() && found.is_empty() { BTreeSet::from([NOTHING]) } else { found }
        };
        let detection = Detection {
            products: of(&self.products, wanted.products),
            classifications: of(&self.classifications, wanted.classifications),
            days: self.days,
        };
        (detection, wrong)
    }
}

/// The id of no category.
const NOTHING: UpdateId = UpdateId::new([0; 16]);

/// What is known of an update.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and they combine")]
pub struct Candidate<'a> {
    /// What it is.
    pub kind: Kind,
    /// It can be approved by itself.
    pub deployable: bool,
    /// It must not be offered.
    pub refused: bool,
    /// It was withdrawn.
    pub expired: bool,
    /// Its products and classifications.
    pub categories: &'a [UpdateId],
    /// The day that it was made, as published.
    pub created: Option<Day>,
}

impl Detection {
    /// Whether an undecided update is detected, today, where nothing that supersedes it is. One that does not say when it was made is as young as can be.
    pub fn takes(&self, update: &Candidate<'_>, now: Timestamp) -> bool {
        let of = |wanted: &BTreeSet<UpdateId>| {
            wanted.is_empty() || update.categories.iter().any(|category| wanted.contains(category))
        };
        let oldest = self.days.map(|days| Day::from(now).number().saturating_sub(days));
        update.kind == Kind::Software
            && update.deployable
            && !(update.refused || update.expired)
            && of(&self.products)
            && of(&self.classifications)
            && update.created.is_none_or(|day| oldest.is_none_or(|oldest| day.number() >= oldest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::filter::Category;
    use crate::model::update::CategoryKind;

    fn id(at: u8) -> UpdateId {
        UpdateId::new([at; 16])
    }

    #[test]
    fn a_family_has_its_products_and_a_misspelt_name_detects_nothing() {
        let category = |at: u8, kind, name: &str, parent: Option<u8>| Category {
            id: id(at),
            kind,
            name: name.to_owned(),
            parent: parent.map(id),
        };
        let tree = Tree::new([
            category(1, CategoryKind::Company, "Contoso", None),
            category(2, CategoryKind::Family, "Desk", Some(1)),
            category(3, CategoryKind::Product, "Paper", Some(2)),
            category(4, CategoryKind::Product, "Pen", Some(2)),
            category(5, CategoryKind::Classification, "Hotfixes", None),
        ]);
        let written = |products: &[&str], classifications: &[&str]| Written {
            products: products.iter().map(|name| (*name).to_owned()).collect(),
            classifications: classifications.iter().map(|name| (*name).to_owned()).collect(),
            days: None,
        };
        let takes = |of: &Written, categories: &[UpdateId]| {
            let candidate = Candidate {
                kind: Kind::Software,
                deployable: true,
                refused: false,
                expired: false,
                categories,
                created: None,
            };
            of.in_force(&tree).0.takes(&candidate, Timestamp::from_ms(0))
        };
        assert!(takes(&written(&[], &[]), &[id(9)]), "nothing named is all");
        let desk = written(&["Desk"], &["Hotfixes"]);
        assert!(takes(&desk, &[id(4), id(5)]) && !takes(&desk, &[id(4)]) && !takes(&desk, &[id(5), id(9)]));
        let slip = written(&["Dask"], &[]);
        assert!(!takes(&slip, &[id(4), id(5)]), "a slip of the pen must not make all of it detected");
        assert_eq!(slip.in_force(&tree).1.len(), 1);
        assert!(takes(&written(&["Dask", "Pen"], &[]), &[id(4)]), "the rest counts");
    }
}
