//! Requests of the reporting service (MS-WUSP 2.2.2.3, 6.3): what happened on a machine, and inventories.
//!
//! An agent sends a batch again until it is taken, so one event that cannot be read is set aside and the others count.

use std::io::BufRead;

use crate::base::time::Timestamp;
use crate::model::update::{Identity, UpdateId};
use crate::wire::error::{Error, Result};
use crate::wire::soap::Reader;
use crate::wire::wsusss::authorize::Cookie;
use crate::wire::wsusss::field::Field;
use crate::wire::wusp::error::{Named, Read};
use crate::wire::wusp::limits::{EVENTS_MAX, NAME_BYTES_MAX, STRING_BYTES_MAX, STRINGS_MAX};
use crate::wire::wusp::read::{cookie, length, lenient, list, number, present, text, texts, time};

/// Tells what happened: both operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportEventBatch {
    /// Who tells it.
    pub cookie: Option<Cookie>,
    /// The same where there is no cookie, as in `ReportEventBatch2`: the client id.
    pub computer_id: Option<String>,
    /// The agent's clock.
    pub now: Option<Timestamp>,
    /// What happened, in the order in which it was told.
    pub events: Vec<Event>,
    /// Events that could not be read.
    pub unread: usize,
    /// What is wrong with the first of them.
    pub why: Option<String>,
}

impl ReportEventBatch {
    pub(super) fn read<R: BufRead>(reader: &mut Reader<R>) -> Read<Self> {
        let mut asked = Self::default();
        let mut batch = None;
        while reader.child()? {
            match reader.name() {
                "cookie" => asked.cookie = cookie(reader)?,
                "computerId" => asked.computer_id = Some(text(reader, NAME_BYTES_MAX).of("computerId")?),
                "clientTime" => asked.now = time(reader)?,
                "eventBatch" => {
                    let read = |reader: &mut Reader<R>| lenient(reader, Event::read);
                    batch = Some(list(reader, "ReportingEvent", EVENTS_MAX, read).of("eventBatch")?);
                }
                _ => reader.skip()?,
            }
        }
        for event in present(batch, "ReportEventBatch", "eventBatch")? {
            match event {
                Ok(event) => asked.events.push(event),
                Err(error) => {
                    asked.unread += 1;
                    asked.why.get_or_insert_with(|| error.to_string());
                }
            }
        }
        Ok(asked)
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// On which machine: its client id. Only as good as the cookie that came with it.
    pub target: String,
    /// When, by the agent's clock.
    pub at: Option<Timestamp>,
    /// Its own id: the same one comes again where an answer was lost.
    pub instance: UpdateId,
    /// 1.
    pub namespace: i32,
    /// What (2.2.2.3.1, table of event ids).
    pub id: i32,
    /// To which part of the agent.
    pub source: i32,
    /// With which update; `None` where it is about none.
    pub update: Option<Identity>,
    /// Zero, or what went wrong.
    pub result: i32,
    /// Which program asked for it.
    pub app: String,
    /// What goes into the event's sentence.
    pub strings: Vec<String>,
    /// `tag=value`, see [`Self::misc`].
    pub misc: Vec<String>,
    /// The machine.
    pub machine: Machine,
    /// Of a driver.
    pub device: String,
}

/// The machine that an event happened on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Who made it.
    pub brand: String,
    /// What it is.
    pub model: String,
    /// Of its firmware.
    pub bios: String,
    /// `Amd64Compatible`.
    pub architecture: String,
    /// Of Windows: major, minor, build, revision (which is not that of updates), service pack, and its minor one.
    pub os: [Option<i32>; 6],
    /// Windows' number of its language (LCID).
    pub locale: Option<i32>,
}

impl Event {
    /// The value of a tag; case counts, as in the table of the specification (`f` and `F` are two).
    pub fn misc(&self, tag: &str) -> Option<&str> {
        self.misc
            .iter()
            .find_map(|item| item.split_once('=').filter(|(found, _)| *found == tag))
            .map(|(_, value)| value)
    }

    /// The updates in the list of a tag: `U`, `V`, `W`, `g` and `h` of a status event. What is no id is left out. `None`
    /// where there is no such list.
    pub fn updates(&self, tag: &str) -> Option<impl Iterator<Item = UpdateId>> {
        self.misc(tag).map(|value| value.split(';').filter_map(|id| id.trim().parse().ok()))
    }

    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        let mut it = Self {
            target: String::new(),
            at: None,
            instance: UpdateId::new([0; 16]),
            namespace: 0,
            id: 0,
            source: 0,
            update: None,
            result: 0,
            app: String::new(),
            strings: Vec::new(),
            misc: Vec::new(),
            machine: Machine::default(),
            device: String::new(),
        };
        let mut basic = false;
        while reader.child()? {
            match reader.name() {
                "BasicData" => {
                    it.basic(reader)?;
                    basic = true;
                }
                "ExtendedData" => it.extended(reader)?,
                // Empty, and to be ignored (2.2.2.3.1): it could name who sat at the machine.
                _ => reader.skip()?,
            }
        }
        if basic { Ok(it) } else { Err(missing("BasicData")) }
    }

    fn basic<R: BufRead>(&mut self, reader: &mut Reader<R>) -> Result<()> {
        let (mut instance, mut id) = (None, None);
        while reader.child()? {
            match reader.name() {
                "TargetID" => self.target = target(reader)?,
                "TimeAtTarget" => self.at = time(reader)?,
                "EventInstanceID" => instance = Some(UpdateId::read(reader)?),
                "NamespaceID" => self.namespace = number(reader)?.unwrap_or_default(),
                "EventID" => id = number(reader)?,
                "SourceID" => self.source = number(reader)?.unwrap_or_default(),
                "UpdateID" => self.update = update(reader)?,
                // The prose of the specification has the second spelling, everything else the first.
                "Win32HResult" | "Win32Hresult" => self.result = hresult(reader)?,
                "AppName" => self.app = text(reader, NAME_BYTES_MAX)?,
                _ => reader.skip()?,
            }
        }
        self.instance = instance.ok_or(missing("EventInstanceID"))?;
        self.id = id.ok_or(missing("EventID"))?;
        Ok(())
    }

    fn extended<R: BufRead>(&mut self, reader: &mut Reader<R>) -> Result<()> {
        while reader.child()? {
            match reader.name() {
                "ReplacementStrings" => self.strings = texts(reader, STRINGS_MAX, STRING_BYTES_MAX)?,
                "MiscData" => self.misc = texts(reader, STRINGS_MAX, STRING_BYTES_MAX)?,
                "ComputerBrand" => self.machine.brand = text(reader, NAME_BYTES_MAX)?,
                "ComputerModel" => self.machine.model = text(reader, NAME_BYTES_MAX)?,
                "BiosRevision" => self.machine.bios = text(reader, NAME_BYTES_MAX)?,
                "ProcessorArchitecture" => self.machine.architecture = text(reader, NAME_BYTES_MAX)?,
                "OSVersion" => self.machine.os = version(reader)?,
                "OSLocaleID" => self.machine.locale = number(reader)?,
                "DeviceID" => self.device = text(reader, NAME_BYTES_MAX)?,
                _ => reader.skip()?,
            }
        }
        Ok(())
    }
}

fn missing(field: &'static str) -> Error {
    Error::Missing { inside: "an event", field }
}

fn target<R: BufRead>(reader: &mut Reader<R>) -> Result<String> {
    let mut sid = String::new();
    while reader.child()? {
        match reader.name() {
            "Sid" => sid = text(reader, NAME_BYTES_MAX)?,
            _ => reader.skip()?,
        }
    }
    Ok(sid)
}

/// Zero stands for no update (2.2.2.3.1).
fn update<R: BufRead>(reader: &mut Reader<R>) -> Result<Option<Identity>> {
    let (mut id, mut revision) = (None, None);
    while reader.child()? {
        match reader.name() {
            "UpdateID" => id = Some(UpdateId::read(reader)?),
            "RevisionNumber" => revision = number::<_, i32>(reader)?,
            _ => reader.skip()?,
        }
    }
    let revision = revision.and_then(|revision| u32::try_from(revision).ok()).unwrap_or_default();
    Ok(id.filter(|id| *id != UpdateId::new([0; 16])).map(|id| Identity { id, revision }))
}

/// Some write it as a number without a sign.
fn hresult<R: BufRead>(reader: &mut Reader<R>) -> Result<i32> {
    let value = number::<_, i64>(reader)?.unwrap_or_default();
    i32::try_from(value)
        .ok()
        .or_else(|| u32::try_from(value).ok().map(u32::cast_signed))
        .ok_or_else(|| Error::value("Win32HResult", &value.to_string(), "a number of 32 bits"))
}

fn version<R: BufRead>(reader: &mut Reader<R>) -> Result<[Option<i32>; 6]> {
    let [mut major, mut minor, mut build, mut revision, mut pack_major, mut pack_minor] = [None; 6];
    while reader.child()? {
        match reader.name() {
            "Major" => major = number(reader)?,
            "Minor" => minor = number(reader)?,
            "Build" => build = number(reader)?,
            "Revision" => revision = number(reader)?,
            "ServicePackMajor" => pack_major = number(reader)?,
            "ServicePackMinor" => pack_minor = number(reader)?,
            _ => reader.skip()?,
        }
    }
    Ok([major, minor, build, revision, pack_major, pack_minor])
}

/// Asks whether an inventory is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetRequiredInventoryType {
    /// Who asks.
    pub cookie: Option<Cookie>,
    /// By which rules; `None` where that is no GUID.
    pub rules: Option<UpdateId>,
    /// In which version of them.
    pub rules_version: String,
}

impl GetRequiredInventoryType {
    pub(super) fn read<R: BufRead>(reader: &mut Reader<R>) -> Read<Self> {
        let mut asked = Self::default();
        while reader.child()? {
            match reader.name() {
                "cookie" => asked.cookie = cookie(reader)?,
                "rulesId" => asked.rules = lenient(reader, UpdateId::read)?.ok(),
                "rulesVersion" => asked.rules_version = text(reader, NAME_BYTES_MAX).of("rulesVersion")?,
                _ => reader.skip()?,
            }
        }
        Ok(asked)
    }
}

/// Tells an inventory. This node wants none: what it says is counted, not held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportInventory {
    /// Who tells it.
    pub cookie: Option<Cookie>,
    /// The agent's clock.
    pub now: Option<Timestamp>,
    /// Bytes of its text.
    pub bytes: u64,
}

impl ReportInventory {
    pub(super) fn read<R: BufRead>(reader: &mut Reader<R>) -> Read<Self> {
        let mut asked = Self::default();
        while reader.child()? {
            match reader.name() {
                "cookie" => asked.cookie = cookie(reader)?,
                "clientTime" => asked.now = time(reader)?,
                "inventory" => {
                    while reader.child()? {
                        match reader.name() {
                            "RawXml" | "CompressedXml" => asked.bytes += length(reader).of("inventory")?,
                            _ => reader.skip()?,
                        }
                    }
                }
                _ => reader.skip()?,
            }
        }
        Ok(asked)
    }
}

/// A downstream server asks which reports it should pass on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetRollupConfiguration {
    /// Between servers it says nothing and never ends.
    pub cookie: Option<Cookie>,
}

impl GetRollupConfiguration {
    pub(super) fn read<R: BufRead>(reader: &mut Reader<R>) -> Read<Self> {
        let mut asked = Self::default();
        while reader.child()? {
            match reader.name() {
                "cookie" => asked.cookie = cookie(reader)?,
                _ => reader.skip()?,
            }
        }
        Ok(asked)
    }
}
