//! Scans over real sockets: a small agent, written from what real ones were seen to send and with templates of its own, against a node
//! whose catalog came from the simulator.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};
use serde_json::{Value, json};
use sha1::Digest as _;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use upstream_sim::{Character, Options, Sim};
use waystation::base::disk::RealDisk;
use waystation::base::time::{Clock, SystemClock, Timestamp};
use waystation::fill::{self, Fill};
use waystation::fleet::registry::{Admission, Registry};
use waystation::model::filter::Selection;
use waystation::model::origin::AllowList;
use waystation::model::payload::{Location, Standing};
use waystation::model::update::UpdateId;
use waystation::net::{self, Body, Bound, Handler, Peer, Server};
use waystation::pace::Governor;
use waystation::serve::client::{Config, Scans};
use waystation::serve::downstream::{self, Downstream};
use waystation::serve::{self, Face};
use waystation::store::catalog::{Deciding, UpstreamKind};
use waystation::store::{self, Store};
use waystation::sync::Runner;
use waystation::upstream::Upstream;
use waystation::upstream::wsus::Wsus;

use crate::conversation;
use crate::plain_client::{Answer, Client};
use crate::plain_xpress;
use crate::recorded::recorded;

#[path = "reports.rs"]
mod reports;

/// Longer than anything takes here on a busy machine.
pub(crate) const SOON: Duration = Duration::from_mins(2);

const CLIENT: &str = "/ClientWebService/client.asmx";
const AUTH: &str = "/SimpleAuthWebService/SimpleAuth.asmx";
const REPORTS: &str = "/ReportingWebService/ReportingWebService.asmx";
const OF_CLIENT: &str = "http://www.microsoft.com/SoftwareDistribution/Server/ClientWebService";
const OF_AUTH: &str = "http://www.microsoft.com/SoftwareDistribution/Server/SimpleAuthWebService";
const OF_REPORTS: &str = "http://www.microsoft.com/SoftwareDistribution";

/// A clock that only the test moves.
#[derive(Debug)]
struct HandClock(AtomicU64);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.load(Ordering::SeqCst))
    }
}

/// The face as someone from another network sees it.
pub(crate) struct From(pub(crate) Arc<Face>, pub(crate) [u8; 4]);

impl Handler for From {
    fn handle(
        self: Arc<Self>,
        peer: Peer,
        request: Request<hyper::body::Incoming>,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        let remote = SocketAddr::from((self.1, peer.remote.port()));
        Arc::clone(&self.0).handle(Peer { remote, ..peer }, request)
    }
}

/// A store whose catalog is that of a simulator.
pub(crate) struct Node {
    pub(crate) store: Store,
    fill: Fill,
    dir: tempfile::TempDir,
}

impl Node {
    pub(crate) async fn below(sim: &Sim) -> Self {
        let node = Self::empty(sim);
        node.sync(sim).await;
        node
    }

    /// Below a simulator of which it knows nothing yet.
    pub(crate) fn empty(sim: &Sim) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        Self::over(sim, dir, store)
    }

    /// Over a store that may have the catalog already.
    fn over(sim: &Sim, dir: tempfile::TempDir, store: Store) -> Self {
        let config = conversation::config(&sim.url(), dir.path().to_owned());
        let http = config.http.clone();
        let wsus = || Wsus::new(config.clone(), &Governor::default()).unwrap();
        let clock = Arc::new(SystemClock);
        let allow = Arc::new(AllowList::new(&[sim.address().to_string()]).unwrap());
        let source = Arc::new(Upstream::new(http, Arc::clone(&allow)).unwrap());
        let upstream = Some(Location { url: sim.url(), standing: Standing::Upstream });
        let of_fill = fill::Config { upstream, upstream_is_wsus: true, ..fill::Config::default() };
        let fill = Fill::below(of_fill, store.clone(), source, allow, clock, wsus());
        Self { store, fill, dir }
    }

    /// A run that brings what the simulator has by now.
    pub(crate) async fn sync(&self, sim: &Sim) {
        let config = conversation::config(&sim.url(), self.dir.path().to_owned());
        let wsus = Wsus::new(config, &Governor::default()).unwrap();
        let (store, chosen) = (self.store.clone(), Arc::new(Selection::default));
        let runner = Runner::new(UpstreamKind::Wsus, &sim.url(), wsus, store, chosen, Arc::new(SystemClock));
        timeout(SOON, runner.run(&CancellationToken::new())).await.unwrap().unwrap();
    }

    async fn face(&self, change: impl FnOnce(&mut Config)) -> Arc<Face> {
        let mut config = Config::default();
        change(&mut config);
        self.face_by(config, self.registry(Admission::default()).await, Arc::new(SystemClock)).await
    }

    /// The endpoints that are known.
    pub(crate) async fn registry(&self, admission: Admission) -> Registry {
        Registry::open(self.store.fleet(), admission).await
    }

    /// With another clock for scans, and these endpoints.
    pub(crate) async fn face_by(&self, config: Config, registry: Registry, clock: Arc<dyn Clock>) -> Arc<Face> {
        let scans = Scans::open(config, registry, &self.store, clock).await.unwrap();
        let (fill, store) = (self.fill.clone(), self.store.clone());
        let face = Face::new(serve::Config::default(), fill, store, Arc::new(SystemClock), Box::new(|_| ()));
        Arc::new(face.with_scans(Arc::new(scans)))
    }

    /// The face, with that for WSUS servers below.
    pub(crate) async fn face_below(&self, config: downstream::Config, wish: downstream::Wish) -> Arc<Face> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let registry = self.registry(Admission::default()).await;
        let scans = Arc::new(Scans::open(Config::default(), registry, &self.store, Arc::clone(&clock)).await.unwrap());
        let (fill, store) = (self.fill.clone(), self.store.clone());
        let below = Downstream::new(config, Arc::clone(&scans), &store, Arc::clone(&clock), wish);
        let face = Face::new(serve::Config::default(), fill, store, clock, Box::new(|_| ()));
        Arc::new(face.with_scans(scans).with_downstream(Arc::new(below)))
    }

    /// Listens; the settings are the defaults but for what is changed.
    pub(crate) async fn listen(&self, change: impl FnOnce(&mut Config)) -> Server {
        serve(self.face(change).await)
    }

    /// Listens, with these endpoints.
    pub(crate) async fn listen_to(&self, registry: &Registry) -> Server {
        serve(self.face_by(Config::default(), registry.clone(), Arc::new(SystemClock)).await)
    }

    /// The same after a backup was put in the place of the store, which was made before `meanwhile`.
    pub(crate) async fn restored(self, sim: &Sim, meanwhile: impl AsyncFnOnce(&Self)) -> Self {
        let backup = self.dir.path().join("backup");
        self.store.backup(backup.clone()).await.unwrap();
        meanwhile(&self).await;
        let Self { store, fill, dir } = self;
        fill.close().await;
        store.close().await.unwrap();
        drop((fill, store));
        store::restore(&settings(dir.path()), &RealDisk, &backup).unwrap();
        let store = open(dir.path());
        let node = Self::over(sim, dir, store);
        node.sync(sim).await;
        node
    }

    /// The same after a restart.
    pub(crate) async fn restarted(self, sim: &Sim) -> Self {
        let Self { store, fill, dir } = self;
        fill.close().await;
        store.close().await.unwrap();
        drop((fill, store));
        let store = open(dir.path());
        let node = Self::over(sim, dir, store);
        node.sync(sim).await;
        node
    }

    pub(crate) async fn close(self) {
        self.fill.close().await;
        self.store.close().await.unwrap();
    }
}

pub(crate) fn serve(handler: Arc<dyn Handler>) -> Server {
    let bound = Bound::tcp(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    Server::start(net::Config::default(), vec![bound], handler, net::Counters::default()).unwrap()
}

fn settings(dir: &Path) -> store::Config {
    store::Config {
        path: dir.join("data"),
        max_size: 1 << 30,
        min_free: 0,
        unproven: Duration::from_hours(24),
        index_cache: 8 << 20,
        open_payloads: 64,
        io_threads: 2,
    }
}

fn open(dir: &Path) -> Store {
    Store::open(settings(dir), Arc::new(RealDisk), Arc::new(SystemClock)).unwrap().0
}

pub(crate) fn sim(updates: usize) -> Sim {
    // It has all files from the start: how a server that fetches them later is waited for is tried elsewhere.
    let options =
        Options { character: Character::Wsus, seed: 5, updates, file_scale: 0.0005, eager: true, ..Options::default() };
    Sim::start(options).unwrap()
}

/// What stands in all elements of this name, in order; there are none of the same name in each other.
fn all<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(&open) {
        let (inside, next) = after.split_once(&close).unwrap_or_else(|| panic!("{name} does not end"));
        found.push(inside);
        rest = next;
    }
    found
}

pub(crate) fn one<'a>(text: &'a str, name: &str) -> &'a str {
    let found = all(text, name);
    assert_eq!(found.len(), 1, "{name} in {text}");
    found[0]
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}

/// The deadline of a deployment.
fn until(info: &str) -> Option<String> {
    all(info, "Deadline").first().map(|deadline| (*deadline).to_owned())
}

/// The value of an attribute.
fn attribute<'a>(tag: &'a str, name: &str) -> &'a str {
    tag.split_once(&format!("{name}=\"")).unwrap().1.split_once('"').unwrap().0
}

fn ints(numbers: impl IntoIterator<Item = i32>) -> String {
    numbers.into_iter().fold(String::new(), |mut text, number| {
        write!(text, "<int>{number}</int>").unwrap();
        text
    })
}

/// A revision as an agent holds it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    update: String,
    action: String,
    deadline: Option<String>,
    is_leaf: bool,
    core: String,
}

/// An agent on a connection of its own. It takes whatever is no leaf for installed.
pub(crate) struct Agent {
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) model: String,
    pub(crate) build: u32,
    /// What stands in `targetGroupName`.
    pub(crate) groups: String,
    xpress: bool,
    authorization: String,
    pub(crate) cookie: String,
    last_change: String,
    pub(crate) held: BTreeMap<i32, Held>,
    pub(crate) rounds: usize,
}

impl Agent {
    pub(crate) async fn new(address: SocketAddr, id: u8) -> Self {
        Self {
            client: Client::connect(address).await,
            address,
            id: format!("e1da06a3-5601-43c9-bac3-52d5db7014{id:02x}"),
            name: "pc.site.example".to_owned(),
            model: "Standard PC".to_owned(),
            build: 26_100,
            groups: String::new(),
            xpress: true,
            authorization: String::new(),
            cookie: String::new(),
            last_change: String::new(),
            held: BTreeMap::new(),
            rounds: 0,
        }
    }

    /// Posts an envelope.
    pub(crate) async fn post(&mut self, path: &str, action: &str, body: &str) -> Answer {
        let (length, host) = (body.len().to_string(), self.address.to_string());
        let action = format!("\"{action}\"");
        let mut headers = vec![
            ("Content-Type", "text/xml; charset=utf-8"),
            ("User-Agent", "Windows-Update-Agent/1507.2601.30012.0 Client-Protocol/2.90"),
            ("SOAPAction", action.as_str()),
            ("Content-Length", length.as_str()),
            ("Host", host.as_str()),
        ];
        if self.xpress {
            headers.push(("Accept-Encoding", "xpress"));
        }
        self.client.send("POST", path, &headers).await;
        self.client.send_raw(body.as_bytes()).await;
        let mut answer = self.client.answer(false).await;
        assert!(answer.whole, "{:?}", answer.headers);
        if answer.header("content-encoding") == Some("xpress") {
            assert!(self.xpress, "nobody asked for it");
            answer.body = plain_xpress::body(&answer.body);
        }
        answer
    }

    /// Asks; the text of the answer, or the word of the refusal.
    pub(crate) async fn ask(&mut self, method: &str, inside: &str) -> Result<String, String> {
        let (path, namespace) = match method {
            "GetAuthorizationCookie" => (AUTH, OF_AUTH),
            "ReportEventBatch" | "ReportEventBatch2" | "GetRequiredInventoryType" | "ReportInventory" => {
                (REPORTS, OF_REPORTS)
            }
            _ => (CLIENT, OF_CLIENT),
        };
        let body = format!(
            "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><{method} xmlns=\"{namespace}\">\
             {inside}</{method}></s:Body></s:Envelope>"
        );
        let answer = self.post(path, &format!("{namespace}/{method}"), &body).await;
        assert_eq!(answer.header("content-type"), Some("text/xml; charset=utf-8"));
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
        let text = String::from_utf8(answer.body).unwrap();
        match answer.status {
            200 => {
                assert!(text.contains(&format!("<{method}Response xmlns=\"{namespace}\"")), "{text}");
                Ok(text)
            }
            500 => {
                assert_eq!(one(&text, "Method"), format!("\"{namespace}/{method}\""), "{text}");
                Err(one(&text, "ErrorCode").to_owned())
            }
            other => panic!("{other}: {text}"),
        }
    }

    pub(crate) async fn config(&mut self) {
        let text = self.ask("GetConfig", "<protocolVersion>2.90</protocolVersion>").await.unwrap();
        one(&text, "LastChange").clone_into(&mut self.last_change);
        assert_eq!((one(&text, "IsRegistrationRequired"), one(&text, "PlugInID")), ("true", "SimpleTargeting"));
        assert_eq!(format!("/{}", one(&text, "ServiceUrl")), AUTH);
        let names = [
            "MaxExtendedUpdatesPerRequest",
            "PackageServerShare",
            "ProtocolVersion",
            "IsInventoryRequired",
            "ClientReportingLevel",
        ];
        assert_eq!(all(&text, "Name"), names);
        assert_eq!((all(&text, "Value")[0], all(&text, "Value")[2]), ("50", "3.2"));
    }

    pub(crate) async fn authorize(&mut self) {
        let groups = match self.groups.as_str() {
            "" => String::new(),
            groups => format!("<targetGroupName>{groups}</targetGroupName>"),
        };
        let inside = format!("<clientId>{}</clientId>{groups}<dnsName>{}</dnsName>", self.id, self.name);
        let text = self.ask("GetAuthorizationCookie", &inside).await.unwrap();
        assert_eq!(one(&text, "PlugInId"), "SimpleTargeting");
        one(&text, "CookieData").clone_into(&mut self.authorization);
    }

    /// Takes a cookie; `old` is what stands in the one had before.
    pub(crate) async fn take_cookie(&mut self, old: &str) -> Result<(), String> {
        let inside = format!(
            "<authCookies><AuthorizationCookie><PlugInId>SimpleTargeting</PlugInId><CookieData>{}</CookieData>\
             </AuthorizationCookie></authCookies><oldCookie><Expiration>2026-10-04T15:03:36Z</Expiration>{old}</oldCookie>\
             <lastChange>{}</lastChange><currentTime>2026-10-04T15:03:36Z</currentTime><protocolVersion>2.90</protocolVersion>",
            self.authorization, self.last_change
        );
        let text = self.ask("GetCookie", &inside).await?;
        one(&text, "GetCookieResult").clone_into(&mut self.cookie);
        Ok(())
    }

    pub(crate) async fn register(&mut self) -> Result<(), String> {
        let inside = format!(
            "<cookie>{}</cookie><computerInfo><DnsName>{}</DnsName><OSMajorVersion>10</OSMajorVersion>\
             <OSMinorVersion>0</OSMinorVersion><OSBuildNumber>{}</OSBuildNumber>\
             <ComputerManufacturer>QEMU</ComputerManufacturer><ComputerModel>{}</ComputerModel>\
             <ProcessorArchitecture>AMD64</ProcessorArchitecture><OldProductType>1</OldProductType>\
             <ClientVersionMajorNumber>1507</ClientVersionMajorNumber>\
             <ClientVersionMinorNumber>2601</ClientVersionMinorNumber></computerInfo>",
            self.cookie, self.name, self.build, self.model
        );
        self.ask("RegisterComputer", &inside).await.map(|_| ())
    }

    pub(crate) async fn handshake(&mut self) {
        self.config().await;
        self.authorize().await;
        self.take_cookie("").await.unwrap();
        self.register().await.unwrap();
    }

    /// One round; whether there will be another one.
    pub(crate) async fn round(&mut self) -> Result<bool, String> {
        let is_installed = |held: &&Held| !held.is_leaf;
        let (installed, other): (Vec<_>, Vec<_>) = self.held.iter().partition(|(_, held)| is_installed(held));
        let lists = if self.held.is_empty() {
            String::new()
        } else {
            let numbers = |list: Vec<(&i32, &Held)>| ints(list.into_iter().map(|(number, _)| *number));
            let (installed, other) = (numbers(installed), numbers(other));
            format!(
                "<InstalledNonLeafUpdateIDs>{installed}</InstalledNonLeafUpdateIDs><OtherCachedUpdateIDs>{other}</OtherCachedUpdateIDs>"
            )
        };
        let inside = format!(
            "<cookie>{}</cookie><parameters><ExpressQuery>false</ExpressQuery>{lists}<SkipSoftwareSync>false</SkipSoftwareSync>\
             <NeedTwoGroupOutOfScopeUpdates>true</NeedTwoGroupOutOfScopeUpdates><AlsoPerformRegularSync>false</AlsoPerformRegularSync>\
             <ComputerSpec/></parameters>",
            self.cookie
        );
        let text = self.ask("SyncUpdates", &inside).await?;
        self.rounds += 1;
        one(&text, "NewCookie").clone_into(&mut self.cookie);
        assert_eq!(one(&text, "DriverSyncNotNeeded"), "false");
        let mut goes_on = one(&text, "Truncated") == "true";
        let new = all(&text, "NewUpdates").pop().unwrap_or_default();
        for info in all(new, "UpdateInfo") {
            let number: i32 = all(info, "ID")[0].parse().unwrap();
            let core = unescaped(one(info, "Xml"));
            let update = attribute(&core, "UpdateID").to_ascii_lowercase();
            let held = Held {
                update,
                action: one(info, "Action").to_owned(),
                deadline: until(info),
                is_leaf: one(info, "IsLeaf") == "true",
                core,
            };
            goes_on |= !held.is_leaf;
            assert_eq!(one(info, "LastChangeTime").len(), 10, "a day alone");
            assert!(self.held.values().all(|other| other.update != held.update), "two revisions of one update");
            assert!(self.held.insert(number, held).is_none(), "{number} is held");
        }
        for list in all(&text, "OutOfScopeRevisionIDs") {
            for number in all(list, "int") {
                self.held.remove(&number.parse().unwrap());
            }
        }
        for changed in all(&text, "ChangedUpdates") {
            for info in all(changed, "UpdateInfo") {
                let held = self.held.get_mut(&all(info, "ID")[0].parse().unwrap()).unwrap();
                one(info, "Action").clone_into(&mut held.action);
                held.deadline = until(info);
                held.is_leaf = one(info, "IsLeaf") == "true";
            }
        }
        Ok(goes_on)
    }

    /// A whole scan, the question about drivers with it.
    pub(crate) async fn scan(&mut self) {
        self.rounds = 0;
        while self.round().await.unwrap() {
            assert!(self.rounds < 100, "it never ends");
        }
        let inside = format!(
            "<cookie>{}</cookie><parameters><ExpressQuery>false</ExpressQuery><SystemSpec><Device><HardwareIDs>\
             <string>PCI\\VEN_8086</string></HardwareIDs></Device></SystemSpec><SkipSoftwareSync>true</SkipSoftwareSync>\
             </parameters>",
            self.cookie
        );
        let text = self.ask("SyncUpdates", &inside).await.unwrap();
        assert!(!text.contains("<NewUpdates>"), "{text}");
        assert_eq!((one(&text, "Truncated"), one(&text, "DriverSyncNotNeeded")), ("false", "true"));
        one(&text, "NewCookie").clone_into(&mut self.cookie);
    }

    /// What is to be done with an update, if it is held.
    pub(crate) fn action(&self, update: &str) -> Option<String> {
        self.held.values().find(|held| held.update == update).map(|held| held.action.clone())
    }

    /// Until when.
    pub(crate) fn deadline(&self, update: &str) -> Option<String> {
        self.held.values().find(|held| held.update == update)?.deadline.clone()
    }

    pub(crate) fn with_action(&self, action: &str) -> BTreeSet<String> {
        self.held.values().filter(|held| held.action == action).map(|held| held.update.clone()).collect()
    }

    /// Extended information about revisions: texts by number, and locations by digest.
    async fn extended(&mut self, numbers: &[i32]) -> Result<(Vec<(i32, String)>, BTreeMap<String, String>), String> {
        let inside = format!(
            "<cookie>{}</cookie><revisionIDs>{}</revisionIDs><infoTypes><XmlUpdateFragmentType>Extended\
             </XmlUpdateFragmentType><XmlUpdateFragmentType>LocalizedProperties</XmlUpdateFragmentType></infoTypes>\
             <locales><string>en-US</string><string>en</string></locales><GeoId>USA</GeoId>",
            self.cookie,
            ints(numbers.iter().copied())
        );
        let text = self.ask("GetExtendedUpdateInfo", &inside).await?;
        let texts = all(&text, "Update");
        let texts = texts.iter().map(|text| (one(text, "ID").parse().unwrap(), unescaped(one(text, "Xml")))).collect();
        let places = all(&text, "FileLocation").into_iter();
        let places = places.map(|place| (one(place, "FileDigest").to_owned(), unescaped(one(place, "Url")))).collect();
        Ok((texts, places))
    }
}

/// Updates of the simulator that are offered to everyone, and whether each could be declined: software that nothing supersedes.
pub(crate) fn offered(sim: &Sim) -> BTreeSet<String> {
    let all = sim.deployable(&json!({}));
    let is = |update: &Value, key: &str| update[key].as_bool().unwrap();
    let updates = all.as_array().unwrap().iter();
    let updates =
        updates.filter(|update| !update["kb"].is_null() && !is(update, "expired") && !is(update, "superseded"));
    updates.map(|update| update["id"].as_str().unwrap().to_ascii_lowercase()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_brings_what_is_there_and_follows_what_people_decide() {
    let sim = sim(400);
    let node = Node::below(&sim).await;
    let server = node.listen(|_| ()).await;
    let mut agent = Agent::new(server.addresses()[0], 1).await;
    agent.handshake().await;
    agent.scan().await;
    // What is undecided is detected: all that is offered, and nothing else.
    let wanted = offered(&sim);
    assert!(wanted.len() > 20, "{}", wanted.len());
    assert_eq!(agent.with_action("PreDeploymentCheck"), wanted);
    assert_eq!(agent.with_action("Install"), BTreeSet::new());
    assert!(!agent.with_action("Bundle").is_empty() && !agent.with_action("Evaluate").is_empty());
    assert!(agent.rounds < 30, "{} rounds", agent.rounds);
    // What it holds of bundles is there, and each core is a fragment.
    assert!(agent.held.values().all(|held| held.core.starts_with("<UpdateIdentity")), "fragments have no root");
    // Once more: nothing is new.
    let before = agent.held.len();
    agent.scan().await;
    assert_eq!((agent.held.len(), agent.rounds), (before, 1));
    // Without packing an agent gets the same.
    let mut plain = Agent::new(server.addresses()[0], 2).await;
    plain.xpress = false;
    plain.handshake().await;
    plain.scan().await;
    assert_eq!(plain.with_action("PreDeploymentCheck"), wanted);

    // Decisions take effect at the next contact.
    let mut ids = wanted.iter();
    let no_licence = |update: &&String| {
        let held = agent.held.values().find(|held| held.update == **update).unwrap();
        !held.core.contains("EulaID")
    };
    let approved = ids.find(no_licence).unwrap().clone();
    let declined = ids.next().unwrap().clone();
    let catalog = node.store.catalog();
    let id = |text: &str| vec![text.parse::<UpdateId>().unwrap()];
    let by = || ("kim".to_owned(), String::new());
    let approve = Deciding::Approve { all_files: false };
    catalog.decide(id(&approved), approve, by().0, by().1).await.unwrap();
    catalog.decide(id(&declined), Deciding::Decline, by().0, by().1).await.unwrap();
    timeout(SOON, async {
        // An agent is told at most a moment late.
        while !agent.with_action("Install").contains(&approved)
            || agent.with_action("PreDeploymentCheck").contains(&declined)
        {
            agent.scan().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(agent.with_action("Install"), BTreeSet::from([approved.clone()]));
    assert_eq!(agent.with_action("PreDeploymentCheck").len(), wanted.len() - 2);
    server.drain(SOON).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_where_the_agent_is_told() {
    let sim = sim(160);
    let node = Node::below(&sim).await;
    let server = node.listen(|_| ()).await;
    let address = server.addresses()[0];
    let mut agent = Agent::new(address, 1).await;
    agent.handshake().await;
    agent.scan().await;
    let numbers: Vec<i32> = agent.held.keys().copied().collect();
    let (mut digests, mut places, mut localized) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
    for step in numbers.chunks(50) {
        let (texts, found) = agent.extended(step).await.unwrap();
        for (number, text) in texts {
            if text.starts_with("<LocalizedProperties") {
                localized.insert(number);
            }
            let files = text.split("<File ").skip(1);
            digests.extend(files.map(|file| attribute(file, "Digest").to_owned()));
        }
        places.extend(found);
    }
    assert_eq!(places.keys().cloned().collect::<BTreeSet<_>>(), digests, "each file has a place, and nothing else has");
    assert!(digests.len() > 20, "{}", digests.len());
    for (number, held) in &agent.held {
        assert!(localized.contains(number), "{held:?} has no text");
    }
    // Each is there, although nobody has fetched it before.
    let mut client = Client::connect(address).await;
    for (digest, url) in &places {
        let path = url.strip_prefix(&format!("http://{address}")).unwrap_or_else(|| panic!("{url} is elsewhere"));
        let bytes = timeout(SOON, async {
            loop {
                let answer = client.get(path, &[]).await;
                match answer.status {
                    200 => break answer.body,
                    // The server above is told to fetch it.
                    503 => {}
                    other => panic!("{other} for {url}"),
                }
            }
        });
        let sha1 = sha1::Sha1::digest(bytes.await.unwrap());
        assert_eq!(&STANDARD.encode(sha1), digest, "{url}");
    }
    // The same by digest, and by the names of updates.
    let (digest, url) = places.iter().next().unwrap();
    let inside = format!(
        "<cookie>{}</cookie><fileDigests><base64Binary>{digest}</base64Binary><base64Binary>AAAAAAAAAAAAAAAAAAAAAAAAAAA=\
         </base64Binary></fileDigests>",
        agent.cookie
    );
    let text = agent.ask("GetFileLocations", &inside).await.unwrap();
    assert_eq!((one(&text, "FileDigest"), one(&text, "Url")), (digest.as_str(), url.as_str()));
    let held = agent.held.values().find(|held| held.core.contains("ExplicitlyDeployable")).unwrap().clone();
    let identity = format!(
        "<UpdateID>{}</UpdateID><RevisionNumber>{}</RevisionNumber>",
        held.update,
        attribute(&held.core, "RevisionNumber")
    );
    let inside = format!(
        "<cookie>{}</cookie><updateIDs><UpdateIdentity>{identity}</UpdateIdentity></updateIDs><infoTypes>\
         <XmlUpdateFragmentType>Core</XmlUpdateFragmentType></infoTypes><locales><string>en</string></locales>",
        agent.cookie
    );
    let text = agent.ask("GetExtendedUpdateInfo2", &inside).await.unwrap();
    assert_eq!(unescaped(one(one(&text, "Update"), "Xml")), held.core);
    // What was never offered is to be forgotten; too many at once are refused.
    let (texts, found) = agent.extended(&[2_000_000_000, -7]).await.unwrap();
    assert_eq!((texts.len(), found.len()), (0, 0));
    assert_eq!(agent.extended(&[1; 51]).await.unwrap_err(), "InvalidParameters");
    server.drain(SOON).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_take_together_is_bounded() {
    let sim = sim(160);
    let node = Node::below(&sim).await;
    let server = node.listen(|_| ()).await;
    let mut agent = Agent::new(server.addresses()[0], 1).await;
    agent.handshake().await;
    agent.scan().await;
    let numbers: Vec<i32> = agent.held.keys().copied().take(50).collect();
    assert_eq!(agent.extended(&numbers).await.unwrap().0.len(), 100, "two kinds of fragments of each");
    // A face with less room than that for all its answers, over the same store: each fragment takes a KiB at least.
    let narrow = node.listen(|config| config.answers = 40 << 10).await;
    agent.address = narrow.addresses()[0];
    agent.client = Client::connect(agent.address).await;
    for _ in 0..3 {
        assert_eq!(agent.extended(&numbers).await.unwrap_err(), "ServerBusy");
        // What it took is given back each time.
        assert_eq!(agent.extended(&numbers[..2]).await.unwrap().0.len(), 4);
    }
    narrow.drain(SOON).await;
    server.drain(SOON).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_47_megabytes_comes_to_all_that_ask_for_it_at_once() {
    let options =
        Options { character: Character::Wsus, seed: 5, updates: 40, huge: 1, eager: true, ..Options::default() };
    let sim = Sim::start(Options { file_scale: 0.0005, ..options }).unwrap();
    let node = Node::below(&sim).await;
    let server = node.listen(|_| ()).await;
    let mut scans = tokio::task::JoinSet::new();
    for of in 1..=3 {
        let address = server.addresses()[0];
        scans.spawn(async move {
            let mut agent = Agent::new(address, of).await;
            agent.handshake().await;
            agent.scan().await;
            agent.held.values().map(|held| held.core.len()).max().unwrap()
        });
    }
    let longest = scans.join_all().await;
    assert!(longest.iter().all(|bytes| *bytes > 40_000_000), "{longest:?}");
    server.drain(SOON).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_asks_in_a_circle_is_told_to_wait_and_nobody_else_is() {
    let sim = sim(40);
    let node = Node::below(&sim).await;
    let server = node.listen(|config| config.requests = 30).await;
    let mut agent = Agent::new(server.addresses()[0], 1).await;
    agent.handshake().await;
    agent.scan().await;
    let mut rounds = 0;
    while rounds < 40 && agent.round().await.is_ok() {
        rounds += 1;
    }
    assert!((1..30).contains(&rounds), "{rounds} more, of 30 in all");
    assert_eq!(agent.round().await.unwrap_err(), "ServerBusy");
    assert_eq!(agent.extended(&[1]).await.unwrap_err(), "ServerBusy", "whatever it asks");
    let mut other = Agent::new(server.addresses()[0], 2).await;
    other.handshake().await;
    other.scan().await;
    server.drain(SOON).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_ask_is_told_what_to_do() {
    let sim = sim(60);
    let node = Node::below(&sim).await;
    let server = node.listen(|_| ()).await;
    let address = server.addresses()[0];
    let mut agent = Agent::new(address, 1).await;
    // Nothing goes without a cookie, or with one of nobody's.
    agent.cookie = "<Expiration>2026-10-04T15:03:36Z</Expiration><EncryptedData>AAAA</EncryptedData>".into();
    assert_eq!(agent.round().await.unwrap_err(), "InvalidCookie");
    agent.config().await;
    let refused = agent.take_cookie("").await.unwrap_err();
    assert_eq!(refused, "InvalidAuthorizationCookie");
    agent.authorize().await;
    agent.take_cookie("").await.unwrap();
    assert_eq!(agent.round().await.unwrap_err(), "RegistrationRequired");
    agent.register().await.unwrap();
    agent.round().await.unwrap();

    // Who shows another server's cookie maps what it holds before anything that it holds is taken for ours: its numbers are none of
    // this server's, whatever they are.
    let foreign = "<EncryptedData>QUJDRA==</EncryptedData>";
    let mut moved = Agent::new(address, 2).await;
    moved.held.clone_from(&agent.held);
    moved.config().await;
    moved.authorize().await;
    moved.take_cookie(foreign).await.unwrap();
    moved.register().await.unwrap();
    assert_eq!(moved.round().await.unwrap_err(), "ServerChanged");
    assert_eq!(moved.extended(&[1]).await.unwrap_err(), "ServerChanged", "whatever it asks of them");
    // That it was told so is no map: it shakes hands with the cookie that it got here.
    moved.authorize().await;
    let own = one(&moved.cookie, "EncryptedData").to_owned();
    moved.take_cookie(&format!("<EncryptedData>{own}</EncryptedData>")).await.unwrap();
    moved.register().await.unwrap();
    assert_eq!(moved.round().await.unwrap_err(), "ServerChanged");
    let some = agent.held.iter().next().unwrap();
    let inside = format!(
        "<cookie>{}</cookie><globalIDs><UpdateIdentity><UpdateID>{}</UpdateID><RevisionNumber>{}</RevisionNumber>\
         </UpdateIdentity><UpdateIdentity><UpdateID>{}</UpdateID><RevisionNumber>1</RevisionNumber></UpdateIdentity></globalIDs>",
        moved.cookie,
        some.1.update.to_ascii_uppercase(),
        attribute(&some.1.core, "RevisionNumber"),
        moved.id
    );
    let text = moved.ask("RefreshCache", &inside).await.unwrap();
    assert_eq!(one(&text, "RevisionID"), some.0.to_string(), "what is not offered is left out");
    moved.round().await.unwrap();
    // The next cookie is that of one who mapped.
    let own = one(&moved.cookie, "EncryptedData").to_owned();
    moved.authorize().await;
    moved.take_cookie(&format!("<EncryptedData>{own}</EncryptedData>")).await.unwrap();
    moved.round().await.unwrap();
    // One that holds nothing begins at once, and maps what it got meanwhile.
    let mut empty = Agent::new(address, 6).await;
    empty.config().await;
    empty.authorize().await;
    empty.take_cookie(foreign).await.unwrap();
    empty.register().await.unwrap();
    empty.round().await.unwrap();
    assert_eq!(empty.round().await.unwrap_err(), "ServerChanged");
    let inside = format!("<cookie>{}</cookie><globalIDs/>", empty.cookie);
    empty.ask("RefreshCache", &inside).await.unwrap();
    empty.scan().await;

    // A cookie outlives the process: its keys lie in the store.
    let again = node.listen(|_| ()).await;
    let mut after = Agent::new(again.addresses()[0], 1).await;
    after.cookie.clone_from(&agent.cookie);
    after.round().await.unwrap();
    again.drain(SOON).await;
    // Another node's, an ended one, one from before the configuration changed.
    let elsewhere = Node::below(&sim).await;
    let other = elsewhere.listen(|_| ()).await;
    let mut stranger = Agent::new(other.addresses()[0], 3).await;
    stranger.handshake().await;
    agent.cookie.clone_from(&stranger.cookie);
    assert_eq!(agent.round().await.unwrap_err(), "ServerChanged");
    let clock = Arc::new(HandClock(AtomicU64::new(SystemClock.now().ms())));
    let registry = node.registry(Admission::default()).await;
    let hours = serve(node.face_by(Config::default(), registry, clock.clone()).await);
    let mut late = Agent::new(hours.addresses()[0], 4).await;
    late.handshake().await;
    late.round().await.unwrap();
    clock.0.fetch_add(3_599_000, Ordering::SeqCst);
    late.round().await.unwrap();
    clock.0.fetch_add(1_000, Ordering::SeqCst);
    assert_eq!(late.round().await.unwrap_err(), "CookieExpired", "use does not prolong it");
    assert_eq!(late.take_cookie("").await.unwrap_err(), "InvalidAuthorizationCookie");
    late.authorize().await;
    let own = one(&late.cookie, "EncryptedData").to_owned();
    late.take_cookie(&format!("<EncryptedData>{own}</EncryptedData>")).await.unwrap();
    late.round().await.unwrap();
    let newer = node.listen(|config| config.changed = Timestamp::from_ms(4_000_000_000_000)).await;
    let mut old = Agent::new(newer.addresses()[0], 5).await;
    old.last_change = "2026-10-04T13:17:07.59Z".into();
    old.authorize().await;
    assert_eq!(old.take_cookie("").await.unwrap_err(), "ConfigChanged");

    // Devices belong to the other question; what is no message is refused in the protocol's words.
    agent.handshake().await;
    let inside =
        format!("<cookie>{}</cookie><parameters><SystemSpec><Device/></SystemSpec></parameters>", agent.cookie);
    let word = agent.ask("SyncUpdates", &inside).await;
    // An empty device counts as none.
    assert!(word.is_ok() || word == Err("InvalidParameters".into()), "{word:?}");
    let answer = agent.post(CLIENT, "x", "<nonsense").await;
    assert_eq!(answer.status, 500);
    for server in [server, other, hours, newer] {
        server.drain(SOON).await;
    }
    elsewhere.close().await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_in_is_narrow() {
    let sim = sim(60);
    let node = Node::below(&sim).await;
    let face = node.face(|config| config.plaintext = vec!["192.0.2.0/24".parse().unwrap()]).await;
    let [named, unnamed] =
        [[192, 0, 2, 9], [198, 51, 100, 9]].map(|from| serve(Arc::new(From(Arc::clone(&face), from))));
    let mut agent = Agent::new(named.addresses()[0], 1).await;
    agent.handshake().await;
    let mut client = Client::connect(unnamed.addresses()[0]).await;
    client.send("POST", CLIENT, &[("Content-Length", "0")]).await;
    let answer = client.answer(false).await;
    assert_eq!(answer.status, 403);
    assert!(String::from_utf8(answer.body).unwrap().contains("[scan] plaintext"));

    let address = named.addresses()[0];
    let mut client = Client::connect(address).await;
    // Paths in any case; other methods and other paths.
    let answer = client.get("/clientwebservice/CLIENT.ASMX", &[]).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    let host = address.to_string();
    for path in ["/SelfUpdate/wuident.cab", "/selfupdate/au/x86/wsus3setup.cab", "/ClientWebService/other.asmx"] {
        assert_eq!(client.get(path, &[("Host", &host)]).await.status, 404, "{path}");
    }
    client.send("POST", "/Content/AB/x.exe", &[("Content-Length", "0")]).await;
    assert_eq!(client.answer(false).await.status, 405);
    // A body that is too long is not read, whether it says so or not.
    client.send("POST", CLIENT, &[("Content-Length", "5000000")]).await;
    assert_eq!(client.answer(false).await.status, 413);
    let mut client = Client::connect(address).await;
    client.send("POST", CLIENT, &[("Transfer-Encoding", "chunked")]).await;
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    for _ in 0..4 {
        client.send_raw(chunk.as_bytes()).await;
    }
    client.send_raw(b"1\r\n \r\n0\r\n\r\n").await;
    assert_eq!(client.answer(false).await.status, 413);
    for server in [named, unnamed] {
        server.drain(SOON).await;
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_requests_and_reports_are_understood() {
    let sim = sim(60);
    let node = Node::below(&sim).await;
    let server = node.listen(|_| ()).await;
    let mut agent = Agent::new(server.addresses()[0], 1).await;
    // The recorded machine: its id belongs to no other.
    (agent.name, agent.model) = ("REDACTED3".into(), "Standard PC (Q35 + ICH9, 2009)".into());
    agent.handshake().await;
    // Reports are taken; what is wanted of inventories is nothing.
    let event = |instance: u8| {
        format!(
            "<ReportingEvent><BasicData><TargetID><Sid>{}</Sid></TargetID><SequenceNumber>0</SequenceNumber>\
             <TimeAtTarget>2026-10-04T15:20:47.397Z</TimeAtTarget>\
             <EventInstanceID>fab199c1-6123-44f2-b01c-a5a92201b0{instance:02x}</EventInstanceID><NamespaceID>1</NamespaceID>\
             <EventID>147</EventID><SourceID>101</SourceID><UpdateID><UpdateID>00000000-0000-0000-0000-000000000000</UpdateID>\
             <RevisionNumber>0</RevisionNumber></UpdateID><Win32HResult>0</Win32HResult></BasicData><ExtendedData/>\
             <PrivateData/></ReportingEvent>",
            agent.id
        )
    };
    let batch = format!("<eventBatch>{}{}{}</eventBatch>", event(1), event(2), event(1));
    let inside = format!("<cookie>{}</cookie><clientTime>2026-10-04T15:20:47Z</clientTime>{batch}", agent.cookie);
    for _ in 0..2 {
        let text = agent.ask("ReportEventBatch", &inside).await.unwrap();
        assert_eq!(one(&text, "ReportEventBatchResult"), "true");
    }
    let inside = format!("<cookie>{}</cookie><rulesVersion>1</rulesVersion>", agent.cookie);
    let text = agent.ask("GetRequiredInventoryType", &inside).await.unwrap();
    assert_eq!(one(&text, "GetRequiredInventoryTypeResult"), "0");
    let inside = format!("<cookie>{}</cookie><installedNonLeafUpdateIDs/><printerUpdateIDs/>", agent.cookie);
    let text = agent.ask("SyncPrinterCatalog", &inside).await.unwrap();
    assert_eq!((text.contains("<NewUpdates>"), one(&text, "Truncated")), (false, "false"));

    let Some(root) = recorded("wusp") else { return };
    let mut seen = BTreeMap::<(String, String), usize>::new();
    for folder in ["scan", "flow"] {
        let mut entries: Vec<_> =
            std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for exchange in entries {
            let (Ok(body), Ok(headers)) = (
                std::fs::read_to_string(exchange.join("request.body")),
                std::fs::read_to_string(exchange.join("request.headers")),
            ) else {
                continue;
            };
            let Some(path) = headers.strip_prefix("POST ").and_then(|rest| rest.split(' ').next()) else { continue };
            // With a cookie of this server in the place of the recorded one.
            let own = body.split_once("<cookie>").and_then(|(head, rest)| {
                let (_, tail) = rest.split_once("</cookie>")?;
                Some(format!("{head}<cookie>{}</cookie>{tail}", agent.cookie))
            });
            let answer = agent.post(path, "recorded", own.as_ref().unwrap_or(&body)).await;
            let text = String::from_utf8(answer.body).unwrap();
            let word = all(&text, "ErrorCode").first().map_or("", |word| *word).to_owned();
            let method = body.split_once("<s:Body>").unwrap().1[1..].split([' ', '>']).next().unwrap().to_owned();
            *seen.entry((method, word)).or_default() += 1;
        }
    }
    let methods: BTreeSet<&str> = seen.keys().map(|(method, _)| method.as_str()).collect();
    assert!(methods.contains("SyncUpdates") && methods.contains("GetConfig") && methods.len() > 5, "{seen:?}");
    for (method, word) in seen.keys() {
        // The recorded authorization is that of another server.
        let wanted = if method == "GetCookie" { "InvalidAuthorizationCookie" } else { "" };
        assert_eq!(word, wanted, "{method}");
    }
    server.drain(SOON).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_replaced_while_the_node_runs_and_opens_for_a_while() {
    const DAY: u64 = 86_400_000;
    let sim = sim(40);
    let node = Node::below(&sim).await;
    let clock = Arc::new(HandClock(AtomicU64::new(SystemClock.now().ms())));
    let later = |days: u64| {
        clock.0.fetch_add(days * DAY, Ordering::SeqCst);
    };
    let config = Config { cookie_life: Duration::from_hours(24 * 365), ..Config::default() };
    let registry = node.registry(Admission::default()).await;
    let scans = Arc::new(Scans::open(config, registry, &node.store, clock.clone()).await.unwrap());
    let (fill, store) = (node.fill.clone(), node.store.clone());
    let face = Face::new(serve::Config::default(), fill, store, Arc::new(SystemClock), Box::new(|_| ()));
    let server = serve(Arc::new(face.with_scans(Arc::clone(&scans))));
    let mut agent = Agent::new(server.addresses()[0], 1).await;
    agent.handshake().await;
    let old = agent.cookie.clone();
    assert!(!scans.turn_keys().await);
    later(31);
    assert!(scans.turn_keys().await && !scans.turn_keys().await, "once, without a start");
    agent.round().await.unwrap();
    agent.cookie.clone_from(&old);
    agent.round().await.unwrap();
    // What the first key sealed was opened for as long again; the second one still opens.
    let between = agent.cookie.clone();
    later(31);
    assert!(scans.turn_keys().await);
    agent.cookie = old;
    assert_eq!(agent.round().await.unwrap_err(), "InvalidCookie");
    agent.cookie = between;
    agent.round().await.unwrap();
    server.drain(SOON).await;
    node.close().await;
}
