//! What endpoints are given of a document: its fragments Core, Extended and, one for each language, LocalizedProperties, derived
//! at import since a document may have 47 MB and a page of a scan wants hundreds of them (MS-WUSP 3.1.1.1, "Metadata Table").
//!
//! The specification, a sample of the vendor and what a real server does differ. What was recorded from a real server wins: it is
//! what agents are known to take. So of `Properties` exactly those attributes are left out of Extended that the server left out
//! ([`attributes`]), although the specification leaves out more (`LegacyName`, `DetectoidType`, `IsPublic` of any value); default
//! namespaces stay, although it strips all; children of driver metadata stay in Core, which the sample empties.
//!
//! 1. A token of the document goes to the reader of [`crate::wire::metadata`] and to the [`cut`]ter, so that one pass does both.
//! 2. A child of the root decides where what is in it goes: Core, Extended, a language, nowhere.
//! 3. Names are mapped by namespace: `b.`, `m.`, `d.` for the rules of Windows, of Windows Installer and of drivers; every other prefix
//!    goes, and with it its declaration. All else stays as the text that it was, attributes in their order.
//!
//! A fragment is several elements side by side, so no document of its own, and is escaped once more when it travels.

use std::io::{BufRead, Write};

use crate::model::update::Update;
use crate::wire::metadata::Error;
use crate::wire::metadata::build::Builder;
use crate::wire::metadata::pull::{Pull, Token};

mod attributes;
mod cut;
mod sense;
#[cfg(test)]
mod tests;

pub use cut::PIECES_BYTES_MAX;
pub use sense::{Sense, sense};

/// A fragment that is there once for each language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Localized {
    /// The language, as published (`en`, `zh-hk`).
    pub language: String,
    /// The fragment.
    pub text: String,
}

/// A fragment of the licence. Clients of a server like this one never ask for it, its administrator accepts for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Licence {
    /// The language, as published.
    pub language: String,
    /// The region, as three letters of ISO 3166; empty for the rest of the world.
    pub region: String,
    /// The fragment, by the specification alone: none was recorded.
    pub text: String,
}

/// What a document comes to, but for the two fragments that may be large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// What the document says.
    pub update: Update,
    /// LocalizedProperties, in the order of the document; one for each language, the first where there are two.
    pub localized: Vec<Localized>,
    /// Eula, in the order of the document.
    pub licences: Vec<Licence>,
}

/// Reads a document and writes the fragments Core and Extended of it. Where it is refused, part of them may have been written:
/// they are of use only when this returns well.
pub fn derive(document: impl BufRead, core: impl Write, extended: impl Write) -> Result<Derived, Error> {
    let mut pull = Pull::new(document);
    let mut builder = Builder::default();
    let mut cutter = cut::Cutter::new(core, extended);
    let mut buffer = Vec::new();
    loop {
        let token = pull.next(&mut buffer)?;
        builder.take(&token)?;
        cutter.take(&token)?;
        if matches!(token, Token::End) {
            let (localized, licences) = cutter.finish()?;
            return Ok(Derived { update: builder.finish()?, localized, licences });
        }
    }
}
