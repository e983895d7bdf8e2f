//! The mapping: from a request to the name under which its object is kept, and to the places where it can be had. Pure.
//!
//! In order:
//! 1. Refuse what is no address: too long, dot segments (percent-encoded ones too), user info, more than one
//!    `cacheHostOrigin`, a `cacheHostOrigin` that contradicts an allow-listed `Host`.
//! 2. The digest forms: `/Content/<XX>/<SHA1>.<ext>`, `/sha256/<hex>`, `/blake3/<hex>`.
//! 3. `cacheHostOrigin`, if it is on the allow-list.
//! 4. `Host`, if it is on the allow-list.
//! 5. `/[cd]/msdownload/..` under any other host: Microsoft's download host.
//! 6. Nothing matches: `NoRule`.

use std::borrow::Cow;

use crate::base::digest::{Blake3, Digest, Sha1, Sha256};
use crate::base::limits::TARGET_BYTES_MAX;
use crate::fill::config::Above;
use crate::fill::rules;
use crate::model::name::{Name, OriginKey};
use crate::model::origin::{AllowList, Host, Permit, digest_in_name};
use crate::model::payload::{Authority, Location, Published, Standing};
use crate::model::shown::without_user_info;

/// A request as the mapping sees it.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The `Host` field, port included.
    pub host: Option<&'a str>,
    /// The path as asked, byte for byte, beginning with a slash.
    pub path: &'a str,
    /// What stood behind the question mark.
    pub query: Option<&'a str>,
    /// The `Via` field, for loop detection.
    pub via: Option<&'a str>,
}

/// What a request asks for: under which name it is kept, and where it can be had.
#[derive(Clone, Debug)]
pub struct Target {
    /// The key in the store. Entity tag and Last-Modified belong to it.
    pub name: Name,
    /// Where to ask, best first; none where only the store, a note or a catalog can know.
    pub locations: Vec<Location>,
    /// What the address itself publishes: its digest, or the one in a file name of Microsoft's.
    pub expected: Option<Published>,
    /// Whether and how it may be kept.
    pub keeping: Keeping,
    /// The rule that matched, for explain and the access record.
    pub rule: &'static str,
    /// The `Via` of the request, handed on so that a loop of nodes is noticed.
    pub via: Option<String>,
}

/// Whether and how an object may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// It never changes under its name.
    Immutable,
    /// It is fresh as long as RFC 9111 says.
    Rfc9111,
    /// Passed through, never kept.
    Never,
}

/// Why no target: 404 (no rule) or 400 (malformed, contradicting hosts, dot segments).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing here answers to that address.
    #[error("{why}")]
    NoRule {
        /// What was looked for, and what would let it through.
        why: String,
    },
    /// The request cannot be right.
    #[error("malformed request: {why}")]
    Malformed {
        /// What is wrong with it, and what was seen.
        why: String,
        /// The part of it that is told to whoever asked: it repeats nothing and says nothing of the inside.
        told: &'static str,
    },
}

/// Finds the target of a request. `upstream` is where digest forms are asked for.
pub(super) fn locate(ask: &Ask<'_>, allow: &AllowList, upstream: Option<Above<'_>>) -> Result<Target, Refusal> {
    let query = ask.query.unwrap_or_default();
    check_path(ask.path, query)?;
    let (named, rest) = split_query(query)?;
    // RFC 9112, 3.2, knows none in Host. Refused before anything repeats it: it may be a password.
    if [ask.host, named.as_deref()].into_iter().flatten().any(|host| host.contains('@')) {
        return Err(malformed("user info before a host is not allowed", ""));
    }
    let named = named.map(|value| parse_host(&value)).transpose()?;
    let header = ask.host.and_then(|value| parse_host(value).ok());
    let permitted = |spot: &(Host, Option<u16>)| allow.permit(&spot.0, spot.1).map(|permit| (spot.0.clone(), permit));
    let by_header = header.as_ref().and_then(permitted);
    let by_name = named.as_ref().and_then(permitted);
    if let (Some((named, _)), Some((header, _))) = (&named, &by_header)
        && named != header
    {
        return Err(malformed(
            "cacheHostOrigin and Host name two origins, send one of them",
            format_args!("{:?} and {:?}", named.as_str(), header.as_str()),
        ));
    }
    // Who names an origin means that one, port included, and no other.
    let origin = if named.is_some() { by_name.as_ref() } else { by_header.as_ref() };
    let by_digest = match digest_form(ask.path, upstream) {
        // An origin may have folders of these names too, with something else in them.
        Err(_) if origin.is_some() => None,
        form => form?,
    };
    if let Some(mut target) = by_digest {
        if let Some((host, permit)) = origin {
            target.locations.insert(0, location(host, permit, ask.path, &rest));
        }
        target.via = ask.via.map(str::to_owned);
        return Ok(target);
    }
    let (host, permit, rule) = match (origin, named) {
        (Some((host, permit)), named) => {
            let rule = if named.is_some() { "cacheHostOrigin" } else { "Host" };
            (host.clone(), permit.clone(), rule)
        }
        (None, Some((host, port))) => {
            return Err(no_rule(format!(
                "cacheHostOrigin {:?}{} is not on the allow-list; extend [origins] allow if it should be",
                host.as_str(),
                port.map(|port| format!(" at port {port}")).unwrap_or_default()
            )));
        }
        (None, None) => download_host(ask.path, allow).ok_or_else(|| {
            no_rule(format!(
                "host {:?} is not on the allow-list, and {:?} names no digest and no other origin",
                shorten(ask.host.unwrap_or_default()),
                shorten(ask.path)
            ))
        })?,
    };
    origin_form(ask, &host, &permit, &rest, rule)
}

/// `told` is what the client is told, `seen` what stands beside it in the record; it may be empty.
fn malformed(told: &'static str, seen: impl std::fmt::Display) -> Refusal {
    let seen = seen.to_string();
    let why = if seen.is_empty() { told.to_owned() } else { format!("{told}: {seen}") };
    Refusal::Malformed { why, told }
}

fn no_rule(why: impl Into<String>) -> Refusal {
    Refusal::NoRule { why: why.into() }
}

/// What goes into an error text: a stranger's bytes, without user info, cut.
fn shorten(text: &str) -> String {
    without_user_info(text).chars().take(80).collect()
}

fn check_path(path: &str, query: &str) -> Result<(), Refusal> {
    if path.len() + query.len() > TARGET_BYTES_MAX {
        return Err(malformed(
            "path and query are too long",
            format_args!("{} bytes, more than {TARGET_BYTES_MAX}", path.len() + query.len()),
        ));
    }
    if !path.starts_with('/') {
        return Err(malformed("the path does not begin with a slash", format_args!("{:?}", shorten(path))));
    }
    if let Some(byte) = path.bytes().chain(query.bytes()).find(|byte| *byte <= b' ' || *byte == 0x7f || *byte == b'#') {
        return Err(malformed("a byte has no place in an address, percent-encode it", format_args!("{byte:#04x}")));
    }
    // A backslash is a slash to URL parsers, so it separates here too.
    let plain = |text: &str| {
        let slashes = text.replace("%5c", "\\").replace("%5C", "\\").replace("%2f", "/").replace("%2F", "/");
        slashes.replace("%2e", ".").replace("%2E", ".")
    };
    let path = if path.contains('%') { Cow::Owned(plain(path)) } else { Cow::Borrowed(path) };
    if path.split(['/', '\\']).any(|segment| segment == "." || segment == "..") {
        return Err(malformed("dot segments, ask for the path that is meant", format_args!("{:?}", shorten(&path))));
    }
    Ok(())
}

/// The value of `cacheHostOrigin`, decoded, and the query without it, byte for byte.
fn split_query(query: &str) -> Result<(Option<String>, String), Refusal> {
    let mut named = None;
    let mut rest = Vec::new();
    for part in query.split('&') {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if name.eq_ignore_ascii_case("cacheHostOrigin") {
            if named.replace(decode(value)?).is_some() {
                return Err(malformed("more than one cacheHostOrigin", ""));
            }
        } else {
            rest.push(part);
        }
    }
    // Empty parts too: another query is another object, whatever it may mean to the origin.
    Ok((named, rest.join("&")))
}

/// Percent-decodes a host; what is not text afterwards is refused.
fn decode(value: &str) -> Result<String, Refusal> {
    let bad = || malformed("cacheHostOrigin is not percent-encoded text", format_args!("{:?}", shorten(value)));
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(bad);
            let (high, low) = (digit()?, digit()?);
            bytes.push(u8::try_from(high * 16 + low).map_err(|_| bad())?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn parse_host(text: &str) -> Result<(Host, Option<u16>), Refusal> {
    let (host, port) = match text.rsplit_once(':') {
        // A colon inside brackets, or several without any, belongs to an IPv6 literal.
        Some((host, port)) if !port.contains(']') && (!host.contains(':') || host.ends_with(']')) => (host, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        None => None,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(
            digits
                .parse()
                .map_err(|_| malformed("a port is a number up to 65535", format_args!("{:?}", shorten(digits))))?,
        ),
        Some(other) => return Err(malformed("a port is a number up to 65535", format_args!("{:?}", shorten(other)))),
    };
    let host = Host::parse(host).map_err(|error| malformed("an origin is a host name or an address", error))?;
    Ok((host, port))
}

fn location(host: &Host, permit: &Permit, path: &str, query: &str) -> Location {
    let scheme = if permit.https { "https" } else { "http" };
    let usual = if permit.https { 443 } else { 80 };
    let port = if permit.port == usual { String::new() } else { format!(":{}", permit.port) };
    let mark = if query.is_empty() { "" } else { "?" };
    let url = format!("{scheme}://{}{port}{path}{mark}{query}", authority(host));
    Location { url, standing: Standing::Allowed }
}

/// The host as it stands in a URL: IPv6 literals in brackets.
fn authority(host: &Host) -> String {
    let text = host.as_str();
    if text.contains(':') && !text.starts_with('[') { format!("[{text}]") } else { text.to_owned() }
}

fn download_host(path: &str, allow: &AllowList) -> Option<(Host, Permit, &'static str)> {
    if !rules::is_download_path(path) {
        return None;
    }
    let host = Host::parse(rules::DOWNLOAD_HOST).ok()?;
    let permit = allow.permit(&host, None)?;
    Some((host, permit, "msdownload"))
}

fn origin_form(
    ask: &Ask<'_>,
    host: &Host,
    permit: &Permit,
    query: &str,
    rule: &'static str,
) -> Result<Target, Refusal> {
    let port = if permit.port == 80 || permit.port == 443 { String::new() } else { format!(":{}", permit.port) };
    let kept: Vec<&str> = query
        .split('&')
        .filter(|part| {
            let name = part.split('=').next().unwrap_or_default();
            !rules::is_signature(permit.microsoft, ask.path, name)
        })
        .collect();
    let kept = kept.join("&");
    let mark = if kept.is_empty() { "" } else { "?" };
    let key = OriginKey::new(&format!("{}{port}{}{mark}{kept}", authority(host), ask.path))
        .map_err(|error| malformed("this can be no key", error))?;
    let expected = permit.microsoft.then(|| digest_in_name(ask.path)).flatten();
    let keeping = if rules::never_kept(ask.path) {
        Keeping::Never
    } else if expected.is_some() || rules::immutable(permit.microsoft, ask.path) {
        Keeping::Immutable
    } else {
        Keeping::Rfc9111
    };
    Ok(Target {
        name: Name::Origin(key),
        locations: vec![location(host, permit, ask.path, query)],
        expected: expected.map(|sha1| Published::one(Digest::Sha1(sha1), Authority::FileName)),
        keeping,
        rule,
        via: ask.via.map(str::to_owned),
    })
}

fn digest_form(path: &str, upstream: Option<Above<'_>>) -> Result<Option<Target>, Refusal> {
    let mut parts = path.split('/').skip(1);
    let (Some(first), Some(second)) = (parts.next(), parts.next()) else {
        return Ok(None);
    };
    let (third, more) = (parts.next(), parts.next());
    let stem = |file: &str| file.split_once('.').map_or(file, |(stem, _)| stem).to_owned();
    let (digest, rule): (Digest, &'static str) = if first.eq_ignore_ascii_case("content") {
        let (Some(file), None) = (third, more) else {
            return Ok(None);
        };
        let Ok(sha1) = stem(file).parse::<Sha1>() else {
            return Ok(None);
        };
        let hex = sha1.to_string();
        if !hex[hex.len() - 2..].eq_ignore_ascii_case(second) {
            return Err(no_rule(format!(
                "the folder {:?} is not the end of the SHA-1 {hex}; a WSUS address is /Content/{}/{}.<ext>",
                shorten(second),
                hex[hex.len() - 2..].to_uppercase(),
                hex.to_uppercase()
            )));
        }
        (Digest::Sha1(sha1), "content")
    } else if first.eq_ignore_ascii_case("sha256") && third.is_none() {
        match stem(second).parse::<Sha256>() {
            Ok(digest) => (Digest::Sha256(digest), "sha256"),
            Err(error) => return Err(no_rule(error.to_string())),
        }
    } else if first.eq_ignore_ascii_case("blake3") && third.is_none() {
        match stem(second).parse::<Blake3>() {
            Ok(digest) => (Digest::Blake3(digest), "blake3"),
            Err(error) => return Err(no_rule(error.to_string())),
        }
    } else {
        return Ok(None);
    };
    let extension = third.unwrap_or(second).split_once('.').map(|(_, extension)| extension);
    let locations = upstream.and_then(|above| upstream_location(above, &digest, extension)).into_iter().collect();
    Ok(Some(Target {
        name: Name::Digest(digest),
        locations,
        expected: Some(Published::one(digest, Authority::Address)),
        keeping: Keeping::Immutable,
        rule,
        via: None,
    }))
}

/// Where the upstream of the configuration keeps a digest: a WSUS in its content directory, a parent in any form.
pub(super) fn upstream_location(above: Above<'_>, digest: &Digest, extension: Option<&str>) -> Option<Location> {
    let root = above.base.url.trim_end_matches('/');
    let dot = if extension.is_some() { "." } else { "" };
    let extension = extension.unwrap_or_default();
    let path = match digest {
        Digest::Sha1(sha1) => {
            let hex = sha1.to_string().to_uppercase();
            format!("/Content/{}/{hex}{dot}{extension}", &hex[hex.len() - 2..])
        }
        Digest::Sha256(_) | Digest::Blake3(_) if above.wsus => return None,
        Digest::Sha256(sha256) => format!("/sha256/{sha256}"),
        Digest::Blake3(blake3) => format!("/blake3/{blake3}"),
    };
    Some(Location { url: format!("{root}{path}"), standing: above.base.standing })
}

/// The location of an origin key, for what is known by its name alone (a repair): the query's signature is gone.
pub(super) fn key_location(key: &OriginKey, allow: &AllowList) -> Option<Location> {
    let (host, port) = parse_host(key.host()).ok()?;
    let permit = allow.permit(&host, port)?;
    let (path, query) = key.target().split_once('?').unwrap_or((key.target(), ""));
    Some(location(&host, &permit, path, query))
}

#[cfg(test)]
mod tests;
