//! What no digest proves is fetched over HTTPS where its host offers that: there at least nobody on the way can change it.
//!
//! Whether a host does is tried once and remembered, so that one without HTTPS costs one failed try and no more.

use std::time::Duration;

use crate::fill::inner::Inner;
use crate::fill::learn::{self, First, Learnt, Lesson};
use crate::fill::pump::host_of;
use crate::model::origin::{AllowList, Host};
use crate::model::payload::{Location, Standing};

/// How long HTTPS may take to answer before the host counts as having none: many firewalls swallow what goes to port 443,
/// and a client waits.
const WAIT: Duration = Duration::from_secs(3);

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

impl Inner {
    /// The same place over HTTPS, where its host is known to offer that.
    pub(super) fn known_secure(&self, location: &Location) -> Option<Location> {
        let secure = secured(&self.allow, location)?;
        (self.memory.offers_https(host_of(&location.url)) == Some(true)).then_some(secure)
    }

    /// Asks the place over HTTPS what the object is; `None` where its host offers none, or not for this object. Of several
    /// who come at once one finds out, and the others ask as they would have.
    pub(super) async fn learn_securely(
        &self,
        location: &Location,
        first: First,
        via: Option<&str>,
    ) -> Option<Box<Lesson>> {
        let secure = secured(&self.allow, location)?;
        let host = host_of(&location.url);
        if self.memory.offers_https(host) == Some(false) {
            return None;
        }
        self.memory.set_https(host, false);
        let asking = learn::ask(self.source.as_ref(), &self.gates, &secure, first, via);
        match tokio::time::timeout(WAIT, asking).await {
            Ok(Learnt::Object(lesson)) => {
                self.memory.set_https(host, true);
                Some(lesson)
            }
            Ok(Learnt::NoLength(_) | Learnt::Failed(_)) | Err(_) => {
                tracing::info!(host, "no answer over HTTPS: asked over plain HTTP from now on");
                None
            }
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
}
