//! What of the catalog is wanted: names and ids that only a catalog can judge, and languages, which are known.

use crate::app::config::kinds::{Kind, items};
use crate::model::filter::{ENTRIES_MAX, Selection, language};
use crate::model::settings::Raw;

/// Products, or classifications, by name, path or id. Whether there are such ones only a catalog can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen<const PRODUCTS: bool>(pub(crate) Vec<String>);

impl<const PRODUCTS: bool> Kind for Chosen<PRODUCTS> {
    const LIST: bool = true;
    fn expected() -> String {
        if PRODUCTS {
            "one or several names, paths or ids, such as [\"Windows 11\", \"Microsoft > Windows\"]".into()
        } else {
            "one or several names or ids, such as [\"Security Updates\", \"e0789628-ce08-4437-be74-2495b842f43b\"]"
                .into()
        }
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        let items = items(raw)?;
        if items.is_empty() {
            return Err("without any nothing is found".into());
        }
        if items.len() > ENTRIES_MAX {
            return Err(format!("{} entries are more than {ENTRIES_MAX}", items.len()));
        }
        Ok(Self(items.into_iter().map(str::to_owned).collect()))
    }
}

/// The same where none means all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Narrowed<const PRODUCTS: bool>(pub(crate) Vec<String>);

impl<const PRODUCTS: bool> Kind for Narrowed<PRODUCTS> {
    const LIST: bool = true;
    fn expected() -> String {
        format!("{}, or [] for all", Chosen::<PRODUCTS>::expected())
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        if items(raw)?.is_empty() {
            return Ok(Self(Vec::new()));
        }
        Chosen::<PRODUCTS>::read(raw).map(|chosen| Self(chosen.0))
    }
}

/// Short names of languages; none for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Languages(pub(crate) Vec<String>);

impl Kind for Languages {
    const LIST: bool = true;
    fn expected() -> String {
        "one or several languages, such as [\"en\", \"zh-tw\"], or [] for all".into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        let items = items(raw)?;
        let short = |text: &str| language(text).map(|known| known.short.to_owned()).map_err(|error| error.to_string());
        items.into_iter().map(short).collect::<Result<_, _>>().map(Self)
    }
}

/// The products that are shipped as chosen.
pub(crate) fn products() -> Raw {
    Raw::List(Selection::default().products)
}

/// The classifications that are shipped as chosen.
pub(crate) fn classifications() -> Raw {
    Raw::List(Selection::default().classifications)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_chosen_and_unknown_languages_are_refused() {
        assert!(Chosen::<true>::read(&Raw::List(vec![])).is_err() && Chosen::<true>::read(&"".into()).is_err());
        assert!(Chosen::<false>::read(&Raw::List(vec!["a".into(); ENTRIES_MAX + 1])).is_err());
        assert_eq!(Narrowed::<true>::read(&Raw::List(vec![])).unwrap().0, Vec::<String>::new());
        assert!(Narrowed::<true>::read(&Raw::List(vec!["a".into(); ENTRIES_MAX + 1])).is_err());
        assert_eq!(Chosen::<true>::read(&" Windows 11 ".into()).unwrap().0, ["Windows 11"]);
        assert_eq!(Languages::read(&Raw::List(vec!["German".into(), "EN".into()])).unwrap().0, ["de", "en"]);
        let error = Languages::read(&"Germann".into()).unwrap_err();
        assert!(error.contains("did you mean \"de (German)\"?"), "{error}");
        assert_eq!(Languages::read(&Raw::List(vec![])).unwrap().0, Vec::<String>::new());
    }
}
