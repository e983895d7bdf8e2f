//! Who is who in a chain.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Text that is no id of a node: not 32 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a node: expected 32 hex digits, got {got:?}")]
pub struct NotANode {
    /// At most 80 characters of what was given.
    got: String,
}

/// A node: 16 random bytes that it made itself, kept through restores.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId([u8; 16]);

impl NodeId {
    /// The node with these bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node:{self}")
    }
}

impl FromStr for NodeId {
    type Err = NotANode;

    fn from_str(text: &str) -> Result<Self, NotANode> {
        let fail = || NotANode { got: text.chars().take(80).collect() };
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return Err(fail());
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            *byte = (high.ok_or_else(fail)? * 16 + low.ok_or_else(fail)?) as u8;
        }
        Ok(Self(bytes))
    }
}

/// For whom a record is: everybody, one node, or a group of nodes. Everybody else gets its hash alone.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Audience([u8; 16]);

impl Audience {
    /// Everybody.
    pub const EVERYBODY: Self = Self([0; 16]);

    /// The node or group of nodes with these bytes; everybody where all are zero.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// That node.
    pub const fn node(node: NodeId) -> Self {
        Self(node.0)
    }

    /// The bytes.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::EVERYBODY { f.write_str("everybody") } else { write!(f, "for:{}", NodeId(self.0)) }
    }
}

/// A place in the feed: one life of the authority's store, and the number within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Which life of the authority's store.
    pub epoch: u64,
    /// Of the last entry that it covers; 0 before the first.
    pub sequence: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_reads_what_it_prints() {
        let node = NodeId::new([0xa5; 16]);
        assert_eq!(node.to_string().parse(), Ok(node));
        assert_eq!(node.to_string().to_uppercase().parse(), Ok(node));
        for text in ["", "a5", "zz", &"g".repeat(32), &"é".repeat(16)] {
            assert!(text.parse::<NodeId>().is_err(), "{text}");
        }
        assert_eq!(format!("{:?}", Audience::EVERYBODY), "everybody");
        assert_ne!(Audience::node(node), Audience::EVERYBODY);
    }
}
