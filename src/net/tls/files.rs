//! Files of the TLS side: read with a limit, written whole or not at all, watched by what `stat` tells.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::base::disk::{Disk, DiskFile};
use crate::net::error::Error;

/// The longest certificate, key or PFX file that is read: a chain of a dozen certificates with large keys is a tenth of
/// it, and a device or a wrong path is not read into memory.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// A certificate and its key, as the operator keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The chain in PEM, the node's own certificate first.
    pub cert: PathBuf,
    /// The key in PEM, not encrypted; may be the same file.
    pub key: PathBuf,
}

/// What `stat` tells about a file's content: when any of it changes, the file is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of what `path` leads to (symbolic links are followed: deployments switch them); `None` where that
    /// cannot be told.
    pub fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            len: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// All of a file; `None` where there is none. The memory is wiped when it is dropped, since there may be a key in it.
pub fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    read_checked(disk, path, |_| Ok(()))
}

fn read_checked(
    disk: &dyn Disk,
    path: &Path,
    check: impl Fn(&dyn DiskFile) -> Result<(), Error>,
) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let fail = |source| Error::File { action: "read", path: path.into(), source };
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    check(&*file)?;
    let facts = file.facts().map_err(fail)?;
    if facts.is_dir || facts.len > FILE_BYTES_MAX {
        return Err(fail(io::Error::other(format!("it is no file of at most {FILE_BYTES_MAX} bytes"))));
    }
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(facts.len).unwrap_or(0)]);
    file.read_at(&mut bytes, 0).map_err(fail)?;
    Ok(Some(bytes))
}

/// Puts `bytes` at `path` (mode 0600): written beside it, made durable, and renamed over it, so that a reader sees the
/// old or the new and a power cut leaves one of them.
pub fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let fail = |source| Error::File { action: "write", path: path.into(), source };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match disk.unlink(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let steps = || -> io::Result<()> {
        let file = disk.create(&beside)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        disk.rename(&beside, path)?;
        path.parent().map_or(Ok(()), |parent| disk.sync_dir(parent))
    };
    steps().map_err(fail)
}

/// Makes the directory `dir` where it is missing. Its own name is durable when this returns well, also where another
/// process made it: what is written into it is of no use in a directory that a power cut takes away.
pub(super) fn make_dir(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    let fail = |source| Error::File { action: "write", path: dir.into(), source };
    disk.create_dir(dir).map_err(fail)?;
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    disk.sync_dir(parent).map_err(fail)
}

/// Removes a file; that there is none is fine.
pub fn remove(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    match disk.unlink(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::File { action: "remove", path: path.into(), source })
        }
        _ => Ok(()),
    }
}

/// The certificates in PEM text, in their order; other sections are passed over. `what` names it in errors.
pub fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::Certificate(format!("{what} is no PEM text: {error}")))?;
    Ok(found)
}

/// The first key in PEM text; `None` where there is none.
pub fn private_key(pem: &[u8], what: &str) -> Result<Option<PrivateKeyDer<'static>>, Error> {
    const ENCRYPTED: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    if pem.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED) {
        return Err(Error::Certificate(format!(
            "the key in {what} is encrypted; decrypt it with `openssl pkey -in KEY -out PLAIN`, or import a PFX file"
        )));
    }
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(Some(key)),
        Err(rustls_pki_types::pem::Error::NoItemsFound) => Ok(None),
        Err(error) => Err(Error::Certificate(format!("the key in {what} cannot be read: {error}"))),
    }
}

/// Chain and key made ready to sign, the certificate of that key first in the chain.
pub fn certified(
    mut chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    what: &str,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, Error> {
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| Error::Certificate(format!("the key of {what} cannot be used: {error}")))?;
    if key.algorithm() == SignatureAlgorithm::ED25519 {
        return Err(Error::Certificate(format!(
            "the key of {what} is an Ed25519 key, which Windows does not take; use ECDSA P-256 or RSA"
        )));
    }
    let own = chain
        .iter()
        .position(|cert| CertifiedKey::new(vec![cert.clone()], key.clone()).keys_match().is_ok())
        .ok_or_else(|| Error::Certificate(format!("no certificate of {what} belongs to the key that came with it")))?;
    let own = chain.remove(own);
    chain.insert(0, own);
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

/// Refuses a key that users beyond the node's group can get at: whoever has it is the node to every client.
fn refuse_exposed(path: &Path, file: &dyn DiskFile) -> Result<(), Error> {
    let fail = |source| Error::File { action: "read", path: path.into(), source };
    // Asked of the open file, so that it cannot be changed for another one in between.
    let mode = file.as_file().metadata().map_err(fail)?.mode();
    if mode & 0o007 != 0 {
        let shown = path.display();
        return Err(Error::Certificate(format!(
            "the key {shown} is open to everybody (mode {:04o}): chmod 0640 {shown}, and give it to the node's group",
            mode & 0o7777
        )));
    }
    Ok(())
}

/// The key and chain of `pair`, ready to sign. A key that everybody can read is an error.
pub fn load(disk: &dyn Disk, pair: &Pair, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, Error> {
    let need = |path: &Path, secret: bool| {
        let checked = |file: &dyn DiskFile| if secret { refuse_exposed(path, file) } else { Ok(()) };
        read_checked(disk, path, checked)?.ok_or_else(|| Error::File {
            action: "read",
            path: path.into(),
            source: io::Error::new(
                io::ErrorKind::NotFound,
                "there is no such file; correct its name in [tls], or put it there",
            ),
        })
    };
    let name = pair.cert.display().to_string();
    let chain = certificates(&need(&pair.cert, false)?, &name)?;
    let key = private_key(&need(&pair.key, true)?, &pair.key.display().to_string())?
        .ok_or_else(|| Error::Certificate(format!("there is no private key in {}", pair.key.display())))?;
    certified(chain, key, &name, provider)
}
