//! The data directory without a node: opened under its lock, and as the user who owns it, so that no file of another
//! owner appears in it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

use crate::app::Loaded;
use crate::app::config::rooms;
use crate::app::error::AppError;
use crate::base::disk::RealDisk;
use crate::base::time::SystemClock;
use crate::store::Store;

/// Opens the store of a node that does not run. Refused where there is none: a misspelt path must not make an empty one.
pub(crate) fn open(loaded: &Loaded) -> Result<Store, AppError> {
    let data = loaded.data_dir();
    if !data.is_dir() {
        return Err(AppError::NoStore { path: data.to_owned() });
    }
    become_owner(data)?;
    let config = rooms::store(&loaded.typed()?);
    let (store, opened) = Store::open(config, Arc::new(RealDisk), Arc::new(SystemClock))?;
    tracing::debug!(?opened, "store opened without a node");
    Ok(store)
}

/// Switches to the user who owns the data directory. Does nothing for anybody but root, who alone can.
///
/// The kernel keeps users by thread, and threads that are started later inherit them; so this must be the only thread.
pub(crate) fn become_owner(data: &Path) -> Result<(), AppError> {
    let failed = |why: String| AppError::Owner { path: data.to_owned(), why };
    let owner = rustix::fs::stat(data).map_err(|error| failed(format!("its owner cannot be told: {error}")))?;
    if owner.st_uid == geteuid().as_raw() {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err(failed(format!(
            "it belongs to user {}, and this is user {}: run the command as that user or as root",
            owner.st_uid,
            geteuid().as_raw()
        )));
    }
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(failed(format!(
            "{threads} threads run already, so the user cannot be switched to its owner any more"
        )));
    }
    let (user, group) = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
    set_thread_groups(&[])
        .and_then(|()| set_thread_gid(group))
        .and_then(|()| set_thread_uid(user))
        .map_err(|error| failed(format!("switching to its owner, user {}, failed: {error}", owner.st_uid)))
}
