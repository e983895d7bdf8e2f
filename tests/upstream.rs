//! Asking others, end to end: a scripted origin and scripted proxies over real sockets, one test per named fault.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper that cannot do its work must fail the test")]

#[path = "support/authority.rs"]
mod authority;
#[path = "support/origin.rs"]
mod origin;
#[path = "support/proxy.rs"]
mod proxy;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use waystation::base::secret::Secret;
use waystation::base::span::Span;
use waystation::model::origin::AllowList;
use waystation::model::payload::{Location, Standing, Validators};
use waystation::model::report::{Finding, Verdict};
use waystation::upstream::{Answer, Ask, Config, Error, Method, Pinned, Proxy, Source, Upstream};

use authority::Authority;
use origin::{Fault, Object, Origin};

/// Shorter than in life, so that faults show soon; longer than a busy machine's pauses.
const STALL: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_millis(1500);

fn config() -> Config {
    Config {
        proxy: Proxy::default(),
        extra_ca: Vec::new(),
        connect_timeout: Duration::from_secs(5),
        stall_timeout: STALL,
        patience: PATIENCE,
        node: "ws-test".to_owned(),
        hops_max: 4,
        own_addresses: Vec::new(),
    }
}

/// A client that may ask what these entries let through.
fn upstream(config: Config, entries: &[&str]) -> Upstream {
    let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
    Upstream::new(config, Arc::new(AllowList::new(&entries).unwrap())).unwrap()
}

fn client(origin: &Origin) -> Upstream {
    upstream(config(), &[&origin.entry()])
}

fn allowed(url: impl Into<String>) -> Location {
    Location { url: url.into(), standing: Standing::Allowed }
}

fn get(url: impl Into<String>) -> Ask {
    Ask { location: allowed(url), method: Method::Get, span: None, pinned: None, revalidate: None, via: None }
}

fn range(url: impl Into<String>, start: u64, end: u64) -> Ask {
    Ask { span: Some(Span::new(start, end)), ..get(url) }
}

fn pinned(object: &Object, etag: &str, digest_known: bool) -> Pinned {
    let etag = (!etag.is_empty()).then(|| etag.to_owned());
    Pinned { size: object.len(), validators: Validators { etag, last_modified: None }, digest_known }
}

async fn read(answer: &mut Answer) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    while let Some(bytes) = answer.body.next().await? {
        assert!(!bytes.is_empty());
        all.extend_from_slice(&bytes);
    }
    assert_eq!(answer.body.next().await, Ok(None), "the end stays the end");
    Ok(all)
}

/// Asks and reads the whole body.
async fn fetch(upstream: &Upstream, ask: Ask) -> Result<(Answer, Vec<u8>), Error> {
    let mut answer = upstream.ask(ask).await?;
    let bytes = read(&mut answer).await?;
    Ok((answer, bytes))
}

async fn refusal(upstream: &Upstream, ask: Ask) -> Error {
    fetch(upstream, ask).await.map(|(answer, _)| answer).expect_err("an error was due")
}

fn assert_same(got: &[u8], expected: &[u8]) {
    assert!(got == expected, "{} bytes came, {} were due, or they differ", got.len(), expected.len());
}

/// An origin with one object of 300 KB under `/a`.
async fn one() -> (Origin, Object) {
    let origin = Origin::start().await;
    let object = Object::made(300_000, 5).etag("\"v1\"").last_modified("Sun, 06 Nov 1994 08:49:37 GMT");
    origin.put("/a", object.clone());
    (origin, object)
}

mod good_answers {
    use super::*;

    #[tokio::test]
    async fn the_whole_and_a_range() {
        let (origin, object) = one().await;
        let upstream = client(&origin);
        let (answer, bytes) = fetch(&upstream, get(origin.url("/a?P1=secret"))).await.unwrap();
        assert_same(&bytes, &object.all());
        assert_eq!((answer.status, answer.span, answer.total), (200, Span::new(0, 300_000), Some(300_000)));
        assert_eq!(answer.validators.etag.as_deref(), Some("\"v1\""));

        let (answer, bytes) = fetch(&upstream, range(origin.url("/a"), 1000, 70_000)).await.unwrap();
        assert_same(&bytes, &object.bytes(Span::new(1000, 70_000)));
        assert_eq!((answer.status, answer.span, answer.total), (206, Span::new(1000, 70_000), Some(300_000)));

        // A range that reaches beyond the end is cut there by the origin.
        let (answer, bytes) = fetch(&upstream, range(origin.url("/a"), 299_000, 1 << 20)).await.unwrap();
        assert_eq!((answer.span, bytes.len()), (Span::new(299_000, 300_000), 1000));
        let (_, bytes) = fetch(&upstream, range(origin.url("/a"), 299_990, u64::MAX)).await.unwrap();
        assert_eq!(bytes.len(), 10);

        assert_eq!(origin.connections(), 1, "one connection is kept and used again");
        assert_eq!(
            origin.ranges("/a"),
            [None, Some("bytes=1000-69999"), Some("bytes=299000-1048575"), Some("bytes=299990-")]
                .map(|range| range.map(str::to_owned))
        );
        let seen = &origin.log()[0];
        assert_eq!(seen.target, "/a?P1=secret");
        assert_eq!(seen.header("accept-encoding"), Some("identity"));
        assert_eq!(seen.header("via"), Some("1.1 ws-test"));
        assert!(seen.header("user-agent").unwrap().starts_with("waystation/"));
        let health = &upstream.health()[0];
        assert_eq!((health.answered, health.failed, health.last_status), (4, 0, Some(206)));
        assert_eq!(health.bytes, 300_000 + 69_000 + 1000 + 10);
        assert_eq!(health.host, origin.address().to_string());
    }

    #[tokio::test]
    async fn the_head_alone() {
        let (origin, _) = one().await;
        let (answer, bytes) =
            fetch(&client(&origin), Ask { method: Method::Head, ..get(origin.url("/a")) }).await.unwrap();
        assert_eq!((answer.total, bytes.len(), answer.status), (Some(300_000), 0, 200));
        assert_eq!(origin.log()[0].method, "HEAD");
    }

    #[tokio::test]
    async fn an_empty_object_and_a_range_of_it() {
        let origin = Origin::start().await;
        origin.put("/empty", Object::given(""));
        let upstream = client(&origin);
        for ask in [get(origin.url("/empty")), range(origin.url("/empty"), 0, 1 << 20)] {
            let (answer, bytes) = fetch(&upstream, ask).await.unwrap();
            assert_eq!((answer.total, answer.span, bytes.len()), (Some(0), Span::new(0, 0), 0));
        }
    }

    #[tokio::test]
    async fn unchanged_on_revalidation() {
        let (origin, object) = one().await;
        let upstream = client(&origin);
        let known = Validators { etag: Some("\"v1\"".to_owned()), last_modified: None };
        let ask = || Ask { revalidate: Some(known.clone()), ..get(origin.url("/a")) };
        let (answer, bytes) = fetch(&upstream, ask()).await.unwrap();
        assert_eq!((answer.status, bytes.len()), (304, 0));
        origin.put("/a", object.clone().etag("\"v2\"").header("Cache-Control", "max-age=60"));
        let (answer, bytes) = fetch(&upstream, ask()).await.unwrap();
        assert_eq!((answer.status, bytes.len()), (200, 300_000));
        assert!(answer.headers.contains(&("cache-control".to_owned(), "max-age=60".to_owned())));
    }

    #[tokio::test]
    async fn if_range_is_sent_for_a_strong_pin_only() {
        let (origin, object) = one().await;
        let upstream = client(&origin);
        for (tag, digest_known, sent) in
            [("\"v1\"", false, Some("\"v1\"")), ("\"v1\"", true, None), ("W/\"v1\"", false, None)]
        {
            let ask = Ask { pinned: Some(pinned(&object, tag, digest_known)), ..range(origin.url("/a"), 0, 10) };
            fetch(&upstream, ask).await.unwrap();
            assert_eq!(origin.log().last().unwrap().header("if-range"), sent, "{tag} {digest_known}");
        }
    }
}

mod faults {
    use super::*;

    #[tokio::test]
    async fn range_ignored() {
        let (origin, object) = one().await;
        origin.always("/a", [Fault::IgnoreRange]);
        let (answer, bytes) = fetch(&client(&origin), range(origin.url("/a"), 1000, 2000)).await.unwrap();
        assert_eq!((answer.status, answer.span, answer.total), (200, Span::new(0, 300_000), Some(300_000)));
        assert_same(&bytes, &object.all());
    }

    #[tokio::test]
    async fn no_length() {
        let (origin, object) = one().await;
        for fault in [Fault::Chunked, Fault::NoLength] {
            origin.next("/a", [fault]);
            let (answer, bytes) = fetch(&client(&origin), get(origin.url("/a"))).await.unwrap();
            assert_eq!((answer.total, answer.span), (None, Span::new(0, u64::MAX)));
            assert_same(&bytes, &object.all());
        }
        // A range tells its length by Content-Range all the same.
        origin.next("/a", [Fault::Chunked]);
        let (answer, bytes) = fetch(&client(&origin), range(origin.url("/a"), 10, 20)).await.unwrap();
        assert_eq!((answer.total, answer.span, bytes.len()), (Some(300_000), Span::new(10, 20), 10));
    }

    #[tokio::test]
    async fn a_chunked_body_cut_is_taken_up_again() {
        let (origin, object) = one().await;
        origin.next("/a", [Fault::Chunked, Fault::TruncateAt(100_000)]);
        let (_, bytes) = fetch(&client(&origin), get(origin.url("/a"))).await.unwrap();
        assert_same(&bytes, &object.all());
        assert_eq!(origin.ranges("/a"), [None, None], "nobody knows the end, so the whole is asked and skipped");
    }

    #[tokio::test]
    async fn truncated_stalled_reset_and_resumed() {
        for fault in [Fault::TruncateAt(100_000), Fault::StallAt(100_000), Fault::ResetAt(100_000)] {
            let (origin, object) = one().await;
            origin.next("/a", [fault.clone()]);
            origin.next("/a", [Fault::TruncateAt(50_000)]);
            let upstream = client(&origin);
            let (_, bytes) = fetch(&upstream, range(origin.url("/a"), 1000, 290_000)).await.unwrap();
            assert_same(&bytes, &object.bytes(Span::new(1000, 290_000)));
            let log = origin.log();
            assert_eq!(log.len(), 3, "{fault:?}");
            assert!(log[1..].iter().all(|seen| seen.header("if-range") == Some("\"v1\"")));
            if !matches!(fault, Fault::ResetAt(_)) {
                assert_eq!(origin.ranges("/a")[1].as_deref(), Some("bytes=101000-289999"));
                assert_eq!(origin.sent("/a"), 289_000, "no byte is fetched twice");
            }
            let health = &upstream.health()[0];
            assert_eq!((health.failed, health.retried), (0, 2), "{health:?}");
        }
    }

    #[tokio::test]
    async fn a_transfer_that_never_gets_on_ends_with_the_patience() {
        let (origin, _) = one().await;
        origin.next("/a", [Fault::TruncateAt(1000)]);
        origin.always("/a", [Fault::HangUp]);
        let start = Instant::now();
        let upstream = client(&origin);
        let mut answer = upstream.ask(get(origin.url("/a?P4=signature"))).await.unwrap();
        let error = read(&mut answer).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }) && error.is_retryable(), "{error}");
        assert!(!error.to_string().contains("signature"), "{error}");
        assert!(start.elapsed() <= PATIENCE + Duration::from_secs(2) && origin.log().len() > 3);
        assert_eq!(answer.body.next().await, Err(error), "the end stays the end");
    }

    #[tokio::test]
    async fn progress_renews_the_patience() {
        let (origin, object) = one().await;
        // Cut ever again, and slow: longer in all than the patience.
        origin.always("/a", [Fault::TruncateAt(70_000), Fault::Slow(100_000)]);
        let start = Instant::now();
        let (_, bytes) = fetch(&client(&origin), get(origin.url("/a"))).await.unwrap();
        assert_same(&bytes, &object.all());
        assert!(start.elapsed() > PATIENCE);
    }

    #[tokio::test]
    async fn resuming_where_range_is_ignored() {
        // A strong tag: the whole comes once more and is skipped.
        let (origin, object) = one().await;
        origin.next("/a", [Fault::IgnoreRange, Fault::TruncateAt(100_000)]);
        origin.always("/a", [Fault::IgnoreRange]);
        let (_, bytes) = fetch(&client(&origin), range(origin.url("/a"), 5, 10)).await.unwrap();
        assert_same(&bytes, &object.all());

        // Asked for a part, cut, and then the whole comes: only the rest of the part is handed out.
        let (origin, object) = one().await;
        origin.next("/a", [Fault::TruncateAt(100_000)]);
        origin.always("/a", [Fault::IgnoreRange]);
        let (_, bytes) = fetch(&client(&origin), range(origin.url("/a"), 1000, 200_000)).await.unwrap();
        assert_same(&bytes, &object.bytes(Span::new(1000, 200_000)));

        // Neither tag nor digest: what would come may be of another version.
        let (origin, object) = one().await;
        origin.put("/a", object.clone().etag("").last_modified("Sun, 06 Nov 1994 08:49:37 GMT"));
        origin.next("/a", [Fault::IgnoreRange, Fault::TruncateAt(100_000)]);
        origin.always("/a", [Fault::IgnoreRange]);
        let error = refusal(&client(&origin), get(origin.url("/a"))).await;
        assert!(matches!(&error, Error::Unavailable { why, .. } if why.contains("entity tag")), "{error}");

        // A known digest judges in the end.
        origin.next("/a", [Fault::IgnoreRange, Fault::TruncateAt(100_000)]);
        let ask = Ask { pinned: Some(pinned(&object, "", true)), ..get(origin.url("/a")) };
        assert_same(&fetch(&client(&origin), ask).await.unwrap().1, &object.all());
    }

    #[tokio::test]
    async fn cut_at_one_place_where_range_is_ignored() {
        let (origin, object) = one().await;
        origin.always("/a", [Fault::IgnoreRange, Fault::TruncateAt(100_000)]);
        let error = refusal(&client(&origin), get(origin.url("/a"))).await;
        assert!(matches!(&error, Error::Unavailable { why, .. } if why.contains("at byte 100000")), "{error}");
        assert_eq!(origin.log().len(), 3, "two more bring nothing");

        // An unsteady link cuts elsewhere each time.
        let (origin, _) = one().await;
        for at in [200_000, 150_000, 120_000] {
            origin.next("/a", [Fault::IgnoreRange, Fault::TruncateAt(at)]);
        }
        origin.always("/a", [Fault::IgnoreRange]);
        assert_same(&fetch(&client(&origin), get(origin.url("/a"))).await.unwrap().1, &object.all());
    }

    #[tokio::test]
    async fn nothing_to_tell_versions_by() {
        let (origin, object) = one().await;
        origin.put("/a", object.etag(""));
        origin.next("/a", [Fault::NoValidators, Fault::TruncateAt(100_000)]);
        let error = refusal(&client(&origin), get(origin.url("/a"))).await;
        assert!(matches!(&error, Error::Unavailable { why, .. } if why.contains("another version")), "{error}");
        assert_eq!(origin.log().len(), 1);
    }

    #[tokio::test]
    async fn changed_in_the_middle() {
        for (other, digest_known) in [
            (Object::made(300_000, 6).etag("\"v2\""), false),
            (Object::made(299_999, 5).etag("\"v1\""), false),
            (Object::made(299_999, 5).etag("\"v1\""), true),
        ] {
            let (origin, object) = one().await;
            origin.next("/a", [Fault::TruncateAt(100_000)]);
            origin.next("/a", [Fault::Replace(other)]);
            let ask = Ask { pinned: Some(pinned(&object, "\"v1\"", digest_known)), ..get(origin.url("/a")) };
            let mut answer = client(&origin).ask(ask).await.unwrap();
            let error = read(&mut answer).await.unwrap_err();
            assert!(matches!(error, Error::Changed { .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn changed_before_the_ask() {
        let (origin, object) = one().await;
        let upstream = client(&origin);
        let ask = |tag: &str, digest_known| Ask {
            pinned: Some(pinned(&object, tag, digest_known)),
            ..range(origin.url("/a"), 0, 10)
        };
        assert!(matches!(refusal(&upstream, ask("\"v0\"", false)).await, Error::Changed { .. }));
        // Another tag is no change where a digest is known: edges differ.
        assert_eq!(fetch(&upstream, ask("\"v0\"", true)).await.unwrap().1.len(), 10);
        origin.put("/a", Object::made(5, 5).etag("\"v1\""));
        assert!(matches!(refusal(&upstream, ask("\"v1\"", true)).await, Error::Changed { .. }));
        let beyond = Ask { pinned: Some(pinned(&object, "\"v1\"", true)), ..range(origin.url("/a"), 100, 200) };
        assert!(matches!(refusal(&upstream, beyond).await, Error::Changed { .. }), "416");
        assert_eq!(
            refusal(&upstream, range(origin.url("/a"), 100, 200)).await,
            Error::Status { host: origin.address().to_string(), status: 416, challenges: Vec::new() }
        );
    }

    #[tokio::test]
    async fn refusals_are_told_at_once() {
        let (origin, _) = one().await;
        let upstream = client(&origin);
        for status in [400, 401, 403, 404, 410, 451] {
            origin.next("/a", [Fault::Status(status)]);
            let error = refusal(&upstream, get(origin.url("/a"))).await;
            assert_eq!(error, Error::Status { host: origin.address().to_string(), status, challenges: Vec::new() });
            assert!(!error.is_retryable());
        }
        assert_eq!(origin.log().len(), 6, "none was asked twice");
        assert_eq!(upstream.health()[0].last_status, Some(451));
        assert_eq!(upstream.health()[0].failed, 0);
    }

    #[tokio::test]
    async fn server_errors_are_asked_again() {
        let (origin, object) = one().await;
        let upstream = client(&origin);
        for status in [500, 502, 503, 504, 429, 408] {
            origin.next("/a", [Fault::Status(status)]);
            assert_same(&fetch(&upstream, get(origin.url("/a"))).await.unwrap().1, &object.all());
        }
        assert_eq!(upstream.health()[0].retried, 6);
        origin.always("/a", [Fault::Status(503)]);
        let error = refusal(&upstream, get(origin.url("/a"))).await;
        assert!(matches!(&error, Error::Unavailable { why, .. } if why.contains("503")), "{error}");
    }

    #[tokio::test]
    async fn retry_after_is_honoured_or_told() {
        let (origin, object) = one().await;
        let upstream = client(&origin);
        origin.next("/a", [Fault::Status(503), Fault::Header("Retry-After", "1".to_owned())]);
        let start = Instant::now();
        assert_same(&fetch(&upstream, get(origin.url("/a"))).await.unwrap().1, &object.all());
        assert!(start.elapsed() >= Duration::from_secs(1));
        // Longer than the patience: who waits is told at once, and when to come again.
        origin.always("/a", [Fault::Status(429), Fault::Header("Retry-After", "30".to_owned())]);
        let start = Instant::now();
        let error = refusal(&upstream, get(origin.url("/a"))).await;
        assert!(start.elapsed() < PATIENCE);
        let told = matches!(&error, Error::Unavailable { retry_after: Some(wait), .. } if wait.as_secs() == 30);
        assert!(told, "{error:?}");
    }

    #[tokio::test]
    async fn lies_about_content_range() {
        let (origin, _) = one().await;
        let upstream = client(&origin);
        for range_told in [
            "bytes 1001-2000/300000",
            "bytes 0-999/300000",
            "bytes 1000-2500/300000",
            "bytes 1000-1999/1500",
            "bytes 1000-1998/300000",
            "items 1000-1999/300000",
            "bytes 1999-1000/300000",
            "nonsense",
        ] {
            origin.next("/a", [Fault::ContentRange(range_told.to_owned())]);
            let error = refusal(&upstream, range(origin.url("/a"), 1000, 2000)).await;
            assert!(matches!(error, Error::Lied { .. }) && !error.is_retryable(), "{range_told}: {error}");
        }
        origin.next("/a", [Fault::NoContentRange]);
        assert!(matches!(refusal(&upstream, range(origin.url("/a"), 0, 10)).await, Error::Lied { .. }));
        origin.next("/a", [Fault::Multipart]);
        let error = refusal(&upstream, range(origin.url("/a"), 0, 10)).await;
        assert!(matches!(&error, Error::Lied { why, .. } if why.contains("multipart")), "{error}");
        // Another total than the pinned one is a change.
        origin.next("/a", [Fault::ContentRange("bytes 0-9/299999".to_owned())]);
        let ask =
            Ask { pinned: Some(pinned(&Object::made(300_000, 5), "\"v1\"", false)), ..range(origin.url("/a"), 0, 10) };
        assert!(matches!(refusal(&upstream, ask).await, Error::Changed { .. }));
    }

    #[tokio::test]
    async fn more_bytes_than_announced() {
        let (origin, object) = one().await;
        origin.always("/a", [Fault::ExtraBytes(1)]);
        let upstream = client(&origin);
        let error = refusal(&upstream, range(origin.url("/a"), 0, 1000)).await;
        assert!(matches!(&error, Error::Lied { why, .. } if why.contains("beyond 1000")), "{error}");
        // Without a length of its own the pinned one counts.
        let ask = Ask { pinned: Some(pinned(&object, "\"v1\"", false)), ..get(origin.url("/a")) };
        assert!(matches!(refusal(&upstream, ask).await, Error::Lied { .. }));
    }

    #[tokio::test]
    async fn a_content_coding_that_nobody_asked_for() {
        let (origin, _) = one().await;
        origin.always("/a", [Fault::Header("Content-Encoding", "gzip".to_owned())]);
        for ask in [get(origin.url("/a")), range(origin.url("/a"), 0, 10)] {
            let error = refusal(&client(&origin), ask).await;
            assert!(matches!(&error, Error::Lied { why, .. } if why.contains("gzip")), "{error}");
        }
    }

    #[tokio::test]
    async fn no_answer_and_nonsense() {
        for fault in [Fault::Hang, Fault::HangUp, Fault::Garbage(b"SSH-2.0-OpenSSH_9.6\r\n")] {
            let (origin, object) = one().await;
            let short = Config { connect_timeout: Duration::from_millis(200), ..config() };
            let upstream = upstream(short, &[&origin.entry()]);
            origin.next("/a", [fault.clone()]);
            assert_same(&fetch(&upstream, get(origin.url("/a"))).await.unwrap().1, &object.all());
            assert_eq!(origin.log().len(), 2, "{fault:?}");
        }
    }

    #[tokio::test]
    async fn a_dead_origin_is_told_and_then_left_alone() {
        let (origin, object) = one().await;
        let (address, url) = (origin.address(), origin.url("/a"));
        let short = Config { patience: Duration::from_millis(400), ..config() };
        let upstream = upstream(short, &[&origin.entry()]);
        drop(origin);
        let start = Instant::now();
        let error = refusal(&upstream, get(&url)).await;
        assert!(matches!(&error, Error::Unavailable { why, .. } if why.contains("refused")), "{error}");
        assert!(start.elapsed() < PATIENCE + Duration::from_secs(1));
        for _ in 0..2 {
            refusal(&upstream, get(&url)).await;
        }
        let start = Instant::now();
        let error = refusal(&upstream, get(&url)).await;
        assert!(start.elapsed() < Duration::from_millis(500), "the fourth asker learns at once");
        assert!(matches!(&error, Error::Resting { .. }), "{error}");
        assert!(upstream.health()[0].last_error.as_deref().unwrap().contains("left alone"));
        assert_eq!(upstream.health()[0].failed, 3);

        // It comes back, and after the pause an ask finds it.
        let origin = Origin::start_at(address).await;
        origin.put("/a", object.clone());
        let bytes = loop {
            match fetch(&upstream, get(&url)).await {
                Ok((_, bytes)) => break bytes,
                Err(Error::Resting { retry_after, .. }) => tokio::time::sleep(retry_after).await,
                Err(error) => panic!("{error}"),
            }
        };
        assert_same(&bytes, &object.all());
        assert_eq!(upstream.health()[0].last_error, None, "what is over is told no longer");
    }

    #[tokio::test]
    async fn one_broken_object_closes_its_host_for_no_other() {
        let (origin, object) = one().await;
        let short = Config { patience: Duration::from_millis(700), ..config() };
        let upstream = upstream(short, &[&origin.entry()]);
        origin.put("/broken", Object::made(10, 1));
        origin.always("/broken", [Fault::Status(500)]);
        // One more than what closes a host on which nothing else is fetched.
        for _ in 0..4 {
            // On a busy machine the patience may end within an attempt, which is told of then.
            let error = refusal(&upstream, get(origin.url("/broken"))).await;
            assert!(matches!(&error, Error::Unavailable { .. }), "{error}");
            assert_same(&fetch(&upstream, get(origin.url("/a"))).await.unwrap().1, &object.all());
        }
        for _ in 0..4 {
            refusal(&upstream, get(origin.url("/broken"))).await;
        }
        assert!(upstream.health()[0].last_error.is_some(), "what is broken is told");
        assert_same(&fetch(&upstream, get(origin.url("/a"))).await.unwrap().1, &object.all());
        assert_eq!(upstream.health()[0].last_error, None, "what is over is told no longer");
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_told_soon() {
        // Top-level names reserved for this (RFC 6761 6.4): no name server may know one. Without any name server the
        // answer may be that it cannot be asked, which is retried until the patience ends.
        let upstream = upstream(config(), &["nowhere.invalid"]);
        let error = refusal(&upstream, get("http://nowhere.invalid/a")).await;
        assert!(matches!(&error, Error::Unavailable { why, .. } if why.contains("name")), "{error}");
        assert!(upstream.health()[0].last_error.as_deref().unwrap().contains("name"));
    }
}

mod callers {
    use super::*;

    #[tokio::test]
    async fn one_that_goes_away_and_comes_back_loses_nothing() {
        let (origin, object) = one().await;
        origin.next("/a", [Fault::TruncateAt(100_000), Fault::Slow(1_000_000)]);
        origin.next("/a", [Fault::Delay(Duration::from_millis(100)), Fault::ResetAt(100_000)]);
        origin.next("/a", [Fault::Delay(Duration::from_millis(100))]);
        let mut answer = client(&origin).ask(get(origin.url("/a"))).await.unwrap();
        let (mut all, mut dropped) = (Vec::new(), 0);
        loop {
            match tokio::time::timeout(Duration::from_millis(2), answer.body.next()).await {
                Ok(Ok(Some(bytes))) => all.extend_from_slice(&bytes),
                Ok(Ok(None)) => break,
                Ok(Err(error)) => panic!("{error}"),
                Err(_) => dropped += 1,
            }
        }
        assert_same(&all, &object.all());
        assert!(dropped > 50, "{dropped}");
        assert_eq!(origin.log().len(), 3, "a resumption that was begun is gone on with");
    }

    #[tokio::test]
    async fn a_slow_reader_is_not_taken_for_a_stall() {
        let (origin, object) = one().await;
        let object_large = Object::made(8 << 20, 1);
        origin.put("/large", object_large.clone());
        let upstream = client(&origin);
        let mut answer = upstream.ask(get(origin.url("/large"))).await.unwrap();
        let mut all = answer.body.next().await.unwrap().unwrap().to_vec();
        tokio::time::sleep(STALL * 2).await;
        all.extend(read(&mut answer).await.unwrap());
        assert_same(&all, &object_large.all());
        assert_eq!((origin.log().len(), upstream.health()[0].retried), (1, 0));
        // Nor is its time taken from the patience with a transfer that was cut meanwhile.
        origin.next("/a", [Fault::TruncateAt(1000)]);
        let mut answer = upstream.ask(get(origin.url("/a"))).await.unwrap();
        let mut all = answer.body.next().await.unwrap().unwrap().to_vec();
        tokio::time::sleep(PATIENCE + STALL).await;
        all.extend(read(&mut answer).await.unwrap());
        assert_same(&all, &object.all());
        // One that goes away ends the transfer.
        let mut answer = upstream.ask(get(origin.url("/large"))).await.unwrap();
        answer.body.next().await.unwrap();
        drop(answer);
        assert_same(&fetch(&upstream, get(origin.url("/a"))).await.unwrap().1, &object.all());
    }
}

mod mixtures {
    use super::*;

    /// A small generator, so that a seed in a failure's message brings the failure back.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, sides: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % sides
        }

        fn step(&mut self, other: &Object) -> Vec<Fault> {
            let at = self.below(250_000);
            let place = [Fault::TruncateAt(at), Fault::ResetAt(at), Fault::StallAt(at)]
                [usize::try_from(self.below(3)).unwrap()]
            .clone();
            match self.below(12) {
                0 => vec![],
                1 => vec![Fault::IgnoreRange, place],
                2 => vec![Fault::Chunked, place],
                3 => vec![Fault::IgnoreRange, Fault::Chunked, place],
                4 => vec![Fault::NoLength, place],
                5 => vec![Fault::Replace(other.clone()), place],
                6 => vec![Fault::Status(503)],
                7 => vec![Fault::HangUp],
                8 => vec![Fault::NoValidators, place],
                _ => vec![place],
            }
        }
    }

    /// Whatever happens on the way: the bytes are those of one version, in order and complete, or there is an error.
    /// A body without any length whose connection ends is complete by HTTP's own rules, so that one may be short.
    #[tokio::test]
    async fn right_bytes_or_an_error() {
        let config = Config { stall_timeout: Duration::from_millis(150), ..config() };
        let mut runs = (0..40).map(|seed| {
            let config = config.clone();
            tokio::spawn(async move {
                let mut dice = Dice(seed);
                let (origin, object) = one().await;
                let other = Object::made(300_000, 77).etag("\"v2\"");
                let steps: Vec<_> = (0..dice.below(5)).map(|_| dice.step(&other)).collect();
                for step in &steps {
                    origin.next("/a", step.clone());
                }
                let endless = steps.iter().flatten().any(|fault| matches!(fault, Fault::NoLength));
                let upstream = upstream(config, &[&origin.entry()]);
                let start = dice.below(300_000);
                let ask = match dice.below(3) {
                    0 => get(origin.url("/a")),
                    _ => range(origin.url("/a"), start, start + 1 + dice.below(300_000)),
                };
                let Ok(mut answer) = upstream.ask(ask).await else { return 0 };
                let Ok(bytes) = read(&mut answer).await else { return 0 };
                let span = Span::new(answer.span.start(), answer.span.end().min(300_000));
                let fits = |version: &Object| {
                    let due = version.bytes(span);
                    if endless { due.starts_with(&bytes) } else { due == bytes }
                };
                let same = match answer.validators.etag.as_deref() {
                    Some("\"v1\"") => fits(&object),
                    Some(_) => fits(&other),
                    None => fits(&object) || fits(&other),
                };
                assert!(same, "seed {seed}: {} bytes of {span:?} after {steps:?}", bytes.len());
                1
            })
        });
        let mut well = 0;
        loop {
            let batch: Vec<_> = runs.by_ref().take(8).collect();
            if batch.is_empty() {
                break;
            }
            for run in batch {
                well += run.await.unwrap();
            }
        }
        assert!(well > 10, "only {well} of 40 ended well");
    }
}

mod rules {
    use super::*;

    #[tokio::test]
    async fn only_what_is_listed_is_asked() {
        let (origin, _) = one().await;
        let port = origin.address().port();
        let upstream = upstream(config(), &["dl.example.org", &format!("localhost:{port}"), "[::1]:1"]);
        for (url, why) in [
            (origin.url("/a?sig=secret"), "not on the allow-list"),
            (format!("http://localhost:{port}/a?sig=secret"), "leads back to this node"),
            (format!("http://dl.example.org:{port}/a"), "not on the allow-list"),
            ("http://user:word@dl.example.org/a".to_owned(), "user info"),
            ("ftp://dl.example.org/a".to_owned(), "neither http nor https"),
            ("http://2130706433/a".to_owned(), "not on the allow-list"),
            ("http://[::1]/a".to_owned(), "not on the allow-list"),
            ("dl.example.org/a".to_owned(), "absolute"),
        ] {
            let error = refusal(&upstream, get(&url)).await;
            assert!(matches!(&error, Error::NotAllowed { why: said, .. } if said.contains(why)), "{url}: {error}");
            assert!(!error.to_string().contains("secret") && !error.is_retryable(), "{error}");
        }
        assert_eq!(origin.connections(), 0);
    }

    #[tokio::test]
    async fn the_named_upstream_may_lie_anywhere() {
        let (origin, object) = one().await;
        let upstream = upstream(config(), &[]);
        for host in ["localhost", "127.0.0.1", "LOCALHOST."] {
            let url = format!("http://{host}:{}/a", origin.address().port());
            let ask = Ask { location: Location { url, standing: Standing::Upstream }, ..get("") };
            assert_same(&fetch(&upstream, ask).await.unwrap().1, &object.all());
        }
        // That it may be asked as upstream opens nothing for the others.
        let url = format!("http://localhost:{}/a", origin.address().port());
        assert!(matches!(refusal(&upstream, get(url)).await, Error::NotAllowed { .. }));
    }

    #[tokio::test]
    async fn redirects_inside_the_list() {
        let (first, object) = one().await;
        let second = Origin::start_at(SocketAddr::from(([127, 0, 0, 2], 0))).await;
        second.put("/b", object.clone());
        let upstream = upstream(config(), &[&first.entry(), &second.entry()]);
        for status in [301, 302, 303, 307, 308] {
            first.next("/a", [Fault::Redirect(status, second.url("/b?token=secret"))]);
            let (answer, bytes) = fetch(&upstream, range(first.url("/a"), 10, 1000)).await.unwrap();
            assert_same(&bytes, &object.bytes(Span::new(10, 1000)));
            assert_eq!(answer.total, Some(300_000));
        }
        assert_eq!(second.log()[0].target, "/b?token=secret");
        assert_eq!(second.log()[0].header("range"), Some("bytes=10-999"));
        // Relative ones too.
        first.next("/old", [Fault::Redirect(302, "a".to_owned())]);
        assert_same(&fetch(&upstream, get(first.url("/old"))).await.unwrap().1, &object.all());
    }

    #[tokio::test]
    async fn redirects_out_of_the_list_and_in_circles() {
        let (origin, _) = one().await;
        let other = Origin::start_at(SocketAddr::from(([127, 0, 0, 3], 0))).await;
        let upstream = client(&origin);
        for (target, why) in [
            (other.url("/a?token=secret"), "not on the allow-list"),
            ("http://169.254.169.254/latest".to_owned(), "not on the allow-list"),
            ("ftp://127.0.0.1/".to_owned(), "neither http nor https"),
            ("/a".to_owned(), "redirects"),
        ] {
            origin.always("/a", [Fault::Redirect(302, target.clone())]);
            let error = refusal(&upstream, get(origin.url("/a"))).await;
            assert!(matches!(&error, Error::NotAllowed { why: said, .. } if said.contains(why)), "{target}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert_eq!(other.connections(), 0);
        assert_eq!(origin.log().len(), 3 + 6);
        origin.always("/a", [Fault::Redirect(302, "http://[".to_owned())]);
        assert!(matches!(refusal(&upstream, get(origin.url("/a"))).await, Error::Lied { .. }));
    }

    #[tokio::test]
    async fn an_upstream_that_redirects_opens_no_other_door() {
        let (origin, _) = one().await;
        let other = Origin::start().await;
        let upstream = upstream(config(), &[]);
        origin.next("/a", [Fault::Redirect(302, other.url("/a"))]);
        let location = Location { url: origin.url("/a"), standing: Standing::Upstream };
        let error = refusal(&upstream, Ask { location, ..get("") }).await;
        assert!(matches!(error, Error::NotAllowed { .. }), "{error}");
        assert_eq!(other.connections(), 0);
    }

    #[tokio::test]
    async fn loops_and_long_chains() {
        let (origin, _) = one().await;
        let upstream = client(&origin);
        let ask = |via: &str| Ask { via: Some(via.to_owned()), ..get(origin.url("/a")) };
        for (via, why) in [("1.1 other, 1.1 WS-test (x)", "before"), ("1.1 a, 1.1 b, 1.1 c, 1.1 d", "hops")] {
            let error = refusal(&upstream, ask(via)).await;
            let right = matches!(&error, Error::NotAllowed { .. } | Error::Looped { .. }) && !error.is_retryable();
            assert!(right && error.to_string().contains(why), "{error}");
        }
        assert!(upstream.loops("1.1 other, 1.1 WS-test (x)") && !upstream.loops("1.1 other"));
        assert_eq!(origin.connections(), 0);
        origin.next("/a", [Fault::Status(508)]);
        let error = refusal(&upstream, get(origin.url("/a"))).await;
        assert!(matches!(&error, Error::Status { status: 508, .. }), "{error}");
        assert_eq!(origin.log().len(), 1, "a circle is not gone round again");
        fetch(&upstream, ask("1.1 below")).await.unwrap();
        assert_eq!(origin.log()[1].header("via"), Some("1.1 below, 1.1 ws-test"));
    }

    #[tokio::test]
    async fn configuration_errors_name_the_thing() {
        let allow = || Arc::new(AllowList::new(&[]).unwrap());
        for (broken, what) in [
            (Config { extra_ca: vec!["/nonexistent/ca.pem".into()], ..config() }, "/nonexistent/ca.pem"),
            (Config { extra_ca: vec!["/proc/self/status".into()], ..config() }, "/proc/self/status"),
            (Config { node: "a b".to_owned(), ..config() }, "node name"),
            (
                Config { proxy: Proxy { url: Some("ftp://x".to_owned()), ..Proxy::default() }, ..config() },
                "[proxy] url",
            ),
        ] {
            let error = Upstream::new(broken, allow()).expect_err(what);
            assert!(matches!(&error, Error::Config { what: named, .. } if named.contains(what)), "{error}");
        }
    }
}

mod tls {
    use super::*;

    async fn secure(authority: &Authority, names: &[&str]) -> (Origin, Object) {
        let origin = Origin::start_tls(authority.server(names)).await;
        let object = Object::made(300_000, 5).etag("\"v1\"");
        origin.put("/a", object.clone());
        (origin, object)
    }

    #[tokio::test]
    async fn whatever_is_answered_over_tls_shows_that_there_is_tls() {
        let authority = Authority::new("Site CA");
        let (origin, _) = secure(&authority, &["127.0.0.1"]).await;
        let begun = tokio::time::Instant::now();
        let trusting = upstream(Config { extra_ca: vec![authority.pem()], ..config() }, &[&origin.entry()]);
        let doubting = client(&origin);
        let (missing, there) = (origin.url("/missing"), origin.url("/a"));
        assert_eq!((trusting.tls_seen(&missing, begun), doubting.tls_seen(&missing, begun)), (None, None));
        assert!(matches!(refusal(&trusting, get(missing.as_str())).await, Error::Status { status: 404, .. }));
        assert_eq!(trusting.tls_seen(&there, begun), Some(true));
        // No handshake that is worth anything comes about.
        refusal(&doubting, get(there.as_str())).await;
        assert_eq!(doubting.tls_seen(&there, begun), Some(false));
        // What it redirected to says nothing against it, also where that is itself.
        let later = tokio::time::Instant::now();
        assert_eq!(trusting.tls_seen(&there, later), None);
        origin.always("/led", [Fault::Redirect(302, there.clone())]);
        origin.always("/a", [Fault::HangUp]);
        refusal(&trusting, get(origin.url("/led"))).await;
        assert_eq!(trusting.tls_seen(&there, later), Some(true));
        origin.always("/a", []);
        let later = tokio::time::Instant::now();
        fetch(&trusting, get(there.as_str())).await.unwrap();
        assert_eq!(trusting.tls_seen(&there, later), Some(true));
    }

    #[tokio::test]
    async fn an_extra_authority_is_trusted() {
        let authority = Authority::new("Site CA");
        let (origin, object) = secure(&authority, &["127.0.0.1"]).await;
        let config = Config { extra_ca: vec![authority.pem()], ..config() };
        let upstream = upstream(config, &[&origin.entry()]);
        origin.next("/a", [Fault::TruncateAt(100_000)]);
        assert_same(&fetch(&upstream, get(origin.url("/a"))).await.unwrap().1, &object.all());
    }

    #[tokio::test]
    async fn an_unknown_issuer_is_told_with_what_to_do() {
        let (origin, _) = secure(&Authority::new("Inspection"), &["127.0.0.1"]).await;
        let error = refusal(&client(&origin), get(origin.url("/a"))).await;
        assert!(matches!(&error, Error::Unavailable { why, .. } if why.contains("[upstream] extra_ca")), "{error}");
    }

    #[tokio::test]
    async fn another_name_in_the_certificate() {
        let authority = Authority::new("Site CA");
        let (origin, _) = secure(&authority, &["other.example"]).await;
        let config = Config { extra_ca: vec![authority.pem()], ..config() };
        let error = refusal(&upstream(config, &[&origin.entry()]), get(origin.url("/a"))).await;
        assert!(matches!(&error, Error::Unavailable { why, .. } if why.contains("TLS failed")), "{error}");
    }

    #[tokio::test]
    async fn https_is_not_left_by_a_redirect_unless_the_entry_says_so() {
        let authority = Authority::new("Site CA");
        let (origin, object) = secure(&authority, &["127.0.0.1"]).await;
        let plain = Origin::start_at(SocketAddr::from(([127, 0, 0, 2], 0))).await;
        plain.put("/a", object.clone());
        origin.always("/a", [Fault::Redirect(302, plain.url("/a"))]);
        let config = Config { extra_ca: vec![authority.pem()], ..config() };
        let refusing = upstream(config.clone(), &[&origin.entry(), &plain.entry()]);
        let error = refusal(&refusing, get(origin.url("/a"))).await;
        assert!(matches!(&error, Error::NotAllowed { why, .. } if why.contains("plain http")), "{error}");
        assert_eq!(plain.connections(), 0);
        let allowing = upstream(config, &[&origin.entry(), &format!("http://{}", plain.entry())]);
        assert_same(&fetch(&allowing, get(origin.url("/a"))).await.unwrap().1, &object.all());
    }
}

mod proxies {
    use super::proxy::{Kind, Proxy as Scripted};
    use super::*;

    fn by(scheme: &str, proxy: &Scripted, credentials: Option<(&str, &str)>, no_proxy: &[&str]) -> Config {
        let proxy = Proxy {
            url: Some(format!("{scheme}://{}", proxy.address())),
            username: credentials.map(|(user, _)| user.to_owned()),
            password: credentials.map(|(_, password)| Secret::new(password.to_owned())),
            no_proxy: no_proxy.iter().map(|entry| (*entry).to_owned()).collect(),
        };
        Config { proxy, ..config() }
    }

    #[tokio::test]
    async fn http_in_absolute_form_with_credentials() {
        let (origin, object) = one().await;
        let proxy = Scripted::start(Kind::Http, Some(("site", "pä:ss w/rd"))).await;
        proxy.route("dl.example.org", origin.address());
        let upstream = upstream(by("http", &proxy, Some(("site", "pä:ss w/rd")), &[]), &["dl.example.org"]);
        let (_, bytes) = fetch(&upstream, range("http://dl.example.org/a?P1=x", 10, 100_000)).await.unwrap();
        assert_same(&bytes, &object.bytes(Span::new(10, 100_000)));
        assert_eq!(proxy.log(), ["GET http://dl.example.org/a?P1=x"]);
        assert_eq!(origin.log()[0].header("proxy-authorization"), None);
        // Names and ports are still held against the list.
        assert!(matches!(refusal(&upstream, get("http://other.example/")).await, Error::NotAllowed { .. }));
        assert!(matches!(refusal(&upstream, get("http://dl.example.org:8080/")).await, Error::NotAllowed { .. }));
        assert_eq!(proxy.log().len(), 1);
    }

    #[tokio::test]
    async fn https_through_a_tunnel() {
        let authority = Authority::new("Site CA");
        let origin = Origin::start_tls(authority.server(&["dl.example.org"])).await;
        let object = Object::made(10_000, 1);
        origin.put("/a", object.clone());
        let proxy = Scripted::start(Kind::Http, Some(("site", "word"))).await;
        proxy.route("dl.example.org", origin.address());
        let config = Config { extra_ca: vec![authority.pem()], ..by("http", &proxy, Some(("site", "word")), &[]) };
        let upstream = upstream(config, &["https://dl.example.org"]);
        assert_same(&fetch(&upstream, get("https://dl.example.org/a")).await.unwrap().1, &object.all());
        assert_eq!(proxy.log(), ["CONNECT dl.example.org:443"]);
    }

    #[tokio::test]
    async fn a_proxy_that_asks_for_credentials() {
        let proxy = Scripted::start(Kind::Http, Some(("site", "word"))).await;
        for credentials in [None, Some(("site", "wrong"))] {
            let upstream = upstream(by("http", &proxy, credentials, &[]), &["dl.example.org"]);
            for url in ["http://dl.example.org/a", "https://dl.example.org/a"] {
                let start = Instant::now();
                let error = refusal(&upstream, get(url)).await;
                assert!(start.elapsed() < PATIENCE, "asking again cannot help");
                let named = proxy.address().to_string();
                let told = matches!(&error, Error::Unavailable { why, .. }
                    if why.contains("[proxy] username") && why.contains(&named));
                assert!(told && !error.to_string().contains("wrong"), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn a_proxy_that_is_not_there() {
        let proxy = Scripted::start(Kind::Http, None).await;
        let config = by("http", &proxy, None, &[]);
        let address = proxy.address().to_string();
        drop(proxy);
        let error = refusal(&upstream(config, &["dl.example.org"]), get("http://dl.example.org/a")).await;
        assert!(matches!(&error, Error::Unavailable { why, .. } if why.contains(&address)), "{error}");
    }

    #[tokio::test]
    async fn around_the_proxy() {
        let (origin, object) = one().await;
        let proxy = Scripted::start(Kind::Http, None).await;
        let upstream = upstream(by("http", &proxy, None, &["127.0.0.0/8"]), &[&origin.entry()]);
        assert_same(&fetch(&upstream, get(origin.url("/a"))).await.unwrap().1, &object.all());
        assert!(proxy.log().is_empty());
    }

    #[tokio::test]
    async fn socks_with_the_name_resolved_there() {
        let (origin, object) = one().await;
        let proxy = Scripted::start(Kind::Socks, Some(("site", "w:ör/d"))).await;
        proxy.route("dl.example.org", origin.address());
        let right = upstream(by("socks5h", &proxy, Some(("site", "w:ör/d")), &[]), &["dl.example.org"]);
        assert_same(&fetch(&right, get("http://dl.example.org/a")).await.unwrap().1, &object.all());
        assert_eq!(proxy.log(), ["SOCKS dl.example.org:80"]);
        for credentials in [None, Some(("site", "wrong"))] {
            let wrong = upstream(by("socks5h", &proxy, credentials, &[]), &["dl.example.org"]);
            let error = refusal(&wrong, get("http://dl.example.org/a")).await;
            let told = matches!(&error, Error::Unavailable { why, .. } if why.contains("[proxy] username"));
            assert!(told, "{error}");
        }
    }

    #[tokio::test]
    async fn socks_with_the_name_resolved_here_is_checked() {
        let (origin, object) = one().await;
        let proxy = Scripted::start(Kind::Socks, None).await;
        for scheme in ["socks5", "socks4"] {
            let port = origin.address().port();
            let entries = [format!("localhost:{port}"), origin.entry()];
            let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
            let upstream = upstream(by(scheme, &proxy, None, &[]), &entries);
            let error = refusal(&upstream, get(format!("http://localhost:{port}/a"))).await;
            assert!(matches!(error, Error::NotAllowed { .. }), "{error}");
            assert_same(&fetch(&upstream, get(origin.url("/a"))).await.unwrap().1, &object.all());
        }
        assert_eq!(proxy.log().len(), 2);
    }
}

mod probes {
    use super::proxy::{Kind, Proxy as Scripted};
    use super::*;

    /// An origin with one object of 300 KB and the right date.
    async fn dated() -> (Origin, Object) {
        let (origin, object) = one().await;
        let object = object.header("Date", &httpdate::fmt_http_date(std::time::SystemTime::now()));
        origin.put("/a", object.clone());
        (origin, object)
    }

    /// Probes and gives the one finding of this check, once it is seen that all the other ones are well.
    async fn probed(upstream: &Upstream, location: Location, check: &str) -> Finding {
        let findings = upstream.probe(&location, waystation::upstream::Object::Known).await;
        assert!(!format!("{findings:?}").contains("secret"), "{findings:#?}");
        for finding in findings.iter().filter(|finding| finding.check != check) {
            assert!(matches!(finding.verdict, Verdict::Good | Verdict::Skipped), "{finding:#?}");
        }
        let mut of_check = findings.into_iter().filter(|finding| finding.check == check);
        let finding = of_check.next().expect("the check was made");
        assert_eq!(of_check.next(), None);
        if matches!(finding.verdict, Verdict::Warning | Verdict::Bad) {
            assert!(!finding.advice.is_empty() && !finding.seen.is_empty());
        }
        finding
    }

    async fn verdict(origin: &Origin, check: &str) -> Verdict {
        probed(&client(origin), allowed(origin.url("/a?P4=secret")), check).await.verdict
    }

    #[tokio::test]
    async fn a_good_path() {
        let (origin, _) = dated().await;
        for check in ["allow", "connect", "answer", "clock", "loop", "coding", "range", "body", "mtu"] {
            assert_eq!(verdict(&origin, check).await, Verdict::Good, "{check}");
        }
        assert_eq!(verdict(&origin, "dns").await, Verdict::Skipped);
    }

    #[tokio::test]
    async fn not_on_the_list() {
        let (origin, _) = dated().await;
        let finding = probed(&upstream(config(), &[]), allowed(origin.url("/a?sig=secret")), "allow").await;
        assert_eq!(finding.verdict, Verdict::Bad);
        assert_eq!(origin.connections(), 0);
    }

    #[tokio::test]
    async fn a_name_that_leads_back_to_the_node() {
        let (origin, _) = dated().await;
        let port = origin.address().port();
        let upstream = upstream(config(), &[&format!("localhost:{port}")]);
        let location = allowed(format!("http://localhost:{port}/a"));
        let finding = probed(&upstream, location.clone(), "dns").await;
        assert!(finding.verdict == Verdict::Bad && finding.seen.contains("leads back"), "{finding:#?}");
        assert_eq!(origin.connections(), 0);
        // A named upstream may be anywhere.
        let named = Location { standing: Standing::Upstream, ..location };
        assert_eq!(probed(&upstream, named, "dns").await.verdict, Verdict::Good);
    }

    #[tokio::test]
    async fn nobody_there() {
        let (origin, _) = dated().await;
        let (upstream, location) = (client(&origin), allowed(origin.url("/a")));
        drop(origin);
        assert_eq!(probed(&upstream, location, "connect").await.verdict, Verdict::Bad);
    }

    #[tokio::test]
    async fn a_wrong_clock() {
        let (origin, object) = one().await;
        origin.put("/a", object.header("Date", "Sun, 06 Nov 1994 08:49:37 GMT"));
        let finding = probed(&client(&origin), allowed(origin.url("/a")), "clock").await;
        assert!(finding.verdict == Verdict::Warning && finding.seen.contains("ahead"), "{finding:#?}");
    }

    #[tokio::test]
    async fn range_stripped() {
        let (origin, _) = dated().await;
        origin.always("/a", [Fault::IgnoreRange]);
        assert_eq!(verdict(&origin, "range").await, Verdict::Warning);
        origin.always("/a", []);
        origin.next("/a", [Fault::ContentRange("bytes 5-5/300000".to_owned())]);
        assert_eq!(verdict(&origin, "range").await, Verdict::Bad);
    }

    #[tokio::test]
    async fn bodies_compressed_or_altered() {
        let (origin, _) = dated().await;
        origin.always("/a", [Fault::Header("Content-Encoding", "gzip".to_owned())]);
        assert_eq!(verdict(&origin, "coding").await, Verdict::Bad);
        origin.always("/a", []);
        // The first byte, a part, the whole, a large part: the whole differs, or its length does.
        origin.next("/a", []);
        origin.next("/a", []);
        origin.next("/a", [Fault::Altered(1000)]);
        assert_eq!(verdict(&origin, "body").await, Verdict::Bad);
        origin.next("/a", [Fault::ContentRange("bytes 0-0/300001".to_owned())]);
        assert_eq!(verdict(&origin, "body").await, Verdict::Bad);
    }

    #[tokio::test]
    async fn large_packets_lost() {
        let (origin, _) = dated().await;
        for _ in 0..3 {
            origin.next("/a", []);
        }
        origin.next("/a", [Fault::StallAt(2000)]);
        let short = Config { connect_timeout: Duration::from_secs(1), ..config() };
        let finding = probed(&upstream(short, &[&origin.entry()]), allowed(origin.url("/a")), "mtu").await;
        assert!(finding.verdict == Verdict::Warning && finding.advice.contains("MTU"), "{finding:#?}");
    }

    #[tokio::test]
    async fn tls_intercepted() {
        let authority = Authority::new("Inspection");
        let origin = Origin::start_tls(authority.server(&["127.0.0.1"])).await;
        origin.put("/a", Object::made(100_000, 1));
        let trusting = Config { extra_ca: vec![authority.pem()], ..config() };
        let upstream_trusting = upstream(trusting, &[&origin.entry()]);
        let finding = probed(&upstream_trusting, allowed(origin.url("/a")), "tls").await;
        assert!(finding.verdict == Verdict::Warning && finding.seen.contains("intercepted"), "{finding:#?}");
        // The named upstream has an authority of the site's own by right.
        let named = Location { url: origin.url("/a"), standing: Standing::Upstream };
        assert_eq!(probed(&upstream_trusting, named, "tls").await.verdict, Verdict::Good);
        let finding = probed(&client(&origin), allowed(origin.url("/a")), "tls").await;
        assert!(finding.verdict == Verdict::Bad && finding.advice.contains("extra_ca"), "{finding:#?}");
    }

    #[tokio::test]
    async fn a_proxy_that_asks_for_credentials() {
        let proxy = Scripted::start(Kind::Http, Some(("site", "word"))).await;
        let through = Proxy { url: Some(format!("http://{}", proxy.address())), ..Proxy::default() };
        let upstream = upstream(Config { proxy: through, ..config() }, &["dl.example.org"]);
        let finding = probed(&upstream, allowed("http://dl.example.org/a?sig=secret"), "proxy").await;
        assert!(finding.verdict == Verdict::Bad && finding.advice.contains("password_file"), "{finding:#?}");
    }

    #[tokio::test]
    async fn circles() {
        let (origin, _) = dated().await;
        origin.always("/a", [Fault::Header("Via", "1.1 other, 1.1 ws-test".to_owned())]);
        assert_eq!(verdict(&origin, "loop").await, Verdict::Bad);
        origin.always("/a", [Fault::Header("Server", "Waystation/0.1.0".to_owned())]);
        assert_eq!(verdict(&origin, "loop").await, Verdict::Warning);
    }

    #[tokio::test]
    async fn no_object_at_the_path() {
        let (origin, _) = dated().await;
        let upstream = client(&origin);
        assert_eq!(probed(&upstream, allowed(origin.url("/")), "range").await.verdict, Verdict::Skipped);
        for status in [401, 403, 404, 410] {
            origin.always("/a", [Fault::Status(status)]);
            let finding = probed(&upstream, allowed(origin.url("/a")), "answer").await;
            assert_eq!(finding.verdict, Verdict::Warning, "{finding:#?}");
        }
        origin.always("/a", [Fault::Status(502)]);
        assert_eq!(verdict(&origin, "answer").await, Verdict::Bad);
    }
}
