//! The catalog takes what the parent's feed brought: what was decided at once, revisions in a run that the node's jobs begin.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::chain::error::Error;
use crate::chain::node::{Chain, Role};
use crate::chain::tell::Teller;
use crate::model::chain::ids::Position;
use crate::store::catalog::Applied;

/// How long somebody who starts a run waits for the parent's answer.
const ANSWER: Duration = Duration::from_secs(30);

impl Chain {
    /// Whether the catalog follows the parent: what its feed brings is to be taken.
    pub fn feeds_catalog(&self) -> bool {
        self.shared.config.catalog && self.role() == Role::Child
    }

    /// Whether what people decide is decided by the authority above, and taken here.
    pub fn is_replica(&self) -> bool {
        self.feeds_catalog() && self.shared.config.replica
    }

    /// What came of the feed, as far as that needs no run.
    pub(super) async fn tell_quietly(&self, teller: &Teller, at: Position) -> Result<(), Error> {
        // Who has it tells of this too: it looks once more at the end.
        let Ok(_telling) = self.shared.telling.try_lock() else {
            self.shared.due.send_modify(|times| *times += 1);
            return Ok(());
        };
        if teller.quietly().await? {
            self.shared.due.send_modify(|times| *times += 1);
        } else {
            self.shared.told.send_replace(Some(at));
        }
        Ok(())
    }

    /// Has the parent asked at once where the last question failed, and waits for what comes of it.
    ///
    /// # Errors
    /// [`Error::Refused`] with what keeps this node from its parent.
    pub async fn ask_now(&self) -> Result<(), Error> {
        if self.role() != Role::Child {
            return Err(Error::Refused("this node has joined no parent yet: `waystation join`".into()));
        }
        let mut turns = self.shared.turns.subscribe();
        let seen = self.seen();
        if seen.trouble.is_none() && seen.position.is_some() {
            // A question waits at the parent for whatever comes.
            return Ok(());
        }
        self.shared.hurry.notify_one();
        let answered = timeout(ANSWER, turns.changed()).await.is_ok();
        let trouble = self.seen().trouble;
        match trouble {
            Some(trouble) => Err(Error::Refused(trouble)),
            None if answered => Ok(()),
            None => Err(Error::Refused(format!("the parent has not answered for {} s", ANSWER.as_secs()))),
        }
    }

    /// Tells the catalog all that came, in its run of this number, until `cancel`; `each` hears what came of each step.
    pub async fn tell_in(
        &self,
        run: u64,
        cancel: &CancellationToken,
        each: &mut (dyn FnMut(Applied) + Send),
    ) -> Result<(), Error> {
        let _telling = self.shared.telling.lock().await;
        let (_, chain) = self.parent().await?;
        let Some(at) = self.seen().position else {
            return Err(Error::Refused("nothing of the parent's feed was verified yet".into()));
        };
        let teller = Teller::new(self.shared.store.clone(), chain, self.shared.config.replica);
        teller.tell_in(run, at, cancel, each).await?;
        self.shared.told.send_replace(Some(at));
        Ok(())
    }

    /// The same in a run of its own, where no jobs begin any.
    pub async fn tell(&self) -> Result<Applied, Error> {
        let _telling = self.shared.telling.lock().await;
        let (_, chain) = self.parent().await?;
        let Some(at) = self.seen().position else { return Ok(Applied::default()) };
        let teller = Teller::new(self.shared.store.clone(), chain, self.shared.config.replica);
        let applied = teller.tell(at).await?;
        self.shared.told.send_replace(Some(at));
        Ok(applied)
    }

    /// What stands above, as the history and people know it.
    pub async fn above(&self) -> Option<String> {
        let (row, chain) = self.parent().await.ok()?;
        Some(format!("chain {chain}, by {}", row.addresses.first()?))
    }
}
