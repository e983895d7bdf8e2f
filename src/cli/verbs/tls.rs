//! The verbs of the certificate: `tls ...`.

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};

/// `tls ...`
#[derive(Debug, Subcommand)]
pub enum TlsVerb {
    /// Show the certificate that endpoints see, who issued it, and until when it is good
    #[command(after_help = "\
Examples:
  waystation tls show
  waystation tls show --json")]
    Show,
    /// Make a key and print a signing request for your own CA
    #[command(after_help = "\
Examples:
  waystation tls csr patches.site.example > node.csr
  waystation tls import node.pem

The key stays in the data directory; `tls import` of the signed certificate
finds it there. While it waits (`tls show` says so) another request of the kind
is made with --replace alone, which forgets it. Without names those of
[advertise] names are used.")]
    Csr {
        /// Names and addresses that endpoints use
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Make an RSA key, for a CA whose templates know nothing else
        #[arg(long)]
        rsa: bool,
        /// Forget the request that still waits: the answer to it can be imported no more
        #[arg(long)]
        replace: bool,
    },
    /// Put a certificate in place: PEM (with its chain and, if it is not from `tls csr`, its key) or PFX
    #[command(after_help = "\
Examples:
  waystation tls import node.pem
  waystation tls import node.pem --key node.key
  waystation tls import node.pfx --password-file pfx.pass

A running node is told, and takes it up without dropping a connection.")]
    Import {
        /// The certificate
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Its key, where that is in a file of its own
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        key: Option<PathBuf>,
        /// A file with the PFX's password in its first line
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        password_file: Option<PathBuf>,
    },
    /// Forget the imported certificate: the one from the site CA is served again
    #[command(after_help = "\
Examples:
  waystation tls forget

A certificate that the configuration names stays: take the keys out of [tls].")]
    Forget,
    /// The site CA, which issues the node's certificate where you have no CA of your own
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation tls ca show
  waystation tls ca export > site-ca.pem
  waystation tls ca create --for site.example"
    )]
    Ca(CaVerb),
}

/// `tls ca ...`
#[derive(Debug, Subcommand)]
pub enum CaVerb {
    /// Show the site CA: fingerprint, the domains it may sign for, until when it is good
    #[command(after_help = "\
Examples:
  waystation tls ca show")]
    Show,
    /// Make a new site CA for these domains, and a new certificate from it
    #[command(after_help = "\
Examples:
  waystation tls ca create --for site.example
  waystation tls ca create --for site.example --for lab.example --replace

Name your own domain: a warning tells where a single label may be a top-level
one. Where there is one already --replace is needed: endpoints that trust the
old one must be given the new one (`waystation tls ca export`). The old files
are kept in the directory tls of the data directory, with .old- and the time
behind.")]
    Create {
        /// A domain that it may sign for, with all below it; beside them stand the networks that this machine is in
        #[arg(long = "for", value_name = "DOMAIN", required = true)]
        domains: Vec<String>,
        /// Put it in the place of the one that is there
        #[arg(long)]
        replace: bool,
    },
    /// Print the site CA's certificate as PEM, for group policy and trust stores
    #[command(after_help = "\
Examples:
  waystation tls ca export > site-ca.pem
  certutil -addstore -f Root site-ca.pem          (on a Windows machine; group policy does it for all)")]
    Export,
}
