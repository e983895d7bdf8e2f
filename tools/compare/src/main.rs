//! The node beside its peers: each scenario in turns A B A B, server and load on cores of their own, medians and ratios
//! as a table and as JSON.
//!
//! `waystation-compare [--json FILE] [--rounds N] [--seconds N] [--seed N] [--quick] PROGRAM FOLDER [SCENARIO ..]`; best
//! called by `tools/compare/run`, which builds and installs what is needed. `FOLDER` is made and emptied.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a table on standard output is what this program is for")]

mod bytes;
mod cold;
mod crowd;
mod fill;
mod floor;
mod held;
mod ingest;
mod load;
mod machine;
mod nginx;
mod node;
mod origin;
mod peers;
mod process;
mod stage;
mod table;
mod tools;
mod wire;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use serde_json::Value;

use crate::machine::Cores;
use crate::stage::Stage;
use crate::table::Table;

type Scenario = (&'static str, &'static str, fn(&mut Stage) -> io::Result<()>);

const SCENARIOS: &[Scenario] = &[
    ("held", "ranges of a payload in the page cache, beside nginx: plain, TLS 1.3, HTTP/2", held::held),
    ("cold", "content larger than memory: a hot request beside it, throughput beside nginx", cold::cold),
    ("fill", "what nobody has yet, from a shaped origin, beside nginx, varnish, squid", fill::fill),
    ("crowd", "10,000 idle connections, 2,000 clients on a hot object, 500 on a cold one", crowd::crowd),
    ("ingest", "a file imported, beside a plain copy made durable", ingest::ingest),
    ("floor", "the same beside loops that only write mapped bytes, or only call sendfile, and nginx", held::floor),
];

/// The seed of all contents and orders unless told otherwise.
const SEED: u64 = 20_261_122;

struct Options {
    json: Option<PathBuf>,
    rounds: Option<usize>,
    seconds: Option<u64>,
    seed: u64,
    quick: bool,
    rest: Vec<String>,
}

fn options() -> Result<Options, String> {
    let mut found = Options { json: None, rounds: None, seconds: None, seed: SEED, quick: false, rest: Vec::new() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
            text.parse().map_err(|_| format!("{text} is not a number"))
        }
        match word.as_str() {
            "--json" => found.json = Some(value()?.into()),
            "--rounds" => found.rounds = Some(number(&value()?)?),
            "--seconds" => found.seconds = Some(number(&value()?)?),
            "--seed" => found.seed = number(&value()?)?,
            "--quick" => found.quick = true,
            other if other.starts_with("--") => return Err(format!("{other} is not an option")),
            _ => found.rest.push(word),
        }
    }
    Ok(found)
}

fn usage() {
    eprintln!(
        "usage: waystation-compare [--json FILE] [--rounds N] [--seconds N] [--seed N] [--quick] PROGRAM FOLDER [SCENARIO ..]"
    );
    for (name, about, _) in SCENARIOS {
        eprintln!("  {name:8} {about}");
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, flag, port, file, way] = words.as_slice()
        && flag == "--floor"
    {
        let error = match port.parse() {
            Ok(port) => floor::serve(port, Path::new(file), way == "sendfile").err(),
            Err(_) => Some(io::Error::other("not a port")),
        };
        eprintln!("waystation-compare: the floor ended: {error:?}");
        return ExitCode::FAILURE;
    }
    let options = match options() {
        Ok(options) if options.rest.len() >= 2 => options,
        other => {
            if let Err(error) = other {
                eprintln!("waystation-compare: {error}");
            }
            usage();
            return ExitCode::from(2);
        }
    };
    let named = &options.rest[2..];
    if let Some(unknown) = named.iter().find(|name| !SCENARIOS.iter().any(|(known, _, _)| known == name)) {
        eprintln!("waystation-compare: there is no scenario {unknown}");
        usage();
        return ExitCode::from(2);
    }
    match run(&options, named) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("waystation-compare: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what is named; false if a scenario could not be run to its end.
fn run(options: &Options, named: &[String]) -> io::Result<bool> {
    let cores = Cores::find()?;
    let facts = machine::facts(cores, options.seed);
    cores.take_load()?;
    let mut stage = Stage {
        program: fs::canonicalize(&options.rest[0])?,
        folder: PathBuf::from(&options.rest[1]),
        cores,
        rounds: options.rounds.unwrap_or(if options.quick { 1 } else { 3 }).max(1),
        seconds: options.seconds.unwrap_or(if options.quick { 1 } else { 4 }).max(1),
        quick: options.quick,
        seed: options.seed,
        files: machine::raise_open_files(),
        table: Table::default(),
    };
    let folder = stage.folder.clone();
    if cores.server == cores.load {
        stage.table.note("one core only: server and load share it, throughputs say little, CPU-seconds still count");
    }
    let mut whole = true;
    for (name, about, scenario) in SCENARIOS {
        if !named.is_empty() && !named.iter().any(|word| word == name) {
            continue;
        }
        println!("--- {name}: {about}");
        let start = Instant::now();
        stage.folder = folder.join(name);
        fs::create_dir_all(&stage.folder)?;
        let load = machine::load_average();
        if let Err(error) = scenario(&mut stage) {
            whole = false;
            stage.table.note(format!("{name} was not run to its end: {error}"));
        }
        fs::remove_dir_all(&stage.folder)?;
        println!(
            "    {name}: {:.0} s, load average before {load}, after {}",
            start.elapsed().as_secs_f64(),
            machine::load_average()
        );
    }
    println!();
    if let Value::Object(facts) = &facts {
        for (key, value) in facts {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            println!("- {key}: {text}");
        }
    }
    println!(
        "- turns: {} of {} s each; median (lowest to highest); ratio: node over peer, median of the turns\n",
        stage.rounds, stage.seconds
    );
    println!("{}", stage.table.markdown(0));
    for note in &stage.table.notes {
        println!("- {note}");
    }
    if let Some(file) = &options.json {
        let mut all = stage.table.json();
        all["machine"] = facts;
        all["turns"] = stage.rounds.into();
        all["seconds"] = stage.seconds.into();
        fs::write(file, serde_json::to_string_pretty(&all)?)?;
    }
    Ok(whole)
}
