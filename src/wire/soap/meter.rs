//! Counts what is read and cuts off what goes beyond the allowance of the piece that is being read: the XML tokenizer holds a
//! tag whole, so a tag must end.

use std::io::{self, BufRead, Read};

/// What ended a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The message is longer than it may be.
    Message,
    /// The piece is longer than it may be.
    Piece,
}

/// A reader with a counter and two ends that must not be reached.
#[derive(Debug)]
pub(crate) struct Meter<R> {
    inner: R,
    at: u64,
    message_end: u64,
    piece_end: u64,
    cut: Option<Cut>,
}

impl<R> Meter<R> {
    /// At most `max` bytes of `inner`.
    pub(crate) fn new(inner: R, max: u64) -> Self {
        Self { inner, at: 0, message_end: max, piece_end: u64::MAX, cut: None }
    }

    /// How many bytes have been read.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// From here on at most `max` bytes, until it is said again.
    pub(crate) fn allow(&mut self, max: u64) {
        self.piece_end = self.at.saturating_add(max);
    }

    /// Why a read failed, where it was for a limit.
    pub(crate) fn cut(&self) -> Option<Cut> {
        self.cut
    }
}

impl<R: BufRead> BufRead for Meter<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let left = self.message_end.min(self.piece_end).saturating_sub(self.at);
        if left == 0 {
            // The end itself may lie exactly at the limit.
            if self.inner.fill_buf()?.is_empty() {
                return Ok(&[]);
            }
            self.cut = Some(if self.at >= self.message_end { Cut::Message } else { Cut::Piece });
            return Err(io::Error::other("longer than it may be"));
        }
        let available = self.inner.fill_buf()?;
        let end = available.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        Ok(available.get(..end).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.at += count as u64;
        self.inner.consume(count);
    }
}

impl<R: BufRead> Read for Meter<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..count), available.get(..count)) {
            to.copy_from_slice(from);
        }
        self.consume(count);
        Ok(count)
    }
}
