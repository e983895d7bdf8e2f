//! `GetDeployments`: what a replica takes over besides metadata (MS-WSUSSS 3.1.4.10): groups, approvals, declines, licences.
//!
//! - What was said for a group goes out as it takes effect: a review that holds it back blocks it, and its deadline is later by as long as
//!   that took. What was said for single endpoints stays here: a replica's computers are its own.
//! - A server has one id for each deployment and forgets those that are named dead. Here the id follows from update, group and action, so
//!   that whatever else was said before of the same update in the same group can be named dead without being remembered.
//! - All of it goes out whenever anything changed behind the anchor, and none where nothing did.

use std::collections::BTreeSet;

use crate::base::time::Timestamp;
use crate::model::deployment::inherit::Words;
use crate::model::deployment::{Action, Said, Target};
use crate::model::group::{Groups, UNASSIGNED};
use crate::model::policy;
use crate::model::relations;
use crate::model::update::UpdateId;
use crate::serve::downstream::{Downstream, Error, anchor, parameter};
use crate::store::approvals::{PAGE_MAX, Place};
use crate::wire::wsusss::deployments::{Deployment, Deployments, GetDeployments, Group};
use crate::wire::wsusss::values::Time;

/// Deployments of one answer, at some 500 bytes each: more approvals than that a site does not have.
const DEPLOYMENTS_MAX: usize = 200_000;

/// The actions of the protocol (3.1.4.10.3.5).
const INSTALL: i32 = 0;
const UNINSTALL: i32 = 1;
const SCAN: i32 = 2;
const BLOCK: i32 = 3;
const ACTIONS: [i32; 4] = [INSTALL, UNINSTALL, SCAN, BLOCK];

/// What a server is to do of what was said. To offer an update to the user is none of its actions: it looks for it.
fn action(said: Said) -> Option<i32> {
    match said {
        Said::Do { action, .. } => Some(match action {
            Action::Install => INSTALL,
            Action::Uninstall => UNINSTALL,
            Action::PreDeploymentCheck | Action::OptionalInstall | Action::Evaluate | Action::Bundle => SCAN,
            Action::Block => BLOCK,
        }),
        Said::NotApproved => Some(BLOCK),
        Said::Inherit => None,
    }
}

fn id(update: UpdateId, group: policy::Group, action: i32) -> UpdateId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(update.bytes()).update(group.0.bytes()).update(&action.to_le_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    UpdateId::new(id)
}

/// What holds for a group by what was said for it, or by a review that holds back what was said above it: the action, until when, who said it
/// and when.
fn effective(
    words: &Words,
    tree: &Groups,
    group: policy::Group,
) -> Option<(i32, Option<Timestamp>, String, Timestamp)> {
    let own = words.approvals.get(&Target::Group(group)).filter(|approval| action(approval.said).is_some());
    let Some(since) = words.let_since(tree, group) else {
        // Said here, or above: until the review lets it, it does not hold here.
        let said = tree.up(group).find_map(|group| words.approvals.get(&Target::Group(group)))?;
        return action(said.said).map(|_| (BLOCK, None, said.by.clone(), said.at));
    };
    let own = own?;
    let deadline = match own.said {
        Said::Do { deadline, .. } => deadline.map(|deadline| deadline.after(since.since(own.at))),
        Said::NotApproved | Said::Inherit => None,
    };
    Some((action(own.said)?, deadline, own.by.clone(), own.at))
}

fn groups(tree: &Groups) -> Vec<Group> {
    let built_in =
        |id: policy::Group, name: &str| Group { id: id.0, parent: None, name: name.to_owned(), built_in: true };
    let unassigned =
        Group { parent: Some(policy::Group::ALL_ENDPOINTS.0), ..built_in(UNASSIGNED, "Unassigned Computers") };
    let made = tree.iter().map(|node| Group {
        id: node.id.0,
        parent: Some(node.parent.0),
        name: node.name.clone(),
        built_in: false,
    });
    [built_in(policy::Group::ALL_ENDPOINTS, "All Computers"), unassigned].into_iter().chain(made).collect()
}

impl Downstream {
    /// To `GetDeployments`.
    pub(super) async fn deployments(&self, request: &GetDeployments) -> Result<Deployments, Error> {
        let read = |text: Option<&str>, name| match text.map(str::trim).filter(|text| !text.is_empty()) {
            Some(text) => {
                anchor::read(text).map(Some).ok_or_else(|| parameter(name, "the anchor is none of this server's"))
            }
            None => Ok(None),
        };
        let known = read(request.anchor.as_deref(), "deploymentAnchor")?;
        if read(request.sync_anchor.as_deref(), "syncAnchor")?.is_none() {
            return Err(parameter("syncAnchor", "there is none: revisions are listed first"));
        }
        let _turn = self.turns.acquire().await.map_err(|_| Error::Ended)?;
        // Before anything is read: what is said meanwhile goes out the next time.
        let standing = self.catalog.standing().await?;
        let tree = self.approvals.tree().await?.groups;
        let mut answer = Deployments {
            anchor: Some(anchor::write(standing.generation, standing.clock)),
            groups: groups(&tree),
            deployments: vec![],
            dead: vec![],
            hidden: vec![],
            accepted_eulas: self.approvals.licences().await?.into_iter().map(|accepted| accepted.eula).collect(),
        };
        let is_same = known == Some(standing.clock);
        let mut after: Option<Place> = None;
        loop {
            let (page, next) = self.approvals.page(after, PAGE_MAX).await?;
            answer.hidden.extend(page.iter().filter(|kept| kept.declined).map(|kept| kept.approval.update));
            if !is_same {
                let said: BTreeSet<UpdateId> = page.iter().map(|kept| kept.approval.update).collect();
                self.add(said.into_iter().collect(), &tree, &mut answer).await?;
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        answer.hidden.sort_unstable();
        answer.hidden.dedup();
        // An update whose words stand on two pages was added twice.
        answer.deployments.sort_by_key(|deployment| deployment.id);
        answer.deployments.dedup_by_key(|deployment| deployment.id);
        answer.dead.sort_unstable();
        answer.dead.dedup();
        Ok(answer)
    }

    /// Adds what was said of these updates, and what therefore is dead.
    async fn add(&self, updates: Vec<UpdateId>, tree: &Groups, answer: &mut Deployments) -> Result<(), Error> {
        let targets = updates.iter().map(|update| relations::Target::Newest(*update)).collect();
        let shorts = self.catalog.shorts(targets).await?;
        let words = self.approvals.words(updates.clone()).await?;
        for ((update, short), words) in updates.into_iter().zip(shorts).zip(words) {
            let said = words.approvals.keys().filter_map(|target| match target {
                Target::Group(group) => Some(*group),
                Target::Endpoint(_) => None,
            });
            let reviewing = tree.iter().filter(|node| node.asks_review).map(|node| node.id);
            for group in said.chain(reviewing) {
                let holds = effective(&words, tree, group).filter(|_| words.declined.is_none());
                let now = holds.as_ref().map(|(action, ..)| *action);
                answer
                    .dead
                    .extend(ACTIONS.iter().filter(|other| Some(**other) != now).map(|other| id(update, group, *other)));
                // What is not held cannot be deployed: it is said once it is.
                let (Some((action, deadline, by, at)), Some(short)) = (holds, &short) else { continue };
                if answer.deployments.len() >= DEPLOYMENTS_MAX {
                    return Err(Error::Busy);
                }
                answer.deployments.push(Deployment {
                    update,
                    revision: short.identity.revision,
                    action,
                    admin: by,
                    deadline: deadline.map_or_else(Time::never, Time::new),
                    assigned: true,
                    go_live: Time::new(at),
                    id: id(update, group, action),
                    group: group.0,
                    priority: 2,
                });
            }
        }
        Ok(())
    }
}
