//! `tls ...`: the certificate that endpoints see, and the site CA. Works on files; a running node takes them up by itself.

use crate::admin::view::Certificate;
use crate::app::Loaded;
use crate::app::tls;
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
            let request = tls::csr(loaded, &names, rsa)?;
            if out.is_json() {
                return out.json(&serde_json::json!({ "request": request }));
            }
            out.raw(request)?;
            out.aside("have it signed, then: waystation tls import SIGNED.pem");
            Ok(())
        }
        TlsVerb::Import { file, key, password_file } => {
            let (certificate, uncovered) = tls::import(loaded, &file, key.as_deref(), password_file.as_deref())?;
            out.both(&serde_json::json!({ "certificate": certificate, "uncovered": uncovered }), |_| {
                let mut text = one(&certificate);
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
        TlsVerb::Ca(CaVerb::Show) => {
            let certificate = tls::ca_show(loaded)?.ok_or_else(no_ca)?;
            out.both(&certificate, one)
        }
        TlsVerb::Ca(CaVerb::Create { domains }) => {
            let certificate = tls::ca_create(loaded, &domains)?;
            out.both(&certificate, |certificate| {
                format!("{}\nGive it to the endpoints: waystation tls ca export > site-ca.pem\n", one(certificate))
            })
        }
        TlsVerb::Ca(CaVerb::Export) => {
            let pem = tls::ca_export(loaded)?.ok_or_else(no_ca)?;
            if out.is_json() { out.json(&serde_json::json!({ "pem": pem })) } else { out.raw(pem) }
        }
    }
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
