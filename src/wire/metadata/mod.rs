//! A metadata document of an update -> [`Update`]: what MS-WSUSSS sends in GetUpdateData (2.2.2.4.6) and MS-WUSP 3.1.1.1 says how to
//! read. A document is text of some kilobytes, rarely of 47 MB, and is read in one pass without a tree: what is held is one
//! token and the value that comes out.
//!
//! 1. [`pull`] turns the stream into tokens: namespaces by their URI, never by prefix; depth, attributes, bytes limited; no document
//!    types, no entities but XML's five.
//! 2. [`build`] follows the tokens through the places of the document that are known ([`place`]) and collects; what it does not know
//!    it passes over, since later documents have more. Elements may come in any order.
//! 3. [`file`] reads rows of files and their digests; [`text`] numbers, times, article numbers.
//! 4. At the end of the root the value is put together and checked: an identity, all of it there, no row against another.
//!
//! [`crate::wire::fragments`] reads the same tokens; its `derive` does both in the one pass.

use std::io::BufRead;

use crate::model::update::Update;

pub(in crate::wire) mod build;
mod error;
mod file;
pub mod limits;
mod place;
pub(in crate::wire) mod pull;
#[cfg(test)]
mod tests;
mod text;

pub use error::Error;

/// What a document says. `document` is UTF-8 text with or without an XML declaration; it is read to the end of its last byte.
pub fn read(document: impl BufRead) -> Result<Update, Error> {
    let mut pull = pull::Pull::new(document);
    let mut builder = build::Builder::default();
    let mut buffer = Vec::new();
    loop {
        let token = pull.next(&mut buffer)?;
        builder.take(&token)?;
        if matches!(token, pull::Token::End) {
            return builder.finish();
        }
    }
}
