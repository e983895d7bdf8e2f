//! The messages by which endpoints scan and report (MS-WUSP 38.0), as this node needs them: requests are read, answers and
//! refusals are written. Pure values on both sides; whether a cookie is good, an id known or a list too long for the protocol
//! is decided by whoever serves.
//!
//! Requests come from anybody. Elements are taken in any order and under any prefix, those that nobody knows are skipped
//! (newer agents send more than the specification has), and whatever is held has a limit of [`limits`]. What cannot be read
//! becomes a [`Refused`], which says in the protocol's own words what to answer. Only events of a batch are let off one by
//! one: an agent sends a batch again until it is taken.
//!
//! Answers have the order of elements and the form of a recorded server's. Where they carry metadata, they are a sequence of
//! [`Part`]s: small pieces that are made for this answer ([`Part::Made`]) and fragments that were escaped, and perhaps packed,
//! once for all ([`Part::Fragment`]). Whoever sends them copies nothing: parts go out as they are, or through
//! [`Parts::pack`], which packs what was made and splices in what is packed already.
//!
//! 1. [`method`] names the services ([`Face`]), their operations, addresses and actions.
//! 2. [`read`] and [`error`] are how pieces of requests are read, within [`limits`], and what is wrong with them.
//! 3. [`handshake`], [`sync`], [`device`], [`info`], [`report`] are the requests; [`attributes`] are lists of keys and values
//!    within their texts.
//! 4. [`request`] takes them out of their envelopes.
//! 5. [`parts`] holds answers, [`answer`], [`deployment`], [`offer`] and [`given`] write them, and [`fault`] refusals.

pub mod answer;
pub mod attributes;
pub mod deployment;
pub mod device;
pub mod error;
pub mod fault;
pub mod given;
pub mod handshake;
pub mod info;
pub mod limits;
pub mod method;
pub mod offer;
pub mod parts;
mod read;
pub mod report;
pub mod request;
pub mod sync;

pub use error::Refused;
pub use fault::{FaultCode, Refusal};
pub use method::{Face, Method};
pub use parts::{Fragment, Part, Parts};
pub use request::{Asked, Request, decode};

#[cfg(test)]
mod tests;
