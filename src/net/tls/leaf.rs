//! The node's own leaf: the certificate that its site CA signs for its names, made at the first start, made anew in the
//! last third of its life and whenever the names change, and served as it is, until it ends, where the CA cannot be used.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::CertifiedKey;

use crate::base::disk::Disk;
use crate::base::time::{Clock, Timestamp};
use crate::net::error::Error;
use crate::net::tls::ca::SiteCa;
use crate::net::tls::files::{self, Pair};
use crate::net::tls::names::SiteName;
use crate::net::tls::scope::Scope;
use crate::net::tls::show::{self, Shown};

/// The leaf and its key in the TLS directory.
pub const FILE: &str = "leaf.pem";

/// Until when the leaf in `dir` can be served, whatever has become of its CA; `None` where there is none that clients would
/// take at `now`. Changes nothing.
pub fn good_until(disk: &dyn Disk, dir: &Path, now: Timestamp) -> Option<Timestamp> {
    still_good(disk, dir, &aws_lc_rs::default_provider(), now).ok().flatten().map(|(_, until)| until)
}

/// The leaf in `dir` and its end, where it can be read and has not ended.
fn still_good(
    disk: &dyn Disk,
    dir: &Path,
    provider: &CryptoProvider,
    now: Timestamp,
) -> Result<Option<(Arc<CertifiedKey>, Timestamp)>, Error> {
    let Ok(leaf) = files::load(disk, &pair(dir), provider) else { return Ok(None) };
    let until = Shown::of(leaf.end_entity_cert()?)?.not_after;
    Ok((until >= now).then_some((leaf, until)))
}

fn pair(dir: &Path) -> Pair {
    let path = dir.join(FILE);
    Pair { cert: path.clone(), key: path }
}

/// What finding or making the leaf takes. Whoever calls holds the directory.
#[derive(Debug)]
pub(crate) struct Leaf<'a> {
    pub(crate) disk: &'a dyn Disk,
    /// `<data>/tls`.
    pub(crate) dir: &'a Path,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) provider: &'a CryptoProvider,
    /// What the node goes by.
    pub(crate) names: &'a [SiteName],
    /// Whether the names are those of the configuration, and not those that the machine happens to have.
    pub(crate) configured: bool,
}

impl Leaf<'_> {
    /// The leaf that the site CA signed, made anew where there is none or it has had its time.
    pub(crate) fn ready(&self) -> Result<Arc<CertifiedKey>, Error> {
        let (disk, clock) = (self.disk, self.clock);
        let pair = pair(self.dir);
        let site_ca = match SiteCa::open(disk, self.dir, clock, &Scope::around(self.names)) {
            Ok(site_ca) => site_ca,
            Err(error) => return self.without_ca(error),
        };
        let names = self.signable(&site_ca);
        let old = match files::read(disk, &pair.cert)? {
            Some(_) => files::load(disk, &pair, self.provider)
                .inspect_err(|error| tracing::warn!(%error, "the node's own certificate is made anew"))
                .ok(),
            None => None,
        };
        if let Some(old) = &old
            && self.is_current(old, &site_ca, &names)?
        {
            return Ok(old.clone());
        }
        let written = site_ca.leaf(clock, &names).and_then(|leaf| files::write(disk, &pair.cert, leaf.as_bytes()));
        match (written, old) {
            (Ok(()), _) => files::load(disk, &pair, self.provider),
            (Err(error @ Error::File { .. }), Some(old)) => {
                tracing::error!(%error, "the node's own certificate cannot be renewed, the old one stays");
                Ok(old)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// The leaf that is there, where the CA that signed it cannot be used: it is as good as it was, until it ends. The error
    /// is passed on where there is none that clients would take.
    fn without_ca(&self, error: Error) -> Result<Arc<CertifiedKey>, Error> {
        let Some((old, expires)) = still_good(self.disk, self.dir, self.provider, self.clock.now())? else {
            return Err(error);
        };
        tracing::error!(
            %error, %expires,
            "the site CA cannot be used: the certificate that it signed is served until it ends, and cannot be renewed"
        );
        Ok(old)
    }

    /// Configured names stay, so that one that the CA may not sign for is refused; of the machine's own, which come and
    /// go, only those are taken that it may sign for.
    fn signable(&self, site_ca: &SiteCa) -> Vec<SiteName> {
        let mut names = self.names.to_vec();
        if !self.configured {
            let scope = site_ca.scope();
            for name in names.iter().filter(|name| !scope.permits(name)) {
                tracing::warn!(%name, %scope, "left out of the certificate: the site CA may not sign for it");
            }
            names.retain(|name| scope.permits(name));
        }
        names.sort();
        names.dedup();
        names
    }

    fn is_current(&self, leaf: &CertifiedKey, site_ca: &SiteCa, names: &[SiteName]) -> Result<bool, Error> {
        let cert = leaf.end_entity_cert()?;
        let parsed = show::parse(cert)?;
        let shown = Shown::of(cert)?;
        let mut have = show::names_of(&parsed);
        have.sort();
        let life = shown.not_after.since(shown.not_before);
        let left = shown.not_after.since(self.clock.now());
        Ok(have == names && site_ca.signed(&parsed) && left > life / 3)
    }
}
