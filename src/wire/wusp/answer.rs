//! Answers that are written whole: of the handshake and to reports.

use std::io::{self, Write};

use crate::model::update::UpdateId;
use crate::wire::soap::{Version, Writer};
use crate::wire::wsusss::authorize::{AuthorizationCookie, Cookie, PlugIn};
use crate::wire::wsusss::field::{Field, Item};
use crate::wire::wsusss::values::Time;
use crate::wire::wusp::method::Method;

/// What the server can do: the answer to `GetConfig` (2.2.2.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// When any of this changed; an agent tells it when it asks for a cookie.
    pub last_change: Time,
    /// `RegisterComputer` is wanted.
    pub is_registration_required: bool,
    /// The service that gives out authorization cookies: `SimpleTargeting`, and its address relative to the server's root.
    pub plug_ins: Vec<PlugIn>,
    /// Names and values. Agents insist on some; `ProtocolVersion` below 3.2 keeps them from category scans.
    pub properties: Vec<(String, String)>,
}

/// Which reports a downstream server should pass on (MS-WSUSSS, the reporting service).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollupConfiguration {
    /// What happened on each machine, too.
    pub is_detailed: bool,
    /// A downstream server that knew another one sends everything again.
    pub reset: UpdateId,
    /// This server.
    pub server: UpdateId,
    /// How many servers, machines, numbers of machines and states of machines it may send at once.
    pub batches: [i32; 4],
}

/// Puts something into the element of an answer, and that into an envelope.
pub(super) fn envelope<W: Write>(
    out: W,
    version: Version,
    method: Method,
    inside: impl FnOnce(&mut Writer<W>) -> io::Result<()>,
) -> io::Result<W> {
    let mut out = begin(out, version, method)?;
    inside(&mut out)?;
    end(out, method)
}

/// Everything before what is in the element of an answer.
pub(super) fn begin<W: Write>(out: W, version: Version, method: Method) -> io::Result<Writer<W>> {
    let mut out = Writer::begin(out, version, method.face().style())?;
    out.open_in(&format!("{method}Response"), method.face().namespace())?;
    Ok(out)
}

/// Everything behind it.
pub(super) fn end<W: Write>(mut out: Writer<W>, method: Method) -> io::Result<W> {
    out.close(&format!("{method}Response"))?;
    out.finish()
}

/// The element of a result.
pub(super) fn result(method: Method) -> String {
    format!("{method}Result")
}

fn made(version: Version, method: Method, inside: impl FnOnce(&mut Writer<Vec<u8>>) -> io::Result<()>) -> Vec<u8> {
    // Writing into memory cannot fail.
    envelope(Vec::new(), version, method, inside).unwrap_or_default()
}

/// To `GetConfig` and `GetConfig2`.
pub fn config(version: Version, method: Method, config: &Config) -> Vec<u8> {
    let result = result(method);
    made(version, method, |out| {
        out.open(&result)?;
        config.last_change.write(out, "LastChange")?;
        config.is_registration_required.write(out, "IsRegistrationRequired")?;
        config.plug_ins.write(out, "AuthInfo")?;
        out.open("Properties")?;
        for (name, value) in &config.properties {
            out.open("ConfigurationProperty")?;
            out.leaf("Name", name)?;
            out.leaf("Value", value)?;
            out.close("ConfigurationProperty")?;
        }
        out.close("Properties")?;
        out.close(&result)
    })
}

/// To `GetAuthorizationCookie`.
pub fn authorization(version: Version, cookie: &AuthorizationCookie) -> Vec<u8> {
    let method = Method::GetAuthorizationCookie;
    made(version, method, |out| cookie.write(out, &result(method)))
}

/// To `GetCookie`.
pub fn cookie(version: Version, cookie: &Cookie) -> Vec<u8> {
    made(version, Method::GetCookie, |out| cookie.write(out, &result(Method::GetCookie)))
}

/// To `RegisterComputer`, which answers nothing.
pub fn registered(version: Version) -> Vec<u8> {
    let method = Method::RegisterComputer;
    let write = || {
        let mut out = Writer::begin(Vec::new(), version, method.face().style())?;
        out.empty_in(&format!("{method}Response"), method.face().namespace())?;
        out.finish()
    };
    // Writing into memory cannot fail.
    write().unwrap_or_default()
}

/// To `StartCategoryScan`: which categories the scan is limited to, and which ones are not known.
pub fn category_scan(version: Version, preferred: &[UpdateId], unknown: &[UpdateId]) -> Vec<u8> {
    made(version, Method::StartCategoryScan, |out| {
        array(out, "preferredCategoryIds", preferred)?;
        // A real server leaves it out where there is nothing in it.
        if unknown.is_empty() { Ok(()) } else { array(out, "requestedCategoryIdsInError", unknown) }
    })
}

/// To `ReportEventBatch`, `ReportEventBatch2` and `ReportInventory`: whether it was taken.
pub fn taken(version: Version, method: Method, is_taken: bool) -> Vec<u8> {
    made(version, method, |out| is_taken.write(out, &result(method)))
}

/// To `GetRequiredInventoryType`: zero where none is wanted.
pub fn inventory_type(version: Version, kind: i32) -> Vec<u8> {
    let method = Method::GetRequiredInventoryType;
    made(version, method, |out| kind.write(out, &result(method)))
}

/// To `GetRollupConfiguration`.
pub fn rollup(version: Version, rollup: &RollupConfiguration) -> Vec<u8> {
    let method = Method::GetRollupConfiguration;
    let result = result(method);
    let names = [
        "RollupDownstreamServersMaxBatchSize",
        "RollupComputersMaxBatchSize",
        "GetOutOfSyncComputersMaxBatchSize",
        "RollupComputerStatusMaxBatchSize",
    ];
    made(version, method, |out| {
        out.open(&result)?;
        rollup.is_detailed.write(out, "DoDetailedRollup")?;
        rollup.reset.write(out, "RollupResetGuid")?;
        rollup.server.write(out, "ServerId")?;
        for (name, count) in names.into_iter().zip(rollup.batches) {
            count.write(out, name)?;
        }
        out.close(&result)
    })
}

/// An array; an empty tag where there is nothing in it.
pub(super) fn array<W: Write, T: Item>(out: &mut Writer<W>, name: &str, items: &[T]) -> io::Result<()> {
    if items.is_empty() {
        return out.empty(name);
    }
    out.open(name)?;
    for item in items {
        item.write(out, T::NAME)?;
    }
    out.close(name)
}
