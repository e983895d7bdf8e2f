//! What values mean: each kind reads a raw value, says what it expects with an example, and never repeats a password.
//!
//! [`quantity`]: numbers, sizes, times. [`network`]: addresses, names, networks, URLs. [`word`]: words, texts, paths.
//! [`pace`]: bandwidth rules. [`filter`]: what of the catalog is wanted. [`policy`]: which files of it. [`endpoint`]: who is let in.

pub(crate) mod endpoint;
pub(crate) mod filter;
pub(crate) mod network;
pub(crate) mod pace;
pub(crate) mod policy;
pub(crate) mod quantity;
pub(crate) mod word;

use crate::model::settings::Raw;
use crate::model::shown::without_user_info;

/// Most items of a list: bounds what start-up does with a mangled file.
const ITEMS_MAX: usize = 10_000;

/// A meaning of a raw value.
pub(crate) trait Kind: Sized {
    /// Whether it is a list, so that the environment and flags split at commas. A single value is accepted always.
    const LIST: bool = false;
    /// What is expected, with an example, to stand behind "expected ".
    fn expected() -> String;
    /// Reads it; `Err` carries what is wrong beside the plain mismatch, or nothing.
    fn read(raw: &Raw) -> Result<Self, String>;
}

/// A raw value as messages show it.
pub(crate) fn shown(raw: &Raw) -> String {
    told(raw).to_string()
}

/// A raw value without what may be a password in it.
fn told(raw: &Raw) -> Raw {
    match raw {
        Raw::Text(text) => Raw::Text(without_user_info(text).into_owned()),
        Raw::List(items) => Raw::List(items.iter().map(|item| without_user_info(item).into_owned()).collect()),
        other => other.clone(),
    }
}

/// A raw value as listings tell it, in the form of the key's `default`: the environment and flags write `true`, a number
/// and a list of one as a text.
pub(crate) fn in_form(raw: &Raw, default: &Raw) -> Raw {
    match (default, told(raw)) {
        (Raw::Switch(_), Raw::Text(text)) => text.parse().map_or(Raw::Text(text), Raw::Switch),
        (Raw::Number(_), Raw::Text(text)) => text.trim().parse().map_or(Raw::Text(text), Raw::Number),
        (Raw::List(_), Raw::Text(text)) if text.trim().is_empty() => Raw::List(Vec::new()),
        (Raw::List(_), Raw::Text(text)) => Raw::List(vec![text]),
        (_, told) => told,
    }
}

/// A text without the blanks around it.
pub(super) fn text(raw: &Raw) -> Result<&str, String> {
    match raw {
        Raw::Text(text) => Ok(text.trim()),
        _ => Err(String::new()),
    }
}

/// The items of a list, or the one of a single value; a single empty text is an empty list.
pub(super) fn items(raw: &Raw) -> Result<Vec<&str>, String> {
    let items: Vec<&str> = match raw {
        Raw::List(items) => items.iter().map(|item| item.trim()).collect(),
        Raw::Text(text) if text.trim().is_empty() => Vec::new(),
        Raw::Text(text) => vec![text.trim()],
        _ => return Err(String::new()),
    };
    if items.len() > ITEMS_MAX {
        return Err(format!("{} items are more than {ITEMS_MAX}", items.len()));
    }
    if items.iter().any(|item| item.is_empty()) {
        return Err("an item is empty".into());
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::config::kinds::network::{ProxyChoice, ProxyUrl, UrlText};

    #[test]
    fn passwords_in_urls_are_refused_and_not_repeated() {
        let raw = Raw::from("http://kim:hunter2@proxy:3128");
        for error in [
            ProxyUrl::read(&raw).unwrap_err(),
            ProxyChoice::read(&raw).unwrap_err(),
            UrlText::read(&raw).unwrap_err(),
            shown(&raw),
            shown(&Raw::List(vec!["x://a@b:hunter2@c/d@e".into(), "kim:hunter2@proxy".into()])),
        ] {
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert_eq!(shown(&raw), "\"http://***@proxy:3128\"");
        assert_eq!(shown(&"/a@b".into()), "\"/a@b\"");
    }

    #[test]
    fn a_value_is_told_in_the_form_of_its_key() {
        let list = |items: &[&str]| Raw::List(items.iter().map(|item| (*item).to_owned()).collect());
        for (raw, default, told) in [
            ("false".into(), Raw::Switch(true), Raw::Switch(false)),
            ("12".into(), Raw::Number(1), Raw::Number(12)),
            ("8 Mbit/s".into(), list(&[]), list(&["8 Mbit/s"])),
            ("".into(), list(&["a"]), list(&[])),
            ("12".into(), "".into(), "12".into()),
            (list(&["x://kim:hunter2@h"]), list(&[]), list(&["x://***@h"])),
        ] {
            assert_eq!(in_form(&raw, &default), told, "{raw}");
        }
    }
}
