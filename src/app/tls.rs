//! The certificate verbs: thin ways to the network's TLS side, on the files under `<data>/tls`. A running node looks at
//! these files itself, so that nothing has to be told to it.
//!
//! Files of the caller are read first, as who called; then the process becomes the data directory's owner, so that no
//! file of another user appears there. Must be called before any other thread is started.

use std::path::{Path, PathBuf};

use rustls::crypto::aws_lc_rs;

use crate::admin::view::{Certificate, Certificates, Pending, SiteCa, Time};
use crate::app::config::{rooms, secret};
use crate::app::offline::become_owner;
use crate::app::{AppError, ConfigError, Loaded};
use crate::base::disk::RealDisk;
use crate::base::time::{Clock, SystemClock};
use crate::net;
use crate::net::tls::ca::{self, CERT_FILE, KEY_FILE};
use crate::net::tls::csr::{self, KeyKind};
use crate::net::tls::files;
use crate::net::tls::import::{self, Importer};
use crate::net::tls::leaf;
use crate::net::tls::lock;
use crate::net::tls::names::SiteName;
use crate::net::tls::scope::Scope;
use crate::net::tls::show::Shown;
use crate::net::tls::{Config, Tls};

/// The largest certificate file that is read: a chain with RSA keys has some kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What endpoints see, found as the node finds it: configured, imported, or its own. Changes nothing.
pub fn show(loaded: &Loaded) -> Result<Certificates, AppError> {
    let config = rooms::tls(&loaded.typed()?)?;
    let pending = csr::pending(&config.dir).into_iter();
    let pending = pending.map(|(kind, at)| Pending { kind: kind.name().to_owned(), at: Time(at) }).collect();
    if !config.pairs.is_empty() {
        let served = config.pairs.iter().map(|pair| read(&pair.cert)).filter_map(Result::transpose);
        return Ok(Certificates { served: served.collect::<Result<_, _>>()?, self_made: false, pending });
    }
    let imported = import::kept(&config.dir).into_iter().map(|pair| read(&pair.cert)).filter_map(Result::transpose);
    let mut imported = imported.collect::<Result<Vec<_>, _>>()?;
    let own = read(&config.dir.join(leaf::FILE))?;
    if !imported.is_empty() {
        // The own one stands behind an RSA one, for clients that take ECDSA alone.
        let rsa_alone = imported.iter().all(|certificate| certificate.key_type.starts_with("RSA"));
        imported.extend(own.filter(|_| rsa_alone));
        return Ok(Certificates { served: imported, self_made: false, pending });
    }
    Ok(Certificates { served: own.into_iter().collect(), self_made: true, pending })
}

/// Makes a key and a signing request, in PEM; for the node's names where none are given. One of the same kind that still
/// waits is forgotten with `replace`, and else an error.
pub fn csr(loaded: &Loaded, given: &[String], rsa: bool, replace: bool) -> Result<String, AppError> {
    let config = rooms::tls(&loaded.typed()?)?;
    let names = if given.is_empty() { config.own_names() } else { parse(given)? };
    own(loaded)?;
    let kind = if rsa { KeyKind::Rsa } else { KeyKind::Ecdsa };
    let _held = lock::hold(&RealDisk, &config.dir)?;
    Ok(csr::make(&RealDisk, &config.dir, &names, kind, replace)?)
}

/// Puts a certificate in place; returns it, and the names of the node that it does not cover.
pub fn import(
    loaded: &Loaded,
    file: &Path,
    key: Option<&Path>,
    password_file: Option<&Path>,
) -> Result<(Certificate, Vec<String>), AppError> {
    let config = rooms::tls(&loaded.typed()?)?;
    if let Some(pair) = config.pairs.first() {
        let what = format!(
            "the configuration names {}: replace that file, or take the keys out of [tls]",
            pair.cert.display()
        );
        return Err(ConfigError::one("tls.cert", what).into());
    }
    let bytes = bounded(file)?;
    let key = key.map(bounded).transpose()?;
    let password = password_file
        .map(|path| secret::read(path).map_err(|what| ConfigError::one("--password-file", what)))
        .transpose()?;
    own(loaded)?;
    let _held = lock::hold(&RealDisk, &config.dir)?;
    let (names, provider) = (config.own_names(), aws_lc_rs::default_provider());
    let importer =
        Importer { disk: &RealDisk, dir: &config.dir, clock: &SystemClock, provider: &provider, names: &names };
    let pem = bytes.windows(11).any(|window| window == b"-----BEGIN ");
    let imported = if pem {
        importer.pem(&bytes, key.as_deref().map(Vec::as_slice))?
    } else {
        let none = || crate::base::secret::Secret::new(String::new());
        importer.pfx(&bytes, &password.unwrap_or_else(none))?
    };
    Ok((certificate(imported.shown), imported.uncovered))
}

/// Forgets what was imported, so that the site CA's certificate is served again; `false` where nothing was imported.
pub fn forget(loaded: &Loaded) -> Result<bool, AppError> {
    let config = rooms::tls(&loaded.typed()?)?;
    own(loaded)?;
    let _held = lock::hold(&RealDisk, &config.dir)?;
    let there = has_imported(&config);
    import::forget(&RealDisk, &config.dir)?;
    Ok(there)
}

/// The site CA; `None` before the first start.
pub fn ca_show(loaded: &Loaded) -> Result<Option<SiteCa>, AppError> {
    Ok(site_ca_of(&rooms::tls(&loaded.typed()?)?)?)
}

/// What there is of a site CA.
#[derive(Debug)]
pub enum CaState {
    /// Nothing: the first start makes one.
    None,
    /// One that can sign, or its key, for which a start makes the certificate.
    Usable,
    /// Something is left of one that cannot sign any more.
    Damaged {
        /// What is wrong with it, and how it can be mended.
        why: String,
        /// Until when the certificate that it signed can be served; `None` where there is none.
        served_until: Option<Time>,
    },
}

/// Whether there is a site CA, and whether it can sign. Changes nothing.
pub fn ca_state(loaded: &Loaded) -> Result<CaState, AppError> {
    let dir = rooms::tls(&loaded.typed()?)?.dir;
    match ca::SiteCa::existing(&RealDisk, &dir) {
        Ok(Some(_)) => Ok(CaState::Usable),
        Ok(None) if dir.join(KEY_FILE).exists() => Ok(CaState::Usable),
        Ok(None) => Ok(CaState::None),
        // That it cannot be looked at says nothing about it.
        Err(error @ net::Error::File { .. }) => Err(error.into()),
        Err(error) => Ok(CaState::Damaged {
            why: error.to_string(),
            served_until: leaf::good_until(&RealDisk, &dir, SystemClock.now()).map(Time),
        }),
    }
}

/// A site CA that was made.
#[derive(Debug)]
pub struct Made {
    /// The CA.
    pub ca: SiteCa,
    /// Where the files of the one that was there are kept.
    pub kept: Vec<PathBuf>,
    /// Those of its domains that no name of the node lies in, so that its certificate has none of them.
    pub nameless: Vec<String>,
    /// Those of its domains that may be top-level ones, below which everybody's names lie.
    pub tops: Vec<String>,
}

/// Makes a new site CA for these domains, and a certificate from it.
pub fn ca_create(loaded: &Loaded, domains: &[String]) -> Result<Made, AppError> {
    let config = rooms::tls(&loaded.typed()?)?;
    let domains = parse(domains)?;
    own(loaded)?;
    let again = config.clone();
    // Not opened: what is there may be the reason why another CA is wanted.
    let tls = Tls::unloaded(config, std::sync::Arc::new(RealDisk), std::sync::Arc::new(SystemClock))?;
    let (_, kept) = tls.create_ca(&domains)?;
    let names = again.own_names();
    let tops = Scope::of_domains(&domains, &[]).tops(&names).into_iter().map(str::to_owned).collect();
    let ca = site_ca_of(&again)?.ok_or_else(|| AppError::NoStore { path: again.dir.clone() })?;
    let is_nameless = |domain: &&SiteName| {
        let scope = Scope::of_domains(std::slice::from_ref(*domain), &[]);
        // Every scope takes `localhost` in, which no other machine calls the node.
        let inside = |name: &SiteName| {
            matches!(name, SiteName::Dns(dns) if **domain == *name || dns != "localhost") && scope.permits(name)
        };
        !names.iter().any(inside)
    };
    let nameless = domains.iter().filter(is_nameless).map(ToString::to_string).collect();
    Ok(Made { ca, kept, nameless, tops })
}

/// The site CA's certificate in PEM; `None` before the first start.
pub fn ca_export(loaded: &Loaded) -> Result<Option<String>, AppError> {
    let pem = files::read(&RealDisk, &site_ca(loaded)?)?;
    Ok(pem.map(|pem| String::from_utf8_lossy(&pem).into_owned()))
}

/// The site CA in the TLS directory of `config`, with what it means for the node.
fn site_ca_of(config: &Config) -> Result<Option<SiteCa>, net::Error> {
    let path = config.dir.join(CERT_FILE);
    let Some(pem) = files::read(&RealDisk, &path)? else { return Ok(None) };
    let chain = files::certificates(&pem, &path.display().to_string())?;
    let Some(cert) = chain.first() else { return Ok(None) };
    let scope = Scope::of_der(cert)?;
    let uncovered = config.own_names().iter().filter(|name| !scope.permits(name)).map(ToString::to_string).collect();
    Ok(Some(SiteCa {
        certificate: certificate(Shown::of(cert)?),
        may_sign_for: scope.to_string(),
        uncovered,
        in_use: config.pairs.is_empty() && !has_imported(config),
    }))
}

fn has_imported(config: &Config) -> bool {
    import::kept(&config.dir).iter().any(|pair| pair.cert.exists())
}

/// What to do about an error of these verbs that is of what was given and not of the configuration: whether the command
/// line is wrong, and what to try. `None` for every other error.
pub fn advice(error: &AppError) -> Option<(bool, &'static str)> {
    let AppError::Net(error) = error else { return None };
    Some(match error {
        net::Error::BadName { .. } => (true, "give names such as patches.site.example, or addresses of this machine"),
        net::Error::File { action: "read", .. } => (false, "name a file that is there and can be read by this user"),
        net::Error::File { .. } => (false, "see whether the data directory can be written and has room"),
        net::Error::Pfx(_) => {
            (false, "put the password into the first line of a file, and name that with --password-file")
        }
        net::Error::Pending { .. } => (
            false,
            "import the answer to it (`waystation tls import`), or forget it and make another one with --replace",
        ),
        net::Error::NameOutside { .. } => (false, "`waystation tls ca show` says what the site CA may sign for"),
        net::Error::Certificate(_) => {
            (false, "nothing was changed; `waystation tls import --help` shows what can be given")
        }
        _ => (false, "nothing was changed; look at the files in the directory tls of the data directory"),
    })
}

fn site_ca(loaded: &Loaded) -> Result<PathBuf, AppError> {
    Ok(rooms::tls(&loaded.typed()?)?.dir.join(CERT_FILE))
}

/// Becomes the owner of the data directory, which must be there.
fn own(loaded: &Loaded) -> Result<(), AppError> {
    let data = loaded.data_dir();
    if !data.is_dir() {
        return Err(AppError::NoStore { path: data.to_owned() });
    }
    become_owner(data)
}

fn parse(names: &[String]) -> Result<Vec<SiteName>, net::Error> {
    names.iter().map(|name| name.parse()).collect()
}

/// The end-entity certificate in a file; none where there is no file.
fn read(path: &Path) -> Result<Option<Certificate>, net::Error> {
    let Some(pem) = files::read(&RealDisk, path)? else { return Ok(None) };
    let chain = files::certificates(&pem, &path.display().to_string())?;
    chain.first().map(|cert| Shown::of(cert).map(certificate)).transpose()
}

fn bounded(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, net::Error> {
    use std::io::Read;
    let failed = |source| net::Error::File { action: "read", path: path.to_owned(), source };
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    let file = std::fs::File::open(path).map_err(failed)?;
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(failed(std::io::Error::other(format!("it is no file of at most {FILE_BYTES_MAX} bytes"))));
    }
    Ok(bytes)
}

fn certificate(shown: Shown) -> Certificate {
    Certificate {
        subject: shown.subject,
        names: shown.names,
        issuer: shown.issuer,
        serial: shown.serial,
        not_before: Time(shown.not_before),
        not_after: Time(shown.not_after),
        fingerprint: shown.fingerprint,
        key_type: shown.key_type,
    }
}
