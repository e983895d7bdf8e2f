//! Three nodes one below the other, each with a store on a disk and a real catalog at the top: what the authority synchronised arrives
//! at the bottom as it was, through every hop, and what changes later too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use upstream_sim::{Character, Options, Sim};
use waystation::base::digest::Blake3;
use waystation::base::time::SystemClock;
use waystation::chain::alarm::State;
use waystation::chain::answer::{Answer, Answerer, Question};
use waystation::chain::child::{Ask, Mark};
use waystation::chain::follow::Follower;
use waystation::chain::keys::FeedKey;
use waystation::chain::publish::Publisher;
use waystation::chain::tell::Teller;
use waystation::model::chain::hash::ChainId;
use waystation::model::chain::ids::{Audience, NodeId};
use waystation::model::filter::Selection;
use waystation::model::policy::Word;
use waystation::model::update::{Identity, UpdateId};
use waystation::pace::Governor;
use waystation::store::Store;
use waystation::store::catalog::{Deciding, Query, UpstreamKind};
use waystation::sync::{Extras, Runner};
use waystation::upstream::Proxy;
use waystation::upstream::wsus::{Config, Wsus};
use waystation::wire::peer::frame::{Frame, read_all};
use waystation::wire::peer::raw::FEED;

use crate::small_store;
use crate::world::{feed_key, node, root_key};

const TOP: NodeId = NodeId::new([1; 16]);

pub(crate) fn config(url: &str, spool: PathBuf) -> Config {
    let soon = Duration::from_mins(1);
    let http = waystation::upstream::Config {
        proxy: Proxy::default(),
        extra_ca: Vec::new(),
        connect_timeout: soon,
        stall_timeout: soon,
        patience: soon,
        node: "ws-test".to_owned(),
        hops_max: 4,
        own_addresses: Vec::new(),
    };
    let id = "0fa1201d-4330-4fa8-8ae9-b877473b6441".parse().unwrap();
    Config { answer_timeout: soon, ..Config::new(url, "node.example.org", id, http, spool) }
}

/// All that a catalog holds: which revision counts, its document, and what was decided.
pub(crate) type Held = BTreeMap<Identity, (bool, Blake3, bool, BTreeSet<String>, Option<Word>)>;

pub(crate) async fn held(store: &Store) -> Held {
    let catalog = store.catalog();
    let (mut held, mut after) = (Held::new(), (0, 0));
    loop {
        let page = catalog.changes(after.0, after.1, 1_000).await.unwrap();
        let numbers = page.changes.iter().filter(|change| change.held).map(|change| change.number).collect();
        for short in catalog.summaries(numbers).await.unwrap() {
            // What went since it was listed is not held: who waits for something looks again.
            let Some(revision) = catalog.revision(short.number).await.unwrap() else { continue };
            let (update, mut urls) = (revision.update, BTreeSet::new());
            for file in &update.files {
                let known = catalog.files(waystation::store::catalog::FileDigest::Sha1(file.sha1)).await.unwrap();
                urls.extend(known.into_iter().flat_map(|known| known.urls));
            }
            let decision = catalog.decisions(vec![short.identity.id]).await.unwrap().pop().flatten();
            let word = decision.map(|decision| decision.word);
            held.insert(short.identity, (short.current, short.digest, short.refused, urls, word));
        }
        if !page.more {
            return held;
        }
        after = page.next;
    }
}

/// The runs of a node that synchronises from the simulator.
pub(crate) fn runner(sim: &Sim, store: &Store, spool: &Path) -> Runner {
    let wsus = Wsus::new(config(&sim.url(), spool.to_owned()), &Governor::default()).unwrap();
    let (chosen, kind) = (Arc::new(Selection::default), UpstreamKind::Wsus);
    Runner::with(kind, &sim.url(), wsus, store.clone(), chosen, Arc::new(SystemClock), Extras::default())
}

/// The node at the top, which synchronises.
struct Top {
    store: Store,
    runner: Runner,
    publisher: Publisher,
    answerer: Answerer,
    chain: ChainId,
    _dir: TempDir,
    _path: watch::Sender<Vec<NodeId>>,
}

impl Top {
    async fn new(sim: &Sim) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = small_store::open(&dir.path().join("data"));
        let runner = runner(sim, &store, dir.path());
        let clock = Arc::new(SystemClock);
        let key: Arc<FeedKey> = Arc::new(feed_key(&root_key(1), 2, 1, 1));
        let chain = key.vouch().chain();
        let (moved, watched) = watch::channel(0);
        let publisher = Publisher::open(store.clone(), key, clock, moved).await.unwrap();
        let (path, here) = watch::channel(vec![TOP]);
        let answerer = Answerer::new(store.clone(), chain, here, watched);
        Self { store, runner, publisher, answerer, chain, _dir: dir, _path: path }
    }

    async fn sync(&mut self) {
        self.runner.run(&CancellationToken::new()).await.unwrap();
        self.publisher.publish().await.unwrap();
    }
}

/// A node below another.
struct Below {
    me: NodeId,
    store: Store,
    follower: Follower,
    teller: Teller,
    path: watch::Sender<Vec<NodeId>>,
    answerer: Answerer,
    chain: ChainId,
    _moved: watch::Sender<u64>,
    _dir: TempDir,
}

impl Below {
    async fn new(me: NodeId, chain: ChainId) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = small_store::open(&dir.path().join("data"));
        let follower = Follower::open(&store, me, chain, Arc::new(SystemClock)).await.unwrap();
        let (path, here) = watch::channel(Vec::new());
        let (moved, watched) = watch::channel(0);
        let answerer = Answerer::new(store.clone(), chain, here, watched);
        let teller = Teller::new(store.clone(), chain, true);
        Self { me, store, follower, teller, path, answerer, chain, _moved: moved, _dir: dir }
    }

    /// Opens the machine anew from the store, as a start does.
    async fn restart(&mut self) {
        self.follower = Follower::open(&self.store, self.me, self.chain, Arc::new(SystemClock)).await.unwrap();
    }

    /// Asks until nothing is new; says how many answers that took.
    async fn follow(&mut self, parent: NodeId, from: &Answerer) -> usize {
        for turn in 1..200 {
            let ask = self.follower.ask();
            let was = self.follower.checkpoint();
            let question = Question {
                chain: self.chain,
                is_new: false,
                ask: ask.clone(),
                shows: was.clone(),
                wait: Duration::ZERO,
                audiences: Arc::new(BTreeSet::from([Audience::EVERYBODY, Audience::node(self.me)])),
            };
            let Answer::Frames(bytes) = from.answer(question).await.unwrap() else { panic!("turned away") };
            self.follower.begin(parent, ask.clone());
            let mut is_over = matches!(ask, Ask::Feed(_));
            for frame in read_all(FEED, &bytes).unwrap() {
                is_over &= !matches!(&frame, Frame::Tail { .. } | Frame::Checkpoint(_));
                let came = self.follower.take(frame).await.unwrap();
                assert_eq!(came.alarm, None);
            }
            self.path.send_replace(self.follower.child().path().to_vec());
            if is_over {
                if let Some(applied) = self.follower.checkpoint() {
                    self.teller.tell(applied.position).await.unwrap();
                }
                return turn;
            }
        }
        panic!("it does not end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_authority_synchronised_arrives_at_the_bottom_as_it_was() {
    let sim = Sim::start(Options {
        character: Character::Wsus,
        seed: 11,
        updates: 150,
        file_scale: 0.02,
        ..Options::default()
    })
    .unwrap();
    let mut top = Top::new(&sim).await;
    let mut middle = Below::new(node(2), top.chain).await;
    let mut bottom = Below::new(node(3), top.chain).await;
    // The middle asks before there is anything: an empty feed is a feed.
    middle.follow(TOP, &top.answerer).await;
    top.sync().await;
    middle.follow(TOP, &top.answerer).await;
    let first = held(&top.store).await;
    assert!(first.len() > 150, "{}", first.len());
    assert_eq!(held(&middle.store).await, first);
    // By a snapshot, from the middle.
    bottom.follow(node(2), &middle.answerer).await;
    assert_eq!(held(&bottom.store).await, first);
    assert_eq!(bottom.follower.child().path(), [TOP, node(2), node(3)]);
    assert!(matches!(bottom.follower.state(), State::Current { .. }));

    // New revisions, withdrawn updates, decisions: as a tail, across a restart of both.
    sim.advance(2);
    let query = Query { limit: 20, ..Query::default() };
    let page = top.store.catalog().search(query).await.unwrap();
    let ids: Vec<UpdateId> = page.hits.iter().map(|hit| hit.summary.identity.id).collect();
    let (approved, declined) = ids.split_at(12);
    let catalog = top.store.catalog();
    let deciding = Deciding::Approve { all_files: true };
    catalog.decide(approved.to_vec(), deciding, "anna".into(), "tested".into()).await.unwrap();
    catalog.decide(declined.to_vec(), Deciding::Decline, "anna".into(), String::new()).await.unwrap();
    let refused = page.hits[0].summary.identity;
    catalog.refuse(refused, "a test says so".into()).await.unwrap();
    top.sync().await;
    middle.restart().await;
    bottom.restart().await;
    middle.follow(TOP, &top.answerer).await;
    bottom.follow(node(2), &middle.answerer).await;
    let second = held(&top.store).await;
    assert_ne!(second, first);
    assert!(second.values().any(|(.., refused, _, _)| *refused));
    assert_eq!(held(&middle.store).await, second);
    assert_eq!(held(&bottom.store).await, second);
    let told = bottom.store.catalog().decisions(vec![approved[0]]).await.unwrap().pop().flatten().unwrap();
    assert_eq!((told.word, told.all_files, told.by, told.why), (Word::Approved, true, "anna".into(), "tested".into()));

    // What is taken back is taken back below, and a poll without change is one answer.
    catalog.decide(approved.to_vec(), Deciding::Reset, "anna".into(), String::new()).await.unwrap();
    catalog.pardon(refused).await.unwrap();
    top.publisher.publish().await.unwrap();
    middle.follow(TOP, &top.answerer).await;
    assert_eq!(held(&middle.store).await, held(&top.store).await);
    assert_eq!(middle.follow(TOP, &top.answerer).await, 1);

    // The authority goes on where it was after a restart, and the clone of an older state is told from it.
    let position = top.publisher.position();
    let (moved, _watched) = watch::channel(0);
    let key = Arc::new(feed_key(&root_key(1), 2, 1, 1));
    let again = Publisher::open(top.store.clone(), key, Arc::new(SystemClock), moved).await.unwrap();
    assert_eq!(again.position(), position);
}

/// A node that was away for months is told of thousands of records at once, in steps: wherever one ends, between a revision that went and the
/// one that came in its place too, the update stays.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_which_another_revision_counts_now_stays_wherever_a_step_ends() {
    let sim = Sim::start(Options {
        character: Character::Wsus,
        seed: 12,
        updates: 1_200,
        file_scale: 0.02,
        ..Options::default()
    })
    .unwrap();
    let mut top = Top::new(&sim).await;
    top.sync().await;
    let mut below = Below::new(node(2), top.chain).await;
    below.follow(TOP, &top.answerer).await;
    let mut revised = 0;
    for _ in 0..4 {
        let before = held(&top.store).await;
        sim.advance(2);
        top.sync().await;
        let now = held(&top.store).await;
        revised += before.keys().filter(|identity| !now.contains_key(identity)).count();
        below.follow(TOP, &top.answerer).await;
        let (told, known) = (held(&below.store).await, now);
        let lost: Vec<_> = known.keys().filter(|identity| !told.contains_key(identity)).collect();
        assert!(lost.is_empty() && told == known, "{lost:?}");
    }
    assert!(revised > 100, "{revised}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_nothing_answers_yet_waits_for_what_is_published_next() {
    let sim = Sim::start(Options { character: Character::Wsus, seed: 5, updates: 20, ..Options::default() }).unwrap();
    let mut top = Top::new(&sim).await;
    top.sync().await;
    let mut child = Below::new(node(2), top.chain).await;
    child.follow(TOP, &top.answerer).await;
    let ask = child.follower.ask();
    let question = Question {
        chain: top.chain,
        is_new: false,
        ask: ask.clone(),
        shows: child.follower.checkpoint(),
        wait: Duration::from_secs(50),
        audiences: Arc::new(BTreeSet::from([Audience::EVERYBODY])),
    };
    let answerer = top.answerer.clone();
    let waiting = tokio::spawn(async move { answerer.answer(question).await.unwrap() });
    let hit = top.store.catalog().search(Query { limit: 1, ..Query::default() }).await.unwrap().hits.remove(0);
    let id = hit.summary.identity.id;
    top.store.catalog().decide(vec![id], Deciding::Decline, "anna".into(), String::new()).await.unwrap();
    top.publisher.publish().await.unwrap();
    let Answer::Frames(bytes) = waiting.await.unwrap() else { panic!("turned away") };
    child.follower.begin(TOP, ask);
    let mut applied = false;
    for frame in read_all(FEED, &bytes).unwrap() {
        applied |= child.follower.take(frame).await.unwrap().applied;
    }
    assert!(applied);
    // Another chain is not served, and another history of the cursor's place is told as such.
    let other = Question {
        chain: root_key(9).chain(),
        is_new: false,
        ask: child.follower.ask(),
        shows: None,
        wait: Duration::ZERO,
        audiences: Arc::default(),
    };
    assert_eq!(top.answerer.answer(other.clone()).await.unwrap(), Answer::OtherChain);
    let Ask::Feed(mark) = child.follower.ask() else { panic!("it follows") };
    let link = waystation::model::chain::hash::Link::new([9; 32]);
    let forked = Question { chain: top.chain, ask: Ask::Feed(Mark { link, ..mark }), ..other };
    assert!(matches!(top.answerer.answer(forked).await.unwrap(), Answer::Conflict("fork", _)));
}
