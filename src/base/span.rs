//! Byte spans: half-open, in bytes from the start of an object, and ordered sets of them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The bytes `start..end` of an object. `start <= end` always holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    start: u64,
    end: u64,
}

impl Span {
    /// The bytes `start..end`; an `end` before `start` gives an empty span at `start`.
    pub const fn new(start: u64, end: u64) -> Self {
        Self { start, end: if end < start { start } else { end } }
    }

    /// `len` bytes from `start` on; ends at `u64::MAX` where the sum would not fit.
    pub const fn at(start: u64, len: u64) -> Self {
        Self { start, end: start.saturating_add(len) }
    }

    /// The first byte.
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// One past the last byte.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Number of bytes.
    pub const fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Whether there is no byte in it.
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether every byte of `other` is in here. The empty span is in every span.
    pub const fn contains(&self, other: &Span) -> bool {
        other.is_empty() || (self.start <= other.start && other.end <= self.end)
    }

    /// The bytes in both; empty where they do not meet.
    #[must_use]
    pub fn intersect(&self, other: &Span) -> Span {
        Span::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// Widened at both ends to multiples of `unit`, and then cut off at `limit`.
    #[must_use]
    pub fn align(&self, unit: u64, limit: u64) -> Span {
        if self.is_empty() {
            return *self;
        }
        let end = self.end.div_ceil(unit).saturating_mul(unit).min(limit);
        Span::new(self.start / unit * unit, end)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// A set of bytes, kept as disjoint spans that neither touch nor overlap, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpanSet {
    spans: BTreeMap<u64, u64>,
    total: u64,
}

impl SpanSet {
    /// No byte at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the bytes of `span`; what is already in stays. Returns how many bytes are new.
    pub fn insert(&mut self, span: Span) -> u64 {
        if span.is_empty() {
            return 0;
        }
        let (mut start, mut end, mut old) = (span.start, span.end, 0);
        // Every span that overlaps or touches the new one begins at or before its end; the last one that can is the
        // one before the first that begins beyond it.
        while let Some((&from, &to)) = self.spans.range(..=end).next_back() {
            if to < start {
                break;
            }
            self.spans.remove(&from);
            old += to - from;
            start = start.min(from);
            end = end.max(to);
        }
        self.spans.insert(start, end);
        let new = (end - start) - old;
        self.total += new;
        new
    }

    /// Takes the bytes of `span` out. Returns how many bytes were in.
    pub fn remove(&mut self, span: Span) -> u64 {
        if span.is_empty() {
            return 0;
        }
        let mut gone = 0;
        while let Some((&from, &to)) = self.spans.range(..span.end).next_back() {
            if to <= span.start {
                break;
            }
            self.spans.remove(&from);
            let cut = Span::new(from, to).intersect(&span);
            gone += cut.len();
            if from < cut.start {
                self.spans.insert(from, cut.start);
            }
            if cut.end < to {
                self.spans.insert(cut.end, to);
            }
        }
        self.total -= gone;
        gone
    }

    /// Number of bytes in the set.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether there is no byte in it.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Number of disjoint spans.
    pub fn count(&self) -> usize {
        self.spans.len()
    }

    /// Whether every byte of `span` is in.
    pub fn covers(&self, span: &Span) -> bool {
        span.is_empty() || self.run_at(span.start) >= span.len()
    }

    /// How many bytes from `offset` on are in without a gap; 0 where `offset` itself is not in.
    pub fn run_at(&self, offset: u64) -> u64 {
        match self.spans.range(..=offset).next_back() {
            Some((_, &to)) if to > offset => to - offset,
            _ => 0,
        }
    }

    /// The spans, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Span> + '_ {
        self.spans.iter().map(|(&start, &end)| Span { start, end })
    }

    /// The parts of the set that lie in `within`, in order.
    pub fn within(&self, within: Span) -> impl Iterator<Item = Span> + '_ {
        let first = self.spans.range(..=within.start).next_back().map_or(within.start, |(&start, _)| start);
        self.spans
            .range(first..within.end.max(first))
            .map(move |(&start, &end)| Span { start, end }.intersect(&within))
            .filter(|span| !span.is_empty())
    }

    /// The parts of `within` that are not in the set, in order.
    pub fn gaps(&self, within: Span) -> impl Iterator<Item = Span> + '_ {
        let mut at = within.start;
        let mut held = self.within(within);
        let mut done = false;
        std::iter::from_fn(move || {
            while !done {
                if let Some(span) = held.next() {
                    let gap = Span::new(at, span.start);
                    at = span.end;
                    if !gap.is_empty() {
                        return Some(gap);
                    }
                } else {
                    done = true;
                    let gap = Span::new(at, within.end);
                    if !gap.is_empty() {
                        return Some(gap);
                    }
                }
            }
            None
        })
    }
}

impl FromIterator<Span> for SpanSet {
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Self {
        let mut set = Self::new();
        for span in spans {
            set.insert(span);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The plain model: one bool a byte.
    const SIZE: u64 = 64;

    proptest! {
        #[test]
        fn behaves_as_a_row_of_flags(
            steps in proptest::collection::vec((any::<bool>(), 0..SIZE, 0..SIZE), 0..40),
            from in 0..SIZE,
            to in 0..SIZE,
        ) {
            let mut set = SpanSet::new();
            let mut flags = [false; SIZE as usize];
            for (add, a, b) in steps {
                let span = Span::new(a.min(b), a.max(b));
                let inside = span.start as usize..span.end as usize;
                let changed = flags[inside.clone()].iter().filter(|flag| **flag != add).count() as u64;
                flags[inside].fill(add);
                let told = if add { set.insert(span) } else { set.remove(span) };
                prop_assert_eq!(told, changed);
            }
            prop_assert_eq!(set.total(), flags.iter().filter(|flag| **flag).count() as u64);
            let mut last_end = None;
            for span in set.iter() {
                prop_assert!(!span.is_empty());
                prop_assert!(last_end.is_none_or(|end| end < span.start), "spans touch");
                last_end = Some(span.end);
            }
            let within = Span::new(from.min(to), from.max(to));
            let mut seen = [None; SIZE as usize];
            for span in set.within(within) {
                seen[span.start as usize..span.end as usize].fill(Some(true));
            }
            for span in set.gaps(within) {
                seen[span.start as usize..span.end as usize].fill(Some(false));
            }
            for (at, flag) in flags.iter().enumerate() {
                let inside = within.contains(&Span::at(at as u64, 1));
                prop_assert_eq!(seen[at], inside.then_some(*flag), "byte {}", at);
                let run = flags[at..].iter().take_while(|flag| **flag).count() as u64;
                prop_assert_eq!(set.run_at(at as u64), run);
            }
            prop_assert_eq!(set.covers(&within), flags[within.start as usize..within.end as usize].iter().all(|f| *f));
        }
    }

    #[test]
    fn aligns_outward_and_stops_at_the_limit() {
        assert_eq!(Span::new(5, 11).align(4, 100), Span::new(4, 12));
        assert_eq!(Span::new(5, 11).align(8, 13), Span::new(0, 13));
        assert_eq!(Span::new(5, 5).align(8, 13), Span::new(5, 5));
    }
}
