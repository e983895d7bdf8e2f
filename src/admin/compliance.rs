//! `/api/v1/compliance`: how updates stand on endpoints, and which of these keep to the policy.
//!
//! Whom a question is about, and what each of them is held against, is made out for each question ([`scope`]); what groups ask of their
//! endpoints is changed by [`policies`].

pub(in crate::admin) mod evidence;
pub mod policies;
pub(in crate::admin) mod scope;
mod words;

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::State as Shared;
use http::StatusCode;
use serde::Deserialize;

use crate::admin::door::Identity;
use crate::admin::endpoints::meant;
use crate::admin::error::Problem;
use crate::admin::extract::{Asked, Named};
use crate::admin::updates::{ask as updates_ask, find};
use crate::admin::view::compliance as view;
use crate::admin::{Handles, compliance::scope::Scope, compliance::words as told, within};
use crate::base::time::Timestamp;
use crate::fleet::compliance::ask::{self, Wanted, Which};
use crate::fleet::compliance::{Compliance, board::Board};
use crate::fleet::error::Error;
use crate::fleet::scan::Newcomer;
use crate::model::access::Reach;
use crate::model::compliance::Policy;
use crate::model::deployment::Endpoint;
use crate::model::relations::Target;
use crate::model::update::{Reboot, UpdateId};
use crate::store::catalog::{Catalog, Summary};

/// Rows of a page unless asked otherwise.
const ROWS: usize = 100;

/// Rows of a page at most.
const ROWS_MAX: usize = 500;

/// Revisions of which it is remembered whether they want a restart.
const RESTARTS_MAX: usize = 20_000;

const DAY_MS: u64 = 86_400_000;

/// What a machine that comes for the first time must evaluate, asked of whoever answers scans.
pub type AskNewcomer = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Option<Newcomer>> + Send>> + Send + Sync>;

/// What endpoints reported, and what it is held against.
#[derive(Clone)]
pub struct Reported {
    compliance: Compliance,
    policy: Arc<dyn Fn() -> Policy + Send + Sync>,
    /// `None` where no scans are answered.
    newcomer: Option<AskNewcomer>,
    /// By the number of a revision: it says the same for ever.
    restarts: Arc<Mutex<HashMap<u32, Reboot>>>,
}

impl fmt::Debug for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reported").field("compliance", &self.compliance).finish_non_exhaustive()
    }
}

impl Reported {
    /// What was reported, held against the policy that is in force when somebody asks.
    pub fn new(compliance: Compliance, policy: Arc<dyn Fn() -> Policy + Send + Sync>) -> Self {
        Self { compliance, policy, newcomer: None, restarts: Arc::default() }
    }

    /// The same, where a new machine's first scan is known too.
    #[must_use]
    pub fn with_newcomer(self, newcomer: AskNewcomer) -> Self {
        Self { newcomer: Some(newcomer), ..self }
    }

    /// What a machine that comes for the first time must evaluate; `None` where no scans are answered. Reads the catalog where no scan did before.
    pub(super) async fn newcomer(&self) -> Option<view::Newcomer> {
        let ask = self.newcomer.as_ref()?;
        ask().await.as_ref().map(told::newcomer)
    }

    /// What holds for all endpoints now.
    fn policy(&self) -> Policy {
        (self.policy)()
    }

    /// What is counted of reports, held against what counting anew gives.
    pub(super) async fn check(&self) -> Result<Vec<String>, Error> {
        self.compliance.check().await
    }

    pub(super) async fn look<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Board) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        Ok(self.compliance.look_now(ask).await?)
    }

    /// What the parts of an update want, all together.
    async fn restart(&self, catalog: &Catalog, number: u32) -> Result<Option<Reboot>, Problem> {
        let restarts = || self.restarts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = restarts().get(&number).copied() {
            return Ok(Some(known));
        }
        let Some(short) = catalog.summaries(vec![number]).await?.pop() else { return Ok(None) };
        let found = catalog.whole(short.identity).await?.reboot;
        let mut restarts = restarts();
        if restarts.len() >= RESTARTS_MAX {
            restarts.clear();
        }
        restarts.insert(number, found);
        Ok(Some(found))
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            Error::Ended => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), "try again in a moment"),
            Error::Long { .. } => Self::malformed(error.to_string()),
        }
    }
}

/// What the overview can be asked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskSummary {
    /// Only endpoints of this group and of those below it: name, path or id.
    group: Option<String>,
}

/// `GET /api/v1/compliance`.
pub async fn summary(
    Shared(handles): Shared<Arc<Handles>>,
    identity: Identity,
    Asked(asked): Asked<AskSummary>,
) -> Result<Json<view::Summary>, Problem> {
    let (scope, now) = (Scope::new(&handles, &identity.reach, asked.group.as_deref()).await?, handles.clock.now());
    let (policies, among) = (Arc::clone(&scope.policies), scope.among.clone());
    let ask = move |board: &Board| ask::summary_of(board, &policies, among.as_ref(), now);
    let summary = handles.reported.look(ask).await?;
    let newcomer = handles.reported.newcomer().await;
    Ok(Json(view::Summary { newcomer, ..told::summary(&summary, &scope, asked.group) }))
}

fn rows(limit: Option<usize>) -> Result<usize, Problem> {
    match limit.unwrap_or(ROWS) {
        0 => Err(Problem::malformed("limit: a page of 0 rows would never end")),
        limit if limit > ROWS_MAX => Err(Problem::malformed(format!("limit: {limit} is over {ROWS_MAX}"))),
        limit => Ok(limit),
    }
}

fn id_of(key: &str, text: &str) -> Result<UpdateId, Problem> {
    text.trim().parse().map_err(|error| Problem::malformed(format!("{key}: {error}")))
}

/// What `endpoints` can be asked; what is not given is not asked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskEndpoints {
    /// `not-scanned`, `missing` or `up-to-date`.
    verdict: Option<String>,
    /// Whether it keeps to the policy.
    compliant: Option<bool>,
    /// Whether a restart is pending.
    restart: Option<bool>,
    /// An update, by id or KB: those that miss it, or have it in `state`.
    update: Option<String>,
    /// `not-installed`, `downloaded`, `installed`, `failed`, `pending-restart`; with `update` also `unknown` and `not-applicable`.
    state: Option<String>,
    /// Only those of this group and of those below it: name, path or id.
    group: Option<String>,
    /// The `next` of the page before.
    after: Option<String>,
    /// Rows wanted.
    limit: Option<usize>,
}

/// `GET /api/v1/compliance/endpoints`.
pub async fn endpoints(
    Shared(handles): Shared<Arc<Handles>>,
    identity: Identity,
    Asked(asked): Asked<AskEndpoints>,
) -> Result<Json<view::Endpoints>, Problem> {
    let limit = rows(asked.limit)?;
    let after = asked.after.as_deref().map(|text| id_of("after", text)).transpose()?.map(Endpoint);
    let catalog = handles.store.catalog();
    let update = match &asked.update {
        Some(name) => Some(find::id(&catalog, name).await?),
        None => None,
    };
    let scope = Scope::new(&handles, &identity.reach, asked.group.as_deref()).await?;
    let which = Which {
        class: asked.verdict.as_deref().map(told::class_of).transpose()?,
        compliant: asked.compliant,
        restart: asked.restart,
        update,
        state: asked.state.as_deref().map(told::state_of).transpose()?,
        among: scope.among.clone(),
    };
    let (policies, now) = (Arc::clone(&scope.policies), handles.clock.now());
    let ask = move |board: &Board| ask::endpoints(board, &which, &policies, now, after, limit + 1);
    let (mut found, total) = handles.reported.look(ask).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| last.endpoint.0.to_string());
    let mut rows = Vec::with_capacity(found.len());
    for seen in found {
        let name = handles.store.fleet().endpoint(seen.endpoint).await?.map(|known| known.registration.name);
        rows.push(told::endpoint(&seen, name, &scope));
    }
    Ok(Json(view::Endpoints { rows, total, next }))
}

fn absent(text: &str) -> Problem {
    let shown: String = text.chars().take(80).collect();
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("no endpoint is called {shown:?}, and none has that client id"),
        "`waystation compliance endpoints` lists those that there are",
    )
}

/// `GET /api/v1/compliance/endpoints/{client id or name}`.
pub async fn endpoint(
    Shared(handles): Shared<Arc<Handles>>,
    identity: Identity,
    Named(text): Named<String>,
) -> Result<Json<view::Whole>, Problem> {
    let record = within::record(&handles, &identity, meant::record(&handles, &text).await).await?;
    let (endpoint, name) = (record.registration.endpoint, Some(record.registration.name));
    let (scope, now) = (Scope::new(&handles, &Reach::Everywhere, None).await?, handles.clock.now());
    let policies = Arc::clone(&scope.policies);
    let history = handles.reported.compliance.history(endpoint).await?;
    let ask = move |board: &Board| {
        let row = board.row(endpoint)?;
        // An update that has a number keeps it.
        let changed = history.into_iter().rev().filter_map(|one| Some((board.known(one.number)?.id, one)));
        let seen = ask::seen(board, endpoint, row, &policies, now);
        Some((seen, ask::stands(board, row), changed.collect::<Vec<_>>()))
    };
    let Some((seen, mut stands, changes)) = handles.reported.look(ask).await? else { return Err(absent(&text)) };
    let ids = stands.iter().map(|one| one.update).chain(changes.iter().map(|(id, _)| *id));
    let shorts = shorts(&handles.store.catalog(), ids.collect()).await?;
    stands.sort_by_key(|one| {
        let severity = shorts.get(&one.update).map(|short| short.severity);
        (one.missing_since.is_none(), !one.state.is_missing(), std::cmp::Reverse(severity), one.update)
    });
    let found = evidence::of(&handles, endpoint, &stands, &shorts).await?;
    Ok(Json(view::Whole {
        short: told::endpoint(&seen, name, &scope),
        self_reported: true,
        states: stands.iter().map(|one| told::stands(one, shorts.get(&one.update), found.get(&one.update))).collect(),
        history: changes.iter().map(|(id, one)| told::change(*id, one, shorts.get(id))).collect(),
    }))
}

/// The short of some updates, those that the catalog has.
async fn shorts(catalog: &Catalog, mut ids: Vec<UpdateId>) -> Result<HashMap<UpdateId, Summary>, Problem> {
    ids.sort_unstable();
    ids.dedup();
    let found = catalog.shorts(ids.into_iter().map(Target::Newest).collect()).await?;
    Ok(found.into_iter().flatten().map(|short| (short.identity.id, short)).collect())
}

/// What `updates` and `missing` can be asked; what is not given is not asked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskUpdates {
    /// Only of this endpoint, by client id or name.
    endpoint: Option<String>,
    /// Counted on endpoints of this group and of those below it alone: name, path or id.
    group: Option<String>,
    /// The least severity.
    severity: Option<String>,
    /// Name or id.
    classification: Option<String>,
    /// Name, path or id of a product, family or company.
    product: Option<String>,
    /// `not-required`, `required` or `may-require`.
    restart: Option<String>,
    /// `required` (until it is accepted), `accepted` or `none`.
    eula: Option<String>,
    /// Made so many days ago or earlier.
    age: Option<u64>,
    /// The `next` of the page before.
    after: Option<String>,
    /// Rows wanted.
    limit: Option<usize>,
}

/// `GET /api/v1/compliance/updates`: all that endpoints told of.
pub async fn updates(
    Shared(handles): Shared<Arc<Handles>>,
    identity: Identity,
    Asked(asked): Asked<AskUpdates>,
) -> Result<Json<view::Updates>, Problem> {
    lines(&handles, &identity, asked, false).await.map(Json)
}

/// `GET /api/v1/compliance/missing`: those that count and that some endpoint misses.
pub async fn missing(
    Shared(handles): Shared<Arc<Handles>>,
    identity: Identity,
    Asked(asked): Asked<AskUpdates>,
) -> Result<Json<view::Updates>, Problem> {
    lines(&handles, &identity, asked, true).await.map(Json)
}

async fn lines(
    handles: &Handles,
    identity: &Identity,
    asked: AskUpdates,
    missing: bool,
) -> Result<view::Updates, Problem> {
    let limit = rows(asked.limit)?;
    let after = asked.after.as_deref().map(told::place_of).transpose()?;
    let restart = asked.restart.as_deref().map(told::restart_of).transpose()?;
    let (catalog, now) = (handles.store.catalog(), handles.clock.now());
    let tree = catalog.tree().await?;
    let endpoint = match &asked.endpoint {
        Some(text) => {
            let found = meant::record(handles, text).await;
            Some(within::record(handles, identity, found).await?.registration.endpoint)
        }
        None => None,
    };
    let before = |days: u64| Timestamp::from_ms(now.ms().saturating_sub(days.saturating_mul(DAY_MS)).saturating_add(1));
    let wanted = Wanted {
        missing,
        endpoint,
        severity: asked.severity.as_deref().map(updates_ask::severity).transpose()?,
        classification: updates_ask::classification(&tree, asked.classification.as_deref())?,
        products: updates_ask::products(&tree, asked.product.as_deref())?,
        licence: asked.eula.as_deref().map(told::licence_of).transpose()?,
        made_before: asked.age.map(before),
        among: scope::among(handles, &identity.reach, asked.group.as_deref()).await?,
    };
    let mut found = handles.reported.look(move |board| ask::updates(board, &wanted)).await?;
    if let Some(wanted) = restart {
        let mut fitting = Vec::new();
        for line in found {
            if let Some(number) = line.revision
                && handles.reported.restart(&catalog, number).await? == Some(wanted)
            {
                fitting.push(line);
            }
        }
        found = fitting;
    }
    let total = found.len() as u64;
    // What the page before ended with may have gone; what stands behind it is the same.
    let begin = after.map_or(0, |after| found.partition_point(|line| line.place() <= after));
    let next =
        found.get(begin + limit).and_then(|_| found.get(begin + limit - 1)).map(|last| told::cursor(last.place()));
    let page = found.get(begin..).unwrap_or_default().iter().take(limit);
    let shorts = shorts(&catalog, page.clone().map(|line| line.update).collect()).await?;
    let mut rows = Vec::new();
    for line in page {
        let restart = match line.revision {
            Some(number) => handles.reported.restart(&catalog, number).await?,
            None => None,
        };
        rows.push(told::update(line, shorts.get(&line.update), restart, &tree, now));
    }
    Ok(view::Updates { rows, total, next })
}
