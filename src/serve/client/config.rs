//! What the scan face needs to know.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::base::time::Timestamp;
use crate::model::deployment::detection::Written;
use crate::net;
use crate::serve::client::room::ANSWERS_MAX;

/// When what `GetConfig` answers was changed last: 2026-11-22. It is a part of the program, so this is raised with it; agents whose
/// cookie is older ask for the configuration again.
const CHANGED: Timestamp = Timestamp::from_ms(1_795_305_600_000);

/// How long a cookie may be used, whatever is done with it: as on a WSUS server.
const COOKIE_LIFE: Duration = Duration::from_hours(1);

/// Requests that one endpoint has in an hour. An agent gives a scan up after 200 rounds; here the first one of a machine takes some twenty, a
/// later one four, and what is new to it comes by fifties, so that who asks more often goes in a circle.
const REQUESTS_MAX: u32 = 5_000;

/// The settings of the scan face.
#[derive(Clone, Debug)]
pub struct Config {
    /// Networks whose clients may scan over plain HTTP. Loopback may always.
    pub plaintext: Vec<IpNet>,
    /// The base of file URLs, without a slash at its end; `None` takes the host that was asked.
    pub content_url: Option<String>,
    /// Where content is listened for over plain HTTP.
    pub http: Vec<SocketAddr>,
    /// What the node calls itself.
    pub name: String,
    /// What is detected where nobody decided anything.
    pub detection: Written,
    /// When what `GetConfig` answers was changed last.
    pub changed: Timestamp,
    /// How long a cookie may be used.
    pub cookie_life: Duration,
    /// Bytes that all answers may take that are being made or sent.
    pub answers: usize,
    /// How often one endpoint may ask with its cookie in an hour.
    pub requests: u32,
    /// Networks whose addresses stand for many agents, or that are trusted: a client there has no share of its own.
    pub exempt: Vec<IpNet>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            plaintext: Vec::new(),
            content_url: None,
            http: Vec::new(),
            name: "waystation".into(),
            detection: Written::default(),
            changed: CHANGED,
            cookie_life: COOKIE_LIFE,
            answers: ANSWERS_MAX,
            requests: REQUESTS_MAX,
            exempt: net::Config::default().exempt,
        }
    }
}

impl Config {
    /// Whether a client may scan over this connection: metadata is unsigned, so that who can change it on the wire runs code on the
    /// client.
    pub(super) fn lets(&self, client: IpAddr, secure: bool) -> bool {
        secure || client.is_loopback() || self.plaintext.iter().any(|network| network.contains(&client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_and_named_networks() {
        let plaintext = vec!["10.1.0.0/16".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        let config = Config { plaintext, ..Config::default() };
        let lets = |address: &str, secure| config.lets(address.parse().unwrap(), secure);
        assert!(
            lets("127.0.0.1", false) && lets("::1", false) && lets("10.1.2.3", false) && lets("2001:db8::7", false)
        );
        assert!(!lets("10.2.0.1", false) && !lets("2001:db9::1", false));
        assert!(lets("10.2.0.1", true));
    }
}
