//! Waystation: a patch content cache and distribution node.
//!
//! The rooms and who may call whom are described in `docs/ARCHITECTURE.md`; `tests/architecture.rs` holds the table.

pub mod admin;
pub mod app;
pub mod base;
pub mod chain;
pub mod cli;
pub mod fill;
pub mod fleet;
pub mod jobs;
pub mod keep;
pub mod model;
pub mod net;
pub mod pace;
pub mod serve;
pub mod store;
pub mod sync;
pub mod upstream;
pub mod wire;
