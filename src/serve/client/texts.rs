//! Fragments of metadata on their way into answers. Core fragments, which every new agent asks for, are kept as they stand in an
//! answer: escaped once.

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use crate::serve::client::error::Error;
use crate::serve::client::room::{ANSWER_MAX, Room};
use crate::store::catalog::{Catalog, Part, Text};
use crate::wire::wusp::Fragment;

/// Bytes of core fragments that are kept: those of some ten thousand updates; what a product has with all that it needs fits.
const KEPT_BYTES: u64 = 96 << 20;

/// Roughly how many these are.
const KEPT_MANY: usize = 20_000;

/// Texts that are asked for at a time: together they have to be held.
const STEP: usize = 50;

/// Bytes of one text: as many as an answer may have, which is made in memory. Most have some kilobytes; cumulative updates of a Windows
/// version have core fragments of up to 47 MB.
const TEXT_BYTES_MAX: usize = ANSWER_MAX;

/// Longer ones are not kept: few machines ask for them, each once, and they would push out what all ask for.
const KEPT_TEXT_MAX: usize = 2 << 20;

/// Answers for which texts are read at once: what a step of them takes (up to 128 KiB each, longer ones come in pieces) is known, and
/// counted, only once it was read.
const READING_MAX: usize = 4;

#[derive(Clone)]
struct ByBytes;

impl Weighter<u32, Fragment> for ByBytes {
    fn weight(&self, _: &u32, fragment: &Fragment) -> u64 {
        // With what the cache has beside it.
        fragment.escaped().len() as u64 + 64
    }
}

/// Texts of revisions, by their numbers.
pub(super) struct Texts {
    catalog: Catalog,
    cores: Cache<u32, Fragment, ByBytes>,
    reading: Semaphore,
}

impl Texts {
    pub(super) fn new(catalog: Catalog) -> Self {
        Self {
            catalog,
            cores: Cache::with_weighter(KEPT_MANY, KEPT_BYTES, ByBytes),
            reading: Semaphore::new(READING_MAX),
        }
    }

    /// A revision changed.
    pub(super) fn forget(&self, number: u32) {
        self.cores.remove(&number);
    }

    /// All may have.
    pub(super) fn forget_all(&self) {
        self.cores.clear();
    }

    /// Core fragments, in the same order; `None` for what has none.
    pub(super) async fn cores(
        self: &Arc<Self>,
        numbers: &[u32],
        room: &mut Room,
    ) -> Result<Vec<Option<Fragment>>, Error> {
        let mut found: Vec<Option<Fragment>> = numbers.iter().map(|number| self.cores.get(number)).collect();
        let missing: Vec<u32> =
            numbers.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(number, _)| *number).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let mut read = self.read(&missing, &Part::Core, room).await?.into_iter();
        for (slot, number) in found.iter_mut().zip(numbers).filter(|(slot, _)| slot.is_none()) {
            *slot = read.next().flatten();
            if let Some(fragment) = slot.as_ref().filter(|fragment| fragment.escaped().len() <= KEPT_TEXT_MAX) {
                self.cores.insert(*number, fragment.clone());
            }
        }
        Ok(found)
    }

    /// One kind of fragment of these, in the same order. What they take is counted as they come.
    pub(super) async fn read(
        &self,
        numbers: &[u32],
        part: &Part,
        room: &mut Room,
    ) -> Result<Vec<Option<Fragment>>, Error> {
        let mut found = Vec::with_capacity(numbers.len());
        for step in numbers.chunks(STEP) {
            let _turn = self.reading.acquire().await.map_err(|_| Error::Ended)?;
            let (mut texts, mut bytes) = (Vec::with_capacity(step.len()), 0);
            for (number, text) in step.iter().zip(self.catalog.texts(step.to_vec(), part.clone()).await?) {
                let text = match text {
                    Some(text) => Some(whole(*number, text).await?),
                    None => None,
                };
                if let Some(text) = &text {
                    room.take(text.len())?;
                    room.fragments(text.len())?;
                    bytes += text.len().next_multiple_of(1024);
                }
                texts.push(text);
            }
            let escaping = tokio::task::spawn_blocking(move || {
                let escape = |text: Bytes| Fragment::escape(&String::from_utf8_lossy(&text));
                texts.into_iter().map(|text| text.map(escape)).collect::<Vec<_>>()
            });
            let escaped = escaping.await.map_err(|_| Error::Ended)?;
            // They stand where the texts stood.
            room.give_back(bytes);
            room.take(escaped.iter().flatten().map(|fragment| fragment.escaped().len()).sum())?;
            found.extend(escaped);
        }
        Ok(found)
    }
}

/// All of a text.
async fn whole(number: u32, text: Text) -> Result<Bytes, Error> {
    let mut reading = match text {
        Text::Whole(bytes) => return Ok(bytes),
        Text::Long(reading) => reading,
    };
    let mut all = Vec::new();
    while let Some(piece) = reading.next().await? {
        if all.len() + piece.len() > TEXT_BYTES_MAX {
            let what = format!("a text of revision {number} has more than {TEXT_BYTES_MAX} bytes");
            return Err(Error::Store(crate::store::Error::Invalid { what }));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.into())
}
