//! How an object is asked for: by digest, or by where it lies at its origin. A [`Name`] is the key under which the store
//! keeps an alias; entity tag and Last-Modified belong to the name, not to the payload.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;
use crate::base::limits::TARGET_BYTES_MAX;
use crate::model::shown;

/// A canonical origin key: `host[:port]/path[?query]`.
///
/// The host is canonical (lower case, no trailing dot, IDN as punycode), the port is left out where it is 80 or 443,
/// path and query are byte for byte what was asked, without `cacheHostOrigin`. Built by `fill`'s mapping only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OriginKey(Box<str>);

/// Text that can be no origin key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginKeyError {
    /// Nothing before the first slash, or no slash at all.
    #[error("an origin key is host/path, got {0:?}")]
    Shape(String),
    /// Longer than [`TARGET_BYTES_MAX`] and a host name together.
    #[error("an origin key of {0} bytes is too long")]
    Long(usize),
}

impl OriginKey {
    /// Checks the shape only; that the parts are canonical is the caller's promise.
    pub fn new(text: &str) -> Result<Self, OriginKeyError> {
        if text.len() > TARGET_BYTES_MAX + 256 {
            return Err(OriginKeyError::Long(text.len()));
        }
        let clean = !text.bytes().any(|byte| byte <= b' ' || byte == 0x7f);
        match text.find('/') {
            Some(at) if at > 0 && clean => Ok(Self(text.into())),
            _ => Err(OriginKeyError::Shape(text.chars().take(80).collect())),
        }
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Host with its port, if it has one.
    pub fn host(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// Path and query, beginning with the slash.
    pub fn target(&self) -> &str {
        &self.0[self.host().len()..]
    }
}

impl fmt::Display for OriginKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for OriginKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// How an object is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Name {
    /// One of the digest forms.
    Digest(Digest),
    /// One of the origin forms.
    Origin(OriginKey),
}

impl Name {
    /// The name for a log, and for a view that anybody may read: without the secrets that a signed query carries, in printable
    /// ASCII, bounded. The name itself is what `Display` writes: it opens what it names.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Digest(digest) => digest.to_string(),
            Self::Origin(key) => shown::target(key.as_str()).into_owned(),
        }
    }
}

impl From<Digest> for Name {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

impl From<OriginKey> for Name {
    fn from(key: OriginKey) -> Self {
        Self::Origin(key)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => digest.fmt(f),
            Self::Origin(key) => key.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_key_is_host_and_path() {
        let key = OriginKey::new("dl.example.org:8080/a/b?c=/d").unwrap();
        assert_eq!((key.host(), key.target()), ("dl.example.org:8080", "/a/b?c=/d"));
        for text in ["", "/a", "host", "ho st/a", "host/a\nb"] {
            assert!(OriginKey::new(text).is_err(), "{text:?}");
        }
        assert!(OriginKey::new(&format!("h/{}", "a".repeat(9000))).is_err());
    }

    #[test]
    fn what_is_shown_opens_nothing() {
        let name = Name::from(OriginKey::new("dl.example.org/a?P1=17&P4=c2VjcmV0&x=1").unwrap());
        assert_eq!(name.shown(), "dl.example.org/a?P1=***&P4=***&x=1");
        assert_eq!(name.to_string(), "dl.example.org/a?P1=17&P4=c2VjcmV0&x=1");
        let digest = Name::from(Digest::Sha1(crate::base::digest::Sha1::new([7; 20])));
        assert_eq!(digest.shown(), digest.to_string());
    }
}
