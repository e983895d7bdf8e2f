//! What no digest proves is fetched over HTTPS where its host offers that: there at least nobody on the way can change it.
//!
//! Whether a host does is tried and remembered, so that one without HTTPS costs one failed try an hour. Only what says that
//! there is no TLS counts as none: a client that asks for what is not there must not move a whole host to plain HTTP.
//! A host that is known to have it gets the time that a failed connection takes to show itself, so that one whose port has
//! gone dark is found out by the first question.

use std::time::Duration;

use tokio::time::Instant;

use crate::fill::gate::Class;
use crate::fill::inner::Inner;
use crate::fill::learn::{self, First, Learnt, Lesson};
use crate::fill::pump::host_of;
use crate::model::origin::{AllowList, Host};
use crate::model::payload::{Location, Standing};
use crate::upstream::{self, Answer, Ask};

/// How long HTTPS may take to answer before the object is asked for over plain HTTP: many firewalls swallow what goes to
/// port 443, and a client waits.
const WAIT: Duration = Duration::from_secs(3);

/// The same for a host that is known to have HTTPS, at most: plain HTTP must still have its turn before a client gives up
/// at 15 s. With a longer `upstream.connect_timeout`, silence goes on saying nothing.
const WAIT_KNOWN_MAX: Duration = Duration::from_secs(10);

/// What is left to an attempt at a connection, beyond its time limit, to be noted as failed.
const NOTED: Duration = Duration::from_secs(1);

/// How long HTTPS may take to answer, from what is known of the host's.
fn wait(before: Option<bool>, connect_timeout: Duration) -> Duration {
    if before == Some(true) { connect_timeout.saturating_add(NOTED).clamp(WAIT, WAIT_KNOWN_MAX) } else { WAIT }
}

/// The same place over HTTPS, if it is plain HTTP at its ordinary port and the allow-list lets that through.
fn secured(allow: &AllowList, location: &Location) -> Option<Location> {
    let rest = location.url.strip_prefix("http://").filter(|_| location.standing == Standing::Allowed)?;
    let authority = host_of(&location.url);
    let name = authority.strip_suffix(":80").unwrap_or(authority);
    let host = Host::parse(name).ok()?;
    allow.admits(true, &host, 443)?;
    let path = rest.strip_prefix(authority)?;
    Some(Location { url: format!("https://{name}{path}"), standing: location.standing })
}

/// What is known of a host's HTTPS after it was asked (`None`: in the time of [`wait`] nothing was said), from `seen`, what the
/// attempts at it showed; `None`: what was known before.
fn known_after(learnt: Option<&Learnt>, seen: Option<bool>, before: Option<bool>) -> Option<bool> {
    match learnt {
        Some(Learnt::Object(_) | Learnt::NoLength(_)) => Some(true),
        Some(Learnt::Failed(error)) => match error {
            upstream::Error::Status { .. } | upstream::Error::Changed { .. } | upstream::Error::Lied { .. } => {
                Some(true)
            }
            // It was not asked at all, or was asked and led elsewhere.
            upstream::Error::Resting { .. }
            | upstream::Error::NotAllowed { .. }
            | upstream::Error::Looped { .. }
            | upstream::Error::Config { .. } => seen,
            upstream::Error::Unavailable { .. } => known_after(None, seen, before),
        },
        // Silence of a host that is known to have HTTPS may be that of one slow object.
        None => seen.or(if before == Some(true) { None } else { Some(false) }),
    }
}

impl Inner {
    /// The same place over HTTPS, where its host is known to offer that.
    pub(super) fn known_secure(&self, location: &Location) -> Option<Location> {
        let secure = secured(&self.allow, location)?;
        (self.memory.offers_https(host_of(&secure.url)) == Some(true)).then_some(secure)
    }

    /// Asks the place over HTTPS what the object is; `None` where its host offers none, or not for this object.
    pub(super) async fn learn_securely(
        &self,
        location: &Location,
        first: First,
        via: Option<&str>,
    ) -> Option<Box<Lesson>> {
        let secure = secured(&self.allow, location)?;
        let host = host_of(&secure.url);
        if self.memory.offers_https(host) == Some(false) {
            return None;
        }
        // The line at the host's gate says nothing of its HTTPS, so it does not count against it.
        let permit = self.gates.enter(host, Class::Demand).await.ok();
        let before = self.memory.offers_https(host);
        if before == Some(false) {
            return None;
        }
        let begun = Instant::now();
        let asking = learn::ask_with(permit, self.source.as_ref(), &secure, first, via);
        let learnt = tokio::time::timeout(wait(before, self.config.connect_timeout), asking).await.ok();
        let seen = self.source.tls_seen(&secure.url, begun);
        if let Some(offers) = known_after(learnt.as_ref(), seen, before) {
            self.note_https(host, offers);
        }
        match learnt {
            Some(Learnt::Object(lesson)) => Some(lesson),
            Some(Learnt::NoLength(_) | Learnt::Failed(_)) | None => None,
        }
    }

    /// Asks over HTTPS of a host that is known to have it; `None` where it gives nothing now.
    pub(super) async fn ask_securely(&self, ask: Ask) -> Option<Answer> {
        let (url, begun) = (ask.location.url.clone(), Instant::now());
        let limit = wait(Some(true), self.config.connect_timeout);
        if let Ok(Ok(answer)) = tokio::time::timeout(limit, self.source.ask(ask)).await {
            return Some(answer);
        }
        if self.source.tls_seen(&url, begun) == Some(false) {
            self.note_https(host_of(&url), false);
        }
        None
    }

    fn note_https(&self, host: &str, offers: bool) {
        self.memory.set_https(host, offers);
        if !offers {
            tracing::info!(host, "no answer over HTTPS: asked over plain HTTP for an hour");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_ordinary_place_has_a_secure_one() {
        let entries = ["dl.example.org", "http://plain.example.org:8000", "::1"].map(str::to_owned);
        let allow = AllowList::new(&entries).unwrap();
        let of = |url: &str, standing| secured(&allow, &Location { url: url.to_owned(), standing }).map(|it| it.url);
        let at = |url: &str| of(url, Standing::Allowed);
        assert_eq!(at("http://dl.example.org/a?b").as_deref(), Some("https://dl.example.org/a?b"));
        assert_eq!(at("http://dl.example.org:80/a").as_deref(), Some("https://dl.example.org/a"));
        assert_eq!(at("http://[::1]/a").as_deref(), Some("https://[::1]/a"));
        assert_eq!(at("https://dl.example.org/a"), None);
        assert_eq!(at("http://dl.example.org:8000/a"), None);
        assert_eq!(at("http://plain.example.org:8000/a"), None);
        assert_eq!(at("http://other.example.org/a"), None);
        assert_eq!(of("http://dl.example.org/a", Standing::Upstream), None);
    }

    #[test]
    fn a_host_with_https_gets_the_time_to_show_that_it_has_none_any_more() {
        let after = |before, connect| wait(before, Duration::from_secs(connect)).as_secs();
        assert_eq!((after(None, 5), after(Some(true), 5)), (3, 6));
        assert_eq!((after(Some(true), 1), after(Some(true), 60)), (3, 10));
    }

    #[test]
    fn only_what_says_that_there_is_no_tls_counts_as_none() {
        let host = || "dl.example.org".to_owned();
        let failed = |error| Some(Learnt::Failed(error));
        let status = || failed(upstream::Error::Status { host: host(), status: 404, challenges: Vec::new() });
        let lied = || failed(upstream::Error::Lied { host: host(), why: String::new() });
        let busy = || failed(upstream::Error::Unavailable { host: host(), why: String::new(), retry_after: None });
        let resting =
            || failed(upstream::Error::Resting { host: host(), why: String::new(), retry_after: Duration::ZERO });
        let after = |learnt: Option<Learnt>, seen, before| known_after(learnt.as_ref(), seen, before);
        for before in [None, Some(true)] {
            assert_eq!((after(status(), None, before), after(lied(), None, before)), (Some(true), Some(true)));
            assert_eq!(after(resting(), None, before), None);
            for (seen, known) in [(Some(true), Some(true)), (Some(false), Some(false))] {
                assert_eq!((after(busy(), seen, before), after(None, seen, before)), (known, known));
            }
        }
        assert_eq!((after(None, None, None), after(busy(), None, None)), (Some(false), Some(false)));
        assert_eq!((after(None, None, Some(true)), after(busy(), None, Some(true))), (None, None));
    }
}
