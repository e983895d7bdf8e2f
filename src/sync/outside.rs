//! What narrower filters do not find any more: it stays, as a WSUS server keeps it, unless an administrator has it let go of.
//!
//! 1. Only at the end of a run that has listed everything by the filters of now, and forgotten the anchors of others: an update that
//!    is let go of is on no list from an anchor, and filters that are widened again must list it whole.
//! 2. Only where every filter means something: one that is left out would let go of all that it found.
//! 3. What a person approved stays, and so does what another update bundles or requires.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::filter::{self, Filters, known};
use crate::model::update::UpdateId;
use crate::store::catalog::{Counts, PAGE_MAX, Query};
use crate::sync::beyond;
use crate::sync::error::Error;
use crate::sync::plan::{self, DEFINITIONS};
use crate::sync::progress::Step;
use crate::sync::run::Work;

impl Work<'_> {
    /// Steps 1 to 3, where it is wanted. `filters` are those that were listed, and `is_whole` says that none was left out of them.
    pub(in crate::sync) async fn let_go_beyond(&self, filters: &Filters, is_whole: bool) -> Result<(), Error> {
        if !self.shared.prune_beyond {
            return Ok(());
        }
        self.board.step(Step::Tidying, 0);
        if !is_whole {
            tracing::warn!("what the filters do not find stays, since one of them means nothing in this catalog");
            return Ok(());
        }
        let wanted = self.shared.with_lane(filters.clone()).wanted(&*self.catalog.tree().await?);
        let doomed = self.beyond(wanted.clone()).await?;
        if doomed.is_empty() {
            return Ok(());
        }
        // Before anything goes: the lane of definition updates follows no list that had more.
        let classifications = BTreeSet::from([known::DEFINITION_UPDATES]);
        let own = plan::definitions_name(&filter::Wanted { classifications, ..wanted });
        for set in self.catalog.standing().await?.sets {
            if set.name.starts_with(DEFINITIONS) && set.name != own {
                self.catalog.forget_set(set.name).await?;
            }
        }
        let many = doomed.len();
        // Not for good: filters that are widened again list all that they find.
        let pruned = self.until_stopped(self.catalog.let_go(doomed, false, Some(self.board.run()))).await?;
        beyond::forget_gone(&self.shared.store).await?;
        tracing::info!(updates = pruned, beyond = many, "updates that the filters do not find were let go of");
        // The catalog has counted them in the history.
        self.board.count(Counts { pruned, ..Counts::default() });
        self.until_stopped(self.catalog.sweep()).await
    }

    /// Updates that can be approved and that the filters do not find.
    async fn beyond(&self, wanted: filter::Wanted) -> Result<Vec<UpdateId>, Error> {
        let mut query = Query { beyond: Some(Arc::new(wanted)), limit: PAGE_MAX, ..Query::default() };
        let mut found = Vec::new();
        loop {
            let page = self.until_stopped(self.catalog.search(query.clone())).await?;
            found.extend(page.hits.into_iter().map(|hit| hit.summary.identity.id));
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(found),
            }
        }
    }
}
