//! What this node tells of itself, gathered and kept like what nodes below it tell.
//!
//! The first time after a start all is told, so that what went meanwhile goes; then what differs from what was told last.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::base::hex;
use crate::chain::alarm::State;
use crate::chain::below::host::Host;
use crate::chain::error::Error;
use crate::chain::keyring::random;
use crate::chain::node::{Chain, Role, blocking};
use crate::model::chain::below::{About, HELD_BYTES_MAX, HeldSaid, NODE_BYTES_MAX, NodeSaid, Report, Row, Told};
use crate::model::deployment::Endpoint;
use crate::store::below::{Taken, Taking};

/// Rows that are kept together.
const STEP: usize = 1_000;
/// Of so many gatherings one looks at endpoints, too: each of them is looked at then.
const ENDPOINTS_EVERY: u32 = 5;
/// Words of a node that are told: alarms, errors.
const WORDS_MAX: usize = 16;
/// Characters of each.
const WORD_CHARS_MAX: usize = 400;

/// What was told last.
#[derive(Debug)]
pub(super) struct Own {
    epoch: u64,
    /// Up to which number of its own.
    to: u64,
    /// By endpoint, a hash of its row.
    known: HashMap<Endpoint, u64>,
    turn: u32,
}

fn hash(told: &Told) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    let Told { name, system, contact, scanned, compliant, restart, missing, stands } = told;
    (name, system, contact, scanned, compliant, restart, missing).hash(&mut hasher);
    for stand in stands {
        (stand.update, stand.state, stand.changed, stand.code).hash(&mut hasher);
    }
    hasher.finish()
}

fn short(words: &mut Vec<String>) {
    words.truncate(WORDS_MAX);
    for word in words {
        *word = word.chars().take(WORD_CHARS_MAX).collect();
    }
}

impl Own {
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self { epoch: u64::from_le_bytes(random()?), to: 0, known: HashMap::new(), turn: 0 })
    }

    /// Gathers, and keeps what is new.
    pub(super) async fn gather(&mut self, chain: &Chain, host: &dyn Host, every: Duration) -> Result<(), Error> {
        let path = vec![chain.me()];
        let mut rows = vec![Row { path: path.clone(), about: About::Node(chain.said(host, every).await?) }];
        rows.push(Row { path: path.clone(), about: About::Held(chain.held(host).await?) });
        let is_turn = self.turn.is_multiple_of(ENDPOINTS_EVERY);
        if !is_turn {
            self.turn += 1;
            return self.keep(chain, rows, true).await;
        }
        let (mut after, mut gone) = (None, std::mem::take(&mut self.known));
        loop {
            let page = host.endpoints(after).await.map_err(Error::Broken)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (endpoint, told) in page {
                let now = hash(&told);
                if gone.remove(&endpoint) != Some(now) {
                    rows.push(Row { path: path.clone(), about: About::Endpoint(endpoint, told) });
                }
                self.known.insert(endpoint, now);
            }
            if rows.len() >= STEP {
                self.keep(chain, std::mem::take(&mut rows), false).await?;
            }
        }
        rows.extend(gone.into_keys().map(|endpoint| Row { path: path.clone(), about: About::EndpointGone(endpoint) }));
        self.keep(chain, rows, true).await?;
        self.turn += 1;
        Ok(())
    }

    async fn keep(&mut self, chain: &Chain, rows: Vec<Row>, last: bool) -> Result<(), Error> {
        let (from, to, now) = (self.to, self.to + 1, chain.shared.clock.now());
        let report = Report { epoch: self.epoch, from, to, last, rows };
        let (me, keep_gone) = (chain.me(), chain.role() == Role::Child);
        let taking = Taking { me, child: me, report, now, stale: now, keep_gone };
        match chain.shared.store.below().take(taking).await? {
            Taken::Kept { refused: 0, .. } => {
                self.to = to;
                Ok(())
            }
            Taken::Kept { refused, .. } => {
                tracing::warn!(refused, "more endpoints or updates are told of than a node keeps");
                self.to = to;
                Ok(())
            }
            Taken::Elsewhere { .. } => Err(Error::Broken("what this node tells of itself was kept by another".into())),
        }
    }
}

impl Chain {
    /// What this node says of itself, as JSON.
    async fn said(&self, host: &dyn Host, every: Duration) -> Result<Bytes, Error> {
        let mut said = NodeSaid { name: host.name(), heartbeat: host.heartbeat().await, ..NodeSaid::default() };
        let seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let keys = self.shared.keys.clone();
        let own = blocking(move || crate::chain::join::public_keys(&keys)).await?;
        let beat = &mut said.heartbeat;
        beat.at = self.shared.clock.now();
        beat.every_s = u32::try_from(every.as_secs()).unwrap_or(u32::MAX);
        beat.version.clone_from(&self.shared.config.version);
        if self.role() == Role::Child {
            "parent".clone_into(&mut beat.upstream);
            (if self.shared.config.replica { "replica" } else { "autonomous" }).clone_into(&mut beat.mode);
        }
        beat.position = seen.position.map(|position| position.to_string());
        (beat.state, beat.as_of) = match seen.state {
            None => (None, None),
            Some(State::Empty) => (Some("empty".into()), None),
            Some(State::Current { as_of }) => (Some("current".into()), Some(as_of)),
            Some(State::Frozen { since }) => (Some("frozen".into()), Some(since)),
        };
        beat.alarms = seen
            .alarms
            .iter()
            .map(|(node, alarm, at)| format!("{} by {node} at {at}: {alarm}", alarm.word()))
            .collect();
        beat.errors.extend(seen.trouble);
        short(&mut beat.alarms);
        short(&mut beat.errors);
        if let Some((tls, sealing, fingerprint)) = own {
            (beat.tls_key, beat.sealing_key) = (hex::encode(&tls), hex::encode(&sealing));
            said.fingerprint = fingerprint;
        }
        beat.refused = self.shared.below.refused.load(Ordering::Relaxed);
        let json = serde_json::to_vec(&said).map_err(|error| Error::Broken(error.to_string()))?;
        if json.len() > NODE_BYTES_MAX {
            return Err(Error::Broken("this node has more to say of itself than a report takes".into()));
        }
        Ok(json.into())
    }

    /// Its settings and answers, as JSON: the longest settings are cut where all would be too long.
    async fn held(&self, host: &dyn Host) -> Result<Bytes, Error> {
        let answers = self.answers().await?;
        let mut said = HeldSaid { settings: host.settings().await, answers };
        loop {
            let json = serde_json::to_vec(&said).map_err(|error| Error::Broken(error.to_string()))?;
            if json.len() <= HELD_BYTES_MAX || said.settings.is_empty() {
                return Ok(json.into());
            }
            let longest = said.settings.iter().enumerate().max_by_key(|(_, one)| one.value.to_string().len());
            if let Some(at) = longest.map(|(at, _)| at) {
                said.settings.remove(at);
            }
        }
    }
}
