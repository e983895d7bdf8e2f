//! Words, texts and paths.

use std::path::PathBuf;

use crate::app::config::kinds::{Kind, items, text};
use crate::app::logs::LogFormat;
use crate::fill::{Complete, Verify};
use crate::model::schedule::{FORMS, When, WhenError};
use crate::model::settings::Raw;

/// Any texts; the room that takes them judges them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Texts(pub(crate) Vec<String>);

impl Kind for Texts {
    const LIST: bool = true;
    fn expected() -> String {
        "one or several texts, such as [\".example.org\", \"10.0.0.0/8\"]".into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        items(raw).map(|items| Self(items.into_iter().map(str::to_owned).collect()))
    }
}

/// One text, which may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

impl Kind for Text {
    fn expected() -> String {
        "a text, such as \"name\"".into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        text(raw).map(|text| Self(text.to_owned()))
    }
}

/// Days and times at which something is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Days(pub(crate) When);

impl Kind for Days {
    fn expected() -> String {
        format!("days and times such as {FORMS}")
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        text(raw)?.parse().map(Self).map_err(|WhenError { why, near, .. }: WhenError| match near {
            Some(near) => format!("{why}; did you mean {near:?}?"),
            None => why,
        })
    }
}

/// Who stands above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpstreamKind {
    /// Microsoft's delivery hosts.
    Microsoft,
    /// A WSUS server.
    Wsus,
    /// Another node.
    Parent,
}

/// Kinds that are one of a few words.
macro_rules! words {
    ($($kind:ty { $($word:literal => $value:expr),+ $(,)? })+) => {$(
        impl Kind for $kind {
            fn expected() -> String {
                [$(concat!("\"", $word, "\"")),+].join(" or ")
            }
            fn read(raw: &Raw) -> Result<Self, String> {
                match text(raw)? {
                    $($word => Ok($value),)+
                    _ => Err(String::new()),
                }
            }
        }
    )+};
}

words! {
    UpstreamKind { "microsoft" => Self::Microsoft, "wsus" => Self::Wsus, "parent" => Self::Parent }
    Complete { "demand" => Self::Demand, "always" => Self::Always, "never" => Self::Never }
    Verify { "stream" => Self::Stream, "strict" => Self::Strict }
    LogFormat { "auto" => Self::Auto, "human" => Self::Human, "json" => Self::Json }
}

/// A file, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilePath(pub(crate) Option<PathBuf>);

impl Kind for FilePath {
    fn expected() -> String {
        "a path such as \"/etc/waystation/node.pem\", or \"\" for none".into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        let text = text(raw)?;
        Ok(Self((!text.is_empty()).then(|| text.into())))
    }
}

/// Files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilePaths(pub(crate) Vec<PathBuf>);

impl Kind for FilePaths {
    const LIST: bool = true;
    fn expected() -> String {
        "one or several paths, such as [\"/etc/waystation/company-ca.pem\"]".into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        items(raw).map(|items| Self(items.into_iter().map(PathBuf::from).collect()))
    }
}

/// A directory that must be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory(pub(crate) PathBuf);

impl Kind for Directory {
    fn expected() -> String {
        "a directory, such as \"/var/lib/waystation\"".into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        match text(raw)? {
            "" => Err(String::new()),
            text => Ok(Self(text.into())),
        }
    }
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogLevel(pub(crate) String);

impl Kind for LogLevel {
    fn expected() -> String {
        "a level (error, warn, info, debug, trace, off), or levels by room such as \"info,waystation::store=debug\""
            .into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        let text = text(raw)?;
        // An unknown word alone would be taken for the name of a target, and everything else would fall silent.
        let level =
            |word: &str| ["error", "warn", "info", "debug", "trace", "off"].contains(&word.to_lowercase().as_str());
        if text.split(',').any(|part| !part.contains('=') && !level(part.trim())) {
            return Err(String::new());
        }
        tracing_subscriber::EnvFilter::builder().parse(text).map_err(|error| error.to_string())?;
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_no_target() {
        for good in ["info", "WARN", "info,waystation::store=debug", "off"] {
            assert!(LogLevel::read(&good.into()).is_ok(), "{good}");
        }
        for wrong in ["", "inof", "waystation=loud", "info,"] {
            assert!(LogLevel::read(&wrong.into()).is_err(), "{wrong:?}");
        }
    }
}
