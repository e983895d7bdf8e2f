//! The wrapper of our own around a socket, below TLS and hyper: it tells the connection's pulse what moved, counts
//! bytes, and closes by a reset where that was demanded.
//!
//! Vectored writes are passed through as they are, so that hyper queues slices of a mapping and never copies them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::net::counters::Counters;
use crate::net::pulse::Pulse;

/// A socket that tells what it does.
#[derive(Debug)]
pub struct Guard {
    socket: TcpStream,
    pulse: Arc<Pulse>,
    counters: Counters,
}

impl Guard {
    /// Wraps `socket`; what happens on it is told to `pulse` and `counters`.
    pub fn new(socket: TcpStream, pulse: Arc<Pulse>, counters: Counters) -> Self {
        Self { socket, pulse, counters }
    }

    fn note_write(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Ready(Ok(bytes)) => {
                self.pulse.add_written(*bytes);
                self.counters.sent_bytes.inc_by(*bytes as u64);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.pulse.block(),
        }
        result
    }
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
        let mut guard = Guard::new(ours, pulse.clone(), Counters::default());
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
}
