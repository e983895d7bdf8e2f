//! The store's id: a random number in the index and in the file `store-id`, so that content without its index is never
//! taken for garbage, and an index never for that of other content.

use std::fmt::Write;
use std::io;

use crate::base::disk::Disk;
use crate::store::error::Error;
use crate::store::layout::Layout;

/// 16 random bytes.
pub(crate) fn fresh() -> Result<[u8; 16], Error> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| Error::Io(io::Error::other(format!("no random numbers: {error}"))))?;
    Ok(id)
}

/// 32 hex digits.
pub(crate) fn text(id: &[u8; 16]) -> String {
    id.iter().fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What the file says; `None` where there is none.
pub(crate) fn read(disk: &dyn Disk, layout: &Layout) -> Result<Option<[u8; 16]>, Error> {
    let path = layout.store_id();
    let Some(facts) = disk.facts(&path).map_err(|error| Error::at(&path, &error))? else { return Ok(None) };
    let damaged = || Error::Invalid {
        what: format!(
            "{} should hold the 32 hex digits of the store's id and does not; `waystation store rebuild` writes it again \
             from the index (or makes a new one where that cannot be read), `waystation restore FILE` from a backup",
            path.display()
        ),
    };
    // 32 digits and a line feed; whatever else lies here is not read.
    if facts.len != 33 {
        return Err(damaged());
    }
    let mut bytes = [0; 33];
    disk.open(&path).and_then(|file| file.read_at(&mut bytes, 0)).map_err(|error| Error::at(&path, &error))?;
    let mut id = [0; 16];
    for (byte, pair) in id.iter_mut().zip(bytes.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16).ok_or_else(damaged)?;
        let low = char::from(pair[1]).to_digit(16).ok_or_else(damaged)?;
        *byte = (high * 16 + low) as u8;
    }
    Ok(Some(id))
}

/// The same for whoever writes it anew: a file that is damaged says nothing.
pub(crate) fn read_if_whole(disk: &dyn Disk, layout: &Layout) -> Result<Option<[u8; 16]>, Error> {
    match read(disk, layout) {
        Err(error @ Error::Invalid { .. }) => {
            tracing::warn!(%error, "the store's id is written again");
            Ok(None)
        }
        other => other,
    }
}

/// Writes the file, unless it says so already: beside it, synced, renamed.
pub(crate) fn write(disk: &dyn Disk, layout: &Layout, id: &[u8; 16]) -> Result<(), Error> {
    if read(disk, layout).ok().flatten() == Some(*id) {
        return Ok(());
    }
    let path = layout.store_id();
    let mut temporary = path.clone();
    temporary.set_extension("partial");
    let write = || -> io::Result<()> {
        if disk.facts(&temporary)?.is_some() {
            disk.unlink(&temporary)?;
        }
        let file = disk.create(&temporary)?;
        file.write_at(format!("{}\n", text(id)).as_bytes(), 0)?;
        file.sync()?;
        disk.rename(&temporary, &path)?;
        disk.sync_dir(layout.root())
    };
    write().map_err(|error| Error::at(&path, &error))
}
