//! What people decided, and which files are wanted: by policy, over bundles, each once, in the right languages.

use waystation::model::policy::{Choice, Decision, Mode, Wants, Why, Word, Written};
use waystation::store::catalog::{Deciding, Sift, Walk, WantedUpdate};

use super::*;

pub(super) fn sift(mode: Mode, languages: &[&str]) -> Arc<Sift> {
    let written = Written { choice: Choice { mode, level: Severity::Important }, ..Written::default() };
    let (mut policy, _) = written.in_force(&waystation::model::filter::Tree::new([]));
    policy.confirmed = true;
    Arc::new(Sift {
        policy,
        filters: None,
        languages: languages.iter().map(|one| (*one).to_owned()).collect(),
        drawn: Arc::default(),
    })
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

/// B replaces A. Where nobody is to have B, A is what there is; and B has the fix of A, whatever its own rating is.
#[tokio::test]
async fn what_a_person_declined_supersedes_nothing_and_severity_is_handed_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let older = Update { severity: Severity::Critical, files: vec![file(10)], ..update(1, 1) };
    let newer =
        Update { severity: Severity::Unspecified, supersedes: vec![id(1)], files: vec![file(11)], ..update(2, 1) };
    let other = Update { severity: Severity::Unspecified, files: vec![file(12)], ..update(3, 1) };
    import(&catalog, [older, newer, other].into_iter().map(small).collect()).await;
    let by_severity = sift(Mode::Severity, &[]);
    let why = async |at: u64| {
        let number = catalog.current(id(at)).await.unwrap().unwrap();
        catalog.judge(Arc::clone(&by_severity), number).await.unwrap().unwrap().why
    };
    assert_eq!(shape(&walk(&catalog, &by_severity).await), [(identity(2, 1), vec![11])]);
    assert_eq!((why(1).await, why(2).await, why(3).await), (Why::Superseded, Why::Severity, Why::BelowSeverity));
    catalog.decide(vec![id(2)], Deciding::Decline, "ada".into(), "breaks the label printer".into()).await.unwrap();
    assert_eq!(shape(&walk(&catalog, &by_severity).await), [(identity(1, 1), vec![10])]);
    assert_eq!((why(1).await, why(2).await), (Why::Severity, Why::Declined));
    catalog.decide(vec![id(2)], Deciding::Reset, "ada".into(), String::new()).await.unwrap();
    assert_eq!(shape(&walk(&catalog, &by_severity).await), [(identity(2, 1), vec![11])]);
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

#[tokio::test]
async fn decisions_are_told_by_the_change_log() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let decide = async |ids: &[u64], deciding: Deciding, why: &str| {
        let ids = ids.iter().copied().map(id).collect();
        catalog.decide(ids, deciding, "ada".into(), why.into()).await.unwrap()
    };
    let approve = Deciding::Approve { all_files: false };
    import(&catalog, vec![small(update(1, 1)), small(update(2, 1))]).await;
    let first = catalog.changes(0, 0, 10).await.unwrap();
    assert_eq!((first.changes.len(), first.decisions.len(), first.more), (2, 0, false));
    assert_eq!(catalog.changes(first.next.0, first.next.1, 10).await.unwrap().next, first.next, "nothing came");
    assert_eq!(decide(&[2, 1, 7], approve.clone(), "").await, 3);
    import(&catalog, vec![small(update(3, 1))]).await;
    // All in one order, in pages of any size: what was held, what was decided, what came then.
    for limit in 1..7 {
        let (mut kinds, mut clocks, mut after) = (String::new(), Vec::new(), (0, 0));
        loop {
            let page = catalog.changes(after.0, after.1, limit).await.unwrap();
            assert!(page.changes.len() + page.decisions.len() <= limit);
            let mut lines: Vec<(u64, char)> = page.changes.iter().map(|line| (line.at, 'r')).collect();
            lines.extend(page.decisions.iter().map(|line| (line.at, 'd')));
            lines.sort_unstable();
            kinds.extend(lines.iter().map(|(_, kind)| kind));
            clocks.extend(lines.into_iter().map(|(at, _)| at));
            after = page.next;
            if !page.more {
                break;
            }
        }
        assert_eq!(kinds, "rrdddr", "pages of {limit}");
        assert!(clocks.is_sorted());
    }
    let told = async |after: (u64, u32)| {
        let page = catalog.changes(after.0, after.1, 100).await.unwrap();
        (page.decisions.iter().map(|line| (line.id, line.held)).collect::<Vec<_>>(), page.next)
    };
    let (all, seen) = told(first.next).await;
    assert_eq!(all, [(id(2), true), (id(1), true), (id(7), true)]);
    // The same once more is no change; who says it for another reason is one, and so is another word. Each stands once.
    assert_eq!(decide(&[2, 1], approve.clone(), "").await, 0);
    assert_eq!(told(seen).await, (vec![], seen));
    assert_eq!(decide(&[1], approve, "tested").await, 0);
    assert_eq!(decide(&[2], Deciding::Decline, "").await, 1);
    assert_eq!(decide(&[7, 8], Deciding::Reset, "").await, 1);
    assert_eq!(told(seen).await.0, [(id(1), true), (id(2), true), (id(7), false)]);
    assert_eq!(told((0, 0)).await.0.len(), 3);
    store.close().await.unwrap();

    // In a store of a former version they were not logged: they become changes of now.
    meddle(dir.path(), |tx| {
        let lines: redb::TableDefinition<'_, &[u8; 32], &[u8; 12]> =
            redb::TableDefinition::new("catalog-decision-lines.1");
        let log: redb::TableDefinition<'_, &[u8; 12], &[u8; 33]> = redb::TableDefinition::new("catalog-decision-log.1");
        assert!(tx.delete_table(lines).unwrap() && tx.delete_table(log).unwrap());
    });
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    assert_eq!(catalog.changes(seen.0, seen.1, 100).await.unwrap().decisions, []);
    catalog.sweep().await.unwrap();
    let page = catalog.changes(seen.0, seen.1, 100).await.unwrap();
    assert_eq!(page.decisions.iter().map(|line| line.id).collect::<BTreeSet<_>>(), [id(1), id(2)].into());
    assert!(page.decisions.iter().all(|line| line.held && line.at == page.clock));
    store.close().await.unwrap();
    let (store, _) = open(dir.path());
    store.catalog().sweep().await.unwrap();
    assert_eq!(store.catalog().standing().await.unwrap().clock, page.clock, "once is enough");
    store.close().await.unwrap();
}

#[tokio::test]
async fn many_decisions_of_a_former_version_are_logged_in_small_steps() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let all: Vec<_> = (1..=2_500).map(id).collect();
    catalog.decide(all.clone(), Deciding::Decline, "ada".into(), String::new()).await.unwrap();
    store.close().await.unwrap();
    meddle(dir.path(), |tx| {
        let lines: redb::TableDefinition<'_, &[u8; 32], &[u8; 12]> =
            redb::TableDefinition::new("catalog-decision-lines.1");
        let log: redb::TableDefinition<'_, &[u8; 12], &[u8; 33]> = redb::TableDefinition::new("catalog-decision-log.1");
        assert!(tx.delete_table(lines).unwrap() && tx.delete_table(log).unwrap());
    });
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    // One that is decided anew before that is logged by itself, and once.
    catalog.decide(vec![id(7)], Deciding::Approve { all_files: false }, "ada".into(), String::new()).await.unwrap();
    let logged = async || catalog.changes(0, 0, 5_000).await.unwrap().decisions;
    assert_eq!(logged().await.len(), 1, "nobody waits for all the others");
    catalog.sweep().await.unwrap();
    let lines = logged().await;
    assert_eq!(lines.iter().map(|line| line.id).collect::<BTreeSet<_>>(), all.into_iter().collect());
    assert_eq!(lines.len(), 2_500);
    let commits: BTreeSet<u64> = lines.iter().map(|line| line.at).collect();
    assert_eq!(commits.len(), 4, "at most a thousand in one transaction");
    store.close().await.unwrap();
}

#[tokio::test]
async fn decisions_that_are_refused_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    let decide = async |many: u64| {
        let ids = (0..many).map(id).collect();
        catalog.decide(ids, Deciding::Decline, "ada".into(), String::new()).await
    };
    let refused = decide(200_001).await.unwrap_err();
    assert!(matches!(&refused, Error::Invalid { what } if what.contains("200000")), "{refused}");
    for from in [0, 100_000, 199_000] {
        let ids = (from..from + 1000).map(id).collect();
        assert!(catalog.decisions(ids).await.unwrap().iter().all(Option::is_none), "{from}");
    }
    assert_eq!(catalog.changes(0, 0, 10).await.unwrap().decisions, []);
    // The same one twice is one.
    assert_eq!(decide(3).await.unwrap(), 3);
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_a_person_approved_is_not_let_go_of_and_nor_is_what_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let hidden = |at: u64| small(Update { deployable: false, files: vec![file(at)], ..update(at, 1) });
    let whole = |at: u64, of: u64| {
        let needs = vec![Clause { any_of: vec![id(9)], is_category: false }];
        small(Update { bundles: bundle(&[identity(of, 1)]), prerequisites: needs, ..update(at, 1) })
    };
    let all = vec![hidden(11), whole(1, 11), hidden(12), whole(2, 12), small(update(3, 1)), small(update(9, 1))];
    import(&catalog, all).await;
    let all: Vec<UpdateId> = [1, 2, 3, 9].map(id).into();
    let approve = Deciding::Approve { all_files: false };
    catalog.decide(vec![id(1)], approve, "ada".into(), "the newer one breaks the scanner".into()).await.unwrap();
    catalog.decide(vec![id(3)], Deciding::Decline, "ada".into(), String::new()).await.unwrap();
    assert_eq!(catalog.let_go(all.clone(), true, None).await.unwrap(), 3, "2 with its member, and 3");
    let held = async || {
        let mut held = Vec::new();
        for at in [1, 2, 3, 9, 11, 12] {
            if catalog.current(id(at)).await.unwrap().is_some() {
                held.push(at);
            }
        }
        held
    };
    assert_eq!(held().await, [1, 9, 11], "with its member, and with what it needs");
    assert_eq!(catalog.files(FileDigest::Sha1(sha1_of(11))).await.unwrap().len(), 1);
    catalog.decide(vec![id(1)], Deciding::Reset, "ada".into(), String::new()).await.unwrap();
    assert_eq!(catalog.let_go(all, true, None).await.unwrap(), 3);
    assert_eq!(held().await, Vec::<u64>::new());
    store.close().await.unwrap();
}
