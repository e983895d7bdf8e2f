//! What people decided, and which files are wanted: by policy, over bundles, each once, in the right languages.

use waystation::model::policy::{Choice, Decision, Mode, Wants, Why, Word, Written};
use waystation::store::catalog::{Deciding, Sift, Walk, WantedUpdate};

use super::*;

pub(super) fn sift(mode: Mode, languages: &[&str]) -> Arc<Sift> {
    let written = Written { choice: Choice { mode, level: Severity::Important }, ..Written::default() };
    let (mut policy, _) = written.in_force(&waystation::model::filter::Tree::new([]));
    policy.confirmed = true;
    Arc::new(Sift { policy, filters: None, languages: languages.iter().map(|one| (*one).to_owned()).collect() })
}

pub(super) async fn walk(catalog: &Catalog, sift: &Arc<Sift>) -> Vec<WantedUpdate> {
    let (mut walk, mut all) = (Walk::default(), Vec::new());
    while !walk.is_ended() {
        let (next, found) = catalog.wanted_step(Arc::clone(sift), walk).await.unwrap();
        walk = next;
        all.extend(found);
    }
    all
}

/// Which updates, and which of their files.
fn shape(found: &[WantedUpdate]) -> Vec<(Identity, Vec<u64>)> {
    let size = |update: &WantedUpdate| update.files.iter().map(|file| file.file.size - 1000).collect();
    found.iter().map(|update| (update.identity, size(update))).collect()
}

#[tokio::test]
async fn files_are_those_of_the_whole_bundle_each_once_and_in_the_right_language() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let hidden = |at: u64, language: &str, files: &[u64]| Update {
        deployable: false,
        languages: vec![language.into()],
        files: files.iter().copied().map(file).collect(),
        ..update(at, 1)
    };
    let whole = |at: u64, members: &[Identity]| Update { bundles: bundle(members), ..update(at, 1) };
    let express = File { patching: "Express".into(), ..file(50) };
    import(
        &catalog,
        [
            hidden(1, "en", &[10, 11]),
            hidden(2, "de", &[12]),
            // A bundle in a bundle; one of its parts is nowhere.
            Update { deployable: false, languages: vec![], ..whole(3, &[identity(1, 1), identity(2, 1)]) },
            whole(4, &[identity(3, 1), identity(99, 1)]),
            // Another one with the same file and one of its own.
            Update { files: vec![file(11), file(13)], ..whole(5, &[]) },
            Update { severity: Severity::Low, files: vec![file(14)], ..whole(6, &[]) },
            Update { files: vec![express.clone(), file(51)], ..whole(7, &[]) },
        ]
        .into_iter()
        .map(small)
        .collect(),
    )
    .await;
    let by_severity = sift(Mode::Severity, &[]);
    let found = walk(&catalog, &by_severity).await;
    let expected = vec![(identity(4, 1), vec![10, 11, 12]), (identity(5, 1), vec![13]), (identity(7, 1), vec![])];
    assert_eq!(shape(&found), expected);
    assert_eq!(found[0].missing, 1, "a part that is nowhere is told");
    assert_eq!((found[2].verdict.wants, found[2].verdict.why), (Wants::Asked, Why::Parts));
    let first = &found[0].files[0];
    assert_eq!(
        (first.urls.as_slice(), first.held),
        (["http://dl.example/windows-10.cab".to_owned()].as_slice(), false)
    );
    assert_eq!(first.file.sha256, file(10).sha256);
    let german = shape(&walk(&catalog, &sift(Mode::Severity, &["de"])).await);
    assert_eq!(german[0].1, [12], "of the other part the metadata says that it is for another language");
    assert_eq!(german[1].1, Vec::<u64>::new(), "its own document names another language");
    assert!(walk(&catalog, &sift(Mode::Metadata, &[])).await.is_empty());

    // What an endpoint asked for brings what is like it, and nothing that is read in parts.
    store.asked(&Name::Digest(Digest::Sha1(sha1_of(51))), file(51).size);
    store.asked(&Name::Digest(Digest::Sha1(sha1_of(77))), 1 << 30);
    assert_eq!(catalog.keep_asked().await.unwrap(), 1);
    assert_eq!(catalog.keep_asked().await.unwrap(), 0, "once is enough");
    assert_eq!(shape(&walk(&catalog, &by_severity).await)[2], (identity(7, 1), vec![51]));
    let asked = shape(&walk(&catalog, &sift(Mode::Asked, &[])).await);
    assert_eq!(asked.iter().map(|(_, files)| files.len()).sum::<usize>(), 6, "all of them are like it: {asked:?}");

    // The whole of it by a person's word.
    let number = catalog.current(id(7)).await.unwrap().unwrap();
    catalog.decide(vec![id(7)], Deciding::Approve { all_files: true }, "ada".into(), String::new()).await.unwrap();
    assert_eq!(shape(&walk(&catalog, &by_severity).await)[2], (identity(7, 1), vec![50, 51]));
    assert_eq!(catalog.judge(Arc::clone(&by_severity), number).await.unwrap().unwrap().why, Why::Approved);
    let hidden = catalog.current(id(1)).await.unwrap().unwrap();
    assert_eq!(catalog.judge(by_severity, hidden).await.unwrap(), None, "it cannot be approved by itself");
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_likeness_wants_more_than_a_byte_and_goes_when_nobody_asks() {
    let dir = tempfile::tempdir().unwrap();
    let hand = Hand::new();
    let (store, _) = Store::open(config(dir.path()), Arc::new(RealDisk), Arc::clone(&hand) as Arc<dyn Clock>).unwrap();
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let large = File { name: "large-2.cab".into(), size: 5 << 30, ..file(2) };
    let files = vec![file(1), large, File { name: "large-3.cab".into(), ..file(3) }];
    import(&catalog, vec![small(Update { files, ..update(1, 1) })]).await;
    let (name, by_sha256) =
        (|at| Name::Digest(Digest::Sha1(sha1_of(at))), Name::Digest(Digest::Sha256(file(1).sha256.unwrap())));
    let wanted =
        async || walk(&catalog, &sift(Mode::Asked, &[])).await.into_iter().flat_map(|update| update.files).count();

    // A byte of each, as often as somebody has patience for: nothing comes of it.
    for _ in 0..3 {
        store.asked(&name(1), 1);
        store.asked(&name(2), 1);
        assert_eq!((catalog.keep_asked().await.unwrap(), wanted().await), (0, 0));
    }
    // Half of a small one, all in all; or a MiB.
    store.asked(&name(1), 600);
    assert_eq!((catalog.keep_asked().await.unwrap(), wanted().await), (1, 1));
    store.asked(&name(2), (1 << 20) - 4);
    assert_eq!(catalog.keep_asked().await.unwrap(), 0);
    store.asked(&name(2), 1);
    assert_eq!((catalog.keep_asked().await.unwrap(), wanted().await), (1, 3), "and what is like it");

    // What is still asked for, held or not, stays; what is not goes.
    hand.forward(60 * DAY);
    store.asked(&by_sha256, 1001);
    assert_eq!((catalog.keep_asked().await.unwrap(), wanted().await), (0, 3), "known and renewed");
    hand.forward(31 * DAY);
    assert_eq!(wanted().await, 1);
    hand.forward(60 * DAY);
    assert_eq!(wanted().await, 0);
    store.asked(&name(1), 1001);
    assert_eq!((catalog.keep_asked().await.unwrap(), wanted().await), (1, 1), "it is new again");
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_is_encrypted_is_left_out_and_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let locked = |at: u64| File { encrypted: true, ..file(at) };
    let first = Update { files: vec![file(1), locked(2)], ..update(1, 1) };
    let second = Update { files: vec![locked(2), locked(3)], ..update(2, 1) };
    import(&catalog, vec![small(first), small(second)]).await;
    let found = walk(&catalog, &sift(Mode::Severity, &[])).await;
    assert_eq!(shape(&found), [(identity(1, 1), vec![1]), (identity(2, 1), vec![])]);
    assert_eq!(found.iter().map(|update| update.encrypted).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(walk(&catalog, &sift(Mode::Metadata, &[])).await.len(), 0);
    store.close().await.unwrap();
}

#[tokio::test]
async fn decisions_outlive_revisions_and_know_what_was_superseded() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let with_file = |at: u64, revision: u32| Update { files: vec![file(at)], ..update(at, revision) };
    import(&catalog, vec![small(with_file(1, 1)), small(with_file(2, 1))]).await;
    let decide = async |ids: &[u64], deciding: Deciding| {
        let ids = ids.iter().copied().map(id).collect();
        catalog.decide(ids, deciding, "ada".into(), "tested".into()).await.unwrap()
    };
    let approve = Deciding::Approve { all_files: false };
    assert_eq!(decide(&[1, 2], approve.clone()).await, 2);
    assert_eq!(decide(&[1, 2], approve.clone()).await, 0, "it is the same as before");
    let said = async |at: u64| catalog.decisions(vec![id(at)]).await.unwrap().pop().unwrap();
    let Decision { word, by, why, though_superseded, .. } = said(1).await.unwrap();
    assert_eq!((word, by.as_str(), why.as_str(), though_superseded), (Word::Approved, "ada", "tested", false));

    // Another revision is approved as the first was; something newer takes it away.
    import(&catalog, vec![small(with_file(1, 2))]).await;
    let wanted = sift(Mode::Approved, &[]);
    assert_eq!(shape(&walk(&catalog, &wanted).await), [(identity(2, 1), vec![2]), (identity(1, 2), vec![1])]);
    import(&catalog, vec![small(Update { supersedes: vec![id(1)], ..with_file(3, 1) })]).await;
    assert_eq!(catalog.are_superseded(vec![id(1), id(2)]).await.unwrap(), [true, false]);
    assert_eq!(shape(&walk(&catalog, &wanted).await), [(identity(2, 1), vec![2])]);
    // Whoever says it again knows that.
    assert_eq!(decide(&[1], approve).await, 1);
    assert!(said(1).await.unwrap().though_superseded);
    assert_eq!(walk(&catalog, &wanted).await.len(), 2);
    assert_eq!(decide(&[1, 2, 7], Deciding::Decline).await, 3, "one that is not held, too");
    assert!(walk(&catalog, &wanted).await.is_empty());
    assert_eq!(decide(&[1, 7, 8], Deciding::Reset).await, 2);
    assert_eq!((said(1).await, said(7).await), (None, None));
    store.close().await.unwrap();
    let (store, _) = open(dir.path());
    let kept = store.catalog().decisions(vec![id(2), id(1)]).await.unwrap();
    assert_eq!(kept[0].as_ref().map(|said| said.word), Some(Word::Declined), "kept over a restart");
    assert!(kept[1].is_none());
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_run_remembers_what_was_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    let run = catalog.start_run("here".into()).await.unwrap();
    assert_eq!(catalog.runs(None, 1).await.unwrap()[0].wanted, None);
    catalog.set_run_files(run, 3, 4 << 40).await.unwrap();
    catalog.set_run_files(run + 1, 9, 9).await.unwrap();
    assert_eq!(catalog.runs(None, 1).await.unwrap()[0].wanted, Some((3, 4 << 40)));
    let next = catalog.start_run("here".into()).await.unwrap();
    assert_eq!((next, catalog.runs(None, 1).await.unwrap()[0].wanted), (run + 1, None), "nobody counted for that one");
    store.close().await.unwrap();
}
