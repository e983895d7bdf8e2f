//! The small texts of a revision together in one zstd frame, with a dictionary trained on what was received.
//!
//! Together, because the fragments are cut out of the document: behind it they cost nearly nothing, and one frame of some
//! 15 KiB is unpacked in less time than a page of the index is read. As text, also what came as a cabinet: the recorded
//! documents of 14,578 and 4,917 bytes take 1,965 and 909 bytes as cabinets (LZX over UTF-16), and less than that with any
//! plain deflate of their UTF-8, long before a dictionary; the document is the same either way, and whoever wants a cabinet
//! again gets one made from it.
//!
//! 1. The first [`SAMPLES_MIN`] revisions are packed without a dictionary (version 0).
//! 2. Packs from all over the catalog are read back as samples; nothing is kept in memory for that. A dictionary is trained
//!    on three quarters of them, and tried on the rest: it becomes the next version where it makes them smaller by a
//!    twentieth.
//! 3. That is done again when [`AGAIN`] times as many revisions were packed; so there are few versions however many
//!    revisions come, and every one of them stays as a row for what was packed with it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::ReadableTable;
use zstd::bulk::Compressor;
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::{CCtx, DCtx, compress_bound, get_error_name};

use crate::store::error::Error;

/// Speed before the last percent: a pack is also read back in a scan.
const LEVEL: i32 = 3;
/// Bytes of all texts of one pack: bounds what reading one of them costs.
pub(crate) const PACK_MAX: usize = 512 << 10;
/// Revisions before the first dictionary.
pub(crate) const SAMPLES_MIN: u64 = 400;
/// From one training to the next, in revisions packed.
const AGAIN: u64 = 8;
/// Samples that are read, and their bytes; a dictionary wants some hundred times its size at most.
const SAMPLES: u32 = 480;
const SAMPLES_BYTES: usize = 8 << 20;
/// The largest single sample: a large text would push out many small ones.
const SAMPLE_MAX: usize = 64 << 10;
/// zstd's own default.
const DICTIONARY_MAX: usize = 110 << 10;
/// Versions: each is some 150 KiB of memory while it is used.
const VERSIONS_MAX: u32 = 24;
/// Prepared dictionaries that are kept.
const PREPARED_MAX: usize = 8;
/// What (un)packs is some hundred KiB that would be asked of the system and given back for each pack: as many are kept as
/// there are threads that do little else.
const CONTEXTS_KEPT: usize = 2;

struct Current {
    version: u32,
    encoder: Arc<EncoderDictionary<'static>>,
}

/// Dictionaries that are ready for use.
#[derive(Default)]
pub(crate) struct Dictionaries {
    current: Mutex<Option<Current>>,
    prepared: Mutex<BTreeMap<u32, Arc<DecoderDictionary<'static>>>>,
    packing: Mutex<Vec<CCtx<'static>>>,
    unpacking: Mutex<Vec<DCtx<'static>>>,
    /// Held while a dictionary is trained: one at a time.
    pub(crate) training: Mutex<()>,
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

/// One that is kept, or a new one.
fn reuse<T>(kept: &Mutex<Vec<T>>, make: fn() -> Option<T>) -> Result<T, Error> {
    let old = lock(kept).pop();
    Ok(old.or_else(make).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?)
}

/// Keeps one for later; one that met an error is not.
fn keep<T>(kept: &Mutex<Vec<T>>, one: T) {
    let mut kept = lock(kept);
    if kept.len() < CONTEXTS_KEPT {
        kept.push(one);
    }
}

impl Dictionaries {
    /// Gives back what packing needed; reading goes on at any time, packing does not.
    pub(crate) fn rest(&self) {
        lock(&self.packing).clear();
    }

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
        let mut with = reuse(&self.packing, CCtx::try_create)?;
        let mut frame = Vec::with_capacity(compress_bound(raw.len()));
        let version = current.as_ref().map_or(0, |(version, _)| *version);
        let packed = match &current {
            Some((_, encoder)) => with.compress_using_cdict(&mut frame, raw, encoder.as_cdict()),
            None => with.compress(&mut frame, raw, LEVEL),
        };
        packed.map_err(|code| io::Error::other(get_error_name(code)))?;
        keep(&self.packing, with);
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
        let mut with = reuse(&self.unpacking, DCtx::try_create)?;
        let mut raw = Vec::with_capacity(len);
        let unpacked = if version == 0 {
            with.decompress(&mut raw, frame)
        } else {
            let dictionary = self.prepared(version, table)?;
            with.decompress_using_ddict(&mut raw, frame, dictionary.as_ddict())
        };
        unpacked.map_err(|code| broken(get_error_name(code)))?;
        keep(&self.unpacking, with);
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

    /// Packs from all over the catalog, whose last revision number is `last`, as they were before they were packed. Large
    /// ones are left out.
    pub(crate) fn samples(
        &self,
        last: u32,
        packs: &impl ReadableTable<u32, &'static [u8]>,
        table: &impl ReadableTable<u32, &'static [u8]>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let (mut samples, mut bytes, mut from) = (Vec::new(), 0, 0);
        let stride = last.div_ceil(SAMPLES).max(1);
        while bytes < SAMPLES_BYTES
            && let Some(row) = packs.range(from..)?.next()
        {
            let (number, pack) = row?;
            let raw_len = pack.value().get(4..8).and_then(|len| <[u8; 4]>::try_from(len).ok());
            if raw_len.is_some_and(|len| u32::from_le_bytes(len) as usize <= SAMPLE_MAX) {
                match self.unpack(pack.value(), table) {
                    Ok(raw) => {
                        bytes += raw.len();
                        samples.push(raw);
                    }
                    // Whoever reads it is told; nothing has to be learnt from it.
                    Err(Error::Row { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            from = number.value().saturating_add(stride);
        }
        Ok(samples)
    }

    /// Whether it is time for another dictionary: `packed` revisions in all, `trained_at` when the last one was made.
    pub(crate) fn is_due(&self, packed: u64, trained_at: u64) -> bool {
        packed >= SAMPLES_MIN.max(trained_at.saturating_mul(AGAIN)) && self.version() < VERSIONS_MAX
    }

    /// The next version and its dictionary, where the samples show that it is worth it.
    pub(crate) fn train(&self, samples: Vec<Vec<u8>>) -> Option<(u32, Vec<u8>)> {
        if (samples.len() as u64) < SAMPLES_MIN / 2 {
            return None;
        }
        let version = self.version().saturating_add(1);
        let (tried, learnt): (Vec<_>, Vec<_>) = samples.into_iter().enumerate().partition(|(at, _)| at % 4 == 3);
        let learnt: Vec<_> = learnt.into_iter().map(|(_, sample)| sample).collect();
        let dictionary = match zstd::dict::from_samples(&learnt, DICTIONARY_MAX) {
            Ok(dictionary) => dictionary,
            Err(error) => {
                tracing::debug!(%error, "no dictionary came of {} samples", learnt.len());
                return None;
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
        (now < old - old / 20).then_some((version, dictionary))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use redb::{Database, ReadableDatabase, backends::InMemoryBackend};

    use crate::store::catalog::tables::{DICTIONARIES, PACKS};

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
            let samples = (0..1000).map(|at| text(round * 1000 + at)).collect();
            assert!(!dictionaries.is_due(SAMPLES_MIN - 1, trained_at));
            let packed = SAMPLES_MIN.max(trained_at * 8);
            assert!(dictionaries.is_due(packed, trained_at));
            if let Some((version, dictionary)) = dictionaries.train(samples) {
                let tx = db.begin_write().unwrap();
                tx.open_table(DICTIONARIES).unwrap().insert(version, dictionary.as_slice()).unwrap();
                tx.commit().unwrap();
                dictionaries.adopt(version, &dictionary);
            }
            trained_at = packed;
            assert!(!dictionaries.is_due(packed, trained_at));
            packs.push((text(round), dictionaries.pack(&text(round)).unwrap()));
        }
        assert!(dictionaries.version() >= 1, "no dictionary was made");
        // Nothing can be learnt from noise: the old one stays.
        let noise = |at: u64| {
            let mut noise = vec![0; 1000];
            blake3::Hasher::new().update(&at.to_le_bytes()).finalize_xof().fill(&mut noise);
            noise
        };
        assert!(dictionaries.train((0..1000).map(noise).collect()).is_none());
        assert!(dictionaries.train((0..10).map(text).collect()).is_none(), "ten are too few to learn from");
        assert!(packs[1].1.len() * 2 < packs[0].1.len(), "{} and {}", packs[1].1.len(), packs[0].1.len());
        let fresh = Dictionaries::default();
        let tx = db.begin_read().unwrap();
        let table = tx.open_table(DICTIONARIES).unwrap();
        for (raw, pack) in &packs {
            assert_eq!(fresh.unpack(pack, &table).unwrap(), *raw);
        }
    }

    #[test]
    fn samples_come_from_all_over_the_catalog() {
        let dictionaries = Dictionaries::default();
        let db = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let tx = db.begin_write().unwrap();
        {
            let (mut packs, table) = (tx.open_table(PACKS).unwrap(), tx.open_table(DICTIONARIES).unwrap());
            assert!(dictionaries.samples(0, &packs, &table).unwrap().is_empty());
            for number in 1..=5000 {
                // A hole of pruned ones, and large ones.
                let raw = if number % 5 == 1 { vec![1; SAMPLE_MAX + 1] } else { text(number.into()) };
                if !(2000..3000).contains(&number) {
                    packs.insert(number, dictionaries.pack(&raw).unwrap().as_slice()).unwrap();
                }
            }
            let samples = dictionaries.samples(5000, &packs, &table).unwrap();
            assert!((SAMPLES_MIN as usize / 2..=SAMPLES as usize).contains(&samples.len()), "{}", samples.len());
            assert!(samples.iter().all(|raw| raw.len() <= SAMPLE_MAX));
            let second_half: BTreeSet<Vec<u8>> = (3000..=5000).map(text).collect();
            let late = samples.iter().filter(|raw| second_half.contains(*raw)).count();
            assert!((samples.len() / 3..samples.len() * 2 / 3).contains(&late), "{late} of {}", samples.len());
        }
        tx.abort().unwrap();
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
