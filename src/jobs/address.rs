//! What a person or a script writes to name an object: a URL, a path of a digest form, or a digest. Split here without
//! changing a byte of path and query, since both are part of the key; the mapping itself is `fill`'s.

use crate::base::digest::{Blake3, Digest, Sha1, Sha256};
use crate::base::limits::TARGET_BYTES_MAX;
use crate::fill::Ask;
use crate::jobs::error::Error;
use crate::model::name::OriginKey;
use crate::model::shown::without_user_info;

/// An address, split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Host and port as written; `None` for a bare path.
    host: Option<String>,
    path: String,
    query: Option<String>,
}

impl Address {
    /// Splits `http://host/path?query`, `https://...`, `host/path` and `/path`; a fragment is cut off.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |why: &str| Error::Refused { address: Self::redact(text), why: why.to_owned() };
        if text.len() > TARGET_BYTES_MAX + 300 {
            return Err(refuse("the address is too long"));
        }
        if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(refuse("an address has no blanks in it: write them as %20"));
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(['/', '?']) => (Some(scheme.to_ascii_lowercase()), rest),
            _ => (None, text),
        };
        match scheme.as_deref() {
            None | Some("http" | "https") => {}
            Some(_) => return Err(refuse("only http:// and https:// can be asked")),
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query.to_owned())),
            None => (rest, None),
        };
        let (host, path) = match place.find('/') {
            Some(0) if scheme.is_some() => return Err(refuse("there is no host in it")),
            Some(0) => (None, place),
            Some(at) => (Some(place[..at].to_owned()), &place[at..]),
            None if scheme.is_some() && !place.is_empty() => (Some(place.to_owned()), "/"),
            None => return Err(refuse("write it as http://host/path, or as /sha256/<hex>")),
        };
        if host.as_deref().is_some_and(|host| host.contains('@')) {
            return Err(refuse("user info is not allowed: take out what stands before the '@'"));
        }
        Ok(Self { host, path: path.to_owned(), query })
    }

    /// The form that `fill` maps.
    pub fn ask(&self) -> Ask<'_> {
        Ask { host: self.host.as_deref(), path: &self.path, query: self.query.as_deref(), via: None }
    }

    /// The key that a canonically written URL has, for where there is no mapping; `None` for a bare path.
    pub(in crate::jobs) fn key(&self) -> Option<OriginKey> {
        let host = self.host.as_deref()?.to_ascii_lowercase();
        let host = host.strip_suffix(":80").or_else(|| host.strip_suffix(":443")).unwrap_or(&host);
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        OriginKey::new(&format!("{host}{}{query}", self.path)).ok()
    }

    /// For logs and lists: without the query, which may carry a signature, without user info, and at most 200 characters.
    pub fn redact(text: &str) -> String {
        let text = without_user_info(text);
        let text = text.as_ref();
        let (place, query) = text.split_once('?').map_or((text, false), |(place, _)| (place, true));
        let mut shown: String = place.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(200).collect();
        if query {
            shown.push_str("?…");
        }
        shown
    }
}

/// The digests that `text` can be: `sha1-<hex>`, `sha256:<hex>`, `blake3-<hex>`, or bare hex, of which 64 digits can be a
/// BLAKE3 (the identity in the store, so it comes first) or a SHA-256. Empty where it is no digest.
pub fn digests(text: &str) -> Vec<Digest> {
    let tagged = text.split_once(['-', ':']).map(|(kind, hex)| (kind.to_ascii_lowercase(), hex));
    let (kind, hex) = tagged.as_ref().map_or((None, text), |(kind, hex)| (Some(kind.as_str()), *hex));
    let wanted = |name: &str| kind.is_none_or(|kind| kind == name);
    let mut found = Vec::new();
    if wanted("blake3") {
        found.extend(hex.parse::<Blake3>().ok().map(Digest::Blake3));
    }
    if wanted("sha256") {
        found.extend(hex.parse::<Sha256>().ok().map(Digest::Sha256));
    }
    if wanted("sha1") {
        found.extend(hex.parse::<Sha1>().ok().map(Digest::Sha1));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Option<(Option<String>, String, Option<String>)> {
        Address::parse(text).ok().map(|address| (address.host, address.path, address.query))
    }

    #[test]
    fn splits_and_changes_no_byte() {
        let some = |text: &str| Some(text.to_owned());
        let cases = [
            ("http://h/a/../%2e?x=/?&y#f", Some((some("h"), "/a/../%2e".to_owned(), some("x=/?&y")))),
            ("HTTPS://H:8443/A", Some((some("H:8443"), "/A".to_owned(), None))),
            ("http://h", Some((some("h"), "/".to_owned(), None))),
            ("h/a", Some((some("h"), "/a".to_owned(), None))),
            ("/sha256/00", Some((None, "/sha256/00".to_owned(), None))),
            ("/a?u=http://x/", Some((None, "/a".to_owned(), some("u=http://x/")))),
            ("http:///a", None),
            ("ftp://h/a", None),
            ("h", None),
            ("", None),
            ("http://h/a b", None),
            ("http://h/a\r\nx", None),
        ];
        for (text, expected) in cases {
            assert_eq!(split(text), expected, "{text:?}");
        }
        assert!(split(&format!("http://h/{}", "a".repeat(TARGET_BYTES_MAX + 300))).is_none());
    }

    #[test]
    fn a_canonical_url_is_its_own_key() {
        let key = |text: &str| Address::parse(text).unwrap().key().map(|key| key.to_string());
        assert_eq!(key("http://DL.example.org:80/A?b").as_deref(), Some("dl.example.org/A?b"));
        assert_eq!(key("https://dl.example.org:8443/A").as_deref(), Some("dl.example.org:8443/A"));
        assert_eq!(key("/sha256/00"), None);
    }

    #[test]
    fn sixty_four_digits_can_be_two_things() {
        let hex = "ab".repeat(32);
        assert_eq!(digests(&hex).len(), 2);
        assert!(matches!(digests(&hex)[0], Digest::Blake3(_)));
        assert!(matches!(digests(&format!("SHA256:{hex}"))[..], [Digest::Sha256(_)]));
        assert!(matches!(digests(&"ab".repeat(20))[..], [Digest::Sha1(_)]));
        assert!(digests("sha1-abc").is_empty() && digests(&format!("md5-{hex}")).is_empty());
    }

    #[test]
    fn user_info_is_refused_by_name_and_not_repeated() {
        for text in ["http://kim:hunter2@h/a@b?c", "kim:hunter2@h/a", "https://kim:hunter2@h"] {
            let refused = Address::parse(text).unwrap_err().to_string();
            assert!(refused.contains("user info is not allowed") && !refused.contains("hunter2"), "{refused}");
        }
        assert_eq!(Address::redact("http://kim:hunter2@h/a@b?c"), "http://***@h/a@b?…");
        assert!(Address::parse("http://h/a@b?c=d@e").is_ok());
    }

    #[test]
    fn a_redacted_address_cannot_forge_a_line() {
        assert_eq!(Address::redact("http://h/a\nb?sig"), "http://h/a\u{fffd}b?…");
    }
}
