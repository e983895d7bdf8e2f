//! What goes wrong on a Tuesday night: flipped bits, a lost index, a full disk, a read-only mount, a dead origin.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Stage;
use crate::branch::check;
use crate::bytes::{Object, sha256};
use crate::http;
use crate::nginx::Nginx;
use crate::node::Node;

const MIB: u64 = 1 << 20;

fn object(root: &Path, name: &str, size: u64, seed: u64) -> io::Result<Object> {
    fs::create_dir_all(root.join("c/msdownload/update"))?;
    let object = Object::new(format!("/c/msdownload/update/{name}"), size, seed);
    object.write(&root.join(&object.path[1..]))?;
    Ok(object)
}

fn pull(node: &Node, nginx: &Nginx, object: &Object) -> io::Result<String> {
    let (head, body) = http::fetch(node.http, &Node::target(nginx.address, &object.path), None)?;
    check(head.status == 200 && sha256(&body) == object.sha256(), || {
        format!("{}: {} bytes under {head:?}", object.path, body.len())
    })?;
    Ok(head.header("cache-status").unwrap_or_default().to_owned())
}

fn held(node: &Node, nginx: &Nginx, object: &Object) -> io::Result<()> {
    let status = pull(node, nginx, object)?;
    check(status.contains("hit"), || format!("{}: not held, {status}", object.path))
}

/// The content files of a data directory, largest first, proofs left out.
pub(crate) fn payloads(data: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in fs::read_dir(data.join("content"))? {
        for entry in fs::read_dir(folder?.path())? {
            let path = entry?.path();
            if path.extension().is_none() {
                found.push((fs::metadata(&path)?.len(), path));
            }
        }
    }
    found.sort();
    Ok(found.into_iter().rev().map(|(_, path)| path).collect())
}

pub(crate) fn flip(path: &Path, offset: u64) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    file.write_all_at(&[byte[0] ^ 0x10], offset)?;
    file.sync_all()?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o444))
}

/// A flipped bit is found, and only its group is fetched again.
pub(crate) fn rot(stage: &Stage) -> io::Result<String> {
    let root = stage.folder.join("root");
    let big = object(&root, "big.cab", 40 * MIB + 5, 21)?;
    let small = object(&root, "small.cab", 3 * MIB, 22)?;
    let mut nginx = Nginx::start(&stage.folder, &root)?;
    // A repair waits for a dead source as long as that; what it does then is the same after five seconds.
    let mut node = Node::start(&stage.program, &stage.folder, &[nginx.address], "[upstream]\npatience = \"5 s\"\n")?;
    pull(&node, &nginx, &big)?;
    pull(&node, &nginx, &small)?;
    held(&node, &nginx, &big)?;
    let files = payloads(&node.data())?;
    check(files.len() == 2, || format!("{} payloads", files.len()))?;
    flip(&files[0], 17 * MIB + 12345)?;
    nginx.empty_log()?;
    let said = node.verb(&["store", "verify", "--repair"])?;
    let read: u64 = nginx.reads()?.values().map(|read| read.bytes).sum();
    check(read > 0 && read <= MIB, || format!("a flipped bit cost {read} bytes of the link; verify said: {said}"))?;
    held(&node, &nginx, &big)?;
    // Where the source cannot be asked just now the bad one is kept to be mended, and the good one is served; one that no
    // source is known for goes.
    nginx.stop();
    let before = payloads(&node.data())?;
    let lonely = stage.folder.join("lonely");
    fs::write(&lonely, b"known to nobody")?;
    node.verb(&["import", &lonely.to_string_lossy()])?;
    let imported = payloads(&node.data())?.into_iter().find(|path| !before.contains(path));
    let imported = imported.ok_or_else(|| io::Error::other("the import left no payload"))?;
    flip(&imported, 5)?;
    flip(&before[0], 5)?;
    // The verb reports what it could not mend by failing; what it did shows in the store.
    let told = node.verb(&["store", "verify", "--repair"]).unwrap_or_else(|error| error.to_string());
    held(&node, &nginx, &small)?;
    let left = payloads(&node.data())?;
    check(left.len() == 2 && !left.contains(&imported), || {
        format!("{} payloads left; verify said: {told}", left.len())
    })?;
    let quarantined = fs::read_dir(node.data().join("quarantine"))?.count();
    check(quarantined > 0, || "nothing in quarantine".to_owned())?;
    node.stop()?;
    Ok(format!(
        "     one flipped bit cost {} KiB of the link; one whose source was dead is kept, one without a \
         source went to quarantine",
        read >> 10
    ))
}

/// The index is lost or corrupt: the node says so and what to do, and serves what it holds; doing it makes it whole.
pub(crate) fn index(stage: &Stage) -> io::Result<String> {
    let root = stage.folder.join("root");
    let one = object(&root, "one.cab", 5 * MIB + 1, 31)?;
    let mut nginx = Nginx::start(&stage.folder, &root)?;
    let mut node = Node::start(&stage.program, &stage.folder, &[nginx.address], "")?;
    pull(&node, &nginx, &one)?;
    let backup = stage.folder.join("backup.redb");
    node.verb(&["backup", &backup.to_string_lossy()])?;
    node.stop()?;
    nginx.stop();
    let index = node.data().join("node.redb");
    for (what, harm) in [
        ("corrupt", Box::new(|| fs::write(&index, vec![0x5a; 64 << 10])) as Box<dyn Fn() -> io::Result<()>>),
        ("missing", Box::new(|| fs::remove_file(&index))),
        ("torn", Box::new(|| fs::OpenOptions::new().write(true).open(&index)?.set_len(4096))),
    ] {
        harm()?;
        node.run_unready()?;
        let (ready, why) = http::peek(node.control, "/readyz")?;
        check(ready == 503 && why.contains("node.redb") && why.contains("rebuild"), || {
            format!("{what} index: ready {ready}, the node said: {why}")
        })?;
        held(&node, &nginx, &one)?;
        node.stop()?;
        node.verb(&["store", "rebuild"])?;
        node.run()?;
        held(&node, &nginx, &one)?;
        node.stop()?;
    }
    fs::write(&index, b"gone")?;
    node.verb(&["restore", &backup.to_string_lossy()])?;
    node.run()?;
    held(&node, &nginx, &one)?;
    node.stop()?;
    Ok("     corrupt, missing and torn index: named, held served, rebuilt from the proofs; restored from a backup"
        .into())
}

fn mount(words: &[&str]) -> bool {
    Command::new("mount").args(words).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A disk that is full, and then one that cannot be written at all: clients get their bytes, held payloads stay.
pub(crate) fn disk(stage: &Stage) -> io::Result<String> {
    let root = stage.folder.join("root");
    let small = object(&root, "small.cab", 4 * MIB, 41)?;
    let large = object(&root, "large.cab", 150 * MIB, 42)?;
    let data = stage.folder.join("data");
    fs::create_dir_all(&data)?;
    let place = data.to_string_lossy().into_owned();
    if !mount(&["-t", "tmpfs", "-o", "size=96m", "tmpfs", &place]) {
        return Ok("     skipped: mounting a small disk needs root".into());
    }
    let mounted = Mounted(data);
    let nginx = Nginx::start(&stage.folder, &root)?;
    let mut node = Node::start(&stage.program, &stage.folder, &[nginx.address], "[store]\nmin_free = \"1 MiB\"\n")?;
    pull(&node, &nginx, &small)?;
    let status = pull(&node, &nginx, &large)?;
    held(&node, &nginx, &small)?;
    node.stop()?;
    if !mount(&["-o", "remount,ro", &place]) {
        return Err(io::Error::other("the small disk cannot be remounted read-only"));
    }
    node.run_unready()?;
    held(&node, &nginx, &small)?;
    pull(&node, &nginx, &large)?;
    let (ready, why) = http::peek(node.control, "/readyz")?;
    check(ready == 503, || format!("ready {ready} on a read-only disk: {why}"))?;
    node.stop()?;
    drop(mounted);
    Ok(format!(
        "     150 MiB through a 96 MiB disk ({status}); read-only: held served, the rest passed, not ready: {}",
        why.trim()
    ))
}
