//! What deadlines follow where a review or a licence lets updates that it held: each is later by as long as it was held.

use std::collections::BTreeSet;

use crate::admin::Handles;
use crate::admin::approvals::{say, shorts};
use crate::admin::error::Problem;
use crate::admin::groups;
use crate::base::time::Timestamp;
use crate::fleet::belong;
use crate::model::deployment::inherit::{Asked, Standing, Words};
use crate::model::deployment::{Action, Endpoint, Said, Target};
use crate::model::group::UNASSIGNED;
use crate::model::policy::Group;
use crate::model::relations::Whole;
use crate::model::update::UpdateId;
use crate::store::approvals::{PAGE_MAX, Tree};

/// Lines that are told; how many more there are is said.
const TOLD_MAX: usize = 10;

/// Updates that are looked at: as many as can be said something of at once.
const LOOKED_MAX: usize = 5_000;

fn deadline_of(said: Said) -> Option<Timestamp> {
    match said {
        Said::Do { deadline, .. } => deadline,
        Said::NotApproved | Said::Inherit => None,
    }
}

/// For whom a word is, as far as it makes a difference: each group in which it is the nearest one, or the groups of the endpoint.
async fn places(
    handles: &Handles,
    tree: &Tree,
    words: &Words,
    target: Target,
) -> Result<Vec<(String, Option<Endpoint>, Vec<Group>)>, Problem> {
    match target {
        Target::Group(group) => {
            let is_own = |below: &Group| {
                let said = |group: &Group| {
                    words.approvals.get(&Target::Group(*group)).is_some_and(|word| word.said != Said::Inherit)
                };
                tree.groups.up(*below).find(said) == Some(group)
            };
            let mut below = tree.groups.below(group);
            if group == Group::ALL_ENDPOINTS {
                below.push(UNASSIGNED);
            }
            Ok(below.into_iter().filter(is_own).map(|group| (groups::path(tree, group), None, vec![group])).collect())
        }
        Target::Endpoint(endpoint) => {
            let record = handles.store.fleet().endpoint(endpoint).await?;
            let placed = handles.store.approvals().placed(vec![endpoint]).await?.pop().unwrap_or_default();
            let (groups, _) = belong::groups(record.as_ref(), &placed, &tree.groups);
            let name = record.map_or_else(|| endpoint.0.to_string(), |record| record.registration.name);
            Ok(vec![(name, Some(endpoint), groups)])
        }
    }
}

/// Notes about all updates that are ordered by a time for groups whose endpoints are told of other orders from now on.
pub(in crate::admin) async fn of_groups(
    handles: &Handles,
    tree: &Tree,
    groups: &BTreeSet<Group>,
) -> Result<Vec<String>, Problem> {
    let dated = dated(handles).await?;
    told(handles, tree, dated, Some(groups)).await
}

/// Notes about the updates of `ids` that are ordered by a time now: by which, and which servers are among those that it is for.
pub(in crate::admin) async fn notes(
    handles: &Handles,
    tree: &Tree,
    ids: Vec<UpdateId>,
) -> Result<Vec<String>, Problem> {
    told(handles, tree, ids, None).await
}

/// The notes, of some groups alone where these are given.
async fn told(
    handles: &Handles,
    tree: &Tree,
    ids: Vec<UpdateId>,
    of_groups: Option<&BTreeSet<Group>>,
) -> Result<Vec<String>, Problem> {
    let (catalog, approvals) = (handles.store.catalog(), handles.store.approvals());
    let mut dated: Vec<(UpdateId, Words)> = Vec::new();
    for step in ids.chunks(PAGE_MAX) {
        let words = approvals.words(step.to_vec()).await?;
        let has = |words: &Words| words.approvals.values().any(|word| deadline_of(word.said).is_some());
        dated.extend(step.iter().copied().zip(words).filter(|(_, words)| has(words)));
    }
    dated.truncate(LOOKED_MAX);
    if dated.is_empty() {
        return Ok(vec![]);
    }
    let shorts = shorts(&catalog, dated.iter().map(|(id, _)| *id)).await?;
    let (accepted, now) = (approvals.licences().await?, handles.clock.now());
    let (mut told, mut lines, mut more) = (BTreeSet::new(), Vec::new(), 0_u64);
    for (id, words) in &dated {
        let Some(short) = shorts.get(id) else { continue };
        let Whole { eulas, .. } = catalog.whole(short.identity).await?;
        let at = |eula: &UpdateId| accepted.iter().find(|one| one.eula == *eula).map(|one| one.at);
        let licences: Option<Vec<Timestamp>> = eulas.iter().map(at).collect();
        for (target, word) in &words.approvals {
            let Some(said) = deadline_of(word.said) else { continue };
            let is_install = matches!(word.said, Said::Do { action: Action::Install | Action::OptionalInstall, .. });
            let Some(from) = licences.clone().or((!is_install).then(Vec::new)) else { continue };
            let from = from.into_iter().max().filter(|_| is_install).unwrap_or_default();
            let mut seen = BTreeSet::new();
            for (name, endpoint, of) in places(handles, tree, words, *target).await? {
                if of_groups.is_some_and(|groups| !of.iter().any(|group| groups.contains(group))) {
                    continue;
                }
                let asked = Asked { endpoint, groups: &of, tree: &tree.groups };
                let Standing::Ordered { deadline: Some(until), .. } = words.standing_from(asked, from) else {
                    continue;
                };
                if !seen.insert(until) {
                    continue;
                }
                told.insert(*target);
                if lines.len() >= TOLD_MAX {
                    more += 1;
                    continue;
                }
                let update = short.kbs.first().map_or_else(|| id.to_string(), |kb| format!("KB{kb}"));
                let why = if until == said {
                    String::new()
                } else {
                    format!("; {said} was said, and it is later by as long as a licence or a review held it")
                };
                let past = if until <= now { ", which is past: who asks next does it at once" } else { "" };
                lines.push(format!("{update} is to be done in {name} by {until}{why}{past}"));
            }
        }
    }
    if more > 0 {
        lines.push(format!("{more} more have a deadline, each later by as long as a licence or a review held it"));
    }
    if !told.is_empty() {
        let targets: Vec<Target> = told.into_iter().collect();
        lines.extend(say::servers_note(handles, tree, &targets, "its deadline").await?);
    }
    Ok(lines)
}

/// Updates for which a deadline was said, the first of them.
pub(super) async fn dated(handles: &Handles) -> Result<Vec<UpdateId>, Problem> {
    let approvals = handles.store.approvals();
    let (mut found, mut after) = (BTreeSet::new(), None);
    loop {
        let (page, next) = approvals.page(after, 1_000).await?;
        let has = page.iter().filter(|kept| deadline_of(kept.approval.said).is_some());
        found.extend(has.map(|kept| kept.approval.update));
        after = next;
        if after.is_none() || found.len() >= LOOKED_MAX {
            return Ok(found.into_iter().collect());
        }
    }
}
