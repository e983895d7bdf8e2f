//! Asking a parent node (`/peer/v1`): over TLS 1.3 to whoever shows a certificate of the pinned authority, and nobody else.
//!
//! 1. The certificate must chain to the authority whose public key has the pin; names of hosts mean nothing here.
//! 2. The answer says which node gave it: the one that its certificate names.
//! 3. Its bytes are handed on as they come; one that falls silent is given up. Addresses are tried in their order.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use reqwest::tls::TlsInfo;
use reqwest::{Client, Response};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::model::chain::ids::NodeId;
use crate::upstream::Error;
use crate::wire::peer::name::{self, Pin};

/// How long name, connection and TLS together may take.
const CONNECT: Duration = Duration::from_secs(10);
/// An answer that sends nothing for this long is given up; a long poll may be silent for 55 s.
const STALL: Duration = Duration::from_secs(90);
/// Idle connections are kept for less than firewalls do.
const IDLE: Duration = Duration::from_secs(45);

/// Believes the authority with this pin.
#[derive(Debug)]
struct Pinned {
    pin: Pin,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let unknown = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let pinned = |cert: &&CertificateDer<'_>| name::pin_of(cert).is_ok_and(|pin| pin == self.pin);
        let ca = intermediates.iter().find(pinned).ok_or_else(unknown)?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, self.algorithms.all)?;
        name::of_certificate(end_entity, &self.pin).map_err(|_| unknown())?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("nodes speak TLS 1.3".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A way to a parent.
#[derive(Clone, Debug)]
pub struct Parent {
    client: Client,
    addresses: Vec<String>,
    pin: Pin,
}

/// What a parent answers, its head read.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Who answers.
    pub node: NodeId,
    response: Response,
}

#[allow(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn config(why: impl ToString) -> Error {
    Error::Config { what: "the way to the parent".to_owned(), why: why.to_string() }
}

impl Parent {
    /// To the node at one of these addresses (`host:port`) whose authority has this pin; `own` is the certificate of this node, where it has
    /// one, with what signed it, and its key.
    pub fn new(
        pin: Pin,
        addresses: Vec<String>,
        own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Result<Self, Error> {
        let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Pinned { pin, algorithms: provider.signature_verification_algorithms };
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(config)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut tls = match own {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(config)?,
            None => builder.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .tls_info(true)
            .http1_only()
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("waystation/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .read_timeout(STALL)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            .no_proxy()
            .build();
        Ok(Self { client: client.map_err(|error| config(error.without_url()))?, addresses, pin })
    }

    /// Where it is.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// What asks for content there.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// One of the addresses, as it stands in a URL.
    pub(super) fn authority(&self, at: usize) -> Option<String> {
        self.addresses.get(at).map(|address| authority(address))
    }

    /// Asks for what is at `path` (with its query).
    pub async fn get(&self, path: &str, fields: HeaderMap) -> Result<Reply, Error> {
        self.ask(path, |url| self.client.get(url).headers(fields.clone())).await
    }

    /// Sends a body there.
    pub async fn post(&self, path: &str, kind: &'static str, body: Bytes) -> Result<Reply, Error> {
        let kind = HeaderValue::from_static(kind);
        self.ask(path, |url| self.client.post(url).header(http::header::CONTENT_TYPE, kind.clone()).body(body.clone()))
            .await
    }

    async fn ask(&self, path: &str, request: impl Fn(String) -> reqwest::RequestBuilder) -> Result<Reply, Error> {
        let mut last = config("it has no address");
        for address in &self.addresses {
            match request(format!("https://{}{path}", authority(address))).send().await {
                Ok(response) => return self.reply(address, response),
                Err(error) => last = unavailable(address, &error),
            }
        }
        Err(last)
    }

    fn reply(&self, address: &str, response: Response) -> Result<Reply, Error> {
        let shown = response.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate);
        let named = shown.and_then(|shown| name::of_certificate(shown, &self.pin).ok());
        let named = named.ok_or_else(|| Error::Unavailable {
            host: address.to_owned(),
            why: "it does not say which node it is".to_owned(),
            retry_after: None,
        })?;
        Ok(Reply { status: response.status().as_u16(), node: named.node, response })
    }
}

/// An address as it stands in a URL: one of IPv6 in brackets.
fn authority(address: &str) -> String {
    match address.rsplit_once(':') {
        Some((host, port)) if host.parse::<IpAddr>().is_ok_and(|host| host.is_ipv6()) => format!("[{host}]:{port}"),
        _ => address.to_owned(),
    }
}

fn unavailable(host: &str, error: &reqwest::Error) -> Error {
    // The library's own words hide the cause one or two levels down.
    let mut why = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        cause = error.source();
        why = error.to_string();
    }
    if why.contains("UnknownIssuer") {
        "it is not the node that this one joined: its certificate is of another authority".clone_into(&mut why);
    }
    Error::Unavailable { host: host.to_owned(), why, retry_after: None }
}

impl Reply {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let host = self.response.url().host_str().unwrap_or_default().to_owned();
        self.response.chunk().await.map_err(|error| unavailable(&host, &error))
    }

    /// All of a short answer.
    pub async fn collect(mut self, max: usize) -> Result<Bytes, Error> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            all.extend_from_slice(&bytes);
            if all.len() > max {
                let host = self.response.url().host_str().unwrap_or_default().to_owned();
                let why = format!("its answer is longer than {max} bytes");
                return Err(Error::Unavailable { host, why, retry_after: None });
            }
        }
        Ok(all.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv6_stands_in_brackets() {
        assert_eq!(authority("hq.example:6203"), "hq.example:6203");
        assert_eq!(authority("192.0.2.1:6203"), "192.0.2.1:6203");
        assert_eq!(authority("2001:db8::1:6203"), "[2001:db8::1]:6203");
        assert_eq!(authority("[2001:db8::1]:6203"), "[2001:db8::1]:6203");
    }
}
