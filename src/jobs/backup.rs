//! The backup job: a consistent copy of the index while everything runs.

use crate::jobs::Shared;
use crate::jobs::board::{Record, Unit};
use crate::jobs::error::Error;
use crate::jobs::work::Backup;

pub(in crate::jobs) async fn run(shared: &Shared, record: &Record, work: Backup) -> Result<String, Error> {
    let to = work.to.clone();
    record.progress(|progress| progress.current = Some(to.display().to_string()));
    let (taken, homeless) = blocking({
        let to = to.clone();
        move || (std::fs::symlink_metadata(&to).is_ok(), to.parent().is_none_or(|parent| !parent.is_dir()))
    })
    .await?;
    if homeless {
        let what = format!("there is no directory for {}", to.display());
        return Err(Error::Input(what));
    }
    if taken {
        let what = format!("{} is there already and is not overwritten", to.display());
        return Err(Error::Input(what));
    }
    tokio::select! {
        // Whoever copies learns that nobody waits any more, and leaves nothing. A file of that name is whole.
        () = record.cancel().cancelled() => return Err(Error::Stopped),
        copied = shared.store.backup(to.clone()) => copied?,
    }
    let size = blocking({
        let to = to.clone();
        move || std::fs::metadata(&to).map(|meta| meta.len())
    })
    .await?
    .map_err(|source| Error::Disk { path: to.display().to_string(), source })?;
    record.progress(|progress| {
        (progress.done, progress.total, progress.unit) = (size, Some(size), Unit::Bytes);
        progress.bytes = size;
    });
    Ok(format!("the index is in {}; payloads are not part of it", to.display()))
}

async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(call).await.map_err(|error| Error::Broken(format!("a disk call broke off: {error}")))
}
