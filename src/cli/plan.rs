//! `plan` and `prefetch start|stop|status`: which files of the catalog are brought ahead of time.

mod detected;

use std::time::Duration;

use http::Method;

use crate::admin::view::policy::{AnotherPlan, ConfirmRequest, ContentState, Group, Plan, PrefetchStopped, Sum, Takes};
use crate::admin::view::{Problem, Started};
use crate::app::Loaded;
use crate::cli::fail::Fail;
use crate::cli::node::Node;
use crate::cli::print::{Grid, Out, add, printable};
use crate::cli::verbs::catalog::{PlanArgs, PrefetchVerb};
use crate::cli::{follow, size};

/// Classifications and products that are shown to people; the JSON has all.
const SHOWN_MAX: usize = 15;

pub(in crate::cli) fn run(loaded: &Loaded, given: &PlanArgs, out: Out) -> Result<(), Fail> {
    super::with(super::running(loaded)?, async |node| {
        if given.confirm {
            return confirm(node, out).await;
        }
        let mut query = String::new();
        for (key, value) in [("policy", &given.policy), ("severity", &given.severity)] {
            if let Some(value) = value {
                let mark = if query.is_empty() { "?" } else { "&" };
                add(&mut query, format_args!("{mark}{key}={value}"));
            }
        }
        let plan: Plan = node.get(&format!("/api/v1/plan{query}")).await?;
        out.both(&plan, people)
    })
}

/// Shows the plan, and agrees to what was shown and nothing else.
async fn confirm(node: &Node, out: Out) -> Result<(), Fail> {
    let shown: Plan = node.get("/api/v1/plan").await?;
    let is_needed = shown.agreement != "not-needed";
    if is_needed && !out.is_json() {
        // What it is about to be needs not be said.
        let agreement = if shown.agreement == "missing" { String::new() } else { shown.agreement.clone() };
        out.line(people(&Plan { next: None, agreement, ..shown.clone() }))?;
    }
    let seen = ConfirmRequest { files: shown.by_all.files, bytes: shown.by_all.bytes, terms: shown.terms };
    let body = serde_json::to_vec(&seen).map_err(|error| Fail::new(error.to_string(), ""))?;
    let (status, answer) = node.ask(Method::POST, "/api/v1/plan/confirm", body.into()).await?;
    let unclear = |error: serde_json::Error| Fail::new(format!("the node's answer cannot be understood: {error}"), "");
    if let (409, Ok(another)) = (status, serde_json::from_slice::<AnotherPlan>(&answer)) {
        out.both(&another.plan, people)?;
        return Err(another.problem.into());
    }
    if status != 200 {
        return Err(serde_json::from_slice::<Problem>(&answer).map_err(unclear)?.into());
    }
    let plan: Plan = serde_json::from_slice(&answer).map_err(unclear)?;
    out.both(&plan, |plan| {
        let mut text = String::new();
        if let Some(given) = &plan.confirmed {
            add(&mut text, format_args!("confirmed  {} by {} at {}\n", sum(given.sum), given.by, given.at));
        }
        let waits = plan.times.iter().any(|takes| takes.seconds.is_none() && !takes.is_unlimited);
        let told = if plan.missing_now.files == 0 {
            "all of it is held"
        } else if waits {
            "what is missing comes as soon as its bandwidth class is not paused: `waystation prefetch status`"
        } else {
            "what is missing is on its way: `waystation prefetch status`"
        };
        text.push_str(plan.next.as_deref().unwrap_or(told));
        text
    })
}

pub(in crate::cli) fn prefetch(loaded: &Loaded, verb: &PrefetchVerb, out: Out) -> Result<(), Fail> {
    super::with(super::running(loaded)?, async |node| match *verb {
        PrefetchVerb::Start { detach } => {
            let started: Started = node.post("/api/v1/prefetch/start", &()).await?;
            follow::started(node, started, detach, out).await
        }
        PrefetchVerb::Stop => {
            let stopped: PrefetchStopped = node.post("/api/v1/prefetch/stop", &()).await?;
            out.both(&stopped, |stopped| match stopped.job {
                Some(job) => format!("job {job} is told to stop; what has arrived stays. None {STOPPED}"),
                None => format!("no prefetch is under way. None {STOPPED}"),
            })
        }
        PrefetchVerb::Confirm { ref update } => detected::confirm(node, update, out).await,
        PrefetchVerb::Status => {
            let state: ContentState = node.get("/api/v1/prefetch").await?;
            out.both(&state, |state| {
                let mut grid = Grid::new(&["", ""]);
                for (key, value) in rows_of(state, true) {
                    grid.row([key.to_owned(), value]);
                }
                if let Some(at) = state.counted_at {
                    grid.row(["counted".to_owned(), at.to_string()]);
                }
                for (at, file) in state.mismatched_files.iter().enumerate() {
                    let key = if at == 0 { "mismatched" } else { "" };
                    grid.row([key.to_owned(), printable(&format!("{} ({}): {}", file.name, file.sha1, file.why))]);
                }
                let more = state.mismatched.saturating_sub(state.mismatched_files.len() as u64);
                if more > 0 {
                    grid.row([String::new(), format!("and {} more", size::count(more))]);
                }
                let mut text = grid.text();
                detected::add(&mut text, state.detected.as_ref());
                text
            })
        }
    })
}

/// What stopping means, behind "none".
const STOPPED: &str =
    "begins by itself until `waystation prefetch start`, a decision, a change of [content] or filters, or a restart";

/// Files and bytes: `12 files, 3.4 GiB`.
fn sum(sum: Sum) -> String {
    format!("{}, {}", size::counted(sum.files, "file"), size::bytes(sum.bytes))
}

/// How the content policy stands, as lines of a table; in `status` and `sync status` too.
pub(in crate::cli) fn rows(state: &ContentState) -> Vec<(&'static str, String)> {
    rows_of(state, false)
}

/// The same; `named` where the files that do not match are named below.
fn rows_of(state: &ContentState, named: bool) -> Vec<(&'static str, String)> {
    let mut text = format!("policy {}: ", state.policy);
    if state.counted_at.is_none() {
        text.push_str("nothing was counted yet");
    } else if state.wanted.files == 0 {
        text.push_str("no files are wanted");
    } else {
        add(&mut text, format_args!("{} wanted", sum(state.wanted)));
        if state.missing.files == 0 {
            text.push_str(", all held");
        } else {
            add(&mut text, format_args!(", {} missing", sum(state.missing)));
        }
    }
    match (state.job, state.last_job) {
        // It may have counted under another policy, or be at its end.
        (Some(job), _) if state.counted_at.is_some() && state.missing.files == 0 => {
            add(&mut text, format_args!("; job {job} is under way"));
        }
        (Some(job), _) if state.stuck.is_some() => add(&mut text, format_args!("; job {job} is to bring them")),
        (Some(job), _) => {
            add(&mut text, format_args!("; job {job} brings them"));
            if let Some(left) = state.left_s {
                add(&mut text, format_args!(", {} left", size::time(Duration::from_secs(left))));
            }
        }
        (None, Some(job)) if state.missing.files > 0 => {
            add(&mut text, format_args!("; `waystation jobs show {job}` says what came of the last try"));
        }
        _ => {}
    }
    let mut rows = vec![("files", text)];
    rows.extend(state.stuck.iter().map(|why| ("", why.clone())));
    rows.extend(state.last_try.iter().map(|result| ("", format!("the last try: {result}"))));
    rows.extend(state.next_at.iter().map(|at| ("", format!("the next try begins at {at}"))));
    rows.extend(state.waits.iter().chain(&state.notes).map(|told| ("", told.clone())));
    rows.extend(state.detected.iter().map(|detected| ("", detected::line(detected))));
    if let Some(stopped) = &state.stopped {
        rows.push(("", format!("stopped by {} at {}: none {STOPPED}", stopped.by, stopped.at)));
    }
    if state.mismatched > 0 {
        let (files, them) = if state.mismatched == 1 { ("file does", "it") } else { ("files do", "them") };
        rows.push((
            "",
            format!(
                "{} {files} not match what is published, and nothing but a change of that or `waystation prefetch start` has {them} \
                 fetched again{}",
                size::count(state.mismatched),
                if named { String::new() } else { format!(": `waystation prefetch status` names {them}") }
            ),
        ));
    }
    rows
}

fn policy(plan: &Plan) -> String {
    let policy = &plan.policy;
    let level = if policy.mode == "severity" { format!(" {}", policy.severity) } else { String::new() };
    format!("{}{level}{}", policy.mode, if plan.is_set { "" } else { " (as it would be: another one is set)" })
}

fn people(plan: &Plan) -> String {
    let mut grid = Grid::new(&["", ""]);
    let mut row = |key: &str, value: String| grid.row([key.to_owned(), value]);
    row("policy", policy(plan));
    for (at, rule) in plan.policy.rules.iter().enumerate() {
        row(if at == 0 { "rules" } else { "" }, rule.clone());
    }
    for wrong in &plan.left_out {
        row("", format!("left out: {wrong}"));
    }
    row("wanted", format!("{} of {}", sum(plan.wanted), size::counted(plan.updates, "update")));
    if plan.agreement != "not-needed" {
        row("", format!("of these by \"all\" alone {}: this is what `plan --confirm` agrees to", sum(plan.by_all)));
    }
    if plan.incomplete > 0 {
        row("", format!("of {} not all parts are in the catalog", size::counted(plan.incomplete, "update")));
    }
    if plan.unauthenticated > 0 {
        let what = size::counted(plan.unauthenticated, "update");
        row(
            "",
            format!("{what} came over plain HTTP: nothing proves who said that, and such digests prove no payload"),
        );
    }
    if plan.encrypted > 0 {
        let left_out = "left out: what lies at their addresses is not what their digests are of";
        row("", format!("{} encrypted, and {left_out}", size::counted(plan.encrypted, "file")));
    }
    let left = &plan.left_to_endpoints;
    if left.updates > 0 {
        let approved = if left.approved == 0 {
            String::new()
        } else {
            format!(", {} of them approved", size::count(left.approved))
        };
        // The list goes by the policy that is set.
        let where_named = if plan.is_set {
            "`waystation updates list --left-to-endpoints` lists them"
        } else {
            "--json has their ids"
        };
        row(
            "left",
            format!(
                "{} with express, PSF or UUP files to endpoints{approved}: these fetch a small part of them. \
                 {where_named}, `waystation updates approve ID --all-files` fetches one whole",
                size::counted(left.updates, "update")
            ),
        );
    }
    row("held", sum(plan.held));
    row("missing", sum(plan.missing));
    let beyond = if plan.room.fits { "" } else { ": NOT ENOUGH" };
    row(
        "room",
        format!(
            "{} in store.max_size {} and on the disk, {} used{beyond}",
            size::bytes(plan.room.reach),
            size::bytes(plan.room.max_size),
            size::bytes(plan.room.used)
        ),
    );
    for (at, takes) in plan.times.iter().enumerate().filter(|_| plan.missing.files > 0) {
        row(if at == 0 { "takes" } else { "" }, time(takes, plan.times.len()));
    }
    match (plan.agreement.as_str(), &plan.confirmed) {
        ("given", Some(given)) => {
            row("confirmed", format!("{} by {} at {}", sum(given.sum), given.by, given.at));
        }
        ("outgrown", Some(given)) => {
            let now = "it is far more by now, and waits to be confirmed again";
            row("confirmed", format!("{} by {} at {}; {now}", sum(given.sum), given.by, given.at));
        }
        ("missing", _) if plan.is_set => row("confirmed", "no: \"all\" is as \"asked\" until then".to_owned()),
        _ => {}
    }
    let mut text = grid.text();
    groups(&mut text, "classification", &plan.by_classification);
    groups(&mut text, "product", &plan.by_product);
    if let Some(next) = &plan.next {
        add(&mut text, format_args!("\nnext: {next}\n"));
    }
    text
}

/// How long what comes in a class takes, of so many classes that are told.
fn time(takes: &Takes, classes: usize) -> String {
    let Takes { class, limit, files, bytes, is_unlimited, seconds, .. } = takes;
    let of = sum(Sum { files: *files, bytes: *bytes });
    let name = format!("bandwidth.{class}");
    match seconds {
        _ if class == "example" => {
            let time = size::time(Duration::from_secs(seconds.unwrap_or_default()));
            format!("{time} at {limit}, as an example: no limit is set")
        }
        _ if *is_unlimited => format!("{of} come at once: {name} has no limit now"),
        None => format!("nothing comes of {of}: {name} is {limit}"),
        Some(seconds) if classes == 1 => format!("{} by {name}, {limit}", size::time(Duration::from_secs(*seconds))),
        Some(seconds) => format!("{} for {of} by {name}, {limit}", size::time(Duration::from_secs(*seconds))),
    }
}

fn groups(text: &mut String, what: &str, groups: &[Group]) {
    if groups.is_empty() {
        return;
    }
    let mut grid = Grid::new(&[what, ">files", ">size", ">missing"]);
    for group in groups.iter().take(SHOWN_MAX) {
        grid.row([
            group.name.clone(),
            size::count(group.wanted.files),
            size::bytes(group.wanted.bytes),
            size::bytes(group.missing.bytes),
        ]);
    }
    add(text, format_args!("\n{}", grid.text()));
    if groups.len() > SHOWN_MAX {
        add(text, format_args!("and {} more, of which --json tells\n", groups.len() - SHOWN_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_class_takes_is_a_sentence_of_its_own() {
        let takes = |class: &str, limit: &str, seconds: Option<u64>| Takes {
            class: class.to_owned(),
            limit: limit.to_owned(),
            files: 3,
            bytes: 2 << 20,
            is_unlimited: limit == "unlimited",
            bytes_per_s: None,
            seconds,
        };
        assert_eq!(
            time(&takes("prefetch", "paused, always", None), 2),
            "nothing comes of 3 files, 2.00 MiB: bandwidth.prefetch is paused, always"
        );
        let at_once = "3 files, 2.00 MiB come at once: bandwidth.definitions has no limit now";
        assert_eq!(time(&takes("definitions", "unlimited", None), 2), at_once);
        let limited = takes("upstream", "1 Mbit/s, always", Some(17));
        assert_eq!(time(&limited, 1), "17 s by bandwidth.upstream, 1 Mbit/s, always");
        assert_eq!(time(&limited, 2), "17 s for 3 files, 2.00 MiB by bandwidth.upstream, 1 Mbit/s, always");
        let example = "17 s at 100 Mbit/s, as an example: no limit is set";
        assert_eq!(time(&takes("example", "100 Mbit/s", Some(17)), 1), example);
    }

    #[test]
    fn the_state_is_one_line_and_says_what_waits() {
        let few = Sum { files: 2, bytes: 3 << 20 };
        let mut state = ContentState {
            policy: "all".to_owned(),
            counted_at: None,
            wanted: few,
            held: Sum::default(),
            missing: few,
            job: Some(7),
            last_job: None,
            stuck: None,
            left_s: None,
            next_at: None,
            last_try: None,
            waits: Some("confirm it".to_owned()),
            notes: vec!["left out".to_owned()],
            detected: None,
            stopped: None,
            mismatched: 0,
            unauthenticated: 0,
            mismatched_files: vec![],
        };
        assert_eq!(rows(&state)[0].1, "policy all: nothing was counted yet; job 7 brings them");
        state.counted_at = Some(crate::admin::view::Time::default());
        let told = rows(&state);
        assert_eq!(told[0].1, "policy all: 2 files, 3.00 MiB wanted, 2 files, 3.00 MiB missing; job 7 brings them");
        assert_eq!((told[1].1.as_str(), told[2].1.as_str()), ("confirm it", "left out"));
        state.stuck = Some("nothing moves: h cannot be asked".to_owned());
        let told = rows(&state);
        assert!(told[0].1.ends_with("; job 7 is to bring them") && told[1].1.starts_with("nothing moves"), "{told:?}");
        (state.stuck, state.missing) = (None, Sum::default());
        assert!(rows(&state)[0].1.ends_with("wanted, all held; job 7 is under way"), "{:?}", rows(&state));
        (state.missing, state.job, state.last_job) = (few, None, Some(7));
        state.last_try = Some("1 fetched, and 2 have no room".to_owned());
        assert_eq!(rows(&state)[1].1, "the last try: 1 fetched, and 2 have no room");
        (state.last_try, state.job) = (None, Some(7));
        let at = crate::admin::view::Time::default();
        state.stopped = Some(crate::admin::view::policy::Stopped { by: "ada".to_owned(), at });
        state.mismatched = 2;
        let told = rows(&state);
        assert!(
            told[3].1.starts_with("stopped by ada at ")
                && told[3].1.ends_with("filters, or a restart")
                && told[4].1.starts_with("2 files do not match"),
            "{told:?}"
        );
        state.wanted = Sum::default();
        assert!(rows(&state)[0].1.starts_with("policy all: no files are wanted"));
    }
}
