//! Waystation: a patch content cache and distribution node.
//!
//! The rooms and who may call whom are described in `docs/ARCHITECTURE.md`; `tests/architecture.rs` holds the table.

pub mod base;
pub mod fill;
pub mod keep;
pub mod model;
pub mod net;
pub mod pace;
pub mod serve;
pub mod store;
pub mod upstream;
pub mod wire;
