//! The path tests of `doctor` against the sync services that runs and comparisons ask.

use crate::model::report::{Finding, Verdict};
use crate::sync::{Runner, Source};
use crate::upstream::wsus::Wsus;

impl Runner {
    /// Tests the way to the service that runs ask, and to Microsoft's where a comparison with it would mean something. With
    /// addresses, to those alone of the services that they mean.
    pub async fn doctor(&self, named: &[String]) -> Vec<Finding> {
        let is_meant = |wsus: &Wsus| named.is_empty() || named.iter().any(|address| wsus.is_meant(address));
        let mut found = Vec::new();
        match &self.shared.source {
            Source::Service(wsus) if is_meant(wsus) => found = wsus.probe().await,
            Source::Parent(above) if named.is_empty() => found = above.doctor().await,
            Source::Service(_) | Source::Parent(_) => {}
        }
        let Some(microsoft) = self.compared_with().filter(|microsoft| is_meant(microsoft)) else { return found };
        for mut finding in microsoft.probe().await {
            // Nothing else asks there: a site that never compares needs no way to it.
            if finding.verdict == Verdict::Bad && named.is_empty() {
                finding.verdict = Verdict::Note;
                finding.advice.push_str("; only `waystation sync crosscheck` asks there");
            }
            found.push(finding);
        }
        found
    }

    /// The same of the service alone that runs ask.
    pub async fn doctor_upstream(&self) -> Vec<Finding> {
        match &self.shared.source {
            Source::Service(wsus) => wsus.probe().await,
            Source::Parent(above) => above.doctor().await,
        }
    }

    /// Whether an address means one of these services.
    pub fn is_service(&self, address: &str) -> bool {
        let is_meant = |wsus: &Wsus| wsus.is_meant(address);
        self.shared.service().is_some_and(is_meant) || self.compared_with().is_some_and(is_meant)
    }

    /// Microsoft's catalog, where there is something that nobody vouches for and that can be held against it.
    fn compared_with(&self) -> Option<&Wsus> {
        if self.shared.upstream.unauthenticated { self.comparable().ok() } else { None }
    }
}
