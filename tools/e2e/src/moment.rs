//! The moments at which a node is killed while it gets a catalog: some in each phase, drawn by the seed.
//!
//! What passes in milliseconds is held by the simulator, so that the kill falls into it: an answer that does not begin, a list or a file
//! that drips. What commits is left alone and looked at.

use std::io;

use serde_json::{Value, json};
use upstream_sim::Sim;

use crate::bytes::Dice;
use crate::catalog::{ask, questions};
use crate::node::Node;

/// Longer than it takes to kill a node, so that what is held goes no further.
const HELD_MS: u64 = 20_000;

/// Bytes a second of a list that is cut: those of categories have some 50 KB, those of updates a megabyte.
const LIST_RATE: u64 = 30_000;

/// Milliseconds before each file begins, so that there are always some under way.
const FILE_MS: u64 = 200;

/// When a run is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// While it is let in: at this question.
    Authorization(&'static str),
    /// While it asks for limits and languages.
    Configuration,
    /// In the middle of the list of categories.
    Categories,
    /// In the middle of the list of updates.
    Updates,
    /// When it has asked for documents so often.
    Documents(usize),
    /// When so many revisions more are committed: between two commits, or in the next one.
    Commits(u64),
    /// When the run is over and so many of the files that it makes wanted have come: others are under way.
    Files(u64),
}

impl Moment {
    /// Ten of them, each phase once at least. The list of updates is asked before any of its documents has come, or after the last one;
    /// what can be met in every run stands anywhere.
    pub(crate) fn drawn(dice: &mut Dice) -> Vec<Self> {
        let mut letting_in = || {
            let all = ["GetAuthConfig", "GetAuthorizationCookie", "GetCookie"];
            Self::Authorization(all[usize::try_from(dice.below(3)).unwrap_or(0)])
        };
        let mut first = [letting_in(), Self::Configuration, Self::Categories, Self::Updates];
        let again = letting_in();
        dice.shuffle(&mut first);
        let mut documents = || Self::Documents(1 + usize::try_from(dice.below(6)).unwrap_or(0));
        let (one, two) = (documents(), documents());
        let mut commits = || Self::Commits(1 + dice.below(400));
        let mut then = [one, two, commits(), commits(), again];
        dice.shuffle(&mut then);
        first.into_iter().chain(then).chain([Self::Files(1 + dice.below(12))]).collect()
    }

    /// Whether the run is over by then.
    pub(crate) fn is_behind_the_run(self) -> bool {
        matches!(self, Self::Files(_))
    }

    /// Has the simulator hold what passes too fast.
    pub(crate) fn order(self, sim: &Sim) -> io::Result<()> {
        let order = match self {
            Self::Authorization(method) => json!({ "fault": "slow", "method": method, "delay_ms": HELD_MS }),
            Self::Configuration => json!({ "fault": "slow", "method": "GetConfigData", "delay_ms": HELD_MS }),
            Self::Categories => json!({ "fault": "slow", "method": LIST, "bytes_per_second": LIST_RATE }),
            Self::Updates => json!({ "fault": "slow", "method": LIST, "after": 1, "bytes_per_second": LIST_RATE }),
            Self::Files(_) => json!({ "fault": "content-slow", "delay_ms": FILE_MS, "count": 1_000_000 }),
            Self::Documents(_) | Self::Commits(_) => return Ok(()),
        };
        sim.fault(&order).map_err(io::Error::other)
    }

    /// Whether it has come, in the run that was begun after the simulator's log was forgotten.
    pub(crate) fn has_come(self, node: &Node, sim: &Sim) -> bool {
        let asked = |method: &str| sim.log(0)["methods"][method].as_u64().unwrap_or(0);
        match self {
            Self::Authorization(method) => asked(method) > 0,
            Self::Configuration => asked("GetConfigData") > 0,
            Self::Categories => asked(LIST) > 0,
            Self::Updates => asked(LIST) > 1,
            Self::Documents(times) => questions(sim).len() >= times,
            Self::Commits(revisions) => ask(node, &["sync", "status"])
                .is_ok_and(|state: Value| state["running"]["counts"]["new"].as_u64() >= Some(revisions)),
            Self::Files(files) => asked("content-GET") >= files,
        }
    }
}

const LIST: &str = "GetRevisionIdList";
