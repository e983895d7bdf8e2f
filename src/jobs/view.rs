//! A job as it is seen from outside: the words for how it and its items are doing.

use std::time::Duration;

use crate::base::digest::{Blake3, Sha256};
use crate::base::time::Timestamp;
use crate::jobs::work::Kind;
use crate::model::name::Name;
use crate::model::payload::Class;

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
    /// Bytes that are still to come, where that is known.
    pub bytes_left: Option<u64>,
    /// `bytes` by second, lately while it runs, on average once it has ended.
    pub bytes_per_s: u64,
    /// What it is at.
    pub current: Option<String>,
    /// What all that is under way waits for, where nothing of it moves.
    pub waits: Option<String>,
}

impl Progress {
    /// How long it will take at the rate of now, where bytes come and it is known how many are to.
    pub fn left(&self) -> Option<Duration> {
        let left = self.bytes_left.filter(|left| *left > 0 && self.waits.is_none())?;
        Some(Duration::from_secs(left.div_ceil(Some(self.bytes_per_s).filter(|rate| *rate > 0)?)))
    }
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

/// What is kept of an item.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Whether it was proven.
    pub class: Class,
    /// Its own SHA-256.
    pub sha256: Sha256,
    /// Its BLAKE3.
    pub blake3: Blake3,
    /// `filled` (fetched now), `held` (was here already) or `taken` (from a file).
    pub outcome: &'static str,
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
    /// What is kept of it, once that is known.
    pub kept: Option<Kept>,
    /// Under which name the flight goes, while one does.
    pub(in crate::jobs) name: Option<Name>,
}

impl Line {
    /// A line about `item` that is not begun.
    pub(in crate::jobs) fn waiting(item: String) -> Self {
        Self { item, step: Step::Waiting, done: 0, total: None, text: String::new(), kept: None, name: None }
    }

    /// A line about `item` that has ended.
    pub(in crate::jobs) fn ended(item: String, step: Step, size: u64, text: String) -> Self {
        Self { item, step, done: size, total: Some(size), text, kept: None, name: None }
    }
}

/// A job as it is seen from outside.
#[derive(Clone, Debug)]
pub struct View {
    /// Its number, which no other job of this data directory has: they go on where the node was when it ended.
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
