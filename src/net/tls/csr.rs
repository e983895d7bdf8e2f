//! A key of the node's own and a request for a certificate of it, for a CA that the site has already.

use std::path::Path;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use rustls_pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use crate::base::disk::Disk;
use crate::base::time::Timestamp;
use crate::net::error::Error;
use crate::net::tls::ca::{alternative_names, common_name};
use crate::net::tls::files;
use crate::net::tls::names::SiteName;

/// What kind of key to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA P-256: every Windows that gets patches takes it, and 2012 R2 does AES-GCM with it alone.
    #[default]
    Ecdsa,
    /// RSA 3072, for CAs whose templates know nothing else. Making one takes a moment.
    Rsa,
}

impl KeyKind {
    /// For people: `ECDSA` or `RSA`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ecdsa => "ECDSA",
            Self::Rsa => "RSA",
        }
    }

    fn key_file(self) -> &'static str {
        match self {
            Self::Ecdsa => "request-ecdsa.key",
            Self::Rsa => "request-rsa.key",
        }
    }
}

/// Makes a key, keeps it in `dir` until the answer is imported, and gives the request in PEM. An earlier request of the
/// same kind that still waits is forgotten with `replace`, and [`Error::Pending`] without: a CA may take days to answer
/// it, and the answer is worth nothing without its key.
pub fn make(disk: &dyn Disk, dir: &Path, names: &[SiteName], kind: KeyKind, replace: bool) -> Result<String, Error> {
    if !replace && let Some(&(_, at)) = pending(dir).iter().find(|(waits, _)| *waits == kind) {
        return Err(Error::Pending { at });
    }
    let key = match kind {
        KeyKind::Ecdsa => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
        KeyKind::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072)?,
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(names);
    params.subject_alt_names = alternative_names(names)?;
    let request = params.serialize_request(&key)?.pem()?;
    files::make_dir(disk, dir)?;
    files::write(disk, &dir.join(kind.key_file()), Zeroizing::new(key.serialize_pem()).as_bytes())?;
    Ok(request)
}

/// The requests that were not answered yet, and when they were made, as the times of their keys' files tell.
pub fn pending(dir: &Path) -> Vec<(KeyKind, Timestamp)> {
    let made = |kind: KeyKind| std::fs::metadata(dir.join(kind.key_file())).ok()?.modified().ok();
    [KeyKind::Ecdsa, KeyKind::Rsa].into_iter().filter_map(|kind| Some((kind, made(kind)?.into()))).collect()
}

/// The keys whose requests were not answered yet.
pub fn pending_keys(disk: &dyn Disk, dir: &Path) -> Result<Vec<(KeyKind, PrivateKeyDer<'static>)>, Error> {
    let mut keys = Vec::new();
    for kind in [KeyKind::Ecdsa, KeyKind::Rsa] {
        if let Some(pem) = files::read(disk, &dir.join(kind.key_file()))? {
            keys.extend(files::private_key(&pem, kind.key_file())?.map(|key| (kind, key)));
        }
    }
    Ok(keys)
}

/// Forgets the request that was answered. Imported is where its key is now.
pub fn forget(disk: &dyn Disk, dir: &Path, kind: KeyKind) -> Result<(), Error> {
    files::remove(disk, &dir.join(kind.key_file()))
}
