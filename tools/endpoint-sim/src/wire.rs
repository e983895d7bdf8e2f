//! One connection to a server, kept open, plain or over TLS: SOAP calls with the headers of an agent, ranges with those of Delivery
//! Optimization.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::fault::Failure;
use crate::templates::{AGENT, Call};
use crate::trust::Trust;
use crate::xml::{self, Element};
use crate::xpress;

/// Longest wait for one answer; a server that fills a file from its upstream first may take a while.
const WAIT: Duration = Duration::from_mins(2);

/// The largest body that is read; SyncUpdates answers of a real server had up to 1.1 MB.
const BODY: usize = 64 << 20;

/// A server by the address that its machines have in `WUServer`.
#[derive(Clone, Debug)]
pub struct Server {
    url: String,
    authority: String,
    address: SocketAddr,
    /// What its certificate must be for, where it is spoken to over TLS.
    name: Option<ServerName<'static>>,
    /// Whom its machines believe over TLS, here and at the addresses that it names.
    trust: Option<Trust>,
    /// The address of their own that its machines come from.
    from: Option<IpAddr>,
}

impl Server {
    /// Looks up `http://host:port`, or `https://host:port` where it is said whom machines believe; the error says what is wrong with it.
    pub fn find(url: &str, trust: Option<&Trust>) -> Result<Self, String> {
        use std::net::ToSocketAddrs as _;
        let url = url.trim_end_matches('/');
        let (is_secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(format!("{url:?} is neither http://HOST:PORT nor https://HOST:PORT")),
        };
        if rest.is_empty() || rest.contains('/') {
            return Err(format!("{url:?} is more than a host and a port"));
        }
        let has_port = rest.rsplit(']').next().is_some_and(|end| end.contains(':'));
        let pair = match (has_port, is_secure) {
            (true, _) => rest.to_owned(),
            (_, true) => format!("{rest}:443"),
            (_, false) => format!("{rest}:80"),
        };
        let name = if is_secure {
            if trust.is_none() {
                return Err(format!("{url} is over TLS, and nobody said whom to believe"));
            }
            let host = pair.rsplit_once(':').map_or(rest, |(host, _)| host).trim_matches(['[', ']']).to_owned();
            Some(ServerName::try_from(host).map_err(|error| format!("{url} has no name for a certificate: {error}"))?)
        } else {
            None
        };
        let found = pair.to_socket_addrs().map_err(|error| format!("{rest} is not found: {error}"))?.next();
        let address = found.ok_or_else(|| format!("{rest} has no address"))?;
        Ok(Self { url: url.to_owned(), authority: rest.to_owned(), address, name, trust: trust.cloned(), from: None })
    }

    /// The same server for machines that come from this address, one of those that this machine has: on Linux every one of 127.0.0.0/8 is.
    #[must_use]
    pub fn reached_from(self, address: IpAddr) -> Self {
        Self { from: Some(address), ..self }
    }

    /// What machines have as `WUServer`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whom machines believe.
    pub(crate) fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }
}

/// A connection that opens when it is first needed, and again when the server closed it.
pub(crate) struct Wire {
    server: Server,
    sender: Option<SendRequest<Full<Bytes>>>,
    /// Bytes of answers as they came, files included.
    pub(crate) received: u64,
    calls: u32,
}

impl Wire {
    pub(crate) fn new(server: Server) -> Self {
        Self { server, sender: None, received: 0, calls: 0 }
    }

    /// Calls a method and gives the element of its answer.
    pub(crate) async fn call(&mut self, call: &Call) -> Result<Element, Failure> {
        self.calls += 1;
        let mut request = Request::post(&call.path)
            .header(header::CACHE_CONTROL, "no-cache")
            .header(header::CONNECTION, "Keep-Alive")
            .header(header::PRAGMA, "no-cache")
            .header(header::CONTENT_TYPE, "text/xml; charset=utf-8")
            .header(header::ACCEPT_ENCODING, "xpress")
            .header(header::USER_AGENT, AGENT)
            .header("SOAPAction", &call.action);
        if call.path.starts_with("/ClientWebService") {
            request = request.header("MS-CV", format!("c2ltdWxhdGVkIGFnZW50.1.0.0.2.{}", self.calls));
        }
        let request = request
            .header(header::HOST, &self.server.authority)
            .body(Full::new(Bytes::from(call.body.clone())))
            .map_err(|error| Failure::Answer(format!("{} has an address that is none: {error}", call.method)))?;
        let (status, headers, body) = self.send(request).await?;
        let packed = headers.get(header::CONTENT_ENCODING);
        let body = match packed.map(HeaderValue::as_bytes) {
            None | Some(b"identity") => body.to_vec(),
            Some(b"xpress") => {
                xpress::unpack(&body).map_err(|error| Failure::Answer(format!("{}: {error}", call.method)))?
            }
            Some(other) => {
                let other = String::from_utf8_lossy(other);
                return Err(Failure::Answer(format!("{} is packed as {other}, which was not asked for", call.method)));
            }
        };
        if status != StatusCode::OK && status != StatusCode::INTERNAL_SERVER_ERROR {
            return Err(Failure::Status { path: call.path.clone(), status: status.as_u16() });
        }
        read(call.method, &body)
    }

    /// One range of a file at `path`, `from` and `to` inclusive.
    pub(crate) async fn range(&mut self, path: &str, from: u64, to: u64, size: u64) -> Result<Bytes, Failure> {
        let request = Request::get(path)
            .header(header::CONNECTION, "Keep-Alive")
            .header(header::ACCEPT, "*/*")
            .header(header::RANGE, format!("bytes={from}-{to}"))
            .header(header::USER_AGENT, "Microsoft-Delivery-Optimization/10.1")
            .header("MS-CV", "c2ltdWxhdGVkIGFnZW50.2")
            .header(header::CONTENT_LENGTH, "0")
            .header(header::HOST, &self.server.authority)
            .body(Full::default())
            .map_err(|error| Failure::Answer(format!("{path} is no address: {error}")))?;
        let (status, headers, body) = self.send(request).await?;
        if status != StatusCode::PARTIAL_CONTENT {
            return Err(Failure::Status { path: path.to_owned(), status: status.as_u16() });
        }
        let expected = format!("bytes {from}-{to}/{size}");
        let said = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or("nothing");
        if said != expected || body.len() as u64 != to - from + 1 {
            return Err(Failure::File(format!(
                "{path}: {expected} was asked for, {said} with {} bytes came",
                body.len()
            )));
        }
        if headers.contains_key(header::CONTENT_ENCODING) {
            return Err(Failure::File(format!("{path} came with a content encoding, which files must not have")));
        }
        Ok(body)
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<(StatusCode, http::HeaderMap, Bytes), Failure> {
        let answered = tokio::time::timeout(WAIT, async {
            let kept = match self.sender.take() {
                // What the server closed in the meantime is not ready any more.
                Some(mut kept) => kept.ready().await.is_ok().then_some(kept),
                None => None,
            };
            let mut request = request;
            let mut answered = None;
            if let Some(mut sender) = kept {
                match sender.try_send_request(request).await {
                    Ok(response) => {
                        answered = Some((sender, response));
                        request = Request::default();
                    }
                    // It was closed just now, and nothing of the request was sent.
                    Err(mut failed) => match failed.take_message() {
                        Some(unsent) => request = unsent,
                        None => return Err(Failure::Network(told(failed.error()))),
                    },
                }
            }
            let (sender, response) = if let Some(answered) = answered {
                answered
            } else {
                let mut sender = self.open().await?;
                let response = sender.send_request(request).await;
                (sender, response.map_err(|error| Failure::Network(told(&error)))?)
            };
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, BODY).collect().await;
            let body = body.map_err(|error| Failure::Network(told(error.as_ref())))?.to_bytes();
            self.sender = Some(sender);
            Ok((parts.status, parts.headers, body))
        });
        let answered =
            answered.await.map_err(|_| Failure::Network(format!("nothing came for {} s", WAIT.as_secs())))?;
        if let Ok((.., body)) = &answered {
            self.received += body.len() as u64;
        }
        answered
    }

    async fn open(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let stream = connect(self.server.address, self.server.from).await;
        let stream = stream.map_err(|error| Failure::Network(format!("{}: {error}", self.server.authority)))?;
        stream.set_nodelay(true).map_err(|error| Failure::Network(error.to_string()))?;
        let (Some(name), Some(trust)) = (&self.server.name, &self.server.trust) else { return shaken(stream).await };
        let secured = TlsConnector::from(Arc::clone(&trust.0)).connect(name.clone(), stream).await;
        let secured =
            secured.map_err(|error| Failure::Network(format!("{}: TLS: {}", self.server.authority, told(&error))))?;
        shaken(secured).await
    }
}

async fn connect(to: SocketAddr, from: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let Some(from) = from.filter(|from| from.is_ipv4() == to.is_ipv4()) else { return TcpStream::connect(to).await };
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(to).await
}

/// HTTP/1.1 over a stream, for as long as the sender lives or until the server hangs up.
async fn shaken(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let shaken = hyper::client::conn::http1::Builder::new().title_case_headers(true).handshake(TokioIo::new(stream));
    let (sender, connection) = shaken.await.map_err(|error| Failure::Network(told(&error)))?;
    tokio::spawn(connection);
    Ok(sender)
}

/// An error with what lies beneath it.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(cause) = at {
        text = format!("{text}: {cause}");
        at = cause.source();
    }
    text
}

/// The element of an answer, or the fault that it is.
fn read(method: &'static str, body: &[u8]) -> Result<Element, Failure> {
    let wrong = |what: String| Failure::Answer(format!("{method}: {what}"));
    let text = std::str::from_utf8(body).map_err(|error| wrong(error.to_string()))?;
    let mut root = xml::read(text.trim_start_matches('\u{feff}')).map_err(wrong)?;
    let mut take = |name: &str| -> Result<(), Failure> {
        let found = std::mem::take(&mut root.children).into_iter().find(|child| child.name == name);
        root = found.ok_or_else(|| Failure::Answer(format!("{method}: there is no {name}")))?;
        Ok(())
    };
    take("Envelope")?;
    take("Body")?;
    if let Some(fault) = root.child("Fault") {
        let detail = |name| fault.down(&["detail", name]).map(|found| found.text.trim().to_owned()).unwrap_or_default();
        return Err(Failure::Fault { method, code: detail("ErrorCode"), message: detail("Message") });
    }
    let expected = format!("{method}Response");
    let found = root.children.into_iter().find(|child| child.name == expected);
    found.ok_or_else(|| Failure::Answer(format!("{method}: there is no {expected}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_from_an_answer() {
        let fault = br#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Client</faultcode><faultstring>Fault occurred</faultstring><detail><ErrorCode>ConfigChanged</ErrorCode><Message/></detail></s:Fault></s:Body></s:Envelope>"#;
        assert_eq!(read("SyncUpdates", fault).err().as_ref().and_then(Failure::code), Some("ConfigChanged"));
        let answer = br#"<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="x"><soap:Body><AResponse><B>1</B></AResponse></soap:Body></soap:Envelope>"#;
        assert_eq!(read("A", answer).expect("an answer").text_of("B"), Some("1"));
        assert!(matches!(read("B", answer), Err(Failure::Answer(_))));
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let find = |url| Server::find(url, None);
        assert!(find("http://127.0.0.1:3698/").is_ok());
        assert!(find("http://127.0.0.1").is_ok_and(|server| server.address.port() == 80));
        assert!(find("http://[::1]:80").is_ok_and(|server| server.name.is_none()));
        for bad in ["127.0.0.1:1", "https://127.0.0.1:1", "http://127.0.0.1:1/x", "http://"] {
            assert!(find(bad).is_err(), "{bad}");
        }
        let trust = Trust::anyone().expect("a trust");
        let secure = |url| Server::find(url, Some(&trust)).expect("an address");
        assert_eq!(secure("https://127.0.0.1").address.port(), 443);
        assert!(secure("https://[::1]:8531").name.is_some());
        assert!(secure("http://127.0.0.1:80").name.is_none());
    }
}
