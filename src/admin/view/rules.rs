//! Rules that approve by themselves.

use serde::{Deserialize, Serialize};

use crate::admin::view::Time;

/// `GET /api/v1/rules`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// The rules, in the order in which they were made.
    pub rows: Vec<Rule>,
    /// When the node last looked what there is to do; absent where it has not since its start.
    pub looked_at: Option<Time>,
    /// When it looks again at the latest; it does at once after a run of the catalog, and where rules, groups, reviews or licences change.
    pub next_at: Option<Time>,
    /// Why the last look or run did not end well.
    pub failed: Option<String>,
    /// What should be known of them.
    pub notes: Vec<String>,
}

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Whether it does anything.
    pub enabled: bool,
    /// `on`, `off`, `stopped` (with some updates: too many machines failed), `held` (with some: somebody said something else), or `broken`
    /// (a group of its rings is gone).
    pub state: String,
    /// The classifications that it takes; none: all but upgrades and drivers.
    pub classifications: Vec<String>,
    /// Products, families or companies; none: all.
    pub products: Vec<String>,
    /// The least severity; absent: any.
    pub severity: Option<String>,
    /// Days that an update may be old when the rule begins with it; absent: any age.
    pub newest_days: Option<u32>,
    /// Its rings, in their order.
    pub rings: Vec<Ring>,
    /// It goes no further where more of a hundred failed; absent: it stops at nothing.
    pub stop_percent: Option<u8>,
    /// Of at least so many established machines that tried.
    pub stop_sample: Option<u32>,
    /// Days after a ring gets it by which it is to be installed; absent: no deadline.
    pub deadline_days: Option<u32>,
    /// Updates that all rings have.
    pub done: u64,
    /// Updates that a ring gets at the next run.
    pub due: u64,
    /// Updates that wait for their day, or until the ring before is offered them.
    pub waiting: u64,
    /// Updates with which it stopped by failures.
    pub stopped: u64,
    /// Updates with which it is held by what somebody said.
    pub held: u64,
    /// Who made it.
    pub made_by: String,
    /// When.
    pub made_at: Time,
    /// Who changed it last.
    pub by: String,
    /// When.
    pub at: Time,
}

/// A ring of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    /// The path of the group.
    pub group: String,
    /// Its id.
    pub group_id: String,
    /// Days after the ring before it is offered an update; of the first one after the day that the update is of.
    pub after_days: u32,
}

/// `GET /api/v1/rules/{name}`, and `GET /api/v1/rule-preview`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The rules that are told of.
    pub rules: Vec<Rule>,
    /// Updates that they are at, the newest first; those that all rings have are left out.
    pub rows: Vec<At>,
    /// How many there are in all.
    pub total: u64,
    /// What happened to the rule, the newest first; of a preview nothing.
    pub history: Vec<Line>,
    /// When what it approves takes effect.
    pub effect: String,
    /// What stands in the way, or should be known.
    pub notes: Vec<String>,
}

/// An update that a rule is at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// The rule.
    pub rule: String,
    /// The update's id.
    pub update: String,
    /// Its title.
    pub title: String,
    /// It came over plain HTTP: nothing proves who said it.
    #[serde(default)]
    pub unauthenticated: bool,
    /// Knowledge base articles, digits only.
    pub kbs: Vec<String>,
    /// `due` (a ring gets it at the next run), `waits` (for its day), `not-offered` (the ring that has it is not offered it yet), `held`
    /// (somebody said something else), or `stopped` (by failures).
    pub step: String,
    /// The group that it is about.
    pub group: String,
    /// What comes next and when, or why nothing does, in words.
    pub why: String,
    /// Each ring, in their order.
    pub rings: Vec<RingAt>,
    /// `licence` or `review`: what keeps the ring that has it from being offered it.
    pub waits: Vec<String>,
    /// Established machines of the rings that have it, on which it is installed.
    pub installed: u32,
    /// Those on which it failed.
    pub failed: u32,
}

/// A ring of an update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingAt {
    /// The path of the group.
    pub group: String,
    /// Since when it is to install it; absent where it is not yet.
    pub since: Option<Time>,
    /// When it gets it, if nothing comes in between; absent where that is not known.
    pub expected: Option<Time>,
}

/// A line of the history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Time,
    /// What the rule was called then.
    pub rule: String,
    /// `added`, `changed`, `enabled`, `disabled`, `removed`, `released`, `stopped`, `resumed`, `replaced`.
    pub event: String,
    /// Who did it.
    pub by: String,
    /// More, in words.
    pub text: String,
}

/// `GET /api/v1/rule-history`: of all rules, those that are gone too, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The lines.
    pub rows: Vec<Line>,
}

/// A ring, as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RingRequest {
    /// Name, path or id; `all` for all endpoints, `unassigned` for those in no group.
    pub group: String,
    /// See [`Ring::after_days`]; absent: 0 for the first ring, 7 for the others, as a ready-made rule has it.
    #[serde(default)]
    pub after_days: Option<u32>,
}

/// `POST /api/v1/rules`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddRequest {
    /// Its name; a ready-made rule has one.
    #[serde(default)]
    pub name: Option<String>,
    /// `patch-tuesday` or `definitions`: what is not given is as that has it.
    #[serde(default)]
    pub ready_made: Option<String>,
    /// The rings, in their order; at least one.
    pub rings: Vec<RingRequest>,
    /// What else it is like.
    #[serde(default)]
    pub like: Like,
}

/// `POST /api/v1/rules/{name}`: what is given takes the place of what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRequest {
    /// Another name.
    #[serde(default)]
    pub name: Option<String>,
    /// All its rings.
    #[serde(default)]
    pub rings: Option<Vec<RingRequest>>,
    /// What else is to be another one.
    #[serde(default)]
    pub like: Like,
}

/// What a rule is like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Like {
    /// Names or ids; an empty list for all but upgrades and drivers.
    #[serde(default)]
    pub classifications: Option<Vec<String>>,
    /// Names, paths or ids of products, families or companies; an empty list for all.
    #[serde(default)]
    pub products: Option<Vec<String>>,
    /// `low`, `moderate`, `important`, `critical`, or `any`.
    #[serde(default)]
    pub severity: Option<String>,
    /// See [`Rule::newest_days`]; 0 for any age.
    #[serde(default)]
    pub newest_days: Option<u32>,
    /// See [`Rule::stop_percent`].
    #[serde(default)]
    pub stop_percent: Option<u8>,
    /// See [`Rule::stop_sample`].
    #[serde(default)]
    pub stop_sample: Option<u32>,
    /// It stops at nothing.
    #[serde(default)]
    pub no_stop: bool,
    /// See [`Rule::deadline_days`]; 0 for none.
    #[serde(default)]
    pub deadline_days: Option<u32>,
    /// Whether it does anything.
    #[serde(default)]
    pub enabled: Option<bool>,
}

/// What came of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The rule as it is now; absent where it was removed.
    pub rule: Option<Rule>,
    /// When it takes effect.
    pub effect: String,
    /// What should be known.
    pub notes: Vec<String>,
}

/// `POST /api/v1/rules/{name}/resume`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeRequest {
    /// Ids, beginnings of ids, or KBs; none: all with which the rule goes no further.
    #[serde(default)]
    pub updates: Vec<String>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// Updates that had been stopped by failures.
    pub stopped: Vec<String>,
    /// Updates with which the rule goes on past a ring for which somebody said something else.
    pub held: Vec<String>,
    /// When it takes effect.
    pub effect: String,
}

/// `POST /api/v1/rule-runs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// Only this rule; absent: all that are on.
    #[serde(default)]
    pub rule: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// The job.
    pub job: u64,
    /// `done`, `failed`, `stopped`; `running` where it takes long: the job tells more.
    pub state: String,
    /// What came of it, in words.
    pub result: String,
    /// What was done, update by update.
    pub rows: Vec<RanAt>,
    /// When it takes effect.
    pub effect: String,
    /// What stands in the way.
    pub notes: Vec<String>,
}

/// One update of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RanAt {
    /// The update's article, else its title.
    pub update: String,
    /// What was done.
    pub text: String,
}

/// `GET /api/v1/rule-ready-made`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyMade {
    /// The rules that need not be written.
    pub rows: Vec<Ready>,
}

/// A ready-made rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Its word.
    pub word: String,
    /// What it is called unless somebody calls it otherwise.
    pub name: String,
    /// What it does.
    pub about: String,
}
