//! What the catalog says of one object: by a digest that it is asked for by, or by the address that it is asked at. A
//! snapshot in, values out; asked on a miss, when something is proven, and when what is held is looked through, never
//! where a payload is served.
//!
//! - A digest leads to the file that has it. Nearly every address that a catalog names carries the SHA-1 of its file in the
//!   file's name: that leads to the file, and the file to its addresses. All other addresses stand in a table of their own,
//!   by the first half of the BLAKE3 of their key.
//! - An address alone says what must come from there. Where a file is encrypted it does not: what is published is of the
//!   plain bytes, and what comes is not those.
//! - One address that is named for several files says that one of them must come.

use redb::ReadTransaction;

use crate::base::digest::{Digest, Digests, Sha1, Sha256};
use crate::base::time::Timestamp;
use crate::model::name::{Name, OriginKey};
use crate::model::origin::{digest_in_name, key_of, split};
use crate::model::payload::{Authority, Published};
use crate::model::update::File;
use crate::store::catalog::tables::{
    ADDRESSES, AddressKey, FILES, FileRow, SHA256S, Sha256Key, address_key, read, sha256_key,
};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::decode;

/// Files of one SHA-256, or of one address: more than one only where somebody publishes nonsense.
const FILES_MAX: usize = 16;

/// A file of the catalog that is the object that was asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The file; what is said of how it patches stands with the updates.
    pub file: File,
    /// Where it may be had, the newest first.
    pub urls: Vec<String>,
    /// Only an unauthenticated catalog names it: its digests prove nothing.
    pub unauthenticated: bool,
    /// One of its digests was asked for, or is that of the bytes.
    pub by_digest: bool,
    /// It lies at the address that was asked.
    pub by_address: bool,
}

impl Mention {
    /// What it says must match; `None` where it says nothing of the bytes that come.
    pub fn published(&self) -> Option<Published> {
        let says = self.by_digest || !self.file.encrypted;
        let authority = if self.unauthenticated { Authority::Unauthenticated } else { Authority::Catalog };
        says.then_some(Published { blake3: None, sha1: Some(self.file.sha1), sha256: self.file.sha256, authority })
    }
}

/// The key of an address in the table of addresses; `None` where it needs none: its file's name says which file it is, or it
/// is no address that could be asked.
pub(crate) fn indexed(url: &str, sha1: &Sha1) -> Option<AddressKey> {
    let (_, _, _, rest) = split(url)?;
    let path = rest.split('?').next().unwrap_or_default();
    if digest_in_name(path).as_ref() == Some(sha1) {
        return None;
    }
    Some(address_key(&key_of(url)?, sha1.as_bytes()))
}

fn file_of(tx: &ReadTransaction, sha1: &Sha1) -> Result<Option<FileRow>, Error> {
    let Some(files) = read(tx, FILES)? else { return Ok(None) };
    files.get(sha1.as_bytes())?.map(|row| decode("catalog-files.1", row.value())).transpose()
}

fn mention(sha1: Sha1, row: FileRow, by_digest: bool) -> Mention {
    let file = File {
        sha1,
        sha256: row.sha256.map(Sha256::new),
        name: row.name,
        size: row.size,
        modified: row.modified.map(Timestamp::from_ms),
        patching: String::new(),
        encrypted: row.encrypted,
    };
    let (urls, unauthenticated) = (row.urls, row.unauthenticated);
    Mention { file, urls, unauthenticated, by_digest, by_address: !by_digest }
}

/// The SHA-1s of the files with this SHA-256.
fn with_sha256(tx: &ReadTransaction, sha256: &Sha256) -> Result<Vec<Sha1>, Error> {
    let Some(table) = read(tx, SHA256S)? else { return Ok(vec![]) };
    let (from, to) = (sha256_key(sha256.as_bytes(), &[0; 20]), sha256_key(sha256.as_bytes(), &[255; 20]));
    let rows = table.range::<&Sha256Key>(&from..=&to)?.take(FILES_MAX);
    rows.map(|row| Ok(last_sha1(row?.0.value()))).collect()
}

/// The SHA-1 at the end of a key.
fn last_sha1(key: &[u8]) -> Sha1 {
    key.last_chunk().copied().map_or(Sha1::new([0; 20]), Sha1::new)
}

/// The SHA-1s of the files that may lie at this address.
fn at_address(tx: &ReadTransaction, key: &OriginKey) -> Result<Vec<Sha1>, Error> {
    let path = key.target().split('?').next().unwrap_or_default();
    let mut found: Vec<Sha1> = digest_in_name(path).into_iter().collect();
    if let Some(table) = read(tx, ADDRESSES)? {
        let (from, to) = (address_key(key, &[0; 20]), address_key(key, &[255; 20]));
        for row in table.range::<&AddressKey>(&from..=&to)?.take(FILES_MAX) {
            found.push(last_sha1(row?.0.value()));
        }
    }
    Ok(found)
}

/// What the catalog says of the object under `name`, whose bytes have or should have `digests`. Each file once.
pub(crate) fn mentions(
    tx: &ReadTransaction,
    name: Option<&Name>,
    digests: impl IntoIterator<Item = Digest>,
) -> Result<Vec<Mention>, Error> {
    let mut found: Vec<Mention> = Vec::new();
    let own = name.and_then(|name| if let Name::Digest(digest) = name { Some(*digest) } else { None });
    for digest in own.into_iter().chain(digests) {
        let sha1s = match digest {
            Digest::Sha1(sha1) => vec![sha1],
            Digest::Sha256(sha256) => with_sha256(tx, &sha256)?,
            Digest::Blake3(_) => vec![],
        };
        for sha1 in sha1s {
            if found.iter().any(|known| known.file.sha1 == sha1) {
                continue;
            }
            found.extend(file_of(tx, &sha1)?.map(|row| mention(sha1, row, true)));
        }
    }
    if let Some(Name::Origin(key)) = name {
        let is_there = |urls: &[String]| urls.iter().any(|url| key_of(url).as_ref() == Some(key));
        for sha1 in at_address(tx, key)? {
            if let Some(known) = found.iter_mut().find(|known| known.file.sha1 == sha1) {
                known.by_address |= is_there(&known.urls);
            } else {
                let row = file_of(tx, &sha1)?.filter(|row| is_there(&row.urls));
                found.extend(row.map(|row| mention(sha1, row, false)));
            }
        }
    }
    Ok(found)
}

/// What mentions claim of bytes with these digests. Of several files at one address one must have come; what somebody says
/// who proves nothing takes no part in that.
pub(crate) fn claims(mentions: &[Mention], computed: &Digests) -> Vec<Published> {
    let mut claims: Vec<Published> =
        mentions.iter().filter(|mention| mention.by_digest).filter_map(Mention::published).collect();
    let at_address: Vec<Published> = mentions
        .iter()
        .filter(|mention| mention.by_address && !mention.unauthenticated)
        .filter_map(Mention::published)
        .collect();
    let came = at_address.iter().find(|claim| claim.contradiction(computed).is_none());
    claims.extend(came.or(at_address.first()));
    claims
}

impl Core {
    /// See [`crate::store::catalog::Catalog::mentions`].
    pub(crate) fn mentions(&self, name: &Name, digests: &[Digest]) -> Result<Vec<Mention>, Error> {
        self.index.read(|tx| mentions(tx, Some(name), digests.iter().copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::Blake3;

    fn file(byte: u8) -> File {
        File {
            sha1: Sha1::new([byte; 20]),
            sha256: Some(Sha256::new([byte; 32])),
            name: "a.cab".into(),
            size: 1,
            modified: None,
            patching: String::new(),
            encrypted: false,
        }
    }

    fn mention(byte: u8, by_digest: bool, by_address: bool) -> Mention {
        Mention { file: file(byte), urls: vec![], unauthenticated: false, by_digest, by_address }
    }

    const fn bytes(byte: u8) -> Digests {
        Digests { blake3: Blake3::new([byte; 32]), sha1: Sha1::new([byte; 20]), sha256: Sha256::new([byte; 32]) }
    }

    #[test]
    fn one_of_the_files_of_an_address_must_come() {
        let said = |mentions: &[Mention], came| {
            let claims = claims(mentions, &bytes(came));
            claims.iter().all(|claim| claim.contradiction(&bytes(came)).is_none())
        };
        let at_address = [mention(1, false, true), mention(2, false, true)];
        assert!(said(&at_address, 1) && said(&at_address, 2) && !said(&at_address, 3));
        // Asked with the digests that came: the same files are found by them.
        assert!(said(&[mention(2, true, true), mention(1, false, true)], 2));
        // Another file of the catalog than that of the address came.
        assert!(!said(&[mention(2, true, false), mention(1, false, true)], 2));
        assert!(said(&[mention(2, true, false)], 2) && said(&[], 1));
        let untold = Mention { unauthenticated: true, ..mention(2, false, true) };
        assert!(!said(&[untold.clone(), mention(1, false, true)], 2), "who proves nothing excuses nothing");
        assert!(said(&[untold], 1));
    }

    #[test]
    fn of_an_encrypted_file_only_its_digest_says_anything() {
        let mut one = mention(1, false, true);
        one.file.encrypted = true;
        assert_eq!(one.published(), None);
        one.by_digest = true;
        assert_eq!(one.published().map(|published| published.authority), Some(Authority::Catalog));
        one.unauthenticated = true;
        assert_eq!(one.published().map(|published| published.authority), Some(Authority::Unauthenticated));
    }

    #[test]
    fn an_address_that_names_its_file_needs_no_row() {
        let (sha1, hex) = (Sha1::new([0xab; 20]), "ab".repeat(20));
        assert!(indexed(&format!("http://dl.example.org/c/x_{hex}.cab"), &sha1).is_none());
        assert!(indexed(&format!("http://dl.example.org/c/x_{}.cab", "cd".repeat(20)), &sha1).is_some());
        assert!(indexed("http://dl.example.org/filestreamingservice/files/0a", &sha1).is_some());
        assert!(indexed("ftp://dl.example.org/a", &sha1).is_none());
    }
}
