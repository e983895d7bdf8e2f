//! The messages between nodes (`/peer/v1`, `docs/CHAINING.md`), as bytes and values.
//!
//! 1. [`raw`] is the stream: eight bytes that say what it is, and frames with a kind and a length, packed or not.
//! 2. [`frame`] are the frames of a feed's answer; [`entry`] are the lines of its log in them.
//! 3. [`signed`] are the three things that keys of the chain sign, of fixed length each.
//! 4. [`body`] is what records say; [`wish`] what those for one node do.
//! 5. [`name`] is what a certificate calls a node.
//! 6. [`report`] is what a node tells its parent of itself and of all below it.
//! 7. [`slice`] is part of the hash tree of a payload.
//! 8. [`token`] is what an invitation gives to the administrator of a child.
//!
//! Hashes of what comes with content are made here, from the bytes that came, so that nobody can be told another one. Signatures are not
//! checked here.

pub mod body;
pub mod entry;
pub mod frame;
pub mod name;
pub mod raw;
mod read;
pub mod report;
pub mod signed;
pub mod slice;
pub mod token;
pub mod wish;
