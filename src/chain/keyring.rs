//! The node's keys for the chain, as files in `<data>/chain` (0600). Not in the index: a backup of that may go anywhere, and two nodes with
//! one key are what the chain calls forked. Blocks.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::base::disk::Disk;
use crate::chain::error::Error;

/// The longest file: a certificate with a key.
const BYTES_MAX: u64 = 64 << 10;

/// The root key's seed, until it was exported.
pub(super) const ROOT: &str = "root.key";
/// The feed key's seed.
pub(super) const FEED: &str = "feed.key";
/// That of the feed key which comes next, until the vouch for it is there.
pub(super) const FEED_NEXT: &str = "feed.next";
/// What vouches for it.
pub(super) const VOUCH: &str = "feed.vouch";
/// The key of the authority that signs certificates of nodes below.
pub(super) const CA_KEY: &str = "node-ca.key";
/// Its certificate.
pub(super) const CA_CERT: &str = "node-ca.pem";
/// The key of this node as a child.
pub(super) const NODE_KEY: &str = "node.key";
/// Its certificate, with that of the parent's authority.
pub(super) const NODE_CERT: &str = "node.pem";
/// The key to which secrets are sealed: public, then secret.
pub(super) const SEALING: &str = "sealing.key";
/// The token of a join that waits.
pub(super) const TOKEN: &str = "joining.token";

/// A directory of keys.
#[derive(Clone, Debug)]
pub(super) struct Keyring {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File { action, path: path.to_owned(), source }
}

impl Keyring {
    pub(super) fn new(disk: Arc<dyn Disk>, data: &Path) -> Self {
        Self { disk, dir: data.join("chain") }
    }

    /// All of a file; `None` where there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let path = self.dir.join(name);
        let fail = |source| failed("read", &path, source);
        let file = match self.disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        let len = file.facts().map_err(fail)?.len;
        if len > BYTES_MAX {
            return Err(fail(io::Error::other("it is larger than any key")));
        }
        let mut bytes = Zeroizing::new(vec![0; len as usize]);
        file.read_at(&mut bytes, 0).map_err(fail)?;
        Ok(Some(bytes))
    }

    /// A key of 32 bytes.
    pub(super) fn seed(&self, name: &str) -> Result<Option<crate::base::secret::Key>, Error> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        let seed = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| Error::Key { what: "key file" })?;
        Ok(Some(crate::base::secret::Key::new(seed)))
    }

    /// Puts bytes there: the old ones or the new ones after a power cut.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let (path, beside) = (self.dir.join(name), self.dir.join(format!("{name}.new")));
        let fail = |source| failed("write", &path, source);
        self.disk.create_dir(&self.dir).map_err(fail)?;
        if let Some(parent) = self.dir.parent() {
            self.disk.sync_dir(parent).map_err(fail)?;
        }
        match self.disk.unlink(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        let file = self.disk.create(&beside).map_err(fail)?;
        file.write_at(bytes, 0).map_err(fail)?;
        file.sync().map_err(fail)?;
        self.disk.rename(&beside, &path).map_err(fail)?;
        self.disk.sync_dir(&self.dir).map_err(fail)
    }

    /// Takes a file away; that there is none is fine.
    pub(super) fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.dir.join(name);
        match self.disk.unlink(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path, error)),
            _ => self.disk.sync_dir(&self.dir).or(Ok(())),
        }
    }
}

/// Random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error::Seal(format!("no random numbers: {error}")))?;
    Ok(bytes)
}
