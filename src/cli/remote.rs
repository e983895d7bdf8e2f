//! A node elsewhere: its control listener over TLS, with a token.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::app::Remote;
use crate::base::secret::Secret;
use crate::cli::fail::Fail;
use crate::cli::node::exchange;

/// Bytes of a token file that are read.
const TOKEN_MAX: u64 = 4 << 10;
/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(15);

/// A node elsewhere.
pub struct Elsewhere {
    host: String,
    port: u16,
    /// `None` on this machine alone, where nothing leaves it.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    token: Option<Secret>,
}

impl std::fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Elsewhere").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

fn token(file: &Path) -> Result<Secret, Fail> {
    let failed =
        |why: String| Fail::usage(format!("{}: {why}", file.display()), "name the file that the token stands in");
    let mut text = String::new();
    let read = File::open(file).and_then(|file| file.take(TOKEN_MAX).read_to_string(&mut text));
    read.map_err(|error| failed(error.to_string()))?;
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(failed("there is no token in it".into()));
    }
    Ok(Secret::new(text.to_owned()))
}

fn config(ca: Option<&Path>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let Some(ca) = ca else {
        let builder = builder.with_platform_verifier().map_err(|error| error.to_string())?;
        return Ok(builder.with_no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(ca).map_err(|error| format!("{}: {error}", ca.display()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| format!("{}: {error}", ca.display()))?;
        roots.add(certificate).map_err(|error| format!("{}: {error}", ca.display()))?;
    }
    if roots.is_empty() {
        return Err(format!("{}: there is no certificate in it", ca.display()));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

impl Elsewhere {
    /// Reads what is needed; nobody is asked yet.
    pub fn new(remote: &Remote) -> Result<Self, Fail> {
        let wrong = |what: String| Fail::usage(what, "write it as --node https://ws.example:6202");
        let url = Url::parse(&remote.url).map_err(|error| wrong(format!("--node {}: {error}", remote.url)))?;
        let host = url.host().ok_or_else(|| wrong(format!("--node {}: it names no host", remote.url)))?.to_owned();
        if !url.username().is_empty() || url.password().is_some() || url.path() != "/" || url.query().is_some() {
            return Err(wrong("--node names a host and a port, and nothing else".into()));
        }
        let here = match &host {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let name = match &host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        let tls = match url.scheme() {
            "https" => {
                let config = config(remote.ca.as_deref())
                    .map_err(|why| Fail::usage(why, "name the site CA's certificate, PEM, with --node-ca"))?;
                let server = ServerName::try_from(name.clone()).map_err(|error| wrong(error.to_string()))?;
                Some((TlsConnector::from(Arc::new(config)), server))
            }
            "http" if here => None,
            _ => return Err(wrong("a token is sent to another machine over https alone".into())),
        };
        let token = remote.token_file.as_deref().map(token).transpose()?;
        Ok(Self { host: name, port: url.port_or_known_default().unwrap_or(6202), tls, token })
    }

    /// Where it is.
    pub fn place(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// One question.
    pub async fn ask(&self, mut request: Request<Bytes>) -> Result<(u16, Bytes), String> {
        let headers = request.headers_mut();
        let host = HeaderValue::from_str(&self.place()).map_err(|error| error.to_string())?;
        headers.insert(header::HOST, host);
        // The path tests want to be meant.
        headers.insert("x-waystation", HeaderValue::from_static("cli"));
        if let Some(token) = &self.token {
            let mut value =
                HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = match tokio::time::timeout(CONNECT_MAX, connecting).await {
            Ok(stream) => stream.map_err(|error| error.to_string())?,
            Err(_) => return Err(format!("no connection within {} s", CONNECT_MAX.as_secs())),
        };
        match &self.tls {
            None => exchange(stream, request).await,
            Some((connector, name)) => {
                let shaking = connector.connect(name.clone(), stream);
                match tokio::time::timeout(CONNECT_MAX, shaking).await {
                    Ok(Ok(stream)) => exchange(stream, request).await,
                    Ok(Err(error)) => Err(format!(
                        "TLS: {error}; where the node's own site CA signed its certificate, name that with --node-ca"
                    )),
                    Err(_) => Err(format!("no TLS handshake within {} s", CONNECT_MAX.as_secs())),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_over_tls_alone() {
        let of = |url: &str| {
            Elsewhere::new(&Remote { url: url.into(), token_file: None, ca: None })
                .map(|node| (node.place(), node.tls.is_some()))
        };
        assert_eq!(of("http://127.0.0.1:6202").unwrap(), ("127.0.0.1:6202".into(), false));
        assert_eq!(of("http://[::1]:6202").unwrap(), ("[::1]:6202".into(), false));
        for wrong in ["http://ws.example:6202", "ws.example", "ftp://localhost", "https://u:p@h/", "https://h/x"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        let none = Remote { url: "https://h".into(), token_file: None, ca: Some("/nowhere/ca.pem".into()) };
        assert!(Elsewhere::new(&none).is_err());
    }
}
