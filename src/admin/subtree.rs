//! `/api/v1/nodes/{name}` and what hangs on it: one node below, what is wished of it, its endpoints; and leaving the own parent.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;

use crate::admin::error::Problem;
use crate::admin::extract::{Asked, Given, Named};
use crate::admin::nodes::{chain, standing_word};
use crate::admin::view::Time;
use crate::admin::view::{nodes as view_nodes, subtree as view};
use crate::admin::{Caller, Handles};
use crate::base::time::Timestamp;
use crate::chain::below::host::Verb;
use crate::chain::below::seen::Seen;
use crate::chain::leave::Left;
use crate::chain::node::Chain;
use crate::model::chain::below::Told;
use crate::model::chain::ids::NodeId;
use crate::model::deployment::Endpoint;
use crate::store::below::{PAGE_MAX, Tally};

/// Endpoints of a page unless asked otherwise.
const ROWS: usize = 100;
/// Settings in one request.
const CHANGES_MAX: usize = 200;

fn tally(tally: Tally) -> view_nodes::Tally {
    let Tally { endpoints, compliant, unscanned, missing, failed, restart } = tally;
    view_nodes::Tally { endpoints, compliant, unscanned, missing, failed, restart }
}

/// Nodes as they are listed.
pub(super) fn rows(seen: Vec<Seen>) -> Vec<view_nodes::Node> {
    let names: BTreeMap<NodeId, String> = seen.iter().map(|one| (one.node, one.name.clone())).collect();
    seen.into_iter().map(|one| row(one, &names)).collect()
}

fn row(one: Seen, names: &BTreeMap<NodeId, String>) -> view_nodes::Node {
    let name = |node: &NodeId| names.get(node).cloned().unwrap_or_else(|| node.to_string());
    let beat = &one.said.heartbeat;
    let (member, path) = (one.member.as_ref(), one.path.iter().map(name).collect());
    let standing = match (member, one.path.is_empty()) {
        (_, true) => "self",
        (Some(member), _) => standing_word(member.standing),
        (None, _) => "below",
    };
    let version = if beat.version.is_empty() { member.map(|member| member.version.clone()) } else { None };
    view_nodes::Node {
        node: one.node.to_string(),
        standing: standing.to_owned(),
        fingerprint: member.map_or(&one.said.fingerprint, |member| &member.fingerprint).clone(),
        version: version.unwrap_or_else(|| beat.version.clone()),
        since: Time(member.map_or(one.heard.unwrap_or_default(), |member| member.since)),
        status: one.status.word().to_owned(),
        path,
        heard: one.heard.map(Time),
        endpoints: tally(one.tally),
        name: one.name,
    }
}

async fn shown(chain: &Chain, name: &str) -> Result<view::Shown, Problem> {
    let one = chain.find(name).await?;
    let all = chain.nodes().await?;
    let names: BTreeMap<NodeId, String> = all.iter().map(|one| (one.node, one.name.clone())).collect();
    let hangs =
        |other: &&Seen| other.path.len() > one.path.len() && (one.path.is_empty() || other.path.contains(&one.node));
    let below = all.iter().filter(hangs).map(|other| other.name.clone()).collect();
    let (held, wishes) = (chain.held_of(one.node).await?, chain.wishes(one.node).await?);
    let answer = |to: &str| held.answers.iter().find(|answer| answer.to == to).cloned();
    let wished = wishes.settings.iter().map(|(key, wish)| view::Wished {
        key: key.clone(),
        value: wish.value.clone(),
        by: wish.by.clone(),
        at: Time(wish.at),
        // What it said to the value before is none to this one.
        answer: answer(key).filter(|answer| answer.at >= wish.at || one.said.heartbeat.at < wish.at),
    });
    let orders = wishes.orders.iter().rev().map(|order| view::Order {
        number: order.number,
        verb: order.verb.clone(),
        by: order.by.clone(),
        at: Time(order.at),
        until: Time(order.until),
        answer: answer(&order.number.to_string()),
    });
    let (wished, orders) = (wished.collect(), orders.collect());
    let heartbeat = one.said.heartbeat.clone();
    Ok(view::Shown { node: row(one, &names), heartbeat, settings: held.settings, wished, orders, below })
}

/// `GET /api/v1/nodes/{name}`.
pub async fn show(
    State(handles): State<Arc<Handles>>,
    Named(name): Named<String>,
) -> Result<Json<view::Shown>, Problem> {
    Ok(Json(shown(chain(&handles)?, &name).await?))
}

/// `DELETE /api/v1/nodes/{name}`.
pub async fn remove(
    State(handles): State<Arc<Handles>>,
    Named(name): Named<String>,
    Caller(by): Caller,
) -> Result<Json<view_nodes::Node>, Problem> {
    let removed = chain(&handles)?.remove(&name).await?;
    tracing::warn!(name = removed.name, node = %removed.node, by, "a node was forgotten");
    Ok(Json(row(removed, &BTreeMap::new())))
}

/// `POST /api/v1/nodes/{name}/config`.
pub async fn config(
    State(handles): State<Arc<Handles>>,
    Named(name): Named<String>,
    Caller(by): Caller,
    Given(request): Given<view::ConfigRequest>,
) -> Result<Json<view::Shown>, Problem> {
    let chain = chain(&handles)?;
    if request.settings.is_empty() || request.settings.len() > CHANGES_MAX {
        return Err(Problem::malformed(format!("settings: 1 to {CHANGES_MAX} at a time")));
    }
    let host = chain.host().ok_or_else(|| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "this node is starting or stopping", "try again in a moment")
    })?;
    let changes = request.settings.into_iter().collect();
    chain.wish(&*host, &name, changes, request.fingerprint.as_deref(), &by).await?;
    tracing::info!(name, by, "settings are wished of a node");
    Ok(Json(shown(chain, &name).await?))
}

/// `POST /api/v1/nodes/{name}/orders`.
pub async fn order(
    State(handles): State<Arc<Handles>>,
    Named(name): Named<String>,
    Caller(by): Caller,
    Given(request): Given<view::OrderRequest>,
) -> Result<Json<view::Order>, Problem> {
    let chain = chain(&handles)?;
    let ordered = match (request.verb.as_str(), request.token) {
        ("reparent", Some(token)) => {
            chain.is_token(&token)?;
            chain.order(&name, "reparent", token.trim(), true, &by).await?
        }
        (verb, None) if Verb::of(verb).is_some() => chain.order(&name, verb, "", false, &by).await?,
        _ => {
            let words: Vec<&str> = Verb::ALL.iter().map(Verb::word).collect();
            let why = format!("verb: one of {}, or reparent with a token", words.join(", "));
            return Err(Problem::malformed(why));
        }
    };
    tracing::info!(name, verb = ordered.verb, number = ordered.number, by, "something is ordered of a node");
    let (at, until) = (Time(ordered.at), Time(ordered.until));
    Ok(Json(view::Order { number: ordered.number, verb: ordered.verb, by: ordered.by, at, until, answer: None }))
}

/// `POST /api/v1/nodes/leave`.
pub async fn leave(State(handles): State<Arc<Handles>>, Caller(by): Caller) -> Result<Json<view::Left>, Problem> {
    let left = chain(&handles)?.leave().await?;
    tracing::warn!(by, ?left, "this node left its parent");
    let note = match left {
        Left::Joining => "the join is given up; the token may be used by this node again until it ends",
        Left::Told => "this node left its parent, which knows; what it holds stays. Set [upstream] and restart it",
        Left::Silent => {
            "this node left its parent, which could not be told, and will show it as offline; what it holds stays. Set [upstream] and restart it"
        }
    };
    Ok(Json(view::Left { note: note.to_owned() }))
}

/// `GET /api/v1/compliance/nodes`.
pub async fn compliance(State(handles): State<Arc<Handles>>) -> Result<Json<view::ByNode>, Problem> {
    let seen = chain(&handles)?.nodes().await?;
    let all = handles.store.below().tally().await?;
    Ok(Json(view::ByNode { all: tally(all), rows: rows(seen) }))
}

/// Which page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskEndpoints {
    after: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/nodes/{name}/endpoints`.
pub async fn endpoints(
    State(handles): State<Arc<Handles>>,
    Named(name): Named<String>,
    Asked(asked): Asked<AskEndpoints>,
) -> Result<Json<view::Endpoints>, Problem> {
    let limit = asked.limit.unwrap_or(ROWS);
    if limit == 0 || limit > PAGE_MAX {
        return Err(Problem::malformed(format!("limit: 1 to {PAGE_MAX}")));
    }
    let after = asked
        .after
        .map(|text| text.parse().map(Endpoint).map_err(|error| Problem::malformed(format!("after: {error}"))));
    let one = chain(&handles)?.find(&name).await?;
    let found = handles.store.below().endpoints(one.node, after.transpose()?, limit).await?;
    let next = found.last().filter(|_| found.len() == limit).map(|(endpoint, _)| endpoint.0.to_string());
    Ok(Json(view::Endpoints { rows: found.into_iter().map(endpoint).collect(), next }))
}

fn moment(seconds: u32) -> Option<Time> {
    (seconds > 0).then(|| Time(Timestamp::from_ms(u64::from(seconds) * 1000)))
}

fn endpoint((id, told): (Endpoint, Told)) -> view::Endpoint {
    let mut states = BTreeMap::new();
    for stand in &told.stands {
        *states.entry(stand.state.word().to_owned()).or_default() += 1;
    }
    view::Endpoint {
        id: id.0.to_string(),
        name: told.name,
        system: told.system,
        contact: moment(told.contact),
        scanned: moment(told.scanned),
        compliant: told.compliant,
        restart: told.restart,
        missing: told.missing,
        states,
    }
}
