//! When another attempt is made, and when it is enough. The only place in the program where asking others for content is
//! repeated; how conversations are repeated is for [`crate::upstream::wsus`] to say.

use std::time::Duration;

use tokio::time::Instant;

use crate::upstream::error::{Cause, Failure};

/// The wait before the second attempt; each further one doubles it.
const BACK_OFF_FIRST: Duration = Duration::from_millis(100);

/// The longest wait between two attempts: a link that comes back is noticed soon enough for clients that wait.
const BACK_OFF_MAX: Duration = Duration::from_secs(2);

/// The longest `Retry-After` that is told on: an origin cannot silence a node for days.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(10);

/// Bytes that must have come since the last failure for the back-off to start anew: a connection that dies after every
/// packet must not be redialled without a pause.
const PROGRESS_BYTES: u64 = 64 << 10;

/// Attempts at a name that the name service says does not exist. More than one, for a resolver says so now and then
/// while its own way out comes up; not many, for who misspelt the name should learn it within a second.
const NO_NAME_ATTEMPTS_MAX: u32 = 4;

/// How long a parent is tried that cannot be connected to: clients wait, and there may be another place to ask.
const NODE_AWAY: Duration = Duration::from_secs(3);

/// The attempts of one question.
#[derive(Debug)]
pub(super) struct Trying {
    patience: Duration,
    /// When the last byte came, or the question was asked.
    since: Instant,
    /// Failures since there was real progress.
    failures: u32,
    /// Bytes since the last failure.
    bytes: u64,
    /// Who is asked is a node of this chain.
    of_node: bool,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask again then.
    At(Instant),
    /// It is enough.
    Enough,
}

impl Trying {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, since: Instant::now(), failures: 0, bytes: 0, of_node: false }
    }

    /// Of the node above.
    pub(super) fn of_node(patience: Duration) -> Self {
        Self { of_node: true, ..Self::new(patience) }
    }

    /// Of whoever is asked at this place.
    pub(super) fn at(url: &str, patience: Duration) -> Self {
        Self { of_node: crate::upstream::above::is_place(url), ..Self::new(patience) }
    }

    /// When the patience ends if nothing comes until then.
    pub(super) fn deadline(&self) -> Instant {
        self.since + self.patience
    }

    /// Bytes came that were not there before.
    pub(super) fn progress(&mut self, bytes: u64) {
        self.since = Instant::now();
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= PROGRESS_BYTES {
            self.failures = 0;
        }
    }

    /// Whether and when to ask again. A wait that would outlast the patience is not begun: who waits learns at once.
    pub(super) fn failed(&mut self, failure: &Failure) -> Next {
        self.bytes = 0;
        if !failure.cause.may_pass() {
            return Next::Enough;
        }
        let back_off = BACK_OFF_FIRST.saturating_mul(1 << self.failures.min(16)).min(BACK_OFF_MAX);
        self.failures += 1;
        if matches!(failure.cause, Cause::NoName(_)) && self.failures >= NO_NAME_ATTEMPTS_MAX {
            return Next::Enough;
        }
        if self.of_node && failure.cause.is_hosts() && self.since.elapsed() >= NODE_AWAY {
            return Next::Enough;
        }
        let wait = jitter(back_off).max(failure.cause.retry_after().unwrap_or_default());
        let at = Instant::now() + wait.min(self.patience + RETRY_AFTER_MAX);
        if at >= self.deadline() { Next::Enough } else { Next::At(at) }
    }
}

/// `Retry-After` as it is told on.
pub(super) fn bounded(retry_after: Option<Duration>) -> Option<Duration> {
    retry_after.map(|wait| wait.min(RETRY_AFTER_MAX))
}

/// Between half of it and all of it, so that those who failed together do not ask again together.
pub(super) fn jitter(wait: Duration) -> Duration {
    // Without randomness there is no jitter, and that is all.
    let share = getrandom::u32().map_or(1.0, |word| f64::from(word) / f64::from(u32::MAX));
    wait.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::error::Cause;

    fn wait(trying: &mut Trying, cause: Cause) -> Option<Duration> {
        match trying.failed(&cause.at("host")) {
            Next::At(at) => Some(at - Instant::now()),
            Next::Enough => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn backs_off_until_the_patience_ends() {
        let mut trying = Trying::new(Duration::from_mins(1));
        let mut longest = Duration::ZERO;
        let mut attempts = 0;
        while let Some(wait) = wait(&mut trying, Cause::Refused) {
            assert!(wait <= BACK_OFF_MAX && wait >= BACK_OFF_FIRST / 2);
            longest = longest.max(wait);
            attempts += 1;
            tokio::time::advance(wait).await;
        }
        assert!(longest > BACK_OFF_MAX / 2 && (30..70).contains(&attempts), "{attempts} {longest:?}");
        assert!(trying.since.elapsed() <= Duration::from_mins(1));
    }

    #[tokio::test(start_paused = true)]
    async fn only_real_progress_starts_the_back_off_anew() {
        let mut trying = Trying::new(Duration::from_mins(1));
        for _ in 0..10 {
            wait(&mut trying, Cause::Refused).unwrap();
        }
        tokio::time::advance(Duration::from_secs(59)).await;
        trying.progress(1);
        assert!(wait(&mut trying, Cause::Refused).unwrap() >= BACK_OFF_MAX / 2);
        trying.progress(PROGRESS_BYTES);
        assert!(wait(&mut trying, Cause::Refused).unwrap() <= BACK_OFF_FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_honoured_within_the_patience() {
        let busy = |seconds| Cause::Busy { status: 503, retry_after: Some(Duration::from_secs(seconds)) };
        let mut trying = Trying::new(Duration::from_mins(1));
        assert_eq!(wait(&mut trying, busy(7)), Some(Duration::from_secs(7)));
        assert_eq!(wait(&mut trying, busy(61)), None);
        assert_eq!(wait(&mut trying, busy(u64::MAX)), None);
        assert_eq!(wait(&mut trying, Cause::Status(404)), None);
        assert_eq!(bounded(Some(Duration::from_secs(u64::MAX))), Some(RETRY_AFTER_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_does_not_exist_is_given_up_within_a_second() {
        let start = Instant::now();
        let mut trying = Trying::new(Duration::from_mins(1));
        while let Some(wait) = wait(&mut trying, Cause::NoName("h".to_owned())) {
            tokio::time::advance(wait).await;
        }
        assert!(start.elapsed() <= Duration::from_secs(1), "{:?}", start.elapsed());
        assert_eq!(trying.failures, NO_NAME_ATTEMPTS_MAX);
    }
}
