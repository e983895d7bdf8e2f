//! Requests of any kind, out of their envelopes.

use std::io::BufRead;

use crate::wire::error::{Error, shown};
use crate::wire::soap::{self, Limits, Message, Reader, Version};
use crate::wire::wusp::error::{Read, Refused, Wrong};
use crate::wire::wusp::handshake::{GetAuthorizationCookie, GetConfig, GetCookie, RegisterComputer};
use crate::wire::wusp::info::{GetExtendedUpdateInfo, GetExtendedUpdateInfo2, GetFileLocations, RefreshCache};
use crate::wire::wusp::method::{Face, Method};
use crate::wire::wusp::report::{GetRequiredInventoryType, GetRollupConfiguration, ReportEventBatch, ReportInventory};
use crate::wire::wusp::sync::{StartCategoryScan, SyncPrinterCatalog, SyncUpdates};

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// At the client service: `GetConfig` and `GetConfig2`.
    Config(GetConfig),
    /// At the client service.
    Cookie(GetCookie),
    /// At the client service.
    Register(Box<RegisterComputer>),
    /// At the client service.
    CategoryScan(StartCategoryScan),
    /// At the client service.
    Sync(Box<SyncUpdates>),
    /// At the client service.
    Printers(SyncPrinterCatalog),
    /// At the client service.
    Refresh(RefreshCache),
    /// At the client service.
    Extended(GetExtendedUpdateInfo),
    /// At the client service.
    Extended2(GetExtendedUpdateInfo2),
    /// At the client service.
    Locations(GetFileLocations),
    /// At the service that gives out authorization cookies.
    Authorize(GetAuthorizationCookie),
    /// At the reporting service: `ReportEventBatch` and `ReportEventBatch2`.
    Events(ReportEventBatch),
    /// At the reporting service.
    InventoryType(GetRequiredInventoryType),
    /// At the reporting service.
    Inventory(ReportInventory),
    /// At the reporting service.
    Rollup(GetRollupConfiguration),
}

/// A request with what its answer must know of its form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which SOAP it was in; the answer is in the same.
    pub version: Version,
    /// Which operation it is.
    pub method: Method,
    /// What it says.
    pub request: Request,
}

/// The request to `face` that these bytes are. At most [`Limits::REQUEST`] is read. The dispatch is by the first element in
/// the body, not by SOAPAction.
pub fn decode<R: BufRead>(face: Face, input: R) -> Result<Asked, Box<Refused>> {
    let (mut version, mut method) = (Version::default(), None);
    match understand(face, input, &mut version, &mut method) {
        Ok((method, request)) => Ok(Asked { version, method, request }),
        Err(Wrong { code, parameter, error }) => {
            Err(Box::new(Refused { face, version, method, code, parameter, error }))
        }
    }
}

fn understand<R: BufRead>(
    face: Face,
    input: R,
    version: &mut Version,
    named: &mut Option<Method>,
) -> Read<(Method, Request)> {
    let mut reader = match soap::open(input, Limits::REQUEST)? {
        Message::Operation(reader) => reader,
        Message::Fault(fault) => {
            *version = fault.version;
            return Err(Error::Unexpected { wanted: "a request".to_owned(), got: "Fault".to_owned() }.into());
        }
    };
    *version = reader.version();
    let Some(method) = Method::of(face, reader.namespace(), reader.name()) else {
        let got = shown(&format!("{{{}}}{}", reader.namespace(), reader.name()));
        let wanted = format!("an operation of {}", face.path());
        return Err(Error::Unexpected { wanted, got }.into());
    };
    *named = Some(method);
    let request = read(method, &mut reader)?;
    reader.close()?;
    Ok((method, request))
}

fn read<R: BufRead>(method: Method, reader: &mut Reader<R>) -> Read<Request> {
    Ok(match method {
        Method::GetConfig => Request::Config(GetConfig::read(reader)?),
        Method::GetConfig2 => Request::Config(GetConfig::read2(reader)?),
        Method::GetCookie => Request::Cookie(GetCookie::read(reader)?),
        Method::RegisterComputer => Request::Register(Box::new(RegisterComputer::read(reader)?)),
        Method::StartCategoryScan => Request::CategoryScan(StartCategoryScan::read(reader)?),
        Method::SyncUpdates => Request::Sync(Box::new(SyncUpdates::read(reader)?)),
        Method::SyncPrinterCatalog => Request::Printers(SyncPrinterCatalog::read(reader)?),
        Method::RefreshCache => Request::Refresh(RefreshCache::read(reader)?),
        Method::GetExtendedUpdateInfo => Request::Extended(GetExtendedUpdateInfo::read(reader)?),
        Method::GetExtendedUpdateInfo2 => Request::Extended2(GetExtendedUpdateInfo2::read(reader)?),
        Method::GetFileLocations => Request::Locations(GetFileLocations::read(reader)?),
        Method::GetAuthorizationCookie => Request::Authorize(GetAuthorizationCookie::read(reader)?),
        Method::ReportEventBatch | Method::ReportEventBatch2 => Request::Events(ReportEventBatch::read(reader)?),
        Method::GetRequiredInventoryType => Request::InventoryType(GetRequiredInventoryType::read(reader)?),
        Method::ReportInventory => Request::Inventory(ReportInventory::read(reader)?),
        Method::GetRollupConfiguration => Request::Rollup(GetRollupConfiguration::read(reader)?),
    })
}
