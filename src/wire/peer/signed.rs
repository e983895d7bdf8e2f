//! What the keys of a chain sign: vouches, checkpoints, timestamps. Of fixed length, and read back byte for byte, so that whoever
//! passes one on passes on what was signed. Whether a signature holds is not looked at here.

use bytes::Bytes;

use crate::base::time::Timestamp;
use crate::model::chain::hash::{ChainId, Link, LiveRoot};
use crate::model::chain::ids::Position;
use crate::wire::error::Result;
use crate::wire::peer::read::Read;

const FORMAT: u32 = 1;

/// An Ed25519 signature.
pub type Signature = [u8; 64];

/// The root key says: this feed key signs, in this epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouch {
    /// Counts up within an epoch.
    pub serial: u32,
    /// Which life of the authority's store.
    pub epoch: u64,
    /// When it was made.
    pub made: Timestamp,
    /// Its end; the end of time where it has none.
    pub until: Timestamp,
    /// The root key.
    pub root: [u8; 32],
    /// The feed key.
    pub feed: [u8; 32],
    /// By the root key.
    pub signature: Signature,
}

/// The feed key says: this is the feed up to here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Of the vouch for the key that signs.
    pub serial: u32,
    /// Up to where.
    pub position: Position,
    /// When it was made.
    pub made: Timestamp,
    /// How many records are live.
    pub count: u64,
    /// Of which chain.
    pub chain: ChainId,
    /// All entries of the epoch.
    pub link: Link,
    /// All live records.
    pub root: LiveRoot,
    /// By the feed key.
    pub signature: Signature,
}

/// The feed key says: this was the newest position then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Of the vouch for the key that signs.
    pub serial: u32,
    /// The newest position.
    pub position: Position,
    /// Then.
    pub at: Timestamp,
    /// How long that is of use.
    pub until: Timestamp,
    /// Of which chain.
    pub chain: ChainId,
    /// All entries of the epoch up to the position.
    pub link: Link,
    /// By the feed key.
    pub signature: Signature,
}

fn begin(magic: [u8; 8], serial: u32) -> Vec<u8> {
    [magic.as_slice(), &FORMAT.to_le_bytes(), &serial.to_le_bytes()].concat()
}

/// The serial behind magic and format.
fn opened(from: &mut Read, magic: [u8; 8]) -> Result<u32> {
    if from.array::<8>()? != magic {
        return Err(from.fail("it does not begin as one"));
    }
    match from.u32()? {
        FORMAT => from.u32(),
        other => Err(from.fail(format!("its format is {other}, and this version knows {FORMAT}"))),
    }
}

fn time(from: &mut Read) -> Result<Timestamp> {
    Ok(Timestamp::from_ms(from.u64()?))
}

impl Vouch {
    /// How long one is.
    pub const BYTES: usize = 168;
    const MAGIC: [u8; 8] = *b"wayvouch";

    /// What is signed.
    pub fn message(&self) -> Vec<u8> {
        let mut out = begin(Self::MAGIC, self.serial);
        for number in [self.epoch, self.made.ms(), self.until.ms()] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.root);
        out.extend_from_slice(&self.feed);
        out
    }

    /// All of it.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.message().as_slice(), &self.signature].concat()
    }

    /// What the bytes say.
    pub fn read(bytes: Bytes) -> Result<Self> {
        let mut from = Read::new("a vouch", bytes);
        let serial = opened(&mut from, Self::MAGIC)?;
        let (epoch, made, until) = (from.u64()?, time(&mut from)?, time(&mut from)?);
        let (root, feed, signature) = (from.array()?, from.array()?, from.array()?);
        from.end()?;
        Ok(Self { serial, epoch, made, until, root, feed, signature })
    }

    /// The chain that its root key makes.
    pub fn chain(&self) -> ChainId {
        ChainId::of(&self.root)
    }
}

impl Checkpoint {
    /// How long one is.
    pub const BYTES: usize = 208;
    const MAGIC: [u8; 8] = *b"waycheck";

    /// What is signed.
    pub fn message(&self) -> Vec<u8> {
        let mut out = begin(Self::MAGIC, self.serial);
        for number in [self.position.epoch, self.position.sequence, self.made.ms(), self.count] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for hash in [self.chain.bytes(), self.link.bytes(), self.root.bytes()] {
            out.extend_from_slice(hash);
        }
        out
    }

    /// All of it.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.message().as_slice(), &self.signature].concat()
    }

    /// What the bytes say.
    pub fn read(bytes: Bytes) -> Result<Self> {
        let mut from = Read::new("a checkpoint", bytes);
        let serial = opened(&mut from, Self::MAGIC)?;
        let position = Position { epoch: from.u64()?, sequence: from.u64()? };
        let (made, count) = (time(&mut from)?, from.u64()?);
        let chain = ChainId::new(from.array()?);
        let (link, root) = (Link::new(from.array()?), LiveRoot::new(from.array()?));
        let signature = from.array()?;
        from.end()?;
        Ok(Self { serial, position, made, count, chain, link, root, signature })
    }
}

impl Stamp {
    /// How long one is.
    pub const BYTES: usize = 176;
    const MAGIC: [u8; 8] = *b"waystamp";

    /// What is signed.
    pub fn message(&self) -> Vec<u8> {
        let mut out = begin(Self::MAGIC, self.serial);
        for number in [self.position.epoch, self.position.sequence, self.at.ms(), self.until.ms()] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(self.chain.bytes());
        out.extend_from_slice(self.link.bytes());
        out
    }

    /// All of it.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.message().as_slice(), &self.signature].concat()
    }

    /// What the bytes say.
    pub fn read(bytes: Bytes) -> Result<Self> {
        let mut from = Read::new("a timestamp", bytes);
        let serial = opened(&mut from, Self::MAGIC)?;
        let position = Position { epoch: from.u64()?, sequence: from.u64()? };
        let (at, until) = (time(&mut from)?, time(&mut from)?);
        let (chain, link) = (ChainId::new(from.array()?), Link::new(from.array()?));
        let signature = from.array()?;
        from.end()?;
        Ok(Self { serial, position, at, until, chain, link, signature })
    }
}
