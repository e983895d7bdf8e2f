//! `/api/v1/compliance/policies`: what groups ask of their endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::admin::compliance::words;
use crate::admin::error::Problem;
use crate::admin::extract::{Given, Named};
use crate::admin::groups::{path, who};
use crate::admin::view::Time;
use crate::admin::view::compliance as view;
use crate::admin::{Caller, Handles};
use crate::model::compliance::Policy;
use crate::model::compliance::inherit::{Own, in_force};
use crate::model::group::UNASSIGNED;
use crate::model::policy::Group;
use crate::store::approvals::{GroupPolicy, Tree};

/// Days of a policy at most, as in `[compliance]`.
const DAYS_MAX: u32 = 3650;

fn row(tree: &Tree, all: Policy, said: &BTreeMap<Group, GroupPolicy>, group: Group) -> view::GroupPolicy {
    let own: BTreeMap<Group, Own> = said.iter().map(|(group, said)| (*group, said.own)).collect();
    let (holds, said) = (in_force(all, &own, &tree.groups, group), said.get(&group));
    let says = said.map(|said| said.own).unwrap_or_default();
    let is_all = group == Group::ALL_ENDPOINTS;
    view::GroupPolicy {
        id: group.0.to_string(),
        group: path(tree, group),
        policy: words::policy(&holds.policy),
        own: view::OwnPolicy {
            severity: says.severity.map(words::least),
            missing_days: says.missing_days,
            scan_days: says.scan_days,
            restart_days: says.restart_days,
        },
        missing_by: path(tree, holds.missing),
        scan_by: path(tree, holds.scan),
        restart_by: path(tree, holds.restart),
        by: if is_all { Some("[compliance]".to_owned()) } else { said.map(|said| said.by.clone()) },
        at: said.map(|said| Time(said.at)),
    }
}

/// `GET /api/v1/compliance/policies`: all endpoints, and the groups that say something.
pub async fn list(State(handles): State<Arc<Handles>>) -> Result<Json<view::GroupPolicies>, Problem> {
    let (all, approvals) = (handles.reported.policy(), handles.store.approvals());
    let (tree, said) = (approvals.tree().await?, approvals.policies().await?);
    let mut rows = vec![row(&tree, all, &said, Group::ALL_ENDPOINTS)];
    rows.extend(said.keys().map(|group| row(&tree, all, &said, *group)));
    rows.sort_by_cached_key(|row| (row.id != Group::ALL_ENDPOINTS.0.to_string(), row.group.to_lowercase()));
    Ok(Json(view::GroupPolicies { rows }))
}

async fn told(handles: &Handles, tree: &Tree, group: Group) -> Result<Json<view::GroupPolicy>, Problem> {
    let said = handles.store.approvals().policies().await?;
    Ok(Json(row(tree, handles.reported.policy(), &said, group)))
}

/// `GET /api/v1/compliance/policies/{group}`.
pub async fn show(
    State(handles): State<Arc<Handles>>,
    Named(name): Named<String>,
) -> Result<Json<view::GroupPolicy>, Problem> {
    let tree = handles.store.approvals().tree().await?;
    let group = who::group(&tree, &name)?;
    told(&handles, &tree, group).await
}

/// `POST /api/v1/compliance/policies/{group}`.
pub async fn set(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Named(name): Named<String>,
    Given(asked): Given<view::PolicyRequest>,
) -> Result<Json<view::GroupPolicy>, Problem> {
    let approvals = handles.store.approvals();
    let tree = approvals.tree().await?;
    let group = who::group(&tree, &name)?;
    let before = approvals.policies().await?.get(&group).map(|said| said.own).unwrap_or_default();
    let own = changed(before, &asked)?;
    put(&handles, &tree, group, own, by).await
}

/// `DELETE /api/v1/compliance/policies/{group}`.
pub async fn unset(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Named(name): Named<String>,
) -> Result<Json<view::GroupPolicy>, Problem> {
    let tree = handles.store.approvals().tree().await?;
    let group = who::group(&tree, &name)?;
    put(&handles, &tree, group, Own::default(), by).await
}

async fn put(
    handles: &Handles,
    tree: &Tree,
    group: Group,
    own: Own,
    by: String,
) -> Result<Json<view::GroupPolicy>, Problem> {
    if group != UNASSIGNED && tree.groups.get(group).is_none() {
        return Err(Problem::new(
            http::StatusCode::UNPROCESSABLE_ENTITY,
            "what holds for all endpoints is a setting",
            "change [compliance] in the configuration; a reload takes it",
        ));
    }
    handles.store.approvals().set_policy(group, own, by.clone()).await?;
    tracing::info!(by, group = path(tree, group), ?own, "what a group asks of its endpoints is changed");
    told(handles, tree, group).await
}

/// What is not named stays.
fn changed(before: Own, asked: &view::PolicyRequest) -> Result<Own, Problem> {
    let mut own = before;
    for field in &asked.clear {
        match field.as_str() {
            "severity" => own.severity = None,
            "missing_days" => own.missing_days = None,
            "scan_days" => own.scan_days = None,
            "restart_days" => own.restart_days = None,
            other => {
                let shown: String = other.chars().take(40).collect();
                let title = format!("clear: {shown:?} is none of severity, missing_days, scan_days, restart_days");
                return Err(Problem::malformed(title));
            }
        }
    }
    if let Some(word) = &asked.severity {
        own.severity = Some(words::least_of(word)?);
    }
    let days = |key: &str, days: Option<u32>, least: u32| match days {
        Some(days) if !(least..=DAYS_MAX).contains(&days) => {
            Err(Problem::malformed(format!("{key}: {days} is not from {least} to {DAYS_MAX}")))
        }
        days => Ok(days),
    };
    own.missing_days = days("missing_days", asked.missing_days, 0)?.or(own.missing_days);
    own.scan_days = days("scan_days", asked.scan_days, 1)?.or(own.scan_days);
    own.restart_days = days("restart_days", asked.restart_days, 0)?.or(own.restart_days);
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::update::Severity;

    #[test]
    fn what_is_not_named_stays_and_what_cannot_be_is_refused() {
        let before = Own { severity: Some(Severity::Critical), scan_days: Some(3), ..Own::default() };
        let asked = |text: &str| serde_json::from_str::<view::PolicyRequest>(text).unwrap();
        let after =
            changed(before, &asked(r#"{"missing_days": 0, "severity": "any", "clear": ["scan_days"]}"#)).unwrap();
        assert_eq!(after, Own { severity: Some(Severity::Unspecified), missing_days: Some(0), ..Own::default() });
        assert_eq!(changed(before, &asked("{}")).unwrap(), before);
        for text in
            [r#"{"scan_days": 0}"#, r#"{"restart_days": 3651}"#, r#"{"severity": "bad"}"#, r#"{"clear": ["x"]}"#]
        {
            assert_eq!(changed(before, &asked(text)).unwrap_err().view().status, 400, "{text}");
        }
    }
}
