//! Three nodes below each other, of which the topmost synchronises with a WSUS server: catalog, decisions, settings and files reach the lowest and
//! the endpoints there, each file leaves the server once, a node in between may die at any time, and who is revoked gets nothing more.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use endpoint_sim::{Common, Crowd, Plan, Server};
use serde_json::json;
use upstream_sim::{Character, Options, Sim};

use crate::Stage;
use crate::branch::check;
use crate::catalog::{self, POLICY, ask, critical, expected, held, prefetched, same};
use crate::node::{Node, wait_for};

/// Updates of the WSUS server.
const UPDATES: usize = 1_000;

/// Machines below the leaf.
const MACHINES: u64 = 20;

/// What is decided at the top is to be there below within this, two nodes down.
const SOON: Duration = Duration::from_secs(10);

/// A node with a listener for nodes below.
fn start(stage: &Stage, name: &str, sim: &Sim, more: &str) -> io::Result<Node> {
    let more = format!("{POLICY}{more}");
    Node::start_listening(&stage.program, &stage.folder.join(name), &[sim.address()], &more)
}

/// Joins `below` to `above` as a person does: a token on one side, its file on the other.
fn join(above: &Node, below: &Node, name: &str, folder: &Path) -> io::Result<()> {
    let invited = ask(above, &["nodes", "invite", name, "--approve"])?;
    let token = invited["token"].as_str().ok_or_else(|| io::Error::other(format!("no token in {invited}")))?;
    let file = folder.join(format!("{name}.token"));
    std::fs::write(&file, token)?;
    below.verb(&["join", "--token-file", &file.display().to_string()])?;
    // Once the parent's feed is verified the parent is the upstream, from the next start on.
    wait_for("the parent to be the upstream", || {
        let is_parent = |row: &serde_json::Value| {
            row["key"] == "upstream.kind" && (row["value"] == "parent" || row["next"]["value"] == "parent")
        };
        let told = ask(below, &["config", "show"]).unwrap_or_default();
        told.as_array().is_some_and(|rows| rows.iter().any(is_parent))
    })
}

/// Whether a node knows of the machines below the leaf.
fn knows(node: &Node) -> bool {
    let told = ask(node, &["nodes", "list"]).unwrap_or_default();
    let rows = told["rows"].as_array().cloned().unwrap_or_default();
    rows.iter().any(|row| row["name"] == "leaf" && row["endpoints"]["endpoints"].as_u64() == Some(MACHINES))
}

/// The value of a setting.
fn setting(node: &Node, key: &str) -> Option<serde_json::Value> {
    let rows = ask(node, &["config", "show"]).ok()?;
    rows.as_array()?.iter().find(|row| row["key"] == key).map(|row| row["value"].clone())
}

/// Machines below the leaf find, fetch and install what is approved at the top. Says how many were installed.
fn endpoints(stage: &Stage, sim: &Sim, top: &Node, leaf: &Node) -> io::Result<usize> {
    let other = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    let all = sim.deployable(&json!({}));
    let can = |update: &&serde_json::Value| {
        !update["kb"].is_null()
            && [&update["expired"], &update["superseded"], &update["licence"]].iter().all(|is| **is == false)
    };
    let ids: Vec<&str> =
        all.as_array().into_iter().flatten().filter(can).filter_map(|one| one["id"].as_str()).take(40).collect();
    let mut words = vec!["updates", "approve"];
    words.extend(&ids);
    top.verb(&words)?;
    arrives("approvals", top, leaf, &["approvals", "list"])?;
    let server = Server::find(&format!("http://{}", leaf.http), None).map_err(|error| other(&error))?;
    let plan = Plan { machines: MACHINES, seed: stage.seed, at_once: 8, ..Plan::default() };
    let mut crowd = Crowd::new(&server, &plan, &Common::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let installed = runtime.block_on(async {
        crowd.scan().await.map_err(|error| other(&error))?;
        let done = crowd.install().await;
        for (agent, done) in crowd.agents().iter().zip(&done) {
            let ours = done.failed.iter().find(|(_, why)| !why.contains("this machine's seed"));
            check(ours.is_none(), || format!("{}: {ours:?}", agent.machine().name))?;
        }
        crowd.agents().iter_mut().for_each(endpoint_sim::Agent::restart);
        crowd.scan().await.map_err(|error| other(&error))?;
        crowd.report().await.map_err(|error| other(&error))?;
        Ok::<_, io::Error>(done.iter().map(|done| done.installed).sum::<usize>())
    })?;
    check(installed > 0, || "nothing was installed below the leaf".into())?;
    Ok(installed)
}

/// Waits until what a node prints for a verb is the same on another one; how long that took.
fn arrives(what: &str, above: &Node, below: &Node, words: &[&str]) -> io::Result<Duration> {
    let (begun, wanted) = (Instant::now(), pruned(ask(above, words)?));
    wait_for(what, || ask(below, words).is_ok_and(|told| pruned(told) == wanted))?;
    Ok(begun.elapsed())
}

/// Without what is of each node alone: when it heard of something, and numbers of its own.
fn pruned(mut told: serde_json::Value) -> serde_json::Value {
    match &mut told {
        serde_json::Value::Object(fields) => {
            for own in ["at", "changed_at", "revision", "members", "endpoints", "next", "number"] {
                fields.remove(own);
            }
            for (_, value) in fields.iter_mut() {
                *value = pruned(value.take());
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| *item = pruned(item.take())),
        _ => {}
    }
    told
}

pub(crate) fn chain(stage: &Stage) -> io::Result<String> {
    let options =
        Options { character: Character::Wsus, updates: UPDATES, seed: 5, file_scale: 0.05, ..Options::default() };
    let sim = Sim::start(options)?;
    let upstream = format!("[upstream]\nkind = \"wsus\"\nurl = [\"{}\"]\n", sim.url());
    let mut top = start(stage, "top", &sim, &upstream)?;
    let (mut middle, mut leaf) = (start(stage, "middle", &sim, "")?, start(stage, "leaf", &sim, "")?);
    catalog::run(&top)?;
    let wanted = critical(&sim, &json!({}));
    prefetched(&top, &wanted, true, "at the top")?;

    let begun = Instant::now();
    join(&top, &middle, "middle", &stage.folder)?;
    middle.stop()?;
    middle.run()?;
    join(&middle, &leaf, "leaf", &stage.folder)?;
    leaf.stop()?;
    leaf.run()?;
    for (node, name) in [(&middle, "middle"), (&leaf, "leaf")] {
        wait_for(&format!("the catalog at {name}"), || {
            held(node).is_ok_and(|held| held.len() == expected(&sim, &json!({})).len())
        })?;
        same(&held(node)?, &expected(&sim, &json!({})), name)?;
    }
    let joined = begun.elapsed();
    for (node, name) in [(&middle, "in the middle"), (&leaf, "at the leaf")] {
        prefetched(node, &wanted, true, name)?;
    }
    let log = sim.log(0);
    check(log["content"]["files_sent_more_than_once"] == 0, || format!("sent again: {}", log["content"]))?;

    // What is decided at the top holds at the leaf, and nobody decides there.
    top.verb(&["groups", "add", "Berlin"])?;
    top.verb(&["groups", "add", "Pilot", "--below", "Berlin", "--test", "on"])?;
    let kbs = ask(&top, &["updates", "list", "--limit", "3"])?;
    let id = |at: usize| kbs["rows"][at]["id"].as_str().unwrap_or("?").to_owned();
    top.verb(&["approvals", "set", &id(0), "--group", "Berlin", "--deadline", "2099-01-31"])?;
    top.verb(&["updates", "decline", &id(1)])?;
    top.verb(&["updates", "approve", &id(2)])?;
    let mut slowest = Duration::ZERO;
    for words in [["groups", "list"], ["approvals", "list"]] {
        slowest = slowest.max(arrives(words[0], &top, &leaf, &words)?);
    }
    check(slowest < SOON, || format!("what was decided came after {slowest:?}"))?;
    let refused = leaf.line().run(&["updates", "approve", &id(1)])?;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    check(!refused.status.success() && why.contains("replica"), || format!("a replica decides: {why}"))?;

    // A setting that is changed at the top is in force at the leaf, unless a file fixes it there: then the top is told.
    top.verb(&["nodes", "config", "leaf", "content.detected_daily=3 GiB", "content.severity=important"])?;
    wait_for("the setting at the leaf", || {
        setting(&leaf, "content.detected_daily").is_some_and(|value| value == "3 GiB")
    })?;
    check(setting(&leaf, "content.severity").is_some_and(|value| value == "critical"), || {
        "a locked setting changed".into()
    })?;
    let installed = endpoints(stage, &sim, &top, &leaf)?;
    let log = sim.log(0);
    check(log["content"]["files_sent_more_than_once"] == 0, || format!("sent again: {}", log["content"]))?;

    // A node reports when it starts, and once a minute.
    leaf.stop()?;
    leaf.run()?;
    wait_for("the middle to know of the machines", || knows(&middle))?;

    // The node in between dies in the middle of a month, and another month comes before it is back.
    sim.advance(1);
    catalog::run(&top)?;
    middle.kill()?;
    sim.advance(1);
    catalog::run(&top)?;
    middle.run()?;
    wait_for("the top to know of the machines", || knows(&top))?;
    let told = ask(&top, &["nodes", "config", "leaf"])?.to_string();
    check(told.contains("is locked by"), || format!("what came of the locked setting: {told}"))?;

    // A month: the leaf has it without being told to look.
    sim.advance(1);
    catalog::run(&top)?;
    let month = expected(&sim, &json!({}));
    for (node, name) in [(&middle, "middle"), (&leaf, "leaf")] {
        wait_for(&format!("the month at {name}"), || held(node).is_ok_and(|held| held == month))?;
    }
    let runs = ask(&leaf, &["sync", "history"])?;
    check(runs["runs"][0]["outcome"] == "successful" && runs["runs"][0]["by"] == "the parent", || format!("{runs}"))?;

    // Who is revoked is cut off, and says so; what it holds it goes on serving.
    top.verb(&["nodes", "revoke", "middle"])?;
    wait_for("the middle to be turned away", || {
        middle.verb(&["doctor"]).err().is_some_and(|told| told.to_string().contains("evoked"))
            || middle.line().run(&["doctor"]).is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("evoked"))
    })?;
    same(&held(&leaf)?, &month, "behind one that is revoked")?;
    for node in [&mut leaf, &mut middle, &mut top] {
        node.stop()?;
    }
    Ok(format!(
        "     {} updates two nodes down {joined:.1?} after the first token; {} files from the server once; decided to seen {slowest:.1?}; {installed} installed on {MACHINES} machines; two months with a node killed; revoked",
        month.len(),
        wanted.len(),
    ))
}
