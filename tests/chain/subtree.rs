//! Nodes in a row on real sockets: what is below is told at the top, what the top wishes is done at the bottom, and who is in between can
//! neither read nor change what is for another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;
use waystation::chain::below::host::{Doing, Host, Verb};
use waystation::chain::below::seen::{Seen, Status};
use waystation::chain::leave::Left;
use waystation::chain::node::Role;
use waystation::chain::roll::Standing;
use waystation::model::chain::below::{Actual, Heartbeat, HeldSaid, Told};
use waystation::model::chain::ids::NodeId;
use waystation::model::chain::record::Kind;
use waystation::model::deployment::Endpoint;
use waystation::model::settings::Raw;
use waystation::net::Bound;
use waystation::wire::peer::wish::{Said, Setting, setting_key};

use crate::below::{endpoint, told};
use crate::small_store;
use crate::sockets::{Node, SOON};

/// Settings and endpoints of a node, as the chain sees them.
#[derive(Default)]
struct Fake {
    name: String,
    endpoints: Mutex<BTreeMap<Endpoint, Told>>,
    set: Mutex<BTreeMap<String, Raw>>,
    done: Mutex<Vec<Verb>>,
}

impl Host for Fake {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn heartbeat(&self) -> Doing<'_, Heartbeat> {
        Box::pin(async { Heartbeat { disk: 1 << 40, hits_permille: Some(900), ..Heartbeat::default() } })
    }

    fn endpoints(&self, after: Option<Endpoint>) -> Doing<'_, Result<Vec<(Endpoint, Told)>, String>> {
        let all = self.endpoints.lock().unwrap().clone();
        Box::pin(async move {
            Ok(all.into_iter().filter(|(id, _)| after.is_none_or(|after| *id > after)).take(2).collect())
        })
    }

    fn settings(&self) -> Doing<'_, Vec<Actual>> {
        let set = self.set.lock().unwrap().clone();
        let mut settings: Vec<Actual> = set
            .into_iter()
            .filter(|(key, _)| !self.is_secret(key))
            .map(|(key, value)| Actual { key, value, place: "parent".into(), ..Actual::default() })
            .collect();
        let (key, place) = ("store.path".to_owned(), "waystation.toml:3".to_owned());
        settings.push(Actual { key, value: "/data".into(), place, locked: true, waits: None });
        Box::pin(async move { settings })
    }

    fn keys(&self) -> Vec<String> {
        ["sync.every", "store.path", "proxy.password"].map(str::to_owned).to_vec()
    }

    fn is_secret(&self, key: &str) -> bool {
        key == "proxy.password"
    }

    fn read(&self, key: &str, value: Raw) -> Result<Raw, String> {
        if self.keys().iter().any(|known| known == key) { Ok(value) } else { Err("there is no such setting".into()) }
    }

    fn set(&self, key: String, value: Option<Raw>, _: String) -> Doing<'_, Result<String, String>> {
        Box::pin(async move {
            if key == "store.path" {
                return Err("fixed by waystation.toml:3".into());
            }
            match value {
                Some(value) => drop(self.set.lock().unwrap().insert(key, value)),
                None => drop(self.set.lock().unwrap().remove(&key)),
            }
            Ok("in force".into())
        })
    }

    fn order(&self, verb: Verb, _: String) -> Doing<'_, Result<String, String>> {
        self.done.lock().unwrap().push(verb.clone());
        let came = if verb == Verb::SyncStop { Err("no run is under way".into()) } else { Ok("job 7 began".into()) };
        Box::pin(async move { came })
    }
}

/// A node that reports.
struct Reporting {
    node: Node,
    fake: Arc<Fake>,
}

impl Reporting {
    async fn new(name: &str, endpoints: std::ops::Range<u32>) -> Self {
        Self::of(Node::new().await, name, endpoints)
    }

    fn of(node: Node, name: &str, endpoints: std::ops::Range<u32>) -> Self {
        let endpoints = endpoints.map(|number| (endpoint(number), told(number, 30))).collect();
        let fake = Arc::new(Fake { name: name.into(), endpoints: Mutex::new(endpoints), ..Fake::default() });
        let (chain, host, stop) = (node.chain.clone(), Arc::clone(&fake), node.stop.clone());
        tokio::spawn(async move { chain.report(host, stop).await });
        Self { node, fake }
    }

    /// What is seen of a node once it is as wanted.
    async fn sees(&self, node: NodeId, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let looked = async {
            loop {
                let all = self.node.chain.nodes().await.unwrap();
                if let Some(found) = all.into_iter().find(|one| one.node == node).filter(&wanted) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        };
        timeout(SOON, looked).await.expect("it comes up")
    }

    async fn held_of(&self, node: NodeId, wanted: impl Fn(&HeldSaid) -> bool) -> HeldSaid {
        let looked = async {
            loop {
                let held = self.node.chain.held_of(node).await.unwrap();
                if wanted(&held) {
                    return held;
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        };
        timeout(SOON, looked).await.expect("it comes up")
    }

    fn id(&self) -> NodeId {
        self.node.chain.me()
    }
}

async fn three() -> [Reporting; 3] {
    let top = Reporting::new("top", 0..3).await;
    let (middle, bottom) = (Reporting::new("middle", 3..8).await, Reporting::new("bottom", 8..20).await);
    middle.node.join(&top.node, "Berlin").await;
    bottom.node.join(&middle.node, "Mitte").await;
    [top, middle, bottom]
}

fn says(held: &HeldSaid, to: &str, outcome: &str) -> bool {
    held.answers.iter().any(|answer| answer.to == to && answer.outcome == outcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_below_is_told_at_the_top() {
    let [top, middle, bottom] = three().await;
    let seen = top.sees(bottom.id(), |one| one.tally.endpoints == 12 && one.status == Status::Online).await;
    assert_eq!((seen.path, seen.name.as_str()), (vec![middle.id(), bottom.id()], "Mitte"));
    assert_eq!((seen.said.heartbeat.version.as_str(), seen.said.heartbeat.hits_permille), ("test", Some(900)));
    assert!(!seen.said.fingerprint.is_empty());
    top.sees(middle.id(), |one| one.tally.endpoints == 5).await;
    top.sees(top.id(), |one| one.tally.endpoints == 3 && one.name == "top").await;
    let below = top.node.store.below();
    assert_eq!(below.tally().await.unwrap().endpoints, 20);
    assert_eq!(below.check().await.unwrap(), Vec::<String>::new());
    let held = below.endpoints(bottom.id(), None, 100).await.unwrap();
    let there: Vec<(Endpoint, Told)> = bottom.fake.endpoints.lock().unwrap().clone().into_iter().collect();
    assert_eq!(held, there);

    // What changes and what goes.
    {
        let mut endpoints = bottom.fake.endpoints.lock().unwrap();
        endpoints.remove(&endpoint(9)).unwrap();
        endpoints.get_mut(&endpoint(10)).unwrap().name = "renamed".into();
    }
    top.sees(bottom.id(), |one| one.tally.endpoints == 11).await;
    let held = below.endpoints(bottom.id(), None, 100).await.unwrap();
    assert!(held.iter().any(|(_, told)| told.name == "renamed"));

    // A parent that lost what it was told asks for all, and gets it.
    below.remove(middle.id(), false).await.unwrap();
    assert_eq!(below.tally().await.unwrap().endpoints, 3);
    top.sees(bottom.id(), |one| one.tally.endpoints == 11).await;
    top.sees(middle.id(), |one| one.tally.endpoints == 5).await;
    assert_eq!(below.check().await.unwrap(), Vec::<String>::new());

    // Who says goodbye is uninstalled, at the top too; who falls silent is offline.
    assert_eq!(bottom.node.chain.leave().await.unwrap(), Left::Told);
    bottom.node.is(Role::None).await;
    top.sees(bottom.id(), |one| one.status == Status::Uninstalled).await;
    assert!(bottom.node.chain.leave().await.is_err());
    middle.node.stop.cancel();
    top.sees(middle.id(), |one| one.status == Status::Offline).await;
    let removed = top.node.chain.remove("Berlin").await.unwrap();
    assert_eq!(removed.node, middle.id());
    assert_eq!(top.node.chain.nodes().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_top_wishes_is_done_at_the_bottom_and_nowhere_else() {
    let [top, middle, bottom] = three().await;
    top.sees(bottom.id(), |one| !one.said.heartbeat.sealing_key.is_empty()).await;
    let chain = &top.node.chain;
    let wish = async |key: &str, value: Option<&str>, fingerprint: Option<&str>| {
        let changes = vec![(key.to_owned(), value.map(Raw::from))];
        chain.wish(&*top.fake, "Mitte", changes, fingerprint, "anna").await
    };
    wish("sync.every", Some("6h"), None).await.unwrap();
    wish("store.path", Some("/other"), None).await.unwrap();
    assert!(wish("no.such", Some("1"), None).await.unwrap_err().to_string().contains("no such setting"));
    let held =
        top.held_of(bottom.id(), |held| says(held, "sync.every", "done") && says(held, "store.path", "refused")).await;
    assert_eq!(bottom.fake.set.lock().unwrap()["sync.every"], Raw::from("6h"));
    let refused = held.answers.iter().find(|answer| answer.to == "store.path").unwrap();
    assert!(refused.text.contains("waystation.toml:3"));
    assert!(held.settings.iter().any(|one| one.key == "store.path" && one.locked));
    let held = top.held_of(bottom.id(), |held| held.settings.iter().any(|one| one.key == "sync.every")).await;
    assert!(held.settings.iter().any(|one| one.value == Raw::from("6h")));
    assert!(middle.fake.set.lock().unwrap().is_empty());

    // A secret is sealed to the key that a person compared, and to no other.
    let why = wish("proxy.password", Some("hunter2"), None).await.unwrap_err().to_string();
    assert!(why.contains("--fingerprint"), "{why}");
    let why = wish("proxy.password", Some("hunter2"), Some(&"0".repeat(64))).await.unwrap_err().to_string();
    assert!(why.contains("another key"), "{why}");
    let fingerprint = bottom.node.chain.fingerprint().await.unwrap().unwrap();
    wish("proxy.password", Some("hunter2"), Some(&fingerprint)).await.unwrap();
    top.held_of(bottom.id(), |held| says(held, "proxy.password", "done")).await;
    assert_eq!(bottom.fake.set.lock().unwrap()["proxy.password"], Raw::from("hunter2"));
    // In between there is the record, and nobody who can read it.
    let key = setting_key(bottom.id(), "proxy.password").to_vec();
    let record = middle.node.store.feed().record(Kind::Setting.number(), key).await.unwrap().unwrap();
    let Said::Sealed(sealed) = Setting::read(record.body()).unwrap().value else { panic!("it is open") };
    assert!(!sealed.windows(7).any(|part| part == b"hunter2"));
    let changes = vec![("sync.every".to_owned(), Some(Raw::from("1m")))];
    let why = middle.node.chain.wish(&*middle.fake, "Mitte", changes, None, "mallory").await.unwrap_err().to_string();
    assert!(why.contains("only the authority"), "{why}");
    // A node beside gets the hashes alone.
    let beside = Reporting::new("beside", 20..21).await;
    beside.node.join(&top.node, "Wien").await;
    top.sees(beside.id(), |one| one.status == Status::Online).await;
    let mut moved = beside.node.chain.moved();
    let position = top.node.store.feed().head().await.unwrap();
    assert!(position.is_some());
    let caught_up = async {
        while beside.node.chain.seen().position.is_none() {
            moved.changed().await.unwrap();
        }
    };
    timeout(SOON, caught_up).await.unwrap();
    for key in ["proxy.password", "sync.every"] {
        let key = setting_key(bottom.id(), key).to_vec();
        assert!(beside.node.store.feed().record(Kind::Setting.number(), key).await.unwrap().is_none());
    }

    // Orders, each once, with what came of them.
    let verify = chain.order("Mitte", "verify", "", false, "anna").await.unwrap();
    let stop = chain.order("Mitte", "sync-stop", "", false, "anna").await.unwrap();
    let held = top
        .held_of(bottom.id(), |held| {
            says(held, &verify.number.to_string(), "done") && says(held, &stop.number.to_string(), "refused")
        })
        .await;
    assert!(held.answers.iter().any(|answer| answer.text == "no run is under way"));
    assert_eq!(*bottom.fake.done.lock().unwrap(), [Verb::Verify, Verb::SyncStop]);

    // What is named is not removed, and says by what; what is taken back holds no more.
    let why = chain.remove("Berlin").await.unwrap_err().to_string();
    assert!(why.contains("Mitte"), "{why}");
    let mine = vec![("sync.every".to_owned(), Some(Raw::from("1h")))];
    chain.wish(&*top.fake, "Wien", mine, None, "anna").await.unwrap();
    let why = chain.remove("Wien").await.unwrap_err().to_string();
    assert!(why.contains("sync.every"), "{why}");
    wish("sync.every", None, None).await.unwrap();
    let taken_back = async {
        while bottom.fake.set.lock().unwrap().contains_key("sync.every") {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    timeout(SOON, taken_back).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_with_the_same_id_waits_until_somebody_lets_it_take_the_place() {
    let top = Reporting::new("top", 0..0).await;
    let first = Reporting::new("first", 0..2).await;
    first.node.join(&top.node, "Berlin").await;
    top.sees(first.id(), |one| one.tally.endpoints == 2).await;

    // A copy of its store on other hardware, without its keys.
    let dir: TempDir = tempfile::tempdir().unwrap();
    let store = small_store::open(&dir.path().join("data"));
    store.set_document("chain.node", Some(first.id().bytes().to_vec())).await.unwrap();
    let copy = Node::with(dir, store, Bound::tcp(([127, 0, 0, 1], 0).into()).unwrap()).await;
    let invited = top.node.chain.invite("Copy", SOON, None, false).await.unwrap();
    copy.chain.join(&invited.token).await.unwrap();
    let waits = async {
        while !top.node.chain.members().await.unwrap().iter().any(|one| one.standing == Standing::Waiting) {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    timeout(SOON, waits).await.unwrap();
    // The first one is in as before.
    top.sees(first.id(), |one| one.status == Status::Online && one.name == "Berlin").await;
    top.node.chain.approve("Copy").await.unwrap();
    copy.is(Role::Child).await;
    let all = top.node.chain.nodes().await.unwrap();
    let former = all.iter().find(|one| one.name == "Berlin").unwrap();
    assert_eq!(former.status, Status::Invalid);
    assert_eq!(former.member.as_ref().unwrap().standing, Standing::Superseded);
    let refused = async {
        while !first.node.chain.seen().trouble.is_some_and(|why| why.contains("revoked")) {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    timeout(SOON, refused).await.expect("its certificate counts no more");
    top.node.chain.remove("Berlin").await.unwrap();
    assert!(top.node.chain.find("Copy").await.is_ok());

    // A join that waits is given up.
    let other = Node::new().await;
    let invited = top.node.chain.invite("Wien", SOON, None, false).await.unwrap();
    other.chain.join(&invited.token).await.unwrap();
    assert_eq!(other.chain.leave().await.unwrap(), Left::Joining);
    other.is(Role::None).await;
}
