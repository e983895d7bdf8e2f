//! The path to each origin, as a support call needs it: the upstream of the configuration, one example host of each
//! family on the allow-list, or the addresses given. Below a WSUS only what is configured: Microsoft's own hosts need not be
//! reachable there.

use crate::fill::inner::Inner;
use crate::fill::pump::host_of;
use crate::fill::rules;
use crate::model::origin::Host;
use crate::model::payload::{Location, Standing};
use crate::model::report::{Finding, Verdict};
use crate::upstream::Object;

/// Addresses that one call tests at most: each takes seconds where the path is broken.
const URLS_MAX: usize = 32;

/// A small file of the self-update tree that many WSUS servers have beside their services (for MS-WUSP clients of Windows 8.1
/// and older); where there is none, nothing is wrong.
const WSUS_OBJECT: &str = "/SelfUpdate/wuident.cab";

impl Inner {
    pub(super) async fn doctor(&self, urls: Vec<String>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut locations: Vec<(Location, Object)> = Vec::new();
        if urls.is_empty() {
            locations.extend(self.above());
            // What an administrator put on the list, as far as it names hosts: somebody is meant to be asked there.
            let configured = self.allow.configured_hosts();
            let configured = configured.iter().filter_map(|url| self.allowed(&format!("{url}/")).ok());
            // The upstream is on its own list already, whatever else names it.
            let configured = configured.filter(|location| location.standing != Standing::Upstream);
            locations.extend(configured.map(|location| (location, Object::Perhaps)));
            // A site below a WSUS may have no way to Microsoft, and needs none for what it asks there.
            if !self.config.upstream_is_wsus {
                let known: Vec<String> =
                    locations.iter().map(|(location, _)| host_of(&location.url).to_owned()).collect();
                let examples = rules::EXAMPLES.iter().filter_map(|url| self.allowed(url).ok());
                let examples = examples.filter(|location| !known.iter().any(|host| host == host_of(&location.url)));
                locations.extend(examples.map(|location| (location, Object::Known)));
            }
            if locations.is_empty() {
                findings.push(skipped(
                    "origins",
                    "the allow-list lets nobody be asked",
                    "add entries to [origins] allow",
                ));
            }
        }
        for url in urls.iter().take(URLS_MAX) {
            match self.allowed(url) {
                Ok(location) => locations.push((location, Object::Named)),
                Err(why) => {
                    let advice = if why.contains("allow-list") {
                        "add the host to [origins] allow in the configuration if it may be asked, or correct the address"
                    } else {
                        "give an absolute URL, with http:// or https://"
                    };
                    findings.push(skipped(url, &why, advice));
                }
            }
        }
        if urls.len() > URLS_MAX {
            let seen = format!("{} addresses beyond the first {URLS_MAX}", urls.len() - URLS_MAX);
            findings.push(skipped("origins", &seen, "test them in a second call"));
        }
        for (location, object) in &locations {
            findings.extend(self.source.probe(location, *object).await);
        }
        findings
    }

    /// The same of the upstream alone, where content comes from it.
    pub(super) async fn doctor_upstream(&self) -> Vec<Finding> {
        match self.above() {
            Some((location, object)) => self.source.probe(&location, object).await,
            None => Vec::new(),
        }
    }

    /// What is asked of the upstream of the configuration.
    fn above(&self) -> Option<(Location, Object)> {
        let above = self.config.upstream.clone()?;
        Some(match above {
            // Without an object neither ranges nor bodies can be tested. Its sync service is tested by who speaks with it.
            Location { url, standing } if self.config.upstream_is_wsus => {
                let url = format!("{}{WSUS_OBJECT}", url.trim_end_matches('/'));
                (Location { url, standing }, Object::Perhaps)
            }
            other => (other, Object::Perhaps),
        })
    }

    /// The location of an absolute URL, if its host may be asked.
    fn allowed(&self, text: &str) -> Result<Location, String> {
        let url = url::Url::parse(text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{:?} is neither http nor https", url.scheme()));
        }
        if let Some(upstream) = &self.config.upstream
            && url::Url::parse(&upstream.url).is_ok_and(|known| known.origin() == url.origin())
        {
            return Ok(Location { url: url.into(), standing: Standing::Upstream });
        }
        let host = url.host_str().ok_or_else(|| format!("{text:?} names no host"))?;
        let host = Host::parse(host.trim_matches(['[', ']'])).map_err(|error| error.to_string())?;
        match self.allow.permit(&host, url.port()) {
            Some(_) => Ok(Location { url: url.into(), standing: Standing::Allowed }),
            None => Err(format!("{:?} is not on the allow-list", host.as_str())),
        }
    }
}

fn skipped(subject: &str, seen: &str, advice: &str) -> Finding {
    Finding {
        subject: subject.chars().take(200).collect(),
        check: "address".to_owned(),
        verdict: Verdict::Skipped,
        seen: seen.to_owned(),
        advice: advice.to_owned(),
    }
}
