//! What went wrong in a conversation, got over or not: counted by kind, and the wait under way for who looks on. A person who
//! starts a run against a server that is down must see so within seconds, and not after the last attempt.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::time::Timestamp;
use crate::upstream::error::Cause;
use crate::upstream::wsus::error::Trouble;
use crate::wire::wsusss::{Method, Reaction};

/// A question that will be asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What is asked.
    pub method: Method,
    /// Why the last attempt failed.
    pub why: String,
    /// The number of the next attempt.
    pub attempt: u32,
    /// After so many it is given up.
    pub attempts_max: u32,
    /// How long is waited from the failure to that attempt.
    pub wait: Duration,
}

/// A question that was asked, and to which nothing has come for longer than the stall timeout: a server that hangs, or one that has much to
/// do for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Who was asked, as messages name it.
    pub host: String,
    /// What is asked.
    pub method: Method,
    /// When it was.
    pub since: Timestamp,
    /// So long it is waited for; then it is asked again, or given up.
    pub until: Timestamp,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, method, since, until } = self;
        // Some servers make a list for minutes before its first byte.
        let may = if *method == Method::GetRevisionIdList { " (a list may take minutes)" } else { "" };
        write!(
            f,
            "nothing comes: {host} was asked for {method} at {since} and has said nothing; it has until {until}, then it is asked \
             again{may}"
        )
    }
}

/// A silence that goes on; it is over when this is dropped.
#[derive(Debug)]
pub(super) struct Silent<'a> {
    troubles: &'a Troubles,
    question: u64,
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        self.troubles.lock().silences.remove(&self.question);
    }
}

/// The log is told so often at most that the server does not do what it should: it may do so for hours.
const NEWS_EVERY: Duration = Duration::from_mins(1);

/// All that one conversation met.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    met: Mutex<Met>,
}

#[derive(Debug, Default)]
struct Met {
    counts: BTreeMap<&'static str, u64>,
    /// The wait that is shown, and of which question it is.
    waiting: Option<(u64, Waiting)>,
    /// Questions to which nothing comes, as many as are under way, the oldest first.
    silences: BTreeMap<u64, Silence>,
    /// When the log was told last.
    told: Option<Instant>,
    /// Something waits since its bandwidth class is paused, which the log was told.
    pauses: bool,
    /// How many questions there were.
    questions: u64,
    /// A person waits.
    attended: bool,
    /// The server has answered since then.
    heard: bool,
}

impl Troubles {
    fn lock(&self) -> MutexGuard<'_, Met> {
        // Whole between any two calls, so that a panic elsewhere has broken nothing.
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, kind: Option<&'static str>) {
        if let Some(kind) = kind {
            *self.lock().counts.entry(kind).or_default() += 1;
        }
    }

    /// Another question is asked; its number.
    pub(super) fn question(&self) -> u64 {
        let mut met = self.lock();
        met.questions = met.questions.wrapping_add(1);
        met.questions
    }

    /// A question is asked again after a wait. Of several that wait one is shown, until it is over, so that its attempts are seen
    /// one after the other.
    pub(super) fn wait(&self, question: u64, waiting: Waiting) {
        let mut met = self.lock();
        if met.waiting.as_ref().is_none_or(|(shown, _)| *shown == question) {
            met.waiting = Some((question, waiting));
        }
    }

    /// A question has its answer, or none.
    pub(super) fn over(&self, question: u64) {
        let mut met = self.lock();
        if met.waiting.as_ref().is_some_and(|(shown, _)| *shown == question) {
            met.waiting = None;
        }
    }

    /// The server has answered: whatever was waited for is over.
    pub(super) fn answered(&self) {
        let mut met = self.lock();
        met.heard = true;
        met.waiting = None;
    }

    /// A question that is under way is met with silence.
    pub(super) fn silent(&self, silence: Silence) -> Silent<'_> {
        let question = self.question();
        self.lock().silences.insert(question, silence);
        Silent { troubles: self, question }
    }

    pub(super) fn silence(&self) -> Option<Silence> {
        self.lock().silences.first_key_value().map(|(_, silence)| silence.clone())
    }

    /// Whether the log is to be told of a failure.
    pub(super) fn is_news(&self, now: Instant) -> bool {
        let mut met = self.lock();
        let is_news = met.told.is_none_or(|told| now.saturating_duration_since(told) >= NEWS_EVERY);
        if is_news {
            met.told = Some(now);
        }
        is_news
    }

    /// A question waits for the end of a pause, or does not; whether that is news.
    pub(super) fn pauses(&self, does: bool) -> bool {
        std::mem::replace(&mut self.lock().pauses, does) != does
    }

    /// Something begins for which a person waits, or nobody.
    pub(super) fn begins(&self, attended: bool) {
        let mut met = self.lock();
        (met.attended, met.heard, met.told) = (attended, false, None);
    }

    /// Whether a person waits for the first word of the server.
    pub(super) fn wants_to_know(&self) -> bool {
        let met = self.lock();
        met.attended && !met.heard
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.lock().counts.clone()
    }

    pub(super) fn waiting(&self) -> Option<Waiting> {
        self.lock().waiting.as_ref().map(|(_, waiting)| waiting.clone())
    }
}

/// The kind of a failed exchange; `None` where nothing failed.
pub(super) fn of(trouble: &Trouble) -> Option<&'static str> {
    Some(match trouble {
        Trouble::Paused => return None,
        Trouble::NoSoap(_) => "no soap",
        Trouble::Answer(error) if error.is_retryable() => "broken off",
        Trouble::Answer(_) => "unreadable",
        Trouble::NotKept(_) => "not kept here",
        Trouble::Path(cause) => match cause {
            Cause::Name(_) | Cause::NoName(_) => "name not resolved",
            Cause::Refused | Cause::Connect(_) | Cause::ConnectSlow(_) => "not reached",
            Cause::Silent(_) | Cause::Impatient(_) => "no answer in time",
            Cause::Stalled { .. } | Cause::Cut { .. } => "broken off",
            Cause::Busy { .. } => "busy",
            Cause::Issuer | Cause::Tls(_) | Cause::NoTls | Cause::NoHttp => "tls",
            Cause::ProxyCredentials { .. } | Cause::Proxy { .. } => "proxy",
            Cause::Status(404 | 405 | 501) => "no sync service",
            Cause::NoResume { .. }
            | Cause::Status(_)
            | Cause::Unauthorized(_)
            | Cause::Changed(_)
            | Cause::Lied(_)
            | Cause::NotAllowed(_) => "refused",
        },
    })
}

/// The kind of a fault, by what is done about it.
pub(super) fn of_refusal(reaction: Reaction) -> &'static str {
    match reaction {
        Reaction::Reauthorize => "cookie refused",
        Reaction::ResetAnchors => "anchor refused",
        Reaction::BackOff => "busy",
        Reaction::Bisect => "batch refused",
        Reaction::Restart | Reaction::Stop => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_questions_that_wait_one_is_shown_until_it_is_over() {
        let troubles = Troubles::default();
        let (one, two) = (troubles.question(), troubles.question());
        let wait = |question, attempt| {
            let (method, why) = (Method::GetUpdateData, String::new());
            troubles.wait(question, Waiting { method, why, attempt, attempts_max: 7, wait: Duration::ZERO });
        };
        let shown = || troubles.waiting().map(|waiting| waiting.attempt);
        wait(one, 2);
        wait(two, 2);
        wait(one, 3);
        wait(two, 3);
        assert_eq!(shown(), Some(3));
        wait(two, 4);
        assert_eq!(shown(), Some(3), "the attempts of one question, one after the other");
        troubles.over(two);
        assert_eq!(shown(), Some(3));
        troubles.over(one);
        assert_eq!(shown(), None);
        wait(two, 5);
        assert_eq!(shown(), Some(5));
        troubles.answered();
        assert_eq!(shown(), None);
    }

    #[test]
    fn the_oldest_silence_is_shown_and_the_log_is_told_once_a_minute() {
        let troubles = Troubles::default();
        let silence = |host: &str| {
            let (since, until) = (Timestamp::from_ms(0), Timestamp::from_ms(20_000));
            troubles.silent(Silence { host: host.to_owned(), method: Method::GetCookie, since, until })
        };
        let shown = || troubles.silence().map(|silence| silence.host);
        let one = silence("one");
        let two = silence("two");
        assert_eq!(shown().as_deref(), Some("one"));
        drop(one);
        assert_eq!(shown().as_deref(), Some("two"));
        let told = troubles.silence().unwrap().to_string();
        assert!(told.starts_with("nothing comes: two was asked for GetCookie at 1970-01-01T00:00:00"), "{told}");
        drop(two);
        assert_eq!(shown(), None);
        let now = Instant::now();
        assert!(troubles.is_news(now) && !troubles.is_news(now + NEWS_EVERY / 2) && troubles.is_news(now + NEWS_EVERY));
        troubles.begins(false);
        assert!(troubles.is_news(now), "another run");
        assert!(troubles.pauses(true) && !troubles.pauses(true) && troubles.pauses(false));
    }
}
