//! From nothing to a cookie that may ask (MS-WSUSSS 3.1.4.1 to 3.1.4.3): `GetAuthConfig` names the service that gives out
//! authorization cookies, `GetAuthorizationCookie` gets one there, `GetCookie` turns it into the cookie that every other
//! request carries.

use std::io::{self, BufRead, Write};

use crate::base::time::Timestamp;
use crate::model::update::UpdateId;
use crate::wire::error::Result;
use crate::wire::soap::{Reader, Writer};
use crate::wire::wsusss::call::call;
use crate::wire::wsusss::field::{Field, Item, Record, record};
use crate::wire::wsusss::method::Method;
use crate::wire::wsusss::values::{Opaque, Time};

/// Asks how to authorize.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetAuthConfig;

impl Field for GetAuthConfig {
    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        reader.skip()?;
        Ok(Self)
    }

    fn write<W: Write>(&self, out: &mut Writer<W>, name: &str) -> io::Result<()> {
        out.empty(name)
    }
}

impl Record for GetAuthConfig {
    const FIELDS: usize = 0;

    fn write_fields<W: Write>(&self, _: &mut Writer<W>) -> io::Result<()> {
        Ok(())
    }
}

record! {
    /// How to authorize.
    AuthConfig {
        /// Not used between servers.
        "LastChange" last_change: Time,
        /// The services that give out authorization cookies; there is one.
        "AuthInfo" plug_ins: Vec<PlugIn>,
        /// Not used between servers.
        "AllowedEventIds" allowed_event_ids: Option<Vec<i32>>,
    }
}

record! {
    /// A service that gives out authorization cookies.
    PlugIn {
        /// `DssTargeting`.
        "PlugInID" id: String,
        /// Its address, relative to the root of the server, without a slash before it.
        "ServiceUrl" service_url: String,
        /// Not used.
        "Parameter" parameter: Option<String>,
    }
}

impl Item for PlugIn {
    const NAME: &'static str = "AuthPlugInInfo";
}

record! {
    /// Asks for an authorization cookie.
    GetAuthorizationCookie {
        /// The fully qualified name of the server that asks.
        "accountName" account_name: String,
        /// The id that it made for itself.
        "accountGuid" account_guid: UpdateId,
        /// Reserved: empty or absent.
        "programKeys" program_keys: Option<Vec<UpdateId>>,
    }
}

record! {
    /// Says who asks.
    AuthorizationCookie {
        /// `DssTargeting`.
        "PlugInId" plug_in_id: String,
        /// What only the server understands.
        "CookieData" data: Opaque,
    }
}

impl Item for AuthorizationCookie {
    const NAME: &'static str = "AuthorizationCookie";
}

record! {
    /// Asks for a cookie.
    GetCookie {
        /// Who asks; one of them.
        "authCookies" authorization: Vec<AuthorizationCookie>,
        /// The one had so far. One that has nothing but a time is none.
        "oldCookie" old: Option<Cookie>,
        /// `1.20`: what the one who asks speaks.
        "protocolVersion" protocol_version: String,
    }
}

record! {
    /// Lets its holder ask, until it ends.
    Cookie {
        /// When it ends.
        "Expiration" expiration: Time,
        /// What only the server understands.
        "EncryptedData" data: Option<Opaque>,
    }
}

impl Cookie {
    /// Whether it has ended at `now`. It must not be used from then on (MS-WSUSSS 2.2.4.4).
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.expiration.at().is_none_or(|end| end <= now)
    }
}

call!(GetAuthConfig, Method::GetAuthConfig, AuthConfig);
call!(GetAuthorizationCookie, Method::GetAuthorizationCookie, AuthorizationCookie);
call!(GetCookie, Method::GetCookie, Cookie);
