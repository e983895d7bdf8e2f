//! Documents as cabinets: one folder, one member named `blob`, UTF-16LE without a byte order mark, no date ([MS-CAB], and
//! what was recorded of real servers).
//!
//! MSZIP comes from the `cab` crate, LZX from an encoder of this crate.

use std::io::{self, Cursor, Write};

use cab::{CabinetBuilder, CompressionType};

use crate::lzx::{self, Encoder, FRAME};

/// What the member is called.
const MEMBER: &str = "blob";

/// Where date, time and attributes of the one file stand, behind header (36), folder (8) and the first 10 bytes of it.
const STAMP: std::ops::Range<usize> = 54..60;

/// What one data block holds at most.
const BLOCK: usize = 0x8000;

/// UTF-16LE of `text`, in parts.
fn units(text: &str) -> impl Iterator<Item = u8> + '_ {
    text.encode_utf16().flat_map(u16::to_le_bytes)
}

/// How many bytes of UTF-16 a text has.
pub(crate) fn length(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum::<usize>() * 2
}

/// The text as an MSZIP cabinet.
pub(crate) fn mszip(text: &str) -> io::Result<Vec<u8>> {
    let mut bytes = units(text);
    mszip_of(|out| {
        let mut part = Vec::with_capacity(BLOCK);
        loop {
            part.clear();
            part.extend(bytes.by_ref().take(BLOCK));
            if part.is_empty() {
                return Ok(());
            }
            out.write_all(&part)?;
        }
    })
}

/// A cabinet that inflates to `size` bytes of spaces and line ends: a bomb.
pub(crate) fn bomb(size: u64) -> io::Result<Vec<u8>> {
    mszip_of(|out| {
        let part = vec![0x20; BLOCK];
        for _ in 0..size / BLOCK as u64 {
            out.write_all(&part)?;
        }
        Ok(())
    })
}

fn mszip_of(fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<Vec<u8>> {
    let mut builder = CabinetBuilder::new();
    builder.add_folder(CompressionType::MsZip).add_file(MEMBER);
    let mut cabinet = builder.build(Cursor::new(Vec::new()))?;
    if let Some(mut file) = cabinet.next_file()? {
        fill(&mut file)?;
    }
    let mut bytes = cabinet.finish()?.into_inner();
    // Nothing sums these bytes up; the crate would have put the present time there.
    if let Some(stamp) = bytes.get_mut(STAMP) {
        stamp.fill(0);
    }
    Ok(bytes)
}

/// The checksum of [MS-CAB] 3.1.
fn checksum(seed: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<4>();
    let sum = words.iter().fold(seed, |sum, word| sum ^ u32::from_le_bytes(*word));
    // What is left counts with its first byte highest.
    sum ^ rest.iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// The text as an LZX cabinet, window 21; `stored` leaves its blocks uncompressed.
pub(crate) fn lzx(text: &str, stored: bool) -> Vec<u8> {
    let size = length(text) as u32;
    let mut blocks = 0u16;
    let mut data = Vec::new();
    let mut encoder = Encoder::new();
    let mut bytes = units(text);
    let mut part = Vec::with_capacity(FRAME);
    loop {
        part.clear();
        part.extend(bytes.by_ref().take(FRAME));
        if part.is_empty() {
            break;
        }
        let frame = if stored { lzx::stored(&part, blocks == 0) } else { encoder.frame(&part) };
        let mut lengths = [0; 4];
        lengths[..2].copy_from_slice(&(frame.len() as u16).to_le_bytes());
        lengths[2..].copy_from_slice(&(part.len() as u16).to_le_bytes());
        let sum = checksum(checksum(0, &frame), &lengths);
        data.extend(sum.to_le_bytes());
        data.extend(lengths);
        data.extend(frame);
        blocks += 1;
    }
    let start = 36 + 8 + 16 + MEMBER.len() as u32 + 1;
    let mut out = Vec::with_capacity(start as usize + data.len());
    out.extend(b"MSCF");
    out.extend(0u32.to_le_bytes());
    out.extend((start + data.len() as u32).to_le_bytes());
    out.extend(0u32.to_le_bytes());
    out.extend(44u32.to_le_bytes());
    out.extend(0u32.to_le_bytes());
    out.extend([3, 1]);
    out.extend(1u16.to_le_bytes());
    out.extend(1u16.to_le_bytes());
    out.extend([0; 6]);
    out.extend(start.to_le_bytes());
    out.extend(blocks.to_le_bytes());
    out.extend(0x1503u16.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend([0; 12]);
    out.extend(MEMBER.as_bytes());
    out.push(0);
    out.extend(data);
    out
}

#[cfg(test)]
pub(crate) fn read(bytes: &[u8]) -> String {
    use std::io::Read as _;
    let mut cabinet = cab::Cabinet::new(Cursor::new(bytes)).expect("a cabinet");
    let mut blob = Vec::new();
    cabinet.read_file(MEMBER).expect("a blob").read_to_end(&mut blob).expect("its bytes");
    let units: Vec<u16> = blob.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    String::from_utf16(&units).expect("UTF-16")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Choices;

    #[test]
    fn both_forms_come_back_whole() {
        for length in [0, 1, 2_000, 16_383, 16_384, 16_385, 100_001] {
            let text: String = (0..length).map(|at| if at % 7 == 0 { '日' } else { 'x' }).collect();
            assert_eq!(read(&mszip(&text).unwrap()), text, "MSZIP {length}");
            if length > 0 {
                assert_eq!(read(&lzx(&text, true)), text, "stored {length}");
                assert_eq!(read(&lzx(&text, false)), text, "LZX {length}");
            }
        }
        assert_eq!(mszip("the same").unwrap(), mszip("the same").unwrap());
    }

    #[test]
    fn lzx_brings_back_documents_and_noise_and_shrinks_documents() {
        let mut rules = String::new();
        crate::rules::expression(&mut Choices::of(&[1]), 300_000, &mut rules);
        crate::rules::manifest(&mut Choices::of(&[2]), 900_000, &mut rules);
        let packed = lzx(&rules, false);
        assert_eq!(read(&packed), rules);
        assert!(packed.len() * 6 < length(&rules), "{} of {}", packed.len(), length(&rules));
        let mut choice = Choices::of(&[3]);
        let noise: String = (0..70_000).filter_map(|_| char::from_u32(choice.below(0xd800) as u32)).collect();
        assert_eq!(read(&lzx(&noise, false)), noise);
        for text in ["x", "xxxxxxxx", "abcabcabcabcabcabcabc"] {
            assert_eq!(read(&lzx(text, false)), text);
        }
    }

    #[test]
    fn header_and_layout_are_those_of_real_ones() {
        let bytes = lzx("<upd:Update />", false);
        assert_eq!(&bytes[..4], b"MSCF");
        assert_eq!(u32::from_le_bytes(bytes[36..40].try_into().unwrap()), 65);
        assert_eq!(&bytes[60..65], b"blob\0");
        assert_eq!(&mszip("x").unwrap()[60..65], b"blob\0");
    }
}
