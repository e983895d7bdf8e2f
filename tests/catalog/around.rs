//! Around a run of the catalog: compared with Microsoft's, told to a webhook, definition updates by themselves, what was quarantined
//! asked for again, and what is told of a run that waits, is stopped, is cut off, or finds the disk full.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use upstream_sim::{Character, Options, Sim};
use waystation::base::disk::{Disk, RealDisk};
use waystation::base::secret::Secret;
use waystation::base::time::SystemClock;
use waystation::model::filter::{Selection, known};
use waystation::model::schedule::Definitions;
use waystation::model::update::{Identity, UpdateId};
use waystation::pace::Governor;
use waystation::store::Store;
use waystation::store::catalog::{Counts, Deciding, FileDigest, Outcome, Query, Run, RunKind, State, UpstreamKind};
use waystation::sync::error::Error;
use waystation::sync::{Extras, Order, Pardon, Pardoned, Runner, Teller};
use waystation::upstream::hook::{self, Hook};
use waystation::upstream::wsus::Wsus;

use crate::authority::Authority;
use crate::conversation;
use crate::fault_disk::{FaultDisk, Faults};
use crate::hand_clock::HandClock;
use crate::small_store;

/// Revisions of one page of a comparison: few, so that there are several pages.
const PAGE: usize = 64;

/// 1 June 2027: after every month of the simulator that these tests see, so that nothing of it is dated ahead of the node's clock.
const AFTER_ALL: u64 = 1_811_808_000_000;

/// Longer than anything takes here on a busy machine.
const SOON: Duration = Duration::from_mins(2);

fn sim(character: Character, seed: u64, updates: usize) -> Sim {
    Sim::start(Options { character, seed, updates, file_scale: 0.02, ..Options::default() }).unwrap()
}

fn store(dir: &TempDir, disk: Arc<dyn Disk>) -> Store {
    let config = small_store::config(&dir.path().join("data"));
    Store::open(config, disk, Arc::new(SystemClock)).unwrap().0
}

fn wsus(url: &str, dir: &TempDir, authority: Option<&Authority>) -> Wsus {
    let mut config = conversation::config(url, dir.path().to_owned());
    config.batch_max = 25;
    config.http.extra_ca.extend(authority.map(Authority::pem));
    Wsus::new(config, &Governor::default()).unwrap()
}

fn runner(store: &Store, dir: &TempDir, kind: UpstreamKind, url: &str, extras: Extras) -> Runner {
    let chosen = Arc::new(Selection::default);
    Runner::with(kind, url, wsus(url, dir, None), store.clone(), chosen, HandClock::at(AFTER_ALL), extras)
}

fn order(kind: RunKind) -> Order {
    Order { kind, by: "somebody".to_owned(), ..Order::default() }
}

/// A way to the simulator over TLS, as long as the task runs.
async fn over_tls(sim: &Sim, authority: &Authority) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(authority.server(&["127.0.0.1"]));
    let behind = sim.address();
    let task = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut outside) = acceptor.accept(socket).await else { return };
                let mut inside = TcpStream::connect(behind).await.unwrap();
                let _ = copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    (format!("https://127.0.0.1:{port}"), task)
}

/// Who is sick of what, as the simulator dealt it.
fn dealt(sim: &Sim) -> BTreeMap<UpdateId, String> {
    let report = sim.faults();
    let told = report["documents"].as_array().unwrap().iter();
    told.map(|row| (row["id"].as_str().unwrap().parse().unwrap(), row["fault"].as_str().unwrap().to_owned())).collect()
}

fn software(sim: &Sim) -> Vec<UpdateId> {
    let all = sim.identities(&json!({}));
    let software = all.as_array().unwrap().iter().filter(|row| row["kind"] == "software");
    software.map(|row| row["id"].as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_microsofts_is_refused_and_the_rest_is_authenticated() {
    let (from, microsoft) = (sim(Character::Wsus, 41, 260), sim(Character::Microsoft, 41, 260));
    from.fault(&json!({ "fault": "altered-digest", "count": 2, "after": 0 })).unwrap();
    from.fault(&json!({ "fault": "altered-title", "count": 2 })).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, Arc::new(RealDisk));
    let authority = Authority::new("a test's authority");
    let (url, front) = over_tls(&microsoft, &authority).await;
    let microsoft_is = Some(wsus(&url, &dir, Some(&authority)));
    let extras = Extras { microsoft: microsoft_is, page: NonZeroUsize::new(PAGE), ..Extras::default() };
    let runner = runner(&store, &dir, UpstreamKind::Wsus, &from.url(), extras);
    timeout(SOON, runner.run(&CancellationToken::new())).await.unwrap().unwrap();
    let catalog = store.catalog();
    let altered = dealt(&from);
    assert_eq!(altered.len(), 4, "{altered:?}");
    // What somebody published on the WSUS.
    let local = *software(&from).iter().rfind(|id| !altered.contains_key(id)).unwrap();
    microsoft.fault(&json!({ "fault": "withheld", "ids": [local.to_string()] })).unwrap();
    let before = catalog.standing().await.unwrap();
    assert_eq!(before.refused, 0);

    timeout(SOON, runner.run_as(order(RunKind::Crosscheck), &CancellationToken::new())).await.unwrap().unwrap();
    let found = runner.found();
    let refused = catalog.refused(None, 1_000).await.unwrap();
    let differing: BTreeSet<UpdateId> = refused
        .iter()
        .filter(|row| row.reason.starts_with("it is not what Microsoft publishes"))
        .map(|row| row.identity.id)
        .collect();
    assert_eq!(differing, altered.keys().copied().collect::<BTreeSet<_>>(), "{refused:?}");
    for row in &refused {
        let held = catalog.number(row.identity).await.unwrap().unwrap();
        let summary = catalog.summaries(vec![held]).await.unwrap().remove(0);
        assert!(summary.refused && row.stays, "{row:?}");
        match altered.get(&row.identity.id).map(String::as_str) {
            Some("altered-digest") => {
                assert!(
                    row.reason.contains("Microsoft's has no file") && row.reason.contains("it lacks file"),
                    "{row:?}"
                );
            }
            Some(_) => assert!(row.reason.contains("alone differs (its title)"), "{row:?}"),
            None => assert!(row.reason.starts_with("it bundles "), "{row:?}"),
        }
    }
    assert_eq!((found.differed, found.absent), (refused.len() as u64, 1), "{found:?}");
    assert_eq!(found.agreed + found.differed + found.absent + found.unknown, before.revisions, "{found:?}");
    assert_eq!(runner.remarks(0).len() as u64, found.absent + found.unknown);
    // What nobody vouches for is what was refused, and what Microsoft does not have.
    let (doubtful, _) = catalog.doubtful(None).await.unwrap();
    assert_eq!(doubtful.iter().map(|one| one.identity.id).collect::<Vec<_>>(), [local]);
    let run = runner.history(None, 1).await.unwrap().remove(0);
    assert_eq!(
        (run.note.kind, run.note.compared, run.outcome),
        (RunKind::Crosscheck, Some(found), Outcome::Successful)
    );

    // Digests count by who says them.
    let (mut proven, mut taken_back) = (0, 0);
    for hit in catalog.search(Query { hidden: true, limit: 500, ..Query::default() }).await.unwrap().hits {
        let revision = catalog.revision(hit.summary.number).await.unwrap().unwrap();
        assert_eq!(hit.state == State::Refused, refused.iter().any(|row| row.identity == hit.summary.identity));
        for file in &revision.update.files {
            let known = catalog.files(FileDigest::Sha1(file.sha1)).await.unwrap().remove(0);
            if !hit.summary.unauthenticated {
                assert!(!known.unauthenticated, "{}", hit.summary.identity);
                proven += 1;
            } else if known.users.len() == 1 {
                assert!(known.unauthenticated, "{}", hit.summary.identity);
                taken_back += 1;
            }
        }
    }
    assert!(proven > 10 && taken_back >= 1, "{proven} {taken_back}");

    // Another one has nothing left to ask but for what is local, and a run from the WSUS takes nothing back.
    microsoft.reset_log();
    timeout(SOON, runner.run_as(order(RunKind::Crosscheck), &CancellationToken::new())).await.unwrap().unwrap();
    assert_eq!(microsoft.log(0)["methods"]["GetUpdateData"].as_u64().unwrap_or_default(), 0);
    runner.run(&CancellationToken::new()).await.unwrap();
    assert_eq!(catalog.doubtful(None).await.unwrap().0.len(), 1);
    assert_eq!(catalog.standing().await.unwrap().refused, refused.len() as u64);
    front.abort();
    store.close().await.unwrap();
}

/// A catalog of a WSUS with a way to Microsoft's over TLS, after its first run.
struct Between {
    from: Sim,
    microsoft: Sim,
    dir: TempDir,
    store: Store,
    runner: Runner,
    front: tokio::task::JoinHandle<()>,
}

impl Between {
    async fn new(seed: u64, updates: usize, spoil: impl FnOnce(&Sim)) -> Self {
        let (from, microsoft) = (sim(Character::Wsus, seed, updates), sim(Character::Microsoft, seed, updates));
        spoil(&from);
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir, Arc::new(RealDisk));
        let authority = Authority::new("a test's authority");
        let (url, front) = over_tls(&microsoft, &authority).await;
        let microsoft_is = Some(wsus(&url, &dir, Some(&authority)));
        let extras = Extras { microsoft: microsoft_is, page: NonZeroUsize::new(PAGE), ..Extras::default() };
        let runner = runner(&store, &dir, UpstreamKind::Wsus, &from.url(), extras);
        timeout(SOON, runner.run(&CancellationToken::new())).await.unwrap().unwrap();
        Self { from, microsoft, dir, store, runner, front }
    }

    async fn compare(&self) -> Result<(), Error> {
        let cancel = CancellationToken::new();
        let run = self.runner.run_as(order(RunKind::Crosscheck), &cancel);
        timeout(SOON, run).await.unwrap().map(drop)
    }

    async fn refused(&self) -> BTreeMap<UpdateId, String> {
        let refused = self.store.catalog().refused(None, 5_000).await.unwrap();
        refused.into_iter().map(|row| (row.identity.id, row.reason)).collect()
    }

    async fn doubtful(&self) -> BTreeSet<Identity> {
        let (found, next) = self.store.catalog().doubtful(None).await.unwrap();
        assert!(next.is_none());
        found.into_iter().map(|one| one.identity).collect()
    }

    async fn close(self) {
        self.front.abort();
        self.store.close().await.unwrap();
        drop((self.from, self.microsoft, self.dir));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_writes_documents_anew_refuses_nothing_and_refusals_are_taken_back_at_once() {
    let all = Between::new(51, 220, |from| {
        from.fault(&json!({ "fault": "altered-digest", "count": 2 })).unwrap();
        from.fault(&json!({ "fault": "altered-rules", "count": 2 })).unwrap();
    })
    .await;
    let altered = dealt(&all.from);
    let catalog = all.store.catalog();
    let before = all.doubtful().await;
    all.microsoft.fault(&json!({ "fault": "rewritten", "count": 1_000_000 })).unwrap();
    let error = all.compare().await.unwrap_err();
    let Error::Rendering { text, more, all: compared, .. } = &error else { panic!("{error}") };
    assert!(*text > 200 && *more == altered.len() as u64 && text + more == *compared, "{error}");
    assert!(!error.is_retryable() && error.to_string().contains("another rendering"), "{error}");
    let run = all.runner.history(None, 1).await.unwrap().remove(0);
    assert!(run.outcome == Outcome::Failed && run.reason == error.to_string(), "{run:?}");
    // What differs in more than its text is refused, with the bundles that contain it, and nothing else is.
    let refused = all.refused().await;
    for (id, reason) in &refused {
        match altered.get(id).map(String::as_str) {
            Some("altered-rules") => assert!(reason.contains("its rules differ"), "{reason}"),
            Some(_) => assert!(reason.contains("it lacks file"), "{reason}"),
            None => assert!(reason.starts_with("it bundles "), "{reason}"),
        }
    }
    assert!(altered.keys().all(|id| refused.contains_key(id)), "{refused:?}");
    let held = before.len() - refused.len();
    assert_eq!(all.doubtful().await.len(), held, "nobody vouches for the others, and nobody refuses them");
    assert!(all.runner.remarks(0).iter().any(|(_, text)| text.contains("its text alone differs")));
    assert_eq!(all.runner.found().text, 0);

    // All of it in one go; and the same comparison with Microsoft's own documents.
    let pardoned = all.runner.retry(Pardon::Compared).await.unwrap();
    assert_eq!((pardoned.identities.len(), pardoned.asked, pardoned.left), (refused.len(), 0, 0));
    assert_eq!((all.doubtful().await, catalog.standing().await.unwrap().refused), (before.clone(), 0));
    all.microsoft.clear_faults();
    all.compare().await.unwrap();
    assert!(all.doubtful().await.is_empty(), "what is not refused is Microsoft's");
    assert_eq!(all.refused().await.keys().collect::<Vec<_>>(), refused.keys().collect::<Vec<_>>());

    // One document of many that is written anew is refused for its text, though the others agreed in an earlier comparison.
    all.runner.retry(Pardon::Compared).await.unwrap();
    all.microsoft.fault(&json!({ "fault": "rewritten", "count": 1_000_000 })).unwrap();
    all.compare().await.unwrap();
    assert_eq!(all.refused().await.len(), refused.len());
    all.close().await;
}

/// Somebody on the way rewrites what comes first, so that the comparison ends before it meets what he has changed.
#[tokio::test(flavor = "multi_thread")]
async fn what_matters_is_refused_on_every_page_whatever_the_first_ones_look_like() {
    let all = Between::new(56, 260, |from| {
        let mut ids = software(from);
        ids.sort_unstable();
        let last: Vec<_> = ids.iter().rev().take(60).map(ToString::to_string).collect();
        from.fault(&json!({ "fault": "altered-digest", "count": 3, "ids": last })).unwrap();
    })
    .await;
    let altered = dealt(&all.from);
    let before: Vec<Identity> = all.doubtful().await.into_iter().collect();
    let page_of = |id: &UpdateId| before.iter().position(|one| one.id == *id).unwrap() / PAGE;
    assert!(before.len() > 3 * PAGE && altered.len() == 3 && altered.keys().all(|id| page_of(id) > 0), "{altered:?}");
    all.microsoft.fault(&json!({ "fault": "rewritten", "count": 1_000_000 })).unwrap();
    let error = all.compare().await.unwrap_err();
    let Error::Rendering { text, more, all: compared, .. } = &error else { panic!("{error}") };
    assert!(*more == 3 && *text + *more == *compared && *compared == before.len() as u64, "{error}");
    assert!(error.to_string().contains("`waystation sync retry --compared`"), "{error}");
    let refused = all.refused().await;
    for (id, reason) in &refused {
        assert_eq!(reason.contains("it lacks file"), altered.contains_key(id), "{reason}");
        assert!(altered.contains_key(id) || reason.starts_with("it bundles "), "{reason}");
    }
    assert!(altered.keys().all(|id| refused.contains_key(id)), "{refused:?}");
    let found = all.runner.found();
    assert_eq!((found.differed, found.text, found.agreed), (refused.len() as u64, 0, 0), "{found:?}");
    all.close().await;
}

/// Nothing is said of all documents before all have been compared.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_page_of_other_texts_is_no_other_rendering_of_all() {
    let all = Between::new(57, 220, |_| ()).await;
    let before: Vec<Identity> = all.doubtful().await.into_iter().collect();
    let first: Vec<String> = before.iter().take(PAGE).map(|one| one.id.to_string()).collect();
    let ids: BTreeSet<UpdateId> = before.iter().take(PAGE).map(|one| one.id).collect();
    assert!(before.len() > 3 * PAGE);
    all.microsoft.fault(&json!({ "fault": "rewritten", "count": PAGE, "ids": first })).unwrap();
    all.compare().await.unwrap();
    let (refused, found) = (all.refused().await, all.runner.found());
    // A bundle of which a part was refused before it has that for its reason.
    let is_told = |why: &String| why.contains("its text alone differs") || why.starts_with("it bundles ");
    assert!(ids.iter().all(|id| refused.get(id).is_some_and(is_told)), "{refused:?}");
    assert!(refused.iter().all(|(id, reason)| ids.contains(id) || reason.starts_with("it bundles ")), "{refused:?}");
    // Bundles of other pages, which had agreed before, are counted once.
    assert!(refused.len() > ids.len(), "no bundle was refused with its part");
    assert_eq!((found.differed, found.text), (refused.len() as u64, refused.len() as u64), "{found:?}");
    assert_eq!(found.agreed + found.differed, before.len() as u64, "{found:?}");
    all.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_differs_alone_is_told_as_that() {
    let all = Between::new(52, 120, |from| from.fault(&json!({ "fault": "rewritten", "count": 3 })).unwrap()).await;
    let rewritten = dealt(&all.from);
    all.compare().await.unwrap();
    let refused = all.refused().await;
    for id in rewritten.keys() {
        assert!(refused[id].contains("its text alone differs; its files, digests"), "{refused:?}");
    }
    assert_eq!((all.runner.found().text, rewritten.len()), (3, 3));
    all.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_upstream_keeps_back_is_told_and_what_was_withdrawn_nobody_vouches_for() {
    let all = Between::new(53, 300, |_| ()).await;
    all.microsoft.advance(2);
    let (here, there) = (revisions(&all.from), revisions(&all.microsoft));
    let behind: BTreeSet<UpdateId> =
        here.iter().filter(|(id, revision)| there.get(*id) > Some(revision)).map(|(id, _)| *id).collect();
    assert!(behind.len() > 3, "{}", behind.len());
    all.compare().await.unwrap();
    let found = all.runner.found();
    assert_eq!(found.behind, behind.len() as u64, "{found:?}");
    let told: BTreeMap<UpdateId, String> = all
        .runner
        .remarks(0)
        .into_iter()
        .filter(|(_, text)| text.contains(" is held"))
        .map(|(identity, text)| (identity.id, text))
        .collect();
    assert_eq!(told.keys().copied().collect::<BTreeSet<_>>(), behind);
    let left = all.doubtful().await;
    let mut withdrawn = 0;
    for (id, text) in &told {
        assert!(
            text.contains(&format!("revision {},", there[id])) && text.contains(&format!("revision {} ", here[id])),
            "{text}"
        );
        let is_withdrawn = text.starts_with("Microsoft withdraws it");
        withdrawn += u64::from(is_withdrawn);
        let is_left = left.contains(&Identity { id: *id, revision: here[id] });
        assert_eq!(is_left, is_withdrawn, "what is only behind is vouched for: {text}");
    }
    assert!(withdrawn > 0 && found.withdrawn == withdrawn, "{found:?}");
    assert_eq!((found.differed, found.text), (0, 0));

    // It is told again, though somebody has vouched for nearly all by now.
    all.compare().await.unwrap();
    let again = all.runner.found();
    assert_eq!((again.behind, again.withdrawn, again.agreed), (found.behind, withdrawn, 0), "{again:?}");
    all.close().await;
}

/// The newest revision of each update.
fn revisions(sim: &Sim) -> BTreeMap<UpdateId, u32> {
    let all = sim.identities(&json!({}));
    let rows = all.as_array().unwrap().iter();
    rows.map(|row| {
        let revision = u32::try_from(row["revision"].as_u64().unwrap()).unwrap();
        (row["id"].as_str().unwrap().parse().unwrap(), revision)
    })
    .collect()
}

/// Whoever stands on the way changes a document and leaves its number, below Microsoft's newest: Microsoft does not give that one out.
#[tokio::test(flavor = "multi_thread")]
async fn what_microsoft_gives_out_no_more_is_held_against_its_newest() {
    // The same catalog eight months later, and which of its updates have another revision by then.
    let later = sim(Character::Wsus, 58, 300);
    let before = revisions(&later);
    later.advance(8);
    let newest = revisions(&later);
    let outdated: Vec<String> = software(&later)
        .into_iter()
        .filter(|id| before.get(id).is_some_and(|revision| newest[id] > *revision))
        .map(|id| id.to_string())
        .collect();
    let all = Between::new(58, 300, |from| {
        from.fault(&json!({ "fault": "altered-digest", "count": 2, "ids": outdated })).unwrap();
    })
    .await;
    let altered = dealt(&all.from);
    assert_eq!(altered.len(), 2, "of {}", outdated.len());

    // What the newest ones say, by way of another store.
    let dir = tempfile::tempdir().unwrap();
    let theirs = store(&dir, Arc::new(RealDisk));
    let reader = runner(&theirs, &dir, UpstreamKind::Wsus, &later.url(), Extras::default());
    timeout(SOON, reader.run(&CancellationToken::new())).await.unwrap().unwrap();
    let said = async |store: &Store, id: UpdateId| {
        let number = store.catalog().current(id).await.unwrap().unwrap();
        let update = store.catalog().revision(number).await.unwrap().unwrap().update;
        let files: BTreeSet<String> = update.files.iter().map(|file| file.sha1.to_string()).collect();
        let members: BTreeSet<UpdateId> = update.members().map(|member| member.id).collect();
        (files, members)
    };
    let (mut alike, mut unlike) = (BTreeSet::new(), BTreeSet::new());
    for id in outdated.iter().map(|id| id.parse().unwrap()) {
        let (ours, new) = (said(&all.store, id).await, said(&theirs, id).await);
        let is_alike = ours.0.is_subset(&new.0) && ours.1.is_subset(&new.1);
        if is_alike {
            alike.insert(id)
        } else {
            unlike.insert(id)
        };
    }
    assert!(altered.keys().all(|id| unlike.contains(id)) && !alike.is_empty(), "{altered:?} {alike:?}");

    all.microsoft.advance(8);
    all.microsoft.fault(&json!({ "fault": "outdated", "ids": outdated })).unwrap();
    all.compare().await.unwrap();
    let refused = all.refused().await;
    for id in &unlike {
        let why = &refused[id];
        let number = newest[id];
        let is_told =
            why.contains("it is unlike what Microsoft publishes") && why.contains(&format!("revision {number}"));
        assert!(is_told && why.contains("have the upstream synchronise") || why.starts_with("it bundles "), "{why}");
    }
    for id in altered.keys() {
        assert!(refused[id].contains("that has no file"), "{}", refused[id]);
    }
    // Of the others little is known: nobody vouches for them, and nobody refuses them but for what they bundle.
    let (left, remarks) = (all.doubtful().await, all.runner.remarks(0));
    let mut told = 0;
    for id in &alike {
        if let Some(why) = refused.get(id) {
            assert!(why.starts_with("it bundles "), "{why}");
            continue;
        }
        assert!(left.iter().any(|one| one.id == *id), "{id}");
        let is_told = |(one, text): &(Identity, String)| {
            one.id == *id && text.contains("does not give this revision out") && text.contains("are those of revision")
        };
        assert!(remarks.iter().any(is_told), "{id}");
        told += 1;
    }
    assert!(told > 0 && all.runner.found().unknown >= told, "{told} {:?}", all.runner.found());
    theirs.close().await.unwrap();
    all.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_above_microsofts_newest_gives_its_place_to_that() {
    let all = Between::new(61, 300, |from| {
        from.advance(2);
    })
    .await;
    let (ahead, newest) = (revisions(&all.from), revisions(&all.microsoft));
    let above: BTreeMap<UpdateId, u32> = software(&all.microsoft)
        .into_iter()
        .filter_map(|id| newest.get(&id).filter(|newest| ahead[&id] > **newest).map(|newest| (id, *newest)))
        .collect();
    assert!(!above.is_empty());
    let current = async |id: UpdateId| {
        let number = all.store.catalog().current(id).await.unwrap().unwrap();
        let summary = all.store.catalog().revision(number).await.unwrap().unwrap().summary;
        (summary.identity.revision, summary.refused)
    };
    all.compare().await.unwrap();
    let refused = all.refused().await;
    for (id, newest) in &above {
        let why = &refused[id];
        assert!(why.contains(&format!("its newest revision there is {newest}")), "{why}");
    }
    // No list names them: they are asked for because they were missed.
    timeout(SOON, all.runner.run(&CancellationToken::new())).await.unwrap().unwrap();
    for (id, newest) in &above {
        assert_eq!(current(*id).await, (*newest, false), "{id}");
    }
    all.close().await;
}

/// As where a WSUS was cleaned up while its lists go on naming what went.
#[tokio::test(flavor = "multi_thread")]
async fn what_lists_name_and_nobody_has_ends_no_later_run() {
    let sim = sim(Character::Wsus, 62, 2_400);
    let ids = software(&sim);
    let gone: BTreeSet<UpdateId> = ids.iter().step_by(ids.len() / 205).copied().collect();
    assert!(gone.len() > 204, "{}", gone.len());
    let named: Vec<String> = gone.iter().map(ToString::to_string).collect();
    sim.fault(&json!({ "fault": "unknown-id", "ids": named, "count": 1_000_000 })).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, Arc::new(RealDisk));
    let runner = runner(&store, &dir, UpstreamKind::Wsus, &sim.url(), Extras::default());
    let first = timeout(SOON, runner.run(&CancellationToken::new())).await.unwrap().unwrap();
    assert_eq!(
        (first.refused, store.catalog().standing().await.unwrap().refused),
        (gone.len() as u64, gone.len() as u64)
    );
    let before = store.catalog().standing().await.unwrap().updates;
    sim.advance(1);
    let second = timeout(SOON, runner.run(&CancellationToken::new())).await.unwrap().unwrap();
    assert!(second.new > 0 && store.catalog().standing().await.unwrap().updates > before, "{second:?}");
    store.close().await.unwrap();
}

/// Another upstream whose lists cannot all be read takes over only once they can.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_with_lists_that_cannot_be_read_takes_nothing_away() {
    let (one, two) = (sim(Character::Wsus, 63, 150), sim(Character::Wsus, 64, 150));
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, Arc::new(RealDisk));
    let run = async |from: &Sim| {
        let runner = runner(&store, &dir, UpstreamKind::Wsus, &from.url(), Extras::default());
        timeout(SOON, runner.run(&CancellationToken::new())).await.unwrap().unwrap()
    };
    run(&one).await;
    let ids = async || identities(&store).await.into_iter().map(|one| one.id).collect::<BTreeSet<_>>();
    let former = ids().await;
    two.fault(&json!({ "fault": "spoilt-identity", "method": "GetRevisionIdList", "count": 2 })).unwrap();
    assert_eq!(run(&two).await.pruned, 0);
    let standing = store.catalog().standing().await.unwrap();
    assert!(standing.arriving.is_some(), "{standing:?}");
    assert!(former.is_subset(&ids().await), "what the former one had is there");
    two.clear_faults();
    assert!(run(&two).await.pruned > 0);
    let standing = store.catalog().standing().await.unwrap();
    assert!(standing.arriving.is_none(), "{standing:?}");
    // Families of products stay where products that are held lie in them.
    let (left, theirs) = (ids().await, revisions(&two));
    assert!(theirs.keys().all(|id| left.contains(id)));
    assert!(software(&one).iter().all(|id| theirs.contains_key(id) || !left.contains(id)));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_that_proves_nothing_is_refused() {
    let (from, microsoft) = (sim(Character::Wsus, 42, 40), sim(Character::Microsoft, 42, 40));
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, Arc::new(RealDisk));
    let ask = async |kind, url: &str, extras| {
        let runner = runner(&store, &dir, kind, url, extras);
        let error = runner.run_as(order(RunKind::Crosscheck), &CancellationToken::new()).await.unwrap_err();
        assert!(matches!(error, Error::NoComparison(_)));
        error.to_string()
    };
    let plain = Extras { microsoft: Some(wsus(&microsoft.url(), &dir, None)), ..Extras::default() };
    assert!(ask(UpstreamKind::Wsus, &from.url(), plain).await.contains("plain HTTP"));
    assert!(ask(UpstreamKind::Microsoft, &microsoft.url(), Extras::default()).await.contains("comes from Microsoft"));
    let runs = store.catalog().runs(None, 10).await.unwrap();
    assert!(runs.is_empty(), "what can prove nothing is no run: {runs:?}");
    store.close().await.unwrap();
}

/// A request as the webhook got it: fields in lower case, body.
type Heard = (BTreeMap<String, String>, Vec<u8>);

/// Listens, answers these statuses in turn and then 200, and hands on what it heard.
async fn listener(mut statuses: Vec<u16>) -> (String, mpsc::UnboundedReceiver<Heard>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/told?key=1", listener.local_addr().unwrap());
    let (sender, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            let (fields, body) = loop {
                let mut some = [0; 4096];
                let count = socket.read(&mut some).await.unwrap();
                assert!(count > 0, "the request breaks off");
                bytes.extend_from_slice(&some[..count]);
                let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
                let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
                let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
                let fields: BTreeMap<_, _> =
                    lines.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
                let length: usize = fields["content-length"].parse().unwrap();
                if bytes.len() >= end + 4 + length {
                    break (fields, bytes[end + 4..].to_vec());
                }
            };
            let status = if statuses.is_empty() { 200 } else { statuses.remove(0) };
            let answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            socket.write_all(answer.as_bytes()).await.unwrap();
            if sender.send((fields, body)).is_err() {
                return;
            }
        }
    });
    (url, heard)
}

fn teller(url: &str, dir: &TempDir) -> Teller {
    let http = conversation::config("http://127.0.0.1", dir.path().to_owned()).http;
    let patience =
        hook::Patience { attempts_max: 4, first: Duration::from_millis(5), longest: Duration::from_millis(20) };
    let config = hook::Config { url: url.to_owned(), secret: Secret::new("between us".to_owned()), http, patience };
    Teller { hook: Hook::new(config).unwrap(), node: "node.example.org".to_owned() }
}

async fn next(heard: &mut mpsc::UnboundedReceiver<Heard>) -> (String, String, Value) {
    let (fields, body) = timeout(SOON, heard.recv()).await.unwrap().unwrap();
    let at: u64 = fields["waystation-timestamp"].parse().unwrap();
    let signed = hook::signature(&Secret::new("between us".to_owned()), at, &body).unwrap();
    assert_eq!(fields["waystation-signature"], signed);
    assert_eq!(fields["content-type"], "application/json");
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&told["id"], &told["event"]),
        (&fields["waystation-delivery"].clone().into(), &fields["waystation-event"].clone().into())
    );
    (fields["waystation-event"].clone(), fields["waystation-delivery"].clone(), told)
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_told_to_the_webhook_signed_and_again_where_it_is_busy() {
    let sim = sim(Character::Wsus, 43, 120);
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, Arc::new(RealDisk));
    let (url, mut heard) = listener(vec![503, 429]).await;
    let extras = Extras { teller: Some(teller(&url, &dir)), ..Extras::default() };
    let runner = runner(&store, &dir, UpstreamKind::Wsus, &sim.url(), extras);
    runner.begin().await.unwrap();
    runner.run_as(order(RunKind::Catalog), &CancellationToken::new()).await.unwrap();
    let (kind, first, told) = next(&mut heard).await;
    assert_eq!(kind, "sync-started");
    assert_eq!((&told["node"], &told["run"]["by"]), (&json!("node.example.org"), &json!("somebody")));
    for _ in 0..2 {
        let (again, id, _) = next(&mut heard).await;
        assert_eq!((again.as_str(), &id), ("sync-started", &first), "it was not taken, and comes again");
    }
    let (kind, second, told) = next(&mut heard).await;
    assert_eq!(kind, "sync-succeeded");
    assert_ne!(first, second);
    let run = runner.history(None, 1).await.unwrap().remove(0);
    assert_eq!((&told["run"]["id"], &told["run"]["counts"]["new"]), (&json!(run.id), &json!(run.counts.new)));
    assert_eq!(told["run"]["unauthenticated"], true);

    // A failure, and a stop with who it was.
    sim.fault(&json!({ "fault": "invalid-parameters", "method": "GetConfigData", "count": 100 })).unwrap();
    runner.run(&CancellationToken::new()).await.unwrap_err();
    assert_eq!(next(&mut heard).await.0, "sync-started");
    let (kind, _, told) = next(&mut heard).await;
    assert_eq!(kind, "sync-failed");
    assert!(told["run"]["reason"].as_str().unwrap().contains("GetConfigData"), "{told}");
    sim.clear_faults();
    let tested = runner.test_hook().await.unwrap().unwrap();
    assert!(tested.is_taken() && tested.text == "ok", "{tested:?}");
    assert_eq!(next(&mut heard).await.0, "test");
    // A rule that stopped is told the same way, and is no run.
    runner.tell_stopped_rule(&waystation::sync::StoppedRule {
        rule: "Patch Tuesday".to_owned(),
        ring: "Contoso".to_owned(),
        updates: 2,
        named: vec!["KB5031234".to_owned(), "KB5031235".to_owned()],
        installed: 8,
        failed: 2,
        reason: "2 of 10 established machines failed".to_owned(),
    });
    let (kind, _, told) = next(&mut heard).await;
    assert_eq!((kind.as_str(), told.get("run")), ("rule-stopped", None));
    assert_eq!((&told["rule"]["rule"], &told["rule"]["updates"]), (&json!("Patch Tuesday"), &json!(2)), "{told}");
    // What is told right before the end is told still.
    sim.fault(&json!({ "fault": "slow", "delay_ms": 60_000, "count": 100 })).unwrap();
    let cancel = CancellationToken::new();
    let (one, token, mine) = (runner.clone(), cancel.clone(), order(RunKind::Catalog));
    let stopped_by = Arc::clone(&mine.stopped_by);
    let run = tokio::spawn(async move { one.run_as(mine, &token).await });
    assert_eq!(next(&mut heard).await.0, "sync-started");
    stopped_by.set("root".to_owned()).unwrap();
    cancel.cancel();
    assert!(matches!(timeout(SOON, run).await.unwrap().unwrap(), Err(Error::Stopped)));
    timeout(SOON, runner.close()).await.unwrap();
    let (kind, _, told) = next(&mut heard).await;
    assert_eq!(kind, "sync-stopped");
    assert!(told["run"]["reason"].as_str().unwrap().starts_with("stopped by root;"), "{told}");
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_refuses_or_is_gone_holds_up_no_run() {
    let sim = sim(Character::Wsus, 44, 60);
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, Arc::new(RealDisk));
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let extras = Extras { teller: Some(teller(&format!("http://{gone}/"), &dir)), ..Extras::default() };
    let runner = runner(&store, &dir, UpstreamKind::Wsus, &sim.url(), extras);
    runner.begin().await.unwrap();
    timeout(SOON, runner.run(&CancellationToken::new())).await.unwrap().unwrap();
    let tested = runner.test_hook().await.unwrap().unwrap();
    assert!(!tested.is_taken() && tested.status.is_none() && !tested.text.is_empty(), "{tested:?}");
    timeout(SOON, runner.close()).await.unwrap();
    for (url, why) in [("ftp://h/", "neither"), ("http://us:er@h/", "user"), ("hooks", "no URL")] {
        let http = conversation::config("http://127.0.0.1", dir.path().to_owned()).http;
        let patience = hook::Patience::default();
        let config = hook::Config { url: url.to_owned(), secret: Secret::new("s".to_owned()), http, patience };
        let error = Hook::new(config).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    store.close().await.unwrap();
}

/// Listens, and answers nobody before `gate` is opened; hands on the kinds of events that it heard.
async fn slow_listener(gate: CancellationToken) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (sender, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (sender, gate) = (sender.clone(), gate.clone());
            tokio::spawn(async move {
                let (mut bytes, mut some) = (Vec::new(), [0; 4096]);
                let kind = loop {
                    let count = socket.read(&mut some).await.unwrap_or_default();
                    if count == 0 {
                        return;
                    }
                    bytes.extend_from_slice(&some[..count]);
                    let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
                    let kind = text.split("waystation-event: ").nth(1).and_then(|rest| rest.split_once("\r\n"));
                    // The body is small, and ends with the last bracket.
                    if let (Some((kind, _)), true) = (kind, text.ends_with('}')) {
                        break kind.to_owned();
                    }
                };
                let _ = sender.send(kind);
                gate.cancelled().await;
                let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
            });
        }
    });
    (url, heard)
}

/// Whoever gives up waiting for the webhook's last words may wait again, and does wait; who never answers is not waited for longer
/// than is promised.
#[tokio::test(flavor = "multi_thread")]
async fn last_words_are_waited_for_again_and_not_for_long() {
    let dir = tempfile::tempdir().unwrap();
    let event = |kind| hook::Event { id: format!("of-{kind}"), kind, body: b"{}".to_vec() };
    let gate = CancellationToken::new();
    let (url, mut heard) = slow_listener(gate.clone()).await;
    let hook = teller(&url, &dir).hook;
    hook.start();
    hook.tell(event("first"));
    hook.tell(event("last"));
    assert_eq!(timeout(SOON, heard.recv()).await.unwrap().unwrap(), "first");
    // As a node that waits for a part of its grace alone.
    assert!(timeout(Duration::from_millis(1), hook.close()).await.is_err(), "nothing was answered yet");
    let mut closing = tokio::spawn({
        let hook = hook.clone();
        async move { hook.close().await }
    });
    assert!(timeout(Duration::from_millis(100), &mut closing).await.is_err(), "it is waited for once more");
    gate.cancel();
    timeout(SOON, closing).await.unwrap().unwrap();
    assert_eq!(heard.try_recv().as_deref(), Ok("last"), "told before the end");

    let (url, mut heard) = slow_listener(CancellationToken::new()).await;
    let hook = teller(&url, &dir).hook;
    hook.start();
    hook.tell(event("first"));
    hook.tell(event("last"));
    timeout(SOON, heard.recv()).await.unwrap().unwrap();
    let began = std::time::Instant::now();
    timeout(SOON, hook.close()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(6), "three seconds for all of it, and it took {:?}", began.elapsed());
}

/// What a status tells of a webhook that nobody answers at, and of one that hears again.
#[tokio::test(flavor = "multi_thread")]
async fn how_far_the_webhook_has_been_told_can_be_seen() {
    let sim = sim(Character::Wsus, 54, 40);
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, Arc::new(RealDisk));
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let hook = |url: &str, first| {
        let http = conversation::config("http://127.0.0.1", dir.path().to_owned()).http;
        let patience = hook::Patience { attempts_max: 2, first, longest: first };
        let config = hook::Config { url: url.to_owned(), secret: Secret::new("s".to_owned()), http, patience };
        Teller { hook: Hook::new(config).unwrap(), node: "node.example.org".to_owned() }
    };
    let run = async |teller: Teller| {
        let extras = Extras { teller: Some(teller), ..Extras::default() };
        let runner = runner(&store, &dir, UpstreamKind::Wsus, &sim.url(), extras);
        runner.begin().await.unwrap();
        timeout(SOON, runner.run(&CancellationToken::new())).await.unwrap().unwrap();
        runner
    };
    let until = async |runner: &Runner, what: fn(&hook::Standing) -> bool| {
        timeout(SOON, async {
            loop {
                let standing = runner.hook_standing().unwrap();
                if what(&standing) {
                    break standing;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap()
    };
    let patient = run(hook(&format!("http://{gone}/"), Duration::from_mins(10))).await;
    let standing = until(&patient, |standing| standing.next.is_some()).await;
    assert_eq!((standing.waiting, standing.lost, standing.told), (2, 0, None), "{standing:?}");
    let failed = standing.failed.unwrap();
    assert!(failed.why.contains("refused") && standing.next.unwrap().since(failed.at) >= Duration::from_mins(5));
    timeout(SOON, patient.close()).await.unwrap();
    let impatient = run(hook(&format!("http://{gone}/"), Duration::from_millis(5))).await;
    let standing = until(&impatient, |standing| standing.lost == 2).await;
    assert!(standing.waiting == 0 && standing.failed.is_some() && standing.next.is_none(), "{standing:?}");
    // A test that fails says nothing new.
    assert!(impatient.test_hook().await.unwrap().unwrap().status.is_none());
    assert!(impatient.hook_standing().unwrap().failed.is_some());
    timeout(SOON, impatient.close()).await.unwrap();
    let (url, _heard) = listener(vec![503]).await;
    let heard = run(hook(&url, Duration::from_millis(5))).await;
    let standing = until(&heard, |standing| standing.waiting == 0).await;
    assert!(standing.told.is_some() && standing.failed.is_none() && standing.lost == 0, "{standing:?}");
    timeout(SOON, heard.close()).await.unwrap();
    // It refuses both events of a run, and takes the test: it works again, and nobody waits for the next event to see that.
    let (url, _heard) = listener(vec![404, 404]).await;
    let refused = run(hook(&url, Duration::from_millis(5))).await;
    let standing = until(&refused, |standing| standing.lost == 2).await;
    assert!(standing.failed.is_some(), "{standing:?}");
    assert!(refused.test_hook().await.unwrap().unwrap().status.is_some_and(|status| (200..300).contains(&status)));
    assert!(refused.hook_standing().unwrap().failed.is_none());
    timeout(SOON, refused.close()).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_finds_no_room_is_not_lost_for_the_reason_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let (url, _heard) = listener(vec![503]).await;
    let http = conversation::config("http://127.0.0.1", dir.path().to_owned()).http;
    let long = Duration::from_mins(10);
    let patience = hook::Patience { attempts_max: 4, first: long, longest: long };
    let hook = Hook::new(hook::Config { url, secret: Secret::new("s".to_owned()), http, patience }).unwrap();
    let event = |at: u32| hook::Event { id: at.to_string(), kind: "test", body: b"{}".to_vec() };
    hook.start();
    hook.tell(event(0));
    timeout(SOON, async {
        while hook.standing().next.is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let next = hook.standing().next;
    // More than the queue takes, whatever its length is: what must be lost is lost on the way.
    (1..10_000).map(event).take_while(|_| hook.standing().lost == 0).for_each(|event| hook.tell(event));
    let standing = hook.standing();
    let why = |failed: Option<hook::Failed>| failed.map(|failed| failed.why);
    assert_eq!(why(standing.given_up).as_deref(), Some("too many waited already"));
    assert_eq!(why(standing.failed).as_deref(), Some("it answered 503"));
    assert_eq!((standing.lost, standing.next), (1, next), "the one that waits is tried again when it was to be");
    timeout(SOON, hook.close()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_counts_what_lists_show() {
    let sim = sim(Character::Microsoft, 55, 900);
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, Arc::new(RealDisk));
    let runner = runner(&store, &dir, UpstreamKind::Microsoft, &sim.url(), Extras::default());
    let counts = timeout(SOON, runner.run(&CancellationToken::new())).await.unwrap().unwrap();
    let shown = async |state| {
        let query = Query { states: vec![state], limit: 1, ..Query::default() };
        store.catalog().search(query).await.unwrap().total
    };
    assert_eq!(
        (counts.superseded, counts.expired),
        (shown(State::Superseded).await, shown(State::Expired).await),
        "{counts:?}"
    );
    assert!(counts.superseded > 10 && counts.expired > 3, "{counts:?}");
    store.close().await.unwrap();
}

/// The lane of definition updates is on, and keeps so many.
fn keep(keep: u32) -> Extras {
    Extras { definitions: Some(Definitions { enabled: true, keep, ..Definitions::default() }), ..Extras::default() }
}

/// A run of the lane.
async fn lane(runner: &Runner) -> Result<Counts, Error> {
    timeout(SOON, runner.run_as(order(RunKind::Definitions), &CancellationToken::new())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn definition_updates_have_a_lane_of_their_own_and_the_newest_stay() {
    let sim = sim(Character::Microsoft, 45, 1_500);
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, Arc::new(RealDisk));
    let all = runner(&store, &dir, UpstreamKind::Microsoft, &sim.url(), keep(1_000));
    assert!(matches!(lane(&all).await, Err(Error::Early)), "it adds to a catalog, and there is none");
    timeout(SOON, all.run(&CancellationToken::new())).await.unwrap().unwrap();
    let catalog = store.catalog();
    let definitions = async || {
        let query = Query { classification: Some(known::DEFINITION_UPDATES), limit: 500, ..Query::default() };
        let hits = catalog.search(query).await.unwrap().hits;
        hits.into_iter().map(|hit| hit.summary).collect::<Vec<_>>()
    };
    let anchors = async || {
        let sets = catalog.standing().await.unwrap().sets;
        sets.into_iter()
            .filter(|set| !set.name.starts_with("definitions-"))
            .map(|set| (set.name, set.anchor))
            .collect::<Vec<_>>()
    };
    let before = definitions().await;
    assert!(before.len() > 8, "{}", before.len());
    sim.advance(1);
    sim.reset_log();
    let known_anchors = anchors().await;
    let counts = lane(&all).await.unwrap();
    let after = definitions().await;
    assert!(counts.new > 0 && after.len() > before.len(), "{counts:?}");
    assert_eq!(anchors().await, known_anchors, "the other lists are left alone");
    // What came is theirs alone: top updates are of the classification, all else is part of them.
    let run = all.history(None, 1).await.unwrap().remove(0);
    assert_eq!((run.note.kind, run.outcome), (RunKind::Definitions, Outcome::Successful));
    let lists = sim.log(2_000);
    let lists: Vec<_> = lists["lines"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["method"] == "GetRevisionIdList")
        .cloned()
        .collect();
    assert!(lists.len() == 1 && lists[0]["classifications"] == 1, "{lists:?}");
    assert_eq!(lane(&all).await.unwrap().new, 0, "from its own anchor");

    // A whole run that keeps few lets go of the others, and the lane, turned on after it, does not bring them back.
    {
        let dir = tempfile::tempdir().unwrap();
        let store = self::store(&dir, Arc::new(RealDisk));
        let few = runner(&store, &dir, UpstreamKind::Microsoft, &sim.url(), keep(2));
        let whole = timeout(SOON, few.run(&CancellationToken::new())).await.unwrap().unwrap();
        assert!(whole.pruned > 0, "{whole:?}");
        assert_eq!(lane(&few).await.unwrap().new, 0);
        store.close().await.unwrap();
    }

    // Of each product the newest two stay, and whole: of what goes no part is left that nothing needs.
    let few = runner(&store, &dir, UpstreamKind::Microsoft, &sim.url(), keep(2));
    let counts = lane(&few).await.unwrap();
    let left = definitions().await;
    assert!(counts.pruned > 0 && left.len() < after.len(), "{counts:?}");
    let mut of_product: BTreeMap<UpdateId, Vec<_>> = BTreeMap::new();
    for summary in &after {
        for category in summary.categories.iter().filter(|id| **id != known::DEFINITION_UPDATES) {
            let is_superseded = !catalog.superseded_by(summary.identity.id).await.unwrap().is_empty();
            let is_left = left.iter().any(|one| one.identity == summary.identity);
            let is_offered = summary.publication == waystation::model::update::Publication::Published && !is_superseded;
            of_product.entry(*category).or_default().push((is_offered, summary.created, is_left));
        }
    }
    for rows in of_product.values_mut() {
        rows.sort();
        rows.reverse();
        assert!(rows.iter().take(1).all(|(.., is_left)| *is_left), "the newest stays: {rows:?}");
    }
    assert!(catalog.missing_prerequisites().await.unwrap().len() <= 1, "nothing that is needed went");
    let again = lane(&few).await.unwrap();
    assert_eq!((again.new, again.pruned), (0, 0), "what was let go of does not come back by itself");
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_approved_takes_no_place_among_the_newest_definition_updates() {
    let sim = sim(Character::Microsoft, 45, 1_500);
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, Arc::new(RealDisk));
    let all = runner(&store, &dir, UpstreamKind::Microsoft, &sim.url(), keep(1_000));
    timeout(SOON, all.run(&CancellationToken::new())).await.unwrap().unwrap();
    let catalog = store.catalog();
    let query = Query { classification: Some(known::DEFINITION_UPDATES), limit: 500, ..Query::default() };
    // The oldest first; what is not offered counts as older than what is.
    let mut of_product: BTreeMap<Vec<UpdateId>, Vec<_>> = BTreeMap::new();
    for hit in catalog.search(query).await.unwrap().hits {
        let is_offered = hit.state == State::Current;
        let row = (is_offered, hit.summary.created, hit.summary.identity.id);
        let mut products = hit.summary.categories;
        products.retain(|id| *id != known::DEFINITION_UPDATES);
        of_product.entry(products).or_default().push(row);
    }
    let mut rows = of_product.into_values().max_by_key(Vec::len).unwrap();
    rows.sort_unstable();
    let newest: Vec<UpdateId> = rows.iter().rev().map(|(.., id)| *id).collect();
    assert!(newest.len() > 4, "{rows:?}");
    let approve = Deciding::Approve { all_files: false };
    catalog.decide(newest[..2].to_vec(), approve, "ada".into(), String::new()).await.unwrap();
    catalog.decide(newest[2..3].to_vec(), Deciding::Decline, "ada".into(), String::new()).await.unwrap();
    let few = runner(&store, &dir, UpstreamKind::Microsoft, &sim.url(), keep(2));
    lane(&few).await.unwrap();
    let mut left = Vec::new();
    for id in &newest {
        left.push(catalog.current(*id).await.unwrap().is_some());
    }
    assert_eq!(left[..4], [true; 4], "the two that are approved, and the two newest of the others");
    // Those that others need stay beside them.
    assert!(left[4..].iter().filter(|is_left| **is_left).count() < left.len() / 4, "{left:?}");
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lane_of_definition_updates_checks_the_filters_as_a_whole_run_does() {
    let sim = sim(Character::Microsoft, 47, 200);
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, Arc::new(RealDisk));
    let of = |products: &[&str]| {
        let products = products.iter().map(|name| (*name).to_owned()).collect();
        let chosen = Arc::new(move || Selection { products: Vec::clone(&products), ..Selection::default() });
        let (kind, url) = (UpstreamKind::Microsoft, sim.url());
        let extras =
            Extras { definitions: Some(Definitions { enabled: true, ..Definitions::default() }), ..Extras::default() };
        Runner::with(kind, &url, wsus(&url, &dir, None), store.clone(), chosen, HandClock::at(AFTER_ALL), extras)
    };
    timeout(SOON, of(&["Windows 11"]).run(&CancellationToken::new())).await.unwrap().unwrap();
    sim.reset_log();
    let error = lane(&of(&["Windows Eleven"])).await.unwrap_err();
    assert!(matches!(error, Error::Filters { .. }) && error.to_string().contains("\"Windows Eleven\""), "{error}");
    assert_eq!(sim.log(10)["lines"].as_array().map(Vec::len), Some(0), "before anything is asked");
    let some = of(&["Windows 11", "Windows Eleven"]);
    lane(&some).await.unwrap();
    let run = some.history(None, 1).await.unwrap().remove(0);
    assert_eq!((run.note.kind, run.outcome), (RunKind::Definitions, Outcome::Successful));
    let said = "left out of the filters: no product is called \"Windows Eleven\"";
    assert!(run.reason.starts_with(said), "{}", run.reason);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_list_lets_go_of_no_other_one_fetches_again() {
    let sim = sim(Character::Microsoft, 45, 1_500);
    let dir = tempfile::tempdir().unwrap();
    let store = self::store(&dir, Arc::new(RealDisk));
    let few = runner(&store, &dir, UpstreamKind::Microsoft, &sim.url(), keep(1));
    timeout(SOON, few.run(&CancellationToken::new())).await.unwrap().unwrap();
    lane(&few).await.unwrap();
    sim.advance(1);
    let of_lane = lane(&few).await.unwrap();
    assert!(of_lane.new > 0 && of_lane.pruned > 0, "{of_lane:?}");
    let whole = timeout(SOON, few.run(&CancellationToken::new())).await.unwrap().unwrap();
    assert_eq!(whole.pruned, 0, "nothing came that had been let go of: {whole:?}");
    // Not even where everything is listed anew, unless the rule keeps more.
    store.catalog().reset_anchors().await.unwrap();
    let whole = timeout(SOON, few.run(&CancellationToken::new())).await.unwrap().unwrap();
    assert_eq!((whole.new, whole.pruned), (0, 0), "{whole:?}");
    let more = runner(&store, &dir, UpstreamKind::Microsoft, &sim.url(), keep(3));
    let whole = timeout(SOON, more.run(&CancellationToken::new())).await.unwrap().unwrap();
    assert!(whole.new > whole.pruned, "{whole:?}");
    store.close().await.unwrap();
}

/// Definition updates that are held.
async fn definitions(store: &Store) -> BTreeSet<UpdateId> {
    let query = Query { classification: Some(known::DEFINITION_UPDATES), limit: 500, ..Query::default() };
    store.catalog().search(query).await.unwrap().hits.into_iter().map(|hit| hit.summary.identity.id).collect()
}

/// Who has a lane for them may well take them out of the filters: what the lane brings is wanted all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_lane_brings_counts_as_in_the_filters() {
    let sim = sim(Character::Microsoft, 56, 900);
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, Arc::new(RealDisk));
    let security = || Selection { classifications: vec!["Security Updates".to_owned()], ..Selection::default() };
    let runner = |definitions| {
        let way = wsus(&sim.url(), &dir, None);
        let extras = Extras { definitions, prune_beyond: true, ..Extras::default() };
        let (kind, clock) = (UpstreamKind::Microsoft, Arc::new(SystemClock));
        Runner::with(kind, &sim.url(), way, store.clone(), Arc::new(security), clock, extras)
    };
    let with_lane = runner(keep(1_000).definitions);
    timeout(SOON, with_lane.run(&CancellationToken::new())).await.unwrap().unwrap();
    lane(&with_lane).await.unwrap();
    let held = definitions(&store).await;
    assert!(held.len() > 4, "{}", held.len());
    let (wanted, _) = with_lane.filters().await.unwrap().unwrap();
    assert!(wanted.classifications.contains(&known::DEFINITION_UPDATES), "the content policy sees them");
    timeout(SOON, with_lane.run(&CancellationToken::new())).await.unwrap().unwrap();
    assert_eq!(definitions(&store).await, held, "a whole run lets go of none");
    timeout(SOON, runner(None).run(&CancellationToken::new())).await.unwrap().unwrap();
    assert!(definitions(&store).await.is_empty(), "without the lane nothing finds them");
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_lane_let_go_of_comes_back_where_more_are_kept_or_it_is_turned_off() {
    for kind in [UpstreamKind::Microsoft, UpstreamKind::Wsus] {
        let character = if kind == UpstreamKind::Wsus { Character::Wsus } else { Character::Microsoft };
        let sim = sim(character, 45, 1_500);
        // What there is, for one that never let go of any.
        let (all, five) = {
            let dir = tempfile::tempdir().unwrap();
            let store = self::store(&dir, Arc::new(RealDisk));
            let off = runner(&store, &dir, kind, &sim.url(), Extras::default());
            timeout(SOON, off.run(&CancellationToken::new())).await.unwrap().unwrap();
            let all = definitions(&store).await;
            let five = runner(&store, &dir, kind, &sim.url(), keep(5));
            timeout(SOON, five.run(&CancellationToken::new())).await.unwrap().unwrap();
            let kept = definitions(&store).await;
            store.close().await.unwrap();
            (all, kept)
        };
        let dir = tempfile::tempdir().unwrap();
        let store = self::store(&dir, Arc::new(RealDisk));
        let with = |extras| runner(&store, &dir, kind, &sim.url(), extras);
        timeout(SOON, with(keep(2)).run(&CancellationToken::new())).await.unwrap().unwrap();
        let two = definitions(&store).await;
        assert!(two.len() < five.len() && five.len() < all.len(), "{} {} {}", two.len(), five.len(), all.len());
        // By a run of the lane, with nothing done by hand; and those of now stay what they are where nothing was changed.
        assert_eq!(lane(&with(keep(2))).await.unwrap().new, 0);
        lane(&with(keep(5))).await.unwrap();
        assert_eq!(definitions(&store).await, five, "{kind:?}: more are kept");
        assert_eq!(lane(&with(keep(5))).await.unwrap().new, 0, "once");
        // By a whole run, where the lane is off.
        let off = with(Extras::default());
        let whole = timeout(SOON, off.run(&CancellationToken::new())).await.unwrap().unwrap();
        assert_eq!(definitions(&store).await, all, "{kind:?}: the lane is off {whole:?}");
        let whole = timeout(SOON, off.run(&CancellationToken::new())).await.unwrap().unwrap();
        assert_eq!(whole.new, 0, "once");
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_quarantined_is_asked_for_again_on_demand() {
    let sim = sim(Character::Wsus, 46, 200);
    sim.fault(&json!({ "fault": "bad-base64", "count": 3 })).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, Arc::new(RealDisk));
    let runner = runner(&store, &dir, UpstreamKind::Wsus, &sim.url(), Extras::default());
    runner.run(&CancellationToken::new()).await.unwrap();
    let catalog = store.catalog();
    let refused = catalog.refused(None, 10).await.unwrap();
    assert_eq!(refused.len(), 3);
    // Sick still: it comes back with its reason.
    let Pardoned { identities, asked, .. } = runner.retry(Pardon::NotTaken).await.unwrap();
    assert_eq!((identities.len(), asked, catalog.standing().await.unwrap().refused), (3, 3, 0));
    runner.run(&CancellationToken::new()).await.unwrap();
    assert_eq!(catalog.standing().await.unwrap().refused, 3);
    // The next run asks once more by itself, and then nobody does for a day.
    runner.run(&CancellationToken::new()).await.unwrap();
    sim.clear_faults();
    runner.run(&CancellationToken::new()).await.unwrap();
    assert_eq!(catalog.standing().await.unwrap().refused, 3, "nobody asks for it by itself");
    let one = refused[0].identity;
    let named = async |id| {
        let pardoned = runner.retry(Pardon::Named(vec![id])).await.unwrap();
        (pardoned.identities, pardoned.asked)
    };
    assert_eq!(named(one.id).await, (vec![one], 1));
    runner.run(&CancellationToken::new()).await.unwrap();
    assert!(catalog.number(one).await.unwrap().is_some() && catalog.standing().await.unwrap().refused == 2);
    // What is held and was refused is offered again by its id, and not asked for.
    catalog.refuse(one, "on purpose".to_owned()).await.unwrap();
    let pardoned = runner.retry(Pardon::NotTaken).await.unwrap();
    assert_eq!((pardoned.identities.len(), pardoned.asked, pardoned.left), (2, 2, 1));
    assert_eq!(named(one.id).await, (vec![one], 0));
    runner.run(&CancellationToken::new()).await.unwrap();
    let number = catalog.number(one).await.unwrap().unwrap();
    assert!(!catalog.summaries(vec![number]).await.unwrap()[0].refused);
    assert_eq!(catalog.standing().await.unwrap().refused, 0);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_upstream_is_told_at_once_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, Arc::new(RealDisk));
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{gone}");
    let mut config = conversation::config(&url, dir.path().to_owned());
    config.patience.first = Duration::from_mins(10);
    config.patience.longest = Duration::from_mins(10);
    let way = Wsus::new(config, &Governor::default()).unwrap();
    let chosen = Arc::new(Selection::default);
    let runner = Runner::new(UpstreamKind::Wsus, &url, way, store.clone(), chosen, Arc::new(SystemClock));
    let cancel = CancellationToken::new();
    let (one, token, mine) = (runner.clone(), cancel.clone(), order(RunKind::Catalog));
    let stopped_by = Arc::clone(&mine.stopped_by);
    let run = tokio::spawn(async move { one.run_as(mine, &token).await });
    let waiting = timeout(SOON, async {
        loop {
            if let Some(waiting) = runner.progress().and_then(|progress| progress.waiting) {
                break waiting;
            }
            tokio::task::yield_now().await;
        }
    });
    let waiting = waiting.await.unwrap();
    assert!(waiting.attempt == 2 && waiting.attempts_max == 4 && waiting.wait > SOON, "{waiting:?}");
    assert!(!waiting.why.is_empty() && waiting.method.to_string() == "GetAuthConfig", "{waiting:?}");
    stopped_by.set("root".to_owned()).unwrap();
    cancel.cancel();
    assert!(matches!(timeout(SOON, run).await.unwrap().unwrap(), Err(Error::Stopped)));
    let run = runner.history(None, 1).await.unwrap().remove(0);
    assert!(
        run.outcome == Outcome::Stopped && run.reason.starts_with("stopped by root; what was committed"),
        "{run:?}"
    );
    assert_eq!(run.note.troubles, BTreeMap::from([("not reached".to_owned(), 1)]));
    assert_eq!(run.counts.errors, 1);
    store.close().await.unwrap();
}

/// A WSUS whose database restarts answers a list so. That run is over, and the schedule tries it again before its next slot.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_a_bad_hour_is_tried_again_and_one_that_lasts_is_not() {
    let sim = sim(Character::Wsus, 52, 60);
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, Arc::new(RealDisk));
    let runner = runner(&store, &dir, UpstreamKind::Wsus, &sim.url(), Extras::default());
    for (fault, status, method, again) in [
        ("internal-server-error", 0, "GetRevisionIdList", true),
        ("internal-server-error", 0, "GetCookie", true),
        ("plain-fault", 0, "GetConfigData", true),
        ("http-503", 403, "GetRevisionIdList", true),
        ("http-503", 404, "GetRevisionIdList", false),
        ("incompatible-protocol", 0, "GetCookie", false),
    ] {
        sim.fault(&json!({ "fault": fault, "status": status, "method": method, "count": 1_000 })).unwrap();
        let error = runner.run(&CancellationToken::new()).await.unwrap_err();
        assert_eq!(error.is_retryable(), again, "{fault} {method}: {error}");
        let run = runner.history(None, 1).await.unwrap().remove(0);
        assert!(run.outcome == Outcome::Failed && run.note.again == again, "{fault} {method}: {run:?}");
        sim.clear_faults();
    }
    runner.run(&CancellationToken::new()).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_before_it_begins_is_told_as_that() {
    let sim = sim(Character::Wsus, 51, 60);
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, Arc::new(RealDisk));
    let runner = runner(&store, &dir, UpstreamKind::Wsus, &sim.url(), Extras::default());
    for (by, why, again) in [(Some("root"), "stopped by root;", false), (None, "stopped by the node,", true)] {
        let (cancel, order) = (CancellationToken::new(), order(RunKind::Catalog));
        if let Some(by) = by {
            order.stopped_by.set(by.to_owned()).unwrap();
        }
        cancel.cancel();
        assert!(matches!(timeout(SOON, runner.run_as(order, &cancel)).await.unwrap(), Err(Error::Stopped)));
        let run = runner.history(None, 1).await.unwrap().remove(0);
        assert!(run.outcome == Outcome::Stopped && run.reason.starts_with(why), "{run:?}");
        assert_eq!(run.note.again, again, "{run:?}");
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_that_were_got_over_are_counted_by_kind() {
    let sim = sim(Character::Wsus, 47, 150);
    // Each falls on a call of its own.
    for (fault, method, after) in
        [("server-busy", "GetRevisionIdList", 0), ("http-503", "GetUpdateData", 0), ("drop", "GetUpdateData", 2)]
    {
        sim.fault(&json!({ "fault": fault, "method": method, "after": after })).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, Arc::new(RealDisk));
    let runner = runner(&store, &dir, UpstreamKind::Wsus, &sim.url(), Extras::default());
    let counts = timeout(SOON, runner.run(&CancellationToken::new())).await.unwrap().unwrap();
    let run = runner.history(None, 1).await.unwrap().remove(0);
    assert_eq!((run.outcome, run.counts.errors, counts.errors), (Outcome::Successful, 3, 3), "{run:?}");
    assert_eq!(run.note.troubles.get("busy"), Some(&2), "{run:?}");
    assert_eq!(run.note.troubles.values().sum::<u64>(), 3);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_cut_off_is_named_when_the_node_is_back() {
    let sim = sim(Character::Wsus, 48, 300);
    let dir = tempfile::tempdir().unwrap();
    let first = store(&dir, Arc::new(RealDisk));
    let one = runner(&first, &dir, UpstreamKind::Wsus, &sim.url(), Extras::default());
    let running = tokio::spawn(async move { one.run(&CancellationToken::new()).await });
    while first.catalog().standing().await.unwrap().updates < 50 {
        tokio::task::yield_now().await;
    }
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    first.close().await.unwrap();
    let second = store(&dir, Arc::new(RealDisk));
    let (url, mut heard) = listener(Vec::new()).await;
    let extras = Extras { teller: Some(teller(&url, &dir)), ..Extras::default() };
    let two = runner(&second, &dir, UpstreamKind::Wsus, &sim.url(), extras);
    two.begin().await.unwrap();
    let runs = two.history(None, 10).await.unwrap();
    assert!(runs.len() == 1 && runs[0].outcome == Outcome::CutOff && runs[0].ended.is_some(), "{runs:?}");
    let mut is_told = async |cut: &Run| {
        let (kind, _, told) = next(&mut heard).await;
        assert_eq!((kind.as_str(), &told["run"]["outcome"]), ("sync-failed", &json!("cut off")), "{told}");
        let ended = cut.ended.unwrap().to_string();
        assert_eq!((&told["run"]["id"], &told["run"]["ended_at"]), (&json!(cut.id), &json!(ended)), "{told}");
        assert_eq!(told["run"]["counts"]["new"], json!(cut.counts.new), "{told}");
    };
    is_told(&runs[0]).await;
    // One that breaks off in a node that goes on is told before the next run.
    let lost = second.catalog().start_run("here".to_owned()).await.unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    assert!(matches!(two.run(&cancel).await, Err(Error::Stopped)));
    let cut = two.history(Some(lost + 1), 1).await.unwrap().remove(0);
    is_told(&cut).await;
    two.close().await;
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_run_and_loses_nothing() {
    let sim = sim(Character::Wsus, 49, 350);
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let store = store(&dir, Arc::new(disk.clone()));
    let (url, mut heard) = listener(Vec::new()).await;
    let extras = Extras { teller: Some(teller(&url, &dir)), ..Extras::default() };
    let runner = runner(&store, &dir, UpstreamKind::Wsus, &sim.url(), extras);
    runner.begin().await.unwrap();
    let (one, catalog) = (runner.clone(), store.catalog());
    let running = tokio::spawn(async move { one.run(&CancellationToken::new()).await });
    while catalog.standing().await.unwrap().updates < 80 {
        tokio::task::yield_now().await;
    }
    disk.set_faults(Faults { free: Some(0), ..Faults::default() });
    let error = timeout(SOON, running).await.unwrap().unwrap().unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let told = error.to_string();
    let run = runner.history(None, 1).await.unwrap().remove(0);
    assert!(run.outcome == Outcome::Failed && run.reason == told && told.starts_with("full: "), "{run:?}");
    let early = timeout(SOON, runner.run(&CancellationToken::new())).await.unwrap().unwrap_err();
    assert!(matches!(&early, Error::NotBegun(why) if why.to_string().starts_with("full: ")), "{early}");
    assert!(early.is_retryable());
    assert_eq!(runner.history(None, 10).await.unwrap().len(), 1, "it could not be written down");
    // It is told all the same, by no number: it has none.
    for (event, id) in [("sync-started", run.id), ("sync-failed", run.id), ("sync-failed", 0)] {
        let (kind, _, told) = next(&mut heard).await;
        assert_eq!((kind.as_str(), &told["run"]["id"]), (event, &json!(id)), "{told}");
    }
    disk.set_faults(Faults::default());
    let held: BTreeSet<Identity> = identities(&store).await;
    assert!(held.len() >= 80);
    sim.reset_log();
    timeout(SOON, runner.run(&CancellationToken::new())).await.unwrap().unwrap();
    let after = identities(&store).await;
    let lost: Vec<_> = held.difference(&after).collect();
    assert!(lost.is_empty(), "nothing that was known is lost: {lost:?}");
    assert_eq!(after.len(), sim.identities(&json!({})).as_array().unwrap().len());
    let log = sim.log(2_000);
    let asked = log["lines"].as_array().unwrap().iter().filter(|line| line["method"] == "GetUpdateData");
    let again = asked
        .flat_map(|line| line["ids"].as_array().unwrap().clone())
        .filter(|text| held.iter().any(|identity| text == &Value::from(identity.to_string())))
        .count();
    assert_eq!(again, 0, "what was committed is not asked for again");
    timeout(SOON, runner.close()).await.unwrap();
    store.close().await.unwrap();
}

/// What is held of every update.
async fn identities(store: &Store) -> BTreeSet<Identity> {
    let (mut held, mut after) = (BTreeSet::new(), None);
    loop {
        let query = Query { hidden: true, limit: 500, after, ..Query::default() };
        let page = store.catalog().search(query).await.unwrap();
        held.extend(page.hits.into_iter().map(|hit| hit.summary.identity));
        match page.next {
            Some(next) => after = Some(next),
            None => return held,
        }
    }
}
