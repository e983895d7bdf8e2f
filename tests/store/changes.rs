//! Every change that is not only a publish: names, pins, expectations, withheld payloads, drafts that change, imports,
//! eviction, quarantine. Each happens whole or not at all, wherever the power goes, and nothing that was acknowledged is
//! taken back by what was under way beside it, or by a caller who did not wait for the end.

use std::collections::BTreeSet;
use std::path::PathBuf;

use waystation::model::deployment::{Action, Endpoint, Said, Target};
use waystation::model::group::{Level, Node};
use waystation::model::payload::{Freshness, Location, Payload, Standing};
use waystation::model::policy::Group;
use waystation::model::update::UpdateId;
use waystation::store::approvals::{Change, Saying};
use waystation::store::catalog::Deciding;

use super::crash::check_rows;
use super::*;
use crate::fault_disk::Faults;

/// An id of an update, a group or an endpoint.
fn gid(at: u8) -> UpdateId {
    UpdateId::new([at; 16])
}

/// How long what nobody proves stays here.
const UNPROVEN: Duration = Duration::from_hours(24);

fn open_at(disk: &FaultDisk, path: &Path, clock: &Arc<Hand>) -> Result<(Store, Opened), Error> {
    let config = Config { unproven: UNPROVEN, ..config(path) };
    Store::open_with(config, Arc::new(disk.clone()), clock.clone(), &disk.medium())
}

fn alias_of(tag: &str, etag: &str) -> Alias {
    Alias {
        tag: tag.into(),
        last_modified: None,
        validators: Validators { etag: Some(etag.into()), last_modified: None },
        freshness: None,
    }
}

fn claim(bytes: &Bytes, authority: Authority) -> Published {
    Published::one(Digest::Sha256(sha256_of(bytes)), authority)
}

fn place(url: &str) -> Location {
    Location { url: url.into(), standing: Standing::Allowed }
}

/// All that can be seen of a store, one line for each thing, in order.
async fn seen(store: &Store) -> Result<BTreeSet<String>, Error> {
    let mut lines = BTreeSet::new();
    for listed in store.list(None, 1000).await? {
        let pin = listed.pinned.as_ref().map(|pin| (&pin.by, pin.at));
        // How many blocks it takes is up to the file system.
        let payload = Payload { allocated: 0, ..listed.payload };
        lines.insert(format!("{payload:?} pinned {pin:?}"));
        for name in &listed.names {
            let alias = match store.find(name).await? {
                Some(found) => format!("{:?} {}", found.alias, blake3_of(&served(&found))),
                None => "not served".into(),
            };
            lines.insert(format!("{name} -> {}: {alias}", listed.payload.digests.blake3));
        }
    }
    for (spec, covered) in store.drafts().await? {
        lines.insert(format!("draft {covered} {spec:?}"));
    }
    for name in ["a", "b", "d", "e", "i", "u", "x"].map(url) {
        lines.insert(format!("note of {name} {:?}", store.note(&name).await?));
    }
    lines.extend(store.withheld().into_iter().map(|blake3| format!("withheld {blake3}")));
    lines.extend(store.quarantined().await?.into_iter().map(|kept| format!("quarantine {:?}", kept.why)));
    let approvals = store.approvals();
    lines.extend(approvals.page(None, 100).await?.0.into_iter().map(|kept| {
        let approval = kept.approval;
        format!("{} for {:?}: {:?}", approval.update, approval.target, approval.said)
    }));
    lines.extend(approvals.tree().await?.groups.iter().map(|node| format!("{node:?}")));
    lines.insert(format!("placed {:?}", approvals.placed(vec![Endpoint(gid(3))]).await?));
    lines.extend(store.documents("test/").await?.into_iter().map(|document| format!("{document:?}")));
    Ok(lines)
}

/// A run through all changes.
struct Run {
    store: Store,
    clock: Arc<Hand>,
    /// A file of the administrator's.
    file: PathBuf,
    draft: Option<Draft>,
}

/// These are several commits by nature (a draft is begun, filled and published; a claim is noted, then held against what
/// there is; a repair that was cut off after the rename waits to be read again): what was cut off may stand between old and
/// new, and nothing else may have changed.
const IN_PARTS: [usize; 5] = [EXPECT, REPAIR, REPAIRED, CONTRADICT, PUBLISH];
const EXPECT: usize = 6;
const REPAIR: usize = 8;
const REPAIRED: usize = 10;
const CONTRADICT: usize = 17;
const PUBLISH: usize = 22;
/// The only one that changes nothing on the disk.
const TIME_GOES_ON: usize = 23;
const STEPS: usize = 30;

impl Run {
    fn draft(&self) -> Result<&Draft, Error> {
        self.draft.as_ref().ok_or(Error::Gone)
    }

    async fn step(&mut self, step: usize) -> Result<(), Error> {
        let (a, d, brought, wrong, short) =
            (bytes(1, 200_000), bytes(2, 150_000), bytes(3, 5000), bytes(4, 3000), bytes(5, 4000));
        let store = self.store.clone();
        match step {
            0 => self.draft = Some(store.start_draft(spec(&url("a"), &a, None)).await?),
            1 => {
                fill(self.draft()?, &a).await?;
                self.draft()?.checkpoint().await?;
            }
            2 => {
                let proved = self.draft()?.prove().await?;
                let named = vec![(url("a3"), alias_of("third", "3"))];
                self.draft()?.publish(proved, named).await?;
                self.draft = None;
            }
            3 => store.alias(blake3_of(&a), url("b"), alias_of("second", "1")).await?,
            4 => {
                let fresh = Freshness { until: Timestamp::from_ms(77), policy: "{}".into() };
                let validators = Validators { etag: Some("2".into()), last_modified: None };
                store.refresh(&url("b"), Some(fresh), validators).await?;
            }
            5 => store.pin(blake3_of(&a), "who tests").await?,
            EXPECT => store.expect(&url("a"), claim(&a, Authority::Catalog), vec![place("http://o.example/a")]).await?,
            7 => store.withhold(blake3_of(&a), "a bad group").await?,
            REPAIR => {
                let bad = SpanSet::from_iter([Span::new(0, 65_536)]);
                let draft = store.repair_draft(blake3_of(&a), bad, vec![]).await?;
                draft.checkpoint().await?;
                self.draft = Some(draft);
            }
            9 => {
                self.draft()?.write(0, a.slice(0..65_536)).await?;
                self.draft()?.checkpoint().await?;
            }
            REPAIRED => {
                let proved = self.draft()?.prove().await?;
                self.draft()?.publish(proved, vec![]).await?;
                self.draft = None;
            }
            11 => store.unpin(blake3_of(&a)).await?,
            12 => store.forget(&url("b")).await?,
            13 => {
                let draft = store.start_draft(spec(&url("d"), &d, None)).await?;
                self.draft = Some(draft);
            }
            14 => {
                self.draft()?.write(0, d.slice(0..90_000)).await?;
                self.draft()?.checkpoint().await?;
            }
            15 => {
                let places = vec![place("http://o.example/d"), place("http://p.example/d")];
                self.draft()?.amend(true, places, Some(claim(&d, Authority::FileName))).await?;
            }
            16 => self.draft()?.disown(Span::new(10, 20), 2, "another tag".into()).await?,
            CONTRADICT => {
                publish(&store, &url("u"), &wrong, None).await?;
                store.expect(&url("u"), claim(&short, Authority::Catalog), vec![]).await?;
            }
            18 => {
                let named = vec![(url("i"), alias_of("brought", "1"))];
                let expected = claim(&brought, Authority::Operator);
                store.import(self.file.clone(), false, Some(expected), named).await?;
            }
            19 => store.set_document("test/1", Some(vec![7; 5000])).await?,
            20 => store.expect(&url("x"), claim(&short, Authority::Operator), vec![]).await?,
            21 => drop(store.unbind(&url("x")).await?),
            // Of these nobody says anything.
            PUBLISH => drop(publish(&store, &url("e"), &bytes(6, 4500), None).await?),
            // It ends now. What was proved meanwhile, and what is pinned, does not.
            TIME_GOES_ON => self.clock.forward(DAY + HOUR),
            24 => {
                if store.evict_step(0).await? == 0 {
                    return Err(Error::Gone);
                }
            }
            25 => {
                self.draft()?.quarantine("for the test").await?;
                self.draft = None;
            }
            26 => {
                let parent = Group::ALL_ENDPOINTS;
                let (level, name, rules) = (Level::Group, "Pilot".into(), vec![]);
                let node = Node { id: Group(gid(2)), name, level, parent, is_test: true, asks_review: false, rules };
                store.approvals().change(Change::Add(node), "who tests".into()).await?;
            }
            27 => {
                let catalog = store.catalog();
                let approve = Deciding::Approve { all_files: false };
                catalog.decide(vec![gid(1)], approve, "who tests".into(), String::new()).await?;
            }
            // It takes out what was decided for all, and adds two words.
            28 => {
                let said = Said::Do { action: Action::Install, deadline: Some(Timestamp::from_ms(9)) };
                let targets = vec![Target::Group(Group::ALL_ENDPOINTS), Target::Group(Group(gid(2)))];
                let (by, why) = ("who tests".into(), String::new());
                let saying = Saying { updates: vec![gid(1)], targets, said, all_files: false, by, why };
                store.approvals().say(saying).await?;
            }
            29 => {
                let (who, group) = (vec![Endpoint(gid(3))], vec![Group(gid(2))]);
                store.approvals().place(who, group, "who tests".into()).await?;
            }
            _ => unreachable!("there are {STEPS} steps"),
        }
        Ok(())
    }
}

fn begin(store: Store, clock: &Arc<Hand>, file: &Path) -> Run {
    Run { store, clock: clock.clone(), file: file.to_owned(), draft: None }
}

/// What can be seen before the first step and after each, and how many syncs there were.
async fn whole(file: &Path) -> (Vec<BTreeSet<String>>, u64) {
    let dir = tempfile::tempdir().unwrap();
    let (disk, clock) = (FaultDisk::new(dir.path()), Hand::new());
    let (store, _) = open_at(&disk, dir.path(), &clock).unwrap();
    let mut states = vec![seen(&store).await.unwrap()];
    let mut run = begin(store, &clock, file);
    for step in 0..STEPS {
        run.step(step).await.unwrap_or_else(|error| panic!("step {step}: {error}"));
        let state = seen(&run.store).await.unwrap();
        assert!(state != states[step] || step == TIME_GOES_ON, "step {step} changes nothing that can be seen");
        states.push(state);
    }
    let syncs = disk.syncs();
    run.store.close().await.unwrap();
    check_rows(dir.path()).unwrap();
    (states, syncs)
}

/// Runs until sync `sync`, where the power goes off; what is found then is what was before the step that it hit, or
/// after it.
async fn crash_at(sync: u64, seed: u64, file: &Path, states: &[BTreeSet<String>]) -> Result<(), String> {
    let before = tempfile::tempdir().unwrap();
    let (disk, clock) = (FaultDisk::new(before.path()), Hand::new());
    disk.off_at(sync);
    let mut done = 0;
    if let Ok((store, _)) = open_at(&disk, before.path(), &clock) {
        let mut run = begin(store, &clock, file);
        while done < STEPS && run.step(done).await.is_ok() {
            done += 1;
        }
        run.draft = None;
        drop(run.store.close().await);
    }
    let after = tempfile::tempdir().unwrap();
    disk.crash(seed, after.path());
    let disk = FaultDisk::new(after.path());
    let (store, _) = open_at(&disk, after.path(), &clock).map_err(|error| format!("does not open: {error}"))?;
    let state = seen(&store).await.map_err(|error| format!("step {done}: {error}"))?;
    let (old, new) = (&states[done], states.get(done + 1).unwrap_or(&states[done]));
    let is_between = IN_PARTS.contains(&done) && (old & new).is_subset(&state);
    if state != *old && state != *new && !is_between {
        let (more, less): (Vec<_>, Vec<_>) = (state.difference(old).collect(), old.difference(&state).collect());
        return Err(format!("step {done} was cut off: there is {more:#?}, there is no {less:#?}"));
    }
    store.close().await.map_err(|error| error.to_string())?;
    check_rows(after.path())
}

#[tokio::test]
async fn every_change_happens_whole_or_not_at_all_wherever_the_power_goes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("brought");
    std::fs::write(&file, bytes(3, 5000)).unwrap();
    let (states, syncs) = whole(&file).await;
    assert!(syncs > 60, "the changes have only {syncs} syncs");
    let mut wrong = Vec::new();
    for sync in 0..syncs {
        for seed in [0, 1, 2 + sync] {
            if let Err(what) = crash_at(sync, seed, &file, &states).await {
                wrong.push(format!("sync {sync} of {syncs}, seed {seed}: {what}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} crashes went wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A draft of which bytes are being taken back (`disown` waits in its sync), and which is amended meanwhile.
async fn amended_while_disowned(dir: &Path) -> (FaultDisk, Store, Draft, tokio::task::JoinHandle<Result<(), Error>>) {
    let disk = FaultDisk::new(dir);
    let (store, _) = open_on(&disk, dir).unwrap();
    let content = bytes(1, 100_000);
    let draft = store.start_draft(spec(&url("a"), &content, None)).await.unwrap();
    draft.write(0, content.slice(0..50_000)).await.unwrap();
    draft.checkpoint().await.unwrap();
    disk.set_faults(Faults { sync_waits: Some(dir.join("drafts")), ..Faults::default() });
    disk.sync_gate.shut();
    let theirs = draft.clone();
    let disowned = tokio::spawn(async move { theirs.disown(Span::new(0, 10), 2, "another".into()).await });
    disk.sync_gate.arrival().await;
    draft.amend(true, vec![], Some(claim(&content, Authority::Catalog))).await.unwrap();
    (disk, store, draft, disowned)
}

#[tokio::test]
async fn an_older_row_of_a_draft_never_follows_a_newer_one() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, store, draft, disowned) = amended_while_disowned(dir.path()).await;
    disk.sync_gate.open_up();
    disowned.await.unwrap().unwrap();
    drop(draft);
    store.close().await.unwrap();
    drop(store);
    let (store, _) = open(dir.path());
    let spec = store.draft(&url("a")).await.unwrap().unwrap().spec();
    assert!(spec.whole, "that the whole is wanted was taken back");
    assert_eq!((spec.expected.map(|known| known.authority), &*spec.tag), (Some(Authority::Catalog), "another"));
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_tag_of_a_draft_changes_with_its_map_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, store, draft, disowned) = amended_while_disowned(dir.path()).await;
    disk.off();
    disk.sync_gate.open_up();
    disowned.await.unwrap().unwrap_err();
    let after = tempfile::tempdir().unwrap();
    disk.crash(0, after.path());
    drop(draft);
    drop(store.close().await);
    let (store, _) = open(after.path());
    let draft = store.draft(&url("a")).await.unwrap().unwrap();
    assert!(draft.spec().whole);
    assert_eq!((draft.covered().total(), &*draft.spec().tag), (50_000, "tag of dl.example.org/a"));
    assert_eq!(store.note(&url("a")).await.unwrap().generation, 1);
    store.close().await.unwrap();
}

/// Begins `change` and goes away before it has ended.
async fn begun<T>(change: impl Future<Output = T>) {
    tokio::select! {
        biased;
        _ = change => {}
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn what_a_caller_began_and_did_not_wait_for_is_seen_by_all() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let (a, b) = (bytes(1, 5000), bytes(2, 5000));
    publish(&store, &url("a"), &a, None).await.unwrap();
    publish(&store, &url("b"), &b, None).await.unwrap();
    // Whatever waits for the writer after it is answered after it.
    let settle = async || store.set_document("test/1", Some(vec![1])).await.unwrap();
    let end = async || store.find(&url("a")).await.unwrap().unwrap().held.payload().expires_at;

    assert!(end().await.is_some());
    begun(store.pin(blake3_of(&a), "who tests")).await;
    settle().await;
    assert_eq!(end().await, None, "pinned");
    begun(store.unpin(blake3_of(&a))).await;
    settle().await;
    assert!(end().await.is_some(), "unpinned");

    let validators = Validators { etag: Some("new".into()), last_modified: None };
    begun(store.refresh(&url("a"), None, validators.clone())).await;
    settle().await;
    assert_eq!(store.find(&url("a")).await.unwrap().unwrap().alias.validators.etag, validators.etag, "refreshed");

    begun(store.alias(blake3_of(&b), url("a"), alias_of("b", "1"))).await;
    settle().await;
    assert_eq!(served(&store.find(&url("a")).await.unwrap().unwrap()), b, "another payload");

    begun(store.forget(&url("a"))).await;
    settle().await;
    assert!(store.find(&url("a")).await.unwrap().is_none(), "forgotten");
    store.close().await.unwrap();
}
