//! Bodies of records: what a record of each kind says, as fields `tag u8, length u32, bytes`.
//!
//! Tags ascend; a list is several fields of one tag; a field that is empty is left out, and one that is not known is passed over.

pub mod file;
pub mod fleet;

use bytes::Bytes;

use crate::base::digest::{Blake3, Sha1};
use crate::base::time::Timestamp;
use crate::model::policy::{Decision, Word};
use crate::model::update::{Identity, UpdateId};
use crate::wire::error::Result;
use crate::wire::peer::read::Read;

/// Bytes of a document that stand in its record, and of each piece of a larger one.
pub const PIECE_BYTES: usize = 256 << 10;
/// Pieces of a document: more than the longest that was ever published has, by far.
pub const PIECES_MAX: u32 = 4096;

const UPDATE: &str = "a record of an update";
const DECISION: &str = "a record of a decision";
const REFUSAL: &str = "a record of a refusal";
const KEY: &str = "a key of a record";

const CABINET: u8 = 1;
const PLAIN: u8 = 2;
const ALL_FILES: u8 = 1;
const THOUGH_SUPERSEDED: u8 = 2;

/// A revision of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The document came as a cabinet: whoever passes it on may do so in the same form.
    pub cabinet: bool,
    /// It came over a connection that proves nothing.
    pub plain: bool,
    /// Its length in bytes of UTF-8.
    pub len: u64,
    /// BLAKE3 of the document.
    pub digest: Blake3,
    /// Where its files lie.
    pub urls: Vec<(Sha1, String)>,
    /// The document; `None` where it stands in pieces.
    pub document: Option<Bytes>,
}

/// A body as it is written.
pub(super) struct Fields(pub(super) Vec<u8>);

impl Fields {
    pub(super) fn put(&mut self, tag: u8, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.0.push(tag);
            self.0.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            self.0.extend_from_slice(bytes);
        }
    }

    pub(super) fn done(self) -> Bytes {
        self.0.into()
    }
}

/// Each field, in order.
pub(super) fn fields(what: &'static str, bytes: &Bytes, mut each: impl FnMut(u8, Read) -> Result<()>) -> Result<()> {
    let mut from = Read::new(what, bytes.clone());
    let mut last = 0;
    while from.left() > 0 {
        let tag = from.u8()?;
        if tag < last || tag == 0 {
            return Err(from.fail("its fields are out of order"));
        }
        last = tag;
        let len = from.u32()? as usize;
        if len == 0 {
            return Err(from.fail("a field that is empty stands in it"));
        }
        each(tag, Read::new(what, from.bytes(len)?))?;
    }
    Ok(())
}

pub(super) fn text(mut from: Read) -> Result<String> {
    let bytes = from.bytes(from.left())?;
    let text = std::str::from_utf8(&bytes).map_err(|_| from.fail("a text is not UTF-8"))?;
    Ok(text.to_owned())
}

/// The last thing in a field.
pub(super) fn only<T>(mut from: Read, read: impl FnOnce(&mut Read) -> Result<T>) -> Result<T> {
    let value = read(&mut from)?;
    from.end()?;
    Ok(value)
}

/// The key of a revision's records.
pub fn identity_key(identity: Identity) -> Bytes {
    [identity.id.bytes().as_slice(), &identity.revision.to_be_bytes()].concat().into()
}

/// The revision in a key.
pub fn of_identity_key(key: &[u8]) -> Result<Identity> {
    let mut from = Read::new(KEY, Bytes::copy_from_slice(key));
    let (id, revision) = (from.array()?, u32::from_be_bytes(from.array()?));
    from.end()?;
    Ok(Identity { id: UpdateId::new(id), revision })
}

/// The update in a key.
pub fn of_update_key(key: &[u8]) -> Result<UpdateId> {
    only(Read::new(KEY, Bytes::copy_from_slice(key)), |from| Ok(UpdateId::new(from.array()?)))
}

/// The key of a piece of a document.
pub fn piece_key(document: &Blake3, piece: u32) -> Bytes {
    [document.as_bytes().as_slice(), &piece.to_be_bytes()].concat().into()
}

impl Update {
    /// In how many pieces the document stands beside this.
    pub fn pieces(&self) -> u32 {
        let pieces = if self.document.is_some() { 0 } else { self.len.div_ceil(PIECE_BYTES as u64) };
        u32::try_from(pieces).unwrap_or(u32::MAX)
    }

    /// As it stands in a record.
    pub fn write(&self) -> Bytes {
        let mut out = Fields(Vec::new());
        let flags = if self.cabinet { CABINET } else { 0 } | if self.plain { PLAIN } else { 0 };
        out.put(1, if flags == 0 { &[] } else { std::slice::from_ref(&flags) });
        out.put(2, &self.len.to_le_bytes());
        out.put(3, self.digest.as_bytes());
        for (sha1, url) in &self.urls {
            out.put(4, &[sha1.as_bytes().as_slice(), url.as_bytes()].concat());
        }
        out.put(5, self.document.as_deref().unwrap_or_default());
        out.done()
    }

    /// What a record says.
    pub fn read(bytes: &Bytes) -> Result<Self> {
        let mut read =
            Self { cabinet: false, plain: false, len: 0, digest: Blake3::new([0; 32]), urls: vec![], document: None };
        fields(UPDATE, bytes, |tag, mut from| {
            match tag {
                1 => {
                    let flags = only(from, Read::u8)?;
                    (read.cabinet, read.plain) = (flags & CABINET != 0, flags & PLAIN != 0);
                }
                2 => read.len = only(from, Read::u64)?,
                3 => read.digest = Blake3::new(only(from, Read::array)?),
                4 => {
                    let sha1 = Sha1::new(from.array()?);
                    read.urls.push((sha1, text(from)?));
                }
                5 => read.document = Some(from.bytes(from.left())?),
                _ => {}
            }
            Ok(())
        })?;
        let fail = |why: &str| Err(Read::new(UPDATE, Bytes::new()).fail(why));
        match &read.document {
            Some(document) if document.len() as u64 != read.len => fail("its document has another length"),
            None if read.len == 0 || read.pieces() > PIECES_MAX => fail("its document is of no length, or too long"),
            _ => Ok(read),
        }
    }
}

/// A piece of a document, as it stands in a record.
pub fn write_piece(bytes: &[u8]) -> Bytes {
    let mut out = Fields(Vec::new());
    out.put(1, bytes);
    out.done()
}

/// The piece in a record.
pub fn read_piece(bytes: &Bytes) -> Result<Bytes> {
    let mut piece = Bytes::new();
    fields(UPDATE, bytes, |tag, mut from| {
        if tag == 1 {
            piece = from.bytes(from.left())?;
        }
        Ok(())
    })?;
    Ok(piece)
}

/// Why a revision is not offered, as it stands in a record.
pub fn write_refusal(reason: &str) -> Bytes {
    let mut out = Fields(Vec::new());
    out.put(1, reason.as_bytes());
    out.done()
}

/// Why a revision is not offered.
pub fn read_refusal(bytes: &Bytes) -> Result<String> {
    let mut reason = String::new();
    fields(REFUSAL, bytes, |tag, from| {
        if tag == 1 {
            reason = text(from)?;
        }
        Ok(())
    })?;
    Ok(reason)
}

/// A decision, as it stands in a record.
pub fn write_decision(decision: &Decision) -> Bytes {
    let mut out = Fields(Vec::new());
    out.put(1, &[if decision.word == Word::Approved { 1 } else { 2 }]);
    let flags =
        if decision.all_files { ALL_FILES } else { 0 } | if decision.though_superseded { THOUGH_SUPERSEDED } else { 0 };
    out.put(2, if flags == 0 { &[] } else { std::slice::from_ref(&flags) });
    out.put(3, decision.by.as_bytes());
    out.put(4, &decision.at.ms().to_le_bytes());
    out.put(5, decision.why.as_bytes());
    out.done()
}

/// The decision in a record.
pub fn read_decision(bytes: &Bytes) -> Result<Decision> {
    let mut word = None;
    let mut read = Decision {
        word: Word::Declined,
        all_files: false,
        though_superseded: false,
        by: String::new(),
        at: Timestamp::default(),
        why: String::new(),
    };
    fields(DECISION, bytes, |tag, from| {
        match tag {
            1 => {
                word = match only(from, Read::u8)? {
                    1 => Some(Word::Approved),
                    2 => Some(Word::Declined),
                    _ => None,
                }
            }
            2 => {
                let flags = only(from, Read::u8)?;
                (read.all_files, read.though_superseded) = (flags & ALL_FILES != 0, flags & THOUGH_SUPERSEDED != 0);
            }
            3 => read.by = text(from)?,
            4 => read.at = Timestamp::from_ms(only(from, Read::u64)?),
            5 => read.why = text(from)?,
            _ => {}
        }
        Ok(())
    })?;
    let fail = || Read::new(DECISION, Bytes::new()).fail("it says what this version does not know");
    read.word = word.ok_or_else(fail)?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let update = Update {
            cabinet: true,
            plain: true,
            len: 3,
            digest: Blake3::new([7; 32]),
            urls: vec![(Sha1::new([1; 20]), "http://a/b".into()), (Sha1::new([2; 20]), "http://a/c".into())],
            document: Some(Bytes::from_static(b"abc")),
        };
        assert_eq!(Update::read(&update.write()).unwrap(), update);
        let long = Update { len: PIECE_BYTES as u64 * 2 + 1, urls: vec![], document: None, ..update.clone() };
        assert_eq!((long.pieces(), Update::read(&long.write()).unwrap()), (3, long));
        assert!(Update::read(&Update { len: 4, ..update.clone() }.write()).is_err());
        assert!(Update::read(&Update { len: 1 << 60, document: None, ..update }.write()).is_err());
        let decision = Decision {
            word: Word::Approved,
            all_files: true,
            though_superseded: false,
            by: "anna".into(),
            at: Timestamp::from_ms(9),
            why: String::new(),
        };
        assert_eq!(read_decision(&write_decision(&decision)).unwrap(), decision);
        assert_eq!(read_refusal(&write_refusal("bad")).unwrap(), "bad");
        assert_eq!(read_piece(&write_piece(b"piece")).unwrap(), Bytes::from_static(b"piece"));
        let identity = Identity { id: UpdateId::new([5; 16]), revision: 258 };
        assert_eq!(of_identity_key(&identity_key(identity)).unwrap(), identity);
        assert!(of_identity_key(&[0; 19]).is_err() && of_update_key(&[0; 17]).is_err());
    }

    #[test]
    fn a_field_of_a_later_version_is_passed_over_and_disorder_is_refused() {
        let mut bytes = write_refusal("bad").to_vec();
        bytes.extend_from_slice(&[200, 1, 0, 0, 0, 9]);
        assert_eq!(read_refusal(&bytes.clone().into()).unwrap(), "bad");
        bytes.extend_from_slice(&[1, 1, 0, 0, 0, b'x']);
        assert!(read_refusal(&bytes.into()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_bytes_make_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let bytes = Bytes::from(bytes);
            let _ = (Update::read(&bytes), read_decision(&bytes), read_refusal(&bytes), read_piece(&bytes));
        }
    }
}
