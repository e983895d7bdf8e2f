//! The authority of a parent that signs the certificates of its own children, and nobody else's. It signs no feed and no other authority.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SerialNumber,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::base::time::Timestamp;
use crate::chain::error::Error;
use crate::chain::keyring::{CA_CERT, CA_KEY, Keyring, random};
use crate::chain::node::Identity;
use crate::model::chain::ids::NodeId;
use crate::wire::peer::name::{self, Pin};

const DAY: Duration = Duration::from_hours(24);
/// All children join anew when it ends.
const CA_LIFE: Duration = Duration::from_hours(20 * 365 * 24);
/// How long a node's certificate is good.
pub(super) const LEAF_LIFE: Duration = Duration::from_hours(7 * 24);

/// Signs certificates of nodes.
#[derive(Debug)]
pub(super) struct NodeCa {
    issuer: Issuer<'static, KeyPair>,
    cert: CertificateDer<'static>,
    pem: String,
    pin: Pin,
}

#[allow(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn failed(error: impl ToString) -> Error {
    Error::Certificate(error.to_string())
}

/// The certificates in PEM text.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(failed)
}

/// A key in PEM text.
pub(super) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(pem).map_err(failed)
}

fn key_pair(pem: &[u8]) -> Result<KeyPair, Error> {
    KeyPair::from_pem(std::str::from_utf8(pem).map_err(failed)?).map_err(failed)
}

fn life(params: &mut CertificateParams, now: Timestamp, life: Duration) -> Result<(), Error> {
    let start = Timestamp::from_ms(now.ms().saturating_sub(DAY.as_millis() as u64));
    params.not_before = start.system().into();
    params.not_after = now.after(life).system().into();
    let mut serial: [u8; 16] = random()?;
    // A number that is positive in DER, and of full length.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(())
}

impl NodeCa {
    /// The one of this node, made where there is none. Blocks.
    pub(super) fn open(keys: &Keyring, now: Timestamp) -> Result<Self, Error> {
        if let (Some(key), Some(pem)) = (keys.read(CA_KEY)?, keys.read(CA_CERT)?) {
            let pem = String::from_utf8(pem.to_vec()).map_err(failed)?;
            return Self::of(key_pair(&key)?, pem);
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let pin: Pin = Sha256::digest(key.subject_public_key_info()).into();
        let mut params = CertificateParams::default();
        life(&mut params, now, CA_LIFE)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("Waystation nodes {}", name::zone(&pin)));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(name::zone(&pin))],
            excluded_subtrees: vec![],
        });
        let pem = params.self_signed(&key).map_err(failed)?.pem();
        // The key first: a certificate without one would stand in the way.
        keys.write(CA_KEY, Zeroizing::new(key.serialize_pem()).as_bytes())?;
        keys.write(CA_CERT, pem.as_bytes())?;
        Self::of(key, pem)
    }

    fn of(key: KeyPair, pem: String) -> Result<Self, Error> {
        let cert = certificates(pem.as_bytes())?.into_iter().next();
        let cert = cert.ok_or_else(|| failed("the certificate of the authority for nodes is missing"))?;
        let pin: Pin = Sha256::digest(key.subject_public_key_info()).into();
        if name::pin_of(&cert)? != pin {
            return Err(failed("the certificate of the authority for nodes does not belong to the key beside it"));
        }
        Ok(Self { issuer: Issuer::from_ca_cert_der(&cert, key).map_err(failed)?, cert, pem, pin })
    }

    /// What children pin.
    pub(super) fn pin(&self) -> Pin {
        self.pin
    }

    /// Its certificate.
    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.cert
    }

    /// The same as PEM text.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    fn fill(&self, params: &mut CertificateParams, node: NodeId, now: Timestamp) -> Result<(), Error> {
        let name = name::write(node, &self.pin);
        *params = CertificateParams::new(vec![name.clone()]).map_err(failed)?;
        life(params, now, LEAF_LIFE)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(())
    }

    /// A certificate for the key of a request, and for nothing else that the request says.
    pub(super) fn sign(&self, csr: &str, node: NodeId, now: Timestamp) -> Result<String, Error> {
        let mut request = CertificateSigningRequestParams::from_pem(csr).map_err(failed)?;
        self.fill(&mut request.params, node, now)?;
        Ok(request.signed_by(&self.issuer).map_err(failed)?.pem())
    }

    /// A new key with a certificate, for this node's own listener.
    pub(super) fn own(&self, node: NodeId, now: Timestamp) -> Result<Identity, Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = CertificateParams::default();
        self.fill(&mut params, node, now)?;
        let cert = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(failed)?;
        Ok((vec![cert.der().clone(), self.cert.clone()], key))
    }
}

/// The public key of a request (SPKI), whose signature holds.
pub(super) fn key_of(csr: &str) -> Result<Vec<u8>, Error> {
    let request = CertificateSigningRequestParams::from_pem(csr).map_err(failed)?;
    Ok(request.public_key.subject_public_key_info())
}

/// A new key as PEM text, and a request for a certificate for it.
pub(super) fn request() -> Result<(Zeroizing<String>, String), Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    Ok((Zeroizing::new(key.serialize_pem()), request_for(&key)?))
}

fn request_for(key: &KeyPair) -> Result<String, Error> {
    let params = CertificateParams::default();
    params.serialize_request(key).and_then(|request| request.pem()).map_err(failed)
}

/// A request for a key that is there already.
pub(super) fn request_again(key: &[u8]) -> Result<String, Error> {
    request_for(&key_pair(key)?)
}
