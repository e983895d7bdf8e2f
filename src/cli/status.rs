//! `status`, `health` and `version`: how the node is doing.

use std::time::Duration;

use bytes::Bytes;
use http::Method;

use crate::admin::view::{self, Status, Traffic};
use crate::app::Loaded;
use crate::cli::bandwidth;
use crate::cli::fail::{FAILED, Fail};
use crate::cli::jobs;
use crate::cli::node::Node;
use crate::cli::print::{Grid, Out, add};
use crate::cli::size;

/// How often `--watch` looks.
const LOOK: Duration = Duration::from_secs(2);

pub(in crate::cli) fn run(loaded: &Loaded, watch: bool, out: Out) -> Result<(), Fail> {
    super::with(super::running(loaded)?, async |node| {
        loop {
            let status: Status = node.get("/api/v1/status").await?;
            if watch {
                out.clear();
            }
            out.both(&status, people)?;
            if !watch {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = tokio::signal::ctrl_c() => return Ok(()),
            }
        }
    })
}

pub(in crate::cli) fn health(loaded: &Loaded, out: Out) -> Result<(), Fail> {
    let (status, answer) =
        super::with(super::running(loaded)?, async |node| node.ask(Method::GET, "/readyz", Bytes::new()).await)?;
    if status == 200 {
        return out.both(&serde_json::json!({ "ready": true }), |_| "ready".to_owned());
    }
    let problem = serde_json::from_slice::<view::Problem>(&answer);
    let (what, next) = problem.map(|problem| (problem.title, problem.detail)).unwrap_or_default();
    Err(Fail { what: format!("not ready: {what}"), next, code: FAILED })
}

pub(in crate::cli) fn version(loaded: Option<&Loaded>, out: Out) -> Result<(), Fail> {
    let own = env!("CARGO_PKG_VERSION");
    let node = match loaded.map(Node::running) {
        Some(Ok(node)) => super::with(node, async |node| node.get::<Status>("/api/v1/status").await).ok(),
        _ => None,
    };
    let node = node.map(|status| status.node.version);
    out.both(&serde_json::json!({ "command": own, "node": node }), |_| match &node {
        Some(node) if node != own => format!("waystation {own}\nthe running node is {node}: restart it"),
        _ => format!("waystation {own}"),
    })
}

fn people(status: &Status) -> String {
    let mut text = head(status);
    let busy: Vec<_> =
        status.hours.iter().filter(|hour| hour.traffic.requests > 0 || hour.traffic.fetched > 0).collect();
    if !busy.is_empty() {
        let mut grid = Grid::new(&["hour (utc)", ">requests", ">hits", ">sent", ">fetched", ">saved"]);
        for hour in busy {
            let mut cells =
                vec![hour.at.to_string().chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect()];
            cells.extend(numbers(&hour.traffic));
            grid.row(cells);
        }
        add(&mut text, format_args!("\n{}", grid.text()));
    }
    if !status.flights.is_empty() {
        let mut grid = Grid::new(&["being filled", ">in", ">rate", ">waiting", "step", "from"]);
        for flight in &status.flights {
            let size = flight.size.map_or_else(|| "?".to_owned(), size::bytes);
            grid.row([
                flight.name.clone(),
                format!("{} of {size}", size::bytes(flight.covered)),
                if flight.pause.is_some() { "-".to_owned() } else { format!("{}/s", size::bytes(flight.bytes_per_s)) },
                size::count(flight.waiting),
                flight.pause.as_ref().unwrap_or(&flight.step).clone(),
                flight.source.clone(),
            ]);
        }
        add(&mut text, format_args!("\n{}", grid.text()));
        if status.flights.iter().any(|flight| flight.pause.is_some()) {
            text.push_str("what is paused goes on by itself: `waystation bandwidth show` says by which rule\n");
        }
    }
    if !status.upstream.is_empty() {
        let mut grid = Grid::new(&["origin", "state", ">answered", ">failed", ">received", ">answers in", "last"]);
        for host in &status.upstream {
            let last = host.last_error.clone().or_else(|| host.last_status.map(|status| status.to_string()));
            grid.row([
                host.host.clone(),
                host.state.clone(),
                size::count(host.answered),
                size::count(host.failed),
                size::bytes(host.bytes),
                format!("{} ms", host.round_trip_ms),
                last.unwrap_or_default(),
            ]);
        }
        add(&mut text, format_args!("\n{}", grid.text()));
    }
    if !status.jobs.is_empty() {
        add(&mut text, format_args!("\n{}", jobs::list(&status.jobs)));
    }
    text
}

fn head(status: &Status) -> String {
    let mut grid = Grid::new(&["", ""]);
    let mut row = |key: &str, value: String| grid.row([key.to_owned(), value]);
    let node = &status.node;
    let health = match status.health.why.as_str() {
        "" => status.health.state.clone(),
        why => format!("{}: {why}", status.health.state.to_uppercase()),
    };
    let up = size::time(Duration::from_secs(node.uptime_s));
    row("node", format!("waystation {}, {health}, up {up}", node.version));
    row("data", format!("{} (store {}, epoch {})", node.data, node.id, node.epoch));
    for (at, listening) in status.listening.iter().enumerate() {
        row(if at == 0 { "listening" } else { "" }, format!("{:<8} {}", listening.face, listening.address));
    }
    let store = &status.store;
    row(
        "store",
        format!(
            "{} of {} in {} payloads; {} free on the disk, of which {} stay free",
            size::bytes(store.allocated),
            size::bytes(store.max_size),
            size::count(store.payloads_count),
            size::bytes(store.disk_free),
            size::bytes(store.min_free),
        ),
    );
    if store.drafts_count > 0 || store.quarantine > 0 {
        let drafts = format!("{} in {} drafts", size::bytes(store.drafts), size::count(store.drafts_count));
        row("", format!("{drafts}; {} in quarantine", size::bytes(store.quarantine)));
    }
    if let Some(scrub) = &status.scrub {
        let bad = if scrub.bad > 0 { format!(", {} BAD", size::count(scrub.bad)) } else { String::new() };
        let seen = format!("{} payloads, {} read{bad}", size::count(scrub.payloads), size::bytes(scrub.bytes));
        match (scrub.begun_at, scrub.ended_at) {
            (Some(begun), None) => row("scrub", format!("under way since {begun}: {seen}")),
            (_, Some(ended)) => row("scrub", format!("last ended {ended}: {seen}")),
            (None, None) => {}
        }
    }
    for (at, (word, text)) in bandwidth::of_interest(&status.bandwidth).iter().enumerate() {
        row(if at == 0 { "bandwidth" } else { "" }, format!("{word}: {text}"));
    }
    row("24 hours", sentence(&status.day));
    row("in total", sentence(&status.total));
    grid.text()
}

fn sentence(traffic: &Traffic) -> String {
    if traffic.requests == 0 {
        return match traffic.fetched {
            0 => "no requests yet".to_owned(),
            fetched => format!("no requests yet; {} fetched ahead of them", size::bytes(fetched)),
        };
    }
    let [requests, hits, sent, fetched, saved] = numbers(traffic);
    format!("{requests} requests, {hits} hits; {sent} sent, {fetched} fetched, {saved} saved")
}

fn numbers(traffic: &Traffic) -> [String; 5] {
    [
        size::count(traffic.requests),
        traffic.hit_ratio.map_or_else(|| "-".to_owned(), size::percent),
        size::bytes(traffic.sent),
        size::bytes(traffic.fetched),
        size::bytes(traffic.saved),
    ]
}
