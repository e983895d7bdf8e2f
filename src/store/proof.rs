//! The file beside every payload: what the payload is, under which names it was published, and a hash of every 64 KiB of
//! it. With the proofs alone the index can be made again; with a proof a payload can be checked and mended group by
//! group. `docs/store-format.md` draws every byte.
//!
//! Reading is total: any bytes give a proof or an error, never a panic, and never more memory than a small multiple of
//! the input. A proof is closed by a BLAKE3 over all before it, so that a torn or rotten one is an error and not a guess.

use std::io;
use std::path::Path;

use crate::base::digest::{Blake3, Digest, Digests, Sha1, Sha256};
use crate::base::disk::Disk;
use crate::base::limits::{GROUP, OBJECT_BYTES_MAX};
use crate::base::time::Timestamp;
use crate::model::name::{Name, OriginKey};
use crate::model::payload::{Alias, Class, Freshness, Validators};
use crate::store::hash::{self, Leaf};

const MAGIC: &[u8; 8] = b"wayproof";
const VERSION: u32 = 1;
/// Everything before the names.
const HEAD_BYTES: usize = 136;
const CHECKSUM_BYTES: usize = 32;
/// `expires_at` of a payload that does not.
const NEVER: u64 = u64::MAX;
/// The shortest name that can be written: kind, SHA-1, an empty tag, flags.
const NAME_BYTES_MIN: usize = 1 + 20 + 8 + 1;

/// The largest file that is read as a proof: the leaves of the largest object and as much again for its names. Stops a
/// wrong file under a proof's name from filling the memory.
pub(crate) const PROOF_BYTES_MAX: u64 = 2 * (OBJECT_BYTES_MAX / GROUP) * 32;

/// Everything that is known of a payload when it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    /// Length of the payload in bytes.
    pub(crate) size: u64,
    /// As computed here.
    pub(crate) digests: Digests,
    /// How sure the store was.
    pub(crate) class: Class,
    /// When it was published.
    pub(crate) published_at: Timestamp,
    /// When an unproven payload ends.
    pub(crate) expires_at: Option<Timestamp>,
    /// The names known at publish, each with what belongs to it.
    pub(crate) names: Vec<(Name, Alias)>,
    /// One a group (see [`hash::groups`]).
    pub(crate) leaves: Vec<Leaf>,
}

/// Why a file is no proof.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProofError {
    /// It could not be read.
    #[error("cannot read the proof: {0}")]
    Io(#[from] io::Error),
    /// It does not begin as a proof does.
    #[error("no proof: it does not begin with \"wayproof\"")]
    Magic,
    /// A later version of the program wrote it.
    #[error("the proof has format {0}, this program reads {VERSION}; run the newer version that wrote it")]
    Version(u32),
    /// Its bytes are not those that were written.
    #[error("the proof is damaged: its checksum does not match")]
    Checksum,
    /// It ends too soon or goes on too long, or a field has a value that is never written.
    #[error("the proof is damaged at byte {at}: {what}")]
    Field {
        /// Where in the file.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
}

impl Proof {
    /// The BLAKE3 that the leaves make.
    pub(crate) fn root(&self) -> Blake3 {
        hash::root(&self.leaves)
    }

    /// The bytes of the proof file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + self.names.len() * 128 + self.leaves.len() * 32 + CHECKSUM_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.push(match self.class {
            Class::Unproven => 0,
            Class::Proven => 1,
        });
        out.extend_from_slice(&[0; 3]);
        put_u64(&mut out, self.size);
        put_u64(&mut out, self.published_at.ms());
        put_u64(&mut out, self.expires_at.map_or(NEVER, Timestamp::ms));
        out.extend_from_slice(self.digests.blake3.as_bytes());
        out.extend_from_slice(self.digests.sha256.as_bytes());
        out.extend_from_slice(self.digests.sha1.as_bytes());
        out.extend_from_slice(&[0; 4]);
        put_u64(&mut out, self.names.len() as u64);
        for (name, alias) in &self.names {
            put_name(&mut out, name);
            put_alias(&mut out, alias);
        }
        for leaf in &self.leaves {
            out.extend_from_slice(leaf);
        }
        let checksum = blake3::hash(&out);
        out.extend_from_slice(checksum.as_bytes());
        out
    }

    /// Reads what [`Proof::encode`] wrote, and nothing else: also refused are bytes left over, and leaves that do not make
    /// the BLAKE3 that the proof names.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ProofError> {
        if !bytes.starts_with(MAGIC) {
            return Err(ProofError::Magic);
        }
        let short = ProofError::Field { at: bytes.len(), what: "it ends too soon" };
        let Some((body, checksum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else { return Err(short) };
        let mut from = Reader { rest: body, size: body.len() };
        from.take::<8>()?;
        // Before the checksum, so that a later format may close itself differently.
        let version = u32::from_le_bytes(from.take()?);
        if version != VERSION {
            return Err(ProofError::Version(version));
        }
        if blake3::hash(body).as_bytes() != checksum {
            return Err(ProofError::Checksum);
        }
        let class = match from.byte()? {
            0 => Class::Unproven,
            1 => Class::Proven,
            _ => return Err(from.wrong("no such class")),
        };
        from.zeros::<3>()?;
        let size = from.u64()?;
        if size > OBJECT_BYTES_MAX {
            return Err(from.wrong("a size beyond the largest object"));
        }
        let published_at = Timestamp::from_ms(from.u64()?);
        let expires_at = match from.u64()? {
            NEVER => None,
            ms => Some(Timestamp::from_ms(ms)),
        };
        let digests = Digests {
            blake3: Blake3::new(from.take()?),
            sha256: Sha256::new(from.take()?),
            sha1: Sha1::new(from.take()?),
        };
        from.zeros::<4>()?;
        let count = from.u64()?;
        let fits = from.rest.len() / NAME_BYTES_MIN;
        let Some(count) = usize::try_from(count).ok().filter(|count| *count <= fits) else {
            return Err(from.wrong("more names than bytes for them"));
        };
        let names = (0..count).map(|_| Ok((from.name()?, from.alias()?))).collect::<Result<Vec<_>, ProofError>>()?;
        let (leaves, rest) = from.rest.as_chunks::<32>();
        if !rest.is_empty() || leaves.len() as u64 != hash::groups(size) {
            return Err(from.wrong("another number of leaves than the size asks for"));
        }
        if hash::root(leaves) != digests.blake3 {
            return Err(from.wrong("the leaves do not make the BLAKE3"));
        }
        Ok(Self { size, digests, class, published_at, expires_at, names, leaves: leaves.to_vec() })
    }

    /// Reads the proof file at `path`. Blocks.
    pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Result<Self, ProofError> {
        let file = disk.open(path)?;
        let len = file.facts()?.len;
        if len > PROOF_BYTES_MAX {
            return Err(ProofError::Field { at: 0, what: "it is larger than any proof" });
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        file.read_at(&mut bytes, 0)?;
        Self::decode(&bytes)
    }
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u64(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_name(out: &mut Vec<u8>, name: &Name) {
    match name {
        Name::Digest(Digest::Blake3(digest)) => {
            out.push(1);
            out.extend_from_slice(digest.as_bytes());
        }
        Name::Digest(Digest::Sha1(digest)) => {
            out.push(2);
            out.extend_from_slice(digest.as_bytes());
        }
        Name::Digest(Digest::Sha256(digest)) => {
            out.push(3);
            out.extend_from_slice(digest.as_bytes());
        }
        Name::Origin(key) => {
            out.push(4);
            put_text(out, key.as_str());
        }
    }
}

fn put_alias(out: &mut Vec<u8>, alias: &Alias) {
    let Alias { tag, last_modified, validators, freshness } = alias;
    put_text(out, tag);
    let texts = [last_modified, &validators.etag, &validators.last_modified];
    let mut flags = u8::from(freshness.is_some()) << 3;
    for (bit, text) in texts.iter().enumerate() {
        flags |= u8::from(text.is_some()) << bit;
    }
    out.push(flags);
    for text in texts.into_iter().flatten() {
        put_text(out, text);
    }
    if let Some(Freshness { until, policy }) = freshness {
        put_u64(out, until.ms());
        put_text(out, policy);
    }
}

/// What has not been read yet.
struct Reader<'a> {
    rest: &'a [u8],
    size: usize,
}

impl Reader<'_> {
    fn wrong(&self, what: &'static str) -> ProofError {
        ProofError::Field { at: self.size - self.rest.len(), what }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ProofError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.wrong("it ends too soon"));
        };
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, ProofError> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Result<u64, ProofError> {
        self.take().map(u64::from_le_bytes)
    }

    fn zeros<const N: usize>(&mut self) -> Result<(), ProofError> {
        if self.take::<N>()?.iter().any(|byte| *byte != 0) {
            return Err(self.wrong("a byte that is always zero is not"));
        }
        Ok(())
    }

    fn text(&mut self) -> Result<String, ProofError> {
        let len = self.u64()?;
        let taken = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let Some((text, rest)) = taken else { return Err(self.wrong("a text longer than the file")) };
        let text = str::from_utf8(text).map_err(|_| self.wrong("a text that is not UTF-8"))?.to_owned();
        self.rest = rest;
        Ok(text)
    }

    fn name(&mut self) -> Result<Name, ProofError> {
        Ok(match self.byte()? {
            1 => Digest::Blake3(Blake3::new(self.take()?)).into(),
            2 => Digest::Sha1(Sha1::new(self.take()?)).into(),
            3 => Digest::Sha256(Sha256::new(self.take()?)).into(),
            4 => OriginKey::new(&self.text()?).map_err(|_| self.wrong("no origin key"))?.into(),
            _ => return Err(self.wrong("no such kind of name")),
        })
    }

    fn alias(&mut self) -> Result<Alias, ProofError> {
        let tag = self.text()?;
        let flags = self.byte()?;
        if flags & !0b1111 != 0 {
            return Err(self.wrong("a flag that is never set"));
        }
        let mut text = |bit: u8| if flags & 1 << bit == 0 { Ok(None) } else { self.text().map(Some) };
        let last_modified = text(0)?;
        let validators = Validators { etag: text(1)?, last_modified: text(2)? };
        let freshness = if flags & 1 << 3 == 0 {
            None
        } else {
            Some(Freshness { until: Timestamp::from_ms(self.u64()?), policy: self.text()? })
        };
        Ok(Alias { tag, last_modified, validators, freshness })
    }
}

#[cfg(test)]
mod tests;
