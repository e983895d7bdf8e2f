//! The compression that endpoints ask for with `Accept-Encoding: xpress` (MS-WUSP 2.1.1): a body is a sequence of blocks, each
//! `u32le` plain length, `u32le` packed length and so many bytes. They are plain LZ77 (MS-XCA 2.3 and 2.4, which MS-WUSP
//! 2.1.1.1.2 calls DIRECT2), each a stream of its own, or the plain bytes where the two lengths are equal. Behind the last
//! block stands nothing; an empty body has none.
//!
//! 1. [`encode`] packs a block, [`Encoder::pack`] a body: blocks as long as a real server's, stored where packing gains nothing.
//! 2. [`decode`] unpacks a block, [`unpack`] a body: never more than the block promises and never more than the caller takes,
//!    so that a few bytes cannot stand for gigabytes.
//!
//! Since no block looks back into another, packed bodies can be put together from blocks that were packed long before.

mod decode;
mod encode;

use crate::wire::error::{Error, Result};

/// What these errors are about.
const WHAT: &str = "a body in xpress";

/// Plain bytes in a block that is written: what a real server puts into every full one. Above the reach of a match (8,192),
/// so that longer blocks would gain little.
pub const BLOCK_BYTES: usize = 16_352;

/// Plain bytes that a block may have (MS-WUSP 2.1.1).
pub const BLOCK_BYTES_MAX: usize = 65_535;

/// The two lengths before a block.
const HEADER_BYTES: usize = 8;

/// Packs bodies. Holds about 50 KB of tables, so whoever packs often keeps one.
#[derive(Debug)]
pub struct Encoder {
    tables: encode::Tables,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// One that has packed nothing yet.
    pub fn new() -> Self {
        Self { tables: encode::Tables::new() }
    }

    /// Appends the blocks that stand for `plain`.
    pub fn pack(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        for block in plain.chunks(BLOCK_BYTES) {
            self.block(block, out);
        }
    }

    /// One block of at most [`BLOCK_BYTES`].
    fn block(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        encode::block(&mut self.tables, plain, out);
        if out.len() - start >= HEADER_BYTES + plain.len() {
            out.truncate(start + HEADER_BYTES);
            out.extend_from_slice(plain);
        }
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
        let packed = out.len() - start - HEADER_BYTES;
        let header = length(plain.len()).into_iter().chain(length(packed));
        for (slot, byte) in out.iter_mut().skip(start).zip(header) {
            *slot = byte;
        }
    }
}

/// What the blocks of `body` stand for; more than `max` bytes are refused before they are unpacked.
pub fn unpack(body: &[u8], max: usize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let at = (body.len() - rest.len()) as u64;
        let malformed = |why: &str| Error::Malformed { what: WHAT, at, why: why.to_owned() };
        let (plain, packed, after) = lengths(rest).ok_or(Error::Truncated { what: WHAT, at: body.len() as u64 })?;
        if plain > BLOCK_BYTES_MAX {
            return Err(Error::Limit { what: "a block in xpress", max: BLOCK_BYTES_MAX as u64, unit: "bytes" });
        }
        if packed > plain {
            return Err(malformed("a block is longer packed than plain"));
        }
        if plain > max - out.len() {
            return Err(Error::Limit { what: WHAT, max: max as u64, unit: "bytes" });
        }
        let (block, after) =
            after.split_at_checked(packed).ok_or(Error::Truncated { what: WHAT, at: body.len() as u64 })?;
        if packed == plain {
            out.extend_from_slice(block);
        } else {
            decode::block(block, plain, &mut out).map_err(malformed)?;
        }
        rest = after;
    }
    Ok(out)
}

/// The lengths of the block that `bytes` begin with, and what stands behind them.
fn lengths(bytes: &[u8]) -> Option<(usize, usize, &[u8])> {
    let (plain, rest) = bytes.split_first_chunk()?;
    let (packed, rest) = rest.split_first_chunk()?;
    let length = |bytes: &[u8; 4]| usize::try_from(u32::from_le_bytes(*bytes)).unwrap_or(usize::MAX);
    Some((length(plain), length(packed), rest))
}

#[cfg(test)]
mod tests;
