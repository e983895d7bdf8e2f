//! The drafts that there are, in memory: they are few (see [`crate::store::drafts::DRAFTS_MAX`]), and opening the store
//! looks at each of them anyway.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::base::time::Timestamp;
use crate::model::name::Name;
use crate::store::filling::DraftState;

/// One draft.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: Name,
    pub(crate) demand_at: Timestamp,
    pub(crate) allocated: u64,
    pub(crate) covered: u64,
    /// Whether somebody who counts published what its bytes must be.
    pub(crate) vouched: bool,
    /// The network of the client that it was begun for, where that is known.
    pub(crate) owner: Option<Subnet>,
    pub(crate) open: Weak<DraftState>,
}

/// The clients that are counted together: a /24 or a /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet(IpAddr);

impl Subnet {
    pub(crate) fn of(client: IpAddr) -> Self {
        Self(match client.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & !0xff)),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (!0 << 64))),
        })
    }
}

#[derive(Debug, Default)]
struct Lines {
    by_id: HashMap<u64, Line>,
    by_name: HashMap<Name, u64>,
}

/// All drafts.
#[derive(Debug, Default)]
pub(crate) struct Book {
    lines: Mutex<Lines>,
    /// Held while a draft is opened, so that two who ask for one get the same.
    pub(crate) opening: Mutex<()>,
}

impl Book {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self) -> usize {
        self.lines().by_id.len()
    }

    pub(crate) fn insert(&self, id: u64, line: Line) {
        let mut lines = self.lines();
        lines.by_name.insert(line.name.clone(), id);
        lines.by_id.insert(id, line);
    }

    /// The draft under `name`: its id, and itself where it is open.
    pub(crate) fn find(&self, name: &Name) -> Option<(u64, Option<Arc<DraftState>>)> {
        let lines = self.lines();
        let id = *lines.by_name.get(name)?;
        let open = lines.by_id.get(&id).and_then(|line| line.open.upgrade());
        drop(lines);
        Some((id, open))
    }

    /// Whether there is such a draft.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.lines().by_id.contains_key(&id)
    }

    /// Whether somebody has it open.
    pub(crate) fn is_open(&self, id: u64) -> bool {
        self.lines().by_id.get(&id).is_some_and(|line| line.open.strong_count() > 0)
    }

    /// Whether it was begun before all others that are open, of which there is one at least.
    pub(crate) fn goes_first(&self, id: u64) -> bool {
        let lines = self.lines();
        let mut others = lines.by_id.iter().filter(|(other, line)| **other != id && line.open.strong_count() > 0);
        let mut any = false;
        others.all(|(other, _)| {
            any = true;
            *other > id
        }) && any
    }

    pub(crate) fn set_open(&self, id: u64, open: &Arc<DraftState>) {
        if let Some(line) = self.lines().by_id.get_mut(&id) {
            line.open = Arc::downgrade(open);
        }
    }

    /// Takes a draft out; returns the bytes it was counted with.
    pub(crate) fn take(&self, id: u64) -> Option<u64> {
        let mut lines = self.lines();
        let line = lines.by_id.remove(&id)?;
        if lines.by_name.get(&line.name) == Some(&id) {
            lines.by_name.remove(&line.name);
        }
        Some(line.allocated)
    }

    /// Adds to the bytes that a draft takes.
    pub(crate) fn grow(&self, id: u64, bytes: u64) {
        if let Some(line) = self.lines().by_id.get_mut(&id) {
            line.allocated = line.allocated.saturating_add(bytes);
        }
    }

    /// Sets what is now known of a draft; returns the bytes it was counted with before.
    pub(crate) fn measure(&self, id: u64, allocated: u64, covered: u64, demand_at: Timestamp) -> Option<u64> {
        let mut lines = self.lines();
        let line = lines.by_id.get_mut(&id)?;
        let before = std::mem::replace(&mut line.allocated, allocated);
        line.covered = covered;
        line.demand_at = line.demand_at.max(demand_at);
        Some(before)
    }

    pub(crate) fn demand(&self, id: u64, at: Timestamp) {
        if let Some(line) = self.lines().by_id.get_mut(&id) {
            line.demand_at = line.demand_at.max(at);
        }
    }

    /// Somebody who counts has published what the bytes of a draft must be.
    pub(crate) fn vouch(&self, id: u64) {
        if let Some(line) = self.lines().by_id.get_mut(&id) {
            line.vouched = true;
        }
    }

    /// How many drafts that nobody vouches for were begun for `owner`.
    pub(crate) fn count_of(&self, owner: Subnet) -> usize {
        self.lines().by_id.values().filter(|line| !line.vouched && line.owner == Some(owner)).count()
    }

    /// Drafts that nobody has open, in the order in which they go where there are too many: those without a byte, those
    /// that nobody vouches for, and the others (`also_vouched`, else none that somebody vouches for), each the longest
    /// without demand first. Those of `owner` alone where one is given. Id and bytes.
    pub(crate) fn spare(&self, also_vouched: bool, owner: Option<Subnet>) -> Vec<(u64, u64)> {
        let lines = self.lines();
        let mut spare: Vec<_> = (lines.by_id.iter())
            .filter(|(_, line)| line.open.strong_count() == 0 && (also_vouched || !line.vouched))
            .filter(|(_, line)| owner.is_none() || line.owner == owner)
            .map(|(id, line)| {
                let has_bytes = line.allocated > 0 || line.covered > 0;
                ((has_bytes, line.vouched, line.demand_at, *id), line.allocated)
            })
            .collect();
        drop(lines);
        spare.sort_unstable();
        spare.into_iter().map(|((.., id), bytes)| (id, bytes)).collect()
    }

    /// Drafts that nobody has open, the longest without demand first: id, last demand, bytes.
    pub(crate) fn idle(&self) -> Vec<(u64, Timestamp, u64)> {
        let lines = self.lines();
        let mut idle: Vec<_> = lines
            .by_id
            .iter()
            .filter(|(_, line)| line.open.strong_count() == 0)
            .map(|(id, line)| (*id, line.demand_at, line.allocated))
            .collect();
        drop(lines);
        idle.sort_unstable_by_key(|(id, demand_at, _)| (*demand_at, *id));
        idle
    }

    /// Ids and covered bytes of all drafts, in order.
    pub(crate) fn all(&self) -> Vec<(u64, u64, Option<Arc<DraftState>>)> {
        let lines = self.lines();
        let mut all: Vec<_> = lines.by_id.iter().map(|(id, line)| (*id, line.covered, line.open.upgrade())).collect();
        drop(lines);
        all.sort_unstable_by_key(|(id, ..)| *id);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::OriginKey;

    #[test]
    fn empty_ones_go_first_and_vouched_ones_last() {
        let book = Book::default();
        let of = |client: &str| Subnet::of(client.parse().unwrap());
        let one = of("10.1.2.3");
        assert_eq!(one, of("::ffff:10.1.2.250"));
        assert_ne!(one, of("10.1.3.3"));
        let net = Some(one);
        let lines = [
            (1, 10, 500, true, net),
            (2, 11, 500, false, None),
            (3, 12, 0, false, net),
            (4, 13, 0, true, None),
            (5, 9, 500, false, net),
        ];
        for (id, at, allocated, vouched, owner) in lines {
            let name = OriginKey::new(&format!("h.example/{id}")).unwrap().into();
            let demand_at = Timestamp::from_ms(at);
            book.insert(id, Line { name, demand_at, allocated, covered: 0, vouched, owner, open: Weak::new() });
        }
        let ids = |spare: Vec<(u64, u64)>| spare.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(ids(book.spare(true, None)), [3, 4, 5, 2, 1]);
        assert_eq!(ids(book.spare(false, None)), [3, 5, 2]);
        assert_eq!(ids(book.spare(false, net)), [3, 5]);
        assert_eq!(book.count_of(one), 2);
        book.vouch(5);
        assert_eq!((ids(book.spare(false, net)), book.count_of(one)), (vec![3], 1));
    }
}
