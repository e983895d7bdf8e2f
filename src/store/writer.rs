//! The one thread that writes the index.
//!
//! 1. Changes wait in a queue; each is a closure that checks first and then mutates, so that one that is refused
//!    leaves nothing behind and the others of its batch are not touched.
//! 2. The thread takes what waits (at most [`BATCH_MAX`], for at most [`BATCH_TIME`]) into one transaction.
//! 3. One commit makes them durable, and only then is anybody answered.
//! 4. Where the index fails the whole batch is undone and everybody is told.
//! 5. At least every [`TICK`] the things counted in memory (recency, the account) are written too.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redb::WriteTransaction;
use tokio::sync::oneshot;

use crate::base::disk::Disk;
use crate::store::error::Error;
use crate::store::index::Index;

/// Changes in one commit: bounds the memory of a transaction and what one failure undoes.
const BATCH_MAX: usize = 512;
/// How long changes are gathered into one transaction before it is committed: bounds the wait of the first.
const BATCH_TIME: Duration = Duration::from_millis(5);
/// Changes that may wait: a flood is refused instead of growing.
const QUEUE_MAX: usize = 16 << 10;
/// How long recency and the account may lie in memory alone; what a crash can lose of them.
const TICK: Duration = Duration::from_secs(30);
/// Bytes that must be free on the disk before a commit that adds something: redb needs room to copy pages, and a
/// commit that frees must still fit when all else is refused.
pub(crate) const RESERVE: u64 = 8 << 20;

/// Something counted in memory, written at every tick and at the end.
pub(crate) trait Tick: Send {
    /// Whether there is anything to write; an idle node writes nothing.
    fn is_due(&self) -> bool;
    /// Writes it.
    fn write(&self, transaction: &WriteTransaction) -> Result<(), Error>;
    /// Told how the commit ended: what was written to one that failed is counted again.
    fn settle(&self, committed: bool);
}

/// Whether a change may need more room than it frees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// It adds: refused as full when the reserve is gone.
    Adds,
    /// It takes away, or ends something that was begun: let through.
    Frees,
}

trait Work: Send {
    fn room(&self) -> Room;
    /// Runs the change; an error is one of the index itself.
    fn apply(&mut self, transaction: &WriteTransaction) -> Result<(), Error>;
    /// Answers, after the commit or instead of it.
    fn answer(self: Box<Self>, outcome: Result<(), &Error>);
}

struct Op<T, F> {
    room: Room,
    change: Option<F>,
    result: Option<Result<T, Error>>,
    /// Whoever asked may have gone away by then; the change stands all the same.
    reply: Box<dyn FnOnce(Result<T, Error>) + Send>,
}

impl<T, F> Work for Op<T, F>
where
    T: Send,
    F: FnOnce(&WriteTransaction) -> Result<T, Error> + Send,
{
    fn room(&self) -> Room {
        self.room
    }

    fn apply(&mut self, transaction: &WriteTransaction) -> Result<(), Error> {
        let Some(change) = self.change.take() else { return Ok(()) };
        match change(transaction) {
            // What it did before it met a row that cannot be read must not be committed.
            Err(error @ (Error::Redb(_) | Error::Row { .. })) => Err(error),
            result => {
                self.result = Some(result);
                Ok(())
            }
        }
    }

    fn answer(self: Box<Self>, outcome: Result<(), &Error>) {
        let result = match (outcome, self.result) {
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(Error::Gone),
            // A refusal is true whether or not the others could be committed.
            (Err(_), Some(Err(refused))) => Err(refused),
            (Err(error), _) => Err(error.echo()),
        };
        (self.reply)(result);
    }
}

struct Queue {
    waiting: VecDeque<Box<dyn Work>>,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// What the last look at the disk said, where it has too little room for a commit that adds.
    lack: Mutex<Option<String>>,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to the writer thread.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("waiting", &self.shared.queue().waiting.len()).finish_non_exhaustive()
    }
}

impl Writer {
    /// Starts the thread. `root` is where free space is asked for.
    pub(crate) fn start(
        index: Arc<Index>,
        disk: Arc<dyn Disk>,
        root: PathBuf,
        ticks: Vec<Box<dyn Tick>>,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue { waiting: VecDeque::new(), closed: false }),
            wake: Condvar::new(),
            lack: Mutex::default(),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(&theirs, &index, &*disk, &root, &ticks))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    fn send<T: Send + 'static>(
        &self,
        room: Room,
        change: impl FnOnce(&WriteTransaction) -> Result<T, Error> + Send + 'static,
        reply: Box<dyn FnOnce(Result<T, Error>) + Send>,
    ) -> Result<(), Error> {
        let mut queue = self.shared.queue();
        if queue.closed {
            return Err(closed());
        }
        if queue.waiting.len() >= QUEUE_MAX {
            return Err(Error::Busy { queued: queue.waiting.len() });
        }
        queue.waiting.push_back(Box::new(Op { room, change: Some(change), result: None, reply }));
        drop(queue);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Hands a change over and waits until it is durable. For threads that may block.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        room: Room,
        change: impl FnOnce(&WriteTransaction) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        self.send(room, change, Box::new(move |result| drop(reply.send(result))))?;
        answer.recv().unwrap_or_else(|_| Err(closed()))
    }

    /// As [`Writer::write`], and then tells of it those who remember what was before: on the writer's thread, before the
    /// next commit. `told` must not block.
    pub(crate) fn write_and_tell<T: Send + 'static>(
        &self,
        room: Room,
        change: impl FnOnce(&WriteTransaction) -> Result<T, Error> + Send + 'static,
        told: impl FnOnce(&mut T) + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        let answered = move |mut result: Result<T, Error>| {
            if let Ok(value) = &mut result {
                told(value);
            }
            drop(reply.send(result));
        };
        self.send(room, change, Box::new(answered))?;
        answer.recv().unwrap_or_else(|_| Err(closed()))
    }

    /// The same without blocking a thread. A caller that goes away leaves the change standing.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        room: Room,
        change: impl FnOnce(&WriteTransaction) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(room, change, Box::new(move |result| drop(reply.send(result))))?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// As [`Writer::change`], and then tells of it those who remember what was before: on the writer's thread, before the
    /// next commit, whether or not the caller is still there. `told` must not block.
    pub(crate) async fn change_and_tell<T: Send + 'static>(
        &self,
        room: Room,
        change: impl FnOnce(&WriteTransaction) -> Result<T, Error> + Send + 'static,
        told: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let answered = move |result: Result<T, Error>| {
            if let Ok(value) = &result {
                told(value);
            }
            drop(reply.send(result));
        };
        self.send(room, change, Box::new(answered))?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Why nothing that adds can be committed now, as of the last commit or tick.
    pub(crate) fn lack(&self) -> Option<String> {
        self.shared.lack.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Refuses what comes, finishes what waits, and ends the thread.
    pub(crate) fn close(&self) {
        self.shared.queue().closed = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the writer thread of the store panicked");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

fn closed() -> Error {
    Error::Unavailable { why: "the store is closed".into() }
}

fn run(shared: &Shared, index: &Index, disk: &dyn Disk, root: &std::path::Path, ticks: &[Box<dyn Tick>]) {
    let mut ticked = Instant::now();
    loop {
        let (mut batch, closing) = wait(shared, TICK.saturating_sub(ticked.elapsed()));
        let tick = (closing || ticked.elapsed() >= TICK) && ticks.iter().any(|tick| tick.is_due());
        let lack = lack_of_space(disk, root);
        *shared.lack.lock().unwrap_or_else(PoisonError::into_inner) = lack.as_ref().map(ToString::to_string);
        if let Some(error) = &lack {
            // What adds is refused before anything is touched.
            let (refused, kept): (Vec<_>, Vec<_>) = batch.into_iter().partition(|work| work.room() == Room::Adds);
            for work in refused {
                work.answer(Err(error));
            }
            batch = kept;
        }
        let tick_now = tick && (lack.is_none() || closing);
        if !batch.is_empty() || tick_now {
            commit(shared, index, batch, if tick_now { ticks } else { &[] });
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
        }
        if closing {
            return;
        }
    }
}

/// What waits now; sleeps until there is something, at most `patience`. `true` once the queue is closed and empty.
fn wait(shared: &Shared, patience: Duration) -> (Vec<Box<dyn Work>>, bool) {
    let mut queue = shared.queue();
    if queue.waiting.is_empty() && !queue.closed {
        queue = shared.wake.wait_timeout(queue, patience).unwrap_or_else(PoisonError::into_inner).0;
    }
    let many = queue.waiting.len().min(BATCH_MAX);
    let batch: Vec<_> = queue.waiting.drain(..many).collect();
    let closing = queue.closed && queue.waiting.is_empty();
    (batch, closing)
}

fn lack_of_space(disk: &dyn Disk, root: &std::path::Path) -> Option<Error> {
    // A disk that does not tell is taken for one with room: the commit itself will say.
    let free = disk.free_bytes(root).ok()?;
    (free < RESERVE).then(|| Error::Full {
        what: format!(
            "{free} bytes are free on the file system of {}, the index keeps {RESERVE} in reserve; make room on it or \
             raise store.min_free, so that the node gives up payloads in time",
            root.display()
        ),
    })
}

fn commit(shared: &Shared, index: &Index, mut batch: Vec<Box<dyn Work>>, ticks: &[Box<dyn Tick>]) {
    let begun = Instant::now();
    let outcome = index.write(|transaction| {
        let mut at = 0;
        loop {
            while let Some(work) = batch.get_mut(at) {
                // A panic of ours in one change must not end the thread; what it half did goes with the batch.
                catch_unwind(AssertUnwindSafe(|| work.apply(transaction))).unwrap_or_else(|_| {
                    Err(Error::Redb(Box::new(redb::Error::Corrupted("a change panicked".into()))))
                })?;
                at += 1;
            }
            // What came in meanwhile shares the commit.
            let mut queue = shared.queue();
            let more = (BATCH_MAX.saturating_sub(at)).min(queue.waiting.len());
            if more == 0 || begun.elapsed() >= BATCH_TIME {
                break;
            }
            // Space was checked for those that were there; the reserve covers one batch.
            batch.extend(queue.waiting.drain(..more));
        }
        ticks.iter().try_for_each(|tick| match tick.write(transaction) {
            // Counted things are worth less than the changes that share their commit.
            Err(error @ Error::Row { .. }) => {
                tracing::warn!(%error, "something counted is lost");
                Ok(())
            }
            other => other,
        })
    });
    for tick in ticks {
        tick.settle(outcome.is_ok());
    }
    for work in batch {
        work.answer(outcome.as_ref().map(drop));
    }
}

#[cfg(test)]
mod tests {
    use redb::ReadableTable;

    use super::*;
    use crate::base::disk::RealDisk;
    use crate::store::medium;
    use crate::store::tables::TOTALS;

    fn started(dir: &tempfile::TempDir) -> (Arc<Index>, Writer) {
        let path = dir.path().join("node.redb");
        let index =
            Arc::new(Index::open(&path, medium::file(path.clone()), medium::Access::Create, 1 << 20, None).unwrap());
        let writer = Writer::start(Arc::clone(&index), Arc::new(RealDisk), dir.path().to_owned(), vec![]).unwrap();
        (index, writer)
    }

    /// Fails, and remembers how each of its commits ended.
    struct Spy(Arc<Mutex<Vec<bool>>>);

    impl Tick for Spy {
        fn is_due(&self) -> bool {
            true
        }
        fn write(&self, _: &WriteTransaction) -> Result<(), Error> {
            Err(Error::Redb(Box::new(redb::Error::Corrupted("on purpose".into()))))
        }
        fn settle(&self, committed: bool) {
            self.0.lock().unwrap().push(committed);
        }
    }

    #[test]
    fn who_counts_learns_that_a_commit_failed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.redb");
        let index =
            Arc::new(Index::open(&path, medium::file(path.clone()), medium::Access::Create, 1 << 20, None).unwrap());
        let ends = Arc::new(Mutex::new(Vec::new()));
        let spy: Vec<Box<dyn Tick>> = vec![Box::new(Spy(Arc::clone(&ends)))];
        let writer = Writer::start(index, Arc::new(RealDisk), dir.path().to_owned(), spy).unwrap();
        writer.close();
        assert_eq!(*ends.lock().unwrap(), [false]);
    }

    #[test]
    fn a_refused_change_leaves_the_others_of_its_batch_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (index, writer) = started(&dir);
        let answers: Vec<_> = (0..50u64)
            .map(|i| {
                let (reply, answer) = std::sync::mpsc::sync_channel(1);
                let reply = Box::new(move |result| reply.send(result).unwrap());
                let change = move |transaction: &WriteTransaction| {
                    if i % 3 == 0 {
                        return Err(Error::Gone);
                    }
                    let mut totals = transaction.open_table(TOTALS)?;
                    let sum = totals.get("sum")?.map_or(0, |sum| sum.value());
                    totals.insert("sum", sum + i)?;
                    Ok(i)
                };
                writer.send(Room::Adds, change, reply).unwrap();
                answer
            })
            .collect();
        let mut wanted = 0;
        for (i, answer) in answers.into_iter().enumerate() {
            match answer.recv().unwrap() {
                Ok(i) => wanted += i,
                Err(error) => assert!(i % 3 == 0 && matches!(error, Error::Gone)),
            }
        }
        let sum = index.read(|transaction| Ok(transaction.open_table(TOTALS)?.get("sum")?.map(|sum| sum.value())));
        assert_eq!(sum.unwrap(), Some(wanted));
        writer.close();
        assert!(matches!(writer.write(Room::Adds, |_| Ok(())), Err(Error::Unavailable { .. })));
    }
}
