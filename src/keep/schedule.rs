//! The slow scrub: everything once a quarter, spread over half of it, and never begun anew because of a restart.
//!
//! 1. What was done stands in a document of the store: when the pass began and ended, and the last payload it verified.
//! 2. A pass that had not ended goes on from there. Else the next one begins a period after the last one began; the first
//!    one a period after the store was first seen, since what was just published was just hashed.
//! 3. What is found is handed out at once: a pass takes weeks. Bad payloads are withheld by the store first, which outlives
//!    a restart: whoever treats findings begins with those that are still withheld.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::base::digest::Blake3;
use crate::base::time::{Clock, Timestamp};
use crate::keep::progress::{Progress, Snapshot};
use crate::keep::scrub::{Pace, Verified, Walk};
use crate::store::{Error, Store};

/// The period unless told otherwise: a quarter.
pub const EVERY: Duration = Duration::from_hours(91 * 24);

/// The document that keeps [`State`].
pub const DOCUMENT: &str = "keep/scrub";

/// How often a running pass writes down where it is: bounds what a restart reads twice, at next to no cost.
const SAVE_EVERY: Duration = Duration::from_mins(1);

/// The longest wait at once: the wall clock may be set meanwhile.
const LOOK_EVERY: Duration = Duration::from_hours(1);

/// After an error of the index.
const RETRY_AFTER: Duration = Duration::from_mins(10);

/// The slowest that is still worth it, in bytes a second: four groups. A small store is through sooner then.
const RATE_MIN: u64 = 256 << 10;

/// A start that lies further ahead than that was written by a wrong clock.
const CLOCK_SLACK: Duration = Duration::from_hours(24);

/// Where the scrub is, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// When the last pass began.
    pub begun_at: Timestamp,
    /// When it came to its end; `None` while it runs.
    pub ended_at: Option<Timestamp>,
    /// The last payload that it verified.
    pub after: Option<Blake3>,
    /// Payloads it verified.
    pub payloads: u64,
    /// Bytes it read.
    pub bytes: u64,
    /// Payloads it found bad.
    pub bad: u64,
}

impl State {
    /// How long until there is something to do: nothing while a pass runs. `every` is the period from start to start.
    pub fn due_in(&self, every: Duration, now: Timestamp) -> Duration {
        if self.ended_at.is_none() {
            return Duration::ZERO;
        }
        every.saturating_sub(now.since(self.begun_at))
    }

    /// Mends a start in the future, which only a wrong clock can have written.
    fn settle(&mut self, now: Timestamp) {
        if self.begun_at.since(now) > CLOCK_SLACK {
            self.begun_at = now;
        }
    }

    /// As if a pass had just ended: for a store that is seen for the first time.
    fn fresh(now: Timestamp) -> Self {
        Self { begun_at: now, ended_at: Some(now), ..Self::default() }
    }
}

/// The rate that takes a pass over `bytes` through in half a period, in bytes a second.
pub fn spread(bytes: u64, every: Duration) -> u64 {
    (bytes / (every.as_secs() / 2).max(1)).max(RATE_MIN)
}

/// What the loop works with.
pub struct Schedule {
    /// From start to start; zero turns the scrub off.
    pub every: Duration,
    /// Makes the pace that keeps a pass to a rate in bytes a second.
    pub pace: Box<dyn FnMut(u64) -> Pace + Send>,
    /// Takes what is bad or unreadable. A full channel holds the pass up.
    pub findings: mpsc::Sender<Verified>,
    /// Shows how far the pass is.
    pub progress: Arc<Progress>,
    /// Tells when a pass is due.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule").field("every", &self.every).finish_non_exhaustive()
    }
}

/// Runs until `cancel`, or until nobody takes findings any more.
pub async fn run(store: Store, mut schedule: Schedule, cancel: CancellationToken) {
    if schedule.every.is_zero() {
        return;
    }
    while !cancel.is_cancelled() && !schedule.findings.is_closed() {
        let wait = match turn(&store, &mut schedule, &cancel).await {
            Ok(due_in) => due_in.min(LOOK_EVERY),
            Err(error) => {
                tracing::warn!(%error, "the scrub rests for ten minutes");
                RETRY_AFTER
            }
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = schedule.findings.closed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// One look: goes through a pass if one is due or was left, and says how long until the next.
async fn turn(store: &Store, schedule: &mut Schedule, cancel: &CancellationToken) -> Result<Duration, Error> {
    let now = schedule.clock.now();
    let mut state = if let Some(mut state) = load(store).await? {
        state.settle(now);
        state
    } else {
        let state = State::fresh(now);
        save(store, &state).await?;
        state
    };
    let due_in = state.due_in(schedule.every, now);
    if !due_in.is_zero() {
        return Ok(due_in);
    }
    if state.ended_at.is_some() {
        state = State { begun_at: now, ..State::default() };
        save(store, &state).await?;
    }
    walk(store, schedule, &mut state, cancel).await?;
    Ok(state.due_in(schedule.every, schedule.clock.now()))
}

/// Goes on with the pass of `state` to its end, or until it is called off.
async fn walk(
    store: &Store,
    schedule: &mut Schedule,
    state: &mut State,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let space = store.space().await?;
    let progress = &schedule.progress;
    progress.begin(Snapshot {
        payloads_done: state.payloads,
        payloads_total: space.payloads_count,
        bytes: state.bytes,
        bad: state.bad,
    });
    let pace = (schedule.pace)(spread(space.payloads, schedule.every));
    let mut walk = Walk::new(store.clone(), state.after, pace, Arc::clone(progress), cancel.clone());
    let mut saved = Instant::now();
    let end = loop {
        let verified = match walk.next().await {
            Ok(Some(verified)) => verified,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        let blake3 = match &verified {
            Verified::Good(blake3) | Verified::Gone(blake3) => *blake3,
            Verified::Bad(blake3, _) | Verified::Unreadable(blake3, _) => {
                let blake3 = *blake3;
                // Durable before the walk goes on: who treats it may be cut off, and finds it among the withheld ones.
                if let Verified::Bad(_, spans) = &verified {
                    let why = format!("{} bytes do not match the proof", spans.total());
                    match store.withhold(blake3, &why).await {
                        Ok(()) | Err(Error::Gone) => {}
                        Err(error) => break Err(error),
                    }
                }
                let told = tokio::select! {
                    told = schedule.findings.send(verified) => told.is_ok(),
                    () = cancel.cancelled() => false,
                };
                if !told {
                    // Nobody heard of it: the next pass must come to it again.
                    break Ok(());
                }
                blake3
            }
        };
        let now = progress.snapshot();
        (state.after, state.payloads, state.bytes, state.bad) = (Some(blake3), now.payloads_done, now.bytes, now.bad);
        if saved.elapsed() >= SAVE_EVERY {
            save(store, state).await?;
            saved = Instant::now();
        }
    };
    if end.is_ok() && !cancel.is_cancelled() && !schedule.findings.is_closed() {
        state.ended_at = Some(schedule.clock.now());
        tracing::info!(
            payloads = state.payloads,
            bytes = state.bytes,
            bad = state.bad,
            "a scrub of all payloads ended"
        );
    }
    save(store, state).await?;
    end
}

/// What was kept. A document that cannot be read counts as none: the worst that comes of it is a pass too late.
pub async fn load(store: &Store) -> Result<Option<State>, Error> {
    let Some(bytes) = store.document(DOCUMENT).await? else { return Ok(None) };
    match serde_json::from_slice(&bytes) {
        Ok(state) => Ok(Some(state)),
        Err(error) => {
            tracing::warn!(%error, "where the scrub was cannot be read from {DOCUMENT}; its period begins anew");
            Ok(None)
        }
    }
}

async fn save(store: &Store, state: &State) -> Result<(), Error> {
    match serde_json::to_vec(state) {
        Ok(bytes) => store.set_document(DOCUMENT, Some(bytes)).await,
        Err(error) => Err(Error::Io(std::io::Error::other(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn a_pass_is_due_a_period_after_the_last_one_began() {
        let at = |hours: u64| Timestamp::from_ms(hours * HOUR);
        let every = Duration::from_hours(100);
        let mut state = State { begun_at: at(1000), ended_at: Some(at(1040)), ..State::default() };
        assert_eq!(state.due_in(every, at(1050)), Duration::from_hours(50));
        assert_eq!(state.due_in(every, at(1100)), Duration::ZERO);
        assert_eq!(state.due_in(every, at(5000)), Duration::ZERO);
        // One that was left goes on at once.
        state.ended_at = None;
        assert_eq!(state.due_in(every, at(1001)), Duration::ZERO);
        assert_eq!(State::fresh(at(7)).due_in(every, at(7)), every);
    }

    #[test]
    fn a_start_in_the_future_is_no_reason_to_wait_for_it() {
        let now = Timestamp::from_ms(1000 * HOUR);
        let mut state = State::fresh(Timestamp::from_ms(900_000 * HOUR));
        state.settle(now);
        assert_eq!(state.due_in(EVERY, now), EVERY);
        let mut state = State::fresh(Timestamp::from_ms(1001 * HOUR));
        state.settle(now);
        assert_eq!(state.begun_at, Timestamp::from_ms(1001 * HOUR), "an hour off is no wrong clock");
    }

    #[test]
    fn a_pass_takes_half_a_period_but_never_creeps() {
        assert_eq!(spread(1 << 50, Duration::from_secs(2 << 20)), 1 << 30);
        assert_eq!(spread(0, EVERY), RATE_MIN);
        assert_eq!(spread(1 << 30, EVERY), RATE_MIN);
        assert_eq!(spread(u64::MAX, Duration::from_secs(1)), u64::MAX);
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let state = State {
            begun_at: Timestamp::from_ms(5),
            ended_at: None,
            after: Some(Blake3::new([9; 32])),
            payloads: 3,
            bytes: 4,
            bad: 1,
        };
        let text = serde_json::to_vec(&state).unwrap();
        assert_eq!(serde_json::from_slice::<State>(&text).unwrap(), state);
    }
}
