//! Cabinets of every packing, bombs, cut ones, and any bytes at all.

use std::io::{Cursor, Read, Write};

use cab::{CabinetBuilder, CompressionType};
use proptest::prelude::*;

use crate::wire::cabinet::{
    FromUtf16, ToUtf16, UNPACKED_BYTES_MAX, from_io, pack_text, read_text, unpack, unpack_text,
};
use crate::wire::error::{Error, Fault as Blame};

fn text_of(cabinet: &[u8], max: u64) -> Result<String, Error> {
    let mut out = Vec::new();
    unpack_text(Cursor::new(cabinet), &mut out, max)?;
    Ok(String::from_utf8(out).unwrap())
}

fn packed(kind: CompressionType, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = CabinetBuilder::new();
    let folder = builder.add_folder(kind);
    for (name, _) in files {
        folder.add_file(*name);
    }
    let mut writer = builder.build(Cursor::new(Vec::new())).unwrap();
    for (_, bytes) in files {
        writer.next_file().unwrap().unwrap().write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn packed_or_not_the_bytes_come_out() {
    for size in [0, 1, 2, 32_766, 32_768, 32_770, 200_000] {
        let bytes: Vec<u8> = (0..size).map(|at: u32| (at.wrapping_mul(at) >> 7) as u8).collect();
        for kind in [CompressionType::None, CompressionType::MsZip] {
            let cabinet = packed(kind, &[("any.name", &bytes)]);
            let mut out = Vec::new();
            if size == 0 {
                // A folder without a block cannot be unpacked from; an empty document is none anyway.
                let _ = unpack(Cursor::new(&cabinet), &mut out, UNPACKED_BYTES_MAX);
            } else {
                assert_eq!(unpack(Cursor::new(&cabinet), &mut out, UNPACKED_BYTES_MAX).unwrap(), bytes.len() as u64);
            }
            assert!(out == bytes, "{size}");
        }
    }
}

#[test]
fn a_bomb_is_refused_before_it_unpacks() {
    let bomb = packed(CompressionType::MsZip, &[("blob", &vec![0x20; 32 << 20])]);
    assert!(bomb.len() < 100_000, "{}", bomb.len());
    let mut out = Vec::new();
    let error = unpack(Cursor::new(&bomb), &mut out, 1 << 20).unwrap_err();
    assert!(matches!(error, Error::Limit { max: 1_048_576, .. }), "{error}");
    assert!(out.is_empty());
    // One that lies about its length gives as much as it promised, or ends too early.
    let mut lie = bomb.clone();
    lie[44..48].copy_from_slice(&1000_u32.to_le_bytes());
    assert_eq!(unpack(Cursor::new(&lie), &mut out, 1 << 20).unwrap(), 1000);
    lie[44..48].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(unpack(Cursor::new(&lie), &mut out, u64::MAX).is_err());
    let mut short = packed(CompressionType::None, &[("blob", b"some bytes")]);
    short[44..48].copy_from_slice(&11_u32.to_le_bytes());
    assert!(matches!(unpack(Cursor::new(&short), &mut Vec::new(), 100), Err(Error::Truncated { .. })));
}

#[test]
fn what_is_no_such_cabinet_is_refused() {
    let whole = packed(CompressionType::MsZip, &[("blob", &[b'a', 0].repeat(5000))]);
    let change = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        text_of(&changed, UNPACKED_BYTES_MAX)
    };
    assert_eq!(text_of(&whole, UNPACKED_BYTES_MAX).unwrap(), "a".repeat(5000));
    let two = packed(CompressionType::MsZip, &[("blob", b"a\0"), ("more", b"b\0")]);
    for (what, result) in [
        ("signature", change(0, b"PK\x03\x04")),
        ("version", change(24, &[9, 1])),
        ("folders", change(26, &[2, 0])),
        ("no member", change(28, &[0, 0])),
        ("two members", text_of(&two, UNPACKED_BYTES_MAX)),
        ("part of a set", change(30, &[1, 0])),
        ("quantum", change(42, &[0x72, 0x14])),
        ("a window of 32 MiB", change(42, &[3, 25])),
        ("not begun at the beginning", change(48, &[4, 0, 0, 0])),
        ("no block", change(40, &[0, 0])),
        ("a bit of the data", change(80, &[!whole[80]])),
        ("member before folder", change(16, &[8, 0, 0, 0])),
        ("member behind the end", change(16, &[0xff, 0xff, 0, 0])),
    ] {
        let error = result.expect_err(what);
        assert!(matches!(error.fault(), Blame::Sender | Blame::Path), "{what}: {error}");
    }
    for end in 0..whole.len() {
        assert!(text_of(&whole[..end], UNPACKED_BYTES_MAX).is_err(), "{end}");
    }
}

#[test]
fn half_characters_are_refused() {
    for (units, what) in [
        (&b"a\0\x00\xd8"[..], "half a pair at the end"),
        (b"\x00\xd8a\0", "half a pair"),
        (b"\x00\xdca\0", "the other half"),
        (b"a\0b", "half a unit"),
    ] {
        let cabinet = packed(CompressionType::MsZip, &[("blob", units)]);
        assert!(text_of(&cabinet, UNPACKED_BYTES_MAX).is_err(), "{what}");
        let through =
            read_text(Cursor::new(&cabinet), UNPACKED_BYTES_MAX, |text| text.read_to_string(&mut String::new()));
        assert!(matches!(from_io(through.unwrap().unwrap_err()), Error::Malformed { .. } | Error::Truncated { .. }));
    }
    let cabinet = packed(CompressionType::MsZip, &[("blob", b"\xff\xfea\0")]);
    assert_eq!(text_of(&cabinet, UNPACKED_BYTES_MAX).unwrap(), "a", "a byte order mark is no text");
    assert!(pack_text(&mut &b"\xff"[..]).is_err());
    assert!(pack_text(&mut &b"\xe4\xb8"[..]).is_err());
}

/// Yields one byte at a time, or a few.
struct Slow<'a>(&'a [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let count = self.1.min(buf.len());
        self.0.read(&mut buf[..count])
    }
}

proptest! {
    #[test]
    fn utf_8_and_utf_16_turn_into_each_other(text: String, piece in 1..9_usize) {
        let mut units = Vec::new();
        ToUtf16::new(Slow(text.as_bytes(), piece)).read_to_end(&mut units).unwrap();
        let wanted: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        prop_assert_eq!(&units, &wanted);
        let mut back = String::new();
        FromUtf16::new(Slow(&units, piece)).read_to_string(&mut back).unwrap();
        prop_assert_eq!(back, text.strip_prefix('\u{feff}').unwrap_or(&text));
    }

    #[test]
    fn what_is_packed_unpacks(words in proptest::collection::vec("[a-z<>\u{e4}\u{4e2d}\u{1f600}]{1,12}", 1..8), times in 1..4000_usize) {
        let text = words.concat().repeat(times);
        let cabinet = pack_text(&mut text.as_bytes()).unwrap();
        prop_assert!(text_of(&cabinet, UNPACKED_BYTES_MAX).unwrap() == text);
    }

    #[test]
    fn any_bytes_are_unpacked_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = text_of(&bytes, 1 << 20);
    }

    #[test]
    fn any_data_of_any_packing_is_unpacked_or_refused(
        data in proptest::collection::vec(any::<u8>(), 0..600),
        kind in prop_oneof![Just([0, 0]), Just([1, 0]), Just([3, 15]), Just([3, 21])],
        size: u16,
    ) {
        // One block without a checksum, so that the unpacker sees the data whatever they are.
        let mut bytes = b"MSCF\0\0\0\0\0\0\0\0\0\0\0\0\x2c\0\0\0\0\0\0\0\x03\x01\x01\0\x01\0\0\0\0\0\0\0\x41\0\0\0\x01\0".to_vec();
        bytes.extend(kind);
        bytes.extend(u32::from(size).to_le_bytes());
        bytes.extend(b"\0\0\0\0\0\0\0\0\0\0\0\0blob\0\0\0\0\0");
        bytes.extend(u16::try_from(data.len()).unwrap().to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(&data);
        let _ = unpack(Cursor::new(&bytes), &mut std::io::sink(), 1 << 20);
    }
}
