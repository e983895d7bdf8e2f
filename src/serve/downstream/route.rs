//! A request of a server, from its head to its answer: steps 1 and 4 of the room's sequence.

use std::io::BufReader;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, VARY};
use http::request::Parts as Head;
use http::uri::Authority;
use http::{HeaderValue, Method as HttpMethod, Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

use crate::model::shown;
use crate::model::update::UpdateId;
use crate::net::{self, Body, Peer, body};
use crate::serve::client::{sending, wants_xpress};
use crate::serve::downstream::{ANSWERS_KIB, Downstream, Error, handshake};
use crate::wire::soap::{Detail, Fault, Limits, Side, Style, Version};
use crate::wire::wsusss::authorize::{Cookie, GetAuthConfig, GetAuthorizationCookie, GetCookie};
use crate::wire::wsusss::config::GetConfigData;
use crate::wire::wsusss::deployments::GetDeployments;
use crate::wire::wsusss::drivers::{DriverIdList, DriverSetData, GetDriverIdList, GetDriverSetData};
use crate::wire::wsusss::files::{DownloadFiles, GetUpdateDecryptionData};
use crate::wire::wsusss::method::{DSS_AUTH_PATH, REPORTING_PATH, SERVER_SYNC_PATH};
use crate::wire::wsusss::other::{GetRelatedRevisionsForUpdates, MonitoredServices, Ping};
use crate::wire::wsusss::revisions::RevisionsWriter;
use crate::wire::wsusss::rollup::{GetRollupConfiguration, RollupDownstreamServers};
use crate::wire::wsusss::{Call, FaultCode, Method, Request, decode_request, encode_answer};
use crate::wire::xpress::Encoder;

/// How long a body may take: the largest, a list of a hundred revisions, has 30 KB.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// How long an answer waits for room before the server is told to come again.
const ROOM_TIME_MAX: Duration = Duration::from_secs(30);

/// Answers below this many bytes are not packed: it would gain nothing.
const PACKED_MIN: usize = 300;

/// The most characters of a reason in the log.
const WHY_CHARS_MAX: usize = 300;

/// Whether a path is that of one of these services, in any case.
pub(in crate::serve) fn is_ours(path: &str) -> bool {
    [SERVER_SYNC_PATH, DSS_AUTH_PATH].iter().any(|ours| path.eq_ignore_ascii_case(ours))
}

/// Whether a request is one of a server at the reporting service, which endpoints ask too: its action says so, as the header of SOAP 1.1
/// or in the content type of SOAP 1.2.
pub(in crate::serve) fn is_rollup(head: &Head) -> bool {
    let reports = [REPORTING_PATH, "/ReportingWebService/WebService.asmx"];
    let path = head.uri.path();
    let names = ["soapaction", "content-type"];
    reports.iter().any(|ours| path.eq_ignore_ascii_case(ours))
        && names.iter().filter_map(|name| head.headers.get(*name)?.to_str().ok()).any(|text| {
            let mut methods = Method::ALL.iter().filter(|method| method.is_rollup());
            methods.any(|method| text.split(['"', ';', '=', ' ']).any(|part| part == method.action()))
        })
}

/// What is said to a request, and how that is logged.
struct Answered {
    version: Version,
    operation: Option<Method>,
    account: String,
    fault: &'static str,
    why: String,
    said: Vec<u8>,
}

/// Where a request came in.
struct Asked {
    peer: Peer,
    /// The address of the service, as the server below asked for it: real servers name it in faults.
    actor: String,
}

impl Asked {
    fn of(peer: Peer, head: &Head) -> Self {
        let host = head.uri.authority().map(|authority| authority.as_str().to_owned());
        let host = host.or_else(|| head.headers.get(HOST)?.to_str().ok().map(str::to_owned));
        let scheme = if peer.secure { "https" } else { "http" };
        let paths = [DSS_AUTH_PATH, REPORTING_PATH];
        let path =
            paths.into_iter().find(|path| head.uri.path().eq_ignore_ascii_case(path)).unwrap_or(SERVER_SYNC_PATH);
        let host = host.filter(|host| host.parse::<Authority>().is_ok());
        Self { peer, actor: host.map(|host| format!("{scheme}://{host}{path}")).unwrap_or_default() }
    }
}

/// Answers a request to one of the services.
pub(in crate::serve) async fn respond(
    face: &Arc<Downstream>,
    peer: Peer,
    head: &Head,
    incoming: hyper::body::Incoming,
) -> Response<Body> {
    let (begun, asked) = (Instant::now(), Asked::of(peer, head));
    let answered = match read(face, peer, head, incoming).await {
        Ok(bytes) => answer(face, bytes, &asked).await,
        Err((code, text)) => {
            face.counters.turned_away();
            log(peer, head, code, &Answered::unread(text), 0, begun);
            return away(code, text);
        }
    };
    finish(face, &asked, head, answered, begun).await
}

/// Reads the body of a request that may ask.
async fn read(
    face: &Downstream,
    peer: Peer,
    head: &Head,
    incoming: hyper::body::Incoming,
) -> Result<Bytes, (StatusCode, &'static str)> {
    let from = peer.remote.ip().to_canonical();
    if !face.config.networks.iter().any(|network| network.contains(&from)) {
        let text = "WSUS servers may not ask from here: name their network in [downstream] networks\n";
        return Err((StatusCode::FORBIDDEN, text));
    }
    if head.method != HttpMethod::POST {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "only POST is answered here\n"));
    }
    let max = usize::try_from(Limits::REQUEST.bytes).unwrap_or(usize::MAX);
    body::collect(incoming, max, BODY_TIME_MAX).await.map_err(|error| match error {
        net::Error::BodyTooLong { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "the request is too long\n"),
        net::Error::BodyTooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, "the request came too slowly\n"),
        _ => (StatusCode::BAD_REQUEST, "the request broke off\n"),
    })
}

/// A number that finds a fault in the log.
fn fault_id() -> String {
    let mut bytes = [0; 16];
    // Without random numbers it finds nothing, which does no harm.
    let _ = getrandom::fill(&mut bytes);
    UpdateId::new(bytes).to_string()
}

impl Answered {
    fn refused(asked: &Asked, version: Version, operation: Option<Method>, error: &Error) -> Self {
        let ((code, message), id) = (error.told(), fault_id());
        // As real servers blame: what is not to be had is the server's, whatever was asked.
        let is_ours = matches!(code, FaultCode::InternalServerError | FaultCode::ServerBusy);
        let side = if is_ours { Side::Server } else { Side::Client };
        let method = operation.map(|method| format!("\"{}\"", method.action())).unwrap_or_default();
        let detail = Detail { code: code.as_str().to_owned(), message: message.to_owned(), id: id.clone(), method };
        let text = "Fault occurred".to_owned();
        let fault = Fault { version, side, text, actor: asked.actor.clone(), detail: Some(detail) };
        let why = format!("{error} (fault {id}, {})", error.fault().word());
        let said = fault.encode(Style::Service);
        Self { version, operation, account: String::new(), fault: code.as_str(), why, said }
    }

    /// A request that was not read.
    fn unread(why: &str) -> Self {
        let (version, operation, account) = (Version::default(), None, String::new());
        Self { version, operation, account, fault: "", why: why.to_owned(), said: Vec::new() }
    }
}

async fn answer(face: &Arc<Downstream>, bytes: Bytes, asked: &Asked) -> Answered {
    let refused = |version, method, error: &Error| Answered::refused(asked, version, method, error);
    let Ok(_place) = face.places.try_acquire() else { return refused(Version::default(), None, &Error::Busy) };
    let decoded = match face.work(move || decode_request(BufReader::new(&bytes[..]))).await {
        Ok(Ok(decoded)) => decoded,
        Ok(Err(not)) => {
            let why = format!("the request cannot be read: {not}");
            let error = Error::refused(FaultCode::InvalidParameters, why);
            return refused(Version::default(), None, &error);
        }
        Err(error) => return refused(Version::default(), None, &error),
    };
    let (version, request) = decoded;
    let method = method(&request);
    let mut account = String::new();
    match face.answer(version, request, asked.peer, &mut account).await {
        Ok(said) => Answered { version, operation: Some(method), account, fault: "", why: String::new(), said },
        Err(error) => Answered { account, ..refused(version, Some(method), &error) },
    }
}

fn method(request: &Request) -> Method {
    match request {
        Request::AuthConfig(_) => Method::GetAuthConfig,
        Request::AuthorizationCookie(_) => Method::GetAuthorizationCookie,
        Request::Cookie(_) => Method::GetCookie,
        Request::ConfigData(_) => Method::GetConfigData,
        Request::RevisionIdList(_) => Method::GetRevisionIdList,
        Request::UpdateData(_) => Method::GetUpdateData,
        Request::DriverIdList(_) => Method::GetDriverIdList,
        Request::DriverSetData(_) => Method::GetDriverSetData,
        Request::RelatedRevisions(_) => Method::GetRelatedRevisionsForUpdates,
        Request::Deployments(_) => Method::GetDeployments,
        Request::DownloadFiles(_) => Method::DownloadFiles,
        Request::Ping(_) => Method::Ping,
        Request::DecryptionData(_) => Method::GetUpdateDecryptionData,
        Request::RollupConfiguration(_) => Method::GetRollupConfiguration,
        Request::RollupServers(_) => Method::RollupDownstreamServers,
        Request::RollupComputers(_) => Method::RollupComputers,
        Request::OutOfSyncComputers(_) => Method::GetOutOfSyncComputers,
        Request::RollupStates(_) => Method::RollupComputerStatus,
    }
}

fn encoded<C: Call>(answer: &C::Answer, version: Version) -> Vec<u8> {
    encode_answer::<C>(answer, version)
}

impl Downstream {
    async fn answer(
        self: &Arc<Self>,
        version: Version,
        request: Request,
        peer: Peer,
        account: &mut String,
    ) -> Result<Vec<u8>, Error> {
        let mut admit = |cookie: Option<&Cookie>| -> Result<(), Error> {
            *account = self.admit(cookie)?.account;
            Ok(())
        };
        Ok(match request {
            Request::AuthConfig(_) => encoded::<GetAuthConfig>(&handshake::auth_config(self.clock.now()), version),
            Request::AuthorizationCookie(request) => {
                encoded::<GetAuthorizationCookie>(&self.authorize(&request)?, version)
            }
            Request::Cookie(request) => encoded::<GetCookie>(&self.cookie(&request)?, version),
            Request::Ping(_) => encoded::<Ping>(&self.lives(peer), version),
            Request::ConfigData(request) => {
                admit(request.cookie.as_ref())?;
                encoded::<GetConfigData>(&self.config_data(request.anchor.as_deref()).await?, version)
            }
            Request::RevisionIdList(request) => {
                admit(request.cookie.as_ref())?;
                let (anchor, listed) = self.list(&request.filter).await?;
                let writing = move || -> std::io::Result<Vec<u8>> {
                    let mut out = RevisionsWriter::begin(Vec::new(), version, &anchor)?;
                    listed.into_iter().try_for_each(|identity| out.revision(identity))?;
                    out.finish()
                };
                self.work(writing).await?.map_err(|_| Error::Ended)?
            }
            Request::UpdateData(request) => {
                admit(request.cookie.as_ref())?;
                let (said, many) = self.documents(&request, version).await?;
                self.counters.revisions(many as u64);
                said
            }
            Request::DecryptionData(request) => {
                admit(request.cookie.as_ref())?;
                encoded::<GetUpdateDecryptionData>(&self.keys(&request).await?, version)
            }
            Request::Deployments(request) => {
                admit(request.cookie.as_ref())?;
                let deployments = self.deployments(&request).await?;
                self.work(move || encoded::<GetDeployments>(&deployments, version)).await?
            }
            Request::DownloadFiles(request) => {
                admit(request.cookie.as_ref())?;
                self.download(request).await?;
                encoded::<DownloadFiles>(&(), version)
            }
            // Only Microsoft's own service has drivers by computer (3.1.4.7): the limits of the configuration are 0.
            Request::DriverIdList(request) => {
                admit(request.cookie.as_ref())?;
                let none = DriverIdList { anchor: None, revisions: vec![], new_sets: vec![], removed_sets: vec![] };
                encoded::<GetDriverIdList>(&none, version)
            }
            Request::DriverSetData(request) => {
                admit(request.cookie.as_ref())?;
                encoded::<GetDriverSetData>(&DriverSetData { sets: vec![] }, version)
            }
            Request::RelatedRevisions(request) => {
                admit(request.cookie.as_ref())?;
                encoded::<GetRelatedRevisionsForUpdates>(&Vec::new(), version)
            }
            // The cookie of these is everybody's.
            Request::RollupConfiguration(_) => encoded::<GetRollupConfiguration>(&self.rollup_configuration(), version),
            Request::RollupServers(request) => {
                *account = self.servers(request, peer.remote.ip().to_canonical()).await?;
                encoded::<RollupDownstreamServers>(&(), version)
            }
            Request::RollupComputers(_) | Request::OutOfSyncComputers(_) | Request::RollupStates(_) => {
                return Err(Self::not_detailed());
            }
        })
    }

    /// To `Ping`.
    fn lives(&self, peer: Peer) -> MonitoredServices {
        let now = crate::wire::wsusss::values::Time::new(self.clock.now());
        MonitoredServices {
            success: true,
            time: now.clone(),
            name: Some("ServerSyncWebService".to_owned()),
            machine: None,
            https: peer.secure,
            content_type: None,
            config_path: None,
            config_project: None,
            config_environment: None,
            config_modified: now.clone(),
            config_version: None,
            config_expires: now,
            config_minutes: 0,
            database: None,
            custom: None,
        }
    }

    /// Room for an answer among all that are on their way.
    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, ANSWERS_KIB);
        let waiting = Arc::clone(&self.answers).acquire_many_owned(kib);
        tokio::time::timeout(ROOM_TIME_MAX, waiting).await.map_err(|_| Error::Busy)?.map_err(|_| Error::Ended)
    }
}

/// Packs an answer where that is wanted, and puts its head before it.
async fn finish(
    face: &Downstream,
    asked: &Asked,
    head: &Head,
    mut answered: Answered,
    begun: Instant,
) -> Response<Body> {
    let version = answered.version;
    let room = match face.room(answered.said.len()).await {
        Ok(room) => room,
        Err(error) => {
            let operation = answered.operation;
            answered = Answered { account: answered.account, ..Answered::refused(asked, version, operation, &error) };
            match Arc::clone(&face.answers).try_acquire_many_owned(0) {
                Ok(room) => room,
                Err(_) => return away(StatusCode::SERVICE_UNAVAILABLE, "the node ends\n"),
            }
        }
    };
    let pack = answered.said.len() >= PACKED_MIN && wants_xpress(&head.headers);
    let said = std::mem::take(&mut answered.said);
    let packing = move || {
        if !pack {
            return said;
        }
        let mut packed = Vec::with_capacity(said.len() / 4);
        Encoder::new().pack(&said, &mut packed);
        packed
    };
    let Ok(bytes) = face.work(packing).await else {
        return away(StatusCode::INTERNAL_SERVER_ERROR, "the answer was lost\n");
    };
    let code = if answered.fault.is_empty() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    let length = bytes.len() as u64;
    face.counters.answered(answered.operation.map_or("", Method::name), answered.fault, length);
    log(asked.peer, head, code, &answered, length, begun);
    let mut response = Response::new(sending::body(Bytes::from_owner(Kept { bytes, _room: room })));
    *response.status_mut() = code;
    let action = answered.operation.map(|method| format!("{}Response", method.action())).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=0"));
    let content_type = HeaderValue::try_from(version.content_type(&action));
    headers.insert(CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("text/xml; charset=utf-8")));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(CONTENT_LENGTH, length.into());
    if pack {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("xpress"));
    }
    response
}

/// The answer to a request that was not read.
fn away(code: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::full(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_LENGTH, text.len().into());
    if code == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// Bytes that hold their room until the connection has taken them.
struct Kept {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// One event of target `downstream` for each request.
fn log(peer: Peer, head: &Head, code: StatusCode, answered: &Answered, sent: u64, begun: Instant) {
    tracing::info!(
        target: "downstream",
        server = %peer.remote,
        secure = peer.secure,
        account = shown::escape(answered.account.as_bytes(), WHY_CHARS_MAX).as_ref(),
        path = shown::target(head.uri.path()).as_ref(),
        operation = answered.operation.map_or("", Method::name),
        status = code.as_u16(),
        fault = answered.fault,
        why = shown::escape(answered.why.trim_end().replace('"', "'").as_bytes(), WHY_CHARS_MAX).as_ref(),
        sent,
        duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    );
}
