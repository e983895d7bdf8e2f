//! What lies in quarantine, looked at and thrown out: files that failed verification, kept for a while with the reason.
//!
//! A row says when, how much and why; beside the file lies `<id>.why`, whose first line says what it was. Emptying goes in
//! the order of every delete: files, directory, rows.

use std::io;

use redb::ReadableTable;

use crate::base::digest::Digest;
use crate::base::time::Timestamp;
use crate::model::name::{Name, OriginKey};
use crate::store::core::Core;
use crate::store::entries;
use crate::store::error::Error;
use crate::store::space::shift;
use crate::store::tables::{QUARANTINE, QUARANTINE_BYTES, QuarantineRow, decode};
use crate::store::writer::Room;

/// The most that is read of a file that says why: its first line is a name.
const WHY_BYTES_MAX: usize = 16 << 10;

/// How long the move of a file into quarantine may take.
const MOVING_MS: u64 = 60_000;

/// Something in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its number; its files are `quarantine/<id in 16 hex digits>`, with `.proof` and `.why` behind.
    pub id: u64,
    /// When it was put there.
    pub at: Timestamp,
    /// What it takes on the disk.
    pub allocated: u64,
    /// What it was filled or held as, where that is still told.
    pub name: Option<Name>,
    /// The first of the addresses that it was held under, or filled from; `None` where there was none.
    pub address: Option<OriginKey>,
    /// What was wrong with it.
    pub why: String,
}

/// Stands between the reason and the address in the row's text and in the file beside it. Rows of before have none.
const ADDRESS: &str = "\nof ";

/// The reason with the address behind it, as rows keep it.
pub(crate) fn why_of(why: &str, address: Option<&str>) -> String {
    match address {
        // A line feed in the reason would pass for the beginning of the address.
        Some(address) => format!("{}{ADDRESS}{address}", why.replace('\n', " ")),
        None => why.replace('\n', " "),
    }
}

impl Core {
    /// All that lies in quarantine, the oldest first.
    pub(crate) fn quarantined(&self) -> Result<Vec<Quarantined>, Error> {
        let rows = self.quarantine_rows()?;
        let told = |(id, row): (u64, QuarantineRow)| {
            let (why, address) = row.why.split_once(ADDRESS).unwrap_or((&row.why, ""));
            Quarantined {
                id,
                at: Timestamp::from_ms(row.at),
                allocated: row.allocated,
                name: self.name_of_quarantined(id),
                address: OriginKey::new(address).ok(),
                why: why.to_owned(),
            }
        };
        Ok(rows.into_iter().map(told).collect())
    }

    /// The rows of what lies in quarantine, the oldest first, since numbers are given in rising order.
    pub(crate) fn quarantine_rows(&self) -> Result<Vec<(u64, QuarantineRow)>, Error> {
        self.index.read(|tx| {
            let table = tx.open_table(QUARANTINE)?;
            let rows = table.iter()?.map(|row| {
                let (id, row) = row?;
                Ok((id.value(), decode::<QuarantineRow>("quarantine.1", row.value())?))
            });
            rows.collect()
        })
    }

    /// Throws everything out that lies in quarantine. Returns how many there were and their bytes.
    pub(crate) fn empty_quarantine(&self) -> Result<(u64, u64), Error> {
        self.writable()?;
        let now = self.clock.now().ms();
        let mut gone = Vec::new();
        for (id, row) in self.quarantine_rows()? {
            // The row of a draft comes before its file: one that is just being moved waits for the next time.
            let settled = row.at.saturating_add(MOVING_MS) <= now;
            if settled || self.facts(&self.layout.quarantined(id, ""))?.is_some() {
                gone.push((id, row.allocated));
            }
        }
        let count = gone.len() as u64;
        Ok((count, self.throw_out(gone)?))
    }

    /// Unlinks the files of these, then takes their rows away. Returns the bytes freed.
    pub(crate) fn throw_out(&self, gone: Vec<(u64, u64)>) -> Result<u64, Error> {
        if gone.is_empty() {
            return Ok(0);
        }
        for (id, _) in &gone {
            for part in [".why", ".proof", ""] {
                self.unlink(&self.layout.quarantined(*id, part))?;
            }
        }
        self.sync_dir(&self.layout.quarantine())?;
        let freed = self.writer.write(Room::Frees, move |tx| {
            let mut table = tx.open_table(QUARANTINE)?;
            // Only what is still there counts: another may have thrown it out meanwhile.
            let mut freed: u64 = 0;
            for (id, bytes) in &gone {
                if table.remove(id)?.is_some() {
                    freed = freed.saturating_add(*bytes);
                }
            }
            drop(table);
            let less = i64::try_from(freed).unwrap_or(i64::MAX).saturating_neg();
            entries::add_total(tx, QUARANTINE_BYTES, less)?;
            Ok(freed)
        })?;
        self.sums.change(|sums| shift(&mut sums.quarantine, 0, freed));
        Ok(freed)
    }

    /// What the file beside it says; a file that is missing or damaged only costs the name.
    fn name_of_quarantined(&self, id: u64) -> Option<Name> {
        let read = || -> io::Result<Vec<u8>> {
            let file = self.disk.open(&self.layout.quarantined(id, ".why"))?;
            let len = usize::try_from(file.facts()?.len).unwrap_or(usize::MAX).min(WHY_BYTES_MAX);
            let mut bytes = vec![0; len];
            file.read_at(&mut bytes, 0)?;
            Ok(bytes)
        };
        let text = String::from_utf8(read().ok()?).ok()?;
        name_in(text.lines().next()?)
    }
}

/// The name in `draft of <name>` or `payload <name>`.
fn name_in(line: &str) -> Option<Name> {
    let name = line.strip_prefix("draft of ").or_else(|| line.strip_prefix("payload "))?;
    let digest = match name.split_once('-') {
        Some(("blake3", hex)) => hex.parse().ok().map(Digest::Blake3),
        Some(("sha256", hex)) => hex.parse().ok().map(Digest::Sha256),
        Some(("sha1", hex)) => hex.parse().ok().map(Digest::Sha1),
        _ => None,
    };
    digest.map(Name::Digest).or_else(|| OriginKey::new(name).ok().map(Name::Origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_it() {
        let hex = "ab".repeat(32);
        let shown = |line: &str| name_in(line).map(|name| name.to_string());
        assert_eq!(shown(&format!("payload blake3-{hex}")), Some(format!("blake3-{hex}")));
        assert_eq!(shown("draft of dl.example/a?b").as_deref(), Some("dl.example/a?b"));
        assert_eq!(shown("something else"), None);
        assert_eq!(shown("draft of "), None);
    }
}
