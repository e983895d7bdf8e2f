//! Windows of a payload that were seen in memory a moment ago.
//!
//! Short ranges of hot windows are asked for thousands of times a second, and asking the kernel each time costs more than
//! all else that is found out for such an answer. So a window that was in memory as a whole counts as being there for a while:
//! for 5 ms at first, and for twice as long each time that it was still there when that was over, up to 80 ms. That is shorter than
//! bytes that were handed over wait for a reader, and too short for the kernel to give up pages that are in use all that time, which
//! are the last it takes. Where it took some all the same, nothing of this payload counts for longer than 5 ms for a second.
//!
//! A window that was not asked for lately is not asked about as a whole: what the answer needs of it is.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::base::limits::WINDOW;
use crate::base::span::Span;

/// A tick, in milliseconds.
const TICK_MS: u128 = 5;
/// Ticks are counted with so many bits: where one's number comes again after two weeks, one window may count once too often.
const TICK_BITS: u32 = 28;
const TICK_MASK: u32 = (1 << TICK_BITS) - 1;
/// The highest level: a window of level n counts for 2^(n-1) ticks, one of level 0 not at all.
const LEVEL_MAX: u32 = 5;
/// Ticks after which a window was not asked for lately.
const LATELY: u32 = 32;
/// Ticks for which no window goes beyond the first level after one was gone that had counted.
const CAUTION: u32 = 200;

/// When each window was last seen in memory: four bytes for each MiB of the payload.
pub(crate) struct Seen {
    since: Instant,
    /// The level above the number of the tick; 0 for never.
    windows: Box<[AtomicU32]>,
    /// The tick in which a window was found gone that had counted; 0 for never.
    lost: AtomicU32,
}

impl Seen {
    /// Of a payload of `size` bytes.
    pub(crate) fn new(size: u64) -> Self {
        let count = usize::try_from(size.div_ceil(WINDOW)).unwrap_or(0);
        let windows = (0..count).map(|_| AtomicU32::new(0)).collect();
        Self { since: Instant::now(), windows, lost: AtomicU32::new(0) }
    }

    /// Whether `span` is in memory, where `ask` asks the kernel.
    pub(crate) fn resident(&self, span: Span, ask: impl Fn(Span) -> bool) -> bool {
        // Never 0, and far enough from it that nothing that never was counts as lately.
        let ticks = self.since.elapsed().as_millis() / TICK_MS + u128::from(LATELY + CAUTION);
        self.resident_at(ticks as u32 & TICK_MASK, span, ask)
    }

    fn resident_at(&self, now: u32, span: Span, ask: impl Fn(Span) -> bool) -> bool {
        let number = span.start() / WINDOW;
        let window = Span::at(number * WINDOW, WINDOW);
        let slot = usize::try_from(number).ok().and_then(|number| self.windows.get(number));
        let Some(slot) = slot.filter(|_| !span.is_empty() && span.end() <= window.end()) else {
            return ask(span);
        };
        let was = slot.load(Ordering::Relaxed);
        let (level, age) = (was >> TICK_BITS, since(now, was));
        if level > 0 && age < 1 << (level - 1) {
            return true;
        }
        let put = |level: u32| slot.store(level << TICK_BITS | now, Ordering::Relaxed);
        let is_short = span.len() < WINDOW;
        if is_short && age >= LATELY {
            put(0);
            return ask(span);
        }
        if ask(window) {
            let is_cautious = since(now, self.lost.load(Ordering::Relaxed)) < CAUTION;
            let most = if is_cautious { 1 } else { LEVEL_MAX };
            let next = if age < LATELY { level + 1 } else { 1 };
            put(next.min(most));
            return true;
        }
        if level > 0 && age < LATELY {
            self.lost.store(now, Ordering::Relaxed);
        }
        put(0);
        is_short && ask(span)
    }
}

/// Ticks from one to another, which lies before it.
fn since(now: u32, then: u32) -> u32 {
    now.wrapping_sub(then) & TICK_MASK
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    fn short() -> Span {
        Span::at(64, 64)
    }

    #[test]
    fn a_window_in_use_is_asked_about_less_and_less_often() {
        let seen = Seen::new(3 * WINDOW / 2);
        let asked = RefCell::new(Vec::new());
        let begin = 1000;
        for now in begin..begin + 64 {
            let ask = |span: Span| {
                asked.borrow_mut().push((now - begin, span));
                true
            };
            for _ in 0..3 {
                assert!(seen.resident_at(now, short(), ask));
            }
        }
        let asked = asked.into_inner();
        assert_eq!(asked[0], (0, short()), "what nobody asked for lately is not asked about as a whole");
        assert!(asked[1..].iter().all(|(_, span)| *span == Span::at(0, WINDOW)), "{asked:?}");
        let ticks: Vec<u32> = asked.iter().map(|(tick, _)| *tick).collect();
        assert_eq!(ticks, [0, 0, 1, 3, 7, 15, 31, 47, 63]);
    }

    #[test]
    fn what_is_gone_is_found_out_in_time_and_makes_cautious() {
        let seen = Seen::new(2 * WINDOW);
        let (is_there, asked) = (Cell::new(true), Cell::new(0));
        let ask = |_: Span| {
            asked.set(asked.get() + 1);
            is_there.get()
        };
        let second = Span::at(WINDOW, 64);
        for now in 1000..1064 {
            assert!(seen.resident_at(now, short(), ask) && seen.resident_at(now, second, ask));
        }
        is_there.set(false);
        let gone = (1064..).find(|now| !seen.resident_at(*now, short(), ask)).unwrap();
        assert!(gone < 1064 + 16, "80 ms at most");
        is_there.set(true);
        let until = gone + CAUTION;
        let from = gone + 32;
        for (begin, end, most) in [(from, until, until - from), (until + 16, until + 144, 12)] {
            asked.set(0);
            for now in begin..end {
                assert!(seen.resident_at(now, second, ask));
            }
            let is_each = asked.get() == most;
            assert!(is_each || (end > until && asked.get() < most), "{begin} to {end}: {}", asked.get());
        }
    }

    #[test]
    fn a_part_is_asked_for_by_itself() {
        let seen = Seen::new(3 * WINDOW / 2);
        let asked = RefCell::new(Vec::new());
        let all = |span: Span| {
            asked.borrow_mut().push(span);
            true
        };
        let across = Span::at(WINDOW - 1, 2);
        assert!(seen.resident(across, all));
        assert!(seen.resident(Span::at(5 * WINDOW, 1), all), "past the end the kernel decides");
        assert_eq!(*asked.borrow(), [across, Span::at(5 * WINDOW, 1)]);

        let half = Seen::new(WINDOW);
        let first_half = |span: Span| span.end() <= WINDOW / 2;
        for _ in 0..3 {
            assert!(half.resident(Span::at(0, 4096), first_half));
            assert!(!half.resident(Span::at(WINDOW / 2, 4096), first_half), "what is there beside it says nothing");
            assert!(!half.resident(Span::at(0, WINDOW), first_half));
        }
    }

    #[test]
    fn nothing_counts_that_was_long_ago() {
        let seen = Seen::new(WINDOW);
        assert!(seen.resident_at(1000, Span::at(0, WINDOW), |_| true));
        assert!(seen.resident_at(1000, short(), |_| false), "seen in this tick");
        assert!(!seen.resident_at(1001, short(), |_| false));
        assert!(!seen.resident_at(1001 + LATELY, short(), |_| false));
        assert!(seen.resident_at(TICK_MASK, Span::at(0, WINDOW), |_| true));
        assert!(!seen.resident_at(0, short(), |_| false), "the count begins anew");
    }
}
