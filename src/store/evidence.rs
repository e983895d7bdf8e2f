//! Quarantine as it lies on the disk, taken over by an index that is being made: without its rows nothing would ever be
//! trimmed, no byte of it counted, and a number given again would write over it.

use std::collections::BTreeMap;

use redb::{Database, ReadableDatabase, ReadableTable};

use crate::base::disk::Disk;
use crate::base::time::Timestamp;
use crate::store::error::Error;
use crate::store::layout::{Layout, quarantine_id};
use crate::store::tables::{QUARANTINE, QUARANTINE_BYTES, QuarantineRow, TOTALS, decode, encode};

/// Enters what lies in `quarantine/` and has no row, as if it had come `now`; takes out the rows of what is not there;
/// sets the sum.
pub(crate) fn adopt(db: &Database, disk: &dyn Disk, layout: &Layout, now: Timestamp) -> Result<(), Error> {
    let folder = layout.quarantine();
    let at = |error: std::io::Error| Error::at(&folder, &error);
    let mut lying = BTreeMap::<u64, u64>::new();
    if disk.facts(&folder).map_err(at)?.is_some() {
        for (path, facts) in disk.list(&folder).map_err(at)? {
            if let (Some(place), false) = (quarantine_id(&path), facts.is_dir) {
                *lying.entry(place).or_default() += facts.allocated;
            }
        }
    }
    let mut rows = BTreeMap::<u64, QuarantineRow>::new();
    for row in db.begin_read()?.open_table(QUARANTINE)?.iter()? {
        let (place, row) = row?;
        rows.insert(place.value(), decode("quarantine.1", row.value())?);
    }
    let tx = db.begin_write()?;
    {
        let mut table = tx.open_table(QUARANTINE)?;
        for place in rows.keys().filter(|place| !lying.contains_key(place)) {
            table.remove(place)?;
        }
        let mut sum: u64 = 0;
        for (place, allocated) in &lying {
            let row = match rows.get(place) {
                Some(row) => row.clone(),
                None => QuarantineRow {
                    at: now.ms(),
                    allocated: *allocated,
                    why: "it lay here when the index was made; the file beside it says why".into(),
                },
            };
            sum = sum.saturating_add(row.allocated);
            table.insert(place, encode(&row)?.as_slice())?;
        }
        tx.open_table(TOTALS)?.insert(QUARANTINE_BYTES, sum)?;
    }
    tx.commit()?;
    Ok(())
}
