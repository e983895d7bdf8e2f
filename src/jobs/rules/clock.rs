//! When the rules are run by themselves: when there is a cause, when a ring is due, and once an hour.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::time::Timestamp;
use crate::jobs::Jobs;
use crate::jobs::error::Error;
use crate::jobs::rules::Which;
use crate::jobs::work::Work;

/// Who starts what nobody asked for.
const CLOCK: &str = "the rules";

/// How long until the next look at the latest: machines report all the time, and what they report may hold a ring up.
const EVERY: Duration = Duration::from_hours(1);

/// How long the clock sleeps at most: the machine's clock may be set meanwhile.
const NAP_MAX: Duration = Duration::from_mins(1);

/// How long after a cause it is looked: who approves and groups many things does so within moments.
const GATHER: Duration = Duration::from_secs(2);

/// After the start of the node, before the first look: endpoints that waited for it come first.
const SETTLE: Duration = Duration::from_secs(30);

/// How long to wait where a run that is due cannot be started, or did not end well.
const RETRY_AFTER: Duration = Duration::from_mins(5);

/// Runs the rules whenever there is something to do for them. Returns after `cancel`.
pub(in crate::jobs) async fn by_itself(jobs: Jobs, cancel: CancellationToken) {
    let shared = &jobs.shared;
    let mut causes = shared.ruling.causes.subscribe();
    if !nap(SETTLE, &cancel).await {
        return;
    }
    loop {
        causes.mark_unchanged();
        let begun = shared.clock.now();
        let due = match look(&jobs, &cancel).await {
            Ok(next) => next.map_or(begun.after(EVERY), |next| next.clamp(begun.after(NAP_MAX), begun.after(EVERY))),
            Err(Error::Closing) => return,
            Err(error) => {
                tracing::warn!(%error, "what the rules have to do cannot be made out now");
                shared.ruling.standing().failed = Some(error.to_string());
                begun.after(RETRY_AFTER)
            }
        };
        {
            let mut standing = shared.ruling.standing();
            (standing.looked, standing.next) = (Some(begun), Some(due));
        }
        loop {
            let now = shared.clock.now();
            // One that was set back by far would let the rules wait for long.
            if now >= due || now < begun {
                break;
            }
            let rest = due.since(now).min(NAP_MAX);
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = causes.changed() => {
                    if changed.is_err() || !nap(GATHER, &cancel).await {
                        return;
                    }
                    break;
                }
                () = tokio::time::sleep(rest) => {}
            }
        }
    }
}

/// Looks, and has a job do what there is to do; when the next ring is due.
async fn look(jobs: &Jobs, cancel: &CancellationToken) -> Result<Option<Timestamp>, Error> {
    let looked = jobs.shared.look_at_rules(Which::default()).await?;
    if !looked.is_due() {
        jobs.shared.ruling.standing().failed = None;
        return Ok(looked.next);
    }
    let job = match jobs.start(Work::Rules { rule: None }, CLOCK) {
        Ok(job) => job,
        Err(Error::Busy { id, .. }) => id,
        Err(error) => return Err(error),
    };
    if let Some(record) = jobs.shared.board.get(job) {
        tokio::select! {
            () = cancel.cancelled() => return Err(Error::Closing),
            () = record.ended() => {}
        }
    }
    // The next ring of what was given to one now.
    Ok(jobs.shared.look_at_rules(Which::default()).await?.next)
}

/// Sleeps; `false` where the node is closing.
async fn nap(time: Duration, cancel: &CancellationToken) -> bool {
    tokio::select! {
        () = cancel.cancelled() => false,
        () = tokio::time::sleep(time) => true,
    }
}
