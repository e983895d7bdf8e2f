//! What people want to know of a certificate: `waystation tls show`, the console, the doctor.

use rustls_pki_types::CertificateDer;
use serde::Serialize;
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::base::time::Timestamp;
use crate::net::error::Error;
use crate::net::tls::ca::seconds;
use crate::net::tls::names::SiteName;

/// The facts of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Whom it is for, as a distinguished name.
    pub subject: String,
    /// The host names and addresses in it.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// In hex.
    pub serial: String,
    /// Valid from this moment, in milliseconds since 1970.
    pub not_before: Timestamp,
    /// Valid until this moment, in milliseconds since 1970.
    pub not_after: Timestamp,
    /// SHA-256 of the certificate, in hex.
    pub fingerprint: String,
    /// For example "ECDSA P-256" or "RSA 3072".
    pub key_type: String,
}

impl Shown {
    /// The facts of `cert`.
    pub fn of(cert: &CertificateDer<'_>) -> Result<Self, Error> {
        let parsed = parse(cert)?;
        Ok(Self {
            subject: parsed.subject().to_string(),
            names: names_of(&parsed).iter().map(ToString::to_string).collect(),
            issuer: parsed.issuer().to_string(),
            serial: hex(parsed.raw_serial()),
            not_before: seconds(parsed.validity().not_before.timestamp()),
            not_after: seconds(parsed.validity().not_after.timestamp()),
            fingerprint: hex(&Sha256::digest(cert)),
            key_type: key_type(&parsed),
        })
    }
}

pub(crate) fn parse<'a>(cert: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    X509Certificate::from_der(cert)
        .map(|(_, parsed)| parsed)
        .map_err(|error| Error::Certificate(format!("the certificate cannot be read: {error}")))
}

/// The host names and addresses in a certificate; other kinds of names are passed over.
pub(crate) fn names_of(cert: &X509Certificate<'_>) -> Vec<SiteName> {
    let alternative = cert.subject_alternative_name().ok().flatten();
    let general = alternative.map(|found| found.value.general_names.as_slice()).unwrap_or_default();
    general
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(SiteName::Dns(name.to_ascii_lowercase())),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| SiteName::Address(bytes.into())),
                _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| SiteName::Address(bytes.into())),
            },
            _ => None,
        })
        .collect()
}

fn key_type(cert: &X509Certificate<'_>) -> String {
    match cert.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(key)) => format!("ECDSA P-{}", key.key_size()),
        _ => cert.public_key().algorithm.algorithm.to_string(),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
        text
    })
}
