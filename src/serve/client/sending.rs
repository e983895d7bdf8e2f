//! An answer on its way: in small frames, and within a time. The connection cuts a client that takes next to nothing; one that takes a
//! little more than that would hold the room of a large answer for days.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::net::{Body, Cut, Frames};

/// Bytes of a frame: after each it is seen how long the client took.
const FRAME: usize = 64 << 10;

/// How long a client may take at first, whatever it takes: a link that was down for a moment.
const GRACE: Duration = Duration::from_mins(1);

/// Bytes that it takes in a second on average from then on. Windows gives up a download below 4 kB/s.
const PACE_MIN: u64 = 4 << 10;

/// How long it may take at all. The longest answer there is, packed, takes as long at 70 KB/s.
const TIME_MAX: Duration = Duration::from_mins(15);

struct Pieces {
    left: Bytes,
    sent: u64,
    since: Option<Instant>,
}

/// How long a client may take for the first `bytes` of an answer.
fn patience(bytes: u64) -> Duration {
    (GRACE + Duration::from_secs(bytes / PACE_MIN)).min(TIME_MAX)
}

impl Pieces {
    fn next(&mut self, now: Instant, most: usize) -> Option<Result<Bytes, Cut>> {
        let since = *self.since.get_or_insert(now);
        let next = self.left.len().min(FRAME).min(most);
        if next == 0 {
            return None;
        }
        if now.duration_since(since) > patience(self.sent) {
            return Some(Err(Cut(format!("the agent took {} bytes in {:?}", self.sent, now.duration_since(since)))));
        }
        self.sent = self.sent.saturating_add(next as u64);
        Some(Ok(self.left.split_to(next)))
    }
}

impl Frames for Pieces {
    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>, most: usize) -> Poll<Option<Result<Bytes, Cut>>> {
        Poll::Ready(self.next(Instant::now(), most))
    }
}

/// The body of an answer.
pub(in crate::serve) fn body(bytes: Bytes) -> Body {
    let length = bytes.len() as u64;
    if bytes.len() <= FRAME {
        return Body::full(bytes);
    }
    Body::frames(length, Box::new(Pieces { left: bytes, sent: 0, since: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_takes_too_long_is_cut() {
        let begun = Instant::now();
        let took = |each: Duration| {
            let mut pieces = Pieces { left: vec![0; 16 << 20].into(), sent: 0, since: None };
            let mut frames = 0;
            while let Some(Ok(_)) = pieces.next(begun + each * frames, FRAME) {
                frames += 1;
            }
            frames
        };
        assert_eq!(took(Duration::from_secs(1)), 256, "whole");
        assert_eq!(
            took(Duration::from_mins(1)),
            2,
            "a KiB a second: just over what the connection takes for standing still"
        );
        assert_eq!(took(Duration::from_secs(10)), 91, "never longer than a quarter of an hour");
    }
}
