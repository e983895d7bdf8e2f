//! Simulated upstream, node, a thousand simulated agents: each machine comes to exactly what an evaluation of the upstream's own documents
//! says that it needs, and follows what people decide and what a month brings. The last of them scan over TLS.
//!
//! Each step below changes something and holds all machines against what they should need afterwards ([`Scene::settle`]). What is decided for
//! some of them alone (groups, deadlines, licences, reviews, rules), and what all of that comes to in counts, is [`fleet`].

mod fleet;
mod recount;
mod site;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use endpoint_sim::{Common, Crowd, Expected, Guid, Plan, Server, Trust};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use upstream_sim::{Character, Options, Sim};

use crate::Stage;
use crate::branch::check;
use crate::node::Node;

pub(crate) use fleet::fleet;

const MACHINES: u64 = 1_000;
const UPDATES: usize = 2_000;
/// How many of the machines download and install.
const INSTALLING: u64 = 150;
/// How many are tried over TLS.
const SECURE: u64 = 40;
/// Decisions of each kind.
const DECIDED: usize = 25;
/// Machines that talk at a time.
const AT_ONCE: usize = 64;

/// A decision is told to agents a moment late; longer than this, and it is lost.
const SOON: Duration = Duration::from_mins(1);

fn other(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

/// Why an update is not offered to all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gone {
    Superseded,
    Expired,
}

/// An update as the upstream has it.
struct Update {
    id: Guid,
    gone: Option<Gone>,
    licence: bool,
    /// Which licence that is.
    eula: Option<Guid>,
    severity: String,
    classification: String,
    /// Days since 1970 of the day that it is of.
    day: i64,
    asks_user: bool,
}

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// All software of the upstream that can be approved.
fn software(sim: &Sim) -> io::Result<Vec<Update>> {
    let all = sim.deployable(&json!({}));
    let updates = all.as_array().into_iter().flatten().filter(|update| !update["kb"].is_null());
    let is = |update: &Value, key: &str| update[key] == true;
    updates
        .map(|update| {
            let id = update["id"].as_str().and_then(Guid::read).ok_or_else(|| other(update))?;
            let superseded = is(update, "superseded").then_some(Gone::Superseded);
            let gone = if is(update, "expired") { Some(Gone::Expired) } else { superseded };
            let text = |key: &str| update[key].as_str().unwrap_or_default().to_owned();
            Ok(Update {
                id,
                gone,
                licence: is(update, "licence"),
                eula: update["eula"].as_str().and_then(Guid::read),
                severity: text("severity"),
                classification: text("classification"),
                day: update["created_ms"].as_i64().unwrap_or_default().div_euclid(DAY_MS),
                asks_user: is(update, "asks_user"),
            })
        })
        .collect()
}

/// What people decided so far.
#[derive(Default)]
struct Decided {
    approved: BTreeSet<Guid>,
    declined: BTreeSet<Guid>,
}

struct Scene {
    sim: Sim,
    node: Node,
    runtime: Runtime,
    decided: Decided,
}

impl Scene {
    /// What all machines are asked about now, and what is to be installed: by the upstream's data and what was decided.
    fn expected(&self) -> io::Result<(Expected, BTreeSet<Guid>)> {
        let Decided { approved, declined } = &self.decided;
        let (mut scope, mut install) = (BTreeSet::new(), BTreeSet::new());
        for update in software(&self.sim)? {
            let is_approved = approved.contains(&update.id);
            let is_gone = match update.gone {
                Some(Gone::Expired) => true,
                Some(Gone::Superseded) => !is_approved,
                None => false,
            };
            if is_gone || declined.contains(&update.id) {
                continue;
            }
            scope.insert(update.id);
            if is_approved && !update.licence {
                install.insert(update.id);
            }
        }
        let expected = Expected::read(&self.sim, &json!({})).map_err(other)?.scoped(scope);
        Ok((expected, install))
    }

    /// All machines scan until nothing is new, and each has come to what it should. The first one asks until it is told what changed; from then
    /// on every other one is, too. Says how many revisions came and went.
    fn settle(&self, crowd: &mut Crowd, when: &str) -> io::Result<(usize, usize)> {
        let (expected, install) = self.expected()?;
        let end = Instant::now() + SOON;
        self.runtime.block_on(async {
            let probe = crowd.agents().first_mut().ok_or_else(|| other("there is no machine"))?;
            loop {
                let scan = probe.scan().await.map_err(other)?;
                let Some(differs) = endpoint_sim::differs(probe, &scan, &expected, &install) else { break };
                check(Instant::now() < end, || format!("{when}: {differs}"))?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let scans = crowd.scan().await.map_err(|error| other(format!("{when}: {error}")))?;
            let again = crowd.scan().await.map_err(|error| other(format!("{when}, again: {error}")))?;
            crowd.check(&again, &expected, &install).map_err(|error| other(format!("{when}: {error}")))?;
            // One scan brings all, parts of bundles that others need among it: the next one brings nothing.
            let late = again.iter().filter(|scan| scan.new + scan.gone > 0).count();
            check(late == 0, || format!("{when}: {late} machines are a scan late"))?;
            // One for software, one for drivers.
            let rounds = again.iter().map(|scan| scan.rounds).max().unwrap_or(0);
            check(rounds == 2, || format!("{when}: a scan without news took {rounds} rounds"))?;
            Ok((scans.iter().map(|scan| scan.new).sum(), scans.iter().map(|scan| scan.gone).sum()))
        })
    }

    fn decide(&mut self, verb: &str, ids: &[Guid]) -> io::Result<()> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let mut words = vec!["updates", verb];
        words.extend(ids.iter().map(String::as_str));
        self.node.verb(&words).map(|_| ())
    }
}

pub(crate) fn machines(stage: &Stage) -> io::Result<String> {
    let options = Options {
        character: Character::Wsus,
        updates: UPDATES,
        seed: 3,
        file_scale: 0.1,
        eager: true,
        ..Options::default()
    };
    let sim = Sim::start(options)?;
    let more = format!(
        "[upstream]\nkind = \"wsus\"\nurl = [\"{}\"]\n[content]\npolicy = \"metadata\"\n[advertise]\nexternal = [\"127.0.0.1\"]\n",
        sim.url()
    );
    let node = Node::start(&stage.program, &stage.folder, &[sim.address()], &more)?;
    node.verb(&["sync", "start"])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut scene = Scene { sim, node, runtime, decided: Decided::default() };
    let server = Server::find(&format!("http://{}", scene.node.http), None).map_err(other)?;
    let plan = Plan { machines: MACHINES, seed: stage.seed, at_once: AT_ONCE, ..Plan::default() };
    let mut crowd = Crowd::new(&server, &plan, &Common::default());

    let start = Instant::now();
    let (first, _) = scene.settle(&mut crowd, "first")?;
    let mut told = format!("     {MACHINES} machines, {first} revisions in {:.1} s;", start.elapsed().as_secs_f32());

    // Approved, declined, one approved and then not.
    let open: Vec<Update> = software(&scene.sim)?.into_iter().filter(|update| update.gone.is_none()).collect();
    check(open.iter().filter(|update| update.licence).count() > 0, || "no update has a licence".into())?;
    let ids: Vec<Guid> = open.iter().map(|update| update.id).collect();
    let (approved, rest) = ids.split_at(DECIDED.min(ids.len()));
    let (declined, _) = rest.split_at(DECIDED.min(rest.len()));
    check(declined.len() == DECIDED, || format!("{} updates are too few", ids.len()))?;
    scene.decide("approve", approved)?;
    scene.decide("decline", declined)?;
    scene.decided.approved.extend(approved);
    scene.decided.declined.extend(declined);
    let (_, gone) = scene.settle(&mut crowd, "decided")?;
    let decided = format!(" decided, {gone} went;");
    told.push_str(&decided);

    told.push_str(&install(&scene, &server, &plan)?);

    // A decision taken back, one turned round.
    let (back, turned) = (approved.last().copied(), declined.last().copied());
    let (Some(back), Some(turned)) = (back, turned) else { return Err(other("nothing was decided")) };
    scene.decide("reset", &[back])?;
    scene.decide("approve", &[turned])?;
    scene.decided.approved.remove(&back);
    scene.decided.declined.remove(&turned);
    scene.decided.approved.insert(turned);
    scene.settle(&mut crowd, "decided anew")?;

    // A month: new ones, new revisions, some withdrawn, some superseded. Whether an approval outlives that is said anew.
    let before: BTreeSet<Guid> = scene.expected()?.0.scope().clone();
    scene.sim.advance(1);
    scene.node.verb(&["sync", "start"])?;
    told_above(&scene)?;
    let superseded: Vec<Guid> = software(&scene.sim)?
        .into_iter()
        .filter(|update| update.gone == Some(Gone::Superseded) && scene.decided.approved.contains(&update.id))
        .map(|update| update.id)
        .collect();
    if !superseded.is_empty() {
        scene.decide("approve", &superseded)?;
    }
    let after: BTreeSet<Guid> = scene.expected()?.0.scope().clone();
    check(before.difference(&after).count() > 0 && after.difference(&before).count() > 0, || {
        "the month neither took nor brought an update".into()
    })?;
    let (new, gone) = scene.settle(&mut crowd, "a month later")?;
    let month = format!(" a month, {new} came and {gone} went");
    told.push_str(&month);
    scene.node.stop()?;
    Ok(told)
}

/// The server above was told at the end of that run how many machines there are, by their systems too.
fn told_above(scene: &Scene) -> io::Result<()> {
    let here: Value = serde_json::from_str(&scene.node.verb(&["compliance", "summary", "--json"])?).map_err(other)?;
    let log = scene.sim.log(2_000);
    let lines = log["lines"].as_array().cloned().unwrap_or_default();
    let told = lines.iter().filter(|line| line["method"] == "RollupDownstreamServers");
    let servers: Vec<&Value> = told.flat_map(|line| line["servers"].as_array().into_iter().flatten()).collect();
    let counts = servers.last().map(|server| server["counts"].clone()).unwrap_or_default();
    // Of the run before there were no machines.
    let systems = servers.iter().flat_map(|server| server["computers"].as_array().into_iter().flatten());
    let machines: u64 = systems.filter_map(|system| system[1].as_u64()).sum();
    let is_so = counts["ComputerTargetCount"] == here["endpoints"] && here["endpoints"] == machines;
    let lacks = counts["ComputerTargetsNeedingUpdatesCount"].as_u64().is_some_and(|lacking| lacking > 0);
    check(is_so && lacks, || {
        format!("{} endpoints, {machines} by their systems, told above as {counts}", here["endpoints"])
    })
}

/// Some machines, from the first handshake over TLS or plain, that download, install, restart, scan again and report.
fn install(scene: &Scene, server: &Server, plan: &Plan) -> io::Result<String> {
    let ca = scene.node.verb(&["tls", "ca", "export"])?;
    let trust = Trust::authority(ca.as_bytes()).map_err(other)?;
    fs::write(scene.node.data().join("../ca.pem"), &ca)?;
    let secure = Server::find(&format!("https://{}", scene.node.https), Some(&trust)).map_err(other)?;
    let (mut files, mut installed, mut events) = (0, 0, 0);
    for (server, machines, seed) in [(server, INSTALLING, 1), (&secure, SECURE, 2)] {
        let plan = Plan { machines, seed: plan.seed.wrapping_add(seed), ..plan.clone() };
        let mut crowd = Crowd::new(server, &plan, &Common::default());
        scene.settle(&mut crowd, "before it is installed")?;
        let (expected, approved) = scene.expected()?;
        let done = scene.runtime.block_on(crowd.install());
        for (agent, done) in crowd.agents().iter().zip(&done) {
            // What fails without a word of the seed's is the node's fault.
            let ours = done.failed.iter().find(|(_, why)| !why.contains("this machine's seed"));
            check(ours.is_none(), || format!("{}: {ours:?}", agent.machine().name))?;
            files += done.files;
            installed += done.installed;
        }
        check(done.iter().any(|done| done.installed > 0), || "nothing was installed".into())?;
        let count = |crowd: &mut Crowd| -> usize {
            let due = |agent: &mut endpoint_sim::Agent| {
                let should = expected.after(agent.machine(), &agent.pretended());
                should.needed.intersection(&approved).count()
            };
            crowd.agents().iter_mut().map(due).sum()
        };
        let left = count(&mut crowd);
        crowd.agents().iter_mut().for_each(endpoint_sim::Agent::restart);
        scene.settle(&mut crowd, "after it was installed")?;
        let again = scene.runtime.block_on(crowd.install());
        let again: usize = again.iter().map(|done| done.installed).sum();
        // What a seed lets fail fails again.
        check(again <= left, || format!("{again} were installed once more, {left} were left"))?;
        events += scene.runtime.block_on(crowd.report()).map_err(other)?;
    }
    check(files > 0 && events > 0, || format!("{files} files, {events} events"))?;
    Ok(format!(" {installed} installed with {files} files, {SECURE} machines over TLS, {events} events;"))
}
