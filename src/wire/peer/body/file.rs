//! The body of a record of a file: its digests, and its BLAKE3 once the authority has held it.

use bytes::Bytes;

use crate::base::digest::{Blake3, Sha1, Sha256};
use crate::wire::error::Result;
use crate::wire::peer::body::{Fields, KEY, fields, only, text};
use crate::wire::peer::read::Read;

const FILE: &str = "a record of a file";

/// A file that updates name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// As it was published, where it was.
    pub sha256: Option<Sha256>,
    /// Its length.
    pub size: u64,
    /// Its name; such names are not unique.
    pub name: String,
    /// What the authority computed over the file when it held it.
    pub blake3: Option<Blake3>,
}

/// The key of a file's record.
pub fn file_key(sha1: &Sha1) -> Bytes {
    Bytes::copy_from_slice(sha1.as_bytes())
}

/// The file in a key.
pub fn of_file_key(key: &[u8]) -> Result<Sha1> {
    only(Read::new(KEY, Bytes::copy_from_slice(key)), |from| Ok(Sha1::new(from.array()?)))
}

impl File {
    /// As it stands in a record.
    pub fn write(&self) -> Bytes {
        let mut out = Fields(Vec::new());
        out.put(1, self.sha256.as_ref().map(Sha256::as_bytes).map_or(&[], <[u8; 32]>::as_slice));
        out.put(2, &self.size.to_le_bytes());
        out.put(3, self.name.as_bytes());
        out.put(4, self.blake3.as_ref().map(Blake3::as_bytes).map_or(&[], <[u8; 32]>::as_slice));
        out.done()
    }

    /// What a record says.
    pub fn read(bytes: &Bytes) -> Result<Self> {
        let mut read = Self::default();
        fields(FILE, bytes, |tag, from| {
            match tag {
                1 => read.sha256 = Some(Sha256::new(only(from, Read::array)?)),
                2 => read.size = only(from, Read::u64)?,
                3 => read.name = text(from)?,
                4 => read.blake3 = Some(Blake3::new(only(from, Read::array)?)),
                _ => {}
            }
            Ok(())
        })?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let bare = File { size: 7, name: "a.cab".into(), ..File::default() };
        let sha256 = Some(Sha256::new([1; 32]));
        let whole = File { sha256, blake3: Some(Blake3::new([2; 32])), ..bare.clone() };
        for file in [bare, whole] {
            assert_eq!(File::read(&file.write()).unwrap(), file);
        }
        let sha1 = Sha1::new([9; 20]);
        assert_eq!(of_file_key(&file_key(&sha1)).unwrap(), sha1);
        assert!(of_file_key(&[0; 19]).is_err() && of_file_key(&[0; 21]).is_err());
        assert!(File::read(&Bytes::from_static(&[1, 3, 0, 0, 0, 1, 2, 3])).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = File::read(&bytes.into());
        }
    }
}
