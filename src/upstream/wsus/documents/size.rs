//! How many revisions a worker asks for at once: what the server allows, and fewer where it, or a gateway on the way, was seen to
//! come to no end with that many. Pure.

/// Answers to as many as are asked for at once, after which it is tried with more: a try in vain may cost minutes, and is to cost
/// less than it brings.
const GROWS_AFTER: u32 = 8;

/// The size of one worker's batches.
#[derive(Debug)]
pub(super) struct Size {
    max: usize,
    now: usize,
    answered: u32,
}

impl Size {
    pub(super) fn new(max: usize) -> Self {
        Self { max, now: max, answered: 0 }
    }

    pub(super) fn now(&self) -> usize {
        self.now
    }

    /// So many were too much.
    pub(super) fn too_much(&mut self, asked: usize) {
        (self.now, self.answered) = (self.now.min(asked.div_ceil(2).max(1)), 0);
    }

    /// There was an answer to so many.
    pub(super) fn answered(&mut self, asked: usize) {
        if asked < self.now || self.now == self.max {
            return;
        }
        self.answered += 1;
        if self.answered >= GROWS_AFTER {
            (self.now, self.answered) = (self.now.saturating_mul(2).min(self.max), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_too_much_is_tried_again_only_after_a_time() {
        let mut size = Size::new(100);
        size.too_much(100);
        size.too_much(50);
        assert_eq!(size.now(), 25);
        // Fewer prove nothing.
        for _ in 0..100 {
            size.answered(24);
        }
        assert_eq!(size.now(), 25);
        for _ in 0..GROWS_AFTER {
            size.answered(25);
        }
        assert_eq!(size.now(), 50);
        for _ in 0..GROWS_AFTER {
            size.answered(50);
        }
        assert_eq!(size.now(), 100);
        size.too_much(1);
        assert_eq!(size.now(), 1);
        size.too_much(100);
        assert_eq!(size.now(), 1, "what is asked already is no more");
    }
}
