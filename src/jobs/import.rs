//! The import job: files of the administrator's become payloads. Directories are walked first, so that the total is known.
//!
//! One file can be given an address: it is mapped as a client's request is, the file must fit what is published for it, and
//! from then on clients that ask there are answered with it. With a digest the address is bound to that, as by `fetch`;
//! without one it is believed for as long as something new from there would be.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::digest::{Digest, Sha256};
use crate::fill::{Keeping, Target};
use crate::jobs::Shared;
use crate::jobs::address::Address;
use crate::jobs::board::{Line, Record, Step, Unit};
use crate::jobs::error::Error;
use crate::jobs::view::Kept;
use crate::jobs::work::Import;
use crate::model::name::Name;
use crate::model::payload::{Alias, Authority, Class, Published};
use crate::store::Found;

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
    if work.address.is_some() && files.len() != 1 {
        let what = format!("one URL can only be meant for one file, and there are {}", files.len());
        return Err(Error::Input(what));
    }
    let target = work.address.as_deref().map(|address| locate(shared, address)).transpose()?;
    let expected = expected(work.sha256, target.as_ref())?;
    let mut failed = 0;
    // One after the other: a copy is bound by the disk, and its hashing by the store's own pool.
    for path in files {
        if record.cancel().is_cancelled() {
            return Err(Error::Stopped);
        }
        let item = path.display().to_string();
        record.progress(|progress| progress.current = Some(item.clone()));
        let (line, bytes) = match one(shared, path.clone(), &work, expected, target.as_ref()).await {
            Ok((found, answered)) => {
                let payload = found.held.payload();
                let class = match payload.class {
                    Class::Proven => "proven",
                    Class::Unproven => "unproven (--sha256 with the publisher's digest proves it)",
                };
                let mut text = format!("{class}, its own digest is sha256-{}{answered}", payload.digests.sha256);
                if work.take && still_there(path).await? {
                    text.push_str("; taken in as a copy: the file may not be deleted or is open for writing, so delete it by hand");
                }
                let kept = Kept {
                    class: payload.class,
                    sha256: payload.digests.sha256,
                    blake3: payload.digests.blake3,
                    outcome: "taken",
                };
                (Line { kept: Some(kept), ..Line::ended(item, Step::Done, payload.size, text) }, payload.size)
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

/// Takes one file in, under its address if it has one. Returns it, and what is to be said of the address.
async fn one(
    shared: &Shared,
    path: PathBuf,
    work: &Import,
    expected: Option<Published>,
    target: Option<&Target>,
) -> Result<(Found, String), Error> {
    let store = &shared.store;
    let found = store.import(path, work.take, expected, Vec::new()).await?;
    let Some(target) = target else { return Ok((found, String::new())) };
    let digests = found.held.payload().digests;
    let blake3 = digests.blake3;
    let alias = shared.fill()?.imported(target, &digests);
    if store.find_for_work(&target.name).await?.is_some_and(|old| old.held.payload().digests.blake3 != blake3) {
        // What was held there is another version, and no evidence of anything.
        store.forget(&target.name).await?;
    }
    if let Some(sha256) = work.sha256 {
        let published = Published::one(Digest::Sha256(sha256), Authority::Operator);
        store.expect(&target.name, published, target.locations.clone()).await?;
    }
    let believed = match (&alias.freshness, work.sha256) {
        (_, Some(_)) => "bound to its digest".to_owned(),
        (None, None) => "which never changes".to_owned(),
        (Some(freshness), None) => {
            format!("the origin is asked from {} on; --sha256 would bind it", freshness.until)
        }
    };
    // What is bound is right whatever the origin has.
    let alias = Alias { freshness: alias.freshness.filter(|_| work.sha256.is_none()), ..alias };
    store.alias(blake3, target.name.clone(), alias).await?;
    tracing::info!(name = target.name.shown(), %blake3, "an imported file is answered under an address");
    Ok((found, format!("; answered as {}: {believed}", target.name.shown())))
}

/// The name under which clients that ask the address are answered.
fn locate(shared: &Shared, address: &str) -> Result<Target, Error> {
    let refused = |why: String| Error::Refused { address: Address::redact(address), why };
    let target = shared.fill()?.locate(&Address::parse(address)?.ask()).map_err(|error| refused(error.to_string()))?;
    match (&target.name, target.keeping) {
        (Name::Digest(_), _) => {
            Err(refused("this is a digest's own address: give the digest with --sha256 instead".to_owned()))
        }
        (_, Keeping::Never) => Err(refused("what lies there is passed on and never kept".to_owned())),
        (Name::Origin(_), _) => Ok(target),
    }
}

/// What the file must turn out to be: by the operator's word, and by the digest in the address.
fn expected(sha256: Option<Sha256>, target: Option<&Target>) -> Result<Option<Published>, Error> {
    let of_address = target.and_then(|target| target.expected);
    let Some(sha256) = sha256 else { return Ok(of_address) };
    let digest = Digest::Sha256(sha256);
    match of_address {
        Some(known) if known.sha256.is_some_and(|other| other != sha256) => Err(Error::Input(format!(
            "the address itself names another digest than {digest}: leave --sha256 out, or correct it"
        ))),
        Some(known) => Ok(Some(Published { sha256: Some(sha256), authority: Authority::Operator, ..known })),
        None => Ok(Some(Published::one(digest, Authority::Operator))),
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
