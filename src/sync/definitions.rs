//! The lane of definition updates: they come several times a day, and each makes the one before it superfluous.
//!
//! 1. Of Microsoft only they are listed, for the products of the filters, which are checked as in a whole run, with an anchor of their own; the other lists and anchors are
//!    left alone, but where a definition needs what is not held: then categories and detectoids are listed, and what else it needs
//!    ([`beyond`]). A WSUS gives everything as one list, so that a run of this lane is one like the others there.
//! 2. Of each product the newest are kept of those that nobody approved; what is withdrawn or superseded counts as older than what is not, and so does what is
//!    dated more than a day ahead of the node's clock. The others go, unless something that stays needs them. What a
//!    person approved stays beside them.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::time::Timestamp;
use crate::model::filter::{self, known};
use crate::model::policy::Word;
use crate::model::update::{CategoryKind, UpdateId};
use crate::store::catalog::{Counts, PAGE_MAX, Query, Standing, State, Upstream, UpstreamKind};
use crate::sync::error::Error;
use crate::sync::plan::{self, DEFINITIONS};
use crate::sync::progress::Step;
use crate::sync::run::Work;
use crate::sync::{Runner, beyond};

impl Runner {
    /// Whether a run of the lane would find no catalog that it could add to: of Microsoft it lists definition updates alone.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub async fn is_too_early_for_definitions(&self) -> Result<bool, Error> {
        let upstream = self.upstream();
        Ok(upstream.kind == UpstreamKind::Microsoft && has_none(&self.standing().await?, upstream))
    }
}

/// Whether there is no catalog of this upstream that came whole once.
fn has_none(standing: &Standing, upstream: &Upstream) -> bool {
    standing.arriving.is_some() || standing.upstream.as_ref() != Some(upstream)
}

impl Work<'_> {
    /// Step 1 for Microsoft, then step 2.
    pub(in crate::sync) async fn definitions(&mut self) -> Result<(), Error> {
        self.board.step(Step::Asking, 0);
        let standing = self.catalog.standing().await?;
        if has_none(&standing, &self.shared.upstream) {
            return Err(Error::Early);
        }
        let tree = self.catalog.tree().await?;
        let (filters, _) = self.chosen(&tree)?;
        let config = self.until_stopped(self.shared.wsus.config(None)).await?;
        self.at_once = config.updates_max;
        let classifications = BTreeSet::from([known::DEFINITION_UPDATES]);
        let wanted = filter::Wanted { classifications, ..filters.wanted(&tree) };
        let name = plan::definitions_name(&wanted);
        // Where it has no anchor yet, that of a whole list that had these updates: what such a run let go of does not come again.
        let former = self.former(&name, &wanted).await?;
        let former = former.filter(|(known, _)| known.classifications.is_superset(&wanted.classifications));
        let ask = |own: Option<String>| match (own, &former) {
            (Some(anchor), _) => plan::asked(&wanted, Some(&wanted), Some(anchor)),
            (None, Some((known, anchor))) => plan::asked(&wanted, Some(known), Some(anchor.clone())),
            (None, None) => plan::asked(&wanted, None, None),
        };
        self.list(&name, Step::ListingUpdates, Step::FetchingUpdates, ask).await?;
        for set in self.catalog.standing().await?.sets {
            if set.name != name && set.name.starts_with(DEFINITIONS) {
                self.catalog.forget_set(set.name).await?;
            }
        }
        // A definition may need a product or a detectoid that is as new as itself: without it no agent would take it for its own.
        if beyond::is_new(self).await? {
            self.categories().await?;
        }
        if beyond::is_new(self).await? {
            beyond::fetch(self, None).await?;
        }
        self.again().await?;
        self.let_go().await?;
        self.until_stopped(self.catalog.sweep()).await
    }

    /// Step 2, where the lane is on.
    pub(in crate::sync) async fn let_go(&self) -> Result<(), Error> {
        let Some(lane) = &self.shared.definitions else { return Ok(()) };
        self.board.step(Step::Tidying, 0);
        let mut products: BTreeMap<UpdateId, Vec<(UpdateId, Timestamp, bool)>> = BTreeMap::new();
        let mut of: BTreeMap<UpdateId, Vec<UpdateId>> = BTreeMap::new();
        let mut after = None;
        let tree = self.catalog.tree().await?;
        let is_product = |id| tree.get(id).is_some_and(|category| category.kind == CategoryKind::Product);
        loop {
            let query = Query {
                classification: Some(known::DEFINITION_UPDATES),
                // What a person approved stays whatever comes, and takes no place of one that comes by itself.
                decisions: vec![None, Some(Word::Declined)],
                limit: PAGE_MAX,
                after,
                ..Query::default()
            };
            let page = self.until_stopped(self.catalog.search(query)).await?;
            for hit in page.hits {
                let id = hit.summary.identity.id;
                let made = hit.summary.created.unwrap_or(Timestamp::from_ms(0));
                let is_offered = hit.state == State::Current;
                let own = hit.summary.categories.into_iter().filter(|category| is_product(*category));
                for product in own {
                    products.entry(product).or_default().push((id, made, is_offered));
                    of.entry(id).or_default().push(product);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let now = self.shared.clock.now();
        let surplus: BTreeMap<UpdateId, BTreeSet<UpdateId>> =
            products.into_iter().map(|(product, known)| (product, lane.beyond(known, now))).collect();
        // One that is among the newest of any of its products stays.
        let is_surplus = |id: &UpdateId, product: &UpdateId| surplus.get(product).is_some_and(|ids| ids.contains(id));
        let doomed: Vec<UpdateId> = of
            .into_iter()
            .filter(|(id, products)| products.iter().all(|product| is_surplus(id, product)))
            .map(|(id, _)| id)
            .collect();
        if doomed.is_empty() {
            return Ok(());
        }
        let pruned = self.until_stopped(self.catalog.let_go(doomed, true, Some(self.board.run()))).await?;
        tracing::info!(updates = pruned, keep = lane.keep, "older definition updates were let go of");
        // The catalog has counted them in the history.
        self.board.count(Counts { pruned, ..Counts::default() });
        Ok(())
    }
}
