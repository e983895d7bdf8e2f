//! What groups ask of their endpoints. A change of it changes nothing that anybody is sent, and has no place in the catalog's clock.

use std::collections::BTreeMap;

use redb::ReadableTable;

use crate::base::time::Timestamp;
use crate::model::compliance::inherit::Own;
use crate::model::group::UNASSIGNED;
use crate::model::policy::Group;
use crate::model::update::{Severity, UpdateId};
use crate::store::approvals::tables::{POLICIES, POLICIES_NAME, PolicyRow};
use crate::store::approvals::value::GroupPolicy;
use crate::store::approvals::words::BY_MAX;
use crate::store::catalog::decisions::cut;
use crate::store::catalog::tables::read;
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::{decode, encode};
use crate::store::writer::Room;

const LEVELS: [(Severity, u8); 5] = [
    (Severity::Unspecified, 0),
    (Severity::Low, 1),
    (Severity::Moderate, 2),
    (Severity::Important, 3),
    (Severity::Critical, 4),
];

fn policy_of(row: &[u8]) -> Result<GroupPolicy, Error> {
    let PolicyRow { severity, missing_days, scan_days, restart_days, by, at } = decode(POLICIES_NAME, row)?;
    let level = |code: u8| {
        let found = LEVELS.into_iter().find(|(_, known)| *known == code).map(|(level, _)| level);
        found.ok_or_else(|| Error::Row {
            what: format!("a row of {POLICIES_NAME} says severity {code}, which this program does not know"),
        })
    };
    let own = Own { severity: severity.map(level).transpose()?, missing_days, scan_days, restart_days };
    Ok(GroupPolicy { own, by, at: Timestamp::from_ms(at) })
}

impl Core {
    pub(super) fn policies(&self) -> Result<BTreeMap<Group, GroupPolicy>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, POLICIES)? else { return Ok(BTreeMap::new()) };
            let one = |row: Result<(redb::AccessGuard<'_, _>, redb::AccessGuard<'_, &[u8]>), redb::StorageError>| {
                let (id, row): (redb::AccessGuard<'_, &'static [u8; 16]>, _) = row?;
                Ok((Group(UpdateId::new(*id.value())), policy_of(row.value())?))
            };
            table.iter()?.map(one).collect()
        })
    }

    pub(super) fn set_policy(&self, group: Group, own: Own, by: String) -> Result<(), Error> {
        if group == Group::ALL_ENDPOINTS {
            return Err(Error::Invalid {
                what: "what holds for all endpoints is [compliance] in the configuration".to_owned(),
            });
        }
        let code = |level| LEVELS.into_iter().find(|(known, _)| *known == level).map_or(0, |(_, code)| code);
        let row = PolicyRow {
            severity: own.severity.map(code),
            missing_days: own.missing_days,
            scan_days: own.scan_days,
            restart_days: own.restart_days,
            by: cut(by, BY_MAX),
            at: self.clock.now().ms(),
        };
        let room = if own.is_empty() { Room::Frees } else { Room::Adds };
        let ((), _) = self.catalog_write(room, move |t, _| {
            let id = group.0.bytes();
            // A row for each group at most, of which there is a limit.
            if group != UNASSIGNED && t.groups.get(id)?.is_none() {
                return Err(Error::Invalid { what: format!("there is no group with the id {}", group.0) });
            }
            if own.is_empty() {
                t.policies.remove(id)?;
            } else {
                t.policies.insert(id, encode(&row)?.as_slice())?;
            }
            Ok(())
        })?;
        Ok(())
    }
}
