//! The net room over real sockets: connections and their limits, bodies, drains, binding, TLS.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "everything in here is a test or serves one: nobody reads its documentation"
)]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod bench;
mod bind;
mod connections;
mod limits;
mod pace;
mod tls;
