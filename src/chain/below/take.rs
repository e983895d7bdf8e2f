//! A parent takes what a node below tells: for its own subtree, and no more often than it can be read.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::base::time::Timestamp;
use crate::chain::below::EVERY;
use crate::chain::error::Error;
use crate::chain::node::{Chain, Role, blocking};
use crate::chain::roll::Member;
use crate::model::chain::below::{About, NODE_BYTES_MAX, NodeSaid};
use crate::model::chain::hash::ChainId;
use crate::model::chain::ids::NodeId;
use crate::store::below::{Taken, Taking};
use crate::wire::peer::name::Named;
use crate::wire::peer::report;

/// How far apart reports of two children should be, so that many of them come less often: taking one costs the parent some 10 ms.
const APART: Duration = Duration::from_millis(100);
/// Characters of what a node says of why it goes.
const REASON_MAX: usize = 32;

/// What a node is answered to a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Up to where it is known what it told; nothing where nothing of its numbering is.
    pub taken: Option<u64>,
    /// How often it should come.
    pub again: Duration,
}

/// What the node itself says, with what its parent knows of it.
fn signed(said: &[u8], member: &Member) -> Option<Bytes> {
    let mut said: NodeSaid = serde_json::from_slice(said).ok()?;
    said.name.clone_from(&member.name);
    said.fingerprint.clone_from(&member.fingerprint);
    said.gone = None;
    let json = serde_json::to_vec(&said).ok()?;
    (json.len() <= NODE_BYTES_MAX).then(|| json.into())
}

impl Chain {
    /// Takes a report of the node that a certificate names.
    pub async fn reported(&self, named: &Named, body: Bytes) -> Result<Reported, Error> {
        let _turn = self.shared.below.taking.lock().await;
        let member = self.shared.roll.admit(named).await?;
        let (child, mine) = (named.node, member.clone());
        let (report, strange) = blocking(move || {
            let mut report = report::read(&body)?;
            let many = report.rows.len();
            report.rows.retain_mut(|row| match &mut row.about {
                About::Node(said) if row.path == [child] => signed(said, &mine).map(|signed| *said = signed).is_some(),
                About::Node(said) => serde_json::from_slice::<NodeSaid>(said).is_ok(),
                _ => true,
            });
            let strange = many - report.rows.len();
            Ok((report, strange as u64))
        })
        .await?;
        let (to, now) = (report.to, self.shared.clock.now());
        let is_answer = report.rows.iter().any(|row| matches!(row.about, About::Held(_)));
        let again = self.again().await?;
        let (me, keep_gone) = (self.me(), self.role() == Role::Child);
        let stale = Timestamp::from_ms(now.ms().saturating_sub(millis(again.max(EVERY) * 3)));
        let taking = Taking { me, child, report, now, stale, keep_gone };
        let taken = match self.shared.store.below().take(taking).await? {
            Taken::Elsewhere { to } => to,
            Taken::Kept { refused, changed } => {
                if refused + strange > 0 {
                    self.shared.below.refused.fetch_add(refused + strange, Ordering::Relaxed);
                    tracing::warn!(node = %child, name = member.name, refused = refused + strange, "a node told of others than those below it, or more than is kept");
                }
                if is_answer && changed && keep_gone {
                    self.shared.below.wake.notify_one();
                }
                Some(to)
            }
        };
        Ok(Reported { taken, again })
    }

    /// How often a child should come: so many have to be read between.
    pub(super) async fn again(&self) -> Result<Duration, Error> {
        let children = u32::try_from(self.members().await?.len()).unwrap_or(u32::MAX);
        Ok(self.shared.config.report_every.max(APART.saturating_mul(children)))
    }

    /// A node says that it goes: it was uninstalled, or follows somebody else from now on.
    pub async fn goodbye(&self, named: &Named, reason: &str, chain: Option<ChainId>) -> Result<(), Error> {
        if !["uninstalled", "enrolled"].contains(&reason) {
            let told: String = reason.chars().take(REASON_MAX).collect();
            return Err(Error::Order(format!("a node goes because it is uninstalled or enrolled, not {told:?}")));
        }
        self.shared.roll.admit(named).await?;
        let member = self.shared.roll.gone(named.node, reason).await?;
        self.shared.revoked.send_modify(|times| *times += 1);
        tracing::warn!(node = %named.node, name = member.name, reason, chain = chain.map(|chain| chain.to_string()), "a node below says that it goes");
        self.note_gone(named.node, reason).await
    }

    /// What went is told on.
    pub(super) async fn note_gone(&self, node: NodeId, reason: &str) -> Result<(), Error> {
        let below = self.shared.store.below();
        let Some((known, _)) = below.node(node).await? else { return Ok(()) };
        let mut said: NodeSaid = serde_json::from_slice(&known.said).unwrap_or_default();
        said.gone = Some(reason.to_owned());
        let json = serde_json::to_vec(&said).map_err(|error| Error::Broken(error.to_string()))?;
        below.note(node, About::Node(json.into()), self.role() == Role::Child).await?;
        self.shared.below.wake.notify_one();
        Ok(())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
