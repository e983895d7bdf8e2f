//! Floor 1: the domain, pure. Payloads and how they are named, updates and how they hang together, what of them is wanted and
//! when it is asked for, which of their files are brought ahead of time, groups of endpoints and what is approved for them, how updates
//! stand on endpoints, what systems are called, origins and who may be asked, settings and their layers, the chain of nodes with its records
//! and hashes, WSUS servers below, who may do what on the control plane, and the words for what became of a request. No I/O, no async, no HTTP types.

pub mod access;
pub mod chain;
pub mod compliance;
pub mod deployment;
pub mod downstream;
pub mod drawn;
pub mod filter;
pub mod group;
pub mod name;
pub mod origin;
pub mod outcome;
pub mod payload;
pub mod policy;
pub mod relations;
pub mod report;
pub mod schedule;
pub mod settings;
pub mod shown;
pub mod update;
pub mod windows;
