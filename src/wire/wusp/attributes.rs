//! Keys and values within one text, as agents send them about themselves: `Key=Value;Key=Value;`, and products as
//! `PN=Name&V=Version;PN=..`. Neither is in the specification; recorded ones are all there is to go by.

use std::io::BufRead;

use crate::wire::error::Result;
use crate::wire::soap::Reader;
use crate::wire::wusp::limits::{ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX};
use crate::wire::wusp::read::text;

/// What an agent says about the machine or the caller. Kept as it came, looked into where asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(String);

impl Attributes {
    /// The keys and values of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Each key with its value, in the order in which they came; what has no `=` is a key with an empty value. A value may
    /// have further `=` in it. At most [`ATTRIBUTES_MAX`] are looked at.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        items(&self.0).map(pair)
    }

    /// The value of a key, whose case does not count; of several the first.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(found, _)| found.eq_ignore_ascii_case(key)).map(|(_, value)| value)
    }

    /// The products that it names, each with its own keys and values.
    pub fn products(&self) -> impl Iterator<Item = impl Iterator<Item = (&str, &str)>> {
        items(&self.0).map(|product| product.split('&').filter(|item| !item.is_empty()).map(pair))
    }

    /// The text, as it came.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        text(reader, ATTRIBUTES_BYTES_MAX).map(Self)
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(';').map(str::trim).filter(|item| !item.is_empty()).take(ATTRIBUTES_MAX)
}

fn pair(item: &str) -> (&str, &str) {
    item.split_once('=').unwrap_or((item, ""))
}
