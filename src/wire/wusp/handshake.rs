//! Requests of the handshake (MS-WUSP 2.2.2.1.1, 2.2.2.2.1 to 2.2.2.2.3): what the server can do, who asks, a cookie that may
//! ask, and what machine it is.

use std::io::BufRead;

use crate::base::time::Timestamp;
use crate::wire::error::Result;
use crate::wire::soap::Reader;
use crate::wire::wsusss::authorize::{AuthorizationCookie, Cookie};
use crate::wire::wsusss::field::Field;
use crate::wire::wsusss::values::Time;
use crate::wire::wusp::error::{Named, Read};
use crate::wire::wusp::fault::FaultCode;
use crate::wire::wusp::limits::{AUTHORIZATIONS_MAX, NAME_BYTES_MAX};
use crate::wire::wusp::read::{cookie, lenient, list, number, present, text, time};

/// Asks what the server can do. Both operations: `GetConfig2` is in no specification, and of the record that it sends only
/// what looks like a version is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetConfig {
    /// What the agent speaks: `2.90`. Empty where it says nothing.
    pub protocol_version: String,
}

impl GetConfig {
    pub(super) fn read<R: BufRead>(reader: &mut Reader<R>) -> Read<Self> {
        let mut asked = Self::default();
        while reader.child()? {
            match reader.name() {
                "protocolVersion" => asked.protocol_version = name(reader).of("protocolVersion")?,
                _ => reader.skip()?,
            }
        }
        Ok(asked)
    }

    pub(super) fn read2<R: BufRead>(reader: &mut Reader<R>) -> Read<Self> {
        let mut asked = Self::default();
        while reader.child()? {
            if reader.name() != "clientConfiguration" {
                reader.skip()?;
                continue;
            }
            while reader.child()? {
                if reader.name().to_ascii_lowercase().ends_with("protocolversion") {
                    asked.protocol_version = name(reader).of("clientConfiguration")?;
                } else {
                    reader.skip()?;
                }
            }
        }
        Ok(asked)
    }
}

/// Asks for an authorization cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetAuthorizationCookie {
    /// Which machine asks: letters, digits and hyphens, in use a GUID.
    pub client_id: String,
    /// Groups that it was told to be in, as it was told them.
    pub target_groups: Option<String>,
    /// Its name.
    pub dns_name: String,
}

impl GetAuthorizationCookie {
    pub(super) fn read<R: BufRead>(reader: &mut Reader<R>) -> Read<Self> {
        let (mut client_id, mut target_groups, mut dns_name) = (None, None, None);
        while reader.child()? {
            match reader.name() {
                "clientId" => client_id = Some(name(reader).of("clientId")?),
                "targetGroupName" => target_groups = Some(name(reader).of("targetGroupName")?),
                "dnsName" => dns_name = Some(name(reader).of("dnsName")?),
                _ => reader.skip()?,
            }
        }
        Ok(Self {
            client_id: present(client_id, "GetAuthorizationCookie", "clientId")?,
            target_groups: target_groups.filter(|groups| !groups.trim().is_empty()),
            dns_name: present(dns_name, "GetAuthorizationCookie", "dnsName")?,
        })
    }
}

/// Asks for a cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetCookie {
    /// Who asks; there should be one.
    pub authorization: Vec<AuthorizationCookie>,
    /// The cookie had so far. One that has nothing but a time is none, and agents send such a one first.
    pub old: Option<Cookie>,
    /// The time of the configuration that the agent knows, as it was told it. `None` where it is no time.
    pub last_change: Option<Time>,
    /// The agent's clock.
    pub now: Option<Timestamp>,
    /// What it speaks.
    pub protocol_version: String,
}

impl GetCookie {
    pub(super) fn read<R: BufRead>(reader: &mut Reader<R>) -> Read<Self> {
        let mut asked = Self::default();
        while reader.child()? {
            match reader.name() {
                "authCookies" => {
                    let cookies = list(reader, "AuthorizationCookie", AUTHORIZATIONS_MAX, AuthorizationCookie::read);
                    asked.authorization = cookies.of_cookie(FaultCode::InvalidAuthorizationCookie)?;
                }
                "oldCookie" => asked.old = cookie(reader)?.filter(is_one),
                "lastChange" => asked.last_change = lenient(reader, Time::read)?.ok(),
                "currentTime" => asked.now = time(reader)?,
                "protocolVersion" => asked.protocol_version = name(reader).of("protocolVersion")?,
                _ => reader.skip()?,
            }
        }
        Ok(asked)
    }
}

fn is_one(cookie: &Cookie) -> bool {
    cookie.data.as_ref().is_some_and(|data| !data.as_str().is_empty())
}

/// Tells what machine it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterComputer {
    /// Who asks.
    pub cookie: Option<Cookie>,
    /// The machine.
    pub computer: Computer,
}

impl RegisterComputer {
    pub(super) fn read<R: BufRead>(reader: &mut Reader<R>) -> Read<Self> {
        let (mut who, mut computer) = (None, None);
        while reader.child()? {
            match reader.name() {
                "cookie" => who = cookie(reader)?,
                "computerInfo" => computer = Some(Computer::read(reader).of("computerInfo")?),
                _ => reader.skip()?,
            }
        }
        Ok(Self { cookie: who, computer: present(computer, "RegisterComputer", "computerInfo")? })
    }
}

/// A machine, as it tells of itself (2.2.2.2.3). Older agents leave things out: a text is empty then and a number `None`.
/// `os_description` says Windows 10 on Windows 11: the build tells them apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the elements of the specification, one by one")]
pub struct Computer {
    pub dns_name: String,
    pub os_major: Option<i32>,
    pub os_minor: Option<i32>,
    pub os_build: Option<i32>,
    pub service_pack_major: Option<i32>,
    pub service_pack_minor: Option<i32>,
    pub os_locale: String,
    pub manufacturer: String,
    pub model: String,
    pub bios_version: String,
    pub bios_name: String,
    pub bios_released: Option<Timestamp>,
    pub architecture: String,
    pub suite_mask: Option<i32>,
    pub old_product_type: Option<i32>,
    pub new_product_type: Option<i32>,
    pub system_metrics: Option<i32>,
    /// Of the agent: major, minor, build, fix.
    pub client_version: [Option<i32>; 4],
    pub os_description: String,
    pub oem: String,
    pub device_type: String,
    pub firmware_version: String,
    pub mobile_operator: String,
}

impl Computer {
    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        let mut it = Self::default();
        while reader.child()? {
            match reader.name() {
                "DnsName" => it.dns_name = name(reader)?,
                "OSMajorVersion" => it.os_major = number(reader)?,
                "OSMinorVersion" => it.os_minor = number(reader)?,
                "OSBuildNumber" => it.os_build = number(reader)?,
                "OSServicePackMajorNumber" => it.service_pack_major = number(reader)?,
                "OSServicePackMinorNumber" => it.service_pack_minor = number(reader)?,
                "OSLocale" => it.os_locale = name(reader)?,
                "ComputerManufacturer" => it.manufacturer = name(reader)?,
                "ComputerModel" => it.model = name(reader)?,
                "BiosVersion" => it.bios_version = name(reader)?,
                "BiosName" => it.bios_name = name(reader)?,
                "BiosReleaseDate" => it.bios_released = time(reader)?,
                "ProcessorArchitecture" => it.architecture = name(reader)?,
                "SuiteMask" => it.suite_mask = number(reader)?,
                "OldProductType" => it.old_product_type = number(reader)?,
                "NewProductType" => it.new_product_type = number(reader)?,
                "SystemMetrics" => it.system_metrics = number(reader)?,
                "ClientVersionMajorNumber" => it.client_version[0] = number(reader)?,
                "ClientVersionMinorNumber" => it.client_version[1] = number(reader)?,
                "ClientVersionBuildNumber" => it.client_version[2] = number(reader)?,
                "ClientVersionQfeNumber" => it.client_version[3] = number(reader)?,
                "OSDescription" => it.os_description = name(reader)?,
                "OEM" => it.oem = name(reader)?,
                "DeviceType" => it.device_type = name(reader)?,
                "FirmwareVersion" => it.firmware_version = name(reader)?,
                "MobileOperator" => it.mobile_operator = name(reader)?,
                _ => reader.skip()?,
            }
        }
        Ok(it)
    }
}

fn name<R: BufRead>(reader: &mut Reader<R>) -> Result<String> {
    text(reader, NAME_BYTES_MAX)
}
