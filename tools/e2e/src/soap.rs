//! A client that is generated from the specification's own WSDL scans a node, and an independent decoder reads what the node packed:
//! zeep and dissect.util, from PyPI, in an environment of their own (`tools/e2e/soap.py`).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use upstream_sim::{Character, Options, Sim};

use crate::Stage;
use crate::branch::check;
use crate::node::Node;

/// The client, which needs no file beside its program.
const SCRIPT: &str = include_str!("../soap.py");

/// What it needs: the same ones on every run.
const PACKAGES: [&str; 2] = ["zeep==4.3.3", "dissect.util==3.24"];

/// Seconds that the packages may take to come, and the client to scan.
const FETCH: &str = "180";
const SCAN: &str = "300";

fn run(program: &Path, words: &[&str], seconds: &str) -> io::Result<Output> {
    Command::new("timeout").args(["-s", "KILL", seconds]).arg(program).args(words).stdin(Stdio::null()).output()
}

/// An interpreter that has the packages; says why there is none.
fn interpreter(folder: &Path) -> io::Result<Result<PathBuf, String>> {
    let home = folder.join("python");
    let made = run(Path::new("python3"), &["-m", "venv", &home.to_string_lossy()], FETCH)?;
    if !made.status.success() {
        return Ok(Err("there is no python3 with venv (apt-get install python3-venv)".into()));
    }
    let python = home.join("bin/python");
    let mut words = vec!["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"];
    words.extend(PACKAGES);
    let got = run(&python, &words, FETCH)?;
    if !got.status.success() {
        let said = String::from_utf8_lossy(&got.stderr).into_owned();
        let last = said.lines().last().unwrap_or("no word").to_owned();
        return Ok(Err(format!("pip cannot get {}: {last}", PACKAGES.join(" and "))));
    }
    Ok(Ok(python))
}

/// Updates of the simulator that a node offers to everyone: software that is neither withdrawn nor superseded.
fn offered(sim: &Sim) -> BTreeSet<String> {
    let all = sim.deployable(&json!({}));
    let updates = all.as_array().into_iter().flatten();
    let updates =
        updates.filter(|update| !update["kb"].is_null() && update["expired"] == false && update["superseded"] == false);
    updates.filter_map(|update| Some(update["id"].as_str()?.to_ascii_lowercase())).collect()
}

pub(crate) fn soap(stage: &Stage) -> io::Result<String> {
    let recorded = std::env::var_os("WAYSTATION_RECORDED");
    let recorded = recorded.map_or_else(|| PathBuf::from("../shared/protocol/data"), PathBuf::from);
    let specification = recorded.join("specification");
    if !specification.join("wusp-client.wsdl.txt").is_file() {
        return Ok("skipped: the specification's WSDL is not here; set WAYSTATION_RECORDED to the folder that holds specification".into());
    }
    let python = match interpreter(&stage.folder)? {
        Ok(python) => python,
        Err(why) => return Ok(format!("skipped: {why}")),
    };
    let options = Options {
        character: Character::Wsus,
        updates: 1_000,
        seed: 9,
        file_scale: 0.01,
        eager: true,
        ..Options::default()
    };
    let sim = Sim::start(options)?;
    let more = format!("[upstream]\nkind = \"wsus\"\nurl = [\"{}\"]\n", sim.url());
    let mut node = Node::start(&stage.program, &stage.folder, &[sim.address()], &more)?;
    node.verb(&["sync", "start"])?;
    let script = stage.folder.join("soap.py");
    fs::write(&script, SCRIPT)?;
    let url = format!("http://{}", node.http);
    let out = run(&python, &[&script.to_string_lossy(), &specification.to_string_lossy(), &url], SCAN)?;
    check(out.status.success(), || format!("soap.py: {}\n{}", out.status, String::from_utf8_lossy(&out.stderr)))?;
    let found: Value = serde_json::from_slice(&out.stdout)?;
    let offered = offered(&sim);
    check(offered.len() > 50, || format!("{} updates are offered: too few to show anything", offered.len()))?;
    for way in ["plain", "xpress"] {
        let found = &found[way];
        let ids = found["actions"]["PreDeploymentCheck"].as_array().into_iter().flatten();
        let detected: BTreeSet<String> = ids.filter_map(|id| Some(id.as_str()?.to_owned())).collect();
        check(detected == offered, || format!("{way}: {} are detected, {} offered", detected.len(), offered.len()))?;
        check(found["actions"]["Install"].is_null(), || format!("{way}: nobody approved anything"))?;
        check(found["refreshed"].as_u64().is_some_and(|many| many > 50), || {
            format!("{way}: {} mapped", found["refreshed"])
        })?;
        check(found["reported"] == true && found["forged"] == "InvalidCookie", || {
            format!("{way}: reported {}, forged {}", found["reported"], found["forged"])
        })?;
    }
    let (plain, packed) = (&found["plain"], &found["xpress"]);
    check(plain["blocks"] == 0 && plain["held"] == packed["held"] && plain["files"] == packed["files"], || {
        format!("{plain} plain, {packed} packed")
    })?;
    let number = |of: &Value| of.as_u64().unwrap_or(0);
    let (blocks, received, read) = (number(&packed["blocks"]), number(&packed["received"]), number(&packed["plain"]));
    check(blocks > 20 && received * 2 < read, || format!("{blocks} blocks, {received} bytes of {read}"))?;
    node.stop()?;
    Ok(format!(
        "     zeep {} revisions in {} rounds, {} fragments, {} files; dissect.util {blocks} blocks ({} stored), {} of {} KB",
        plain["held"],
        plain["rounds"],
        plain["fragments"],
        plain["files"],
        packed["stored"],
        received / 1000,
        read / 1000
    ))
}
