//! WSUS servers below a node: one node synchronises from another as from a WSUS server and ends with the same catalog; requests written here
//! by hand, as recorded servers sent theirs, get what they should, or the fault that they should.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use waystation::base::digest::Sha1;
use waystation::base::time::{Clock as _, SystemClock, Timestamp};
use waystation::model::deployment::{Action, Said, Target};
use waystation::model::filter::Selection;
use waystation::model::group::{Level, Node as GroupNode};
use waystation::model::policy::Group;
use waystation::model::update::{CategoryKind, Identity, Publication, UpdateId};
use waystation::net::Server;
use waystation::pace::Governor;
use waystation::serve::downstream::Config;
use waystation::store::Store;
use waystation::store::approvals::{Change, Saying};
use waystation::store::catalog::{Catalog, Deciding, Outcome, Summary, UpstreamKind};
use waystation::sync::Runner;
use waystation::upstream::wsus::Wsus;
use waystation::wire::wsusss::rollup;
use waystation::wire::wsusss::values::Time;

use crate::endpoints::{From, Node, SOON, one, serve, sim};
use crate::plain_client::Client;
use crate::recorded::recorded;
use crate::tree::Element;
use crate::{conversation, plain_xpress, small_store};

const SYNC: &str = "/ServerSyncWebService/ServerSyncWebService.asmx";
const AUTH: &str = "/DssAuthWebService/DssAuthWebService.asmx";
const REPORTS: &str = "/ReportingWebService/ReportingWebService.asmx";
const OF_SYNC: &str = "http://www.microsoft.com/SoftwareDistribution";
const OF_AUTH: &str = "http://www.microsoft.com/SoftwareDistribution/Server/DssAuthWebService";

type Wished = Arc<Mutex<Vec<Sha1>>>;

fn open_to_all() -> Config {
    Config { networks: vec!["127.0.0.0/8".parse().unwrap()], accounts: vec![] }
}

/// Listens; what servers below wish for is gathered.
async fn listen(node: &Node, config: Config) -> (Server, Wished) {
    let wished = Wished::default();
    let gathering = Arc::clone(&wished);
    let face = node.face_below(config, Box::new(move |files| gathering.lock().unwrap().extend(files))).await;
    (serve(face), wished)
}

/// Everything that a catalog holds: documents by their digest, kind, state, and where files may be had.
async fn content(catalog: &Catalog) -> BTreeMap<Identity, (String, u8, bool, Vec<String>)> {
    let (mut found, mut after) = (BTreeMap::new(), None);
    loop {
        let (page, next) = catalog.related_step(after).await.unwrap();
        let numbers: Vec<u32> = page.iter().filter(|related| !related.refused).map(|related| related.number).collect();
        let summaries: Vec<Summary> = catalog.summaries(numbers.clone()).await.unwrap();
        for summary in summaries {
            let update = catalog.revision(summary.number).await.unwrap().unwrap().update;
            let mut urls = Vec::new();
            for file in &update.files {
                for known in catalog.files(waystation::store::catalog::FileDigest::Sha1(file.sha1)).await.unwrap() {
                    urls.extend(known.urls);
                }
            }
            let state = u8::from(summary.current) | u8::from(summary.deployable) << 1;
            let expired = summary.publication == Publication::Expired;
            found.insert(summary.identity, (summary.digest.to_string(), state, expired, urls));
        }
        after = next;
        if after.is_none() {
            return found;
        }
    }
}

/// A run of a node that takes another one for a WSUS server.
async fn below(store: &Store, dir: &tempfile::TempDir, server: &Server) -> u64 {
    let url = format!("http://{}", server.addresses()[0]);
    let mut config = conversation::config(&url, dir.path().to_owned());
    config.batch_max = 40;
    let wsus = Wsus::new(config, &Governor::default()).unwrap();
    let chosen = Arc::new(Selection::default);
    let runner = Runner::new(UpstreamKind::Wsus, &url, wsus, store.clone(), chosen, Arc::new(SystemClock));
    let counts = timeout(SOON, runner.run(&CancellationToken::new())).await.unwrap().unwrap();
    counts.new + counts.changed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_below_a_node_ends_with_the_same_catalog() {
    let sim = sim(300);
    let node = Node::below(&sim).await;
    let (server, _) = listen(&node, open_to_all()).await;
    let dir = tempfile::tempdir().unwrap();
    let store = small_store::open(&dir.path().join("data"));
    assert!(below(&store, &dir, &server).await > 300);
    let above = content(&node.store.catalog()).await;
    assert!(above.len() > 300);
    assert_eq!(content(&store.catalog()).await, above);
    assert_eq!(below(&store, &dir, &server).await, 0, "nothing changed");
    // Months go by; of each only what changed comes.
    for _ in 0..2 {
        sim.advance(1);
        node.sync(&sim).await;
        let before = above_of(&store).await;
        let came = below(&store, &dir, &server).await;
        let above = content(&node.store.catalog()).await;
        let held = content(&store.catalog()).await;
        let current = |all: &BTreeMap<Identity, (String, u8, bool, Vec<String>)>| -> BTreeSet<Identity> {
            all.iter().filter(|(_, (_, state, ..))| state & 1 == 1).map(|(identity, _)| *identity).collect()
        };
        assert_eq!(current(&held), current(&above));
        assert!(above.iter().all(|(identity, row)| held.get(identity) == Some(row)), "with the same documents");
        assert!(came > 0 && (came as usize) < before / 2, "{came} of {before}");
    }
    // What is refused here is passed on to nobody.
    let refused = *content(&node.store.catalog()).await.keys().next().unwrap();
    node.store.catalog().refuse(refused, "for a reason".into()).await.unwrap();
    let mut asking = Below::new(&server).await;
    asking.enter("wsus.example").await;
    let (status, answer) = asking.ask(SYNC, OF_SYNC, "GetUpdateData", &ids(&asking, &[refused])).await;
    assert_eq!((status, one(&answer, "ErrorCode")), (500, "InternalServerError"));
    let everything = asking
        .list("<GetConfig>false</GetConfig>")
        .await
        .into_iter()
        .chain(asking.list("<GetConfig>true</GetConfig>").await);
    assert!(!everything.collect::<BTreeSet<_>>().contains(&refused));
    store.close().await.unwrap();
    server.drain(SOON).await;
    node.close().await;
}

async fn above_of(store: &Store) -> usize {
    content(&store.catalog()).await.len()
}

/// A server below, with templates of its own.
struct Below {
    client: Client,
    cookie: String,
    packed: bool,
}

impl Below {
    async fn new(server: &Server) -> Self {
        Self { client: Client::connect(server.addresses()[0]).await, cookie: String::new(), packed: false }
    }

    async fn ask(&mut self, path: &str, namespace: &str, operation: &str, inside: &str) -> (u16, String) {
        let body = format!(
            r#"<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><{operation} xmlns="{namespace}">{inside}</{operation}></soap:Body></soap:Envelope>"#
        );
        self.send(path, "text/xml; charset=utf-8", &format!("\"{namespace}/{operation}\""), &body).await
    }

    async fn send(&mut self, path: &str, content_type: &str, action: &str, body: &str) -> (u16, String) {
        let encoding = if self.packed { "xpress" } else { "identity" };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: node:8530\r\nContent-Type: {content_type}\r\nSOAPAction: {action}\r\nAccept-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.client.send_raw(head.as_bytes()).await;
        self.client.send_raw(body.as_bytes()).await;
        let answer = self.client.answer(false).await;
        assert!(answer.whole);
        let bytes = if answer.header("content-encoding") == Some("xpress") {
            plain_xpress::body(&answer.body)
        } else {
            answer.body
        };
        (answer.status, String::from_utf8(bytes).unwrap())
    }

    /// The handshake.
    async fn enter(&mut self, account: &str) {
        let (status, config) = self.ask(SYNC, OF_SYNC, "GetAuthConfig", "").await;
        assert_eq!((status, one(&config, "ServiceUrl")), (200, AUTH.trim_start_matches('/')));
        let who = format!("<accountName>{account}</accountName><accountGuid>{}</accountGuid>", UpdateId::new([7; 16]));
        let (status, told) = self.ask(AUTH, OF_AUTH, "GetAuthorizationCookie", &who).await;
        assert_eq!(status, 200, "{told}");
        let shown = format!(
            "<authCookies><AuthorizationCookie><PlugInId>{}</PlugInId><CookieData>{}</CookieData></AuthorizationCookie></authCookies><oldCookie><Expiration>0001-01-01T00:00:00</Expiration></oldCookie><protocolVersion>1.20</protocolVersion>",
            one(&told, "PlugInId"),
            one(&told, "CookieData")
        );
        let (status, told) = self.ask(SYNC, OF_SYNC, "GetCookie", &shown).await;
        assert_eq!(status, 200, "{told}");
        let (until, data) = (one(&told, "Expiration"), one(&told, "EncryptedData"));
        self.cookie = format!("<cookie><Expiration>{until}</Expiration><EncryptedData>{data}</EncryptedData></cookie>");
    }

    async fn listed(&mut self, filter: &str) -> (u16, String) {
        let inside = format!("{}<filter>{filter}</filter>", self.cookie);
        self.ask(SYNC, OF_SYNC, "GetRevisionIdList", &inside).await
    }

    /// What is listed, in order.
    async fn list(&mut self, filter: &str) -> Vec<Identity> {
        let (status, told) = self.listed(filter).await;
        assert_eq!(status, 200, "{told}");
        identities(&told)
    }
}

fn identities(told: &str) -> Vec<Identity> {
    let all = told.split("<UpdateIdentity>").skip(1);
    all.map(|text| Identity {
        id: one_first(text, "UpdateID").parse().unwrap(),
        revision: one_first(text, "RevisionNumber").parse().unwrap(),
    })
    .collect()
}

fn one_first<'a>(text: &'a str, name: &str) -> &'a str {
    text.split_once(&format!("<{name}>")).unwrap().1.split_once('<').unwrap().0
}

fn ids(asking: &Below, all: &[Identity]) -> String {
    let one = |identity: &Identity| {
        format!(
            "<UpdateIdentity><UpdateID>{}</UpdateID><RevisionNumber>{}</RevisionNumber></UpdateIdentity>",
            identity.id, identity.revision
        )
    };
    format!("{}<updateIds>{}</updateIds>", asking.cookie, all.iter().map(one).collect::<String>())
}

fn of_kinds(identities: &Value, kinds: &[&str]) -> BTreeSet<Identity> {
    let all = identities.as_array().unwrap().iter().filter(|value| kinds.iter().any(|kind| value["kind"] == **kind));
    all.map(|value| Identity {
        id: value["id"].as_str().unwrap().parse().unwrap(),
        revision: u32::try_from(value["revision"].as_u64().unwrap()).unwrap(),
    })
    .collect()
}

/// A filter of the protocol: products and classifications, each with whether only what changed is wanted.
fn lists(products: (&[String], bool), classifications: (&[String], bool), anchor: Option<&str>) -> String {
    let list = |name: &str, (ids, delta): (&[String], bool)| {
        let one = |id: &String| format!("<IdAndDelta><Id>{id}</Id><Delta>{delta}</Delta></IdAndDelta>");
        format!("<{name}>{}</{name}>", ids.iter().map(one).collect::<String>())
    };
    let anchor = anchor.map(|anchor| format!("<Anchor>{anchor}</Anchor>")).unwrap_or_default();
    format!(
        "{anchor}<GetConfig>false</GetConfig><Get63LanguageOnly>false</Get63LanguageOnly>{}{}",
        list("Categories", products),
        list("Classifications", classifications)
    )
}

/// Products and classifications that updates of the simulator have.
async fn categories(node: &Node) -> (Vec<String>, Vec<String>) {
    let tree = node.store.catalog().tree().await.unwrap();
    let of = |kind: CategoryKind| -> Vec<String> {
        tree.categories().filter(|category| category.kind == kind).map(|category| category.id.to_string()).collect()
    };
    (of(CategoryKind::Product), of(CategoryKind::Classification))
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_hold_what_filters_say() {
    let sim = sim(250);
    let node = Node::below(&sim).await;
    let (server, _) = listen(&node, open_to_all()).await;
    let mut asking = Below::new(&server).await;
    asking.enter("wsus.example").await;
    let everything = sim.identities(&json!({}));
    let set = |listed: Vec<Identity>| -> BTreeSet<Identity> {
        let found: BTreeSet<Identity> = listed.iter().copied().collect();
        assert_eq!(found.len(), listed.len(), "each once");
        found
    };
    let config = set(asking.list("<GetConfig>true</GetConfig>").await);
    assert!(config.is_superset(&of_kinds(&everything, &["category", "detectoid"])) && !config.is_empty());
    let software = set(asking.list("<GetConfig>false</GetConfig>").await);
    assert!(software.is_superset(&of_kinds(&everything, &["software", "driver"])) && software.is_disjoint(&config));
    // Each product with each classification; together they are what both together bring.
    let (products, classes) = categories(&node).await;
    let mut seen = 0;
    for product in products.iter().take(6) {
        for class in classes.iter().take(6) {
            let listed = asking
                .list(&lists((std::slice::from_ref(product), false), (std::slice::from_ref(class), false), None))
                .await;
            let wanted = sim.identities(&json!({ "products": [product], "classifications": [class] }));
            let wanted = of_kinds(&wanted, &["software", "driver"]);
            let known = set(listed);
            assert!(known.is_subset(&wanted), "{product} {class}: {:?}", known.difference(&wanted).next());
            seen += known.len();
        }
    }
    assert!(seen > 0);
    let (whole, every) = (products.as_slice(), classes.as_slice());
    let listed = asking.list(&lists((whole, false), (every, false), None)).await;
    let wanted = of_kinds(
        &sim.identities(&json!({ "products": products, "classifications": classes })),
        &["software", "driver"],
    );
    assert_eq!(set(listed.clone()), wanted);
    // What a bundle contains stands before it.
    let place: BTreeMap<Identity, usize> = listed.iter().enumerate().map(|(at, identity)| (*identity, at)).collect();
    for (identity, at) in &place {
        let number = node.store.catalog().number(*identity).await.unwrap().unwrap();
        for member in node.store.catalog().revision(number).await.unwrap().unwrap().update.members() {
            assert!(place[&member] < *at, "{member} in {identity}");
        }
    }
    // One list alone, or an empty one, is nothing.
    assert!(asking.list(&lists((whole, false), (&[], false), None)).await.is_empty());
    let alone = format!(
        "<GetConfig>false</GetConfig><Classifications><IdAndDelta><Id>{}</Id><Delta>false</Delta></IdAndDelta></Classifications>",
        classes[0]
    );
    assert!(asking.list(&alone).await.is_empty());

    // With the anchor only what changed; without `Delta` all of that id again.
    let (_, told) = asking.listed(&lists((whole, false), (every, false), None)).await;
    let anchor = one(&told, "Anchor").to_owned();
    assert!(asking.list(&lists((whole, true), (every, true), Some(&anchor))).await.is_empty());
    sim.advance(1);
    node.sync(&sim).await;
    let now = set(asking.list("<GetConfig>false</GetConfig>").await);
    let changed = set(asking.list(&lists((whole, true), (every, true), Some(&anchor))).await);
    assert!(!changed.is_empty() && changed.len() < now.len() / 2, "{} of {}", changed.len(), now.len());
    let news: BTreeSet<Identity> = now.difference(&software).copied().collect();
    assert!(changed.is_superset(&news), "all that is new is among what changed");
    let again = set(asking.list(&lists((whole, false), (every, true), Some(&anchor))).await);
    assert!(again.is_superset(&changed) && again.len() > changed.len() * 2);
    assert_eq!(
        set(asking.list(&format!("<Anchor>{anchor}</Anchor><GetConfig>false</GetConfig>")).await)
            .intersection(&news)
            .count(),
        news.len()
    );
    server.drain(SOON).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_gets_the_fault_of_the_protocol() {
    let sim = sim(60);
    let node = Node::below(&sim).await;
    let config = Config { accounts: vec!["*.site.example".into()], ..open_to_all() };
    let face = node.face_below(config.clone(), Box::new(|_| ())).await;
    let elsewhere = serve(Arc::new(From(Arc::clone(&face), [10, 1, 2, 3])));
    let mut stranger = Below::new(&elsewhere).await;
    let (status, told) = stranger.ask(SYNC, OF_SYNC, "GetAuthConfig", "").await;
    assert!(status == 403 && told.contains("[downstream] networks"), "{status} {told}");
    elsewhere.drain(SOON).await;
    let (server, wished) = listen(&node, config).await;
    let mut asking = Below::new(&server).await;
    let answer = asking.client.get(SYNC, &[]).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    // Other accounts.
    let who = format!("<accountName>other.example</accountName><accountGuid>{}</accountGuid>", UpdateId::new([7; 16]));
    let (status, told) = asking.ask(AUTH, OF_AUTH, "GetAuthorizationCookie", &who).await;
    assert_eq!((status, one(&told, "ErrorCode"), one(&told, "Message")), (500, "InvalidParameters", "accountName"));
    // Cookies: none, nobody's, an agent's, of another protocol.
    let fault = async |asking: &mut Below, operation: &str, inside: &str| -> (String, String) {
        let (status, told) = asking.ask(SYNC, OF_SYNC, operation, inside).await;
        assert_eq!(status, 500, "{told}");
        assert!(one(&told, "Method").contains(operation) && !one(&told, "ID").is_empty(), "{told}");
        (one(&told, "ErrorCode").to_owned(), one(&told, "Message").to_owned())
    };
    let refused = |code: &str, message: &str| (code.to_owned(), message.to_owned());
    let all = "<filter><GetConfig>false</GetConfig></filter>";
    assert_eq!(fault(&mut asking, "GetRevisionIdList", all).await, refused("InvalidCookie", ""));
    let forged = STANDARD.encode([7; 120]);
    let forged = format!(
        "<cookie><Expiration>2099-01-01T00:00:00Z</Expiration><EncryptedData>{forged}</EncryptedData></cookie>"
    );
    assert_eq!(fault(&mut asking, "GetRevisionIdList", &format!("{forged}{all}")).await, refused("InvalidCookie", ""));
    let shown = "<authCookies><AuthorizationCookie><PlugInId>DssTargeting</PlugInId><CookieData>AAAA</CookieData></AuthorizationCookie></authCookies>";
    let old = format!("{shown}<protocolVersion>1.20</protocolVersion>");
    assert_eq!(fault(&mut asking, "GetCookie", &old).await, refused("InvalidAuthorizationCookie", ""));
    let two = format!("{shown}<protocolVersion>2.0</protocolVersion>");
    assert_eq!(fault(&mut asking, "GetCookie", &two).await, refused("IncompatibleProtocolVersion", ""));
    asking.enter("WSUS.Site.Example").await;
    let cookie = asking.cookie.clone();
    let with = |inside: &str| format!("{cookie}{inside}");
    // Anchors, lists, batches.
    let garbage = with("<filter><Anchor>garbage</Anchor><GetConfig>false</GetConfig></filter>");
    assert_eq!(fault(&mut asking, "GetRevisionIdList", &garbage).await, refused("InvalidParameters", "filter"));
    let anchor = with("<configAnchor>x</configAnchor>");
    assert_eq!(fault(&mut asking, "GetConfigData", &anchor).await, refused("InvalidParameters", "configAnchor"));
    let listed = asking.list("<GetConfig>false</GetConfig>").await;
    let many: Vec<Identity> = listed.iter().copied().cycle().take(101).collect();
    let batch = ids(&asking, &many);
    assert_eq!(fault(&mut asking, "GetUpdateData", &batch).await, refused("InvalidParameters", "updateIds"));
    let stranger = Identity { id: UpdateId::new([9; 16]), revision: 1 };
    let batch = ids(&asking, &[listed[0], stranger]);
    assert_eq!(fault(&mut asking, "GetUpdateData", &batch).await, refused("InternalServerError", ""));
    let (status, _) = asking.send(SYNC, "text/xml", "\"\"", "<no/>").await;
    assert_eq!(status, 500);
    // A future anchor brings nothing; what is asked for twice comes twice; packed it is the same.
    let future = "<Anchor>1,2999-01-01 00:00:00.000</Anchor><GetConfig>false</GetConfig>";
    assert!(asking.list(future).await.is_empty());
    let batch = ids(&asking, &[listed[0], listed[0], listed[1]]);
    let (status, plain) = asking.ask(&SYNC.to_ascii_uppercase(), OF_SYNC, "GetUpdateData", &batch).await;
    assert_eq!((status, plain.matches("<ServerSyncUpdateData>").count()), (200, 3));
    let document = sim.document(&listed[0].id.to_string(), listed[0].revision).unwrap();
    let escaped = document.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    assert!(plain.contains(&escaped), "word for word");
    asking.packed = true;
    let (_, packed) = asking.ask(SYNC, OF_SYNC, "GetUpdateData", &batch).await;
    assert_eq!(packed, plain);
    asking.packed = false;
    // In SOAP 1.2 it is answered in that.
    let body = format!(
        r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><GetConfigData xmlns="{OF_SYNC}">{cookie}</GetConfigData></s:Body></s:Envelope>"#
    );
    let (status, told) = asking.send(SYNC, "application/soap+xml; charset=utf-8", "", &body).await;
    assert!(status == 200 && told.contains("http://www.w3.org/2003/05/soap-envelope"), "{told}");
    assert_eq!(told.matches("<ServerSyncLanguageData>").count(), 39);
    let known = with(&format!("<configAnchor>{}</configAnchor>", one(&told, "NewConfigAnchor")));
    let (_, told) = asking.ask(SYNC, OF_SYNC, "GetConfigData", &known).await;
    assert!(!told.contains("<ServerSyncLanguageData>") && one(&told, "MaxNumberOfUpdatesPerRequest") == "100");
    // Files: those that are known are wished for, one that is not refuses all.
    let file = one_first(&plain[plain.find("<FileDigestList>").unwrap()..], "base64Binary").to_owned();
    let unknown = STANDARD.encode([3; 20]);
    let both = with(&format!(
        "<fileDigestList><base64Binary>{file}</base64Binary><base64Binary>{unknown}</base64Binary></fileDigestList>"
    ));
    assert_eq!(fault(&mut asking, "DownloadFiles", &both).await, refused("FileDigestsMissing", &unknown));
    assert!(wished.lock().unwrap().is_empty());
    let known = with(&format!("<fileDigestList><base64Binary>{file}</base64Binary></fileDigestList>"));
    let (status, _) = asking.ask(SYNC, OF_SYNC, "DownloadFiles", &known).await;
    let sha1 = Sha1::new(STANDARD.decode(&file).unwrap().try_into().unwrap());
    assert_eq!((status, wished.lock().unwrap().as_slice()), (200, &[sha1][..]));
    let none = with("<fileDigestList/>");
    assert_eq!(fault(&mut asking, "DownloadFiles", &none).await, refused("InvalidParameters", "fileDigestList"));
    server.drain(SOON).await;
    node.close().await;
}

/// A server as it tells of itself.
fn told_of(id: u8, parent: u8, name: &str, at: &str, computers: &[(u32, u32)]) -> String {
    let system = |(build, count): &(u32, u32)| {
        format!(
            "<DownstreamServerRollupClientSummary><OSMajorVersion>10</OSMajorVersion><OSMinorVersion>0</OSMinorVersion><OSBuildNumber>{build}</OSBuildNumber><OSServicePackMajorNumber>0</OSServicePackMajorNumber><OSServicePackMinorNumber>0</OSServicePackMinorNumber><OSLocale>en-US</OSLocale><SuiteMask>256</SuiteMask><OldProductType>1</OldProductType><NewProductType>48</NewProductType><SystemMetrics>0</SystemMetrics><ProcessorArchitecture>AMD64</ProcessorArchitecture><Count>{count}</Count><ActivitySummaries /></DownstreamServerRollupClientSummary>"
        )
    };
    let systems = computers.iter().map(system).collect::<Vec<_>>().concat();
    let sum: u32 = computers.iter().map(|(_, count)| count).sum();
    let counts = [
        "UpdateCount",
        "DeclinedUpdateCount",
        "ApprovedUpdateCount",
        "NotApprovedUpdateCount",
        "UpdatesWithStaleUpdateApprovalsCount",
        "ExpiredUpdateCount",
        "CriticalOrSecurityUpdatesNotApprovedForInstallCount",
        "WsusInfrastructureUpdatesNotApprovedForInstallCount",
        "UpdatesWithClientErrorsCount",
        "UpdatesWithServerErrorsCount",
        "UpdatesNeedingFilesCount",
        "UpdatesNeededByComputersCount",
        "UpdatesUpToDateCount",
        "CustomComputerTargetGroupCount",
    ];
    let of_computers = [
        ("ComputerTargetCount", sum as usize),
        ("ComputerTargetsNeedingUpdatesCount", 2),
        ("ComputerTargetsWithUpdateErrorsCount", 1),
        ("ComputersUpToDateCount", 4),
    ];
    let counts = counts.iter().enumerate().map(|(at, name)| (*name, at)).chain(of_computers);
    let summary = counts.map(|(name, count)| format!("<{name}>{count}</{name}>")).collect::<Vec<_>>().concat();
    format!(
        "<DownstreamServerRollupInfo><ServerId>{}</ServerId><FullDomainName>{name}</FullDomainName><LastSyncTime>1753-01-01T00:00:00</LastSyncTime><ParentServerId>{}</ParentServerId><Version>10.0.20348.2031</Version><IsReplica>true</IsReplica><LastRollupTime>{at}</LastRollupTime><ServerSummary>{summary}</ServerSummary><ClientSummaries>{systems}</ClientSummaries></DownstreamServerRollupInfo>",
        UpdateId::new([id; 16]),
        UpdateId::new([parent; 16])
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_below_tell_of_themselves_and_of_those_below_them() {
    let sim = sim(60);
    let node = Node::below(&sim).await;
    let config = Config { accounts: vec!["*.site.example".into()], ..open_to_all() };
    let (server, _) = listen(&node, config).await;
    let mut asking = Below::new(&server).await;
    let cookie = "<cookie><Expiration>9999-12-31T23:59:59.9999999</Expiration><EncryptedData /></cookie>";
    let (status, told) = asking.ask(REPORTS, OF_SYNC, "GetRollupConfiguration", cookie).await;
    assert_eq!(
        (status, one(&told, "DoDetailedRollup"), one(&told, "RollupDownstreamServersMaxBatchSize")),
        (200, "false", "5000")
    );
    let tell = async |asking: &mut Below, servers: &str| {
        let inside = format!(
            "{cookie}<clientTime>2026-11-23T10:00:00Z</clientTime><downstreamServers>{servers}</downstreamServers>"
        );
        asking.ask(REPORTS, OF_SYNC, "RollupDownstreamServers", &inside).await
    };
    // Through SOAP 1.2 too, which says its action elsewhere; in two parts; and of one below.
    let at = "2026-11-23T09:59:58Z";
    let first =
        [told_of(1, 0, "a.site.example", at, &[(26100, 5)]), told_of(2, 1, "b.elsewhere.example", at, &[])].concat();
    let (status, told) = tell(&mut asking, &first).await;
    assert!(status == 200 && told.contains("RollupDownstreamServersResponse"), "{status} {told}");
    let part = told_of(1, 0, "a.site.example", at, &[(26100, 1), (19045, 2), (19045, 1)]);
    let body = format!(
        r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><RollupDownstreamServers xmlns="{OF_SYNC}">{cookie}<clientTime>2026-11-23T10:00:00Z</clientTime><downstreamServers>{part}</downstreamServers></RollupDownstreamServers></s:Body></s:Envelope>"#
    );
    let kind = format!("application/soap+xml; charset=utf-8; action=\"{OF_SYNC}/RollupDownstreamServers\"");
    let (status, told) = asking.send(REPORTS, &kind, "\"\"", &body).await;
    assert_eq!(status, 200, "{told}");
    let known = node.store.downstream_servers().await.unwrap();
    let names: Vec<(&str, bool)> = known.iter().map(|one| (one.name.as_str(), one.parent.is_some())).collect();
    assert_eq!(names, [("a.site.example", false), ("b.elsewhere.example", true)]);
    assert_eq!(known[0].systems, [("10.0.26100 AMD64".to_owned(), 6), ("10.0.19045 AMD64".to_owned(), 3)]);
    let standing = known[0].standing.unwrap();
    assert_eq!((standing.declined, standing.approved, standing.lacking_files), (1, 2, 9 + 10));
    assert_eq!((standing.lacking, standing.failed, standing.up_to_date), (2, 1, 4));
    assert!(known[0].last_sync.is_none() && known[0].is_replica && known[0].version == "10.0.20348.2031");
    // By this node's clock: theirs stands in November 2026, whatever the time is here.
    let apart = SystemClock.now().since(known[0].told);
    assert!(apart < Duration::from_mins(5), "{apart:?}");
    // Those that may not: another account, below nobody that is known, itself, and computers that nobody asked for.
    for wrong in [
        told_of(3, 0, "other.example", at, &[]),
        told_of(4, 9, "c.site.example", at, &[]),
        told_of(5, 5, "d.site.example", at, &[]),
    ] {
        let (status, told) = tell(&mut asking, &wrong).await;
        assert_eq!(
            (status, one(&told, "ErrorCode"), one(&told, "Message")),
            (500, "InvalidParameters", "downstreamServers")
        );
    }
    let inside = format!("{cookie}<parentServerId>{}</parentServerId><lastRollupNumbers />", UpdateId::new([1; 16]));
    let (status, told) = asking.ask(REPORTS, OF_SYNC, "GetOutOfSyncComputers", &inside).await;
    assert_eq!((status, one(&told, "ErrorCode")), (500, "InternalServerError"));
    assert_eq!(node.store.downstream_servers().await.unwrap().len(), 2);
    // A later telling takes the place of the former one; who is gone is forgotten.
    let later = told_of(1, 0, "a.site.example", "2026-11-23T10:30:00Z", &[(26100, 4)]);
    assert_eq!(tell(&mut asking, &later).await.0, 200);
    let known = node.store.downstream_servers().await.unwrap();
    assert_eq!(known[0].systems, [("10.0.26100 AMD64".to_owned(), 4)]);
    assert!(node.store.forget_downstream_server(known[1].id).await.unwrap());
    assert!(!node.store.forget_downstream_server(known[1].id).await.unwrap());
    assert_eq!(node.store.downstream_servers().await.unwrap().len(), 1);
    server.drain(SOON).await;
}

/// Two servers, of which the first has more systems than a request may have.
struct TwoServers;

impl waystation::sync::Account for TwoServers {
    fn servers(&self, synchronised: Timestamp) -> waystation::sync::Awaited<'_, Result<Vec<rollup::Server>, String>> {
        let computers = |build: i32| rollup::Computers {
            os_major: 10,
            os_minor: 0,
            os_build: build,
            service_pack_major: 0,
            service_pack_minor: 0,
            locale: String::new(),
            suite: 0,
            old_product: 1,
            new_product: 0,
            metrics: 0,
            architecture: "AMD64".into(),
            count: build % 10,
            activity: vec![],
        };
        let server = |at: u8, parent: u8, builds: std::ops::Range<i32>| rollup::Server {
            id: UpdateId::new([at; 16]),
            name: format!("server-{at}.site.example"),
            last_sync: Time::new(synchronised),
            parent: UpdateId::new([parent; 16]),
            version: "1.2.3.0".into(),
            is_replica: false,
            last_rollup: Time::new(synchronised),
            summary: None,
            computers: builds.map(computers).collect(),
        };
        let told = vec![server(1, 0, 26_101..26_108), server(2, 1, 19_045..19_046)];
        Box::pin(std::future::ready(Ok(told)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_above_is_told_how_this_node_stands_at_the_end_of_each_run() {
    let sim = sim(60);
    let dir = tempfile::tempdir().unwrap();
    let store = small_store::open(&dir.path().join("data"));
    let run = async |url: &str| {
        let wsus = Wsus::new(conversation::config(url, dir.path().to_owned()), &Governor::default()).unwrap();
        let chosen = Arc::new(Selection::default);
        let runner = Runner::new(UpstreamKind::Wsus, url, wsus, store.clone(), chosen, Arc::new(SystemClock));
        runner.tell_above(Arc::new(TwoServers));
        timeout(SOON, runner.run(&CancellationToken::new())).await.unwrap().unwrap();
        runner.history(None, 1).await.unwrap().remove(0)
    };
    let ended = run(&sim.url()).await;
    assert_eq!((ended.outcome, ended.reason.as_str(), ended.counts.errors), (Outcome::Successful, "", 0));
    let log = sim.log(2_000);
    let told: Vec<&Value> =
        log["lines"].as_array().unwrap().iter().filter(|line| line["method"] == "RollupDownstreamServers").collect();
    let servers = told.iter().flat_map(|line| line["servers"].as_array().unwrap());
    let names: Vec<(&str, usize)> =
        servers.map(|one| (one["name"].as_str().unwrap(), one["computers"].as_array().unwrap().len())).collect();
    let (first, second) = ("server-1.site.example", "server-2.site.example");
    assert_eq!(names, [(first, 3), (first, 3), (first, 1), (second, 1)], "three at once are allowed");

    // A node above keeps what comes in parts as one.
    let node = Node::below(&sim).await;
    let (server, _) = listen(&node, open_to_all()).await;
    let above = format!("http://{}", server.addresses()[0]);
    assert_eq!(run(&above).await.reason, "");
    let known = node.store.downstream_servers().await.unwrap();
    let systems: Vec<(&str, usize)> = known.iter().map(|one| (one.name.as_str(), one.systems.len())).collect();
    assert_eq!(systems, [(first, 7), (second, 1)]);
    assert_eq!(known[1].parent, Some(known[0].id));

    // A server that does not want to hear it is no reason for a run to fail; the history tells.
    sim.fault(&json!({ "fault": "internal-server-error", "method": "GetRollupConfiguration", "count": 9 })).unwrap();
    let ended = run(&sim.url()).await;
    assert_eq!(ended.outcome, Outcome::Successful);
    assert!(ended.reason.contains("the server above was not told"), "{}", ended.reason);
    server.drain(SOON).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_takes_over_what_was_said() {
    let sim = sim(120);
    let node = Node::below(&sim).await;
    let approvals = node.store.approvals();
    let (munich, lab) = (Group(UpdateId::new([1; 16])), Group(UpdateId::new([2; 16])));
    let group = |id, name: &str, parent, asks_review| GroupNode {
        id,
        name: name.into(),
        level: Level::Group,
        parent,
        is_test: false,
        asks_review,
        rules: vec![],
    };
    approvals.change(Change::Add(group(munich, "Munich", Group::ALL_ENDPOINTS, false)), "kim".into()).await.unwrap();
    approvals.change(Change::Add(group(lab, "Lab", munich, true)), "kim".into()).await.unwrap();
    let deployable = sim.deployable(&json!({}));
    let open: Vec<UpdateId> =
        deployable.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().parse().unwrap()).take(4).collect();
    let deadline = Timestamp::from_ms(4_000_000_000_000);
    let install = Said::Do { action: Action::Install, deadline: Some(deadline) };
    let say = async |updates: &[UpdateId], target: Group, said: Said| {
        let (updates, targets) = (updates.to_vec(), vec![Target::Group(target)]);
        let saying = Saying { updates, targets, said, all_files: false, by: "kim".into(), why: String::new() };
        approvals.say(saying).await.unwrap();
    };
    say(&open[..1], Group::ALL_ENDPOINTS, install).await;
    say(&open[1..2], munich, Said::NotApproved).await;
    node.store.catalog().decide(vec![open[2]], Deciding::Decline, "kim".into(), String::new()).await.unwrap();
    approvals.accept(vec![UpdateId::new([8; 16])], "kim".into()).await.unwrap();
    let (server, _) = listen(&node, open_to_all()).await;
    let mut asking = Below::new(&server).await;
    asking.enter("replica.example").await;
    let (_, told) = asking.listed("<GetConfig>false</GetConfig>").await;
    let sync = one(&told, "Anchor").to_owned();
    let ask = async |asking: &mut Below, anchor: &str| -> String {
        let inside = format!("{}{anchor}<syncAnchor>{sync}</syncAnchor>", asking.cookie);
        let (status, told) = asking.ask(SYNC, OF_SYNC, "GetDeployments", &inside).await;
        assert_eq!(status, 200, "{told}");
        told
    };
    let told = ask(&mut asking, "").await;
    let groups: Vec<&str> = told.split("<ServerSyncTargetGroup>").skip(1).map(|text| one_first(text, "Name")).collect();
    assert_eq!(groups.iter().collect::<BTreeSet<_>>().len(), 4, "{groups:?}");
    assert!(groups.contains(&"All Computers") && groups.contains(&"Lab"));
    let deployments = |told: &str| -> BTreeSet<(String, String, String, String)> {
        let one = |text: &str| {
            let of = |name| one_first(text, name).to_owned();
            (of("UpdateId"), of("TargetGroupId"), of("Action"), of("Deadline"))
        };
        told.split("<ServerSyncDeployment>").skip(1).map(one).collect()
    };
    let row = |update: UpdateId, group: Group, action: &str, deadline: &str| {
        (update.to_string(), group.0.to_string(), action.to_owned(), deadline.to_owned())
    };
    let never = "9999-12-31T23:59:59.9999999";
    let expected: BTreeSet<_> = [
        row(open[0], Group::ALL_ENDPOINTS, "0", "2096-10-02T07:06:40Z"),
        // The lab asks for a review, which has let nothing yet.
        row(open[0], lab, "3", never),
        row(open[1], munich, "3", never),
        row(open[1], lab, "3", never),
    ]
    .into();
    assert_eq!(deployments(&told), expected);
    assert_eq!(one(&told, "HiddenUpdates"), format!("<guid>{}</guid>", open[2]));
    assert_eq!(one(&told, "AcceptedEulas"), format!("<guid>{}</guid>", UpdateId::new([8; 16])));
    // Nothing changed: no deployments, but all that is declined.
    let anchor = format!("<deploymentAnchor>{}</deploymentAnchor>", one(&told, "Anchor"));
    let same = ask(&mut asking, &anchor).await;
    assert!(deployments(&same).is_empty() && one(&same, "HiddenUpdates").contains(&open[2].to_string()));
    // Another word takes the place of the first, which is named dead.
    let first = one_first(
        &told[told.find(&format!("<TargetGroupId>{}", Group::ALL_ENDPOINTS.0)).unwrap() - 400..],
        "DeploymentGuid",
    )
    .to_owned();
    let uninstall = Said::Do { action: Action::Uninstall, deadline: None };
    say(&open[..1], Group::ALL_ENDPOINTS, uninstall).await;
    let told = ask(&mut asking, &anchor).await;
    assert!(deployments(&told).contains(&row(open[0], Group::ALL_ENDPOINTS, "1", never)), "{told}");
    assert!(one(&told, "DeadDeployments").contains(&first));
    // It is for replicas that have listed.
    let inside = asking.cookie.clone();
    let (status, told) = asking.ask(SYNC, OF_SYNC, "GetDeployments", &inside).await;
    assert_eq!((status, one(&told, "Message")), (500, "syncAnchor"));
    server.drain(SOON).await;
    node.close().await;
}

/// The names of elements below this one, each once, in the order in which they first stand there; of a document nothing more than that it
/// is there: text or packed.
fn shape(element: &Element, place: &str, found: &mut BTreeMap<String, Vec<String>>) {
    for child in &element.children {
        let name = if child.name == "XmlUpdateBlobCompressed" { "XmlUpdateBlob" } else { child.name.as_str() };
        let names = found.entry(place.to_owned()).or_default();
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
        shape(child, &format!("{place}/{name}"), found);
    }
}

/// What a server that was recorded asked is understood, and the answer has the elements that were recorded, in their order. Cookies, and the
/// ids of what is asked for, are this node's.
#[tokio::test(flavor = "multi_thread")]
async fn recorded_requests_are_answered_with_the_recorded_elements() {
    let Some(folder) = recorded("wsusss/exchanges") else { return };
    let sim = sim(120);
    let node = Node::below(&sim).await;
    let (server, _) = listen(&node, open_to_all()).await;
    let mut asking = Below::new(&server).await;
    asking.enter("wsus.example").await;
    let data = one(&asking.cookie, "EncryptedData").to_owned();
    let (products, classes) = categories(&node).await;
    let listed = asking.list(&lists((&products, false), (&classes, false), None)).await;
    // Two revisions with a document and files each, as were asked for there.
    let mut with_files = Vec::new();
    for identity in listed {
        let number = node.store.catalog().number(identity).await.unwrap().unwrap();
        if !node.store.catalog().revision(number).await.unwrap().unwrap().update.files.is_empty() {
            with_files.push(identity);
        }
    }
    let (mut authorization, mut seen) = (String::new(), BTreeSet::new());
    let mut exchanges: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    exchanges.sort();
    for exchange in exchanges {
        let name = exchange.file_name().unwrap().to_str().unwrap().to_owned();
        let read = |file: &str| std::fs::read_to_string(exchange.join(file)).unwrap();
        let (mut request, recorded) = (read("request.body"), read("response.body"));
        let put = |text: &str, name: &str, value: &str| -> String {
            let (open, close) = (format!("<{name}>"), format!("</{name}>"));
            let mut parts = text.split(&open);
            let mut done = parts.next().unwrap().to_owned();
            for part in parts {
                let (_, rest) = part.split_once(&close).unwrap();
                done.extend([&open, value, &close, rest]);
            }
            done
        };
        request = put(&request, "EncryptedData", &data);
        request = put(&request, "CookieData", &authorization);
        let is_refused = recorded.contains("<ErrorCode>");
        if request.contains("<GetUpdateData ") && !is_refused {
            let identity = with_files.pop().unwrap();
            request = put(&request, "UpdateID", &identity.id.to_string());
            request = put(&request, "RevisionNumber", &identity.revision.to_string());
        }
        let lists_any = recorded.contains("<UpdateIdentity>");
        if lists_any {
            // Those of the recorded catalog are not in this one; and what is new is as new as the anchor is old.
            let both = |text: &str, list: &str, id: &str| -> String {
                match text.split_once(&format!("<{list}>")) {
                    None => text.to_owned(),
                    Some((before, rest)) => {
                        let (inside, after) = rest.split_once(&format!("</{list}>")).unwrap();
                        format!("{before}<{list}>{}</{list}>{after}", put(inside, "Id", id))
                    }
                }
            };
            let some = sim.identities(&json!({ "products": products, "classifications": classes }));
            assert!(!of_kinds(&some, &["software"]).is_empty());
            let (mut product, mut class) = (String::new(), String::new());
            'found: for of in &products {
                for with in &classes {
                    let filter = lists((std::slice::from_ref(of), false), (std::slice::from_ref(with), false), None);
                    if !asking.list(&filter).await.is_empty() {
                        (product, class) = (of.clone(), with.clone());
                        break 'found;
                    }
                }
            }
            request = both(&both(&request, "Categories", &product), "Classifications", &class);
            if request.contains("<Anchor>") {
                request = put(&request, "Anchor", "1,2020-01-01 00:00:00.000");
            }
        } else if recorded.contains("<NewRevisions />") && request.contains("<Anchor>") {
            request = put(&request, "Anchor", "1,2999-01-01 00:00:00.000");
        }
        let root = Element::read(&request);
        let operation = &root.find("Body").unwrap().children[0];
        let (path, action) = if operation.name == "GetAuthorizationCookie" { (AUTH, OF_AUTH) } else { (SYNC, OF_SYNC) };
        let action = format!("\"{action}/{}\"", operation.name);
        let (status, told) = asking.send(path, "text/xml; charset=utf-8", &action, &request).await;
        assert_eq!(status, if is_refused { 500 } else { 200 }, "{name}: {told}");
        if operation.name == "GetAuthorizationCookie" {
            authorization = one(&told, "CookieData").to_owned();
        }
        let (wanted, got) = (Element::read(&recorded), Element::read(&told));
        if is_refused {
            for what in ["faultcode", "faultstring", "ErrorCode", "Message", "Method"] {
                assert_eq!(got.find(what).unwrap().text, wanted.find(what).unwrap().text, "{name}: {what}");
            }
            let path = |element: &Element| {
                element.find("faultactor").unwrap().text.split('/').skip(3).collect::<Vec<_>>().join("/")
            };
            assert_eq!(path(&got), path(&wanted), "{name}");
        }
        let (mut in_wanted, mut in_got) = (BTreeMap::new(), BTreeMap::new());
        shape(&wanted, "", &mut in_wanted);
        shape(&got, "", &mut in_got);
        for (place, names) in &in_wanted {
            let mine = in_got.get(place).unwrap_or_else(|| panic!("{name}: nothing in {place}: {told}"));
            // A document as text stands before the files, a packed one behind them (the order of the WSDL).
            let is_document = place.ends_with("/ServerSyncUpdateData");
            let mut shared: Vec<&String> = mine.iter().filter(|name| names.contains(name)).collect();
            let mut names: Vec<&String> = names.iter().collect();
            if is_document {
                shared.sort();
                names.sort();
            }
            assert_eq!(shared, names, "{name}: {place}");
        }
        seen.insert(operation.name.clone());
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
    server.drain(SOON).await;
    node.close().await;
}
