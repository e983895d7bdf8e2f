//! From a response that comes to a decoder that blocks: chunks go through a short channel, and a thread that may block reads
//! them as a stream.
//!
//! The decoder never outlives the conversation by more than the chunk at hand: when the future that pumps is dropped, the
//! stream ends with an error. Once the decoder has what it wants, the pump ends and drops the response.

use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes};
use reqwest::Response;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::upstream::error::Cause;
use crate::upstream::wsus::Core;
use crate::upstream::wsus::error::Trouble;

/// Chunks that may wait for the decoder. The client library's are at most some 400 KiB, so that a worker holds less than
/// 2 MiB of what came.
pub(super) const CHUNKS: usize = 4;

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
    loop {
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
