//! `/api/v1/upstream`: what stands above the node, looked at, chosen at run time, taken back and tested.
//!
//! What is chosen is kept in the node's local layer of settings and is taken by the next start: the rooms that ask are built for one
//! upstream. The catalog and the content that are held stay, as after a change of the file.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;

use crate::admin::bandwidth::{Change, Refused};
use crate::admin::error::Problem;
use crate::admin::extract::Given;
use crate::admin::view::upstream::{self as view, Choice, TestRequest};
use crate::admin::view::{Findings, Setting};
use crate::admin::{Caller, Handles, ask, sync};
use crate::model::report::Finding;
use crate::model::settings::{Raw, SettingError};

/// What is set by a choice.
const KIND: &str = "upstream.kind";
const URL: &str = "upstream.url";
const PROXY: &str = "upstream.proxy";
const KEYS: [&str; 3] = [KIND, URL, PROXY];

/// What it depends on besides.
const MICROSOFT: &str = "sync.microsoft";

/// Settings with the values that they are to have; without one what stands beneath holds again.
pub type Changes = Vec<(&'static str, Option<Raw>)>;

/// What the path tests of an upstream found that is none yet.
pub type Tested = Pin<Box<dyn Future<Output = Result<Vec<Finding>, Refused>> + Send>>;

/// The ways to change what stands above, all or nothing of it for someone, and to test one that would. Without a node there is neither.
#[derive(Clone)]
pub struct Above {
    /// Sets these at run time.
    pub changing: Arc<dyn Fn(Changes, String) -> Change + Send + Sync>,
    /// Tests the way to the sync service that there would be with these, on top of all that is set for the next start.
    pub testing: Arc<dyn Fn(Changes) -> Tested + Send + Sync>,
}

impl fmt::Debug for Above {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Above").finish_non_exhaustive()
    }
}

/// `GET /api/v1/upstream`.
pub async fn show(State(handles): State<Arc<Handles>>) -> Result<Json<view::Above>, Problem> {
    present(&handles).await.map(Json)
}

/// `POST /api/v1/upstream`.
pub async fn set(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(choice): Given<Choice>,
) -> Result<Json<view::Above>, Problem> {
    let mut changes = changes(&choice)?;
    let settings = ask::in_force(&handles).await?;
    // A URL that a file gives stays there: Microsoft is not asked at it.
    changes.retain(|(key, value)| value.is_some() || !is_locked(&settings, key));
    change(&handles, changes, by).await?;
    present(&handles).await.map(Json)
}

/// `DELETE /api/v1/upstream`: what was set at run time is taken back.
pub async fn reset(State(handles): State<Arc<Handles>>, Caller(by): Caller) -> Result<Json<view::Above>, Problem> {
    let settings = ask::in_force(&handles).await?;
    let changes = KEYS.into_iter().filter(|key| !is_locked(&settings, key)).map(|key| (key, None)).collect();
    change(&handles, changes, by).await?;
    present(&handles).await.map(Json)
}

/// `POST /api/v1/upstream/test`: the path tests of the upstream alone. With a choice of one that is none yet; without, of the one that is
/// asked now, and of the one that a restart would take where that is another. An order, though it changes nothing: it makes the node
/// ask wherever it is told.
pub async fn test(
    State(handles): State<Arc<Handles>>,
    Given(TestRequest { choice }): Given<TestRequest>,
) -> Result<Json<Findings>, Problem> {
    let Ok(_turn) = handles.turns.doctor.try_acquire() else {
        return Err(ask::testing_already());
    };
    let above = above(&handles)?;
    if let Some(choice) = choice {
        let findings = (above.testing)(changes(&choice)?).await.map_err(refused)?;
        return Ok(Json(Findings { findings }));
    }
    let mut findings = handles.jobs.doctor_upstream().await?;
    if present(&handles).await?.after_restart.is_some() {
        let next = (above.testing)(Vec::new()).await.map_err(refused)?;
        let new = next.into_iter().filter(|finding| !findings.contains(finding)).collect::<Vec<_>>();
        findings.extend(new);
    }
    Ok(Json(Findings { findings }))
}

fn above(handles: &Handles) -> Result<&Above, Problem> {
    handles.above.as_ref().ok_or_else(|| {
        let title = "no node runs whose upstream could be changed or tested";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, "start it, or write [upstream] into waystation.toml")
    })
}

async fn change(handles: &Handles, changes: Changes, by: String) -> Result<(), Problem> {
    (above(handles)?.changing)(changes, by).await.map_err(refused)
}

fn refused(refused: Refused) -> Problem {
    let title = refused.to_string();
    match refused {
        Refused::Store(error) => error.into(),
        Refused::Setting(SettingError::Locked { .. }) => {
            let next = "a restart of the node takes the change; what is taken out there can be set here";
            Problem::new(StatusCode::CONFLICT, title, next)
        }
        Refused::Setting(_) | Refused::Value(_) => {
            let next = "correct it and send it again; `waystation upstream show` tells what is set";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, next)
        }
    }
}

/// The settings of a choice.
fn changes(choice: &Choice) -> Result<Changes, Problem> {
    let ill = |title: &str, next: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, next);
    let url = choice.url.as_deref().map(str::trim).filter(|url| !url.is_empty());
    let url = match (choice.kind.as_str(), url) {
        ("microsoft", None) => None,
        ("microsoft", Some(_)) => {
            let next =
                "leave the URL out; a mirror of its sync service is named in [sync] microsoft of the configuration";
            return Err(ill("Microsoft's address is known", next));
        }
        ("wsus", Some(url)) => Some(Raw::List(vec![url.trim_end_matches('/').to_owned()])),
        ("wsus", None) => {
            return Err(ill("a WSUS server needs its address", "give its URL, such as http://wsus.example.org:8530"));
        }
        ("parent", _) => {
            let next = "`waystation join` makes a parent the upstream, once its feed was verified";
            return Err(ill("a parent is joined with its token", next));
        }
        (other, _) => {
            let shown: String = other.chars().take(40).collect();
            return Err(ill(&format!("{shown:?} is no kind of upstream"), "the kinds are microsoft and wsus"));
        }
    };
    let mut changes = vec![(KIND, Some(Raw::Text(choice.kind.clone()))), (URL, url)];
    if let Some(proxy) = &choice.proxy {
        changes.push((PROXY, Some(Raw::Text(proxy.trim().to_owned()))));
    }
    Ok(changes)
}

fn is_locked(settings: &[Setting], key: &str) -> bool {
    settings.iter().any(|setting| setting.key == key && setting.locked)
}

async fn present(handles: &Handles) -> Result<view::Above, Problem> {
    let settings = ask::in_force(handles).await?;
    let standing = handles.store.catalog().standing().await?;
    let (now, later) = (way(&settings, false), way(&settings, true));
    let told = |setting: &Setting| KEYS.contains(&setting.key.as_str()) || setting.key == MICROSOFT;
    Ok(view::Above {
        after_restart: (now != later).then_some(later),
        now,
        held_from: standing.upstream.map(sync::upstream),
        updates: standing.updates,
        settings: settings.into_iter().filter(told).collect(),
    })
}

/// Who is asked by these settings: as they are in force, or as the next start takes them.
fn way(settings: &[Setting], later: bool) -> view::Way {
    let text = |key: &str| {
        let setting = settings.iter().find(|setting| setting.key == key);
        let value = setting.map(|setting| match &setting.next {
            Some(next) if later => &next.value,
            _ => &setting.value,
        });
        match value {
            Some(Raw::Text(text)) => text.clone(),
            Some(Raw::List(items)) => items.first().cloned().unwrap_or_default(),
            _ => String::new(),
        }
    };
    let kind = text(KIND);
    let address = text(if kind == "microsoft" { MICROSOFT } else { URL });
    view::Way { unauthenticated: address.starts_with("http://"), proxy: text(PROXY), kind, address }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::NextValue;

    fn choice(kind: &str, url: Option<&str>) -> Choice {
        Choice { kind: kind.to_owned(), url: url.map(str::to_owned), proxy: None }
    }

    #[test]
    fn a_choice_says_all_that_belongs_to_it() {
        let wsus = changes(&choice("wsus", Some(" http://wsus:8530/ "))).unwrap();
        assert_eq!(wsus, [(KIND, Some("wsus".into())), (URL, Some(Raw::List(vec!["http://wsus:8530".into()])))]);
        // What a WSUS was asked at is let go of with it.
        assert_eq!(changes(&choice("microsoft", None)).unwrap()[1], (URL, None));
        for (kind, url) in [("wsus", None), ("microsoft", Some("https://m")), ("parent", None), ("http://wsus", None)] {
            assert_eq!(changes(&choice(kind, url)).unwrap_err().view().status, 422, "{kind}");
        }
    }

    #[test]
    fn what_waits_for_a_restart_is_told_apart() {
        let setting = |key: &str, value: Raw, next: Option<Raw>| Setting {
            key: key.to_owned(),
            value,
            layer: "default".to_owned(),
            place: String::new(),
            locked: false,
            help: String::new(),
            next: next.map(|value| NextValue { value, place: "run time".to_owned(), when: "restart".to_owned() }),
        };
        let settings = [
            setting(KIND, "microsoft".into(), Some("wsus".into())),
            setting(URL, Raw::List(vec![]), Some(Raw::List(vec!["http://w".into()]))),
            setting(PROXY, "global".into(), None),
            setting(MICROSOFT, "https://m".into(), None),
        ];
        let (now, later) = (way(&settings, false), way(&settings, true));
        assert_eq!((now.kind.as_str(), now.address.as_str(), now.unauthenticated), ("microsoft", "https://m", false));
        assert_eq!((later.kind.as_str(), later.address.as_str(), later.unauthenticated), ("wsus", "http://w", true));
    }
}
