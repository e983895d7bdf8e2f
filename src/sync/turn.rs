//! One run in its turn: from its beginning in the history to its end there, and what is told of it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::base::time::Timestamp;
use crate::store::catalog::{Applied, Counts, Outcome, RunKind, RunNote, Upstream, UpstreamKind};
use crate::sync::above::{Above, Trouble};
use crate::sync::error::Error;
use crate::sync::progress::{Board, Step};
use crate::sync::tell::Told;
use crate::sync::{GAVE_WAY, Order, Runner, Source, account, crosscheck, run, tell};
use crate::upstream::wsus::Wsus;

/// What becomes of a run that was stopped.
const GOES_ON: &str = "what was committed stays, and the next run goes on from there";

/// What became of a run that was cut off.
const CUT_OFF: &str = "the node ended under it, or it broke off by a fault of the program";

/// How a run ended.
#[derive(Clone, Debug)]
pub(in crate::sync) struct Ended {
    run: u64,
    errors: Counts,
    note: RunNote,
    outcome: Outcome,
    reason: String,
}

/// The number of a run that could not begin.
const NO_RUN: u64 = 0;

/// Says on the board that the run is over, however it ended.
struct Seen(Arc<Board>);

impl Drop for Seen {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Runner {
    /// One whole run, for nobody in particular.
    ///
    /// # Errors
    /// As of [`Runner::run_as`].
    pub async fn run(&self, cancel: &CancellationToken) -> Result<Counts, Error> {
        self.run_as(Order::default(), cancel).await
    }

    /// One run, to its end or until `cancel`. It says what it did; the history says the same.
    ///
    /// # Errors
    /// Why it could not go on. What was committed stays.
    pub async fn run_as(&self, order: Order, cancel: &CancellationToken) -> Result<Counts, Error> {
        self.run_named(order, cancel).await.map(|(_, counts)| counts)
    }

    /// The same, and the number of the run in the history: by then another one may have begun.
    ///
    /// # Errors
    /// As of [`Runner::run_as`].
    pub async fn run_named(&self, order: Order, cancel: &CancellationToken) -> Result<(u64, Counts), Error> {
        let shared = &*self.shared;
        let _turn = shared.turn.try_lock().map_err(|_| Error::Running)?;
        let compared_with = match order.kind {
            RunKind::Crosscheck => Some(self.comparable()?),
            RunKind::Catalog | RunKind::Definitions => None,
        };
        let asked = compared_with.or(shared.service());
        let upstream = match compared_with {
            Some(microsoft) => format!("{}, compared with {}", in_words(&shared.upstream), microsoft.label()),
            None => in_words(&shared.upstream),
        };
        let mut note = RunNote {
            kind: order.kind,
            by: order.by,
            unauthenticated: shared.upstream.unauthenticated,
            ..RunNote::default()
        };
        let catalog = shared.store.catalog();
        let begun = self.write_down(&upstream, &note, cancel).await;
        let started = shared.clock.now();
        let (id, swept) = begun.map_err(|error| {
            let error = Error::NotBegun(Box::new(error));
            let nothing = Board::new(NO_RUN, started, note.kind);
            self.tell(NO_RUN, started, &upstream, &note, Outcome::Failed, &error.to_string(), &nothing);
            error
        })?;
        let board = Arc::new(Board::new(id, started, note.kind));
        *shared.board() = Some(Arc::clone(&board));
        let _seen = Seen(Arc::clone(&board));
        self.tell(id, started, &upstream, &note, Outcome::Running, "", &board);
        let troubles = || asked.map(Wsus::troubles).unwrap_or_default();
        let before = troubles();
        if let Some(asked) = asked {
            asked.flow_for_definitions(note.kind == RunKind::Definitions);
            asked.begins(order.attended);
        }
        let ended = match &shared.source {
            Source::Parent(above) => take_in(&**above, &board, cancel).await,
            Source::Service(wsus) => {
                let mut work = run::Work::new(shared, wsus, Arc::clone(&board), cancel.clone());
                match compared_with {
                    Some(microsoft) => crosscheck::compare(&mut work, microsoft).await,
                    None => work.finish(note.kind).await,
                }
            }
        };
        if ended.is_ok()
            && note.kind == RunKind::Catalog
            && shared.upstream.kind == UpstreamKind::Wsus
            && let (Some(wsus), Some(account)) = (shared.service(), shared.account.get())
        {
            let telling = account::tell(wsus, &**account, shared.clock.now());
            // The run is done: who stops it now stops this alone.
            if let Some(Err(why)) = cancel.run_until_cancelled(telling).await {
                board.note(format!("the server above was not told how this node stands: {why}"));
            }
        }
        note.troubles = since(&before, &troubles());
        note.compared = compared_with.map(|_| board.found());
        let errors = Counts { errors: note.troubles.values().sum(), ..Counts::default() };
        board.count(errors);
        note.again = match &ended {
            Ok(()) => false,
            // By the node, which ends, or for a while: nobody meant the run.
            Err(Error::Stopped) => order.stopped_by.get().is_none_or(|by| by == GAVE_WAY),
            Err(error) => error.is_retryable(),
        };
        let (outcome, reason) = match &ended {
            Ok(()) => (Outcome::Successful, board.notes()),
            Err(Error::Stopped) => {
                let by = order.stopped_by.get().map_or("the node, which was told to end", String::as_str);
                (Outcome::Stopped, format!("stopped by {by}; {GOES_ON}"))
            }
            Err(error) => (Outcome::Failed, error.to_string()),
        };
        if swept
            && ended.is_err()
            && let Err(error) = catalog.sweep().await
        {
            tracing::warn!(%error, "what a run left behind stays until the next one");
        }
        let end = Ended { run: id, errors, note: note.clone(), outcome, reason: reason.clone() };
        *shared.unwritten.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        let written = self.catch_up().await;
        self.tell(id, started, &upstream, &note, outcome, &reason, &board);
        ended?;
        written?;
        Ok((id, board.counts()))
    }

    /// Writes down that a run begins; its number, and whether what the one before it left behind is gone.
    async fn write_down(
        &self,
        upstream: &str,
        note: &RunNote,
        cancel: &CancellationToken,
    ) -> Result<(u64, bool), Error> {
        self.catch_up().await?;
        let catalog = self.shared.store.catalog();
        // First: what a run left that died of a full disk must not keep this one from beginning. One that is stopped meanwhile begins
        // all the same, so that the history tells of it and nobody takes it for missed.
        let swept = tokio::select! {
            biased;
            () = cancel.cancelled() => false,
            swept = catalog.sweep() => swept.map(|()| true)?,
        };
        self.close_cut_off().await?;
        Ok((catalog.start_run_as(upstream.to_owned(), note.clone()).await?, swept))
    }

    /// Ends in the history what nobody ended, and tells of each: by now none of them is under way.
    pub(in crate::sync) async fn close_cut_off(&self) -> Result<(), Error> {
        for run in self.shared.store.catalog().close_runs().await? {
            let (started_at, ended_at) = (run.started.to_string(), run.ended.map(|at| at.to_string()));
            tracing::error!(
                run = run.id, kind = ?run.note.kind, by = run.note.by, started = started_at, ended = ended_at,
                "a run of the catalog was cut off; what it has committed stays"
            );
            let Some(teller) = &self.shared.teller else { continue };
            let reason = format!("{CUT_OFF}; {GOES_ON}");
            let told = Told {
                id: run.id,
                kind: run.note.kind,
                by: &run.note.by,
                upstream: &run.upstream,
                unauthenticated: run.note.unauthenticated,
                started_at,
                ended_at,
                outcome: tell::word(Outcome::CutOff),
                reason: &reason,
                counts: run.counts.into(),
                compared: run.note.compared,
            };
            teller.run(Outcome::CutOff, self.shared.clock.now(), &told);
        }
        Ok(())
    }

    /// Writes the end of the last run into the history, if that is not done.
    async fn catch_up(&self) -> Result<(), Error> {
        let catalog = self.shared.store.catalog();
        let unwritten = || self.shared.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Ended { run, errors, note, outcome, reason }) = unwritten().clone() else { return Ok(()) };
        catalog.note_run(run, note).await?;
        catalog.end_run(run, outcome, reason).await?;
        // Last: were it written again it would count twice.
        *unwritten() = None;
        if errors.errors > 0 {
            catalog.add_to_run(run, errors).await?;
        }
        Ok(())
    }

    /// Microsoft's catalog, where comparing this one with it means anything.
    ///
    /// # Errors
    /// Why it does not.
    pub fn comparable(&self) -> Result<&Wsus, Error> {
        let refuse = |why: String| Err(Error::NoComparison(why));
        let upstream = &self.shared.upstream;
        if upstream.kind != UpstreamKind::Wsus {
            return refuse(format!(
                "the catalog comes from {}: a comparison is for one that comes from a WSUS server",
                in_words(upstream)
            ));
        }
        let Some(microsoft) = &self.shared.microsoft else {
            return refuse("this node has no way to Microsoft's catalog: see [sync] microsoft".to_owned());
        };
        if !microsoft.is_authenticated() {
            return refuse(format!(
                "{} would be asked over plain HTTP, which proves nothing: set [sync] microsoft to an address with https",
                microsoft.label()
            ));
        }
        Ok(microsoft)
    }

    /// Says in the log and to the hook what happens to a run.
    #[allow(clippy::too_many_arguments, reason = "these are the facts that are told, each once")]
    fn tell(
        &self,
        id: u64,
        started: Timestamp,
        upstream: &str,
        note: &RunNote,
        outcome: Outcome,
        reason: &str,
        board: &Board,
    ) {
        let (by, counts, now) = (note.by.as_str(), board.counts(), self.shared.clock.now());
        let Counts { new, changed, expired, refused, errors, .. } = counts;
        match outcome {
            Outcome::Running => {
                tracing::info!(run = id, kind = ?note.kind, by, upstream, "a run of the catalog begins");
            }
            Outcome::Successful => tracing::info!(
                run = id, kind = ?note.kind, by, new, changed, expired, refused, errors, "a run of the catalog ended well"
            ),
            Outcome::Stopped => tracing::warn!(run = id, kind = ?note.kind, reason, "a run of the catalog was stopped"),
            Outcome::Failed | Outcome::CutOff => {
                tracing::error!(run = id, kind = ?note.kind, by, reason, errors, "a run of the catalog failed");
            }
        }
        let Some(teller) = &self.shared.teller else { return };
        let told = Told {
            id,
            kind: note.kind,
            by,
            upstream,
            unauthenticated: note.unauthenticated,
            started_at: started.to_string(),
            ended_at: (outcome != Outcome::Running).then(|| now.to_string()),
            outcome: tell::word(outcome),
            reason,
            counts: counts.into(),
            compared: note.compared,
        };
        teller.run(outcome, now, &told);
    }
}

/// A run below a parent.
async fn take_in(above: &dyn Above, board: &Board, cancel: &CancellationToken) -> Result<(), Error> {
    board.step(Step::Asking, 0);
    let asked = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Trouble::Stopped),
        asked = above.ask() => asked,
    };
    asked.map_err(troubled)?;
    board.step(Step::FetchingUpdates, 0);
    let mut each = |applied: Applied| board.applied(&applied, applied.new + applied.changed);
    above.take_in(board.run(), cancel, &mut each).await.map_err(troubled)
}

fn troubled(trouble: Trouble) -> Error {
    match trouble {
        Trouble::Stopped => Error::Stopped,
        Trouble::Parent(why) => Error::Parent { why },
        Trouble::Store(error) => Error::Store(error),
    }
}

/// What was counted between two looks.
fn since(before: &BTreeMap<&'static str, u64>, now: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    now.iter()
        .map(|(kind, count)| (*kind, count - before.get(kind).copied().unwrap_or_default().min(*count)))
        .filter(|(_, more)| *more > 0)
        .map(|(kind, more)| (kind.to_owned(), more))
        .collect()
}

/// From whom, for the history.
fn in_words(upstream: &Upstream) -> String {
    let kind = match upstream.kind {
        UpstreamKind::Microsoft => "Microsoft",
        UpstreamKind::Wsus => "WSUS",
        UpstreamKind::Parent => return format!("the parent ({})", upstream.address),
    };
    format!("{kind} at {}", upstream.address)
}
