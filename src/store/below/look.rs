//! Looking at what was told: for the next report, and for people. Each answer is of one snapshot.

use std::collections::HashMap;
use std::ops::Bound;

use bytes::Bytes;
use redb::{ReadOnlyTable, ReadTransaction};

use crate::base::time::Timestamp;
use crate::model::chain::below::{About, Row, Stand, Told};
use crate::model::chain::ids::NodeId;
use crate::model::deployment::Endpoint;
use crate::model::update::UpdateId;
use crate::store::below::tables::{
    Body, COUNTS, CountKey, ENDPOINT, EndpointRow, HELD, ITEMS, Id, ItemKey, ItemRow, LOG, NODE, NODES, NodeRow, ONE,
    STATE, StateRow, Tally, UPDATES, count_key, item_key, of_item, read,
};
use crate::store::below::write::{ALL, COMPLIANT, RESTART, TABLE, share};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::fleet::standing::unpacked;
use crate::store::tables::decode;

/// Rows of a report: what its reader takes.
const ROWS_MAX: usize = 60_000;

/// A node that was told of.
#[derive(Clone, Debug)]
pub struct Node {
    /// Which.
    pub id: NodeId,
    /// From who reports here down to it; nothing for this node itself.
    pub path: Vec<NodeId>,
    /// When something was last heard of it.
    pub heard: Timestamp,
    /// What its endpoints come to.
    pub tally: Tally,
    /// What it says of itself: JSON of [`NodeSaid`](crate::model::chain::below::NodeSaid); empty where nothing came yet.
    pub said: Vec<u8>,
}

/// Changes for a report.
#[derive(Clone, Debug, Default)]
pub struct Piece {
    /// Of this node's numbering.
    pub epoch: u64,
    /// Up to which number they go.
    pub to: u64,
    /// What went before this number is told to nobody any more: who knows less is to be told all.
    pub floor: u64,
    /// Whether there is nothing behind that.
    pub last: bool,
    /// The rows.
    pub rows: Vec<Row>,
}

fn damaged() -> Error {
    Error::Row { what: format!("a row of table {TABLE} is damaged") }
}

/// Numbers of updates, looked up once each.
struct Updates {
    table: Option<ReadOnlyTable<u32, &'static Id>>,
    known: HashMap<u32, UpdateId>,
}

impl Updates {
    fn new(tx: &ReadTransaction) -> Result<Self, Error> {
        Ok(Self { table: read(tx, UPDATES)?, known: HashMap::new() })
    }

    fn of(&mut self, number: u32) -> Result<UpdateId, Error> {
        if let Some(id) = self.known.get(&number) {
            return Ok(*id);
        }
        let row = self.table.as_ref().map(|table| table.get(number)).transpose()?.flatten();
        let id = UpdateId::new(*row.ok_or_else(damaged)?.value());
        self.known.insert(number, id);
        Ok(id)
    }

    fn told(&mut self, row: &EndpointRow<'_>) -> Result<Told, Error> {
        let held = unpacked(row.held, row.many).ok_or_else(damaged)?;
        let mut stands = Vec::with_capacity(held.len());
        for one in &held {
            let at = row.codes.binary_search_by_key(&one.number(), |(of, _)| *of);
            let code = at.ok().and_then(|at| row.codes.get(at)).map_or(0, |(_, code)| *code);
            let update = self.of(one.number())?;
            stands.push(Stand { update, state: one.state(), changed: one.changed, code });
        }
        stands.sort_unstable_by_key(|stand| stand.update);
        Ok(Told {
            name: row.name.to_owned(),
            system: row.system.to_owned(),
            contact: row.contact,
            scanned: row.scanned,
            compliant: row.flags & COMPLIANT != 0,
            restart: row.flags & RESTART != 0,
            missing: row.missing,
            stands,
        })
    }
}

type Nodes = Option<ReadOnlyTable<&'static Id, &'static [u8]>>;
type Items = Option<ReadOnlyTable<&'static ItemKey, &'static [u8]>>;

fn node_row(nodes: &Nodes, node: &Id) -> Result<Option<NodeRow>, Error> {
    let row = nodes.as_ref().map(|nodes| nodes.get(node)).transpose()?.flatten();
    row.map(|row| decode("below-nodes.1", row.value())).transpose()
}

fn json(items: &Items, node: &Id, kind: u8) -> Result<Vec<u8>, Error> {
    let row = items.as_ref().map(|items| items.get(&item_key(node, kind, &ALL))).transpose()?.flatten();
    let Some(row) = row else { return Ok(vec![]) };
    Ok(match decode::<ItemRow<'_>>(TABLE, row.value())?.body {
        Body::Json(json) => json.to_vec(),
        _ => Vec::new(),
    })
}

fn node(items: &Items, id: Id, row: NodeRow) -> Result<Node, Error> {
    let path = row.path.into_iter().map(NodeId::new).collect();
    let (heard, said) = (Timestamp::from_ms(row.heard), json(items, &id, NODE)?);
    Ok(Node { id: NodeId::new(id), path, heard, tally: row.tally, said })
}

impl Core {
    /// Step 4.
    pub(super) fn below_behind(&self, me: NodeId, from: u64, bytes: usize) -> Result<Piece, Error> {
        self.index.read(|tx| {
            let (Some(state), Some(log), items, nodes) =
                (read(tx, STATE)?, read(tx, LOG)?, read(tx, ITEMS)?, read(tx, NODES)?)
            else {
                return Ok(Piece::default());
            };
            let state: StateRow =
                state.get(ONE)?.map(|row| decode("below-state.1", row.value())).transpose()?.unwrap_or_default();
            let (mut updates, mut paths) = (Updates::new(tx)?, HashMap::<Id, Option<Vec<NodeId>>>::new());
            let mut piece = Piece {
                epoch: state.epoch,
                to: from.min(state.last),
                floor: state.floor,
                last: true,
                rows: Vec::new(),
            };
            let mut filled = 0_usize;
            for row in log.range((Bound::Excluded(from), Bound::Unbounded))? {
                let (number, key) = row?;
                if filled >= bytes || piece.rows.len() >= ROWS_MAX {
                    piece.last = false;
                    return Ok(piece);
                }
                piece.to = number.value();
                let (id, kind, item) = of_item(key.value());
                let Some(row) = items.as_ref().map(|items| items.get(key.value())).transpose()?.flatten() else {
                    continue;
                };
                filled += row.value().len() + 64;
                let row: ItemRow<'_> = decode(TABLE, row.value())?;
                let endpoint = Endpoint(UpdateId::new(item));
                let about = match (kind, &row.body) {
                    (NODE, Body::Json(json)) => About::Node(Bytes::copy_from_slice(json)),
                    (HELD, Body::Json(json)) => About::Held(Bytes::copy_from_slice(json)),
                    (ENDPOINT, Body::Endpoint(row)) => {
                        let told = updates.told(row)?;
                        filled += told.stands.len() * 22;
                        About::Endpoint(endpoint, told)
                    }
                    (ENDPOINT, Body::Gone(_)) => About::EndpointGone(endpoint),
                    (NODE, Body::Gone(_)) => About::NodeGone,
                    _ => continue,
                };
                let below = match (&row.body, paths.get(&id)) {
                    (Body::Gone(path), _) => Some(path.iter().copied().map(NodeId::new).collect()),
                    (_, Some(path)) => path.clone(),
                    (_, None) => {
                        let row = node_row(&nodes, &id)?;
                        let path = row.map(|row| row.path.into_iter().map(NodeId::new).collect::<Vec<_>>());
                        paths.insert(id, path.clone());
                        path
                    }
                };
                // A row of a node that is not there any more was overtaken by that node's going.
                let Some(below) = below else { continue };
                piece.rows.push(Row { path: std::iter::once(me).chain(below).collect(), about });
            }
            piece.to = piece.to.max(state.last);
            Ok(piece)
        })
    }

    pub(super) fn below_nodes(&self) -> Result<Vec<Node>, Error> {
        self.index.read(|tx| {
            let (nodes, items) = (read(tx, NODES)?, read(tx, ITEMS)?);
            let Some(nodes) = nodes else { return Ok(vec![]) };
            let mut found = Vec::new();
            for row in redb::ReadableTable::iter(&nodes)? {
                let (id, row) = row?;
                found.push(node(&items, *id.value(), decode("below-nodes.1", row.value())?)?);
            }
            Ok(found)
        })
    }

    pub(super) fn below_node(&self, id: NodeId) -> Result<Option<(Node, Vec<u8>)>, Error> {
        self.index.read(|tx| {
            let (nodes, items) = (read(tx, NODES)?, read(tx, ITEMS)?);
            let Some(row) = node_row(&nodes, id.bytes())? else { return Ok(None) };
            Ok(Some((node(&items, *id.bytes(), row)?, json(&items, id.bytes(), HELD)?)))
        })
    }

    fn below_ids(&self, wanted: impl Fn(&Id, &NodeRow) -> bool) -> Result<Vec<NodeId>, Error> {
        self.index.read(|tx| {
            let Some(nodes) = read(tx, NODES)? else { return Ok(vec![]) };
            let mut found = Vec::new();
            for row in redb::ReadableTable::iter(&nodes)? {
                let (id, row) = row?;
                if wanted(id.value(), &decode("below-nodes.1", row.value())?) {
                    found.push(NodeId::new(*id.value()));
                }
            }
            Ok(found)
        })
    }

    pub(super) fn below_via(&self, child: NodeId) -> Result<Vec<NodeId>, Error> {
        self.below_ids(|id, row| row.via == *child.bytes() && id != child.bytes())
    }

    pub(super) fn below_others(&self, me: NodeId) -> Result<Vec<NodeId>, Error> {
        self.below_ids(|id, _| id != me.bytes())
    }

    pub(super) fn below_tally(&self) -> Result<Tally, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, STATE)? else { return Ok(Tally::default()) };
            let row = table.get(ONE)?.map(|row| decode::<StateRow>("below-state.1", row.value())).transpose()?;
            Ok(row.unwrap_or_default().tally)
        })
    }

    pub(super) fn below_counts(&self, of: Option<NodeId>) -> Result<Vec<(UpdateId, [u32; 7])>, Error> {
        self.index.read(|tx| {
            let Some(counts) = read(tx, COUNTS)? else { return Ok(vec![]) };
            let of = of.map_or(ALL, |node| *node.bytes());
            let (mut updates, mut found) = (Updates::new(tx)?, Vec::new());
            for row in counts.range::<&CountKey>(&count_key(&of, 0)..=&count_key(&of, u32::MAX))? {
                let (key, row) = row?;
                let number = key.value().last_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
                let mut by = [0; 7];
                by.iter_mut()
                    .zip(row.value().as_chunks::<4>().0)
                    .for_each(|(count, bytes)| *count = u32::from_le_bytes(*bytes));
                found.push((updates.of(number)?, by));
            }
            Ok(found)
        })
    }

    pub(super) fn below_endpoints(
        &self,
        node: NodeId,
        after: Option<Endpoint>,
        limit: usize,
    ) -> Result<Vec<(Endpoint, Told)>, Error> {
        self.index.read(|tx| {
            let Some(items) = read(tx, ITEMS)? else { return Ok(vec![]) };
            let end = item_key(node.bytes(), ENDPOINT, &[0xff; 16]);
            let from = match after {
                Some(after) => Bound::Excluded(item_key(node.bytes(), ENDPOINT, after.0.bytes())),
                None => Bound::Included(item_key(node.bytes(), ENDPOINT, &ALL)),
            };
            let (mut updates, mut found) = (Updates::new(tx)?, Vec::new());
            for row in items.range::<&ItemKey>((from.as_ref(), Bound::Included(&end)))? {
                let (key, row) = row?;
                if found.len() >= limit {
                    break;
                }
                if let Body::Endpoint(row) = &decode::<ItemRow<'_>>(TABLE, row.value())?.body {
                    let (.., item) = of_item(key.value());
                    found.push((Endpoint(UpdateId::new(item)), updates.told(row)?));
                }
            }
            Ok(found)
        })
    }

    pub(super) fn below_check(&self) -> Result<Vec<String>, Error> {
        self.index.read(|tx| {
            let (Some(items), nodes, Some(counts)) = (read(tx, ITEMS)?, read(tx, NODES)?, read(tx, COUNTS)?) else {
                return Ok(vec![]);
            };
            let (mut tallies, mut by) = (HashMap::<Id, Tally>::new(), HashMap::<CountKey, [u32; 7]>::new());
            for row in redb::ReadableTable::iter(&items)? {
                let (key, row) = row?;
                let (node, ..) = of_item(key.value());
                if let Body::Endpoint(row) = &decode::<ItemRow<'_>>(TABLE, row.value())?.body {
                    let (tally, held) = share(row)?;
                    for of in [node, ALL] {
                        tallies.entry(of).or_default().by(&tally, true);
                        for one in &held {
                            let counts = by.entry(count_key(&of, one.number())).or_default();
                            if let Some(count) = counts.get_mut(usize::from(one.state().number())) {
                                *count += 1;
                            }
                        }
                    }
                }
            }
            let mut wrong = Vec::new();
            for (node, tally) in &tallies {
                let kept = if *node == ALL {
                    let state =
                        read(tx, STATE)?.map(|table| table.get(ONE).map(|row| row.map(|row| row.value().to_vec())));
                    let row = state.transpose()?.flatten();
                    row.map(|row| decode::<StateRow>("below-state.1", &row)).transpose()?.map(|row| row.tally)
                } else {
                    node_row(&nodes, node)?.map(|row| row.tally)
                };
                if kept != Some(*tally) {
                    wrong.push(format!("{}: {kept:?} is kept, and {tally:?} are there", NodeId::new(*node)));
                }
            }
            let mut kept = 0;
            for row in redb::ReadableTable::iter(&counts)? {
                let (key, row) = row?;
                let mut now = [0; 7];
                now.iter_mut()
                    .zip(row.value().as_chunks::<4>().0)
                    .for_each(|(count, bytes)| *count = u32::from_le_bytes(*bytes));
                kept += 1;
                if by.get(key.value()) != Some(&now) {
                    wrong.push(format!("{:?}: {now:?} is kept, and {:?} are there", key.value(), by.get(key.value())));
                }
            }
            if kept != by.len() {
                wrong.push(format!("{kept} counts are kept, and {} are there", by.len()));
            }
            Ok(wrong)
        })
    }
}
