//! Who this server is to endpoints, and which of their cookies have told what machine they are of.
//!
//! Id, epoch and keys lie in the store (`store::fleet`; the keys in no backup), so that cookies outlive a start of the node. What machine
//! a cookie is of stands in the cookie, and goes from an old one into the new one; but `RegisterComputer` is answered without a cookie, so
//! that until the next one it is remembered here. Who falls out of that registers once more.
//!
//! A key is replaced by the clock ([`Keys::turn`]), while the node runs; the former one opens what it sealed for as long again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use quick_cache::sync::Cache;
use zeroize::Zeroizing;

use crate::base::time::Timestamp;
use crate::fleet::registry::Machine;
use crate::model::update::UpdateId;
use crate::serve::client::cookie::{KEY_BYTES, Sealer, Ticket};
use crate::serve::client::error::Error;
use crate::store::fleet::{Fleet, Server};

/// How long a key seals before a new one does; the former one opens as long again. So many cookies are far fewer than one key may seal with
/// random nonces (2^32).
const KEY_LIFE: Duration = Duration::from_hours(30 * 24);

/// Endpoints whose cookies are remembered: as many as there can be, with 200 bytes for each that registered since the start.
const ENDPOINTS: usize = 200_000;

/// Cookies that are remembered of each: those that a machine takes in some hours, and a copy of it that comes in turns.
const SESSIONS: usize = 8;

/// What machine a cookie is of, by the cookie's number, the oldest first; none where it told to be one to which the id is not bound.
type Sessions = [(u64, Option<Machine>); SESSIONS];

/// Cookies of agents from another server that are remembered to have mapped what they hold: whole sites come over at once, and who falls
/// out maps once more.
const MAPPED: usize = 50_000;

/// The cookies of each endpoint that told what machine it is. None of them takes the place of another one's.
pub(super) struct Members {
    told: Cache<UpdateId, Sessions>,
    mapped: Cache<u64, ()>,
}

impl Default for Members {
    fn default() -> Self {
        Self { told: Cache::new(ENDPOINTS), mapped: Cache::new(MAPPED) }
    }
}

impl Members {
    /// Whoever has this cookie told what machine it is: the one that the id is bound to, or another one.
    pub(super) fn told(&self, ticket: &Ticket, machine: Option<Machine>) {
        let mut sessions = self.told.get(&ticket.client()).unwrap_or_default();
        // What was told before with the same cookie goes; else the oldest does. No cookie has the number 0.
        let place = sessions.iter().position(|(session, _)| *session == ticket.session).unwrap_or(0);
        if let Some(behind) = sessions.get_mut(place..) {
            behind.rotate_left(1);
        }
        if let Some(last) = sessions.last_mut() {
            *last = (ticket.session, machine);
        }
        self.told.insert(ticket.client(), sessions);
    }

    /// Whoever has this cookie was told what stands here for the updates that it held from another server.
    pub(super) fn mapped(&self, session: u64) {
        self.mapped.insert(session, ());
    }

    /// Whether it was.
    pub(super) fn has_mapped(&self, ticket: &Ticket) -> bool {
        ticket.session != 0 && self.mapped.get(&ticket.session).is_some()
    }

    /// What machine a cookie is of. What was told last counts: a copy of a machine has its cookies too.
    pub(super) fn machine(&self, ticket: &Ticket) -> Option<Machine> {
        let sessions = self.told.get(&ticket.client()).unwrap_or_default();
        let told = sessions.iter().rev().find(|(session, _)| *session == ticket.session && *session != 0);
        told.map_or(ticket.machine, |(_, machine)| *machine)
    }
}

/// Who this server is to endpoints, and what makes and reads its cookies now.
pub(super) struct Keys {
    server: UpdateId,
    fleet: Fleet,
    sealer: ArcSwap<Sealer>,
    /// When the key that seals was made, and the numbers of all; none where the store could not keep them.
    kept: Mutex<Option<(Timestamp, Vec<u32>)>>,
}

/// A sealer with all keys that open, the one that seals first.
fn sealer(server: &Server) -> Result<Sealer, Error> {
    let keys = std::iter::once(&server.signs).chain(&server.opens);
    let keys: Zeroizing<Vec<[u8; KEY_BYTES]>> = Zeroizing::new(keys.map(|key| *key.key.expose()).collect());
    Sealer::new(server.id, server.epoch, &keys)
}

/// When the key that seals was made, and the numbers of all.
fn made(server: &Server) -> (Timestamp, Vec<u32>) {
    (server.signs.made, std::iter::once(&server.signs).chain(&server.opens).map(|key| key.number).collect())
}

/// Whether a key has sealed for long enough. One of the future was made by a wrong clock: it is as good as any.
fn is_old(server: &Server, now: Timestamp) -> bool {
    now.since(server.signs.made) > KEY_LIFE
}

impl Keys {
    /// Those of a store; where it takes nothing, id and key live as long as the node runs.
    pub(super) async fn open(fleet: Fleet, now: Timestamp) -> Result<Self, Error> {
        let server = match fleet.server(now).await {
            Ok(server) if is_old(&server, now) => match fleet.rotate(now, KEY_LIFE).await {
                Ok(rotated) => rotated,
                Err(error) => {
                    tracing::warn!(%error, "the key of agents' cookies is not replaced yet");
                    server
                }
            },
            Ok(server) => server,
            Err(error) => {
                tracing::warn!(%error, "the keys of agents' cookies cannot be kept: after a start agents take new cookies");
                let (mut keys, mut id) = (Zeroizing::new(vec![[0; KEY_BYTES]]), [0; 16]);
                getrandom::fill(keys.as_flattened_mut()).map_err(|_| Error::Sealing)?;
                getrandom::fill(&mut id).map_err(|_| Error::Sealing)?;
                let server = UpdateId::new(id);
                let sealer = ArcSwap::from_pointee(Sealer::new(server, 0, &keys)?);
                return Ok(Self { server, fleet, sealer, kept: Mutex::default() });
            }
        };
        let sealer = ArcSwap::from_pointee(sealer(&server)?);
        Ok(Self { server: server.id, fleet, sealer, kept: Mutex::new(Some(made(&server))) })
    }

    /// By which endpoints know this server.
    pub(super) fn server(&self) -> UpdateId {
        self.server
    }

    /// What makes and reads cookies now.
    pub(super) fn sealer(&self) -> Guard<Arc<Sealer>> {
        self.sealer.load()
    }

    /// Replaces a key that has sealed for long enough, and lets go of those whose end has passed. Says whether another one seals now.
    pub(super) async fn turn(&self, now: Timestamp) -> Result<bool, Error> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // What could not be kept at the start lives until the end: another id would make all agents begin anew.
        let Some((sealed_since, numbers)) = kept().clone() else { return Ok(false) };
        let mut server = self.fleet.server(now).await?;
        if is_old(&server, now) {
            server = self.fleet.rotate(now, KEY_LIFE).await?;
        }
        let now_made = made(&server);
        if now_made == (sealed_since, numbers) {
            return Ok(false);
        }
        self.sealer.store(Arc::new(sealer(&server)?));
        let is_new = now_made.0 != sealed_since;
        *kept() = Some(now_made);
        Ok(is_new)
    }
}
