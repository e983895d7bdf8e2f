//! The nodes below as people see them: who they are, how they stand, what they told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::base::time::Timestamp;
use crate::chain::error::Error;
use crate::chain::node::{Chain, Role};
use crate::chain::roll::{Member, Standing};
use crate::model::chain::below::{HeldSaid, NodeSaid};
use crate::model::chain::ids::{Audience, NodeId};
use crate::store::below::Tally;
use crate::store::feed::Audiences;

/// Intervals without a word after which a node counts as offline; each hop in between may take one more.
const SILENT: u32 = 3;

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It reported lately.
    Online,
    /// It did not.
    Offline,
    /// It said that it was uninstalled.
    Uninstalled,
    /// It is enrolled elsewhere, or another took its place.
    Invalid,
    /// It is not in: it waits for somebody to let it, or was turned away.
    Outside,
}

impl Status {
    /// The word for people and scripts.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Uninstalled => "uninstalled",
            Self::Invalid => "invalid",
            Self::Outside => "outside",
        }
    }
}

/// A node below, or this one.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which.
    pub node: NodeId,
    /// What it is called.
    pub name: String,
    /// How it stands.
    pub status: Status,
    /// From the node that reports here down to it; nothing for this one.
    pub path: Vec<NodeId>,
    /// When it was last heard of.
    pub heard: Option<Timestamp>,
    /// What its endpoints come to.
    pub tally: Tally,
    /// What it says of itself, and its parent of it.
    pub said: NodeSaid,
    /// Its row on the roll, where it reports here itself.
    pub member: Option<Member>,
}

fn status(said: &NodeSaid, heard: Timestamp, hops: usize, every: Duration, now: Timestamp) -> Status {
    match said.gone.as_deref() {
        Some("uninstalled") => return Status::Uninstalled,
        Some(_) => return Status::Invalid,
        None => {}
    }
    let every = every.max(Duration::from_secs(said.heartbeat.every_s.into()));
    let silent = every.saturating_mul(SILENT.saturating_add(u32::try_from(hops).unwrap_or(u32::MAX)));
    if now.since(heard) <= silent { Status::Online } else { Status::Offline }
}

impl Chain {
    /// All nodes below, this one first, the others by path and name.
    pub async fn nodes(&self) -> Result<Vec<Seen>, Error> {
        let (now, every) = (self.shared.clock.now(), self.again().await?);
        let mut members: BTreeMap<String, Member> = BTreeMap::new();
        let mut others = Vec::new();
        for member in self.members().await? {
            match member.standing {
                Standing::Superseded => others.push(member),
                _ if members.contains_key(&member.node) => others.push(member),
                _ => drop(members.insert(member.node.clone(), member)),
            }
        }
        let mut seen = Vec::new();
        for node in self.shared.store.below().nodes().await? {
            let said: NodeSaid = serde_json::from_slice(&node.said).unwrap_or_default();
            let member = if node.path.len() == 1 { members.remove(&node.id.to_string()) } else { None };
            let status = match member.as_ref() {
                Some(member) => of_member(member, Some((&said, node.heard)), every, now),
                None => status(&said, node.heard, node.path.len(), every, now),
            };
            let name = member.as_ref().map_or_else(|| said.name.clone(), |member| member.name.clone());
            let (heard, tally, path) = (Some(node.heard), node.tally, node.path);
            seen.push(Seen { node: node.id, name, status, path, heard, tally, said, member });
        }
        // Those that have told nothing yet.
        for member in members.into_values().chain(others) {
            let Ok(node) = member.node.parse::<NodeId>() else { continue };
            let said =
                NodeSaid { name: member.name.clone(), fingerprint: member.fingerprint.clone(), ..NodeSaid::default() };
            let status = of_member(&member, None, every, now);
            let (name, path, tally) = (member.name.clone(), vec![node], Tally::default());
            seen.push(Seen { node, name, status, path, heard: None, tally, said, member: Some(member) });
        }
        let names: BTreeMap<NodeId, String> = seen.iter().map(|one| (one.node, one.name.clone())).collect();
        let place = |one: &Seen| -> Vec<(String, NodeId)> {
            one.path.iter().map(|node| (names.get(node).cloned().unwrap_or_default(), *node)).collect()
        };
        seen.sort_by_cached_key(place);
        Ok(seen)
    }

    /// A node by its name or id. An error where none or several are called so.
    pub async fn find(&self, name: &str) -> Result<Seen, Error> {
        let is_it = |one: &Seen| one.node.to_string() == name.to_lowercase();
        let all = self.nodes().await?;
        let mut found: Vec<Seen> = all.iter().filter(|one| is_it(one) || one.name == name).cloned().collect();
        if found.len() > 1 {
            let counts = |one: &Seen| !matches!(one.status, Status::Outside | Status::Invalid);
            let there: Vec<Seen> = found.iter().filter(|one| counts(one)).cloned().collect();
            if there.len() == 1 {
                found = there;
            }
        }
        match <[Seen; 1]>::try_from(found) {
            Ok([one]) => Ok(one),
            Err(none) if none.is_empty() => Err(Error::Refused(format!("no node is called {name:?}"))),
            Err(_) => Err(Error::Refused(format!("several nodes are called {name:?}: give the id"))),
        }
    }

    /// A node's settings and answers, as it told them.
    pub async fn held_of(&self, node: NodeId) -> Result<HeldSaid, Error> {
        let found = self.shared.store.below().node(node).await?;
        Ok(found.and_then(|(_, held)| serde_json::from_slice(&held).ok()).unwrap_or_default())
    }

    /// Forgets a node with all that it told, and those below it. Refused where something still names it.
    pub async fn remove(&self, name: &str) -> Result<Seen, Error> {
        let seen = self.find(name).await?;
        if seen.path.is_empty() {
            return Err(Error::Refused("that is this node itself".into()));
        }
        let names = self.names(&seen).await?;
        if !names.is_empty() {
            return Err(Error::Refused(format!("{:?} is still named: {}", seen.name, names.join("; "))));
        }
        if seen.path.len() > 1 && seen.status == Status::Online {
            return Err(Error::Refused(format!(
                "{:?} reports to another node, and would be told of again: remove it there, or wait until it is gone",
                seen.name
            )));
        }
        if let Some(member) = &seen.member {
            self.shared.roll.remove(member).await?;
            self.shared.revoked.send_modify(|times| *times += 1);
        }
        // Another one may have taken its place under the same id.
        let is_there = self.members().await?.iter().any(|other| other.node == seen.node.to_string());
        if !is_there {
            self.shared.store.below().remove(seen.node, self.role() == Role::Child).await?;
            self.forget_wishes(seen.node).await?;
        }
        self.shared.below.wake.notify_one();
        Ok(seen)
    }

    /// What names a node, in words.
    async fn names(&self, seen: &Seen) -> Result<Vec<String>, Error> {
        let mut names: Vec<String> = Vec::new();
        let below = self.nodes().await?;
        let hang = below.iter().filter(|one| {
            one.path.len() > seen.path.len() && one.path.contains(&seen.node) && one.status == Status::Online
        });
        let hang: Vec<&str> = hang.map(|one| one.name.as_str()).take(5).collect();
        if !hang.is_empty() {
            names.push(format!("nodes below it report through it ({}): move or remove them first", hang.join(", ")));
        }
        let wishes = self.wishes(seen.node).await?;
        if !wishes.settings.is_empty() {
            let keys: Vec<&str> = wishes.settings.keys().map(String::as_str).take(5).collect();
            let name = &seen.name;
            names.push(format!(
                "settings are wished of it ({}): take them back first, `waystation nodes config {name} --unset KEY`",
                keys.join(", ")
            ));
        }
        Ok(names)
    }

    /// For whom a node below may read: for everybody, itself, and those below it.
    pub async fn audiences_of(&self, node: NodeId) -> Result<Audiences, Error> {
        let mut audiences = BTreeSet::from([Audience::EVERYBODY, Audience::node(node)]);
        audiences.extend(self.shared.store.below().via(node).await?.into_iter().map(Audience::node));
        Ok(Arc::new(audiences))
    }
}

fn of_member(member: &Member, told: Option<(&NodeSaid, Timestamp)>, every: Duration, now: Timestamp) -> Status {
    match (member.standing, member.gone.as_deref()) {
        (Standing::Waiting | Standing::Revoked, _) => Status::Outside,
        (Standing::Member, Some("uninstalled")) => Status::Uninstalled,
        (Standing::Superseded, _) | (Standing::Member, Some(_)) => Status::Invalid,
        (Standing::Member, None) => told.map_or(Status::Offline, |(said, heard)| {
            let said = NodeSaid { gone: None, ..said.clone() };
            status(&said, heard, 1, every, now)
        }),
    }
}
