//! Rows that were told, written with what they come to.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use redb::{ReadableTable, Table, WriteTransaction};

use crate::model::chain::below::{About, Told};
use crate::model::compliance::State;
use crate::model::update::UpdateId;
use crate::store::below::tables::{
    Body, COUNTS, CountKey, ENDPOINT, EndpointRow, GONE, HELD, ITEMS, Id, ItemKey, ItemRow, LOG, NODE, NODES, NUMBERS,
    NodeRow, ONE, STATE, StateRow, Tally, UPDATES, count_key, item_key, of_item,
};
use crate::store::below::{ENDPOINTS_MAX, NODES_MAX, UPDATES_MAX};
use crate::store::error::Error;
use crate::store::fleet::standing::{Held, packed, unpacked};
use crate::store::tables::{decode, encode};

pub(super) const COMPLIANT: u8 = 1;
pub(super) const RESTART: u8 = 2;
pub(super) const TABLE: &str = "below-items.1";
pub(super) const ALL: Id = [0; 16];

/// What one step changes.
pub(super) struct Step<'a> {
    tx: &'a WriteTransaction,
    items: Table<'a, &'static ItemKey, &'static [u8]>,
    log: Table<'a, u64, &'static ItemKey>,
    gone: Table<'a, u64, &'static ItemKey>,
    nodes: Table<'a, &'static Id, &'static [u8]>,
    numbers: Table<'a, &'static Id, u32>,
    updates: Table<'a, u32, &'static Id>,
    pub(super) state: StateRow,
    /// Of nodes that were looked at: written at the end.
    known: HashMap<Id, Option<NodeRow>>,
    counts: HashMap<CountKey, [i64; 7]>,
    numbered: HashMap<Id, u32>,
    pub(super) keep_gone: bool,
    pub(super) changed: bool,
    pub(super) refused: u64,
}

/// What an endpoint's row comes to: its share of the tally, and its states by the numbers of updates.
pub(super) fn share(row: &EndpointRow<'_>) -> Result<(Tally, Box<[Held]>), Error> {
    let held = unpacked(row.held, row.many);
    let held = held.ok_or_else(|| Error::Row { what: format!("a row of table {TABLE} is damaged") })?;
    let has = |flag: bool| u32::from(flag);
    let tally = Tally {
        endpoints: 1,
        compliant: has(row.flags & COMPLIANT != 0),
        unscanned: has(row.scanned == 0),
        missing: has(row.missing > 0),
        failed: has(held.iter().any(|one| one.state() == State::Failed)),
        restart: has(row.flags & RESTART != 0),
    };
    Ok((tally, held))
}

impl<'a> Step<'a> {
    pub(super) fn new(tx: &'a WriteTransaction, keep_gone: bool) -> Result<Self, Error> {
        let state = tx.open_table(STATE)?;
        let row = state.get(ONE)?.map(|row| decode("below-state.1", row.value())).transpose()?.unwrap_or_default();
        drop(state);
        Ok(Self {
            tx,
            items: tx.open_table(ITEMS)?,
            log: tx.open_table(LOG)?,
            gone: tx.open_table(GONE)?,
            nodes: tx.open_table(NODES)?,
            numbers: tx.open_table(NUMBERS)?,
            updates: tx.open_table(UPDATES)?,
            state: row,
            known: HashMap::new(),
            counts: HashMap::new(),
            numbered: HashMap::new(),
            keep_gone,
            changed: false,
            refused: 0,
        })
    }

    /// What is known of a node.
    pub(super) fn node(&mut self, node: &Id) -> Result<&mut Option<NodeRow>, Error> {
        match self.known.entry(*node) {
            Entry::Occupied(row) => Ok(row.into_mut()),
            Entry::Vacant(place) => {
                let row = self.nodes.get(node)?.map(|row| decode("below-nodes.1", row.value())).transpose()?;
                Ok(place.insert(row))
            }
        }
    }

    /// All nodes that are kept.
    fn many_nodes(&self) -> Result<u32, Error> {
        use redb::ReadableTableMetadata as _;
        let new = self.known.iter().filter(|(_, row)| row.is_some()).count() as u64;
        // Those that are in both are counted twice: that only makes the limit a little lower.
        Ok(u32::try_from(self.nodes.len()?.saturating_add(new)).unwrap_or(u32::MAX))
    }

    /// Whether there is room for one more.
    pub(super) fn has_room(&self) -> Result<bool, Error> {
        Ok(self.many_nodes()? < NODES_MAX)
    }

    fn next(&mut self) -> u64 {
        self.changed = true;
        self.state.last += 1;
        self.state.last
    }

    /// The number of an update; `None` where there are too many.
    fn number(&mut self, update: &UpdateId) -> Result<Option<u32>, Error> {
        let id = *update.bytes();
        if let Some(number) = self.numbered.get(&id) {
            return Ok(Some(*number));
        }
        let held = self.numbers.get(&id)?.map(|number| number.value());
        let number = match held {
            Some(number) => number,
            None if self.state.next_update >= UPDATES_MAX => return Ok(None),
            None => {
                let number = self.state.next_update;
                self.state.next_update += 1;
                self.numbers.insert(&id, number)?;
                self.updates.insert(number, &id)?;
                number
            }
        };
        self.numbered.insert(id, number);
        Ok(Some(number))
    }

    fn count(&mut self, node: &Id, tally: &Tally, held: &[Held], comes: bool) -> Result<(), Error> {
        let step = if comes { 1 } else { -1 };
        for one in held {
            for of in [node, &ALL] {
                let counts = self.counts.entry(count_key(of, one.number())).or_default();
                if let Some(count) = counts.get_mut(usize::from(one.state().number())) {
                    *count += step;
                }
            }
        }
        if let Some(row) = self.node(node)? {
            row.tally.by(tally, comes);
        }
        self.state.tally.by(tally, comes);
        Ok(())
    }

    /// One row of a node that is known. The path is that of what goes.
    pub(super) fn put(&mut self, node: &Id, about: &About, generation: u64) -> Result<(), Error> {
        match about {
            About::Node(json) => self.put_json(&item_key(node, NODE, &ALL), json, generation),
            About::Held(json) => self.put_json(&item_key(node, HELD, &ALL), json, generation),
            About::Endpoint(endpoint, told) => {
                self.put_endpoint(node, &item_key(node, ENDPOINT, endpoint.0.bytes()), told, generation)
            }
            About::EndpointGone(endpoint) => self.take_away(&item_key(node, ENDPOINT, endpoint.0.bytes())),
            About::NodeGone => self.drop_node(node),
        }
    }

    fn put_json(&mut self, key: &ItemKey, json: &[u8], generation: u64) -> Result<(), Error> {
        let old = self.items.get(key)?.map(|row| row.value().to_vec());
        let old: Option<ItemRow<'_>> = old.as_deref().map(|row| decode(TABLE, row)).transpose()?;
        self.keep(key, old.as_ref(), Body::Json(json), generation)
    }

    /// Writes a row where it says something new, or is part of another whole telling; the rest of what it comes to is the caller's.
    fn keep(&mut self, key: &ItemKey, old: Option<&ItemRow<'_>>, body: Body<'_>, generation: u64) -> Result<(), Error> {
        let number = match old {
            Some(old) if old.body == body && old.generation == generation => return Ok(()),
            Some(old) if old.body == body => old.number,
            other => {
                if let Some(old) = other {
                    self.log.remove(old.number)?;
                    self.gone.remove(old.number)?;
                }
                let number = self.next();
                self.log.insert(number, key)?;
                number
            }
        };
        self.items.insert(key, encode(&ItemRow { number, generation, body })?.as_slice())?;
        Ok(())
    }

    fn put_endpoint(&mut self, node: &Id, key: &ItemKey, told: &Told, generation: u64) -> Result<(), Error> {
        let old = self.items.get(key)?.map(|row| row.value().to_vec());
        let old: Option<ItemRow<'_>> = old.as_deref().map(|row| decode(TABLE, row)).transpose()?;
        let before = match &old {
            Some(ItemRow { body: Body::Endpoint(row), .. }) => Some(share(row)?),
            _ => None,
        };
        if before.is_none() && self.state.tally.endpoints >= ENDPOINTS_MAX {
            self.refused += 1;
            return Ok(());
        }
        let (mut held, mut codes) = (Vec::with_capacity(told.stands.len()), Vec::new());
        for stand in &told.stands {
            match self.number(&stand.update)? {
                Some(number) => {
                    held.extend(Held::new(number, stand.state, stand.changed));
                    codes.extend((stand.code != 0).then_some((number, stand.code)));
                }
                None => self.refused += 1,
            }
        }
        held.sort_unstable_by_key(|one| one.number());
        codes.sort_unstable();
        let flag = |is_so, flag| if is_so { flag } else { 0 };
        let bytes = packed(&held);
        let row = EndpointRow {
            name: &told.name,
            system: &told.system,
            contact: told.contact,
            scanned: told.scanned,
            flags: flag(told.compliant, COMPLIANT) | flag(told.restart, RESTART),
            missing: told.missing,
            many: held.len() as u32,
            held: &bytes,
            codes,
        };
        let (tally, held) = share(&row)?;
        if let Some((tally, held)) = before {
            self.count(node, &tally, &held, false)?;
        }
        self.count(node, &tally, &held, true)?;
        self.keep(key, old.as_ref(), Body::Endpoint(row), generation)
    }

    /// What stands under a key goes.
    pub(super) fn take_away(&mut self, key: &ItemKey) -> Result<(), Error> {
        let Some(old) = self.items.remove(key)?.map(|row| row.value().to_vec()) else { return Ok(()) };
        let old: ItemRow<'_> = decode(TABLE, &old)?;
        let (node, ..) = of_item(key);
        match &old.body {
            Body::Gone(_) => {
                self.items.insert(key, encode(&old)?.as_slice())?;
                return Ok(());
            }
            Body::Endpoint(row) => {
                let (tally, held) = share(row)?;
                self.count(&node, &tally, &held, false)?;
            }
            Body::Json(_) => {}
        }
        self.log.remove(old.number)?;
        let path = self.node(&node)?.as_ref().map(|row| row.path.clone()).unwrap_or_default();
        self.changed = true;
        if self.keep_gone {
            let number = self.next();
            self.log.insert(number, key)?;
            self.gone.insert(number, key)?;
            let row = ItemRow { number, generation: old.generation, body: Body::Gone(path) };
            self.items.insert(key, encode(&row)?.as_slice())?;
        }
        Ok(())
    }

    /// A node goes with all that it told; that it went is told with the one row of its own.
    pub(super) fn drop_node(&mut self, node: &Id) -> Result<(), Error> {
        if self.node(node)?.is_none() {
            return Ok(());
        }
        self.clear(node)?;
        self.take_away(&item_key(node, NODE, &ALL))?;
        self.known.insert(*node, None);
        Ok(())
    }

    /// All that a node told goes, but what it says of itself; nobody is told of each.
    pub(super) fn clear(&mut self, node: &Id) -> Result<(), Error> {
        let (from, to) = (item_key(node, HELD, &ALL), item_key(node, ENDPOINT, &[0xff; 16]));
        let keys = self.items.range::<&ItemKey>(&from..=&to)?;
        let keys: Vec<ItemKey> = keys.map(|row| Ok(*row?.0.value())).collect::<Result<_, Error>>()?;
        let keep = std::mem::replace(&mut self.keep_gone, false);
        for key in keys {
            let number =
                self.items.get(&key)?.map(|row| decode::<ItemRow<'_>>(TABLE, row.value()).map(|row| row.number));
            if let Some(number) = number.transpose()? {
                // Also of what is gone already.
                self.gone.remove(number)?;
                self.log.remove(number)?;
            }
            self.take_away(&key)?;
            self.items.remove(&key)?;
        }
        self.keep_gone = keep;
        Ok(())
    }

    /// Writes what was kept until now.
    pub(super) fn end(self) -> Result<(bool, u64), Error> {
        let Self { tx, mut nodes, state, known, counts, changed, refused, .. } = self;
        for (node, row) in known {
            match row {
                Some(row) => drop(nodes.insert(&node, encode(&row)?.as_slice())?),
                None => drop(nodes.remove(&node)?),
            }
        }
        let mut table = tx.open_table(COUNTS)?;
        for (key, by) in counts {
            if by == [0; 7] {
                continue;
            }
            let mut row = table.get(&key)?.map_or([0; 28], |row| *row.value());
            for (count, by) in row.as_chunks_mut::<4>().0.iter_mut().zip(by) {
                let now = i64::from(u32::from_le_bytes(*count)) + by;
                *count = u32::try_from(now.max(0)).unwrap_or(u32::MAX).to_le_bytes();
            }
            if row == [0; 28] {
                table.remove(&key)?;
            } else {
                table.insert(&key, &row)?;
            }
        }
        drop(table);
        tx.open_table(STATE)?.insert(ONE, encode(&state)?.as_slice())?;
        Ok((changed, refused))
    }
}
