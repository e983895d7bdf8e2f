//! Text of strangers on its way into a log or a view that anybody may read: secrets of query strings hidden, control characters escaped, length bounded. What
//! comes out is printable ASCII without quotes or backslashes of its own, so that no client can forge a line or a field.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The most characters of a target or key in one record.
const TEXT_CHARS_MAX: usize = 1024;

/// What a hidden value is replaced by.
const HIDDEN: &str = "***";

/// Query names whose values are hidden: the signed parts of Microsoft's and other networks' addresses.
const SECRET_NAMES: [&str; 8] = ["p1", "p2", "p3", "p4", "key", "policy", "hdnea", "__gda__"];

/// Query names that contain one of these are hidden too.
const SECRET_PARTS: [&str; 7] = ["sig", "token", "secret", "credential", "passw", "auth", "hmac"];

/// A path with its query, or a key that ends in one.
#[must_use]
pub fn target(text: &str) -> Cow<'_, str> {
    match without_user_info(text) {
        Cow::Borrowed(text) if !text.contains('?') => escape(text.as_bytes(), TEXT_CHARS_MAX),
        text => Cow::Owned(escape(without_secrets(&text).as_bytes(), TEXT_CHARS_MAX).into_owned()),
    }
}

/// A path with the secrets of its query hidden.
fn without_secrets(text: &str) -> Cow<'_, str> {
    let Some((path, query)) = text.split_once('?') else {
        return Cow::Borrowed(text);
    };
    let mut shown = String::with_capacity(text.len());
    shown.push_str(path);
    for (at, pair) in query.split('&').enumerate() {
        shown.push(if at == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if is_secret(name) => {
                shown.push_str(name);
                shown.push('=');
                shown.push_str(HIDDEN);
            }
            // It names a host, percent-encoded or not, and nothing else that has an `@`.
            Some((name, value)) if name.eq_ignore_ascii_case("cacheHostOrigin") => match behind_user_info(value) {
                Some(host) => shown.extend([name, "=", HIDDEN, "@", host]),
                None => shown.push_str(pair),
            },
            _ => shown.push_str(pair),
        }
    }
    Cow::Owned(shown)
}

/// Hides a name and a password that someone put before the host of a URL, of a bare authority, or of a `host/path`. Each
/// part behind a `//` is read as one that begins with an authority, wherever it stands: rather too much of a path is hidden
/// than too little of a URL in a query.
#[must_use]
pub fn without_user_info(text: &str) -> Cow<'_, str> {
    // Every request is recorded, and hardly any has the sign.
    if !text.contains('@') && !text.contains("%40") {
        return Cow::Borrowed(text);
    }
    let parts = text.split("//").map(|part| {
        let mut authority = part.split(['/', '?', '#']).next().unwrap_or_default();
        // What no port can be is the beginning of a password that has a slash in it, or the like.
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        let whole = behind_user_info(authority).is_some() || authority.contains('[');
        if !whole && authority.rsplit_once(':').is_some_and(|(_, port)| !is_port(port)) {
            authority = part;
        }
        match behind_user_info(authority) {
            Some(host) => format!("{HIDDEN}@{host}{}", &part[authority.len()..]),
            None => part.to_owned(),
        }
    });
    Cow::Owned(parts.collect::<Vec<_>>().join("//"))
}

/// The host and port of an authority, where something stands before them that may be a password.
#[must_use]
pub fn behind_user_info(authority: &str) -> Option<&str> {
    let ends = ["@", "%40"].map(|at| authority.rfind(at).map(|found| found + at.len()));
    ends.into_iter().flatten().max().map(|end| &authority[end..])
}

/// Printable ASCII as it is, anything else, quotes and backslashes as `\xNN`; cut to `limit` characters.
#[must_use]
pub fn escape(text: &[u8], limit: usize) -> Cow<'_, str> {
    // Nearly all that is recorded is plain. Without an early end the look is made of wide steps.
    let plain = text.len() <= limit && text.iter().fold(true, |plain, byte| plain & is_plain(*byte));
    if let (true, Ok(text)) = (plain, std::str::from_utf8(text)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len().min(limit));
    for byte in text {
        let width = if is_plain(*byte) { 1 } else { 4 };
        if shown.len() + width > limit {
            shown.push_str("...");
            break;
        }
        if is_plain(*byte) {
            shown.push(char::from(*byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    Cow::Owned(shown)
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Whether the value of a query argument of this name is nobody's business. Percent signs in a name hide it as well: it could
/// spell any of them.
fn is_secret(name: &str) -> bool {
    // Clients join queries carelessly: `?a=b?P4=c`.
    let name = name.rsplit('?').next().unwrap_or_default().to_ascii_lowercase();
    name.contains('%') || SECRET_NAMES.contains(&name.as_str()) || SECRET_PARTS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hides_what_is_signed() {
        assert_eq!(
            target("/filestreamingservice/files/a?P1=17&P2=404&P3=2&P4=Zm9v%3d&cacheHostOrigin=dl.example"),
            "/filestreamingservice/files/a?P1=***&P2=***&P3=***&P4=***&cacheHostOrigin=dl.example"
        );
        assert_eq!(
            target("h/a?X-Amz-Signature=f&v=1&sig=2&%70%34=x&flag"),
            "h/a?X-Amz-Signature=***&v=1&sig=***&%70%34=***&flag"
        );
        assert_eq!(target("/a?b?P4=x"), "/a?b?P4=***");
        assert_eq!(target("/plain"), "/plain");
        for at in ["@", "%40"] {
            assert_eq!(
                target(&format!("/a@b?x@y&cachehostorigin=kim:hunter2{at}h&c=d")),
                "/a@b?x@y&cachehostorigin=***@h&c=d"
            );
        }
    }

    #[test]
    fn no_line_can_be_forged() {
        assert_eq!(escape(b"a\r\nstatus=200 \"x\\", 100), "a\\x0d\\x0astatus=200 \\x22x\\x5c");
        assert_eq!(escape("é\u{1b}[0m".as_bytes(), 100), "\\xc3\\xa9\\x1b[0m");
    }

    #[test]
    fn user_info_is_hidden_wherever_an_authority_stands() {
        for (text, shown) in [
            ("http://kim:hunter2@h/a@b?c@d", "http://***@h/a@b?c@d"),
            ("kim:hunter2@h:80", "***@h:80"),
            ("kim:hunter2@h/a", "***@h/a"),
            ("x://a@b:hunter2@c/d", "x://***@c/d"),
            ("/go?to=http://kim:hunter2@h", "/go?to=http://***@h"),
            ("kim:hunter2%40h/a", "***@h/a"),
            ("http://kim:hunter2/x?@h/a", "http://***@h/a"),
            ("http://h:80/a@b", "http://h:80/a@b"),
            ("http://[::1]/a@b", "http://[::1]/a@b"),
            ("/a@b", "/a@b"),
            ("https://dl.example.org/a", "https://dl.example.org/a"),
            ("", ""),
        ] {
            assert_eq!(without_user_info(text), shown);
        }
    }

    proptest! {
        #[test]
        fn what_comes_out_is_plain_and_short(bytes: Vec<u8>, limit in 0..80usize) {
            let shown = escape(&bytes, limit);
            prop_assert!(shown.len() <= limit + 3);
            prop_assert!(shown.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"'));
        }
    }
}
