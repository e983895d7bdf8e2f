//! What is told of a job: how far it is while it runs, and what came of it in the end.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::size;
use crate::base::time::Timestamp;
use crate::fill::{Fill, FlightView};
use crate::jobs::board::{Line, Step};
use crate::jobs::content::{EMPTY_CATALOG, Plan, more_room};
use crate::jobs::error::Error;
use crate::jobs::prefetch::bring::{Bringing, shown};
use crate::jobs::prefetch::lane::Item;
use crate::model::name::Name;

/// So long nothing comes before that is told: a slow host has answered by then.
const QUIET: Duration = Duration::from_secs(15);

/// Hosts that are named where nothing comes.
const HOSTS_MAX: usize = 3;

/// Reasons that are told one by one in the log; a dead host has two or three, and each file of its own digests another one.
const REASONS_MAX: usize = 8;

/// What came of all files so far, over all walks of the job.
#[derive(Default)]
pub(super) struct Sums {
    pub(super) came: u64,
    pub(super) bytes: u64,
    pub(super) failed: u64,
    /// Of these, files that came and did not match.
    pub(super) mismatched: u64,
    pub(super) lines: u64,
    /// Files without room, and their bytes: of the last walk, since what is wanted beside them changes. A walk meets a file as often as
    /// updates have it, and counts it once.
    pub(super) roomless: u64,
    pub(super) roomless_bytes: u64,
    pub(super) roomless_lines: u64,
    /// What was missing when the job began, and is to be brought by it.
    pub(super) at_first: u64,
    /// Files that did not match in an earlier job and are left alone: of the last walk too.
    pub(super) waiting: u64,
}

/// Why files did not come: counted, so that the log has a line for each reason and not one for each file.
#[derive(Default)]
pub(super) struct Reasons {
    /// By reason: how many, and the first of them.
    by_why: BTreeMap<String, (u64, String)>,
    /// For other reasons.
    others: u64,
}

impl Reasons {
    pub(super) fn count(&mut self, file: &str, why: &str) {
        if let Some((many, _)) = self.by_why.get_mut(why) {
            *many += 1;
        } else if self.by_why.len() < REASONS_MAX {
            self.by_why.insert(why.to_owned(), (1, file.to_owned()));
        } else {
            self.others += 1;
        }
    }

    fn tell(&self, job: u64) {
        for (why, (files, first)) in &self.by_why {
            tracing::warn!(job, files, first, why, "files that are wanted did not come");
        }
        if self.others > 0 {
            let files = self.others;
            tracing::warn!(
                job,
                files,
                "files that are wanted did not come for still other reasons: see the job's lines"
            );
        }
    }
}

/// Whether any byte comes of what is under way.
pub(super) struct Still {
    since: Instant,
    /// What had come of all that is under way at the last look.
    covered: u64,
    look_at: Instant,
}

impl Still {
    pub(super) fn since(now: Instant) -> Self {
        Self { since: now, covered: 0, look_at: now + QUIET }
    }

    pub(super) fn look_at(&self) -> Instant {
        self.look_at
    }

    /// So much has come by now. Says for how long nothing came, if nothing did.
    fn look(&mut self, covered: u64, now: Instant) -> Option<Duration> {
        if covered == self.covered {
            self.look_at = now + QUIET;
            return Some(now.saturating_duration_since(self.since));
        }
        *self = Self { covered, ..Self::since(now) };
        None
    }
}

/// However the job ends.
impl Drop for Bringing<'_> {
    fn drop(&mut self) {
        self.reasons.tell(self.record.id());
    }
}

impl Bringing<'_> {
    /// Done is what is there: what failed is no nearer to that than what waits.
    pub(super) fn tell_progress(&self) {
        let (came, failed, bytes, left) = (self.sums.came, self.sums.failed, self.sums.bytes, self.bytes_left);
        self.record.progress(|progress| {
            (progress.done, progress.bytes, progress.bytes_left) = (came, bytes, Some(left));
            progress.total = progress.total.map(|total| total.max(came + failed));
        });
    }

    /// Says so where nothing comes of what is under way; what a pause holds is told as that.
    pub(super) fn look_whether_it_moves(&mut self) {
        let own: HashSet<Name> = self.record.look(|lines| lines.iter().filter_map(|line| line.name.clone()).collect());
        let mut flights = self.shared.fill.as_ref().map(Fill::flights).unwrap_or_default();
        flights.retain(|flight| own.contains(&flight.name));
        // What is being proven is here already, and what is paused is told as that.
        if flights.is_empty() || !flights.iter().all(FlightView::is_asked) {
            self.still = Still::since(Instant::now());
            return;
        }
        let covered = flights.iter().map(|flight| flight.covered).sum();
        let Some(quiet) = self.still.look(covered, Instant::now()) else {
            self.record.progress(|progress| progress.waits = None);
            return;
        };
        let files = flights.len();
        let hosts: BTreeSet<&str> = flights.iter().map(|flight| flight.source.as_str()).collect();
        let hosts: Vec<&str> = hosts.into_iter().filter(|host| !host.is_empty()).take(HOSTS_MAX).collect();
        let of = if hosts.is_empty() { String::new() } else { format!(" of {}", hosts.join(", ")) };
        let now = self.shared.clock.now();
        let since = Timestamp::from_ms(now.ms().saturating_sub(u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX)));
        let are = if files == 1 { "1 file is".to_owned() } else { format!("{files} files are") };
        let mut told =
            format!("nothing moves: nothing has come since {since}, though {are} asked for{of}, again and again");
        if let Some(why) = &self.stuck {
            told.push_str("; what failed last: ");
            told.push_str(why);
        }
        self.record.progress(|progress| progress.waits = Some(told));
    }

    /// Nothing is under way until then.
    pub(super) fn tell_rest(&self, due: Instant) {
        let (waiting, rest) = (self.waiting(), due.saturating_duration_since(Instant::now()));
        let at = self.shared.clock.now().after(rest);
        let stuck = self.stuck.as_ref().map(|why| {
            format!(
                "nothing moves: {} tried again at {at}; {why}",
                if waiting == 1 { "1 file is".to_owned() } else { format!("{waiting} files are") }
            )
        });
        self.record.progress(|progress| {
            progress.current = Some(format!("{waiting} are tried again in {} s", rest.as_secs_f64().ceil()));
            progress.waits = stuck;
        });
    }

    /// Writes what came of a file into its line. One that has none gets one where it failed.
    pub(super) fn line(&self, item: &Item, step: Step, text: &str, only_own: bool) {
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
    pub(in crate::jobs::prefetch) fn told(&self, plan: &Plan) -> Result<String, Error> {
        let agreement = &plan.agreement;
        let Sums { came, failed, mismatched, roomless, roomless_bytes, waiting, at_first, .. } = self.sums;
        // What others brought meanwhile, or what is not wanted any more, is not to be done.
        self.record.progress(|progress| (progress.done, progress.total) = (came, Some(came + failed + roomless)));
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
        if let Some((_, why)) = self.last_failed.as_ref().filter(|_| failed > 1) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_still_where_nothing_came_since_the_last_look() {
        let begun = Instant::now();
        let mut still = Still::since(begun);
        assert_eq!(still.look_at(), begun + QUIET);
        assert_eq!(still.look(0, begun + QUIET), Some(QUIET));
        assert_eq!(still.look_at(), begun + QUIET * 2);
        assert_eq!(still.look(0, begun + QUIET * 2), Some(QUIET * 2), "since it began");
        assert_eq!(still.look(7, begun + QUIET * 3), None, "something came");
        assert_eq!(still.look(7, begun + QUIET * 4), Some(QUIET), "and then nothing");
    }

    #[test]
    fn the_log_has_so_many_reasons_and_the_rest_together() {
        let mut reasons = Reasons::default();
        for at in 0..100 {
            reasons.count(&format!("{at}.cab"), "no such name");
        }
        for at in 0..REASONS_MAX as u64 + 4 {
            reasons.count("a.cab", &format!("another digest: {at}"));
        }
        assert_eq!(reasons.by_why["no such name"], (100, "0.cab".to_owned()));
        assert_eq!((reasons.by_why.len(), reasons.others), (REASONS_MAX, 5));
    }
}
