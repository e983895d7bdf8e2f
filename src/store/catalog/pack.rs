//! The small texts of a revision together in one zstd frame, with a dictionary trained on what was received.
//!
//! Together, because the fragments are cut out of the document: behind it they cost nearly nothing, and one frame of some
//! 15 KiB is unpacked in less time than a page of the index is read. As text, also what came as a cabinet: the recorded
//! documents of 14,578 and 4,917 bytes take 1,965 and 909 bytes as cabinets (LZX over UTF-16), and less than that with any
//! plain deflate of their UTF-8, long before a dictionary; the document is the same either way, and whoever wants a cabinet
//! again gets one made from it.
//!
//! 1. The first [`SAMPLES_MIN`] revisions are packed without a dictionary (version 0), and samples of them are kept.
//! 2. A dictionary is trained on three quarters of the samples, and tried on the rest: it becomes the next version where it
//!    makes them smaller by a twentieth.
//! 3. That is done again when [`AGAIN`] times as many revisions were packed; so there are few versions however many
//!    revisions come, and every one of them stays as a row for what was packed with it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::ReadableTable;
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

use crate::store::error::Error;

/// Speed before the last percent: a pack is also read back in a scan.
const LEVEL: i32 = 3;
/// Bytes of all texts of one pack: bounds what reading one of them costs.
pub(crate) const PACK_MAX: usize = 512 << 10;
/// Revisions before the first dictionary.
pub(crate) const SAMPLES_MIN: u64 = 400;
/// From one training to the next, in revisions packed.
const AGAIN: u64 = 8;
/// Bytes of samples that are kept in memory; a dictionary wants some hundred times its size at most.
const SAMPLES_BYTES: usize = 6 << 20;
/// The largest single sample: a large text would push out many small ones.
const SAMPLE_MAX: usize = 64 << 10;
/// zstd's own default.
const DICTIONARY_MAX: usize = 110 << 10;
/// Versions: each is some 150 KiB of memory while it is used.
const VERSIONS_MAX: u32 = 24;
/// Prepared dictionaries that are kept.
const PREPARED_MAX: usize = 8;

struct Current {
    version: u32,
    encoder: Arc<EncoderDictionary<'static>>,
}

#[derive(Default)]
struct Samples {
    kept: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// What came of looking whether another dictionary is wanted.
#[derive(Clone, Debug)]
pub(crate) enum Training {
    /// It is not time for one.
    NotYet,
    /// One was tried, and the old one is as good.
    Kept,
    /// Here is the next version.
    Made(u32, Vec<u8>),
}

/// Dictionaries that are ready for use, and samples for the next one.
#[derive(Default)]
pub(crate) struct Dictionaries {
    current: Mutex<Option<Current>>,
    prepared: Mutex<BTreeMap<u32, Arc<DecoderDictionary<'static>>>>,
    samples: Mutex<Samples>,
}

impl std::fmt::Debug for Dictionaries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let version = lock(&self.current).as_ref().map(|current| current.version);
        f.debug_struct("Dictionaries").field("version", &version).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn broken(what: &str) -> Error {
    Error::Row { what: format!("a pack of the catalog cannot be read: {what}") }
}

impl Dictionaries {
    /// The version that is used now; 0: none.
    pub(crate) fn version(&self) -> u32 {
        lock(&self.current).as_ref().map_or(0, |current| current.version)
    }

    /// From now on `dictionary` is used, unless a later one is.
    pub(crate) fn adopt(&self, version: u32, dictionary: &[u8]) {
        let mut current = lock(&self.current);
        if current.as_ref().is_none_or(|current| current.version < version) {
            *current = Some(Current { version, encoder: Arc::new(EncoderDictionary::copy(dictionary, LEVEL)) });
        }
    }

    /// A pack of `raw`: version and length (u32 little endian each), and the frame.
    pub(crate) fn pack(&self, raw: &[u8]) -> Result<Vec<u8>, Error> {
        let current = lock(&self.current).as_ref().map(|current| (current.version, Arc::clone(&current.encoder)));
        let (version, frame) = match current {
            Some((version, encoder)) => {
                (version, Compressor::with_prepared_dictionary(&encoder).and_then(|mut with| with.compress(raw))?)
            }
            None => (0, zstd::bulk::compress(raw, LEVEL)?),
        };
        let len = u32::try_from(raw.len()).map_err(|_| Error::Invalid { what: "a pack is too large".into() })?;
        let mut pack = Vec::with_capacity(8 + frame.len());
        pack.extend_from_slice(&version.to_le_bytes());
        pack.extend_from_slice(&len.to_le_bytes());
        pack.extend_from_slice(&frame);
        Ok(pack)
    }

    /// What a pack holds; dictionaries that are not ready yet are taken from `table`.
    pub(crate) fn unpack(&self, pack: &[u8], table: &impl ReadableTable<u32, &'static [u8]>) -> Result<Vec<u8>, Error> {
        let (version, rest) = pack.split_first_chunk::<4>().ok_or_else(|| broken("it is cut"))?;
        let (len, frame) = rest.split_first_chunk::<4>().ok_or_else(|| broken("it is cut"))?;
        let (version, len) = (u32::from_le_bytes(*version), u32::from_le_bytes(*len) as usize);
        if len > PACK_MAX {
            return Err(broken("it says that it is too long"));
        }
        let raw = if version == 0 {
            zstd::bulk::decompress(frame, len)
        } else {
            let dictionary = self.prepared(version, table)?;
            Decompressor::with_prepared_dictionary(&dictionary).and_then(|mut with| with.decompress(frame, len))
        };
        let raw = raw.map_err(|error| broken(&error.to_string()))?;
        if raw.len() == len { Ok(raw) } else { Err(broken("its length is another")) }
    }

    fn prepared(
        &self,
        version: u32,
        table: &impl ReadableTable<u32, &'static [u8]>,
    ) -> Result<Arc<DecoderDictionary<'static>>, Error> {
        if let Some(ready) = lock(&self.prepared).get(&version) {
            return Ok(Arc::clone(ready));
        }
        let row = table.get(version)?.ok_or_else(|| broken(&format!("dictionary {version} is missing")))?;
        let ready = Arc::new(DecoderDictionary::copy(row.value()));
        let mut prepared = lock(&self.prepared);
        if prepared.len() >= PREPARED_MAX {
            // The oldest version has the fewest packs.
            prepared.pop_first();
        }
        prepared.insert(version, Arc::clone(&ready));
        Ok(ready)
    }

    /// Keeps a sample of what was packed; old ones go.
    pub(crate) fn sample(&self, raw: &[u8]) {
        if raw.len() > SAMPLE_MAX {
            return;
        }
        let mut samples = lock(&self.samples);
        samples.bytes += raw.len();
        samples.kept.push_back(raw.to_vec());
        while samples.bytes > SAMPLES_BYTES
            && let Some(old) = samples.kept.pop_front()
        {
            samples.bytes -= old.len();
        }
    }

    /// The next dictionary, where it is time for one (`packed` revisions in all, `trained_at` when the last one was made)
    /// and it is worth it.
    pub(crate) fn train(&self, packed: u64, trained_at: u64) -> Training {
        if packed < SAMPLES_MIN.max(trained_at.saturating_mul(AGAIN)) {
            return Training::NotYet;
        }
        let version = self.version().saturating_add(1);
        let mut samples = lock(&self.samples);
        if (samples.kept.len() as u64) < SAMPLES_MIN / 2 || version > VERSIONS_MAX {
            return Training::NotYet;
        }
        let (kept, _) = (std::mem::take(&mut samples.kept), std::mem::take(&mut samples.bytes));
        drop(samples);
        let (tried, learnt): (Vec<_>, Vec<_>) = kept.into_iter().enumerate().partition(|(at, _)| at % 4 == 3);
        let learnt: Vec<_> = learnt.into_iter().map(|(_, sample)| sample).collect();
        let dictionary = match zstd::dict::from_samples(&learnt, DICTIONARY_MAX) {
            Ok(dictionary) => dictionary,
            Err(error) => {
                tracing::debug!(%error, "no dictionary came of {} samples", learnt.len());
                return Training::Kept;
            }
        };
        let new = EncoderDictionary::copy(&dictionary, LEVEL);
        let size = |encoder: &EncoderDictionary<'_>| -> usize {
            let Ok(mut with) = Compressor::with_prepared_dictionary(encoder) else { return usize::MAX };
            tried.iter().map(|(_, raw)| with.compress(raw).map_or(raw.len(), |frame| frame.len())).sum()
        };
        let old = match lock(&self.current).as_ref().map(|current| Arc::clone(&current.encoder)) {
            Some(encoder) => size(&encoder),
            None => tried.iter().map(|(_, raw)| zstd::bulk::compress(raw, LEVEL).map_or(raw.len(), |f| f.len())).sum(),
        };
        let now = size(&new);
        tracing::debug!(version, old, now, samples = learnt.len(), "a dictionary for the catalog was trained");
        if now < old - old / 20 { Training::Made(version, dictionary) } else { Training::Kept }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::{Database, ReadableDatabase, backends::InMemoryBackend};

    use crate::store::catalog::tables::DICTIONARIES;

    fn text(at: u64) -> Vec<u8> {
        let id = blake3::hash(&at.to_le_bytes()).to_hex();
        format!(
            "<upd:Update xmlns:upd=\"http://schemas.microsoft.com/msus/2002/12/Update\"><upd:UpdateIdentity UpdateID=\"{id}\" \
             RevisionNumber=\"200\" /><upd:Properties DefaultPropertiesLanguage=\"en\" UpdateType=\"Software\" /></upd:Update>"
        )
        .into_bytes()
    }

    #[test]
    fn what_was_packed_with_any_version_is_read_again() {
        let dictionaries = Dictionaries::default();
        let db = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let mut packs = vec![(text(0), dictionaries.pack(&text(0)).unwrap())];
        let mut trained_at = 0;
        for round in 0..2 {
            for at in 0..1000 {
                dictionaries.sample(&text(round * 1000 + at));
            }
            assert!(matches!(dictionaries.train(SAMPLES_MIN - 1, trained_at), Training::NotYet));
            let packed = SAMPLES_MIN.max(trained_at * 8);
            if let Training::Made(version, dictionary) = dictionaries.train(packed, trained_at) {
                let tx = db.begin_write().unwrap();
                tx.open_table(DICTIONARIES).unwrap().insert(version, dictionary.as_slice()).unwrap();
                tx.commit().unwrap();
                dictionaries.adopt(version, &dictionary);
            }
            // Samples are used once.
            assert!(matches!(dictionaries.train(packed, trained_at), Training::NotYet));
            trained_at = packed;
            packs.push((text(round), dictionaries.pack(&text(round)).unwrap()));
        }
        assert!(dictionaries.version() >= 1, "no dictionary was made");
        // Nothing can be learnt from noise: the old one stays.
        for at in 0..1000_u64 {
            let mut noise = vec![0; 1000];
            blake3::Hasher::new().update(&at.to_le_bytes()).finalize_xof().fill(&mut noise);
            dictionaries.sample(&noise);
        }
        assert!(matches!(dictionaries.train(u64::MAX, trained_at), Training::Kept));
        assert!(packs[1].1.len() * 2 < packs[0].1.len(), "{} and {}", packs[1].1.len(), packs[0].1.len());
        let fresh = Dictionaries::default();
        let tx = db.begin_read().unwrap();
        let table = tx.open_table(DICTIONARIES).unwrap();
        for (raw, pack) in &packs {
            assert_eq!(fresh.unpack(pack, &table).unwrap(), *raw);
        }
    }

    #[test]
    fn damaged_packs_are_errors() {
        let dictionaries = Dictionaries::default();
        let db = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let tx = db.begin_write().unwrap();
        let table = tx.open_table(DICTIONARIES).unwrap();
        let pack = dictionaries.pack(&text(1)).unwrap();
        for cut in 0..pack.len() {
            assert!(dictionaries.unpack(&pack[..cut], &table).is_err(), "{cut}");
        }
        let mut other = pack.clone();
        other[0] = 9;
        assert!(dictionaries.unpack(&other, &table).is_err(), "a dictionary that is not there");
        other = pack.clone();
        other[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(dictionaries.unpack(&other, &table).is_err(), "a length that lies");
        other = pack;
        other[4] ^= 1;
        assert!(dictionaries.unpack(&other, &table).is_err(), "a length that is not quite right");
    }
}
