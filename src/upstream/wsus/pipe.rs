//! From a response that comes to a decoder that blocks: chunks go through a short channel, and a thread that may block reads
//! them as a stream.
//!
//! The decoder never outlives the conversation by more than the chunk at hand: when the future that pumps is dropped, the
//! stream ends with an error. A body that stands still has stalled, and so has one that only drips. Once the decoder has what it wants, the pump ends and drops the response.

use std::io::{self, BufRead, Read};
use std::time::Duration;

use bytes::{Buf, Bytes};
use reqwest::Response;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::upstream::error::Cause;
use crate::upstream::wsus::Core;
use crate::upstream::wsus::error::Trouble;

/// Chunks that may wait for the decoder. The client library's are at most some 400 KiB, so that a worker holds less than
/// 2 MiB of what came.
pub(super) const CHUNKS: usize = 4;

/// A body that brings fewer bytes a second has stalled. The slowest line that can carry a catalog has some kilobytes.
const LEAST_PER_SECOND: u64 = 1 << 10;

/// Over how long that is looked at, in stall timeouts: a body that stands still for one of them has stalled anyway.
const DRIPS_FOR: u32 = 6;

/// The longest that a body is waited for in all, however steadily it comes: the largest documents take an hour at the least rate
/// for which anybody would synchronise.
const LASTS_MAX: Duration = Duration::from_hours(6);

/// How fast a body comes, by the time in which it was waited for: not by that in which this node held it back.
#[derive(Debug)]
struct Rate {
    window: Duration,
    waited: Duration,
    in_all: Duration,
    bytes: u64,
}

impl Rate {
    fn new(stall: Duration) -> Self {
        Self { window: stall.saturating_mul(DRIPS_FOR), waited: Duration::ZERO, in_all: Duration::ZERO, bytes: 0 }
    }

    /// So many bytes came after such a wait. Says for how long it was too slow, if it was.
    fn came(&mut self, waited: Duration, bytes: u64) -> Option<Duration> {
        self.in_all = self.in_all.saturating_add(waited);
        self.waited = self.waited.saturating_add(waited);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.in_all > LASTS_MAX {
            return Some(self.in_all);
        }
        if self.waited < self.window {
            return None;
        }
        let least = u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX).saturating_mul(LEAST_PER_SECOND) / 1000;
        let slow = (self.bytes < least).then_some(self.waited);
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        slow
    }
}

/// What goes through the channel.
#[derive(Debug)]
pub(super) enum Part {
    /// The next bytes.
    Bytes(Bytes),
    /// The body is over, in order.
    End,
}

/// The body as the decoder sees it.
#[derive(Debug)]
pub(super) struct Pipe {
    parts: mpsc::Receiver<Part>,
    chunk: Bytes,
    ended: bool,
}

impl Pipe {
    pub(super) fn new(parts: mpsc::Receiver<Part>) -> Self {
        Self { parts, chunk: Bytes::new(), ended: false }
    }
}

impl BufRead for Pipe {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.chunk.is_empty() && !self.ended {
            match self.parts.blocking_recv() {
                Some(Part::Bytes(bytes)) => self.chunk = bytes,
                Some(Part::End) => self.ended = true,
                None => return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the answer was given up")),
            }
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        self.chunk.advance(amount.min(self.chunk.len()));
    }
}

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let have = self.fill_buf()?;
        let count = have.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..count), have.get(..count)) {
            to.copy_from_slice(from);
        }
        self.consume(count);
        Ok(count)
    }
}

/// Hands a body on, no faster than its bandwidth class allows. `None` where it came whole, or the reader wants no more.
pub(super) async fn pump(core: &Core, mut response: Response, parts: mpsc::Sender<Part>) -> Option<Trouble> {
    let stall = core.config.http.stall_timeout;
    let mut flow = core.lane.flow();
    let mut at = 0_u64;
    let mut rate = Rate::new(stall);
    loop {
        let since = Instant::now();
        // A pause may last for hours; no server keeps a connection for that.
        let came = tokio::select! {
            biased;
            () = core.lane.paused() => return Some(Trouble::Paused),
            came = timeout(stall, response.chunk()) => came,
            () = parts.closed() => return None,
        };
        let mut bytes = match came {
            Ok(Ok(Some(bytes))) => bytes,
            Ok(Ok(None)) => {
                // A reader that is gone has what it wants.
                let _ = parts.send(Part::End).await;
                return None;
            }
            Ok(Err(error)) => {
                let words = root(&error.without_url());
                return Some(Trouble::Path(Cause::Cut { at: Some(at), words }));
            }
            Err(_) => return Some(Trouble::Path(Cause::Stalled { after: stall, at })),
        };
        at = at.saturating_add(bytes.len() as u64);
        if let Some(after) = rate.came(since.elapsed(), bytes.len() as u64) {
            return Some(Trouble::Path(Cause::Stalled { after, at }));
        }
        while !bytes.is_empty() {
            let granted = tokio::select! {
                biased;
                () = core.lane.paused() => return Some(Trouble::Paused),
                granted = flow.take(bytes.len() as u64) => granted,
            };
            let len = usize::try_from(granted).unwrap_or(usize::MAX).min(bytes.len());
            if parts.send(Part::Bytes(bytes.split_to(len))).await.is_err() {
                return None;
            }
        }
    }
}

/// What an error came from, in words.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_drips_has_stalled() {
        let mut rate = Rate::new(Duration::from_secs(10));
        for _ in 0..6 {
            assert_eq!(rate.came(Duration::from_secs(9), 1), None);
        }
        assert_eq!(rate.came(Duration::from_secs(9), 1), Some(Duration::from_secs(63)));
        // Much at once makes up for a long wait, in the same window.
        assert_eq!(rate.came(Duration::from_secs(59), 0), None);
        assert_eq!(rate.came(Duration::from_secs(1), 60 << 10), None);
        assert_eq!(rate.came(Duration::from_secs(60), (60 << 10) - 1), Some(Duration::from_secs(60)));
        // What this node held back took no time.
        for _ in 0..1_000 {
            assert_eq!(rate.came(Duration::ZERO, 0), None);
        }
        // Nothing goes on for days.
        let mut hours = (0..).take_while(|_| rate.came(Duration::from_mins(30), 1 << 30).is_none());
        assert!(hours.by_ref().take(20).count() < 13);
    }

    #[test]
    fn a_stream_ends_in_order_or_with_an_error() {
        let (sender, receiver) = mpsc::channel(CHUNKS);
        sender.try_send(Part::Bytes(Bytes::from_static(b"ab"))).unwrap();
        sender.try_send(Part::Bytes(Bytes::from_static(b"c"))).unwrap();
        sender.try_send(Part::End).unwrap();
        let mut text = String::new();
        Pipe::new(receiver).read_to_string(&mut text).unwrap();
        assert_eq!(text, "abc");

        let (sender, receiver) = mpsc::channel(CHUNKS);
        sender.try_send(Part::Bytes(Bytes::from_static(b"ab"))).unwrap();
        drop(sender);
        let error = Pipe::new(receiver).read_to_string(&mut text).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }
}
