//! Who may be below this node: invitations, and the nodes that took them.
//!
//! 1. An invitation is kept with the hash of its secret ([`Roll::invite`]).
//! 2. The first key that comes with the secret takes it ([`Roll::join`]); another one is told who did. Asking again with the same key uses
//!    nothing up.
//! 3. A person compares the fingerprint and approves ([`Roll::approve`]), unless the invitation says that nobody has to.
//! 4. Each request of a node is held against its row ([`Roll::admit`]): whoever is revoked is turned away at once, on open connections too.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::base::hex;
use crate::base::time::Timestamp;
use crate::chain::ca::{self, NodeCa};
use crate::chain::error::Error;
use crate::chain::keyring::random;
use crate::model::chain::hash::{invitation, node_fingerprint};
use crate::model::chain::ids::NodeId;
use crate::store::Store;
use crate::wire::peer::name::{self, Named};

const INVITATIONS: &str = "chain.invitation.";
const MEMBERS: &str = "chain.member.";

/// Certificates of one node that are good side by side: the one in use and the one that takes its place.
const SERIALS_MAX: usize = 3;
/// Invitations and nodes that are kept: five times the nodes that a parent is made for.
const ROWS_MAX: usize = 2_500;
/// Characters of a name.
pub const NAME_MAX: usize = 100;
/// Wrong secrets from one network within [`SLOW`] until `join` is closed to it for as long.
const WRONG_MAX: u32 = 10;
const SLOW: Duration = Duration::from_mins(1);
/// Networks of which wrong secrets are counted; who has more addresses than that has all of them closed.
const WRONG_NETWORKS_MAX: usize = 10_000;

/// An invitation as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Invitation {
    name: String,
    hash: String,
    until: Timestamp,
    network: Option<IpNet>,
    /// Nobody has to approve.
    at_once: bool,
    /// The fingerprint of who took it.
    taken: Option<String>,
}

/// How a node stands to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It waits for `nodes approve`.
    Waiting,
    /// It is below this node.
    Member,
    /// It was turned away.
    Revoked,
    /// Another one took its place under the same id.
    Superseded,
}

/// A node that took an invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id, as text.
    pub node: String,
    /// What it is called here.
    pub name: String,
    /// What two people compare.
    pub fingerprint: String,
    /// How it stands.
    pub standing: Standing,
    /// The key to which its secrets are sealed, in hex.
    pub sealing: String,
    /// Its version, when it joined.
    pub version: String,
    /// When it came.
    pub since: Timestamp,
    /// Serial numbers of its certificates, the newest last.
    pub serials: Vec<String>,
    /// Why it went, as it said: `uninstalled` or `enrolled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<String>,
}

/// What a node says when it joins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The number of the invitation, in hex.
    pub invitation: String,
    /// Its secret, in hex.
    pub secret: String,
    /// A request for a certificate, PEM.
    pub csr: String,
    /// The key to which its secrets are sealed, in hex.
    pub sealing_key: String,
    /// Its version.
    pub version: String,
    /// Its id, as text.
    pub node: String,
}

/// Why a node is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another key took the invitation: its fingerprint.
    Used(String),
    /// Its time is over.
    Expired,
    /// It comes from elsewhere.
    Network,
    /// A person said no.
    Refused,
    /// Number or secret are wrong.
    Unknown,
    /// Too many wrong ones from there.
    Slow,
}

impl Refusal {
    /// The word for machines.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Used(_) => "used",
            Self::Expired => "expired",
            Self::Network => "network",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Slow => "slow",
        }
    }

    /// What the administrator of the child reads.
    pub fn text(&self) -> String {
        match self {
            Self::Used(by) => format!(
                "the invitation was taken by the node with the fingerprint {by}: if that is not yours, the token was stolen; ask for another one"
            ),
            Self::Expired => "the invitation has ended: ask for another one".into(),
            Self::Network => "the invitation is for another network".into(),
            Self::Refused => "the parent's administrator turned this node away".into(),
            Self::Unknown => "the parent knows no such invitation".into(),
            Self::Slow => "too many wrong secrets came from your network: try again in a minute".into(),
        }
    }
}

/// What comes of a request to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// It is in: its certificate.
    Member {
        certificate: String,
    },
    /// A person has to look at this fingerprint.
    Waiting {
        fingerprint: String,
    },
    Refused(Refusal),
}

/// The roll of a node.
#[derive(Debug)]
pub(super) struct Roll {
    store: Store,
    /// Held while rows are changed.
    turn: tokio::sync::Mutex<()>,
    wrong: Mutex<HashMap<IpNet, (Timestamp, u32)>>,
}

fn network(address: IpAddr) -> IpNet {
    let address = address.to_canonical();
    let bits = if address.is_ipv4() { 24 } else { 64 };
    IpNet::new(address, bits).map_or_else(|_| address.into(), |network| network.trunc())
}

fn kept<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Kept(error.to_string()))
}

fn bytes<T: Serialize>(row: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(row).map_err(|error| Error::Kept(error.to_string()))
}

fn equal(one: &[u8; 32], other: &[u8; 32]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

impl Roll {
    pub(super) fn new(store: Store) -> Self {
        Self { store, turn: tokio::sync::Mutex::new(()), wrong: Mutex::default() }
    }

    /// All nodes, by name.
    pub(super) async fn members(&self) -> Result<Vec<Member>, Error> {
        let rows = self.store.documents(MEMBERS).await?;
        let mut members: Vec<Member> = rows.iter().map(|(_, row)| kept(row)).collect::<Result<_, _>>()?;
        members.sort_by(|a, b| (&a.name, &a.node).cmp(&(&b.name, &b.node)));
        Ok(members)
    }

    /// Whether anybody was ever invited.
    pub(super) async fn is_open(&self) -> Result<bool, Error> {
        Ok(!self.store.documents(INVITATIONS).await?.is_empty() || !self.store.documents(MEMBERS).await?.is_empty())
    }

    /// A new invitation: its number and its secret.
    pub(super) async fn invite(
        &self,
        name: &str,
        until: Timestamp,
        network: Option<IpNet>,
        at_once: bool,
    ) -> Result<([u8; 16], [u8; 32]), Error> {
        let _turn = self.turn.lock().await;
        if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
            return Err(Error::Refused(format!("a name has 1 to {NAME_MAX} characters, and no control characters")));
        }
        if self.members().await?.iter().any(|other| other.name == name && other.standing == Standing::Member) {
            return Err(Error::Refused(format!(
                "there is a node called {name:?} already: revoke it first, or choose another name"
            )));
        }
        if self.store.documents(INVITATIONS).await?.len() >= ROWS_MAX {
            return Err(Error::Refused(format!("{ROWS_MAX} invitations are the most that are kept")));
        }
        let (number, secret) = (random()?, random()?);
        let hash = hex::encode(&invitation(&secret));
        let row = Invitation { name: name.to_owned(), hash, until, network, at_once, taken: None };
        let key = format!("{INVITATIONS}{}", hex::encode(&number));
        self.store.set_document(&key, Some(bytes(&row)?)).await?;
        Ok((number, secret))
    }

    fn is_slow(&self, from: IpAddr, now: Timestamp) -> bool {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let here = wrong.get(&network(from)).filter(|(since, _)| now.since(*since) < SLOW);
        here.is_some_and(|(_, times)| *times >= WRONG_MAX)
            || (wrong.len() >= WRONG_NETWORKS_MAX && !wrong.contains_key(&network(from)))
    }

    fn count_wrong(&self, from: IpAddr, now: Timestamp) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= WRONG_NETWORKS_MAX {
            wrong.retain(|_, (since, _)| now.since(*since) < SLOW);
        }
        let entry = wrong.entry(network(from)).or_insert((now, 0));
        if now.since(entry.0) >= SLOW {
            *entry = (now, 0);
        }
        entry.1 += 1;
    }

    /// Step 2.
    pub(super) async fn join(
        &self,
        ca: &NodeCa,
        me: NodeId,
        request: &JoinRequest,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Joined, Error> {
        let _turn = self.turn.lock().await;
        if self.is_slow(from, now) {
            return Ok(Joined::Refused(Refusal::Slow));
        }
        let number = hex::decode::<16>(&request.invitation);
        let key = format!("{INVITATIONS}{}", number.map_or_else(String::new, |number| hex::encode(&number)));
        let row: Option<Invitation> = self.store.document(&key).await?.map(|row| kept(&row)).transpose()?;
        let secret = hex::decode::<32>(&request.secret).map(|secret| invitation(&secret));
        let matches = |row: &Invitation| {
            let hash = hex::decode::<32>(&row.hash);
            secret.zip(hash).is_some_and(|(secret, hash)| equal(&secret, &hash))
        };
        let Some(mut row) = row.filter(matches) else {
            self.count_wrong(from, now);
            return Ok(Joined::Refused(Refusal::Unknown));
        };
        let (node, sealing) = (request.node.parse::<NodeId>(), hex::decode::<32>(&request.sealing_key));
        let (Ok(node), Some(sealing), Ok(public)) = (node, sealing, ca::key_of(&request.csr)) else {
            return Ok(Joined::Refused(Refusal::Refused));
        };
        let fingerprint = hex::encode(&node_fingerprint(&public, &sealing));
        if row.network.is_some_and(|network| !network.contains(&from.to_canonical())) {
            return Ok(Joined::Refused(Refusal::Network));
        }
        match &row.taken {
            Some(taken) if *taken != fingerprint => return Ok(Joined::Refused(Refusal::Used(taken.clone()))),
            None if row.until < now => return Ok(Joined::Refused(Refusal::Expired)),
            _ => {}
        }
        if node == me {
            return Ok(Joined::Refused(Refusal::Refused));
        }
        let main = format!("{MEMBERS}{node}");
        let known: Option<Member> = self.store.document(&main).await?.map(|row| kept(&row)).transpose()?;
        let other = known.filter(|known| known.fingerprint != fingerprint && known.standing == Standing::Member);
        let beside = place(&main, &fingerprint);
        // Another key under the id of a member waits beside it, and takes its place once it is let in itself.
        let here = if other.is_some() { &beside } else { &main };
        let same: Option<Member> = self.store.document(here).await?.map(|row| kept(&row)).transpose()?;
        let same = same.filter(|known| known.fingerprint == fingerprint);
        let standing = if row.at_once { Standing::Member } else { Standing::Waiting };
        let mut member = same.unwrap_or_else(|| Member {
            node: node.to_string(),
            name: row.name.clone(),
            fingerprint: fingerprint.clone(),
            standing,
            sealing: request.sealing_key.to_lowercase(),
            version: request.version.chars().take(NAME_MAX).collect(),
            since: now,
            serials: Vec::new(),
            gone: None,
        });
        let certificate = match member.standing {
            Standing::Revoked | Standing::Superseded => return Ok(Joined::Refused(Refusal::Refused)),
            Standing::Waiting => None,
            Standing::Member => {
                member.gone = None;
                Some(issue(ca, &mut member, node, &request.csr, now)?)
            }
        };
        row.taken = Some(fingerprint.clone());
        let mut rows = vec![(key, Some(bytes(&row)?))];
        match other {
            Some(old) if member.standing == Standing::Member => rows.extend(supersede(&main, old, &member)?),
            _ => rows.push((here.clone(), Some(bytes(&member)?))),
        }
        self.store.set_documents(rows).await?;
        Ok(certificate.map_or(Joined::Waiting { fingerprint }, |certificate| Joined::Member { certificate }))
    }

    /// Another certificate for a member.
    pub(super) async fn renew(&self, ca: &NodeCa, named: &Named, csr: &str, now: Timestamp) -> Result<String, Error> {
        let _turn = self.turn.lock().await;
        let mut member = self.admit(named).await?;
        let certificate = issue(ca, &mut member, named.node, csr, now)?;
        self.store.set_document(&format!("{MEMBERS}{}", named.node), Some(bytes(&member)?)).await?;
        Ok(certificate)
    }

    /// Step 4: the row of a member whose certificate counts.
    pub(super) async fn admit(&self, named: &Named) -> Result<Member, Error> {
        let row = self.store.document(&format!("{MEMBERS}{}", named.node)).await?;
        let member: Option<Member> = row.map(|row| kept(&row)).transpose()?;
        let member = member.filter(|member| member.standing == Standing::Member);
        let member = member.filter(|member| member.serials.contains(&named.serial));
        member.ok_or_else(|| {
            Error::Refused("this node's certificate counts no more: it was revoked, or another took its place".into())
        })
    }

    async fn change(&self, name: &str, change: impl FnOnce(&mut Member) -> Result<(), Error>) -> Result<Member, Error> {
        let _turn = self.turn.lock().await;
        let members = self.members().await?;
        let is_it = |member: &&Member| member.name == name || member.node == name;
        let found: Vec<&Member> = members.iter().filter(is_it).collect();
        let member = match found.as_slice() {
            [] => return Err(Error::Refused(format!("no node is called {name:?}"))),
            [one] => *one,
            several => {
                let counts = |one: &&&Member| !matches!(one.standing, Standing::Revoked | Standing::Superseded);
                let waiting: Vec<_> = several.iter().filter(counts).collect();
                match waiting.as_slice() {
                    [one] => **one,
                    _ => return Err(Error::Refused(format!("several nodes are called {name:?}: give the id"))),
                }
            }
        };
        let mut member = member.clone();
        change(&mut member)?;
        let main = format!("{MEMBERS}{}", member.node);
        let holds: Option<Member> = self.store.document(&main).await?.map(|row| kept(&row)).transpose()?;
        let rows = match holds.filter(|holds| holds.fingerprint != member.fingerprint) {
            Some(old) if member.standing == Standing::Member => supersede(&main, old, &member)?,
            Some(_) => vec![(place(&main, &member.fingerprint), Some(bytes(&member)?))],
            None => vec![(main, Some(bytes(&member)?))],
        };
        self.store.set_documents(rows).await?;
        Ok(member)
    }

    /// Step 3.
    pub(super) async fn approve(&self, name: &str) -> Result<Member, Error> {
        self.change(name, |member| match member.standing {
            Standing::Waiting | Standing::Member => {
                member.standing = Standing::Member;
                Ok(())
            }
            _ => Err(Error::Refused("it was turned away: invite it again".into())),
        })
        .await
    }

    /// A member says that it goes: its certificates count no more.
    pub(super) async fn gone(&self, node: NodeId, reason: &str) -> Result<Member, Error> {
        let _turn = self.turn.lock().await;
        let main = format!("{MEMBERS}{node}");
        let row = self.store.document(&main).await?;
        let row = row.ok_or_else(|| Error::Refused("this node is not on the roll".into()))?;
        let mut member: Member = kept(&row)?;
        member.gone = Some(reason.to_owned());
        member.serials.clear();
        self.store.set_document(&main, Some(bytes(&member)?)).await?;
        Ok(member)
    }

    /// Forgets a node, and the invitations that its key took, so that it does not come back with one.
    pub(super) async fn remove(&self, member: &Member) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let main = format!("{MEMBERS}{}", member.node);
        let holds: Option<Member> = self.store.document(&main).await?.map(|row| kept(&row)).transpose()?;
        let is_main = holds.is_some_and(|holds| holds.fingerprint == member.fingerprint);
        let mut rows = vec![(if is_main { main } else { place(&main, &member.fingerprint) }, None)];
        for (key, row) in self.store.documents(INVITATIONS).await? {
            if kept::<Invitation>(&row)?.taken.as_deref() == Some(&member.fingerprint) {
                rows.push((key, None));
            }
        }
        Ok(self.store.set_documents(rows).await?)
    }

    /// From now on each of its requests is refused, and no certificate is renewed.
    pub(super) async fn revoke(&self, name: &str) -> Result<Member, Error> {
        self.change(name, |member| {
            member.standing = Standing::Revoked;
            member.serials.clear();
            Ok(())
        })
        .await
    }
}

/// Where one stands that does not hold its id here: it waits for that, or did.
fn place(main: &str, fingerprint: &str) -> String {
    format!("{main}.{}", fingerprint.get(..16).unwrap_or(fingerprint))
}

/// Documents, to be written in one go.
type Rows = Vec<(String, Option<Vec<u8>>)>;

/// A member takes the place of another one under the same id, whose certificates count no more.
fn supersede(main: &str, mut old: Member, new: &Member) -> Result<Rows, Error> {
    tracing::warn!(
        node = new.node,
        name = new.name,
        "a node took the place of another one with its id: the certificate that that one had counts no more"
    );
    old.serials.clear();
    if old.standing == Standing::Member {
        old.standing = Standing::Superseded;
    }
    Ok(vec![
        (place(main, &new.fingerprint), None),
        (place(main, &old.fingerprint), Some(bytes(&old)?)),
        (main.to_owned(), Some(bytes(new)?)),
    ])
}

fn issue(ca: &NodeCa, member: &mut Member, node: NodeId, csr: &str, now: Timestamp) -> Result<String, Error> {
    let certificate = ca.sign(csr, node, now)?;
    let der = ca::certificates(certificate.as_bytes())?.into_iter().next();
    let der = der.ok_or_else(|| Error::Certificate("none was made".into()))?;
    member.serials.push(name::of_certificate(&der, &ca.pin())?.serial);
    let surplus = member.serials.len().saturating_sub(SERIALS_MAX);
    member.serials.drain(..surplus);
    Ok(certificate)
}
