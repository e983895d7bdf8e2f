//! The floors that the codecs stand on, and nothing above them: without a database, TLS and a server they are built in a
//! minute, so that every change can be fuzzed. That they build alone is worth something by itself.
#![allow(dead_code, reason = "what only the floors above use is used by nobody here")]

#[path = "../../../../src/base/mod.rs"]
pub mod base;
#[path = "../../../../src/model/mod.rs"]
pub mod model;
#[path = "../../../../src/wire/mod.rs"]
pub mod wire;
