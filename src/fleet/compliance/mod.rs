//! What endpoints report becomes the state of their updates, and that is held against a policy.
//!
//! What it promises:
//! - A report is taken for what an endpoint says of itself. It changes nothing of another one, and nothing of what anybody is sent.
//! - A state is set and not counted: a report that comes twice, late or out of order changes nothing that it should not.
//! - Counts are kept up with every report, every change of the catalog, every decision, every endpoint that comes or goes; they are what
//!   counting anew gives ([`Compliance::check`]).
//! - A report costs no commit. A crash loses half a minute of them at most, and the next scan of each endpoint tells all again but failures
//!   and restarts of agents that have no lists of them (`take`).
//!
//! How a report goes through it, each step in the file named:
//! 1. The face makes of events what they mean here (`told`), and says which of them cannot be believed (`counters`).
//! 2. Before the first one everything that is kept is read into memory (`Compliance::ready`); then endpoints that came and went are
//!    heard of, and once a second it is asked whether the catalog changed (`follow`, `facts`).
//! 3. An update that is told of for the first time is looked up; what the catalog does not have is not taken.
//! 4. The states of the endpoint are made anew from what was and what it told (`take`), and the counts with them (`board`, `totals`).
//! 5. The row is gathered for the store, with what changed for the history.
//!
//! Questions (`ask`) go through the board in memory; it takes some 12 bytes for each update on each endpoint. What endpoints are held
//! against, and whom a question is about, is made out of groups for each question (`policies`): no count is kept of either, so that a
//! policy or a group that changes is followed by the next answer.

pub mod ask;
pub mod board;
pub mod counters;
pub mod evidence;
pub mod facts;
mod follow;
pub mod policies;
mod take;
pub mod told;
pub mod totals;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;

use crate::fleet::compliance::board::{Board, Changed, Refused};
use crate::fleet::compliance::counters::{Counters, Disbelief};
use crate::fleet::compliance::facts::Facts;
use crate::fleet::compliance::told::{Told, What};
use crate::fleet::error::Error;
use crate::model::deployment::Endpoint;
use crate::model::update::UpdateId;
use crate::store::Store;
use crate::store::approvals::Approvals;
use crate::store::catalog::Catalog;
use crate::store::fleet::standing::{HELD_MAX, Standing, time};
use crate::store::fleet::{Change, Fleet, News};

/// How long after one look whether the catalog changed there is no other.
const LOOK: Duration = Duration::from_secs(1);

/// After following the catalog took so long, it is not followed again for so many times that.
const REST: u32 = 4;

/// Updates that are remembered as none of the catalog, until that changes.
const UNKNOWN_MAX: usize = 65_536;

/// How far the catalog was followed.
#[derive(Debug, Default)]
struct Followed {
    clock: u64,
    /// Not looked at again before.
    rests_until: Option<Instant>,
}

impl Followed {
    /// Facts of updates that were told of first are known that were read at this clock: what changed since then is to be looked at, although
    /// the others were.
    fn learnt(&mut self, clock: u64) {
        if clock < self.clock {
            (self.clock, self.rests_until) = (clock, None);
        }
    }

    /// It was looked at since then.
    fn rest(&mut self, since: Instant) {
        self.rests_until = Instant::now().checked_add(since.elapsed().saturating_mul(REST).max(LOOK));
    }
}

struct Inner {
    fleet: Fleet,
    catalog: Catalog,
    approvals: Approvals,
    counters: Counters,
    board: RwLock<Board>,
    is_loaded: AtomicBool,
    loading: Arc<tokio::sync::Mutex<()>>,
    followed: Arc<tokio::sync::Mutex<Followed>>,
    unknown: Mutex<HashSet<UpdateId>>,
}

/// The states of updates on endpoints; clones share them. There should be one for a store: two do not hear of each other's reports.
#[derive(Clone)]
pub struct Compliance {
    inner: Arc<Inner>,
}

impl fmt::Debug for Compliance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compliance").field("is_loaded", &self.inner.is_loaded).finish_non_exhaustive()
    }
}

impl Inner {
    fn read(&self) -> RwLockReadGuard<'_, Board> {
        self.board.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Board> {
        self.board.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn unknown(&self) -> MutexGuard<'_, HashSet<UpdateId>> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Updates that are told of, that nothing is known of, and of which it is not known that the catalog does not have them.
    fn strangers(&self, told: &[Told]) -> Vec<UpdateId> {
        let (board, unknown) = (self.read(), self.unknown());
        let mut found = HashSet::new();
        let mut look = |id: &UpdateId| {
            if board.number(*id).is_none() && !unknown.contains(id) {
                found.insert(*id);
            }
        };
        for one in told {
            match &one.what {
                What::Snapshot(all) => all.states.keys().for_each(&mut look),
                What::Became(id, ..) => look(id),
                _ => {}
            }
        }
        // In an order, so that the numbers that they get do not depend on chance.
        let mut found: Vec<UpdateId> = found.into_iter().collect();
        found.sort_unstable();
        found
    }

    /// Steps 4 and 5; says whether so much is gathered that it should be written.
    fn take(&self, endpoint: Endpoint, told: &[Told]) -> Result<bool, Error> {
        let mut board = self.write();
        // Who came has a row before it tells, and who was forgotten has none any more: none is made for a report that was under way.
        self.hear(&mut board);
        if board.row(endpoint).is_none() {
            self.counters.disbelieved(Disbelief::Unregistered, told.len() as u64);
            return Ok(false);
        }
        let (mut changes, mut is_taken): (Vec<Changed>, bool) = (Vec::new(), false);
        let (all, gave_way) = board.take_all(endpoint, told);
        for (one, taken) in told.iter().zip(all) {
            match taken {
                Ok(taken) => {
                    is_taken = true;
                    if matches!(one.what, What::Snapshot(_)) {
                        self.counters.snapshot();
                    }
                    self.counters.disbelieved(Disbelief::UnknownUpdate, taken.unknown as u64);
                    changes.extend(taken.changes);
                }
                Err(refused) => {
                    let why = match refused {
                        Refused::Stale => Disbelief::Stale,
                        Refused::Absurd => Disbelief::Absurd,
                        Refused::Full => Disbelief::Full,
                    };
                    self.counters.disbelieved(why, 1);
                }
            }
        }
        for other in gave_way {
            tracing::warn!(
                target: "scan",
                endpoint = %other.0,
                "an endpoint told of more updates than there is room for: what it told is forgotten until its next scan"
            );
            self.counters.disbelieved(Disbelief::Full, 1);
            self.fleet.stands(other, &Standing::default(), std::iter::empty())?;
        }
        let Some(row) = board.row(endpoint).filter(|_| is_taken) else { return Ok(false) };
        self.counters.changed(changes.len());
        let kept = changes.iter().map(|one| Change {
            at: time(one.at),
            number: one.number,
            from: one.from,
            to: one.to,
            code: one.code,
        });
        // While the board is held, so that of two reports the later one is what is kept.
        Ok(self.fleet.stands(endpoint, &row.standing, kept)?)
    }

    /// Lets endpoints in that came, and those go that were forgotten, in their order. While the board is held, so that nobody takes in
    /// what one told that has gone meanwhile.
    fn hear(&self, board: &mut Board) {
        for news in self.fleet.news() {
            match news {
                News::Came(endpoint) => drop(board.arrive(endpoint)),
                News::Went(endpoint) => {
                    board.forget(endpoint);
                    // What was gathered after it had gone.
                    self.fleet.drop_states(endpoint);
                }
            }
        }
    }

    /// Puts what the catalog says of updates in; what it does not have, or what cannot be approved by itself, is remembered as unknown.
    fn learn(&self, told: Vec<(UpdateId, Facts)>) {
        let mut board = self.write();
        let (known, strange): (Vec<_>, Vec<_>) = told
            .into_iter()
            .partition(|(id, facts)| board.number(*id).is_some() || facts.revision.is_some() && facts.deployable);
        let new = board.learn_all(known);
        self.fleet.number_updates(new);
        drop(board);
        let mut unknown = self.unknown();
        if unknown.len() + strange.len() > UNKNOWN_MAX {
            unknown.clear();
        }
        unknown.extend(strange.into_iter().map(|(id, _)| id).take(UNKNOWN_MAX));
    }
}

impl Compliance {
    /// Over what a store keeps; nothing is read before it is needed.
    pub fn new(store: &Store) -> Self {
        let inner = Inner {
            fleet: store.fleet(),
            catalog: store.catalog(),
            approvals: store.approvals(),
            counters: Counters::default(),
            board: RwLock::default(),
            is_loaded: AtomicBool::new(false),
            loading: Arc::default(),
            followed: Arc::default(),
            unknown: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What it counts.
    pub fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// Does something with the board on a thread that may wait for it.
    async fn on<T: Send + 'static>(&self, job: impl FnOnce(&Inner) -> T + Send + 'static) -> Result<T, Error> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || job(&inner)).await.map_err(|_| Error::Ended)
    }

    /// Does something that asks the store again and again, and has much to do with what it is told, on a thread that may block; whoever
    /// leaves does not stop it.
    async fn apart<T: Send + 'static, F>(&self, job: impl FnOnce(Self) -> F + Send + 'static) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (this, runtime) = (self.clone(), Handle::current());
        tokio::task::spawn_blocking(move || runtime.block_on(job(this))).await.map_err(|_| Error::Ended)?
    }

    /// Reads what is kept, once; who has the turn does so, and holds it until it is done.
    async fn load(self, _turn: OwnedMutexGuard<()>) -> Result<(), Error> {
        let inner = &self.inner;
        inner.fleet.listen();
        // What somebody gathered before is read with the rest.
        if let Err(error) = inner.fleet.keep_states().await {
            tracing::debug!(%error, "what endpoints told cannot be written");
        }
        let clock = inner.catalog.standing().await?.clock;
        let mut board = Board::default();
        for (number, id) in inner.fleet.numbers().await? {
            board.restore(number, id);
        }
        let ids: Vec<UpdateId> = board.updates().map(|(_, known)| known.id).collect();
        let facts = follow::facts(&inner.catalog, &inner.approvals, &ids, &HashMap::new()).await?;
        board.learn_all(ids.into_iter().zip(facts).collect());
        let mut after = None;
        loop {
            let page = inner.fleet.standings(after).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (endpoint, standing) in page {
                if !board.put(endpoint, standing.unwrap_or_default()) {
                    tracing::warn!(endpoint = %endpoint.0, "there is no room for what an endpoint told: it scans once more");
                }
            }
        }
        let (endpoints, states, bytes) = (board.totals().endpoints, board.pairs(), board.bytes());
        tracing::info!(endpoints, states, bytes, "what endpoints told of their updates is in memory");
        *inner.write() = board;
        inner.followed.lock().await.clock = clock;
        inner.is_loaded.store(true, Ordering::Release);
        Ok(())
    }

    /// Step 2: brings the board up to what is known now.
    async fn ready(&self) -> Result<(), Error> {
        let inner = &self.inner;
        if !inner.is_loaded.load(Ordering::Acquire) {
            let turn = Arc::clone(&inner.loading).lock_owned().await;
            if !inner.is_loaded.load(Ordering::Acquire) {
                self.apart(|this| this.load(turn)).await?;
            }
        }
        if inner.fleet.has_news() {
            self.on(|inner| inner.hear(&mut inner.write())).await?;
        }
        // Whoever comes while somebody else looks is content with what there is.
        let Ok(mut followed) = Arc::clone(&inner.followed).try_lock_owned() else { return Ok(()) };
        if followed.rests_until.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        let begun = Instant::now();
        let clock = inner.catalog.changes(followed.clock, u32::MAX, 1).await?.clock;
        if clock == followed.clock {
            followed.rest(begun);
            return Ok(());
        }
        self.apart(move |this| this.follow(followed, clock, begun)).await
    }

    /// What the catalog and people say of all updates that endpoints told of, anew, up to a clock.
    async fn follow(self, mut followed: OwnedMutexGuard<Followed>, clock: u64, begun: Instant) -> Result<(), Error> {
        let inner = &self.inner;
        inner.unknown().clear();
        let known: HashMap<UpdateId, Facts> =
            inner.read().updates().map(|(_, known)| (known.id, known.facts.clone())).collect();
        let ids: Vec<UpdateId> = known.keys().copied().collect();
        let facts = follow::facts(&inner.catalog, &inner.approvals, &ids, &known).await?;
        inner.learn(ids.into_iter().zip(facts).collect());
        followed.clock = clock;
        followed.rest(begun);
        Ok(())
    }

    /// An endpoint told this of itself, in any order. What is not believed is counted; an error is one of the store.
    pub async fn report(&self, endpoint: Endpoint, mut told: Vec<Told>) -> Result<(), Error> {
        // Before anything is looked up for it.
        let is_absurd = |one: &Told| matches!(&one.what, What::Snapshot(all) if all.states.len() > HELD_MAX);
        let many = told.len();
        told.retain(|one| !is_absurd(one));
        self.inner.counters.disbelieved(Disbelief::Absurd, (many - told.len()) as u64);
        if told.is_empty() {
            return Ok(());
        }
        self.ready().await?;
        // Of the same second, in the order in which it was told.
        told.sort_by_key(|one| one.at);
        let take = move |inner: &Inner| {
            let strangers = inner.strangers(&told);
            if strangers.is_empty() { inner.take(endpoint, &told).map(Ok) } else { Ok(Err((told, strangers))) }
        };
        let is_much = match self.on(take).await?? {
            Ok(is_much) => is_much,
            Err((told, mut strangers)) => {
                let inner = &self.inner;
                // No machine has so many, and each costs a look-up: what is beyond stays unknown in this report.
                inner.counters.disbelieved(Disbelief::Absurd, strangers.len().saturating_sub(HELD_MAX) as u64);
                strangers.truncate(HELD_MAX);
                // Before they are read: what is decided meanwhile is followed, whoever else follows it without them.
                let clock = inner.catalog.standing().await?.clock;
                let facts = follow::facts(&inner.catalog, &inner.approvals, &strangers, &HashMap::new()).await?;
                let take = move |inner: &Inner| {
                    inner.learn(strangers.into_iter().zip(facts).collect());
                    inner.take(endpoint, &told)
                };
                let is_much = self.on(take).await?;
                inner.followed.lock().await.learnt(clock);
                is_much?
            }
        };
        if is_much && let Err(error) = self.inner.fleet.keep_states().await {
            tracing::debug!(%error, "what endpoints told cannot be written");
        }
        Ok(())
    }

    /// Asks something of the board as it is now.
    pub async fn look<T: Send + 'static>(&self, ask: impl FnOnce(&Board) -> T + Send + 'static) -> Result<T, Error> {
        self.ready().await?;
        self.on(move |inner| ask(&inner.read())).await
    }

    /// As [`Self::look`], after the catalog was looked at whether or not that was done a moment ago.
    pub async fn look_now<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Board) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.inner.followed.lock().await.rests_until = None;
        self.look(ask).await
    }

    /// What became of the states of an endpoint, the oldest first.
    pub async fn history(&self, endpoint: Endpoint) -> Result<Vec<Change>, Error> {
        Ok(self.inner.fleet.changes(endpoint).await?)
    }

    /// Counts everything anew, reads anew what the catalog says of the updates, holds the endpoints against those that the store has, and
    /// tells what is kept up and differs, in words: nothing where all is well.
    pub async fn check(&self) -> Result<Vec<String>, Error> {
        let mut told = self.look_now(Board::differences).await?;
        told.extend(self.outdated().await?);
        let (mut ghosts, mut lost) = self.strays().await?;
        if !(ghosts.is_empty() && lost.is_empty()) {
            // Who came or went between both looks is the same in the next ones.
            let (still_ghosts, still_lost) = self.strays().await?;
            ghosts.retain(|endpoint| still_ghosts.contains(endpoint));
            lost.retain(|endpoint| still_lost.contains(endpoint));
        }
        told.extend(ghosts.iter().map(|endpoint| format!("endpoint {} is counted and not known any more", endpoint.0)));
        told.extend(lost.iter().map(|endpoint| format!("endpoint {} is known and not counted", endpoint.0)));
        Ok(told)
    }

    /// What is taken for known of updates and is not so, in words; nothing where the catalog changed meanwhile, which is followed.
    async fn outdated(&self) -> Result<Vec<String>, Error> {
        let inner = &self.inner;
        let clock = inner.catalog.standing().await?.clock;
        let known: Vec<(UpdateId, Facts)> =
            self.on(|inner| inner.read().updates().map(|(_, known)| (known.id, known.facts.clone())).collect()).await?;
        let ids: Vec<UpdateId> = known.iter().map(|(id, _)| *id).collect();
        let facts = follow::facts(&inner.catalog, &inner.approvals, &ids, &HashMap::new()).await?;
        let is_same = clock == inner.catalog.standing().await?.clock && inner.followed.lock().await.clock == clock;
        let differ = known.into_iter().zip(facts).filter(|((_, known), facts)| is_same && known != facts);
        Ok(differ
            .map(|((id, _), _)| format!("update {id}: the catalog says something else of it than is counted by"))
            .collect())
    }

    /// Endpoints of the board that the store does not have, and the other way round.
    async fn strays(&self) -> Result<(Vec<Endpoint>, Vec<Endpoint>), Error> {
        let mut known = HashSet::new();
        let mut after = None;
        loop {
            let page = self.inner.fleet.standings(after).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            known.extend(page.iter().map(|(endpoint, _)| *endpoint));
        }
        let counted: HashSet<Endpoint> =
            self.look(|board| board.rows(None).map(|(endpoint, _)| endpoint).collect()).await?;
        let only = |of: &HashSet<Endpoint>, without: &HashSet<Endpoint>| of.difference(without).copied().collect();
        Ok((only(&counted, &known), only(&known, &counted)))
    }
}

#[cfg(test)]
mod tests;
