//! What this node tells the one above it, as the control plane knows it: how it does, and how updates stand on its endpoints.

use std::sync::Arc;

use crate::admin::Handles;
use crate::admin::compliance::scope::Scope;
use crate::admin::error::Problem;
use crate::admin::{ask, present};
use crate::base::time::Timestamp;
use crate::fleet::compliance::ask::{seen, stands};
use crate::fleet::compliance::board::Board;
use crate::fleet::compliance::policies::Policies;
use crate::fleet::roster;
use crate::model::access::Reach;
use crate::model::chain::below::{Actual, Heartbeat, NAME_BYTES_MAX, STANDS_MAX, Stand, Told};
use crate::model::deployment::Endpoint;
use crate::store::catalog::Outcome;
use crate::store::fleet::PAGE_MAX;

const HOUR_S: u32 = 3_600;

fn seconds(at: Option<Timestamp>) -> u32 {
    at.map_or(0, |at| u32::try_from(at.ms() / 1000).unwrap_or(u32::MAX))
}

fn short(text: &str) -> String {
    let mut end = text.len().min(NAME_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// What endpoints are held against now; made out for all of them at once.
pub async fn policies(handles: &Handles) -> Result<Arc<Policies>, String> {
    Ok(Scope::new(handles, &Reach::Everywhere, None).await.map_err(|problem| words(&problem))?.policies)
}

fn words(problem: &Problem) -> String {
    problem.title().to_owned()
}

/// The endpoints behind `after`, in the order of their ids; none at the end.
pub async fn endpoints(
    handles: &Handles,
    policies: Arc<Policies>,
    after: Option<Endpoint>,
) -> Result<Vec<(Endpoint, Told)>, String> {
    let fleet = handles.store.fleet();
    let records = fleet.endpoints(after, PAGE_MAX).await.map_err(|error| error.to_string())?;
    let mut told = Vec::with_capacity(records.len());
    for record in records {
        let endpoint = record.registration.endpoint;
        let contacts = fleet.contacts(endpoint).await.map_err(|error| error.to_string())?;
        let contact = seconds(Some(roster::last_heard(&record, &contacts)));
        let system = roster::windows(&record.registration.os).to_string();
        let (name, system) = (short(&record.registration.name), short(&system));
        // To the hour: what asks for files all day is not told again each minute.
        told.push((endpoint, Told { name, system, contact: contact - contact % HOUR_S, ..Told::default() }));
    }
    let now = handles.clock.now();
    let ask = move |board: &Board| {
        for (endpoint, told) in &mut told {
            let Some(row) = board.row(*endpoint) else { continue };
            let seen = seen(board, *endpoint, row, &policies, now);
            told.compliant = seen.reasons.is_empty();
            told.restart = seen.restart.is_some();
            told.scanned = seconds(seen.scanned);
            told.missing = u32::try_from(row.tally.all()).unwrap_or(u32::MAX);
            let all = stands(board, row).into_iter().filter(|one| one.state.is_told()).take(STANDS_MAX);
            told.stands = all
                .map(|one| Stand {
                    update: one.update,
                    state: one.state,
                    changed: seconds(Some(one.changed)),
                    code: one.code.unwrap_or(0),
                })
                .collect();
            told.stands.sort_unstable_by_key(|stand| stand.update);
            told.stands.dedup_by_key(|stand| stand.update);
        }
        told
    };
    handles.reported.look(ask).await.map_err(|problem| words(&problem))
}

/// How this node does; what the chain knows is added there.
pub async fn heartbeat(handles: &Handles) -> Heartbeat {
    let mut beat = Heartbeat { mode: "autonomous".to_owned(), ..Heartbeat::default() };
    match handles.store.space().await {
        Ok(space) => {
            let space = present::space(&space);
            beat.disk = space.max_size;
            (beat.free, beat.payloads, beat.held) = (space.disk_free, space.payloads_count, space.payloads);
        }
        Err(error) => beat.errors.push(error.to_string()),
    }
    let health = crate::admin::health::health(handles);
    if !health.why.is_empty() {
        beat.errors.push(format!("{}: {}", health.state, health.why));
    }
    let traffic = present::traffic(handles.store.ledger().total());
    (beat.sent, beat.fetched) = (traffic.sent, traffic.fetched);
    beat.hits_permille = traffic.hit_ratio.map(|ratio| (ratio * 1000.0).round().clamp(0.0, 1000.0) as u16);
    if let Ok(state) = handles.jobs.sync_state().await {
        let kind = format!("{:?}", state.upstream.kind).to_lowercase();
        format!("{kind} {}", state.upstream.address).trim().clone_into(&mut beat.upstream);
        if let Some(last) = state.last {
            beat.synced = Some(last.ended.unwrap_or(last.started));
            beat.synced_how = format!("{:?}", last.outcome).to_lowercase();
            if last.outcome == Outcome::Failed {
                beat.errors.push(format!("the last synchronisation failed: {}", last.reason));
            }
        }
    }
    beat
}

/// Settings that are not as shipped, those that wait for something, and those that are locked.
pub async fn settings(handles: &Handles) -> Vec<Actual> {
    let all = ask::in_force(handles).await.unwrap_or_default();
    let told = all.into_iter().filter(|one| one.layer != "default" || one.locked || one.next.is_some());
    told.map(|one| Actual {
        place: crate::admin::view::settings_place(&one),
        key: one.key,
        value: one.value,
        locked: one.locked,
        waits: one.next.map(|next| format!("{} with the next {}", next.value, next.when)),
    })
    .collect()
}
