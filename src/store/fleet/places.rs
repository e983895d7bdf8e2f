//! Which endpoints were last heard of from an address: read once, when it is first asked for, and kept up with what is written of contacts.
//! Some 150 bytes for each endpoint.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use redb::{ReadableTable, WriteTransaction};

use crate::store::error::Error;
use crate::store::fleet::tables::{CONTACTS, ContactRow, Guid, address_of};
use crate::store::tables::decode;

/// Who was not heard of for so long may have left its address to another machine: an agent comes once a day. As long as it counts, what
/// leaves for an address that another one has by now may be for both, which is the safer error.
const FRESH: Duration = Duration::from_hours(7 * 24);

/// Who is where.
#[derive(Debug, Default)]
pub(super) struct Places {
    is_loaded: bool,
    of: HashMap<Guid, Place>,
    at: HashMap<IpAddr, Vec<Guid>>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    address: IpAddr,
    /// When it was last heard of, in seconds.
    heard: u32,
}

impl Places {
    /// Reads where all are, once.
    pub(super) fn load(&mut self, tx: &WriteTransaction) -> Result<(), Error> {
        if self.is_loaded {
            return Ok(());
        }
        let rows = tx.open_table(CONTACTS)?;
        self.is_loaded = true;
        for row in rows.iter()? {
            let (id, row) = row?;
            // One that cannot be read is nowhere until it is heard of again.
            let Ok(row) = decode::<ContactRow>("fleet-contacts.1", row.value()) else { continue };
            self.came(*id.value(), address_of(row.address), row.last.iter().copied().max().unwrap_or(0));
        }
        Ok(())
    }

    /// An endpoint was heard of from there, at a time in milliseconds.
    pub(super) fn came(&mut self, id: Guid, address: IpAddr, at_ms: u64) {
        if !self.is_loaded {
            return;
        }
        let heard = u32::try_from(at_ms / 1000).unwrap_or(u32::MAX);
        let before = self.of.insert(id, Place { address, heard });
        match before {
            Some(before) if before.address == address => return,
            Some(before) => self.leave(&id, before.address),
            None => {}
        }
        self.at.entry(address).or_default().push(id);
    }

    /// An endpoint is gone.
    pub(super) fn went(&mut self, id: &Guid) {
        if let Some(before) = self.of.remove(id) {
            self.leave(id, before.address);
        }
    }

    fn leave(&mut self, id: &Guid, address: IpAddr) {
        if let Some(here) = self.at.get_mut(&address) {
            here.retain(|other| other != id);
            if here.is_empty() {
                self.at.remove(&address);
            }
        }
    }

    /// Who was last heard of from there, not long before a time in seconds.
    pub(super) fn heard_from(&self, address: IpAddr, at: u32) -> impl Iterator<Item = &Guid> {
        let here = self.at.get(&address).map(Vec::as_slice).unwrap_or_default();
        here.iter().filter(move |id| {
            self.of.get(*id).is_some_and(|place| u64::from(place.heard) + FRESH.as_secs() >= u64::from(at))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_moves_leaves_its_address_and_who_is_silent_does_so_in_time() {
        let (here, there): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut places = Places { is_loaded: true, ..Places::default() };
        let week = u32::try_from(FRESH.as_secs()).unwrap();
        places.came([1; 16], here, 1_000_000);
        places.came([2; 16], here, 2_000_000);
        let who = |places: &Places, address, at| places.heard_from(address, at).copied().collect::<Vec<_>>();
        assert_eq!(who(&places, here, 2_000), [[1; 16], [2; 16]]);
        assert_eq!(who(&places, here, 1_001 + week), [[2; 16]], "the first is silent for a week");
        places.came([2; 16], there, 3_000_000);
        assert_eq!((who(&places, here, 3_000), who(&places, there, 3_000)), (vec![[1; 16]], vec![[2; 16]]));
        places.went(&[1; 16]);
        places.went(&[1; 16]);
        assert!(who(&places, here, 3_000).is_empty() && places.at.len() == 1);
    }
}
