//! The chain of nodes, as values: who is in it, what the feed consists of, and the hashes by which all of it hangs together.
//!
//! 1. [`ids`] name nodes, chains and audiences.
//! 2. [`hash`] makes the hashes of keys, records and links, each of a kind of its own.
//! 3. [`record`] are the records of the feed, and what stands in its log for each.
//! 4. [`live`] is the set of live records with its root, which each change moves on.
//!
//! `docs/CHAINING.md` has the meaning of each byte.

pub mod below;
pub mod hash;
pub mod ids;
pub mod live;
pub mod record;
