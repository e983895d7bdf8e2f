//! What endpoints speak, from outside: recorded requests and answers of a scan and its reports, and the example conversation of
//! the specification.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where by panicking")]

#[path = "scan/answers.rs"]
mod answers;
#[path = "scan/example.rs"]
mod example;
#[path = "support/recorded.rs"]
mod recorded;
#[path = "scan/requests.rs"]
mod requests;
#[path = "scan/tree.rs"]
mod tree;
