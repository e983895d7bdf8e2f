//! What the store keeps of a feed, across the points at which a node can be cut off.

use std::sync::Arc;

use waystation::model::chain::hash::Link;
use waystation::model::chain::ids::{Audience, Position};
use waystation::model::chain::record::Entry;
use waystation::store::feed::{Change, Feed, Show};

use crate::small_store;
use crate::world::{node, record};

const ALL: Audience = Audience::EVERYBODY;

fn at(sequence: u64) -> (Position, Link) {
    (Position { epoch: 1, sequence }, Link::new([sequence as u8; 32]))
}

fn apply(sequence: u64, whole: bool) -> Change {
    let (at, link) = at(sequence);
    Change::Apply { at, link, whole }
}

async fn live(feed: &Feed) -> Vec<(u8, bool)> {
    let mut live = Vec::new();
    for key in 1..20_u8 {
        let found = feed.record(key % 15 + 1, vec![key]).await.unwrap();
        live.extend(found.map(|record| (key, record.body().len() == 3)));
    }
    live
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_verified_becomes_visible_wherever_a_node_is_cut_off_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let open = || small_store::open(&dir.path().join("data"));
    let store = open();
    let feed = store.feed();
    let first: Vec<Entry> = (1..=4).map(|key| record(key, ALL, b"one")).collect();
    feed.take(vec![Change::Stage(first.clone())]).await.unwrap();
    assert_eq!(live(&feed).await, [], "nobody sees what is staged");
    assert_eq!(feed.staged().await.unwrap().len(), 4);
    let show = Show { vouch: vec![1], checkpoint: vec![2], stamp: None };
    feed.show(show, 4).await.unwrap();
    feed.take(vec![apply(4, true), Change::Remember(vec![7])]).await.unwrap();
    assert!(feed.page(None, 1 << 20, false, Arc::default()).await.unwrap().is_none(), "not while it is being moved");
    // The node is cut off here, and goes on.
    store.close().await.unwrap();
    drop((store, feed));
    let store = open();
    let feed = store.feed();
    assert_eq!(feed.known().await.unwrap(), Some(vec![7]));
    feed.apply().await.unwrap();
    assert_eq!(live(&feed).await, [(1, true), (2, true), (3, true), (4, true)]);
    assert_eq!(feed.staged().await.unwrap(), []);
    let page = feed.page(None, 1 << 20, true, Arc::default()).await.unwrap().unwrap();
    assert_eq!((page.entries.len(), page.more, page.floor), (4, false, at(4)));

    // A tail: one record is another, one goes, one comes back to what it was.
    let gone = Entry::gone(3, ALL, vec![2].into()).unwrap();
    let tail = vec![record(1, ALL, b"other"), gone, record(3, ALL, b"other"), record(3, ALL, b"one")];
    feed.take(vec![Change::Stage(tail.clone())]).await.unwrap();
    feed.take(vec![Change::Drop]).await.unwrap();
    assert_eq!(live(&feed).await.len(), 4, "what was dropped has touched nothing");
    feed.take(vec![Change::Stage(tail), apply(8, false)]).await.unwrap();
    feed.apply().await.unwrap();
    feed.apply().await.unwrap();
    assert_eq!(live(&feed).await, [(1, false), (3, true), (4, true)]);
    let mine = Arc::new([ALL, Audience::node(node(1))].into());
    let piece = feed.tail(4, 10, 1 << 20, mine).await.unwrap().unwrap();
    let whole: Vec<bool> = piece.entries.iter().map(Entry::is_whole).collect();
    assert_eq!(whole, [true, true, false, true], "what was replaced goes as its hash");
    let mut link = at(4).1;
    for (entry, sequence) in piece.entries.iter().zip(5..) {
        link = link.next(sequence, entry.op(), entry.audience(), entry.key(), entry.record());
    }
    let last = feed.tail(8, 10, 1 << 20, Arc::default()).await.unwrap().unwrap();
    assert_eq!((piece.link, last.link, last.entries.len()), (Some(at(4).1), Some(link), 0));
    assert!(feed.tail(3, 10, 1 << 20, Arc::default()).await.unwrap().unwrap().link.is_none(), "below the floor");

    // A snapshot in which less is: what is not in it goes, and is told as what changed.
    let told = feed.untold(100).await.unwrap();
    feed.told(told, vec![]).await.unwrap();
    assert_eq!(feed.untold(100).await.unwrap(), []);
    feed.take(vec![Change::Stage(vec![record(4, ALL, b"one").stripped(), record(15, ALL, b"one")]), apply(9, true)])
        .await
        .unwrap();
    feed.apply().await.unwrap();
    assert_eq!(live(&feed).await, [(4, true), (15, true)], "what is held under the right hash stays");
    let kinds: Vec<u8> = feed.untold(100).await.unwrap().iter().map(|told| told.kind).collect();
    assert_eq!(kinds, [4, 1], "a refusal that went is told before an update that came");
}
