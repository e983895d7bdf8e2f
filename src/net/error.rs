//! What can go wrong with sockets and certificates, whose fault it is, and what to do about it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::base::time::Timestamp;

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Who sent the request.
    Client,
    /// Who runs the node: a setting, a file or a right.
    Operator,
    /// The disk.
    Disk,
    /// The program.
    Us,
}

/// An error of this room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address is in use.
    #[error(
        "cannot listen on {address}: something else listens there; stop it (see `ss -ltnp`) or write another port into [listen]"
    )]
    AddressInUse {
        /// What was asked for.
        address: SocketAddr,
    },
    /// An address may not be bound.
    #[error(
        "cannot listen on {address}: not permitted; ports below 1024 need the capability CAP_NET_BIND_SERVICE (the unit \
         file grants it) or a higher port"
    )]
    AddressForbidden {
        /// What was asked for.
        address: SocketAddr,
    },
    /// An address that this machine does not have.
    #[error(
        "cannot listen on {address}: this machine does not have that address (see `ip address`); write one that it has into \
         [listen], or 0.0.0.0 for all"
    )]
    AddressForeign {
        /// What was asked for.
        address: SocketAddr,
    },
    /// Any other failure to listen.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A socket cannot be given to the runtime.
    #[error("cannot register a listening socket: {0}")]
    Register(io::Error),
    /// The request's body is longer than it may be.
    #[error("the request's body is longer than {bytes_max} bytes")]
    BodyTooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// The request's body did not come in time.
    #[error("the request's body did not arrive within {} s", .time_max.as_secs_f64())]
    BodyTooSlow {
        /// The limit.
        time_max: std::time::Duration,
    },
    /// The request's body broke off.
    #[error("the request's body broke off: {0}")]
    BodyBroken(String),
    /// A file of the TLS side cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// "read" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process works on the TLS directory and does not end.
    #[error("another process works on {path} and does not end; look for it with `fuser -v {path}`, then try again")]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// A certificate or key that cannot be used. The text says which, why and what to do; never what is in a key.
    #[error("{0}")]
    Certificate(String),
    /// A request waits for its certificate already, and another one would take its key away.
    #[error("a request made on {at} still waits for its certificate, and its key would be lost")]
    Pending {
        /// When it was made.
        at: Timestamp,
    },
    /// A name that the site CA may not sign for.
    #[error(
        "the site CA may not sign for {name}: it is limited to {scope}; make another with `waystation tls ca create --for \
         DOMAIN --replace` and give its certificate to the clients"
    )]
    NameOutside {
        /// The refused name or address.
        name: String,
        /// What the CA is limited to.
        scope: String,
    },
    /// A name that is none.
    #[error("{name:?} is neither a host name nor an address; write names in ASCII, international ones as xn--...")]
    BadName {
        /// At most 100 characters of it.
        name: String,
    },
    /// The password of a PFX file is wrong, or the file is damaged.
    #[error("cannot open the PFX data: {0}; check the password, or export it again with AES256 and SHA256")]
    Pfx(String),
    /// The TLS library refuses something that we made.
    #[error("the TLS library refused: {0}")]
    Tls(#[from] rustls::Error),
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::BodyTooLong { .. } | Self::BodyTooSlow { .. } | Self::BodyBroken(_) => Fault::Client,
            Self::File { .. } => Fault::Disk,
            Self::Register(_) | Self::Tls(_) | Self::Make(_) => Fault::Us,
            Self::AddressInUse { .. }
            | Self::AddressForbidden { .. }
            | Self::AddressForeign { .. }
            | Self::Listen { .. }
            | Self::Busy { .. }
            | Self::Certificate(_)
            | Self::Pending { .. }
            | Self::NameOutside { .. }
            | Self::BadName { .. }
            | Self::Pfx(_) => Fault::Operator,
        }
    }

    /// Whether the same thing may work later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::AddressInUse { .. }
                | Self::Busy { .. }
                | Self::BodyTooSlow { .. }
                | Self::BodyBroken(_)
                | Self::File { .. }
                | Self::Register(_)
        )
    }
}
