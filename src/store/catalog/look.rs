//! Looking things up: a snapshot in, values out.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};

use crate::base::digest::{Blake3, Sha1, Sha256};
use crate::base::time::Timestamp;
use crate::model::update::{File, Identity, Update, UpdateId};
use crate::store::catalog::blobs::{Reading, unpack_chunk};
use crate::store::catalog::decisions::decided;
use crate::store::catalog::facts::{self, kind_of, publication_of, severity_of};
use crate::store::catalog::pack::Dictionaries;
use crate::store::catalog::tables::{
    ARRIVING, CHUNKS, CLOCK, ClockKey, DECISION_LOG, DEPENDENTS, DICTIONARIES, DecisionLine, FILES, FileRow,
    GENERATION, HERE, IDENTITIES, IdKey, KBS, LOG, LOG_FLOOR, LongKey, NUMBERS, PACKS, PARENTS, PART_CORE,
    PART_DOCUMENT, PART_EXTENDED, PART_FACTS, PART_LOCALIZED, PartRow, REFUSED, REFUSED_NAME, REVISION_COUNT,
    REVISIONS, RefusedRow, RevisionRow, SETS, SHA256S, STATE, SUPERSEDED, SetRow, Sha256Key, UPDATE_COUNT, UPDATES,
    UPSTREAM, USERS, UpdateRow, clock_key, id_key, identity_key, identity_of, kb_key, long_key, number, of_clock_key,
    of_id_key, of_kb_key, of_long_key, read, sha256_key,
};
use crate::store::catalog::upstream::upstream_of;
use crate::store::catalog::value::{
    Change, Changes, FileDigest, KnownFile, Part, Refused, Revision, Set, Standing, Summary, Text, Upstream,
};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::decode;

/// Numbers in one answer; a page of what has more is asked for behind the last one.
pub(crate) const ANSWER_MAX: usize = 10_000;
/// Users of one file that are told.
const USERS_MAX: usize = 1000;
/// Bytes of texts that one call holds; beyond it texts are left to be read in pieces.
const WHOLE_MAX: usize = 32 << 20;

/// A line of one of the two logs of changes.
enum Line {
    /// Whether the revision is held.
    Revision(bool),
    Decision(DecisionLine),
}

/// A row as a value.
pub(crate) fn summary(number: u32, row: RevisionRow) -> Result<Summary, Error> {
    let document = row.parts.iter().find(|part| part.part == PART_DOCUMENT);
    Ok(Summary {
        number,
        identity: row.identity(),
        kind: kind_of(row.kind)?,
        publication: publication_of(row.publication)?,
        severity: severity_of(row.severity)?,
        created: row.created.map(Timestamp::from_ms),
        title: row.title,
        kbs: row.kbs,
        categories: row.categories.into_iter().map(UpdateId::new).collect(),
        deployable: row.deployable,
        files: row.files,
        bytes: row.bytes,
        current: row.current,
        changed: row.changed,
        unauthenticated: row.unauthenticated,
        refused: row.refused,
        cabinet: row.cabinet,
        digest: Blake3::new(row.digest),
        document_len: document.map_or(0, |part| part.len),
        languages: (row.parts.into_iter())
            .filter(|part| part.part == PART_LOCALIZED)
            .map(|part| part.language)
            .collect(),
    })
}

/// The row of a revision.
pub(super) fn row_of(tx: &ReadTransaction, number: u32) -> Result<Option<RevisionRow>, Error> {
    let Some(table) = read(tx, REVISIONS)? else { return Ok(None) };
    table.get(number)?.map(|row| decode("catalog-revisions.1", row.value())).transpose()
}

/// What the document of a revision says.
pub(super) fn revision_in(
    tx: &ReadTransaction,
    dictionaries: &Dictionaries,
    number: u32,
    row: &RevisionRow,
) -> Result<Update, Error> {
    let lost = || Error::Row { what: format!("revision {number} of the catalog has lost what it says") };
    let part = row.parts.iter().find(|part| part.part == PART_FACTS).ok_or_else(lost)?;
    let Some(blob) = part.blob else { return facts::read(slice(&pack_of(tx, dictionaries, number)?, part)?) };
    let chunks = tx.open_table(CHUNKS)?;
    let mut bytes = Vec::new();
    for chunk in chunks.range::<&ClockKey>(&clock_key(blob, 0)..=&clock_key(blob, u32::MAX))? {
        bytes.extend_from_slice(&unpack_chunk(chunk?.1.value())?);
    }
    facts::read(&bytes)
}

fn pack_of(tx: &ReadTransaction, dictionaries: &Dictionaries, number: u32) -> Result<Vec<u8>, Error> {
    let packs = tx.open_table(PACKS)?;
    let missing = || Error::Row { what: format!("revision {number} of the catalog has lost its texts") };
    let pack = packs.get(number)?.ok_or_else(missing)?;
    dictionaries.unpack(pack.value(), &tx.open_table(DICTIONARIES)?)
}

fn slice<'a>(raw: &'a [u8], part: &PartRow) -> Result<&'a [u8], Error> {
    let (from, to) = (part.at as usize, part.at.saturating_add(part.len) as usize);
    raw.get(from..to).ok_or_else(|| Error::Row { what: "a pack of the catalog is shorter than its parts".into() })
}

/// Every filter set, by name.
pub(crate) fn sets(tx: &ReadTransaction) -> Result<Vec<Set>, Error> {
    let Some(table) = read(tx, SETS)? else { return Ok(vec![]) };
    table
        .iter()?
        .map(|row| {
            let (name, row) = row?;
            let row: SetRow = decode("catalog-sets.1", row.value())?;
            Ok(Set {
                name: name.value().to_owned(),
                anchor: row.anchor,
                anchored: row.at.map(Timestamp::from_ms),
                pending: row.pending,
                listed: row.listed,
                wanted: row.wanted,
            })
        })
        .collect()
}

impl Core {
    /// The number of a revision that is, or once was, held.
    pub(crate) fn number_of(&self, identity: Identity) -> Result<Option<u32>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, IDENTITIES)? else { return Ok(None) };
            Ok(table.get(&identity_key(identity))?.map(|number| number.value()))
        })
    }

    /// The number of the revision that counts.
    pub(crate) fn current(&self, id: UpdateId) -> Result<Option<u32>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, UPDATES)? else { return Ok(None) };
            let row: Option<UpdateRow> =
                table.get(id.bytes())?.map(|row| decode("catalog-updates.1", row.value())).transpose()?;
            Ok(row.map(|row| row.current))
        })
    }

    /// The short of some revisions; those that are not held are left out.
    pub(crate) fn summaries(&self, numbers: &[u32]) -> Result<Vec<Summary>, Error> {
        self.index.read(|tx| {
            let mut found = Vec::new();
            for number in numbers.iter().take(ANSWER_MAX) {
                if let Some(row) = row_of(tx, *number)? {
                    found.push(summary(*number, row)?);
                }
            }
            Ok(found)
        })
    }

    /// A revision with what its document says.
    pub(crate) fn revision(&self, number: u32) -> Result<Option<Revision>, Error> {
        self.index.read(|tx| {
            let Some(row) = row_of(tx, number)? else { return Ok(None) };
            let update = revision_in(tx, &self.catalog.dictionaries, number, &row)?;
            Ok(Some(Revision { summary: summary(number, row)?, update }))
        })
    }

    /// One part of each revision, in the order asked for; `None` where it is not held or has no such part.
    pub(crate) fn texts(self: &Arc<Self>, numbers: &[u32], part: &Part) -> Result<Vec<Option<Text>>, Error> {
        let (code, language) = match part {
            Part::Document => (PART_DOCUMENT, ""),
            Part::Core => (PART_CORE, ""),
            Part::Extended => (PART_EXTENDED, ""),
            Part::Localized(language) => (PART_LOCALIZED, language.as_str()),
        };
        self.index.read(|tx| {
            let (mut found, mut held) = (Vec::with_capacity(numbers.len().min(ANSWER_MAX)), 0);
            for number in numbers.iter().take(ANSWER_MAX) {
                let row = row_of(tx, *number)?;
                let part = row
                    .and_then(|row| row.parts.into_iter().find(|part| part.part == code && part.language == language));
                found.push(match part {
                    None => None,
                    Some(PartRow { blob: Some(blob), len, .. }) => {
                        Some(Text::Long(Reading::new(Arc::clone(self), blob, len)))
                    }
                    Some(part) => {
                        held += part.len as usize;
                        if held > WHOLE_MAX {
                            let what = format!("{} texts are too much at once: ask for fewer", numbers.len());
                            return Err(Error::Invalid { what });
                        }
                        let pack = pack_of(tx, &self.catalog.dictionaries, *number)?;
                        Some(Text::Whole(Bytes::copy_from_slice(slice(&pack, &part)?)))
                    }
                });
            }
            Ok(found)
        })
    }

    /// Numbers of current revisions that name the KB.
    pub(crate) fn by_kb(&self, kb: &str) -> Result<Vec<u32>, Error> {
        if kb.contains('\0') {
            return Ok(vec![]);
        }
        self.index.read(|tx| {
            let Some(table) = read(tx, KBS)? else { return Ok(vec![]) };
            let (from, to) = (kb_key(kb, 0), kb_key(kb, u32::MAX));
            let rows = table.range::<&[u8]>(from.as_slice()..=to.as_slice())?.take(ANSWER_MAX);
            rows.map(|row| Ok(of_kb_key(row?.0.value()).unwrap_or_default())).collect()
        })
    }

    /// Numbers of current revisions behind `after` that name `id` as a prerequisite; those alone whose category it is, where
    /// that is asked.
    pub(crate) fn dependents(
        &self,
        id: UpdateId,
        as_category: bool,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Vec<u32>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, DEPENDENTS)? else { return Ok(vec![]) };
            let from = after.map_or(Some(0), |after| after.checked_add(1));
            let Some(from) = from else { return Ok(vec![]) };
            let mut found = Vec::new();
            for row in table.range::<&IdKey>(&id_key(id.bytes(), from)..=&id_key(id.bytes(), u32::MAX))? {
                let (key, flag) = row?;
                if found.len() >= limit.min(ANSWER_MAX) {
                    break;
                }
                if !as_category || flag.value() == 1 {
                    found.push(of_id_key(key.value()).1);
                }
            }
            Ok(found)
        })
    }

    /// Of `ids` those that no current revision names as a prerequisite (MS-WUSP 3.1.5.7, IsLeaf), in the same order.
    pub(crate) fn leaves(&self, ids: &[UpdateId]) -> Result<Vec<bool>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, DEPENDENTS)? else { return Ok(vec![true; ids.len()]) };
            ids.iter()
                .map(|id| {
                    let (from, to) = (id_key(id.bytes(), 0), id_key(id.bytes(), u32::MAX));
                    Ok(table.range::<&IdKey>(&from..=&to)?.next().transpose()?.is_none())
                })
                .collect()
        })
    }

    /// Numbers of revisions that bundle a revision.
    pub(crate) fn parents(&self, identity: Identity) -> Result<Vec<u32>, Error> {
        let key = identity_key(identity);
        self.index.read(|tx| {
            let Some(table) = read(tx, PARENTS)? else { return Ok(vec![]) };
            let rows = table.range::<&LongKey>(&long_key(&key, 0)..=&long_key(&key, u32::MAX))?.take(ANSWER_MAX);
            rows.map(|row| Ok(of_long_key(row?.0.value()))).collect()
        })
    }

    /// Numbers of current, offered revisions that supersede an update.
    pub(crate) fn superseded_by(&self, id: UpdateId) -> Result<Vec<u32>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, SUPERSEDED)? else { return Ok(vec![]) };
            let (from, to) = (id_key(id.bytes(), 0), id_key(id.bytes(), u32::MAX));
            let rows = table.range::<&IdKey>(&from..=&to)?.take(ANSWER_MAX);
            rows.map(|row| Ok(of_id_key(row?.0.value()).1)).collect()
        })
    }

    /// What files are called, in the same order.
    pub(crate) fn file_names(&self, sha1s: &[Sha1]) -> Result<Vec<Option<String>>, Error> {
        self.index.read(|tx| {
            let Some(files) = read(tx, FILES)? else { return Ok(vec![None; sha1s.len()]) };
            let name = |sha1: &Sha1| -> Result<Option<String>, Error> {
                let Some(row) = files.get(sha1.as_bytes())? else { return Ok(None) };
                let row: FileRow = decode("catalog-files.1", row.value())?;
                Ok(Some(row.name).filter(|name| !name.is_empty()))
            };
            sha1s.iter().map(name).collect()
        })
    }

    /// The files of a digest. Of a SHA-256 there may be several SHA-1s only where somebody publishes nonsense.
    pub(crate) fn known_files(&self, digest: FileDigest) -> Result<Vec<KnownFile>, Error> {
        self.index.read(|tx| {
            let sha1s = match digest {
                FileDigest::Sha1(sha1) => vec![sha1],
                FileDigest::Sha256(sha256) => {
                    let Some(table) = read(tx, SHA256S)? else { return Ok(vec![]) };
                    let (from, to) =
                        (sha256_key(sha256.as_bytes(), &[0; 20]), sha256_key(sha256.as_bytes(), &[255; 20]));
                    let rows = table.range::<&Sha256Key>(&from..=&to)?.take(USERS_MAX);
                    rows.map(|row| {
                        let mut sha1 = [0; 20];
                        sha1.copy_from_slice(&row?.0.value()[32..]);
                        Ok(Sha1::new(sha1))
                    })
                    .collect::<Result<_, Error>>()?
                }
            };
            let Some(files) = read(tx, FILES)? else { return Ok(vec![]) };
            let users = tx.open_table(USERS)?;
            let mut found = Vec::new();
            for sha1 in sha1s {
                let Some(row) = files.get(sha1.as_bytes())? else { continue };
                let row: FileRow = decode("catalog-files.1", row.value())?;
                let (from, to) = (long_key(sha1.as_bytes(), 0), long_key(sha1.as_bytes(), u32::MAX));
                let users = users.range::<&LongKey>(&from..=&to)?.take(USERS_MAX);
                let users = users.map(|row| Ok(of_long_key(row?.0.value()))).collect::<Result<_, Error>>()?;
                let file = File {
                    sha1,
                    sha256: row.sha256.map(Sha256::new),
                    name: row.name,
                    size: row.size,
                    modified: row.modified.map(Timestamp::from_ms),
                    patching: String::new(),
                    encrypted: row.encrypted,
                };
                found.push(KnownFile { file, urls: row.urls, users, unauthenticated: row.unauthenticated });
            }
            Ok(found)
        })
    }

    /// The log behind (`at`, `number`).
    pub(crate) fn changes(&self, after: (u64, u32), limit: usize) -> Result<Changes, Error> {
        self.index.read(|tx| {
            let (Some(log), Some(numbers)) = (read(tx, LOG)?, read(tx, NUMBERS)?) else {
                return Ok(Changes { next: after, ..Changes::default() });
            };
            let limit = limit.clamp(1, ANSWER_MAX);
            let from = clock_key(after.0, after.1);
            let behind = (Bound::Excluded(&from), Bound::Unbounded);
            // One more than the page tells whether there is another.
            let mut lines: Vec<(ClockKey, Line)> = log
                .range::<&ClockKey>(behind)?
                .take(limit + 1)
                .map(|row| row.map(|(key, kind)| (*key.value(), Line::Revision(kind.value() == HERE))))
                .collect::<Result<_, _>>()?;
            if let Some(table) = read(tx, DECISION_LOG)? {
                for row in table.range::<&ClockKey>(behind)?.take(limit + 1) {
                    let (key, line) = row?;
                    lines.push((*key.value(), Line::Decision(*line.value())));
                }
                lines.sort_unstable_by_key(|(key, _)| *key);
            }
            let mut page = Changes {
                floor: number(&numbers, LOG_FLOOR)?,
                clock: number(&numbers, CLOCK)?,
                more: lines.len() > limit,
                next: after,
                ..Changes::default()
            };
            for (key, line) in lines.into_iter().take(limit) {
                let (at, number) = of_clock_key(&key);
                page.next = (at, number);
                match line {
                    Line::Revision(held) => page.changes.push(Change { at, number, held }),
                    Line::Decision(line) => page.decisions.push(decided(at, &line)),
                }
            }
            Ok(page)
        })
    }

    /// Updates in quarantine behind `after`, in the order of identities.
    pub(crate) fn refusals(&self, after: Option<Identity>, limit: usize) -> Result<Vec<Refused>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, REFUSED)? else { return Ok(vec![]) };
            let after = after.map(identity_key);
            let rows = table.range::<&IdKey>(&after.unwrap_or([0; 20])..)?;
            let mut found = Vec::new();
            for row in rows {
                let (key, row) = row?;
                if Some(*key.value()) == after {
                    continue;
                }
                if found.len() >= limit.min(ANSWER_MAX) {
                    break;
                }
                let row: RefusedRow = decode(REFUSED_NAME, row.value())?;
                let at = Timestamp::from_ms(row.at);
                found.push(Refused { identity: identity_of(key.value()), at, reason: row.reason, stays: row.stays });
            }
            Ok(found)
        })
    }

    /// How the catalog stands.
    pub(crate) fn standing(&self) -> Result<Standing, Error> {
        self.index.read(|tx| {
            let (Some(numbers), Some(state), Some(refused)) =
                (read(tx, NUMBERS)?, read(tx, STATE)?, read(tx, REFUSED)?)
            else {
                return Ok(Standing::default());
            };
            let upstream = |name: &str| -> Result<Option<Upstream>, Error> {
                state.get(name)?.map(|row| upstream_of(decode("catalog-state.1", row.value())?)).transpose()
            };
            Ok(Standing {
                updates: number(&numbers, UPDATE_COUNT)?,
                revisions: number(&numbers, REVISION_COUNT)?,
                clock: number(&numbers, CLOCK)?,
                upstream: upstream(UPSTREAM)?,
                arriving: upstream(ARRIVING)?,
                generation: number(&numbers, GENERATION)?,
                refused: refused.len()?,
                sets: sets(tx)?,
            })
        })
    }
}
