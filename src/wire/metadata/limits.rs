//! What a document may hold. Each stops something that would cost memory or time, and leaves room above what is known of real
//! documents: cumulative updates have 47 MB of applicability rules, 75 superseded updates, 19 files and 39 languages.

/// Bytes of a document as UTF-8. Five times the largest that is known.
pub const DOCUMENT_BYTES_MAX: u64 = 256 << 20;
/// Bytes of one tag or one run of text: what is held of a document at a time.
pub const TOKEN_BYTES_MAX: u64 = 16 << 20;
/// Elements. A document of 47 MB has some hundred thousand; 256 MB of the shortest would be 60 million.
pub const ELEMENTS_MAX: u64 = 8 << 20;
/// Bytes of a fragment. Names grow where their prefix is written out; the catalog takes no text that is longer.
pub const FRAGMENT_BYTES_MAX: u64 = DOCUMENT_BYTES_MAX;
/// Elements inside each other. Rules nest some ten deep, component manifests some twenty.
pub const DEPTH_MAX: u64 = 256;
/// Attributes of one element: comparing each with each stays cheap.
pub const ATTRIBUTES_MAX: u64 = 128;
/// Texts that the value made of a document holds, in bytes: titles and descriptions of all languages and names of files.
pub const HELD_BYTES_MAX: u64 = 16 << 20;
/// Languages of a document.
pub const LANGUAGES_MAX: usize = 512;
/// Files of a document, those of its licence among them.
pub const FILES_MAX: usize = 20_000;
/// Ids in one kind of relation of a document.
pub const RELATIONS_MAX: usize = 65_536;
/// Devices of a driver, and rows below them.
pub const DRIVERS_MAX: usize = 65_536;
/// Articles, bulletins, vulnerabilities, secured parts, of each.
pub const REFERENCES_MAX: usize = 8_192;
