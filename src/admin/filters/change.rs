//! The list that a key is to have, out of what was asked and what is chosen. Pure.

use std::collections::BTreeSet;

use http::StatusCode;

use crate::admin::error::Problem;
use crate::admin::filters::LOOK;
use crate::admin::view::filters::{How, SetRequest};
use crate::model::filter::{ENTRIES_MAX, Error, Filters, NEAR_FOR_MAX, Tree, language, language_or};
use crate::model::update::UpdateId;

/// What to do about one that is known and not chosen.
const LOOK_CHOSEN: &str = "`waystation filters list` shows what is chosen";

/// The same of a language: the protocol has these and no others.
const LOOK_LANGUAGES: &str = "`waystation filters list --available` ends with the languages that there are";

/// The list that a key is to have, as ids; all that is wrong is told at once.
pub(super) fn changed(key: &str, asked: &SetRequest, now: &Filters, tree: &Tree) -> Result<Vec<String>, Problem> {
    if asked.how != How::Add && !asked.remove.is_empty() {
        return Err(Problem::malformed(
            "remove: it goes with how: add; to take out alone, give values with how: remove",
        ));
    }
    let mut wrong = Vec::new();
    let all = key == "languages" && matches!(asked.values.as_slice(), [one] if one.eq_ignore_ascii_case("all"));
    let many = asked.values.len().saturating_add(asked.remove.len());
    if many > ENTRIES_MAX {
        wrong.push(format!("{many} values are more than {ENTRIES_MAX}"));
    }
    let (values, remove): (&[String], &[String]) = match asked.how {
        _ if many > ENTRIES_MAX => (&[], &[]),
        How::Remove if !all => (&[], &asked.values),
        _ if all => (&[], &asked.remove),
        _ => (&asked.values, &asked.remove),
    };
    let (mut given, mut gone) = (BTreeSet::new(), BTreeSet::new());
    for (texts, ids, goes) in [(values, &mut given, false), (remove, &mut gone, true)] {
        for text in texts {
            match one(key, text, tree, wrong.len() < NEAR_FOR_MAX) {
                Ok(id) => drop(ids.insert(id)),
                // What is taken out need not be known any more.
                Err(Error::UnknownId { id, .. }) if goes => drop(ids.insert(id.to_string())),
                Err(error) => wrong.push(error.to_string()),
            }
        }
    }
    let are_unknown = !wrong.is_empty();
    let chosen: BTreeSet<String> = match key {
        "products" => now.products.iter().map(UpdateId::to_string).collect(),
        "classifications" => now.classifications.iter().map(UpdateId::to_string).collect(),
        _ => now.languages.clone(),
    };
    for id in gone.difference(&chosen) {
        wrong.push(format!("{} is not among the {key} that are chosen", name(id, tree)));
    }
    for id in gone.intersection(&given) {
        wrong.push(format!("{} is to be added and to be taken out", name(id, tree)));
    }
    if !wrong.is_empty() {
        let look = match (are_unknown, key) {
            (false, _) => LOOK_CHOSEN,
            (true, "languages") => LOOK_LANGUAGES,
            (true, _) => LOOK,
        };
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, first(wrong).join("; "), look));
    }
    let list: Vec<String> = match asked.how {
        How::Replace => given.into_iter().collect(),
        // All stays all: with some added it would be less.
        How::Add if key == "languages" && (all || chosen.is_empty()) => Vec::new(),
        How::Add => chosen.union(&given).filter(|id| !gone.contains(*id)).cloned().collect(),
        How::Remove if all => Vec::new(),
        How::Remove => chosen.difference(&gone).cloned().collect(),
    };
    let emptied = key == "languages" && !gone.is_empty() && list.is_empty();
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
pub(super) fn first(mut wrong: Vec<String>) -> Vec<String> {
    let more = wrong.len().saturating_sub(NEAR_FOR_MAX);
    if more > 0 {
        wrong.truncate(NEAR_FOR_MAX);
        wrong.push(format!("and {more} more that are wrong"));
    }
    wrong
}

/// The id that a text means under a key; what may have been meant where `is_hinted`.
pub(super) fn one(key: &str, text: &str, tree: &Tree, is_hinted: bool) -> Result<String, Error> {
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
