//! What is believed of whom: what is vouched for later, what rules let go of, and what is counted of a run.

use super::*;

use waystation::store::catalog::Deciding;

#[tokio::test]
async fn what_is_vouched_for_says_nothing_of_where_somebody_unproven_said_it_lies() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(wsus()).await.unwrap();
    let sha1 = sha1_of(1);
    let foreign: Name = OriginKey::new("dl.example/filestreamingservice/files/another").unwrap().into();
    let mut genuine = small(Update { files: vec![file(1)], ..update(1, 1) });
    genuine.urls = vec![(sha1, "http://dl.example/filestreamingservice/files/another".into())];
    import(&catalog, vec![genuine]).await;
    let at = async |name: &Name| catalog.mentions(name.clone(), Vec::new()).await.unwrap();
    let before = at(&foreign).await;
    assert!(before.len() == 1 && before[0].unauthenticated && before[0].by_address, "{before:?}");
    let (doubtful, _) = catalog.doubtful(None).await.unwrap();
    assert_eq!(catalog.vouch_for(doubtful).await.unwrap(), 1);
    let known = catalog.files(FileDigest::Sha1(sha1)).await.unwrap().remove(0);
    assert_eq!((known.unauthenticated, known.file.sha256), (false, file(1).sha256), "its digests are Microsoft's");
    assert!(known.urls.is_empty(), "{known:?}");
    assert!(at(&foreign).await.is_empty(), "nothing of Microsoft's was said of that address");
    // Somebody proven may say where it lies.
    catalog.begin_upstream(microsoft()).await.unwrap();
    import(&catalog, vec![small(Update { files: vec![file(1)], ..update(2, 1) })]).await;
    let named: Name = OriginKey::new("dl.example/windows-1.cab").unwrap().into();
    let found = at(&named).await;
    assert!(found.len() == 1 && !found[0].unauthenticated, "{found:?}");
    store.close().await.unwrap();
}

#[tokio::test]
async fn digests_of_a_wanted_file_and_who_vouches_for_them_have_one_source() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    // As older updates are: without a SHA-256.
    let plain = File { sha256: None, ..file(1) };
    import(&catalog, vec![small(Update { files: vec![plain.clone()], ..update(2, 1) })]).await;
    catalog.begin_upstream(wsus()).await.unwrap();
    let invented = File { sha256: Some(sha256_of(b"invented")), ..plain };
    import(&catalog, vec![small(Update { files: vec![invented], ..update(1, 1) })]).await;
    let approve = Deciding::Approve { all_files: true };
    catalog.decide(vec![id(1)], approve, "ada".into(), String::new()).await.unwrap();
    let found = wanted::walk(&catalog, &wanted::sift(waystation::model::policy::Mode::Approved, &[])).await;
    let files: Vec<_> = found.iter().flat_map(|update| &update.files).collect();
    assert_eq!(files.len(), 1, "{found:?}");
    // What Microsoft published of it has no SHA-256, so that none may look as if it were Microsoft's.
    assert!(files[0].unauthenticated || files[0].file.sha256.is_none(), "{files:?}");
    store.close().await.unwrap();
}

/// Somebody on the way adds an update of his own that supersedes all others: that counts only as long as nobody proves those.
#[tokio::test]
async fn what_nobody_proves_supersedes_nothing_that_is_proven_whichever_came_first() {
    let over =
        |at: u64, of: &[u64]| small(Update { supersedes: of.iter().copied().map(id).collect(), ..update(at, 1) });
    for forged_first in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path());
        let catalog = store.catalog();
        let by = async |at: u64| catalog.superseded_by(id(at)).await.unwrap().len();
        let state = async |at: u64| {
            let page = catalog.search(Query { kb: Some(at.to_string()), limit: 2, ..Query::default() }).await.unwrap();
            page.hits[0].state
        };
        let vouch = async |wanted: &[u64]| {
            let (doubtful, _) = catalog.doubtful(None).await.unwrap();
            let some = doubtful.into_iter().filter(|one| wanted.iter().any(|at| one.identity == identity(*at, 1)));
            catalog.vouch_for(some.collect()).await.unwrap()
        };
        catalog.begin_upstream(wsus()).await.unwrap();
        // 9 is the forged one; 3 and 5 come later, 4 names it in turn, and 2 is superseded by 1 as its publisher says.
        let forged = over(9, &[1, 2, 3, 4, 5]);
        let mut all = vec![over(1, &[2]), small(update(2, 1)), over(4, &[9])];
        all.insert(if forged_first { 0 } else { 3 }, forged);
        import(&catalog, all).await;
        // The first search, so that what follows must be told to the index in memory.
        assert_eq!((by(1).await, by(2).await, by(3).await, by(4).await), (1, 2, 1, 0), "{forged_first}");
        assert_eq!((state(1).await, state(9).await), (State::Superseded, State::Current));

        // Vouched for behind it.
        assert_eq!(vouch(&[1, 2, 4]).await, 3);
        assert_eq!((by(1).await, state(1).await), (0, State::Current));
        assert_eq!((by(2).await, state(2).await), (1, State::Superseded), "what is proven supersedes still");
        assert_eq!((by(4).await, state(4).await), (0, State::Current));
        assert_eq!(
            (by(9).await, state(9).await),
            (1, State::Superseded),
            "of two that name each other the proven one counts"
        );

        // Arrived proven behind it: for the first time, and as what was held unproven.
        import(&catalog, vec![small(update(5, 1))]).await;
        assert_eq!((by(5).await, state(5).await), (1, State::Superseded));
        catalog.begin_upstream(microsoft()).await.unwrap();
        import(&catalog, vec![small(update(3, 1)), small(update(5, 1))]).await;
        assert_eq!((by(3).await, state(3).await, by(5).await, state(5).await), (0, State::Current, 0, State::Current));

        // Where it is vouched for in turn, what it says counts, but for what names it.
        assert_eq!(vouch(&[9]).await, 1);
        assert_eq!((by(1).await, by(3).await, by(5).await), (1, 1, 1));
        assert_eq!(
            (state(1).await, state(3).await, by(4).await, by(9).await),
            (State::Superseded, State::Superseded, 0, 0)
        );
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn many_refusals_are_taken_back_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    import(&catalog, (1..=50).map(|at| small(update(at, 1))).collect()).await;
    for at in 1..=50 {
        catalog.refuse(identity(at, 1), "it differs".into()).await.unwrap();
    }
    catalog.refuse(identity(77, 1), "it differs".into()).await.unwrap();
    let all: Vec<_> = (1..=60).chain([77]).map(|at| identity(at, 1)).collect();
    assert_eq!(catalog.pardon_all(all).await.unwrap().len(), 51);
    assert_eq!(catalog.standing().await.unwrap().refused, 0);
    let refused = Query { states: vec![State::Refused], limit: 5, ..Query::default() };
    assert_eq!(catalog.search(refused).await.unwrap().total, 0);
    assert_eq!(catalog.list_again().await.unwrap().1, 1, "only what is not held is asked for");
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_became_superseded_is_counted_whatever_came_first() {
    let over = |at: u64, of: &[u64]| Update { supersedes: of.iter().copied().map(id).collect(), ..update(at, 1) };
    let hidden = |at: u64| Update { deployable: false, ..update(at, 1) };
    let expired = |at: u64| Update { publication: Publication::Expired, ..update(at, 1) };
    let all = vec![
        over(1, &[2, 3, 4, 5, 9]),
        over(2, &[3]),
        update(3, 1),
        hidden(4),
        expired(5),
        // Each other, so neither.
        over(6, &[7]),
        over(7, &[6]),
        Update { deployable: false, ..expired(8) },
    ];
    let mut counted = Vec::new();
    for turn in 0..all.len() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path());
        let catalog = store.catalog();
        catalog.begin_upstream(microsoft()).await.unwrap();
        let mut order = all.clone();
        order.rotate_left(turn);
        let mut sum = (0, 0);
        for one in order.into_iter().map(small) {
            let applied = import(&catalog, vec![one]).await;
            sum = (sum.0 + applied.superseded, sum.1 + applied.expired);
        }
        let shown = async |state| {
            let query = Query { states: vec![state], limit: 1, ..Query::default() };
            catalog.search(query).await.unwrap().total
        };
        assert_eq!(sum, (shown(State::Superseded).await, shown(State::Expired).await), "{turn}: as lists show them");
        counted.push(sum);
        store.close().await.unwrap();
    }
    assert!(counted.iter().all(|sum| *sum == (2, 1)), "{counted:?}");
}

#[tokio::test]
async fn what_a_rule_let_go_of_stays_away_until_the_rule_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    catalog.let_go_under(Some(2), |_| true).await.unwrap();
    let old = || small(update(1, 5));
    import(&catalog, vec![old(), small(update(2, 5))]).await;
    assert_eq!(catalog.let_go(vec![id(1)], true, None).await.unwrap(), 1);
    let lists = async |set: &str, one: Identity| {
        catalog.open_list(set.into(), "a".into()).await.unwrap();
        let new = catalog.list(set.into(), vec![one]).await.unwrap();
        catalog.forget_set(set.into()).await.unwrap();
        new
    };
    assert_eq!(lists("one", identity(1, 5)).await, 0, "it went by the rule");
    assert_eq!(lists("two", identity(1, 4)).await, 0, "and what was before it");
    assert_eq!(lists("one", identity(1, 6)).await, 1, "its publisher has changed it");
    catalog.let_go_under(Some(1), |_| true).await.unwrap();
    assert_eq!(lists("one", identity(1, 5)).await, 0, "fewer are kept");
    // What is held needs it.
    let clause = Clause { any_of: vec![id(1)], is_category: false };
    import(&catalog, vec![small(Update { prerequisites: vec![clause], ..update(3, 1) })]).await;
    assert_eq!(lists("one", identity(1, 5)).await, 1);
    import(&catalog, vec![old()]).await;
    import(&catalog, vec![small(update(3, 2))]).await;
    assert_eq!(catalog.let_go(vec![id(1)], true, None).await.unwrap(), 1);
    assert_eq!(lists("one", identity(1, 5)).await, 0);
    // Lists name what changed since their anchor: those that may have it are asked from the beginning.
    named(&catalog, "theirs", &[identity(2, 5)]).await;
    named(&catalog, "another", &[identity(2, 5)]).await;
    let anchored = async || {
        let sets = catalog.standing().await.unwrap().sets;
        sets.into_iter().filter(|set| set.anchor.is_some()).map(|set| set.name).collect::<Vec<_>>()
    };
    catalog.let_go_under(Some(1), |_| true).await.unwrap();
    assert_eq!(anchored().await, ["another", "theirs"], "nothing has changed");
    catalog.let_go_under(Some(3), |name| name == "theirs").await.unwrap();
    assert_eq!(anchored().await, ["another"]);
    catalog.let_go_under(Some(4), |_| true).await.unwrap();
    assert_eq!(anchored().await, ["another"], "nothing is away that could come back");
    assert_eq!(lists("one", identity(1, 5)).await, 1, "more are kept");
    import(&catalog, vec![old()]).await;
    assert_eq!(catalog.let_go(vec![id(1)], true, None).await.unwrap(), 1);
    assert_eq!(lists("one", identity(1, 5)).await, 0);
    catalog.let_go_under(None, |_| true).await.unwrap();
    assert_eq!(lists("one", identity(1, 5)).await, 1, "there is no rule any more");
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_run_that_was_cut_off_ended_with_its_last_commit() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Hand::new();
    let (store, _) = Store::open(config(dir.path()), Arc::new(RealDisk), clock.clone()).unwrap();
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    catalog.start_run("Microsoft".into()).await.unwrap();
    clock.forward(2_000);
    import(&catalog, vec![small(update(1, 1))]).await;
    // The node is off for an hour.
    clock.forward(3_600_000);
    let closed = catalog.close_runs().await.unwrap();
    assert_eq!(closed, catalog.runs(None, 1).await.unwrap(), "it is given as the history has it");
    assert_eq!(catalog.close_runs().await.unwrap(), [], "once");
    let run = catalog.runs(None, 1).await.unwrap().remove(0);
    let took = run.ended.unwrap().since(run.started);
    assert_eq!((run.outcome, took), (Outcome::CutOff, Duration::from_secs(2)));
    // One that committed nothing took no time.
    catalog.start_run("Microsoft".into()).await.unwrap();
    clock.forward(60_000);
    catalog.close_runs().await.unwrap();
    let run = catalog.runs(None, 1).await.unwrap().remove(0);
    assert_eq!(run.ended, Some(run.started));
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_a_definition_update_pushed_out_is_listed_again_when_that_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(wsus()).await.unwrap();
    catalog.let_go_under(Some(1), |_| true).await.unwrap();
    let of = waystation::model::filter::known::DEFINITION_UPDATES;
    let definition = |at: u64| {
        let clause = Clause { any_of: vec![of], is_category: true };
        small(Update { prerequisites: vec![clause], ..update(at, 1) })
    };
    import(&catalog, vec![definition(1), definition(2), small(update(3, 1))]).await;
    named(&catalog, "every", &[identity(2, 1), identity(3, 1)]).await;
    let anchor =
        async || catalog.standing().await.unwrap().sets.iter().find(|set| set.name == "every").unwrap().anchor.clone();
    assert!(anchor().await.is_some());
    assert_eq!(catalog.let_go(vec![id(1)], true, None).await.unwrap(), 1);
    catalog.refuse(identity(3, 1), "it differs".into()).await.unwrap();
    assert!(anchor().await.is_some(), "that one had nothing to do with it");
    assert_eq!(named(&catalog, "one", &[identity(1, 1)]).await, 0);
    catalog.refuse(identity(2, 1), "it differs".into()).await.unwrap();
    assert_eq!(anchor().await, None, "the list comes whole");
    assert_eq!(named(&catalog, "every", &[identity(1, 1)]).await, 1, "and brings what had gone");
    import(&catalog, vec![definition(1), definition(2)]).await;
    assert_eq!(catalog.let_go(vec![id(1)], true, None).await.unwrap(), 1);
    assert_eq!(named(&catalog, "one", &[identity(1, 1)]).await, 0);
    catalog.begin_upstream(microsoft()).await.unwrap();
    assert_eq!(named(&catalog, "one", &[identity(1, 1)]).await, 1, "another upstream may have it in earnest");
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_file_of_very_many_updates_is_described_by_those_at_both_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    let with = |at: u64| small(Update { files: vec![file(1)], ..update(at, 1) });
    catalog.begin_upstream(wsus()).await.unwrap();
    import(&catalog, (1..=1_010).map(with).collect()).await;
    let is_proven = async || !catalog.files(FileDigest::Sha1(sha1_of(1))).await.unwrap()[0].unauthenticated;
    assert!(!is_proven().await);
    let number = catalog.current(id(1_005)).await.unwrap().unwrap();
    assert!(number > 1_000, "{number}: the oldest thousand are not enough to find it");
    let mut doubtful = catalog.doubtful(None).await.unwrap().0;
    doubtful.retain(|one| one.identity == identity(1_005, 1));
    assert_eq!(catalog.vouch_for(doubtful).await.unwrap(), 1);
    assert!(is_proven().await, "one that is vouched for describes it, wherever it stands");
    // Whatever becomes of the oldest.
    catalog.refuse(identity(1, 1), "it differs".into()).await.unwrap();
    assert!(is_proven().await);
    store.close().await.unwrap();
}
