//! Whom TLS believes when a sync service is asked. Microsoft's chains to a root that lists of public roots do not carry; it
//! ships with this node and is believed for that service's names alone: not for another upstream, nor for a proxy.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_platform_verifier::Verifier;

use crate::upstream::Error;

/// Microsoft Root Certificate Authority 2011, as Microsoft publishes it (SHA-256 847DF6A7 .. 07ED7C61).
const MICROSOFT_ROOT: &[u8] = include_bytes!("microsoft-root-ca-2011.pem");

/// The names of Microsoft's sync service.
const MICROSOFT_HOSTS: [&str; 2] = ["sws.update.microsoft.com", "sws1.update.microsoft.com"];

/// Whether this is a name of Microsoft's sync service.
pub(in crate::upstream) fn is_microsofts(host: &str) -> bool {
    MICROSOFT_HOSTS.iter().any(|known| known.eq_ignore_ascii_case(host))
}

/// Believes further roots for some names only.
#[derive(Debug)]
pub(in crate::upstream) struct ByName {
    /// For all other names; none where the system has no roots and no others are configured.
    usual: Option<Verifier>,
    /// For these names.
    apart: Verifier,
    names: &'static [&'static str],
    algorithms: WebPkiSupportedAlgorithms,
}

impl ByName {
    /// The system's roots and `roots` for everyone, Microsoft's for its sync service.
    pub(in crate::upstream) fn microsoft(
        roots: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let fail =
            |why: String| Error::Config { what: "the root certificate of Microsoft's sync service".to_owned(), why };
        let root = CertificateDer::from_pem_slice(MICROSOFT_ROOT).map_err(|error| fail(error.to_string()))?;
        Self::new(roots, root, &MICROSOFT_HOSTS, provider)
            .map_err(|error| Error::Config { what: "[upstream] extra_ca".to_owned(), why: error.to_string() })
    }

    fn new(
        roots: &[CertificateDer<'static>],
        root: CertificateDer<'static>,
        names: &'static [&'static str],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, rustls::Error> {
        let usual = match Verifier::new_with_extra_roots(roots.iter().cloned(), Arc::clone(provider)) {
            Ok(verifier) => Some(verifier),
            Err(error) if roots.is_empty() => {
                tracing::warn!(%error, "no trusted roots on this system: install ca-certificates, or set [upstream] extra_ca");
                None
            }
            Err(error) => return Err(error),
        };
        let more = roots.iter().cloned().chain([root]);
        let apart = Verifier::new_with_extra_roots(more, Arc::clone(provider))?;
        Ok(Self { usual, apart, names, algorithms: provider.signature_verification_algorithms })
    }
}

impl ServerCertVerifier for ByName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let name = server_name.to_str();
        let apart = self.names.iter().any(|known| known.eq_ignore_ascii_case(&name));
        let verifier = if apart { Some(&self.apart) } else { self.usual.as_ref() };
        let verifier = verifier.ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
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

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    #[test]
    fn the_further_root_is_believed_for_its_names_only() {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let (named, other) = ("sync.example.org", "other.example.org");
        let leaf_key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![named.to_owned(), other.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
        let by_name = ByName::new(&[], root.der().clone(), &["sync.example.org"], &provider).unwrap();
        let judge = |name: &'static str| {
            let name = ServerName::try_from(name).unwrap();
            by_name.verify_server_cert(leaf.der(), &[], &name, &[], UnixTime::now())
        };
        assert!(judge(named).is_ok(), "{:?}", judge(named));
        assert_eq!(judge(other).unwrap_err(), rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
    }

    #[test]
    fn the_root_that_ships_is_the_published_one() {
        use sha2::Digest as _;
        let root = CertificateDer::from_pem_slice(MICROSOFT_ROOT).unwrap();
        let digest = crate::base::digest::Sha256::new(sha2::Sha256::digest(&root).into());
        assert_eq!(digest.to_string(), "847df6a78497943f27fc72eb93f9a637320a02b561d0a91b09e87a7807ed7c61");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        assert!(ByName::microsoft(&[], &provider).is_ok());
    }
}
