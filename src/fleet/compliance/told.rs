//! What an endpoint says of itself, as far as that means anything for the state of its updates. Pure.
//!
//! The truth is the snapshot that an agent sends after a scan (event 156): it names all that it has told of, and what it does not name
//! any more it has no use for; what it has no list for (failures, restarts) stays as it was told before. Of what happens in between only that is taken which a real WSUS takes (a failed installation, at once) or
//! which cannot mislead: that files are there, and that a restart is pending. That an installation went well is not: it says so before
//! the restart that decides it, and the next snapshot tells.

use std::collections::BTreeMap;

use crate::model::compliance::State;
use crate::model::update::UpdateId;

/// Something that an endpoint told. Times are in seconds, by its own clock as far as that is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When.
    pub at: u32,
    /// What.
    pub what: What,
}

/// How all updates stand that an endpoint told of, at a time: what it does not name any more it has no use for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Each update that it names, with the state of the list that it stands in.
    pub states: BTreeMap<UpdateId, State>,
    /// Whether it has a list of what failed. An agent leaves out a list that is empty, and those that were seen send two alone (needed,
    /// installed); without this one it does not say that nothing failed.
    pub tells_failed: bool,
    /// The same of what waits for a restart.
    pub tells_restarts: bool,
}

impl From<BTreeMap<UpdateId, State>> for Snapshot {
    /// One that leaves nothing open.
    fn from(states: BTreeMap<UpdateId, State>) -> Self {
        Self { states, tells_failed: true, tells_restarts: true }
    }
}

/// What was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A scan went well.
    Scanned,
    /// A scan failed, with this code.
    ScanFailed(i32),
    /// How all updates stand that it told of.
    Snapshot(Snapshot),
    /// An update is now in this state; with the code of a failure, else 0.
    Became(UpdateId, State, i32),
    /// It must be restarted.
    RestartPending,
    /// It was restarted.
    Restarted,
}
