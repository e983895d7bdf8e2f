//! The catalog: which updates there are, what they consist of, and how far an upstream has told of them.
//!
//! What it promises:
//! - A revision is there whole or not at all; a higher one takes the place of a lower one in one transaction.
//! - An anchor is never ahead of what is committed, wherever the power goes; a run goes on where it was cut off.
//! - A revision number means one revision for ever, and the clock of the change log only goes up.
//! - What an upstream that proves nothing says never takes the place of what one that does has said of the same thing.
//! - No transaction is large, so that a publish never waits long for a sync; no text of tens of MB is held whole.
//!
//! How a revision goes through it, each step in the file named:
//! 1. A list names it: it is wanted, unless it is held (`work`, `along`).
//! 2. Its texts come as values, the large ones in pieces (`blobs`).
//! 3. It is checked and packed (`prepare`, `facts`; `pack` for the dictionaries), and committed with others (`import`).
//! 4. The transaction puts it in the place of what it replaces (`apply`), with the rows by which it is found (`relate`),
//!    takes it off the work list, moves the anchor if it was the last one, and counts it in the run (`runs`).
//! 5. It is looked up (`look`; what it says of an object that is to be proven, `mentions`; whether a file is still of use,
//!    `live`) and searched for (`search`, `lines`), read, and told to others by the change log.
//! 6. When the upstream changes, what the new one does not have goes at last (`upstream`); what a rule keeps no longer goes at once
//!    (`let_go`).
//! 7. What came from who proves nothing may be vouched for later, or refused, with what that means for its files (`trust`).
//!
//! Beside what was published stands what this node makes of it: decisions of people (`decisions`), what endpoints asked for
//! (`asked`), and the files that are wanted by the content policy (`wanted`). Who holds the relations of all updates in memory reads them
//! through `related`.
//!
//! What was published can all be had from an upstream again: a rebuild of the index begins with an empty catalog. Tables and rows are in
//! `tables`, what goes in and comes out in `value`, runs of the history in `history`.

mod along;
pub(crate) mod apply;
mod asked;
mod blobs;
mod circle;
pub(crate) mod decisions;
pub(crate) mod facts;
mod gone;
mod history;
mod import;
mod let_go;
mod lines;
pub(crate) mod live;
mod look;
pub(crate) mod mentions;
mod missing;
mod pack;
mod prepare;
mod relate;
mod related;
mod runs;
mod search;
pub(crate) mod tables;
mod trust;
mod upstream;
mod value;
mod views;
mod wanted;
mod work;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::base::digest::{Digest, Sha1};
use crate::model::filter::Tree;
use crate::model::name::Name;
use crate::model::policy::{Decision, Verdict};
use crate::model::relations::{Target, Whole};
use crate::model::update::{Identity, Kind, UpdateId};
use crate::store::catalog::asked::Lately;
use crate::store::catalog::blobs::Staging;
use crate::store::catalog::pack::Dictionaries;
use crate::store::catalog::search::Search;
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::pool::Pool;

pub use crate::store::catalog::blobs::{Reading, Stage, Staged};
pub use crate::store::catalog::decisions::{Deciding, Stance};
pub use crate::store::catalog::history::{Compared, Counts, Outcome, Run, RunKind, RunNote};
pub use crate::store::catalog::mentions::Mention;
pub use crate::store::catalog::related::Related;
pub use crate::store::catalog::search::PAGE_MAX;
pub use crate::store::catalog::trust::{Doubtful, Offered};
pub use crate::store::catalog::value::{
    Applied, Batch, Body, Change, Changes, Cursor, Decided, FileDigest, Hit, Incoming, KnownFile, Page, Part, Query,
    Refused, Revision, Set, Standing, State, Summary, Text, Upstream, UpstreamKind, Weight,
};
pub use crate::store::catalog::wanted::{Sift, Walk, WantedFile, WantedUpdate};

/// What the catalog keeps in memory.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    dictionaries: Arc<Dictionaries>,
    search: Arc<Search>,
    staging: Staging,
    asked: Lately,
    /// The tree of the categories, and the clock of the change log when it was made.
    tree: Mutex<Option<(u64, Arc<Tree>)>>,
}

impl Shared {
    /// See [`Catalog::keep_asked`]. Waits for nothing.
    pub(crate) fn asked(&self, name: &Name, bytes: u64) {
        self.asked.note(name, bytes);
    }
}

/// The catalog of a store; clones share it.
#[derive(Clone, Debug)]
pub struct Catalog {
    core: Arc<Core>,
}

impl Catalog {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn on<T: Send + 'static>(
        &self,
        pool: impl Fn(&Core) -> &Pool,
        job: impl FnOnce(&Arc<Core>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let core = Arc::clone(&self.core);
        pool(&self.core).run(move || job(&core)).await?
    }

    /// A look-up: soon done.
    async fn look<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Arc<Core>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.on(|core| &core.reads, job).await
    }

    /// A walk over many rows: must not hold up look-ups.
    async fn walk<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Arc<Core>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.on(|core| &core.long, job).await
    }

    async fn step<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Arc<Core>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.core.writable()?;
        self.on(|core| &core.syncing, job).await
    }

    /// How it stands: counts, upstream, anchors, lists.
    pub async fn standing(&self) -> Result<Standing, Error> {
        self.look(|core| core.standing()).await
    }

    // What a sync writes.

    /// From now on everything comes from `upstream`. Where that is another one than before, anchors and lists are
    /// forgotten, and what is held stays until [`Catalog::settle_upstream`]; says whether it is.
    pub async fn begin_upstream(&self, upstream: Upstream) -> Result<bool, Error> {
        self.step(move |core| core.begin_upstream(&upstream)).await
    }

    /// The first run from a new upstream is committed; says whether there was a new one. `Invalid` while a list is not done.
    pub async fn settle_upstream(&self) -> Result<bool, Error> {
        self.step(|core| core.settle_upstream()).await
    }

    /// Takes out what the upstream did not name since it is the upstream, unless what stays needs it; says how many updates
    /// went. Dropped, it stops soon.
    pub async fn prune(&self, run: Option<u64>) -> Result<u64, Error> {
        self.core.writable()?;
        let core = Arc::clone(&self.core);
        self.core.long.run_watched(move |wanted| core.prune(run, wanted)).await?
    }

    /// The upstream does not know our anchors any more: all of them, and the lists, are forgotten. What is held stays.
    pub async fn reset_anchors(&self) -> Result<(), Error> {
        self.step(|core| core.reset_sets(None)).await
    }

    /// A filter set is not used any more.
    pub async fn forget_set(&self, set: String) -> Result<(), Error> {
        self.step(move |core| core.reset_sets(Some(&set))).await
    }

    /// A list of a filter set is about to be put in; `pending` becomes the set's anchor when all of it is committed. What
    /// earlier lists left on the work list stays there.
    pub async fn open_list(&self, set: String, pending: String) -> Result<(), Error> {
        self.step(move |core| core.open_list(set, pending)).await
    }

    /// Puts part of the list in, in any order and in small transactions; says how many revisions are to be fetched. What is held is not, but
    /// counts as named by the upstream; what is quarantined is not either, unless this is another upstream, or one that proves itself.
    /// `Invalid` where no list is open.
    pub async fn list(&self, set: String, identities: Vec<Identity>) -> Result<u64, Error> {
        self.step(move |core| core.list_wanted(&set, identities, false)).await
    }

    /// The same for a list of what changed since the set's anchor. Who names a revision there says that it has it now: what was
    /// refused because it did not come, or came spoilt, is put in too, however often it was.
    pub async fn list_news(&self, set: String, identities: Vec<Identity>) -> Result<u64, Error> {
        self.step(move |core| core.list_wanted(&set, identities, true)).await
    }

    /// Puts members of bundles into the list that no list names: held bundles name them, and an earlier work list that they were
    /// on is gone. Says how many. `Invalid` where no list is open.
    pub async fn list_members(&self, set: String) -> Result<u64, Error> {
        self.step(move |core| core.list_members(&set)).await
    }

    /// Makes a work list of what was pardoned, and of what was refused and is to be asked for once more: at the next run, then ever
    /// more seldom. Says under which name and how many.
    pub async fn list_again(&self) -> Result<(String, u64), Error> {
        Ok((work::AGAIN.to_owned(), self.step(|core| core.list_again()).await?))
    }

    /// The list is all in; says whether the anchor moved at once.
    pub async fn close_list(&self, set: String) -> Result<bool, Error> {
        self.step(move |core| core.close_list(set)).await
    }

    /// What is still to be fetched for a set, in the order of identities, behind `after`.
    pub async fn wanted(&self, set: String, after: Option<Identity>, limit: usize) -> Result<Vec<Identity>, Error> {
        self.look(move |core| core.wanted(&set, after, limit.min(look::ANSWER_MAX))).await
    }

    /// A large text that is written in pieces.
    pub fn stage(&self) -> Stage {
        Stage::new(Arc::clone(&self.core))
    }

    /// Takes revisions in, in small transactions, with everything that belongs together in the same one. What was committed
    /// before an error stays, and so does what was handed over before the caller went away. Revisions of one update in one
    /// batch may stand in any order; a bundle should not stand behind the lower revisions that it names.
    pub async fn import(&self, batch: Batch) -> Result<Applied, Error> {
        self.step(move |core| core.import_catalog(batch)).await
    }

    /// Puts a revision into quarantine for good: it is not taken, and where it is held it must not be offered. With a definition
    /// update that is held, what was let go of is forgotten as such, and lists come whole again.
    pub async fn refuse(&self, identity: Identity, reason: String) -> Result<(), Error> {
        self.step(move |core| core.refuse(identity, reason)).await
    }

    /// The next run asks for this revision, unless it is the current one already or was refused itself: a comparison knows that it
    /// should be held in the place of one that is refused.
    pub async fn ask_for(&self, identity: Identity) -> Result<(), Error> {
        self.step(move |core| core.ask_for(identity)).await
    }

    /// Takes it out of quarantine; says whether it was in. What is not held is asked for by the next run.
    pub async fn pardon(&self, identity: Identity) -> Result<bool, Error> {
        Ok(!self.pardon_all(vec![identity]).await?.is_empty())
    }

    /// The same for several, in small transactions; says which of them were in, and which of these the next run asks for.
    pub async fn pardon_all(&self, identities: Vec<Identity>) -> Result<Vec<(Identity, bool)>, Error> {
        self.step(move |core| core.pardon(&identities)).await
    }

    /// Revisions behind `after` that are held and offered, and where to go on, until there is no place.
    pub async fn offered(&self, after: Option<Identity>) -> Result<(Vec<Offered>, Option<Identity>), Error> {
        self.walk(move |core| core.offered(after)).await
    }

    /// Revisions behind `after` that came over a connection that proves nothing and are offered; and where to go on, until there is
    /// no place.
    pub async fn doubtful(&self, after: Option<Identity>) -> Result<(Vec<Doubtful>, Option<Identity>), Error> {
        self.walk(move |core| core.doubtful(after)).await
    }

    /// Somebody proven has the same documents: these count from now on as if they had come from there. Says how many were still
    /// held as they were compared.
    pub async fn vouch_for(&self, agreed: Vec<Doubtful>) -> Result<u64, Error> {
        self.step(move |core| core.vouch_for(&agreed)).await
    }

    /// Takes these updates out, unless something that stays needs them, and what only they bundled; says how many went. With
    /// `remember` no list brings them back in a revision that was known (see [`Self::let_go_under`]). Dropped, it stops soon.
    pub async fn let_go(&self, ids: Vec<UpdateId>, remember: bool, run: Option<u64>) -> Result<u64, Error> {
        self.core.writable()?;
        let core = Arc::clone(&self.core);
        self.core.long.run_watched(move |wanted| core.let_go(&ids, remember, run, wanted)).await?
    }

    /// Under which rule updates are let go of from now on: how many of each product are kept, or none. What was let go of stays away
    /// where a list names it, as long as the rule keeps as many or fewer; where it ends or keeps more, the anchors of `lists` are
    /// forgotten with it, so that these name all that there is.
    pub async fn let_go_under(&self, keep: Option<u32>, lists: fn(&str) -> bool) -> Result<(), Error> {
        self.step(move |core| core.let_go_under(keep, lists)).await
    }

    /// Takes away what crashes and replaced revisions left behind. Dropped, it ends with the transaction under way.
    pub async fn sweep(&self) -> Result<(), Error> {
        while self.step(|core| core.sweep_catalog()).await? {}
        Ok(())
    }

    // The history.

    /// A run begins of which nothing is told but from whom; one that never ended was cut off.
    pub async fn start_run(&self, upstream: String) -> Result<u64, Error> {
        self.start_run_as(upstream, RunNote::default()).await
    }

    /// A run begins; one that never ended was cut off.
    pub async fn start_run_as(&self, upstream: String, note: RunNote) -> Result<u64, Error> {
        self.step(move |core| core.start_run(upstream, &note)).await
    }

    /// No run is under way: those that did not end were cut off. Gives them as they ended, oldest first.
    pub async fn close_runs(&self) -> Result<Vec<Run>, Error> {
        self.step(|core| core.close_runs()).await
    }

    /// What is told of a run beside its counts, in place of what was told before.
    pub async fn note_run(&self, run: u64, note: RunNote) -> Result<(), Error> {
        self.step(move |core| core.note_run(run, &note)).await
    }

    /// Adds to what a run did; what [`Catalog::import`] and [`Catalog::prune`] count they count themselves.
    pub async fn add_to_run(&self, run: u64, counts: Counts) -> Result<(), Error> {
        self.step(move |core| core.add_to_run(run, counts)).await
    }

    /// A run ended.
    pub async fn end_run(&self, run: u64, outcome: Outcome, reason: String) -> Result<(), Error> {
        self.step(move |core| core.end_run(run, outcome, reason)).await
    }

    /// The newest runs first, those before `before`.
    pub async fn runs(&self, before: Option<u64>, limit: usize) -> Result<Vec<Run>, Error> {
        self.look(move |core| core.runs(before, limit.min(look::ANSWER_MAX))).await
    }

    // Looking up.

    /// The number of a revision that is, or once was, held.
    pub async fn number(&self, identity: Identity) -> Result<Option<u32>, Error> {
        self.look(move |core| core.number_of(identity)).await
    }

    /// The number of the revision of an update that counts.
    pub async fn current(&self, id: UpdateId) -> Result<Option<u32>, Error> {
        self.look(move |core| core.current(id)).await
    }

    /// A revision with all that its document says.
    pub async fn revision(&self, number: u32) -> Result<Option<Revision>, Error> {
        self.look(move |core| core.revision(number)).await
    }

    /// The short of some revisions, those that are held; at most 10,000.
    pub async fn summaries(&self, numbers: Vec<u32>) -> Result<Vec<Summary>, Error> {
        self.look(move |core| core.summaries(&numbers)).await
    }

    /// One text of each of these revisions, in this order. `Invalid` where they are too much to hold at once.
    pub async fn texts(&self, numbers: Vec<u32>, part: Part) -> Result<Vec<Option<Text>>, Error> {
        self.look(move |core| core.texts(&numbers, &part)).await
    }

    /// A text of a revision; `None` where it is not held or has no such text.
    pub async fn text(&self, number: u32, part: Part) -> Result<Option<Text>, Error> {
        Ok(self.texts(vec![number], part).await?.pop().flatten())
    }

    /// Current revisions that name a KB (digits only).
    pub async fn by_kb(&self, kb: String) -> Result<Vec<u32>, Error> {
        self.look(move |core| core.by_kb(&kb)).await
    }

    /// Current revisions of a category, by number, behind `after`; at most 10,000.
    pub async fn by_category(&self, id: UpdateId, after: Option<u32>, limit: usize) -> Result<Vec<u32>, Error> {
        self.look(move |core| core.dependents(id, true, after, limit)).await
    }

    /// Current revisions that name an update as a prerequisite, as their category or not, behind `after`.
    pub async fn dependents(&self, id: UpdateId, after: Option<u32>, limit: usize) -> Result<Vec<u32>, Error> {
        self.look(move |core| core.dependents(id, false, after, limit)).await
    }

    /// For each of these updates whether it is a leaf: no update of the catalog names it as a prerequisite, in any clause.
    pub async fn leaves(&self, ids: Vec<UpdateId>) -> Result<Vec<bool>, Error> {
        self.look(move |core| core.leaves(&ids)).await
    }

    /// Updates that are named as prerequisites and of which the upstream of now has sent nothing, in order; at most 10,000.
    pub async fn missing_prerequisites(&self) -> Result<Vec<UpdateId>, Error> {
        self.walk(|core| core.missing_prerequisites()).await
    }

    /// How many of these updates are bundled or named as a prerequisite by a held one that is not among them.
    pub async fn needed(&self, ids: Vec<UpdateId>) -> Result<u64, Error> {
        self.walk(move |core| core.needed(&ids)).await
    }

    /// Revisions that bundle this one.
    pub async fn parents(&self, identity: Identity) -> Result<Vec<u32>, Error> {
        self.look(move |core| core.parents(identity)).await
    }

    /// Current, offered revisions that supersede an update.
    pub async fn superseded_by(&self, id: UpdateId) -> Result<Vec<u32>, Error> {
        self.look(move |core| core.superseded_by(id)).await
    }

    /// What the catalog knows of a file: its digests, length, addresses, and who has it.
    pub async fn files(&self, digest: FileDigest) -> Result<Vec<KnownFile>, Error> {
        self.look(move |core| core.known_files(digest)).await
    }

    /// What the catalog calls the files with these SHA-1, in the same order; `None` for those that it does not know. One
    /// look-up each.
    pub async fn file_names(&self, sha1s: Vec<Sha1>) -> Result<Vec<Option<String>>, Error> {
        self.look(move |core| core.file_names(&sha1s)).await
    }

    /// What it says of the object under `name`, which should have `digests`: files that have one of them, and files that lie
    /// at the address. Each file once.
    pub async fn mentions(&self, name: Name, digests: Vec<Digest>) -> Result<Vec<Mention>, Error> {
        self.look(move |core| core.mentions(&name, &digests)).await
    }

    /// The change log behind a line of it (0 and 0 for all), with what people decided in between; at most 10,000 lines together. Go on
    /// behind its `next`.
    pub async fn changes(&self, after: u64, number: u32, limit: usize) -> Result<Changes, Error> {
        self.look(move |core| core.changes((after, number), limit)).await
    }

    /// What is in quarantine, in the order of identities, behind `after`; at most 10,000.
    pub async fn refused(&self, after: Option<Identity>, limit: usize) -> Result<Vec<Refused>, Error> {
        self.look(move |core| core.refusals(after, limit)).await
    }

    /// A page of what is searched for, the newest first. The first search after a start reads every row once.
    pub async fn search(&self, query: Query) -> Result<Page, Error> {
        self.walk(move |core| core.search(&query)).await
    }

    /// How many current revisions there are of each kind and state.
    pub async fn census(&self) -> Result<BTreeMap<(Kind, State), u64>, Error> {
        self.walk(|core| core.census()).await
    }

    // For the graph of all updates.

    /// How revisions hang together, by their numbers behind `after`, and the number to go on behind, until there is none. Each step is
    /// a snapshot of its own: take the clock of [`Catalog::standing`] before the first one, and behind the last one what
    /// [`Catalog::changes`] tells from there on.
    pub async fn related_step(&self, after: Option<u32>) -> Result<(Vec<Related>, Option<u32>), Error> {
        self.walk(move |core| core.related_step(after)).await
    }

    /// The same of these revisions, those that are held; at most 10,000.
    pub async fn related(&self, numbers: Vec<u32>) -> Result<Vec<Related>, Error> {
        self.walk(move |core| core.related(&numbers)).await
    }

    /// Numbers that revisions had which are not held any more, and where to go on, until there is no place.
    pub async fn past_step(&self, after: Option<Identity>) -> Result<(Vec<(u32, Identity)>, Option<Identity>), Error> {
        self.walk(move |core| core.past_step(after)).await
    }

    // For views.

    /// The tree of the categories that are offered. The first one after a start, and after each commit, takes a search.
    pub async fn tree(&self) -> Result<Arc<Tree>, Error> {
        self.walk(|core| core.tree()).await
    }

    /// The short of what each of these points to, in the same order; the first 10,000.
    pub async fn shorts(&self, targets: Vec<Target>) -> Result<Vec<Option<Summary>>, Error> {
        self.look(move |core| core.shorts(&targets)).await
    }

    /// What a revision comes to with all that it bundles, up to limits that it tells; from one snapshot.
    pub async fn whole(&self, root: Identity) -> Result<Whole, Error> {
        self.walk(move |core| core.whole(root)).await
    }

    /// The licences of each of these revisions with all that it bundles, in the same order; at most 10,000.
    pub async fn licences_of(&self, roots: Vec<Identity>) -> Result<Vec<Vec<UpdateId>>, Error> {
        self.walk(move |core| core.licences_of(&roots)).await
    }

    /// What each of these revisions weighs with all that it bundles, in this order. Each is unpacked with its parts, in short snapshots:
    /// for the rows of a page.
    pub async fn weights(&self, roots: Vec<Identity>) -> Result<Vec<Weight>, Error> {
        let (roots, mut all) = (Arc::<[Identity]>::from(roots), Vec::new());
        while all.len() < roots.len() {
            let (roots, from) = (Arc::clone(&roots), all.len());
            all.extend(self.walk(move |core| core.weights(roots.get(from..).unwrap_or_default())).await?);
        }
        Ok(all)
    }

    /// The SHA-1 and the size of each file of these revisions, with all that they bundle, in this order; in short snapshots, as weights are.
    pub async fn files_of(&self, roots: Vec<Identity>) -> Result<Vec<Vec<(Sha1, u64)>>, Error> {
        let (roots, mut all) = (Arc::<[Identity]>::from(roots), Vec::new());
        while all.len() < roots.len() {
            let (roots, from) = (Arc::clone(&roots), all.len());
            all.extend(self.walk(move |core| core.files_of(roots.get(from..).unwrap_or_default())).await?);
        }
        Ok(all)
    }

    /// Ids of held updates from `first` to `last`; at most 10,000.
    pub async fn ids(&self, first: UpdateId, last: UpdateId, limit: usize) -> Result<Vec<UpdateId>, Error> {
        self.look(move |core| core.ids(first, last, limit)).await
    }

    /// Why a revision is in quarantine; `None` where it is not.
    pub async fn refusal(&self, identity: Identity) -> Result<Option<Refused>, Error> {
        self.look(move |core| core.refusal(identity)).await
    }

    // What this node makes of it.

    /// Writes what somebody decided of these updates, for all endpoints; all or none. Says of how many it is another decision
    /// than before.
    pub async fn decide(&self, ids: Vec<UpdateId>, deciding: Deciding, by: String, why: String) -> Result<u64, Error> {
        self.step(move |core| core.decide(ids, &deciding, by, why)).await
    }

    /// What was decided of these updates for all endpoints, in the same order; at most 10,000.
    pub async fn decisions(&self, ids: Vec<UpdateId>) -> Result<Vec<Option<Decision>>, Error> {
        self.look(move |core| core.decisions(&ids)).await
    }

    /// Whether anything that counts and is offered supersedes these updates, in the same order; at most 10,000.
    pub async fn are_superseded(&self, ids: Vec<UpdateId>) -> Result<Vec<bool>, Error> {
        self.look(move |core| core.are_superseded(&ids)).await
    }

    /// What people said of these updates for anybody, and what takes their place, in the same order; at most 10,000.
    pub async fn stances(&self, ids: Vec<UpdateId>) -> Result<Vec<Stance>, Error> {
        self.walk(move |core| core.stances(&ids)).await
    }

    /// Keeps what endpoints asked for ([`crate::store::Store::asked`]) since the last time, as far as they took enough of it; says how
    /// many likenesses of files are new.
    pub async fn keep_asked(&self) -> Result<u64, Error> {
        self.step(|core| core.keep_asked()).await
    }

    /// The next step of a walk over the files that are wanted; the first one of a walk that is new. It is no snapshot of all: what
    /// changes behind it meanwhile is not seen.
    pub async fn wanted_step(&self, sift: Arc<Sift>, walk: Walk) -> Result<(Walk, Vec<WantedUpdate>), Error> {
        self.walk(move |core| core.wanted_step(&sift, walk)).await
    }

    /// What is wanted of the updates whose revisions have these numbers, each by itself; those that cannot be approved by themselves are
    /// left out. They are unpacked in one snapshot: at most some hundred at a time.
    pub async fn wanted_of(&self, sift: Arc<Sift>, numbers: Vec<u32>) -> Result<Vec<WantedUpdate>, Error> {
        self.walk(move |core| core.wanted_of(&sift, &numbers)).await
    }

    /// What a policy makes of the revision with this number; `None` where it cannot be approved by itself.
    pub async fn judge(&self, sift: Arc<Sift>, number: u32) -> Result<Option<Verdict>, Error> {
        self.walk(move |core| core.judge(&sift, number)).await
    }

    /// What was wanted when a run had ended: files and their bytes.
    pub async fn set_run_files(&self, run: u64, files: u64, bytes: u64) -> Result<(), Error> {
        self.step(move |core| core.set_run_files(run, files, bytes)).await
    }
}
