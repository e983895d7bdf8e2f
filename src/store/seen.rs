//! Windows of a payload that were seen in memory a moment ago.
//!
//! Short ranges of one hot window are asked for thousands of times a second, and asking the kernel each time costs more than
//! all else that is found out for such an answer. So a window that was in memory as a whole counts as being there for a few
//! milliseconds: much shorter than bytes that were handed over wait for a reader, and far too short for the kernel to give up
//! pages that are in use, which are the last it takes.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::base::limits::WINDOW;
use crate::base::span::Span;

/// How long it counts, in milliseconds at most.
const TICK_MS: u128 = 5;

/// When each window was last seen in memory as a whole: four bytes for each MiB of the payload.
pub(crate) struct Seen {
    since: Instant,
    /// The number of the tick; 0 for never.
    windows: Box<[AtomicU32]>,
}

impl Seen {
    /// Of a payload of `size` bytes.
    pub(crate) fn new(size: u64) -> Self {
        let count = usize::try_from(size.div_ceil(WINDOW)).unwrap_or(0);
        Self { since: Instant::now(), windows: (0..count).map(|_| AtomicU32::new(0)).collect() }
    }

    /// Whether `span` is in memory, where `ask` asks the kernel.
    pub(crate) fn resident(&self, span: Span, ask: impl Fn(Span) -> bool) -> bool {
        let number = span.start() / WINDOW;
        let window = Span::at(number * WINDOW, WINDOW);
        let seen = usize::try_from(number).ok().and_then(|number| self.windows.get(number));
        let Some(seen) = seen.filter(|_| !span.is_empty() && span.end() <= window.end()) else {
            return ask(span);
        };
        // Never 0. Where a tick's number comes again after months, one window may count once too often.
        let tick = (self.since.elapsed().as_millis() / TICK_MS) as u32 | 1 << 31;
        if seen.load(Ordering::Relaxed) == tick {
            return true;
        }
        if ask(window) {
            seen.store(tick, Ordering::Relaxed);
            return true;
        }
        span.len() < WINDOW && ask(span)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_window_is_asked_for_once_and_a_part_by_itself() {
        let seen = Seen::new(3 * WINDOW / 2);
        let asked = RefCell::new(Vec::new());
        let all = |span: Span| {
            asked.borrow_mut().push(span);
            true
        };
        // Another tick may begin between two questions, but not between most.
        for at in 0..1000 {
            assert!(seen.resident(Span::at(at * 64, 64), all));
        }
        assert!(asked.borrow().len() < 500, "{}", asked.borrow().len());
        assert!(asked.borrow().iter().all(|span| *span == Span::at(0, WINDOW)));

        asked.borrow_mut().clear();
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
}
