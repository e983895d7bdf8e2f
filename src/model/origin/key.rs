//! From an address to the key of its object: the same key that a request for that address has.

use crate::base::digest::Sha1;
use crate::model::name::OriginKey;
use crate::model::origin::Host;

/// Addresses by file id, signed by P1..P4.
pub const SIGNED_PATH: &str = "/filestreamingservice/files/";

/// The signature's arguments: they differ by client and time, the object does not.
const SIGNATURE: [&str; 4] = ["P1", "P2", "P3", "P4"];

/// Whether a query argument on this path is a signature where Microsoft's hosts serve it.
pub fn is_signature(path: &str, name: &str) -> bool {
    path.get(..SIGNED_PATH.len()).is_some_and(|start| start.eq_ignore_ascii_case(SIGNED_PATH))
        && SIGNATURE.contains(&name)
}

/// The SHA-1 in `<name>_<40 hex digits>.<ext>` at the end of a path, as Microsoft names its files.
pub fn digest_in_name(path: &str) -> Option<Sha1> {
    let file = path.rsplit('/').next()?;
    let (stem, extension) = file.rsplit_once('.')?;
    let (name, digits) = stem.rsplit_once('_')?;
    if name.is_empty() || extension.is_empty() {
        return None;
    }
    digits.parse().ok()
}

/// Scheme, host, port, and the rest behind them (path and query, beginning with a slash) of an HTTP(S) address; `None` for
/// anything else, and where it carries user info.
pub fn split(url: &str) -> Option<(bool, Host, u16, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let https = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let rest = rest.split('#').next()?;
    let (authority, rest) = rest.split_at(rest.find('/')?);
    if authority.contains('@') {
        return None;
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (authority, if https { 443 } else { 80 }),
    };
    Some((https, Host::parse(host).ok()?, port, rest))
}

/// The key of the object at `url`. `None` for what is no address over HTTP(S).
pub fn key_of(url: &str) -> Option<OriginKey> {
    let (_, host, port, rest) = split(url)?;
    let port = if matches!(port, 80 | 443) { String::new() } else { format!(":{port}") };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let kept: Vec<&str> =
        query.split('&').filter(|part| !is_signature(path, part.split('=').next().unwrap_or_default())).collect();
    let kept = kept.join("&");
    let mark = if kept.is_empty() { "" } else { "?" };
    OriginKey::new(&format!("{host}{port}{path}{mark}{kept}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_the_key_of_its_request() {
        for (url, key) in [
            ("http://DL.Example.org/A/b_c.cab", Some("dl.example.org/A/b_c.cab")),
            ("HTTPS://dl.example.org:443/a?x=1&y#f", Some("dl.example.org/a?x=1&y")),
            ("http://dl.example.org:8000/a", Some("dl.example.org:8000/a")),
            ("http://[::1]:8000/a", Some("[::1]:8000/a")),
            ("https://[::1]/a", Some("[::1]/a")),
            (
                "http://tlu.dl.delivery.mp.microsoft.com/filestreamingservice/files/0a?P1=1&P2=2&P3=3&P4=4",
                Some("tlu.dl.delivery.mp.microsoft.com/filestreamingservice/files/0a"),
            ),
            ("http://dl.example.org/files/0a?P1=1", Some("dl.example.org/files/0a?P1=1")),
            ("http://kim:secret@dl.example.org/a", None),
            ("ftp://dl.example.org/a", None),
            ("http://dl.example.org", None),
            ("http://dl.example.org:x/a", None),
            ("/a/b", None),
        ] {
            assert_eq!(key_of(url).as_ref().map(OriginKey::as_str), key, "{url}");
        }
    }

    #[test]
    fn a_file_name_may_carry_its_digest() {
        let hex = "ab".repeat(20);
        assert_eq!(digest_in_name(&format!("/c/x_{hex}.cab")), hex.parse().ok());
        assert_eq!(digest_in_name(&format!("/c/windows-kb1-x64_{hex}.msu")), hex.parse().ok());
        for path in [format!("/c/_{hex}.cab"), format!("/c/x_{hex}."), format!("/c/x_{hex}"), "/c/x_ab.cab".to_owned()]
        {
            assert_eq!(digest_in_name(&path), None, "{path}");
        }
    }
}
