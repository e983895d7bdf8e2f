//! Contents that can be checked anywhere without the file: every 8 bytes follow from a seed and their place. And the
//! shuffles, which follow from a seed too.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use sha2::{Digest, Sha256};

/// A well-mixed number from `at` (the finaliser of SplitMix64).
pub(crate) fn mix(at: u64) -> u64 {
    let mut z = at.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Fills `buf` with the bytes that `seed` has from `from` on.
pub(crate) fn read(seed: u64, from: u64, buf: &mut [u8]) {
    let skip = (from % 8) as usize;
    let mut word = from / 8;
    let mut rest = buf;
    if skip > 0 {
        let bytes = mix(seed ^ word).to_le_bytes();
        let take = rest.len().min(8 - skip);
        rest[..take].copy_from_slice(&bytes[skip..skip + take]);
        rest = &mut rest[take..];
        word += 1;
    }
    for chunk in rest.chunks_mut(8) {
        chunk.copy_from_slice(&mix(seed ^ word).to_le_bytes()[..chunk.len()]);
        word += 1;
    }
}

/// Whether `buf` is what `seed` has from `from` on.
pub(crate) fn matches(seed: u64, from: u64, buf: &[u8]) -> bool {
    let mut want = [0; 4096];
    let mut at = from;
    buf.chunks(want.len()).all(|chunk| {
        let want = &mut want[..chunk.len()];
        read(seed, at, want);
        at += chunk.len() as u64;
        want == chunk
    })
}

/// Writes `size` bytes of `seed` to `path` and syncs them; their SHA-256 in hex.
pub(crate) fn write(path: &Path, seed: u64, size: u64) -> io::Result<String> {
    let mut file = fs::File::create(path)?;
    let mut sha256 = Sha256::new();
    let mut buf = vec![0; 1 << 20];
    let mut at = 0;
    while at < size {
        let take = buf.len().min((size - at) as usize);
        read(seed, at, &mut buf[..take]);
        sha256.update(&buf[..take]);
        file.write_all(&buf[..take])?;
        at += take as u64;
    }
    file.sync_all()?;
    Ok(hex(&sha256.finalize()))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Shuffles `items` in the way that `seed` says (Fisher and Yates).
pub(crate) fn shuffle<T>(items: &mut [T], seed: u64) {
    for last in (1..items.len()).rev() {
        items.swap(last, (mix(seed.wrapping_add(last as u64)) % (last as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_of_the_contents_is_the_same_wherever_the_reading_begins() {
        let mut whole = vec![0; 10_000];
        read(7, 0, &mut whole);
        for (from, len) in [(0, 1), (3, 2), (5, 40), (8, 8), (4095, 5000)] {
            assert!(matches(7, from as u64, &whole[from..from + len]), "{from} {len}");
            assert!(!matches(8, from as u64, &whole[from..from + len]), "{from} {len}");
        }
    }

    #[test]
    fn a_shuffle_keeps_all_items_and_is_the_same_again() {
        let sorted: Vec<u32> = (0..100).collect();
        let (mut one, mut two) = (sorted.clone(), sorted.clone());
        shuffle(&mut one, 1);
        shuffle(&mut two, 1);
        assert_eq!(one, two);
        assert_ne!(one, sorted);
        one.sort_unstable();
        assert_eq!(one, sorted);
    }
}
