//! Which files of the catalog are brought ahead of time: modes, levels, and rules for classifications, whose names only a catalog can
//! judge.

use crate::app::config::kinds::{Kind, items, text};
use crate::model::policy::{Mode, RULES_MAX, Rule, level_of_word};
use crate::model::settings::Raw;
use crate::model::update::Severity;

impl Kind for Mode {
    fn expected() -> String {
        let words = Self::EVERY.map(|mode| format!("{:?}", mode.word()));
        words.join(" or ")
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        Self::of_word(text(raw)?).ok_or_else(String::new)
    }
}

impl Kind for Severity {
    fn expected() -> String {
        "\"low\" or \"moderate\" or \"important\" or \"critical\"".into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        level_of_word(text(raw)?).ok_or_else(String::new)
    }
}

/// The least severity that counts, or any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Least(pub(crate) Severity);

impl Kind for Least {
    fn expected() -> String {
        format!("\"any\" or {}", Severity::expected())
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        match text(raw)?.trim() {
            "any" => Ok(Self(Severity::Unspecified)),
            _ => Severity::read(raw).map(Self),
        }
    }
}

/// The least severity of what is brought for some reason, or that nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Above(pub(crate) Option<Severity>);

impl Kind for Above {
    fn expected() -> String {
        format!("\"off\" or {}", Severity::expected())
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        match text(raw)? {
            "off" => Ok(Self(None)),
            _ => Severity::read(raw).map(|level| Self(Some(level))),
        }
    }
}

/// Rules, the later ones above the earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules(pub(crate) Vec<Rule>);

impl Kind for Rules {
    const LIST: bool = true;
    fn expected() -> String {
        "one or several rules such as [\"Definition Updates: all\", \"Security Updates: severity important\", \"Drivers: metadata\"]"
            .into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        let items = items(raw)?;
        if items.len() > RULES_MAX {
            return Err(format!("{} rules are more than {RULES_MAX}", items.len()));
        }
        items.into_iter().map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_levels_and_rules_are_read() {
        assert_eq!(Mode::read(&" Asked ".into()).unwrap(), Mode::Asked);
        assert!(Mode::read(&"most".into()).is_err() && Mode::expected().contains("\"severity\" or \"all\""));
        assert_eq!(Severity::read(&"important".into()).unwrap(), Severity::Important);
        assert!(Severity::read(&"unspecified".into()).is_err());
        assert_eq!(Least::read(&"any".into()), Ok(Least(Severity::Unspecified)));
        assert!(Least::read(&"worst".into()).is_err() && Least::expected().starts_with("\"any\" or "));
        assert_eq!(Above::read(&" off ".into()), Ok(Above(None)));
        assert_eq!(Above::read(&"critical".into()), Ok(Above(Some(Severity::Critical))));
        assert!(Above::read(&"any".into()).is_err() && Above::expected().starts_with("\"off\" or "));
        let rules = Rules::read(&Raw::List(vec!["Drivers: metadata".into(), "X: severity low".into()])).unwrap();
        assert_eq!(rules.0.len(), 2);
        assert!(Rules::read(&"Drivers".into()).unwrap_err().contains("no colon"));
        assert!(Rules::read(&"".into()).unwrap().0.is_empty());
    }
}
