//! The catalog from outside: recorded documents and messages, and the rooms that read, keep and fetch them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where by panicking")]

#[path = "catalog/agreement.rs"]
mod agreement;
#[path = "catalog/around.rs"]
mod around;
#[path = "support/authority.rs"]
mod authority;
#[path = "catalog/content.rs"]
mod content;
#[path = "catalog/conversation.rs"]
mod conversation;
#[path = "catalog/documents.rs"]
mod documents;
#[path = "catalog/downstream.rs"]
mod downstream;
#[path = "catalog/endpoints.rs"]
mod endpoints;
#[allow(dead_code, reason = "this binary needs no crash of the disk, only its faults")]
#[path = "support/fault_disk.rs"]
mod fault_disk;
#[path = "support/hand_clock.rs"]
mod hand_clock;
#[path = "catalog/lanes.rs"]
mod lanes;
#[path = "catalog/machines.rs"]
mod machines;
#[path = "support/made_catalog.rs"]
mod made_catalog;
#[path = "catalog/messages.rs"]
mod messages;
#[path = "catalog/orders.rs"]
mod orders;
#[path = "support/plain_client.rs"]
mod plain_client;
#[path = "support/plain_xpress.rs"]
mod plain_xpress;
#[path = "catalog/policy.rs"]
mod policy;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/recorded.rs"]
mod recorded;
#[path = "catalog/registration.rs"]
mod registration;
#[path = "catalog/replay.rs"]
mod replay;
#[path = "catalog/rules.rs"]
mod rules;
#[path = "support/small_store.rs"]
mod small_store;
#[path = "catalog/sync.rs"]
mod sync;
#[allow(dead_code, reason = "this binary needs the leaves of a tree, not its values by name")]
#[path = "scan/tree.rs"]
mod tree;
