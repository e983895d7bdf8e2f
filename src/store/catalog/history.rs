//! A run of the history, and what is told of it, as values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It has not.
    #[default]
    Running,
    /// All was done.
    Successful,
    /// It could not go on.
    Failed,
    /// Somebody stopped it.
    Stopped,
    /// The node ended under it.
    CutOff,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// New updates.
    pub new: u64,
    /// Changed ones.
    pub changed: u64,
    /// Withdrawn ones.
    pub expired: u64,
    /// Superseded ones.
    pub superseded: u64,
    /// Files wanted.
    pub files: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Errors of the upstream.
    pub errors: u64,
    /// Quarantined updates.
    pub refused: u64,
    /// Updates pruned.
    pub pruned: u64,
}

/// A run of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its number, rising.
    pub id: u64,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// From whom, in words.
    pub upstream: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why; empty where there is nothing to say.
    pub reason: String,
    /// What it did.
    pub counts: Counts,
    /// Files that the content policy wanted when it had ended, and their bytes; absent where nobody counted.
    pub wanted: Option<(u64, u64)>,
    /// What is told of it beside.
    pub note: RunNote,
}

/// Which kind of run it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunKind {
    /// All that is wanted.
    #[default]
    Catalog,
    /// Definition updates alone.
    Definitions,
    /// A comparison with Microsoft's catalog.
    Crosscheck,
}

/// What is told of a run beside its counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunNote {
    /// Which kind of run it is.
    pub kind: RunKind,
    /// Who asked for it; empty where that is not known.
    pub by: String,
    /// What it came from was authenticated by nothing.
    pub unauthenticated: bool,
    /// Errors of the upstream, those that asking again got over among them, by kind.
    pub troubles: BTreeMap<String, u64>,
    /// What a comparison found.
    pub compared: Option<Compared>,
    /// It came to nothing for a reason that passes, and nobody wanted that: begun again it may well go to its end.
    pub again: bool,
}

/// What a comparison with Microsoft's catalog found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compared {
    /// The same there: authenticated from now on.
    pub agreed: u64,
    /// Another one there: refused, with the bundles that contain them.
    pub differed: u64,
    /// Of those, where the text alone is another: files, digests, members, supersedence and rules are the same.
    pub text: u64,
    /// Updates that Microsoft does not have, such as those that somebody published on the WSUS: left as they are.
    pub absent: u64,
    /// Revisions that Microsoft does not give out, so that nothing can be said: left as they are.
    pub unknown: u64,
    /// Updates of which Microsoft has a newer revision than the one that is held and counts.
    pub behind: u64,
    /// Of those, where that one withdraws the update, and nobody had vouched for what is held: left as they are.
    pub withdrawn: u64,
}
