//! Codecs: bytes <-> values. Pure functions of what they read, no I/O of their own, no async, and no panic on any bytes.
//!
//! 1. [`conditional`] decides what a request's method, preconditions and ranges select of an object (RFC 9110, 13 and 14).
//! 2. [`multipart`] frames several selected ranges as one `multipart/byteranges` body of a length known ahead.
//! 3. [`soap`] reads and writes SOAP envelopes and faults, bounded, as a stream of elements.
//! 4. [`wsusss`] are the messages of the server-to-server protocol (MS-WSUSSS) in both directions.
//! 5. [`wusp`] are the messages of the protocol by which endpoints scan and report (MS-WUSP): requests read, answers written.
//! 6. [`xpress`] packs answers as endpoints ask for it (MS-WUSP 2.1.1, MS-XCA), and unpacks them.
//! 7. [`cabinet`] unpacks the cabinets that update documents come in, and packs them.
//! 8. [`metadata`] reads the document of an update (MS-WSUSSS, MS-WUSP 3.1.1.1).
//! 9. [`fragments`] cuts from it what endpoints are given (MS-WUSP 3.1.1.1).
//! 10. [`peer`] are the messages between nodes (`docs/CHAINING.md`).
//!
//! [`error`] says what is wrong with messages that came from outside, and whose fault it is.

pub mod cabinet;
pub mod conditional;
pub mod error;
pub mod fragments;
pub mod metadata;
pub mod multipart;
pub mod peer;
pub mod soap;
pub mod wsusss;
pub mod wusp;
pub mod xpress;
