//! Housekeeping: what keeps the store within its bounds and its bytes what they were.
//!
//! 1. [`evict`] is a loop beside everything else: woken when somebody needs room, and now and then by itself, it has the
//!    store end what is over and throw out what was least used, in short steps, until the bounds hold.
//! 2. [`scrub`] reads payloads again and holds them against their proofs: all of them in one [`scrub::pass`] that a person
//!    asked for, or one by one with a [`scrub::Walk`].
//! 3. [`schedule`] is the loop that walks through everything once a quarter, slowly, and goes on after a restart where it
//!    was.
//! 4. [`review`] is the loop that holds what is held against the catalog when that has changed.
//! 5. [`progress`] is what a scrub tells of itself meanwhile.
//!
//! What to do about a bad payload is not decided here: findings are handed out, and whoever knows the sources has the bad
//! groups fetched again or the payload quarantined. Nothing here keeps a rate of its own either: the caller hands in a
//! [`scrub::Pace`]. All errors are the store's.

pub mod evict;
pub mod progress;
pub mod review;
pub mod schedule;
pub mod scrub;
