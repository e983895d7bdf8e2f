//! WSUS servers below this node, as the API tells of them and the command line prints them.

use serde::{Deserialize, Serialize};

use crate::admin::view::Time;

/// `GET /api/v1/downstream`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Downstream {
    /// Whether servers may ask here at all (`[downstream] networks`).
    pub enabled: bool,
    /// Those that told of themselves, by name.
    pub servers: Vec<Server>,
}

/// A server. All of it is what it says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its id.
    pub id: String,
    /// Its full name.
    pub name: String,
    /// The id of the server between it and this node; absent where there is none.
    pub parent: Option<String>,
    /// Of its program.
    pub version: String,
    /// Whether it takes over approvals.
    pub replica: bool,
    /// When it last synchronised; absent where it never did.
    pub last_sync: Option<Time>,
    /// When it told this.
    pub told_at: Time,
    /// From which address.
    pub from: String,
    /// How it stands; absent where it did not say.
    pub standing: Option<Standing>,
    /// Its computers by system, most first.
    pub systems: Vec<System>,
}

/// How a server stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Updates that it has.
    pub updates: u32,
    /// Of these, approved ones.
    pub approved: u32,
    /// Of these, declined ones.
    pub declined: u32,
    /// Updates whose files are still to be fetched, or could not be.
    pub lacking_files: u32,
    /// Computers.
    pub computers: u32,
    /// Of these, those that lack an update.
    pub lacking: u32,
    /// Of these, those on which an update failed.
    pub failed: u32,
    /// Of these, those that lack none.
    pub up_to_date: u32,
}

/// Computers of one system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// `10.0.19045 AMD64`.
    pub system: String,
    /// How many.
    pub computers: u32,
}
