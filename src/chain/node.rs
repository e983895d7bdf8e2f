//! This node in its chain: authority, child, both or neither, and what of that is kept.
//!
//! 1. It has an id of its own, made once ([`Chain::open`]).
//! 2. As a parent it invites ([`Chain::invite`]): the first invitation of a node that follows nobody makes it an authority, with a root key, a
//!    feed key and the vouch. Nodes below join, renew and ask ([`Chain::take_in`], [`Chain::renew`], [`Chain::answer`]).
//! 3. As a child it joins ([`Chain::join`], in [`join`](crate::chain::join)), and follows its parent.
//! 4. [`Chain::run`] does what its role asks for, for as long as the node lives.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::base::disk::Disk;
use crate::base::hex;
use crate::base::secret::Key;
use crate::base::time::{Clock, Timestamp};
use crate::chain::alarm::{Alarm, State};
use crate::chain::answer::{Answer, Answerer, Question};
use crate::chain::ca::NodeCa;
use crate::chain::error::Error;
use crate::chain::keyring::{FEED, Keyring, ROOT, VOUCH, random};
use crate::chain::keys::{RootKey, feed_public};
use crate::chain::roll::{JoinRequest, Joined, Member, Refusal, Roll};
use crate::model::chain::hash::ChainId;
use crate::model::chain::ids::{NodeId, Position};
use crate::store::Store;
use crate::store::feed::Audiences;
use crate::upstream::peer::Parent;
use crate::wire::peer::name::{self, Named};
use crate::wire::peer::token::Token;

const ID: &str = "chain.node";
pub(super) const PARENT: &str = "chain.parent";

/// A chain of certificates and the key of the first.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// How the node takes part.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory.
    pub data: PathBuf,
    /// Where nodes below reach this one, `host:port`, for tokens.
    pub addresses: Vec<String>,
    /// What this node says of its version.
    pub version: String,
    /// The catalog is the parent's: what became visible of the feed is told to it.
    pub catalog: bool,
    /// The authority's decisions hold here, too.
    pub replica: bool,
    /// How often it reports to its parent, and gathers what it is: [`EVERY`](crate::chain::below::EVERY).
    pub report_every: Duration,
}

/// What a node is in its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nobody is above or below.
    None,
    /// It signs the feed.
    Authority,
    /// It has a token, and waits to be let in.
    Joining,
    /// It follows a parent.
    Child,
}

impl Role {
    /// The word for machines and people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Authority => "authority",
            Self::Joining => "joining",
            Self::Child => "child",
        }
    }
}

/// The parent, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ParentRow {
    pub(super) chain: String,
    pub(super) pin: String,
    pub(super) addresses: Vec<String>,
    pub(super) name: String,
}

/// What is looked at from outside.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Where the feed stands here.
    pub position: Option<Position>,
    /// How that stands to the authority; `None` on the authority itself, and before the first answer.
    pub state: Option<State>,
    /// What parents showed and was not believed, and since when.
    pub alarms: Vec<(NodeId, Alarm, Timestamp)>,
    /// From the authority to this node.
    pub path: Vec<NodeId>,
    /// What this node waits for, or what went wrong last.
    pub trouble: Option<String>,
    /// The fingerprint to be compared, while a join waits.
    pub fingerprint: Option<String>,
}

/// A token, ready to be handed over.
#[derive(Debug)]
pub struct Invited {
    /// The word itself: a secret.
    pub token: String,
    /// When it ends.
    pub until: Timestamp,
    /// Where nodes will look for this one.
    pub addresses: Vec<String>,
    /// The root key lies on this node and is to be exported.
    pub root_is_here: bool,
}

/// What a node that joins is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakenIn {
    /// It is in.
    Member {
        /// Its certificate, PEM.
        certificate: String,
        /// That of the authority that signed it.
        ca: String,
        /// The newest vouch, in hex.
        vouch: String,
        /// Who answers.
        node: String,
    },
    /// A person has to compare this.
    Waiting {
        /// The fingerprint of the node that asked.
        fingerprint: String,
    },
    /// It is not.
    Refused(Refusal),
}

pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) keys: Keyring,
    pub(super) me: NodeId,
    pub(super) roll: Roll,
    pub(super) ca: OnceLock<NodeCa>,
    pub(super) role: watch::Sender<Role>,
    /// Whether nodes below may come: the listener is to be opened.
    pub(super) open: watch::Sender<bool>,
    /// Changes whenever a node is turned away.
    pub(super) revoked: watch::Sender<u64>,
    pub(super) path: watch::Sender<Vec<NodeId>>,
    pub(super) moved: watch::Sender<u64>,
    /// Changes when the feed key became another one, and when nothing may be signed any more.
    pub(super) turned: watch::Sender<u64>,
    /// The way to the parent.
    pub(super) ways: watch::Sender<Option<Arc<Parent>>>,
    /// Up to where the catalog was told of the feed.
    pub(super) told: watch::Sender<Option<Position>>,
    pub(super) seen: Mutex<Seen>,
    /// What goes on with nodes below and with what is wished of this one.
    pub(super) below: crate::chain::below::Room,
    /// Nodes below as the parent knows them by a report that it took: their records are held here, too.
    pub(super) entitled: watch::Sender<Audiences>,
    /// Held while the role changes.
    pub(super) turn: tokio::sync::Mutex<()>,
}

/// This node in its chain; clones share it.
#[derive(Clone)]
pub struct Chain {
    pub(super) shared: Arc<Shared>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("me", &self.shared.me).finish_non_exhaustive()
    }
}

/// Runs what blocks on a thread that may.
pub(super) async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(job).await.map_err(|error| Error::Broken(format!("a task broke off: {error}")))?
}

impl Chain {
    /// Takes up what this node was.
    pub async fn open(config: Config, store: Store, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let keys = Keyring::new(disk, &config.data);
        let me = if let Some(bytes) = store.document(ID).await? {
            let id = <[u8; 16]>::try_from(bytes.as_slice());
            NodeId::new(id.map_err(|_| Error::Kept("the id of this node is damaged".into()))?)
        } else {
            let id: [u8; 16] = random()?;
            store.set_document(ID, Some(id.to_vec())).await?;
            NodeId::new(id)
        };
        let is_child = store.document(PARENT).await?.is_some();
        let roll = Roll::new(store.clone());
        let is_open = roll.is_open().await?;
        let ring = keys.clone();
        let (joins, signs) =
            blocking(move || Ok((ring.read(crate::chain::keyring::TOKEN)?.is_some(), ring.read(VOUCH)?.is_some())))
                .await?;
        let role = match (joins, is_child, signs) {
            (true, ..) => Role::Joining,
            (_, true, _) => Role::Child,
            (.., true) => Role::Authority,
            _ => Role::None,
        };
        let path = if role == Role::Authority { vec![me] } else { Vec::new() };
        let shared = Shared {
            config,
            store,
            clock,
            keys,
            me,
            roll,
            ca: OnceLock::new(),
            role: watch::Sender::new(role),
            open: watch::Sender::new(is_open),
            revoked: watch::Sender::new(0),
            path: watch::Sender::new(path),
            moved: watch::Sender::new(0),
            turned: watch::Sender::new(0),
            ways: watch::Sender::new(None),
            told: watch::Sender::new(None),
            seen: Mutex::default(),
            below: crate::chain::below::Room::default(),
            entitled: watch::Sender::default(),
            turn: tokio::sync::Mutex::new(()),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// This node.
    pub fn me(&self) -> NodeId {
        self.shared.me
    }

    /// What it is.
    pub fn role(&self) -> Role {
        *self.shared.role.borrow()
    }

    /// Whether nodes below may come; changes with the first invitation.
    pub fn opened(&self) -> watch::Receiver<bool> {
        self.shared.open.subscribe()
    }

    /// The same, whenever it changes.
    pub fn roles(&self) -> watch::Receiver<Role> {
        self.shared.role.subscribe()
    }

    /// Changes with each publication, and with each thing of the parent's that became visible.
    pub fn moved(&self) -> watch::Receiver<u64> {
        self.shared.moved.subscribe()
    }

    /// The way to the parent, whenever there is another one; `None` before it is known.
    pub fn ways(&self) -> watch::Receiver<Option<Arc<Parent>>> {
        self.shared.ways.subscribe()
    }

    /// Up to where of the parent's feed the catalog was told, whenever that changes.
    pub fn told(&self) -> watch::Receiver<Option<Position>> {
        self.shared.told.subscribe()
    }

    /// How it stands.
    pub fn seen(&self) -> Seen {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn see(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The nodes below.
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        self.shared.roll.members().await
    }

    async fn ca(&self) -> Result<&NodeCa, Error> {
        if self.shared.ca.get().is_none() {
            let _turn = self.shared.turn.lock().await;
            if self.shared.ca.get().is_none() {
                let (keys, now) = (self.shared.keys.clone(), self.shared.clock.now());
                let made = blocking(move || NodeCa::open(&keys, now)).await?;
                let _ = self.shared.ca.set(made);
            }
        }
        self.shared.ca.get().ok_or_else(|| Error::Certificate("the authority for nodes is not there".into()))
    }

    /// For the listener of nodes: the authority by which they are verified, and what this node shows.
    pub async fn listener(&self) -> Result<(CertificateDer<'static>, Identity), Error> {
        let ca = self.ca().await?;
        Ok((ca.certificate().clone(), ca.own(self.shared.me, self.shared.clock.now())?))
    }

    /// The chain that this node is in.
    pub async fn chain(&self) -> Result<Option<ChainId>, Error> {
        match self.role() {
            Role::None | Role::Joining => Ok(None),
            Role::Child => Ok(Some(self.parent().await?.1)),
            Role::Authority => Ok(Some(self.feed_key().await?.vouch().chain())),
        }
    }

    pub(super) async fn parent(&self) -> Result<(ParentRow, ChainId), Error> {
        let row = self.shared.store.document(PARENT).await?;
        let row = row.ok_or_else(|| Error::Refused("this node has no parent".into()))?;
        let row: ParentRow = serde_json::from_slice(&row).map_err(|error| Error::Kept(error.to_string()))?;
        let chain = hex::decode(&row.chain).map(ChainId::new);
        let chain = chain.ok_or_else(|| Error::Kept("the chain is damaged".into()))?;
        Ok((row, chain))
    }

    /// Makes this node an authority, where it is none.
    async fn found(&self) -> Result<(), Error> {
        let _turn = self.shared.turn.lock().await;
        if self.role() != Role::None {
            return Ok(());
        }
        let (keys, now) = (self.shared.keys.clone(), self.shared.clock.now());
        blocking(move || {
            let (root, feed) = (Key::new(random()?), Key::new(random()?));
            let never = Timestamp::from_ms(u64::MAX);
            let vouch = RootKey::from_seed(&root)?.vouch(&feed_public(&feed)?, 1, 1, now, never)?;
            keys.write(ROOT, root.expose())?;
            keys.write(FEED, feed.expose())?;
            // What makes it an authority comes last.
            keys.write(VOUCH, &vouch.to_bytes())
        })
        .await?;
        self.shared.path.send_replace(vec![self.shared.me]);
        self.shared.role.send_replace(Role::Authority);
        Ok(())
    }

    /// Invites a node; where this one is nobody yet, it is an authority from now on.
    pub async fn invite(
        &self,
        name: &str,
        life: Duration,
        network: Option<IpNet>,
        at_once: bool,
    ) -> Result<Invited, Error> {
        if self.role() == Role::Joining {
            return Err(Error::Refused("this node is joining a parent: invite when it is in".into()));
        }
        if self.shared.config.addresses.is_empty() {
            return Err(Error::Refused("nobody could reach this node: set [advertise] names and [listen] peer".into()));
        }
        self.found().await?;
        let pin = self.ca().await?.pin();
        let chain = self.chain().await?.ok_or_else(|| Error::Refused("this node is in no chain".into()))?;
        let until = self.shared.clock.now().after(life);
        let (invitation, secret) = self.shared.roll.invite(name, until, network, at_once).await?;
        let addresses = self.shared.config.addresses.clone();
        let (secret, name) = (Key::new(secret), name.to_owned());
        let token = Token { invitation, secret, pin, chain, until, addresses: addresses.clone(), name };
        let keys = self.shared.keys.clone();
        let root_is_here = blocking(move || Ok(keys.read(ROOT)?.is_some())).await?;
        self.shared.open.send_replace(true);
        Ok(Invited { token: token.write()?, until, addresses, root_is_here })
    }

    /// Gives the root key out, and forgets it: `keep` is to make it durable first.
    pub async fn export_root(
        &self,
        keep: impl FnOnce(&[u8]) -> std::io::Result<()> + Send + 'static,
    ) -> Result<(), Error> {
        let keys = self.shared.keys.clone();
        blocking(move || {
            let gone = || {
                Error::Refused("the root key is not on this node: it was exported before, or never made here".into())
            };
            let root = keys.read(ROOT)?.ok_or_else(gone)?;
            keep(&root).map_err(|source| Error::File {
                action: "write",
                path: "the exported root key".into(),
                source,
            })?;
            keys.remove(ROOT)
        })
        .await
    }

    /// A person compared the fingerprint of a node that waits.
    pub async fn approve(&self, name: &str) -> Result<Member, Error> {
        let member = self.shared.roll.approve(name).await?;
        // Whoever had its id before is turned away.
        self.shared.revoked.send_modify(|times| *times += 1);
        Ok(member)
    }

    /// A node is turned away, at once.
    pub async fn revoke(&self, name: &str) -> Result<Member, Error> {
        let member = self.shared.roll.revoke(name).await?;
        self.shared.revoked.send_modify(|times| *times += 1);
        Ok(member)
    }

    /// A node asks to join.
    pub async fn take_in(&self, request: &JoinRequest, from: IpAddr) -> Result<TakenIn, Error> {
        let (ca, now) = (self.ca().await?, self.shared.clock.now());
        let joined = self.shared.roll.join(ca, self.shared.me, request, from, now).await?;
        Ok(match joined {
            Joined::Waiting { fingerprint } => TakenIn::Waiting { fingerprint },
            Joined::Refused(refusal) => TakenIn::Refused(refusal),
            Joined::Member { certificate } => {
                self.shared.revoked.send_modify(|times| *times += 1);
                let vouch = match self.role() {
                    Role::Authority => hex::encode(&self.feed_key().await?.vouch().to_bytes()),
                    _ => String::new(),
                };
                let (ca, node) = (ca.pem().to_owned(), self.shared.me.to_string());
                TakenIn::Member { certificate, ca, vouch, node }
            }
        })
    }

    /// Who a certificate names, where it counts.
    pub async fn who(&self, certificate: &CertificateDer<'_>) -> Result<Named, Error> {
        let named = name::of_certificate(certificate, &self.ca().await?.pin())?;
        self.shared.roll.admit(&named).await?;
        Ok(named)
    }

    /// Another certificate for a node.
    pub async fn renew(&self, named: &Named, csr: &str) -> Result<String, Error> {
        self.shared.roll.renew(self.ca().await?, named, csr, self.shared.clock.now()).await
    }

    /// What the feed says to a question of a node below. Whoever is revoked while it waits gets nothing any more.
    pub async fn answer(&self, named: &Named, question: Question) -> Result<Answer, Error> {
        let Some(chain) = self.chain().await? else { return Ok(Answer::OtherChain) };
        if let Some(shown) = &question.shows {
            self.look_back(shown).await?;
        }
        let (path, moved) = (self.shared.path.subscribe(), self.shared.moved.subscribe());
        let answerer = Answerer::new(self.shared.store.clone(), chain, path, moved);
        let mut revoked = self.shared.revoked.subscribe();
        loop {
            revoked.borrow_and_update();
            self.shared.roll.admit(named).await?;
            tokio::select! {
                answer = answerer.answer(question.clone()) => {
                    let answer = answer?;
                    self.shared.roll.admit(named).await?;
                    return Ok(answer);
                }
                _ = revoked.changed() => {}
            }
        }
    }

    /// Does what the role asks for until it is told to stop.
    pub async fn run(&self, stop: CancellationToken) {
        let mut role = self.shared.role.subscribe();
        while !stop.is_cancelled() {
            let now = *role.borrow_and_update();
            let ended = stop.child_token();
            let work = async {
                match now {
                    Role::None => std::future::pending().await,
                    Role::Authority => self.sign(ended.clone()).await,
                    Role::Joining => self.go_on_joining().await,
                    Role::Child => self.follow().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = role.changed() => {}
                () = work => {}
            }
            ended.cancel();
        }
    }
}
