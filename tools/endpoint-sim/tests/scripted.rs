//! Agents against a server that answers from a script: what they ask, how they take faults, when they give up.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use endpoint_sim::{Agent, Common, Failure, Guid, Machine, Server, Trust};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sha1::Digest as _;
use tokio::io::{AsyncRead, AsyncWrite};

const PRODUCT: &str = "56309036-4c77-4dd9-951a-99ee9c246a94";
const UPDATE: &str = "6964aab4-c5b5-43bd-a17d-ffb4346a8e1d";

/// What the script does beside answering well.
#[derive(Default)]
struct Script {
    /// Faults, each dealt once to the first call of its method.
    faults: Vec<(&'static str, &'static str)>,
    /// Says that there is always more.
    endless: bool,
    /// Packs an answer and cuts it off.
    cut: bool,
    /// Methods and bodies as they came.
    asked: Vec<(String, String)>,
    /// What the update's deployment says.
    action: &'static str,
    next: i32,
    /// The update's file, where it has one.
    file: Vec<u8>,
    /// What ranges of it are cut from, where that is something else.
    sent: Option<Vec<u8>>,
    /// Where it is.
    base: String,
    /// Ranges as they were asked for, and on which connection.
    ranges: Vec<(usize, u64, u64)>,
    connections: usize,
}

type Shared = Arc<Mutex<Script>>;

async fn serve(script: Script) -> (Server, Shared) {
    let (url, shared) = listen(script, None).await;
    (Server::find(&url, None).unwrap(), shared)
}

/// Serves a script, over TLS where there is a configuration; its address.
async fn listen(script: Script, tls: Option<Arc<rustls::ServerConfig>>) -> (String, Shared) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", listener.local_addr().unwrap());
    let shared = Arc::new(Mutex::new(Script { base: url.clone(), ..script }));
    let served = Arc::clone(&shared);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            match tls.clone() {
                None => talk(stream, Arc::clone(&served)),
                Some(tls) => {
                    let served = Arc::clone(&served);
                    tokio::spawn(async move {
                        // Whoever does not believe the certificate hangs up.
                        if let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await {
                            talk(stream, served);
                        }
                    });
                }
            }
        }
    });
    (url, shared)
}

fn talk(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, script: Shared) {
    let number = {
        let mut script = script.lock().unwrap();
        script.connections += 1;
        script.connections
    };
    let answer = service_fn(move |request: Request<Incoming>| {
        let script = Arc::clone(&script);
        async move {
            if request.method() == Method::GET {
                Ok(range(&request, number, &script))
            } else {
                answer(request, script).await
            }
        }
    });
    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
}

fn range(request: &Request<Incoming>, number: usize, script: &Shared) -> Response<Full<Bytes>> {
    let mut script = script.lock().unwrap();
    let asked = request.headers()["range"].to_str().unwrap().strip_prefix("bytes=").unwrap().to_owned();
    let (from, to) = asked.split_once('-').unwrap();
    let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
    script.ranges.push((number, from, to));
    let bytes = script.sent.as_ref().unwrap_or(&script.file);
    let part = Bytes::copy_from_slice(&bytes[from as usize..=to as usize]);
    let range = format!("bytes {from}-{to}/{}", bytes.len());
    Response::builder().status(206).header("content-range", range).body(Full::from(part)).unwrap()
}

async fn answer(request: Request<Incoming>, script: Shared) -> Result<Response<Full<Bytes>>, Infallible> {
    let action = request.headers()["soapaction"].to_str().unwrap().trim_matches('"').to_owned();
    let method = action.rsplit('/').next().unwrap().to_owned();
    let namespace = action.strip_suffix(&format!("/{method}")).unwrap().to_owned();
    let body = String::from_utf8(request.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let mut script = script.lock().unwrap();
    script.asked.push((method.clone(), body.clone()));
    if let Some(at) = script.faults.iter().position(|(of, _)| *of == method) {
        let (_, code) = script.faults.remove(at);
        let fault = format!(
            "<s:Fault><faultcode>s:Client</faultcode><faultstring>Fault occurred</faultstring><detail><ErrorCode>{code}</ErrorCode><Message>told</Message><ID>x</ID></detail></s:Fault>"
        );
        return Ok(Response::builder().status(500).body(envelope(&fault)).unwrap());
    }
    let inside = inside(&method, &body, &mut script);
    let whole = envelope(&format!(r#"<{method}Response xmlns="{namespace}">{inside}</{method}Response>"#));
    if script.cut && method == "SyncUpdates" {
        let mut packed = 5_000u32.to_le_bytes().to_vec();
        packed.extend_from_slice(&40u32.to_le_bytes());
        packed.extend_from_slice(&[0; 30]);
        return Ok(Response::builder().header("content-encoding", "xpress").body(packed.into()).unwrap());
    }
    Ok(Response::new(whole))
}

fn envelope(inside: &str) -> Full<Bytes> {
    Full::from(format!(
        r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{inside}</s:Body></s:Envelope>"#
    ))
}

fn info(id: i32, action: &str, leaf: bool, core: &str) -> String {
    let core = core.replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<UpdateInfo><ID>{id}</ID><Deployment><ID>{id}</ID><Action>{action}</Action><IsAssigned>true</IsAssigned><LastChangeTime>2026-10-04</LastChangeTime></Deployment><IsLeaf>{leaf}</IsLeaf><Xml>{core}</Xml></UpdateInfo>"
    )
}

fn category(id: &str) -> String {
    format!(
        r#"<UpdateIdentity UpdateID="{id}" RevisionNumber="101" /><Properties UpdateType="Category" /><ApplicabilityRules><IsInstalled><True /></IsInstalled></ApplicabilityRules>"#
    )
}

/// One category, and an update that wants it and that every machine can install.
fn inside(method: &str, body: &str, script: &mut Script) -> String {
    const COOKIE: &str = "<Expiration>2099-10-04T16:03:35.9967236Z</Expiration><EncryptedData>AAAA</EncryptedData>";
    match method {
        "GetConfig" => "<GetConfigResult><LastChange>2026-10-04T13:17:07.59Z</LastChange><IsRegistrationRequired>true</IsRegistrationRequired><AuthInfo><AuthPlugInInfo><PlugInID>SimpleTargeting</PlugInID><ServiceUrl>SimpleAuthWebService/SimpleAuth.asmx</ServiceUrl><Parameter/></AuthPlugInInfo></AuthInfo><Properties><ConfigurationProperty><Name>MaxExtendedUpdatesPerRequest</Name><Value>50</Value></ConfigurationProperty></Properties></GetConfigResult>".to_owned(),
        "GetAuthorizationCookie" => "<GetAuthorizationCookieResult><PlugInId>SimpleTargeting</PlugInId><CookieData>AAAA</CookieData></GetAuthorizationCookieResult>".to_owned(),
        "GetCookie" => format!("<GetCookieResult>{COOKIE}</GetCookieResult>"),
        "SyncUpdates" => {
            let mut new = String::new();
            let pass = body.contains("<SkipSoftwareSync>true<");
            if script.endless {
                script.next += 1;
                new = info(script.next, "Evaluate", true, &category(&format!("56309036-4c77-4dd9-951a-{:012x}", script.next)));
            } else if !pass && !body.contains("<int>7</int>") {
                new = info(7, "Evaluate", false, &category(PRODUCT));
            } else if !pass && body.contains("<InstalledNonLeafUpdateIDs><int>7</int>") && !body.contains("<int>8</int>") {
                let core = format!(r#"<UpdateIdentity UpdateID="{UPDATE}" RevisionNumber="200" /><Properties UpdateType="Software" ExplicitlyDeployable="true" /><Relationships><Prerequisites><AtLeastOne IsCategory="true"><UpdateIdentity UpdateID="{PRODUCT}" /></AtLeastOne></Prerequisites></Relationships><ApplicabilityRules><IsInstalled><False /></IsInstalled><IsInstallable><b.WindowsVersion Comparison="GreaterThanOrEqualTo" MajorVersion="6" /></IsInstallable></ApplicabilityRules>"#);
                new = info(8, script.action, true, &core);
            }
            format!("<SyncUpdatesResult><NewUpdates>{new}</NewUpdates><Truncated>{}</Truncated><NewCookie>{COOKIE}</NewCookie><DriverSyncNotNeeded>true</DriverSyncNotNeeded></SyncUpdatesResult>", script.endless)
        }
        "GetExtendedUpdateInfo" if !script.file.is_empty() => {
            let (sha1, sha256) = (sha1::Sha1::digest(&script.file), sha2::Sha256::digest(&script.file));
            let (sha1, sha256) = (STANDARD.encode(sha1), STANDARD.encode(sha256));
            let (size, base) = (script.file.len(), &script.base);
            let xml = format!(r#"&lt;ExtendedProperties /&gt;&lt;Files&gt;&lt;File Digest="{sha1}" FileName="a.cab" Size="{size}"&gt;&lt;AdditionalDigest Algorithm="SHA256"&gt;{sha256}&lt;/AdditionalDigest&gt;&lt;/File&gt;&lt;/Files&gt;"#);
            format!("<GetExtendedUpdateInfoResult><Updates><Update><ID>8</ID><Xml>{xml}</Xml></Update></Updates><FileLocations><FileLocation><FileDigest>{sha1}</FileDigest><Url>{base}/Content/AB/a.cab</Url></FileLocation></FileLocations></GetExtendedUpdateInfoResult>")
        }
        "GetExtendedUpdateInfo" => "<GetExtendedUpdateInfoResult><Updates><Update><ID>8</ID><Xml>&lt;ExtendedProperties /&gt;</Xml></Update><Update><ID>8</ID><Xml>&lt;LocalizedProperties /&gt;</Xml></Update></Updates></GetExtendedUpdateInfoResult>".to_owned(),
        "RefreshCache" => format!("<RefreshCacheResult><RefreshCacheResult><RevisionID>7</RevisionID><GlobalID><UpdateID>{PRODUCT}</UpdateID><RevisionNumber>101</RevisionNumber></GlobalID><IsLeaf>false</IsLeaf><Deployment><ID>1</ID><Action>Evaluate</Action></Deployment></RefreshCacheResult></RefreshCacheResult>"),
        "ReportEventBatch" => "<ReportEventBatchResult>true</ReportEventBatchResult>".to_owned(),
        _ => String::new(),
    }
}

fn methods(script: &Shared) -> Vec<String> {
    std::mem::take(&mut script.lock().unwrap().asked).into_iter().map(|(method, _)| method).collect()
}

fn common() -> Common {
    let mut common = Common::default();
    common.busy = Duration::from_millis(1);
    common
}

fn agent(server: Server) -> Agent {
    Agent::new(Machine::new(3), server, common())
}

fn update() -> Guid {
    Guid::read(UPDATE).unwrap()
}

#[tokio::test]
async fn a_scan_installs_reports_and_is_incremental() {
    let (server, script) = serve(Script { action: "Install", ..Script::default() }).await;
    let mut agent = agent(server);
    let scan = agent.scan().await.unwrap();
    assert_eq!((scan.rounds, scan.new, scan.recovered), (3, 2, 0));
    assert_eq!(scan.verdict.needed.iter().copied().collect::<Vec<_>>(), [update()]);
    let expected = [
        "GetConfig",
        "GetAuthorizationCookie",
        "GetCookie",
        "RegisterComputer",
        "SyncUpdates",
        "SyncUpdates",
        "SyncUpdates",
        "GetExtendedUpdateInfo",
    ];
    assert_eq!(methods(&script), expected);
    let done = agent.install().await;
    assert_eq!((done.installed, done.failed.len()), (1, 0));
    assert!(agent.report().await.unwrap() >= 5);
    let asked = std::mem::take(&mut script.lock().unwrap().asked);
    let (method, body) = asked.last().unwrap();
    assert_eq!(method, "ReportEventBatch");
    for event in [147, 156, 162, 181] {
        assert!(body.contains(&format!("<EventID>{event}</EventID>")), "{event}");
    }
    assert!(body.contains(&format!("U={}", UPDATE.to_uppercase())));
    agent.restart();
    let again = agent.scan().await.unwrap();
    assert_eq!((again.rounds, again.new), (2, 0));
    assert!(again.verdict.installed.contains(&update()) && again.verdict.needed.is_empty());
    assert_eq!(methods(&script), ["SyncUpdates", "SyncUpdates"]);
}

#[tokio::test]
async fn what_is_only_looked_for_is_not_installed() {
    let (server, _script) = serve(Script { action: "PreDeploymentCheck", ..Script::default() }).await;
    let mut agent = agent(server);
    assert_eq!(agent.scan().await.unwrap().verdict.needed.len(), 1);
    assert_eq!(agent.install().await.installed, 0);
}

#[tokio::test]
async fn each_fault_leads_where_the_protocol_says() {
    let shake = ["GetAuthorizationCookie", "GetCookie"];
    let cases: [(&str, &[&str]); 6] = [
        ("CookieExpired", &shake),
        ("ConfigChanged", &["GetConfig", "GetAuthorizationCookie", "GetCookie"]),
        ("InvalidCookie", &["GetConfig", "GetAuthorizationCookie", "GetCookie", "RefreshCache"]),
        ("ServerChanged", &["GetConfig", "GetAuthorizationCookie", "GetCookie", "RefreshCache"]),
        ("RegistrationRequired", &["RegisterComputer"]),
        ("ServerBusy", &[]),
    ];
    for (code, way) in cases {
        let (server, script) = serve(Script { action: "Install", ..Script::default() }).await;
        let mut agent = agent(server);
        agent.scan().await.unwrap();
        methods(&script);
        script.lock().unwrap().faults.push(("SyncUpdates", code));
        let scan = agent.scan().await.unwrap();
        assert_eq!(scan.recovered, 1, "{code}");
        let asked = methods(&script);
        assert_eq!(asked[0], "SyncUpdates", "{code}");
        assert_eq!(&asked[1..=way.len()], way, "{code}");
        assert_eq!(asked[way.len() + 1], "SyncUpdates", "{code}");
        // The server named only the category again, so that the update comes anew.
        assert!(scan.verdict.needed.contains(&update()), "{code}");
    }
}

#[tokio::test]
async fn faults_without_a_way_out_end_the_scan() {
    for code in ["InvalidParameters", "InternalServerError", "Unheard"] {
        let (server, _script) =
            serve(Script { faults: vec![("SyncUpdates", code)], action: "Install", ..Script::default() }).await;
        let failure = agent(server).scan().await.unwrap_err();
        assert!(matches!(&failure, Failure::Fault { code: told, .. } if told == code), "{failure}");
        assert_eq!(failure.result().cast_unsigned(), 0x8024_4007);
    }
    let faults = vec![("SyncUpdates", "CookieExpired"); 50];
    let (server, script) = serve(Script { faults, action: "Install", ..Script::default() }).await;
    assert!(agent(server).scan().await.is_err());
    assert!(methods(&script).len() < 40);
}

#[tokio::test]
async fn an_agent_gives_up_after_200_rounds() {
    let (server, script) = serve(Script { endless: true, action: "Install", ..Script::default() }).await;
    let mut agent = agent(server);
    assert_eq!(agent.scan().await.unwrap_err(), Failure::Rounds(200));
    assert_eq!(methods(&script).iter().filter(|method| *method == "SyncUpdates").count(), 200);
    agent.report().await.unwrap();
    let asked = std::mem::take(&mut script.lock().unwrap().asked);
    let (_, body) = asked.last().unwrap();
    assert!(body.contains("<EventID>148</EventID>") && body.contains("0x80244010"));
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_an_error() {
    let (server, _script) = serve(Script { cut: true, action: "Install", ..Script::default() }).await;
    let failure = agent(server).scan().await.unwrap_err();
    assert!(matches!(failure, Failure::Answer(_)), "{failure}");
}

/// Bytes of which no two pieces are the same.
fn file(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8).collect()
}

#[tokio::test]
async fn a_file_comes_in_ranges_of_a_mebibyte_in_any_order_over_several_connections() {
    let script = Script { action: "Install", file: file((5 << 20) + 77), ..Script::default() };
    let (server, script) = serve(script).await;
    let mut agent = agent(server);
    agent.scan().await.unwrap();
    let done = agent.install().await;
    assert_eq!((done.files, done.bytes, done.installed), (1, (5 << 20) + 77, 1), "{:?}", done.failed);
    assert!(agent.pretended().contains(&update()));
    let ranges = std::mem::take(&mut script.lock().unwrap().ranges);
    let mut all: Vec<_> = ranges.iter().map(|(_, from, to)| (*from, *to)).collect();
    assert!(!all.is_sorted(), "{all:?}");
    all.sort_unstable();
    let piece = |at: u64| (at << 20, (((at + 1) << 20) - 1).min((5 << 20) + 76));
    assert_eq!(all, (0..6).map(piece).collect::<Vec<_>>(), "each byte once");
    let connections: std::collections::BTreeSet<_> = ranges.iter().map(|(number, ..)| *number).collect();
    assert_eq!(connections.len(), 4);
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_update_are_not_installed() {
    let whole = file((1 << 20) + 9);
    let mut other = whole.clone();
    other[1 << 20] ^= 1;
    let longer = file((1 << 20) + 10);
    // One machine tells of failures in a list of their own, the other among what it needs.
    for (sent, why, list) in [(other, "does not have its SHA-1", "g"), (longer, "came", "U")] {
        let machine = (0..1_000).map(Machine::new).find(|machine| machine.lists_all == (list == "g")).unwrap();
        let script = Script { action: "Install", file: whole.clone(), sent: Some(sent), ..Script::default() };
        let (server, script) = serve(script).await;
        let mut agent = Agent::new(machine, server, common());
        agent.scan().await.unwrap();
        let done = agent.install().await;
        assert!(matches!(done.failed.as_slice(), [(_, told)] if told.contains(why)), "{:?}", done.failed);
        assert_eq!(done.installed, 0);
        agent.report().await.unwrap();
        let asked = std::mem::take(&mut script.lock().unwrap().asked);
        let (_, body) = asked.last().unwrap();
        assert!(body.contains("<EventID>161</EventID>"), "{body}");
        assert!(body.contains(&format!("{list}={}", UPDATE.to_uppercase())), "{body}");
    }
}

#[tokio::test]
async fn over_tls_only_the_authority_that_is_believed_may_answer() {
    let key = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let secret = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![key.cert.der().clone()], secret).unwrap();
    let script = Script { action: "Install", file: file(3 << 20), ..Script::default() };
    let (url, script) = listen(script, Some(Arc::new(config))).await;
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    for (pem, is_believed) in [(Some(key.cert.pem()), true), (Some(other.cert.pem()), false), (None, true)] {
        let trust = pem.map_or_else(Trust::anyone, |pem| Trust::authority(pem.as_bytes())).unwrap();
        let mut agent = agent(Server::find(&url, Some(&trust)).unwrap());
        let scanned = agent.scan().await;
        assert_eq!(scanned.is_ok(), is_believed, "{scanned:?}");
        if is_believed {
            let done = agent.install().await;
            assert_eq!((done.files, done.installed), (1, 1), "{:?}", done.failed);
        } else {
            let failure = scanned.unwrap_err();
            assert!(matches!(&failure, Failure::Network(why) if why.contains("TLS")), "{failure}");
        }
    }
    assert_eq!(script.lock().unwrap().ranges.len(), 6);
}
