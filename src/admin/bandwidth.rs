//! `/api/v1/bandwidth`: which rules are in force, until when, and other ones at run time.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;

use crate::admin::ask;
use crate::admin::error::Problem;
use crate::admin::extract::{Given, Named};
use crate::admin::view::{bandwidth as view, settings_place};
use crate::admin::{Caller, Handles};
use crate::model::settings::{Raw, SettingError};
use crate::pace::{Class, Governor, Report};
use crate::store;

/// What there is to set.
const KEYS: &str =
    "the keys are upstream, sync, prefetch, definitions, demand, clients, nodes, networks, timezone and give_way";

/// The future of a change.
pub type Change = Pin<Box<dyn Future<Output = Result<(), Refused>> + Send>>;

/// Sets one key of a section at run time (or takes it back) for someone.
pub type Changing = Arc<dyn Fn(String, Option<Raw>, String) -> Change + Send + Sync>;

/// What governs the bandwidth, and the way to change its rules. Without a node there is neither.
#[derive(Clone, Default)]
pub struct Bandwidth {
    /// What is in force.
    pub governor: Governor,
    /// See [`Changing`].
    pub changing: Option<Changing>,
}

impl fmt::Debug for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bandwidth").field("governor", &self.governor).finish_non_exhaustive()
    }
}

/// Why rules were not changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such key, or a higher layer fixes it.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// It is no rule.
    #[error("{0}")]
    Value(String),
    /// It cannot be kept.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let title = refused.to_string();
        match refused {
            Refused::Store(error) => error.into(),
            Refused::Setting(SettingError::Locked { .. }) => Self::new(
                StatusCode::CONFLICT,
                title,
                "a reload of the node (SIGHUP) takes the change; what is taken out there can be set here",
            ),
            Refused::Setting(_) => Self::new(StatusCode::NOT_FOUND, title, KEYS),
            Refused::Value(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, title, "correct the rule and send it again")
            }
        }
    }
}

/// `GET /api/v1/bandwidth`.
pub async fn show(State(handles): State<Arc<Handles>>) -> Result<Json<view::Bandwidth>, Problem> {
    present(&handles).await.map(Json)
}

/// The rules of one key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// One or several; of `timezone` and `give_way` just one value.
    rules: Vec<String>,
}

/// `POST /api/v1/bandwidth/{key}`.
pub async fn set(
    State(handles): State<Arc<Handles>>,
    Named(key): Named<String>,
    Caller(by): Caller,
    Given(Rules { mut rules }): Given<Rules>,
) -> Result<Json<view::Bandwidth>, Problem> {
    // Keys that take one value take no list of one.
    let value = match rules.len() {
        1 => Raw::Text(rules.remove(0)),
        _ => Raw::List(rules),
    };
    change(&handles, key, Some(value), by).await
}

/// `DELETE /api/v1/bandwidth/{key}`.
pub async fn clear(
    State(handles): State<Arc<Handles>>,
    Named(key): Named<String>,
    Caller(by): Caller,
) -> Result<Json<view::Bandwidth>, Problem> {
    change(&handles, key, None, by).await
}

async fn change(
    handles: &Handles,
    key: String,
    value: Option<Raw>,
    by: String,
) -> Result<Json<view::Bandwidth>, Problem> {
    let Some(changing) = &handles.bandwidth.changing else {
        let title = "no node runs whose bandwidth could be governed";
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            title,
            "start it, or write it into waystation.toml",
        ));
    };
    changing(key, value, by).await?;
    present(handles).await.map(Json)
}

/// The governor's report with where each key's value comes from.
pub(super) async fn present(handles: &Handles) -> Result<view::Bandwidth, Problem> {
    let settings = ask::in_force(handles).await?;
    let Report { zone, now: _, classes, networks, give_way, gives_way_to } = handles.bandwidth.governor.report();
    let set = |key: &str| {
        let found = settings.iter().find(|setting| setting.key.strip_prefix("bandwidth.") == Some(key));
        view::Set {
            value: found.map(|setting| setting.value.clone()).unwrap_or_default(),
            from: found.map(settings_place).unwrap_or_default(),
            layer: found.map(|setting| setting.layer.clone()).unwrap_or_default(),
            locked: found.is_some_and(|setting| setting.locked),
        }
    };
    let class = |class: crate::pace::report::ClassReport| view::Class {
        class: class.class.word().to_owned(),
        in_force: view::InForce::of(&class.standing, &zone),
        waiting: class.waiting as u64,
        bytes: class.bytes,
        set: set(class.class.word()),
    };
    let network = |network: crate::pace::report::NetworkReport| view::Network {
        network: network.network,
        in_force: view::InForce::of(&network.standing, &zone),
        parts: network.parts as u64,
        waiting: network.waiting as u64,
    };
    debug_assert_eq!(classes.len(), Class::ALL.len());
    Ok(view::Bandwidth {
        timezone: zone.to_string(),
        timezone_set: set("timezone"),
        classes: classes.into_iter().map(class).collect(),
        networks: networks.into_iter().map(network).collect(),
        networks_set: set("networks"),
        give_way,
        give_way_set: set("give_way"),
        background_held_to: gives_way_to,
    })
}
