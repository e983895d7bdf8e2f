//! End-to-end runs of the node against real peers: nginx, curl, aria2, and clients and origins of our own that share
//! no code with it.
//!
//! `waystation-e2e PROGRAM FOLDER [OPTION ..] [SCENARIO ..]`: runs all scenarios but the long ones, or those named, and ends
//! with one line that says how many passed, failed and were skipped. `FOLDER` is made and emptied. `--full` runs the long ones too,
//! `--soak=SECONDS` and `--hostile=SECONDS` say how long they are, `--seed=NUMBER` repeats a run of them.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what passed and what failed is what this program is for"
)]

mod branch;
mod bytes;
mod catalog;
mod chain;
mod client;
mod faults;
mod hostile;
mod http;
mod machines;
mod moment;
mod nginx;
mod node;
mod origin;
mod soak;
mod soap;
mod thin;
mod tls;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

/// What every scenario is given: the program under test and a folder of its own.
pub struct Stage {
    /// The node's program.
    pub program: PathBuf,
    /// Where the scenario may write; there and empty.
    pub folder: PathBuf,
    /// What a long scenario chooses by.
    pub seed: u64,
    /// How long a long scenario goes on.
    pub seconds: u64,
}

type Scenario = (&'static str, &'static str, fn(&Stage) -> io::Result<String>);

const SCENARIOS: &[Scenario] = &[
    ("branch", "nginx with 1 GiB; eight clients, aria2, curl; each byte read once; nginx stopped", branch::branch),
    ("killed", "SIGKILL in mid-fill, restart: at most 32 MiB a flight is fetched again", branch::killed),
    ("rot", "a flipped bit: found, its group fetched again, or quarantined", faults::rot),
    ("index", "a lost index: named, rebuilt, restored", faults::index),
    ("disk", "a full disk, a read-only one: clients are served all the same", faults::disk),
    ("tls", "curl over HTTPS and HTTP/2 against the site CA; openssl with one old suite", tls::tls),
    ("thin-link", "2 Mbit/s, 24 MiB, 7 connections: no response is given up", thin::thin_link),
    (
        "catalog",
        "20,000 updates, ten kills in all phases, critical files, three months; a WSUS that has its files yet to fetch",
        catalog::catalog,
    ),
    (
        "machines",
        "1,000 simulated agents below a node: each needs what it should, through decisions and a month of changes",
        machines::machines,
    ),
    (
        "fleet",
        "1,000 agents in groups: approvals inherited and overridden, deadlines, licences, a review, a rule; counts recounted",
        machines::fleet,
    ),
    (
        "chain",
        "three nodes below each other and a WSUS server: catalog, decisions and files reach the lowest; each file sent once; revoked",
        chain::chain,
    ),
    ("soap", "a client made of the specification's WSDL scans; another decoder reads what was packed", soap::soap),
    ("thin-demand", "3 % of 4 GiB: the link carries little more than that", thin::thin_demand),
];

/// A long scenario, and how many seconds it goes on unless told otherwise.
type Long = (&'static str, u64, &'static str, fn(&Stage) -> io::Result<String>);

const LONG: &[Long] = &[
    (
        "soak",
        1200,
        "faulty origins, every client, verbs, reloads, kills, flipped bits: no wrong byte, no growth",
        soak::soak,
    ),
    ("hostile", 300, "malformed requests, TLS, HTTP/2 and control calls: alive, healthy, no growth", hostile::hostile),
];

/// What the command line says.
struct Options {
    program: PathBuf,
    folder: PathBuf,
    full: bool,
    seed: u64,
    /// Seconds of each of [`LONG`].
    seconds: Vec<u64>,
    named: Vec<String>,
}

fn options() -> Option<Options> {
    let mut words = std::env::args().skip(1);
    let (program, folder) = (words.next()?.into(), words.next()?.into());
    // Another one each time, and printed.
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |time| time.as_secs() % 1_000_000);
    let seconds = LONG.iter().map(|(_, seconds, ..)| *seconds).collect();
    let mut options = Options { program, folder, full: false, seed, seconds, named: Vec::new() };
    for word in words {
        match word.strip_prefix("--").map(|word| word.split_once('=').unwrap_or((word, ""))) {
            None => options.named.push(word),
            Some(("full", "")) => options.full = true,
            Some(("seed", number)) => options.seed = number.parse().ok()?,
            Some((name, number)) => {
                let at = LONG.iter().position(|(long, ..)| *long == name)?;
                options.seconds[at] = number.parse().ok()?;
            }
        }
    }
    let known = |name: &String| SCENARIOS.iter().any(|row| row.0 == name) || LONG.iter().any(|row| row.0 == name);
    options.named.iter().all(known).then_some(options)
}

fn usage() -> ExitCode {
    eprintln!("usage: waystation-e2e PROGRAM FOLDER [--full] [--seed=NUMBER] [--SCENARIO=SECONDS ..] [SCENARIO ..]");
    for (name, about, _) in SCENARIOS {
        eprintln!("  {name:12} {about}");
    }
    eprintln!("with --full, or named:");
    for (name, seconds, about, _) in LONG {
        eprintln!("  {name:12} {about} ({seconds} s)");
    }
    ExitCode::from(2)
}

fn main() -> ExitCode {
    let Some(options) = options() else { return usage() };
    let short = SCENARIOS.iter().map(|(name, about, run)| (*name, *about, *run, 0, true));
    let long = LONG
        .iter()
        .zip(&options.seconds)
        .map(|((name, _, about, run), seconds)| (*name, *about, *run, *seconds, options.full));
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, about, run, seconds, usual) in short.chain(long) {
        let wanted = if options.named.is_empty() { usual } else { options.named.iter().any(|word| word == name) };
        if !wanted {
            continue;
        }
        println!("--- {name}: {about}");
        let start = Instant::now();
        let stage =
            Stage { program: options.program.clone(), folder: options.folder.join(name), seed: options.seed, seconds };
        let _ = std::fs::remove_dir_all(&stage.folder);
        let result = std::fs::create_dir_all(&stage.folder).and_then(|()| run(&stage));
        let seconds = start.elapsed().as_secs_f32();
        match result {
            // What needs something that is not here says so.
            Ok(said) if said.starts_with("skipped: ") => {
                skipped += 1;
                println!("{said}");
                let _ = std::fs::remove_dir_all(&stage.folder);
            }
            Ok(said) => {
                passed += 1;
                println!("{said}\nok   {name} ({seconds:.1} s)");
                let _ = std::fs::remove_dir_all(&stage.folder);
            }
            Err(error) => {
                failed += 1;
                println!("FAIL {name} ({seconds:.1} s): {error}\n     what it left: {}", stage.folder.display());
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 && passed + skipped > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
