//! What a machine says of itself (`RegisterComputer`, MS-WUSP 2.2.2.2.3), and that an endpoint was in touch.
//!
//! Who is not served is told so here, and nowhere else: every other request of it is refused with `RegistrationRequired`, which sends it
//! here. What passes by itself (its network brings too many new ones, the store is full) is `ServerBusy`; what a person has to do
//! something about (held, refused, contested) is `InvalidParameters`, which is one of the words after which an agent ends its scan, begins
//! no handshake anew and comes again at its next detection.

use std::net::IpAddr;

use crate::base::time::Timestamp;
use crate::fleet::registry::Registered;
use crate::model::deployment::Endpoint;
use crate::model::update::UpdateId;
use crate::serve::client::Scans;
use crate::serve::client::cookie::Ticket;
use crate::serve::client::error::Error;
use crate::serve::client::handshake::Need;
use crate::serve::client::route::{Asked, Said};
use crate::store::fleet::{Bios, Contact, Os, Registration};
use crate::wire::soap::Version;
use crate::wire::wsusss::authorize::Cookie;
use crate::wire::wusp::handshake::{Computer, RegisterComputer};
use crate::wire::wusp::{FaultCode, Method, answer};

/// What a refusal names, since all that a machine is told apart by stands there.
const PARAMETER: &str = "computerInfo";

/// Zero where it is not said, or is no number of this kind.
fn number(told: Option<i32>) -> u32 {
    told.and_then(|told| u32::try_from(told).ok()).unwrap_or_default()
}

/// A machine that came with this ticket.
fn registration(ticket: &Ticket, computer: &Computer, address: IpAddr, at: Timestamp) -> Registration {
    let day = |at: Timestamp| at.to_string().chars().take(10).collect();
    let version = computer.client_version;
    let parts = version.map(|part| number(part).to_string());
    Registration {
        endpoint: Endpoint(ticket.client()),
        name: computer.dns_name.trim().to_owned(),
        os: Os {
            major: number(computer.os_major),
            minor: number(computer.os_minor),
            build: number(computer.os_build),
            pack_major: number(computer.service_pack_major),
            pack_minor: number(computer.service_pack_minor),
            product: number(computer.old_product_type),
        },
        maker: computer.manufacturer.trim().to_owned(),
        model: computer.model.trim().to_owned(),
        bios: Bios {
            name: computer.bios_name.clone(),
            version: computer.bios_version.clone(),
            date: computer.bios_released.map(day).unwrap_or_default(),
        },
        architecture: computer.architecture.clone(),
        client_version: if version == [None; 4] { String::new() } else { parts.join(".") },
        targets: ticket.targets.clone(),
        address,
        at,
    }
}

impl Scans {
    /// To `RegisterComputer`.
    pub(super) async fn register(
        &self,
        version: Version,
        request: &RegisterComputer,
        asked: &mut Asked,
    ) -> Result<Said, Error> {
        let ticket = self.admit(request.cookie.as_ref(), Need::Any, asked)?;
        let told = registration(&ticket, &request.computer, asked.peer.remote.ip(), self.now());
        let name = told.name.clone();
        let (registered, machine) = self.registry.register(told).await?;
        self.counters.registered(registered);
        // Who is not known has no seat that its cookies could be for.
        if machine.is_some() || self.registry.seat(Endpoint(ticket.client())).is_some() {
            self.members.told(&ticket, machine);
        }
        let why = match registered {
            Registered::Accepted => return Ok(Said::Whole(answer::registered(version))),
            Registered::TooMany => {
                let why =
                    format!("{name:?} is new, and its network brings more new endpoints than are taken in an hour");
                return Err(Error::refused(FaultCode::ServerBusy, why));
            }
            Registered::Busy => {
                let why = format!("{name:?} is new, and more machines register than are written down in a second");
                return Err(Error::refused(FaultCode::ServerBusy, why));
            }
            Registered::Held => "is held: `waystation endpoints admit` lets it in",
            Registered::Refused => "is new, and [scan] unknown refuses new endpoints from there",
            Registered::Contested => {
                "comes with the id of another machine: `waystation endpoints list --contested` shows both"
            }
        };
        Err(Error::parameter(PARAMETER, format!("{name:?} {why}")))
    }

    /// Whose report it is, where that can be relied on: the machine that the id is bound to; or, since agents may report with a cookie that
    /// they have taken anew and have not registered with, whoever has the id and the name of that machine.
    pub(super) fn believed(&self, cookie: Option<&Cookie>, asked: &mut Asked) -> Result<Option<UpdateId>, Error> {
        let ticket = self.admit(cookie, Need::Any, asked)?;
        if asked.seat.is_none() && ticket.machine.is_none() {
            let seat = self.registry.seat(Endpoint(ticket.client()));
            asked.seat = seat.filter(|seat| seat.is_served && seat.is_called(ticket.name));
        }
        Ok(asked.seat.as_ref().map(|seat| seat.endpoint.0))
    }

    /// Notes that an endpoint was in touch, of those who are sure to be what they say.
    pub(super) fn heard(&self, method: Method, asked: &Asked) {
        let Some(seat) = &asked.seat else { return };
        let contact = match method {
            Method::SyncUpdates | Method::RefreshCache => Contact::Scan,
            Method::GetExtendedUpdateInfo | Method::GetExtendedUpdateInfo2 | Method::GetFileLocations => {
                Contact::Content
            }
            Method::ReportEventBatch | Method::ReportInventory => Contact::Report,
            Method::GetCookie | Method::GetRequiredInventoryType | Method::SyncPrinterCatalog => Contact::Handshake,
            // The registry notes the one, and the others say nothing that is sure.
            Method::RegisterComputer
            | Method::GetConfig
            | Method::GetConfig2
            | Method::StartCategoryScan
            | Method::GetAuthorizationCookie
            | Method::ReportEventBatch2
            | Method::GetRollupConfiguration => return,
        };
        self.registry.contact(seat.endpoint, asked.peer.remote.ip(), contact, self.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_no_number() {
        assert_eq!([number(None), number(Some(-5)), number(Some(26_200))], [0, 0, 26_200]);
    }
}
