//! The authority's keys: the root key, which vouches, and the feed key, which signs.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use crate::base::secret::Key;
use crate::base::time::Timestamp;
use crate::chain::error::Error;
use crate::model::chain::hash::ChainId;
use crate::wire::peer::signed::{Signature, Vouch};

struct Pair {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl Pair {
    fn of(seed: &Key, what: &'static str) -> Result<Self, Error> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| Error::Key { what })?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| Error::Key { what })?;
        Ok(Self { pair, public })
    }

    fn sign(&self, message: &[u8], what: &'static str) -> Result<Signature, Error> {
        let signature = self.pair.try_sign(message).map_err(|_| Error::Key { what })?;
        signature.as_ref().try_into().map_err(|_| Error::Key { what })
    }
}

/// The root key: it makes the chain what it is, and lies offline but for the moment in which it vouches.
pub struct RootKey(Pair);

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootKey({})", self.chain())
    }
}

impl RootKey {
    /// The one with this seed.
    pub fn from_seed(seed: &Key) -> Result<Self, Error> {
        Ok(Self(Pair::of(seed, "root key")?))
    }

    /// The chain that it makes.
    pub fn chain(&self) -> ChainId {
        ChainId::of(&self.0.public)
    }

    /// Vouches for a feed key: it signs in this epoch from now on, in the place of those with lower serials.
    pub fn vouch(
        &self,
        feed: &[u8; 32],
        epoch: u64,
        serial: u32,
        made: Timestamp,
        until: Timestamp,
    ) -> Result<Vouch, Error> {
        let mut vouch = Vouch { serial, epoch, made, until, root: self.0.public, feed: *feed, signature: [0; 64] };
        vouch.signature = self.0.sign(&vouch.message(), "root key")?;
        Ok(vouch)
    }
}

/// The feed key, with what vouches for it.
pub struct FeedKey {
    pair: Pair,
    vouch: Vouch,
}

impl fmt::Debug for FeedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FeedKey({}, epoch {}, serial {})", self.vouch.chain(), self.vouch.epoch, self.vouch.serial)
    }
}

/// The public key of a feed key that is to be vouched for.
pub fn feed_public(seed: &Key) -> Result<[u8; 32], Error> {
    Ok(Pair::of(seed, "feed key")?.public)
}

impl FeedKey {
    /// The one with this seed, for which `vouch` was made.
    pub fn new(seed: &Key, vouch: Vouch) -> Result<Self, Error> {
        let pair = Pair::of(seed, "feed key")?;
        if pair.public != vouch.feed {
            return Err(Error::Key { what: "feed key" });
        }
        Ok(Self { pair, vouch })
    }

    /// What vouches for it.
    pub fn vouch(&self) -> &Vouch {
        &self.vouch
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Signature, Error> {
        self.pair.sign(message, "feed key")
    }
}
