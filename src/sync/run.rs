//! One run from its beginning to its end: steps 1 to 6 of this room's head.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use crate::model::filter::{self, Filters, Tree};
use crate::model::update::Identity;
use crate::store::catalog::{Catalog, Counts, RunKind, Set, UpstreamKind};
use crate::sync::error::Error;
use crate::sync::plan::{self, BEYOND, CATEGORIES, DEFINITIONS, EVERYTHING};
use crate::sync::progress::{Board, Step};
use crate::sync::{Shared, beyond};
use crate::upstream::wsus::{self, Wanted, Wsus};

/// How often in one run an upstream may say that it is another one than before.
const RESETS_MAX: u32 = 2;

/// Identities that go onto the work list at a time; between two of them a run can be stopped.
const LIST_STEP: usize = 10_000;

/// Where the filters that an anchor is of lie among the store's documents.
const FILTERS_OF: &str = "sync.filters-of.";

/// Filters that were left out and are told of; a person looks at the first ones.
const LEFT_OUT_TOLD_MAX: usize = 5;

/// What is wrong with filters, in one text.
fn told(wrong: &[filter::Error]) -> String {
    let mut told: Vec<String> = wrong.iter().take(LEFT_OUT_TOLD_MAX).map(ToString::to_string).collect();
    if wrong.len() > told.len() {
        told.push(format!("and {} more", wrong.len() - told.len()));
    }
    told.join("; ")
}

/// A run under way.
pub(in crate::sync) struct Work<'a> {
    pub(in crate::sync) shared: &'a Shared,
    /// Who is asked.
    pub(in crate::sync) wsus: &'a Wsus,
    pub(in crate::sync) catalog: Catalog,
    pub(in crate::sync) board: Arc<Board>,
    pub(in crate::sync) cancel: CancellationToken,
    /// Revisions that the upstream takes in one question.
    pub(in crate::sync) at_once: u32,
    /// A list had items that cannot be read, so that nothing is known of what they name.
    has_bad_items: AtomicBool,
}

impl<'a> Work<'a> {
    pub(in crate::sync) fn new(
        shared: &'a Shared,
        wsus: &'a Wsus,
        board: Arc<Board>,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            shared,
            wsus,
            catalog: shared.store.catalog(),
            board,
            cancel,
            at_once: 0,
            has_bad_items: AtomicBool::new(false),
        }
    }

    /// The whole run. Begins anew where the upstream turns out to be another one than before.
    pub(in crate::sync) async fn finish(mut self, kind: RunKind) -> Result<(), Error> {
        let mut resets = 0;
        let keep = self.shared.definitions.as_ref().map(|lane| lane.keep);
        self.catalog.let_go_under(keep, plan::has_definitions).await?;
        loop {
            let ended = match (kind, self.shared.upstream.kind) {
                (RunKind::Definitions, UpstreamKind::Microsoft) => self.definitions().await,
                _ => self.phases().await,
            };
            let why = match ended {
                Err(Error::Upstream(wsus::Error::ServerChanged { why, .. })) => why,
                other => return other,
            };
            resets += 1;
            if resets > RESETS_MAX {
                return Err(Error::Unsteady { why });
            }
            tracing::warn!(
                upstream = self.wsus.label(),
                why,
                "the upstream is not what it was: everything is listed anew"
            );
            self.catalog.reset_anchors().await?;
            beyond::forget(&self.shared.store).await?;
        }
    }

    async fn phases(&mut self) -> Result<(), Error> {
        self.board.step(Step::Asking, 0);
        if self.catalog.begin_upstream(self.shared.upstream.clone()).await? {
            beyond::forget(&self.shared.store).await?;
        }
        // Without the anchor of a former answer, which is optional (MS-WSUSSS 3.1.4.4): it spares the server nothing but languages that
        // did not change, of which nothing is kept here; limits come with every answer, and those of now are gone by.
        let config = self.until_stopped(self.wsus.config(None)).await?;
        self.at_once = config.updates_max;
        let mut found_by = None;
        self.again().await?;
        self.categories().await?;
        if self.shared.upstream.kind == UpstreamKind::Microsoft {
            let tree = self.catalog.tree().await?;
            let (filters, is_whole) = self.chosen(&tree)?;
            let wanted = filters.wanted(&tree);
            let is_other = self.filtered(&wanted).await?;
            beyond::fetch(self, is_other.then_some(wanted)).await?;
            self.forget_lane().await?;
            found_by = Some((filters, is_whole));
        } else {
            let everything = |anchor| Wanted { anchor, ..Wanted::default() };
            self.list(EVERYTHING, Step::ListingUpdates, Step::FetchingUpdates, everything).await?;
            self.forget_others(EVERYTHING).await?;
            self.catalog.forget_set(BEYOND.to_owned()).await?;
        }
        self.tidy().await?;
        self.let_go().await?;
        match found_by {
            Some((filters, is_whole)) => self.let_go_beyond(&filters, is_whole).await,
            None => Ok(()),
        }
    }

    /// The filters of now, and whether all of them mean something in this catalog; what does not is told in the history. Refuses
    /// those that find nothing, or everything.
    pub(in crate::sync) fn chosen(&self, tree: &Tree) -> Result<(Filters, bool), Error> {
        let (filters, left_out) = (self.shared.chosen)().in_force(tree);
        for error in &left_out {
            tracing::warn!(%error, "a filter is left out");
        }
        let told = told(&left_out);
        if let Err(error) = filters.check() {
            let why = if told.is_empty() { error.to_string() } else { told };
            return Err(Error::Filters { why });
        }
        if !told.is_empty() {
            self.board.note(format!("left out of the filters: {told}"));
        }
        Ok((filters, left_out.is_empty()))
    }

    /// Step 3 for categories and detectoids.
    pub(in crate::sync) async fn categories(&self) -> Result<(), Error> {
        let categories = |anchor| Wanted { categories: true, anchor, ..Wanted::default() };
        self.list(CATEGORIES, Step::ListingCategories, Step::FetchingCategories, categories).await
    }

    /// Without a lane nobody follows its list: what is left on it would be told as still to come, and a lane that begins again has to be
    /// given what went meanwhile.
    async fn forget_lane(&self) -> Result<(), Error> {
        if self.shared.definitions.is_some() {
            return Ok(());
        }
        for set in self.catalog.standing().await?.sets {
            if set.name.starts_with(DEFINITIONS) {
                self.catalog.forget_set(set.name).await?;
            }
        }
        Ok(())
    }

    /// Step 3 for filters. Says whether they are others than those of the run before.
    async fn filtered(&self, wanted: &filter::Wanted) -> Result<bool, Error> {
        let name = plan::name_of(wanted);
        let is_other = self.set(&name).await?.anchor.is_none();
        let former = self.former(&name, wanted).await?;
        let record = serde_json::to_vec(wanted).map_err(|error| Error::Broken(error.to_string()))?;
        self.shared.store.set_document(&format!("{FILTERS_OF}{name}"), Some(record)).await?;
        let ask = |own: Option<String>| match (own, &former) {
            (Some(anchor), _) => plan::asked(wanted, Some(wanted), Some(anchor)),
            (None, Some((known, anchor))) => plan::asked(wanted, Some(known), Some(anchor.clone())),
            (None, None) => plan::asked(wanted, None, None),
        };
        self.list(&name, Step::ListingUpdates, Step::FetchingUpdates, ask).await?;
        self.forget_others(&name).await?;
        Ok(is_other)
    }

    /// Other filters, the list of which was committed to its end, and their anchor: what these have in common with them need not be
    /// listed anew.
    pub(in crate::sync) async fn former(
        &self,
        name: &str,
        wanted: &filter::Wanted,
    ) -> Result<Option<(filter::Wanted, String)>, Error> {
        for set in self.catalog.standing().await?.sets {
            let Some(anchor) = set.anchor.filter(|anchor| !anchor.is_empty()) else { continue };
            if set.name == name || !plan::is_of_updates(&set.name) {
                continue;
            }
            let Some(record) = self.shared.store.document(&format!("{FILTERS_OF}{}", set.name)).await? else {
                continue;
            };
            // One that cannot be read costs a longer list and nothing else.
            let Ok(known) = serde_json::from_slice::<filter::Wanted>(&record) else { continue };
            if plan::can_follow(wanted, &known) {
                return Ok(Some((known, anchor)));
            }
        }
        Ok(None)
    }

    /// The anchors of other filters are of no use any more.
    async fn forget_others(&self, name: &str) -> Result<(), Error> {
        for set in self.catalog.standing().await?.sets {
            if set.name != name && plan::is_of_updates(&set.name) {
                self.shared.store.set_document(&format!("{FILTERS_OF}{}", set.name), None).await?;
                self.catalog.forget_set(set.name).await?;
            }
        }
        Ok(())
    }
    /// Steps 3 and 4 for one list: what a former run left of it, then what the upstream says now.
    pub(in crate::sync) async fn list(
        &self,
        set: &str,
        listing: Step,
        fetching: Step,
        wanted: impl Fn(Option<String>) -> Wanted,
    ) -> Result<(), Error> {
        let left = self.set(set).await?;
        if left.pending.is_some() && left.listed {
            self.fetch(set, fetching).await?;
        }
        let anchor = self.set(set).await?.anchor.filter(|anchor| !anchor.is_empty());
        let is_news = anchor.is_some();
        let (named, anchor) = self.ask(listing, &wanted(anchor)).await?;
        self.put_in(set, anchor, &plan::in_order(plan::highest(named)), is_news).await?;
        self.fetch(set, fetching).await
    }

    /// What was refused may come well now, and what was pardoned is on no list.
    pub(in crate::sync) async fn again(&self) -> Result<(), Error> {
        let (set, wanted) = self.catalog.list_again().await?;
        if wanted > 0 { self.fetch(&set, Step::FetchingAgain).await } else { Ok(()) }
    }

    /// A list as the upstream gives it, and its anchor.
    pub(in crate::sync) async fn ask(
        &self,
        step: Step,
        wanted: &Wanted,
    ) -> Result<(Vec<Identity>, Option<String>), Error> {
        self.board.step(step, 0);
        let (named, listed) = self.until_stopped(self.wsus.revisions(wanted, Vec::new())).await?;
        if listed.bad > 0 {
            self.has_bad_items.store(true, Ordering::Relaxed);
            let first = listed.bad_told.first().map_or("", String::as_str);
            tracing::warn!(upstream = self.wsus.label(), items = listed.bad, first, "a list has items that are none");
            self.count(Counts { errors: listed.bad, ..Counts::default() }).await?;
        }
        Ok((named, listed.anchor))
    }

    /// Puts a list onto the work list. One without an anchor is asked from its beginning the next time.
    pub(in crate::sync) async fn want(
        &self,
        set: &str,
        anchor: Option<String>,
        identities: &[Identity],
    ) -> Result<(), Error> {
        self.put_in(set, anchor, identities, false).await
    }

    async fn put_in(
        &self,
        set: &str,
        anchor: Option<String>,
        identities: &[Identity],
        is_news: bool,
    ) -> Result<(), Error> {
        self.catalog.open_list(set.to_owned(), anchor.unwrap_or_default()).await?;
        for step in identities.chunks(LIST_STEP) {
            if self.cancel.is_cancelled() {
                return Err(Error::Stopped);
            }
            let (set, step) = (set.to_owned(), step.to_vec());
            if is_news {
                self.catalog.list_news(set, step).await?
            } else {
                self.catalog.list(set, step).await?
            };
        }
        if plan::is_of_updates(set) {
            // A work list that was given up, with other filters or an upstream that was reset, may have had them.
            self.catalog.list_members(set.to_owned()).await?;
        }
        self.catalog.close_list(set.to_owned()).await?;
        Ok(())
    }

    /// Step 6.
    async fn tidy(&self) -> Result<(), Error> {
        self.board.step(Step::Tidying, 0);
        if self.has_bad_items.load(Ordering::Relaxed) {
            // What they name may be held from before: a run whose lists can all be read decides.
            self.board.note(
                "a list had items that cannot be read: what the upstream does not name any more stays for now"
                    .to_owned(),
            );
            return self.until_stopped(self.catalog.sweep()).await;
        }
        if self.catalog.settle_upstream().await? {
            tracing::info!(upstream = self.wsus.label(), "the catalog is this upstream's now");
        }
        let pruned = self.until_stopped(self.catalog.prune(Some(self.board.run()))).await?;
        // The catalog has counted them in the history.
        self.board.count(Counts { pruned, ..Counts::default() });
        self.until_stopped(self.catalog.sweep()).await
    }

    /// What is known of a list.
    pub(in crate::sync) async fn set(&self, name: &str) -> Result<Set, Error> {
        let sets = self.catalog.standing().await?.sets;
        let found = sets.into_iter().find(|set| set.name == name);
        Ok(found.unwrap_or_else(|| Set { name: name.to_owned(), ..Set::default() }))
    }

    /// Counts what the catalog does not count itself.
    pub(in crate::sync) async fn count(&self, counts: Counts) -> Result<(), Error> {
        self.board.count(counts);
        Ok(self.catalog.add_to_run(self.board.run(), counts).await?)
    }

    /// What is waited for until somebody stops the run.
    pub(in crate::sync) async fn until_stopped<T, E: Into<Error>>(
        &self,
        what: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::Stopped),
            done = what => done.map_err(Into::into),
        }
    }
}
