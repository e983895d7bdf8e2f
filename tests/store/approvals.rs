//! What is said for groups and endpoints: kept whole, one word for one target, in the one change log, with what it means for files; groups
//! and who is in them.

use waystation::model::deployment::inherit::Words;
use waystation::model::deployment::{Action, Endpoint, Review, Said, Target};
use waystation::model::group::rule::Rule;
use waystation::model::group::{Level, Node, UNASSIGNED};
use waystation::model::policy::{Group, Mode, Wants, Why, Word};
use waystation::store::approvals::{Approvals, Change, Kept, Saying};
use waystation::store::catalog::Deciding;

use super::wanted::{sift, walk};
use super::*;

const ALL: Target = Target::Group(Group::ALL_ENDPOINTS);
const INSTALL: Said = Said::Do { action: Action::Install, deadline: None };

fn group(at: u64) -> Target {
    Target::Group(Group(id(at)))
}

fn endpoint(at: u64) -> Target {
    Target::Endpoint(Endpoint(id(at)))
}

fn by(action: Action, ms: u64) -> Said {
    Said::Do { action, deadline: Some(Timestamp::from_ms(ms)) }
}

fn node(at: u64, name: &str, parent: Group) -> Node {
    Node {
        id: Group(id(at)),
        name: name.into(),
        level: Level::Group,
        parent,
        is_test: false,
        asks_review: false,
        rules: vec![],
    }
}

async fn say(approvals: &Approvals, updates: &[u64], targets: &[Target], said: Said) -> u64 {
    let updates = updates.iter().map(|at| id(*at)).collect();
    let (by, why) = ("ada".into(), "because".into());
    let saying = Saying { updates, targets: targets.to_vec(), said, all_files: false, by, why };
    approvals.say(saying).await.unwrap()
}

/// What is kept, in short.
async fn kept(approvals: &Approvals) -> Vec<(UpdateId, Target, Said, bool)> {
    let (found, next) = approvals.page(None, 100).await.unwrap();
    assert_eq!(next, None);
    let short = |kept: Kept| {
        assert_eq!(kept.approval.by, "ada");
        (kept.approval.update, kept.approval.target, kept.approval.said, kept.declined)
    };
    found.into_iter().map(short).collect()
}

async fn words(approvals: &Approvals, at: u64) -> Words {
    approvals.words(vec![id(at)]).await.unwrap().pop().unwrap()
}

#[tokio::test]
async fn of_an_update_and_a_target_there_is_one_word_wherever_it_lies() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let (catalog, approvals) = (store.catalog(), store.approvals());
    let decide = async |deciding| catalog.decide(vec![id(1)], deciding, "ada".into(), String::new()).await.unwrap();
    let decided = async || catalog.decisions(vec![id(1)]).await.unwrap().pop().unwrap().map(|said| said.word);
    // An installation for all without more is a decision ...
    assert_eq!(say(&approvals, &[1], &[ALL], INSTALL).await, 1);
    assert_eq!((kept(&approvals).await, decided().await), (vec![(id(1), ALL, INSTALL, false)], Some(Word::Approved)));
    // ... with a deadline it is more, and in its place; people see it as approved all the same.
    let dated = by(Action::Install, 7);
    assert_eq!(say(&approvals, &[1], &[ALL], dated).await, 1);
    assert_eq!((kept(&approvals).await, decided().await), (vec![(id(1), ALL, dated, false)], Some(Word::Approved)));
    assert_eq!(say(&approvals, &[1], &[ALL], dated).await, 0, "the same once more");
    // A decline takes its place, and stays whatever is said for all afterwards, until it is taken back as what it is.
    assert_eq!(decide(Deciding::Decline).await, 1);
    assert_eq!(
        (kept(&approvals).await, decided().await),
        (vec![(id(1), ALL, Said::NotApproved, true)], Some(Word::Declined))
    );
    let optional = Said::Do { action: Action::OptionalInstall, deadline: None };
    let detected = Said::Do { action: Action::PreDeploymentCheck, deadline: None };
    for said in [Said::Inherit, Said::NotApproved, INSTALL, dated, optional, detected] {
        assert_eq!(say(&approvals, &[1], &[ALL], said).await, 0, "a decline is no approval: {said:?}");
        let declined = vec![(id(1), ALL, Said::NotApproved, true)];
        assert_eq!((kept(&approvals).await, decided().await), (declined, Some(Word::Declined)), "{said:?}");
    }
    assert_eq!(say(&approvals, &[1, 2], &[ALL], detected).await, 1, "of others it is said");
    assert_eq!(say(&approvals, &[2], &[ALL], Said::Inherit).await, 1);
    assert_eq!(decide(Deciding::Approve { all_files: false }).await, 1);
    assert_eq!(decided().await, Some(Word::Approved), "somebody decides otherwise");
    assert_eq!(decide(Deciding::Decline).await, 1);
    assert_eq!(decide(Deciding::Reset).await, 1);
    assert_eq!(say(&approvals, &[1], &[ALL], optional).await, 1);
    assert_eq!((kept(&approvals).await, decided().await), (vec![(id(1), ALL, optional, false)], Some(Word::Approved)));
    say(&approvals, &[1], &[ALL], detected).await;
    assert_eq!(decided().await, None, "nobody is to install it");
    assert_eq!(decide(Deciding::Reset).await, 1);
    assert_eq!((kept(&approvals).await, decided().await), (vec![], None));
    assert_eq!(decide(Deciding::Reset).await, 0);
    // That something was there is a word too, for who must hear of it.
    let gone = words(&approvals, 1).await.approvals.remove(&ALL).unwrap();
    assert_eq!((gone.said, gone.at.ms()), (Said::Inherit, catalog.standing().await.unwrap().clock));
    // The same for others, each by itself.
    assert_eq!(say(&approvals, &[1, 2], &[group(7), endpoint(7)], INSTALL).await, 4);
    assert_eq!(say(&approvals, &[1], &[group(7)], Said::NotApproved).await, 1);
    assert_eq!(say(&approvals, &[2], &[endpoint(7)], Said::Inherit).await, 1);
    assert_eq!(say(&approvals, &[2, 3], &[endpoint(7), endpoint(8)], Said::Inherit).await, 0);
    let expected = vec![
        (id(1), group(7), Said::NotApproved, false),
        (id(1), endpoint(7), INSTALL, false),
        (id(2), group(7), INSTALL, false),
    ];
    assert_eq!(kept(&approvals).await, expected);
    assert_eq!(
        words(&approvals, 2).await.approvals[&endpoint(7)].said,
        Said::Inherit,
        "it is kept that it was withdrawn"
    );
    // Pages of any size have each once, decisions and the others in one order.
    decide(Deciding::Decline).await;
    say(&approvals, &[3], &[ALL], INSTALL).await;
    let all: Vec<Kept> = approvals.page(None, 100).await.unwrap().0;
    assert_eq!(all.len(), 5);
    for limit in 1..5 {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = approvals.page(after, limit).await.unwrap();
            assert!(page.len() <= limit && (next.is_none() || page.len() == limit));
            found.extend(page);
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, all, "pages of {limit}");
    }
    assert_eq!(approvals.of(vec![id(2), id(9)]).await.unwrap(), all[3..4]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_is_said_is_told_by_the_change_log_and_lies_in_a_backup() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let (catalog, approvals) = (store.catalog(), store.approvals());
    catalog.begin_upstream(microsoft()).await.unwrap();
    import(&catalog, vec![small(update(1, 1))]).await;
    let mut after = catalog.changes(0, 0, 100).await.unwrap().next;
    let mut told = async || {
        let page = catalog.changes(after.0, after.1, 100).await.unwrap();
        after = page.next;
        page.decisions.iter().map(|line| (line.id, line.group, line.held)).collect::<Vec<_>>()
    };
    let single = Group(UpdateId::new([0; 16]));
    say(&approvals, &[1], &[group(7), endpoint(8), endpoint(9)], INSTALL).await;
    assert_eq!(told().await, [(id(1), Group(id(7)), true), (id(1), single, true)]);
    say(&approvals, &[1], &[group(7)], INSTALL).await;
    assert_eq!(told().await, [], "the same once more");
    say(&approvals, &[1], &[group(7)], Said::Inherit).await;
    assert_eq!(told().await, [(id(1), Group(id(7)), false)]);
    let review = async |state| approvals.review(vec![id(1)], state, "kim".into(), "tested".into()).await.unwrap();
    assert_eq!((review(Review::InTest).await, review(Review::InTest).await), (1, 0));
    assert_eq!(told().await, [(id(1), single, true)]);
    // All of it has the one clock, and what is shared has a place of its own in it.
    let clock = async || catalog.standing().await.unwrap().clock;
    let before = clock().await;
    assert_eq!(words(&approvals, 1).await.reviewed.unwrap().at.ms(), before);
    approvals.change(Change::Add(node(7, "Pilot", Group::ALL_ENDPOINTS)), "kim".into()).await.unwrap();
    assert!(clock().await > before);
    assert_eq!(approvals.shared().await.unwrap().clock, clock().await);
    assert_eq!(approvals.place(vec![Endpoint(id(8))], vec![Group(id(7))], "kim".into()).await.unwrap(), 1);
    assert_eq!(approvals.accept(vec![id(50), id(51)], "kim".into()).await.unwrap(), 2);
    assert_eq!(approvals.accept(vec![id(51)], "ada".into()).await.unwrap(), 0);
    assert_eq!(approvals.shared().await.unwrap().clock, clock().await);
    assert_eq!(told().await, [], "no update changed by that");

    // The same is in a copy of the index.
    let backup = dir.path().join("copy.redb");
    store.backup(backup.clone()).await.unwrap();
    let seen = async |store: &Store| {
        let approvals = store.approvals();
        let (said, tree) = (approvals.page(None, 100).await.unwrap(), approvals.tree().await.unwrap());
        let words = approvals.words(vec![id(1)]).await.unwrap();
        let placed = approvals.placed(vec![Endpoint(id(8)), Endpoint(id(9))]).await.unwrap();
        assert_eq!(placed, [vec![Group(id(7))], vec![]]);
        let reviews = approvals.reviews(vec![id(1), id(2)]).await.unwrap();
        assert_eq!((reviews.len(), reviews[0].why.as_str()), (1, "tested"));
        (said, tree, words, approvals.licences().await.unwrap(), approvals.shared().await.unwrap())
    };
    let whole = seen(&store).await;
    assert_eq!(
        whole.3.iter().map(|one| (one.eula, one.by.as_str())).collect::<Vec<_>>(),
        [(id(50), "kim"), (id(51), "kim")]
    );
    store.close().await.unwrap();
    waystation::store::restore(&config(dir.path()), &waystation::base::disk::RealDisk, &backup).unwrap();
    let (store, _) = open(dir.path());
    assert_eq!(seen(&store).await, whole);
    // A machine that is forgotten is in no group any more, and what was said for it alone is gone and logged.
    let after = store.catalog().standing().await.unwrap().clock;
    store.fleet().forget(Endpoint(id(8))).await.unwrap();
    let left = words(&store.approvals(), 1).await.approvals;
    assert!(!left.contains_key(&endpoint(8)) && left.contains_key(&endpoint(9)));
    let page = store.catalog().changes(after, u32::MAX, 100).await.unwrap();
    assert_eq!(page.decisions.iter().map(|line| (line.id, line.group)).collect::<Vec<_>>(), [(id(1), single)]);
    assert_eq!(store.approvals().placed(vec![Endpoint(id(8))]).await.unwrap(), [vec![]]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_groups_stay_a_tree_and_what_is_gone_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let approvals = store.approvals();
    let change = async |change| approvals.change(change, "ada".into()).await;
    let root = Group::ALL_ENDPOINTS;
    let rules = vec![Rule::Subnet("10.0.0.0/8".parse().unwrap()), Rule::Name("kiosk-*".parse().unwrap())];
    let site = Node { level: Level::Site, asks_review: true, rules, ..node(2, "Berlin", Group(id(1))) };
    change(Change::Add(Node { level: Level::Company, ..node(1, "Contoso", root) })).await.unwrap();
    change(Change::Add(site.clone())).await.unwrap();
    let tree = change(Change::Add(node(3, "Pilot", Group(id(2))))).await.unwrap();
    assert_eq!(tree, approvals.tree().await.unwrap(), "as it was answered it is kept");
    assert_eq!(tree.groups.get(Group(id(2))), Some(&site));
    assert!(tree.by.values().all(|(by, _)| by == "ada"));
    // Another name moves nothing; another place does.
    let moved = async |at| approvals.tree().await.unwrap().moved[&Group(id(at))];
    let before = moved(3).await;
    change(Change::Put(node(3, "Probe", Group(id(2))))).await.unwrap();
    assert_eq!(moved(3).await, before);
    change(Change::Put(node(3, "Probe", Group(id(1))))).await.unwrap();
    assert!(moved(3).await > before);
    let clock = approvals.shared().await.unwrap().clock;
    change(Change::Put(node(3, "Probe", Group(id(1))))).await.unwrap();
    assert_eq!(approvals.shared().await.unwrap().clock, clock, "it was so already");
    // What would be no tree is refused, in words for people, and changes nothing.
    for (wrong, why) in [
        (Change::Remove(Group(id(1))), "has groups below it"),
        (Change::Put(node(1, "Contoso", Group(id(3)))), "below itself"),
        (Change::Add(node(9, "probe", Group(id(1)))), "beside it already"),
        (Change::Remove(UNASSIGNED), "stay as they are"),
    ] {
        let error = change(wrong).await.unwrap_err();
        assert!(matches!(&error, Error::Invalid { what } if what.contains(why)), "{why}: {error}");
    }
    assert_eq!(approvals.shared().await.unwrap().clock, clock);
    // Nobody is put into what is not there.
    let ends = vec![Endpoint(id(20)), Endpoint(id(21))];
    let place = async |groups: &[Group]| approvals.place(ends.clone(), groups.to_vec(), "ada".into()).await;
    for wrong in [Group(id(77)), root, UNASSIGNED] {
        assert!(matches!(place(&[Group(id(3)), wrong]).await, Err(Error::Invalid { .. })));
    }
    // Of two who saw the same the second is told.
    let seen = approvals.tree().await.unwrap().revision(Group(id(3)));
    let over = |name: &str| Change::PutOver(node(3, name, Group(id(2))), seen);
    let revision = change(over("First")).await.unwrap().revision(Group(id(3)));
    assert!(revision > seen);
    let error = change(over("Second")).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid { what } if what.contains("changed meanwhile, by ada")), "{error}");
    assert_eq!(change(over("First")).await.unwrap().revision(Group(id(3))), revision, "it is so already");
    let both = [Group(id(2)), Group(id(3))];
    assert_eq!((place(&both).await.unwrap(), place(&both).await.unwrap()), (2, 0));
    assert_eq!(approvals.placed(ends.clone()).await.unwrap(), [both, both]);
    // A group goes, and what was said for it.
    say(&approvals, &[1, 2], &[group(3), group(2), endpoint(3)], INSTALL).await;
    say(&approvals, &[1], &[Target::Group(UNASSIGNED)], INSTALL).await;
    // Who was put into it is in the one above it by the same transaction.
    let (tree, moved) = approvals.remove_group(Group(id(3)), "kim".into()).await.unwrap();
    assert_eq!((tree.groups.get(Group(id(3))), moved), (None, 2));
    assert_eq!(
        approvals.placed(ends.clone()).await.unwrap(),
        [[Group(id(2))], [Group(id(2))]],
        "one of both was the other's"
    );
    store.catalog().sweep().await.unwrap();
    let left: Vec<Target> = kept(&approvals).await.into_iter().map(|(_, target, ..)| target).collect();
    assert_eq!(left, [group(2), Target::Group(UNASSIGNED), endpoint(3), group(2), endpoint(3)]);
    // Below the root they are where their own word or a rule has them.
    change(Change::Remove(Group(id(2)))).await.unwrap();
    change(Change::Add(node(4, "Alone", root))).await.unwrap();
    place(&[Group(id(4))]).await.unwrap();
    assert_eq!(approvals.remove_group(Group(id(4)), "kim".into()).await.unwrap().1, 2);
    assert_eq!(approvals.placed(ends.clone()).await.unwrap(), [vec![], vec![]]);
    assert_eq!((place(&[]).await.unwrap(), place(&[]).await.unwrap()), (0, 0));
    assert_eq!(approvals.placed(ends).await.unwrap(), [vec![], vec![]]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn files_are_wanted_of_what_anybody_is_to_install() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let (catalog, approvals) = (store.catalog(), store.approvals());
    catalog.begin_upstream(microsoft()).await.unwrap();
    let with_file = |at: u64| small(Update { files: vec![file(at)], ..update(at, 1) });
    import(&catalog, (1..=5).map(with_file).collect()).await;
    let approved = sift(Mode::Approved, &[]);
    let wanted = async || {
        let found = walk(&catalog, &approved).await;
        found.iter().map(|update| update.identity.id).collect::<BTreeSet<_>>()
    };
    assert_eq!(wanted().await, BTreeSet::new());
    say(&approvals, &[1], &[group(7)], INSTALL).await;
    say(&approvals, &[2], &[endpoint(7)], by(Action::OptionalInstall, 9)).await;
    say(&approvals, &[3], &[group(7)], by(Action::Uninstall, 9)).await;
    say(&approvals, &[4], &[group(7)], Said::NotApproved).await;
    say(&approvals, &[5], &[ALL], by(Action::Install, 9)).await;
    assert_eq!(wanted().await, [id(1), id(2), id(5)].into());
    assert_eq!(approvals.approved((1..=5).map(id).collect()).await.unwrap(), [true, true, false, false, true]);
    let number = catalog.current(id(1)).await.unwrap().unwrap();
    let verdict = catalog.judge(approved.clone(), number).await.unwrap().unwrap();
    assert_eq!((verdict.wants, verdict.why), (Wants::Everything, Why::Approved));
    let found = async |decision| {
        let query = Query { decisions: vec![decision], limit: 100, ..Query::default() };
        let page = catalog.search(query).await.unwrap();
        page.hits.iter().map(|hit| hit.summary.identity.id).collect::<BTreeSet<_>>()
    };
    assert_eq!(found(Some(Word::Approved)).await, [id(1), id(2), id(5)].into());
    // A decline is for everybody, and an approval for some keeps an update from being let go of.
    catalog.decide(vec![id(1)], Deciding::Decline, "ada".into(), String::new()).await.unwrap();
    assert_eq!(wanted().await, [id(2), id(5)].into());
    assert_eq!(found(Some(Word::Declined)).await, [id(1)].into());
    assert_eq!(catalog.let_go(vec![id(2), id(4), id(5)], false, None).await.unwrap(), 1);
    assert_eq!(catalog.current(id(4)).await.unwrap(), None);
    say(&approvals, &[2], &[endpoint(7)], Said::Inherit).await;
    assert_eq!(wanted().await, [id(5)].into());
    store.close().await.unwrap();
}

#[tokio::test]
async fn too_much_at_once_is_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let approvals = store.approvals();
    let saying = |updates: u64, targets: u64, said| Saying {
        updates: (0..updates).map(id).collect(),
        targets: (0..targets).map(group).collect(),
        said,
        all_files: false,
        by: "ada".into(),
        why: String::new(),
    };
    let refused = approvals.say(saying(5_001, 1, INSTALL)).await.unwrap_err();
    assert!(matches!(&refused, Error::Invalid { what } if what.contains("5001 approvals")), "{refused}");
    for wrong in [Action::Evaluate, Action::Bundle, Action::Block] {
        let said = Said::Do { action: wrong, deadline: None };
        assert!(matches!(approvals.say(saying(1, 1, said)).await, Err(Error::Invalid { .. })), "{wrong}");
    }
    assert_eq!(approvals.page(None, 10).await.unwrap(), (vec![], None));
    assert_eq!(approvals.say(saying(50, 100, INSTALL)).await.unwrap(), 5_000);
    store.close().await.unwrap();
}
