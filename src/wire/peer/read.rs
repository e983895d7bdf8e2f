//! Reading values of fixed width, little-endian, from bytes that came whole.

use bytes::Bytes;

use crate::wire::error::{Error, Result};

/// What is left of some bytes.
#[derive(Debug)]
pub(super) struct Read {
    what: &'static str,
    bytes: Bytes,
    at: usize,
}

impl Read {
    pub(super) fn new(what: &'static str, bytes: Bytes) -> Self {
        Self { what, bytes, at: 0 }
    }

    /// What is wrong here.
    pub(super) fn fail(&self, why: impl Into<String>) -> Error {
        Error::Malformed { what: self.what, at: self.at as u64, why: why.into() }
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next so many bytes, without copying them.
    pub(super) fn bytes(&mut self, len: usize) -> Result<Bytes> {
        if len > self.left() {
            return Err(self.fail(format!("{len} bytes should follow, and {} do", self.left())));
        }
        let bytes = self.bytes.slice(self.at..self.at + len);
        self.at += len;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let found = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>()).copied();
        let array = found.ok_or_else(|| self.fail(format!("{N} bytes should follow, and {} do", self.left())))?;
        self.at += N;
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<()> {
        match self.left() {
            0 => Ok(()),
            left => Err(self.fail(format!("{left} bytes are left over"))),
        }
    }
}
