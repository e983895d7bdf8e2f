//! The board: one record a job, the last hundred of them. A record is written by the job's task and read by everyone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::base::time::Timestamp;
use crate::jobs::error::Error;
use crate::jobs::work::{FETCH_MAX, Kind, Work};

pub use crate::jobs::view::{Line, Progress, State, Step, Unit, View};

/// Jobs that are remembered; the oldest ended ones make room.
const REMEMBERED: usize = 100;

/// Lines that all ended jobs together keep: a hundred large ones would be gigabytes. Those of the oldest go first.
const ENDED_LINES_MAX: usize = 5 * LINES_MAX;

/// Bytes of a text in a line: what an origin says, and a path, can be as long as they like.
const TEXT_MAX: usize = 1024;

/// Lines that one job keeps: as many as a fetch may have addresses, so that only walks of directories and scrubs of
/// damaged disks can have more. What is over is counted.
const LINES_MAX: usize = FETCH_MAX;

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
        let mut kept: usize = 0;
        for record in inner.records.iter().filter(|record| !record.is_running()) {
            kept = record.keep_lines(kept);
        }
        Ok(record)
    }

    /// Numbers go on behind this one.
    pub(in crate::jobs) fn go_on_behind(&self, last: u64) {
        let mut inner = lock(&self.inner);
        inner.last = inner.last.max(last);
    }

    /// The last number that was given.
    pub(in crate::jobs) fn last(&self) -> u64 {
        lock(&self.inner).last
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
    stopped_by: Arc<OnceLock<String>>,
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
        let progress = Progress {
            done: 0,
            total: None,
            unit: Unit::Items,
            bytes: 0,
            bytes_left: None,
            bytes_per_s: 0,
            current: None,
            waits: None,
        };
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
            stopped_by: Arc::default(),
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

    /// What came of it, once it has ended.
    pub(in crate::jobs) fn result(&self) -> Option<String> {
        lock(&self.live).result.clone()
    }

    pub(in crate::jobs) fn is_running(&self) -> bool {
        self.state().is_running()
    }

    /// The token that `stop` pulls.
    pub(in crate::jobs) fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Who stopped it, if anybody did: set before the token is pulled.
    pub(in crate::jobs) fn stopped_by(&self) -> &Arc<OnceLock<String>> {
        &self.stopped_by
    }

    /// Asks it to stop, for `by`; who asked first counts.
    pub(in crate::jobs) fn stop(&self, by: &str) {
        self.stopped_by.get_or_init(|| by.to_owned());
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
    pub(in crate::jobs) fn add(&self, mut line: Line) -> Option<usize> {
        cut(&mut line.item);
        cut(&mut line.text);
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
            cut(&mut line.text);
        }
    }

    /// Drops the lines of an ended job where newer ones have `before` already. Returns what they have together.
    fn keep_lines(&self, before: usize) -> usize {
        let mut live = lock(&self.live);
        let all = before + live.lines.len();
        if all <= ENDED_LINES_MAX {
            return all;
        }
        live.left_out += live.lines.len() as u64;
        live.lines = Vec::new();
        before
    }

    /// Looks at the lines without a copy of them.
    pub(in crate::jobs) fn look<T>(&self, look: impl FnOnce(&[Line]) -> T) -> T {
        look(&lock(&self.live).lines)
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
        (live.progress.current, live.progress.waits, live.progress.bytes_left) = (None, None, None);
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
            lines: if lines { live.lines.clone() } else { Vec::new() },
            lines_left_out: live.left_out,
        }
    }
}

/// Cuts a text that is too long, at a character.
fn cut(text: &mut String) {
    if text.len() > TEXT_MAX {
        text.truncate(text.floor_char_boundary(TEXT_MAX));
        text.push_str("...");
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
mod tests;
