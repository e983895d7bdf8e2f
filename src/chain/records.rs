//! What the catalog says, as records of the feed.

use bytes::{Bytes, BytesMut};

use crate::chain::error::Error;
use crate::chain::files;
use crate::model::chain::ids::Audience;
use crate::model::chain::record::{Entry, Kind, Record};
use crate::model::update::{File, Identity, Update, UpdateId};
use crate::store::Store;
use crate::store::catalog::{FileDigest, Part, Text};
use crate::wire::peer::body::{self, PIECE_BYTES};

/// Revisions that are held against the catalog at a time.
const COMPARED: usize = 1_000;
/// Addresses of one file: those of the first ones that named it.
const URLS_MAX: usize = 8;
/// Bytes of a record of an update beside its document: what does not fit of addresses is left out, since a file may be had elsewhere.
const URLS_BYTES_MAX: usize = 512 << 10;

/// Records that were made.
#[derive(Debug, Default)]
pub struct Made {
    /// In the order in which they are to be told.
    pub entries: Vec<Entry>,
    /// Numbers of revisions in the catalog, and what they are; `None` where that went.
    pub numbers: Vec<(u32, Option<Identity>)>,
    /// Bytes of their contents.
    pub bytes: usize,
}

impl Made {
    pub(super) fn set(&mut self, kind: Kind, key: Bytes, body: Bytes) -> Result<(), Error> {
        self.bytes += body.len();
        let record = Record::new(kind.number(), Audience::EVERYBODY, [0; 16], key, body);
        let record = record.map_err(|error| Error::Broken(format!("a record of the feed cannot be made: {error}")))?;
        self.entries.push(Entry::set(record));
        Ok(())
    }

    pub(super) fn gone(&mut self, kind: Kind, key: Bytes) {
        // A key of a fixed length is always one.
        self.entries.extend(Entry::gone(kind.number(), Audience::EVERYBODY, key));
    }
}

/// Its files, those of its licence too.
pub(super) fn files(update: &Update) -> impl Iterator<Item = &File> {
    update.files.iter().chain(update.eula.iter().flat_map(|eula| eula.files.iter().map(|text| &text.file)))
}

/// What is published of a revision under its key.
async fn published(store: &Store, identity: Identity) -> Result<Option<body::Update>, Error> {
    let record = store.feed().record(Kind::Update.number(), body::identity_key(identity).to_vec()).await?;
    Ok(record.map(|record| body::Update::read(record.body())).transpose()?)
}

fn gone_pieces(old: &body::Update, made: &mut Made) {
    for piece in 0..old.pieces() {
        made.gone(Kind::Text, body::piece_key(&old.digest, piece));
    }
}

/// The revision with this number in the catalog, which is held or went.
pub async fn revision(store: &Store, number: u32, held: bool, made: &mut Made) -> Result<(), Error> {
    let catalog = store.catalog();
    let found = if held { catalog.revision(number).await? } else { None };
    let Some(found) = found else { return went(store, number, made).await };
    let (short, update) = (found.summary, found.update);
    let mut urls = Vec::new();
    let mut room = URLS_BYTES_MAX;
    for file in files(&update) {
        for known in catalog.files(FileDigest::Sha1(file.sha1)).await? {
            files::named(store, &known, made).await?;
            for url in known.urls.into_iter().take(URLS_MAX) {
                if url.len() < room && !urls.contains(&(file.sha1, url.clone())) {
                    room -= url.len();
                    urls.push((file.sha1, url));
                }
            }
        }
    }
    let old = published(store, short.identity).await?;
    if let Some(old) = old.as_ref().filter(|old| old.digest != short.digest) {
        gone_pieces(old, made);
    }
    let mut said = body::Update {
        cabinet: short.cabinet,
        plain: short.unauthenticated,
        len: short.document_len,
        digest: short.digest,
        urls,
        document: None,
    };
    match catalog.text(number, Part::Document).await? {
        // It went meanwhile, and its change comes.
        None => return Ok(()),
        Some(Text::Whole(document)) if document.len() <= PIECE_BYTES => said.document = Some(document),
        Some(Text::Whole(document)) => {
            for (piece, bytes) in (0..).zip(document.chunks(PIECE_BYTES)) {
                made.set(Kind::Text, body::piece_key(&said.digest, piece), body::write_piece(bytes))?;
            }
        }
        Some(Text::Long(mut reading)) => {
            let (mut held, mut piece) = (BytesMut::new(), 0);
            while let Some(bytes) = reading.next().await? {
                held.extend_from_slice(&bytes);
                while held.len() >= PIECE_BYTES {
                    let bytes = held.split_to(PIECE_BYTES);
                    made.set(Kind::Text, body::piece_key(&said.digest, piece), body::write_piece(&bytes))?;
                    piece += 1;
                }
            }
            if piece == 0 {
                said.document = Some(held.freeze());
            } else if !held.is_empty() {
                made.set(Kind::Text, body::piece_key(&said.digest, piece), body::write_piece(&held))?;
            }
        }
    }
    let key = body::identity_key(short.identity);
    made.numbers.push((number, Some(short.identity)));
    // Before the update: who takes it never offers it in between.
    if short.refused {
        let reason = catalog.refusal(short.identity).await?.map(|refused| refused.reason).unwrap_or_default();
        made.set(Kind::Refusal, key.clone(), body::write_refusal(&reason))?;
    } else {
        made.gone(Kind::Refusal, key.clone());
    }
    made.set(Kind::Update, key, said.write())
}

async fn went(store: &Store, number: u32, made: &mut Made) -> Result<(), Error> {
    let Some(identity) = store.feed().published(number).await? else { return Ok(()) };
    let key = body::identity_key(identity);
    made.numbers.push((number, None));
    made.gone(Kind::Update, key.clone());
    made.gone(Kind::Refusal, key);
    if let Some(old) = published(store, identity).await? {
        files::unnamed(store, identity, &old, made).await?;
        gone_pieces(&old, made);
    }
    Ok(())
}

/// Tombstones of all that is published and not in the catalog.
pub async fn gone(store: &Store) -> Result<Made, Error> {
    let (mut made, mut after) = (Made::default(), None);
    loop {
        let numbers = store.feed().numbers(after, COMPARED).await?;
        let Some(last) = numbers.last().copied() else { return Ok(made) };
        let held = store.catalog().summaries(numbers.clone()).await?;
        for number in numbers {
            if !held.iter().any(|short| short.number == number) {
                went(store, number, &mut made).await?;
            }
        }
        after = Some(last);
    }
}

/// What is decided of these updates now.
pub async fn decisions(store: &Store, mut ids: Vec<UpdateId>, made: &mut Made) -> Result<(), Error> {
    ids.sort_unstable();
    ids.dedup();
    let decisions = store.catalog().decisions(ids.clone()).await?;
    for (id, decision) in ids.into_iter().zip(decisions) {
        let key = Bytes::copy_from_slice(id.bytes());
        match decision {
            Some(decision) => made.set(Kind::Decision, key, body::write_decision(&decision))?,
            None => made.gone(Kind::Decision, key),
        }
    }
    Ok(())
}
