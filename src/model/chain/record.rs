//! Records of the feed, and the entries of its log.

use bytes::Bytes;

use crate::model::chain::hash::{KeyHash, RecordHash};
use crate::model::chain::ids::Audience;

/// Bytes of a key: the longest are names.
pub const KEY_BYTES_MAX: usize = 512;

/// Bytes of a body: a record is held whole, and larger texts go in pieces.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// What a record is about. Numbers that are not here are of later versions: such records are kept and passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A revision of an update, with its document.
    Update = 1,
    /// A piece of a large document.
    Text = 2,
    /// A file with its digests.
    File = 3,
    /// A revision that is not offered.
    Refusal = 4,
    /// What was decided of an update for all endpoints.
    Decision = 5,
    /// What was said of an update for a group or an endpoint.
    Approval = 6,
    /// A step of a review.
    Review = 7,
    /// A licence that was accepted.
    Licence = 8,
    /// A group of endpoints.
    Group = 9,
    /// What a group's endpoints must keep to.
    Policy = 10,
    /// A rule that approves by itself.
    Rule = 11,
    /// Groups that a person put an endpoint in.
    Placement = 12,
    /// A node of the chain.
    Node = 13,
    /// A setting of a node or group of nodes.
    Setting = 14,
    /// Something that a node is to do.
    Order = 15,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Update,
        Self::Text,
        Self::File,
        Self::Refusal,
        Self::Decision,
        Self::Approval,
        Self::Review,
        Self::Licence,
        Self::Group,
        Self::Policy,
        Self::Rule,
        Self::Placement,
        Self::Node,
        Self::Setting,
        Self::Order,
    ];

    /// Its number in the feed.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The one with this number; `None` of a later version.
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// Why something can be no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It has no key, or one that is too long.
    #[error("a key has 1 to {KEY_BYTES_MAX} bytes, this one {0}")]
    Key(usize),
    /// Its body is too long.
    #[error("a body has at most {BODY_BYTES_MAX} bytes, this one {0}")]
    Body(usize),
    /// One for everybody is salted.
    #[error("a record for everybody has no salt")]
    Salt,
}

/// A record with its content. What it says is checked; its hashes are taken from it and cannot differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    kind: u8,
    audience: Audience,
    salt: [u8; 16],
    key: Bytes,
    body: Bytes,
}

impl Record {
    /// Takes it together. `salt` is zero where it is for everybody, and random otherwise.
    pub fn new(kind: u8, audience: Audience, salt: [u8; 16], key: Bytes, body: Bytes) -> Result<Self, Error> {
        check_key(&key)?;
        if body.len() > BODY_BYTES_MAX {
            return Err(Error::Body(body.len()));
        }
        if audience == Audience::EVERYBODY && salt != [0; 16] {
            return Err(Error::Salt);
        }
        Ok(Self { kind, audience, salt, key, body })
    }

    /// The number of its kind, known or not.
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// For whom it is.
    pub fn audience(&self) -> Audience {
        self.audience
    }

    /// What keeps its body from being guessed by its hash.
    pub fn salt(&self) -> &[u8; 16] {
        &self.salt
    }

    /// Under what it stands, among those of its kind.
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// What it says.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

fn check_key(key: &[u8]) -> Result<(), Error> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX { Err(Error::Key(key.len())) } else { Ok(()) }
}

/// What an entry lets its reader see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The hashes alone.
    Bare,
    /// The record that is set.
    Record(Record),
    /// Of a tombstone: the kind and key under which there is nothing any more.
    Gone {
        /// The number of its kind.
        kind: u8,
        /// Its key.
        key: Bytes,
    },
}

/// A line of the feed's log: a record is set, or taken away. Its hashes are those of what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    audience: Audience,
    key: KeyHash,
    record: RecordHash,
    shown: Shown,
}

impl Entry {
    /// This record is set.
    pub fn set(record: Record) -> Self {
        let key = KeyHash::of(record.kind, &record.key);
        let hash = RecordHash::of(record.kind, record.audience, &record.salt, &record.key, &record.body);
        Self { audience: record.audience, key, record: hash, shown: Shown::Record(record) }
    }

    /// What stands under this key, which was for `audience`, is taken away.
    pub fn gone(kind: u8, audience: Audience, key: Bytes) -> Result<Self, Error> {
        check_key(&key)?;
        let hash = KeyHash::of(kind, &key);
        Ok(Self { audience, key: hash, record: RecordHash::NONE, shown: Shown::Gone { kind, key } })
    }

    /// Something of which no more is known; a tombstone where the record is [`RecordHash::NONE`].
    pub fn bare(audience: Audience, key: KeyHash, record: RecordHash) -> Self {
        Self { audience, key, record, shown: Shown::Bare }
    }

    /// The same with its hashes alone.
    #[must_use]
    pub fn stripped(&self) -> Self {
        Self { shown: Shown::Bare, ..*self }
    }

    /// Whether it takes something away.
    pub fn is_gone(&self) -> bool {
        self.record == RecordHash::NONE
    }

    /// 1 where it sets, 2 where it takes away.
    pub fn op(&self) -> u8 {
        if self.is_gone() { 2 } else { 1 }
    }

    /// For whom.
    pub fn audience(&self) -> Audience {
        self.audience
    }

    /// Under what.
    pub fn key(&self) -> KeyHash {
        self.key
    }

    /// Which record; [`RecordHash::NONE`] of a tombstone.
    pub fn record(&self) -> RecordHash {
        self.record
    }

    /// What of it can be seen.
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// Whether there is nothing more to be known of it.
    pub fn is_whole(&self) -> bool {
        self.is_gone() || matches!(self.shown, Shown::Record(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_no_record_is_refused() {
        let (everybody, node) = (Audience::EVERYBODY, Audience::new([7; 16]));
        let key = |len| Bytes::from(vec![1; len]);
        assert_eq!(Record::new(1, everybody, [0; 16], key(0), key(0)), Err(Error::Key(0)));
        assert_eq!(Record::new(1, everybody, [0; 16], key(513), key(0)), Err(Error::Key(513)));
        let long = BODY_BYTES_MAX + 1;
        assert_eq!(Record::new(1, everybody, [0; 16], key(1), key(long)), Err(Error::Body(long)));
        assert_eq!(Record::new(1, everybody, [1; 16], key(1), key(0)), Err(Error::Salt));
        assert!(Record::new(200, node, [1; 16], key(512), key(BODY_BYTES_MAX)).is_ok());
        assert_eq!(Entry::gone(1, node, key(0)), Err(Error::Key(0)));
    }

    #[test]
    fn each_part_of_a_record_moves_its_hash() {
        let node = Audience::new([7; 16]);
        let of = |kind, audience, salt, key: &'static [u8], body: &'static [u8]| {
            Entry::set(Record::new(kind, audience, salt, key.into(), body.into()).unwrap()).record()
        };
        let all = [
            of(1, node, [1; 16], b"k", b"b"),
            of(2, node, [1; 16], b"k", b"b"),
            of(1, Audience::new([8; 16]), [1; 16], b"k", b"b"),
            of(1, node, [2; 16], b"k", b"b"),
            of(1, node, [1; 16], b"kb", b""),
            of(1, node, [1; 16], b"k", b"bb"),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(Kind::of_number(15), Some(Kind::Order));
        assert_eq!(Kind::of_number(16), None);
    }
}
