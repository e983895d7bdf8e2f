//! The messages by which servers synchronise (MS-WSUSSS), requests and answers, each in both directions: this node asks as a
//! downstream server and will answer as an upstream one.
//!
//! Reading takes the elements in any order and skips those that it does not know; writing keeps the order of the WSDL
//! (MS-WSUSSS 6), which is that of real servers. What comes as text that this node only hands back (cookies, anchors, times)
//! is kept as it came.
//!
//! 1. [`method`] names the operations, their addresses and actions.
//! 2. [`values`] and [`field`] are the types of elements, and how records of them are read and written.
//! 3. [`authorize`], [`config`], [`revisions`], [`updates`], [`files`], [`drivers`], [`deployments`], [`rollup`], [`other`] are the messages.
//! 4. [`call`] puts them into envelopes and takes them out again; [`revisions`] and [`updates`] also do it item by item, for
//!    the answers that are too large to hold.
//! 5. [`fault`] tells what to do about a refusal.

pub mod authorize;
pub mod call;
pub mod config;
pub mod deployments;
pub mod drivers;
pub mod fault;
pub mod field;
pub mod files;
pub mod method;
pub mod other;
pub mod revisions;
pub mod rollup;
pub mod updates;
pub mod values;

pub use call::{Answer, Call, Request, decode_answer, decode_request, encode_answer, encode_request};
pub use fault::{FaultCode, Reaction, reaction};
pub use method::Method;

#[cfg(test)]
mod tests;
