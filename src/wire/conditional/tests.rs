//! The table: what each request selects, and properties against a slow plain model.

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use Decision::{MethodNotAllowed, Multi, NotModified, PreconditionFailed, Single, Unsatisfiable, Whole};

const MODIFIED: &str = "Wed, 02 Sep 2026 08:30:53 GMT";
const EARLIER: &str = "Wed, 02 Sep 2026 08:30:52 GMT";
const LATER: &str = "Wed, 02 Sep 2026 08:30:54 GMT";
/// 2026-09-02T08:30:53Z.
const MODIFIED_MS: u64 = 1_788_337_853_000;

fn object(size: u64) -> Object<'static> {
    Object { size, tag: "sha1-ab", last_modified: Some(MODIFIED), now: Timestamp::from_ms(MODIFIED_MS + 3_600_000) }
}

fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

fn get(size: u64, lines: &[(HeaderName, &str)]) -> Decision {
    decide(&Method::GET, &headers(lines), &object(size))
}

fn single(start: u64, end: u64) -> Decision {
    Single(Span::new(start, end))
}

fn multi(spans: &[(u64, u64)]) -> Decision {
    Multi(spans.iter().map(|(start, end)| Span::new(*start, *end)).collect())
}

#[test]
fn the_date_of_the_table_is_the_time_of_the_table() {
    let time = httpdate::parse_http_date(MODIFIED).unwrap();
    assert_eq!(Timestamp::from(time).ms(), MODIFIED_MS);
}

#[test]
fn ranges() {
    let most = (0..64).map(|at| format!("{}-{}", at * 10, at * 10 + 1)).collect::<Vec<_>>().join(",");
    let too_many = format!("{most},900-901");
    let all_64: Vec<(u64, u64)> = (0..64).map(|at| (at * 10, at * 10 + 2)).collect();
    let long = format!("bytes=0-1{}", " ".repeat(VALUE_BYTES_MAX));
    let huge = "9".repeat(50);
    let cases: &[(u64, &str, Decision)] = &[
        // One range.
        (1000, "bytes=0-0", single(0, 1)),
        (1000, "bytes=0-499", single(0, 500)),
        (1000, "bytes=500-999", single(500, 1000)),
        (1000, "bytes=999-999", single(999, 1000)),
        (1000, "bytes=0-999", single(0, 1000)),
        (1000, "bytes=990-5000", single(990, 1000)),
        (1000, "bytes=0-", single(0, 1000)),
        (1000, "bytes=999-", single(999, 1000)),
        (1000, "bytes=-1", single(999, 1000)),
        (1000, "bytes=-1000", single(0, 1000)),
        (1000, "bytes=-1001", single(0, 1000)),
        (1000, "BYTES=1-2", single(1, 3)),
        (1000, "bytes=001-002", single(1, 3)),
        (1000, "bytes= 1-2", single(1, 3)),
        (1000, "bytes=1-2 \t", single(1, 3)),
        (1000, "bytes=,,1-2,,", single(1, 3)),
        // Not satisfiable.
        (1000, "bytes=1000-", Unsatisfiable),
        (1000, "bytes=1000-1000", Unsatisfiable),
        (1000, "bytes=5000-6000", Unsatisfiable),
        (1000, "bytes=-0", Unsatisfiable),
        (1000, "bytes=-0,1000-", Unsatisfiable),
        // Numbers beyond 64 bits.
        (1000, &format!("bytes=0-{huge}"), single(0, 1000)),
        (1000, &format!("bytes=-{huge}"), single(0, 1000)),
        (1000, &format!("bytes={huge}-"), Unsatisfiable),
        (1000, &format!("bytes={huge}-{huge}"), Unsatisfiable),
        (1000, "bytes=0-18446744073709551615", single(0, 1000)),
        (1000, "bytes=0-18446744073709551616", single(0, 1000)),
        (u64::MAX, "bytes=18446744073709551614-18446744073709551615", single(u64::MAX - 1, u64::MAX)),
        // The empty object.
        (0, "bytes=0-", Unsatisfiable),
        (0, "bytes=0-0", Unsatisfiable),
        (0, "bytes=-0", Unsatisfiable),
        (0, "bytes=-5", Whole),
        (0, "bytes=0-0,-5", Whole),
        // Several ranges.
        (1000, "bytes=0-1,10-11", multi(&[(0, 2), (10, 12)])),
        (1000, "bytes=10-11,0-1", multi(&[(10, 12), (0, 2)])),
        (1000, "bytes=0-1 ,\t10-11", multi(&[(0, 2), (10, 12)])),
        (1000, "bytes=0-1,-2", multi(&[(0, 2), (998, 1000)])),
        (1000, "bytes=0-1,2000-,10-11", multi(&[(0, 2), (10, 12)])),
        (1000, "bytes=0-1,2000-", single(0, 2)),
        // Overlapping and touching ones become one, where the first of them stood.
        (1000, "bytes=0-10,5-20", single(0, 21)),
        (1000, "bytes=0-9,10-19", single(0, 20)),
        (1000, "bytes=10-19,0-9", single(0, 20)),
        (1000, "bytes=0-9,11-19", multi(&[(0, 10), (11, 20)])),
        (1000, "bytes=5-6,5-6", single(5, 7)),
        (1000, "bytes=100-109,0-9,110-119", multi(&[(100, 120), (0, 10)])),
        (1000, "bytes=0-9,100-109,5-15,90-100", multi(&[(0, 16), (90, 110)])),
        (1000, "bytes=0-9,20-29,10-19", single(0, 30)),
        // At most 64 parts and twice the size.
        (1000, &format!("bytes={most}"), multi(&all_64)),
        (1000, &format!("bytes={too_many}"), Whole),
        (1000, "bytes=0-,0-", single(0, 1000)),
        (1000, "bytes=0-,0-,0-0", Whole),
        (1000, "bytes=-700,-700,-700", Whole),
        (1000, &long, Whole),
        // Malformed or of another unit.
        (1000, "", Whole),
        (1000, "bytes", Whole),
        (1000, "bytes=", Whole),
        (1000, "bytes=,", Whole),
        (1000, "bytes=-", Whole),
        (1000, "bytes=1", Whole),
        (1000, "bytes=a-b", Whole),
        (1000, "bytes=2-1", Whole),
        (1000, "bytes=1-2-3", Whole),
        (1000, "bytes=--5", Whole),
        (1000, "bytes=+1-2", Whole),
        (1000, "bytes=1 -2", Whole),
        (1000, "bytes=1- 2", Whole),
        (1000, "bytes =1-2", Whole),
        (1000, "bytes:1-2", Whole),
        (1000, "bytes=0-1;10-11", Whole),
        (1000, "bytes=0-1,x", Whole),
        (1000, "bytes=0-1,2-1", Whole),
        (1000, "bytes=0x0-0x1", Whole),
        (1000, "items=0-1", Whole),
        (1000, "0-1", Whole),
        (1000, "bytes=\u{661}-\u{662}", Whole),
    ];
    for (size, value, expected) in cases {
        assert_eq!(get(*size, &[(RANGE, value)]), *expected, "{value:?} of {size}");
    }
    assert_eq!(get(1000, &[]), Whole);
    assert_eq!(get(0, &[]), Whole);
    assert_eq!(get(1000, &[(RANGE, "bytes=0-1"), (RANGE, "bytes=0-1")]), Whole, "given twice");
}

#[test]
fn if_range() {
    let ranged = |value: &str| get(1000, &[(RANGE, "bytes=0-1"), (IF_RANGE, value)]);
    for holds in [
        "\"sha1-ab\"",
        " \"sha1-ab\" ",
        MODIFIED,
        // The same second in the obsolete forms.
        "Wednesday, 02-Sep-26 08:30:53 GMT",
        "Wed Sep  2 08:30:53 2026",
    ] {
        assert_eq!(ranged(holds), single(0, 2), "{holds:?}");
    }
    for fails in [
        "\"sha1-ac\"",
        "W/\"sha1-ab\"",
        "\"sha1-ab\", \"sha1-ab\"",
        "\"sha1-ab",
        "sha1-ab",
        "*",
        "",
        EARLIER,
        LATER,
        "yesterday",
    ] {
        assert_eq!(ranged(fails), Whole, "{fails:?}");
    }
    let twice = [(RANGE, "bytes=0-1"), (IF_RANGE, "\"sha1-ab\""), (IF_RANGE, "\"sha1-ab\"")];
    assert_eq!(get(1000, &twice), Whole);
    assert_eq!(get(1000, &[(IF_RANGE, "\"sha1-ab\"")]), Whole, "without a range it says nothing");
    assert_eq!(get(1000, &[(RANGE, "bytes=2000-"), (IF_RANGE, "\"x\"")]), Whole, "no 416 for another version");
    assert_eq!(get(1000, &[(RANGE, "bytes=2000-"), (IF_RANGE, "\"sha1-ab\"")]), Unsatisfiable);
}

#[test]
fn a_fresh_date_is_no_strong_validator() {
    let lines = headers(&[(RANGE, "bytes=0-1"), (IF_RANGE, MODIFIED)]);
    let at = |ms: u64| decide(&Method::GET, &lines, &Object { now: Timestamp::from_ms(ms), ..object(1000) });
    assert_eq!(at(MODIFIED_MS + 1000), single(0, 2));
    assert_eq!(at(MODIFIED_MS + 999), Whole);
    assert_eq!(at(MODIFIED_MS - 5000), Whole, "a Last-Modified in the future");
    let undated = Object { last_modified: None, ..object(1000) };
    assert_eq!(decide(&Method::GET, &lines, &undated), Whole);
}

#[test]
fn preconditions_alone() {
    let too_long = format!("\"{}\", \"sha1-ab\"", "x".repeat(VALUE_BYTES_MAX));
    let cases: &[(HeaderName, &str, Decision)] = &[
        (IF_MATCH, "\"sha1-ab\"", Whole),
        (IF_MATCH, "*", Whole),
        (IF_MATCH, " * ", Whole),
        (IF_MATCH, "\"x\", \"sha1-ab\"", Whole),
        (IF_MATCH, "\"x\",\"sha1-ab\",\"y\"", Whole),
        (IF_MATCH, "\"a,b\" , \"sha1-ab\"", Whole),
        (IF_MATCH, ", ,\"sha1-ab\",", Whole),
        (IF_MATCH, "junk, \"sha1-ab\"", Whole),
        (IF_MATCH, "\"x\"", PreconditionFailed),
        (IF_MATCH, "W/\"sha1-ab\"", PreconditionFailed),
        (IF_MATCH, "w/\"sha1-ab\"", PreconditionFailed),
        (IF_MATCH, "sha1-ab", PreconditionFailed),
        (IF_MATCH, "\"sha1-ab", PreconditionFailed),
        (IF_MATCH, "\"sha1-ab\"x", PreconditionFailed),
        (IF_MATCH, "\"x, sha1-ab\"", PreconditionFailed),
        (IF_MATCH, "\"x\", *", PreconditionFailed),
        (IF_MATCH, "", PreconditionFailed),
        (IF_MATCH, "\"\"", PreconditionFailed),
        (IF_MATCH, &too_long, PreconditionFailed),
        (IF_NONE_MATCH, "\"sha1-ab\"", NotModified),
        (IF_NONE_MATCH, "W/\"sha1-ab\"", NotModified),
        (IF_NONE_MATCH, "*", NotModified),
        (IF_NONE_MATCH, "\"a,b\", W/\"x\", \"sha1-ab\"", NotModified),
        (IF_NONE_MATCH, "\"x\"", Whole),
        (IF_NONE_MATCH, "sha1-ab", Whole),
        (IF_NONE_MATCH, "\"a\"\"sha1-ab\"", Whole),
        (IF_NONE_MATCH, "\"SHA1-AB\"", Whole),
        (IF_NONE_MATCH, "", Whole),
        (IF_NONE_MATCH, &too_long, Whole),
        (IF_MODIFIED_SINCE, MODIFIED, NotModified),
        (IF_MODIFIED_SINCE, LATER, NotModified),
        (IF_MODIFIED_SINCE, "Wednesday, 02-Sep-26 08:30:53 GMT", NotModified),
        (IF_MODIFIED_SINCE, EARLIER, Whole),
        (IF_MODIFIED_SINCE, "yesterday", Whole),
        (IF_MODIFIED_SINCE, "", Whole),
        (IF_MODIFIED_SINCE, "Wed, 99 Sep 2026 08:30:53 GMT", Whole),
        (IF_MODIFIED_SINCE, "\u{e9}", Whole),
        (IF_UNMODIFIED_SINCE, MODIFIED, Whole),
        (IF_UNMODIFIED_SINCE, LATER, Whole),
        (IF_UNMODIFIED_SINCE, EARLIER, PreconditionFailed),
        (IF_UNMODIFIED_SINCE, "yesterday", Whole),
    ];
    for (name, value, expected) in cases {
        for method in [Method::GET, Method::HEAD] {
            let got = decide(&method, &headers(&[(name.clone(), value)]), &object(1000));
            assert_eq!(got, *expected, "{method} {name}: {value:.60?}");
        }
    }
    // Dates mean nothing where the object has none.
    let undated = Object { last_modified: None, ..object(1000) };
    let misdated = Object { last_modified: Some("long ago"), ..object(1000) };
    for object in [undated, misdated] {
        for name in [IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
            assert_eq!(decide(&Method::GET, &headers(&[(name, EARLIER)]), &object), Whole);
        }
    }
}

#[test]
fn several_lines_of_one_field() {
    let lines = |name: &HeaderName, values: [&str; 2]| get(1000, &values.map(|value| (name.clone(), value)));
    assert_eq!(lines(&IF_NONE_MATCH, ["\"x\"", "\"sha1-ab\""]), NotModified);
    assert_eq!(lines(&IF_NONE_MATCH, ["*", "\"x\""]), Whole, "* stands alone");
    assert_eq!(lines(&IF_MATCH, ["\"x\"", "\"sha1-ab\""]), Whole);
    assert_eq!(lines(&IF_MATCH, ["\"x\"", "*"]), PreconditionFailed);
    assert_eq!(lines(&IF_MODIFIED_SINCE, [MODIFIED, MODIFIED]), Whole, "a date is given once");
    assert_eq!(lines(&IF_UNMODIFIED_SINCE, [EARLIER, EARLIER]), Whole);
}

#[test]
fn precedence() {
    const TAG: &str = "\"sha1-ab\"";
    let range = (RANGE, "bytes=0-1");
    let cases: &[(&[(HeaderName, &str)], Decision)] = &[
        // If-Match silences If-Unmodified-Since.
        (&[(IF_MATCH, TAG), (IF_UNMODIFIED_SINCE, EARLIER)], Whole),
        (&[(IF_MATCH, "\"x\""), (IF_UNMODIFIED_SINCE, LATER)], PreconditionFailed),
        // If-None-Match silences If-Modified-Since.
        (&[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, LATER)], Whole),
        (&[(IF_NONE_MATCH, TAG), (IF_MODIFIED_SINCE, EARLIER)], NotModified),
        // What failed comes before what is not modified.
        (&[(IF_MATCH, "\"x\""), (IF_NONE_MATCH, TAG)], PreconditionFailed),
        (&[(IF_UNMODIFIED_SINCE, EARLIER), (IF_NONE_MATCH, TAG)], PreconditionFailed),
        (&[(IF_MATCH, TAG), (IF_NONE_MATCH, TAG)], NotModified),
        (&[(IF_UNMODIFIED_SINCE, LATER), (IF_MODIFIED_SINCE, LATER)], NotModified),
        // All of them come before the range.
        (&[range.clone(), (IF_MATCH, "\"x\"")], PreconditionFailed),
        (&[range.clone(), (IF_NONE_MATCH, TAG)], NotModified),
        (&[range.clone(), (IF_MODIFIED_SINCE, MODIFIED)], NotModified),
        (&[range.clone(), (IF_UNMODIFIED_SINCE, EARLIER)], PreconditionFailed),
        (&[range.clone(), (IF_MATCH, TAG)], single(0, 2)),
        (&[range.clone(), (IF_MATCH, TAG), (IF_RANGE, "\"x\"")], Whole),
        (&[range.clone(), (IF_NONE_MATCH, "\"x\""), (IF_RANGE, TAG)], single(0, 2)),
        (&[(RANGE, "bytes=5000-"), (IF_NONE_MATCH, TAG)], NotModified),
        (&[(RANGE, "bytes=5000-"), (IF_MATCH, "\"x\"")], PreconditionFailed),
    ];
    for (lines, expected) in cases {
        assert_eq!(get(1000, lines), *expected, "{lines:?}");
    }
}

#[test]
fn methods() {
    let lines = headers(&[(RANGE, "bytes=0-1"), (IF_RANGE, "\"x\"")]);
    assert_eq!(decide(&Method::HEAD, &lines, &object(1000)), Whole, "ranges are for GET");
    let beyond = headers(&[(RANGE, "bytes=5000-")]);
    assert_eq!(decide(&Method::HEAD, &beyond, &object(1000)), Whole);
    let failing = headers(&[(IF_MATCH, "\"x\"")]);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "get", "PROPFIND"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        assert_eq!(decide(&method, &failing, &object(1000)), MethodNotAllowed, "{method}");
    }
}

#[test]
fn what_may_be_asked_of_someone_else() {
    let of = |value: &str| exactly_wanted(&Method::GET, &headers(&[(RANGE, value)]));
    assert_eq!(of("bytes=0-"), Some((0, None)));
    assert_eq!(of("bytes=5-9"), Some((5, Some(9))));
    assert_eq!(of("bytes=,5-9 ,"), Some((5, Some(9))), "empty elements mean nothing");
    for other in ["bytes=-5", "bytes=0-1,3-4", "bytes=0-1,x", "bytes=9-5", "bytes=", "items=0-1", ""] {
        assert_eq!(of(other), None, "{other}");
    }
    assert_eq!(exactly_wanted(&Method::HEAD, &headers(&[(RANGE, "bytes=0-1")])), None);
    assert_eq!(exactly_wanted(&Method::GET, &headers(&[(RANGE, "bytes=0-1"), (RANGE, "bytes=0-1")])), None);
    assert_eq!(exactly_wanted(&Method::GET, &headers(&[(RANGE, "bytes=0-1"), (IF_RANGE, "\"a\"")])), None);
    assert_eq!(exactly_wanted(&Method::GET, &headers(&[])), None);
}

#[test]
fn the_first_bytes_wanted() {
    let wanted = |value: &str| first_wanted(&Method::GET, &headers(&[(RANGE, value)]));
    assert_eq!(wanted("bytes=5-9,20-"), (5, Some(9)));
    assert_eq!(wanted("bytes=5-"), (5, None));
    assert_eq!(wanted("bytes=-5"), (0, Some(0)));
    for whole in ["bytes=", "bytes=x", "items=5-9", "bytes=9-5"] {
        assert_eq!(wanted(whole), (0, None), "{whole}");
    }
    assert_eq!(first_wanted(&Method::HEAD, &headers(&[(RANGE, "bytes=5-9")])), (0, None));
    assert_eq!(first_wanted(&Method::GET, &HeaderMap::new()), (0, None));
}

/// A range as a client means it.
#[derive(Clone, Debug)]
enum Meant {
    Closed(u64, u64),
    Open(u64),
    Suffix(u64),
}

fn meant() -> impl Strategy<Value = Meant> {
    prop_oneof![
        (0..80u64, 0..40u64).prop_map(|(first, more)| Meant::Closed(first, first + more)),
        (0..80u64).prop_map(Meant::Open),
        (0..80u64).prop_map(Meant::Suffix),
    ]
}

/// The plain model: every byte of the object by itself. Says which bytes go out, grouped into runs, in which order.
fn model(size: u64, asked: &[Meant]) -> Decision {
    let bytes_of = |range: &Meant| -> Vec<u64> {
        (0..size)
            .filter(|at| match *range {
                Meant::Closed(first, last) => first <= *at && *at <= last,
                Meant::Open(first) => first <= *at,
                Meant::Suffix(length) => size - at <= length,
            })
            .collect()
    };
    let sets: Vec<Vec<u64>> = asked.iter().map(bytes_of).collect();
    if asked.len() > 64 || sets.iter().map(Vec::len).sum::<usize>() as u64 > 2 * size {
        return Whole;
    }
    if sets.iter().all(Vec::is_empty) {
        let suffix = asked.iter().any(|range| matches!(range, Meant::Suffix(1..)));
        return if suffix { Whole } else { Unsatisfiable };
    }
    let wanted = |at: u64| sets.iter().any(|set| set.contains(&at));
    let mut spans: Vec<Span> = Vec::new();
    for set in sets.iter().filter(|set| !set.is_empty()) {
        let (mut start, mut end) = (set[0], set[0] + 1);
        while start > 0 && wanted(start - 1) {
            start -= 1;
        }
        while wanted(end) {
            end += 1;
        }
        if !spans.contains(&Span::new(start, end)) {
            spans.push(Span::new(start, end));
        }
    }
    if spans.len() == 1 { Single(spans[0]) } else { Multi(spans) }
}

proptest! {
    #[test]
    fn equals_the_plain_model(
        size in 0..70u64,
        asked in proptest::collection::vec(meant(), 1..70),
        few in 1..70usize,
        blanks in "[ \t]{0,2}",
    ) {
        let asked = &asked[..few.min(asked.len())];
        let value: Vec<String> = asked
            .iter()
            .map(|range| match range {
                Meant::Closed(first, last) => format!("{first}-{last}"),
                Meant::Open(first) => format!("{first}-"),
                Meant::Suffix(length) => format!("-{length}"),
            })
            .collect();
        let value = format!("bytes={}", value.join(&format!("{blanks},{blanks}")));
        prop_assert_eq!(get(size, &[(RANGE, &value)]), model(size, asked));
    }

    #[test]
    fn any_bytes_select_only_what_is_there(
        size in prop_oneof![0..100u64, any::<u64>()],
        fields in proptest::collection::vec((0..6usize, odd_value()), 0..6),
        head: bool,
        tag in "[!#-~]{0,10}",
    ) {
        let names = [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];
        let mut map = HeaderMap::new();
        for (name, value) in &fields {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                map.append(&names[*name], value);
            }
        }
        let object = Object { tag: &tag, ..object(size) };
        let method = if head { Method::HEAD } else { Method::GET };
        first_wanted(&method, &map);
        let spans = match decide(&method, &map, &object) {
            Single(span) => vec![span],
            Multi(spans) => {
                prop_assert!((2..=PARTS_MAX).contains(&spans.len()));
                spans
            }
            _ => Vec::new(),
        };
        for (at, span) in spans.iter().enumerate() {
            prop_assert!(!span.is_empty() && span.end() <= size);
            for other in &spans[at + 1..] {
                prop_assert!(span.end() < other.start() || other.end() < span.start(), "{:?} meets {:?}", span, other);
            }
        }
    }
}

/// Bytes near to what is valid, and bytes that are not.
fn odd_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        "bytes=[0-9, -]{0,40}".prop_map(String::into_bytes),
        "[bytes=0-9,\\- ]{0,30}".prop_map(String::into_bytes),
        "(W/)?\"[a-c,]{0,5}\"?(, ?\"[a-c]{0,3}\"){0,3}".prop_map(String::into_bytes),
        "[A-Z][a-z]{2}, [0-9]{2} (Sep|Feb|Xxx) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT".prop_map(String::into_bytes),
    ]
}
