//! What an authority wishes of a node: settings and orders, as records for that node alone.
//!
//! 1. A wish is checked by what this node itself would say to it, and kept ([`Chain::wish`], [`Chain::order`]).
//! 2. A secret is sealed to the node's key. The key comes up with reports, which nodes in between could change: it counts where this node let
//!    that node in itself, or where a person gives the fingerprint that the node shows, once.
//! 3. Its record is put on a list, from which the publisher takes it behind everything else.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::base::hex;
use crate::base::time::Timestamp;
use crate::chain::below::host::Host;
use crate::chain::below::seen::Seen;
use crate::chain::error::Error;
use crate::chain::keyring::random;
use crate::chain::node::{Chain, Role};
use crate::chain::seal::seal;
use crate::model::chain::hash::node_fingerprint;
use crate::model::chain::ids::{Audience, NodeId};
use crate::model::chain::record::{Entry, Kind, Record};
use crate::model::settings::Raw;
use crate::wire::peer::wish::{Order, Said, Setting, order_key, setting_key};

const WISHES: &str = "chain.wish.";
/// What waits to be published.
pub(in crate::chain) const OUT: &str = "chain.out.";

/// Orders of one node that are kept: the record of the oldest goes.
pub(super) const ORDERS_MAX: u64 = 64;
/// Under this name, which no setting has, the number of the last order stands: whoever was off sees which ones it missed.
pub(super) const ORDERS: &str = "orders";
/// How long an order is good unless told otherwise: what a node that was off for the night does the next morning.
const GOOD: Duration = Duration::from_hours(24);

/// A wished setting as it is kept here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WishedSetting {
    /// Its value; nothing of a secret, which only the node can read.
    pub value: Option<Raw>,
    /// By whom.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// An order as it is kept here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// Its number.
    pub number: u64,
    /// What.
    pub verb: String,
    /// By whom.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Afterwards it is not done any more.
    pub until: Timestamp,
}

/// All that is wished of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wishes {
    /// Settings.
    pub settings: BTreeMap<String, WishedSetting>,
    /// Orders, the oldest first.
    pub orders: Vec<Ordered>,
    /// The number of the next order.
    pub next: u64,
    /// The fingerprint that a person compared.
    pub trusted: Option<String>,
}

/// Something on its way into the feed.
#[derive(Debug, Serialize, Deserialize)]
struct Out {
    kind: u8,
    node: String,
    salt: String,
    key: String,
    /// Nothing: what was under the key goes.
    body: Option<String>,
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Broken(error.to_string()))
}

fn hex_all(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pair = |pair: &[u8]| {
        let [high, low] = <[u8; 2]>::try_from(pair).ok()?.map(|digit| char::from(digit).to_digit(16));
        u8::try_from(high? * 16 + low?).ok()
    };
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(pair).collect())?
}

/// The entry that a row of the list stands for.
pub(in crate::chain) fn entry(row: &[u8]) -> Option<Entry> {
    let out: Out = serde_json::from_slice(row).ok()?;
    let (node, key): (NodeId, Bytes) = (out.node.parse().ok()?, hex_all(&out.key)?.into());
    let audience = Audience::node(node);
    match out.body {
        None => Entry::gone(out.kind, audience, key).ok(),
        Some(body) => {
            let body = hex_all(&body)?.into();
            Some(Entry::set(Record::new(out.kind, audience, hex::decode(&out.salt)?, key, body).ok()?))
        }
    }
}

/// The key to seal to, where it is known to be the node's own.
fn sealing(seen: &Seen, wishes: &mut Wishes, shown: Option<&str>) -> Result<[u8; 32], Error> {
    if let Some(member) = &seen.member {
        return hex::decode(&member.sealing).ok_or(Error::Key { what: "node's sealing key" });
    }
    let beat = &seen.said.heartbeat;
    let (tls, sealing) = (hex_all(&beat.tls_key), hex::decode::<32>(&beat.sealing_key));
    let (Some(tls), Some(sealing)) = (tls.filter(|tls| !tls.is_empty()), sealing) else {
        return Err(Error::Refused(format!("{:?} has not told its key yet", seen.name)));
    };
    let is = hex::encode(&node_fingerprint(&tls, &sealing));
    let trusted = shown.map(str::to_lowercase).or_else(|| wishes.trusted.clone());
    match trusted {
        Some(trusted) if trusted == is => {
            wishes.trusted = Some(trusted);
            Ok(sealing)
        }
        Some(_) => Err(Error::Refused(format!(
            "{:?} tells another key than the one with that fingerprint: a node in between may have changed it, or it was joined anew",
            seen.name
        ))),
        None => Err(Error::Refused(format!(
            "a secret is sealed to the key of {:?} alone, and that key came through other nodes: look at `waystation nodes list` on {:?}, \
             and give the fingerprint that stands there with --fingerprint, once",
            seen.name, seen.name
        ))),
    }
}

impl Chain {
    /// What is wished of a node.
    pub async fn wishes(&self, node: NodeId) -> Result<Wishes, Error> {
        let row = self.shared.store.document(&format!("{WISHES}{node}")).await?;
        let row = row.map(|row| serde_json::from_slice(&row)).transpose();
        Ok(row.map_err(|error| Error::Kept(error.to_string()))?.unwrap_or_default())
    }

    fn may_wish(&self, seen: &Seen) -> Result<(), Error> {
        if self.role() != Role::Authority {
            let why = "only the authority, at the top of the chain, can tell nodes what to do: do it there";
            return Err(Error::Refused(why.into()));
        }
        if seen.path.is_empty() {
            return Err(Error::Refused(
                "that is this node itself: `waystation config` and the verbs without `nodes` are for it".into(),
            ));
        }
        Ok(())
    }

    /// Wishes settings of a node, or takes wishes back where there is no value. All or none.
    pub async fn wish(
        &self,
        host: &dyn Host,
        name: &str,
        changes: Vec<(String, Option<Raw>)>,
        fingerprint: Option<&str>,
        by: &str,
    ) -> Result<(), Error> {
        let seen = self.find(name).await?;
        self.may_wish(&seen)?;
        let _turn = self.shared.below.wishing.lock().await;
        let (mut wishes, mut out) = (self.wishes(seen.node).await?, Vec::new());
        let chain = self.chain().await?.ok_or_else(|| Error::Refused("this node is in no chain".into()))?;
        let at = self.shared.clock.now();
        for (key, value) in changes {
            let record = setting_key(seen.node, &key);
            let Some(value) = value else {
                if wishes.settings.remove(&key).is_none() {
                    return Err(Error::Refused(format!("{key} is not wished of {:?}", seen.name)));
                }
                out.push((Kind::Setting, record, None));
                continue;
            };
            let value = host.read(&key, value).map_err(|why| Error::Refused(format!("{key}: {why}")))?;
            let text = serde_json::to_string(&value).map_err(|error| Error::Broken(error.to_string()))?;
            let (said, kept) = if host.is_secret(&key) {
                let to = sealing(&seen, &mut wishes, fingerprint)?;
                let sealed = seal(chain, seen.node, &to, &record, text.as_bytes())?;
                (Said::Sealed(sealed.into()), None)
            } else {
                (Said::Open(text), Some(value))
            };
            wishes.settings.insert(key, WishedSetting { value: kept, by: by.to_owned(), at });
            out.push((Kind::Setting, record, Some(Setting { value: said, by: by.to_owned(), at }.write())));
        }
        self.put(seen.node, &wishes, out).await
    }

    /// Orders something of a node; says the number of the order.
    pub async fn order(&self, name: &str, verb: &str, with: &str, secret: bool, by: &str) -> Result<Ordered, Error> {
        let seen = self.find(name).await?;
        self.may_wish(&seen)?;
        let _turn = self.shared.below.wishing.lock().await;
        let (mut wishes, mut out) = (self.wishes(seen.node).await?, Vec::new());
        let at = self.shared.clock.now();
        wishes.next += 1;
        let (number, until) = (wishes.next, at.after(GOOD));
        let key = order_key(seen.node, number);
        let with = if secret {
            let chain = self.chain().await?.ok_or_else(|| Error::Refused("this node is in no chain".into()))?;
            let to = sealing(&seen, &mut wishes, None)?;
            Said::Sealed(seal(chain, seen.node, &to, &key, with.as_bytes())?.into())
        } else {
            Said::Open(with.to_owned())
        };
        let order = Order { verb: verb.to_owned(), with, until, by: by.to_owned(), at };
        out.push((Kind::Order, key, Some(order.write())));
        let last = Setting { value: Said::Open(number.to_string()), by: by.to_owned(), at };
        out.push((Kind::Setting, setting_key(seen.node, ORDERS), Some(last.write())));
        let ordered = Ordered { number, verb: verb.to_owned(), by: by.to_owned(), at, until };
        wishes.orders.push(ordered.clone());
        while wishes.orders.len() as u64 > ORDERS_MAX {
            let old = wishes.orders.remove(0);
            out.push((Kind::Order, order_key(seen.node, old.number), None));
        }
        self.put(seen.node, &wishes, out).await?;
        Ok(ordered)
    }

    async fn put(&self, node: NodeId, wishes: &Wishes, out: Vec<(Kind, Bytes, Option<Bytes>)>) -> Result<(), Error> {
        let mut rows = vec![(format!("{WISHES}{node}"), Some(json(wishes)?))];
        for (at, (kind, key, body)) in out.into_iter().enumerate() {
            // In the order of the wishes; what was there before a crash comes first.
            let place = format!("{OUT}{:016x}.{at:08}.{}", self.shared.clock.now().ms(), hex::encode(&random::<4>()?));
            let (salt, body) = (hex::encode(&random::<16>()?), body.map(|body| hex::encode(&body)));
            let row = Out { kind: kind.number(), node: node.to_string(), salt, key: hex::encode(&key), body };
            rows.push((place, Some(json(&row)?)));
        }
        self.shared.store.set_documents(rows).await?;
        Ok(())
    }

    /// A node is forgotten, with all that was wished of it.
    pub(super) async fn forget_wishes(&self, node: NodeId) -> Result<(), Error> {
        let _turn = self.shared.below.wishing.lock().await;
        let wishes = self.wishes(node).await?;
        let orders = wishes.orders.iter().map(|order| (Kind::Order, order_key(node, order.number), None));
        let settings = wishes.settings.keys().map(|key| (Kind::Setting, setting_key(node, key), None));
        let last = (wishes.next > 0).then(|| (Kind::Setting, setting_key(node, ORDERS), None));
        let out: Vec<_> = orders.chain(settings).chain(last).collect();
        if wishes != Wishes::default() {
            // Numbers of orders are never used again.
            self.put(node, &Wishes { next: wishes.next, ..Wishes::default() }, out).await?;
        }
        Ok(())
    }
}
