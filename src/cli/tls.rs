//! `tls ...`: the certificate that endpoints see, and the site CA. Works on files; a running node takes them up by itself.

use crate::admin::view::{Certificate, SiteCa};
use crate::app::tls;
use crate::app::{AppError, Loaded};
use crate::cli::fail::Fail;
use crate::cli::print::{Grid, Out, add};
use crate::cli::verbs::{CaVerb, TlsVerb};

pub(in crate::cli) fn run(loaded: &Loaded, verb: TlsVerb, out: Out) -> Result<(), Fail> {
    match verb {
        TlsVerb::Show => {
            let certificates = tls::show(loaded)?;
            out.both(&certificates, |certificates| {
                if certificates.served.is_empty() {
                    return "there is no certificate yet: the first start makes one, or `waystation tls import`"
                        .to_owned();
                }
                let mut text = certificates.served.iter().map(one).collect::<Vec<_>>().join("\n");
                if certificates.self_made {
                    text.push_str("\nIt is from the site CA: endpoints need `waystation tls ca export` to trust it.\n");
                }
                text
            })
        }
        TlsVerb::Csr { names, rsa } => {
            let request = tls::csr(loaded, &names, rsa).map_err(fail)?;
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
            out.both(&serde_json::json!({ "certificate": certificate, "uncovered": uncovered }), |_| {
                let mut text = one(&certificate);
                text.push_str("\nA running node takes it up within 10 s.\n");
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
            out.both(&serde_json::json!({ "forgotten": forgotten }), |_| {
                if forgotten {
                    "what was imported is gone; a running node serves the site CA's certificate again within 10 s"
                        .to_owned()
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
            if !replace && tls::ca_is_there(loaded)? {
                return Err(Fail::new(
                    "there is a site CA already, and endpoints that trust it would refuse a certificate of another one",
                    "look at it with `waystation tls ca show`; --replace makes another one and keeps the old files",
                ));
            }
            let (ca, kept) = tls::ca_create(loaded, &domains).map_err(fail)?;
            out.both(&ca, |ca| {
                let mut text = site_ca(ca);
                text.push('\n');
                for path in &kept {
                    add(&mut text, format_args!("The old one is kept: {}\n", path.display()));
                }
                if ca.in_use {
                    text.push_str("Give it to the endpoints: waystation tls ca export > site-ca.pem\n");
                    text.push_str("A running node serves a certificate from it within 10 s.\n");
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

/// An error of what was given, told as that.
fn fail(error: AppError) -> Fail {
    match tls::advice(&error) {
        Some((true, next)) => Fail::usage(error.to_string(), next),
        Some((false, next)) => Fail::new(error.to_string(), next),
        None => error.into(),
    }
}

fn site_ca(ca: &SiteCa) -> String {
    let mut text = one(&ca.certificate);
    add(&mut text, format_args!("may sign for  {}\n", ca.may_sign_for));
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
    grid.text()
}
