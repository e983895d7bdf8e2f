//! A set of small numbers, one bit each.

/// The set; numbers beyond its size are not in it and cannot be put in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// An empty set with room for the numbers below `len`.
    pub(crate) fn new(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)] }
    }

    /// Whether it is in.
    pub(crate) fn has(&self, at: u32) -> bool {
        self.words.get(at as usize / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Puts it in; says whether it was not.
    pub(crate) fn add(&mut self, at: u32) -> bool {
        let Some(word) = self.words.get_mut(at as usize / 64) else { return false };
        let bit = 1 << (at % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Takes it out.
    pub(crate) fn remove(&mut self, at: u32) {
        if let Some(word) = self.words.get_mut(at as usize / 64) {
            *word &= !(1 << (at % 64));
        }
    }

    /// All of them, rising.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().zip(0_u32..).flat_map(|(word, at)| {
            std::iter::successors((*word != 0).then_some(*word), |left| {
                let rest = left & (left - 1);
                (rest != 0).then_some(rest)
            })
            .map(move |left| at * 64 + left.trailing_zeros())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let mut bits = Bits::new(130);
        let all = [0, 1, 63, 64, 127, 128, 129];
        assert!(all.iter().all(|at| bits.add(*at)) && !bits.add(64));
        assert_eq!(bits.iter().collect::<Vec<_>>(), all);
        bits.remove(63);
        assert!(!bits.has(63) && bits.has(64));
        assert!(!bits.add(1000) && !bits.has(1000) && !bits.has(u32::MAX));
        assert_eq!(Bits::default().iter().count(), 0);
    }
}
