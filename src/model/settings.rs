//! Settings as layers of values, with who set them and where; a field fixed by a higher layer is locked.
//!
//! Pure values: which keys exist, what their values mean and where the layers are read from is `app`'s business. The
//! console, the API and the CLI show what stands here, and write [`Recorded`] values into the run-time layers.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;

/// The prefix of the documents in the store that hold this node's own run-time layer: `settings/local/<key>`, each a
/// [`Recorded`] as JSON.
pub const LOCAL_DOCUMENTS: &str = "settings/local/";

/// Where a value can come from. A later one wins over an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// What is shipped.
    Default,
    /// Set at run time on this node, by the CLI, the API or the console.
    Local,
    /// Set at run time by the parent node.
    Parent,
    /// The configuration file.
    File,
    /// A variable of the environment.
    Environment,
    /// A flag of the command line.
    Flag,
}

impl Layer {
    /// The word for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Local => "run time",
            Self::Parent => "parent",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
        }
    }

    /// Whether it is fixed from outside the running node, so that nothing set at run time can change it.
    pub const fn locks(self) -> bool {
        matches!(self, Self::File | Self::Environment | Self::Flag)
    }
}

/// Who set a value, where and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// See [`Layer`].
    pub layer: Layer,
    /// `waystation.toml:12`, the variable's name, the flag; empty for a default.
    pub place: String,
    /// Who set it, where a run-time layer knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was set, where a run-time layer knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl Origin {
    /// A shipped default.
    pub fn default_value() -> Self {
        Self { layer: Layer::Default, place: String::new(), by: None, at: None }
    }

    /// Something at a place outside the node.
    pub fn place(layer: Layer, place: impl Into<String>) -> Self {
        Self { layer, place: place.into(), by: None, at: None }
    }

    /// Something that was set at run time.
    pub fn recorded(layer: Layer, by: impl Into<String>, at: Timestamp) -> Self {
        Self { layer, place: String::new(), by: Some(by.into()), at: Some(at) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            return f.write_str(&self.place);
        }
        f.write_str(self.layer.word())?;
        if let Some(by) = &self.by {
            write!(f, ", by {by}")?;
        }
        if let Some(at) = self.at {
            write!(f, ", at {at}")?;
        }
        Ok(())
    }
}

/// A value as it is written, before a key gives it a meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Raw {
    /// `true`, `false`
    Switch(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
}

impl Raw {
    /// An empty text.
    pub fn none() -> Self {
        Self::Text(String::new())
    }
}

impl Default for Raw {
    fn default() -> Self {
        Self::none()
    }
}

impl From<&str> for Raw {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl fmt::Display for Raw {
    /// As TOML writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(text) => quoted(text, f),
            Self::List(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        f.write_str(", ")?;
                    }
                    quoted(item, f)?;
                }
                f.write_str("]")
            }
        }
    }
}

/// A basic string of TOML.
fn quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for letter in text.chars() {
        match letter {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            letter if letter.is_control() => write!(f, "\\u{:04X}", u32::from(letter))?,
            letter => write!(f, "{letter}")?,
        }
    }
    f.write_str("\"")
}

/// A value of a run-time layer, as it is kept in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// What was set.
    pub value: Raw,
    /// Who set it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// At once, on reload.
    Live,
    /// At the next start.
    Restart,
    /// At the next start, and it cannot be set at run time: it must be known before the store is open.
    Startup,
}

/// One field: its value in every layer that has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The values that were set, by layer, the winning one last.
    layers: Vec<(Origin, Raw)>,
    /// See [`Effect`].
    effect: Effect,
    /// The shipped default, in force where no layer says anything.
    #[serde(rename = "default")]
    fallback: Raw,
}

impl Setting {
    /// A field that only its default is known of.
    pub fn new(default: Raw, effect: Effect) -> Self {
        Self { layers: Vec::new(), effect, fallback: default }
    }

    /// Puts a value into its layer; what stood in the layer goes.
    pub fn set(&mut self, origin: Origin, value: Raw) {
        self.clear(origin.layer);
        let at = self.layers.partition_point(|(other, _)| other.layer < origin.layer);
        self.layers.insert(at, (origin, value));
    }

    /// Takes a layer's value away.
    pub fn clear(&mut self, layer: Layer) {
        self.layers.retain(|(origin, _)| origin.layer != layer);
    }

    /// The value that is in force.
    pub fn value(&self) -> &Raw {
        self.layers.last().map_or(&self.fallback, |(_, value)| value)
    }

    /// Where the value that is in force comes from.
    pub fn origin(&self) -> Origin {
        self.layers.last().map_or_else(Origin::default_value, |(origin, _)| origin.clone())
    }

    /// The shipped default.
    pub fn default_value(&self) -> &Raw {
        &self.fallback
    }

    /// The values that a higher layer hides, the highest first.
    pub fn hidden(&self) -> impl Iterator<Item = (&Origin, &Raw)> {
        self.layers.iter().rev().skip(1).map(|(origin, value)| (origin, value))
    }

    /// Where the value is fixed so that `layer` cannot change it; `None` where it can.
    pub fn locked_for(&self, layer: Layer) -> Option<&Origin> {
        self.layers.last().map(|(origin, _)| origin).filter(|origin| origin.layer > layer)
    }

    /// When a change takes effect.
    pub fn effect(&self) -> Effect {
        self.effect
    }
}

/// All fields by `section.key`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    fields: BTreeMap<String, Setting>,
}

/// Why a field cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// No such field.
    #[error("there is no setting {key:?}{}", near.as_ref().map(|near| format!("; did you mean {near:?}?")).unwrap_or_default())]
    Unknown {
        /// What was named.
        key: String,
        /// The field whose name is most like it.
        near: Option<String>,
    },
    /// A higher layer fixes it.
    #[error("{key} is locked by {place}: change it there")]
    Locked {
        /// The field.
        key: String,
        /// Where it is fixed.
        place: String,
    },
    /// It must be known before the store is open, where run-time layers are kept.
    #[error("{key} cannot be set at run time: put it into waystation.toml and start the node again")]
    Startup {
        /// The field.
        key: String,
    },
}

impl Settings {
    /// Adds a field.
    pub fn define(&mut self, key: impl Into<String>, setting: Setting) {
        self.fields.insert(key.into(), setting);
    }

    /// One field.
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.fields.get(key)
    }

    /// All fields, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.fields.iter().map(|(key, setting)| (key.as_str(), setting))
    }

    /// Sets a field in the layer of `origin`. Refused is what does not exist, and in a run-time layer what only the
    /// start can take. A lock does not hinder: the value waits beneath it.
    pub fn set(&mut self, key: &str, origin: Origin, value: Raw) -> Result<(), SettingError> {
        let Some(setting) = self.fields.get_mut(key) else {
            return Err(self.unknown(key));
        };
        if matches!(origin.layer, Layer::Local | Layer::Parent) && setting.effect == Effect::Startup {
            return Err(SettingError::Startup { key: key.to_owned() });
        }
        setting.set(origin, value);
        Ok(())
    }

    /// Takes a layer's value of a field away; what stands beneath it is in force again.
    pub fn clear(&mut self, key: &str, layer: Layer) {
        if let Some(setting) = self.fields.get_mut(key) {
            setting.clear(layer);
        }
    }

    /// Whether `layer` may change a field now; what the console asks before it offers a field.
    pub fn may_set(&self, key: &str, layer: Layer) -> Result<(), SettingError> {
        let setting = self.fields.get(key).ok_or_else(|| self.unknown(key))?;
        if matches!(layer, Layer::Local | Layer::Parent) && setting.effect == Effect::Startup {
            return Err(SettingError::Startup { key: key.to_owned() });
        }
        match setting.locked_for(layer) {
            Some(origin) => Err(SettingError::Locked { key: key.to_owned(), place: origin.to_string() }),
            None => Ok(()),
        }
    }

    /// The fields whose values in force differ from those of `other`.
    pub fn changed<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a str, &'a Setting)> {
        self.iter().filter(|(key, setting)| other.get(key).is_none_or(|old| old.value() != setting.value()))
    }

    /// Copies every field of a run-time layer of `other` over: a reload reads files again, not the store.
    pub fn keep_layer(&mut self, layer: Layer, other: &Self) {
        for (key, setting) in &mut self.fields {
            setting.clear(layer);
            let kept = other.get(key).and_then(|old| old.layers.iter().find(|(origin, _)| origin.layer == layer));
            if let Some((origin, value)) = kept {
                setting.set(origin.clone(), value.clone());
            }
        }
    }

    fn unknown(&self, key: &str) -> SettingError {
        let names = || self.fields.keys().map(String::as_str);
        // Within a section the key alone is compared: letters that are right anyway make nothing more alike.
        let near = match key.split_once('.') {
            Some((section, name))
                if names().any(|field| field.split_once('.').is_some_and(|(own, _)| own == section)) =>
            {
                let own = names().filter_map(|field| field.split_once('.')).filter(|(own, _)| *own == section);
                nearest(name, own.map(|(_, name)| name)).map(|near| format!("{section}.{near}"))
            }
            _ => nearest(key, names()).map(str::to_owned),
        };
        SettingError::Unknown { key: key.chars().take(80).collect(), near }
    }
}

/// The name that is most like `wrong`, if one is near enough to have been meant: at most a third of its letters differ.
pub fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A longer text is no slip of the pen, and the table below grows with it.
    if wrong.len() > 80 {
        return None;
    }
    let lower = wrong.to_ascii_lowercase().replace('-', "_");
    names
        .map(|name| (distance(&lower, name), name))
        .filter(|(far, name)| *far <= name.len().div_ceil(3))
        .min()
        .map(|(_, name)| name)
}

/// The edit distance (insert, delete, replace), in bytes: names are ASCII.
pub(in crate::model) fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let here = (corner + usize::from(x != y)).min(*cell + 1).min(left + 1);
            corner = *cell;
            *cell = here;
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests;
