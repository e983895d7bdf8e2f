//! The examples of the specification, every form that a length has, what is hostile, and that what is packed unpacks.

use proptest::prelude::*;

use crate::wire::error::{Error, Fault};
use crate::wire::xpress::{BLOCK_BYTES, BLOCK_BYTES_MAX, Encoder, decode, unpack};

fn packed(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new().pack(plain, &mut out);
    out
}

/// A block with its header.
fn framed(plain: usize, block: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(plain).unwrap().to_le_bytes().to_vec();
    out.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
    out.extend(block);
    out
}

/// MS-XCA 3.1, both: what they stand for, and the blocks.
fn examples() -> [(Vec<u8>, Vec<u8>); 2] {
    let letters = b"abcdefghijklmnopqrstuvwxyz".to_vec();
    let mut first = vec![0x3f, 0, 0, 0];
    first.extend(&letters);
    let second = vec![0xff, 0xff, 0xff, 0x1f, 0x61, 0x62, 0x63, 0x17, 0x00, 0x0f, 0xff, 0x26, 0x01];
    [(letters, first), (b"abc".repeat(100), second)]
}

#[test]
fn the_examples_of_the_specification_in_both_directions() {
    for (plain, block) in examples() {
        let mut out = b"before".to_vec();
        decode::block(&block, plain.len(), &mut out).unwrap();
        assert_eq!(out, [b"before".as_slice(), &plain].concat());
    }
    // The first gains nothing by packing, so that a body holds it as it is.
    let [(letters, _), (repeated, block)] = examples();
    assert_eq!(packed(&letters), framed(letters.len(), &letters));
    assert_eq!(packed(&repeated), framed(repeated.len(), &block), "the very bytes of the example");
}

#[test]
fn every_form_of_a_length_is_written_and_read() {
    // 3 to 9 in the pair, 10 to 24 in a nibble, 25 to 279 in a byte, more in two bytes; nibbles are shared by two matches.
    for length in (3..40).chain([270, 278, 279, 280, 281, 282, 5000, 16_000]) {
        for more in [0, 3, 9, 10, 24, 25, 279, 280] {
            let mut plain = vec![b'a'; length + 1];
            plain.push(b'b');
            plain.resize(plain.len() + more, b'c');
            plain.push(b'd');
            assert_eq!(unpack(&packed(&plain), plain.len()).unwrap(), plain, "{length} and {more}");
        }
    }
    // The longest form is for blocks that no body has, but other users of the algorithm write it.
    let mut block = vec![0xff, 0xff, 0xff, 0x7f, b'x', 7, 0, 0x0f, 0xff, 0, 0];
    block.extend(70_000_u32.to_le_bytes());
    let mut out = Vec::new();
    decode::block(&block, 70_004, &mut out).unwrap();
    assert_eq!(out, vec![b'x'; 70_004]);
}

#[test]
fn blocks_end_where_flags_do() {
    // 31, 32 and 33 flags: one too many, none left, a new word of flags for the end.
    for count in [31_u8, 32, 33, 63, 64, 65] {
        let mut plain: Vec<u8> = (0..count).collect();
        plain.extend([7; 900]);
        assert_eq!(unpack(&packed(&plain), plain.len()).unwrap(), plain, "{count}");
    }
    // An encoder that does not end a block with a flag.
    let mut block = vec![0; 4];
    block.extend(0..32);
    let mut out = Vec::new();
    decode::block(&block, 32, &mut out).unwrap();
    assert_eq!(out, (0..32).collect::<Vec<u8>>());
}

#[test]
fn a_body_is_blocks_like_a_real_servers() {
    assert!(packed(b"").is_empty());
    assert!(unpack(b"", 0).unwrap().is_empty());
    let plain: Vec<u8> = (0..3 * BLOCK_BYTES + 184).map(|at| ((at * at) >> 7) as u8).collect();
    let body = packed(&plain);
    let (mut at, mut lengths) = (0, Vec::new());
    while at < body.len() {
        let length = |at: usize| u32::from_le_bytes(body[at..at + 4].try_into().unwrap()) as usize;
        assert!(length(at + 4) <= length(at));
        lengths.push(length(at));
        at += 8 + length(at + 4);
    }
    assert_eq!(lengths, [BLOCK_BYTES, BLOCK_BYTES, BLOCK_BYTES, 184]);
    assert_eq!(unpack(&body, plain.len()).unwrap(), plain);
    // Blocks of any length, and some that stand for nothing, may follow each other.
    let mixed = [packed(b"one "), framed(0, b""), framed(300, &examples()[1].1), packed(b" three")].concat();
    assert_eq!(unpack(&mixed, 1000).unwrap(), [b"one ".to_vec(), b"abc".repeat(100), b" three".to_vec()].concat());
}

#[test]
fn bombs_and_broken_bodies_are_refused() {
    let why = |body: &[u8], max: usize| unpack(body, max).unwrap_err();
    let bomb = framed(65_535, &[0xff, 0xff, 0xff, 0x7f, b'x', 7, 0, 0x0f, 0xff, 0xfb, 0xff]);
    assert_eq!(unpack(&bomb, BLOCK_BYTES_MAX).unwrap(), vec![b'x'; 65_535]);
    let many = bomb.repeat(100);
    assert!(matches!(why(&many, 1 << 20), Error::Limit { max: 1_048_576, .. }));
    assert!(matches!(why(&framed(65_536, b"1234"), 1 << 20), Error::Limit { max: 65_535, .. }));
    assert!(matches!(why(&framed(u32::MAX as usize, b""), usize::MAX), Error::Limit { .. }));
    assert!(why(&framed(3, b"1234"), 100).to_string().contains("longer packed than plain"));
    let [_, (_, example)] = examples();
    for (plain, text) in [(299, "more bytes than it promises"), (301, "fewer bytes than it promises")] {
        assert!(why(&framed(plain, &example), 1000).to_string().contains(text));
    }
    let back = framed(300, &[0xff, 0xff, 0xff, 0x7f, b'x', 8, 0]);
    assert!(why(&back, 1000).to_string().contains("beyond its block"));
    // A block may not look back into the one before it.
    assert!(unpack(&[packed(b"abcdef"), back].concat(), 1000).is_err());
    let short = framed(300, &[0xff, 0xff, 0xff, 0x7f, b'x', 7, 0, 0x0f, 0xff, 21, 0]);
    assert!(why(&short, 1000).to_string().contains("a shorter form"));
    let error = why(&packed(&[1; 500])[..9], 1000);
    assert!(matches!(error, Error::Truncated { .. }) && error.fault() == Fault::Path);
    // A byte that stands for nothing.
    let mut longer = example.clone();
    longer.push(0);
    assert!(why(&framed(300, &longer), 1000).to_string().contains("in the middle"));
}

/// Text like that of answers: few words, often repeated, so that there are matches of all lengths and distances.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just(b"&lt;UpdateIdentity UpdateID=\"".to_vec()),
        Just(b" /&gt;".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
        (any::<u8>(), 1_usize..400).prop_map(|(byte, count)| vec![byte; count]),
    ];
    proptest::collection::vec((word, 1_usize..40), 0..60)
        .prop_map(|words| words.into_iter().flat_map(|(word, times)| word.repeat(times)).collect())
}

proptest! {
    #[test]
    fn what_is_packed_unpacks(first in text(), second in text()) {
        // One encoder after the other body: nothing of it may be left.
        let mut encoder = Encoder::new();
        for plain in [first, second] {
            let mut body = Vec::new();
            encoder.pack(&plain, &mut body);
            prop_assert_eq!(&body, &packed(&plain));
            prop_assert_eq!(unpack(&body, plain.len()).unwrap(), plain);
        }
    }

    #[test]
    fn a_body_that_ends_early_is_refused(plain in text(), end in any::<prop::sample::Index>()) {
        let body = packed(&plain);
        if !body.is_empty() {
            let end = end.index(body.len());
            match unpack(&body[..end], plain.len()) {
                // Between two blocks nothing is missed.
                Ok(read) => prop_assert!(read.len() % BLOCK_BYTES == 0 && plain.starts_with(&read)),
                Err(error) => prop_assert!(error.is_retryable()),
            }
        }
    }

    #[test]
    fn any_bytes_are_unpacked_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        plain in 0_usize..70_000,
        max in 0_usize..100_000,
    ) {
        for body in [bytes.clone(), framed(plain, &bytes)] {
            if let Ok(read) = unpack(&body, max) {
                prop_assert!(read.len() <= max);
            }
        }
        let mut out = vec![1, 2, 3];
        let _ = decode::block(&bytes, plain, &mut out);
        prop_assert!(out.len() <= 3 + plain);
    }

    #[test]
    fn a_body_with_bytes_changed_is_unpacked_or_refused(
        plain in text(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut body = packed(&plain);
        if !body.is_empty() {
            for (at, byte) in changes {
                let at = at.index(body.len());
                body[at] = byte;
            }
            if let Ok(read) = unpack(&body, 1 << 20) {
                prop_assert!(read.len() <= 1 << 20);
            }
        }
    }
}
