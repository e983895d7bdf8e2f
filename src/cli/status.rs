//! `status`, `health` and `version`: how the node is doing.

use std::time::Duration;

use bytes::Bytes;
use http::Method;

use crate::admin::view::{self, Status, Traffic, Use};
use crate::app::Loaded;
use crate::cli::bandwidth;
use crate::cli::compliance;
use crate::cli::fail::{FAILED, Fail};
use crate::cli::jobs;
use crate::cli::node::Node;
use crate::cli::plan;
use crate::cli::print::{Grid, Out, add};
use crate::cli::size;

/// What the columns of the hours count, below them.
const COUNTED: &str = "\
hits: answers for which nobody was asked; an answer of which a part was still on its way is none
saved: sent less fetched, never below 0; what is fetched ahead counts against it until clients ask for it
";

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
        let mut grid =
            Grid::new(&["hour (utc)", ">answered", ">hits", ">hit ratio", ">refused", ">sent", ">fetched", ">saved"]);
        for hour in busy {
            let traffic = &hour.traffic;
            grid.row([
                hour.at.to_string().chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect(),
                size::count(traffic.answered),
                size::count(traffic.hits),
                traffic.hit_ratio.map_or_else(|| "-".to_owned(), size::percent),
                size::count(traffic.refused),
                size::bytes(traffic.sent),
                size::bytes(traffic.fetched),
                size::bytes(traffic.saved),
            ]);
        }
        add(&mut text, format_args!("\n{}{COUNTED}", grid.text()));
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
    row("store", held(store));
    if store.drafts_count > 0 || store.quarantine > 0 {
        let drafts = format!("{} in {}", size::bytes(store.drafts), size::counted(store.drafts_count, "draft"));
        row("", format!("{drafts}; {} in quarantine", size::bytes(store.quarantine)));
    }
    if let Some(scrub) = &status.scrub {
        let bad = if scrub.bad > 0 { format!(", {} BAD", size::count(scrub.bad)) } else { String::new() };
        let seen = format!("{}, {} read{bad}", size::counted(scrub.payloads, "payload"), size::bytes(scrub.bytes));
        match (scrub.begun_at, scrub.ended_at) {
            (Some(begun), None) => row("scrub", format!("under way since {begun}: {seen}")),
            (_, Some(ended)) => row("scrub", format!("last ended {ended}: {seen}")),
            (None, None) => {}
        }
    }
    for (at, (word, text)) in bandwidth::of_interest(&status.bandwidth).iter().enumerate() {
        row(if at == 0 { "bandwidth" } else { "" }, format!("{word}: {text}"));
    }
    for (key, text) in status.content.as_ref().map(plan::rows).unwrap_or_default() {
        row(key, text);
    }
    if let Some(newcomer) = &status.newcomer {
        row("a new machine", compliance::evaluates(newcomer));
        if newcomer.near_limit {
            row("", compliance::NEAR_LIMIT.to_owned());
        }
    }
    row("24 hours", sentence(&status.day));
    row("in total", sentence(&status.total));
    grid.text()
}

/// How much is held, and how much can be: up to the limit, unless the disk is full before that.
fn held(store: &Use) -> String {
    let reach = store.allocated.saturating_add(store.disk_free.saturating_sub(store.min_free));
    let beyond = if reach < store.max_size {
        format!(": max_size, {}, cannot be reached", size::bytes(store.max_size))
    } else {
        String::new()
    };
    format!(
        "{} of {} in {}; {} free on the disk, of which {} stay free{beyond}",
        size::bytes(store.allocated),
        size::bytes(reach.min(store.max_size)),
        size::counted(store.payloads_count, "payload"),
        size::bytes(store.disk_free),
        size::bytes(store.min_free),
    )
}

fn sentence(traffic: &Traffic) -> String {
    if traffic.requests == 0 {
        return match traffic.fetched {
            0 => "no requests yet".to_owned(),
            fetched => format!("no requests yet; {} fetched ahead of them", size::bytes(fetched)),
        };
    }
    let ratio = traffic.hit_ratio.map(|ratio| format!(", {}", size::percent(ratio))).unwrap_or_default();
    format!(
        "{} answered ({}{ratio}), {} refused; {} sent, {} fetched, {} saved",
        size::count(traffic.answered),
        size::counted(traffic.hits, "hit"),
        size::count(traffic.refused),
        size::bytes(traffic.sent),
        size::bytes(traffic.fetched),
        size::bytes(traffic.saved),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_and_what_was_refused_stand_apart() {
        let traffic = Traffic {
            requests: 22,
            answered: 17,
            hits: 7,
            refused: 5,
            sent: 2048,
            fetched: 1024,
            saved: 1024,
            hit_ratio: Some(7.0 / 17.0),
        };
        let told = sentence(&traffic);
        assert_eq!(told, "17 answered (7 hits, 41.2 %), 5 refused; 2.00 KiB sent, 1.00 KiB fetched, 1.00 KiB saved");
        let refused = Traffic { requests: 1, refused: 1, ..Traffic::default() };
        assert!(sentence(&refused).starts_with("0 answered (0 hits), 1 refused"), "{}", sentence(&refused));
        assert_eq!(sentence(&Traffic::default()), "no requests yet");
    }

    #[test]
    fn a_budget_beyond_the_disk_is_not_promised() {
        let mut store = Use { max_size: 200 << 30, disk_free: 50 << 30, min_free: 10 << 30, ..Use::default() };
        store.payloads_count = 1;
        let told = held(&store);
        assert!(told.starts_with("0 B of 40.0 GiB in 1 payload; 50.0 GiB free"), "{told}");
        assert!(told.ends_with("10.0 GiB stay free: max_size, 200 GiB, cannot be reached"), "{told}");
        store.max_size = 30 << 30;
        assert!(held(&store).ends_with("10.0 GiB stay free"), "{}", held(&store));
        store.disk_free = 1 << 30;
        assert!(held(&store).starts_with("0 B of 0 B in"), "{}", held(&store));
    }
}
