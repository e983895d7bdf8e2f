//! The site CA: a certificate authority of the node's own, for the leaf that it serves with where nobody gave it a
//! better one.
//!
//! Whoever trusts it trusts it for little: name constraints limit it to the site's domain and networks, it may sign no
//! further authority, and for TLS servers only. It is not the authority that signs nodes or feeds. Its certificate goes
//! to the clients by group policy; its key stays in `<data>/tls/site-ca.key` (0600).

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::base::disk::Disk;
use crate::base::time::{Clock, Timestamp};
use crate::net::error::Error;
use crate::net::tls::files;
use crate::net::tls::names::SiteName;
use crate::net::tls::scope::Scope;
use crate::net::tls::show::hex;

/// The key's file in the TLS directory.
pub const KEY_FILE: &str = "site-ca.key";
/// The certificate's file in the TLS directory.
pub const CERT_FILE: &str = "site-ca.pem";

/// What helps whatever is wrong with a CA.
const ANOTHER: &str = "make another CA with `waystation tls ca create --for DOMAIN --replace` and give its certificate to \
                       the clients";

/// What helps where only the certificate is wrong: clients that trust the old one take the new one.
const NO_CERTIFICATE: &str = "remove it to have it made again for the key beside it";

const DAY: Duration = Duration::from_hours(24);
/// Long, since every client must be told of a new one.
const CA_LIFE: Duration = Duration::from_hours(10 * 365 * 24);
/// What browsers take at most is 398 days.
const LEAF_LIFE: Duration = Duration::from_hours(397 * 24);

/// Copies the site CA in `dir`, so that whoever replaces it by mistake can go back: endpoints trust its key. Returns where
/// the copies are. Whoever calls holds the directory.
pub(crate) fn keep_old(disk: &dyn Disk, dir: &Path, clock: &dyn Clock) -> Result<Vec<PathBuf>, Error> {
    let now = clock.now().ms();
    let mut kept = Vec::new();
    for file in [CERT_FILE, KEY_FILE] {
        if let Some(bytes) = files::read(disk, &dir.join(file))? {
            let to = dir.join(format!("{file}.old-{now}"));
            files::write(disk, &to, &bytes)?;
            kept.push(to);
        }
    }
    Ok(kept)
}

/// The site CA, ready to sign.
#[derive(Debug)]
pub struct SiteCa {
    issuer: Issuer<'static, KeyPair>,
    cert: CertificateDer<'static>,
    subject: Vec<u8>,
    scope: Scope,
    not_after: Timestamp,
}

impl SiteCa {
    /// The one in `dir`; made for `scope` where there is none. A key whose certificate is missing gets a new one, which
    /// clients that trust the old one take too (the same name and key).
    pub fn open(disk: &dyn Disk, dir: &Path, clock: &dyn Clock, scope: &Scope) -> Result<Self, Error> {
        if let Some(whole) = Self::existing(disk, dir)? {
            return Ok(whole);
        }
        let path = dir.join(KEY_FILE);
        match files::read(disk, &path)? {
            Some(pem) => Self::certify(disk, dir, clock, scope, parse_key(&pem, &path)?),
            None => Self::create(disk, dir, clock, scope),
        }
    }

    /// The one in `dir`, changing nothing; `None` where [`SiteCa::open`] would make one, or its certificate. What is there
    /// and cannot be used is an error.
    pub fn existing(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, Error> {
        let (key_path, cert_path) = (dir.join(KEY_FILE), dir.join(CERT_FILE));
        let cert_pem = files::read(disk, &cert_path)?;
        match files::read(disk, &key_path)? {
            Some(key_pem) => {
                let key = parse_key(&key_pem, &key_path)?;
                cert_pem.map(|cert_pem| Self::from_parts(key, &cert_pem, &cert_path)).transpose()
            }
            None if cert_pem.is_some() => Err(Error::Certificate(format!(
                "{} is there but its key {} is not; bring the key back, or {ANOTHER}",
                cert_path.display(),
                key_path.display()
            ))),
            None => Ok(None),
        }
    }

    /// Makes another CA with a new key in `dir`, in place of the one that may be there.
    ///
    /// The old certificate goes first: a power cut in between leaves a key without a certificate, never a certificate
    /// with the wrong key.
    pub fn create(disk: &dyn Disk, dir: &Path, clock: &dyn Clock, scope: &Scope) -> Result<Self, Error> {
        files::make_dir(disk, dir)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        files::remove(disk, &dir.join(CERT_FILE))?;
        files::write(disk, &dir.join(KEY_FILE), Zeroizing::new(key.serialize_pem()).as_bytes())?;
        Self::certify(disk, dir, clock, scope, key)
    }

    fn certify(disk: &dyn Disk, dir: &Path, clock: &dyn Clock, scope: &Scope, key: KeyPair) -> Result<Self, Error> {
        let now = clock.now();
        let mut params = blank(now, now.after(CA_LIFE))?;
        // The name follows from the key, so that two CAs never share a name and one CA never has two.
        let digest = Sha256::digest(key.public_key_raw());
        let tag = hex(digest.get(..4).unwrap_or_default());
        params.distinguished_name.push(DnType::OrganizationName, "Waystation");
        params.distinguished_name.push(DnType::CommonName, format!("Waystation site CA {tag}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.name_constraints = Some(scope.constraints());
        let cert = params.self_signed(&key)?;
        let path = dir.join(CERT_FILE);
        files::write(disk, &path, cert.pem().as_bytes())?;
        tracing::info!(path = %path.display(), scope = %scope, "site CA made; give its certificate to the clients");
        Self::from_parts(key, cert.pem().as_bytes(), &path)
    }

    fn from_parts(key: KeyPair, cert_pem: &[u8], cert_path: &Path) -> Result<Self, Error> {
        let bad = |why: &str| Error::Certificate(format!("{} {why}", cert_path.display()));
        let cert = files::certificates(cert_pem, &cert_path.display().to_string())?
            .into_iter()
            .next()
            .ok_or_else(|| bad(&format!("holds no certificate; {NO_CERTIFICATE}")))?;
        let (_, parsed) = X509Certificate::from_der(&cert)
            .map_err(|_| bad(&format!("holds a broken certificate; {NO_CERTIFICATE}")))?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(bad(&format!(
                "does not belong to the key beside it; remove it to have it made again for that key, or {ANOTHER}"
            )));
        }
        let scope = Scope::of_certificate(&parsed);
        let subject = parsed.subject().as_raw().to_vec();
        let not_after = seconds(parsed.validity().not_after.timestamp());
        let issuer = Issuer::from_ca_cert_der(&cert, key)?;
        Ok(Self { issuer, cert, subject, scope, not_after })
    }

    /// What it may sign for.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Its certificate, for the clients.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.cert
    }

    /// Whether it signed `cert`, judged by the issuer's name (which follows from the CA's key).
    pub fn signed(&self, cert: &X509Certificate<'_>) -> bool {
        cert.issuer().as_raw() == self.subject.as_slice()
    }

    /// A new key and a certificate for `names`, as PEM text, the key first. A name outside the scope is refused.
    pub fn leaf(&self, clock: &dyn Clock, names: &[SiteName]) -> Result<Zeroizing<String>, Error> {
        if let Some(outside) = names.iter().find(|name| !self.scope.permits(name)) {
            return Err(Error::NameOutside { name: outside.to_string(), scope: self.scope.to_string() });
        }
        let now = clock.now();
        let mut params = blank(now, now.after(LEAF_LIFE).min(self.not_after))?;
        params.distinguished_name = common_name(names);
        params.subject_alt_names = alternative_names(names)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok(Zeroizing::new(format!("{}{}", *Zeroizing::new(key.serialize_pem()), cert.pem())))
    }
}

fn parse_key(pem: &[u8], path: &Path) -> Result<KeyPair, Error> {
    let bad = || {
        Error::Certificate(format!("{} holds no usable key; bring a backup of it back, or {ANOTHER}", path.display()))
    };
    KeyPair::from_pem(std::str::from_utf8(pem).map_err(|_| bad())?).map_err(|_| bad())
}

/// Valid from a day ago (clocks of clients are only right within a day) until `until`, with a random serial number.
fn blank(now: Timestamp, until: Timestamp) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    let start = Timestamp::from_ms(now.ms().saturating_sub(DAY.as_millis() as u64));
    params.not_before = start.system().into();
    params.not_after = until.system().into();
    params.distinguished_name = DistinguishedName::new();
    let mut serial = [0; 16];
    getrandom::fill(&mut serial)
        .map_err(|error| Error::Certificate(format!("the system gives no random numbers: {error}")))?;
    // A serial number is positive and at most 20 bytes (RFC 5280 4.1.2.2).
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

/// The first host name as common name, for people who look at it; clients go by the alternative names.
pub(crate) fn common_name(names: &[SiteName]) -> DistinguishedName {
    // The common name holds at most 64 characters (RFC 5280, ub-common-name).
    let first = names
        .iter()
        .filter(|name| matches!(name, SiteName::Dns(name) if name != "localhost"))
        .chain(names)
        .map(ToString::to_string)
        .find(|name| name.len() <= 64);
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, first.unwrap_or_else(|| "Waystation".into()));
    subject
}

pub(crate) fn alternative_names(names: &[SiteName]) -> Result<Vec<SanType>, Error> {
    names
        .iter()
        .map(|name| {
            Ok(match name {
                SiteName::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
                SiteName::Address(address) => SanType::IpAddress(*address),
            })
        })
        .collect()
}

/// Certificates tell seconds since 1970; what is before that is 1970.
pub(crate) fn seconds(since_1970: i64) -> Timestamp {
    Timestamp::from_ms(u64::try_from(since_1970).unwrap_or(0).saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<SiteName> {
        list.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn a_scope_survives_the_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let scope = Scope::of_domains(&names(&["corp.example"]), &names(&["192.168.7.7", "fd00::2"]));
        let disk = crate::base::disk::RealDisk;
        let clock = crate::base::time::SystemClock;
        let made = SiteCa::create(&disk, dir.path(), &clock, &scope).unwrap();
        let opened = SiteCa::open(&disk, dir.path(), &clock, &Scope::default()).unwrap();
        assert_eq!(opened.scope(), &scope);
        assert_eq!(opened.certificate(), made.certificate());
        let refused = opened.leaf(&clock, &names(&["ok.corp.example", "www.example.org"])).unwrap_err().to_string();
        assert!(refused.contains("www.example.org") && refused.contains("ca create --for"), "{refused}");
    }

    #[test]
    fn half_a_ca_is_mended_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, clock) = (crate::base::disk::RealDisk, crate::base::time::SystemClock);
        let scope = Scope::around(&names(&["patches.site.example"]));
        let first = SiteCa::open(&disk, dir.path(), &clock, &scope).unwrap();
        std::fs::remove_file(dir.path().join(CERT_FILE)).unwrap();
        let mended = SiteCa::open(&disk, dir.path(), &clock, &scope).unwrap();
        assert_eq!(mended.subject, first.subject);
        assert_ne!(mended.certificate(), first.certificate(), "another serial number");
        let kept = std::fs::read(dir.path().join(CERT_FILE)).unwrap();
        SiteCa::create(&disk, dir.path(), &clock, &scope).unwrap();
        std::fs::write(dir.path().join(CERT_FILE), kept).unwrap();
        assert!(SiteCa::open(&disk, dir.path(), &clock, &scope).unwrap_err().to_string().contains("does not belong"));
        std::fs::remove_file(dir.path().join(KEY_FILE)).unwrap();
        assert!(SiteCa::open(&disk, dir.path(), &clock, &scope).unwrap_err().to_string().contains("its key"));
    }
}
