//! Files on their way: some of each bandwidth class at a time, each with what became of it in this job.
//!
//! Neither class holds up the other: files of definition updates, which are few, are met first and put by where they must wait;
//! whoever waits for a place of a class that is slow or paused is woken by a change of what is wanted, which may be of the other one; and
//! what failed becomes due by the clock, and is begun again beside whatever else is under way ([`Lane`]). Whose turn it is says [`turn`],
//! what people are told [`tell`].

mod tell;
mod turn;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::base::digest::Sha1;
use crate::jobs::Shared;
use crate::jobs::board::{Line, Record, Step, Unit};
use crate::jobs::content::Plan;
use crate::jobs::error::Error;
use crate::jobs::prefetch::bring::tell::{Reasons, Still, Sums};
use crate::jobs::prefetch::lane::{Item, Lane};
use crate::jobs::prefetch::mismatch::Mark;
use crate::jobs::prefetch::one::{Failed, one};
use crate::jobs::prefetch::room::{footprint, room};
use crate::jobs::prefetch::steer::POLICY;
use crate::model::policy::Unresolved;
use crate::pace::Class;
use crate::store::catalog::{Upstream, WantedFile};

/// Files of a class that are brought at a time: one is proven while others arrive, and all of a host share its connections anyway.
const PARALLEL: usize = 4;

/// Files of definition updates that are put by until there is a place for them: the lane keeps some of each product, of a few files.
const PUT_BY_MAX: usize = 10_000;

/// Lines for files that came well; those of what failed have the rest of the job's lines.
const LINES_MAX: u64 = 1_000;

/// Lines for files that have no room; what the job says at its end tells how many there are.
const ROOMLESS_LINES_MAX: u64 = 200;

/// What is told of a file without room.
const NO_ROOM: &str = "the store has no room for it beside what else is wanted";

/// What became of a file in this job.
enum Met {
    /// It is under way, or came: it is not begun again, also where it was given up meanwhile.
    Brought,
    /// It waits for a place of its class, and nothing was promised to it yet. What is wanted has not changed since.
    PutBy { mark: Mark },
    /// It waits to be tried again.
    Waits { mark: Mark },
    /// It does not come, as far as the catalog says this of it; since when.
    Failed { mark: Mark, mismatched: bool, at: Instant },
    /// This walk has found no room for it. Where it has a line that says so, that stands here.
    Roomless { walk: u32, at: Option<usize> },
}

/// One job's work.
pub(super) struct Bringing<'a> {
    shared: &'a Arc<Shared>,
    record: &'a Arc<Record>,
    upstream: Upstream,
    /// Begun by nobody: then what did not match is left alone.
    by_itself: bool,
    revisions: watch::Receiver<u64>,
    revision: u64,
    walk: u32,
    /// What may still be begun, and what of it is promised to what is under way or waits.
    room: u64,
    promised: u64,
    running: JoinSet<(Item, Result<u64, Failed>)>,
    /// Files of definition updates, and all others: how many of them are under way, and what failed and is still wanted.
    definitions: Lane,
    others: Lane,
    put_by: VecDeque<Item>,
    /// What waits to be tried again, and was not met since what is wanted may have changed.
    unmet: HashMap<Sha1, Item>,
    met: HashMap<Sha1, Met>,
    sums: Sums,
    /// Bytes that are to come.
    bytes_left: u64,
    reasons: Reasons,
    still: Still,
    /// Why the last file did not come that failed, or is tried again.
    stuck: Option<String>,
    /// The last file that failed for good, and why.
    last_failed: Option<(Sha1, String)>,
    /// When the first file failed that may come later, of those that were not begun again since.
    failed_first: Option<Instant>,
}

impl<'a> Bringing<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, record: &'a Arc<Record>) -> Result<Self, Error> {
        let (revisions, revision) = (shared.planned.watch(), shared.planned.revision());
        record.progress(|progress| progress.unit = Unit::Items);
        Ok(Self {
            shared,
            record,
            upstream: shared.sync()?.upstream().clone(),
            by_itself: record.by() == POLICY,
            revision,
            revisions,
            walk: 0,
            room: 0,
            promised: 0,
            running: JoinSet::new(),
            definitions: Lane::default(),
            others: Lane::default(),
            put_by: VecDeque::new(),
            unmet: HashMap::new(),
            met: HashMap::new(),
            sums: Sums::default(),
            bytes_left: 0,
            reasons: Reasons::default(),
            still: Still::since(Instant::now()),
            stuck: None,
            last_failed: None,
            failed_first: None,
        })
    }

    /// Ends with the job.
    pub(super) fn cancel(&self) -> &'a CancellationToken {
        self.record.cancel()
    }

    /// Refuses to go on by itself where a rule is left out that would keep out what comes without it.
    pub(super) fn may_go_on(&self, left_out: &[Unresolved]) -> Result<(), Error> {
        match left_out.iter().find(|wrong| wrong.keeps_out).filter(|_| self.by_itself) {
            Some(wrong) => Err(Error::Undone(format!(
                "nothing more is fetched ahead by itself until content.rules is corrected, since a rule is left out that would keep \
                 something out; {wrong}"
            ))),
            None => Ok(()),
        }
    }

    /// Whether something else may be wanted than what this job goes by.
    pub(super) fn has_changed(&self) -> bool {
        *self.revisions.borrow() != self.revision
    }

    /// The revision of what is wanted that this job goes by. What was asked for after [`Bringing::look_up`] is as new, or newer.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Goes by what is wanted now. What waits for its turn is judged anew: nobody says that it is still wanted, or still the same.
    pub(super) fn look_up(&mut self) {
        self.revision = *self.revisions.borrow_and_update();
        self.shared.steering.goes_by(self.revision);
        for item in std::mem::take(&mut self.put_by) {
            self.met.remove(&item.file.file.sha1);
        }
        for lane in [&mut self.definitions, &mut self.others] {
            self.unmet.extend(lane.take_all().map(|item| (item.file.file.sha1, item)));
        }
    }

    /// Another walk begins: what is wanted is counted.
    pub(super) async fn begin_walk(&mut self) -> Result<Arc<Plan>, Error> {
        self.look_up();
        self.walk = self.walk.saturating_add(1);
        // What comes while it is counted is taken off twice, and not added twice.
        let promised = self.promised;
        let plan = self.shared.plan_anew().await?;
        self.room = room(&plan.space, &plan.now).saturating_sub(promised);
        (self.sums.roomless, self.sums.roomless_bytes, self.sums.waiting) = (0, 0, 0);
        let missing = plan.now.missing().files;
        let left_alone = if self.by_itself { plan.mismatched.len() as u64 } else { 0 };
        let (came, failed) = (self.sums.came, self.sums.failed);
        self.bytes_left = plan.now.missing().bytes;
        let left = self.bytes_left;
        self.record.progress(|progress| {
            let total = came.saturating_add(missing.saturating_sub(left_alone)).max(came + failed);
            (progress.done, progress.total, progress.bytes_left) = (came, Some(total), Some(left));
            progress.current = (missing > 0).then(|| "what the content policy wants".to_owned());
            progress.waits = None;
        });
        if self.walk == 1 {
            self.sums.at_first = missing.saturating_sub(left_alone);
        }
        Ok(plan)
    }

    /// A walk went through without a change: what waits and was not met by it is not wanted any more.
    pub(super) fn end_walk(&mut self) {
        for item in std::mem::take(&mut self.unmet).into_values() {
            self.met.remove(&item.file.file.sha1);
            self.give_back(footprint(item.file.file.size));
            self.line(&item, Step::Stopped, "it is not wanted any more", true);
        }
    }

    fn give_back(&mut self, room: u64) {
        self.room = self.room.saturating_add(room);
        self.promised = self.promised.saturating_sub(room);
    }

    /// A walk has found a file that is not held, which is to come in this class.
    pub(super) async fn meet(&mut self, file: WantedFile, class: Class) -> Result<(), Error> {
        let (sha1, mark) = (file.file.sha1, Mark::of(&file, &self.upstream));
        let mut own = None;
        match self.met.get_mut(&sha1) {
            Some(Met::Brought) => return Ok(()),
            Some(Met::Roomless { walk, at }) => {
                own = *at;
                if *walk == self.walk {
                    // There may be room by now. If not, it is counted again, and once.
                    self.sums.roomless -= 1;
                    self.sums.roomless_bytes = self.sums.roomless_bytes.saturating_sub(file.file.size);
                    self.bytes_left = self.bytes_left.saturating_add(file.file.size);
                }
                self.met.remove(&sha1);
            }
            Some(Met::PutBy { mark: known }) => {
                if *known != mark {
                    *known = mark;
                    if let Some(item) = self.put_by.iter_mut().find(|item| item.file.file.sha1 == sha1) {
                        (item.file, item.mark) = (file, mark);
                    }
                }
                return Ok(());
            }
            Some(Met::Waits { mark: known }) => {
                let is_same = *known == mark;
                *known = mark;
                if let Some(item) = self.unmet.remove(&sha1) {
                    let item = if is_same { item } else { Item { file, mark, ..item } };
                    self.lane(item.class).wait(item);
                } else if !is_same {
                    for item in
                        [&mut self.definitions, &mut self.others].into_iter().filter_map(|lane| lane.find(&sha1))
                    {
                        (item.file, item.mark) = (file.clone(), mark);
                    }
                }
                return Ok(());
            }
            // What may have passed by now is worth another try in a job that lives for days, as it is to the job after one that ended.
            Some(Met::Failed { mark: known, mismatched, at })
                if *known == mark && (*mismatched || at.elapsed() < self.shared.config.prefetch_later) =>
            {
                return Ok(());
            }
            Some(Met::Failed { mismatched, .. }) => {
                self.sums.failed -= 1;
                self.sums.mismatched -= u64::from(*mismatched);
                self.met.remove(&sha1);
                self.last_failed.take_if(|(last, _)| *last == sha1);
            }
            None => {}
        }
        if self.by_itself && self.shared.steering.mismatches.known(&file, &self.upstream).is_some() {
            self.sums.waiting += 1;
            return Ok(());
        }
        self.bring(Item { file, mark, class, tried: 0, due: Instant::now(), at: own }).await
    }

    fn lane(&mut self, class: Class) -> &mut Lane {
        if class == Class::Definitions { &mut self.definitions } else { &mut self.others }
    }

    fn is_full(&self, class: Class) -> bool {
        let lane = if class == Class::Definitions { &self.definitions } else { &self.others };
        lane.under_way >= PARALLEL
    }

    /// Begins with a file as soon as others of its class have ended. Where what is wanted changes before that, the next walk meets it
    /// again.
    async fn bring(&mut self, item: Item) -> Result<(), Error> {
        while self.is_full(item.class) {
            if item.class == Class::Definitions && self.put_by.len() < PUT_BY_MAX {
                self.met.insert(item.file.file.sha1, Met::PutBy { mark: item.mark });
                self.put_by.push_back(item);
                return Ok(());
            }
            self.moved(Some(item.class)).await?;
            if self.has_changed() {
                return Ok(());
            }
        }
        self.begin(item)
    }

    fn begin(&mut self, mut item: Item) -> Result<(), Error> {
        if self.record.cancel().is_cancelled() {
            return Err(Error::Stopped);
        }
        let size = item.file.file.size;
        if item.tried == 0 {
            let Some(room) = self.room.checked_sub(footprint(size)) else {
                self.sums.roomless += 1;
                self.sums.roomless_bytes = self.sums.roomless_bytes.saturating_add(size);
                self.bytes_left = self.bytes_left.saturating_sub(size);
                if item.at.is_none() && self.sums.roomless_lines < ROOMLESS_LINES_MAX {
                    self.sums.roomless_lines += 1;
                    item.at = self.record.add(Line::waiting(shown(&item)));
                }
                self.line(&item, Step::Failed, NO_ROOM, true);
                self.met.insert(item.file.file.sha1, Met::Roomless { walk: self.walk, at: item.at });
                return Ok(());
            };
            self.room = room;
            self.promised = self.promised.saturating_add(footprint(size));
            if item.at.is_none() && self.sums.lines < LINES_MAX {
                self.sums.lines += 1;
                item.at = self.record.add(Line::waiting(shown(&item)));
            }
        }
        self.record.progress(|progress| (progress.current, progress.waits) = (Some(shown(&item)), None));
        self.met.insert(item.file.file.sha1, Met::Brought);
        if self.running.is_empty() {
            self.still = Still::since(Instant::now());
        }
        self.lane(item.class).begun(&item);
        let (shared, record, upstream) = (Arc::clone(self.shared), Arc::clone(self.record), self.upstream.kind);
        self.running.spawn(async move {
            let came = one(&shared, &record, item.at, (&item.file, item.class), upstream).await;
            (item, came)
        });
        Ok(())
    }
}

fn shown(item: &Item) -> String {
    format!("{} ({})", item.file.file.name, item.file.file.sha1)
}
