//! The agreement that the mode `all` waits for: who agreed to how much, and to which policy within which filters.
//!
//! 1. Somebody is shown a plan, and says that he agrees to what he saw ([`Jobs::confirm_plan`]).
//! 2. Where what is wanted has grown far beyond that meanwhile, or the policy is another one, nothing is agreed: he is shown the new plan.
//! 3. What was agreed to is kept with its size and its *terms*, a digest of the policy, its rules and the filters. Under other terms
//!    nobody has agreed, and where what comes grows far beyond it (`model::policy::outgrows`) it waits again.
//! 4. The size is that of what comes by `all` alone ([`Plan::by_all`]): what is approved, severe enough or asked for needs nobody's
//!    consent, and must not hold up what has it.
//! 5. It is forgotten as soon as the policy that is set has no `all` in it: whoever sets that later is asked anew.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::jobs::content::{Plan, Sum};
use crate::jobs::error::Error;
use crate::jobs::{Jobs, Shared};
use crate::model::filter::Filters;
use crate::model::policy::{Written, outgrows};

/// The document in which the confirmation stands.
const CONFIRMED: &str = "content.confirmed";

/// What a person agreed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// How much it was.
    pub sum: Sum,
    /// To which policy, see [`terms`].
    pub terms: String,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Whether the mode `all` holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// The policy has no `all` in it.
    NotNeeded,
    /// It was confirmed.
    Given(Confirmed),
    /// Nobody has confirmed it.
    Missing,
    /// It was, but it has grown far beyond that.
    Outgrown(Confirmed),
}

impl Agreement {
    /// Whether `all` is in force.
    pub fn is_given(&self) -> bool {
        matches!(self, Self::Given(_))
    }

    /// Whether somebody is waited for.
    pub fn is_awaited(&self) -> bool {
        matches!(self, Self::Missing | Self::Outgrown(_))
    }
}

/// What somebody saw before he agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// How much comes by `all`.
    pub sum: Sum,
    /// The terms of the plan.
    pub terms: String,
}

impl Shown {
    /// Of this plan.
    pub fn of(plan: &Plan) -> Self {
        Self { sum: plan.by_all, terms: plan.terms.clone() }
    }

    fn covers(&self, plan: &Plan) -> bool {
        let (shown, now) = (self.sum.bytes, plan.by_all.bytes);
        // One who says that he saw far more than there is saw another plan, or none.
        self.terms == plan.terms && !outgrows(shown, now) && !outgrows(now, shown)
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Confirming {
    /// It is agreed.
    Agreed(Arc<Plan>),
    /// Nothing is: this is what is wanted by now, and it is not what was shown.
    Another(Arc<Plan>),
}

/// A digest of what is agreed to: the policy with its rules, and the filters, where there are any. The same meaning has the same.
pub(in crate::jobs) fn terms(policy: &Written, filters: Option<&Filters>) -> Result<String, Error> {
    let meant = serde_json::to_vec(&(policy.terms(), filters)).map_err(|error| Error::Broken(error.to_string()))?;
    Ok(blake3::hash(&meant).to_hex().to_string())
}

impl Shared {
    /// Whether `all` holds for a policy of these terms, which has it or not, that brings so much by it now.
    pub(in crate::jobs) async fn agreement(&self, has_all: bool, terms: &str, now: Sum) -> Result<Agreement, Error> {
        if !has_all {
            return Ok(Agreement::NotNeeded);
        }
        Ok(match self.confirmed().await? {
            Some(confirmed) if confirmed.terms != terms => Agreement::Missing,
            None => Agreement::Missing,
            Some(confirmed) if outgrows(confirmed.sum.bytes, now.bytes) => Agreement::Outgrown(confirmed),
            Some(confirmed) => Agreement::Given(confirmed),
        })
    }

    async fn confirmed(&self) -> Result<Option<Confirmed>, Error> {
        let record = self.store.document(CONFIRMED).await?;
        // One that cannot be read is none, as is one that does not say what was agreed to: it is asked again.
        Ok(record.and_then(|record| serde_json::from_slice(&record).ok()))
    }

    /// Forgets what was agreed to, unless the policy that is set by now has a use for it. One that cannot be forgotten now is at the
    /// next plan, and under other terms counts for nothing.
    pub(in crate::jobs) async fn forget_agreement(&self) {
        let _agreeing = self.planned.agreeing.lock().await;
        if self.config.content.0().has_all() {
            return;
        }
        let forgotten = async {
            if self.store.document(CONFIRMED).await?.is_none() {
                return Ok(false);
            }
            self.store.set_document(CONFIRMED, None).await.map(|()| true)
        };
        match forgotten.await {
            Ok(true) => tracing::info!("the content policy has no \"all\" any more: what was confirmed is forgotten"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "what was confirmed of the content policy is not forgotten yet"),
        }
    }
}

impl Jobs {
    /// Agrees to what the policy that is set wants, as it was shown, so that the mode `all` holds. Refused where it has no `all`.
    pub async fn confirm_plan(&self, by: &str, shown: &Shown) -> Result<Confirming, Error> {
        let plan = self.plan(None).await?;
        if plan.agreement == Agreement::NotNeeded {
            let what = "there is nothing to confirm: content.policy is not \"all\", and no rule of content.rules is";
            let next = "set [content] policy = \"all\", or a rule such as \"Definition Updates: all\", and look with `waystation plan`";
            return Err(Error::Unset { what, next });
        }
        if !shown.covers(&plan) {
            return Ok(Confirming::Another(plan));
        }
        {
            let _agreeing = self.shared.planned.agreeing.lock().await;
            if self.content_policy().means(&plan.policy) {
                // Nobody agrees to more than he saw, and where he saw more than there is that is no leave for later.
                let sum = if shown.sum.bytes < plan.by_all.bytes { shown.sum } else { plan.by_all };
                let at = self.shared.clock.now();
                let confirmed = Confirmed { sum, terms: plan.terms.clone(), by: by.to_owned(), at };
                let record = serde_json::to_vec(&confirmed).map_err(|error| Error::Broken(error.to_string()))?;
                self.shared.store.set_document(CONFIRMED, Some(record)).await?;
                tracing::info!(by, files = sum.files, bytes = sum.bytes, "the content policy is confirmed");
            }
        }
        let plan = self.plan(None).await?;
        self.content_changed();
        Ok(if plan.agreement.is_given() { Confirming::Agreed(plan) } else { Confirming::Another(plan) })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::policy::{Choice, Mode};
    use crate::model::update::Severity;

    #[test]
    fn other_filters_and_other_rules_are_other_terms() {
        let all = Written { choice: Choice { mode: Mode::All, level: Severity::Critical }, ..Written::default() };
        let ruled = Written { rules: vec!["Drivers: all".parse().unwrap()], ..all.clone() };
        let filters = Filters::default();
        let german = Filters { languages: BTreeSet::from(["de".to_owned()]), ..Filters::default() };
        let told = [
            terms(&all, None).unwrap(),
            terms(&all, Some(&filters)).unwrap(),
            terms(&all, Some(&german)).unwrap(),
            terms(&ruled, Some(&filters)).unwrap(),
        ];
        assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len(), "{told:?}");
        assert_eq!(terms(&all, Some(&Filters::default())).unwrap(), told[1]);
    }

    #[test]
    fn what_was_written_down_without_its_terms_is_no_agreement() {
        let old = br#"{"sum":{"files":1,"bytes":10},"by":"ada","at":1767603600000}"#;
        assert!(serde_json::from_slice::<Confirmed>(old).is_err());
        let new = br#"{"sum":{"files":1,"bytes":10},"terms":"x","by":"ada","at":1767603600000}"#;
        assert!(serde_json::from_slice::<Confirmed>(new).is_ok());
    }
}
