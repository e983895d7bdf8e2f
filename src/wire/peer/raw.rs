//! A stream of frames: read as it comes, written into a buffer.
//!
//! Each frame is `kind u8, packing u8, zero u16, length u32, plain length u32, payload`. Its lengths are judged before its payload
//! is waited for, and unpacking gets exactly the room that the frame names.

use bytes::{Buf, Bytes, BytesMut};

use crate::wire::error::{Error, Result};

/// What the body of a feed's answer begins with.
pub const FEED: &[u8; 8] = b"wayfeed1";

/// Plain bytes of a payload: what the reader of a frame must hold.
pub const PLAIN_BYTES_MAX: usize = 4 << 20;

/// Bytes of a payload as it is sent: packing can make it longer by a little, and no more is needed.
pub const SENT_BYTES_MAX: usize = PLAIN_BYTES_MAX + (64 << 10);

/// The kind that ends a stream.
pub const END: u8 = 8;

/// Kinds from here on may be passed over by who does not know them.
pub const OPTIONAL: u8 = 128;

const HEADER_BYTES: usize = 12;
const WHAT: &str = "a message of a node";
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
/// Below this packing gains nothing worth its time.
const PACKED_FROM: usize = 512;
/// Fast enough for a link of a gigabit on one core.
const LEVEL: i32 = 3;

/// A frame, unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// What kind of frame.
    pub kind: u8,
    /// What is in it.
    pub payload: Bytes,
}

/// Writes a stream.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// One that begins with `magic`.
    pub fn new(magic: &[u8; 8]) -> Self {
        Self { out: magic.to_vec() }
    }

    /// Adds a frame, packed where that makes it shorter. `Limit` where it is too large for one.
    pub fn put(&mut self, kind: u8, payload: &[u8]) -> Result<()> {
        if payload.len() > PLAIN_BYTES_MAX {
            return Err(Error::Limit { what: WHAT, max: PLAIN_BYTES_MAX as u64, unit: "bytes in a frame" });
        }
        let packed = if payload.len() < PACKED_FROM {
            None
        } else {
            let packed = zstd::bulk::compress(payload, LEVEL).map_err(Error::Write)?;
            Some(packed).filter(|packed| packed.len() < payload.len())
        };
        let (packing, sent) = packed.as_deref().map_or((PLAIN, payload), |packed| (ZSTD, packed));
        self.out.extend_from_slice(&[kind, packing, 0, 0]);
        self.out.extend_from_slice(&(sent.len() as u32).to_le_bytes());
        self.out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        self.out.extend_from_slice(sent);
        Ok(())
    }

    /// Bytes that are written and not yet taken.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether all that was written is taken.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// What is written so far; what is written later follows it.
    pub fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.out).into()
    }
}

/// Reads a stream as its bytes come, in whatever portions.
#[derive(Debug)]
pub struct Reader {
    magic: &'static [u8; 8],
    begun: bool,
    ended: bool,
    held: BytesMut,
    /// Bytes of the stream before those that are held.
    at: u64,
}

impl Reader {
    /// Of a stream that begins with `magic`.
    pub fn new(magic: &'static [u8; 8]) -> Self {
        Self { magic, begun: false, ended: false, held: BytesMut::new(), at: 0 }
    }

    /// What came next. Take frames until there is none before giving more: then no more than a frame and this is held.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    fn fail(&self, why: impl Into<String>) -> Error {
        Error::Malformed { what: WHAT, at: self.at, why: why.into() }
    }

    fn skip(&mut self, len: usize) {
        self.held.advance(len);
        self.at += len as u64;
    }

    /// The next frame; `None` until more has come, and behind the end.
    pub fn frame(&mut self) -> Result<Option<Raw>> {
        if !self.begun {
            let Some(magic) = self.held.first_chunk::<8>() else { return Ok(None) };
            if magic != self.magic {
                return Err(self.fail("it does not begin as one"));
            }
            self.skip(8);
            self.begun = true;
        }
        if self.ended {
            return if self.held.is_empty() { Ok(None) } else { Err(self.fail("bytes follow its end")) };
        }
        let Some(&[kind, packing, a, b, s0, s1, s2, s3, p0, p1, p2, p3]) = self.held.first_chunk::<HEADER_BYTES>()
        else {
            return Ok(None);
        };
        let sent = u32::from_le_bytes([s0, s1, s2, s3]) as usize;
        let plain = u32::from_le_bytes([p0, p1, p2, p3]) as usize;
        if (a, b) != (0, 0) || packing > ZSTD || (packing == PLAIN && sent != plain) {
            return Err(self.fail("its head says what no frame is"));
        }
        if sent > SENT_BYTES_MAX || plain > PLAIN_BYTES_MAX {
            return Err(Error::Limit { what: WHAT, max: PLAIN_BYTES_MAX as u64, unit: "bytes in a frame" });
        }
        if self.held.len() < HEADER_BYTES + sent {
            return Ok(None);
        }
        self.skip(HEADER_BYTES);
        let payload = if packing == PLAIN {
            self.at += sent as u64;
            self.held.split_to(sent).freeze()
        } else {
            let packed = self.held.get(..sent).unwrap_or_default();
            let unpacked = zstd::bulk::decompress(packed, plain);
            let unpacked = unpacked.ok().filter(|unpacked| unpacked.len() == plain);
            let unpacked = unpacked.ok_or_else(|| self.fail("it does not unpack to what it says"))?;
            self.skip(sent);
            unpacked.into()
        };
        self.ended = kind == END;
        Ok(Some(Raw { kind, payload }))
    }

    /// Nothing comes any more: `Truncated` where the end has not been.
    pub fn finish(&self) -> Result<()> {
        if self.ended { Ok(()) } else { Err(Error::Truncated { what: WHAT, at: self.at + self.held.len() as u64 }) }
    }
}
