//! One block of plain LZ77 -> its bytes (MS-XCA 2.4.4).
//!
//! 32 flags at a time, the highest bit first, say what comes: 0 a byte, 1 a match. A match is `u16le`: 13 bits of distance less
//! one, 3 bits of length less three. A length of seven there goes on in a nibble, which two matches share, one of fifteen there
//! in a byte, one of 255 there in a `u16le`, and zero there in a `u32le`; the last two hold the whole length less three.

/// The shortest match.
const MATCH_MIN: usize = 3;

/// What is being read.
struct Source<'a> {
    bytes: &'a [u8],
    /// The upper half of a byte whose lower half has been taken.
    nibble: Option<u8>,
}

impl Source<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or("a block ends in the middle")?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<usize, &'static str> {
        self.take::<1>().map(|[byte]| usize::from(byte))
    }

    fn nibble(&mut self) -> Result<usize, &'static str> {
        if let Some(nibble) = self.nibble.take() {
            return Ok(usize::from(nibble));
        }
        let [byte] = self.take()?;
        self.nibble = Some(byte >> 4);
        Ok(usize::from(byte & 15))
    }

    /// The length of a match whose three bits are `short`.
    fn length(&mut self, short: usize) -> Result<usize, &'static str> {
        if short < 7 {
            return Ok(short + MATCH_MIN);
        }
        let nibble = self.nibble()?;
        if nibble < 15 {
            return Ok(nibble + 7 + MATCH_MIN);
        }
        let byte = self.byte()?;
        if byte < 255 {
            return Ok(byte + 15 + 7 + MATCH_MIN);
        }
        let whole = match u16::from_le_bytes(self.take()?) {
            0 => usize::try_from(u32::from_le_bytes(self.take()?)).unwrap_or(usize::MAX),
            whole => usize::from(whole),
        };
        if whole < 15 + 7 {
            return Err("a match has a length that a shorter form stands for");
        }
        Ok(whole.saturating_add(MATCH_MIN))
    }
}

/// Appends the `length` bytes that `packed` stands for. Not one byte more is written, whatever it says.
pub(super) fn block(packed: &[u8], length: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let start = out.len();
    let end = start + length;
    let mut source = Source { bytes: packed, nibble: None };
    out.reserve(length);
    loop {
        // An encoder may leave out flags that nothing needs; MS-WUSP 2.1.1.1.2 wants one that ends the block.
        if out.len() == end && source.bytes.is_empty() {
            return Ok(());
        }
        let flags = u32::from_le_bytes(source.take()?);
        for bit in (0..u32::BITS).rev() {
            if source.bytes.is_empty() {
                return if out.len() == end { Ok(()) } else { Err("a block has fewer bytes than it promises") };
            }
            if flags >> bit & 1 == 0 {
                if out.len() == end {
                    return Err(TOO_MANY);
                }
                let [byte] = source.take()?;
                out.push(byte);
                continue;
            }
            let pair = usize::from(u16::from_le_bytes(source.take()?));
            let distance = (pair >> 3) + 1;
            let length = source.length(pair & 7)?;
            if length > end - out.len() {
                return Err(TOO_MANY);
            }
            if distance > out.len() - start {
                return Err("a match reaches back beyond its block");
            }
            repeat(out, distance, length);
        }
    }
}

const TOO_MANY: &str = "a block has more bytes than it promises";

/// Appends `length` bytes, each the one that stands `distance` before it: what has been written counts.
fn repeat(out: &mut Vec<u8>, distance: usize, length: usize) {
    let mut left = length;
    while left > 0 {
        let from = out.len() - distance;
        let count = left.min(distance);
        out.extend_from_within(from..from + count);
        left -= count;
    }
}
