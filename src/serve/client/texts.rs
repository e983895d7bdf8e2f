//! Fragments of metadata on their way into answers. Core fragments, which every new agent asks for, are kept as they stand in an
//! answer: escaped once.

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::serve::client::error::Error;
use crate::store::catalog::{Catalog, Part, Text};
use crate::wire::wusp::Fragment;

/// Bytes of core fragments that are kept: those of some ten thousand updates; what a product has with all that it needs fits.
const KEPT_BYTES: u64 = 96 << 20;

/// Roughly how many these are.
const KEPT_MANY: usize = 20_000;

/// Texts that are asked for at a time: together they have to be held.
const STEP: usize = 50;

/// Bytes of one text, and of all of one answer: an answer is made in memory. The longest core fragment known has 1.4 MB, the longest
/// extended one (a list of languages) less.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// See [`TEXT_BYTES_MAX`].
const ANSWER_BYTES_MAX: usize = 96 << 20;

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
}

impl Texts {
    pub(super) fn new(catalog: Catalog) -> Self {
        Self { catalog, cores: Cache::with_weighter(KEPT_MANY, KEPT_BYTES, ByBytes) }
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
    pub(super) async fn cores(self: &Arc<Self>, numbers: &[u32]) -> Result<Vec<Option<Fragment>>, Error> {
        let mut found: Vec<Option<Fragment>> = numbers.iter().map(|number| self.cores.get(number)).collect();
        let missing: Vec<u32> =
            numbers.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(number, _)| *number).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let mut read = self.read(&missing, &Part::Core).await?.into_iter();
        for (slot, number) in found.iter_mut().zip(numbers).filter(|(slot, _)| slot.is_none()) {
            *slot = read.next().flatten();
            if let Some(fragment) = slot {
                self.cores.insert(*number, fragment.clone());
            }
        }
        Ok(found)
    }

    /// One kind of fragment of these, in the same order.
    pub(super) async fn read(&self, numbers: &[u32], part: &Part) -> Result<Vec<Option<Fragment>>, Error> {
        let mut found = Vec::with_capacity(numbers.len());
        let mut bytes = 0;
        for step in numbers.chunks(STEP) {
            let mut texts = Vec::with_capacity(step.len());
            for (number, text) in step.iter().zip(self.catalog.texts(step.to_vec(), part.clone()).await?) {
                let text = match text {
                    Some(text) => Some(whole(*number, text).await?),
                    None => None,
                };
                bytes += text.as_ref().map_or(0, Bytes::len);
                if bytes > ANSWER_BYTES_MAX {
                    return Err(Error::parameter("revisionIDs", format!("their texts have more than {bytes} bytes")));
                }
                texts.push(text);
            }
            let escaping = tokio::task::spawn_blocking(move || {
                let escape = |text: Bytes| Fragment::escape(&String::from_utf8_lossy(&text));
                texts.into_iter().map(|text| text.map(escape)).collect::<Vec<_>>()
            });
            found.extend(escaping.await.map_err(|_| Error::Ended)?);
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
