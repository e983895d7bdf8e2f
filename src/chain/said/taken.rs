//! What the authority decided, as a replica takes it.
//!
//! 1. Groups come first, all that changed together: only the whole of them is a tree ([`Taker::groups`]).
//! 2. Then words, several updates at once where the same was said, reviews, licences, policies, placements ([`Taker::take`]).
//! 3. The first time what is of this node alone goes at the end ([`Taker::settle`]).

use crate::chain::error::Error;
use crate::chain::said::is_decision;
use crate::model::chain::record::Kind;
use crate::model::compliance::inherit::Own;
use crate::model::deployment::{Endpoint, Said, Target};
use crate::model::policy::Group;
use crate::model::update::UpdateId;
use crate::store::approvals::{PAGE_MAX, SAID_MAX, Saying};
use crate::store::catalog::Deciding;
use crate::store::feed::Told;
use crate::store::{self, Store};
use crate::wire::peer::body::fleet::{
    Reviewed, id_key, of_id_key, read_group, read_licence, read_placement, read_policy, read_words,
};

/// Who it is that decides, where no name came with it.
const BY: &str = "the authority";

/// Takes decisions into a store.
pub(in crate::chain) struct Taker<'a> {
    store: &'a Store,
    sayings: Vec<Saying>,
}

/// What the store does not take, as the tree of groups would be none: it is told, and the rest goes on.
fn heard(what: &'static str, taken: Result<(), store::Error>) -> Result<(), Error> {
    match taken {
        Err(store::Error::Invalid { what: why }) => {
            tracing::error!(why, what, "what the authority decided is not taken here");
            Ok(())
        }
        other => Ok(other?),
    }
}

impl<'a> Taker<'a> {
    pub(in crate::chain) fn new(store: &'a Store) -> Self {
        Self { store, sayings: Vec::new() }
    }

    async fn body(&self, kind: Kind, id: UpdateId) -> Result<Option<bytes::Bytes>, Error> {
        let record = self.store.feed().record(kind.number(), id_key(id).to_vec()).await?;
        Ok(record.map(|record| record.body().clone()))
    }

    /// Step 1.
    pub(in crate::chain) async fn groups(&self, told: &[Told]) -> Result<(), Error> {
        let (mut put, mut gone) = (Vec::new(), Vec::new());
        for one in told {
            let id = of_id_key(&one.key)?;
            match self.body(Kind::Group, id).await? {
                Some(body) => put.push(read_group(Group(id), &body)?),
                None => gone.push(Group(id)),
            }
        }
        let taken = self.store.approvals().take_groups(put, gone).await;
        heard("groups", taken.map(drop))
    }

    /// Step 2 of one record; words wait for [`Self::say`].
    pub(in crate::chain) async fn take(&mut self, kind: Kind, key: &[u8]) -> Result<(), Error> {
        let (approvals, id) = (self.store.approvals(), of_id_key(key)?);
        let body = self.body(kind, id).await?;
        match (kind, body) {
            (Kind::Approval, body) => {
                let words = body.map(|body| read_words(&body)).transpose()?.unwrap_or_default();
                let had = approvals.of(vec![id]).await?;
                for kept in had.iter().filter(|kept| !is_decision(kept)) {
                    let target = kept.approval.target;
                    if !words.iter().any(|word| word.target == target) {
                        self.add(id, target, Said::Inherit, false, (BY.into(), String::new()));
                    }
                }
                for word in words {
                    self.add(id, word.target, word.said, word.all_files, (word.by, word.why));
                }
            }
            (Kind::Review, Some(body)) => {
                let Reviewed { review, by, why } = Reviewed::read(&body)?;
                heard("a review", approvals.review(vec![id], review, by, why).await.map(drop))?;
            }
            (Kind::Licence, Some(body)) => {
                heard("a licence", approvals.accept(vec![id], read_licence(&body)?).await.map(drop))?;
            }
            (Kind::Policy, body) => {
                let (own, by) =
                    body.map(|body| read_policy(&body)).transpose()?.unwrap_or_else(|| (Own::default(), BY.into()));
                let before = approvals.policies().await?.get(&Group(id)).map(|policy| policy.own).unwrap_or_default();
                if own != before {
                    heard("a policy", approvals.set_policy(Group(id), own, by).await)?;
                }
            }
            (Kind::Placement, body) => {
                let groups = body.map(|body| read_placement(&body)).transpose()?.unwrap_or_default();
                heard("a placement", approvals.place(vec![Endpoint(id)], groups, BY.into()).await.map(drop))?;
            }
            // What was reviewed or accepted once stays so.
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, update: UpdateId, target: Target, said: Said, all_files: bool, (by, why): (String, String)) {
        let saying = Saying { updates: vec![update], targets: vec![target], said, all_files, by, why };
        let is_same = |other: &&mut Saying| {
            other.updates.len() < SAID_MAX
                && (&other.targets, other.said, other.all_files) == (&saying.targets, saying.said, saying.all_files)
                && (&other.by, &other.why) == (&saying.by, &saying.why)
        };
        match self.sayings.iter_mut().find(is_same) {
            Some(other) => other.updates.push(update),
            None => self.sayings.push(saying),
        }
    }

    /// Writes the words that were taken.
    pub(in crate::chain) async fn say(&mut self) -> Result<(), Error> {
        for saying in std::mem::take(&mut self.sayings) {
            heard("an approval", self.store.approvals().say(saying).await.map(drop))?;
        }
        Ok(())
    }

    /// Step 3: decisions, words, placements, policies and groups of which the authority says nothing.
    pub(in crate::chain) async fn settle(&mut self) -> Result<(), Error> {
        let (approvals, catalog) = (self.store.approvals(), self.store.catalog());
        let mut after = None;
        loop {
            let (page, next) = approvals.page(after, PAGE_MAX).await?;
            let mut reset = Vec::new();
            for kept in page {
                let update = kept.approval.update;
                if is_decision(&kept) {
                    if self.body(Kind::Decision, update).await?.is_none() {
                        reset.push(update);
                    }
                } else if self.body(Kind::Approval, update).await?.is_none() {
                    self.add(update, kept.approval.target, Said::Inherit, false, (BY.into(), String::new()));
                }
            }
            for step in reset.chunks(SAID_MAX) {
                catalog.decide(step.to_vec(), Deciding::Reset, BY.into(), String::new()).await?;
            }
            self.say().await?;
            after = next;
            if after.is_none() {
                break;
            }
        }
        for (endpoint, _) in approvals.members().await? {
            if self.body(Kind::Placement, endpoint.0).await?.is_none() {
                approvals.place(vec![endpoint], vec![], BY.into()).await?;
            }
        }
        for group in approvals.policies().await?.into_keys() {
            if self.body(Kind::Policy, group.0).await?.is_none() {
                approvals.set_policy(group, Own::default(), BY.into()).await?;
            }
        }
        let mut gone = Vec::new();
        for node in approvals.tree().await?.groups.iter().map(|node| node.id).collect::<Vec<_>>() {
            if self.body(Kind::Group, node.0).await?.is_none() {
                gone.push(node);
            }
        }
        heard("groups", approvals.take_groups(vec![], gone).await.map(drop))
    }
}
