//! The listener: calls, content, and the simulator's own switches under `/_sim/`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, RETRY_AFTER, SERVER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::body::Payload;
use crate::control;
use crate::request::MAX;
use crate::service::{Reply, Service};
use crate::shared::Shared;

/// Serves until told to stop.
pub(crate) async fn run(listener: TcpListener, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    open.spawn(connection(stream, Arc::clone(&shared)));
                }
                // Out of descriptors, or a client that went away: others go on.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            Some(_) = open.join_next() => {}
            _ = stop.changed() => return,
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // What fails here fails for one client, who sees it.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { answer(shared, request).await }
    });
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_mins(5))
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Payload>> {
    let path = request.uri().path().to_owned();
    if let Some(name) = path.strip_prefix("/_sim/") {
        return control(shared, name.to_owned(), request).await;
    }
    let service = if path.eq_ignore_ascii_case("/ServerSyncWebService/ServerSyncWebService.asmx") {
        Some(Service::Sync)
    } else if path.eq_ignore_ascii_case("/DssAuthWebService/DssAuthWebService.asmx") {
        Some(Service::Auth)
    } else if path.eq_ignore_ascii_case("/ReportingWebService/ReportingWebService.asmx") {
        Some(Service::Reports)
    } else {
        None
    };
    match (service, request.method()) {
        (Some(service), &Method::POST) => call(shared, service, request).await,
        (Some(_), _) => Ok(text(StatusCode::OK, "text/html; charset=utf-8", "<html>a service: POST</html>")),
        (None, &Method::GET | &Method::HEAD) => {
            let (method, headers) = (request.method().clone(), request.headers().clone());
            let (mut response, delay) = blocking(move || shared.content(&method, &path, &headers)).await?;
            tokio::time::sleep(Duration::from_millis(delay)).await;
            response.headers_mut().insert(SERVER, HeaderValue::from_static("Microsoft-IIS/10.0"));
            Ok(response)
        }
        (None, _) => Ok(text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "")),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// The body, if it is not too long.
async fn body(request: Request<Incoming>) -> Option<bytes::Bytes> {
    Limited::new(request.into_body(), MAX).collect().await.ok().map(http_body_util::Collected::to_bytes)
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<bytes::Bytes>) -> Response<Payload> {
    let mut response = Response::new(Payload::bytes(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

async fn call(shared: Arc<Shared>, service: Service, request: Request<Incoming>) -> io::Result<Response<Payload>> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = host.map_or_else(|| shared.address.to_string(), str::to_owned);
    let Some(body) = body(request).await else {
        return Ok(text(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", "the request is too long"));
    };
    let Reply { status, soap12, body, faults, asked, crash } =
        blocking(move || shared.answer(service, &host, &body)).await?;
    let ordered = |kind: &str| faults.iter().find(|order| order.kind == kind);
    let slow = ordered("slow");
    if let Some(order) = slow {
        tokio::time::sleep(Duration::from_millis(order.delay_ms)).await;
    }
    if let Some(order) = ordered("too-many-at-once").filter(|order| asked > order.most) {
        return match StatusCode::from_u16(order.status) {
            Ok(status) => Ok(text(status, "text/html", "<html><body>the server did not answer in time</body></html>")),
            Err(_) => Err(io::Error::other("dropped on command")),
        };
    }
    if crash || ordered("drop").is_some() {
        return Err(io::Error::other("dropped on command"));
    }
    if let Some(order) = ordered("http-503") {
        let status = StatusCode::from_u16(order.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let mut response = text(status, "text/html", "<html><body>Service Unavailable</body></html>");
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        return Ok(response);
    }
    if ordered("not-xml").is_some() {
        return Ok(text(StatusCode::OK, "text/html", "<html><body><p>Please log in to this network<br></body></html>"));
    }
    if ordered("plain-fault").is_some() {
        let fault = crate::answers::envelope(
            soap12,
            "<soap:Fault><faultcode>soap:Server</faultcode><faultstring>Server was unable to process request.</faultstring><detail /></soap:Fault>",
        );
        return Ok(text(StatusCode::INTERNAL_SERVER_ERROR, "text/xml; charset=utf-8", fault));
    }
    let mut bytes = bytes::Bytes::from(body);
    if ordered("half-answer").is_some() {
        bytes.truncate(bytes.len() / 2);
    }
    let mut payload = Payload::bytes(bytes).slowed(slow.and_then(|order| order.bytes_per_second));
    if ordered("truncated-body").is_some() {
        payload = payload.cut(50);
    }
    let mut response = Response::new(payload);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if soap12 { "application/soap+xml; charset=utf-8" } else { "text/xml; charset=utf-8" };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let caching = if status == 200 { "private, max-age=0" } else { "private" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(SERVER, HeaderValue::from_static("Microsoft-IIS/10.0"));
    headers.insert("x-aspnet-version", HeaderValue::from_static("4.0.30319"));
    headers.insert("x-powered-by", HeaderValue::from_static("ASP.NET"));
    Ok(response)
}

async fn control(shared: Arc<Shared>, name: String, request: Request<Incoming>) -> io::Result<Response<Payload>> {
    let query = control::query(request.uri().query().unwrap_or_default());
    let method = request.method().clone();
    let body = body(request).await.unwrap_or_default();
    let (status, value) = blocking(move || {
        let given = if body.is_empty() { Ok(query) } else { serde_json::from_slice(&body) };
        match given {
            Ok(given) => control::answer(&shared, &method, &name, &given),
            Err(error) => (StatusCode::BAD_REQUEST, json!({ "error": format!("the body is not JSON: {error}") })),
        }
    })
    .await?;
    let mut line = match &value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    line.push('\n');
    Ok(text(status, "application/json", line))
}
