//! Numbers that follow from a seed: choices of the catalog, ids, and the bytes of files, any part of which can be had
//! without the rest.

/// A well-mixed number from `at` (the finaliser of SplitMix64).
pub(crate) fn mix(at: u64) -> u64 {
    let mut z = at.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One number out of several.
pub(crate) fn join(parts: &[u64]) -> u64 {
    parts.iter().fold(0x5157_1a70_0000_0001, |all, part| mix(all ^ mix(*part)))
}

/// Fills `buf` with the bytes that the file of `seed` has from `from` on.
pub(crate) fn file_bytes(seed: u64, from: u64, buf: &mut [u8]) {
    let skip = (from % 8) as usize;
    let mut word = from / 8;
    let mut rest = buf;
    if skip > 0 {
        let bytes = mix(seed.wrapping_add(word.wrapping_mul(0x9e37_79b9_7f4a_7c15))).to_le_bytes();
        let take = rest.len().min(8 - skip);
        let (head, tail) = rest.split_at_mut(take);
        head.copy_from_slice(&bytes[skip..skip + take]);
        rest = tail;
        word += 1;
    }
    for chunk in rest.chunks_mut(8) {
        let bytes = mix(seed.wrapping_add(word.wrapping_mul(0x9e37_79b9_7f4a_7c15))).to_le_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
        word += 1;
    }
}

/// A row of choices that follows from what it was made of.
pub(crate) struct Choices(u64);

impl Choices {
    pub(crate) fn of(parts: &[u64]) -> Self {
        Self(join(parts))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From 0 to `end`, `end` left out; 0 where that is nothing.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or(0)
    }

    /// True in `share` of 1,000 cases.
    pub(crate) fn chance(&mut self, share: u64) -> bool {
        self.below(1000) < share
    }

    /// From 0 to 1, 1 left out.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One of them.
    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len() as u64) as usize)
    }

    /// About a normal distribution with mean 0 and deviation 1.
    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_of_a_file_is_the_same_wherever_the_reading_begins() {
        let mut whole = vec![0; 10_000];
        file_bytes(7, 0, &mut whole);
        for (from, len) in [(0, 1), (3, 2), (5, 40), (8, 8), (4095, 5000)] {
            let mut part = vec![0; len];
            file_bytes(7, from as u64, &mut part);
            assert_eq!(part, whole[from..from + len], "{from} {len}");
        }
        let mut other = vec![0; 64];
        file_bytes(8, 0, &mut other);
        assert_ne!(other, whole[..64]);
    }
}
