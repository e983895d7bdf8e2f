//! Floor 4: nodes above and below. Who signs the feed, and what a node believes of it. `docs/CHAINING.md` has the protocol.
//!
//! What it promises, of this node as a child, whoever stands between it and the authority:
//! - What is applied is what the authority signed: all of it, in its order, nothing else.
//! - What was applied is never taken back by anything but a later checkpoint.
//! - Withholding is seen: by a record that lacks its content, or by the age of what proves the feed to be current.
//!
//! How the feed goes through it, each step in the file named:
//! 1. The authority puts each change under a key, links it to all before it and signs checkpoints and timestamps ([`authority`], [`keys`]).
//! 2. A child asks from its cursor and takes the answer frame by frame ([`child`]): staged first, applied when a checkpoint that covers it
//!    verifies ([`verify`]).
//! 3. What does not fit is an [`alarm`], and changes nothing.
//! 4. What is secret travels sealed to one node ([`seal`]).
//! 5. The feed key becomes another one, and an authority that was rolled back signs nothing more ([`renewal`]).
//!
//! Nothing here does I/O: frames, a clock's time and keys come in, decisions go out.

pub mod alarm;
pub mod answer;
pub mod authority;
pub mod below;
mod ca;
pub mod child;
mod document;
pub mod error;
pub mod files;
pub mod follow;
pub mod join;
mod keyring;
pub mod keys;
pub mod leave;
pub mod node;
pub mod publish;
pub mod records;
pub mod renewal;
pub mod roll;
pub mod seal;
pub mod tell;
pub mod verify;
