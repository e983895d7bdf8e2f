//! Forgetting what went. The change log keeps a line of each revision that is held no more, for whoever reads it later; of these
//! lines the oldest go.
//!
//! They lie among the lines of all that is held, which are many more: the places are looked for in a snapshot, and only those are
//! touched in transactions, so that a publish never waits for a walk along the log.

#[cfg(test)]
mod tests;

use redb::ReadableTable;

use crate::store::catalog::tables::{ClockKey, GONE, GONE_COUNT, LOG, LOG_FLOOR, NUMBERS, number, of_clock_key, read};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::writer::Room;

/// Lines that one transaction forgets.
const FORGET_STEP: usize = 1_000;
/// Lines that are looked for in one snapshot, 12 bytes each: many, since the search begins anew each time.
const SOUGHT_MAX: usize = 10 * FORGET_STEP;

/// What a look along the log found.
struct Found {
    /// The oldest lines that tell of what went.
    old: Vec<ClockKey>,
    /// By how many the count of such lines is too high, where all of them were seen.
    beyond: u64,
}

impl Core {
    /// Forgets the oldest lines of what went, as long as there are more than `most`. Says whether there may be more to forget.
    /// Blocks.
    pub(super) fn forget_gone(&self, most: u64) -> Result<bool, Error> {
        let Found { old, beyond } = self.index.read(|tx| {
            let (mut old, mut beyond) = (Vec::new(), 0);
            let (Some(numbers), Some(log)) = (read(tx, NUMBERS)?, read(tx, LOG)?) else {
                return Ok(Found { old, beyond });
            };
            let counted = number(&numbers, GONE_COUNT)?;
            let excess = counted.saturating_sub(most);
            let sought = usize::try_from(excess).unwrap_or(usize::MAX).min(SOUGHT_MAX);
            if sought > 0 {
                for row in log.iter()? {
                    let (place, kind) = row?;
                    if kind.value() == GONE {
                        old.push(*place.value());
                    }
                    if old.len() >= sought {
                        break;
                    }
                }
                if old.len() < sought {
                    beyond = counted.saturating_sub(old.len() as u64);
                    // Not that many are too many: only the count was wrong.
                    let excess = usize::try_from((old.len() as u64).saturating_sub(most)).unwrap_or(usize::MAX);
                    old.truncate(excess);
                }
            }
            Ok(Found { old, beyond })
        })?;
        if beyond > 0 {
            // By the difference: what was counted since stays counted.
            self.catalog_write(Room::Frees, move |t, _| {
                t.count(GONE_COUNT, i64::try_from(beyond).unwrap_or(i64::MAX).saturating_neg())
            })?;
        }
        for step in old.chunks(FORGET_STEP) {
            let step = step.to_vec();
            self.catalog_write(Room::Frees, move |t, _| {
                for place in &step {
                    // What came back meanwhile has another place.
                    if t.log.remove(place)?.is_some() {
                        t.count(GONE_COUNT, -1)?;
                        let floor = t.number(LOG_FLOOR)?.max(of_clock_key(place).0);
                        t.set_number(LOG_FLOOR, floor)?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(old.len() >= SOUGHT_MAX)
    }
}
