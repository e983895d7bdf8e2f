//! Threads of our own for what blocks: disk reads and writes, hashing, cold pages.
//!
//! They are not tokio's blocking pool, because that one is shared with name resolution and whatever libraries put into
//! it, and because its queue has no end. Here both the threads and the queue are bounded, and work comes in two kinds:
//! what somebody waits for ([`Pool::run`]) goes before what can be caught up with later ([`Pool::post`]), and later work
//! never takes the last thread, so that a long hash does not hold up a cold page.
//!
//! A job that was taken runs to its end even if the asker has gone: a publish is never left half way because a client
//! hung up. A job that panics costs its asker an error, never a thread, and never a wait without end.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::store::Error;

/// Jobs that may wait per thread, besides the one that runs. Stops a flood of cold requests from piling up closures (and
/// the bytes that they own) without end: an asker beyond it waits before its job is made.
const QUEUE_PER_THREAD: usize = 32;

/// Later jobs that may wait. They are short notes ("this draft has something to hash"), and one that finds the queue full
/// is dropped: the next write to that draft posts another.
const LATER_MAX: usize = 1024;

thread_local! {
    /// Whether this is a thread of a pool, on which things may block.
    static IS_POOL: Cell<bool> = const { Cell::new(false) };
}

type Job = Box<dyn FnOnce() + Send>;

/// The threads. Dropping the pool lets them end after what is queued; [`Pool::close`] also waits for that.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Most later jobs that run at once.
    later_at_once: usize,
}

#[derive(Default)]
struct Queue {
    now: VecDeque<Job>,
    later: VecDeque<Job>,
    later_running: usize,
    closed: bool,
}

impl Shared {
    /// Jobs run outside the lock, so a panic can never leave the queue half changed: a poisoned lock means nothing.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What every thread does until the pool is closed and the queue is empty.
    fn work(&self) {
        IS_POOL.set(true);
        let mut queue = self.queue();
        loop {
            let (job, later) = if let Some(job) = queue.now.pop_front() {
                (job, false)
            } else if queue.later_running < self.later_at_once
                && let Some(job) = queue.later.pop_front()
            {
                queue.later_running += 1;
                (job, true)
            } else if queue.closed {
                return;
            } else {
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(queue);
            // The asker learns of a panic because its end of the answer channel is dropped with the job.
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a job of the store's pool panicked; its asker was told");
            }
            queue = self.queue();
            if later {
                queue.later_running -= 1;
            }
        }
    }
}

impl Pool {
    /// Starts `threads` threads (at least one). Where the system gives fewer than that, the pool runs with those it got;
    /// where it gives none, every job is refused.
    pub(crate) fn new(threads: usize) -> Self {
        let wanted = threads.max(1);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            later_at_once: wanted.saturating_sub(1).max(1),
        });
        let mut started = Vec::with_capacity(wanted);
        for number in 0..wanted {
            let shared = Arc::clone(&shared);
            match std::thread::Builder::new().name(format!("store-io-{number}")).spawn(move || shared.work()) {
                Ok(thread) => started.push(thread),
                Err(error) => tracing::error!(%error, "the system gave {number} of {wanted} threads for the store"),
            }
        }
        if started.is_empty() {
            shared.queue().closed = true;
        }
        let slots = Arc::new(Semaphore::new(wanted * (QUEUE_PER_THREAD + 1)));
        Self { shared, slots, threads: Mutex::new(started) }
    }

    /// Runs `job` on a thread of the pool and gives its answer. Waits for a place in the queue first; dropped before it
    /// has one, the job never runs, and dropped later, the job still runs to its end.
    pub(crate) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        self.run_watched(move |_| job()).await
    }

    /// As [`Pool::run`], for long work that can be broken off: the job is given a question that says whether anybody
    /// still waits for it, and should ask it now and then.
    pub(crate) async fn run_watched<T: Send + 'static>(
        &self,
        job: impl FnOnce(&dyn Fn() -> bool) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| closed())?;
        let (answer, asked) = oneshot::channel();
        self.push(slot, move || {
            let done = job(&|| !answer.is_closed());
            // An asker that has gone does not want the answer; the work itself is done.
            let _ = answer.send(done);
        })?;
        asked
            .await
            .map_err(|_| Error::Io(io::Error::other("the work on the store's pool panicked; the log says where")))
    }

    /// Queues work that nobody waits for, behind all that somebody does. `false` where the queue is full or the pool
    /// closed: the job is dropped.
    pub(crate) fn post(&self, job: impl FnOnce() + Send + 'static) -> bool {
        let mut queue = self.shared.queue();
        if queue.closed || queue.later.len() >= LATER_MAX {
            return false;
        }
        queue.later.push_back(Box::new(job));
        drop(queue);
        self.shared.wake.notify_one();
        true
    }

    /// Drops `thing` where that may block: here, if this is a thread of a pool, else on one of this pool. Where its queue is
    /// full it is dropped here all the same.
    pub(crate) fn end<T: Send + 'static>(&self, thing: T) {
        if IS_POOL.get() {
            drop(thing);
        } else {
            self.post(move || drop(thing));
        }
    }

    /// Takes no more jobs, lets what is queued end (later work that has not begun is dropped), and waits for the threads.
    /// From a thread of the pool itself it does not wait for that one.
    pub(crate) fn close(&self) {
        self.stop();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let own = std::thread::current().id();
        for thread in threads {
            if thread.thread().id() != own && thread.join().is_err() {
                tracing::error!("a thread of the store's pool had panicked");
            }
        }
    }

    /// Whether what runs should come to an end.
    pub(crate) fn is_closing(&self) -> bool {
        self.slots.is_closed()
    }

    fn push(&self, slot: OwnedSemaphorePermit, job: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let mut queue = self.shared.queue();
        if queue.closed {
            return Err(closed());
        }
        queue.now.push_back(Box::new(move || {
            let _slot = slot;
            job();
        }));
        drop(queue);
        self.shared.wake.notify_one();
        Ok(())
    }

    fn stop(&self) {
        self.slots.close();
        let dropped = {
            let mut queue = self.shared.queue();
            queue.closed = true;
            std::mem::take(&mut queue.later)
        };
        self.shared.wake.notify_all();
        // Outside the lock: what a job owns may itself come back to the pool when it is dropped.
        drop(dropped);
    }
}

impl Drop for Pool {
    /// Without waiting: the last handle may be dropped on a thread of the pool, or on a reactor.
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("free_slots", &self.slots.available_permits()).finish_non_exhaustive()
    }
}

fn closed() -> Error {
    Error::Unavailable { why: "the store is closed; the node is shutting down".into() }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn answers_come_back_and_a_panic_is_an_error() {
        let pool = Pool::new(2);
        assert_eq!(pool.run(|| 6 * 7).await.unwrap(), 42);
        assert!(matches!(pool.run(|| -> u32 { panic!("on purpose") }).await, Err(Error::Io(_))));
        // Both threads are still there: two jobs that need each other end.
        let (to_second, from_first) = mpsc::channel();
        let (to_first, from_second) = mpsc::channel();
        let first = pool.run(move || {
            to_second.send(1).unwrap();
            from_second.recv().unwrap()
        });
        let second = pool.run(move || {
            to_first.send(2).unwrap();
            from_first.recv().unwrap()
        });
        let (first, second): (Result<i32, _>, Result<i32, _>) = tokio::join!(first, second);
        assert_eq!((first.unwrap(), second.unwrap()), (2, 1));
        pool.close();
    }

    #[tokio::test]
    async fn a_watched_job_learns_that_its_asker_has_gone() {
        let pool = Pool::new(1);
        let (tell, told) = mpsc::channel();
        let (began, beginning) = oneshot::channel();
        let asked = pool.run_watched(move |wanted| {
            tell.send(wanted()).unwrap();
            began.send(()).unwrap();
            while wanted() {
                std::thread::yield_now();
            }
            tell.send(wanted()).unwrap();
        });
        tokio::select! {
            _ = asked => panic!("it ends only when nobody waits"),
            begun = beginning => begun.unwrap(),
        }
        assert_eq!((told.recv(), told.recv()), (Ok(true), Ok(false)));
    }

    #[tokio::test]
    async fn what_takes_long_to_end_does_not_end_on_the_thread_that_lets_go() {
        struct Tells(mpsc::Sender<std::thread::ThreadId>);
        impl Drop for Tells {
            fn drop(&mut self) {
                self.0.send(std::thread::current().id()).unwrap();
            }
        }
        let (pool, other) = (Pool::new(1), Pool::new(1));
        let (tell, told) = mpsc::channel();
        let worker = pool.run(|| std::thread::current().id()).await.unwrap();
        pool.end(Tells(tell.clone()));
        assert_eq!(told.recv().unwrap(), worker);
        // On a thread that may block it ends where it is: what an eviction lets go of is free when it counts.
        let pool = Arc::new(pool);
        let theirs = Arc::clone(&pool);
        let at = other.run(move || {
            theirs.end(Tells(tell));
            std::thread::current().id()
        });
        assert_eq!(
            (at.await.unwrap(), told.try_recv().is_ok()),
            (other.run(|| std::thread::current().id()).await.unwrap(), true)
        );
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_a_waiting_job_that_is_dropped_never_runs() {
        let pool = Arc::new(Pool::new(1));
        let (release, gate) = mpsc::channel::<()>();
        let ran = Arc::new(AtomicUsize::new(0));
        let places = QUEUE_PER_THREAD + 1;
        let mut asked = tokio::task::JoinSet::new();
        let blocker = Arc::clone(&pool);
        asked.spawn(async move { blocker.run(move || _ = gate.recv()).await.unwrap() });
        for _ in 1..places {
            let (pool, ran) = (Arc::clone(&pool), Arc::clone(&ran));
            asked.spawn(async move { pool.run(move || _ = ran.fetch_add(1, Ordering::SeqCst)).await.unwrap() });
        }
        while pool.slots.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        // No place is left: this one waits, and is dropped while it waits.
        let late = Arc::clone(&ran);
        tokio::select! {
            biased;
            _ = pool.run(move || late.fetch_add(1000, Ordering::SeqCst)) => panic!("there was no place"),
            () = tokio::task::yield_now() => {}
        }
        release.send(()).unwrap();
        while let Some(done) = asked.join_next().await {
            done.unwrap();
        }
        assert_eq!(ran.load(Ordering::SeqCst), places - 1);
    }

    #[tokio::test]
    async fn later_work_never_takes_the_last_thread() {
        let pool = Pool::new(2);
        let (release, gate) = mpsc::channel::<()>();
        let (tell, started) = mpsc::channel();
        let gate = Arc::new(Mutex::new(gate));
        for _ in 0..4 {
            let (gate, tell) = (Arc::clone(&gate), tell.clone());
            assert!(pool.post(move || {
                tell.send(()).unwrap();
                let _ = gate.lock().unwrap().recv();
            }));
        }
        started.recv().unwrap();
        assert_eq!(pool.run(|| 1).await.unwrap(), 1);
        assert!(started.try_recv().is_err(), "a second later job took the last thread");
        drop(release);
    }

    #[tokio::test]
    async fn a_closed_pool_ends_what_it_took_and_refuses_the_rest() {
        let pool = Arc::new(Pool::new(1));
        let (release, gate) = mpsc::channel::<()>();
        let first = Arc::clone(&pool);
        let first = tokio::spawn(async move { first.run(move || gate.recv().is_ok()).await });
        let full = pool.slots.available_permits();
        while pool.slots.available_permits() == full {
            tokio::task::yield_now().await;
        }
        release.send(()).unwrap();
        let closing = Arc::clone(&pool);
        tokio::task::spawn_blocking(move || closing.close()).await.unwrap();
        assert!(first.await.unwrap().unwrap());
        assert!(matches!(pool.run(|| ()).await, Err(Error::Unavailable { .. })));
        assert!(!pool.post(|| ()));
    }
}
