//! The wrapper of our own around a socket, below TLS and hyper: it tells the connection's pulse what moved, counts
//! bytes, closes by a reset where that was demanded, and lets the kernel take more at a time from a connection that is fast.
//!
//! Vectored writes are passed through as they are, so that hyper queues slices of a mapping and never copies them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::net::config::Config;
use crate::net::counters::Counters;
use crate::net::pulse::Pulse;

/// A connection is fast that takes this much ..
const STRETCH_BYTES: u64 = 16 << 20;

/// .. in this time: 134 Mbit/s, which no thin link has.
const STRETCH_TIME: Duration = Duration::from_secs(1);

/// A socket that tells what it does.
#[derive(Debug)]
pub struct Guard {
    socket: TcpStream,
    pulse: Arc<Pulse>,
    counters: Counters,
    room: Room,
}

/// How much unsent the kernel takes, by how fast the last stretch went.
#[derive(Debug)]
struct Room {
    slow: u32,
    fast: u32,
    is_fast: bool,
    since: Instant,
    bytes: u64,
}

impl Room {
    fn new(config: &Config) -> Self {
        let (slow, fast) = (config.unsent_bytes_max, config.unsent_bytes_max_fast);
        Self { slow, fast, is_fast: false, since: Instant::now(), bytes: 0 }
    }

    /// `bytes` were taken: the room from now on, where it changes.
    fn took(&mut self, bytes: usize) -> Option<u32> {
        self.bytes += bytes as u64;
        if self.bytes < STRETCH_BYTES {
            return None;
        }
        let now = Instant::now();
        let is_fast = now.duration_since(self.since) <= STRETCH_TIME;
        (self.since, self.bytes) = (now, 0);
        let changed = is_fast != self.is_fast;
        self.is_fast = is_fast;
        changed.then_some(if is_fast { self.fast } else { self.slow })
    }
}

impl Guard {
    /// Wraps `socket`; what happens on it is told to `pulse` and `counters`.
    pub fn new(socket: TcpStream, pulse: Arc<Pulse>, counters: Counters, config: &Config) -> Self {
        Self { socket, pulse, counters, room: Room::new(config) }
    }

    fn note_write(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Ready(Ok(bytes)) => {
                if let Some(room) = self.room.took(*bytes) {
                    limit_unsent(&self.socket, room);
                    self.pulse.set_roomy(self.room.is_fast);
                }
                self.pulse.add_written(*bytes);
                self.counters.sent_bytes.inc_by(*bytes as u64);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.pulse.block(),
        }
        result
    }
}

/// Linux alone has it; elsewhere a slow reader costs a whole send buffer. Where it fails the connection is gone, which the
/// next write tells.
pub(super) fn limit_unsent(socket: &TcpStream, bytes_max: u32) {
    #[cfg(target_os = "linux")]
    drop(SockRef::from(socket).set_tcp_notsent_lowat(bytes_max));
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, bytes_max);
}

impl AsyncRead for Guard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.socket).poll_read(cx, buf);
        let bytes = buf.filled().len().saturating_sub(before);
        if bytes > 0 {
            self.pulse.add_read(bytes);
            self.counters.received_bytes.inc_by(bytes as u64);
        }
        result
    }
}

impl AsyncWrite for Guard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.note_write(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.note_write(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pulse.wants_reset() {
            // A FIN would make an answer without a length look whole; dropping the socket sends the reset.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.pulse.wants_reset() {
            // Where this fails the socket is gone already.
            drop(self.socket.set_zero_linger());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn passes_slices_on_and_tells_what_moved() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (ours, _) = listener.accept().await.unwrap();
        // Readiness is learnt with the first wait.
        ours.writable().await.unwrap();
        let pulse = Arc::new(Pulse::default());
        let mut guard = Guard::new(ours, pulse.clone(), Counters::default(), &Config::default());
        assert!(guard.is_write_vectored(), "hyper would copy bodies into a buffer of its own");
        let slices = [IoSlice::new(b"head"), IoSlice::new(b"body")];
        assert_eq!(guard.write_vectored(&slices).await.unwrap(), 8, "both slices in one call");
        assert_eq!(guard.counters.sent_bytes.get(), 8);
        let full = vec![0; 16 << 20];
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while Pin::new(&mut guard).poll_write(&mut cx, &full).is_ready() {}
        let sample = pulse.sample();
        assert!(sample.blocked && sample.written > 8);
        drop(theirs);
    }

    #[test]
    fn who_reads_fast_gets_more_room_and_loses_it_again() {
        let config = Config::default();
        let mut room = Room::new(&config);
        let stretch = usize::try_from(STRETCH_BYTES).unwrap();
        assert_eq!(room.took(stretch - 1), None);
        assert_eq!(room.took(1), Some(config.unsent_bytes_max_fast));
        assert_eq!(room.took(stretch), None, "it has it already");
        room.since -= STRETCH_TIME * 2;
        assert_eq!(room.took(stretch), Some(config.unsent_bytes_max));
        room.since -= STRETCH_TIME * 2;
        assert_eq!(room.took(stretch), None);
    }
}
