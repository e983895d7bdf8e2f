//! What established machines of some groups reported of updates since they were offered them.
//!
//! A machine is established where it was first seen so many days ago and is served: what appears in order to be counted has to wait.
//! How many failed anywhere is kept up by the board; only where any did, or somebody wants to see it, machines are gone through.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::time::Timestamp;
use crate::fleet::belong;
use crate::jobs::Shared;
use crate::jobs::error::Error;
use crate::jobs::rules::value::Looked;
use crate::model::compliance::State;
use crate::model::deployment::Endpoint;
use crate::model::deployment::rules::{ESTABLISHED_DAYS, Tried};
use crate::model::group::Groups;
use crate::model::policy::Group;
use crate::model::update::UpdateId;
use crate::store::fleet::standing::seconds;
use crate::store::fleet::{Admitted, PAGE_MAX};
use crate::store::rules::Kept;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// An update, and the groups whose machines are asked about, each with since when it is offered it.
pub(super) type Asked = (UpdateId, BTreeMap<Group, Option<Timestamp>>);

/// What machines reported of an update, and how many there are that it is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) tried: Tried,
    pub(super) pilot: u32,
}

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
) -> Result<Vec<Counted>, Error> {
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
        return Ok(vec![Counted::default(); asked.len()]);
    }
    let wanted = asked.iter().flat_map(|(_, groups)| groups.keys().copied()).collect();
    let machines = established(shared, tree, wanted, now).await?;
    let told = reported.look(move |board| {
        let one = |((update, groups), count): (&Asked, &u64)| {
            let mut counted = Counted::default();
            let Some(number) = board.number(*update).filter(|_| *count > 0) else { return counted };
            for (endpoint, above) in &machines {
                let mut offered = above.iter().filter_map(|group| groups.get(group)).peekable();
                if offered.peek().is_none() {
                    continue;
                }
                // One that no group was offered says nothing of what was offered.
                let since = offered.flatten().min().map_or(u32::MAX, |since| seconds(*since));
                let held = board.row(*endpoint).and_then(|row| row.standing.of(number));
                match held.map(|held| (held.state(), held.changed)) {
                    // It had it before the ring was offered it.
                    Some((State::Installed | State::PendingRestart, changed)) if changed < since => continue,
                    Some((State::Installed | State::PendingRestart, _)) => counted.tried.installed += 1,
                    Some((State::Failed, _)) => counted.tried.failed += 1,
                    Some(_) => {}
                    None => continue,
                }
                counted.pilot += 1;
            }
            counted
        };
        asked.iter().zip(&counts).map(one).collect::<Vec<Counted>>()
    });
    told.await.map_err(fleet_error)
}

/// Of each rule with a stop, by its number: the established machines of all rings before each further one.
pub(super) async fn pilots(shared: &Shared, looked: &Looked) -> Result<BTreeMap<u32, Vec<u32>>, Error> {
    let rules = || looked.rules.iter().map(|of| &of.kept).filter(|kept| kept.rule.stop.is_some());
    let before = |kept: &Kept| kept.rule.rings.len().saturating_sub(1);
    let wanted: BTreeSet<Group> =
        rules().flat_map(|kept| kept.rule.rings.iter().take(before(kept)).map(|ring| ring.target)).collect();
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let machines = established(shared, &looked.tree.groups, wanted, looked.at).await?;
    let of = |kept: &Kept| {
        let so_far = |many: usize| {
            let rings: BTreeSet<Group> = kept.rule.rings.iter().take(many).map(|ring| ring.target).collect();
            let among = machines.values().filter(|above| above.iter().any(|group| rings.contains(group)));
            u32::try_from(among.count()).unwrap_or(u32::MAX)
        };
        (kept.number, (1..=before(kept)).map(so_far).collect())
    };
    Ok(rules().map(of).collect())
}

fn fleet_error(error: crate::fleet::error::Error) -> Error {
    match error {
        crate::fleet::error::Error::Store(error) => error.into(),
        other => Error::Broken(format!("what endpoints reported cannot be looked at: {other}")),
    }
}
