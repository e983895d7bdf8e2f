//! The end of a server: who must stop, who may finish, and who is awaited.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

/// The two signals and the list of tasks of one server.
#[derive(Clone, Debug)]
pub struct Drain {
    stop: Signal,
    cut: Signal,
    tasks: TaskTracker,
}

/// Something that is said once, to all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signal {
    raised: Arc<AtomicBool>,
    token: CancellationToken,
}

impl Signal {
    fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        self.token.cancel();
    }

    /// Ready when it is raised, and from then on.
    pub(crate) fn raised(&self) -> Raised {
        Raised { flag: Arc::clone(&self.raised), waiting: Box::pin(self.token.clone().cancelled_owned()), waker: None }
    }
}

/// See [`Signal::raised`]. To look at it costs one load as long as the same task does: the token behind it has locks that all
/// connections share, and is asked once.
#[derive(Debug)]
pub(crate) struct Raised {
    flag: Arc<AtomicBool>,
    waiting: Pin<Box<WaitForCancellationFutureOwned>>,
    waker: Option<Waker>,
}

impl Future for Raised {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.flag.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        // A waker is kept below only after the token's future was polled with it and was not ready, and such a poll leaves it
        // registered: the future takes part in no budget of tokio's, which could make it wait without looking. Were that to
        // change, this would lose the wake-up.
        if self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        let poll = self.waiting.as_mut().poll(cx);
        self.waker = Some(cx.waker().clone());
        poll
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still open when the grace period was over, and were cut.
    pub cut: usize,
}

impl Drain {
    pub(crate) fn new() -> Self {
        Self { stop: Signal::default(), cut: Signal::default(), tasks: TaskTracker::new() }
    }

    /// Cancelled when no new work is to begin.
    pub(crate) fn stop(&self) -> &Signal {
        &self.stop
    }

    /// Cancelled when all work is to end at once.
    pub(crate) fn cut(&self) -> &Signal {
        &self.cut
    }

    /// Runs `task` until it ends; the drain waits for it. The task itself must obey the signals.
    pub(crate) fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(task);
    }

    pub(crate) fn cut_now(&self) {
        self.stop.raise();
        self.cut.raise();
        self.tasks.close();
    }

    pub(crate) async fn finish(&self, grace: Duration, open: impl Fn() -> usize) -> Drained {
        self.stop.raise();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_ok() {
            return Drained { cut: 0 };
        }
        let cut = open();
        self.cut.raise();
        self.tasks.wait().await;
        Drained { cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_reaches_whoever_waits_and_whoever_comes_late() {
        let signal = Signal::default();
        let mut waiting = signal.raised();
        // Looked at by a task that has gone since, then by this one.
        assert!(Pin::new(&mut waiting).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let other = tokio::spawn(signal.raised());
        let raise = signal.clone();
        tokio::join!(waiting, async move { raise.raise() });
        other.await.unwrap();
        signal.raised().await;
    }
}
