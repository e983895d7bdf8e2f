//! The net room over real sockets: connections and their limits, bodies, drains, binding, TLS.

// Everything in here is a test or serves one: a failed unwrap is a failed test, and nobody reads its documentation.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]
// A skipped test says so.
#![allow(clippy::print_stderr)]

mod bench;
mod bind;
mod connections;
mod limits;
mod pace;
mod tls;
