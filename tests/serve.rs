//! The content face end to end: a node on a real socket, a scripted origin behind it, a client at byte level before it.

// A test that cannot go on must panic.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where by panicking")]

#[path = "support/made_catalog.rs"]
mod made_catalog;
#[path = "support/origin.rs"]
mod origin;
#[path = "support/plain_client.rs"]
mod plain_client;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use origin::{Fault, Object, Origin};
use plain_client::{Answer, Client};
use sha1::Digest as _;
use tracing_subscriber::layer::SubscriberExt as _;
use waystation::base::digest::{Digest, Sha1};
use waystation::base::disk::RealDisk;
use waystation::base::span::Span;
use waystation::base::time::{Clock as _, SystemClock};
use waystation::fill::{self, Fill};
use waystation::fleet::registry::{Admission, Registry};
use waystation::model::deployment::Endpoint;
use waystation::model::name::Name;
use waystation::model::origin::AllowList;
use waystation::model::payload::{Alias, Validators};
use waystation::model::update::UpdateId;
use waystation::net::{self, Bound, Server};
use waystation::serve::{self, Face, Suspicion};
use waystation::store::fleet::{Bios, Os, Registration};
use waystation::store::{self, Store};
use waystation::upstream::{self, Upstream};

const MIB: u64 = 1 << 20;
const MODIFIED: &str = "Wed, 02 Sep 2026 08:30:53 GMT";

/// A node: store, fill, upstream, face and a listener on loopback.
struct Node {
    address: SocketAddr,
    server: Server,
    store: Store,
    fill: Fill,
    suspicions: Arc<Mutex<Vec<Suspicion>>>,
    data: tempfile::TempDir,
}

impl Node {
    async fn start(origins: &[&Origin]) -> Self {
        let entries: Vec<String> = origins.iter().map(|origin| origin.entry()).collect();
        let data = tempfile::tempdir().unwrap();
        let allow = Arc::new(AllowList::new(&entries).unwrap());
        let config = store::Config {
            path: data.path().join("store"),
            max_size: 4 << 30,
            min_free: 0,
            unproven: Duration::from_hours(24),
            index_cache: 16 << 20,
            open_payloads: 64,
            io_threads: 2,
        };
        let opening = move || Store::open(config, Arc::new(RealDisk), Arc::new(SystemClock));
        let (store, _) = tokio::task::spawn_blocking(opening).await.unwrap().unwrap();
        let config = upstream::Config {
            proxy: upstream::Proxy::default(),
            extra_ca: Vec::new(),
            connect_timeout: Duration::from_secs(2),
            stall_timeout: Duration::from_secs(5),
            patience: Duration::from_millis(300),
            node: "node".into(),
            hops_max: 5,
            own_addresses: Vec::new(),
        };
        let source = Arc::new(Upstream::new(config, Arc::clone(&allow)).unwrap());
        let config = fill::Config {
            complete: fill::Complete::Always,
            verify: fill::Verify::Stream,
            extent: 8 << 20,
            connections_per_host: 4,
            upstream: None,
            upstream_is_wsus: false,
            silence: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(2),
        };
        let fill = Fill::new(config, store.clone(), source, allow, Arc::new(SystemClock));
        let suspicions = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&suspicions);
        let face = Face::new(
            serve::Config::default(),
            fill.clone(),
            store.clone(),
            Arc::new(SystemClock),
            Box::new(move |suspicion| told.lock().unwrap().push(suspicion)),
        );
        let bound = Bound::tcp(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let server =
            Server::start(net::Config::default(), vec![bound], Arc::new(face), net::Counters::default()).unwrap();
        let address = server.addresses()[0];
        Self { address, server, store, fill, suspicions, data }
    }

    async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Fills the whole, joining a flight that is under way, and asks for it then.
    async fn hold(&self, origin: &Origin, path: &str) -> Answer {
        let (host, query) = (self.address.to_string(), format!("cacheHostOrigin={}", origin.address()));
        let ask = fill::Ask { host: Some(&host), path, query: Some(&query), via: None };
        let target = self.fill.locate(&ask).unwrap();
        self.fill.prefetch(&target).await.unwrap();
        let answer = self.client().await.get(&through(origin, path), &[]).await;
        assert_eq!((answer.status, answer.whole), (200, true), "{:?}", answer.headers);
        assert!(answer.header("cache-status").unwrap().contains("; hit"), "{:?}", answer.headers);
        answer
    }

    /// Puts a file of the administrator's into the store under its SHA-1, and gives that name and the path of
    /// its WSUS form.
    async fn import(&self, file: &Path, extension: &str) -> (Name, String) {
        let content = file.to_owned();
        let hash = move || sha1::Sha1::digest(std::fs::read(content).unwrap());
        let digest: [u8; 20] = tokio::task::spawn_blocking(hash).await.unwrap().into();
        let digest = Sha1::new(digest);
        let name = Name::Digest(Digest::Sha1(digest));
        let alias = Alias {
            tag: Digest::Sha1(digest).to_string(),
            last_modified: Some(MODIFIED.into()),
            validators: Validators::default(),
            freshness: None,
        };
        self.store.import(file.to_owned(), false, None, vec![(name.clone(), alias)]).await.unwrap();
        let hex = digest.to_string().to_uppercase();
        (name, format!("/Content/{}/{hex}.{extension}", &hex[38..]))
    }

    async fn stop(self) {
        self.server.drain(Duration::from_secs(1)).await;
        self.fill.close().await;
        self.store.close().await.unwrap();
    }
}

/// The target of an object of an origin, in the form with `cacheHostOrigin`.
fn through(origin: &Origin, path: &str) -> String {
    format!("{path}?cacheHostOrigin={}", origin.address())
}

/// A step of a small generator of numbers, so that a failure can be repeated.
fn next_number(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// A Range value, and which bytes it means.
fn random_ranges(state: &mut u64, size: u64) -> (String, Vec<Span>) {
    let count = match next_number(state) % 4 {
        0 => 2 + next_number(state) % 5,
        _ => 1,
    };
    let (mut value, mut spans) = ("bytes=".to_owned(), Vec::new());
    for at in 0..count {
        let first = next_number(state) % size;
        let long = next_number(state) % (size / count);
        let span = match next_number(state) % 4 {
            0 => Span::new(size - long.min(size) - 1, size),
            1 if count == 1 => Span::new(first, size),
            _ => Span::new(first, (first + long + 1).min(size)),
        };
        value.push_str(if at == 0 { "" } else { ", " });
        if span.end() == size && next_number(state).is_multiple_of(2) {
            write!(value, "-{}", span.len()).unwrap();
        } else if span.end() == size && count == 1 {
            write!(value, "{}-", span.start()).unwrap();
        } else {
            write!(value, "{}-{}", span.start(), span.end() - 1).unwrap();
        }
        spans.push(span);
    }
    (value, spans)
}

/// Checks an answer to a Range against the object, byte by byte.
fn check_ranges(answer: &Answer, value: &str, spans: &[Span], object: &[u8]) {
    assert!(answer.whole, "{value}");
    assert_eq!(answer.status, 206, "{value}: {:?}", answer.headers);
    assert_eq!(answer.header("content-length").unwrap(), answer.body.len().to_string());
    let mut parts = match answer.content_range() {
        Some((first, last, size)) => {
            vec![plain_client::Part { first, last, size, bytes: answer.body.clone() }]
        }
        None => answer.parts(),
    };
    for part in &parts {
        assert_eq!(part.size, object.len() as u64);
        let expected = &object[usize::try_from(part.first).unwrap()..=usize::try_from(part.last).unwrap()];
        assert!(part.bytes == expected, "{value}: wrong bytes in {}-{}", part.first, part.last);
    }
    // Each byte that was asked for, once, and no other: the runs of what was asked for are the parts.
    let mut asked: Vec<(u64, u64)> = spans.iter().map(|span| (span.start(), span.end())).collect();
    asked.sort_unstable();
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (start, end) in asked {
        match runs.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => runs.push((start, end)),
        }
    }
    parts.sort_unstable_by_key(|part| part.first);
    let given: Vec<(u64, u64)> = parts.iter().map(|part| (part.first, part.last + 1)).collect();
    assert_eq!(given, runs, "{value}");
}

#[tokio::test]
async fn a_miss_becomes_a_hit() {
    let origin = Origin::start().await;
    let object = Object::made(3 * MIB + 77, 1).etag("\"v1\"").last_modified(MODIFIED);
    origin.put("/a.cab", object.clone());
    let node = Node::start(&[&origin]).await;
    let target = through(&origin, "/a.cab");

    let mut client = node.client().await;
    let missed = client.get(&target, &[]).await;
    assert_eq!((missed.status, missed.whole), (200, true));
    assert!(missed.body == object.all());
    let word = missed.header("cache-status").unwrap();
    assert!(word.starts_with("waystation; fwd=miss") && word.contains("detail=streaming"), "{word}");

    let hit = node.hold(&origin, "/a.cab").await;
    assert!(hit.body == object.all());
    assert_eq!(hit.header("cache-status"), Some("waystation; hit; detail=unproven"));
    for (answer, what) in [(&missed, "miss"), (&hit, "hit")] {
        assert_eq!(answer.header("etag"), Some("\"v1\""), "{what}");
        assert_eq!(answer.header("last-modified"), Some(MODIFIED), "{what}");
        assert_eq!(answer.header("accept-ranges"), Some("bytes"), "{what}");
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"), "{what}");
        assert_eq!(answer.header("content-encoding"), None, "{what}");
        assert_eq!(answer.header("server"), Some("waystation"), "{what}");
        assert!(answer.header("date").is_some(), "{what}");
    }
    assert_eq!(missed.names(), hit.names());

    // By the digests that were computed on the way, with their own tags.
    let digest = sha2::Sha256::digest(object.all());
    let hex = digest.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let by_digest = client.get(&format!("/sha256/{}", hex.to_uppercase()), &[]).await;
    assert_eq!(by_digest.status, 200, "{:?}", by_digest.headers);
    assert!(by_digest.body == object.all());
    assert_eq!(by_digest.header("etag"), Some(format!("\"sha256-{hex}\"").as_str()));

    // The other origin form, and the whole address of a client that takes the node for a proxy.
    let host = origin.address().to_string();
    let by_host = client.get("/a.cab", &[("Host", &host), ("Range", "bytes=5-9")]).await;
    assert_eq!((by_host.status, by_host.body), (206, object.bytes(Span::new(5, 10))));
    let by_address = client.get(&origin.url("/a.cab"), &[("Range", "bytes=-3")]).await;
    assert_eq!(by_address.status, 206);
    assert!(by_address.header("cache-status").unwrap().contains("; hit"));
    node.stop().await;
}

#[tokio::test]
async fn ranges_of_a_held_payload_are_exact() {
    let origin = Origin::start().await;
    let object = Object::made(5 * MIB + 12_345, 2);
    origin.put("/a.psf", object.clone());
    let node = Node::start(&[&origin]).await;
    let target = through(&origin, "/a.psf");
    node.hold(&origin, "/a.psf").await;

    let all = object.all();
    let mut client = node.client().await;
    let mut state = 7;
    for _ in 0..150 {
        let (value, spans) = random_ranges(&mut state, object.len());
        let answer = client.get(&target, &[("Range", &value)]).await;
        check_ranges(&answer, &value, &spans, &all);
    }
    // Pieces as Windows asks for them, on one connection.
    for piece in [5, 0, 3, 1, 4, 2] {
        let span = Span::new(piece * MIB, ((piece + 1) * MIB).min(object.len()));
        let value = format!("bytes={}-{}", span.start(), span.end() - 1);
        check_ranges(&client.get(&target, &[("Range", &value)]).await, &value, &[span], &all);
    }
    let beyond = client.get(&target, &[("Range", "bytes=99999999-")]).await;
    assert_eq!((beyond.status, beyond.body.len()), (416, 0));
    assert_eq!(beyond.header("content-range"), Some(format!("bytes */{}", object.len()).as_str()));
    let ignored = client.get(&target, &[("Range", "items=1-2")]).await;
    assert_eq!((ignored.status, ignored.body.len() as u64), (200, object.len()));

    // What a client sends with a GET means nothing, and nobody is told to go on.
    let expecting = client.get(&target, &[("Range", "bytes=0-0"), ("Expect", "100-continue"), ("Content-Length", "0")]);
    assert_eq!(expecting.await.status, 206);
    let host = origin.address();
    let with_body =
        format!("GET /a.psf HTTP/1.1\r\nHost: {host}\r\nRange: bytes=7-9\r\nContent-Length: 5\r\n\r\nhello");
    client.send_raw(with_body.as_bytes()).await;
    let answer = client.answer(false).await;
    assert_eq!((answer.status, answer.body), (206, object.bytes(Span::new(7, 10))));
    node.stop().await;
}

#[tokio::test]
async fn ranges_of_a_flight_are_exact() {
    let origin = Origin::start().await;
    let object = Object::made(6 * MIB + 4321, 3);
    origin.put("/slow.esd", object.clone());
    origin.limit(8 * MIB);
    let node = Node::start(&[&origin]).await;
    let target = through(&origin, "/slow.esd");

    let all: Arc<[u8]> = object.all().into();
    let mut clients = tokio::task::JoinSet::new();
    for seed in 0..7 {
        let (address, target, all) = (node.address, target.clone(), Arc::clone(&all));
        clients.spawn(async move {
            let mut client = Client::connect(address).await;
            let mut state = 100 + seed;
            let mut streamed = 0;
            for _ in 0..6 {
                let (value, spans) = random_ranges(&mut state, all.len() as u64);
                let answer = client.get(&target, &[("Range", &value)]).await;
                check_ranges(&answer, &value, &spans, &all);
                streamed += usize::from(answer.header("cache-status").unwrap().contains("detail=streaming"));
            }
            streamed
        });
    }
    let streamed: usize = clients.join_all().await.into_iter().sum();
    assert!(streamed > 0, "nothing was served from a flight");
    let held = node.hold(&origin, "/slow.esd").await;
    assert!(held.body == *all);
    assert_eq!(origin.served("/slow.esd").total(), object.len());
    node.stop().await;
}

#[tokio::test]
async fn head_and_preconditions() {
    let origin = Origin::start().await;
    let object = Object::made(MIB + 1, 4).etag("\"v1\"").last_modified(MODIFIED);
    origin.put("/a.cab", object.clone());
    origin.put("/empty.cab", Object::given("").etag("\"none\""));
    let node = Node::start(&[&origin]).await;
    let target = through(&origin, "/a.cab");
    let mut client = node.client().await;

    // A HEAD before anything is held fetches no content.
    let early = client.ask("HEAD", &target, &[]).await;
    assert_eq!((early.status, early.header("content-length").unwrap()), (200, (MIB + 1).to_string().as_str()));
    assert_eq!(early.header("etag"), Some("\"v1\""));
    assert_eq!(early.header("cache-status"), Some("waystation; fwd=miss; detail=streaming"), "nothing of it is kept");
    assert_eq!(origin.sent("/a.cab"), 0);
    // Neither is anything of an answer without content, though the flight goes on.
    for (path, field, value, status) in [
        ("/304.cab", "If-None-Match", "\"v1\"", 304),
        ("/412.cab", "If-Match", "\"v2\"", 412),
        ("/416.cab", "Range", "bytes=99999999-", 416),
        ("/206.cab", "Range", "bytes=0-9", 206),
    ] {
        origin.put(path, object.clone());
        let answer = client.get(&through(&origin, path), &[(field, value)]).await;
        assert_eq!(answer.status, status, "{:?}", answer.headers);
        let word = answer.header("cache-status").unwrap();
        assert!(word.starts_with("waystation; fwd=miss"), "{path}: {word}");
        assert_eq!(word.contains("; stored"), status == 206, "{path}: {word}");
    }

    let get = node.hold(&origin, "/a.cab").await;
    let head = client.ask("HEAD", &target, &[("Range", "bytes=0-1")]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.names(), get.names());
    for name in ["content-length", "etag", "last-modified", "content-type", "cache-status", "accept-ranges"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    type Case<'a> = (&'a [(&'a str, &'a str)], u16, usize);
    let cases: &[Case] = &[
        (&[("If-None-Match", "\"v1\"")], 304, 0),
        (&[("If-None-Match", "\"v2\"")], 200, object.all().len()),
        (&[("If-Modified-Since", MODIFIED)], 304, 0),
        (&[("If-Match", "\"v2\"")], 412, 0),
        (&[("If-Range", "\"v1\""), ("Range", "bytes=0-9")], 206, 10),
        (&[("If-Range", "\"v2\""), ("Range", "bytes=0-9")], 200, object.all().len()),
        (&[("If-Range", MODIFIED), ("Range", "bytes=0-9")], 206, 10),
    ];
    for (headers, status, length) in cases {
        let answer = client.get(&target, headers).await;
        assert_eq!((answer.status, answer.body.len()), (*status, *length), "{headers:?}");
        assert_eq!(answer.header("etag"), Some("\"v1\""));
    }

    let empty = client.get(&through(&origin, "/empty.cab"), &[]).await;
    assert_eq!((empty.status, empty.header("content-length"), empty.whole), (200, Some("0"), true));
    let ranged = client.get(&through(&origin, "/empty.cab"), &[("Range", "bytes=0-")]).await;
    assert_eq!((ranged.status, ranged.header("content-range")), (416, Some("bytes */0")));
    node.stop().await;
}

#[tokio::test]
async fn what_is_refused_and_why() {
    let origin = Origin::start().await;
    origin.put("/forbidden.cab", Object::made(10, 5));
    origin.always("/forbidden.cab", [Fault::Status(403)]);
    origin.put("/down.cab", Object::made(10, 6));
    origin.always("/down.cab", [Fault::Status(503)]);
    let node = Node::start(&[&origin]).await;
    let mut client = node.client().await;

    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = client.ask(method, "/a", &[("Content-Length", "0")]).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    for (target, status) in [
        ("/", 404),
        ("/robots.txt", 404),
        ("/healthz", 404),
        ("/a?cacheHostOrigin=not-allowed.example", 404),
        (through(&origin, "/absent.cab").as_str(), 404),
        (through(&origin, "/forbidden.cab").as_str(), 403),
        (through(&origin, "/down.cab").as_str(), 503),
    ] {
        let answer = client.get(target, &[]).await;
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{target}");
        assert_eq!(answer.header("retry-after").is_some(), status == 503, "{target}");
        assert!(answer.header("etag").is_none() && answer.header("accept-ranges").is_none(), "{target}");
        let head = client.ask("HEAD", target, &[]).await;
        assert_eq!((head.status, head.header("content-length")), (answer.status, answer.header("content-length")));
    }
    // What an origin wants to know is its own to ask.
    let basic = Fault::Header("WWW-Authenticate", "Basic realm=\"updates\"".to_owned());
    origin.always("/private.cab", [Fault::Status(401), basic]);
    let answer = client.get(&through(&origin, "/private.cab"), &[]).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Basic realm=\"updates\"")));

    // Nothing of it was kept: what was absent and comes up is served.
    let late = Object::made(1000, 8);
    origin.put("/absent.cab", late.clone());
    assert!(node.hold(&origin, "/absent.cab").await.body == late.all());

    let mut twice = node.client().await;
    twice.send_raw(b"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await;
    let answer = twice.answer(false).await;
    assert_eq!(
        (answer.status, answer.body),
        (400, b"the request is malformed: Host is given more than once\n".to_vec())
    );
    let dots = client.get("/a/../secret", &[]).await;
    let told = "the request is malformed: dot segments, ask for the path that is meant\n";
    assert_eq!((dots.status, dots.body), (400, told.as_bytes().to_vec()));
    let mut tunnel = node.client().await;
    tunnel.send_raw(b"CONNECT dl.example:443 HTTP/1.1\r\nHost: dl.example:443\r\n\r\n").await;
    assert_eq!(tunnel.head().await.status, 405);
    node.stop().await;
}

#[tokio::test]
async fn trust_lists_are_passed_on_and_never_kept() {
    let origin = Origin::start().await;
    let path = "/msdownload/update/v3/static/trustedr/en/authrootstl.cab";
    let object = Object::made(70_000, 9).etag("W/\"weak\"").header("Cache-Control", "max-age=900");
    origin.put(path, object.clone());
    let node = Node::start(&[&origin]).await;
    let mut client = node.client().await;
    for _ in 0..2 {
        let answer = client.get(&through(&origin, path), &[]).await;
        assert_eq!((answer.status, answer.whole), (200, true));
        assert!(answer.body == object.all());
        assert_eq!(answer.header("cache-status"), Some("waystation; fwd=miss; detail=passed"));
        assert_eq!(answer.header("cache-control"), Some("max-age=900"));
        assert_eq!(answer.header("etag"), Some("W/\"weak\""));
    }
    assert_eq!(origin.sent(path), 2 * object.len());
    let head = client.ask("HEAD", &through(&origin, path), &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("70000")));

    // What has no length keeps none, and is no less whole for it.
    origin.always(path, [Fault::Chunked]);
    let chunked = client.get(&through(&origin, path), &[]).await;
    assert_eq!((chunked.status, chunked.whole, chunked.header("content-length")), (200, true, None));
    assert!(chunked.body == object.all());
    let head = client.ask("HEAD", &through(&origin, path), &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, None));
    assert_eq!(client.get("/robots.txt", &[]).await.status, 404, "the connection is still in step");
    node.stop().await;
}

#[tokio::test]
async fn what_is_passed_on_keeps_to_ranges_and_conditions() {
    let origin = Origin::start().await;
    let path = "/msdownload/update/v3/static/trustedr/en/disallowedcertstl.cab";
    let object = Object::made(70_000, 17).etag("\"v1\"").last_modified(MODIFIED).header("Cache-Control", "max-age=900");
    origin.put(path, object.clone());
    let node = Node::start(&[&origin]).await;
    let target = through(&origin, path);
    let mut client = node.client().await;
    type Case<'a> = (&'a [(&'a str, &'a str)], u16, Span);
    let (whole, nothing) = (Span::new(0, 70_000), Span::new(0, 0));
    let cases: &[Case] = &[
        (&[("Range", "bytes=5-9")], 206, Span::new(5, 10)),
        (&[("Range", "bytes=0-")], 206, whole),
        (&[("Range", "bytes=69990-")], 206, Span::new(69_990, 70_000)),
        (&[("Range", "bytes=69990-80000")], 206, Span::new(69_990, 70_000)),
        // What cannot be asked for as it is: the whole.
        (&[("Range", "bytes=-100")], 200, whole),
        (&[("Range", "bytes=5-9,20-29")], 200, whole),
        (&[("Range", "bytes=5-9,x")], 200, whole),
        (&[("Range", "bytes=5-9"), ("If-Range", "\"old\"")], 200, whole),
        (&[("Range", "bytes=5-9"), ("If-Range", "\"v1\"")], 200, whole),
        (&[("If-None-Match", "\"v1\"")], 304, nothing),
        (&[("If-None-Match", "\"v1\""), ("Range", "bytes=5-9")], 304, nothing),
        (&[("If-None-Match", "\"old\"")], 200, whole),
        (&[("If-Modified-Since", MODIFIED)], 304, nothing),
        (&[("If-Match", "\"old\"")], 412, nothing),
        (&[("If-Match", "\"old\""), ("Range", "bytes=5-9")], 412, nothing),
        (&[("If-Match", "\"v1\"")], 200, whole),
        (&[("Range", "bytes=70000-")], 416, nothing),
        (&[("Range", "bytes=70000-70009")], 416, nothing),
        (&[("Range", "bytes=-0")], 416, nothing),
    ];
    for (headers, status, span) in cases {
        let answer = client.get(&target, headers).await;
        assert_eq!((answer.status, answer.whole), (*status, true), "{headers:?}: {:?}", answer.headers);
        assert!(answer.body == object.bytes(*span), "{headers:?}: {} bytes", answer.body.len());
        let range = match status {
            206 => Some(format!("bytes {}-{}/70000", span.start(), span.end() - 1)),
            416 => Some("bytes */70000".to_owned()),
            _ => None,
        };
        assert_eq!(answer.header("content-range"), range.as_deref(), "{headers:?}");
        assert_eq!(answer.header("etag"), Some("\"v1\""), "{headers:?}");
        assert_eq!(answer.header("cache-control"), Some("max-age=900"), "{headers:?}");
        assert_eq!(answer.header("cache-status"), Some("waystation; fwd=miss; detail=passed"), "{headers:?}");
        let head = client.ask("HEAD", &target, headers).await;
        let expected = if matches!(status, 304 | 412) { *status } else { 200 };
        assert_eq!(head.status, expected, "{headers:?}");
    }
    // An origin that knows no ranges leads to the same.
    origin.always(path, [Fault::IgnoreRange]);
    let beyond = client.get(&target, &[("Range", "bytes=70000-")]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */70000")));
    assert_eq!(client.get(&target, &[("Range", "bytes=5-9")]).await.status, 200);
    assert!(node.fill.flights().is_empty());
    node.stop().await;
}

#[tokio::test]
async fn a_flight_that_fails_cuts_the_answer() {
    let origin = Origin::start().await;
    let object = Object::made(3 * MIB, 13);
    origin.put("/torn.esd", object.clone());
    origin.next("/torn.esd", [Fault::TruncateAt(MIB)]);
    origin.always("/torn.esd", [Fault::HangUp]);
    let node = Node::start(&[&origin]).await;
    let mut client = node.client().await;
    let torn = client.get(&through(&origin, "/torn.esd"), &[]).await;
    assert_eq!((torn.status, torn.whole), (200, false), "nobody takes a part for the whole");
    assert!(torn.body.len() as u64 <= MIB && torn.body == object.bytes(Span::new(0, torn.body.len() as u64)));
    assert!(client.is_closed().await);
    // What fails before the first byte gets a status. Several ranges are asked for at once, and the first decides.
    let ranges = format!("bytes={}-{},0-9", 2 * MIB, 2 * MIB + 9);
    let nothing = node.client().await.get(&through(&origin, "/torn.esd"), &[("Range", &ranges)]).await;
    assert_eq!((nothing.status, nothing.header("retry-after").is_some()), (503, true));
    node.stop().await;
}

#[tokio::test]
async fn an_origin_that_sends_a_head_and_no_body_is_answered_for_in_time() {
    let origin = Origin::start().await;
    origin.put("/mute.esd", Object::made(3 * MIB, 16).etag("\"v1\""));
    origin.always("/mute.esd", [Fault::StallAt(0)]);
    let node = Node::start(&[&origin]).await;
    let target = through(&origin, "/mute.esd");
    let ask = |range: &'static str| {
        let (address, target) = (node.address, target.clone());
        async move {
            let mut client = Client::connect(address).await;
            let headers: &[(&str, &str)] = if range.is_empty() { &[] } else { &[("Range", range)] };
            let asked = std::time::Instant::now();
            let answer = client.get(&target, headers).await;
            (answer, asked.elapsed())
        }
    };
    let answers = tokio::join!(ask(""), ask("bytes=0-1048575"), ask("bytes=0-9,2097152-2097161"));
    for (answer, after) in [answers.0, answers.1, answers.2] {
        assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true), "{:?}", answer.headers);
        let (least, most) = (Duration::from_secs(2), Duration::from_secs(4));
        assert!(least <= after && after < most, "2 s are configured, it took {after:?}");
    }
    assert_eq!(node.fill.flights().len(), 1, "the flight goes on without them");
    node.stop().await;
}

#[tokio::test]
async fn what_is_passed_on_gets_a_status_where_no_byte_of_it_comes() {
    let origin = Origin::start().await;
    let path = "/msdownload/update/v3/static/trustedr/en/authrootstl.cab";
    origin.put(path, Object::made(MIB, 17));
    origin.always(path, [Fault::StallAt(0)]);
    let node = Node::start(&[&origin]).await;
    let answer = node.client().await.get(&through(&origin, path), &[]).await;
    assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true), "{:?}", answer.headers);
    node.stop().await;
}

#[tokio::test]
async fn an_old_client_is_served() {
    let origin = Origin::start().await;
    let object = Object::made(2 * MIB + 5, 14);
    origin.put("/a.exe", object.clone());
    let node = Node::start(&[&origin]).await;
    node.hold(&origin, "/a.exe").await;
    let digest = blake3::hash(&object.all());
    let mut client = node.client().await;
    client.send_raw(format!("GET /blake3/{digest} HTTP/1.0\r\n\r\n").as_bytes()).await;
    let answer = client.answer(false).await;
    assert_eq!((answer.status, answer.whole), (200, true));
    assert!(answer.body == object.all());
    assert!(client.is_closed().await);
    node.stop().await;
}

/// Keeps the fields of events of target `access`.
#[derive(Clone, Default)]
struct Access(Arc<Mutex<Vec<BTreeMap<String, String>>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Access {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        struct Fields(BTreeMap<String, String>);
        impl tracing::field::Visit for Fields {
            fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
                self.0.insert(field.name().into(), value.into());
            }
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.insert(field.name().into(), format!("{value:?}"));
            }
        }
        if event.metadata().target() == "access" {
            let mut fields = Fields(BTreeMap::new());
            event.record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
        }
    }
}

#[tokio::test]
async fn each_request_has_one_record() {
    let access = Access::default();
    let _listening = tracing::subscriber::set_default(tracing_subscriber::registry().with(access.clone()));
    let origin = Origin::start().await;
    let object = Object::made(40 * MIB, 10);
    origin.put("/big.wim", object.clone());
    let node = Node::start(&[&origin]).await;
    let target = through(&origin, "/big.wim");
    node.hold(&origin, "/big.wim").await;
    access.0.lock().unwrap().clear();

    let mut client = node.client().await;
    let agent = format!("Microsoft-Delivery-Optimization/10.1 \" status=500 {}", "x".repeat(300));
    let signed = format!("/nothing?P1=17&P4=c2VjcmV0&cacheHostOrigin={}", origin.address());
    client.get(&signed, &[("User-Agent", &agent)]).await;
    client.get(&target, &[("Range", "bytes=0-1048575")]).await;
    client.get("/unknown", &[]).await;
    client.ask("HEAD", &target, &[]).await;
    // A client that leaves in the middle.
    client.send("GET", &target, &[]).await;
    client.bytes(1 << 20).await;
    drop(client);
    node.server.drain(Duration::from_secs(5)).await;

    let records = access.0.lock().unwrap().clone();
    let of = |at: usize, field: &str| records[at].get(field).map_or("", String::as_str);
    assert_eq!(records.len(), 5, "{records:#?}");
    assert_eq!((of(0, "status"), of(0, "outcome"), of(0, "fault")), ("404", "refused", "upstream"));
    assert!(of(0, "path").starts_with("/nothing?P1=***&P4=***&cacheHostOrigin="), "{}", of(0, "path"));
    for taken in ["timestamp", "level", "target", "message"] {
        assert!(records.iter().all(|record| !record.contains_key(taken)), "a line has its own {taken}: {records:#?}");
    }
    assert!(of(0, "agent").starts_with("Microsoft-Delivery-Optimization/10.1 \\x22 status=500 xxx"));
    assert!(of(0, "agent").len() <= 203);
    assert!(!format!("{records:?}").contains("c2VjcmV0"));
    assert_eq!((of(1, "status"), of(1, "outcome"), of(1, "sent")), ("206", "hit", "1048576"));
    assert_eq!((of(1, "range"), of(1, "ended"), of(1, "detail")), ("bytes=0-1048575", "whole", "unproven"));
    assert_eq!(of(1, "key"), format!("{}/big.wim", origin.address()));
    assert!(!of(1, "rule").is_empty() && of(1, "client").starts_with("127.0.0.1:"));
    assert_eq!((of(2, "status"), of(2, "fault"), of(2, "key")), ("404", "client", ""));
    assert_eq!((of(3, "method"), of(3, "status"), of(3, "sent"), of(3, "ended")), ("HEAD", "200", "0", "whole"));
    assert_eq!((of(4, "status"), of(4, "ended")), ("200", "cut"));
    assert!(of(4, "sent").parse::<u64>().unwrap() < object.len());

    let account = node.store.ledger().total();
    assert_eq!((account.requests, account.hits, account.refused), (6, 4, 2), "with the one that held it; {account:?}");
    node.fill.close().await;
    node.store.close().await.unwrap();
}

/// Keeps all events of the node as text.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                write!(self.0, " {field}={value:?}").unwrap();
            }
        }
        let target = event.metadata().target();
        if target == "access" || target.starts_with("waystation") {
            let mut text = Text(target.to_owned());
            event.record(&mut text);
            self.0.lock().unwrap().push(format!("{} level={}", text.0, event.metadata().level()));
        }
    }
}

#[tokio::test]
async fn no_line_of_the_log_tells_a_signed_query_or_grows_with_the_request() {
    let lines = Lines::default();
    let _listening = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines.clone()));
    let origin = Origin::start().await;
    for (path, fault) in [
        ("/unmeasured.cab", Fault::NoLength),
        ("/down.cab", Fault::Status(503)),
        ("/absent.cab", Fault::Status(404)),
        ("/fine.cab", Fault::Delay(Duration::ZERO)),
    ] {
        origin.put(path, Object::made(1000, 18));
        origin.always(path, [fault]);
    }
    let node = Node::start(&[&origin]).await;
    for path in ["/unmeasured.cab", "/down.cab", "/absent.cab", "/fine.cab"] {
        let signed = format!("{path}?P1=17&P4=c2VjcmV0&cacheHostOrigin={}", origin.address());
        node.client().await.get(&signed, &[]).await;
    }
    let mut client = node.client().await;
    let method = "X".repeat(10_000);
    assert_eq!(client.ask(&method, "/a", &[("Content-Length", "0")]).await.status, 405);
    drop(client);
    node.server.drain(Duration::from_secs(5)).await;
    node.fill.close().await;

    let lines = lines.0.lock().unwrap().clone();
    let of = |room: &str| lines.iter().filter(|line| line.starts_with(room) && line.contains("P4=***")).count();
    assert!(of("access") >= 4 && of("waystation::fill") >= 1, "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains("c2VjcmV0")), "{lines:#?}");
    let refused = lines.iter().find(|line| line.contains("method=\"XXX")).expect("the refused request has a record");
    assert!(refused.len() < 1000, "{} bytes", refused.len());
    node.store.close().await.unwrap();
}

#[tokio::test]
async fn what_any_client_can_have_absent_is_no_trouble_in_the_log() {
    let lines = Lines::default();
    let _listening = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines.clone()));
    let origin = Origin::start().await;
    origin.put("/down.cab", Object::made(10, 6));
    origin.always("/down.cab", [Fault::Status(503)]);
    let node = Node::start(&[&origin]).await;
    let mut client = node.client().await;
    let unknown = client.get(&format!("/sha256/{}", "ab".repeat(32)), &[]).await;
    let text = "not held here, and no place to fetch it from is known\n";
    assert_eq!((unknown.status, unknown.body), (404, text.as_bytes().to_vec()));
    let absent = client.get(&through(&origin, "/absent.cab"), &[]).await;
    assert_eq!((absent.status, absent.body), (404, b"the origin answered 404\n".to_vec()));
    let loud = || {
        let lines = lines.0.lock().unwrap();
        lines
            .iter()
            .filter(|line| line.contains("level=WARN") || line.contains("level=ERROR"))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(loud(), Vec::<String>::new());
    assert_eq!(client.get(&through(&origin, "/down.cab"), &[]).await.status, 503);
    drop(client);
    node.stop().await;
    assert!(loud().iter().any(|line| line.contains("/down.cab")), "an outage is told: {:?}", loud());
}

#[tokio::test]
async fn what_is_no_http_and_who_is_too_many_is_told_too() {
    let lines = Lines::default();
    let _listening = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines.clone()));
    let node = Node::start(&[]).await;
    for (head, status) in [
        ("GET /a HTTP/1.1\r\nHost: node\r\nX: \u{1}\r\n\r\n".to_owned(), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET /a HTTP/1.1\r\nHost: node\r\nContent-Length: -1\r\n\r\n".to_owned(), 400),
        (format!("GET /a HTTP/1.1\r\nHost: node\r\nX: {}\r\n\r\n", "x".repeat(66_000)), 431),
    ] {
        lines.0.lock().unwrap().clear();
        let mut client = node.client().await;
        client.send_raw(head.as_bytes()).await;
        assert_eq!(client.head().await.status, status);
        assert!(client.is_closed().await);
        let lines = lines.0.lock().unwrap();
        let records: Vec<_> = lines.iter().filter(|line| line.starts_with("access")).collect();
        assert_eq!(records.len(), 1, "{lines:#?}");
        assert!(records[0].contains(&format!("status={status}")) && records[0].contains("fault=\"client\""));
    }

    let one = net::Config { connections_per_client_max: 1, exempt: Vec::new(), ..net::Config::default() };
    node.server.set_config(one);
    let mut first = node.client().await;
    assert_eq!(first.get("/a", &[]).await.status, 404);
    for _ in 0..3 {
        assert!(node.client().await.is_closed().await);
    }
    let told = lines.0.lock().unwrap().iter().filter(|line| line.contains("limits.exempt")).count();
    assert_eq!(told, 1);
    drop(first);
    node.stop().await;
}

#[tokio::test]
async fn no_record_tells_user_info() {
    let access = Access::default();
    let _listening = tracing::subscriber::set_default(tracing_subscriber::registry().with(access.clone()));
    let origin = Origin::start().await;
    let node = Node::start(&[&origin]).await;
    let mut client = node.client().await;
    for (target, host) in [
        ("/a?cacheHostOrigin=kim:hunter2@dl.example", "node"),
        ("/a?cacheHostOrigin=kim:hunter2%40dl.example", "node"),
        ("/a", "kim:hunter2@dl.example"),
        ("http://kim:hunter2@dl.example/a", "node"),
    ] {
        let answer = client.get(target, &[("Host", host)]).await;
        assert_eq!(answer.status, 400, "{host}{target}");
        assert_eq!(answer.body, b"the request is malformed: user info before a host is not allowed\n");
    }
    drop(client);
    node.server.drain(Duration::from_secs(5)).await;
    let records = access.0.lock().unwrap().clone();
    assert_eq!(records.len(), 4);
    assert!(records.iter().all(|record| record["why"].contains("user info")), "{records:#?}");
    assert!(!format!("{records:?}").contains("hunter2"), "{records:#?}");
    assert_eq!(records[2]["host"], "***@dl.example");
    node.fill.close().await;
    node.store.close().await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_is_recorded() {
    let access = Access::default();
    let _listening = tracing::subscriber::set_default(tracing_subscriber::registry().with(access.clone()));
    let origin = Origin::start().await;
    origin.put("/late.cab", Object::made(MIB, 11));
    origin.always("/late.cab", [Fault::Hang]);
    let node = Node::start(&[&origin]).await;
    let mut client = node.client().await;
    client.send("GET", &through(&origin, "/late.cab"), &[]).await;
    origin.wait_for(1).await;
    drop(client);
    node.server.drain(Duration::from_secs(5)).await;
    let records = access.0.lock().unwrap().clone();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!((records[0]["status"].as_str(), records[0]["ended"].as_str()), ("0", "cut"));
    node.fill.close().await;
    node.store.close().await.unwrap();
}

/// The one content file of a store.
fn content_file(data: &Path) -> PathBuf {
    let mut files = Vec::new();
    let mut folders = vec![data.join("store/content")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none() {
                files.push(path);
            }
        }
    }
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

#[tokio::test]
async fn cold_windows_are_brought_in() {
    const IN_MEMORY_ONLY: i64 = 0x0102_1994; // tmpfs(5): it has nowhere else to keep its pages.
    let node = Node::start(&[]).await;
    let all = Object::made(6 * MIB + 99, 15).all();
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("a"), &all).unwrap();
    let (name, target) = node.import(&files.path().join("a"), "cab").await;

    let content = std::fs::File::open(content_file(node.data.path())).unwrap();
    content.sync_all().unwrap();
    rustix::fs::fadvise(&content, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let held = node.store.find(&name).await.unwrap().unwrap().held;
    let never_cold = rustix::fs::fstatfs(&content).unwrap().f_type == IN_MEMORY_ONLY;
    assert!(never_cold || !held.resident(Span::new(2 * MIB, 3 * MIB)), "the payload is still in memory");

    let mut client = node.client().await;
    let piece = client.get(&target, &[("Range", "bytes=5242880-6291455")]).await;
    assert!(piece.status == 206 && piece.body == all[5 << 20..6 << 20]);
    let whole = client.get(&target, &[]).await;
    assert!(whole.status == 200 && whole.body == all);
    // What is asked for twice stays.
    let again = client.get(&target, &[]).await;
    assert!(again.status == 200 && again.body == all);
    assert!(held.resident(Span::new(0, all.len() as u64)));
    let several = client.get(&target, &[("Range", "bytes=0-9,2097152-4194303,-5")]).await;
    let spans = [Span::new(0, 10), Span::new(2 * MIB, 4 * MIB), Span::new(6 * MIB + 94, 6 * MIB + 99)];
    check_ranges(&several, "of a cold payload", &spans, &all);
    drop(held);
    node.stop().await;
}

#[tokio::test]
async fn what_clients_take_counts_held_or_not_and_a_byte_does_not() {
    let node = Node::start(&[]).await;
    let all = Object::made(100_000, 16).all();
    let catalog = node.store.catalog();
    made_catalog::import(&catalog, made_catalog::updates(&all), false).await;
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("a"), &all).unwrap();
    let (_, target) = node.import(&files.path().join("a"), "cab").await;
    let mut client = node.client().await;
    for _ in 0..20 {
        assert_eq!(client.get(&target, &[("Range", "bytes=7-7")]).await.status, 206);
    }
    assert_eq!(catalog.keep_asked().await.unwrap(), 0);
    let hit = client.get(&target, &[("Range", "bytes=0-69999")]).await;
    assert!(hit.header("cache-status").unwrap().contains("; hit"), "{:?}", hit.headers);
    // The record is written after the last byte.
    let kept = async {
        while catalog.keep_asked().await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), kept).await.expect("it is kept that somebody took it");
    node.stop().await;
}

#[tokio::test]
async fn what_an_endpoint_takes_is_counted_for_it_and_errors_are_not() {
    let origin = Origin::start().await;
    let node = Node::start(&[&origin]).await;
    let all = Object::made(100_000, 17).all();
    made_catalog::import(&node.store.catalog(), made_catalog::updates(&all), false).await;
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("a"), &all).unwrap();
    let (_, target) = node.import(&files.path().join("a"), "cab").await;
    let endpoint = Endpoint(UpdateId::new([1; 16]));
    let told = Registration {
        endpoint,
        name: "pc1.example".into(),
        os: Os::default(),
        maker: String::new(),
        model: String::new(),
        bios: Bios::default(),
        architecture: String::new(),
        client_version: String::new(),
        targets: vec![],
        address: [127, 0, 0, 1].into(),
        at: SystemClock.now(),
    };
    Registry::new(node.store.fleet(), Admission::default()).registered(told).await.unwrap();
    let hex = made_catalog::file(&all).sha1.to_string();
    let mut client = node.client().await;
    // The origin has no such object, and says so at length.
    let absent = client.get(&through(&origin, &format!("/c/x_{hex}.cab")), &[]).await;
    assert!(absent.status == 404 && !absent.body.is_empty(), "{absent:?}");
    for (range, status) in [("bytes=0-999", 206), ("bytes=200000-", 416), ("bytes=99990-", 206)] {
        assert_eq!(client.get(&target, &[("Range", range)]).await.status, status, "{range}");
    }
    // The record is written after the last byte.
    let sent = async {
        loop {
            node.store.fleet().keep_sent().await.unwrap();
            let own = node.store.fleet().sent_to(endpoint).await.unwrap().own;
            if own.iter().map(|one| one.bytes).sum::<u64>() >= 1_010 {
                break own;
            }
        }
    };
    let own = tokio::time::timeout(Duration::from_secs(20), sent).await.expect("it is counted");
    assert_eq!((own.len(), own[0].bytes), (1, 1_010));
    assert!(own[0].is_of(&made_catalog::file(&all).sha1));
    node.stop().await;
}

#[tokio::test]
async fn a_payload_that_cannot_be_read_is_an_error_and_a_suspicion() {
    let origin = Origin::start().await;
    let object = Object::made(4 * MIB, 12);
    origin.put("/a.cab", object.clone());
    let node = Node::start(&[&origin]).await;
    let target = through(&origin, "/a.cab");
    node.hold(&origin, "/a.cab").await;
    // What a bad disk does to a mapping: the pages behind the second window are gone, and cannot be brought in.
    let file = std::fs::OpenOptions::new().write(true).open(content_file(node.data.path())).unwrap();
    file.set_len(2 * MIB).unwrap();
    // What was seen in memory counts for 5 ms, and it was a moment ago.
    tokio::time::sleep(Duration::from_millis(50)).await;

    let mut client = node.client().await;
    let at_once = client.get(&target, &[("Range", "bytes=3145728-4194303")]).await;
    assert_eq!(at_once.status, 503);
    assert!(at_once.header("retry-after").is_some());
    let fine = client.get(&target, &[("Range", "bytes=0-1048575")]).await;
    assert!(fine.status == 206 && fine.body == object.bytes(Span::new(0, MIB)));
    let cut = client.get(&target, &[]).await;
    assert_eq!((cut.status, cut.whole), (200, false), "the connection is cut, nobody takes it for whole");
    assert!(cut.body.len() as u64 <= 2 * MIB && cut.body == object.bytes(Span::new(0, cut.body.len() as u64)));
    assert!(client.is_closed().await);

    let suspicions = node.suspicions.lock().unwrap().clone();
    assert!(suspicions.len() >= 2, "{suspicions:?}");
    assert_eq!(suspicions[0].span, Span::new(3 * MIB, 4 * MIB));
    node.stop().await;
}

/// The folder of recorded requests, if it is there.
fn recorded() -> Option<PathBuf> {
    let root = std::env::var_os("WAYSTATION_RECORDED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/protocol/data"), PathBuf::from);
    let folder = root.join("content-headers");
    folder.is_dir().then_some(folder)
}

/// What Delivery Optimization asked a WSUS, and what that answered, replayed against the node with files of the same sizes.
#[tokio::test]
async fn recorded_requests_are_answered_alike() {
    let Some(folder) = recorded() else {
        #[allow(clippy::print_stderr, reason = "whoever reads the test's output must see that it did not run")]
        {
            eprintln!("skipped: no recorded data; set WAYSTATION_RECORDED to the folder that holds content-headers");
        }
        return;
    };
    let node = Node::start(&[]).await;
    let files = tempfile::tempdir().unwrap();
    let mut paths: BTreeMap<u64, String> = BTreeMap::new();
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let folder = entry.unwrap().path();
        let request = std::fs::read_to_string(folder.join("request.headers")).unwrap();
        let theirs = std::fs::read_to_string(folder.join("response.headers")).unwrap();
        let field = |name: &str| {
            let of = |line: &str| line.split_once(": ").filter(|(field, _)| *field == name).map(|(_, v)| v.to_owned());
            theirs.lines().find_map(of)
        };
        let range = field("Content-Range").unwrap();
        let size: u64 = range.rsplit('/').next().unwrap().parse().unwrap();
        if let std::collections::btree_map::Entry::Vacant(vacant) = paths.entry(size) {
            let file = files.path().join(size.to_string());
            std::fs::File::create(&file).unwrap().set_len(size).unwrap();
            vacant.insert(node.import(&file, "exe").await.1);
        }
        // The same head byte for byte, but for the digest in the path.
        let (_, rest) = request.split_once(" HTTP/1.1\r\n").unwrap();
        let mut client = node.client().await;
        client.send_raw(format!("GET {} HTTP/1.1\r\n{rest}", paths[&size]).as_bytes()).await;
        let ours = client.answer(false).await;

        let what = folder.display();
        assert!(theirs.starts_with(&format!("HTTP/1.1 {} ", ours.status)), "{what}");
        assert_eq!(ours.header("content-range").unwrap(), range, "{what}");
        assert_eq!(ours.header("content-length"), field("Content-Length").as_deref(), "{what}");
        assert_eq!(ours.header("content-type"), field("Content-Type").as_deref(), "{what}");
        assert_eq!(ours.header("accept-ranges"), field("Accept-Ranges").as_deref(), "{what}");
        assert_eq!(ours.body.len().to_string(), field("Content-Length").unwrap(), "{what}");
        for date in ["date", "last-modified"] {
            httpdate::parse_http_date(ours.header(date).unwrap()).unwrap();
        }
        let tag = ours.header("etag").unwrap();
        assert!(tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        // Every field that the client saw there it sees here, but for the one that names the other server's framework.
        let names = ours.names();
        for line in theirs.lines().skip(1).filter_map(|line| line.split_once(": ")) {
            let name = line.0.to_ascii_lowercase();
            assert!(name == "x-powered-by" || names.contains(&name), "{what}: {name}");
        }
        replayed += 1;
    }
    assert!(replayed > 0, "the folder of recorded requests is empty");
    node.stop().await;
}
