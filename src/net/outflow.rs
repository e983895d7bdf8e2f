//! How much of an answer is out: handed to the HTTP library and not gone yet.
//!
//! The library takes frames before its transport can: 16 of them on HTTP/1, and on HTTP/2 one before a stream has any window.
//! What a frame lies in stays in memory until the last byte of it has left, so that a client which does not read would hold
//! all of them. So the next frame is given only while little is out, and who waits for that is woken by the frames that go.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// While so much of an answer is out, it gives no further frame. Small frames, as they come in from an origin, still go out
/// several at a time; of buffers that are as long as a frame of a draft (128 KiB) there is one.
pub(crate) const OUT_MAX: u64 = 64 << 10;

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Outflow {
    out: AtomicU64,
    waits: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

// Who waits says so before it looks once more, and who lets go lets go before it looks whether somebody waits: with one
// order of all of these, one of the two sees the other.
const ORDER: Ordering = Ordering::SeqCst;

impl Outflow {
    /// A frame of `len` bytes is out.
    pub(crate) fn leaves(&self, len: u64) {
        self.out.fetch_add(len, Ordering::Relaxed);
    }

    /// A frame of `len` bytes is gone.
    pub(crate) fn gone(&self, len: u64) {
        self.out.fetch_sub(len, ORDER);
        if self.waits.load(ORDER) && self.waits.swap(false, ORDER) {
            let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Ready when another frame may be given.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if self.out.load(Ordering::Relaxed) < OUT_MAX {
            return Poll::Ready(());
        }
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        self.waits.store(true, ORDER);
        if self.out.load(ORDER) < OUT_MAX { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests;
