//! Reading a payload again and holding it against its proof, group by group; and the draft that mends it.
//!
//! The file is read, not mapped: a bad sector is an error that spoils its group, not a signal. What reading it brought
//! into memory is let go again, window by window, so that a scrub of everything does not push out what is being served;
//! what was in memory before stays, as far as that can be told.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::base::digest::Blake3;
use crate::base::disk::{Disk, DiskFile};
use crate::base::limits::{GROUP, WINDOW};
use crate::base::span::{Span, SpanSet};
use crate::store::blob::Blob;
use crate::store::core::Core;
use crate::store::draft::DraftFile;
use crate::store::error::Error;
use crate::store::hash::{self, Leaf};
use crate::store::proof::Proof;

/// The groups of the payload at `path` that are not what `proof` says. Blocks, for as long as reading it takes.
///
/// `each` is told of every group read, with its bytes, and may sleep to keep a rate; `Break` ends the reading with an
/// `Interrupted` error. A file that is too short is bad from there on, one that is too long in its last group. An error
/// is returned only where nothing can be said of the payload: it cannot be opened, or the system has no handles left.
pub(crate) fn verify(
    disk: &dyn Disk,
    path: &Path,
    proof: &Proof,
    each: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> io::Result<SpanSet> {
    let file = disk.open(path)?;
    let len = file.facts()?.len;
    let mut bad = SpanSet::new();
    if len > proof.size {
        if proof.size == 0 {
            let what = format!("{} should be empty and has {len} bytes", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        bad.insert(hash::group(hash::groups(proof.size) - 1, proof.size));
    }
    // Only tells what is in memory. A file of the wrong length cannot be mapped; then all of it is let go.
    let blob = Blob::open(disk, path, proof.size).ok();
    read_without_ahead(file.as_file());
    let mut scratch = vec![0; WINDOW as usize];
    let mut start = 0;
    while start < proof.size {
        let window = Span::at(start, WINDOW).intersect(&Span::new(0, proof.size));
        start = window.end();
        // Asked of the whole window before any of it is read.
        let groups: Vec<(u64, Span, bool)> = (window.start() / GROUP..window.end().div_ceil(GROUP))
            .map(|index| (index, hash::group(index, proof.size)))
            .map(|(index, span)| (index, span, blob.as_ref().is_some_and(|blob| blob.resident(span))))
            .collect();
        let bytes = &mut scratch[..window.len() as usize];
        let whole = file.read_at(bytes, window.start()).is_ok();
        for (index, span, was_resident) in groups {
            let inside = (span.start() - window.start()) as usize..(span.end() - window.start()) as usize;
            let group = &mut bytes[inside];
            let read = whole || read_group(&*file, group, span.start())?;
            let right = read
                && usize::try_from(index)
                    .ok()
                    .and_then(|index| proof.leaves.get(index))
                    .is_some_and(|leaf| *leaf == hash::leaf(index, proof.size, group));
            if !right {
                bad.insert(span);
            }
            if !was_resident {
                let_go(file.as_file(), span);
            }
            if each(span.len()).is_break() {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "the verification was broken off"));
            }
        }
    }
    Ok(bad)
}

impl Core {
    /// What is bad of a held payload; see [`verify`]. All of it where its file is missing.
    pub(crate) fn verify(
        &self,
        blake3: &Blake3,
        each: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<SpanSet, Error> {
        let path = self.layout.payload(blake3);
        let outcome = match self.read_proof(blake3) {
            Ok(proof) => {
                let whole = Span::new(0, proof.size);
                verify(&*self.disk, &path, &proof, each).map_err(|error| (whole, error))
            }
            Err(damaged) => {
                let Some((row, _)) = self.held(blake3.as_bytes())? else { return Err(Error::Gone) };
                self.writable()?;
                tracing::warn!(error = %damaged, "a proof is made again from its payload");
                let key = self.keys.take(*blake3);
                match leaves(&*self.disk, &path, row.size, each) {
                    Ok(leaves) if hash::root(&leaves) == key.blake3() => {
                        self.prove_again(blake3, leaves)?;
                        Ok(SpanSet::new())
                    }
                    Ok(_) if row.size > 0 => Ok(std::iter::once(Span::new(0, row.size)).collect()),
                    Ok(_) => return Err(damaged),
                    Err(error) => Err((Span::new(0, row.size), error)),
                }
            }
        };
        match outcome {
            Ok(bad) => Ok(bad),
            Err((whole, error)) if error.kind() == io::ErrorKind::NotFound && !whole.is_empty() => {
                Ok(std::iter::once(whole).collect())
            }
            Err((_, error)) => Err(Error::at(&path, &error)),
        }
    }
}

/// The leaves of the file at `path` as it is; of another length than `size` it has none that fit.
fn leaves(
    disk: &dyn Disk,
    path: &Path,
    size: u64,
    each: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> io::Result<Vec<Leaf>> {
    let file = disk.open(path)?;
    if file.facts()?.len != size {
        return Ok(Vec::new());
    }
    let mut scratch = vec![0; GROUP as usize];
    let mut leaves = Vec::new();
    for index in 0..hash::groups(size) {
        let span = hash::group(index, size);
        let bytes = &mut scratch[..span.len() as usize];
        if !read_group(&*file, bytes, span.start())? {
            return Ok(Vec::new());
        }
        leaves.push(hash::leaf(index, size, bytes));
        if each(span.len()).is_break() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the verification was broken off"));
        }
    }
    Ok(leaves)
}

/// Reads one group of a window that could not be read as a whole. `false` where the disk does not give it or the file
/// ends before it; an error where the fault is not the payload's.
fn read_group(file: &dyn DiskFile, group: &mut [u8], at: u64) -> io::Result<bool> {
    match file.read_at(group, at) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof || is_bad_sector(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A draft at `to` made of the groups of the payload at `from` that are not in `bad`: a copy of the file (a reflink where
/// the file system can), of which only the bad groups are not covered. The copied groups are held against the proof again
/// by whoever publishes the draft. Not durable until the draft is synced. Blocks.
pub(crate) fn repair_draft(
    disk: &Arc<dyn Disk>,
    from: &Path,
    to: &Path,
    size: u64,
    bad: &SpanSet,
    checked_sha1: bool,
) -> io::Result<DraftFile> {
    let whole = Span::new(0, size);
    let mut good: SpanSet = std::iter::once(whole).collect();
    for span in bad.iter() {
        good.remove(span.align(GROUP, size));
    }
    match disk.copy(from, to) {
        Ok(()) => {
            let file = disk.open_write(to)?;
            if file.facts()?.len != size {
                file.set_len(size)?;
            }
            DraftFile::reopen(disk, to, size, good, checked_sha1)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => DraftFile::create(disk, to, size, checked_sha1),
        // Where there is no shared extent and a sector cannot be read, only what is good is read, piece by piece.
        Err(error) if is_bad_sector(&error) => {
            if disk.facts(to)?.is_some() {
                disk.unlink(to)?;
            }
            let draft = DraftFile::create(disk, to, size, checked_sha1)?;
            copy_good(&*disk.open(from)?, &draft, &good)?;
            Ok(draft)
        }
        Err(error) => Err(error),
    }
}

/// Copies `good`, a group at a time; one that turns out to be unreadable now is left out.
fn copy_good(source: &dyn DiskFile, draft: &DraftFile, good: &SpanSet) -> io::Result<()> {
    let mut scratch = vec![0; GROUP as usize];
    for span in good.iter() {
        let mut at = span.start();
        while at < span.end() {
            let bytes = &mut scratch[..(span.end() - at).min(GROUP) as usize];
            if read_group(source, bytes, at)? {
                draft.write(at, bytes)?;
            }
            at += bytes.len() as u64;
        }
    }
    Ok(())
}

/// Whether the disk itself could not give the bytes.
fn is_bad_sector(error: &io::Error) -> bool {
    // EIO, and what a file system with checksums of its own (btrfs, ext4 metadata) says: EUCLEAN, EBADMSG.
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    #[cfg(target_os = "linux")]
    if errno == Some(Errno::UCLEAN) {
        return true;
    }
    matches!(errno, Some(Errno::IO | Errno::BADMSG))
}

/// Tells the kernel not to read further than it is asked, since that would look like memory that others use. Windows are
/// large enough without it. A hint: where it is not understood, a scrub leaves more in memory than it should.
#[cfg(target_os = "linux")]
fn read_without_ahead(file: &std::fs::File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Random);
}

/// Lets the pages of `span` go. A hint too; pages that somebody has mapped and touched stay.
#[cfg(target_os = "linux")]
fn let_go(file: &std::fs::File, span: Span) {
    let _ =
        rustix::fs::fadvise(file, span.start(), std::num::NonZeroU64::new(span.len()), rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn read_without_ahead(_: &std::fs::File) {}

#[cfg(not(target_os = "linux"))]
fn let_go(_: &std::fs::File, _: Span) {}

#[cfg(test)]
mod tests;
