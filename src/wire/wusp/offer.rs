//! Answers of a scan: to `SyncUpdates` and `SyncPrinterCatalog` (MS-WUSP 2.2.2.2.4, 2.2.2.2.9), revision by revision, and to
//! `RefreshCache` (2.2.2.2.5).

use std::io::{self, Write};

use crate::model::update::Identity;
use crate::wire::soap::{Version, Writer};
use crate::wire::wsusss::authorize::Cookie;
use crate::wire::wsusss::field::Field;
use crate::wire::wusp::answer::{array, begin, end, envelope, result};
use crate::wire::wusp::deployment::Deployment;
use crate::wire::wusp::method::Method;
use crate::wire::wusp::parts::{Fragment, Parts};

/// What varies of a revision that is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// What this server calls it.
    pub id: i32,
    /// What is to be done with it.
    pub deployment: Deployment,
    /// No other update needs it. An agent goes on asking after one that is no leaf.
    pub is_leaf: bool,
}

impl Offered {
    fn write<W: Write>(&self, out: &mut Writer<W>) -> io::Result<()> {
        self.id.write(out, "ID")?;
        self.deployment.write(out)?;
        self.is_leaf.write(out, "IsLeaf")
    }
}

/// What an answer of a scan says beside the new revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Revisions that the agent should forget.
    pub out_of_scope: Vec<i32>,
    /// Revisions that the agent holds and that are to be treated otherwise than before.
    pub changed: Vec<Offered>,
    /// There is more.
    pub is_truncated: bool,
    /// What the agent asks with from now on.
    pub cookie: Cookie,
    /// Revisions that the agent should forget in this scan only. Only where the agent asked for two lists.
    pub deployed_out_of_scope: Option<Vec<i32>>,
    /// There are no drivers to ask for. Only for agents that speak 1.7 or later.
    pub no_drivers: Option<bool>,
}

/// An answer of a scan that is being written. Its order is that of a recorded server: an element that says nothing is left out.
#[derive(Debug)]
pub struct Offer {
    /// Writing into memory cannot fail, so it is always there.
    out: io::Result<Writer<Parts>>,
    method: Method,
    any: bool,
}

impl Offer {
    /// To `SyncUpdates`.
    pub fn updates(version: Version) -> Self {
        Self::begin(version, Method::SyncUpdates)
    }

    /// To `SyncPrinterCatalog`.
    pub fn printers(version: Version) -> Self {
        Self::begin(version, Method::SyncPrinterCatalog)
    }

    fn begin(version: Version, method: Method) -> Self {
        let begun = begin(Parts::default(), version, method).and_then(|mut out| {
            out.open(&result(method))?;
            Ok(out)
        });
        Self { out: begun, method, any: false }
    }

    /// How long it is so far: pages are measured by it.
    pub fn length(&mut self) -> usize {
        self.out.as_mut().map_or(0, |out| out.get_mut().len())
    }

    /// A new revision, with its core metadata.
    pub fn revision(&mut self, offered: &Offered, core: Fragment) {
        let is_first = !std::mem::replace(&mut self.any, true);
        if let Ok(out) = &mut self.out {
            // Writing into memory cannot fail.
            let _ = revision(out, is_first, offered, core);
        }
    }

    /// Everything behind the last one.
    pub fn finish(self, rest: &Rest) -> Parts {
        let Self { out, method, any } = self;
        let written = out.and_then(|mut out| {
            if any {
                out.close("NewUpdates")?;
            }
            rest.write(&mut out)?;
            out.close(&result(method))?;
            end(out, method)
        });
        written.unwrap_or_default()
    }
}

fn revision(out: &mut Writer<Parts>, is_first: bool, offered: &Offered, core: Fragment) -> io::Result<()> {
    if is_first {
        out.open("NewUpdates")?;
    }
    out.open("UpdateInfo")?;
    offered.write(out)?;
    out.open("Xml")?;
    out.get_mut().splice(core);
    out.close("Xml")?;
    out.close("UpdateInfo")
}

impl Rest {
    fn write<W: Write>(&self, out: &mut Writer<W>) -> io::Result<()> {
        if !self.out_of_scope.is_empty() {
            array(out, "OutOfScopeRevisionIDs", &self.out_of_scope)?;
        }
        if !self.changed.is_empty() {
            out.open("ChangedUpdates")?;
            for offered in &self.changed {
                out.open("UpdateInfo")?;
                offered.write(out)?;
                out.close("UpdateInfo")?;
            }
            out.close("ChangedUpdates")?;
        }
        self.is_truncated.write(out, "Truncated")?;
        self.cookie.write(out, "NewCookie")?;
        if let Some(revisions) = &self.deployed_out_of_scope {
            array(out, "DeployedOutOfScopeRevisionIds", revisions)?;
        }
        self.no_drivers.write(out, "DriverSyncNotNeeded")
    }
}

/// What this server calls an update that the agent holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// The update.
    pub identity: Identity,
    /// What this server says of it.
    pub offered: Offered,
}

/// To `RefreshCache`: those that are offered to the machine; the others are left out.
pub fn refreshed(version: Version, updates: &[Refreshed]) -> Vec<u8> {
    let method = Method::RefreshCache;
    // The array and its elements have the same name.
    let name = result(method);
    let write = |out: &mut Writer<Vec<u8>>| {
        if updates.is_empty() {
            return out.empty(&name);
        }
        out.open(&name)?;
        for update in updates {
            out.open(&name)?;
            update.offered.id.write(out, "RevisionID")?;
            update.identity.write(out, "GlobalID")?;
            update.offered.is_leaf.write(out, "IsLeaf")?;
            update.offered.deployment.write(out)?;
            out.close(&name)?;
        }
        out.close(&name)
    };
    // Writing into memory cannot fail.
    envelope(Vec::new(), version, method, write).unwrap_or_default()
}
