//! Records of what was decided, as the authority makes them.
//!
//! 1. Words and reviews stand in the catalog's change log: they are made with decisions, update by update ([`of_updates`]).
//! 2. The rest has one clock, or none: it is compared as a whole when that moved, or after a while ([`Fleet::step`]). Which of these are told is
//!    kept beside the feed, so that what went can be told as gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::chain::error::Error;
use crate::chain::records::Made;
use crate::chain::said::is_decision;
use crate::model::chain::record::Kind;
use crate::model::update::UpdateId;
use crate::store::Store;
use crate::wire::peer::body::fleet::{
    Reviewed, Word, id_key, write_group, write_licence, write_placement, write_policy, write_words,
};

/// Where the keys of what is told stand.
const TOLD: &str = "chain.fleet-told";
/// Kind and id.
const ROW: usize = 17;
/// How often what has no clock is looked at: policies.
const LOOK: Duration = Duration::from_secs(5);

/// What was said of these updates, and how far their reviews are.
pub(in crate::chain) async fn of_updates(store: &Store, mut ids: Vec<UpdateId>, made: &mut Made) -> Result<(), Error> {
    ids.sort_unstable();
    ids.dedup();
    let approvals = store.approvals();
    let mut words: BTreeMap<UpdateId, Vec<Word>> = BTreeMap::new();
    for kept in approvals.of(ids.clone()).await?.into_iter().filter(|kept| !is_decision(kept)) {
        let (approval, all_files, why) = (kept.approval, kept.all_files, kept.why);
        let word = Word { target: approval.target, said: approval.said, all_files, by: approval.by, why };
        words.entry(approval.update).or_default().push(word);
    }
    let reviews: BTreeMap<UpdateId, Reviewed> = approvals
        .reviews(ids.clone())
        .await?
        .into_iter()
        .map(|step| {
            let (review, by) = (step.reviewed.review, step.reviewed.by);
            (step.update, Reviewed { review, by, why: step.why })
        })
        .collect();
    for id in ids {
        match words.get(&id) {
            Some(words) => made.set(Kind::Approval, id_key(id), write_words(words))?,
            None => made.gone(Kind::Approval, id_key(id)),
        }
        match reviews.get(&id) {
            Some(review) => made.set(Kind::Review, id_key(id), review.write())?,
            None => made.gone(Kind::Review, id_key(id)),
        }
    }
    Ok(())
}

/// Kind and id of something that is told.
type Key = (u8, UpdateId);

/// What is told beside words and reviews.
#[derive(Debug, Default)]
pub(in crate::chain) struct Fleet {
    told: BTreeSet<Key>,
    clock: Option<u64>,
    looked: Option<Instant>,
}

/// What [`Fleet::step`] made.
pub(in crate::chain) struct Step {
    /// The records.
    pub(in crate::chain) made: Made,
    now: BTreeSet<Key>,
    clock: u64,
}

impl Fleet {
    /// As it was; `None` where nothing was ever told: words and reviews were not either.
    pub(in crate::chain) async fn open(store: &Store) -> Result<Option<Self>, Error> {
        let Some(bytes) = store.document(TOLD).await? else { return Ok(None) };
        let key = |row: &[u8]| {
            let (kind, id) = row.split_first()?;
            Some((*kind, UpdateId::new(id.try_into().ok()?)))
        };
        Ok(Some(Self { told: bytes.chunks_exact(ROW).filter_map(key).collect(), ..Self::default() }))
    }

    async fn keep(&self, store: &Store, told: &BTreeSet<Key>) -> Result<(), Error> {
        let rows = told.iter().flat_map(|(kind, id)| std::iter::once(*kind).chain(*id.bytes()));
        Ok(store.set_document(TOLD, Some(rows.collect())).await?)
    }

    /// Records of all that there is, and tombstones of what went; `None` where nothing has changed.
    pub(in crate::chain) async fn step(&mut self, store: &Store) -> Result<Option<Step>, Error> {
        let approvals = store.approvals();
        let clock = approvals.shared().await?.clock;
        let is_late = self.looked.is_none_or(|looked| looked.elapsed() >= LOOK);
        if self.clock == Some(clock) && !is_late {
            return Ok(None);
        }
        self.looked = Some(Instant::now());
        let (mut made, mut now) = (Made::default(), BTreeSet::new());
        if self.clock == Some(clock) {
            now.extend(self.told.iter().filter(|(kind, _)| *kind != Kind::Policy.number()));
        } else {
            let tree = approvals.tree().await?;
            for node in tree.groups.iter() {
                now.insert((Kind::Group.number(), node.id.0));
                let by = tree.by.get(&node.id).map_or("", |(by, _)| by.as_str());
                made.set(Kind::Group, id_key(node.id.0), write_group(node, by))?;
            }
            for accepted in approvals.licences().await? {
                made.set(Kind::Licence, id_key(accepted.eula), write_licence(&accepted.by))?;
            }
            for (endpoint, groups) in approvals.members().await? {
                now.insert((Kind::Placement.number(), endpoint.0));
                made.set(Kind::Placement, id_key(endpoint.0), write_placement(&groups))?;
            }
        }
        for (group, policy) in approvals.policies().await? {
            now.insert((Kind::Policy.number(), group.0));
            made.set(Kind::Policy, id_key(group.0), write_policy(&policy.own, &policy.by))?;
        }
        for (kind, id) in self.told.difference(&now) {
            if let Some(kind) = Kind::of_number(*kind) {
                made.gone(kind, id_key(*id));
            }
        }
        let all: BTreeSet<Key> = self.told.union(&now).copied().collect();
        if all != self.told || self.clock.is_none() {
            // Before they are told: a tombstone of what never was told is none.
            self.keep(store, &all).await?;
            self.told = all;
        }
        Ok(Some(Step { made, now, clock }))
    }

    /// They were told.
    pub(in crate::chain) async fn done(
        &mut self,
        store: &Store,
        now: BTreeSet<(u8, UpdateId)>,
        clock: u64,
    ) -> Result<(), Error> {
        if self.told != now {
            self.keep(store, &now).await?;
            self.told = now;
        }
        self.clock = Some(clock);
        Ok(())
    }
}

impl Step {
    /// The records, and what [`Fleet::done`] wants.
    pub(in crate::chain) fn parts(self) -> (Made, BTreeSet<(u8, UpdateId)>, u64) {
        (self.made, self.now, self.clock)
    }
}
