//! Nodes above and below: the chain's room at work, the listener for nodes below, and the upstream that changes when a parent let this
//! node in.
//!
//! The listener is opened by the first invitation, never before, and from then on with each start.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::config::keys::Typed;
use crate::app::config::kinds::word::UpstreamKind;
use crate::app::config::rooms;
use crate::app::run_time::RunTime;
use crate::base::disk::RealDisk;
use crate::base::time::Clock;
use crate::chain::below::EVERY;
use crate::chain::below::host::Host;
use crate::chain::node::{Chain, Config, Role};
use crate::model::settings::Raw;
use crate::net::tls::mutual::Mutual;
use crate::net::{self, Bound, Server};
use crate::serve::Face;
use crate::serve::peer::{Counters, PeerFace};
use crate::store::Store;

/// How often the listener shows a new certificate: they are good for a week.
const RENEW: Duration = Duration::from_hours(24);
/// How long to wait where an address cannot be had.
const AGAIN: Duration = Duration::from_secs(30);
/// How long answers to nodes may take at the end.
const GRACE: Duration = Duration::from_secs(1);

/// The chain's room, and the tasks beside it.
pub(crate) struct Nodes {
    tasks: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

/// Takes the chain up; `None` where the store takes nothing new, so that there could be none.
pub(crate) async fn open(typed: &Typed, store: &Store, clock: &Arc<dyn Clock>) -> Option<Chain> {
    let port = typed.listen.peer.0.first().map(SocketAddr::port);
    let mut names: Vec<String> = typed.advertise.names.0.clone();
    if names.is_empty() {
        names.push(rooms::node_name(typed));
    }
    let addresses = names.iter().filter_map(|name| Some(format!("{name}:{}", port?))).take(8).collect();
    let config = Config {
        data: typed.store.path.0.clone(),
        addresses,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        catalog: typed.upstream.kind == UpstreamKind::Parent,
        replica: typed.upstream.replica.0,
        report_every: EVERY,
    };
    match Chain::open(config, store.clone(), Arc::new(RealDisk), Arc::clone(clock)).await {
        Ok(chain) => Some(chain),
        Err(error) => {
            tracing::error!(%error, "this node takes no part in a chain of nodes");
            None
        }
    }
}

/// Starts what goes on beside: following or signing, the listener, the change of the upstream.
pub(crate) fn start(
    chain: Chain,
    addresses: Vec<SocketAddr>,
    config: net::Config,
    settings: Arc<RunTime>,
    host: Arc<dyn Host>,
    content: (Arc<Face>, Counters),
) -> Nodes {
    let stop = CancellationToken::new();
    let (running, stopping) = (chain.clone(), stop.clone());
    let mut tasks = vec![tokio::spawn(async move { running.run(stopping).await })];
    let (telling, stopping) = (chain.clone(), stop.clone());
    tasks.push(tokio::spawn(async move { telling.report(host, stopping).await }));
    let (below, stopping) = (chain.clone(), stop.clone());
    tasks.push(tokio::spawn(async move {
        let mut opened = below.opened();
        let is_open = stopping.run_until_cancelled(opened.wait_for(|open| *open)).await;
        if is_open.is_some_and(|open| open.is_ok()) {
            listen(below.clone(), addresses, config, content, stopping).await;
        }
    }));
    let (above, stopping) = (chain, stop.clone());
    tasks.push(tokio::spawn(async move {
        stopping.run_until_cancelled(switch(above, settings)).await;
    }));
    Nodes { tasks, stop }
}

impl Nodes {
    /// Ends all of it.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        for task in self.tasks {
            drop(task.await);
        }
    }
}

async fn serve(
    chain: &Chain,
    addresses: &[SocketAddr],
    config: &net::Config,
    (face, counters): &(Arc<Face>, Counters),
) -> Result<(Server, Mutual), String> {
    let (ca, (certs, key)) = chain.listener().await.map_err(|error| error.to_string())?;
    let tls = Mutual::new(ca, certs, key).map_err(|error| error.to_string())?;
    let bound = addresses.iter().map(|address| Ok(Bound::tcp(*address)?.with_tls(tls.server_config())));
    let bound = bound.collect::<Result<Vec<Bound>, net::Error>>().map_err(|error| error.to_string())?;
    let face = Arc::new(PeerFace::new(chain.clone()).with_content(Arc::clone(face), counters.clone()));
    let server = Server::start(config.clone(), bound, face, net::Counters::default());
    Ok((server.map_err(|error| error.to_string())?, tls))
}

async fn listen(
    chain: Chain,
    addresses: Vec<SocketAddr>,
    config: net::Config,
    content: (Arc<Face>, Counters),
    stop: CancellationToken,
) {
    let opened = async {
        loop {
            match serve(&chain, &addresses, &config, &content).await {
                Ok(opened) => return opened,
                Err(error) => {
                    tracing::error!(error, "nodes below cannot be listened to: look at [listen] peer");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    };
    let Some((server, tls)) = stop.run_until_cancelled(opened).await else { return };
    tracing::info!(addresses = ?server.addresses(), "listening for nodes below");
    while stop.run_until_cancelled(tokio::time::sleep(RENEW)).await.is_some() {
        let renewed = chain.listener().await.map_err(|error| error.to_string());
        let renewed = renewed.and_then(|(_, (certs, key))| tls.replace(certs, key).map_err(|error| error.to_string()));
        if let Err(error) = renewed {
            tracing::warn!(error, "the certificate for nodes below is not renewed yet");
        }
    }
    server.drain(GRACE).await;
}

/// Once the first checkpoint of a parent was verified it is the upstream, from the next start on; once the node left it, what was before.
async fn switch(chain: Chain, settings: Arc<RunTime>) {
    let mut roles = chain.roles();
    loop {
        follow(&chain, &settings).await;
        if roles.wait_for(|role| *role == Role::None).await.is_err() {
            return;
        }
        // Where a file says so it stays, and the node has no upstream until that is changed.
        let kind = vec![("upstream.kind", None)];
        if let Err(error) = settings.change_all(kind, "the chain", |_| async { Ok(()) }).await {
            tracing::warn!(%error, "this node left its parent, and [upstream] kind stays as it is");
        }
        if roles.wait_for(|role| *role != Role::None).await.is_err() {
            return;
        }
    }
}

async fn follow(chain: &Chain, settings: &RunTime) {
    let (mut roles, mut moved) = (chain.roles(), chain.moved());
    loop {
        if *roles.borrow_and_update() == Role::Child && chain.seen().position.is_some() {
            let now = Typed::read(&settings.now()).map(|typed| typed.upstream.kind);
            if matches!(now, Ok(UpstreamKind::Parent)) {
                return;
            }
            let kind = vec![("upstream.kind", Some(Raw::Text("parent".to_owned())))];
            match settings.change_all(kind, "the chain", |_| async { Ok(()) }).await {
                Ok(()) => {
                    tracing::warn!("the parent's feed was verified: the catalog is its own from the next start on");
                }
                Err(error) => tracing::error!(
                    %error,
                    "the parent's feed was verified, and [upstream] kind cannot be set to \"parent\": set it where it is set"
                ),
            }
            return;
        }
        tokio::select! {
            changed = roles.changed() => if changed.is_err() { return },
            changed = moved.changed() => if changed.is_err() { return },
        }
    }
}
