//! The cabinets in which update documents come (MS-CAB; MS-WSUSSS 3.1.4.6, observed layout: one folder, one member `blob`,
//! LZX with a window of 2 MiB, the document as UTF-16LE without byte order mark and declaration).
//!
//! 1. [`layout`] reads the header and refuses what is no such cabinet, before anything is unpacked.
//! 2. The member is unpacked block by block (32 KiB) and handed on: memory holds the window and a block, never the document.
//! 3. [`utf16`] turns it into UTF-8 as it comes.
//!
//! The length that the header promises is held against what comes, and nothing beyond the caller's limit is unpacked: 2 KB
//! can stand for 2 GB.

mod layout;
mod utf16;

use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom, Write};

use cab::{Cabinet, CabinetBuilder, CompressionType};

use crate::wire::cabinet::layout::{Layout, MEMBER};
pub use crate::wire::cabinet::utf16::{FromUtf16, ToUtf16};
use crate::wire::error::{Error, Result, shown};

/// What these errors are about.
const WHAT: &str = "a cabinet";

/// The largest document that is unpacked, in bytes of UTF-16: five times the largest known (47 million characters). Stops a
/// cabinet that stands for gigabytes.
pub const UNPACKED_BYTES_MAX: u64 = 512 << 20;

/// How much is handed on at a time.
const CHUNK: usize = 32 << 10;

/// Hands the member of `cabinet` to `out` as it is. Returns how many bytes it has; one with more than `max` is refused before
/// anything is unpacked.
pub fn unpack<R: Read + Seek>(cabinet: R, out: &mut dyn Write, max: u64) -> Result<u64> {
    member(cabinet, max, |member| copy(member, out))?
}

/// Hands the document in `cabinet` to `out` as UTF-8. Returns how many bytes of UTF-8 it has; one with more than `max` bytes
/// of UTF-16 is refused before anything is unpacked.
pub fn unpack_text<R: Read + Seek>(cabinet: R, out: &mut dyn Write, max: u64) -> Result<u64> {
    member(cabinet, max, |member| copy(&mut FromUtf16::new(member), out))?
}

/// Gives `read` the document in `cabinet` as a stream of UTF-8. What is wrong with the cabinet comes out of the stream as an
/// error of the kind `InvalidData` or `UnexpectedEof`, which [`from_io`] turns back.
pub fn read_text<R: Read + Seek, T>(cabinet: R, max: u64, read: impl FnOnce(&mut dyn BufRead) -> T) -> Result<T> {
    member(cabinet, max, |member| read(&mut BufReader::with_capacity(CHUNK, FromUtf16::new(member))))
}

/// What is wrong with a cabinet, where it came through a stream.
pub fn from_io(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => of_library(&error),
    }
}

/// Packs the text that `document` yields as UTF-8 into a cabinet like those of real servers, but with MSZIP: there is no
/// packer for LZX. The same text gives the same bytes.
pub fn pack_text(document: &mut dyn Read) -> Result<Vec<u8>> {
    let mut builder = CabinetBuilder::new();
    builder.add_folder(CompressionType::MsZip).add_file(MEMBER);
    let mut writer = builder.build(Cursor::new(Vec::new())).map_err(Error::Write)?;
    if let Some(mut file) = writer.next_file().map_err(Error::Write)? {
        copy(&mut ToUtf16::new(document), &mut file)?;
    }
    let mut cabinet = writer.finish().map_err(Error::Write)?.into_inner();
    // Date, time and attributes are 0 as in real ones; the library would say when it packed.
    if let Some(stamps) = cabinet.get_mut(layout::STAMPS) {
        stamps.fill(0);
    }
    Ok(cabinet)
}

fn member<R: Read + Seek, T>(mut cabinet: R, max: u64, read: impl FnOnce(&mut dyn Read) -> T) -> Result<T> {
    cabinet.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
    let layout = Layout::read(&mut cabinet)?;
    if layout.bytes > max {
        return Err(Error::Limit { what: WHAT, max, unit: "bytes when it is unpacked" });
    }
    cabinet.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
    let mut cabinet = Cabinet::new(cabinet).map_err(|error| of_library(&error))?;
    let name = layout.name;
    let inner = cabinet.read_file(&name).map_err(|error| of_library(&error))?;
    Ok(read(&mut Exactly { inner, at: 0, bytes: layout.bytes }))
}

/// Yields as many bytes as were promised, or an error.
struct Exactly<R> {
    inner: R,
    at: u64,
    bytes: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || self.at >= self.bytes {
            return Ok(0);
        }
        let count = self.inner.read(buf)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, Error::Truncated { what: WHAT, at: self.at }));
        }
        self.at += count as u64;
        Ok(count)
    }
}

fn copy(from: &mut dyn Read, to: &mut dyn Write) -> Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut count = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(count),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(from_io(error)),
        };
        to.write_all(buffer.get(..read).unwrap_or_default()).map_err(Error::Write)?;
        count += read as u64;
    }
}

/// What an error of the library means.
fn of_library(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::Truncated { what: WHAT, at: 0 },
        io::ErrorKind::InvalidData | io::ErrorKind::Other | io::ErrorKind::NotFound | io::ErrorKind::InvalidInput => {
            Error::Malformed { what: WHAT, at: 0, why: shown(&error.to_string()) }
        }
        kind => Error::Read(io::Error::new(kind, error.to_string())),
    }
}

#[cfg(test)]
mod tests;
