//! Which files bytes were sent of, to whom: what an endpoint says of its updates is held against it.
//!
//! 1. Who answers requests for content tells from which address how many bytes of which file were asked for and left ([`Served::note`]): a
//!    sum in memory for each address and file, no look at the index.
//! 2. With the writer's tick, and at the end, the sums are written. A name becomes the file of the catalog that it means, and an address the
//!    endpoint that was last heard of from there (`places`). Where that is one alone the sum goes into its row; where it may be one of
//!    several, as behind a router that has one address for all of them, into a row of the address. What is of no file of the catalog, or of
//!    no endpoint, is forgotten.
//! 3. Of each endpoint and each such address the last [`FILES_MAX`] files are kept, large ones for longer.
//!
//! A crash loses half a minute of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};
use serde::{Deserialize, Serialize};

use crate::base::digest::Sha1;
use crate::base::time::Timestamp;
use crate::model::deployment::Endpoint;
use crate::store::catalog::tables::read as table;
use crate::store::error::Error;
use crate::store::fleet::contacts::{self, Gathered};
use crate::store::fleet::mark::Mark;
use crate::store::fleet::standing::{seconds, time};
use crate::store::fleet::tables::{ENDPOINTS, Guid, SERVED, SERVED_PLACES, address_bytes};
use crate::store::tables::{decode, encode};
use crate::store::writer::Tick;

/// Files of which it is kept what one endpoint, or one address of several, was sent: those of some months. 3 KB of disk each.
pub const FILES_MAX: usize = 128;

/// Addresses of several endpoints of which something is kept: there is one for each site behind a router.
const PLACES_MAX: u64 = 4_096;

/// Parts of the sums in memory, by address: who asks for all files that there are fills one of them.
const SHARDS: usize = 16;

/// Sums of one part; what comes beyond within one tick is not noted. All of it takes 2 MB at most.
const SHARD_MAX: usize = 1_024;

/// Bytes of the name of a file in a row: two files of one catalog have the same by a chance of one in 2^64.
const MARK: usize = 8;

const TABLE: &str = "fleet-served.1";

/// What was sent of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The beginning of its SHA-1.
    file: [u8; MARK],
    /// Bytes that left, all answers together: what was asked for twice counts twice.
    pub bytes: u64,
    /// When it was first asked for.
    pub first: Timestamp,
    /// When it was last asked for.
    pub last: Timestamp,
}

impl Sent {
    /// So much of the file with this SHA-1.
    pub fn new(sha1: &Sha1, bytes: u64, first: Timestamp, last: Timestamp) -> Self {
        let mut file = [0; MARK];
        file.iter_mut().zip(sha1.as_bytes()).for_each(|(to, from)| *to = *from);
        Self { file, bytes, first, last }
    }

    /// Whether it is of the file with this SHA-1.
    pub fn is_of(&self, sha1: &Sha1) -> bool {
        sha1.as_bytes().starts_with(&self.file)
    }
}

/// What is kept of the files that an endpoint was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentTo {
    /// What left for its address while no other endpoint was last heard of from there.
    pub own: Vec<Sent>,
    /// What left for the address from which it was last heard of, while it may have been for others too.
    pub place: Vec<Sent>,
}

/// A sum; times in seconds.
#[derive(Clone, Copy, Debug)]
struct Sum {
    bytes: u64,
    first: u32,
    last: u32,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

type Sums = HashMap<(IpAddr, Mark), Sum>;

/// What left and is not written yet.
#[derive(Debug, Default)]
pub(crate) struct Served([Mutex<Sums>; SHARDS]);

impl Served {
    fn shard(&self, address: IpAddr) -> Option<MutexGuard<'_, Sums>> {
        let last = match address {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[15],
        };
        let shard = self.0.get(usize::from(last) % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, address: IpAddr, mark: Mark, sum: Sum) {
        let Some(mut sums) = self.shard(address) else { return };
        if let Some(known) = sums.get_mut(&(address, mark)) {
            known.add(sum);
        } else if sums.len() < SHARD_MAX {
            sums.insert((address, mark), sum);
        }
    }

    /// So many bytes left for an address, asked for at a time.
    pub(crate) fn note(&self, address: IpAddr, mark: Mark, bytes: u64, at: Timestamp) {
        let at = seconds(at);
        self.add(address.to_canonical(), mark, Sum { bytes, first: at, last: at });
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).is_empty())
    }

    fn drain(&self) -> Vec<(IpAddr, Mark, Sum)> {
        let taken =
            self.0.iter().map(|shard| std::mem::take(&mut *shard.lock().unwrap_or_else(PoisonError::into_inner)));
        taken.flatten().map(|((address, mark), sum)| (address, mark, sum)).collect()
    }
}

/// What was sent of one file; times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileRow {
    file: [u8; MARK],
    bytes: u64,
    first: u32,
    last: u32,
}

/// Version 1 of [`TABLE`], and of the table of places.
#[derive(Debug, Default, Serialize, Deserialize)]
struct ServedRow {
    files: Vec<FileRow>,
}

impl ServedRow {
    fn of(row: &[u8]) -> Self {
        // A row that cannot be read is worth less than what came since.
        decode(TABLE, row).unwrap_or_else(|error| {
            tracing::warn!(%error, "which files an endpoint was sent is counted anew");
            Self::default()
        })
    }

    fn add(&mut self, file: [u8; MARK], sum: Sum) {
        if let Some(known) = self.files.iter_mut().find(|known| known.file == file) {
            let mut all = Sum { bytes: known.bytes, first: known.first, last: known.last };
            all.add(sum);
            (known.bytes, known.first, known.last) = (all.bytes, all.first, all.last);
            return;
        }
        self.files.push(FileRow { file, bytes: sum.bytes, first: sum.first, last: sum.last });
        if self.files.len() <= FILES_MAX {
            return;
        }
        // Of the older half the smallest goes: the many small files of each day leave those of the month where they are.
        let mut lasts: Vec<u32> = self.files.iter().map(|known| known.last).collect();
        let middle = lasts.len() / 2;
        let (_, middle, _) = lasts.select_nth_unstable(middle);
        let middle = *middle;
        let old = self.files.iter().enumerate().filter(|(_, known)| known.last <= middle);
        if let Some((at, _)) = old.min_by_key(|(_, known)| (known.bytes, known.last)) {
            self.files.remove(at);
        }
    }

    fn last(&self) -> u32 {
        self.files.iter().map(|known| known.last).max().unwrap_or(0)
    }

    fn sent(self) -> Vec<Sent> {
        let one = |row: FileRow| {
            let FileRow { file, bytes, first, last } = row;
            Sent { file, bytes, first: time(first), last: time(last) }
        };
        self.files.into_iter().map(one).collect()
    }
}

/// What an endpoint was sent, as far as it is written.
pub(super) fn get(tx: &ReadTransaction, gathered: &Gathered, endpoint: Endpoint) -> Result<SentTo, Error> {
    let mut found = SentTo::default();
    if let Some(rows) = table(tx, SERVED)?
        && let Some(row) = rows.get(endpoint.0.bytes())?
    {
        found.own = ServedRow::of(row.value()).sent();
    }
    let address = contacts::get(tx, gathered, endpoint)?.address;
    if let Some(rows) = table(tx, SERVED_PLACES)?
        && let Some(address) = address
        && let Some(row) = rows.get(&address_bytes(address))?
    {
        found.place = ServedRow::of(row.value()).sent();
    }
    Ok(found)
}

pub(super) fn forget(tx: &WriteTransaction, endpoint: Endpoint) -> Result<(), Error> {
    tx.open_table(SERVED)?.remove(endpoint.0.bytes())?;
    Ok(())
}

/// Step 2.
fn write(tx: &WriteTransaction, batch: &[(IpAddr, Mark, Sum)], gathered: &Gathered) -> Result<(), Error> {
    let mut places = gathered.places();
    places.load(tx)?;
    let mut files: HashMap<Mark, Option<[u8; MARK]>> = HashMap::new();
    let (mut own, mut shared): (HashMap<Guid, Vec<_>>, HashMap<IpAddr, Vec<_>>) = Default::default();
    let endpoints = tx.open_table(ENDPOINTS)?;
    for (address, mark, sum) in batch {
        let (mut who, mut many) = (None, 0);
        for id in places.heard_from(*address, sum.first) {
            // One that is forgotten meanwhile is nobody.
            if endpoints.get(id)?.is_some() {
                (who, many) = (Some(*id), many + 1);
            }
            if many > 1 {
                break;
            }
        }
        let Some(id) = who else { continue };
        let file = if let Some(file) = files.get(mark) {
            *file
        } else {
            let file = mark.file(tx)?.and_then(|sha1| sha1.first_chunk().copied());
            files.insert(*mark, file);
            file
        };
        let Some(file) = file else { continue };
        if many > 1 {
            shared.entry(*address).or_default().push((file, *sum));
        } else {
            own.entry(id).or_default().push((file, *sum));
        }
    }
    let mut rows = tx.open_table(SERVED)?;
    for (id, new) in own {
        let mut row = rows.get(&id)?.map(|row| ServedRow::of(row.value())).unwrap_or_default();
        for (file, sum) in new {
            row.add(file, sum);
        }
        rows.insert(&id, encode(&row)?.as_slice())?;
    }
    if shared.is_empty() {
        return Ok(());
    }
    let mut rows = tx.open_table(SERVED_PLACES)?;
    for (address, new) in shared {
        let address = address_bytes(address);
        let mut row = rows.get(&address)?.map(|row| ServedRow::of(row.value())).unwrap_or_default();
        for (file, sum) in new {
            row.add(file, sum);
        }
        rows.insert(&address, encode(&row)?.as_slice())?;
    }
    if rows.len()? > PLACES_MAX {
        // The older half goes, so that this is seldom looked through.
        let mut all: Vec<(u32, Guid)> = Vec::new();
        for row in rows.iter()? {
            let (address, row) = row?;
            all.push((ServedRow::of(row.value()).last(), *address.value()));
        }
        all.sort_unstable();
        for (_, address) in all.iter().take(all.len() / 2) {
            rows.remove(address)?;
        }
    }
    Ok(())
}

/// Writes what was gathered.
pub(crate) struct ServedTick {
    served: Arc<Served>,
    gathered: Arc<Gathered>,
    /// What is being written: put back where the commit fails.
    under_way: Mutex<Vec<(IpAddr, Mark, Sum)>>,
}

impl ServedTick {
    /// To be written behind the contacts, so that who came from another address is known to be there.
    pub(crate) fn new(served: Arc<Served>, gathered: Arc<Gathered>) -> Self {
        Self { served, gathered, under_way: Mutex::default() }
    }

    fn under_way(&self) -> MutexGuard<'_, Vec<(IpAddr, Mark, Sum)>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tick for ServedTick {
    fn is_due(&self) -> bool {
        !self.served.is_empty()
    }

    fn write(&self, tx: &WriteTransaction) -> Result<(), Error> {
        let batch = self.served.drain();
        let written = if batch.is_empty() { Ok(()) } else { write(tx, &batch, &self.gathered) };
        *self.under_way() = batch;
        written
    }

    fn settle(&self, committed: bool) {
        let batch = std::mem::take(&mut *self.under_way());
        if !committed {
            for (address, mark, sum) in batch {
                self.served.add(address, mark, sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn sum(bytes: u64, at: u32) -> Sum {
        Sum { bytes, first: at, last: at }
    }

    #[test]
    fn one_address_leaves_room_for_the_others_and_nothing_grows_for_ever() {
        let served = Served::default();
        let mark = |at: u32| {
            let mut bytes = [0; 20];
            bytes[..4].copy_from_slice(&at.to_be_bytes());
            Mark::Sha1(bytes)
        };
        let (greedy, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        for at in 0..5_000 {
            served.note(greedy, mark(at), 1, Timestamp::from_ms(1_000));
        }
        served.note(other, mark(1), 5, Timestamp::from_ms(9_000));
        served.note("::ffff:10.0.0.2".parse().unwrap(), mark(1), 6, Timestamp::from_ms(7_000));
        let all = served.drain();
        assert_eq!(all.len(), SHARD_MAX + 1);
        let of_other = all.iter().find(|(address, ..)| *address == other).unwrap();
        assert_eq!((of_other.2.bytes, of_other.2.first, of_other.2.last), (11, 7, 9));
        assert!(served.is_empty());
    }

    #[test]
    fn small_files_of_each_day_do_not_push_out_the_large_one_of_the_month() {
        let mut row = ServedRow::default();
        row.add([1; MARK], sum(500_000_000, 10));
        row.add([1; MARK], sum(1_000, 20));
        for day in 0..1_000_u32 {
            let mut file = [9; MARK];
            file[..4].copy_from_slice(&day.to_be_bytes());
            row.add(file, sum(100_000, 100 + day));
        }
        assert_eq!(row.files.len(), FILES_MAX);
        let kept = row.files.iter().find(|known| known.file == [1; MARK]).unwrap();
        assert_eq!((kept.bytes, kept.first, kept.last), (500_001_000, 10, 20));
        assert!(row.files.iter().any(|known| known.last == 1_099), "what came last is there");
        assert!(encode(&row).unwrap().len() < 3_100, "{}", encode(&row).unwrap().len());
    }
}
