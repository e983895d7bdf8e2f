//! Payloads through the chain: nodes on real sockets below a simulated upstream, each with its fill and its faces.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use sha1::Digest as _;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use upstream_sim::{Character, Options, Sim};
use waystation::base::digest::{Blake3, Digest, Sha1};
use waystation::base::disk::RealDisk;
use waystation::base::limits::{GROUP, PIECE};
use waystation::base::time::SystemClock;
use waystation::chain::files;
use waystation::chain::node::{Chain, Config, Role};
use waystation::fill::{Complete, Fill, Parent, Signed};
use waystation::model::filter::Selection;
use waystation::model::origin::AllowList;
use waystation::model::update::File;
use waystation::net::tls::mutual::Mutual;
use waystation::net::{Bound, Counters, Server};
use waystation::pace::{Class, Governor};
use waystation::serve::peer::PeerFace;
use waystation::serve::{self, Face};
use waystation::store::Store;
use waystation::store::catalog::UpstreamKind;
use waystation::sync::{Extras, Runner};
use waystation::upstream::wsus::Wsus;
use waystation::upstream::{Proxy, Source, Upstream, peer};
use waystation::wire::peer::slice::Slice;
use waystation::{fill, net, upstream};

use crate::nodes::config as for_sync;
use crate::plain_client::{Answer, Client};
use crate::small_store;

/// Longer than anything takes here on a busy machine.
const SOON: Duration = Duration::from_mins(1);

/// What differs between the nodes of a test.
#[derive(Clone)]
struct Setup {
    /// Hosts that may be asked for content.
    allow: Vec<String>,
    failover: bool,
    complete: Complete,
    direct_hosts: Vec<String>,
    pace: Governor,
}

impl Setup {
    fn of(sim: &Sim) -> Self {
        let (allow, pace) = (vec![sim.address().to_string()], Governor::default());
        Self { allow, failover: true, complete: Complete::Demand, direct_hosts: Vec::new(), pace }
    }
}

/// A node with all of its faces.
struct Site {
    chain: Chain,
    store: Store,
    fill: Fill,
    upstream: Upstream,
    peers: Server,
    to_nodes: serve::peer::Counters,
    content: Server,
    dir: TempDir,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Site {
    async fn new(above: Option<&Self>, name: &str, setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let store = small_store::open(&data);
        let bound = Bound::tcp(([127, 0, 0, 1], 0).into()).unwrap();
        let config = Config {
            data,
            addresses: vec![bound.address().to_string()],
            version: "test".into(),
            catalog: true,
            replica: true,
            report_every: SOON,
        };
        let chain = Chain::open(config, store.clone(), Arc::new(RealDisk), Arc::new(SystemClock)).await.unwrap();
        let (stop, running) = (CancellationToken::new(), chain.clone());
        let stopping = stop.clone();
        let running = tokio::spawn(async move { running.run(stopping).await });
        if let Some(above) = above {
            let invited = above.chain.invite(name, SOON, None, true).await.unwrap();
            chain.join(&invited.token).await.unwrap();
            let mut roles = chain.roles();
            timeout(SOON, roles.wait_for(|now| *now == Role::Child)).await.unwrap().unwrap();
            let mut ways = chain.ways();
            timeout(SOON, ways.wait_for(Option::is_some)).await.unwrap().unwrap();
        }
        let allow = Arc::new(AllowList::new(&setup.allow).unwrap());
        let for_upstream = upstream::Config {
            proxy: Proxy::default(),
            extra_ca: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(5),
            patience: Duration::from_secs(5),
            node: format!("ws-{name}"),
            hops_max: 8,
            own_addresses: Vec::new(),
        };
        let upstream = match above {
            Some(_) => Upstream::below(for_upstream, Arc::clone(&allow), setup.pace.clone(), chain.ways()),
            None => Upstream::paced(for_upstream, Arc::clone(&allow), setup.pace.clone()),
        };
        let upstream = upstream.unwrap();
        let (source, clock): (Arc<dyn Source>, _) = (Arc::new(upstream.clone()), Arc::new(SystemClock));
        let for_fill = fill::Config { complete: setup.complete, ..fill::Config::default() };
        let fill = match above {
            Some(_) => {
                let parent = parent(&store, &setup);
                Fill::under(for_fill, store.clone(), source, allow, clock, parent)
            }
            None => Fill::new(for_fill, store.clone(), source, allow, clock),
        };
        let clock = Arc::new(SystemClock);
        let face = Face::new(serve::Config::default(), fill.clone(), store.clone(), clock, Box::new(|_| {}));
        let (face, to_nodes) = (Arc::new(face), serve::peer::Counters::default());
        let (ca, (certs, key)) = chain.listener().await.unwrap();
        let tls = Mutual::new(ca, certs, key).unwrap();
        let peers = PeerFace::new(chain.clone()).with_content(Arc::clone(&face), to_nodes.clone());
        let net = net::Config { pace: setup.pace.clone(), ..net::Config::default() };
        let peers =
            Server::start(net.clone(), vec![bound.with_tls(tls.server_config())], Arc::new(peers), Counters::default());
        let bound = Bound::tcp(([127, 0, 0, 1], 0).into()).unwrap();
        let content = Server::start(net, vec![bound], face, Counters::default()).unwrap();
        Self { chain, store, fill, upstream, peers: peers.unwrap(), to_nodes, content, dir, stop, running }
    }

    fn address(&self) -> SocketAddr {
        self.content.addresses()[0]
    }

    /// Bytes that came from there.
    fn came_from(&self, host: &str) -> u64 {
        self.fill.health().iter().filter(|health| health.host == host).map(|health| health.bytes).sum()
    }

    fn verified(&self) -> u64 {
        self.upstream.of_parent().unwrap().verified.get()
    }

    async fn get(&self, path: &str, range: Option<(u64, u64)>) -> Answer {
        let range = range.map(|(first, last)| format!("bytes={first}-{last}"));
        let fields: Vec<(&str, &str)> = range.iter().map(|range| ("range", range.as_str())).collect();
        timeout(SOON, Client::connect(self.address()).await.get(path, &fields)).await.unwrap()
    }

    /// The authority's word on the BLAKE3 of a file is here.
    async fn knows(&self, sha1: Sha1) -> Blake3 {
        let (mut moved, mut told) = (self.chain.moved(), self.chain.told());
        let known = async {
            loop {
                if let Some(blake3) = files::signed(&self.store, sha1).await.unwrap().and_then(|file| file.blake3) {
                    return blake3;
                }
                tokio::select! {
                    changed = moved.changed() => changed.unwrap(),
                    changed = told.changed() => changed.unwrap(),
                }
            }
        };
        timeout(SOON, known).await.expect("it is told")
    }

    /// The catalog here has so many files.
    async fn lists(&self, sha1: Sha1) {
        let mut told = self.chain.told();
        let digest = waystation::store::catalog::FileDigest::Sha1(sha1);
        let listed = async {
            while self.store.catalog().files(digest).await.unwrap().is_empty() {
                told.changed().await.unwrap();
            }
        };
        timeout(SOON, listed).await.expect("the catalog arrives");
    }

    async fn hold(&self, path: &str) {
        let ask = fill::Ask { host: None, path, query: None, via: None };
        let target = self.fill.locate(&ask).unwrap();
        timeout(SOON, self.fill.prefetch(&target)).await.unwrap().unwrap();
    }

    async fn close(self) {
        self.stop.cancel();
        self.running.await.unwrap();
        self.peers.drain(Duration::ZERO).await;
        self.content.drain(Duration::ZERO).await;
        self.fill.close().await;
        self.store.close().await.unwrap();
    }
}

fn parent(store: &Store, setup: &Setup) -> Parent {
    let store = store.clone();
    Parent {
        signed: Arc::new(move |sha1| {
            let store = store.clone();
            Box::pin(async move {
                let file = files::signed(&store, sha1).await.unwrap()?;
                Some(Signed { sha256: file.sha256, blake3: file.blake3?, size: file.size })
            })
        }),
        breaks_out: Arc::new(|_| Box::pin(async { false })),
        direct_hosts: setup.direct_hosts.clone(),
        failover: setup.failover,
    }
}

fn sim() -> Sim {
    let character = Character::Microsoft;
    Sim::start(Options { character, seed: 21, updates: 60, file_scale: 40.0, ..Options::default() }).unwrap()
}

/// The node at the top with its catalog, and some of its files of this size, the largest first.
async fn top(sim: &Sim, sizes: std::ops::Range<u64>, setup: Setup) -> (Site, Vec<File>) {
    let top = Site::new(None, "top", setup).await;
    let wsus = Wsus::new(for_sync(&sim.url(), top.dir.path().to_owned()), &Governor::default()).unwrap();
    let (chosen, kind) = (Arc::new(Selection::default), UpstreamKind::Wsus);
    let (store, clock) = (top.store.clone(), Arc::new(SystemClock));
    let runner = Runner::with(kind, &sim.url(), wsus, store, chosen, clock, Extras::default());
    runner.run(&CancellationToken::new()).await.unwrap();
    let catalog = top.store.catalog();
    let mut found: Vec<File> = Vec::new();
    let mut after = (0, 0);
    loop {
        let page = catalog.changes(after.0, after.1, 1_000).await.unwrap();
        for change in page.changes.iter().filter(|change| change.held) {
            let revision = catalog.revision(change.number).await.unwrap().unwrap();
            for file in revision.update.files {
                if sizes.contains(&file.size) && !file.encrypted && !found.iter().any(|known| known.sha1 == file.sha1) {
                    found.push(file);
                }
            }
        }
        if !page.more {
            break;
        }
        after = page.next;
    }
    found.sort_by_key(|file| std::cmp::Reverse(file.size));
    assert!(found.len() >= 3, "{} files between {sizes:?} in the catalog", found.len());
    (top, found)
}

fn path(file: &File) -> String {
    let hex = file.sha1.to_string().to_uppercase();
    format!("/Content/{}/{hex}.cab", &hex[38..])
}

/// All of the file came, and it is the file.
fn is_whole(answer: &Answer, file: &File) {
    assert!(matches!(answer.status, 200) && answer.whole, "{} {}", answer.status, answer.body.len());
    assert_eq!(answer.body.len() as u64, file.size);
    assert_eq!(Sha1::new(sha1::Sha1::digest(&answer.body).into()), file.sha1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_byte_crosses_each_link_once_and_what_is_proven_above_is_checked_below() {
    let sim = sim();
    let origin = sim.address().to_string();
    let (top, files) = top(&sim, 3 * PIECE..40 * PIECE, Setup::of(&sim)).await;
    let [one, two, three] = &files[..3] else { panic!("{} files", files.len()) };
    let middle = Site::new(Some(&top), "middle", Setup::of(&sim)).await;
    let bottom = Site::new(Some(&middle), "bottom", Setup::of(&sim)).await;
    bottom.lists(three.sha1).await;

    // Nobody holds it: it is filled through all of them at once.
    is_whole(&bottom.get(&path(one), None).await, one);
    let sums = |site: &Site| (site.came_from("parent"), site.came_from(&origin));
    assert_eq!(sums(&bottom), (one.size, 0));
    assert_eq!(sums(&middle), (one.size, 0));
    assert_eq!(sums(&top), (0, one.size));
    assert_eq!((top.to_nodes.sent.get(), middle.to_nodes.sent.get()), (one.size, one.size));
    assert_eq!((bottom.verified(), middle.verified()), (0, 0), "nobody had a proof yet");
    let blake3 = bottom.knows(one.sha1).await;
    assert_eq!(middle.knows(one.sha1).await, blake3);

    // The top holds it, and has said what it is: the middle checks each group, the bottom gets it from one that fills itself.
    top.hold(&path(two)).await;
    bottom.knows(two.sha1).await;
    is_whole(&bottom.get(&path(two), None).await, two);
    assert_eq!(sums(&bottom), (one.size + two.size, 0));
    assert_eq!(sums(&middle), (one.size + two.size, 0));
    assert_eq!(sums(&top), (0, one.size + two.size));
    assert_eq!(middle.verified(), two.size);

    // The middle holds it, and proves it without having been believed.
    middle.hold(&path(three)).await;
    bottom.knows(three.sha1).await;
    let before = bottom.verified();
    is_whole(&bottom.get(&path(three), None).await, three);
    assert_eq!(bottom.verified() - before, three.size);
    assert_eq!(sums(&bottom), (one.size + two.size + three.size, 0));
    assert_eq!(sums(&top), (0, one.size + two.size + three.size));

    // Which of these the parent holds.
    let (above, asked) = (peer_of(&bottom), ask_held(&[blake3, Blake3::new([9; 32])]));
    let held = above.post("/peer/v1/held", "application/octet-stream", asked).await.unwrap();
    assert_eq!(held.collect(64).await.unwrap(), Bytes::from_static(&[1]));
    for site in [bottom, middle, top] {
        site.close().await;
    }
}

fn ask_held(asked: &[Blake3]) -> Bytes {
    asked.iter().flat_map(|blake3| *blake3.as_bytes()).collect()
}

/// The way of a node to its parent.
fn peer_of(site: &Site) -> Arc<peer::Parent> {
    site.chain.ways().borrow().clone().unwrap()
}

/// Changes one byte of a held payload behind the node's back.
fn tamper(site: &Site, blake3: &Blake3, at: u64) {
    use std::os::unix::fs::{FileExt, PermissionsExt};
    let hex = blake3.to_string();
    let file = site.dir.path().join("data/content").join(&hex[..2]).join(&hex);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_was_tampered_with_at_the_parent_is_refused_group_by_group() {
    let sim = sim();
    let origin = sim.address().to_string();
    let (top, files) = top(&sim, 3 * PIECE..40 * PIECE, Setup::of(&sim)).await;
    let file = &files[0];
    let child = Site::new(Some(&top), "child", Setup::of(&sim)).await;
    let alone = Site::new(Some(&top), "alone", Setup { failover: false, ..Setup::of(&sim) }).await;
    top.hold(&path(file)).await;
    let blake3 = child.knows(file.sha1).await;
    alone.knows(file.sha1).await;
    child.lists(file.sha1).await;
    alone.lists(file.sha1).await;
    tamper(&top, &blake3, 2 * PIECE + 5);

    // What cannot be had elsewhere is not given: the groups before the wrong one, and not a byte of that one.
    let cut = alone.get(&path(file), None).await;
    assert!(!cut.whole || cut.status != 200, "{}", cut.status);
    assert_eq!(alone.upstream.of_parent().unwrap().bad.get(), 1);
    assert_eq!((alone.came_from(&origin), alone.store.find(&digest(file)).await.unwrap().is_none()), (0, true));
    let ranged = alone.get(&path(file), Some((2 * PIECE, 2 * PIECE + 9))).await;
    assert!(ranged.status >= 500 || !ranged.whole, "{}", ranged.status);

    // Where it is published there is the right one.
    is_whole(&child.get(&path(file), None).await, file);
    assert!(child.upstream.of_parent().unwrap().bad.get() >= 1);
    assert!(child.came_from(&origin) > 0 && child.verified() > 0);
    let explained = child.fill.explain(&fill::Ask { host: None, path: &path(file), query: None, via: None }).await;
    let lines = explained.unwrap().lines;
    assert!(lines.iter().any(|(what, is)| what == "location" && is.starts_with("node://parent/")), "{lines:?}");
    // What left is right as far as it came.
    if cut.status == 200 {
        let whole = child.get(&path(file), None).await;
        assert!(whole.body.starts_with(&cut.body) && cut.body.len() as u64 <= 2 * PIECE);
    }
    for site in [child, alone, top] {
        site.close().await;
    }
}

fn digest(file: &File) -> waystation::model::name::Name {
    waystation::model::name::Name::Digest(Digest::Sha1(file.sha1))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_parent_cannot_give_comes_from_where_it_is_published() {
    let sim = sim();
    let origin = sim.address().to_string();
    let governor = {
        let mut pace = waystation::pace::Config::default();
        pace.set(Class::Nodes, waystation::pace::Schedule::parse(&["4 MB/s"]).unwrap()).unwrap();
        Governor::new(pace, Arc::new(SystemClock))
    };
    let slow = Setup { pace: governor, ..Setup::of(&sim) };
    let (top, files) = top(&sim, 5 * PIECE..40 * PIECE, slow).await;
    let [file, other, third] = &files[..3] else { panic!("{} files", files.len()) };
    let child = Site::new(Some(&top), "child", Setup::of(&sim)).await;
    let direct = Setup { direct_hosts: vec!["127.0.0.1".into()], ..Setup::of(&sim) };
    let direct = Site::new(Some(&top), "direct", direct).await;
    child.lists(third.sha1).await;
    direct.lists(third.sha1).await;

    // What breaks out here is not asked of the parent.
    is_whole(&direct.get(&path(third), None).await, third);
    assert_eq!((direct.came_from("parent"), direct.came_from(&origin)), (0, third.size));
    // Who was revoked is refused, and goes where it is published.
    top.chain.revoke("direct").await.unwrap();
    for path in [format!("/peer/v1/content/sha1/{}", file.sha1), format!("/peer/v1/proof/{}", Blake3::new([1; 32]))] {
        assert_eq!(peer_of(&direct).get(&path, HeaderMap::new()).await.unwrap().status, 403, "{path}");
    }

    // The parent goes away in the middle: at 4 MB/s there is a middle.
    top.hold(&path(file)).await;
    child.knows(file.sha1).await;
    let mut client = Client::connect(child.address()).await;
    client.send("GET", &path(file), &[]).await;
    let begun = async {
        while child.verified() < PIECE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, begun).await.unwrap();
    top.peers.drain(Duration::ZERO).await;
    let answer = timeout(SOON, client.answer(false)).await.unwrap();
    is_whole(&answer, file);
    let (up, there) = (child.came_from("parent"), child.came_from(&origin));
    assert!(up >= PIECE && there > 0 && up < file.size, "{up} and {there} of {}", file.size);
    // It is known to be away.
    is_whole(&child.get(&path(other), None).await, other);
    assert_eq!(child.came_from("parent"), up);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_a_large_payload_needs_its_part_of_the_proof_alone() {
    let sim = Sim::start(Options { updates: 5, ..Options::default() }).unwrap();
    let top = Site::new(None, "top", Setup::of(&sim)).await;
    let setup = Setup { complete: Complete::Never, failover: false, ..Setup::of(&sim) };
    let child = Site::new(Some(&top), "child", setup).await;
    let size = 70 * PIECE + 12_345;
    let mut bytes = vec![0; size as usize];
    blake3::Hasher::new_derive_key("waystation chain content test").finalize_xof().fill(&mut bytes);
    let source = top.dir.path().join("payload");
    std::fs::write(&source, &bytes).unwrap();
    let found = top.store.import(source, true, None, vec![]).await.unwrap();
    let blake3 = found.held.payload().digests.blake3;

    // One MiB out of the middle: these bytes, and one part of the tree.
    let (first, last) = (40 * PIECE, 41 * PIECE - 1);
    let answer = child.get(&format!("/blake3/{blake3}"), Some((first, last))).await;
    assert_eq!((answer.status, &answer.body[..]), (206, &bytes[first as usize..=last as usize]));
    let counted = child.upstream.of_parent().unwrap();
    assert_eq!((child.came_from("parent"), child.verified(), counted.proofs.get()), (PIECE, PIECE, 1));
    // What does not begin with a group, and the last one, which is short.
    for (first, last) in [(50 * PIECE + 7, 50 * PIECE + 100_000), (size - 3, size - 1)] {
        let answer = child.get(&format!("/blake3/{blake3}"), Some((first, last))).await;
        assert_eq!((answer.status, &answer.body[..]), (206, &bytes[first as usize..=last as usize]));
    }
    assert_eq!(child.upstream.of_parent().unwrap().bad.get(), 0);
    assert!(child.came_from("parent") <= PIECE + 5 * GROUP, "{}", child.came_from("parent"));

    // The protocol itself: the slice makes the BLAKE3, and a group that is not there is none.
    let parent = peer_of(&child);
    let reply = parent.get(&format!("/peer/v1/proof/{blake3}?group=640&count=16"), HeaderMap::new()).await.unwrap();
    let slice = Slice::read(reply.collect(1 << 20).await.unwrap()).unwrap();
    assert_eq!((slice.groups(), slice.size(), slice.root()), (640..656, size, Some(blake3)));
    for (path, status) in [
        (format!("/peer/v1/proof/{blake3}?group=1121&count=1"), 416),
        (format!("/peer/v1/proof/{blake3}?group=0&count=16385"), 400),
        (format!("/peer/v1/proof/{}", Blake3::new([5; 32])), 404),
        ("/peer/v1/proof/zz".to_owned(), 400),
        ("/peer/v1/content/md5/00".to_owned(), 400),
        (format!("/peer/v1/content/blake3/{}?cacheHostOrigin={}", Blake3::new([5; 32]), sim.address()), 404),
    ] {
        assert_eq!(parent.get(&path, HeaderMap::new()).await.unwrap().status, status, "{path}");
    }
    child.close().await;
    top.close().await;
}
