//! How pieces of requests are read: bounded, and the reader stands behind the piece afterwards.

use std::io::{self, BufRead, Write};
use std::str::FromStr;

use crate::base::time::Timestamp;
use crate::wire::error::{Error, Result};
use crate::wire::soap::Reader;
use crate::wire::wsusss::authorize::Cookie;
use crate::wire::wsusss::field::Field;
use crate::wire::wsusss::values::Time;
use crate::wire::wusp::error::{Named, Read, Wrong};
use crate::wire::wusp::fault::FaultCode;

/// Keeps the beginning of a text.
struct Beginning {
    bytes: Vec<u8>,
    max: usize,
    is_cut: bool,
}

impl Write for Beginning {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let kept = bytes.len().min(self.max - self.bytes.len());
        self.bytes.extend_from_slice(bytes.get(..kept).unwrap_or_default());
        self.is_cut |= kept < bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A text of at most `max` bytes. A longer one is read to its end, but not held.
pub(super) fn text<R: BufRead>(reader: &mut Reader<R>, max: usize) -> Result<String> {
    let mut beginning = Beginning { bytes: Vec::new(), max, is_cut: false };
    // The message has an end of its own.
    reader.text_to(&mut beginning, u64::MAX)?;
    if beginning.is_cut {
        let got = String::from_utf8_lossy(&beginning.bytes);
        return Err(Error::value(reader.name(), &got, "a text as short as it should be"));
    }
    String::from_utf8(beginning.bytes).map_err(|_| reader.malformed("it is not UTF-8"))
}

/// How long a text is that nobody wants to see.
pub(super) fn length<R: BufRead>(reader: &mut Reader<R>) -> Result<u64> {
    reader.text_to(&mut io::sink(), u64::MAX)
}

/// A number; `None` where there is no text, as in an element that is said to be nil.
pub(super) fn number<R: BufRead, T: FromStr>(reader: &mut Reader<R>) -> Result<Option<T>> {
    let text = reader.text()?;
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Error::value(reader.name(), text, "a number that fits"))
}

/// Of a list, the elements of this name, at most `max`; others are skipped.
pub(super) fn list<R: BufRead, T>(
    reader: &mut Reader<R>,
    name: &str,
    max: usize,
    mut item: impl FnMut(&mut Reader<R>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut items = Vec::new();
    while reader.child()? {
        if reader.name() != name {
            reader.skip()?;
        } else if items.len() == max {
            return Err(Error::Limit { what: "a list in a request", max: max as u64, unit: "entries" });
        } else {
            items.push(item(reader)?);
        }
    }
    Ok(items)
}

/// A list of numbers, by the short way wherever an item is written as agents write it.
pub(super) fn numbers<R: BufRead>(reader: &mut Reader<R>, max: usize) -> Result<Vec<i32>> {
    const NAME: &str = "int";
    if !reader.has_plain(NAME) {
        return list(reader, NAME, max, i32::read);
    }
    let mut items = Vec::new();
    loop {
        let room = max.saturating_sub(items.len());
        reader.numbers(NAME, room, &mut items)?;
        if !reader.child()? {
            return Ok(items);
        }
        if reader.name() != NAME {
            reader.skip()?;
        } else if items.len() == max {
            return Err(Error::Limit { what: "a list in a request", max: max as u64, unit: "entries" });
        } else {
            items.push(i32::read(reader)?);
        }
    }
}

/// A list of texts of at most `bytes` each.
pub(super) fn texts<R: BufRead>(reader: &mut Reader<R>, max: usize, bytes: usize) -> Result<Vec<String>> {
    list(reader, "string", max, |reader| text(reader, bytes))
}

/// What `read` reads, or nothing where it is not of its type, whether it is wrong in itself or incomplete. What is wrong with
/// the message itself stays an error.
pub(super) fn lenient<R: BufRead, T>(
    reader: &mut Reader<R>,
    read: impl FnOnce(&mut Reader<R>) -> Result<T>,
) -> Result<Result<T>> {
    let outside = reader.depth().saturating_sub(1);
    match read(reader) {
        Err(error @ (Error::Value { .. } | Error::Missing { .. })) => {
            reader.leave(outside)?;
            Ok(Err(error))
        }
        Err(error) => Err(error),
        Ok(value) => Ok(Ok(value)),
    }
}

/// A time that only tells something: one that is none is left out.
pub(super) fn time<R: BufRead>(reader: &mut Reader<R>) -> Result<Option<Timestamp>> {
    Ok(lenient(reader, Time::read)?.ok().and_then(|time| time.at()))
}

/// A cookie. One that is none is an invalid one; one that is not there is the server's to refuse.
pub(super) fn cookie<R: BufRead>(reader: &mut Reader<R>) -> Read<Option<Cookie>> {
    lenient(reader, Cookie::read)?.of_cookie(FaultCode::InvalidCookie).map(Some)
}

/// Something that must be there.
pub(super) fn present<T>(value: Option<T>, inside: &'static str, parameter: &'static str) -> Read<T> {
    value.ok_or(Wrong {
        code: FaultCode::InvalidParameters,
        parameter,
        error: Error::Missing { inside, field: parameter },
    })
}
