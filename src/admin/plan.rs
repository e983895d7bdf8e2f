//! `/api/v1/plan` and `/api/v1/prefetch`: what the content policy wants, the agreement that the mode `all` waits for, and the job that
//! brings what is missing.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;

use crate::admin::error::Problem;
use crate::admin::extract::Asked;
use crate::admin::view::policy as view;
use crate::admin::view::{Started, Time};
use crate::admin::{Caller, Handles};
use crate::jobs::content::{Agreement, Plan, Sum, Tally};
use crate::jobs::work::Work;
use crate::model::policy::{Mode, Written, level_of_word, level_word};
use crate::model::update::Severity;
use crate::pace::{Class, Limit};
use crate::store::Space;

/// What is told where no limit is set: 100 Mbit/s, in bytes a second.
const EXAMPLE: u64 = 12_500_000;

const CONFIRM: &str = "`waystation plan` shows what it comes to, `waystation plan --confirm` agrees to it";

/// Which policy is meant; what is not given is as it is set.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    policy: Option<String>,
    severity: Option<String>,
}

impl Ask {
    fn policy(&self, set: Written) -> Result<Option<Written>, Problem> {
        if self.policy.is_none() && self.severity.is_none() {
            return Ok(None);
        }
        let mut other = set;
        if let Some(word) = &self.policy {
            let known = "metadata, approved, asked, severity or all";
            other.choice.mode = Mode::of_word(word)
                .ok_or_else(|| Problem::malformed(format!("policy: {:?} is none of {known}", shown(word))))?;
        }
        if let Some(word) = &self.severity {
            let known = "low, moderate, important or critical";
            other.choice.level = level_of_word(word)
                .ok_or_else(|| Problem::malformed(format!("severity: {:?} is none of {known}", shown(word))))?;
        }
        Ok(Some(other))
    }
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// `GET /api/v1/plan`: counted now. With `policy` or `severity` what these would want.
pub async fn show(State(handles): State<Arc<Handles>>, Asked(ask): Asked<Ask>) -> Result<Json<view::Plan>, Problem> {
    let set = handles.jobs.content_policy();
    let plan = handles.jobs.plan(ask.policy(set)?).await?;
    Ok(Json(present(&handles, &plan)))
}

/// `POST /api/v1/plan/confirm`.
pub async fn confirm(State(handles): State<Arc<Handles>>, Caller(by): Caller) -> Result<Json<view::Plan>, Problem> {
    let plan = handles.jobs.confirm_plan(&by).await?;
    Ok(Json(present(&handles, &plan)))
}

/// `GET /api/v1/prefetch`.
pub async fn prefetch(State(handles): State<Arc<Handles>>) -> Result<Json<view::ContentState>, Problem> {
    if handles.jobs.last_plan().is_none() {
        handles.jobs.plan(None).await?;
    }
    Ok(Json(state(&handles)))
}

/// `POST /api/v1/prefetch/start`: the prefetch is a job.
pub async fn start(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
) -> Result<(StatusCode, Json<Started>), Problem> {
    let job = handles.jobs.start(Work::Prefetch, &by)?;
    Ok((StatusCode::ACCEPTED, Json(Started { job })))
}

/// `POST /api/v1/prefetch/stop`: what has arrived stays.
pub async fn stop(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
) -> Result<Json<view::PrefetchStopped>, Problem> {
    Ok(Json(view::PrefetchStopped { job: handles.jobs.stop_prefetch(&by)? }))
}

fn sum(sum: Sum) -> view::Sum {
    view::Sum { files: sum.files, bytes: sum.bytes }
}

/// A policy in the words of the API.
fn policy(policy: &Written) -> view::Policy {
    view::Policy {
        mode: policy.choice.mode.word().to_owned(),
        severity: level_word(policy.choice.level).to_owned(),
        rules: policy.rules.iter().map(ToString::to_string).collect(),
        decline_expired: policy.decline_expired,
        decline_superseded: policy.decline_superseded,
    }
}

/// A policy in one line.
fn in_short(policy: &Written) -> String {
    match policy.rules.len() {
        0 => policy.choice.to_string(),
        1 => format!("{}, and a rule", policy.choice),
        many => format!("{}, and {many} rules", policy.choice),
    }
}

/// What somebody must do before more is brought.
fn waits(agreement: &Agreement) -> Option<String> {
    match agreement {
        Agreement::NotNeeded | Agreement::Given(_) => None,
        Agreement::Missing => {
            Some(format!("the policy \"all\" is not confirmed, and is as \"asked\" until then: {CONFIRM}"))
        }
        Agreement::Outgrown(_) => Some(format!(
            "what the policy \"all\" wants has grown far beyond what was confirmed, and it is as \"asked\" until then: {CONFIRM}"
        )),
    }
}

/// How the content policy stands, as of the last count.
pub(super) fn state(handles: &Handles) -> view::ContentState {
    let set = handles.jobs.content_policy();
    let prefetching = handles.jobs.prefetching();
    let plan = handles.jobs.last_plan();
    let now = plan.as_ref().map_or_else(Tally::default, |plan| plan.now);
    view::ContentState {
        policy: in_short(&set),
        counted_at: plan.as_ref().map(|plan| Time(plan.at)),
        wanted: sum(now.wanted),
        held: sum(now.held),
        missing: sum(now.missing()),
        job: prefetching.running,
        last_job: prefetching.last,
        waits: plan.as_ref().and_then(|plan| waits(&plan.agreement)),
    }
}

/// What the store can hold, and whether this fits in.
fn room(space: &Space, wanted: u64) -> view::Room {
    let reach = space.used().saturating_add(space.disk_free.saturating_sub(space.min_free)).min(space.max_size);
    view::Room { max_size: space.max_size, reach, used: space.used(), fits: wanted <= reach }
}

/// How long it takes at the limits of the site's link and of what nobody waits for.
fn times(handles: &Handles, bytes: u64) -> Vec<view::Takes> {
    let report = handles.bandwidth.governor.report();
    let at = |class: String, limit: String, rate: Option<u64>| view::Takes {
        class,
        limit,
        bytes_per_s: rate,
        seconds: rate.map(|rate| bytes.div_ceil(rate.max(1))),
    };
    let wanted = |class: Class| matches!(class, Class::Upstream | Class::Prefetch);
    let mut times: Vec<view::Takes> = report
        .classes
        .iter()
        .filter(|class| wanted(class.class) && class.standing.limit != Limit::Unlimited)
        .map(|class| {
            at(class.class.word().to_owned(), class.standing.explain(&report.zone), class.standing.limit.rate())
        })
        .collect();
    if times.is_empty() {
        times.push(at("example".to_owned(), "100 Mbit/s".to_owned(), Some(EXAMPLE)));
    }
    times
}

fn groups(groups: &[(String, Tally)]) -> Vec<view::Group> {
    let group = |(name, tally): &(String, Tally)| view::Group {
        name: name.clone(),
        wanted: sum(tally.wanted),
        missing: sum(tally.missing()),
    };
    groups.iter().map(group).collect()
}

fn present(handles: &Handles, plan: &Plan) -> view::Plan {
    let is_set = plan.policy == handles.jobs.content_policy();
    let (agreement, confirmed) = match &plan.agreement {
        Agreement::NotNeeded => ("not-needed", None),
        Agreement::Given(confirmed) => ("given", Some(confirmed)),
        Agreement::Missing => ("missing", None),
        Agreement::Outgrown(confirmed) => ("outgrown", Some(confirmed)),
    };
    let room = room(&plan.space, plan.all.wanted.bytes);
    let next = if !is_set {
        Some(format!(
            "this policy is not set; [content] policy = \"{}\"{} sets it, and a reload (SIGHUP) takes it",
            plan.policy.choice.mode.word(),
            if plan.policy.choice.mode == Mode::Severity && plan.policy.choice.level != Severity::Unspecified {
                format!(" and severity = \"{}\"", level_word(plan.policy.choice.level))
            } else {
                String::new()
            }
        ))
    } else if plan.agreement.is_awaited() {
        Some(if room.fits {
            "nothing of \"all\" is fetched before `waystation plan --confirm` agrees to this".to_owned()
        } else {
            "raise store.max_size or narrow filters and rules; then `waystation plan --confirm` agrees to it".to_owned()
        })
    } else if !room.fits {
        Some("raise store.max_size, or narrow filters and rules: what has no room is not fetched".to_owned())
    } else {
        None
    };
    view::Plan {
        policy: policy(&plan.policy),
        is_set,
        left_out: plan.left_out.clone(),
        counted_at: Time(plan.at),
        updates: plan.updates,
        incomplete: plan.incomplete,
        wanted: sum(plan.all.wanted),
        held: sum(plan.all.held),
        missing: sum(plan.all.missing()),
        missing_now: sum(plan.now.missing()),
        agreement: agreement.to_owned(),
        confirmed: confirmed.map(|confirmed| view::Confirmed {
            sum: sum(confirmed.sum),
            by: confirmed.by.clone(),
            at: Time(confirmed.at),
        }),
        by_classification: groups(&plan.by_classification),
        by_product: groups(&plan.by_product),
        room,
        times: times(handles, plan.all.missing().bytes),
        next,
    }
}
