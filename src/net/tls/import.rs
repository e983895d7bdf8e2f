//! Certificates that somebody else signed: taken from PEM or PFX, checked, and kept in the TLS directory.
//!
//! One ECDSA and one RSA pair can be kept, each key and chain in one file, so that a rename replaces both at once.

use std::path::Path;

use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use rustls::SignatureAlgorithm;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::base::disk::Disk;
use crate::base::secret::Secret;
use crate::base::time::Clock;
use crate::net::error::Error;
use crate::net::tls::csr;
use crate::net::tls::files::{self, Pair};
use crate::net::tls::names::SiteName;
use crate::net::tls::show::{self, Shown};

const ECDSA_FILE: &str = "imported-ecdsa.pem";
const RSA_FILE: &str = "imported-rsa.pem";

/// What was imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The certificate.
    pub shown: Shown,
    /// Advertised names that it is not for: clients that use them will refuse it.
    pub uncovered: Vec<String>,
}

/// The TLS directory, and what an import is checked against.
#[derive(Debug)]
pub struct Importer<'a> {
    /// Durable files.
    pub disk: &'a dyn Disk,
    /// The TLS directory.
    pub dir: &'a Path,
    /// What "expired" is judged by.
    pub clock: &'a dyn Clock,
    /// The crypto library.
    pub provider: &'a CryptoProvider,
    /// The names that the node goes by.
    pub names: &'a [SiteName],
}

/// The imported pairs in `dir`, there or not.
pub fn kept(dir: &Path) -> [Pair; 2] {
    [ECDSA_FILE, RSA_FILE].map(|file| Pair { cert: dir.join(file), key: dir.join(file) })
}

/// Forgets what was imported.
pub fn forget(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    kept(dir).iter().try_for_each(|pair| files::remove(disk, &pair.cert))
}

impl Importer<'_> {
    /// Takes a chain in PEM. The key is `key`, or stands in the same text, or is the one of a request that
    /// [`csr::make`] made here.
    pub fn pem(&self, chain: &[u8], key: Option<&[u8]>) -> Result<Imported, Error> {
        let certs = files::certificates(chain, "the certificate")?;
        if certs.is_empty() {
            return Err(Error::Certificate(
                "there is no certificate in PEM in what was given; for DER use `openssl x509 -inform der`".into(),
            ));
        }
        let given = match key {
            Some(key) => Some(
                files::private_key(key, "the key file")?
                    .ok_or_else(|| Error::Certificate("there is no private key in PEM in the key file".into()))?,
            ),
            None => files::private_key(chain, "the certificate file")?,
        };
        if let Some(key) = given {
            return self.keep(certs, key);
        }
        let requested = csr::pending_keys(self.disk, self.dir)?;
        if requested.is_empty() {
            return Err(Error::Certificate(
                "no private key came with the certificate, and no request made by `waystation tls csr` waits for it"
                    .into(),
            ));
        }
        let answered = requested
            .into_iter()
            .find(|(_, key)| files::certified(certs.clone(), key.clone_key(), "the request", self.provider).is_ok());
        let Some((kind, key)) = answered else {
            return Err(Error::Certificate(
                "the certificate belongs to no request made by `waystation tls csr` that still waits; give its key too"
                    .into(),
            ));
        };
        let imported = self.keep(certs, key)?;
        csr::forget(self.disk, self.dir, kind)?;
        Ok(imported)
    }

    /// Takes key and chain out of a PFX (PKCS #12) file.
    pub fn pfx(&self, data: &[u8], password: &Secret) -> Result<Imported, Error> {
        let store = KeyStore::from_pkcs12(data, password.expose(), Pkcs12ImportPolicy::Relaxed)
            .map_err(|error| Error::Pfx(error.to_string()))?;
        let (_, chain) = store
            .private_key_chain()
            .ok_or_else(|| Error::Pfx("there is no private key in it; export it with its key".into()))?;
        let key = PrivatePkcs8KeyDer::from(chain.key().as_der().to_vec());
        let certs = chain.certs().iter().map(|cert| CertificateDer::from(cert.as_der().to_vec())).collect();
        self.keep(certs, key.into())
    }

    fn keep(&self, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Imported, Error> {
        let key_text = pem_of_key(&key);
        let pair = files::certified(chain, key, "the certificate", self.provider)?;
        let own = pair.end_entity_cert()?;
        let imported = self.check(own)?;
        let mut text = key_text;
        for cert in &pair.cert {
            text.push_str(&pem_of("CERTIFICATE", cert));
        }
        let file = if pair.key.algorithm() == SignatureAlgorithm::RSA { RSA_FILE } else { ECDSA_FILE };
        files::make_dir(self.disk, self.dir)?;
        files::write(self.disk, &self.dir.join(file), text.as_bytes())?;
        Ok(imported)
    }

    /// Refuses what no client would take.
    fn check(&self, own: &CertificateDer<'_>) -> Result<Imported, Error> {
        let shown = Shown::of(own)?;
        let parsed = show::parse(own)?;
        if shown.not_after < self.clock.now() {
            return Err(Error::Certificate(format!("the certificate expired on {}", shown.not_after)));
        }
        let names = show::names_of(&parsed);
        if names.is_empty() {
            return Err(Error::Certificate(
                "the certificate has no subject alternative names, without which no client takes it; ask for it again \
                 with the request that `waystation tls csr` makes"
                    .into(),
            ));
        }
        if let Ok(Some(usage)) = parsed.extended_key_usage()
            && !usage.value.server_auth
            && !usage.value.any
        {
            return Err(Error::Certificate(
                "the certificate is not for servers (its extended key usage lacks serverAuth); use a web server template"
                    .into(),
            ));
        }
        let uncovered = self.names.iter().filter(|name| !covers(&names, name)).map(ToString::to_string).collect();
        Ok(Imported { shown, uncovered })
    }
}

/// Whether one of `names` is `name`, or a wildcard that stands for it (one label, RFC 6125 6.4.3).
pub(crate) fn covers(names: &[SiteName], name: &SiteName) -> bool {
    let wildcard = match name {
        SiteName::Dns(name) => name.split_once('.').map(|(_, rest)| SiteName::Dns(format!("*.{rest}"))),
        SiteName::Address(_) => None,
    };
    names.iter().any(|have| have == name || Some(have) == wildcard.as_ref())
}

fn pem_of_key(key: &PrivateKeyDer<'_>) -> Zeroizing<String> {
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    pem_of(label, key.secret_der())
}

/// PEM text (RFC 7468): base64 in lines of 64 characters.
fn pem_of(label: &str, der: &[u8]) -> Zeroizing<String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Zeroizing::new(String::with_capacity(der.len() / 3 * 4 + der.len() / 48 + 80));
    text.extend(["-----BEGIN ", label, "-----\n"]);
    // 48 bytes make a line.
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
            for place in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
                text.push(if place <= group.len() { char::from(digit) } else { '=' });
            }
        }
        text.push('\n');
    }
    text.extend(["-----END ", label, "-----\n"]);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls_pki_types::pem::PemObject;

    use super::*;

    proptest! {
        #[test]
        fn pem_text_is_read_back(der in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = pem_of("CERTIFICATE", &der);
            prop_assert!(text.lines().all(|line| line.len() <= 64));
            let read = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
            prop_assert_eq!(read.as_ref(), der.as_slice());
        }
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        let names = |list: &[&str]| list.iter().map(|name| name.parse().unwrap()).collect::<Vec<SiteName>>();
        let have = names(&["*.site.example", "10.0.0.1"]);
        let covered = |name: &str| covers(&have, &name.parse().unwrap());
        assert!(covered("a.site.example") && covered("10.0.0.1"));
        assert!(!covered("a.b.site.example") && !covered("site.example") && !covered("10.0.0.2"));
    }
}
