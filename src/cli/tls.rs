//! `tls ...`: the certificate that endpoints see, and the site CA. Works on files, then tells the running node to look.

use crate::admin::view::{Certificate, Pending, Reloaded, SiteCa};
use crate::app::tls::{self, CaState};
use crate::app::{AppError, Loaded};
use crate::cli::fail::Fail;
use crate::cli::node::Node;
use crate::cli::print::{Grid, Out, add};
use crate::cli::verbs::tls::{CaVerb, TlsVerb};

pub(in crate::cli) fn run(loaded: &Loaded, verb: TlsVerb, out: Out) -> Result<(), Fail> {
    match verb {
        TlsVerb::Show => {
            let certificates = tls::show(loaded)?;
            out.both(&certificates, |certificates| {
                let mut text = certificates.served.iter().map(one).collect::<Vec<_>>().join("\n");
                if certificates.served.is_empty() {
                    text.push_str("there is no certificate yet: the first start makes one, or `waystation tls import`\n");
                } else if certificates.self_made {
                    text.push_str("\nIt is from the site CA: endpoints need `waystation tls ca export` to trust it.\n");
                }
                for Pending { kind, at } in &certificates.pending {
                    let told = format_args!(
                        "\nA request with an {kind} key, made on {at}, waits for its certificate: `waystation tls import`.\n"
                    );
                    add(&mut text, told);
                }
                text
            })
        }
        TlsVerb::Csr { names, rsa, replace } => {
            let request = tls::csr(loaded, &names, rsa, replace).map_err(fail)?;
            if out.is_json() {
                return out.json(&serde_json::json!({ "request": request }));
            }
            out.raw(request)?;
            out.aside("have it signed, then: waystation tls import SIGNED.pem");
            Ok(())
        }
        TlsVerb::Import { file, key, password_file } => {
            let (certificate, uncovered) =
                tls::import(loaded, &file, key.as_deref(), password_file.as_deref()).map_err(fail)?;
            let taken = Taken::by(loaded);
            let value = serde_json::json!({
                "certificate": certificate, "uncovered": uncovered, "running_node": taken.json(),
            });
            out.both(&value, |_| {
                let mut text = one(&certificate);
                add(&mut text, format_args!("\n{}\n", taken.people("It is served")));
                if !uncovered.is_empty() {
                    let names = uncovered.join(", ");
                    add(
                        &mut text,
                        format_args!(
                            "\nNot in it are these names of the node: {names}. Endpoints must not use them.\n"
                        ),
                    );
                }
                text
            })
        }
        TlsVerb::Forget => {
            let forgotten = tls::forget(loaded).map_err(fail)?;
            let taken = if forgotten { Taken::by(loaded) } else { Taken::ByNobody };
            let value = serde_json::json!({
                "forgotten": forgotten, "running_node": taken.json(),
            });
            out.both(&value, |_| {
                if forgotten {
                    format!("what was imported is gone\n{}", taken.people("The site CA's certificate is served"))
                } else {
                    "nothing was imported, so that there is nothing to forget".to_owned()
                }
            })
        }
        TlsVerb::Ca(CaVerb::Show) => {
            let ca = tls::ca_show(loaded).map_err(fail)?.ok_or_else(no_ca)?;
            out.both(&ca, site_ca)
        }
        TlsVerb::Ca(CaVerb::Create { domains, replace }) => {
            if !replace {
                refuse_to_replace(tls::ca_state(loaded).map_err(fail)?)?;
            }
            let tls::Made { ca, kept, nameless, tops } = tls::ca_create(loaded, &domains).map_err(fail)?;
            for top in &tops {
                out.warn(&format!(
                    "this CA may sign for all names below {top}; if that is a top-level domain such as com, whoever gets the \
                     CA's key can pose as any site in it to the clients that trust it: make another with --replace for your \
                     own domain, such as --for site.{top}"
                ));
            }
            let taken = Taken::by(loaded);
            out.both(&ca, |ca| {
                let mut text = site_ca(ca);
                text.push('\n');
                for path in &kept {
                    add(&mut text, format_args!("The old one is kept: {}\n", path.display()));
                }
                if ca.in_use {
                    text.push_str("Give it to the endpoints: waystation tls ca export > site-ca.pem\n");
                    add(&mut text, format_args!("{}\n", taken.people("A certificate from it is served")));
                    for domain in &nameless {
                        let name = domain.trim_start_matches("*.");
                        add(
                            &mut text,
                            format_args!(
                                "No name of the node lies in {name}, and its certificate has none: write what clients call \
                                 it into waystation.toml, such as\n\n[advertise]\nnames = [\"patches.{name}\"]\n\nand start \
                                 it again.\n"
                            ),
                        );
                    }
                }
                text
            })
        }
        TlsVerb::Ca(CaVerb::Export) => {
            let pem = tls::ca_export(loaded)?.ok_or_else(no_ca)?;
            if out.is_json() { out.json(&serde_json::json!({ "pem": pem })) } else { out.raw(pem) }
        }
    }
}

/// Another CA is made by itself only where there is none.
fn refuse_to_replace(state: CaState) -> Result<(), Fail> {
    match state {
        CaState::None => Ok(()),
        CaState::Usable => Err(Fail::new(
            "there is a site CA already, and endpoints that trust it would refuse a certificate of another one",
            "look at it with `waystation tls ca show`; --replace makes another one and keeps the old files",
        )),
        CaState::Damaged { why, served_until } => {
            let till = served_until.map_or_else(
                || "nothing that it signed can be served".to_owned(),
                |until| format!("the certificate that it signed is served until {until} and cannot be renewed"),
            );
            Err(Fail::new(
                format!("the site CA that is there is damaged: {why}; {till}"),
                "--replace makes another CA and a certificate of it, which is served at once, and keeps the damaged files under \
                 other names; endpoints trust it once they have its certificate (`waystation tls ca export`)",
            ))
        }
    }
}

/// Whether the running node has taken up what was written.
enum Taken {
    /// It looked, and serves with these now: SHA-256 of each.
    ByNode(Vec<String>),
    /// No node runs.
    ByNobody,
    /// It looked and cannot use it, or could not be told; why.
    Refused(String),
}

impl Taken {
    /// Tells the running node to look. What was asked for is done by now, whatever comes of this.
    fn by(loaded: &Loaded) -> Self {
        let Ok(node) = Node::running(loaded) else { return Self::ByNobody };
        let told = super::with(node, async |node| node.post::<Reloaded>("/api/v1/tls/reload", &()).await);
        match told {
            Ok(reloaded) => Self::ByNode(reloaded.served),
            Err(fail) => Self::Refused(fail.what),
        }
    }

    /// For scripts; `null` where no node runs.
    fn json(&self) -> serde_json::Value {
        match self {
            Self::ByNode(served) => serde_json::json!({ "serves": served }),
            Self::ByNobody => serde_json::Value::Null,
            Self::Refused(why) => serde_json::json!({ "trouble": why }),
        }
    }

    /// `what` from when on, in words.
    fn people(&self, what: &str) -> String {
        match self {
            Self::ByNode(_) => format!("{what} by the running node from now on."),
            Self::ByNobody => format!("{what} from the next start on: no node is running."),
            Self::Refused(why) => format!("The running node does not use it: {why}"),
        }
    }
}

/// An error of what was given, told as that.
fn fail(error: AppError) -> Fail {
    match tls::advice(&error) {
        Some((true, next)) => Fail::usage(error.to_string(), next),
        Some((false, next)) => Fail::new(error.to_string(), next),
        None => error.into(),
    }
}

fn site_ca(ca: &SiteCa) -> String {
    let mut text = with(&ca.certificate, &[("may sign for", &ca.may_sign_for)]);
    if !ca.uncovered.is_empty() {
        let names = ca.uncovered.join(", ");
        add(
            &mut text,
            format_args!(
                "\nIt may not sign for these names of the node: {names}. Endpoints must not use them, or the CA must be made \
                 with a --for that takes them in.\n"
            ),
        );
    }
    if !ca.in_use {
        text.push_str(
            "\nEndpoints see another certificate, which is configured or was imported (`waystation tls show`); \
             `waystation tls forget` goes back from an imported one to the site CA's.\n",
        );
    }
    text
}

fn no_ca() -> Fail {
    Fail::new(
        "there is no site CA yet",
        "start the node once, or make one with `waystation tls ca create --for DOMAIN`",
    )
}

fn one(certificate: &Certificate) -> String {
    with(certificate, &[])
}

/// A certificate, and what else is known of it.
fn with(certificate: &Certificate, more: &[(&str, &str)]) -> String {
    let mut grid = Grid::new(&["", ""]);
    let mut row = |key: &str, value: &str| grid.row([key.to_owned(), value.to_owned()]);
    row("subject", &certificate.subject);
    if !certificate.names.is_empty() {
        row("names", &certificate.names.join(", "));
    }
    row("issuer", &certificate.issuer);
    row("good", &format!("from {} until {}", certificate.not_before, certificate.not_after));
    row("key", &certificate.key_type);
    row("serial", &certificate.serial);
    row("sha256", &certificate.fingerprint);
    for (key, value) in more {
        row(key, value);
    }
    grid.text()
}
