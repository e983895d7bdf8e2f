//! Where files are, as endpoints are told: on this node, whether it has them yet or not, since what is asked for is fetched.

use std::net::SocketAddr;

use http::uri::Authority;

use crate::base::digest::Sha1;

/// The most characters of an extension; real ones have three or four.
const EXTENSION_MAX: usize = 16;

/// The base of file URLs, without a slash at its end, for a request that came to `local`.
///
/// 1. What is configured.
/// 2. Over plain HTTP the host that was asked, with its port: it leads to the listener that answers this.
/// 3. Over TLS the same host, on the port below the one asked where content is listened for there (8530 beside 8531), else on the first
///    port for plain HTTP. The digests come over TLS, so that the content need not.
/// 4. Where nothing is listened for over plain HTTP, the host and port that were asked.
pub(super) fn base(
    content_url: Option<&str>,
    host: Option<&str>,
    local: SocketAddr,
    secure: bool,
    http: &[SocketAddr],
) -> String {
    if let Some(url) = content_url {
        return url.to_owned();
    }
    let asked = host.and_then(|host| host.parse::<Authority>().ok()).filter(|asked| !asked.as_str().contains('@'));
    let local = local.to_string();
    let whole = asked.as_ref().map_or(local.as_str(), Authority::as_str);
    if !secure {
        return format!("http://{whole}");
    }
    let name = asked.as_ref().map_or_else(|| without_port(&local), Authority::host);
    let port = asked.as_ref().and_then(Authority::port_u16).unwrap_or(443);
    let below = http.iter().map(SocketAddr::port).find(|http| Some(*http) == port.checked_sub(1));
    match below.or_else(|| http.first().map(SocketAddr::port)) {
        Some(80) => format!("http://{name}"),
        Some(port) => format!("http://{name}:{port}"),
        None => format!("https://{whole}"),
    }
}

fn without_port(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

/// The address of a file below a base: the form of WSUS servers. What has no extension that an address can have gets none of its own,
/// but the one that such files have there.
pub(super) fn url(base: &str, sha1: &Sha1, name: &str) -> String {
    let hex = sha1.to_string().to_ascii_uppercase();
    let folder = hex.get(hex.len().saturating_sub(2)..).unwrap_or_default();
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    let plain = |text: &&str| {
        (1..=EXTENSION_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let extension = extension.filter(plain).unwrap_or("bin");
    format!("{base}/Content/{folder}/{hex}.{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_where_the_request_came_to_or_where_the_administrator_says() {
        let local: SocketAddr = "10.0.0.5:6201".parse().unwrap();
        let http: Vec<SocketAddr> = ["0.0.0.0:3698", "0.0.0.0:8530"].map(|text| text.parse().unwrap()).into();
        let of = |host, secure| base(None, host, local, secure, &http);
        assert_eq!(base(Some("https://cdn.example"), Some("a:1"), local, true, &http), "https://cdn.example");
        assert_eq!(of(Some("wsus.example:8531"), true), "http://wsus.example:8530");
        assert_eq!(of(Some("wsus.example:6201"), true), "http://wsus.example:3698");
        assert_eq!(of(Some("wsus.example"), true), "http://wsus.example:3698");
        assert_eq!(of(Some("[2001:db8::1]:8531"), true), "http://[2001:db8::1]:8530");
        assert_eq!(of(Some("wsus.example:8530"), false), "http://wsus.example:8530");
        assert_eq!(of(None, true), "http://10.0.0.5:3698");
        assert_eq!(of(None, false), "http://10.0.0.5:6201");
        assert_eq!(of(Some("a b/<"), false), "http://10.0.0.5:6201", "what is no host is not repeated");
        assert_eq!(of(Some("kim@evil.example"), false), "http://10.0.0.5:6201");
        assert_eq!(base(None, Some("h:8531"), local, true, &[]), "https://h:8531");
    }

    #[test]
    fn an_address_has_the_form_of_wsus() {
        let sha1: Sha1 = "2f88a1b2c3d4e5f60718293a4b5c6d7e8f9054ab".parse().unwrap();
        let at = |name| url("http://h", &sha1, name);
        assert_eq!(at("a.b.exe"), "http://h/Content/AB/2F88A1B2C3D4E5F60718293A4B5C6D7E8F9054AB.exe");
        for name in ["none", "a.b c", "a."] {
            assert_eq!(at(name), at("a.bin"), "{name}");
        }
    }
}
