//! From what an agent reports over a socket to what the API says of it.

use endpoint_sim::{Common, Crowd, Plan, Tells};
use http_body_util::BodyExt as _;
use prometheus_client::registry::Registry;
use tower::ServiceExt as _;
use waystation::admin::bandwidth::Bandwidth;
use waystation::admin::compliance::Reported;
use waystation::admin::{Access, Handles, NodeFacts, Turns, router};
use waystation::fleet::compliance::Compliance;
use waystation::fleet::compliance::board::Board;
use waystation::fleet::compliance::counters::Disbelief;
use waystation::fleet::roster::Roster;
use waystation::jobs::{self, Jobs};
use waystation::model::compliance::{Policy, State};
use waystation::model::deployment::Endpoint;
use waystation::store::fleet::standing::Held;

use super::*;

/// An event, as agents write it.
struct Told {
    target: String,
    number: u32,
    update: String,
    result: i32,
    misc: Vec<String>,
    at: Timestamp,
}

fn xml(told: &Told, instance: u32) -> String {
    let misc = told.misc.iter().fold(String::new(), |text, item| format!("{text}<string>{item}</string>"));
    format!(
        "<ReportingEvent><BasicData><TargetID><Sid>{}</Sid></TargetID><SequenceNumber>0</SequenceNumber>\
         <TimeAtTarget>{}</TimeAtTarget><EventInstanceID>fab199c1-6123-44f2-b01c-a5a9{instance:08x}</EventInstanceID>\
         <NamespaceID>1</NamespaceID><EventID>{}</EventID><SourceID>101</SourceID><UpdateID><UpdateID>{}</UpdateID>\
         <RevisionNumber>0</RevisionNumber></UpdateID><Win32HResult>{}</Win32HResult></BasicData><ExtendedData>\
         <MiscData>{misc}</MiscData></ExtendedData><PrivateData/></ReportingEvent>",
        told.target, told.at, told.number, told.update, told.result
    )
}

/// A node's face, what it made of reports, and its API.
struct Site {
    server: Server,
    compliance: Compliance,
    api: axum::Router,
    instance: u32,
}

impl Site {
    async fn over(node: &Node) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let enrolled = node.registry(Admission::default()).await;
        let scans =
            Arc::new(Scans::open(Config::default(), enrolled.clone(), &node.store, clock.clone()).await.unwrap());
        let compliance = scans.compliance().clone();
        let face =
            Face::new(serve::Config::default(), node.fill.clone(), node.store.clone(), clock.clone(), Box::new(|_| ()));
        let facts = NodeFacts {
            version: "1.2.3",
            id: String::new(),
            epoch: 1,
            data: "/".into(),
            started_at: clock.now(),
            listening: vec![],
            draining: std::sync::atomic::AtomicBool::new(false),
        };
        let mut door = waystation::admin::door::Config::new("/".into());
        door.cost = (8, 1, 1);
        let door = waystation::admin::door::Door::new(door, &node.store, clock.clone());
        let handles = Handles {
            jobs: Jobs::offline(jobs::Config::default(), node.store.clone(), clock.clone()),
            store: node.store.clone(),
            settings: Arc::new(Vec::new),
            registry: Arc::new(Registry::default()),
            node: Arc::new(facts),
            clock,
            turns: Turns::default(),
            tls: None,
            bandwidth: Bandwidth::default(),
            reported: Reported::new(compliance.clone(), Arc::new(Policy::default)),
            filters: None,
            above: None,
            chain: None,
            door,
            endpoints: Roster::new(enrolled, vec![]),
        };
        let server = super::serve(Arc::new(face.with_scans(scans)));
        Self { server, compliance, api: router::router(handles, Access::Full), instance: 0 }
    }

    async fn asked(&self, path: &str) -> (u16, Value) {
        let request = Request::builder().uri(format!("/api/v1/compliance{path}")).header("host", "localhost");
        let answer = self.api.clone().oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
        let (status, body) = (answer.status().as_u16(), answer.into_body().collect().await.unwrap().to_bytes());
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn api(&self, path: &str) -> Value {
        let (status, value) = self.asked(path).await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    async fn report(&mut self, agent: &mut Agent, told: &[Told]) {
        let events = told.iter().fold(String::new(), |text, one| {
            self.instance += 1;
            text + &xml(one, self.instance)
        });
        let inside = format!(
            "<cookie>{}</cookie><clientTime>{}</clientTime><eventBatch>{events}</eventBatch>",
            agent.cookie,
            SystemClock.now()
        );
        let text = agent.ask("ReportEventBatch", &inside).await.unwrap();
        assert_eq!(one(&text, "ReportEventBatchResult"), "true");
    }
}

fn told(agent: &Agent, number: u32, update: &str, misc: Vec<String>) -> Told {
    let update = if update.is_empty() { "00000000-0000-0000-0000-000000000000" } else { update }.to_owned();
    Told { target: agent.id.clone(), number, update, result: 0, misc, at: SystemClock.now() }
}

fn list(tag: &str, ids: &[String]) -> String {
    format!("{tag}={}", ids.join(";").to_ascii_uppercase())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_reports_is_what_the_api_says() {
    let sim = sim(400);
    let node = Node::below(&sim).await;
    let mut site = Site::over(&node).await;
    let address = site.server.addresses()[0];
    assert_eq!(site.api("").await["endpoints"], 0);
    let mut agent = Agent::new(address, 0x94).await;
    agent.handshake().await;
    agent.scan().await;
    let offered: Vec<String> = agent.with_action("PreDeploymentCheck").into_iter().collect();
    let (needed, installed) = offered.split_at(offered.len() / 2);

    // It scans, and tells what it found.
    let first = [told(&agent, 147, "", vec![]), told(&agent, 156, "", vec![list("U", needed), list("V", installed)])];
    site.report(&mut agent, &first).await;
    let summary = site.api("").await;
    let counted = |summary: &Value| {
        ["endpoints", "missing", "up_to_date", "not_scanned", "compliant", "failed"]
            .map(|key| summary[key].as_u64().unwrap())
    };
    assert_eq!(counted(&summary), [1, 1, 0, 0, 1, 0], "{summary}");
    assert_eq!(summary["self_reported"], true);
    let missing = site.api("/missing?limit=500").await;
    assert_eq!(missing["total"], needed.len());
    let by_severity: u64 =
        summary["by_severity"].as_array().unwrap().iter().map(|row| row["missing"].as_u64().unwrap()).sum();
    assert_eq!(by_severity, needed.len() as u64);
    let updates = site.api("/updates?limit=500").await;
    assert_eq!(updates["total"], offered.len());
    // The lists are sifted, and pages of them come to the whole.
    let rows = missing["rows"].as_array().unwrap();
    for (key, field) in [("restart", "restart"), ("eula", "eula")] {
        let word = rows[0][field].as_str().unwrap();
        let sifted = site.api(&format!("/missing?limit=500&{key}={word}")).await;
        let fitting = rows.iter().filter(|row| row[field] == word).count();
        assert_eq!(sifted["total"], fitting, "{key}={word}");
    }
    let (mut behind, mut seen) = (String::new(), Vec::new());
    loop {
        let page = site.api(&format!("/missing?limit=7{behind}")).await;
        seen.extend(page["rows"].as_array().unwrap().iter().map(|row| row["id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        behind = format!("&after={next}");
    }
    assert_eq!(seen, rows.iter().map(|row| row["id"].clone()).collect::<Vec<_>>());
    // A page goes on where the one before ended, also where that row is gone meanwhile.
    let page = site.api("/missing?limit=2").await;
    let last: UpdateId = rows[1]["id"].as_str().unwrap().parse().unwrap();
    let decide = async |deciding| {
        node.store.catalog().decide(vec![last], deciding, "ann".into(), String::new()).await.unwrap();
    };
    decide(Deciding::Decline).await;
    let behind = site.api(&format!("/missing?limit=2&after={}", page["next"].as_str().unwrap())).await;
    assert_eq!((&behind["rows"][0]["id"], &behind["total"]), (&rows[2]["id"], &json!(rows.len() - 1)));
    decide(Deciding::Reset).await;
    assert_eq!(site.asked(&format!("/missing?after={}", rows[1]["id"].as_str().unwrap())).await.0, 400);

    // One fails, one waits for a restart; then the next scan tells that all is there but one.
    let mut failed = told(&agent, 182, &needed[0], vec![]);
    failed.result = -2_145_099_769;
    let mut waits = told(&agent, 201, &needed[1], vec![]);
    waits.result = 0x0024_0005;
    site.report(&mut agent, &[failed, waits]).await;
    let shown = site.api(&format!("/endpoints/{}", agent.id)).await;
    let state = |shown: &Value, update: &str| {
        let mut states = shown["states"].as_array().unwrap().iter();
        states.find(|row| row["update"] == *update).cloned().unwrap_or_default()
    };
    assert_eq!(state(&shown, &needed[0])["state"], "failed");
    assert_eq!(state(&shown, &needed[0])["error"], "0x80246007");
    assert_eq!(state(&shown, &needed[1])["state"], "pending-restart");
    assert_eq!((shown["failed"].clone(), shown["restart_since"].is_string()), (json!(1), true));
    assert_eq!(shown["history"].as_array().unwrap().len(), 2);
    let restarts = site.api("/endpoints?restart=true").await;
    assert_eq!(
        (restarts["total"].clone(), site.api("/endpoints?state=failed").await["total"].clone()),
        (json!(1), json!(1))
    );
    let rest = told(&agent, 156, "", vec![list("U", &needed[..1]), list("V", &offered[1..])]);
    site.report(&mut agent, &[rest]).await;
    assert_eq!(site.api("/missing").await["total"], 1);
    let with = site.api(&format!("/endpoints?update={}", needed[0])).await;
    assert_eq!((with["total"].clone(), with["rows"][0]["id"].clone()), (json!(1), json!(agent.id)));
    // It has no lists of failures and restarts, as those of real agents: it does not say that there are none.
    assert_eq!(counted(&site.api("").await), [1, 1, 0, 0, 1, 1]);
    let whose = agent.id.clone();
    let states = async |site: &Site| {
        let shown = site.api(&format!("/endpoints/{whose}")).await;
        [state(&shown, &needed[0])["state"].clone(), state(&shown, &needed[1])["state"].clone()]
    };
    assert_eq!(states(&site).await, ["failed", "pending-restart"]);
    let restarted = [
        told(&agent, 202, &needed[1], vec![]),
        told(&agent, 156, "", vec![list("U", &needed[..1]), list("V", &offered[1..])]),
    ];
    site.report(&mut agent, &restarted).await;
    assert_eq!(states(&site).await, ["failed", "installed"]);
    assert_eq!(site.api("/endpoints?restart=true").await["total"], 0);

    // Declined it is missing no more; everything in one more report, and nothing of it twice.
    let id: UpdateId = needed[0].parse().unwrap();
    node.store.catalog().decide(vec![id], Deciding::Decline, "ann".into(), String::new()).await.unwrap();
    assert_eq!(counted(&site.api("").await), [1, 0, 1, 0, 1, 0]);
    assert_eq!(site.compliance.check().await.unwrap(), Vec::<String>::new());

    // Another face over the same store knows the same, as after a start.
    node.store.fleet().keep_states().await.unwrap();
    let again = Site::over(&node).await;
    assert_eq!(again.api("/updates?limit=500").await, site.api("/updates?limit=500").await);
    assert_eq!(
        again.api(&format!("/endpoints/{}", agent.id)).await,
        site.api(&format!("/endpoints/{}", agent.id)).await
    );
    again.server.drain(SOON).await;
    assert_eq!(site.asked("/endpoints/nobody").await.0, 404);
    assert_eq!(site.asked("/missing?severity=worst").await.0, 400);
    assert_eq!(site.asked("/missing?colour=red").await.0, 400);
    site.server.drain(SOON).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_believed_is_counted_and_changes_nothing() {
    let sim = sim(60);
    let node = Node::below(&sim).await;
    let mut site = Site::over(&node).await;
    let address = site.server.addresses()[0];
    let mut agent = Agent::new(address, 0x94).await;
    agent.handshake().await;
    agent.scan().await;
    let offered: Vec<String> = agent.with_action("PreDeploymentCheck").into_iter().collect();
    let truth = told(&agent, 156, "", vec![list("V", &offered)]);
    site.report(&mut agent, &[truth]).await;
    let before = (site.api("").await, site.api(&format!("/endpoints/{}", agent.id)).await["states"].clone());

    let lie = || told(&agent, 156, "", vec![list("U", &offered)]);
    let hours = |hours: u64| Duration::from_hours(hours);
    let foreign = Told { target: "e1da06a3-5601-43c9-bac3-52d5db701495".into(), ..lie() };
    let future = Told { at: SystemClock.now().after(hours(48)), ..lie() };
    let stale = Told { at: Timestamp::from_ms(SystemClock.now().ms() - 3_600_000), ..lie() };
    let unknown = told(&agent, 182, "e1da06a3-5601-43c9-bac3-52d5db7014ff", vec![]);
    let ids = (0..5000).map(|of| format!("e1da06a3-5601-43c9-bac3-52d5{of:08x}")).collect::<Vec<_>>();
    let absurd = told(&agent, 156, "", vec![list("U", &ids)]);
    let anonymous = xml(&lie(), 0xffff);
    let lies = [foreign, future, stale, unknown, absurd];
    site.report(&mut agent, &lies).await;
    // Without a cookie anybody may say anything.
    let inside = format!(
        "<computerId>{}</computerId><clientTime>{}</clientTime><eventBatch>{anonymous}</eventBatch>",
        agent.id,
        SystemClock.now()
    );
    agent.ask("ReportEventBatch2", &inside).await.unwrap();
    // Nor does it count before it has registered.
    let mut other = Agent::new(address, 0x95).await;
    other.config().await;
    other.authorize().await;
    other.take_cookie("").await.unwrap();
    let early = told(&other, 156, "", vec![list("U", &offered)]);
    site.report(&mut other, &[early]).await;

    assert_eq!((site.api("").await, site.api(&format!("/endpoints/{}", agent.id)).await["states"].clone()), before);
    use Disbelief::{Absurd, Anonymous, Foreign, Future, Stale, UnknownUpdate, Unregistered};
    let counted = [Anonymous, Unregistered, Foreign, Future, Stale, UnknownUpdate, Absurd]
        .map(|why| site.compliance.counters().disbelieved_for(why));
    assert_eq!(counted, [1; 7]);
    assert_eq!(site.compliance.check().await.unwrap(), Vec::<String>::new());

    // What a real agent was recorded to report is taken in under its own id.
    if let Some(root) = recorded("wusp") {
        let body = std::fs::read_to_string(root.join("flow/000016/request.body")).unwrap();
        let (head, rest) = body.split_once("<cookie>").unwrap();
        let body = format!("{head}<cookie>{}</cookie>{}", agent.cookie, rest.split_once("</cookie>").unwrap().1);
        let answer = agent.post(REPORTS, "recorded", &body).await;
        assert_eq!(answer.status, 200);
        let more = site.compliance.counters().disbelieved_for(Foreign);
        assert_eq!(more, 1, "the recorded machine reports of itself");
    }
    site.server.drain(SOON).await;
    node.close().await;
}

/// How each update of a machine stands, by what it reported; and whether it waits for a restart.
async fn stands(compliance: &Compliance, machine: &str) -> (BTreeMap<String, State>, bool) {
    let endpoint = Endpoint(machine.parse().unwrap());
    let look = move |board: &Board| {
        let standing = &board.row(endpoint).unwrap().standing;
        let name = |held: &Held| (board.known(held.number()).unwrap().id.to_string(), held.state());
        (standing.held.iter().map(name).collect(), standing.restart > 0)
    };
    compliance.look(look).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_that_report_as_recorded_ones_come_to_the_same_as_those_that_send_all_lists() {
    let sim = sim(200);
    let node = Node::below(&sim).await;
    let site = Site::over(&node).await;
    let face = endpoint_sim::Server::find(&format!("http://{}", site.server.addresses()[0]), None).unwrap();
    let ids = offered(&sim).iter().map(|id| id.parse().unwrap()).collect();
    node.store
        .catalog()
        .decide(ids, Deciding::Approve { all_files: false }, "kim".into(), String::new())
        .await
        .unwrap();
    let (mut waited, mut failed) = (0, 0);
    for (seed, tells) in [(41, Tells::All), (42, Tells::AsRecorded), (43, Tells::Late), (44, Tells::Never)] {
        let mut common = Common::default();
        common.tells = tells;
        let plan = Plan { machines: 6, seed, at_once: 3, ..Plan::default() };
        let mut crowd = Crowd::new(&face, &plan, &common);
        while crowd.scan().await.unwrap().iter().any(|scan| scan.ordered.is_empty()) {}
        crowd.report().await.unwrap();
        let done = crowd.install().await;
        crowd.report().await.unwrap();
        let mut waits = Vec::new();
        for agent in crowd.agents() {
            let pending: BTreeSet<String> = agent.pending().iter().map(ToString::to_string).collect();
            let (states, restart) = stands(&site.compliance, &agent.machine().id.to_string()).await;
            let told = states.into_iter().filter(|(_, state)| *state == State::PendingRestart);
            assert_eq!(
                (told.map(|(id, _)| id).collect(), restart),
                (pending.clone(), !pending.is_empty()),
                "{tells:?}"
            );
            waited += pending.len();
            waits.push(pending);
            agent.restart();
        }
        // The node counts in seconds: the scan after the restart is in a later one.
        let second = || SystemClock.now().ms() / 1000;
        let restarted = second();
        let mut scans = crowd.scan().await.unwrap();
        while second() == restarted {
            scans = crowd.scan().await.unwrap();
        }
        crowd.report().await.unwrap();
        // What came of the restart the scan after it tells.
        crowd.scan().await.unwrap();
        crowd.report().await.unwrap();
        for (((agent, scan), done), pending) in crowd.agents().iter().zip(scans).zip(done).zip(waits) {
            let (states, restart) = stands(&site.compliance, &agent.machine().id.to_string()).await;
            let never = tells == Tells::Never;
            assert_eq!(restart, never && !pending.is_empty(), "{tells:?}");
            let broke: BTreeSet<String> = done.failed.iter().map(|(id, _)| id.to_string()).collect();
            failed += broke.len();
            let should = |id: String, is_there| match is_there {
                true if never && pending.contains(&id) => (id, State::PendingRestart),
                true => (id, State::Installed),
                false if broke.contains(&id) => (id, State::Failed),
                false => (id, State::NotInstalled),
            };
            let installed = scan.verdict.installed.iter().map(|id| should(id.to_string(), true));
            let needed = scan.verdict.needed.iter().map(|id| should(id.to_string(), false));
            assert_eq!(states, installed.chain(needed).collect(), "{tells:?}");
        }
    }
    assert!(waited > 3 && failed > 0, "{waited} waited for a restart, {failed} failed");
    assert_eq!(site.compliance.check().await.unwrap(), Vec::<String>::new());
    site.server.drain(SOON).await;
    node.close().await;
}
