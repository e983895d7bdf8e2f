//! What a name tells of the file of the catalog that it means, and which one that is.

use redb::{ReadableTable, WriteTransaction};

use crate::base::digest::Digest;
use crate::model::name::Name;
use crate::model::origin::digest_in_name;
use crate::store::catalog::tables::{ADDRESSES, FILES, SHA256S, address_key, sha256_key};
use crate::store::error::Error;

/// What a name tells of the file that it means, in few bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// The SHA-1 of a file.
    Sha1([u8; 20]),
    /// The SHA-256 of one.
    Sha256([u8; 32]),
    /// Half of the BLAKE3 of an address.
    Address([u8; 16]),
}

impl Mark {
    /// The mark of a name; `None` for one that the catalog has no file by.
    pub fn of(name: &Name) -> Option<Self> {
        Some(match name {
            Name::Digest(Digest::Sha1(sha1)) => Self::Sha1(*sha1.as_bytes()),
            Name::Digest(Digest::Sha256(sha256)) => Self::Sha256(*sha256.as_bytes()),
            Name::Digest(Digest::Blake3(_)) => return None,
            Name::Origin(key) => match digest_in_name(key.target().split('?').next().unwrap_or_default()) {
                Some(sha1) => Self::Sha1(*sha1.as_bytes()),
                None => Self::Address(*address_key(key, &[0; 20]).first_chunk()?),
            },
        })
    }

    /// The file of the catalog that it means; `None` where there is none, or may be one of several.
    pub(super) fn file(self, tx: &WriteTransaction) -> Result<Option<[u8; 20]>, Error> {
        let sha1 = match self {
            Self::Sha1(sha1) => Some(sha1),
            Self::Sha256(sha256) => {
                let rows = tx.open_table(SHA256S)?;
                let (from, to) = (sha256_key(&sha256, &[0; 20]), sha256_key(&sha256, &[255; 20]));
                let mut found = rows.range::<&_>(&from..=&to)?;
                only(
                    found.next().transpose()?.and_then(|row| row.0.value().last_chunk().copied()),
                    found.next().is_some(),
                )
            }
            Self::Address(half) => {
                let rows = tx.open_table(ADDRESSES)?;
                let key = |end: u8| {
                    let mut key = [end; 36];
                    key[..half.len()].copy_from_slice(&half);
                    key
                };
                let (from, to) = (key(0), key(255));
                let mut found = rows.range::<&_>(&from..=&to)?;
                only(
                    found.next().transpose()?.and_then(|row| row.0.value().last_chunk().copied()),
                    found.next().is_some(),
                )
            }
        };
        let Some(sha1) = sha1 else { return Ok(None) };
        Ok(tx.open_table(FILES)?.get(&sha1)?.map(|_| sha1))
    }
}

/// The first one where there is no second.
fn only(first: Option<[u8; 20]>, is_more: bool) -> Option<[u8; 20]> {
    first.filter(|_| !is_more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::Sha1;
    use crate::model::name::OriginKey;

    #[test]
    fn a_name_leads_to_its_file() {
        let sha1 = Sha1::new([0xab; 20]);
        let origin = |text: &str| Name::Origin(OriginKey::new(text).unwrap());
        let hex = "ab".repeat(20);
        for name in [Name::Digest(Digest::Sha1(sha1)), origin(&format!("dl.example.org/c/x_{hex}.cab?P1=7"))] {
            assert_eq!(Mark::of(&name), Some(Mark::Sha1([0xab; 20])), "{name}");
        }
        let address = |text| Mark::of(&origin(text)).unwrap();
        assert!(matches!(address("dl.example.org/files/0a"), Mark::Address(_)));
        assert_ne!(address("dl.example.org/files/0a"), address("dl.example.org/files/0b"));
    }
}
