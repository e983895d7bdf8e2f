//! What entries let through, and what is no entry.

use super::*;

fn list(entries: &[&str]) -> Listed {
    Listed::new(&entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>()).unwrap()
}

fn permit(list: &Listed, host: &str, port: Option<u16>) -> Option<Permit> {
    list.permit(&Host::parse(host).unwrap(), port)
}

/// Scheme and port by which a host is asked, or nothing.
fn asked(list: &Listed, host: &str, port: Option<u16>) -> Option<String> {
    permit(list, host, port).map(|permit| format!("{} {}", if permit.https { "https" } else { "http" }, permit.port))
}

#[test]
fn the_shipped_list_works_without_configuration() {
    let list = list(&[]);
    for host in [
        "download.windowsupdate.com",
        "au.download.windowsupdate.com",
        "b1.download.windowsupdate.com",
        "11.au.b1.download.windowsupdate.com",
        "dl.delivery.mp.microsoft.com",
        "msedge.b.tlu.dl.delivery.mp.microsoft.com",
        "officecdn.microsoft.com",
        "swda01-mscdn.manage.microsoft.com",
        "statics.teams.cdn.office.net",
        "res.cdn.office.net",
        "assets1.xboxlive.com",
        "x.dl.adu.microsoft.com",
        "ctldl.windowsupdate.com",
    ] {
        assert_eq!(asked(&list, host, None).as_deref(), Some("http 80"), "{host}");
        assert!(!permit(&list, host, None).unwrap().private);
    }
    for host in [
        "example.org",
        "microsoft.com",
        "www.microsoft.com",
        "evil-windowsupdate.com",
        "windowsupdate.com.evil.example",
        "127.0.0.1",
        "169.254.169.254",
        "cdn.office.net",
        "xwindowsupdate.com",
    ] {
        assert_eq!(asked(&list, host, None), None, "{host}");
    }
    assert!(permit(&list, "au.download.windowsupdate.com", None).unwrap().microsoft);
    assert!(!permit(&list, "officecdn.microsoft.com", None).unwrap().microsoft);
    assert!(list.warnings().is_empty());
}

#[test]
fn forms_of_entries() {
    let list = list(&[
        "*.Example.org.",
        "https://dl.example.com",
        "127.0.0.1:8000",
        "[::1]:8080",
        "fd00::5",
        "http://old.example.net/",
        " sp.example.net:8443 ",
        "https://tls.example.net:8443",
    ]);
    for (host, port, seen) in [
        ("x.example.org", None, Some("http 80")),
        ("x.y.example.org", None, Some("http 80")),
        ("example.org", None, None),
        ("dl.example.com", None, Some("https 443")),
        ("dl.example.com", Some(443), Some("https 443")),
        ("dl.example.com", Some(80), Some("https 443")),
        ("dl.example.com", Some(8080), None),
        ("x.dl.example.com", None, None),
        ("127.0.0.1", None, Some("http 8000")),
        ("0x7f.1", None, Some("http 8000")),
        ("127.0.0.1", Some(8000), Some("http 8000")),
        ("127.0.0.1", Some(80), None),
        ("127.0.0.1", Some(8001), None),
        ("127.0.0.2", None, None),
        ("[::1]", None, Some("http 8080")),
        ("[fd00::5]", None, Some("http 80")),
        ("old.example.net", Some(443), Some("http 80")),
        ("sp.example.net", None, Some("http 8443")),
        ("sp.example.net", Some(443), None),
        ("tls.example.net", Some(8443), Some("https 8443")),
    ] {
        assert_eq!(asked(&list, host, port).as_deref(), seen, "{host} {port:?}");
    }
    assert!(permit(&list, "127.0.0.1", None).unwrap().private && permit(&list, "[::1]", None).unwrap().private);
    assert_eq!(permit(&list, "x.y.example.org", None).unwrap().entry, "*.Example.org.");
}

#[test]
fn exact_urls() {
    let list =
        list(&["plain.example.org", "https://tls.example.org", "http://old.example.org", "odd.example.org:8080"]);
    for (https, host, port, admitted) in [
        (false, "plain.example.org", 80, true),
        (true, "plain.example.org", 443, true),
        (true, "plain.example.org", 80, false),
        (false, "plain.example.org", 443, false),
        (true, "plain.example.org", 8443, false),
        (true, "tls.example.org", 443, true),
        (false, "tls.example.org", 80, false),
        (false, "odd.example.org", 8080, true),
        (true, "odd.example.org", 443, false),
        (false, "odd.example.org", 80, false),
        (false, "other.example.org", 80, false),
    ] {
        let permit = list.admits(https, &Host::parse(host).unwrap(), port);
        assert_eq!(permit.is_some(), admitted, "{https} {host} {port}");
        assert!(permit.is_none_or(|permit| permit.https == https && permit.port == port));
    }
    let downgrade = |host: &str| list.admits(false, &Host::parse(host).unwrap(), 80).unwrap().allows_downgrade();
    assert!(downgrade("old.example.org") && !downgrade("plain.example.org"));
}

#[test]
fn removals() {
    // One host of a wildcard, in whichever order.
    for entries in [["!x.example.org", "*.example.org"], ["*.example.org", "!x.example.org"]] {
        let list = list(&entries);
        assert_eq!((asked(&list, "x.example.org", None), asked(&list, "y.example.org", None).is_some()), (None, true));
        assert!(list.warnings().is_empty(), "{:?}", list.warnings());
    }
    // All of a shipped domain, but for one host.
    let some = list(&["!*.windowsupdate.com", "dl.download.windowsupdate.com"]);
    assert_eq!(asked(&some, "au.download.windowsupdate.com", None), None);
    assert_eq!(asked(&some, "ctldl.windowsupdate.com", None), None);
    assert!(asked(&some, "dl.download.windowsupdate.com", None).is_some());
    assert!(asked(&some, "windowsupdate.com", None).is_some());
    assert!(some.warnings().is_empty(), "{:?}", some.warnings());
    // A shipped wildcard's host.
    let one = list(&["!assets1.xboxlive.com", "!tlu.dl.delivery.mp.microsoft.com"]);
    assert_eq!(asked(&one, "assets1.xboxlive.com", None), None);
    assert_eq!(asked(&one, "tlu.dl.delivery.mp.microsoft.com", None), None);
    assert!(one.warnings().is_empty(), "{:?}", one.warnings());
    // Nothing to remove.
    let none = list(&["!nobody.example"]);
    assert!(none.warnings()[0].contains("removes nothing"), "{:?}", none.warnings());
}

#[test]
fn two_entries_of_one_host() {
    let two = list(&["127.0.0.1:8000", "127.0.0.1:8001"]);
    assert_eq!(asked(&two, "127.0.0.1", None).as_deref(), Some("http 8000"));
    assert_eq!(asked(&two, "127.0.0.1", Some(8001)).as_deref(), Some("http 8001"));
    assert!(two.warnings()[0].contains("the first wins"), "{:?}", two.warnings());
    let first = list(&["a.example.org", "!a.example.org"]);
    assert!(asked(&first, "a.example.org", None).is_some() && first.warnings().len() == 1);
    assert!(list(&["*.corp"]).warnings()[0].contains("top-level"));
    assert!(list(&["localhost:80"]).warnings()[0].contains("127.0.0.1"));
}

#[test]
fn configured_entries_lie_on_top_of_the_shipped_ones() {
    let list = list(&["https://*.download.windowsupdate.com", "dl.delivery.mp.microsoft.com:8080"]);
    let wu = permit(&list, "au.download.windowsupdate.com", None).unwrap();
    assert!(wu.https && wu.microsoft);
    let mirror = permit(&list, "dl.delivery.mp.microsoft.com", None).unwrap();
    assert!(mirror.port == 8080 && !mirror.microsoft);
    assert_eq!(list.configured_hosts(), ["http://dl.delivery.mp.microsoft.com:8080"]);
}

#[test]
fn every_port_of_a_configured_host_is_told() {
    let list = list(&[
        "10.0.0.1:8001",
        "10.0.0.1:8000",
        "https://10.0.0.1",
        "10.0.0.1:8001",
        "b.example",
        "!c.example",
        "*.d.example",
    ]);
    assert_eq!(
        list.configured_hosts(),
        ["http://10.0.0.1:8000", "http://10.0.0.1:8001", "http://b.example", "https://10.0.0.1"]
    );
}

#[test]
fn refuses_what_is_no_entry() {
    for entry in [
        "",
        "*",
        "*.",
        "!",
        "ftp://a.example",
        "a.example/path",
        "a.example?x",
        "user@a.example",
        "a..example",
        "a.example:0",
        "a.example:65536",
        "a.example:",
        "a.example:+80",
        "*.10.0.0.1",
        "a.*.example",
        "**.example",
        "!a.example:80",
        "!https://a.example",
        "https://",
        "http://a.example:80:80",
        "10.0.0.0/8",
    ] {
        let refused = Listed::new(&[entry.to_owned()]).expect_err(entry);
        assert!(refused.to_string().contains("is no origin"), "{refused}");
    }
    for network in ["10.0.0.0/8", "2001:db8::/32"] {
        let refused = Listed::new(&[network.to_owned()]).unwrap_err().to_string();
        assert!(refused.contains("networks cannot be listed"), "{refused}");
    }
    assert!(Listed::new(&vec!["a.example".to_owned(); ENTRIES_MAX + 1]).is_err());
}
