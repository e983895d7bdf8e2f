//! Filling, end to end: the real store in a temporary directory, the real client, and a scripted origin over sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where by panicking")]

#[path = "fill/blame.rs"]
mod blame;
#[path = "fill/catalog.rs"]
mod catalog;
#[path = "fill/fairness.rs"]
mod fairness;
#[allow(dead_code, reason = "this binary needs no crash of the disk, only its faults")]
#[path = "support/fault_disk.rs"]
mod fault_disk;
#[path = "support/origin.rs"]
mod origin;
#[path = "fill/versions.rs"]
mod versions;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fault_disk::{FaultDisk, Faults};
use origin::{Fault, Object, Origin};
use sha1::Digest as _;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use waystation::base::digest::{Digest, Sha1, Sha256};
use waystation::base::disk::{Disk, RealDisk};
use waystation::base::limits::PIECE;
use waystation::base::span::{Span, SpanSet};
use waystation::base::time::{Clock, SystemClock, Timestamp};
use waystation::fill::{
    Ask, Complete, Config, Error, Facts, Fill, Flight, Obtained, Passed, Refusal, Target, Verify, Want,
};
use waystation::model::name::Name;
use waystation::model::origin::AllowList;
use waystation::model::outcome::{CacheStatus, Detail, Outcome};
use waystation::model::payload::{Authority, Class, Location, Published, Standing, Validators};
use waystation::pace::{self, Governor};
use waystation::store::{self, Found, Store};
use waystation::upstream::{self, Proxy, Upstream};

/// A clock that stands until it is moved.
#[derive(Debug)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.load(Ordering::Relaxed))
    }
}

/// What a test may set.
#[derive(Clone)]
struct Setup {
    fill: Config,
    max_size: u64,
    stall: Duration,
    patience: Duration,
    pace: Governor,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            fill: Config::default(),
            max_size: 4 << 30,
            stall: Duration::from_millis(700),
            patience: Duration::from_secs(2),
            pace: Governor::default(),
        }
    }
}

struct Node {
    fill: Fill,
    store: Store,
    clock: Arc<Hand>,
}

impl Node {
    fn open(dir: &Path, setup: Setup, origins: &[&Origin]) -> Self {
        Self::open_on(Arc::new(RealDisk), dir, setup, origins)
    }

    fn open_on(disk: Arc<dyn Disk>, dir: &Path, setup: Setup, origins: &[&Origin]) -> Self {
        let entries: Vec<String> = origins.iter().map(|origin| origin.entry()).collect();
        let allow = Arc::new(AllowList::new(&entries).unwrap());
        let clock = Arc::new(Hand(AtomicU64::new(1_800_000_000_000)));
        let config = store::Config {
            path: dir.to_owned(),
            max_size: setup.max_size,
            min_free: 0,
            unproven: Duration::from_hours(30 * 24),
            index_cache: 8 << 20,
            open_payloads: 64,
            io_threads: 2,
        };
        let (store, _) = Store::open(config, disk, clock.clone()).unwrap();
        let config = upstream::Config {
            proxy: Proxy::default(),
            extra_ca: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            stall_timeout: setup.stall,
            patience: setup.patience,
            node: "ws-test".to_owned(),
            hops_max: 4,
            own_addresses: Vec::new(),
        };
        let source = Arc::new(Upstream::paced(config, Arc::clone(&allow), setup.pace).unwrap());
        let fill = Fill::new(setup.fill, store.clone(), source, allow, clock.clone());
        Self { fill, store, clock }
    }

    /// With a source in the place of origins, of which `dl.example.org` may be asked.
    fn asking(dir: &Path, config: Config, source: Arc<dyn upstream::Source>) -> Self {
        let mut node = Self::open(dir, Setup::default(), &[]);
        let allow = Arc::new(AllowList::new(&["dl.example.org".to_owned()]).unwrap());
        node.fill = Fill::new(config, node.store.clone(), source, allow, node.clock.clone());
        node
    }

    /// A path at `dl.example.org`.
    fn at_example(&self, path: &str) -> Target {
        self.fill.locate(&Ask { host: Some("dl.example.org"), path, query: None, via: None }).unwrap()
    }

    async fn close(self) {
        self.fill.close().await;
        self.store.close().await.unwrap();
    }

    fn target(&self, origin: &Origin, path: &str) -> Target {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = format!("{query}&cacheHostOrigin={}", origin.address());
        let query = query.trim_start_matches('&').to_owned();
        self.fill.locate(&Ask { host: Some("node:3698"), path, query: Some(&query), via: None }).unwrap()
    }

    fn by_digest(&self, path: &str) -> Target {
        self.fill.locate(&Ask { host: Some("node:3698"), path, query: None, via: None }).unwrap()
    }

    async fn fly(&self, target: &Target, want: Want) -> (Facts, Flight, CacheStatus) {
        match self.fill.obtain(target, want).await.unwrap() {
            Obtained::Flying { facts, flight, status } => (facts, flight, status),
            other => panic!("a flight was due, got {other:?}"),
        }
    }

    async fn hold(&self, target: &Target) -> (Found, CacheStatus) {
        let mut obtained = self.fill.obtain(target, whole()).await.unwrap();
        if matches!(obtained, Obtained::Flying { .. }) {
            // A flight whose bytes have all left may still be on its way to its end.
            drop(obtained);
            self.fill.prefetch(target).await.unwrap();
            obtained = self.fill.obtain(target, whole()).await.unwrap();
        }
        match obtained {
            Obtained::Held { found, status } => (found, status),
            other => panic!("a held payload was due, got {other:?}"),
        }
    }

    /// As a server would: the bytes of `span` (cut to the object), from wherever they come.
    async fn get(&self, target: &Target, span: Option<Span>, client: IpAddr) -> Result<Vec<u8>, Error> {
        let want = span.map_or(whole(), |span| Want {
            head: false,
            first: span.start(),
            last: Some(span.end() - 1),
            exact: true,
            client,
            ..whole()
        });
        match self.fill.obtain(target, want).await? {
            Obtained::Held { found, .. } => Ok(read_held(&found, span).await),
            Obtained::Flying { facts, flight, .. } => {
                read(&flight, span.unwrap_or(Span::new(0, facts.size)), client).await.1
            }
            Obtained::Passed(passed) => Ok(read_passed(passed).await),
        }
    }

    async fn until_held(&self, target: &Target) -> Found {
        self.fill.prefetch(target).await.unwrap()
    }
}

fn whole() -> Want {
    Want {
        head: false,
        first: 0,
        last: None,
        exact: false,
        client: client(1),
        until: Instant::now() + Config::default().silence,
    }
}

fn part(span: Span) -> Want {
    Want { head: false, first: span.start(), last: Some(span.end() - 1), exact: true, ..whole() }
}

fn head() -> Want {
    Want { head: true, ..whole() }
}

fn client(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

/// All bytes that a tail gave, and how it ended.
async fn read(flight: &Flight, span: Span, client: IpAddr) -> (Vec<u8>, Result<Vec<u8>, Error>) {
    let mut tail = flight.tail(span, client);
    let mut all = Vec::new();
    while let Some(next) = tail.next().await {
        match next {
            Ok(bytes) => all.extend_from_slice(&bytes),
            Err(error) => return (all, Err(error)),
        }
    }
    (all.clone(), Ok(all))
}

async fn read_held(found: &Found, span: Option<Span>) -> Vec<u8> {
    let span = span.unwrap_or(Span::new(0, found.held.payload().size));
    found.held.populate(span).await.unwrap();
    found.held.window(span).to_vec()
}

async fn read_passed(passed: Passed) -> Vec<u8> {
    let (mut all, mut body) = (Vec::new(), passed.body.unwrap());
    while let Some(bytes) = body.next().await.unwrap() {
        all.extend_from_slice(&bytes);
    }
    all
}

fn same(got: &[u8], due: &[u8]) {
    assert!(got == due, "{} bytes came, {} were due, or they differ", got.len(), due.len());
}

fn sha1_of(bytes: &[u8]) -> Sha1 {
    Sha1::new(sha1::Sha1::digest(bytes).into())
}

fn sha256_of(bytes: &[u8]) -> Sha256 {
    Sha256::new(sha2::Sha256::digest(bytes).into())
}

fn operator(sha256: Sha256) -> Published {
    Published::one(Digest::Sha256(sha256), Authority::Operator)
}

/// Spans of one piece, in an order that the seed decides.
fn shuffled(size: u64, mut seed: u64) -> Vec<Span> {
    let mut pieces: Vec<Span> =
        (0..size.div_ceil(PIECE)).map(|piece| Span::at(piece * PIECE, PIECE).intersect(&Span::new(0, size))).collect();
    for place in (1..pieces.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        pieces.swap(place, usize::try_from((seed >> 33) % (place as u64 + 1)).unwrap());
    }
    pieces
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_clients_in_shuffled_ranges_cost_each_byte_once() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let size = 40 * PIECE + 12_345;
    let object = Object::made(size, 3);
    origin.put("/a.cab", object.clone());
    let node = Arc::new(Node::open(dir.path(), Setup::default(), &[&origin]));
    let target = node.target(&origin, "/a.cab");
    let mut clients = JoinSet::new();
    for number in 1..=8_u8 {
        let pieces = shuffled(size, u64::from(number));
        for connection in 0..7 {
            let (node, target, object) = (Arc::clone(&node), target.clone(), object.clone());
            let mine: Vec<Span> = pieces.iter().skip(connection).step_by(7).copied().collect();
            clients.spawn(async move {
                for span in mine {
                    same(&node.get(&target, Some(span), client(number)).await.unwrap(), &object.bytes(span));
                }
            });
        }
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let found = node.until_held(&target).await;
    assert_eq!(found.held.payload().digests.sha256, sha256_of(&object.all()));
    assert_eq!(found.held.payload().class, Class::Unproven);
    assert_eq!(origin.sent("/a.cab"), size, "each byte once");
    assert_eq!(node.store.ledger().total().fetched, size);
    let (_, status) = node.hold(&target).await;
    assert_eq!(status.to_string(), "waystation; hit; detail=unproven");
    assert!(node.fill.flights().is_empty());
}

#[tokio::test]
async fn the_flight_outlives_the_client_that_started_it() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(3 * PIECE, 1);
    origin.put("/a", object.clone());
    origin.always("/a", [Fault::Delay(Duration::from_millis(200))]);
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/a");
    // The first client goes away before there is an answer; another one has joined meanwhile.
    let fill = node.fill.clone();
    let (asked, other) = (target.clone(), target.clone());
    let starter = tokio::spawn(async move { fill.obtain(&asked, whole()).await });
    origin.wait_for(1).await;
    let fill = node.fill.clone();
    let joiner = tokio::spawn(async move { fill.obtain(&other, whole()).await });
    starter.abort();
    let Obtained::Flying { facts, flight, status } = joiner.await.unwrap().unwrap() else {
        panic!("a flight was due");
    };
    assert_eq!((status.outcome, status.detail), (Outcome::Miss, Some(Detail::Streaming)));
    assert_eq!((facts.size, facts.tag.as_str()), (3 * PIECE, "made-3145728-1"));
    // A tail that is dropped half way withdraws nobody else.
    let mut half = flight.tail(Span::new(0, facts.size), client(1));
    assert!(half.next().await.unwrap().is_ok());
    let other = flight.tail(Span::new(0, facts.size), client(2));
    drop(half);
    drop(other);
    let (_, all) = read(&flight, Span::new(0, facts.size), client(3)).await;
    same(&all.unwrap(), &object.all());
    assert_eq!(origin.sent("/a"), object.len());
}

#[tokio::test]
async fn wrong_bytes_cut_every_response_and_the_next_flight_has_another_tag() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(5 * PIECE + 77, 9);
    origin.put("/a", object.clone());
    origin.always("/a", [Fault::Altered(2_000_000)]);
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let digest = sha256_of(&object.all());
    let location = Location { url: origin.url("/a"), standing: Standing::Allowed };
    let name = Name::Digest(Digest::Sha256(digest));
    node.store.expect(&name, operator(digest), vec![location]).await.unwrap();
    let target = node.by_digest(&format!("/sha256/{digest}"));
    let (facts, flight, _) = node.fly(&target, whole()).await;
    assert_eq!(facts.tag, format!("sha256-{digest}"));
    let all = Span::new(0, facts.size);
    let (one, two, last) = tokio::join!(
        read(&flight, all, client(1)),
        read(&flight, all, client(2)),
        read(&flight, Span::new(5 * PIECE, facts.size), client(3)),
    );
    for (got, end) in [&one, &two] {
        assert!(got.len() < usize::try_from(facts.size).unwrap(), "no client gets all of a wrong file");
        assert!(matches!(end, Err(Error::Mismatch { .. })), "{end:?}");
    }
    assert!(last.1.is_ok() || matches!(last.1, Err(Error::Mismatch { .. })));
    drop(flight);
    origin.always("/a", []);
    let (facts, flight, status) = node.fly(&target, whole()).await;
    assert_eq!(facts.tag, format!("sha256-{digest}-2"));
    assert_eq!(status.outcome, Outcome::Miss, "nothing of the wrong draft is used");
    let (_, all) = read(&flight, all, client(1)).await;
    same(&all.unwrap(), &object.all());
    let found = node.until_held(&target).await;
    assert_eq!((found.held.payload().class, found.alias.tag.clone()), (Class::Proven, format!("sha256-{digest}-2")));
}

#[tokio::test]
async fn strict_lets_nothing_out_before_the_proof() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(2 * PIECE, 4);
    origin.put("/a", object.clone());
    origin.next("/a", [Fault::Altered(PIECE)]);
    origin.next("/a", [Fault::Altered(0)]);
    origin.always("/a", [Fault::Altered(0)]);
    let setup = Setup { fill: Config { verify: Verify::Strict, ..Config::default() }, ..Setup::default() };
    let node = Node::open(dir.path(), setup, &[&origin]);
    let digest = sha256_of(&object.all());
    let target = node.target(&origin, "/a");
    node.store.expect(&target.name, operator(digest), Vec::new()).await.unwrap();
    let (facts, flight, _) = node.fly(&target, whole()).await;
    let (got, end) = read(&flight, Span::new(0, facts.size), client(1)).await;
    assert!(got.is_empty() && matches!(end, Err(Error::Mismatch { .. })), "{} bytes, {end:?}", got.len());
    drop(flight);
    origin.always("/a", []);
    same(&node.get(&target, None, client(1)).await.unwrap(), &object.all());
}

#[tokio::test]
async fn an_object_that_changes_in_mid_flight_is_never_mixed() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let old = Object::made(6 * PIECE, 1);
    let new = Object::made(6 * PIECE, 2);
    origin.put("/a", old.clone());
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/a");
    origin.next("/a", []);
    origin.next("/a", [Fault::Replace(new.clone())]);
    let (facts, flight, _) = node.fly(&target, whole()).await;
    assert_eq!(facts.tag, "made-6291456-1");
    let (got, end) = read(&flight, Span::new(0, facts.size), client(1)).await;
    assert!(end.is_err());
    same(&got, &old.all()[..got.len()]);
    drop(flight);
    let (facts, flight, _) = node.fly(&target, whole()).await;
    assert_eq!(facts.tag, "made-6291456-2");
    let (_, all) = read(&flight, Span::new(0, facts.size), client(1)).await;
    same(&all.unwrap(), &new.all());
}

#[tokio::test]
async fn versions_that_nothing_tells_apart_are_never_mixed() {
    let (old, new) = (Object::made(3 * PIECE, 1), Object::made(3 * PIECE, 2));
    let weak = Fault::Header("ETag", "W/\"a\"".to_owned());
    for faults in [vec![Fault::NoValidators], vec![Fault::NoValidators, weak]] {
        // An origin whose speed nobody knows yet, so that its object is not asked for in one go.
        let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
        let node = Node::open(dir.path(), Setup::default(), &[&origin]);
        let target = node.target(&origin, "/a");
        origin.put("/a", old.clone());
        origin.always("/a", faults.clone());
        origin.next("/a", faults.clone());
        origin.next("/a", faults.iter().cloned().chain([Fault::Replace(new.clone())]));
        same(&node.get(&target, None, client(1)).await.unwrap(), &new.all());
        node.until_held(&target).await;
    }
    // Cut in the middle, it begins anew: no answer goes on where another one ended.
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/c");
    origin.put("/c", old.clone());
    origin.always("/c", [Fault::NoValidators]);
    origin.next("/c", [Fault::NoValidators]);
    origin.next("/c", [Fault::NoValidators, Fault::TruncateAt(2 * PIECE)]);
    origin.next("/c", [Fault::NoValidators, Fault::Replace(new.clone())]);
    // Where the cut came before anybody was told anything, the first client already gets the new answer.
    let all = match node.get(&target, None, client(1)).await {
        Err(_) => node.get(&target, None, client(1)).await.unwrap(),
        Ok(all) => all,
    };
    same(&all, &new.all());
}

#[tokio::test]
async fn an_object_that_keeps_changing_is_passed_through() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let size = 6 * PIECE;
    origin.put("/a", Object::made(size, 0));
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/a");
    for seed in 1..=4 {
        // However much was asked for at first, a second question is needed.
        origin.next("/a", [Fault::TruncateAt(PIECE)]);
        origin.next("/a", [Fault::Replace(Object::made(size, seed))]);
        let (facts, flight, _) = node.fly(&target, whole()).await;
        assert!(read(&flight, Span::new(0, facts.size), client(1)).await.1.is_err());
    }
    match node.fill.obtain(&target, whole()).await.unwrap() {
        Obtained::Passed(passed) => same(&read_passed(passed).await, &Object::made(size, 4).all()),
        other => panic!("passed through, not {other:?}"),
    }
}

#[tokio::test]
async fn an_origin_that_ignores_range_is_read_once_for_all() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(4 * PIECE, 8);
    origin.put("/a", object.clone());
    origin.always("/a", [Fault::IgnoreRange]);
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/a");
    let late = Span::new(3 * PIECE, 4 * PIECE);
    let (facts, flight, _) = node.fly(&target, part(late)).await;
    assert_eq!(facts.size, object.len());
    let (one, two) = tokio::join!(read(&flight, late, client(1)), read(&flight, Span::new(0, facts.size), client(2)),);
    same(&one.1.unwrap(), &object.bytes(late));
    same(&two.1.unwrap(), &object.all());
    assert_eq!((origin.sent("/a"), origin.ranges("/a").len()), (object.len(), 1));
}

#[tokio::test]
async fn an_origin_that_sends_no_length_is_passed_through() {
    for fault in [Fault::Chunked, Fault::NoLength] {
        let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
        let object = Object::made(300_000, 8);
        origin.put("/a", object.clone());
        origin.always("/a", [fault, Fault::IgnoreRange]);
        let node = Node::open(dir.path(), Setup::default(), &[&origin]);
        let target = node.target(&origin, "/a");
        match node.fill.obtain(&target, whole()).await.unwrap() {
            Obtained::Passed(passed) => {
                assert_eq!((passed.status, passed.size), (200, None));
                same(&read_passed(passed).await, &object.all());
            }
            other => panic!("passed through, not {other:?}"),
        }
        assert_eq!(origin.ranges("/a").len(), 1, "the answer that showed it is the one that is passed on");
        assert!(node.store.find(&target.name).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn errors_of_the_origin_pass_through_and_are_not_kept() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    for status in [404, 410, 401, 403] {
        origin.next("/a", [Fault::Status(status)]);
        let target = node.target(&origin, "/a");
        match node.fill.obtain(&target, whole()).await {
            Err(Error::Origin(_, told)) => assert_eq!(told, status),
            other => panic!("{status} was due, got {other:?}"),
        }
    }
    origin.put("/a", Object::made(1000, 1));
    let target = node.target(&origin, "/a");
    assert_eq!(node.get(&target, None, client(1)).await.unwrap().len(), 1000, "no error was kept");
    origin.always("/b", [Fault::Status(503)]);
    let target = node.target(&origin, "/b");
    let error = node.fill.obtain(&target, whole()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }) && error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn a_refusal_goes_only_to_the_client_whose_own_address_got_it() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(3 * PIECE, 5);
    origin.put("/b", object.clone());
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let digest = sha256_of(&object.all());
    let (a, b) = (node.target(&origin, "/a?sig=old"), node.target(&origin, "/b?sig=new"));
    for target in [&a, &b] {
        node.store.expect(&target.name, operator(digest), Vec::new()).await.unwrap();
    }
    // Both are refused: each hears what its own address got.
    origin.next("/a", [Fault::Delay(Duration::from_millis(150)), Fault::Status(403)]);
    origin.next("/b", [Fault::Status(404)]);
    let (one, two) = tokio::join!(node.fill.obtain(&a, whole()), node.fill.obtain(&b, whole()));
    assert!(matches!(one, Err(Error::Origin(_, 403))), "{one:?}");
    assert!(matches!(two, Err(Error::Origin(_, 404))), "{two:?}");
    // One works: it serves both, and is asked first from then on.
    origin.always("/a", [Fault::Delay(Duration::from_millis(150)), Fault::Status(403)]);
    let (one, two) = tokio::join!(node.get(&a, None, client(1)), node.get(&b, None, client(2)));
    same(&one.unwrap(), &object.all());
    same(&two.unwrap(), &object.all());
    assert_eq!(origin.sent("/b"), object.len());
}

#[tokio::test]
async fn silence_is_answered_and_the_flight_goes_on() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(2000, 1);
    origin.put("/a", object.clone());
    origin.next("/a", [Fault::Delay(Duration::from_millis(600))]);
    let setup = Setup {
        fill: Config { silence: Duration::from_millis(150), ..Config::default() },
        stall: Duration::from_secs(5),
        patience: Duration::from_secs(10),
        ..Setup::default()
    };
    let node = Node::open(dir.path(), setup, &[&origin]);
    let target = node.target(&origin, "/a");
    let soon = Want { until: Instant::now() + node.fill.silence(), ..whole() };
    match node.fill.obtain(&target, soon).await {
        Err(Error::Unavailable { retry_after, .. }) => assert!(retry_after > Duration::ZERO),
        other => panic!("503 was due, got {other:?}"),
    }
    assert_eq!(node.fill.flights().len(), 1);
    node.until_held(&target).await;
    assert_eq!(origin.ranges("/a").len(), 1, "the first question was not given up");
}

#[tokio::test]
async fn a_dead_origin_leaves_the_held_to_be_served() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(100_000, 1).header("Cache-Control", "max-age=60");
    origin.put("/a", object.clone());
    let setup = Setup { patience: Duration::from_millis(300), ..Setup::default() };
    let node = Node::open(dir.path(), setup, &[&origin]);
    let target = node.target(&origin, "/a");
    node.until_held(&target).await;
    // Fresh: nobody is asked.
    let asked = origin.log().len();
    assert_eq!(node.hold(&target).await.1.outcome, Outcome::Hit);
    assert_eq!(origin.log().len(), asked);
    // Stale: a 304 makes it fresh again.
    node.clock.0.fetch_add(61_000, Ordering::Relaxed);
    assert_eq!(node.hold(&target).await.1.to_string(), "waystation; fwd=stale; detail=unproven");
    assert_eq!(origin.log().len(), asked + 1);
    assert_eq!(node.hold(&target).await.1.outcome, Outcome::Hit);
    // Stale and nobody answers.
    node.clock.0.fetch_add(61_000, Ordering::Relaxed);
    drop(origin);
    let (found, status) = node.hold(&target).await;
    assert_eq!(status.outcome, Outcome::Stale);
    same(&read_held(&found, None).await, &object.all());
}

#[tokio::test]
async fn a_new_version_replaces_the_stale_one() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let old = Object::made(3 * PIECE, 1).header("Cache-Control", "max-age=60");
    let new = Object::made(3 * PIECE + 5, 2).header("Cache-Control", "max-age=60");
    origin.put("/a", old);
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/a");
    node.until_held(&target).await;
    origin.put("/a", new.clone());
    node.clock.0.fetch_add(61_000, Ordering::Relaxed);
    let before = origin.sent("/a");
    same(&node.get(&target, None, client(1)).await.unwrap(), &new.all());
    node.until_held(&target).await;
    assert_eq!(node.hold(&target).await.0.held.payload().size, new.len());
    assert_eq!(origin.sent("/a") - before, new.len(), "the answer that told of it was the first of the flight");
}

#[tokio::test]
async fn a_restart_goes_on_where_the_draft_ends() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(100 * PIECE, 6);
    origin.put("/a", object.clone());
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/a");
    let early = Span::new(0, 20 * PIECE);
    same(&node.get(&target, Some(early), client(1)).await.unwrap(), &object.bytes(early));
    node.close().await;
    let before = origin.sent("/a");
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let drafts = node.store.drafts().await.unwrap();
    let covered = drafts.iter().map(|(_, covered)| covered).sum::<u64>();
    // What was on its way when the node closed is lost, and nothing that was in.
    assert!(covered >= early.len() && before - covered <= 8 * PIECE, "{covered} of {before}");
    let (facts, flight, status) = node.fly(&target, part(early)).await;
    assert_eq!((status.outcome, facts.tag.as_str()), (Outcome::Partial, "made-104857600-6"));
    let (_, all) = read(&flight, early, client(1)).await;
    same(&all.unwrap(), &object.bytes(early));
    assert_eq!(origin.sent("/a"), before, "what was in is not asked for again");
    drop(flight);
    let found = node.until_held(&target).await;
    assert_eq!(found.held.payload().digests.sha256, sha256_of(&object.all()));
    assert_eq!(origin.sent("/a") - before, object.len() - covered, "and what is in is not asked for again");
}

#[tokio::test]
async fn a_part_of_a_large_object_costs_little_more_than_the_part() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(1 << 30, 6);
    origin.put("/a", object.clone());
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/a");
    let mut asked = SpanSet::new();
    for span in shuffled(object.len(), 2).into_iter().take(24) {
        same(&node.get(&target, Some(span), client(1)).await.unwrap(), &object.bytes(span));
        asked.insert(span);
    }
    node.fill.close().await;
    assert!(origin.sent("/a") <= asked.total() * 9 / 8, "{} for {}", origin.sent("/a"), asked.total());
}

#[tokio::test]
async fn a_head_fetches_nothing_and_fixes_the_tag() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let object = Object::made(2 * PIECE, 6).etag("").last_modified(date);
    origin.put("/a", object.clone());
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/a");
    let (facts, flight, _) = node.fly(&target, head()).await;
    assert_eq!((facts.size, facts.last_modified.as_deref()), (object.len(), Some(date)));
    assert!(facts.tag.len() == 32 && facts.tag.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", facts.tag);
    drop(flight);
    assert_eq!((origin.sent("/a"), origin.log()[0].method.as_str()), (0, "HEAD"));
    assert!(node.store.drafts().await.unwrap().is_empty(), "nobody wants a byte of it");
    assert_eq!(std::fs::read_dir(dir.path().join("drafts")).unwrap().count(), 0);
    // Nor does the flight stay for long; what was told does.
    tokio::time::pause();
    let left = Instant::now();
    while !node.fill.flights().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(left.elapsed() < Duration::from_secs(5));
    tokio::time::resume();
    let (again, flight, _) = node.fly(&target, whole()).await;
    assert_eq!(again.tag, facts.tag, "the tag of the first answer stays");
    let (_, all) = read(&flight, Span::new(0, again.size), client(1)).await;
    same(&all.unwrap(), &object.all());
    drop(flight);
    assert_eq!(node.until_held(&target).await.alias.tag, facts.tag);
}

#[tokio::test]
async fn after_a_head_bytes_come_whatever_the_disk_does() {
    let object = Object::made(2 * PIECE, 6);
    for full in [false, true] {
        let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
        origin.put("/a", object.clone());
        let disk = FaultDisk::new(dir.path());
        let node = Node::open_on(Arc::new(disk.clone()), dir.path(), Setup::default(), &[&origin]);
        let target = node.target(&origin, "/a");
        node.store.expect(&target.name, operator(sha256_of(&object.all())), Vec::new()).await.unwrap();
        let (facts, flight, _) = node.fly(&target, head()).await;
        if full {
            disk.set_faults(Faults { full_below: Some(dir.path().join("drafts")), ..Faults::default() });
        }
        let (_, all) = read(&flight, Span::new(0, facts.size), client(1)).await;
        same(&all.unwrap(), &object.all());
        drop(flight);
        if full {
            // Wrong bytes do not end well there either.
            origin.always("/a", [Fault::Altered(PIECE)]);
            let (facts, flight, _) = node.fly(&target, head()).await;
            let (_, end) = read(&flight, Span::new(0, facts.size), client(1)).await;
            assert!(matches!(end, Err(Error::Mismatch { .. })), "{end:?}");
        } else {
            assert_eq!(node.until_held(&target).await.held.payload().class, Class::Proven);
        }
    }
}

#[tokio::test]
async fn what_a_head_was_told_is_told_again_while_it_is_fresh() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let object = Object::made(2 * PIECE, 6).etag("").last_modified(date).header("Cache-Control", "max-age=60");
    origin.put("/a", object.clone());
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/a");
    let mut tags = Vec::new();
    for asked in [1, 1, 2] {
        if asked == 2 {
            node.clock.0.fetch_add(61_000, Ordering::Relaxed);
        }
        let (facts, flight, _) = node.fly(&target, head()).await;
        assert_eq!(origin.log().len(), asked);
        tags.push(facts.tag);
        drop(flight);
        tokio::time::pause();
        while !node.fill.flights().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::resume();
    }
    assert_eq!((&tags[0], &tags[0]), (&tags[1], &tags[2]));
    // Another version is another tag.
    origin.put("/a", object.last_modified("Mon, 07 Nov 1994 08:49:37 GMT"));
    assert_ne!(node.fly(&target, whole()).await.0.tag, tags[0]);
}

#[tokio::test]
async fn an_empty_object_is_proven_before_anybody_hears_of_it() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    origin.put("/a", Object::given(Vec::new()));
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/a");
    assert_eq!(node.hold(&target).await.0.held.payload().size, 0);
    let wrong = node.target(&origin, "/b");
    origin.put("/b", Object::given(Vec::new()));
    node.store.expect(&wrong.name, operator(sha256_of(b"something")), Vec::new()).await.unwrap();
    assert!(matches!(node.fill.obtain(&wrong, whole()).await, Err(Error::Mismatch { .. })));
}

#[tokio::test]
async fn a_stalled_origin_gives_way_to_the_next_place() {
    let (dir, first, second) = (tempfile::tempdir().unwrap(), Origin::start().await, Origin::start().await);
    let object = Object::made(4 * PIECE, 6);
    first.put("/a", object.clone());
    second.put("/b", object.clone());
    first.next("/a", []);
    first.always("/a", [Fault::StallAt(10_000)]);
    let setup = Setup { stall: Duration::from_millis(200), patience: Duration::from_millis(500), ..Setup::default() };
    let node = Node::open(dir.path(), setup, &[&first, &second]);
    let sha1 = sha1_of(&object.all());
    let name = Name::Digest(Digest::Sha1(sha1));
    let places = [first.url("/a"), second.url("/b")].map(|url| Location { url, standing: Standing::Allowed });
    let published = Published::one(Digest::Sha1(sha1), Authority::Operator);
    node.store.expect(&name, published, places.to_vec()).await.unwrap();
    let hex = sha1.to_string();
    let target = node.by_digest(&format!("/content/{}/{}.PSF", &hex[38..], hex.to_uppercase()));
    same(&node.get(&target, None, client(1)).await.unwrap(), &object.all());
    assert_eq!(node.until_held(&target).await.held.payload().class, Class::Proven);
    assert!(second.sent("/b") > 0 && first.sent("/a") > 0);
    assert!(
        first.sent("/a") + second.sent("/b") <= object.len() + 8 * 10_000 + 4 * (256 << 10),
        "little was asked twice"
    );
}

#[tokio::test]
async fn a_host_that_is_left_alone_is_waited_for() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let (address, object) = (origin.address(), Object::made(100 * PIECE, 1));
    origin.put("/a", object.clone());
    let fill = Config { complete: Complete::Never, ..Config::default() };
    let setup = Setup { fill, patience: Duration::from_millis(100), ..Setup::default() };
    let node = Node::open(dir.path(), setup, &[&origin]);
    let (target, other) = (node.target(&origin, "/a"), node.target(&origin, "/b"));
    let first = Span::new(0, 1000);
    let (_, flight, _) = node.fly(&target, part(first)).await;
    same(&read(&flight, first, client(1)).await.1.unwrap(), &object.bytes(first));
    // The host goes away, others find that out, and the node leaves it alone.
    drop(origin);
    for _ in 0..4 {
        assert!(node.get(&other, None, client(2)).await.is_err());
    }
    let last = Span::new(99 * PIECE, 100 * PIECE);
    let mut tail = flight.tail(last, client(1));
    let next = tokio::time::timeout(Duration::from_millis(700), tail.next()).await;
    assert!(next.is_err(), "the tail waits, {next:?}");
    let origin = Origin::start_at(address).await;
    origin.put("/a", object.clone());
    drop(tail);
    same(&read(&flight, last, client(1)).await.1.unwrap(), &object.bytes(last));
}

#[tokio::test]
async fn a_circle_is_told_at_once_and_joins_no_flight() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    origin.put("/a", Object::made(1000, 1));
    origin.next("/a", [Fault::Delay(Duration::from_secs(1))]);
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/a");
    let waiting = tokio::spawn({
        let (fill, target) = (node.fill.clone(), target.clone());
        async move { fill.obtain(&target, whole()).await.map(|_| ()) }
    });
    origin.wait_for(1).await;
    let again = Target { via: Some("1.1 other, 1.1 ws-test".to_owned()), ..target };
    let error = tokio::time::timeout(Duration::from_millis(500), node.fill.obtain(&again, whole())).await;
    assert!(matches!(error, Ok(Err(Error::Origin(_, 508)))), "{error:?}");
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_range_beyond_any_object_harms_nobody() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(1000, 1);
    origin.put("/a", object.clone());
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/a");
    let (facts, flight, _) = node.fly(&target, Want { first: u64::MAX, exact: true, ..whole() }).await;
    assert_eq!(facts.size, object.len());
    same(&read(&flight, Span::new(0, 1000), client(1)).await.1.unwrap(), &object.all());
}

#[tokio::test]
async fn a_digest_that_becomes_known_changes_no_tag() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(40 * PIECE, 6).etag("\"by-origin\"");
    origin.put("/a", object.clone());
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/a");
    let first = Span::new(0, PIECE);
    same(&node.get(&target, Some(first), client(1)).await.unwrap(), &object.bytes(first));
    node.close().await;
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let digest = sha256_of(&object.all());
    node.store.expect(&target.name, operator(digest), Vec::new()).await.unwrap();
    let (facts, flight, _) = node.fly(&target, part(first)).await;
    assert_eq!(facts.tag, "by-origin");
    drop(flight);
    node.until_held(&target).await;
    assert_eq!(node.hold(&target).await.0.alias.tag, "by-origin");
    let by_digest = node.by_digest(&format!("/sha256/{digest}"));
    assert_eq!(node.hold(&by_digest).await.0.alias.tag, format!("sha256-{digest}"));
}

#[tokio::test]
async fn names_of_a_held_payload_are_written_down_up_to_a_limit() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(1000, 6);
    origin.put("/a", object.clone());
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let digest = sha256_of(&object.all());
    let bind = async |number: usize| {
        let target = node.target(&origin, &format!("/a?n={number}"));
        node.store.expect(&target.name, operator(digest), Vec::new()).await.unwrap();
        target
    };
    node.until_held(&bind(0).await).await;
    for number in 1..100 {
        let target = bind(number).await;
        same(&node.get(&target, None, client(1)).await.unwrap(), &object.all());
    }
    let listed = node.store.show(&Name::Digest(Digest::Sha256(digest))).await.unwrap().unwrap();
    assert!((32..=64).contains(&listed.names.len()), "{}", listed.names.len());
}

#[tokio::test]
async fn user_info_is_refused_and_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path(), Setup::default(), &[]);
    for (host, path, query) in [
        ("kim:hunter2@dl.example.org", "/a", None),
        ("kim:hunter2@node", "/sha256/00", None),
        ("node", "/a", Some("cacheHostOrigin=kim:hunter2@dl.example.org")),
        ("node", "/a", Some("cacheHostOrigin=kim%3ahunter2%40dl.example.org")),
        ("node", "/a", Some("cacheHostOrigin=kim:hunter2@dl.example.org%")),
    ] {
        let refused = node.fill.locate(&Ask { host: Some(host), path, query, via: None }).unwrap_err();
        let text = refused.to_string();
        assert!(matches!(refused, Refusal::Malformed { .. }) && !text.contains("hunter2"), "{host}{path}: {text}");
    }
}

#[tokio::test]
async fn a_digest_unknown_to_everybody_is_no_source() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path(), Setup::default(), &[]);
    let target = node.by_digest(&format!("/sha256/{}", "ab".repeat(32)));
    assert!(matches!(node.fill.obtain(&target, whole()).await, Err(Error::Nowhere)));
}

#[tokio::test]
async fn one_payload_is_fetched_once_whatever_it_is_called() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(3 * PIECE, 6);
    origin.put("/a", object.clone());
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let digest = sha256_of(&object.all());
    let by_url = node.target(&origin, "/a");
    let place = Location { url: origin.url("/a"), standing: Standing::Allowed };
    node.store.expect(&by_url.name, operator(digest), vec![place]).await.unwrap();
    let by_digest = node.by_digest(&format!("/sha256/{digest}"));
    let (one, two) = tokio::join!(node.get(&by_url, None, client(1)), node.get(&by_digest, None, client(2)));
    same(&one.unwrap(), &object.all());
    same(&two.unwrap(), &object.all());
    node.until_held(&by_digest).await;
    assert_eq!(origin.sent("/a"), object.len());
    for target in [&by_url, &by_digest] {
        let (found, status) = node.hold(target).await;
        assert_eq!((found.alias.tag.clone(), status.outcome), (format!("sha256-{digest}"), Outcome::Hit));
    }
    // It had no name by its SHA-1, for nobody had looked for a collision nor published the two together. Nobody has it fetched
    // once more for that: it is read, and found clean.
    let hex = sha1_of(&object.all()).to_string();
    let target = node.by_digest(&format!("/Content/{}/{hex}.cab", &hex[38..]));
    let (found, status) = node.hold(&target).await;
    assert_eq!((found.alias.tag.clone(), status.outcome), (format!("sha1-{hex}"), Outcome::Hit));
    assert_eq!(origin.sent("/a"), object.len());
}

#[tokio::test]
async fn what_is_too_large_for_the_store_is_passed_through() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(20 * PIECE, 6);
    origin.put("/a", object.clone());
    let node = Node::open(dir.path(), Setup { max_size: 8 << 20, ..Setup::default() }, &[&origin]);
    let target = node.target(&origin, "/a");
    match node.fill.obtain(&target, whole()).await.unwrap() {
        Obtained::Passed(passed) => same(&read_passed(passed).await, &object.all()),
        // The store may notice only while it is written: then the rest comes straight from the origin.
        Obtained::Flying { facts, flight, .. } => {
            same(&read(&flight, Span::new(0, facts.size), client(1)).await.1.unwrap(), &object.all());
        }
        held @ Obtained::Held { .. } => panic!("{held:?} does not fit"),
    }
    assert!(node.store.find(&target.name).await.unwrap().is_none());
}

#[tokio::test]
async fn what_the_origin_forbids_to_keep_is_passed_through() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(2000, 6).header("Cache-Control", "no-store");
    origin.put("/a", object.clone());
    origin.put("/x/authrootstl.cab", Object::made(1000, 7));
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    for path in ["/a", "/x/authrootstl.cab"] {
        let target = node.target(&origin, path);
        for _ in 0..2 {
            assert!(matches!(node.fill.obtain(&target, whole()).await.unwrap(), Obtained::Passed(_)), "{path}");
        }
        if path == "/a" {
            assert_eq!(origin.ranges(path).len(), 3, "the origin's word is remembered: one request for the second");
        }
        assert!(
            node.store.find(&target.name).await.unwrap().is_none()
                && node.store.draft(&target.name).await.unwrap().is_none()
        );
    }
}

/// An object of 200 pieces at `/a`, and a node that fetches nothing of it but what is asked for.
async fn piece_by_piece(dir: &Path) -> (Origin, Object, Node, Target) {
    let origin = Origin::start().await;
    let object = Object::made(200 * PIECE, 6);
    origin.put("/a", object.clone());
    let setup = Setup { fill: Config { complete: Complete::Never, ..Config::default() }, ..Setup::default() };
    let node = Node::open(dir, setup, &[&origin]);
    let target = node.target(&origin, "/a");
    (origin, object, node, target)
}

#[tokio::test]
async fn a_piece_that_a_client_asks_for_again_and_again_is_fetched_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (origin, object, node, target) = piece_by_piece(dir.path()).await;
    let span = Span::at(7 * PIECE, PIECE);
    origin.always("/a", [Fault::Altered(0)]);
    let bad = node.get(&target, Some(span), client(1)).await.unwrap();
    assert!(bad != object.bytes(span));
    origin.always("/a", []);
    assert!(
        node.get(&target, Some(span), client(1)).await.unwrap() == bad,
        "once more may be the client's own trouble"
    );
    let (old, stale, _) = node.fly(&target, part(span)).await;
    let got = node.get(&target, Some(span), client(1)).await.unwrap();
    // The second time: dropped, and the draft is filled whole.
    let (new, fresh, _) = node.fly(&target, part(span)).await;
    assert_eq!((old.tag.as_str(), new.tag.as_str()), ("made-209715200-6", "made-209715200-6-2"));
    // Who was told the old tag may have the beginning of the bad bytes: the better end must not follow it.
    let rest = Span::new(span.start() + 4096, span.end());
    assert!(read(&stale, rest, client(2)).await.1.is_err());
    same(&read(&fresh, rest, client(2)).await.1.unwrap(), &object.bytes(rest));
    let found = node.until_held(&target).await;
    assert_eq!(found.alias.tag, new.tag);
    assert_eq!(node.store.note(&target.name).await.unwrap().generation, 2);
    same(&read_held(&found, Some(span)).await, &object.bytes(span));
    same(&got, &object.bytes(span));
    assert_eq!(found.held.payload().digests.sha256, sha256_of(&object.all()));
    assert_eq!(origin.sent("/a"), object.len() + PIECE);
}

#[tokio::test]
async fn a_response_with_bytes_of_a_dropped_piece_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (origin, object, node, target) = piece_by_piece(dir.path()).await;
    let (span, wide) = (Span::at(7 * PIECE, PIECE), Span::at(7 * PIECE, 3 * PIECE));
    origin.always("/a", [Fault::Altered(0)]);
    let (_, flight, _) = node.fly(&target, part(wide)).await;
    let mut begun = flight.tail(wide, client(2));
    let first = begun.next().await.unwrap().unwrap();
    assert!(first != object.bytes(Span::at(7 * PIECE, first.len() as u64)));
    node.get(&target, Some(span), client(1)).await.unwrap();
    origin.always("/a", []);
    node.get(&target, Some(span), client(1)).await.unwrap();
    let behind = Span::at(8 * PIECE, PIECE);
    let other = flight.tail(behind, client(3));
    same(&node.get(&target, Some(span), client(1)).await.unwrap(), &object.bytes(span));
    // What has some of the bad bytes ends with an error, what has none goes on.
    let mut last = begun.next().await;
    while let Some(Ok(_)) = last {
        last = begun.next().await;
    }
    assert!(matches!(last, Some(Err(Error::Changed { .. }))), "{last:?}");
    assert!(begun.next().await.is_none());
    drop(other);
    assert_eq!(read(&flight, behind, client(3)).await.1.unwrap().len(), 1 << 20);
}

#[tokio::test]
async fn what_a_client_did_not_take_was_not_delivered_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let (_origin, object, node, target) = piece_by_piece(dir.path()).await;
    let (piece, two) = (Span::at(7 * PIECE, PIECE), Span::at(7 * PIECE, 2 * PIECE));
    node.get(&target, Some(two), client(2)).await.unwrap();
    let (_, flight, _) = node.fly(&target, part(two)).await;
    let mut cut = flight.tail(two, client(1));
    let mut handed = 0;
    while handed < PIECE {
        handed += cut.next().await.unwrap().unwrap().len() as u64;
    }
    // The connection broke: the piece is asked for again, and once more. That is twice, not three times.
    drop(cut);
    for _ in 0..2 {
        same(&node.get(&target, Some(piece), client(1)).await.unwrap(), &object.bytes(piece));
    }
    assert_eq!(node.store.note(&target.name).await.unwrap().generation, 1);
    node.get(&target, Some(piece), client(1)).await.unwrap();
    assert_eq!(node.store.note(&target.name).await.unwrap().generation, 2);
}

#[tokio::test]
async fn a_dead_connection_is_noticed_long_before_the_origin_is_given_up() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(30 * PIECE, 6);
    origin.put("/a", object.clone());
    origin.limit(6 << 20);
    origin.next("/a", []);
    origin.next("/a", [Fault::StallAt(100_000)]);
    // Upstream itself would wait for minutes.
    let setup = Setup { stall: Duration::from_mins(5), patience: Duration::from_mins(10), ..Setup::default() };
    let node = Node::open(dir.path(), setup, &[&origin]);
    let target = node.target(&origin, "/a");
    let got = tokio::time::timeout(Duration::from_mins(1), node.get(&target, None, client(1))).await;
    same(&got.unwrap().unwrap(), &object.all());
}

/// A good answer to what was asked for.
async fn given(object: &Object, ask: &upstream::Ask) -> upstream::Answer {
    let span = ask.span.unwrap_or(Span::new(0, u64::MAX)).intersect(&Span::new(0, object.len()));
    let (send, body) = tokio::sync::mpsc::channel(1);
    send.send(Ok(object.bytes(span).into())).await.unwrap();
    upstream::Answer {
        status: 206,
        span,
        total: Some(object.len()),
        validators: Validators { etag: Some("\"v1\"".to_owned()), last_modified: None },
        headers: Vec::new(),
        body: upstream::Body::fed(body),
    }
}

/// A host with plain HTTP and, or not, HTTPS.
#[derive(Debug)]
struct Schemes {
    object: Object,
    https: bool,
    asked: std::sync::Mutex<Vec<String>>,
    /// An address that ends in `/slow` is answered when there is a permit.
    slow: tokio::sync::Semaphore,
    /// From now on what goes to the port of HTTPS is swallowed, which shows after [`Config::connect_timeout`].
    dark: AtomicBool,
    shown: AtomicBool,
}

impl Schemes {
    fn new(object: &Object, https: bool) -> Arc<Self> {
        let (asked, slow) = (std::sync::Mutex::default(), tokio::sync::Semaphore::new(0));
        let (dark, shown) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { object: object.clone(), https, asked, slow, dark, shown })
    }

    /// How many addresses were asked for that begin so.
    fn asked(&self, start: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|url| url.starts_with(start)).count()
    }
}

impl upstream::Source for Schemes {
    fn ask(&self, ask: upstream::Ask) -> upstream::Asking<'_> {
        self.asked.lock().unwrap().push(ask.location.url.clone());
        Box::pin(async move {
            if ask.location.url.starts_with("https") && self.dark.load(Ordering::Relaxed) {
                tokio::time::sleep(Config::default().connect_timeout).await;
                self.shown.store(true, Ordering::Relaxed);
                std::future::pending::<()>().await;
            }
            if ask.location.url.starts_with("https") && !self.https {
                let (host, why) = ("dl.example.org".to_owned(), "refused".to_owned());
                return Err(upstream::Error::Unavailable { host, why, retry_after: None });
            }
            if ask.location.url.ends_with("/missing") {
                let host = "dl.example.org".to_owned();
                return Err(upstream::Error::Status { host, status: 404, challenges: Vec::new() });
            }
            if ask.location.url.ends_with("/slow") {
                self.slow.acquire().await.unwrap().forget();
            }
            let mut answer = given(&self.object, &ask).await;
            if ask.location.url.ends_with("/brief") {
                answer.headers = vec![("cache-control".to_owned(), "max-age=60, must-revalidate".to_owned())];
            }
            Ok(answer)
        })
    }

    fn tls_seen(&self, _: &str, _: Instant) -> Option<bool> {
        self.shown.load(Ordering::Relaxed).then_some(false)
    }

    fn health(&self) -> Vec<waystation::model::report::HostHealth> {
        Vec::new()
    }

    fn probe<'a>(&'a self, _: &'a Location, _: upstream::Object) -> upstream::Probing<'a> {
        Box::pin(async { Vec::new() })
    }
}

#[tokio::test]
async fn what_no_digest_proves_comes_over_https_where_that_is_offered() {
    for https in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let object = Object::made(3 * PIECE, 6);
        let source = Schemes::new(&object, https);
        let node = Node::asking(dir.path(), Config::default(), source.clone());
        let locate = |path| node.at_example(path);
        for path in ["/a", "/b"] {
            same(&node.get(&locate(path), None, client(1)).await.unwrap(), &object.all());
        }
        let proven = locate("/c");
        node.store.expect(&proven.name, operator(sha256_of(&object.all())), Vec::new()).await.unwrap();
        node.store.remove(node.until_held(&locate("/a")).await.held.payload().digests.blake3).await.unwrap();
        same(&node.get(&proven, None, client(1)).await.unwrap(), &object.all());
        let (of, asked) = (|start| source.asked(start), &source.asked);
        if https {
            assert!(of("https://dl.example.org/a") > 0 && of("https://dl.example.org/b") > 0);
            assert_eq!(of("http://dl.example.org/a") + of("http://dl.example.org/b"), 0, "{asked:?}");
        } else {
            assert_eq!(of("https://"), 1, "one try for the host: {asked:?}");
        }
        assert_eq!(of("https://dl.example.org/c"), 0, "a digest judges it");
        node.close().await;
    }
}

#[tokio::test]
async fn what_is_not_there_takes_https_from_nothing_else() {
    let (dir, object) = (tempfile::tempdir().unwrap(), Object::made(3 * PIECE, 6));
    let source = Schemes::new(&object, true);
    let node = Node::asking(dir.path(), Config::default(), source.clone());
    assert!(matches!(node.get(&node.at_example("/missing"), None, client(1)).await, Err(Error::Origin(_, 404))));
    same(&node.get(&node.at_example("/a"), None, client(1)).await.unwrap(), &object.all());
    assert!(source.asked("https://dl.example.org/missing") > 0 && source.asked("https://dl.example.org/a") > 0);
    assert_eq!(source.asked("http://dl.example.org/a"), 0, "{:?}", source.asked);
    node.close().await;
}

#[tokio::test]
async fn the_line_at_a_busy_host_does_not_count_against_its_https() {
    let (dir, object) = (tempfile::tempdir().unwrap(), Object::made(3 * PIECE, 6));
    let source = Schemes::new(&object, true);
    let config = Config { connections_per_host: 1, ..Config::default() };
    let node = Node::asking(dir.path(), config, source.clone());
    // A digest judges this one, so that it is asked for as it is, and holds the only connection.
    let slow = node.at_example("/slow");
    node.store.expect(&slow.name, operator(sha256_of(&object.all())), Vec::new()).await.unwrap();
    let other = node.at_example("/a");
    let mut both = std::pin::pin!(async {
        tokio::join!(node.get(&slow, None, client(1)), async {
            until(|| source.asked("http://dl.example.org/slow") == 1).await;
            node.get(&other, None, client(2)).await
        })
    });
    let in_line = until(|| node.fill.flights().iter().filter(|flight| flight.step == "asking").count() == 2);
    tokio::select! {
        biased;
        _ = &mut both => panic!("nobody has been answered"),
        () = in_line => {}
    }
    // Longer than HTTPS may take to answer.
    tokio::time::pause();
    tokio::select! {
        biased;
        _ = &mut both => panic!("nobody has been answered"),
        () = tokio::time::advance(Duration::from_secs(5)) => {}
    }
    tokio::time::resume();
    source.slow.add_permits(100);
    let (first, second) = both.await;
    same(&first.unwrap(), &object.all());
    same(&second.unwrap(), &object.all());
    assert_eq!(source.asked("http://dl.example.org/a"), 0, "{:?}", source.asked);
}

#[tokio::test]
async fn a_host_whose_https_goes_dark_is_found_out_by_the_first_who_asks() {
    // By a new object, and by one that must not be served stale.
    for fresh in [true, false] {
        let (dir, object) = (tempfile::tempdir().unwrap(), Object::made(3 * PIECE, 6));
        let source = Schemes::new(&object, true);
        let node = Node::asking(dir.path(), Config::default(), source.clone());
        let brief = node.at_example("/brief");
        node.until_held(&brief).await;
        assert!(source.asked("https://") > 0 && source.asked("http://") == 0, "{:?}", source.asked);
        source.dark.store(true, Ordering::Relaxed);
        node.clock.0.fetch_add(61_000, Ordering::Relaxed);
        let (before, target) = (source.asked("https://"), if fresh { node.at_example("/a") } else { brief });
        let mut getting = std::pin::pin!(node.get(&target, None, client(1)));
        let passes = |seconds| async move {
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(seconds)).await;
            tokio::time::resume();
        };
        tokio::select! {
            biased;
            _ = &mut getting => panic!("its origin says nothing"),
            () = until(|| source.asked("https://") > before) => {}
        }
        // As long as a host may take of which nothing is known, and then until the connection has failed.
        for seconds in [4, 3] {
            assert_eq!(source.asked("http://"), 0, "{:?}", source.asked);
            tokio::select! {
                biased;
                _ = &mut getting => panic!("its origin says nothing"),
                () = passes(seconds) => {}
            }
        }
        same(&getting.await.unwrap(), &object.all());
        let asked = source.asked("https://");
        same(&node.get(&node.at_example("/b"), None, client(1)).await.unwrap(), &object.all());
        assert_eq!(source.asked("https://"), asked, "{:?}", source.asked);
    }
}

/// Looks again whenever something else has had its turn.
async fn until(mut is_so: impl FnMut() -> bool) {
    let looking = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looking).await.expect("took too long");
}

#[tokio::test]
async fn a_repair_fetches_only_what_is_bad() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(5 * PIECE, 6);
    origin.put("/a", object.clone());
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/a");
    let found = node.until_held(&target).await;
    let before = origin.sent("/a");
    let bad = Span::at(2 * PIECE, 65_536);
    let blake3 = found.held.payload().digests.blake3;
    drop(found);
    let mended = node.fill.repair(blake3, [bad].into_iter().collect()).await.unwrap();
    assert_eq!(mended.held.payload().digests.blake3, blake3);
    same(&read_held(&mended, None).await, &object.all());
    assert_eq!(origin.sent("/a") - before, bad.len());
}

#[tokio::test]
async fn explain_tells_rule_state_and_map() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    origin.put("/a", Object::made(200 * PIECE, 6));
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/a?P1=secret");
    node.get(&target, Some(Span::at(0, PIECE)), client(1)).await.unwrap();
    let query = format!("P1=secret&cacheHostOrigin={}", origin.address());
    let told = node.fill.explain(&Ask { host: None, path: "/a", query: Some(&query), via: None }).await.unwrap();
    assert_eq!((told.rule.as_str(), told.state.as_str()), ("cacheHostOrigin", "partial"));
    let line = |what: &str| told.lines.iter().find(|(name, _)| name == what).map(|(_, is)| is.clone()).unwrap();
    assert!(line("map").starts_with('+') && line("map").ends_with('.'));
    assert!(line("last answer").contains("206"));
    assert!(!line("location").contains("secret"));
    let told = node.fill.explain(&Ask { host: None, path: "/a", query: None, via: None }).await.unwrap();
    assert_eq!((told.state.as_str(), told.name), ("refused", None));
}

#[tokio::test]
async fn explain_tells_of_an_address_what_came_from_it_for_a_digest() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    origin.put("/a", Object::made(1000, 6));
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/a");
    let wrong = Digest::Sha256(Sha256::new([9; 32]));
    let expected = Some(Published::one(wrong, Authority::Operator));
    // As `fetch --sha256` asks: the address's bytes, for a digest that they do not have.
    let asked = Target { name: Name::Digest(wrong), expected, ..target };
    node.fill.prefetch(&asked).await.unwrap_err();
    let query = format!("cacheHostOrigin={}", origin.address());
    let told = node.fill.explain(&Ask { host: None, path: "/a", query: Some(&query), via: None }).await.unwrap();
    let last = told.lines.iter().find(|(name, _)| name == "last answer").unwrap();
    assert!(last.1.contains("206"), "{last:?}");
}

#[tokio::test]
async fn explain_is_no_use() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    origin.put("/held", Object::made(1000, 6).header("Cache-Control", "max-age=60"));
    origin.put("/part", Object::made(200 * PIECE, 6));
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let (held, part) = (node.target(&origin, "/held"), node.target(&origin, "/part"));
    node.until_held(&held).await;
    node.get(&part, Some(Span::at(0, PIECE)), client(1)).await.unwrap();
    let days = node.clock.0.load(Ordering::Relaxed);
    node.close().await;
    let query = format!("cacheHostOrigin={}", origin.address());
    // Opened anew, so that nothing is open.
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let told = async |path| node.fill.explain(&Ask { host: None, path, query: Some(&query), via: None }).await.unwrap();
    assert_eq!(told("/held").await.state, "held");
    assert!(told("/held").await.lines.iter().any(|(what, _)| what == "fresh until"));
    assert!(node.store.hot(&held.name).is_none(), "nothing was opened");
    // A draft that nobody asks for is given up after thirty days.
    node.clock.0.store(days + 31 * 24 * 3_600_000, Ordering::Relaxed);
    assert_eq!(told("/part").await.state, "partial");
    assert_eq!(told("/held").await.state, "absent", "past its end");
    node.store.evict_step(0).await.unwrap();
    assert_eq!(told("/part").await.state, "absent");
}

#[tokio::test]
async fn explain_finds_the_pin_under_a_name_that_nobody_has_used_yet() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(3 * PIECE, 6);
    origin.put("/a", object.clone());
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let blake3 = node.until_held(&node.target(&origin, "/a")).await.held.payload().digests.blake3;
    node.store.pin(blake3, "root").await.unwrap();
    let other = node.target(&origin, "/other");
    node.store.expect(&other.name, operator(sha256_of(&object.all())), Vec::new()).await.unwrap();
    let query = format!("cacheHostOrigin={}", origin.address());
    let ask = Ask { host: None, path: "/other", query: Some(&query), via: None };
    let told = node.fill.explain(&ask).await.unwrap();
    let line = |what: &str| told.lines.iter().find(|(name, _)| name == what).map(|(_, is)| is.clone());
    assert_eq!((told.state.as_str(), told.payload), ("held", Some(blake3)));
    assert!(line("pinned").unwrap().starts_with("by root at "), "{:?}", line("pinned"));
    assert_eq!(line("withheld"), None);
    // Nothing is served of it until it is mended, and who asks why is told.
    node.store.withhold(blake3, "a group differs").await.unwrap();
    let told = node.fill.explain(&ask).await.unwrap();
    let line = |what: &str| told.lines.iter().find(|(name, _)| name == what).map(|(_, is)| is.clone());
    assert_eq!((told.state.as_str(), told.payload), ("absent", Some(blake3)));
    assert!(line("withheld").unwrap().contains("waits to be mended"));
}

#[tokio::test]
async fn closing_ends_every_flight_and_keeps_its_draft() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(50 * PIECE, 6);
    origin.put("/a", object);
    origin.limit(4 << 20);
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    let target = node.target(&origin, "/a");
    let (facts, flight, _) = node.fly(&target, whole()).await;
    let mut tail = flight.tail(Span::new(0, facts.size), client(1));
    assert!(tail.next().await.unwrap().is_ok());
    node.fill.close().await;
    loop {
        match tail.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                assert!(matches!(error, Error::Closing), "{error:?}");
                break;
            }
            None => panic!("a cut response must not look whole"),
        }
    }
    assert!(node.fill.flights().is_empty());
    assert!(matches!(node.fill.obtain(&target, whole()).await, Err(Error::Closing)));
    let draft = node.store.draft(&target.name).await.unwrap().unwrap();
    assert!(draft.covered().total() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_thin_link_every_waiting_response_keeps_getting_bytes() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(6 * PIECE, 6);
    origin.put("/a", object.clone());
    origin.limit(250_000);
    let setup = Setup { stall: Duration::from_secs(10), patience: Duration::from_secs(20), ..Setup::default() };
    let node = Arc::new(Node::open(dir.path(), setup, &[&origin]));
    let target = node.target(&origin, "/a");
    let mut responses = JoinSet::new();
    for span in shuffled(object.len(), 5) {
        let (node, target, object) = (Arc::clone(&node), target.clone(), object.clone());
        responses.spawn(async move {
            let (_, flight, _) = node.fly(&target, part(span)).await;
            let mut tail = flight.tail(span, client(1));
            let (mut got, mut silence, mut last) = (Vec::new(), Duration::ZERO, Instant::now());
            while let Some(next) = tail.next().await {
                silence = silence.max(last.elapsed());
                last = Instant::now();
                got.extend_from_slice(&next.unwrap());
            }
            same(&got, &object.bytes(span));
            silence
        });
    }
    while let Some(silence) = responses.join_next().await {
        let silence = silence.unwrap();
        assert!(silence < Duration::from_secs(10), "silent for {silence:?}");
    }
    assert!(origin.sent("/a") <= object.len() + object.len() / 16, "{} bytes for {}", origin.sent("/a"), object.len());
}

#[tokio::test]
async fn a_disk_that_fills_up_in_mid_flight_costs_no_response() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(3 * PIECE, 6);
    origin.put("/a", object.clone());
    origin.limit(8 << 20);
    let disk = FaultDisk::new(dir.path());
    let node = Node::open_on(Arc::new(disk.clone()), dir.path(), Setup::default(), &[&origin]);
    let target = Target { via: Some("1.1 other".to_owned()), ..node.target(&origin, "/a") };
    let (facts, flight, _) = node.fly(&target, whole()).await;
    let mut tail = flight.tail(Span::new(0, facts.size), client(1));
    let mut got = tail.next().await.unwrap().unwrap().to_vec();
    disk.set_faults(Faults { full_below: Some(dir.path().join("drafts")), ..Faults::default() });
    while let Some(next) = tail.next().await {
        got.extend_from_slice(&next.unwrap());
    }
    same(&got, &object.all());
    drop((tail, flight));
    same(&node.get(&target, None, client(2)).await.unwrap(), &object.all());
    assert!(origin.log().iter().all(|seen| seen.header("via").is_some_and(|via| via.contains("other"))));
    assert!(node.store.find(&target.name).await.unwrap().is_none());
    // With room again it goes on from what was in.
    disk.set_faults(Faults::default());
    let found = node.until_held(&target).await;
    same(&read_held(&found, None).await, &object.all());
}

/// A flight that was asked for from another runtime outlives that runtime: it flies on the room's own.
#[test]
fn a_flight_flies_on_the_runtime_of_the_room() {
    let own = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let object = Object::made(3 << 20, 11);
    let (origin, node) = own.block_on(async {
        let origin = Origin::start().await;
        origin.put("/a.cab", object.clone());
        let node = Node::open(dir.path(), Setup::default(), &[&origin]);
        (origin, node)
    });
    let target = node.target(&origin, "/a.cab");
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (facts, flight, _) = other.block_on(node.fly(&target, whole()));
    // Whatever was left to that runtime dies here.
    drop(other);
    assert_eq!(facts.size, 3 << 20);
    own.block_on(async {
        tokio::time::timeout(Duration::from_mins(1), node.fill.prefetch(&target)).await.unwrap().unwrap();
        drop(flight);
        node.close().await;
    });
    assert_eq!(origin.sent("/a.cab"), 3 << 20, "the same flight went on");
}

/// A governor at work that lets nothing through which nobody waits for; what ends it, and its task.
async fn paused_background() -> (Governor, CancellationToken, tokio::task::JoinHandle<()>) {
    let rules = pace::Config::default().with(pace::Class::Prefetch, &["paused"]).unwrap();
    let (governor, stop) = (Governor::new(rules, Arc::new(SystemClock)), CancellationToken::new());
    let governing = tokio::spawn(governor.clone().run(stop.clone()));
    while !governor.is_paused(pace::Class::Prefetch) {
        tokio::task::yield_now().await;
    }
    (governor, stop, governing)
}

#[tokio::test]
async fn a_paused_background_holds_no_connection_and_ends_for_who_waits() {
    let (object, other) = (Object::made(24 << 20, 17).etag("\"v\""), Object::made(3 << 20, 18).etag("\"w\""));
    let origin = Origin::start().await;
    origin.put("/a.cab", object.clone());
    origin.put("/b.cab", other.clone());
    let (governor, stop, governing) = paused_background().await;
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup {
        // One that waited for its turn with a connection in hand would keep all others out.
        fill: Config { connections_per_host: 1, ..Config::default() },
        pace: governor.clone(),
        ..Setup::default()
    };
    let node = Node::open(dir.path(), setup, &[&origin]);
    let (target, elsewhere) = (node.target(&origin, "/a.cab"), node.target(&origin, "/b.cab"));
    let (fill, ahead) = (node.fill.clone(), target.clone());
    let prefetch = tokio::spawn(async move { fill.prefetch(&ahead).await });
    origin.wait_for(1).await;
    assert_eq!(node.get(&elsewhere, None, client(2)).await.unwrap(), other.all());
    assert!(!prefetch.is_finished() && origin.sent("/a.cab") < 24 << 20);
    // An endpoint that asks for what is put off gets it.
    let piece = Span::new(7 << 20, 8 << 20);
    assert_eq!(node.get(&target, Some(piece), client(1)).await.unwrap(), object.bytes(piece));
    // The rest comes when the pause is over.
    governor.set_config(pace::Config::default());
    let found = tokio::time::timeout(Duration::from_mins(1), prefetch).await.unwrap().unwrap().unwrap();
    assert_eq!(read_held(&found, None).await, object.all());
    assert!(governor.counters().bytes(pace::Class::Upstream) >= 27 << 20);
    node.close().await;
    stop.cancel();
    governing.await.unwrap();
}

/// As a plain file server answers: the whole, whatever was asked for.
#[tokio::test]
async fn an_origin_without_ranges_is_held_and_counted_as_the_background() {
    let object = Object::made(24 << 20, 17).etag("\"v\"");
    let origin = Origin::start().await;
    origin.put("/a.cab", object.clone());
    origin.always("/a.cab", [Fault::IgnoreRange]);
    let (governor, stop, governing) = paused_background().await;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path(), Setup { pace: governor.clone(), ..Setup::default() }, &[&origin]);
    let (fill, target) = (node.fill.clone(), node.target(&origin, "/a.cab"));
    let prefetch = tokio::spawn(async move { fill.prefetch(&target).await });
    let paused = async {
        loop {
            match node.fill.flights().pop() {
                Some(flight) if flight.step == "paused" => return flight,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let flight = tokio::time::timeout(Duration::from_mins(1), paused).await.unwrap();
    assert_eq!((flight.bytes_per_s, flight.covered), (0, 0));
    assert_eq!(flight.pause.unwrap().to_string(), "prefetch is paused");
    // A rate instead of the pause: it comes, and no faster.
    let began = Instant::now();
    governor.set_config(pace::Config::default().with(pace::Class::Prefetch, &["16 MB/s"]).unwrap());
    let found = tokio::time::timeout(Duration::from_mins(1), prefetch).await.unwrap().unwrap().unwrap();
    assert!(began.elapsed() > Duration::from_secs(1), "25 MB at 16 MB/s took {:?}", began.elapsed());
    same(&read_held(&found, None).await, &object.all());
    let bytes = |class| governor.counters().bytes(class);
    assert_eq!((bytes(pace::Class::Prefetch), bytes(pace::Class::Demand)), (24 << 20, 0));
    node.close().await;
    stop.cancel();
    governing.await.unwrap();
}

#[tokio::test]
async fn wrong_bytes_do_not_end_well_where_nothing_can_be_kept() {
    let object = Object::made(3 * PIECE, 6);
    let digest = sha256_of(&object.all());
    for (verify, wrong) in
        [Verify::Stream, Verify::Strict].into_iter().flat_map(|verify| [(verify, true), (verify, false)])
    {
        let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
        origin.put("/a", object.clone());
        origin.limit(8 << 20);
        let disk = FaultDisk::new(dir.path());
        let setup = Setup { fill: Config { verify, ..Config::default() }, ..Setup::default() };
        let node = Node::open_on(Arc::new(disk.clone()), dir.path(), setup, &[&origin]);
        let location = Location { url: origin.url("/a"), standing: Standing::Allowed };
        node.store.expect(&Name::Digest(Digest::Sha256(digest)), operator(digest), vec![location]).await.unwrap();
        let target = node.by_digest(&format!("/sha256/{digest}"));
        {
            origin.always("/a", if wrong { vec![Fault::Altered(2 * PIECE)] } else { vec![] });
            let (facts, flight, _) = node.fly(&target, whole()).await;
            let mut tail = flight.tail(Span::new(0, facts.size), client(1));
            let mut got = Vec::new();
            if verify == Verify::Stream {
                got.extend_from_slice(&tail.next().await.unwrap().unwrap());
            }
            disk.set_faults(Faults { full_below: Some(dir.path().join("drafts")), ..Faults::default() });
            let mut last = tail.next().await;
            while let Some(Ok(bytes)) = last {
                got.extend_from_slice(&bytes);
                last = tail.next().await;
            }
            drop((tail, flight));
            // Then from the first byte on, since nothing can be written.
            let passed = node.fill.obtain(&target, whole()).await;
            match verify {
                Verify::Strict => {
                    assert!(got.is_empty() && matches!(last, Some(Err(Error::Store(_)))), "{last:?}");
                    assert!(matches!(passed, Err(Error::Unavailable { .. })), "{passed:?}");
                }
                Verify::Stream => {
                    let Ok(Obtained::Passed(passed)) = passed else {
                        panic!("it cannot be kept: {passed:?}");
                    };
                    let (mut all, mut body) = (Vec::new(), passed.body.unwrap());
                    let end = loop {
                        match body.next().await {
                            Ok(Some(bytes)) => all.extend_from_slice(&bytes),
                            Ok(None) => break Ok(()),
                            Err(error) => break Err(error),
                        }
                    };
                    if wrong {
                        assert!(got.len() < 3 << 20 && matches!(last, Some(Err(Error::Mismatch { .. }))), "{last:?}");
                        assert!(all.len() < 3 << 20 && matches!(end, Err(Error::Mismatch { .. })), "{end:?}");
                    } else {
                        assert!(last.is_none() && end.is_ok(), "{last:?}, {end:?}");
                        same(&got, &object.all());
                        same(&all, &object.all());
                    }
                }
            }
        }
    }
}
