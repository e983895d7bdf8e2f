//! Drivers by computer and device: `GetDriverIdList` and `GetDriverSetData`, which Microsoft Update answers and no WSUS does
//! (MS-WSUSSS 3.1.4.7, 3.1.4.8).

use crate::model::update::{Identity, UpdateId};
use crate::wire::wsusss::authorize::Cookie;
use crate::wire::wsusss::call::call;
use crate::wire::wsusss::field::{Item, record};
use crate::wire::wsusss::method::Method;
use crate::wire::wsusss::revisions::IdAndDelta;
use crate::wire::wsusss::values::Mark;

record! {
    /// Asks which drivers and driver sets there are for these computers and devices.
    GetDriverIdList {
        /// Who asks.
        "cookie" cookie: Option<Cookie>,
        /// For what.
        "filter" filter: DriverFilter,
    }
}

record! {
    /// For what drivers are asked (3.1.4.7.3.4).
    DriverFilter {
        /// Is sent and ignored.
        "DssProtocolVersion" dss_protocol_version: Option<Mark>,
        /// What the first answer of the last round gave.
        "Anchor" anchor: Option<String>,
        /// Products; none means all.
        "Categories" categories: Vec<IdAndDelta>,
        /// Computers, by the hardware ids that Windows makes of their firmware's names.
        "ComputerIds" computers: Vec<IdAndDelta>,
        /// Devices.
        "PnpHardwareIds" devices: Vec<HardwareIdAndDelta>,
    }
}

record! {
    /// A device, and whether only what is newer than the anchor is wanted.
    HardwareIdAndDelta {
        /// Its hardware id.
        "Id" id: String,
        /// Only what is newer.
        "Delta" delta: bool,
    }
}

impl Item for HardwareIdAndDelta {
    const NAME: &'static str = "HardwareIdAndDelta";
}

record! {
    /// Drivers and driver sets (3.1.4.7.3.1).
    DriverIdList {
        /// What the next request gives.
        "Anchor" anchor: Option<String>,
        /// Drivers, those of the new sets included.
        "NewRevisions" revisions: Vec<Identity>,
        /// New sets.
        "NewDriverSets" new_sets: Vec<UpdateId>,
        /// Sets that are gone; their drivers need not be.
        "RemovedDriverSets" removed_sets: Vec<UpdateId>,
    }
}

record! {
    /// Asks for driver sets.
    GetDriverSetData {
        /// Who asks.
        "cookie" cookie: Option<Cookie>,
        /// Which ones.
        "driverSets" sets: Vec<UpdateId>,
    }
}

record! {
    /// Driver sets.
    DriverSetData {
        /// Each of them.
        "DriverSets" sets: Vec<DriverSet>,
    }
}

record! {
    /// A driver set.
    DriverSet {
        /// Its id.
        "DriverSetId" id: UpdateId,
        /// Which computers and drivers belong to it: an XML document.
        "DriverSetXml" document: String,
    }
}

impl Item for DriverSet {
    const NAME: &'static str = "ServerSyncDriverSetData";
}

call!(GetDriverIdList, Method::GetDriverIdList, DriverIdList);
call!(GetDriverSetData, Method::GetDriverSetData, DriverSetData);
