//! The board: one record a job, the last hundred of them. A record is written by the job's task and read by everyone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::base::time::Timestamp;
use crate::jobs::error::Error;
use crate::jobs::work::{FETCH_MAX, Kind, Work};
use crate::model::name::Name;

/// Jobs that are remembered; the oldest ended ones make room.
const REMEMBERED: usize = 100;

/// Lines that one job keeps: as many as a fetch may have addresses, so that only walks of directories and scrubs of
/// damaged disks can have more. What is over is counted.
const LINES_MAX: usize = FETCH_MAX;

/// How a job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// On its way.
    Running,
    /// Ended, and everything went well.
    Done,
    /// Ended, and something did not.
    Failed,
    /// Somebody stopped it, or the node was shut down.
    Stopped,
}

impl State {
    /// The word for logs and the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Whether it has not ended.
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Running)
    }
}

/// What `done` and `total` count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Addresses, files, payloads.
    Items,
    /// Bytes.
    Bytes,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How much is done, in `unit`.
    pub done: u64,
    /// How much there is, where that is known.
    pub total: Option<u64>,
    /// See [`Unit`].
    pub unit: Unit,
    /// Bytes read, copied or filled so far.
    pub bytes: u64,
    /// The same by second, lately while it runs, on average once it has ended.
    pub bytes_per_s: u64,
    /// What it is at.
    pub current: Option<String>,
}

/// How one item is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Not begun.
    Waiting,
    /// On its way.
    Running,
    /// Well.
    Done,
    /// Not well.
    Failed,
    /// Not done, since the job was stopped or broke off before.
    Stopped,
}

impl Step {
    /// The word for the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// One item of a job.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is about: an address, a file, a payload.
    pub item: String,
    /// See [`Step`].
    pub step: Step,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, where that is known.
    pub total: Option<u64>,
    /// What came of it, in words.
    pub text: String,
    /// Under which name the flight goes, while one does.
    pub(in crate::jobs) name: Option<Name>,
}

impl Line {
    /// A line about `item` that is not begun.
    pub(in crate::jobs) fn waiting(item: String) -> Self {
        Self { item, step: Step::Waiting, done: 0, total: None, text: String::new(), name: None }
    }

    /// A line about `item` that has ended.
    pub(in crate::jobs) fn ended(item: String, step: Step, size: u64, text: String) -> Self {
        Self { item, step, done: size, total: Some(size), text, name: None }
    }
}

/// A job as it is seen from outside.
#[derive(Clone, Debug)]
pub struct View {
    /// Its number; counts from 1 at every start of the node.
    pub id: u64,
    /// See [`Kind`].
    pub kind: Kind,
    /// What it does, for people.
    pub title: String,
    /// Who started it.
    pub by: String,
    /// See [`State`].
    pub state: State,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// See [`Progress`].
    pub progress: Progress,
    /// What came of it, in words, once it has ended.
    pub result: Option<String>,
    /// One a item; empty in lists.
    pub lines: Vec<Line>,
    /// Lines that the bound left out.
    pub lines_left_out: u64,
}

/// All records.
#[derive(Debug, Default)]
pub(in crate::jobs) struct Board {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    records: VecDeque<Arc<Record>>,
}

impl Board {
    /// A new record under a new number; refused where too many run, or one that it would fight with.
    pub(in crate::jobs) fn begin(
        &self,
        work: &Work,
        by: &str,
        now: Timestamp,
        cancel: &CancellationToken,
        running_max: usize,
    ) -> Result<Arc<Record>, Error> {
        let mut inner = lock(&self.inner);
        let running = inner.records.iter().filter(|record| record.is_running());
        let lane = work.lane();
        if lane.is_some()
            && let Some(other) = running.clone().find(|record| record.lane == lane)
        {
            return Err(Error::Busy { id: other.id, kind: other.kind.word() });
        }
        let running = running.count();
        if running >= running_max {
            return Err(Error::Full { running });
        }
        inner.last += 1;
        let record = Arc::new(Record::new(inner.last, work, by, now, cancel.child_token()));
        inner.records.push_front(Arc::clone(&record));
        while inner.records.len() > REMEMBERED {
            // At most RUNNING_MAX run, so an ended one is always found.
            match inner.records.iter().rposition(|record| !record.is_running()) {
                Some(at) => drop(inner.records.remove(at)),
                None => break,
            }
        }
        Ok(record)
    }

    pub(in crate::jobs) fn get(&self, id: u64) -> Option<Arc<Record>> {
        lock(&self.inner).records.iter().find(|record| record.id == id).map(Arc::clone)
    }

    /// Newest first.
    pub(in crate::jobs) fn all(&self) -> Vec<Arc<Record>> {
        lock(&self.inner).records.iter().map(Arc::clone).collect()
    }
}

/// One job's record.
#[derive(Debug)]
pub(in crate::jobs) struct Record {
    id: u64,
    kind: Kind,
    lane: Option<String>,
    title: String,
    by: String,
    started_at: Timestamp,
    cancel: CancellationToken,
    ended: watch::Sender<bool>,
    live: Mutex<Live>,
}

#[derive(Debug)]
struct Live {
    state: State,
    ended_at: Option<Timestamp>,
    progress: Progress,
    result: Option<String>,
    lines: Vec<Line>,
    left_out: u64,
    meter: Meter,
}

impl Record {
    fn new(id: u64, work: &Work, by: &str, started_at: Timestamp, cancel: CancellationToken) -> Self {
        let progress = Progress { done: 0, total: None, unit: Unit::Items, bytes: 0, bytes_per_s: 0, current: None };
        let live = Live {
            state: State::Running,
            ended_at: None,
            progress,
            result: None,
            lines: Vec::new(),
            left_out: 0,
            meter: Meter::new(),
        };
        Self {
            id,
            kind: work.kind(),
            lane: work.lane(),
            title: work.title(),
            by: by.to_owned(),
            started_at,
            cancel,
            ended: watch::Sender::new(false),
            live: Mutex::new(live),
        }
    }

    pub(in crate::jobs) fn id(&self) -> u64 {
        self.id
    }

    pub(in crate::jobs) fn kind(&self) -> Kind {
        self.kind
    }

    pub(in crate::jobs) fn by(&self) -> &str {
        &self.by
    }

    pub(in crate::jobs) fn state(&self) -> State {
        lock(&self.live).state
    }

    pub(in crate::jobs) fn is_running(&self) -> bool {
        self.state().is_running()
    }

    /// The token that `stop` pulls.
    pub(in crate::jobs) fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    pub(in crate::jobs) fn stop(&self) {
        self.cancel.cancel();
    }

    /// Changes the progress; the rate follows from its bytes.
    pub(in crate::jobs) fn progress(&self, change: impl FnOnce(&mut Progress)) {
        let mut live = lock(&self.live);
        change(&mut live.progress);
        let bytes = live.progress.bytes;
        if let Some(rate) = live.meter.rate(bytes) {
            live.progress.bytes_per_s = rate;
        }
    }

    /// Adds a line and returns where it stands; `None` where there are too many already.
    pub(in crate::jobs) fn add(&self, line: Line) -> Option<usize> {
        let mut live = lock(&self.live);
        if live.lines.len() >= LINES_MAX {
            live.left_out += 1;
            return None;
        }
        live.lines.push(line);
        Some(live.lines.len() - 1)
    }

    /// Changes the line that stands at `at`.
    pub(in crate::jobs) fn line(&self, at: usize, change: impl FnOnce(&mut Line)) {
        if let Some(line) = lock(&self.live).lines.get_mut(at) {
            change(line);
        }
    }

    /// Ends the job: `Ok` carries what came of it, in words.
    pub(in crate::jobs) fn end(&self, result: Result<String, Error>, now: Timestamp) {
        let mut live = lock(&self.live);
        if !live.state.is_running() {
            return;
        }
        let (state, text) = match result {
            Ok(text) => (State::Done, text),
            Err(Error::Stopped) => (State::Stopped, "stopped before it was done".to_owned()),
            Err(error) => (State::Failed, error.to_string()),
        };
        live.state = state;
        live.ended_at = Some(now);
        live.result = Some(text);
        live.progress.current = None;
        let seconds = now.since(self.started_at).as_millis().max(1);
        live.progress.bytes_per_s = u64::try_from(u128::from(live.progress.bytes) * 1000 / seconds).unwrap_or(u64::MAX);
        for line in &mut live.lines {
            line.name = None;
            if matches!(line.step, Step::Waiting | Step::Running) {
                line.step = Step::Stopped;
                "not done: the job ended before".clone_into(&mut line.text);
            }
        }
        drop(live);
        self.ended.send_replace(true);
    }

    /// Returns once the job has ended.
    pub(in crate::jobs) async fn ended(&self) {
        // The sender lives in this record, so the wait cannot fail.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    pub(in crate::jobs) fn view(&self, lines: bool) -> View {
        let live = lock(&self.live);
        View {
            id: self.id,
            kind: self.kind,
            title: self.title.clone(),
            by: self.by.clone(),
            state: live.state,
            started_at: self.started_at,
            ended_at: live.ended_at,
            progress: live.progress.clone(),
            result: live.result.clone(),
            // The lines of a running fetch are needed to follow its flights; lists drop them after that.
            lines: if lines || live.state.is_running() { live.lines.clone() } else { Vec::new() },
            lines_left_out: live.left_out,
        }
    }
}

/// Bytes a second, smoothed over a few seconds.
#[derive(Debug)]
struct Meter {
    at: Instant,
    bytes: u64,
    rate: Option<u64>,
}

impl Meter {
    /// Shorter than this, and the clock's grain shows.
    const GRAIN: Duration = Duration::from_millis(500);

    fn new() -> Self {
        Self { at: Instant::now(), bytes: 0, rate: None }
    }

    /// The rate after `bytes` in all, if enough time has gone by to tell a new one.
    fn rate(&mut self, bytes: u64) -> Option<u64> {
        let passed = self.at.elapsed();
        if passed < Self::GRAIN {
            return None;
        }
        let now = u128::from(bytes.saturating_sub(self.bytes)) * 1000 / passed.as_millis().max(1);
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let rate = self.rate.map_or(now, |last| last / 4 * 3 + now / 4);
        *self = Self { at: Instant::now(), bytes, rate: Some(rate) };
        Some(rate)
    }
}

/// A panic in a holder leaves values that are whole: every change is one assignment at a time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::work::{Backup, Verify};

    fn work(scheduled: bool) -> Work {
        Work::Verify(Verify { scheduled, ..Verify::default() })
    }

    fn begin(board: &Board, work: &Work) -> Result<Arc<Record>, Error> {
        board.begin(work, "test", Timestamp::from_ms(1000), &CancellationToken::new(), 2)
    }

    fn backup() -> Work {
        Work::Backup(Backup { to: "/b".into() })
    }

    #[test]
    fn two_readers_of_the_whole_disk_do_not_run_at_once() {
        let board = Board::default();
        let first = begin(&board, &work(true)).unwrap();
        assert!(matches!(begin(&board, &work(false)), Err(Error::Busy { id: 1, kind: "scrub" })));
        let second = begin(&board, &backup()).unwrap();
        let fetch = Work::Fetch(crate::jobs::work::Fetch::default());
        assert!(matches!(begin(&board, &fetch), Err(Error::Full { running: 2 })));
        first.end(Ok("well".into()), Timestamp::from_ms(3000));
        assert_eq!(begin(&board, &work(false)).unwrap().id(), 3);
        second.stop();
        assert!(second.cancel().is_cancelled() && second.is_running(), "stopping is not having ended");
    }

    #[test]
    fn the_oldest_ended_jobs_make_room_and_running_ones_stay() {
        let board = Board::default();
        let running = begin(&board, &work(false)).unwrap();
        for _ in 0..REMEMBERED * 2 {
            begin(&board, &backup()).unwrap().end(Err(Error::Stopped), Timestamp::from_ms(2000));
        }
        let all = board.all();
        assert_eq!(all.len(), REMEMBERED);
        assert!(board.get(running.id()).is_some() && board.get(2).is_none());
        assert_eq!(all[0].id(), 201);
    }

    #[tokio::test]
    async fn an_ended_job_leaves_no_line_open_and_wakes_who_waits() {
        let board = Board::default();
        let record = begin(&board, &work(false)).unwrap();
        let at = record.add(Line::waiting("a".into())).unwrap();
        record.line(at, |line| line.step = Step::Running);
        record.add(Line::ended("b".into(), Step::Done, 7, "well".into()));
        record.progress(|progress| progress.bytes = 4000);
        let waiting = tokio::spawn({
            let record = Arc::clone(&record);
            async move { record.ended().await }
        });
        record.end(Err(Error::Items { failed: 1, total: 2 }), Timestamp::from_ms(3000));
        waiting.await.unwrap();
        let view = record.view(true);
        assert_eq!((view.state, view.result.as_deref()), (State::Failed, Some("1 of 2 failed")));
        assert_eq!(view.progress.bytes_per_s, 2000);
        assert_eq!(view.lines.iter().map(|line| line.step).collect::<Vec<_>>(), [Step::Stopped, Step::Done]);
        record.end(Ok("again".into()), Timestamp::from_ms(9000));
        assert_eq!(record.state(), State::Failed, "a job ends once");
    }

    #[test]
    fn lines_are_bounded_and_the_rest_is_counted() {
        let board = Board::default();
        let record = begin(&board, &work(false)).unwrap();
        for number in 0..LINES_MAX + 3 {
            record.add(Line::waiting(number.to_string()));
        }
        let view = record.view(true);
        assert_eq!((view.lines.len(), view.lines_left_out), (LINES_MAX, 3));
    }
}
