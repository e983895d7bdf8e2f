//! The node's TLS: which certificate it serves with, how that changes while it runs, and what it speaks.
//!
//! The certificate is found in this order:
//! 1. the files that the configuration names (one pair, or an RSA pair beside an ECDSA one);
//! 2. what was imported ([`import`]): kept in `<data>/tls/imported-ecdsa.pem` and `imported-rsa.pem`;
//! 3. a leaf ([`leaf`]) that the node's own site CA ([`ca`]) signs, made at the first start and renewed in the last third of its
//!    life and whenever the node's names change. Where the CA cannot be used it is served as it is, as long as it is good.
//!
//! Where 1 or 2 give an RSA pair alone, the leaf of 3 stands behind it for clients that take ECDSA only (Windows Server
//! 2012 R2, whose RSA suites are none that are spoken here); who can take RSA never sees it.
//!
//! [`Tls::watch`] looks for changes; handshakes from then on use the new certificate, open connections are left alone,
//! and what cannot be used is logged while the old one stays.
//!
//! Who writes there, or loads, holds the directory ([`lock`]): verbs of other processes work on it, too.
//!
//! Between nodes both sides show a certificate, of another authority ([`mutual`]).
//!
//! Files in `<data>/tls`, all 0600: `site-ca.key`, `site-ca.pem`, `leaf.pem`, `imported-*.pem`, `request-*.key`. A file
//! that ends in `.new` was being written when the power went, and is replaced by the next write.

pub mod ca;
pub mod csr;
pub mod files;
pub mod import;
pub mod leaf;
pub mod lock;
pub mod mutual;
pub mod names;
pub mod resolver;
pub mod scope;
pub mod show;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SignatureAlgorithm};
use tokio_util::sync::CancellationToken;

use crate::base::disk::Disk;
use crate::base::secret::Secret;
use crate::base::time::{Clock, Timestamp};
use crate::net::error::Error;
use crate::net::tls::ca::SiteCa;
use crate::net::tls::csr::KeyKind;
use crate::net::tls::files::{Pair, Stamp};
use crate::net::tls::import::{Imported, Importer};
use crate::net::tls::leaf::Leaf;
use crate::net::tls::names::SiteName;
use crate::net::tls::resolver::Resolver;
use crate::net::tls::scope::Scope;
use crate::net::tls::show::Shown;

/// How often the machine's names and the leaf's life are looked at where nothing else changes.
const RENEWAL_CHECK: Duration = Duration::from_hours(1);

/// From when on a certificate that somebody else must renew is complained about.
pub const EXPIRY_WARNING: Duration = Duration::from_hours(14 * 24);

/// What the TLS side is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// `<data>/tls`.
    pub dir: PathBuf,
    /// The names and addresses of `[advertise]`; empty means those of this machine.
    pub names: Vec<SiteName>,
    /// Certificate files of the configuration: none, one, or one of each key type.
    pub pairs: Vec<Pair>,
    /// How often files are looked at.
    pub poll_every: Duration,
}

impl Config {
    /// The node's own certificate in `dir`, for this machine's names, files looked at each 10 s.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, names: Vec::new(), pairs: Vec::new(), poll_every: Duration::from_secs(10) }
    }

    /// The names that the node goes by: those configured, else those of this machine.
    pub fn own_names(&self) -> Vec<SiteName> {
        if self.names.is_empty() { names::of_this_machine() } else { self.names.clone() }
    }
}

/// The node's TLS side. Its methods block on the disk, but for [`Tls::watch`] and [`Tls::server_config`].
#[derive(Debug)]
pub struct Tls {
    config: Config,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
    resolver: Arc<Resolver>,
    server: Arc<ServerConfig>,
    seen: Mutex<Seen>,
}

/// What the last look saw.
#[derive(Debug)]
struct Seen {
    stamps: Vec<Option<Stamp>>,
    look_again: Timestamp,
}

impl Tls {
    /// Finds the certificate, or makes one. Files of the configuration that cannot be used are an error here.
    pub fn open(config: Config, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let tls = Self::unloaded(config, disk, clock)?;
        tls.reload()?;
        Ok(tls)
    }

    /// Looks at no file yet and serves nothing: for [`Tls::create_ca`] where what is there cannot be used, and for a node
    /// that loads later by [`Tls::reload`].
    pub fn unloaded(config: Config, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let resolver = Arc::new(Resolver::new(Vec::new()));
        let server = server_config(provider.clone(), resolver.clone())?;
        // There is no stamp yet, so that the first look loads.
        let seen = Mutex::new(Seen { stamps: Vec::new(), look_again: Timestamp::default() });
        Ok(Self { config, disk, clock, provider, resolver, server, seen })
    }

    /// What listeners need; it follows every change of the certificate.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }

    /// What is served now, the preferred certificate first.
    pub fn show(&self) -> Result<Vec<Shown>, Error> {
        self.resolver.pairs().iter().map(|pair| Shown::of(pair.end_entity_cert()?)).collect()
    }

    /// Whether the site CA's leaf is what all clients are served with, so that they need the CA's certificate.
    pub fn is_self_made(&self) -> bool {
        self.config.pairs.is_empty() && !self.imported().iter().any(|pair| pair.cert.exists())
    }

    /// The names that the node goes by: those configured, else those of this machine.
    pub fn names(&self) -> Vec<SiteName> {
        self.config.own_names()
    }

    /// Looks at the files and at the leaf's life once; `true` where another certificate is served from now on. After an error the
    /// old certificate is still served, and the same files are not tried again until one of them changes.
    pub fn reload(&self) -> Result<bool, Error> {
        self.reload_with(&mut self.lock())
    }

    /// The same, but loads whatever the looks say: for an operator who says that something changed.
    pub fn reload_anyway(&self) -> Result<bool, Error> {
        let mut seen = self.lock();
        seen.look_again = Timestamp::default();
        self.reload_with(&mut seen)
    }

    fn reload_with(&self, seen: &mut Seen) -> Result<bool, Error> {
        if seen.stamps == self.stamps() && self.clock.now() < seen.look_again {
            return Ok(false);
        }
        // With files of the configuration alone there may be no directory, and none is needed.
        let _held = if self.config.pairs.is_empty() { self.hold()? } else { lock::existing(&self.config.dir)? };
        self.load_held(seen)
    }

    /// Loads; whoever calls holds the directory.
    fn load_held(&self, seen: &mut Seen) -> Result<bool, Error> {
        let stamps = self.stamps();
        let loaded = self.load();
        // The files as they were before the load: what is replaced while they are read is seen by the next look. (A leaf
        // of our own that this load wrote is, too, which costs a load that changes nothing.)
        seen.stamps = stamps;
        seen.look_again = self.clock.now().after(RENEWAL_CHECK);
        loaded
    }

    /// Keeps other processes out of the directory.
    fn hold(&self) -> Result<lock::Held, Error> {
        lock::hold(&*self.disk, &self.config.dir)
    }

    /// Whoever reads or writes the TLS directory holds this, so that no thread sees another's work half done.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks every [`Config::poll_every`] until `stop`. What fails is logged, and the old certificate stays.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(self.config.poll_every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            let tls = self.clone();
            match tokio::task::spawn_blocking(move || tls.reload()).await {
                Ok(Ok(true)) => tracing::info!("certificate loaded"),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::error!(%error, "the new certificate is not used, the old one stays"),
                Err(error) => tracing::error!(%error, "looking for a new certificate failed"),
            }
        }
    }

    /// Makes another site CA that may sign for `domains` and for the networks that this node is in, and a leaf of it.
    /// Clients must be given its certificate. What is there already may be broken: this is how it is mended; its files are
    /// kept under other names. Returns the new one, and where the old one's files are.
    pub fn create_ca(&self, domains: &[SiteName]) -> Result<(Shown, Vec<PathBuf>), Error> {
        if let Some(address) = domains.iter().find(|domain| matches!(domain, SiteName::Address(_))) {
            return Err(Error::BadName { name: address.to_string() });
        }
        let scope = Scope::of_domains(domains, &self.names());
        if let Some(outside) = self.config.names.iter().find(|name| !scope.permits(name)) {
            return Err(Error::NameOutside { name: outside.to_string(), scope: scope.to_string() });
        }
        let mut seen = self.lock();
        let _held = self.hold()?;
        let kept = ca::keep_old(&*self.disk, &self.config.dir, &*self.clock)?;
        let made = SiteCa::create(&*self.disk, &self.config.dir, &*self.clock, &scope)?;
        self.leaf(&self.names()).ready()?;
        // The CA and its leaf stand whatever else is configured or was imported; that has its own complaint.
        if let Err(error) = self.load_held(&mut seen) {
            tracing::warn!(%error, "what is configured or imported cannot be served with");
        }
        Ok((Shown::of(made.certificate())?, kept))
    }

    /// The facts of the site CA's certificate; `None` where there is none yet.
    pub fn show_ca(&self) -> Result<Option<Shown>, Error> {
        let Some(pem) = self.ca_certificate()? else { return Ok(None) };
        files::certificates(pem.as_bytes(), ca::CERT_FILE)?.first().map(Shown::of).transpose()
    }

    /// The site CA's certificate in PEM, to give to clients; `None` where there is none yet.
    pub fn ca_certificate(&self) -> Result<Option<String>, Error> {
        let _alone = self.lock();
        let pem = files::read(&*self.disk, &self.config.dir.join(ca::CERT_FILE))?;
        Ok(pem.map(|pem| String::from_utf8_lossy(&pem).into_owned()))
    }

    /// See [`csr::make`].
    pub fn request(&self, kind: KeyKind, replace: bool) -> Result<String, Error> {
        let _alone = self.lock();
        let _held = self.hold()?;
        csr::make(&*self.disk, &self.config.dir, &self.names(), kind, replace)
    }

    /// See [`Importer::pem`]; served from now on, unless the configuration names files.
    pub fn import_pem(&self, chain: &[u8], key: Option<&[u8]>) -> Result<Imported, Error> {
        let mut seen = self.lock();
        let _held = self.hold()?;
        let imported = self.importer(&self.names()).pem(chain, key)?;
        self.load_held(&mut seen)?;
        Ok(imported)
    }

    /// See [`Importer::pfx`]; served from now on, unless the configuration names files.
    pub fn import_pfx(&self, data: &[u8], password: &Secret) -> Result<Imported, Error> {
        let mut seen = self.lock();
        let _held = self.hold()?;
        let imported = self.importer(&self.names()).pfx(data, password)?;
        self.load_held(&mut seen)?;
        Ok(imported)
    }

    /// Forgets what was imported; the site CA's leaf is served again.
    pub fn forget_imported(&self) -> Result<(), Error> {
        let mut seen = self.lock();
        let _held = self.hold()?;
        import::forget(&*self.disk, &self.config.dir)?;
        self.load_held(&mut seen).map(drop)
    }

    fn importer<'a>(&'a self, names: &'a [SiteName]) -> Importer<'a> {
        Importer { disk: &*self.disk, dir: &self.config.dir, clock: &*self.clock, provider: &self.provider, names }
    }

    fn imported(&self) -> [Pair; 2] {
        import::kept(&self.config.dir)
    }

    /// The stamps of every file that a change can come from.
    fn stamps(&self) -> Vec<Option<Stamp>> {
        let own = [leaf::FILE, ca::CERT_FILE, ca::KEY_FILE].map(|file| self.config.dir.join(file));
        let pairs = self
            .config
            .pairs
            .iter()
            .chain(&self.imported())
            .flat_map(|pair| [&pair.cert, &pair.key])
            .cloned()
            .collect::<Vec<_>>();
        pairs.iter().chain(&own).map(|path| Stamp::of(path)).collect()
    }

    /// Puts what is to be served into use; tells whether that is something else than before.
    fn load(&self) -> Result<bool, Error> {
        let mut pairs = Vec::new();
        if self.config.pairs.is_empty() {
            for pair in self.imported().iter().filter(|pair| pair.cert.exists()) {
                pairs.push(files::load(&*self.disk, pair, &self.provider)?);
            }
            if pairs.is_empty() {
                pairs.push(self.leaf(&self.names()).ready()?);
            }
        } else {
            for pair in &self.config.pairs {
                pairs.push(files::load(&*self.disk, pair, &self.provider)?);
            }
        }
        let last = self.stand_in(&pairs);
        for pair in pairs.iter().chain(&last) {
            let shown = Shown::of(pair.end_entity_cert()?)?;
            let (now, expires) = (self.clock.now(), shown.not_after);
            if expires < now {
                tracing::error!(subject = shown.subject, %expires, "the certificate has expired: clients refuse it");
            } else if expires.since(now) < EXPIRY_WARNING {
                tracing::warn!(subject = shown.subject, %expires, "the certificate expires soon; replace it");
            }
        }
        let old = self.resolver.pairs();
        self.resolver.replace(pairs, last);
        let new = self.resolver.pairs();
        Ok(old.len() != new.len() || new.iter().any(|pair| !old.iter().any(|old| old.cert == pair.cert)))
    }

    /// The own leaf, where `pairs` have nothing for a client that takes ECDSA alone. That it cannot be had leaves those
    /// clients out and nobody else.
    fn stand_in(&self, pairs: &[Arc<CertifiedKey>]) -> Option<Arc<CertifiedKey>> {
        if pairs.iter().any(|pair| pair.key.algorithm() == SignatureAlgorithm::ECDSA) {
            return None;
        }
        self.leaf(&self.names())
            .ready()
            .inspect_err(|error| {
                tracing::warn!(
                    %error,
                    "there is no ECDSA certificate: clients that take no RSA (Windows Server 2012 R2) are refused"
                );
            })
            .ok()
    }

    /// The leaf of the site CA for `names`, which are the node's.
    fn leaf<'a>(&'a self, names: &'a [SiteName]) -> Leaf<'a> {
        Leaf {
            disk: &*self.disk,
            dir: &self.config.dir,
            clock: &*self.clock,
            provider: &self.provider,
            names,
            configured: !self.config.names.is_empty(),
        }
    }
}

/// TLS 1.2 and 1.3 with what rustls holds good (ECDHE and AEAD ciphers alone), HTTP/2 before HTTP/1.1.
fn server_config(provider: Arc<CryptoProvider>, resolver: Arc<Resolver>) -> Result<Arc<ServerConfig>, Error> {
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    // Old clients name HTTP/1.0 alone, and rustls refuses whom it has nothing in common with.
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"http/1.0".to_vec()];
    // Tickets instead of a memory of sessions: a fleet that comes back costs nothing here.
    server.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(server))
}
