//! Rules are made, changed and removed, by what people say of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;

use crate::admin::error::Problem;
use crate::admin::extract::{Given, Named};
use crate::admin::groups::who;
use crate::admin::rules::{effect, look, named, told};
use crate::admin::updates::ask;
use crate::admin::view::rules as view;
use crate::admin::{Caller, Handles};
use crate::jobs::rules::Which;
use crate::model::deployment::rules::{ReadyMade, Ring, Rule, Stop, Takes};
use crate::model::filter::Tree;
use crate::model::update::{Severity, UpdateId};
use crate::store::approvals::Tree as Groups;
use crate::store::rules::{Event, Kept};

/// Days between rings where nobody says how many: a week brings most machines to scan and to restart.
const BETWEEN: u32 = 7;
/// Where a rule with several rings goes no further unless somebody says otherwise.
const STOP: Stop = Stop { percent: 10, sample: 10 };
/// The word that takes a severity away.
const ANY: &str = "any";

fn problem(title: impl Into<String>, next: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, next)
}

/// The rings that are asked for; `between` where a further one says nothing of days.
fn rings(tree: &Groups, asked: &[view::RingRequest], between: u32) -> Result<Vec<Ring>, Problem> {
    let ring = |(at, ring): (usize, &view::RingRequest)| {
        let after = ring.after_days.unwrap_or(if at == 0 { 0 } else { between });
        Ok(Ring { target: who::group(tree, &ring.group)?, after })
    };
    asked.iter().enumerate().map(ring).collect()
}

fn classifications(tree: &Tree, names: &[String]) -> Result<BTreeSet<UpdateId>, Problem> {
    let found = names.iter().filter_map(|name| ask::classification(tree, Some(name)).transpose());
    found.collect()
}

/// Families and companies stay what they are: a product that comes below one later belongs to the rule too.
fn products(tree: &Tree, names: &[String]) -> Result<BTreeSet<UpdateId>, Problem> {
    let next = "`waystation filters list --available` shows what the catalog has";
    names.iter().map(|name| tree.product(name).map_err(|error| problem(error.to_string(), next))).collect()
}

/// What is given takes the place of what the rule has.
fn apply(rule: &mut Rule, tree: &Tree, like: &view::Like) -> Result<(), Problem> {
    if let Some(names) = &like.classifications {
        rule.takes.classifications = classifications(tree, names)?;
    }
    if let Some(names) = &like.products {
        rule.takes.products = products(tree, names)?;
    }
    if let Some(text) = &like.severity {
        let is_any = text.trim().eq_ignore_ascii_case(ANY);
        rule.takes.severity = if is_any { Severity::Unspecified } else { ask::severity(text)? };
    }
    let days = |days: u32| (days > 0).then_some(days);
    if let Some(newest) = like.newest_days {
        rule.takes.newest = days(newest);
    }
    if let Some(deadline) = like.deadline_days {
        rule.deadline = days(deadline);
    }
    if like.no_stop {
        if like.stop_percent.is_some() || like.stop_sample.is_some() {
            return Err(Problem::malformed("say where it stops, or that it stops at nothing, and not both"));
        }
        rule.stop = None;
    } else if like.stop_percent.is_some() || like.stop_sample.is_some() {
        let before = rule.stop.unwrap_or(STOP);
        let (percent, sample) =
            (like.stop_percent.unwrap_or(before.percent), like.stop_sample.unwrap_or(before.sample));
        rule.stop = Some(Stop { percent, sample });
    }
    if let Some(enabled) = like.enabled {
        rule.enabled = enabled;
    }
    Ok(())
}

fn refused(error: &crate::model::deployment::rules::Error) -> Problem {
    problem(error.to_string(), "correct that; nothing was changed")
}

/// What should be known of a rule as it is now.
fn warnings(rule: &Rule) -> Vec<String> {
    let mut notes = Vec::new();
    if rule.deadline.is_some() {
        notes.push(
            "by a deadline servers install too, whatever they do then, and restart where an update wants that: leave it out for groups \
             that have servers"
                .to_owned(),
        );
    }
    if rule.rings.len() > 1 && rule.stop.is_none() {
        notes.push(
            "it stops at no failures: --stop-percent has it go no further where too many machines failed".to_owned(),
        );
    }
    notes
}

async fn changed(handles: &Handles, kept: &Kept) -> Result<Json<view::Changed>, Problem> {
    handles.jobs.rules_changed();
    let looked = look(handles, Which { rule: Some(kept.number), disabled: true, detailed: false }).await?;
    let categories = handles.store.catalog().tree().await?;
    let mut notes = warnings(&kept.rule);
    notes.extend(told::notes(&looked));
    notes.extend(told::small_pilots(handles, &looked).await?);
    let rule = looked.rules.first().map(|of| told::rule(&looked, &categories, of));
    let effect = if kept.rule.enabled {
        format!("a running node begins with it at once; {}", effect())
    } else {
        "it is switched off: `waystation rules preview` tells what it would do, `waystation rules enable` switches it on"
            .to_owned()
    };
    Ok(Json(view::Changed { rule, effect, notes }))
}

/// `POST /api/v1/rules`.
pub async fn add(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(asked): Given<view::AddRequest>,
) -> Result<Json<view::Changed>, Problem> {
    let tree = handles.store.approvals().tree().await?;
    let categories = handles.store.catalog().tree().await?;
    if asked.rings.is_empty() {
        return Err(problem(
            "the rule has no rings: nobody would get anything by it",
            "name groups in the order in which they are to get updates; `waystation groups list` shows the groups",
        ));
    }
    let mut rule = if let Some(word) = &asked.ready_made {
        let ready = ReadyMade::ALL.into_iter().find(|ready| ready.word().eq_ignore_ascii_case(word.trim()));
        let ready = ready.ok_or_else(|| {
            let words: Vec<&str> = ReadyMade::ALL.into_iter().map(ReadyMade::word).collect();
            Problem::malformed(format!("ready_made: {word:?} is none of {}", words.join(", ")))
        })?;
        let between = if ready == ReadyMade::Definitions { 0 } else { BETWEEN };
        Rule { rings: rings(&tree, &asked.rings, between)?, ..ready.rule(&[]) }
    } else {
        let rings = rings(&tree, &asked.rings, BETWEEN)?;
        let stop = (rings.len() > 1).then_some(STOP);
        Rule { name: String::new(), enabled: true, takes: Takes::default(), rings, stop, deadline: None }
    };
    if let Some(name) = asked.name {
        rule.name = name;
    }
    apply(&mut rule, &categories, &asked.like)?;
    rule.check().map_err(|error| refused(&error))?;
    let kept = handles.store.rules().add(rule, by.clone()).await?;
    tracing::info!(by, rule = kept.rule.name, "a rule was added");
    changed(&handles, &kept).await
}

/// `POST /api/v1/rules/{name}`.
pub async fn set(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Named(name): Named<String>,
    Given(asked): Given<view::ChangeRequest>,
) -> Result<Json<view::Changed>, Problem> {
    let tree = handles.store.approvals().tree().await?;
    let categories = handles.store.catalog().tree().await?;
    let rules = handles.store.rules().all().await?;
    let before = named(&rules, &name)?.clone();
    let mut rule = before.rule.clone();
    if let Some(name) = asked.name {
        rule.name = name;
    }
    if let Some(asked) = &asked.rings {
        rule.rings = rings(&tree, asked, BETWEEN)?;
    }
    apply(&mut rule, &categories, &asked.like)?;
    rule.check().map_err(|error| refused(&error))?;
    let is_switch = Rule { enabled: rule.enabled, ..before.rule.clone() } == rule;
    let event = match (is_switch, rule.enabled) {
        (true, true) => Event::Enabled,
        (true, false) => Event::Disabled,
        (false, _) => Event::Changed,
    };
    let text = differs(&before.rule, &rule);
    let is_other = before.rule != rule;
    let kept = handles.store.rules().put(before, rule, by.clone(), event, text).await?;
    if is_other {
        tracing::info!(by, rule = kept.rule.name, event = event.word(), "a rule was changed");
    }
    changed(&handles, &kept).await
}

/// What is another one than before, for the history.
fn differs(before: &Rule, after: &Rule) -> String {
    let parts = [
        (before.name != after.name, "name"),
        (before.takes.classifications != after.takes.classifications, "classifications"),
        (before.takes.products != after.takes.products, "products"),
        (before.takes.severity != after.takes.severity, "severity"),
        (before.takes.newest != after.takes.newest, "age"),
        (before.rings != after.rings, "rings"),
        (before.stop != after.stop, "stop"),
        (before.deadline != after.deadline, "deadline"),
    ];
    let parts: Vec<&str> = parts.into_iter().filter_map(|(is_other, what)| is_other.then_some(what)).collect();
    if before.name == after.name {
        parts.join(", ")
    } else {
        format!("{}; it was called {:?}", parts.join(", "), before.name)
    }
}

/// `DELETE /api/v1/rules/{name}`.
pub async fn remove(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Named(name): Named<String>,
) -> Result<Json<view::Changed>, Problem> {
    let rules = handles.store.rules().all().await?;
    let kept = named(&rules, &name)?;
    handles.store.rules().remove(kept.number, by.clone()).await?;
    tracing::info!(by, rule = kept.rule.name, "a rule was removed");
    handles.jobs.rules_changed();
    Ok(Json(view::Changed {
        rule: None,
        effect: "what it approved stays approved: `waystation approvals list` shows it, `waystation approvals withdraw` takes it back"
            .to_owned(),
        notes: vec![],
    }))
}

/// `GET /api/v1/rule-ready-made`.
pub async fn ready_made() -> Json<view::ReadyMade> {
    let row = |ready: ReadyMade| view::Ready {
        word: ready.word().to_owned(),
        name: ready.rule(&[]).name,
        about: ready.about().to_owned(),
    };
    Json(view::ReadyMade { rows: ReadyMade::ALL.into_iter().map(row).collect() })
}
