//! Reading Xpress bodies as [MS-XCA] 2.4.4 words it (plain LZ77), for tests: it shares nothing with the crate's own codec.

/// A body of blocks: lengths before and after (u32 little endian), and the block; one whose lengths are the same is as it is.
pub(crate) fn body(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while !rest.is_empty() {
        let number = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap()) as usize;
        let (plain, packed) = (number(0), number(4));
        let block = &rest[8..8 + packed];
        if plain == packed {
            out.extend_from_slice(block);
        } else {
            out.extend(unpacked(block, plain));
        }
        rest = &rest[8 + packed..];
    }
    out
}

/// One block.
fn unpacked(block: &[u8], len: usize) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(len);
    let (mut at, mut flags, mut left, mut half) = (0, 0_u32, 0, None);
    let byte = |at: &mut usize| {
        *at += 1;
        usize::from(block[*at - 1])
    };
    while out.len() < len {
        if left == 0 {
            flags = u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
            (at, left) = (at + 4, 32);
        }
        left -= 1;
        if flags >> left & 1 == 0 {
            out.push(block[at]);
            at += 1;
            continue;
        }
        let token = byte(&mut at) | byte(&mut at) << 8;
        let (mut many, back) = (token & 7, (token >> 3) + 1);
        if many == 7 {
            // Two lengths share a byte, four bits each.
            many = match half.take() {
                None => {
                    half = Some(at);
                    byte(&mut at) & 15
                }
                Some(shared) => usize::from(block[shared]) >> 4,
            };
            if many == 15 {
                many = byte(&mut at);
                if many == 255 {
                    many = byte(&mut at) | byte(&mut at) << 8;
                    if many == 0 {
                        many = (0..4).fold(0, |sum, shift| sum | byte(&mut at) << (8 * shift));
                    }
                    many -= 15 + 7;
                }
                many += 15;
            }
            many += 7;
        }
        for _ in 0..many + 3 {
            out.push(out[out.len() - back]);
        }
    }
    out
}

/// The examples of the specification (3.1): 100 times "abc", and the letters.
#[test]
fn the_examples_of_the_specification() {
    let packed = [0xff, 0xff, 0xff, 0x1f, 0x61, 0x62, 0x63, 0x17, 0x00, 0x0f, 0xff, 0x26, 0x01];
    assert_eq!(unpacked(&packed, 300), b"abc".repeat(100));
    let letters = [
        0x3f, 0x00, 0x00, 0x00, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e,
        0x6f, 0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
    ];
    assert_eq!(unpacked(&letters, 26), b"abcdefghijklmnopqrstuvwxyz");
}
