//! What people decided for groups and endpoints, on its way down: words, reviews, licences, groups, policies, placements.
//!
//! What it promises:
//! - A replica ends up with what the authority has, whatever it had before: what is of itself alone goes once the authority's is there.
//! - To take the same once more changes nothing.
//! - Deadlines are those that were said. How long something was held back counts from when the replica learnt of it, so that a deadline
//!   is never earlier than the authority said.
//!
//! How it goes: 1. the authority makes records of what changed ([`made`]). 2. A replica takes them into its own store ([`taken`]): groups first,
//! all together, then what is said for them.

pub(super) mod made;
pub(super) mod taken;

use crate::model::deployment::{Action, Said, Target};
use crate::model::policy::Group;
use crate::store::approvals::Kept;

/// Whether it is a decision for all endpoints without more, which has a record of its own kind.
fn is_decision(kept: &Kept) -> bool {
    let is_plain = kept.approval.said == Said::Do { action: Action::Install, deadline: None };
    kept.declined || (is_plain && kept.approval.target == Target::Group(Group::ALL_ENDPOINTS))
}
