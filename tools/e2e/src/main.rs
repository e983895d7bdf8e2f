//! End-to-end runs of the node against real peers: nginx, curl, aria2, and clients and origins of our own that share
//! no code with it.
//!
//! `waystation-e2e PROGRAM FOLDER [SCENARIO ..]`: runs all scenarios, or those named, and ends with one line that says
//! how many passed and failed. `FOLDER` is made and emptied.

mod branch;
mod bytes;
mod client;
mod faults;
mod http;
mod nginx;
mod node;
mod origin;
mod thin;
mod tls;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// What every scenario is given: the program under test and a folder of its own.
pub struct Stage {
    pub program: PathBuf,
    pub folder: PathBuf,
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
    ("thin-demand", "3 % of 4 GiB: the link carries little more than that", thin::thin_demand),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [program, folder, named @ ..] = words.as_slice() else {
        eprintln!("usage: waystation-e2e PROGRAM FOLDER [SCENARIO ..]");
        for (name, about, _) in SCENARIOS {
            eprintln!("  {name:12} {about}");
        }
        return ExitCode::from(2);
    };
    let (mut passed, mut failed) = (0, 0);
    for (name, about, run) in SCENARIOS {
        if !named.is_empty() && !named.iter().any(|word| word == name) {
            continue;
        }
        println!("--- {name}: {about}");
        let start = Instant::now();
        let stage = Stage { program: PathBuf::from(program), folder: Path::new(folder).join(name) };
        let _ = std::fs::remove_dir_all(&stage.folder);
        let result = std::fs::create_dir_all(&stage.folder).and_then(|()| run(&stage));
        let seconds = start.elapsed().as_secs_f32();
        match result {
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
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
