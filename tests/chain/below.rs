//! What nodes below tell, in the store: taken as told, counted as it stands, told on, and for the reporter's own subtree alone.

use std::collections::BTreeMap;

use bytes::Bytes;
use tempfile::TempDir;
use waystation::base::time::Timestamp;
use waystation::model::chain::below::{About, Report, Row, Stand, Told};
use waystation::model::chain::ids::NodeId;
use waystation::model::compliance::State;
use waystation::model::deployment::Endpoint;
use waystation::model::update::UpdateId;
use waystation::store::Store;
use waystation::store::below::{Below, Taken, Taking, Tally};

use crate::small_store;
use crate::world::node;

const ME: NodeId = NodeId::new([200; 16]);

pub(crate) fn endpoint(number: u32) -> Endpoint {
    Endpoint(UpdateId::new(blake3::hash(&number.to_le_bytes()).as_bytes()[..16].try_into().unwrap()))
}

/// An endpoint with so many updates, some of them missing.
pub(crate) fn told(number: u32, stands: u32) -> Told {
    let mut stands: Vec<Stand> = (0..stands)
        .map(|at| {
            let state = [State::Installed, State::NotInstalled, State::Failed][((at + number) % 7).min(2) as usize];
            let code = if state == State::Failed { -1 } else { 0 };
            Stand { update: endpoint(at + 1_000_000).0, state, changed: 1_800_000_000 + number, code }
        })
        .collect();
    stands.sort_unstable_by_key(|stand| stand.update);
    Told {
        name: format!("pc{number}.example.org"),
        system: "Windows 11".into(),
        contact: 1_800_000_000,
        scanned: 1_800_000_000 * u32::from(!number.is_multiple_of(5)),
        compliant: number.is_multiple_of(2),
        restart: number.is_multiple_of(3),
        missing: number % 4,
        stands,
    }
}

pub(crate) fn said(path: &[NodeId], text: &str) -> Row {
    Row { path: path.to_vec(), about: About::Node(Bytes::from(format!("{{\"name\":\"{text}\"}}"))) }
}

fn at(path: &[NodeId], number: u32) -> Row {
    Row { path: path.to_vec(), about: About::Endpoint(endpoint(number), told(number, 20)) }
}

struct Parent {
    below: Below,
    _store: Store,
    _dir: TempDir,
}

impl Parent {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = small_store::open(&dir.path().join("data"));
        Self { below: store.below(), _store: store, _dir: dir }
    }

    async fn take(&self, child: NodeId, now: u64, report: Report) -> Taken {
        let (now, stale) = (Timestamp::from_ms(now), Timestamp::from_ms(now.saturating_sub(100)));
        let taken = self.below.take(Taking { me: ME, child, report, now, stale, keep_gone: true }).await.unwrap();
        assert_eq!(self.below.check().await.unwrap(), Vec::<String>::new());
        taken
    }

    async fn endpoints(&self, node: NodeId) -> Vec<Told> {
        let mut all: Vec<Told> =
            self.below.endpoints(node, None, 1_000).await.unwrap().into_iter().map(|(_, told)| told).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

fn report(from: u64, to: u64, last: bool, rows: Vec<Row>) -> Report {
    Report { epoch: 5, from, to, last, rows }
}

const KEPT: Taken = Taken::Kept { refused: 0, changed: true };

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_is_kept_counted_and_told_on() {
    let parent = Parent::new();
    let (a, b) = (node(1), node(2));
    // Somebody who goes on where nobody was is asked for all.
    let nowhere = parent.take(a, 1_000, report(4, 5, true, vec![said(&[a], "A")])).await;
    assert_eq!(nowhere, Taken::Elsewhere { to: None });
    let rows = vec![said(&[a], "A"), said(&[a, b], "B"), at(&[a], 1), at(&[a, b], 2), at(&[a, b], 3)];
    assert_eq!(parent.take(a, 1_000, report(0, 5, true, rows.clone())).await, KEPT);
    assert_eq!(parent.endpoints(b).await, vec![told(2, 20), told(3, 20)]);
    let tally = Tally { endpoints: 3, compliant: 1, unscanned: 0, missing: 3, failed: 3, restart: 1 };
    assert_eq!(parent.below.tally().await.unwrap(), tally);
    let counts = parent.below.counts(None).await.unwrap();
    assert_eq!((counts.len(), counts.iter().map(|(_, by)| by.iter().sum::<u32>()).sum::<u32>()), (20, 60));
    assert_eq!(parent.below.counts(Some(a)).await.unwrap().iter().map(|(_, by)| by[4]).sum::<u32>(), 2);

    // Told on with this node before the path; what says nothing new is not told again.
    let piece = parent.below.behind(ME, 0, 1 << 20).await.unwrap();
    assert_eq!((piece.rows.len(), piece.last, piece.to), (5, true, 5));
    assert!(piece.rows.iter().any(|row| row.path == [ME, a, b] && row.about == at(&[], 3).about));
    let again = parent.take(a, 1_100, report(0, 5, true, rows)).await;
    assert_eq!(again, Taken::Kept { refused: 0, changed: false });
    assert!(parent.below.behind(ME, 5, 1 << 20).await.unwrap().rows.is_empty());

    // A delta: one changes, one goes. Both are told on, behind the number that the parent knows.
    let mut changed = told(2, 21);
    changed.compliant = false;
    let row = Row { path: vec![a, b], about: About::Endpoint(endpoint(2), changed.clone()) };
    let gone = Row { path: vec![a, b], about: About::EndpointGone(endpoint(3)) };
    assert_eq!(parent.take(a, 1_200, report(5, 7, true, vec![row.clone(), gone.clone()])).await, KEPT);
    assert_eq!(parent.endpoints(b).await, vec![changed]);
    let piece = parent.below.behind(ME, 5, 1 << 20).await.unwrap();
    let about: Vec<&About> = piece.rows.iter().map(|row| &row.about).collect();
    assert_eq!(about, [&row.about, &gone.about]);
    parent.below.acknowledged(piece.to).await.unwrap();
    let piece = parent.below.behind(ME, 0, 1 << 20).await.unwrap();
    assert_eq!((piece.rows.len(), piece.floor), (4, 7));
    // Where it did not end is no place to go on from.
    assert_eq!(parent.take(a, 1_300, report(5, 9, true, vec![])).await, Taken::Elsewhere { to: Some(7) });
    let other = Report { epoch: 6, ..report(7, 9, true, vec![]) };
    assert_eq!(parent.take(a, 1_300, other).await, Taken::Elsewhere { to: None });

    // A whole telling in two parts: what it leaves out goes with its end, nodes too, and not before.
    assert_eq!(
        parent.take(a, 1_400, report(0, 2, false, vec![said(&[a], "A")])).await,
        Taken::Kept { refused: 0, changed: false }
    );
    assert_eq!(parent.below.nodes().await.unwrap().len(), 2);
    assert_eq!(parent.take(a, 1_500, report(2, 3, true, vec![at(&[a], 9)])).await, KEPT);
    assert_eq!(parent.endpoints(a).await, vec![told(9, 20)]);
    assert_eq!(parent.below.nodes().await.unwrap().len(), 1);
    let gone = parent.below.behind(ME, 7, 1 << 20).await.unwrap().rows;
    assert!(gone.iter().any(|row| row.path == [ME, a, b] && row.about == About::NodeGone), "{gone:?}");
    assert_eq!(parent.below.remove(a, true).await.unwrap(), 1);
    assert_eq!(parent.below.tally().await.unwrap(), Tally::default());
    assert!(parent.below.counts(None).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_speaks_for_its_own_subtree_alone() {
    let parent = Parent::new();
    let (a, b, c) = (node(1), node(2), node(3));
    parent.take(a, 1_000, report(0, 2, true, vec![said(&[a], "A"), said(&[a, c], "C"), at(&[a, c], 1)])).await;
    parent.take(b, 1_000, report(0, 1, true, vec![said(&[b], "B")])).await;
    // Of itself under another's certificate, of its parent, of itself twice, of one that another one tells of.
    let lies = vec![
        said(&[b], "B"),
        said(&[a], "stolen"),
        said(&[b, ME], "top"),
        said(&[b, c, c], "twice"),
        said(&[b, a], "mine"),
        at(&[b, c], 7),
        Row { path: vec![b, c], about: About::EndpointGone(endpoint(1)) },
    ];
    let taken = parent.take(b, 1_050, report(0, 9, true, lies)).await;
    assert_eq!(taken, Taken::Kept { refused: 5, changed: false });
    assert_eq!(parent.endpoints(c).await, vec![told(1, 20)]);
    let names: BTreeMap<NodeId, Vec<u8>> =
        parent.below.nodes().await.unwrap().into_iter().map(|node| (node.id, node.said)).collect();
    assert_eq!(names[&a], b"{\"name\":\"A\"}");

    // Who was not heard of through the other one for a while has moved; what was told of it before goes.
    let moved = vec![said(&[b, c], "C"), at(&[b, c], 7)];
    assert_eq!(parent.take(b, 1_500, report(9, 11, true, moved)).await, KEPT);
    assert_eq!(parent.endpoints(c).await, vec![told(7, 20)]);
    // And whoever speaks with its own certificate is believed at once.
    assert_eq!(parent.take(c, 1_501, report(0, 1, true, vec![said(&[c], "C")])).await, KEPT);
    let found = parent.below.node(c).await.unwrap().unwrap().0;
    assert_eq!((found.path, found.tally), (vec![c], Tally::default()));
}
