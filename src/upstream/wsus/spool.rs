//! Where the documents of one batch lie until they are taken: small ones in memory, what is beyond that in one file without a
//! name, which is gone with the last document that lies in it, also after a crash.

use std::fs::{File, OpenOptions};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

/// Bytes of one batch's documents in memory; what comes then goes into the file. Real servers end an answer at 2 MB, so that
/// mostly only documents that are alone in their answer, because they are larger, touch a disk.
pub(super) const MEMORY_MAX: usize = 2 << 20;

/// How much of a document that goes into the file is gathered before it is written.
const WRITE_AT_ONCE: usize = 256 << 10;

/// A document's bytes, wherever they lie.
#[derive(Clone, Debug)]
pub struct Content {
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Memory(Arc<[u8]>),
    File { file: Arc<File>, start: u64, len: u64 },
}

impl Content {
    /// How many bytes.
    pub fn len(&self) -> u64 {
        match &self.place {
            Place::Memory(bytes) => bytes.len() as u64,
            Place::File { len, .. } => *len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it lies in a file, so that reading it may block for longer.
    pub fn is_spooled(&self) -> bool {
        matches!(self.place, Place::File { .. })
    }

    /// The bytes, from the first one on. Reading may block.
    pub fn reader(&self) -> Reader {
        match &self.place {
            Place::Memory(bytes) => Reader::Memory(Cursor::new(Arc::clone(bytes))),
            Place::File { file, start, len } => {
                Reader::File { file: Arc::clone(file), start: *start, len: *len, at: 0 }
            }
        }
    }
}

/// Reads a [`Content`].
#[derive(Debug)]
pub enum Reader {
    /// From memory.
    Memory(Cursor<Arc<[u8]>>),
    /// From a part of the batch's file.
    File {
        /// The file.
        file: Arc<File>,
        /// Where the document begins.
        start: u64,
        /// How long it is.
        len: u64,
        /// The next byte of it.
        at: u64,
    },
}

impl Read for Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(cursor) => cursor.read(buf),
            Self::File { file, start, len, at } => {
                let left = usize::try_from(len.saturating_sub(*at)).unwrap_or(usize::MAX).min(buf.len());
                let count = file.read_at(buf.get_mut(..left).unwrap_or_default(), start.saturating_add(*at))?;
                *at += count as u64;
                Ok(count)
            }
        }
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Memory(cursor) => cursor.seek(to),
            Self::File { len, at, .. } => {
                let target = match to {
                    SeekFrom::Start(offset) => Some(offset),
                    SeekFrom::End(by) => len.checked_add_signed(by),
                    SeekFrom::Current(by) => at.checked_add_signed(by),
                };
                *at = target
                    .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a place before the beginning"))?;
                Ok(*at)
            }
        }
    }
}

/// Takes the documents of one batch, one after the other. Blocks.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    /// What may still be kept in memory.
    memory_left: usize,
    file: Option<Arc<File>>,
    /// Where the kept documents end in the file.
    end: u64,
    /// The document at hand: all of it, or what is not written yet.
    gathered: Vec<u8>,
    /// How much of it is in the file, from `end` on, once it is there.
    spilled: Option<u64>,
    /// Why the file cannot be used.
    failed: Option<String>,
}

impl Spool {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, memory_left: MEMORY_MAX, file: None, end: 0, gathered: Vec::new(), spilled: None, failed: None }
    }

    /// Throws away the document at hand.
    pub(super) fn discard(&mut self) {
        self.gathered.clear();
        self.spilled = None;
    }

    /// Keeps the document at hand.
    pub(super) fn keep(&mut self) -> io::Result<Content> {
        let place = if self.spilled.is_none() {
            self.memory_left = self.memory_left.saturating_sub(self.gathered.len());
            Place::Memory(Arc::from(self.gathered.as_slice()))
        } else {
            self.spill()?;
            let len = self.spilled.unwrap_or_default();
            let start = self.end;
            self.end += len;
            let file = Arc::clone(self.file()?);
            Place::File { file, start, len }
        };
        self.discard();
        Ok(Content { place })
    }

    /// What went wrong in the folder, if something did.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    fn file(&mut self) -> io::Result<&Arc<File>> {
        if self.file.is_none() {
            self.file = Some(Arc::new(nameless(&self.folder)?));
        }
        self.file.as_ref().ok_or_else(|| io::Error::other("there is no file"))
    }

    fn spill(&mut self) -> io::Result<()> {
        let at = self.end + self.spilled.unwrap_or_default();
        let gathered = std::mem::take(&mut self.gathered);
        let written = self.file().and_then(|file| file.write_all_at(&gathered, at));
        if let Err(error) = &written {
            self.failed = Some(format!(
                "a large document cannot be kept in {} for now ({error}); look for room and rights there",
                self.folder.display()
            ));
        }
        written?;
        self.spilled = Some(self.spilled.unwrap_or_default() + gathered.len() as u64);
        self.gathered = gathered;
        self.gathered.clear();
        Ok(())
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        let max = if self.spilled.is_some() { WRITE_AT_ONCE } else { self.memory_left };
        if self.gathered.len() > max {
            self.spill()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that no name leads to.
fn nameless(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR) {
        return Ok(File::from(file));
    }
    // Not every file system can do that.
    let token = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    let path = folder.join(format!("waystation-sync-{token:016x}"));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(content: &Content) -> Vec<u8> {
        let mut bytes = Vec::new();
        content.reader().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn documents_come_back_whole_wherever_they_lie() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path().to_owned());
        let large: Vec<u8> = (0..5_000_000_u32).map(|at| (at % 251) as u8).collect();
        spool.write_all(b"small").unwrap();
        let small = spool.keep().unwrap();
        large.chunks(60_000).for_each(|part| spool.write_all(part).unwrap());
        spool.discard();
        large.chunks(70_000).for_each(|part| spool.write_all(part).unwrap());
        let first = spool.keep().unwrap();
        spool.write_all(b"small again").unwrap();
        let again = spool.keep().unwrap();
        large.iter().rev().copied().collect::<Vec<u8>>().chunks(80_000).for_each(|part| spool.write_all(part).unwrap());
        let second = spool.keep().unwrap();
        drop(spool);
        assert_eq!((all(&small), all(&again)), (b"small".to_vec(), b"small again".to_vec()));
        assert!(!small.is_spooled() && !again.is_spooled() && first.is_spooled() && second.is_spooled());
        assert!(all(&first) == large && first.len() == large.len() as u64);
        assert!(all(&second).iter().rev().eq(large.iter()));
        let mut reader = first.reader();
        assert_eq!(reader.seek(SeekFrom::End(-3)).unwrap(), 4_999_997);
        let mut end = [0; 3];
        reader.read_exact(&mut end).unwrap();
        assert_eq!(end[..], large[4_999_997..]);
        assert!(reader.seek(SeekFrom::Start(0)).is_ok() && reader.seek(SeekFrom::Current(-1)).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no name is left");
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_told() {
        let mut spool = Spool::new(PathBuf::from("/nonexistent/folder"));
        let error = spool.write_all(&vec![0; MEMORY_MAX + 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(spool.failure().unwrap().contains("/nonexistent/folder"));
    }
}
