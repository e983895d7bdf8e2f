//! A node leaves its parent, or follows another one from now on, and says so where it can.

use std::time::Duration;

use crate::base::hex;
use crate::chain::error::Error;
use crate::chain::keyring::NODE_CERT;
use crate::chain::node::{Chain, PARENT, Role, blocking};
use crate::model::chain::hash::ChainId;
use crate::upstream::peer::Parent;
use crate::wire::peer::token::Token;

/// How long the parent is given to take a farewell: it finds out by itself that it hears nothing more.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// A join that waited is given up.
    Joining,
    /// The parent knows.
    Told,
    /// The parent could not be told.
    Silent,
}

impl Chain {
    /// The fingerprint of this node as a child; nothing where it never joined.
    pub async fn fingerprint(&self) -> Result<Option<String>, Error> {
        let keys = self.shared.keys.clone();
        Ok(blocking(move || crate::chain::join::public_keys(&keys)).await?.map(|(.., fingerprint)| fingerprint))
    }

    /// Refuses what is no token.
    pub fn is_token(&self, text: &str) -> Result<(), Error> {
        Ok(Token::read(text).map(drop)?)
    }

    /// Gives up a join that waits; else leaves the parent, and says so. What is held stays.
    pub async fn leave(&self) -> Result<Left, Error> {
        match self.role() {
            Role::Joining => {
                self.stop_joining().await?;
                self.see(|seen| (seen.fingerprint, seen.trouble) = (None, None));
                return Ok(Left::Joining);
            }
            Role::Child => {}
            Role::None | Role::Authority => return Err(Error::Refused("this node has no parent".into())),
        }
        let way = self.way().await;
        let told = match way {
            Ok((parent, ..)) => self.say_goodbye(&parent, "uninstalled", None).await,
            Err(_) => false,
        };
        self.shared.store.set_document(PARENT, None).await?;
        let keys = self.shared.keys.clone();
        blocking(move || keys.remove(NODE_CERT)).await?;
        self.shared.role.send_replace(Role::None);
        self.see(|seen| *seen = crate::chain::node::Seen::default());
        Ok(if told { Left::Told } else { Left::Silent })
    }

    /// The way to the parent that this node has, where the token is of another one.
    pub(super) async fn former(&self, token: &Token) -> Option<Parent> {
        let (row, _) = self.parent().await.ok()?;
        if row.pin == hex::encode(&token.pin) {
            return None;
        }
        self.way().await.ok().map(|(parent, ..)| parent)
    }

    /// Says whether the parent took it.
    pub(super) async fn say_goodbye(&self, parent: &Parent, reason: &str, chain: Option<ChainId>) -> bool {
        let mut body = serde_json::json!({ "reason": reason });
        if let Some(chain) = chain {
            body["chain"] = chain.to_string().into();
        }
        let asked = parent.post("/peer/v1/goodbye", "application/json", body.to_string().into());
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(reply)) if reply.status == 204 => true,
            Ok(Ok(reply)) => {
                tracing::warn!(status = reply.status, "the former parent does not take the farewell");
                false
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the former parent cannot be told that this node goes");
                false
            }
            Err(_) => {
                tracing::warn!("the former parent does not answer: it is not told that this node goes");
                false
            }
        }
    }
}
