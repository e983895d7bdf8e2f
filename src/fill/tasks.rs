//! The tasks of the room: flights and questions whether something is still right. They run on the runtime that the room
//! was made in, whichever one the question came from, so that what an operator starts flies where all flights do.

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// All tasks that have not ended.
#[derive(Debug)]
pub(super) struct Tasks {
    tracker: TaskTracker,
    /// `None` where the room was made outside of a runtime: then each task runs where it is asked for.
    runtime: Option<Handle>,
}

impl Tasks {
    /// None yet; they will run in the runtime that this is called in.
    pub(super) fn here() -> Self {
        Self { tracker: TaskTracker::new(), runtime: Handle::try_current().ok() }
    }

    /// Runs a task to its end; [`Tasks::ended`] waits for it.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match &self.runtime {
            Some(runtime) => self.tracker.spawn_on(task, runtime),
            None => self.tracker.spawn(task),
        };
    }

    /// Waits until all of them have ended.
    pub(super) async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
