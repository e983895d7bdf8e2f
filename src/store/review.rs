//! What the catalog has come to say of what is held. New updates bring digests for payloads that nobody vouched for, and
//! make others superfluous; this goes through what is held and brings it up to that, in short steps, beside everything else.
//!
//! For each payload of a step:
//! 1. The files of the catalog that have its digests are found; for an unproven one also those that lie at its addresses.
//! 2. Where all updates that have it were withdrawn or superseded, and no approval stands for one of these, it is marked as
//!    *outdated*, and goes before all others when room is needed. The mark is taken away where an update that is offered has the
//!    file again, or an approval. What no update has any more was marked when the last one went (`entries::mark_forgotten`), and
//!    stays so.
//! 3. An unproven one of which somebody who counts has published a digest by now is judged: it is promoted, or goes to
//!    quarantine. Of a proven one only a contradiction counts.
//! 4. Where all that was published is a SHA-1 nobody has looked at, the payload is read with collision detection first.
//!
//! No transaction of a sync waits for any of it, and it waits for none. What is published while this is under way is judged
//! by itself, against the same catalog.

use std::ops::{AddAssign, Bound};
use std::sync::Arc;

use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use crate::base::digest::{Blake3, Digest, Digests};
use crate::model::name::Name;
use crate::model::payload::{Authority, Published};
use crate::store::catalog::live::Live;
use crate::store::catalog::mentions::{Mention, claims, mentions};
use crate::store::catalog::tables::{FILES, SHA256S, Sha256Key, sha256_key};
use crate::store::core::Core;
use crate::store::entries;
use crate::store::error::Error;
use crate::store::judge::Sha1State;
use crate::store::tables::{Id, NAMES, PAYLOADS, PayloadRow, decode, name_of};
use crate::store::writer::Room;

/// Payloads of one step: it takes some milliseconds, and its snapshot keeps few pages of the index.
const STEP: usize = 256;

/// What came of looking through payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reviewed {
    /// Payloads looked at.
    pub looked: u64,
    /// Unproven ones that are proven now.
    pub promoted: u64,
    /// Those that were not what was published for them, and went to quarantine.
    pub thrown_out: u64,
    /// Those that only superseded or withdrawn updates have, and did not before.
    pub outdated: u64,
    /// Those that an offered update has again.
    pub wanted_again: u64,
}

impl AddAssign for Reviewed {
    fn add_assign(&mut self, more: Self) {
        self.looked += more.looked;
        self.promoted += more.promoted;
        self.thrown_out += more.thrown_out;
        self.outdated += more.outdated;
        self.wanted_again += more.wanted_again;
    }
}

/// One payload that something must be done about.
struct Due {
    blake3: Blake3,
    names: Vec<Name>,
    digests: Digests,
    /// Nobody has looked at its SHA-1, and that is all there is.
    look_first: bool,
    /// A SHA-1 and a stronger digest of the same bytes.
    pair: Option<Published>,
    judged: bool,
}

/// What a snapshot says of a part of what is held.
#[derive(Default)]
struct Slice {
    looked: u64,
    last: Option<Blake3>,
    marks: Vec<(Id, bool)>,
    due: Vec<Due>,
}

fn slice(tx: &ReadTransaction, after: Option<Blake3>) -> Result<Slice, Error> {
    let table = tx.open_table(PAYLOADS)?;
    let names = tx.open_table(NAMES)?;
    let mut live = Live::of(tx)?;
    let mut slice = Slice::default();
    let from = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_bytes()));
    for row in table.range::<&Id>((from, Bound::Unbounded))?.take(STEP) {
        let (id, row) = row?;
        let (id, row): (Id, PayloadRow) = (*id.value(), decode("payloads.1", row.value())?);
        let blake3 = Blake3::new(id);
        (slice.looked, slice.last) = (slice.looked + 1, Some(blake3));
        let digests = row.digests(&id);
        let own = [Digest::Sha1(digests.sha1), Digest::Sha256(digests.sha256)];
        let is_proven = entries::is_proven(&row);
        let mut found = mentions(tx, None, own)?;
        if let Some(outdated) = is_outdated(&mut live, &found, &digests)?
            && outdated != entries::is_outdated(tx, &id)?
        {
            slice.marks.push((id, outdated));
        }
        let mut its_names = Vec::new();
        if !is_proven {
            for key in entries::names_in(&names, &id)? {
                let name = name_of(&key)?;
                if matches!(name, Name::Origin(_)) {
                    let at_address = mentions(tx, Some(&name), own)?;
                    found.extend(at_address.into_iter().filter(|mention| mention.by_address));
                }
                its_names.push(name);
            }
        }
        let mut said = claims(&found, &digests);
        said.retain(|claim| claim.authority > Authority::Unauthenticated);
        let contradicted = said.iter().any(|claim| claim.contradiction(&digests).is_some());
        let unchecked = row.sha1_state == Sha1State::Unchecked.code();
        let pair = said.iter().find(|claim| {
            unchecked && claim.sha1.is_some() && claim.sha256.is_some() && claim.contradiction(&digests).is_none()
        });
        let judged = (!is_proven && !said.is_empty()) || contradicted;
        if judged || pair.is_some() {
            if its_names.is_empty() {
                its_names.push(Name::Digest(Digest::Sha256(digests.sha256)));
            }
            let look_first = !is_proven && unchecked && !contradicted && said.iter().all(Published::only_sha1);
            slice.due.push(Due { blake3, names: its_names, digests, look_first, pair: pair.copied(), judged });
        }
    }
    Ok(slice)
}

/// Whether all updates that have these bytes were withdrawn or superseded; `None` where no update has them, so that nothing is said.
fn is_outdated(live: &mut Live, found: &[Mention], digests: &Digests) -> Result<Option<bool>, Error> {
    let mut known = None;
    for mention in found {
        if mention.file.sha256.is_some_and(|sha256| sha256 != digests.sha256) {
            continue;
        }
        if live.is_of_use(&mention.file.sha1)? {
            return Ok(Some(false));
        }
        known = Some(true);
    }
    Ok(known)
}

/// Whether any file of the catalog has the digests of a payload.
fn is_mentioned(tx: &WriteTransaction, id: &Id) -> Result<bool, Error> {
    let Some(row) = entries::payload(tx, id)? else { return Ok(false) };
    if tx.open_table(FILES)?.get(&row.sha1)?.is_some() {
        return Ok(true);
    }
    let (from, to) = (sha256_key(&row.sha256, &[0; 20]), sha256_key(&row.sha256, &[255; 20]));
    Ok(tx.open_table(SHA256S)?.range::<&Sha256Key>(&from..=&to)?.next().transpose()?.is_some())
}

impl Core {
    /// Whether bytes with these digests are only of superseded or withdrawn updates; `None` where no update has them.
    pub(crate) fn outdated(&self, digests: &Digests) -> Result<Option<bool>, Error> {
        self.index.read(|tx| {
            let found = mentions(tx, None, [Digest::Sha1(digests.sha1), Digest::Sha256(digests.sha256)])?;
            if found.is_empty() { Ok(None) } else { is_outdated(&mut Live::of(tx)?, &found, digests) }
        })
    }

    /// Steps 1 to 3 for the next payloads behind `after`. Returns those to be read first, and where to go on.
    fn review(&self, after: Option<Blake3>) -> Result<(Reviewed, Vec<Due>, Option<Blake3>), Error> {
        let Slice { looked, last, marks, due } = self.index.read(|tx| slice(tx, after))?;
        let mut reviewed = Reviewed { looked, ..Reviewed::default() };
        if !marks.is_empty() {
            let (set, taken) = self.writer.write(Room::Frees, move |tx| {
                let (mut set, mut taken) = (0, 0);
                for (id, outdated) in marks {
                    // The last update that has it may have gone since the snapshot.
                    if (outdated || is_mentioned(tx, &id)?) && entries::mark_outdated(tx, &id, outdated)? {
                        *(if outdated { &mut set } else { &mut taken }) += 1;
                    }
                }
                Ok((set, taken))
            })?;
            (reviewed.outdated, reviewed.wanted_again) = (set, taken);
        }
        let mut first = Vec::new();
        for one in due {
            if one.look_first {
                first.push(one);
            } else {
                reviewed += self.judge_again(&one)?;
            }
        }
        Ok((reviewed, first, last))
    }

    /// Step 3 for one.
    fn judge_again(&self, due: &Due) -> Result<Reviewed, Error> {
        let mut reviewed = Reviewed::default();
        if due.judged {
            match self.judge_published(&due.names, &due.digests) {
                Ok(()) => {}
                Err(Error::Mismatch { .. }) => {
                    reviewed.thrown_out = 1;
                    return Ok(reviewed);
                }
                Err(error) => return Err(error),
            }
            let proven = self.held(due.blake3.as_bytes())?.is_some_and(|(row, _)| entries::is_proven(&row));
            reviewed.promoted = u64::from(proven);
        }
        if let Some(pair) = &due.pair {
            self.name_by_sha1(pair)?;
        }
        Ok(reviewed)
    }

    /// The next step behind `after`; `None` at the end.
    pub(crate) async fn review_step(
        self: &Arc<Self>,
        after: Option<Blake3>,
    ) -> Result<(Reviewed, Option<Blake3>), Error> {
        self.writable()?;
        let core = Arc::clone(self);
        let (mut reviewed, first, last) = self.steps.run(move || core.review(after)).await??;
        for due in first {
            // Step 4: reading it with the detection judges it, and gives it its name.
            self.look_at(vec![due.blake3]).await?;
            let core = Arc::clone(self);
            reviewed += self.steps.run(move || core.judge_again(&due)).await??;
        }
        Ok((reviewed, last))
    }
}
