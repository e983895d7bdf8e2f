//! What is of no use any more goes, in small transactions: approvals of groups that are gone, and what was withdrawn long ago where there
//! is much of it.

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};

use crate::model::deployment::Target;
use crate::model::group::UNASSIGNED;
use crate::model::policy::Group;
use crate::store::approvals::tables::{
    APPROVALS, APPROVALS_NAME, ApprovalKey, ApprovalRow, GROUPS, GROUPS_GONE, WITHDRAWN_FLOOR, of_approval_key,
};
use crate::store::approvals::words::{APPROVALS_MAX, withdrawn};
use crate::store::catalog::tables::{NUMBERS, number, read};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::decode;
use crate::store::writer::Room;

/// From so many rows on what was withdrawn is forgotten: three quarters of what is kept at all.
const FULL: u64 = APPROVALS_MAX / 4 * 3;
/// Rows that one transaction takes out, and that are looked for in one snapshot.
const STEP: usize = 1_000;
const SOUGHT_MAX: usize = 10 * STEP;

/// Approvals of groups that are not there.
fn orphans(tx: &ReadTransaction) -> Result<Vec<ApprovalKey>, Error> {
    let Some(table) = read(tx, APPROVALS)? else { return Ok(vec![]) };
    let groups = read(tx, GROUPS)?;
    let mut found = Vec::new();
    for row in table.range::<&ApprovalKey>(..)? {
        let key = *row?.0.value();
        let Some((_, Target::Group(group))) = of_approval_key(&key) else { continue };
        if group == Group::ALL_ENDPOINTS || group == UNASSIGNED {
            continue;
        }
        let is_there = match &groups {
            Some(groups) => groups.get(group.0.bytes())?.is_some(),
            None => false,
        };
        if !is_there {
            found.push(key);
        }
        if found.len() >= SOUGHT_MAX {
            break;
        }
    }
    Ok(found)
}

impl Core {
    /// Says whether there may be more.
    pub(crate) fn sweep_approvals(&self) -> Result<bool, Error> {
        Ok(self.drop_orphans()? || self.forget_withdrawn(FULL)?)
    }

    fn drop_orphans(&self) -> Result<bool, Error> {
        let found = self.index.read(|tx| {
            let Some(numbers) = read(tx, NUMBERS)? else { return Ok(None) };
            if number(&numbers, GROUPS_GONE)? == 0 { Ok(None) } else { orphans(tx).map(Some) }
        })?;
        let Some(found) = found else { return Ok(false) };
        for step in found.chunks(STEP) {
            let step = step.to_vec();
            // No endpoint hears of it: who was in the group heard that it is gone.
            self.catalog_write(Room::Frees, move |t, _| {
                for key in &step {
                    t.approvals.remove(key)?;
                }
                Ok(())
            })?;
        }
        if found.len() >= SOUGHT_MAX {
            return Ok(true);
        }
        // One that went since is found at the next time that another one does; until then nobody asks for its rows.
        self.catalog_write(Room::Frees, |t, _| t.set_number(GROUPS_GONE, 0))?;
        Ok(false)
    }

    /// Forgets what was withdrawn where there are more rows than `most`. Who does not know of it yet is told everything.
    pub(super) fn forget_withdrawn(&self, most: u64) -> Result<bool, Error> {
        let found = self.index.read(|tx| {
            let Some(table) = read(tx, APPROVALS)? else { return Ok(None) };
            if table.len()? <= most { Ok(None) } else { withdrawn(tx, SOUGHT_MAX).map(Some) }
        })?;
        let Some(found) = found else { return Ok(false) };
        let all: Vec<(ApprovalKey, u64)> = found.into_iter().collect();
        for step in all.chunks(STEP) {
            let step = step.to_vec();
            self.catalog_write(Room::Frees, move |t, w| {
                let mut floor = t.number(WITHDRAWN_FLOOR)?;
                for (key, at) in &step {
                    let row: Option<ApprovalRow> =
                        t.approvals.get(key)?.map(|row| decode(APPROVALS_NAME, row.value())).transpose()?;
                    // It may have been said anew meanwhile.
                    if row.is_some_and(|row| row.is_withdrawn() && row.at == *at) {
                        t.approvals.remove(key)?;
                        floor = floor.max(*at);
                    }
                }
                t.set_number(WITHDRAWN_FLOOR, floor)?;
                t.touch_shared(w)?;
                Ok(())
            })?;
        }
        Ok(all.len() >= SOUGHT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::base::disk::RealDisk;
    use crate::base::time::SystemClock;
    use crate::model::deployment::{Action, Said};
    use crate::model::update::UpdateId;
    use crate::store::approvals::Saying;
    use crate::store::{Config, Store};

    #[test]
    fn what_was_withdrawn_is_forgotten_where_there_is_much_and_that_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            path: dir.path().join("data"),
            max_size: 1 << 40,
            min_free: 0,
            unproven: Duration::from_hours(24),
            index_cache: 16 << 20,
            open_payloads: 16,
            io_threads: 2,
        };
        let (store, _) = Store::open(config, Arc::new(RealDisk), Arc::new(SystemClock)).unwrap();
        let core = Arc::clone(&store.approvals().core);
        let id = |at: u32| UpdateId::new(u128::from(at).to_be_bytes());
        let say = |from: u32, to: u32, said| {
            let targets = vec![Target::Group(UNASSIGNED)];
            let updates = (from..=to).map(id).collect();
            let saying = Saying { updates, targets, said, all_files: false, by: "ada".into(), why: String::new() };
            core.say(saying).unwrap()
        };
        let install = Said::Do { action: Action::Install, deadline: None };
        assert_eq!(say(1, 2_500, install), 2_500);
        assert_eq!(say(1, 1_500, Said::Inherit), 1_500);
        let clock = core.approvals_shared().unwrap();
        assert!(!core.forget_withdrawn(2_500).unwrap());
        assert_eq!(core.approvals_shared().unwrap(), clock, "there is room");
        // One of them was said anew.
        say(7, 7, install);
        assert!(!core.forget_withdrawn(2_499).unwrap(), "all at once");
        let left = core.index.read(|tx| Ok(read(tx, APPROVALS)?.map(|table| table.len()).transpose()?)).unwrap();
        assert_eq!(left, Some(1_001));
        let shared = core.approvals_shared().unwrap();
        assert!(shared.clock > clock.clock && shared.floor > 0 && shared.floor < shared.clock);
        assert!(core.words(&[id(1)]).unwrap()[0].approvals.is_empty());
        assert_eq!(core.words(&[id(7)]).unwrap()[0].approvals.len(), 1);
    }
}
