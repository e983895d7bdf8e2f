//! The chain through its doors: the bytes of the feed against vectors and a reader of their own, what a child makes of each kind of
//! lie, seeded walks of a whole chain beside a plain model, and nodes with stores and catalogs one below the other.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where by panicking")]

#[path = "chain/alarms.rs"]
mod alarms;
#[path = "chain/below.rs"]
mod below;
#[path = "chain/bytes.rs"]
mod bytes;
#[path = "chain/content.rs"]
mod content;
#[path = "chain/evil.rs"]
mod evil;
#[path = "chain/kept.rs"]
mod kept;
#[path = "chain/nodes.rs"]
mod nodes;
#[path = "support/plain_client.rs"]
mod plain_client;
#[path = "chain/renewal.rs"]
mod renewal;
#[path = "support/small_store.rs"]
mod small_store;
#[path = "chain/sockets.rs"]
mod sockets;
#[path = "chain/subtree.rs"]
mod subtree;
#[path = "chain/view.rs"]
mod view;
#[path = "chain/walk.rs"]
mod walk;
#[path = "chain/world.rs"]
mod world;
