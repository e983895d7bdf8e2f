//! The import job: files of the administrator's become payloads. Directories are walked first, so that the total is known.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::digest::Digest;
use crate::jobs::Shared;
use crate::jobs::board::{Line, Record, Step, Unit};
use crate::jobs::error::Error;
use crate::jobs::work::Import;
use crate::model::payload::{Authority, Class, Published};

/// Files that one import takes: as many as the store is measured for. Bounds the list that is held in memory.
const FILES_MAX: usize = 1_000_000;

/// Directories within directories that are walked.
const DEPTH_MAX: usize = 64;

pub(in crate::jobs) async fn run(shared: &Arc<Shared>, record: &Arc<Record>, work: Import) -> Result<String, Error> {
    let paths = work.paths.clone();
    let store = shared.store.clone();
    let files = tokio::task::spawn_blocking(move || walk(paths, &|path| store.is_own(path)))
        .await
        .map_err(|error| Error::Broken(format!("walking the directories broke off: {error}")))??;
    if work.sha256.is_some() && files.len() != 1 {
        let what = format!("one SHA-256 can only be meant for one file, and there are {}", files.len());
        return Err(Error::Input(what));
    }
    let total = files.len() as u64;
    record.progress(|progress| {
        progress.total = Some(total);
        progress.unit = Unit::Items;
    });
    let expected = work.sha256.map(|sha256| Published::one(Digest::Sha256(sha256), Authority::Operator));
    let mut failed = 0;
    // One after the other: a copy is bound by the disk, and its hashing by the store's own pool.
    for path in files {
        if record.cancel().is_cancelled() {
            return Err(Error::Stopped);
        }
        let item = path.display().to_string();
        record.progress(|progress| progress.current = Some(item.clone()));
        let (line, bytes) = match shared.store.import(path.clone(), work.take, expected, Vec::new()).await {
            Ok(found) => {
                let payload = found.held.payload();
                let class = match payload.class {
                    Class::Proven => "proven",
                    Class::Unproven => "unproven: give its digest with --sha256",
                };
                let mut text = format!("{class}, sha256-{}", payload.digests.sha256);
                if work.take && still_there(path).await? {
                    text.push_str("; taken in as a copy: the file may not be deleted or is open for writing, so delete it by hand");
                }
                (Line::ended(item, Step::Done, payload.size, text), payload.size)
            }
            Err(error) => {
                failed += 1;
                (Line::ended(item, Step::Failed, 0, error.to_string()), 0)
            }
        };
        record.add(line);
        record.progress(|progress| {
            progress.done += 1;
            progress.bytes += bytes;
        });
    }
    match failed {
        0 => Ok(format!("{total} taken in")),
        failed => Err(Error::Items { failed, total }),
    }
}

/// Whether a file that was to be taken is still where it was.
async fn still_there(path: PathBuf) -> Result<bool, Error> {
    tokio::task::spawn_blocking(move || std::fs::symlink_metadata(path).is_ok())
        .await
        .map_err(|error| Error::Broken(format!("a look at a file broke off: {error}")))
}

/// The regular files at and below `paths`, in the order of their names. What `is_own`, the node's data directory, is
/// refused where it was named and passed over where it lies below. Blocks.
fn walk(paths: Vec<PathBuf>, is_own: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for path in paths {
        let meta = std::fs::symlink_metadata(&path).map_err(|source| failure(&path, source))?;
        if is_own(&path) {
            let what =
                format!("{} lies in the node's own data directory: name files from somewhere else", path.display());
            return Err(Error::Input(what));
        }
        if meta.is_dir() {
            walk_directory(&path, DEPTH_MAX, is_own, &mut files)?;
        } else if meta.is_file() {
            files.push(path);
        } else {
            let what =
                format!("{} is neither a file nor a directory, and symbolic links are not followed", path.display());
            return Err(Error::Input(what));
        }
    }
    Ok(files)
}

fn walk_directory(
    path: &Path,
    depth: usize,
    is_own: &dyn Fn(&Path) -> bool,
    files: &mut Vec<PathBuf>,
) -> Result<(), Error> {
    if depth == 0 {
        let what = format!("{} lies more than {DEPTH_MAX} directories deep: import it by itself", path.display());
        return Err(Error::Input(what));
    }
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = entries.map_err(|source| failure(path, source))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type().map_err(|source| failure(&entry.path(), source))?;
        if kind.is_dir() {
            if is_own(&entry.path()) {
                tracing::info!(path = %entry.path().display(), "the node's own data directory is not imported");
                continue;
            }
            walk_directory(&entry.path(), depth - 1, is_own, files)?;
        } else if kind.is_file() {
            if files.len() >= FILES_MAX {
                let what = format!("there are more than {FILES_MAX} files: import the directories one by one");
                return Err(Error::Input(what));
            }
            files.push(entry.path());
        }
    }
    Ok(())
}

fn failure(path: &Path, source: std::io::Error) -> Error {
    Error::Disk { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_in_order_and_follows_no_link() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir_all(at("b/c")).unwrap();
        for name in ["b/c/2", "b/1", "a"] {
            std::fs::write(at(name), name).unwrap();
        }
        std::os::unix::fs::symlink(at("a"), at("b/link")).unwrap();
        std::os::unix::fs::symlink(root.path(), at("b/loop")).unwrap();
        let walk = |path: PathBuf| walk(vec![path], &|path| path.ends_with("b/c"));
        assert_eq!(
            walk(root.path().to_owned()).unwrap(),
            [at("a"), at("b/1")],
            "what is the node's own is passed over"
        );
        assert!(matches!(walk(at("b/c")), Err(Error::Input(_))));
        assert!(matches!(walk(at("b/link")), Err(Error::Input(_))));
        assert!(matches!(walk(at("absent")), Err(Error::Disk { .. })));
        assert_eq!(super::walk(vec![at("b")], &|_| false).unwrap(), [at("b/1"), at("b/c/2")]);
    }
}
