//! The catalog: the life of a revision, changes of upstream, power that goes at any sync, and a random walk beside a plain
//! model.

use std::collections::{BTreeMap, BTreeSet};

use waystation::base::digest::Sha1;
use waystation::model::update::{
    CategoryKind, Clause, Driver, FeatureScore, File, Identity, Impact, Kind, Members, Publication, Reboot, Severity,
    Text as Words, Update, UpdateId,
};
use waystation::store::catalog::{
    Applied, Batch, Body, Catalog, FileDigest, Incoming, Outcome, PAGE_MAX, Part, Query, RunKind, RunNote, State, Text,
    Upstream, UpstreamKind,
};

use super::*;

#[path = "approvals.rs"]
mod approvals;
#[path = "rules.rs"]
mod rules;
#[path = "trust.rs"]
mod trust;
#[path = "wanted.rs"]
mod wanted;

pub(crate) fn id(at: u64) -> UpdateId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&at.to_be_bytes());
    bytes[0] = at as u8;
    UpdateId::new(bytes)
}

pub(crate) fn identity(at: u64, revision: u32) -> Identity {
    Identity { id: id(at), revision }
}

fn sha1_of(at: u64) -> Sha1 {
    Sha1::new(blake3::hash(&at.to_le_bytes()).as_bytes()[..20].try_into().unwrap())
}

fn file(at: u64) -> File {
    File {
        sha1: sha1_of(at),
        sha256: Some(sha256_of(&at.to_le_bytes())),
        name: format!("windows-{at}.cab"),
        size: 1000 + at,
        modified: Some(Timestamp::from_ms(at)),
        patching: "SelfContained".into(),
        encrypted: false,
    }
}

pub(crate) fn update(at: u64, revision: u32) -> Update {
    Update {
        identity: identity(at, revision),
        kind: Kind::Software,
        publication: Publication::Published,
        created: Some(Timestamp::from_ms(1_700_000_000_000 + at)),
        texts: vec![Words {
            language: "en".into(),
            title: format!("Security Update {at} (KB{at})"),
            description: "d".into(),
        }],
        kbs: vec![at.to_string()],
        severity: Severity::Important,
        bulletins: vec![],
        cves: vec!["CVE-2026-0001".into()],
        more_info: None,
        languages: vec!["en".into()],
        deployable: true,
        locally_published: false,
        release_version: None,
        handler: "Cbs".into(),
        reboot: Reboot::CanRequest,
        asks_user: false,
        removable: true,
        support: Some("https://support.example.org".into()),
        impact: Impact::Exclusive,
        needs_network: true,
        os_upgrade: true,
        download_min: at,
        download_max: 2 * at,
        compatible_protocol: "3.1".into(),
        eula: None,
        secured: vec!["FileURL".into()],
        prerequisites: vec![],
        bundles: vec![],
        supersedes: vec![],
        files: vec![],
        drivers: vec![Driver {
            hardware_id: format!("pci\\ven_{at}"),
            version: "1.2.3.4".into(),
            whql_id: Some(7),
            scores: vec![FeatureScore { system: "AMD64.10.0".into(), score: 0xff }],
            target_computers: vec!["b3d3c1f0-0000-4000-8000-000000000001".into()],
            ..Driver::default()
        }],
    }
}

/// A document of some size that is like no other's.
fn document(of: Identity, salt: u64, len: usize) -> String {
    let mut text = format!("<upd:Update id=\"{of}\" salt=\"{salt}\">");
    while text.len() < len {
        let tail = text.len() - 32;
        let hash = blake3::hash(&text.as_bytes()[tail..]).to_hex();
        text.push_str(&hash);
    }
    text
}

fn incoming(update: Update, salt: u64, len: usize) -> Incoming {
    let document = document(update.identity, salt, len);
    Incoming {
        document: document.clone().into(),
        cabinet: salt == 1,
        core: format!("core of {document}").into(),
        extended: format!("extended of {}", update.identity).into(),
        localized: vec![("en".into(), "in English".to_owned().into()), ("de".into(), "auf Deutsch".to_owned().into())],
        urls: update.files.iter().map(|file| (file.sha1, format!("http://dl.example/{}", file.name))).collect(),
        update,
    }
}

pub(crate) fn small(update: Update) -> Incoming {
    incoming(update, 0, 2000)
}

pub(crate) fn bundle(of: &[Identity]) -> Vec<Members> {
    of.iter().map(|member| Members { any_of: vec![*member] }).collect()
}

async fn text_of(catalog: &Catalog, number: u32, part: Part) -> Option<String> {
    match catalog.text(number, part).await.unwrap()? {
        Text::Whole(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
        Text::Long(mut reading) => {
            let mut all = Vec::new();
            while let Some(piece) = reading.next().await.unwrap() {
                all.extend_from_slice(&piece);
            }
            assert_eq!(all.len() as u64, reading.len());
            Some(String::from_utf8(all).unwrap())
        }
    }
}

pub(crate) fn microsoft() -> Upstream {
    Upstream {
        kind: UpstreamKind::Microsoft,
        address: "https://sws.update.microsoft.com".into(),
        unauthenticated: false,
    }
}

pub(crate) fn wsus() -> Upstream {
    Upstream { kind: UpstreamKind::Wsus, address: "http://wsus:8530".into(), unauthenticated: true }
}

pub(crate) async fn import(catalog: &Catalog, updates: Vec<Incoming>) -> Applied {
    catalog.import(Batch { set: "all".into(), updates, ..Batch::default() }).await.unwrap()
}

#[tokio::test]
async fn a_revision_is_found_by_all_that_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let product = Update { kind: Kind::Category(CategoryKind::Product), deployable: false, ..update(1, 1) };
    let detectoid = Update { kind: Kind::Detectoid, deployable: false, ..update(2, 1) };
    let old = Update { files: vec![file(7)], ..update(3, 1) };
    let new = Update {
        prerequisites: vec![
            Clause { any_of: vec![id(1)], is_category: true },
            Clause { any_of: vec![id(2), id(9)], is_category: false },
        ],
        bundles: bundle(&[identity(3, 1)]),
        supersedes: vec![id(3)],
        files: vec![file(7), file(8)],
        severity: Severity::Critical,
        ..update(4, 200)
    };
    let applied = import(&catalog, vec![small(product), small(detectoid), small(old), small(new.clone())]).await;
    assert_eq!((applied.new, applied.changed, applied.superseded, applied.wanted), (4, 0, 1, 0));
    let number = catalog.number(identity(4, 200)).await.unwrap().unwrap();
    assert_eq!(number, 4);
    let revision = catalog.revision(number).await.unwrap().unwrap();
    assert_eq!(revision.update, new);
    assert!(
        revision.summary.current && !revision.summary.unauthenticated && revision.summary.languages == ["en", "de"]
    );
    let text = document(new.identity, 0, 2000);
    assert_eq!(revision.summary.digest, blake3_of(text.as_bytes()));
    assert_eq!(text_of(&catalog, number, Part::Document).await.unwrap(), text);
    assert_eq!(text_of(&catalog, number, Part::Core).await.unwrap(), format!("core of {text}"));
    assert_eq!(text_of(&catalog, number, Part::Localized("de".into())).await.unwrap(), "auf Deutsch");
    assert!(text_of(&catalog, number, Part::Localized("fr".into())).await.is_none());
    assert_eq!(catalog.by_kb("4".into()).await.unwrap(), [4]);
    assert_eq!(catalog.by_category(id(1), None, 10).await.unwrap(), [4]);
    assert!(catalog.by_category(id(2), None, 10).await.unwrap().is_empty());
    assert_eq!(catalog.dependents(id(9), None, 10).await.unwrap(), [4]);
    assert_eq!(
        catalog.leaves(vec![id(1), id(2), id(3), id(4), id(9)]).await.unwrap(),
        [false, false, true, true, false]
    );
    assert_eq!(catalog.parents(identity(3, 1)).await.unwrap(), [4]);
    assert_eq!(catalog.superseded_by(id(3)).await.unwrap(), [4]);
    for digest in [FileDigest::Sha1(sha1_of(7)), FileDigest::Sha256(sha256_of(&7u64.to_le_bytes()))] {
        let known = catalog.files(digest).await.unwrap();
        assert_eq!((known.len(), &known[0].users[..], known[0].urls.len()), (1, &[3, 4][..], 1));
        assert_eq!((known[0].file.sha256, known[0].file.size), (file(7).sha256, 1007));
    }
    let page = catalog.search(Query { text: "UPDATE secu".into(), limit: 10, ..Query::default() }).await.unwrap();
    let states: Vec<_> = page.hits.iter().map(|hit| (hit.summary.number, hit.state)).collect();
    assert_eq!(states, [(4, State::Current), (3, State::Superseded)]);
    // A withdrawn revision supersedes nothing.
    let gone = Update { publication: Publication::Expired, ..Update { identity: identity(4, 201), ..new } };
    let applied = import(&catalog, vec![small(gone)]).await;
    assert_eq!((applied.new, applied.changed, applied.expired), (0, 1, 1));
    let page = catalog.search(Query { product: Some(id(1)), limit: 10, ..Query::default() }).await.unwrap();
    let states: Vec<_> = page.hits.iter().map(|hit| (hit.summary.number, hit.state)).collect();
    assert_eq!(states, [(5, State::Expired)]);
    assert!(catalog.superseded_by(id(3)).await.unwrap().is_empty());
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_higher_revision_counts_and_a_lower_one_stays_where_a_bundle_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    import(
        &catalog,
        vec![small(update(1, 100)), small(Update { bundles: bundle(&[identity(1, 100)]), ..update(2, 1) })],
    )
    .await;
    let kept = catalog.number(identity(1, 100)).await.unwrap().unwrap();
    let applied = import(&catalog, vec![small(update(1, 101)), small(update(1, 99)), small(update(1, 101))]).await;
    assert_eq!((applied.changed, applied.left_out, applied.unchanged), (1, 1, 1));
    assert!(!catalog.revision(kept).await.unwrap().unwrap().summary.current);
    let now = catalog.current(id(1)).await.unwrap().unwrap();
    assert_eq!(catalog.revision(now).await.unwrap().unwrap().summary.identity, identity(1, 101));
    assert_eq!(catalog.by_kb("1".into()).await.unwrap(), [now]);
    // The bundle goes on to the new one: nothing names the old one any more.
    import(&catalog, vec![small(Update { bundles: bundle(&[identity(1, 101)]), ..update(2, 2) })]).await;
    assert!(catalog.revision(kept).await.unwrap().is_none());
    // It comes back under its old number, as a bundle wants it.
    let applied = import(&catalog, vec![small(Update { bundles: bundle(&[identity(1, 100)]), ..update(3, 1) })]).await;
    assert_eq!(applied.wanted, 1);
    assert_eq!(catalog.wanted("all".into(), None, 10).await.unwrap(), [identity(1, 100)]);
    import(&catalog, vec![small(update(1, 100))]).await;
    assert_eq!(catalog.number(identity(1, 100)).await.unwrap(), Some(kept));
    assert!(!catalog.revision(kept).await.unwrap().unwrap().summary.current);
    assert!(catalog.wanted("all".into(), None, 10).await.unwrap().is_empty());
    store.close().await.unwrap();
}

#[tokio::test]
async fn large_documents_go_in_and_out_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    let text = document(identity(1, 1), 0, 3_000_000);
    let mut stage = catalog.stage();
    for piece in text.as_bytes().chunks(70_001) {
        stage.write(piece).await.unwrap();
    }
    let staged = stage.finish().await.unwrap();
    assert_eq!(staged.len(), text.len() as u64);
    // One that is never used, and one that is still being written.
    drop(import(&catalog, vec![]).await);
    let mut left = catalog.stage();
    left.write(&vec![b'x'; 600_000]).await.unwrap();
    drop(left);
    let mut open_one = catalog.stage();
    open_one.write(&vec![b'y'; 600_000]).await.unwrap();
    catalog.sweep().await.unwrap();
    let incoming = Incoming { document: Body::Staged(staged), core: text.clone().into(), ..small(update(1, 1)) };
    import(&catalog, vec![incoming]).await;
    open_one.write(b"z").await.unwrap();
    let other = open_one.finish().await.unwrap();
    let incoming = Incoming { document: Body::Staged(other), ..small(update(2, 1)) };
    import(&catalog, vec![incoming]).await;
    catalog.sweep().await.unwrap();
    assert_eq!(text_of(&catalog, 1, Part::Document).await.unwrap(), text);
    assert_eq!(text_of(&catalog, 1, Part::Core).await.unwrap(), text);
    assert_eq!(
        text_of(&catalog, 1, Part::Extended).await.unwrap(),
        "extended of ".to_owned() + &identity(1, 1).to_string()
    );
    assert_eq!(text_of(&catalog, 2, Part::Document).await.unwrap().len(), 600_001);
    let Some(Text::Long(mut reading)) = catalog.text(1, Part::Document).await.unwrap() else { panic!("not in pieces") };
    reading.next().await.unwrap().unwrap();
    import(&catalog, vec![small(update(1, 2))]).await;
    catalog.sweep().await.unwrap();
    assert!(matches!(reading.next().await, Err(Error::Gone)), "what went ends a reading, and never wrongly");
    store.close().await.unwrap();
    assert_eq!(blobs_in(dir.path()), 1);
}

fn blobs_in(path: &Path) -> u64 {
    use redb::{ReadableDatabase, ReadableTableMetadata};
    let db = redb::Database::open(path.join("node.redb")).unwrap();
    let table: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("catalog-blobs.1");
    db.begin_read().unwrap().open_table(table).unwrap().len().unwrap()
}

#[tokio::test]
async fn an_anchor_moves_with_the_last_of_its_data_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    let set = async || {
        let sets = catalog.standing().await.unwrap().sets;
        sets.into_iter().find(|set| set.name == "all").unwrap()
    };
    assert!(catalog.list("all".into(), vec![identity(1, 1)]).await.is_err(), "no list is open");
    let run = catalog.start_run("Microsoft".into()).await.unwrap();
    catalog.open_list("all".into(), "a1".into()).await.unwrap();
    let listed = catalog.list("all".into(), (1..=3).map(|at| identity(at, 1)).collect()).await.unwrap();
    assert_eq!(listed, 3);
    import(&catalog, (1..=2).map(|at| small(update(at, 1))).collect()).await;
    assert!(!catalog.close_list("all".into()).await.unwrap());
    assert_eq!((set().await.anchor, set().await.pending.as_deref(), set().await.wanted), (None, Some("a1"), 1));
    let refused = vec![(identity(3, 1), "its cabinet is damaged".to_owned())];
    let batch = Batch { run: Some(run), set: "all".into(), refused, ..Batch::default() };
    assert_eq!(catalog.import(batch).await.unwrap().anchored, ["all"]);
    assert_eq!((set().await.anchor.as_deref(), set().await.pending, set().await.wanted), (Some("a1"), None, 0));
    let refused = catalog.refused(None, 10).await.unwrap();
    assert_eq!((refused[0].identity, refused[0].reason.as_str()), (identity(3, 1), "its cabinet is damaged"));
    // Nothing new: the anchor moves at once, and what is quarantined is not asked for again.
    catalog.open_list("all".into(), "a2".into()).await.unwrap();
    assert_eq!(catalog.list("all".into(), (1..=3).map(|at| identity(at, 1)).collect()).await.unwrap(), 0);
    assert!(catalog.close_list("all".into()).await.unwrap());
    assert!(catalog.pardon(identity(3, 1)).await.unwrap());
    catalog.end_run(run, Outcome::Failed, "no route".into()).await.unwrap();
    let next = catalog.start_run("Microsoft".into()).await.unwrap();
    catalog.start_run("Microsoft".into()).await.unwrap();
    let runs = catalog.runs(None, 10).await.unwrap();
    assert_eq!(
        runs.iter().map(|run| run.outcome).collect::<Vec<_>>(),
        [Outcome::Running, Outcome::CutOff, Outcome::Failed]
    );
    assert_eq!((runs[1].id, runs[2].reason.as_str(), runs[2].counts.refused), (next, "no route", 1));
    catalog.reset_anchors().await.unwrap();
    assert_eq!(set().await.anchor, None);
    catalog.forget_set("all".into()).await.unwrap();
    assert!(catalog.standing().await.unwrap().sets.iter().all(|set| set.name != "all"));
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_a_new_upstream_does_not_have_goes_only_when_its_first_run_is_in() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    assert!(catalog.begin_upstream(wsus()).await.unwrap() && !catalog.begin_upstream(wsus()).await.unwrap());
    let with_category = Update {
        prerequisites: vec![Clause { any_of: vec![id(5)], is_category: true }],
        bundles: bundle(&[identity(6, 1)]),
        ..update(1, 1)
    };
    let around = |at: u64, to: u64| Update { bundles: bundle(&[identity(to, 1)]), ..update(at, 1) };
    let mut all = vec![small(update(5, 1)), small(update(6, 1)), small(with_category.clone()), small(update(2, 1))];
    all.extend([small(around(7, 8)), small(update(8, 1))]);
    catalog.open_list("all".into(), "w".into()).await.unwrap();
    catalog.list("all".into(), all.iter().map(|one| one.update.identity).collect()).await.unwrap();
    catalog.close_list("all".into()).await.unwrap();
    import(&catalog, all).await;
    assert!(catalog.settle_upstream().await.unwrap());
    assert_eq!(catalog.prune(None).await.unwrap(), 0);
    assert!(catalog.revision(1).await.unwrap().unwrap().summary.unauthenticated);

    assert!(catalog.begin_upstream(microsoft()).await.unwrap());
    let standing = catalog.standing().await.unwrap();
    assert_eq!((standing.upstream, standing.arriving, standing.updates), (Some(wsus()), Some(microsoft()), 6));
    assert!(catalog.settle_upstream().await.is_err(), "nothing came yet");
    catalog.open_list("all".into(), "m".into()).await.unwrap();
    // What is held proves nothing: it is fetched again.
    assert_eq!(catalog.list("all".into(), vec![identity(1, 1), identity(3, 1)]).await.unwrap(), 2);
    catalog.close_list("all".into()).await.unwrap();
    assert!(catalog.settle_upstream().await.is_err(), "something is still wanted");
    assert_eq!(catalog.prune(None).await.unwrap(), 0, "not before it is settled");
    let applied = import(&catalog, vec![small(with_category), small(update(3, 1))]).await;
    assert_eq!((applied.new, applied.changed, applied.wanted), (1, 1, 1), "its member must be fetched again too");
    import(&catalog, vec![small(update(6, 1))]).await;
    assert!(catalog.settle_upstream().await.unwrap());
    let run = catalog.start_run("Microsoft".into()).await.unwrap();
    assert_eq!(catalog.prune(Some(run)).await.unwrap(), 3, "2, and the bundle with what only that contains");
    assert_eq!(catalog.runs(None, 1).await.unwrap()[0].counts.pruned, 3);
    for (at, held) in [(1, true), (2, false), (3, true), (5, true), (6, true), (7, false), (8, false)] {
        assert_eq!(catalog.current(id(at)).await.unwrap().is_some(), held, "{at}");
    }
    let number = catalog.number(identity(2, 1)).await.unwrap().unwrap();
    let changes = catalog.changes(0, 0, 100).await.unwrap();
    assert!(changes.changes.iter().any(|change| change.number == number && !change.held));
    assert_eq!(catalog.standing().await.unwrap().updates, 4);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_list_of_another_upstream_marks_what_is_held_and_fetches_nothing_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let all: Vec<_> = (0..60).map(|at| identity(at, 1)).collect();
    let run = async |anchor: &str, named: &[Identity]| {
        catalog.open_list("all".into(), anchor.into()).await.unwrap();
        let wanted = catalog.list("all".into(), named.to_vec()).await.unwrap();
        (wanted, catalog.close_list("all".into()).await.unwrap())
    };
    assert_eq!(run("a1", &all).await, (60, false));
    assert!(catalog.list("all".into(), all.clone()).await.is_err(), "the list is closed");
    import(&catalog, (0..60).map(|at| small(update(at, 1))).collect()).await;
    catalog.settle_upstream().await.unwrap();
    // Backwards, and with one that nobody has.
    let named: Vec<_> = all.iter().rev().copied().chain([identity(100, 1)]).collect();
    assert_eq!(run("a2", &named).await, (1, false));
    import(&catalog, vec![small(update(100, 1))]).await;
    // Another one that proves itself names half of it: that half is marked as its own, and nothing is fetched.
    let other = Upstream { kind: UpstreamKind::Wsus, address: "https://wsus:8531".into(), unauthenticated: false };
    assert!(catalog.begin_upstream(other).await.unwrap());
    let half: Vec<_> = all.iter().step_by(2).copied().collect();
    assert_eq!(run("w1", &half).await, (0, true));
    assert!(catalog.settle_upstream().await.unwrap());
    assert_eq!(catalog.prune(None).await.unwrap(), 31);
    for one in &all {
        assert_eq!(catalog.current(one.id).await.unwrap().is_some(), half.contains(one), "{one}");
    }
    // A proven catalog is not fetched again from who proves nothing, and an unproven one is from who does.
    assert!(catalog.begin_upstream(wsus()).await.unwrap());
    assert_eq!(run("u1", &half).await, (0, true));
    import(&catalog, vec![small(update(200, 1))]).await;
    assert!(catalog.begin_upstream(microsoft()).await.unwrap());
    assert_eq!(run("m1", &[half.clone(), vec![identity(200, 1)]].concat()).await, (1, false));
    store.close().await.unwrap();
}

#[tokio::test]
async fn who_proves_nothing_changes_nothing_that_was_proven() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    import(&catalog, vec![small(Update { files: vec![file(1)], ..update(1, 1) })]).await;
    catalog.begin_upstream(wsus()).await.unwrap();
    let lie = File { sha256: Some(sha256_of(b"a lie")), ..file(1) };
    let applied = import(
        &catalog,
        vec![incoming(update(1, 1), 5, 2000), small(Update { files: vec![lie.clone()], ..update(2, 1) })],
    )
    .await;
    assert_eq!((applied.refused.len(), applied.new, applied.changed), (2, 0, 0));
    assert_eq!(catalog.files(FileDigest::Sha1(sha1_of(1))).await.unwrap()[0].file.sha256, file(1).sha256);
    import(&catalog, vec![small(Update { files: vec![File { sha1: sha1_of(2), ..lie }], ..update(3, 1) })]).await;
    let known = catalog.files(FileDigest::Sha1(sha1_of(2))).await.unwrap();
    assert!(known[0].unauthenticated);
    // The better one wins, and the old digest leads nowhere any more.
    catalog.begin_upstream(microsoft()).await.unwrap();
    let applied = import(&catalog, vec![small(Update { files: vec![file(2)], ..update(4, 1) })]).await;
    assert_eq!(applied.new, 1, "{applied:?}");
    assert!(!catalog.files(FileDigest::Sha1(sha1_of(2))).await.unwrap()[0].unauthenticated);
    assert!(catalog.files(FileDigest::Sha256(sha256_of(b"a lie"))).await.unwrap().is_empty());
    // Refused for good: not taken, not offered.
    catalog.refuse(identity(4, 1), "differs from Microsoft's".into()).await.unwrap();
    let number = catalog.current(id(4)).await.unwrap().unwrap();
    assert!(catalog.revision(number).await.unwrap().unwrap().summary.refused);
    let page = catalog.search(Query { states: vec![State::Refused], limit: 5, ..Query::default() }).await.unwrap();
    assert_eq!(page.total, 1);
    assert_eq!(import(&catalog, vec![incoming(update(4, 1), 9, 2000)]).await.refused.len(), 1);
    catalog.pardon(identity(4, 1)).await.unwrap();
    assert!(!catalog.revision(number).await.unwrap().unwrap().summary.refused);
    store.close().await.unwrap();
}

/// Opens, fills and closes a list; says how many are to be fetched.
async fn named(catalog: &Catalog, set: &str, all: &[Identity]) -> u64 {
    catalog.open_list(set.into(), "anchor".into()).await.unwrap();
    let wanted = catalog.list(set.into(), all.to_vec()).await.unwrap();
    let members = catalog.list_members(set.into()).await.unwrap();
    catalog.close_list(set.into()).await.unwrap();
    wanted + members
}

async fn refuse(catalog: &Catalog, of: Identity, reason: &str) {
    let refused = vec![(of, reason.to_owned())];
    catalog.import(Batch { set: "all".into(), refused, ..Batch::default() }).await.unwrap();
}

#[tokio::test]
async fn members_of_bundles_outlive_the_list_that_they_were_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let wanted = async |set: &str| catalog.wanted(set.into(), None, 10).await.unwrap();
    let whole = Update { bundles: bundle(&[identity(2, 1), identity(3, 1)]), ..update(1, 1) };
    assert_eq!(named(&catalog, "updates-a", &[identity(1, 1)]).await, 1);
    let batch = Batch { set: "updates-a".into(), updates: vec![small(whole)], ..Batch::default() };
    assert_eq!(catalog.import(batch).await.unwrap().wanted, 2);
    // Other filters: the bundle is held, and its members stand in no list.
    assert_eq!(named(&catalog, "updates-b", &[identity(1, 1)]).await, 2);
    catalog.forget_set("updates-a".into()).await.unwrap();
    assert_eq!(wanted("updates-b").await, [identity(2, 1), identity(3, 1)]);
    // The same where all lists are thrown away.
    catalog.reset_anchors().await.unwrap();
    assert_eq!(named(&catalog, "updates-b", &[identity(1, 1)]).await, 2);
    catalog.import(Batch { updates: vec![small(update(2, 1))], ..Batch::default() }).await.unwrap();
    refuse(&catalog, identity(3, 1), "half a document").await;
    assert_eq!(named(&catalog, "updates-c", &[identity(1, 1)]).await, 0, "held, and refused a moment ago");
    // Another upstream may not have what a former one bundled, unless it names the bundle too.
    let other = Upstream { kind: UpstreamKind::Wsus, address: "https://wsus:8531".into(), unauthenticated: false };
    catalog.begin_upstream(other).await.unwrap();
    assert_eq!(named(&catalog, "updates", &[identity(9, 1)]).await, 1);
    assert_eq!(named(&catalog, "updates", &[identity(1, 1)]).await, 1);
    assert_eq!(wanted("updates").await, [identity(3, 1), identity(9, 1)]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_was_refused_is_asked_for_again_ever_more_seldom() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Hand::new();
    let (store, _) = Store::open(config(dir.path()), Arc::new(RealDisk), clock.clone()).unwrap();
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let again = async || {
        let (set, wanted) = catalog.list_again().await.unwrap();
        assert_eq!(catalog.wanted(set, None, 10).await.unwrap().len() as u64, wanted);
        wanted
    };
    assert_eq!(again().await, 0);
    assert!(catalog.standing().await.unwrap().sets.is_empty(), "there is no list where nothing is on it");
    let one = identity(1, 1);
    refuse(&catalog, one, "half a document").await;
    for days in [0, 1, 7, 30, 30] {
        if days > 0 {
            clock.forward(days * DAY - 1);
            assert_eq!(again().await, 0, "{days} days");
            clock.forward(1);
        }
        assert_eq!(again().await, 1, "{days} days");
        assert_eq!(again().await, 1, "a run that was cut off leaves it on the list");
        refuse(&catalog, one, "half a document").await;
    }
    assert_eq!(again().await, 0);
    assert!(catalog.pardon(one).await.unwrap() && !catalog.pardon(one).await.unwrap());
    assert_eq!(again().await, 1, "what was pardoned is asked for at once");
    import(&catalog, vec![small(update(1, 1))]).await;
    assert_eq!((again().await, catalog.current(id(1)).await.unwrap()), (0, Some(1)));
    catalog.refuse(identity(2, 1), "differs from Microsoft's".into()).await.unwrap();
    clock.forward(100 * DAY);
    assert_eq!(again().await, 0, "what a person or a comparison refused stays refused");
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_was_asked_for_in_vain_is_asked_for_once_it_is_news() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(wsus()).await.unwrap();
    let news = async |identities: &[Identity]| {
        catalog.open_list("all".into(), "next".into()).await.unwrap();
        let wanted = catalog.list_news("all".into(), identities.to_vec()).await.unwrap();
        catalog.close_list("all".into()).await.unwrap();
        wanted
    };
    import(&catalog, vec![small(update(2, 1))]).await;
    for _ in 0..3 {
        refuse(&catalog, identity(1, 5), "it does not come").await;
    }
    assert_eq!(named(&catalog, "all", &[identity(1, 5)]).await, 0, "a list of all that there is names it still");
    assert_eq!(news(&[identity(1, 5), identity(2, 1)]).await, 1, "who names it as news has it now");
    let applied = import(&catalog, vec![small(update(1, 5))]).await;
    assert_eq!((applied.new, catalog.standing().await.unwrap().refused), (1, 0));
    assert_eq!(news(&[identity(1, 5)]).await, 0);
    catalog.refuse(identity(1, 5), "somebody does not want it".into()).await.unwrap();
    assert_eq!(news(&[identity(1, 5)]).await, 0, "what a person or a comparison refused stays refused");
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_is_held_no_more_is_fetched_once_it_is_pardoned() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(wsus()).await.unwrap();
    import(&catalog, vec![small(update(1, 1)), small(update(2, 1))]).await;
    catalog.refuse(identity(1, 1), "somebody does not want it".into()).await.unwrap();
    let other = Upstream { address: "http://other.example".into(), ..wsus() };
    catalog.begin_upstream(other).await.unwrap();
    assert_eq!(named(&catalog, "all", &[identity(2, 1)]).await, 0);
    assert!(catalog.settle_upstream().await.unwrap());
    assert_eq!(catalog.prune(None).await.unwrap(), 1);
    assert!(catalog.current(id(1)).await.unwrap().is_none(), "it is held no more");
    assert!(catalog.pardon(identity(1, 1)).await.unwrap());
    let (set, wanted) = catalog.list_again().await.unwrap();
    assert_eq!((wanted, catalog.wanted(set, None, 10).await.unwrap()), (1, vec![identity(1, 1)]));
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_last_run_of_each_kind_outlives_a_thousand_others() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    let as_kind = |kind| RunNote { kind, ..RunNote::default() };
    let begun = async |kind, outcome| {
        let run = catalog.start_run_as("here".into(), as_kind(kind)).await.unwrap();
        catalog.end_run(run, outcome, String::new()).await.unwrap();
        run
    };
    let first = begun(RunKind::Catalog, Outcome::Successful).await;
    let good = begun(RunKind::Catalog, Outcome::Successful).await;
    let failed = begun(RunKind::Catalog, Outcome::Failed).await;
    let mut last = failed;
    for _ in 0..1_005 {
        last = begun(RunKind::Definitions, Outcome::Successful).await;
    }
    let (mut kept, mut before) = (Vec::new(), None);
    loop {
        let runs = catalog.runs(before, 500).await.unwrap();
        let Some(oldest) = runs.last() else { break };
        before = Some(oldest.id);
        kept.extend(runs.iter().map(|run| run.id));
    }
    assert!(kept.contains(&good) && kept.contains(&failed) && !kept.contains(&first), "{:?}", &kept[kept.len() - 5..]);
    assert!(kept.first() == Some(&last) && (1_000..=1_003).contains(&kept.len()), "{}", kept.len());
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_one_upstream_spoils_another_one_may_send() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(wsus()).await.unwrap();
    import(&catalog, vec![small(update(1, 6)), small(update(2, 6)), small(update(3, 1))]).await;
    catalog.refuse(identity(2, 7), "differs from Microsoft's".into()).await.unwrap();
    refuse(&catalog, identity(1, 7), "half a document").await;
    refuse(&catalog, identity(9, 1), "what nobody else ever names").await;
    assert_eq!(named(&catalog, "all", &[identity(1, 7)]).await, 0);
    catalog.begin_upstream(microsoft()).await.unwrap();
    assert_eq!(named(&catalog, "all", &[identity(1, 7), identity(2, 7), identity(3, 1)]).await, 3);
    let genuine = import(&catalog, vec![small(update(3, 1)), small(update(2, 7))]).await;
    assert!(genuine.refused.is_empty(), "a comparison with the publisher does not bind it: {:?}", genuine.refused);
    refuse(&catalog, identity(1, 7), "a proxy had a bad hour").await;
    assert!(catalog.settle_upstream().await.unwrap());
    assert_eq!(catalog.prune(None).await.unwrap(), 0, "what is held in the place of what was refused stays");
    for (at, revision) in [(1, 6), (2, 7)] {
        let current = catalog.current(id(at)).await.unwrap();
        assert_eq!((current, current.is_some()), (catalog.number(identity(at, revision)).await.unwrap(), true), "{at}");
    }
    let left: Vec<_> = catalog.refused(None, 10).await.unwrap().into_iter().map(|one| one.identity).collect();
    assert_eq!(left, [identity(1, 7)], "what only the former upstream named is told no longer");
    assert_eq!(catalog.standing().await.unwrap().refused, 1);
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_was_vouched_for_and_then_refused_is_fetched_from_its_publisher() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(wsus()).await.unwrap();
    import(&catalog, vec![small(update(1, 6)), small(update(2, 6))]).await;
    let (doubtful, _) = catalog.doubtful(None).await.unwrap();
    assert_eq!(catalog.vouch_for(doubtful).await.unwrap(), 2);
    catalog.refuse(identity(1, 6), "it bundles 3, which is not what Microsoft publishes".into()).await.unwrap();
    catalog.begin_upstream(microsoft()).await.unwrap();
    assert_eq!(named(&catalog, "all", &[identity(1, 6), identity(2, 6)]).await, 1, "2/6 is as good as it can be");
    import(&catalog, vec![small(update(1, 6))]).await;
    let number = catalog.number(identity(1, 6)).await.unwrap().unwrap();
    assert!(!catalog.revision(number).await.unwrap().unwrap().summary.refused);
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_a_comparison_refused_binds_whoever_is_not_the_publisher() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(wsus()).await.unwrap();
    import(&catalog, vec![small(update(1, 6)), small(update(2, 6))]).await;
    catalog.refuse(identity(1, 7), "differs from Microsoft's".into()).await.unwrap();
    let another = Upstream { address: "https://other.example".into(), unauthenticated: false, ..wsus() };
    catalog.begin_upstream(another).await.unwrap();
    assert_eq!(named(&catalog, "all", &[identity(1, 7), identity(2, 6)]).await, 1, "2/6 from who proves itself");
    let again = import(&catalog, vec![small(update(1, 7))]).await;
    assert_eq!(again.refused.len(), 1, "sent unasked it is refused as well");
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_was_refused_keeps_no_place_from_what_is_genuine() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(wsus()).await.unwrap();
    import(&catalog, vec![small(update(1, 5))]).await;
    import(&catalog, vec![small(update(1, 999))]).await;
    catalog.refuse(identity(1, 999), "Microsoft's newest is 5".into()).await.unwrap();
    catalog.ask_for(identity(1, 5)).await.unwrap();
    let wanted = async || {
        let (set, _) = catalog.list_again().await.unwrap();
        catalog.wanted(set, None, 10).await.unwrap()
    };
    assert_eq!(wanted().await, [identity(1, 5)], "no list names it any more");
    let applied = import(&catalog, vec![small(update(1, 5))]).await;
    assert_eq!((applied.left_out, applied.changed), (0, 1));
    let current = catalog.current(id(1)).await.unwrap();
    assert_eq!((current, current.is_some()), (catalog.number(identity(1, 5)).await.unwrap(), true));
    assert_eq!(named(&catalog, "all", &[identity(1, 999)]).await, 0, "what was refused stays away");
    catalog.ask_for(identity(1, 5)).await.unwrap();
    assert!(wanted().await.is_empty(), "what is current is not asked for");
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_higher_number_of_a_former_upstream_gives_way() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    let now = async |at: u64| {
        let number = catalog.current(id(at)).await.unwrap().unwrap();
        let summary = catalog.revision(number).await.unwrap().unwrap().summary;
        (summary.identity.revision, summary.unauthenticated)
    };
    catalog.begin_upstream(microsoft()).await.unwrap();
    import(&catalog, vec![small(update(1, 6)), small(update(2, 6))]).await;
    catalog.begin_upstream(wsus()).await.unwrap();
    // A lower one of who proves nothing takes the place of nothing that is proven; a higher one is news.
    import(&catalog, vec![small(Update { publication: Publication::Expired, ..update(1, 7) }), small(update(2, 5))])
        .await;
    // It bundles the one that was true, so that this stays held.
    import(&catalog, vec![small(Update { bundles: bundle(&[identity(3, 6)]), ..update(4, 1) })]).await;
    import(&catalog, vec![small(update(3, 7)), small(update(3, 6))]).await;
    assert_eq!((now(1).await, now(2).await, now(3).await), ((7, true), (6, false), (7, true)));
    catalog.begin_upstream(microsoft()).await.unwrap();
    let all = [identity(1, 6), identity(2, 6), identity(3, 6), identity(4, 1)];
    assert_eq!(named(&catalog, "all", &all).await, 3);
    let whole = Update { bundles: bundle(&[identity(3, 6)]), ..update(4, 1) };
    let applied = import(&catalog, vec![small(whole), small(update(1, 6)), small(update(3, 6))]).await;
    assert_eq!((applied.changed, applied.left_out), (3, 0));
    assert_eq!((now(1).await, now(3).await), ((6, false), (6, false)));
    assert!(catalog.settle_upstream().await.unwrap());
    assert_eq!(catalog.prune(None).await.unwrap(), 0);
    // Of one upstream the higher one counts, in any order, and it is not fetched again.
    import(&catalog, vec![small(update(1, 8)), small(update(1, 7))]).await;
    assert_eq!((now(1).await, named(&catalog, "all", &all[1..]).await), ((8, false), 0));
    let lost = catalog.number(identity(3, 7)).await.unwrap().unwrap();
    assert!(catalog.revision(lost).await.unwrap().is_none());
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_digest_that_nobody_proved_does_not_become_a_proven_one() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(wsus()).await.unwrap();
    let lie = File { sha256: Some(sha256_of(b"a lie")), name: "lie.cab".into(), ..file(1) };
    import(&catalog, vec![small(Update { files: vec![lie], ..update(1, 1) })]).await;
    catalog.begin_upstream(microsoft()).await.unwrap();
    // As older updates are: without a SHA-256.
    import(&catalog, vec![small(Update { files: vec![File { sha256: None, ..file(1) }], ..update(2, 1) })]).await;
    let known = catalog.files(FileDigest::Sha1(sha1_of(1))).await.unwrap();
    assert_eq!((known[0].file.sha256, known[0].unauthenticated), (None, false));
    assert_eq!(known[0].urls, ["http://dl.example/windows-1.cab"]);
    assert!(catalog.files(FileDigest::Sha256(sha256_of(b"a lie"))).await.unwrap().is_empty());
    store.close().await.unwrap();
}

#[tokio::test]
async fn only_what_is_offered_makes_others_superfluous() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let over = |at: u64, revision: u32, of: &[u64]| {
        small(Update { supersedes: of.iter().copied().map(id).collect(), ..update(at, revision) })
    };
    let by = async |at: u64| catalog.superseded_by(id(at)).await.unwrap();
    let state = async |at: u64| {
        let page = catalog.search(Query { kb: Some(at.to_string()), limit: 2, ..Query::default() }).await.unwrap();
        page.hits[0].state
    };
    // The first search, so that what follows must be told to the index in memory.
    import(&catalog, vec![small(update(1, 1)), over(2, 1, &[1])]).await;
    assert_eq!((by(1).await, state(1).await), (vec![2], State::Superseded));
    catalog.refuse(identity(2, 1), "differs from Microsoft's".into()).await.unwrap();
    assert_eq!((by(1).await, state(1).await, state(2).await), (vec![], State::Current, State::Refused));
    catalog.pardon(identity(2, 1)).await.unwrap();
    assert_eq!((by(1).await, state(1).await), (vec![2], State::Superseded));
    // Two that name each other, and one that names itself.
    import(&catalog, vec![over(3, 1, &[4, 3]), over(4, 1, &[3])]).await;
    assert_eq!(
        (by(3).await, by(4).await, state(3).await, state(4).await),
        (vec![], vec![], State::Current, State::Current)
    );
    import(&catalog, vec![over(3, 2, &[])]).await;
    assert_eq!((by(3).await.len(), state(3).await, state(4).await), (1, State::Superseded, State::Current));
    // Who proves nothing makes nothing superfluous that was proven.
    catalog.begin_upstream(wsus()).await.unwrap();
    import(&catalog, vec![small(update(6, 1)), over(5, 1, &[4, 6])]).await;
    assert_eq!((state(4).await, state(6).await), (State::Current, State::Superseded));
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_upstream_that_has_no_updates_takes_none_away() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    let product = || small(Update { kind: Kind::Category(CategoryKind::Product), deployable: false, ..update(1, 1) });
    catalog.begin_upstream(wsus()).await.unwrap();
    named(&catalog, "all", &[identity(1, 1), identity(2, 1)]).await;
    import(&catalog, vec![product(), small(update(2, 1))]).await;
    assert!(catalog.settle_upstream().await.unwrap());
    catalog.begin_upstream(microsoft()).await.unwrap();
    assert_eq!(named(&catalog, "all", &[identity(1, 1)]).await, 1);
    import(&catalog, vec![product()]).await;
    let error = catalog.settle_upstream().await.unwrap_err().to_string();
    assert!(error.contains("not one update"), "{error}");
    assert_eq!(catalog.prune(None).await.unwrap(), 0);
    named(&catalog, "all", &[identity(3, 1)]).await;
    import(&catalog, vec![small(update(3, 1))]).await;
    assert!(catalog.settle_upstream().await.unwrap());
    assert_eq!(catalog.prune(None).await.unwrap(), 1);
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_update_may_correct_what_it_alone_said_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    let with =
        |at: u64, revision: u32, size: u64| Update { files: vec![File { size, ..file(1) }], ..update(at, revision) };
    let run = catalog.start_run("Microsoft".into()).await.unwrap();
    import(&catalog, vec![small(with(1, 1, 10))]).await;
    assert_eq!(import(&catalog, vec![small(with(1, 2, 20))]).await.changed, 1);
    assert_eq!(catalog.files(FileDigest::Sha1(sha1_of(1))).await.unwrap()[0].file.size, 20);
    let batch = Batch {
        run: Some(run),
        updates: vec![small(with(2, 1, 10)), small(with(3, 1, 20))],
        came: vec![500, 70],
        ..Batch::default()
    };
    assert_eq!(catalog.import(batch).await.unwrap().refused.len(), 1, "another update says otherwise");
    // What was taken is counted with it.
    let counts = catalog.runs(None, 1).await.unwrap()[0].counts;
    assert_eq!((counts.files, counts.bytes, counts.new, counts.refused), (1, 70, 1, 1));
    store.close().await.unwrap();
}

/// Changes the index of a store that is closed.
fn meddle(path: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let db = redb::Database::open(path.join("node.redb")).unwrap();
    let tx = db.begin_write().unwrap();
    change(&tx);
    tx.commit().unwrap();
}

#[tokio::test]
async fn a_revision_that_cannot_be_read_gives_way_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let broken = Update {
        bundles: bundle(&[identity(2, 1)]),
        prerequisites: vec![Clause { any_of: vec![id(3)], is_category: false }],
        supersedes: vec![id(4)],
        files: vec![file(1), file(2)],
        ..update(1, 1)
    };
    import(&store.catalog(), vec![small(broken), small(Update { files: vec![file(2)], ..update(5, 1) })]).await;
    store.close().await.unwrap();
    meddle(dir.path(), |tx| {
        let packs: redb::TableDefinition<'_, u32, &[u8]> = redb::TableDefinition::new("catalog-packs.1");
        tx.open_table(packs).unwrap().insert(1, b"rubbish".as_slice()).unwrap();
    });
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    assert!(catalog.revision(1).await.is_err());
    let applied = import(&catalog, vec![small(update(1, 2))]).await;
    assert_eq!((applied.changed, applied.refused.len()), (1, 0));
    assert!(catalog.revision(1).await.unwrap().is_none() && catalog.parents(identity(2, 1)).await.unwrap().is_empty());
    assert!(catalog.dependents(id(3), None, 10).await.unwrap().is_empty());
    assert!(catalog.superseded_by(id(4)).await.unwrap().is_empty());
    assert!(catalog.files(FileDigest::Sha1(sha1_of(1))).await.unwrap().is_empty());
    assert_eq!(catalog.files(FileDigest::Sha1(sha1_of(2))).await.unwrap()[0].users.len(), 1);
    assert_eq!(catalog.by_kb("1".into()).await.unwrap().len(), 1);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_list_that_no_upstream_has_ends_a_run_instead_of_being_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.catalog().open_list("all".into(), "a".into()).await.unwrap();
    store.close().await.unwrap();
    meddle(dir.path(), |tx| {
        let sets: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("catalog-sets.1");
        // Version, no anchor, pending "a", not listed, 8 Mi wanted, never.
        let row = [1, 0, 1, 1, b'a', 0, 0x80, 0x80, 0x80, 4, 0];
        tx.open_table(sets).unwrap().insert("all", row.as_slice()).unwrap();
    });
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    assert_eq!(catalog.standing().await.unwrap().sets[0].wanted, 8 << 20);
    let error = catalog.list("all".into(), vec![identity(1, 1)]).await.unwrap_err().to_string();
    assert!(error.contains("8388608") && error.contains("wrong"), "{error}");
    assert!(catalog.wanted("all".into(), None, 1).await.unwrap().is_empty());
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_went_and_came_back_at_once_is_not_counted_as_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    let of = |at: u64, revision: u32, members: &[Identity]| {
        small(Update { bundles: bundle(members), ..update(at, revision) })
    };
    let old = identity(1, 1);
    import(&catalog, vec![of(2, 1, &[old]), small(update(1, 1)), small(update(1, 2))]).await;
    let number = catalog.number(old).await.unwrap().unwrap();
    import(&catalog, vec![of(2, 2, &[]), of(3, 1, &[old]), small(update(1, 1))]).await;
    let lines = catalog.changes(0, 0, 100).await.unwrap().changes;
    assert!(lines.iter().any(|line| line.number == number && line.held));
    let gone = lines.iter().filter(|line| !line.held).count() as u64;
    store.close().await.unwrap();
    use redb::ReadableDatabase;
    let db = redb::Database::open(dir.path().join("node.redb")).unwrap();
    let numbers: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("catalog-numbers.1");
    let counted = db.begin_read().unwrap().open_table(numbers).unwrap().get("gone-count").unwrap().unwrap().value();
    assert_eq!(counted, gone);
    drop(db);
    // A count that is wrong is put right, and the sweep ends.
    meddle(dir.path(), |tx| drop(tx.open_table(numbers).unwrap().insert("gone-count", 1_000_000).unwrap()));
    let (store, _) = open(dir.path());
    tokio::time::timeout(std::time::Duration::from_mins(1), store.catalog().sweep()).await.unwrap().unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn nonsense_is_refused_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    let many = Update { supersedes: vec![id(9); 30_000], ..update(1, 1) };
    let twice = Update { files: vec![file(1), File { size: 5, ..file(1) }], ..update(2, 1) };
    let kb = Update { kbs: vec!["1\u{0}2".into()], ..update(3, 1) };
    let mut language = small(update(4, 1));
    language.localized.push(("en".into(), "again".to_owned().into()));
    let itself = Update { supersedes: vec![id(5)], ..update(5, 1) };
    // Nobody could install these: one needs itself, one contains itself. Those that go round over others are held.
    let needs = Update { prerequisites: vec![Clause { any_of: vec![id(7)], is_category: false }], ..update(7, 1) };
    let around = |at: u64, to: u64| small(Update { bundles: bundle(&[identity(to, 1)]), ..update(at, 1) });
    let circles = [small(needs), around(8, 8), around(9, 10), around(10, 11), around(11, 9)];
    let mut all = vec![small(many), small(twice), small(kb), language, small(itself), small(update(6, 1))];
    all.extend(circles);
    let applied = import(&catalog, all).await;
    assert_eq!((applied.refused.len(), applied.new), (6, 5), "{applied:?}");
    let refused = catalog.refused(None, 10).await.unwrap();
    let why = |at: u64| refused.iter().find(|one| one.identity == identity(at, 1)).unwrap().reason.clone();
    assert_eq!((why(7).as_str(), why(8).as_str()), ("it is its own prerequisite", "it bundles itself"));
    assert_eq!(refused.len(), 6, "{refused:?}");
    let page = catalog.search(Query { kb: Some("5".into()), limit: 2, ..Query::default() }).await.unwrap();
    assert_eq!(page.hits[0].state, State::Current, "nothing supersedes itself");
    import(&catalog, vec![small(update(5, 2))]).await;
    assert!(catalog.number(identity(5, 1)).await.unwrap().is_some());
    assert_eq!(catalog.standing().await.unwrap().revisions, 5);
    for bad in ["", "a\0b"] {
        assert!(catalog.open_list(bad.into(), "a".into()).await.is_err());
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn pages_of_a_search_show_everything_once_and_dictionaries_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    // Enough for the first dictionary.
    for part in 0..6 {
        import(&catalog, (part * 100..part * 100 + 100).map(|at| small(update(at, 1))).collect()).await;
    }
    let pages = async |catalog: &Catalog, limit: usize| {
        let (mut seen, mut query) = (Vec::new(), Query { text: "security".into(), limit, ..Query::default() });
        loop {
            let page = catalog.search(query.clone()).await.unwrap();
            assert_eq!(page.total, 600);
            seen.extend(page.hits.iter().map(|hit| hit.summary.identity));
            let Some(next) = page.next else { return seen };
            query.after = Some(next);
        }
    };
    let wanted: Vec<_> = (0..600).rev().map(|at| identity(at, 1)).collect();
    assert_eq!(pages(&catalog, 7).await, wanted);
    assert_eq!(pages(&catalog, PAGE_MAX + 1).await, wanted);
    store.close().await.unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    import(&catalog, vec![small(update(600, 1))]).await;
    for at in [0, 599, 600] {
        let number = catalog.current(id(at)).await.unwrap().unwrap();
        assert_eq!(text_of(&catalog, number, Part::Document).await.unwrap(), document(identity(at, 1), 0, 2000));
        assert_eq!(catalog.revision(number).await.unwrap().unwrap().update, update(at, 1));
    }
    store.close().await.unwrap();
    use redb::{ReadableDatabase, ReadableTableMetadata};
    let db = redb::Database::open(dir.path().join("node.redb")).unwrap();
    let table: redb::TableDefinition<'_, u32, &[u8]> = redb::TableDefinition::new("catalog-dictionaries.1");
    assert_eq!(db.begin_read().unwrap().open_table(table).unwrap().len().unwrap(), 1);
}

#[tokio::test]
async fn a_backup_holds_the_catalog_and_a_rebuild_begins_with_none() {
    let dir = tempfile::tempdir().unwrap();
    let (data, copy) = (dir.path().join("data"), dir.path().join("copy"));
    std::fs::create_dir(&data).unwrap();
    let (store, _) = open(&data);
    let catalog = store.catalog();
    let big = incoming(update(1, 1), 0, 1_200_000);
    import(&catalog, vec![big, small(Update { files: vec![file(1)], ..update(2, 1) })]).await;
    catalog.open_list("all".into(), "a".into()).await.unwrap();
    catalog.list("all".into(), vec![identity(3, 1)]).await.unwrap();
    let standing = catalog.standing().await.unwrap();
    store.backup(copy.clone()).await.unwrap();
    store.close().await.unwrap();
    waystation::store::rebuild(&config(&data), Arc::new(RealDisk), Hand::new(), &mut |_| {}).unwrap();
    let (store, _) = open(&data);
    assert_eq!(store.catalog().standing().await.unwrap().updates, 0);
    assert_eq!(import(&store.catalog(), vec![small(update(9, 1))]).await.new, 1);
    store.close().await.unwrap();
    waystation::store::restore(&config(&data), &RealDisk, &copy).unwrap();
    let (store, _) = open(&data);
    let catalog = store.catalog();
    assert_eq!(catalog.standing().await.unwrap(), standing);
    assert_eq!(text_of(&catalog, 1, Part::Document).await.unwrap(), document(identity(1, 1), 0, 1_200_000));
    assert_eq!(catalog.files(FileDigest::Sha1(sha1_of(1))).await.unwrap().len(), 1);
    store.close().await.unwrap();
}

/// What the workload brings: 60 updates, so that a batch takes more than one transaction, one of them large; each bundles
/// the one before it.
fn brought(at: u64, revision: u32) -> Incoming {
    let update = Update {
        bundles: if at > 1 { bundle(&[identity(at - 1, revision)]) } else { vec![] },
        files: vec![file(at)],
        ..update(at, revision)
    };
    incoming(update, 0, if at == 30 { 1_100_000 } else { 1500 })
}

const BROUGHT: u64 = 60;

fn listed(revision: u32) -> Vec<Identity> {
    (1..=BROUGHT).map(|at| identity(at, revision)).collect()
}

/// One run: a list, its data, and what was acknowledged.
async fn one_run(catalog: &Catalog, revision: u32, acked: &mut BTreeSet<Identity>) -> Result<(), Error> {
    let run = catalog.start_run("Microsoft".into()).await?;
    let set = catalog.standing().await?.sets.into_iter().find(|set| set.name == "all");
    if set.is_none_or(|set| !set.listed && set.anchor.as_deref() != Some(&format!("a{revision}"))) {
        catalog.open_list("all".into(), format!("a{revision}")).await?;
        catalog.list("all".into(), listed(revision)).await?;
        catalog.close_list("all".into()).await?;
    }
    loop {
        let wanted = catalog.wanted("all".into(), None, 55).await?;
        if wanted.is_empty() {
            break;
        }
        let mut updates = Vec::new();
        for identity in &wanted {
            let at = u64::from_be_bytes(identity.id.bytes()[8..].try_into().unwrap());
            updates.push(brought(at, identity.revision));
        }
        catalog.import(Batch { run: Some(run), set: "all".into(), updates, ..Batch::default() }).await?;
        acked.extend(wanted);
    }
    catalog.end_run(run, Outcome::Successful, String::new()).await
}

async fn workload(store: &Store, acked: &mut BTreeSet<Identity>) -> Result<(), Error> {
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await?;
    one_run(&catalog, 1, acked).await?;
    catalog.settle_upstream().await?;
    one_run(&catalog, 2, acked).await?;
    catalog.sweep().await
}

async fn check_catalog(store: &Store, acked: &BTreeSet<Identity>) -> Result<(), String> {
    let catalog = store.catalog();
    let standing = catalog.standing().await.unwrap();
    let mut held = BTreeMap::new();
    for at in 1..=BROUGHT {
        for revision in 1..=2 {
            let Some(number) = catalog.number(identity(at, revision)).await.unwrap() else { continue };
            let Some(found) = catalog.revision(number).await.map_err(|error| error.to_string())? else { continue };
            let wanted = brought(at, revision);
            if found.update != wanted.update {
                return Err(format!("{} is half of this and half of that", found.summary.identity));
            }
            let Body::Text(text) = wanted.document else { unreachable!() };
            if text_of(&catalog, number, Part::Document).await.as_ref() != Some(&text) {
                return Err(format!("the document of {} is another", found.summary.identity));
            }
            held.insert(found.summary.identity, found.summary);
        }
        let current = catalog.current(id(at)).await.unwrap();
        let highest = held.values().filter(|one| one.identity.id == id(at)).map(|one| one.identity.revision).max();
        let number = match highest {
            Some(highest) => catalog.number(identity(at, highest)).await.unwrap(),
            None => None,
        };
        if current != number {
            return Err(format!("{at}: {current:?} counts, {number:?} is the highest"));
        }
    }
    for one in acked {
        let later = identity(u64::from_be_bytes(one.id.bytes()[8..].try_into().unwrap()), 2);
        if !held.contains_key(one) && !held.contains_key(&later) {
            return Err(format!("{one} was acknowledged and is lost"));
        }
    }
    let changes = catalog.changes(0, 0, 1000).await.unwrap();
    let lines: BTreeMap<u32, u64> =
        changes.changes.iter().filter(|line| line.held).map(|line| (line.number, line.at)).collect();
    if lines != held.values().map(|one| (one.number, one.changed)).collect() {
        return Err("the log does not tell of what is held".into());
    }
    if changes.changes.iter().any(|line| line.at > changes.clock) {
        return Err("the log is ahead of its clock".into());
    }
    let Some(set) = standing.sets.first() else { return Ok(()) };
    let wanted: BTreeSet<_> = catalog.wanted("all".into(), None, 1000).await.unwrap().into_iter().collect();
    if set.wanted != wanted.len() as u64 {
        return Err(format!("{} are wanted, and {} are counted", wanted.len(), set.wanted));
    }
    for revision in 1..=2 {
        let name = format!("a{revision}");
        let is_in = |one: &Identity| held.contains_key(one) || held.contains_key(&Identity { revision: 2, ..*one });
        if set.anchor.as_ref() == Some(&name) && !listed(revision).iter().all(is_in) {
            return Err(format!("anchor {name} is ahead of its data"));
        }
        if set.pending.as_ref() == Some(&name)
            && set.listed
            && !listed(revision).iter().all(|one| is_in(one) || wanted.contains(one))
        {
            return Err(format!("something of list {name} is neither held nor wanted"));
        }
    }
    let runs = catalog.runs(None, 100).await.unwrap();
    let (new, changed) = runs.iter().fold((0, 0), |sum, run| (sum.0 + run.counts.new, sum.1 + run.counts.changed));
    let of_second = held.keys().filter(|one| one.revision == 2).count() as u64;
    if (new, changed) != (standing.updates, of_second) {
        return Err(format!(
            "the history counts {new} new and {changed} changed, held are {} and {of_second}",
            standing.updates
        ));
    }
    Ok(())
}

#[tokio::test]
async fn power_that_goes_during_a_sync_keeps_the_old_or_the_new() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let (store, _) = open_on(&disk, dir.path()).unwrap();
    let mut acked = BTreeSet::new();
    let begun = disk.syncs();
    workload(&store, &mut acked).await.unwrap();
    check_catalog(&store, &acked).await.unwrap();
    let whole = store.catalog().standing().await.unwrap();
    assert_eq!((whole.updates, whole.revisions, whole.sets[0].anchor.as_deref()), (60, 60, Some("a2")));
    store.close().await.unwrap();
    let syncs = disk.syncs();
    assert!(syncs - begun > 40, "the workload has only {} syncs", syncs - begun);
    let mut wrong = Vec::new();
    for sync in begun..syncs {
        {
            let seed = 1000 + sync;
            let before = tempfile::tempdir().unwrap();
            let disk = FaultDisk::new(before.path());
            disk.off_at(sync);
            let mut acked = BTreeSet::new();
            let (store, _) = open_on(&disk, before.path()).unwrap();
            if workload(&store, &mut acked).await.is_ok() {
                drop(store.close().await);
            }
            drop(store);
            let after = tempfile::tempdir().unwrap();
            disk.crash(seed, after.path());
            let (store, _) = open(after.path());
            if let Err(what) = check_catalog(&store, &acked).await {
                wrong.push(format!("sync {sync}, seed {seed}: {what}"));
                continue;
            }
            // It goes on where it was, and ends as if nothing had been.
            workload(&store, &mut acked).await.unwrap();
            if let Err(what) = check_catalog(&store, &acked).await {
                wrong.push(format!("sync {sync}, seed {seed}, gone on: {what}"));
            }
            let now = store.catalog().standing().await.unwrap();
            if (now.updates, now.revisions, &now.sets[0].anchor) != (60, 60, &whole.sets[0].anchor) {
                wrong.push(format!("sync {sync}, seed {seed}: {now:?}"));
            }
            store.close().await.unwrap();
            if blobs_in(after.path()) != 2 {
                wrong.push(format!("sync {sync}, seed {seed}: {} blobs are left", blobs_in(after.path())));
            }
        }
    }
    assert!(wrong.is_empty(), "{} crashes went wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What the model knows of a held revision.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    update: Update,
    salt: u64,
}

#[derive(Debug, Default)]
struct Model {
    held: BTreeMap<Identity, Known>,
    numbers: BTreeMap<Identity, u32>,
    wanted: BTreeSet<Identity>,
    /// Refused for good, while it was held.
    refused: BTreeSet<Identity>,
    /// The revision that counts, of each update.
    newest: BTreeMap<UpdateId, Identity>,
}

impl Model {
    fn may_come(&self, one: Identity) -> bool {
        !self.held.contains_key(&one) && !self.refused.contains(&one)
    }

    /// Whether `by` is offered and says that it supersedes `of`.
    fn says(&self, by: UpdateId, of: UpdateId) -> bool {
        let current = self.current(by).filter(|one| !self.refused.contains(one));
        current.is_some_and(|one| {
            let update = &self.held[&one].update;
            update.publication == Publication::Published && update.supersedes.contains(&of)
        })
    }

    /// Whether that counts: not of itself, and not where the other says the same of it.
    fn counts(&self, by: UpdateId, of: UpdateId) -> bool {
        by != of && self.says(by, of) && !self.says(of, by)
    }

    fn current(&self, of: UpdateId) -> Option<Identity> {
        self.newest.get(&of).copied()
    }

    fn is_member(&self, one: Identity) -> bool {
        self.held.values().any(|known| known.update.members().any(|member| member == one))
    }

    fn take(&mut self, update: &Update, salt: u64) {
        let one = update.identity;
        self.wanted.remove(&one);
        if self.refused.contains(&one) {
            return;
        }
        let before = self.current(one.id);
        let is_newest = before.is_none_or(|before| one >= before || self.refused.contains(&before));
        let is_as_it_was = (before == Some(one)) == is_newest;
        if is_as_it_was && self.held.get(&one).is_some_and(|known| known.salt == salt) {
            return;
        }
        if !is_newest && !self.is_member(one) {
            return;
        }
        if is_newest {
            self.newest.insert(one.id, one);
        }
        self.held.insert(one, Known { update: update.clone(), salt });
        let missing: Vec<_> = update.members().filter(|member| self.may_come(*member)).collect();
        self.wanted.extend(missing);
        // What does not count and is named by nobody goes, and then what only that named.
        while let Some(lost) =
            (self.held.keys().copied()).find(|one| self.current(one.id) != Some(*one) && !self.is_member(*one))
        {
            self.held.remove(&lost);
        }
    }
}

async fn agree(catalog: &Catalog, model: &mut Model, step: u64) {
    let (mut held, mut lines) = (0, BTreeMap::new());
    for at in 0..10 {
        let current = model.current(id(at));
        let number = catalog.current(id(at)).await.unwrap();
        assert_eq!(number.is_some(), current.is_some(), "step {step}: {at}");
        for revision in 1..=4 {
            let one = identity(at, revision);
            let number = catalog.number(one).await.unwrap();
            if let (Some(known), Some(number)) = (model.numbers.get(&one), number) {
                assert_eq!(*known, number, "step {step}: a number changed");
            }
            let found = match number {
                Some(number) => catalog.revision(number).await.unwrap(),
                None => None,
            };
            let known = model.held.get(&one);
            assert_eq!(
                found.as_ref().map(|found| &found.update),
                known.map(|known| &known.update),
                "step {step}: {one}"
            );
            let (Some(found), Some(known)) = (found, known) else { continue };
            held += 1;
            let number = found.summary.number;
            model.numbers.insert(one, number);
            lines.insert(number, found.summary.changed);
            assert_eq!(found.summary.current, current == Some(one), "step {step}: {one}");
            let text = text_of(catalog, number, Part::Document).await.unwrap();
            assert_eq!(text, document(one, known.salt, 2000), "step {step}");
        }
        let namers = |say: &dyn Fn(&Update) -> bool, also_old: bool| -> BTreeSet<u32> {
            let all = model
                .held
                .iter()
                .filter(|(one, known)| (also_old || model.current(one.id) == Some(**one)) && say(&known.update));
            all.map(|(one, _)| model.numbers.get(one).copied().unwrap_or_default()).collect()
        };
        // Numbers of those behind `at` may be new: they are asked for in the second half.
        if model.held.keys().any(|one| !model.numbers.contains_key(one)) {
            continue;
        }
        let set = |found: Vec<u32>| found.into_iter().collect::<BTreeSet<_>>();
        let of = id(at);
        let needs = |update: &Update| update.prerequisites.iter().any(|clause| clause.any_of.contains(&of));
        let supersedes = |update: &Update| model.counts(update.identity.id, of);
        assert_eq!(set(catalog.dependents(of, None, 100).await.unwrap()), namers(&needs, false), "step {step}");
        assert_eq!(catalog.leaves(vec![of]).await.unwrap(), [namers(&needs, false).is_empty()], "step {step}");
        assert_eq!(set(catalog.superseded_by(of).await.unwrap()), namers(&supersedes, false), "step {step}");
        let kb = |update: &Update| update.kbs.contains(&at.to_string());
        assert_eq!(set(catalog.by_kb(at.to_string()).await.unwrap()), namers(&kb, false), "step {step}");
        let bundles = |update: &Update| update.members().any(|member| member == identity(at, 1));
        assert_eq!(set(catalog.parents(identity(at, 1)).await.unwrap()), namers(&bundles, true), "step {step}");
        let has = |update: &Update| update.files.contains(&file(at));
        let known = catalog.files(FileDigest::Sha256(sha256_of(&at.to_le_bytes()))).await.unwrap();
        let users = known.into_iter().flat_map(|known| known.users).collect::<Vec<_>>();
        assert_eq!(set(users), namers(&has, true), "step {step}");
        let shown = catalog.search(Query { kb: Some(at.to_string()), limit: 10, ..Query::default() }).await.unwrap();
        let state = |hit: &waystation::store::catalog::Hit| {
            let of = hit.summary.identity.id;
            let update = &model.held[&hit.summary.identity].update;
            if model.refused.contains(&hit.summary.identity) {
                State::Refused
            } else if update.publication == Publication::Expired {
                State::Expired
            } else if (0..10).any(|at| model.counts(id(at), of)) {
                State::Superseded
            } else {
                State::Current
            }
        };
        assert_eq!(shown.total, current.map_or(0, |_| 1), "step {step}");
        for hit in &shown.hits {
            assert_eq!(hit.state, state(hit), "step {step}: {hit:?}");
        }
    }
    let standing = catalog.standing().await.unwrap();
    assert_eq!(standing.revisions, held, "step {step}");
    let changes = catalog.changes(0, 0, 10_000).await.unwrap().changes;
    assert!(changes.is_sorted_by_key(|line| (line.at, line.number)), "step {step}");
    let told: BTreeMap<_, _> = changes.iter().filter(|line| line.held).map(|line| (line.number, line.at)).collect();
    assert_eq!(told, lines, "step {step}: the log");
    let wanted: BTreeSet<_> = catalog.wanted("all".into(), None, 1000).await.unwrap().into_iter().collect();
    assert_eq!(wanted, model.wanted, "step {step}: the work list");
}

async fn walk_of(seed: u64, steps: u64) {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.catalog().begin_upstream(microsoft()).await.unwrap();
    let mut dice = Dice::new(seed);
    let mut model = Model::default();
    let mut clock = 0;
    for step in 0..steps {
        if dice.roll(12) == 0 {
            if dice.roll(2) == 0 {
                store.close().await.unwrap();
            }
            drop(store);
            store = open(dir.path()).0;
        }
        if dice.roll(3) == 0 {
            let named: Vec<_> = (0..dice.roll(30)).map(|_| identity(dice.roll(12), 1 + dice.roll(4) as u32)).collect();
            let missing: BTreeSet<_> = named.iter().filter(|one| model.may_come(**one)).copied().collect();
            let new = missing.difference(&model.wanted).count() as u64;
            store.catalog().open_list("all".into(), "anchor".into()).await.unwrap();
            assert_eq!(store.catalog().list("all".into(), named).await.unwrap(), new, "step {step}: a list");
            model.wanted.extend(missing);
        }
        let mut updates = Vec::new();
        for _ in 0..=dice.roll(4) {
            let at = dice.roll(10);
            let some = |dice: &mut Dice| (0..dice.roll(3)).map(|_| dice.roll(10)).collect::<BTreeSet<_>>();
            let revision = 1 + dice.roll(4) as u32;
            let (needs, members, old, files) = (some(&mut dice), some(&mut dice), some(&mut dice), some(&mut dice));
            // What needs or bundles itself is refused, which has a test of its own.
            let any_of: Vec<_> = needs.into_iter().filter(|of| *of != at).map(id).collect();
            let members: Vec<_> =
                members.into_iter().filter(|of| *of != at).map(|of| identity(of, 1 + dice.roll(2) as u32)).collect();
            let update = Update {
                prerequisites: vec![Clause { any_of, is_category: dice.roll(2) == 0 }],
                bundles: bundle(&members),
                supersedes: old.into_iter().map(id).collect(),
                files: files.into_iter().map(file).collect(),
                publication: if dice.roll(5) == 0 { Publication::Expired } else { Publication::Published },
                ..update(at, revision)
            };
            let salt = step * 10 + updates.len() as u64;
            model.take(&update, salt);
            updates.push(incoming(update, salt, 2000));
        }
        import(&store.catalog(), updates).await;
        if dice.roll(4) == 0 && !model.held.is_empty() {
            let some: Vec<_> = model.held.keys().copied().collect();
            let one = some[dice.roll(some.len() as u64) as usize];
            for was in std::mem::take(&mut model.refused) {
                assert!(store.catalog().pardon(was).await.unwrap(), "step {step}");
            }
            store.catalog().refuse(one, "differs".into()).await.unwrap();
            model.refused.insert(one);
        }
        // Twice: the first look learns the numbers of what is new.
        agree(&store.catalog(), &mut model, step).await;
        agree(&store.catalog(), &mut model, step).await;
        let now = store.catalog().standing().await.unwrap().clock;
        assert!(now > clock || step == 0 || now == clock, "step {step}: the clock went back");
        clock = now;
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_random_walk_of_the_catalog_agrees_with_a_plain_model() {
    for seed in 0..4 {
        walk_of(seed, 60).await;
    }
}
