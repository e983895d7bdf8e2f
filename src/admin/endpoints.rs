//! `/api/v1/endpoints`: the machines that scan against the node, looked at, let in, bound and forgotten.
//!
//! 1. [`list`] and [`show`] ask the roster of `fleet`.
//! 2. What people write to mean endpoints is made out in one place, for all that the API has ([`meant`]): a text that can mean several is told
//!    with all of them.
//! 3. [`admit`], [`bind`] and [`forget`] go through the registry, which the scan face asks too: they count from the next request on.

pub(in crate::admin) mod meant;
mod words;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;

use crate::admin::compliance::evidence;
use crate::admin::compliance::scope::among;
use crate::admin::door::Identity;
use crate::admin::error::Problem;
use crate::admin::extract::{Asked, Given, Named};
use crate::admin::view::endpoints as view;
use crate::admin::{Caller, Handles, within};
use crate::base::time::Timestamp;
use crate::fleet::roster::Sieve;
use crate::model::deployment::Endpoint;
use crate::store::fleet::Row;

/// Rows of a page unless asked otherwise, and at most.
const ROWS: usize = 100;
const PAGE_MAX: usize = 500;

/// Endpoints that one order may name: each is a commit of its own.
const NAMES_MAX: usize = 1000;

/// The longest time that can be asked for, in days.
const DAYS_MAX: u32 = 36_500;

/// What `list` can be asked; what is not given is not asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Words that all stand somewhere in what is known of an endpoint.
    #[serde(default)]
    text: String,
    /// Only those that wait to be let in.
    held: Option<bool>,
    /// Only those whose id another machine came with.
    contested: Option<bool>,
    /// Only those of which two live under one id.
    clones: Option<bool>,
    /// Only those outside the site, or within.
    roaming: Option<bool>,
    /// Only those that were not heard of for so many days.
    unseen_days: Option<u32>,
    /// Only those of this group and of those below it: name, path or id.
    group: Option<String>,
    /// The `next` of the page before.
    after: Option<String>,
    /// Rows wanted.
    limit: Option<usize>,
}

impl Ask {
    fn sieve(&self, now: Timestamp) -> Result<Sieve, Problem> {
        let since = |days: u32| {
            if days > DAYS_MAX {
                return Err(Problem::malformed(format!("unseen_days: {days} is over {DAYS_MAX}")));
            }
            let ago = Duration::from_hours(u64::from(days) * 24);
            let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
            Ok(Timestamp::from_ms(now.ms().saturating_sub(ago)))
        };
        Ok(Sieve {
            words: Sieve::words(&self.text),
            held: self.held.unwrap_or(false),
            contested: self.contested.unwrap_or(false),
            clones: self.clones.unwrap_or(false),
            roaming: self.roaming,
            unseen_since: self.unseen_days.map(since).transpose()?,
            among: None,
        })
    }

    fn rows(&self) -> Result<usize, Problem> {
        match self.limit.unwrap_or(ROWS) {
            0 => Err(Problem::malformed("limit: a page of 0 rows would never end")),
            limit if limit > PAGE_MAX => Err(Problem::malformed(format!("limit: {limit} is over {PAGE_MAX}"))),
            limit => Ok(limit),
        }
    }
}

/// A place in a list: the id, which has no slash, and the name.
fn cursor((name, endpoint): &(String, Endpoint)) -> String {
    format!("{}/{name}", endpoint.0)
}

fn place(text: &str) -> Result<(String, Endpoint), Problem> {
    let read = text.split_once('/').and_then(|(id, name)| Some((name.to_owned(), Endpoint(id.parse().ok()?))));
    read.ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        Problem::malformed(format!("after: {shown:?} is not the `next` of a page"))
    })
}

/// `GET /api/v1/endpoints`.
pub async fn list(
    State(handles): State<Arc<Handles>>,
    identity: Identity,
    Asked(ask): Asked<Ask>,
) -> Result<Json<view::Endpoints>, Problem> {
    let (mut sieve, limit) = (ask.sieve(handles.clock.now())?, ask.rows()?);
    sieve.among = among(&handles, &identity.reach, ask.group.as_deref()).await?;
    let after = ask.after.as_deref().map(place).transpose()?;
    // It is never closed.
    let _turn = handles.turns.listing.acquire().await;
    let found = handles.endpoints.list(sieve, after, limit).await?;
    let known = if identity.reach.is_everywhere() { found.known } else { found.total };
    Ok(Json(view::Endpoints {
        rows: found.rows.iter().map(|row| words::short(&handles.endpoints, row)).collect(),
        total: found.total,
        known,
        next: found.next.as_ref().map(cursor),
    }))
}

/// `GET /api/v1/endpoints/{name, id, or the beginning of an id}`.
pub async fn show(
    State(handles): State<Arc<Handles>>,
    identity: Identity,
    Named(name): Named<String>,
) -> Result<Json<view::Whole>, Problem> {
    let found = meant::one(&handles, &name).await;
    let row = match &found {
        Ok(row) => {
            within::record(&handles, &identity, Ok(row.record.clone())).await?;
            found?
        }
        Err(problem) => {
            within::record(&handles, &identity, Err(problem.clone())).await?;
            found?
        }
    };
    let endpoint = row.record.registration.endpoint;
    let history = handles.endpoints.registry().fleet().history(endpoint).await?;
    let count = evidence::count(&handles, endpoint).await?;
    let claims = view::Claims { corroborated: count.sent, from_its_address: count.place, self_reported: count.word };
    Ok(Json(view::Whole { says_it_has: Some(claims), ..words::whole(&handles.endpoints, &row, history) }))
}

/// `POST /api/v1/endpoints/admit`.
pub async fn admit(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(asked): Given<view::EndpointsRequest>,
) -> Result<Json<view::Ordered>, Problem> {
    let rows = rows(&handles, &asked.endpoints).await?;
    let mut told = view::Ordered::default();
    for row in rows {
        let endpoint = row.record.registration.endpoint;
        let admitted = handles.endpoints.registry().admit(endpoint, by.clone(), handles.clock.now()).await?;
        told.changed += u64::from(admitted);
        // It may have been forgotten meanwhile.
        let row = handles.endpoints.one(endpoint).await?.unwrap_or(row);
        told.rows.push(words::short(&handles.endpoints, &row));
    }
    tracing::info!(by, endpoints = told.rows.len(), changed = told.changed, "endpoints were let in");
    Ok(Json(told))
}

/// `POST /api/v1/endpoints/bind`.
pub async fn bind(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(asked): Given<view::BindRequest>,
) -> Result<Json<view::Whole>, Problem> {
    let row = meant::one(&handles, &asked.endpoint).await?;
    let endpoint = row.record.registration.endpoint;
    let (registry, name) = (handles.endpoints.registry(), asked.name.trim().to_owned());
    if !registry.bind(endpoint, name.clone(), by.clone(), handles.clock.now()).await? {
        let known = &row.record.registration.name;
        let title = format!("no machine called {name:?} came with the id of {known:?}");
        let mut others: Vec<&str> = row.record.contests.iter().map(|contest| contest.name.as_str()).collect();
        others.dedup();
        let next = if others.is_empty() {
            "`waystation endpoints list --contested` shows the ids that several machines came with".to_owned()
        } else {
            format!("name one of those that did: {}", others.join(", "))
        };
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, next));
    }
    tracing::info!(by, endpoint = %endpoint.0, name, "an endpoint was bound to another machine");
    let row = handles.endpoints.one(endpoint).await?.unwrap_or(row);
    let history = registry.fleet().history(endpoint).await?;
    Ok(Json(words::whole(&handles.endpoints, &row, history)))
}

/// `POST /api/v1/endpoints/forget`.
pub async fn forget(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(asked): Given<view::EndpointsRequest>,
) -> Result<Json<view::Ordered>, Problem> {
    let rows = rows(&handles, &asked.endpoints).await?;
    let mut told = view::Ordered::default();
    for row in rows {
        let endpoint = row.record.registration.endpoint;
        told.changed += u64::from(handles.endpoints.registry().forget(endpoint).await?);
        tracing::info!(by, endpoint = %endpoint.0, name = row.record.registration.name, "an endpoint was forgotten");
        told.rows.push(words::short(&handles.endpoints, &row));
    }
    Ok(Json(told))
}

/// The endpoints that are named, with when they were heard of.
async fn rows(handles: &Handles, names: &[String]) -> Result<Vec<Row>, Problem> {
    if names.len() > NAMES_MAX {
        let title = format!("{} endpoints are more than {NAMES_MAX}", names.len());
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, "do it in several steps"));
    }
    let mut rows = Vec::with_capacity(names.len());
    for record in meant::all(handles, names).await? {
        rows.extend(handles.endpoints.one(record.registration.endpoint).await?);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::update::UpdateId;

    #[test]
    fn a_place_reads_back_whatever_the_name_is() {
        for name in ["", "pc1.site.example", "a/b/c"] {
            let at = (name.to_owned(), Endpoint(UpdateId::new([7; 16])));
            assert_eq!(place(&cursor(&at)).unwrap(), at);
        }
        assert!(place("pc1").is_err() && place("x/pc1").is_err());
    }

    #[test]
    fn times_and_pages_have_limits() {
        let now = Timestamp::from_ms(100 * 86_400_000);
        let ask = |days| Ask { unseen_days: Some(days), ..Ask::default() };
        assert_eq!(ask(30).sieve(now).unwrap().unseen_since, Some(Timestamp::from_ms(70 * 86_400_000)));
        assert_eq!(ask(3000).sieve(now).unwrap().unseen_since, Some(Timestamp::from_ms(0)));
        assert!(ask(u32::MAX).sieve(now).is_err());
        let rows = |limit| Ask { limit: Some(limit), ..Ask::default() }.rows();
        assert!(rows(0).is_err() && rows(PAGE_MAX + 1).is_err() && rows(PAGE_MAX).is_ok());
    }
}
