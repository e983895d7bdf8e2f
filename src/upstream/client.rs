//! The HTTP clients: one for each way (direct or through the proxy, public addresses only or any), so that a connection
//! that one may use is never lent to another.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;

use crate::upstream::Config;
use crate::upstream::error::Error;
use crate::upstream::proxy::Through;
use crate::upstream::resolve::Checked;
use crate::upstream::wsus::trust::ByName;

/// How long an idle connection is kept: under the minute after which many servers and firewalls drop theirs.
const IDLE: Duration = Duration::from_secs(45);

/// Idle connections kept for each host: more than the connections that a fill uses at once are never free together.
const IDLE_PER_HOST_MAX: usize = 8;

/// When the system asks a silent peer whether it is there; a dead one is noticed by `stall_timeout` long before.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Certificates in one PEM file: a whole bundle of public roots has about 150.
const PEM_CERTIFICATES_MAX: usize = 1000;

/// Bytes of one PEM file: more than so many certificates take, and a device or a wrong path is not read into memory.
const PEM_BYTES_MAX: u64 = 4 << 20;

/// A way to an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// Through the proxy.
    pub(super) proxied: bool,
    /// To whatever address the name leads.
    pub(super) private: bool,
}

/// A client for each way.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    direct: [Client; 2],
    proxied: Option<[Client; 2]>,
}

impl Clients {
    /// Builds them. `roots` are trusted beside the system's.
    pub(super) fn new(
        config: &Config,
        through: Option<&Through>,
        roots: &[CertificateDer<'static>],
    ) -> Result<Self, Error> {
        let tls = tls(roots)?;
        let both = |through: Option<&Through>| -> Result<[Client; 2], Error> {
            Ok([client(config, &tls, through, false)?, client(config, &tls, through, true)?])
        };
        Ok(Self { direct: both(None)?, proxied: through.map(|through| both(Some(through))).transpose()? })
    }

    /// The client for this way.
    pub(super) fn of(&self, way: Way) -> &Client {
        let clients = self.proxied.as_ref().filter(|_| way.proxied).unwrap_or(&self.direct);
        &clients[usize::from(way.private)]
    }
}

/// A client for the one sync service that the configuration names: wherever its name leads, and with the root certificate
/// of Microsoft's service beside the others, for its names. Blocks for the files of certificates.
pub(super) fn for_sync(config: &Config, through: Option<&Through>) -> Result<Client, Error> {
    let roots = read_roots(&config.extra_ca)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = ByName::microsoft(&roots, &provider)?;
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Config { what: "TLS".to_owned(), why: error.to_string() })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    client(config, &tls, through, true)
}

/// A client for one address that the configuration names, wherever its name leads. Blocks for the files of certificates.
pub(super) fn for_named(config: &Config, through: Option<&Through>) -> Result<Client, Error> {
    client(config, &tls(&read_roots(&config.extra_ca)?)?, through, true)
}

fn client(
    config: &Config,
    tls: &rustls::ClientConfig,
    through: Option<&Through>,
    private: bool,
) -> Result<Client, Error> {
    let resolver =
        Checked { private, own: config.own_addresses.clone(), proxy: through.map(|through| through.host.clone()) };
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .user_agent(concat!("waystation/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(resolver))
        .connect_timeout(config.connect_timeout)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .tcp_keepalive(KEEPALIVE)
        .tcp_nodelay(true)
        // The environment's proxies are the configuration's business, not the library's.
        .no_proxy();
    if let Some(through) = through {
        builder = builder.proxy(through.client()?);
    }
    builder
        .build()
        .map_err(|error| Error::Config { what: "the HTTP client".to_owned(), why: error.without_url().to_string() })
}

fn tls(roots: &[CertificateDer<'static>]) -> Result<rustls::ClientConfig, Error> {
    let fail = |why: String| Error::Config { what: "TLS".to_owned(), why };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| fail(error.to_string()))?;
    let mut config = match system_and(roots, provider) {
        Ok(verifier) => builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth(),
        Err(error) if roots.is_empty() => {
            // Plain HTTP works without; whoever asks over TLS is told "unknown issuer".
            tracing::warn!(%error, "no trusted roots on this system: install ca-certificates, or set [upstream] extra_ca");
            builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        }
        Err(error) => return Err(Error::Config { what: "[upstream] extra_ca".to_owned(), why: error.to_string() }),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn system_and(roots: &[CertificateDer<'static>], provider: Arc<CryptoProvider>) -> Result<Verifier, rustls::Error> {
    Verifier::new_with_extra_roots(roots.iter().cloned(), provider)
}

/// How many certificates of authorities a file holds that `[upstream] extra_ca` names; why it cannot be used where it
/// cannot. Blocks.
///
/// # Errors
/// What is wrong with the file, in words.
pub fn authorities_in(file: &Path) -> Result<usize, String> {
    read_pem(file).map(|found| found.len())
}

/// The certificates of PEM files. Blocks: it is called once, at the start.
pub(super) fn read_roots(files: &[PathBuf]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let mut roots = Vec::new();
    for file in files {
        roots.append(&mut read_pem(file).map_err(|why| Error::Config { what: file.display().to_string(), why })?);
    }
    Ok(roots)
}

fn read_pem(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut text = Vec::new();
    let opened = File::open(file).map_err(|error| format!("the CA file cannot be read: {error}"))?;
    let read = opened.take(PEM_BYTES_MAX + 1).read_to_end(&mut text);
    let read = read.map_err(|error| format!("the CA file cannot be read: {error}"))?;
    if read as u64 > PEM_BYTES_MAX {
        return Err(format!("it is larger than {PEM_BYTES_MAX} bytes, which no list of authorities is"));
    }
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        found.push(certificate.map_err(|error| format!("it is no PEM file: {error}"))?);
        if found.len() > PEM_CERTIFICATES_MAX {
            return Err(format!("it holds more than {PEM_CERTIFICATES_MAX} certificates"));
        }
    }
    if found.is_empty() {
        return Err("it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)".to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_of_a_ca_file_than_one_can_have() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let file = File::create(&path).unwrap();
        for (len, why) in [(PEM_BYTES_MAX, "it holds no certificate"), (PEM_BYTES_MAX + 1, "it is larger than 4194304")]
        {
            file.set_len(len).unwrap();
            let error = authorities_in(&path).unwrap_err();
            assert!(error.starts_with(why), "{len}: {error}");
        }
        // One that never ends is no different.
        let error = authorities_in(Path::new("/dev/zero")).unwrap_err();
        assert!(error.starts_with("it is larger than"), "{error}");
    }
}
