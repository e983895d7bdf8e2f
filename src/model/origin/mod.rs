//! Who may be asked for content: canonical hosts, the allow-list, and which addresses are nobody's business.
//!
//! 1. A host becomes canonical ([`Host::parse`]): one spelling for one host, so that keys, rules and log lines agree.
//! 2. The allow-list says whether and how it may be asked ([`AllowList`]): the shipped list ([`shipped`]) with the
//!    configured entries on top.
//! 3. The address that its name resolves to must be a public one ([`is_public`]), unless the entry is a private address
//!    literally. Resolving is `upstream`'s work; here is only the rule.
//!
//! What lies at an address has one key, whoever names it: a request, or a catalog ([`key_of`]).

mod address;
mod allow;
mod current;
mod host;
mod key;
pub mod shipped;

pub use address::is_public;
pub use allow::Permit;
pub use current::AllowList;
pub use host::Host;
pub use key::{SIGNED_PATH, digest_in_name, is_signature, key_of, split};

use crate::model::shown;

/// The longest part of a refused value that a message repeats: a hostile one cannot flood a log.
const SHOWN_CHARS_MAX: usize = 80;

/// Why an allow-list entry or a host is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is no origin: {why}")]
pub struct OriginError {
    /// What was given, without user info, cut to 80 characters.
    pub value: String,
    /// What is wrong with it and what would be right.
    pub why: String,
}

impl OriginError {
    fn new(value: &str, why: impl Into<String>) -> Self {
        // An origin has no path, so that all before the last `@` is user info, whatever stands in a password.
        let hidden = shown::behind_user_info(value).map(|host| format!("***@{host}"));
        let value = hidden.as_deref().unwrap_or(value);
        Self { value: value.chars().take(SHOWN_CHARS_MAX).collect(), why: why.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_info_is_refused_by_name_and_not_repeated() {
        for entry in [
            "https://kim:hunter2@x.example",
            "kim:hunter2@x.example:8080",
            "!kim:hunter2@x.example",
            "http://kim:hunter2/a://b@x.example",
            "kim:hunter2%40x.example",
        ] {
            let refused = AllowList::new(&[entry.to_owned()]).expect_err(entry).to_string();
            assert!(!refused.contains("hunter2") && refused.contains("x.example"), "{refused}");
            assert!(entry.contains('%') || refused.contains("user info is not allowed"), "{refused}");
        }
    }
}
