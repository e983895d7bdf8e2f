//! A node tells its parent what that does not know yet.
//!
//! 1. It gathers what is its own.
//! 2. The first report after a start brings nothing, and finds out where the parent stands: it goes on from there, or begins anew where the
//!    parent does not know, or knows less than what is still told of what went.
//! 3. Each report that was taken moves that place. What the parent will not take there is asked for from the beginning.
//!
//! Each node has its own moment within the interval, by its id, so that children do not all come at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::chain::below::EVERY;
use crate::chain::below::host::Host;
use crate::chain::below::own::Own;
use crate::chain::error::Error;
use crate::chain::join::refused;
use crate::chain::node::{Chain, Role};
use crate::model::chain::below::Report;
use crate::model::chain::ids::Audience;
use crate::upstream::peer::Parent;
use crate::wire::peer::report;

/// Plain bytes of one report: read whole by the parent, which may have many children.
const BYTES: usize = 4 << 20;
/// Reports in one turn: as many as 250,000 endpoints need, with some room.
const TURNS_MAX: usize = 1_000;
/// The longest that a parent may ask for.
const AGAIN_MAX: Duration = Duration::from_hours(1);
/// The parent's answer is short.
const ANSWER_MAX: usize = 4 << 10;

#[derive(Debug, Deserialize)]
struct Answer {
    /// Up to where it has what this node told; nothing where it has nothing of this numbering.
    taken: Option<u64>,
    /// How often it would like to be told, in milliseconds.
    #[serde(default)]
    again_ms: u64,
}

impl Chain {
    /// Steps 1 to 3 until it is told to stop. Also on an authority, which tells nobody: people look at what is gathered.
    pub async fn report(&self, host: Arc<dyn Host>, stop: CancellationToken) {
        let _ = self.shared.below.host.set(Arc::downgrade(&host));
        stop.run_until_cancelled(self.report_on(host)).await;
    }

    async fn report_on(&self, host: Arc<dyn Host>) {
        let mut roles = self.roles();
        let (mut own, mut at) = (None, None);
        let every = self.shared.config.report_every;
        let mut again = every;
        loop {
            while !matches!(*roles.borrow_and_update(), Role::Authority | Role::Child) {
                (own, at) = (None, None);
                if roles.changed().await.is_err() {
                    return;
                }
            }
            if let Err(error) = self.obey(&*host).await {
                tracing::warn!(%error, "what the authority wishes of this node is not done yet");
            }
            match self.turn_up(&*host, &mut own, &mut at, again).await {
                Ok(wished) => again = wished.clamp(every, AGAIN_MAX.max(every)),
                Err(error) => {
                    // What is in memory may be ahead of what was kept.
                    own = None;
                    tracing::warn!(%error, "this node's report is sent again in a while");
                }
            }
            let mut moved = self.moved();
            let wait = tokio::time::sleep(self.until_its_moment(again));
            tokio::pin!(wait);
            loop {
                tokio::select! {
                    () = &mut wait => break,
                    () = self.shared.below.wake.notified() => break,
                    changed = roles.changed() => if changed.is_err() { return } else { break },
                    // Something new in the feed may be for this node.
                    _ = moved.changed() => match self.obey(&*host).await {
                        Ok(true) => break,
                        Ok(false) => {}
                        Err(error) => tracing::warn!(%error, "what the authority wishes of this node is not done yet"),
                    },
                }
            }
        }
    }

    /// Until this node's moment in an interval comes, more than half an interval from now on.
    fn until_its_moment(&self, every: Duration) -> Duration {
        let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1);
        let word = self.me().bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let (moment, now) = (word % every, self.shared.clock.now().ms() % every);
        let wait = (moment + every - now) % every;
        Duration::from_millis(if wait < every / 2 { wait + every } else { wait })
    }

    async fn turn_up(
        &self,
        host: &dyn Host,
        own: &mut Option<Own>,
        at: &mut Option<u64>,
        every: Duration,
    ) -> Result<Duration, Error> {
        let mut gathering = match own.take() {
            Some(own) => own,
            None => Own::new()?,
        };
        gathering.gather(self, host, every).await?;
        *own = Some(gathering);
        if self.role() != Role::Child {
            return Ok(EVERY.min(every));
        }
        let (parent, ..) = self.way().await?;
        self.send(&parent, at).await
    }

    async fn send(&self, parent: &Parent, at: &mut Option<u64>) -> Result<Duration, Error> {
        let (below, mut begun) = (self.shared.store.below(), 0);
        let others = below.others(self.me()).await?.into_iter().map(Audience::node);
        let others: BTreeSet<Audience> = others.collect();
        for _ in 0..TURNS_MAX {
            let piece = below.behind(self.me(), at.unwrap_or(u64::MAX), BYTES).await?;
            let (from, to) = (at.unwrap_or(piece.to), piece.to);
            let report = Report { epoch: piece.epoch, from, to, last: piece.last, rows: piece.rows };
            let body = tokio::task::spawn_blocking(move || report::write(&report)).await;
            let body = body.map_err(|error| Error::Broken(format!("a task broke off: {error}")))??;
            let reply = parent.post("/peer/v1/report", "application/vnd.waystation.report", body).await?;
            if reply.status != 200 {
                return Err(refused(reply).await);
            }
            let body = reply.collect(ANSWER_MAX).await?;
            let answer: Answer = serde_json::from_slice(&body).map_err(|error| Error::Order(error.to_string()))?;
            if answer.taken == Some(to) {
                *at = Some(to);
                below.acknowledged(to).await?;
                if piece.last {
                    // From now on the parent gives what is for them.
                    self.shared.entitled.send_if_modified(|entitled| {
                        let is_new = **entitled != others;
                        if is_new {
                            *entitled = Arc::new(others.clone());
                        }
                        is_new
                    });
                    return Ok(Duration::from_millis(answer.again_ms));
                }
                continue;
            }
            let knows = answer.taken.filter(|knows| (piece.floor..=to).contains(knows) && at.is_none());
            if knows.is_none() {
                begun += 1;
                if begun > 2 {
                    return Err(Error::Order("the parent asks for all again and again".into()));
                }
                tracing::info!("the parent is told all that this node knows of its endpoints and of nodes below");
            }
            *at = Some(knows.unwrap_or(0));
        }
        Err(Error::Order("the parent takes no end of reports".into()))
    }
}
