//! What stands before every handler: who may come in this way, and how long an answer may take.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use crate::admin::error::Problem;
use crate::admin::{Access, Handles};
use crate::net::Peer;

/// The longest that a handler may take: longer than any wait for a job, shorter than a person's patience.
const TIME_MAX: Duration = Duration::from_mins(1);

/// `doctor` asks every origin several times, and is worth the wait.
const DOCTOR_TIME_MAX: Duration = Duration::from_mins(5);

/// The field that `doctor` wants over TCP. A page of another site can make a browser ask without showing it the answer, but
/// not with a field of its own: for that the browser asks for leave first (a CORS preflight), which is never given here.
const MEANT: HeaderName = HeaderName::from_static("x-waystation");

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

/// Lets a request through, or answers it with what is wrong. Handlers find the access in the request's extensions.
pub async fn guard(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    let mut response = match admit(access, &request) {
        Ok(()) => {
            request.extensions_mut().insert(access);
            bounded(request, next).await
        }
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn bounded(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let limit = if path.ends_with("/doctor") || path.ends_with("/upstream/test") { DOCTOR_TIME_MAX } else { TIME_MAX };
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            format!("no answer within {} s", limit.as_secs()),
            "the disk or an origin is very slow: `waystation status` and the log say more",
        )
        .into_response(),
    }
}

fn admit(access: Access, request: &Request) -> Result<(), Problem> {
    if access == Access::Full {
        return Ok(());
    }
    // A web page can make a browser resolve the page's own name to 127.0.0.1 and then read what is here (DNS rebinding);
    // the Host header still carries that name. An address cannot be rebound.
    let local = request.extensions().get::<Peer>().map(|peer| peer.local.ip());
    if !is_own_host(request.headers(), request.uri(), local) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "this listener answers only to its own address and to localhost as Host",
            "ask http://127.0.0.1:6202/, or the address that [listen] control names",
        ));
    }
    let cross_site = request.headers().get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    if cross_site && request.uri().path().starts_with("/api/") {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "a page of another site may not ask the control API",
            "open the address by itself, or use the command line",
        ));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "this listener answers reads only, since nobody signs in here",
            "change things with the `waystation` command on the node's machine: it speaks over control.sock",
        ));
    }
    if request.uri().path().ends_with("/doctor") && !request.headers().contains_key(MEANT) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the path tests ask every origin, so nobody starts them here by accident",
            "send the field X-Waystation with any value, or use `waystation doctor` on the node's machine",
        ));
    }
    Ok(())
}

/// Whether Host names this listener: localhost, a loopback address, or the address that the connection came to.
fn is_own_host(headers: &HeaderMap, uri: &Uri, local: Option<IpAddr>) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (uri.authority(), hosts.next(), hosts.next()) {
        (Some(authority), _, _) => authority.as_str(),
        (None, Some(host), None) => match host.to_str() {
            Ok(host) => host,
            Err(_) => return false,
        },
        _ => return false,
    };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    if name.eq_ignore_ascii_case("localhost") {
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
            is_own_host(&headers, &"/x".parse().unwrap(), local.parse().ok())
        };
        for host in ["localhost", "LOCALHOST:6202", "127.0.0.1:6202", "127.8.8.8", "[::1]:6202", "[::ffff:127.0.0.1]"] {
            assert!(own(host, ""), "{host}");
        }
        for host in ["rebound.example.org", "localhost.example.org:6202", "10.0.0.1", "", "[::2]", "127.0.0.1.nip.io"] {
            assert!(!own(host, ""), "{host}");
        }
        assert!(own("10.0.0.1:6202", "10.0.0.1") && own("10.0.0.1", "::ffff:10.0.0.1"));
        assert!(!own("10.0.0.2", "10.0.0.1") && !own("0.0.0.0", "0.0.0.0"));
        assert!(!is_own_host(&HeaderMap::new(), &"/x".parse().unwrap(), None), "no Host at all");
    }
}
