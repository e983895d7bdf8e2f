//! Where the entry of a number is. An agent lists all that it holds with each request, thousands of numbers, so that this must cost next to
//! nothing.

/// Numbers that one page covers.
const PAGE: u32 = 64;
/// Pages beyond so many for each number are not kept: numbers are given away one after the other, and so far apart they never lie.
const SPREAD: usize = 64;

/// A bit for each number, and how many there are before each page of bits; or, where they lie too far apart, the numbers as they are.
#[derive(Clone, Debug)]
pub(super) enum Numbers {
    Pages { first: u32, pages: Vec<(u64, u32)> },
    Few(Vec<u32>),
}

impl Default for Numbers {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Numbers {
    /// Rising numbers, each once.
    pub(super) fn new(numbers: impl Iterator<Item = u32>) -> Self {
        let few: Vec<u32> = numbers.collect();
        let (Some(first), Some(last)) = (few.first(), few.last()) else { return Self::default() };
        let first = first / PAGE;
        let many = (last / PAGE - first) as usize + 1;
        if many > SPREAD * few.len() {
            return Self::Few(few);
        }
        let mut pages = vec![(0_u64, 0_u32); many];
        for number in &few {
            if let Some((bits, _)) = pages.get_mut((number / PAGE - first) as usize) {
                *bits |= 1 << (number % PAGE);
            }
        }
        let mut before = 0;
        for (bits, rank) in &mut pages {
            *rank = before;
            before += bits.count_ones();
        }
        Self::Pages { first, pages }
    }

    /// How many are before it, if it is there.
    pub(super) fn place(&self, number: u32) -> Option<u32> {
        match self {
            Self::Few(few) => few.binary_search(&number).ok().and_then(|at| u32::try_from(at).ok()),
            Self::Pages { first, pages } => {
                let (bits, rank) = pages.get((number / PAGE).checked_sub(*first)? as usize)?;
                let bit = 1 << (number % PAGE);
                (bits & bit != 0).then(|| rank + (bits & (bit - 1)).count_ones())
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Pages { pages, .. } => pages.capacity() * size_of::<(u64, u32)>(),
            Self::Few(few) => few.capacity() * size_of::<u32>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_where_it_stands() {
        let near: Vec<u32> = (100..9000).filter(|number| number % 3 == 1).collect();
        for all in [near, vec![1, 64, u32::MAX], vec![u32::MAX], vec![]] {
            let numbers = Numbers::new(all.iter().copied());
            for number in (0..10_000).chain([u32::MAX - 1, u32::MAX]) {
                let at = all.binary_search(&number).ok().map(|at| u32::try_from(at).unwrap());
                assert_eq!(numbers.place(number), at, "{number}");
            }
        }
    }
}
