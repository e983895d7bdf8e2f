//! Nodes on real sockets: a parent with its listener, a child that joins with a token, a third one below that. Who may not is turned away.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use upstream_sim::{Character, Options, Sim};
use waystation::base::disk::RealDisk;
use waystation::base::time::SystemClock;
use waystation::chain::alarm::State;
use waystation::chain::node::{Chain, Config, Role};
use waystation::chain::roll::Standing;
use waystation::net::tls::mutual::Mutual;
use waystation::net::{Bound, Counters, Server};
use waystation::serve::peer::PeerFace;
use waystation::store::Store;
use waystation::store::catalog::{Deciding, Query, Upstream, UpstreamKind};
use waystation::upstream::peer::Parent;
use waystation::wire::peer::token::Token;

use crate::nodes::{held, runner};
use crate::small_store;

/// Longer than anything takes here on a busy machine.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// A node with its listener for nodes below.
pub(crate) struct Node {
    pub(crate) chain: Chain,
    pub(crate) store: Store,
    address: SocketAddr,
    dir: TempDir,
    server: Server,
    running: [JoinHandle<()>; 2],
    pub(crate) stop: CancellationToken,
}

/// As the jobs of a node do: what waits for a run is told in one.
pub(crate) fn telling(chain: &Chain, stop: &CancellationToken) -> JoinHandle<()> {
    let (chain, stop, mut due) = (chain.clone(), stop.clone(), chain.due());
    tokio::spawn(async move {
        while let Some(Ok(())) = stop.run_until_cancelled(due.changed()).await {
            // What could not be told is told with what comes next; what a test waits for says which it was.
            let _ = chain.tell().await;
        }
    })
}

fn config(data: &Path, address: SocketAddr, replica: bool) -> Config {
    Config {
        data: data.to_owned(),
        addresses: vec![address.to_string()],
        version: "test".into(),
        catalog: true,
        replica,
        report_every: Duration::from_millis(200),
    }
}

impl Node {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = small_store::open(&dir.path().join("data"));
        let bound = Bound::tcp(([127, 0, 0, 1], 0).into()).unwrap();
        Self::with(dir, store, bound).await
    }

    /// One that decides for itself, wherever it stands.
    pub(crate) async fn autonomous() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = small_store::open(&dir.path().join("data"));
        Self::as_one(dir, store, Bound::tcp(([127, 0, 0, 1], 0).into()).unwrap(), false).await
    }

    pub(crate) async fn with(dir: TempDir, store: Store, bound: Bound) -> Self {
        Self::as_one(dir, store, bound, true).await
    }

    async fn as_one(dir: TempDir, store: Store, bound: Bound, replica: bool) -> Self {
        let address = bound.address();
        let config = config(&dir.path().join("data"), address, replica);
        let chain = Chain::open(config, store.clone(), Arc::new(RealDisk), Arc::new(SystemClock)).await.unwrap();
        let (ca, (certs, key)) = chain.listener().await.unwrap();
        let tls = Mutual::new(ca, certs, key).unwrap();
        let face = Arc::new(PeerFace::new(chain.clone()));
        let listeners = vec![bound.with_tls(tls.server_config())];
        let net = waystation::net::Config::default();
        let server = Server::start(net, listeners, face, Counters::default()).unwrap();
        let stop = CancellationToken::new();
        let telling = telling(&chain, &stop);
        let (running, stopping) = (chain.clone(), stop.clone());
        let running = [tokio::spawn(async move { running.run(stopping).await }), telling];
        Self { chain, store, address, dir, server, running, stop }
    }

    /// As a process that ends.
    pub(crate) async fn stopped(self) -> (TempDir, SocketAddr) {
        let Self { store, dir, server, running, stop, address, .. } = self;
        stop.cancel();
        for task in running {
            task.await.unwrap();
        }
        server.drain(Duration::ZERO).await;
        store.close().await.unwrap();
        (dir, address)
    }

    /// And comes back; port 0 is another port.
    pub(crate) async fn started(dir: TempDir, address: SocketAddr) -> Self {
        let store = small_store::open(&dir.path().join("data"));
        Self::with(dir, store, Bound::tcp(address).unwrap()).await
    }

    async fn restart(self) -> Self {
        let (dir, _) = self.stopped().await;
        Self::started(dir, ([127, 0, 0, 1], 0).into()).await
    }

    /// A folder for what a test needs beside the node.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) async fn is(&self, role: Role) {
        let mut roles = self.chain.roles();
        timeout(SOON, roles.wait_for(|now| *now == role)).await.unwrap().unwrap();
    }

    /// The catalog here is that of the other one, as soon as it was told of all.
    pub(crate) async fn is_like(&self, other: &Self) {
        let (wanted, mut told) = (held(&other.store).await, self.chain.told());
        let same = async {
            while held(&self.store).await != wanted {
                told.changed().await.unwrap();
            }
        };
        timeout(SOON, same).await.expect("what is above arrives");
    }

    pub(crate) async fn join(&self, parent: &Self, name: &str) {
        let invited = parent.chain.invite(name, SOON, None, true).await.unwrap();
        self.chain.join(&invited.token).await.unwrap();
        self.is(Role::Child).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_joins_with_a_token_and_gets_the_catalog_and_so_does_one_below_it() {
    let sim = Sim::start(Options { character: Character::Wsus, seed: 7, updates: 60, ..Options::default() }).unwrap();
    let top = Node::new().await;
    let runner = runner(&sim, &top.store, top.dir.path());
    runner.run(&CancellationToken::new()).await.unwrap();
    assert_eq!(top.chain.role(), Role::None);
    let opened = top.chain.opened();
    assert!(!*opened.borrow());

    // A person compares the fingerprint; the token works for one key alone.
    let invited = top.chain.invite("Berlin", SOON, None, false).await.unwrap();
    assert!(invited.root_is_here && *opened.borrow());
    assert_eq!(top.chain.role(), Role::Authority);
    let (middle, bottom) = (Node::new().await, Node::new().await);
    let fingerprint = middle.chain.join(&invited.token).await.unwrap();
    let waiting = async {
        loop {
            let members = top.chain.members().await.unwrap();
            if let Some(member) = members.first() {
                assert_eq!((member.standing, &member.name), (Standing::Waiting, &"Berlin".to_owned()));
                return member.fingerprint.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(timeout(SOON, waiting).await.unwrap(), fingerprint);
    bottom.chain.join(&invited.token).await.unwrap();
    bottom.is(Role::None).await;
    let why = bottom.chain.seen().trouble.unwrap();
    assert!(why.contains("used") && why.contains(&fingerprint), "{why}");
    top.chain.approve("Berlin").await.unwrap();
    middle.is(Role::Child).await;
    middle.is_like(&top).await;
    let standing = middle.store.catalog().standing().await.unwrap();
    let chain = top.chain.chain().await.unwrap().unwrap();
    let upstream = Upstream { kind: UpstreamKind::Parent, address: format!("chain {chain}"), unauthenticated: false };
    assert_eq!(standing.upstream, Some(upstream));
    let runs = middle.store.catalog().runs(None, 10).await.unwrap();
    assert!(runs.iter().any(|run| run.counts.new > 60), "{runs:?}");

    // The one below the middle gets it from there, signed by the top.
    bottom.join(&middle, "Mitte").await;
    bottom.is_like(&top).await;
    assert_eq!(bottom.chain.seen().path, [top.chain.me(), middle.chain.me(), bottom.chain.me()]);
    assert_eq!(bottom.chain.chain().await.unwrap(), Some(chain));

    // An approval at the top arrives at the bottom by two long polls, across a restart of the bottom.
    let bottom = bottom.restart().await;
    assert_eq!(bottom.chain.role(), Role::Child);
    let hit = top.store.catalog().search(Query { limit: 1, ..Query::default() }).await.unwrap().hits.remove(0);
    let id = hit.summary.identity.id;
    let deciding = Deciding::Approve { all_files: false };
    top.store.catalog().decide(vec![id], deciding, "anna".into(), "now".into()).await.unwrap();
    bottom.is_like(&top).await;
    assert!(matches!(bottom.chain.seen().state, Some(State::Current { .. })));

    // Who is revoked is turned away at once, on the connection that it has; who is below it keeps what it had.
    top.chain.revoke("Berlin").await.unwrap();
    top.store.catalog().decide(vec![id], Deciding::Reset, "anna".into(), String::new()).await.unwrap();
    let refused = async {
        while !middle.chain.seen().trouble.is_some_and(|why| why.contains("revoked")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, refused).await.expect("it is told");
    let decision = bottom.store.catalog().decisions(vec![id]).await.unwrap().pop().flatten();
    assert!(decision.is_some());

    // The root key is given out once.
    let (out, exported) = (Arc::new(std::sync::Mutex::new(Vec::new())), top.chain.clone());
    let kept = Arc::clone(&out);
    let keep = move |root: &[u8]| {
        kept.lock().unwrap().extend_from_slice(root);
        Ok(())
    };
    exported.export_root(keep).await.unwrap();
    assert_eq!(out.lock().unwrap().len(), 32);
    assert!(exported.export_root(|_| Ok(())).await.is_err());
    assert!(!top.chain.invite("Wien", SOON, None, true).await.unwrap().root_is_here);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_turned_away() {
    let top = Node::new().await;
    let invited = top.chain.invite("Berlin", SOON, Some("192.0.2.0/24".parse().unwrap()), true).await.unwrap();
    let token = Token::read(&invited.token).unwrap();

    // Without a certificate nothing but `join` answers.
    let stranger = Parent::new(token.pin, token.addresses.clone(), None).unwrap();
    for path in ["/peer/v1/feed", "/peer/v1/snapshot", "/peer/v1/renew", "/peer/v1/anything"] {
        assert_eq!(stranger.get(path, http::HeaderMap::new()).await.unwrap().status, 401, "{path}");
    }
    // Somebody who stands at the address with another authority is not talked to.
    let wrong = Parent::new([9; 32], token.addresses.clone(), None).unwrap();
    let error = wrong.get("/peer/v1/feed", http::HeaderMap::new()).await.unwrap_err().to_string();
    assert!(error.contains("another authority"), "{error}");

    // From another network, with a wrong secret, too often: refused, and told why.
    let child = Node::new().await;
    child.chain.join(&invited.token).await.unwrap();
    child.is(Role::None).await;
    assert!(child.chain.seen().trouble.unwrap().contains("another network"));
    let secret = waystation::base::secret::Key::new([1; 32]);
    let guessed = Token { secret, ..Token::read(&invited.token).unwrap() };
    let guess = guessed.write().unwrap();
    child.chain.join(&guess).await.unwrap();
    child.is(Role::None).await;
    assert!(child.chain.seen().trouble.unwrap().contains("knows no such invitation"));
    let body = || {
        let request = serde_json::json!({
            "invitation": "00", "secret": "00", "csr": "", "sealing_key": "", "version": "", "node": "",
        });
        request.to_string().into()
    };
    let mut last = 0;
    for _ in 0..12 {
        last = stranger.post("/peer/v1/join", "application/json", body()).await.unwrap().status;
    }
    assert_eq!(last, 429);
    // A node is not its own parent, and an authority follows nobody.
    let own = top.chain.invite("self", SOON, None, true).await.unwrap();
    assert!(top.chain.join(&own.token).await.is_err());
    assert!(child.chain.join("wst1.nothing").await.is_err());
    assert_eq!(
        top.address.port(),
        top.chain.invite("x", SOON, None, true).await.unwrap().addresses[0]
            .rsplit(':')
            .next()
            .unwrap()
            .parse::<u16>()
            .unwrap()
    );
}
