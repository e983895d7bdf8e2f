//! The end of a server: who must stop, who may finish, and who is awaited.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The two signals and the list of tasks of one server.
#[derive(Clone, Debug)]
pub struct Drain {
    stop: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still open when the grace period was over, and were cut.
    pub cut: usize,
}

impl Drain {
    pub(crate) fn new() -> Self {
        Self { stop: CancellationToken::new(), cut: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    /// Cancelled when no new work is to begin.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Cancelled when all work is to end at once.
    pub(crate) fn cut(&self) -> &CancellationToken {
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
        self.stop.cancel();
        self.cut.cancel();
        self.tasks.close();
    }

    pub(crate) async fn finish(&self, grace: Duration, open: impl Fn() -> usize) -> Drained {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_ok() {
            return Drained { cut: 0 };
        }
        let cut = open();
        self.cut.cancel();
        self.tasks.wait().await;
        Drained { cut }
    }
}
