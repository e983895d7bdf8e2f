//! Files of the catalog's updates, as records of the feed.
//!
//! 1. A file that a revision names has a record as long as some revision does ([`named`], [`unnamed`]).
//! 2. Once this node has held the file, the record has its BLAKE3 ([`Arriving`]), and keeps it when the file goes: all three digests were
//!    computed over the same bytes, so that it stays true of whatever has the published ones.
//!
//! What counts is the published SHA-256; where there is none, a SHA-1 that was proven (with collision detection).

use tokio::runtime::Handle;

use crate::base::digest::{Blake3, Digest, Digests, Sha1};
use crate::chain::document;
use crate::chain::error::Error;
use crate::chain::records::{Made, files};
use crate::model::chain::record::Kind;
use crate::model::name::Name;
use crate::model::payload::{Class, Payload};
use crate::model::update::Identity;
use crate::store::Store;
use crate::store::catalog::{FileDigest, KnownFile};
use crate::wire::peer::body;
use crate::wire::peer::body::file::{File, file_key};

/// Held payloads that are looked at together.
const STEP: usize = 500;

/// What is published of a file, or was signed by the authority.
pub async fn signed(store: &Store, sha1: Sha1) -> Result<Option<File>, Error> {
    let record = store.feed().record(Kind::File.number(), file_key(&sha1).to_vec()).await?;
    Ok(record.map(|record| File::read(record.body())).transpose()?)
}

/// The BLAKE3 that a held payload gives a file.
fn given(file: &File, payload: &Payload) -> Option<Blake3> {
    let Digests { sha256, blake3, .. } = payload.digests;
    let is_it = file.sha256.map_or(payload.class == Class::Proven, |published| published == sha256);
    (is_it && payload.size == file.size).then_some(blake3)
}

/// A file that some revision names.
pub(super) async fn named(store: &Store, known: &KnownFile, made: &mut Made) -> Result<(), Error> {
    let sha1 = known.file.sha1;
    let mut file =
        File { sha256: known.file.sha256, size: known.file.size, name: known.file.name.clone(), blake3: None };
    let old = signed(store, sha1).await?;
    file.blake3 = match old.filter(|old| (old.sha256, old.size) == (file.sha256, file.size)) {
        Some(old) if old.blake3.is_some() => old.blake3,
        _ => {
            let digest = file.sha256.map_or(Digest::Sha1(sha1), Digest::Sha256);
            let held = store.peek(&Name::Digest(digest)).await?;
            held.and_then(|(payload, _)| given(&file, &payload).filter(|_| payload.digests.sha1 == sha1))
        }
    };
    made.set(Kind::File, file_key(&sha1), file.write())
}

/// The files of a revision that went: those that no other one names.
pub(super) async fn unnamed(
    store: &Store,
    identity: Identity,
    old: &body::Update,
    made: &mut Made,
) -> Result<(), Error> {
    let (reading, runtime, said) = (store.clone(), Handle::current(), old.clone());
    let read = tokio::task::spawn_blocking(move || document::read(&reading, &runtime, identity, &said)).await;
    // What could be read once can be read again; where not, a record of a file too many does no harm.
    let Ok(Ok(incoming)) = read else { return Ok(()) };
    for file in files(&incoming.update) {
        let users = store.catalog().files(FileDigest::Sha1(file.sha1)).await?.into_iter().flat_map(|known| known.users);
        if users.count() == 0 {
            made.gone(Kind::File, file_key(&file.sha1));
        }
    }
    Ok(())
}

/// How far the look at all that is held is.
#[derive(Clone, Copy, Debug, Default)]
enum Look {
    #[default]
    Done,
    Anew,
    /// Behind this payload.
    Behind(Blake3),
}

/// Where the look at what is held stands.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    all: Look,
    these: Vec<Blake3>,
}

impl Arriving {
    /// Nobody knows what came before.
    pub(super) fn anew() -> Self {
        Self { all: Look::Anew, these: Vec::new() }
    }

    /// The next payloads that may give files their BLAKE3; says whether there may be more.
    pub(super) async fn step(&mut self, store: &Store, made: &mut Made) -> Result<bool, Error> {
        let came = store.arrivals();
        if came.any {
            self.all = Look::Anew;
        }
        self.these.extend(came.these);
        let (payloads, more) = if self.these.is_empty() {
            let after = match self.all {
                Look::Done => return Ok(false),
                Look::Anew => None,
                Look::Behind(payload) => Some(payload),
            };
            let listed = store.list(after, STEP).await?;
            self.all = listed.last().map_or(Look::Done, |last| Look::Behind(last.payload.digests.blake3));
            (listed.into_iter().map(|listed| listed.payload).collect(), !matches!(self.all, Look::Done))
        } else {
            let mut payloads: Vec<Payload> = Vec::new();
            let rest = self.these.len().saturating_sub(STEP);
            for blake3 in self.these.split_off(rest) {
                let held = store.peek(&Name::Digest(Digest::Blake3(blake3))).await?;
                payloads.extend(held.map(|(payload, _)| payload));
            }
            (payloads, !self.these.is_empty() || !matches!(self.all, Look::Done))
        };
        for payload in payloads {
            let sha1 = payload.digests.sha1;
            if let Some(file) = signed(store, sha1).await?.filter(|file| file.blake3.is_none())
                && let Some(blake3) = given(&file, &payload)
            {
                made.set(Kind::File, file_key(&sha1), File { blake3: Some(blake3), ..file }.write())?;
            }
        }
        Ok(more)
    }
}
