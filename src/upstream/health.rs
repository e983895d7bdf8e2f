//! How each host has been doing, and whether it is left alone for a moment.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::base::time::Timestamp;
use crate::model::report::HostHealth;

/// Hosts that are remembered: wildcards let clients name hosts without end. The one not asked for longest goes.
const HOSTS_MAX: usize = 512;

/// Asks that must have failed in a row, all their retries included, before a host is left alone.
const FAILURES_IN_A_ROW: u32 = 3;

/// How long it is left alone then, but for one ask that looks whether it is back: long enough to spare the waiting
/// clients of a dead host the whole patience each, short enough that nobody notices once it is back.
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// All hosts.
#[derive(Debug, Default)]
pub(super) struct Book {
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

/// One host.
#[derive(Debug)]
pub(super) struct Host {
    name: String,
    bytes: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    answered: u64,
    failed: u64,
    retried: u64,
    last_status: Option<u16>,
    last_error: Option<String>,
    last_at: Timestamp,
    round_trip: Option<Duration>,
    in_a_row: u32,
    alone_until: Option<Instant>,
    /// Somebody is looking whether it is back.
    scouted: bool,
    /// `last_error` is of an attempt that is made again.
    retrying: bool,
    /// Whether it spoke TLS when that was last seen, and when that was.
    tls: Option<(bool, Instant)>,
}

/// Leave to ask a host. Dropped without a word (the asker went away), it says nothing of the host. Who looks whether the
/// host is back keeps the others out for one attempt only.
#[derive(Debug)]
pub(super) struct Turn {
    host: Arc<Host>,
    scout: bool,
}

impl Turn {
    /// The first attempt failed. `down`: the host cannot be asked, so all others leave it alone for another while;
    /// otherwise it is there, whatever it makes of this question.
    pub(super) fn looked(&mut self, down: bool) {
        if std::mem::take(&mut self.scout) {
            let mut state = self.host.state();
            state.scouted = false;
            state.alone_until = down.then(|| Instant::now() + LEFT_ALONE);
            if !down {
                state.in_a_row = 0;
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.scout {
            self.host.state().scouted = false;
        }
    }
}

impl Book {
    /// The host's page, a new one if need be.
    pub(super) fn host(&self, name: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(name) {
            return Arc::clone(host);
        }
        if hosts.len() >= HOSTS_MAX {
            let oldest = hosts.values().min_by_key(|host| host.state().last_at).map(|host| host.name.clone());
            oldest.map(|name| hosts.remove(&name));
        }
        let state = Mutex::new(State { last_at: now(), ..State::default() });
        let host = Arc::new(Host { name: name.to_owned(), bytes: AtomicU64::new(0), state });
        hosts.insert(name.to_owned(), Arc::clone(&host));
        host
    }

    /// Whether the host was seen to speak TLS, or not to, since then.
    pub(super) fn tls_seen(&self, name: &str, since: Instant) -> Option<bool> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let (speaks, at) = hosts.get(name)?.state().tls?;
        (at >= since).then_some(speaks)
    }

    /// All of them, the one asked last first.
    pub(super) fn report(&self) -> Vec<HostHealth> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report: Vec<HostHealth> = hosts.values().map(|host| host.report()).collect();
        report.sort_by(|a, b| b.last_at.cmp(&a.last_at).then_with(|| a.host.cmp(&b.host)));
        report
    }
}

impl Host {
    /// The host as messages name it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements, so a panic elsewhere has not broken it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave to ask, or how long the host is still left alone, and its last failure.
    pub(super) fn turn(self: &Arc<Self>) -> Result<Turn, (Duration, String)> {
        let mut state = self.state();
        let Some(until) = state.alone_until else { return Ok(Turn { host: Arc::clone(self), scout: false }) };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() && !state.scouted {
            state.scouted = true;
            return Ok(Turn { host: Arc::clone(self), scout: true });
        }
        let why = state.last_error.clone().unwrap_or_default();
        Err((left.max(Duration::from_secs(1)), why))
    }

    /// What an attempt over https showed.
    pub(super) fn saw_tls(&self, speaks: bool) {
        self.state().tls = Some((speaks, Instant::now()));
    }

    /// Body bytes came.
    pub(super) fn received(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The head of a good answer came.
    pub(super) fn answered(&self, status: u16, round_trip: Duration) {
        let mut state = self.state();
        state.answered += 1;
        state.last_status = Some(status);
        state.last_at = now();
        // Smoothed as TCP does it: an eighth of each new one.
        state.round_trip = Some(state.round_trip.map_or(round_trip, |old| (old * 7 + round_trip) / 8));
        state.in_a_row = 0;
        state.alone_until = None;
        state.last_error = None;
        state.retrying = false;
    }

    /// A transfer that was cut goes on.
    pub(super) fn resumed(&self) {
        let mut state = self.state();
        if std::mem::take(&mut state.retrying) {
            state.last_error = None;
        }
    }

    /// An answer came that is no content (404, ...): the host lives.
    pub(super) fn declined(&self, status: Option<u16>) {
        let mut state = self.state();
        state.last_status = status.or(state.last_status);
        state.last_at = now();
        state.in_a_row = 0;
        state.alone_until = None;
        state.last_error = None;
        state.retrying = false;
    }

    /// One attempt failed and is made again.
    pub(super) fn retried(&self, error: &str, status: Option<u16>) {
        let mut state = self.state();
        state.retried += 1;
        state.last_status = status.or(state.last_status);
        state.last_error = Some(format!("{error} (it is asked again)"));
        state.last_at = now();
        state.retrying = true;
    }

    /// An ask failed, all retries included. `down` where it says that the host cannot be asked at all.
    pub(super) fn failed(&self, error: &str, status: Option<u16>, down: bool) {
        let mut state = self.state();
        state.failed += 1;
        state.last_status = status.or(state.last_status);
        state.last_error = Some(error.to_owned());
        state.retrying = false;
        state.last_at = now();
        if down {
            state.in_a_row = state.in_a_row.saturating_add(1);
            if state.in_a_row >= FAILURES_IN_A_ROW {
                state.alone_until = Some(Instant::now() + LEFT_ALONE);
            }
        }
    }

    fn report(&self) -> HostHealth {
        let state = self.state();
        let left = state.alone_until.map(|until| until.saturating_duration_since(Instant::now()));
        let last_error = match (left.filter(|left| !left.is_zero()), &state.last_error) {
            (Some(left), Some(error)) => Some(format!("{error} (left alone for {} s more)", left.as_secs() + 1)),
            (_, error) => error.clone(),
        };
        HostHealth {
            host: self.name.clone(),
            answered: state.answered,
            failed: state.failed,
            retried: state.retried,
            bytes: self.bytes.load(Ordering::Relaxed),
            last_status: state.last_status,
            last_error,
            last_at: state.last_at,
            round_trip_ms: u64::try_from(state.round_trip.unwrap_or_default().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Only shown to people, so no clock of the tests' choosing is needed.
fn now() -> Timestamp {
    SystemTime::now().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_dead_host_is_left_alone_but_for_one_scout() {
        let book = Book::default();
        let host = book.host("h");
        for _ in 0..FAILURES_IN_A_ROW {
            assert!(host.turn().is_ok());
            host.failed("down", None, true);
        }
        assert!(host.turn().unwrap_err().1 == "down");
        assert!(book.report()[0].last_error.as_deref().unwrap().contains("left alone"));
        tokio::time::advance(LEFT_ALONE).await;
        let scout = host.turn().unwrap();
        assert!(host.turn().is_err());
        // A scout that went away makes room for the next, one that failed closes the door again.
        drop(scout);
        let scout = host.turn().unwrap();
        host.failed("down", None, true);
        drop(scout);
        assert!(host.turn().is_err());
        tokio::time::advance(LEFT_ALONE).await;
        let scout = host.turn().unwrap();
        host.answered(200, Duration::from_millis(3));
        drop(scout);
        assert!(host.turn().is_ok() && host.turn().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_scout_keeps_the_others_out_for_one_attempt_only() {
        let book = Book::default();
        let host = book.host("h");
        for _ in 0..FAILURES_IN_A_ROW {
            host.failed("down", None, true);
        }
        tokio::time::advance(LEFT_ALONE).await;
        let mut scout = host.turn().unwrap();
        scout.looked(true);
        assert!(host.turn().is_err(), "still down: closed for another while");
        tokio::time::advance(LEFT_ALONE).await;
        let mut next = host.turn().unwrap();
        next.looked(false);
        assert!(host.turn().is_ok() && host.turn().is_ok(), "it answers, though not what this one asked");
    }

    #[tokio::test]
    async fn an_error_that_is_over_is_told_no_longer() {
        let book = Book::default();
        let host = book.host("h");
        let told = || book.report()[0].last_error.clone();
        host.retried("it answered 500", Some(500));
        assert!(told().unwrap().contains("500 (it is asked again)"));
        host.answered(200, Duration::ZERO);
        assert_eq!(told(), None);
        host.failed("cut", None, false);
        host.resumed();
        assert_eq!(told().as_deref(), Some("cut"), "another transfer's end stays told");
        host.retried("cut once more", None);
        host.resumed();
        assert_eq!(told(), None);
    }

    #[tokio::test]
    async fn what_is_no_outage_closes_nothing() {
        let book = Book::default();
        let host = book.host("h");
        for _ in 0..10 {
            host.failed("changed", None, false);
            host.declined(Some(404));
        }
        assert!(host.turn().is_ok());
        assert_eq!((book.report()[0].failed, book.report()[0].last_status), (10, Some(404)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_of_tls_has_its_time() {
        let book = Book::default();
        let begun = Instant::now();
        assert_eq!(book.tls_seen("h", begun), None);
        book.host("h").answered(200, Duration::ZERO);
        assert_eq!(book.tls_seen("h", begun), None);
        book.host("h").saw_tls(false);
        assert_eq!(book.tls_seen("h", begun), Some(false));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(book.tls_seen("h", Instant::now()), None, "that was before");
    }

    #[tokio::test]
    async fn the_book_is_bounded() {
        let book = Book::default();
        for n in 0..HOSTS_MAX + 10 {
            book.host(&format!("h{n}"));
        }
        assert_eq!(book.report().len(), HOSTS_MAX);
    }
}
