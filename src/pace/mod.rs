//! The bandwidth governor: how fast bytes may flow.
//!
//! 1. [`bucket`] says of one flow how long to wait after so many bytes, so that it keeps a rate.
//!
//! Nothing here waits by itself, and nothing knows what the bytes are.

pub mod bucket;
