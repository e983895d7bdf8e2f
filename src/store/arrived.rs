//! Which payloads came to be held or were proven, for the one who tells other nodes of them.

use std::sync::{Mutex, PoisonError};

use crate::base::digest::Blake3;
use crate::store::Store;

/// So many are remembered between two looks: beyond that the listener goes through all that is held.
const REMEMBERED_MAX: usize = 4096;

/// What came since the last look.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// More came than is remembered, or nobody has looked since the start: any payload may be new.
    pub any: bool,
    /// These came, or were proven.
    pub these: Vec<Blake3>,
}

/// What nobody has looked at yet.
#[derive(Debug)]
pub(crate) struct Arrived(Mutex<Arrivals>);

impl Default for Arrived {
    fn default() -> Self {
        Self(Mutex::new(Arrivals { any: true, these: Vec::new() }))
    }
}

impl Arrived {
    /// This one came, or was proven.
    pub(crate) fn note(&self, blake3: Blake3) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.these.len() >= REMEMBERED_MAX {
            seen.any = true;
        }
        if seen.any {
            seen.these = Vec::new();
        } else {
            seen.these.push(blake3);
        }
    }

    fn take(&self) -> Arrivals {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store {
    /// What came since this was asked last. For one listener: what it is told nobody else is.
    pub fn arrivals(&self) -> Arrivals {
        self.core.arrived.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_told_once_and_too_much_as_anything() {
        let arrived = Arrived::default();
        let blake3 = |number: u8| Blake3::new([number; 32]);
        arrived.note(blake3(1));
        let first = arrived.take();
        assert!(first.any && first.these.is_empty(), "whatever came before the start");
        arrived.note(blake3(2));
        let second = arrived.take();
        assert_eq!((second.any, second.these), (false, vec![blake3(2)]));
        (0..=REMEMBERED_MAX).for_each(|_| arrived.note(blake3(3)));
        let third = arrived.take();
        assert!(third.any && third.these.is_empty());
        assert!(!arrived.take().any);
    }
}
