//! Which files endpoints have asked for, by what their names are like: so that of a new update those come ahead of time that are
//! like what was asked for before (see `model::policy`).
//!
//! 1. Who answers endpoints tells how many bytes of what left ([`Lately::note`]): sums in memory, no look at the index. What is held
//!    counts as what is not, or else what came ahead in time would be forgotten for it.
//! 2. From time to time the sums are held against the catalog ([`Core::keep_asked`]). A file counts once clients have taken enough of
//!    it ([`enough`]): one byte of each file that a client has a name of must not have all files alike fetched, now and every month.
//!    What the catalog does not know is forgotten; of the rest more may come ([`PATIENCE`]). What a crash loses is asked for again.
//! 3. A likeness of which nothing was asked for [`FORGOTTEN_AFTER`] counts no more, and goes with the next one that is written.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};

use crate::base::digest::{Digest, Sha1};
use crate::base::time::Timestamp;
use crate::model::name::Name;
use crate::model::policy::likeness;
use crate::store::catalog::tables::{ASKED, FILES, FileRow, SHA256S, Sha256Key, read, sha256_key};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::decode;
use crate::store::writer::Room;

/// Names that are summed up; what comes beyond is not noted, and is asked for again.
const LATELY_MAX: usize = 4096;
/// Of these, names of which too little was asked that stay for the next time: what is asked for by the byte leaves room for the rest.
const PARTLY_MAX: usize = LATELY_MAX / 2;
/// How long a name waits for enough of it to be asked for: a client that takes a MiB takes it within that on the slowest link.
const PATIENCE: Duration = Duration::from_hours(6);
/// Bytes that clients must have taken of a file: what an endpoint that installs it takes of any, and too much to ask for at random.
const ENOUGH: u64 = 1 << 20;
/// Likenesses that are kept: a real catalog has some thousand. The ones that were asked for longest ago go first.
const ASKED_MAX: u64 = 20_000;
/// A likeness of which no endpoint asked in so long is not of this site any more: three months of updates have gone by.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(90 * 24);
/// How old the time of a likeness may get before it is written anew: not with each request.
const RENEWED_AFTER: Duration = Duration::from_hours(24);

/// What was asked for lately.
#[derive(Debug, Default)]
pub(crate) struct Lately(Mutex<HashMap<Name, Taken>>);

/// How much of a file clients have taken.
#[derive(Clone, Copy, Debug)]
struct Taken {
    bytes: u64,
    since: Instant,
}

impl Lately {
    fn names(&self) -> MutexGuard<'_, HashMap<Name, Taken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Endpoints were sent so many bytes of this.
    pub(crate) fn note(&self, name: &Name, bytes: u64) {
        let mut names = self.names();
        if let Some(taken) = names.get_mut(name) {
            taken.bytes = taken.bytes.saturating_add(bytes);
        } else if names.len() < LATELY_MAX {
            names.insert(name.clone(), Taken { bytes, since: Instant::now() });
        }
    }

    /// Takes all of them back, which could not be kept, as far as there is room beside what was noted meanwhile.
    fn put_back(&self, all: HashMap<Name, Taken>) {
        let mut names = self.names();
        for (name, before) in all {
            let room = names.len() < LATELY_MAX;
            if let Some(taken) = names.get_mut(&name) {
                *taken = Taken { bytes: taken.bytes.saturating_add(before.bytes), since: before.since };
            } else if room {
                names.insert(name, before);
            }
        }
    }

    /// Takes back names of which more may be asked for.
    fn wait_on(&self, mut partly: Vec<(Name, Taken)>) {
        partly.retain(|(_, taken)| taken.since.elapsed() < PATIENCE);
        partly.sort_unstable_by_key(|(_, taken)| std::cmp::Reverse(taken.bytes));
        let mut names = self.names();
        for (name, before) in partly.into_iter().take(PARTLY_MAX) {
            // What was noted meanwhile comes on top.
            let taken = names.entry(name).or_insert(Taken { bytes: 0, ..before });
            *taken = Taken { bytes: taken.bytes.saturating_add(before.bytes), since: before.since };
        }
    }
}

/// How many bytes of a file of this size make it asked for: half of a small one, since what is told of it is rounded (see
/// `serve::asked`) and its end may have been there before.
fn enough(size: u64) -> u64 {
    size.div_ceil(2).min(ENOUGH)
}

/// The SHA-1 of the catalog's file that a name means, if it can be one: its digest, or the one at the end of a file name, as
/// Microsoft's addresses have it.
fn sha1_of(tx: &ReadTransaction, name: &Name) -> Result<Option<Sha1>, Error> {
    Ok(match name {
        Name::Digest(Digest::Sha1(sha1)) => Some(*sha1),
        Name::Digest(Digest::Sha256(sha256)) => {
            let Some(table) = read(tx, SHA256S)? else { return Ok(None) };
            let (from, to) = (sha256_key(sha256.as_bytes(), &[0; 20]), sha256_key(sha256.as_bytes(), &[255; 20]));
            let first = table.range::<&Sha256Key>(&from..=&to)?.next().transpose()?;
            first.and_then(|(key, _)| key.value().last_chunk::<20>().copied()).map(Sha1::new)
        }
        Name::Digest(Digest::Blake3(_)) => None,
        Name::Origin(key) => {
            let path = key.target().split('?').next().unwrap_or_default();
            let file = path.rsplit('/').next().unwrap_or_default();
            let stem = file.split('.').next().unwrap_or_default();
            stem.rsplit('_').next().and_then(|digits| digits.parse().ok())
        }
    })
}

/// Whether a likeness that was asked for last at `at` still counts.
fn counts(at: u64, now: Timestamp) -> bool {
    now.since(Timestamp::from_ms(at)) < FORGOTTEN_AFTER
}

/// What is kept and counts, all of it: at most some MB.
pub(super) fn asked_in(tx: &ReadTransaction, now: Timestamp) -> Result<HashSet<String>, Error> {
    let Some(table) = read(tx, ASKED)? else { return Ok(HashSet::new()) };
    let mut asked = HashSet::new();
    for row in table.iter()? {
        let (like, at) = row?;
        if counts(at.value(), now) {
            asked.insert(like.value().to_owned());
        }
    }
    Ok(asked)
}

/// What step 2 makes of a name.
enum Said {
    /// It is none of the catalog's, or like none.
    Nothing,
    /// Too little of it was asked for so far.
    Partly,
    /// It was asked for, and is like this.
    Like(String),
}

fn look(tx: &ReadTransaction, name: &Name, bytes: u64) -> Result<Said, Error> {
    let Some(files) = read(tx, FILES)? else { return Ok(Said::Nothing) };
    let Some(sha1) = sha1_of(tx, name)? else { return Ok(Said::Nothing) };
    let Some(row) = files.get(sha1.as_bytes())? else { return Ok(Said::Nothing) };
    let row: FileRow = decode("catalog-files.1", row.value())?;
    let like = likeness(&row.name);
    Ok(match () {
        () if like.is_empty() => Said::Nothing,
        () if bytes < enough(row.size) => Said::Partly,
        () => Said::Like(like),
    })
}

impl Core {
    /// Steps 2 and 3. Says how many likenesses are new.
    ///
    /// # Errors
    /// The index's; what was asked for then counts the next time.
    pub(crate) fn keep_asked(&self) -> Result<u64, Error> {
        let names = std::mem::take(&mut *self.catalog.asked.names());
        if names.is_empty() {
            return Ok(0);
        }
        match self.keep_names(&names) {
            Ok((new, partly)) => {
                self.catalog.asked.wait_on(partly);
                Ok(new)
            }
            Err(error) => {
                self.catalog.asked.put_back(names);
                Err(error)
            }
        }
    }

    /// How many likenesses are new, and the names of which too little was asked for so far.
    fn keep_names(&self, names: &HashMap<Name, Taken>) -> Result<(u64, Vec<(Name, Taken)>), Error> {
        let now = self.clock.now();
        let (mut like, partly) = self.index.read(|tx| {
            let (mut like, mut partly) = (Vec::new(), Vec::new());
            let known = read(tx, ASKED)?;
            for (name, taken) in names {
                match look(tx, name, taken.bytes)? {
                    Said::Nothing => {}
                    Said::Partly => partly.push((name.clone(), *taken)),
                    Said::Like(new) => {
                        let at = known.as_ref().map(|known| known.get(new.as_str())).transpose()?.flatten();
                        // One of a clock that was ahead is set right.
                        let is_fresh = |at: u64| at <= now.ms() && now.since(Timestamp::from_ms(at)) < RENEWED_AFTER;
                        if !at.is_some_and(|at| is_fresh(at.value())) {
                            like.push(new);
                        }
                    }
                }
            }
            Ok((like, partly))
        })?;
        if like.is_empty() {
            return Ok((0, partly));
        }
        like.sort_unstable();
        like.dedup();
        let (new, _) = self.catalog_write(Room::Adds, move |t, w| {
            let mut new = 0;
            for like in &like {
                let before = t.asked.insert(like.as_str(), w.now)?.map(|at| at.value());
                new += u64::from(!before.is_some_and(|at| counts(at, now)));
            }
            t.asked.retain(|_, at| counts(at, now))?;
            let over = t.asked.len()?.saturating_sub(ASKED_MAX);
            if over > 0 {
                let mut all: Vec<(u64, String)> = t
                    .asked
                    .iter()?
                    .map(|row| row.map(|(like, at)| (at.value(), like.value().to_owned())))
                    .collect::<Result<_, _>>()?;
                all.sort_unstable();
                for (_, like) in all.iter().take(usize::try_from(over).unwrap_or(usize::MAX)) {
                    t.asked.remove(like.as_str())?;
                }
            }
            Ok(new)
        })?;
        Ok((new, partly))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(of: u8) -> Name {
        Name::Digest(Digest::Sha1(Sha1::new([of; 20])))
    }

    #[test]
    fn what_is_asked_for_by_the_byte_leaves_room() {
        let lately = Lately::default();
        let many = |at: usize| {
            let mut bytes = [0; 20];
            bytes[..8].copy_from_slice(&at.to_be_bytes());
            Name::Digest(Digest::Sha1(Sha1::new(bytes)))
        };
        for at in 0..2 * LATELY_MAX {
            lately.note(&many(at), 1);
        }
        assert_eq!(lately.names().len(), LATELY_MAX);
        lately.note(&many(7), 1000);
        let all: Vec<_> = std::mem::take(&mut *lately.names()).into_iter().collect();
        lately.note(&many(7), 5);
        lately.wait_on(all);
        assert_eq!(lately.names().len(), PARTLY_MAX);
        assert_eq!(lately.names().get(&many(7)).map(|taken| taken.bytes), Some(1006), "the most is kept, and added to");
    }

    #[test]
    fn what_could_not_be_kept_counts_the_next_time() {
        let lately = Lately::default();
        lately.note(&name(1), 7);
        lately.note(&name(2), 8);
        let all = std::mem::take(&mut *lately.names());
        lately.note(&name(1), 5);
        lately.put_back(all);
        let bytes = |of| lately.names().get(&name(of)).map(|taken| taken.bytes);
        assert_eq!([bytes(1), bytes(2)], [Some(12), Some(8)]);
    }

    #[test]
    fn a_name_does_not_wait_for_ever() {
        let Some(long_ago) = Instant::now().checked_sub(PATIENCE) else { return };
        let lately = Lately::default();
        let taken = |since| Taken { bytes: 1, since };
        lately.wait_on(vec![(name(1), taken(long_ago)), (name(2), taken(Instant::now()))]);
        assert!(lately.names().contains_key(&name(2)) && !lately.names().contains_key(&name(1)));
    }

    #[test]
    fn a_small_file_is_half_enough() {
        assert_eq!([0, 1, 1000, 2 << 20, 1 << 40].map(enough), [0, 1, 500, 1 << 20, 1 << 20]);
    }
}
