//! Rules that approve by themselves ([`crate::model::deployment::rules`]): what they would do is made out, and done.
//!
//! 1. A cause (the end of a run of the catalog, a change of rules, groups, reviews or licences, the time) makes the clock look ([`clock`]);
//!    where there is anything to do, a job begins.
//! 2. A look ([`look`]) asks the catalog for what each rule is about, the store for what was said of that and how far the rule has come,
//!    and, where a ring would follow others, the endpoints' reports for what came of it there ([`tried`]). Nothing is changed by it, so
//!    that a preview is the same as what a run would do.
//! 3. What it comes to is written in small transactions ([`write`]), each step of a rule whole with the approvals that come of it. What
//!    somebody said meanwhile makes the store leave a step out; the next look sees why.
//! 4. What happened is told: the job's lines, the log, the history of the rules, and for rules that stopped the webhook.
//!
//! What holds: a second run with nothing new writes nothing; a run that was cut off is gone on with by the next one; no rule says
//! anything for whom a person said something.

pub(in crate::jobs) mod clock;
mod look;
mod tried;
mod value;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::base::time::Timestamp;
use crate::fleet::compliance::Compliance;
use crate::jobs::board::{Record, View};
use crate::jobs::error::Error;
use crate::jobs::work::Work;
use crate::jobs::{Jobs, Shared};
use crate::model::update::UpdateId;
use crate::store::rules::Kept;

pub use crate::jobs::rules::value::{Looked, Of, Row, Waits};
pub use crate::jobs::rules::write::Resumed;

/// How long whoever asks for a run waits for its end.
const PATIENCE: Duration = Duration::from_secs(40);

/// How the rules stand beside what is kept of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// When it was last looked what there is to do.
    pub looked: Option<Timestamp>,
    /// When it is looked again, at the latest.
    pub next: Option<Timestamp>,
    /// Why the last look or run did not end well; `None` where it did.
    pub failed: Option<String>,
}

/// What this room remembers of the rules from one run to the next.
#[derive(Debug, Default)]
pub(in crate::jobs) struct Ruling {
    /// What endpoints reported.
    reported: OnceLock<Compliance>,
    /// Rises with everything that may give the rules something to do.
    causes: watch::Sender<u64>,
    standing: Mutex<Standing>,
}

impl Ruling {
    fn standing(&self) -> std::sync::MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// The rules may have something to do now.
    pub(in crate::jobs) fn rules_due(&self) {
        self.ruling.causes.send_modify(|cause| *cause += 1);
    }

    /// What endpoints reported. Without a face that takes reports it is what is kept of them.
    fn reported(&self) -> &Compliance {
        self.ruling.reported.get_or_init(|| Compliance::new(&self.store))
    }
}

/// Which rules are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Only the one with this number.
    pub rule: Option<u32>,
    /// Also what is switched off, as if it were on.
    pub disabled: bool,
    /// Also what was reported of updates of which nothing depends on it.
    pub detailed: bool,
}

impl Jobs {
    /// Says whose reports count: for the rules, what failed; for what comes by itself, what endpoints miss. Once, before anything is asked
    /// of either and before the housekeeping begins.
    pub fn judge_by(&self, reported: Compliance) {
        // A second one would hear of nothing that the first one is told; it is left out.
        let _ = self.shared.drawing.reports.set(reported.clone());
        let _ = self.shared.ruling.reported.set(reported);
    }

    /// A person changed something that rules go by: rules, groups, reviews, licences, decisions.
    pub fn rules_changed(&self) {
        self.shared.rules_due();
    }

    /// What the rules would do now, and how far each has come. Changes nothing.
    pub async fn look_at_rules(&self, which: Which) -> Result<Looked, Error> {
        self.shared.look_at_rules(which).await
    }

    /// Of each rule that was looked at and stops at failures, by its number: the established machines of all rings before each further one.
    pub async fn pilots(&self, looked: &Looked) -> Result<BTreeMap<u32, Vec<u32>>, Error> {
        tried::pilots(&self.shared, looked).await
    }

    /// Has the rules do what there is to do, for `by`, and waits for the end; one that takes longer goes on, and its job tells.
    pub async fn run_rules(&self, rule: Option<u32>, by: &str) -> Result<View, Error> {
        let id = self.start(Work::Rules { rule }, by)?;
        self.wait(id, PATIENCE).await.ok_or(Error::Unknown { id })
    }

    /// A person says that a rule goes on with what it stopped at, or with what somebody said otherwise for a ring: with these updates,
    /// or with all of them.
    pub async fn resume_rule(&self, rule: &Kept, updates: BTreeSet<UpdateId>, by: &str) -> Result<Resumed, Error> {
        let resumed = self.shared.resume_rule(rule, &updates, by).await?;
        self.shared.rules_due();
        Ok(resumed)
    }

    /// When it was looked at the rules last, and what came of it.
    pub fn rules_standing(&self) -> Standing {
        self.shared.ruling.standing().clone()
    }
}

/// The job.
pub(in crate::jobs) async fn run(shared: &Shared, record: &Record, rule: Option<u32>) -> Result<String, Error> {
    let done = write::run(shared, record, rule).await;
    let mut standing = shared.ruling.standing();
    standing.failed = done.as_ref().err().map(ToString::to_string);
    done
}
