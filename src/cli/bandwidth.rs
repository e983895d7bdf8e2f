//! `bandwidth show|set|clear`: which rules hold, and other ones while the node runs.

use crate::admin::view::bandwidth::{Bandwidth, Set};
use crate::app::Loaded;
use crate::cli::fail::Fail;
use crate::cli::node;
use crate::cli::print::{Grid, Out, add};
use crate::cli::size;
use crate::cli::verbs::BandwidthVerb;

pub(in crate::cli) fn run(loaded: &Loaded, verb: &BandwidthVerb, out: Out) -> Result<(), Fail> {
    super::with(super::running(loaded)?, async |node| {
        let path = |key: &str| format!("/api/v1/bandwidth/{}", node::segment(key));
        let bandwidth: Bandwidth = match verb {
            BandwidthVerb::Show => node.get("/api/v1/bandwidth").await?,
            BandwidthVerb::Set { key, rules } => node.post(&path(key), &serde_json::json!({ "rules": rules })).await?,
            BandwidthVerb::Clear { key } => {
                let before: Bandwidth = node.get("/api/v1/bandwidth").await?;
                let after = node.delete(&path(key)).await?;
                return out.both(&after, |after| format!("{}\n\n{}", cleared(key, &before, after), people(after)));
            }
        };
        out.both(&bandwidth, people)
    })
}

/// What came of taking back what was set at run time.
fn cleared(key: &str, before: &Bandwidth, after: &Bandwidth) -> String {
    let holds = match after.set(key) {
        Some(set) if set.layer != "default" => format!("what {} says holds", set.from),
        _ => "the default holds".to_owned(),
    };
    match before.set(key) {
        Some(set) if set.layer == "local" => format!("{key}: taken back is what was set ({}); {holds} again", set.from),
        _ => format!("{key}: nothing was set at run time, so that there is nothing to take back; {holds}"),
    }
}

/// Where a value comes from, for people.
fn from(set: &Set) -> String {
    format!("{}{}", set.from, if set.locked { " (locked)" } else { "" })
}

fn people(bandwidth: &Bandwidth) -> String {
    let mut grid = Grid::new(&["class", "now", ">waiting", ">bytes", "set by"]);
    for class in &bandwidth.classes {
        grid.row([
            class.class.clone(),
            class.in_force.text.clone(),
            size::count(class.waiting),
            // Answers are counted only where a limit holds.
            match (class.class.as_str(), class.bytes) {
                ("clients" | "nodes", 0) => "-".to_owned(),
                (_, bytes) => size::bytes(bytes),
            },
            from(&class.set),
        ]);
    }
    let mut text = grid.text();
    if !bandwidth.networks.is_empty() {
        let mut grid = Grid::new(&["network", "now, for each part", ">parts in use", ">waiting"]);
        for network in &bandwidth.networks {
            let (parts, waiting) = (size::count(network.parts), size::count(network.waiting));
            grid.row([network.network.clone(), network.in_force.text.clone(), parts, waiting]);
        }
        add(&mut text, format_args!("\n{}", grid.text()));
    }
    let mut grid = Grid::new(&["", "", ""]);
    let mut row = |key: &str, is: &str, set: &Set| grid.row([key.to_owned(), is.to_owned(), from(set)]);
    row("timezone", &bandwidth.timezone, &bandwidth.timezone_set);
    row("give_way", if bandwidth.give_way { "true" } else { "false" }, &bandwidth.give_way_set);
    add(&mut text, format_args!("\n{}{}", grid.text(), background(bandwidth)));
    text
}

fn background(bandwidth: &Bandwidth) -> String {
    match (bandwidth.give_way, bandwidth.background_held_to) {
        (false, _) => "sync, prefetch and definitions do not give way\n".to_owned(),
        (true, None) => {
            "sync, prefetch and definitions give way when origins answer late; they do not just now\n".to_owned()
        }
        (true, Some(rate)) => {
            format!(
                "origins answer late: sync, prefetch and definitions give way, at {}/s together\n",
                size::bytes(rate)
            )
        }
    }
}

/// What `status` says of it: only what is held back, now or at another time.
pub(in crate::cli) fn of_interest(bandwidth: &Bandwidth) -> Vec<(String, String)> {
    let classes = bandwidth.classes.iter().map(|class| (&class.class, &class.in_force, class.waiting));
    let networks = bandwidth.networks.iter().map(|network| (&network.network, &network.in_force, network.waiting));
    let held = classes.chain(networks).filter(|(_, in_force, _)| in_force.is_of_interest());
    let mut rows: Vec<_> = held
        .map(|(word, in_force, waiting)| {
            let waiting = if waiting > 0 { format!("; {} wait", size::count(waiting)) } else { String::new() };
            (word.clone(), format!("{}{waiting}", in_force.text))
        })
        .collect();
    if let Some(rate) = bandwidth.background_held_to {
        let text = format!("give way to others at {}/s, since origins answer late", size::bytes(rate));
        rows.push(("sync, prefetch and definitions".to_owned(), text));
    }
    rows
}
