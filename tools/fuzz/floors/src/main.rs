//! One libFuzzer program with a target for each codec of what an upstream server, an endpoint and another node send. `WAYSTATION_FUZZ` names
//! the target; `tools/fuzz/run` builds and runs them.
#![no_main]

mod endpoints;
mod messages;
mod metadata;
mod peer;

use std::sync::OnceLock;

type Target = fn(&[u8]);

const TARGETS: &[(&str, Target)] = &[
    ("soap", messages::soap),
    ("cabinet", messages::cabinet),
    ("metadata", metadata::metadata),
    ("wusp", endpoints::wusp),
    ("xpress", endpoints::xpress),
    ("peer", peer::peer),
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
