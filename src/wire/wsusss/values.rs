//! Values that are kept as they came, because the other side gets them back: cookies' bytes and times.

use std::fmt;
use std::io::{self, BufRead, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::base::time::Timestamp;
use crate::wire::error::{Error, Result};
use crate::wire::soap::{Reader, Writer};
use crate::wire::wsusss::field::{Field, Item};

/// Bytes that only the other side understands, in base64. Not shown in logs: who has a cookie may ask with it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Opaque(String);

impl Opaque {
    /// These bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(STANDARD.encode(bytes))
    }

    /// The bytes, where the text is base64.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.0).ok()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opaque({} characters)", self.0.len())
    }
}

impl Field for Opaque {
    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        let text = reader.text()?;
        // White space is no part of base64Binary; people wrap long ones.
        Ok(Self(text.split_ascii_whitespace().collect()))
    }

    fn write<W: Write>(&self, out: &mut Writer<W>, name: &str) -> io::Result<()> {
        out.leaf(name, &self.0)
    }
}

/// A time as it was written (XML Schema dateTime, with up to seven digits behind the second).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Time(String);

impl Time {
    /// In UTC, to the millisecond, without trailing zeros: as ASP.NET writes it.
    pub fn new(at: Timestamp) -> Self {
        let text = i64::try_from(at.ms())
            .ok()
            .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
            // Beyond the calendar: the time that means never.
            .map_or_else(|| Self::NEVER.to_owned(), |time| time.to_string());
        Self(text)
    }

    /// What stands for no time at all (MS-WSUSSS 3.1.4.10.3.5, 3.2.4.5).
    pub const NEVER: &'static str = "9999-12-31T23:59:59.9999999";

    /// What stands for no time at all.
    pub fn never() -> Self {
        Self(Self::NEVER.to_owned())
    }

    /// The time that a text says.
    pub fn parse(text: &str) -> Option<Self> {
        let time = Self(text.trim().to_owned());
        time.at().map(|_| time)
    }

    /// The text, as it came.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When it is. Without a zone it is taken for UTC; before 1970 is 1970, and what stands for never is the end of the
    /// calendar.
    pub fn at(&self) -> Option<Timestamp> {
        if let Ok(time) = self.0.parse::<jiff::Timestamp>() {
            return Some(since_1970(time));
        }
        let local = self.0.strip_suffix('Z').unwrap_or(&self.0).parse::<jiff::civil::DateTime>().ok()?;
        // The last hours of the year 9999 are beyond the calendar in some zone, so that they are no time of UTC.
        let time = match local.to_zoned(jiff::tz::TimeZone::UTC) {
            Ok(time) => time.timestamp(),
            Err(_) if local.year() > 1970 => jiff::Timestamp::MAX,
            Err(_) => jiff::Timestamp::UNIX_EPOCH,
        };
        Some(since_1970(time))
    }
}

fn since_1970(time: jiff::Timestamp) -> Timestamp {
    Timestamp::from_ms(u64::try_from(time.as_millisecond()).unwrap_or_default())
}

impl Field for Time {
    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        let text = reader.text()?;
        Self::parse(&text)
            .ok_or_else(|| Error::value(reader.name(), text.trim(), "a time like 2026-10-04T20:33:26.65Z"))
    }

    fn write<W: Write>(&self, out: &mut Writer<W>, name: &str) -> io::Result<()> {
        out.leaf(name, &self.0)
    }
}

/// An element that is there or not, and has nothing in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark;

impl Field for Mark {
    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        reader.skip()?;
        Ok(Self)
    }

    fn write<W: Write>(&self, out: &mut Writer<W>, name: &str) -> io::Result<()> {
        out.empty(name)
    }
}

/// Nothing: the answer of an operation that answers nothing.
impl Field for () {
    const NOTHING: bool = true;

    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        reader.skip()
    }

    fn absent() -> Option<Self> {
        Some(())
    }

    fn write<W: Write>(&self, _: &mut Writer<W>, _: &str) -> io::Result<()> {
        Ok(())
    }
}

impl Item for String {
    const NAME: &'static str = "string";
}
