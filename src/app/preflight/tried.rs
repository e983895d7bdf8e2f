//! What can only be tried: ports are bound for a moment, certificates and CA files are loaded as a start would load them.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustls::crypto::aws_lc_rs;

use crate::app::config::keys::Typed;
use crate::app::config::rooms;
use crate::app::preflight::Found;
use crate::base::disk::RealDisk;
use crate::base::time::Timestamp;
use crate::model::report::Verdict;
use crate::net::tls::files::{self, Pair};
use crate::net::tls::names::SiteName;
use crate::net::tls::show::Shown;
use crate::net::tls::{EXPIRY_WARNING, ca, import};
use crate::net::{self, Bound};
use crate::upstream;

/// Binds every address for a moment, unless a node runs that has them (`runs`).
pub(super) fn ports(typed: &Typed, runs: bool, found: &mut Found) {
    if runs {
        let seen = "a node runs on this data directory, so that its ports are taken: they were not tried";
        found.add(Verdict::Skipped, "bind", "listen", seen, "");
        return;
    }
    let listen = &typed.listen;
    let all: [(&str, &[SocketAddr]); 3] = [
        ("listen.http", &listen.http.0),
        ("listen.https", &listen.https.0),
        ("listen.control", listen.control.0.as_slice()),
    ];
    for (key, addresses) in all {
        for address in addresses {
            match Bound::tcp(*address) {
                Ok(_) => found.good("bind", key, format!("{address} can be listened on")),
                Err(net::Error::AddressInUse { .. }) => found.bad(
                    "bind",
                    key,
                    format!("cannot listen on {address}: something else listens there"),
                    format!("stop it (see `ss -ltnp`), or write another port into {key}"),
                ),
                Err(net::Error::AddressForeign { .. }) => found.bad(
                    "bind",
                    key,
                    format!("cannot listen on {address}: this machine does not have that address"),
                    format!("write one that it has into {key} (see `ip address`), or 0.0.0.0 for all"),
                ),
                Err(error) => found.bad("bind", key, error.to_string(), format!("write another one into {key}")),
            }
        }
    }
}

/// Loads the pairs of the configuration, else what was imported.
pub(super) fn certificates(typed: &Typed, now: Timestamp, found: &mut Found) {
    let config = match rooms::tls(typed) {
        Ok(config) => config,
        Err(error) => return found.bad("certificate", "advertise.names", error.to_string(), "correct the name"),
    };
    let configured = !config.pairs.is_empty();
    let kept = import::kept(&config.dir);
    let imported = kept.iter().filter(|pair| !configured && pair.cert.exists());
    for pair in config.pairs.iter().chain(imported) {
        let subject = pair.cert.display().to_string();
        match load(pair) {
            Ok(shown) => certificate(&subject, &shown, &config.names, now, found),
            Err(error) => found.bad(
                "certificate",
                &subject,
                error.to_string(),
                if configured {
                    "correct [tls] cert and key (rsa_cert and rsa_key), or the files that they name"
                } else {
                    "import it again (`waystation tls import`), or go back to the site CA's (`waystation tls forget`)"
                },
            ),
        }
    }
    let key = config.dir.join(ca::KEY_FILE);
    if let Some(mode) = open_to_others(&key) {
        let shown = key.display();
        found.warn(
            "certificate",
            &shown.to_string(),
            format!("the site CA's key can be read by others (mode {mode:04o}): they can be any site to its endpoints"),
            format!(
                "chmod 0600 {shown}; if somebody had it, make another: waystation tls ca create --for DOMAIN --replace"
            ),
        );
    }
}

fn load(pair: &Pair) -> Result<Shown, net::Error> {
    let loaded = files::load(&RealDisk, pair, &aws_lc_rs::default_provider())?;
    Shown::of(loaded.end_entity_cert()?)
}

/// What of a certificate that can be served endpoints would refuse. Without `configured` names, those of this machine are
/// too many to be missed.
fn certificate(subject: &str, shown: &Shown, configured: &[SiteName], now: Timestamp, found: &mut Found) {
    let until = shown.not_after;
    if until < now || now < shown.not_before {
        found.bad(
            "certificate",
            subject,
            format!("it is good from {} until {until}, and not now: endpoints refuse it", shown.not_before),
            "replace it, or set the clock",
        );
        return;
    }
    if until.since(now) < EXPIRY_WARNING {
        found.warn("certificate", subject, format!("it ends soon: {until}"), "replace it");
    }
    let names: Vec<SiteName> = shown.names.iter().filter_map(|name| name.parse().ok()).collect();
    let missing: Vec<_> =
        configured.iter().filter(|name| !import::covers(&names, name)).map(ToString::to_string).collect();
    if missing.is_empty() {
        found.good("certificate", subject, format!("for {}, until {until}", shown.names.join(", ")));
    } else {
        found.warn(
            "certificate",
            subject,
            format!("it is for {}, and not for {}", shown.names.join(", "), missing.join(", ")),
            "have the names of [advertise] put into it, or take them out there: endpoints refuse it under them",
        );
    }
}

/// The mode of a file that users beyond its owner and group can get at.
fn open_to_others(path: &Path) -> Option<u32> {
    let mode = std::fs::metadata(path).ok()?.mode() & 0o7777;
    (mode & 0o007 != 0).then_some(mode)
}

/// Reads the further certificate authorities, file by file.
pub(super) fn authorities(typed: &Typed, found: &mut Found) {
    for path in rooms::extra_ca(typed) {
        let subject = path.display().to_string();
        match upstream::authorities_in(&path) {
            Ok(count) => found.good("extra-ca", &subject, format!("{count} to be trusted")),
            Err(why) => found.bad("extra-ca", &subject, why, "correct [upstream] extra_ca, or the file"),
        }
    }
}
