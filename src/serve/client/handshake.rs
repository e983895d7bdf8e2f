//! The handshake (MS-WUSP 3.1.5.1 to 3.1.5.5) and whose a cookie is: step 3 of the room's sequence.
//!
//! An agent that comes from another server holds updates under that one's numbers. Where it shows such a cookie when it takes one of
//! ours, ours says so; the first question with that one is refused with `ServerChanged`, so that the agent takes a new one and maps what
//! it holds (`RefreshCache`). Where it asks with another server's cookie at once, that one is refused the same way.

use std::sync::Arc;

use crate::base::time::Timestamp;
use crate::fleet::registry::{Called, Seat};
use crate::model::deployment::Endpoint;
use crate::model::update::UpdateId;
use crate::serve::client::cookie::{Ticket, Unsealed, Use, targets};
use crate::serve::client::error::Error;
use crate::serve::client::route::{Asked, Said};
use crate::serve::client::{Config, Scans};
use crate::wire::soap::Version;
use crate::wire::wsusss::authorize::{AuthorizationCookie, Cookie, PlugIn};
use crate::wire::wsusss::values::{Opaque, Time};
use crate::wire::wusp::handshake::{GetAuthorizationCookie, GetCookie};
use crate::wire::wusp::{Face, FaultCode, Method, answer};

/// Updates of which more may be asked at once, as WSUS servers have it.
pub(super) const EXTENDED_MAX: usize = 50;

/// What identifies endpoints: by an id that they chose, and the groups that they name.
const PLUG_IN: &str = "SimpleTargeting";

/// What the server speaks: below 3.2 agents do not scan for categories.
const PROTOCOL: &str = "3.2";

/// Why an agent has to map what it holds: its numbers are another server's, or those of this one before it was put back.
pub(super) const FOREIGN: &str =
    "the agent comes from another server, and has not asked what stands for the updates that it holds";

/// Whether an endpoint must have registered, and be served, for what it asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It must.
    Registered,
    /// It must, and may hold numbers that another server gave: it asks what stands for them here, or holds none.
    Mapping,
    /// It is about to, or need not.
    Any,
}

/// What the server can do; the properties in the order of a real server, since agents insist on some.
fn config(config: &Config) -> answer::Config {
    let properties = [
        ("MaxExtendedUpdatesPerRequest", EXTENDED_MAX.to_string()),
        // Nothing lies there: programs that publish their own updates put them on WSUS servers.
        ("PackageServerShare", format!("\\\\{}\\UpdateServicesPackages", config.name)),
        ("ProtocolVersion", PROTOCOL.to_owned()),
        ("IsInventoryRequired", "0".to_owned()),
        ("ClientReportingLevel", "2".to_owned()),
    ];
    answer::Config {
        last_change: Time::new(config.changed),
        is_registration_required: true,
        plug_ins: vec![PlugIn {
            id: PLUG_IN.to_owned(),
            service_url: Face::Auth.path().trim_start_matches('/').to_owned(),
            parameter: Some(String::new()),
        }],
        properties: properties.map(|(name, value)| (name.to_owned(), value)).into(),
    }
}

/// `2.90`; what is none is the oldest.
fn protocol(text: &str) -> (u16, u16) {
    let (major, minor) = text.trim().split_once('.').unwrap_or((text.trim(), "0"));
    let minor = minor.split('.').next().unwrap_or_default();
    (major.parse().unwrap_or_default(), minor.parse().unwrap_or_default())
}

impl Scans {
    /// To `GetConfig` and `GetConfig2`.
    pub(super) fn config(&self, version: Version, method: Method) -> Said {
        Said::Whole(answer::config(version, method, &config(&self.config)))
    }

    /// To `GetAuthorizationCookie`.
    pub(super) fn authorize(
        &self,
        version: Version,
        request: &GetAuthorizationCookie,
        asked: &mut Asked,
    ) -> Result<Said, Error> {
        let client: UpdateId = request
            .client_id
            .trim()
            .parse()
            .map_err(|error| Error::parameter("clientId", format!("the id of an endpoint is none: {error}")))?;
        asked.client = Some(client);
        let (name, groups) = (Called::of(&request.dns_name), request.target_groups.as_deref().unwrap_or_default());
        let ticket = self.ticket(Use::Authorize, client, name, targets(groups), (0, 0));
        let data = Opaque::new(&self.keys.sealer().seal(&ticket)?);
        let cookie = AuthorizationCookie { plug_in_id: PLUG_IN.to_owned(), data };
        Ok(Said::Whole(answer::authorization(version, &cookie)))
    }

    fn ticket(&self, of: Use, client: UpdateId, name: Called, targets: Vec<String>, protocol: (u16, u16)) -> Ticket {
        Ticket {
            of,
            client: *client.bytes(),
            name,
            targets,
            session: 0,
            until: self.clock.now().after(self.config.cookie_life),
            machine: None,
            config: self.config.changed,
            mark: 0,
            whose: 0,
            part: None,
            protocol,
            foreign: false,
        }
    }

    /// To `GetCookie`.
    pub(super) fn give_cookie(&self, version: Version, request: &GetCookie, asked: &mut Asked) -> Result<Said, Error> {
        let none =
            || Error::refused(FaultCode::InvalidAuthorizationCookie, "the authorization is none of this server's");
        let shown = request.authorization.iter().find(|cookie| cookie.plug_in_id == PLUG_IN).ok_or_else(none)?;
        let sealed = shown.data.bytes().ok_or_else(none)?;
        let who = self.keys.sealer().open(&sealed).map_err(|_| none())?;
        let is_good = who.of == Use::Authorize && who.until > self.clock.now();
        if !is_good {
            return Err(none());
        }
        asked.client = Some(who.client());
        if request.last_change.as_ref().and_then(Time::at).is_some_and(|known| known < self.config.changed) {
            return Err(Error::refused(FaultCode::ConfigChanged, "the agent knows an earlier configuration"));
        }
        let mut session = [0; 8];
        getrandom::fill(&mut session).map_err(|_| Error::Sealing)?;
        let protocol = protocol(&request.protocol_version);
        let mut ticket = self.ticket(Use::Ask, who.client(), who.name, who.targets, protocol);
        // 0 is the number of none.
        ticket.session = u64::from_le_bytes(session).max(1);
        match request.old.as_ref().map(|old| self.opened(old)) {
            // What the agent was told of changes it still knows.
            Some(Ok(old)) if old.client == ticket.client && !old.foreign => {
                (ticket.mark, ticket.whose) = (old.mark, old.whose);
                // A copy of the machine has its cookie too, and once it has a name of its own it must say what it is.
                if (old.name, &old.targets) == (ticket.name, &ticket.targets) {
                    ticket.machine = self.members.machine(&old);
                }
            }
            Some(Err(_)) => ticket.foreign = true,
            Some(Ok(old)) => ticket.foreign = old.foreign && !self.members.has_mapped(&old),
            None => {}
        }
        asked.seat = self.seat(&ticket);
        Ok(Said::Whole(answer::cookie(version, &self.cookie(&ticket)?)))
    }

    /// What is known of the endpoint of a ticket, where it is the machine that its id is bound to, and is served.
    fn seat(&self, ticket: &Ticket) -> Option<Arc<Seat>> {
        let seat = self.registry.seat(Endpoint(ticket.client()));
        seat.filter(|seat| seat.is_served && Some(seat.machine) == ticket.machine)
    }

    fn opened(&self, cookie: &Cookie) -> Result<Ticket, Unsealed> {
        let bytes = cookie.data.as_ref().and_then(Opaque::bytes).ok_or(Unsealed::Unreadable)?;
        self.keys.sealer().open(&bytes)
    }

    /// The cookie of a ticket.
    pub(super) fn cookie(&self, ticket: &Ticket) -> Result<Cookie, Error> {
        let data = Some(Opaque::new(&self.keys.sealer().seal(ticket)?));
        Ok(Cookie { expiration: Time::new(ticket.until), data })
    }

    /// What the cookie of a request says, if it may ask.
    pub(super) fn admit(&self, cookie: Option<&Cookie>, need: Need, asked: &mut Asked) -> Result<Ticket, Error> {
        let refused = |code, why: &str| Err(Error::refused(code, why));
        let Some(cookie) = cookie else { return refused(FaultCode::InvalidCookie, "there is no cookie") };
        let mut ticket = match self.opened(cookie) {
            Ok(ticket) => ticket,
            Err(Unsealed::Elsewhere) => {
                return refused(FaultCode::ServerChanged, "the cookie is that of another node");
            }
            Err(Unsealed::OtherEpoch) => {
                return refused(FaultCode::ServerChanged, "the store was put back since the cookie was given out");
            }
            Err(Unsealed::Unreadable) => {
                return refused(FaultCode::InvalidCookie, "the cookie is none of this server's");
            }
        };
        asked.client = Some(ticket.client());
        if ticket.of != Use::Ask {
            return refused(FaultCode::InvalidCookie, "the cookie is one for GetCookie");
        }
        if ticket.foreign && self.members.has_mapped(&ticket) {
            ticket.foreign = false;
        }
        if ticket.foreign && need == Need::Registered {
            return refused(FaultCode::ServerChanged, FOREIGN);
        }
        if ticket.until <= self.clock.now() {
            return refused(FaultCode::CookieExpired, "the cookie has ended");
        }
        if ticket.config < self.config.changed {
            return refused(FaultCode::ConfigChanged, "the cookie is older than the configuration");
        }
        if !self.requests_of.may(Endpoint(ticket.client()), self.clock.now()) {
            self.counters.looped();
            return refused(FaultCode::ServerBusy, "this endpoint asks again and again: it may in an hour");
        }
        ticket.machine = self.members.machine(&ticket);
        asked.seat = self.seat(&ticket);
        if need != Need::Any && asked.seat.is_none() {
            return refused(
                FaultCode::RegistrationRequired,
                "the endpoint has not registered, or is not let in, or its id belongs to another machine",
            );
        }
        Ok(ticket)
    }

    /// Now.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart_by_their_numbers() {
        assert_eq!([protocol("2.90"), protocol("1.8"), protocol("3")], [(2, 90), (1, 8), (3, 0)]);
        assert_eq!([protocol(""), protocol("x.y"), protocol("1.20.3")], [(0, 0), (0, 0), (1, 20)]);
        assert!(protocol("1.20") > protocol("1.8"));
    }
}
