//! A certificate authority for tests: certificates for TLS origins, and the authority's own as a PEM file to trust.
//!
//! Include it with `#[path = "support/authority.rs"] mod authority;`.

#![allow(dead_code, unreachable_pub, reason = "every test binary includes this file and uses another part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper that cannot do its work must panic")]

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The authority. Its PEM file lives as long as it does.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: PathBuf,
    _folder: tempfile::TempDir,
}

impl Authority {
    /// A new one, known to nobody.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let pem = folder.path().join("ca.pem");
        std::fs::write(&pem, certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), pem, _folder: folder }
    }

    /// Its certificate, as a PEM file.
    pub fn pem(&self) -> PathBuf {
        self.pem.clone()
    }

    /// A server's TLS settings with a fresh certificate for these names and addresses.
    pub fn server(&self, names: &[&str]) -> Arc<rustls::ServerConfig> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Arc::new(config)
    }
}
