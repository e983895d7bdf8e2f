//! One libFuzzer program with a target for every parser that takes bytes from outside, but for the codecs of the catalog,
//! which `floors` has. `WAYSTATION_FUZZ` names the target; `tools/fuzz/run` builds and runs them.
//!
//! Only what is public is called: what is private to a room is reached as the program reaches it, through a file, an index
//! or a socket. A panic anywhere, in any thread, is a finding; so is an overflow, which this build checks.
#![no_main]

mod pure;
mod store;
mod tls;
mod upstream;

use std::sync::OnceLock;

type Target = fn(&[u8]);

const TARGETS: &[(&str, Target)] = &[
    ("request", pure::request),
    ("origin", pure::origin),
    ("settings", pure::settings),
    ("control", pure::control),
    ("certificate", tls::certificate),
    ("proof", store::proof),
    ("rows", store::rows),
    ("answer", upstream::answer),
];

static CHOSEN: OnceLock<Target> = OnceLock::new();

fn choose() {
    let wanted = std::env::var("WAYSTATION_FUZZ").unwrap_or_default();
    match TARGETS.iter().find(|(name, _)| *name == wanted) {
        Some((_, target)) => drop(CHOSEN.set(*target)),
        None => {
            let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            eprintln!("WAYSTATION_FUZZ must be one of {}", names.join(", "));
            std::process::exit(2);
        }
    }
}

libfuzzer_sys::fuzz_target!(init: choose(), |data: &[u8]| {
    if let Some(target) = CHOSEN.get() {
        target(data);
    }
});
