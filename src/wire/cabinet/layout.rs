//! The header of a cabinet with one folder and one member (MS-CAB 2.1 to 2.3): what the unpacker relies on is checked here.

use std::io::{self, Read};
use std::ops::Range;

use crate::wire::cabinet::WHAT;
use crate::wire::error::{Error, Result};

/// The name of the member in real ones.
pub(super) const MEMBER: &str = "blob";

/// Where date, time and attributes of the member stand in a cabinet without reserved areas.
pub(super) const STAMPS: Range<usize> = 54..60;

/// The header is not behind this: reserved areas are at most 64 KB.
const HEADER_BYTES_MAX: u64 = 128 << 10;

/// Parts of a set have flags that say so; none of them is whole.
const PREVIOUS_OR_NEXT: u16 = 0x0003;
const RESERVED: u16 = 0x0004;

/// What one block unpacks to at most (MS-CAB 2.4).
const BLOCK_BYTES_MAX: u64 = 32 << 10;

/// What is known before anything is unpacked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The name of the member.
    pub(super) name: String,
    /// How many bytes it has, as promised.
    pub(super) bytes: u64,
}

impl Layout {
    /// Reads it from the beginning of a cabinet.
    pub(super) fn read<R: Read>(cabinet: &mut R) -> Result<Self> {
        let mut header = Header { input: cabinet.take(HEADER_BYTES_MAX), at: 0 };
        if header.bytes::<4>()? != *b"MSCF" {
            return Err(header.malformed("it does not begin with MSCF"));
        }
        header.skip(12)?;
        let first_member = header.u32()?;
        header.skip(4)?;
        let version = header.bytes::<2>()?;
        if version != [3, 1] {
            return Err(header.malformed("its version is not 1.3"));
        }
        let (folders, members) = (header.u16()?, header.u16()?);
        if folders != 1 || members != 1 {
            return Err(header.malformed("it has not just one folder with one member"));
        }
        let flags = header.u16()?;
        if flags & PREVIOUS_OR_NEXT != 0 {
            return Err(header.malformed("it is a part of a set"));
        }
        header.skip(4)?;
        if flags & RESERVED != 0 {
            let (cabinet, folder, _block) = (header.u16()?, header.u8()?, header.u8()?);
            header.skip(u64::from(cabinet))?;
            let layout = header.folder()?;
            header.skip(u64::from(folder))?;
            return header.member(first_member, layout);
        }
        let blocks = header.folder()?;
        header.member(first_member, blocks)
    }
}

struct Header<R> {
    input: io::Take<R>,
    at: u64,
}

impl<R: Read> Header<R> {
    /// The folder: how many blocks it has.
    fn folder(&mut self) -> Result<u16> {
        let _first_block = self.u32()?;
        let blocks = self.u16()?;
        let packing = self.u16()?;
        match (packing & 0x000f, packing >> 8 & 0x001f) {
            // None, MSZIP, LZX with a window of 32 KiB to 2 MiB, the largest that cabinets have.
            (0 | 1, _) | (3, 15..=21) => Ok(blocks),
            _ => Err(self.malformed("it is packed neither with MSZIP nor with LZX of a window up to 2 MiB")),
        }
    }

    fn member(&mut self, first_member: u32, blocks: u16) -> Result<Layout> {
        let Some(gap) = u64::from(first_member).checked_sub(self.at) else {
            return Err(self.malformed("its member stands before its folder"));
        };
        self.skip(gap)?;
        let bytes = u64::from(self.u32()?);
        let offset = self.u32()?;
        let folder = self.u16()?;
        if offset != 0 || folder != 0 {
            return Err(self.malformed("its member does not begin where its folder begins"));
        }
        if bytes > u64::from(blocks) * BLOCK_BYTES_MAX {
            return Err(self.malformed("its member is longer than its blocks can be"));
        }
        self.skip(6)?;
        let mut name = Vec::new();
        loop {
            match self.u8()? {
                0 => break,
                byte => name.push(byte),
            }
            // MS-CAB 2.3: at most 256 bytes with the end.
            if name.len() > 255 {
                return Err(self.malformed("the name of its member does not end"));
            }
        }
        if !name.is_ascii() {
            return Err(self.malformed("the name of its member is not ASCII"));
        }
        let name = String::from_utf8(name).map_err(|_| self.malformed("the name of its member is not ASCII"))?;
        Ok(Layout { name, bytes })
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::Truncated { what: WHAT, at: self.at },
            _ => Error::Read(error),
        })?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.bytes()?))
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.bytes()?))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    fn skip(&mut self, count: u64) -> Result<()> {
        let skipped = io::copy(&mut self.input.by_ref().take(count), &mut io::sink()).map_err(Error::Read)?;
        self.at += skipped;
        if skipped < count { Err(Error::Truncated { what: WHAT, at: self.at }) } else { Ok(()) }
    }

    fn malformed(&self, why: &str) -> Error {
        Error::Malformed { what: WHAT, at: self.at, why: why.to_owned() }
    }
}
