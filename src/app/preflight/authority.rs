//! The site CA as a start would find it. Looks at files, and makes none.

use std::io::ErrorKind;

use crate::app::config::keys::Typed;
use crate::app::config::rooms;
use crate::app::preflight::Found;
use crate::base::disk::RealDisk;
use crate::base::time::Timestamp;
use crate::model::report::Verdict;
use crate::net;
use crate::net::tls::ca::{KEY_FILE, SiteCa};
use crate::net::tls::{import, leaf};

/// Whether the site CA can sign. One that cannot is no obstacle to a node whose certificate is good for a while yet, and
/// is found here before that ends.
pub(super) fn site_ca(typed: &Typed, now: Timestamp, found: &mut Found) {
    // Names that cannot be are told by who reads them.
    let Ok(config) = rooms::tls(typed) else { return };
    let key = config.dir.join(KEY_FILE).display().to_string();
    let others = !config.pairs.is_empty() || import::kept(&config.dir).iter().any(|pair| pair.cert.exists());
    // A start asks it for a certificate only where it listens for TLS and nothing else is served.
    let needed = !typed.listen.https.0.is_empty() && !others;
    match SiteCa::existing(&RealDisk, &config.dir) {
        Ok(None) => {}
        Ok(Some(ca)) => {
            let outside: Vec<_> =
                config.names.iter().filter(|name| !ca.scope().permits(name)).map(ToString::to_string).collect();
            let tops = ca.scope().tops(&config.own_names());
            if !tops.is_empty() {
                found.add(
                    Verdict::Warning,
                    "site-ca",
                    &key,
                    format!("may sign for all names below {}", tops.join(", ")),
                    "where that is a top-level domain whoever gets its key can pose as any site in it to your clients: make \
                     another for your own domain with `waystation tls ca create --for DOMAIN --replace`",
                );
            }
            if outside.is_empty() {
                if tops.is_empty() {
                    found.good("site-ca", &key, format!("may sign for {}", ca.scope()));
                }
                return;
            }
            found.add(
                if needed { Verdict::Bad } else { Verdict::Note },
                "site-ca",
                &key,
                format!("may sign for {}, and not for {} of [advertise]", ca.scope(), outside.join(", ")),
                "make another with `waystation tls ca create --for DOMAIN --replace` and give its certificate to the \
                 clients, or take the names out of [advertise]",
            );
        }
        Err(net::Error::File { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
            found.add(Verdict::Skipped, "site-ca", &key, "it cannot be read by this user", "check as the node's user");
        }
        Err(error) => {
            // A start looks for it in the same way.
            let until = leaf::good_until(&RealDisk, &config.dir, now);
            let (verdict, advice) = match until {
                Some(until) => (
                    Verdict::Warning,
                    format!("do it before {until}: the certificate that it signed is served till then, and cannot be renewed"),
                ),
                None if needed => (
                    Verdict::Bad,
                    "do it before the next start: there is no certificate to serve, and a node that listens for HTTPS does \
                     not start without one"
                        .into(),
                ),
                None => (Verdict::Warning, "nothing needs it as things are: it is for when the node serves its own".into()),
            };
            found.add(verdict, "site-ca", &key, error.to_string(), advice);
        }
    }
}
