//! What is kept of endpoints: who this server is to them, which of them there are, when they were last heard of, and how
//! updates stand on them.
//!
//! What it promises:
//! - The server's id is made once. A key that made cookies opens them until the end that was set when the next one came.
//! - What a machine says of itself is judged and written in one transaction: two that come at once cannot both be the first.
//! - That an endpoint was heard of costs no commit of its own, and is lost for half a minute at most by a crash.
//! - So does what an endpoint told of its updates; its next scan tells it again. An endpoint that is forgotten leaves nothing of it behind.
//! - Bytes that left are counted for the endpoint that was last heard of from their address, for the address where that may be several.
//! - Each list has a limit; what is beyond it is refused, or the oldest goes.
//!
//! How it goes, each step in the file named:
//! 1. The first question for the server's identity makes id and key (`server`).
//! 2. What a machine says of itself is laid before a judge of the floor above, with what is known of it (`endpoints`).
//!    Whoever keeps something that was made of what is known asks whether it still is so (`turns`).
//! 3. What it tells of its updates is gathered in memory and written with the next tick, or before where it is much (`states`; one row
//!    for each endpoint, `standing`).
//! 4. Contacts are gathered in memory, and written with the next commit that is due anyway (`contacts`).
//! 5. Which files they were sent is gathered and written likewise (`served`; which file a name means, `mark`; who is behind an address, `places`).
//! 6. People look for endpoints by what is known of them (`find`).
//!
//! Tables and rows are in `tables`, what goes in and comes out in `value`.

mod contacts;
mod endpoints;
mod find;
mod mark;
mod places;
mod served;
mod server;
pub mod standing;
mod states;
pub(crate) mod tables;
mod turns;
mod value;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::base::time::Timestamp;
use crate::model::deployment::Endpoint;
use crate::model::update::UpdateId;
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::fleet::states::Batch;
use crate::store::writer::{Room, Tick};

pub(crate) use crate::store::fleet::contacts::{ContactTick, Gathered};
pub use crate::store::fleet::endpoints::{ENDPOINTS_MAX, HISTORY_MAX, PAGE_MAX};
pub use crate::store::fleet::mark::Mark;
pub use crate::store::fleet::served::{FILES_MAX, Sent, SentTo};
pub(crate) use crate::store::fleet::served::{Served, ServedTick};
pub use crate::store::fleet::server::FORMER_MAX;
pub use crate::store::fleet::states::{CHANGES_MAX, Change, News};
pub(crate) use crate::store::fleet::states::{States, StatesTick};
pub use crate::store::fleet::turns::Turned;
pub use crate::store::fleet::value::{
    Admitted, Bios, Contact, Contacts, Contest, CookieKey, Event, EventKind, Found, Os, Record, Registration, Row,
    Ruling, Server,
};

/// What is kept of endpoints in a store; clones share it.
#[derive(Clone, Debug)]
pub struct Fleet {
    core: Arc<Core>,
}

impl Fleet {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn look<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Arc<Core>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let core = Arc::clone(&self.core);
        self.core.reads.run(move || job(&core)).await?
    }

    /// Who this server is, and its keys at `now`; the first time makes them. `Unavailable` where they are to be made and the store
    /// cannot be written.
    pub async fn server(&self, now: Timestamp) -> Result<Server, Error> {
        if let Some(server) = self.look(move |core| core.index.read(|tx| server::read(tx, now))).await? {
            return Ok(server);
        }
        self.core.writable()?;
        let fresh = server::Fresh::new()?;
        self.core.change_fleet(move |tx| server::make(tx, &fresh, now)).await
    }

    /// Makes a new key that signs from now on; the former ones open for `overlap` more, or until the end that they have. Of more
    /// than [`FORMER_MAX`] the oldest go at once.
    pub async fn rotate(&self, now: Timestamp, overlap: Duration) -> Result<Server, Error> {
        self.core.writable()?;
        let fresh = server::Fresh::new()?;
        self.core.change_fleet(move |tx| server::rotate(tx, &fresh, now, overlap)).await
    }

    /// Lays what is known of an endpoint before `judge`, and writes what it rules. The judge is asked of a snapshot first, and again
    /// within the transaction where there is something to write: it must be pure. `Full` where a new one would be beyond
    /// [`ENDPOINTS_MAX`].
    pub async fn judge<T: Send + 'static>(
        &self,
        endpoint: Endpoint,
        judge: impl Fn(Option<Record>) -> Ruling<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.judge_and_tell(endpoint, judge, |_| ()).await
    }

    /// As [`Self::judge`], and then tells what was put, where something was: in the order of the commits, whether or not the caller is
    /// still there, and after [`Self::turn`] is another one. `told` must not block.
    pub async fn judge_and_tell<T: Send + 'static>(
        &self,
        endpoint: Endpoint,
        judge: impl Fn(Option<Record>) -> Ruling<T> + Send + 'static,
        told: impl FnOnce(&Record) + Send + 'static,
    ) -> Result<T, Error> {
        let known = self.endpoint(endpoint).await?;
        let ruling = judge(known);
        if ruling.put.is_none() && ruling.events.is_empty() {
            return Ok(ruling.answer);
        }
        self.core.writable()?;
        let gathered = Arc::clone(&self.core.states);
        let rule = move |tx: &redb::WriteTransaction| {
            let ruled = endpoints::rule(tx, endpoint, &judge)?;
            if ruled.is_new {
                // Whoever had the id before and was forgotten may have told something on its way out.
                gathered.drop_of(endpoint);
                states::forget(tx, endpoint)?;
                served::forget(tx, endpoint)?;
            }
            Ok(ruled)
        };
        let (heard, states) = (Arc::clone(&self.core.heard), Arc::clone(&self.core.states));
        let told = move |ruled: &endpoints::Ruled<T>| {
            heard.turns.turn(endpoint);
            if ruled.is_new {
                states.tell(News::Came(endpoint));
            }
            if let Some(record) = &ruled.put {
                told(record);
            }
        };
        Ok(self.core.writer.change_and_tell(Room::Adds, rule, told).await?.answer)
    }

    /// What is known of an endpoint.
    pub async fn endpoint(&self, endpoint: Endpoint) -> Result<Option<Record>, Error> {
        self.look(move |core| core.index.read(|tx| endpoints::get(tx, endpoint))).await
    }

    /// A number that is another one after what is known of an endpoint changed; of endpoints that share it, too. Ask for it before what is
    /// kept is looked up. Waits for nothing.
    pub fn turn(&self, endpoint: Endpoint) -> u64 {
        self.core.heard.turns.of(endpoint)
    }

    /// A number that is another one after what is known of any endpoint changed. Waits for nothing.
    pub fn revision(&self) -> u64 {
        self.core.heard.turns.all()
    }

    /// What [`Self::turn`] is for each endpoint now. Waits for nothing.
    pub fn turned(&self) -> Turned {
        self.core.heard.turns.turned()
    }

    /// Endpoints in the order of their ids, those behind `after`; at most [`PAGE_MAX`].
    pub async fn endpoints(&self, after: Option<Endpoint>, limit: usize) -> Result<Vec<Record>, Error> {
        self.look(move |core| core.index.read(|tx| endpoints::page(tx, after, limit.min(PAGE_MAX)))).await
    }

    /// Endpoints that fit, in the order of their names in lower case, then of their ids: those behind `after`; at most
    /// [`PAGE_MAX`]. Reads all that there are.
    pub async fn find(
        &self,
        fits: impl Fn(&Record, &Contacts) -> bool + Send + 'static,
        after: Option<(String, Endpoint)>,
        limit: usize,
    ) -> Result<Found, Error> {
        let gathered = Arc::clone(&self.core.heard);
        let limit = limit.min(PAGE_MAX);
        self.look(move |core| core.index.read(|tx| find::find(tx, &gathered, &fits, after.as_ref(), limit))).await
    }

    /// How many endpoints there are.
    pub async fn count(&self) -> Result<u64, Error> {
        self.look(|core| core.index.read(endpoints::count)).await
    }

    /// What happened to an endpoint, the oldest first.
    pub async fn history(&self, endpoint: Endpoint) -> Result<Vec<Event>, Error> {
        self.look(move |core| core.index.read(|tx| endpoints::history(tx, endpoint))).await
    }

    /// Forgets an endpoint with all that is kept of it; says whether it was known.
    pub async fn forget(&self, endpoint: Endpoint) -> Result<bool, Error> {
        self.forget_and_tell(endpoint, || ()).await
    }

    /// As [`Self::forget`], and then tells that it is gone, as [`Self::judge_and_tell`] does. `told` must not block.
    pub async fn forget_and_tell(
        &self,
        endpoint: Endpoint,
        told: impl FnOnce() + Send + 'static,
    ) -> Result<bool, Error> {
        self.core.writable()?;
        let core = Arc::clone(&self.core);
        self.core.syncing.run(move || forget(&core, endpoint, told)).await?
    }

    /// An endpoint told how updates stand there, and which of that is new. Waits for nothing; says whether so much is gathered that
    /// [`Self::keep_states`] should be called.
    pub fn stands(
        &self,
        endpoint: Endpoint,
        standing: &standing::Standing,
        changes: impl Iterator<Item = Change>,
    ) -> Result<bool, Error> {
        Ok(self.core.states.gather(endpoint, standing.row()?, changes))
    }

    /// Updates got these numbers. Waits for nothing, and is written before what names them, or with it.
    pub fn number_updates(&self, numbers: impl IntoIterator<Item = (u32, UpdateId)>) {
        self.core.states.name(numbers);
    }

    /// Writes what was gathered of states, without waiting for the next tick.
    pub async fn keep_states(&self) -> Result<(), Error> {
        self.core.writable()?;
        let batch = Arc::new(self.core.states.drain());
        let theirs = Arc::clone(&batch);
        let written = self.core.change_fleet(move |tx| states::write(tx, &theirs)).await;
        if written.is_err() {
            self.core.states.put_back(Batch::clone(&batch));
        }
        written
    }

    /// The numbers that updates have, those that are written.
    pub async fn numbers(&self) -> Result<Vec<(u32, UpdateId)>, Error> {
        self.look(|core| core.index.read(states::numbers)).await
    }

    /// Endpoints behind `after` that are known, with what they told as far as it is written; at most
    /// [`PAGE_MAX`]. Where there are none there are no more.
    pub async fn standings(
        &self,
        after: Option<Endpoint>,
    ) -> Result<Vec<(Endpoint, Option<standing::Standing>)>, Error> {
        self.look(move |core| core.index.read(|tx| states::page(tx, after, PAGE_MAX))).await
    }

    /// What became of the states of an endpoint, the oldest first; at most [`CHANGES_MAX`].
    pub async fn changes(&self, endpoint: Endpoint) -> Result<Vec<Change>, Error> {
        let states = Arc::clone(&self.core.states);
        self.look(move |core| core.index.read(|tx| states::changes(tx, &states, endpoint))).await
    }

    /// Files of which bytes left for an endpoint, as far as it is written.
    pub async fn sent_to(&self, endpoint: Endpoint) -> Result<SentTo, Error> {
        let gathered = Arc::clone(&self.core.heard);
        self.look(move |core| core.index.read(|tx| served::get(tx, &gathered, endpoint))).await
    }

    /// Writes what was gathered of contacts and of files that were sent, without waiting for the next tick.
    pub async fn keep_sent(&self) -> Result<(), Error> {
        self.core.writable()?;
        let (heard, served) = (Arc::clone(&self.core.heard), Arc::clone(&self.core.served));
        let ticks: Arc<[Box<dyn Tick + Sync>]> =
            Arc::new([Box::new(ContactTick::new(Arc::clone(&heard))), Box::new(ServedTick::new(served, heard))]);
        let theirs = Arc::clone(&ticks);
        let written = self.core.change_fleet(move |tx| theirs.iter().try_for_each(|tick| tick.write(tx))).await;
        ticks.iter().for_each(|tick| tick.settle(written.is_ok()));
        written
    }

    /// From now on [`Self::news`] tells of endpoints that come and go.
    pub fn listen(&self) {
        self.core.states.listen();
    }

    /// Whether any came or went.
    pub fn has_news(&self) -> bool {
        self.core.states.has_news()
    }

    /// What an endpoint told and is not written yet is not to be written any more. Waits for nothing.
    pub fn drop_states(&self, endpoint: Endpoint) {
        self.core.states.drop_of(endpoint);
    }

    /// Endpoints that came or went since this was asked last, in this order.
    pub fn news(&self) -> Vec<News> {
        self.core.states.heard()
    }

    /// An endpoint was heard of. Waits for nothing.
    pub fn heard(&self, endpoint: Endpoint, address: IpAddr, contact: Contact, at: Timestamp) {
        self.core.heard.note(endpoint, address, contact, at);
    }

    /// When an endpoint was last heard of, what is not written yet included.
    pub async fn contacts(&self, endpoint: Endpoint) -> Result<Contacts, Error> {
        let gathered = Arc::clone(&self.core.heard);
        self.look(move |core| core.index.read(|tx| contacts::get(tx, &gathered, endpoint))).await
    }
}

/// All that is kept of it goes in one transaction. Blocks.
fn forget(core: &Core, endpoint: Endpoint, told: impl FnOnce() + Send + 'static) -> Result<bool, Error> {
    let was_known = Arc::new(AtomicBool::new(false));
    let (states, known) = (Arc::clone(&core.states), Arc::clone(&was_known));
    let before = move |tx: &redb::WriteTransaction| {
        states.drop_of(endpoint);
        states::forget(tx, endpoint)?;
        served::forget(tx, endpoint)?;
        known.store(endpoints::forget(tx, endpoint)?, Ordering::Relaxed);
        Ok(())
    };
    let (heard, states) = (Arc::clone(&core.heard), Arc::clone(&core.states));
    let told = move || {
        heard.turns.turn(endpoint);
        heard.places().went(endpoint.0.bytes());
        states.tell(News::Went(endpoint));
        told();
    };
    core.catalog_write_with(Room::Frees, before, move |t, w| t.drop_endpoint(w, endpoint), told)?;
    Ok(was_known.load(Ordering::Relaxed))
}

impl Core {
    async fn change_fleet<T: Send + 'static>(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.writer.change(Room::Adds, change).await
    }
}
