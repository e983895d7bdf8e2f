//! A row of a file: its digests, its length, its name. Digests are base64 of the raw bytes; the SHA-1 is the address on the wire,
//! the SHA-256 what proves.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::base::digest::{Sha1, Sha256};
use crate::model::update::File;
use crate::wire::metadata::error::{Error, quoted};
use crate::wire::metadata::pull::Open;
use crate::wire::metadata::text;

/// A row of which all digests are not read yet.
#[derive(Debug, Default)]
pub(super) struct Row {
    name: String,
    size: u64,
    modified: Option<crate::base::time::Timestamp>,
    patching: String,
    encrypted: bool,
    sha1: Option<Sha1>,
    sha256: Option<Sha256>,
    /// Of the additional digest that is being read.
    algorithm: String,
}

impl Row {
    /// What the attributes of `File` or `EulaFile` say.
    pub(super) fn begin(element: &'static str, open: &Open<'_>) -> Result<Self, Error> {
        let mut row = Self::default();
        let mut digest = None;
        let mut algorithm = String::new();
        let mut size = None;
        for attribute in open.attributes() {
            let value = crate::wire::metadata::pull::value(&attribute).unwrap_or_default();
            match attribute.key.as_ref() {
                "FileName" => row.name = value,
                "Size" => size = Some(value),
                "Digest" => digest = Some(value),
                "DigestAlgorithm" => algorithm = value,
                "Modified" => row.modified = text::time(&value),
                "PatchingType" => row.patching = value,
                "IsEncrypted" => row.encrypted = text::truth(&value),
                _ => {}
            }
        }
        let size = size.ok_or(Error::Missing { element, what: "size" })?;
        row.size = text::number(element, "size", &size, u64::MAX)?;
        if let Some(digest) = digest {
            // The attribute may be left out where the digest is the usual one.
            row.digest(if algorithm.is_empty() { "SHA1" } else { &algorithm }, &digest)?;
        }
        Ok(row)
    }

    /// An additional digest begins.
    pub(super) fn additional(&mut self, open: &Open<'_>) {
        self.algorithm = open.attribute("Algorithm").unwrap_or_default();
    }

    /// An additional digest ends.
    pub(super) fn additional_is(&mut self, text: &str) -> Result<(), Error> {
        let algorithm = std::mem::take(&mut self.algorithm);
        self.digest(&algorithm, text)
    }

    /// Digests of other algorithms are passed over.
    fn digest(&mut self, algorithm: &str, text: &str) -> Result<(), Error> {
        match algorithm.replace('-', "").to_ascii_uppercase().as_str() {
            "SHA1" => once(&mut self.sha1, Sha1::new(raw(&self.name, "SHA-1", text)?), &self.name),
            "SHA256" => once(&mut self.sha256, Sha256::new(raw(&self.name, "SHA-256", text)?), &self.name),
            _ => Ok(()),
        }
    }

    /// How many bytes of text it holds.
    pub(super) fn held(&self) -> usize {
        self.name.len() + self.patching.len() + size_of::<File>()
    }

    /// The row is at its end.
    pub(super) fn finish(self) -> Result<File, Error> {
        let Some(sha1) = self.sha1 else { return Err(Error::NoDigest { file: quoted(&self.name) }) };
        Ok(File {
            sha1,
            sha256: self.sha256,
            name: self.name,
            size: self.size,
            modified: self.modified,
            patching: self.patching,
            encrypted: self.encrypted,
        })
    }
}

fn once<D: PartialEq>(slot: &mut Option<D>, digest: D, name: &str) -> Result<(), Error> {
    match slot {
        Some(known) if *known != digest => {
            Err(Error::Contradiction { file: quoted(name), what: "digests of one algorithm" })
        }
        _ => {
            *slot = Some(digest);
            Ok(())
        }
    }
}

fn raw<const LENGTH: usize>(file: &str, algorithm: &'static str, text: &str) -> Result<[u8; LENGTH], Error> {
    let refuse = |why: String| Error::Digest { file: quoted(file), algorithm, text: quoted(text.trim()), why };
    let bytes = STANDARD.decode(text.trim()).map_err(|_| refuse("is no base64".to_owned()))?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| refuse(format!("has {length} bytes instead of {LENGTH}")))
}

/// Rows of a document so far, by the address of their file.
#[derive(Debug, Default)]
pub(super) struct Rows {
    known: HashMap<Sha1, (u64, Option<Sha256>)>,
}

impl Rows {
    /// Refuses a row that contradicts one before it: one address, one file. Says whether the address is new.
    pub(super) fn admit(&mut self, file: &File) -> Result<bool, Error> {
        match self.known.entry(file.sha1) {
            Entry::Vacant(vacant) => {
                vacant.insert((file.size, file.sha256));
                Ok(true)
            }
            Entry::Occupied(mut known) => {
                let (size, sha256) = known.get_mut();
                if *size != file.size {
                    return Err(Error::Contradiction { file: quoted(&file.name), what: "sizes" });
                }
                if sha256.is_some() && file.sha256.is_some() && *sha256 != file.sha256 {
                    return Err(Error::Contradiction { file: quoted(&file.name), what: "SHA-256 digests" });
                }
                *sha256 = sha256.or(file.sha256);
                Ok(false)
            }
        }
    }
}
