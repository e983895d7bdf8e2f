//! Nobody, neither an origin nor a client, keeps others from what they ask for.

use std::sync::Mutex;

use super::*;

/// How many first questions of a flight one host, or one subnet, may leave open.
const LEARNING_MAX: u8 = u8::MAX;

/// Hosts whose name begins with `mute` take every question and say nothing; so does every host for a path that ends in
/// `revalidated`, once it was answered.
#[derive(Debug)]
struct Mute {
    object: Object,
    asked: Mutex<Vec<String>>,
}

impl upstream::Source for Mute {
    fn ask(&self, ask: upstream::Ask) -> upstream::Asking<'_> {
        self.asked.lock().unwrap().push(ask.location.url.clone());
        Box::pin(async move {
            let again = ask.revalidate.is_some() && ask.location.url.ends_with("revalidated");
            if ask.location.url.starts_with("http://mute") || again {
                return std::future::pending().await;
            }
            let headers = vec![("cache-control".to_owned(), "max-age=60".to_owned())];
            Ok(upstream::Answer { headers, ..given(&self.object, &ask).await })
        })
    }

    fn health(&self) -> Vec<waystation::model::report::HostHealth> {
        Vec::new()
    }

    fn probe<'a>(&'a self, _: &'a Location, _: upstream::Object) -> upstream::Probing<'a> {
        Box::pin(async { Vec::new() })
    }
}

fn muted(dir: &Path) -> (Arc<Node>, Arc<Mute>) {
    muted_with(dir, Config::default())
}

fn muted_with(dir: &Path, config: Config) -> (Arc<Node>, Arc<Mute>) {
    let source = Arc::new(Mute { object: Object::made(3 * PIECE, 6), asked: Mutex::default() });
    let mut node = Node::open(dir, Setup::default(), &[]);
    // At ports of their own: nothing of HTTPS is tried there.
    let entries = ["mute1", "mute2", "good"].map(|host| format!("http://{host}.example.org:8000"));
    let allow = Arc::new(AllowList::new(&entries).unwrap());
    node.fill = Fill::new(config, node.store.clone(), source.clone(), allow, node.clock.clone());
    (Arc::new(node), source)
}

fn at(node: &Node, host: &str, path: &str) -> Target {
    let host = format!("{host}.example.org:8000");
    node.fill.locate(&Ask { host: Some(&host), path, query: None, via: None }).unwrap()
}

async fn until(what: impl Fn() -> bool) {
    let polled = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(2), polled).await.unwrap();
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let (node, source) = muted(dir.path());
    let (asker, target) = (Arc::clone(&node), at(&node, "mute1", "/a"));
    let client = tokio::spawn(async move { asker.fill.obtain(&target, whole()).await.map(|_| ()) });
    until(|| !source.asked.lock().unwrap().is_empty()).await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    // From here on the clock runs by itself, and no disk is waited for.
    tokio::time::pause();
    let left = Instant::now();
    until(|| node.fill.flights().is_empty()).await;
    let after = left.elapsed();
    assert!(after > Duration::from_secs(10), "whoever was told to come again finds it: {after:?}");
    assert!(after < Duration::from_secs(15), "a client that waits gets the connection in time: {after:?}");
}

#[tokio::test]
async fn a_revalidation_that_nobody_waits_for_gives_its_connection_back() {
    let dir = tempfile::tempdir().unwrap();
    let (node, source) = muted_with(dir.path(), Config { connections_per_host: 1, ..Config::default() });
    let target = at(&node, "good", "/revalidated");
    node.until_held(&target).await;
    node.clock.0.fetch_add(120_000, Ordering::Relaxed);
    let before = source.asked.lock().unwrap().len();
    // It may not be served as it is once it was asked for anew, so that whoever asks waits.
    let (asker, again) = (Arc::clone(&node), target.clone());
    let client = tokio::spawn(async move { asker.fill.refresh(&again).await.map(|_| ()) });
    until(|| source.asked.lock().unwrap().len() > before).await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    // The host's one connection: whoever asks next has to wait for it, and gets it in time.
    let (asker, other) = (Arc::clone(&node), at(&node, "good", "/other"));
    let next = tokio::spawn(async move { asker.fill.obtain(&other, whole()).await });
    until(|| node.fill.flights().len() == 1).await;
    let (left, asked) = (Instant::now(), source.asked.lock().unwrap().len());
    // From here on the clock runs by itself, until the line moves: no disk is waited for meanwhile.
    tokio::time::pause();
    until(|| source.asked.lock().unwrap().len() > asked).await;
    tokio::time::resume();
    let after = left.elapsed();
    assert!(after > Duration::from_secs(10) && after < Duration::from_secs(15), "{after:?}");
    let Obtained::Flying { facts, flight, .. } = next.await.unwrap().unwrap() else { panic!("a flight was due") };
    same(&read(&flight, Span::new(0, facts.size), super::client(1)).await.1.unwrap(), &source.object.all());
    // Whoever asks of it again begins anew.
    let before = source.asked.lock().unwrap().len();
    let (asker, again) = (Arc::clone(&node), target.clone());
    let client = tokio::spawn(async move { asker.fill.refresh(&again).await.map(|_| ()) });
    until(|| source.asked.lock().unwrap().len() > before).await;
    client.abort();
}

#[tokio::test]
async fn an_origin_that_says_nothing_leaves_room_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let (node, source) = muted(dir.path());
    let mut clients = JoinSet::new();
    for number in 0..=LEARNING_MAX {
        let (asker, target) = (Arc::clone(&node), at(&node, "mute1", &format!("/{number}")));
        let client = IpAddr::from([10, 1, number, 1]);
        clients.spawn(async move { asker.fill.obtain(&target, Want { client, ..whole() }).await.map(|_| ()) });
    }
    until(|| node.fill.flights().len() == 256).await;
    match node.fill.obtain(&at(&node, "mute1", "/more"), whole()).await {
        Err(Error::Unavailable { why, .. }) => assert!(why.contains("which is the most"), "{why}"),
        other => panic!("the host has its share, got {other:?}"),
    }
    same(&node.get(&at(&node, "good", "/a"), None, client(1)).await.unwrap(), &source.object.all());
}

#[tokio::test]
async fn a_client_that_asks_for_very_much_leaves_room_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let (node, source) = muted(dir.path());
    let mut clients = JoinSet::new();
    for number in 0..=LEARNING_MAX / 2 {
        let host = if number < 64 { "mute1" } else { "mute2" };
        let (asker, target) = (Arc::clone(&node), at(&node, host, &format!("/{number}")));
        let client = client(number);
        clients.spawn(async move { asker.fill.obtain(&target, Want { client, ..whole() }).await.map(|_| ()) });
    }
    until(|| node.fill.flights().len() == 128).await;
    let good = at(&node, "good", "/a");
    match node.fill.obtain(&good, whole()).await {
        Err(Error::Unavailable { why, .. }) => assert!(why.contains("subnet"), "{why}"),
        other => panic!("the subnet has its share, got {other:?}"),
    }
    // The host itself has room for others still.
    let other = Want { client: IpAddr::from([10, 9, 9, 9]), ..whole() };
    let (asker, target) = (Arc::clone(&node), at(&node, "mute1", "/others"));
    clients.spawn(async move { asker.fill.obtain(&target, other).await.map(|_| ()) });
    until(|| node.fill.flights().len() == 129).await;
    let other = Want { client: IpAddr::from([10, 9, 9, 9]), ..whole() };
    let Obtained::Flying { facts, flight, .. } = node.fill.obtain(&good, other).await.unwrap() else {
        panic!("a flight was due");
    };
    same(&read(&flight, Span::new(0, facts.size), other.client).await.1.unwrap(), &source.object.all());
}

#[tokio::test]
async fn who_reads_slowly_what_is_passed_through_keeps_no_other_waiting() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    let object = Object::made(20 * PIECE, 7);
    origin.put("/x/authrootstl.cab", object.clone());
    let setup = Setup { fill: Config { connections_per_host: 1, ..Config::default() }, ..Setup::default() };
    let node = Node::open(dir.path(), setup, &[&origin]);
    let target = node.target(&origin, "/x/authrootstl.cab");
    let mut unread = Vec::new();
    for _ in 0..8 {
        unread.push(node.fill.obtain(&target, whole()).await.unwrap());
    }
    let soon = || Want { until: Instant::now() + Duration::from_millis(200), ..whole() };
    assert!(matches!(node.fill.obtain(&target, soon()).await, Err(Error::Unavailable { .. })), "it has its share");
    let other = Want { client: client(2), ..whole() };
    let Ok(Obtained::Passed(passed)) = node.fill.obtain(&target, other).await else {
        panic!("another client has one too");
    };
    same(&read_passed(passed).await, &object.all());
    // What it gives back is its own again.
    unread.pop();
    assert!(matches!(node.fill.obtain(&target, whole()).await, Ok(Obtained::Passed(_))));
}

#[tokio::test]
async fn drafts_are_counted_by_the_network_that_asks() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start().await);
    origin.put("/a", Object::made(200 * PIECE, 7));
    let node = Node::open(dir.path(), Setup::default(), &[&origin]);
    // As many as one network may have.
    for number in 0..1024 {
        let key = waystation::model::name::OriginKey::new(&format!("dl.example.org/{number}")).unwrap();
        let spec = store::DraftSpec {
            name: Name::Origin(key),
            size: 1,
            tag: number.to_string(),
            last_modified: None,
            validators: Validators::default(),
            expected: None,
            locations: Vec::new(),
            freshness: None,
            whole: false,
        };
        drop(node.store.start_draft_for(client(9), spec).await.unwrap());
    }
    let target = node.target(&origin, "/a");
    let span = Span::new(0, 1000);
    node.get(&target, Some(span), client(1)).await.unwrap();
    let drafts = node.store.drafts().await.unwrap();
    assert!(drafts.iter().any(|(spec, _)| spec.name == target.name));
    assert_eq!(drafts.len(), 1024, "one of the network's own went");
}
