//! Puts the rooms together, from the cellar up. Nothing is announced before everything stands.
//!
//! 1. The data directory: made if it is missing, refused where it belongs to somebody else or lies across a network.
//! 2. The store, on a thread that may block; one that opens for reading only is served from, and the node is not ready.
//! 3. The run-time settings out of the store, beneath the file.
//! 4. Upstream, fill, jobs, the content face and the control plane, each with its own configuration by value.
//! 5. The listeners: all are bound before the first one answers, so that a port in use stops the start and nothing else.
//!
//! The data plane's rooms live in the data runtime, the control plane in its own: a flood of requests cannot mute the
//! console, and a question of the console cannot hold a download up.

mod catalog;

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use prometheus_client::registry::Registry;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::bandwidth::Bandwidth;
use crate::admin::compliance::{AskNewcomer, Reported};
use crate::admin::door::Door;
use crate::admin::door::foreign::Foreign;
use crate::admin::socket::Socket;
use crate::admin::{self, Handles, NodeFacts, Turns, view};
use crate::app::account::Standing;
use crate::app::bandwidth::Changer;
use crate::app::build::catalog::{lazy, runner, selection};
use crate::app::config::keys::Typed;
use crate::app::config::kinds::word::UpstreamKind;
use crate::app::config::rooms;
use crate::app::elsewhere::Elsewhere;
use crate::app::host::Own;
use crate::app::machine::{self, FileSystem};
use crate::app::nodes::{self, Nodes};
use crate::app::parent::parent;
use crate::app::run_time::RunTime;
use crate::app::upstream::above;
use crate::app::{AppError, Loaded, filters, load, preflight, settings};
use crate::base::disk::RealDisk;
use crate::base::time::{Clock, SystemClock};
use crate::chain::node::{Chain, Role};
use crate::fill::Fill;
use crate::fleet::compliance::Compliance;
use crate::fleet::registry::Registry as Enrolment;
use crate::fleet::roster::Roster;
use crate::jobs::Jobs;
use crate::jobs::content::Content;
use crate::jobs::drawn::Draws;
use crate::jobs::work::{Verify, Work};
use crate::model::filter::Selection;
use crate::model::origin::AllowList;
use crate::model::settings::{LOCAL_DOCUMENTS, Layer, Settings};
use crate::net::tls::Tls;
use crate::net::{self, Bound, Server};
use crate::pace::Governor;
use crate::serve::downstream::{Downstream, Wish};
use crate::serve::peer;
use crate::serve::{self, client::Scans};
use crate::store::{Health, Opened, Store};
use crate::sync::Chosen;
use crate::upstream::{Source, Upstream};

/// Threads of the control plane: one for a slow question, one for the others.
const CONTROL_THREADS: usize = 2;

/// The two planes.
pub(crate) struct Planes {
    pub(crate) data: Runtime,
    pub(crate) control: Runtime,
}

impl Planes {
    /// Starts the threads.
    pub(crate) fn start() -> Result<Self, AppError> {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let runtime = |name: &str, threads: usize| {
            Builder::new_multi_thread()
                .worker_threads(threads)
                .thread_name(name)
                .enable_all()
                .build()
                .map_err(|source| AppError::System { what: "threads", source })
        };
        Ok(Self { data: runtime("data", cores)?, control: runtime("control", CONTROL_THREADS)? })
    }
}

/// The rooms at work.
pub(crate) struct Node {
    pub(crate) store: Store,
    pub(crate) fill: Fill,
    pub(crate) jobs: Jobs,
    pub(crate) facts: Arc<NodeFacts>,
    pub(crate) settings: Arc<ArcSwap<Settings>>,
    pub(crate) allow: Arc<AllowList>,
    pub(crate) scans: Arc<Scans>,
    pub(crate) content: Server,
    pub(crate) control: Option<Server>,
    pub(crate) socket: Option<(JoinHandle<()>, CancellationToken)>,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) pace: Pace,
    pub(crate) nodes: Option<Nodes>,
    pub(crate) setup_code: Option<PathBuf>,
    pub(crate) http: Vec<SocketAddr>,
    pub(crate) https: Vec<SocketAddr>,
}

/// What governs the bandwidth, and the task that does it.
pub(crate) struct Pace {
    pub(crate) governor: Governor,
    pub(crate) governing: JoinHandle<()>,
    pub(crate) stop: CancellationToken,
}

/// The certificate in use, and the task that looks for another one.
pub(crate) struct Certificate {
    pub(crate) tls: Arc<Tls>,
    pub(crate) watching: JoinHandle<()>,
    pub(crate) stop: CancellationToken,
}

impl Node {
    /// Why nothing new is kept, if so.
    pub(crate) fn read_only(&self) -> Option<String> {
        match self.store.health() {
            Health::Ready => None,
            Health::ReadOnly { why } => Some(why),
        }
    }

    /// Where the control listener is.
    pub(crate) fn control_address(&self) -> Option<SocketAddr> {
        self.control.as_ref().and_then(|server| server.addresses().first().copied())
    }
}

/// Makes the data directory, or refuses the one that is there.
pub(crate) fn data_directory(data: &Path, allow_network: bool) -> Result<(), AppError> {
    let refused = |why: String| AppError::Data { path: data.to_owned(), why };
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(|error| {
        refused(format!("it cannot be made: {error}; make it for the node's user, or name another with --data"))
    })?;
    let user = rustix::process::geteuid().as_raw();
    if let Some(owner) = machine::owner(data).filter(|owner| *owner != user) {
        let why = if machine::is_locked(&data.join("lock")) {
            format!(
                "it belongs to user {owner}, and a node runs there already: ask it with `waystation status --data {}`",
                data.display()
            )
        } else {
            format!(
                "it belongs to user {owner}, and this is user {user}: start the node as user {owner} (`setpriv \
                 --reuid={owner} ...`), or give it the directory (chown -R)"
            )
        };
        return Err(AppError::Owner { path: data.to_owned(), why });
    }
    match machine::file_system(data) {
        Some(FileSystem::Remote(kind)) if !allow_network => {
            Err(refused(format!("{}: {}", preflight::host::remote(kind), preflight::host::REMOTE_ADVICE)))
        }
        Some(FileSystem::Remote(kind)) => {
            tracing::warn!(path = %data.display(), kind, "the data directory lies across a network: a payload can be lost");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Opens the store on a thread that may block, and lays the run-time settings beneath the file.
pub(crate) async fn store(loaded: &mut Loaded) -> Result<(Store, Opened), AppError> {
    let config = rooms::store(&loaded.typed()?);
    let opening =
        tokio::task::spawn_blocking(move || Store::open_to_serve(config, Arc::new(RealDisk), Arc::new(SystemClock)));
    let (store, opened) = opening.await.map_err(|error| AppError::System {
        what: "opening the store",
        source: std::io::Error::other(error.to_string()),
    })??;
    tracing::info!(
        epoch = opened.epoch,
        created = opened.created,
        intents_undone = opened.intents_undone,
        intents_finished = opened.intents_finished,
        deletes_finished = opened.deletes_finished,
        drafts_kept = opened.drafts_kept,
        drafts_swept = opened.drafts_swept,
        "store open"
    );
    match store.documents(LOCAL_DOCUMENTS).await {
        Ok(documents) => {
            let named = documents
                .into_iter()
                .map(|(key, value)| (key.strip_prefix(LOCAL_DOCUMENTS).unwrap_or(&key).to_owned(), value));
            for problem in loaded.record(Layer::Local, named.collect()) {
                tracing::warn!(place = problem.place, what = problem.what, "a run-time setting is left out");
            }
        }
        // A store whose index failed still serves what it holds.
        Err(error) => tracing::warn!(%error, "the run-time settings cannot be read; the file's and the defaults hold"),
    }
    Ok((store, opened))
}

/// Builds everything above the store. Runs in the data runtime; `control` is the other one.
pub(crate) async fn node(loaded: &Loaded, store: Store, opened: &Opened, control: &Handle) -> Result<Node, AppError> {
    let typed = loaded.typed()?;
    rooms::consistent(&typed).map_err(|error| error.placed(loaded.settings()))?;
    for finding in preflight::without_effect(&typed) {
        tracing::warn!(key = finding.subject, "{}", finding.seen);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let id = store_id(loaded.data_dir());
    let allow = AllowList::new(&typed.origins.allow.0)
        .map_err(|error| crate::app::ConfigError::one("origins.allow", error.to_string()))?;
    let allow = Arc::new(allow);
    let governor = Governor::new(rooms::pace(&typed)?, Arc::clone(&clock));
    let chain = nodes::open(&typed, &store, &clock).await;
    // Another role, and another kind of upstream with it, is taken by a start.
    let below =
        chain.as_ref().filter(|chain| typed.upstream.kind == UpstreamKind::Parent && chain.role() == Role::Child);
    let for_upstream = rooms::upstream(&typed, &id)?;
    let upstream = match below {
        Some(chain) => Upstream::below(for_upstream, Arc::clone(&allow), governor.clone(), chain.ways())?,
        None => Upstream::paced(for_upstream, Arc::clone(&allow), governor.clone())?,
    };
    let mut registry = Registry::with_prefix("waystation");
    if let Some(counters) = upstream.of_parent() {
        counters.register(registry.sub_registry_with_prefix("parent"));
    }
    let upstream: Arc<dyn Source> = Arc::new(upstream);
    let (for_fill, allowed, time) = (rooms::fill(&typed), Arc::clone(&allow), Arc::clone(&clock));
    let fill = match (lazy(&typed, &id, &governor).await?, below) {
        (Some(wsus), _) => Fill::below(for_fill, store.clone(), upstream, allowed, time, wsus),
        (None, Some(_)) => Fill::under(for_fill, store.clone(), upstream, allowed, time, parent(&typed, &store)),
        (None, None) => Fill::new(for_fill, store.clone(), upstream, allowed, time),
    };
    let mut for_jobs = rooms::jobs(&typed, &id);
    for_jobs.decides = !below.is_some_and(Chain::is_replica);
    // The settings in force are known further below; no run begins before that.
    let in_force: Arc<OnceLock<Arc<ArcSwap<Settings>>>> = Arc::default();
    let asked = Arc::clone(&in_force);
    let chosen: Chosen =
        Arc::new(move || asked.get().map_or_else(Selection::default, |settings| selection(&settings.load())));
    let (asked, started_with) = (Arc::clone(&in_force), rooms::content(&typed));
    for_jobs.content = Content(Arc::new(move || {
        // What cannot be read was refused when it was set.
        let now = asked.get().and_then(|settings| Typed::read(&settings.load()).ok());
        now.map_or_else(|| started_with.clone(), |typed| rooms::content(&typed))
    }));
    let (asked, started_with) = (Arc::clone(&in_force), rooms::drawn(&typed));
    for_jobs.drawn = Draws(Arc::new(move || {
        let now = asked.get().and_then(|settings| Typed::read(&settings.load()).ok());
        now.map_or(started_with, |typed| rooms::drawn(&typed))
    }));
    let runner = runner(&typed, &id, &store, &governor, chosen, &clock, below).await?;
    let jobs = match runner.clone() {
        Some(sync) => Jobs::with_catalog(for_jobs, store.clone(), fill.clone(), sync, Arc::clone(&clock)),
        None => Jobs::new(for_jobs, store.clone(), fill.clone(), Arc::clone(&clock)),
    };
    if let Err(error) = jobs.go_on_counting().await {
        tracing::warn!(%error, "the numbers of jobs begin at 1 again");
    }

    let suspects = jobs.clone();
    let suspect = move |suspicion: serve::Suspicion| {
        let work = Work::Verify(Verify { only: Some(suspicion.blake3), repair: true, rate: None, scheduled: true });
        // Refused while the same payload is being verified already, which is as good.
        if let Err(error) = suspects.start(work, "node") {
            tracing::debug!(blake3 = %suspicion.blake3, %error, "a suspicion starts no job");
        }
    };
    let face =
        serve::Face::new(serve::Config::default(), fill.clone(), store.clone(), Arc::clone(&clock), Box::new(suspect));

    face.counters().register(&mut registry);
    let counters = net::Counters::default();
    counters.register(registry.sub_registry_with_prefix("net"));
    store.counters().register(registry.sub_registry_with_prefix("store"));
    let control_counters = net::Counters::default();
    control_counters.register(registry.sub_registry_with_prefix("control"));
    governor.counters().register(registry.sub_registry_with_prefix("bandwidth"));
    let flown = fill.counters();
    let filling = registry.sub_registry_with_prefix("fill");
    filling.register("flights", "Flights begun", flown.flights.clone());
    filling.register("restarts", "Flights given up because the origin changed the object", flown.restarts.clone());
    filling.register("mismatches", "Payloads whose bytes contradicted a published digest", flown.mismatches.clone());
    filling.register("passed", "Responses passed through and not kept", flown.passed.clone());
    filling.register("revalidations", "Questions whether a stale object is still right", flown.revalidations.clone());

    // Passwords and tokens leave the machine over TLS alone.
    let away = typed.listen.control.0.is_some_and(|address| !address.ip().is_loopback());
    let certificate = if typed.listen.https.0.is_empty() && !away { None } else { certificate(&typed, &store).await? };
    let http = bind(&typed.listen.http.0)?;
    let https = if certificate.is_some() { bind(&typed.listen.https.0)? } else { Vec::new() };
    let control_bound = match (typed.listen.control.0, &certificate) {
        (Some(address), Some(tls)) if away => Some(Bound::tcp(address)?.with_tls(tls.server_config())),
        (Some(address), None) if away => {
            tracing::error!(%address, "the control listener is off the loopback, and there is no certificate: it is not listened on");
            None
        }
        (Some(address), _) => Some(Bound::tcp(address)?),
        (None, _) => None,
    };
    let http_addresses: Vec<_> = http.iter().map(Bound::address).collect();
    let https_addresses: Vec<_> = https.iter().map(Bound::address).collect();
    let endpoints = Enrolment::open(store.fleet(), rooms::admission(&typed)).await;
    let for_scans = rooms::scan(&typed, http_addresses.clone());
    let scans = Scans::open(for_scans, endpoints.clone(), &store, Arc::clone(&clock))
        .await
        .map_err(|why| AppError::System { what: "answering scans", source: std::io::Error::other(why) })?;
    scans.counters().register(&mut registry);
    let compliance = scans.compliance().clone();
    compliance.counters().register(&mut registry);
    jobs.judge_by(compliance.clone());
    if let (Some(runner), Some((name, account))) = (&runner, rooms::told_above(&typed, &id)) {
        let (store, compliance, clock) = (store.clone(), compliance.clone(), Arc::clone(&clock));
        runner.tell_above(Arc::new(Standing { id: account, name, store, compliance, clock }));
    }
    let scans = Arc::new(scans);
    let newcomer = newcomer(&scans);
    let mut face = face.with_scans(Arc::clone(&scans));
    if let Some(config) = rooms::downstream(&typed) {
        let wishing = jobs.clone();
        let wish: Wish = Box::new(move |files| wishing.wish(files));
        let downstream = Downstream::new(config, Arc::clone(&scans), &store, Arc::clone(&clock), wish);
        downstream.counters().register(&mut registry);
        face = face.with_downstream(Arc::new(downstream));
    }
    let control_address = control_bound.as_ref().map(Bound::address);
    // The socket belongs to the control plane's runtime.
    let socket = {
        let _control = control.enter();
        Socket::bind(loaded.data_dir())
    };
    let socket = match socket {
        Ok(socket) => Some(socket),
        Err(error) => {
            tracing::warn!(path = %loaded.control_socket().display(), %error, "no control socket: the command line can ask the node over listen.control, and order it nothing");
            None
        }
    };

    let mut listening = Vec::new();
    let listened = |face: &str, address: String| view::Listening { face: face.into(), address };
    listening.extend(http_addresses.iter().map(|address| listened("http", address.to_string())));
    listening.extend(https_addresses.iter().map(|address| listened("https", address.to_string())));
    listening.extend(control_address.iter().map(|address| listened("control", address.to_string())));
    listening.extend(socket.iter().map(|socket| listened("socket", socket.path().display().to_string())));
    let (face, to_nodes) = (Arc::new(face), peer::Counters::default());
    to_nodes.register(registry.sub_registry_with_prefix("nodes"));
    let facts = Arc::new(NodeFacts {
        version: env!("CARGO_PKG_VERSION"),
        id,
        epoch: opened.epoch,
        data: loaded.data_dir().to_owned(),
        started_at: clock.now(),
        listening,
        draining: AtomicBool::new(false),
    });
    let settings = Arc::new(ArcSwap::from_pointee(loaded.settings().clone()));
    let (seen, started, flags) = (Arc::clone(&settings), loaded.settings().clone(), loaded.flags.clone());
    let run_time = Arc::new(RunTime::new(store.clone(), Arc::clone(&settings), Arc::clone(&clock)));
    let changer = Changer { settings: Arc::clone(&run_time), governor: governor.clone() };
    let for_nodes = Arc::clone(&run_time);
    let for_host = Changer { settings: Arc::clone(&run_time), governor: governor.clone() };
    let door = Door::new(door(&typed, &facts.id).await?, &store, Arc::clone(&clock));
    let handles = Handles {
        chain: chain.clone(),
        door: door.clone(),
        store: store.clone(),
        jobs: jobs.clone(),
        settings: Arc::new(move || settings::in_force(&started, &seen.load(), load(&flags).ok().as_ref())),
        registry: Arc::new(registry),
        node: Arc::clone(&facts),
        clock,
        turns: Turns::default(),
        tls: certificate.clone(),
        bandwidth: Bandwidth { governor: governor.clone(), changing: Some(changer.changing()) },
        reported: reported(compliance, &settings, &typed).with_newcomer(newcomer),
        above: Some(above(Arc::clone(&run_time), facts.id.clone(), governor.clone())),
        filters: Some(filters::changing(run_time, jobs.clone())),
        endpoints: Roster::new(endpoints, typed.scan.site_networks.0.clone()),
    };

    let setup_code = match door.renew_code().await {
        Ok(Some((file, until))) => {
            tracing::info!(file = %file.display(), %until, "nobody can sign in yet: a set-up code was written");
            Some(file)
        }
        Ok(None) => None,
        Err(error) => {
            tracing::warn!(%error, "nobody can sign in yet, and no set-up code could be written");
            None
        }
    };
    let stop = CancellationToken::new();
    let pace = Pace { governing: tokio::spawn(governor.clone().run(stop.clone())), governor, stop };
    // Set once, here.
    let _ = in_force.set(Arc::clone(&settings));
    jobs.keep_house();
    let for_peers = rooms::net(&typed, &pace.governor);
    let peers = typed.listen.peer.0.clone();
    let nodes = chain.map(|chain| {
        let host = Own::new(handles.clone(), Arc::clone(&for_nodes), for_host, rooms::node_name(&typed));
        let below = (Arc::clone(&face), to_nodes);
        nodes::start(chain, peers, for_peers, for_nodes, Arc::new(host), below, jobs.clone())
    });
    let (control_server, socket) = {
        let _control = control.enter();
        let server = match control_bound {
            Some(bound) => {
                let face = Arc::new(admin::face::Face::new(handles.clone()));
                Some(Server::start(rooms::control(), vec![bound], face, control_counters)?)
            }
            None => None,
        };
        let socket = socket.map(|socket| {
            let cancel = CancellationToken::new();
            (control.spawn(socket.serve(handles, cancel.clone())), cancel)
        });
        (server, socket)
    };
    let mut listeners = http;
    let certificate = certificate.map(|tls| {
        listeners.extend(https.into_iter().map(|bound| bound.with_tls(tls.server_config())));
        let stop = CancellationToken::new();
        let watching = tokio::spawn(Arc::clone(&tls).watch(stop.clone()));
        Certificate { tls, watching, stop }
    });
    let content = Server::start(rooms::net(&typed, &pace.governor), listeners, face, counters)?;
    Ok(Node {
        store,
        fill,
        jobs,
        facts,
        settings,
        allow,
        scans,
        content,
        control: control_server,
        socket,
        certificate,
        pace,
        nodes,
        setup_code,
        http: http_addresses,
        https: https_addresses,
    })
}

/// What a new machine's first scan has to bring, for those who look at the node.
fn newcomer(scans: &Arc<Scans>) -> AskNewcomer {
    let scans = Arc::clone(scans);
    Arc::new(move || {
        let scans = Arc::clone(&scans);
        Box::pin(async move { scans.newcomer().await })
    })
}

/// What endpoints reported, held against the policy that is in force; `typed` is what the node was started with.
fn reported(compliance: Compliance, settings: &Arc<ArcSwap<Settings>>, typed: &Typed) -> Reported {
    let (asked, started_with) = (Arc::clone(settings), rooms::compliance(typed));
    // What cannot be read was refused when it was set.
    let policy = move || Typed::read(&asked.load()).map_or(started_with, |typed| rooms::compliance(&typed));
    Reported::new(compliance, Arc::new(policy))
}

/// Finds or makes the node's certificate. Where the data directory cannot be written and none is there, the node goes
/// without HTTPS: what is held is still to be had.
async fn certificate(typed: &Typed, store: &Store) -> Result<Option<Arc<Tls>>, AppError> {
    match tls(typed).await {
        Ok(tls) => Ok(Some(tls)),
        Err(error) if matches!(store.health(), Health::ReadOnly { .. }) => {
            tracing::error!(%error, "no certificate, and none can be made: nothing is listened on for HTTPS");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn tls(typed: &Typed) -> Result<Arc<Tls>, AppError> {
    let config = rooms::tls(typed)?;
    let opening = tokio::task::spawn_blocking(move || Tls::open(config, Arc::new(RealDisk), Arc::new(SystemClock)));
    let opened = opening.await.map_err(|error| AppError::System {
        what: "opening the certificate",
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(Arc::new(opened?))
}

/// For who comes in on the control plane. Reads files of authorities and of secrets.
async fn door(typed: &Typed, id: &str) -> Result<admin::door::Config, AppError> {
    let mut config = rooms::door(typed);
    let (typed, id) = (typed.clone(), id.to_owned());
    let opening = tokio::task::spawn_blocking(move || rooms::elsewhere(&typed, &id));
    let opened = opening.await.map_err(|error| AppError::System {
        what: "preparing the sign-in service",
        source: std::io::Error::other(error.to_string()),
    })??;
    config.foreign = opened.map(|provider| Arc::new(Elsewhere(provider)) as Arc<dyn Foreign>);
    Ok(config)
}

fn bind(addresses: &[SocketAddr]) -> Result<Vec<Bound>, net::Error> {
    addresses.iter().copied().map(Bound::tcp).collect()
}

/// The store's id, which stands in a file of its own beside the index.
pub(crate) fn store_id(data: &Path) -> String {
    std::fs::read_to_string(data.join("store-id")).map(|id| id.trim().chars().take(64).collect()).unwrap_or_default()
}
