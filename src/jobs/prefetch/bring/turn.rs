//! Whose turn it is: which files begin where a place of their class is free, and what becomes of one that has ended.

use tokio::task::JoinError;
use tokio::time::Instant;

use crate::jobs::board::Step;
use crate::jobs::error::Error;
use crate::jobs::prefetch::bring::tell::Still;
use crate::jobs::prefetch::bring::{Bringing, Met};
use crate::jobs::prefetch::lane::Item;
use crate::jobs::prefetch::one::Failed;
use crate::jobs::prefetch::room::footprint;
use crate::jobs::prefetch::steer::sleep_until;
use crate::pace::Class;

/// How often what failed is tried again within one job; the rest before that doubles each time.
const ROUNDS: u32 = 3;

/// Files of a class that are tried again at a time while others of it stand there that never were: what fails goes on failing, and may
/// take long to. Where no others stand there, it has all places.
const AGAIN_BESIDE: usize = 1;

/// Files that wait to be tried again; what fails beyond them is told, and tried by the next job.
const AGAIN_MAX: usize = 10_000;

/// What became of a file: how long it is that came, or why none did.
type Came = (Item, Result<u64, Failed>);

/// What a job may wait for.
enum Event {
    /// A file is there, or does not come.
    Ended(Box<Result<Came, JoinError>>),
    /// One that failed is to be begun again.
    Due,
    /// It is to be seen whether anything moves.
    Still,
    /// What failed long ago may be begun anew.
    Later,
}

impl Bringing<'_> {
    /// Whether a file of this class that failed must wait though there is a place: one is under way, and others of the class stand there
    /// that were never tried. `fresh` is the class of one that the walk stands at.
    fn gives_way(&self, class: Class, fresh: Option<Class>) -> bool {
        let (lane, put_by) = if class == Class::Definitions {
            (&self.definitions, !self.put_by.is_empty())
        } else {
            (&self.others, false)
        };
        (put_by || fresh == Some(class)) && lane.again_under_way >= AGAIN_BESIDE
    }

    /// When the next of what failed is to be begun, of the classes that have a place for it.
    fn due(&self, fresh: Option<Class>) -> Option<Instant> {
        let all = [(Class::Definitions, &self.definitions), (Class::Prefetch, &self.others)];
        let open = all.into_iter().filter(|(class, _)| !self.is_full(*class) && !self.gives_way(*class, fresh));
        open.filter_map(|(_, lane)| lane.due()).min()
    }

    /// Fills the places of both classes with what failed and is due, and with what was put by.
    fn serve(&mut self, fresh: Option<Class>) -> Result<(), Error> {
        let now = Instant::now();
        for class in [Class::Definitions, Class::Prefetch] {
            // After a change nothing begins before it was looked at.
            while !self.has_changed() && !self.is_full(class) {
                let failed = if self.gives_way(class, fresh) { None } else { self.lane(class).take_due(now) };
                let next = match failed {
                    None if class == Class::Definitions => self.put_by.pop_front(),
                    failed => failed,
                };
                let Some(next) = next else { break };
                self.begin(next)?;
            }
        }
        Ok(())
    }

    /// Waits until one has ended, what failed is due, or what is wanted has changed; and fills the places that are free then. The walk
    /// stands at a file of the class `fresh`, and takes what is left of its places.
    pub(super) async fn moved(&mut self, fresh: Option<Class>) -> Result<(), Error> {
        let (revision, due, later) = (self.revision, self.due(fresh), self.shared.config.prefetch_later);
        let event = tokio::select! {
            // Dropping the set withdraws the interest; what is under way is filled to its end, as it is by a fetch.
            () = self.record.cancel().cancelled() => return Err(Error::Stopped),
            Some(ended) = self.running.join_next() => Event::Ended(Box::new(ended)),
            _ = self.revisions.wait_for(|now| *now != revision) => return Ok(()),
            () = sleep_until(due) => Event::Due,
            () = tokio::time::sleep_until(self.still.look_at()) => Event::Still,
            () = sleep_until(self.failed_first.map(|at| at + later)) => Event::Later,
        };
        match event {
            Event::Ended(ended) => {
                let (item, came) = (*ended).map_err(|error| Error::Broken(format!("a prefetch broke off: {error}")))?;
                self.still = Still::since(Instant::now());
                self.lane(item.class).ended(&item);
                self.settle(item, came)?;
            }
            Event::Due => {}
            Event::Still => self.look_whether_it_moves(),
            // A job that lives for days does what the next one would have done.
            Event::Later => {
                self.failed_first = None;
                self.shared.content_changed();
            }
        }
        self.serve(fresh)
    }

    /// Brings to its end what is under way or put by, and what failed and may go better, each time after a longer rest. `true`: something
    /// else is wanted by now, and goes first.
    pub(in crate::jobs::prefetch) async fn again(&mut self) -> Result<bool, Error> {
        loop {
            self.serve(None)?;
            if self.has_changed() {
                return Ok(true);
            }
            if self.running.is_empty() {
                let Some(due) = self.due(None) else { return Ok(false) };
                self.tell_rest(due);
            }
            self.moved(None).await?;
        }
    }

    /// How many files wait to be tried again.
    pub(super) fn waiting(&self) -> usize {
        self.definitions.waiting() + self.others.waiting() + self.unmet.len()
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
                self.bytes_left = self.bytes_left.saturating_sub(item.file.file.size);
                self.shared.planned.came(item.file.file.size);
                self.tell_progress();
                return Ok(());
            }
            Err(Failed::All(error)) => return Err(error),
            Err(Failed::Later(why)) if item.tried < ROUNDS && self.waiting() < AGAIN_MAX => {
                self.line(&item, Step::Waiting, &format!("is tried again: {why}"), true);
                item.due = Instant::now() + self.shared.config.prefetch_rest * 2_u32.saturating_pow(item.tried);
                item.tried += 1;
                self.stuck = Some(why);
                self.met.insert(sha1, Met::Waits { mark });
                self.lane(item.class).wait(item);
                return Ok(());
            }
            Err(Failed::Later(why) | Failed::Never(why)) => (why, false),
            Err(Failed::Mismatch(why)) => {
                self.shared.steering.mismatches.remember(mark, &item.file, &why, self.shared.clock.now());
                (why, true)
            }
        };
        tracing::debug!(file = item.file.file.name, sha1 = %sha1, why, "a file does not come");
        self.reasons.count(&item.file.file.name, &why);
        self.line(&item, Step::Failed, &why, false);
        self.give_back(taken);
        let now = Instant::now();
        self.met.insert(sha1, Met::Failed { mark, mismatched, at: now });
        if !mismatched {
            self.failed_first.get_or_insert(now);
        }
        (self.stuck, self.last_failed) = (Some(why.clone()), Some((sha1, why)));
        self.sums.failed += 1;
        self.sums.mismatched += u64::from(mismatched);
        self.bytes_left = self.bytes_left.saturating_sub(item.file.file.size);
        self.tell_progress();
        Ok(())
    }
}
