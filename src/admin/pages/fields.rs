//! What a page was asked: its filters, as people gave them and as the API takes them.

use std::collections::BTreeMap;

use axum::extract::Query;
use http::Uri;
use serde::de::DeserializeOwned;

use crate::admin::error::Problem;

/// Fields of a page's query that were filled in.
#[derive(Clone, Debug, Default)]
pub struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Of a query; fields that were left empty say nothing.
    pub fn of(uri: &Uri) -> Self {
        let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let filled = pairs.filter(|(_, value)| !value.trim().is_empty());
        Self(filled.map(|(name, value)| (name.into_owned(), value.trim().to_owned())).collect())
    }

    /// What was given; nothing where it was left empty.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// The same query with another field.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut fields = self.clone();
        fields.0.insert(name.to_owned(), value.to_owned());
        fields
    }

    /// The same without one.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let mut fields = self.clone();
        fields.0.remove(name);
        fields
    }

    /// As a query; empty where nothing is asked.
    pub fn query(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let text = query.extend_pairs(&self.0).finish();
        if text.is_empty() { text } else { format!("?{text}") }
    }

    /// As the API's own question.
    pub fn ask<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let uri: Uri = format!("/{}", self.query()).parse().map_err(|_| Problem::malformed("the query is too long"))?;
        let read = Query::<T>::try_from_uri(&uri).map_err(|rejection| Problem::malformed(rejection.body_text()))?;
        Ok(read.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_fields_say_nothing_and_others_come_back() {
        let fields = Fields::of(&"/missing?severity=&group=a%20b%26c&after=x".parse().unwrap());
        assert_eq!((fields.get("severity"), fields.get("group")), ("", "a b&c"));
        assert_eq!(fields.without("after").query(), "?group=a+b%26c");
        assert_eq!(fields.without("after").without("group").query(), "");
        assert_eq!(fields.with("after", "<y>").query(), "?after=%3Cy%3E&group=a+b%26c");
    }
}
