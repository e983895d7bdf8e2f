//! Windows of a payload that were seen in memory a moment ago.
//!
//! Short ranges of hot windows are asked for thousands of times a second, and asking the kernel each time costs more than
//! all else that is found out for such an answer. So a window that was in memory as a whole counts as being there for a while:
//! for 5 ms at first, and for twice as long each time that somebody asks again soon after that and it is still there, up to 80 ms.
//! What is in use is the last that the kernel takes. It may still take some of it, and one range in use makes the whole window count,
//! so that a reader can come upon a page that is gone and wait for the disk on a reactor thread. Two signs tell of that: a
//! window that had counted is found gone, or a thread that serves windows had to wait for pages (major faults, getrusage(2),
//! looked at once in a tick). From then on nothing counts for longer than 5 ms, in any payload, until a second has passed without
//! either; so it costs one such wait a second, where memory is short.
//!
//! A window that nobody asked for lately, or that is not there as a whole, is not asked about as a whole in the same tick: what the
//! answer needs of it is.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::base::limits::WINDOW;
use crate::base::span::Span;
use crate::store::blob::major_faults;

/// A tick, in milliseconds.
const TICK_MS: u128 = 5;
/// Ticks are counted with so many bits: where one's number comes again after two weeks, one window may count once too often.
const TICK_BITS: u32 = 28;
const TICK_MASK: u32 = (1 << TICK_BITS) - 1;
/// The highest level: a window of level n counts for 2^(n-1) ticks, one of level 0 not at all.
const LEVEL_MAX: u32 = 5;
/// Ticks after which a window was not asked for lately: longer than the longest that one counts.
const LATELY: u32 = 32;
/// Ticks for which nothing counts for longer than one after pages were gone.
const CAUTION: u32 = 200;

thread_local! {
    /// When this thread last looked at its faults, and how many there were.
    static LOOKED: Cell<(u32, u64)> = const { Cell::new((0, 0)) };
}

/// What the payloads of a store have in common: the count of ticks, and when pages were gone.
pub(crate) struct Watch {
    since: Instant,
    /// The tick in which that was found out last; 0 for never.
    lost: AtomicU32,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), lost: AtomicU32::new(0) }
    }

    /// The tick; begins where 0 is longer ago than anything that counts.
    fn now(&self) -> u32 {
        let ticks = self.since.elapsed().as_millis() / TICK_MS + u128::from(LATELY + CAUTION);
        ticks as u32 & TICK_MASK
    }

    /// Looks once in a tick whether this thread had to wait for pages since it last looked.
    fn look(&self, now: u32, faults: impl Fn() -> u64) {
        LOOKED.with(|looked| {
            let (tick, known) = looked.get();
            if tick != now {
                let faults = faults();
                looked.set((now, faults));
                // The first look of a thread tells nothing.
                if tick != 0 && faults != known {
                    self.lose(now);
                }
            }
        });
    }

    fn lose(&self, now: u32) {
        self.lost.store(now, Ordering::Relaxed);
    }

    fn is_cautious(&self, now: u32) -> bool {
        since(now, self.lost.load(Ordering::Relaxed)) < CAUTION
    }
}

/// When each window was last seen in memory: four bytes for each MiB of the payload.
pub(crate) struct Seen {
    watch: Arc<Watch>,
    /// The level above the number of the tick; 0 for never.
    windows: Box<[AtomicU32]>,
}

impl Seen {
    /// Of a payload of `size` bytes.
    pub(crate) fn new(size: u64, watch: Arc<Watch>) -> Self {
        let count = usize::try_from(size.div_ceil(WINDOW)).unwrap_or(0);
        Self { watch, windows: (0..count).map(|_| AtomicU32::new(0)).collect() }
    }

    /// Whether `span` is in memory, where `ask` asks the kernel.
    pub(crate) fn resident(&self, span: Span, ask: impl Fn(Span) -> bool) -> bool {
        let now = self.watch.now();
        self.watch.look(now, major_faults);
        self.resident_at(now, span, ask)
    }

    fn resident_at(&self, now: u32, span: Span, ask: impl Fn(Span) -> bool) -> bool {
        let number = span.start() / WINDOW;
        let window = Span::at(number * WINDOW, WINDOW);
        let slot = usize::try_from(number).ok().and_then(|number| self.windows.get(number));
        let Some(slot) = slot.filter(|_| !span.is_empty() && span.end() <= window.end()) else {
            return ask(span);
        };
        let was = slot.load(Ordering::Relaxed);
        let age = since(now, was);
        let level = match was >> TICK_BITS {
            level if level > 1 && self.watch.is_cautious(now) => 1,
            level => level,
        };
        let counts = if level == 0 { 0 } else { 1 << (level - 1) };
        if age < counts {
            return true;
        }
        let put = |level: u32| slot.store(level << TICK_BITS | now, Ordering::Relaxed);
        let is_short = span.len() < WINDOW;
        // In a tick in which it was not there as a whole, or was asked for the first time after long.
        let is_known_partial = level == 0 && age == 0;
        if is_short && (age >= LATELY || is_known_partial) {
            put(0);
            return ask(span);
        }
        if ask(window) {
            let most = if self.watch.is_cautious(now) { 1 } else { LEVEL_MAX };
            let next = if age < 2 * counts.max(1) { level + 1 } else { 1 };
            put(next.min(most));
            return true;
        }
        if level > 0 && age < LATELY {
            self.watch.lose(now);
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

    fn of(size: u64) -> Seen {
        Seen::new(size, Arc::new(Watch::new()))
    }

    /// The ticks in which the kernel is asked, where each window is wanted in each tick.
    fn asked(seen: &Seen, ticks: std::ops::Range<u32>, span: Span) -> Vec<u32> {
        let asked = RefCell::new(Vec::new());
        for now in ticks {
            let ask = |_: Span| {
                asked.borrow_mut().push(now);
                true
            };
            assert!(seen.resident_at(now, span, ask));
        }
        asked.into_inner()
    }

    #[test]
    fn a_window_in_use_is_asked_about_less_and_less_often() {
        let seen = of(3 * WINDOW / 2);
        let asked = RefCell::new(Vec::new());
        let begin = 1000;
        for now in begin..begin + 64 {
            let ask = |span: Span| {
                asked.borrow_mut().push((now - begin, span));
                true
            };
            for _ in 0..2 {
                assert!(seen.resident_at(now, short(), ask));
            }
        }
        let asked = asked.into_inner();
        let part = asked.iter().take_while(|(_, span)| *span == short()).count();
        assert_eq!(part, 2, "what nobody asked for lately is not asked about as a whole in the same tick");
        assert!(asked[part..].iter().all(|(_, span)| *span == Span::at(0, WINDOW)), "{asked:?}");
        let ticks: Vec<u32> = asked.iter().map(|(tick, _)| *tick).collect();
        assert_eq!(ticks, [0, 0, 1, 2, 4, 8, 16, 32, 48]);
    }

    #[test]
    fn what_is_wanted_now_and_then_counts_for_a_tick_only() {
        let seen = of(WINDOW);
        let asked = Cell::new(0);
        let ask = |_: Span| {
            asked.set(asked.get() + 1);
            true
        };
        for (times, now) in (1000..2000).step_by(10).enumerate() {
            assert!(seen.resident_at(now, Span::at(0, WINDOW), ask));
            assert_eq!(asked.get(), times + 1, "50 ms after it was wanted last");
        }
    }

    #[test]
    fn what_is_gone_is_found_out_in_time_and_makes_cautious() {
        let seen = of(2 * WINDOW);
        let second = Span::at(WINDOW, 64);
        assert!(asked(&seen, 1000..1064, short()).len() < 10);
        assert!(asked(&seen, 1000..1064, second).len() < 10);
        let gone = (1064..2000).find(|now| !seen.resident_at(*now, short(), |_| false)).unwrap();
        assert!(gone <= 1064 + 16, "80 ms at most");
        let until = gone + CAUTION;
        let each: Vec<u32> = (gone + 1..until).collect();
        assert_eq!(asked(&seen, gone + 1..until, second), each, "at once, for each window, until a second has passed");
        let after = asked(&seen, until..until + 128, second).len();
        assert!((8..16).contains(&after), "{after}");
    }

    #[test]
    fn a_thread_that_waited_for_pages_makes_cautious() {
        let (seen, other) = (of(WINDOW), of(WINDOW));
        let look = |now, faults| seen.watch.look(now, || faults);
        look(999, 3);
        assert!(asked(&seen, 1000..1064, short()).len() < 10);
        look(1064, 3);
        assert_eq!(asked(&seen, 1064..1080, short()).len(), 1);
        look(1080, 4);
        look(1080, 9);
        assert_eq!(asked(&seen, 1080..1090, short()).len(), 10);
        assert!(asked(&other, 1000..1064, short()).len() < 10, "of another store");
        // Those of the tick before were looked at.
        look(1081, 4);
        assert!(!seen.watch.is_cautious(1080 + CAUTION));
    }

    #[test]
    fn a_part_is_asked_for_by_itself() {
        let seen = of(3 * WINDOW / 2);
        let asked = RefCell::new(Vec::new());
        let all = |span: Span| {
            asked.borrow_mut().push(span);
            true
        };
        let across = Span::at(WINDOW - 1, 2);
        assert!(seen.resident(across, all));
        assert!(seen.resident(Span::at(5 * WINDOW, 1), all), "past the end the kernel decides");
        assert_eq!(*asked.borrow(), [across, Span::at(5 * WINDOW, 1)]);

        let half = of(WINDOW);
        let asked = Cell::new(0);
        let first_half = |span: Span| {
            asked.set(asked.get() + 1);
            span.end() <= WINDOW / 2
        };
        for now in 1000..1003 {
            assert!(half.resident_at(now, Span::at(0, 4096), first_half));
            asked.set(0);
            assert!(half.resident_at(now, Span::at(0, 4096), first_half));
            assert_eq!(asked.get(), 1, "that the whole is not there is known in this tick");
            assert!(
                !half.resident_at(now, Span::at(WINDOW / 2, 4096), first_half),
                "what is there beside it says nothing"
            );
            assert!(!half.resident_at(now, Span::at(0, WINDOW), first_half));
        }
    }

    #[test]
    fn nothing_counts_that_was_long_ago() {
        let seen = of(WINDOW);
        assert!(seen.resident_at(1000, Span::at(0, WINDOW), |_| true));
        assert!(seen.resident_at(1000, short(), |_| false), "seen in this tick");
        assert!(!seen.resident_at(1001, short(), |_| false));
        assert!(!seen.resident_at(1001 + LATELY, short(), |_| false));
        assert!(seen.resident_at(TICK_MASK, Span::at(0, WINDOW), |_| true));
        assert!(!seen.resident_at(0, short(), |_| false), "the count begins anew");
    }
}
