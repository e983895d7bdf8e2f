//! Devices of a machine and their drivers, as the driver pass of a scan sends them (MS-WUSP 2.2.2.2.4, `SystemSpec`).

use std::io::BufRead;

use crate::base::time::Timestamp;
use crate::model::update::UpdateId;
use crate::wire::error::Result;
use crate::wire::soap::Reader;
use crate::wire::wsusss::field::Field;
use crate::wire::wusp::limits::{EXTENSIONS_MAX, HARDWARE_IDS_MAX, NAME_BYTES_MAX};
use crate::wire::wusp::read::{lenient, list, number, text, texts, time};

/// A device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Hardware ids, the most specific first.
    pub hardware_ids: Vec<String>,
    /// Ids of what it is compatible with.
    pub compatible_ids: Vec<String>,
    /// Its driver.
    pub installed: Option<InstalledDriver>,
    /// What extends that.
    pub extensions: Vec<ExtensionDriver>,
    /// Drivers that came from a server like this one, which may be taken back.
    pub recovery_ids: Vec<String>,
    /// Bit 0: found by something else than plug and play.
    pub flags: Option<u8>,
}

/// The driver of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the elements of the specification, one by one")]
pub struct InstalledDriver {
    /// By which id it matched.
    pub matching_id: String,
    pub date: Option<Timestamp>,
    /// Four parts of 16 bits.
    pub version: Option<i64>,
    pub class: String,
    pub manufacturer: String,
    pub provider: String,
    pub model: String,
    /// By which id of the computer it matched.
    pub computer_id: Option<UpdateId>,
    /// Lower is better.
    pub rank: Option<i32>,
}

/// What extends the driver of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the elements of the specification, one by one")]
pub struct ExtensionDriver {
    pub id: String,
    pub date: Option<Timestamp>,
    pub version: Option<i64>,
    pub class: String,
    pub rank: Option<i32>,
    pub computer_id: Option<UpdateId>,
}

impl Device {
    pub(super) fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        let mut it = Self::default();
        while reader.child()? {
            match reader.name() {
                "HardwareIDs" => it.hardware_ids = texts(reader, HARDWARE_IDS_MAX, NAME_BYTES_MAX)?,
                "CompatibleIDs" => it.compatible_ids = texts(reader, HARDWARE_IDS_MAX, NAME_BYTES_MAX)?,
                "installedDriver" => it.installed = InstalledDriver::read(reader)?,
                "extensionDriver" => {
                    it.extensions = list(reader, "extensionDriver", EXTENSIONS_MAX, ExtensionDriver::read)?;
                }
                "DriverRecoveryIDs" => {
                    let name = "DriverRecoveryID";
                    it.recovery_ids = list(reader, name, EXTENSIONS_MAX, |reader| text(reader, NAME_BYTES_MAX))?;
                }
                "DeviceFlags" => it.flags = number(reader)?,
                _ => reader.skip()?,
            }
        }
        Ok(it)
    }
}

impl InstalledDriver {
    /// `None` where the element is there and says nothing, as one that is nil.
    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Option<Self>> {
        let mut it = Self::default();
        let mut any = false;
        while reader.child()? {
            any = true;
            match reader.name() {
                "MatchingID" => it.matching_id = text(reader, NAME_BYTES_MAX)?,
                "DriverVerDate" => it.date = time(reader)?,
                "DriverVerVersion" => it.version = number(reader)?,
                "Class" => it.class = text(reader, NAME_BYTES_MAX)?,
                "Manufacturer" => it.manufacturer = text(reader, NAME_BYTES_MAX)?,
                "Provider" => it.provider = text(reader, NAME_BYTES_MAX)?,
                "Model" => it.model = text(reader, NAME_BYTES_MAX)?,
                "MatchingComputerHWID" => it.computer_id = computer_id(reader)?,
                "DriverRank" => it.rank = number(reader)?,
                _ => reader.skip()?,
            }
        }
        Ok(any.then_some(it))
    }
}

impl ExtensionDriver {
    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        let mut it = Self::default();
        while reader.child()? {
            match reader.name() {
                "ExtensionId" => it.id = text(reader, NAME_BYTES_MAX)?,
                "DriverVerDate" => it.date = time(reader)?,
                "DriverVerVersion" => it.version = number(reader)?,
                "Class" => it.class = text(reader, NAME_BYTES_MAX)?,
                "DriverRank" => it.rank = number(reader)?,
                "MatchingComputerHWID" => it.computer_id = computer_id(reader)?,
                _ => reader.skip()?,
            }
        }
        Ok(it)
    }
}

/// A GUID, where it is one: the element is nil where the driver matched by the device alone.
fn computer_id<R: BufRead>(reader: &mut Reader<R>) -> Result<Option<UpdateId>> {
    Ok(lenient(reader, UpdateId::read)?.ok())
}
