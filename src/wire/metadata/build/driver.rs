//! Drivers and what stands below them.

use crate::model::update::{Driver, FeatureScore};
use crate::wire::metadata::build::{Builder, room};
use crate::wire::metadata::error::{Error, quoted};
use crate::wire::metadata::limits::DRIVERS_MAX;
use crate::wire::metadata::pull::{self, Open};
use crate::wire::metadata::text;

impl Builder {
    pub(super) fn device(&mut self) -> Result<(), Error> {
        room("devices and rows below them", self.devices, DRIVERS_MAX)?;
        self.devices += 1;
        Ok(())
    }

    pub(super) fn driver(&mut self, open: &Open<'_>) -> Result<(), Error> {
        self.device()?;
        let mut driver = Driver::default();
        let mut held = 0;
        for attribute in open.attributes() {
            let value = pull::value(&attribute).unwrap_or_default();
            held += value.len();
            let slot = match attribute.key.as_ref() {
                "HardwareID" => &mut driver.hardware_id,
                "DriverVerVersion" => &mut driver.version,
                "DriverVerDate" => &mut driver.date,
                "Class" => &mut driver.class,
                "Manufacturer" => &mut driver.manufacturer,
                "Provider" => &mut driver.provider,
                "Model" => &mut driver.model,
                "Company" => &mut driver.company,
                "WhqlDriverID" => {
                    let number = text::number("WindowsDriverMetaData", "WhqlDriverID", &value, u64::from(u32::MAX))?;
                    driver.whql_id = u32::try_from(number).ok();
                    continue;
                }
                _ => continue,
            };
            *slot = value;
        }
        if driver.hardware_id.is_empty() {
            return Err(Error::Missing { element: "WindowsDriverMetaData", what: "HardwareID" });
        }
        self.update.drivers.push(driver);
        self.hold(held + size_of::<Driver>())
    }

    pub(super) fn score(&mut self, open: &Open<'_>) -> Result<(), Error> {
        self.device()?;
        let system = open.attribute("OperatingSystem").unwrap_or_default();
        self.hold(system.len())?;
        let text = open.attribute("FeatureScore").unwrap_or_default();
        // An integer from 0 to 255 (MS-WUSP 3.1.1); the vendor's own samples read it as hex digits, as driver files have it.
        let digits = text.trim();
        let digits = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")).unwrap_or(digits);
        let score = u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'));
        let score = score.ok_or_else(|| Error::Number {
            element: "FeatureScore",
            what: "a score in hex",
            text: quoted(&text),
            max: 255,
        })?;
        if let Some(driver) = self.update.drivers.last_mut() {
            driver.scores.push(FeatureScore { system, score });
        }
        Ok(())
    }
}
