//! What a start would find in the data directory, judged as [`crate::store::open`] judges it. Reads alone, and takes no
//! lock: whoever asks makes sure that no node is at work there.

use std::path::Path;

use crate::base::disk::Disk;
use crate::store::error::Error;
use crate::store::identity;
use crate::store::index;
use crate::store::layout::Layout;
use crate::store::open::{NO_ID, broken, files_in_the_way, foreign, has_shelves, is_of_the_index, unmounted};
use crate::store::restore::CACHE;
use crate::store::shelves;

/// How a start would go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Survey {
    /// There is nothing yet: a start makes all of it.
    New,
    /// All is there.
    Whole {
        /// Payloads that the index knows.
        payloads: u64,
    },
    /// What is held is served, as far as it is there; nothing new is kept, and the node is not ready.
    Stunted {
        /// What is wrong, and what to do.
        why: String,
    },
}

/// Looks at the store in the data directory `path`. What a start would end with is an error.
pub fn survey(path: &Path, disk: &dyn Disk) -> Result<Survey, Error> {
    let layout = Layout::new(path);
    files_in_the_way(disk, &layout)?;
    match whole(disk, &layout) {
        Err(error) if is_of_the_index(&error) => Ok(Survey::Stunted { why: error.to_string() }),
        other => other,
    }
}

fn whole(disk: &dyn Disk, layout: &Layout) -> Result<Survey, Error> {
    let path = layout.index();
    let Some(id) = identity::read(disk, layout)? else {
        let content = layout.content();
        let is_empty = match disk.list(&content) {
            Ok(found) => found.is_empty(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
            Err(error) => return Err(Error::at(&content, &error)),
        };
        return if is_empty { Ok(Survey::New) } else { Err(Error::Index { path, why: NO_ID.into() }) };
    };
    let db = index::look(&path, CACHE)?;
    let (found, _) = shelves::meta(&db).map_err(|error| broken(&path, &error))?;
    if found != id {
        return Err(foreign(path, &found, &id));
    }
    let payloads = shelves::count(&db).map_err(|error| broken(&path, &error))?;
    if payloads == 0 || has_shelves(disk, layout)? {
        return Ok(Survey::Whole { payloads });
    }
    Ok(Survey::Stunted { why: unmounted(layout, payloads) })
}
