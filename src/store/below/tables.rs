//! The tables of what nodes below tell. Numbers in keys are big-endian, so that rows stand in their order.

use redb::{ReadTransaction, TableDefinition, TableError, WriteTransaction};
use serde::{Deserialize, Serialize};

use crate::store::error::Error;

/// The bytes of an id.
pub(crate) type Id = [u8; 16];
/// Node, kind of item, id of the endpoint (zeros where it is about the node).
pub(crate) type ItemKey = [u8; 33];
/// Node (zeros for all together), number of an update (big-endian).
pub(crate) type CountKey = [u8; 20];
/// On how many endpoints an update is in each state, by the protocol's number of the state: seven times u32, little-endian.
pub(crate) type CountRow = [u8; 28];

/// Node -> [`NodeRow`].
pub(crate) const NODES: TableDefinition<'static, &Id, &[u8]> = TableDefinition::new("below-nodes.1");
/// Node, kind, endpoint -> [`ItemRow`].
pub(crate) const ITEMS: TableDefinition<'static, &ItemKey, &[u8]> = TableDefinition::new("below-items.1");
/// Number of the last change -> item.
pub(crate) const LOG: TableDefinition<'static, u64, &ItemKey> = TableDefinition::new("below-log.1");
/// Number -> item that is gone, until the parent knows.
pub(crate) const GONE: TableDefinition<'static, u64, &ItemKey> = TableDefinition::new("below-gone.1");
/// Node and update -> how many endpoints are in which state.
pub(crate) const COUNTS: TableDefinition<'static, &CountKey, &CountRow> = TableDefinition::new("below-counts.1");
/// A small number -> the update. Numbers are never used again.
pub(crate) const UPDATES: TableDefinition<'static, u32, &Id> = TableDefinition::new("below-updates.1");
/// The other way round.
pub(crate) const NUMBERS: TableDefinition<'static, &Id, u32> = TableDefinition::new("below-numbers.1");
/// A node that reports here itself -> [`ChildRow`].
pub(crate) const CHILDREN: TableDefinition<'static, &Id, &[u8]> = TableDefinition::new("below-children.1");
/// `state` -> [`StateRow`].
pub(crate) const STATE: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("below-state.1");

/// The one key of [`STATE`].
pub(crate) const ONE: &str = "state";

/// Kinds of items.
pub(crate) const NODE: u8 = 1;
/// A node's settings and answers.
pub(crate) const HELD: u8 = 2;
/// An endpoint.
pub(crate) const ENDPOINT: u8 = 3;

/// What endpoints come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Endpoints.
    pub endpoints: u32,
    /// Of these, those that keep to the policies of their node.
    pub compliant: u32,
    /// Those that never told what a scan found.
    pub unscanned: u32,
    /// Those that miss an update that counts.
    pub missing: u32,
    /// Those on which an installation failed.
    pub failed: u32,
    /// Those that wait for a restart.
    pub restart: u32,
}

impl Tally {
    /// With those of another one, or without them.
    pub(super) fn by(&mut self, other: &Self, comes: bool) {
        let mut other = *other;
        for (to, from) in self.all().into_iter().zip(other.all()) {
            *to = if comes { to.saturating_add(*from) } else { to.saturating_sub(*from) };
        }
    }

    fn all(&mut self) -> [&mut u32; 6] {
        let Self { endpoints, compliant, unscanned, missing, failed, restart } = self;
        [endpoints, compliant, unscanned, missing, failed, restart]
    }
}

/// A node that was told of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct NodeRow {
    /// Who reports of it here.
    pub(crate) via: Id,
    /// From that one down to it; nothing for this node itself.
    pub(crate) path: Vec<Id>,
    /// When something was last heard of it, in milliseconds.
    pub(crate) heard: u64,
    pub(crate) generation: u64,
    pub(crate) tally: Tally,
}

/// What was told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ItemRow<'a> {
    /// Of its last change.
    pub(crate) number: u64,
    /// Which whole telling it was last part of.
    pub(crate) generation: u64,
    #[serde(borrow)]
    pub(crate) body: Body<'a>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Body<'a> {
    /// It was under this path.
    Gone(Vec<Id>),
    Json(&'a [u8]),
    #[serde(borrow)]
    Endpoint(EndpointRow<'a>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EndpointRow<'a> {
    pub(crate) name: &'a str,
    pub(crate) system: &'a str,
    pub(crate) contact: u32,
    pub(crate) scanned: u32,
    /// 1 compliant, 2 waits for a restart.
    pub(crate) flags: u8,
    pub(crate) missing: u32,
    pub(crate) many: u32,
    /// As in `fleet-states.1`.
    pub(crate) held: &'a [u8],
    pub(crate) codes: Vec<(u32, i32)>,
}

/// How far a node that reports here has told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ChildRow {
    pub(crate) epoch: u64,
    pub(crate) to: u64,
    pub(crate) generation: u64,
    /// It tells all anew: what it leaves out goes at the end.
    pub(crate) whole: bool,
}

/// This node's own numbering.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct StateRow {
    pub(crate) epoch: u64,
    pub(crate) last: u64,
    /// What went up to here is told to nobody any more.
    pub(crate) floor: u64,
    pub(crate) generation: u64,
    /// Of all nodes together.
    pub(crate) tally: Tally,
    /// The number of an update that comes next.
    pub(crate) next_update: u32,
}

pub(crate) fn item_key(node: &Id, kind: u8, item: &Id) -> ItemKey {
    let mut key = [0; 33];
    let bytes = node.iter().chain(std::iter::once(&kind)).chain(item);
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    key
}

pub(crate) fn of_item(key: &ItemKey) -> (Id, u8, Id) {
    let part = |at: usize| key.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; 16]);
    (part(0), key.get(16).copied().unwrap_or(0), part(17))
}

pub(crate) fn count_key(node: &Id, number: u32) -> CountKey {
    let mut key = [0; 20];
    let bytes = node.iter().copied().chain(number.to_be_bytes());
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    key
}

/// Makes every table.
pub(crate) fn create(tx: &WriteTransaction) -> Result<(), Error> {
    tx.open_table(NODES)?;
    tx.open_table(ITEMS)?;
    tx.open_table(LOG)?;
    tx.open_table(GONE)?;
    tx.open_table(COUNTS)?;
    tx.open_table(UPDATES)?;
    tx.open_table(NUMBERS)?;
    tx.open_table(CHILDREN)?;
    tx.open_table(STATE)?;
    Ok(())
}

/// A table of an index that was made before there was such a table is not there.
pub(super) fn read<K: redb::Key + 'static, V: redb::Value + 'static>(
    tx: &ReadTransaction,
    table: TableDefinition<'static, K, V>,
) -> Result<Option<redb::ReadOnlyTable<K, V>>, Error> {
    match tx.open_table(table) {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        other => Ok(Some(other?)),
    }
}
