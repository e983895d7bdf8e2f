//! `/api/v1/rules`: rules that approve by themselves, what they are at and what they would do.
//!
//! 1. A rule is found by its name ([`named`]); what a person says of it becomes a rule in [`change`], with groups, classifications and
//!    products by the names that they have.
//! 2. The store keeps it, or refuses what cannot be one in the rule's own words; then the rules are looked at, by themselves.
//! 3. What a rule is at is made out by `jobs` as a run would, and told in [`told`].

mod change;
mod told;

pub use self::change::{add, ready_made, remove, set};

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;

use crate::admin::error::Problem;
use crate::admin::extract::{Asked, Given, Named};
use crate::admin::groups::EFFECT;
use crate::admin::updates::find;
use crate::admin::view::{Time, rules as view};
use crate::admin::{Caller, Handles};
use crate::jobs::rules::{Looked, Which};
use crate::model::update::UpdateId;
use crate::store::rules::{Kept, Line};

/// Rows unless asked otherwise, and the most.
const ROWS: usize = 100;
const ROWS_MAX: usize = 10_000;
/// Lines of the history that are shown with a rule.
const HISTORY: usize = 50;
/// Updates that are named in one request.
const NAMES_MAX: usize = 1_000;

/// When what rules approve takes effect.
fn effect() -> String {
    format!("what it approves {EFFECT}")
}

/// The rule of a name, in any case, or of a beginning that only one has.
fn named<'a>(rules: &'a [Kept], name: &str) -> Result<&'a Kept, Problem> {
    let folded = name.trim().to_lowercase();
    let called = |kept: &&Kept| kept.rule.name.to_lowercase() == folded;
    if let Some(found) = rules.iter().find(called) {
        return Ok(found);
    }
    let begins = |kept: &&Kept| !folded.is_empty() && kept.rule.name.to_lowercase().starts_with(&folded);
    let found: Vec<&Kept> = rules.iter().filter(begins).collect();
    let shown: String = name.chars().take(80).collect();
    let next = "`waystation rules list` shows the rules";
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(Problem::new(StatusCode::NOT_FOUND, format!("no rule is called {shown:?}"), next)),
        several => {
            let names: Vec<String> = several.iter().take(5).map(|kept| format!("{:?}", kept.rule.name)).collect();
            let title = format!("several rules begin with {shown:?}: {}", names.join(", "));
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, next))
        }
    }
}

async fn look(handles: &Handles, which: Which) -> Result<Looked, Problem> {
    // It goes through what is offered, and through machines: one asker at a time.
    let _turn = handles.turns.listing.acquire().await;
    Ok(handles.jobs.look_at_rules(which).await?)
}

fn line(line: Line) -> view::Line {
    let Line { at, name, event, by, text, .. } = line;
    view::Line { at: Time(at), rule: name, event: event.word().to_owned(), by, text }
}

/// `GET /api/v1/rules`.
pub async fn list(State(handles): State<Arc<Handles>>) -> Result<Json<view::Rules>, Problem> {
    let looked = look(&handles, Which { disabled: true, ..Which::default() }).await?;
    let categories = handles.store.catalog().tree().await?;
    let rows = looked.rules.iter().map(|of| told::rule(&looked, &categories, of)).collect();
    let standing = handles.jobs.rules_standing();
    let notes = told::small_pilots(&handles, &looked).await?;
    Ok(Json(view::Rules {
        rows,
        looked_at: standing.looked.map(Time),
        next_at: standing.next.map(Time),
        failed: standing.failed,
        notes,
    }))
}

/// How much is told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Rows wanted.
    limit: Option<usize>,
}

fn rows_of(limit: Option<usize>) -> Result<usize, Problem> {
    match limit.unwrap_or(ROWS) {
        limit if limit > ROWS_MAX => Err(Problem::malformed(format!("limit: {limit} is over {ROWS_MAX}"))),
        limit => Ok(limit),
    }
}

/// `GET /api/v1/rules/{name}`.
pub async fn show(
    State(handles): State<Arc<Handles>>,
    Named(name): Named<String>,
    Asked(ask): Asked<Ask>,
) -> Result<Json<view::Shown>, Problem> {
    let limit = rows_of(ask.limit)?;
    let rules = handles.store.rules().all().await?;
    let number = named(&rules, &name)?.number;
    let looked = look(&handles, Which { rule: Some(number), disabled: true, detailed: true }).await?;
    let mut shown = told::shown(&handles, &looked, limit, |_| true).await?;
    let history = handles.store.rules().history(Some(number), HISTORY).await?;
    shown.history = history.into_iter().map(line).collect();
    Ok(Json(shown))
}

/// What a preview can be asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviewAsk {
    /// Only this rule, whether it is on or off; else all that are on.
    rule: Option<String>,
    /// Rows wanted.
    limit: Option<usize>,
}

/// `GET /api/v1/rule-preview`.
pub async fn preview(
    State(handles): State<Arc<Handles>>,
    Asked(ask): Asked<PreviewAsk>,
) -> Result<Json<view::Shown>, Problem> {
    let limit = rows_of(ask.limit)?;
    let mut which = Which { detailed: true, ..Which::default() };
    if let Some(name) = &ask.rule {
        let rules = handles.store.rules().all().await?;
        which = Which { rule: Some(named(&rules, name)?.number), disabled: true, ..which };
    }
    let looked = look(&handles, which).await?;
    Ok(Json(told::shown(&handles, &looked, limit, told::comes).await?))
}

/// `GET /api/v1/rule-history`.
pub async fn history(
    State(handles): State<Arc<Handles>>,
    Asked(ask): Asked<Ask>,
) -> Result<Json<view::History>, Problem> {
    let lines = handles.store.rules().history(None, rows_of(ask.limit)?).await?;
    Ok(Json(view::History { rows: lines.into_iter().map(line).collect() }))
}

/// `POST /api/v1/rules/{name}/resume`.
pub async fn resume(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Named(name): Named<String>,
    Given(asked): Given<view::ResumeRequest>,
) -> Result<Json<view::Resumed>, Problem> {
    if asked.updates.len() > NAMES_MAX {
        return Err(Problem::malformed(format!("{} updates are more than {NAMES_MAX}", asked.updates.len())));
    }
    let rules = handles.store.rules().all().await?;
    let kept = named(&rules, &name)?;
    let mut ids: BTreeSet<UpdateId> = BTreeSet::new();
    for name in &asked.updates {
        let found = find::approvable(&handles.store.catalog(), name).await?;
        ids.extend(found.iter().map(|short| short.identity.id));
    }
    let resumed = handles.jobs.resume_rule(kept, ids, &by).await?;
    if resumed.stopped.is_empty() && resumed.held.is_empty() {
        let title = format!("the rule {:?} is neither stopped nor held with any of these", kept.rule.name);
        let next = "`waystation rules show` tells what it is at";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, next));
    }
    tracing::info!(by, rule = kept.rule.name, updates = resumed.stopped.len() + resumed.held.len(), "a rule goes on");
    let texts = |ids: Vec<UpdateId>| ids.iter().map(ToString::to_string).collect();
    let (stopped, held) = (texts(resumed.stopped), texts(resumed.held));
    Ok(Json(view::Resumed { stopped, held, effect: effect() }))
}

/// `POST /api/v1/rule-runs`.
pub async fn run(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(asked): Given<view::RunRequest>,
) -> Result<Json<view::Ran>, Problem> {
    let rules = handles.store.rules().all().await?;
    let rule = asked.rule.as_deref().map(|name| named(&rules, name)).transpose()?;
    if let Some(off) = rule.filter(|kept| !kept.rule.enabled) {
        let title = format!("the rule {:?} is switched off", off.rule.name);
        let next = "`waystation rules enable` switches it on; `waystation rules preview` tells what it would do";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, next));
    }
    if rules.iter().all(|kept| !kept.rule.enabled) {
        let next =
            "`waystation rules add` makes one, `waystation rules ready-made` shows those that need not be written";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no rule is switched on", next));
    }
    let number = rule.map(|kept| kept.number);
    let job = handles.jobs.run_rules(number, &by).await?;
    let looked = look(&handles, Which { rule: number, ..Which::default() }).await?;
    Ok(Json(view::Ran {
        job: job.id,
        state: job.state.word().to_owned(),
        result: job.result.unwrap_or_default(),
        rows: job.lines.into_iter().map(|line| view::RanAt { update: line.item, text: line.text }).collect(),
        effect: effect(),
        notes: told::notes(&looked),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Timestamp;
    use crate::model::deployment::rules::Rule;

    #[test]
    fn a_rule_is_found_by_its_name_or_a_beginning_that_only_one_has() {
        let kept = |number, name: &str| Kept {
            number,
            rule: Rule { name: name.to_owned(), ..Rule::patch_tuesday(&[]) },
            made: (String::new(), Timestamp::default()),
            changed: (String::new(), Timestamp::default()),
            revision: 1,
        };
        let rules = [kept(1, "Servers"), kept(2, "Servers later"), kept(3, "Patch Tuesday")];
        let found = |name: &str| named(&rules, name).map(|kept| kept.number).map_err(|problem| problem.view());
        assert_eq!([found(" servers"), found("patch"), found("servers l")], [Ok(1), Ok(3), Ok(2)]);
        assert!(found("serv").unwrap_err().title.contains("several rules begin with"));
        assert_eq!([found("x").unwrap_err().status, found("").unwrap_err().status], [404, 404]);
    }
}
