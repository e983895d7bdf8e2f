//! The catalog: a simulated upstream with 20,000 updates, a node that is killed while it synchronises, files that come by
//! policy, months of changes; then a WSUS server that fetches its files only when it is asked for them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Instant;

use serde_json::{Value, json};
use upstream_sim::{Character, Options, Sim};

use crate::Stage;
use crate::branch::check;
use crate::bytes::Dice;
use crate::moment::Moment;
use crate::node::Node;

/// Updates of the simulated catalog.
const UPDATES: usize = 20_000;

/// Files that a prefetch has under way at most: four of each of its two bandwidth classes.
const FILES_UNDER_WAY: u64 = 8;

/// Workers of a run that ask for documents: each has one batch under way.
const WORKERS: usize = 4;

/// Updates of the WSUS server.
const LAZY_UPDATES: usize = 1_500;

pub(crate) type Identities = BTreeSet<String>;

/// What a verb prints as JSON.
pub(crate) fn ask(node: &Node, words: &[&str]) -> io::Result<Value> {
    let mut words = words.to_vec();
    words.push("--json");
    let text = node.verb(&words)?;
    serde_json::from_str(&text).map_err(|error| io::Error::other(format!("{}: {error}: {text}", words.join(" "))))
}

/// Every update that the node holds, as `id/revision`.
pub(crate) fn held(node: &Node) -> io::Result<Identities> {
    let words = ["updates", "list", "--hidden", "--kind", "software,driver,detectoid,category", "--limit", "0"];
    let page = ask(node, &words)?;
    let rows = page["rows"].as_array().ok_or_else(|| io::Error::other(format!("no rows in {page}")))?;
    Ok(rows.iter().map(|row| format!("{}/{}", row["id"].as_str().unwrap_or("?"), row["revision"])).collect())
}

/// Every update that it should hold.
pub(crate) fn expected(sim: &Sim, filter: &Value) -> Identities {
    let all = sim.identities(filter);
    let name = |item: &Value| format!("{}/{}", item["id"].as_str().unwrap_or("?"), item["revision"]);
    all.as_array().map(|items| items.iter().map(name).collect()).unwrap_or_default()
}

/// The identities of each question for documents since the log was forgotten.
pub(crate) fn questions(sim: &Sim) -> Vec<Vec<String>> {
    let log = sim.log(2_000);
    let lines = log["lines"].as_array().cloned().unwrap_or_default();
    let ids = |line: &Value| -> Vec<String> {
        let ids = line["ids"].as_array().cloned().unwrap_or_default();
        ids.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect()
    };
    lines.iter().filter(|line| line["method"] == "GetUpdateData").map(ids).collect()
}

pub(crate) fn same(held: &Identities, expected: &Identities, when: &str) -> io::Result<()> {
    let missing: Vec<_> = expected.difference(held).take(3).collect();
    let surplus: Vec<_> = held.difference(expected).take(3).collect();
    check(missing.is_empty() && surplus.is_empty() && !held.is_empty(), || {
        format!("{when}: {} held, {} expected; missing {missing:?}, surplus {surplus:?}", held.len(), expected.len())
    })
}

/// What is chosen, as the simulator wants to be told.
fn chosen(node: &Node) -> io::Result<Value> {
    let filters = ask(node, &["filters", "list"])?;
    let ids = |key: &str| -> Vec<Value> {
        let entries = filters[key]["entries"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["id"].clone()).collect()
    };
    Ok(json!({ "products": ids("products"), "classifications": ids("classifications") }))
}

/// A run to its end, which must be a good one.
pub(crate) fn run(node: &Node) -> io::Result<()> {
    let line = node.line();
    let out = line.run(&["sync", "start"])?;
    check(out.status.success(), || format!("sync start: {}", String::from_utf8_lossy(&out.stderr)))
}

/// What one kill lost: documents that had been asked for and were not committed.
struct Lost {
    /// Of which kill, from 1.
    kill: u32,
    /// Those that nobody has asked for again yet. What is asked for again and lost again is the next kill's.
    documents: Identities,
    /// Documents of the largest question of the run that was killed.
    batch: usize,
    /// How many were asked for again.
    repeated: usize,
}

impl Lost {
    /// Takes note of what another run asked for: one batch of each worker is lost with its node, and no more.
    fn again(&mut self, asked: &Identities) -> io::Result<()> {
        let before = self.documents.len();
        self.documents.retain(|document| !asked.contains(document));
        self.repeated += before - self.documents.len();
        let (kill, most) = (self.kill, WORKERS * self.batch);
        check(self.repeated <= most, || {
            format!(
                "{} documents asked for again for kill {kill}: more than {WORKERS} batches of {}",
                self.repeated, self.batch
            )
        })
    }
}

/// What a run asked for is held against what was committed before it and against what each kill lost.
fn account(asked: &Identities, before: &Identities, lost: &mut [Lost]) -> io::Result<()> {
    let again: Vec<_> = asked.intersection(before).take(3).collect();
    check(again.is_empty(), || {
        format!("after {} kills: asked for again although it was committed: {again:?}", lost.len())
    })?;
    lost.iter_mut().try_for_each(|lost| lost.again(asked))
}

/// Runs that are killed with their node, each at another moment, and one that goes to its end; between two of them what was
/// committed is looked at, and what was asked for is held against it. Says when it was killed, how many documents were asked
/// for again, and the most of one kill.
fn killed(node: &mut Node, sim: &Sim, dice: &mut Dice) -> io::Result<(Vec<Moment>, usize, usize)> {
    let mut lost: Vec<Lost> = Vec::new();
    let mut before = Identities::new();
    let moments = Moment::drawn(dice);
    for (kill, moment) in (1..).zip(&moments) {
        sim.reset_log();
        moment.order(sim)?;
        let line = node.line();
        let run = std::thread::spawn(move || line.run(&["sync", "start"]));
        crate::node::wait_for(&format!("{moment:?}"), || {
            moment.has_come(node, sim) || (run.is_finished() && !moment.is_behind_the_run())
        })?;
        check(moment.is_behind_the_run() || !run.is_finished(), || format!("the run ended before {moment:?}"))?;
        node.kill()?;
        // The verb loses its node, and may say so.
        drop(run.join());
        sim.clear_faults();
        node.run()?;
        let asked = questions(sim);
        let batch = asked.iter().map(Vec::len).max().unwrap_or(0);
        let asked: Identities = asked.into_iter().flatten().collect();
        account(&asked, &before, &mut lost)?;
        before = held(node)?;
        let documents = asked.difference(&before).cloned().collect();
        lost.push(Lost { kill, documents, batch, repeated: 0 });
    }
    brought_once(node, sim)?;
    sim.reset_log();
    run(node)?;
    account(&questions(sim).into_iter().flatten().collect(), &before, &mut lost)?;
    let repeated = lost.iter().map(|lost| lost.repeated);
    Ok((moments, repeated.clone().sum(), repeated.max().unwrap_or(0)))
}

/// The prefetch that was killed goes on by itself: what it had brought is not brought again.
fn brought_once(node: &Node, sim: &Sim) -> io::Result<()> {
    crate::node::wait_for("the prefetch to go on to its end", || {
        ask(node, &["plan"]).is_ok_and(|plan| plan["missing"]["files"] == 0)
            && ask(node, &["prefetch", "status"]).is_ok_and(|state| state["job"].is_null())
    })?;
    let log = sim.log(0);
    let again = log["content"]["files_sent_more_than_once"].as_u64().unwrap_or(u64::MAX);
    check(again <= FILES_UNDER_WAY, || format!("{again} files brought again after a kill: {}", log["content"]))
}

/// SHA-256 and size of every file of the updates that are offered, critical, and not read in parts.
pub(crate) fn critical(sim: &Sim, filter: &Value) -> BTreeMap<String, u64> {
    let is = |update: &Value, key: &str| update[key].as_bool().unwrap_or(false);
    let mut files = BTreeMap::new();
    for update in sim.deployable(filter).as_array().into_iter().flatten() {
        let offered = !is(update, "expired") && !is(update, "superseded") && !is(update, "parts");
        if offered && update["severity"] == "critical" {
            for file in update["files"].as_array().into_iter().flatten() {
                files.insert(file["sha256"].as_str().unwrap_or("?").to_owned(), file["size"].as_u64().unwrap_or(0));
            }
        }
    }
    files
}

/// Fetches what the policy wants; afterwards the node holds `wanted`, proven.
pub(crate) fn prefetched(node: &Node, wanted: &BTreeMap<String, u64>, alone: bool, when: &str) -> io::Result<()> {
    // It begins by itself after a run, and may have been through before that.
    crate::node::wait_for("the prefetch to begin or to be through", || {
        let plan = ask(node, &["plan"]);
        let missing = plan.is_ok_and(|plan| plan["missing"]["files"] != 0);
        !missing || ask(node, &["prefetch", "status"]).is_ok_and(|state| state["job"].is_u64())
    })?;
    if let Some(job) = ask(node, &["prefetch", "status"])?["job"].as_u64() {
        node.verb(&["jobs", "show", &job.to_string(), "--follow"])?;
    }
    let page = ask(node, &["content", "list", "--limit", "0"])?;
    let rows = page["rows"].as_array().ok_or_else(|| io::Error::other(format!("no rows in {page}")))?;
    let mut proven = BTreeMap::new();
    for row in rows {
        check(row["class"] == "proven", || format!("{when}: not proven: {row}"))?;
        proven.insert(row["sha256"].as_str().unwrap_or("?").to_owned(), row["size"].as_u64().unwrap_or(0));
    }
    let missing = wanted.iter().filter(|(sha256, size)| proven.get(*sha256) != Some(size)).count();
    check(missing == 0 && !wanted.is_empty(), || format!("{when}: {missing} of {} files are not held", wanted.len()))?;
    check(!alone || proven.len() == wanted.len(), || {
        format!("{when}: {} payloads are held, {} are wanted", proven.len(), wanted.len())
    })?;
    let plan = ask(node, &["plan"])?;
    let (files, bytes) = (wanted.len() as u64, wanted.values().sum::<u64>());
    check(plan["wanted"]["files"] == files && plan["wanted"]["bytes"] == bytes && plan["missing"]["files"] == 0, || {
        format!("{when}: {files} files of {bytes} bytes are wanted, the plan says {plan}")
    })
}

pub(crate) const POLICY: &str = "[content]\npolicy = \"severity\"\nseverity = \"critical\"\n";

pub(crate) fn catalog(stage: &Stage) -> io::Result<String> {
    let options = Options { updates: UPDATES, file_scale: 0.05, ..Options::default() };
    let sim = Sim::start(options)?;
    let more = format!("[sync]\nmicrosoft = \"{}\"\n{POLICY}", sim.url());
    let mut node = Node::start(&stage.program, &stage.folder, &[sim.address()], &more)?;
    let start = Instant::now();
    let (moments, repeated, most) = killed(&mut node, &sim, &mut Dice::new(stage.seed))?;
    let synced = start.elapsed().as_secs_f32();
    let filter = chosen(&node)?;
    let first = held(&node)?;
    same(&first, &expected(&sim, &filter), "after the kills")?;
    let wanted = critical(&sim, &filter);
    prefetched(&node, &wanted, true, "first")?;
    let mut told = format!(
        "     {} updates, killed {} times, {repeated} documents asked for again (at most {most} for one kill), {synced:.1} s; {} critical files proven\n     killed at {moments:?}",
        first.len(),
        moments.len(),
        wanted.len()
    );
    for month in 1..=3 {
        sim.advance(1);
        sim.reset_log();
        run(&node)?;
        same(&held(&node)?, &expected(&sim, &filter), &format!("month {month}"))?;
        let log = sim.log(0);
        check(log["updates"]["asked_more_than_once"] == 0, || format!("month {month}: {}", log["updates"]))?;
        check(log["updates"]["asked"].as_u64().is_some_and(|asked| asked < first.len() as u64 / 4), || {
            format!("month {month} is a change and no full list: {}", log["updates"])
        })?;
        prefetched(&node, &critical(&sim, &filter), false, &format!("month {month}"))?;
    }
    node.verb(&["store", "verify"])?;
    node.stop()?;
    told.push_str("; three months of changes\n");
    told.push_str(&lazy(stage)?);
    Ok(told)
}

/// A WSUS server that has no file before somebody asked for it.
fn lazy(stage: &Stage) -> io::Result<String> {
    let options = Options {
        character: Character::Wsus,
        updates: LAZY_UPDATES,
        seed: 2,
        file_scale: 0.05,
        // Documents of 47 and 10 MB, which real cumulative updates have.
        huge: 2,
        lazy: std::time::Duration::from_millis(300),
        ..Options::default()
    };
    let sim = Sim::start(options)?;
    let more = format!("[upstream]\nkind = \"wsus\"\nurl = [\"{}\"]\n{POLICY}", sim.url());
    let mut node = Node::start(&stage.program, &stage.folder.join("lazy"), &[sim.address()], &more)?;
    run(&node)?;
    same(&held(&node)?, &expected(&sim, &json!({})), "below a WSUS")?;
    let wanted = critical(&sim, &json!({}));
    prefetched(&node, &wanted, true, "below a WSUS")?;
    let log = sim.log(0);
    check(log["content"]["files_sent_more_than_once"] == 0, || format!("sent again: {}", log["content"]))?;
    let asked = log["methods"]["DownloadFiles"].as_u64().unwrap_or(0);
    check(asked > 0 && asked <= wanted.len() as u64, || format!("{asked} DownloadFiles for {} files", wanted.len()))?;
    node.stop()?;
    Ok(format!("     below a WSUS without files: {} fetched, DownloadFiles {asked} times", wanted.len()))
}
