//! Buffers that drafts are read into for responses, used again and again.
//!
//! Memory fresh from the system is zeroed page by page when it is first touched, and zeroed once more for the reader: with
//! fifty responses of one flight that was a quarter of the node's processor time.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// What one buffer holds. As much as the kernel takes unsent from one response, and little enough to lie in a core's cache
/// until it is sent.
pub(crate) const BUFFER: usize = 128 << 10;

/// Less than this gets room of its own length: in a whole buffer it would keep more than it has from others, for as long as a
/// slow reader takes for it, and what comes in from an origin comes in small pieces.
const SMALL: usize = 64 << 10;

/// Buffers that wait to be used again, 8 MiB of them: more than that were lent to a crowd that has gone.
const KEPT_MAX: usize = 64;

/// The buffers that nobody has. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffers({} at rest)", self.kept().len())
    }
}

impl Buffers {
    fn kept(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for `len` bytes, whatever is in it.
    pub(crate) fn lend(&self, len: usize) -> Lent {
        if !(SMALL..=BUFFER).contains(&len) {
            return Lent { bytes: vec![0; len], len, home: None };
        }
        let kept = self.kept().pop();
        Lent { bytes: kept.unwrap_or_else(|| vec![0; BUFFER]), len, home: Some(self.clone()) }
    }
}

/// A buffer in use.
pub(crate) struct Lent {
    bytes: Vec<u8>,
    len: usize,
    home: Option<Buffers>,
}

impl Lent {
    /// Where the bytes go.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// What is in it now. The buffer is free again once nobody has a part of that.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            let mut kept = home.kept();
            if kept.len() < KEPT_MAX {
                kept.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_part_is_gone() {
        let buffers = Buffers::default();
        let mut lent = buffers.lend(SMALL);
        lent.room().fill(7);
        let bytes = lent.freeze();
        let part = bytes.slice(1..3);
        drop(bytes);
        assert_eq!((buffers.kept().len(), &part[..]), (0, &[7, 7][..]));
        drop(part);
        assert_eq!(buffers.kept().len(), 1);
        assert_eq!(buffers.lend(BUFFER).room().len(), BUFFER);
        let crowd: Vec<Lent> = (0..2 * KEPT_MAX).map(|_| buffers.lend(BUFFER)).collect();
        drop(crowd);
        assert_eq!(buffers.kept().len(), KEPT_MAX, "what a crowd needed goes with it");
        drop((buffers.lend(1), buffers.lend(BUFFER + 1)));
        assert_eq!(buffers.kept().len(), KEPT_MAX, "others are made for their one use");
    }
}
