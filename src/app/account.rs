//! How this node stands, as a WSUS server above wants to be told (MS-WSUSSS 3.2.4.5).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::time::{Clock, Timestamp};
use crate::fleet::compliance::Compliance;
use crate::fleet::compliance::board::Board;
use crate::fleet::error::Error;
use crate::model::compliance::State as Stands;
use crate::model::deployment::{Action, Said};
use crate::model::downstream;
use crate::model::update::{Severity, UpdateId};
use crate::store::Store;
use crate::store::approvals::{self, Place};
use crate::store::catalog::{Query, State};
use crate::store::fleet;
use crate::sync::{Account, Awaited};
use crate::wire::wsusss::rollup::{Computers, Server, Summary};
use crate::wire::wsusss::values::Time;

/// The server that is told; and no server at all.
const NOBODY: UpdateId = UpdateId::new([0; 16]);

/// What stands for a time at which something never happened (3.1.4.14.3.2).
const NEVER: &str = "1753-01-01T00:00:00";

/// Makes it out.
pub(crate) struct Standing {
    pub(crate) id: UpdateId,
    pub(crate) name: String,
    pub(crate) store: Store,
    pub(crate) compliance: Compliance,
    pub(crate) clock: Arc<dyn Clock>,
}

fn number(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// This program's version in four numbers (3.1.4.14.3.2).
fn version() -> String {
    let mut numbers: Vec<&str> = env!("CARGO_PKG_VERSION").split(['.', '-']).take(3).collect();
    numbers.resize(4, "0");
    numbers.join(".")
}

/// Updates that count, as endpoints told of them: those that one lacks, that failed on one, and that none lacks.
fn told(board: &Board) -> (u64, u64, u64) {
    let (mut needed, mut failed, mut not_needed) = (0, 0, 0);
    for (_, known) in board.updates().filter(|(_, known)| known.facts.counts()) {
        let is_needed = known.by_state.missing() > 0;
        needed += u64::from(is_needed);
        not_needed += u64::from(!is_needed);
        failed += u64::from(known.by_state.of(Stands::Failed) > 0);
    }
    (needed, failed, not_needed)
}

impl Standing {
    /// How many updates a question finds.
    async fn found(&self, query: Query) -> Result<u64, Error> {
        Ok(self.store.catalog().search(Query { limit: 1, ..query }).await?.total)
    }

    /// Updates that are to be installed somewhere, and those that are declined.
    async fn said(&self) -> Result<(BTreeSet<UpdateId>, BTreeSet<UpdateId>), Error> {
        let (mut approved, mut declined) = (BTreeSet::new(), BTreeSet::new());
        let mut after: Option<Place> = None;
        loop {
            let (page, next) = self.store.approvals().page(after, approvals::PAGE_MAX).await?;
            for kept in page {
                match kept.approval.said {
                    _ if kept.declined => drop(declined.insert(kept.approval.update)),
                    Said::Do { action: Action::Install, .. } => drop(approved.insert(kept.approval.update)),
                    Said::Do { .. } | Said::NotApproved | Said::Inherit => {}
                }
            }
            after = next;
            if after.is_none() {
                return Ok((approved, declined));
            }
        }
    }

    async fn summary(&self) -> Result<Summary, Error> {
        let (approved, declined) = self.said().await?;
        let updates = self.found(Query::default()).await?;
        let expired = self.found(Query { states: vec![State::Expired], ..Query::default() }).await?;
        let open = Query { states: vec![State::Current], decisions: vec![None], ..Query::default() };
        let important = self.found(Query { severity: Some(Severity::Important), ..open }).await?;
        let groups = self.store.approvals().tree().await?.groups.iter().count() as u64;
        let (totals, (needed, failed, not_needed)) =
            self.compliance.look_now(|board| (*board.totals(), told(board))).await?;
        let (approved, declined) = (approved.len() as u64, declined.len() as u64);
        Ok(Summary {
            updates: number(updates),
            declined: number(declined),
            approved: number(approved),
            not_approved: number(updates.saturating_sub(approved).saturating_sub(declined)),
            // An approval here is one of an update, whichever revision counts.
            stale: 0,
            expired: number(expired),
            critical_not_approved: number(important),
            infrastructure_not_approved: 0,
            failed: number(failed),
            // What is held is asked for by endpoints and by the content policy, not by the catalog.
            not_fetched: 0,
            to_be_fetched: 0,
            needed: number(needed),
            not_needed: number(not_needed),
            groups: number(groups),
            computers: number(totals.endpoints),
            computers_lacking: number(totals.missing),
            computers_failed: number(totals.failed),
            computers_up_to_date: number(totals.up_to_date),
        })
    }

    /// The endpoints by their systems.
    async fn computers(&self) -> Result<Vec<Computers>, Error> {
        let mut systems: BTreeMap<(fleet::Os, String), i32> = BTreeMap::new();
        let mut after = None;
        loop {
            let page = self.store.fleet().endpoints(after, fleet::PAGE_MAX).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.registration.endpoint);
            for record in &page {
                let registration = &record.registration;
                let count = systems.entry((registration.os, registration.architecture.clone())).or_default();
                *count = count.saturating_add(1);
            }
        }
        Ok(systems.into_iter().map(|((os, architecture), count)| computers(os, architecture, count)).collect())
    }

    async fn all(&self, synchronised: Timestamp) -> Result<Vec<Server>, Error> {
        let here = Server {
            id: self.id,
            name: self.name.clone(),
            last_sync: Time::new(synchronised),
            parent: NOBODY,
            version: version(),
            is_replica: false,
            last_rollup: Time::new(self.clock.now()),
            summary: Some(self.summary().await?),
            computers: self.computers().await?,
        };
        let mut below = self.store.downstream_servers().await?;
        let mut servers = vec![here];
        // Each behind the one above it; what is below nobody that is known is left out.
        loop {
            let is_told = |server: &downstream::Server| {
                let above = server.parent.unwrap_or(self.id);
                server.id != self.id && servers.iter().any(|told: &Server| told.id == above)
            };
            let (next, left): (Vec<_>, Vec<_>) = below.into_iter().partition(is_told);
            if next.is_empty() {
                return Ok(servers);
            }
            servers.extend(next.into_iter().map(|server| passed_on(server, self.id)));
            below = left;
        }
    }
}

fn computers(os: fleet::Os, architecture: String, count: i32) -> Computers {
    let int = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    Computers {
        os_major: int(os.major),
        os_minor: int(os.minor),
        os_build: int(os.build),
        service_pack_major: int(os.pack_major),
        service_pack_minor: int(os.pack_minor),
        locale: String::new(),
        suite: 0,
        // An unsigned byte in the schema.
        old_product: int(os.product).min(255),
        new_product: 0,
        metrics: 0,
        architecture,
        count,
        activity: Vec::new(),
    }
}

/// A server below as it is told on: what it said of itself, as far as that is kept here.
fn passed_on(server: downstream::Server, here: UpdateId) -> Server {
    let int = |count: u32| number(u64::from(count));
    let summary = server.standing.map(|standing| Summary {
        updates: int(standing.updates),
        declined: int(standing.declined),
        approved: int(standing.approved),
        not_approved: int(standing.updates.saturating_sub(standing.approved).saturating_sub(standing.declined)),
        stale: 0,
        expired: 0,
        critical_not_approved: 0,
        infrastructure_not_approved: 0,
        failed: 0,
        not_fetched: 0,
        to_be_fetched: int(standing.lacking_files),
        needed: 0,
        not_needed: 0,
        groups: 0,
        computers: int(standing.computers),
        computers_lacking: int(standing.lacking),
        computers_failed: int(standing.failed),
        computers_up_to_date: int(standing.up_to_date),
    });
    let systems = server.systems.into_iter().filter_map(|(system, count)| {
        let (numbers, architecture) = system.split_once(' ').unwrap_or((&system, ""));
        let mut numbers = numbers.split('.').map(|number| number.parse().ok());
        let (major, minor, build) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let os = fleet::Os { major, minor, build, ..fleet::Os::default() };
        Some(computers(os, architecture.to_owned(), int(count)))
    });
    Server {
        id: server.id,
        name: server.name,
        last_sync: server.last_sync.map_or_else(|| Time::parse(NEVER).unwrap_or_else(Time::never), Time::new),
        parent: server.parent.unwrap_or(here),
        version: server.version,
        is_replica: server.is_replica,
        last_rollup: Time::new(server.told),
        summary,
        computers: systems.collect(),
    }
}

impl Account for Standing {
    fn servers(&self, synchronised: Timestamp) -> Awaited<'_, Result<Vec<Server>, String>> {
        Box::pin(async move { self.all(synchronised).await.map_err(|error| error.to_string()) })
    }
}
