//! What established machines of some groups reported of updates.
//!
//! A machine is established where it was first seen so many days ago and is served: what appears in order to be counted has to wait.
//! How many failed anywhere is kept up by the board; only where any did, or somebody wants to see it, machines are gone through.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::time::Timestamp;
use crate::fleet::belong;
use crate::jobs::Shared;
use crate::jobs::error::Error;
use crate::model::compliance::State;
use crate::model::deployment::Endpoint;
use crate::model::deployment::rules::{ESTABLISHED_DAYS, Tried};
use crate::model::group::Groups;
use crate::model::policy::Group;
use crate::model::update::UpdateId;
use crate::store::fleet::{Admitted, PAGE_MAX};

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// An update, and the groups whose machines are asked about.
pub(super) type Asked = (UpdateId, BTreeSet<Group>);

/// Established machines, each with its groups and all above them.
async fn established(
    shared: &Shared,
    tree: &Groups,
    wanted: BTreeSet<Group>,
    now: Timestamp,
) -> Result<BTreeMap<Endpoint, Vec<Group>>, Error> {
    let (fleet, approvals) = (shared.store.fleet(), shared.store.approvals());
    let (mut found, mut after) = (BTreeMap::new(), None);
    loop {
        let page = fleet.endpoints(after, PAGE_MAX).await?;
        let ids: Vec<Endpoint> = page.iter().map(|record| record.registration.endpoint).collect();
        let Some(last) = ids.last().copied() else { return Ok(found) };
        let placed = approvals.placed(ids).await?;
        for (record, placed) in page.iter().zip(placed) {
            let since = record.first.ms().saturating_add(u64::from(ESTABLISHED_DAYS) * DAY_MS);
            if since > now.ms() || record.admitted != Admitted::Accepted {
                continue;
            }
            let (groups, _) = belong::groups(Some(record), &placed, tree);
            let above: BTreeSet<Group> = groups.iter().flat_map(|group| tree.up(*group)).collect();
            let above: Vec<Group> = above.into_iter().filter(|group| wanted.contains(group)).collect();
            if !above.is_empty() {
                found.insert(record.registration.endpoint, above);
            }
        }
        after = Some(last);
    }
}

/// What was reported, for each that is asked about in the same order. Where `is_detailed` is not set, nothing is told of updates that
/// failed nowhere.
pub(super) async fn tried(
    shared: &Shared,
    tree: &Groups,
    asked: Vec<Asked>,
    is_detailed: bool,
    now: Timestamp,
) -> Result<Vec<Tried>, Error> {
    if asked.is_empty() {
        return Ok(vec![]);
    }
    let reported = shared.reported();
    let ids: Vec<UpdateId> = asked.iter().map(|(update, _)| *update).collect();
    let counts = reported.look_now(move |board| {
        let known = |id: &UpdateId| board.number(*id).and_then(|number| board.known(number));
        let counts = |by: crate::fleet::compliance::totals::ByState| {
            let failed = by.of(State::Failed);
            if is_detailed { failed + by.of(State::Installed) + by.of(State::PendingRestart) } else { failed }
        };
        ids.iter().map(|id| known(id).map_or(0, |known| counts(known.by_state))).collect::<Vec<u64>>()
    });
    let counts = counts.await.map_err(fleet_error)?;
    if counts.iter().all(|count| *count == 0) {
        return Ok(vec![Tried::default(); asked.len()]);
    }
    let wanted = asked.iter().flat_map(|(_, groups)| groups.iter().copied()).collect();
    let machines = established(shared, tree, wanted, now).await?;
    let told = reported.look(move |board| {
        let one = |((update, groups), count): (&Asked, &u64)| {
            let mut tried = Tried::default();
            let Some(number) = board.number(*update).filter(|_| *count > 0) else { return tried };
            for (endpoint, above) in &machines {
                if !above.iter().any(|group| groups.contains(group)) {
                    continue;
                }
                let held = board.row(*endpoint).and_then(|row| row.standing.of(number));
                match held.map(crate::store::fleet::standing::Held::state) {
                    Some(State::Installed | State::PendingRestart) => tried.installed += 1,
                    Some(State::Failed) => tried.failed += 1,
                    _ => {}
                }
            }
            tried
        };
        asked.iter().zip(&counts).map(one).collect::<Vec<Tried>>()
    });
    told.await.map_err(fleet_error)
}

fn fleet_error(error: crate::fleet::error::Error) -> Error {
    match error {
        crate::fleet::error::Error::Store(error) => error.into(),
        other => Error::Broken(format!("what endpoints reported cannot be looked at: {other}")),
    }
}
