//! What a request selects of a payload: `wire::conditional::decide` over the requests that clients send, and over the
//! dearest that one may send.
//!
//! Nothing here touches a socket or a file, and every header is the same in every run.
#![allow(missing_docs, reason = "criterion's macros make public functions without a comment")]
#![allow(clippy::unwrap_used, reason = "a bench stops at the terminal")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use http::header::{HOST, IF_NONE_MATCH, IF_RANGE, RANGE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use waystation::base::time::Timestamp;
use waystation::wire::conditional::{Decision, Object, PARTS_MAX, decide};

/// A payload of 487 MiB and a bit, as large as a cumulative update.
const OBJECT: Object<'static> = Object {
    size: 511_705_088,
    tag: "sha256-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    last_modified: Some("Wed, 02 Sep 2026 08:30:53 GMT"),
    now: Timestamp::from_ms(1_790_000_000_000),
};

/// The head of a request by Delivery Optimization, with `more` in it.
fn request(more: &[(HeaderName, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_static("cache.branch.example.org"));
    headers.insert(USER_AGENT, HeaderValue::from_static("Microsoft-Delivery-Optimization/10.0"));
    headers.insert("accept", HeaderValue::from_static("*/*"));
    headers.insert("ms-cv", HeaderValue::from_static("wp0wVbPZWUqjLx6o.2.1.4.2.9"));
    for (name, value) in more {
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// `count` ranges of 64 KiB, the last first, each `apart` bytes from the one before it.
fn several(count: u64, apart: u64) -> String {
    let mut value = "bytes=".to_owned();
    for at in (0..count).rev() {
        let start = at * apart;
        write!(value, "{}{start}-{}", if value.ends_with('=') { "" } else { ", " }, start + 65_535).unwrap();
    }
    value
}

fn ranges(c: &mut Criterion) {
    let parts_max = PARTS_MAX as u64;
    let piece = (RANGE, "bytes=154140672-155189247");
    let tag = format!("\"{}\"", OBJECT.tag);
    let is_several = |decision: &Decision| matches!(decision, Decision::Multi(_));
    let is_one = |decision: &Decision| matches!(decision, Decision::Single(_));
    let is_whole = |decision: &Decision| *decision == Decision::Whole;
    let not_modified = |decision: &Decision| *decision == Decision::NotModified;
    type Check<'a> = &'a dyn Fn(&Decision) -> bool;
    let scenarios: [(&str, HeaderMap, Check<'_>); 8] = [
        ("no range", request(&[]), &is_whole),
        ("Delivery Optimization's piece", request(std::slice::from_ref(&piece)), &is_one),
        ("a piece with If-Range", request(&[piece, (IF_RANGE, &tag)]), &is_one),
        ("If-None-Match of the same tag", request(&[(IF_NONE_MATCH, &tag)]), &not_modified),
        ("8 ranges apart", request(&[(RANGE, &several(8, 1 << 20))]), &is_several),
        ("most ranges apart", request(&[(RANGE, &several(parts_max, 1 << 20))]), &is_several),
        ("most ranges, all of them touching", request(&[(RANGE, &several(parts_max, 1 << 16))]), &is_one),
        ("one range too many", request(&[(RANGE, &several(parts_max + 1, 1 << 20))]), &is_whole),
    ];

    let mut group = c.benchmark_group("ranges");
    // Nanoseconds of pure work settle soon.
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    for (what, headers, check) in scenarios {
        let decision = decide(&Method::GET, &headers, &OBJECT);
        assert!(check(&decision), "{what}: {decision:?}");
        group.bench_function(what, |bencher| {
            bencher.iter(|| decide(&Method::GET, black_box(&headers), black_box(&OBJECT)));
        });
    }
    group.finish();
}

criterion_group!(benches, ranges);
criterion_main!(benches);
