//! From a record of an update to a revision as the catalog takes it. Blocks: it belongs on a thread that may.

use std::io::{self, BufReader, Read, Write};

use bytes::{Buf, Bytes};
use tokio::runtime::Handle;

use crate::chain::error::Error;
use crate::model::chain::record::Kind;
use crate::model::update::Identity;
use crate::store::Store;
use crate::store::catalog::{Body, Incoming, Stage};
use crate::store::{self};
use crate::wire::fragments;
use crate::wire::peer::body::{self, Update, piece_key};

/// A text up to this is handed over whole.
const HELD_MAX: usize = 256 << 10;

/// Why there is no revision.
#[derive(Debug)]
pub(super) enum Bad {
    /// The document cannot be used.
    Document(String),
    /// What came of it could not be kept here, or could not be read.
    Here(Error),
}

impl From<store::Error> for Bad {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Invalid { what } => Self::Document(what),
            other => Self::Here(other.into()),
        }
    }
}

/// The document, piece by piece.
struct Pieces<'a> {
    store: &'a Store,
    runtime: &'a Handle,
    said: &'a Update,
    piece: u32,
    held: Bytes,
    hash: blake3::Hasher,
    failed: Option<Bad>,
    copy: Sink<'a>,
}

impl Pieces<'_> {
    fn next(&mut self) -> Result<Option<Bytes>, Bad> {
        if let Some(document) = &self.said.document {
            self.piece += 1;
            return Ok(Some(document.clone()).filter(|_| self.piece == 1));
        }
        if self.piece >= self.said.pieces() {
            return Ok(None);
        }
        let key = piece_key(&self.said.digest, self.piece).to_vec();
        let record = self.runtime.block_on(self.store.feed().record(Kind::Text.number(), key))?;
        let missing = || Bad::Document("a piece of its document is not in the feed".into());
        let piece = body::read_piece(record.ok_or_else(missing)?.body()).map_err(|error| Bad::Here(error.into()))?;
        self.piece += 1;
        Ok(Some(piece))
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.held.is_empty() {
            match self.next() {
                Ok(Some(piece)) => {
                    self.hash.update(&piece);
                    self.copy.write_all(&piece)?;
                    self.held = piece;
                }
                Ok(None) => return Ok(0),
                Err(bad) => {
                    self.failed = Some(bad);
                    return Err(io::Error::other("a piece of the document cannot be had"));
                }
            }
        }
        let count = self.held.len().min(into.len());
        self.held.split_to(count).copy_to_slice(into.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Takes one text: a small one is held, a large one handed to the catalog in pieces.
struct Sink<'a> {
    store: &'a Store,
    runtime: &'a Handle,
    held: Vec<u8>,
    stage: Option<Stage>,
    failed: Option<store::Error>,
}

impl<'a> Sink<'a> {
    fn new(store: &'a Store, runtime: &'a Handle) -> Self {
        Self { store, runtime, held: Vec::new(), stage: None, failed: None }
    }

    fn finish(self) -> Result<Body, Bad> {
        if let Some(failed) = self.failed {
            return Err(failed.into());
        }
        match self.stage {
            Some(stage) => Ok(Body::Staged(self.runtime.block_on(stage.finish())?)),
            None => String::from_utf8(self.held).map(Body::Text).map_err(|_| Bad::Document("it is no UTF-8".into())),
        }
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stage.is_none() && self.held.len() + bytes.len() <= HELD_MAX {
            self.held.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        let catalog = self.store.catalog();
        let stage = self.stage.get_or_insert_with(|| catalog.stage());
        let held = std::mem::take(&mut self.held);
        let written = self.runtime.block_on(async {
            stage.write(&held).await?;
            stage.write(bytes).await
        });
        match written {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.failed = Some(error);
                Err(io::Error::other("the catalog does not take it"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a document of the feed: it must be what its record says, and say of itself that it is this revision.
pub(super) fn read(store: &Store, runtime: &Handle, identity: Identity, said: &Update) -> Result<Incoming, Bad> {
    let sink = || Sink::new(store, runtime);
    let (mut core, mut extended) = (sink(), sink());
    let (piece, held, hash, failed) = (0, Bytes::new(), blake3::Hasher::new(), None);
    let mut pieces = Pieces { store, runtime, said, piece, held, hash, failed, copy: sink() };
    let derived = fragments::derive(BufReader::new(&mut pieces), &mut core, &mut extended);
    let Pieces { hash, failed, copy, .. } = pieces;
    if let Some(failed) = failed {
        return Err(failed);
    }
    let (document, core, extended) = (copy.finish()?, core.finish()?, extended.finish()?);
    let derived = derived.map_err(|error| Bad::Document(error.to_string()))?;
    if hash.finalize().as_bytes() != said.digest.as_bytes() {
        return Err(Bad::Document("its document is another one than the authority names".into()));
    }
    if derived.update.identity != identity {
        return Err(Bad::Document(format!("its document says that it is {}", derived.update.identity)));
    }
    let localized = derived.localized.into_iter().map(|part| (part.language, Body::Text(part.text)));
    Ok(Incoming {
        cabinet: said.cabinet,
        document,
        core,
        extended,
        localized: localized.collect(),
        urls: said.urls.clone(),
        update: derived.update,
    })
}
