//! Undoes `Content-Encoding: xpress`: blocks of plain LZ77 (MS-XCA section 2.4), each behind its two lengths (MS-WUSP section 2.1.1).

/// What an answer may grow to; the largest one recorded had 1.1 MB.
const MAX: usize = 64 << 20;

/// The plain bytes; the error says what is wrong with the packed ones.
pub(crate) fn unpack(mut packed: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    while !packed.is_empty() {
        let (plain, rest) = number(packed)?;
        let (length, rest) = number(rest)?;
        let block = rest.get(..length).ok_or_else(|| format!("a block of {length} bytes ends after {}", rest.len()))?;
        packed = rest.get(length..).unwrap_or_default();
        if plain > 65_535 {
            return Err(format!("a block says that it has {plain} bytes; 65535 are the most"));
        }
        if out.len() + plain > MAX {
            return Err(format!("the answer has more than {MAX} bytes"));
        }
        if length == plain {
            out.extend_from_slice(block);
        } else {
            block_of(block, plain, &mut out)?;
        }
    }
    Ok(out)
}

fn number(from: &[u8]) -> Result<(usize, &[u8]), String> {
    let (head, rest) = from.split_first_chunk::<4>().ok_or("a block ends within its lengths")?;
    Ok((u32::from_le_bytes(*head) as usize, rest))
}

/// Reads bytes and words off a block.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let end = self.at + N;
        let found = self.bytes.get(self.at..end).and_then(|part| part.try_into().ok());
        self.at = end;
        found.ok_or_else(|| format!("the block of {} bytes ends too early", self.bytes.len()))
    }
}

fn block_of(bytes: &[u8], plain: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let start = out.len();
    let end = start + plain;
    let mut input = Input { bytes, at: 0 };
    let (mut flags, mut left) = (0u32, 0u32);
    // Where the byte lies whose upper half is the next length of 10 and more.
    let mut half: Option<u8> = None;
    while out.len() < end {
        if left == 0 {
            flags = u32::from_le_bytes(input.take()?);
            left = 32;
        }
        left -= 1;
        if flags >> left & 1 == 0 {
            let [literal] = input.take()?;
            out.push(literal);
            continue;
        }
        let word = u16::from_le_bytes(input.take()?);
        let distance = usize::from(word >> 3) + 1;
        let mut length = usize::from(word & 7);
        if length == 7 {
            length = if let Some(shared) = half.take() {
                usize::from(shared >> 4)
            } else {
                let [shared] = input.take()?;
                half = Some(shared);
                usize::from(shared & 15)
            };
            if length == 15 {
                let [more] = input.take()?;
                length = usize::from(more);
                if length == 255 {
                    length = usize::from(u16::from_le_bytes(input.take()?));
                    if length == 0 {
                        length = u32::from_le_bytes(input.take()?) as usize;
                    }
                    length = length.checked_sub(22).ok_or("a length is too small for its form")?;
                }
                length += 15;
            }
            length += 7;
        }
        length += 3;
        let from = out.len().checked_sub(distance).filter(|from| *from >= start);
        let from = from.ok_or_else(|| format!("a match reaches {distance} bytes back, before its block"))?;
        if length > end - out.len() {
            return Err(format!("a match of {length} bytes reaches beyond its block"));
        }
        for at in from..from + length {
            if let Some(byte) = out.get(at).copied() {
                out.push(byte);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(plain: u32, block: &[u8]) -> Vec<u8> {
        let mut out = plain.to_le_bytes().to_vec();
        out.extend_from_slice(&(block.len() as u32).to_le_bytes());
        out.extend_from_slice(block);
        out
    }

    /// The examples of MS-XCA section 3.1.
    #[test]
    fn the_published_examples_are_read() {
        let letters = [
            0x3f, 0, 0, 0, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f,
            0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
        ];
        assert_eq!(unpack(&framed(26, &letters)).as_deref(), Ok(b"abcdefghijklmnopqrstuvwxyz".as_slice()));
        let repeated = [0xff, 0xff, 0xff, 0x1f, 0x61, 0x62, 0x63, 0x17, 0x00, 0x0f, 0xff, 0x26, 0x01];
        assert_eq!(unpack(&framed(300, &repeated)), Ok(b"abc".repeat(100)));
    }

    #[test]
    fn stored_blocks_and_several_are_read() {
        let mut both = framed(3, b"abc");
        both.extend(framed(300, &[0xff, 0xff, 0xff, 0x1f, 0x61, 0x62, 0x63, 0x17, 0x00, 0x0f, 0xff, 0x26, 0x01]));
        let plain = unpack(&both).expect("whole");
        assert_eq!((plain.len(), &plain[..6]), (303, b"abcabc".as_slice()));
        assert_eq!(unpack(b""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_cut_off_or_lies_is_an_error() {
        let whole = framed(300, &[0xff, 0xff, 0xff, 0x1f, 0x61, 0x62, 0x63, 0x17, 0x00, 0x0f, 0xff, 0x26, 0x01]);
        for end in 1..whole.len() {
            assert!(unpack(&whole[..end]).is_err(), "{end}");
        }
        for (plain, block) in [
            (70_000, [0u8; 8].as_slice()),
            (9, &[0, 0, 0, 0, 0x61]),
            // Reaches back before the first byte.
            (9, &[0xff, 0xff, 0xff, 0xff, 0x17, 0x00]),
            // Longer than the block.
            (4, &[0xff, 0xff, 0xff, 0x7f, 0x61, 0x05, 0x00]),
        ] {
            assert!(unpack(&framed(plain, block)).is_err(), "{plain}");
        }
    }
}
