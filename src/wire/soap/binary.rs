//! Base64 that comes in pieces -> bytes that go on in pieces (RFC 4648, 4, with padding; XML Schema allows white space).

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Characters that are decoded at a time: a multiple of four.
const CHUNK: usize = 16 << 10;

/// Takes base64 and hands the bytes on. What is wrong with them is said at the end: what stands behind a mistake is
/// swallowed, so that the message around it can be read on.
#[derive(Debug)]
pub struct Decoder<W> {
    out: W,
    held: Vec<u8>,
    bytes: Vec<u8>,
    count: u64,
    max: u64,
    padded: bool,
    wrong: Option<Wrong>,
}

/// What is wrong with base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is none.
    NotBase64,
    /// It stands for more bytes than it may.
    TooLong,
}

impl<W: Write> Decoder<W> {
    /// Hands at most `max` bytes to `out`.
    pub fn new(out: W, max: u64) -> Self {
        Self { out, held: Vec::new(), bytes: Vec::new(), count: 0, max, padded: false, wrong: None }
    }

    /// How many bytes it stood for, once it has ended.
    pub fn finish(mut self) -> io::Result<Result<u64, Wrong>> {
        self.decode()?;
        if !self.held.is_empty() {
            self.wrong.get_or_insert(Wrong::NotBase64);
        }
        Ok(self.wrong.map_or(Ok(self.count), Err))
    }

    /// Hands on what is complete.
    fn decode(&mut self) -> io::Result<()> {
        let whole = self.held.len() / 4 * 4;
        if whole == 0 || self.wrong.is_some() {
            return Ok(());
        }
        let groups = self.held.get(..whole).unwrap_or_default();
        self.bytes.clear();
        if self.padded || STANDARD.decode_vec(groups, &mut self.bytes).is_err() {
            self.wrong = Some(Wrong::NotBase64);
            return Ok(());
        }
        // Padding ends it.
        self.padded = groups.last() == Some(&b'=');
        self.held.drain(..whole);
        self.count += self.bytes.len() as u64;
        if self.count > self.max {
            self.wrong = Some(Wrong::TooLong);
            return Ok(());
        }
        self.out.write_all(&self.bytes)
    }
}

impl<W: Write> Write for Decoder<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.wrong.is_none() {
            for piece in text.chunks(CHUNK) {
                self.held.extend(piece.iter().filter(|byte| !byte.is_ascii_whitespace()));
                self.decode()?;
            }
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
