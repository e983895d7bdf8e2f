//! UTF-16LE <-> UTF-8 as streams. Half a character pair is an error, not a replacement: the text is kept for ever.

use std::io::{self, Read};

use crate::wire::error::Error;

const WHAT: &str = "a document in UTF-16";

/// How much is converted at a time.
const CHUNK: usize = 32 << 10;

/// Yields as UTF-8 what `inner` yields as UTF-16LE. A byte order mark at the beginning is left out.
#[derive(Debug)]
pub struct FromUtf16<R> {
    inner: R,
    raw: Vec<u8>,
    /// How many bytes of `raw` wait for those that follow: half a unit, or half a pair.
    held: usize,
    text: String,
    given: usize,
    at: u64,
    ended: bool,
}

impl<R: Read> FromUtf16<R> {
    /// A converter in front of `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, raw: vec![0; CHUNK], held: 0, text: String::new(), given: 0, at: 0, ended: false }
    }

    fn more(&mut self) -> io::Result<()> {
        self.text.clear();
        self.given = 0;
        let read = self.inner.read(self.raw.get_mut(self.held..).unwrap_or_default())?;
        if read == 0 {
            self.ended = true;
            if self.held > 0 {
                let error = Error::Truncated { what: WHAT, at: self.at + self.held as u64 };
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, error));
            }
            return Ok(());
        }
        let end = self.held + read;
        let bytes = self.raw.get(..end).unwrap_or_default();
        let (units, _) = bytes.as_chunks::<2>();
        let mut whole = units.len();
        // Half a pair waits for the other half.
        if units.last().is_some_and(|unit| matches!(u16::from_le_bytes(*unit), 0xd800..=0xdbff)) {
            whole -= 1;
        }
        let first = self.at == 0;
        let words = units.iter().take(whole).map(|unit| u16::from_le_bytes(*unit));
        for (index, decoded) in char::decode_utf16(words).enumerate() {
            match decoded {
                Ok('\u{feff}') if first && index == 0 => {}
                Ok(c) => self.text.push(c),
                Err(half) => {
                    let why = format!("U+{:04X} stands without its other half", half.unpaired_surrogate());
                    let error = Error::Malformed { what: WHAT, at: self.at + 2 * index as u64, why };
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        }
        let done = whole * 2;
        self.at += done as u64;
        self.raw.copy_within(done..end, 0);
        self.held = end - done;
        Ok(())
    }
}

impl<R: Read> Read for FromUtf16<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        while self.given == self.text.len() {
            if self.ended {
                return Ok(0);
            }
            self.more()?;
        }
        Ok(give(self.text.as_bytes(), &mut self.given, buf))
    }
}

/// Yields as UTF-16LE, without byte order mark, what `inner` yields as UTF-8.
#[derive(Debug)]
pub struct ToUtf16<R> {
    inner: R,
    raw: Vec<u8>,
    /// How many bytes of `raw` wait for those that follow.
    held: usize,
    units: Vec<u8>,
    given: usize,
    at: u64,
    ended: bool,
}

impl<R: Read> ToUtf16<R> {
    /// A converter in front of `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, raw: vec![0; CHUNK], held: 0, units: Vec::new(), given: 0, at: 0, ended: false }
    }

    fn more(&mut self) -> io::Result<()> {
        self.units.clear();
        self.given = 0;
        let read = self.inner.read(self.raw.get_mut(self.held..).unwrap_or_default())?;
        self.ended = read == 0;
        let end = self.held + read;
        let bytes = self.raw.get(..end).unwrap_or_default();
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) if error.error_len().is_none() && !self.ended => {
                std::str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
            }
            Err(error) => {
                let at = self.at + error.valid_up_to() as u64;
                let error = Error::Malformed { what: "a document", at, why: "it is not UTF-8".to_owned() };
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        };
        let done = text.len();
        self.units.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        self.at += done as u64;
        self.raw.copy_within(done..end, 0);
        self.held = end - done;
        Ok(())
    }
}

impl<R: Read> Read for ToUtf16<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        while self.given == self.units.len() {
            if self.ended {
                return Ok(0);
            }
            self.more()?;
        }
        Ok(give(&self.units, &mut self.given, buf))
    }
}

/// Copies what fits of what is ready.
fn give(ready: &[u8], given: &mut usize, buf: &mut [u8]) -> usize {
    let rest = ready.get(*given..).unwrap_or_default();
    let count = rest.len().min(buf.len());
    if let (Some(to), Some(from)) = (buf.get_mut(..count), rest.get(..count)) {
        to.copy_from_slice(from);
    }
    *given += count;
    count
}
