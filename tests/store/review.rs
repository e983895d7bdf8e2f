//! What the catalog comes to say of what is held: promoted, thrown out, and the first to go when room is needed.

use waystation::base::digest::Sha1;
use waystation::model::update::{File, Identity, Publication, Update};
use waystation::store::Reviewed;
use waystation::store::catalog::{Catalog, Deciding, Incoming, Mention};

use super::*;
use crate::catalog::{bundle, id, identity, import, microsoft, small, update, wsus};

const KIB: usize = 1 << 10;

fn sha1_of(bytes: &[u8]) -> Sha1 {
    use sha1::Digest as _;
    Sha1::new(sha1::Sha1::digest(bytes).into())
}

/// The file whose content are these bytes, as an update names it.
fn file(bytes: &[u8]) -> File {
    File {
        sha1: sha1_of(bytes),
        sha256: Some(sha256_of(bytes)),
        name: "windows.cab".into(),
        size: bytes.len() as u64,
        modified: None,
        patching: String::new(),
        encrypted: false,
    }
}

/// An update of these files, which lie at these addresses.
fn at(update: Update, files: &[(&File, &str)]) -> Incoming {
    let update = Update { files: files.iter().map(|(file, _)| (*file).clone()).collect(), ..update };
    let urls = files.iter().map(|(file, path)| (file.sha1, format!("http://dl.example.org/{path}"))).collect();
    Incoming { urls, ..small(update) }
}

async fn review(store: &Store) -> Reviewed {
    let (mut reviewed, mut after) = (Reviewed::default(), None);
    loop {
        let (step, next) = store.review_step(after).await.unwrap();
        reviewed += step;
        match next {
            Some(next) => after = Some(next),
            None => return reviewed,
        }
    }
}

#[tokio::test]
async fn unproven_payloads_are_promoted_or_thrown_out_by_digests_that_come_later() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let all: Vec<Bytes> = (0..6).map(|seed| bytes(seed, 40 * KIB)).collect();
    for (number, one) in all.iter().enumerate() {
        publish(&store, &url(&format!("a{number}")), one, None).await.unwrap();
    }
    store.pin(blake3_of(&all[5]), "kim").await.unwrap();
    let catalog = store.catalog();
    // Who proves nothing changes nothing.
    catalog.begin_upstream(wsus()).await.unwrap();
    let wrong = file(&bytes(99, 40 * KIB));
    import(&catalog, vec![at(update(1, 1), &[(&wrong, "a0"), (&file(&all[1]), "a1")])]).await;
    assert_eq!(review(&store).await, Reviewed { looked: 6, ..Reviewed::default() });

    catalog.begin_upstream(microsoft()).await.unwrap();
    let only_sha1 = File { sha256: None, ..file(&all[2]) };
    let encrypted = File { encrypted: true, ..file(&bytes(98, 40 * KIB)) };
    import(
        &catalog,
        vec![
            // By its digests, wherever it lies; by its SHA-1 alone; another file at the address; one that is encrypted.
            at(update(2, 1), &[(&file(&all[1]), "elsewhere"), (&only_sha1, "a2")]),
            at(update(3, 1), &[(&file(&bytes(97, 10)), "a3"), (&encrypted, "a4")]),
            at(update(4, 1), &[(&file(&all[5]), "a5")]),
        ],
    )
    .await;
    let came = review(&store).await;
    assert_eq!((came.looked, came.promoted, came.thrown_out), (6, 3, 1), "{came:?}");
    let class = async |path: &str| class_of(&store, &url(path)).await;
    for (path, is) in [
        ("a0", Some(Class::Unproven)),
        ("a1", Some(Class::Proven)),
        ("a2", Some(Class::Proven)),
        ("a3", None),
        ("a4", Some(Class::Unproven)),
        ("a5", Some(Class::Proven)),
    ] {
        assert_eq!(class(path).await, is, "{path}");
    }
    let quarantined = store.quarantined().await.unwrap();
    assert!(quarantined.len() == 1 && quarantined[0].why.contains("dl.example.org/a3"), "{quarantined:?}");
    // What was proven with a stronger digest beside it is answered under its SHA-1 too.
    let by_sha1 = Name::Digest(Digest::Sha1(sha1_of(&all[1])));
    assert_eq!(served(&store.find(&by_sha1).await.unwrap().unwrap()), all[1]);
    assert_eq!(review(&store).await, Reviewed { looked: 5, ..Reviewed::default() }, "nothing is done twice");
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_comes_is_held_against_the_catalog() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let (first, second) = (bytes(1, 9000), bytes(2, 9000));
    let twice = [(&file(&first), "same"), (&file(&second), "same")];
    import(&catalog, vec![at(update(1, 1), &[(&file(&first), "one")]), at(update(2, 1), &twice)]).await;
    // Nobody told the draft: the catalog is asked when it is judged.
    let found = publish(&store, &url("one"), &first, None).await.unwrap();
    assert_eq!(found.held.payload().class, Class::Proven);
    let wrong = bytes(3, 9000);
    let error = publish(&store, &url("one"), &wrong, None).await.unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    // One address of two files: one of them must come.
    assert!(publish(&store, &url("same"), &second, None).await.is_ok());
    assert!(publish(&store, &url("same"), &first, None).await.is_ok());
    assert!(matches!(publish(&store, &url("same"), &wrong, None).await, Err(Error::Mismatch { .. })));
    // A file that goes with its update leaves its address; the other one stays with all that it ever had.
    import(&catalog, vec![at(update(1, 2), &[(&file(&first), "two")]), at(update(2, 2), &[])]).await;
    for path in ["one", "same", "two"] {
        let mentions = catalog.mentions(url(path), vec![]).await.unwrap();
        assert_eq!(mentions.len(), 1, "{path}: {mentions:?}");
        let Mention { by_address, by_digest, urls, file, .. } = &mentions[0];
        assert!(*by_address && !by_digest && urls.len() == 3 && file.sha1 == sha1_of(&first), "{path}: {mentions:?}");
    }
    import(&catalog, vec![at(update(1, 3), &[])]).await;
    assert!(catalog.mentions(url("one"), vec![]).await.unwrap().is_empty());
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_only_superseded_and_withdrawn_updates_have_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    let size = 100 * KIB;
    let clock = Hand::new();
    let small_store = Config { max_size: 8 * (size as u64) + 200_000, ..config(dir.path()) };
    let (store, _) = Store::open(small_store, Arc::new(RealDisk), clock.clone()).unwrap();
    let all: Vec<Bytes> = (0..8).map(|seed| bytes(seed, size)).collect();
    let path = |number: usize| format!("b{number}");
    for (number, one) in all.iter().enumerate() {
        // The first is the one least recently used; the fifth is nobody's, and unproven.
        let by = (number != 4).then_some(Authority::Operator);
        publish(&store, &url(&path(number)), one, by).await.unwrap();
        clock.forward(60_000);
    }
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let files: Vec<File> = all.iter().map(|one| file(one)).collect();
    let with = |number: u64, of: &[usize]| {
        let files: Vec<(&File, &str)> = of.iter().map(|at| (&files[*at], "x")).collect();
        at(update(number, 1), &files)
    };
    let hidden = |number: u64, of: &[usize]| {
        let incoming = with(number, of);
        Incoming { update: Update { deployable: false, ..incoming.update }, ..incoming }
    };
    let of_bundle = |number: u64, member: u64, supersedes: &[u64]| {
        let supersedes = supersedes.iter().map(|at| id(*at)).collect();
        small(Update { bundles: bundle(&[identity(member, 1)]), supersedes, ..update(number, 1) })
    };
    let expired = |number: u64, of: &[usize]| {
        let incoming = with(number, of);
        Incoming { update: Update { publication: Publication::Expired, ..incoming.update }, ..incoming }
    };
    // 10 bundles 11 (file 5), and 20 supersedes it; 20 bundles 21 (file 2); 30 was withdrawn (files 6 and 2), 31 too (file 7).
    import(
        &catalog,
        vec![
            hidden(11, &[5]),
            of_bundle(10, 11, &[]),
            hidden(21, &[2]),
            of_bundle(20, 21, &[10]),
            expired(30, &[6, 2]),
            expired(31, &[7]),
        ],
    )
    .await;
    store.pin(blake3_of(&all[7]), "kim").await.unwrap();
    let came = review(&store).await;
    assert_eq!((came.looked, came.outdated), (8, 3), "5, 6 and 7, and not 2, which an offered one has: {came:?}");
    assert!(store.show(&url(&path(5))).await.unwrap().unwrap().outdated);
    assert!(!store.show(&url(&path(0))).await.unwrap().unwrap().outdated);
    // The one that was used last of all is the second to go, for it is outdated; then what nobody vouches for; then by use.
    clock.forward(60_000);
    drop(store.find(&url(&path(6))).await.unwrap().unwrap());
    let held = async || {
        let mut held: Vec<usize> = Vec::new();
        for number in 0..8 {
            if store.show(&url(&path(number))).await.unwrap().is_some() {
                held.push(number);
            }
        }
        held
    };
    let mut order: Vec<usize> = Vec::new();
    let mut before = held().await;
    while order.len() < 5 {
        let space = store.space().await.unwrap();
        let wanted = space.max_size - space.used() + 1;
        assert!(store.evict_step(wanted).await.unwrap() > 0);
        let now = held().await;
        order.extend(before.iter().filter(|number| !now.contains(number)));
        before = now;
    }
    assert_eq!(order, [5, 6, 4, 0, 1]);
    assert_eq!(before, [2, 3, 7], "pinned and outdated stays");
    // An offered update has it again: it has its place by use.
    import(&catalog, vec![with(32, &[7])]).await;
    let came = review(&store).await;
    assert_eq!((came.outdated, came.wanted_again), (0, 1));
    // What comes in later finds its place at once.
    publish(&store, &url("late"), &all[5], Some(Authority::Operator)).await.unwrap();
    assert!(store.show(&url("late")).await.unwrap().unwrap().outdated);
    store.close().await.unwrap();
}

async fn outdated(store: &Store, path: &str) -> bool {
    store.show(&url(path)).await.unwrap().unwrap().outdated
}

#[tokio::test]
async fn what_no_update_has_any_more_is_the_first_to_go_and_stays_so() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let all: Vec<Bytes> = (0..4).map(|seed| bytes(seed, 9000)).collect();
    let path = |number: usize| format!("c{number}");
    for (number, one) in all.iter().enumerate() {
        publish(&store, &url(&path(number)), one, Some(Authority::Operator)).await.unwrap();
    }
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let files: Vec<File> = all.iter().map(|one| file(one)).collect();
    let with = |number: u64, of: usize| at(update(number, 1), &[(&files[of], "x")]);
    let newer = small(Update { supersedes: vec![id(1)], ..update(2, 1) });
    import(&catalog, vec![with(1, 0), newer, with(3, 1), with(4, 3)]).await;
    let shown = async || {
        let mut shown = Vec::new();
        for number in 0..4 {
            shown.push(outdated(&store, &path(number)).await);
        }
        shown
    };
    assert_eq!(review(&store).await.outdated, 1);
    assert_eq!(shown().await, [true, false, false, false]);
    // By a rule, and by a revision that has it no more.
    assert_eq!(catalog.let_go(vec![id(1), id(3)], true, None).await.unwrap(), 2);
    assert_eq!(shown().await, [true, true, false, false], "marked as it went, without a look at all that is held");
    import(&catalog, vec![at(update(4, 2), &[])]).await;
    assert_eq!(shown().await, [true, true, false, true]);
    let again = review(&store).await;
    assert_eq!((again.looked, again.outdated, again.wanted_again), (4, 0, 0), "nobody wants it because nobody has it");
    assert_eq!(shown().await, [true, true, false, true]);
    // The same bytes once more are no reason either; an update that is offered is.
    publish(&store, &url("again"), &all[0], Some(Authority::Operator)).await.unwrap();
    assert!(outdated(&store, &path(0)).await);
    import(&catalog, vec![with(6, 1)]).await;
    assert_eq!(review(&store).await.wanted_again, 1);
    import(&catalog, vec![at(update(6, 2), &[(&files[1], "elsewhere")])]).await;
    assert_eq!(shown().await, [true, false, false, true], "replaced by one that has it too");
    store.close().await.unwrap();
}

async fn decide(catalog: &Catalog, of: u64, deciding: Deciding) {
    catalog.decide(vec![id(of)], deciding, "ada".into(), "tested".into()).await.unwrap();
}

#[tokio::test]
async fn an_approval_that_stands_keeps_what_is_superseded() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let all: Vec<Bytes> = (0..4).map(|seed| bytes(seed, 9000)).collect();
    for (number, one) in all.iter().enumerate().take(3) {
        publish(&store, &url(&format!("d{number}")), one, Some(Authority::Operator)).await.unwrap();
    }
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let files: Vec<File> = all.iter().map(|one| file(one)).collect();
    let with = |update: Update, of: usize| at(update, &[(&files[of], "x")]);
    let hidden = |number: u64| Update { deployable: false, ..update(number, 1) };
    let old = |of: &[u64], number: u64| {
        small(Update { supersedes: of.iter().copied().map(id).collect(), ..update(number, 1) })
    };
    // 10 bundles 11, and both are superseded; 30 is approved, and then superseded; 40 was withdrawn; 50 is superseded.
    let whole = small(Update { bundles: bundle(&[identity(11, 1)]), ..update(10, 1) });
    let withdrawn = Update { publication: Publication::Expired, ..update(40, 1) };
    import(&catalog, vec![whole, with(hidden(11), 0), old(&[10, 11], 20), with(update(30, 1), 1)]).await;
    import(&catalog, vec![with(withdrawn, 2), with(update(50, 1), 3), old(&[50], 51)]).await;
    let approve = Deciding::Approve { all_files: false };
    decide(&catalog, 30, approve.clone()).await;
    import(&catalog, vec![old(&[30], 31)]).await;
    let marks = async || {
        review(&store).await;
        [outdated(&store, "d0").await, outdated(&store, "d1").await, outdated(&store, "d2").await]
    };
    assert_eq!(marks().await, [true, true, true], "what came after the approval took its place");
    for of in [10, 30, 40] {
        let before = catalog.standing().await.unwrap().clock;
        decide(&catalog, of, approve.clone()).await;
        assert!(catalog.standing().await.unwrap().clock > before, "so that what is held is looked through");
    }
    assert_eq!(marks().await, [false, false, true], "nobody can have what was withdrawn");
    decide(&catalog, 10, Deciding::Decline).await;
    decide(&catalog, 30, Deciding::Reset).await;
    assert_eq!(marks().await, [true, true, true]);
    // What comes in later finds its place at once.
    decide(&catalog, 50, approve).await;
    publish(&store, &url("d3"), &all[3], Some(Authority::Operator)).await.unwrap();
    assert!(!outdated(&store, "d3").await);
    decide(&catalog, 50, Deciding::Reset).await;
    publish(&store, &url("d4"), &all[3], Some(Authority::Operator)).await.unwrap();
    review(&store).await;
    assert!(outdated(&store, "d4").await);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_hidden_member_counts_as_its_bundles_do() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let all: Vec<Bytes> = (0..2).map(|seed| bytes(seed, 9000)).collect();
    for (number, one) in all.iter().enumerate() {
        publish(&store, &url(&format!("h{number}")), one, Some(Authority::Operator)).await.unwrap();
    }
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let hidden =
        |number: u64, of: usize| at(Update { deployable: false, ..update(number, 1) }, &[(&file(&all[of]), "x")]);
    let offered = small(Update { bundles: bundle(&[identity(1, 1)]), ..update(3, 1) });
    let old = |of: &[u64], number: u64| {
        small(Update { supersedes: of.iter().copied().map(id).collect(), ..update(number, 1) })
    };
    // 1 is superseded while 3, which is offered and bundles it, is not; nobody bundles 2.
    import(&catalog, vec![offered, hidden(1, 0), hidden(2, 1), old(&[1, 2], 4)]).await;
    review(&store).await;
    assert_eq!((outdated(&store, "h0").await, outdated(&store, "h1").await), (false, true));
    import(&catalog, vec![old(&[3], 5)]).await;
    review(&store).await;
    assert_eq!((outdated(&store, "h0").await, outdated(&store, "h1").await), (true, true));
    store.close().await.unwrap();
}

#[tokio::test]
async fn bundles_in_a_circle_are_of_use_as_long_as_one_leads_out_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    // What is held is gone through in the order of its BLAKE3: the file of the one that has another bundle comes first.
    let mut all: Vec<Bytes> = (0..2).map(|seed| bytes(seed, 9000)).collect();
    all.sort_by_key(|one| *blake3_of(one).as_bytes());
    for (number, one) in all.iter().enumerate() {
        publish(&store, &url(&format!("e{number}")), one, Some(Authority::Operator)).await.unwrap();
    }
    let catalog = store.catalog();
    catalog.begin_upstream(microsoft()).await.unwrap();
    let hidden = |number: u64, of: usize, members: &[Identity]| {
        let update = Update { deployable: false, bundles: bundle(members), ..update(number, 1) };
        at(update, &[(&file(&all[of]), "x")])
    };
    let offered = small(Update { bundles: bundle(&[identity(1, 1)]), ..update(3, 1) });
    // 1 and 2 bundle each other. 2 is the newer bundle of 1, and is asked about first; 3, which is offered, bundles 1.
    import(&catalog, vec![offered, hidden(1, 0, &[identity(2, 1)]), hidden(2, 1, &[identity(1, 1)])]).await;
    assert_eq!(
        review(&store).await,
        Reviewed { looked: 2, ..Reviewed::default() },
        "both are in the one that is offered"
    );
    // Without it neither leads anywhere.
    import(&catalog, vec![small(update(3, 2))]).await;
    assert_eq!(review(&store).await.outdated, 2);
    store.close().await.unwrap();
}
