//! `/api/v1/plan` and `/api/v1/prefetch`: what the content policy wants, the agreement that the mode `all` waits for, and the job that
//! brings what is missing.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Deserialize;

use crate::admin::error::Problem;
use crate::admin::extract::{Asked, Given};
use crate::admin::view::policy as view;
use crate::admin::view::{Started, Time};
use crate::admin::{Caller, Handles, drawn};
use crate::jobs::agreement::{Agreement, Confirming, Shown};
use crate::jobs::content::{EMPTY_CATALOG, Plan, Sum, Tally, more_room};
use crate::jobs::work::Work;
use crate::model::policy::{Choice, Mode, Written, level_of_word, level_word};
use crate::model::update::Severity;
use crate::pace::{Class, Limit};
use crate::store::Space;

/// What is told where no limit is set: 100 Mbit/s, in bytes a second.
const EXAMPLE: u64 = 12_500_000;

/// Files that did not match that are named; how many there are is told beside.
const MISMATCHED_MAX: usize = 20;

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
            let level = level_of_word(word);
            let level =
                level.ok_or_else(|| Problem::malformed(format!("severity: {:?} is none of {known}", shown(word))))?;
            if !other.has_level() {
                let mode = other.choice.mode.word();
                let title = format!("severity: the policy {mode:?} does not go by it");
                let next = format!("`waystation plan --policy severity --severity {}` counts it", level_word(level));
                return Err(Problem::new(StatusCode::BAD_REQUEST, title, next));
            }
            other.choice.level = level;
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

/// `POST /api/v1/plan/confirm`: agrees to what was shown. 409 with the plan where that is not what is wanted by now.
pub async fn confirm(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(seen): Given<view::ConfirmRequest>,
) -> Result<Response, Problem> {
    let shown = Shown { sum: Sum { files: seen.files, bytes: seen.bytes }, terms: seen.terms };
    let plan = match handles.jobs.confirm_plan(&by, &shown).await? {
        Confirming::Agreed(plan) => return Ok(Json(present(&handles, &plan)).into_response()),
        Confirming::Another(plan) => plan,
    };
    let title = "what the policy brings by \"all\" is not what was shown, by far: nothing is confirmed";
    let problem = Problem::new(StatusCode::CONFLICT, title, CONFIRM).view();
    let head = [(header::CONTENT_TYPE, "application/problem+json")];
    let answer = view::AnotherPlan { problem, plan: present(&handles, &plan) };
    Ok((StatusCode::CONFLICT, head, Json(answer)).into_response())
}

/// `GET /api/v1/prefetch`.
pub async fn prefetch(State(handles): State<Arc<Handles>>) -> Result<Json<view::ContentState>, Problem> {
    if handles.jobs.last_plan().is_none() {
        handles.jobs.plan(None).await?;
    }
    let looked = handles.jobs.look_at_missing().await;
    // Where it cannot be looked now, what was seen last is told.
    let detected = looked.unwrap_or_else(|_| handles.jobs.drawn());
    let detected = detected.map(|standing| drawn::present(&standing, true));
    Ok(Json(view::ContentState { detected, ..state(&handles) }))
}

/// `POST /api/v1/prefetch/start`: the prefetch is a job.
pub async fn start(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
) -> Result<(StatusCode, Json<Started>), Problem> {
    let job = handles.jobs.start(Work::Prefetch, &by)?;
    Ok((StatusCode::ACCEPTED, Json(Started { job })))
}

/// `POST /api/v1/prefetch/stop`: what has arrived stays, and none begins by itself.
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
fn awaited(agreement: &Agreement) -> Option<String> {
    match agreement {
        Agreement::NotNeeded | Agreement::Given(_) => None,
        Agreement::Missing => {
            Some(format!("the policy \"all\" is not confirmed, and is as \"asked\" until then: {CONFIRM}"))
        }
        Agreement::Outgrown(_) => Some(format!(
            "what comes by the policy \"all\" has grown far beyond what was confirmed, and it is as \"asked\" until then: {CONFIRM}"
        )),
    }
}

/// Why nothing is brought by itself.
fn held_back(plan: &Plan) -> Option<String> {
    plan.held_back().map(|wrong| {
        format!(
            "nothing is fetched ahead by itself, since a rule is left out that would keep something out: correct content.rules and reload \
             the node (SIGHUP); `waystation prefetch start` fetches all the same; {wrong}"
        )
    })
}

/// What there is to say where there was no catalog when the plan was counted.
fn empty(syncing: Option<u64>) -> String {
    match syncing {
        None => EMPTY_CATALOG.to_owned(),
        Some(job) => format!("the catalog is on its way (job {job}): what is wanted is counted when it is there"),
    }
}

/// What is waited for, and what else is worth knowing. `syncing` is the run of the catalog that is under way.
fn remarks(plan: &Plan, syncing: Option<u64>) -> (Option<String>, Vec<String>) {
    let empty = (!plan.has_catalog).then(|| empty(syncing));
    let mut told = empty.into_iter().chain(held_back(plan)).chain(awaited(&plan.agreement));
    let first = told.next();
    let held = plan.held_back();
    let left_out = plan.left_out.iter().filter(|wrong| plan.has_catalog && held != Some(wrong));
    let left_out = left_out.map(|wrong| format!("left out: {wrong}"));
    let is_short = plan.now.missing().files > 0 && !room(&plan.space, plan.now.wanted.bytes).fits;
    let short = || format!("the store has no room for all that is wanted: {}", more_room(&plan.space));
    let doubt = (plan.unauthenticated > 0).then(|| {
        let (of, updates) = (plan.unauthenticated, plan.updates);
        format!(
            "{of} of {updates} updates of which files are wanted came over plain HTTP: nothing proves who said them"
        )
    });
    let notes = told.chain(left_out).chain(is_short.then(short)).chain(doubt).collect();
    (first, notes)
}

/// What is said where the index is lost.
const LOST: &str =
    "the index is missing or damaged, so that nobody knows what is wanted: `waystation health` says what to do";

/// What is said while the count is of a policy that was set before.
const ANOTHER: &str = "another policy, or other rules, were set since this was counted: it is being counted anew";

/// How the content policy stands, as of the last count.
pub(super) fn state(handles: &Handles) -> view::ContentState {
    let set = handles.jobs.content_policy();
    let prefetching = handles.jobs.prefetching();
    let plan = handles.jobs.last_plan();
    let mut now = plan.as_ref().map_or_else(Tally::default, |plan| plan.now);
    now.come(handles.jobs.came_since());
    let syncing = handles.jobs.sync_job();
    let (mut waits, mut notes) = plan.as_deref().map(|plan| remarks(plan, syncing)).unwrap_or_default();
    let rests = prefetching.running.is_none() && now.missing().files > 0;
    let last_try = prefetching.undone.filter(|_| rests);
    if handles.store.index_lost().is_some() {
        // No plan can be made of what nobody knows.
        (waits, notes) = (Some(LOST.to_owned()), Vec::new());
    } else if let Some(plan) = plan.as_deref() {
        if !plan.policy.means(&set) {
            // What it says of rules is of those that were.
            (waits, notes) = (Some(ANOTHER.to_owned()), Vec::new());
        }
        // The last try has said what to do about it.
        let remedy = more_room(&plan.space);
        notes.retain(|note| !(note.contains(remedy) && last_try.as_ref().is_some_and(|told| told.contains(remedy))));
    }
    let mismatched = plan.as_ref().map(|plan| plan.mismatched.as_slice()).unwrap_or_default();
    let named = mismatched.iter().take(MISMATCHED_MAX).map(|file| view::Mismatched {
        name: file.name.clone(),
        sha1: file.sha1.to_string(),
        why: file.why.clone(),
        at: Time(file.at),
    });
    view::ContentState {
        policy: in_short(&set),
        counted_at: plan.as_ref().map(|plan| Time(plan.at)),
        wanted: sum(now.wanted),
        held: sum(now.held),
        missing: sum(now.missing()),
        job: prefetching.running,
        stuck: prefetching.waits,
        left_s: prefetching.left.map(|left| left.as_secs()),
        last_job: prefetching.last,
        next_at: prefetching.next.filter(|_| rests).map(Time),
        last_try,
        waits,
        notes,
        detected: handles.jobs.drawn().map(|standing| drawn::present(&standing, false)),
        stopped: prefetching.stopped.map(|stopped| view::Stopped { by: stopped.by, at: Time(stopped.at) }),
        mismatched: mismatched.len() as u64,
        unauthenticated: plan.as_ref().map_or(0, |plan| plan.unauthenticated),
        mismatched_files: named.collect(),
    }
}

/// What the store can hold, and whether this fits in.
fn room(space: &Space, wanted: u64) -> view::Room {
    let reach = space.used().saturating_add(space.disk_free.saturating_sub(space.min_free)).min(space.max_size);
    view::Room { max_size: space.max_size, reach, used: space.used(), fits: wanted <= reach }
}

/// How long it takes at the limits of the site's link and of what nobody waits for.
fn times(handles: &Handles, plan: &Plan) -> Vec<view::Takes> {
    let report = handles.bandwidth.governor.report();
    let at = |class: String, limit: String, rate: Option<u64>, of: Sum, is_unlimited: bool| view::Takes {
        class,
        limit,
        files: of.files,
        bytes: of.bytes,
        is_unlimited,
        bytes_per_s: rate,
        seconds: rate.map(|rate| of.bytes.div_ceil(rate.max(1))),
    };
    let (all, definitions) = (plan.all.missing(), plan.definitions.missing());
    let others =
        Sum { files: all.files.saturating_sub(definitions.files), bytes: all.bytes.saturating_sub(definitions.bytes) };
    let flows = |class: Class| match class {
        Class::Upstream => Some(all),
        Class::Prefetch => Some(others).filter(|of| of.files > 0),
        Class::Definitions => Some(definitions).filter(|of| of.files > 0),
        _ => None,
    };
    let limited = report.classes.iter().filter(|class| class.standing.limit != Limit::Unlimited);
    // Where one of the two has a limit, what becomes of the other one is told too.
    let both = limited.clone().any(|class| matches!(class.class, Class::Prefetch | Class::Definitions));
    let is_told = |class: Class, limit: Limit| {
        limit != Limit::Unlimited || (both && matches!(class, Class::Prefetch | Class::Definitions))
    };
    let mut times: Vec<view::Takes> = report
        .classes
        .iter()
        .filter(|class| is_told(class.class, class.standing.limit))
        .filter_map(|class| {
            let (word, limit) = (class.class.word().to_owned(), class.standing.explain(&report.zone));
            let is_unlimited = class.standing.limit == Limit::Unlimited;
            Some(at(word, limit, class.standing.limit.rate(), flows(class.class)?, is_unlimited))
        })
        .collect();
    if times.is_empty() {
        times.push(at("example".to_owned(), "100 Mbit/s".to_owned(), Some(EXAMPLE), all, false));
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

/// What to do next, if anything.
fn next(plan: &Plan, is_set: bool, fits: bool, syncing: Option<u64>) -> Option<String> {
    let Choice { mode, level } = plan.policy.choice;
    if !plan.has_catalog {
        return Some(empty(syncing));
    }
    if !is_set {
        let level = match mode {
            Mode::Severity if level != Severity::Unspecified => format!(" and severity = \"{}\"", level_word(level)),
            _ => String::new(),
        };
        let confirm = if plan.policy.has_all() { "; then `waystation plan --confirm` agrees to it" } else { "" };
        return Some(format!(
            "this policy is not set; [content] policy = \"{}\"{level} sets it, and a reload (SIGHUP) takes it{confirm}",
            mode.word()
        ));
    }
    if let Some(why) = held_back(plan) {
        return Some(why);
    }
    match (plan.agreement.is_awaited(), fits) {
        (true, true) => {
            Some("nothing of \"all\" is fetched before `waystation plan --confirm` agrees to this".to_owned())
        }
        (true, false) => Some(format!("{}; then `waystation plan --confirm` agrees to it", more_room(&plan.space))),
        (false, false) => Some(format!("{}: what has no room is not fetched", more_room(&plan.space))),
        (false, true) => None,
    }
}

fn present(handles: &Handles, plan: &Plan) -> view::Plan {
    let is_set = plan.policy.means(&handles.jobs.content_policy());
    let (agreement, confirmed) = match &plan.agreement {
        Agreement::NotNeeded => ("not-needed", None),
        Agreement::Given(confirmed) => ("given", Some(confirmed)),
        Agreement::Missing => ("missing", None),
        Agreement::Outgrown(confirmed) => ("outgrown", Some(confirmed)),
    };
    let room = room(&plan.space, plan.all.wanted.bytes);
    let next = next(plan, is_set, room.fits, handles.jobs.sync_job());
    view::Plan {
        policy: policy(&plan.policy),
        is_set,
        terms: plan.terms.clone(),
        left_out: plan.left_out.iter().map(ToString::to_string).collect(),
        counted_at: Time(plan.at),
        updates: plan.updates,
        incomplete: plan.incomplete,
        unauthenticated: plan.unauthenticated,
        encrypted: plan.encrypted,
        by_all: sum(plan.by_all),
        wanted: sum(plan.all.wanted),
        held: sum(plan.all.held),
        missing: sum(plan.all.missing()),
        missing_now: sum(plan.now.missing()),
        missing_definitions: sum(plan.definitions.missing()),
        left_to_endpoints: view::LeftToEndpoints {
            updates: plan.in_parts.updates,
            approved: plan.in_parts.approved,
            ids: plan.in_parts_ids.iter().map(ToString::to_string).collect(),
        },
        agreement: agreement.to_owned(),
        confirmed: confirmed.map(|confirmed| view::Confirmed {
            sum: sum(confirmed.sum),
            by: confirmed.by.clone(),
            at: Time(confirmed.at),
        }),
        by_classification: groups(&plan.by_classification),
        by_product: groups(&plan.by_product),
        room,
        times: times(handles, plan),
        next,
    }
}
