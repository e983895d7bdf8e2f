//! `sync start|stop|status|history|crosscheck|retry|webhook`: runs of the catalog.

use std::time::Duration;

use crate::admin::view::filters::Filters;
use crate::admin::view::{
    HookTested, Started, Sync, SyncCompared, SyncCounts, SyncHistory, SyncRetried, SyncRetry, SyncRun, SyncRunning,
    SyncStopped, SyncUpstream, SyncWebhook,
};
use crate::app::Loaded;
use crate::cli::fail::Fail;
use crate::cli::node::Node;
use crate::cli::print::{Grid, Out, add, printable};
use crate::cli::verbs::sync::{SyncVerb, WebhookVerb};
use crate::cli::{follow, plan, size};

/// What the mark at an upstream means.
const UNAUTHENTICATED: &str = "* plain HTTP: nothing proves who said it, and its digests prove no payload\n";

pub(in crate::cli) fn run(loaded: &Loaded, verb: &SyncVerb, out: Out) -> Result<(), Fail> {
    super::with(super::running(loaded)?, async |node| match verb {
        SyncVerb::Start { definitions, detach } => {
            let lane = if *definitions { "?lane=definitions" } else { "" };
            let started: Started = node.post(&format!("/api/v1/sync/start{lane}"), &()).await?;
            let ended = follow::started(node, started, *detach, out).await;
            if ended.is_ok() && !*detach {
                point_to_refused(node, out).await?;
            }
            // After the run: what it brought says whether a name is known.
            if let Err(error) = warn_of_filters(node, out).await {
                return ended.and(Err(error));
            }
            ended
        }
        SyncVerb::Crosscheck { detach } => {
            let started: Started = node.post("/api/v1/sync/crosscheck", &()).await?;
            follow::started(node, started, *detach, out).await
        }
        SyncVerb::Retry { ids, compared, later } => retry(node, ids, *compared, *later, out).await,
        SyncVerb::Webhook(WebhookVerb::Test) => {
            let tested: HookTested = node.post("/api/v1/sync/webhook/test", &()).await?;
            out.both(&tested, told)?;
            if tested.taken {
                return Ok(());
            }
            Err(Fail::new(
                "the webhook did not take the event",
                "correct what it says, or [sync] webhook in the configuration",
            ))
        }
        SyncVerb::Stop => {
            let stopped: SyncStopped = node.post("/api/v1/sync/stop", &()).await?;
            out.both(&stopped, |stopped| match stopped.job {
                Some(job) => format!("job {job} is told to stop; what it has committed stays"),
                None => "no run is under way".to_owned(),
            })
        }
        SyncVerb::Status => {
            let state: Sync = node.get("/api/v1/sync").await?;
            out.both(&state, people)
        }
        SyncVerb::History { limit, before } => {
            let before = (*before).map(|before| format!("&before={before}")).unwrap_or_default();
            let page: SyncHistory = node.get(&format!("/api/v1/sync/history?limit={limit}{before}")).await?;
            out.both(&page, history)
        }
    })
}

/// What the run refused is no failure of it, and is to be found.
async fn point_to_refused(node: &Node, out: Out) -> Result<(), Fail> {
    if out.is_json() {
        return Ok(());
    }
    let state: Sync = node.get("/api/v1/sync").await?;
    match state.last.map_or(0, |run| run.counts.refused) {
        0 => Ok(()),
        many => out.line(format!(
            "{} refused: `waystation updates list --state refused` shows each with the reason, `waystation sync retry` asks for them again",
            size::counted(many, "update")
        )),
    }
}

/// Tells of names in the filters that the catalog does not have: nothing comes of them, and the run cannot say so.
async fn warn_of_filters(node: &Node, out: Out) -> Result<(), Fail> {
    let filters: Filters = node.get("/api/v1/filters").await?;
    // Before the first run most names are not known yet, and below a WSUS none of them counts.
    if filters.catalog_categories > 0 && filters.without_effect.is_none() {
        for wrong in filters.wrong() {
            out.warn(&printable(&format!("left out of the filters: {wrong}")));
        }
    }
    Ok(())
}

/// Refused no more, and onto the work list of a run that is started unless one is under way.
async fn retry(node: &Node, ids: &[String], compared: bool, later: bool, out: Out) -> Result<(), Fail> {
    let order = SyncRetry { ids: ids.to_vec(), compared };
    let mut retried: SyncRetried = node.post("/api/v1/sync/retry", &order).await?;
    if !ids.is_empty() && retried.retried.is_empty() {
        return Err(Fail::new("none of these is refused", "`waystation updates list --state refused` shows what is"));
    }
    let starts = !later && retried.asked > 0;
    if !starts {
        return out.both(&retried, pardoned);
    }
    let started: Started = node.post("/api/v1/sync/start", &()).await?;
    if out.is_json() {
        retried.job = Some(started.job);
        return out.json(&retried);
    }
    out.raw(pardoned(&retried))?;
    follow::started(node, started, false, out).await
}

/// What is said where no run is due at a time.
fn without_time(state: &Sync) -> &'static str {
    if state.upstream.kind == "parent" {
        "whenever the parent's feed brings something"
    } else {
        "the schedule is off ([sync] enabled)"
    }
}

fn pardoned(retried: &SyncRetried) -> String {
    let count = retried.retried.len() as u64;
    if count == 0 && retried.left > 0 {
        return format!(
            "there is nothing to ask for again; {} held and refused by a comparison: by id, or all with `waystation sync retry \
             --compared`, they are offered again\n",
            size::counted(retried.left, "update")
        );
    }
    if count == 0 {
        return "nothing is refused, so that there is nothing to ask for again\n".to_owned();
    }
    let held = count.saturating_sub(retried.asked);
    let mut text = format!("{} refused no more", size::counted(count, "update"));
    if retried.asked > 0 {
        add(&mut text, format_args!("; the next run asks for {}", size::count(retried.asked)));
    }
    if held > 0 {
        add(&mut text, format_args!("; {} held, and offered again", size::count(held)));
    }
    text.push('\n');
    text
}

fn told(tested: &HookTested) -> String {
    let HookTested { host, status, text, took_ms, .. } = tested;
    let took = format!("{} ms", size::count(*took_ms));
    // A stranger's words.
    let answer = printable(text.trim());
    match status {
        Some(status) if answer.is_empty() => format!("{host} answered {status} after {took}\n"),
        Some(status) => format!("{host} answered {status} after {took}:\n{answer}\n"),
        None => format!("{host} did not answer: {answer}\n"),
    }
}

/// What is said behind an upstream that nothing proves to be who it says, wherever it is named.
pub(in crate::cli) const fn doubt(unauthenticated: bool) -> &'static str {
    if unauthenticated { " (plain HTTP: not authenticated)" } else { "" }
}

fn people(state: &Sync) -> String {
    let mut grid = Grid::new(&["", ""]);
    let mut row = |key: &str, is: String| grid.row([key.to_owned(), is]);
    let proven = doubt(state.upstream.unauthenticated);
    row("upstream", format!("{} at {}{proven}", state.upstream.kind, state.upstream.address));
    if let Some(SyncUpstream { kind, address, unauthenticated }) = &state.held_from {
        let proven = doubt(*unauthenticated);
        row("", format!("what is held is of {kind} at {address}{proven} until the first run has ended well"));
    }
    row("run", state.running.as_ref().map_or_else(|| "none is under way".to_owned(), running));
    let again = if state.next_is_again { " (again, for the one that came to nothing)" } else { "" };
    let next = state.next_at.map_or_else(|| without_time(state).to_owned(), |at| format!("{at}{again}"));
    row("next run", next);
    if let Some(job) = state.definitions_behind {
        row("definitions", format!("due, and kept out by job {job}: `waystation jobs stop {job}` lets them in"));
    } else if let Some(at) = state.next_definitions_at {
        row("definitions", format!("next run at {at}"));
    } else if state.definitions_wait {
        let waits = "they wait for the first whole run, to which they add: `waystation sync start`";
        row("definitions", waits.to_owned());
    }
    if let Some(run) = &state.last_definitions {
        row(
            if state.next_definitions_at.is_some() || state.definitions_wait { "" } else { "definitions" },
            format!("last run {}", ended(run)),
        );
    }
    for changed in &state.later {
        row(
            "",
            format!(
                "{} = {} was set since the node was started, and counts from its next start on",
                changed.key, changed.value
            ),
        );
    }
    row("last run", state.last.as_ref().map_or_else(|| "none yet".to_owned(), ended));
    if let Some(run) = state.last_success.as_ref().filter(|run| state.last.as_ref() != Some(run)) {
        row("last success", ended(run));
    } else if state.last_success.is_none() && state.last.is_some() {
        row("last success", "none yet".to_owned());
    }
    if let Some(run) = &state.last_crosscheck {
        row("crosscheck", ended(run));
    } else if state.upstream.unauthenticated && state.upstream.kind == "wsus" {
        row("crosscheck", "none yet: `waystation sync crosscheck` compares with Microsoft's catalog".to_owned());
    }
    if let Some(host) = &state.webhook {
        row("webhook", told_of(host, state.webhook_state.as_ref()));
    }
    let mut held = size::counted(state.listed, "update");
    if let Some(beyond) = state.beyond_filters.filter(|beyond| *beyond > 0) {
        add(&mut held, format_args!(", {} of them beyond the filters", size::count(beyond)));
        if let Some(needed) = state.beyond_needed.filter(|needed| *needed > 0) {
            let many = if needed == beyond { "which".to_owned() } else { format!("of which {}", size::count(needed)) };
            let verb = if needed == beyond { "others need" } else { "are needed by others" };
            add(&mut held, format_args!(" ({many} {verb})"));
        }
    }
    if state.updates > state.listed {
        let more = size::count(state.updates - state.listed);
        add(&mut held, format_args!("; {more} parts of them, categories and detectoids"));
    }
    if state.wanted > 0 {
        add(&mut held, format_args!(", {} revisions still to be fetched", size::count(state.wanted)));
    }
    if state.refused > 0 {
        add(&mut held, format_args!(", {} refused", size::count(state.refused)));
    }
    row("catalog", held);
    for (key, text) in state.content.as_ref().map(plan::rows).unwrap_or_default() {
        row(key, text);
    }
    grid.text()
}

/// Whether who is told of runs hears it.
fn told_of(host: &str, state: Option<&SyncWebhook>) -> String {
    let mut text = host.to_owned();
    let Some(SyncWebhook { waiting, lost, lost_at, lost_why, failed_at, failure, next_at, .. }) = state else {
        return text;
    };
    if let (Some(at), Some(why)) = (failed_at, failure) {
        add(&mut text, format_args!(" does not answer as it should: {}, at {at}", printable(why)));
    }
    if *waiting > 0 {
        let verb = if *waiting == 1 { "waits" } else { "wait" };
        add(&mut text, format_args!("; {} {verb}", size::counted(*waiting, "event")));
    }
    if let Some(at) = next_at {
        add(&mut text, format_args!("; the next attempt is at {at}"));
    }
    if *lost > 0 {
        add(&mut text, format_args!("; {} given up", size::counted(*lost, "event")));
        // Where the last attempt failed, that says it.
        if let (Some(at), Some(why), None) = (lost_at, lost_why, failure) {
            add(&mut text, format_args!(", the last at {at}: {}", printable(why)));
        }
    }
    text
}

fn running(run: &SyncRunning) -> String {
    let mut text = format!("job {}", run.job);
    if !matches!(run.kind.as_str(), "catalog" | "") {
        add(&mut text, format_args!(" ({})", run.kind));
    }
    if !run.step.is_empty() {
        add(&mut text, format_args!(": {}", run.step));
    }
    if run.total > 0 {
        add(&mut text, format_args!(", {} of {}", size::count(run.done), size::count(run.total)));
    }
    if let Some(rate) = run.per_minute {
        add(&mut text, format_args!(", {} a minute", size::count(rate)));
    }
    if let Some(left) = run.left_s {
        add(&mut text, format_args!(", {} left", size::time(Duration::from_secs(left))));
    }
    if let Some(waits) = &run.waits {
        add(&mut text, format_args!("; {waits}"));
    }
    text
}

fn ended(run: &SyncRun) -> String {
    let mut text = format!("{}, {}", run.started_at, run.outcome);
    if let Some(took) = run.took_ms {
        add(&mut text, format_args!(" after {}", size::time(Duration::from_millis(took))));
    }
    let did = match &run.compared {
        Some(compared) => found(compared, &run.outcome),
        None => words(&run.counts),
    };
    add(&mut text, format_args!("; {did}"));
    if !matches!(run.kind.as_str(), "catalog" | "crosscheck" | "") {
        add(&mut text, format_args!(" ({})", run.kind));
    }
    if run.unauthenticated && run.compared.is_none() {
        text.push_str(" (unauthenticated)");
    }
    if !run.reason.is_empty() {
        add(&mut text, format_args!(": {}", run.reason));
    }
    text
}

fn found(compared: &SyncCompared, outcome: &str) -> String {
    let SyncCompared { agreed, differed, text, absent, unknown, behind, withdrawn } = *compared;
    let named = [
        (agreed, "authenticated"),
        (differed, "refused"),
        (text, "of those for their text alone"),
        (absent, "not Microsoft's"),
        (unknown, "not given out there"),
        (behind, "behind Microsoft's newest"),
        (withdrawn, "of those withdrawn there"),
    ];
    let said: Vec<_> = named
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{} {word}", size::count(*count)))
        .collect();
    match (said.is_empty(), outcome) {
        (false, _) => said.join(", "),
        (true, "successful") => "there was nothing to compare".to_owned(),
        (true, _) => "nothing was compared".to_owned(),
    }
}

fn words(counts: &SyncCounts) -> String {
    let named = [
        (counts.new, "new"),
        (counts.changed, "changed"),
        (counts.expired, "expired"),
        (counts.superseded, "superseded"),
        (counts.refused, "refused"),
        (counts.pruned, "pruned"),
    ];
    let mut said = named.iter().filter(|(count, _)| *count > 0);
    let said: Vec<_> = said.by_ref().map(|(count, word)| format!("{} {word}", size::count(*count))).collect();
    if said.is_empty() { "no change".to_owned() } else { said.join(", ") }
}

fn history(page: &SyncHistory) -> String {
    let mut grid = Grid::new(&[
        ">run",
        "started",
        ">took",
        "outcome",
        "kind",
        ">new",
        ">changed",
        ">expired",
        ">superseded",
        ">files",
        ">wanted",
        ">received",
        ">refused",
        ">pruned",
        ">errors",
        "upstream",
    ]);
    for run in &page.runs {
        let counts = &run.counts;
        let took = run.took_ms.map(|took| size::time(Duration::from_millis(took))).unwrap_or_default();
        let number = |count: u64| size::count(count);
        grid.row([
            run.id.to_string(),
            run.started_at.to_string(),
            took,
            run.outcome.clone(),
            if run.kind.is_empty() { "catalog".to_owned() } else { run.kind.clone() },
            number(counts.new),
            number(counts.changed),
            number(counts.expired),
            number(counts.superseded),
            number(counts.files),
            run.wanted.map_or_else(|| "-".to_owned(), |wanted| size::bytes(wanted.bytes)),
            size::bytes(counts.bytes),
            number(counts.refused),
            number(counts.pruned),
            number(counts.errors),
            if run.unauthenticated { format!("{} *", run.upstream) } else { run.upstream.clone() },
        ]);
    }
    if grid.is_empty() {
        return "no runs\n".to_owned();
    }
    let mut text = grid.text();
    if page.runs.iter().any(|run| run.unauthenticated) {
        text.push_str(UNAUTHENTICATED);
    }
    for run in &page.runs {
        if !run.reason.is_empty() {
            add(&mut text, format_args!("run {}: {}\n", run.id, run.reason));
        }
        if let Some(compared) = &run.compared {
            add(&mut text, format_args!("run {}: {}\n", run.id, found(compared, &run.outcome)));
        }
        if !run.troubles.is_empty() {
            let kinds: Vec<String> =
                run.troubles.iter().map(|(kind, count)| format!("{} {kind}", size::count(*count))).collect();
            add(&mut text, format_args!("run {}: errors of the upstream: {}\n", run.id, kinds.join(", ")));
        }
    }
    if let Some(next) = page.next {
        add(&mut text, format_args!("older ones: waystation sync history --before {next}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::Time;
    use crate::base::time::Timestamp;

    #[test]
    fn a_webhook_that_does_not_answer_is_told_with_when_and_why() {
        let quiet = SyncWebhook {
            waiting: 0,
            lost: 0,
            lost_at: None,
            lost_why: None,
            told_at: Some(Time(Timestamp::from_ms(0))),
            failed_at: None,
            failure: None,
            next_at: None,
        };
        assert_eq!(told_of("h:9", Some(&quiet)), "h:9");
        let at = Time(Timestamp::from_ms(1_700_000_000_000));
        let silent = SyncWebhook {
            waiting: 2,
            lost: 1,
            failed_at: Some(at),
            failure: Some("nobody\u{1b} listens".into()),
            next_at: Some(at),
            ..quiet.clone()
        };
        let again = SyncWebhook { lost: 2, lost_at: Some(at), lost_why: Some("it answered 404".into()), ..quiet };
        let told = told_of("h:9", Some(&again));
        assert!(told.contains("2 events given up, the last at 2023-") && told.ends_with(": it answered 404"), "{told}");
        let told = told_of("h:9", Some(&silent));
        assert!(told.starts_with("h:9 does not answer as it should: ") && !told.contains('\u{1b}'), "{told}");
        for part in [" listens, at 2023-", "; 2 events wait; the next attempt is at 2023-", "; 1 event given up"] {
            assert!(told.contains(part), "{part:?} in {told}");
        }
    }

    #[test]
    fn a_comparison_that_failed_is_not_one_of_nothing() {
        assert_eq!(found(&SyncCompared::default(), "failed"), "nothing was compared");
        assert_eq!(found(&SyncCompared::default(), "successful"), "there was nothing to compare");
        let compared = SyncCompared { agreed: 1_200, differed: 3, text: 2, behind: 4, ..SyncCompared::default() };
        assert_eq!(
            found(&compared, "successful"),
            "1,200 authenticated, 3 refused, 2 of those for their text alone, 4 behind Microsoft's newest"
        );
    }

    #[test]
    fn what_no_retry_helps_is_told_with_what_does() {
        let retried = |left| SyncRetried { left, ..SyncRetried::default() };
        assert!(pardoned(&retried(0)).starts_with("nothing is refused, so that"));
        assert!(pardoned(&retried(3)).contains("3 updates held and refused by a comparison"));
    }
}
