//! Certificates.

use serde::{Deserialize, Serialize};

use crate::admin::view::Time;

/// A certificate, as `tls show` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Whom it is for.
    pub subject: String,
    /// The host names and addresses in it.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// In hex.
    pub serial: String,
    /// Good from then on.
    pub not_before: Time,
    /// Good until then.
    pub not_after: Time,
    /// SHA-256 of the certificate, in hex.
    pub fingerprint: String,
    /// For example `ECDSA P-256`.
    pub key_type: String,
}

/// The site CA, as `tls ca show` and `tls ca create` print it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteCa {
    /// Its certificate.
    #[serde(flatten)]
    pub certificate: Certificate,
    /// The domains and networks that it may sign for.
    pub may_sign_for: String,
    /// Names of the node that it may not sign for: endpoints that use them refuse the node's certificate.
    pub uncovered: Vec<String>,
    /// Whether the node's certificate is from it; not where one is configured or imported.
    pub in_use: bool,
}

/// `tls show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificates {
    /// What endpoints see, the preferred one first; empty before the first start.
    pub served: Vec<Certificate>,
    /// Whether the site CA issued it, so that endpoints need the CA's certificate.
    pub self_made: bool,
    /// Requests that still wait for their certificates.
    pub pending: Vec<Pending>,
}

/// A request that `tls csr` made and that was not answered yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// `ECDSA` or `RSA`.
    pub kind: String,
    /// When it was made.
    pub at: Time,
}

/// What `POST /api/v1/tls/reload` came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Whether another certificate is served from now on.
    pub changed: bool,
    /// SHA-256 in hex of each certificate that is served now, the preferred one first.
    pub served: Vec<String>,
}
