//! A thousand simulated agents in a tree of groups: by hand, by the name that they say themselves, by a rule for names, by subnets. What is
//! said for the groups and for single machines, what waits for a licence or a review, what a rule gives to its pilots, and a month, change
//! what each of them is asked about and what it installs as they should ([`super::site`]); in the end some install, all report but those that
//! never do, and the node's counts are what is counted anew ([`super::recount`]).
//!
//! The rings of a rule that follow days later, and what stops them, wait for a clock that a test moves: `tests/catalog/machines.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use endpoint_sim::{Agent, Common, Crowd, Expected, Guid, Plan, Server};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use upstream_sim::{Character, Options, Sim};

use super::recount::Recount;
use super::site::{Review, Site, Whom, Word, later};
use super::{AT_ONCE, DAY_MS, Gone, SOON, Update, other, software};
use crate::Stage;
use crate::branch::check;
use crate::node::Node;

const UPDATES: usize = 1_200;
/// Updates of each kind of decision.
const FEW: usize = 5;
const DEADLINE: &str = "2090-03-01T18:00:00Z";
/// For a group below the one that has the other.
const SOONER: &str = "2090-02-01T06:30:00Z";

/// Machines that are alike in all that decides what is approved for them.
struct Part {
    name: &'static str,
    /// The groups that they are in, from the nearest up.
    way: Vec<Whom>,
    crowd: Crowd,
}

/// Name, how many, what their names begin with, the last two bytes of their address, the group that they name, their way up.
type Row = (&'static str, u64, Option<&'static str>, Option<[u8; 2]>, Option<&'static str>, &'static [Whom]);

const PARTS: &[Row] = &[
    ("pilots", 150, None, None, Some("pilot"), &["Pilot", "Berlin", "Contoso", "all"]),
    ("Berlin", 250, None, None, Some("Nowhere;Berlin"), &["Berlin", "Contoso", "all"]),
    // Said for by itself.
    ("the lone one", 1, None, None, Some("Berlin"), &["lone", "Berlin", "Contoso", "all"]),
    ("Munich", 200, None, Some([1, 7]), None, &["Munich", "Contoso", "all"]),
    ("the lab", 50, None, Some([2, 9]), None, &["Lab", "Munich", "Contoso", "all"]),
    ("kiosks", 150, Some("kiosk-"), None, None, &["Kiosks", "all"]),
    // By name they are kiosks, too, until somebody puts them elsewhere.
    ("the ready", 40, Some("kiosk-"), None, None, &["Kiosks", "all"]),
    ("the unassigned", 119, None, None, None, &["unassigned", "all"]),
    ("the silent", 40, None, None, None, &["unassigned", "all"]),
];

struct Scene {
    begun: Instant,
    sim: Sim,
    node: Node,
    runtime: Runtime,
    site: Site,
    parts: Vec<Part>,
    updates: Vec<Update>,
    expected: Expected,
}

fn words<'a>(before: &[&'a str], ids: &'a [String], behind: &[&'a str]) -> Vec<&'a str> {
    before.iter().copied().chain(ids.iter().map(String::as_str)).chain(behind.iter().copied()).collect()
}

fn texts(ids: &[Guid]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

impl Scene {
    fn start(stage: &Stage) -> io::Result<Self> {
        let (character, file_scale) = (Character::Wsus, 0.01);
        let options = Options { character, updates: UPDATES, seed: 5, file_scale, eager: true, ..Options::default() };
        let sim = Sim::start(options)?;
        let more = format!(
            "[upstream]\nkind = \"wsus\"\nurl = [\"{}\"]\n[content]\npolicy = \"metadata\"\n[advertise]\nexternal = [\"127.0.0.1\"]\n",
            sim.url()
        );
        let node = Node::start(&stage.program, &stage.folder, &[sim.address()], &more)?;
        node.verb(&["sync", "start"])?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let server = Server::find(&format!("http://{}", node.http), None).map_err(other)?;
        let part = |(at, row): (usize, &Row)| {
            let (name, machines, names, address, group, way) = *row;
            let seed = stage.seed.wrapping_add(1_000 * at as u64);
            let names = names.map(str::to_owned);
            let plan = Plan { machines, seed, at_once: AT_ONCE, names, ..Plan::default() };
            let mut common = Common::default();
            common.group = group.map(str::to_owned);
            let from = address.map(|[third, fourth]| IpAddr::V4(Ipv4Addr::new(127, 9, third, fourth)));
            let server = from.map_or_else(|| server.clone(), |from| server.clone().reached_from(from));
            Part { name, way: way.to_vec(), crowd: Crowd::new(&server, &plan, &common) }
        };
        let parts = PARTS.iter().enumerate().map(part).collect();
        let (updates, expected) = (software(&sim)?, Expected::read(&sim, &json!({})).map_err(other)?);
        Ok(Self { begun: Instant::now(), sim, node, runtime, site: Site::default(), parts, updates, expected })
    }

    /// All machines scan, and each has come to what its groups have it come to. Says how many were to install something.
    fn settle(&mut self, when: &str) -> io::Result<usize> {
        let mut ordered = 0;
        for part in &mut self.parts {
            let should = self.site.should(&self.updates, &part.way);
            let expected = self.expected.clone().scoped(should.scope);
            let (crowd, when) = (&mut part.crowd, format!("{when}, {}", part.name));
            let end = Instant::now() + SOON;
            // Who asks while the node is not yet told of a decision asks again.
            let scans = loop {
                let scans = self.runtime.block_on(crowd.scan()).map_err(|error| other(format!("{when}: {error}")))?;
                let Err(differs) = crowd.check(&scans, &expected, &should.install) else { break scans };
                check(Instant::now() < end, || format!("{when}: {differs}"))?;
            };
            for scan in &scans {
                let dated = should.deadlines.iter().filter(|(id, _)| scan.ordered.contains(id));
                let dated: BTreeMap<&Guid, &(String, bool)> = dated.collect();
                // What a review kept back is later by as long, which is no longer than all of this.
                let is_so = |told: &str, (said, held): &(String, bool)| {
                    let late = later(told, said);
                    late == Some(0) || *held && late.is_some_and(|late| late <= self.begun.elapsed().as_millis())
                };
                let is_right = scan.deadlines.len() == dated.len()
                    && scan.deadlines.iter().all(|(id, told)| dated.get(id).is_some_and(|said| is_so(told, said)));
                check(is_right, || format!("{when}: deadlines {:?} instead of {dated:?}", scan.deadlines))?;
            }
            ordered += scans.iter().filter(|scan| !scan.ordered.is_empty()).count();
        }
        Ok(ordered)
    }

    /// What can be chosen from: offered, without a licence, by nobody's leave.
    fn open(&self) -> Vec<Guid> {
        let is_open = |update: &&Update| update.gone.is_none() && !update.asks_user && update.eula.is_none();
        self.updates.iter().filter(is_open).map(|update| update.id).collect()
    }

    fn approve(&mut self, ids: &[Guid], whom: Whom, word: Word) -> io::Result<()> {
        let lone = self.lone()?.to_string();
        let target = if whom == "lone" { ["--endpoint", lone.as_str()] } else { ["--group", whom] };
        let how: &[&str] = match &word {
            Word::Install(None) => &[],
            Word::Install(Some(time)) => &["--deadline", time],
            Word::NotApproved => &["--action", "not-approved"],
        };
        let texts = texts(ids);
        self.node.verb(&words(&["approvals", "set"], &texts, &[&target[..], how].concat()))?;
        self.site.words.extend(ids.iter().map(|id| ((*id, whom), word)));
        Ok(())
    }

    fn lone(&mut self) -> io::Result<Guid> {
        let part = self.parts.iter_mut().find(|part| part.way.first() == Some(&"lone"));
        let agent = part.and_then(|part| part.crowd.agents().first());
        agent.map(|agent| agent.machine().id).ok_or_else(|| other("there is no lone machine"))
    }

    fn part(&mut self, name: &str) -> io::Result<&mut Part> {
        self.parts.iter_mut().find(|part| part.name == name).ok_or_else(|| other(name))
    }

    /// The tree, with machines in it by their own word, by name and by address; then some by hand.
    fn tree(&mut self) -> io::Result<()> {
        for words in [
            &["Contoso", "--level", "company"][..],
            &["Berlin", "--below", "Contoso", "--level", "site"],
            &["Pilot", "--below", "Berlin"],
            &["Munich", "--below", "Contoso", "--level", "site", "--rule", "subnet 127.9.0.0/16"],
            &["Lab", "--below", "Munich", "--test", "on", "--rule", "subnet 127.9.2.0/24"],
            &["Ready", "--below", "Contoso"],
            &["Kiosks", "--rule", "name KIOSK-*"],
        ] {
            self.node.verb(&[&["groups", "add"], words].concat())?;
        }
        self.site.testing.insert("Lab");
        self.settle("first")?;
        let ready = self.part("the ready")?;
        ready.way = vec!["Ready", "Contoso", "all"];
        let ids: Vec<Guid> = ready.crowd.agents().iter().map(|agent| agent.machine().id).collect();
        let ids = texts(&ids);
        self.node.verb(&words(&["groups", "move-endpoint"], &ids, &["--to", "Ready"]))?;
        let told: Value = serde_json::from_str(&self.node.verb(&["groups", "list", "--json"])?).map_err(other)?;
        for row in told["rows"].as_array().into_iter().flatten() {
            let name = row["name"].as_str().unwrap_or_default();
            let own = |part: &mut Part| part.crowd.agents().len();
            let groups = |part: &Part| part.way.iter().copied().filter(|whom| *whom != "lone").collect::<Vec<_>>();
            let mut count = |is: fn(&[Whom], &str) -> bool| -> usize {
                self.parts.iter_mut().filter(|part| is(&groups(part), name)).map(own).sum()
            };
            let nearest = count(|way, name| way.first().is_some_and(|whom| whom.eq_ignore_ascii_case(name)));
            let below = count(|way, name| way.iter().any(|whom| whom.eq_ignore_ascii_case(name)));
            let is = |key: &str, many: usize| row[key] == many;
            check(row["path"] == "all" || is("endpoints", nearest) && is("endpoints_below", below), || {
                format!("{row} instead of {nearest}, with those below {below}")
            })?;
        }
        Ok(())
    }

    /// Inherited, overridden, for one alone; with deadlines, of which one that has passed is refused.
    fn inherited(&mut self, open: &[Guid]) -> io::Result<()> {
        let company = &open[..3 * FEW];
        self.approve(company, "Contoso", Word::Install(Some(DEADLINE)))?;
        self.approve(&company[..FEW], "Pilot", Word::NotApproved)?;
        self.approve(&company[FEW..FEW + 2], "Munich", Word::Install(Some(SOONER)))?;
        self.approve(&open[3 * FEW..4 * FEW], "Kiosks", Word::Install(None))?;
        self.approve(&open[4 * FEW..5 * FEW], "lone", Word::Install(None))?;
        self.approve(&company[2 * FEW..2 * FEW + 2], "lone", Word::NotApproved)?;
        self.approve(&open[5 * FEW..6 * FEW], "unassigned", Word::Install(None))?;
        // Something newer is there: who it is approved for is offered it all the same.
        let old =
            |update: &&Update| update.gone == Some(Gone::Superseded) && update.eula.is_none() && !update.asks_user;
        let old: Vec<Guid> = self.updates.iter().filter(old).map(|update| update.id).take(FEW).collect();
        self.approve(&old, "Berlin", Word::Install(None))?;
        let past = ["approvals", "set", &open[6 * FEW].to_string(), "--group", "all", "--deadline", "2020-02-01"]
            .map(str::to_owned);
        let refused = self.node.verb(&past.each_ref().map(String::as_str));
        check(refused.is_err(), || "a deadline that has passed was taken".into())?;
        let ordered = self.settle("approved")?;
        check(ordered > 500, || format!("only {ordered} machines are to install something"))
    }

    /// A decline, which is above all; and licences that nobody accepted yet.
    fn declined(&mut self, open: &[Guid]) -> io::Result<()> {
        let declined = [open[FEW], open[3 * FEW], open[6 * FEW + 1]];
        let ids = texts(&declined);
        self.node.verb(&words(&["updates", "decline"], &ids, &[]))?;
        self.site.declined.extend(declined);
        let licensed = |update: &&Update| update.gone.is_none() && update.eula.is_some();
        let licensed: Vec<Guid> = self.updates.iter().filter(licensed).map(|update| update.id).collect();
        check(!licensed.is_empty(), || "no update has a licence".into())?;
        self.approve(&licensed, "all", Word::Install(None))?;
        self.settle("declined, and without a licence")?;
        // Back: what was said before counts again.
        self.node.verb(&["updates", "reset", &ids[0]])?;
        self.site.declined.remove(&declined[0]);
        let one = texts(&licensed[..1]);
        self.node.verb(&words(&["approvals", "license", "accept"], &one, &[]))?;
        let eula = self.updates.iter().find(|update| update.id == licensed[0]).and_then(|update| update.eula);
        self.site.accepted.extend(eula);
        self.settle("accepted")?;
        Ok(())
    }

    /// A site asks for a review: what was approved there takes effect as far as that lets it.
    fn reviewed(&mut self, open: &[Guid]) -> io::Result<()> {
        self.node.verb(&["groups", "change", "Munich", "--review", "on"])?;
        self.site.asking.insert("Munich");
        for (ids, state, review) in
            [(&open[..4], "in-test", Review::InTest), (&open[FEW..FEW + 3], "released", Review::Released)]
        {
            let texts = texts(ids);
            self.node.verb(&words(&["approvals", "review"], &texts, &["--state", state]))?;
            self.site.reviews.extend(ids.iter().map(|id| (*id, review)));
        }
        self.settle("in review")?;
        Ok(())
    }

    /// A rule for pilots, and for their site a week later: of what is old enough. How old that is lies between the days of two updates, so
    /// that a day that begins meanwhile changes nothing.
    fn ruled(&mut self) -> io::Result<(usize, i64)> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let today = now.div_euclid(DAY_MS);
        let mut ages: Vec<i64> = self
            .updates
            .iter()
            .filter(|update| update.gone != Some(Gone::Superseded))
            .map(|update| today - update.day)
            .collect();
        ages.sort_unstable();
        let gaps = ages.windows(2).filter(|pair| pair[1] - pair[0] > 3).map(|pair| pair[0] + 2);
        let days = gaps.filter(|days| (0..=366).contains(days)).max().unwrap_or(366);
        let (pilot, rest) = (format!("Pilot:{days}"), "Berlin:7");
        self.node.verb(&["rules", "add", "Pilot first", "--ring", &pilot, "--ring", rest, "--stop-percent", "5"])?;
        self.node.verb(&["rules", "run"])?;
        let way = self.part("pilots")?.way.clone();
        let many = self.site.rule(&self.updates, today - days, &way);
        check(many > FEW, || format!("{many} updates are {days} days old, too few"))?;
        self.settle("by a rule")?;
        Ok((many, today - days))
    }

    /// New updates and revisions, some withdrawn, some superseded: what was approved stays so. Where what took the place of an update is
    /// withdrawn, that is offered again, and the rule takes it, if it is of this day or before.
    fn month(&mut self, day: i64) -> io::Result<()> {
        let scope = |scene: &Self| scene.site.should(&scene.updates, &["all"]).scope;
        let before = scope(self);
        self.sim.advance(1);
        self.node.verb(&["sync", "start"])?;
        self.node.verb(&["rules", "run"])?;
        self.updates = software(&self.sim)?;
        self.expected = Expected::read(&self.sim, &json!({})).map_err(other)?;
        let way = self.part("pilots")?.way.clone();
        self.site.rule(&self.updates, day, &way);
        let after = scope(self);
        let (gone, came) = (before.difference(&after).count(), after.difference(&before).count());
        check(gone > 0 && came > 0, || format!("the month took {gone} updates and brought {came}"))?;
        self.settle("a month later")?;
        Ok(())
    }

    /// Pilots, the lab and the ready install what they were told to, some of it in vain; half of them restart. All but the silent report.
    fn install(&mut self) -> io::Result<String> {
        let all: Vec<Guid> = self.open();
        let new: Vec<Guid> = all.into_iter().filter(|id| !self.site.declined.contains(id)).collect();
        self.approve(&new, "Ready", Word::Install(None))?;
        self.settle("all of it for some")?;
        let (mut installed, mut failed, mut events) = (0, 0, 0);
        for part in self.parts.iter_mut().filter(|part| ["pilots", "the lab", "the ready"].contains(&part.name)) {
            for done in self.runtime.block_on(part.crowd.install()) {
                let ours = done.failed.iter().find(|(_, why)| !why.contains("this machine's seed"));
                check(ours.is_none(), || format!("{}: {ours:?}", part.name))?;
                installed += done.installed;
                failed += done.failed.len();
            }
            part.crowd.agents().iter_mut().step_by(2).for_each(Agent::restart);
        }
        check(installed > 0 && failed > 0, || format!("{installed} installed, {failed} failed"))?;
        self.settle("installed")?;
        for part in self.parts.iter_mut().filter(|part| part.name != "the silent") {
            events += self.runtime.block_on(part.crowd.report()).map_err(other)?;
        }
        Ok(format!(" {installed} installed, {failed} failed, {events} events;"))
    }

    /// The node's counts, of all and of groups, and what a decline makes of them before anybody scans again.
    fn counted(&mut self) -> io::Result<()> {
        let severity: BTreeMap<Guid, String> =
            self.updates.iter().map(|update| (update.id, update.severity.clone())).collect();
        let mut worst = None;
        for turn in 0..2 {
            for group in [None, Some("Contoso"), Some("Contoso/Berlin"), Some("Lab"), Some("unassigned")] {
                let last = group.and_then(|group| group.rsplit('/').next());
                let mut recount = Recount::new(&severity);
                for part in &mut self.parts {
                    if last.is_some_and(|last| !part.way.contains(&last)) {
                        continue;
                    }
                    for agent in part.crowd.agents() {
                        recount.add(agent, part.name != "the silent", &self.site.declined);
                    }
                }
                recount.overview(&self.node, group)?;
                if group.is_none() {
                    recount.is_varied()?;
                    recount.rows(&self.node)?;
                    worst = recount.worst();
                }
            }
            if let Some(worst) = worst.filter(|_| turn == 0) {
                self.node.verb(&["updates", "decline", &worst.to_string()])?;
                self.site.declined.insert(worst);
            }
        }
        Ok(())
    }
}

pub(crate) fn fleet(stage: &Stage) -> io::Result<String> {
    let mut scene = Scene::start(stage)?;
    let start = Instant::now();
    let machines: u64 = PARTS.iter().map(|row| row.1).sum();
    scene.tree()?;
    let open = scene.open();
    check(open.len() > 8 * FEW, || format!("{} updates are too few", open.len()))?;
    check(open.iter().collect::<BTreeSet<_>>().len() == open.len(), || "an update is listed twice".into())?;
    scene.inherited(&open)?;
    scene.declined(&open)?;
    scene.reviewed(&open)?;
    let (ruled, day) = scene.ruled()?;
    scene.month(day)?;
    let installed = scene.install()?;
    scene.counted()?;
    let seconds = start.elapsed().as_secs_f32();
    let told = format!(
        "     {machines} machines in groups, {seconds:.1} s; {ruled} by a rule;{installed} counts are those counted anew"
    );
    scene.node.stop()?;
    Ok(told)
}
