//! Who stands in line: what a flow is, the gates that it goes through, and how far it has come. Pure.

use std::net::IpAddr;
use std::task::Waker;

use ipnet::IpNet;

use crate::pace::class::Class;
use crate::pace::lane::Lane;

/// Who wants bytes to flow.
#[derive(Clone, Debug)]
pub(super) enum Who {
    /// A fetch, whose class may change while it goes on.
    Fetch(Lane),
    /// An answer to a client.
    Client(IpAddr),
    /// An answer to a child node.
    Node,
}

impl Who {
    pub(super) fn class(&self) -> Class {
        match self {
            Self::Fetch(lane) => lane.class(),
            Self::Client(_) => Class::Clients,
            Self::Node => Class::Nodes,
        }
    }
}

/// A part of a network: the rule's number, and the part.
pub(super) type Part = (usize, IpNet);

/// A gate, by what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Part(Part),
    Class(Class),
    GiveWay,
    Link,
}

/// The gates of one flow; three at the most.
pub(super) type Path = [Option<Stage>; 3];

/// Somebody who stands before a gate, or has passed the last one and has not come for it yet.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) who: Who,
    pub(super) class: Class,
    pub(super) path: Path,
    /// The gate that it stands before.
    pub(super) at: usize,
    /// Changes with every place that it takes.
    pub(super) turn: u32,
    /// Bytes that may go so far.
    pub(super) want: u64,
    /// What was asked for.
    pub(super) asked: u64,
    /// What each gate has counted.
    pub(super) paid: [u64; 3],
    pub(super) through: bool,
    pub(super) waker: Waker,
}

impl Ticket {
    /// The gate before it has let `bytes` through.
    pub(super) fn pass(&mut self, bytes: u64) {
        self.want = self.want.min(bytes);
        if let Some(paid) = self.paid.get_mut(self.at) {
            *paid = bytes;
        }
        self.at += 1;
    }
}
