//! Codecs: bytes <-> values. Pure functions, no I/O, no async, and no panic on any bytes.
//!
//! 1. [`conditional`] decides what a request's method, preconditions and ranges select of an object (RFC 9110, 13 and 14).
//! 2. [`multipart`] frames several selected ranges as one `multipart/byteranges` body of a length known ahead.
//! 3. [`metadata`] reads the document of an update (MS-WSUSSS, MS-WUSP 3.1.1.1).
//! 4. [`fragments`] cuts from it what endpoints are given (MS-WUSP 3.1.1.1).

pub mod conditional;
pub mod fragments;
pub mod metadata;
pub mod multipart;
