//! From the catalog to the payload: a run against the simulator, and what clients ask for afterwards. As a WSUS server that
//! fetches files only when it is told to; as Microsoft's service behind TLS, whose digests prove what comes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use upstream_sim::{Character, Options, Sim};
use waystation::base::disk::RealDisk;
use waystation::base::time::SystemClock;
use waystation::fill::{self, Ask, Error, Fill, Obtained, Target, Want};
use waystation::keep::review;
use waystation::model::filter::Selection;
use waystation::model::origin::AllowList;
use waystation::model::payload::{Class, Location, Standing};
use waystation::model::update::File;
use waystation::pace::Governor;
use waystation::store::catalog::{KnownFile, UpstreamKind};
use waystation::store::{Config, Store};
use waystation::sync::Runner;
use waystation::upstream::Upstream;
use waystation::upstream::wsus::{self, Wsus};

use crate::authority::Authority;
use crate::conversation;

/// Longer than anything takes here on a busy machine.
const SOON: Duration = Duration::from_mins(1);

/// Before a TLS listener for `sim`: what a service with a certificate looks like.
async fn behind_tls(sim: &Sim, authority: &Authority) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let (acceptor, to) = (tokio_rustls::TlsAcceptor::from(authority.server(&["127.0.0.1"])), sim.address());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let (Ok(mut client), Ok(mut server)) = (acceptor.accept(client).await, TcpStream::connect(to).await)
                else {
                    return;
                };
                // Either end may leave at any time.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    url
}

struct Node {
    store: Store,
    fill: Fill,
    runner: Runner,
}

impl Node {
    /// Below `sim`, whose service is asked at `url`.
    fn new(dir: &Path, sim: &Sim, kind: UpstreamKind, url: &str, authority: Option<&Authority>) -> Self {
        let config = Config {
            path: dir.join("data"),
            max_size: 1 << 30,
            min_free: 0,
            unproven: Duration::from_hours(24),
            index_cache: 8 << 20,
            open_payloads: 64,
            io_threads: 2,
        };
        let clock = Arc::new(SystemClock);
        let (store, _) = Store::open(config, Arc::new(RealDisk), clock.clone()).unwrap();
        let mut config = conversation::config(url, dir.to_owned());
        config.http.extra_ca = authority.iter().map(|authority| authority.pem()).collect();
        let http = config.http.clone();
        let wsus = |config: &wsus::Config| Wsus::new(config.clone(), &Governor::default()).unwrap();
        let runner = Runner::new(kind, url, wsus(&config), store.clone(), Arc::new(Selection::default), clock.clone());
        let allow = Arc::new(AllowList::new(&[sim.address().to_string()]).unwrap());
        let source = Arc::new(Upstream::new(http, Arc::clone(&allow)).unwrap());
        let is_wsus = kind == UpstreamKind::Wsus;
        let upstream = is_wsus.then(|| Location { url: url.to_owned(), standing: Standing::Upstream });
        let of_fill = fill::Config { upstream, upstream_is_wsus: is_wsus, ..fill::Config::default() };
        let fill = if is_wsus {
            Fill::below(of_fill, store.clone(), source, allow, clock, wsus(&config))
        } else {
            Fill::new(of_fill, store.clone(), source, allow, clock)
        };
        Self { store, fill, runner }
    }

    async fn run(&self) {
        timeout(SOON, self.runner.run(&CancellationToken::new())).await.unwrap().unwrap();
    }

    /// Files of the catalog, as many; not those of licences, which a server has from the start.
    async fn files(&self, many: usize) -> Vec<KnownFile> {
        let catalog = self.store.catalog();
        let (mut found, mut after) = (Vec::<KnownFile>::new(), (0, 0));
        loop {
            let page = catalog.changes(after.0, after.1, 200).await.unwrap();
            for change in page.changes.iter().filter(|change| change.held) {
                let update = catalog.revision(change.number).await.unwrap().unwrap().update;
                for file in update.files {
                    found.extend(catalog.files(waystation::store::catalog::FileDigest::Sha1(file.sha1)).await.unwrap());
                    if found.len() == many {
                        return found;
                    }
                }
            }
            let last = page.changes.last().expect("there are enough files");
            after = (last.at, last.number);
        }
    }

    fn content(&self, file: &File) -> Target {
        let hex = file.sha1.to_string().to_uppercase();
        let extension = file.name.rsplit_once('.').map_or("bin", |(_, extension)| extension);
        let path = format!("/Content/{}/{hex}.{extension}", &hex[38..]);
        self.fill.locate(&Ask { host: None, path: &path, query: None, via: None }).unwrap()
    }

    /// At the address that the catalog names.
    fn at_url(&self, file: &KnownFile) -> Target {
        let (host, path) = file.urls[0].strip_prefix("http://").unwrap().split_once('/').unwrap();
        let path = format!("/{path}");
        self.fill.locate(&Ask { host: Some(host), path: &path, query: None, via: None }).unwrap()
    }

    async fn close(self) {
        self.fill.close().await;
        self.store.close().await.unwrap();
    }
}

fn within(time: Duration) -> Want {
    Want { head: false, first: 0, last: None, exact: false, client: [10, 0, 0, 1].into(), until: Instant::now() + time }
}

fn lines(sim: &Sim, method: &str) -> Vec<Value> {
    let log = sim.log(2_000);
    log["lines"].as_array().unwrap().iter().filter(|line| line["method"] == method).cloned().collect()
}

fn sim(character: Character, seed: u64, updates: usize, lazy: Duration) -> Sim {
    Sim::start(Options { character, seed, updates, file_scale: 0.05, lazy, ..Options::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lazy_wsus_is_told_once_to_fetch_what_many_clients_miss() {
    let sim = sim(Character::Wsus, 41, 60, Duration::from_millis(400));
    let dir = tempfile::tempdir().unwrap();
    let node = Node::new(dir.path(), &sim, UpstreamKind::Wsus, &sim.url(), None);
    node.run().await;
    let files = node.files(5).await;
    sim.reset_log();
    // Four of them at once, each by three clients.
    let mut clients = JoinSet::new();
    for known in files.iter().take(4).flat_map(|known| [known; 3]) {
        let (fill, target, size) = (node.fill.clone(), node.content(&known.file), known.file.size);
        clients.spawn(async move {
            match fill.obtain(&target, within(SOON)).await.unwrap() {
                Obtained::Flying { facts, .. } => assert_eq!(facts.size, size),
                Obtained::Held { found, .. } => assert_eq!(found.held.payload().size, size),
                other @ Obtained::Passed(_) => panic!("{other:?}"),
            }
            let found = fill.prefetch(&target).await.unwrap();
            assert_eq!((found.held.payload().class, found.held.payload().size), (Class::Proven, size));
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    // Each file is named once, however many miss it; those that are missed within a moment together.
    let questions = lines(&sim, "DownloadFiles");
    let mut named: Vec<&Value> = questions.iter().flat_map(|line| line["digests"].as_array().unwrap()).collect();
    let all = named.len();
    named.sort_by_key(ToString::to_string);
    named.dedup();
    assert_eq!((all, named.len()), (4, 4), "{questions:?}");
    let before = questions.len();
    // Each was missing first, and came once.
    let sent = sim.log(0)["content"]["files_sent_more_than_once"].clone();
    assert_eq!(sent, json!(0));
    let missed = lines(&sim, "content-GET").iter().filter(|line| line["status"] == 404).count();
    assert!(missed >= 4, "{missed}");

    // A client is told to come again where it takes longer than it waits, and never that there is nothing.
    let slow = Sim::start(Options {
        character: Character::Wsus,
        seed: 42,
        updates: 40,
        file_scale: 0.05,
        lazy: Duration::from_millis(900),
        ..Options::default()
    })
    .unwrap();
    let other = tempfile::tempdir().unwrap();
    let below = Node::new(other.path(), &slow, UpstreamKind::Wsus, &slow.url(), None);
    below.run().await;
    let file = below.files(1).await.remove(0).file;
    let target = below.content(&file);
    let error = below.fill.obtain(&target, within(Duration::from_millis(300))).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let found = below.fill.prefetch(&target).await.unwrap();
    assert_eq!(found.held.payload().digests.sha1, file.sha1);
    assert_eq!(lines(&slow, "DownloadFiles").len(), 1);

    // What the catalog does not list is not asked for, and is not there.
    let path = format!("/Content/AB/{}.cab", "AB".repeat(20));
    let nowhere = node.fill.locate(&Ask { host: None, path: &path, query: None, via: None }).unwrap();
    let error = node.fill.obtain(&nowhere, within(SOON)).await.unwrap_err();
    assert!(matches!(error, Error::Origin(_, 404)), "{error:?}");
    assert_eq!(lines(&sim, "DownloadFiles").len(), before);
    below.close().await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wsus_that_cannot_be_told_is_no_end() {
    let sim = sim(Character::Wsus, 43, 40, Duration::ZERO);
    let dir = tempfile::tempdir().unwrap();
    let node = Node::new(dir.path(), &sim, UpstreamKind::Wsus, &sim.url(), None);
    node.run().await;
    let file = node.files(1).await.remove(0).file;
    let busy = json!({ "fault": "server-busy", "method": "DownloadFiles", "count": 1000 });
    sim.fault(&busy).unwrap();
    let error = node.fill.prefetch(&node.content(&file)).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable { .. }) && error.to_string().contains("told to fetch"), "{error:?}");
    // The server has it by now; nobody has to be told anything.
    sim.clear_faults();
    let cookie = wsus_of(&sim, dir.path());
    assert!(cookie.download_files(&[file.sha1]).await.unwrap().is_empty());
    let found = node.fill.prefetch(&node.content(&file)).await.unwrap();
    assert_eq!(found.held.payload().digests.sha1, file.sha1);
    node.close().await;
}

fn wsus_of(sim: &Sim, folder: &Path) -> Wsus {
    Wsus::new(conversation::config(&sim.url(), folder.to_owned()), &Governor::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authenticated_catalog_proves_what_comes_and_what_was_there() {
    // Its files lie at its own address, whichever one the service is asked at.
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sim = Sim::start(Options {
        character: Character::Microsoft,
        seed: 44,
        updates: 400,
        file_scale: 0.05,
        listen,
        mu_url: Some(format!("http://{listen}")),
        ..Options::default()
    })
    .unwrap();
    let authority = Authority::new("the service's");
    let url = behind_tls(&sim, &authority).await;
    let dir = tempfile::tempdir().unwrap();
    // What another node's catalog says of the same upstream tells which files there are, before this one has any.
    let scout = tempfile::tempdir().unwrap();
    let scouting = Node::new(scout.path(), &sim, UpstreamKind::Microsoft, &sim.url(), None);
    scouting.run().await;
    let files = scouting.files(3).await;
    scouting.close().await;

    let node = Node::new(dir.path(), &sim, UpstreamKind::Microsoft, &url, Some(&authority));
    let (early, later, spoilt) = (&files[0], &files[1], &files[2]);
    // Nobody vouches for it yet: the host is not one of Microsoft's.
    let found = node.fill.prefetch(&node.at_url(early)).await.unwrap();
    assert_eq!(found.held.payload().class, Class::Unproven);
    sim.fault(&json!({ "fault": "wrong-digest", "count": 1 })).unwrap();
    let wrong = node.fill.prefetch(&node.at_url(spoilt)).await.unwrap();
    assert_ne!(wrong.held.payload().digests.sha1, spoilt.file.sha1, "it came spoilt, and nobody could know");
    drop((found, wrong));
    node.run().await;
    assert!(!node.store.catalog().standing().await.unwrap().upstream.unwrap().unauthenticated);
    let reviewed = review::pass(&node.store, &CancellationToken::new()).await.unwrap();
    assert_eq!((reviewed.promoted, reviewed.thrown_out), (1, 1), "{reviewed:?}");
    let found = node.store.find(&node.at_url(early).name).await.unwrap().unwrap();
    assert_eq!(found.held.payload().class, Class::Proven);
    assert!(node.store.find(&node.at_url(spoilt).name).await.unwrap().is_none());

    // From now on wrong bytes are found out when they come.
    let again = node.fill.prefetch(&node.at_url(spoilt)).await.unwrap_err();
    assert!(matches!(again, Error::Mismatch { .. }), "{again:?}");
    assert!(node.store.find(&node.at_url(spoilt).name).await.unwrap().is_none());
    let found = node.fill.prefetch(&node.at_url(later)).await.unwrap();
    assert_eq!(found.held.payload().class, Class::Proven);
    // By its digest, from where the catalog says that it lies.
    sim.clear_faults();
    let found = node.fill.prefetch(&node.content(&spoilt.file)).await.unwrap();
    assert_eq!(found.held.payload().digests.sha256, spoilt.file.sha256.unwrap());
    node.close().await;
}
