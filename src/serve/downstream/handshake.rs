//! From nothing to a cookie that may ask, and what a server is told before it lists (MS-WSUSSS 3.1.4.1 to 3.1.4.4).

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::model::filter::LANGUAGES;
use crate::model::update::UpdateId;
use crate::serve::client::Unsealed;
use crate::serve::downstream::{COOKIE_LIFE, Downstream, Error, anchor, parameter};
use crate::wire::wsusss::FaultCode;
use crate::wire::wsusss::authorize::{
    AuthConfig, AuthorizationCookie, Cookie, GetAuthorizationCookie, GetCookie, PlugIn,
};
use crate::wire::wsusss::config::{ConfigData, Language};
use crate::wire::wsusss::method::DSS_AUTH_PATH;
use crate::wire::wsusss::values::{Opaque, Time};

/// The one plug-in that there is (MS-WSUSSS 2.2.4.1).
const PLUG_IN: &str = "DssTargeting";

/// What is spoken: that of WSUS 10.
const PROTOCOL: &str = "1.20";

/// How many documents may be asked for at once, as a WSUS has it.
pub(super) const UPDATES_MAX: usize = 100;

/// What cookies of this face begin with.
const WORD: [u8; 4] = *b"WSD1";

/// The longest name of an account: that of a host (RFC 1035, 2.3.4).
const ACCOUNT_BYTES_MAX: usize = 255;

/// What a cookie says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ticket {
    /// Whether it may ask; else it is turned into one that may by `GetCookie`.
    asks: bool,
    /// Who the server says it is.
    pub(super) account: String,
    /// The id that it made for itself.
    id: [u8; 16],
    /// Until when it may be used.
    until: Timestamp,
}

/// Whether an account is one of these names, of which one that begins with `*.` stands for all that end so; none: any.
pub(super) fn is_among(account: &str, names: &[String]) -> bool {
    let account = account.to_ascii_lowercase();
    let fits = |name: &String| {
        let name = name.to_ascii_lowercase();
        match name.strip_prefix('*') {
            Some(end) if end.starts_with('.') => account.len() > end.len() && account.ends_with(end),
            _ => account == name,
        }
    };
    names.is_empty() || names.iter().any(fits)
}

/// To `GetAuthConfig`.
pub(super) fn auth_config(now: Timestamp) -> AuthConfig {
    let service_url = DSS_AUTH_PATH.trim_start_matches('/').to_owned();
    let plug_in = PlugIn { id: PLUG_IN.to_owned(), service_url, parameter: Some(String::new()) };
    AuthConfig { last_change: Time::new(now), plug_ins: vec![plug_in], allowed_event_ids: None }
}

impl Downstream {
    /// To `GetAuthorizationCookie`.
    pub(super) fn authorize(&self, request: &GetAuthorizationCookie) -> Result<AuthorizationCookie, Error> {
        let account = request.account_name.trim();
        if account.is_empty() || account.len() > ACCOUNT_BYTES_MAX {
            return Err(parameter("accountName", "the server says no name, or one that no host has"));
        }
        if !is_among(account, &self.config.accounts) {
            return Err(parameter(
                "accountName",
                format!("the account {account:?} is not among [downstream] accounts"),
            ));
        }
        let ticket = self.ticket(false, account.to_owned(), request.account_guid);
        Ok(AuthorizationCookie { plug_in_id: PLUG_IN.to_owned(), data: self.seal(&ticket)? })
    }

    fn ticket(&self, asks: bool, account: String, id: UpdateId) -> Ticket {
        Ticket { asks, account, id: *id.bytes(), until: self.clock.now().after(COOKIE_LIFE) }
    }

    fn seal(&self, ticket: &Ticket) -> Result<Opaque, Error> {
        self.scans.seal_as(WORD, ticket).map(|bytes| Opaque::new(&bytes)).ok_or(Error::Sealing)
    }

    /// To `GetCookie`.
    pub(super) fn cookie(&self, request: &GetCookie) -> Result<Cookie, Error> {
        let none =
            || Error::refused(FaultCode::InvalidAuthorizationCookie, "the authorization is none of this server's");
        if request.protocol_version.trim().split('.').next() != Some("1") {
            let why = format!("the server speaks {:?}, and this one {PROTOCOL}", request.protocol_version);
            return Err(Error::refused(FaultCode::IncompatibleProtocolVersion, why));
        }
        let shown = request.authorization.iter().find(|cookie| cookie.plug_in_id == PLUG_IN).ok_or_else(none)?;
        let sealed = shown.data.bytes().ok_or_else(none)?;
        let who: Ticket = self.scans.open_as(WORD, &sealed).map_err(|_| none())?;
        if who.asks || who.until <= self.clock.now() {
            return Err(none());
        }
        let ticket = self.ticket(true, who.account, UpdateId::new(who.id));
        Ok(Cookie { expiration: Time::new(ticket.until), data: Some(self.seal(&ticket)?) })
    }

    /// Who asks, if the cookie lets it.
    pub(super) fn admit(&self, cookie: Option<&Cookie>) -> Result<Ticket, Error> {
        let refused = |code, why: &str| Err(Error::refused(code, why));
        let sealed = cookie.and_then(|cookie| cookie.data.as_ref()).and_then(Opaque::bytes);
        let Some(sealed) = sealed else { return refused(FaultCode::InvalidCookie, "there is no cookie") };
        let ticket: Ticket = match self.scans.open_as(WORD, &sealed) {
            Ok(ticket) => ticket,
            Err(Unsealed::Elsewhere) => return refused(FaultCode::ServerChanged, "the cookie is that of another node"),
            Err(Unsealed::OtherEpoch) => {
                return refused(FaultCode::ServerChanged, "the store was put back since the cookie was given out");
            }
            Err(Unsealed::Unreadable) => {
                return refused(FaultCode::InvalidCookie, "the cookie is none of this server's");
            }
        };
        if !ticket.asks || ticket.until <= self.clock.now() {
            return refused(FaultCode::InvalidCookie, "the cookie has ended, or is one for GetCookie");
        }
        // Who was struck from the list asks no more, whatever it holds.
        if !is_among(&ticket.account, &self.config.accounts) {
            return refused(FaultCode::InvalidCookie, "the account is not among [downstream] accounts any more");
        }
        Ok(ticket)
    }

    /// To `GetConfigData`.
    pub(super) async fn config_data(&self, known: Option<&str>) -> Result<ConfigData, Error> {
        let known = known.map(str::trim).filter(|known| !known.is_empty());
        if known.is_some_and(|known| anchor::read(known).is_none()) {
            return Err(parameter("configAnchor", "the anchor is none of this server's"));
        }
        let standing = self.catalog.standing().await?;
        let all = || -> Vec<Language> {
            let zero = Language { id: 0, short: "all".to_owned(), long: "all".to_owned(), enabled: true };
            let of = |known: &crate::model::filter::Language| Language {
                id: known.id,
                short: known.short.to_owned(),
                long: known.long.to_owned(),
                enabled: true,
            };
            std::iter::once(zero).chain(LANGUAGES.iter().map(of)).collect()
        };
        Ok(ConfigData {
            catalog_only: false,
            lazy: true,
            hosts_psf_files: false,
            computer_ids_max: Some(0),
            driver_sets_max: Some(0),
            hardware_ids_max: Some(0),
            updates_max: u32::try_from(UPDATES_MAX).unwrap_or(u32::MAX),
            anchor: Some(anchor::write(standing.generation, standing.clock)),
            protocol_version: Some(PROTOCOL.to_owned()),
            // They are part of the program, so that none has changed.
            languages: if known.is_some() { vec![] } else { all() },
            decryption_max: Some(u32::try_from(UPDATES_MAX).unwrap_or(u32::MAX)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_names_or_ends_of_names() {
        let names = ["wsus.berlin.example".to_owned(), "*.munich.example".to_owned(), "*odd".to_owned()];
        for fits in ["wsus.berlin.example", "WSUS.Berlin.Example", "a.munich.example", "a.b.MUNICH.example", "*odd"] {
            assert!(is_among(fits, &names), "{fits}");
        }
        for other in ["wsus", "x.wsus.berlin.example", "munich.example", ".munich.example", "evilmunich.example", "odd"]
        {
            assert!(!is_among(other, &names), "{other}");
        }
        assert!(is_among("anybody", &[]));
    }
}
