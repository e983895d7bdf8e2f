//! Heads of answers held against questions, one table a subject.

use super::*;

fn fields(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    map
}

fn expect(span: Option<(u64, u64)>) -> Expect {
    Expect {
        method: Method::Get,
        span: span.map(|(start, end)| Span::new(start, end)),
        version: None,
        if_range: false,
        conditional: false,
    }
}

fn pinned(size: u64, etag: &str, digest_known: bool) -> Version {
    let validators = Validators { etag: Some(etag.to_owned()), last_modified: None };
    Version { size: Some(size), validators, digest_known }
}

fn word(result: &Result<Head, Cause>) -> String {
    match result {
        Ok(head) => format!("{} {:?} {:?}", head.status, head.span, head.total),
        Err(Cause::Lied(_)) => "lied".to_owned(),
        Err(Cause::Changed(_)) => "changed".to_owned(),
        Err(Cause::Busy { retry_after, .. }) => format!("busy {retry_after:?}"),
        Err(Cause::Status(status)) => format!("status {status}"),
        Err(Cause::Unauthorized(challenges)) => format!("challenges {challenges:?}"),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn statuses() {
    let asked = expect(Some((10, 20)));
    let range = ("content-range", "bytes 10-19/100");
    for (status, lines, seen) in [
        (200, &[("content-length", "100")][..], "200 0..100 Some(100)"),
        (200, &[][..], "200 0..18446744073709551615 None"),
        (206, &[range], "206 10..20 Some(100)"),
        (206, &[range, ("content-length", "10")], "206 10..20 Some(100)"),
        (206, &[("content-range", "bytes 10-19/*")], "206 10..20 None"),
        (206, &[("content-range", "BYTES 10-14/15")], "206 10..15 Some(15)"),
        (206, &[], "lied"),
        (206, &[range, ("content-length", "11")], "lied"),
        (206, &[("content-range", "bytes 11-19/100")], "lied"),
        (206, &[("content-range", "bytes 0-9/100")], "lied"),
        (206, &[("content-range", "bytes 10-20/100")], "lied"),
        (206, &[("content-range", "bytes 10-19/19")], "lied"),
        (206, &[("content-range", "bytes 19-10/100")], "lied"),
        (206, &[("content-range", "bytes */100")], "lied"),
        (206, &[("content-range", "items 10-19/100")], "lied"),
        (206, &[("content-range", "bytes +10-19/100")], "lied"),
        (206, &[("content-range", "bytes 10-18446744073709551615/*")], "lied"),
        (206, &[("content-range", "bytes 10-19/x")], "lied"),
        (206, &[range, ("content-type", "Multipart/ByteRanges; boundary=x")], "lied"),
        (206, &[range, ("content-encoding", "gzip")], "lied"),
        (200, &[("content-encoding", "br")], "lied"),
        (200, &[("content-encoding", "identity"), ("content-length", "5")], "200 0..5 Some(5)"),
        (203, &[], "lied"),
        (204, &[], "lied"),
        (304, &[], "lied"),
        (404, &[], "status 404"),
        (401, &[], "challenges []"),
        (
            401,
            &[("www-authenticate", "Negotiate"), ("www-authenticate", "Basic realm=\"a\"")],
            "challenges [\"Negotiate\", \"Basic realm=\\\"a\\\"\"]",
        ),
        (416, &[], "status 416"),
        (408, &[], "busy None"),
        (508, &[], "status 508"),
        (429, &[("retry-after", "7")], "busy Some(7s)"),
        (503, &[("retry-after", "Thu, 01 Jan 1970 00:01:10 GMT")], "busy Some(60s)"),
        (503, &[("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT")], "busy Some(0ns)"),
        (500, &[("retry-after", "soon")], "busy None"),
    ] {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        assert_eq!(word(&judge(&asked, status, &fields(lines), now)), seen, "{status} {lines:?}");
    }
    assert_eq!(word(&judge(&expect(None), 206, &fields(&[range]), SystemTime::now())), "lied");
    let conditional = Expect { conditional: true, ..expect(None) };
    assert_eq!(word(&judge(&conditional, 304, &fields(&[]), SystemTime::now())), "304 0..0 None");
}

#[test]
fn versions() {
    let part = |total: u64, tag: &[(&'static str, &'static str)]| {
        let range = format!("bytes 10-19/{total}");
        let mut map = fields(tag);
        map.insert(header::CONTENT_RANGE, range.parse().unwrap());
        map
    };
    let date = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
    for (if_range, digest_known, map, seen) in [
        (true, false, part(100, &[("etag", "\"a\"")]), "206"),
        (true, false, part(100, &[("etag", "W/\"a\"")]), "206"),
        (true, false, part(100, &[]), "206"),
        (false, false, part(100, &[]), "changed"),
        (true, false, part(100, &[("etag", "\"b\"")]), "changed"),
        (true, false, part(101, &[("etag", "\"a\"")]), "changed"),
        (false, true, part(100, &[("etag", "\"b\"")]), "206"),
        (false, true, part(100, &[]), "206"),
        (false, true, part(99, &[("etag", "\"a\"")]), "changed"),
        (false, false, part(100, &[date]), "changed"),
    ] {
        let mut asked = expect(Some((10, 20)));
        asked.version = Some(pinned(100, "\"a\"", digest_known));
        asked.if_range = if_range;
        let got = word(&judge(&asked, 206, &map, SystemTime::now()));
        assert!(got.starts_with(seen), "{if_range} {digest_known} {map:?}: {got}");
    }
    let mut asked = expect(Some((10, 20)));
    asked.version = Some(pinned(100, "\"a\"", false));
    for (status, lines, seen) in [
        (200, &[("content-length", "100"), ("etag", "\"a\"")][..], "200"),
        (200, &[("content-length", "100"), ("etag", "\"b\"")], "changed"),
        (200, &[("content-length", "99"), ("etag", "\"a\"")], "changed"),
        (200, &[("etag", "\"a\"")], "200"),
        (416, &[("content-range", "bytes */5")], "changed"),
    ] {
        let got = word(&judge(&asked, status, &fields(lines), SystemTime::now()));
        assert!(got.starts_with(seen), "{status} {lines:?}: {got}");
    }
    // Last-Modified judges where there are no entity tags, and a version without validators can only change length.
    let by_date = Validators { etag: None, last_modified: Some(date.1.to_owned()) };
    let version = |validators| Some(Version { size: Some(100), validators, digest_known: false });
    let mut asked = Expect { version: version(by_date), ..expect(Some((10, 20))) };
    assert!(judge(&asked, 206, &part(100, &[date]), SystemTime::now()).is_ok());
    let other = part(100, &[("last-modified", "Sun, 06 Nov 1994 08:49:38 GMT")]);
    assert_eq!(word(&judge(&asked, 206, &other, SystemTime::now())), "changed");
    asked.version = version(Validators::default());
    assert!(judge(&asked, 206, &other, SystemTime::now()).is_ok());
}

#[test]
fn keeps_what_is_passed_on() {
    let long = format!("\"{}\"", "x".repeat(2000));
    let map = fields(&[
        ("etag", &long),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("cache-control", "max-age=5"),
        ("set-cookie", "a=b"),
        ("content-length", "3"),
    ]);
    let head = judge(&expect(None), 200, &map, SystemTime::now()).unwrap();
    assert_eq!(head.validators.etag, None);
    assert!(head.validators.last_modified.is_some());
    assert_eq!(head.headers, [("cache-control".to_owned(), "max-age=5".to_owned())]);
}

proptest::proptest! {
    #[test]
    fn a_content_range_is_never_misread(text in "(bytes )?[0-9]{0,21}-?[0-9]{0,21}/?[0-9*]{0,21}") {
        if let Some((span, total)) = content_range(&text) {
            proptest::prop_assert!(!span.is_empty() && total.is_none_or(|total| span.end() <= total));
        }
    }
}
