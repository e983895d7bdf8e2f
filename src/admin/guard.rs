//! What stands before every handler: who asks, whether they may, and that a browser means it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use serde_json::Value;

use crate::admin::door::{Door, Identity, Via, cookie};
use crate::admin::error::Problem;
use crate::admin::rights::{self, Bound, Need, Prove, Right};
use crate::admin::{Access, BODY_BYTES_MAX, Caller, Handles, pages, recorded, router};
use crate::model::access::Role;
use crate::net::Peer;

/// The longest that a handler may take: longer than any wait for a job, shorter than a person's patience.
const TIME_MAX: Duration = Duration::from_mins(1);

/// `doctor` asks every origin several times, and is worth the wait.
const DOCTOR_TIME_MAX: Duration = Duration::from_mins(5);

/// The field that `doctor` wants of browsers, and of this machine while nobody can sign in. A page of another site can make a browser ask without showing it the answer, but
/// not with a field of its own: for that the browser asks for leave first (a CORS preflight), which is never given here.
const MEANT: HeaderName = HeaderName::from_static("x-waystation");

/// The field in which scripts of a session's pages send its token.
const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");

/// First parts of the paths behind which stands what only the index knows. Of a lost one each would say that there is nothing.
const OF_THE_INDEX: [&str; 10] =
    ["approvals", "compliance", "endpoints", "filters", "groups", "licences", "plan", "prefetch", "sync", "updates"];

/// Refuses what asks for the catalog and what else only the index knows where that is lost: nothing is known of it, which is another
/// thing than that nothing is there. Paths are those within the API.
pub async fn known(State(handles): State<Arc<Handles>>, request: Request, next: Next) -> Response {
    let first = request.uri().path().split('/').find(|part| !part.is_empty()).unwrap_or_default();
    if OF_THE_INDEX.contains(&first)
        && let Some(why) = handles.store.index_lost()
    {
        let title = format!("READ-ONLY, and nobody knows what stood in the index: {why}");
        let next = "do what stands there; `waystation status` tells what still works meanwhile";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, title, next).into_response();
    }
    next.run(request).await
}

/// What stands before every handler needs.
#[derive(Clone, Debug)]
pub struct Keeper {
    /// How whoever comes in this way is known.
    pub access: Access,
    /// Who may come in.
    pub door: Door,
    /// The handlers without a guard, for looking at what a change changes.
    pub inner: Router,
}

/// Lets a request through, or answers it with what is wrong. Handlers find who asks, as what, in the request's extensions.
///
/// 1. Over TCP the Host must be this listener's, and no page of another site may ask.
/// 2. Who it is: a token, a session, somebody of this machine, or nobody.
/// 3. What the table says of the route: without a line there, nothing is let through.
/// 4. A browser's change carries the token of its session.
/// 5. What needs the password once more has it.
/// 6. What is changed is recorded.
pub async fn guard(State(keeper): State<Arc<Keeper>>, request: Request, next: Next) -> Response {
    let is_page = is_page(&request);
    let mut response = match admitted(&keeper, request).await {
        Ok(admitted) => recorded::run(&keeper, admitted, next).await,
        Err(Turned::Away(problem)) => pages::shown(is_page, problem),
        Err(Turned::To(place)) => pages::see_other(&place),
    };
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What every answer says to browsers: no script but the node's own, nothing from elsewhere, in nobody's frame. Referrers stay
/// within, since a browser that must send none sends no Origin either.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Whether a person's browser asks for a page.
fn is_page(request: &Request) -> bool {
    let accepts = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    !request.uri().path().starts_with("/api/") && accepts.is_some_and(|accept| accept.contains("text/html"))
}

/// Who is not let through.
enum Turned {
    Away(Problem),
    To(String),
}

impl From<Problem> for Turned {
    fn from(problem: Problem) -> Self {
        Self::Away(problem)
    }
}

/// A request that is let through.
pub(in crate::admin) struct Admitted {
    pub(in crate::admin) request: Request,
    pub(in crate::admin) identity: Identity,
    /// `None` where no route fits, so that it is answered that there is nothing.
    pub(in crate::admin) right: Option<&'static Right>,
    /// What is asked for, where it is a change.
    pub(in crate::admin) asked: Value,
}

/// How long an answer to this may take.
pub(in crate::admin) fn time_max(path: &str) -> Duration {
    if path.ends_with("/doctor") || path.ends_with("/upstream/test") { DOCTOR_TIME_MAX } else { TIME_MAX }
}

async fn admitted(keeper: &Keeper, mut request: Request) -> Result<Admitted, Turned> {
    let is_socket = keeper.access == Access::Full;
    if !is_socket {
        check_browser(keeper, &request)?;
    }
    let claims = claims(&request);
    let identity = identity(keeper, claims).await?;
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let right = match &path {
        None => None,
        Some(path) => match rights::of(request.method().as_str(), path) {
            Some(right) => Some(right),
            None if rights::is_known(path) => return Err(router::wrong(request.method(), request.uri()).into()),
            None => {
                tracing::error!(path, "a route is not in the table of rights: nobody may use it");
                return Err(router::nothing_at(request.uri()).into());
            }
        },
    };
    if let Some(right) = right {
        allow(&identity, right, &request)?;
    }
    let mut asked = Value::Null;
    if right.is_some_and(Right::writes) {
        let is_form = is_form(request.headers());
        let bytes = body(&mut request).await?;
        asked = given(is_form, &bytes);
        if !is_socket {
            check_change(&identity, request.headers(), &asked)?;
        }
    }
    let wants_proof = right.is_some_and(|right| match right.prove {
        Prove::Never => false,
        Prove::Always => true,
        Prove::Where(wants) => wants(&asked),
    });
    if wants_proof && !identity.is_proved {
        return Err(unproved(&identity).into());
    }
    let access = match identity.via {
        Via::Socket => Access::Full,
        Via::Session | Via::Token if identity.role >= Role::Operator => Access::Full,
        _ => Access::ReadOnly,
    };
    let extensions = request.extensions_mut();
    extensions.insert(access);
    if identity.via != Via::Socket {
        extensions.insert(Caller(identity.name.clone()));
    }
    extensions.insert(identity.clone());
    Ok(Admitted { request, identity, right, asked })
}

/// The one who would have to give the password once more.
pub(in crate::admin) fn unproved(identity: &Identity) -> Problem {
    let next = match identity.via {
        Via::Token => "make a token with the scope `confirmed` for it, or do it in the console",
        _ => "give it at /confirm, or to POST /api/v1/session/confirm, then ask again within ten minutes",
    };
    Problem::new(StatusCode::FORBIDDEN, "this needs your password once more", next)
}

/// What a request says of who asks.
struct Claims {
    /// What the connection says.
    name: String,
    /// The token; empty where the field is none, which fits nothing.
    token: Option<String>,
    /// The id of a session.
    session: Option<String>,
    /// Somebody of this machine.
    is_local: bool,
}

fn claims(request: &Request) -> Claims {
    let caller = request.extensions().get::<Caller>().cloned();
    let mut tokens = request.headers().get_all(header::AUTHORIZATION).iter();
    let token = tokens.next().map(|token| {
        let (scheme, token) = token.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
        let is_one = scheme.eq_ignore_ascii_case("bearer") && tokens.next().is_none();
        if is_one { token.trim().to_owned() } else { String::new() }
    });
    Claims {
        name: caller.map_or_else(|| "somebody".to_owned(), |Caller(name)| name),
        token,
        session: cookie::read(request),
        is_local: is_local(request),
    }
}

/// Who asks.
async fn identity(keeper: &Keeper, claims: Claims) -> Result<Identity, Problem> {
    let Claims { name, token, session, is_local } = claims;
    if keeper.access == Access::Full {
        return Ok(Identity::socket(name));
    }
    if let Some(token) = token {
        return keeper.door.token(&token).await?.ok_or_else(|| sign_in("the token is wrong, revoked, or past its end"));
    }
    if let Some(id) = session
        && let Some(identity) = keeper.door.session(&id).await?
    {
        return Ok(identity);
    }
    if is_local && keeper.door.is_unset().await? {
        return Ok(Identity::local(name));
    }
    Ok(Identity::nobody(name))
}

fn sign_in(title: &str) -> Problem {
    let next = "sign in at /sign-in, or send a token as `Authorization: Bearer wsk_...`; `waystation tokens make` makes one on the \
                node's machine";
    Problem::new(StatusCode::UNAUTHORIZED, title, next)
}

/// Whether somebody of this machine asks, and no proxy of it for others.
fn is_local(request: &Request) -> bool {
    let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    request.extensions().get::<Peer>().is_some_and(|peer| peer.remote.ip().to_canonical().is_loopback())
        && !forwarded.iter().any(|name| request.headers().contains_key(*name))
}

/// Whether the table lets them.
fn allow(identity: &Identity, right: &Right, request: &Request) -> Result<(), Turned> {
    let role = match right.need {
        Need::Anybody => return Ok(()),
        Need::Local if is_local(request) => return Ok(()),
        Need::Local => Role::Auditor,
        Need::Role(role) => role,
    };
    if !identity.is_in() {
        if is_page(request) && request.method() == Method::GET {
            return Err(Turned::To(pages::sign_in_before(request.uri())));
        }
        return Err(sign_in("nobody is signed in").into());
    }
    if !identity.may(role, right.area, right.writes()) {
        let title = match (identity.via, &identity.grants) {
            (Via::Local, _) => "nothing is changed over this listener before somebody signs in".to_owned(),
            (_, Some(grants)) if !grants.allow(right.area, right.writes()) => {
                let verb = if right.writes() { "write" } else { "read" };
                format!("the token has no scope {}:{verb}", right.area.word())
            }
            _ => format!("this needs the role {role}, and {} has the role {}", identity.name, identity.role),
        };
        let next = "ask an administrator, or use the `waystation` command on the node's machine";
        return Err(Problem::new(StatusCode::FORBIDDEN, title, next).into());
    }
    if right.bound == Bound::Everywhere && !identity.reach.is_everywhere() {
        let title = "this is of all endpoints, and the account is bound to groups";
        return Err(Problem::new(StatusCode::FORBIDDEN, title, "ask an administrator").into());
    }
    let is_meant = matches!(identity.via, Via::Socket | Via::Token) || request.headers().contains_key(MEANT);
    if right.path.ends_with("/doctor") && !is_meant {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the path tests ask every origin, so nobody starts them here by accident",
            "send the field X-Waystation with any value, or use `waystation doctor` on the node's machine",
        )
        .into());
    }
    Ok(())
}

/// What is wrong with how a browser asks, whoever sits before it.
fn check_browser(keeper: &Keeper, request: &Request) -> Result<(), Problem> {
    // A web page can make a browser resolve the page's own name to 127.0.0.1 and then read what is here (DNS rebinding);
    // the Host header still carries that name. An address cannot be rebound.
    let local = request.extensions().get::<Peer>().map(|peer| peer.local.ip());
    if !is_own_host(request.headers(), request.uri(), local, keeper.door.hosts()) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "this listener answers only to its own address, to localhost and to the names in [admin] hosts and [advertise] names as Host",
            "ask http://127.0.0.1:6202/, or the address that [listen] control names",
        ));
    }
    let is = |name: &str, value: &str| request.headers().get(name).is_some_and(|site| site == value);
    let is_visit = is("sec-fetch-mode", "navigate") && request.method() == Method::GET;
    let is_elsewhere = is("sec-fetch-site", "cross-site") || is("sec-fetch-site", "same-site");
    if is_elsewhere && (request.uri().path().starts_with("/api/") || !is_visit) {
        return Err(elsewhere());
    }
    if !request.method().is_safe()
        && let Some(origin) = request.headers().get(header::ORIGIN)
    {
        let origin = origin.to_str().unwrap_or_default();
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        if authority.is_none() || authority != host(request.headers(), request.uri()) {
            return Err(elsewhere());
        }
    }
    Ok(())
}

fn elsewhere() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "a page of another site may not ask the control plane",
        "open the address by itself, or use the command line",
    )
}

/// A change of a browser carries what only a page of the session knows.
fn check_change(identity: &Identity, headers: &HeaderMap, asked: &Value) -> Result<(), Problem> {
    let Some(csrf) = &identity.csrf else { return Ok(()) };
    let sent = headers.get(CSRF).and_then(|value| value.to_str().ok()).or_else(|| asked.get("csrf")?.as_str());
    // `blake3::Hash` compares in constant time.
    if sent.is_some_and(|sent| blake3::hash(sent.as_bytes()) == blake3::hash(csrf.as_bytes())) {
        return Ok(());
    }
    let next = "load the page again and send its form once more; scripts send the field X-CSRF-Token with what \
                GET /api/v1/session says, or use a token";
    Err(Problem::new(StatusCode::FORBIDDEN, "the change does not come from a page of this session", next))
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/x-www-form-urlencoded")
}

/// Takes the body out, and puts it back.
async fn body(request: &mut Request) -> Result<Bytes, Problem> {
    let whole = axum::body::to_bytes(std::mem::take(request.body_mut()), BODY_BYTES_MAX).await;
    let bytes = whole.map_err(|_| {
        let title = format!("the body is larger than {BODY_BYTES_MAX} bytes, or broke off");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, title, "send it in several requests")
    })?;
    *request.body_mut() = axum::body::Body::from(bytes.clone());
    Ok(bytes)
}

/// What a body asks for; nothing where it cannot be read, which the handler says.
fn given(is_form: bool, bytes: &[u8]) -> Value {
    if !is_form {
        return serde_json::from_slice(bytes).unwrap_or_default();
    }
    let mut fields = serde_json::Map::new();
    for (name, value) in url::form_urlencoded::parse(bytes) {
        match fields.get_mut(name.as_ref()) {
            Some(Value::Array(values)) => values.push(value.into()),
            Some(first) => *first = Value::Array(vec![first.take(), value.into()]),
            None => drop(fields.insert(name.into_owned(), value.into())),
        }
    }
    Value::Object(fields)
}

/// The authority that is asked for.
pub(in crate::admin) fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (uri.authority(), hosts.next(), hosts.next()) {
        (Some(authority), _, _) => Some(authority.as_str()),
        (None, Some(host), None) => host.to_str().ok(),
        _ => None,
    }
}

/// Whether Host names this listener: localhost, a loopback address, the address that the connection came to, or a name that it was given.
fn is_own_host(headers: &HeaderMap, uri: &Uri, local: Option<IpAddr>, names: &[String]) -> bool {
    let Some(host) = host(headers, uri) else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    if name.eq_ignore_ascii_case("localhost") || names.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return true;
    }
    let Ok(address) = name.parse::<IpAddr>() else { return false };
    let plain = |address: IpAddr| match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    };
    let address = plain(address);
    let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    address.is_loopback() || local.is_some_and(|local| plain(local) == address && !any.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_names_are_answered() {
        let own = |host: &str, local: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            is_own_host(&headers, &"/x".parse().unwrap(), local.parse().ok(), &["patches.example".to_owned()])
        };
        for host in [
            "patches.example",
            "Patches.Example:6202",
            "localhost",
            "LOCALHOST:6202",
            "127.0.0.1:6202",
            "127.8.8.8",
            "[::1]:6202",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(own(host, ""), "{host}");
        }
        for host in ["rebound.example.org", "localhost.example.org:6202", "10.0.0.1", "", "[::2]", "127.0.0.1.nip.io"] {
            assert!(!own(host, ""), "{host}");
        }
        assert!(own("10.0.0.1:6202", "10.0.0.1") && own("10.0.0.1", "::ffff:10.0.0.1"));
        assert!(!own("10.0.0.2", "10.0.0.1") && !own("0.0.0.0", "0.0.0.0"));
        assert!(!is_own_host(&HeaderMap::new(), &"/x".parse().unwrap(), None, &[]), "no Host at all");
    }
}
