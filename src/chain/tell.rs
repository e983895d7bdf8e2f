//! What became visible of the feed is told to the catalog of this node.
//!
//! 1. The store has a list of records that changed, written with the change. It is worked through in turns: refusals first, so that nothing is
//!    offered in between; then revisions; then revisions that only a bundle keeps, and those that went; at last decisions.
//! 2. Each one is told as it is now: there, or gone. To tell it once more changes nothing, so that a crash in between does no harm.
//! 3. When nothing is left, and this is a new upstream, what the former one had and this one does not goes; so does, in a replica that took
//!    the authority's decisions for the first time, what was decided here.
//!
//! Revisions come in runs ([`Teller::tell_in`]), which stand in the history. What is decided alone needs none ([`Teller::quietly`]): it is there
//! seconds after it was said.
//!
//! A document that cannot be used is refused by itself, with the reason, as one that came from anywhere else.

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::chain::document::{self, Bad};
use crate::chain::error::Error;
use crate::chain::said::taken::Taker;
use crate::model::chain::hash::ChainId;
use crate::model::chain::ids::Position;
use crate::model::chain::record::Kind;
use crate::model::policy::Word;
use crate::model::update::Identity;
use crate::store::catalog::{Applied, Batch, Deciding, Outcome, RunNote, Upstream, UpstreamKind};
use crate::store::feed::{LATE, Told};
use crate::store::{self, Store};
use crate::wire::peer::body::{self, of_identity_key, of_update_key};

/// Kinds that a replica takes.
const DECIDED: [Kind; 7] =
    [Kind::Decision, Kind::Approval, Kind::Review, Kind::Licence, Kind::Group, Kind::Policy, Kind::Placement];
/// Whose decisions this node took all of: a chain's, where it is a replica of it.
const TAKEN: &str = "chain.taken";

/// Under which name the catalog knows how far the feed was told.
const SET: &str = "feed";
/// Records that are told together.
const STEP: usize = 100;
/// Bytes of documents that are held at a time.
const STEP_BYTES: u64 = 16 << 20;

/// Tells the catalog.
#[derive(Clone, Debug)]
pub struct Teller {
    store: Store,
    chain: ChainId,
    /// The authority decides here, too.
    replica: bool,
}

/// What is told at once.
#[derive(Default)]
struct Step {
    /// What came over a connection that proves something, and what did not.
    batches: [Batch; 2],
    updates: Vec<(Identity, Told)>,
    /// Revisions that are there no more. Whether one of them still counts is known once all of this is taken in.
    gone: Vec<Identity>,
    again: Vec<Told>,
    /// What was decided for groups and endpoints.
    decided: Vec<(Kind, Vec<u8>)>,
    bytes: u64,
}

impl Teller {
    /// For the catalog of this store, which follows this chain; `replica` where the authority's decisions hold here.
    pub fn new(store: Store, chain: ChainId, replica: bool) -> Self {
        Self { store, chain, replica }
    }

    /// As whom the catalog knows what stands above: the chain, so that another parent in it is no other upstream.
    pub fn upstream(&self) -> Upstream {
        let address = format!("chain {}", self.chain);
        Upstream { kind: UpstreamKind::Parent, address, unauthenticated: false }
    }

    /// Whether this chain is the upstream of the catalog, or is to be, and nothing of a former one is left.
    async fn is_here(&self) -> Result<(bool, bool), Error> {
        let standing = self.store.catalog().standing().await?;
        let here = standing.arriving.as_ref().or(standing.upstream.as_ref()) == Some(&self.upstream());
        Ok((here, here && standing.arriving.is_none()))
    }

    /// Whether the authority's decisions were all taken here.
    async fn has_taken(&self) -> Result<bool, Error> {
        let taken = self.store.document(TAKEN).await?;
        Ok(taken.is_some_and(|chain| chain == self.chain.bytes()))
    }

    /// Tells what needs no run: what was decided, where no revision waits and all has come once. Says whether a run is wanted.
    pub async fn quietly(&self) -> Result<bool, Error> {
        if !self.is_here().await?.1 || self.has_taken().await? != self.replica {
            return Ok(true);
        }
        loop {
            let told = self.store.feed().untold(STEP).await?;
            let waits = |one: &Told| matches!(Kind::of_number(one.kind), Some(Kind::Update | Kind::Refusal));
            match told.first() {
                None => return Ok(false),
                Some(first) if waits(first) => return Ok(true),
                Some(_) => {}
            }
            let (mut step, mut done) = (Step::default(), Vec::new());
            for one in told.into_iter().take_while(|one| !waits(one)) {
                self.look(&one, &mut step, &mut done).await?;
            }
            self.commit(None, step, done, &mut Applied::default()).await?;
        }
    }

    /// Tells all that is to be told, as of this place in the feed, in a run of its own; says what came of it.
    pub async fn tell(&self, at: Position) -> Result<Applied, Error> {
        if !self.quietly().await? {
            return Ok(Applied::default());
        }
        let catalog = self.store.catalog();
        let note = RunNote { by: "the parent".into(), ..RunNote::default() };
        let run = catalog.start_run_as(self.upstream().address, note).await?;
        let mut all = Applied::default();
        let told = self.tell_in(run, at, &CancellationToken::new(), &mut |applied| all.add(applied)).await;
        let (outcome, reason) = match &told {
            Ok(()) => (Outcome::Successful, String::new()),
            Err(error) => (Outcome::Failed, error.to_string()),
        };
        catalog.end_run(run, outcome, reason).await?;
        told.map(|()| all)
    }

    /// The same in a run that is under way, until `cancel`; `each` hears what came of each step. What was told stays so.
    pub async fn tell_in(
        &self,
        run: u64,
        at: Position,
        cancel: &CancellationToken,
        each: &mut (dyn FnMut(Applied) + Send),
    ) -> Result<(), Error> {
        let (feed, catalog) = (self.store.feed(), self.store.catalog());
        if !self.is_here().await?.0 {
            catalog.begin_upstream(self.upstream()).await?;
            for kind in [Kind::Update, Kind::Refusal] {
                feed.tell_all(kind.number()).await?;
            }
            self.store.set_document(TAKEN, None).await?;
        }
        let takes_over = self.replica && !self.has_taken().await?;
        if takes_over {
            for kind in DECIDED {
                feed.tell_all(kind.number()).await?;
            }
        } else if !self.replica {
            self.store.set_document(TAKEN, None).await?;
        }
        loop {
            let told = feed.untold(STEP).await?;
            if told.is_empty() {
                break;
            }
            if cancel.is_cancelled() {
                return Err(Error::Stopped);
            }
            let (mut step, mut done) = (Step::default(), Vec::new());
            for one in told {
                self.look(&one, &mut step, &mut done).await?;
                if step.bytes >= STEP_BYTES {
                    break;
                }
            }
            let mut applied = Applied::default();
            self.commit(Some(run), step, done, &mut applied).await?;
            each(applied);
        }
        // The place in the feed is the anchor of a list of which all has come.
        catalog.open_list(SET.into(), at.to_string()).await?;
        catalog.close_list(SET.into()).await?;
        match catalog.settle_upstream().await {
            Ok(true) => drop(catalog.prune(Some(run)).await?),
            Ok(false) => {}
            // An authority that has nothing yet: what is held stays, and is shown, until it has.
            Err(store::Error::Invalid { what }) => tracing::debug!(what, "what the former upstream had stays for now"),
            Err(error) => return Err(error.into()),
        }
        if takes_over {
            Taker::new(&self.store).settle().await?;
            self.store.set_document(TAKEN, Some(self.chain.bytes().to_vec())).await?;
        }
        Ok(catalog.sweep().await?)
    }

    /// Step 2 of one record, as far as it is not done with others together.
    async fn look(&self, told: &Told, step: &mut Step, done: &mut Vec<Told>) -> Result<(), Error> {
        let (feed, catalog) = (self.store.feed(), self.store.catalog());
        if done.contains(told) {
            return Ok(());
        }
        if self.replica && told.kind == Kind::Group.number() {
            // All of them: only the whole is a tree.
            let groups = feed.untold_of(Kind::Group).await?;
            Taker::new(&self.store).groups(&groups).await?;
            done.extend(groups);
            return Ok(());
        }
        done.push(told.clone());
        let record = feed.record(told.kind, told.key.clone()).await?;
        match Kind::of_number(told.kind) {
            Some(Kind::Refusal) => {
                let identity = of_identity_key(&told.key)?;
                match record {
                    Some(record) => catalog.refuse(identity, body::read_refusal(record.body())?).await?,
                    None => drop(catalog.pardon(identity).await?),
                }
            }
            Some(Kind::Decision) if self.replica => {
                let id = of_update_key(&told.key)?;
                let decision = record.map(|record| body::read_decision(record.body())).transpose()?;
                let (deciding, by, why) = match decision {
                    Some(decision) if decision.word == Word::Approved => {
                        (Deciding::Approve { all_files: decision.all_files }, decision.by, decision.why)
                    }
                    Some(decision) => (Deciding::Decline, decision.by, decision.why),
                    None => (Deciding::Reset, "the authority".into(), String::new()),
                };
                catalog.decide(vec![id], deciding, by, why).await?;
            }
            Some(Kind::Update) => {
                let identity = of_identity_key(&told.key)?;
                match record {
                    Some(record) => self.update(told, identity, body::Update::read(record.body())?, step).await?,
                    // In its place another revision may come.
                    None if told.turn < LATE => step.again.push(Told { turn: LATE, ..told.clone() }),
                    None => step.gone.push(identity),
                }
            }
            Some(kind @ (Kind::Approval | Kind::Review | Kind::Licence | Kind::Policy | Kind::Placement))
                if self.replica =>
            {
                step.decided.push((kind, told.key.clone()));
            }
            _ => {}
        }
        Ok(())
    }

    async fn update(&self, told: &Told, identity: Identity, said: body::Update, step: &mut Step) -> Result<(), Error> {
        let (store, runtime, plain) = (self.store.clone(), Handle::current(), said.plain);
        step.bytes += said.len;
        let came = said.len;
        let reading = tokio::task::spawn_blocking(move || document::read(&store, &runtime, identity, &said));
        let Some(batch) = step.batches.get_mut(usize::from(plain)) else { return Ok(()) };
        match reading.await {
            Ok(Ok(incoming)) => {
                batch.updates.push(incoming);
                batch.came.push(came);
                step.updates.push((identity, told.clone()));
            }
            Ok(Err(Bad::Document(why))) => batch.refused.push((identity, why)),
            Ok(Err(Bad::Here(error))) => return Err(error),
            Err(broken) if broken.is_panic() => {
                tracing::error!(%identity, "a document makes this program fail: report it with the document");
                batch.refused.push((identity, "this program cannot read it, and that is the program's fault".into()));
            }
            Err(broken) => return Err(Error::Broken(format!("reading a document broke off: {broken}"))),
        }
        Ok(())
    }

    async fn commit(&self, run: Option<u64>, step: Step, done: Vec<Told>, all: &mut Applied) -> Result<(), Error> {
        let catalog = self.store.catalog();
        let Step { batches, updates, gone, mut again, decided, .. } = step;
        let mut refused = Vec::new();
        for (batch, plain) in batches.into_iter().zip([false, true]) {
            if batch.updates.is_empty() && batch.refused.is_empty() {
                continue;
            }
            let applied = catalog.import(Batch { run, plain, ..batch }).await?;
            for (identity, reason) in &applied.refused {
                tracing::warn!(%identity, reason, "an update of the parent's is not taken");
            }
            refused.extend(applied.refused.iter().map(|(identity, _)| *identity));
            all.add(applied);
        }
        for (identity, told) in updates {
            // A revision below the one that counts is taken once the bundle that names it is there.
            if told.turn < LATE && !refused.contains(&identity) && !self.is_held(identity).await? {
                again.push(Told { turn: LATE, ..told });
            }
        }
        let mut lost = Vec::new();
        for identity in gone {
            if self.counts(identity).await? {
                lost.push(identity.id);
            }
        }
        if !lost.is_empty() {
            catalog.let_go(lost, false, run).await?;
        }
        let mut taker = Taker::new(&self.store);
        for (kind, key) in decided {
            taker.take(kind, &key).await?;
        }
        taker.say().await?;
        Ok(self.store.feed().told(done, again).await?)
    }

    /// Whether a revision is the one of its update that counts.
    async fn counts(&self, identity: Identity) -> Result<bool, Error> {
        let catalog = self.store.catalog();
        let Some(current) = catalog.current(identity.id).await? else { return Ok(false) };
        Ok(catalog.summaries(vec![current]).await?.iter().any(|short| short.identity == identity))
    }

    async fn is_held(&self, identity: Identity) -> Result<bool, Error> {
        let catalog = self.store.catalog();
        let Some(number) = catalog.number(identity).await? else { return Ok(false) };
        Ok(!catalog.summaries(vec![number]).await?.is_empty())
    }
}
