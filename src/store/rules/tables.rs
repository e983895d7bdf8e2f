//! The tables of rules. They are opened with those of the catalog (`store::catalog::tables`), so that one transaction has a rule's step and
//! the approvals that come of it.

use redb::TableDefinition;
use serde::{Deserialize, Serialize};

use crate::model::update::UpdateId;
use crate::store::catalog::tables::Guid;

/// Number of the rule, update.
pub(crate) type ProgressKey = [u8; 20];

/// Number -> [`RuleRow`].
pub(crate) const RULES: TableDefinition<'static, u32, &[u8]> = TableDefinition::new(RULES_NAME);
/// [`progress_key`] -> [`ProgressRow`].
pub(crate) const PROGRESS: TableDefinition<'static, &ProgressKey, &[u8]> = TableDefinition::new(PROGRESS_NAME);
/// Number of the line -> [`LineRow`].
pub(crate) const HISTORY: TableDefinition<'static, u64, &[u8]> = TableDefinition::new(HISTORY_NAME);

/// Names, for messages too.
pub(crate) const RULES_NAME: &str = "fleet-rules.1";
pub(crate) const PROGRESS_NAME: &str = "fleet-rule-progress.1";
pub(crate) const HISTORY_NAME: &str = "fleet-rule-history.1";

/// A name in `catalog-numbers.1`: the last number that a rule got.
pub(crate) const LAST_RULE: &str = "last-rule";
/// The last number that a line of the history got.
pub(crate) const LAST_LINE: &str = "last-rule-line";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RuleRow {
    pub(crate) name: String,
    pub(crate) enabled: bool,
    pub(crate) classifications: Vec<Guid>,
    pub(crate) products: Vec<Guid>,
    /// 0 to 4, as in rows of the catalog.
    pub(crate) severity: u8,
    /// Days.
    pub(crate) newest: Option<u32>,
    /// Group, days after the one before it.
    pub(crate) rings: Vec<(Guid, u32)>,
    /// Percent, sample.
    pub(crate) stop: Option<(u8, u32)>,
    /// Days.
    pub(crate) deadline: Option<u32>,
    pub(crate) made_by: String,
    pub(crate) made_at: u64,
    pub(crate) by: String,
    pub(crate) at: u64,
    /// Rises with each change.
    pub(crate) revision: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProgressRow {
    /// Group, since when something is said for it, since when it is offered it, whether the rule said so.
    pub(crate) rings: Vec<(Guid, u64, Option<u64>, bool)>,
    /// When it was stopped, how many had installed it, how many had failed.
    pub(crate) stopped: Option<(u64, u32, u32)>,
    /// How many failures a person saw who said that it goes on.
    pub(crate) overruled: Option<u32>,
    /// Rings that a person said to go past.
    pub(crate) passed: Vec<Guid>,
    /// Nothing more comes: something newer has its place everywhere.
    pub(crate) over: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LineRow {
    pub(crate) at: u64,
    pub(crate) rule: u32,
    pub(crate) name: String,
    /// 1 added, 2 changed, 3 switched on, 4 switched off, 5 removed, 6 released, 7 stopped, 8 resumed, 9 replaced.
    pub(crate) event: u8,
    pub(crate) by: String,
    pub(crate) text: String,
}

pub(crate) fn progress_key(rule: u32, update: &Guid) -> ProgressKey {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&rule.to_be_bytes());
    key[4..].copy_from_slice(update);
    key
}

/// What [`progress_key`] put together.
pub(crate) fn of_progress_key(key: &ProgressKey) -> (u32, UpdateId) {
    let (mut rule, mut update) = ([0; 4], [0; 16]);
    rule.copy_from_slice(&key[..4]);
    update.copy_from_slice(&key[4..]);
    (u32::from_be_bytes(rule), UpdateId::new(update))
}
