//! Requests of a scan (MS-WUSP 2.2.2.2.4, 2.2.2.2.8, 2.2.2.2.9): which categories it may be limited to, which updates there
//! are, which drivers for printers.

use std::io::BufRead;

use crate::model::update::UpdateId;
use crate::wire::error::{Error, Result};
use crate::wire::soap::Reader;
use crate::wire::wsusss::authorize::Cookie;
use crate::wire::wsusss::field::Field;
use crate::wire::wusp::attributes::Attributes;
use crate::wire::wusp::device::Device;
use crate::wire::wusp::error::{Named, Read};
use crate::wire::wusp::limits::{
    CACHED_MAX, CATEGORIES_MAX, DEVICES_MAX, DRIVERS_MAX, HARDWARE_IDS_MAX, INSTALLED_MAX, NAME_BYTES_MAX,
};
use crate::wire::wusp::read::{cookie, list, number, numbers, present, text};

/// Asks which categories a scan may be limited to. Carries no cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartCategoryScan {
    /// Those that the agent wants: groups, any of which will do; in a group all must hold.
    pub categories: Vec<Wanted>,
}

/// A category that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which group it is in.
    pub group: i32,
    /// Which category.
    pub category: UpdateId,
}

impl StartCategoryScan {
    pub(super) fn read<R: BufRead>(reader: &mut Reader<R>) -> Read<Self> {
        let mut categories = None;
        while reader.child()? {
            match reader.name() {
                "requestedCategories" => {
                    let found = list(reader, "CategoryRelationship", CATEGORIES_MAX, Wanted::read);
                    categories = Some(found.of("requestedCategories")?);
                }
                _ => reader.skip()?,
            }
        }
        Ok(Self { categories: present(categories, "StartCategoryScan", "requestedCategories")? })
    }
}

impl Wanted {
    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        let (mut group, mut category) = (None, None);
        while reader.child()? {
            match reader.name() {
                "IndexOfAndGroup" => group = number(reader)?,
                "CategoryId" => category = Some(UpdateId::read(reader)?),
                _ => reader.skip()?,
            }
        }
        Ok(Self { group: group.unwrap_or_default(), category: category.ok_or(missing("CategoryId"))? })
    }
}

fn missing(field: &'static str) -> Error {
    Error::Missing { inside: "a category", field }
}

/// Asks which updates there are: one round of the software pass, or the driver pass. `ExpressQuery`, which servers are to
/// ignore, is not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncUpdates {
    /// Who asks.
    pub cookie: Option<Cookie>,
    /// Revisions that are installed and that others need. Absent in the first round.
    pub installed: Vec<i32>,
    /// Other revisions that the agent holds.
    pub cached: Vec<i32>,
    /// Devices and their drivers; none in the software pass. One that is nil or empty counts as absent.
    pub devices: Vec<Device>,
    /// Revisions of drivers that the agent holds.
    pub cached_drivers: Vec<i32>,
    /// The driver pass.
    pub skip_software: bool,
    /// Categories that the scan is limited to.
    pub categories: Vec<UpdateId>,
    /// Revisions that went out of scope are wanted in two lists.
    pub two_groups: bool,
    /// Not in the specification.
    pub regular_too: bool,
    /// Ids of the computer, for drivers.
    pub computer_ids: Vec<UpdateId>,
    /// `AMD64.10.0`: which score of a driver counts.
    pub score_key: String,
    /// What Windows 10 and later tell beside; not in the specification.
    pub products: Products,
}

/// What Windows 10 and later tell in a scan beside what the specification has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Products {
    /// Only the version that is installed is wanted.
    pub current_version_only: bool,
    /// About the machine.
    pub device: Attributes,
    /// About the program that asked.
    pub caller: Attributes,
    /// Products, see [`Attributes::products`].
    pub products: Attributes,
}

impl SyncUpdates {
    pub(super) fn read<R: BufRead>(reader: &mut Reader<R>) -> Read<Self> {
        let mut asked = Self::default();
        let mut parameters = None;
        while reader.child()? {
            match reader.name() {
                "cookie" => asked.cookie = cookie(reader)?,
                "parameters" => parameters = Some(asked.parameters(reader)?),
                _ => reader.skip()?,
            }
        }
        present(parameters, "SyncUpdates", "parameters")?;
        Ok(asked)
    }

    fn parameters<R: BufRead>(&mut self, reader: &mut Reader<R>) -> Read<()> {
        while reader.child()? {
            match reader.name() {
                "InstalledNonLeafUpdateIDs" => {
                    self.installed = numbers(reader, INSTALLED_MAX).of("parameters.InstalledNonLeafUpdateIDs")?;
                }
                "OtherCachedUpdateIDs" => {
                    self.cached = numbers(reader, CACHED_MAX).of("parameters.OtherCachedUpdateIDs")?;
                }
                "SystemSpec" => {
                    self.devices = list(reader, "Device", DEVICES_MAX, Device::read).of("parameters.SystemSpec")?;
                }
                "CachedDriverIDs" => {
                    self.cached_drivers = numbers(reader, DRIVERS_MAX).of("parameters.CachedDriverIDs")?;
                }
                "SkipSoftwareSync" => self.skip_software = bool::read(reader).of("parameters.SkipSoftwareSync")?,
                "FilterCategoryIds" => {
                    let found = list(reader, "CategoryIdentifier", CATEGORIES_MAX, category);
                    self.categories = found.of("parameters.FilterCategoryIds")?;
                }
                "NeedTwoGroupOutOfScopeUpdates" => {
                    self.two_groups = bool::read(reader).of("parameters.NeedTwoGroupOutOfScopeUpdates")?;
                }
                "AlsoPerformRegularSync" => {
                    self.regular_too = bool::read(reader).of("parameters.AlsoPerformRegularSync")?;
                }
                "ComputerSpec" => self.computer_ids = computer_ids(reader).of("parameters.ComputerSpec")?,
                "FeatureScoreMatchingKey" => {
                    self.score_key = text(reader, NAME_BYTES_MAX).of("parameters.FeatureScoreMatchingKey")?;
                }
                "ProductsParameters" => self.products = Products::read(reader).of("parameters.ProductsParameters")?,
                _ => reader.skip()?,
            }
        }
        Ok(())
    }
}

fn category<R: BufRead>(reader: &mut Reader<R>) -> Result<UpdateId> {
    let mut id = None;
    while reader.child()? {
        match reader.name() {
            "Id" => id = Some(UpdateId::read(reader)?),
            _ => reader.skip()?,
        }
    }
    id.ok_or(missing("Id"))
}

fn computer_ids<R: BufRead>(reader: &mut Reader<R>) -> Result<Vec<UpdateId>> {
    let mut ids = Vec::new();
    while reader.child()? {
        match reader.name() {
            "HardwareIDs" => ids = list(reader, "guid", HARDWARE_IDS_MAX, UpdateId::read)?,
            _ => reader.skip()?,
        }
    }
    Ok(ids)
}

impl Products {
    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        let mut it = Self::default();
        while reader.child()? {
            match reader.name() {
                "SyncCurrentVersionOnly" => it.current_version_only = bool::read(reader)?,
                "DeviceAttributes" => it.device = Attributes::read(reader)?,
                "CallerAttributes" => it.caller = Attributes::read(reader)?,
                "Products" => it.products = Attributes::read(reader)?,
                _ => reader.skip()?,
            }
        }
        Ok(it)
    }
}

/// Asks for drivers of printers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncPrinterCatalog {
    /// Who asks.
    pub cookie: Option<Cookie>,
    /// Revisions that are installed and that others need.
    pub installed: Vec<i32>,
    /// Revisions of printer drivers that the agent holds.
    pub printers: Vec<i32>,
    /// About the machine; not in the specification.
    pub device: Attributes,
}

impl SyncPrinterCatalog {
    pub(super) fn read<R: BufRead>(reader: &mut Reader<R>) -> Read<Self> {
        let mut asked = Self::default();
        while reader.child()? {
            match reader.name() {
                "cookie" => asked.cookie = cookie(reader)?,
                "installedNonLeafUpdateIDs" | "InstalledNonLeafUpdateIDs" => {
                    asked.installed = numbers(reader, INSTALLED_MAX).of("installedNonLeafUpdateIDs")?;
                }
                "printerUpdateIDs" => asked.printers = numbers(reader, DRIVERS_MAX).of("printerUpdateIDs")?,
                "deviceAttributes" => asked.device = Attributes::read(reader).of("deviceAttributes")?,
                _ => reader.skip()?,
            }
        }
        Ok(asked)
    }
}
