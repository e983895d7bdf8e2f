//! `/api/v1/groups`: the tree of groups, and who is in which.
//!
//! 1. [`who`] finds the groups and endpoints that a person names.
//! 2. The store changes the tree, or refuses what would be none in the tree's own words; who is where is made out by `fleet::belong`.

pub(in crate::admin) mod who;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;

use crate::admin::approvals::deadlines;
use crate::admin::door::Identity;
use crate::admin::error::Problem;
use crate::admin::extract::{Given, Named};
use crate::admin::view::{Time, groups as view};
use crate::admin::{Caller, Handles, within};
use crate::fleet::belong::{self, How};
use crate::model::deployment::{Endpoint, Target};
use crate::model::group::rule::Rule;
use crate::model::group::{Level, Node, UNASSIGNED};
use crate::model::policy::Group;
use crate::model::update::UpdateId;
use crate::store::approvals::{Change, Tree};
use crate::store::fleet::{PAGE_MAX, Record};

/// When what is changed takes effect.
pub(in crate::admin) const EFFECT: &str = "takes effect on each endpoint at its next scan, which agents begin every 22 hours unless their \
     policy says otherwise; `usoclient StartScan` on an endpoint begins one at once";

const LEVELS: [(Level, &str); 3] = [(Level::Company, "company"), (Level::Site, "site"), (Level::Group, "group")];

fn level_of(text: &str) -> Result<Level, Problem> {
    let known = LEVELS.into_iter().find(|(_, word)| word.eq_ignore_ascii_case(text.trim()));
    known
        .map(|(level, _)| level)
        .ok_or_else(|| Problem::malformed(format!("level: {text:?} is none of company, site, group")))
}

fn rule_of(text: &str) -> Result<Rule, Problem> {
    let (kind, value) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
    let wrong = |why: String| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why, "write a rule as `subnet 10.1.0.0/16` or `name kiosk-*`")
    };
    match kind {
        "subnet" => {
            let net: ipnet::IpNet =
                value.trim().parse().map_err(|_| wrong(format!("{value:?} is no network, such as 10.1.0.0/16")))?;
            Ok(Rule::Subnet(net.trunc()))
        }
        "name" => value.trim().parse().map(Rule::Name).map_err(|error| wrong(format!("{error}"))),
        _ => Err(wrong(format!("{text:?} is no rule"))),
    }
}

fn rule_text(rule: &Rule) -> String {
    match rule {
        Rule::Subnet(net) => format!("subnet {net}"),
        Rule::Name(pattern) => format!("name {pattern}"),
    }
}

/// What the tree says of a change that cannot be.
pub(in crate::admin) fn refused(error: &crate::model::group::Error) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string(), "`waystation groups list` shows the groups")
}

/// The path of a group as people see it.
pub(in crate::admin) fn path(tree: &Tree, group: Group) -> String {
    match group {
        Group::ALL_ENDPOINTS => who::ALL.to_owned(),
        UNASSIGNED => who::NOWHERE.to_owned(),
        group if tree.groups.get(group).is_none() => group.0.to_string(),
        group => tree.groups.path(group),
    }
}

fn row(tree: &Tree, node: &Node) -> view::Group {
    let by = tree.by.get(&node.id);
    view::Group {
        id: node.id.0.to_string(),
        name: node.name.clone(),
        path: tree.groups.path(node.id),
        level: LEVELS.into_iter().find(|(level, _)| *level == node.level).map_or("", |(_, word)| word).to_owned(),
        depth: tree.groups.up(node.id).count() as u64 - 1,
        test: node.is_test,
        review: node.asks_review,
        rules: node.rules.iter().map(rule_text).collect(),
        endpoints: 0,
        endpoints_below: 0,
        by: by.map(|(by, _)| by.clone()),
        at: by.map(|(_, at)| Time(*at)),
        revision: tree.revision(node.id),
    }
}

fn fixed(group: Group, name: &str, path: &str) -> view::Group {
    view::Group {
        id: group.0.to_string(),
        name: name.to_owned(),
        path: path.to_owned(),
        level: "fixed".to_owned(),
        depth: u64::from(group != Group::ALL_ENDPOINTS),
        ..view::Group::default()
    }
}

/// Endpoints with their groups, a page at a time.
pub(in crate::admin) async fn each_endpoint(
    handles: &Handles,
    tree: &Tree,
    mut visit: impl FnMut(&Record, &[Group]),
) -> Result<(), Problem> {
    each_member(handles, tree, |record, groups, _| visit(record, groups)).await
}

/// The same with why each is in its groups.
async fn each_member(
    handles: &Handles,
    tree: &Tree,
    mut visit: impl FnMut(&Record, &[Group], How),
) -> Result<(), Problem> {
    // Who walks over all leaves the store's threads to others in between.
    let (fleet, approvals) = (handles.store.fleet(), handles.store.approvals());
    let mut after: Option<Endpoint> = None;
    loop {
        let _turn = handles.turns.listing.acquire().await;
        let page = fleet.endpoints(after, PAGE_MAX).await?;
        let ids: Vec<Endpoint> = page.iter().map(|record| record.registration.endpoint).collect();
        let Some(last) = ids.last().copied() else { return Ok(()) };
        let placed = approvals.placed(ids).await?;
        for (record, placed) in page.iter().zip(placed) {
            let (groups, how) = belong::groups(Some(record), &placed, &tree.groups);
            visit(record, &groups, how);
        }
        after = Some(last);
    }
}

/// `GET /api/v1/groups`.
pub async fn list(State(handles): State<Arc<Handles>>, identity: Identity) -> Result<Json<view::Groups>, Problem> {
    let tree = handles.store.approvals().tree().await?;
    let (mut own, mut below, mut endpoints) = (BTreeMap::<Group, u64>::new(), BTreeMap::<Group, u64>::new(), 0);
    let is_within = |group: Group| identity.reach.has(group, &tree.groups);
    each_endpoint(&handles, &tree, |_, groups| {
        endpoints += u64::from(groups.iter().any(|group| is_within(*group)));
        let mut above: Vec<Group> = groups.iter().flat_map(|group| tree.groups.up(*group)).collect();
        above.sort_unstable();
        above.dedup();
        for group in groups {
            *own.entry(*group).or_default() += 1;
        }
        for group in above {
            *below.entry(group).or_default() += 1;
        }
    })
    .await?;
    let mut rows = vec![fixed(Group::ALL_ENDPOINTS, "all endpoints", who::ALL)];
    // Depth first, by name.
    let children = |group: Group| {
        let mut nodes: Vec<&Node> = tree.groups.children(group).collect();
        nodes.sort_by_key(|node| std::cmp::Reverse(node.name.to_lowercase()));
        nodes
    };
    let mut left = children(Group::ALL_ENDPOINTS);
    while let Some(node) = left.pop() {
        rows.push(row(&tree, node));
        left.extend(children(node.id));
    }
    rows.push(fixed(UNASSIGNED, "unassigned", who::NOWHERE));
    if !identity.reach.is_everywhere() {
        rows.retain(|row| row.id.parse().is_ok_and(|id| is_within(Group(id))));
    }
    for row in &mut rows {
        if let Ok(id) = row.id.parse::<UpdateId>() {
            let count = |of: &BTreeMap<Group, u64>| of.get(&Group(id)).copied().unwrap_or(0);
            (row.endpoints, row.endpoints_below) = (count(&own), count(&below));
        }
    }
    Ok(Json(view::Groups { rows, endpoints }))
}

/// A group that a person made, by its name.
fn made(tree: &Tree, name: &str) -> Result<Node, Problem> {
    let group = who::group(tree, name)?;
    tree.groups.get(group).cloned().ok_or_else(|| refused(&crate::model::group::Error::Fixed))
}

/// An id for a new group.
fn fresh() -> Result<Group, Problem> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the system gives no random numbers", "look into its log")
    })?;
    Ok(Group(UpdateId::new(bytes)))
}

/// `POST /api/v1/groups`.
pub async fn add(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    identity: Identity,
    Given(asked): Given<view::AddRequest>,
) -> Result<Json<view::Changed>, Problem> {
    let tree = handles.store.approvals().tree().await?;
    let below = asked.below.as_deref().map(|name| who::group(&tree, name)).transpose()?;
    within::group(&identity, &tree, below.unwrap_or(Group::ALL_ENDPOINTS))?;
    if !identity.reach.is_everywhere() && !asked.rules.is_empty() {
        // A rule draws endpoints from anywhere into the group.
        let title = "a group with rules takes endpoints from outside of the account's groups";
        return Err(Problem::new(StatusCode::FORBIDDEN, title, "ask an administrator for the rules"));
    }
    let node = Node {
        id: fresh()?,
        name: asked.name,
        level: asked.level.as_deref().map(level_of).transpose()?.unwrap_or(Level::Group),
        parent: below.unwrap_or(Group::ALL_ENDPOINTS),
        is_test: asked.test,
        asks_review: asked.review,
        rules: asked.rules.iter().map(|text| rule_of(text)).collect::<Result<_, _>>()?,
    };
    changed(&handles, Change::Add(node.clone()), node.id, by).await
}

/// `POST /api/v1/groups/{name}`.
pub async fn change(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Named(name): Named<String>,
    Given(asked): Given<view::ChangeRequest>,
) -> Result<Json<view::Changed>, Problem> {
    let tree = handles.store.approvals().tree().await?;
    let before = made(&tree, &name)?;
    let below = asked.below.as_deref().map(|name| who::group(&tree, name)).transpose()?;
    let rules =
        asked.rules.map(|rules| rules.iter().map(|text| rule_of(text)).collect::<Result<_, _>>()).transpose()?;
    let node = Node {
        id: before.id,
        name: asked.name.unwrap_or(before.name),
        level: asked.level.as_deref().map(level_of).transpose()?.unwrap_or(before.level),
        parent: below.unwrap_or(before.parent),
        is_test: asked.test.unwrap_or(before.is_test),
        asks_review: asked.review.unwrap_or(before.asks_review),
        rules: rules.unwrap_or(before.rules),
    };
    let revision = asked.revision.unwrap_or_else(|| tree.revision(node.id));
    let ceases = !asked.review.unwrap_or(true) && tree.groups.asks_review(node.id);
    let moves = node.parent != before.parent;
    let mut answer = changed(&handles, Change::PutOver(node.clone(), revision), node.id, by).await?;
    if ceases || moves {
        // What a review held counts from now on, and so does what was said for those above.
        let tree = handles.store.approvals().tree().await?;
        let below = tree.groups.below(node.id).into_iter().collect();
        answer.notes.extend(deadlines::of_groups(&handles, &tree, &below).await?);
    }
    Ok(answer)
}

/// `DELETE /api/v1/groups/{name}`.
pub async fn remove(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Named(name): Named<String>,
) -> Result<Json<view::Changed>, Problem> {
    let tree = handles.store.approvals().tree().await?;
    let node = made(&tree, &name)?;
    let mut members: BTreeMap<Endpoint, bool> = BTreeMap::new();
    each_member(&handles, &tree, |record, groups, how| {
        if groups.contains(&node.id) {
            members.insert(record.registration.endpoint, how == How::ByHand);
        }
    })
    .await?;
    tracing::info!(by, group = %node.id.0, name = node.name, members = members.len(), "a group is removed");
    let (after, _) = handles.store.approvals().remove_group(node.id, by).await?;
    handles.jobs.rules_changed();
    // By how they were in it: how many are where now.
    let mut now: BTreeMap<(bool, String), u64> = BTreeMap::new();
    each_member(&handles, &after, |record, groups, _| {
        if let Some(by_hand) = members.get(&record.registration.endpoint) {
            let paths: Vec<String> = groups.iter().map(|group| path(&after, *group)).collect();
            *now.entry((*by_hand, paths.join(" and "))).or_default() += 1;
        }
    })
    .await?;
    let mut notes: Vec<String> = now
        .into_iter()
        .map(|((by_hand, to), many)| {
            let how = if by_hand { "put into it by hand" } else { "in it by their own word or a rule" };
            if many == 1 {
                format!("1 endpoint {how} is in {to} now")
            } else {
                format!("{many} endpoints {how} are in {to} now")
            }
        })
        .collect();
    if notes.is_empty() {
        notes.push("no endpoint was in it".to_owned());
    }
    for kept in handles.store.rules().all().await? {
        if kept.rule.rings.iter().any(|ring| ring.target == node.id) {
            let name = kept.rule.name;
            notes.push(format!("the rule {name:?} does nothing any more, since it is a ring of it: `waystation rules set` gives it others"));
        }
    }
    if !members.is_empty() {
        notes.extend(deadlines::of_groups(&handles, &after, &BTreeSet::from([node.parent])).await?);
    }
    Ok(Json(view::Changed { group: None, effect: EFFECT.to_owned(), notes }))
}

async fn changed(handles: &Handles, change: Change, group: Group, by: String) -> Result<Json<view::Changed>, Problem> {
    tracing::info!(by, group = %group.0, ?change, "groups are changed");
    let tree = handles.store.approvals().change(change, by).await?;
    handles.jobs.rules_changed();
    let group = tree.groups.get(group).map(|node| row(&tree, node));
    Ok(Json(view::Changed { group, effect: EFFECT.to_owned(), notes: vec![] }))
}

/// `POST /api/v1/groups/place`.
pub async fn place(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    identity: Identity,
    Given(asked): Given<view::PlaceRequest>,
) -> Result<Json<view::Placed>, Problem> {
    let approvals = handles.store.approvals();
    let tree = approvals.tree().await?;
    let groups = within::hide(&identity.reach, who::groups(&tree, &asked.groups))?;
    let records = within::hide(&identity.reach, who::endpoints(&handles, &asked.endpoints).await)?;
    if records.is_empty() {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no endpoint is named", who::FIND));
    }
    let ids: Vec<Endpoint> = records.iter().map(|record| record.registration.endpoint).collect();
    if groups.is_empty() && !identity.reach.is_everywhere() {
        // By themselves they may be anywhere.
        let title = "it is not said into which groups of the account's";
        return Err(Problem::new(StatusCode::FORBIDDEN, title, "name groups that the account is bound to"));
    }
    let both = groups.iter().copied().map(Target::Group).chain(ids.iter().copied().map(Target::Endpoint));
    within::targets(&handles, &identity, &tree, &both.collect::<Vec<_>>()).await?;
    let moved = approvals.place(ids.clone(), groups.clone(), by.clone()).await?;
    tracing::info!(
        by,
        endpoints = ids.len(),
        moved,
        groups = asked.groups.join(", "),
        "endpoints were put into groups"
    );
    let placed = approvals.placed(ids).await?;
    let rows = records.iter().zip(placed).map(|(record, placed)| {
        let (groups, how) = belong::groups(Some(record), &placed, &tree.groups);
        view::Endpoint {
            id: record.registration.endpoint.0.to_string(),
            name: record.registration.name.clone(),
            groups: groups.into_iter().map(|group| path(&tree, group)).collect(),
            how: how.word().to_owned(),
        }
    });
    let rows = rows.collect();
    // What was said for these groups, with a deadline of then, counts for who comes into them.
    let now: BTreeSet<Group> = groups.into_iter().collect();
    let notes = if moved > 0 { deadlines::of_groups(&handles, &tree, &now).await? } else { vec![] };
    Ok(Json(view::Placed { moved, rows, effect: EFFECT.to_owned(), notes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_back() {
        for text in ["subnet 10.1.0.0/16", "subnet fd00::/8", "name kiosk-*"] {
            assert_eq!(rule_text(&rule_of(text).unwrap()), text);
        }
        assert_eq!(rule_text(&rule_of(" subnet   10.1.2.3/16 ").unwrap()), "subnet 10.1.0.0/16");
        for text in ["", "subnet", "subnet x", "10.0.0.0/8", "name", "name a b"] {
            assert_eq!(rule_of(text).unwrap_err().view().status, 422, "{text}");
        }
    }
}
