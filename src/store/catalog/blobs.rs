//! Texts that are too large for a pack: chunks of half a mebibyte, each a zstd frame of its own, written and read one by
//! one, so that a document of tens of MB is never held whole and never committed in one transaction.
//!
//! 1. [`Stage::write`] fills a chunk and commits it under a blob that nobody owns yet.
//! 2. [`Stage::finish`] commits its length; the revision that it is for takes it over in the transaction that makes that
//!    revision visible.
//! 3. A blob that lost its revision, or never got one, is swept in small transactions; those that this process is still
//!    writing are left alone.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use redb::ReadableTable;

use crate::base::digest::Blake3;
use crate::store::catalog::tables::{BLOBS, BlobRow, CHUNKS, LAST_BLOB, NUMBERS, clock_key, number};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::{decode, encode};
use crate::store::writer::Room;

/// Bytes of text in one chunk. A value of the index is bounded by it, and so is what a reader holds.
pub(crate) const CHUNK: usize = 512 << 10;
/// The largest text: five times the largest document known (47 MB), and a bomb is stopped.
pub(crate) const BLOB_MAX: u64 = 256 << 20;
/// Chunks that one transaction of the sweep takes away.
const SWEEP_CHUNKS: usize = 64;

const LEVEL: i32 = 3;

/// Blobs that this process is writing or has not given away yet.
pub(crate) type Staging = Arc<Mutex<BTreeSet<u64>>>;

/// The claim on a blob; dropped, it may be swept.
#[derive(Debug)]
struct Claim {
    blob: u64,
    staging: Staging,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.staging.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.blob);
    }
}

/// A large text that is being written.
#[derive(Debug)]
pub struct Stage {
    core: Arc<Core>,
    claim: Option<Claim>,
    buffer: Vec<u8>,
    hash: blake3::Hasher,
    len: u64,
    chunks: u32,
}

/// A large text that lies ready for the revision that it belongs to. Dropped before that, it is swept.
#[derive(Debug)]
pub struct Staged {
    claim: Claim,
    len: u64,
    digest: Blake3,
}

impl Staged {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn blob(&self) -> u64 {
        self.claim.blob
    }

    pub(crate) fn digest(&self) -> Blake3 {
        self.digest
    }
}

fn too_long() -> Error {
    Error::Invalid { what: format!("a text of the catalog is longer than {BLOB_MAX} bytes") }
}

impl Core {
    /// A new blob that nobody owns.
    fn claim(self: &Arc<Self>) -> Result<Claim, Error> {
        let staging = Arc::clone(&self.catalog.staging);
        let theirs = Arc::clone(&staging);
        let blob = self.writer.write(Room::Adds, move |tx| {
            let mut numbers = tx.open_table(NUMBERS)?;
            let blob = number(&numbers, LAST_BLOB)?.saturating_add(1);
            numbers.insert(LAST_BLOB, blob)?;
            tx.open_table(BLOBS)?.insert(blob, encode(&BlobRow { len: 0, chunks: 0, owner: None })?.as_slice())?;
            theirs.lock().unwrap_or_else(PoisonError::into_inner).insert(blob);
            Ok(blob)
        })?;
        Ok(Claim { blob, staging })
    }

    /// Commits one chunk.
    fn put_chunk(&self, blob: u64, chunk: u32, raw: &[u8]) -> Result<(), Error> {
        let frame = zstd::bulk::compress(raw, LEVEL)?;
        self.writer.write(Room::Adds, move |tx| {
            tx.open_table(CHUNKS)?.insert(&clock_key(blob, chunk), frame.as_slice())?;
            Ok(())
        })
    }

    /// Step 2.
    fn put_length(&self, blob: u64, len: u64, chunks: u32) -> Result<(), Error> {
        self.writer.write(Room::Adds, move |tx| {
            tx.open_table(BLOBS)?.insert(blob, encode(&BlobRow { len, chunks, owner: None })?.as_slice())?;
            Ok(())
        })
    }

    /// A whole text as a blob. Blocks.
    pub(crate) fn stage_whole(self: &Arc<Self>, text: &[u8]) -> Result<Staged, Error> {
        if text.len() as u64 > BLOB_MAX {
            return Err(too_long());
        }
        let claim = self.claim()?;
        let mut chunks: u32 = 0;
        for raw in text.chunks(CHUNK) {
            self.put_chunk(claim.blob, chunks, raw)?;
            chunks += 1;
        }
        self.put_length(claim.blob, text.len() as u64, chunks)?;
        Ok(Staged { claim, len: text.len() as u64, digest: Blake3::new(*blake3::hash(text).as_bytes()) })
    }

    /// Takes away chunks of blobs that belong to nobody; says whether there may be more. Blocks.
    pub(crate) fn sweep_blobs(&self) -> Result<bool, Error> {
        let staging = Arc::clone(&self.catalog.staging);
        let dead = self.index.read(|tx| {
            let Some(table) = super::tables::read(tx, BLOBS)? else { return Ok(None) };
            for row in table.iter()? {
                let (blob, row) = row?;
                let row: BlobRow = decode("catalog-blobs.1", row.value())?;
                let busy = staging.lock().unwrap_or_else(PoisonError::into_inner).contains(&blob.value());
                if row.owner.is_none() && !busy {
                    return Ok(Some(blob.value()));
                }
            }
            Ok(None)
        })?;
        let Some(blob) = dead else { return Ok(false) };
        self.writer.write(Room::Frees, move |tx| {
            let mut rows = tx.open_table(BLOBS)?;
            let row: Option<BlobRow> = rows.get(blob)?.map(|row| decode("catalog-blobs.1", row.value())).transpose()?;
            if row.is_none_or(|row| row.owner.is_some()) {
                return Ok(());
            }
            let mut chunks = tx.open_table(CHUNKS)?;
            let (from, to) = (clock_key(blob, 0), clock_key(blob, u32::MAX));
            let found: Vec<_> = chunks
                .range::<&super::tables::ClockKey>(&from..=&to)?
                .take(SWEEP_CHUNKS)
                .map(|row| row.map(|(key, _)| *key.value()))
                .collect::<Result<_, _>>()?;
            for key in &found {
                chunks.remove(key)?;
            }
            if found.len() < SWEEP_CHUNKS {
                rows.remove(blob)?;
            }
            Ok(())
        })?;
        Ok(true)
    }

    /// Chunk `chunk` of a blob; `Gone` where the blob went meanwhile. Blocks.
    fn chunk(&self, blob: u64, chunk: u32) -> Result<Bytes, Error> {
        let frame = self.index.read(|tx| {
            let table = tx.open_table(CHUNKS)?;
            Ok(table.get(&clock_key(blob, chunk))?.map(|frame| frame.value().to_vec()))
        })?;
        unpack_chunk(&frame.ok_or(Error::Gone)?).map(Bytes::from)
    }
}

/// The text of a chunk.
pub(crate) fn unpack_chunk(frame: &[u8]) -> Result<Vec<u8>, Error> {
    zstd::bulk::decompress(frame, CHUNK)
        .map_err(|error| Error::Row { what: format!("a chunk of the catalog cannot be read: {error}") })
}

impl Stage {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, claim: None, buffer: Vec::new(), hash: blake3::Hasher::new(), len: 0, chunks: 0 }
    }

    /// Appends to the text; durable chunk by chunk. After an error what was written is swept.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        self.len = self.len.saturating_add(bytes.len() as u64);
        if self.len > BLOB_MAX {
            return Err(too_long());
        }
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == CHUNK {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let (core, claim, chunk) = (Arc::clone(&self.core), self.claim.take(), self.chunks);
        let (raw, mut hash) = (std::mem::take(&mut self.buffer), self.hash.clone());
        let (claim, hash) = self
            .core
            .syncing
            .run(move || {
                let claim = claim.map_or_else(|| core.claim(), Ok)?;
                hash.update(&raw);
                core.put_chunk(claim.blob, chunk, &raw)?;
                Ok::<_, Error>((claim, hash))
            })
            .await??;
        self.claim = Some(claim);
        self.hash = hash;
        self.chunks += 1;
        Ok(())
    }

    /// The whole of it, ready for its revision.
    pub async fn finish(mut self) -> Result<Staged, Error> {
        if !self.buffer.is_empty() || self.claim.is_none() {
            self.flush().await?;
        }
        let Some(claim) = self.claim.take() else { return Err(Error::Gone) };
        let (core, blob, len, chunks) = (Arc::clone(&self.core), claim.blob, self.len, self.chunks);
        self.core.syncing.run(move || core.put_length(blob, len, chunks)).await??;
        Ok(Staged { claim, len, digest: Blake3::new(*self.hash.finalize().as_bytes()) })
    }
}

/// A large text that is being read. Each piece is a snapshot of its own: a text that goes meanwhile ends in `Gone`.
#[derive(Debug)]
pub struct Reading {
    core: Arc<Core>,
    blob: u64,
    len: u64,
    chunk: u32,
    read: u64,
}

impl Reading {
    pub(crate) fn new(core: Arc<Core>, blob: u64, len: u64) -> Self {
        Self { core, blob, len, chunk: 0, read: 0 }
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The next piece, at most half a mebibyte; `None` at the end. A piece may end within a character.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.read >= self.len {
            return Ok(None);
        }
        let (core, blob, chunk) = (Arc::clone(&self.core), self.blob, self.chunk);
        let piece = self.core.reads.run(move || core.chunk(blob, chunk)).await??;
        if piece.is_empty() {
            return Err(Error::Row { what: "a chunk of the catalog is empty".into() });
        }
        self.chunk += 1;
        self.read += piece.len() as u64;
        Ok(Some(piece))
    }
}
