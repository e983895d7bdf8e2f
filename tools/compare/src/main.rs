//! The node beside its peers: each scenario in turns A B A B, server and load on cores of their own, medians and ratios
//! as a table and as JSON.
//!
//! `waystation-compare [--json FILE] [--rounds N] [--seconds N] [--seed N] [--quick] PROGRAM FOLDER [SCENARIO ..]`; best
//! called by `tools/compare/run`, which builds and installs what is needed. `FOLDER` is made and emptied.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a table on standard output is what this program is for")]

mod bytes;
mod cold;
mod crowd;
mod figures;
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
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};

use crate::machine::Cores;
use crate::stage::Stage;
use crate::table::Table;

/// How often a scenario is gone through, and how long that takes.
#[derive(Clone, Copy, PartialEq)]
enum Turns {
    /// `--rounds` turns of `--seconds` each.
    Timed,
    /// `--rounds` turns, each as long as it takes.
    Counted,
    /// One, whatever is asked for: what it measures is gone through once.
    One,
}

struct Scenario {
    name: &'static str,
    about: &'static str,
    run: fn(&mut Stage) -> io::Result<()>,
    turns: Turns,
}

const SCENARIOS: [Scenario; 7] = [
    Scenario {
        name: "held",
        about: "ranges of a payload in the page cache, beside nginx: plain, TLS 1.3, HTTP/2",
        run: held::held,
        turns: Turns::Timed,
    },
    Scenario {
        name: "cold",
        about: "content larger than memory: a hot request beside it, throughput beside nginx",
        run: cold::cold,
        turns: Turns::Counted,
    },
    Scenario {
        name: "fill",
        about: "what nobody has yet, from a shaped origin, beside nginx, varnish, squid",
        run: fill::fill,
        turns: Turns::Counted,
    },
    Scenario {
        name: "faults",
        about: "the same while the link is cut, or slow, for a while",
        run: fill::faults,
        turns: Turns::Counted,
    },
    Scenario {
        name: "crowd",
        about: "10,000 idle connections, 2,000 clients on a hot object, 500 on a cold one",
        run: crowd::crowd,
        turns: Turns::One,
    },
    Scenario {
        name: "ingest",
        about: "a file imported, beside a plain copy made durable",
        run: ingest::ingest,
        turns: Turns::Counted,
    },
    Scenario {
        name: "floor",
        about: "the same beside loops that only write mapped bytes, or only call sendfile, and nginx",
        run: held::floor,
        turns: Turns::Timed,
    },
];

/// What one scenario gave: its rows in the table, and what a reader must know of its run.
struct Section {
    name: &'static str,
    rows: Range<usize>,
    /// What was asked for: sizes and numbers.
    data: String,
    turns: String,
    /// Load average of a minute before and after it.
    busy: [f64; 2],
}

impl Section {
    /// Where its figures come from, on one line above its table.
    fn facts(&self, machine: &Value) -> String {
        let said = |key: &str| match &machine[key] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        format!(
            "`{}`: commit {}, {}, {} with {} cores, {} scheduling; {}, seed {}; {}; load average {} before, {} after.",
            self.name,
            said("commit"),
            said("kernel"),
            said("cpu"),
            said("cores"),
            said("scheduling"),
            self.data,
            said("seed"),
            self.turns,
            self.busy[0],
            self.busy[1],
        )
    }

    fn json(&self) -> Value {
        json!({
            "scenario": self.name,
            "data": self.data,
            "turns": self.turns,
            "load average before": self.busy[0],
            "load average after": self.busy[1],
        })
    }
}

impl Turns {
    fn text(self, stage: &Stage) -> String {
        let count = if self == Self::One { 1 } else { stage.rounds };
        match (self, count) {
            (Self::Timed, 1) => format!("one turn of {} s", stage.seconds),
            (Self::Timed, _) => format!("{count} turns of {} s each", stage.seconds),
            (_, 1) => "one turn".into(),
            _ => format!("{count} turns"),
        }
    }
}

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
    for Scenario { name, about, .. } in SCENARIOS {
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
    if let Some(unknown) = named.iter().find(|name| !SCENARIOS.iter().any(|known| known.name == name.as_str())) {
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
        data: String::new(),
        table: Table::default(),
    };
    let folder = stage.folder.clone();
    if cores.server == cores.load {
        stage.table.note("one core only: server and load share it, throughputs say little, CPU-seconds still count");
    }
    let mut whole = true;
    let mut sections = Vec::new();
    for Scenario { name, about, run, turns } in SCENARIOS {
        if !named.is_empty() && !named.iter().any(|word| word == name) {
            continue;
        }
        println!("--- {name}: {about}");
        let start = Instant::now();
        stage.folder = folder.join(name);
        fs::create_dir_all(&stage.folder)?;
        let (from, before) = (stage.table.rows.len(), machine::load_average());
        if let Err(error) = run(&mut stage) {
            whole = false;
            stage.table.note(format!("{name} was not run to its end: {error}"));
        }
        fs::remove_dir_all(&stage.folder)?;
        let after = machine::load_average();
        println!("    {name}: {:.0} s, load average before {before}, after {after}", start.elapsed().as_secs_f64());
        sections.push(Section {
            name,
            rows: from..stage.table.rows.len(),
            data: std::mem::take(&mut stage.data),
            turns: turns.text(&stage),
            busy: [before, after],
        });
    }
    println!();
    if let Value::Object(facts) = &facts {
        for (key, value) in facts {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            println!("- {key}: {text}");
        }
    }
    println!("- of several turns: median (lowest to highest); ratio: node over peer, median of the turns\n");
    for section in &sections {
        println!("{}\n\n{}", section.facts(&facts), stage.table.markdown(section.rows.clone()));
    }
    for note in &stage.table.notes {
        println!("- {note}");
    }
    if let Some(file) = &options.json {
        let mut all = stage.table.json();
        all["machine"] = facts;
        all["scenarios"] = sections.iter().map(Section::json).collect();
        all["turns"] = stage.rounds.into();
        all["seconds"] = stage.seconds.into();
        fs::write(file, serde_json::to_string_pretty(&all)?)?;
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_where_its_figures_come_from() {
        let section =
            Section { name: "held", rows: 0..0, data: "256 MiB".into(), turns: "one turn".into(), busy: [0.5, 1.25] };
        let machine = json!({
            "commit": "abc", "kernel": "Linux 6", "cpu": "EPYC", "cores": 2, "scheduling": "normal", "seed": 7
        });
        assert_eq!(
            section.facts(&machine),
            "`held`: commit abc, Linux 6, EPYC with 2 cores, normal scheduling; 256 MiB, seed 7; one turn; load average 0.5 \
             before, 1.25 after."
        );
        assert_eq!(section.json()["data"], "256 MiB");
    }
}
