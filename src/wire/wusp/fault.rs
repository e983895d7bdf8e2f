//! Refusals in the protocol's own words (MS-WUSP 2.2.2.4). HTTP status 500 belongs to them.

use crate::wire::soap::{Detail, Fault, Side, Version};
use crate::wire::wusp::method::{Face, Method};

/// Why a request is refused; case counts. The agent's reaction stands in MS-WUSP 2.2.2.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultCode {
    /// The cookie cannot be read: the whole handshake again, then `RefreshCache`.
    InvalidCookie,
    /// This is another server than the cookie's, or has been set back: the same.
    ServerChanged,
    /// The configuration is newer than the cookie's: the handshake again.
    ConfigChanged,
    /// The cookie has ended: `GetAuthorizationCookie` and `GetCookie` again.
    CookieExpired,
    /// `RegisterComputer` first.
    RegistrationRequired,
    /// `RegisterComputer` is not wanted.
    RegistrationNotRequired,
    /// The authorization cookie cannot be read.
    InvalidAuthorizationCookie,
    /// A parameter is wrong; the message names it.
    InvalidParameters,
    /// Something failed here: again, later.
    InternalServerError,
    /// Too much to do: again, later.
    ServerBusy,
    /// Files are elsewhere now: `GetFileLocations`.
    FileLocationChanged,
}

impl FaultCode {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::InvalidCookie,
        Self::ServerChanged,
        Self::ConfigChanged,
        Self::CookieExpired,
        Self::RegistrationRequired,
        Self::RegistrationNotRequired,
        Self::InvalidAuthorizationCookie,
        Self::InvalidParameters,
        Self::InternalServerError,
        Self::ServerBusy,
        Self::FileLocationChanged,
    ];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidCookie => "InvalidCookie",
            Self::ServerChanged => "ServerChanged",
            Self::ConfigChanged => "ConfigChanged",
            Self::CookieExpired => "CookieExpired",
            Self::RegistrationRequired => "RegistrationRequired",
            Self::RegistrationNotRequired => "RegistrationNotRequired",
            Self::InvalidAuthorizationCookie => "InvalidAuthorizationCookie",
            Self::InvalidParameters => "InvalidParameters",
            Self::InternalServerError => "InternalServerError",
            Self::ServerBusy => "ServerBusy",
            Self::FileLocationChanged => "FileLocationChanged",
        }
    }

    /// Whom it blames: what only this side can mend is its own.
    const fn side(self) -> Side {
        match self {
            Self::InternalServerError | Self::ServerBusy => Side::Server,
            _ => Side::Client,
        }
    }
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// By which service.
    pub face: Face,
    /// Of what; `None` where the request named no operation.
    pub method: Option<Method>,
    /// Why.
    pub code: FaultCode,
    /// More about that: the name of a parameter; mostly empty.
    pub message: &'a str,
    /// A GUID that finds it in the log.
    pub id: &'a str,
    /// The address of the service. A real client service says nothing here, the others do.
    pub actor: &'a str,
}

impl Refusal<'_> {
    /// The whole message.
    pub fn encode(&self, version: Version) -> Vec<u8> {
        let fault = Fault {
            version,
            side: self.code.side(),
            text: "Fault occurred".to_owned(),
            actor: self.actor.to_owned(),
            detail: Some(Detail {
                code: self.code.as_str().to_owned(),
                message: self.message.to_owned(),
                id: self.id.to_owned(),
                method: self.method.map(|method| format!("\"{}\"", method.action())).unwrap_or_default(),
            }),
        };
        fault.encode(self.face.style())
    }
}
