//! Files on their way: some of each bandwidth class at a time, each with what became of it in this job.
//!
//! Neither class holds up the other: files of definition updates, which are few, are met first and put by where they must wait; and
//! whoever waits for a place of a class that is slow or paused is woken by a change of what is wanted, which may be of the other one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::base::digest::Sha1;
use crate::base::size;
use crate::jobs::Shared;
use crate::jobs::board::{Line, Record, Step, Unit};
use crate::jobs::content::{EMPTY_CATALOG, Plan, more_room};
use crate::jobs::error::Error;
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

/// How often what failed is tried again within one job, and the rest before the first time; it doubles each time.
const ROUNDS: u32 = 3;
const REST_FIRST: Duration = Duration::from_secs(15);

/// Files that wait to be tried again; what fails beyond them is told, and tried by the next job.
const AGAIN_MAX: usize = 10_000;

/// Lines for files that came well; those of what failed have the rest of the job's lines.
const LINES_MAX: u64 = 1_000;

/// Lines for files that have no room; what the job says at its end tells how many there are.
const ROOMLESS_LINES_MAX: u64 = 200;

/// What is told of a file without room.
const NO_ROOM: &str = "the store has no room for it beside what else is wanted";

/// What came of all files so far, over all walks of the job.
#[derive(Default)]
struct Sums {
    came: u64,
    bytes: u64,
    failed: u64,
    /// Of these, files that came and did not match.
    mismatched: u64,
    lines: u64,
    /// Files without room, and their bytes: of the last walk, since what is wanted beside them changes. A walk meets a file as often as
    /// updates have it, and counts it once.
    roomless: u64,
    roomless_bytes: u64,
    roomless_lines: u64,
    /// What was missing when the job began, and is to be brought by it.
    at_first: u64,
    /// Files that did not match in an earlier job and are left alone: of the last walk too.
    waiting: u64,
}

/// A file that is to be brought.
struct Item {
    file: WantedFile,
    mark: Mark,
    /// The class of bandwidth that it comes in.
    class: Class,
    tried: u32,
    /// Its line, if it has one.
    at: Option<usize>,
}

/// What became of a file in this job.
enum Met {
    /// It is under way, or came: it is not begun again, also where it was given up meanwhile.
    Brought,
    /// It waits for a place of its class, and nothing was promised to it yet. What is wanted has not changed since.
    PutBy { mark: Mark },
    /// It waits to be tried again; the walk that met it last still wants it.
    Waits { mark: Mark, walk: u32 },
    /// It does not come, as far as the catalog says this of it.
    Failed { mark: Mark, mismatched: bool },
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
    /// Of these, files of definition updates; and those that are put by.
    definitions: usize,
    put_by: VecDeque<Item>,
    again: VecDeque<Item>,
    met: HashMap<Sha1, Met>,
    sums: Sums,
    /// Why the last file did not come that failed, or is tried again.
    stuck: Option<String>,
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
            definitions: 0,
            put_by: VecDeque::new(),
            again: VecDeque::new(),
            met: HashMap::new(),
            sums: Sums::default(),
            stuck: None,
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

    /// Goes by what is wanted now. What was put by is judged anew: nobody says that it is still wanted, or still the same.
    pub(super) fn look_up(&mut self) {
        self.revision = *self.revisions.borrow_and_update();
        self.shared.steering.goes_by(self.revision);
        for item in std::mem::take(&mut self.put_by) {
            if item.tried > 0 {
                // It still stands among what waits, by the walk that met it last.
                self.again.push_back(item);
            } else {
                self.met.remove(&item.file.file.sha1);
            }
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
        self.record.progress(|progress| {
            let total = came.saturating_add(missing.saturating_sub(left_alone)).max(came + failed);
            (progress.done, progress.total) = (came + failed, Some(total));
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
        let (met, now) = (&self.met, self.walk);
        let is_wanted = |item: &Item| {
            let met = met.get(&item.file.file.sha1);
            !matches!(met, Some(Met::Waits { walk, .. }) if *walk != now)
        };
        let (wanted, rest): (VecDeque<Item>, VecDeque<Item>) =
            std::mem::take(&mut self.again).into_iter().partition(is_wanted);
        self.again = wanted;
        for item in rest {
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
            Some(Met::Waits { mark: known, walk }) => {
                *walk = self.walk;
                if *known != mark {
                    *known = mark;
                    if let Some(item) = self.again.iter_mut().find(|item| item.file.file.sha1 == sha1) {
                        (item.file, item.mark) = (file, mark);
                    }
                }
                return Ok(());
            }
            Some(Met::Failed { mark: known, .. }) if *known == mark => return Ok(()),
            Some(Met::Failed { mismatched, .. }) => {
                // Something else is said of it by now.
                self.sums.failed -= 1;
                self.sums.mismatched -= u64::from(*mismatched);
                self.met.remove(&sha1);
            }
            None => {}
        }
        if self.by_itself && self.shared.steering.mismatches.known(&file, &self.upstream).is_some() {
            self.sums.waiting += 1;
            return Ok(());
        }
        self.bring(Item { file, mark, class, tried: 0, at: own }).await
    }

    fn is_full(&self, class: Class) -> bool {
        let under_way =
            if class == Class::Definitions { self.definitions } else { self.running.len() - self.definitions };
        under_way >= PARALLEL
    }

    /// Begins with a file as soon as others of its class have ended. Where what is wanted changes before that, the next walk meets it
    /// again.
    async fn bring(&mut self, item: Item) -> Result<(), Error> {
        if item.class == Class::Definitions && self.is_full(item.class) && self.put_by.len() < PUT_BY_MAX {
            if item.tried == 0 {
                self.met.insert(item.file.file.sha1, Met::PutBy { mark: item.mark });
            }
            self.put_by.push_back(item);
            return Ok(());
        }
        while self.is_full(item.class) {
            self.one_ended().await?;
            if self.has_changed() {
                if item.tried > 0 {
                    self.again.push_front(item);
                }
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
        self.record.progress(|progress| progress.current = Some(shown(&item)));
        self.met.insert(item.file.file.sha1, Met::Brought);
        self.definitions += usize::from(item.class == Class::Definitions);
        let (shared, record, upstream) = (Arc::clone(self.shared), Arc::clone(self.record), self.upstream.kind);
        self.running.spawn(async move {
            let came = one(&shared, &record, item.at, (&item.file, item.class), upstream).await;
            (item, came)
        });
        Ok(())
    }

    /// Waits until none is under way, or what is wanted has changed.
    async fn rest(&mut self) -> Result<(), Error> {
        while !self.running.is_empty() && !self.has_changed() {
            self.one_ended().await?;
        }
        Ok(())
    }

    /// Waits until one has ended, or what is wanted has changed.
    async fn one_ended(&mut self) -> Result<(), Error> {
        let revision = self.revision;
        let ended = tokio::select! {
            // Dropping the set withdraws the interest; what is under way is filled to its end, as it is by a fetch.
            () = self.record.cancel().cancelled() => return Err(Error::Stopped),
            ended = self.running.join_next() => ended,
            _ = self.revisions.wait_for(|now| *now != revision) => return Ok(()),
        };
        let (item, came) = match ended {
            None => return Ok(()),
            Some(Ok(ended)) => ended,
            Some(Err(error)) => return Err(Error::Broken(format!("a prefetch broke off: {error}"))),
        };
        self.definitions -= usize::from(item.class == Class::Definitions);
        self.settle(item, came)?;
        // After a change nothing begins before it was looked at.
        while !self.has_changed()
            && !self.is_full(Class::Definitions)
            && let Some(next) = self.put_by.pop_front()
        {
            self.begin(next)?;
        }
        Ok(())
    }

    /// Notes what came of a file.
    fn settle(&mut self, mut item: Item, came: Result<u64, Failed>) -> Result<(), Error> {
        let (sha1, mark, taken) = (item.file.file.sha1, item.mark, footprint(item.file.file.size));
        let (why, mismatched) = match came {
            Ok(size) => {
                self.shared.steering.mismatches.forget(&sha1);
                self.line(&item, Step::Done, "held", true);
                self.record.progress(|progress| progress.waits = None);
                self.promised = self.promised.saturating_sub(taken);
                self.sums.came += 1;
                self.sums.bytes = self.sums.bytes.saturating_add(size);
                self.tell_progress();
                return Ok(());
            }
            Err(Failed::All(error)) => return Err(error),
            Err(Failed::Later(why)) if item.tried < ROUNDS && self.again.len() < AGAIN_MAX => {
                self.line(&item, Step::Waiting, &format!("is tried again: {why}"), true);
                item.tried += 1;
                self.stuck = Some(why);
                self.met.insert(sha1, Met::Waits { mark, walk: self.walk });
                self.again.push_back(item);
                return Ok(());
            }
            Err(Failed::Later(why) | Failed::Never(why)) => (why, false),
            Err(Failed::Mismatch(why)) => {
                self.shared.steering.mismatches.remember(mark, &item.file, &why, self.shared.clock.now());
                (why, true)
            }
        };
        tracing::info!(file = item.file.file.name, sha1 = %sha1, why, "a file does not come");
        self.stuck = Some(why.clone());
        self.line(&item, Step::Failed, &why, false);
        self.give_back(taken);
        self.met.insert(sha1, Met::Failed { mark, mismatched });
        self.sums.failed += 1;
        self.sums.mismatched += u64::from(mismatched);
        self.tell_progress();
        Ok(())
    }

    fn tell_progress(&self) {
        let (done, bytes) = (self.sums.came + self.sums.failed, self.sums.bytes);
        self.record.progress(|progress| {
            (progress.done, progress.bytes) = (done, bytes);
            progress.total = progress.total.map(|total| total.max(done));
        });
    }

    /// What failed and may go better is tried again, each time after a longer rest. `true`: something else is wanted by now, and goes
    /// first.
    pub(super) async fn again(&mut self) -> Result<bool, Error> {
        self.rest().await?;
        while let Some(next) = self.again.front() {
            if self.has_changed() {
                break;
            }
            let rest = REST_FIRST * 2_u32.saturating_pow(next.tried.saturating_sub(1));
            let waiting = self.again.len();
            let at = self.shared.clock.now().after(rest);
            let stuck = self.stuck.as_ref().map(|why| {
                format!(
                    "nothing moves: {} tried again at {at}; {why}",
                    if waiting == 1 { "1 file is".to_owned() } else { format!("{waiting} files are") }
                )
            });
            self.record.progress(|progress| {
                progress.current = Some(format!("{waiting} are tried again in {} s", rest.as_secs()));
                progress.waits = stuck;
            });
            let revision = self.revision;
            tokio::select! {
                () = self.record.cancel().cancelled() => return Err(Error::Stopped),
                _ = self.revisions.wait_for(|now| *now != revision) => return Ok(true),
                () = tokio::time::sleep(rest) => {}
            }
            for _ in 0..waiting {
                let Some(item) = self.again.pop_front() else { break };
                self.bring(item).await?;
                if self.has_changed() {
                    break;
                }
            }
            self.rest().await?;
        }
        Ok(self.has_changed())
    }

    /// Writes what came of a file into its line. One that has none gets one where it failed.
    fn line(&self, item: &Item, step: Step, text: &str, only_own: bool) {
        let size = item.file.file.size;
        if let Some(at) = item.at {
            self.record.line(at, |line| {
                line.name = None;
                (line.step, line.text) = (step, text.to_owned());
                (line.done, line.total) = (if step == Step::Done { size } else { 0 }, Some(size));
            });
        } else if !only_own {
            self.record.add(Line::ended(shown(item), step, 0, text.to_owned()));
        }
    }

    /// What came of the whole job, for people.
    pub(super) fn told(&self, plan: &Plan) -> Result<String, Error> {
        let agreement = &plan.agreement;
        let Sums { came, failed, mismatched, roomless, roomless_bytes, waiting, at_first, .. } = self.sums;
        // What others brought meanwhile, or what is not wanted any more, is not to be done.
        self.record.progress(|progress| progress.total = Some(came + failed + roomless));
        let mut more = Vec::new();
        if mismatched > 0 {
            more.push(format!(
                "{} not match what is published, and nothing but a change of that or `waystation prefetch start` has {} fetched again",
                if mismatched == 1 { "1 of them does".to_owned() } else { format!("{mismatched} of them do") },
                if mismatched == 1 { "it" } else { "them" },
            ));
        }
        if waiting > 0 {
            let (files, wait) = if waiting == 1 { ("file", "does") } else { ("files", "do") };
            more.push(format!(
                "{waiting} {files} that came before {wait} not match what is published (`waystation prefetch status`)"
            ));
        }
        if let Some(why) = self.stuck.as_ref().filter(|_| failed > 1) {
            more.push(format!("the last of them: {why}"));
        }
        let less = at_first.saturating_sub(came + failed + roomless);
        if less > 0 {
            more.push(format!(
                "of {at_first} that were missing when it began {less} came otherwise or are not wanted any more"
            ));
        }
        if agreement.is_awaited() {
            more.push(
                "\"all\" is not confirmed, and is as \"asked\" until then: `waystation plan` shows what it comes to, `waystation plan \
                 --confirm` agrees to it"
                    .to_owned(),
            );
        }
        more.extend(plan.left_out.iter().filter(|_| plan.has_catalog).map(|wrong| format!("left out: {wrong}")));
        let with = |first: String| std::iter::once(first).chain(more.iter().cloned()).collect::<Vec<_>>().join("; ");
        if roomless > 0 {
            let what = format!(
                "{came} fetched, {failed} failed, and {roomless} files of {} have no room beside what else is wanted: \
                 {}",
                size::bytes(roomless_bytes),
                more_room(&plan.space)
            );
            return Err(Error::NoRoom(with(what)));
        }
        match failed {
            0 if came == 0 && !plan.has_catalog => Ok(EMPTY_CATALOG.to_owned()),
            0 if came == 0 && agreement.is_awaited() => {
                Ok(with("nothing is missing of what may be fetched now".to_owned()))
            }
            0 if came == 0 && waiting > 0 => Ok(with("nothing else was missing".to_owned())),
            0 if came == 0 => Ok(with("nothing was missing".to_owned())),
            0 => Ok(with(format!("{came} fetched"))),
            _ if more.is_empty() => Err(Error::Items { failed, total: came + failed }),
            _ => Err(Error::Undone(with(format!("{failed} of {} failed", came + failed)))),
        }
    }
}

fn shown(item: &Item) -> String {
    format!("{} ({})", item.file.file.name, item.file.file.sha1)
}
