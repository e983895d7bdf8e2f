//! A node joins a parent, and follows it.
//!
//! 1. Keys are made, and the token is kept beside them until the parent has let this node in ([`Chain::join`]): whatever is cut off is gone
//!    on with. The parent is asked every 10 s while a person has yet to approve.
//! 2. Pins, certificate and chain are written, and the token goes.
//! 3. The feed is asked for, by long poll; what became visible is told to the catalog. A certificate is renewed in the last third of its life.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use crate::base::hex;
use crate::base::secret::Key;
use crate::chain::ca::{self, LEAF_LIFE};
use crate::chain::child::Ask;
use crate::chain::error::Error;
use crate::chain::follow::{Came, Follower};
use crate::chain::keyring::{NODE_CERT, NODE_KEY, SEALING, TOKEN};
use crate::chain::node::{Chain, PARENT, ParentRow, Role, blocking};
use crate::chain::roll::JoinRequest;
use crate::chain::seal::SealingKey;
use crate::chain::tell::Teller;
use crate::model::chain::hash::{ChainId, node_fingerprint};
use crate::upstream::peer::{Parent, Reply};
use crate::wire::peer::frame::Frame;
use crate::wire::peer::name;
use crate::wire::peer::raw::{FEED, Reader};
use crate::wire::peer::token::Token;

/// How often the parent is asked while a person has yet to approve.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// How long to wait after something went wrong, first and at most.
const AGAIN_FIRST: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_mins(1);
/// How long the parent may wait with its answer.
const POLL_SECONDS: u64 = 50;
/// Answers that are no feed are short.
const SHORT_MAX: usize = 64 << 10;
/// The field with the highest checkpoint that was verified.
pub const CHECKPOINT_FIELD: &str = "waystation-checkpoint";

#[derive(Debug, Deserialize)]
struct Answered {
    state: String,
    #[serde(default)]
    certificate: String,
    #[serde(default)]
    ca: String,
    #[serde(default)]
    fingerprint: String,
}

#[derive(Debug, Deserialize)]
struct Problem {
    #[serde(default)]
    error: String,
    #[serde(default)]
    message: String,
}

/// What an answer came to.
struct Turned {
    /// Something became visible.
    applied: bool,
    /// There was nothing new.
    idle: bool,
}

/// Why it refuses, in its own words.
pub(super) async fn refused(reply: Reply) -> Error {
    let status = reply.status;
    let said = reply.collect(SHORT_MAX).await.ok().and_then(|body| serde_json::from_slice::<Problem>(&body).ok());
    let said = said.unwrap_or(Problem { error: status.to_string(), message: "it gives no reason".into() });
    Error::Refused(format!("the parent refuses ({}): {}", said.error, said.message))
}

impl Chain {
    /// Joins the parent of a token. Where a person has to approve, that goes on behind, also after a restart; the fingerprint is told.
    pub async fn join(&self, token: &str) -> Result<String, Error> {
        let read = Token::read(token)?;
        if self.role() == Role::Authority {
            let why = "this node is an authority itself, with nodes below it: it cannot follow another one";
            return Err(Error::Refused(why.into()));
        }
        if read.until < self.shared.clock.now() {
            return Err(Error::Refused(format!("the token ended at {}: ask for another one", read.until)));
        }
        let (keys, word) = (self.shared.keys.clone(), token.trim().to_owned());
        let fingerprint = blocking(move || {
            if keys.read(NODE_KEY)?.is_none() {
                keys.write(NODE_KEY, ca::request()?.0.as_bytes())?;
            }
            if keys.read(SEALING)?.is_none() {
                let sealing = SealingKey::generate()?;
                let both = zeroize::Zeroizing::new([sealing.public().as_slice(), sealing.secret().expose()].concat());
                keys.write(SEALING, &both)?;
            }
            keys.write(TOKEN, word.as_bytes())?;
            Ok(hex::encode(&own_fingerprint(&keys)?.0))
        })
        .await?;
        self.see(|seen| (seen.fingerprint, seen.trouble) = (Some(fingerprint.clone()), None));
        self.shared.role.send_replace(Role::Joining);
        Ok(fingerprint)
    }

    /// Gives up a join that waits.
    pub(super) async fn stop_joining(&self) -> Result<(), Error> {
        let keys = self.shared.keys.clone();
        blocking(move || keys.remove(TOKEN)).await?;
        let role = if self.shared.store.document(PARENT).await?.is_some() { Role::Child } else { Role::None };
        self.shared.role.send_replace(role);
        Ok(())
    }

    /// Steps 1 and 2, again and again.
    pub(super) async fn go_on_joining(&self) {
        loop {
            match self.ask_to_join().await {
                Ok(true) => {
                    tracing::info!("the parent has let this node in");
                    self.see(|seen| (seen.trouble, seen.fingerprint) = (None, None));
                    self.shared.role.send_replace(Role::Child);
                    return;
                }
                Ok(false) => {
                    self.see(|seen| seen.trouble = Some("waits for `waystation nodes approve` on the parent".into()));
                }
                // The parent's last word: to ask again is of no use.
                Err(Error::Refused(why)) => {
                    tracing::error!(why, "this node could not join");
                    self.see(|seen| seen.trouble = Some(why));
                    if let Err(error) = self.stop_joining().await {
                        tracing::warn!(%error, "the token that is of no use is still there");
                    }
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "the parent cannot be asked to let this node in");
                    self.see(|seen| seen.trouble = Some(error.to_string()));
                }
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn ask_to_join(&self) -> Result<bool, Error> {
        let keys = self.shared.keys.clone();
        let (word, csr, sealing) = blocking(move || {
            let word = keys.read(TOKEN)?.ok_or_else(|| Error::Refused("there is no token".into()))?;
            let (_, sealing, csr) = own_fingerprint(&keys)?;
            Ok((String::from_utf8_lossy(&word).into_owned(), csr, sealing))
        })
        .await?;
        let token = Token::read(&word)?;
        let request = JoinRequest {
            invitation: hex::encode(&token.invitation),
            secret: hex::encode(token.secret.expose()),
            csr,
            sealing_key: hex::encode(&sealing),
            version: self.shared.config.version.clone(),
            node: self.shared.me.to_string(),
        };
        let body = serde_json::to_vec(&request).map_err(|error| Error::Broken(error.to_string()))?;
        let parent = Parent::new(token.pin, token.addresses.clone(), None)?;
        let reply = parent.post("/peer/v1/join", "application/json", body.into()).await?;
        match reply.status {
            200 => {}
            // Overloaded, or too many others tried.
            429 | 500.. => return Err(Error::Broken(refused(reply).await.to_string())),
            _ => return Err(refused(reply).await),
        }
        let body = reply.collect(SHORT_MAX).await?;
        let answered: Answered = serde_json::from_slice(&body).map_err(|error| Error::Order(error.to_string()))?;
        if answered.state != "member" {
            tracing::info!(fingerprint = answered.fingerprint, "the parent waits for somebody to approve this node");
            return Ok(false);
        }
        let former = self.former(&token).await;
        self.keep(&token, &answered.certificate, &answered.ca).await?;
        if let Some(former) = former {
            self.say_goodbye(&former, "enrolled", Some(token.chain)).await;
        }
        Ok(true)
    }

    /// Step 2.
    async fn keep(&self, token: &Token, certificate: &str, authority: &str) -> Result<(), Error> {
        let (pin, me) = (token.pin, self.shared.me);
        let ca = ca::certificates(authority.as_bytes())?.into_iter().next();
        if ca.map(|ca| name::pin_of(&ca)).transpose()? != Some(pin) {
            return Err(Error::Refused("the parent's authority is not the one of the token".into()));
        }
        let own = ca::certificates(certificate.as_bytes())?.into_iter().next();
        if own.map(|own| name::of_certificate(&own, &pin)).transpose()?.is_none_or(|named| named.node != me) {
            return Err(Error::Refused("the parent gave a certificate for another node".into()));
        }
        let (keys, chain) = (self.shared.keys.clone(), format!("{certificate}{authority}"));
        blocking(move || keys.write(NODE_CERT, chain.as_bytes())).await?;
        let row = ParentRow {
            chain: hex::encode(token.chain.bytes()),
            pin: hex::encode(&token.pin),
            addresses: token.addresses.clone(),
            name: token.name.clone(),
        };
        let row = serde_json::to_vec(&row).map_err(|error| Error::Kept(error.to_string()))?;
        self.shared.store.set_document(PARENT, Some(row)).await?;
        let keys = self.shared.keys.clone();
        blocking(move || keys.remove(TOKEN)).await
    }

    /// The way to the parent, the chain, and when this node's certificate ends, in seconds.
    pub(super) async fn way(&self) -> Result<(Parent, ChainId, i64), Error> {
        let (row, chain) = self.parent().await?;
        let pin = hex::decode(&row.pin).ok_or_else(|| Error::Kept("the parent's pin is damaged".into()))?;
        let keys = self.shared.keys.clone();
        let (certs, key) = blocking(move || {
            let lost = || Error::Kept("this node's certificate is missing from <data>/chain".into());
            let (certs, key) = (keys.read(NODE_CERT)?.ok_or_else(lost)?, keys.read(NODE_KEY)?.ok_or_else(lost)?);
            Ok((ca::certificates(&certs)?, ca::private_key(&key)?))
        })
        .await?;
        let until = certs.first().map(|own| name::of_certificate(own, &pin)).transpose()?.map_or(0, |own| own.until);
        Ok((Parent::new(pin, row.addresses, Some((certs, key)))?, chain, until))
    }

    /// Content is asked of it from now on.
    fn is_above(&self, parent: Parent) -> Arc<Parent> {
        let parent = Arc::new(parent);
        self.shared.ways.send_replace(Some(Arc::clone(&parent)));
        parent
    }

    /// Step 3, until this node has another role.
    pub(super) async fn follow(&self) {
        let mut again = AGAIN_FIRST;
        loop {
            let Err(error) = self.follow_on(&mut again).await;
            tracing::warn!(%error, "the parent is asked again in a moment");
            self.see(|seen| seen.trouble = Some(error.to_string()));
            let jitter = getrandom::u32().map_or(1.0, |word| 0.5 + f64::from(word) / f64::from(u32::MAX));
            tokio::time::sleep(again.mul_f64(jitter)).await;
            again = (again * 2).min(AGAIN_MAX);
        }
    }

    async fn follow_on(&self, again: &mut Duration) -> Result<std::convert::Infallible, Error> {
        let (parent, chain, mut until) = self.way().await?;
        let mut parent = self.is_above(parent);
        let (store, clock) = (&self.shared.store, &self.shared.clock);
        let teller = Teller::new(store.clone(), chain, self.shared.config.replica);
        let mut follower = Follower::open(store, self.shared.me, chain, Arc::clone(clock)).await?;
        self.shared.path.send_replace(follower.child().path().to_vec());
        let (mut idle, mut untold) = (false, true);
        let mut entitled = self.shared.entitled.subscribe();
        entitled.mark_changed();
        loop {
            if entitled.has_changed().unwrap_or(false) {
                follower.hold_for(&entitled.borrow_and_update().clone());
            }
            let left = until.saturating_sub((clock.now().ms() / 1000).cast_signed());
            if left < (LEAF_LIFE.as_secs() / 3).cast_signed() {
                self.renew_own(&parent).await?;
                let (renewed, _, ends) = self.way().await?;
                (parent, until) = (self.is_above(renewed), ends);
            }
            // What was told of a place that the node was cut off at is told again.
            if self.shared.config.catalog
                && untold
                && let Some(checkpoint) = follower.checkpoint()
            {
                teller.tell(checkpoint.position).await?;
                untold = false;
                self.shared.told.send_replace(Some(checkpoint.position));
            }
            let turned = self.turn(&parent, &mut follower, chain, if idle { POLL_SECONDS } else { 0 }).await?;
            (idle, untold) = (turned.idle, untold || turned.applied);
            *again = AGAIN_FIRST;
            self.show(&follower);
            if turned.applied {
                self.shared.moved.send_modify(|times| *times += 1);
            }
        }
    }

    fn show(&self, follower: &Follower) {
        let child = follower.child();
        if *self.shared.path.borrow() != child.path() {
            self.shared.path.send_replace(child.path().to_vec());
        }
        self.see(|seen| {
            seen.position = follower.checkpoint().map(|checkpoint| checkpoint.position);
            seen.state = Some(follower.state());
            seen.alarms = child.alarms().iter().map(|(node, (alarm, at))| (*node, alarm.clone(), *at)).collect();
            seen.path = child.path().to_vec();
            seen.trouble = None;
        });
    }

    async fn renew_own(&self, parent: &Parent) -> Result<(), Error> {
        let keys = self.shared.keys.clone();
        let (csr, old) = blocking(move || {
            let lost = || Error::Kept("this node's key is missing from <data>/chain".into());
            let csr = ca::request_again(&keys.read(NODE_KEY)?.ok_or_else(lost)?)?;
            Ok((csr, keys.read(NODE_CERT)?.ok_or_else(lost)?))
        })
        .await?;
        let body = serde_json::json!({ "csr": csr }).to_string();
        let reply = parent.post("/peer/v1/renew", "application/json", body.into()).await?;
        if reply.status != 200 {
            return Err(refused(reply).await);
        }
        let body = reply.collect(SHORT_MAX).await?;
        #[derive(Deserialize)]
        struct Renewed {
            certificate: String,
        }
        let renewed: Renewed = serde_json::from_slice(&body).map_err(|error| Error::Order(error.to_string()))?;
        let (_, ca) = split(&old);
        let (keys, chain) = (self.shared.keys.clone(), format!("{}{ca}", renewed.certificate));
        ca::certificates(chain.as_bytes())?;
        blocking(move || keys.write(NODE_CERT, chain.as_bytes())).await
    }

    /// One question and its answer.
    async fn turn(&self, parent: &Parent, follower: &mut Follower, chain: ChainId, wait: u64) -> Result<Turned, Error> {
        let ask = follower.ask();
        let is_feed = matches!(ask, Ask::Feed(_));
        let mut reply = question(parent, &ask, chain, wait, follower).await?;
        let is_conflict = reply.status == 409;
        if reply.status != 200 && !is_conflict {
            return Err(refused(reply).await);
        }
        follower.begin(reply.node, ask);
        let (mut reader, mut turned) = (Reader::new(FEED), Turned { applied: false, idle: is_feed });
        while let Some(bytes) = reply.next().await? {
            reader.push(&bytes);
            while let Some(raw) = reader.frame()? {
                let Some(frame) = Frame::read(raw)? else { continue };
                turned.idle &= !matches!(frame, Frame::Tail { .. } | Frame::Checkpoint(_));
                turned.idle &= !matches!(frame, Frame::End(end) if end != crate::wire::peer::frame::End::All);
                let Came { applied, alarm } = follower.take(frame).await?;
                turned.applied |= applied;
                if let Some(alarm) = alarm {
                    self.show(follower);
                    return Err(Error::Broken(alarm.to_string()));
                }
            }
        }
        reader.finish()?;
        if is_conflict && let Some(alarm) = follower.turned_away().await?.alarm {
            self.show(follower);
            return Err(Error::Broken(alarm.to_string()));
        }
        Ok(turned)
    }
}

/// The certificate of a file and what stands behind it.
fn split(pem: &[u8]) -> (String, String) {
    const END: &str = "-----END CERTIFICATE-----";
    let text = String::from_utf8_lossy(pem);
    match text.split_once(END) {
        Some((own, rest)) => (format!("{own}{END}\n"), rest.trim_start().to_owned()),
        None => (text.into_owned(), String::new()),
    }
}

/// For TLS (SPKI), for secrets, and the fingerprint of both.
pub(super) type PublicKeys = (Vec<u8>, [u8; 32], String);

/// The public keys of this node as a child, for TLS (SPKI) and for secrets, with its fingerprint; nothing where it never joined.
pub(super) fn public_keys(keys: &crate::chain::keyring::Keyring) -> Result<Option<PublicKeys>, Error> {
    if keys.read(NODE_KEY)?.is_none() || keys.read(SEALING)?.is_none() {
        return Ok(None);
    }
    let (fingerprint, sealing, csr) = own_fingerprint(keys)?;
    Ok(Some((ca::key_of(&csr)?, sealing, hex::encode(&fingerprint))))
}

/// The key to which this node's secrets are sealed.
pub(super) fn sealing(keys: &crate::chain::keyring::Keyring) -> Result<SealingKey, Error> {
    let lost = || Error::Kept("this node's sealing key is missing from <data>/chain".into());
    let both = keys.read(SEALING)?.ok_or_else(lost)?;
    let public: [u8; 32] = *both.first_chunk().ok_or_else(lost)?;
    let secret: [u8; 32] = *both.last_chunk().ok_or_else(lost)?;
    Ok(SealingKey::new(Key::new(secret), public))
}

/// The fingerprint of this node, its public key for secrets, and a request for a certificate.
fn own_fingerprint(keys: &crate::chain::keyring::Keyring) -> Result<([u8; 32], [u8; 32], String), Error> {
    let lost = || Error::Kept("this node's keys are missing from <data>/chain".into());
    let csr = ca::request_again(&keys.read(NODE_KEY)?.ok_or_else(lost)?)?;
    let public = *sealing(keys)?.public();
    Ok((node_fingerprint(&ca::key_of(&csr)?, &public), public, csr))
}

async fn question(parent: &Parent, ask: &Ask, chain: ChainId, wait: u64, follower: &Follower) -> Result<Reply, Error> {
    let mut fields = HeaderMap::new();
    if let Some(checkpoint) = follower.checkpoint()
        && let Ok(value) = HeaderValue::from_str(&STANDARD.encode(checkpoint.to_bytes()))
    {
        fields.insert(HeaderName::from_static(CHECKPOINT_FIELD), value);
    }
    let path = match ask {
        Ask::Feed(mark) => format!(
            "/peer/v1/feed?chain={chain}&epoch={}&sequence={}&at={}&wait={wait}",
            mark.position.epoch, mark.position.sequence, mark.link
        ),
        Ask::Snapshot { base, after, bare } => {
            let base = base.map(|base| format!("&epoch={}&base={}", base.epoch, base.sequence)).unwrap_or_default();
            let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
            format!("/peer/v1/snapshot?chain={chain}{base}{after}&bare={}", u8::from(*bare))
        }
        Ask::Contents(keys) => {
            let keys = keys.iter().flat_map(|key| key.bytes().iter().copied());
            let body: Bytes = chain.bytes().iter().copied().chain(keys).collect();
            return Ok(parent.post("/peer/v1/contents", "application/octet-stream", body).await?);
        }
    };
    Ok(parent.get(&path, fields).await?)
}
