//! `sync start|stop|status|history`: runs of the catalog.

use std::time::Duration;

use crate::admin::view::{Started, Sync, SyncCounts, SyncHistory, SyncRun, SyncRunning, SyncStopped};
use crate::app::Loaded;
use crate::cli::fail::Fail;
use crate::cli::print::{Grid, Out, add};
use crate::cli::verbs::SyncVerb;
use crate::cli::{follow, plan, size};

pub(in crate::cli) fn run(loaded: &Loaded, verb: &SyncVerb, out: Out) -> Result<(), Fail> {
    super::with(super::running(loaded)?, async |node| match *verb {
        SyncVerb::Start { detach } => {
            let started: Started = node.post("/api/v1/sync/start", &()).await?;
            follow::started(node, started, detach, out).await
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
            let before = before.map(|before| format!("&before={before}")).unwrap_or_default();
            let page: SyncHistory = node.get(&format!("/api/v1/sync/history?limit={limit}{before}")).await?;
            out.both(&page, history)
        }
    })
}

fn people(state: &Sync) -> String {
    let mut grid = Grid::new(&["", ""]);
    let mut row = |key: &str, is: String| grid.row([key.to_owned(), is]);
    let proven = if state.upstream.unauthenticated { " (plain HTTP: not authenticated)" } else { "" };
    row("upstream", format!("{} at {}{proven}", state.upstream.kind, state.upstream.address));
    if let Some(held) = &state.held_from {
        row("", format!("what is held is of {} at {} until the first run has ended well", held.kind, held.address));
    }
    row("run", state.running.as_ref().map_or_else(|| "none is under way".to_owned(), running));
    let next = state.next_at.map_or_else(|| "the schedule is off ([sync] enabled)".to_owned(), |at| at.to_string());
    row("next run", next);
    row("last run", state.last.as_ref().map_or_else(|| "none yet".to_owned(), ended));
    if let Some(run) = state.last_success.as_ref().filter(|run| state.last.as_ref() != Some(run)) {
        row("last success", ended(run));
    } else if state.last_success.is_none() && state.last.is_some() {
        row("last success", "none yet".to_owned());
    }
    let mut held = format!("{} updates", size::count(state.updates));
    if state.wanted > 0 {
        add(&mut held, format_args!(", {} revisions still to be fetched", size::count(state.wanted)));
    }
    if state.refused > 0 {
        add(&mut held, format_args!(", {} in quarantine", size::count(state.refused)));
    }
    row("catalog", held);
    for (key, text) in state.content.as_ref().map(plan::rows).unwrap_or_default() {
        row(key, text);
    }
    grid.text()
}

fn running(run: &SyncRunning) -> String {
    let mut text = format!("job {}", run.job);
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
    text
}

fn ended(run: &SyncRun) -> String {
    let mut text = format!("{}, {}", run.started_at, run.outcome);
    if let Some(took) = run.took_ms {
        add(&mut text, format_args!(" after {}", size::time(Duration::from_millis(took))));
    }
    add(&mut text, format_args!("; {}", words(&run.counts)));
    if !run.reason.is_empty() {
        add(&mut text, format_args!(": {}", run.reason));
    }
    text
}

fn words(counts: &SyncCounts) -> String {
    let named = [
        (counts.new, "new"),
        (counts.changed, "changed"),
        (counts.expired, "withdrawn"),
        (counts.superseded, "superseded"),
        (counts.refused, "refused"),
        (counts.pruned, "gone"),
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
        ">new",
        ">changed",
        ">withdrawn",
        ">superseded",
        ">files",
        ">wanted",
        ">received",
        ">refused",
        ">gone",
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
            run.upstream.clone(),
        ]);
    }
    if grid.is_empty() {
        return "no runs\n".to_owned();
    }
    let mut text = grid.text();
    for run in page.runs.iter().filter(|run| !run.reason.is_empty()) {
        add(&mut text, format_args!("run {}: {}\n", run.id, run.reason));
    }
    if let Some(next) = page.next {
        add(&mut text, format_args!("older ones: waystation sync history --before {next}\n"));
    }
    text
}
