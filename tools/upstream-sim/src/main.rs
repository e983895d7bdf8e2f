//! The simulator as a program: `upstream-sim --as microsoft --updates 20000 --listen 127.0.0.1:8530`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "where it listens and what to set is told on standard output"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::json;
use upstream_sim::{Blobs, Character, Options, Sim};

const LONG: &str = "\
While it runs, over HTTP at the same address:
  GET    /_sim/state        what a node should hold; ?products=ID,ID&classifications=ID&languages=en narrows it
  GET    /_sim/identities   the same, revision by revision
  POST   /_sim/advance      publishes a month; ?months=3 for more: new updates, new revisions, expired and superseded ones
  GET    /_sim/log          what was asked, and what more than once; ?lines=N adds the last N requests; DELETE forgets
  POST   /_sim/fault        ?fault=server-busy&count=2&method=GetUpdateData, or the same as JSON; DELETE clears;
                            GET lists every kind. More keys: after, ids, times, delay_ms, bytes_per_second, status, seconds

Examples:
  upstream-sim --as microsoft --updates 20000 --listen 127.0.0.1:8530
  upstream-sim --as wsus --updates 2000 --lazy-ms 500 --log asked.jsonl
  curl -X POST 'http://127.0.0.1:8530/_sim/advance?months=3'
  curl -X POST 'http://127.0.0.1:8530/_sim/fault?fault=bad-cabinet&count=5'";

/// An upstream that speaks MS-WSUSSS: a generated catalog, the bytes of its files, months of changes, faults on command.
#[derive(Parser)]
#[command(version, after_help = LONG)]
struct Arguments {
    /// Whom it plays: Microsoft's service, or a WSUS server that fetches files only when asked
    #[arg(long = "as", value_enum, default_value = "microsoft")]
    character: Character,
    /// Software updates and drivers in the first catalog, hidden ones counted; categories and detectoids come on top
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    updates: usize,
    /// What the catalog and its files follow from
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Months of changes to publish before it starts
    #[arg(long, default_value_t = 0, value_name = "N")]
    months: u32,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8530", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// What MUUrl begins with, instead of this server (microsoft) or Microsoft's download host (wsus)
    #[arg(long, value_name = "URL")]
    mu_url: Option<String>,
    /// Seconds that a cookie lasts, instead of 3600 (microsoft) or 14400 (wsus)
    #[arg(long, value_name = "N")]
    cookie_seconds: Option<u64>,
    /// Updates with documents of 10 to 47 MB
    #[arg(long, default_value_t = 0, value_name = "N")]
    huge: u32,
    /// Factor for file sizes, which are 4 KiB to 2 MiB, most of them small
    #[arg(long, default_value_t = 1.0, value_name = "F")]
    file_scale: f64,
    /// How documents above 5,120 bytes of UTF-16 travel
    #[arg(long, value_enum, default_value = "mixed")]
    blobs: Blobs,
    /// Milliseconds that a file stays missing after DownloadFiles named it (wsus)
    #[arg(long, default_value_t = 0, value_name = "N")]
    lazy_ms: u64,
    /// Has all files from the start (wsus)
    #[arg(long)]
    eager: bool,
    /// Lists what is new in a filter whole only where product and classification are both new to the anchor
    #[arg(long)]
    strict_delta: bool,
    /// Notes each request in this file as a line of JSON
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Tells where it listens as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !(arguments.file_scale > 0.0 && arguments.file_scale <= 1_000_000.0) {
        eprintln!("upstream-sim: --file-scale wants a number above 0, up to 1000000");
        return ExitCode::from(2);
    }
    if arguments.updates > 2_000_000 || arguments.months > 600 {
        eprintln!("upstream-sim: at most 2000000 updates and 600 months");
        return ExitCode::from(2);
    }
    let options = Options {
        character: arguments.character,
        updates: arguments.updates,
        seed: arguments.seed,
        months: arguments.months,
        listen: arguments.listen,
        mu_url: arguments.mu_url.map(|url| url.trim_end_matches('/').to_owned()),
        cookie: arguments.cookie_seconds.map(Duration::from_secs),
        huge: arguments.huge,
        file_scale: arguments.file_scale,
        blobs: arguments.blobs,
        log: arguments.log,
        lazy: Duration::from_millis(arguments.lazy_ms),
        eager: arguments.eager,
        strict_delta: arguments.strict_delta,
    };
    let start = Instant::now();
    let sim = match Sim::start(options) {
        Ok(sim) => sim,
        Err(error) => {
            eprintln!("upstream-sim: {} cannot be served: {error}", arguments.listen);
            return ExitCode::FAILURE;
        }
    };
    tell(&sim, arguments.character, arguments.json, start.elapsed());
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(until_told()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("upstream-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for SIGINT or SIGTERM.
async fn until_told() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate())?;
    tokio::select! {
        told = tokio::signal::ctrl_c() => told,
        _ = term.recv() => Ok(()),
    }
}

fn tell(sim: &Sim, character: Character, as_json: bool, took: Duration) {
    let kind = match character {
        Character::Microsoft => "microsoft",
        Character::Wsus => "wsus",
    };
    let (url, address) = (sim.url(), sim.address());
    let state = sim.state(&json!({}));
    if as_json {
        println!("{}", json!({ "url": url, "address": address.to_string(), "kind": kind, "state": state }));
        return;
    }
    println!("upstream-sim listens at {url} as {kind}; the catalog took {:.1} s to make", took.as_secs_f64());
    println!(
        "  {} updates and drivers, {} categories, {} detectoids, {} files of {} MB",
        state["updates"]["total"],
        state["categories"]["total"],
        state["detectoids"],
        state["files"]["count"],
        state["files"]["bytes"].as_u64().unwrap_or(0) / 1_000_000
    );
    let setting = match character {
        Character::Microsoft => format!("[sync]\n  microsoft = \"{url}\""),
        Character::Wsus => format!("[upstream]\n  kind = \"{kind}\"\n  url = \"{url}\""),
    };
    println!("\nIn waystation.toml:\n\n  {setting}\n");
    println!("  [origins]\n  allow = [\"{address}\"]\n");
    println!("\nWhat it should lead to: {url}/_sim/state   What was asked: {url}/_sim/log   More: --help");
}
