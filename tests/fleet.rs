//! What endpoints need of the catalog: the graph of all updates, views of what is delivered, and scans against them, beside a plain
//! model; the recorded scan of a real agent; and the way from a store's catalog to the graph.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where by panicking")]

#[path = "fleet/agent.rs"]
mod agent;
#[path = "fleet/answers.rs"]
mod answers;
#[path = "fleet/belonging.rs"]
mod belonging;
#[allow(dead_code, reason = "this binary needs a full disk alone")]
#[path = "support/fault_disk.rs"]
mod fault_disk;
#[path = "fleet/loading.rs"]
mod loading;
#[path = "fleet/plain.rs"]
mod plain;
#[path = "support/plain_xpress.rs"]
mod plain_xpress;
#[path = "support/recorded.rs"]
mod recorded;
#[path = "fleet/registration.rs"]
mod registration;
#[path = "fleet/replay.rs"]
mod replay;
#[path = "fleet/scans.rs"]
mod scans;
#[path = "support/small_store.rs"]
mod small_store;
#[path = "fleet/states.rs"]
mod states;
