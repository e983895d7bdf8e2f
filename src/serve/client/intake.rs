//! Bodies of requests: what all of them take is bounded by what has arrived, not by what is announced, and each client has a share of it.

use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

use crate::serve::client::share::Part;

/// KiB that the bodies of all requests may take, from their first byte until they are decoded.
pub(super) const BODIES_KIB: usize = 256 << 10;

/// How long a body may take: agents send 100 KB at most, and those over a thin link send them in seconds.
const TIME_MAX: Duration = Duration::from_secs(30);

/// How long a body waits for its first room before the agent is told to come again.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Room is taken in steps of so much, when the first byte of a step came: who sends nothing has one of them.
const STEP_KIB: u32 = 64;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is longer than it may be.
    Long,
    /// It came too slowly.
    Slow,
    /// The client left.
    Broken,
    /// There is no room, or the client has its share of it.
    Busy,
}

/// Reads a body of at most `max` bytes. What it takes is in `part` from then on, to be dropped when the bytes are.
pub(super) async fn read<B>(body: B, max: usize, part: &mut Part) -> Result<Bytes, Unread>
where
    B: Body<Data = Bytes>,
{
    if !part.wait(STEP_KIB, WAIT_MAX).await {
        return Err(Unread::Busy);
    }
    tokio::time::timeout(TIME_MAX, collect(body, max, part)).await.map_err(|_| Unread::Slow)?
}

async fn collect<B>(body: B, max: usize, part: &mut Part) -> Result<Bytes, Unread>
where
    B: Body<Data = Bytes>,
{
    let (mut body, mut whole) = (pin!(body), BytesMut::new());
    while let Some(frame) = body.frame().await {
        // Trailers are none of ours.
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        let length = whole.len().saturating_add(data.len());
        if length > max {
            return Err(Unread::Long);
        }
        let needed = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX);
        if let Some(more) = needed.checked_sub(part.units()).filter(|more| *more > 0)
            && !part.take(more.next_multiple_of(STEP_KIB))
        {
            return Err(Unread::Busy);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::IpAddr;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::Frame;
    use tokio::task::JoinSet;

    use super::*;
    use crate::serve::client::share::Pool;

    /// So many frames of so many bytes; then silence, or the end.
    struct Sent {
        frames: usize,
        of: usize,
        is_silent: bool,
    }

    impl Body for Sent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let Some(left) = self.frames.checked_sub(1) else {
                return if self.is_silent { Poll::Pending } else { Poll::Ready(None) };
            };
            self.frames = left;
            Poll::Ready(Some(Ok(Frame::data(vec![b'x'; self.of].into()))))
        }
    }

    fn body(frames: usize, of: usize) -> Sent {
        Sent { frames, of, is_silent: false }
    }

    fn client(of: u8) -> IpAddr {
        [10, 0, 0, of].into()
    }

    #[tokio::test(start_paused = true)]
    async fn slow_bodies_hold_what_came_of_them_and_shut_nobody_out() {
        // As many KiB as eight whole bodies of a megabyte have.
        let pool = Pool::new(8 << 10, &[]);
        let mut slow = JoinSet::new();
        for at in 0..60 {
            let mut part = pool.of(client(at % 4));
            slow.spawn(async move { read(Sent { is_silent: true, ..body(1, 10) }, 1 << 20, &mut part).await });
        }
        while pool.left() > (8 << 10) - 60 * 64 {
            tokio::task::yield_now().await;
        }
        let mut part = pool.of(client(9));
        let whole = read(body(16, 64 << 10), 1 << 20, &mut part).await.map(|bytes| bytes.len());
        let other = (whole, part.units(), pool.left());
        drop(part);
        let slow = slow.join_all().await;
        assert_eq!(other, (Ok(1 << 20), 1024, (8 << 10) - 60 * 64 - 1024), "it is kept until it is decoded");
        assert!(slow.iter().all(|read| *read == Err(Unread::Slow)));
        assert_eq!(pool.left(), 8 << 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_has_its_share_of_all_bodies() {
        let pool = Pool::new(1024, &[]);
        let mut parts: Vec<_> = (0..9).map(|_| pool.of(client(1))).collect();
        let mut came = Vec::new();
        for part in &mut parts {
            came.push(read(body(1, 10), 1 << 20, part).await.is_ok());
        }
        assert_eq!(
            came,
            [true, true, true, true, true, true, true, true, false],
            "half of it while nobody else has any"
        );
        assert!(read(body(1, 10), 1 << 20, &mut pool.of(client(2))).await.is_ok());
        drop(parts);
        assert_eq!(read(body(2, 600 << 10), 1 << 20, &mut pool.of(client(3))).await, Err(Unread::Long));
    }
}
