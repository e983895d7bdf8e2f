//! TLS between nodes: the server shows a certificate of its own authority for nodes, and takes clients that show one of the same, or none.
//! What one without may ask is not judged here.

use std::sync::Arc;

use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::net::error::Error;
use crate::net::tls::files::certified;
use crate::net::tls::resolver::Resolver;

/// The certificate that a client of a connection has shown and that was verified, among the extensions of its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate(pub CertificateDer<'static>);

/// The server's side between nodes. Its certificate can be replaced.
#[derive(Clone, Debug)]
pub struct Mutual {
    config: Arc<ServerConfig>,
    resolver: Arc<Resolver>,
}

impl Mutual {
    /// Clients are verified by `ca`; the server shows `chain`, to which `key` belongs.
    pub fn new(
        ca: CertificateDer<'static>,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let fail = |why: String| Error::Certificate(format!("the nodes' listener: {why}"));
        let mut roots = RootCertStore::empty();
        roots.add(ca).map_err(|error| fail(error.to_string()))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|error| fail(error.to_string()))?;
        let resolver = Arc::new(Resolver::new(vec![certified(chain, key, "the nodes' listener", &provider)?]));
        let shown: Arc<dyn ResolvesServerCert> = Arc::<Resolver>::clone(&resolver);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| fail(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(shown);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), resolver })
    }

    /// For a listener.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// From the next handshake on another certificate is shown.
    pub fn replace(&self, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<(), Error> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        self.resolver.replace(vec![certified(chain, key, "the nodes' listener", &provider)?], None);
        Ok(())
    }
}
