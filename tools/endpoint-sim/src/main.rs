//! The agents as a program: `endpoint-sim --server http://127.0.0.1:3698 --machines 1000 --seed 7`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what the machines came to is told on standard output")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use endpoint_sim::{Common, Outcome, Plan, Server, Tells, Trust, run, totals};
use serde_json::json;

const LONG: &str = "\
Each machine does what a Windows Update Agent does: GetConfig, the two cookies, RegisterComputer, rounds of SyncUpdates in which it
evaluates prerequisites and rules itself, the pass for drivers, GetExtendedUpdateInfo for what it needs. With --download it fetches the
approved ones in shuffled ranges of 1 MiB, proves both digests and installs in pretence; with --report it sends its events.
A rule that asks for what no simulated machine has (a registry, files) is answered by a truth that follows from the machine's seed and the
update's id: the same seed needs the same updates on every run.

Over TLS the machines believe the authority that --ca names, such as a node's own (`waystation tls ca`), or with --insecure anyone.

--at-once machines are in memory at a time, each with some 100 bytes for each update that it was sent; fragments are read once for all of
them, and files on their way take 512 MiB together at most. What it took is told at the end.

Ends with 0 where every machine converged, with 1 where one did not, with 2 where it was told nonsense.

Examples:
  endpoint-sim --server http://127.0.0.1:3698 --machines 1000 --seed 7
  endpoint-sim --server http://127.0.0.1:3698 --scans 2 --download --report     one machine, then again what is new to it
  endpoint-sim --server https://patches.site.example:6201 --ca site-ca.pem --machines 5000 --at-once 200
  endpoint-sim --server http://127.0.0.1:3698 --machines 50 --json | jq '.machines[] | select(.converged | not) | .why_not'";

/// Windows Update Agents in thousands: they scan against a server, evaluate, download, install in pretence, report.
#[derive(Parser)]
#[command(version, after_help = LONG)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
struct Arguments {
    /// What the machines have as WUServer
    #[arg(long, value_name = "URL")]
    server: String,
    /// The certificates of authorities (PEM) that the machines believe, for a server over https
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<std::path::PathBuf>,
    /// Lets the machines believe any certificate: for a laboratory
    #[arg(long)]
    insecure: bool,
    /// How many machines
    #[arg(long, default_value_t = 1, value_name = "N")]
    machines: u64,
    /// What the machines follow from: their ids, names, Windows, and what is installed on them
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// How many machines talk at a time
    #[arg(long, default_value_t = 32, value_name = "N")]
    at_once: usize,
    /// Scans of each machine; all but the first ask only for what is new
    #[arg(long, default_value_t = 1, value_name = "N")]
    scans: u32,
    /// Download what is approved, and install it in pretence
    #[arg(long)]
    download: bool,
    /// Report events
    #[arg(long)]
    report: bool,
    /// The group that the machines say they belong to
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// How restarts and failures are told: with all lists of the specification; with the two that recorded agents send; that, and a restart
    /// told late; or never
    #[arg(long, value_name = "HOW", default_value = "all", value_parser = ["all", "recorded", "late", "never"])]
    tells: String,
    /// What the names of the machines begin with, instead of pc-
    #[arg(long, value_name = "TEXT")]
    names: Option<String>,
    /// The address of this machine that they come from; on Linux any of 127.0.0.0/8 will do
    #[arg(long, value_name = "ADDRESS")]
    from: Option<std::net::IpAddr>,
    /// Tell everything as JSON: totals, and each machine
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let trust = match trust(&arguments) {
        Ok(trust) => trust,
        Err(error) => {
            eprintln!("endpoint-sim: {error}");
            return ExitCode::from(2);
        }
    };
    let server = match Server::find(&arguments.server, trust.as_ref()) {
        Ok(server) => server,
        Err(error) => {
            let hint =
                if trust.is_none() && arguments.server.starts_with("https") { " (--ca or --insecure)" } else { "" };
            eprintln!("endpoint-sim: --server: {error}{hint}");
            return ExitCode::from(2);
        }
    };
    if arguments.machines > 1_000_000 || !(1..=10_000).contains(&arguments.at_once) {
        eprintln!("endpoint-sim: at most 1000000 machines, and 1 to 10000 at once");
        return ExitCode::from(2);
    }
    let plan = Plan {
        machines: arguments.machines,
        seed: arguments.seed,
        at_once: arguments.at_once,
        scans: arguments.scans,
        download: arguments.download,
        report: arguments.report,
        names: arguments.names,
    };
    let server = match arguments.from {
        Some(from) => server.reached_from(from),
        None => server,
    };
    let mut common = Common::default();
    common.group = arguments.group;
    common.tells = match arguments.tells.as_str() {
        "recorded" => Tells::AsRecorded,
        "late" => Tells::Late,
        "never" => Tells::Never,
        _ => Tells::All,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("endpoint-sim: no threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let start = Instant::now();
    let all = runtime.block_on(run(&server, &plan, &common));
    let took = start.elapsed();
    if arguments.json {
        let machines: Vec<_> = all.iter().map(Outcome::json).collect();
        let mut totals = totals(&plan, &all, took);
        totals["peak_memory_bytes"] = peak_memory().into();
        println!("{}", json!({ "totals": totals, "machines": machines }));
    } else {
        tell(&plan, &all, took);
    }
    let whole = all.len() as u64 == plan.machines && all.iter().all(Outcome::converged);
    if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whom the machines believe over TLS, where something was said of it.
fn trust(arguments: &Arguments) -> Result<Option<Trust>, String> {
    if arguments.insecure {
        return Trust::anyone().map(Some);
    }
    let Some(file) = &arguments.ca else { return Ok(None) };
    let told = |error: String| format!("--ca {}: {error}", file.display());
    let pem = std::fs::read(file).map_err(|error| told(error.to_string()))?;
    Trust::authority(&pem).map(Some).map_err(told)
}

/// The most memory that this process had, in bytes, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

fn tell(plan: &Plan, all: &[Outcome], took: Duration) {
    if all.len() <= 20 {
        for outcome in all {
            let last = outcome.scans.last().map(|(scan, _)| scan);
            let why = outcome.failure.as_ref().map_or_else(|| "converged".to_owned(), ToString::to_string);
            println!(
                "{}  {} rounds, {} needed, {} installed, {} KB, {} ms  {why}",
                outcome.machine.name,
                outcome.scans.iter().map(|(scan, _)| scan.rounds).sum::<u32>(),
                last.map_or(0, |scan| scan.verdict.needed.len()),
                last.map_or(0, |scan| scan.verdict.installed.len()),
                outcome.received / 1000,
                outcome.took.as_millis()
            );
        }
    } else {
        for outcome in all.iter().filter(|outcome| !outcome.converged()).take(20) {
            let why = outcome.failure.as_ref().map(ToString::to_string).unwrap_or_default();
            println!("{}  {why}", outcome.machine.name);
        }
    }
    let sum = totals(plan, all, took);
    println!(
        "{} of {} machines converged in {:.1} s: {} scans, {} rounds (most {}), {} MB of answers, {} events",
        sum["converged"],
        sum["machines"],
        took.as_secs_f64(),
        sum["scans"],
        sum["rounds"],
        sum["most_rounds"],
        sum["soap_bytes"].as_u64().unwrap_or(0) / 1_000_000,
        sum["events"]
    );
    println!(
        "{} files of {} KB, {} updates installed in pretence, {} failed; a machine took {} ms (median), {} ms (p95)",
        sum["files"],
        sum["file_bytes"].as_u64().unwrap_or(0) / 1_000,
        sum["installed_now"],
        sum["install_failures"],
        sum["machine_ms"]["median"],
        sum["machine_ms"]["p95"]
    );
    if let Some(bytes) = peak_memory() {
        println!("{} MB of memory at most", bytes / 1_000_000);
    }
}
