//! When an exchange is repeated, how often, and what each refusal means (MS-WSUSSS 2.2.9.3). Every reason to repeat has a
//! bound of its own, since each of them can repeat itself for ever.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::upstream::error::Cause;
use crate::upstream::retry::{bounded, jitter};
use crate::upstream::wsus::Core;
use crate::upstream::wsus::error::{Error, Trouble};
use crate::upstream::wsus::troubles::{self, Waiting};
use crate::wire::soap::Fault;
use crate::wire::wsusss::{FaultCode, Method, Reaction, reaction};

/// Authorizations that one question may cost: one since the cookie has ended, one since the new one met a restart, and one
/// to be sure.
const AUTHORIZATIONS_MAX: u32 = 3;

/// Attempts at an answer that is whole and cannot be read: more than one, for something on the way may have spoilt it.
const UNREADABLE_MAX: u32 = 2;

/// Attempts at a server that has said nothing yet, where what it does shows that asking again will not help and a person waits for the
/// answer. More than one, for a server that is just beginning looks the same for a second or two.
const HOPELESS_MAX: u32 = 3;

/// Attempts at a server that takes the question and says nothing, though that took as long as the patience is: it hangs. More than one or
/// two, since one that was just started may do so for a while.
const SILENT_MAX: u32 = 3;

/// So much silence is met by two attempts alone: a list may take minutes to begin, and three of them are too long to learn that it never
/// will.
const SILENCE_MAX: Duration = Duration::from_mins(10);

/// Attempts at one question at most, however long the patience is: one a minute for a little more than an hour.
const ATTEMPTS_MAX: u32 = 70;

/// How long and how often what may pass is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Attempts at one question, the first one counted. Microsoft's service is known to time out several times in a row.
    pub attempts_max: u32,
    /// The wait before the second attempt; each further one doubles it, with jitter.
    pub first: Duration,
    /// The longest wait between two attempts, where the server does not ask for more.
    pub longest: Duration,
}

impl Default for Patience {
    /// A minute of waiting in all, after which an upstream is down rather than busy.
    fn default() -> Self {
        Self::of(Duration::from_mins(1))
    }
}

impl Patience {
    /// What is waited in all before the last attempt, before jitter.
    fn waits(&self) -> Duration {
        (1..self.attempts_max).map(|failures| back_off(self.first, self.longest, failures)).sum()
    }

    /// As many attempts as fit into so much waiting between them; two at least. How long the attempts themselves take does not count:
    /// a list that ends after five minutes in a gateway's timeout is asked for again all the same.
    pub fn of(patience: Duration) -> Self {
        let (first, longest) = (Duration::from_secs(1), Duration::from_mins(1));
        let mut waits = Duration::ZERO;
        let mut attempts_max = 2;
        while attempts_max < ATTEMPTS_MAX {
            waits += back_off(first, longest, attempts_max - 1);
            if waits >= patience {
                break;
            }
            attempts_max += 1;
        }
        Self { attempts_max, first, longest }
    }
}

/// The wait after so many failures, before jitter.
fn back_off(first: Duration, longest: Duration, failures: u32) -> Duration {
    first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest)
}

/// What to do after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The same again.
    Again,
    /// The same again with a new cookie.
    Reauthorize,
    /// Fewer at once.
    Bisect,
}

/// The attempts at one question.
#[derive(Debug)]
pub(super) struct Tries<'a> {
    core: &'a Core,
    /// Which question it is, among those under way.
    question: u64,
    method: Method,
    /// An anchor was sent, which may be what is refused.
    anchored: bool,
    /// Attempts at an answer that breaks off.
    answers_max: u32,
    failures: u32,
    /// For how long nothing at all came, and what was waited in between.
    silent: Duration,
    waited: Duration,
    /// The server was seen to give nothing else either: then an answer that stands still is silence as well.
    weak: bool,
    broken: u32,
    unreadable: u32,
    authorizations: u32,
}

impl<'a> Tries<'a> {
    pub(super) fn new(core: &'a Core, method: Method) -> Self {
        Self {
            core,
            question: core.troubles.question(),
            method,
            anchored: false,
            answers_max: core.config.patience.attempts_max,
            failures: 0,
            silent: Duration::ZERO,
            waited: Duration::ZERO,
            weak: false,
            broken: 0,
            unreadable: 0,
            authorizations: 0,
        }
    }

    pub(super) fn anchored(mut self, anchored: bool) -> Self {
        self.anchored = anchored;
        self
    }

    pub(super) fn answers_max(mut self, answers_max: u32) -> Self {
        self.answers_max = answers_max.min(self.answers_max);
        self
    }

    /// The server gives nothing else either: it is waited for as for one that is down, since asking for less would not help.
    pub(super) fn weak(&mut self) {
        (self.weak, self.answers_max) = (true, self.core.config.patience.attempts_max);
    }

    /// Another operation of the same question.
    pub(super) fn now(&mut self, method: Method) {
        self.method = method;
    }

    /// Waits until it may be asked again; the error where it was enough.
    pub(super) async fn failed(&mut self, trouble: Trouble) -> Result<(), Error> {
        let is_answers = trouble.is_answers();
        let is_hopeless = trouble.is_hopeless();
        self.core.troubles.count(troubles::of(&trouble));
        match trouble {
            // Nothing has failed; the next attempt waits until bytes may flow.
            Trouble::Paused => Ok(()),
            Trouble::NotKept(why) => Err(Error::NotKept { why }),
            Trouble::NoSoap(why) => {
                if self.wait_as(is_hopeless, None, &why).await {
                    Ok(())
                } else {
                    Err(self.unusable(why))
                }
            }
            Trouble::Answer(error) => {
                let why = error.to_string();
                if !error.is_retryable() {
                    self.unreadable += 1;
                    if self.unreadable >= UNREADABLE_MAX {
                        return Err(self.unusable(why));
                    }
                }
                self.broke(true, false, None, why).await
            }
            Trouble::Path(Cause::Status(status)) => {
                // An access rule, or a gateway on the way that is set up anew.
                Err(self.refused_as(status == 403, format!("it answered {status}; {}", hint(status))))
            }
            Trouble::Path(cause @ Cause::ProxyCredentials { .. }) => Err(self.unavailable(cause.to_string(), None)),
            Trouble::Path(cause) => {
                let why = cause.to_string();
                match &cause {
                    Cause::Silent(time) => self.silent = self.silent.saturating_add(*time),
                    Cause::Stalled { after, .. } if self.weak => self.silent = self.silent.saturating_add(*after),
                    _ => {}
                }
                if cause.may_pass() {
                    self.broke(is_answers, is_hopeless, cause.retry_after(), why).await
                } else {
                    Err(self.refused(why))
                }
            }
        }
    }

    async fn broke(
        &mut self,
        is_answers: bool,
        is_hopeless: bool,
        retry_after: Option<Duration>,
        why: String,
    ) -> Result<(), Error> {
        self.broken += u32::from(is_answers);
        if (is_answers && self.broken >= self.answers_max) || !self.wait_as(is_hopeless, retry_after, &why).await {
            return Err(self.unavailable(why, retry_after));
        }
        tracing::debug!(host = self.core.label, method = %self.method, why, "asked again");
        Ok(())
    }

    /// What to do about a refusal; waits where it is to be waited for.
    pub(super) async fn refusal(&mut self, fault: &Fault) -> Result<Step, Error> {
        let why = fault.to_string();
        let reaction = reaction(self.method, fault);
        self.core.troubles.count(Some(troubles::of_refusal(reaction)));
        match reaction {
            Reaction::Reauthorize => {
                self.authorizations += 1;
                if self.authorizations > AUTHORIZATIONS_MAX {
                    let why =
                        format!("{why}; several servers behind one name that do not share their keys look like this");
                    return Err(Error::Unauthorized { host: self.host(), method: self.method, why });
                }
                Ok(Step::Reauthorize)
            }
            Reaction::ResetAnchors => {
                let said = fault.detail.as_ref().and_then(|detail| FaultCode::of(&detail.code));
                if self.anchored || said == Some(FaultCode::ServerChanged) {
                    Err(Error::ServerChanged { host: self.host(), method: self.method, why })
                } else {
                    Err(self.refused(format!("{why}, though no anchor was sent; check the filters")))
                }
            }
            Reaction::BackOff if self.wait(None, &why).await => Ok(Step::Again),
            Reaction::BackOff => Err(self.unavailable(format!("{why}, again and again; try later"), None)),
            Reaction::Bisect => Ok(Step::Bisect),
            Reaction::Restart | Reaction::Stop => Err(self.refused_as(may_pass(fault), why)),
        }
    }

    /// Waits before the next attempt, and lets others see for what; false where there is none.
    pub(super) async fn wait(&mut self, retry_after: Option<Duration>, why: &str) -> bool {
        self.wait_as(false, retry_after, why).await
    }

    async fn wait_as(&mut self, is_hopeless: bool, retry_after: Option<Duration>, why: &str) -> bool {
        let Patience { mut attempts_max, first, longest } = self.core.config.patience;
        if is_hopeless && self.core.troubles.wants_to_know() {
            attempts_max = attempts_max.min(HOPELESS_MAX);
        }
        if !self.silent.is_zero() && self.silent.saturating_add(self.waited) >= self.core.config.patience.waits() {
            let least = if self.silent >= SILENCE_MAX { SILENT_MAX - 1 } else { SILENT_MAX };
            attempts_max = attempts_max.min(least.max(self.failures + 1));
        }
        self.failures += 1;
        if self.failures >= attempts_max {
            return false;
        }
        let back_off = back_off(first, longest, self.failures);
        let time = jitter(back_off).max(bounded(retry_after).unwrap_or_default());
        let waiting =
            Waiting { method: self.method, why: why.to_owned(), attempt: self.failures + 1, attempts_max, wait: time };
        self.waited = self.waited.saturating_add(time);
        if self.core.troubles.is_news(Instant::now()) {
            let (host, method) = (self.core.label.as_str(), self.method);
            let attempt = format!("{} of {attempts_max}", waiting.attempt);
            tracing::warn!(host, %method, why, attempt, "the upstream does not answer as it should, and is asked again in {time:.1?}");
        }
        self.core.troubles.wait(self.question, waiting);
        sleep(time).await;
        true
    }

    fn host(&self) -> String {
        self.core.label.clone()
    }

    pub(super) fn refused(&self, why: String) -> Error {
        self.refused_as(false, why)
    }

    pub(super) fn refused_as(&self, may_pass: bool, why: String) -> Error {
        Error::Refused { host: self.host(), method: self.method, why, may_pass }
    }

    pub(super) fn unusable(&self, why: String) -> Error {
        Error::Unusable { host: self.host(), method: self.method, why }
    }

    pub(super) fn unavailable(&self, why: String, retry_after: Option<Duration>) -> Error {
        Error::Unavailable { host: self.host(), method: self.method, why, retry_after: bounded(retry_after) }
    }
}

impl Drop for Tries<'_> {
    fn drop(&mut self) {
        self.core.troubles.over(self.question);
    }
}

/// Whether a refusal that ends a run may be one of a bad hour: a service whose database restarts or takes too long says that something
/// failed there, or says nothing but that it fails. MS-WSUSSS 2.2.9.3 ends the run for it, and says nothing of the next one.
fn may_pass(fault: &Fault) -> bool {
    fault.detail.as_ref().is_none_or(|detail| FaultCode::of(&detail.code) == Some(FaultCode::InternalServerError))
}

/// What to look at after a status.
fn hint(status: u16) -> &'static str {
    match status {
        404 | 405 | 501 => {
            "this is no WSUS: there is no sync service at this address; check the upstream's url and port (8530 of a WSUS, 8531 with https)"
        }
        400 => "check the upstream's url; a port that wants https answers so, too",
        401 | 403 => "it lets this node not in; check its access rules, and whether it wants TLS",
        _ => "check the upstream's url, and what stands on the way",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_attempts_as_fit_into_the_patience() {
        let attempts = |seconds| Patience::of(Duration::from_secs(seconds)).attempts_max;
        assert_eq!([0, 1, 3, 60, 120].map(attempts), [2, 2, 3, 7, 8]);
        assert_eq!(attempts(3600), 66, "the waits double up to a minute");
        assert_eq!(attempts(u64::MAX), ATTEMPTS_MAX);
        for seconds in [1, 3, 60, 600] {
            let Patience { attempts_max, first, longest } = Patience::of(Duration::from_secs(seconds));
            let all: Duration = (1..attempts_max - 1).map(|failures| back_off(first, longest, failures)).sum();
            assert!(all < Duration::from_secs(seconds), "{seconds}: another one is begun only within it");
        }
    }
}
