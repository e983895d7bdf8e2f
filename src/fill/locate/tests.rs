//! The mapping, address by address.

use super::*;

const SHA1: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

fn allow() -> AllowList {
    let entries = ["dl.example.org", "127.0.0.1:8000", "https://safe.example.org", "!au.download.windowsupdate.com"];
    AllowList::new(&entries.map(str::to_owned)).unwrap()
}

fn ask<'a>(host: &'a str, target: &'a str) -> Ask<'a> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    Ask { host: Some(host), path, query, via: None }
}

fn found(host: &str, target: &str) -> Target {
    locate(&ask(host, target), &allow(), None).unwrap_or_else(|error| panic!("{host}{target}: {error}"))
}

fn refused(host: &str, target: &str) -> Refusal {
    locate(&ask(host, target), &allow(), None).expect_err(target)
}

fn key(host: &str, target: &str) -> String {
    found(host, target).name.to_string()
}

#[test]
fn both_addressing_forms_lead_to_one_key() {
    for (host, target) in [
        ("dl.example.org", "/mscomtest/wuidt.gif"),
        ("DL.Example.ORG.", "/mscomtest/wuidt.gif"),
        ("dl.example.org:80", "/mscomtest/wuidt.gif"),
        ("node:3698", "/mscomtest/wuidt.gif?cacheHostOrigin=dl.example.org"),
        ("node:3698", "/mscomtest/wuidt.gif?cachehostorigin=%64l.example.ORG."),
        ("dl.example.org", "/mscomtest/wuidt.gif?cacheHostOrigin=dl.example.org"),
    ] {
        let target = found(host, target);
        assert_eq!(target.name.to_string(), "dl.example.org/mscomtest/wuidt.gif");
        assert_eq!(target.locations[0].url, "http://dl.example.org/mscomtest/wuidt.gif");
        assert_eq!(target.keeping, Keeping::Rfc9111);
    }
}

#[test]
fn a_query_is_kept_byte_for_byte() {
    for query in ["a", "&a", "&&a", "a&", "a&&b", "=", "a=1&a=1"] {
        let due = format!("dl.example.org/f?{query}");
        assert_eq!(key("dl.example.org", &format!("/f?{query}")), due);
        assert_eq!(key("node", &format!("/f?{query}&cacheHostOrigin=dl.example.org")), due);
        assert_eq!(key("node", &format!("/f?cacheHostOrigin=dl.example.org&{query}")), due);
        assert_eq!(
            found("node", &format!("/f?cacheHostOrigin=dl.example.org&{query}")).locations[0].url,
            format!("http://{due}")
        );
    }
}

#[test]
fn port_and_scheme_come_from_the_allow_list() {
    let target = found("node", "/a?x=1&cacheHostOrigin=127.0.0.1&y=%2F");
    assert_eq!(target.name.to_string(), "127.0.0.1:8000/a?x=1&y=%2F");
    assert_eq!(target.locations[0].url, "http://127.0.0.1:8000/a?x=1&y=%2F");
    let target = found("node", "/a?cacheHostOrigin=safe.example.org");
    assert_eq!(
        (target.name.to_string().as_str(), target.locations[0].url.as_str()),
        ("safe.example.org/a", "https://safe.example.org/a")
    );
}

#[test]
fn signatures_are_dropped_from_the_key_and_kept_upstream_on_microsofts_hosts_only() {
    let query = "P1=17&P2=4&x=2&P3=2&P4=abc%3d";
    let signed = format!("/filestreamingservice/files/0a?{query}&cacheHostOrigin=tlu.dl.delivery.mp.microsoft.com");
    let target = found("node", &signed);
    assert_eq!(target.name.to_string(), "tlu.dl.delivery.mp.microsoft.com/filestreamingservice/files/0a?x=2");
    assert!(target.locations[0].url.ends_with(&format!("?{query}")));
    assert_eq!(target.keeping, Keeping::Immutable);
    let other = format!("/filestreamingservice/files/0a?{query}");
    assert_eq!(key("dl.example.org", &other), format!("dl.example.org{other}"));
}

#[test]
fn digests_in_file_names_count_from_microsoft_only() {
    let path = format!("/d/msdownload/update/x_{SHA1}.cab");
    let target = found("b1.download.windowsupdate.com", &path);
    let expected = target.expected.unwrap();
    assert_eq!((expected.sha1.unwrap().to_string().as_str(), expected.authority), (SHA1, Authority::FileName));
    assert!(found("dl.example.org", &path).expected.is_none());
    // The alternate download server's form, under the node's own name.
    let target = found("node:3698", &path);
    assert_eq!(
        (target.rule, target.locations[0].url.clone()),
        ("msdownload", format!("http://download.windowsupdate.com{path}"))
    );
    assert!(matches!(refused("node", "/e/msdownload/x.cab"), Refusal::NoRule { .. }));
}

#[test]
fn digest_forms() {
    let hex = SHA1.to_uppercase();
    let name = Name::Digest(Digest::Sha1(SHA1.parse().unwrap()));
    for path in [format!("/Content/09/{hex}.psf"), format!("/content/09/{SHA1}.a.b"), format!("/CONTENT/09/{SHA1}")] {
        let target = found("node", &path);
        assert_eq!((&target.name, target.rule, target.keeping), (&name, "content", Keeping::Immutable));
        assert!(target.locations.is_empty() && target.expected.is_some());
    }
    assert!(matches!(refused("node", &format!("/Content/08/{SHA1}.psf")), Refusal::NoRule { .. }));
    let base = Location { url: "http://wsus:8530/".into(), standing: Standing::Upstream };
    let path = format!("/content/09/{SHA1}.ESD");
    let target = locate(&ask("node", &path), &allow(), Some(Above { base: &base, wsus: true })).unwrap();
    assert_eq!(target.locations[0].url, format!("http://wsus:8530/Content/09/{hex}.ESD"));
    let sha256 = "ab".repeat(32);
    // A WSUS knows a payload by its SHA-1 alone, another node by any digest.
    let asked = |wsus| {
        let path = format!("/sha256/{sha256}");
        locate(&ask("node", &path), &allow(), Some(Above { base: &base, wsus })).unwrap().locations.len()
    };
    assert_eq!((asked(true), asked(false)), (0, 1));
    assert_eq!(key("node", &format!("/sha256/{}", sha256.to_uppercase())), format!("sha256-{sha256}"));
    assert_eq!(key("node", &format!("/blake3/{sha256}")), format!("blake3-{sha256}"));
    assert!(matches!(refused("node", "/sha256/abc"), Refusal::NoRule { .. }));
    // An allow-listed origin may have such folders itself.
    for path in ["/sha256/abc", &format!("/Content/08/{SHA1}.psf"), "/blake3/x.cab"] {
        assert_eq!(key("dl.example.org", path), format!("dl.example.org{path}"));
    }
    // A WSUS behind DOCacheHost names itself beside the digest.
    let target = found("node", &format!("/Content/09/{hex}.cab?cacheHostOrigin=dl.example.org"));
    assert_eq!(target.locations[0].url, format!("http://dl.example.org/Content/09/{hex}.cab"));
}

#[test]
fn what_cannot_be_right_is_refused() {
    for target in [
        "/a/../b",
        "/a/./b",
        "/..",
        "/a/%2e%2E/b",
        "/a/.%2e",
        "/a%2f..%2fb",
        "/a\\..\\b",
        "/a b",
        "/a?cacheHostOrigin=dl.example.org&cacheHostOrigin=dl.example.org",
        "/a?cacheHostOrigin=",
        "/a?cacheHostOrigin=user@dl.example.org",
        "/a?cacheHostOrigin=user%40dl.example.org",
        "/a?cacheHostOrigin=dl.example.org%",
        "/a?cacheHostOrigin=dl.example.org:99999",
        "/a?cacheHostOrigin=dl.example.org:",
        "/a?cacheHostOrigin=dl.example.org/x",
        "a",
    ] {
        assert!(matches!(refused("node", target), Refusal::Malformed { .. }), "{target}");
    }
    let differ = refused("dl.example.org", "/a?cacheHostOrigin=safe.example.org");
    assert!(matches!(differ, Refusal::Malformed { .. }));
    for (host, target) in [
        ("node", "/a"),
        ("node", "/a?cacheHostOrigin=other.example.org"),
        ("node", "/a?cacheHostOrigin=dl.example.org:81"),
        ("dl.example.org", "/a?cacheHostOrigin=dl.example.org:81"),
        ("au.download.windowsupdate.com", "/mscomtest/wuidt.gif"),
    ] {
        assert!(matches!(refused(host, target), Refusal::NoRule { .. }), "{host}{target}");
    }
    let long = format!("/{}?cacheHostOrigin=dl.example.org", "a".repeat(TARGET_BYTES_MAX));
    assert!(matches!(refused("node", &long), Refusal::Malformed { .. }));
}

#[test]
fn trust_lists_are_never_kept() {
    let path = "/msdownload/update/v3/static/trustedr/en/AuthRootSTL.cab";
    assert_eq!(found("ctldl.windowsupdate.com", path).keeping, Keeping::Never);
    assert_eq!(found("dl.example.org", "/x/pinrulesstl.cab").keeping, Keeping::Never);
}

proptest::proptest! {
    /// No bytes of a stranger make it panic, and a key that comes out never carries cacheHostOrigin.
    #[test]
    fn takes_anything(host in ".{0,40}", path in "/.{0,60}", query in "(cacheHostOrigin=|&|P1=|.){0,12}") {
        if let Ok(target) = locate(&Ask { host: Some(&host), path: &path, query: Some(&query), via: None }, &allow(), None) {
            proptest::prop_assert!(!target.name.to_string().to_lowercase().contains("cachehostorigin="));
        }
    }
}

#[test]
fn the_update_catalogs_hosts_are_asked_over_https() {
    let plain = AllowList::new(&[]).unwrap();
    let file = format!("windows11.0-kb5031234-x64_{SHA1}.msu");
    for (host, path) in [
        ("catalog.s.download.windowsupdate.com", format!("/d/msdownload/update/software/secu/2026/01/{file}")),
        (
            "catalog.sf.dl.delivery.mp.microsoft.com",
            format!("/filestreamingservice/files/9d1bfd3a-3c4c-4b8a-9a3d-6f8f2d3d9b1e/public/{file}"),
        ),
    ] {
        // As a client asks for it, and as `waystation fetch https://..` does.
        let by_name = format!("cacheHostOrigin={host}");
        let asked = [
            Ask { host: Some("node:3698"), path: &path, query: Some(&by_name), via: None },
            Ask { host: Some(host), path: &path, query: None, via: None },
        ];
        for ask in asked {
            let target = locate(&ask, &plain, None).unwrap();
            assert_eq!(target.locations[0].url, format!("https://{host}{path}"));
            assert_eq!(target.name.to_string(), format!("{host}{path}"));
            let sha1 = Digest::Sha1(SHA1.parse().unwrap());
            assert_eq!(target.expected, Some(Published::one(sha1, Authority::FileName)));
            assert_eq!(target.keeping, Keeping::Immutable);
        }
        let host = Host::parse(host).unwrap();
        assert!(plain.admits(true, &host, 443).is_some_and(|permit| permit.microsoft));
        assert!(plain.admits(false, &host, 80).is_none());
    }
}
